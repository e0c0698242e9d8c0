// What the page does in a host whose every answer is scripted. Each case is a sentence and a story.

import { deepEqual, equal, notEqual, ok } from "node:assert/strict";
import { answer, error, EVERYTHING, FLOW_JOB, FLOW_SOURCE, VIDEO_JOB, VIDEO_SOURCE } from "./unit_host.mjs";
import { pause, until } from "./parts.mjs";

const OUR_ID = "useapi-mcp:01jq0000000000000000000000";
const INLINE = { theme: "light", displayMode: "inline" };

export const CASES = {
  async "a job is followed from submitting to the finished video, without a jump"(host) {
    const sending = answer(host.job({ job_id: OUR_ID, status: "submitting", poll_after_seconds: 3 }));
    const answers = { [`get_job ${OUR_ID}`]: [host.running()], [`get_job ${VIDEO_JOB}`]: [host.running(), host.held(host.upscaled())] };
    answers[`get_job ${OUR_ID}`] = answers[`get_job ${OUR_ID}`].map(host.held);
    const view = await host.show({ result: sending, answers });
    await view.says("Handing the job to Dreamina");
    equal(await view.text("pill"), "Sending");
    await view.release();
    await view.says("Upscaling the video");
    await view.shows(640, undefined);
    equal(await view.text("after-facts"), "not ready yet");
    const before = [await view.height(), await view.css("#stage", "height")];
    await view.release();
    await view.reaches("completed");
    await view.shows(640, 1280);

    equal(await view.text("title"), "Video upscale");
    equal(await view.text("about"), "Dreamina · seedance-2.0-fast · about 30 credits");
    equal(await view.text("pill"), "Completed");
    deepEqual([await view.height(), await view.css("#stage", "height")], before, "another height when the job ends");
    equal(await view.reads(OUR_ID), 1);
    equal(await view.reads(VIDEO_JOB), 2);
    await pause(1500);
    equal(await view.reads(VIDEO_JOB), 2, "a job that has ended is not read again");
    const [told] = await view.asked("ui/update-model-context");
    equal(told.content[0].text, `Job ${VIDEO_JOB} is completed.`);
    return view;
  },

  async "a running job tells its time in words, and a screen reader hears the state once"(host) {
    const view = await host.show({ result: host.running({ poll_after_seconds: 60 }) });
    await view.says("Upscaling the video");
    const before = await view.text("elapsed");
    await view.frame.evaluate(() => {
      window.changes = 0;
      new MutationObserver((seen) => { window.changes += seen.length; })
        .observe(document.querySelector("#status"), { subtree: true, childList: true, characterData: true });
    });
    await pause(2500);

    ok(/^for 1 minute \d+ seconds? · usually 1 to 3 minutes$/.test(before), before);
    notEqual(await view.text("elapsed"), before);
    equal(await view.frame.evaluate(() => window.changes), 0);
    const bar = await view.frame.$eval("#progress", (bar) => [bar.getAttribute("role"), bar.hasAttribute("aria-valuenow"), bar.checkVisibility()]);
    deepEqual(bar, ["progressbar", false, true]);
    return view;
  },

  async "how long it usually takes is said where the services say so, beside the progress"(host) {
    const jobs = [
      [{ operation: "upscale_image" }, "usually 15 seconds to 2 minutes"],
      [{ service: "google-flow", options: { resolution: "4K" } }, "usually a few minutes"],
      [{ service: "google-flow", options: { resolution: "1080p" } }, "usually under a minute"],
      [{ service: "pixverse" }, "usually 1 to 5 minutes"],
      [{ service: "pixverse", operation: "upscale_image" }, undefined],
    ];
    let view;
    for (const [changes, expected] of jobs) {
      await view?.close();
      view = await host.show({ result: host.running({ poll_after_seconds: 60, source: undefined, ...changes }) });
      await view.reaches("running");
      equal((await view.text("elapsed")).split(" · ")[1], expected);
      const [bar, words] = await view.frame.$$eval("#progress, #elapsed", (all) => all.map((element) => element.getBoundingClientRect().toJSON()));
      ok(bar.right < words.left && words.top < bar.top && words.bottom > bar.bottom);
    }
    return view;
  },

  async "a finished video stands beside its source, with the size and frame rate of both"(host) {
    const media = [{ kind: "video", url: host.clip("640x360-60fps"), width: 640, height: 360, frame_rate: 60, size_bytes: 97_805 }];
    const view = await host.show({ result: host.upscaled({ operation: "interpolate_video", media }) });
    await view.shows(640, 640);
    await view.tells("before-facts", "640 × 360 · 24 fps · 0:02");
    await view.tells("after-facts", "640 × 360 · 60 fps · 0:02 · 98 kB");
    equal(await view.text("title"), "24 → 60 fps");
    equal(await view.text("gain"), "2.5 times the frames");
    return view;
  },

  async "both videos play in step, pause together and seek together"(host) {
    const view = await host.show({ result: host.upscaled() });
    await view.shows(640, 1280);
    await until("playing", async () => (await view.videos()).every((video) => !video.paused && video.currentTime > 0.3));
    for (const shift of [-0.6, 0.15]) {
      const apart = () => view.frame.evaluate(() => {
        const [before, after] = ["#before video", "#after video"].map((video) => document.querySelector(video).currentTime);
        return before - after;
      });
      await until("early enough", async () => (await view.videos())[1].currentTime < 0.9);
      await view.frame.$eval("#before video", (video, shift) => { video.currentTime += shift; }, shift);
      await until("in step", async () => Math.abs(await apart()) < 0.04, apart);
    }
    await until("the end and round again", async () => (await view.videos())[1].currentTime > 1.5);
    await until("the beginning", async () => (await view.videos())[1].currentTime < 0.5);
    await view.frame.click("#play");
    ok((await view.videos()).every((video) => video.paused && video.muted));
    equal(await view.frame.getAttribute("#play", "aria-label"), "Play");
    await view.frame.fill("#time", "500");
    await until("both at the middle", async () => (await view.videos()).every(({ currentTime }) => Math.abs(currentTime - 1) < 0.06));
    equal(await view.frame.getAttribute("#time", "aria-valuetext"), "1.0 of 2.0 seconds");
    await pause(300);
    ok((await view.videos()).every((video) => video.paused), "a seek starts nothing");
    await view.frame.click("#sound");
    deepEqual((await view.videos()).map(({ muted }) => muted), [true, false]);
    return view;
  },

  async "a finished image stands beside the very image that was upscaled"(host) {
    const answers = { [`get_job ${VIDEO_SOURCE}`]: [host.sourceImages()] };
    const view = await host.show({ result: host.upscaledImage(), answers, input: { source: VIDEO_SOURCE, image_index: 2 } });
    await view.shows(1280, 3840);
    equal(await view.text("before-facts"), "1280 × 720");
    equal(await view.text("after-facts"), "3840 × 2160");
    ok((await view.frame.getAttribute("#before img", "src")).endsWith("?2"));
    ok(!(await view.isShown("play")) && !(await view.isShown("time")));
    equal(await view.frame.getAttribute("#after img", "alt"), "The resulting image");
    return view;
  },

  async "the job's options say which image was upscaled, in a view of get_job too"(host) {
    const answers = { [`get_job ${VIDEO_SOURCE}`]: [host.sourceImages()] };
    const view = await host.show({ result: host.upscaledImage({ options: { image_index: 1 } }), answers, input: { job_id: VIDEO_JOB } });
    await view.shows(1280, 3840);
    ok((await view.frame.getAttribute("#before img", "src")).endsWith("?1"));
    return view;
  },

  async "saved files are shown by the links that only the viewer is given"(host) {
    const saved = (whole, name) => {
      const [{ url, ...file }] = whole.structuredContent.media;
      const structuredContent = { ...whole.structuredContent, media: [{ ...file, path: `/home/me/${name}.mp4` }] };
      return { ...whole, structuredContent, _meta: { "useapi-mcp/links": [{ url }] } };
    };
    const answers = { [`get_job ${VIDEO_SOURCE}`]: [saved(host.source(), "before")] };
    const view = await host.show({ result: saved(host.upscaled(), "after"), answers });
    await view.shows(640, 1280);
    equal(await view.text("told"), "Saved in home/me");
    return view;
  },

  async "where it isn't known which image was the source, only the result is shown"(host) {
    const answers = { [`get_job ${VIDEO_SOURCE}`]: [host.sourceImages()] };
    const view = await host.show({ result: host.upscaledImage(), answers, input: { job_id: VIDEO_JOB } });
    await view.shows(undefined, 3840);
    ok(!(await view.isShown("handle")) && !(await view.isShown("was")));
    equal(await view.text("after-label"), "Result");
    return view;
  },

  async "the source of a Google Flow video is found by its id, which names no job"(host) {
    const result = host.upscaled({ service: "google-flow", job_id: FLOW_JOB, source: FLOW_SOURCE });
    const view = await host.show({ result, resources: { [`useapi://media/${encodeURIComponent(FLOW_SOURCE)}`]: host.assetLink(host.clip("640x360-24fps")) } });
    await view.shows(640, 1280);
    deepEqual(await view.asked("tools/call"), []);
    await view.tells("gain", "2× · 4 times the pixels");
    ok((await view.zoom()) > 1);
    return view;
  },

  async "a Google Flow source without a link leaves the result alone, and no job is asked for"(host) {
    const result = host.upscaled({ service: "google-flow", job_id: FLOW_JOB, source: "user:12345-email:7573-video:sample-1" });
    const view = await host.show({ result });
    await view.shows(undefined, 1280);
    deepEqual(await view.asked("tools/call"), []);
    await until("playing", async () => (await view.videos()).every((video) => !video.paused));
    return view;
  },

  async "several files are shown one at a time"(host) {
    const view = await host.show({ result: answer(host.sourceImages().structuredContent) });
    await view.shows(undefined, 1280);
    equal(await view.frame.$$eval("#files button", (buttons) => buttons.length), 4);
    await view.frame.click("#files button:nth-child(3)");
    await until("the third file", async () => (await view.frame.getAttribute("#after img", "src")).endsWith("?2"));
    equal(await view.frame.getAttribute("#files button:nth-child(3)", "aria-pressed"), "true");
    return view;
  },

  async "a failed job says why, and offers nothing to open"(host) {
    const failure = { code: "vendor_failed", message: "fail_code: 2043: OutputVideoRisk: the output did not pass" };
    const view = await host.show({ result: host.running(), answers: { [`get_job ${VIDEO_JOB}`]: [answer(host.job({ status: "failed", failure }))] } });
    await view.says("Dreamina could not do it.");
    equal(await view.text("detail"), "The output did not pass. (Code 2043)");
    equal(await view.text("pill"), "Failed");
    ok(!(await view.isShown("foot")) && !(await view.isShown("running")) && !(await view.isShown("elapsed")));
    return view;
  },

  async "a moderated job says that the same source will be refused again"(host) {
    const failure = { code: "moderated", message: "PixVerse's moderation refused the result." };
    const view = await host.show({ result: answer(host.job({ service: "pixverse", status: "failed", failure })) });
    await view.says("The moderation of PixVerse refused it.");
    equal(await view.text("detail"), "The same source will be refused again.");
    return view;
  },

  async "a cancelled job is told as such"(host) {
    const failure = { code: "cancelled", message: "Cancelled by user" };
    const view = await host.show({ result: answer(host.job({ status: "cancelled", failure })) });
    await view.says("The job was cancelled.");
    equal(await view.text("pill"), "Cancelled");
    return view;
  },

  async "an unconfirmed job is told as such, not sent again, and can be looked for"(host) {
    const lost = answer(host.job({ job_id: OUR_ID, status: "unconfirmed" }));
    const view = await host.show({ result: lost, answers: { [`get_job ${OUR_ID}`]: [host.upscaled()] } });
    await view.says("It isn’t known whether Dreamina took this job.");
    ok((await view.text("detail")).includes("charged twice"));
    equal(await view.text("again"), "Look again");
    await pause(1500);
    equal(await view.reads(OUR_ID), 0, "it is not asked for unless told to");
    await view.frame.click("#again");
    await view.shows(640, 1280);
    return view;
  },

  async "a host whose policy blocks the file is told apart, and the file can be opened"(host) {
    const view = await host.show({ result: host.upscaled(), csp: "https://elsewhere.example" });
    await view.says("The result is ready, but this app can’t show it.");
    ok((await view.text("detail")).includes(new URL(host.media.origin).host));
    ok(await view.isShown("note"));
    equal(await view.text("open"), "Open");
    equal(await view.text("again"), "");
    await view.frame.click("#open");
    deepEqual(await view.asked("ui/open-link"), [{ url: host.clip("1280x720-24fps") }]);
    return view;
  },

  async "an image that the policy blocks is told the same way"(host) {
    const answers = { [`get_job ${VIDEO_SOURCE}`]: [host.sourceImages(1)] };
    const view = await host.show({ result: host.upscaledImage(), answers, csp: "'none'" });
    await view.says("The result is ready, but this app can’t show it.");
    return view;
  },

  async "an expired link is asked for anew"(host) {
    const dead = [{ kind: "video", url: `${host.media.origin}/expired/a.mp4`, width: 1280, height: 720 }];
    const view = await host.show({ result: host.upscaled({ media: dead }), answers: { [`get_job ${VIDEO_JOB}`]: [host.upscaled()] } });
    await view.says("The file can’t be loaded.");
    ok((await view.text("detail")).includes("expire"));
    equal(await view.text("again"), "Get a fresh link");
    await view.frame.click("#again");
    await view.shows(640, 1280);
    ok(await view.isShown("play"));
    return view;
  },

  async "a link that is dead twice is not offered a third time"(host) {
    const dead = host.upscaled({ media: [{ kind: "video", url: `${host.media.origin}/expired/a.mp4` }] });
    const view = await host.show({ result: dead, answers: { [`get_job ${VIDEO_JOB}`]: [dead] } });
    await view.says("The file can’t be loaded.");
    await view.frame.click("#again");
    await view.says("The file can’t be loaded here.");
    equal(await view.text("again"), "");
    return view;
  },

  async "a source whose link is dead leaves the result alone on the stage"(host) {
    const media = [{ kind: "video", url: `${host.media.origin}/expired/a.mp4`, width: 640, height: 360 }];
    const view = await host.show({ result: host.upscaled(), answers: { [`get_job ${VIDEO_SOURCE}`]: [host.source({ media })] } });
    await view.shows(undefined, 1280);
    await until("playing", async () => (await view.videos()).every((video) => !video.paused));
    ok(!(await view.isShown("handle")));
    equal(await view.text("before-facts"), "640 × 360");
    return view;
  },

  async "a host without server tools: the page says to ask in the chat"(host) {
    const view = await host.show({ result: host.running(), can: {} });
    await view.says("Upscaling the video");
    ok((await view.text("detail")).includes("Ask in the chat"));
    await pause(1500);
    deepEqual(await view.asked("tools/call"), []);
    for (const id of ["running", "save", "open", "again", "elapsed"]) ok(!(await view.isShown(id)), id);
    return view;
  },

  async "a host without server tools shows a finished video all the same"(host) {
    const view = await host.show({ result: host.upscaled(), can: {} });
    await view.shows(undefined, 1280);
    ok(!(await view.isShown("actions")) || !(await view.isShown("save")));
    return view;
  },

  async "a result that is only a file on disk says where it is"(host) {
    const media = [{ kind: "image", path: "/home/me/Downloads/useapi-mcp/google-flow-1.jpg", width: 2560, height: 1440, size_bytes: 4_200_000 }];
    const view = await host.show({ result: host.upscaledImage({ service: "google-flow", media }) });
    await view.says("The result is saved as a file.");
    equal(await view.text("told"), "Saved in Downloads/useapi-mcp");
    equal(await view.text("after-facts"), "2560 × 1440 · 4.2 MB");
    ok(!(await view.isShown("open")) && !(await view.isShown("save")));
    return view;
  },

  async "a completed job without a link yet can be looked at again"(host) {
    const view = await host.show({ result: host.upscaled({ media: [{ kind: "video" }] }), answers: { [`get_job ${VIDEO_JOB}`]: [host.upscaled()] } });
    await view.says("The job is completed, but there is no link to its file yet.");
    await view.frame.click("#again");
    await view.shows(640, 1280);
    return view;
  },

  async "hostile strings stay text, and only http links are loaded or opened"(host) {
    const evil = "<img src=x onerror=\"parent.postMessage('pwned','*')\"><script>document.title='pwned'</script>\u202e";
    const media = [
      { kind: "video", url: "javascript:document.title='pwned'" },
      { kind: "image", url: "data:image/svg+xml,<svg onload='alert(1)'/>" },
      { kind: "image", url: "file:///etc/passwd", path: evil },
    ];
    const failure = { code: "vendor_failed", message: evil };
    const failed = await host.show({ result: answer(host.job({ status: "failed", failure, model: evil, service: "__proto__", operation: "constructor", source: undefined })) });
    await failed.says("the service could not do it.");
    ok((await failed.text("detail")).includes("<script>"));
    ok((await failed.text("about")).includes("<img"));
    equal(await failed.text("title"), "Job");
    equal(await failed.frame.$$eval("img, video, script", (elements) => elements.length), 1, "only the page's own script");
    await failed.close();

    const view = await host.show({ result: host.upscaled({ media, status: "completed", source: undefined }) });
    await view.reaches("completed");
    for (const number of [1, 2, 3]) {
      await view.frame.click(`#files button:nth-child(${number})`);
      equal(await view.frame.$$eval("img, video, a", (elements) => elements.length), 0);
      ok(!(await view.isShown("open")));
      await view.frame.$eval("#open", (button) => button.click());
    }
    deepEqual(await view.asked("ui/open-link"), []);
    ok((await view.frame.getAttribute("#told", "title")).includes("<script>"));
    equal(await view.frame.title(), "Job");
    return view;
  },

  async "answers of a wrong shape break nothing"(host) {
    const view = await host.show({ result: { content: [{ type: "text", text: "Plain text." }] } });
    await view.says("The answer came without its data.");
    for (const structuredContent of [{ status: 5 }, { status: "completed", media: "x" }, { status: "toString", media: [null] }, { status: "completed", media: [null, 1], job_id: {} }]) {
      await view.send({ method: "ui/notifications/tool-result", params: { structuredContent } });
    }
    await view.send({ method: "ui/notifications/tool-result", params: host.upscaled() });
    await view.shows(640, 1280);
    return view;
  },

  async "a tool's error is told without its line of JSON"(host) {
    const text = "Dreamina: the account has no credits left, nothing was taken. Buy credits, then call again.";
    const view = await host.show({ result: error(text, { code: "no_credits", retryable: false }) , context: { ...INLINE, toolInfo: { tool: { name: "upscale_image" } } } });
    await view.says("That didn’t work.");
    equal(await view.text("detail"), text);
    equal(await view.text("title"), "Image upscale");
    equal(await view.text("pill"), "Error");
    return view;
  },

  async "a call cancelled in the chat ends the waiting"(host) {
    const view = await host.show({});
    await view.says("Waiting for the job…");
    await view.send({ method: "ui/notifications/tool-cancelled", params: { reason: "user action" } });
    await view.says("The call was cancelled.");
    return view;
  },

  async "a read that fails is tried again; one that can't succeed is not, until asked"(host) {
    const answers = { [`get_job ${VIDEO_JOB}`]: [
      error("The vendor has not answered yet.", { retryable: true, retry_after_seconds: 1 }),
      error("The token is wrong. Set USEAPI_TOKEN.", { retryable: false }),
      host.upscaled(),
    ] };
    const view = await host.show({ result: host.running(), answers });
    await view.says("The job can’t be read just now.");
    equal(await view.text("detail"), "The token is wrong. Set USEAPI_TOKEN.");
    equal(await view.reads(VIDEO_JOB), 2);
    ok(!(await view.isShown("running")));
    await view.frame.click("#again");
    await view.shows(640, 1280);
    return view;
  },

  async "everything works by keyboard, and the focus can be seen"(host) {
    const view = await host.show({ result: host.upscaled() });
    await view.shows(640, 1280);
    const focused = () => view.frame.evaluate(() => document.activeElement.id);
    const order = [];
    for (let presses = 0; presses < 13; presses += 1) {
      await view.page.keyboard.press("Tab");
      order.push(await focused());
    }
    deepEqual(order, ["split", "size-1", "peek", "play", "back", "forth", "time", "speed", "sides", "sound", "full", "save", "open"]);
    for (let presses = 0; presses < 12; presses += 1) await view.page.keyboard.press("Shift+Tab");
    equal(await focused(), "split");
    equal(await view.css("#handle svg", "outline-style"), "solid");
    const place = () => view.frame.$eval("#stage", (stage) => stage.style.getPropertyValue("--x"));
    await view.page.keyboard.press("ArrowLeft");
    equal(await place(), "49%");
    await view.page.keyboard.press("End");
    equal(await place(), "100%");
    equal(await view.frame.getAttribute("#split", "aria-valuetext"), "100 % before, 0 % after");
    await view.page.keyboard.press("Home");
    equal(await place(), "0%");
    await until("playing", async () => (await view.videos()).every((video) => !video.paused));
    await view.page.keyboard.press(" ");
    ok((await view.videos()).every((video) => video.paused));
    return view;
  },

  async "the divider follows the pointer"(host) {
    const view = await host.show({ result: host.upscaled() });
    await view.shows(640, 1280);
    await view.size(0);
    const box = await (await view.frame.$("#stage")).boundingBox();
    await view.page.mouse.move(box.x + box.width / 2, box.y + 60);
    await view.page.mouse.down();
    await view.page.mouse.move(box.x + box.width / 4, box.y + 80);
    equal(await view.frame.$eval("#split", (split) => split.value), "25");
    await view.page.mouse.move(box.x - 10, box.y + 80);
    equal(await view.frame.$eval("#split", (split) => split.value), "0");
    await view.page.mouse.up();
    await view.page.mouse.move(box.x + box.width / 2, box.y + 60);
    equal(await view.frame.$eval("#split", (split) => split.value), "0");
    equal(await view.frame.evaluate(() => document.activeElement.id), "split");
    return view;
  },

  async "it opens where the gain is seen: the result's own pixels, both at the same place"(host) {
    const answers = { [`get_job ${VIDEO_SOURCE}`]: [host.sourceImages(1)] };
    const view = await host.show({ result: host.upscaledImage(), answers });
    await view.shows(1280, 3840);
    await until("magnified", async () => (await view.zoom()) > 1);
    const width = await view.frame.$eval("#stage", (stage) => stage.clientWidth);
    ok(Math.abs((await view.zoom()) - 3840 / width) < 0.01);
    equal(await view.sizeChosen(), "100 %");
    equal(await view.css("#after img", "transform"), await view.css("#before img", "transform"));
    ok(await view.isShown("map"));
    equal(await view.overflow(), 0);
    await view.size(2);
    ok(Math.abs((await view.zoom()) - 7680 / width) < 0.01);
    await view.size(0);
    equal(await view.zoom(), 1);
    ok(!(await view.isShown("map")) && !(await view.isShown("hint")));
    return view;
  },

  async "where its own pixels are hardly larger than the stage it opens at 200 %"(host) {
    const view = await host.show({ result: host.upscaled(), width: 1200 });
    await view.shows(640, 1280);
    await until("magnified", async () => (await view.zoom()) > 2);
    equal(await view.sizeChosen(), "200 %");
    return view;
  },

  async "what can't be compared is not magnified unasked"(host) {
    const view = await host.show({ result: host.upscaled({ source: undefined }) });
    await view.shows(undefined, 1280);
    equal(await view.zoom(), 1);
    equal(await view.sizeChosen(), "Fit");
    ok(!(await view.isShown("peek")) && !(await view.isShown("sides")) && !(await view.isShown("gained")));
    return view;
  },

  async "magnified, a drag moves the picture, the handle divides, and the map jumps"(host) {
    const view = await host.show({ result: host.upscaled() });
    await view.shows(640, 1280);
    await until("magnified", async () => (await view.zoom()) > 1);
    const box = await (await view.frame.$("#stage")).boundingBox();
    const [middle, centre] = [box.y + box.height / 2, box.x + box.width / 2];
    const place = () => view.frame.$eval("#stage", ({ style }) => [Number(style.getPropertyValue("--cx")), style.getPropertyValue("--x")]);
    const drag = async (from, to) => {
      await view.page.mouse.move(from, middle);
      await view.page.mouse.down();
      await view.page.mouse.move(to, middle);
      await view.page.mouse.up();
    };
    ok(await view.isShown("hint"));
    const [before] = await place();
    await drag(centre + 200, centre + 260);
    const [moved, divider] = await place();
    ok(Math.abs(before - moved - 60 / box.width / (await view.zoom())) < 0.002, "the picture follows the pointer");
    equal(divider, "50%");
    ok(!(await view.isShown("hint")), "who has moved it knows how");
    await drag(centre + 10, centre + box.width / 4);
    deepEqual(await place(), [moved, "75%"]);
    await drag(centre + 330, centre - 330);
    const [most] = await place();
    ok(Math.abs(most - (1 - 0.5 / (await view.zoom()))) < 0.001, "not past its edge");
    const map = await (await view.frame.$("#map")).boundingBox();
    await view.page.mouse.click(map.x + 1, map.y + map.height / 2);
    ok(Math.abs((await place())[0] - 0.5 / (await view.zoom())) < 0.001);
    await view.page.keyboard.press("Shift+ArrowRight");
    ok((await place())[0] > 0.5 / (await view.zoom()));
    equal((await place())[1], "75%");
    return view;
  },

  async "what was before is seen as long as a button or a key is held"(host) {
    const view = await host.show({ result: host.upscaled() });
    await view.shows(640, 1280);
    const isHeld = async () => (await view.css("#before", "clip-path")) === "none";
    const peek = await (await view.frame.$("#peek")).boundingBox();
    await view.page.mouse.move(peek.x + 9, peek.y + 9);
    ok(!(await isHeld()));
    await view.page.mouse.down();
    ok(await isHeld());
    ok(!(await view.isShown("handle")));
    await view.page.mouse.up();
    ok(!(await isHeld()));
    for (const [focus, key] of [["#play", "b"], ["#peek", " "], ["#peek", "Enter"]]) {
      await view.frame.focus(focus);
      await view.page.keyboard.down(key);
      ok(await isHeld(), key);
      await view.page.keyboard.up(key);
      ok(!(await isHeld()), key);
    }
    return view;
  },

  async "by touch the button is held, the handle divides, and one finger moves the picture"(host) {
    const view = await (await host.onTouch()).show({ result: host.upscaled() });
    await view.shows(640, 1280);
    await until("magnified", async () => (await view.zoom()) > 1);
    const session = await view.page.context().newCDPSession(view.page);
    const touch = (type, ...touchPoints) => session.send("Input.dispatchTouchEvent", { type, touchPoints });
    const isHeld = async () => (await view.css("#before", "clip-path")) === "none";
    const at = (box) => ({ x: box.x + box.width / 2, y: box.y + box.height / 2 });
    const place = () => view.frame.$eval("#stage", ({ style }) => [Number(style.getPropertyValue("--cx")), parseInt(style.getPropertyValue("--x"))]);
    await touch("touchStart", at(await (await view.frame.$("#peek")).boundingBox()));
    await until("before", isHeld);
    await touch("touchEnd");
    await until("both", async () => !(await isHeld()));

    const stage = await (await view.frame.$("#stage")).boundingBox();
    const swipe = async (from, to) => {
      await touch("touchStart", { x: from, y: stage.y + 60 });
      for (const share of [0.25, 0.5, 0.75, 1]) await touch("touchMove", { x: from + share * (to - from), y: stage.y + 60 });
      await touch("touchEnd");
    };
    const [before] = await place();
    await swipe(stage.x + 0.2 * stage.width, stage.x + 0.3 * stage.width);
    await until("moved", async () => (await place())[0] < before);
    equal((await place())[1], 50);
    const [moved] = await place();
    await swipe(stage.x + 0.5 * stage.width + 9, stage.x + 0.75 * stage.width);
    await until("divided", async () => (await place())[1] === 75);
    equal((await place())[0], moved);
    return view;
  },

  async "on a narrow page nothing but the names and the map lies on the picture"(host) {
    const view = await host.show({ result: host.upscaled(), width: 320 });
    await view.shows(640, 1280);
    const [stage, look] = await view.frame.$$eval("#stage, #look", (all) => all.map((element) => element.getBoundingClientRect().toJSON()));
    ok(stage.bottom < look.top && stage.width === look.width);
    await view.size(0);
    await view.size(2);
    equal(await view.sizeChosen(), "200 %");
    const wide = await host.show({ result: host.upscaled() });
    await wide.shows(640, 1280);
    const [picture, controls] = await wide.frame.$$eval("#stage, #look", (all) => all.map((element) => element.getBoundingClientRect().toJSON()));
    ok(controls.top > picture.top && controls.bottom < picture.bottom);
    return wide;
  },

  async "frame rates open side by side and slow, and step by single frames"(host) {
    const media = [{ kind: "video", url: host.clip("640x360-60fps"), width: 640, height: 360, frame_rate: 60 }];
    const running = host.running({ operation: "interpolate_video", options: { fps: 60 } });
    const done = host.upscaled({ operation: "interpolate_video", media });
    const view = await host.show({ result: running, answers: { [`get_job ${VIDEO_JOB}`]: [running, host.held(done)] } });
    await view.shows(640, undefined);
    const height = await view.height();
    await view.release();
    await view.shows(640, 640);
    equal(await view.height(), height, "another height when the job ends");
    const boxes = await view.frame.$$eval("#before, #after", (layers) => layers.map((layer) => layer.getBoundingClientRect().toJSON()));
    const [after, before] = boxes;
    ok(before.right <= after.left && before.width === after.width);
    equal(await view.frame.$eval("#speed", (speed) => speed.value), "0.25");
    await until("slow", () => view.frame.evaluate(() => [...document.querySelectorAll("video")].every((video) => !video.paused && Math.abs(video.playbackRate - 0.25) < 0.02)));
    ok(!(await view.isShown("handle")) && !(await view.isShown("peek")));
    await view.frame.click("#play");
    await view.frame.fill("#time", "500");
    const frames = async () => (await view.videos()).map(({ currentTime }) => Math.floor(currentTime * 60 + 0.001));
    await until("the middle", async () => (await frames()).every((frame) => frame === 60));
    for (const [press, frame] of [[() => view.frame.click("#forth"), 61], [() => view.page.keyboard.press("."), 62], [() => view.page.keyboard.press(","), 61], [() => view.frame.click("#back"), 60]]) {
      await press();
      await until(`frame ${frame}`, async () => (await frames()).every((at) => at === frame));
    }
    ok((await view.videos()).every(({ paused }) => paused));
    await view.frame.selectOption("#speed", "1");
    await view.frame.click("#sides");
    ok(await view.isShown("handle"));
    equal(await view.frame.getAttribute("#sides", "aria-pressed"), "false");
    return view;
  },

  async "on a narrow page the two stand one above the other"(host) {
    const view = await host.show({ result: host.upscaled(), width: 320 });
    await view.shows(640, 1280);
    await view.frame.click("#sides");
    const [after, before] = await view.frame.$$eval("#before, #after", (layers) => layers.map((layer) => layer.getBoundingClientRect().toJSON()));
    ok(before.bottom <= after.top && before.width === after.width && before.width > 200);
    equal(await view.overflow(), 0);
    return view;
  },

  async "the gain is said in words, and a clock stands beside the time"(host) {
    const view = await host.show({ result: host.upscaled() });
    await view.shows(640, 1280);
    await view.tells("gain", "2× · 4 times the pixels");
    await until("its length", async () => (await view.text("after-facts")).endsWith("0:02"), () => view.text("after-facts"));
    await until("a clock", async () => /^0:0\d \/ 0:02$/.test(await view.text("clock")), () => view.text("clock"));
    return view;
  },

  async "it says until when the link works, in each of the forms of links"(host) {
    const soon = Math.floor(Date.now() / 1000) + 3600;
    const stamp = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
    const words = {
      [`Expires=${soon}`]: /^The link works until /, [`x-expires=${soon}&a=1`]: /^The link works until /,
      [`X-Goog-Date=${stamp}&X-Goog-Expires=600`]: /^The link works until /, [`hdnts=st=1~exp=${soon}~acl=/*`]: /^The link works until /,
      "a=1": /^The link dies within hours\.$/, "Expires=5": /^The link dies within hours\.$/, "Expires=1700000000": /^The link has expired; /,
    };
    let view;
    for (const [query, expected] of Object.entries(words)) {
      await view?.close();
      view = await host.show({ result: host.upscaled({ media: [{ kind: "video", url: `${host.clip("1280x720-24fps")}?${query}` }] }) });
      await view.shows(640, 1280);
      const text = await view.text("told");
      ok(expected.test(text), `${query}: ${text}`);
    }
    return view;
  },

  async "the next step stands there with its price, and goes to the chat as a sentence with that cap"(host) {
    const next = host.steps([{ tool: "interpolate_video", arguments: { fps: 60 }, price: 66, source: VIDEO_JOB, file: 0 }, { tool: "upscale_image", arguments: {}, file: 1 }]);
    const view = await host.show({ result: next(host.upscaled()) });
    await view.shows(640, 1280);
    deepEqual(await view.frame.$$eval("#steps button", (buttons) => buttons.map(({ textContent }) => textContent)), ["Raise to 60 fps about 66 credits"]);
    await view.frame.click("#steps button");
    await until("told", async () => (await view.text("told")) === "It is in the chat now.");
    const [message] = await view.asked("ui/message");
    equal(message.role, "user");
    const [{ text }] = message.content;
    ok(text.includes(`interpolate_video(source="${VIDEO_JOB}", fps=60, max_credits=66)`), text);
    ok(text.includes("66 credits"));
    deepEqual((await view.asked("tools/call")).map(({ name }) => name), ["get_job"], "the page itself pays nothing");
    return view;
  },

  async "where the host takes no messages the sentence is copied"(host) {
    const next = host.steps([{ tool: "upscale_video", arguments: {}, makes: "4K", source: VIDEO_JOB, file: 0 }]);
    const view = await host.show({ result: next(host.upscaled()), takesMessages: { isError: true } });
    await view.shows(640, 1280);
    equal(await view.text("steps"), "Upscale to 4K\nprice asked first");
    await view.frame.click("#steps button");
    await until("told", async () => (await view.text("told")).startsWith("Copied"));
    const field = await view.page.evaluate(async () => {
      const area = document.body.appendChild(document.createElement("textarea"));
      area.focus();
      return true;
    });
    ok(field);
    await view.page.keyboard.press("Control+v");
    const pasted = await view.page.$eval("textarea", ({ value }) => value);
    ok(pasted.includes(`upscale_video(source="${VIDEO_JOB}")`) && !pasted.includes("max_credits"), pasted);
    return view;
  },

  async "a running job can be cancelled where its service can, with one question"(host) {
    const cancelled = answer(host.job({ status: "cancelled", failure: { code: "cancelled", message: "Cancelled by user" } }));
    const view = await host.show({ result: host.running({ poll_after_seconds: 60 }), answers: { cancel_job: [cancelled] } });
    await view.says("Upscaling the video");
    equal(await view.text("cancel"), "Cancel the job");
    await view.frame.click("#cancel");
    equal(await view.text("cancel"), "Yes, cancel it");
    equal(await view.text("told"), "Credits are not known to come back.");
    equal((await view.asked("tools/call")).filter(({ name }) => name === "cancel_job").length, 0);
    await view.frame.click("#cancel");
    await view.says("The job was cancelled.");
    deepEqual((await view.asked("tools/call")).at(-1), { name: "cancel_job", arguments: { job_id: VIDEO_JOB } });
    await view.close();

    for (const changes of [{ service: "pixverse" }, { service: "google-flow" }, { job_id: OUR_ID }, { status: "submitting", job_id: OUR_ID }]) {
      const other = await host.show({ result: host.running({ poll_after_seconds: 60, ...changes }) });
      await until("drawn", async () => (await other.state()) !== "waiting");
      ok(!(await other.isShown("cancel")), JSON.stringify(changes));
      await other.close();
    }
    const queued = { job_id: OUR_ID, service: "pixverse", status: "queued", queue_position: 3, poll_after_seconds: 60 };
    const waiting = await host.show({ result: host.running(queued) });
    await waiting.says("Waiting for a free slot of PixVerse");
    equal(await waiting.text("pill"), "Waiting");
    ok(await waiting.isShown("cancel"));
    await waiting.frame.click("#cancel");
    equal(await waiting.text("told"), "It is not sent yet, so nothing is charged.");
    await waiting.close();
    const kept = await host.show({ result: host.running({ poll_after_seconds: 60 }), answers: { cancel_job: [error("Dreamina did not answer. Call again.")] } });
    await kept.says("Upscaling the video");
    await kept.frame.click("#cancel");
    await kept.frame.click("#cancel");
    await until("why not", async () => (await kept.text("told")) === "Dreamina did not answer. Call again.");
    equal(await kept.text("cancel"), "Cancel the job");
    return kept;
  },

  async "a job that was made before says so, and no price"(host) {
    const view = await host.show({ result: host.upscaled({ reused: true }) });
    await view.shows(640, 1280);
    equal(await view.text("about"), "Dreamina · seedance-2.0-fast · already made, not charged again");
    await view.page.setViewportSize({ width: 320, height: 720 });
    const lines = await view.frame.$eval("#about", (about) => new Set([...about.children].map((part) => part.offsetTop)).size);
    ok(lines <= 2, `${lines} lines`);
    return view;
  },

  async "a failure is told in plain words"(host) {
    const told = {
      "Dreamina's moderation refused it: fail_code: 2043: OutputVideoRisk: the output did not pass": ["moderated", "The output did not pass. (Code 2043) The same source will be refused again."],
      "fail_code: 9: ": ["vendor_failed", "It gave no reason. (Code 9)"],
      "PixVerse failed.": ["vendor_failed", "PixVerse failed."],
      "no room left": ["lost", "No room left."],
    };
    let view;
    for (const [message, [code, expected]] of Object.entries(told)) {
      await view?.close();
      view = await host.show({ result: answer(host.job({ status: "failed", failure: { code, message } })) });
      await view.reaches("failed");
      equal(await view.text("detail"), expected);
    }
    return view;
  },

  async "a saved image that has no link is shown from the file itself"(host) {
    const media = [{ kind: "image", path: "/home/me/a.jpg", width: 2560, height: 1440 }];
    const source = FLOW_SOURCE.replace("video", "image");
    const view = await host.show({
      result: host.upscaledImage({ service: "google-flow", job_id: FLOW_JOB, source, media }),
      resources: {
        [`useapi://jobs/${encodeURIComponent(FLOW_JOB)}/files/0`]: host.savedFile("image-2560x1440.jpg"),
        [`useapi://media/${encodeURIComponent(source)}`]: host.assetLink(host.image("1280x720")),
      },
    });
    await view.shows(1280, 2560);
    await view.tells("gain", "2× · 4 times the pixels");
    ok(!(await view.isShown("note")) || (await view.css("#note", "position")) === "absolute");
    ok(!(await view.isShown("open")));
    return view;
  },

  async "a saved video is shown from the file itself when its link is dead"(host) {
    const media = [{ kind: "video", url: `${host.media.origin}/expired/a.mp4`, path: "/home/me/a.mp4", width: 1280, height: 720 }];
    const view = await host.show({ result: host.upscaled({ media }), resources: { [`useapi://jobs/${encodeURIComponent(VIDEO_JOB)}/files/0`]: host.savedFile("clip-1280x720-24fps.mp4") } });
    await view.shows(640, 1280);
    await until("playing", async () => (await view.videos()).every((video) => !video.paused));
    return view;
  },

  async "a host that shows no saved file either says where it is"(host) {
    const media = [{ kind: "image", path: "/home/me/a.jpg", width: 2560, height: 1440 }];
    const resources = { [`useapi://jobs/${encodeURIComponent(VIDEO_JOB)}/files/0`]: host.savedFile("image-2560x1440.jpg") };
    const view = await host.show({ result: host.upscaledImage({ media }), resources, csp: host.media.origin });
    await until("told apart", async () => /saved as a file|can’t show it/.test(await view.text("headline")));
    await pause(500);
    ok(await view.isShown("note"));
    equal(await view.text("told"), "Saved in home/me");
    return view;
  },

  async "the facts of a source of another kind are not set beside the result"(host) {
    const answers = { [`get_job ${VIDEO_SOURCE}`]: [host.sourceImages(1)] };
    const view = await host.show({ result: host.upscaled({ operation: "upscale_video" }), answers });
    await view.shows(undefined, 1280);
    await until("asked", async () => (await view.reads(VIDEO_SOURCE)) === 1);
    await pause(300);
    ok(!(await view.isShown("was")) && !(await view.isShown("gained")));
    equal(await view.text("after-label"), "Result");
    return view;
  },

  async "a prompt is no source to be asked for"(host) {
    const view = await host.show({ result: host.upscaled({ operation: "generate_video", source: "j1 a windmill" }) });
    await view.shows(undefined, 1280);
    const own = await host.show({ result: host.upscaled({ source: "clip.mp4" }) });
    await own.shows(undefined, 1280);
    deepEqual([...(await view.asked("tools/call")), ...(await own.asked("tools/call")), ...(await own.asked("resources/read"))], []);
    return view;
  },

  async "all of sixteen files can be chosen, and their buttons are made once"(host) {
    const view = await host.show({ result: answer(host.sourceImages(16).structuredContent), width: 320 });
    await view.shows(undefined, 1280);
    await view.frame.$eval("#files button:nth-child(16)", (button) => { button.dataset.mine = "yes"; });
    await view.frame.click("#files button:nth-child(16)");
    await until("the last file", async () => (await view.frame.getAttribute("#after img", "src")).endsWith("?15"));
    equal(await view.frame.$$eval("#files button[data-mine]", (buttons) => buttons.length), 1);
    equal(await view.overflow(), 0);
    return view;
  },

  async "its own policy lets no other script run, whatever the host allows"(host) {
    const view = await host.show({ result: host.upscaled() });
    await view.shows(640, 1280);
    const kinds = await view.frame.evaluate(async (origin) => {
      const refused = new Promise((resolve) => addEventListener("securitypolicyviolation", ({ effectiveDirective }) => resolve(effectiveDirective), { once: true }));
      document.head.append(Object.assign(document.createElement("script"), { src: `${origin}/media/x.js` }));
      return refused;
    }, host.media.origin);
    equal(kinds, "script-src-elem");
    return view;
  },

  async "who wants less motion gets none unasked"(host) {
    const view = await host.show({ result: host.running(), width: 320, motion: "reduce", answers: { get_job: [host.running(), host.held(host.upscaled())] } });
    await view.says("Upscaling the video");
    equal(await view.css("#progress i", "animation-name"), "none");
    const height = await view.height();
    await view.release();
    await view.shows(640, 1280);
    equal(await view.height(), height, "the page has another height when the job ends");
    await pause(500);
    ok((await view.videos()).every((video) => video.paused && video.currentTime === 0));
    await view.frame.click("#play");
    await until("playing", async () => (await view.videos()).every((video) => !video.paused));
    return view;
  },

  async "Save keeps the file and shows its path"(host) {
    const path = "/home/me/Downloads/useapi-mcp/dreamina-video.mp4";
    const saved = answer({ ...host.upscaled().structuredContent, media: [{ kind: "video", path, size_bytes: 179_263, frame_rate: 24 }] });
    const view = await host.show({ result: host.upscaled(), answers: { download_media: [error("The disk is full. Free some space."), saved] } });
    await view.shows(640, 1280);
    await view.frame.click("#save");
    await until("why not", async () => (await view.text("told")) === "The disk is full. Free some space.");
    await view.frame.click("#save");
    await until("the path", async () => (await view.text("told")) === "Saved in Downloads/useapi-mcp");
    ok(!(await view.isShown("save")));
    equal(await view.frame.evaluate(() => document.activeElement.id), "copy", "the focus goes on");
    await view.tells("after-facts", "1280 × 720 · 24 fps · 0:02 · 179 kB");
    await view.shows(640, 1280);
    deepEqual((await view.asked("tools/call")).at(-1), { name: "download_media", arguments: { job_id: VIDEO_JOB } });
    await view.frame.click("#copy");
    await until("copied", async () => (await view.text("told")) === "The path is copied.");
    await view.page.evaluate(() => document.body.appendChild(document.createElement("textarea")).focus());
    await view.page.keyboard.press("Control+v");
    equal(await view.page.$eval("textarea", ({ value }) => value), path);
    return view;
  },

  async "Open asks the host, and says so when it refuses"(host) {
    const view = await host.show({ result: host.upscaled(), opens: { isError: true } });
    await view.shows(640, 1280);
    await view.frame.click("#open");
    await until("told", async () => (await view.text("told")).includes("did not open"));
    deepEqual(await view.asked("ui/open-link"), [{ url: host.clip("1280x720-24fps") }]);
    return view;
  },

  async "full screen fills the window, and Escape leaves it"(host) {
    const view = await host.show({ result: host.upscaled(), width: 1200, height: 800 });
    await view.shows(640, 1280);
    await view.frame.click("#full");
    await until("full", () => view.frame.$eval("html", (html) => html.classList.contains("fills")));
    const fit = await view.frame.evaluate(() => [document.documentElement.scrollHeight <= innerHeight, document.querySelector("#room").clientHeight - document.querySelector("#stage").clientHeight]);
    deepEqual(fit, [true, 0]);
    ok(parseInt(await view.css("#stage", "height")) > 560);
    equal(await view.frame.getAttribute("#full", "aria-label"), "Leave full screen");
    await view.page.keyboard.press("Escape");
    await until("inline", () => view.frame.$eval("html", (html) => !html.classList.contains("fills")));
    deepEqual(await view.asked("ui/request-display-mode"), [{ mode: "fullscreen" }, { mode: "inline" }]);
    return view;
  },

  async "a host that offers no full screen gets no button for it"(host) {
    const view = await host.show({ result: host.upscaled(), context: INLINE });
    await view.shows(640, 1280);
    ok(!(await view.isShown("full")));
    return view;
  },

  async "the host's theme, colours and font are taken on, and its changes too"(host) {
    const styles = { variables: { "--color-background-primary": "rgb(10, 20, 30)", "--font-sans": "monospace", "color": "red" } };
    const view = await host.show({ result: host.upscaled(), context: { ...INLINE, theme: "dark", styles } });
    await view.shows(640, 1280);
    equal(await view.css("html", "background-color"), "rgb(10, 20, 30)");
    equal(await view.css("html", "color"), "rgb(243, 242, 239)");
    equal(await view.css("button", "font-family"), "monospace");
    await view.send({ method: "ui/notifications/host-context-changed", params: { theme: "light", safeAreaInsets: { top: 0, right: 0, bottom: 34, left: 0 } } });
    await until("light", async () => (await view.css("html", "color")) === "rgb(29, 28, 26)");
    equal(await view.css("body", "padding-bottom"), "34px");
    return view;
  },

  async "only the host is listened to"(host) {
    const view = await host.show({ result: host.running(), answers: { get_job: [host.running()] } });
    await view.says("Upscaling the video");
    await view.page.evaluate(() => new Promise((resolve) => {
      const stranger = document.createElement("iframe");
      stranger.srcdoc = "<script>parent.frames[0].postMessage({jsonrpc:'2.0',method:'ui/notifications/tool-cancelled',params:{}},'*')</script>";
      stranger.onload = resolve;
      document.body.append(stranger);
    }));
    await pause(300);
    equal(await view.state(), "running");
    return view;
  },

  async "the host's questions are answered, unknown ones with an error"(host) {
    const view = await host.show({ result: host.running(), answers: { get_job: [host.running()] } });
    await view.says("Upscaling the video");
    await view.send({ id: 901, method: "ping" });
    await view.send({ id: 902, method: "constructor" });
    const answers = () => view.page.evaluate(() => log.filter(({ id, method }) => id > 900 && !method));
    await until("both answers", async () => (await answers()).length === 2);
    const [good, bad] = await answers();
    deepEqual(good.result, {});
    equal(bad.error.code, -32601);
    return view;
  },

  async "a page that is torn down asks and plays no more"(host) {
    const view = await host.show({ result: host.running(), answers: { [`get_job ${VIDEO_JOB}`]: [host.running()] } });
    await view.shows(640, undefined);
    await view.send({ id: 901, method: "ui/resource-teardown", params: {} });
    await until("the answer", () => view.page.evaluate(() => log.some(({ id, method }) => id === 901 && !method)));
    const reads = await view.reads(VIDEO_JOB);
    await view.send({ method: "ui/notifications/tool-result", params: host.running() });
    await pause(1800);
    equal(await view.reads(VIDEO_JOB), reads);
    return view;
  },

  async "no state is wider than 320 px, and the host is told the height"(host) {
    const long = "word".repeat(60);
    const results = [
      host.running(), host.upscaled({ model: long }), host.upscaled({ status: "failed", media: [], failure: { code: "x", message: long } }),
      error(long), answer(host.job({ status: "unconfirmed" })), host.upscaled({ media: [{ kind: "video", path: `/${long}` }] }), host.upscaledImage(),
    ];
    let view;
    for (const result of results) {
      await view?.close();
      view = await host.show({ result, width: 320, answers: { get_job: [result] } });
      await until("drawn", async () => (await view.state()) !== "waiting");
      await pause(200);
      equal(await view.overflow(), 0);
      ok(await view.frame.evaluate(() => document.querySelector("#note").offsetHeight <= document.querySelector("#stage").clientHeight));
      await view.tellsItsHeight();
    }
    return view;
  },

  async "a tall video fits, and its frame is there before it is loaded"(host) {
    const media = [{ kind: "video", url: host.clip("1280x720-24fps"), width: 720, height: 1280 }];
    const view = await host.show({ result: host.upscaled({ media, source: undefined }), can: EVERYTHING });
    await view.reaches("completed");
    const [width, height] = await view.frame.$eval("#stage", (stage) => [stage.clientWidth, stage.clientHeight]);
    deepEqual([width, height], [315, 560]);
    return view;
  },

  async "where the host bounds the height, everything fits into it"(host) {
    const view = await host.show({ result: host.upscaled(), context: { ...INLINE, containerDimensions: { width: 720, maxHeight: 420 } } });
    await view.shows(640, 1280);
    ok((await view.height()) <= 420, String(await view.height()));
    ok(parseInt(await view.css("#stage", "height")) >= 180);
    return view;
  },

  async "every control has a name, and every text can be read on its ground"(host) {
    const view = await host.show({ result: host.upscaled() });
    await view.shows(640, 1280);
    for (const theme of ["light", "dark"]) {
      await view.turns(theme);
      deepEqual(await view.frame.evaluate(unreadable), []);
    }
    const nameless = await view.frame.$$eval("button, input, select, fieldset", (controls) => controls
      .filter((control) => control.checkVisibility() && !control.getAttribute("aria-label") && !control.textContent.trim() && !control.labels?.[0]?.textContent.trim()).map(({ id }) => id));
    deepEqual(nameless, []);
    return view;
  },
};

/* Runs in a page: texts with a contrast below 4.5 to the nearest ground. */
export function unreadable() {
  const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const channels = (colour) => {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = colour;
    brush.fillRect(0, 0, 1, 1);
    return [...brush.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => channels(colour).slice(0, 3)
    .map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return channels(colour)[3] > 200 || !element.parentElement ? colour : ground(element.parentElement);
  };
  return [...document.querySelectorAll("h1, p, dt, dd, button, select, #pill, .tag, #sizes span")]
    .filter((element) => element.checkVisibility() && element.innerText.trim())
    .map((element) => {
      const pair = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
      return [element.id || element.tagName, (pair[0] + 0.05) / (pair[1] + 0.05)];
    })
    .filter(([, contrast]) => contrast < 4.5)
    .map(([name, contrast]) => `${name}: ${contrast.toFixed(2)}`);
}
