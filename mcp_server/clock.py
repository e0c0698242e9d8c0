"""The current time, sleeping, and ISO 8601."""

import asyncio
import time
from datetime import UTC, datetime


class Clock:
    """Wall time for what is stored, the event loop's time for durations.

    Tests replace the event loop, not the clock: then time-outs use the same time.
    """

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def elapsed(self) -> float:
        """Seconds on a monotonic clock, for differences only."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Turns:
    """Lets other tasks run now and then in a loop over pieces that are already there.

    Awaiting what is there gives nobody else a turn, and one read may hold thousands of pieces.
    """

    _PIECES, _BYTES = 64, 256 * 1024

    def __init__(self) -> None:
        self._pieces = 0
        self._bytes = 0

    async def after(self, size_bytes: int) -> None:
        """Count a piece of this size, and let others run if it is time."""
        self._pieces += 1
        self._bytes += size_bytes
        if self._pieces >= self._PIECES or self._bytes >= self._BYTES:
            self._pieces = self._bytes = 0
            await asyncio.sleep(0)


def iso(epoch_s: float) -> str:
    """ISO 8601 in UTC with milliseconds: `2026-11-21T10:15:00.000Z`."""
    moment = datetime.fromtimestamp(epoch_s, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch(text: str) -> float | None:
    """Seconds since the epoch of an ISO 8601 time, or None. A time without a zone is in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
