"""What is seen of an upload, by what PixVerse says of it: it takes nothing in 4K or above."""

import struct
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from mcp_server.sandbox import media
from tests.sandbox.api import Api, open_api

FILES, UPSCALE = "/v2/pixverse/files", "/v2/pixverse/images/upscale"
SIDES = struct.pack("<HH", 4000, 3000)


async def refusal(api: Api, content: bytes) -> str:
    answer = await api.http.post(FILES, content=content, headers={"Content-Type": "image/webp"})
    path = answer.json()["result"][0]["path"]
    answer = await api.http.post(UPSCALE, json={"image_path": path})
    return str(answer.json().get("error", ""))


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n" + bytes(8) + struct.pack(">II", 4000, 3000),
        b"GIF89a" + SIDES,
        b"RIFF\0\0\0\0WEBPVP8 " + bytes(10) + SIDES,
        b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\x9f\x0f\0\xb7\x0b\0",
        b"RIFF\0\0\0\0WEBPVP8L" + bytes(5) + struct.pack("<I", 3999 | 2999 << 14),
        b"\xff\xd8\xff\xe1\0\4ab\xff\xc0\0\x11\x08" + struct.pack(">HH", 3000, 4000),
    ],
)
async def test_the_size_of_a_picture_is_read_from_its_own_bytes(content: bytes) -> None:
    """Layouts: W3C PNG, GIF89a, RFC 9649, ITU-T T.81."""
    async with open_api() as api:
        assert "Image is 4000x3000, must be under 4K" == await refusal(api, content)


@pytest.mark.parametrize(
    "content", [b"\x89PNG", b"RIFF\0\0\0\0WEBP", b"\xff\xd8\xff\xe1\0\4ab", b"\xff\xd8\xff", b"x"]
)
async def test_a_picture_that_does_not_say_its_size_is_taken(content: bytes) -> None:
    """Assumed."""
    async with open_api() as api:
        assert "" == await refusal(api, content)


async def test_a_large_upload_takes_no_memory() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield media.read(media.clip(640, 360, 24))
        for _ in range(512):
            yield bytes(64 * 1024)

    async with open_api() as api:
        tracemalloc.start()
        try:
            headers = {"Content-Type": "video/mp4"}
            answer = await api.http.post(FILES, content=pieces(), headers=headers)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert 200 == answer.status_code
        assert peak_bytes < 4 * 1024 * 1024
