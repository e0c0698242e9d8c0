"""Submitter paid requests: written down before they leave, and never sent twice.

A submission has a key: what would be made, of what. One key is worked on by one task of one
process at a time; whoever asks for the same joins. What became of a request whose answer was lost
is found out by reading (reconciling). Only where the vendor itself refuses or caches a repeat, and
only after a look that proved nothing was there, is it sent once more.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from mcp_server.clock import Clock
from mcp_server.errors import (
    DownloadError,
    ExpiredError,
    JournalError,
    LostError,
    NotFoundError,
    RefusedError,
    UnansweredError,
    UnexpectedAnswerError,
    UseapiError,
)
from mcp_server.jobs.repository import JobRepository, has_a_file, key_of, order_of
from mcp_server.journal.records import NewSubmission, Submission
from mcp_server.journal.sqlite import Journal
from mcp_server.media.files import file_stem
from mcp_server.models import Job, Status
from mcp_server.services.base import Found, Order
from mcp_server.services.registry import service_named
from mcp_server.settings import Settings
from mcp_server.upstream.client import Upstream

log = logging.getLogger(__name__)

# Ages at which a look is worth while. The vendor's own answer ends its work on the request; after
# a cut it may still be solving a captcha for a minute, and a probe inside that time pays twice.
LOOKS_AFTER_ANSWER_S = (2.0, 5.0, 10.0)
LOOKS_AFTER_SILENCE_S = (2.0, 5.0, 10.0, 20.0, 40.0, 60.0)


@dataclass(frozen=True)
class Search:
    """What a series of looks brought.

    `proves_absence`: the last look, old enough to count, was answered and did not list it. A look
    that failed proves nothing.
    """

    found: Found | None
    proves_absence: bool
    told: str


class Reconciler:
    """Looks for the job of an order; it never sends anything that costs."""

    def __init__(self, clock: Clock, upstream: Upstream, journal: Journal) -> None:
        self._clock = clock
        self._upstream = upstream
        self._journal = journal

    async def search(self, order: Order, row: Submission, ages_s: Iterable[float]) -> Search:
        """Look at these ages, counted from now, until it is found."""
        title = service_named(order.service).vendor.title
        began, answered, seen = self._clock.elapsed(), 0, False
        for age_s in ages_s:
            await self._clock.sleep(max(0.0, began + age_s - self._clock.elapsed()))
            try:
                found = await self.look(order, row)
            except UseapiError as error:
                log.info("a look for %s failed: %s", row.id, error.code)
                seen = False
                continue
            if found is not None:
                return Search(found, proves_absence=False, told="found")
            seen, answered = True, answered + 1
        told = f"{title} was asked {answered} times and did not list it"
        return Search(None, seen, told if answered else f"{title} can't be read")

    async def look(self, order: Order, row: Submission) -> Found | None:
        """Look once.

        Raises:
            UseapiError: the look failed, which proves nothing.
        """
        row = self._journal.get(row.id) or row  # it may have been sent since it was read
        service = service_named(order.service)
        found = await service.find(self._upstream, order, row.first_sent_at or 0)
        if found is None:
            return None
        # The vendor's clock can't tell a job of this submission from one made a moment before it
        # by another: the journal can. An earlier job that failed is no answer to this one.
        other = self._journal.get(found.job.job_id)
        ours = found.ours and (other is None or other.id == row.id)
        if not ours and {found.job.status, other and other.state} & {"failed", "cancelled"}:
            return None
        return Found(found.job, ours)


def looks_after(error: UseapiError) -> tuple[float, ...]:
    """When to look after a paid request ended this way."""
    answered = (
        error.vendor_answered
        if isinstance(error, UnansweredError)
        else (isinstance(error, UnexpectedAnswerError))
    )
    return LOOKS_AFTER_ANSWER_S if answered else LOOKS_AFTER_SILENCE_S


PATIENCE_S = 40.0  # clients give up after 60 s or less: then they hold an id of ours
EARLY_ANSWER_S = 2.0  # for an answer that is the result: long enough for a refusal
LOCK_POLL_S = 0.25
REUSE_S = 86_400  # a job younger than this and not known to have ended is not given up for a 404
MOST_POSTS = 2


class Submitter:
    """Sends orders, at most once each, and finds what became of those that were sent."""

    def __init__(
        self, settings: Settings, clock: Clock, upstream: Upstream, journal: Journal
    ) -> None:
        self._budget = settings.max_credits_per_day
        self._clock = clock
        self._upstream = upstream
        self._journal = journal
        self._repository = JobRepository(journal)
        self._reconciling = Reconciler(clock, upstream, journal)
        self._tasks: dict[str, asyncio.Task[Job]] = {}
        self._posts_under_way = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    def is_live(self, order: Order) -> bool:
        """Whether this very order was submitted before and stands, so that it costs nothing.

        Raises:
            JournalError, BudgetError: it would be refused.
        """
        if self._journal.fault is not None:
            self._journal.check()  # it may have healed
        live = self._journal.live(key_of(order, self._upstream.origin)) is not None
        if self._journal.fault is not None:
            raise self._journal.fault
        if not live and self._budget is not None:
            self._journal.check_budget(order.service, order.price or 0, self._budget)
        return live

    async def submit(self, order: Order) -> Job:
        """Submit an order, join the same one in flight, or return the job it made before.

        A cancelled caller stops waiting; the submission goes on. After 40 s without an answer the
        job is returned as `submitting`, under an id of ours.

        Raises:
            UseapiError: nothing was made of it, and the error says why.
        """
        self._upstream.require_token()
        key = key_of(order, self._upstream.origin)
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.create_task(self._work(order, key))
            self._tasks[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        patience_s = EARLY_ANSWER_S if order.endpoint.answers_when_done else PATIENCE_S
        await asyncio.wait({task}, timeout=patience_s)
        while not task.done():
            row = self._journal.live(key)
            if row is not None:  # one with an answer is being read, to be used again
                return self.told(row).evolve(reused=row.state == "accepted" or None)
            await asyncio.wait({task}, timeout=LOCK_POLL_S)  # between two states
        return task.result()

    async def look(self, row: Submission) -> Submission:
        """Look once, without sending anything, what became of a row that has no answer.

        A row that somebody alive is working on is left to them.
        """
        if row.key in self._tasks or not self._try_lock(row.key):
            return row
        try:
            row = self._journal.get(row.id) or row
            if row.state in ("submitting", "unconfirmed") and not self._repository.close_abandoned(
                row
            ):
                found = await self._reconciling.look(order_of(row), row)
                if found is not None:
                    self._repository.record_accepted(row, found.job)
        except UseapiError as error:
            log.info("a look for %s failed: %s", row.id, error.code)
        finally:
            self._journal.unlock(row.key)
        return self._journal.get(row.id) or row

    def told(self, row: Submission) -> Job:
        """A row as a job: what is known without asking the vendor."""
        return self._repository.to_job(row)

    def forget(self, row: Submission) -> None:
        """Give up an unconfirmed row: its key is free, and the same order may be sent again."""
        self._journal.end(row.id, "cancelled", "Given up unconfirmed, at the user's wish.")

    async def idle(self) -> None:
        """Return when no paid request is on its way or waits to be written down."""
        await self._quiet.wait()

    async def close(self) -> None:
        """Stop all work. No outcome is judged: a row that has no answer is looked for later."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, key: str, task: asyncio.Task[Job]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        fault = None if task.cancelled() else task.exception()
        if fault is not None and not isinstance(fault, UseapiError):  # its callers may have left
            log.error("a submission ended by a bug", exc_info=fault)

    def _try_lock(self, key: str) -> bool:
        """Like the journal's, where one that can't be written only means: not now."""
        try:
            return self._journal.try_lock(key)
        except JournalError:
            return False

    async def _work(self, order: Order, key: str) -> Job:
        while not self._journal.try_lock(key):  # another process, alive, is at it
            await self._clock.sleep(LOCK_POLL_S)
        try:
            return await self._decide(order, key)
        finally:
            self._journal.unlock(key)

    async def _decide(self, order: Order, key: str) -> Job:
        """Under the key's lock: what there is to do for this order."""
        row = self._journal.live(key)
        if row is not None and row.state == "accepted":
            job = await self._reuse(row)
            if job is not None:
                return job
            row = None
        if row is not None and row.posts > 0 and not self._repository.close_abandoned(row):
            return await self._recover(order, row)
        if row is None or row.posts > 0:
            row = self._intend(order, key)
        return await self._send(order, row)

    def _intend(self, order: Order, key: str) -> Submission:
        intent = NewSubmission(
            key=key,
            service=order.service,
            operation=order.operation,
            source_id=order.source,
            arguments=dict(order.result_arguments),
            price=order.price or 0,
        )
        return self._journal.intend(intent, budget=self._budget)

    async def _reuse(self, row: Submission) -> Job | None:
        """The job an earlier call made; None if it is free to be made again."""
        known = self.told(row)
        if row.job_id is None:  # the vendor has no job for it: the files are all there is
            if has_a_file(known):
                return known.evolve(reused=True)
            self._journal.end(row.id, "freed", "Its file is gone.")
            return None
        age_s = self._clock.now() - (row.first_sent_at or row.created_at)
        try:
            job = await service_named(row.service).read(self._upstream, row.job_id, age_s=age_s)
        except UseapiError as error:
            row = self._journal.get(row.id) or row  # another reader may have had more luck
            job = self.told(row)
            log.info("%s could not be read (%s): told as last known", row.id, error.code)
            is_old = job.ended or self._clock.now() - row.created_at >= REUSE_S
            if isinstance(error, (NotFoundError, ExpiredError)) and is_old:
                self._journal.end(row.id, "freed", "The vendor keeps it no longer.")
                return None
        else:
            job = self._repository.record_update(row, job)
        return None if job.status in ("failed", "cancelled") else job.evolve(reused=True)

    async def _recover(self, order: Order, row: Submission) -> Job:
        """A row without an answer whose owner is gone, or who looked for it in vain."""
        if row.state == "unconfirmed":
            return await self._reconcile(order, row, (0.0,), may_send=False)
        # How long ago its bytes left is known only from a clock that may have jumped since:
        # a probe must not come too early, so the time starts anew.
        return await self._reconcile(order, row, (0.0, *LOOKS_AFTER_SILENCE_S))

    async def _reconcile(
        self, order: Order, row: Submission, looks_s: tuple[float, ...], *, may_send: bool = True
    ) -> Job:
        """Find what became of a request; send it once more where that is known to be safe."""
        search = await self._reconciling.search(order, row, looks_s)
        if search.found is not None:
            job = self._repository.record_accepted(row, search.found.job)
            return job if search.found.ours else job.evolve(reused=True)
        row = self._journal.get(row.id) or row
        safe = search.proves_absence and order.endpoint.refuses_repeats
        if may_send and safe and row.posts < MOST_POSTS:
            return await self._send(order, row)
        return self._repository.mark_unconfirmed(row, search.told)

    async def _send(self, order: Order, row: Submission) -> Job:
        """Send it, the first time or once more, and settle what comes of it."""
        try:
            return await self._post(order, row)
        except JournalError:  # it did not leave
            raise
        except (UnansweredError, UnexpectedAnswerError, DownloadError) as error:
            if order.endpoint.answers_when_done:
                self._repository.record_failure(row, "lost", error.message)
                again = "Make the same call again: it is sent anew; no cost of it is documented."
                raise LostError(error.message, again, service=row.service, job_id=row.id) from None
            return await self._reconcile(order, row, looks_after(error))
        except (RefusedError, NotFoundError) as refusal:
            return await self._resolve(order, row, refusal)
        except UseapiError as error:
            if row.posts > 0:  # this one was refused; the first may have been done all the same
                return self._repository.mark_unconfirmed(
                    row, f"sending it once more failed too ({error.code})"
                )
            self._repository.record_failure(row, error.code, error.message)
            raise

    async def _post(self, order: Order, row: Submission) -> Job:
        """Send it and write down the answer: what `idle` waits for."""
        service, ended = service_named(order.service), False

        def count() -> None:
            if ended:  # cut by `close` while it connected: its key's lock is gone
                raise asyncio.CancelledError
            told_as: Status = "running" if order.endpoint.answers_when_done else "submitting"
            self._journal.count_post(row.id, told_as=told_as)

        self._posts_under_way += 1
        self._quiet.clear()
        try:
            answer = await self._upstream.post_paid(
                service.vendor,
                order.endpoint.path,
                order.body,
                on_send=count,
                read_timeout_s=order.endpoint.read_timeout_s,
                stem=file_stem(order.service, row.id),
            )
            return self._repository.record_accepted(row, service.accepted(order, answer, row.id))
        finally:
            ended = True
            self._posts_under_way -= 1
            if self._posts_under_way == 0:
                self._quiet.set()

    async def _resolve(
        self, order: Order, row: Submission, refusal: RefusedError | NotFoundError
    ) -> Job:
        """A refusal may name the job that did this before: then that is the answer.

        If it is one more POST that was refused, the first may have been done all the same.
        """
        job: Job | None = None
        error: UseapiError = refusal
        if isinstance(refusal, RefusedError):
            try:
                job = await service_named(order.service).existing(self._upstream, order, refusal)
            except RefusedError as in_the_way:  # another job did something else: this was not made
                self._repository.record_failure(row, in_the_way.code, in_the_way.message)
                raise
            except UseapiError as unreadable:
                error = unreadable
        if job is not None:
            return self._repository.record_accepted(row, job).evolve(reused=True)
        if row.posts > 0:
            return self._repository.mark_unconfirmed(
                row, f"sending it once more failed too ({error.code})"
            )
        self._repository.record_failure(row, error.code, error.message)
        raise error from None
