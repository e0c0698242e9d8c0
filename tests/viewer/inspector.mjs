// The page in the MCP Inspector, in front of our own server and its sandbox.

import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { freePort, INSTALLED, startProcess, until } from "./parts.mjs";
import { View } from "./unit_host.mjs";

const PYTHON = process.env.PYTHON || ".venv/bin/python";
const PACKAGE = join(INSTALLED, "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js");

/** Our own server, in front of a sandbox whose jobs take so long. */
async function startServer(jobSeconds) {
  const port = await freePort();
  const address = `http://127.0.0.1:${port}`;
  const server = await startProcess(
    PYTHON, ["-m", "mcp_server", "--sandbox", "http", "--port", port, "--no-auth"],
    { USEAPI_SANDBOX_JOB_SECONDS: jobSeconds }, `${address}/health`,
  );
  return { ...server, mcp: `${address}/mcp` };
}

export class Inspector {
  static async open(browser) {
    const [web, frames] = [await freePort(), await freePort()];
    const token = randomUUID();
    const ours = await startServer("3");
    const theirs = await startProcess(process.execPath, [PACKAGE, "--web"], {
      HOST: "127.0.0.1", CLIENT_PORT: web, MCP_SANDBOX_PORT: frames,
      MCP_AUTO_OPEN_ENABLED: "false", MCP_INSPECTOR_API_TOKEN: token,
    }, `http://127.0.0.1:${web}/`);
    return new Inspector(browser, { ours, theirs, web, token });
  }

  constructor(browser, parts) {
    Object.assign(this, parts, { browser });
  }

  async close() {
    await this.theirs.close();
    await this.ours.close();
    await this.patient?.close();
  }

  async closePages() {
    for (const page of this.browser.pages().slice(1)) await page.close();
  }

  /** Calls a tool of a server whose jobs take ten minutes. */
  async callPatient(tool, given) {
    this.patient ||= await startServer("600");
    return this.call(tool, given, this.patient);
  }

  /** Calls a tool in the Inspector, which opens its app. */
  async call(tool, given, server = this.ours) {
    const page = await this.browser.newPage();
    await page.setViewportSize({ width: 1400, height: 1000 });
    const faults = [];
    const query = new URLSearchParams({
      serverUrl: server.mcp, transport: "http", autoConnect: this.token,
      openApp: tool, appArgs: Buffer.from(JSON.stringify(given)).toString("base64url"), autoOpen: this.token,
    });
    await page.goto(`http://127.0.0.1:${this.web}/?${query}`);
    await page.waitForSelector('[data-app-status="ready"]');
    const frame = await until("the page in a frame", async () => {
      for (const frame of page.frames()) {
        if (await frame.$("#card").catch(() => null)) return frame;
      }
      return null;
    });
    return new View(page, frame, faults);
  }
}
