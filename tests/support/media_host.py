"""A host of one film, behind every media link: at some rate, with byte ranges, and with faults."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from mcp_server.sandbox import media
from tests.support.harness import Network

CLIP = media.read(media.clip(640, 360, 24))


def film(size_bytes: int) -> bytes:
    """A video of this size: what follows a clip is read by nobody."""
    return (CLIP + b"useapi-mcp" * (size_bytes // 10))[:size_bytes]


@dataclass
class MediaHost(httpx.AsyncBaseTransport):
    """Answers each request with the film, or with the part of it that is asked for.

    Args:
        bytes_per_s: virtual time that bytes take; None: all are there at once.
        breaks_at: after how many bytes of its answer each of the first connections is cut.
        has_ranges: False = every answer is the whole film.
    """

    body: bytes = CLIP
    bytes_per_s: float | None = None
    headers: dict[str, str] = field(default_factory=lambda: {"etag": '"1"'})
    breaks_at: list[int] = field(default_factory=list)
    has_ranges: bool = True
    piece_bytes: int = 65_536
    seen: list[httpx.Request] = field(default_factory=list)
    sent_bytes: int = 0
    open: int = 0
    most_open: int = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        start, status, headers = 0, 200, dict(self.headers)
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        same = request.headers.get("if-range") in {
            headers.get("etag"),
            headers.get("last-modified"),
        }
        if asked and same and self.has_ranges:
            start, status = int(asked[1]), 206
            headers["content-range"] = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
        headers["content-length"] = str(len(self.body) - start)
        return httpx.Response(status, headers=headers, stream=_Stream(self, start))

    @property
    def ranges(self) -> list[str | None]:
        return [request.headers.get("range") for request in self.seen]


class _Stream(httpx.AsyncByteStream):
    def __init__(self, host: MediaHost, start: int) -> None:
        self._host = host
        self._start = start
        self._breaks_at = host.breaks_at.pop(0) if host.breaks_at else None
        host.open += 1
        host.most_open = max(host.most_open, host.open)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        host, sent = self._host, 0
        for at in range(self._start, len(host.body), host.piece_bytes):
            piece = host.body[at : at + host.piece_bytes]
            if host.bytes_per_s is not None:
                await asyncio.sleep(len(piece) / host.bytes_per_s)
            if self._breaks_at is not None and sent + len(piece) > self._breaks_at:
                raise httpx.ReadError("cut")
            sent += len(piece)
            host.sent_bytes += len(piece)
            yield piece

    async def aclose(self) -> None:
        self._host.open -= 1


class WithMediaHost(Network):
    """The network of a harness, on which media links lead to a host of their own."""

    def __init__(self, vendor: Callable[..., Any], host: MediaHost) -> None:
        super().__init__(vendor)
        self.host = host

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/media/"):
            return await self.host.handle_async_request(request)
        return await super().handle_async_request(request)
