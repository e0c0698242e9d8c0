"""How long after its end a job is told to have ended, and how many reads that takes.

An agent follows each job by get_job(wait_seconds=50), again and again, through a client, the server
and the sandbox, on a clock that jumps. Run: .venv/bin/python benchmarks/waiting.py [jobs]
"""

import random
import statistics
import sys
import tempfile
from dataclasses import dataclass
from math import log
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # runs from a checkout too

from mcp_server.sandbox.app import Sandbox
from tests.support import virtual_time
from tests.support.harness import GOOD, VirtualClock, running

JOBS, SEED = 1_000, 5
MEDIAN_S, SPREAD = 105.0, 0.5  # two thirds of the videos take 64 to 173 s
WAIT_S = 50
MOST_MEAN_OVERSHOOT_S, MOST_POLLS = 3.0, 24


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


def main(jobs: int) -> bool:
    """Print what was found; whether it is as good as it should be."""
    random.seed(SEED)  # the schedule's jitter comes from there too
    durations_s = [random.lognormvariate(log(MEDIAN_S), SPREAD) for _ in range(jobs)]
    with tempfile.TemporaryDirectory() as name:
        followed = virtual_time.run(follow_all(Path(name, "random"), durations_s))
        exact = virtual_time.run(follow_all(Path(name, "exact"), [MEDIAN_S] * 20))
    overshoots_s = [job.overshoot_s for job in followed]
    mean_s = statistics.mean(overshoots_s)
    p95_s = statistics.quantiles(overshoots_s, n=20)[-1]
    polls = [job.polls for job in followed]
    most_polls = max(job.polls for job in exact)
    print(
        f"waiting: {jobs} videos, log-normal, median {MEDIAN_S:.0f} s: overshoot"
        f" mean {mean_s:.2f} s (at most {MOST_MEAN_OVERSHOOT_S:.0f}), p95 {p95_s:.2f} s;"
        f" {statistics.mean(polls):.1f} polls each, at most {max(polls)}"
    )
    print(
        f"waiting: {len(exact)} videos of {MEDIAN_S:.0f} s:"
        f" {min(job.polls for job in exact)} to {most_polls} polls (at most {MOST_POLLS})"
    )
    return mean_s <= MOST_MEAN_OVERSHOOT_S and most_polls <= MOST_POLLS


if __name__ == "__main__":
    good = main(int(sys.argv[1]) if len(sys.argv) > 1 else JOBS)
    raise SystemExit(0 if good else "waiting: worse than it should be")
