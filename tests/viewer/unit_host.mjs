// The page in a host of our own, whose every answer is scripted.

import { openBrowser, openMedia, PAGE, sample, until } from "./parts.mjs";

export const VIDEO_JOB = "j0302140530123456001V-u12345-CA:user@example.com-bot:dreamina";
export const VIDEO_SOURCE = "j0302140530123456789v-u12345-CA:user@example.com-bot:dreamina";
export const FLOW_JOB = "j1731859234567v-u12345-email:user@example.com-bot:google-flow";
export const FLOW_SOURCE = "user:12345-email:7573-video:sample-1";
export const EVERYTHING = { serverTools: {}, serverResources: {}, openLinks: {}, updateModelContext: {}, message: {} };

export function answer(structuredContent, text = "A sentence.") {
  return { content: [{ type: "text", text }], structuredContent };
}

export function error(text, facts = {}) {
  return { isError: true, content: [{ type: "text", text: `${text}\n${JSON.stringify(facts)}` }] };
}

export class UnitHost {
  static async open(browser) {
    return new UnitHost(browser, await openMedia());
  }

  constructor(browser, media) {
    this.browser = browser;
    this.media = media;
    this.clip = (name) => `${media.origin}/media/clip-${name}.mp4`;
    this.image = (name) => `${media.origin}/media/image-${name}.jpg`;
    this.thumbnail = `${media.origin}/media/thumbnail-320x180.jpg`;
  }

  /** The same in a browser of a device with a touch screen. */
  async onTouch() {
    this.touch ||= new UnitHost(await openBrowser({ hasTouch: true }), this.media);
    return this.touch;
  }

  async close() {
    this.media.close();
    await this.touch?.browser.close();
  }

  job(changes) {
    return {
      job_id: VIDEO_JOB, service: "dreamina", operation: "upscale_video", status: "running",
      source: VIDEO_SOURCE, model: "seedance-2.0-fast", forecast_credits: 30,
      created_at: new Date(Date.now() - 80_000).toISOString(), ...changes,
    };
  }

  running(changes) {
    return answer(this.job({ poll_after_seconds: 1, ...changes }));
  }

  upscaled(changes) {
    const media = [{ kind: "video", url: this.clip("1280x720-24fps"), width: 1280, height: 720 }];
    return answer(this.job({ status: "completed", media, ...changes }), `Job ${VIDEO_JOB} is completed.`);
  }

  source(changes) {
    const media = [{ kind: "video", url: this.clip("640x360-24fps"), width: 640, height: 360 }];
    return answer(this.job({ job_id: VIDEO_SOURCE, operation: "generate_video", status: "completed", source: undefined, media, ...changes }));
  }

  upscaledImage(changes) {
    const media = [{ kind: "image", url: this.image("3840x2160"), width: 3840, height: 2160 }];
    return answer(this.job({ operation: "upscale_image", model: "seedream-4.0", forecast_credits: 0, status: "completed", media, ...changes }));
  }

  sourceImages(count = 4) {
    const media = Array.from({ length: count }, (_, at) => ({ kind: "image", url: `${this.image("1280x720")}?${at}`, width: 1280, height: 720 }));
    return answer(this.job({ job_id: VIDEO_SOURCE, operation: "generate_image", status: "completed", source: undefined, media }));
  }

  /** An answer with what can be done next, as the server tells the page alone. */
  steps(steps) {
    return (result) => ({ ...result, _meta: { ...result._meta, "useapi-mcp/steps": steps } });
  }

  /** What the server's resource for the link of a medium holds. */
  assetLink(url) {
    return { contents: [{ uri: "useapi://media", mimeType: "application/json", text: JSON.stringify({ url }) }] };
  }

  /** A sample, as the server's resource for a saved file holds it. */
  savedFile(name) {
    return { contents: [{ uri: "useapi://jobs", mimeType: "application/octet-stream", blob: sample(name).toString("base64") }] };
  }

  /** A page of list_media: one of each kind and service, several times. */
  found({ count = 9, ...changes } = {}) {
    const kinds = [
      { service: "dreamina", kind: "video", source: VIDEO_SOURCE, model: "seedance-2.0-fast", width: 640, height: 360, duration_ms: 2000, url: this.clip("640x360-24fps"), thumbnail_url: this.thumbnail, can: ["upscale_video", "interpolate_video", "download_media"], made_here: true, prompt: "A windmill at dusk, a balloon behind it" },
      { service: "google-flow", kind: "video", source: FLOW_SOURCE, model: "veo-3.1", width: 1280, height: 720, duration_ms: 8000, url: this.clip("1280x720-24fps"), can: ["upscale_video"], prompt: "The mill turns faster as the wind comes up" },
      { service: "pixverse", kind: "image", source: "user:12345-pixverse:user@example.com-image:7", width: 1280, height: 720, url: this.image("1280x720"), can: ["upscale_image", "download_media"], prompt: "Windmill, flat colours" },
      { service: "google-flow", kind: "image", source: FLOW_SOURCE.replace("video", "image"), can: ["upscale_image"] },
      { service: "dreamina", kind: "image", width: 1280, height: 720, url: this.image("1280x720"), can: [], prompt: "Four mills" },
    ];
    const ages_s = [40, 600, 7200, 90_000, 200_000, 900_000];
    const media = Array.from({ length: count }, (_, at) => ({
      ...kinds[at % kinds.length], created_at: new Date(Date.now() - 1000 * ages_s[at % ages_s.length]).toISOString(),
    }));
    const price = {
      "dreamina upscale_video": [{ tool: "upscale_video", arguments: {}, price: 30, makes: "2x" }],
      "dreamina interpolate_video": [{ tool: "interpolate_video", arguments: { fps: 60 }, price: 66 }],
      "google-flow upscale_video": [{ tool: "upscale_video", arguments: { resolution: "1080p" }, price: 0 }, { tool: "upscale_video", arguments: { resolution: "4K" }, price: 50 }],
      "pixverse upscale_image": [{ tool: "upscale_image", arguments: {}, makes: "4K" }],
      "google-flow upscale_image": [{ tool: "upscale_image", arguments: { resolution: "4k" }, price: 0 }],
    };
    return this.steps(price)(answer({ media, ...changes }, `${count} found.`));
  }

  /** An answer of list_jobs: what it is about in its data, and its pictures for the page alone. */
  listed(changes = {}) {
    const job = (operation, status, more) => ({ job_id: VIDEO_JOB, service: "dreamina", operation, status, source: VIDEO_SOURCE, created_at: new Date(Date.now() - 80_000).toISOString(), ...more });
    const jobs = [
      job("interpolate_video", "running", { options: { fps: 60 } }),
      job("upscale_video", "completed", {}),
      job("upscale_image", "completed", { service: "google-flow", job_id: FLOW_JOB, options: { resolution: "4k" }, path: "/home/me/Downloads/useapi-mcp/a.jpg" }),
      job("upscale_video", "failed", { service: "pixverse" }),
      job("generate_video", "unconfirmed", { job_id: "useapi-mcp:01jq0000000000000000000000", source: "A windmill at dusk" }),
    ];
    const rows = [
      {},
      { kind: "video", url: this.clip("1280x720-24fps"), thumbnail_url: this.thumbnail, width: 1280, height: 720, can: ["interpolate_video"] },
      { kind: "image", width: 2560, height: 1440, can: [] },
      {}, {},
    ];
    const price = { "dreamina interpolate_video": [{ tool: "interpolate_video", arguments: { fps: 60 }, price: 66 }] };
    return { ...this.steps(price)(answer({ jobs, ...changes })), _meta: { "useapi-mcp/steps": price, "useapi-mcp/rows": rows } };
  }

  async closePages() {
    for (const page of this.browser.pages().slice(1)) await page.close();
    await this.touch?.closePages();
  }

  /** An answer that comes when the case calls `release()`: what was there before can be looked at. */
  held(answer) {
    return { isHeld: true, answer };
  }

  /** The page as a host with this script shows it; the media origin is allowed unless `csp` says. */
  async show({ width = 720, height = 720, csp = `data: ${this.media.origin}`, motion = "no-preference", html = PAGE, ...script } = {}) {
    const page = await this.browser.newPage();
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ reducedMotion: motion });
    const faults = [];
    page.on("pageerror", (fault) => faults.push(fault.message));
    await page.goto(`${this.media.origin}/host.html`);
    const rules = `default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src ${csp}; media-src ${csp}`;
    const meta = `<meta http-equiv="Content-Security-Policy" content="${rules}">`;
    await page.evaluate((script) => open(script), {
      can: EVERYTHING,
      context: { theme: "light", displayMode: "inline", availableDisplayModes: ["inline", "fullscreen"] },
      input: { source: VIDEO_SOURCE },
      opens: {},
      ...script,
      answers: { [`get_job ${VIDEO_SOURCE}`]: [this.source()], ...script.answers },
      html: html.replace("<meta", `${meta}<meta`),
    });
    const handle = await page.waitForSelector("iframe");
    return new View(page, await handle.contentFrame(), faults);
  }
}

/** What a case asks of the page. */
export class View {
  constructor(page, frame, faults = []) {
    Object.assign(this, { page, frame, faults });
  }

  close() {
    return this.page.close();
  }

  text(id) {
    return this.frame.$eval(`#${id}`, (element) => (element.checkVisibility({ visibilityProperty: true }) ? element.innerText.trim() : ""));
  }

  state() {
    return this.frame.$eval("#card", (card) => card.dataset.state);
  }

  isShown(id) {
    return this.frame.$eval(`#${id}`, (element) => element.checkVisibility({ visibilityProperty: true }));
  }

  css(selector, name) {
    return this.frame.$eval(selector, (element, name) => getComputedStyle(element).getPropertyValue(name), name);
  }

  reaches(state) {
    return until(`state ${state}`, async () => (await this.state()) === state, () => this.state());
  }

  says(headline) {
    const said = () => this.frame.$eval("#headline", (element) => element.textContent);
    return until(`headline ${headline}`, async () => (await said()) === headline, said);
  }

  /** Waits for a text that the page learns from the files themselves, when they are loaded. */
  tells(id, text) {
    return until(`${id}: ${text}`, async () => (await this.text(id)) === text, () => this.text(id));
  }

  /** Lets the host send the next answer that the case has held back. */
  release() {
    return until("a held answer", () => this.page.evaluate(() => !!held[0] && (held.shift()(), true)));
  }

  /** Changes the theme, and waits until the page has it. */
  async turns(theme) {
    await this.send({ method: "ui/notifications/host-context-changed", params: { theme } });
    await until(theme, async () => (await this.css("html", "color-scheme")) === theme);
  }

  /** Waits until the host was told how high the page is. */
  tellsItsHeight() {
    return until("its height", async () => (await this.asked("ui/notifications/size-changed")).at(-1)?.height === (await this.height()));
  }

  /** What is loaded, before and after: [width, height] of each picture, or null. */
  loaded() {
    return this.frame.evaluate(() => ["before", "after"].map((layer) => {
      const media = document.querySelector(`#${layer}:not([hidden]) :is(video, img)`);
      const width = media?.videoWidth || media?.naturalWidth;
      return width ? [width, media.videoHeight || media.naturalHeight] : null;
    }));
  }

  shows(before, after) {
    return until(`media ${before} and ${after}`, async () => {
      const widths = (await this.loaded()).map((size) => size?.[0]);
      return widths[0] === before && widths[1] === after;
    }, () => this.loaded());
  }

  videos() {
    return this.frame.evaluate(() => ["before", "after"].map((layer) => document.querySelector(`#${layer} video`)).filter(Boolean)
      .map(({ currentTime, paused, muted }) => ({ currentTime, paused, muted })));
  }

  /** What the page asked of the host: its calls of a method, as their parameters. */
  asked(method) {
    return this.page.evaluate((method) => log.filter((m) => m.method === method).map((m) => m.params), method);
  }

  async reads(jobId) {
    return (await this.asked("tools/call")).filter(({ name, arguments: given }) => name === "get_job" && given.job_id === jobId).length;
  }

  zoom() {
    return this.frame.$eval("#stage", (stage) => Number(stage.style.getPropertyValue("--zoom")));
  }

  /** Chooses fit (0), 100 % (1) or 200 % (2). */
  size(hundreds) {
    return this.frame.check(`#sizes input[value="${hundreds}"]`, { force: true });
  }

  sizeChosen() {
    return this.frame.$eval("#sizes input:checked + span", (span) => span.textContent);
  }

  send(message) {
    return this.page.evaluate((message) => send(message), message);
  }

  height() {
    return this.frame.$eval("html", (html) => Math.ceil(html.getBoundingClientRect().height));
  }

  overflow() {
    return this.frame.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  }
}
