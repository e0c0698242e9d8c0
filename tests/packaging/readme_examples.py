"""`make examples`: README's code for agent frameworks runs as it stands, in the sandbox.

The model is a stand-in: it calls `upscale_video`, then repeats what the tool answered. `uvx` is
a stand-in too, for what it would download is not published yet: it starts this very source.
"""

import http.server
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mcp_server.sandbox.app import SOURCES
from tests.packaging.test_documents import README, blocks
from tests.support.environments import NodeEnvironment, PythonEnvironment
from tests.support.limits import LONGEST_S

SOURCE = next(s.id for s in SOURCES if s.good and (s.service, s.kind) == ("dreamina", "video"))
PYTHON = {  # in README's order; the first block needs nothing but us
    "agents": ("openai-agents==0.24.0",),
    "langchain": ("langchain==1.4.7", "langchain-openai==1.7.3", "langchain-mcp-adapters==0.3.2"),
    "pydantic_ai": ("pydantic-ai-slim[mcp,openai]==2.68.0",),
}
SDK = ("@modelcontextprotocol/sdk@1.32.2",)


class Model(http.server.BaseHTTPRequestHandler):
    """The two ways of asking an OpenAI model, of which each framework uses one."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_response = self.path.endswith("/responses")
        body = json.dumps((_response if is_response else _completion)(asked)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: what the examples print is what counts."""


CALL = {"name": "upscale_video", "arguments": json.dumps({"source": SOURCE})}


def _response(asked: dict[str, Any]) -> dict[str, Any]:
    answers = [item for item in asked["input"] if item.get("type") == "function_call_output"]
    said = {"type": "output_text", "text": str(answers), "annotations": []}
    spoken = {"type": "message", "id": "m", "role": "assistant", "content": [said]}
    called = {"type": "function_call", "id": "f", "call_id": "c", **CALL}
    return {
        "id": "r",
        "object": "response",
        "created_at": 1,
        "model": asked["model"],
        "status": "completed",
        "output": [{**(spoken if answers else called), "status": "completed"}],
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
    }


def _completion(asked: dict[str, Any]) -> dict[str, Any]:
    answers = [message for message in asked["messages"] if message["role"] == "tool"]
    spoken = {"role": "assistant", "content": str(answers)}
    called = {
        "role": "assistant",
        "tool_calls": [{"id": "c", "type": "function", "function": CALL}],
    }
    why = "stop" if answers else "tool_calls"
    return {
        "id": "r",
        "object": "chat.completion",
        "created": 1,
        "model": asked["model"],
        "choices": [{"index": 0, "finish_reason": why, "message": spoken if answers else called}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


@contextmanager
def model() -> Iterator[str]:
    """Serve the stand-in; gives its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def run(command: list[str], file: Path, text: str, env: dict[str, str]) -> bool:
    """Run an example; whether it did the job."""
    file.write_text(text, "utf-8")
    done = subprocess.run(
        [*command, str(file)],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=LONGEST_S,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    # The saved file, a link to the result, or what the tool answered: the letter is an upscale's.
    is_saved = bool(lines) and os.path.isfile(lines[-1])  # noqa: PTH113 - a Path may be too long
    is_told = "/media/" in done.stdout or "V-u12345-CA:" in done.stdout
    is_good = done.returncode == 0 and (is_saved or is_told)
    if not is_good:
        print(f"{text}\nended with {done.returncode}:\n{done.stdout}{done.stderr}", flush=True)
    else:
        print(f"{file.stem:<14} {lines[-1][:110]}", flush=True)
    return is_good


def main() -> int:
    results = []
    first, *examples, _ = blocks(README, "python")  # the last needs a server
    with tempfile.TemporaryDirectory() as name, model() as address:
        folder = Path(name)
        uvx = folder / "uvx"
        uvx.write_text(f'#!/bin/sh\nshift\nexec {shlex.quote(sys.executable)} -m mcp_server "$@"\n')
        uvx.chmod(0o755)
        env = {n: v for n, v in os.environ.items() if not n.startswith(("USEAPI_", "OPENAI_"))} | {
            "PATH": os.pathsep.join([name, os.environ["PATH"]]),
            "PYTHONPATH": str(README.parent),
            "HOME": name,  # its downloads folder is where their files go
            "OPENAI_BASE_URL": address,
            "OPENAI_API_KEY": "none",
            "OPENAI_AGENTS_DISABLE_TRACING": "1",
        }
        results.append(run([sys.executable], folder / "mcp_sdk.py", first, env))
        for (imported, pins), text in zip(PYTHON.items(), examples, strict=True):
            assert imported in text
            python = PythonEnvironment(f"readme-{imported}", pins)
            python.make()
            results.append(run([str(python.python)], folder / f"with_{imported}.py", text, env))
        node = NodeEnvironment("readme-typescript", SDK)
        node.make()
        (script,) = blocks(README, "js")
        command = node.script("x")[:1]
        results.append(run(command, node.folder / "readme.mjs", script, env))
    print(f"examples: {sum(results)} passed, {len(results) - sum(results)} failed")
    return int(not all(results))


if __name__ == "__main__":
    sys.exit(main())
