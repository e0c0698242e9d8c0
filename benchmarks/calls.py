"""What get_job adds to the request that it makes, over stdio and over HTTP, and at what rate."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx

from benchmarks import peers
from benchmarks.clients import HttpClient, stdio, times_ms
from benchmarks.figures import Figure, in_turns
from tests.support.serving import http_server, workers

CALLS, BATCHES = 100, 10
MOST_TIMES = 1.8
CLIENTS = (1, 10, 50)
SECONDS, TURNS = 1.5, 5
LEAST_SHARE = 0.6
WAITING, PINGS, MOST_PING_MS = 50, 200, 20.0
HTTP_TOKEN = "a-token-for-the-benchmark"


def measure() -> list[Figure]:
    return [asyncio.run(_over_stdio()), *_over_http(), asyncio.run(_pings())]


async def _over_stdio() -> Figure:
    """A call that reads a job, beside a call that does nothing and the request alone."""
    ours: list[float] = []
    apart: list[float] = []
    ids = _job_ids()
    with peers.folder() as folder, peers.vendor() as origin:
        environment = peers.environment(folder, origin)
        async with (
            stdio(peers.ours_stdio(), environment) as server,
            stdio(peers.bare_stdio(), environment) as bare,
            httpx.AsyncClient(base_url=origin) as vendor,
        ):
            for batch in range(BATCHES + 1):
                calls = [{"job_id": next(ids)} for _ in range(CALLS)]
                ours_ms = await times_ms(server, "get_job", calls)
                nothing_ms = await times_ms(bare, "nothing", [{"source": "x"}] * CALLS)
                raw_ms = []
                for call in calls:
                    begun = time.perf_counter()
                    (await vendor.get(f"/v1/dreamina/videos/{call['job_id']}")).json()
                    raw_ms.append((time.perf_counter() - begun) * 1e3)
                if batch:  # the first one warms
                    ours.append(statistics.median(ours_ms))
                    apart.append(statistics.median(nothing_ms) + statistics.median(raw_ms))
    return Figure(
        f"`get_job` over stdio, medians of {CALLS} calls",
        "ms",
        tuple(ours),
        tuple(apart),
        "bare SDK, a tool that does nothing, and the request alone",
        most=MOST_TIMES,
    )


def _over_http() -> Iterator[Figure]:
    """Calls a second, beside a server on the bare SDK that makes the same request."""
    with peers.vendor() as origin, peers.bare_http(origin) as bare, peers.folder() as folder:
        environment = {
            "USEAPI_TOKEN": peers.TOKEN,
            "USEAPI_BASE_URL": origin,
            "USEAPI_HTTP_TOKEN": HTTP_TOKEN,
        }
        with http_server(Path(folder, "one"), **environment) as served:
            for clients in CLIENTS:
                yield _rates(f"1 worker, {clients} clients", clients, served.url, bare)
        with workers(Path(folder, "two"), 2, **environment) as served:
            for clients in CLIENTS[1:]:
                yield _rates(f"2 workers, {clients} clients", clients, served.url, bare)


def _rates(what: str, clients: int, ours: str, bare: str) -> Figure:
    def rate(url: str) -> float:
        return asyncio.run(_rate(url, clients))

    of_ours, of_bare = in_turns(TURNS, partial(rate, ours), partial(rate, bare))
    return Figure(
        f"`get_job` over HTTP, {what}",
        "calls/s",
        of_ours,
        of_bare,
        "bare SDK, 1 worker, the same request",
        least=LEAST_SHARE,
    )


async def _rate(url: str, clients: int) -> float:
    ids = _job_ids()
    ends_s = time.perf_counter() + SECONDS

    async def run() -> int:
        done = 0
        async with HttpClient(url, HTTP_TOKEN) as client:
            while time.perf_counter() < ends_s:
                await client.call("get_job", job_id=next(ids))
                done += 1
        return done

    begun = time.perf_counter()
    done = sum(await asyncio.gather(*(run() for _ in range(clients))))
    return done / (time.perf_counter() - begun)


async def _pings() -> Figure:
    """Pings while calls wait for jobs that do not end."""
    took_ms = []
    ids = _job_ids()
    with peers.folder() as folder, peers.vendor("created") as origin:
        async with stdio(peers.ours_stdio(), peers.environment(folder, origin)) as server:
            waiting = [
                asyncio.create_task(server.call("get_job", job_id=next(ids), wait_seconds=50))
                for _ in range(WAITING)
            ]
            await asyncio.sleep(2)
            for _ in range(PINGS):
                begun = time.perf_counter()
                await server.ask("ping")
                took_ms.append((time.perf_counter() - begun) * 1e3)
                await asyncio.sleep(0.05)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
    return Figure(
        f"ping while {WAITING} calls wait, stdio", "ms", tuple(took_ms), most=MOST_PING_MS
    )


def _job_ids() -> Iterator[str]:
    """Ids again and again; by the time that one comes back, its last read is long done."""
    return (peers.JOB.format(number % peers.MOST_JOBS) for number in itertools.count())
