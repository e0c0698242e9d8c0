"""A server of many in memory: the official client over HTTP; a user's token is his name."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp_server.models import Caller
from mcp_server.sandbox.app import Sandbox
from mcp_server.sandbox.state import Conditions
from mcp_server.tools.context import AppContext
from tests.support.harness import Harness, Network, VirtualClock
from tests.support.http_memory import HTTP_TOKEN, Mode, Served, serving

OPERATOR = HTTP_TOKEN
READER = "reader"
"""A user whose token may only read; every other name is that of one who may submit."""
NOBODY = "nobody"
"""A token that is nobody's, as that of the operator and an empty one are no user's."""


async def find_user(token: str) -> Caller | None:
    """Whose token this is."""
    return None if token in ("", NOBODY, OPERATOR) else Caller(token, may_submit=token != READER)


@dataclass
class Team:
    """A running server, with as many clients as a test opens."""

    served: Served
    sandbox: Sandbox

    @property
    def app(self) -> AppContext:
        return self.served.shared

    @property
    def network(self) -> Network:
        return self.served.network

    @contextlib.asynccontextmanager
    async def caller(
        self, name: str, mode: Mode = "auto", **options: Any
    ) -> AsyncIterator[Harness]:
        """What one caller has of the server."""
        served, settings = self.served, self.app.settings
        async with served.client(mode, token=name, **options) as client:
            yield Harness(
                client, self.sandbox, served.network, served.clock, settings, served.folder
            )


@contextlib.asynccontextmanager
async def team(
    folder: Path,
    *,
    job_seconds: float = 3.0,
    conditions: Conditions | None = None,
    sandbox: Sandbox | None = None,
    **environment: str,
) -> AsyncIterator[Team]:
    """A server with its state below `folder`.

    Args:
        conditions: what a test decides about the vendor.
        sandbox: the vendor, where several servers have the same one.
        environment: settings by their names.
    """
    clock = VirtualClock()
    sandbox = sandbox or Sandbox(
        job_seconds=job_seconds, now=clock.now, conditions=conditions or Conditions()
    )
    network = Network(sandbox)
    async with serving(
        folder, environment, network=network, clock=clock, find_user=find_user
    ) as served:
        yield Team(served, sandbox)
