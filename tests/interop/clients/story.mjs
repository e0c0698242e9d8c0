// The same story through every TypeScript client; story.py tells what it is.

import { statSync } from "node:fs";
import { strict as assert } from "node:assert";

export const given = JSON.parse(process.argv[2]);
export const headers = { Authorization: `Bearer ${given.token}` };

const TOOLS = [
  "upscale_video",
  "interpolate_video",
  "upscale_image",
  "get_job",
  "list_jobs",
  "cancel_job",
  "download_media",
];
const LOOKS = 15;

export async function tell(client) {
  const { tools } = await client.listTools();
  const listed = new Set(tools.map((tool) => tool.name));
  assert.deepEqual(TOOLS.filter((name) => !listed.has(name)), []);

  const call = (name, args) => client.callTool({ name, arguments: args });
  let job = jobOf(await call("upscale_video", { source: given.source }));
  for (let look = 0; look < LOOKS && job.status !== "completed"; look++) {
    job = jobOf(await call("get_job", { job_id: job.job_id, wait_seconds: 2 }));
  }
  assert.equal(job.status, "completed");
  assert.ok(job.media[0].width > 0);

  const saved = jobOf(await call("download_media", { job_id: job.job_id }));
  assert.ok(statSync(saved.media[0].path).size > 0);

  const refused = await call("upscale_video", { source: given.source, resolution: "4K" });
  assert.equal(refused.isError, true);
  assert.match(refused.content[0].text, /resolution/);
}

function jobOf(result) {
  assert.ok(!result.isError, JSON.stringify(result));
  return result.structuredContent;
}
