"""The sandbox's Dreamina job records, and the files they promise."""

import asyncio
import io
from typing import Any

import pytest

from mcp_server.media import probe as containers
from mcp_server.sandbox import dreamina as there
from tests.sandbox.api import EPOCH_S, JOB_S, Api, open_api

AT = "/v1/dreamina"


async def finished(api: Api, path: str, body: object) -> Any:
    job = await api.post(f"{AT}/{path}", body)
    await asyncio.sleep(JOB_S)
    return await api.get(f"{AT}/{path.split('/', maxsplit=1)[0]}/{job['jobid']}")


async def load(api: Api, url: str) -> containers.Facts:
    answer = await api.http.get(url)
    assert 200 == answer.status_code
    facts = containers.probe(io.BytesIO(answer.content))
    assert facts is not None
    return facts


async def test_an_upscale_doubles_both_sides_and_keeps_the_rate() -> None:
    """POST videos/upscale, 2 April 2026."""
    async with open_api() as api:
        source = (await api.get(f"{AT}/videos/{there.GOOD_VIDEO}"))["response"]
        result = (await finished(api, "videos/upscale", {"jobid": there.GOOD_VIDEO}))["response"]

        before, after = await load(api, source["videoUrl"]), await load(api, result["videoUrl"])

        assert (640, 360) == (source["width"], source["height"]) == (before.width, before.height)
        assert (1280, 720) == (result["width"], result["height"]) == (after.width, after.height)
        assert 24 == before.frame_rate == after.frame_rate
        assert 2000 == result["durationMs"] == before.duration_ms == after.duration_ms


@pytest.mark.parametrize("fps", [30, 60])
@pytest.mark.parametrize("source_id", [there.GOOD_VIDEO, there.UPSCALE_OF_IT])
async def test_an_interpolation_has_the_rate_asked_for(source_id: str, fps: int) -> None:
    """POST videos/interpolate, 2 April 2026."""
    async with open_api() as api:
        source = (await api.get(f"{AT}/videos/{source_id}"))["response"]
        body = {"jobid": source_id, "fps": fps}
        result = (await finished(api, "videos/interpolate", body))["response"]

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
        body = {"jobid": there.GOOD_IMAGE, "imageIndex": 3, "upscaleResolution": resolution}
        job = await finished(api, "images/upscale", body)

        image = await load(api, job["response"]["images"][0]["imageUrl"])

        record = job["response"]["images"][0]
        assert size == (record["width"], record["height"]) == (image.width, image.height)
        assert 1 == len(job["response"]["images"])


async def test_every_finished_source_shows_what_it_has() -> None:
    """A promise of every record: the size it names is the size of the file it links to."""
    async with open_api() as api:
        for source in there.SOURCES:
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
        job = await api.get(f"{AT}/videos/{there.GOOD_VIDEO}")

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
        job = await api.get(f"{AT}/images/{there.GOOD_IMAGE}")

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
        job = await finished(api, "videos/upscale", {"jobid": there.MODERATED_VIDEO})

        assert ("failed", "fail_code: 2043") == (job["status"], job["error"])
        assert job["errorDetails"].startswith("OutputVi")
        assert "2026-05-28T20:26:44.000Z" == job["updated"]
        assert "response" not in job


async def test_a_job_is_done_when_its_time_is_up_and_not_before() -> None:
    async with open_api() as api:
        job = await api.post(f"{AT}/videos/upscale", {"jobid": there.GOOD_VIDEO})
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
        path = "videos/interpolate"
        video = await finished(api, path, {"jobid": "YOUR_COMPLETED_VIDEO_JOBID", "fps": 60})
        upscale = await finished(api, path, {"jobid": "YOUR_COMPLETED_UPSCALE_JOBID", "fps": 30})

        assert (640, 1280) == (video["response"]["width"], upscale["response"]["width"])


async def test_what_the_caller_wants_back_is_echoed() -> None:
    """POST videos/upscale, 2 April 2026: replyRef is "passed back"; where is assumed.

    The echo of images/upscale (2 March 2026) holds no strength.
    """
    async with open_api() as api:
        body = {"jobid": there.GOOD_IMAGE, "replyRef": "mine", "detailStrength": 0.2, "maxJobs": 3}

        job = await api.post(f"{AT}/images/upscale", body)

        assert {
            "jobid": there.GOOD_IMAGE,
            "imageIndex": 0,
            "resolution": "4k",
            "replyRef": "mine",
        } == job["request"]
