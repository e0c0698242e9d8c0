// The official TypeScript SDK logs in: 401, metadata, registration, PKCE, token, call. This script is
// the browser, too; it prints what it was answered.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const { url, user, redirect, tools } = JSON.parse(process.argv[2]);
const kept = {};
const authProvider = {
  redirectUrl: redirect,
  clientMetadata: {
    client_name: "interop",
    redirect_uris: [redirect],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  },
  clientInformation: () => kept.client,
  saveClientInformation: (client) => void (kept.client = client),
  tokens: () => kept.tokens,
  saveTokens: (tokens) => void (kept.tokens = tokens),
  codeVerifier: () => kept.verifier,
  saveCodeVerifier: (verifier) => void (kept.verifier = verifier),
  redirectToAuthorization: (address) => void (kept.address = address),
};
const transport = () => new StreamableHTTPClientTransport(new URL(url), { authProvider });

async function logIn(address) {
  const cookies = {};
  for (;;) {
    const cookie = Object.entries(cookies).map(([name, value]) => `${name}=${value}`);
    const headers = { cookie: cookie.join("; ") };
    const answer = await fetch(address, { redirect: "manual", headers });
    for (const line of answer.headers.getSetCookie()) {
      const [name, value] = line.split(";")[0].split("=");
      cookies[name] = value;
    }
    const next = new URL(answer.headers.get("location"), address);
    if (next.href.startsWith(redirect)) return next.searchParams.get("code");
    if (next.pathname.startsWith("/login/")) next.searchParams.set("user", user);
    address = next;
  }
}

const client = new Client({ name: "interop", version: "1" });
const first = transport();
let refused = "";
try {
  await client.connect(first);
} catch (error) {
  refused = error.constructor.name;
}
await first.finishAuth(await logIn(kept.address));
await client.connect(transport());
const answers = [];
for (const [name, args] of tools) {
  const answer = await client.callTool({ name, arguments: args });
  answers.push({ isError: answer.isError ?? false, data: answer.structuredContent });
}
await client.close();
console.log(
  JSON.stringify({ refused, address: kept.address.href, token: kept.tokens.access_token, answers }),
);
