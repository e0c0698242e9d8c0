"""Stores for the journal that behave as SQLite on a good disk never does."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from mcp_server.clock import Clock
from mcp_server.errors import JournalError
from mcp_server.journal.base import Rows
from mcp_server.journal.locks import KeyLocks
from mcp_server.journal.sqlite import SqliteStore
from tests.support.processes import Life

_PAUSES_S = (0.0, 0.0, 0.0, 0.001, 0.02, 0.3)


@contextmanager
def journal_away(folder: Path) -> Iterator[None]:
    """While it is open, a file stands in the place of a server's state folder below `folder`."""
    state, away = folder / "state", folder / "away"
    state.rename(away)
    state.write_text("a file in the folder's place", encoding="utf-8")
    try:
        yield
    finally:
        state.unlink()
        away.rename(state)


class WeakStore:
    """SQLite as it is behind a network and on a disk that fills up.

    Args:
        life: the process it belongs to: a dead one never comes back from a pause.
        dice: lengths of the pauses that each call brings; None = it gives way to nobody. What goes
            on inside a transaction is never interrupted.

    Attributes:
        full_for: so many transactions fail from now on, in turn before they begin and before they
            are committed.
    """

    is_shared = False

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        locks: KeyLocks | None,
        *,
        life: Life,
        dice: random.Random | None,
    ) -> None:
        self.full_for = 0
        self._store = SqliteStore(folder, clock, locks)
        self._life = life
        self._dice = dice

    @property
    def fault(self) -> JournalError | None:
        return self._store.fault

    @fault.setter
    def fault(self, fault: JournalError | None) -> None:
        self._store.fault = fault

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Rows]:
        await self._pause()
        async with self._store.read() as rows:
            yield rows
        await self._pause()

    @asynccontextmanager
    async def write(self, *names: str) -> AsyncIterator[Rows]:
        await self._pause()
        fails_at_once, fails_at_the_end = self.full_for % 2 == 1, self.full_for > 0
        self.full_for -= fails_at_the_end
        if fails_at_once:
            raise self._full()
        async with self._store.write(*names) as rows:
            yield rows
            if fails_at_the_end:
                raise self._full()
        await self._pause()

    async def claim(self, key: str) -> bool:
        await self._pause()
        granted = await self._store.claim(key)
        try:
            await self._pause()
        except asyncio.CancelledError:
            if granted:
                await self._store.release(key)
            raise
        return granted

    async def release(self, key: str) -> None:
        await self._store.release(key)
        await self._pause()

    async def owns(self, rows: Rows, key: str) -> bool:
        return await self._store.owns(rows, key)

    async def take_turn(self, name: str, apart_s: float) -> bool:
        return await self._store.take_turn(name, apart_s)

    async def check(self) -> None:
        if self.full_for:
            self.fault = self._full()
        else:
            await self._store.check()

    async def close(self) -> None:
        await self._store.close()

    async def _pause(self) -> None:
        if self._dice is not None:
            await asyncio.sleep(self._dice.choice(_PAUSES_S))
        if self._life.is_over:
            await asyncio.Event().wait()

    def _full(self) -> JournalError:
        self._store.fault = JournalError(
            message="The disk refuses to take the journal.",
            hint="Free some disk space, then call again.",
        )
        return self._store.fault
