"""`make fuzz`: the money machine of tests/jobs/test_money.py, seed after seed.

A seed is told before it runs; `--seed` runs that one first.
"""

import argparse
import random
import sys
import time

from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.jobs.test_money import STEPS, Money

EXAMPLES = 100
"""Runs of the machine with one seed: some ten thousand steps."""


def run(number: int, *, shrink: bool) -> None:
    """Run the machine with one seed.

    Raises:
        AssertionError: money was lost; Hypothesis tells by which steps.
    """
    machine = seed(number)(type("Money", (Money,), {}))
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    run_state_machine_as_test(
        machine,
        settings=settings(
            Money.TestCase.settings, max_examples=EXAMPLES, phases=phases, database=None
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs the money machine, seed after seed.")
    parser.add_argument("--steps", type=int, default=200_000, help="stop after so many steps")
    parser.add_argument("--minutes", type=float, default=30, help="or after so much time")
    parser.add_argument("--seed", type=int, help="the first seed; the others follow it")
    parser.add_argument("--shrink", action="store_true", help="look for the shortest way to fail")
    given = parser.parse_args()
    first = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
    began, number = time.monotonic(), first
    while True:
        print(f"seed {number}", end=" ", flush=True)
        run(number, shrink=given.shrink)
        minutes = (time.monotonic() - began) / 60
        print(f"{STEPS['steps']} steps in {minutes:.1f} min", flush=True)
        if STEPS["steps"] >= given.steps or minutes >= given.minutes:
            break
        number += 1
    print(", ".join(f"{what} {count}" for what, count in STEPS.most_common()), file=sys.stderr)


if __name__ == "__main__":
    main()
