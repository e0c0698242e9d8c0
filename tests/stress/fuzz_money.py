"""`make money`: the state machine of tests/jobs/test_money.py, seed after seed.

Each seed is printed before it runs; `--seed` begins with that one.
"""

import argparse
import random
import sys
import time
import traceback

from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.jobs.test_money import STEPS, Money

EXAMPLES, LENGTH = 100, 100  # runs of the machine with one seed, and the steps of each


def run(number: int, *, shrink: bool) -> None:
    """Run the machine with one seed.

    Raises:
        AssertionError: money was lost; Hypothesis prints the steps that led there.
    """
    machine = seed(number)(type("Money", (Money,), {}))
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    run_state_machine_as_test(
        machine,
        settings=settings(
            Money.TestCase.settings,
            max_examples=EXAMPLES,
            stateful_step_count=LENGTH,
            derandomize=False,
            phases=phases,
            database=None,
        ),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the state machine, seed after seed.")
    parser.add_argument("--steps", type=int, default=200_000, help="stop after so many steps")
    parser.add_argument("--minutes", type=float, default=30, help="or after so much time")
    parser.add_argument("--seed", type=int, help="the first seed; the others follow it")
    parser.add_argument("--shrink", action="store_true", help="look for the shortest way to fail")
    given = parser.parse_args()
    first = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
    began, number = time.monotonic(), first
    while True:
        print(f"seed {number}", end=" ", flush=True)
        try:
            run(number, shrink=given.shrink)
        except Exception:  # noqa: BLE001 - whatever it is, the seed has failed
            traceback.print_exc()
            print(f"money: {number - first} passed, 1 failed")
            return 1
        minutes = (time.monotonic() - began) / 60
        print(f"{STEPS['steps']} steps in {minutes:.1f} min", flush=True)
        if STEPS["steps"] >= given.steps or minutes >= given.minutes:
            break
        number += 1
    print(", ".join(f"{what} {count}" for what, count in STEPS.most_common()))
    print(f"money: {number + 1 - first} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
