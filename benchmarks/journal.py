"""What the journal costs a submit: the lock, three commits on disk, and letting go."""

import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # runs from a checkout too

from mcp_server.journal.records import NewSubmission
from mcp_server.journal.sqlite import Journal

SUBMITS = 2_000
JOB = {
    "job_id": "user:1234-dreamina:US:someone@example.com-job:v1-bot:dreamina",
    "service": "dreamina",
    "operation": "upscale_video",
    "status": "running",
    "forecast_credits": 30,
}


def submit(journal: Journal, number: int) -> None:
    key = f"key-{number}"
    intent = NewSubmission(key, "dreamina", "upscale_video", "source", {"resolution": "4K"}, 30)
    assert journal.try_lock(key)
    assert journal.live(key) is None
    row = journal.intend(intent)
    journal.count_post(row.id)
    journal.accept(row.id, f"job-{number}", JOB)
    journal.unlock(key)


def main() -> None:
    costs_ms = []
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Journal(Path(folder), time.time)) as journal,
    ):
        journal.check()
        for number in range(SUBMITS):
            started = time.perf_counter()
            submit(journal, number)
            costs_ms.append((time.perf_counter() - started) * 1e3)
    percentiles = statistics.quantiles(costs_ms, n=100)
    print(
        f"journal: {SUBMITS} submits, p50 {percentiles[49]:.2f} ms, p99 {percentiles[98]:.2f} ms"
        " each (lock, 3 commits, unlock)"
    )


if __name__ == "__main__":
    main()
