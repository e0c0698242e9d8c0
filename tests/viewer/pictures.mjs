// Pictures of the pages in their main states, for a person to look at.
//
//   node tests/viewer/run.mjs --pictures [words of the states]

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { GALLERY, INSTALLED, pause, until } from "./parts.mjs";
import { answer, error, EVERYTHING, FLOW_JOB, FLOW_SOURCE, VIDEO_JOB, VIDEO_SOURCE } from "./unit_host.mjs";

const FONT = 'Inter, "Helvetica Neue", Arial, "Liberation Sans", sans-serif';
const PIXVERSE_SOURCE = "user:12345-pixverse:user@example.com-video:7";

export async function takePictures(host, wanted = "") {
  const folder = join(INSTALLED, "screenshots");
  mkdirSync(folder, { recursive: true });
  for (const [state, script] of Object.entries(states(host)).filter(([state]) => state.includes(wanted))) {
    for (const theme of ["light", "dark"]) {
      for (const width of [320, 1200]) {
        await takePicture(host, { ...script, width, theme }, join(folder, `${state}-${width}-${theme}.png`));
      }
    }
  }
  if (wanted && wanted !== "readme") return;
  const { large, gallery } = states(host);
  await takePicture(host, { ...large, width: 800, theme: "light", wait: 9000, then: moveALittle }, join(folder, "readme.png")); // .github/viewer.png
  await takePicture(host, { ...large, width: 1200, height: 800, theme: "dark", displayMode: "fullscreen" }, join(folder, "full-screen.png"));
  await takePicture(host, { ...gallery, width: 1200, height: 800, theme: "light", displayMode: "fullscreen" }, join(folder, "gallery-full-screen.png"));
  console.log(`\nPictures in ${folder}`);
}

/** Every state of both pages, as the script of a host. */
export function states(host) {
  const failure = { code: "vendor_failed", message: "fail_code: 2043: OutputVideoRisk: the output did not pass moderation" };
  const forever = { [`get_job ${VIDEO_JOB}`]: [host.running({ poll_after_seconds: 60 })] };
  const soon = `?Expires=${Math.floor(Date.now() / 1000) + 7200}`;
  const rate = (fps) => [{ kind: "video", url: `${host.clip("1280x720-24fps")}${soon}`, width: 1280, height: 720, frame_rate: fps }];
  const source = { [`get_job ${VIDEO_SOURCE}`]: [host.source()] };
  const smooth = { operation: "interpolate_video", forecast_credits: 66, options: { fps: 60 }, media: [{ kind: "video", url: host.clip("640x360-60fps"), width: 640, height: 360, frame_rate: 60 }] };
  const large = { media: [{ kind: "video", url: `${host.clip("3840x2160-24fps")}${soon}`, width: 3840, height: 2160 }] };
  const saved = [{ kind: "video", url: host.clip("1280x720-24fps"), path: "/home/me/Downloads/useapi-mcp/dreamina-upscale-1280x720-20261127-789.mp4", width: 1280, height: 720, frame_rate: 24, size_bytes: 179_263 }];
  const flow = { service: "google-flow", job_id: FLOW_JOB, source: FLOW_SOURCE, model: "veo-3.1", forecast_credits: 50 };
  const shot = { operation: "upscale_image", options: { resolution: "2k" }, forecast_credits: 0, model: undefined, media: [{ kind: "image", path: "/home/me/Downloads/useapi-mcp/google-flow-upscale-2560x1440.jpg", width: 2560, height: 1440, size_bytes: 342_000 }] };
  const next = host.steps([{ tool: "interpolate_video", arguments: { fps: 60 }, price: 66, source: VIDEO_JOB }]);
  return {
    waiting: {},
    submitting: { result: answer(host.job({ status: "submitting", poll_after_seconds: 60 })), answers: { ...forever, [`get_job ${VIDEO_SOURCE}`]: [answer(host.job())] } },
    running: { result: host.running({ poll_after_seconds: 60 }), answers: { ...forever, ...source } },
    finished: { result: next(host.upscaled({ media: rate(24) })) },
    fit: { result: next(host.upscaled({ media: rate(24) })), then: (view) => view.frame.check("#sizes input[value='0']", { force: true }) },
    large: { result: host.upscaled({ ...large, service: "pixverse", model: "v6", source: PIXVERSE_SOURCE, forecast_credits: undefined }), answers: { [`get_job ${PIXVERSE_SOURCE}`]: [host.source()] }, wait: 4000 },
    rates: { result: host.upscaled(smooth), wait: 6000 },
    saved: { result: next(host.upscaled({ media: saved })) },
    reused: { result: host.upscaled({ media: rate(24), reused: true }) },
    image: { result: host.upscaledImage(), answers: { [`get_job ${VIDEO_SOURCE}`]: [host.sourceImages(1)] } },
    images: { result: answer(host.sourceImages().structuredContent) },
    flow: { result: host.upscaled({ ...flow, ...large }), resources: { [`useapi://media/${encodeURIComponent(FLOW_SOURCE)}`]: host.assetLink(host.clip("1280x720-24fps")) } },
    "flow-image": { result: host.upscaled({ ...flow, ...shot, source: FLOW_SOURCE.replace("video", "image") }), resources: {
      [`useapi://jobs/${encodeURIComponent(FLOW_JOB)}/files/0`]: host.savedFile("image-2560x1440.jpg"),
      [`useapi://media/${encodeURIComponent(FLOW_SOURCE.replace("video", "image"))}`]: host.assetLink(host.image("1280x720")),
    } },
    failed: { result: answer(host.job({ status: "failed", failure })) },
    moderated: { result: answer(host.job({ status: "failed", failure: { code: "moderated", message: `Dreamina's moderation refused it: ${failure.message}` } })) },
    error: { result: error("Dreamina: the account has no credits left, nothing was taken. Buy credits, then call again.") },
    blocked: { result: host.upscaled(), csp: "'none'" },
    unconfirmed: { result: answer(host.job({ status: "unconfirmed" })) },
    gallery: { html: GALLERY, result: host.found() },
    "gallery-jobs": { html: GALLERY, result: host.listed() },
    "gallery-filtered": { html: GALLERY, result: host.found(), can: {}, then: (view) => view.frame.selectOption("#service", "google-flow") },
    "gallery-empty": { html: GALLERY, result: answer({ media: [], note: "No account is linked to PixVerse; link one on useapi.net." }) },
    "gallery-blocked": { html: GALLERY, result: host.found(), csp: "'none'" },
    "gallery-nothing": { html: GALLERY, can: EVERYTHING },
  };
}

async function moveALittle(view) {
  await view.frame.focus("#split");
  await view.page.keyboard.press("Shift+ArrowLeft");
  await view.frame.$eval("#split", (split) => split.blur());
}

async function takePicture(host, { theme, displayMode = "inline", wait = 2000, then, at = 430, ...script }, path) {
  const styles = { variables: { "--font-sans": FONT } }; // hosts give theirs
  const context = { theme, displayMode, availableDisplayModes: ["inline", "fullscreen"], styles };
  const view = await host.show({ ...script, context });
  await view.page.evaluate((theme) => document.documentElement.style.setProperty("--page", theme === "dark" ? "#1f1f1e" : "#fff"), theme);
  await pause(wait); // the frame rates are measured meanwhile
  await then?.(view);
  if (!script.html && (await view.isShown("time"))) {
    await view.frame.click("#play");
    await view.frame.fill("#time", String(at));
    await view.frame.$eval("#time", (time) => time.blur());
    await view.page.mouse.move(0, 0);
    await until("seeked", () => view.frame.evaluate(() => [...document.querySelectorAll("video")].every((video) => !video.seeking)));
    await pause(500);
  }
  await view.page.setViewportSize({ width: script.width, height: script.height || (await view.height()) });
  await pause(250);
  await view.page.screenshot({ path });
  await view.close();
}
