"""Puts the parts together: the one place that builds a server."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mcp.server import MCPServer

from mcp_server import __version__
from mcp_server.app import App, open_app
from mcp_server.clock import Clock
from mcp_server.journal import KeyLocks
from mcp_server.services import SERVICES
from mcp_server.settings import Settings
from mcp_server.tools import all_tools

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

WEBSITE = "https://github.com/useapi-mcp/useapi-mcp"


def create_server(
    settings: Settings,
    *,
    clock: Clock | None = None,
    transport: "httpx.AsyncBaseTransport | None" = None,
    locks: KeyLocks | None = None,
    sandbox_sources: str = "",
    leave: Callable[[], None] | None = None,
) -> MCPServer[App]:
    """A server with everything it needs, ready to be run on any transport.

    Args:
        clock, transport, locks: for tests; time, the network and the kernel otherwise.
        sandbox_sources: ids to try in the sandbox, told in the instructions.
        leave: ends the process; given by one that runs nothing else. Then SIGTERM and SIGINT let
            paid requests be answered, and call it.
    """

    @asynccontextmanager
    async def lifespan(_: MCPServer[App]) -> AsyncIterator[App]:
        async with open_app(settings, clock or Clock(), transport, locks) as app:
            app.journal.check()
            if app.journal.fault is not None:
                log.error("%s Paid calls are refused until then.", app.journal.fault)
            if leave is not None:
                _leave_on_signals(app, leave)
            yield app

    server: MCPServer[App] = MCPServer(
        "useapi-mcp",
        title="useapi.net upscaler",
        version=__version__,
        website_url=WEBSITE,
        instructions=instructions(sandbox_sources),
        tools=list(all_tools()),
        lifespan=lifespan,
        log_level=settings.log_level,
    )
    return server


def instructions(sandbox_sources: str = "") -> str:
    """What an agent should know before its first call, the vital part first."""
    lines = [
        "Upscales video, raises frame rates and upscales images that were made on useapi.net.",
        "A paid tool returns at once with a job; call get_job(job_id, wait_seconds=50) until it "
        "ends. After a lost answer or a time-out make the same call again: it never pays twice.",
        *(service.abilities for service in SERVICES),
        *(service.where_ids_are for service in SERVICES),
    ]
    if sandbox_sources:
        lines.insert(0, f"SANDBOX: nothing is real or charged. Sources to try: {sandbox_sources}")
    return "\n".join(lines)


def _leave_on_signals(app: App, leave: Callable[[], None]) -> None:
    """Without this Ctrl-C hangs, for the SDK reads stdin in a thread that can't be cancelled, and
    SIGTERM cuts a paid request in the middle. What is left undone is in the journal."""
    loop = asyncio.get_running_loop()
    leaving: set[asyncio.Task[None]] = set()

    async def drain_and_leave() -> None:
        await app.drain()
        leave()

    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows has no loop signal handlers
            loop.add_signal_handler(
                number, lambda: leaving.add(loop.create_task(drain_and_leave()))
            )
