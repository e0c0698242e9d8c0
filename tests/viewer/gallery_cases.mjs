// What the gallery does in a host whose every answer is scripted. Each case is a sentence and a story.

import { deepEqual, equal, ok } from "node:assert/strict";
import { answer, error, EVERYTHING, FLOW_SOURCE, VIDEO_JOB, VIDEO_SOURCE } from "./unit_host.mjs";
import { GALLERY, pause, until } from "./parts.mjs";
import { unreadable } from "./unit_cases.mjs";

const show = (host, script) => host.show({ html: GALLERY, input: {}, ...script });
const tiles = (view) => view.frame.$$eval(".tile", (tiles) => tiles.map((tile) => ({
  what: tile.querySelector(".what").textContent,
  about: tile.querySelector(".about").textContent.replaceAll("\u00a0", " "),
  tags: [...tile.querySelectorAll(".tag")].map(({ textContent }) => textContent),
  calls: [...tile.querySelectorAll("button")].map(({ textContent }) => textContent),
  said: tile.querySelector(".said").textContent,
})));
const has = (view, count) => until(`${count} tiles`, async () => (await tiles(view)).length === count, async () => (await tiles(view)).length);
const pictures = (view) => view.frame.$$eval(".picture :is(img, video)", (all) => all.filter((media) => media.naturalWidth || media.videoWidth).length);

export const CASES = {
  async "what was found stands there with picture, kind, size, age, service and what made it"(host) {
    const view = await show(host, { result: host.found({ count: 5 }), width: 1200 });
    await has(view, 5);
    const [clip, flow, pixverse, bare, unknown] = await tiles(view);
    equal(await view.text("title"), "Media");
    equal(await view.text("count"), "5");
    equal(clip.what, "A windmill at dusk, a balloon behind it");
    equal(clip.about, "Dreamina · seedance-2.0-fast · 640 × 360 · just now · made here");
    deepEqual(clip.tags, ["Video · 0:02"]);
    deepEqual(clip.calls, ["Upscale to 2× about 30 credits", "Raise to 60 fps about 66 credits", "Save", "Open"]);
    equal(flow.about, "Google Flow · veo-3.1 · 1280 × 720 · 10 minutes ago");
    deepEqual(flow.calls, ["Upscale to 1080p free", "Upscale to 4K about 50 credits", "Open"]);
    deepEqual(pixverse.calls, ["Upscale to 4K price asked first", "Save", "Open"]);
    equal(bare.what, "Image without a prompt");
    deepEqual(bare.calls, ["Upscale to 4K free"]);
    deepEqual(unknown.calls, ["Open"], "what has no source is only shown");
    await until("four pictures", async () => (await pictures(view)) === 4);
    return view;
  },

  async "jobs stand there with what is being done, their state, and pictures of those that ended"(host) {
    const view = await show(host, { result: host.listed(), width: 1200 });
    await has(view, 5);
    equal(await view.text("title"), "Jobs");
    const [running, done, saved, failed, lost] = await tiles(view);
    equal(running.what, "Frame rate, 60 fps");
    deepEqual(running.tags, ["Video", "Running"]);
    deepEqual(running.calls, []);
    deepEqual(done.tags, ["Video"]);
    deepEqual(done.calls, ["Raise to 60 fps about 66 credits", "Save", "Open"]);
    equal(saved.said, "Saved in Downloads/useapi-mcp");
    ok(failed.tags.includes("Failed") && lost.tags.includes("Not confirmed"));
    equal(lost.what, "A windmill at dusk");
    await until("a picture", async () => (await pictures(view)) === 1);
    return view;
  },

  async "a filter is applied at once, and the list is asked for anew"(host) {
    const flow = answer({ media: [{ service: "google-flow", kind: "video", source: FLOW_SOURCE, can: [] }] });
    const view = await show(host, { result: host.found(), input: { limit: 9, cursor: "c1", account: "me" }, answers: { list_media: [flow] } });
    await has(view, 9);
    await view.frame.selectOption("#service", "google-flow");
    await has(view, 1);
    deepEqual(await view.asked("tools/call"), [{ name: "list_media", arguments: { limit: 9, account: "me", service: "google-flow" } }]);
    await view.frame.selectOption("#kind", "image");
    await until("nothing", async () => (await view.text("headline")) === "Nothing fits.");
    deepEqual((await view.asked("tools/call")).at(-1).arguments, { limit: 9, account: "me", service: "google-flow", kind: "image" });
    return view;
  },

  async "a host without server tools filters what is there"(host) {
    const view = await show(host, { result: host.found(), can: {} });
    await has(view, 9);
    await view.frame.selectOption("#kind", "image");
    await has(view, 5);
    await view.frame.selectOption("#service", "pixverse");
    await has(view, 2);
    await view.frame.selectOption("#service", "");
    await view.frame.selectOption("#kind", "");
    await has(view, 9);
    ok((await tiles(view)).every(({ calls }) => !calls.includes("Open")));
    deepEqual(await view.asked("tools/call"), []);
    return view;
  },

  async "the filters stand where the call has set them"(host) {
    const view = await show(host, { result: host.found(), input: { service: "google-flow", kind: "video" } });
    await has(view, 2);
    deepEqual(await view.frame.$$eval("select", (selects) => selects.map(({ value }) => value)), ["google-flow", "video"]);
    return view;
  },

  async "more comes as one scrolls, until there is no more"(host) {
    const answers = { list_media: [host.found({ cursor: "c2" }), host.found({ count: 3 })] };
    const view = await show(host, { result: host.found({ cursor: "c1" }), input: { kind: undefined }, answers });
    await has(view, 9);
    equal(await view.text("count"), "9+");
    deepEqual(await view.asked("tools/call"), [], "nothing is asked for before");
    await view.frame.$eval(".tile", (tile) => { tile.dataset.mine = "yes"; });
    // When what came last is drawn: an observer of the end is told only of what a frame showed.
    const down = () => view.frame.$eval("#scroller", async (scroller) => {
      for (const _ of [1, 2]) await new Promise((resolve) => { requestAnimationFrame(resolve); });
      scroller.scrollTo(0, scroller.scrollHeight);
    });
    await down();
    await has(view, 18);
    await down();
    await has(view, 21);
    await down();
    await pause(300);
    deepEqual((await view.asked("tools/call")).map(({ arguments: given }) => given.cursor), ["c1", "c2"]);
    equal(await view.frame.$$eval(".tile[data-mine]", (tiles) => tiles.length), 1, "what was there stays as it was");
    ok(!(await view.isShown("more")));
    equal(await view.text("count"), "21");
    return view;
  },

  async "by keyboard the last page goes on at the first tile that has come"(host) {
    const view = await show(host, { result: host.found({ cursor: "c1" }), answers: { list_media: [host.found({ count: 3 })] } });
    await has(view, 9);
    await view.frame.focus("#more");
    await has(view, 12);
    ok(!(await view.isShown("more")));
    equal(await view.frame.evaluate(() => [...document.querySelectorAll(".tile")].indexOf(document.activeElement.closest(".tile"))), 9);
    return view;
  },

  async "more jobs are asked for once, as many as there can be"(host) {
    const whole = host.listed();
    const many = { ...whole, structuredContent: { jobs: Array.from({ length: 20 }, (_, at) => whole.structuredContent.jobs[at % 5]) } };
    const view = await show(host, { result: many, input: { status: "completed" }, answers: { list_jobs: [whole] } });
    await has(view, 20);
    await view.frame.focus("#more");
    await view.page.keyboard.press("Enter");
    await has(view, 5);
    deepEqual(await view.asked("tools/call"), [{ name: "list_jobs", arguments: { limit: 100, status: "completed" } }]);
    ok(!(await view.isShown("more")));
    return view;
  },

  async "a page that can't be had is told, and what is there stays"(host) {
    const view = await show(host, { result: host.found({ cursor: "c1" }), answers: { list_media: [error("Dreamina did not answer. Call again.")] } });
    await has(view, 9);
    await view.frame.$eval("#more", (more) => more.click());
    await until("why", async () => (await view.text("note")).includes("Dreamina did not answer."));
    equal((await tiles(view)).length, 9);
    return view;
  },

  async "a step goes to the chat as a sentence with its price as cap; the page itself pays nothing"(host) {
    const view = await show(host, { result: host.found({ count: 3 }) });
    await has(view, 3);
    for (const [tile, button] of [[1, 2], [2, 1], [3, 1]]) {
      await view.frame.click(`.tile:nth-child(${tile}) button:nth-child(${button})`);
      await until("told", async () => (await tiles(view))[tile - 1].said === "It is in the chat now.");
    }
    const texts = (await view.asked("ui/message")).map(({ content }) => content[0].text);
    ok(texts[0].includes(`interpolate_video(source="${VIDEO_SOURCE}", fps=60, max_credits=66)`), texts[0]);
    ok(texts[1].includes(`upscale_video(source="${FLOW_SOURCE}", resolution="1080p", max_credits=0). It is free.`), texts[1]);
    ok(texts[2].endsWith("Tell me the price first.") && !texts[2].includes("max_credits"), texts[2]);
    deepEqual(await view.asked("tools/call"), []);
    return view;
  },

  async "one image of several is named by its index"(host) {
    const media = [{ service: "dreamina", kind: "image", source: VIDEO_SOURCE, image_index: 2, can: ["upscale_image"] }];
    const result = host.steps({ "dreamina upscale_image": [{ tool: "upscale_image", arguments: { resolution: "4k" } }] })(answer({ media }));
    const view = await show(host, { result });
    await has(view, 1);
    await view.frame.click(".step");
    await until("sent", async () => (await view.asked("ui/message")).length === 1);
    const [{ content: [{ text }] }] = await view.asked("ui/message");
    ok(text.includes(`upscale_image(source="${VIDEO_SOURCE}", image_index=2, resolution="4k")`), text);
    return view;
  },

  async "Save keeps the file and says where; what fails says why and can be pressed again"(host) {
    const saved = answer({ job_id: VIDEO_SOURCE, status: "completed", media: [{ kind: "video", path: "C:\\Users\\me\\Downloads\\useapi-mcp\\a.mp4" }] });
    const view = await show(host, { result: host.found({ count: 1 }), answers: { download_media: [error("The disk is full. Free some space."), saved] } });
    await has(view, 1);
    const said = (text) => until(text, async () => (await tiles(view))[0].said === text);
    await view.frame.click(".calls button:nth-child(3)");
    await said("The disk is full. Free some space.");
    await view.frame.click(".calls button:nth-child(3)");
    await said("Saved in Downloads/useapi-mcp");
    const focused = () => view.frame.evaluate(() => document.activeElement.textContent);
    equal(await focused(), "Upscale to 2× about 30 credits", "the focus stays in the tile");
    deepEqual((await view.asked("tools/call")).at(-1), { name: "download_media", arguments: { job_id: VIDEO_SOURCE } });
    return view;
  },

  async "where the host calls no tools, Save is a sentence too"(host) {
    const view = await show(host, { result: host.listed(), can: { message: {} } });
    await has(view, 5);
    await view.frame.click(".tile:nth-child(2) button:nth-child(2)");
    await until("sent", async () => (await view.asked("ui/message")).length === 1);
    const [{ content: [{ text }] }] = await view.asked("ui/message");
    ok(text.includes(`download_media(job_id="${VIDEO_JOB}")`), text);
    return view;
  },

  async "it works without pictures: blocked by the host, or expired"(host) {
    const view = await show(host, { result: host.found(), csp: "'none'", width: 1200 });
    await has(view, 9);
    await until("told", async () => (await view.text("note")).includes("no pictures"));
    equal(await pictures(view), 0);
    ok((await view.frame.$$eval(".picture", (all) => all.map(({ clientHeight }) => clientHeight))).every((height) => height < 70), "a place without a picture is low");
    equal((await tiles(view))[0].calls.length, 4);
    await view.close();

    const dead = `${host.media.origin}/expired/a.mp4`;
    const media = [{ service: "dreamina", kind: "video", source: VIDEO_SOURCE, url: dead, thumbnail_url: dead, can: [] }, { service: "dreamina", kind: "image", url: dead, can: [] }];
    const expired = await show(host, { result: answer({ media }) });
    await has(expired, 2);
    await until("taken away", async () => (await expired.frame.$$eval(".picture :is(img, video)", (all) => all.length)) === 0);
    ok(await expired.frame.$eval(".picture svg", (icon) => icon.checkVisibility()));
    return expired;
  },

  async "a video whose picture has expired shows its first frame"(host) {
    const media = [{ service: "dreamina", kind: "video", url: host.clip("640x360-24fps"), thumbnail_url: `${host.media.origin}/expired/t.jpg`, can: [] }];
    const view = await show(host, { result: answer({ media }) });
    await until("its frame", async () => (await pictures(view)) === 1);
    return view;
  },

  async "what has no link in its service's list is asked for by its id, one after the other"(host) {
    const ids = [1, 2, 3].map((number) => FLOW_SOURCE.replace("sample-1", `sample-${number}`));
    const media = ids.map((source) => ({ service: "google-flow", kind: "video", source, can: [] }));
    const uri = (id) => `useapi://media/${encodeURIComponent(id)}`;
    const resources = { [uri(ids[0])]: host.assetLink(host.clip("640x360-24fps")), [uri(ids[2])]: host.assetLink(host.clip("1280x720-24fps")) };
    const view = await show(host, { result: answer({ media }), resources });
    await until("two frames", async () => (await pictures(view)) === 2);
    deepEqual((await view.asked("resources/read")).map((asked) => asked.uri), ids.map(uri));
    const without = await show(host, { result: answer({ media }), resources, can: { serverTools: {} } });
    await has(without, 3);
    await pause(300);
    deepEqual(await without.asked("resources/read"), []);
    return view;
  },

  async "pictures are loaded as they come into view"(host) {
    const view = await show(host, { result: host.found({ count: 40 }), width: 320 });
    await has(view, 40);
    await until("some", async () => (await pictures(view)) > 0);
    await pause(400);
    const first = await view.frame.$$eval(".picture :is(img, video)", (all) => all.length);
    ok(first < 20, String(first));
    await view.frame.$eval("#scroller", (scroller) => scroller.scrollTo(0, scroller.scrollHeight));
    await until("more", async () => (await view.frame.$$eval(".picture :is(img, video)", (all) => all.length)) > first);
    return view;
  },

  async "nothing yet is said kindly, with the reason where there is one"(host) {
    const view = await show(host, { result: answer({ media: [], note: "No account is linked to PixVerse; link one on useapi.net." }) });
    await until("told", async () => (await view.text("headline")) === "Nothing was made yet.");
    ok((await view.text("detail")).includes("No account is linked"));
    await view.close();
    const jobs = await show(host, { result: answer({ jobs: [] }) });
    await until("told", async () => (await jobs.text("headline")) === "No jobs yet.");
    ok(!(await jobs.isShown("scroller")));
    return jobs;
  },

  async "an error, an answer without data and a cancelled call are told"(host) {
    const view = await show(host, { result: error("The token is wrong. Set USEAPI_TOKEN.", { retryable: false }) });
    await until("told", async () => (await view.text("headline")) === "That didn’t work.");
    equal(await view.text("detail"), "The token is wrong. Set USEAPI_TOKEN.");
    for (const structuredContent of [undefined, {}, { media: 5 }, { jobs: [null, 1] }, { media: [null, { can: "x", service: {}, kind: "__proto__", created_at: 5, width: -1 }] }]) {
      await view.send({ method: "ui/notifications/tool-result", params: { structuredContent } });
    }
    await has(view, 1);
    await view.send({ method: "ui/notifications/tool-cancelled", params: {} });
    await until("told", async () => (await view.text("headline")) === "The call was cancelled.");
    return view;
  },

  async "hostile strings stay text, and only http links are loaded or opened"(host) {
    const evil = "<img src=x onerror=\"parent.postMessage('pwned','*')\"><script>document.title='pwned'</script>\u202e";
    const media = ["javascript:alert(1)", "data:image/svg+xml,<svg/>", "file:///etc/passwd"].map((url) => ({ service: evil, kind: "image", url, thumbnail_url: url, prompt: evil, model: evil, source: evil, can: ["upscale_image"] }));
    const result = host.steps({ [`${evil} upscale_image`]: [{ tool: "upscale_image", arguments: { resolution: "4k" }, price: 1 }] })(answer({ media, note: evil }));
    const view = await show(host, { result, width: 320 });
    await has(view, 3);
    await pause(300);
    equal(await view.frame.$$eval("img, video, a", (elements) => elements.length), 0);
    equal(await view.frame.$$eval("script", (elements) => elements.length), 1);
    equal(await view.frame.title(), "Gallery");
    ok((await tiles(view)).every(({ calls }) => !calls.includes("Open")));
    equal(await view.overflow(), 0);
    return view;
  },

  async "everything works by keyboard, has a name and can be read, at every width"(host) {
    for (const width of [320, 720]) {
      const narrow = await show(host, { result: host.found(), width });
      await has(narrow, 9);
      equal(await narrow.overflow(), 0);
      equal(await narrow.frame.$eval("#scroller", (scroller) => scroller.scrollWidth - scroller.clientWidth), 0);
      await narrow.tellsItsHeight();
      await narrow.close();
    }
    const view = await show(host, { result: host.found({ count: 2 }) });
    await has(view, 2);
    const order = [];
    for (let presses = 0; presses < 8; presses += 1) {
      await view.page.keyboard.press("Tab");
      order.push(await view.frame.evaluate(() => document.activeElement.id || document.activeElement.textContent));
    }
    deepEqual(order, ["service", "kind", "full", "Upscale to 2× about 30 credits", "Raise to 60 fps about 66 credits", "Save", "Open", "Upscale to 1080p free"]);
    for (const theme of ["light", "dark"]) {
      await view.turns(theme);
      deepEqual(await view.frame.evaluate(unreadable), []);
    }
    const names = await view.frame.$$eval(".calls button", (buttons) => buttons.map((button) => button.getAttribute("aria-label")));
    equal(new Set(names).size, names.length, "two buttons with one name");
    return view;
  },

  async "where the host bounds the height it fits, and full screen fills the window"(host) {
    const context = { theme: "light", displayMode: "inline", availableDisplayModes: ["inline", "fullscreen"], containerDimensions: { width: 720, maxHeight: 420 } };
    const view = await show(host, { result: host.found({ cursor: "c1" }), context, can: EVERYTHING });
    await has(view, 9);
    ok((await view.height()) <= 420, String(await view.height()));
    await view.frame.click("#full");
    await until("full", () => view.frame.$eval("html", (html) => html.classList.contains("fills")));
    ok(await view.frame.evaluate(() => document.documentElement.scrollHeight <= innerHeight));
    return view;
  },
};
