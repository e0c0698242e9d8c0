// The page in the MCP Inspector, in front of our own server and its sandbox.

import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { freePort, INSTALLED, startProcess, until } from "./parts.mjs";
import { View } from "./unit_host.mjs";

const PYTHON = process.env.PYTHON || ".venv/bin/python";
const PACKAGE = join(INSTALLED, "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js");

export class Inspector {
  static async open(browser) {
    const [server, web, frames] = [await freePort(), await freePort(), await freePort()];
    const token = randomUUID();
    const address = `http://127.0.0.1:${server}`;
    const ours = await startProcess(
      PYTHON, ["-m", "mcp_server", "--sandbox", "http", "--port", server, "--no-auth"],
      { USEAPI_SANDBOX_JOB_SECONDS: "3" }, `${address}/health`,
    );
    const theirs = await startProcess(process.execPath, [PACKAGE, "--web"], {
      HOST: "127.0.0.1", CLIENT_PORT: web, MCP_SANDBOX_PORT: frames,
      MCP_AUTO_OPEN_ENABLED: "false", MCP_INSPECTOR_API_TOKEN: token,
    }, `http://127.0.0.1:${web}/`);
    return new Inspector(browser, { ours, theirs, web, token, mcp: `${address}/mcp` });
  }

  constructor(browser, parts) {
    Object.assign(this, parts, { browser });
  }

  async close() {
    await this.theirs.close();
    await this.ours.close();
  }

  async closePages() {
    for (const page of this.browser.pages().slice(1)) await page.close();
  }

  /** Calls a tool in the Inspector, which opens its app. */
  async call(tool, given) {
    const page = await this.browser.newPage();
    await page.setViewportSize({ width: 1400, height: 1000 });
    const faults = [];
    const query = new URLSearchParams({
      serverUrl: this.mcp, transport: "http", autoConnect: this.token,
      openApp: tool, appArgs: Buffer.from(JSON.stringify(given)).toString("base64url"), autoOpen: this.token,
    });
    await page.goto(`http://127.0.0.1:${this.web}/?${query}`);
    await page.waitForSelector('[data-app-status="ready"]', { timeout: 30_000 });
    const frame = await until("the page in a frame", async () => {
      for (const frame of page.frames()) {
        if (await frame.$("#card").catch(() => null)) return frame;
      }
      return null;
    });
    return new View(page, frame, faults);
  }
}
