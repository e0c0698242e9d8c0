"""What a media file's own bytes say: its type, its size in pixels, how long it is and how fast.

Only tables are read, never samples: at most 2,000 reads and 4 MiB, whatever the file claims.
Layouts: ISO/IEC 14496-12 (MP4), ITU-T T.81 (JPEG), W3C PNG, RFC 9649 (WebP), GIF89a.
"""

import contextlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, NamedTuple

HEAD_BYTES = 64
_MAX_READS = 2_000
_MAX_READ_BYTES = 4 * 1024 * 1024
_MAX_STTS_ENTRIES = 65_536  # one is enough for a constant frame rate; the average of these will do
_MAX_PX = 100_000
_MAX_DURATION_MS = 24 * 3600 * 1000  # also keeps out "unknown", which is written as all ones
_MAX_FRAME_RATE = 1_000

_MAGICS = (
    (rb"....ftypqt  ", "video/quicktime"),
    (rb"....ftyp(?!avi[fs]|hei[cx]|mif1|msf1|M4[AB] )", "video/mp4"),  # nor pictures, nor sound
    (rb"\x1a\x45\xdf\xa3.{,50}webm", "video/webm"),
    (rb"\xff\xd8\xff", "image/jpeg"),
    (rb"\x89PNG\r\n\x1a\n", "image/png"),
    (rb"RIFF....WEBP", "image/webp"),
    (rb"GIF8[79]a", "image/gif"),
)
_PARENT_BOXES = {b"mdia", b"minf", b"stbl"}
_TRACK_TABLES = {b"tkhd", b"mdhd", b"hdlr", b"stsd", b"stts"}
_JPEG_SIZE_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class Facts:
    """What is known; None is what the bytes do not say, or say implausibly."""

    mime_type: str
    kind: Literal["video", "image"]
    width: int | None = None
    height: int | None = None
    duration_ms: int | None = None
    frame_rate: float | None = None


def sniff(head: bytes) -> str | None:
    """The mime type, from the first `HEAD_BYTES` of a file; None for a type not handled here."""
    return next((mime for magic, mime in _MAGICS if re.match(magic, head, re.DOTALL)), None)


def probe(file: BinaryIO) -> Facts | None:
    """The facts of a seekable file, as many as can be had; None if `sniff` does not know it."""
    file.seek(0)
    mime_type = sniff(file.read(HEAD_BYTES))
    if mime_type is None:
        return None
    kind: Literal["video", "image"] = "video" if mime_type.startswith("video/") else "image"
    found = dict.fromkeys(("width", "height", "duration_ms", "frame_rate"), 0.0)
    with contextlib.suppress(_EndedError):
        reader = _Reader(file)
        if mime_type in ("video/mp4", "video/quicktime"):
            _read_mp4(reader, found)
        elif kind == "image":
            found["width"], found["height"] = _IMAGE_READERS[mime_type](reader)
    frame_rate = found["frame_rate"]
    return Facts(
        mime_type,
        kind,
        width=_within(found["width"], _MAX_PX),
        height=_within(found["height"], _MAX_PX),
        duration_ms=_within(found["duration_ms"], _MAX_DURATION_MS),
        frame_rate=round(frame_rate, 3) if 0 < frame_rate <= _MAX_FRAME_RATE else None,
    )


def _within(value: float, limit: int) -> int | None:
    return round(value) if 0 < value <= limit else None


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
        """The MP4 boxes straight inside `parent`, up to the first that does not fit in it."""
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


def _read_mp4(reader: _Reader, found: dict[str, float]) -> None:
    movies = (box for box in reader.boxes(reader.whole) if box.kind == b"moov")
    for box in reader.boxes(next(movies, _Box(b"none", 0, 0))):
        if box.kind == b"mvhd":
            timescale, duration = _timescale_and_duration(reader, box)
            found["duration_ms"] = duration * 1000 / timescale
        elif box.kind == b"trak" and not found["width"]:
            _read_track(reader, box, found)


def _read_track(reader: _Reader, track: _Box, found: dict[str, float]) -> None:
    tables: dict[bytes, _Box] = {}
    parents = [track]  # a list and no recursion: how deep it goes is the file's choice
    while parents:
        for box in reader.boxes(parents.pop()):
            tables.setdefault(box.kind, box)
            if box.kind in _PARENT_BOXES:
                parents.append(box)
    if not tables.keys() >= _TRACK_TABLES or reader.read("4s", 8, tables[b"hdlr"]) != (b"vide",):
        return
    width, height = reader.read(">HH", 40, tables[b"stsd"])
    (version,) = reader.read("B", 0, tables[b"tkhd"])
    matrix = reader.read(">9i", 52 if version else 40, tables[b"tkhd"])
    if matrix[0] == matrix[4] == 0 != matrix[1]:  # shown turned by 90 or 270 degrees
        width, height = height, width
    found["width"], found["height"] = width, height

    timescale, _ = _timescale_and_duration(reader, tables[b"mdhd"])
    (entries,) = reader.read(">I", 4, tables[b"stts"])
    runs = reader.read(f">{2 * min(entries, _MAX_STTS_ENTRIES)}I", 8, tables[b"stts"])
    counts, ticks_each = runs[::2], runs[1::2]
    ticks = sum(count * each for count, each in zip(counts, ticks_each, strict=True))
    found["frame_rate"] = sum(counts) * timescale / ticks if ticks else 0


def _timescale_and_duration(reader: _Reader, box: _Box) -> tuple[int, int]:
    """(ticks a second, ticks) of an `mvhd` or `mdhd`."""
    (version,) = reader.read("B", 0, box)
    timescale, duration = reader.read(">IQ", 20, box) if version else reader.read(">II", 12, box)
    if timescale == 0:
        raise _EndedError
    return timescale, duration


def _jpeg_size(reader: _Reader) -> tuple[int, ...]:
    at = 2
    while True:
        lead, marker, length = reader.read(">BBH", at)
        if lead != 0xFF:
            return 0, 0
        if marker in _JPEG_SIZE_MARKERS:
            return reader.read(">HH", at + 5)[::-1]
        at += 1 if marker == 0xFF else 2 + length  # 0xFF 0xFF is padding


def _webp_size(reader: _Reader) -> tuple[int, ...]:
    coding, payload = reader.read("4s4x10s", 12)
    if coding == b"VP8X":
        return _little(payload[4:7]) + 1, _little(payload[7:10]) + 1
    if coding == b"VP8L":
        bits = _little(payload[1:5])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return _little(payload[6:8]) & 0x3FFF, _little(payload[8:10]) & 0x3FFF


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


_IMAGE_READERS = {
    "image/jpeg": _jpeg_size,
    "image/png": lambda reader: reader.read(">II", 16),
    "image/gif": lambda reader: reader.read("<HH", 6),
    "image/webp": _webp_size,
}
