// The parts every case runs in: a browser, a server of pages and sample media, our own server.

import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

export const HERE = new URL(".", import.meta.url).pathname;
export const ROOT = join(HERE, "../..");
export const INSTALLED = join(ROOT, ".viewer");
export const PAGE = page("viewer.html");
export const GALLERY = page("gallery.html");
const SAMPLES = join(ROOT, "mcp_server/sandbox/samples");
export const sample = (name) => readFileSync(join(SAMPLES, name));
const TYPES = { mp4: "video/mp4", jpg: "image/jpeg", html: "text/html" };

const { chromium } = createRequire(join(INSTALLED, "package.json"))("playwright-core");

/** A page as our server serves it: with its parts, without comments and indentation. */
function page(name) {
  const text = (name) => readFileSync(join(ROOT, "mcp_server/server", name), "utf8");
  const whole = text(name).replace(/\/\*\{([a-z.]+)\}\*\//g, (_, part) => text(part))
    .replace(/^\s*\/\*(?:(?!\*\/).)*\*\/$/gms, "");
  return whole.split("\n").map((line) => line.trim()).filter(Boolean).join("\n");
}

/** What takes longer hangs: far more than a loaded machine needs, so that only a fault breaks it. */
export const LONGEST_MS = 120_000;

// A fresh profile each time; nothing of the browser's own goes out.
export async function openBrowser(options = {}) {
  const executablePath = process.env.CHROMIUM || "/usr/bin/chromium";
  const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"];
  const browser = await chromium.launchPersistentContext("", { executablePath, headless: true, args, viewport: null, timeout: LONGEST_MS, ...options });
  browser.setDefaultTimeout(LONGEST_MS);
  return browser;
}

/** Serves the host page and the sandbox's samples; `/expired/…` is 403 until `renew()`. */
export async function openMedia() {
  const server = createServer((request, response) => {
    const [, folder, name] = new URL(request.url, "http://127.0.0.1").pathname.split("/");
    if (folder === "expired") return response.writeHead(403).end("Request has expired");
    const file = folder === "media" ? join(SAMPLES, name) : join(HERE, "host.html");
    if (!existsSync(file)) return response.writeHead(404).end();
    sendFile(request, response, readFileSync(file), TYPES[file.split(".").at(-1)]);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

function sendFile(request, response, content, type) {
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range || "");
  const head = { "Content-Type": type, "Accept-Ranges": "bytes" };
  if (!range) return response.writeHead(200, head).end(content);
  const [first, last] = [Number(range[1]), Number(range[2] || content.length - 1)];
  head["Content-Range"] = `bytes ${first}-${last}/${content.length}`;
  response.writeHead(206, head).end(content.subarray(first, last + 1));
}

/** Starts a process and waits until it answers at `address`; everything it says is kept. */
export async function startProcess(command, args, environment, address) {
  const child = spawn(command, args, { cwd: ROOT, env: { ...process.env, ...environment } });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => { said += bytes; });
  const over = new Promise((resolve) => child.on("exit", resolve));
  const end = Date.now() + LONGEST_MS;
  while (!(await fetch(address).then(() => true, () => false))) {
    if (child.exitCode !== null || Date.now() > end) throw new Error(`${command} ${args.join(" ")} did not start:\n${said}`);
    await pause(100);
  }
  return { said: () => said, close: async () => { child.kill("SIGTERM"); await over; } };
}

export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.on("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** What `check` gives as soon as that is true; `seen` tells what was there instead, for the error. */
export async function until(what, check, seen) {
  const end = Date.now() + LONGEST_MS;
  while (Date.now() < end) {
    const last = await check();
    if (last) return last;
    await pause(50);
  }
  throw new Error(`never came true: ${what}${seen ? `; it was ${JSON.stringify(await seen())}` : ""}`);
}
