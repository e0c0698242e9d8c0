"""How long after its end a job is told to have ended, and how many reads that takes.

An agent follows each job by get_job(wait_seconds=50), again and again, through a client, the server
and the sandbox, on a clock that jumps.
"""

import random
from dataclasses import dataclass
from math import log
from pathlib import Path

from benchmarks import peers
from benchmarks.figures import Figure
from mcp_server.sandbox.app import Sandbox
from tests.support import virtual_time
from tests.support.harness import GOOD, VirtualClock, running

JOBS, SEED = 1_000, 5
MEDIAN_S, SPREAD = 105.0, 0.5  # two thirds of the videos take 64 to 173 s
WAIT_S = 50
MOST_OVERSHOOT_S, MOST_POLLS = 3.0, 24


@dataclass(frozen=True)
class Followed:
    """How late a job's end was told, and how often the vendor was asked for it."""

    overshoot_s: float
    polls: int


async def follow(folder: Path, took_s: float) -> Followed:
    """Submit a video job that takes this long, and follow it to its end."""
    clock = VirtualClock()
    sandbox = Sandbox(job_seconds=took_s, now=clock.now)
    async with running(folder, clock=clock, sandbox=sandbox) as h:
        job = (await h.call("upscale_video", source=GOOD["dreamina", "video"])).job
        while job["status"] != "completed":
            job = (await h.call("get_job", job_id=job["job_id"], wait_seconds=WAIT_S)).job
        (accepted,) = sandbox.accepted
        polls = sum(method == "GET" for method, _ in sandbox.requests)
        return Followed(clock.now() - accepted.at - took_s, polls)


async def follow_all(folder: Path, durations_s: list[float]) -> list[Followed]:
    return [await follow(folder / str(at), took_s) for at, took_s in enumerate(durations_s)]


def measure() -> list[Figure]:
    """Of video jobs whose lengths are spread as those of the services are."""
    random.seed(SEED)  # the schedule's jitter comes from there too
    durations_s = [random.lognormvariate(log(MEDIAN_S), SPREAD) for _ in range(JOBS)]
    with peers.folder() as folder:
        followed = virtual_time.run(follow_all(folder / "random", durations_s))
        exact = virtual_time.run(follow_all(folder / "exact", [MEDIAN_S] * 20))
    late_s = tuple(job.overshoot_s for job in followed)
    return [
        Figure(f"told after the end, {JOBS:,} lengths", "s", late_s, most=MOST_OVERSHOOT_S),
        Figure(f"reads of a job, {JOBS:,} lengths", "reads", tuple(j.polls for j in followed)),
        Figure(
            f"reads of a job of {MEDIAN_S:.0f} s",
            "reads",
            tuple(job.polls for job in exact),
            most=MOST_POLLS,
        ),
    ]
