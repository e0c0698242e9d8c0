"""Waits for jobs: reads each on a schedule until it ends or the time is up.

All who wait for a job share its schedule and its reads. A read that fails says nothing about the
job: only what the vendor says ends it.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mcp_server.clock import Clock, epoch
from mcp_server.errors import (
    ExpiredError,
    NotFoundError,
    RateLimitError,
    ServerError,
    UnexpectedAnswerError,
    UnknownIdError,
    UnreachableError,
    UseapiError,
)
from mcp_server.jobs.hooks import ASKED, HEARD, Hooks
from mcp_server.jobs.repository import JobRepository
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import Submission
from mcp_server.models import OUR_ID_PREFIX, Job, Kind
from mcp_server.services.registry import is_id, known_service, service_of, unknown_id
from mcp_server.upstream.client import Upstream

log = logging.getLogger(__name__)

FRESH_S = 2.0  # a running job is not read again within this
MOST_BAD_READS = 5
YOUNG_S = 60.0  # a job younger than this may not be known everywhere at the vendor
PROGRESS_S = 5.0
LONGEST_READ_S = 45.0  # retries included: clients give up after 60 s
LONGEST_HOLD_S = 4.0  # for who asks for a running job again too early
BACKSTOP_S = 60.0  # between two reads of a job of which its vendor tells when it changes
GLANCE_S = 1.0  # between two looks at the journal, where another server may learn of the end
QUEUED_S = 5.0  # between two looks at what waits in the queue
APART = 0.8  # of its interval: a job that another server read within it is not read
LAST_READ_S = 1.0  # before the time is up: one that begins then is answered in time
_MOST_WATCHES = 1000
_PASSING = (RateLimitError, ServerError, UnreachableError, UnexpectedAnswerError)

Report = Callable[[float, float | None, str], Awaitable[None]]


def first_look_s(kind: Kind) -> float:
    """Age before which no job of this kind has ended, so that a read is a waste."""
    return 8.0 if kind == "image" else 15.0


def interval_s(kind: Kind, age_s: float) -> float:
    """Time between two reads of a job of this age."""
    if age_s >= 600:
        return 20.0
    if age_s >= 180:
        return 10.0
    return 2.0 if kind == "image" else 5.0


@dataclass
class _Watch:
    """What all who wait for one job share. Times are on the clock's `elapsed`."""

    job: Job | None = None
    error: UseapiError | None = None
    read_at: float | None = None
    next_read: float = 0.0
    too_early_until: float = 0.0
    backstop_s: float = 0.0
    reads: int = 0
    bad_reads: int = 0
    waiters: int = 0
    task: "asyncio.Task[None] | None" = None

    def failure(self) -> UseapiError:
        """The error to raise; a copy, for one that is raised again and again keeps all frames."""
        return self.error.copy() if self.error is not None else _slow()

    @property
    def is_idle(self) -> bool:
        return self.task is None and self.waiters == 0


class Poller:
    """Reads jobs, by the vendor's ids and by ours."""

    def __init__(
        self,
        clock: Clock,
        upstream: Upstream,
        journal: Journal,
        repository: JobRepository,
        look: Callable[[Submission], Awaitable[Submission]],
        longest_hold_s: float = 15.0,
        hooks: Hooks | None = None,
    ) -> None:
        """Take the parts.

        Args:
            look: finds out what became of a row without an answer.
            longest_hold_s: the age by which any job is worth a read; less in the sandbox, whose
                jobs take as long as they are told to.
            hooks: at which vendors tell that a job has changed; None: they do not.
        """
        self._clock = clock
        self._hooks = hooks
        self._is_told_elsewhere = hooks is not None or journal.is_shared
        self._glance_s = GLANCE_S if self._is_told_elsewhere else float("inf")
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._upstream = upstream
        self._journal = journal
        self._repository = repository
        self._look_for = look
        self._longest_hold_s = longest_hold_s
        self._watches: dict[str, _Watch] = {}
        self._answers_wanted = asyncio.get_running_loop().create_future()

    async def read(self, job_id: str, *, afresh: bool = False, held: bool = False) -> Job:
        """The job as it is now.

        Args:
            afresh: read it from now on, even if it was or is being read.
            held: a running job that was read within its `poll_after_seconds` is left alone until
                then, but for 4 s at most. Agents read in a tight loop, whatever they are told.

        Raises:
            UseapiError: it can't be read; that says nothing about the job.
        """
        watch = await self._watch(job_id)
        if held and (early_s := self._too_early_s(watch)) > 0:
            await self._pause(min(early_s, LONGEST_HOLD_S))
        if afresh and watch.task is not None:
            await asyncio.wait({watch.task}, timeout=LONGEST_READ_S)
        known = watch.job
        if known is not None and not afresh and await self._is_fresh(job_id, watch):
            return self._timed(known)
        apart_s = 0.0 if afresh else FRESH_S
        seen = await _ended(self._begin_read(job_id, watch, apart_s), LONGEST_READ_S)
        if watch.error is not None or watch.job is None or not seen:
            raise watch.failure()
        return self._timed(watch.job)

    async def wait(self, job_id: str, seconds: float, report: Report) -> Job:
        """The job when it ends, or as it is when the time is up.

        Args:
            report: told the job's age in seconds, no total, and how it stands, every 5 s.

        Raises:
            UseapiError: it can't be read at all. Reads that fail now and then are tried again;
                after five in a row the last known state is the answer.
        """
        watch = await self._watch(job_id)
        if watch.waiters == 0:
            watch.bad_reads = 0
        watch.waiters += 1
        try:
            return await self._wait(job_id, watch, seconds, report)
        finally:
            watch.waiters -= 1

    async def read_if_due(self, job_id: str) -> bool:
        """Read a job if its schedule wants it read by now; whether it was, and runs no more.

        One that its vendor does not know any more does not run either.

        Raises:
            UseapiError: nobody knows such a job.
        """
        watch, now = await self._watch(job_id), self._clock.elapsed()
        if watch.reads == 0:
            await self._hold_first_read(job_id, watch, now)
        if now < watch.next_read:
            return False
        await _ended(self._begin_read(job_id, watch, self._apart_s(watch)), LONGEST_READ_S)
        self._watches.setdefault(job_id, watch)  # one that can't be read has a schedule, too
        if isinstance(watch.error, NotFoundError | ExpiredError):
            return True
        return watch.job is not None and watch.job.ended

    async def _wait(self, job_id: str, watch: _Watch, seconds: float, report: Report) -> Job:
        began, reads_before = self._clock.elapsed(), watch.reads
        deadline, next_report = began + seconds, began + PROGRESS_S
        last_read = deadline - min(LAST_READ_S, seconds / 2)
        await self._hold_first_read(job_id, watch, began)
        was_open = False  # and its end may be learned by another server
        while True:
            now, was_read = self._clock.elapsed(), watch.reads > reads_before
            if was_read and watch.error is not None and not isinstance(watch.error, _PASSING):
                raise watch.failure()
            best = await self._best_known(job_id, watch)
            is_over = best is not None and (best.ended or best.status == "unconfirmed")
            if best is not None and is_over and (was_read or was_open):
                return best
            was_open = self._is_told_elsewhere and best is not None and not is_over
            is_up = now >= deadline or watch.bad_reads >= MOST_BAD_READS
            if is_up or (self._answers_wanted.done() and (was_read or best is not None)):
                if best is None:
                    raise watch.failure()
                return self._timed(best)
            if now >= next_report:
                status = best.status if best else "not read yet"
                # The job's age and no total: a bar would fill with each wait, and begin anew.
                took_s = max(now - began, self._age_s(best) if best else 0.0)
                await report(took_s, None, f"{status} for {took_s:.0f} s")
                next_report = now + PROGRESS_S
            next_read = watch.next_read
            if not was_read and not watch.backstop_s:
                next_read = min(next_read, last_read)
            if now >= next_read or self._answers_wanted.done():
                is_last = next_read < watch.next_read or self._answers_wanted.done()
                self._begin_read(job_id, watch, FRESH_S if is_last else self._apart_s(watch))
            if watch.task is not None:
                await self._pause(min(deadline, next_report) - now, watch.task)
            else:
                await self._pause(min(next_read, deadline, next_report, now + self._glance_s) - now)

    async def _pause(self, seconds: float, read: "asyncio.Task[None] | None" = None) -> None:
        """Wait for a read or for the time to pass; less where answers are wanted meanwhile."""
        if self._answers_wanted.done():
            if read is not None:
                await _ended(read, seconds)
            return
        awaited: set[asyncio.Future[None]] = {self._answers_wanted}
        if read is not None:
            awaited.add(read)
        await asyncio.wait(awaited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if read is not None:
            await _ended(read, 0)

    async def _hold_first_read(self, job_id: str, watch: _Watch, now: float) -> None:
        """Leave a young job alone for the time in which none has ended yet."""
        if watch.reads == 0 or (watch.job is not None and watch.job.ended):
            job = await self._journaled(job_id)
            hold_s = self._hold_s(job) if job else 0.0
            if job is not None and not job.ended:
                watch.backstop_s = await self._backstop_s(job_id, job)
                hold_s = max(hold_s, watch.backstop_s - self._age_s(job))
            watch.next_read = now + hold_s

    async def _backstop_s(self, job_id: str, job: Job) -> float:
        """How long a job need not be read, for its vendor tells when it changes; 0: it does not."""
        row = None if self._hooks is None else await self._journal.get(job_id)
        if self._hooks is None or row is None or ASKED not in row.evidence:
            return 0.0
        if HEARD in row.evidence:  # by this server or by another one
            self._hooks.heard(row.service)
        elif job.ended:
            self._hooks.missed(row.service)
        return BACKSTOP_S if self._hooks.come_from(row.service) and not job.ended else 0.0

    async def _best_known(self, job_id: str, watch: _Watch) -> Job | None:
        """What was read, unless the journal knows the end: another process may have read it."""
        job = await self._journaled(job_id)
        return job if job is not None and job.ended else watch.job or job

    def answer_now(self) -> None:
        """Answer all who wait, and from now on all who would: with the job as it stands."""
        if not self._answers_wanted.done():
            self._answers_wanted.set_result(None)

    def look_soon(self, job_id: str) -> None:
        """Read a job as soon as it may be read again: its vendor says that it has changed."""
        if job_id not in self._looks:
            look = asyncio.create_task(self._look_soon(job_id))
            self._looks[job_id] = look
            look.add_done_callback(lambda _: self._looks.pop(job_id))

    async def _look_soon(self, job_id: str) -> None:
        with contextlib.suppress(UseapiError):  # who asks for the job is told
            watch = await self._watch(job_id)
            if watch.task is not None:  # it may have been answered before the change
                await asyncio.wait({watch.task}, timeout=LONGEST_READ_S)
            if watch.read_at is not None:
                await self._clock.sleep(max(0.0, watch.read_at + FRESH_S - self._clock.elapsed()))
            if watch.job is None or not watch.job.ended:
                await _ended(self._begin_read(job_id, watch, 0.0), LONGEST_READ_S)

    async def close(self) -> None:
        """Stop reading."""
        tasks = [watch.task for watch in self._watches.values() if watch.task is not None]
        tasks += self._looks.values()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def poll_after_s(self, job: Job) -> int:
        """When a read of a running job is next worth while, in whole seconds."""
        return max(1, round(self._pause_s(job)))

    def _too_early_s(self, watch: _Watch) -> float:
        """How long until a read of a job that was running is worth while."""
        if watch.job is None or watch.job.ended:
            return 0.0
        return watch.too_early_until - self._clock.elapsed()

    async def _watch(self, job_id: str) -> _Watch:
        """The watch of a job; none is made for what can't be the id of one.

        Raises:
            UnknownIdError: no service has ids of this form, and the journal does not know it.
        """
        if not is_id(job_id) and await self._journal.get(job_id) is None:
            raise self._journal.fault or unknown_id(job_id, "job_id")
        if job_id not in self._watches and len(self._watches) >= _MOST_WATCHES:
            self._watches = {i: watch for i, watch in self._watches.items() if not watch.is_idle}
        return self._watches.setdefault(job_id, _Watch())

    async def _is_fresh(self, job_id: str, watch: _Watch) -> bool:
        """Whether a running job was read a moment ago, and nobody has read its end since."""
        if watch.job is None or watch.job.ended or watch.read_at is None:
            return False
        if self._clock.elapsed() - watch.read_at > FRESH_S:
            return False
        known = await self._journaled(job_id)
        return known is None or not known.ended

    def _apart_s(self, watch: _Watch) -> float:
        """How long after another server's read the next one on schedule is of use."""
        pause_s = interval_s("image", 0.0) if watch.job is None else self._pause_s(watch.job)
        return APART * max(pause_s, watch.backstop_s)

    def _begin_read(self, job_id: str, watch: _Watch, apart_s: float) -> "asyncio.Task[None]":
        """The read under way for everybody, or a new one. A caller that leaves does not cut it.

        Args:
            apart_s: the journal is the answer if another server read a running job within this.
        """
        if watch.task is None:
            watch.task = asyncio.create_task(self._read_once(job_id, watch, apart_s))
        return watch.task

    async def _read_once(self, job_id: str, watch: _Watch, apart_s: float) -> None:
        asked_s = 0.0
        try:
            job = await self._read(job_id, apart_s)
            was = watch.job
            watch.job = was if was is not None and was.ended and was.status != job.status else job
            watch.error, watch.bad_reads, watch.read_at = None, 0, self._clock.elapsed()
            watch.too_early_until = watch.read_at + self.poll_after_s(watch.job)
            watch.backstop_s = await self._backstop_s(job_id, watch.job)
        except UseapiError as error:
            log.info("a read failed: %s", error.code)
            watch.error, watch.backstop_s = error.copy(), 0.0
            watch.bad_reads += 1
            if watch.job is None and not isinstance(error, _PASSING):
                self._watches.pop(job_id, None)  # nobody will ask again; callers keep theirs
            asked_s = float(error.retry_after_seconds or 0)
        finally:
            watch.task = None
        watch.reads += 1
        pause_s = self._pause_s(watch.job) if watch.job else interval_s("video", 0)
        jittered_s = pause_s * random.uniform(0.9, 1.1)  # noqa: S311 - no secret
        watch.next_read = self._clock.elapsed() + max(jittered_s, asked_s, watch.backstop_s)

    async def _read(self, job_id: str, apart_s: float) -> Job:
        await self._repository.flush()
        row = await self._journal.get(job_id)
        if row is None and job_id.startswith(OUR_ID_PREFIX):
            raise self._journal.fault or no_submission()
        if row is not None and _is_open(row):
            row = await self._look_for(row)
        if row is not None and not await self._is_to_be_read(row, apart_s):
            return self._repository.to_job(row)
        if row is not None and row.job_id is None:
            return await self._read_parts(row)
        vendor_id = row.job_id if row is not None and row.job_id is not None else job_id
        try:
            service = service_of(vendor_id, "job_id")
        except UnknownIdError:
            if row is None:
                raise
            return self._repository.to_job(row)  # a newer version's, told by its columns
        age_s = None if row is None else self._row_age_s(row)
        try:
            job = await service.read(self._upstream, vendor_id, age_s=age_s)
        except NotFoundError:
            if row is None or age_s is None or age_s > YOUNG_S:
                raise
            return self._repository.to_job(row)  # the vendor may not list it yet
        return job if row is None else await self._repository.record_update(row, job)

    async def _is_to_be_read(self, row: Submission, apart_s: float) -> bool:
        """Whether its vendor is to be asked: this address is, and no other server did just now."""
        if not self._repository.is_of(row, self._upstream.origin):
            return False
        if row.state != "accepted" or apart_s == 0 or self._repository.to_job(row).ended:
            return True
        return await self._journal.take_read(row, apart_s)

    async def _read_parts(self, row: Submission) -> Job:
        """A job without an id of the vendor's: as known, or each of its parts read."""
        known = self._repository.to_job(row)
        service = known_service(row.service)
        if service is None or row.state != "accepted" or not service.has_parts(known):
            return known
        age_s = self._row_age_s(row)
        job = await service.read_parts(self._upstream, known, age_s=age_s)
        return await self._repository.record_update(row, job)

    def _row_age_s(self, row: Submission) -> float:
        return self._clock.now() - row.began_at

    async def _journaled(self, job_id: str) -> Job | None:
        row = await self._journal.get(job_id)
        return self._repository.to_job(row) if row is not None else None

    def _pause_s(self, job: Job) -> float:
        if job.status == "queued":  # its vendor is not asked
            return QUEUED_S
        return max(interval_s(job.kind, self._age_s(job)), self._hold_s(job))

    def _hold_s(self, job: Job) -> float:
        """How long the first read can wait; 0 for a job of unknown age, or one in the queue."""
        if job.created_at is None or job.status == "queued":
            return 0.0
        hold_s = min(first_look_s(job.kind), self._longest_hold_s)
        return max(0.0, hold_s - self._age_s(job))

    def _age_s(self, job: Job) -> float:
        made = epoch(job.created_at) if job.created_at else None
        return max(0.0, self._clock.now() - made) if made is not None else 0.0

    def _timed(self, job: Job) -> Job:
        return job if job.ended else job.evolve(poll_after_seconds=self.poll_after_s(job))


def no_submission() -> NotFoundError:
    """What is said of an id of our form that the journal does not have."""
    return NotFoundError(
        message="No submission of this server has this id.",
        hint="Call list_jobs for the ids there are.",
    )


def _is_open(row: Submission) -> bool:
    """Whether what became of a row is for us to find out, and not for its vendor to say."""
    if row.operation == "upload":
        return row.state in ("submitting", "accepted")
    return row.state in ("queued", "submitting", "unconfirmed")


async def _ended(read: "asyncio.Task[None]", most_s: float) -> bool:
    """Wait for a read, but not too long; whether it is over. A bug in it is raised."""
    await asyncio.wait({read}, timeout=most_s)
    if read.cancelled():  # the server stops
        raise _slow()
    if read.done():
        read.result()
    return read.done()


def _slow() -> UnreachableError:
    return UnreachableError(
        message="The vendor has not answered yet.", hint="Call get_job again in a minute."
    )
