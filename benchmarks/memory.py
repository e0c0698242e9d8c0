"""Memory: when nothing is asked, after many calls, and with many jobs waited for. Linux only."""

import asyncio
import time

from benchmarks import peers
from benchmarks.clients import StdioClient, cpu_s, memory_mb, stdio
from benchmarks.figures import Figure

ROUNDS = 5
MOST_IDLE = 1.15
FEW, MANY, AT_ONCE, MOST_GROWTH_MB = 1_000, 10_000, 20, 5.0
JOBS, WATCHED_S, MOST_CORES = 1_000, 20.0, 0.5


def measure() -> list[Figure]:
    return asyncio.run(_measure())


async def _measure() -> list[Figure]:
    with peers.folder() as folder, peers.vendor() as origin:
        environment = peers.environment(folder, origin)
        idle: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS):
            commands = peers.ours_stdio(), peers.bare_stdio()
            for command, found in zip(commands, idle, strict=True):
                async with stdio(command, environment) as client:
                    await client.ask("tools/list")
                    found.append(memory_mb(client.pid))
        async with stdio(peers.ours_stdio(), environment) as client:
            await _call(client, FEW)
            after_few = memory_mb(client.pid)
            await _call(client, MANY - FEW)
            grown = memory_mb(client.pid) - after_few
    with peers.folder() as folder, peers.vendor("created") as origin:
        async with stdio(peers.ours_stdio(), peers.environment(folder, origin)) as client:
            cores, waited_mb = await _waited(client)
    return [
        Figure(
            "memory after `tools/list`",
            "MB",
            tuple(idle[0]),
            tuple(idle[1]),
            "bare SDK, one tool",
            most=MOST_IDLE,
        ),
        Figure(f"growth from call {FEW:,} to {MANY:,}", "MB", (grown,), most=MOST_GROWTH_MB),
        Figure(f"{JOBS:,} jobs waited for", "cores", (cores,), most=MOST_CORES),
        Figure(f"{JOBS:,} jobs waited for", "MB", (waited_mb,)),
    ]


async def _call(client: StdioClient, calls: int) -> None:
    """So many calls, most of which read a job."""
    numbers = iter(range(calls))

    async def caller() -> None:
        for number in numbers:
            if number % 10:
                job_id = peers.JOB.format(number % peers.MOST_JOBS)
                await client.call("get_job", job_id=job_id)
            else:
                await client.call("list_jobs")

    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))


async def _waited(client: StdioClient) -> tuple[float, float]:
    """What waiting for many jobs takes of a processor, and what memory it holds meanwhile."""

    async def follow(number: int) -> None:
        while True:
            job_id = peers.JOB.format(number)
            await client.call("get_job", job_id=job_id, wait_seconds=50)

    following = [asyncio.create_task(follow(number)) for number in range(JOBS)]
    await asyncio.sleep(15)  # all have been read, and are waited for
    begun, used_s = time.perf_counter(), cpu_s(client.pid)
    await asyncio.sleep(WATCHED_S)
    cores = (cpu_s(client.pid) - used_s) / (time.perf_counter() - begun)
    held_mb = memory_mb(client.pid)
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    return cores, held_mb
