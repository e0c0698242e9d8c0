"""Clock: the one place that knows what time it is and how to let some pass."""

import asyncio
import time
from datetime import UTC, datetime


class Clock:
    """Wall time for what is written down, the event loop's time for how long things take.

    A test replaces the loop, not the clock: then all time-outs agree about what time it is.
    """

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def elapsed(self) -> float:
        """Seconds on a clock that never goes backwards; only differences mean something."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def iso(epoch_s: float) -> str:
    """ISO 8601 in UTC with milliseconds: `2026-11-21T10:15:00.000Z`."""
    moment = datetime.fromtimestamp(epoch_s, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch(text: str) -> float | None:
    """Seconds since the epoch of an ISO 8601 time; None if it is none. No zone means UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
