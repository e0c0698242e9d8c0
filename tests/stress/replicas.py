"""`make replicas`: several servers on one PostgreSQL, killed at any moment; nothing is paid twice.

Real HTTP servers share a database, and a vendor who takes every repeat and is paid for it. Fifty
callers make the same few calls at a server that chance names, again and again until they have a
job, while servers are killed with -9 and started anew. `--by` says what else goes wrong: nothing
(`plain`), a pooler in transaction mode is in between (`pooler`), all connections are cut twice a
second and the database is restarted once (`cuts`), or the primary dies and a standby that had every
commit takes over (`failover`).
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from mcp_server.sandbox.app import Sandbox
from tests.stress.kills import Guest
from tests.support import serving
from tests.support.harness import NOBODY_IS_ASKED
from tests.support.postgres import Server, free_port, require, server

ROOT = Path(__file__).parents[2]
WAYS = ("plain", "pooler", "cuts", "failover")
TOKEN = "replicas-of-one-team"
WISHES_AT_ONCE = 10
ASKED_BY_SO_MANY = 5
SLOWEST_S = 1.0  # the vendor's work, and its answer
JOB_SECONDS = 0.2  # the sandbox's accounts run eight jobs at once
CALL_S = 100.0
LONGEST_START_S = 120.0
STILL_UNKNOWN = ("submitting",)
FINAL = ("unconfirmed", "failed", "cancelled")


class WrongError(Exception):
    """What may not happen happened."""


@dataclass
class Vendor:
    """The sandbox in the vendor's place: slow, and not stopped by a caller that is gone."""

    dice: random.Random
    url: str = ""
    posts: int = 0
    working: int = 0
    works: asyncio.Event = field(default_factory=asyncio.Event)
    sandbox: Sandbox = field(
        default_factory=lambda: Sandbox(job_seconds=JOB_SECONDS, now=time.time)
    )

    @property
    def made(self) -> dict[str, list[str]]:
        """The ids of the jobs that were made and paid for, by their prompt."""
        made: dict[str, list[str]] = defaultdict(list)
        for work in self.sandbox.accepted:
            made[str(work.body["prompt"])].append(str(work.job_id))
        return made

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await self.sandbox(scope, receive, send)
            return
        body, more = b"", True
        while more:
            part = await receive()
            if part["type"] == "http.disconnect":
                return
            body, more = body + part.get("body", b""), part.get("more_body", False)
        answer: list[Message] = []

        async def given() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def keep(part: Message) -> None:
            answer.append(part)

        self.posts += 1
        self.working += 1
        self.works.set()
        await asyncio.sleep(self.dice.uniform(0, SLOWEST_S))
        await self.sandbox(scope, given, keep)
        await asyncio.sleep(self.dice.uniform(0, SLOWEST_S))
        self.working -= 1
        if not self.working:
            self.works.clear()
        for part in answer:
            await send(part)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            config = uvicorn.Config(
                self, lifespan="off", log_config=None, access_log=False, date_header=False
            )
            guest = Guest(config)
            serves = asyncio.create_task(guest.serve(sockets=[listener]))
            try:
                yield
            finally:
                guest.should_exit = guest.force_exit = True
                await serves


@dataclass
class Replica:
    """One server of the team, which can be killed and started anew on the same port."""

    folder: Path
    environment: dict[str, str]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "stderr").open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mcp_server", "http", "--port", str(self.port)],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def ready(self, http: httpx.AsyncClient) -> None:
        deadline = time.monotonic() + LONGEST_START_S
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await http.get(f"http://127.0.0.1:{self.port}/health")).status_code == 200:
                    return
            if time.monotonic() > deadline:
                raise WrongError(f"a server did not start: {self.said()}")
            await asyncio.sleep(0.1)

    async def call(self, http: httpx.AsyncClient, tool: str, **arguments: Any) -> dict[str, Any]:
        """A tool's answer; httpx.HTTPError where the server is gone, or goes."""
        body = serving.request("tools/call", name=tool, arguments=arguments)
        url = f"http://127.0.0.1:{self.port}/mcp"
        headers = {
            "Authorization": f"Bearer {TOKEN}",
            "Accept": "application/json, text/event-stream",
            "Mcp-Protocol-Version": "2025-11-25",
        }
        answer = await http.post(url, json=body, headers=headers, timeout=CALL_S)
        answer.raise_for_status()
        try:
            return serving.result(answer)
        except (IndexError, KeyError, ValueError):  # it was cut in the middle
            raise httpx.ReadError("the answer is not whole") from None

    def said(self) -> str:
        return (self.folder / "stderr").read_text("utf-8", errors="replace")


@dataclass
class Figures:
    """What happened, and what is wrong with it."""

    kills: int = 0
    cuts: int = 0
    calls: int = 0
    broken: int = 0
    wishes: int = 0
    posts: int = 0
    twice: int = 0
    lost: int = 0
    unconfirmed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        refused = ", ".join(f"{code} {times}" for code, times in self.refused.most_common())
        return (
            f"{self.kills} kills, {self.cuts} cuts, {self.calls} calls ({self.broken} broken),"
            f" {self.wishes} sources, {self.posts} POSTs, {self.twice} accepted twice,"
            f" {self.lost} lost, {self.unconfirmed} unconfirmed; answered to be repeated:"
            f" {refused or 'none'}"
        )


class Team:
    """Servers on one database, and those who call them."""

    def __init__(self, replicas: list[Replica], vendor: Vendor, dice: random.Random) -> None:
        self.figures = Figures()
        self._replicas = replicas
        self._vendor = vendor
        self._dice = dice
        self._told: dict[str, set[str]] = defaultdict(set)
        self._wishes: set[str] = set()
        self._asked = 0
        self._starting: set[asyncio.Task[None]] = set()

    async def work(self, http: httpx.AsyncClient, callers: int, minutes: float) -> None:
        """Let callers ask and servers die for so long; then see what became of each wish."""
        await asyncio.gather(*(each.ready(http) for each in self._replicas))
        ends = time.monotonic() + 60 * minutes
        killing = asyncio.create_task(self._kill(http))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(callers):
                    group.create_task(self._ask(http, ends))
        finally:
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)
        await asyncio.gather(*self._starting)
        await self._judge(http)

    async def _ask(self, http: httpx.AsyncClient, ends: float) -> None:
        """One caller, who asks for what others ask for at the same time."""
        while time.monotonic() < ends:
            self._asked += 1
            newest = self._asked // ASKED_BY_SO_MANY
            number = self._dice.randint(max(0, newest - WISHES_AT_ONCE), newest)
            await self._ask_until_told(http, f"A windmill, number {number}")

    async def _kill(self, http: httpx.AsyncClient) -> None:
        """Kill servers while the vendor is at work for them; one of them always runs."""
        down: set[int] = set()

        async def start(number: int) -> None:
            self._replicas[number].start()
            await self._replicas[number].ready(http)
            down.discard(number)

        while True:
            await self._vendor.works.wait()
            await asyncio.sleep(self._dice.uniform(0, 2 * SLOWEST_S))
            up = [number for number in range(len(self._replicas)) if number not in down]
            if len(up) > 1:
                number = self._dice.choice(up)
                down.add(number)
                self._replicas[number].kill()
                self.figures.kills += 1
                self._starting.add(asyncio.create_task(start(number)))

    async def _ask_until_told(self, http: httpx.AsyncClient, wish: str) -> str:
        """The status of the job that was told in the end."""
        self._wishes.add(wish)
        while True:
            self.figures.calls += 1
            replica = self._dice.choice(self._replicas)
            try:
                answer = await replica.call(http, "generate_image", prompt=wish, service="pixverse")
            except httpx.HTTPError:
                self.figures.broken += 1
                await asyncio.sleep(self._dice.uniform(0.1, 0.5))
                continue
            if answer.get("isError"):
                error = json.loads(answer["content"][0]["text"].splitlines()[-1])
                if not error["retryable"] and error["code"] != "journal_unusable":
                    self.figures.wrong.append(f"{wish}: {error}")
                    return "refused"
                self.figures.refused[error["code"]] += 1
                await asyncio.sleep(self._dice.uniform(0.5, 1.5))
                continue
            job = answer["structuredContent"]
            if job["status"] in STILL_UNKNOWN:
                await asyncio.sleep(1)
                continue
            if job["status"] not in FINAL:
                self._told[wish].add(job["job_id"])
            return str(job["status"])

    async def _judge(self, http: httpx.AsyncClient) -> None:
        """Ask once more for each wish, and compare with what the vendor made."""
        wishes = sorted(self._wishes)
        statuses = await asyncio.gather(*(self._ask_until_told(http, wish) for wish in wishes))
        figures, made = self.figures, self._vendor.made
        figures.wishes, figures.posts = len(statuses), self._vendor.posts
        for wish, status in zip(wishes, statuses, strict=True):
            jobs = made[wish]
            told = self._told[wish]
            if len(jobs) > 1:
                figures.twice += 1
                figures.wrong.append(f"{wish}: paid for {len(jobs)} times: {jobs}")
            elif not told <= set(jobs):
                figures.wrong.append(f"{wish}: {told} was told, {jobs} made")
            elif status == "unconfirmed":
                figures.unconfirmed += 1
            elif jobs and not told:
                figures.lost += 1
                figures.wrong.append(f"{wish}: {jobs} was made, and is {status}")
        for replica in self._replicas:
            if "Traceback" in replica.said():
                figures.wrong.append(f"a bug was logged:\n{replica.said()[-3000:]}")


def environment(folder: Path, vendor: Vendor, url: str) -> dict[str, str]:
    ours = {
        "USEAPI_BASE_URL": vendor.url,
        "USEAPI_TOKEN": "user:1-replicas",
        "USEAPI_HTTP_TOKEN": TOKEN,
        "USEAPI_DATABASE_URL": url,
        "USEAPI_STATE_DIR": str(folder / "state"),
        "USEAPI_OUTPUT_DIR": str(folder / "output"),
        **NOBODY_IS_ASKED,
    }
    foreign = ("USEAPI_", "COVERAGE_PROCESS_")
    return {n: v for n, v in os.environ.items() if not n.startswith(foreign)} | ours


@contextlib.contextmanager
def pooler(database: Server) -> Iterator[str]:
    """The address of a database by way of PgBouncer, in transaction mode with four connections."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="pooler-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={database.folder} port={database.port} user=useapi\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n"
            "pool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 500\n"
            "unix_socket_dir =\n",
            "utf-8",
        )
        root = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        with (folder / "log").open("wb") as said:
            process = subprocess.Popen(
                [*root, "pgbouncer", str(folder / "pgbouncer.ini")], stdout=said, stderr=said
            )
            try:
                url = f"postgresql://useapi:any@127.0.0.1:{port}/journal"
                deadline = time.monotonic() + 30
                while True:
                    try:
                        psycopg.connect(url).close()
                        break
                    except psycopg.OperationalError as error:
                        if time.monotonic() > deadline:
                            raise WrongError(f"no pooler: {error}") from None
                        time.sleep(0.1)
                yield url
            finally:
                process.terminate()
                process.wait()


async def cut(database: Server, figures: Figures, minutes: float) -> None:
    """Cut all connections twice a second, and restart the database once."""
    restart_at = time.monotonic() + 30 * minutes
    while True:
        await asyncio.sleep(0.5)
        if restart_at and time.monotonic() > restart_at:
            restart_at = 0.0
            await asyncio.to_thread(database.restart)
        with contextlib.suppress(psycopg.OperationalError):
            ((number,),) = await asyncio.to_thread(
                database.run,
                "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                " where application_name = 'useapi-mcp'",
            )
            figures.cuts += number


async def fail_over(primary: Server, standby: Server, minutes: float) -> None:
    await asyncio.sleep(30 * minutes)
    await asyncio.to_thread(primary.stop, "immediate")
    await asyncio.to_thread(standby.promote)
    print("the standby took over", flush=True)
    await asyncio.Event().wait()


async def run(by: str, *, minutes: float, replicas: int, callers: int, seed: int) -> Figures:
    """One team, and what happened to it."""
    dice = random.Random(f"{seed} {by}")
    vendor = Vendor(dice)
    with contextlib.ExitStack() as stack:
        port = free_port() if by == "failover" else 0
        database = stack.enter_context(server(port, max_connections="200"))
        url = database.create("journal")
        trouble = None
        if by == "pooler":
            url = stack.enter_context(pooler(database))
        elif by == "failover":
            other = free_port()
            standby = stack.enter_context(database.standby(other))
            hosts = f"127.0.0.1:{port},127.0.0.1:{other}"
            url = f"postgresql://useapi@{hosts}/journal?target_session_attrs=read-write"
            trouble = fail_over(database, standby, minutes)
        async with vendor.listening():
            team_folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="team-")))
            team: list[Replica] = []
            for number in range(replicas):
                folder = team_folder / str(number)
                folder.mkdir()
                team.append(Replica(folder, environment(folder, vendor, url)))
                team[-1].start()
                stack.callback(team[-1].kill)
            working = Team(team, vendor, dice)
            if by == "cuts":
                trouble = cut(database, working.figures, minutes)
            troubling = asyncio.create_task(trouble) if trouble is not None else None
            limits = httpx.Limits(max_connections=200, max_keepalive_connections=0)
            async with httpx.AsyncClient(limits=limits) as http:
                await working.work(http, callers, minutes)
            if troubling is not None:
                troubling.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await troubling
            return working.figures


def main() -> bool:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.replicas", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2, help="for each way (default 2)")
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--callers", type=int, default=50)
    parser.add_argument("--by", default=" ".join(WAYS), help=f"of {', '.join(WAYS)}")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    given = parser.parse_args()
    ways = given.by.split()
    if not ways or not set(ways) <= set(WAYS):
        parser.error(f"--by takes of {', '.join(WAYS)}")
    require("postgresql", *(["pgbouncer"] if "pooler" in ways else []))
    passed = failed = 0
    for by in ways:
        begun = time.monotonic()
        figures = asyncio.run(
            run(
                by,
                minutes=given.minutes,
                replicas=given.replicas,
                callers=given.callers,
                seed=given.seed,
            )
        )
        print(f"{by}, {time.monotonic() - begun:.0f} s, --seed {given.seed}: {figures}", flush=True)
        for wrong in figures.wrong:
            print(f"WRONG: {wrong}", flush=True)
        failed += len(figures.wrong)
        passed += max(0, figures.wishes - len(figures.wrong))
    print(f"replicas: {passed} passed, {failed} failed")
    return bool(passed) and not failed


if __name__ == "__main__":
    raise SystemExit(not main())
