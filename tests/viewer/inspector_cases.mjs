// What the page does in a real host, in front of our own server: the sandbox's jobs take 3 s.

import { deepEqual, equal, ok } from "node:assert/strict";
import { until } from "./parts.mjs";

const dreamina = (number, letter = "v") => `j0302140530123456${number}${letter}-u12345-${letter === "i" ? "US" : "CA"}:user@example.com-bot:dreamina`;
const flow = (kind, name) => `user:12345-email:${Buffer.from("user@example.com").toString("hex")}-${kind}:${name}`;

export const CASES = {
  async "upscale_video is followed from running to before and after"(inspector) {
    const view = await inspector.call("upscale_video", { source: dreamina(789) });
    await view.shows(640, 1280);
    equal(await view.state(), "completed");
    await until("both facts", async () => (await view.text("before-facts")).includes("640 × 360") && (await view.text("after-facts")).includes("1280 × 720"));
    await until("playing", async () => (await view.videos()).every((video) => !video.paused && video.currentTime > 0.2));
    return view;
  },

  async "interpolate_video shows 60 frames per second"(inspector) {
    const view = await inspector.call("interpolate_video", { source: dreamina(790), fps: 60, max_credits: 66 });
    await view.shows(640, 640);
    await until("its rate", async () => (await view.text("after-facts")).includes("60 fps"), () => view.text("after-facts"));
    return view;
  },

  async "upscale_image shows the result beside the very image, though the host doesn't tell which it was"(inspector) {
    // This Inspector drops `tool-input` of an app it has just opened; the job's options name the image.
    const view = await inspector.call("upscale_image", { source: dreamina(789, "i"), resolution: "8k", image_index: 2, max_credits: 50 });
    await view.shows(1280, 7680);
    await view.tells("after-facts", "7680 × 4320");
    return view;
  },

  async "a Google Flow image is a file on disk: it is read as a resource, and the page says where it is"(inspector) {
    const view = await inspector.call("upscale_image", { source: flow("image", "sample-1") });
    await view.shows(1280, 2560);
    await view.tells("gain", "2× · 4 times the pixels");
    ok((await view.text("told")).startsWith("Saved on the server’s disk, in "));
    return view;
  },

  async "a Google Flow video stands beside its source, whose link is read as a resource"(inspector) {
    const view = await inspector.call("upscale_video", { source: flow("video", "sample-2") });
    await view.shows(1280, 1920);
    await until("it opens magnified", async () => (await view.zoom()) > 1);
    return view;
  },

  async "the next step stands there with its price; this host takes no messages, so it is copied"(inspector) {
    const view = await inspector.call("upscale_video", { source: dreamina(789) });
    await view.shows(640, 1280);
    equal(await view.text("steps"), "Raise to 60 fps\nabout 66 credits");
    await view.frame.click("#steps button");
    await until("told", async () => /^(Copied: paste it into the chat\.|Say in the chat: .*max_credits=66)/.test(await view.text("told")));
    return view;
  },

  async "a running job is cancelled from its page, and the gallery of jobs says so"(inspector) {
    const view = await inspector.callPatient("upscale_video", { source: dreamina(789) });
    await view.says("Upscaling the video");
    await view.shows(640, undefined);
    ok(/^(just started|for \d+ seconds?) · usually 1 to 3 minutes$/.test(await view.text("elapsed")));
    await view.frame.click("#cancel");
    equal(await view.state(), "running", "one press asks");
    await view.frame.click("#cancel");
    await view.says("The job was cancelled.");
    equal(await view.text("pill"), "Cancelled");
    ok(!(await view.isShown("cancel")) && !(await view.isShown("running")));
    const jobs = await inspector.callPatient("list_jobs", {});
    await until("its state", () => jobs.frame.$(".tile .state:text('Cancelled')"));
    deepEqual(await jobs.frame.$$eval(".calls button", (all) => all.map(({ textContent }) => textContent)), [], "nothing can be done with it");
    return view;
  },

  async "what Google Flow is running can't be taken back, so no button says so"(inspector) {
    const view = await inspector.callPatient("upscale_video", { source: flow("video", "sample-2"), resolution: "1080p" });
    await view.says("Upscaling the video");
    ok(await view.isShown("running"));
    ok(!(await view.isShown("cancel")));
    return view;
  },

  async "the gallery's steps have their price, and what is pressed is a sentence for the chat"(inspector) {
    const view = await inspector.call("list_media", { service: "google-flow", kind: "video" });
    const tile = await until("a video", () => view.frame.$(".tile:has(.step)"));
    const steps = await tile.$$eval(".step", (all) => all.map(({ textContent }) => textContent));
    deepEqual(steps, ["Upscale to 1080p free", "Upscale to 4K about 50 credits"]);
    await (await tile.$(".step:nth-of-type(2)")).click();
    const said = await until("said", async () => (await (await tile.$(".said")).textContent()) || null);
    ok(/^(Copied: paste it into the chat\.|Say in the chat: .*max_credits=50)/.test(said), said);
    await view.frame.selectOption("#kind", "image");
    await until("only images", () => view.frame.$$eval(".picture .tag", (all) => all.length > 0 && all.every(({ textContent }) => textContent.startsWith("Image"))));
    return view;
  },

  async "list_media is a gallery, which can be filtered and has more"(inspector) {
    const view = await inspector.call("list_media", { limit: 8 });
    const count = () => view.frame.$$eval(".tile", (tiles) => tiles.length);
    await until("eight or more", async () => (await count()) >= 8);
    await until("pictures", async () => (await view.frame.$$eval(".picture :is(img, video)", (all) => all.filter((media) => media.naturalWidth || media.videoWidth).length)) >= 4);
    await view.frame.$eval("#more", (more) => more.click());
    await until("more", async () => (await count()) > 8);
    await view.frame.selectOption("#service", "google-flow");
    await until("only those", async () => (await count()) > 0 && (await view.frame.$$eval(".about", (all) => all.every(({ textContent }) => textContent.startsWith("Google")))));
    ok((await view.frame.$$eval(".step", (all) => all.map(({ textContent }) => textContent))).includes("Upscale to 4K about 50 credits"));
    return view;
  },

  async "list_jobs is a gallery, whose jobs can be saved"(inspector) {
    await (await inspector.call("upscale_video", { source: dreamina(789) })).shows(640, 1280);
    const view = await inspector.call("list_jobs", {});
    const tile = await until("the job", () => view.frame.$(".tile:has(.calls button:text('Save'))"));
    await (await tile.$("button:text('Save')")).click();
    await until("saved", async () => (await (await tile.$(".said")).textContent()).startsWith("Saved in "));
    return view;
  },

  async "Save puts the file on disk and shows its path, and it is still shown"(inspector) {
    const view = await inspector.call("get_job", { job_id: dreamina(789) });
    await view.shows(undefined, 640);
    await view.frame.click("#save");
    await until("the path", async () => (await view.text("told")).startsWith("Saved on the server’s disk, in "));
    ok((await view.frame.getAttribute("#told", "title")).endsWith(".mp4"));
    const again = await inspector.call("get_job", { job_id: dreamina(789) }); // whose data holds no link any more
    await again.shows(undefined, 640);
    return again;
  },

  async "a job that is refused after it was taken is told as failed"(inspector) {
    const view = await inspector.call("upscale_video", { source: dreamina(804) });
    await view.reaches("failed");
    ok((await view.text("detail")).length > 10);
    return view;
  },

  async "a call that can't be done is told as an error"(inspector) {
    const view = await inspector.call("upscale_video", { source: dreamina(412) });
    await view.says("That didn’t work.");
    ok(!(await view.text("detail")).includes("{"));
    return view;
  },
};
