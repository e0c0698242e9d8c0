"""Many users of one server: each sees what he asked for, and nobody can tell the rest from nothing.

Whatever takes an id is in ENTRIES: what it answers to another user's id is compared, word for word,
with what it answers to an id that nobody knows.
"""

import asyncio
import contextlib
import inspect
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from mcp import MCPError
from mcp.types import ResourceTemplateReference

from mcp_server.jobs.jobs import Jobs
from mcp_server.models import OUR_ID_PREFIX
from mcp_server.tools.context import SUBMITTING_TOOLS
from mcp_server.tools.registry import all_tools
from tests.support.harness import GOOD, Harness
from tests.support.tasks_client import DECLARED, Method, ask
from tests.support.team import OPERATOR, READER, Mode, Team, team

VIDEO, IMAGE = GOOD["dreamina", "video"], GOOD["dreamina", "image"]
FLOW = GOOD["google-flow", "video"]
MODES = get_args(Mode)

Entry = Callable[[Harness, str], Awaitable[Any]]


def tool(name: str, argument: str, /, **others: Any) -> Entry:
    """A tool that takes an id as this argument."""

    async def entry(caller: Harness, some_id: str) -> Any:
        reply = await caller.call(name, **{argument: some_id}, **others)
        return reply.is_error, reply.text, reply.data, reply.meta

    return entry


def resource(uri: str) -> Entry:
    async def entry(caller: Harness, some_id: str) -> Any:
        return await caller.client.read_resource(uri.format(some_id))

    return entry


def task(method: Method) -> Entry:
    async def entry(caller: Harness, some_id: str) -> Any:
        return await ask(caller.client, method, some_id, {} if method == "tasks/update" else None)

    return entry


async def completion(caller: Harness, some_id: str) -> Any:
    reference = ResourceTemplateReference(type="ref/resource", uri="useapi://jobs/{job_id}")
    found = await caller.client.complete(reference, {"name": "job_id", "value": some_id[:2]})
    return found.completion


ENTRIES: dict[str, Entry] = {
    "get_job": tool("get_job", "job_id"),
    "get_job that waits": tool("get_job", "job_id", wait_seconds=20),
    "download_media": tool("download_media", "job_id"),
    "download_media with a wrong name": tool("download_media", "job_id", file_name="../a"),
    "cancel_job": tool("cancel_job", "job_id"),
    "upscale_video": tool("upscale_video", "source"),
    "upscale_video with a cap": tool("upscale_video", "source", max_credits=0),
    "upscale_video of a draft": tool("upscale_video", "source", resolution="1080p"),
    "interpolate_video": tool("interpolate_video", "source", fps=60),
    "upscale_image": tool("upscale_image", "source"),
    "upscale_image by index": tool("upscale_image", "source", image_index=1),
    "generate_video from": tool("generate_video", "start_image", prompt="a", service="dreamina"),
    "generate_video to": tool(
        "generate_video", "end_image", prompt="a", start_image=IMAGE, service="dreamina"
    ),
    "generate_image": tool("generate_image", "reference_image", prompt="a", service="google-flow"),
    "generate_image of any": tool("generate_image", "reference_image", prompt="a"),
    "job": resource("useapi://jobs/{}"),
    "file": resource("useapi://jobs/{}/files/0"),
    "medium": resource("useapi://media/{}"),
    "completion": completion,
}
TASKS: dict[str, Entry] = {
    method: task(method) for method in ("tasks/get", "tasks/cancel", "tasks/update")
}


async def outcome(entry: Entry, caller: Harness, some_id: str) -> str:
    """What an entry answers, without the id."""
    try:
        said = repr(await entry(caller, some_id))
    except MCPError as error:
        said = f"MCPError {error.error!r}"
    return said.replace(some_id, "<id>").replace(json.dumps(some_id)[1:-1], "<id>")


def asked(requests: list[httpx.Request], some_id: str) -> set[str]:
    """What the vendor was asked, without the id."""
    lines = (f"{each.method} {httpx.URL(str(each.url)).path}" for each in requests)
    return {line.replace(some_id, "<id>") for line in lines}


@dataclass(frozen=True)
class Theirs:
    """What is Alice's: ids, a path and a link of her jobs, and the same that nobody has."""

    ids: dict[str, tuple[str, str]]
    path: str
    link: str


def other(some_id: str) -> str:
    """An id of the same form that nobody has."""
    if some_id.startswith(OUR_ID_PREFIX):
        return OUR_ID_PREFIX + "a" * 26
    number = re.findall(r"(?<=[j:-])[0-9a-f-]{6,}", some_id)[-1]
    if some_id.startswith("j"):
        number = some_id[10:20]
    turned = "".join(str((int(c) + 1) % 10) if c.isdigit() else c for c in number)
    return some_id.replace(number, turned)


async def made_by_alice(server: Team) -> Theirs:
    ids: dict[str, tuple[str, str]] = {}
    async with server.caller("alice") as alice:
        path = link = ""
        for name, call in {
            "Dreamina's video": ("upscale_video", {"source": VIDEO}),
            "Dreamina's image": ("upscale_image", {"source": IMAGE}),
            "Google Flow's video": ("upscale_video", {"source": FLOW}),
            "Google Flow's image": ("generate_image", {"prompt": "a", "service": "google-flow"}),
            "PixVerse's video": ("upscale_video", {"source": GOOD["pixverse", "video"]}),
            "PixVerse's images": (
                "generate_image",
                {"prompt": "cat", "service": "pixverse", "count": 2},
            ),
        }.items():
            job = (await alice.call(call[0], **call[1])).job
            done = (await alice.call("get_job", job_id=job["job_id"], wait_seconds=50)).job
            assert done["status"] == "completed", done
            row = await server.app.journal.get(done["job_id"])
            assert row is not None
            for kind, some_id in {
                "job": done["job_id"],
                "submission": row.id,
                **{f"medium {n}": item.get("media_id") for n, item in enumerate(done["media"])},
            }.items():
                if some_id:
                    ids[f"{name}: {kind}"] = (some_id, other(some_id))
            link = done["media"][0].get("url") or link
        saved = (await alice.call("download_media", job_id=ids["Dreamina's video: job"][0])).job
        path = saved["media"][0]["path"]
    return Theirs(ids, path, link)


@contextlib.asynccontextmanager
async def alices(folder: Path, **environment: str) -> AsyncIterator[tuple[Team, Theirs]]:
    async with team(folder, **environment) as server:
        yield server, await made_by_alice(server)


@pytest.mark.parametrize("mode", MODES)
async def test_anothers_id_is_answered_as_one_that_nobody_knows(tmp_path: Path, mode: Mode) -> None:
    entries = ENTRIES if mode == "legacy" else ENTRIES | TASKS
    options = {} if mode == "legacy" else DECLARED
    differing, compared = [], set()
    async with alices(tmp_path) as (server, theirs), server.caller("bob", mode, **options) as bob:
        for kind, (hidden, unknown) in theirs.ids.items():
            assert hidden != unknown
            for name, entry in entries.items():
                sent = server.network.sent
                sent.clear()
                nothing, of_unknown = await outcome(entry, bob, unknown), asked(sent, unknown)
                sent.clear()
                said, of_hidden = await outcome(entry, bob, hidden), asked(sent, hidden)
                compared.add(nothing)
                if said != nothing or not of_hidden <= of_unknown:
                    differing.append((kind, name, nothing, said, of_hidden - of_unknown))
                if any(line.startswith(("POST", "DELETE")) for line in of_hidden):
                    differing.append((kind, name, of_hidden))
        assert [] == (await bob.call("list_jobs")).job["jobs"]
        assert [] == (await bob.call("list_jobs", status="failed")).job["jobs"]

    assert [] == differing
    assert len(compared) > 10  # not all of it is one refusal of whatever is asked
