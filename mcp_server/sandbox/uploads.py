"""A file on its way to the sandbox: what is kept of it is its size, its hash and what it is.

The services differ in where an upload goes, what they take and what they answer; how the bytes are
read is the same. Memory stays flat, however large the file.
"""

import hashlib
import struct
from dataclasses import dataclass

from starlette.requests import Request

from mcp_server.sandbox.mp4 import Tables
from mcp_server.sandbox.state import word_in

_HEAD_BYTES = 256 * 1024  # a JPEG's size comes after its Exif data, which may hold a picture
_JPEG_SIZE_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class Upload:
    """What is known of a file; 0 is what its bytes do not say.

    `kind` (`image`, `video` or `audio`) and `mime_type` are what the request says of it.
    """

    mime_type: str
    size_bytes: int
    sha256: str
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    word: str = ""  # `sandbox:<word>` in its first bytes: an upload may show an error too

    @property
    def kind(self) -> str:
        return self.mime_type.partition("/")[0]


async def receive(request: Request) -> Upload:
    """Read the body to its end."""
    digest, size_bytes, head, tables = hashlib.sha256(), 0, b"", Tables()
    mime_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    async for piece in request.stream():
        digest.update(piece)
        size_bytes += len(piece)
        head += piece[: _HEAD_BYTES - len(head)]
        if mime_type.startswith("video/"):
            tables.feed(piece)
    width, height, seconds = tables.facts()
    if mime_type.startswith("image/"):
        width, height = image_size(head)
    word = word_in(head.decode("latin-1"))
    return Upload(mime_type, size_bytes, digest.hexdigest(), width, height, seconds, word)


def image_size(head: bytes) -> tuple[int, int]:
    """(width, height) of a PNG, GIF, WebP or JPEG, from its first bytes; 0 if they do not say.

    Layouts: W3C PNG, GIF89a, RFC 9649 (WebP), ITU-T T.81 (JPEG).
    """
    try:
        if head.startswith(b"\x89PNG"):
            width, height = struct.unpack_from(">II", head, 16)
        elif head.startswith(b"GIF8"):
            width, height = struct.unpack_from("<HH", head, 6)
        elif head.startswith(b"RIFF"):
            width, height = _webp_size(head)
        else:
            width, height = _jpeg_size(head)
    except struct.error:
        return 0, 0
    return width, height


def _webp_size(head: bytes) -> tuple[int, int]:
    if head[12:16] == b"VP8X":
        low, high, low_2, high_2 = struct.unpack_from("<HBHB", head, 24)
        return 1 + low + (high << 16), 1 + low_2 + (high_2 << 16)
    if head[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF


def _jpeg_size(head: bytes) -> tuple[int, int]:
    at = 2
    while head[at : at + 1] == b"\xff":
        marker, length = struct.unpack_from(">BH", head, at + 1)
        if marker in _JPEG_SIZE_MARKERS:
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
        at += 2 + length
    return 0, 0
