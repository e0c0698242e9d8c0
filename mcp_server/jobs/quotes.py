"""Prices that the vendor itself tells: asked for as carefully as a job is submitted.

A quote is documented as free and as making nothing. Should the vendor make a job of it all the
same, that job is the order's: so one at a time is asked for each order, written down before it
leaves, and not repeated when its answer is lost.
"""

import asyncio
import logging

from mcp_server.clock import Clock
from mcp_server.errors import (
    JournalBusyError,
    JournalError,
    QuoteError,
    UnansweredError,
    UnexpectedAnswerError,
    UseapiError,
)
from mcp_server.jobs.repository import JobRepository, key_of, submission_of
from mcp_server.journal.journal import Journal
from mcp_server.models import OUR_ID_PREFIX
from mcp_server.services.base import Order
from mcp_server.services.registry import service_named
from mcp_server.upstream.client import Upstream
from mcp_server.upstream.responses import Answer

log = logging.getLogger(__name__)

KEPT_S = 600.0
LONGEST_CALL_S = 20.0  # a call may have waited for an upload before
_READ_TIMEOUT_S = 60.0
_LOCK_POLL_S = 0.25
_UNSENT = ("reply_url", "reply_ref", "max_jobs")  # they are for the order alone


class Quotes:
    """Asks for prices, and keeps each for ten minutes."""

    def __init__(
        self, clock: Clock, upstream: Upstream, journal: Journal, repository: JobRepository
    ) -> None:
        self._clock = clock
        self._upstream = upstream
        self._journal = journal
        self._repository = repository
        self._under_way: dict[str, asyncio.Task[float | None]] = {}

    async def price_of(self, order: Order, user: str = "") -> float | None:
        """What the vendor says that an order costs; None: it says nothing.

        A cancelled caller cuts nothing.

        Args:
            user: who asks; "" is the operator.

        Raises:
            QuoteError: the price could not be had; the same call asks again.
            UseapiError: it was refused, as the order would be.
        """
        key = key_of(order, self._upstream.origin, self._upstream.account)
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(self._ask_alone(order, key, user))
            task.add_done_callback(lambda done: self._ended(key, done))
        await asyncio.wait({task}, timeout=LONGEST_CALL_S)
        if not task.done():
            raise _not_told(order, "has not told the price yet")
        return task.result()

    async def close(self) -> None:
        """Stop asking."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, key: str, task: "asyncio.Task[float | None]") -> None:
        del self._under_way[key]
        fault = None if task.cancelled() else task.exception()
        if fault is not None and not isinstance(fault, UseapiError):  # its callers may have left
            log.error("a quote ended by a bug", exc_info=fault)

    async def _ask_alone(self, order: Order, key: str, user: str) -> float | None:
        ends_s = self._clock.elapsed() + LONGEST_CALL_S
        while not await self._journal.claim(key):  # another process asks, or submits it
            if self._clock.elapsed() > ends_s:
                raise JournalBusyError(
                    message="Another process is at work on the same request.",
                    hint="Call again with the same arguments in a minute; it joins.",
                    service=order.service,
                )
            await self._clock.sleep(_LOCK_POLL_S)
        try:
            known = await self._journal.find_quote(key)
            told_at = known.told_at if known is not None else None
            if known is not None and told_at is not None and self._clock.now() - told_at < KEPT_S:
                return known.price
            if await self._journal.find_live(key) is not None:
                return None
            return await self._ask(order, key, user)
        finally:
            await self._journal.release(key)

    async def _ask(self, order: Order, key: str, user: str) -> float | None:
        service, endpoint = service_named(order.service), order.endpoint
        unsent = {option.field for name, option in endpoint.options.items() if name in _UNSENT}
        body = {name: value for name, value in order.body.items() if name not in unsent}

        async def write_down() -> None:
            await self._journal.begin_quote(key)

        try:
            answer = await self._upstream.post_paid(
                service.vendor,
                endpoint.path,
                {**body, str(endpoint.quotes): True},
                on_send=write_down,
                read_timeout_s=_READ_TIMEOUT_S,
                is_quote=True,
            )
        except UnansweredError as error:
            log.info("a price was not told: %s", error.message)
            raise _not_told(order, "did not tell the price") from None
        await self._keep_if_made(order, key, answer, user)
        price = service.price_in(answer)
        try:
            await self._journal.end_quote(key, price)
        except JournalError as error:
            log.warning("a price was told but not written down: %s", error.code)
        return price

    async def _keep_if_made(self, order: Order, key: str, answer: Answer, user: str) -> None:
        """Keep the job that the vendor made instead of telling its price: it is the order's."""
        service = service_named(order.service)
        try:
            service.accepted(order, answer, OUR_ID_PREFIX)
        except UnexpectedAnswerError:
            return
        log.warning("%s answered a question for a price with a job", order.service)
        upstream = self._upstream
        new = submission_of(order, key, upstream.origin, user, upstream.account)
        row = await self._journal.insert(new)
        row = await self._journal.count_post(row, expected=0)
        await self._repository.record_accepted(row, service.accepted(order, answer, row.id))


def _not_told(order: Order, what: str) -> QuoteError:
    title = service_named(order.service).vendor.title
    return QuoteError(
        message=f"{title} {what}, so nothing was ordered.",
        hint="Make the same call again: the price is asked for anew, which costs nothing.",
        service=order.service,
    )
