"""What a queue for an account's slots is worth, beside agents that try again when it is full.

Twenty users share an account: one sends a batch, the others two orders each within ten minutes. It
runs on the real server's jobs, queue and journal, against the sandbox, on a clock that jumps.
"""

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

from benchmarks import peers
from benchmarks.figures import Figure
from mcp_server.errors import RateLimitError
from mcp_server.models import Caller
from mcp_server.sandbox.app import Sandbox
from mcp_server.sandbox.state import EMAIL, Conditions
from mcp_server.services.registry import service_named
from mcp_server.settings import Settings
from mcp_server.tools.context import AppContext, open_app
from tests.support import virtual_time
from tests.support.harness import TOKEN, Network, VirtualClock

SEEDS = 2
SLOTS, SHORTEST_S, LONGEST_S = 10, 90.0, 180.0
BATCH, SMALL_USERS, EACH = 40, 19, 2
TRIES = 6  # after which an agent tells its user that it failed, as the vendor's own client does
ALL = BATCH + SMALL_USERS * EACH
LONGEST_RUN_S = 7_200.0


@dataclass
class Run:
    """What came of all orders; times in seconds since each was wished for."""

    given_up: int = 0
    given_up_small: int = 0
    calls: int = 0
    posts: int = 0
    small_s: list[float] = field(default_factory=list)
    batch_s: list[float] = field(default_factory=list)


async def simulate(folder: Path, seed: int, *, queue: bool, is_fair: bool = True) -> Run:
    """One run; without a fair queue all orders are one user's, so that the oldest is next."""
    dice, clock, run = random.Random(seed), VirtualClock(), Run()  # noqa: S311 - no secret
    conditions = Conditions(slots=SLOTS, takes_s=lambda: dice.uniform(SHORTEST_S, LONGEST_S))
    sandbox = Sandbox(now=clock.now, conditions=conditions)
    network = Network(sandbox)
    settings = Settings.read(
        {
            "USEAPI_TOKEN": TOKEN,
            "USEAPI_OUTPUT_DIR": str(folder / "output"),
            "USEAPI_STATE_DIR": str(folder / "state"),
            "USEAPI_QUEUE_SECONDS": str(LONGEST_RUN_S) if queue else "",
            "USEAPI_MAX_QUEUED": str(ALL),
        }
    )
    wishes = [("batch", dice.uniform(0, 20)) for _ in range(BATCH)]
    wishes += [(f"user {n % SMALL_USERS}", dice.uniform(0, 600)) for n in range(ALL - BATCH)]
    born: dict[str, tuple[str, float]] = {}

    async def order(app: AppContext, number: int, user: str, at_s: float) -> None:
        await clock.sleep(at_s)
        prompt = f"cat {number}"
        born[prompt] = (user, clock.now())
        jobs = app.all_jobs.of(Caller(user if is_fair else ""))
        wish = service_named("pixverse").order("generate_video", prompt, {"account": EMAIL}, {})
        for _ in range(TRIES):
            run.calls += 1
            try:
                await jobs.submit(wish)
            except RateLimitError:
                await clock.sleep(dice.uniform(10, 30))
            else:
                return
        run.given_up += 1
        run.given_up_small += user != "batch"

    async with open_app(settings, clock, network) as app:
        await asyncio.gather(*(order(app, n, *wish) for n, wish in enumerate(wishes)))
        async with asyncio.timeout(LONGEST_RUN_S):
            while len(sandbox.accepted) + run.given_up < ALL:
                await clock.sleep(5)
    run.posts = sum(request.method == "POST" for request in network.sent)
    for made in sandbox.accepted:
        user, at = born[str(made.body["prompt"])]
        (run.batch_s if user == "batch" else run.small_s).append(made.at - at)
    return run


async def simulate_all(folder: Path, *, queue: bool, is_fair: bool = True) -> list[Run]:
    return [
        await simulate(folder / str(seed), seed, queue=queue, is_fair=is_fair)
        for seed in range(SEEDS)
    ]


def measure() -> list[Figure]:
    """Given up, calls to submit, and how long the users with few orders and the batch wait."""
    with peers.folder() as folder:
        retried = virtual_time.run(simulate_all(folder / "retry", queue=False))
        oldest = virtual_time.run(simulate_all(folder / "oldest", queue=True, is_fair=False))
        fair = virtual_time.run(simulate_all(folder / "fair", queue=True))
    figures = []
    for name, runs in (("429", retried), ("queue, oldest first", oldest), ("queue", fair)):
        is_ours = name == "queue"
        small = [quantiles(run.small_s, n=20) for run in runs]
        figures += [
            Figure(
                f"{name}: given up of {ALL} orders",
                "orders",
                tuple(run.given_up for run in runs),
                most=0 if is_ours else None,
            ),
            Figure(f"{name}: calls to submit", "calls", tuple(run.calls for run in runs)),
            Figure(
                f"{name}: paid requests sent",
                "requests",
                tuple(run.posts for run in runs),
                most=ALL if is_ours else None,
            ),
            Figure(f"{name}: small users wait, p50", "s", tuple(each[9] for each in small)),
            Figure(f"{name}: small users wait, p95", "s", tuple(each[18] for each in small)),
            Figure(f"{name}: last of the batch", "s", tuple(max(run.batch_s) for run in runs)),
        ]
    return figures
