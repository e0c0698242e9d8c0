"""Money: whatever happens in whatever order, nothing is paid for twice and no job is lost.

A model test: servers, their clients, the network and the clock do at random all that can happen to
them, in virtual time, against the sandbox. What must hold is checked all the way and at the end.
The test takes the same few hundred steps each time; `make money` takes others, and many more.
"""

import asyncio
import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from mcp import Client, MCPError
from mcp.server import MCPServer

from mcp_server.models import OUR_ID_PREFIX, TERMINAL
from mcp_server.sandbox import dreamina as dreamina_jobs
from mcp_server.sandbox import pixverse
from mcp_server.sandbox.app import Accepted, Sandbox
from mcp_server.sandbox.google_flow import sources as google_flow_sources
from mcp_server.settings import Settings
from mcp_server.tools.context import AppContext, open_app
from mcp_server.tools.registry import all_tools
from mcp_server.tools.strict_tool import StrictTool
from tests.support.harness import EPOCH, ORIGIN, TOKEN, Fault, Network, Reply, VirtualClock, reply
from tests.support.processes import DeadError, Kernel, Life
from tests.support.virtual_time import VirtualLoop

STEPS = Counter[str]()  # how often each rule was taken, over all runs: `make money` prints it

IN_MEMORY = Path("/dev/shm")  # where there is one, the journals' fsyncs cost nothing
JOB_S = 90.0
VENDOR_AT_WORK_S = 55.0  # a submit solves a captcha for 8-60 s before there is a job
ANSWERED_BY_S = 40.5  # a paid call, at the latest

Call = tuple[str, dict[str, Any]]

CALLS: tuple[Call, ...] = (
    ("upscale_video", {"source": dreamina_jobs.GOOD_VIDEO}),
    ("upscale_video", {"source": dreamina_jobs.MODERATED_VIDEO}),
    ("interpolate_video", {"source": dreamina_jobs.GOOD_VIDEO, "fps": 60}),
    ("interpolate_video", {"source": dreamina_jobs.GOOD_VIDEO, "fps": 30}),
    ("upscale_image", {"source": dreamina_jobs.GOOD_IMAGE}),
    ("upscale_image", {"source": dreamina_jobs.GOOD_IMAGE, "image_index": 1}),
    ("upscale_video", {"source": google_flow_sources.GOOD_VIDEO}),
    ("upscale_video", {"source": google_flow_sources.GOOD_VIDEO, "resolution": "4K"}),
    ("upscale_video", {"source": google_flow_sources.FAILING_VIDEO}),
    ("upscale_image", {"source": google_flow_sources.GOOD_IMAGE}),
    ("upscale_video", {"source": pixverse.GOOD_VIDEO}),
    ("upscale_video", {"source": pixverse.MODERATED_VIDEO}),
)


def _tools() -> list[StrictTool]:
    """The real ones; but clients need not compile and check their output schema at each start."""
    unchecked = {"output_schema": None}
    return [  # copies: all tests of a process share the real ones
        tool.model_copy(update={"fn_metadata": tool.fn_metadata.model_copy(update=unchecked)})
        for tool in all_tools()
    ]


TOOLS = _tools()  # they hold no state, and making them takes longer than a server's start


def own_answer(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"error": "No"}, headers=headers)


def page(status: int) -> httpx.Response:
    return httpx.Response(status, html="<html>A gateway's page</html>")


WORK_S = st.sampled_from([0.0, 0.5, 8.0, 30.0, VENDOR_AT_WORK_S])
ANSWER_S = st.sampled_from([0.0, 1.0, 14.0, 45.0, 200.0, 400.0])
AFTER_THE_WORK = st.sampled_from(
    ["answer", "answer", "cut", *map(own_answer, (408, 500, 503)), *map(page, (200, 502, 524))]
)
WITHOUT_WORK = st.sampled_from(
    [
        "cut",
        *map(own_answer, (400, 401, 402, 403, 404, 408, 412, 422, 429, 500, 503, 596)),
        own_answer(429, **{"Retry-After": "5"}),
        own_answer(429, **{"Retry-After": "600"}),
        *map(page, (200, 429, 502, 596)),
    ]
)
NOBODY_KNOWS = st.sampled_from(["cut", page(502), page(524)])
FAULTS_OF_POSTS = st.one_of(
    st.builds(Fault, connects=st.just(False)),
    st.builds(Fault, connect_s=st.sampled_from([1.0, 4.0, 20.0])),
    st.builds(Fault, before_s=WORK_S, after_s=ANSWER_S, then=AFTER_THE_WORK),
    st.builds(Fault, reaches=st.just(False), after_s=ANSWER_S, then=WITHOUT_WORK),
    st.builds(Fault, before_s=WORK_S, gives_up_s=ANSWER_S, then=NOBODY_KNOWS),
)
FAULTS_OF_READS = st.builds(
    Fault,
    connects=st.sampled_from([True, True, True, False]),
    after_s=st.sampled_from([0.0, 0.0, 1.0, 20.0, 200.0]),
    then=st.sampled_from(["answer", "cut", own_answer(500), page(502), own_answer(429)]),
)
PAUSES_S = st.sampled_from([0.0, 0.001, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 100.0, 300.0])


@dataclass(eq=False)
class Process:
    """A server with its client."""

    life: Life
    client: Client
    callers: list[asyncio.Task[Any]] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    host: "asyncio.Task[None] | None" = None

    @property
    def is_leaving(self) -> bool:
        return self.life.is_over or self.stop.is_set()


@dataclass
class Key:
    """What was asked for by one call, and when the user gave it up."""

    call: Call
    service: str
    path: str
    given_up_at: float = -math.inf

    def made(self, accepted: list[Accepted]) -> list[Accepted]:
        return [work for work in accepted if self.is_of(work)]

    def is_of(self, work: Accepted) -> bool:
        arguments = self.call[1]
        echoes = (
            work.body.get("fps") == arguments.get("fps"),
            work.body.get("imageIndex", 0) == arguments.get("image_index", 0),
            work.body.get("resolution", "1080p") == arguments.get("resolution", "1080p"),
        )
        return (work.path, work.source_id) == (self.path, arguments["source"]) and all(echoes)

    def is_told_by(self, job: dict[str, Any]) -> bool:
        tool, arguments = self.call
        return (job["operation"], job["source"]) == (tool, arguments["source"])

    @property
    def has_jobs(self) -> bool:
        """Google Flow's image upscale has none: nothing to find, and no documented cost."""
        return self.path != "/v1/google-flow/images/upscale"


def key_of(call: Call) -> Key:
    tool, arguments = call
    folder = "images" if tool == "upscale_image" else "videos"
    verb = "interpolate" if tool == "interpolate_video" else "upscale"
    source = arguments["source"]
    if "pixverse" in source:
        return Key(call, "pixverse", f"/v2/pixverse/{folder}/{verb}")
    service = "dreamina" if "dreamina" in source else "google-flow"
    return Key(call, service, f"/v1/{service}/{folder}/{verb}")


class Money(RuleBasedStateMachine):
    """Up to two servers on one journal, and everything that can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None)
        self._runner = asyncio.Runner(loop_factory=VirtualLoop)
        self._processes: list[Process] = []
        self._keys = [key_of(call) for call in CALLS]
        self._used: set[int] = set()
        self._ended: dict[str, str] = {}
        self._ids: list[str] = []
        self._given_up: set[str] = set()
        self._troubles: list[str] = []
        self._checked = 0

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(coroutine)

    @initialize()
    def begin(self) -> None:
        self._clock = VirtualClock()
        self._sandbox = Sandbox(job_seconds=JOB_S, now=self._true_time)
        self._network = Network(self._sandbox)
        self._network.faults = [Fault()]  # never empty: `_choose_fault` is asked each time
        self._post_faults: list[Fault] = []
        self._read_faults: list[Fault] = []
        self._network.concerns = self._choose_fault
        self._kernel = Kernel()
        self.run(self._start())

    def _true_time(self) -> float:
        """The vendor's clock is right, whatever ours says."""
        return EPOCH + self._runner.get_loop().time()

    def _choose_fault(self, request: httpx.Request) -> bool:
        """Put the fault this request meets at the head of the network's list."""
        faults = self._post_faults if request.method == "POST" else self._read_faults
        self._network.faults[:] = [faults.pop(0) if faults else Fault(), Fault()]
        return True

    # What happens

    @rule(which=st.integers(0, len(CALLS) - 1), where=st.integers(0, 1), pause_s=PAUSES_S)
    def a_tool_is_called(self, which: int, where: int, pause_s: float) -> None:
        self._call(which, where)
        self.run(asyncio.sleep(pause_s))

    @rule(which=st.integers(0, len(CALLS) - 1), times=st.integers(2, 5), pause_s=PAUSES_S)
    def a_tool_is_called_several_times_at_once(
        self, which: int, times: int, pause_s: float
    ) -> None:
        for where in range(times):
            self._call(which, where)
        self.run(asyncio.sleep(pause_s))

    @precondition(lambda self: self._used)
    @rule(data=st.data(), where=st.integers(0, 1), pause_s=PAUSES_S)
    def a_call_is_made_again(self, data: st.DataObject, where: int, pause_s: float) -> None:
        self._call(data.draw(st.sampled_from(sorted(self._used))), where)
        self.run(asyncio.sleep(pause_s))

    @rule(
        which=st.integers(0, len(CALLS) - 1),
        where=st.integers(0, 1),
        fault=FAULTS_OF_POSTS,
        bad_reads=st.sampled_from([0, 0, 0, 5, 40]),
        pause_s=PAUSES_S,
    )
    def a_call_meets_a_fault(
        self, which: int, where: int, fault: Fault, bad_reads: int, pause_s: float
    ) -> None:
        self._post_faults.insert(0, fault)
        self._read_faults += [Fault(then=page(502))] * bad_reads
        self._call(which, where)
        self.run(asyncio.sleep(pause_s))

    @rule(fault=FAULTS_OF_POSTS, times=st.integers(1, 2))
    def paid_requests_will_fail(self, fault: Fault, times: int) -> None:
        self._post_faults += [fault] * times

    @rule(fault=FAULTS_OF_READS, times=st.sampled_from([1, 2, 5, 12, 40]))
    def reads_will_fail(self, fault: Fault, times: int) -> None:
        self._read_faults += [fault] * times

    @rule()
    def the_network_heals(self) -> None:
        self._post_faults.clear()
        self._read_faults.clear()

    @rule(pause_s=PAUSES_S)
    def time_passes(self, pause_s: float) -> None:
        self.run(asyncio.sleep(pause_s))

    @precondition(lambda self: any(process.callers for process in self._processes))
    @rule(data=st.data())
    def a_caller_leaves(self, data: st.DataObject) -> None:
        callers = [caller for process in self._processes for caller in process.callers]
        callers[data.draw(st.integers(0, len(callers) - 1))].cancel()
        self.run(asyncio.sleep(0))

    @precondition(lambda self: self._ids)
    @rule(data=st.data(), where=st.integers(0, 1), wait_s=st.sampled_from([0, 0, 1, 7, 50]))
    def a_job_is_read(self, data: st.DataObject, where: int, wait_s: int) -> None:
        job_id = data.draw(st.sampled_from(self._ids[-20:]))
        limit_s = wait_s or 45
        self._ask(where, "get_job", {"job_id": job_id, "wait_seconds": wait_s}, limit_s)
        self.run(asyncio.sleep(data.draw(PAUSES_S)))

    @rule(where=st.integers(0, 1))
    def the_jobs_are_listed(self, where: int) -> None:
        self._ask(where, "list_jobs", {"limit": 100}, 0)
        self.run(asyncio.sleep(0.001))

    @precondition(lambda self: self._ids)
    @rule(data=st.data(), where=st.integers(0, 1))
    def a_job_is_cancelled(self, data: st.DataObject, where: int) -> None:
        job_id = data.draw(st.sampled_from(self._ids[-20:]))
        self._ask(where, "cancel_job", {"job_id": job_id}, math.inf)
        self.run(asyncio.sleep(1))

    @rule(jump_s=st.sampled_from([-86_400.0, -60.0, 60.0, 3600.0]))
    def the_clock_is_set(self, jump_s: float) -> None:
        self._clock.jump_s = jump_s

    @rule(where=st.integers(0, 1))
    def a_server_is_restarted(self, where: int) -> None:
        process = self._processes[where % len(self._processes)]
        self.run(self._stop(process))
        self.run(self._start())

    @rule(where=st.integers(0, 1), pause_s=PAUSES_S)
    def a_server_is_killed(self, where: int, pause_s: float) -> None:
        self._kill(self._processes[where % len(self._processes)])
        if not self._processes:
            self.run(asyncio.sleep(pause_s))
            self.run(self._start())

    @rule(
        which=st.integers(0, len(CALLS) - 1),
        where=st.integers(0, 1),
        fault=FAULTS_OF_POSTS,
        pauses_s=st.tuples(PAUSES_S, PAUSES_S),
    )
    def a_server_is_killed_in_the_middle_of_a_call(
        self, which: int, where: int, fault: Fault, pauses_s: tuple[float, float]
    ) -> None:
        self.a_call_meets_a_fault(which, where, fault, 0, min(pauses_s[0], 10.0))
        self.a_server_is_killed(where, 0.0)
        self._call(which, where)
        self.run(asyncio.sleep(pauses_s[1]))

    @precondition(lambda self: len(self._processes) < 2)
    @rule()
    def a_second_server_is_started(self) -> None:
        self.run(self._start())

    # What must hold

    @invariant()
    def nothing_is_wrong(self) -> None:
        STEPS["steps"] += 1
        assert not self._troubles, self._troubles

    @invariant()
    def nothing_is_paid_for_twice(self) -> None:
        if not hasattr(self, "_sandbox") or self._checked == len(self._sandbox.accepted):
            return
        self._checked = len(self._sandbox.accepted)
        for key in self._keys:
            made = key.made(self._sandbox.accepted)
            if not key.has_jobs or len(made) < 2:
                continue
            standing = [work for work in made if work.at > key.given_up_at]
            ends = [self._failed_at(work) for work in standing]
            for earlier, later in zip(ends, standing[1:], strict=False):
                assert earlier <= later.at, f"paid for twice: {standing}"

    def teardown(self) -> None:
        try:
            if hasattr(self, "_sandbox"):
                self._every_call_is_made_again()
        finally:
            self._runner.close()
            self._folder.cleanup()

    def _every_call_is_made_again(self) -> None:
        """Once all is well again, no job is unknown."""
        STEPS["the end"] += 1
        self.the_network_heals()
        self._clock.jump_s = 0.0
        if not self._processes:
            self.run(self._start())
        self.run(asyncio.sleep(1000))
        for _ in range(2):
            for which in sorted(self._used):
                self._call(which, 0)
            self.run(asyncio.sleep(300))
        listed = self.run(self._list())
        ids = {job["job_id"] for job in listed}
        for key in self._keys:
            told = [job for job in listed if key.is_told_by(job)]
            open_ = any(job["status"] in ("unconfirmed", "submitting") for job in told)
            cached = key.service == "google-flow" and any(
                job["status"] == "completed" for job in told
            )
            for work in key.made(self._sandbox.accepted):
                failed = self._failed_at(work) < math.inf
                forgotten = work.at <= key.given_up_at
                known = work.job_id is None or work.job_id in ids
                assert known or open_ or cached or failed or forgotten, f"lost: {work} of {listed}"
        self.nothing_is_wrong()
        self.nothing_is_paid_for_twice()

    def _failed_at(self, work: Accepted) -> float:
        """When the vendor's job failed or was cancelled; never, if it did not."""
        record = self.run(self._record(work))
        if record.get("status") == "failed":
            return datetime.fromisoformat(record["updated"]).timestamp()
        if record.get("video_status") == 7:
            return work.at + JOB_S
        return math.inf

    async def _record(self, work: Accepted) -> dict[str, Any]:
        folder = (
            work.path.rsplit("/", 1)[0] if work.service != "google-flow" else "/v1/google-flow/jobs"
        )
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self._sandbox), base_url=ORIGIN
        ) as client:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            answer = await client.get(f"{folder}/{work.job_id}", headers=headers)
            found: dict[str, Any] = answer.json()
            return found

    # How it is done

    def _call(self, which: int, where: int) -> None:
        self._used.add(which)
        tool, arguments = CALLS[which]
        self._ask(where, tool, arguments, ANSWERED_BY_S)

    def _ask(self, where: int, tool: str, arguments: dict[str, Any], limit_s: float) -> None:
        STEPS[tool] += 1
        process = self._processes[where % len(self._processes)]

        async def begin() -> None:
            caller = asyncio.create_task(self._asked(process, tool, arguments, limit_s))
            process.callers.append(caller)
            caller.add_done_callback(process.callers.remove)

        self.run(begin())

    async def _asked(
        self, process: Process, tool: str, arguments: dict[str, Any], limit_s: float
    ) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            answer = reply(await process.client.call_tool(tool, arguments))
        except (asyncio.CancelledError, DeadError):
            return
        except MCPError as error:
            if not process.is_leaving:
                self._troubles.append(f"{tool} raised {error!r}")
            return
        if process.is_leaving:
            return
        took_s = loop.time() - began
        if took_s > limit_s + 0.01:
            self._troubles.append(f"{tool} {arguments} took {took_s} s")
        if answer.is_error:
            self._check_error(tool, answer)
        elif tool == "list_jobs":
            for job in answer.job["jobs"]:
                self._see(job)
        else:
            self._see(answer.job)
            if tool == "cancel_job" and "Given up" in answer.text:
                self._note_given_up(answer.job)

    def _check_error(self, tool: str, answer: Reply) -> None:
        try:
            code = answer.error["code"]
        except json.JSONDecodeError:
            code = "none"
        if code in ("none", "journal_unusable", "error"):
            self._troubles.append(f"{tool} failed: {answer.text}")

    def _see(self, job: dict[str, Any]) -> None:
        job_id, status = job["job_id"], job["status"]
        if job_id not in self._ids:
            self._ids.append(job_id)
        was = self._ended.get(job_id)
        if was is not None and was != status and job_id not in self._given_up:
            self._troubles.append(f"{job_id} was {was} and now is {status}")
        if status in TERMINAL:
            self._ended[job_id] = status

    def _note_given_up(self, job: dict[str, Any]) -> None:
        """The user took it on himself: what was made until now may be paid for once more."""
        assert job["job_id"].startswith(OUR_ID_PREFIX)
        self._given_up.add(job["job_id"])
        for key in self._keys:
            if key.is_told_by(job):
                key.given_up_at = self._true_time()

    async def _start(self) -> None:
        life = Life(self._kernel, self._network, self._clock)
        folder = Path(self._folder.name)
        environment = {
            "USEAPI_TOKEN": TOKEN,
            "USEAPI_OUTPUT_DIR": str(folder / "output"),
            "USEAPI_STATE_DIR": str(folder / "state"),
        }

        @asynccontextmanager
        async def lifespan(_: MCPServer[AppContext]) -> AsyncIterator[AppContext]:
            chosen = Settings.read(environment)
            async with open_app(chosen, life.clock, life.network, life.locks) as app:
                yield app

        server: MCPServer[AppContext] = MCPServer(
            "useapi-mcp", tools=list(TOOLS), lifespan=lifespan, log_level="CRITICAL"
        )
        process = Process(life, Client(server))
        ready = asyncio.Event()

        async def host() -> None:
            async with process.client:
                ready.set()
                await process.stop.wait()

        process.host = asyncio.create_task(host())
        await ready.wait()
        self._processes.append(process)

    async def _stop(self, process: Process) -> None:
        self._processes.remove(process)
        process.stop.set()
        assert process.host is not None
        await process.host

    def _kill(self, process: Process) -> None:
        STEPS["kill"] += 1
        self._processes.remove(process)
        process.life.end()
        for caller in list(process.callers):
            caller.cancel()

    async def _list(self) -> list[dict[str, Any]]:
        answer = await self._processes[0].client.call_tool("list_jobs", {"limit": 100})
        jobs: list[dict[str, Any]] = reply(answer).job["jobs"]
        return jobs


Money.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestMoney = Money.TestCase
