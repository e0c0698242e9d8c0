"""The sandbox's Google Flow: what its endpoints take, refuse and answer."""

import asyncio
import base64
import io
from urllib.parse import quote

import pytest

from mcp_server.media.probe import MediaInfo, probe
from mcp_server.sandbox.google_flow import sources
from tests.sandbox.api import EPOCH_S, JOB_S, open_api

AT = "/v1/google-flow"
UPSCALE, UPSCALE_IMAGE, GENERATE = f"{AT}/videos/upscale", f"{AT}/images/upscale", f"{AT}/videos"


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
        media = (await api.post(UPSCALE, video(resolution="4K")))["media"][0]
        await asyncio.sleep(6 * 3600 + 1)
        dead = await api.http.get(media["videoUrl"])

        asset = await api.get(f"{AT}/assets/{quote(media['mediaGenerationId'], safe='')}")

        assert 403 == dead.status_code
        assert media["mediaGenerationId"] == asset["mediaGenerationId"]
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
