"""Ten thousand calls through a client, the server and a socket: descriptors and memory stay flat.

`python benchmarks/load.py [calls]`. The vendor is the sandbox, as a process of its own.
"""

import asyncio
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # runs from a checkout too

from mcp import Client
from mcp.types import CallToolResult

from mcp_server.sandbox.app import SOURCES
from mcp_server.server.factory import create_server
from mcp_server.settings import Settings

CALLS, AT_ONCE, STEPS = 10_000, 20, 10
PROC = Path("/proc/self")
SOURCE_IDS = [
    source.id for source in SOURCES if source.good and source.service in {"dreamina", "pixverse"}
]


@asynccontextmanager
async def sandbox() -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "mcp_server", "sandbox", "--port", "0"),
        cwd=Path(__file__).parent.parent,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    try:
        told = re.search(rb"http://[\d.:]+", await process.stdout.readline())
        assert told
        yield told[0].decode()
    finally:
        process.terminate()
        await process.wait()


def open_files() -> int:
    return len(os.listdir(PROC / "fd"))  # noqa: PTH208 - names are all that is asked for


def memory_mb() -> float:
    """What this process holds now."""
    pages = int((PROC / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def call(client: Client, number: int) -> float:
    """Milliseconds of one call; most read a job, some save or list, all in turn."""
    job_id = SOURCE_IDS[number % len(SOURCE_IDS)]
    tool = ("get_job", "get_job", "get_job", "download_media", "list_jobs")[number % 5]
    begun = time.perf_counter()
    result = await client.call_tool(tool, {} if tool == "list_jobs" else {"job_id": job_id})
    assert isinstance(result, CallToolResult)
    assert not result.is_error, result.content
    return (time.perf_counter() - begun) * 1e3


async def measure(calls: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with sandbox() as origin:
            settings = Settings.read(
                {
                    "USEAPI_TOKEN": "user:1-benchmark",
                    "USEAPI_BASE_URL": origin,
                    "USEAPI_OUTPUT_DIR": f"{folder}/output",
                    "USEAPI_STATE_DIR": f"{folder}/state",
                }
            )
            async with Client(create_server(settings)) as client:
                await run(client, calls)


async def run(client: Client, calls: int) -> None:
    numbers = iter(range(calls + calls // STEPS))
    took_ms: list[float] = []

    async def caller(most: int) -> None:
        took_ms.extend([await call(client, next(numbers)) for _ in range(most)])

    async def step() -> None:
        each = calls // STEPS // AT_ONCE
        await asyncio.gather(*(caller(each) for _ in range(AT_ONCE)))

    await step()  # warm
    took_ms.clear()
    begun = time.perf_counter()
    rows = [(0, open_files(), memory_mb())]
    for number in range(STEPS):
        await step()
        rows.append((calls // STEPS * (number + 1), open_files(), memory_mb()))
    taken_s = time.perf_counter() - begun
    for done, files, memory in rows[:: STEPS // 5]:
        print(f"load: {done:6} calls, {files:3} open files, {memory:6.1f} MB")
    (_, first_files, first_mb), (_, last_files, last_mb) = rows[0], rows[-1]
    percentiles = statistics.quantiles(took_ms, n=100)
    print(
        f"load: {last_files - first_files:+} files, {last_mb - first_mb:+.1f} MB;"
        f" {len(took_ms) / taken_s:.0f} calls/s, {AT_ONCE} at once,"
        f" p50 {percentiles[49]:.1f} ms, p99 {percentiles[98]:.1f} ms"
    )


if __name__ == "__main__":
    if PROC.exists():
        asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else CALLS))
    else:
        print("load: only measured on Linux, where /proc tells memory and descriptors")
