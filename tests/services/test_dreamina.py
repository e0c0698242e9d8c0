"""Dreamina: its letters, its once-only rule, its records and errors."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from mcp_server.errors import NotFoundError, RequestError
from mcp_server.media.files import OutputFolder
from mcp_server.models import OperationName
from mcp_server.services.base import Look, Order
from mcp_server.services.registry import service_named
from mcp_server.settings import Settings
from mcp_server.upstream.client import Upstream
from mcp_server.upstream.responses import ServiceInfo
from tests.services.scripted import Says, Scripted
from tests.support.harness import GOOD, TOKEN, Fault, Network, VirtualClock, running

VIDEO, IMAGE = GOOD["dreamina", "video"], GOOD["dreamina", "image"]
MADE = "/v1/dreamina/videos/upscale"
ACCOUNT = "-u12345-CA:user@example.com-bot:dreamina"
ANOTHER = "is another by its record"
LONG_AGO, LATELY = "2026-01-01T00:00:00Z", "2026-05-28T20:26:40Z"


def source(number: int, letter: str = "v", region: str = "CA") -> str:
    return f"j0302140530123456{number}{letter}-u12345-{region}:user@example.com-bot:dreamina"


UPSCALE = source(900, "V")
MADE_JOB = {"jobid": UPSCALE, "type": "video-upscale", "status": "created", "created": LATELY}


def record(**changes: Any) -> dict[str, Any]:
    return {
        **MADE_JOB,
        "model": "seedance-2.0",
        "request": {"jobid": VIDEO},
        "response": {"forecastCost": 30},
        "code": 200,
        **changes,
    }


COMPLETED = record(
    status="completed",
    updated="2026-05-28T20:28:00Z",
    response={
        "videoUrl": "https://v3-web.douyinvod.com/x.mp4?sig=1",
        "coverUrl": "https://p9.douyinpic.com/x.jpg",
        "width": 2560,
        "height": 1440,
        "durationMs": 5042,
        "forecastCost": 30,
    },
)


async def read(folder: Path, answer: Any, job_id: str = UPSCALE) -> Any:
    """What get_job says where the vendor's record is this."""
    place = "images" if job_id.partition("-")[0][-1] in "iI" else "videos"
    vendor = Scripted({f"GET /v1/dreamina/{place}/{job_id}": answer})
    async with running(folder, vendor=vendor) as server:
        return await server.call("get_job", job_id=job_id)


# Letters


@pytest.mark.parametrize(
    ("operation", "letter", "taken"),
    [
        ("upscale_video", "v", True),
        ("upscale_video", "V", False),
        ("upscale_video", "F", False),
        ("upscale_video", "i", False),
        ("upscale_video", "I", False),
        ("upscale_video", "d", True),  # a kind that is not documented: Dreamina may judge
        ("interpolate_video", "v", True),
        ("interpolate_video", "V", True),
        ("interpolate_video", "F", False),
        ("interpolate_video", "i", False),
        ("interpolate_video", "I", False),
        ("interpolate_video", "d", True),
        ("upscale_image", "v", False),
        ("upscale_image", "V", False),
        ("upscale_image", "F", False),
        ("upscale_image", "i", True),
        ("upscale_image", "I", False),
        ("upscale_image", "d", True),
    ],
)
async def test_the_letter_of_an_id_says_what_can_be_made_of_it(
    tmp_path: Path, operation: str, letter: str, taken: bool
) -> None:
    """POST videos/upscale, videos/interpolate (2 April 2026), images/upscale (2 March 2026)."""
    extra = {"fps": 60} if operation == "interpolate_video" else {}
    async with running(tmp_path) as server:
        reply = await server.call(operation, source=source(999, letter), **extra)

        sent = len(server.posts())
    assert (1 if taken else 0) == sent
    assert ("not_found" if taken else "unsupported") == reply.error["code"]


@pytest.mark.parametrize(
    ("letter", "place", "operation"),
    [
        ("v", "videos", "generate_video"),
        ("V", "videos", "upscale_video"),
        ("F", "videos", "interpolate_video"),
        ("i", "images", "generate_image"),
        ("I", "images", "upscale_image"),
        ("d", "videos", "generate_video"),
        ("vx", "videos", "generate_video"),
    ],
)
async def test_the_letter_of_an_id_says_where_it_is_read(
    tmp_path: Path, letter: str, place: str, operation: str
) -> None:
    job_id = source(900, letter)
    vendor = Scripted({f"GET /v1/dreamina/{place}/{job_id}": {"status": "created"}})
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("get_job", job_id=job_id)

    assert ("running", operation) == (reply.job["status"], reply.job["operation"])


# Orders


@pytest.mark.parametrize(("word", "sent"), [("4K", "4k"), ("2k", "2k"), ("8K", "8k")])
async def test_a_resolution_is_sent_as_dreamina_writes_it(
    tmp_path: Path, word: str, sent: str
) -> None:
    async with running(tmp_path) as server:
        await server.call(
            "upscale_image",
            source=IMAGE,
            resolution=word,
            image_index=2,
            original_image_strength=0.25,
            detail_strength=1,
            max_jobs=50,
            reply_ref="x",
        )

        body = server.sandbox.accepted[0].body
    assert {
        "jobid": IMAGE,
        "upscaleResolution": sent,
        "imageIndex": 2,
        "originalImageStrength": 0.25,
        "detailStrength": 1,
        "maxJobs": 50,
        "replyRef": "x",
    } == body


async def test_the_forecast_is_told_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        upscaled = await server.call("upscale_video", source=VIDEO)
        smooth = await server.call("interpolate_video", source=source(790), fps=60)
        image = await server.call("upscale_image", source=IMAGE)

    forecasts = [reply.job["forecast_credits"] for reply in (upscaled, smooth, image)]
    assert [30, 66, 0] == forecasts


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"jobid": 3},
        {"jobid": "j1"},
        {"jobid": source(900, "F")},  # of another kind
        {"jobid": source(900, "V", "US")},  # of another account
        Says([]),
        "x",
    ],
)
async def test_an_answer_without_a_job_is_looked_into_and_not_believed(
    tmp_path: Path, answer: Any
) -> None:
    vendor = Scripted(
        {
            f"POST {MADE}": answer,
            "GET /v1/dreamina/scheduler": {
                "executing": {"CA:user@example.com": [{"jobid": UPSCALE}]},
                "total": 1,
            },
            f"GET /v1/dreamina/videos/{UPSCALE}": record(),
        }
    )
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=VIDEO)

    assert (UPSCALE, "running") == (reply.job["job_id"], reply.job["status"])
    assert 1 == vendor.asked.count(f"POST {MADE}")


async def test_a_source_is_not_taken_for_its_own_upscale(tmp_path: Path) -> None:
    """A kind of job that is not known yet may be upscaled, and may be an upscale."""
    unknown = source(900, "d")
    vendor = Scripted({f"POST {MADE}": {"jobid": unknown}})
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=unknown)

    assert unknown != reply.job["job_id"]


async def test_a_job_is_told_with_the_source_that_was_given(tmp_path: Path) -> None:
    vendor = Scripted({f"POST {MADE}": record(request={"jobid": source(111)})})
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=VIDEO)

    assert (UPSCALE, VIDEO) == (reply.job["job_id"], reply.job["source"])


# Errors


@pytest.mark.parametrize(
    ("number", "code", "status", "says"),
    [
        (801, "not_ready", 400, "not finished yet. Wait for it with get_job"),
        (402, "no_subscription", 402, "Renew it on useapi.net"),
        (412, "no_credits", 412, "too few credits"),
        (429, "rate_limited", 429, "at capacity"),
        (430, "rate_limited", 429, "at capacity"),
        (596, "account_error", 596, "Reconnect the account"),
        (999, "not_found", 404, "the source job is not known"),
    ],
)
async def test_a_documented_error_says_what_to_do(
    tmp_path: Path, number: int, code: str, status: int, says: str
) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("upscale_video", source=source(number))

        assert 1 == len(server.posts())
    assert (code, status) == (reply.error["code"], reply.error["http_status"])
    assert says in reply.text


async def test_a_source_that_failed_is_not_waited_for(tmp_path: Path) -> None:
    said = "Source video job is failed, must be completed"
    vendor = Scripted({f"POST {MADE}": Says({"error": said}, 400)})
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=VIDEO)

    assert "refused" == reply.error["code"]
    assert "the source job failed. Use another source." in reply.text
    assert "Wait" not in reply.text


@pytest.mark.parametrize(("number", "seconds"), [(429, 10), (430, 60)])
async def test_a_full_account_says_how_long_to_wait(
    tmp_path: Path, number: int, seconds: int
) -> None:
    """The vendor's own client waits 10 s (19 July 2026), unless the answer names a wait."""
    async with running(tmp_path) as server:
        reply = await server.call("upscale_video", source=source(number))

    assert seconds == reply.error["retry_after_seconds"]


async def test_a_short_wait_is_obeyed_by_the_server_itself(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("upscale_video", source=source(431))

        assert "running" == reply.job["status"]
        assert 2 == len(server.posts())


@pytest.mark.parametrize("number", [500, 503])
async def test_an_outage_is_never_paid_for_three_times(tmp_path: Path, number: int) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("upscale_video", source=source(number))

        assert "unconfirmed" == reply.job["status"]
        assert 2 == len(server.posts())


async def test_a_job_that_fails_tells_why(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        started = await server.call("upscale_video", source=source(804))

        reply = await server.call("get_job", job_id=started.job["job_id"], wait_seconds=50)

    assert ("failed", "moderated") == (reply.job["status"], reply.job["failure"]["code"])
    assert "fail_code: 2043" in reply.job["failure"]["message"]


# Once only


async def test_what_was_upscaled_before_is_returned_and_not_paid_for(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("upscale_video", source=source(802))

        assert [] == server.sandbox.accepted
    assert (source(802, "V"), "completed", True) == (
        reply.job["job_id"],
        reply.job["status"],
        reply.job["reused"],
    )


async def test_what_was_interpolated_before_is_returned_if_it_is_what_was_asked(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as server:
        same = await server.call("interpolate_video", source=source(803), fps=60)
        other = await server.call("interpolate_video", source=source(803), fps=30)

        assert [] == server.sandbox.accepted
    assert (True, "interpolate_video") == (same.job["reused"], same.job["operation"])
    assert ("refused", same.job["job_id"]) == (other.error["code"], other.error["job_id"])
    assert "to 60 fps" in other.text
    assert f"get_job(job_id={same.job['job_id']})" in other.text


@pytest.mark.parametrize(
    "named",
    [
        "",
        "nothing we know",
        "../../accounts",
        source(1, "F"),  # of another kind
        UPSCALE.replace("dreamina", "elsewhere"),
        source(900, "V", "US"),  # of another account
    ],
)
async def test_a_refusal_that_names_no_job_of_this_kind_stands(tmp_path: Path, named: str) -> None:
    refusal = Says({"error": f"Source video already upscaled: {named}"}, 400)
    vendor = Scripted({f"POST {MADE}": refusal})
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=VIDEO)

    assert "refused" == reply.error["code"]
    assert "each can be only once" in reply.text
    assert [f"POST {MADE}"] == vendor.asked


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Says({"error": "Job not found"}, 404), "It keeps the job no longer."),
        (record(request={"jobid": source(111)}), ANOTHER),
        (record(request={}, type="video"), ANOTHER),
    ],
    ids=range(3),
)
async def test_a_refusal_names_its_job_where_that_is_gone_or_another(
    tmp_path: Path, answer: Any, says: str
) -> None:
    vendor = Scripted(
        {
            f"POST {MADE}": Says({"error": f"Source video already upscaled: {UPSCALE}"}, 400),
            f"GET /v1/dreamina/videos/{UPSCALE}": answer,
        }
    )
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=VIDEO)

    assert ("refused", 400, UPSCALE) == (
        reply.error["code"],
        reply.error["http_status"],
        reply.error["job_id"],
    )
    assert says in reply.text
    assert 2 <= reply.text.count(UPSCALE)  # in the sentence too, not only in the data


@pytest.mark.parametrize("answer", [Says({"error": "x"}, 500), Says(b"<html>", 523), Says([]), {}])
async def test_a_job_named_in_a_refusal_that_can_not_be_read_leaves_it_unconfirmed(
    tmp_path: Path, answer: Any
) -> None:
    vendor = Scripted(
        {
            f"POST {MADE}": Says({"error": f"Source video already upscaled: {UPSCALE}"}, 400),
            f"GET /v1/dreamina/videos/{UPSCALE}": answer,
        }
    )
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=VIDEO)

    assert "unconfirmed" == reply.job["status"]
    assert UPSCALE in reply.text


@pytest.mark.parametrize(
    ("tool", "letter", "answer", "says"),
    [
        ("interpolate_video", "F", {"request": {"jobid": source(111), "fps": 60}}, ANOTHER),
        ("interpolate_video", "F", {"request": {"fps": 60}, "type": "video"}, ANOTHER),
        ("interpolate_video", "F", {"request": {"jobid": VIDEO, "fps": 60}}, "to 60 fps"),
        ("upscale_image", "I", {"request": {"jobid": IMAGE, "resolution": "2k"}}, ANOTHER),
    ],
)
async def test_a_refusal_says_what_is_known_of_the_job_that_it_names(
    tmp_path: Path, tool: str, letter: str, answer: dict[str, Any], says: str
) -> None:
    kind, region = ("images", "US") if letter == "I" else ("videos", "CA")
    named = source(900, letter, region)
    path = "images/upscale" if letter == "I" else "videos/interpolate"
    types = {"F": "video-interpolate", "I": "upscale"}
    vendor = Scripted(
        {
            f"POST /v1/dreamina/{path}": Says({"error": f"It was already upscaled: {named}"}, 400),
            f"GET /v1/dreamina/{kind}/{named}": record(
                **{"jobid": named, "type": types[letter], **answer}
            ),
        }
    )
    given = {"source": IMAGE} if letter == "I" else {"source": VIDEO, "fps": 30}
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call(tool, **given)

    assert ("refused", named) == (reply.error["code"], reply.error["job_id"])
    assert says in reply.text


@pytest.mark.parametrize(
    "answer", [record(request={}), MADE_JOB, record(type="video"), record(type="odd")]
)
async def test_a_job_that_echoes_nothing_else_is_believed_to_be_the_one_it_is_named_for(
    tmp_path: Path, answer: Any
) -> None:
    vendor = Scripted(
        {
            f"POST {MADE}": Says({"error": f"Source video already upscaled: {UPSCALE}"}, 400),
            f"GET /v1/dreamina/videos/{UPSCALE}": answer,
        }
    )
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=VIDEO)

    assert (UPSCALE, "upscale_video", VIDEO, True) == (
        reply.job["job_id"],
        reply.job["operation"],
        reply.job["source"],
        reply.job["reused"],
    )


@pytest.mark.parametrize(("echo", "reused"), [({"fps": 30}, True), ({"fps": 60}, False)])
async def test_an_interpolation_that_echoes_no_source_must_echo_its_rate(
    tmp_path: Path, echo: dict[str, int], reused: bool
) -> None:
    smooth = source(900, "F")
    made = record(jobid=smooth, type="video-interpolate", request=echo)
    vendor = Scripted(
        {
            "POST /v1/dreamina/videos/interpolate": Says(
                {"error": f"Source video already interpolated: {smooth}"}, 400
            ),
            f"GET /v1/dreamina/videos/{smooth}": made,
        }
    )
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("interpolate_video", source=VIDEO, fps=30)

    assert reused is not reply.is_error
    assert smooth == (reply.job if reused else reply.error)["job_id"]


@pytest.mark.parametrize("echo", [{}, {"jobid": VIDEO}, {"jobid": VIDEO, "fps": "sixty"}])
async def test_an_interpolation_that_does_not_say_its_rate_may_be_the_one(
    tmp_path: Path, echo: dict[str, str]
) -> None:
    smooth = source(900, "F")
    vendor = Scripted(
        {
            "POST /v1/dreamina/videos/interpolate": Says(
                {"error": f"Source video already interpolated: {smooth}"}, 400
            ),
            f"GET /v1/dreamina/videos/{smooth}": record(
                jobid=smooth, type="video-interpolate", request=echo
            ),
        }
    )
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("interpolate_video", source=VIDEO, fps=30)

    assert "unconfirmed" == reply.job["status"]
    assert smooth in reply.text


# Lost answers


async def test_a_lost_answer_is_found_among_the_running_jobs(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=30) as server:
        reply = await server.call("upscale_video", source=source(805))

        assert 1 == len(server.posts())
        assert server.sandbox.accepted[0].job_id == reply.job["job_id"]
    assert "reused" not in reply.job


def scheduler(*entries: Any) -> dict[str, Any]:
    return {"executing": {"CA:user@example.com": list(entries)}, "total": len(entries)}


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ({"resolution": "4k"}, True),
        ({}, True),  # 4k is the default
        ({"resolution": "2k"}, False),
        ({"image_index": 1}, False),
        ({"detail_strength": 0.5}, True),
        ({"detail_strength": 0.6}, False),
    ],
)
async def test_a_running_job_is_ours_only_if_it_makes_what_was_asked(
    tmp_path: Path, order: dict[str, Any], found: bool
) -> None:
    """The echo is called `resolution`, what is sent `upscaleResolution` (images/upscale)."""
    big = source(900, "I", "US")
    vendor = Scripted(
        {
            "POST /v1/dreamina/images/upscale": Says(b"<html>", 524),
            "GET /v1/dreamina/scheduler": [scheduler(), scheduler({"jobid": big})],
            f"GET /v1/dreamina/images/{big}": record(
                jobid=big,
                type="upscale",
                request={"jobid": IMAGE, "imageIndex": 0, "resolution": "4k"},
            ),
        }
    )
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_image", source=IMAGE, **order)
        if not found:
            reply = await server.call("get_job", job_id=reply.job["job_id"], wait_seconds=50)

    assert ("running" if found else "unconfirmed", found) == (
        reply.job["status"],
        reply.job["job_id"] == big,
    )


@pytest.mark.parametrize(
    ("resolution", "found"), [("4k", True), ("4K", True), ("1080p", False), (None, None)]
)
async def test_a_lost_draft_is_found_finished_in_its_resolution(
    tmp_path: Path, resolution: str | None, found: bool | None
) -> None:
    """How its echo writes a resolution is not documented."""
    final = source(901)
    request = {"jobid": VIDEO} | ({"resolution": resolution} if resolution else {})
    vendor = Scripted(
        {
            f"GET /v1/dreamina/videos/{VIDEO}": {
                "status": "completed",
                "model": "seedance-2.5-draft",
            },
            "POST /v1/dreamina/videos/full-quality": Says(b"<html>", 524),
            "GET /v1/dreamina/scheduler": [scheduler(), scheduler({"jobid": final})],
            f"GET /v1/dreamina/videos/{final}": {"status": "created", "request": request},
        }
    )
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=VIDEO, resolution="4K")

    assert (reply.job["job_id"] == final) is bool(found)


async def test_what_runs_for_others_is_not_even_read(tmp_path: Path) -> None:
    others = ({"jobid": source(901, "F")}, {"jobid": source(902, "V", "US")})
    vendor = Scripted(
        {
            f"POST {MADE}": [Says({"error": "x"}, 500), record()],
            "GET /v1/dreamina/scheduler": scheduler(*others),
        }
    )
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=VIDEO)

    looks = ["GET /v1/dreamina/scheduler"] * 3
    assert [f"POST {MADE}", *looks, f"POST {MADE}"] == vendor.asked
    assert "running" == reply.job["status"]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        Says([]),
        {"executing": []},
        {"executing": {"CA:user@example.com": None}},
        Says({"error": "x"}, 500),
        *(scheduler(odd) for odd in ({"jobid": "j1"}, {"jobid": 3}, {}, "text")),
    ],
)
async def test_a_look_that_shows_nothing_proves_nothing(tmp_path: Path, answer: Any) -> None:
    vendor = Scripted(
        {f"POST {MADE}": Says({"error": "x"}, 500), "GET /v1/dreamina/scheduler": answer}
    )
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=VIDEO)

    assert "unconfirmed" == reply.job["status"]
    assert 1 == vendor.asked.count(f"POST {MADE}")


@pytest.mark.parametrize(("made_at", "reused"), [(LATELY, None), (LONG_AGO, True), ("?", None)])
async def test_a_job_older_than_the_order_is_told_as_that(
    tmp_path: Path, made_at: str, reused: bool | None
) -> None:
    vendor = Scripted(
        {
            f"POST {MADE}": Says({"error": "x"}, 500),
            "GET /v1/dreamina/scheduler": scheduler({"jobid": UPSCALE}),
            f"GET /v1/dreamina/videos/{UPSCALE}": record(created=made_at),
        }
    )
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=VIDEO)

    assert (UPSCALE, reused) == (reply.job["job_id"], reply.job.get("reused"))


# Records


async def test_a_finished_video_is_told_as_its_record_says(tmp_path: Path) -> None:
    reply = await read(tmp_path, COMPLETED)

    assert {
        "job_id": UPSCALE,
        "service": "dreamina",
        "operation": "upscale_video",
        "status": "completed",
        "source": VIDEO,
        "model": "seedance-2.0",
        "media": [
            {
                "kind": "video",
                "url": "https://v3-web.douyinvod.com/x.mp4?sig=1",
                "width": 2560,
                "height": 1440,
                "duration_ms": 5042,
                "thumbnail_url": "https://p9.douyinpic.com/x.jpg",
            }
        ],
        "forecast_credits": 30,
        "created_at": "2026-05-28T20:26:40.000Z",
        "updated_at": "2026-05-28T20:28:00.000Z",
    } == reply.record


async def test_an_interpolation_tells_its_frame_rate(tmp_path: Path) -> None:
    smooth = source(900, "F")
    finished = {**COMPLETED, "type": "video-interpolate", "request": {"jobid": VIDEO, "fps": 60}}

    reply = await read(tmp_path, finished, smooth)

    assert ("interpolate_video", 60) == (
        reply.job["operation"],
        reply.job["media"][0]["frame_rate"],
    )


async def test_a_link_that_is_missing_is_the_watermarked_one(tmp_path: Path) -> None:
    """The vendor's own script of 19 July 2026 falls back to it."""
    link = "https://v3-web.douyinvod.com/w.mp4"

    reply = await read(tmp_path, record(status="completed", response={"videoUrlWatermarked": link}))

    assert link == reply.job["media"][0]["url"]


async def test_all_images_of_a_job_are_told(tmp_path: Path) -> None:
    images = [
        {
            "imageUrl": f"https://p9-sign.douyinpic.com/{n}.jpeg?x=1",
            "width": 2560,
            "height": 1440,
            "format": form,
        }
        for n, form in enumerate(["jpeg", "webp", "heif", ["png"]])
    ]
    done = record(type="image", status="completed", response={"images": [*images, None]})

    reply = await read(tmp_path, done, source(900, "i", "US"))

    types = [item.get("mime_type") for item in reply.job["media"]]
    assert ["image/jpeg", "image/webp", None, None] == types
    assert {("image", 2560)} == {(item["kind"], item["width"]) for item in reply.job["media"]}
    assert 4 == len(reply.text.splitlines()[1:])


@pytest.mark.parametrize("word", ["created", "queued", "processing", "Completed", "", "cancelled"])
async def test_a_word_that_is_no_end_is_running(tmp_path: Path, word: str) -> None:
    reply = await read(tmp_path, record(status=word))

    assert "running" == reply.job["status"]
    assert "media" not in reply.job


@pytest.mark.parametrize(
    ("fields", "status", "code", "message"),
    [
        (
            {"error": "fail_code: 2043", "errorDetails": "OutputVideoRisk"},
            "failed",
            "moderated",
            "Dreamina's moderation refused it: fail_code: 2043: OutputVideoRisk",
        ),
        (
            {"error": "fail_code: 1", "errorDetails": "it did not pass moderation"},
            "failed",
            "moderated",
            "Dreamina's moderation refused it: fail_code: 1: it did not pass moderation",
        ),
        ({"error": "fail_code: 20431"}, "failed", "vendor_failed", "fail_code: 20431"),
        ({"error": "Cancelled by user"}, "cancelled", "cancelled", "Cancelled by user"),
        ({"errorDetails": "cancelled by user"}, "cancelled", "cancelled", "cancelled by user"),
        ({"error": {"message": "m"}}, "failed", "vendor_failed", "m"),
        ({}, "failed", "vendor_failed", "Dreamina gave no reason."),
        (
            {"error": "of jane@example.com\x1b[2J"},
            "failed",
            "vendor_failed",
            "of ***@***",
        ),
    ],
)
async def test_why_a_job_failed_is_told_as_data(
    tmp_path: Path, fields: dict[str, Any], status: str, code: str, message: str
) -> None:
    reply = await read(tmp_path, record(status="failed", **fields))

    assert not reply.is_error
    assert status == reply.job["status"]
    assert {"code": code, "message": message} == reply.job["failure"]


@pytest.mark.parametrize("answer", [{}, Says([]), "x", {"status": 3}, {"error": "odd"}])
async def test_an_answer_that_is_no_record_is_unexpected(tmp_path: Path, answer: Any) -> None:
    reply = await read(tmp_path, answer)

    assert "unexpected_answer" == reply.error["code"]


async def test_a_record_of_odd_things_is_told_as_far_as_it_goes(tmp_path: Path) -> None:
    odd = {
        "status": "completed",
        "type": ["x"],
        "model": 3,
        "created": 1780000000,
        "request": {"jobid": "../../x", "fps": "60"},
        "response": {"videoUrl": "javascript:x", "width": -1, "durationMs": 1e300},
    }

    reply = await read(tmp_path, odd)

    assert {
        "job_id": UPSCALE,
        "service": "dreamina",
        "operation": "upscale_video",
        "status": "completed",
        "media": [{"kind": "video"}],
    } == reply.record


# Ends


async def test_a_running_job_is_cancelled_as_far_as_dreamina_does(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=60) as server:
        started = await server.call("upscale_video", source=VIDEO)

        reply = await server.call("cancel_job", job_id=started.job["job_id"])

        methods = [request.method for request in server.network.sent]
    assert "cancelled" == reply.job["status"]
    assert "DELETE" in methods


async def test_a_job_that_left_the_scheduler_is_told_as_it_is(tmp_path: Path) -> None:
    """It ended between the look and the wish: that is no error of the caller's."""
    vendor = Scripted({f"GET /v1/dreamina/videos/{UPSCALE}": [record(), COMPLETED]})
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("cancel_job", job_id=UPSCALE)

    assert f"DELETE /v1/dreamina/scheduler/{UPSCALE}" in vendor.asked
    assert "completed" == reply.job["status"]


@pytest.mark.parametrize(("days", "code"), [(29, "not_found"), (31, "expired")])
async def test_a_job_of_ours_older_than_30_days_has_expired(
    tmp_path: Path, days: int, code: str
) -> None:
    """`Jobs are retained for 30 days` (GET videos/jobid, 2 April 2026)."""
    vendor = Scripted({f"POST {MADE}": record()})
    async with running(tmp_path, vendor=vendor) as server:
        await server.call("upscale_video", source=VIDEO)
        server.clock.jump_s = days * 86_400

        reply = await server.call("get_job", job_id=UPSCALE)

    assert (code, 404) == (reply.error["code"], reply.error["http_status"])


async def test_a_job_of_somebody_elses_that_is_gone_is_not_found(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("get_job", job_id=source(999, "V"))

    assert "not_found" == reply.error["code"]


async def test_a_gateways_page_is_no_end_of_a_job(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=60) as server:
        started = await server.call("upscale_video", source=VIDEO)
        server.network.concerns = lambda request: request.method == "GET"
        page = httpx.Response(523, text="<html>Origin is unreachable</html>")
        server.network.faults = [Fault(then=page), Fault(then=page)]

        reply = await server.call("get_job", job_id=started.job["job_id"])

    assert "running" == reply.job["status"]


async def test_a_read_that_fails_for_another_reason_says_which() -> None:
    class Gone:
        async def get(self, vendor: ServiceInfo, path: str, *, stem: str | None = None) -> None:
            raise NotFoundError(message="Gone.", hint="Look.", http_status=404)

    upstream: Any = Gone()

    with pytest.raises(NotFoundError):
        await service_named("dreamina").read(upstream, UPSCALE, age_s=60.0)


# Generation


FRAME = f"file:{'5' * 64}"
OTHER_FRAME = f"file:{'6' * 64}"
PROMPT = "A red panda sails a paper boat"


def ordered(operation: OperationName = "generate_video", /, **given: Any) -> Order:
    return service_named("dreamina").order(operation, PROMPT, given, {})


def test_frames_go_where_dreamina_takes_them_and_no_ratio_beside_them() -> None:
    """POST videos, 3 April 2026: the ratio is that of the image."""
    order = ordered(start_image=FRAME, end_image=OTHER_FRAME)

    assert {
        "prompt": PROMPT,
        "firstFrameRef": FRAME,
        "endFrameRef": OTHER_FRAME,
    } == order.body
    assert order.result_arguments["aspect_ratio"] is None


def test_an_image_to_go_by_is_the_first_of_them() -> None:
    order = ordered("generate_image", reference_image=FRAME)

    assert {"prompt": PROMPT, "imageRef_1": FRAME} == order.body


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"end_image": FRAME}, "needs a start_image"),
        ({"start_image": FRAME, "aspect_ratio": "16:9"}, "can't go with start_image"),
    ],
)
def test_frames_that_do_not_go_together_are_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        ordered(**given)


@pytest.mark.parametrize(("model", "longest"), [("seedance-2.0", 5_000), ("seedance-2.5", 15_000)])
def test_how_long_a_prompt_may_be_depends_on_the_model(model: str, longest: int) -> None:
    dreamina = service_named("dreamina")

    order = dreamina.order("generate_video", "x" * longest, {"model": model}, {})
    assert order.body["prompt"] == "x" * longest
    with pytest.raises(RequestError, match=f"takes {longest} here"):
        dreamina.order("generate_video", "x" * (longest + 1), {"model": model}, {})


@pytest.mark.parametrize(
    ("given", "price"),
    [
        ({}, 0),
        ({"model": "seedream-4.0"}, 0),
        ({"model": "seedream-5.0-lite"}, 0),
        ({"model": "nano-banana"}, None),
    ],
)
def test_images_of_the_free_models_cost_nothing(given: dict[str, Any], price: float) -> None:
    """POST images, 2 April 2026."""
    assert price == ordered("generate_image", **given).price


@pytest.mark.parametrize(
    ("operation", "given"),
    [
        ("generate_video", {}),
        ("generate_video", {"variation": 2, "resolution": "4K", "model": "seedance-2.0"}),
        ("generate_video", {"start_image": FRAME, "duration_seconds": 7}),
        ("generate_video", {"model": "seedance-2.5", "aspect_ratio": "1:1"}),
        ("generate_image", {"reference_image": FRAME, "resolution": "4k"}),
        ("generate_image", {"model": "gpt-image-2"}),
    ],
)
def test_an_order_made_anew_of_what_it_was_is_the_same(
    operation: OperationName, given: dict[str, Any]
) -> None:
    """As after a restart, of the journal's row."""
    order = ordered(operation, **given)

    again = ordered(
        operation, **{n: value for n, value in order.result_arguments.items() if value is not None}
    )

    assert order.key_arguments == again.key_arguments
    assert order.result_arguments == again.result_arguments
    assert order.price == again.price


MADE_VIDEO = source(901)
OF_PROMPT = {
    "prompt": PROMPT,
    "model": "seedance-2.0",
    "ratio": "16:9",
    "duration": 5,
    "inputMode": "prompt",
}
REF = "CA:user@example.com-image:1"
OF_FRAME = {**OF_PROMPT, "inputMode": "first_frame"}


@pytest.mark.parametrize(
    ("given", "echo", "same"),
    [
        ({}, OF_PROMPT, True),
        ({}, {**OF_PROMPT, "prompt": f" {PROMPT}\n"}, True),
        ({}, {"prompt": PROMPT}, True),
        ({"variation": 9}, OF_PROMPT, True),
        ({"duration_seconds": 7}, {"prompt": PROMPT}, None),
        ({"model": "seedance-2.5"}, {"prompt": PROMPT}, None),
        ({"aspect_ratio": "1:1"}, {"prompt": PROMPT}, None),
        # The documented echo holds no resolution.
        ({"resolution": "1080p"}, OF_PROMPT, None),
        ({"resolution": "4K"}, {**OF_PROMPT, "resolution": "4k"}, True),
        ({"resolution": "4K"}, {**OF_PROMPT, "resolution": "720p"}, False),
        # And of an image only that there is one.
        ({"start_image": FRAME}, OF_FRAME, None),
        (
            {"start_image": FRAME, "end_image": FRAME},
            {**OF_PROMPT, "inputMode": "end_frame"},
            None,
        ),
        ({"start_image": REF}, {**OF_FRAME, "firstFrameRef": REF}, True),
        ({"start_image": REF}, {**OF_FRAME, "firstFrameRef": f"{REF}0"}, False),
        ({}, {**OF_PROMPT, "firstFrameRef": REF}, False),
        ({"start_image": FRAME}, {**OF_FRAME, "firstFrameRef": REF}, None),
        ({"start_image": FRAME}, OF_PROMPT, False),
        ({}, {**OF_PROMPT, "inputMode": "unified_edit"}, False),
        ({}, {**OF_PROMPT, "prompt": f"{PROMPT}, twice"}, False),
        ({}, {**OF_PROMPT, "model": "seedance-2.5"}, False),
        ({}, {**OF_PROMPT, "duration": 6}, False),
        ({}, {**OF_PROMPT, "ratio": "1:1"}, False),
        ({}, {"jobid": VIDEO}, False),
        ({"account": "US:user@example.com"}, OF_PROMPT, False),
        ({"account": "ca:user@example.com"}, OF_PROMPT, True),
    ],
)
async def test_a_lost_video_is_known_by_what_its_record_echoes(
    tmp_path: Path, given: dict[str, Any], echo: dict[str, Any], same: bool | None
) -> None:
    """GET videos/jobid, 2 April 2026: the echo of a generation.

    What is echoed and differs is another's; what shaped it and is not echoed leaves it open.
    """
    look = await looked(tmp_path, ordered(**given), record(type="video", request=echo))

    assert ([MADE_VIDEO] if same else []) == [job.job_id for job in look.jobs]
    assert (same is not None) == look.is_complete


@pytest.mark.parametrize(
    ("resolution", "forecast", "same"),
    [
        ("720p", 115, True),
        ("720p", 85, True),
        ("720p", 285, False),
        ("1080p", 285, True),
        ("1080p", 115, False),
        ("720p", 300, True),  # the default
        ("1080p", 300, None),  # a price that is not known tells nothing
        ("1080p", None, None),
    ],
)
async def test_what_a_lost_video_costs_tells_its_resolution(
    tmp_path: Path, resolution: str, forecast: float | None, same: bool | None
) -> None:
    """Credits a second, 5 October 2026; the echo does not hold the resolution."""
    running_job = record(type="video", request=OF_PROMPT, response={"forecastCost": forecast})
    look = await looked(tmp_path, ordered(resolution=resolution), running_job)

    assert ([MADE_VIDEO] if same else []) == [job.job_id for job in look.jobs]
    assert (same is not None) == look.is_complete


@pytest.mark.parametrize("echo", [None, {}, {"model": "seedance-2.0"}])
async def test_a_record_without_its_prompt_proves_nothing(tmp_path: Path, echo: Any) -> None:
    look = await looked(tmp_path, ordered(), record(type="video", request=echo))

    assert ((), False) == (look.jobs, look.is_complete)


OF_IMAGE_PROMPT = {
    "prompt": PROMPT,
    "model": "seedream-4.6",
    "ratio": "auto",
    "resolution": "2k",
    "inputMode": "generate",
}


@pytest.mark.parametrize(
    ("given", "echo", "same"),
    [
        ({}, OF_IMAGE_PROMPT, True),
        ({}, {"prompt": PROMPT}, True),
        ({}, {**OF_IMAGE_PROMPT, "resolution": "4k"}, False),
        ({}, {**OF_IMAGE_PROMPT, "imageRef_1": REF}, False),
        ({}, {**OF_IMAGE_PROMPT, "inputMode": "blend"}, None),
        ({"resolution": "4k"}, {"prompt": PROMPT}, None),
        ({"reference_image": REF}, OF_IMAGE_PROMPT, None),
        ({"reference_image": REF}, {**OF_IMAGE_PROMPT, "imageRef_1": REF}, True),
        ({"reference_image": REF}, {**OF_IMAGE_PROMPT, "imageRef_1": f"{REF}0"}, False),
    ],
)
async def test_a_lost_image_is_known_by_what_its_record_echoes(
    tmp_path: Path, given: dict[str, Any], echo: dict[str, Any], same: bool | None
) -> None:
    """GET images/jobid, 2 March 2026: the echo of a generation."""
    image = source(902, "i")
    order = ordered("generate_image", **given)
    look = await looked(tmp_path, order, record(type="image", request=echo), image)

    assert ([image] if same else []) == [job.job_id for job in look.jobs]
    assert ([image] if same is None else []) == [job.job_id for job in look.unclear]
    assert (same is not None) == look.is_complete


async def looked(
    folder: Path, order: Order, running_job: dict[str, Any], job_id: str = MADE_VIDEO
) -> Look:
    """What a look finds where this is the only job that runs."""
    executing = {"CA:user@example.com": [{"jobid": job_id, "elapsedSeconds": 3}]}
    kind = "images" if job_id != MADE_VIDEO else "videos"
    vendor = Scripted(
        {
            "GET /v1/dreamina/scheduler": {"executing": executing, "total": 1},
            f"GET /v1/dreamina/{kind}/{job_id}": {**running_job, "jobid": job_id},
        }
    )
    settings = Settings.read({"USEAPI_TOKEN": TOKEN})
    upstream = Upstream(settings, VirtualClock(), OutputFolder(folder), Network(vendor))
    try:
        return await service_named("dreamina").find(upstream, order, since=None)
    finally:
        await upstream.close()
