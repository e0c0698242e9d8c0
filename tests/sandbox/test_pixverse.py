"""The sandbox's PixVerse: what its endpoints take, refuse and answer."""

import asyncio
import io
from typing import Any
from urllib.parse import quote

import pytest

from mcp_server.media.probe import MediaInfo, probe
from mcp_server.sandbox import pixverse
from tests.sandbox.api import JOB_S, Api, open_api

AT = "/v2/pixverse"
UPSCALE = f"{AT}/videos/upscale"


async def submitted(api: Api, source_id: str = pixverse.GOOD_VIDEO, **more: object) -> Any:
    return (await api.post(UPSCALE, {"video_id": source_id, **more}))["video_id"]


async def load(api: Api, url: str) -> MediaInfo:
    facts = probe(io.BytesIO((await api.http.get(url)).content))
    assert facts is not None
    return facts


@pytest.mark.parametrize("path", [UPSCALE, f"{UPSCALE}/"])
async def test_an_upscale_answers_with_the_new_videos_id_and_nothing_else(path: str) -> None:
    """POST videos/upscale, 6 December 2024; the slash: Postman collection, 24 June 2026."""
    async with open_api() as api:
        answer = await api.post(path, {"video_id": pixverse.GOOD_VIDEO})

        name = "user:12345-pixverse:user@example.com-video:66780001"
        assert {"video_id": name} == answer
        assert UPSCALE == api.sandbox.accepted[0].path


async def test_a_video_goes_through_the_documented_states() -> None:
    """GET videos/video_id, 22 September 2025: 404 while it is processed.

    GET videos, 8 July 2025: 5 is final, a link may be there at 10. clips.mjs, 21 September 2026: 1
    before there is an output. Assumed: the order and the quarters.
    """
    async with open_api() as api:
        at = f"{AT}/videos/{await submitted(api)}"
        seen: list[object] = []

        for _ in range(5):
            answer = await api.http.get(at)
            video = answer.json()
            names = ("video_status", "video_status_name", "video_status_final", "output_width")
            state = *(video.get(name) for name in names), bool(video.get("url"))
            seen.append(state if answer.is_success else answer.status_code)
            await asyncio.sleep(JOB_S / 4)

        assert [
            404,
            (5, "QUEUED", True, 0, False),
            (10, "GENERATING", False, 0, True),
            (1, "COMPLETED", True, 0, True),
            (1, "COMPLETED", True, 3840, True),
        ] == seen


async def test_an_upscaled_video_shows_in_its_origin_and_its_size() -> None:
    """GET videos/video_id, 6 December 2024: `upscaled`, `original_video_id`; `quality` stays."""
    async with open_api() as api:
        name = await submitted(api)
        await asyncio.sleep(JOB_S)

        source = await api.get(f"{AT}/videos/{pixverse.GOOD_VIDEO}")
        result = await api.get(f"{AT}/videos/{name}")

        assert (0, 0, 640, 360) == (
            source["upscaled"],
            source["original_video_id"],
            source["output_width"],
            source["output_height"],
        )
        assert (1, pixverse.GOOD_VIDEO) == (result["upscaled"], result["original_video_id"])
        assert source["quality"] == result["quality"]
        for record in (source, result):
            file = await load(api, record["url"])
            assert (file.width, file.height) == (record["output_width"], record["output_height"])
            assert (24, 2000) == (file.frame_rate, record["duration"] * 1000)


@pytest.mark.parametrize(
    ("source_id", "state"),
    [(pixverse.MODERATED_VIDEO, (7, "MODERATED")), (pixverse.FAILING_VIDEO, (8, "FAILED"))],
)
async def test_a_video_may_end_badly(source_id: str, state: tuple[int, str]) -> None:
    """GET videos, 8 July 2025: 7. clips.mjs, 21 September 2026: 8."""
    async with open_api() as api:
        name = await submitted(api, source_id)
        await asyncio.sleep(0.8 * JOB_S)
        before = await api.get(f"{AT}/videos/{name}")
        await asyncio.sleep(0.2 * JOB_S)

        video = await api.get(f"{AT}/videos/{name}")

        assert (9, "GENERATING", False) == (
            before["video_status"],
            before["video_status_name"],
            before["video_status_final"],
        )
        assert state == (video["video_status"], video["video_status_name"])
        assert (True, 0, "") == (video["video_status_final"], video["output_width"], video["url"])


async def test_a_repeat_makes_another_video() -> None:
    """POST videos/upscale, 6 December 2024: no once-only rule."""
    async with open_api() as api:
        assert await submitted(api) != await submitted(api)
        assert 2 == len(api.sandbox.accepted)


async def test_the_list_shows_a_video_from_the_start_newest_first() -> None:
    """GET videos, 8 July 2025; the order is assumed."""
    async with open_api() as api:
        name = await submitted(api)

        everything = (await api.get(f"{AT}/videos"))["data"]
        page = (await api.get(f"{AT}/videos/?email=user@example.com&limit=2&offset=1"))["data"]

        assert (name, 5) == (everything[0]["video_id"], everything[0]["video_status"])
        assert everything[1:3] == page


async def test_a_list_holds_forty_when_no_limit_is_given() -> None:
    """GET videos, 8 July 2025."""
    async with open_api() as api:
        for _ in range(41):
            await submitted(api)
            await asyncio.sleep(JOB_S)

        assert 40 == len((await api.get(f"{AT}/videos"))["data"])


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "offset=-1", "email=other@example.com"])
async def test_a_wrong_query_is_refused(query: str) -> None:
    """GET videos, 8 July 2025: `code` beside `error`; the texts are assumed."""
    async with open_api() as api:
        answer = await api.get(f"{AT}/videos?{query}", status=400)

        assert 400 == answer["code"]


@pytest.mark.parametrize("source_id", pixverse.REFUSALS)
async def test_an_error_source_answers_its_error_and_takes_no_job(source_id: str) -> None:
    """POST videos/upscale, 6 December 2024."""
    refusal = pixverse.REFUSALS[source_id]
    async with open_api() as api:
        answer = await api.http.post(UPSCALE, json={"video_id": source_id})

        assert (refusal.status, refusal.body) == (answer.status_code, answer.json())
        assert [] == api.sandbox.accepted


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "Parameter video_id is required"),
        ({"video_id": "abc"}, "Video not found or not completed"),
        (
            {"video_id": pixverse.GOOD_VIDEO, "maxJobs": 9},
            "Parameter maxJobs (9) valid range: 1…8",
        ),
        ({"video_id": pixverse.GOOD_VIDEO, "replyRef": "x" * 1025}, "replyRef is too long"),
    ],
)
async def test_a_wrong_body_is_refused(body: object, text: str) -> None:
    """POST videos/upscale, 6 December 2024: the limits; the texts are assumed."""
    async with open_api() as api:
        assert {"error": text} == await api.post(UPSCALE, body, status=400)


async def test_an_unfinished_video_cannot_be_upscaled() -> None:
    """Assumed."""
    async with open_api() as api:
        name = await submitted(api)

        await api.post(UPSCALE, {"video_id": name}, status=400)
        await asyncio.sleep(JOB_S)
        await submitted(api, name)


async def test_max_jobs_of_the_request_is_a_ceiling_for_what_runs() -> None:
    """POST videos/upscale, 6 December 2024: the first of the two 429s."""
    async with open_api() as api:
        await submitted(api, maxJobs=1)

        body = {"video_id": pixverse.GOOD_VIDEO, "maxJobs": 1}
        answer = await api.post(UPSCALE, body, status=429)

        assert {"error": "Account user@example.com is busy executing 1 tasks."} == answer
        await asyncio.sleep(JOB_S)
        await submitted(api, maxJobs=1)


async def test_an_id_must_be_sent_raw() -> None:
    """clips.mjs, 21 September 2026: "rejects the percent-encoded form with a 400"."""
    async with open_api() as api:
        await api.get(f"{AT}/videos/{quote(pixverse.GOOD_VIDEO, safe='')}", status=400)
        await api.delete(f"{AT}/scheduler/{quote(pixverse.GOOD_VIDEO, safe='')}", status=400)


async def test_a_lost_answer_hides_a_video_that_is_in_the_list() -> None:
    """Assumed: the gateway's page."""
    async with open_api() as api:
        lost = await api.http.post(UPSCALE, json={"video_id": pixverse.LOST_VIDEO})

        newest = (await api.get(f"{AT}/videos"))["data"][0]

        assert 524 == lost.status_code
        assert pixverse.LOST_VIDEO == newest["original_video_id"]
        assert api.sandbox.accepted[0].job_id == newest["video_id"]


async def test_the_scheduler_lists_what_the_api_follows() -> None:
    """GET scheduler, 9 March 2026."""
    async with open_api() as api:
        name = await submitted(api, replyRef="mine")
        await asyncio.sleep(2)

        entry = {
            "id": name,
            "type": "video",
            "started": "2026-05-28T20:26:40.000Z",
            "elapsed": "00:02",
            "replyUrl": "",
            "replyRef": "mine",
        }
        assert [entry] == await api.get(f"{AT}/scheduler/")
        await asyncio.sleep(JOB_S)
        assert [] == await api.get(f"{AT}/scheduler")


async def test_what_is_not_followed_any_more_goes_on() -> None:
    """DELETE scheduler/id, 9 March 2026: "remove ... tracking by the API"; bodies assumed."""
    async with open_api() as api:
        name = await submitted(api)

        await api.delete(f"{AT}/scheduler/{name}")
        await api.delete(f"{AT}/scheduler/{name}", status=404)
        idle = await api.get(f"{AT}/scheduler")
        await asyncio.sleep(JOB_S)

        assert [] == idle
        assert 1 == (await api.get(f"{AT}/videos/{name}"))["video_status"]


@pytest.mark.parametrize("word", ["video_id", "…"])
async def test_the_words_for_an_id_in_the_examples_are_finished_videos(word: str) -> None:
    """POST videos/upscale, 6 December 2024: its examples."""
    async with open_api() as api:
        await submitted(api, word)


async def test_accounts_are_listed_by_email() -> None:
    """GET accounts, 6 December 2024."""
    async with open_api() as api:
        assert ["user@example.com"] == list(await api.get(f"{AT}/accounts"))
