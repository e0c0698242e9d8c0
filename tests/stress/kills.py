"""`make kills`: processes that die in the middle of a submit; no job is paid for twice or lost.

The real process, over stdio, beside a vendor on a real port. Once it was killed, another one on the
same state folder makes the same call again and follows it. A round that fails is tried again with
`--seed S --only METHOD-NUMBER`, which fixes what it does but not how fast the machine is.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import Message, Receive, Scope, Send

from mcp_server.models import OUR_ID_PREFIX
from mcp_server.sandbox.app import Sandbox
from tests.support.harness import GOOD

ROOT = Path(__file__).parents[2]
METHODS = ("SIGKILL", "SIGTERM", "EOF", "cancel")
AT_ONCE = 64  # most rounds wait: for a minute, where an answer was lost
STARTING_AT_ONCE = 2 * (os.cpu_count() or 1)
LONGEST_START_S, LONGEST_CALL_S, LONGEST_STOP_S = 120, 90, 30  # machines of CI are slow
LONGEST_UNCERTAIN_S = 180  # a look a minute after the first process died, one more POST, its looks
LONG_JOB_S = 600.0
FIRST_USER = 100_000  # some numbers below are users with faults


@dataclass(frozen=True)
class Order:
    """A paid call.

    Args:
        refuses_repeats: the vendor refuses or caches the same again, so that it is made for sure.
        listed_for_ever: its job can be found when it has ended, too.
    """

    name: str
    tool: str
    arguments: dict[str, Any]
    refuses_repeats: bool = False
    listed_for_ever: bool = False


_VIDEO, _IMAGE = {"source": GOOD["dreamina", "video"]}, {"source": GOOD["dreamina", "image"]}
_FLOW, _PIXVERSE = (
    {"source": GOOD["google-flow", "video"]},
    {"source": GOOD["pixverse", "video"]},
)
ORDERS = (
    Order("Dreamina video", "upscale_video", _VIDEO, refuses_repeats=True),
    Order("Dreamina 60 fps", "interpolate_video", {**_VIDEO, "fps": 60}, refuses_repeats=True),
    Order("Dreamina image", "upscale_image", {**_IMAGE, "resolution": "8k"}),
    Order("Google Flow 1080p", "upscale_video", _FLOW, True, True),
    Order("Google Flow 4K", "upscale_video", {**_FLOW, "resolution": "4K"}, True, True),
    Order("PixVerse video", "upscale_video", _PIXVERSE, listed_for_ever=True),
)


@dataclass
class Account:
    """One user of the vendor, with a sandbox of their own.

    Args:
        accept_s: how long the first paid request waits before the sandbox sees it.
        answer_s: how long its answer then waits.
    """

    accept_s: float
    answer_s: float
    job_seconds: float
    posts: int = 0
    working: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    decided: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.sandbox = Sandbox(job_seconds=self.job_seconds, now=time.time)

    async def post(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do what was asked once all of it is here, whether or not the caller is still there."""
        body, more = b"", True
        while more:
            part = await receive()
            if part["type"] == "http.disconnect":
                return
            body, more = body + part.get("body", b""), part.get("more_body", False)
        self.posts += 1
        self.working += 1
        self.decided.clear()
        accept_s, answer_s = (self.accept_s, self.answer_s) if self.posts == 1 else (0.1, 0.1)
        self.arrived.set()
        answer: list[Message] = []

        async def given() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def keep(part: Message) -> None:
            answer.append(part)

        try:
            await asyncio.sleep(accept_s)
            await self.sandbox(scope, given, keep)
        finally:
            self.working -= 1
            if not self.working:
                self.decided.set()
        await asyncio.sleep(answer_s)
        for part in answer:
            await send(part)


class Vendor:
    """A sandbox for each user, on one port: the token says whose."""

    def __init__(self) -> None:
        self.url = ""
        self.accounts: dict[str, Account] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        account = self.accounts[dict(scope["headers"])[b"authorization"].decode()]
        serve = account.post if scope["method"] == "POST" else account.sandbox
        await serve(scope, receive, send)


class _Guest(uvicorn.Server):
    """Installs no signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@contextlib.asynccontextmanager
async def running_vendor() -> AsyncIterator[Vendor]:
    vendor = Vendor()
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        vendor.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            vendor, lifespan="off", log_config=None, access_log=False, date_header=False
        )
        server = _Guest(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield vendor
        finally:
            server.should_exit = server.force_exit = True
            await serving


class WrongError(Exception):
    """What may not happen happened."""


@dataclass
class Client:
    """A host's end of one of our processes: JSON-RPC, a line a message."""

    process: Process
    number: int = 0

    async def begin(self, method: str, **params: Any) -> int:
        """Send a request and leave its answer unread."""
        self.number += 1
        await self._write(id=self.number, method=method, params=params)
        return self.number

    async def tell(self, method: str, **params: Any) -> None:
        await self._write(method=method, params=params)

    async def ask(self, method: str, longest_s: float = LONGEST_CALL_S, **params: Any) -> Any:
        number = await self.begin(method, **params)
        try:
            async with asyncio.timeout(longest_s):
                while True:
                    assert self.process.stdout
                    line = await self.process.stdout.readline()
                    if not line:
                        raise WrongError(f"the process ended during {method}")
                    message = json.loads(line)
                    if message.get("id") == number:
                        break
        except TimeoutError:
            raise WrongError(f"{method} took more than {longest_s:.0f} s") from None
        if "error" in message:
            raise WrongError(f"{method} was refused: {message['error']}")
        return message["result"]

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """A tool's structured answer."""
        result = await self.ask("tools/call", name=tool, arguments=arguments)
        if result.get("isError"):
            raise WrongError(f"{tool} was refused: {result['content'][0]['text']}")
        return dict(result["structuredContent"])

    async def ended_well(self) -> None:
        """Wait for the end of a process that was asked to end."""
        try:
            code = await asyncio.wait_for(self.process.wait(), LONGEST_STOP_S)
        except TimeoutError:
            raise WrongError(f"the process was still there after {LONGEST_STOP_S} s") from None
        if code and os.name == "posix":  # Windows has no SIGTERM: there it is killed
            raise WrongError(f"the process was asked to end, and ended with {code}")

    async def _write(self, **message: Any) -> None:
        assert self.process.stdin
        with contextlib.suppress(ConnectionError):  # it died: the read of the answer fails
            self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            await self.process.stdin.drain()


@dataclass
class Round:
    """One process that dies, and one that comes after it."""

    method: str
    number: int
    seed: int
    user: int
    vendor: Vendor
    folder: Path
    starting: asyncio.Semaphore
    state: str = "violation"
    never_sent: bool = False
    wrong: str = ""

    def __post_init__(self) -> None:
        self.name = f"{self.method}-{self.number}"
        self.dice = dice = random.Random(f"{self.seed} {self.name}")
        self.order = dice.choice(ORDERS)
        slow = dice.random() < 1 / 6  # a captcha: longer than the wait before the first look
        self.account = Account(
            accept_s=dice.uniform(2, 45) if slow else dice.uniform(0, 0.3),
            answer_s=dice.uniform(0, 0.3),
            job_seconds=dice.choice((1.0, LONG_JOB_S)),
        )
        self.token = f"user:{self.user}-kills"
        self.vendor.accounts[f"Bearer {self.token}"] = self.account

    @property
    def accepted(self) -> int:
        return len(self.account.sandbox.accepted)

    def __str__(self) -> str:
        account = self.account
        return (
            f"{self.name}, {self.order.name}, accepted after {account.accept_s:.2f} s,"
            f" answered after {account.answer_s:.2f} s, a job of {account.job_seconds:.0f} s:"
            f" {account.posts} POSTs, {self.accepted} accepted, {self.state}"
        )

    async def run(self) -> None:
        try:
            async with contextlib.AsyncExitStack() as processes:
                async with self.starting:
                    first = await processes.enter_async_context(self.process("first"))
                await first.begin(
                    "tools/call", name=self.order.tool, arguments=self.order.arguments
                )
                await self.until_its_moment()
                self.never_sent = self.account.posts == 0
                await self.kill(first)
                second = await processes.enter_async_context(self.process("second"))
                await self.recover(second)
                await self.stop(second)
                if self.method == "cancel":
                    await self.stop(first)
                elif self.method != "SIGKILL":
                    await first.ended_well()
            self.judge_what_was_said()
        except WrongError as wrong:
            self.wrong = str(wrong)

    @contextlib.asynccontextmanager
    async def process(self, name: str) -> AsyncIterator[Client]:
        """One of our processes, greeted; it does not outlive the block."""
        with (self.folder / f"{name}.stderr").open("wb") as said:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "mcp_server"),
                cwd=ROOT,
                env=self.environment(),
                stdin=PIPE,
                stdout=PIPE,
                stderr=said,
                limit=1_000_000,
            )
        try:
            client = Client(process)
            await client.ask(
                "initialize",
                LONGEST_START_S,
                protocolVersion="2025-11-25",
                capabilities={},
                clientInfo={"name": "kills", "version": "1"},
            )
            await client.tell("notifications/initialized")
            yield client
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    def environment(self) -> dict[str, str]:
        ours = {
            "USEAPI_BASE_URL": self.vendor.url,
            "USEAPI_TOKEN": self.token,
            "USEAPI_STATE_DIR": str(self.folder / "state"),
            "USEAPI_OUTPUT_DIR": str(self.folder / "output"),
        }
        foreign = ("USEAPI_", "COVERAGE_PROCESS_")
        return {n: v for n, v in os.environ.items() if not n.startswith(foreign)} | ours

    async def until_its_moment(self) -> None:
        """Any time from the call on, or from when the vendor has its request: half and half."""
        if self.dice.random() < 0.5:
            await asyncio.sleep(self.dice.uniform(0, 1))
            return
        try:
            await asyncio.wait_for(self.account.arrived.wait(), LONGEST_CALL_S)
        except TimeoutError:
            raise WrongError("its request never came") from None
        worked_s = min(self.account.accept_s + self.account.answer_s, 2)
        await asyncio.sleep(self.dice.uniform(0, worked_s + 0.1))

    async def kill(self, client: Client) -> None:
        """The next process is started at once, as hosts do: where this one drains, they meet."""
        match self.method:
            case "SIGKILL":
                client.process.kill()
                await client.process.wait()
            case "SIGTERM":
                client.process.terminate()
            case "EOF":
                assert client.process.stdin
                client.process.stdin.close()
            case _ if self.dice.random() < 0.5:
                params = {"requestId": client.number, "reason": "timed out"}
                await client.tell("notifications/cancelled", **params)
            case _:
                pass  # many clients stop reading at their time-out and say nothing

    async def recover(self, client: Client) -> None:
        """Make the same call again, follow it until its outcome is known, and judge that."""
        posted = self.account.posts > 0
        if posted and not (await client.call("list_jobs"))["jobs"]:
            raise WrongError("its request left, but list_jobs did not know it")
        order = self.order
        begun = time.monotonic()
        job = await client.call(order.tool, **order.arguments)
        while job["job_id"].startswith(OUR_ID_PREFIX) and job["status"] == "submitting":
            if time.monotonic() - begun > LONGEST_UNCERTAIN_S:
                raise WrongError(f"it was unconfirmed for more than {LONGEST_UNCERTAIN_S} s")
            await asyncio.sleep(1)
            job = await client.call("get_job", job_id=job["job_id"])
        self.state = job["status"]
        again = await client.call(order.tool, **order.arguments)
        if self.account.posts:
            await self.account.decided.wait()
        listed = [known["job_id"] for known in (await client.call("list_jobs"))["jobs"]]
        self.judge(job, again, listed)

    def judge(self, job: dict[str, Any], again: dict[str, Any], listed: list[str]) -> None:
        """Raise what is wrong with how this round ended."""
        accepted = self.account.sandbox.accepted
        if len(accepted) > 1:
            raise WrongError("it was paid for twice")
        if self.account.posts > (2 if self.order.refuses_repeats else 1):
            raise WrongError("it was sent too often")
        if job["job_id"] not in listed:
            raise WrongError("list_jobs does not know its job")
        if again["job_id"] != job["job_id"] and job["status"] != "unconfirmed":
            raise WrongError(f"the next call answered with another job: {again['job_id']}")
        if job["status"] == "unconfirmed":
            stays = self.account.job_seconds == LONG_JOB_S or self.order.listed_for_ever
            if self.order.refuses_repeats or (accepted and stays):
                raise WrongError("it is unconfirmed where there is proof")
        elif not accepted or job["job_id"] != accepted[0].job_id:
            raise WrongError(f"it has a job that was not made for it: {job['job_id']}")

    async def stop(self, client: Client) -> None:
        assert client.process.stdin
        client.process.stdin.close()
        await client.ended_well()

    def judge_what_was_said(self) -> None:
        for said in sorted(self.folder.glob("*.stderr")):
            text = said.read_text("utf-8", errors="replace")
            if "Traceback" in text:
                raise WrongError(f"a bug was logged:\n{text}")


async def run_all(rounds: list[Round]) -> None:
    slots, begun, done = asyncio.Semaphore(AT_ONCE), time.monotonic(), 0

    async def one(a_round: Round) -> None:
        nonlocal done
        async with slots:
            a_round.folder.mkdir()
            await a_round.run()
        done += 1
        if a_round.wrong:
            print(f"WRONG: {a_round}\n  {a_round.wrong}", flush=True)
        if done % 50 == 0:
            print(f"{done} rounds in {time.monotonic() - begun:.0f} s", flush=True)

    async with asyncio.TaskGroup() as group:
        for a_round in rounds:
            group.create_task(one(a_round))


def table(rounds: list[Round]) -> str:
    """What became of the rounds, by what killed them and by what was ordered."""
    heads = ("rounds", "POSTs", "accepted", "twice", "found", "unconfirmed", "never sent", "wrong")
    names = [*METHODS, *(order.name for order in ORDERS), "all"]
    counts = {name: Counter[str]() for name in names}
    for a_round in rounds:
        found = a_round.state not in ("unconfirmed", "violation")
        count = Counter(
            {
                "rounds": 1,
                "POSTs": a_round.account.posts,
                "accepted": a_round.accepted,
                "twice": a_round.accepted > 1,
                "found": found,
                "unconfirmed": a_round.state == "unconfirmed",
                "never sent": a_round.never_sent,
                "wrong": bool(a_round.wrong),
            }
        )
        for name in (a_round.method, a_round.order.name, "all"):
            counts[name] += count
    lines = [f"{'':18}" + "".join(f"{head:>12}" for head in heads)]
    for name, count in counts.items():
        lines.append(f"{name:18}" + "".join(f"{count[head]:>12}" for head in heads))
    return "\n".join(lines)


async def main(rounds: int, seed: int, only: str) -> bool:
    """Run that many rounds a method; whether all went well."""
    numbered = [(method, number) for number in range(rounds) for method in METHODS]
    print(f"{len(numbered) if not only else 1} rounds, --seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="useapi-mcp-kills-") as name:
        async with running_vendor() as vendor:
            starting = asyncio.Semaphore(STARTING_AT_ONCE)
            all_rounds = [
                Round(method, number, seed, user, vendor, Path(name, f"{user}"), starting)
                for user, (method, number) in enumerate(numbered, FIRST_USER)
                if only in ("", f"{method}-{number}")
            ]
            begun = time.monotonic()
            await run_all(all_rounds)
            taken_s = time.monotonic() - begun
    wrong = sum(bool(a_round.wrong) for a_round in all_rounds)
    print(table(all_rounds))
    print("found: we know the vendor's job; never sent: no request left before the first one died")
    print(f"{len(all_rounds)} rounds in {taken_s:.0f} s, --seed {seed}")
    print(f"kills: {len(all_rounds) - wrong} passed, {wrong} failed")
    return bool(all_rounds) and not wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.stress.kills", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="rounds a method (default 100)")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--only", default="", help="one round, as METHOD-NUMBER")
    given = parser.parse_args()
    raise SystemExit(not asyncio.run(main(given.rounds, given.seed, given.only)))
