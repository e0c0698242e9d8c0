"""The sandbox's PixVerse: what its endpoints take, refuse and answer."""

import asyncio
import io
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest

from mcp_server.media.probe import MediaInfo, probe
from mcp_server.sandbox import media, mp4, pixverse, pixverse_orders
from mcp_server.sandbox.app import Conditions
from mcp_server.sandbox.state import SECOND_EMAIL
from tests.sandbox.api import JOB_S, Api, open_api

AT = "/v2/pixverse"
UPSCALE, UPSCALE_IMAGE = f"{AT}/videos/upscale", f"{AT}/images/upscale"
CREATE, CREATE_IMAGES, FRAMES = (
    f"{AT}/videos/create",
    f"{AT}/images/create",
    f"{AT}/videos/create-frames",
)
FINAL = f"{AT}/videos/create-final"
CLIP, PICTURE = media.clip(640, 360, 24), media.image(1280, 720)
SEVERAL = {"Authorization": "Bearer user:2-x"}
WORDS: dict[str, object] = {"prompt": "A fox in the snow", "aspect_ratio": "16:9"}


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
        path = f"{AT}/{refusal.kind}s/upscale"
        answer = await api.http.post(path, json={f"{refusal.kind}_id": source_id})

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


async def upload(api: Api, content: bytes, kind: str, query: str = "", status: int = 200) -> Any:
    headers = {"Content-Type": kind}
    answer = await api.http.post(f"{AT}/files/{query}", content=content, headers=headers)
    assert status == answer.status_code, answer.text
    return answer.json()


async def uploaded(api: Api, name: str) -> str:
    """The path of this sample, uploaded."""
    answer = await upload(api, media.read(name), media.media_type(name))
    return str(answer["result"][0]["path"] if "result" in answer else answer["path"])


async def ended(api: Api, answer: Any) -> Any:
    """The record of what was made, when it is done."""
    await asyncio.sleep(JOB_S)
    kind = "image" if "image_id" in answer else "video"
    return await api.get(f"{AT}/{kind}s/{answer[f'{kind}_id']}")


async def test_a_picture_that_was_uploaded_is_answered_in_one_shape_a_clip_in_another() -> None:
    """POST files, 6 December 2024; what a path looks like is assumed."""
    async with open_api() as api:
        picture = await upload(api, media.read(PICTURE), "image/jpeg")
        clip = await upload(api, media.read(CLIP), "video/mp4", "?email=user@example.com")
        sound = await upload(api, b"ID3", "audio/mpeg")

        (entry,) = picture["result"]
        assert {"id", "url", "path", "size", "name", "category", "err_msg"} == entry.keys()
        assert (len(media.read(PICTURE)), "") == (entry["size"], entry["err_msg"])
        assert {"path", "url"} == clip.keys() == sound.keys()
        assert 640 == (await load(api, clip["url"])).width


@pytest.mark.parametrize(
    ("content", "kind", "query"),
    [
        (b"x", "text/plain", ""),
        (b"", "image/png", ""),
        (b"x", "image/png", "?email=other@example.com"),
    ],
)
async def test_an_upload_that_is_no_media_file_or_has_no_account_is_refused(
    content: bytes, kind: str, query: str
) -> None:
    """POST files, 6 December 2024: `{"error", "code"}`; the texts are assumed."""
    async with open_api() as api:
        answer = await upload(api, content, kind, query, 400)

        assert ({"error", "code"}, 400) == (answer.keys(), answer["code"])


@pytest.mark.parametrize(("more_bytes", "status"), [(0, 200), (1, 400)])
async def test_a_file_may_have_five_gigabytes(more_bytes: int, status: int) -> None:
    """POST files, 6 December 2024; that it is judged by what its request announces is assumed."""
    async with open_api() as api:
        size = str(5 * 1024**3 + more_bytes)
        headers = {"Content-Type": "video/mp4", "Content-Length": size}

        answer = await api.http.post(f"{AT}/files", content=b"x", headers=headers)

        assert status == answer.status_code


@pytest.mark.parametrize(
    ("more", "size"),
    [
        ({}, (3840, 2160)),
        ({"model": "topaz-proteus", "quality": "1080p"}, (1920, 1080)),
        ({"model": "topaz-starlight-precise", "email": "user@example.com"}, (3840, 2160)),
    ],
)
async def test_the_users_own_clip_is_upscaled(
    more: dict[str, object], size: tuple[int, int]
) -> None:
    """The vendor's tool text, November 2026: `video_path`, `model`, `quality`."""
    async with open_api() as api:
        path = await uploaded(api, media.clip(640, 360, 24, 5))

        answer = await api.post(UPSCALE, {"video_path": path, **more})
        video = await ended(api, answer)

        assert ["video_id"] == list(answer)
        assert (1, 0, 5) == (video["upscaled"], video["original_video_id"], video["duration"])
        assert size == (video["output_width"], video["output_height"])
        file = await load(api, video["url"])
        assert (*size, 5000) == (file.width, file.height, file.duration_ms)


@pytest.mark.parametrize(
    ("more", "size"),
    [
        ({}, (3840, 2160)),
        ({"model": "topaz-gigapixel", "quality": "1440p"}, (2560, 1440)),
        ({"model": "topaz-gigapixel", "quality": "1080p"}, (1920, 1080)),
    ],
)
async def test_the_users_own_picture_is_upscaled(
    more: dict[str, object], size: tuple[int, int]
) -> None:
    """POST images/upscale, 10 October 2026: a new `image_id`."""
    async with open_api() as api:
        path = await uploaded(api, PICTURE)

        answer = await api.post(UPSCALE_IMAGE, {"image_path": path, **more})
        image = await ended(api, answer)

        assert [f"user:12345-pixverse:user@example.com-image:{66781002}"] == [*answer.values()]
        assert size == (image["output_width"], image["output_height"])
        assert [path] == image["customer_img_paths"]
        file = await load(api, image["image_url"])
        assert size == (file.width, file.height)


@pytest.mark.parametrize(("word", "status"), [("ends-moderated", 7), ("fails", 8)])
async def test_a_word_in_an_upload_decides_how_its_upscale_ends(word: str, status: int) -> None:
    """Assumed."""
    async with open_api() as api:
        (entry,) = (await upload(api, f"sandbox:{word}".encode(), "image/png"))["result"]

        answer = await api.post(UPSCALE_IMAGE, {"image_path": entry["path"]})

        assert status == (await ended(api, answer))["image_status"]


async def test_an_image_that_was_made_is_upscaled_by_its_id() -> None:
    """The vendor's tool text, November 2026."""
    async with open_api() as api:
        answer = await api.post(UPSCALE_IMAGE, {"image_id": pixverse.GOOD_IMAGE})

        assert 1 == (await ended(api, answer))["image_status"]
        assert pixverse.GOOD_IMAGE == api.sandbox.accepted[0].source_id


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        (UPSCALE, {"video_path": "upload/no.mp4"}, "Video upload/no.mp4 not found"),
        (UPSCALE_IMAGE, {"image_id": "x"}, "Image not found or not completed"),
        (UPSCALE, {"video_id": pixverse.GOOD_IMAGE}, "Video not found or not completed"),
        (UPSCALE, {"video_id": pixverse.GOOD_VIDEO, "model": "topaz"}, "Parameter model (topaz)"),
        (UPSCALE, {"video_id": pixverse.GOOD_VIDEO, "quality": "1080p"}, "Parameter quality"),
        (UPSCALE, {"video_id": pixverse.GOOD_VIDEO, "video_path": "x"}, "Parameters video_id"),
        (UPSCALE, {"video_id": pixverse.GOOD_VIDEO, "email": "x"}, "Parameter email is only"),
    ],
)
async def test_a_wrong_upscale_is_refused(path: str, body: object, text: str) -> None:
    """The vendor's tool texts, November 2026: which fields go together; the texts are assumed."""
    async with open_api() as api:
        answer = await api.post(path, body, status=400)

        assert answer["error"].startswith(text)


async def test_a_clip_in_4k_or_of_more_than_three_minutes_is_not_taken() -> None:
    """The vendor's tool text, November 2026: under 4K, up to 3 minutes; the texts are assumed."""
    async with open_api() as api:
        large = await uploaded(api, media.clip(3840, 2160, 24))
        long = await upload(api, mp4_of(181), "video/mp4")

        assert "under 4K" in (await api.post(UPSCALE, {"video_path": large}, status=400))["error"]
        assert "180" in (await api.post(UPSCALE, {"video_path": long["path"]}, status=400))["error"]


def mp4_of(seconds: int) -> bytes:
    return mp4.lasting(media.read(CLIP), seconds)


QUOTES: tuple[tuple[str, dict[str, object], int], ...] = (
    (UPSCALE, {"video_id": pixverse.GOOD_VIDEO}, 12),
    (UPSCALE, {"video_id": pixverse.GOOD_VIDEO, "model": "topaz-proteus", "quality": "1080p"}, 8),
    (UPSCALE_IMAGE, {"image_id": pixverse.GOOD_IMAGE}, 10),
    (UPSCALE, {"video_id": next(i for i, r in pixverse.REFUSALS.items() if r.status == 412)}, 12),
)


@pytest.mark.parametrize(("path", "body", "credits_"), QUOTES)
async def test_a_quote_tells_the_price_and_makes_nothing(
    path: str, body: dict[str, object], credits_: int
) -> None:
    """POST images/upscale, 10 October 2026: free, nothing is created; its answer is assumed."""
    async with open_api() as api:
        answer = await api.post(path, {**body, "quote": True})

        assert {"cost_credits": credits_} == answer
        assert [] == api.sandbox.accepted == await api.get(f"{AT}/scheduler")


async def test_what_is_quoted_is_what_is_paid() -> None:
    async with open_api() as api:
        body = {"video_path": await uploaded(api, media.clip(640, 360, 24, 5))}
        before = (await api.get(f"{AT}/features/"))["credit_monthly"]

        quoted = (await api.post(UPSCALE, {**body, "quote": True}))["cost_credits"]
        await api.post(UPSCALE, {**body, "quote": False})

        assert (30, before - 30) == (
            quoted,
            (await api.get(f"{AT}/features?email=user@example.com"))["credit_monthly"],
        )


async def test_a_test_decides_in_which_form_a_price_is_told() -> None:
    def told(credits_: int) -> Mapping[str, object]:
        return {"quote": {"credits": str(credits_)}}

    async with open_api(Conditions(quote=told)) as api:
        answer = await api.post(UPSCALE, {"video_id": pixverse.GOOD_VIDEO, "quote": True})

        assert {"quote": {"credits": "12"}} == answer


async def test_a_quote_may_be_refused_go_unanswered_or_be_taken_for_an_order() -> None:
    """The pages of 2024 know no `quote`; all three are assumed."""
    async with open_api() as api:
        held = next(name for name, each in pixverse.REFUSALS.items() if each.status == 596)
        quoted = {"quote": True}
        refused = await api.http.post(UPSCALE, json={"video_id": held, **quoted})
        silent = await api.http.post(UPSCALE, json={"video_id": pixverse.SILENT_VIDEO, **quoted})

        ordered = await api.post(UPSCALE, {"video_id": pixverse.ORDERING_VIDEO, **quoted})

        assert (596, 524) == (refused.status_code, silent.status_code)
        assert [ordered["video_id"]] == [paid.job_id for paid in api.sandbox.accepted]


@pytest.mark.parametrize("path", [CREATE, f"{AT}/videos/create-v4/"])
async def test_a_video_is_made_from_words(path: str) -> None:
    """POST videos/create, 12 May 2026; `cost_credits`: clips.mjs, 21 September 2026."""
    async with open_api() as api:
        body = {**WORDS, "model": "seedance-2.0", "duration": 4, "quality": "1080p"}

        answer = await api.post(path, body)
        video = await ended(api, answer)

        assert ({"video_id", "cost_credits"}, 360) == (answer.keys(), answer["cost_credits"])
        shown = ("prompt", "model", "quality", "aspect_ratio", "duration", "upscaled")
        assert [*body.values()][:1] == [video["prompt"]]
        assert ["seedance-2.0", "1080p", "16:9", 4, 0] == [video[name] for name in shown[1:]]
        file = await load(api, video["url"])
        assert (1920, 1080, 4000) == (file.width, file.height, file.duration_ms)
        assert (1920, 1080) == (video["output_width"], video["output_height"])


async def test_a_frame_may_be_as_large_as_it_likes() -> None:
    """The vendor's tool text, November 2026: "under 4K" is said of what is upscaled alone."""
    async with open_api() as api:
        path = await uploaded(api, media.image(7680, 4320))

        await api.post(CREATE, {"first_frame_path": path})


async def test_a_model_that_always_sounds_is_told_how_long_and_how_large() -> None:
    """clips.mjs, September 2026. Price: 5 October 2026."""
    async with open_api() as api:
        body = {**WORDS, "model": "seedance-2.5", "duration": 4, "quality": "480p"}

        assert 4 * 35 == (await api.post(CREATE, body))["cost_credits"]


async def test_a_video_is_made_from_one_frame_or_two() -> None:
    """POST videos/create, 12 May 2026; create-frames: Postman collection, 24 June 2026."""
    async with open_api() as api:
        path = await uploaded(api, PICTURE)

        one = await api.post(CREATE, {"first_frame_path": path, "model": "grok-imagine-1.5"})
        two = await api.post(FRAMES, {"first_frame_path": path, "last_frame_path": path})

        assert 5 == (await ended(api, one))["duration"]
        assert 1 == (await api.get(f"{AT}/videos/{two['video_id']}"))["video_status"]


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        (CREATE, {}, "Parameter prompt is required"),
        (CREATE, {"prompt": "x" * 5001}, "Parameter prompt is longer"),
        (CREATE, {"prompt": "x"}, "Parameter aspect_ratio is required"),
        (CREATE, {**WORDS, "aspect_ratio": "21:9"}, "Parameter aspect_ratio (21:9)"),
        (CREATE, {**WORDS, "model": "v7"}, "Parameter model (v7)"),
        (CREATE, {**WORDS, "quality": "2160p"}, "Parameter quality (2160p)"),
        (CREATE, {**WORDS, "duration": 16}, "Parameter duration (16) valid range: 1…15"),
        (
            CREATE,
            {**WORDS, "model": "v5", "quality": "1080p", "duration": 9},
            "Parameter duration (9) valid range: 1…8",
        ),
        (CREATE, {**WORDS, "model": "seedance-2.5"}, "Parameter duration is required"),
        (
            CREATE,
            {**WORDS, "model": "seedance-2.5", "duration": 4, "quality": "480p", "audio": True},
            "Parameter audio",
        ),
        (CREATE, {**WORDS, "model": "grok-imagine-1.5"}, "Parameter first_frame_path is required"),
        (CREATE, {"first_frame_path": "x", "aspect_ratio": "1:1"}, "Parameter aspect_ratio"),
        (CREATE, {"first_frame_path": "upload/no.png"}, "Image upload/no.png not found"),
        (CREATE, {"first_frame_path": "x", "last_frame_path": "x"}, "Parameter last_frame_path"),
        (CREATE, {**WORDS, "email": "other@example.com"}, "Unable to find configuration"),
        (FRAMES, {"first_frame_path": "x"}, "Parameter last_frame_path is required"),
        (CREATE_IMAGES, {}, "Parameter prompt is required"),
        (CREATE_IMAGES, {**WORDS, "create_count": 5}, "Parameter create_count (5)"),
        (CREATE_IMAGES, {**WORDS, "quality": "2160p"}, "Parameter quality (2160p)"),
        (CREATE_IMAGES, {**WORDS, "aspect_ratio": "9:21"}, "Parameter aspect_ratio (9:21)"),
        (CREATE_IMAGES, {**WORDS, "detail_level": "high"}, "Parameter detail_level"),
        (CREATE_IMAGES, {**WORDS, "model": "gpt-image-2.0"}, "Parameter detail_level is required"),
        (
            CREATE_IMAGES,
            {**WORDS, "model": "kling-o3", "image_path_1": "x", "image_path_2": "y"},
            "Model kling-o3 takes up to 1 images",
        ),
        (FINAL, {"video_id": pixverse.GOOD_VIDEO}, "Video is not a draft"),
    ],
)
async def test_a_wrong_generation_is_refused(path: str, body: object, text: str) -> None:
    """model-capabilities (26 June 2026), clips.mjs (September 2026); the texts are assumed."""
    async with open_api() as api:
        answer = await api.post(path, body, status=400)

        assert answer["error"].startswith(text)
        assert [] == api.sandbox.accepted


async def test_images_are_made_up_to_four_at_a_time() -> None:
    """POST images/create, 9 March 2026: `success_ids`."""
    async with open_api() as api:
        path = await uploaded(api, PICTURE)
        body = {"prompt": "A fox", "model": "nano-banana-2", "quality": "2160p", "create_count": 4}

        answer = await api.post(CREATE_IMAGES, {**body, "image_path_1": path})

        assert ["success_ids"] == list(answer)
        assert 4 == len(set(answer["success_ids"]))
        image = await ended(api, {"image_id": answer["success_ids"][3]})
        assert ("t2i", [path], "nano-banana-2") == (
            image["create_mode"],
            image["customer_img_paths"],
            image["model"],
        )
        assert 3840 == (await load(api, image["image_url"])).width
        plan = await api.get(f"{AT}/features")
        assert pixverse.FIRST_CREDITS - 4 * 60 == plan["credit_monthly"]


async def test_an_image_that_is_still_processed_is_shown_as_it_is() -> None:
    """GET images/image_id, 9 March 2026: no 404; 5 is not final, 10 is PROCESSING."""
    async with open_api() as api:
        (name,) = (await api.post(CREATE_IMAGES, {"prompt": "A fox"}))["success_ids"]
        seen: list[object] = []

        for _ in range(5):
            image = await api.get(f"{AT}/images/{name}")
            keys = ("image_status", "image_status_name", "image_status_final")
            seen.append((*(image[key] for key in keys), bool(image["image_url"])))
            await asyncio.sleep(JOB_S / 4)

        assert [
            (5, "QUEUED", False, False),
            (5, "QUEUED", False, False),
            (10, "PROCESSING", False, False),
            (1, "COMPLETED", True, False),
            (1, "COMPLETED", True, True),
        ] == seen
        assert (await api.get(f"{AT}/videos/{name}"))["image_id"] == name
        gone = await api.get(f"{AT}/images/{pixverse.GOOD_VIDEO}", status=404)
        assert {"error": "The original image has been deleted"} == gone


async def test_images_have_a_list_of_their_own_with_pages() -> None:
    """GET images, 9 March 2026: `next_offset`, `total`."""
    async with open_api() as api:
        first = await api.get(f"{AT}/images/?limit=3")
        rest = await api.get(f"{AT}/images?limit=100&offset={first['next_offset']}")

        assert (3, True) == (len(first["data"]), first["has_more"])
        assert first["total"] == 3 + len(rest["data"])
        assert "next_offset" not in rest
        assert all("image_id" in image for image in rest["data"])


async def test_the_list_of_videos_says_where_its_next_page_starts() -> None:
    """The vendor's tool text, November 2026."""
    async with open_api() as api:
        first = await api.get(f"{AT}/videos?limit=4")
        rest = await api.get(f"{AT}/videos?limit=100&offset={first['next_offset']}")

        assert 4 == first["next_offset"]
        assert {"data"} == rest.keys()


@pytest.mark.parametrize("word", pixverse.WORD_REFUSALS)
async def test_a_word_in_the_prompt_shows_its_error(word: str) -> None:
    """pixverse.mjs, 15 June 2026, and POST videos/upscale, 6 December 2024."""
    refusal = pixverse.WORD_REFUSALS[word]
    async with open_api() as api:
        body = {**WORDS, "prompt": f"A fox, sandbox:{word}"}

        for path in (CREATE, CREATE_IMAGES):
            answer = await api.http.post(path, json={**body, "prompt": f"{body['prompt']} {path}"})
            assert (refusal.status, refusal.body) == (answer.status_code, answer.json())

        assert [] == api.sandbox.accepted


async def test_a_full_account_may_take_the_same_prompt_the_next_time() -> None:
    async with open_api() as api:
        body = {**WORDS, "prompt": "sandbox:busy-once"}

        await api.post(CREATE, body, status=429)

        await api.post(CREATE, body)
        await api.post(CREATE, {**body, "prompt": "sandbox:busy-once, another"}, status=429)


@pytest.mark.parametrize(("word", "status"), [("ends-moderated", 7), ("fails", 8)])
async def test_a_word_in_the_prompt_decides_how_it_ends(word: str, status: int) -> None:
    """GET images, 9 March 2026: 7. clips.mjs, 21 September 2026: 8."""
    async with open_api() as api:
        video = await api.post(CREATE, {**WORDS, "prompt": f"sandbox:{word}"})
        images = await api.post(CREATE_IMAGES, {**WORDS, "prompt": f"sandbox:{word}"})

        assert status == (await ended(api, video))["video_status"]
        image = await api.get(f"{AT}/images/{images['success_ids'][0]}")
        assert (status, "") == (image["image_status"], image["image_url"])


@pytest.mark.parametrize("path", [CREATE, CREATE_IMAGES])
async def test_a_word_in_the_prompt_hides_what_the_scheduler_shows(path: str) -> None:
    """GET scheduler, 9 March 2026: `replyRef`; the gateway's page is assumed."""
    async with open_api() as api:
        body = {**WORDS, "prompt": "sandbox:lost-answer", "replyRef": "mine"}

        lost = await api.http.post(path, json=body)

        (entry,) = await api.get(f"{AT}/scheduler")
        assert (524, "mine") == (lost.status_code, entry["replyRef"])
        assert [entry["id"]] == [paid.job_id for paid in api.sandbox.accepted]
        await api.post(path, body)


async def test_a_draft_is_finished_in_full_quality_within_a_fortnight() -> None:
    """POST videos/create-final, 15 November 2026."""
    async with open_api() as api:
        body = {**WORDS, "model": pixverse_orders.DRAFT_MODEL}
        draft = await ended(api, await api.post(CREATE, body))
        large = await ended(api, await api.post(UPSCALE, {"video_id": draft["video_id"]}))
        assert draft["seedance_draft"]["can_create_final"]
        assert "seedance_draft" not in large

        final = await api.post(FINAL, {"video_id": draft["video_id"], "quality": "2160p"})
        video = await ended(api, final)

        assert (3840, draft["duration"]) == (video["output_width"], video["duration"])
        await asyncio.sleep(14 * 24 * 3600)
        late = await api.post(FINAL, {"video_id": draft["video_id"]}, status=400)
        assert {"error": "Draft has expired"} == late


async def test_with_two_accounts_one_must_be_named_where_there_is_no_source() -> None:
    """POST files, 6 December 2024, and GET videos, 8 July 2025: `email` is then required."""
    async with open_api(**SEVERAL) as api:
        for path in ("videos", "images", "features"):
            await api.get(f"{AT}/{path}", status=400)
            await api.get(f"{AT}/{path}?email={SECOND_EMAIL}")
        await upload(api, media.read(CLIP), "video/mp4", status=400)
        await upload(api, media.read(CLIP), "video/mp4", f"?email={SECOND_EMAIL}")

        assert ["user@example.com", SECOND_EMAIL] == list(await api.get(f"{AT}/accounts"))


async def test_of_two_accounts_the_less_busy_one_pays_unless_one_is_named() -> None:
    """POST images/upscale, 10 October 2026: `email` omitted = the API picks an account."""
    async with open_api(**SEVERAL) as api:
        names = [
            (await api.post(CREATE, {**WORDS, **more}))["video_id"]
            for more in ({}, {}, {"email": SECOND_EMAIL})
        ]

        assert [False, True, True] == [SECOND_EMAIL in name for name in names]
        free = await api.get(f"{AT}/scheduler/available")
        assert [(1, 7), (2, 6)] == [(a["executing"], a["available"]) for a in free["available"]]
        assert names == [each["id"] for each in free["executing"]]


async def test_nothing_is_made_without_an_account() -> None:
    """The text is assumed."""
    async with open_api(Authorization="Bearer user:404-x") as api:
        await api.post(CREATE, WORDS, status=400)


async def test_credits_never_end() -> None:
    """So that a test may order as much as it likes."""
    async with open_api() as api:
        dear = {**WORDS, "model": "seedance-2.0", "quality": "2160p", "duration": 15}
        for _ in range(6):
            await api.post(CREATE, dear)

        assert 0 == (await api.get(f"{AT}/features"))["credit_monthly"]


async def test_what_no_page_tells_can_be_tried() -> None:
    """Assumed: a replyRef that is not kept, and a picture that is answered with an error."""
    async with open_api() as api:
        body = {**WORDS, "prompt": "sandbox:forgets-ref", "replyRef": "mine"}
        await api.post(CREATE, body)
        (entry,) = (await upload(api, b"sandbox:rejected", "image/png"))["result"]

        assert [""] == [each["replyRef"] for each in await api.get(f"{AT}/scheduler")]
        assert ("", "") == (entry["path"], entry["url"])
        assert entry["err_msg"]
