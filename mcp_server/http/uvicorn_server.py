"""A uvicorn server that is one part of a program: it returns when it ends, signals or not."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Collection, Generator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from mcp_server.http.protocol import BACKLOG, LimitedProtocol


def config_for(app: ASGIApp, **options: Any) -> uvicorn.Config:
    """How this app is served: within limits, with no log of each request."""
    return uvicorn.Config(
        app,
        http=LimitedProtocol,
        ws="none",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        **options,
    )


class EmbeddedServer(uvicorn.Server):
    """Returns from `serve` at a stop signal, so that its caller can clean up.

    uvicorn's own raises the signal again when it has ended, and the process dies of it.

    Args:
        signals: the signals that end the serving; all others keep their handlers.
    """

    def __init__(self, config: uvicorn.Config, *, signals: Collection[signal.Signals] = ()) -> None:
        super().__init__(config)
        self._signals = signals
        self._is_ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._is_ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        before = {number: signal.signal(number, self.handle_exit) for number in self._signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.asynccontextmanager
    async def running(self, listener: socket.socket) -> AsyncIterator[None]:
        """Serve in a task of its own while the body runs; requests still open then are cut off."""
        serving = asyncio.create_task(self.serve(sockets=[listener]))
        serving.add_done_callback(lambda _: self._is_ready.set())  # a start that fails ends it
        await self._is_ready.wait()
        try:
            yield
        finally:
            self.should_exit = self.force_exit = True
            await serving
