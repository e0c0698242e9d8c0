"""The sandbox's Dreamina: what its endpoints take, refuse and answer, its jobs and their files."""

import asyncio
import io
from typing import Any
from urllib.parse import quote

import pytest

from mcp_server.media.probe import MediaInfo, probe
from mcp_server.sandbox import dreamina, dreamina_orders, media
from mcp_server.sandbox.state import SECOND_EMAIL
from tests.sandbox.api import EPOCH_S, JOB_S, Api, open_api

AT = "/v1/dreamina"
UPSCALE, INTERPOLATE = f"{AT}/videos/upscale", f"{AT}/videos/interpolate"
UPSCALE_IMAGE = f"{AT}/images/upscale"
VIDEOS, IMAGES, FULL_QUALITY = f"{AT}/videos", f"{AT}/images", f"{AT}/videos/full-quality"
CA, US = "CA:user@example.com", "US:user@example.com"


async def error(api: Api, path: str, body: object, status: int = 400) -> str:
    answer = await api.post(path, body, status=status)
    assert ["error"] == list(answer)
    return str(answer["error"])


async def finished(api: Api, path: str, body: object) -> Any:
    job = await api.post(path, body)
    await asyncio.sleep(JOB_S)
    kind = "images" if job["type"] in ("image", "upscale") else "videos"
    return await api.get(f"{AT}/{kind}/{job['jobid']}")


async def load(api: Api, url: str) -> MediaInfo:
    answer = await api.http.get(url)
    assert 200 == answer.status_code
    facts = probe(io.BytesIO(answer.content))
    assert facts is not None
    return facts


async def test_an_upscale_job_is_created_as_the_page_shows() -> None:
    """POST videos/upscale, 2 April 2026: the 200."""
    async with open_api() as api:
        job = await api.post(UPSCALE, {"jobid": dreamina.GOOD_VIDEO})

        expected = {
            "jobid": "j0528202640000000001V-u12345-CA:user@example.com-bot:dreamina",
            "type": "video-upscale",
            "status": "created",
            "model": "seedance-2.0-fast",
            "created": "2026-05-28T20:26:40.000Z",
            "request": {"jobid": dreamina.GOOD_VIDEO},
            "response": {"forecastCost": 30},
            "code": 200,
        }
        assert expected == job
        assert expected == await api.get(f"{AT}/videos/{job['jobid']}")


@pytest.mark.parametrize("fps", [30, 60])
async def test_an_interpolation_job_is_created_as_the_page_shows(fps: int) -> None:
    """POST videos/interpolate, 2 April 2026: the 200; what 30 fps costs is assumed."""
    async with open_api() as api:
        job = await api.post(INTERPOLATE, {"jobid": dreamina.GOOD_VIDEO, "fps": fps})

        assert "F-u12345-CA:user@example.com-bot:dreamina" == job["jobid"][20:]
        assert ("video-interpolate", "created") == (job["type"], job["status"])
        assert {"jobid": dreamina.GOOD_VIDEO, "fps": fps} == job["request"]
        assert {"forecastCost": {30: 33, 60: 66}[fps]} == job["response"]


async def test_an_image_upscale_job_echoes_its_resolution_under_another_name() -> None:
    """POST images/upscale, 2 March 2026: `upscaleResolution` in, `resolution` back.

    4k and the first image when not given.
    """
    async with open_api() as api:
        job = await api.post(UPSCALE_IMAGE, {"jobid": dreamina.GOOD_IMAGE})

        assert "I-u12345-US:user@example.com-bot:dreamina" == job["jobid"][20:]
        assert ("upscale", "created") == (job["type"], job["status"])
        assert {"jobid": dreamina.GOOD_IMAGE, "imageIndex": 0, "resolution": "4k"} == job["request"]
        assert {"forecastCost": 0} == job["response"]


async def test_a_video_is_upscaled_once() -> None:
    """POST videos/upscale, 2 April 2026: 400 with the id of the earlier job."""
    async with open_api() as api:
        first = await api.post(UPSCALE, {"jobid": dreamina.GOOD_VIDEO})
        await asyncio.sleep(2 * JOB_S)

        text = await error(api, UPSCALE, {"jobid": dreamina.GOOD_VIDEO})
        earlier = await error(api, UPSCALE, {"jobid": dreamina.UPSCALED_VIDEO})

        assert f"Source video already upscaled: {first['jobid']}" == text
        assert f"Source video already upscaled: {dreamina.UPSCALE_OF_IT}" == earlier


async def test_a_video_is_interpolated_once_whatever_the_rate() -> None:
    """POST videos/interpolate, 2 April 2026: 400 with the id of the earlier job."""
    async with open_api() as api:
        text = await error(api, INTERPOLATE, {"jobid": dreamina.INTERPOLATED_VIDEO, "fps": 30})

        assert f"Source video already interpolated: {dreamina.INTERPOLATION_OF_IT}" == text


async def test_a_video_and_its_upscale_are_each_interpolated_once() -> None:
    """POST videos/interpolate, 2 April 2026: "both original and upscaled"; counting is assumed."""
    async with open_api() as api:
        upscale = await finished(api, UPSCALE, {"jobid": dreamina.GOOD_VIDEO})

        for source in (dreamina.GOOD_VIDEO, upscale["jobid"]):
            await api.post(INTERPOLATE, {"jobid": source, "fps": 60})
            await error(api, INTERPOLATE, {"jobid": source, "fps": 60})


@pytest.mark.parametrize("cancel", [False, True])
async def test_a_job_that_failed_or_was_cancelled_may_be_repeated(cancel: bool) -> None:
    """Assumed: the pages do not say."""
    source = dreamina.GOOD_VIDEO if cancel else dreamina.MODERATED_VIDEO
    async with open_api() as api:
        first = await api.post(UPSCALE, {"jobid": source})
        await error(api, UPSCALE, {"jobid": source})

        await asyncio.sleep(1 if cancel else JOB_S)
        if cancel:
            await api.delete(f"{AT}/scheduler/{first['jobid']}")
        second = await api.post(UPSCALE, {"jobid": source})

        assert first["jobid"] != second["jobid"]


async def test_an_image_may_be_upscaled_again() -> None:
    """POST images/upscale, 2 March 2026: no once-only rule."""
    async with open_api() as api:
        first = await api.post(UPSCALE_IMAGE, {"jobid": dreamina.GOOD_IMAGE})
        second = await api.post(UPSCALE_IMAGE, {"jobid": dreamina.GOOD_IMAGE})

        assert first["jobid"] != second["jobid"]


async def test_a_source_must_be_there_and_finished_and_of_the_right_kind() -> None:
    """All three POST pages, 2 March and 2 April 2026; the texts about kinds are assumed."""
    missing = dreamina.video_id(100)
    async with open_api() as api:
        for path, kind, job, other in (
            (UPSCALE, "video", dreamina.UNFINISHED_VIDEO, dreamina.GOOD_IMAGE),
            (UPSCALE_IMAGE, "image", dreamina.UNFINISHED_IMAGE, dreamina.GOOD_VIDEO),
        ):
            unfinished = f"Source {kind} job is created, must be completed"
            assert unfinished == await error(api, path, {"jobid": job})
            assert f"Source {kind} job not found" == await error(api, path, {"jobid": missing}, 404)
            assert f"Source {kind} job not found" == await error(api, path, {"jobid": other}, 404)
        upscale_twice = await error(api, UPSCALE, {"jobid": dreamina.UPSCALE_OF_IT})
        assert "Source video job is video-upscale, must be video" == upscale_twice


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        (UPSCALE, {}, "Parameter jobid is required"),
        (UPSCALE_IMAGE, {}, "Parameter jobid is required"),
        (INTERPOLATE, {"fps": 60}, "Parameter jobid is required"),
        (INTERPOLATE, {"jobid": dreamina.GOOD_VIDEO}, "Parameter fps is required"),
        (
            INTERPOLATE,
            {"jobid": dreamina.GOOD_VIDEO, "fps": 24},
            "Parameter fps (24) valid values: 30, 60",
        ),
        (
            UPSCALE,
            {"jobid": dreamina.GOOD_VIDEO, "maxJobs": 51},
            "Parameter maxJobs (51) valid range: 1-50",
        ),
        (
            UPSCALE_IMAGE,
            {"jobid": dreamina.GOOD_IMAGE, "imageIndex": 4},
            "Parameter imageIndex (4) valid values: 0, 1, 2, 3",
        ),
        (
            UPSCALE_IMAGE,
            {"jobid": dreamina.GOOD_IMAGE, "upscaleResolution": "6k"},
            "Parameter upscaleResolution (6k) valid values: 2k, 4k, 8k",
        ),
        (
            UPSCALE_IMAGE,
            {"jobid": dreamina.GOOD_IMAGE, "detailStrength": 2},
            "Parameter detailStrength (2) valid range: 0-1",
        ),
    ],
)
async def test_a_value_out_of_range_is_refused(path: str, body: object, text: str) -> None:
    """POST videos/interpolate, 2 April 2026: fps. POST images/upscale, 2 March 2026: jobid.

    The other texts are assumed.
    """
    async with open_api() as api:
        assert text == await error(api, path, body)
        assert [] == api.sandbox.accepted


@pytest.mark.parametrize("source_id", dreamina.REFUSALS)
async def test_an_error_source_answers_its_error_and_takes_no_job(source_id: str) -> None:
    refusal = dreamina.REFUSALS[source_id]
    path = UPSCALE if refusal.kind == "video" else UPSCALE_IMAGE
    async with open_api() as api:
        answer = await api.http.post(path, json={"jobid": source_id})

        assert (refusal.status, refusal.body) == (answer.status_code, answer.json())
        wait = str(refusal.retry_after) if refusal.retry_after else None
        assert wait == answer.headers.get("retry-after")
        assert [] == api.sandbox.accepted


async def test_a_source_that_is_busy_once_is_taken_the_second_time() -> None:
    async with open_api() as api:
        await error(api, UPSCALE, {"jobid": dreamina.video_id(431)}, 429)

        await api.post(UPSCALE, {"jobid": dreamina.video_id(431)})


async def test_a_lost_answer_hides_a_job_that_was_taken() -> None:
    """Assumed: the gateway's page; afterwards the once-only rule names the job's id."""
    async with open_api() as api:
        lost = await api.http.post(UPSCALE, json={"jobid": dreamina.LOST_VIDEO})
        text = await error(api, UPSCALE, {"jobid": dreamina.LOST_VIDEO})

        assert 524 == lost.status_code
        assert "text/html" in lost.headers["content-type"]
        job_id = api.sandbox.accepted[0].job_id
        assert f"Source video already upscaled: {job_id}" == text


async def test_max_jobs_of_the_request_is_a_ceiling_for_what_runs() -> None:
    """POST videos/upscale, 2 April 2026; that 429 means so: the vendor's script, 19 July 2026."""
    async with open_api() as api:
        await api.post(UPSCALE, {"jobid": dreamina.GOOD_VIDEO, "maxJobs": 1})
        await error(api, UPSCALE, {"jobid": dreamina.SECOND_VIDEO, "maxJobs": 1}, 429)

        await api.post(UPSCALE, {"jobid": dreamina.SECOND_VIDEO, "maxJobs": 2})
        await asyncio.sleep(JOB_S)
        await api.post(UPSCALE, {"jobid": dreamina.THIRD_VIDEO, "maxJobs": 1})


async def test_the_scheduler_lists_what_runs_by_account() -> None:
    """GET scheduler, 23 February 2026."""
    async with open_api() as api:
        idle = await api.get(f"{AT}/scheduler")
        body = {"jobid": dreamina.GOOD_VIDEO, "replyUrl": "https://example.com/hook"}
        job = await api.post(UPSCALE, body)
        await asyncio.sleep(2)
        busy = await api.get(f"{AT}/scheduler")
        await asyncio.sleep(JOB_S)

        assert {"executing": {}, "total": 0} == idle == await api.get(f"{AT}/scheduler")
        entry = {
            "jobid": job["jobid"],
            "submitId": "0528202640000000001",
            "model": "seedance-2.0-fast",
            "elapsedSeconds": 2,
            "replyUrl": "https://example.com/hook",
        }
        assert {"executing": {"CA:user@example.com": [entry]}, "total": 1} == busy


async def test_the_scheduler_lists_each_account_and_only_the_hooks_it_was_given() -> None:
    """GET scheduler, 23 February 2026: `replyUrl?`."""
    async with open_api() as api:
        await api.post(UPSCALE, {"jobid": dreamina.GOOD_VIDEO})
        await api.post(UPSCALE_IMAGE, {"jobid": dreamina.GOOD_IMAGE})

        jobs = await api.get(f"{AT}/scheduler")

        assert ["CA:user@example.com", "US:user@example.com"] == list(jobs["executing"])
        fields = {"jobid", "submitId", "model", "elapsedSeconds"}
        assert fields == jobs["executing"]["US:user@example.com"][0].keys()


async def test_a_cancelled_job_has_failed_and_left_the_scheduler() -> None:
    """DELETE scheduler/jobid, 23 February 2026: "Cancelled by user"; its own bodies are assumed."""
    async with open_api() as api:
        job = await api.post(UPSCALE, {"jobid": dreamina.GOOD_VIDEO})
        at = f"{AT}/scheduler/{job['jobid']}"

        cancelled = await api.delete(at)
        again = await api.delete(at, status=404)
        record = await api.get(f"{AT}/videos/{job['jobid']}")

        assert {"jobid": job["jobid"], "deleted": True} == cancelled
        assert {"error": "Job not found"} == again
        assert ("failed", "Cancelled by user") == (record["status"], record["error"])
        assert 0 == (await api.get(f"{AT}/scheduler"))["total"]


async def test_an_id_must_be_sent_raw() -> None:
    """The vendor's clients of 2026: an encoded `:` or `@` breaks the path match; text assumed."""
    async with open_api() as api:
        encoded = dreamina.GOOD_VIDEO.replace(":", "%3A")
        await api.get(f"{AT}/videos/{dreamina.GOOD_VIDEO}")

        answer = await api.http.get(f"http://sandbox{AT}/videos/{encoded}")

        assert 400 == answer.status_code
        assert ("GET", f"{AT}/videos/{encoded}") == api.sandbox.requests[-1]


async def test_jobs_are_read_where_they_belong() -> None:
    """GET videos/jobid and images/jobid, 2026; the 404s are assumed."""
    async with open_api() as api:
        await api.get(f"{AT}/images/{dreamina.GOOD_VIDEO}", status=404)
        await api.get(f"{AT}/videos/{dreamina.GOOD_IMAGE}", status=404)
        await api.get(f"{AT}/videos/{dreamina.video_id(100)}", status=404)


async def test_a_job_is_kept_for_thirty_days() -> None:
    """GET videos/jobid, 23 February 2026; what comes after is assumed."""
    async with open_api() as api:
        job = await finished(api, UPSCALE, {"jobid": dreamina.GOOD_VIDEO})
        await asyncio.sleep(dreamina.KEPT_S - 2 * JOB_S)
        await api.get(f"{AT}/videos/{job['jobid']}")

        await asyncio.sleep(2 * JOB_S)

        await api.get(f"{AT}/videos/{job['jobid']}", status=404)


async def test_accounts_are_listed_by_region_and_email() -> None:
    """GET accounts, 23 February 2026."""
    async with open_api() as api:
        accounts = await api.get(f"{AT}/accounts")

        assert {"CA:user@example.com", "US:user@example.com"} == accounts.keys()
        fields = {"account", "email", "region", "maxJobs", "sessionExpires"}
        assert fields == accounts["CA:user@example.com"].keys()


async def test_an_upscale_doubles_both_sides_and_keeps_the_rate() -> None:
    """POST videos/upscale, 2 April 2026."""
    async with open_api() as api:
        source = (await api.get(f"{AT}/videos/{dreamina.GOOD_VIDEO}"))["response"]
        result = (await finished(api, UPSCALE, {"jobid": dreamina.GOOD_VIDEO}))["response"]

        before, after = await load(api, source["videoUrl"]), await load(api, result["videoUrl"])

        assert (640, 360) == (source["width"], source["height"]) == (before.width, before.height)
        assert (1280, 720) == (result["width"], result["height"]) == (after.width, after.height)
        assert 24 == before.frame_rate == after.frame_rate
        assert 2000 == result["durationMs"] == before.duration_ms == after.duration_ms


@pytest.mark.parametrize("fps", [30, 60])
@pytest.mark.parametrize("source_id", [dreamina.GOOD_VIDEO, dreamina.UPSCALE_OF_IT])
async def test_an_interpolation_has_the_rate_asked_for(source_id: str, fps: int) -> None:
    """POST videos/interpolate, 2 April 2026."""
    async with open_api() as api:
        source = (await api.get(f"{AT}/videos/{source_id}"))["response"]
        body = {"jobid": source_id, "fps": fps}
        result = (await finished(api, INTERPOLATE, body))["response"]

        video = await load(api, result["videoUrl"])

        size = (source["width"], source["height"])
        assert size == (result["width"], result["height"]) == (video.width, video.height)
        assert (fps, 2000) == (video.frame_rate, video.duration_ms)


@pytest.mark.parametrize(
    ("resolution", "size"), [("2k", (2560, 1440)), ("4k", (3840, 2160)), ("8k", (7680, 4320))]
)
async def test_an_image_has_the_size_asked_for(resolution: str, size: tuple[int, int]) -> None:
    """POST images/upscale, 2 March 2026; the pixels are assumed."""
    async with open_api() as api:
        body = {"jobid": dreamina.GOOD_IMAGE, "imageIndex": 3, "upscaleResolution": resolution}
        job = await finished(api, UPSCALE_IMAGE, body)

        image = await load(api, job["response"]["images"][0]["imageUrl"])

        record = job["response"]["images"][0]
        assert size == (record["width"], record["height"]) == (image.width, image.height)
        assert 1 == len(job["response"]["images"])


async def test_every_finished_source_shows_what_it_has() -> None:
    """A promise of every record: the size it names is the size of the file it links to."""
    async with open_api() as api:
        for source in dreamina.SOURCES:
            kind = f"{source.kind}s"
            job = await api.get(f"{AT}/{kind}/{source.id}")
            if job["status"] != "completed":
                continue
            for media in job["response"].get("images", [job["response"]]):
                file = await load(api, media.get("videoUrl") or media["imageUrl"])
                assert (file.width, file.height) == (media["width"], media["height"])


async def test_a_completed_video_has_the_documented_fields() -> None:
    """GET videos/jobid, 23 February 2026 (2 April 2026)."""
    async with open_api() as api:
        job = await api.get(f"{AT}/videos/{dreamina.GOOD_VIDEO}")

        assert ("video", "completed", 200) == (job["type"], job["status"], job["code"])
        documented = {
            *("assetId", "videoUrl", "videoId", "coverUrl", "width", "height", "durationMs"),
            *("hasAudio", "forecastCost", "finishTime"),
        }
        assert documented == job["response"].keys()
        assert {"prompt", "model", "ratio", "duration", "inputMode"} == job["request"].keys()
        assert isinstance(job["response"]["finishTime"], int)


async def test_a_completed_image_job_has_the_documented_fields() -> None:
    """GET images/jobid, 2 March 2026."""
    async with open_api() as api:
        job = await api.get(f"{AT}/images/{dreamina.GOOD_IMAGE}")

        assert ("image", "completed", 4) == (
            job["type"],
            job["status"],
            len(job["response"]["images"]),
        )
        documented = {
            *("imageUrl", "imageUri", "width", "height", "format", "assetId", "assetRef"),
            "itemId",
        }
        assert documented == job["response"]["images"][0].keys()
        assert {"prompt", "model", "ratio", "resolution", "inputMode"} == job["request"].keys()


async def test_a_moderated_job_fails_as_the_page_shows() -> None:
    """GET videos/jobid, 23 February 2026: `fail_code: 2043`, errorDetails begins "OutputVi"."""
    async with open_api() as api:
        job = await finished(api, UPSCALE, {"jobid": dreamina.MODERATED_VIDEO})

        assert ("failed", "fail_code: 2043") == (job["status"], job["error"])
        assert job["errorDetails"].startswith("OutputVi")
        assert "2026-05-28T20:26:44.000Z" == job["updated"]
        assert "response" not in job


async def test_a_job_is_done_when_its_time_is_up_and_not_before() -> None:
    async with open_api() as api:
        job = await api.post(f"{AT}/videos/upscale", {"jobid": dreamina.GOOD_VIDEO})
        at = f"{AT}/videos/{job['jobid']}"

        await asyncio.sleep(JOB_S - 0.01)
        before = await api.get(at)
        await asyncio.sleep(0.01)
        after = await api.get(at)

        assert ("created", "completed") == (before["status"], after["status"])
        assert EPOCH_S + JOB_S == after["response"]["finishTime"]


async def test_the_words_for_an_id_in_the_examples_are_finished_jobs() -> None:
    """POST videos/interpolate, 2 April 2026: its two curl examples."""
    async with open_api() as api:
        of_video = {"jobid": "YOUR_COMPLETED_VIDEO_JOBID", "fps": 60}
        of_upscale = {"jobid": "YOUR_COMPLETED_UPSCALE_JOBID", "fps": 30}
        video = await finished(api, INTERPOLATE, of_video)
        upscale = await finished(api, INTERPOLATE, of_upscale)

        assert (640, 1280) == (video["response"]["width"], upscale["response"]["width"])


async def test_what_the_caller_wants_back_is_echoed() -> None:
    """POST videos/upscale, 2 April 2026: replyRef is "passed back"; where is assumed.

    The echo of images/upscale (2 March 2026) holds no strength.
    """
    async with open_api() as api:
        body = {
            "jobid": dreamina.GOOD_IMAGE,
            "replyRef": "mine",
            "detailStrength": 0.2,
            "maxJobs": 3,
        }

        job = await api.post(f"{AT}/images/upscale", body)

        assert {
            "jobid": dreamina.GOOD_IMAGE,
            "imageIndex": 0,
            "resolution": "4k",
            "replyRef": "mine",
        } == job["request"]


async def test_a_generation_is_created_as_its_jobs_record_shows() -> None:
    """GET videos/jobid, 23 February 2026: the echo; the rate is that of 5 October 2026."""
    async with open_api() as api:
        body = {"prompt": "A fox", "ratio": "9:16", "replyRef": "mine"}

        job = await api.post(VIDEOS, body)

        expected = {
            "jobid": "j0528202640000000001v-u12345-CA:user@example.com-bot:dreamina",
            "type": "video",
            "status": "created",
            "model": "seedance-2.0",
            "created": "2026-05-28T20:26:40.000Z",
            "request": {
                "prompt": "A fox",
                "model": "seedance-2.0",
                "ratio": "9:16",
                "duration": 5,
                "inputMode": "prompt",
            },
            "response": {"forecastCost": 115},
            "code": 200,
        }
        assert expected == job == await api.get(f"{AT}/videos/{job['jobid']}")
        (running,) = (await api.get(f"{AT}/scheduler"))["executing"].values()
        assert [job["jobid"]] == [each["jobid"] for each in running]


async def test_a_generated_clip_lasts_and_measures_what_was_asked() -> None:
    """POST videos, 23 February 2026: 16:9 in 720p is 1280x720."""
    async with open_api() as api:
        body = {"prompt": "A fox", "resolution": "1080p", "duration": 12}

        result = (await finished(api, VIDEOS, body))["response"]

        file = await load(api, result["videoUrl"])
        assert (1920, 1080, 12_000) == (file.width, file.height, file.duration_ms)
        assert (1920, 1080, 12_000) == (result["width"], result["height"], result["durationMs"])


@pytest.mark.parametrize(("resolution", "size"), [("720p", (2560, 1440)), ("1080p", (3840, 2160))])
@pytest.mark.parametrize("fps", [30, 60])
async def test_a_wish_becomes_a_large_and_smooth_clip(
    resolution: str, size: tuple[int, int], fps: int
) -> None:
    """POST videos/upscale, 2 April 2026: twice both sides; then POST videos/interpolate."""
    async with open_api() as api:
        body = {"prompt": "A fox", "resolution": resolution, "duration": 4}
        made = await finished(api, VIDEOS, body)
        large = await finished(api, UPSCALE, {"jobid": made["jobid"]})

        smooth = await finished(api, INTERPOLATE, {"jobid": large["jobid"], "fps": fps})

        for job, rate in ((large, 24), (smooth, fps)):
            file = await load(api, job["response"]["videoUrl"])
            assert (*size, rate, 4000) == (
                file.width,
                file.height,
                file.frame_rate,
                file.duration_ms,
            )


async def test_what_the_plan_makes_without_limit_costs_nothing() -> None:
    """The vendor's tool text, November 2026; on which plans and models is assumed."""
    async with open_api() as api:
        job = await api.post(VIDEOS, {"prompt": "A fox", "unlimited": True})

        assert {"forecastCost": 0} == job["response"]


async def test_a_job_of_images_holds_four_that_can_be_upscaled() -> None:
    """GET images/jobid, 2 March 2026; POST images, 2 April 2026: the default model."""
    async with open_api() as api:
        other = await finished(api, IMAGES, {"prompt": "A bear"})
        made = await finished(api, IMAGES, {"prompt": "A fox", "ratio": "1:1"})

        large = await finished(api, UPSCALE_IMAGE, {"jobid": made["jobid"], "imageIndex": 3})

        echo = {"prompt": "A fox", "model": "seedream-4.6", "ratio": "1:1", "resolution": "2k"}
        assert {**echo, "inputMode": "generate"} == made["request"]
        images = made["response"]["images"] + other["response"]["images"]
        assert 8 == len({image["assetRef"] for image in images})
        file = await load(api, made["response"]["images"][0]["imageUrl"])
        assert (2560, 3840) == (file.width, large["response"]["images"][0]["width"])


async def upload(
    api: Api, content: bytes, kind: str, account: str = CA, status: int = 200
) -> dict[str, Any]:
    path = f"{AT}/assets/{quote(account, safe='')}"
    answer = await api.http.post(path, content=content, headers={"Content-Type": kind})
    assert status == answer.status_code, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_an_upload_is_answered_with_its_ref() -> None:
    """POST assets/account, 3 April 2026; the middle of a clip's or sound's ref is assumed."""
    async with open_api() as api:
        content = media.read(media.image(1280, 720))
        picture = await upload(api, content, "image/jpeg")
        clip = await upload(api, media.read(media.clip(640, 360, 24)), "video/mp4")
        sound = await upload(api, b"ID3", "audio/mpeg", US)

        sizes = {"account": CA, "width": 1280, "height": 720, "size": len(content)}
        assert sizes == {name: picture[name] for name in picture if name != "assetRef"}
        start = f"{CA}-image:w1280:h720:s{len(content)}-uri:tos-"
        assert picture["assetRef"].startswith(start)
        assert (2000, "video") == (clip["duration"], clip["type"])
        assert clip["assetRef"].startswith(f"{CA}-video:w640:h360:")
        assert sound["assetRef"].startswith(f"{US}-audio:")


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        (
            b"BM",
            "image/bmp",
            "Content-Type (image/bmp) not supported. Valid values: image/jpeg, image/png",
        ),
        (b"", "image/png", "Image is empty"),
        (bytes(10 * 1024**2 + 1), "image/png", "Image size 10485761 exceeds the limit of 10485760"),
    ],
)
async def test_a_wrong_upload_is_refused(content: bytes, kind: str, text: str) -> None:
    """POST assets/account, 2 March 2026; the last text is assumed."""
    async with open_api() as api:
        assert (await upload(api, content, kind, status=400))["error"].startswith(text)


async def test_an_upload_to_an_account_that_is_not_linked_is_not_found() -> None:
    """POST assets/account, 2 March 2026."""
    async with open_api() as api:
        text = "Unable to find configuration for account US:other@example.com"
        other = "US:other@example.com"

        assert {"error": text} == await upload(api, b"x", "image/png", other, 404)


@pytest.mark.parametrize("account", [CA, US])
async def test_references_decide_the_account_and_the_mode(account: str) -> None:
    """POST videos, 3 April 2026: `inputMode` is derived; POST images, 2 April 2026: the account."""
    async with open_api() as api:
        ref = (await upload(api, b"x", "image/png", account))["assetRef"]
        body: dict[str, object] = {"prompt": "A fox"}
        modes = {
            "first_frame": {"firstFrameRef": ref},
            "end_frame": {"firstFrameRef": ref, "endFrameRef": ref},
            "unified_edit": {"prompt": "A fox", "omni_1_imageRef": ref},
            "multi_frame": {"frame_1_imageRef": ref, "frame_2_imageRef": ref},
        }

        for mode, given in modes.items():
            job = await api.post(VIDEOS, given)
            assert (mode, True) == (job["request"]["inputMode"], account in job["jobid"])
        image = await api.post(IMAGES, {**body, "imageRef_1": ref, "imageRef_2": ref})
        assert account in image["jobid"]


async def test_an_image_that_was_made_can_be_the_first_frame() -> None:
    """GET images/jobid, 2 March 2026: `assetRef`."""
    async with open_api() as api:
        made = await api.get(f"{AT}/images/{dreamina.GOOD_IMAGE}")
        ref = made["response"]["images"][2]["assetRef"]

        job = await api.post(VIDEOS, {"firstFrameRef": ref, "duration": 4})

        assert "-US:user@example.com-" in job["jobid"]


async def test_a_reference_is_good_on_its_own_account_alone() -> None:
    """POST assets/account, 3 April 2026; the text is assumed."""
    async with open_api() as api:
        ref = (await upload(api, b"x", "image/png"))["assetRef"]

        for body in (
            {"firstFrameRef": ref, "account": US},
            {"firstFrameRef": f"{ref}1"},
            {"firstFrameRef": "x"},
        ):
            assert "Invalid asset reference" == await error(api, VIDEOS, body)


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        (VIDEOS, {}, "Parameter prompt is required"),
        (VIDEOS, {"prompt": "x" * 5001}, "Parameter prompt exceeds 5000 characters"),
        (VIDEOS, {"prompt": "x", "model": "seedance-9"}, "Parameter model (seedance-9)"),
        (VIDEOS, {"prompt": "x", "duration": 3}, "Parameter duration (3) valid values: 4, 5"),
        (VIDEOS, {"prompt": "x", "resolution": "480p"}, "Parameter resolution (480p)"),
        (VIDEOS, {"prompt": "x", "resolution": "4k", "account": US}, "Parameter resolution (4k)"),
        (
            VIDEOS,
            {"prompt": "x", "model": "sora2", "account": US},
            "Model sora2 is not available in region US",
        ),
        (VIDEOS, {"prompt": "x", "ratio": "2:1"}, "Parameter ratio (2:1)"),
        (VIDEOS, {"prompt": "x", "maxJobs": 51}, "Parameter maxJobs (51) valid range: 1-50"),
        (VIDEOS, {"endFrameRef": "REF"}, "Parameter endFrameRef requires firstFrameRef"),
        (VIDEOS, {"firstFrameRef": "REF", "ratio": "1:1"}, "Parameter ratio is not supported"),
        (VIDEOS, {"frame_1_imageRef": "REF"}, "Parameter frame_N_imageRef takes 2 to 10"),
        (
            VIDEOS,
            {"prompt": "x", "frame_1_imageRef": "REF", "frame_2_imageRef": "REF"},
            "Parameter prompt is not supported",
        ),
        (IMAGES, {}, "Parameter prompt is required"),
        (IMAGES, {"model": "nano-banana", "imageRef_1": "REF"}, "Parameter prompt is required"),
        (IMAGES, {"prompt": "x" * 1601}, "Parameter prompt exceeds 1600 characters"),
        (IMAGES, {"prompt": "x", "resolution": "8k"}, "Parameter resolution (8k)"),
        (IMAGES, {"prompt": "x", "imageStrength": 2}, "Parameter imageStrength (2)"),
        (IMAGES, {"prompt": "x", "imageRef_2": "REF"}, "Parameter imageRef_N takes 1 to 6"),
        (
            IMAGES,
            {"prompt": "x", "model": "seedream-3.0", "ratio": "auto"},
            "Parameter ratio (auto)",
        ),
        (
            IMAGES,
            {"prompt": "x", "model": "gpt-image-2", "account": US},
            "Model gpt-image-2 is not available in region US",
        ),
        (FULL_QUALITY, {"jobid": dreamina.GOOD_VIDEO}, "Source video job is not a draft"),
    ],
)
async def test_a_wrong_generation_is_refused(path: str, body: dict[str, object], text: str) -> None:
    """POST videos, 3 April, and POST images, 2 April 2026: the limits; the texts are assumed."""
    async with open_api() as api:
        ref = (await upload(api, b"x", "image/png"))["assetRef"]
        given = {name: ref if value == "REF" else value for name, value in body.items()}

        assert (await error(api, path, given)).startswith(text)
        assert [] == api.sandbox.accepted


async def test_an_account_that_is_not_linked_cannot_generate() -> None:
    """GET accounts/account, 2 March 2026: the text."""
    text = "Unable to find configuration for account US:{}@example.com"
    async with open_api() as api:
        body = {"prompt": "x", "account": "US:other@example.com"}
        assert text.format("other") == await error(api, VIDEOS, body, 404)
    async with open_api(Authorization="Bearer user:404-x") as api:
        assert text.format("user") == await error(api, IMAGES, {"prompt": "x"}, 404)


async def test_the_least_busy_account_that_has_the_model_generates() -> None:
    """POST images, 2 April 2026: one with free capacity, if none is named."""
    async with open_api(Authorization="Bearer user:2-x") as api:
        wishes = [{"model": "sora2", "duration": 4}] * 2 + [{}, {"account": US}]
        jobs = [await api.post(VIDEOS, {"prompt": "x", **wish}) for wish in wishes]

        accounts = [CA, f"CA:{SECOND_EMAIL}", US, US]
        assert accounts == [job["jobid"].split("-", 2)[2][:-13] for job in jobs]


@pytest.mark.parametrize("word", dreamina.WORD_REFUSALS)
async def test_a_word_in_the_prompt_shows_its_error(word: str) -> None:
    """The vendor's script of 19 July 2026: the statuses of 402, 429 and 596."""
    refusal = dreamina.WORD_REFUSALS[word]
    async with open_api() as api:
        body = {"prompt": f"A fox, sandbox:{word}"}

        answer = await api.http.post(VIDEOS, json=body)

        assert (refusal.status, refusal.body) == (answer.status_code, answer.json())
        assert [] == api.sandbox.accepted
        again = await api.http.post(VIDEOS, json=body)
        assert (refusal.times == 1) is again.is_success


@pytest.mark.parametrize("path", [VIDEOS, IMAGES])
async def test_a_prompt_may_be_moderated_or_its_answer_lost(path: str) -> None:
    """GET videos/jobid, 23 February 2026: the failed job; the gateway's page is assumed."""
    async with open_api() as api:
        failed = await finished(api, path, {"prompt": "sandbox:moderated"})
        lost = await api.http.post(path, json={"prompt": "sandbox:lost-answer"})

        assert ("failed", "fail_code: 2043") == (failed["status"], failed["error"])
        assert (524, 2) == (lost.status_code, len(api.sandbox.accepted))
        await api.post(path, {"prompt": "sandbox:lost-answer"})


async def test_a_draft_and_a_4k_clip_cannot_be_upscaled() -> None:
    """The vendor's tool text, November 2026: 480p to 1080p and no draft; the texts are assumed."""
    async with open_api() as api:
        draft = await finished(api, VIDEOS, {"prompt": "x", "model": dreamina_orders.DRAFT_MODEL})
        large = await finished(api, VIDEOS, {"prompt": "x", "resolution": "4k"})

        for job in (draft, large):
            await error(api, UPSCALE, {"jobid": job["jobid"]})
        await error(api, INTERPOLATE, {"jobid": draft["jobid"], "fps": 60})
        await api.post(INTERPOLATE, {"jobid": large["jobid"], "fps": 60})


async def test_a_draft_is_finished_in_full_quality_within_a_fortnight() -> None:
    """POST videos/full-quality, 12 November 2026: a regular video job, at the price of one."""
    async with open_api() as api:
        draft = await finished(api, VIDEOS, {"prompt": "x", "model": dreamina_orders.DRAFT_MODEL})

        full = await finished(api, FULL_QUALITY, {"jobid": draft["jobid"]})

        assert ("video", "seedance-2.5", 1920, 585) == (
            full["type"],
            full["model"],
            full["response"]["width"],
            full["response"]["forecastCost"],
        )
        await api.post(UPSCALE, {"jobid": full["jobid"]})
        await asyncio.sleep(14 * 86_400)
        await error(api, FULL_QUALITY, {"jobid": draft["jobid"]})


async def history(api: Api, query: str = "", account: str = CA, status: int = 200) -> Any:
    return await api.get(f"{AT}/assets/{quote(account, safe='')}{query}", status=status)


async def test_the_history_shows_what_was_made_but_names_no_job() -> None:
    """GET assets/account, 2 March 2026: the rows; that the ids are the job's is assumed."""
    async with open_api() as api:
        job = await finished(api, VIDEOS, {"prompt": "A fox"})
        running = await api.post(VIDEOS, {"prompt": "A bear"})
        await upload(api, b"x", "image/png")

        page = await history(api, "?count=1")

        (row,) = page["assets"]
        documented = {
            *("assetId", "historyRecordId", "itemId", "type", "coverUrl", "description"),
            *("width", "height", "createdAt", "videoUrl"),
        }
        assert documented == row.keys()
        assert (job["response"]["assetId"], "A fox") == (row["assetId"], row["description"])
        assert job["response"]["videoId"] == row["itemId"]
        assert (True, 1, CA) == (page["hasMore"], page["nextOffset"], page["account"])
        assert running["jobid"] not in str(page)


async def test_each_image_has_its_row_and_the_web_app_has_some_too() -> None:
    """GET assets/account, 2 March 2026: `assetRef` and `format` of images; API and web app."""
    async with open_api() as api:
        made = await api.get(f"{AT}/images/{dreamina.GOOD_IMAGE}")

        everything = (await history(api, "?count=100", US))["assets"]

        rows = {row["assetId"]: row for row in everything}
        for image in made["response"]["images"]:
            row = rows[image["assetId"]]
            assert (image["assetRef"], "jpeg", "image") == (
                row["assetRef"],
                row["format"],
                row["type"],
            )
        numbers = [row["historyRecordId"][1:] for row in everything]
        elsewhere = dreamina.image_id(int(numbers[-1][-3:]))
        await api.get(f"{AT}/images/{elsewhere}", status=404)


async def test_the_history_has_pages() -> None:
    """GET assets/account, 2 March 2026: `count` is 20 when not given, `offset` = `nextOffset`."""
    async with open_api() as api:
        first = await history(api, account=US)
        rest = await history(api, f"?count=100&offset={first['nextOffset']}", US)

        assert (20, True, False) == (len(first["assets"]), first["hasMore"], rest["hasMore"])
        seen = [row["assetId"] for row in first["assets"] + rest["assets"]]
        assert len(seen) == len(set(seen)) == rest["nextOffset"]
        for query in ("?count=0", "?count=101", "?offset=x"):
            await history(api, query, status=400)
        await history(api, account="CA:other@example.com", status=404)


async def test_reading_an_account_tells_its_credits_and_claims_those_of_the_day() -> None:
    """GET accounts/account, 2 March 2026: "called once a day to claim"; the numbers are assumed."""
    async with open_api() as api:
        path = f"{AT}/accounts/{quote(CA, safe='')}"
        first, second = await api.get(path), await api.get(path)
        await api.post(VIDEOS, {"prompt": "x"})
        await asyncio.sleep(86_400)
        third = await api.get(path)

        documented = {
            *("account", "email", "region", "maxJobs", "sessionExpires", "session"),
            *("models", "credits"),
        }
        assert documented == first.keys()
        totals = [account["credits"]["total"] for account in (first, second, third)]
        assert totals[0] == totals[1] == totals[2] - dreamina.DAILY_CREDITS + 115
        assert "sora2" in first["models"]["video"]
        american = await api.get(f"{AT}/accounts/{quote(US, safe='')}")
        assert "sora2" not in american["models"]["video"]
        assert "gpt-image-2" not in american["models"]["image"]
        await api.get(f"{AT}/accounts/CA:other@example.com", status=404)


async def test_what_is_documented_in_two_forms_comes_in_both() -> None:
    """The vendor's script, 19 July 2026; its tool text of November 2026; POST assets, February."""
    async with open_api() as api:
        marked = (await finished(api, VIDEOS, {"prompt": "sandbox:watermarked"}))["response"]
        six = await finished(api, IMAGES, {"prompt": "sandbox:six-images"})
        old = await upload(api, b"sandbox:image-ref", "image/png")

        assert "videoUrl" not in marked
        assert 720 == (await load(api, marked["videoUrlWatermarked"])).height
        rows = (await history(api))["assets"]
        assert marked["videoUrlWatermarked"] in [row.get("videoUrl") for row in rows]
        assert 6 == len(six["response"]["images"])
        await api.post(VIDEOS, {"firstFrameRef": old["imageRef"]})
