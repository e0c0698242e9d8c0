"""How long a client waits for the first `tools/list` over stdio, ours beside a bare SDK server.

Run: .venv/bin/python benchmarks/startup.py
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 10
LONGEST_ANSWER_S = 30

BARE = """
from mcp.server import MCPServer

server = MCPServer("bare")


@server.tool()
def upscale_video(source: str) -> str:
    return source


server.run()
"""

OWN_IMPORTS = """
import time

import mcp.server

before = time.perf_counter()
import mcp_server.server.factory

print((time.perf_counter() - before) * 1000)
"""

ASK = [
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "benchmark", "version": "1"},
        },
    },
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
]


def main() -> None:
    """Measure in turns, so that a busy moment of the machine hits both alike."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder, "bare.py")
        bare.write_text(BARE, encoding="utf-8")
        commands = {
            "bare SDK, one tool": [sys.executable, str(bare)],
            "useapi-mcp": [sys.executable, "-m", "mcp_server"],
        }
        environment = {**os.environ, "USEAPI_STATE_DIR": folder, "USEAPI_OUTPUT_DIR": folder}
        for command in commands.values():  # once for nothing: compiles and warms the disk's cache
            start_up_ms(command, environment)
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                taken[name].append(start_up_ms(command, environment))
        own_ms = [own_imports_ms(environment) for _ in range(ROUNDS)]

    print(
        f"From spawn to the answer of tools/list over stdio, in ms ({ROUNDS} rounds each, in turns)"
    )
    print(f"{'':20} {'median':>8} {'fastest':>8} {'slowest':>8}")
    for name, times in taken.items():
        print(f"{name:20} {statistics.median(times):8.0f} {min(times):8.0f} {max(times):8.0f}")
    ours, theirs = (
        statistics.median(taken["useapi-mcp"]),
        statistics.median(taken["bare SDK, one tool"]),
    )
    print(f"ratio of the medians {ours / theirs:7.2f}")
    print(f"our own imports      {statistics.median(own_ms):7.0f} (all beyond `import mcp.server`)")


def start_up_ms(command: list[str], environment: dict[str, str]) -> float:
    """Milliseconds from starting the process to its list of tools."""
    begun = time.perf_counter()
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        encoding="utf-8",
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.writelines(json.dumps(message) + "\n" for message in ASK[:1])
        process.stdin.flush()
        process.stdout.readline()
        process.stdin.writelines(json.dumps(message) + "\n" for message in ASK[1:])
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        taken_ms = (time.perf_counter() - begun) * 1000
        process.stdin.close()
        try:
            process.wait(LONGEST_ANSWER_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    if not answer["result"]["tools"]:
        raise SystemExit(f"{command} lists no tools: {answer}")
    return taken_ms


def own_imports_ms(environment: dict[str, str]) -> float:
    """Milliseconds our modules, and what only they need, add to those of the SDK."""
    done = subprocess.run(
        [sys.executable, "-c", OWN_IMPORTS],
        env=environment,
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    return float(done.stdout)


if __name__ == "__main__":
    main()
