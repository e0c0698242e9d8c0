"""`make fuzz`: the money machine of tests/jobs/test_money.py, seed after seed, two at a time.

One line a seed: its steps and how it went; a failure tells what is wrong and by which steps. At the
end the figures: paid requests, jobs accepted, how each was known, and why what is unconfirmed is.
`--seed` begins with that one; the same seed takes the same steps.
"""

import argparse
import random
import sys
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context

from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.jobs.test_money import STEPS, Money
from tests.support.money_oracle import KNOWN

EXAMPLES, STEPS_EACH = 60, 50
"""Runs of the machine with one seed, and the steps of each."""


@dataclass(frozen=True)
class Result:
    """How one seed went; `wrong` is what Hypothesis tells of the failure."""

    number: int
    steps: Counter[str]
    known: Counter[str]
    seconds: float
    wrong: str | None


def run(number: int, *, shrink: bool = False) -> Result:
    """Run the machine with one seed."""
    STEPS.clear()
    KNOWN.clear()
    began, wrong = time.monotonic(), None
    machine = seed(number)(type("Money", (Money,), {}))
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    chosen = settings(
        Money.TestCase.settings,
        max_examples=EXAMPLES,
        stateful_step_count=STEPS_EACH,
        phases=phases,
    )
    try:
        run_state_machine_as_test(machine, settings=chosen)
    except Exception as error:  # noqa: BLE001 - whatever it is, this seed failed
        steps = "\n".join(getattr(error, "__notes__", []))
        told = [line for line in steps.splitlines() if "state.nothing_is" not in line]
        wrong = "\n".join([f"{type(error).__name__}: {error}", *told])
    return Result(number, STEPS.copy(), KNOWN.copy(), time.monotonic() - began, wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the money machine, seed after seed.")
    parser.add_argument("--steps", type=int, default=200_000, help="stop after so many steps")
    parser.add_argument("--minutes", type=float, default=30, help="or after so much time")
    parser.add_argument("--seed", type=int, help="the first seed; the others follow it")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes")
    parser.add_argument("--shrink", action="store_true", help="look for the shortest way to fail")
    given = parser.parse_args()
    first = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
    began, number, steps = time.monotonic(), first, Counter[str]()
    known, results = Counter[str](), list[Result]()
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        under_way = set[Future[Result]]()
        while True:
            is_over = time.monotonic() - began >= 60 * given.minutes
            while len(under_way) < given.jobs and not is_over and steps["steps"] < given.steps:
                under_way.add(pool.submit(run, number, shrink=given.shrink))
                number += 1
            if not under_way:
                break
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for result in (work.result() for work in done):
                results.append(result)
                steps += result.steps
                known += result.known
                how = "passed" if result.wrong is None else f"FAILED\n{result.wrong}"
                about = f"{result.steps['steps']} steps in {result.seconds:.0f} s"
                print(f"seed {result.number}: {about}: {how}", flush=True)
    for title, figures in (("taken", steps), ("jobs of ours", known)):
        print(f"{title}: " + ", ".join(f"{what} {n}" for what, n in figures.most_common()))
    wrong = [result.wrong for result in results if result.wrong is not None]
    for word in ("paid for twice", "lost:"):
        print(f"{word.rstrip(':')}: {sum(word in text for text in wrong)} seeds")
    print(f"money: {len(results) - len(wrong)} passed, {len(wrong)} failed")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
