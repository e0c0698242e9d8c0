"""Serves MCP over stdin and stdout, as one client's server.

In place of the SDK's stdio transport, because that one answers no line it can't read, reads on
however many calls are unanswered, and notices that its client is gone only when it writes.
"""

import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, BinaryIO, Protocol

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server import MCPServer
from mcp.shared.message import SessionMessage
from mcp.types import (
    INVALID_REQUEST,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)

from mcp_server.errors import SettingsError
from mcp_server.server.lines import LONGEST_LINE_BYTES, BrokenLineError, error_line, message_of
from mcp_server.tools.context import AppContext

log = logging.getLogger(__name__)

MOST_CALLS = 1000  # unanswered at once; each takes about 100 kB
_LAST_ANSWERS_S = 2.0  # to write them after the end of the input
_PARENT_EVERY_S = 5.0


class Lines(Protocol):
    """A connection to one client."""

    async def read(self) -> bytes:
        """The next line, or its first `LONGEST_LINE_BYTES` + 1; b"" at the end of the input."""

    async def write(self, line: bytes) -> None:
        """Send a line.

        Raises:
            OSError: nobody reads any more.
        """

    async def left(self) -> None:
        """Return when the client is gone though the input has no end."""


async def serve(server: MCPServer[AppContext], lines: Lines) -> None:
    """Serve until the input ends or the client is gone, then let paid requests be answered."""
    inbox, requests = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    answers, outbox = anyio.create_memory_object_stream[SessionMessage](0)
    connection = _Connection(lines, inbox, outbox)
    sdk = server._lowlevel_server  # noqa: SLF001 - nothing public runs on other streams than its own
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(connection.read)
        tasks.start_soon(connection.write)
        await sdk.run(requests, answers, sdk.create_initialization_options())
        with anyio.move_on_after(_LAST_ANSWERS_S):
            await connection.written.wait()
        tasks.cancel_scope.cancel()


class _Connection:
    """Passes messages between the lines and the SDK."""

    def __init__(
        self,
        lines: Lines,
        inbox: MemoryObjectSendStream[SessionMessage | Exception],
        outbox: MemoryObjectReceiveStream[SessionMessage],
    ) -> None:
        self.written = anyio.Event()  # all answers are, and there will be no other
        self._lines = lines
        self._inbox = inbox
        self._outbox = outbox
        self._unanswered: set[Any] = set()
        self._room = anyio.Event()
        self._one_line = anyio.Lock()
        self._reading = anyio.CancelScope()

    async def read(self) -> None:
        """Pass on what comes in, until the input ends or the client is gone."""
        async with self._inbox, anyio.create_task_group() as watching:
            watching.start_soon(self._stop_when_left)
            with self._reading:
                while line := await self._lines.read():
                    await self._take(line)
            watching.cancel_scope.cancel()

    async def write(self) -> None:
        """Send what the SDK answers, until it has ended."""
        async with self._outbox:
            async for item in self._outbox:
                message = item.message
                text = message.model_dump_json(by_alias=True, exclude_unset=True)
                await self._send(text.encode("utf-8", "replace") + b"\n")
                if isinstance(message, JSONRPCResponse | JSONRPCError):
                    self._answered(message.id)
        self.written.set()

    async def _stop_when_left(self) -> None:
        await self._lines.left()
        self._reading.cancel()

    async def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            message = message_of(line)
        except BrokenLineError as broken:
            log.warning("a line of the client was refused: %s", broken)
            for answer in broken.answers:
                await self._send(answer)
            return
        if isinstance(message, JSONRPCRequest):
            if await self._waits_for_room() and message.method == "tools/call":
                # It may have lain in the pipe for long: its caller has perhaps given it up.
                why = f"More than {MOST_CALLS} calls are unanswered, so nothing was done."
                await self._send(error_line(INVALID_REQUEST, why, message.id))
                return
            self._unanswered.add(message.id)
        elif getattr(message, "method", None) == "notifications/cancelled":  # it is never answered
            assert isinstance(message, JSONRPCNotification)
            self._answered((message.params or {}).get("requestId"))
        await self._inbox.send(SessionMessage(message))

    async def _waits_for_room(self) -> bool:
        """Wait while too much is unanswered; whether that was so."""
        is_full = len(self._unanswered) >= MOST_CALLS
        while len(self._unanswered) >= MOST_CALLS:
            self._room = anyio.Event()
            await self._room.wait()
        return is_full

    def _answered(self, request_id: object) -> None:
        if isinstance(request_id, str | int):
            self._unanswered.discard(request_id)
            self._room.set()

    async def _send(self, line: bytes) -> None:
        async with self._one_line:
            try:
                await self._lines.write(line)
            except OSError:
                self._reading.cancel()


class StandardStreams:
    """This process's stdin and stdout. What else reads or prints meanwhile does not touch them.

    Raises:
        SettingsError: one of them is closed.
    """

    def __init__(self) -> None:
        if sys.stdin is None or sys.stdout is None:
            raise SettingsError(
                message="Standard input or output is closed, and MCP is served over them.",
                hint="An MCP host opens both; `useapi-mcp http` serves a port instead.",
            )
        self._input: BinaryIO = os.fdopen(os.dup(0), "rb", closefd=False)
        self._output = os.dup(1)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        try:
            os.dup2(2, 1)
        except OSError:  # stderr is closed
            os.dup2(null, 1)
        os.close(null)

    async def read(self) -> bytes:
        """The next line, or the begin of one that is too long; b"" at the end of the input."""
        return await anyio.to_thread.run_sync(read_line, self._input, abandon_on_cancel=True)

    async def write(self, line: bytes) -> None:
        """Write a line, however long its reader takes."""
        await anyio.to_thread.run_sync(self._write_all, line, abandon_on_cancel=True)

    async def left(self) -> None:
        """Return when nobody reads stdout any more, or the process that started this one ended.

        The end of the input does not come as long as another process holds its other end.
        """
        await client_left(self._output)

    def _write_all(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._output, data) :]


def read_line(source: BinaryIO) -> bytes:
    """The next line, or the first bytes of one that is too long, of which the rest is dropped."""
    line = rest = source.readline(LONGEST_LINE_BYTES + 1)
    while len(rest) > LONGEST_LINE_BYTES and not rest.endswith(b"\n"):
        rest = source.readline(LONGEST_LINE_BYTES + 1)
    return line


async def client_left(output: int) -> None:
    """Return when nobody reads this descriptor any more, or this process's parent has ended."""
    parent = os.getppid()
    async with _closing_of(output) as closed:
        while os.getppid() == parent:
            with anyio.move_on_after(_PARENT_EVERY_S):
                await closed.wait()
                return


@asynccontextmanager
async def _closing_of(descriptor: int) -> AsyncIterator[anyio.Event]:
    """An event that is set when the reader of a pipe or socket has closed it, where that shows."""
    import asyncio
    import stat

    closed, loop = anyio.Event(), asyncio.get_running_loop()
    mode = os.fstat(descriptor).st_mode
    if sys.platform == "win32" or not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        yield closed
        return
    loop.add_reader(descriptor, closed.set)
    try:
        yield closed
    finally:
        loop.remove_reader(descriptor)
