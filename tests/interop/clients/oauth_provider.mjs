// A certified OpenID provider in the place of a team's: tokens are JWTs for the `resource` that was
// asked for, clients register themselves, PKCE is required. Who logs in stands in the address.

import { Provider, errors } from "oidc-provider";

const { port, resource, key, scopes } = JSON.parse(process.argv[2]);
const OTHER = "http://other.example/mcp";

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: [key] },
  clients: [
    {
      client_id: "robot",
      client_secret: "the-secret-of-the-robot",
      grant_types: ["client_credentials"],
      response_types: [],
      redirect_uris: [],
      scope: scopes,
    },
  ],
  scopes: ["openid", "offline_access", ...scopes.split(" ")],
  pkce: { required: () => true },
  cookies: { keys: ["a-key-for-the-cookies"] },
  findAccount: (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  interactions: { url: (_, interaction) => `/login/${interaction.uid}` },
  features: {
    registration: { enabled: true },
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, asked) => {
        if (![resource, OTHER].includes(asked)) throw new errors.InvalidTarget();
        const jwt = { sign: { alg: "RS256" } };
        return { scope: scopes, audience: asked, accessTokenTTL: 300, accessTokenFormat: "jwt", jwt };
      },
    },
  },
});

provider.use(async (ctx, next) => {
  if (ctx.path === "/jwks") console.log("keys were asked for");
  if (!ctx.path.startsWith("/login/")) return next();
  const { prompt, params, session } = await provider.interactionDetails(ctx.req, ctx.res);
  let result = { login: { accountId: ctx.query.user } };
  if (prompt.name === "consent") {
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope((prompt.details.missingOIDCScope ?? []).join(" "));
    for (const [of, missing] of Object.entries(prompt.details.missingResourceScopes ?? {}))
      grant.addResourceScope(of, missing.join(" "));
    result = { consent: { grantId: await grant.save() } };
  }
  await provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: true });
  ctx.respond = false;
});

provider.listen(port, "127.0.0.1", () => console.log("ready"));
