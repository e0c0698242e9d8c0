"""The main job from start to end: an official MCP client, our server as its own process, files."""

import asyncio
import os
import sys
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.types import CallToolResult, TextContent

from mcp_server.containers import Facts, read_facts

_BAR = 24
_EXPECTED_S = 4.0  # what a job in the sandbox takes, about; only the bar's pace hangs on it

Arguments = dict[str, Any]


@dataclass
class Line:
    """One job on the screen, and the row of the table it ends as."""

    title: str
    status: str = "waiting for its turn"
    done: float = 0.0
    cells: list[str] = field(default_factory=list)


class Screen:
    """A bar a job, redrawn in place on a terminal; elsewhere a line for each change."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._in_place = sys.stdout.isatty()
        self._drawn = 0

    def add(self, title: str) -> Line:
        self.lines.append(Line(title))
        return self.lines[-1]

    def show(self, line: Line, status: str, done: float) -> None:
        changed = line.status != status
        line.status, line.done = status, done
        if self._in_place:
            self._redraw()
        elif changed:
            print(_drawn(line), flush=True)

    def _redraw(self) -> None:
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        print(up + "\n".join(f"\x1b[2K{_drawn(line)}" for line in self.lines), flush=True)
        self._drawn = len(self.lines)


def _drawn(line: Line) -> str:
    full = round(line.done * _BAR)
    return f"{line.title:<36} [{'#' * full}{'.' * (_BAR - full)}] {line.status}"


class Demo:
    """Runs jobs through one client and keeps their files."""

    def __init__(self, client: Client, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self._origin = ""
        self.screen = Screen()

    async def job(self, line: Line, tool: str, arguments: Arguments, source: Path) -> str:
        """Submit, follow to the end, save; the table's row says what the files' own bytes say."""
        self.screen.show(line, "submitting", 0.0)
        job = await self._call(tool, arguments)
        waited = 0.0

        async def progress(done: float, total: float | None, message: str | None) -> None:
            self.screen.show(line, message or "running", min(done / (total or 1), 0.95))

        while job["status"] in ("submitting", "running"):
            done = min(waited / _EXPECTED_S, 0.9)
            self.screen.show(line, job["status"], done)
            arguments = {"job_id": job["job_id"], "wait_seconds": 50}
            job = await self._call("get_job", arguments, progress)
            waited += 1
        if job["status"] != "completed":
            raise RuntimeError(f"{line.title}: {job['status']}: {job.get('failure')}")
        file = await self._save(job["media"][0], line.title)
        line.cells = [line.title, _told(source), _told(file), file.name]
        self.screen.show(line, "completed", 1.0)
        return str(job["job_id"])

    async def source(self, some_id: str, name: str) -> Path:
        """The source as it was before, to compare with."""
        if "-pixverse:" in some_id or some_id.endswith("-bot:dreamina"):
            job = await self._call("get_job", {"job_id": some_id})
            self._origin = self._origin or _origin(job["media"][0]["url"])
            return await self._save(job["media"][0], name)
        # A Google Flow source is no job: its link comes from GET /assets, which no tool calls.
        path = f"/v1/google-flow/assets/{urllib.parse.quote(some_id, safe='')}"
        answer = await asyncio.to_thread(_fetch, self._origin + path)
        import json

        return await self._save(json.loads(answer), name)

    async def _call(self, tool: str, arguments: Arguments, progress: Any = None) -> dict[str, Any]:
        result = await self._client.call_tool(tool, arguments, progress_callback=progress)
        assert isinstance(result, CallToolResult)
        if result.is_error or result.structured_content is None:
            said = next((c.text for c in result.content if isinstance(c, TextContent)), "")
            raise RuntimeError(f"{tool}: {said}")
        return dict(result.structured_content)

    async def _save(self, media: Mapping[str, Any], name: str) -> Path:
        stem = name.lower().replace(" ", "-").replace(",", "")
        if "path" in media:
            found = Path(media["path"])
            file = self._folder / (stem + found.suffix)
            file.write_bytes(found.read_bytes())
            return file
        data = await asyncio.to_thread(_fetch, media["url"])
        file = self._folder / (stem + Path(urllib.parse.urlsplit(media["url"]).path).suffix)
        file.write_bytes(data)
        return file
