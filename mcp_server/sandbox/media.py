"""The sample clips and pictures: which file is which, their signed links, and serving them."""

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from functools import cache, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from mcp_server.sandbox import mp4, responses

CHUNK_BYTES = 64 * 1024
CLIP_S, MAX_CLIP_S = 2, 180
CLIP_MS = CLIP_S * 1000
THUMBNAIL = "thumbnail-320x180.jpg"
_LASTING = re.compile(r"(clip-[0-9]{3,4}x[0-9]{3,4}-[0-9]{2}fps)-([0-9]{1,3})s(\.mp4)", re.ASCII)


def clip(width: int, height: int, fps: int, seconds: int = CLIP_S) -> str:
    """The file's name: every clip is the same scene, made for this size and rate.

    The samples last two seconds; what lasts longer is the sample over and over.
    """
    lasts = "" if seconds == CLIP_S else f"-{seconds}s"
    return f"clip-{width}x{height}-{fps}fps{lasts}.mp4"


def clip_size(lines: int) -> tuple[int, int]:
    """The size of the sample clips that comes closest to this many lines.

    Every sample is 16:9: a clip in another format gets the closest of these.
    """
    return _closest("clip", lines)


def image_size(lines: int) -> tuple[int, int]:
    """The size of the sample images that comes closest to this many lines."""
    return _closest("image", lines)


def _closest(kind: str, lines: int) -> tuple[int, int]:
    sizes = {
        (int(found[1]), int(found[2]))
        for name in names()
        if (found := re.match(rf"{kind}-([0-9]+)x([0-9]+)", name))
    }
    return min(sizes, key=lambda size: (abs(size[1] - lines), size))


def image(width: int, height: int) -> str:
    return f"image-{width}x{height}.jpg"


@cache
def names() -> frozenset[str]:
    return frozenset(file.name for file in _folder().iterdir())


@lru_cache(maxsize=64)
def read(name: str) -> bytes:
    """A file's bytes: a sample's, or a sample's made to last."""
    if name not in names() and (found := _LASTING.fullmatch(name)):
        return mp4.lasting(read(found[1] + found[3]), int(found[2]))
    return (_folder() / name).read_bytes()


def exists(name: str) -> bool:
    found = _LASTING.fullmatch(name)
    if found is None:
        return name in names()
    return found[1] + found[3] in names() and 1 <= int(found[2]) <= MAX_CLIP_S


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
        if not exists(name):
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
