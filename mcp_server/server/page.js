const $ = (id) => document.getElementById(id);
const stillness = matchMedia("(prefers-reduced-motion: reduce)");

/* ---- The host: JSON-RPC over postMessage, MCP Apps 2026-01-26 ------------------------------ */

const ANSWER_MS = 90_000;
const asked = new Map();
let lastId = 0;
let can = {};      // the host's capabilities
let context = {};  // the host's theme, fonts, display modes
let alive = true;

function post(message) {
  parent.postMessage({ jsonrpc: "2.0", ...message }, "*");
}

function ask(method, params) {
  return new Promise((resolve, reject) => {
    const id = ++lastId;
    const timer = setTimeout(() => settle({ id, error: { message: "The app did not answer." } }), ANSWER_MS);
    asked.set(id, { resolve, reject, timer });
    post({ id, method, params });
  });
}

function settle({ id, result, error }) {
  const question = asked.get(id);
  if (!question) return;
  asked.delete(id);
  clearTimeout(question.timer);
  if (error) question.reject(new Error(String(error.message)));
  else question.resolve(result);
}

const callTool = (name, args) => ask("tools/call", { name, arguments: args });

/* Answer what the host says, by method; each page says what it hears. */
function listen(heard) {
  const known = {
    "ping": () => ({}),
    "ui/resource-teardown": () => { alive = false; heard.leave(); return {}; },
    "ui/notifications/tool-input": ({ arguments: given }) => heard.input(given || {}),
    "ui/notifications/tool-result": (result) => heard.result(result),
    "ui/notifications/tool-cancelled": () => heard.cancelled(),
    "ui/notifications/host-context-changed": (changed) => { adopt(changed); heard.adopted(changed); },
  };
  addEventListener("message", ({ source, data }) => {
    if (source !== parent || data?.jsonrpc !== "2.0") return;
    if (typeof data.method !== "string") return settle(data);
    const isKnown = Object.hasOwn(known, data.method);
    const result = isKnown ? known[data.method](data.params || {}) : undefined;
    if (data.id === undefined) return;
    post(isKnown ? { id: data.id, result: result || {} } : { id: data.id, error: { code: -32601, message: "Method not found" } });
  });
}

const isFull = () => context.displayMode === "fullscreen";

/* Take on the host's look; a change names only what changed. */
function adopt(changed = {}) {
  context = { ...context, ...changed };
  const root = document.documentElement;
  if (changed.theme) root.style.colorScheme = changed.theme === "dark" ? "dark" : "light";
  for (const [name, value] of Object.entries(changed.styles?.variables || {})) {
    if (name.startsWith("--") && typeof value === "string") root.style.setProperty(name, value);
  }
  if (changed.styles?.css?.fonts) $("fonts").textContent = changed.styles.css.fonts;
  const inset = context.safeAreaInsets || {};
  document.body.style.padding = ["top", "right", "bottom", "left"].map((side) => `${Number(inset[side]) || 0}px`).join(" ");
  root.classList.toggle("fills", isFull());
  const room = context.containerDimensions?.height ?? context.containerDimensions?.maxHeight;
  root.classList.toggle("boxed", Number.isFinite(room));
  root.style.setProperty("--room", `${Number(room) || 0}px`);
  $("full").hidden = !(context.availableDisplayModes || []).includes("fullscreen");
  turn("full", isFull(), ["Full screen", "Leave full screen"]);
}

function tellSize() {
  if (document.documentElement.classList.contains("fills")) return;
  const { width, height } = document.documentElement.getBoundingClientRect();
  post({ method: "ui/notifications/size-changed", params: { width: Math.ceil(width), height: Math.ceil(height) } });
}

/* Be known to the host; what it can is known from then on. */
async function meet(name, heard) {
  document.head.append(Object.assign(document.createElement("style"), { id: "fonts" }));
  listen(heard);
  adopt();
  const host = await ask("ui/initialize", {
    protocolVersion: "2026-01-26",
    appInfo: { name, version: "1.0.0" },
    appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] },
  });
  can = host.hostCapabilities || {};
  adopt(host.hostContext);
  heard.adopted(host.hostContext || {});
  new ResizeObserver(tellSize).observe(document.documentElement);
  post({ method: "ui/notifications/initialized", params: {} });
}

async function turnFull() {
  const mode = isFull() ? "inline" : "fullscreen";
  const result = await ask("ui/request-display-mode", { mode }).catch(() => null);
  if (result?.mode) adopt({ displayMode: result.mode });
}

$("full").onclick = turnFull;
addEventListener("keydown", ({ key }) => { if (key === "Escape" && isFull()) turnFull(); });

/* An answer's words, and the line of JSON an error ends with. */
function saidBy(result) {
  const text = (result?.content || []).map((part) => part?.text).filter(Boolean).join("\n");
  const lines = text.split("\n");
  try {
    const facts = JSON.parse(lines.at(-1));
    return { text: lines.slice(0, -1).join(" ") || text, facts };
  } catch {
    return { text, facts: {} };
  }
}

/* ---- Words ---------------------------------------------------------------------------------- */

const SERVICES = { "dreamina": "Dreamina", "google-flow": "Google Flow", "pixverse": "PixVerse" };

const from = (table, name) => (Object.hasOwn(table, name) ? table[name] : undefined);
const positive = (value) => (Number.isFinite(value) && value > 0 ? value : 0);
const many = (count, unit) => `${count} ${unit}${count === 1 ? "" : "s"}`;
const rounded = (value, digits = 2) => String(Number(value.toFixed(digits)));
const clockOf = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

/* The only addresses ever loaded or opened. */
function link(url) {
  try {
    return ["http:", "https:"].includes(new URL(url).protocol) ? url : "";
  } catch {
    return "";
  }
}

/* The folder of a saved file, as far as one knows one's way: its last two names. */
function folderOf(path) {
  const names = path.split(/[\\/]/).slice(0, -1).filter(Boolean);
  return names.slice(-2).join("/") || "the output folder";
}

/* Set a text; only a changed one, so that a screen reader hears each once. */
function put(id, text) {
  const element = $(id);
  element.hidden = !text;
  if (text && element.textContent !== text) element.textContent = text;
}

/* Set a line of several facts: it breaks between them, not in them. */
function putParts(id, parts) {
  $(id).hidden = !parts.length;
  $(id).replaceChildren(...parts.flatMap((part, at) => {
    const span = document.createElement("span");
    span.textContent = at < parts.length - 1 ? `${part} ·` : part;
    return [span, " "];
  }));
}

function enable(id, isAble) {
  $(id).setAttribute("aria-disabled", !isAble);
}

const isOff = (id) => $(id).getAttribute("aria-disabled") === "true";
const isOn = (id) => $(id).dataset.on === "true";

/* A button with two names says what it does next; one with a single name whether it is pressed. */
function turn(id, on, names) {
  $(id).dataset.on = on;
  $(id).setAttribute(names ? "aria-label" : "aria-pressed", names ? names[Number(on)] : on);
}

/* ---- The next step: a call with its price, as a sentence for the chat ----------------------- */

/* "Raise to 60 fps": what a step makes. */
function nameOf({ tool, arguments: given, makes }) {
  if (tool === "interpolate_video") return `Raise to ${given.fps} fps`;
  return `Upscale to ${sizeOf(given.resolution || makes || "a larger size")}`;
}

/* "4K", "2×": a size as all services are told of here. */
const sizeOf = (name) => String(name).replace(/^(\d)x$/, "$1×").replace(/^(\d)k$/, "$1K");

const priceOf = ({ price }) => (price === 0 ? "free" : positive(price) ? `about ${many(price, "credit")}` : "price asked first");

/* What the step costs is its cap; a price that nobody knows beforehand is asked about by the tool. */
function sentenceOf(step, source) {
  const given = { source, ...step.arguments };
  if (Number.isFinite(step.price)) given.max_credits = step.price;
  return `${nameOf(step)}, please: ${callOf(step.tool, given)}. ${step.price === 0 ? "It is free." : positive(step.price) ? `It costs ${priceOf(step)}, and I agree to that.` : "Tell me the price first."}`;
}

/* What the step makes stands first in its button, what it costs last. */
function stepButton(step, say) {
  const button = document.createElement("button");
  const price = Object.assign(document.createElement("span"), { className: "price", textContent: priceOf(step) });
  button.className = "step";
  button.append(Object.assign(document.createElement("span"), { textContent: nameOf(step) }), " ", price);
  button.onclick = say;
  return button;
}

function callOf(tool, given) {
  return `${tool}(${Object.entries(given).map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(", ")})`;
}

/* Say it in the chat as the user; where the host takes no messages it is copied to be pasted. */
async function sayInChat(text) {
  if (can.message) {
    const result = await ask("ui/message", { role: "user", content: [{ type: "text", text }] }).catch(() => ({ isError: true }));
    if (!result?.isError) return "It is in the chat now.";
  }
  return (await copy(text)) ? "Copied: paste it into the chat." : `Say in the chat: ${text}`;
}

/* Frames often may not use the clipboard's own way. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = Object.assign(document.createElement("textarea"), { value: text, readOnly: true });
    field.style.cssText = "position: fixed; opacity: 0";
    const focused = document.activeElement;
    document.body.append(field);
    field.select();
    const isDone = document.execCommand("copy");
    field.remove();
    focused?.focus({ preventScroll: true });
    return isDone;
  }
}

/* The content policy tells of a refusal before the element tells of its error, or just after. */
const refused = new Set();
const isRefused = (url) => !!link(url) && (refused.has(url) || refused.has(new URL(url).origin));
