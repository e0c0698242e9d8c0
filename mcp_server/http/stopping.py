"""Stopping: whether a server is ready for calls, and how it stops without failing one.

A proxy in front of several servers learns only after a moment that one of them stops. So at SIGTERM
a server says that it is not ready, answers those who wait for a job with the job as it is, and
goes on serving for a while; only then does it accept no more connections. Every answer meanwhile is
the last one on its connection.
"""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from mcp_server.clock import Clock
from mcp_server.server.factory import stop_signals
from mcp_server.tools.context import AppContext

_DRAIN_S = 5.0  # for a proxy that asks every second or two
_CHECKED_FOR_S = 1.0  # the journal is written to no more often, however many ask
_LONGEST_CHECK_S = 2.0
_LAST_ANSWERS_S = 5.0  # for answers that are wanted at once

Handler = Callable[[int, FrameType | None], Any]


class Stopping:
    """Knows whether the server is ready, and puts a pause between a SIGTERM and its stop.

    Ctrl-C and a closed terminal stop it without the pause, a second signal at once.

    Args:
        drain_s: the pause; None: five seconds, but none where nobody has asked for `/readyz`. Then
            there is no proxy to wait for.
    """

    def __init__(self, clock: Clock, drain_s: float | None) -> None:
        self._clock = clock
        self._drain_s = drain_s
        self._app: AppContext | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._served_by: dict[int, Handler] = {}
        self._was_asked = False
        self._has_begun = False
        self._check: asyncio.Task[None] | None = None
        self._checked_at = 0.0
        self._handing_on: asyncio.Task[None] | None = None
        self._open_requests = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def app(self) -> AppContext | None:
        """What the handlers share; None before the server has started."""
        return self._app

    @property
    def has_begun(self) -> bool:
        """Whether a stop signal has come."""
        return self._has_begun

    async def why_not_ready(self) -> str | None:
        """One word for why no call should be sent here; None: the server is ready."""
        self._was_asked = True
        if self._has_begun:
            return "stopping"
        if self._app is None:
            return "starting"
        now = self._clock.elapsed()
        is_old = now - self._checked_at >= _CHECKED_FOR_S
        if self._check is None or (self._check.done() and is_old):
            self._checked_at = now
            self._check = asyncio.create_task(self._app.journal.try_writing())
        await asyncio.wait({self._check}, timeout=_LONGEST_CHECK_S)
        if not self._check.done():
            return "journal"
        self._check.result()  # a bug in it is raised
        return None if self._app.journal.fault is None else "journal"

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """A request that is being answered: a stop waits a moment for the last ones."""
        self._open_requests += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._open_requests -= 1
            if self._open_requests == 0:
                self._quiet.set()

    @contextlib.contextmanager
    def while_open(self, app: AppContext) -> Iterator[None]:
        """Take the stop signals from whoever serves, and hand each on when its time has come."""
        self._app, self._loop = app, asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():  # others have no signals
            for number in stop_signals():
                handler = signal.getsignal(number)
                if callable(handler):
                    self._served_by[number] = handler
                    signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            for taken, handler in self._served_by.items():
                signal.signal(taken, handler)
            for task in (self._check, self._handing_on):
                if task is not None:
                    task.cancel()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._has_begun:
            self._served_by[number](number, frame)
            return
        self._has_begun = True
        pause_s = self._pause_s() if number == signal.SIGTERM else 0.0
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._begin, number, pause_s)

    def _begin(self, number: int, pause_s: float) -> None:
        self._handing_on = asyncio.create_task(self._hand_on(number, pause_s))

    async def _hand_on(self, number: int, pause_s: float) -> None:
        assert self._app is not None
        self._app.all_jobs.answer_waiting()
        await self._clock.sleep(pause_s)
        self._app.all_jobs.answer_submitting()
        # Once uvicorn has the signal, sse-starlette cuts an answer that is not written yet.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_ANSWERS_S):
                await self._quiet.wait()
        self._served_by[number](number, None)

    def _pause_s(self) -> float:
        if self._drain_s is not None:
            return self._drain_s
        return _DRAIN_S if self._was_asked else 0.0
