"""The sandbox's Google Flow captcha parameters."""

import pytest

from mcp_server.sandbox.google_flow import sources as there
from tests.sandbox.api import open_api

UPSCALE = "/v1/google-flow/videos/upscale"


@pytest.mark.parametrize(
    "captcha",
    [
        {"captchaToken": "x" * 20},
        {"captchaRetry": 1},
        {"captchaRetry": 10},
        {"captchaOrder": "2Captcha"},
        {"captchaOrder": "CapSolver,CapSolver,EzCaptcha"},
    ],
)
async def test_one_captcha_parameter_is_taken_and_not_echoed(captcha: dict[str, object]) -> None:
    """POST videos/upscale, 25 May 2026."""
    async with open_api() as api:
        body = {"mediaGenerationId": there.GOOD_VIDEO, "async": True}

        job = await api.post(UPSCALE, {**body, **captcha}, status=201)

        assert body == job["request"]


@pytest.mark.parametrize(
    ("captcha", "text"),
    [
        (
            {"captchaRetry": 1, "captchaOrder": "2Captcha"},
            "Parameters captchaOrder, captchaRetry are mutually exclusive",
        ),
        ({"captchaToken": "x" * 19}, "Parameter captchaToken must be at least 20 characters"),
        ({"captchaRetry": 0}, "Parameter captchaRetry (0) valid range: 1-10"),
        ({"captchaRetry": 11}, "Parameter captchaRetry (11) valid range: 1-10"),
        ({"captchaOrder": "Nobody"}, "Parameter captchaOrder (Nobody) not supported"),
        (
            {"captchaOrder": ",".join(["2Captcha"] * 11)},
            f"Parameter captchaOrder ({','.join(['2Captcha'] * 11)}) not supported",
        ),
    ],
)
async def test_a_wrong_captcha_parameter_is_refused(captcha: dict[str, object], text: str) -> None:
    """POST videos/upscale, 25 May 2026: they exclude each other. The texts are assumed."""
    async with open_api() as api:
        body = {"mediaGenerationId": there.GOOD_VIDEO, **captcha}

        answer = await api.post(UPSCALE, body, status=400)

        assert text == answer["error"]
