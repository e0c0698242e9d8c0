"""The sandbox's MP4 files: a sample made to last longer or shorter, and what an upload says of it.

Layouts: ISO/IEC 14496-12.
"""

import math
import struct
from collections.abc import Iterator, Sequence
from itertools import chain

# The boxes that hold others on the way to a track's tables.
_PARENTS = (b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl")
# Where a header of version 0 has its duration, after the box's own 8 bytes.
_DURATION_AT = {b"mvhd": 16, b"tkhd": 20, b"mdhd": 16, b"elst": 8}
MAX_TABLES_BYTES = 16 * 1024 * 1024


def lasting(clip: bytes, seconds: float) -> bytes:
    """The clip, played over and over or cut short, so that it lasts this long.

    No picture is copied or drawn: the tables name the same bytes again. Holds for the samples
    alone: one track, one chunk, version 0, `moov` before `mdat`, and a picture to start from at
    each whole second.
    """
    moov = next(box for box in _boxes(clip) if box[0] == b"moov")
    old, length = _Tables(clip, seconds), moov[2] - moov[1] + 8
    growth = len(old.rebuilt(b"moov", clip[moov[1] : moov[2]], 0)) - length
    before, after = clip[: moov[1] - 8], clip[moov[2] :]
    return before + old.rebuilt(b"moov", clip[moov[1] : moov[2]], growth) + after


def _boxes(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The kind of each box, and where what it holds starts and ends."""
    start = 0
    while start + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, start)
        end = start + size
        if size < 8 or end > len(content):
            return
        yield kind, start + 8, end
        start = end


class _Tables:
    """The tables of a longer or shorter clip, made from those of `clip`."""

    def __init__(self, clip: bytes, seconds: float) -> None:
        tables = dict(_leaves(clip))
        (timescale, duration) = struct.unpack_from(">II", tables[b"mvhd"], 12)
        (self.frames,) = struct.unpack_from(">I", tables[b"stsz"], 8)
        self._times = seconds * timescale / duration
        self.wanted = round(self.frames * self._times)

    def rebuilt(self, kind: bytes, content: bytes, growth: int) -> bytes:
        """The box with what it holds changed; `growth`: how far the pictures move in the file."""
        if kind in _PARENTS:
            inner = (
                self.rebuilt(name, content[start:end], growth)
                for name, start, end in _boxes(content)
            )
            content = b"".join(inner)
        elif kind in _DURATION_AT:
            at = _DURATION_AT[kind]
            (duration,) = struct.unpack_from(">I", content, at)
            changed = struct.pack(">I", round(duration * self._times))
            content = content[:at] + changed + content[at + 4 :]
        else:
            content = self._table(kind, content, growth)
        return struct.pack(">I4s", len(content) + 8, kind) + content

    def _table(self, kind: bytes, content: bytes, growth: int) -> bytes:
        chunks = math.ceil(self.wanted / self.frames)
        if kind == b"stts":
            (each,) = struct.unpack_from(">I", content, 12)
            return struct.pack(">4I", 0, 1, self.wanted, each)
        if kind == b"stsz":
            sizes = struct.unpack_from(f">{self.frames}I", content, 12)
            return struct.pack(">3I", 0, 0, self.wanted) + _packed(self._cycled(sizes))
        if kind == b"stss":
            (count,) = struct.unpack_from(">I", content, 4)
            keys = struct.unpack_from(f">{count}I", content, 8)
            again = [key + turn * self.frames for turn in range(chunks) for key in keys]
            return _counted([key for key in again if key <= self.wanted], 1)
        if kind == b"ctts":
            (count,) = struct.unpack_from(">I", content, 4)
            runs = struct.unpack_from(f">{2 * count}I", content, 8)
            delays = [
                delay
                for times, delay in zip(runs[::2], runs[1::2], strict=True)
                for _ in range(times)
            ]
            return _counted(list(chain.from_iterable((1, d) for d in self._cycled(delays))), 2)
        if kind == b"stsc":
            last = self.wanted - (chunks - 1) * self.frames
            runs = (1, self.frames, 1) if chunks > 1 else ()
            return _counted([*runs, chunks, last, 1], 3)
        if kind == b"stco":
            (offset,) = struct.unpack_from(">I", content, 8)
            return _counted([offset + growth] * chunks, 1)
        return content

    def _cycled(self, values: Sequence[int]) -> list[int]:
        return [values[at % self.frames] for at in range(self.wanted)]


def _leaves(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    for kind, start, end in _boxes(content):
        if kind in _PARENTS:
            yield from _leaves(content[start:end])
        else:
            yield kind, content[start:end]


def _packed(values: list[int]) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def _counted(values: list[int], each: int) -> bytes:
    return struct.pack(">II", 0, len(values) // each) + _packed(values)


class Tables:
    """Takes a file piece by piece and keeps its `moov` alone, wherever that is."""

    def __init__(self) -> None:
        self._header = b""
        self._left = 0.0  # bytes of the box at hand that are still to come
        self._keeps = False
        self._moov = bytearray()

    def feed(self, piece: bytes) -> None:
        while piece:
            if not self._left:
                piece = self._take_header(piece)
                continue
            part = piece[: int(min(self._left, len(piece)))]
            self._left -= len(part)
            piece = piece[len(part) :]
            if self._keeps:
                self._moov += part

    def _take_header(self, piece: bytes) -> bytes:
        """What is left of a piece when the box's header, or a part of it, is taken off."""
        taken = piece[: self._header_bytes - len(self._header)]
        self._header += taken
        if len(self._header) == self._header_bytes:
            size = int.from_bytes(self._header[8:] or self._header[:4])
            # 0 = to the end of the file; less than its own header = no MP4, nothing more is read.
            body = size - len(self._header)
            self._left = body if body >= 0 else math.inf
            self._keeps = self._header[4:8] == b"moov" and self._left <= MAX_TABLES_BYTES
            self._header = b""
        return piece[len(taken) :]

    @property
    def _header_bytes(self) -> int:
        return 16 if self._header[:4] == b"\0\0\0\1" else 8

    def facts(self) -> tuple[int, int, float]:
        """(width, height, seconds), 0 where the file does not say."""
        width, height, seconds = 0, 0, 0.0
        for kind, box in _leaves(bytes(self._moov)):
            wide = box[:1] == b"\1"  # version 1 has times of 64 bits
            if kind == b"mvhd" and len(box) >= 32:
                layout, at = (">IQ", 20) if wide else (">II", 12)
                timescale, duration = struct.unpack_from(layout, box, at)
                seconds = duration / timescale if timescale else 0.0
            elif kind == b"tkhd" and len(box) >= 84 and not width:
                width, height = (side >> 16 for side in struct.unpack(">II", box[-8:]))
        return width, height, seconds
