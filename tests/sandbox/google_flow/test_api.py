"""The sandbox's Google Flow: what its endpoints take, refuse and answer."""

import asyncio
import base64
import io
from typing import Any
from urllib.parse import quote

import pytest

from mcp_server.media.probe import MediaInfo, probe
from mcp_server.sandbox import media
from mcp_server.sandbox.google_flow import sources
from mcp_server.sandbox.state import SECOND_EMAIL
from tests.sandbox.api import EPOCH_S, JOB_S, Api, open_api

AT = "/v1/google-flow"
UPSCALE, UPSCALE_IMAGE, GENERATE = f"{AT}/videos/upscale", f"{AT}/images/upscale", f"{AT}/videos"
IMAGES, ASSETS = f"{AT}/images", f"{AT}/assets"
SEVERAL = {"Authorization": "Bearer user:2-x"}


def video(**more: object) -> dict[str, object]:
    return {"mediaGenerationId": sources.GOOD_VIDEO, **more}


def facts(content: bytes) -> MediaInfo:
    found = probe(io.BytesIO(content))
    assert found is not None
    return found


async def test_a_synchronous_upscale_answers_when_it_is_done() -> None:
    """POST videos/upscale, 25 May 2026: the 200, whose id is `jobId`."""
    async with open_api() as api:
        loop = asyncio.get_running_loop()

        answer = await api.post(UPSCALE, video())

        assert JOB_S == pytest.approx(loop.time())
        assert {"jobId", "operations", "media", "remainingCredits", "captcha"} == answer.keys()
        record = await api.get(f"{AT}/jobs/{answer['jobId']}")
        assert answer["media"] == record["response"]["media"]


async def test_an_asynchronous_upscale_answers_at_once_with_a_job() -> None:
    """POST videos/upscale, 25 May 2026: the 201, whose id is `jobid`."""
    async with open_api() as api:
        body = video(**{"async": True}, resolution="4K", replyRef="mine", captchaRetry=5)

        answer = await api.post(UPSCALE, body, status=201)

        expected = {
            "jobid": "j0528202640000000002v-u12345-email:user@example.com-bot:google-flow",
            "type": "video",
            "status": "created",
            "created": "2026-05-28T20:26:40.000Z",
            "request": video(**{"async": True}, resolution="4K", replyRef="mine"),
            "response": {
                "captcha": {"service": "AntiCaptcha", "taskId": "abc123", "durationMs": 3500}
            },
        }
        assert expected == answer
        assert asyncio.get_running_loop().time() == 0


@pytest.mark.parametrize(
    ("resolution", "size"), [("720p", (1280, 720)), ("1080p", (1920, 1080)), ("4K", (3840, 2160))]
)
async def test_an_upscale_has_the_size_asked_for(resolution: str, size: tuple[int, int]) -> None:
    """POST videos/upscale, 25 May 2026; 720p: October 2026; the pixels are assumed."""
    async with open_api() as api:
        answer = await api.post(UPSCALE, video(resolution=resolution))

        for url in (
            answer["media"][0]["videoUrl"],
            answer["operations"][0]["operation"]["metadata"]["video"]["fifeUrl"],
        ):
            file = facts((await api.http.get(url)).content)
            assert (*size, 24) == (file.width, file.height, file.frame_rate)


async def test_4k_costs_fifty_credits_the_first_time_only() -> None:
    """POST videos/upscale, 25 May 2026: 1080p free, 4K 50, a repeat free."""
    async with open_api() as api:
        credits_left = [
            (await api.post(UPSCALE, video(resolution=resolution)))["remainingCredits"]
            for resolution in ("1080p", "4K", "4K", "1080p")
        ]

        assert [18760, 18710, 18710, 18710] == credits_left
        assert 2 == len(api.sandbox.accepted)


async def test_a_repeat_answers_bytes_instead_of_links() -> None:
    """POST videos/upscale, 25 May 2026: "returns `rawBytes`"; where, and from when, is assumed."""
    async with open_api() as api:
        first = await api.post(UPSCALE, video())
        again = await api.post(UPSCALE, video(resolution="1080p"))

        content = base64.b64decode(again["operations"][0]["rawBytes"])
        assert (1920, 1080) == (facts(content).width, facts(content).height)
        assert "videoUrl" not in again["media"][0]
        assert first["media"][0]["mediaGenerationId"] == again["media"][0]["mediaGenerationId"]
        assert JOB_S == pytest.approx(asyncio.get_running_loop().time())


async def test_an_asynchronous_repeat_is_a_job_that_is_done() -> None:
    """Assumed: the page does not say."""
    async with open_api() as api:
        await api.post(UPSCALE, video())

        again = await api.post(UPSCALE, video(**{"async": True}), status=201)

        record = await api.get(f"{AT}/jobs/{again['jobid']}")
        assert "completed" == record["status"]
        assert record["response"]["operations"][0]["rawBytes"]


async def test_a_repeat_while_the_first_runs_is_paid_again() -> None:
    """Assumed, for the worst: only a *result* is documented to be cached."""
    async with open_api() as api:
        await api.post(UPSCALE, video(**{"async": True}), status=201)
        await api.post(UPSCALE, video(**{"async": True}), status=201)

        assert 2 == len(api.sandbox.accepted)


@pytest.mark.parametrize(
    ("resolution", "size"), [("2k", (2560, 1440)), ("4k", (3840, 2160)), (None, (2560, 1440))]
)
async def test_an_image_upscale_answers_with_the_image(
    resolution: str | None, size: tuple[int, int]
) -> None:
    """POST images/upscale, 14 February 2026; the pixels are assumed."""
    async with open_api() as api:
        body = {"mediaGenerationId": sources.GOOD_IMAGE, "resolution": resolution}

        answer = await api.post(UPSCALE_IMAGE, body)

        image = facts(base64.b64decode(answer["encodedImage"]))
        assert ("image/jpeg", *size) == (image.mime_type, image.width, image.height)
        assert {"encodedImage", "captcha"} == answer.keys()
        assert JOB_S == pytest.approx(asyncio.get_running_loop().time())
        assert (None, EPOCH_S) == (api.sandbox.accepted[0].job_id, api.sandbox.accepted[0].at)


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        (UPSCALE, video(account="x"), "Parameter account not supported"),
        (UPSCALE, video(maxJobs=1), "Parameter maxJobs not supported"),
        (
            UPSCALE_IMAGE,
            {"mediaGenerationId": sources.GOOD_IMAGE, "async": True},
            "Parameter async not supported",
        ),
        (
            UPSCALE,
            video(resolution="4k"),
            "Parameter resolution (4k) valid values: 720p, 1080p, 4K",
        ),
        (
            UPSCALE_IMAGE,
            {"mediaGenerationId": sources.GOOD_IMAGE, "resolution": "8k"},
            "Parameter resolution (8k) valid values: 2k, 4k",
        ),
        (
            UPSCALE,
            {"mediaGenerationId": sources.GOOD_IMAGE},
            "mediaGenerationId type must be 'video', got 'image'",
        ),
        (
            UPSCALE_IMAGE,
            {"mediaGenerationId": sources.GOOD_VIDEO},
            "mediaGenerationId type must be 'image', got 'video'",
        ),
        (UPSCALE, {"mediaGenerationId": "abc"}, "Invalid mediaGenerationId format: abc"),
        (UPSCALE, video(replyUrl="x" * 1025), "replyUrl is too long"),
        (UPSCALE, video(**{"async": "yes"}), "Parameter async (yes) valid values: true, false"),
        (GENERATE, {"model": "veo-3.1-fast"}, "prompt is required"),
    ],
)
async def test_what_is_not_supported_is_refused(path: str, body: object, text: str) -> None:
    """Unknown fields: live notes, September 2026. Kinds: POST videos/gif, 20 January 2026.

    Lengths: POST account, 7 April 2025. The other texts are assumed.
    """
    async with open_api() as api:
        answer = await api.post(path, body, status=400)

        assert {"error": text, "code": 400} == answer
        assert [] == api.sandbox.accepted


async def test_a_missing_id_is_refused_without_a_code() -> None:
    """POST images/upscale, 14 February 2026."""
    async with open_api() as api:
        for path in (UPSCALE, UPSCALE_IMAGE):
            answer = await api.post(path, {}, status=400)
            assert {"error": "mediaGenerationId is required"} == answer


async def test_an_unknown_owner_or_video_is_not_found() -> None:
    """POST videos/upscale, 25 May 2026; the text for a video is assumed."""
    owner = "user:12345-email:" + b"other@example.com".hex()
    async with open_api() as api:
        for name, text in (
            (f"{owner}-video:a", "Google Flow account other@example.com not found"),
            (sources.video_id("nothing"), "Video not found"),
        ):
            answer = await api.post(UPSCALE, {"mediaGenerationId": name}, status=404)
            assert {"error": text} == answer


async def test_4k_needs_the_ultra_plan() -> None:
    """POST videos/upscale, 25 May 2026; how it is refused is assumed."""
    async with open_api() as api:
        body = {"mediaGenerationId": sources.NO_ULTRA_VIDEO}

        answer = await api.post(UPSCALE, {**body, "resolution": "4K"}, status=403)
        await api.post(UPSCALE, body)

        assert "PERMISSION_DENIED" == answer["error"]["status"]


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_a_lost_answer_hides_a_job_that_was_taken(asynchronous: bool) -> None:
    """Assumed: the gateway's page; the job can be found in GET jobs."""
    async with open_api() as api:
        body = {"mediaGenerationId": sources.LOST_VIDEO, "async": asynchronous}
        lost = await api.http.post(UPSCALE, json=body)
        await asyncio.sleep(JOB_S)

        history = (await api.get(f"{AT}/jobs/?options=history"))["videos"]["history"]

        assert 524 == lost.status_code
        assert [api.sandbox.accepted[0].job_id] == list(history)


async def test_the_answer_of_an_image_can_get_lost_too() -> None:
    async with open_api() as api:
        body = {"mediaGenerationId": sources.LOST_IMAGE}

        lost = await api.http.post(UPSCALE_IMAGE, json=body)
        await api.post(UPSCALE_IMAGE, body)

        assert (524, 2) == (lost.status_code, len(api.sandbox.accepted))


async def test_a_job_id_must_be_sent_raw() -> None:
    """Live notes, September 2026: "Invalid job ID format"."""
    async with open_api() as api:
        job = await api.post(UPSCALE, video(**{"async": True}), status=201)

        for name in (quote(job["jobid"], safe=""), "abc"):
            answer = await api.get(f"{AT}/jobs/{name}", status=400)
            assert {"error": "Invalid job ID format", "code": 400} == answer


async def test_an_unknown_job_is_not_found() -> None:
    """GET jobs/jobId, 25 June 2026: 404; its text is assumed."""
    async with open_api() as api:
        await api.get(f"{AT}/jobs/j1v-u1-email:a@b.c-bot:google-flow", status=404)


async def test_a_job_has_expired_after_seven_days() -> None:
    """The platform's summary of 27 July 2026."""
    async with open_api() as api:
        job = await api.post(UPSCALE, video(**{"async": True}), status=201)
        await asyncio.sleep(7 * 86_400)
        await api.get(f"{AT}/jobs/{job['jobid']}")

        await asyncio.sleep(1)
        answer = await api.get(f"{AT}/jobs/{job['jobid']}", status=410)

        assert {"error": "Job has expired", "code": 410} == answer


async def test_links_die_and_an_asset_gives_a_fresh_one() -> None:
    """The vendor's skill of September 2026: about 6 hours. GET assets, 14 June 2026."""
    async with open_api() as api:
        large = (await api.post(UPSCALE, video(resolution="4K")))["media"][0]
        await asyncio.sleep(6 * 3600 + 1)
        dead = await api.http.get(large["videoUrl"])

        asset = await api.get(f"{AT}/assets/{quote(large['mediaGenerationId'], safe='')}")

        assert 403 == dead.status_code
        assert large["mediaGenerationId"] == asset["mediaGenerationId"]
        assert 3840 == facts((await api.http.get(asset["url"])).content).width


@pytest.mark.parametrize(
    ("name", "kind"), [(sources.GOOD_IMAGE, "image"), (sources.GOOD_VIDEO, "video")]
)
async def test_a_source_is_an_asset(name: str, kind: str) -> None:
    async with open_api() as api:
        asset = await api.get(f"{AT}/assets/{quote(name, safe='')}")

        file = facts((await api.http.get(asset["url"])).content)
        assert (kind, 1280, 720) == (file.kind, file.width, file.height)


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("abc", 400, "Invalid mediaGenerationId format: abc"),
        (
            f"{sources.OWNER}-character:a",
            400,
            "mediaGenerationId type must be 'image' or 'video', got 'character'",
        ),
        (sources.video_id("nothing"), 404, "Media not found"),
    ],
)
async def test_an_asset_that_is_none_is_refused(name: str, status: int, text: str) -> None:
    """GET assets, 14 June 2026: the 400s; the 404's text is assumed."""
    async with open_api() as api:
        answer = await api.get(f"{AT}/assets/{quote(name, safe='')}", status=status)

        assert text == answer["error"]


async def test_the_pages_example_generates_and_then_upscales() -> None:
    """POST videos/upscale, 25 May 2026: its Python example."""
    async with open_api() as api:
        generated = await api.post(GENERATE, {"prompt": "A serene mountain landscape at sunset"})
        name = generated["media"][0]["mediaGenerationId"]
        upscaled = await api.post(UPSCALE, {"mediaGenerationId": name, "resolution": "1080p"})

        assert "operations" not in generated
        clip = facts((await api.http.get(generated["media"][0]["videoUrl"])).content)
        large = facts((await api.http.get(upscaled["media"][0]["videoUrl"])).content)
        assert (1280, 1920) == (clip.width, large.width)


async def test_accounts_are_listed_by_email_with_their_health() -> None:
    """GET accounts, 2026."""
    async with open_api() as api:
        accounts = await api.get(f"{AT}/accounts")

        assert "OK" == accounts["user@example.com"]["health"]


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
        body = {"mediaGenerationId": sources.GOOD_VIDEO, "async": True}

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
        body = {"mediaGenerationId": sources.GOOD_VIDEO, **captcha}

        answer = await api.post(UPSCALE, body, status=400)

        assert text == answer["error"]


async def test_a_generation_is_answered_at_once_with_a_job_if_asked() -> None:
    """POST videos' 201, as copied on 22 July 2026: its operations; `replyRef` is echoed."""
    async with open_api() as api:
        body = {"prompt": "A fox", "async": True, "replyRef": "mine", "count": 2}

        job = await api.post(GENERATE, body, status=201)
        await asyncio.sleep(JOB_S)
        record = await api.get(f"{AT}/jobs/{job['jobid']}")

        statuses = [operation["status"] for operation in job["response"]["operations"]]
        assert ["MEDIA_GENERATION_STATUS_PENDING"] * 2 == statuses
        assert body == job["request"] == record["request"]
        made = record["response"]["media"]
        assert 2 == len({each["mediaGenerationId"] for each in made})
        assert 2 == len({each["videoUrl"] for each in made})
        assert 18760 - 2 * 20 == record["response"]["remainingCredits"]


@pytest.mark.parametrize(
    ("more", "credits_", "lines", "seconds"),
    [
        ({}, 20, 720, 8),
        ({"model": "veo-3.1-lite", "duration": 4, "aspectRatio": "3:4"}, 10, 720, 4),
        ({"model": "omni-flash", "duration": 10, "resolution": "360p"}, 7, 360, 10),
        ({"model": "omni-flash-1.2", "duration": 15}, 60, 720, 15),
        ({"model": "omni-flash-1.2", "duration": 5, "resolution": "360p"}, 7, 360, 5),
    ],
)
async def test_a_generated_clip_costs_measures_and_lasts_what_was_asked(
    more: dict[str, object], credits_: int, lines: int, seconds: int
) -> None:
    """POST videos, 5 June 2026; omni: the skill of October and the article of 12 November 2026."""
    async with open_api() as api:
        answer = await api.post(GENERATE, {"prompt": "A fox", **more})
        name = answer["media"][0]["mediaGenerationId"]
        large = await api.post(UPSCALE, {"mediaGenerationId": name, "resolution": "1080p"})

        assert 18760 - credits_ == answer["remainingCredits"]
        for made, height in ((answer, lines), (large, 1080)):
            clip = facts((await api.http.get(made["media"][0]["videoUrl"])).content)
            assert (height, seconds * 1000) == (clip.height, clip.duration_ms)


async def test_a_clip_that_is_not_finished_cannot_be_upscaled() -> None:
    """Assumed."""
    async with open_api() as api:
        job = await api.post(GENERATE, {"prompt": "A fox", "async": True}, status=201)
        name = sources.video_id(job["response"]["operations"][0]["operation"]["name"])

        await api.post(UPSCALE, {"mediaGenerationId": name}, status=404)
        await asyncio.sleep(JOB_S)
        await api.post(UPSCALE, {"mediaGenerationId": name})


async def test_images_are_answered_when_they_are_done() -> None:
    """POST images, June to October 2026: synchronous, four if not said otherwise, free."""
    async with open_api() as api:
        answer = await api.post(IMAGES, {"prompt": "A fox"})

        assert JOB_S == pytest.approx(asyncio.get_running_loop().time())
        assert {"jobId", "media", "captcha"} == answer.keys()
        images = [each["image"]["generatedImage"] for each in answer["media"]]
        assert 4 == len({image["mediaGenerationId"] for image in images})
        assert {"A fox"} == {image["prompt"] for image in images}
        for image in images:
            assert "encodedImage" not in image
            assert 1280 == facts((await api.http.get(image["fifeUrl"])).content).width
        body = {"mediaGenerationId": images[0]["mediaGenerationId"], "resolution": "4k"}
        assert (await api.post(UPSCALE_IMAGE, body))["encodedImage"]
        asset = await api.get(f"{ASSETS}/{quote(images[1]['mediaGenerationId'], safe='')}")
        assert "image" == facts((await api.http.get(asset["url"])).content).kind


async def test_images_are_a_job_that_can_be_read_while_they_are_made() -> None:
    """GET jobs/jobId, 20 May 2026: type `image`; the letter is that of the live ids."""
    async with open_api() as api:
        task = asyncio.create_task(api.post(IMAGES, {"prompt": "A fox", "count": 1}))
        await asyncio.sleep(1)
        running = await api.get(f"{AT}/jobs?options=executing")
        answer = await task
        record = await api.get(f"{AT}/jobs/{answer['jobId']}")

        assert [answer["jobId"]] == list(running["images"]["executing"])
        assert "i-u12345-email:" in answer["jobId"]
        assert ("image", "completed") == (record["type"], record["status"])
        assert answer["media"] == record["response"]["media"]


@pytest.mark.parametrize(
    ("word", "there", "encoded"),
    [("encoded", 2, 2), ("partly-refused", 1, 0), ("silently-refused", 0, 0)],
)
async def test_images_may_come_as_base64_or_not_at_all(word: str, there: int, encoded: int) -> None:
    """Live notes, September 2026: a link or base64, and a refusal with neither."""
    async with open_api() as api:
        answer = await api.post(IMAGES, {"prompt": f"A fox, sandbox:{word}", "count": 2})

        images = [each["image"]["generatedImage"] for each in answer["media"]]
        assert there == sum("mediaGenerationId" in image for image in images)
        assert encoded == sum("encodedImage" in image for image in images)
        assert there - encoded == sum("fifeUrl" in image for image in images)
        for image in images:
            if "encodedImage" in image:
                assert "image/jpeg" == facts(base64.b64decode(image["encodedImage"])).mime_type


@pytest.mark.parametrize("word", sources.WORD_REFUSALS)
async def test_a_word_in_the_prompt_shows_its_error(word: str) -> None:
    """POST videos/upscale, 25 May 2026, and live notes of September 2026."""
    refusal = sources.WORD_REFUSALS[word]
    async with open_api() as api:
        body = {"prompt": f"A fox, sandbox:{word}"}

        answer = await api.http.post(GENERATE, json=body)

        found = answer.json()
        found.pop("retryAfter", None)
        assert (refusal.status, refusal.body) == (answer.status_code, found)
        assert [] == api.sandbox.accepted


async def test_a_word_in_the_prompt_decides_how_a_job_ends() -> None:
    """As of the sources of the same names."""
    async with open_api() as api:
        await api.post(GENERATE, {"prompt": "sandbox:job-fails"}, status=500)
        await api.post(IMAGES, {"prompt": "sandbox:job-fails"}, status=500)
        failed = await api.post(GENERATE, {"prompt": "sandbox:media-fails"})
        lost = await api.http.post(IMAGES, json={"prompt": "sandbox:lost-answer"})

        status = failed["media"][0]["mediaMetadata"]["mediaStatus"]
        assert "MEDIA_GENERATION_STATUS_FAILED" == status["mediaGenerationStatus"]
        assert (524, 4) == (lost.status_code, len(api.sandbox.accepted))
        await api.post(IMAGES, {"prompt": "sandbox:lost-answer"})


async def upload(
    api: Api, path: str, content: bytes = b"x", kind: str = "image/png", status: int = 200
) -> dict[str, Any]:
    answer = await api.http.post(path, content=content, headers={"Content-Type": kind})
    assert status == answer.status_code, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_an_uploads_id_is_nested_twice() -> None:
    """POST assets, 15 June 2026."""
    async with open_api() as api:
        picture = await upload(
            api, f"{ASSETS}/user%40example.com", media.read(media.image(1280, 720)), "image/jpeg"
        )
        clip = await upload(api, ASSETS, media.read(media.clip(640, 360, 24, 5)), "video/mp4")

        name = picture["mediaGenerationId"]["mediaGenerationId"]
        assert name.startswith(f"{sources.OWNER}-image:")
        assert (1280, 720, "user@example.com") == (
            picture["width"],
            picture["height"],
            picture["email"],
        )
        assert {"media", "mediaGenerationId", "width", "height", "email"} == picture.keys()
        assert {"durationSeconds"} == clip.keys() - picture.keys()
        assert 5 == clip["durationSeconds"]


@pytest.mark.parametrize(
    ("path", "content", "kind", "status", "text"),
    [
        (ASSETS, b"x", "image/gif", 400, "Content-Type image/gif not supported"),
        (ASSETS, bytes(20971521), "image/png", 400, "File size (20971521) is over 20971520 bytes"),
        (
            f"{ASSETS}/other@example.com",
            b"x",
            "image/png",
            404,
            "Google Flow account other@example.com not found",
        ),
    ],
)
async def test_a_wrong_upload_is_refused(
    path: str, content: bytes, kind: str, status: int, text: str
) -> None:
    """POST assets, 15 June 2026: the sizes and the account; the first text is assumed."""
    async with open_api() as api:
        assert text == (await upload(api, path, content, kind, status))["error"]


async def test_a_clip_starts_with_an_upload_and_its_account_generates() -> None:
    """Live notes, September 2026: if `email` is omitted the refs decide, else they must agree."""
    async with open_api(**SEVERAL) as api:
        picture = await upload(api, f"{ASSETS}/{SECOND_EMAIL}")
        ref = picture["mediaGenerationId"]["mediaGenerationId"]
        body = {"prompt": "A fox", "startImage": ref}

        made = await api.post(GENERATE, {**body, "endImage": ref, "model": "omni-flash"})
        image = await api.post(IMAGES, {"prompt": "A fox", "reference_1": ref, "count": 1})
        wrong = await api.post(GENERATE, {**body, "email": "user@example.com"}, status=400)

        owner = sources.owner(SECOND_EMAIL)
        assert made["media"][0]["mediaGenerationId"].startswith(f"{owner}-video:")
        generated = image["media"][0]["image"]["generatedImage"]
        assert generated["mediaGenerationId"].startswith(f"{owner}-image:")
        text = "Email mismatch: body has 'user@example.com', references have 'second@example.com'"
        assert {"error": text, "code": 400} == wrong


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        (GENERATE, {"model": "veo-9"}, "Parameter model (veo-9)"),
        (GENERATE, {"aspectRatio": "16:9"}, "Parameter aspectRatio (16:9)"),
        (GENERATE, {"duration": 5}, "Parameter duration (5) valid values: 4, 6, 8"),
        (GENERATE, {"resolution": "360p"}, "Parameter resolution (360p)"),
        (GENERATE, {"count": 5}, "Parameter count (5) valid range: 1-4"),
        (GENERATE, {"seed": -1}, "Parameter seed (-1)"),
        (GENERATE, {"generateAudio": True}, "Parameter generateAudio not supported"),
        (GENERATE, {"referenceVideo_1": "x"}, "Model veo-3.1-fast does not support"),
        (
            GENERATE,
            {"model": "omni-flash", "referenceVideo_1": "x", "duration": 8},
            "Parameter duration is not supported",
        ),
        (GENERATE, {"endImage": "x"}, "Parameter endImage requires startImage"),
        (
            GENERATE,
            {"startImage": "x", "referenceImage_1": "x"},
            "Parameter startImage is not supported",
        ),
        (
            GENERATE,
            {"model": "veo-3.1-quality", "referenceImage_1": "x"},
            "Model veo-3.1-quality supports up to 0",
        ),
        (GENERATE, {"startImage": "x"}, "Invalid mediaGenerationId format: x"),
        (IMAGES, {"async": True}, "Parameter async not supported"),
        (IMAGES, {"n": 1}, "Parameter n not supported"),
        (IMAGES, {"model": "dall-e"}, "Parameter model (dall-e)"),
        (IMAGES, {"aspectRatio": "auto"}, "Parameter aspectRatio (auto)"),
        (IMAGES, {"count": 0}, "Parameter count (0)"),
    ],
)
async def test_a_wrong_generation_is_refused(path: str, body: dict[str, object], text: str) -> None:
    """POST videos, 5 June 2026, and POST images: the limits; unknown fields: live notes."""
    async with open_api() as api:
        answer = await api.post(path, {"prompt": "A fox", **body}, status=400)

        assert answer["error"].startswith(text)
        assert [] == api.sandbox.accepted


async def test_a_clip_is_edited_for_a_price_of_its_own() -> None:
    """The vendor's skill, October 2026: 20, or 10 in 360p."""
    async with open_api() as api:
        clip = await upload(api, ASSETS, media.read(media.clip(640, 360, 24)), "video/mp4")
        ref = clip["mediaGenerationId"]["mediaGenerationId"]
        body = {"prompt": "At night", "model": "omni-flash", "referenceVideo_1": ref}

        dear = await api.post(GENERATE, body)
        cheap = await api.post(GENERATE, {**body, "resolution": "360p"})

        assert [18740, 18730] == [dear["remainingCredits"], cheap["remainingCredits"]]


async def test_what_is_not_there_or_not_linked_is_not_found() -> None:
    """POST videos/upscale, 25 May 2026: an account; the text for a ref is assumed."""
    async with open_api() as api:
        body = {"prompt": "A fox", "startImage": sources.image_id("nothing")}
        await api.post(GENERATE, body, status=404)
        await api.post(IMAGES, {"prompt": "A fox", "email": "other@example.com"}, status=404)
    async with open_api(Authorization="Bearer user:404-x") as api:
        answer = await api.post(IMAGES, {"prompt": "A fox"}, status=404)
        assert {"error": "Google Flow account user@example.com not found"} == answer


async def test_an_upload_is_no_source_of_an_upscale() -> None:
    """Assumed: the pages name generated media only."""
    async with open_api() as api:
        picture = await upload(api, ASSETS)
        body = {"mediaGenerationId": picture["mediaGenerationId"]["mediaGenerationId"]}

        await api.post(UPSCALE_IMAGE, body, status=404)


async def test_the_list_of_media_holds_what_was_made_and_uploaded() -> None:
    """GET assets/media, 1 September 2026: `likelyUpload`, `likelyUploads`."""
    async with open_api() as api:
        await asyncio.sleep(1)
        made = await api.post(GENERATE, {"prompt": "A fox"})
        large = await api.post(UPSCALE, video())
        await api.post(UPSCALE, video())
        picture = await upload(api, ASSETS)

        page = await api.get(f"{ASSETS}/media/user%40example.com")

        newest = [
            picture["mediaGenerationId"]["mediaGenerationId"],
            large["media"][0]["mediaGenerationId"],
            made["media"][0]["mediaGenerationId"],
        ]
        entries = page["media"]
        assert newest == [entry["mediaGenerationId"] for entry in entries[:3]]
        assert [True, False, False] == [entry["likelyUpload"] for entry in entries[:3]]
        assert (1, len(entries)) == (page["likelyUploads"], page["count"])
        assert ["IMAGE", "VIDEO"] == [entry["type"] for entry in entries[:2]]
        assert sources.GOOD_VIDEO in {entry["mediaGenerationId"] for entry in entries}
        await api.get(f"{ASSETS}/media/other@example.com", status=404)


async def test_an_account_tells_its_credits_and_models_beside_its_secrets() -> None:
    """GET accounts/email: what must be taken out before it is shown."""
    async with open_api() as api:
        await api.post(GENERATE, {"prompt": "A fox"})

        account = await api.get(f"{AT}/accounts/user%40example.com")

        assert 18740 == account["credits"]["credits"]
        costs = {each["key"]: each["creditCost"] for each in account["models"]["videoModels"]}
        assert (20, 100, 12) == (
            costs["veo-3.1-fast"],
            costs["veo-3.1-quality"],
            costs["omni-flash"],
        )
        assert account["accountCookies"]
        assert account["sessionCookies"]
        assert account["sessionData"]["access_token"]
        await api.get(f"{AT}/accounts/other@example.com", status=404)


async def test_two_accounts_may_be_linked() -> None:
    async with open_api(**SEVERAL) as api:
        assert ["user@example.com", SECOND_EMAIL] == list(await api.get(f"{AT}/accounts"))
        assert [] == (await api.get(f"{ASSETS}/media/{SECOND_EMAIL}"))["media"]


async def test_what_no_page_tells_can_be_tried() -> None:
    """clips.mjs, September 2026: an array; assumed: a replyRef that is not kept."""
    async with open_api() as api:
        body = {"prompt": "sandbox:forgets-ref", "replyRef": "mine", "async": True}
        job = await api.post(GENERATE, body, status=201)
        (made,) = await api.post(GENERATE, {"prompt": "sandbox:array"})

        assert "replyRef" not in job["request"]
        assert made["media"]
