"""The sample clips and pictures: which file is which, their signed links, and serving them."""

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from mcp_server.sandbox import responses

CHUNK_BYTES = 64 * 1024
CLIP_MS = 2000
THUMBNAIL = "thumbnail-320x180.jpg"


def clip(width: int, height: int, fps: int) -> str:
    """The sample's file name: every clip is the same scene, made for this size and rate."""
    return f"clip-{width}x{height}-{fps}fps.mp4"


def image(width: int, height: int) -> str:
    return f"image-{width}x{height}.jpg"


@cache
def names() -> frozenset[str]:
    return frozenset(file.name for file in _folder().iterdir())


@cache
def read(name: str) -> bytes:
    """A sample's bytes, read once a process."""
    return (_folder() / name).read_bytes()


def link(request: Request, name: str, *, owner: str, expires: float) -> str:
    """A link that looks signed, good until `expires` (epoch seconds), one for each `owner`."""
    signature = hashlib.sha256(f"{owner} {name}".encode()).hexdigest()[:40]
    query = urlencode({"Expires": int(expires), "Signature": signature})
    return f"{responses.origin(request)}/media/{quote(name)}?{query}"


def routes(now: Callable[[], float]) -> list[Route]:
    """GET and HEAD of /media/{name}; no token, byte ranges, and 403 once `Expires` has passed.

    Assumed throughout: the links of the three services are the signed links of other hosts' CDNs,
    and nothing about them is documented. The 403 is what such hosts answer.
    """

    async def serve(request: Request) -> Response:
        name = request.path_params["name"]
        expires = request.query_params.get("Expires", "")
        if expires.isdecimal() and int(expires) < now():
            return PlainTextResponse("Request has expired", status_code=403)
        if name not in names():
            return PlainTextResponse("Not found", status_code=404)
        return _part(request, read(name), media_type(name))

    return [Route("/media/{name}", serve, methods=["GET", "HEAD"])]


def media_type(name: str) -> str:
    return "video/mp4" if name.endswith(".mp4") else "image/jpeg"


def _folder() -> Traversable:
    return resources.files("mcp_server.sandbox") / "samples"


def _part(request: Request, content: bytes, kind: str) -> Response:
    """The whole, or the one byte range that was asked for (a player seeks that way)."""
    headers = {"Accept-Ranges": "bytes", "Access-Control-Allow-Origin": "*"}
    first, last, status = 0, len(content) - 1, 200
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if found and any(found.groups()):
        start, end = found.groups()
        first = int(start) if start else max(len(content) - int(end), 0)
        last = min(int(end), last) if start and end else last
        if first > last:
            headers["Content-Range"] = f"bytes */{len(content)}"
            return Response(status_code=416, headers=headers)
        status = 206
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    headers["Content-Length"] = str(last + 1 - first)
    stop = first if request.method == "HEAD" else last + 1
    chunks = _chunks(content, first, stop)
    return StreamingResponse(chunks, status_code=status, headers=headers, media_type=kind)


async def _chunks(content: bytes, start: int, stop: int) -> AsyncIterator[bytes]:
    for offset in range(start, stop, CHUNK_BYTES):
        yield content[offset : min(offset + CHUNK_BYTES, stop)]
