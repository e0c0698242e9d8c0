"""The main job from start to end: an official MCP client, our server as its own process, files."""

import asyncio
import json
import os
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.types import CallToolResult, TextContent

from mcp_server.media.probe import probe

_BAR = 24

Sources = Mapping[tuple[str, str], str]


class FailedError(Exception):
    """A job of the demo did not end as it should."""


@dataclass
class Line:
    """One job: a bar while it runs, a row of the table when it has ended."""

    title: str
    status: str = "waiting for its source"
    done: float = 0.0
    before: Path | None = None
    after: Path | None = None


@dataclass
class Screen:
    """A bar a job, redrawn in place on a terminal; elsewhere a line for each change."""

    in_place: bool
    lines: list[Line] = field(default_factory=list)
    drawn: int = 0

    def add(self, title: str) -> Line:
        self.lines.append(Line(title))
        return self.lines[-1]

    def show(self, line: Line, status: str, done: float) -> None:
        changed = line.status != status
        line.status, line.done = status, done
        if self.in_place:
            up = f"\x1b[{self.drawn}A" if self.drawn else ""
            print(up + "\n".join(f"\x1b[2K{_bar(each)}" for each in self.lines), flush=True)
            self.drawn = len(self.lines)
        elif changed:
            print(_bar(line), flush=True)


@dataclass
class Demo:
    """Runs jobs through one client; each ends with its file in `folder`."""

    client: Client
    screen: Screen
    job_s: float

    async def job(self, line: Line, source_id: str, tool: str, **options: Any) -> str:
        """Submit, follow to the end, save."""
        self.screen.show(line, "submitting", 0.0)
        job = await self.call(tool, source=source_id, **options)
        bar = asyncio.create_task(self._advance(line))
        try:
            while job["status"] in ("submitting", "running"):
                job = await self.call("get_job", job_id=job["job_id"], wait_seconds=50)
        finally:
            bar.cancel()
        if job["status"] != "completed":
            raise FailedError(f"{line.title}: {job['status']}: {job.get('failure')}")
        line.after = await self.save(str(job["job_id"]), f"{_file_name(line.title)}-after")
        self.screen.show(line, "completed", 1.0)
        return str(job["job_id"])

    async def save(self, job_id: str, file_name: str) -> Path:
        job = await self.call("download_media", job_id=job_id, file_name=file_name)
        return Path(job["media"][0]["path"])

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await self.client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        if result.is_error or result.structured_content is None:
            said = next((c.text for c in result.content if isinstance(c, TextContent)), "")
            raise FailedError(f"{tool}: {said}")
        return dict(result.structured_content)

    async def _advance(self, line: Line) -> None:
        """No service tells how far it is: the bar nears its end and waits there."""
        for tenth in range(1, 10):
            self.screen.show(line, "running", tenth / 10)
            await asyncio.sleep(self.job_s / 10)


async def run(folder: Path, sources: Sources, job_s: float = 3.0) -> None:
    """Do the main job on every service, side by side, and print what became of it.

    Args:
        folder: where the files go; made if need be.
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
    print("Starting `useapi-mcp --sandbox` and talking to it over stdio …", flush=True)
    async with Client(server) as client:
        demo = Demo(client, Screen(sys.stdout.isatty()), job_s)
        try:
            await _all_jobs(demo, folder, sources)
            failure = ""
        except (
            FailedError
        ) as error:  # kept until the server is closed, whose task group would wrap it
            failure = str(error)
    if failure:
        raise SystemExit(failure)
    print(f"\n{_table(demo.screen.lines)}\n\nFiles in {folder}")


async def _all_jobs(demo: Demo, folder: Path, sources: Sources) -> None:
    upscale = demo.screen.add("Dreamina upscale video")
    interpolate = demo.screen.add("Dreamina interpolate to 60 fps")
    image = demo.screen.add("Dreamina upscale image to 8k")
    flow = demo.screen.add("Google Flow upscale video to 4K")
    flow_image = demo.screen.add("Google Flow upscale image to 2k")
    pixverse = demo.screen.add("PixVerse upscale video to 4K")

    upscale.before = await demo.save(sources["dreamina", "video"], "dreamina-video-before")
    image.before = await demo.save(sources["dreamina", "image"], "dreamina-image-before")
    pixverse.before = await demo.save(sources["pixverse", "video"], "pixverse-video-before")
    seen = await demo.call("get_job", job_id=sources["dreamina", "video"])
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(seen["media"][0]["url"]))
    for line, kind in ((flow, "video"), (flow_image, "image")):
        source_id = sources["google-flow", kind]
        line.before = await asyncio.to_thread(_flow_source, origin, source_id, folder, kind)

    async def dreamina_video() -> None:
        upscaled = await demo.job(upscale, sources["dreamina", "video"], "upscale_video")
        interpolate.before = upscale.after
        await demo.job(interpolate, upscaled, "interpolate_video", fps=60)

    await asyncio.gather(
        dreamina_video(),
        demo.job(image, sources["dreamina", "image"], "upscale_image", resolution="8k"),
        demo.job(flow, sources["google-flow", "video"], "upscale_video", resolution="4K"),
        demo.job(flow_image, sources["google-flow", "image"], "upscale_image"),
        demo.job(pixverse, sources["pixverse", "video"], "upscale_video"),
    )


def _flow_source(origin: str, source_id: str, folder: Path, kind: str) -> Path:
    """A Google Flow source is no job, so no tool saves it: its link comes from GET /assets."""
    headers = {"Authorization": "Bearer user:0-sandbox"}
    address = f"{origin}/v1/google-flow/assets/{quote(source_id, safe='')}"
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:  # noqa: S310 - the sandbox's own address
        link = json.load(answer)["url"]
    file = folder / f"google-flow-{kind}-before{Path(urlsplit(link).path).suffix}"
    with urllib.request.urlopen(link) as answer:  # noqa: S310 - as above
        file.write_bytes(answer.read())
    return file


def _file_name(title: str) -> str:
    return title.lower().replace(" ", "-")


def _bar(line: Line) -> str:
    full = round(line.done * _BAR)
    return f"{line.title:<32} [{'#' * full}{'.' * (_BAR - full)}] {line.status}"


def _table(lines: list[Line]) -> str:
    """Sizes, rates and lengths as the files' own bytes say them."""
    rows = [("job", "before", "after", "file")]
    rows += [
        (line.title, _told(line.before), _told(line.after), line.after.name if line.after else "")
        for line in lines
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    rows.insert(1, ("-" * widths[0], "-" * widths[1], "-" * widths[2], "-" * widths[3]))
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _told(path: Path | None) -> str:
    if path is None:
        return "?"
    with path.open("rb") as file:
        facts = probe(file)
    if facts is None:
        return "unknown"
    told = f"{facts.width}x{facts.height}"
    if facts.kind == "video":
        told += f" {facts.frame_rate:g} fps {(facts.duration_ms or 0) / 1000:.1f} s"
    return f"{told}, {path.stat().st_size / 1000:,.0f} kB"
