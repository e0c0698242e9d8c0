"""Type, size in pixels, duration and frame rate of a media file, from its own bytes.

Only tables are read, never samples: at most 2,000 reads and 4 MiB, whatever the file claims.
Layouts: ISO/IEC 14496-12 (MP4), ITU-T T.81 (JPEG), W3C PNG, RFC 9649 (WebP), GIF89a.
"""

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Literal, NamedTuple

HEAD_BYTES = 64
_MAX_READS = 2_000
_MAX_READ_BYTES = 4 * 1024 * 1024
_MAX_STTS_ENTRIES = 65_536  # one is enough for a constant frame rate; the average of these will do
_MAX_PX = 100_000
_MAX_DURATION_MS = 24 * 3600 * 1000  # also keeps out "unknown", which is written as all ones
_MAX_FRAME_RATE = 1_000

# ISO base media files that are sound or pictures, by the brand they begin with.
_OTHER_BRANDS = {b"M4A ", b"M4B ", b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"}
_EBML = b"\x1a\x45\xdf\xa3"  # what WebM and other Matroska files begin with
_IMAGE_SIGNATURES = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
_PARENT_BOXES = {b"mdia", b"minf", b"stbl"}
_TRACK_TABLES = {b"tkhd", b"mdhd", b"hdlr", b"stsd", b"stts"}
_JPEG_SIZE_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class MediaInfo:
    """What is known of a file; None is what its bytes do not say, or say implausibly."""

    mime_type: str
    kind: Literal["video", "image"]
    width: int | None = None
    height: int | None = None
    duration_ms: int | None = None
    frame_rate: float | None = None


@dataclass(frozen=True)
class _Claims:
    """What a file says of itself, before it is checked."""

    width: int | None = None
    height: int | None = None
    duration_ms: float | None = None
    frame_rate: float | None = None


def sniff_mime_type(head: bytes) -> str | None:
    """The mime type, from the first `HEAD_BYTES` of a file; None for a type not handled here."""
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in _OTHER_BRANDS:
            return None
        return "video/quicktime" if brand == b"qt  " else "video/mp4"
    if head.startswith(_EBML):
        return "video/webm" if b"webm" in head[4:58] else None
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return next((mime for start, mime in _IMAGE_SIGNATURES.items() if head.startswith(start)), None)


def probe(file: BinaryIO) -> MediaInfo | None:
    """What a seekable file says of itself; None if `sniff_mime_type` does not know its type."""
    file.seek(0)
    mime_type = sniff_mime_type(file.read(HEAD_BYTES))
    if mime_type is None:
        return None
    claims = _claims(_Reader(file), mime_type)
    return MediaInfo(
        mime_type,
        "video" if mime_type.startswith("video/") else "image",
        width=_whole(claims.width, _MAX_PX),
        height=_whole(claims.height, _MAX_PX),
        duration_ms=_whole(claims.duration_ms, _MAX_DURATION_MS),
        frame_rate=_plausible(claims.frame_rate, _MAX_FRAME_RATE),
    )


def _claims(reader: "_Reader", mime_type: str) -> _Claims:
    if mime_type in {"video/mp4", "video/quicktime"}:
        return _mp4_claims(reader)
    size_of = _IMAGE_SIZES.get(mime_type)
    try:
        width, height = size_of(reader) if size_of else (None, None)
    except _EndedError:
        return _Claims()
    return _Claims(width, height)


def _plausible(value: float | None, limit: int) -> float | None:
    return round(value, 3) if value is not None and 0 < value <= limit else None


def _whole(value: float | None, limit: int) -> int | None:
    return round(value) if value is not None and 0 < value <= limit else None


class _Box(NamedTuple):
    kind: bytes
    start: int  # of what it holds, after its header
    end: int


class _EndedError(Exception):
    """The file, the box or the budget ends before the bytes asked for."""


class _Reader:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._reads_left = _MAX_READS
        self._bytes_left = _MAX_READ_BYTES
        self.whole = _Box(b"file", 0, file.seek(0, 2))

    def read(self, layout: str, offset: int, box: _Box | None = None) -> tuple[Any, ...]:
        """The fields of a `struct` layout, from `offset` inside a box or the whole file."""
        start, end = (box or self.whole)[1:]
        size = struct.calcsize(layout)
        self._reads_left -= 1
        self._bytes_left -= size
        if start + offset + size > end or self._reads_left < 0 or self._bytes_left < 0:
            raise _EndedError
        self._file.seek(start + offset)
        data = self._file.read(size)
        if len(data) < size:  # the file became shorter meanwhile
            raise _EndedError
        return struct.unpack(layout, data)

    def boxes(self, parent: _Box) -> Iterator[_Box]:
        """The MP4 boxes directly inside `parent`, up to the first that does not fit in it."""
        start = parent.start
        while start + 8 <= parent.end:
            size, kind = self.read(">I4s", start)
            header = 8
            if size == 1:  # the real size follows, in 64 bits
                (size,) = self.read(">Q", start + 8)
                header = 16
            end = start + size if size else parent.end
            if not start + header <= end <= parent.end:
                return
            yield _Box(kind, start + header, end)
            start = end


def _mp4_claims(reader: _Reader) -> _Claims:
    claims = _Claims()
    with contextlib.suppress(_EndedError):  # what was read before it counts
        movies = (box for box in reader.boxes(reader.whole) if box.kind == b"moov")
        for box in reader.boxes(next(movies, _Box(b"none", 0, 0))):
            if box.kind == b"mvhd":
                timescale, duration = _timescale_and_duration(reader, box)
                claims = replace(claims, duration_ms=duration * 1000 / timescale)
            elif box.kind == b"trak" and not claims.width and (tables := _tables(reader, box)):
                width, height = _shown_size(reader, tables)
                claims = replace(claims, width=width, height=height)
                claims = replace(claims, frame_rate=_frame_rate(reader, tables))
    return claims


def _tables(reader: _Reader, track: _Box) -> dict[bytes, _Box] | None:
    """The tables of a video track by their kind; None for any other track."""
    tables: dict[bytes, _Box] = {}
    parents = [track]  # a list and no recursion: how deep it goes is the file's choice
    while parents:
        for box in reader.boxes(parents.pop()):
            tables.setdefault(box.kind, box)
            if box.kind in _PARENT_BOXES:
                parents.append(box)
    if not tables.keys() >= _TRACK_TABLES or reader.read("4s", 8, tables[b"hdlr"]) != (b"vide",):
        return None
    return tables


def _shown_size(reader: _Reader, tables: dict[bytes, _Box]) -> tuple[int, int]:
    """(width, height) as a player shows it, which may be turned."""
    width, height = reader.read(">HH", 40, tables[b"stsd"])
    (version,) = reader.read("B", 0, tables[b"tkhd"])
    matrix = reader.read(">9i", 52 if version else 40, tables[b"tkhd"])
    if matrix[0] == matrix[4] == 0 != matrix[1]:  # by 90 or 270 degrees
        return height, width
    return width, height


def _frame_rate(reader: _Reader, tables: dict[bytes, _Box]) -> float | None:
    timescale, _ = _timescale_and_duration(reader, tables[b"mdhd"])
    (entries,) = reader.read(">I", 4, tables[b"stts"])
    runs = reader.read(f">{2 * min(entries, _MAX_STTS_ENTRIES)}I", 8, tables[b"stts"])
    counts, ticks_each = runs[::2], runs[1::2]
    ticks = sum(count * each for count, each in zip(counts, ticks_each, strict=True))
    return sum(counts) * timescale / ticks if ticks else None


def _timescale_and_duration(reader: _Reader, box: _Box) -> tuple[int, int]:
    """(ticks a second, ticks) of an `mvhd` or `mdhd`."""
    (version,) = reader.read("B", 0, box)
    timescale, duration = reader.read(">IQ", 20, box) if version else reader.read(">II", 12, box)
    if timescale == 0:
        raise _EndedError
    return timescale, duration


def _jpeg_size(reader: _Reader) -> tuple[int, int]:
    at = 2
    while True:
        lead, marker, length = reader.read(">BBH", at)
        if lead != 0xFF:
            raise _EndedError
        if marker in _JPEG_SIZE_MARKERS:
            height, width = reader.read(">HH", at + 5)
            return width, height
        at += 1 if marker == 0xFF else 2 + length  # 0xFF 0xFF is padding


def _png_size(reader: _Reader) -> tuple[int, int]:
    width, height = reader.read(">II", 16)
    return width, height


def _gif_size(reader: _Reader) -> tuple[int, int]:
    width, height = reader.read("<HH", 6)
    return width, height


def _webp_size(reader: _Reader) -> tuple[int, int]:
    coding, payload = reader.read("4s4x10s", 12)
    if coding == b"VP8X":
        return _little_endian(payload[4:7]) + 1, _little_endian(payload[7:10]) + 1
    if coding == b"VP8L":
        bits = _little_endian(payload[1:5])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return _little_endian(payload[6:8]) & 0x3FFF, _little_endian(payload[8:10]) & 0x3FFF


def _little_endian(data: bytes) -> int:
    return int.from_bytes(data, "little")


_IMAGE_SIZES = {
    "image/jpeg": _jpeg_size,
    "image/png": _png_size,
    "image/gif": _gif_size,
    "image/webp": _webp_size,
}
