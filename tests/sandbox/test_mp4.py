"""Clips that last as long as they should, and what an upload says of itself."""

import io
import struct

import pytest

from mcp_server.media.probe import probe
from mcp_server.sandbox import media, mp4

CLIP = media.read(media.clip(640, 360, 60))


@pytest.mark.parametrize("seconds", [1, 3, 5, 8, 180])
def test_a_clip_lasts_as_long_as_its_name_says(seconds: int) -> None:
    facts = probe(io.BytesIO(media.read(media.clip(640, 360, 60, seconds))))

    assert facts is not None
    assert (640, 360, 60) == (facts.width, facts.height, facts.frame_rate)
    assert seconds * 1000 == facts.duration_ms


def pictures(clip: bytes) -> list[bytes]:
    """The bytes of each picture, as its tables say where they are."""
    at = {name: clip.index(name) + 8 for name in (b"stsz", b"stsc", b"stco")}
    (frames,) = struct.unpack_from(">I", clip, at[b"stsz"] + 4)
    sizes = struct.unpack_from(f">{frames}I", clip, at[b"stsz"] + 8)
    (runs,) = struct.unpack_from(">I", clip, at[b"stsc"])
    firsts = struct.unpack_from(f">{3 * runs}I", clip, at[b"stsc"] + 4)
    (chunks,) = struct.unpack_from(">I", clip, at[b"stco"])
    starts = struct.unpack_from(f">{chunks}I", clip, at[b"stco"] + 4)
    counts = [firsts[1]] * (chunks - 1) + [firsts[-2]]
    found, left = [], iter(sizes)
    for start, count in zip(starts, counts, strict=True):
        offset = start
        for size in (next(left) for _ in range(count)):
            found.append(clip[offset : offset + size])
            offset += size
    assert not list(left)
    return found


@pytest.mark.parametrize("seconds", [1, 2, 5])
def test_a_longer_clip_shows_the_same_pictures_again(seconds: int) -> None:
    once = pictures(CLIP)

    shown = pictures(mp4.lasting(CLIP, seconds))

    assert (once * 3)[: 60 * seconds] == shown


def facts(*pieces: bytes) -> tuple[int, int, float]:
    tables = mp4.Tables()
    for piece in pieces:
        tables.feed(piece)
    return tables.facts()


def box(kind: bytes, content: bytes, *, wide: bool = False) -> bytes:
    if wide:
        return struct.pack(">I4sQ", 1, kind, len(content) + 16) + content
    return struct.pack(">I4s", len(content) + 8, kind) + content


def parts(clip: bytes) -> tuple[bytes, bytes, bytes]:
    """What comes before `moov`, what `moov` holds, and what comes after it."""
    start = clip.index(b"moov") - 4
    (size,) = struct.unpack_from(">I", clip, start)
    return clip[:start], clip[start + 8 : start + size], clip[start + size :]


def test_a_file_says_the_same_however_it_arrives_and_wherever_its_tables_are() -> None:
    before, moov, after = parts(CLIP)
    expected = (640, 360, 2.0)

    assert expected == facts(CLIP)
    assert expected == facts(*(CLIP[at : at + 1] for at in range(len(CLIP))))
    assert expected == facts(before, after, box(b"moov", moov, wide=True))


def test_times_of_64_bits_are_understood() -> None:
    mvhd = b"\1\0\0\0" + struct.pack(">QQIQ", 0, 0, 1000, 7_500) + bytes(80)

    assert (0, 0, 7.5) == facts(box(b"moov", box(b"mvhd", mvhd)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\0\4moov",
        b"\0\0\0\0moov" + CLIP,
        b"\0\0\0\x20moov\0\0\0\4mvhd" + bytes(16),
        box(b"moov", box(b"mvhd", bytes(96))),
        box(b"moov", box(b"mvhd", b"")),
        CLIP[:100],
    ],
)
def test_what_is_no_whole_mp4_says_nothing(content: bytes) -> None:
    assert (0, 0, 0) == facts(content)
