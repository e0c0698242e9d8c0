"""What the journal costs a submit: the claim, three commits on disk, and the release."""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # runs from a checkout too

from mcp_server.clock import Clock
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import NewSubmission
from mcp_server.journal.sqlite import SqliteStore

SUBMITS = 2_000
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


async def measure(folder: Path) -> list[float]:
    """What each submit took, in milliseconds."""
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


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        costs_ms = asyncio.run(measure(Path(folder)))
    percentiles = statistics.quantiles(costs_ms, n=100)
    print(
        f"journal: {SUBMITS} submits, p50 {percentiles[49]:.2f} ms, p99 {percentiles[98]:.2f} ms"
        " each (claim, 3 commits, release)"
    )


if __name__ == "__main__":
    main()
