"""Finds the job of a paid request whose answer was lost, by reading; it sends nothing that costs.

What a look may conclude (CONTRIBUTING has the rules as a table):

- a look reads all candidates and takes the best, never the first;
- what the vendor lists under the reference that went out with the request is ours;
- else ours is what was made after the request left: not among the ids that existed before it, and
  not older by the vendor's own clock, for a list may lack what it should hold; what the journal
  knows as another key's or a reference tells to be another's is never ours, and a job that failed
  never is;
- of an order that the vendor makes several jobs of, some alone are not taken while the others may
  still appear in the list;
- an older job that does the same answers only where the vendor refuses or caches a repeat;
- what can't be read or understood proves nothing: absence is proven by a look that was understood
  whole, listed neither ours nor anything that might be ours, and came late enough.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mcp_server.clock import Clock, epoch
from mcp_server.errors import UnansweredError, UseapiError
from mcp_server.jobs.repository import has_our_reference
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import Submission
from mcp_server.models import Job
from mcp_server.services.base import Look, Order
from mcp_server.services.registry import service_named
from mcp_server.upstream.client import Upstream
from mcp_server.upstream.fields import obj

log = logging.getLogger(__name__)

# Ages at which a look is worth while. The vendor's own answer ends its work on the request; after
# a cut it may still be at work for a minute, and one more POST inside that time is paid twice.
LOOKS_AFTER_ANSWER_S = (2.0, 5.0, 10.0)
LOOKS_AFTER_SILENCE_S = (2.0, 5.0, 10.0, 20.0, 40.0, 60.0)

_CLOCK_SKEW_S = 120.0  # between the vendor's clock and ours where it is not known, *assumed*
_ROUNDING_S = 2.0  # the vendor's `Date` has whole seconds
_ALL_LISTED_S = 600.0  # by when all jobs of one request are in the vendor's list, *assumed*
_REFUSED_S = 10.0  # how long looking for what was refused may hold up a request
_NEWEST = 500  # rows of the journal in which a part of a job is looked for
_ENDED_BADLY = ("failed", "cancelled")


@dataclass(frozen=True)
class Found:
    """The job that answers an order; `ours`: made by this submission, else an older one.

    `is_proven`: the vendor lists it under our own reference, so it can't be somebody else's.
    """

    job: Job
    ours: bool
    is_proven: bool = False


@dataclass(frozen=True)
class Sighting:
    """What one look concludes. `hint` is a job that may have to do with it and proves nothing.

    `is_part`: it is one of several jobs of the request, of which more may come.
    """

    found: Found | None = None
    proves_absence: bool = False
    hint: str | None = None
    is_part: bool = False


@dataclass(frozen=True)
class Search:
    """What a series of looks brought; `note` says in words what was looked at."""

    note: str
    found: Found | None = None
    proves_absence: bool = False


class Reconciler:
    """Looks for the job of an order."""

    def __init__(self, clock: Clock, upstream: Upstream, journal: Journal) -> None:
        self._clock = clock
        self._upstream = upstream
        self._journal = journal
        self._sent_s: dict[str, float] = {}  # by the row's id, on the clock's `elapsed`

    def note_sent(self, row: Submission) -> None:
        """Note when the first request of a row leaves, since the clock may be set until a look."""
        self._sent_s.setdefault(row.id, self._clock.elapsed())

    def forget_sent(self, row: Submission) -> None:
        """Go by the journal's time from now on."""
        self._sent_s.pop(row.id, None)

    async def search(self, order: Order, row: Submission, ages_s: Iterable[float]) -> Search:
        """Look at these ages, counted from now, until it is found."""
        title = service_named(order.service).vendor.title
        began, answered, last, proven = self._clock.elapsed(), 0, Sighting(), False
        for age_s in ages_s:
            await self._clock.sleep(began + age_s - self._clock.elapsed())
            try:
                last = await self.look(order, row)
            except UseapiError as error:
                log.info("a look for %s failed: %s", row.id, error.code)
                proven = False
                continue
            if last.found is not None:
                return Search("found", last.found)
            answered, proven = answered + 1, last.proves_absence
        if not answered:
            return Search(f"{title} can't be read")
        came = "did not list it" if last.proves_absence else "what it answered proves nothing"
        times = "once" if answered == 1 else f"{answered} times"
        note = f"{title} was asked {times} and {came}{last.hint or ''}"
        return Search(note, proves_absence=proven)

    async def look(self, order: Order, row: Submission) -> Sighting:
        """Look once.

        Raises:
            UseapiError: the look failed, which proves nothing.
        """
        # It may have been sent since it was read.
        return await self._look(order, await self._journal.latest(row))

    async def _look(self, order: Order, row: Submission) -> Sighting:
        order = order.with_refs(row.evidence.get("refs", {}))
        service = service_named(order.service)
        look = await service.find(
            self._upstream, order, since=self._sent_at(row, None), our_id=row.id
        )
        if look.ours is not None:
            return self._unless_more_come(order, row, Found(look.ours, ours=True, is_proven=True))
        ours: list[Job] = []
        older: list[Job] = []
        taken = await self._known_parts() if order.operation == "generate_image" else ()
        for job in look.jobs:
            if job.job_id in taken:
                continue
            other = await self._journal.get(job.job_id)
            is_another_rows = other is not None and other.id != row.id
            if other is not None and other.key != row.key:
                continue
            is_strangers = has_our_reference(row) and job.job_id in look.strangers
            is_anothers = is_another_rows or job.job_id in look.others or is_strangers
            is_ours = not is_anothers and self.is_ours(job, row, look)
            ended_badly = other is not None and other.state in _ENDED_BADLY
            known = job.evolve(status="failed") if ended_badly else job
            (ours if is_ours else older).append(known)
        sighting = self._conclude(order, row, look, ours, older)
        if sighting.found is not None or sighting.hint is not None:
            return sighting
        return replace(sighting, hint=await self._unclear(row, look))

    async def _unclear(self, row: Submission, look: Look) -> str | None:
        """Which job may be the row's, though its record does not tell."""
        for job in look.unclear:
            if self.is_ours(job, row, look) and await self._journal.get(job.job_id) is None:
                return f"; {job.job_id} may be it, which its record does not tell"
        return None

    async def _known_parts(self) -> frozenset[str]:
        """The vendor's jobs that the journal knows as parts of one of ours."""
        rows = await self._journal.recent(_NEWEST, origin=self._upstream.origin)
        media = (obj(item) for row in rows for item in obj(row.job).get("media") or ())
        return frozenset(str(item["media_id"]) for item in media if "media_id" in item)

    async def note_existing(self, order: Order, row: Submission) -> Submission:
        """Write down which jobs that do the same exist before a first POST, if it can be read."""
        try:
            look = await service_named(order.service).find(self._upstream, order, since=None)
        except UseapiError as error:
            log.info("what exists beside %s could not be read: %s", row.id, error.code)
            return row
        there = [job.job_id for job in (*look.jobs, *look.unclear)]
        evidence = {"before": there, "horizon": look.horizon}
        horizon = self._clock.now() - _CLOCK_SKEW_S
        if look.clock_ahead_s is not None:
            evidence["clock_s"] = look.clock_ahead_s
            horizon = self._clock.now() + look.clock_ahead_s - _ROUNDING_S
        if not look.is_complete:  # what was there and not understood must not be taken for newer
            evidence["horizon"] = horizon
        return await self._journal.add_evidence(row.id, **evidence)

    async def look_for_refused(self, order: Order, row: Submission) -> Sighting | None:
        """What the vendor made of a row that was refused before; None: nothing is seen of it.

        A gateway may refuse, or send again, what the vendor has taken. Where requests go out
        without a reference of ours, the jobs of others can't be told from it: nothing is looked at.
        """
        if "refused" not in row.evidence or not has_our_reference(row):
            return None
        try:
            async with asyncio.timeout(_REFUSED_S):
                seen = await self._look(order, row.as_refused())
        except (UseapiError, TimeoutError) as error:
            log.info("a look for %s, which was refused, failed: %s", row.id, type(error).__name__)
            return None
        is_ours = seen.found is not None and seen.found.ours
        return seen if is_ours or seen.is_part else None

    def _conclude(
        self, order: Order, row: Submission, look: Look, ours: list[Job], older: list[Job]
    ) -> Sighting:
        good = [job for job in ours if job.status not in _ENDED_BADLY]
        if good:
            best = service_named(order.service).together(order, good, row.id)
            failed = len(ours) - len(good)
            return self._unless_more_come(order, row, Found(best, ours=True), failed)
        if ours:  # it may be somebody else's, and then ours may still appear
            return Sighting(hint=f"; {ours[0].job_id} failed, which may have been it")
        done = [job for job in older if job.status not in _ENDED_BADLY]
        if done and order.refuses_repeats:
            newest = max(done, key=lambda job: job.created_at or "")
            # One of another's that is not older was made beside ours, and answers ours as well.
            is_beside = newest.job_id in look.strangers and self.is_ours(newest, row, look)
            return Sighting(Found(newest, ours=is_beside))
        hint = f"; {done[0].job_id}, which is older, does the same" if done else None
        return Sighting(proves_absence=look.is_complete, hint=hint)

    def _unless_more_come(
        self, order: Order, row: Submission, found: Found, failed: int = 0
    ) -> Sighting:
        """What was found, if it is all that the vendor makes of one request.

        Some of several are taken only when the others must have been listed, were they there.
        """
        wanted = service_named(order.service).jobs_of(order)
        parts = [item.media_id for item in found.job.media or () if item.media_id]
        listed = parts or [found.job.job_id]
        age_s = self._clock.now() - row.began_at
        if len(listed) + failed >= wanted or age_s >= _ALL_LISTED_S:
            return Sighting(found)
        shown = ", ".join(listed)
        return Sighting(hint=f"; of {wanted} only {shown} is listed", is_part=True)

    def is_ours(self, job: Job, row: Submission, look: Look | None = None) -> bool:
        """Whether a job was made after the row's first request left."""
        made = epoch(job.created_at or "")
        before = row.evidence.get("before")
        if isinstance(before, list):
            horizon = row.evidence.get("horizon")
            is_beyond = horizon is not None and (made is None or made < horizon)
            clock_is_known = row.evidence.get("clock_s") is not None
            is_older = clock_is_known and made is not None and made < self._sent_at(row, None)
            return job.job_id not in before and not is_beyond and not is_older
        return made is None or made >= self._sent_at(row, look)

    def _sent_at(self, row: Submission, look: Look | None) -> float:
        """The earliest time, on the vendor's clock, at which its job can have been made."""
        sent_at = row.began_at
        if look is not None and row.id in self._sent_s:
            sent_at = self._clock.now() - (self._clock.elapsed() - self._sent_s[row.id])
        clock_s = row.evidence.get("clock_s") if look is None else look.clock_ahead_s
        return sent_at - _CLOCK_SKEW_S if clock_s is None else sent_at + clock_s - _ROUNDING_S


def looks_after(error: UseapiError) -> tuple[float, ...]:
    """When to look after a paid request ended this way."""
    answered = isinstance(error, UnansweredError) and error.vendor_answered
    return LOOKS_AFTER_ANSWER_S if answered else LOOKS_AFTER_SILENCE_S
