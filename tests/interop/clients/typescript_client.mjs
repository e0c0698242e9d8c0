// The official TypeScript client, 2.x: legacy by default, and modern where it may negotiate.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { given, headers, tell } from "./story.mjs";

const options = given.option === "auto" ? { versionNegotiation: { mode: "auto" } } : {};
const client = new Client({ name: "interop", version: "1" }, options);
await client.connect(
  given.command
    ? new StdioClientTransport({ command: given.command[0], args: given.command.slice(1) })
    : new StreamableHTTPClientTransport(new URL(given.url), { requestInit: { headers } }),
);
await tell(client);
await client.close();
