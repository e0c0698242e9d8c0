"""Reconciling: finds out by reading what became of a paid request whose answer was lost."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from mcp_server.clock import Clock
from mcp_server.errors import UnansweredError, UnexpectedAnswerError, UseapiError
from mcp_server.journal import Journal, Row
from mcp_server.services import service_named
from mcp_server.services.service import Found, Order
from mcp_server.upstream import Upstream

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


class Reconciling:
    """Looks for the job of an order; it never sends anything that costs."""

    def __init__(self, clock: Clock, upstream: Upstream, journal: Journal) -> None:
        self._clock = clock
        self._upstream = upstream
        self._journal = journal

    async def search(self, order: Order, row: Row, ages_s: Iterable[float]) -> Search:
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

    async def look(self, order: Order, row: Row) -> Found | None:
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
