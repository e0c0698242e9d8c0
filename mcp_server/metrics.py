"""Metrics: what a server did, in plain counters. Nothing here knows who reads them.

Labels are words of ours: no id, name, key or text of anybody's becomes one.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field

BUCKETS_S = (0.01, 0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0)
WAITS_S = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)


@dataclass
class Durations:
    """How often something took how long: `counts[i]` times up to `bounds_s[i]`, or longer."""

    bounds_s: tuple[float, ...] = BUCKETS_S
    counts: list[int] = field(init=False)
    total_s: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds_s) + 1)

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds_s, seconds)] += 1
        self.total_s += seconds


class Metrics:
    """Counts since the start of the process.

    `calls` are by tool and outcome (`ok`, `asked`, `error`, `cancelled`). `requests` to the vendor,
    each try by itself, are by kind (`paid`, `quote`, `upload`, `read`, `delete`), service and
    outcome (`answered`, `refused`, `rate_limited`, `unknown`, `not_sent`). `refusals` are by the
    code of the error that a call was answered with, or `http_` and the status of a request.
    `queue_waits` are by service, of what was sent after it had waited for a free slot.
    """

    def __init__(self) -> None:
        self.calls: defaultdict[tuple[str, str], Durations] = defaultdict(Durations)
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.refusals: Counter[str] = Counter()
        self.queue_waits: defaultdict[str, Durations] = defaultdict(lambda: Durations(WAITS_S))
