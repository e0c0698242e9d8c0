"""The Inspector's command line: a process for each call, so its stdio server has a lasting sandbox.

A modern one declares tasks: it follows a job as a task, and its end is the tool's answer.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from story import COMMAND, GIVEN, HEADERS, URL, Answer, tell

ERA = ["--protocol-era", GIVEN["option"]]


def inspect(server: list[str], *arguments: str) -> dict[str, Any]:
    """What the Inspector prints; a refused call ends it with code 5."""
    command = [*GIVEN["inspector"], "--cli", *server, *ERA, *arguments, "--format", "json"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode in (0, 5), (done.returncode, done.stdout, done.stderr)
    return dict(json.loads(done.stdout)["result"])


@contextlib.contextmanager
def lasting_sandbox() -> Iterator[list[str]]:
    """The server over stdio without a sandbox of its own, on one that outlives it."""
    assert COMMAND is not None
    alone = subprocess.Popen(
        [COMMAND[-2], "sandbox", "--port", "0"], stdout=subprocess.PIPE, encoding="utf-8"
    )
    with alone, tempfile.TemporaryDirectory() as folder:
        try:
            assert alone.stdout is not None
            settings = {
                "USEAPI_TOKEN": "user:0-interop",
                "USEAPI_BASE_URL": alone.stdout.readline().partition(" at ")[2].split()[0],
                "USEAPI_STATE_DIR": str(Path(folder, "state")),
                "USEAPI_OUTPUT_DIR": str(Path(folder, "output")),
                "PATH": os.environ["PATH"],
            }
            given = [part for pair in settings.items() for part in ("-e", "=".join(pair))]
            yield [*given, *COMMAND[:-1]]
        finally:
            alone.terminate()


async def main() -> None:
    with contextlib.ExitStack() as stack:
        over_http = ["--server-url", URL, "--transport", "http"]
        over_http += ["--header", f"Authorization: {HEADERS['Authorization']}"]
        server = stack.enter_context(lasting_sandbox()) if COMMAND else over_http

        async def call(name: str, arguments: dict[str, Any]) -> Answer:
            method = ["--method", "tools/call", "--tool-name", name]
            given = ["--tool-args-json", json.dumps(arguments)]
            result = inspect(server, *method, *given)
            text = result["content"][0]["text"]
            return Answer(text, result.get("structuredContent"), bool(result.get("isError")))

        # --strict: a schema that some models misread is an error.
        listed = inspect(COMMAND or server, "--method", "tools/list", "--strict")
        await tell((tool["name"] for tool in listed["tools"]), call)


asyncio.run(main())
