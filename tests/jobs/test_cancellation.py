"""Cancellation: callers that leave at any moment cost the next ones nothing.

Over a real socket and in real time: httpx 0.28 loses a pool slot when a request is cut
(httpcore#1093), and a transport in memory would not show it.
"""

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import pytest
import uvicorn
from mcp import Client

from mcp_server.clock import Clock
from mcp_server.sandbox.app import Sandbox
from mcp_server.server.factory import create_server
from mcp_server.settings import Settings
from tests.support.harness import GOOD, TOKEN, reply

ROUNDS, CALLERS = 300, 20
JOBS = tuple(GOOD[service, "video"] for service in ("dreamina", "pixverse"))


class _Guest(uvicorn.Server):
    """Leaves signals to pytest."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[tuple[Sandbox, str]]:
    """The sandbox on a real port, in this loop."""
    sandbox = Sandbox(job_seconds=0, now=Clock().now)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        config = uvicorn.Config(
            sandbox,
            lifespan="off",
            log_config=None,
            access_log=False,
            ws="none",
            http="h11",
            date_header=False,
        )
        server = _Guest(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield sandbox, f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            await serving


def settings(origin: str, folder: Path) -> Settings:
    return Settings.read(
        {
            "USEAPI_TOKEN": TOKEN,
            "USEAPI_BASE_URL": origin,
            "USEAPI_OUTPUT_DIR": str(folder / "output"),
            "USEAPI_STATE_DIR": str(folder / "state"),
        }
    )


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208 - quick


async def ask(client: Client, rng: random.Random) -> None:
    """A call of some kind; all of them go out on the network."""
    tool, arguments = rng.choice(
        (
            ("get_job", {"job_id": rng.choice(JOBS)}),
            ("get_job", {"job_id": rng.choice(JOBS), "wait_seconds": 20}),
            (
                "download_media",
                {"job_id": rng.choice(JOBS), "file_name": f"clip {rng.randrange(9)}"},
            ),
        )
    )
    answer = reply(await client.call_tool(tool, arguments))
    assert not answer.is_error, answer.text


async def one_round(client: Client, rng: random.Random) -> int:
    """Twenty callers, most of whom leave at some moment; how many did."""
    callers = [asyncio.create_task(ask(client, rng)) for _ in range(CALLERS)]
    for caller in callers:
        if rng.random() < 0.7:
            asyncio.get_running_loop().call_later(rng.random() * 0.02, caller.cancel)
    done = await asyncio.gather(*callers, return_exceptions=True)
    wrong = [d for d in done if isinstance(d, Exception)]
    assert [] == wrong
    return sum(isinstance(d, asyncio.CancelledError) for d in done)


def test_callers_that_leave_at_any_moment_leave_nothing_behind(tmp_path: Path) -> None:
    async def work() -> int:
        rng = random.Random(4)
        async with (
            served() as (_, origin),
            Client(create_server(settings(origin, tmp_path))) as client,
            asyncio.timeout(120),
        ):
            await asyncio.gather(*(ask(client, rng) for _ in range(CALLERS)))
            before = open_files()
            left = sum([await one_round(client, rng) for _ in range(ROUNDS)])

            async with asyncio.timeout(10):  # every slot of the pool still serves
                await asyncio.gather(*(ask(client, rng) for _ in range(100)))
            assert open_files() <= before + CALLERS
            return left

    left = asyncio.run(work())

    assert left > ROUNDS * CALLERS / 10
    assert [] == list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("leave_after_s", [0.0, 0.002, 0.01])
def test_a_paid_call_whose_caller_leaves_is_made_once(tmp_path: Path, leave_after_s: float) -> None:
    async def work() -> int:
        source_id = GOOD["dreamina", "video"]
        async with (
            served() as (sandbox, origin),
            Client(create_server(settings(origin, tmp_path))) as client,
            asyncio.timeout(30),
        ):
            call = asyncio.create_task(client.call_tool("upscale_video", {"source_id": source_id}))
            await asyncio.sleep(leave_after_s)
            call.cancel()
            await asyncio.wait({call})
            again = reply(await client.call_tool("upscale_video", {"source_id": source_id}))

            assert not again.is_error, again.text
            return len(sandbox.accepted)

    assert 1 == asyncio.run(work())
