"""A server of many in memory: the official client over HTTP, and who calls told by a name.

The name stands for what a check of tokens finds: it goes out as the bearer token.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_server.http.app import MCP_PATH, http_app
from mcp_server.http.stopping import Stopping
from mcp_server.metrics import Metrics
from mcp_server.sandbox.app import Sandbox
from mcp_server.server.factory import create_server
from mcp_server.settings import Settings
from mcp_server.tools.context import AppContext
from tests.support.harness import (
    NOBODY_IS_ASKED,
    TOKEN,
    Harness,
    Network,
    Opened,
    VirtualClock,
)

OPERATOR = "operator"
READER = "reader"
"""A user whose token may only read; every other name is that of one who may submit."""
_ORIGIN = "http://127.0.0.1:8000"
Mode = Literal["auto", "legacy"]


class Naming:
    """Puts the caller that the bearer token names where the SDK's check of tokens puts it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = AuthContextMiddleware(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            name = dict(scope["headers"])[b"authorization"].decode().removeprefix("Bearer ")
            if name != OPERATOR:
                scopes = ["jobs:read"] if name == READER else ["jobs:read", "jobs:submit"]
                found = AccessToken(token="", client_id="test", scopes=scopes, subject=name)
                scope = {**scope, "user": AuthenticatedUser(found)}
        await self._app(scope, receive, send)


@dataclass
class Team:
    """A running server, with as many clients as a test opens."""

    app: AppContext
    sandbox: Sandbox
    network: Network
    clock: VirtualClock
    settings: Settings
    folder: Path
    asgi: ASGIApp

    @contextlib.asynccontextmanager
    async def caller(
        self, name: str, mode: Mode = "auto", **options: Any
    ) -> AsyncIterator[Harness]:
        """What one caller has of the server."""
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.asgi),
            headers={"Authorization": f"Bearer {name}"},
            timeout=600,
        ) as http:
            transport = streamable_http_client(f"{_ORIGIN}{MCP_PATH}", http_client=http)
            async with Client(transport, mode=mode, **options) as client:
                yield Harness(
                    client, self.sandbox, self.network, self.clock, self.settings, self.folder
                )


@contextlib.asynccontextmanager
async def team(
    folder: Path, *, job_seconds: float = 3.0, **environment: str
) -> AsyncIterator[Team]:
    """A server with its state below `folder`.

    Args:
        environment: settings by their names.
    """
    clock = VirtualClock()
    sandbox = Sandbox(job_seconds=job_seconds, now=clock.now)
    network = Network(sandbox)
    settings = Settings.read(
        {
            "USEAPI_TOKEN": TOKEN,
            "USEAPI_OUTPUT_DIR": str(folder / "output"),
            "USEAPI_STATE_DIR": str(folder / "state"),
            **NOBODY_IS_ASKED,
            **environment,
        }
    )
    opened = Opened()
    server = create_server(settings, clock=clock, transport=network, while_open=opened)
    stopping = Stopping(clock, None)
    asgi = Naming(http_app(server, token=None, stopping=stopping, metrics=Metrics()))
    async with _started(asgi):
        yield Team(opened.app, sandbox, network, clock, settings, folder, asgi)


@contextlib.asynccontextmanager
async def _started(app: ASGIApp) -> AsyncIterator[None]:
    """ASGI's lifespan, as uvicorn speaks it."""
    heard: asyncio.Queue[Message] = asyncio.Queue()
    said: asyncio.Queue[Message] = asyncio.Queue()

    async def run() -> None:
        await app({"type": "lifespan"}, heard.get, said.put)

    running = asyncio.create_task(run())
    for word in ("startup", "shutdown"):
        await heard.put({"type": f"lifespan.{word}"})
        answer = await said.get()
        assert answer["type"] == f"lifespan.{word}.complete", answer
        if word == "startup":
            try:
                yield
            except BaseException:
                running.cancel()
                raise
    await running
