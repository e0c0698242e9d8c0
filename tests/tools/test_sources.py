"""The source of a paid call: which id is sent for the id that was given."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.services.scripted import Scripted
from tests.support.harness import GOOD, Fault, Harness, running

VIDEO = GOOD["dreamina", "video"]
FLOW_IMAGE = GOOD["google-flow", "image"]
FLOW_OWNER = "user:12345-email:75736572406578616d706c652e636f6d"
FLOW_JOB = "j1731859234567890123v-u12345-email:user@example.com-bot:google-flow"


async def named_by_us(h: Harness) -> str:
    """The id of ours of a job that its vendor has not named yet."""
    h.network.faults = [Fault(after_s=60)]
    reply = await h.call("upscale_video", source=VIDEO)
    assert reply.job["status"] == "submitting"
    return str(reply.job["job_id"])


async def test_an_id_of_ours_is_the_vendors_job(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        ours = await named_by_us(h)
        await asyncio.sleep(60)
        job = (await h.call("get_job", job_id=ours, wait_seconds=50)).job
        reply = await h.call("interpolate_video", source=ours, fps=60)

        assert not ours == job["job_id"] == reply.job["source"]
        assert job["job_id"] == json.loads(h.posts()[-1].content)["jobid"]


async def test_a_job_that_its_vendor_has_not_named_is_waited_for(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        ours = await named_by_us(h)
        reply = await h.call("interpolate_video", source=ours, fps=60)

        assert ("not_ready", "wait_then_retry") == (reply.error["code"], reply.error["next_action"])
        assert 1 == len(h.posts())


async def test_an_id_of_ours_that_was_never_given_is_looked_up_in_the_list(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        reply = await h.call("upscale_video", source=f"useapi-mcp:{'a' * 26}")

        assert ("unknown_id", "list_jobs") == (reply.error["code"], reply.error["next_action"])
        assert [] == h.network.sent


async def test_a_result_without_an_id_of_its_own_is_no_source(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        done = await h.call("upscale_image", source=FLOW_IMAGE)
        job = (await h.call("get_job", job_id=done.job["job_id"], wait_seconds=50)).job
        reply = await h.call("upscale_image", source=job["job_id"], resolution="4k")

        assert "unsupported" == reply.error["code"]
        assert "no media_id" in reply.text
        assert 1 == len(h.posts())


async def flow_job(tmp_path: Path, **record: Any) -> tuple[Harness, Any, Scripted]:
    vendor = Scripted({f"GET /v1/google-flow/jobs/{FLOW_JOB}": {"request": {}, **record}})
    async with running(tmp_path, vendor=vendor) as h:
        return h, await h.call("upscale_video", source=FLOW_JOB), vendor


def made(*names: str) -> dict[str, Any]:
    media = [
        {
            "mediaGenerationId": f"{FLOW_OWNER}-video:{name}",
            "videoUrl": "https://flow-content.google/x.mp4",
        }
        for name in names
    ]
    return {"type": "video", "status": "completed", "response": {"media": media}}


async def test_a_job_of_several_clips_names_them(tmp_path: Path) -> None:
    h, reply, _ = await flow_job(tmp_path, **made("one", "two"))

    assert "unsupported" == reply.error["code"]
    assert f"{FLOW_OWNER}-video:one, {FLOW_OWNER}-video:two" in reply.text
    assert [] == h.posts()


async def test_a_job_that_failed_is_no_source(tmp_path: Path) -> None:
    h, reply, _ = await flow_job(tmp_path, status="failed", error="no")

    assert "unsupported" == reply.error["code"]
    assert "is failed" in reply.text
    assert [] == h.posts()


async def test_a_job_made_elsewhere_is_its_clip(tmp_path: Path) -> None:
    *_, vendor = await flow_job(tmp_path, **made("one"))

    assert f"{FLOW_OWNER}-video:one" == vendor.bodies[0]["mediaGenerationId"]
