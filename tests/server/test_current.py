"""Resources and completions, which the SDK gives no context, serve whoever asks."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.server import MCPServer

from mcp_server.sandbox.app import Sandbox
from mcp_server.server.current import with_current_app
from mcp_server.server.resources import add_resources
from mcp_server.services.registry import service_of
from mcp_server.settings import Settings
from mcp_server.tools.context import AppContext, open_app
from tests.support.harness import GOOD, TOKEN, Network, VirtualClock

VIDEO = GOOD["dreamina", "video"]


async def jobs_of(client: Client) -> list[Any]:
    (content,) = (await client.read_resource("useapi://jobs")).contents
    return list(json.loads(str(getattr(content, "text", "")))["jobs"])


async def test_each_of_two_clients_of_one_server_is_served_by_its_own_context(
    tmp_path: Path,
) -> None:
    clock = VirtualClock()
    network = Network(Sandbox(now=clock.now))
    contexts: list[AppContext] = []

    @asynccontextmanager
    async def lifespan(_: MCPServer[AppContext]) -> AsyncIterator[AppContext]:
        folder = tmp_path / str(len(contexts))
        settings = Settings.read(
            {
                "USEAPI_TOKEN": TOKEN,
                "USEAPI_OUTPUT_DIR": str(folder / "output"),
                "USEAPI_STATE_DIR": str(folder / "state"),
            }
        )
        async with open_app(settings, clock, network) as app:
            contexts.append(app)
            yield app

    server: MCPServer[AppContext] = MCPServer(
        "test", lifespan=lifespan, middleware=[with_current_app]
    )
    add_resources(server)

    async with Client(server) as first:
        async with Client(server) as second:
            await contexts[0].jobs.submit(
                service_of(VIDEO, "id").order("upscale_video", VIDEO, {}, {})
            )
            both_open = len(await jobs_of(first)), len(await jobs_of(second))
        one_closed = len(await jobs_of(first))

    assert (1, 0) == both_open
    assert 1 == one_closed
