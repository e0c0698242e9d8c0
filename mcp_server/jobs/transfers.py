"""Transfers: work on files that no caller cuts, begun once and joined by every later call.

A host ends a call after a minute or less and calls again; a large file takes longer than that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mcp_server.clock import Clock
from mcp_server.errors import UnreachableError

PROGRESS_S = 0.5
LONGEST_CALL_S = 40.0  # the shortest limit of a known host is 60 s

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


class Transfers(Generic[T]):
    """Runs each transfer in a task of its own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[T]] = {}
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
            UseapiError: what the work raised.
        """
        task = self._tasks.get(key)
        if task is None and not self._is_closed:
            task = self._tasks[key] = asyncio.create_task(work())
            task.add_done_callback(lambda ended: self._ended(key, ended))
        ends_s, most_bytes = self._clock.elapsed() + wait_s, 0
        while task is not None:
            left_s = max(ends_s - self._clock.elapsed(), 0.0)
            await asyncio.wait({task}, timeout=min(PROGRESS_S, left_s))
            if task.cancelled():
                break
            if task.done():
                return task.result()
            if progress.done_bytes > most_bytes:  # a second try may begin anew
                most_bytes = progress.done_bytes
                await report(most_bytes, progress.total_bytes, str(progress))
            if left_s <= PROGRESS_S:
                return None
        raise UnreachableError(
            message="This server is stopping, so the transfer was ended.",
            hint="Call again when it runs: it goes on where it was.",
        )

    async def close(self) -> None:
        """End all transfers, and begin no more."""
        self._is_closed = True
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, key: str, task: "asyncio.Task[T]") -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # retrieved here in case nobody waits: the next call finds out anew
