"""The sandbox's Google Flow job records and telemetry."""

import asyncio
from typing import Any

import pytest

from mcp_server.sandbox.google_flow import sources
from tests.sandbox.api import EPOCH_S, JOB_S, Api, open_api

AT = "/v1/google-flow"
UPSCALE = f"{AT}/videos/upscale"


async def submitted(api: Api, source_id: str = sources.GOOD_VIDEO, **more: object) -> Any:
    body = {"mediaGenerationId": source_id, "async": True, **more}
    return (await api.post(UPSCALE, body, status=201))["jobid"]


async def test_a_job_is_created_started_and_completed() -> None:
    """GET jobs/jobId, 20 May 2026: the words; when each comes is assumed."""
    async with open_api() as api:
        jobid = await submitted(api)
        words = []

        for _ in range(5):
            words.append((await api.get(f"{AT}/jobs/{jobid}"))["status"])
            await asyncio.sleep(JOB_S / 4)

        assert ["created", "started", "started", "started", "completed"] == words


async def test_a_completed_record_holds_both_shapes() -> None:
    """POST videos/upscale, 25 May 2026: the fields; that GET jobs/jobId has them is assumed."""
    async with open_api() as api:
        jobid = await submitted(api, resolution="4K")
        await asyncio.sleep(JOB_S)

        record = await api.get(f"{AT}/jobs/{jobid}")

        assert ("2026-05-28T20:26:44.000Z", "video") == (record["updated"], record["type"])
        media, operation = record["response"]["media"][0], record["response"]["operations"][0]
        assert "veo_3_1_upsampler_4k" == media["video"]["generatedVideo"]["model"]
        upsample = media["video"]["generatedVideo"]["upsampleMetadata"]
        assert {"videoUpsampleResolution": "VIDEO_UPSAMPLE_RESOLUTION_4K"} == upsample
        successful = "MEDIA_GENERATION_STATUS_SUCCESSFUL"
        assert successful == media["mediaMetadata"]["mediaStatus"]["mediaGenerationStatus"]
        assert successful == operation["status"]
        assert media["mediaGenerationId"] == operation["mediaGenerationId"]
        assert media["mediaGenerationId"].endswith("_upsampled")
        assert operation["operation"]["metadata"]["video"]["fifeUrl"] == media["videoUrl"]


async def test_a_failed_job_says_why() -> None:
    """GET jobs/jobId's Model, copied on 22 July 2026; the synchronous status is assumed."""
    async with open_api() as api:
        jobid = await submitted(api, sources.FAILING_VIDEO)
        await asyncio.sleep(JOB_S)
        record = await api.get(f"{AT}/jobs/{jobid}")
        body = {"mediaGenerationId": sources.FAILING_VIDEO}
        answer = await api.post(UPSCALE, body, status=500)

        assert ("failed", "API error: 500", 500) == (
            record["status"],
            record["error"],
            record["code"],
        )
        assert 500 == record["response"]["error"]["code"]
        assert {"jobId", "error", "errorDetails", "code", "response"} == answer.keys()


async def test_a_completed_job_may_hold_a_failed_media() -> None:
    """POST videos/upscale, 25 May 2026: mediaGenerationStatus ..._FAILED with `error`."""
    async with open_api() as api:
        answer = await api.post(UPSCALE, {"mediaGenerationId": sources.FAILING_MEDIA})

        status = answer["media"][0]["mediaMetadata"]["mediaStatus"]
        assert "MEDIA_GENERATION_STATUS_FAILED" == status["mediaGenerationStatus"]
        assert "PUBLIC_ERROR_UNSAFE_GENERATION" == status["error"]["message"]
        assert "videoUrl" not in answer["media"][0]
        assert "MEDIA_GENERATION_STATUS_FAILED" == answer["operations"][0]["status"]


async def test_what_failed_is_not_cached() -> None:
    async with open_api() as api:
        for source_id, status in ((sources.FAILING_MEDIA, 200), (sources.FAILING_VIDEO, 500)):
            body = {"mediaGenerationId": source_id}
            await api.post(UPSCALE, body, status=status)
            await api.post(UPSCALE, body, status=status)

        assert 4 == len(api.sandbox.accepted)


async def test_a_legacy_record_holds_operations_only() -> None:
    """Notes of 22 May 2026: "`response.media[]` (preferred) or `response.operations[]`"."""
    async with open_api() as api:
        jobid = await submitted(api, sources.LEGACY_VIDEO)
        await asyncio.sleep(JOB_S)

        response = (await api.get(f"{AT}/jobs/{jobid}"))["response"]

        assert "media" not in response
        assert response["operations"][0]["operation"]["metadata"]["video"]["fifeUrl"]


@pytest.mark.parametrize("path", ["/jobs", "/jobs/", "/jobs/?options=summary"])
async def test_the_summary_counts(path: str) -> None:
    """GET jobs, 15 June 2026, as copied on 22 July 2026."""
    async with open_api() as api:
        await submitted(api, sources.FAILING_VIDEO)
        await submitted(api)
        await asyncio.sleep(JOB_S)
        await submitted(api, sources.SECOND_VIDEO)

        jobs = await api.get(AT + path)

        expected = {
            "executing": 1,
            "completed": 1,
            "failed": 1,
            "rateLimited": 0,
            "avgResponseTime": JOB_S * 1000,
            "score": 11,
        }
        assert {"summary": {"user@example.com": expected}} == jobs["videos"] == jobs["combined"]
        assert ["user@example.com"] == jobs["emails"]


async def test_what_executes_is_listed_by_id() -> None:
    """GET jobs, 15 June 2026, as copied on 22 July 2026."""
    async with open_api() as api:
        jobid = await submitted(api)
        await asyncio.sleep(2)

        jobs = await api.get(f"{AT}/jobs/?options=executing")

        entry = {"email": "user@example.com", "timestamp": EPOCH_S * 1000, "elapsed": "00:02"}
        assert {jobid: entry} == jobs["videos"]["executing"]


async def test_the_history_holds_ten_jobs_of_fifteen_minutes() -> None:
    """GET jobs, 15 June 2026."""
    async with open_api() as api:
        old = await submitted(api)
        await asyncio.sleep(60)
        ids = [await submitted(api, sources.THIRD_VIDEO, resolution="4K") for _ in range(11)]
        await asyncio.sleep(14 * 60)

        jobs = await api.get(f"{AT}/jobs/?options=history")
        await asyncio.sleep(10 * 60)
        later = await api.get(f"{AT}/jobs/?options=history")

        history = jobs["videos"]["history"]
        assert ids[:10] == list(history)
        assert old not in history
        assert {} == later["videos"]["history"]
        entry = {
            "email": "user@example.com",
            "timestamp": (EPOCH_S + 60) * 1000,
            "httpStatus": 200,
            "responseTime": JOB_S * 1000,
        }
        assert entry == history[ids[0]]


async def test_other_options_are_refused() -> None:
    """Assumed."""
    async with open_api() as api:
        await api.get(f"{AT}/jobs/?options=all", status=400)
