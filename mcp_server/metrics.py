"""Metrics: what a server did, in plain counters. Nothing here knows who reads them.

Labels are words of ours: no id, name, key or text of anybody's becomes one.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field

BUCKETS_S = (0.01, 0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0)


@dataclass
class Durations:
    """How often something took how long: `counts[i]` times up to `BUCKETS_S[i]`, or longer."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    total_s: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.total_s += seconds


class Metrics:
    """Counts since the start of the process.

    `calls` are by tool and outcome (`ok`, `asked`, `error`, `cancelled`). `requests` to the vendor,
    each try by itself, are by kind (`paid`, `quote`, `upload`, `read`, `delete`), service and
    outcome (`answered`, `refused`, `rate_limited`, `unknown`, `not_sent`). `refusals` are by the
    code of the error that a call was answered with, or `http_` and the status of a request.
    """

    def __init__(self) -> None:
        self.calls: defaultdict[tuple[str, str], Durations] = defaultdict(Durations)
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.refusals: Counter[str] = Counter()
