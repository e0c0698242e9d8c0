// The page in a host of our own, whose every answer is scripted.

import { openMedia, PAGE, until } from "./parts.mjs";

export const VIDEO_JOB = "j0302140530123456001V-u12345-CA:user@example.com-bot:dreamina";
export const VIDEO_SOURCE = "j0302140530123456789v-u12345-CA:user@example.com-bot:dreamina";
export const FLOW_JOB = "j1731859234567v-u12345-email:user@example.com-bot:google-flow";
export const EVERYTHING = { serverTools: {}, openLinks: {}, updateModelContext: {} };

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
    this.close = media.close;
    this.clip = (name) => `${media.origin}/media/clip-${name}.mp4`;
    this.image = (name) => `${media.origin}/media/image-${name}.jpg`;
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

  async closePages() {
    for (const page of this.browser.pages().slice(1)) await page.close();
  }

  /** The page as a host with this script shows it; the media origin is allowed unless `csp` says. */
  async show({ width = 720, height = 720, csp = this.media.origin, motion = "no-preference", ...script } = {}) {
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
      html: PAGE.replace("<meta", `${meta}<meta`),
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
    return this.frame.$eval(`#${id}`, (element) => (element.checkVisibility() ? element.innerText.trim() : ""));
  }

  state() {
    return this.frame.$eval("#card", (card) => card.dataset.state);
  }

  isShown(id) {
    return this.frame.$eval(`#${id}`, (element) => element.checkVisibility());
  }

  css(selector, name) {
    return this.frame.$eval(selector, (element, name) => getComputedStyle(element).getPropertyValue(name), name);
  }

  reaches(state) {
    return until(`state ${state}`, async () => (await this.state()) === state);
  }

  says(headline) {
    return until(`headline ${headline}`, async () => {
      const said = await this.frame.$eval("#headline", (element) => element.textContent);
      return headline instanceof RegExp ? headline.test(said) : said === headline;
    });
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
    });
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
