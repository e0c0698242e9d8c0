"""`make bench`: every figure in one table, and in build/bench.json; `NAMES=calls` takes some."""

import sys
import time
from pathlib import Path

from benchmarks import (
    answers,
    calls,
    journal,
    memory,
    queue,
    start_up,
    team,
    transfers,
    uploads,
    waiting,
)
from benchmarks.figures import Figure, table, write

MEASUREMENTS = {
    "start_up": start_up.measure,
    "calls": calls.measure,
    "memory": memory.measure,
    "transfers": transfers.measure,
    "uploads": uploads.measure,
    "answers": answers.measure,
    "journal": journal.measure,
    "team": team.measure,
    "waiting": waiting.measure,
    "queue": queue.measure,
}
_JSON = Path(__file__).parents[1] / "build" / "bench.json"


def main(names: list[str]) -> int:
    if unknown := set(names) - set(MEASUREMENTS):
        print(f"bench: no {', '.join(unknown)}; there are: {', '.join(MEASUREMENTS)}")
        return 2
    figures: list[Figure] = []
    for name in names or MEASUREMENTS:
        begun = time.monotonic()
        figures += MEASUREMENTS[name]()
        print(f"bench: {name} took {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    print(table(figures))
    write(figures, _JSON)
    missed = [figure.what for figure in figures if figure.is_good is False]
    print(f"bench: {len(figures)} figures, {len(missed)} missed what is wanted; all in {_JSON}")
    return 0


if __name__ == "__main__":
    if not Path("/proc/self/statm").exists():
        raise SystemExit("bench: only on Linux, where /proc tells memory and processor time")
    raise SystemExit(main(sys.argv[1:]))
