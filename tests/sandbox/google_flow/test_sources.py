"""The sandbox's Google Flow sources that show an error."""

from datetime import datetime

import pytest

from mcp_server.sandbox.google_flow import sources
from tests.sandbox.api import EPOCH_S, open_api

UPSCALE = {
    "video": "/v1/google-flow/videos/upscale",
    "image": "/v1/google-flow/images/upscale",
}


@pytest.mark.parametrize("source_id", sources.REFUSALS)
async def test_an_error_source_answers_its_error_and_takes_no_job(source_id: str) -> None:
    """POST videos/upscale, 25 May 2026; POST videos, 5 June 2026, for 402 and 596."""
    refusal = sources.REFUSALS[source_id]
    async with open_api() as api:
        path = UPSCALE[refusal.kind]

        answer = await api.http.post(path, json={"mediaGenerationId": source_id})

        assert refusal.status == answer.status_code
        assert refusal.body.items() <= answer.json().items()
        assert [] == api.sandbox.accepted


@pytest.mark.parametrize(
    ("name", "reason", "wait_s"),
    [
        ("requests-throttled", "PUBLIC_ERROR_USER_REQUESTS_THROTTLED", 1800),
        ("quota-reached", "PUBLIC_ERROR_USER_QUOTA_REACHED", 1800),
        ("daily-quota-reached", "PUBLIC_ERROR_PER_MODEL_DAILY_QUOTA_REACHED", 12_800),
    ],
)
async def test_a_429_gives_the_wait_twice(name: str, reason: str, wait_s: int) -> None:
    """POST videos/upscale, 25 May 2026: `Retry-After` in seconds, `retryAfter` as a moment."""
    async with open_api() as api:
        body = {"mediaGenerationId": sources.video_id(name)}

        answer = await api.http.post(UPSCALE["video"], json=body)

        moment = datetime.fromisoformat(answer.json()["retryAfter"])
        assert str(wait_s) == answer.headers["retry-after"]
        assert EPOCH_S + wait_s == moment.timestamp()
        assert reason == answer.json()["error"]["details"][0]["reason"]


async def test_captcha_trouble_shows_in_the_first_words() -> None:
    """POST videos/upscale, 25 May 2026: two prefixes to recognise it by."""
    async with open_api() as api:
        starts = {}
        for name in ("captcha-rejected", "too-much-traffic", "captcha-service-failed"):
            body = {"mediaGenerationId": sources.video_id(name)}
            answer = await api.http.post(UPSCALE["video"], json=body)
            starts[answer.status_code] = answer.json()["error"].split(":")[0]

        assert {
            403: "captcha_quality",
            429: "captcha_quality",
            503: "Captcha service failed",
        } == starts


async def test_a_source_that_is_busy_once_is_taken_the_second_time() -> None:
    async with open_api() as api:
        body = {"mediaGenerationId": sources.video_id("busy-once"), "async": True}

        refused = await api.http.post(UPSCALE["video"], json=body)
        await api.post(UPSCALE["video"], body, status=201)

        assert "5" == refused.headers["retry-after"]
