"""The bodies that the vendor's own clients send for a generation are taken as they are."""

from collections.abc import Mapping

import pytest

from mcp_server.sandbox import media
from tests.sandbox.api import Api, open_api

DREAMINA, FLOW, PIXVERSE = "/v1/dreamina", "/v1/google-flow", "/v2/pixverse"
CA, EMAIL = "CA:user@example.com", "user@example.com"

# Where each is from: compare.mjs, dreamina.mjs (19 July 2026), the skill omni-flash-video (October
# 2026), ugc-product-video.py (11 September 2026), clips.mjs (September 2026), the vendor's tool
# texts (November 2026). FRAME stands for an upload of the caller's.
BODIES: tuple[tuple[str, Mapping[str, object]], ...] = (
    (
        f"{DREAMINA}/videos",
        {
            "model": "seedance-2.0",
            "prompt": "A fox",
            "resolution": "720p",
            "duration": 5,
            "ratio": "16:9",
            "account": CA,
        },
    ),
    (
        f"{DREAMINA}/videos",
        {
            "account": CA,
            "model": "seedance-2.0",
            "prompt": "A fox",
            "duration": 5,
            "resolution": "720p",
            "firstFrameRef": "FRAME",
            "endFrameRef": "FRAME",
        },
    ),
    (
        f"{DREAMINA}/videos",
        {"prompt": "A fox", "model": "happyhorse-1.1", "ratio": "9:21", "unlimited": True},
    ),
    (
        f"{FLOW}/videos",
        {
            "prompt": "A fox",
            "model": "omni-flash",
            "async": True,
            "email": EMAIL,
            "aspectRatio": "portrait",
            "duration": 10,
            "resolution": "720p",
            "startImage": "FRAME",
            "endImage": "FRAME",
            "count": 1,
        },
    ),
    (
        f"{FLOW}/images",
        {
            "prompt": "A fox",
            "model": "nano-banana-pro",
            "aspectRatio": "9:16",
            "count": 1,
            "email": EMAIL,
            "seed": 1,
            "reference_1": "FRAME",
        },
    ),
    (
        f"{PIXVERSE}/videos/create",
        {
            "model": "seedance-2.0",
            "prompt": "A fox",
            "quality": "720p",
            "duration": 5,
            "aspect_ratio": "16:9",
            "email": EMAIL,
        },
    ),
    (
        f"{PIXVERSE}/videos/create",
        {
            "email": EMAIL,
            "model": "v6",
            "prompt": "A fox",
            "duration": 5,
            "quality": "720p",
            "first_frame_path": "FRAME",
        },
    ),
    (
        f"{PIXVERSE}/images/create",
        {"prompt": "A fox", "model": "qwen-image", "quality": "1080p", "image_path_1": "FRAME"},
    ),
)


async def uploaded(api: Api, service: str) -> str:
    """What stands for a picture of the caller's, as each of the vendor's clients reads it."""
    path = {DREAMINA: f"assets/{CA}", FLOW: f"assets/{EMAIL}", PIXVERSE: "files"}[service]
    content = media.read(media.image(1280, 720))
    headers = {"Content-Type": "image/jpeg"}
    answer = (await api.http.post(f"{service}/{path}", content=content, headers=headers)).json()
    if service == DREAMINA:
        return str(answer["assetRef"])
    if service == FLOW:
        return str(answer["mediaGenerationId"]["mediaGenerationId"])
    return str(answer["result"][0]["path"])


@pytest.mark.parametrize(("path", "body"), BODIES)
async def test_a_body_of_the_vendors_own_is_taken(path: str, body: Mapping[str, object]) -> None:
    async with open_api() as api:
        frame = await uploaded(api, path.rsplit("/", 2 if path.endswith("create") else 1)[0])
        given = {name: frame if value == "FRAME" else value for name, value in body.items()}

        answer = await api.http.post(path, json=given)

        assert answer.is_success, answer.text
        assert [given] == [dict(paid.body) for paid in api.sandbox.accepted]
