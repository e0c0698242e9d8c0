"""The samples: what the files hold, and how they are served."""

import asyncio
import io
import re
from pathlib import Path

import pytest

from mcp_server.media.probe import MediaInfo, probe
from mcp_server.sandbox import media
from tests.sandbox.api import Api, open_api

CLIP = media.clip(640, 360, 24)
CLIPS = sorted(name for name in media.names() if name.endswith(".mp4"))
IMAGES = sorted(name for name in media.names() if name.endswith(".jpg"))


def facts(content: bytes) -> MediaInfo:
    found = probe(io.BytesIO(content))
    assert found is not None
    return found


@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_is_of_the_size_and_rate_its_name_says(name: str) -> None:
    width, height, rate = map(int, re.findall(r"[0-9]+", name)[:3])

    clip = facts(media.read(name))

    expected = ("video/mp4", width, height, rate, media.CLIP_MS)
    assert expected == (clip.mime_type, clip.width, clip.height, clip.frame_rate, clip.duration_ms)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_of_the_size_its_name_says(name: str) -> None:
    width, height = map(int, re.findall(r"[0-9]+", name)[:2])

    image = facts(media.read(name))

    assert ("image/jpeg", width, height) == (image.mime_type, image.width, image.height)


@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_plays_before_it_is_loaded(name: str) -> None:
    """Its table of contents comes before its pictures."""
    content = media.read(name)

    assert content.index(b"moov") < content.index(b"mdat")


def test_the_samples_leave_the_wheel_small() -> None:
    total_bytes = sum(len(media.read(name)) for name in media.names())

    assert total_bytes < 4_000_000
    assert {Path(name).suffix for name in media.names()} == {".mp4", ".jpg"}


async def get(api: Api, name: str = CLIP, query: str = "", **headers: str) -> tuple[int, bytes]:
    answer = await api.http.get(f"/media/{name}{query}", headers=headers)
    return answer.status_code, answer.content


async def test_a_file_is_served_whole_with_its_type_and_length() -> None:
    async with open_api(Authorization="") as api:
        answer = await api.http.get(f"/media/{CLIP}")

        assert media.read(CLIP) == answer.content
        assert "video/mp4" == answer.headers["content-type"]
        assert str(len(answer.content)) == answer.headers["content-length"]
        assert "bytes" == answer.headers["accept-ranges"]


async def test_head_gives_the_length_and_sends_nothing() -> None:
    async with open_api() as api:
        answer = await api.http.head(f"/media/{media.THUMBNAIL}")

        assert b"" == answer.content
        assert "image/jpeg" == answer.headers["content-type"]
        assert str(len(media.read(media.THUMBNAIL))) == answer.headers["content-length"]


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=70000-", 70000, None),
        ("bytes=-7", -7, None),
        ("bytes=10-99999999", 10, None),
        ("bytes=-99999999", 0, None),
    ],
)
async def test_a_player_can_ask_for_a_part(wanted: str, start: int, stop: int | None) -> None:
    """RFC 9110, 14.2: one byte range."""
    content = media.read(CLIP)
    async with open_api() as api:
        answer = await api.http.get(f"/media/{CLIP}", headers={"Range": wanted})

        expected = content[start:stop]
        first = start % len(content)
        assert (206, expected) == (answer.status_code, answer.content)
        assert (
            f"bytes {first}-{first + len(expected) - 1}/{len(content)}"
            == (answer.headers["content-range"])
        )


@pytest.mark.parametrize("wanted", ["lines=1-2", "bytes=-", "bytes=1-2,4-5", "bytes=x-"])
async def test_a_range_that_is_not_understood_is_passed_over(wanted: str) -> None:
    """RFC 9110, 14.2: a server may ignore the header."""
    async with open_api() as api:
        assert (200, media.read(CLIP)) == await get(api, Range=wanted)


async def test_a_range_after_the_end_is_refused() -> None:
    async with open_api() as api:
        answer = await api.http.get(f"/media/{CLIP}", headers={"Range": "bytes=99999999-"})

        assert (416, b"") == (answer.status_code, answer.content)
        assert f"bytes */{len(media.read(CLIP))}" == answer.headers["content-range"]


async def test_a_link_dies_at_its_time() -> None:
    """Assumed: 403, as the signed links of the vendors' hosts answer."""
    async with open_api() as api:
        soon = f"?Expires={1_780_000_000 + 60}&Signature=abc"

        before, _ = await get(api, query=soon)
        await asyncio.sleep(61)
        after, _ = await get(api, query=soon)

        assert (200, 403) == (before, after)


@pytest.mark.parametrize("name", ["nothing.mp4", "..", "%2e%2e%2f__init__.py", "__init__.py"])
async def test_only_samples_are_served(name: str) -> None:
    async with open_api() as api:
        status, _ = await get(api, name)

        assert status in (404, 523)
