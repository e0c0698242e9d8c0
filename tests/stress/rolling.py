"""`make rolling`: servers behind HAProxy are restarted one after the other, and no call fails.

Thirty callers pay for jobs, wait for them and list them, while each server in turn is stopped by
SIGTERM and started anew, as Kubernetes or a deployment script does it. A job of the sandbox takes
longer than a restart, so calls wait whenever one comes. No call may fail, and no order may reach
the vendor twice. HAProxy, which would send a call that failed to another server, makes no second
try here: each failure is seen.

With `--database postgres` the servers share a database, and no folder; else they share a folder.
"""

import argparse
import asyncio
import collections
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from mcp_server.sandbox.app import Sandbox
from tests.support import postgres
from tests.support.harness import TOKEN
from tests.support.limits import LONGEST_S
from tests.support.serving import ROOT, request, result

HTTP_TOKEN = "the-token-all-servers-share"
JOB_S = 20.0  # longer than a restart
WAIT_S = 15
PAUSE_S = 2.0  # until HAProxy sends calls to a server that has come back

HAPROXY = ROOT / "deploy" / "haproxy.cfg"


@dataclass
class Counted:
    """What the callers saw, and what the vendor was sent."""

    calls: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)
    posts: collections.Counter[str] = field(default_factory=collections.Counter)  # by prompt
    paid: set[str] = field(default_factory=set)  # the prompts of the calls that were answered


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on; a server that comes back needs the one it had.

    They are below those that a system gives to connections and to whoever asks for any port.
    """
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), 1000):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == number:
            break
    return found


class _Guest(uvicorn.Server):
    """Installs no signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def vendor(port: int, counted: Counted) -> AsyncIterator[str]:
    """The sandbox in the vendor's place, which counts what is ordered of it."""
    sandbox = Sandbox(job_seconds=JOB_S, now=time.time)

    async def counting(scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()

        async def receive_and_keep() -> Message:
            part = await receive()
            body.extend(part.get("body", b""))
            return part

        await sandbox(scope, receive_and_keep, send)
        if scope["method"] == "POST":
            counted.posts[json.loads(body)["prompt"]] += 1

    config = uvicorn.Config(
        counting, port=port, lifespan="off", log_config=None, access_log=False, date_header=False
    )
    server = _Guest(config)
    serving = asyncio.create_task(server.serve())
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = server.force_exit = True
        await serving


@dataclass
class Replica:
    """One of the servers, and how it was ended each time."""

    port: int
    proxy_port: int
    folder: Path
    vendor: str
    database: str  # its address; empty: the journal is in the folder
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.port}.log"

    def start(self) -> None:
        own = {name: text for name, text in os.environ.items() if not name.startswith("USEAPI_")}
        state = self.folder / "state"
        if self.database:
            own["USEAPI_DATABASE_URL"] = self.database
            state = self.folder / f"state-{self.port}"
        own |= {
            "USEAPI_TOKEN": TOKEN,
            "USEAPI_BASE_URL": self.vendor,
            "USEAPI_HTTP_TOKEN": HTTP_TOKEN,
            "USEAPI_STATE_DIR": str(state),
            "USEAPI_OUTPUT_DIR": str(self.folder / "output"),
        }
        command = [sys.executable, "-m", "mcp_server", "http", "--port", str(self.port)]
        command += ["--allowed-host", f"127.0.0.1:{self.proxy_port}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=own, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    async def stop(self) -> int:
        """The exit code after a SIGTERM; as of a kill where it takes longer than it may."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + LONGEST_S
        while self.process.poll() is None and time.monotonic() < deadline:  # noqa: ASYNC110 - a process
            await asyncio.sleep(0.1)
        return self.kill()

    def kill(self) -> int:
        if self.process is None:
            return 0
        self.process.kill()
        return self.process.wait()

    async def ready(self, http: httpx.AsyncClient) -> None:
        deadline = time.monotonic() + LONGEST_S
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                answer = await http.get(f"http://127.0.0.1:{self.port}/readyz")
                if answer.status_code == httpx.codes.OK:
                    return
            await asyncio.sleep(0.1)
        raise AssertionError(f"a server did not start: {self.log.read_text()}")


@contextlib.contextmanager
def proxy(folder: Path, port: int, servers: list[int]) -> Iterator[None]:
    """HAProxy in front of these ports."""
    program = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert program is not None, "HAProxy is not installed"
    lines = [f"  server server{number} 127.0.0.1:{own}" for number, own in enumerate(servers)]
    text = HAPROXY.read_text("utf-8")
    for pattern, ours in (  # what is different on a machine without containers, and in this test
        (r"^resolvers docker\n.*\n", ""),
        (r"^  retries .*\n  option redispatch .*\n  retry-on .*$", "  retries 0"),
        (r"bind :8080", f"bind 127.0.0.1:{port}"),
        (r"Host localhost:8080", f"Host 127.0.0.1:{port}"),
        (r"^  server-template .*$", "\n".join(lines)),
    ):
        text, found = re.subn(pattern, ours, text, flags=re.MULTILINE)
        assert found == 1, pattern
    file = folder / "haproxy.cfg"
    file.write_text(text)
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen([program, "-db", "-f", str(file)], stdout=log, stderr=log)
    try:
        yield
        ended = process.poll()
        assert ended is None, f"HAProxy ended with {ended}: {(folder / 'haproxy.log').read_text()}"
    finally:
        process.kill()
        process.wait()


async def call(http: httpx.AsyncClient, url: str, tool: str, **arguments: Any) -> dict[str, Any]:
    """The data of a tool's answer.

    Raises:
        AssertionError: it was no answer, or an error.
    """
    headers = {
        "Authorization": f"Bearer {HTTP_TOKEN}",
        "Accept": "application/json, text/event-stream",
        "Mcp-Protocol-Version": "2025-11-25",
    }
    body = request("tools/call", name=tool, arguments=arguments)
    answer = await http.post(url, json=body, headers=headers)
    assert answer.status_code == httpx.codes.OK, f"HTTP {answer.status_code}: {answer.text[:100]}"
    assert answer.text.strip(), "an empty answer"
    found = result(answer)
    assert not found.get("isError"), found["content"][0]["text"]
    return dict(found["structuredContent"])


async def caller(
    number: int, http: httpx.AsyncClient, url: str, counted: Counted, stop: asyncio.Event
) -> None:
    """Pay for a job, wait until it ends, list the jobs; until there is enough."""
    for turn in range(10_000):
        prompt = f"Caller {number}, clip {turn}"
        job: dict[str, Any] = {"status": "running"}
        while not stop.is_set():
            tool = "list_jobs"
            arguments: dict[str, Any] = {"limit": 5}
            if "job_id" not in job:
                tool = "generate_video"
                arguments = {"prompt": prompt, "service": "dreamina", "max_credits": 1000}
                arguments["max_jobs"] = 50  # more than there are callers
            elif job["status"] in ("submitting", "running"):
                tool, arguments = "get_job", {"job_id": job["job_id"], "wait_seconds": WAIT_S}
            try:
                answer = await call(http, url, tool, **arguments)
            except (AssertionError, httpx.HTTPError, LookupError, ValueError) as error:
                counted.failures.append(f"{tool}: {type(error).__name__}: {str(error)[:300]}")
                await asyncio.sleep(0.2)
                continue
            counted.calls[tool] += 1
            if tool == "list_jobs":
                break
            job = answer
            counted.paid.add(prompt)
            if job["status"] not in ("submitting", "running", "completed"):
                why = job.get("failure") or job.get("note")
                counted.failures.append(f"{tool}: the job is {job['status']}: {why}")
        if stop.is_set():
            return


async def roll(
    replicas_wanted: int, callers: int, rounds: int, folder: Path, database: str
) -> tuple[int, int]:
    """Restarts that went well, and what went wrong: restarts, calls and orders."""
    counted, stop = Counted(), asyncio.Event()
    vendor_port, proxy_port, *ports = free_ports(2 + replicas_wanted)
    url = f"http://127.0.0.1:{proxy_port}/mcp"
    limits = httpx.Limits(max_connections=None)
    passed = failed = 0
    async with (
        vendor(vendor_port, counted) as origin,
        httpx.AsyncClient(timeout=LONGEST_S, limits=limits) as http,
    ):
        replicas = [Replica(port, proxy_port, folder, origin, database) for port in ports]
        try:
            for replica in replicas:
                replica.start()
            for replica in replicas:
                await replica.ready(http)
            with proxy(folder, proxy_port, ports):
                await asyncio.sleep(PAUSE_S)
                calling = [
                    asyncio.create_task(caller(number, http, url, counted, stop))
                    for number in range(callers)
                ]
                await asyncio.sleep(PAUSE_S)
                for replica in replicas * rounds:
                    before, began_s = len(counted.failures), time.monotonic()
                    code = await replica.stop()
                    stopped_s = time.monotonic() - began_s
                    replica.start()
                    await replica.ready(http)
                    await asyncio.sleep(PAUSE_S)
                    went_well = code == 0 and len(counted.failures) == before
                    passed, failed = passed + went_well, failed + (not went_well)
                    print(
                        f"restart of {replica.port}: exit code {code} after {stopped_s:.1f} s,"
                        f" {len(counted.failures) - before} calls failed",
                        flush=True,
                    )
                stop.set()
                await asyncio.gather(*calling)
        finally:
            for replica in replicas:
                replica.kill()
        tracebacks = [each.port for each in replicas if "Traceback" in each.log.read_text()]
    twice = [prompt for prompt, posts in counted.posts.items() if posts > 1]
    unsent = counted.paid - counted.posts.keys()
    print(f"calls: {sum(counted.calls.values())} {dict(counted.calls)}")
    print(f"failed calls: {len(counted.failures)}")
    for kind, number in collections.Counter(counted.failures).most_common(10):
        print(f"  {number} x {kind}")
    print(f"orders: {len(counted.posts)}, sent twice: {len(twice)}, never sent: {len(unsent)}")
    for port in tracebacks:
        print(f"a traceback in the log of {port}")
    return passed, failed + len(twice) + len(unsent) + len(tracebacks)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--callers", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=1, help="restarts of each server")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        database = ""
        if given.database == "postgres":
            postgres.require("postgresql")
            database = stack.enter_context(postgres.server()).create("journal")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        passed, failed = asyncio.run(
            roll(given.replicas, given.callers, given.rounds, folder, database)
        )
    print(f"rolling: {passed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
