"""Probing: what the bytes of a media file say, damaged ones included."""

import io
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcp_server
from mcp_server.media.probe import HEAD_BYTES, MediaInfo, probe, sniff_mime_type

SAMPLES = sorted((Path(mcp_server.__file__).parent / "sandbox" / "samples").glob("*.*"))

UPRIGHT = (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
TURNED = (0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def wide_box(kind: bytes, *parts: bytes) -> bytes:
    """A box whose size is written in 64 bits."""
    body = b"".join(parts)
    return struct.pack(">I4sQ", 1, kind, 16 + len(body)) + body


def time_box(kind: bytes, timescale: int, duration: int, version: int) -> bytes:
    if version:
        return box(kind, struct.pack(">B3x8x8xIQ", 1, timescale, duration))
    return box(kind, struct.pack(">B3x4x4xII", 0, timescale, duration))


def track(
    handler: bytes = b"vide",
    size: tuple[int, int] = (1920, 1080),
    runs: tuple[tuple[int, int], ...] = ((240, 512),),
    timescale: int = 12_288,
    matrix: tuple[int, ...] = UPRIGHT,
    version: int = 0,
) -> bytes:
    before_matrix = 52 if version else 40
    header = struct.pack(f">B{before_matrix - 1}x9iII", version, *matrix, 0, 0)
    entry = box(b"avc1", struct.pack(">6xH16xHH50x", 1, *size))
    times = struct.pack(f">4xI{2 * len(runs)}I", len(runs), *(n for run in runs for n in run))
    return box(
        b"trak",
        box(b"tkhd", header),
        box(
            b"mdia",
            time_box(b"mdhd", timescale, 122_880, version),
            box(b"hdlr", struct.pack(">8x4s12x", handler)),
            box(
                b"minf",
                box(b"stbl", box(b"stsd", struct.pack(">4xI", 1), entry), box(b"stts", times)),
            ),
        ),
    )


def movie(*tracks: bytes, timescale: int = 1000, duration: int = 10_000, version: int = 0) -> bytes:
    return box(b"moov", time_box(b"mvhd", timescale, duration, version), *tracks)


FTYP = box(b"ftyp", b"isom", b"\0\0\2\0", b"isomiso2avc1mp41")
MDAT = box(b"mdat", bytes(5_000))
MP4 = FTYP + movie(track()) + MDAT

IHDR = struct.pack(">IIBBBBB", 640, 360, 8, 2, 0, 0, 0)
PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 13, b"IHDR") + IHDR + bytes(4)
GIF = b"GIF89a" + struct.pack("<HH", 320, 240) + bytes(20)
JPEG = (
    b"\xff\xd8"
    + (b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0" + bytes(9))
    + (b"\xff" + b"\xff\xc4" + struct.pack(">H", 4) + b"\1\2")  # padded, and not a size marker
    + (b"\xff\xc2" + struct.pack(">HBHH", 17, 8, 2160, 3840) + bytes(10))
)


def webp(coding: bytes, payload: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 12 + len(payload)) + b"WEBP" + coding + b"\0\0\0\0" + payload


WEBP_LOSSY = webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 1024, 768))
WEBP_LOSSLESS = webp(b"VP8L", b"\x2f" + struct.pack("<I", 1023 | 767 << 14) + bytes(5))
WEBP_EXTENDED = webp(b"VP8X", bytes(4) + (1023).to_bytes(3, "little") + (767).to_bytes(3, "little"))

REAL_FILES = (MP4, PNG, GIF, JPEG, WEBP_LOSSY, WEBP_LOSSLESS, WEBP_EXTENDED)


class CountingFile(io.BytesIO):
    """Counts what is read from it."""

    reads = 0
    read_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.reads += 1
        self.read_bytes += len(data)
        return data


def info_of(data: bytes) -> MediaInfo | None:
    """The info, with a check of how little was read for them."""
    file = CountingFile(data)
    info = probe(file)
    assert file.reads <= 2_001
    assert file.read_bytes <= 4 * 1024 * 1024 + HEAD_BYTES
    return info


@pytest.mark.parametrize("version", [0, 1])
def test_an_mp4_tells_its_size_length_and_frame_rate(version: int) -> None:
    data = FTYP + movie(track(version=version), version=version) + MDAT

    info = info_of(data)

    assert MediaInfo("video/mp4", "video", 1920, 1080, 10_000, 24.0) == info


def test_the_table_may_come_after_the_samples() -> None:
    assert info_of(MP4) == info_of(FTYP + MDAT + movie(track()))


def test_sizes_in_64_bits_are_understood() -> None:
    data = FTYP + wide_box(b"mdat", bytes(100)) + wide_box(b"moov", movie(track())[8:])

    assert info_of(MP4) == info_of(data)


def test_a_last_box_of_size_zero_goes_on_to_the_end() -> None:
    endless = struct.pack(">I4s", 0, b"moov") + movie(track())[8:]

    assert info_of(MP4) == info_of(FTYP + endless)


def test_samples_cut_short_do_not_hide_a_table_before_them() -> None:
    assert info_of(MP4) == info_of(MP4[:-1000])


def test_a_film_shown_turned_is_as_wide_as_it_is_shown() -> None:
    info = info_of(FTYP + movie(track(matrix=TURNED)))

    assert info is not None
    assert (1080, 1920) == (info.width, info.height)


def test_sound_is_no_film() -> None:
    sound = track(handler=b"soun", size=(0, 0), runs=((470, 1024),), timescale=48_000)

    assert info_of(MP4) == info_of(FTYP + movie(sound, track()))


def test_the_first_film_of_two_counts() -> None:
    assert info_of(MP4) == info_of(FTYP + movie(track(), track(size=(64, 64))))


def test_a_broadcast_frame_rate_keeps_three_digits() -> None:
    info = info_of(FTYP + movie(track(runs=((300, 1001),), timescale=30_000)))

    assert info is not None
    assert info.frame_rate == 29.97


def test_a_changing_frame_rate_is_averaged() -> None:
    info = info_of(FTYP + movie(track(runs=((30, 10), (30, 30)), timescale=600)))

    assert info is not None
    assert info.frame_rate == 30.0


def test_a_frame_rate_below_one_is_still_a_frame_rate() -> None:
    info = info_of(FTYP + movie(track(runs=((4, 1000),), timescale=250)))

    assert info is not None
    assert info.frame_rate == 0.25


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(FTYP + MDAT, MediaInfo("video/mp4", "video"), id="no table"),
        pytest.param(
            FTYP + movie(), MediaInfo("video/mp4", "video", duration_ms=10_000), id="no track"
        ),
        pytest.param(
            FTYP + movie(box(b"trak", box(b"mdia"))),
            MediaInfo("video/mp4", "video", duration_ms=10_000),
            id="an empty track",
        ),
        pytest.param(
            FTYP + movie(track(runs=())),
            MediaInfo("video/mp4", "video", 1920, 1080, 10_000),
            id="no times, as in a fragmented file",
        ),
        pytest.param(
            FTYP + movie(track(), duration=0xFFFFFFFF),
            MediaInfo("video/mp4", "video", 1920, 1080, None, 24.0),
            id="length unknown",
        ),
        pytest.param(
            FTYP + movie(track(), timescale=0),
            MediaInfo("video/mp4", "video"),
            id="no ticks a second",
        ),
        pytest.param(
            FTYP + movie(track(runs=((240, 1),), timescale=4_000_000)),
            MediaInfo("video/mp4", "video", 1920, 1080, 10_000),
            id="an impossible frame rate",
        ),
        pytest.param(
            FTYP + movie(track()[:-8] + struct.pack(">II", 0xFFFFFFFF, 1)),
            MediaInfo("video/mp4", "video", 1920, 1080, 10_000, None),
            id="more frames than a film can hold",
        ),
    ],
)
def test_what_the_bytes_do_not_say_stays_unknown(data: bytes, expected: MediaInfo) -> None:
    assert expected == info_of(data)


def test_a_table_that_claims_more_than_its_box_holds_ends_the_look() -> None:
    entries_at = MP4.index(b"stts") + 8
    data = MP4[:entries_at] + b"\xff\xff\xff\xff" + MP4[entries_at + 4 :]

    info = info_of(data)

    assert MediaInfo("video/mp4", "video", 1920, 1080, 10_000) == info


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(PNG, MediaInfo("image/png", "image", 640, 360), id="PNG"),
        pytest.param(GIF, MediaInfo("image/gif", "image", 320, 240), id="GIF"),
        pytest.param(JPEG, MediaInfo("image/jpeg", "image", 3840, 2160), id="JPEG"),
        pytest.param(WEBP_LOSSY, MediaInfo("image/webp", "image", 1024, 768), id="WebP, lossy"),
        pytest.param(
            WEBP_LOSSLESS, MediaInfo("image/webp", "image", 1024, 768), id="WebP, lossless"
        ),
        pytest.param(
            WEBP_EXTENDED, MediaInfo("image/webp", "image", 1024, 768), id="WebP, extended"
        ),
        pytest.param(JPEG[:30], MediaInfo("image/jpeg", "image"), id="JPEG cut short"),
        pytest.param(
            b"\xff\xd8\xff\xe0\0\2" + bytes(9), MediaInfo("image/jpeg", "image"), id="no JPEG"
        ),
        pytest.param(PNG[:20], MediaInfo("image/png", "image"), id="PNG cut short"),
        pytest.param(
            PNG[:16] + b"\xff\xff\xff\xff" + PNG[20:],
            MediaInfo("image/png", "image", None, 360),
            id="an impossible width",
        ),
    ],
)
def test_a_picture_tells_its_size(data: bytes, expected: MediaInfo) -> None:
    assert expected == info_of(data)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (FTYP, "video/mp4"),
        (box(b"ftyp", b"qt  ", bytes(4)), "video/quicktime"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\x82\x84webm", "video/webm"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\x82\x88matroska", None),
        (box(b"ftyp", b"avif", bytes(4)), None),
        (box(b"ftyp", b"M4A ", bytes(4)), None),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"<!DOCTYPE html>", None),
        (b'{"error": "not found"}', None),
        (b"", None),
    ],
)
def test_a_type_is_known_by_its_first_bytes(head: bytes, expected: str | None) -> None:
    assert expected == sniff_mime_type(head)


def test_of_webm_only_the_type_is_told() -> None:
    data = b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\x82\x84webm" + bytes(500)

    assert MediaInfo("video/webm", "video") == info_of(data)


def test_what_is_no_media_has_no_facts() -> None:
    assert info_of(b"<html>not found</html>") is None


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_is_what_its_name_says(path: Path) -> None:
    size = re.search(r"(\d+)x(\d+)", path.name)
    fps = re.search(r"(\d+)fps", path.name)

    with path.open("rb") as file:
        info = probe(file)

    assert info is not None
    if size:
        assert (int(size[1]), int(size[2])) == (info.width, info.height)
    if fps:
        assert float(fps[1]) == info.frame_rate
    assert (info.kind == "video") == bool(info.duration_ms)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(FTYP + box(b"free") * 100_000, id="boxes without end"),
        pytest.param(FTYP + movie(box(b"trak") * 100_000), id="tracks without end"),
        pytest.param(FTYP + struct.pack(">I4s", 7, b"moov") * 9, id="a box smaller than its head"),
        pytest.param(FTYP + struct.pack(">I4sQ", 1, b"moov", 2**64 - 1), id="a box past any file"),
        pytest.param(FTYP + struct.pack(">I4sQ", 1, b"moov", 3), id="a wide box too small"),
        pytest.param(b"\xff\xd8" + b"\xff" * 100_000, id="padding without end"),
        pytest.param(b"\xff\xd8" + b"\xff\xe0\0\0" * 100_000, id="segments of no length"),
    ],
)
def test_a_file_without_end_is_left_early(data: bytes) -> None:
    info = info_of(data)

    assert info is not None
    assert (None, None) == (info.width, info.height)


def test_boxes_nested_a_thousand_deep_do_no_harm() -> None:
    nested = b""
    for _ in range(1_500):
        nested = box(b"mdia", nested)

    info = info_of(FTYP + movie(box(b"trak", nested)))

    assert MediaInfo("video/mp4", "video", duration_ms=10_000) == info


def test_many_large_tables_are_not_read_whole() -> None:
    large = track(runs=((1, 512),) * 65_536, size=(0, 0))

    info = info_of(FTYP + movie(*(large for _ in range(12))))

    assert info is not None
    assert info.width is None


class ShrinkingFile(io.BytesIO):
    """Says it is longer than what it gives."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return super().seek(offset, whence) + (1_000 if whence else 0)


def test_a_file_that_becomes_shorter_while_read_has_facts_as_far_as_it_goes() -> None:
    info = probe(ShrinkingFile(PNG[:20]))

    assert MediaInfo("image/png", "image") == info


@given(st.binary(max_size=300), st.sampled_from([b"", *(file[:12] for file in REAL_FILES)]))
@settings(deadline=None)
def test_any_bytes_are_survived(data: bytes, start: bytes) -> None:
    info_of(start + data)


@given(
    file=st.sampled_from(REAL_FILES),
    changes=st.lists(st.tuples(st.integers(0, 700), st.binary(min_size=1, max_size=8)), max_size=6),
    length=st.integers(0, 1_000),
)
@settings(deadline=None)
def test_any_damage_to_a_real_file_is_survived(
    file: bytes, changes: list[tuple[int, bytes]], length: int
) -> None:
    data = bytearray(file)
    for at, new in changes:
        data[at : at + len(new)] = new

    info_of(bytes(data))
    info_of(bytes(data[:length]))


@given(st.integers(1, 5_000), st.integers(1, 5_000))
@settings(deadline=None)
def test_every_size_is_read_as_it_was_written(width: int, height: int) -> None:
    png = PNG[:16] + struct.pack(">II", width, height) + PNG[24:]
    film = FTYP + movie(track(size=(width, height)))

    for info in (info_of(png), info_of(film)):
        assert info is not None
        assert (width, height) == (info.width, info.height)
