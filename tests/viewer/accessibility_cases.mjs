// What axe, the checker of accessibility that others wrote, finds in every state of both pages.

import { deepEqual, equal } from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { GALLERY, INSTALLED, until } from "./parts.mjs";
import { states } from "./pictures.mjs";

const AXE = readFileSync(join(INSTALLED, "node_modules/axe-core/axe.min.js"), "utf8");

export const CASES = {
  "axe finds nothing in the viewer, in any state, at both widths and in both themes": (host) => check(host, (script) => !script.html),
  "axe finds nothing in the gallery, in any state, at both widths and in both themes": (host) => check(host, (script) => script.html === GALLERY),

  async "by touch every control is 44 px wide and high, in every state and at both widths"(host) {
    const touch = await host.onTouch();
    const found = [];
    let view;
    for (const [state, { then, ...script }] of Object.entries(states(host))) {
      await view?.close();
      view = await touch.show(script);
      await until("drawn and loaded", () => view.frame.evaluate(isDrawn, !!script.result));
      await then?.(view);
      for (const width of [320, 1200]) {
        await view.page.setViewportSize({ width, height: 800 });
        found.push(...(await view.frame.evaluate(small)).map((control) => `${state}, ${width} px: ${control}`));
        equal(await view.overflow(), 0);
      }
    }
    deepEqual(found, []);
    return view;
  },
};

async function check(host, isWanted) {
  const found = [];
  let view;
  for (const [state, { then, ...script }] of Object.entries(states(host)).filter(([, script]) => isWanted(script))) {
    await view?.close();
    view = await host.show(script);
    await until("drawn and loaded", () => view.frame.evaluate(isDrawn, !!script.result));
    await then?.(view);
    await view.frame.evaluate(AXE);
    for (const width of [320, 1200]) {
      await view.page.setViewportSize({ width, height: 800 });
      for (const theme of ["light", "dark"]) {
        await view.turns(theme);
        found.push(...(await view.frame.evaluate(violations)).map((rule) => `${state}, ${width} px, ${theme}: ${rule}`));
      }
    }
  }
  deepEqual(found, []);
  return view;
}

/* Runs in the page: its answer is drawn, and each picture is there or was refused. */
function isDrawn(isTold) {
  const isWaiting = document.querySelector("#card").dataset.state === "waiting" || document.querySelector("#headline").textContent === "Looking…";
  return (!isTold || !isWaiting) && [...document.querySelectorAll("video")].every((video) => video.readyState > 1 || video.error)
    && [...document.querySelectorAll("img")].every((image) => image.complete);
}

/* Runs in the page: what can be pressed, and is too small for a finger. */
function small() {
  return [...document.querySelectorAll("button, select, input[type=range]:not(#split), #sizes span")]
    .filter((control) => control.checkVisibility({ visibilityProperty: true }))
    .map((control) => [control.id || control.textContent, control.getBoundingClientRect()])
    .filter(([, { width, height }]) => Math.min(width, height) < 44)
    .map(([name, { width, height }]) => `${name}: ${width} × ${height}`);
}

/* Runs in the page. */
async function violations() {
  const { violations: broken } = await axe.run(document);
  return broken.flatMap(({ id, nodes }) => nodes.map(({ target, any }) => `${id}: ${target} ${any.map(({ message }) => message).join("; ")}`));
}
