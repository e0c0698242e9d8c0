"""Our server as a process on a real port: what virtual time and memory can't show."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import httpx2
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.types import Message, Receive, Scope, Send

from mcp_server.sandbox.app import Sandbox
from tests.support.limits import LONGEST_S

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Served:
    """A server that runs, and what it wrote to stderr."""

    url: str
    token: str
    process: subprocess.Popen[bytes]
    errors: Path

    @property
    def origin(self) -> str:
        return self.url.removesuffix("/mcp")

    @property
    def headers(self) -> dict[str, str]:
        """What a client of 2025-11-25 sends, as far as it is the same for all requests."""
        return {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/json, text/event-stream",
            "Mcp-Protocol-Version": "2025-11-25",
        }

    def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """A tool's answer, by one plain request: legacy clients are served without sessions."""
        body = request("tools/call", name=tool, arguments=arguments)
        answer = httpx.post(self.url, json=body, headers=self.headers, timeout=LONGEST_S)
        return result(answer)

    @contextlib.asynccontextmanager
    async def client(
        self, mode: Literal["auto", "legacy"] = "auto", **options: Any
    ) -> AsyncIterator[Client]:
        """The official client, connected."""
        authorization = {"Authorization": f"Bearer {self.token}"}
        async with httpx2.AsyncClient(headers=authorization, timeout=LONGEST_S) as http:
            transport = streamable_http_client(self.url, http_client=http)
            async with Client(transport, mode=mode, **options) as client:
                yield client

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a stop signal; the exit code, or an error if it takes longer than it may."""
        self.process.send_signal(number)
        return self.process.wait(LONGEST_S)


def free_port() -> int:
    """A port that nobody serves now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def request(method: str, /, number: int = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def result(answer: httpx.Response) -> dict[str, Any]:
    """The result in an event-stream or JSON answer."""
    return dict(message(answer)["result"])


def message(answer: httpx.Response) -> dict[str, Any]:
    """The last JSON-RPC message of an answer."""
    if answer.headers["content-type"].startswith("application/json"):
        return dict(answer.json())
    lines = [line for line in answer.text.splitlines() if line.startswith("data: {")]
    return dict(json.loads(lines[-1].removeprefix("data: ")))


@contextlib.contextmanager
def http_server(folder: Path, *options: str, **environment: str) -> Iterator[Served]:
    """`useapi-mcp --sandbox http`, or without the sandbox if USEAPI_BASE_URL is given."""
    sandbox = [] if "USEAPI_BASE_URL" in environment else ["--sandbox"]
    command = ["-m", "mcp_server", *sandbox, "http", "--port", "0", *options]
    with _process(folder, command, environment) as (process, errors):
        url = _wait_for(process, errors, r"Serving MCP at (\S+)")
        made = re.search(r"Bearer (\S+)", errors.read_text())
        token = made[1] if made else environment.get("USEAPI_HTTP_TOKEN", "")
        yield Served(url, token, process, errors)


@contextlib.contextmanager
def workers(folder: Path, number: int, **environment: str) -> Iterator[Served]:
    """Several workers behind one port, as uvicorn runs them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = ["-m", "uvicorn", "--factory", "mcp_server.cli.main:http_worker", "--port", str(port)]
    command += ["--workers", str(number), "--timeout-graceful-shutdown", "3"]
    command += ["--http", "mcp_server.http.protocol:LimitedProtocol", "--backlog", "128"]
    with _process(folder, command, environment) as (process, errors):
        url = f"http://127.0.0.1:{port}/mcp"
        deadline = time.monotonic() + LONGEST_S
        while errors.read_text().count("startup complete") < number:
            assert process.poll() is None, errors.read_text()
            assert time.monotonic() < deadline, errors.read_text()
            time.sleep(0.05)
        yield Served(url, environment["USEAPI_HTTP_TOKEN"], process, errors)


def run_to_the_end(
    folder: Path, options: Sequence[str], **environment: str
) -> subprocess.CompletedProcess[str]:
    """A start of `useapi-mcp http` that is refused."""
    return subprocess.run(
        [sys.executable, "-m", "mcp_server", "http", "--port", "0", *options],
        cwd=ROOT,
        env=_environment(folder, environment),
        capture_output=True,
        encoding="utf-8",
        timeout=LONGEST_S,
        check=False,
    )


def rows(folder: Path) -> list[tuple[Any, ...]]:
    """State, the vendor's id and the number of POSTs of each submission in the journal."""
    with contextlib.closing(sqlite3.connect(folder / "state" / "journal.sqlite")) as journal:
        return list(journal.execute("select state, job_id, posts from submission"))


@dataclass
class Vendor:
    """The sandbox in the vendor's place, slow at will.

    Attributes:
        posts: how many paid requests came.
        called: the statuses that its webhooks were answered with.
    """

    url: str
    posts: int = 0
    called: list[int] = field(default_factory=list)

    def wait_for_a_call(self) -> None:
        """Wait until a webhook was answered."""
        deadline = time.monotonic() + LONGEST_S
        while not self.called:
            assert time.monotonic() < deadline, "no webhook was answered"
            time.sleep(0.01)

    def wait_for_a_post(self) -> None:
        deadline = time.monotonic() + LONGEST_S
        while not self.posts:
            assert time.monotonic() < deadline, "no paid request came"
            time.sleep(0.01)


@contextlib.contextmanager
def vendor(
    post_takes_s: float = 0, job_seconds: float = 0, *, calls_back: bool = False
) -> Iterator[Vendor]:
    """A vendor on a port of this machine, in a thread of this process."""

    async def call(url: str, body: bytes) -> None:
        async with httpx.AsyncClient(timeout=LONGEST_S) as http:
            here.called.append((await http.post(url, content=body)).status_code)

    sandbox = Sandbox(job_seconds=job_seconds, now=time.time, post=call if calls_back else None)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            return await sandbox(scope, receive, send)
        answer: list[Message] = []

        async def keep(part: Message) -> None:
            answer.append(part)

        await sandbox(scope, receive, keep)
        here.posts += 1
        await asyncio.sleep(post_takes_s)
        for part in answer:
            await send(part)
        return None

    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = Vendor(f"http://127.0.0.1:{listener.getsockname()[1]}")
        config = uvicorn.Config(
            slow, lifespan="off", log_config=None, access_log=False, date_header=False
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield here
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


@contextlib.contextmanager
def _process(
    folder: Path, command: list[str], environment: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    folder.mkdir(parents=True, exist_ok=True)
    errors = folder / "stderr"
    with (
        errors.open("w") as said,
        subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=_environment(folder, environment),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        ) as process,
    ):
        try:
            yield process, errors
        finally:
            process.terminate()
            try:
                process.wait(LONGEST_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _environment(folder: Path, ours: dict[str, str]) -> dict[str, str]:
    inherited = {n: value for n, value in os.environ.items() if not n.startswith("USEAPI_")}
    folders = {
        "USEAPI_STATE_DIR": str(folder / "state"),
        "USEAPI_OUTPUT_DIR": str(folder / "output"),
    }
    return inherited | folders | ours


def _wait_for(process: subprocess.Popen[bytes], errors: Path, pattern: str) -> str:
    deadline = time.monotonic() + LONGEST_S
    while not (found := re.search(pattern, errors.read_text())):
        assert process.poll() is None, errors.read_text()
        assert time.monotonic() < deadline, errors.read_text()
        time.sleep(0.02)
    return found[1]
