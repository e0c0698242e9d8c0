// The official TypeScript SDK, 1.x.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { given, headers, tell } from "./story.mjs";

const client = new Client({ name: "interop", version: "1" });
await client.connect(
  given.command
    ? new StdioClientTransport({ command: given.command[0], args: given.command.slice(1) })
    : new StreamableHTTPClientTransport(new URL(given.url), { requestInit: { headers } }),
);
await tell(client);
await client.close();
