"""What a gateway in front of the vendor says in its place, and one on a real port that says it.

The vendor knows nothing of it: it goes on with the request that the gateway has given up.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from mcp_server.sandbox import responses

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)")


def _http(status: int, content_type: str, body: bytes) -> bytes:
    """A whole answer in HTTP/1.1, after which the connection ends."""
    fields = (
        f"HTTP/1.1 {status} Gateway",
        f"content-type: {content_type}",
        f"content-length: {len(body)}",
        "connection: close",
    )
    return "\r\n".join(fields).encode() + b"\r\n\r\n" + body


def _json(status: int, body: Mapping[str, object]) -> bytes:
    return _http(status, "application/json", json.dumps(body).encode())


def _html(status: int) -> bytes:
    return _http(status, "text/html", bytes(responses.gateway_page(status).body))


# Cloudflare's errors for clients that accept JSON (since 27 April 2026), and AWS's API Gateway.
JSON_PAGES: Mapping[str, bytes] = {
    "Cloudflare's JSON 502": _json(
        502, {"title": "Error 502: Bad gateway", "status": 502, "cloudflare_error": True}
    ),
    "AWS's JSON 504": _json(504, {"message": "Endpoint request timed out"}),
}
HTML_PAGES: Mapping[str, bytes] = {"HTML 502": _html(502), "HTML 524": _html(524)}
CUT = "a cut"
ANSWERS: Mapping[str, bytes] = {**JSON_PAGES, **HTML_PAGES, CUT: b""}


@dataclass(frozen=True)
class Interruption:
    """The gateway waits so long for the vendor, and then gives one of `ANSWERS` in its place."""

    after_s: float
    answer: str


class Gateway:
    """Passes requests on to a port of this machine, and answers in its place where it is asked to.

    Args:
        interrupts: from a request's head, whether and how the gateway answers itself.
        interrupted: called with the head when it did.
    """

    def __init__(
        self,
        vendor_port: int,
        interrupts: Callable[[bytes], Interruption | None],
        interrupted: Callable[[bytes], None],
    ) -> None:
        self._vendor_port = vendor_port
        self._interrupts = interrupts
        self._interrupted = interrupted
        self._tasks: set[asyncio.Task[bytes | None]] = set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Its origin, for as long as the block lasts."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", backlog=1000)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def serve() -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._answer_once(reader, writer):
                    pass
            writer.close()

        self._keep(asyncio.create_task(serve()))

    def _keep(self, task: "asyncio.Task[bytes] | asyncio.Task[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_once(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer the next request; False if the connection must end."""
        request = await _message(reader)
        head = request.partition(b"\r\n\r\n")[0]
        passing = asyncio.create_task(self._pass_on(request))
        self._keep(passing)
        interruption = self._interrupts(head)
        after_s = interruption.after_s if interruption is not None else None
        await asyncio.wait({passing}, timeout=after_s)
        if passing.done() or interruption is None:
            writer.write(await passing)
            await writer.drain()
            return True
        self._interrupted(head)
        writer.write(ANSWERS[interruption.answer])
        await writer.drain()
        return False

    async def _pass_on(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._vendor_port)
        try:
            writer.write(request)
            return await _message(reader)
        finally:
            writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """The next request or answer, whole.

    Raises:
        asyncio.IncompleteReadError: there is none, or it broke off.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return head + await reader.readexactly(int(length[1]) if length else 0)
