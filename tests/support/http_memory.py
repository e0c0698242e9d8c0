"""A whole server over HTTP in memory: its ASGI app, the official client, virtual time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.types import ASGIApp, Message

from mcp_server.http.app import MCP_PATH, http_app
from mcp_server.http.auth import FindUser
from mcp_server.http.identity_provider import IdentityProvider
from mcp_server.http.rate_limit import RateLimit
from mcp_server.http.serve import page_origins
from mcp_server.http.stopping import Stopping
from mcp_server.metrics import Metrics
from mcp_server.sandbox.app import Sandbox
from mcp_server.server.factory import create_server
from mcp_server.settings import Settings
from mcp_server.tools.context import AppContext
from tests.support.harness import NOBODY_IS_ASKED, TOKEN, Network, Reply, VirtualClock, reply

HTTP_TOKEN = "the-token-of-this-server"
ADDRESS = "https://mcp.example.com"
HOST = "mcp.example.com"
Mode = Literal["auto", "legacy"]


@dataclass
class Served:
    """A server that runs.

    Attributes:
        http: a client without a token.
    """

    app: ASGIApp
    http: httpx.AsyncClient
    network: Network
    clock: VirtualClock
    folder: Path
    stopping: Stopping

    @property
    def shared(self) -> AppContext:
        """What its handlers share."""
        assert self.stopping.app is not None
        return self.stopping.app

    @property
    def output(self) -> Path:
        return self.folder / "output"

    @contextlib.asynccontextmanager
    async def client(
        self, mode: Mode = "auto", *, token: str = HTTP_TOKEN, **options: Any
    ) -> AsyncIterator[Client]:
        """The official client, connected with the server's token or another one."""
        headers = {"Authorization": f"Bearer {token}"}
        transport = httpx2.ASGITransport(app=self.app)
        async with httpx2.AsyncClient(headers=headers, transport=transport, timeout=600) as http:
            streams = streamable_http_client(f"{ADDRESS}{MCP_PATH}", http_client=http)
            async with Client(streams, mode=mode, **options) as client:
                yield client

    async def call(self, tool: str, /, **arguments: Any) -> Reply:
        """A tool's answer to a client of its own."""
        async with self.client() as client:
            return reply(await client.call_tool(tool, arguments))


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    environment: Mapping[str, str] | None = None,
    *,
    network: Network | None = None,
    clock: VirtualClock | None = None,
    find_user: FindUser | None = None,
    provider: IdentityProvider | None = None,
    limit: RateLimit | None = None,
) -> AsyncIterator[Served]:
    """A server that clients reach at ADDRESS; a second one on the same folder is a replica.

    Args:
        environment: settings by their names; one that is empty is not set.
        find_user, provider: know the tokens of its users.
        limit: of the requests of one user.
    """
    clock = clock or VirtualClock()
    network = network or Network(Sandbox(job_seconds=3, now=clock.now))
    settings = Settings.read(
        {
            "USEAPI_TOKEN": TOKEN,
            "USEAPI_OUTPUT_DIR": str(folder / "output"),
            "USEAPI_STATE_DIR": str(folder / "state"),
            **NOBODY_IS_ASKED,
            **(environment or {}),
        }
    )
    stopping, metrics = Stopping(clock, None), Metrics()
    server = create_server(
        settings, clock=clock, transport=network, while_open=stopping.while_open, metrics=metrics
    )
    app = http_app(
        server,
        token=HTTP_TOKEN,
        stopping=stopping,
        metrics=metrics,
        allowed_hosts=frozenset({HOST}),
        find_user=find_user,
        provider=provider,
        public_url=ADDRESS,
        page_origins=page_origins(settings),
        limit=limit,
    )
    transport = httpx.ASGITransport(app)
    async with (
        _started(app),
        httpx.AsyncClient(transport=transport, base_url=ADDRESS) as http,
    ):
        yield Served(app, http, network, clock, folder, stopping)


@contextlib.asynccontextmanager
async def _started(app: ASGIApp) -> AsyncIterator[None]:
    """Start an app and end it, in a task of its own, as uvicorn does."""
    asked: asyncio.Queue[Message] = asyncio.Queue()
    said: asyncio.Queue[Message] = asyncio.Queue()
    life = asyncio.create_task(_as_coroutine(app, asked, said))
    asked.put_nowait({"type": "lifespan.startup"})
    started = await said.get()
    assert started["type"] == "lifespan.startup.complete", started
    try:
        yield
    finally:
        asked.put_nowait({"type": "lifespan.shutdown"})
        await life


async def _as_coroutine(
    app: ASGIApp, asked: "asyncio.Queue[Message]", said: "asyncio.Queue[Message]"
) -> None:
    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, asked.get, said.put)
