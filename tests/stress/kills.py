"""`make kills`: processes that die in the middle of a submit; no job is paid for twice or lost.

The real process, over stdio, beside a vendor on a real port. Between them is a gateway that now and
then answers a paid request in the vendor's place while the vendor goes on with it; other jobs are
in the vendor's lists. Once the process was killed, another one on the same state folder, or with
`--database postgres` on the same database, makes the same call again and follows it. A round that
fails is tried again with `--seed S --only METHOD-NUMBER`, which fixes what it does but not how fast
the machine is.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import random
import re
import socket
import sqlite3
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_server.journal.postgres_layout import migrate
from mcp_server.models import OUR_ID_PREFIX, OperationName
from mcp_server.sandbox import media
from mcp_server.sandbox.app import Accepted, Sandbox
from mcp_server.services.base import Order
from mcp_server.services.registry import service_named
from tests.support.gateways import ANSWERS, Gateway, Interruption
from tests.support.harness import GOOD, NOBODY_IS_ASKED
from tests.support.neighbours import Makers, Neighbour, Neighbourhood
from tests.support.postgres import Server, require, server

ROOT = Path(__file__).parents[2]
METHODS = ("SIGKILL", "SIGTERM", "EOF", "cancel")
AT_ONCE = 64  # most rounds wait: for a minute, where an answer was lost
AT_ONCE_ON_POSTGRES = 24  # two processes of each, with up to five connections each
STARTING_AT_ONCE = 2 * (os.cpu_count() or 1)
LONGEST_START_S, LONGEST_CALL_S, LONGEST_STOP_S = 120, 90, 60  # machines of CI are slow
LONGEST_SEARCH_S = 240  # looks for a minute after the first process died, one more POST, its looks
LONG_JOB_S = 600.0
LONGEST_WORK_S = 45.0  # less than the minute after which a repeat is safe
LONGEST_FLOW_4K_WORK_S = 75.0  # no repeat of it is ever safe, so it may take longer than that
FIRST_USER = 100_000  # some numbers below are users with faults
PROMPT = "A windmill at dawn"
PICTURE = media.read(media.image(1280, 720))


@dataclass(frozen=True)
class Call:
    """A call that costs.

    Args:
        kind: of its source; `prompt` and `file` (a picture of the user's own) are such, too.
        more: arguments that do not belong to the order.
        listed_for_ever: its job can be found when it has ended, too.
        has_errands: something is asked for or uploaded first, which costs nothing.
    """

    name: str
    service: str
    tool: str
    kind: str = "video"
    arguments: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    listed_for_ever: bool = False
    has_errands: bool = False

    @property
    def source(self) -> str:
        """What it is made of, as its order has it."""
        if self.kind == "file":
            return f"file:{hashlib.sha256(PICTURE).hexdigest()}"
        return PROMPT if self.kind == "prompt" else GOOD[self.service, self.kind]

    def given(self, folder: Path) -> dict[str, Any]:
        """The tool's arguments; the file is in this folder."""
        source = str(folder / "picture.jpg") if self.kind == "file" else self.source
        name = "prompt" if self.kind == "prompt" else "source"
        return {name: source, **self.arguments, **self.more}

    @property
    def order(self) -> Order:
        (operation,) = (name for name in get_args(OperationName) if name == self.tool)
        return service_named(self.service).order(operation, self.source, self.arguments, {})

    @property
    def longest_work_s(self) -> float:
        is_4k = self.arguments.get("resolution") == "4K"
        return LONGEST_FLOW_4K_WORK_S if is_4k else LONGEST_WORK_S


CALLS = (
    Call("Dreamina video", "dreamina", "upscale_video"),
    Call("Dreamina 60 fps", "dreamina", "interpolate_video", arguments={"fps": 60}),
    Call("Dreamina image", "dreamina", "upscale_image", "image", {"resolution": "8k"}),
    Call("Google Flow 1080p", "google-flow", "upscale_video", listed_for_ever=True),
    Call(
        "Google Flow 4K",
        "google-flow",
        "upscale_video",
        arguments={"resolution": "4K"},
        listed_for_ever=True,
    ),
    Call("PixVerse video", "pixverse", "upscale_video", listed_for_ever=True),
    Call(
        "PixVerse quoted",
        "pixverse",
        "upscale_video",
        more={"max_credits": 100},
        listed_for_ever=True,
        has_errands=True,
    ),
    Call("own picture", "pixverse", "upscale_image", "file", has_errands=True),
    *(
        Call(
            f"{title} {'clip' if tool == 'generate_video' else 'images'}",
            service,
            tool,
            "prompt",
            more={"service": service},
            listed_for_ever=service != "dreamina",
        )
        for service, title, tools in (
            ("dreamina", "Dreamina", ("generate_video", "generate_image")),
            ("google-flow", "Google Flow", ("generate_video",)),
            ("pixverse", "PixVerse", ("generate_video", "generate_image")),
        )
        for tool in tools
    ),
)


@dataclass
class Account:
    """One user of the vendor, with a sandbox of their own.

    Args:
        work_s: how long the vendor works on the first paid request before its job is there.
        answer_s: how long its answer then waits.
        interruptions: what the gateway does to the first paid requests, in order.
        hindered: how likely the gateway answers a read.
        draws: the chance for the reads.
        job_seconds: how long a job takes.
        errand_s: how long the vendor takes for the first upload, and the first quote.

    Attributes:
        posts: paid requests that arrived whole.
        errands: uploads and quotes that did, which cost nothing.
        doubles: paid requests that the vendor took, and paid for, though the same was being made:
            it looks for that when a request arrives, and not again at the end of its work.
        given: the ids that the vendor answered paid requests with.
        seen: which of the gateway's answers were given, to paid requests and to reads.
    """

    work_s: float
    answer_s: float
    interruptions: list[Interruption | None]
    hindered: float
    draws: random.Random
    job_seconds: float
    errand_s: float = 0.0
    posts: int = 0
    errands: int = 0
    working: int = 0
    doubles: int = 0
    given: set[str] = field(default_factory=set)
    seen: Counter[str] = field(default_factory=Counter)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    decided: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.ago_s = 0.0
        self.passed = 0
        self.strangers: tuple[Accepted, ...] = ()
        self.sandbox = Sandbox(job_seconds=self.job_seconds, now=lambda: time.time() - self.ago_s)
        self.lists: ASGIApp = self.sandbox

    @property
    def accepted(self) -> list[Accepted]:
        """What the vendor made for us."""
        return [work for work in self.sandbox.accepted if work not in self.strangers]

    def interrupts(self, *, paid: bool) -> Interruption | None:
        """Whether and how the gateway answers the next request itself."""
        if not paid:
            if self.draws.random() >= self.hindered:
                return None
            return Interruption(0.0, self.draws.choice(list(ANSWERS)))
        self.passed += 1
        is_known = self.passed <= len(self.interruptions)
        return self.interruptions[self.passed - 1] if is_known else None

    async def make(self, path: str, body: dict[str, Any], *, ago_s: float, token: str) -> None:
        """Somebody else of the same account makes a job, so long ago."""
        headers = [(b"content-type", b"application/json"), (b"authorization", token.encode())]
        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": headers,
        }

        async def given() -> Message:
            return {"type": "http.request", "body": json.dumps(body).encode()}

        async def ignore(_: Message) -> None: ...

        self.ago_s = ago_s
        await self.sandbox(scope, given, ignore)
        self.ago_s = 0.0
        self.strangers = tuple(self.sandbox.accepted)
        assert self.strangers

    async def post(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do what was asked once all of it is here, whether or not the caller is still there."""
        body, more = b"", True
        while more:
            part = await receive()
            if part["type"] == "http.disconnect":
                return
            body, more = body + part.get("body", b""), part.get("more_body", False)

        async def given() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        if scope["path"].endswith("/files") or b'"quote":true' in body.replace(b" ", b""):
            self.errands += 1
            self.arrived.set()
            await asyncio.sleep(self.errand_s if self.errands < 3 else 0.0)
            await self.sandbox(scope, given, send)
            return
        self.posts += 1
        self.working += 1
        self.decided.clear()
        work_s, answer_s = (self.work_s, self.answer_s) if self.posts == 1 else (0.1, 0.1)
        self.arrived.set()
        answer: list[Message] = []

        async def keep(part: Message) -> None:
            answer.append(part)

        try:
            on_arrival = len(self.sandbox.accepted)
            await asyncio.sleep(work_s)
            at_the_end = len(self.sandbox.accepted)
            await self.sandbox(scope, given, keep)
            if len(self.sandbox.accepted) == at_the_end > on_arrival:
                self.doubles += 1  # the sandbox looks at the end, and refused it
        finally:
            self.working -= 1
            if not self.working:
                self.decided.set()
        await asyncio.sleep(answer_s)
        told = json.loads(b"".join(part.get("body", b"") for part in answer))
        names = ("jobid", "video_id", "image_id")
        self.given |= {str(told[name]) for name in names if name in told}
        for part in answer:
            await send(part)


class Vendor:
    """Everybody's sandboxes on one port: the token says whose. `url` is the gateway's."""

    def __init__(self) -> None:
        self.url = ""
        self.accounts: dict[str, Account] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        account = self.accounts[dict(scope["headers"])[b"authorization"].decode()]
        serve = account.post if scope["method"] == "POST" else account.lists
        await serve(scope, receive, send)

    def interrupts(self, head: bytes) -> Interruption | None:
        return self._account(head).interrupts(paid=head.startswith(b"POST "))

    def interrupted(self, head: bytes) -> None:
        self._account(head).seen["paid" if head.startswith(b"POST ") else "read"] += 1

    def _account(self, head: bytes) -> Account:
        found = re.search(rb"(?i)\r\nauthorization: ([^\r]+)", head)
        assert found
        return self.accounts[found[1].decode()]


class Guest(uvicorn.Server):
    """Leaves Ctrl-C to this program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@contextlib.asynccontextmanager
async def running_vendor() -> AsyncIterator[Vendor]:
    vendor = Vendor()
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        gateway = Gateway(listener.getsockname()[1], vendor.interrupts, vendor.interrupted)
        config = uvicorn.Config(
            vendor, lifespan="off", log_config=None, access_log=False, date_header=False
        )
        server = Guest(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with gateway.listening() as vendor.url:
                yield vendor
        finally:
            server.should_exit = server.force_exit = True
            await serving


ERRAND = re.compile(r'"code": ?"(price_not_told|upload_failed|not_ready|journal_busy|journal_cut)"')


class WrongError(Exception):
    """What may not happen happened."""


class RefusedReadError(WrongError):
    """A job could not be read."""


@dataclass
class Client:
    """A host's end of one of our processes: JSON-RPC, a line a message."""

    process: Process
    number: int = 0

    async def begin(self, method: str, **params: Any) -> int:
        """Send a request whose answer nobody reads yet."""
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
            kind = RefusedReadError if tool == "get_job" else WrongError
            raise kind(f"{tool} was refused: {result['content'][0]['text']}")
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
        with contextlib.suppress(ConnectionError):  # it died: whoever waits for an answer is told
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
    database: Server | None = None
    state: str = "violation"
    reason: str = ""
    never_sent: bool = False
    wrong: str = ""

    def __post_init__(self) -> None:
        self.name = f"{self.method}-{self.number}"
        self.dice = dice = random.Random(f"{self.seed} {self.name}")
        self.called = dice.choice(CALLS)
        self.order = self.called.order
        slow = dice.random() < 1 / 3  # a captcha: longer than anybody waits before they look
        work_s = dice.uniform(2, self.called.longest_work_s) if slow else dice.uniform(0, 0.3)
        answer_s = dice.uniform(0, 0.3)
        self.account = Account(
            work_s=work_s,
            answer_s=answer_s,
            interruptions=[
                self._interruption(1 / 2, min(work_s + answer_s, 10)),
                self._interruption(1 / 4, 0.2),
            ],
            hindered=0.2 if dice.random() < 1 / 4 else 0.0,
            draws=random.Random(dice.random()),
            job_seconds=dice.choice((1.0, LONG_JOB_S)),
            errand_s=dice.uniform(0, 2) if self.called.has_errands else 0.0,
        )
        self.has_unreadable = dice.random() < 1 / 5
        self.twin_ago_s = dice.choice((10.0, 300.0)) if dice.random() < 1 / 4 else None
        self.token = f"user:{self.user}-kills"
        self.vendor.accounts[f"Bearer {self.token}"] = self.account

    def _interruption(self, likely: float, longest_s: float) -> Interruption | None:
        if self.dice.random() >= likely:
            return None
        return Interruption(self.dice.uniform(0, longest_s), self.dice.choice(list(ANSWERS)))

    @property
    def accepted(self) -> int:
        """How often we were charged."""
        return len(self.account.accepted) + self.account.doubles

    def __str__(self) -> str:
        account = self.account
        first, second = account.interruptions
        beside = f"an older job at {self.twin_ago_s} s" if self.twin_ago_s else "no older job"
        return (
            f"{self.name}, {self.called.name}, made after {account.work_s:.2f} s, answered after"
            f" {account.answer_s:.2f} s, a job of {account.job_seconds:.0f} s; the gateway: {first}"
            f" {second}, reads {account.hindered}; {beside}, unreadable {self.has_unreadable}:"
            f" {account.posts} POSTs, {self.accepted} accepted, {self.state} {self.reason}"
        )

    async def run(self) -> None:
        try:
            await self.make_journal()
            await self.put_beside()
            async with contextlib.AsyncExitStack() as processes:
                async with self.starting:
                    first = await processes.enter_async_context(self.process("first"))
                await first.begin("tools/call", name=self.called.tool, arguments=self.arguments)
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

    async def make_journal(self) -> None:
        """Tables of its own for both processes, where the journal is in a database."""
        if self.database is not None:
            await asyncio.to_thread(self.database.run, f"create schema {self.schema}")
            await migrate(self.database.dsn(schema=self.schema))

    @property
    def schema(self) -> str:
        return f"round_{self.user}"

    @property
    def arguments(self) -> dict[str, Any]:
        return self.called.given(self.folder)

    async def put_beside(self) -> None:
        """Other jobs of the account, all older than what will be ordered."""
        if self.called.kind == "file":  # nobody else has it
            (self.folder / "picture.jpg").write_bytes(PICTURE)
            self.twin_ago_s = None
        dice, makers = self.dice, Makers(self.order, time.time)

        def ago_s() -> float:
            return dice.uniform(10, 800)

        beside: list[Neighbour] = [makers.strangers(ago_s()) for _ in range(dice.randrange(4))]
        beside += [makers.second_accounts(ago_s()) for _ in range(dice.randrange(3))]
        twins = dice.randrange(2) if self.called.kind != "file" else 0
        beside += [makers.twin(ago_s(), failed=True) for _ in range(twins)]
        if self.has_unreadable:
            beside.append(makers.strangers(ago_s(), unreadable=dice.choice((404, 500))))
        self.account.lists = Neighbourhood(self.account.sandbox, tuple(beside))
        if self.twin_ago_s is not None:
            path, body = self.order.endpoint.path, dict(self.order.body)
            token = f"Bearer {self.token}"
            await self.account.make(path, body, ago_s=self.twin_ago_s, token=token)

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
            "USEAPI_INPUT_DIRS": str(self.folder),
            **NOBODY_IS_ASKED,
        }
        if self.database is not None:
            ours["USEAPI_DATABASE_URL"] = self.database.dsn(schema=self.schema)
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
        worked_s = min(self.account.work_s + self.account.answer_s, 2)
        worked_s += 2 * self.account.errand_s
        if self.account.interruptions[0] is not None and self.dice.random() < 0.5:
            worked_s = 15.0  # while it looks for what became of it
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
        if posted and not await self.listed(client):
            raise WrongError("its request left, but list_jobs did not know it")
        begun = time.monotonic()
        job = await self.call(client)
        while job["job_id"].startswith(OUR_ID_PREFIX) and job["status"] == "submitting":
            if time.monotonic() - begun > LONGEST_SEARCH_S:
                raise WrongError(f"nothing was known of it for more than {LONGEST_SEARCH_S} s")
            await asyncio.sleep(1)
            with contextlib.suppress(RefusedReadError):  # the gateway may have answered it
                job = await client.call("get_job", job_id=job["job_id"])
        if self.account.posts:
            await self.account.decided.wait()
        self.account.hindered = 0.0
        again = await self.call(client)
        self.state = again["status"]
        self.judge(job, again, await self.listed(client))

    async def call(self, client: Client) -> dict[str, Any]:
        """Make the call, and again while its upload or its price is still to come."""
        while True:
            try:
                job = await client.call(self.called.tool, **self.arguments)
            except WrongError as wrong:
                if not (self.called.has_errands and ERRAND.search(str(wrong))):
                    raise
                await asyncio.sleep(0.5)
                continue
            if job["operation"] != "upload":
                return job
            await asyncio.sleep(1)

    async def listed(self, client: Client) -> list[str]:
        """The ids of all that was submitted, what no job came of included."""
        answers = [await client.call("list_jobs"), await client.call("list_jobs", status="failed")]
        return [known["job_id"] for answer in answers for known in answer["jobs"]]

    def judge(self, job: dict[str, Any], again: dict[str, Any], listed: list[str]) -> None:
        """Raise what is wrong with how this round ended."""
        if self.accepted > 1:
            raise WrongError("it was paid for twice")
        if self.account.posts > (2 if self.order.refuses_repeats else 1):
            raise WrongError("it was sent too often")
        if again["job_id"] not in listed:
            raise WrongError("list_jobs does not know its job")
        if again["job_id"] != job["job_id"] and job["status"] != "unconfirmed":
            raise WrongError(f"the next call told of another job: {again['job_id']}")
        made = [str(work.job_id) for work in self.account.accepted]
        known = {job_id for job_id, _ in self.rows()}
        if again["status"] == "unconfirmed":
            self.reason = self.why_unconfirmed(bool(made))
        elif again["job_id"] in made:
            self.reason = "" if job["status"] != "unconfirmed" else "found by a later call"
        elif self.may_be_anothers(again["job_id"]):
            self.reason = "an older job, which the vendor would not make again"
        else:
            raise WrongError(f"it has a job that was not made for it: {again['job_id']}")
        for job_id in made:
            is_excused = again["status"] == "unconfirmed" or (self.reason and self.is_free)
            if job_id not in known and not is_excused:
                raise WrongError(f"{job_id} is lost: {self.rows()}")

    @property
    def is_free(self) -> bool:
        """Whether a repeat is answered from the vendor's cache, and costs nothing anyway."""
        return self.order.endpoint.repeats == "cached" and self.order.refuses_repeats

    def may_be_anothers(self, job_id: str) -> bool:
        """Whether it is a job that was there before, or the vendor's cached copy of it."""
        older = {work.job_id for work in self.account.strangers}
        is_cached = self.order.endpoint.repeats == "cached" and job_id in self.account.given
        return bool(older) and ((job_id in older and self.order.refuses_repeats) or is_cached)

    def why_unconfirmed(self, is_made: bool) -> str:
        """Why nobody can know. Where it can be known, that is wrong."""
        stays = self.account.job_seconds == LONG_JOB_S or self.called.listed_for_ever
        if is_made and stays:
            raise WrongError("it is unconfirmed where there is proof")
        if not self.order.refuses_repeats:
            if is_made:
                return "taken, but it ended before it was seen and is listed no more"
            return "not taken; a repeat would be charged"
        if self.has_unreadable:
            return "a neighbour can't be read, so that nothing proves its absence"
        if self.account.seen["read"]:
            return "the gateway answered the looks, so that nothing proves its absence"
        if self.account.posts == 2 and self.account.seen["paid"]:
            return "the answer to the one repeat was lost, too"
        raise WrongError("it is unconfirmed where the vendor refuses a repeat")

    def rows(self) -> list[tuple[str | None, str]]:
        """The vendor's id and the state of each row of the journal on disk."""
        if self.database is not None:
            return self.database.run(f"select job_id, state from {self.schema}.submission")
        with contextlib.closing(sqlite3.connect(self.folder / "state" / "journal.sqlite")) as disk:
            return disk.execute("select job_id, state from submission").fetchall()

    async def stop(self, client: Client) -> None:
        assert client.process.stdin
        client.process.stdin.close()
        await client.ended_well()

    def judge_what_was_said(self) -> None:
        for said in sorted(self.folder.glob("*.stderr")):
            text = said.read_text("utf-8", errors="replace")
            if "Traceback" in text:
                raise WrongError(f"a bug was logged:\n{text}")


async def run_all(rounds: list[Round], at_once: int) -> None:
    room, begun, done = asyncio.Semaphore(at_once), time.monotonic(), 0

    async def one(a_round: Round) -> None:
        nonlocal done
        async with room:
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
    heads = (
        *("rounds", "POSTs", "gateway", "accepted", "twice", "found", "older", "unconfirmed"),
        *("never sent", "wrong"),
    )
    names = [*METHODS, *(call.name for call in CALLS), "all"]
    counts = {name: Counter[str]() for name in names}
    for a_round in rounds:
        is_known = a_round.state not in ("unconfirmed", "violation")
        is_older = a_round.reason.startswith("an older")
        count = Counter(
            {
                "rounds": 1,
                "POSTs": a_round.account.posts,
                "gateway": a_round.account.seen["paid"],
                "accepted": a_round.accepted,
                "twice": a_round.accepted > 1,
                "found": is_known and not is_older,
                "older": is_known and is_older,
                "unconfirmed": a_round.state == "unconfirmed",
                "never sent": a_round.never_sent,
                "wrong": bool(a_round.wrong),
            }
        )
        for name in (a_round.method, a_round.called.name, "all"):
            counts[name] += count
    lines = [f"{'':18}" + "".join(f"{head:>12}" for head in heads)]
    for name, count in counts.items():
        lines.append(f"{name:18}" + "".join(f"{count[head]:>12}" for head in heads))
    reasons = Counter(f"{a_round.state}: {a_round.reason}" for a_round in rounds if a_round.reason)
    return "\n".join([*lines, *(f"{times:4} {reason}" for reason, times in reasons.items())])


async def main(rounds: int, seed: int, only: str, database: Server | None = None) -> bool:
    """Run that many rounds a method; whether all went well."""
    numbered = [(method, number) for number in range(rounds) for method in METHODS]
    print(f"{len(numbered) if not only else 1} rounds, --seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="useapi-mcp-kills-") as name:
        async with running_vendor() as vendor:
            starting = asyncio.Semaphore(STARTING_AT_ONCE)
            all_rounds = [
                Round(method, number, seed, user, vendor, Path(name, f"{user}"), starting, database)
                for user, (method, number) in enumerate(numbered, FIRST_USER)
                if only in ("", f"{method}-{number}")
            ]
            begun = time.monotonic()
            await run_all(all_rounds, AT_ONCE if database is None else AT_ONCE_ON_POSTGRES)
            taken_s = time.monotonic() - begun
    wrong = sum(bool(a_round.wrong) for a_round in all_rounds)
    print(table(all_rounds))
    print(
        "gateway: it answered a paid request; found: we know the vendor's job; older: we know one"
    )
    print("that was there before; never sent: no request left before the first process died")
    print(f"{len(all_rounds)} rounds in {taken_s:.0f} s, --seed {seed}")
    print(f"kills: {len(all_rounds) - wrong} passed, {wrong} failed")
    return bool(all_rounds) and not wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.stress.kills", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="rounds a method (default 100)")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--only", default="", help="one round, as METHOD-NUMBER")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        database = None
        if given.database == "postgres":
            require("postgresql")
            database = stack.enter_context(server(max_connections="400"))
        went_well = asyncio.run(main(given.rounds, given.seed, given.only, database))
    raise SystemExit(not went_well)
