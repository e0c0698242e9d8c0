// Pictures of the page in its main states, for a person to look at.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { INSTALLED, pause } from "./parts.mjs";
import { answer, error, VIDEO_JOB, VIDEO_SOURCE } from "./unit_host.mjs";

export async function takePictures(host) {
  const folder = join(INSTALLED, "screenshots");
  mkdirSync(folder, { recursive: true });
  for (const [state, script] of Object.entries(states(host))) {
    for (const theme of ["light", "dark"]) {
      for (const width of [320, 1200]) {
        await takePicture(host, { ...script, width, theme }, join(folder, `${state}-${width}-${theme}.png`));
      }
    }
  }
  const finished = states(host).finished;
  await takePicture(host, { ...finished, width: 800, theme: "light" }, join(folder, "readme.png"));
  await takePicture(host, { ...finished, width: 1200, height: 800, theme: "dark", displayMode: "fullscreen" }, join(folder, "full-screen.png"));
  console.log(`\nPictures in ${folder}`);
}

function states(host) {
  const failure = { code: "vendor_failed", message: "fail_code: 2043: OutputVideoRisk: the output did not pass moderation" };
  const forever = { [`get_job ${VIDEO_JOB}`]: [host.running({ poll_after_seconds: 60 })] };
  const rate = (fps) => [{ kind: "video", url: host.clip("1280x720-24fps"), width: 1280, height: 720, frame_rate: fps }];
  const source = { [`get_job ${VIDEO_SOURCE}`]: [host.source()] };
  return {
    waiting: {},
    submitting: { result: answer(host.job({ status: "submitting", poll_after_seconds: 60 })), answers: { ...forever, [`get_job ${VIDEO_SOURCE}`]: [answer(host.job())] } },
    running: { result: host.running({ poll_after_seconds: 60 }), answers: { ...forever, ...source } },
    finished: { result: host.upscaled({ media: rate(24) }) },
    image: { result: host.upscaledImage(), answers: { [`get_job ${VIDEO_SOURCE}`]: [host.sourceImages(1)] } },
    failed: { result: answer(host.job({ status: "failed", failure })) },
    error: { result: error("Dreamina: the account has no credits left, nothing was taken. Buy credits, then call again.") },
    blocked: { result: host.upscaled(), csp: "'none'" },
    unconfirmed: { result: answer(host.job({ status: "unconfirmed" })) },
  };
}

async function takePicture(host, { theme, displayMode = "inline", ...script }, path) {
  const context = { theme, displayMode, availableDisplayModes: ["inline", "fullscreen"] };
  const view = await host.show({ ...script, context });
  await view.page.evaluate((theme) => document.documentElement.style.setProperty("--page", theme === "dark" ? "#1f1f1e" : "#fff"), theme);
  await pause(2000); // the frame rates are measured meanwhile
  if (await view.isShown("time")) {
    await view.frame.click("#play");
    await view.frame.fill("#time", "430");
    await view.frame.$eval("#time", (time) => time.blur());
    await view.page.mouse.move(0, 0);
    await pause(300);
  }
  await view.page.setViewportSize({ width: script.width, height: script.height || (await view.height()) });
  await pause(150);
  await view.page.screenshot({ path });
  await view.close();
}
