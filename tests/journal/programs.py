"""Other processes that use a journal: programs for `python -c`, killed when a test ends."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

HOLDER = """
import asyncio, sys
from pathlib import Path
from mcp_server.clock import Clock
from tests.journal.engines import ENGINES
async def main():
    store = ENGINES[sys.argv[1]].store(Path(sys.argv[2]), Clock())
    print(*[await store.claim(key) for key in sys.argv[3:]], flush=True)
    sys.stdin.readline()
    await store.close()
    print("closed", flush=True)
    sys.stdin.readline()
asyncio.run(main())
"""
"""Claims keys and says which it got; after a line it closes, after another it ends."""


@contextmanager
def process(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Another Python that runs `program`; it is killed when the block is left.

    Nothing measures its coverage: what it leaves when it is killed could not be read.
    """
    measuring = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
    child = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name not in measuring},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def go(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


def others_get(engine: str, folder: Path, *keys: str) -> str:
    """Which of these keys another process can claim."""
    with process(HOLDER, engine, folder, *keys) as other:
        return line(other)
