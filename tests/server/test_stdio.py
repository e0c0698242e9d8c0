"""MCP over lines: no call is left without an answer, and none is taken that can't be answered."""

import asyncio
import contextlib
import io
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mcp_server.sandbox.app import Sandbox
from mcp_server.server.factory import create_server
from mcp_server.server.lines import LONGEST_LINE_BYTES
from mcp_server.server.stdio import MOST_CALLS, client_left, read_line, serve
from mcp_server.settings import Settings
from tests.support.harness import GOOD, TOKEN, Network, VirtualClock

VIDEO = GOOD["dreamina", "video"]
CLIENT = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


class Pipes:
    """A client's two pipes; what it does not read stays in the way of the next answer."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[bytes] = asyncio.Queue()
        self.outbox: asyncio.Queue[bytes] = asyncio.Queue(1)
        self.is_gone = asyncio.Event()
        self.taken = 0

    async def read(self) -> bytes:
        line = await self.inbox.get()
        self.taken += 1
        return line

    async def write(self, line: bytes) -> None:
        if self.is_gone.is_set():
            raise BrokenPipeError
        await self.outbox.put(line)

    async def left(self) -> None:
        await self.is_gone.wait()

    def says(self, line: bytes) -> None:
        self.inbox.put_nowait(line)

    def send(self, method: str, number: Any = None, /, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        self.says(json.dumps(message if number is None else message | {"id": number}).encode())

    async def answer(self) -> dict[str, Any]:
        return dict(json.loads(await self.outbox.get()))


class Session(Pipes):
    """The pipes, with a server and the sandbox behind it."""

    serving: asyncio.Task[None]
    network: Network


@contextlib.asynccontextmanager
async def session(folder: Path, *, shakes_hands: bool = True) -> AsyncIterator[Session]:
    clock = VirtualClock()
    network = Network(Sandbox(job_seconds=3, now=clock.now))
    folders = {"USEAPI_OUTPUT_DIR": str(folder / "o"), "USEAPI_STATE_DIR": str(folder / "s")}
    settings = Settings.read({"USEAPI_TOKEN": TOKEN, **folders})
    pipes = Session()
    pipes.network = network
    pipes.serving = asyncio.create_task(
        serve(create_server(settings, clock=clock, transport=network), pipes)
    )
    if shakes_hands:
        pipes.send("initialize", 0, **CLIENT)
        assert (await pipes.answer())["id"] == 0
        pipes.send("notifications/initialized")
    try:
        yield pipes
    finally:
        pipes.says(b"")
        while not pipes.serving.done():
            with contextlib.suppress(asyncio.QueueEmpty):
                pipes.outbox.get_nowait()
            await asyncio.sleep(0.1)
        await pipes.serving


async def test_the_main_job_goes_over_lines(tmp_path: Path) -> None:
    async with session(tmp_path) as client:
        client.says(b"\n")
        client.send("tools/call", 1, name="upscale_video", arguments={"source": VIDEO})
        job = (await client.answer())["result"]["structuredContent"]
        waits = {"job_id": job["job_id"], "wait_seconds": 50}
        client.send("tools/call", 2, name="get_job", arguments=waits)

        assert (await client.answer())["result"]["structuredContent"]["status"] == "completed"


async def test_a_line_that_is_no_message_is_answered_and_logged_and_the_next_one_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(tmp_path) as client:
        client.says(b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": "\\ud800"}}')
        broken = await client.answer()
        client.send("ping", 2)
        good = await client.answer()

    assert (1, -32600) == (broken["id"], broken["error"]["code"])
    assert {"jsonrpc": "2.0", "id": 2, "result": {}} == good
    (record,) = (r for r in caplog.records if "was refused" in r.getMessage())
    assert "half of a character" in record.getMessage()


async def test_a_call_before_initialize_is_told_what_is_missing(tmp_path: Path) -> None:
    async with session(tmp_path, shakes_hands=False) as client:
        client.send("tools/call", 1, name="list_jobs", arguments={})
        error = (await client.answer())["error"]

    assert error["code"] == -32602
    assert "Send initialize before tools/call." in error["message"]


@pytest.mark.parametrize(
    ("method", "params", "member"),
    [
        ("tools/call", {"name": "list_jobs", "arguments": ""}, "params.arguments"),
        ("tools/call", {"name": "list_jobs", "arguments": "{}"}, "params.arguments"),
        ("tools/call", {"name": "list_jobs", "arguments": []}, "params.arguments"),
        ("tools/list", {"_meta": {"progressToken": None}}, "params._meta.progressToken"),
        ("prompts/get", {"name": "enhance_clip", "arguments": {"source": 60}}, "arguments.source"),
    ],
    ids=range(5),
)
async def test_the_member_that_is_wrong_is_named(
    tmp_path: Path, method: str, params: dict[str, Any], member: str
) -> None:
    async with session(tmp_path) as client:
        client.send(method, 1, **params)
        error = (await client.answer())["error"]

    assert error["code"] == -32602
    assert member in error["message"]


def test_of_a_line_that_is_too_long_only_the_begin_is_kept() -> None:
    source = io.BytesIO(b"x" * (3 * LONGEST_LINE_BYTES) + b"\nnext\nlast")

    read = [read_line(source) for _ in range(4)]

    assert [b"x" * (LONGEST_LINE_BYTES + 1), b"next\n", b"last", b""] == read


async def test_who_reads_no_answers_is_not_listened_to_for_ever(tmp_path: Path) -> None:
    async with session(tmp_path) as client:
        before = client.taken
        for number in range(3 * MOST_CALLS):
            client.send("ping", number)
        await asyncio.sleep(600)
        taken = client.taken - before
        read = [await client.answer() for _ in range(3 * MOST_CALLS)]

    assert MOST_CALLS <= taken <= MOST_CALLS + 5  # some were on their way out
    assert sorted(answer["id"] for answer in read) == list(range(3 * MOST_CALLS))


async def test_a_paid_call_that_found_no_room_is_refused(tmp_path: Path) -> None:
    """Its caller may have given it up since."""
    async with session(tmp_path) as client:
        for number in range(MOST_CALLS + 2):
            client.send("ping", number)
        await asyncio.sleep(1)
        client.inbox._queue.clear()  # type: ignore[attr-defined]
        client.send("tools/call", "paid", name="upscale_video", arguments={"source": VIDEO})
        answers = [await client.answer() for _ in range(MOST_CALLS + 2)]

    (refusal,) = (answer for answer in answers if answer["id"] == "paid")
    assert "nothing was done" in refusal["error"]["message"]
    assert not [request for request in client.network.sent if request.method == "POST"]


async def test_calls_that_are_cancelled_do_not_count(tmp_path: Path) -> None:
    async with session(tmp_path) as client:
        arguments = {"job_id": VIDEO.replace("u1", "u9"), "wait_seconds": 50}
        for number in range(1, MOST_CALLS + 100):
            client.send("tools/call", number, name="get_job", arguments=arguments)
            client.send("notifications/cancelled", requestId=number)
        client.send("ping", "last")

        while (await client.answer())["id"] != "last":
            pass


async def test_a_client_that_is_gone_ends_the_server_though_its_input_stays_open(
    tmp_path: Path,
) -> None:
    async with session(tmp_path) as client:
        client.is_gone.set()

        await asyncio.wait_for(client.serving, 20)


async def test_an_answer_that_nobody_takes_ends_it_too(tmp_path: Path) -> None:
    async with session(tmp_path) as client:

        async def broken(line: bytes) -> None:
            raise BrokenPipeError

        client.write = broken  # type: ignore[method-assign]
        client.send("ping", 1)

        await asyncio.wait_for(client.serving, 20)


async def test_the_end_of_the_input_is_not_held_up_by_answers_that_nobody_reads(
    tmp_path: Path,
) -> None:
    async with session(tmp_path) as client:
        for number in range(50):
            client.send("tools/list", number)
        await asyncio.sleep(1)
        client.says(b"")

        await asyncio.wait_for(asyncio.shield(client.serving), 20)


needs_pipes = pytest.mark.skipif(sys.platform == "win32", reason="not to be seen on Windows")


@needs_pipes
async def test_it_is_noticed_that_nobody_reads_the_output_any_more() -> None:
    read_end, write_end = os.pipe()
    watching = asyncio.create_task(client_left(write_end))
    await asyncio.sleep(60)
    still_there = not watching.done()

    os.close(read_end)
    await asyncio.wait_for(watching, 1)
    os.close(write_end)

    assert still_there


async def test_it_is_noticed_that_the_process_that_started_this_one_has_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another process may still hold its ends of the pipes."""
    with (tmp_path / "output").open("w") as output:
        watching = asyncio.create_task(client_left(output.fileno()))
        await asyncio.sleep(60)
        still_there = not watching.done()

        monkeypatch.setattr(os, "getppid", lambda: 1)
        await asyncio.wait_for(watching, 10)

    assert still_there
