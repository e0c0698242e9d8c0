"""Submissions and jobs as the tests of the journal write them down, and a clock for them."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from mcp_server.clock import Clock
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import NewSubmission, Submission, Traffic

ORIGIN = "https://api.useapi.net"
NOON = 1_790_000_000 // 86_400 * 86_400 + 43_200.0
"""12:00 UTC of some day."""


class StoppedClock(Clock):
    """Its wall time stays where it is set; how long things take is up to the loop."""

    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> float:
        return self.at


def new(
    key: str = "key",
    service: str = "dreamina",
    price: float | None = 30,
    *,
    origin: str = ORIGIN,
) -> NewSubmission:
    arguments = {"resolution": "4K"}
    return NewSubmission(key, origin, service, "upscale_video", "the-source", arguments, price)


def job(status: str = "running", **facts: Any) -> dict[str, Any]:
    return {"service": "dreamina", "operation": "upscale_video", "status": status, **facts}


async def sent(journal: Journal, key: str = "key", **what: Any) -> Submission:
    """A row whose first POST is counted; its key stays claimed."""
    row = await journal.insert(new(key, **what))
    await journal.claim(key)
    return await journal.count_post(row, expected=0)


async def accepted(
    journal: Journal, key: str = "key", job_id: str = "job-1", **facts: Any
) -> Submission:
    """A row that was sent and answered with a job."""
    row = await sent(journal, key)
    return await journal.accept(row.id, job_id, job(**facts))


async def listed(journal: Journal, limit: int = 100, status: str | None = None) -> list[Submission]:
    return await journal.recent(limit, status, origin=ORIGIN)


async def queued(
    journal: Journal, key: str = "key", *, payer: str = "", runs_on: str = "", **what: Any
) -> Submission:
    """A row in the queue for ten minutes."""
    waiting = replace(new(key, **what), payer=payer, runs_on=runs_on, queued_until=NOON + 600)
    return await journal.insert(waiting, may_start=lambda _: (), most_queued=100)


def anybody(traffic: Traffic) -> list[str]:
    """A rule by which all may be sent now."""
    return [each.id for each in traffic.waiting]


Step = Callable[[Journal, Submission], Awaitable[Any]]

REPEATABLE: dict[str, Step] = {
    "accept": lambda journal, row: journal.accept(row.id, "job-1", job()),
    "record": lambda journal, row: journal.record(row.id, job("completed")),
    "evidence": lambda journal, row: journal.add_evidence(row.id, named="job-2"),
    "unconfirmed": lambda journal, row: journal.mark_unconfirmed(row.id, "looked"),
    "close": lambda journal, row: journal.close_row(row, "failed", "refused"),
    "saved": lambda journal, row: journal.add_saved_file(row.id, 0, "/a.mp4", {}),
    "quote": lambda journal, row: journal.end_quote("key", 30),
    "asked": lambda journal, row: journal.add_asked("alice", row.id),
    "left": lambda journal, row: journal.remove_asked("alice", [row]),
}
"""The steps of a row that was sent which come to the same when they are taken twice."""
