"""Several servers on one PostgreSQL, beside as many on one folder with SQLite: rates and times.

All run on this machine, as do the callers, a vendor who answers at once, and the database, which
puts each commit on the disk: what more servers bring is bounded by the processor's cores. Each
server has its share of the callers, and a caller makes its next call when it has the answer to the
one before. The two kinds are measured in turns.

A submit is `upscale_video` of a video that has none yet: a paid request, and the journal's claim,
commits and release. A read is `get_job` of a job in the journal that has ended.
"""

import asyncio
import contextlib
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.clients import HttpClient, times_ms
from benchmarks.figures import Figure, in_turns
from tests.support import postgres
from tests.support.serving import http_server

SERVERS = (1, 2, 4)
CALLERS = 16
SECONDS, TURNS = 2.0, 4
CALLS, BATCHES = 40, 6
MOST_READ = 200
HTTP_TOKEN = "a-token-for-the-benchmark"

Calls = Iterator[dict[str, Any]]


@dataclass
class Team:
    """Servers that share a journal, and how many videos were submitted to them."""

    urls: list[str]
    submitted: int = 0

    def submits(self) -> Calls:
        """Arguments of `upscale_video`, each for a job of its own."""
        while True:
            self.submitted += 1
            yield {"source": peers.JOB.format(self.submitted)}

    def reads(self) -> Calls:
        """Arguments of `get_job`, for jobs that were submitted."""
        numbers = range(1, min(self.submitted, MOST_READ) + 1)
        for number in itertools.cycle(numbers):
            yield {"job_id": peers.upscale_of(peers.JOB.format(number))}


def measure() -> list[Figure]:
    """Nothing where PostgreSQL is not installed."""
    if postgres.programs() is None:
        print("bench: no PostgreSQL is installed, so `team` is left out", file=sys.stderr)
        return []
    with _teams() as (on_postgres, on_sqlite):
        return [
            *(
                figure
                for servers in SERVERS
                for figure in (
                    _rates(
                        "submits", "upscale_video", Team.submits, servers, on_postgres, on_sqlite
                    ),
                    _rates("reads", "get_job", Team.reads, servers, on_postgres, on_sqlite),
                )
            ),
            _times("a submit", "upscale_video", Team.submits, on_postgres, on_sqlite),
            _times("a read", "get_job", Team.reads, on_postgres, on_sqlite),
        ]


@contextlib.contextmanager
def _teams() -> Iterator[tuple[Team, Team]]:
    """As many servers as are measured at most, on PostgreSQL, and as many on SQLite."""
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(peers.vendor())
        folder = stack.enter_context(peers.folder())
        database = stack.enter_context(postgres.server()).create("journal")

        def start(name: str, **journal: str) -> Team:
            environment = {
                "USEAPI_TOKEN": peers.TOKEN,
                "USEAPI_BASE_URL": origin,
                "USEAPI_HTTP_TOKEN": HTTP_TOKEN,
                **journal,
            }
            folders = [Path(folder, f"{name}-{number}") for number in range(max(SERVERS))]
            return Team(
                [stack.enter_context(http_server(own, **environment)).url for own in folders]
            )

        yield (
            start("postgres", USEAPI_DATABASE_URL=database),
            start("sqlite", USEAPI_STATE_DIR=str(folder / "state")),
        )


def _rates(
    what: str, tool: str, calls_of: Callable[[Team], Calls], servers: int, *teams: Team
) -> Figure:
    """Calls a second."""

    def rate(team: Team) -> float:
        return asyncio.run(_rate(team.urls[:servers], tool, calls_of(team)))

    on_postgres, on_sqlite = in_turns(TURNS, *(partial(rate, team) for team in teams))
    return Figure(
        f"{what} on PostgreSQL, servers: {servers}, {CALLERS} callers, turns of {SECONDS:g} s",
        "calls/s",
        on_postgres,
        on_sqlite,
        "SQLite in a folder that the servers share",
    )


async def _rate(urls: list[str], tool: str, calls: Calls) -> float:
    ends_s = time.perf_counter() + SECONDS

    async def run(url: str) -> int:
        done = 0
        async with HttpClient(url, HTTP_TOKEN) as client:
            while time.perf_counter() < ends_s:
                await client.call(tool, **next(calls))
                done += 1
        return done

    begun = time.perf_counter()
    servers = itertools.cycle(urls)
    done = sum(await asyncio.gather(*(run(next(servers)) for _ in range(CALLERS))))
    return done / (time.perf_counter() - begun)


def _times(what: str, tool: str, calls_of: Callable[[Team], Calls], *teams: Team) -> Figure:
    """Milliseconds of a call by the only caller."""

    def median_ms(team: Team) -> float:
        calls = list(itertools.islice(calls_of(team), CALLS))
        return asyncio.run(_median_ms(team.urls[0], tool, calls))

    on_postgres, on_sqlite = in_turns(BATCHES, *(partial(median_ms, team) for team in teams))
    return Figure(
        f"{what} on PostgreSQL, servers: 1, 1 caller, medians of {CALLS} calls",
        "ms",
        on_postgres,
        on_sqlite,
        "SQLite",
    )


async def _median_ms(url: str, tool: str, calls: list[dict[str, Any]]) -> float:
    async with HttpClient(url, HTTP_TOKEN) as client:
        return statistics.median(await times_ms(client, tool, calls))
