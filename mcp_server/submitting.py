"""The money rules: what costs credits is written down before it leaves, and never sent twice.

A submission has a key: what would be made, of what. One key is worked on by one task of one
process at a time; whoever asks for the same joins. What became of a request whose answer was lost
is found out by reading. Only where the vendor itself refuses or caches a repeat, and only after a
look that proved nothing was there, is it sent once more.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Iterable
from typing import Any

from mcp_server.clock import Clock, iso
from mcp_server.errors import (
    ExpiredError,
    JournalError,
    NotFoundError,
    RefusedError,
    UnansweredError,
    UnexpectedAnswerError,
    UseapiError,
)
from mcp_server.jobs import Failure, Job
from mcp_server.journal import Intent, Journal, Row
from mcp_server.output_folder import file_stem
from mcp_server.services import service_named
from mcp_server.services.service import Found, Order, Service
from mcp_server.settings import Settings
from mcp_server.upstream import Upstream

log = logging.getLogger(__name__)

PATIENCE_S = 40.0  # clients give up after 60 s or less: then they hold an id of ours
EARLY_ANSWER_S = 2.0  # for an answer that is the result: long enough for a refusal
LOCK_POLL_S = 0.25
REUSE_S = 86_400  # a job younger than this and not known to have ended is not given up for a 404

# Ages at which a look is worth while. The vendor's own answer ends its work on the request; after
# a cut it may still be solving a captcha for a minute, and a probe inside that time pays twice.
LOOKS_AFTER_ANSWER_S = (2.0, 5.0, 10.0)
LOOKS_AFTER_SILENCE_S = (2.0, 5.0, 10.0, 20.0, 40.0, 60.0)


class Submitting:
    """Sends orders, at most once each, and finds what became of those that were sent."""

    def __init__(
        self, settings: Settings, clock: Clock, upstream: Upstream, journal: Journal
    ) -> None:
        self._budget = settings.max_credits_per_day
        self._clock = clock
        self._upstream = upstream
        self._journal = journal
        self._tasks: dict[str, asyncio.Task[Job]] = {}
        self._posts_under_way = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    def key(self, order: Order) -> str:
        """What makes two orders the same; hashed, for ids hold the account's e-mail."""
        wish = [
            self._upstream.origin,
            order.service,
            order.operation,
            order.source_id,
            dict(sorted(order.shaping.items())),
        ]
        return hashlib.sha256(json.dumps(wish).encode()).hexdigest()

    def is_live(self, order: Order) -> bool:
        """Whether this very order was submitted before and stands, so that it costs nothing."""
        return self._journal.live(self.key(order)) is not None

    async def submit(self, order: Order) -> Job:
        """Submit an order, join the same one in flight, or return the job it made before.

        A cancelled caller stops waiting; the submission goes on. After 40 s without an answer the
        job is returned as `submitting`, under an id of ours.

        Raises:
            UseapiError: nothing was made of it, and the error says why.
        """
        self._upstream.require_token()
        key = self.key(order)
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.create_task(self._work(order, key))
            self._tasks[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        patience_s = EARLY_ANSWER_S if order.endpoint.answers_when_done else PATIENCE_S
        await asyncio.wait({task}, timeout=patience_s)
        if task.done():
            return task.result()
        row = self._journal.live(key)
        if row is None:  # between two states: it answers any moment
            return await asyncio.shield(task)
        return self.told(row)

    async def look(self, row: Row) -> Row:
        """Look once, without sending anything, what became of a row that has no answer.

        A row that somebody alive is working on is left to them.
        """
        if row.key in self._tasks or not self._journal.try_lock(row.key):
            return row
        try:
            row = self._journal.get(row.id) or row
            if row.state not in ("submitting", "unconfirmed"):
                return row
            service, order = self._reordered(row)
            if self._ended_with_its_process(order, row):
                return self._journal.get(row.id) or row
            try:
                found = await service.find(self._upstream, order, row.first_sent_at or 0)
            except UseapiError as error:
                log.info("a look for %s failed: %s", row.id, error.code)
                return row
            if found is not None:
                self._accept(row, found.job)
            return self._journal.get(row.id) or row
        finally:
            self._journal.unlock(row.key)

    def told(self, row: Row) -> Job:
        """A row as a job: what is known without asking the vendor."""
        if row.job is not None:
            return Job.model_validate(row.job)
        service, order = self._reordered(row)
        working = row.state == "submitting"
        background = working and order.endpoint.answers_when_done and row.key in self._tasks
        return Job.model_validate(
            {
                "job_id": row.id,
                "service": row.service,
                "operation": row.operation,
                "status": "running"
                if background
                else row.state
                if row.state in ("submitting", "unconfirmed", "failed", "cancelled")
                else "cancelled",
                "source_id": row.source_id,
                "failure": None
                if row.state in ("submitting", "unconfirmed", "accepted")
                else {"code": row.state, "message": row.note or "No reason is known."},
                "created_at": iso(row.created_at),
                "updated_at": iso(row.updated_at),
            }
        )

    def forget(self, row: Row) -> None:
        """Give up an unconfirmed row: its key is free, and the same order may be sent again."""
        self._journal.end(row.id, "freed", "forgotten at the user's wish")

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

    async def _work(self, order: Order, key: str) -> Job:
        while not self._journal.try_lock(key):  # another process, alive, is at it
            await self._clock.sleep(LOCK_POLL_S)
        try:
            return await self._decide(order, key)
        finally:
            self._journal.unlock(key)

    async def _decide(self, order: Order, key: str) -> Job:
        """Under the key's lock: what there is to do for this order."""
        service = service_named(order.service)
        row = self._journal.live(key)
        if row is not None and row.state == "accepted":
            job = await self._reuse(service, row)
            if job is not None:
                return job
            row = None
        if row is not None and row.posts > 0:
            if not self._ended_with_its_process(order, row):
                return await self._recover(service, order, row)
            row = None
        if row is None:
            intent = Intent(
                key=key,
                service=order.service,
                operation=order.operation,
                source_id=order.source_id,
                arguments=dict(order.shaping),
                price=order.price or 0,
            )
            row = self._journal.intend(intent, budget=self._budget)
        return await self._send(service, order, row)

    async def _reuse(self, service: Service, row: Row) -> Job | None:
        """The job an earlier call made; None if it is free to be made again."""
        known = self.told(row)
        if row.job_id is None:  # the vendor has no job for it: what was written down is all
            return known.but(reused=True)
        try:
            age_s = self._clock.now() - (row.first_sent_at or row.created_at)
            job = await service.read(self._upstream, row.job_id, age_s=age_s)
        except (NotFoundError, ExpiredError):
            if not known.ended and self._clock.now() - row.created_at < REUSE_S:
                return known.but(reused=True)
            self._journal.end(row.id, "freed", "the vendor keeps it no longer")
            return None
        except UseapiError as error:
            log.info("%s could not be read (%s): told as last known", row.id, error.code)
            return known.but(reused=True)
        self._journal.record(row.job_id, job.model_dump(mode="json", exclude_none=True))
        if job.status in ("failed", "cancelled"):
            return None
        return job.but(reused=True, source_id=job.source_id or row.source_id)

    async def _send(self, service: Service, order: Order, row: Row) -> Job:
        try:
            return await self._post(service, order, row)
        except JournalError:
            raise
        except (UnansweredError, UnexpectedAnswerError) as error:
            if order.endpoint.answers_when_done:
                raise self._fail(row, error, code="lost") from None
            answered = not isinstance(error, UnansweredError) or error.vendor_answered
            looks = LOOKS_AFTER_ANSWER_S if answered else LOOKS_AFTER_SILENCE_S
            return await self._reconcile(service, order, row, looks)
        except RefusedError as refusal:
            return await self._resolve(service, order, row, refusal)
        except UseapiError as error:
            raise self._fail(row, error) from None

    async def _post(self, service: Service, order: Order, row: Row) -> Job:
        """Send it and write down the answer: what `idle` waits for."""
        self._posts_under_way += 1
        self._quiet.clear()
        try:
            answer = await self._upstream.pay(
                service.vendor,
                order.endpoint.path,
                order.body,
                on_send=lambda: self._count(row),
                read_timeout_s=order.endpoint.read_timeout_s,
                stem=file_stem(order.service, row.id),
            )
            return self._accept(row, service.accepted(order, answer, row.id))
        finally:
            self._posts_under_way -= 1
            if self._posts_under_way == 0:
                self._quiet.set()

    def _count(self, row: Row) -> None:
        self._journal.about_to_send(row.id)

    async def _resolve(
        self, service: Service, order: Order, row: Row, refusal: RefusedError
    ) -> Job:
        """A refusal may name the job that did this before: then that is the answer."""
        try:
            job = await service.existing(self._upstream, order, refusal)
        except UseapiError as error:
            raise self._fail(row, error) from None
        if job is None:
            raise self._fail(row, refusal) from None
        return self._accept(row, job).but(reused=True)

    async def _recover(self, service: Service, order: Order, row: Row) -> Job:
        """A row without an answer whose owner is gone, or who looked for it in vain."""
        if row.state == "unconfirmed":
            return await self._reconcile(service, order, row, (0.0,), may_send=False)
        # How long ago its bytes left is known only from a clock that may have jumped since:
        # a probe must not come too early, so the time starts anew.
        return await self._reconcile(service, order, row, (0.0, *LOOKS_AFTER_SILENCE_S))

    async def _reconcile(
        self,
        service: Service,
        order: Order,
        row: Row,
        looks_s: Iterable[float],
        *,
        may_send: bool = True,
    ) -> Job:
        """Find by reading what became of a request whose answer was lost."""
        began, proven, looks = self._clock.elapsed(), False, 0
        for age_s in looks_s:
            await self._clock.sleep(max(0.0, began + age_s - self._clock.elapsed()))
            found, proven = await self._look_once(service, order, row)
            looks += proven
            if found is not None:
                job = self._accept(row, found.job)
                return job if found.ours else job.but(reused=True)
        row = self._journal.get(row.id) or row
        if may_send and proven and order.endpoint.refuses_repeats and row.posts < 2:
            return await self._probe(service, order, row)
        asked = f"{service.vendor.title} was asked {looks} times and did not list it"
        return self._unconfirmed(row, asked if looks else f"{service.vendor.title} can't be read")

    async def _look_once(
        self, service: Service, order: Order, row: Row
    ) -> tuple[Found | None, bool]:
        """What was found, and whether the look counts: one that failed proves nothing."""
        try:
            return await service.find(self._upstream, order, row.first_sent_at or 0), True
        except UseapiError as error:
            log.info("a look for %s failed: %s", row.id, error.code)
            return None, False

    async def _probe(self, service: Service, order: Order, row: Row) -> Job:
        """Send once more what the vendor itself refuses or caches if it was done."""
        try:
            return await self._post(service, order, row)
        except JournalError:
            raise
        except (UnansweredError, UnexpectedAnswerError) as error:
            answered = not isinstance(error, UnansweredError) or error.vendor_answered
            looks = LOOKS_AFTER_ANSWER_S if answered else LOOKS_AFTER_SILENCE_S
            return await self._reconcile(service, order, row, looks)  # posts is 2: no third
        except RefusedError as refusal:
            return await self._resolve(service, order, row, refusal)
        except NotFoundError as error:
            raise self._fail(row, error) from None
        except UseapiError as error:
            return self._unconfirmed(row, f"sending it once more failed too ({error.code})")

    def _accept(self, row: Row, job: Job) -> Job:
        job = job.but(source_id=job.source_id or row.source_id)
        vendor_id = job.job_id if job.job_id != row.id else None
        try:
            self._journal.accept(row.id, vendor_id, _plain(job))
        except JournalError as error:  # it was made: the caller must hear of it all the same
            log.error("%s was made but not written down: %s", row.id, error)
        return job

    def _fail(self, row: Row, error: UseapiError, code: str | None = None) -> UseapiError:
        failure = Failure(code=code or error.code, message=error.what)
        job = self.told(row).but(status="failed", failure=failure)
        self._journal.end(row.id, "failed", failure.message, _plain(job))
        return error

    def _unconfirmed(self, row: Row, note: str) -> Job:
        return self.told(self._journal.unconfirmed(row.id, note))

    def _ended_with_its_process(self, order: Order, row: Row) -> bool:
        """Close a row of a dead process that can't have left anything to find."""
        if row.posts == 0:
            self._fail_quietly(row, "never_sent", "The server stopped before it was sent.")
            return True
        if order.endpoint.answers_when_done:
            self._fail_quietly(row, "lost", "The server stopped before the result arrived.")
            return True
        return False

    def _fail_quietly(self, row: Row, code: str, message: str) -> None:
        job = self.told(row).but(status="failed", failure=Failure(code=code, message=message))
        self._journal.end(row.id, "failed", message, _plain(job))

    def _reordered(self, row: Row) -> tuple[Service, Order]:
        """The order a row was made of, as far as it shapes the result."""
        service = service_named(row.service)
        given = {name: value for name, value in row.arguments.items() if value is not None}
        return service, service.order(row.operation, row.source_id, given, {})  # type: ignore[arg-type]  # a row's operation was a paid one


def _plain(job: Job) -> dict[str, Any]:
    return job.model_dump(mode="json", exclude_none=True)
