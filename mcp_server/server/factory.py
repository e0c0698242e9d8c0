"""create_server: an MCP server with all its parts."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from mcp.server import CacheHint, MCPServer
from mcp.server.caching import CacheableMethod
from mcp.server.request_state import RequestStateSecurity
from mcp.types import Icon

from mcp_server import __version__
from mcp_server.clock import Clock
from mcp_server.errors import SettingsError
from mcp_server.journal.locks import KeyLocks
from mcp_server.metrics import Metrics
from mcp_server.server.current import with_current_app
from mcp_server.server.middleware import explain_refusals, only_known
from mcp_server.server.prompts import PROMPTS, add_prompts
from mcp_server.server.resources import add_resources
from mcp_server.server.tasks import job_tasks, refuse_undeclared_listen
from mcp_server.server.viewer import viewer
from mcp_server.services.registry import SERVICES
from mcp_server.settings import Settings
from mcp_server.tools.context import DRAIN_S, AppContext, open_app
from mcp_server.tools.registry import all_tools, tools_hiding

if TYPE_CHECKING:
    from mcp_server.upstream.client import Transport

log = logging.getLogger(__name__)

WEBSITE = "https://github.com/useapi-mcp/useapi-mcp"
_UNCHANGING: tuple[CacheableMethod, ...] = (
    "server/discover",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
)
# An arrow that grows: two squares, the second twice the first.
_ICON = "data:image/svg+xml," + quote(
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' "
    "fill='none' stroke='#7048e8' stroke-width='2'>"
    "<path d='M3 13h8v8H3zM3 9V3h18v18h-6M12 12l6-6m-5 0h5v5'/></svg>",
    safe="/:='",
)


def create_server(
    settings: Settings,
    *,
    clock: Clock | None = None,
    transport: "Transport | None" = None,
    locks: KeyLocks | None = None,
    sandbox_sources: str = "",
    leave: Callable[[], None] | None = None,
    drain_s: float = DRAIN_S,
    request_state_keys: Sequence[bytes] = (),
    fault: SettingsError | None = None,
    while_open: Callable[[AppContext], AbstractContextManager[None]] | None = None,
    metrics: Metrics | None = None,
) -> MCPServer[AppContext]:
    """A server with everything it needs, ready to be run on any transport.

    Args:
        clock, transport, locks: for tests; time, the network and the kernel otherwise.
        sandbox_sources: ids to try in the sandbox, for the instructions.
        leave: ends the process, where it runs nothing else: a stop signal lets paid requests be
            answered, then calls it. None: signals are left alone.
        drain_s: how long paid requests may take to be answered when the server stops.
        request_state_keys: the first seals a question to the user, all are accepted; the same in
            all servers that answer for each other.
        fault: a wrong setting, left out of `settings`: every call is answered with it.
        metrics: where it counts what it does.
        while_open: made with what the handlers share, and entered for as long as that is open.
    """

    @asynccontextmanager
    async def lifespan(_: MCPServer[AppContext]) -> AsyncIterator[AppContext]:
        async with open_app(
            settings, clock or Clock(), transport, locks, drain_s, fault=fault, metrics=metrics
        ) as app:
            if fault is None:
                await app.journal.check()
            if app.journal.fault is not None:
                log.error("%s Paid calls are refused until then.", app.journal.fault)
            if leave is not None:
                _leave_on_signals(app, leave)
            with while_open(app) if while_open is not None else contextlib.nullcontext():
                yield app

    try:
        tools = tools_hiding(settings.hide_arguments)
    except SettingsError as wrong:
        tools, fault = all_tools(), fault or wrong
    known = only_known(frozenset(tool.name for tool in tools), PROMPTS)
    server: MCPServer[AppContext] = MCPServer(
        "useapi-mcp",
        title="useapi.net video and images",
        version=__version__,
        website_url=WEBSITE,
        icons=[Icon(src=_ICON, mime_type="image/svg+xml", sizes=["any"])],
        instructions=instructions(sandbox_sources),
        tools=list(tools),
        lifespan=lifespan,
        log_level=settings.log_level,
        extensions=[job_tasks(), viewer(settings)],
        middleware=[explain_refusals, with_current_app, known, refuse_undeclared_listen],
        cache_hints=dict.fromkeys(_UNCHANGING, CacheHint(ttl_ms=3_600_000, scope="public")),
        request_state_security=RequestStateSecurity(keys=[*request_state_keys])
        if request_state_keys
        else None,
    )
    add_resources(server)
    add_prompts(server)
    return server


def instructions(sandbox_sources: str = "") -> str:
    """What an agent should know before its first call, the vital part first."""
    lines = [
        "Makes videos and images on useapi.net, upscales them, raises frame rates.",
        "A paid tool returns a job at once; call get_job(job_id, wait_seconds=50) until it ends.",
        "After a lost answer or a time-out make the same call again: it never pays twice.",
        "A job_id is the source of the next step; list_media finds what was made before.",
        *(service.abilities for service in SERVICES),
        *(service.where_ids_are for service in SERVICES),
    ]
    if sandbox_sources:
        lines.insert(0, f"SANDBOX: nothing is real or charged. Sources to try: {sandbox_sources}")
    return "\n".join(lines)


def _leave_on_signals(app: AppContext, leave: Callable[[], None]) -> None:
    """Make SIGTERM, SIGINT and SIGHUP end the process once paid requests are written down.

    Without this Ctrl-C hangs, because stdin is read in a thread that can't be cancelled, and
    SIGTERM cuts a paid request in the middle. What is left undone is in the journal.
    """
    loop = asyncio.get_running_loop()
    leaving: set[asyncio.Task[None]] = set()

    async def drain_and_leave() -> None:
        await app.all_jobs.drain()
        leave()

    def begin() -> None:
        if not leaving:
            leaving.add(loop.create_task(drain_and_leave()))

    def on_signal(*_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends anyway
            loop.call_soon_threadsafe(begin)

    for number in stop_signals():
        signal.signal(number, on_signal)  # not the loop's own way, which Windows lacks


def stop_signals() -> list[signal.Signals]:
    """The signals that end a server: a closed terminal's too, unless `nohup` ignores it."""
    numbers = [signal.SIGTERM, signal.SIGINT]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers
