"""The one waiting loop: reads a job on a schedule until it ends or the time is up.

All who wait for a job share its schedule and its reads. A read that fails says nothing about the
job: only what the vendor says ends it.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mcp_server.clock import Clock, epoch
from mcp_server.errors import (
    NotFoundError,
    RateLimitError,
    ServerError,
    UnexpectedAnswerError,
    UnreachableError,
    UseapiError,
)
from mcp_server.jobs import OUR_ID_PREFIX, Job, Kind
from mcp_server.journal import Journal, Row
from mcp_server.services import service_of
from mcp_server.upstream import Upstream

log = logging.getLogger(__name__)

FRESH_S = 2.0  # a running job is not read again within this
MOST_BAD_READS = 5
PROGRESS_S = 5.0
LONGEST_READ_S = 45.0  # retries included: clients give up after 60 s
LAST_READ_S = 5.0  # for a read that begins when the time is up
_MOST_WATCHES = 1000
_PASSING = (RateLimitError, ServerError, UnreachableError, UnexpectedAnswerError)

Report = Callable[[float, float, str], Awaitable[None]]


def first_look_s(kind: Kind) -> float:
    """Age before which no job of this kind has ended, so that a look is a waste."""
    return 8.0 if kind == "image" else 15.0


def interval_s(kind: Kind, age_s: float) -> float:
    """Time between two looks at a job of this age."""
    if age_s >= 600:
        return 20.0
    if age_s >= 180:
        return 10.0
    return 2.0 if kind == "image" else 5.0


@dataclass
class _Watch:
    """What all who wait for one job share. Times are on the clock's `elapsed`."""

    job: Job | None = None
    read_at: float = -1e9
    next_look: float | None = None
    waiters: int = 0
    bad_reads: int = 0
    error: UseapiError | None = None
    look: "asyncio.Task[None] | None" = None


class Waiting:
    """Reads jobs, by the vendor's ids and by ours."""

    def __init__(
        self,
        clock: Clock,
        upstream: Upstream,
        journal: Journal,
        look: Callable[[Row], Awaitable[Row]],
        told: Callable[[Row], Job],
        longest_hold_s: float = 15.0,
    ) -> None:
        """Take the parts.

        Args:
            look: finds out what became of a row without an answer.
            told: tells a row as a job.
            longest_hold_s: the age by which any job is worth a look; less in the sandbox, whose
                jobs take as long as they are told to.
        """
        self._clock = clock
        self._upstream = upstream
        self._journal = journal
        self._look_for = look
        self._told = told
        self._longest_hold_s = longest_hold_s
        self._watches: dict[str, _Watch] = {}

    async def read(self, job_id: str, *, afresh: bool = False) -> Job:
        """The job as it is now.

        Args:
            afresh: read it even if it was read a moment ago.

        Raises:
            UseapiError: it can't be read; that says nothing about the job.
        """
        watch = self._watch(job_id)
        known = watch.job
        fresh = known and not known.ended and self._clock.elapsed() - watch.read_at <= FRESH_S
        if afresh or not fresh:
            await self._look(job_id, watch, LONGEST_READ_S)
        if watch.error is not None:
            raise watch.error
        return self._timed(watch.job)

    async def wait(self, job_id: str, seconds: float, report: Report) -> Job:
        """The job when it ends, or as it is when the time is up.

        Args:
            report: told seconds waited, seconds at most, and how it stands, every 5 s.

        Raises:
            UseapiError: it can't be read at all. Reads that fail now and then are tried again;
                after five in a row the last known state is the answer.
        """
        watch = self._watch(job_id)
        if watch.waiters == 0:
            watch.bad_reads = 0
        watch.waiters += 1
        try:
            return await self._wait(job_id, watch, seconds, report)
        finally:
            watch.waiters -= 1

    async def _wait(self, job_id: str, watch: _Watch, seconds: float, report: Report) -> Job:
        began, last_known, looked = self._clock.elapsed(), self._known(job_id), False
        deadline, next_report = began + seconds, began + PROGRESS_S
        if watch.next_look is None or (watch.job is not None and watch.job.ended):
            watch.next_look = began + self._hold_s(last_known)
        while True:
            now = self._clock.elapsed()
            if now >= watch.next_look or (now >= deadline and not looked):
                await self._look(job_id, watch, max(deadline - now, 0 if looked else LAST_READ_S))
                looked = True
                now = self._clock.elapsed()
                if watch.error is not None and not isinstance(watch.error, _PASSING):
                    raise watch.error
            best = watch.job or last_known
            if looked and best is not None and (best.ended or best.status == "unconfirmed"):
                return best
            if now >= deadline or watch.bad_reads >= MOST_BAD_READS:
                if best is None and watch.error is not None:
                    raise watch.error
                return self._timed(best)
            if now >= next_report:
                status = best.status if best else "not read yet"
                await report(now - began, seconds, f"{status}, waited {now - began:.0f} s")
                next_report = now + PROGRESS_S
            await self._clock.sleep(max(0.0, min(watch.next_look, deadline, next_report) - now))

    async def close(self) -> None:
        """Stop reading."""
        looks = [watch.look for watch in self._watches.values() if watch.look is not None]
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    def poll_after_s(self, job: Job) -> int:
        """When a look at a running job is next worth while, in whole seconds."""
        age_s = self._age_s(job)
        return max(1, round(max(interval_s(job.kind, age_s), self._hold_s(job))))

    def _watch(self, job_id: str) -> _Watch:
        if job_id not in self._watches and len(self._watches) >= _MOST_WATCHES:
            self._watches = {i: w for i, w in self._watches.items() if w.look is not None}
        return self._watches.setdefault(job_id, _Watch())

    async def _look(self, job_id: str, watch: _Watch, most_s: float) -> None:
        """Read the job once for everybody. A caller that leaves does not cut it."""
        if watch.look is None:
            watch.look = asyncio.create_task(self._read_for(job_id, watch))
        _, late = await asyncio.wait({watch.look}, timeout=most_s)
        if late:
            watch.error = UnreachableError(
                "The vendor has not answered yet.", "Call get_job again in a minute."
            )

    async def _read_for(self, job_id: str, watch: _Watch) -> None:
        try:
            watch.job = await self._read(job_id)
            watch.error, watch.bad_reads, wait_s = None, 0, 0.0
            watch.read_at = self._clock.elapsed()
        except UseapiError as error:
            log.info("a read failed: %s", error.code)
            watch.error = error
            watch.bad_reads += 1
            wait_s = float(error.retry_after_seconds or 0)
        finally:
            watch.look = None
        job = watch.job
        pause_s = interval_s(job.kind, self._age_s(job)) if job else interval_s("video", 0)
        jittered_s = pause_s * random.uniform(0.9, 1.1)
        watch.next_look = self._clock.elapsed() + max(jittered_s, wait_s)

    async def _read(self, job_id: str) -> Job:
        row = self._journal.get(job_id)
        if row is None and job_id.startswith(OUR_ID_PREFIX):
            raise NotFoundError(
                "No submission of this server has this id.",
                "Call list_jobs for the ids there are.",
            )
        if row is not None and row.state in ("submitting", "unconfirmed"):
            row = await self._look_for(row)
        if row is not None and row.job_id is None:
            return self._told(row)
        vendor_id = row.job_id if row is not None and row.job_id is not None else job_id
        service = service_of(vendor_id, "job_id")
        age_s = None if row is None else self._clock.now() - (row.first_sent_at or row.created_at)
        job = await service.read(self._upstream, vendor_id, age_s=age_s)
        return self._noted(vendor_id, row, job)

    def _noted(self, vendor_id: str, row: Row | None, job: Job) -> Job:
        """Complete a job from the journal and let the journal follow. Once ended, it stays ended."""
        if row is None:
            return job
        known = self._told(row)
        if known.ended and known.status != job.status:
            return known
        job = job.but(
            operation=row.operation,
            source_id=job.source_id or row.source_id,
            forecast_credits=job.forecast_credits
            if job.forecast_credits is not None
            else known.forecast_credits,
            created_at=job.created_at or known.created_at,
        )
        self._journal.record(vendor_id, job.model_dump(mode="json", exclude_none=True))
        return job

    def _known(self, job_id: str) -> Job | None:
        row = self._journal.get(job_id)
        return self._told(row) if row is not None else None

    def _hold_s(self, job: Job | None) -> float:
        """How long the first look can wait; 0 for a job of unknown age."""
        if job is None or job.created_at is None:
            return 0.0
        hold_s = min(first_look_s(job.kind), self._longest_hold_s)
        return max(0.0, hold_s - self._age_s(job))

    def _age_s(self, job: Job) -> float:
        made = epoch(job.created_at) if job.created_at else None
        return max(0.0, self._clock.now() - made) if made is not None else 0.0

    def _timed(self, job: Job | None) -> Job:
        if job is None:
            raise AssertionError("a read that did not fail brought a job")
        return job if job.ended else job.but(poll_after_seconds=self.poll_after_s(job))
