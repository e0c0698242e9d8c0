"""The queue: what finds the slots of its account taken waits in the journal, and is sent later.

A vendor runs so many jobs of an account at a time, and refuses what comes beside them (429). Of
those that wait the one is next whose payer has the fewest running there, and of these the oldest:
who asks for one thing does not wait for another's forty. Any server that shares the journal sends
it, under the claim of its key, and one at a time decides for a service whether a slot is free.

How many slots an account has is what its vendor says (`Service.slots`) or the caller's own
`max_jobs`; and never more than ran there when it last refused one, one more with each minute since.
For others may use the account too, and some vendors do not tell. An order of which its vendor
chooses the account goes by all accounts of its service together.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from mcp_server.clock import Clock
from mcp_server.errors import JournalError, RateLimitError, UnreachableError, UseapiError
from mcp_server.jobs.polling import Poller
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import NewSubmission, Running, Submission, Traffic, Waiting
from mcp_server.metrics import Metrics
from mcp_server.services.accounts import account_hash
from mcp_server.services.base import Order
from mcp_server.services.registry import known_service, service_named
from mcp_server.settings import Settings

if TYPE_CHECKING:
    from mcp_server.jobs.accounts import AccountJobs

log = logging.getLogger(__name__)

GROWS_S = 60.0  # after which one more is tried than ran when an account refused one
_PASS_S, _IDLE_S = 2.0, 10.0  # between two looks at the queue, with and without something in it
_PAUSE_S = 10.0  # after a refusal that names no wait, and where the vendor can't be reached
_SLOTS_KEPT_S, _SLOTS_READ_S = 300.0, 5.0

AccountOf = Callable[[str], "AccountJobs"]


@dataclass
class _Slots:
    """What a vendor said of its accounts, by hash, and until when it need not be read again."""

    told: Mapping[str, int]
    until_s: float


class Queue:
    """Decides who is sent now, and sees to it that those who wait are sent."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        origin: str,
        journal: Journal,
        metrics: Metrics,
    ) -> None:
        self._lasts_s = settings.queue_seconds
        self._most = settings.max_queued
        self._clock = clock
        self._origin = origin
        self._journal = journal
        self._metrics = metrics
        self._account_of: AccountOf  # from `start` on
        self._has_own = False
        self._slots: dict[tuple[str, str], _Slots] = {}  # by account and service
        self._slots_reads: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._over: set[str] = set()  # rows of jobs that take no slot, whatever the journal says
        self._running: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._is_closed = False

    async def insert(
        self, new: NewSubmission, order: Order, *, budget: float | None, user_budget: float | None
    ) -> Submission:
        """Write down an order that is to be sent: at once, or in its turn if that is not now.

        Raises:
            QueueFullError, BudgetError, JournalError: it is refused, and nothing is written.
        """
        if not _can_wait(order):
            return await self._journal.insert(new, budget=budget, user_budget=user_budget)
        evidence = {**new.evidence, "body": dict(order.body)}
        limit = order.endpoint.options.get("max_jobs")
        if limit is not None and limit.field in order.body:
            evidence["most"] = order.body[limit.field]
        new = replace(new, evidence=evidence, queued_until=self._clock.now() + self._lasts_s)
        slots = await self._slots_of(new.account, new.service)
        row = await self._journal.insert(
            new,
            budget=budget,
            user_budget=user_budget,
            may_start=lambda traffic: self._may_start(traffic, slots),
            most_queued=self._most,
        )
        self._news.set()
        return row

    async def begin(self, row: Submission) -> Submission | None:
        """A row whose turn it is, now to be sent; None: it must wait, or does so no more."""
        slots = await self._slots_of(row.account, row.service)
        return await self._journal.begin(row, lambda traffic: self._may_start(traffic, slots))

    async def put_back(
        self, row: Submission, error: UseapiError, *, was_in_it: bool
    ) -> Submission | None:
        """A row that was not taken by its vendor, in the queue again; None: that helps nothing.

        One that another server has taken over meanwhile is as that server has it.

        Args:
            was_in_it: its caller was told that it waits, so that nobody calls again.
        """
        if row.queued_until is None:
            return None
        if isinstance(error, RateLimitError):
            if not service_named(row.service).frees_slots(error):
                return None
        elif not (was_in_it and isinstance(error, UnreachableError)):
            return None
        pause_s = float(error.retry_after_seconds or _PAUSE_S)
        if self._clock.now() + pause_s >= row.queued_until and not self._is_closed:
            return None
        row = await self._journal.put_back(
            row,
            was_refused=True,
            pause_s=None if self._is_closed else pause_s,
            is_full=isinstance(error, RateLimitError),
        )
        log.info("%s was not sent (%s) and is %s", row.id, error.code, row.state)
        self._news.set()
        return row

    def note_sent(self, row: Submission) -> None:
        """Count how long a row had to wait."""
        self._metrics.queue_waits[row.service].add(self._clock.now() - row.created_at)

    def start(self, account_of: AccountOf, *, has_own: bool) -> None:
        """Begin to see to the queue.

        Args:
            account_of: what works on the jobs of an account.
            has_own: whether this server uses users' own tokens; else it leaves theirs to others.
        """
        self._account_of, self._has_own = account_of, has_own
        self._running = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Begin nothing any more; what waits is left to other servers and to the next start."""
        self._is_closed = True
        tasks = [*self._reading.values(), *self._slots_reads.values()]
        if self._running is not None:
            tasks.append(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._news.clear()
            one = asyncio.create_task(self._pass())
            try:
                await asyncio.wait({one})
            finally:
                one.cancel()
            fault = None if one.cancelled() else one.exception()
            if fault is not None and not isinstance(fault, UseapiError):
                log.error("seeing to the queue ended by a bug", exc_info=fault)
            is_idle = fault is not None or not one.result()
            try:
                async with asyncio.timeout(_IDLE_S if is_idle else _PASS_S):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _pass(self) -> bool:
        """See to all that waits, once; whether there is anything."""
        rows = await self._journal.unsent(self._origin)
        rows = [row for row in rows if self._has_own or not row.account]
        places = list(dict.fromkeys((row.account, row.service) for row in rows))
        for row in rows:  # it may have waited too long, or been begun by a server that is gone
            await self._account_of(row.account).submitter.look(row)
        # Beside each other: the vendor of one that does not answer holds up no other.
        told = await asyncio.gather(*(self._slots_of(*place) for place in places))
        running: set[str] = set()
        for (account, service), slots in zip(places, told, strict=True):
            traffic = await self._journal.traffic(self._origin, service, account)
            running.update(job.id for job in traffic.running)
            starting = self._may_start(traffic, slots)
            for row in rows:
                if row.id in starting:
                    self._account_of(account).submitter.send_queued(row)
            waits_for = {each.runs_on for each in traffic.waiting}
            for job in traffic.running:
                if job.runs_on in waits_for or "" in waits_for:
                    self._begin_read(job, self._account_of(account).poller)
        self._over &= running
        return bool(rows)

    def _begin_read(self, job: Running, poller: Poller) -> None:
        """Learn whether a job has ended, which nobody else may ask for."""

        async def learn() -> None:
            if await poller.read_if_due(job.job_id or job.id):
                self._over.add(job.id)
                self._news.set()

        if job.id not in self._reading:
            task = asyncio.create_task(learn())
            self._reading[job.id] = task
            task.add_done_callback(lambda done: self._was_read(job.id, done))

    def _was_read(self, row_id: str, task: "asyncio.Task[None]") -> None:
        del self._reading[row_id]
        fault = None if task.cancelled() else task.exception()
        if fault is not None and not isinstance(fault, UseapiError):
            log.error("reading a job for the queue ended by a bug", exc_info=fault)

    def _may_start(self, traffic: Traffic, slots: Mapping[str, int]) -> list[str]:
        running = tuple(each for each in traffic.running if each.id not in self._over)
        traffic = replace(traffic, running=running)
        return [each.id for each in may_start(traffic, slots, self._clock.now())]

    async def _slots_of(self, account: str, service: str) -> Mapping[str, int]:
        """What the vendor says of its accounts' slots; as last read, where it can't be now."""
        place = account, service
        known = self._slots.get(place)
        if known is None or self._clock.elapsed() >= known.until_s:
            reading = self._slots_reads.get(place)
            if reading is None:  # all who ask meanwhile wait for the same answer
                reading = asyncio.create_task(self._read_slots(account, service))
                self._slots_reads[place] = reading
                reading.add_done_callback(lambda _: self._slots_reads.pop(place))
            await asyncio.wait({reading})
            if not reading.cancelled():
                reading.result()  # a bug in it is raised
        known = self._slots.get(place)
        return {} if known is None else known.told

    async def _read_slots(self, account: str, service: str) -> None:
        adapter, known = known_service(service), self._slots.get((account, service))
        told: Mapping[str, int] = {} if known is None else known.told
        kept_s, upstream = _SLOTS_READ_S, self._account_of(account).upstream
        try:
            async with asyncio.timeout(_SLOTS_READ_S):
                found = {} if adapter is None else await adapter.slots(upstream)
                told = {account_hash(name): number for name, number in found.items()}
                kept_s = _SLOTS_KEPT_S
        except (UseapiError, TimeoutError) as error:
            log.info("the slots of %s could not be read: %s", service, type(error).__name__)
        self._slots[account, service] = _Slots(told, self._clock.elapsed() + kept_s)


def in_turn(traffic: Traffic, runs_on: str) -> list[Waiting]:
    """Those that wait for an account, in the order in which they are sent.

    Args:
        runs_on: the account; "" is for what its vendor chooses one.
    """
    return [each for _, _, each in sorted(_ranked(traffic, runs_on))]


def may_start(traffic: Traffic, slots: Mapping[str, int], now: float) -> list[Waiting]:
    """Those that may be sent now, so that no account has more at its vendor than it has slots.

    Args:
        slots: of each account, as far as its vendor tells.
    """
    starting: list[Waiting] = []
    taken = Counter(each.runs_on for each in traffic.running)
    learned: dict[str, int] = {}
    ranked = []
    for runs_on in dict.fromkeys(each.runs_on for each in traffic.waiting):
        refused = traffic.refused.get(runs_on)
        if refused is not None:
            if now < refused.not_before:
                continue
            learned[runs_on] = refused.most + int((now - refused.at) / GROWS_S)
        ranked += _ranked(traffic, runs_on)
    # Those that name an account and those that do not are after the same slots.
    for _, _, each in sorted(ranked):
        known = taken[each.runs_on] if each.runs_on else taken.total()
        told = slots.get(each.runs_on) if each.runs_on else sum(slots.values()) or None
        if each.most is not None:
            told = each.most * (1 if each.runs_on else max(1, len(slots)))
        busy = known + _unplaced(taken, slots, each.runs_on)
        is_free = told is None or busy < told
        if each.queued_until > now and is_free and known < learned.get(each.runs_on, inf):
            starting.append(each)
            taken[each.runs_on] += 1
    return starting


def _ranked(traffic: Traffic, runs_on: str) -> list[tuple[int, int, Waiting]]:
    """Those that wait for an account, each after how many of its payer's, and its age's place."""
    before = Counter(each.payer for each in traffic.running if runs_on in ("", each.runs_on))
    ranked = []
    for place, each in enumerate(traffic.waiting):
        if each.runs_on == runs_on:
            ranked.append((before[each.payer], place, each))
            before[each.payer] += 1
    return ranked


def _unplaced(taken: Mapping[str, int], slots: Mapping[str, int], runs_on: str) -> int:
    """How many jobs of an unknown account must run on this one: the others have no slot for them.

    Of an account whose slots are not known, and of all together (""), nothing follows.
    """
    if runs_on not in slots:
        return 0
    free = (most - taken.get(name, 0) for name, most in slots.items() if name != runs_on)
    return max(0, taken.get("", 0) - sum(max(0, number) for number in free))


async def position(journal: Journal, row: Submission) -> int | None:
    """How many are sent before a row that waits, and itself; None: nobody can tell."""
    try:
        traffic = await journal.traffic(row.origin, row.service, row.account)
    except JournalError:
        return None
    names = [each.id for each in in_turn(traffic, row.runs_on)]
    return names.index(row.id) + 1 if row.id in names else None


def _can_wait(order: Order) -> bool:
    """Whether an order is as good later; the caller's own answer to a captcha is not."""
    captcha = order.endpoint.options.get("captcha_token")
    return captcha is None or captcha.field not in order.body
