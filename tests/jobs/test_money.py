"""Money: whatever happens in whatever order, nothing is paid for twice and no job is lost.

A model test: servers, their clients, the vendor, others on the same account, the network, the disk
and the clock do at random all that can happen to them, in virtual time, against the sandbox. What
must hold is in tests/support/money_oracle.py; it is checked all the way and at the end.
`make fuzz` looks far longer.
"""

import asyncio
import hashlib
import json
import math
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from mcp import Client, MCPError
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.server import MCPServer
from mcp.types import CallToolResult, ElicitResult, ErrorData

from mcp_server.clock import Clock
from mcp_server.journal.locks import KeyLocks
from mcp_server.models import OUR_ID_PREFIX, TERMINAL
from mcp_server.sandbox import media
from mcp_server.server.tasks import IDENTIFIER, job_tasks
from mcp_server.settings import Settings
from mcp_server.tools.context import AppContext, open_app
from mcp_server.tools.registry import all_tools
from mcp_server.tools.strict_tool import StrictTool
from tests.support import vendor_faults as vf
from tests.support.harness import EPOCH, ORIGIN, TOKEN, Fault, Reply, VirtualClock, reply
from tests.support.money_oracle import DAY_S, Facts, JournalReader, asked_twice
from tests.support.processes import DeadError, Kernel, Life
from tests.support.stores import WeakStore
from tests.support.tasks_client import Created, Method, ask
from tests.support.vendor_faults import JOB_S, Post, PostFault, ReadFault, VendorNetwork, Vendors
from tests.support.virtual_time import VirtualLoop
from tests.support.wishes import Wish

STEPS = Counter[str]()  # how often each rule was taken, over all runs: `make fuzz` tells it

IN_MEMORY = Path("/dev/shm")  # where there is one, the journals' fsyncs cost nothing
OTHER_ORIGIN = "https://other.example.com"
ANSWERED_BY_S = 40.5  # a paid call, at the latest
SUSPENDED_S = 25.0  # what a store that gives way at every call may add to that
QUOTED_S = 20.0  # so long is waited for a price before that
READ_S = 10.0  # for the accounts, and for what was made before
SLOTS_S = 5.0  # for how many jobs an account may run
UPLOADED_S = 40.0  # and for an upload before both

# The sources of a run: of each kind many, every other one of a second account.
MANY = 40
MAILS = ("user@example.com", "second@example.com")


def _sources(kind: str) -> list[str]:
    form = {
        "dreamina video": "j0302140530129{0:06}v-u12345-CA:{1}-bot:dreamina",
        "dreamina image": "j0302140530129{0:06}i-u12345-US:{1}-bot:dreamina",
        "flow video": "user:12345-email:{2}-video:fresh-{0}",
        "flow image": "user:12345-email:{2}-image:fresh-{0}",
        "pixverse video": "user:12345-pixverse:{1}-video:{0}",
    }[kind]
    return [
        form.format(number, mail, mail.encode().hex())
        for number in range(1, MANY)
        for mail in (MAILS[number % 2],)
    ]


KINDS = ("dreamina video", "dreamina image", "flow video", "flow image", "pixverse video")
SOURCES = {kind: _sources(kind) for kind in KINDS}
PROMPTS = [f"A windmill at dawn, no. {number}" for number in range(1, MANY)]
FILES = [f"holiday-{number}.jpg" for number in range(1, MANY)]
PICTURE = media.read(media.image(1280, 720))
TEMPLATES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("dreamina video", "upscale_video", {}),
    ("dreamina video", "interpolate_video", {"fps": 60}),
    ("dreamina video", "interpolate_video", {"fps": 30}),
    ("dreamina image", "upscale_image", {}),
    ("dreamina image", "upscale_image", {"image_index": 1}),
    ("dreamina image", "upscale_image", {"resolution": "8k"}),
    ("dreamina image", "upscale_image", {"original_image_strength": 0.2}),
    ("flow video", "upscale_video", {}),
    ("flow video", "upscale_video", {"resolution": "4K"}),
    ("flow video", "upscale_video", {"resolution": "4K"}),
    ("flow image", "upscale_image", {}),
    ("pixverse video", "upscale_video", {}),
    ("pixverse video", "upscale_video", {}),
    ("file", "upscale_image", {}),
    *(
        ("prompt", tool, {"service": service, **more})
        for tool in ("generate_video", "generate_image")
        for service in ("dreamina", "google-flow", "pixverse")
        for more in ({}, {"variation": 2})
    ),
    ("prompt", "generate_image", {"service": "pixverse", "count": 2}),
)


def _tools() -> list[StrictTool]:
    """The real ones; but clients need not compile and check their output schema at each start."""
    unchecked = {"output_schema": None}
    return [  # copies: all tests of a process share the real ones
        tool.model_copy(update={"fn_metadata": tool.fn_metadata.model_copy(update=unchecked)})
        for tool in all_tools()
    ]


TOOLS = _tools()  # they hold no state, and making them takes longer than a server's start

# What happens to requests

WORK_S = st.sampled_from([0.0, 0.5, 8.0, 30.0, 55.0, 120.0, 300.0])
ARRIVES_S = st.sampled_from([0.0, 0.0, 0.5, 2.0])
ANSWER_S = st.sampled_from([0.0, 1.0, 14.0, 45.0, 200.0, 400.0])
FAILS = st.sampled_from([False, False, False, True])
AFTER_THE_WORK = st.sampled_from(
    [
        *("answer", "answer", "cut"),
        *map(vf.own, (400, 403, 408, 422, 500, 503)),
        *map(vf.page, (200, 502, 524)),
        *vf.GATEWAY_JSON,
        *vf.GATEWAY_REFUSALS,
        *vf.NOTHING_SAID,
        *(vf.unknown_id, vf.wrong_id, vf.without_id, vf.result_without_id),
    ]
)
WITHOUT_WORK = st.sampled_from(
    [
        "cut",
        *map(vf.own, (400, 401, 402, 403, 404, 408, 412, 422, 429, 500, 503, 596)),
        vf.own(429, **{"Retry-After": "5"}),
        vf.own(429, **{"Retry-After": "600"}),
        *map(vf.page, (200, 429, 502, 596)),
        *vf.GATEWAY_JSON,
        *vf.GATEWAY_REFUSALS,
        *vf.NOTHING_SAID,
    ]
)
NOBODY_KNOWS = st.sampled_from(["cut", vf.page(502), vf.page(524), *vf.GATEWAY_JSON])
POST_FAULTS = st.one_of(
    st.builds(PostFault, connects=st.just(False)),
    st.builds(PostFault, connect_s=st.sampled_from([1.0, 4.0, 20.0])),
    st.builds(PostFault, kills=st.just(True)),
    st.builds(
        PostFault,
        before_s=ARRIVES_S,
        work_s=WORK_S,
        after_s=ANSWER_S,
        fails=FAILS,
        then=AFTER_THE_WORK,
    ),
    st.builds(PostFault, reaches=st.just(False), after_s=ANSWER_S, then=WITHOUT_WORK),
    st.builds(
        PostFault,
        before_s=ARRIVES_S,
        work_s=WORK_S,
        gives_up_s=ANSWER_S,
        fails=FAILS,
        then=NOBODY_KNOWS,
    ),
)
LIST_FAULTS = st.sampled_from([vf.without_sections, vf.every_other, vf.stale, vf.strange_entry])
ANY_ANSWER = st.sampled_from(
    [
        *("answer", "cut"),
        *map(vf.own, (403, 404, 410, 429, 500)),
        *map(vf.page, (404, 410, 502)),
        *vf.GATEWAY_JSON[:2],
        *vf.GATEWAY_REFUSALS[2:4],
        httpx.Response(200, json={"error": "Temporarily unavailable"}),
        httpx.Response(204),
    ]
)
READ_FAULTS = st.one_of(
    st.builds(
        ReadFault,
        st.sampled_from(["all", "all", "lists", "records", "some"]),
        st.builds(
            Fault,
            connects=st.sampled_from([True, True, True, False]),
            after_s=st.sampled_from([0.0, 0.0, 1.0, 20.0, 200.0]),
            then=ANY_ANSWER,
        ),
    ),
    st.builds(ReadFault, st.just("lists"), st.builds(Fault, then=LIST_FAULTS)),
    st.builds(
        ReadFault,
        st.sampled_from(["records", "some"]),
        st.builds(Fault, then=st.just(vf.without_request)),
    ),
)
PAUSES_S = st.sampled_from(
    [*(0.0, 0.001, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 100.0, 300.0) * 2, 1200.0, 7200.0]
)
LONG_PAUSES_S = st.sampled_from([3600.0, DAY_S, 7.1 * DAY_S, 31 * DAY_S])
WHERE = st.integers(0, 1)
USER_SAYS = st.sampled_from(["yes"] * 6 + ["no", "cancel", "nothing", "pay", "pay nothing"])
CAPS = {"pay": {"max_credits": 100}, "pay nothing": {"max_credits": 0}}

_ASKER: ContextVar["Asked | None"] = ContextVar("_ASKER", default=None)


@dataclass(eq=False)
class Asked:
    """A call of a paid tool, and what its user says when asked about the price."""

    wish: Wish
    says: str
    life: Life
    began: int  # how many calls there were before
    ended: float = math.inf  # how many there were when it was answered
    yeses: int = 0


async def _user(context: Any, params: Any) -> ElicitResult | ErrorData:
    call = _ASKER.get()
    assert call is not None, "a question that belongs to no call"
    STEPS[f"asked: {call.says}"] += 1
    if call.says == "yes":
        call.yeses += 1
        return ElicitResult(action="accept", content={"confirm": True})
    if call.says == "nothing":
        return ElicitResult(action="accept")
    return ElicitResult(action="decline" if call.says == "no" else "cancel")


class TakesTasks(ClientExtension):
    """Takes a task for the answer of a call, without following it."""

    identifier = IDENTIFIER

    def claims(self) -> list[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Created, resolve=self._resolve)]

    async def _resolve(self, created: Created, ctx: ClaimContext) -> CallToolResult:
        return CallToolResult(content=[], structured_content=created.wire())


@dataclass(eq=False)
class Process:
    """A server with its client."""

    life: Life
    origin: str
    limit: float
    asks_from: float
    client: Client
    store: WeakStore | None = None
    callers: list[asyncio.Task[Any]] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    host: "asyncio.Task[None] | None" = None

    @property
    def is_leaving(self) -> bool:
        return self.life.is_over or self.stop.is_set()


class Money(RuleBasedStateMachine):
    """Up to two servers on one journal, and everything that can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None)
        self._journal = JournalReader(Path(self._folder.name) / "state")
        self._runner = asyncio.Runner(loop_factory=VirtualLoop)
        self._processes: list[Process] = []
        self._lives: dict[Life, Process] = {}
        self._next = dict.fromkeys((*KINDS, "prompt", "file"), -1)
        self._lost_lock = self._was_replaced = self._has_queue = False
        self._wishes: list[Wish] = []
        self._used: set[tuple[str, Wish]] = set()
        self._asked: list[tuple[str, Asked]] = []
        self._ended: dict[str, tuple[str, float]] = {}
        self._ids: list[str] = []
        self._given_up_at: dict[str, float] = {}
        self._cancel_asked_at: dict[str, float] = {}
        self._troubles: list[str] = []
        self._checked = 0
        self._clock_was_set = False
        self._disk_was_full = False

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(coroutine)

    @initialize(
        number=st.integers(0, 2**16),
        is_suspending=st.booleans(),
        drift_s=st.sampled_from([0.0, 0.0, -40.0, 3600.0]),
        jump_s=st.sampled_from([0.0, 0.0, 3600.0, -3600.0]),
        limit=st.sampled_from([math.inf, math.inf, 60.0, 150.0, 400.0]),
        asks_from=st.sampled_from([50.0, 50.0, 30.0, 0.0]),
        slots=st.sampled_from([*[None] * 5, 1, 3]),
    )
    def begin(
        self,
        number: int,
        is_suspending: bool,
        drift_s: float,
        jump_s: float,
        limit: float,
        asks_from: float,
        slots: int | None,
    ) -> None:
        """Begin a run; where accounts have few `slots`, the servers have a queue for them."""
        random.seed(number)  # the server's jitter
        self._has_queue = slots is not None
        self._dice = random.Random(number) if is_suspending else None
        self._limit, self._asks_from = limit, asks_from
        self._highest_limit, self._asked_from_at_most = limit, asks_from
        self._clock = VirtualClock()
        self._clock.jump_s = jump_s
        self._vendors = Vendors(
            tuple(httpx.URL(origin).host for origin in (ORIGIN, OTHER_ORIGIN)),
            now=self._true_time,
            sources=tuple(source for kind in KINDS for source in SOURCES[kind]),
            drift_s=drift_s,
            slots=slots,
        )
        self._network = VendorNetwork(self._vendors, self._assign)
        self._kernel = Kernel()
        self.run(self._start())

    def _true_time(self) -> float:
        return EPOCH + self._runner.get_loop().time()

    def _assign(self, post: Post) -> None:
        """Find what a paid request is for: its wish, and the row that is live in the journal."""
        ours = self._journal.rows("id = ?", str(post.body.get("replyRef")))
        if ours:
            post.wish = next((wish for wish in self._wishes if wish.is_row(ours[0])), None)
            post.row_id = ours[0]["id"]
            if post.wish is not None and post.wish.kept_as:
                self._check_upload(post, post.wish)
            return
        post.wish = next((w for w in self._wishes if w.is_of(post.path, post.body)), None)
        rows = self._journal.rows(
            "origin in (?, '') and source_id = ? and state = 'submitting' and posts > 0"
            " order by origin = ''",  # a row of the first version may be another address's
            post.origin,
            str(post.wish and post.wish.source_id),
        )
        post.row_id = next((r["id"] for r in rows if post.wish and post.wish.is_row(r)), None)

    def _check_upload(self, post: Post, wish: Wish) -> None:
        """Nothing is paid for while its file is still on the way."""
        size = str(len(self._content(wish.source_id)))
        for free in self._network.free:
            is_its = free.is_upload and free.about[-1] == size and free.life is post.life
            if is_its and not free.is_over:
                self._troubles.append(f"paid for while it was uploaded: {wish}")

    def _content(self, name: str) -> bytes:
        """A picture of another length than any other."""
        return PICTURE + bytes(int(re.sub(r"\D", "", Path(name).stem)))

    # What happens

    def _wish(self, template: int, is_fresh: bool) -> Wish:
        kind, tool, options = TEMPLATES[template]
        if is_fresh or self._next[kind] < 0:
            self._next[kind] = min(self._next[kind] + 1, MANY - 2)
        wish = self._wish_of(kind, self._next[kind], tool, tuple(options.items()))
        if wish not in self._wishes:
            self._wishes.append(wish)
        return wish

    def _wish_of(
        self, kind: str, number: int, tool: str, options: tuple[tuple[str, Any], ...]
    ) -> Wish:
        if kind != "file":
            sources = PROMPTS if kind == "prompt" else SOURCES[kind]
            return Wish(tool, sources[number], options)
        path = Path(self._folder.name, "pictures", FILES[number])
        path.parent.mkdir(exist_ok=True)
        content = self._content(path.name)
        if not path.exists():
            path.write_bytes(content)
        return Wish(tool, str(path), options, f"file:{hashlib.sha256(content).hexdigest()}")

    @rule(
        template=st.integers(0, len(TEMPLATES) - 1),
        is_fresh=st.sampled_from([True, True, True, False]),
        where=WHERE,
        times=st.sampled_from([1, 1, 1, 2, 4]),
        says=USER_SAYS,
        pause_s=PAUSES_S,
    )
    def a_tool_is_called(
        self, template: int, is_fresh: bool, where: int, times: int, says: str, pause_s: float
    ) -> None:
        wish = self._wish(template, is_fresh)
        for number in range(times):
            self._call(wish, where + number, says)
        self.run(asyncio.sleep(pause_s))

    @precondition(lambda self: self._has_queue)
    @rule(
        template=st.integers(0, len(TEMPLATES) - 1),
        where=WHERE,
        number=st.integers(2, 6),
        pause_s=PAUSES_S,
    )
    def more_is_wished_for_than_there_are_slots(
        self, template: int, where: int, number: int, pause_s: float
    ) -> None:
        for at in range(number):
            self._call(self._wish(template, is_fresh=True), where + at, "yes")
        self.run(asyncio.sleep(pause_s))

    @precondition(lambda self: self._wishes)
    @rule(data=st.data(), where=WHERE, says=USER_SAYS, pause_s=PAUSES_S)
    def a_call_is_made_again(
        self, data: st.DataObject, where: int, says: str, pause_s: float
    ) -> None:
        wish = data.draw(st.sampled_from(self._wishes[-30:]))
        self._call(wish, where, says)
        self.run(asyncio.sleep(pause_s))

    @rule(
        template=st.integers(0, len(TEMPLATES) - 1),
        where=WHERE,
        fault=POST_FAULTS,
        reads=st.one_of(st.none(), READ_FAULTS),
        times=st.sampled_from([1, 5, 40]),
        pause_s=PAUSES_S,
    )
    def a_first_call_meets_a_fault(
        self,
        template: int,
        where: int,
        fault: PostFault,
        reads: ReadFault | None,
        times: int,
        pause_s: float,
    ) -> None:
        self._network.post_faults.insert(0, fault)
        self._network.read_faults += [reads] * times if reads is not None else []
        self._call(self._wish(template, is_fresh=True), where, "yes")
        self.run(asyncio.sleep(pause_s))

    @rule(
        template=st.integers(0, len(TEMPLATES) - 1),
        where=WHERE,
        fault=POST_FAULTS,
        theirs=st.builds(PostFault, work_s=WORK_S, fails=FAILS),
        waits_s=st.tuples(st.sampled_from([0.0, 1.0, 30.0, 100.0, 400.0]), ARRIVES_S),
        is_first=st.booleans(),
        pause_s=PAUSES_S,
    )
    def a_stranger_does_the_same(
        self,
        template: int,
        where: int,
        fault: PostFault,
        theirs: PostFault,
        waits_s: tuple[float, float],
        is_first: bool,
        pause_s: float,
    ) -> None:
        """By hand on the vendor's site, or by another machine: before, beside or after ours."""
        wish = self._wish(template, is_fresh=True)
        wait_s = sum(waits_s)
        if is_first:
            self._stranger(wish, theirs)
            self.run(asyncio.sleep(wait_s))
        self._network.post_faults.insert(0, fault)
        self._call(wish, where, "yes")
        if not is_first:
            self.run(asyncio.sleep(wait_s))
            self._stranger(wish, theirs)
        self.run(asyncio.sleep(pause_s))

    @precondition(lambda self: self._wishes)
    @rule(data=st.data(), theirs=st.builds(PostFault, work_s=WORK_S, fails=FAILS))
    def a_stranger_comes(self, data: st.DataObject, theirs: PostFault) -> None:
        self._stranger(data.draw(st.sampled_from(self._wishes[-10:])), theirs)
        self.run(asyncio.sleep(0.001))

    @rule(rounds=st.sampled_from([1, 2, 6]))
    def strangers_fill_the_lists(self, rounds: int) -> None:
        for _ in range(rounds):
            for number in range(8):
                source_id = SOURCES["pixverse video"][-1 - number % 2]
                self._stranger(Wish("upscale_video", source_id), PostFault())
            self.run(asyncio.sleep(JOB_S + 1))

    @rule(fault=POST_FAULTS, times=st.integers(1, 2))
    def paid_requests_will_fail(self, fault: PostFault, times: int) -> None:
        self._network.post_faults += [fault] * times

    @rule(fault=POST_FAULTS, times=st.integers(1, 2))
    def uploads_and_quotes_will_fail(self, fault: PostFault, times: int) -> None:
        self._network.free_faults += [fault] * times

    @rule(fault=READ_FAULTS, times=st.sampled_from([1, 2, 5, 12, 40]))
    def reads_will_fail(self, fault: ReadFault, times: int) -> None:
        self._network.read_faults += [fault] * times

    @rule()
    def the_network_heals(self) -> None:
        self._network.heal()

    @rule(pause_s=PAUSES_S)
    def time_passes(self, pause_s: float) -> None:
        self.run(asyncio.sleep(pause_s))

    @rule(pause_s=LONG_PAUSES_S)
    def much_time_passes(self, pause_s: float) -> None:
        # A server with a queue looks at it every few seconds, day and night.
        self.run(asyncio.sleep(min(pause_s, 1_200.0) if self._has_queue else pause_s))

    @precondition(lambda self: any(process.callers for process in self._processes))
    @rule(data=st.data())
    def a_caller_leaves(self, data: st.DataObject) -> None:
        callers = [caller for process in self._processes for caller in process.callers]
        callers[data.draw(st.integers(0, len(callers) - 1))].cancel()
        self.run(asyncio.sleep(0))

    @precondition(lambda self: self._ids)
    @rule(data=st.data(), where=WHERE, wait_s=st.sampled_from([0, 0, 1, 7, 50]))
    def a_job_is_read(self, data: st.DataObject, where: int, wait_s: int) -> None:
        job_id = data.draw(st.sampled_from(self._ids[-20:]))
        arguments = {"job_id": job_id, "wait_seconds": wait_s}
        self._ask(where, "get_job", arguments, wait_s or 45)
        self.run(asyncio.sleep(data.draw(PAUSES_S)))

    @precondition(lambda self: self._ids)
    @rule(
        data=st.data(),
        where=WHERE,
        method=st.sampled_from(["tasks/get", "tasks/get", "tasks/cancel"]),
    )
    def a_task_is_asked_for(self, data: st.DataObject, where: int, method: Method) -> None:
        job_id = data.draw(st.sampled_from(self._ids[-20:]))
        process = self._process(where)

        async def begin() -> None:
            caller = asyncio.create_task(self._ask_for_a_task(process, method, job_id))
            process.callers.append(caller)
            caller.add_done_callback(process.callers.remove)
            await asyncio.sleep(1)

        self.run(begin())

    @rule(where=WHERE)
    def the_jobs_are_listed(self, where: int) -> None:
        self._ask(where, "list_jobs", {"limit": 100}, math.inf if self._dice else 0)
        self.run(asyncio.sleep(0.001))

    @precondition(lambda self: self._ids)
    @rule(data=st.data(), where=WHERE)
    def a_job_is_cancelled(self, data: st.DataObject, where: int) -> None:
        job_id = data.draw(st.sampled_from(self._ids[-20:]))
        self._cancel_asked_at.setdefault(job_id, self._true_time())
        self._ask(where, "cancel_job", {"job_id": job_id}, math.inf)
        self.run(asyncio.sleep(1))

    @precondition(lambda self: self._ids)
    @rule(data=st.data(), where=WHERE)
    def a_job_is_saved(self, data: st.DataObject, where: int) -> None:
        job_id = data.draw(st.sampled_from(self._ids[-20:]))
        self._ask(where, "download_media", {"job_id": job_id}, math.inf)
        self.run(asyncio.sleep(1))

    @rule(jump_s=st.sampled_from([-DAY_S, -3600.0, -60.0, 0.0, 60.0, 3600.0, DAY_S]))
    def the_clock_is_set(self, jump_s: float) -> None:
        self._clock_was_set = True
        self._clock.jump_s = jump_s

    @rule(where=WHERE, times=st.sampled_from([1, 2, 3, 10]))
    def the_disk_is_full(self, where: int, times: int) -> None:
        self._disk_was_full = True
        store = self._process(where).store
        assert store is not None
        store.full_for += times

    @rule()
    def the_lock_file_goes(self) -> None:
        self._lost_lock = True
        self._kernel.lose_all()

    @rule(where=WHERE)
    def a_server_is_restarted(self, where: int) -> None:
        self.run(self._stop(self._process(where)))
        self.run(self._start())

    @rule(
        where=WHERE,
        origin=st.sampled_from([ORIGIN, OTHER_ORIGIN]),
        limit=st.sampled_from([math.inf, 60.0, 400.0]),
        asks_from=st.sampled_from([0.0, 50.0]),
    )
    def a_server_is_restarted_with_other_settings(
        self, where: int, origin: str, limit: float, asks_from: float
    ) -> None:
        self.run(self._stop(self._process(where)))
        self._limit, self._asks_from = limit, asks_from
        self._highest_limit = max(self._highest_limit, limit)
        self._asked_from_at_most = max(self._asked_from_at_most, asks_from)
        self.run(self._start(origin))

    @rule(newer=st.booleans())
    def all_servers_are_replaced_by_another_version(self, newer: bool) -> None:
        """Rows that a newer version left are there afterwards; or all are of the first one.

        That one took what it found for its own and noted no doubt, so that nothing can be told of
        it later: a doubt that was noted is no row of the first version's.
        """
        if not newer and self._journal.rows("evidence like '%unproven%' or state = 'queued'"):
            return
        self._was_replaced = True
        for process in list(self._processes):
            self.run(self._stop(process))
        if newer:
            self._journal.edit(*_of_a_newer_version(ORIGIN))
            self._ids += [row["id"] for row in self._journal.rows("source_id = 'clip'")]
        else:
            self._journal.edit(
                "update submission set evidence = '{}'",
                *(
                    f"drop table {table}"
                    for table in ("quote", "users", "asked", "slots", "own_token")
                ),
                "drop index by_status",
                "drop index by_age",
                *(
                    f"alter table submission drop column {column}"
                    for column in (
                        *("origin", "evidence", "has_links", "payer", "account"),
                        *("runs_on", "queued_until"),
                    )
                ),
                "pragma user_version = 1",
            )
        self.run(self._start())
        self._ask(0, "list_jobs", {"limit": 100}, math.inf)  # which opens the journal
        self.run(asyncio.sleep(1))

    @rule(where=WHERE, pause_s=PAUSES_S)
    def a_server_is_killed(self, where: int, pause_s: float) -> None:
        self._kill(self._process(where))
        if not self._processes:
            self.run(asyncio.sleep(pause_s))
            self.run(self._start())

    @rule(
        template=st.integers(0, len(TEMPLATES) - 1),
        where=WHERE,
        fault=POST_FAULTS,
        pauses_s=st.tuples(PAUSES_S, PAUSES_S),
    )
    def a_server_is_killed_in_the_middle_of_a_call(
        self, template: int, where: int, fault: PostFault, pauses_s: tuple[float, float]
    ) -> None:
        self.a_first_call_meets_a_fault(template, where, fault, None, 0, min(pauses_s[0], 10.0))
        self.a_server_is_killed(where, 0.0)
        self._call(self._wishes[-1], where, "yes")
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
        if not hasattr(self, "_vendors") or self._checked == len(self._vendors.posts):
            return
        self._checked = len(self._vendors.posts)
        self._judge()

    @invariant()
    def nothing_is_asked_twice(self) -> None:
        """But where a clock was set, or what was told could not be kept."""
        if not hasattr(self, "_network") or self._clock_was_set or self._disk_was_full:
            return
        if self._lost_lock or self._was_replaced:
            return
        lives = {process.life for process in self._processes if not process.is_leaving}
        found = asked_twice(self._network.free, lives)
        assert not found, "\n".join(found)

    def _judge(self) -> Facts:
        facts = self._facts()
        found = [
            *facts.faults(),
            *facts.waits_though_made(),
            *facts.overspent(self._highest_limit),
            *self._sent_without_consent(),
        ]
        assert not found, "\n".join(found)
        return facts

    def _facts(self) -> Facts:
        return Facts(
            wishes=self._wishes,
            posts=list(self._vendors.posts),
            rows=self._journal.rows(),
            cancelled_at=self._vendors.cancelled_at,
            disowned_at=self._network.disowned_at,
            given_up_at=self._given_up_unheard() | self._given_up_at,
            clock_was_set=self._clock_was_set,
        )

    def _sent_without_consent(self) -> list[str]:
        """Each row that a request left for, at a price to ask about, has a yes of its own."""
        rows: dict[tuple[str, Wish], set[str | None]] = {}
        first = {post.row_id: post for post in reversed(self._vendors.posts)}
        for post in first.values():  # who sends a row once more has no new one to ask about
            process = self._lives.get(post.life) if post.life is not None else None
            if process is None or post.wish is None:
                continue
            # What waited may be sent by another server than the one that had to ask.
            asks_from = self._asked_from_at_most if self._has_queue else process.asks_from
            if 0 < post.wish.asked_about >= asks_from:
                rows.setdefault((post.origin, post.wish), set()).add(post.row_id)
        yeses = Counter[tuple[str, Wish]]()
        for origin, asked in self._asked:
            yeses[origin, asked.wish] += asked.yeses
        return [
            f"nobody was asked: {key} was sent for {sent}, with {yeses[key]} yes"
            for key, sent in rows.items()
            if len(sent) > yeses[key]
        ]

    def teardown(self) -> None:
        try:
            if hasattr(self, "_vendors"):
                self._every_call_is_made_again()
        finally:
            self._runner.run(self._end_the_dead())
            self._runner.close()
            asyncio.run(self._close_files())
            self._folder.cleanup()

    async def _end_the_dead(self) -> None:
        """They wait at each pause of their store for ever: at the next one too, once cancelled."""
        while dead := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in dead:
                task.cancel()
            await asyncio.wait(dead, timeout=1)

    async def _close_files(self) -> None:
        """What a kernel does for its dead."""
        for process in self._lives.values():
            if process.store is not None:
                await process.store.close()

    def _every_call_is_made_again(self) -> None:
        """Once all is well again, no job is unknown, and what is unconfirmed has a reason."""
        STEPS["the end"] += 1
        self._network.heal()
        for process in list(self._processes):
            if process.store is not None:
                process.store.full_for = 0
        self.run(asyncio.sleep(1000))
        for origin in (ORIGIN, OTHER_ORIGIN):
            for process in list(self._processes):
                self.run(self._stop(process))
            self._limit = self._highest_limit
            self.run(self._start(origin))
            for _ in range(2):
                for wish in [wish for at, wish in sorted(self._used, key=repr) if at == origin]:
                    self._call(wish, 0, "no")
                self.run(asyncio.sleep(400))
            self._ask(0, "list_jobs", {"limit": 100}, math.inf)
            self.run(asyncio.sleep(60))
        self.nothing_is_wrong()
        facts = self._judge()
        reasons, found = facts.unconfirmed()
        found += [*facts.lost(), *facts.bound_wrongly()]
        assert not found, "\n".join(found)
        for reason, times in reasons.items():
            STEPS[f"unconfirmed: {reason}"] += times
        ours = [post for post in facts.posts if post.is_ours]
        STEPS["POSTs"] += len(ours)
        STEPS["accepted"] += sum(post.accepted is not None for post in ours)
        STEPS["strangers"] += len(facts.posts) - len(ours)

    # How it is done

    def _process(self, where: int) -> Process:
        for process in [process for process in self._processes if process.life.is_over]:
            self._kill(process)
        if not self._processes:
            self.run(self._start())
        return self._processes[where % len(self._processes)]

    def _stranger(self, wish: Wish, theirs: PostFault) -> None:
        if not wish.may_have_a_twin:
            return
        STEPS["a stranger"] += 1
        post = Post(ORIGIN, wish.path, wish.body, theirs, self._true_time(), wish=wish)

        async def begin() -> None:
            self._strangers = [
                task for task in getattr(self, "_strangers", []) if not task.done()
            ] + [asyncio.create_task(self._vendors.stranger(post))]
            await asyncio.sleep(0)

        self.run(begin())

    def _call(self, wish: Wish, where: int, says: str) -> None:
        process = self._process(where)
        call = Asked(wish, says, process.life, len(self._asked), yeses=int(says == "pay"))
        self._asked.append((process.origin, call))
        self._used.add((process.origin, wish))
        limit_s = ANSWERED_BY_S + (SUSPENDED_S if self._dice else 0)
        limit_s += QUOTED_S if wish.has_quote else 0
        limit_s += SLOTS_S if self._has_queue else 0
        limit_s += UPLOADED_S if wish.kept_as else 0
        limit_s += READ_S if wish.asked_about else 0
        limit_s += READ_S if wish.kept_as or (wish.is_made and "pixverse" in wish.path) else 0
        self._ask(where, wish.tool, wish.arguments | CAPS.get(says, {}), limit_s, call)

    def _ask(
        self,
        where: int,
        tool: str,
        arguments: dict[str, Any],
        limit_s: float,
        call: Asked | None = None,
    ) -> None:
        STEPS[tool] += 1
        process = self._process(where)

        async def begin() -> None:
            caller = asyncio.create_task(self._answered(process, tool, arguments, limit_s, call))
            process.callers.append(caller)
            caller.add_done_callback(process.callers.remove)

        self.run(begin())

    async def _answered(
        self,
        process: Process,
        tool: str,
        arguments: dict[str, Any],
        limit_s: float,
        call: Asked | None,
    ) -> None:
        _ASKER.set(call)
        began = asyncio.get_running_loop().time()
        began_at, sent = self._true_time(), len(self._vendors.posts)
        # Its turn may come now; what is being sent may be refused, and wait once more.
        begun = "posts = 0 or state = 'submitting'"
        waits = self._journal.rows(begun) if self._has_queue else []
        try:
            answer = reply(await process.client.call_tool(tool, arguments))
        except (asyncio.CancelledError, DeadError):
            return
        except (MCPError, RuntimeError) as error:  # the latter: its client or server has closed
            if not process.is_leaving:
                self._troubles.append(f"{tool} raised {error!r}")
            return
        if call is not None:
            call.ended = len(self._asked)
        accepted = self._accepted_since(sent, call, {row["id"] for row in waits})
        if not process.is_leaving:
            self._hear(tool, answer, began_at, accepted)
        if call and call.says == "pay nothing" and call.wish.asked_about > 0 and accepted:
            self._troubles.append(f"a call that was to pay nothing made {accepted}")
        took_s = asyncio.get_running_loop().time() - began
        if not process.is_leaving and took_s > limit_s + 0.01 + (5 if self._dice else 0):
            self._troubles.append(f"{tool} {arguments} took {took_s} s")

    def _hear(self, tool: str, answer: Reply, began_at: float, accepted: list[Post]) -> None:
        """Judge an answer by its words.

        Args:
            accepted: what the very call made.
        """
        if answer.is_error:
            self._check_error(tool, answer, accepted)
        elif tool == "list_jobs":
            for job in answer.job["jobs"]:
                self._see(job, began_at)
        elif "taskId" in answer.job:
            self._see({"job_id": answer.job["taskId"], "status": "running"}, -math.inf)
        else:
            self._check_words(tool, answer, accepted)
            self._see(answer.job, began_at)
            if tool == "cancel_job" and "Given up" in answer.text:
                self._note_given_up(answer.job)

    def _accepted_since(self, sent: int, call: Asked | None, waited: set[str]) -> list[Post]:
        """What this very call made: the vendor accepted it, and has not denied it.

        Args:
            sent: how many requests there were when it began.
            waited: the rows of earlier calls that were not sent, or about to be, when it began.
        """
        if call is None or not self._is_alone(call):
            return []
        return [
            post
            for post in self._vendors.posts[sent:]
            if (post.life, post.wish) == (call.life, call.wish)
            and post.row_id not in waited
            and post.accepted is not None
            and not post.is_denied
        ]

    def _is_alone(self, call: Asked) -> bool:
        """Whether no other call of the same, here, was at work beside this one.

        One whose caller left may be at work for long: then nothing is said of this call.
        """
        others = [
            other
            for _, other in self._asked
            if other is not call and (other.life, other.wish) == (call.life, call.wish)
        ]
        return all(other.ended <= call.began for other in others)

    def _check_error(self, tool: str, answer: Reply, accepted: list[Post]) -> None:
        """An error says that nothing was made, but for the one that says that it may have been."""
        try:
            code = answer.error["code"]
        except json.JSONDecodeError:
            code = "none"
        STEPS[f"error: {code}"] += 1
        may_be = code == "journal_unusable" and (self._disk_was_full or self._kernel.lost)
        if code in ("none", "error") or (code == "journal_unusable" and not may_be):
            self._troubles.append(f"{tool} failed: {answer.text}")
        if accepted and code not in ("unanswered", "lost"):
            self._troubles.append(f"{tool} says {answer.text} though {accepted}")

    def _check_words(self, tool: str, answer: Reply, accepted: list[Post]) -> None:
        job = answer.job
        if job.get("reused") and accepted:
            self._troubles.append(f"{tool} says reused of what it made: {job} {accepted}")
        if job["status"] != "submitting" or tool not in (
            "get_job",
            *(w.tool for w in self._wishes),
        ):
            return
        if tool == "get_job" and self._dice:
            return  # its time can be up before a journal this slow has told what became of it
        for row in self._journal.rows("id = ?", job["job_id"]):
            is_held = row["key"] in self._kernel.holders or row["key"] in self._kernel.lost
            if row["state"] == "submitting" and not is_held:
                self._troubles.append(f"{tool} says submitting, and nobody is at it: {row}")

    async def _ask_for_a_task(self, process: Process, method: Method, job_id: str) -> None:
        try:
            await ask(process.client, method, job_id)
        except (asyncio.CancelledError, DeadError, MCPError):
            return

    def _see(self, job: dict[str, Any], asked_at: float) -> None:
        job_id, status = job["job_id"], job["status"]
        STEPS["told that it waits"] += status == "queued"
        if job_id not in self._ids:
            self._ids.append(job_id)
        was, told_at = self._ended.get(job_id, (None, math.inf))
        # An end that a full disk did not take was told all the same, and is read once more.
        may_change = self._disk_was_full or job_id in self._given_up_at
        if asked_at > told_at and was != status and not may_change:
            rows = self._journal.rows("id = ? or job_id = ?", job_id, job_id)
            self._troubles.append(f"{job_id} was {was} and now is {status}: {job} {rows}")
        if status in TERMINAL:
            self._ended[job_id] = (status, self._true_time())

    def _given_up_unheard(self) -> dict[str, float]:
        """What was given up by a call whose answer nobody got: since it was asked for."""
        rows = self._journal.rows("state = 'cancelled' and note like 'Given up%'")
        asked_at = self._cancel_asked_at
        return {row["id"]: asked_at[row["id"]] for row in rows if row["id"] in asked_at}

    def _note_given_up(self, job: dict[str, Any]) -> None:
        """The user took it on himself: what was made until now may be paid for once more."""
        for row in self._journal.rows("id = ? or job_id = ?", job["job_id"], job["job_id"]):
            self._given_up_at[row["id"]] = self._true_time()
            self._given_up_at[job["job_id"]] = self._true_time()

    async def _start(self, origin: str = ORIGIN) -> None:
        life = Life(self._kernel, self._network, self._clock)
        folder = Path(self._folder.name)
        environment = {
            "USEAPI_TOKEN": TOKEN,
            "USEAPI_BASE_URL": origin,
            "USEAPI_OUTPUT_DIR": str(folder / "output"),
            "USEAPI_STATE_DIR": str(folder / "state"),
            "USEAPI_INPUT_DIRS": str(folder / "pictures"),
            "USEAPI_CONFIRM_CREDITS": str(self._asks_from),
        }
        if self._has_queue:
            environment["USEAPI_QUEUE_SECONDS"] = "1800"
        if self._limit < math.inf:
            environment["USEAPI_MAX_CREDITS_PER_DAY"] = str(self._limit)
        chosen = Settings.read(environment)

        def open_store(folder: Path, clock: Clock, locks: KeyLocks | None) -> WeakStore:
            process.store = WeakStore(folder, clock, locks, life=life, dice=self._dice)
            return process.store

        async def resolve(host: str) -> list[str]:
            return ["93.184.215.14"]

        @asynccontextmanager
        async def lifespan(_: MCPServer[AppContext]) -> AsyncIterator[AppContext]:
            async with open_app(
                chosen,
                life.clock,
                life.network,
                life.locks,
                resolve=resolve,
                open_store=open_store,
            ) as app:
                yield app

        server: MCPServer[AppContext] = MCPServer(
            "useapi-mcp",
            tools=list(TOOLS),
            lifespan=lifespan,
            log_level="CRITICAL",
            extensions=[job_tasks()],
        )
        takes_tasks = [TakesTasks()] if len(self._lives) % 3 == 2 else []
        client = Client(server, elicitation_callback=_user, extensions=takes_tasks)
        process = Process(life, origin, self._limit, self._asks_from, client)
        self._lives[life] = process
        ready = asyncio.Event()

        async def host() -> None:
            async with process.client:
                ready.set()
                await process.stop.wait()

        process.host = asyncio.create_task(host())
        await ready.wait()
        self._processes.append(process)

    async def _stop(self, process: Process) -> None:
        if process.life.is_over:
            self._kill(process)
            return
        self._processes.remove(process)
        process.stop.set()
        assert process.host is not None
        while not (process.host.done() or process.life.is_over):  # it may die of its last request
            await asyncio.wait({process.host}, timeout=1)

    def _kill(self, process: Process) -> None:
        STEPS["kill"] += 1
        self._processes.remove(process)
        process.life.end()
        for caller in list(process.callers):
            caller.cancel()


NEWER = (
    ("kling", "extend_video", {"denoise": 7}),
    ("google-flow", "upscale_video", {"resolution": "8K"}),
    ("dreamina", "upscale_image", {"image_index": "first"}),
)


def _of_a_newer_version(origin: str) -> list[str]:
    """SQL that inserts rows which this version does not understand, in each state."""
    inserts = []
    for service, operation, arguments in NEWER:
        for state in ("submitting", "unconfirmed", "accepted"):
            row_id = f"{OUR_ID_PREFIX}{service}{state}"
            known = {"job_id": row_id, "service": service, "operation": operation}
            job = json.dumps({**known, "status": "paused"}) if state == "accepted" else ""
            inserts.append(
                "insert or ignore into submission(id, key, state, origin, service, operation,"
                " source_id, arguments, price, posts, job, evidence, created_at, updated_at,"
                f" status, credits) values('{row_id}', '{row_id}', '{state}', '{origin}',"
                f" '{service}', '{operation}', 'clip', '{json.dumps(arguments)}', 0, 1, '{job}',"
                f" '{{}}', {EPOCH}, {EPOCH}, '{state}', 0)"
            )
    return inserts


Money.TestCase.settings = settings(
    max_examples=6,
    stateful_step_count=40,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
TestMoney = seed(20261121)(Money.TestCase)
