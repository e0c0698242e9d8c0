// Runs every case in a real browser and prints what came of each; the pictures take minutes more.
//
//   node tests/viewer/run.mjs [words of the cases to run]
//   node tests/viewer/run.mjs --pictures [word of the states to take]

import { CASES as UNIT_CASES } from "./unit_cases.mjs";
import { CASES as ACCESSIBILITY_CASES } from "./accessibility_cases.mjs";
import { CASES as GALLERY_CASES } from "./gallery_cases.mjs";
import { Inspector } from "./inspector.mjs";
import { CASES as INSPECTOR_CASES } from "./inspector_cases.mjs";
import { openBrowser } from "./parts.mjs";
import { takePictures } from "./pictures.mjs";
import { UnitHost } from "./unit_host.mjs";

const [first, ...rest] = process.argv.slice(2);
const onlyPictures = first === "--pictures";
const wanted = (onlyPictures ? rest : process.argv.slice(2)).join(" ");
const failures = [];
let passed = 0;

async function run(where, cases, host) {
  for (const [name, story] of Object.entries(cases).filter(([name]) => name.includes(wanted))) {
    const began = Date.now();
    let fault = null;
    try {
      const view = await story(host);
      if (view.faults.length) throw new Error(`the page threw: ${view.faults.join("; ")}`);
    } catch (error) {
      fault = error;
    }
    await host.closePages();
    const seconds = ((Date.now() - began) / 1000).toFixed(1);
    const line = `${fault ? "FAILED" : "passed"}  ${where}: ${name} (${seconds} s)`;
    const told = fault ? `${line}\n${String(fault.stack).replace(/^/gm, "        ")}` : line;
    console.log(told);
    if (fault) failures.push(told);
    else passed += 1;
  }
}

/** Does this with a host of our own in a browser of its own. */
async function hosted(work) {
  const browser = await openBrowser();
  const host = await UnitHost.open(browser);
  try {
    await work(host, browser);
  } finally {
    await host.close();
    await browser.close();
  }
}

async function runViewer(host) {
  await run("unit host", UNIT_CASES, host);
}

async function runOthers(host, browser) {
  await run("gallery", GALLERY_CASES, host);
  await run("axe", ACCESSIBILITY_CASES, host);
  if (!Object.keys(INSPECTOR_CASES).some((name) => name.includes(wanted))) return;
  const inspector = await Inspector.open(browser);
  try {
    await run("Inspector", INSPECTOR_CASES, inspector);
  } finally {
    await inspector.close();
  }
}

if (onlyPictures) {
  await hosted((host) => takePictures(host, wanted));
  process.exit(0);
}
// Two at a time: a case mostly waits for the page.
await Promise.all([hosted(runViewer), hosted(runOthers)]);
if (failures.length) console.log(`\n${failures.join("\n")}`); // again, where they are seen
console.log(`\nviewer: ${passed} passed, ${failures.length} failed`);
process.exit(failures.length || !passed ? 1 : 0);
