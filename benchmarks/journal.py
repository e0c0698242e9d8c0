"""What the journal costs a submit: the claim, three commits on disk, and the release."""

import asyncio
import json
import os
import time
from pathlib import Path

from benchmarks import peers
from benchmarks.figures import Figure
from mcp_server.clock import Clock
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import NewSubmission
from mcp_server.journal.sqlite import SqliteStore

SUBMITS = 500
JOB = {
    "job_id": "user:1234-dreamina:US:someone@example.com-job:v1-bot:dreamina",
    "service": "dreamina",
    "operation": "upscale_video",
    "status": "running",
    "forecast_credits": 30,
}


async def submit(journal: Journal, number: int) -> None:
    key = f"key-{number}"
    arguments = {"resolution": "4K"}
    new = NewSubmission(
        key, "https://api.useapi.net", "dreamina", "upscale_video", "source", arguments, 30
    )
    assert await journal.claim(key)
    assert await journal.find_live(key) is None
    row = await journal.insert(new)
    await journal.count_post(row, expected=0)
    await journal.accept(row.id, f"job-{number}", JOB)
    await journal.release(key)


def measure() -> list[Figure]:
    """Milliseconds of one submit, beside a file that is written and synchronised three times."""
    with peers.folder() as folder:
        costs_ms = asyncio.run(_submits_ms(folder))
        return [
            Figure(
                "journal: claim, 3 commits, release",
                "ms",
                tuple(costs_ms),
                tuple(_written_ms(folder / "file")),
                "3 writes to a file, each synchronised",
            )
        ]


async def _submits_ms(folder: Path) -> list[float]:
    costs_ms = []
    clock = Clock()
    journal = Journal(SqliteStore(folder, clock), clock.now)
    await journal.check()
    for number in range(SUBMITS):
        started = time.perf_counter()
        await submit(journal, number)
        costs_ms.append((time.perf_counter() - started) * 1e3)
    await journal.close()
    return costs_ms


def _written_ms(path: Path) -> list[float]:
    row, costs_ms = json.dumps(JOB).encode(), []
    with path.open("wb", buffering=0) as file:
        for _ in range(SUBMITS):
            started = time.perf_counter()
            for _ in range(3):
                file.write(row)
                os.fsync(file.fileno())
            costs_ms.append((time.perf_counter() - started) * 1e3)
    return costs_ms
