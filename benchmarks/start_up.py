"""How long a host waits for the list of tools, from the start of the process."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Mapping

from benchmarks import peers
from benchmarks.clients import ended_cpu_s, stdio
from benchmarks.figures import Figure

ROUNDS = 15
MOST_RATIO = 1.15

_OWN_IMPORTS = """
import time

import mcp.server

before = time.perf_counter()
import mcp_server.server.factory

print((time.perf_counter() - before) * 1000)
"""


def measure() -> list[Figure]:
    """From spawn to the answer of `tools/list`, in turns with a server on the bare SDK."""
    with peers.folder() as folder:
        environment = peers.environment(folder, "http://127.0.0.1:9")
        commands = peers.ours_stdio(), peers.bare_stdio()
        taken_ms: tuple[list[float], list[float]] = ([], [])
        used_ms: tuple[list[float], list[float]] = ([], [])
        for number in range(ROUNDS + 1):
            for command, taken, used in zip(commands, taken_ms, used_ms, strict=True):
                before_s = ended_cpu_s()
                one_ms = asyncio.run(_to_the_list_ms(command, environment))
                if number:  # the first one compiled everything, and warmed the disk's cache
                    taken.append(one_ms)
                    used.append((ended_cpu_s() - before_s) * 1e3)
        own_ms = tuple(_own_imports_ms(environment) for _ in range(ROUNDS))
    ours, bare = taken_ms
    return [
        Figure(
            "spawn to `tools/list`, stdio",
            "ms",
            tuple(ours),
            tuple(bare),
            "bare SDK, one tool",
            most=MOST_RATIO,
        ),
        Figure(
            "processor for that", "ms", tuple(used_ms[0]), tuple(used_ms[1]), "bare SDK, one tool"
        ),
        Figure("our imports beyond `import mcp.server`", "ms", own_ms),
    ]


async def _to_the_list_ms(command: list[str], environment: Mapping[str, str]) -> float:
    begun = time.perf_counter()
    async with stdio(command, environment) as client:
        listed = await client.ask("tools/list")
        taken_ms = (time.perf_counter() - begun) * 1e3
        assert listed["tools"]
    return taken_ms


def _own_imports_ms(environment: Mapping[str, str]) -> float:
    command = [sys.executable, "-c", _OWN_IMPORTS]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    return float(done.stdout)
