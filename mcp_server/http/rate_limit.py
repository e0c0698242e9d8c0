"""How many requests one user may send to this process, and have open at once."""

import contextlib
from collections import Counter, OrderedDict
from collections.abc import Iterator

_MINUTE_S = 60.0
_MOST_USERS = 10_000


class RateLimit:
    """A bucket of tokens for each user: a minute's requests at once, then as they come back.

    A request that stays open, as a stream does, takes a connection from all others: no user may
    have more of them than a minute's.

    Who sent nothing for a minute has a full bucket and is forgotten. Memory is bounded: beyond
    10,000 users in one minute, who was silent for longest is forgotten too.
    """

    def __init__(self, calls_per_minute: int) -> None:
        self.most_open = calls_per_minute
        self._open: Counter[str] = Counter()
        self._each_s = _MINUTE_S / calls_per_minute
        # When each bucket is full again; who came last is last.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """How many users are remembered."""
        return len(self._full_at)

    def wait_s(self, user: str, now: float) -> float:
        """0 for a request that may be served, which is counted; else the seconds to wait."""
        full_at = max(now, self._full_at.get(user, now)) + self._each_s
        wait_s = full_at - now - _MINUTE_S
        if wait_s > _ROUNDING_S:
            return wait_s
        self._full_at[user] = full_at
        self._full_at.move_to_end(user)
        self._forget(now)
        return 0.0

    def has_room(self, user: str) -> bool:
        """Whether a user may have one more request open."""
        return self._open[user] < self.most_open

    @contextlib.contextmanager
    def holding(self, user: str) -> Iterator[None]:
        """For as long as a request of this user is open."""
        self._open[user] += 1
        try:
            yield
        finally:
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]

    def _forget(self, now: float) -> None:
        while len(self._full_at) > _MOST_USERS or next(iter(self._full_at.values())) <= now:
            self._full_at.popitem(last=False)
        # The user that was just counted is last, and its bucket is not full: the loop ends there.


_ROUNDING_S = 1e-6
