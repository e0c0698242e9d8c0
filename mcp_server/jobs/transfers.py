"""Transfers: work on files that no caller cuts, begun once and joined by every later call.

A host ends a call after a minute or less and calls again; a large file takes longer than that.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mcp_server.clock import Clock
from mcp_server.errors import UnreachableError, UseapiError

log = logging.getLogger(__name__)

PROGRESS_S = 0.5
LONGEST_CALL_S = 40.0  # the shortest limit of a known host is 60 s
_UNHEARD_S = 600.0  # how long an error that nobody waited for is kept for the next call
_MOST_UNHEARD = 100

T = TypeVar("T")

Report = Callable[[float, float | None, str], Awaitable[None]]


@dataclass
class Progress:
    """How far a transfer is; all who joined it look at one."""

    done_bytes: int = 0
    total_bytes: int | None = None

    def __str__(self) -> str:
        of = f" of {self.total_bytes / 1e6:.1f}" if self.total_bytes else ""
        return f"{self.done_bytes / 1e6:.1f}{of} MB"


@dataclass
class _Transfer(Generic[T]):
    task: asyncio.Task[T]
    callers: int = 0


class Transfers(Generic[T]):
    """Runs each transfer in a task of its own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._under_way: dict[str, _Transfer[T]] = {}
        self._unheard: dict[str, tuple[float, UseapiError]] = {}
        self._answers_now = False
        self._is_closed = False

    async def join(
        self,
        key: str,
        work: Callable[[], Coroutine[Any, Any, T]],
        progress: Progress,
        report: Report,
        wait_s: float,
    ) -> T | None:
        """What a transfer brings; None if it goes on when the time is up.

        A caller that is cancelled stops waiting, and cuts nothing.

        Args:
            key: calls with an equal one share a transfer.
            work: begun only if none is under way.
            progress: what the work keeps up to date.
            report: is given bytes done, bytes in all and a message, at most every half second.

        Raises:
            UseapiError: what the work raised, now or a short while ago when nobody waited: else
                one that always fails late would be begun again and again.
        """
        if self._is_closed:
            raise _stopping()
        transfer = self._under_way.get(key)
        if transfer is None:
            failed_s, error = self._unheard.pop(key, (0.0, None))
            if error is not None and self._clock.elapsed() - failed_s < _UNHEARD_S:
                raise error
            transfer = self._under_way[key] = _Transfer(asyncio.create_task(work()))
            transfer.task.add_done_callback(lambda _: self._ended(key))
        transfer.callers += 1
        try:
            return await self._wait(transfer.task, progress, report, wait_s)
        finally:
            transfer.callers -= 1

    async def _wait(
        self, task: "asyncio.Task[T]", progress: Progress, report: Report, wait_s: float
    ) -> T | None:
        ends_s, most_bytes = self._clock.elapsed() + wait_s, 0
        while True:
            left_s = max(ends_s - self._clock.elapsed(), 0.0)
            await asyncio.wait({task}, timeout=min(PROGRESS_S, left_s))
            if task.cancelled():
                raise _stopping()
            if task.done():
                return task.result()
            if progress.done_bytes > most_bytes:  # a second try may begin anew
                most_bytes = progress.done_bytes
                await report(most_bytes, progress.total_bytes, str(progress))
            if left_s <= PROGRESS_S or self._answers_now:
                return None

    def is_under_way(self, key: str) -> bool:
        return key in self._under_way

    def answer_now(self) -> None:
        """Let nobody wait for longer than it takes to look, from now on; the transfers go on."""
        self._answers_now = True

    async def close(self) -> None:
        """End all transfers, and begin no more."""
        self._is_closed = True
        tasks = [transfer.task for transfer in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, key: str) -> None:
        """Keep an error for the next call if nobody waits for this transfer."""
        transfer = self._under_way.pop(key)
        error = None if transfer.task.cancelled() else transfer.task.exception()
        if isinstance(error, UseapiError) and not transfer.callers:
            while len(self._unheard) >= _MOST_UNHEARD:
                del self._unheard[next(iter(self._unheard))]
            self._unheard[key] = (self._clock.elapsed(), error)
        elif error is not None and not isinstance(error, UseapiError):
            log.error("a transfer ended by a bug", exc_info=error)


def _stopping() -> UnreachableError:
    return UnreachableError(
        message="This server is stopping, so the transfer was ended.",
        hint="Call again when it runs: it goes on where it was.",
    )
