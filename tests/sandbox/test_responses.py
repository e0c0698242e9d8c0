"""What every service reads and answers alike."""

import httpx
import pytest

from mcp_server.sandbox import responses
from tests.sandbox.api import open_api

VIDEO = "j0302140530123456789v-u12345-CA:user@example.com-bot:dreamina"


async def test_a_form_is_read_like_json_its_numbers_and_booleans_too() -> None:
    """The vendor's Postman collection of July 2026 sends Dreamina's videos/* as form-data."""
    async with open_api() as api:
        form = {"jobid": (None, VIDEO), "fps": (None, "60"), "maxJobs": (None, "7")}

        answer = await api.http.post("/v1/dreamina/videos/interpolate", files=form)

        assert {"jobid": VIDEO, "fps": 60} == answer.json()["request"]
        assert {"jobid": VIDEO, "fps": 60, "maxJobs": 7} == api.sandbox.accepted[0].body


async def test_a_form_says_async_in_words() -> None:
    """POST google-flow/videos/upscale, 25 May 2026: multipart/form-data is taken."""
    video = "user:12345-email:75736572406578616d706c652e636f6d-video:sample-1"
    async with open_api() as api:
        form = {"mediaGenerationId": (None, video), "async": (None, "true")}

        answer = await api.http.post("/v1/google-flow/videos/upscale", files=form)

        assert (201, True) == (answer.status_code, answer.json()["request"]["async"])


async def test_a_number_that_is_none_stays_text_and_is_refused() -> None:
    async with open_api() as api:
        form = {"jobid": (None, VIDEO), "fps": (None, "fast")}

        answer = await api.http.post("/v1/dreamina/videos/interpolate", files=form)

        assert {"error": "Parameter fps (fast) valid values: 30, 60"} == answer.json()


@pytest.mark.parametrize(
    ("value", "whole", "expected"),
    [
        (1, True, True),
        (0, True, True),
        (2, True, False),
        (True, True, False),
        (0.5, True, False),
        (0.5, False, True),
        ("1", False, False),
        (None, False, False),
    ],
)
def test_a_number_is_in_range_and_no_boolean(value: object, whole: bool, expected: bool) -> None:
    assert expected == responses.is_number(value, 0, 1, whole=whole)


async def test_links_name_the_host_the_request_came_to() -> None:
    async with open_api() as api:
        url = f"http://127.0.0.1:8001/v1/dreamina/videos/{VIDEO}"

        job = (await api.http.get(url)).json()

        assert "127.0.0.1:8001" == httpx.URL(job["response"]["videoUrl"]).netloc.decode()
