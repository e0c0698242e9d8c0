"""Submits paid requests: written down before they leave, and never sent twice.

A submission has a key: what would be made, of what. One key is worked on by one task of one
process at a time; whoever asks for the same joins. What became of a request whose answer was lost
is found out by reading (reconciliation.py). Only where the vendor itself refuses or caches a
repeat, and only after looks that proved nothing was there, is it sent once more.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mcp_server.clock import Clock, iso
from mcp_server.errors import (
    BudgetError,
    ConsentError,
    DownloadError,
    ExpiredError,
    JournalBusyError,
    JournalError,
    LostError,
    NotFoundError,
    RefusedError,
    UnansweredError,
    UnexpectedAnswerError,
    UnreachableError,
    UseapiError,
)
from mcp_server.jobs.hooks import ASKED, Hooks
from mcp_server.jobs.reconciliation import (
    LOOKS_AFTER_SILENCE_S,
    Found,
    Reconciler,
    looks_after,
)
from mcp_server.jobs.repository import (
    JobRepository,
    key_of,
    order_of,
    order_to_send,
    submission_of,
)
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import Submission
from mcp_server.media.names import MadeName
from mcp_server.models import Job, Status
from mcp_server.services.base import Order
from mcp_server.services.registry import service_named
from mcp_server.settings import Settings
from mcp_server.upstream.client import Upstream

if TYPE_CHECKING:
    from mcp_server.jobs.queue import Queue  # at run time only where USEAPI_QUEUE_SECONDS is set

log = logging.getLogger(__name__)

PATIENCE_S = 40.0  # clients give up after 60 s or less: then they hold an id of ours
EARLY_ANSWER_S = 2.0  # for an answer that is the result: long enough for a refusal
LAST_ANSWER_S = 4.0  # for what is not sent yet when answers are wanted at once
LOCK_POLL_S = 0.25
LONGEST_LOCK_WAIT_S = 900.0  # for another process: longer than any submission works on a key
REUSE_S = 86_400  # a job younger than this and not known to have ended is not given up for a 404
MOST_POSTS = 2
_REFRESH_S = 10.0  # how long reading whether a job still stands may hold up a call
_NOTE_S = 10.0  # how long reading what exists already may hold up a request


@dataclass
class _Work:
    """A submission under way, shared by all who ask for the same.

    `payer` agreed to the price of a new one, the user or "" for the operator; None: nobody did, and
    it may only reuse what there is. `row_id` is its row, once that is known, and `asked` are the
    users of whom it is written down that they asked for it.
    """

    task: "asyncio.Task[Job]"
    payer: str | None
    row_id: str | None = None
    asked: set[str] = field(default_factory=set)


class Submitter:
    """Sends orders, at most once each, and finds what became of those that were sent."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        upstream: Upstream,
        journal: Journal,
        repository: JobRepository,
        hooks: Hooks | None = None,
        queue: "Queue | None" = None,
    ) -> None:
        self._hooks = hooks
        self._queue = queue
        self._budget = settings.max_credits_per_day
        self._user_budget = settings.max_credits_per_user_per_day
        self._clock = clock
        self._upstream = upstream
        self._journal = journal
        self._repository = repository
        self._reconciler = Reconciler(clock, upstream, journal)
        self._works: dict[str, _Work] = {}
        self._answers_wanted = asyncio.get_running_loop().create_future()
        self._is_closed = False
        self._posts_under_way = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def is_live(self, order: Order, *, read: bool = False, user: str = "") -> bool:
        """Whether this very order was submitted before and stands, so that it costs nothing.

        Args:
            read: ask the vendor whether the job that was made before still stands.
            user: who would pay for it; "" is the operator.

        Raises:
            JournalError, BudgetError: it would be refused.
        """
        if self._journal.fault is not None:
            await self._journal.check()  # it may have healed
        key = key_of(order, self._upstream.origin, self._upstream.account)
        row = await self._journal.find_live(key)
        if self._journal.fault is not None:
            raise self._journal.fault
        if row is not None and read:
            row = await self._refreshed(row)
        if row is None:
            await self._journal.check_budget(
                self._upstream.origin,
                order.service,
                order.price,
                self._budget,
                account=self._upstream.account,
                payer=user,
                user_budget=self._user_budget,
            )
        return row is not None

    async def submit(self, order: Order, *, may_charge: bool = True, user: str = "") -> Job:
        """Submit an order, join the same one in flight, or return the job it made before.

        A cancelled caller stops waiting; the submission goes on. After 40 s without an answer the
        job is returned as `submitting`, under an id of ours.

        Args:
            may_charge: whether the caller agreed to the price of a new job. Else the job there is
                can be returned, but nothing new is sent.
            user: who asks; "" is the operator, of whom nothing is written down.

        Raises:
            UseapiError: nothing was made of it, and the error says why.
        """
        self._upstream.require_ready()
        key = key_of(order, self._upstream.origin, self._upstream.account)
        while True:
            work = self._joined(order, key, user if may_charge else None)
            try:
                job = await self._answer(order, key, work)
            except BudgetError:
                if work.payer == user:
                    raise
                continue  # somebody else's credits are spent
            except UseapiError:
                with contextlib.suppress(JournalError):
                    await self._note_asked(user, work)
                raise
            await self._note_asked(user, work)
            return job

    def _joined(self, order: Order, key: str, payer: str | None) -> _Work:
        """The work on an order: what is under way, or else begun now."""
        work = self._works.get(key)
        if work is None:
            work = _Work(asyncio.create_task(self._work(order, key)), payer)
            self._works[key] = work
            work.task.add_done_callback(lambda done: self._done(key, done))
        if work.payer is None:
            work.payer = payer
        return work

    async def _note_asked(self, user: str, work: _Work) -> None:
        """Have it written down that a user asked for a row, before he is told of it."""
        if user and work.row_id is not None and user not in work.asked:
            await self._journal.add_asked(user, work.row_id)

    async def _answer(self, order: Order, key: str, work: _Work) -> Job:
        """What comes of the work, or how far it is when nobody can wait any longer."""
        task = work.task
        patience_s = EARLY_ANSWER_S if order.endpoint.answers_when_done else PATIENCE_S
        awaited: set[asyncio.Future[Any]] = {task, self._answers_wanted}
        await asyncio.wait(awaited, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        if self._answers_wanted.done():
            await self._until_sent(task, key)
        if not task.done():
            row = await self._journal.find_live(key)
            if row is None:  # between two states, or taken over by another process
                await asyncio.wait({task}, timeout=4 * LOCK_POLL_S)
                row = await self._journal.find_live(key)
            if row is not None and not task.done():  # one with an answer is being read again
                work.row_id = row.id
                return self.to_job(row).evolve(reused=row.state == "accepted" or None)
        if not task.done():
            raise JournalBusyError(
                message="Another process is at work on the same request and has not said how far.",
                hint="Call again with the same arguments in a minute; it joins, and pays nothing.",
                service=order.service,
            )
        return task.result()

    async def _until_sent(self, task: "asyncio.Task[Job]", key: str) -> None:
        """Wait, for a moment, until it was sent or is over: what never left ends with us."""
        deadline = self._clock.elapsed() + LAST_ANSWER_S
        while not task.done() and self._clock.elapsed() < deadline:
            row = await self._journal.find_live(key)
            if row is not None and row.posts > 0:
                return
            await asyncio.wait({task}, timeout=LOCK_POLL_S)

    def answer_now(self) -> None:
        """Let calls wait for the vendor no longer; what they submitted goes on."""
        if not self._answers_wanted.done():
            self._answers_wanted.set_result(None)

    async def look(self, row: Submission) -> Submission:
        """Look once, without sending anything, what became of a row that has no answer.

        A row that somebody alive is working on is left to them. One whose owner is gone is either
        found or unconfirmed afterwards.
        """
        if row.state == "queued" and not row.has_waited_enough(self._clock.now()):
            return row  # there is nothing to find
        if row.key in self._works or not await self._try_claim(row.key):
            return row
        try:
            row = await self._journal.latest(row)
            if row.waits:
                return await self._repository.back_in_queue(row, self._clock.now())
            if row.state not in ("submitting", "unconfirmed"):
                return row
            closed = await self._repository.close_abandoned(row)
            if closed is not None:
                return closed
            note = await self._look(row)
            if note is not None and row.state == "submitting":
                return await self._repository.mark_unconfirmed(row, note)
        finally:
            await self._journal.release(row.key)
        return await self._journal.latest(row)

    async def give_up(self, row: Submission) -> None:
        """Give up a row without an answer: its key is free, the same order may be sent again."""
        await self._journal.close_row(row, "cancelled", "Given up unconfirmed, at the user's wish.")

    async def take_out(self, row: Submission) -> bool:
        """Take a row out of the queue, at the user's wish; False: it is not there any more."""
        row = await self.look(row)  # whoever meant to send it may be gone
        if row.state != "queued":
            return False
        note = "Taken out of the queue at the user's wish; it was never sent."
        return (await self._journal.close_row(row, "cancelled", note)).state == "cancelled"

    def send_queued(self, row: Submission) -> None:
        """Begin to send a row of the queue, if it is its turn and nobody else is at it."""
        order = order_to_send(row)
        if order is None or row.key in self._works:
            return
        task = asyncio.create_task(self._work_queued(order, row))
        work = _Work(task, row.payer, row.id, {row.payer})
        self._works[row.key] = work
        work.task.add_done_callback(lambda done: self._done(row.key, done))

    def to_job(self, row: Submission) -> Job:
        """A row as a job: what is known without asking the vendor."""
        return self._repository.to_job(row)

    async def idle(self) -> None:
        """Return when no paid request is on its way or waits to be written down."""
        await self._quiet.wait()

    async def close(self) -> None:
        """Stop all work. No outcome is judged: a row that has no answer is looked for later."""
        self._is_closed = True
        tasks = [work.task for work in self._works.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, key: str, task: "asyncio.Task[Job]") -> None:
        del self._works[key]
        fault = None if task.cancelled() else task.exception()
        if fault is not None and not isinstance(fault, UseapiError):  # its callers may have left
            log.error("a submission ended by a bug", exc_info=fault)

    async def _try_claim(self, key: str) -> bool:
        """Like the journal's, where one that can't be written only means: not now."""
        try:
            return await self._journal.claim(key)
        except JournalError:
            return False

    async def _refreshed(self, row: Submission) -> Submission | None:
        """A live row that still stands after a read; None if its key is free by now."""
        if row.key in self._works or not await self._try_claim(row.key):
            return row  # somebody is at work on it
        try:
            if row.waits:
                return None if row.has_waited_enough(self._clock.now()) else row
            if row.posts == 0:
                return None  # nothing of it was sent, and whoever meant to is gone
            if row.state == "accepted":
                async with asyncio.timeout(_REFRESH_S):
                    return None if await self._reuse(row) is None else row
            return row
        except TimeoutError:  # as last known, and nothing new is sent without consent
            return row
        finally:
            await self._journal.release(row.key)

    async def _work(self, order: Order, key: str) -> Job:
        deadline = self._clock.elapsed() + LONGEST_LOCK_WAIT_S
        while not await self._journal.claim(key):  # another process, alive, is at it
            if self._clock.elapsed() > deadline:
                raise JournalBusyError(
                    message="Another process keeps this request to itself and does not end.",
                    hint="Stop other useapi-mcp servers of this user, then call again.",
                    service=order.service,
                )
            await self._clock.sleep(LOCK_POLL_S)
        try:
            return await self._decide(order, key)
        finally:
            await self._journal.release(key)

    async def _work_queued(self, order: Order, row: Submission) -> Job:
        """Send a row of the queue, if it is its turn: what comes of that, or how it stands."""
        if not await self._try_claim(row.key):
            return self.to_job(row)
        try:
            return await self._in_turn(order, await self._journal.latest(row))
        finally:
            await self._journal.release(row.key)

    async def _in_turn(self, order: Order, row: Submission) -> Job:
        """With the key claimed: send a row that waits if it is its turn; else how it stands."""
        if self._queue is None:  # it is sent by a server that has one
            return self.to_job(row)
        begun = await self._queue.begin(row)
        if begun is None:
            return self.to_job(await self._journal.latest(row))
        seen = await self._reconciler.look_for_refused(order, begun)
        if seen is not None:
            # Whoever refused it did so in its vendor's place: that POST was one after all.
            begun = await self._journal.count_post(begun, expected=0, was_refused=True)
            if seen.found is not None:
                return await self._take_found(order, begun, seen.found)
            return await self._unconfirmed(
                begun, f"it was refused and done all the same{seen.hint}"
            )
        job = await self._send(order, begun, was_in_queue=True)
        if job.status != "queued":
            self._queue.note_sent(begun)
        return job

    async def _decide(self, order: Order, key: str) -> Job:
        """With the key claimed: what there is to do for this order."""
        await self._repository.flush()
        work, row = self._works[key], await self._journal.find_live(key)
        work.row_id = row.id if row is not None else None
        if row is not None and row.state == "accepted":
            job = await self._reuse(row)
            if job is not None and job.status != "unconfirmed":
                return job
            if job is not None:  # what was taken for its job failed: ours may be another one
                return await self._recover(order, await self._journal.latest(row))
        elif row is not None and row.waits:
            row = await self._repository.back_in_queue(row, self._clock.now())
            if row.waits:
                return await self._in_turn(order_to_send(row) or order, row)
        elif row is not None and await self._repository.close_abandoned(row) is None:
            return await self._recover(order, row)
        work.row_id = None  # what there was is over
        payer = self._require_payer(order, work)
        upstream = self._upstream
        new = submission_of(order, key, upstream.origin, payer, upstream.account)
        if self._hooks is not None and self._hooks.are_for(order):
            new = replace(new, evidence={**new.evidence, ASKED: True})
        budget, of_user = self._budget, self._user_budget
        if self._queue is None:
            row = await self._journal.insert(new, budget=budget, user_budget=of_user)
        else:
            row = await self._queue.insert(new, order, budget=budget, user_budget=of_user)
        work.row_id, work.asked = row.id, {payer}
        return self.to_job(row) if row.state == "queued" else await self._send(order, row)

    def _require_payer(self, order: Order, work: _Work) -> str:
        """Who agreed to the price of a new job."""
        if order.missing:  # it was live when it was planned, so nothing was uploaded for it
            raise ConsentError(
                message="The job that the same call made before is over, and the file for a new one"
                " is not uploaded; nothing was sent.",
                hint="Make the same call again: it uploads the file first.",
                service=order.service,
            )
        if work.payer is None:
            price = f" for about {order.price:g} credits" if order.price else ""
            raise ConsentError(
                message="The job that the same call made before is over, so this would be a new"
                f" one{price}; nothing was sent.",
                hint="Make the same call again: the user is asked about the price.",
                service=order.service,
            )
        return work.payer

    async def _reuse(self, row: Submission) -> Job | None:
        """The job an earlier call made; None if it is free to be made again."""
        known = self.to_job(row)
        age_s = self._clock.now() - row.began_at
        service = service_named(row.service)
        if row.job_id is None and not service.has_parts(known):  # its result is all there is of it
            if self._repository.has_a_file(known) or (_has_a_link(known) and age_s < REUSE_S):
                return known.evolve(reused=True)
            await self._journal.close_row(row, "freed", "Its file is gone.")
            return None
        try:
            if row.job_id is None:
                job = await service.read_parts(self._upstream, known, age_s=age_s)
            else:
                job = await service.read(self._upstream, row.job_id, age_s=age_s)
        except UseapiError as error:
            row = await self._journal.latest(row)  # another reader may have had more luck
            job = self.to_job(row)
            log.info("%s could not be read (%s): returned as last known", row.id, error.code)
            is_old = job.ended or age_s >= REUSE_S
            if isinstance(error, NotFoundError | ExpiredError) and is_old:
                await self._journal.close_row(row, "freed", "The vendor keeps it no longer.")
                return None
        else:
            job = await self._repository.record_update(row, job)
        return None if job.status in ("failed", "cancelled") else job.evolve(reused=True)

    async def _recover(self, order: Order, row: Submission) -> Job:
        """A row without an answer whose owner is gone, or who looked for it in vain."""
        if named := row.evidence.get("named"):
            return await self._take_named(order, row, str(named))
        if row.state == "unconfirmed":
            return await self._reconcile(order, row, (0.0,), may_send=False)
        # How long ago its bytes left is known only from a clock that may have jumped since:
        # one more POST must not come too early, so the time starts anew.
        return await self._reconcile(order, row, (0.0, *LOOKS_AFTER_SILENCE_S))

    async def _look(self, row: Submission) -> str | None:
        """Look once for a row; why it was not found, or None where there is nothing to add."""
        order = order_of(row)
        if order is None:
            return "this version of useapi-mcp does not know what was submitted"
        if not self._repository.is_of(row, self._upstream.origin):
            return "it was submitted at another address of the vendor, so it is not looked for"
        if named := row.evidence.get("named"):  # it is unconfirmed, and says so
            with contextlib.suppress(UseapiError):
                await self._take_named(order, row, str(named))
            return None
        search = await self._reconciler.search(order, row, (0.0,))
        if search.found is None:
            return search.note
        await self._take_found(order, row, search.found)
        return None

    async def _reconcile(
        self, order: Order, row: Submission, looks_s: tuple[float, ...], *, may_send: bool = True
    ) -> Job:
        """Find what became of a request; send it once more where that is known to be safe."""
        search = await self._reconciler.search(order, row, looks_s)
        if search.found is not None:
            return await self._take_found(order, row, search.found)
        row = await self._journal.latest(row)
        may_send = may_send and search.proves_absence and order.refuses_repeats
        if may_send and row.posts < MOST_POSTS:
            return await self._send(order, row)
        return await self._unconfirmed(row, search.note)

    async def _unconfirmed(self, row: Submission, note: str, **evidence: Any) -> Job:
        return self.to_job(await self._repository.mark_unconfirmed(row, note, **evidence))

    async def _take_found(self, order: Order, row: Submission, found: Found) -> Job:
        return await self._accept(order, row, found.job, ours=found.ours, is_proven=found.is_proven)

    async def _accept(
        self, order: Order, row: Submission, job: Job, *, ours: bool, is_proven: bool = False
    ) -> Job:
        """Take a job that was found as the row's.

        Where the vendor makes a job of each request, and nothing proves it to be ours, it may be
        somebody else's, made at the same time: if it fails, ours may still be another one.
        """
        job = await self._repository.record_accepted(
            row, job, charged=ours, is_proven=is_proven or order.refuses_repeats
        )
        return job if ours else job.evolve(reused=True)

    async def _send(self, order: Order, row: Submission, *, was_in_queue: bool = False) -> Job:
        """Send it, the first time or once more, and settle what comes of it."""
        try:
            return await self._post(order, row)
        except JournalError as error:  # it did not leave
            if row.posts == 0:
                raise
            return await self._unconfirmed(row, f"it could not be sent once more ({error.code})")
        except (UnansweredError, UnexpectedAnswerError, DownloadError) as error:
            if order.endpoint.answers_when_done:
                await self._repository.record_failure(row, "lost", error.message)
                raise LostError(
                    message=error.message,
                    hint="Make the same call again: it is sent anew; no cost of it is documented.",
                    service=row.service,
                    job_id=row.id,
                ) from None
            return await self._reconcile(order, row, looks_after(error))
        except UseapiError as error:
            named = _named(order, error)
            if named is not None:  # then that is the answer
                return await self._take_named(order, await self._journal.latest(row), named)
            if row.posts > 0:  # this one was refused; the first may have been done all the same
                return await self._unconfirmed(
                    row, f"sending it once more failed too ({error.code})"
                )
            back = await self._put_back(row, error, was_in_queue=was_in_queue)
            if back is not None:
                return self.to_job(back)
            await self._repository.record_failure(row, error.code, error.message)
            raise
        finally:
            self._reconciler.forget_sent(row)

    async def _put_back(
        self, row: Submission, error: UseapiError, *, was_in_queue: bool
    ) -> Submission | None:
        """A row that was not taken: waiting again, or another server's by now; None: it failed."""
        if self._queue is None:
            return None
        try:
            return await self._queue.put_back(row, error, was_in_it=was_in_queue)
        except JournalError as fault:
            log.warning("%s was not put back: %s", row.id, fault.code)
            return None

    async def _post(self, order: Order, row: Submission) -> Job:
        """Send it and write down the answer: what `idle` waits for."""
        service = service_named(order.service)
        # What is sent once and then looked for; what answers when it is done is not.
        if order.endpoint.repeats == "taken" and not order.endpoint.answers_when_done:
            row = await self._with_existing(order, row)
        is_counted = False

        async def count() -> None:
            """Count the POST before its first byte leaves; a 429 was none, and counts once."""
            nonlocal is_counted
            self._require_open()
            status: Status = "running" if order.endpoint.answers_when_done else "submitting"
            await self._journal.count_post(
                row,
                expected=row.posts,
                is_counted=is_counted,
                status=status,
                budget=self._budget,
                user_budget=self._user_budget,
            )
            self._reconciler.note_sent(row)
            is_counted = True
            self._require_open()

        self._posts_under_way += 1
        self._quiet.clear()
        try:
            answer = await self._upstream.post_paid(
                service.vendor,
                order.endpoint.path,
                self._body(order, row),
                on_send=count,
                read_timeout_s=order.endpoint.read_timeout_s,
                name=MadeName(order.service, row.id, order.operation, iso(row.created_at)),
            )
            job = service.accepted(order, answer, row.id)
            return await self._repository.record_accepted(row, job)
        finally:
            self._posts_under_way -= 1
            if self._posts_under_way == 0:
                self._quiet.set()

    def _body(self, order: Order, row: Submission) -> Mapping[str, Any]:
        """What is sent: the order, with our reference and address where no others were given."""
        body = _with_reference(order, row)
        if self._hooks is None or ASKED not in row.evidence:
            return body
        return {**body, order.endpoint.options["reply_url"].field: self._hooks.address_of(row.id)}

    async def _with_existing(self, order: Order, row: Submission) -> Submission:
        """Note the jobs there are, where the vendor would make another; no reason to fail."""
        try:
            async with asyncio.timeout(_NOTE_S):
                return await self._reconciler.note_existing(order, row)
        except TimeoutError:
            return row

    def _require_open(self) -> None:
        """Stop a request that connects while this server closes: its key is no longer held."""
        if self._is_closed:
            raise UnreachableError(
                message="This server is stopping, so nothing was sent.",
                hint="Call again when it runs.",
            )

    async def _take_named(self, order: Order, row: Submission, named: str) -> Job:
        """The job of which the vendor says that it did what was ordered."""
        try:
            job = await service_named(order.service).named(self._upstream, order, named)
        except RefusedError as other:  # it did something else, so this was not made
            await self._repository.record_failure(row, other.code, other.message)
            raise
        except UseapiError as error:
            if isinstance(error, NotFoundError) and row.posts == 1:  # it was there before ours
                raise await self._in_the_way(order, row, named, failed=False) from None
            note = f"the vendor says that {named} did it, which can't be read now ({error.code})"
            return await self._unconfirmed(row, note, named=named)
        ours = row.posts > 1 and self._reconciler.is_ours(job, row)
        if job.status in ("failed", "cancelled") and not ours:
            raise await self._in_the_way(order, row, named, failed=True)
        return await self._accept(order, row, job, ours=ours)

    async def _in_the_way(
        self, order: Order, row: Submission, named: str, *, failed: bool
    ) -> RefusedError:
        """Close the row of what can't be done because of an earlier job without a result."""
        refusal = service_named(order.service).in_the_way(named, failed=failed)
        await self._repository.record_failure(row, refusal.code, refusal.message)
        return refusal


def _with_reference(order: Order, row: Submission) -> Mapping[str, Any]:
    """What is sent: the order, with our id as its reference where no other was given."""
    if not order.takes_our_reference:
        return order.body
    return {**order.body, order.endpoint.options["reply_ref"].field: row.id}


def _named(order: Order, error: UseapiError) -> str | None:
    """The job that did this before, where a refusal names it."""
    if not isinstance(error, RefusedError):
        return None
    return service_named(order.service).names(order, error)


def _has_a_link(job: Job) -> bool:
    return any(item.url for item in job.media or ())
