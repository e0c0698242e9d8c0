"""`make callers`: callers that leave at any moment cost the next ones nothing.

Over a real socket and in real time: httpx 0.28 loses a pool slot when a request is cut
(httpcore#1093), and a transport in memory would not show it.
"""

import asyncio
import contextlib
import os
import random
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import uvicorn
from mcp import Client

from mcp_server.clock import Clock
from mcp_server.sandbox.app import Sandbox
from mcp_server.server.factory import create_server
from mcp_server.settings import Settings
from tests.support.harness import GOOD, TOKEN, reply
from tests.support.limits import LONGEST_S

CALLERS = 20
ROUNDS_OF_A_TEST = 40
ROUNDS = 300
JOBS = tuple(GOOD[service, "video"] for service in ("dreamina", "pixverse"))


class _Guest(uvicorn.Server):
    """Installs no signal handlers."""

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
            date_header=False,  # the sandbox tells its own time
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


async def many_rounds(rounds: int, folder: Path) -> int:
    """Rounds of callers that leave, then many calls at once; how many callers left.

    Raises:
        AssertionError: a call failed, or files or connections were left open.
        TimeoutError: the calls at the end were not all answered.
    """
    rng = random.Random(4)
    async with (
        served() as (_, origin),
        Client(create_server(settings(origin, folder))) as client,
    ):
        await asyncio.gather(*(ask(client, rng) for _ in range(CALLERS)))
        before = open_files()
        left = sum([await one_round(client, rng) for _ in range(rounds)])

        async with asyncio.timeout(LONGEST_S):  # every slot of the pool still serves
            await asyncio.gather(*(ask(client, rng) for _ in range(100)))
        assert open_files() <= before + CALLERS
    return left


def half_written(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        left = asyncio.run(many_rounds(ROUNDS, Path(folder)))
        assert [] == half_written(Path(folder))
    print(f"{left} of {ROUNDS * CALLERS} callers left")
    print(f"callers: {ROUNDS} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
