"""`useapi-mcp demo`: an official MCP client does the main jobs on every service of the sandbox.

A wish and a file of one's own become 4K files, and six finished media are upscaled or interpolated.
"""

import asyncio
import json
import os
import shutil
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters
from mcp.types import CallToolResult, TextContent

from mcp_server.media.probe import probe

NEXT = """\
Next: put `useapi-mcp --sandbox` into your agent's host and say "upscale" with
an id of `useapi-mcp sandbox --help`. With your useapi.net token in USEAPI_TOKEN
`useapi-mcp check` says whether real work can begin. README has each host:
https://github.com/useapi-mcp/useapi-mcp#connect-a-host"""

Sources = Mapping[tuple[str, str], str]

_WISH = {
    "prompt": "A lighthouse at night, waves, slow camera",
    "service": "google-flow",
    "duration_seconds": 4,
}
_MOST_CREDITS = 100  # for one job of the sandbox, which charges nothing: nobody has to be asked


class FailedError(Exception):
    """A job of the demo did not end as it should."""


@dataclass
class Row:
    """A job of the table: the file it was made from, and the file it made."""

    title: str
    before: Path | None = None
    after: Path | None = None


@dataclass
class Demo:
    """Runs jobs through one client; each ends with its file in the output folder."""

    client: Client
    rows: list[Row] = field(default_factory=list)

    def add(self, title: str) -> Row:
        self.rows.append(Row(title))
        return self.rows[-1]

    async def job(self, row: Row, source: str, tool: str, **options: Any) -> str:
        """Submit, wait for the end, save; prints each status. Gives the job's id."""
        job_id = await self.made(row.title, tool, source=source, **options)
        name = row.title.lower().replace(" ", "-")
        row.after = await self.save(job_id, f"{name}-after")
        return job_id

    async def made(self, title: str, tool: str, **arguments: Any) -> str:
        """Submit and wait for the end; prints each status. Gives the id of the completed job."""
        job = await self.call(tool, max_credits=_MOST_CREDITS, **arguments)
        status = ""
        while True:
            if job["status"] != status:
                status = job["status"]
                print(f"{title:<32} {status}", flush=True)
            if status not in ("submitting", "running"):
                break
            job = await self.call("get_job", job_id=job["job_id"], wait_seconds=50)
        if status != "completed":
            raise FailedError(f"{title}: {status}: {job.get('failure')}")
        return str(job["job_id"])

    async def save(self, job_id: str, file_name: str) -> Path:
        job = await self.call("download_media", job_id=job_id, file_name=file_name)
        return Path(job["media"][0]["path"])

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await self.client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        if result.is_error or result.structured_content is None:
            text = next((c.text for c in result.content if isinstance(c, TextContent)), "")
            raise FailedError(f"{tool}: {text}")
        return dict(result.structured_content)


async def run(folder: Path, sources: Sources, job_s: float = 3.0) -> None:
    """Do the main job on every service, side by side, and print a table of the files.

    Args:
        folder: the output folder; in it the sandbox has one of its own.
        sources: the sandbox's good source ids, by service and kind.
        job_s: seconds a job takes in the sandbox.
    """
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "mcp_server", "--sandbox"],
        env={
            **os.environ,
            "USEAPI_OUTPUT_DIR": str(folder),
            "USEAPI_SANDBOX_JOB_SECONDS": f"{job_s:g}",
        },
    )
    files = folder / "sandbox"
    print("Starting `useapi-mcp --sandbox` and talking to it over stdio …", flush=True)
    failure = ""
    try:
        async with Client(server) as client:
            demo = Demo(client)
            try:  # in here, where the client's task group has not wrapped the error yet
                await _all_jobs(demo, files, sources)
            except (FailedError, MCPError, OSError) as error:
                failure = str(error)
    except* (MCPError, OSError):
        failure = "The server did not start. Run `useapi-mcp --sandbox` alone to see why."
    if failure:
        raise SystemExit(failure)
    print(f"\n{_table(demo.rows)}\n\nFiles in {files}\n\n{NEXT}")


async def _all_jobs(demo: Demo, folder: Path, sources: Sources) -> None:
    wish = demo.add("A wish to a 4K file")
    own = demo.add("An own file to a 4K file")
    upscale = demo.add("Dreamina upscale video")
    interpolate = demo.add("Dreamina interpolate to 60 fps")
    image = demo.add("Dreamina upscale image to 8k")
    flow = demo.add("Google Flow upscale video to 4K")
    flow_image = demo.add("Google Flow upscale image to 2k")
    pixverse = demo.add("PixVerse upscale video to 4K")

    seen = await demo.call("get_job", job_id=sources["dreamina", "video"])  # a saved one: no link
    upscale.before = await demo.save(sources["dreamina", "video"], "dreamina-video-before")
    image.before = await demo.save(sources["dreamina", "image"], "dreamina-image-before")
    pixverse.before = await demo.save(sources["pixverse", "video"], "pixverse-video-before")
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(seen["media"][0]["url"]))
    flow.before = _flow_source(origin, sources["google-flow", "video"], folder, "video")
    flow_image.before = _flow_source(origin, sources["google-flow", "image"], folder, "image")

    own.before = folder / "my-clip.mp4"
    shutil.copyfile(flow.before, own.before)

    async def wished_for() -> None:
        clip = await demo.made("The clip of the wish", "generate_video", **_WISH)
        wish.before = await demo.save(clip, "a-wish-before")
        await demo.job(wish, clip, "upscale_video", resolution="4K")

    async def dreamina_video() -> None:
        upscaled = await demo.job(upscale, sources["dreamina", "video"], "upscale_video")
        interpolate.before = upscale.after
        await demo.job(interpolate, upscaled, "interpolate_video", fps=60)

    await asyncio.gather(
        wished_for(),
        demo.job(own, str(own.before), "upscale_video", resolution="4K"),
        dreamina_video(),
        demo.job(image, sources["dreamina", "image"], "upscale_image", resolution="8k"),
        demo.job(flow, sources["google-flow", "video"], "upscale_video", resolution="4K"),
        demo.job(flow_image, sources["google-flow", "image"], "upscale_image"),
        demo.job(pixverse, sources["pixverse", "video"], "upscale_video"),
    )


def _flow_source(origin: str, source_id: str, folder: Path, kind: str) -> Path:
    """The source as a file. It is no job, so no tool saves it: its link comes from GET /assets.

    This blocks, but the sandbox is another process and no job has begun.
    """
    headers = {"Authorization": "Bearer user:0-sandbox"}
    address = f"{origin}/v1/google-flow/assets/{quote(source_id, safe='')}"
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:  # noqa: S310 - the sandbox's own address
        link = json.load(answer)["url"]
    file = folder / f"google-flow-{kind}-before{Path(urlsplit(link).path).suffix}"
    with urllib.request.urlopen(link) as answer:  # noqa: S310 - as above
        file.write_bytes(answer.read())
    return file


def _table(rows: list[Row]) -> str:
    """Sizes, rates and lengths as read from the files themselves; fits 80 columns."""
    return "\n".join(
        f"{row.title}: {row.after.name if row.after else 'no file'}\n"
        f"  {_facts(row.before)} -> {_facts(row.after)}"
        for row in rows
    )


def _facts(path: Path | None) -> str:
    if path is None:
        return "?"
    with path.open("rb") as file:
        facts = probe(file)
    if facts is None:
        return "unknown"
    text = f"{facts.width}x{facts.height}"
    if facts.kind == "video":
        text += f" {facts.frame_rate:g} fps {(facts.duration_ms or 0) / 1000:.1f} s"
    return f"{text}, {path.stat().st_size / 1000:,.0f} kB"
