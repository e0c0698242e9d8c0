"""A whole server in memory: the official client, our server, the sandbox as its vendor.

Time is virtual (tests/support/virtual_time.py) and the network between server and sandbox can
fail: refuse connections, cut them before or after the vendor acted, be slow, or answer otherwise.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
from mcp import Client
from mcp.types import CallToolResult, TextContent

from mcp_server.clock import Clock
from mcp_server.journal.locks import KeyLocks
from mcp_server.sandbox.app import SOURCES, Sandbox
from mcp_server.server.factory import create_server
from mcp_server.settings import Settings
from mcp_server.tools.context import AppContext

EPOCH = 1_780_000_000.0
GOOD = {(source.service, source.kind): source.id for source in SOURCES if source.good}
TOKEN = "user:777-canary0token"
ORIGIN = "https://api.useapi.net"
NOBODY_IS_ASKED = {"USEAPI_CONFIRM_CREDITS": "1000000"}
"""A server that asks nobody about a price; the tests of the question set their own limit."""


class VirtualClock(Clock):
    """Wall time that starts at EPOCH and runs with the virtual loop; `jump_s` sets it wrong."""

    def __init__(self) -> None:
        self.jump_s = 0.0

    def now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time() + self.jump_s


Rewrite = Callable[[httpx.Request, httpx.Response], httpx.Response]
"""What becomes of a vendor's answer to a request on its way to us."""


@dataclass
class Fault:
    """What goes wrong with one request, in this order.

    Args:
        connects: False = the connection is refused, no byte leaves.
        connect_s: seconds until it is connected.
        before_s: seconds until the vendor sees the request.
        reaches: whether the vendor sees it at all.
        after_s: seconds from its work until the answer is on the wire.
        gives_up_s: seconds after which `then` comes though the vendor is still at work.
        then: "answer" = its own answer arrives; "cut" = the connection breaks instead; an
            httpx.Response = that arrives instead; a function = what it makes of the answer arrives.
    """

    connects: bool = True
    connect_s: float = 0.0
    before_s: float = 0.0
    reaches: bool = True
    after_s: float = 0.0
    gives_up_s: float | None = None
    then: Literal["answer", "cut"] | httpx.Response | Rewrite = "answer"


class Network(httpx.AsyncBaseTransport):
    """Carries requests to the sandbox as a network does: it goes on when its caller leaves.

    `faults` are used up, in order, by the requests for which `concerns` is true (default: POSTs).
    """

    def __init__(self, vendor: Callable[..., Any]) -> None:
        self._vendor = httpx.ASGITransport(app=vendor)
        self.faults: list[Fault] = []
        self.concerns: Callable[[httpx.Request], bool] = lambda request: request.method == "POST"
        self.sent: list[httpx.Request] = []
        self.sent_at: list[float] = []  # on the loop's clock, one for each of `sent`
        self._under_way: set[asyncio.Task[httpx.Response | None]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        fault = self.fault_of(request)
        if not fault.connects:
            raise httpx.ConnectError("connection refused", request=request)
        await asyncio.sleep(fault.connect_s)
        trace = request.extensions.get("trace")
        if trace is not None:  # what httpcore does when it is connected; ASGITransport never does
            await trace("http11.send_request_headers.started", {"request": request})
        self.sent.append(request)
        self.sent_at.append(asyncio.get_running_loop().time())
        await self.left(request, fault)
        read_timeout_s = request.extensions["timeout"]["read"]
        work = asyncio.create_task(self._carry(request, fault))
        self._under_way.add(work)
        work.add_done_callback(self._under_way.discard)
        gives_up = fault.gives_up_s is not None and fault.gives_up_s < read_timeout_s
        done, _ = await asyncio.wait(
            {work}, timeout=fault.gives_up_s if gives_up else read_timeout_s
        )
        if done:
            return _arrived(request, fault, work.result())
        if gives_up:
            return _arrived(request, fault, None)
        raise httpx.ReadTimeout("read timed out", request=request)

    def fault_of(self, request: httpx.Request) -> Fault:
        """What goes wrong with this request."""
        return self.faults.pop(0) if self.faults and self.concerns(request) else Fault()

    async def left(self, request: httpx.Request, fault: Fault) -> None:
        """What happens when a request is connected, before its first byte is at the vendor."""

    async def _carry(self, request: httpx.Request, fault: Fault) -> httpx.Response | None:
        await asyncio.sleep(fault.before_s)
        answer = None
        if fault.reaches:
            answer = await self._vendor.handle_async_request(request)
            await answer.aread()
        await asyncio.sleep(fault.after_s)
        return answer

    async def settle(self) -> None:
        """Let what is under way arrive."""
        while self._under_way:
            await asyncio.wait(set(self._under_way))


def _arrived(request: httpx.Request, fault: Fault, answer: httpx.Response | None) -> httpx.Response:
    """What comes in the end: the vendor's `answer`, or what the fault puts in its place."""
    if isinstance(fault.then, httpx.Response):
        answer = fault.then
    elif callable(fault.then) and answer is not None:
        answer = fault.then(request, answer)
    if fault.then == "cut" or answer is None:
        raise httpx.RemoteProtocolError("server disconnected", request=request)
    unread = httpx.ByteStream(answer.content) if answer.is_stream_consumed else answer.stream
    return httpx.Response(answer.status_code, headers=answer.headers, stream=unread)


@dataclass
class Reply:
    """A tool's answer, as an agent has it."""

    text: str
    data: dict[str, Any] | None
    is_error: bool
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def error(self) -> dict[str, Any]:
        """The line of JSON an error ends with."""
        import json

        assert self.is_error, self.text
        return dict(json.loads(self.text.splitlines()[-1]))

    @property
    def job(self) -> dict[str, Any]:
        assert not self.is_error, self.text
        assert self.data is not None
        return self.data

    @property
    def record(self) -> dict[str, Any]:
        """The job as it is, without what its caller is told to do and to mind."""
        return {name: part for name, part in self.job.items() if name not in ("next", "note")}


@dataclass
class Harness:
    """A running server and everything round it."""

    client: Client
    sandbox: Sandbox
    network: Network
    clock: VirtualClock
    settings: Settings
    folder: Path

    async def call(self, tool: str, /, **arguments: Any) -> Reply:
        progress = arguments.pop("progress_callback", None)
        answer = reply(await self.client.call_tool(tool, arguments, progress_callback=progress))
        if answer.is_error:
            _check_agreement(answer)
        return answer

    def posts(self) -> list[httpx.Request]:
        """The paid requests whose bytes left."""
        return [request for request in self.network.sent if request.method == "POST"]


class Opened:
    """Keeps what the handlers of a server share, for what its transport does with it."""

    app: AppContext

    def __call__(self, app: AppContext) -> contextlib.AbstractContextManager[None]:
        self.app = app
        return contextlib.nullcontext()


def asked_for(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a paid request asks for: its body without the reference that the server adds."""
    ours = str(body.get("replyRef", "")).startswith("useapi-mcp:")
    return {name: value for name, value in body.items() if not (ours and name == "replyRef")}


def reply(result: Any) -> Reply:
    assert isinstance(result, CallToolResult)
    # A host that does not know another kind of content would lose the whole answer.
    texts = [content.text for content in result.content if isinstance(content, TextContent)]
    assert len(texts) == len(result.content)
    meta = dict(result.meta or {})
    return Reply("\n".join(texts), result.structured_content, bool(result.is_error), meta)


def _check_agreement(reply: Reply) -> None:
    """Fail where the sentence of an error and its JSON do not say the same."""
    said, _ = reply.text.rsplit("\n", 1)
    action = reply.error["next_action"]
    assert reply.error["retryable"] == (action in ("wait_then_retry", "call_again")), reply.text
    if reply.error["retryable"]:
        assert re.search(r"\bagain\b", said), said
    else:
        assert "retry_after_seconds" not in reply.error, reply.text
        assert not re.search(r"\bin a (minute|few seconds)\b|\bWait\b", said), said


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    *,
    vendor: Callable[..., Any] | None = None,
    sandbox: Sandbox | None = None,
    network: Network | None = None,
    clock: VirtualClock | None = None,
    locks: KeyLocks | None = None,
    job_seconds: float = 3.0,
    client_options: dict[str, Any] | None = None,
    while_open: Callable[[AppContext], contextlib.AbstractContextManager[None]] | None = None,
    **environment: str,
) -> AsyncIterator[Harness]:
    """A server with its state below `folder`; a second one on the same folder is a restart.

    Args:
        vendor: any ASGI app in the sandbox's place.
        environment: settings by their names; one that is empty is not set.
    """
    clock = clock or VirtualClock()
    sandbox = sandbox or Sandbox(job_seconds=job_seconds, now=clock.now)
    network = network or Network(vendor or sandbox)
    settings = Settings.read(
        {
            "USEAPI_TOKEN": TOKEN,
            "USEAPI_OUTPUT_DIR": str(folder / "output"),
            "USEAPI_STATE_DIR": str(folder / "state"),
            **NOBODY_IS_ASKED,
            **environment,
        }
    )
    server = create_server(
        settings, clock=clock, transport=network, locks=locks, while_open=while_open
    )
    async with Client(server, **(client_options or {})) as client:
        yield Harness(client, sandbox, network, clock, settings, folder)
