"""A vendor behind a wire that breaks at any byte: an ASGI app, the sandbox, on a real socket.

The first connection after `breaks` with a POST on it is faulty, and so may be the next. All that
arrives whole is for the app to judge, reads too: its own list of what it accepted is the truth.
"""

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Scope

from tests.support.gateways import HTML_PAGES, JSON_PAGES

How = Literal["cut", "reset", "stall", "json", "html"]
Side = Literal["request", "answer"]
Framing = Literal["length", "chunks", "close"]

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)")
_RESET_WHEN_CLOSED = struct.pack("ii", 1, 0)  # SO_LINGER: on, for 0 s


@dataclass(frozen=True)
class Break:
    """Where the wire breaks: after `at` bytes of what comes in or of what goes out.

    `cut` = it ends in order (FIN); `reset` = it is torn (RST); `stall` = it stays open and silent;
    `json`, `html` = from there on a gateway answers in the vendor's place, and it ends in order.
    """

    side: Side
    at: int
    how: How

    @property
    def page(self) -> bytes:
        """What the gateway answers: there are several makers."""
        pages = {"json": JSON_PAGES, "html": HTML_PAGES}.get(self.how, {})
        answers = list(pages.values())
        return answers[self.at // 2 % len(answers)] if answers else b""


@dataclass
class Payment:
    """One paid request: its bytes that arrived, and all of the vendor's answer, sent or not."""

    request: bytes = b""
    answer: bytes = b""

    @property
    def is_whole(self) -> bool:
        head, end, body = self.request.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        return bool(end) and len(body) >= int(length[1] if length else 0)


class CutVendor:
    """Serves `app` on 127.0.0.1.

    Attributes:
        framing: how the answer to a POST tells where it ends; reads are always told by length.
        payments: every POST since `breaks`, and the broken connection if nothing came on it.
        at_first_byte: awaited when the first byte of a POST is there, before more is taken in.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.framing: Framing = "length"
        self.payments: list[Payment] = []
        self.at_first_byte: Callable[[], Awaitable[None]] = _nothing
        self._port = 0
        self._fault: Break | None = None
        self._next_fault: Break | None = None
        self._listener: socket.socket | None = None
        self._listening: asyncio.Task[None] | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._stalled: list[socket.socket] = []

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def breaks(self, fault: Break | None, then: Break | None = None) -> None:
        """Forget what was seen, and break the next connection like this.

        Args:
            then: how the next POST's connection breaks; not before its first byte.
        """
        for wire in self._stalled:
            wire.close()
        self._stalled, self.payments = [], []
        self._fault, self._next_fault = fault, then

    def listen(self) -> None:
        """Take connections: on a port of the system's choice, from then on always on that one."""
        self._listener = socket.create_server(("127.0.0.1", self._port), backlog=64)
        self._listener.setblocking(False)
        self._port = self._listener.getsockname()[1]
        self._listening = asyncio.create_task(self._accept(self._listener))

    async def refuse(self) -> None:
        """Close the port: who connects from now on is refused."""
        if self._listener is not None and self._listening is not None:
            self._listening.cancel()
            await asyncio.wait({self._listening})
            self._listener.close()

    async def close(self) -> None:
        await self.refuse()
        self.breaks(None)
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            wire, _ = await asyncio.get_running_loop().sock_accept(listener)
            wire.setblocking(False)
            task = asyncio.create_task(self._serve(wire))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, wire: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(wire)
            stack.enter_context(contextlib.suppress(ConnectionError))
            fault: Break | None = None
            if await _peek(wire) == b"P" and self._fault is not None:
                fault, self._fault = self._fault, None
                self.payments.append(seen := Payment())
                if await self._send_once(wire, seen, fault):
                    await self._break(wire, fault, stack)
                return
            while await _receive(wire, seen := Payment(), 1):
                if seen.request == b"P":
                    self.payments.append(seen)
                    await self.at_first_byte()
                    fault, self._next_fault = self._next_fault, None
                if not await self._send_once(wire, seen, fault):
                    return
                if fault is not None:
                    await self._break(wire, fault, stack)
                    return

    async def _send_once(self, wire: socket.socket, seen: Payment, fault: Break | None) -> bool:
        """Take a request and answer it, as far as the fault lets; True: the wire stays as it is."""
        arrives = fault.at if fault is not None and fault.side == "request" else None
        if arrives != 0 and not seen.request:
            if not await _receive(wire, seen, 1):
                return False
            await self.at_first_byte()
        while not seen.is_whole and (arrives is None or len(seen.request) < arrives):
            left = 65536 if arrives is None else arrives - len(seen.request)
            if not await _receive(wire, seen, left):
                return False
        if not seen.is_whole:
            return True
        framing = self.framing if seen.request.startswith(b"POST ") else "length"
        seen.answer = await _answer(self.app, seen.request, framing)
        leaves = seen.answer if fault is None else seen.answer[: fault.at]
        await asyncio.get_running_loop().sock_sendall(wire, leaves)
        return fault is not None or framing != "close"

    async def _break(
        self, wire: socket.socket, fault: Break, closing: contextlib.ExitStack
    ) -> None:
        if fault.how == "stall":
            self._stalled.append(wire)
            closing.pop_all()
        elif fault.how == "reset":
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_WHEN_CLOSED)
        else:
            await asyncio.get_running_loop().sock_sendall(wire, fault.page)
            wire.shutdown(socket.SHUT_WR)
            while await _receive(wire, Payment(), 65536):  # closing with bytes unread resets
                pass


async def _nothing() -> None: ...


async def _peek(wire: socket.socket) -> bytes:
    """The first byte to come, which stays where it is; none if the connection ends before."""
    loop, is_there = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(wire, is_there.set)
    try:
        await is_there.wait()
    finally:
        loop.remove_reader(wire)
    return wire.recv(1, socket.MSG_PEEK)


async def _receive(wire: socket.socket, seen: Payment, most: int) -> bool:
    """Take in what there is, `most` bytes of it; False: it has ended."""
    more = await asyncio.get_running_loop().sock_recv(wire, most)
    seen.request += more
    return bool(more)


async def _answer(app: ASGIApp, request: bytes, framing: Framing) -> bytes:
    """The app's answer to a request, as the bytes of HTTP/1.1."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    method, target, _ = line.split(b" ")
    path, _, query = target.partition(b"?")
    headers = [tuple(field.split(b": ", 1)) for field in fields]
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method.decode(),
        "scheme": "http",
        "path": unquote(path.decode()),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in headers],
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    content = b"".join(message.get("body", b"") for message in sent)
    fields = [b"HTTP/1.1 %d Vendor" % sent[0]["status"], b"server: cut"]
    fields += [b"%s: %s" % pair for pair in sent[0]["headers"] if pair[0] != b"content-length"]
    if framing == "length":
        fields.append(b"content-length: %d" % len(content))
    elif framing == "close":
        fields.append(b"connection: close")
    else:
        fields.append(b"transfer-encoding: chunked")
        half = len(content) // 2
        parts = [part for part in (content[:half], content[half:]) if part] + [b""]
        content = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"\r\n".join(fields) + b"\r\n\r\n" + content
