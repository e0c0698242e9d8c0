"""Submitter: a paid request is never lost and never paid for twice, whatever fails.

Through `client.call_tool`, against the sandbox, in virtual time. The rules are §4 of the design.
"""

import asyncio
import json
import logging
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client

from mcp_server.sandbox import dreamina as dreamina_jobs
from mcp_server.sandbox import pixverse
from mcp_server.sandbox.google_flow import sources as google_flow_sources
from mcp_server.server.factory import create_server
from mcp_server.settings import Settings
from tests.support.harness import (
    GOOD,
    ORIGIN,
    TOKEN,
    Fault,
    Harness,
    Opened,
    Reply,
    VirtualClock,
    reply,
    running,
)
from tests.support.processes import Kernel
from tests.support.stores import journal_away

VIDEO = GOOD["dreamina", "video"]
IMAGE = GOOD["dreamina", "image"]
FLOW_VIDEO = GOOD["google-flow", "video"]
FLOW_IMAGE = GOOD["google-flow", "image"]
PIXVERSE = GOOD["pixverse", "video"]

UPSCALE = ("upscale_video", {"source": VIDEO})
INTERPOLATE = ("interpolate_video", {"source": VIDEO, "fps": 60})
UPSCALE_IMAGE = ("upscale_image", {"source": IMAGE})
UPSCALE_FLOW = ("upscale_video", {"source": FLOW_VIDEO})
UPSCALE_FLOW_IMAGE = ("upscale_image", {"source": FLOW_IMAGE})
UPSCALE_PIXVERSE = ("upscale_video", {"source": PIXVERSE})

Call = tuple[str, dict[str, Any]]

REFUSING_REPEATS = pytest.mark.parametrize(
    "call", [UPSCALE, INTERPOLATE, UPSCALE_FLOW], ids=["dreamina", "dreamina fps", "google flow"]
)
TAKING_REPEATS = pytest.mark.parametrize(
    "call", [UPSCALE_IMAGE, UPSCALE_PIXVERSE], ids=["dreamina image", "pixverse"]
)
ANY_CALL = pytest.mark.parametrize(
    "call",
    [UPSCALE, INTERPOLATE, UPSCALE_IMAGE, UPSCALE_FLOW, UPSCALE_PIXVERSE],
    ids=["dreamina", "dreamina fps", "dreamina image", "google flow", "pixverse"],
)


def own_500() -> httpx.Response:
    """The vendor's own answer: its work on the request is over."""
    return httpx.Response(500, json={"error": "Internal server error"})


def gateway_502() -> httpx.Response:
    """A gateway's page: nobody knows what the vendor behind it is doing."""
    return httpx.Response(502, html="<html><h1>Bad gateway</h1></html>")


def own_408() -> httpx.Response:
    return httpx.Response(408, json={"error": "Polling timeout"})


def not_json() -> httpx.Response:
    return httpx.Response(200, text="OK")


def json_without_a_job() -> httpx.Response:
    return httpx.Response(200, json={"fine": True})


async def submit(h: Harness, call: Call, **more: Any) -> Reply:
    tool, arguments = call
    return await h.call(tool, **arguments, **more)


async def elsewhere(h: Harness, path: str, body: dict[str, Any]) -> Any:
    """The same account used by somebody else: a POST of theirs."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=h.sandbox),
        base_url=ORIGIN,
        headers={"Authorization": f"Bearer {TOKEN}"},
    ) as client:
        return (await client.post(path, json=body)).json()


def now() -> float:
    return asyncio.get_running_loop().time()


def sent_at(h: Harness) -> list[float]:
    """When each paid request left, in seconds of virtual time."""
    return [
        at
        for request, at in zip(h.network.sent, h.network.sent_at, strict=True)
        if request.method == "POST"
    ]


# One POST, however often it is asked for


async def test_fifty_calls_at_once_are_one_post_and_one_job(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        replies = await asyncio.gather(*(submit(h, UPSCALE) for _ in range(50)))

        assert 1 == len(h.posts()) == len(h.sandbox.accepted)
        assert {h.sandbox.accepted[0].job_id} == {reply.job["job_id"] for reply in replies}


@pytest.mark.parametrize(
    ("call", "reads"),
    [(UPSCALE, 0), (INTERPOLATE, 0), (UPSCALE_FLOW_IMAGE, 0), (UPSCALE_IMAGE, 1)],
    ids=["dreamina", "dreamina fps", "google flow image", "dreamina image"],
)
async def test_jobs_are_listed_before_a_request_only_where_a_lost_one_is_told_from_them(
    tmp_path: Path, call: Call, reads: int
) -> None:
    """Where the vendor makes a job of each request, and answers before it has ended."""
    async with running(tmp_path) as h:
        await submit(h, call)
        paths = [request.url.path for request in h.network.sent]
        lists = [path for path in paths if path.endswith(("/scheduler", "/videos", "/jobs"))]

    assert reads == len(lists)


@ANY_CALL
async def test_the_same_call_after_a_restart_sends_nothing(tmp_path: Path, call: Call) -> None:
    async with running(tmp_path) as h:
        first = await submit(h, call)

    async with running(tmp_path, sandbox=h.sandbox, network=h.network, clock=h.clock) as h:
        second = await submit(h, call)

    assert 1 == len(h.posts())
    assert first.job["job_id"] == second.job["job_id"]
    assert "reused" not in first.job
    assert second.job["reused"] is True
    assert "nothing was submitted" in second.text


async def test_a_google_flow_image_is_made_once_and_kept_as_a_file(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=20) as h:
        first = await submit(h, UPSCALE_FLOW_IMAGE)
        done = await h.call("get_job", job_id=first.job["job_id"], wait_seconds=50)

    async with running(tmp_path, sandbox=h.sandbox, network=h.network, clock=h.clock) as h:
        again = await submit(h, UPSCALE_FLOW_IMAGE)

    assert "running" == first.job["status"]
    assert "completed" == done.job["status"] == again.job["status"]
    (file,) = (tmp_path / "output").iterdir()
    assert str(file) == done.job["media"][0]["path"]
    assert file.name.startswith("google-flow-upscale-")
    assert f"-{first.job['created_at'][:10]}-" in file.name
    assert again.job["reused"] is True
    assert 1 == len(h.posts())


async def test_several_images_of_one_order_are_read_when_it_is_made_again(tmp_path: Path) -> None:
    call = ("generate_image", {"prompt": "cat", "service": "pixverse", "count": 2})
    async with running(tmp_path, job_seconds=20) as h:
        first = await submit(h, call)
        again = await submit(h, call)
        await asyncio.sleep(30)
        done = await submit(h, call)

    jobs = [reply.job for reply in (first, again, done)]
    assert ["running", "running", "completed"] == [job["status"] for job in jobs]
    assert 1 == len({job["job_id"] for job in jobs})
    assert 1 == len(h.posts())


async def test_a_call_that_is_made_again_reads_its_job_once(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=60) as h:
        first = await submit(h, UPSCALE)
        h.network.sent.clear()
        again = await submit(h, UPSCALE)

        assert first.job["job_id"] == again.job["job_id"]
        assert ["GET"] == [request.method for request in h.network.sent]


async def test_a_job_that_completed_is_returned_with_its_result(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        await submit(h, UPSCALE)
        await asyncio.sleep(60)

        again = await submit(h, UPSCALE)

        assert ("completed", True) == (again.job["status"], again.job["reused"])
        assert again.job["media"][0]["url"]
        assert 1 == len(h.posts())


@pytest.mark.parametrize("later", ["created", "failed"])
async def test_a_job_that_completed_is_returned_so_whatever_the_vendor_says_later(
    tmp_path: Path, later: str
) -> None:
    async with running(tmp_path) as h:
        first = await submit(h, UPSCALE)
        await h.call("get_job", job_id=first.job["job_id"], wait_seconds=50)
        h.network.concerns = lambda request: request.method == "GET"
        h.network.faults = [Fault(then=httpx.Response(200, json={"status": later}))]

        again = await submit(h, UPSCALE)

        assert ("completed", True) == (again.job["status"], again.job["reused"])
        assert 1 == len(h.posts())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"source": IMAGE}, {"source": IMAGE, "resolution": "4k"}),
        ({"source": IMAGE}, {"source": IMAGE, "image_index": 0}),
        ({"source": IMAGE}, {"source": IMAGE, "original_image_strength": 0.65}),
        ({"source": IMAGE}, {"source": IMAGE, "detail_strength": 0.5}),
        (
            {"source": IMAGE, "detail_strength": 1},
            {"source": IMAGE, "detail_strength": 1.0, "reply_ref": "again", "max_jobs": 3},
        ),
        ({"source": IMAGE, "resolution": "8k"}, {"source": IMAGE, "resolution": "8K"}),
    ],
)
async def test_calls_that_would_make_the_same_are_one_job(
    tmp_path: Path, one: dict[str, Any], other: dict[str, Any]
) -> None:
    async with running(tmp_path) as h:
        first = await h.call("upscale_image", **one)
        second = await h.call("upscale_image", **other)

        assert first.job["job_id"] == second.job["job_id"]
        assert 1 == len(h.posts())


@pytest.mark.parametrize(
    "other",
    [{"resolution": "2k"}, {"image_index": 1}, {"original_image_strength": 0.6}],
)
async def test_calls_that_would_make_something_else_are_jobs_of_their_own(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    async with running(tmp_path) as h:
        first = await h.call("upscale_image", source=IMAGE)
        second = await h.call("upscale_image", source=IMAGE, **other)

        assert first.job["job_id"] != second.job["job_id"]
        assert 2 == len(h.posts()) == len(h.sandbox.accepted)


async def test_another_vendor_address_is_another_job(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        await submit(h, UPSCALE_PIXVERSE)
    async with running(
        tmp_path, sandbox=h.sandbox, network=h.network, USEAPI_BASE_URL="https://other.example"
    ) as h:
        second = await submit(h, UPSCALE_PIXVERSE)

    assert 2 == len(h.posts())
    assert "reused" not in second.job


# A slow vendor and callers that leave


async def test_a_vendor_that_takes_a_minute_does_not_keep_the_caller(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        h.network.faults = [Fault(after_s=60)]

        first = await submit(h, UPSCALE)
        answered_at = now()
        joined = await submit(h, UPSCALE)
        later = await h.call("get_job", job_id=first.job["job_id"], wait_seconds=50)

        assert "submitting" == first.job["status"]
        assert first.job["job_id"].startswith("useapi-mcp:")
        assert 40 == pytest.approx(answered_at, abs=0.5)
        assert h.sandbox.accepted[0].job_id == joined.job["job_id"] == later.job["job_id"]
        assert "completed" == later.job["status"]
        assert 1 == len(h.posts())


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("after_s", [0.1, 5, 30])
async def test_a_caller_that_leaves_does_not_stop_the_request(
    tmp_path: Path, after_s: float, mode: str
) -> None:
    async with running(tmp_path, client_options={"mode": mode}) as h:
        h.network.faults = [Fault(before_s=10, after_s=25)]
        caller = asyncio.create_task(submit(h, UPSCALE))
        await asyncio.sleep(after_s)

        caller.cancel()
        await asyncio.wait({caller})
        next_call = await submit(h, UPSCALE)
        again = await submit(h, UPSCALE)

        assert caller.cancelled()
        assert 1 == len(h.posts()) == len(h.sandbox.accepted)
        assert h.sandbox.accepted[0].job_id == next_call.job["job_id"] == again.job["job_id"]
        assert again.job["reused"] is True


async def test_a_caller_that_leaves_at_once_gets_its_job_from_the_list(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        caller = asyncio.create_task(submit(h, UPSCALE))
        await asyncio.sleep(0.001)
        caller.cancel()
        await asyncio.sleep(1)

        jobs = (await h.call("list_jobs")).job["jobs"]

        assert [h.sandbox.accepted[0].job_id] == [job["job_id"] for job in jobs]


async def test_a_server_that_stops_lets_the_answer_arrive(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        h.network.faults = [Fault(after_s=10)]
        caller = asyncio.create_task(submit(h, UPSCALE))
        await asyncio.sleep(1)
        caller.cancel()
    stopped_at = now()

    async with running(tmp_path, sandbox=h.sandbox, network=h.network, clock=h.clock) as h:
        again = await submit(h, UPSCALE)

    assert 10 == pytest.approx(stopped_at, abs=0.5)
    assert h.sandbox.accepted[0].job_id == again.job["job_id"]
    assert 1 == len(h.posts())


async def test_a_server_that_has_nothing_on_its_way_stops_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        await h.call("list_jobs")

    assert 0 == now()


async def test_a_server_that_stops_waits_15_seconds_and_judges_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=600) as h:
        h.network.faults = [Fault(after_s=100)]
        caller = asyncio.create_task(submit(h, UPSCALE))
        await asyncio.sleep(1)
        caller.cancel()
    stopped_at = now()

    async with running(tmp_path, sandbox=h.sandbox, network=h.network, clock=h.clock) as h:
        listed = (await h.call("list_jobs")).job["jobs"]
        again = await submit(h, UPSCALE)
        took_s = now() - stopped_at

    assert 0 == took_s
    assert 16 == pytest.approx(stopped_at, abs=0.5)
    assert ["submitting"] == [job["status"] for job in listed]
    assert h.sandbox.accepted[0].job_id == again.job["job_id"]
    assert 1 == len(h.posts())


async def test_a_request_that_was_still_connecting_when_the_server_stopped_never_leaves(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as h:
        h.network.faults = [Fault(connect_s=30)]
        caller = asyncio.create_task(submit(h, UPSCALE_PIXVERSE))
        await asyncio.sleep(1)
        caller.cancel()

    async with running(tmp_path, sandbox=h.sandbox, network=h.network, clock=h.clock) as h:
        h.network.faults = [Fault(after_s=60)]  # not answered yet when the other one is connected
        await submit(h, UPSCALE_PIXVERSE)
        await asyncio.sleep(60)
        again = await submit(h, UPSCALE_PIXVERSE)

    assert 1 == len(h.posts()) == len(h.sandbox.accepted)
    assert h.sandbox.accepted[0].job_id == again.job["job_id"]


@pytest.mark.parametrize("call", [UPSCALE, UPSCALE_FLOW_IMAGE], ids=["dreamina", "google flow"])
async def test_a_server_that_stops_answers_within_seconds_whoever_still_connects(
    tmp_path: Path, call: Call
) -> None:
    opened = Opened()
    async with running(tmp_path, while_open=opened) as h:
        h.network.faults = [Fault(connect_s=20)]
        caller = asyncio.create_task(submit(h, call))
        await asyncio.sleep(1)
        opened.app.all_jobs.answer_submitting()
        reply = await caller

        assert 5 == pytest.approx(now(), abs=0.5)
        assert "submitting" == reply.job["status"]
        assert [] == h.posts()


async def test_a_server_that_stops_answers_at_once_what_was_sent_or_refused(
    tmp_path: Path,
) -> None:
    opened = Opened()
    refusal = httpx.Response(422, json={"error": "moderated"})
    async with running(tmp_path, while_open=opened) as h:
        opened.app.all_jobs.answer_submitting()
        h.network.faults = [
            Fault(connect_s=1.1, reaches=False, then=refusal),
            Fault(connect_s=1.1, after_s=100),
        ]
        refused = await submit(h, INTERPOLATE)
        refused_after = now()
        sent = await submit(h, UPSCALE)

        assert 422 == refused.error["http_status"]
        assert 1.1 == pytest.approx(refused_after, abs=0.1)
        assert "submitting" == sent.job["status"]
        assert 2.2 == pytest.approx(now(), abs=0.3)


# An answer that was lost: found by reading


@pytest.mark.parametrize("answer", [own_500, gateway_502, own_408, not_json, json_without_a_job])
@ANY_CALL
async def test_a_job_whose_answer_was_lost_is_found_and_not_sent_again(
    tmp_path: Path, call: Call, answer: Callable[[], httpx.Response]
) -> None:
    async with running(tmp_path, job_seconds=100) as h:
        h.network.faults = [Fault(then=answer())]

        reply = await submit(h, call)

        assert ("running", h.sandbox.accepted[0].job_id) == (
            reply.job["status"],
            reply.job["job_id"],
        )
        assert "reused" not in reply.job
        assert 1 == len(h.posts())


@ANY_CALL
async def test_a_job_whose_connection_broke_is_found(tmp_path: Path, call: Call) -> None:
    async with running(tmp_path, job_seconds=100) as h:
        h.network.faults = [Fault(then="cut")]

        reply = await submit(h, call)

        assert h.sandbox.accepted[0].job_id == reply.job["job_id"]
        assert 1 == len(h.posts())


@ANY_CALL
async def test_a_job_the_vendor_makes_long_after_the_cut_is_found_too(
    tmp_path: Path, call: Call
) -> None:
    """A Google Flow submit solves a captcha for 8-60 s: the look must outlast it."""
    async with running(tmp_path, job_seconds=100) as h:
        h.network.faults = [Fault(reaches=False, then="cut")]
        first = asyncio.create_task(submit(h, call))
        await asyncio.sleep(35)
        body = json.loads(h.posts()[0].content)
        made = await elsewhere(h, h.posts()[0].url.path, body)
        job_id = made.get("jobid") or made.get("video_id")

        told = await first
        later = await submit(h, call)

        assert told.job["status"] == "submitting" or told.job["job_id"] == job_id
        assert job_id == later.job["job_id"]
        assert 1 == len(h.posts())


@pytest.mark.parametrize(
    ("answer", "looks_s"),
    [(own_500, [2, 5, 10]), (gateway_502, [2, 5, 10, 20, 40, 60])],
    ids=["the vendor's", "a gateway's"],
)
async def test_a_lost_answer_is_looked_for_until_the_vendors_work_must_be_over(
    tmp_path: Path, answer: Callable[[], httpx.Response], looks_s: list[float]
) -> None:
    async with running(tmp_path) as h:
        h.network.faults = [Fault(reaches=False, then=answer())]
        await submit(h, UPSCALE_PIXVERSE)
        await asyncio.sleep(120)

        (posted,) = sent_at(h)
        assert looks_s == sorted({at - posted for at in h.network.sent_at if at > posted})


async def test_only_a_job_that_does_the_same_is_taken_for_the_lost_one(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=300) as h:
        await elsewhere(h, "/v1/dreamina/videos/interpolate", {"jobid": VIDEO, "fps": 30})
        other = dreamina_jobs.SECOND_VIDEO
        await elsewhere(h, "/v1/dreamina/videos/interpolate", {"jobid": other, "fps": 60})
        h.network.faults = [Fault(reaches=False, then=own_500())]

        reply = await submit(h, INTERPOLATE)

        assert "Dreamina interpolated this video before, to 30 fps" in reply.text
        assert 2 == len(h.posts())


@pytest.mark.parametrize(
    ("call", "path", "body"),
    [
        (UPSCALE, "/v1/dreamina/videos/upscale", {"jobid": VIDEO}),
        (
            UPSCALE_FLOW,
            "/v1/google-flow/videos/upscale",
            {"mediaGenerationId": FLOW_VIDEO, "async": True},
        ),
    ],
    ids=["dreamina", "google flow"],
)
async def test_where_the_vendor_refuses_repeats_an_older_job_is_returned_as_reused(
    tmp_path: Path, call: Call, path: str, body: dict[str, Any]
) -> None:
    async with running(tmp_path, job_seconds=600) as h:
        made = await elsewhere(h, path, body)
        await asyncio.sleep(300)
        h.network.faults = [Fault(reaches=False, then=own_500())]

        reply = await submit(h, call)

        assert (made.get("jobid") or made.get("video_id")) == reply.job["job_id"]
        assert reply.job["reused"] is True
        assert 1 == len(h.posts()) == len(h.sandbox.accepted)


async def test_where_the_vendor_takes_repeats_an_older_job_is_named_and_not_taken(
    tmp_path: Path,
) -> None:
    """What our own request made may still appear, and would be lost beside it."""
    async with running(tmp_path, job_seconds=900) as h:
        made = await elsewhere(h, "/v2/pixverse/videos/upscale", {"video_id": PIXVERSE})
        await asyncio.sleep(300)
        h.network.faults = [Fault(before_s=20, gives_up_s=1, then="cut")]

        reply = await submit(h, UPSCALE_PIXVERSE)
        again = await submit(h, UPSCALE_PIXVERSE)

        older, ours = (accepted.job_id for accepted in h.sandbox.accepted)
        assert made["video_id"] == older
        assert older != reply.job["job_id"]
        assert ours == again.job["job_id"]
        assert 1 == len(h.posts())


async def test_an_earlier_job_that_failed_is_not_taken_for_the_lost_one(tmp_path: Path) -> None:
    """Else its failure would free the key while the second request is still worked on."""
    call = ("upscale_video", {"source": google_flow_sources.FAILING_VIDEO})
    async with running(tmp_path, job_seconds=4) as h:
        first = await submit(h, call)
        failed = await h.call("get_job", job_id=first.job["job_id"], wait_seconds=20)
        h.network.faults = [Fault(before_s=30, gives_up_s=1, then="cut")]

        second = await submit(h, call)
        listed = (await h.call("list_jobs")).job["jobs"]

        assert "failed" == failed.job["status"]
        assert first.job["job_id"] != second.job["job_id"]
        assert 2 == len(listed)


# An answer that was lost, and nothing is found


@pytest.mark.parametrize("fault", [own_500, gateway_502, own_408, not_json, None])
@TAKING_REPEATS
async def test_where_a_repeat_would_be_paid_it_is_never_sent(
    tmp_path: Path, call: Call, fault: Callable[[], httpx.Response] | None
) -> None:
    async with running(tmp_path) as h:
        h.network.faults = [Fault(reaches=False, then=fault() if fault else "cut")]

        first = await submit(h, call)
        await asyncio.sleep(120)
        second = await submit(h, call)

        assert first.job["status"] in ("submitting", "unconfirmed")
        assert "unconfirmed" == second.job["status"]
        assert second.job["job_id"].startswith("useapi-mcp:")
        assert "not sent again" in second.text
        assert 1 == len(h.posts())


@pytest.mark.parametrize("fault", [own_500, gateway_502, None])
async def test_a_google_flow_image_whose_answer_was_lost_has_failed_and_may_be_sent_again(
    tmp_path: Path, fault: Callable[[], httpx.Response] | None
) -> None:
    """No job of the vendor's to find, and no documented cost."""
    async with running(tmp_path) as h:
        h.network.faults = [Fault(reaches=False, then=fault() if fault else "cut")]

        lost = await submit(h, UPSCALE_FLOW_IMAGE)
        (row,) = (await h.call("list_jobs", status="failed")).job["jobs"]
        failed = (await h.call("get_job", job_id=row["job_id"])).job
        posts_then = len(h.posts())
        again = await submit(h, UPSCALE_FLOW_IMAGE)

        assert lost.is_error
        assert "lost" == failed["failure"]["code"]
        assert 1 == posts_then
        assert again.job["status"] in ("running", "completed")


@pytest.mark.parametrize(
    ("fault", "after_s"),
    [
        (own_500, 10),
        *((answer, 60) for answer in (own_408, json_without_a_job, gateway_502, not_json, None)),
    ],
)
@REFUSING_REPEATS
async def test_where_the_vendor_refuses_repeats_it_is_sent_once_more_and_not_too_early(
    tmp_path: Path, call: Call, fault: Callable[[], httpx.Response] | None, after_s: float
) -> None:
    async with running(tmp_path) as h:
        h.network.faults = [Fault(reaches=False, then=fault() if fault else "cut")]

        await submit(h, call)
        await asyncio.sleep(120)
        again = await submit(h, call)

        first, second = sent_at(h)
        assert after_s <= second - first <= after_s + 3
        assert 1 == len(h.sandbox.accepted)
        assert h.sandbox.accepted[0].job_id == again.job["job_id"]


@REFUSING_REPEATS
async def test_a_third_time_it_is_never_sent(tmp_path: Path, call: Call) -> None:
    async with running(tmp_path) as h:
        h.network.faults = [Fault(reaches=False, then=own_500()) for _ in range(9)]

        first = await submit(h, call)
        again = [await submit(h, call) for _ in range(3)]

        assert "unconfirmed" == first.job["status"]
        assert {"unconfirmed"} == {reply.job["status"] for reply in again}
        assert 2 == len(h.posts())


@REFUSING_REPEATS
async def test_a_look_that_failed_proves_nothing(tmp_path: Path, call: Call) -> None:
    async with running(tmp_path) as h:
        h.network.concerns = lambda request: True
        h.network.faults = [
            Fault(reaches=False, then=own_500()),
            *(Fault(reaches=False, then=own_500()) for _ in range(100)),
        ]

        reply = await submit(h, call)

        assert "unconfirmed" == reply.job["status"]
        assert 1 == len(h.posts())


@pytest.mark.parametrize("answered", [1, 2])
async def test_only_the_last_look_proves_that_it_is_not_there(
    tmp_path: Path, answered: int
) -> None:
    """Looks at 2, 5 and 10 s, each tried three times: the last must be answered."""
    async with running(tmp_path) as h:
        failing = [Fault(reaches=False, then=own_500()) for _ in range(9)]
        h.network.concerns = lambda request: True
        h.network.faults = [
            Fault(reaches=False, then=own_500()),
            *(Fault() for _ in range(answered)),
            *failing,
        ]

        reply = await submit(h, UPSCALE)

        assert "unconfirmed" == reply.job["status"]
        assert 1 == len(h.posts())


async def test_one_more_post_that_is_refused_as_done_before_finds_the_job(tmp_path: Path) -> None:
    """It ended before the first look: the scheduler lists it no longer, but the vendor knows."""
    async with running(tmp_path, job_seconds=1) as h:
        h.network.faults = [Fault(then=own_500())]

        reply = await submit(h, UPSCALE)

        assert ("completed", h.sandbox.accepted[0].job_id) == (
            reply.job["status"],
            reply.job["job_id"],
        )
        assert (2, 1) == (len(h.posts()), len(h.sandbox.accepted))


@pytest.mark.parametrize("status", [400, 401, 402, 404, 412, 422, 429, 596])
async def test_one_more_post_that_is_refused_leaves_it_unconfirmed(
    tmp_path: Path, status: int
) -> None:
    """The first may have been done all the same."""
    async with running(tmp_path) as h:
        refusal = httpx.Response(status, json={"error": "No"})
        h.network.faults = [
            Fault(reaches=False, then=own_500()),
            Fault(reaches=False, then=refusal),
        ]

        reply = await submit(h, UPSCALE)

        assert "unconfirmed" == reply.job["status"]
        assert 2 == len(h.posts())


async def test_a_request_the_vendor_asked_to_wait_for_is_sent_once_more(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        source = dreamina_jobs.video_id(431)  # 429 with Retry-After: 5 the first time

        reply = await h.call("upscale_video", source=source)

        first, second = sent_at(h)
        assert 5 == pytest.approx(second - first, abs=0.1)
        assert "running" == reply.job["status"]
        assert 1 == len(h.sandbox.accepted)


@pytest.mark.parametrize(
    "source",
    [
        *(dreamina_jobs.video_id(n) for n in (402, 412, 429, 430, 596)),
        dreamina_jobs.UNFINISHED_VIDEO,
        *(pixverse.video_id(n) for n in (66778400, 66778412, 66778429, 66778596)),
        google_flow_sources.video_id("captcha-rejected"),
        google_flow_sources.video_id("captcha-service-failed"),
        google_flow_sources.video_id("quota-reached"),
    ],
)
async def test_a_refusal_is_an_error_and_frees_the_key(tmp_path: Path, source: str) -> None:
    async with running(tmp_path) as h:
        first = await h.call("upscale_video", source=source)
        listed = (await h.call("list_jobs", status="failed")).job["jobs"]
        second = await h.call("upscale_video", source=source)

        assert first.error["code"] == second.error["code"]
        assert ["failed"] == [job["status"] for job in listed]
        assert 2 == len(h.posts())


async def test_what_never_left_is_an_error_and_frees_the_key(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        h.network.faults = [Fault(connects=False) for _ in range(3)]

        first = await submit(h, UPSCALE)
        second = await submit(h, UPSCALE)

        assert "unreachable" == first.error["code"]
        assert "nothing was sent" in first.text
        assert "running" == second.job["status"]
        assert 1 == len(h.posts())


# Refusals that name the job there is


async def test_already_upscaled_is_the_job_that_did_it(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        reply = await h.call("upscale_video", source=dreamina_jobs.UPSCALED_VIDEO)

        assert dreamina_jobs.UPSCALE_OF_IT == reply.job["job_id"]
        assert ("completed", True) == (reply.job["status"], reply.job["reused"])
        assert [] == h.sandbox.accepted


async def test_already_interpolated_to_as_many_frames_is_the_job_that_did_it(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as h:
        source = dreamina_jobs.INTERPOLATED_VIDEO
        reply = await h.call("interpolate_video", source=source, fps=60)

        assert dreamina_jobs.INTERPOLATION_OF_IT == reply.job["job_id"]
        assert reply.job["reused"] is True


async def test_already_interpolated_to_other_frames_is_an_error_that_names_the_job(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as h:
        source = dreamina_jobs.INTERPOLATED_VIDEO
        reply = await h.call("interpolate_video", source=source, fps=30)
        (refused,) = (await h.call("list_jobs", status="failed")).job["jobs"]

        assert source == refused["source"]
        assert "60 fps" in reply.text
        assert dreamina_jobs.INTERPOLATION_OF_IT == reply.error["job_id"]
        assert 1 == len(h.posts())


async def test_a_job_named_in_a_refusal_that_can_not_be_read_is_read_by_a_later_call(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as h:
        h.network.concerns = lambda request: request.method == "GET"
        h.network.faults = [Fault(then=own_500()) for _ in range(3)]

        reply = await h.call("upscale_video", source=dreamina_jobs.UPSCALED_VIDEO)
        again = await h.call("upscale_video", source=dreamina_jobs.UPSCALED_VIDEO)

        assert "unconfirmed" == reply.job["status"]
        assert dreamina_jobs.UPSCALE_OF_IT in reply.text
        assert (dreamina_jobs.UPSCALE_OF_IT, True) == (again.job["job_id"], again.job["reused"])
        assert 1 == len(h.posts())


async def test_a_job_named_in_a_refusal_that_can_not_be_read_is_read_by_get_job_too(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as h:
        h.network.concerns = lambda request: request.method == "GET"
        h.network.faults = [Fault(then=own_500()) for _ in range(6)]

        told = await h.call("upscale_video", source=dreamina_jobs.UPSCALED_VIDEO)
        still = await h.call("get_job", job_id=told.job["job_id"])
        await asyncio.sleep(10)
        read = await h.call("get_job", job_id=told.job["job_id"])

        assert told.job["failure"] == still.job["failure"]
        assert dreamina_jobs.UPSCALE_OF_IT == read.job["job_id"]
        assert 1 == len(h.posts())


# Unconfirmed


async def unconfirmed(h: Harness, call: Call = UPSCALE_PIXVERSE) -> Reply:
    h.network.faults = [Fault(reaches=False, then=own_500())]
    reply = await submit(h, call)
    assert "unconfirmed" == reply.job["status"]
    return reply


@TAKING_REPEATS
async def test_an_unconfirmed_request_is_looked_for_by_every_call(
    tmp_path: Path, call: Call
) -> None:
    async with running(tmp_path, job_seconds=100) as h:
        first = await unconfirmed(h, call)
        looks, began = len(h.sandbox.requests), now()
        again = await submit(h, call)
        took_s = now() - began
        looks_again = len(h.sandbox.requests) - looks
        post = h.posts()[0]
        made = await elsewhere(h, post.url.path, json.loads(post.content))  # it arrived after all
        found = await submit(h, call)

        assert first.job["job_id"] == again.job["job_id"]
        assert ((2 if call is UPSCALE_PIXVERSE else 1), 0) == (
            looks_again,
            took_s,
        )  # scheduler, list
        assert (made.get("jobid") or made.get("video_id")) == found.job["job_id"]
        assert 1 == len(h.posts())


async def test_an_unconfirmed_request_is_found_by_get_job_too(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=100) as h:
        ours = (await unconfirmed(h)).job["job_id"]
        began = now()
        still = await h.call("get_job", job_id=ours)
        took_s = now() - began
        made = await elsewhere(h, "/v2/pixverse/videos/upscale", {"video_id": PIXVERSE})
        await asyncio.sleep(3)
        found = await h.call("get_job", job_id=ours)

        assert ("unconfirmed", 0) == (still.job["status"], took_s)
        assert ("running", made["video_id"]) == (found.job["status"], found.job["job_id"])


async def test_an_unconfirmed_request_survives_a_restart_and_is_still_not_sent(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as h:
        first = await unconfirmed(h)

    async with running(tmp_path, sandbox=h.sandbox, network=h.network, clock=h.clock) as h:
        again = await submit(h, UPSCALE_PIXVERSE)

    assert ("unconfirmed", first.job["job_id"]) == (again.job["status"], again.job["job_id"])
    assert 1 == len(h.posts())


async def test_an_unconfirmed_request_that_is_given_up_may_be_sent_again(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        ours = (await unconfirmed(h)).job["job_id"]
        requests = len(h.network.sent)

        given_up = await h.call("cancel_job", job_id=ours)
        asked = len(h.network.sent) - requests
        again = await submit(h, UPSCALE_PIXVERSE)
        listed = (await h.call("list_jobs", status="cancelled")).job["jobs"]

        assert ("cancelled", 0) == (given_up.job["status"], asked)
        assert "charged a second time" in given_up.text
        assert ["cancelled"] == [job["status"] for job in listed]
        assert "running" == again.job["status"]
        assert 2 == len(h.posts())


async def test_a_look_that_finds_nothing_leaves_what_the_whole_search_said(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        first = await unconfirmed(h)
        await asyncio.sleep(3)

        read = await h.call("get_job", job_id=first.job["job_id"])

        assert "was asked 3 times" in first.job["failure"]["message"]
        assert first.job["failure"] == read.job["failure"]


async def test_a_look_that_fails_leaves_an_unconfirmed_request_as_it_is(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        ours = (await unconfirmed(h)).job["job_id"]
        await asyncio.sleep(3)
        h.network.concerns = lambda request: request.method == "GET"
        h.network.faults = [Fault(then=gateway_502()) for _ in range(3)]

        read = await h.call("get_job", job_id=ours)

        assert ("unconfirmed", ours) == (read.job["status"], read.job["job_id"])


async def test_without_its_lock_file_a_request_is_told_as_last_known(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        ours = (await unconfirmed(h)).job["job_id"]
    (tmp_path / "state" / "journal.lock").unlink()
    (tmp_path / "state" / "journal.lock").mkdir()

    async with running(tmp_path, sandbox=h.sandbox, network=h.network, clock=h.clock) as h:
        sent = len(h.network.sent)
        read = await h.call("get_job", job_id=ours)
        again = await submit(h, UPSCALE_PIXVERSE)

    assert sent == len(h.network.sent)
    assert ("unconfirmed", ours) == (read.job["status"], read.job["job_id"])
    assert "journal_unusable" == again.error["code"]
    assert 1 == len(h.posts())


# What frees a key


async def test_a_google_flow_image_whose_file_is_gone_is_made_again(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        first = await submit(h, UPSCALE_FLOW_IMAGE)
        await h.call("get_job", job_id=first.job["job_id"], wait_seconds=20)
        for file in (tmp_path / "output").iterdir():
            file.unlink()

        second = await submit(h, UPSCALE_FLOW_IMAGE)

        assert "reused" not in second.job
        assert 2 == len(h.posts())


async def test_a_job_that_failed_may_be_made_again(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        source = dreamina_jobs.MODERATED_VIDEO
        first = await h.call("upscale_video", source=source)
        await asyncio.sleep(10)

        second = await h.call("upscale_video", source=source)

        assert first.job["job_id"] != second.job["job_id"]
        assert "reused" not in second.job
        assert 2 == len(h.posts())


@pytest.mark.parametrize("reason", ["Video generation failed", "Cancelled by user"])
async def test_a_job_that_ended_elsewhere_without_a_result_may_be_made_again(
    tmp_path: Path, reason: str
) -> None:
    async with running(tmp_path, job_seconds=100) as h:
        first = await submit(h, UPSCALE)
        ended = {"jobid": first.job["job_id"], "status": "failed", "error": reason}
        h.network.concerns = lambda request: request.method == "GET"
        h.network.faults = [Fault(reaches=False, then=httpx.Response(200, json=ended))]

        await submit(h, UPSCALE)

        assert 2 == len(h.posts())


async def test_a_job_that_was_cancelled_may_be_made_again(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=100) as h:
        first = await submit(h, UPSCALE)
        cancelled = await h.call("cancel_job", job_id=first.job["job_id"])

        second = await submit(h, UPSCALE)

        assert "cancelled" == cancelled.job["status"]
        assert first.job["job_id"] != second.job["job_id"]


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize(("ended", "age_s"), [(True, 60), (False, 86_500)])
async def test_a_job_the_vendor_keeps_no_longer_may_be_made_again(
    tmp_path: Path, status: int, ended: bool, age_s: float
) -> None:
    async with running(tmp_path) as h:
        first = await submit(h, UPSCALE_FLOW)
        if ended:
            await h.call("get_job", job_id=first.job["job_id"], wait_seconds=50)
        await asyncio.sleep(age_s)
        h.network.concerns = lambda request: request.method == "GET"
        h.network.faults = [Fault(then=httpx.Response(status, json={"error": "gone"}))]

        second = await submit(h, UPSCALE_FLOW)

        assert "reused" not in second.job
        assert 2 == len(h.posts())


@pytest.mark.parametrize("status", [404, 410])
async def test_a_young_job_that_has_not_ended_is_not_given_up_for_a_404(
    tmp_path: Path, status: int
) -> None:
    async with running(tmp_path, job_seconds=1000) as h:
        first = await submit(h, UPSCALE_FLOW)
        await asyncio.sleep(60)
        h.network.concerns = lambda request: request.method == "GET"
        h.network.faults = [Fault(then=httpx.Response(status, json={"error": "gone"}))]

        second = await submit(h, UPSCALE_FLOW)

        assert first.job["job_id"] == second.job["job_id"]
        assert second.job["reused"] is True
        assert 1 == len(h.posts())


async def test_a_job_that_can_not_be_read_now_is_told_as_last_known(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        first = await submit(h, UPSCALE)
        h.network.concerns = lambda request: request.method == "GET"
        h.network.faults = [Fault(then=gateway_502()) for _ in range(3)]

        second = await submit(h, UPSCALE)

        assert first.job["job_id"] == second.job["job_id"]
        assert ("running", True) == (second.job["status"], second.job["reused"])
        assert 1 == len(h.posts())


async def test_a_vendor_that_stalls_does_not_keep_a_caller_who_repeats_a_call(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as h:
        first = await submit(h, UPSCALE)
        h.network.concerns = lambda request: request.method == "GET"
        h.network.faults = [Fault(after_s=1000) for _ in range(3)]
        began = now()

        second = await submit(h, UPSCALE)

        assert 40 == pytest.approx(now() - began, abs=0.5)
        assert first.job["job_id"] == second.job["job_id"]
        assert second.job["reused"] is True


async def test_a_forecast_survives_records_that_name_none(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        made = await elsewhere(h, "/v2/pixverse/videos/upscale", {"video_id": PIXVERSE})
        answer = httpx.Response(200, json={**made, "cost_credits": 25})
        h.network.faults = [Fault(reaches=False, then=answer)]
        await submit(h, UPSCALE_PIXVERSE)
        await asyncio.sleep(30)

        again = await submit(h, UPSCALE_PIXVERSE)

        assert ("completed", 25) == (again.job["status"], again.job["forecast_credits"])


# Budget


async def test_the_days_credits_are_not_exceeded(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_MAX_CREDITS_PER_DAY="60") as h:
        first = await submit(h, UPSCALE)
        second = await h.call("upscale_video", source=dreamina_jobs.SECOND_VIDEO)
        third = await h.call("upscale_video", source=dreamina_jobs.THIRD_VIDEO)
        repeated = await submit(h, UPSCALE)
        other_service = await submit(h, UPSCALE_PIXVERSE)

        assert not first.is_error
        assert not second.is_error
        assert "budget_spent" == third.error["code"]
        assert "60 are spent" in third.text
        assert repeated.job["reused"] is True
        assert "running" == other_service.job["status"]
        assert 3 == len(h.sandbox.accepted)


async def test_at_midnight_utc_there_are_new_credits(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_MAX_CREDITS_PER_DAY="30") as h:
        await submit(h, UPSCALE)
        refused = await h.call("upscale_video", source=dreamina_jobs.SECOND_VIDEO)
        await asyncio.sleep(86_400)

        taken = await h.call("upscale_video", source=dreamina_jobs.SECOND_VIDEO)

        assert "budget_spent" == refused.error["code"]
        assert not taken.is_error


async def test_what_was_refused_is_not_spent(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_MAX_CREDITS_PER_DAY="30") as h:
        await h.call("upscale_video", source=dreamina_jobs.video_id(412))

        reply = await submit(h, UPSCALE)

        assert not reply.is_error


async def test_two_servers_do_not_exceed_the_budget_together(tmp_path: Path) -> None:
    day: dict[str, Any] = {"USEAPI_MAX_CREDITS_PER_DAY": "30"}
    async with running(tmp_path, **day) as one, running(
        tmp_path, sandbox=one.sandbox, network=one.network, clock=one.clock, **day
    ) as other:  # fmt: skip
        replies = await asyncio.gather(
            submit(one, UPSCALE),
            other.call("upscale_video", source=dreamina_jobs.SECOND_VIDEO),
        )

        assert [False, True] == sorted(reply.is_error for reply in replies)
        assert 1 == len(one.posts())


# A journal that can't be written


def state_is_a_file(state: Path) -> None:
    state.write_text("no folder", encoding="utf-8")


def journal_is_newer(state: Path) -> None:
    state.mkdir()
    with closing(sqlite3.connect(state / "journal.sqlite")) as database:
        database.execute("pragma user_version = 99")


def journal_is_damaged(state: Path) -> None:
    state.mkdir()
    (state / "journal.sqlite").write_bytes(b"not a database, " * 4096)


@pytest.mark.parametrize("spoil", [state_is_a_file, journal_is_newer, journal_is_damaged])
async def test_without_a_journal_nothing_is_paid_and_reading_works(
    tmp_path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(tmp_path / "state")

    async with running(tmp_path) as h:
        at_start = [each for each in caplog.records if each.levelno >= logging.ERROR]
        made = await elsewhere(h, "/v1/dreamina/videos/upscale", {"jobid": VIDEO})
        refused = await submit(h, INTERPOLATE)
        sent = len(h.network.sent)
        read = await h.call("get_job", job_id=made["jobid"])
        waited = await h.call("get_job", job_id=made["jobid"], wait_seconds=20)
        listed = await h.call("list_jobs")
        unknown = await h.call("get_job", job_id="useapi-mcp:aaaaaaaaaaaaaaaaaaaaaaaaaa")

    assert 1 == len(at_start)
    assert "journal" in at_start[0].getMessage()
    assert "journal_unusable" == refused.error["code"]
    assert 0 == sent
    assert ("running", "completed") == (read.job["status"], waited.job["status"])
    assert [] == listed.job["jobs"]
    assert "journal_unusable" == unknown.error["code"]


NO_LIMITS_ON_WINDOWS = pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes")


@contextmanager
def full_disk() -> Iterator[None]:
    """No byte can be written to any file."""
    import resource  # Windows has none

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@NO_LIMITS_ON_WINDOWS
async def test_on_a_full_disk_nothing_is_paid_and_reading_works(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        job_id = (await submit(h, UPSCALE)).job["job_id"]
        posts = len(h.posts())
        await asyncio.sleep(10)

        with full_disk():
            refused = await submit(h, UPSCALE_PIXVERSE)
            refused_again = await submit(h, UPSCALE)
            read = await h.call("get_job", job_id=job_id)
            waited = await h.call("get_job", job_id=job_id, wait_seconds=5)
            listed = await h.call("list_jobs")
        healed = await submit(h, UPSCALE_PIXVERSE)

        assert "journal_unusable" == refused.error["code"] == refused_again.error["code"]
        assert 1 == posts == len(h.posts()) - 1
        assert "completed" == read.job["status"] == waited.job["status"]
        assert [job_id] == [job["job_id"] for job in listed.job["jobs"]]
        assert "running" == healed.job["status"]


@NO_LIMITS_ON_WINDOWS
@ANY_CALL
async def test_a_disk_that_fills_up_while_the_vendor_works_loses_no_job(
    tmp_path: Path, call: Call
) -> None:
    async with running(tmp_path, job_seconds=200) as h:
        h.network.faults = [Fault(after_s=10)]
        caller = asyncio.create_task(submit(h, call))
        await asyncio.sleep(5)
        with full_disk():
            first = await caller
            await asyncio.sleep(5)
            read = await h.call("get_job", job_id=first.job["job_id"])
        second = await submit(h, call)

        assert h.sandbox.accepted[0].job_id == first.job["job_id"] == second.job["job_id"]
        assert first.job["job_id"] == read.job["job_id"]
        assert 1 == len(h.posts())


async def test_an_image_that_could_not_be_written_down_is_not_made_again(tmp_path: Path) -> None:
    """Its answer is the result: there is no job to be found at the vendor."""
    async with running(tmp_path) as h:
        h.network.faults = [Fault(after_s=10)]
        first = await submit(h, UPSCALE_FLOW_IMAGE)
        with journal_away(tmp_path):
            await asyncio.sleep(20)
        second = await submit(h, UPSCALE_FLOW_IMAGE)

        assert "running" == first.job["status"]
        assert not second.is_error
        assert 1 == len(h.posts())


@NO_LIMITS_ON_WINDOWS
@ANY_CALL
async def test_on_a_disk_that_fills_up_while_it_connects_nothing_leaves(
    tmp_path: Path, call: Call
) -> None:
    async with running(tmp_path) as h:
        h.network.faults = [Fault(connect_s=10)]
        caller = asyncio.create_task(submit(h, call))
        await asyncio.sleep(5)
        with full_disk():
            refused = await caller
        posts = len(h.posts())
        again = await submit(h, call)

        assert "journal_unusable" == refused.error["code"]
        assert 0 == posts
        assert "running" == again.job["status"]


@NO_LIMITS_ON_WINDOWS
async def test_a_disk_that_fills_up_leaves_a_refusal_a_refusal(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        refusal = httpx.Response(422, json={"error": "moderated"})
        h.network.faults = [Fault(reaches=False, after_s=10, then=refusal)]
        caller = asyncio.create_task(submit(h, UPSCALE))
        await asyncio.sleep(5)

        with full_disk():
            reply = await caller

        assert 422 == reply.error["http_status"]


# Several processes


async def test_two_servers_that_are_asked_for_the_same_send_it_once(tmp_path: Path) -> None:
    kernel = Kernel()
    async with running(tmp_path, locks=kernel.process()) as one, running(
        tmp_path,
        sandbox=one.sandbox,
        network=one.network,
        clock=one.clock,
        locks=kernel.process(),
    ) as other:  # fmt: skip
        one.network.faults = [Fault(after_s=60)]
        first, second = await asyncio.gather(submit(one, UPSCALE), submit(other, UPSCALE))
        later = await submit(other, UPSCALE)

        assert "submitting" == first.job["status"] == second.job["status"]
        assert first.job["job_id"] == second.job["job_id"]
        assert one.sandbox.accepted[0].job_id == later.job["job_id"]
        assert 1 == len(one.posts())


async def test_who_waits_in_vain_for_a_key_is_told_to_call_again(tmp_path: Path) -> None:
    """The price is asked for under the same key, and may take a minute."""
    async with running(tmp_path) as h:
        h.network.faults = [Fault(after_s=100)]
        asks = asyncio.create_task(submit(h, UPSCALE_PIXVERSE, max_credits=1000))
        await asyncio.sleep(1)
        busy = await submit(h, UPSCALE_PIXVERSE)
        told_at = now()
        await asks
        await asyncio.sleep(60)
        after = await submit(h, UPSCALE_PIXVERSE)

        assert ("journal_busy", True) == (busy.error["code"], busy.error["retryable"])
        assert "at work on the same request" in busy.text
        assert 42 == pytest.approx(told_at, abs=0.5)
        assert "completed" == after.job["status"]
        assert 1 == len(h.sandbox.accepted)


async def test_a_look_leaves_a_row_to_the_process_that_works_on_it(tmp_path: Path) -> None:
    kernel = Kernel()
    async with running(tmp_path, locks=kernel.process()) as one, running(
        tmp_path,
        sandbox=one.sandbox,
        network=one.network,
        clock=one.clock,
        locks=kernel.process(),
    ) as other:  # fmt: skip
        one.network.faults = [Fault(reaches=False, after_s=100)]
        first = await submit(one, UPSCALE_PIXVERSE)
        requests = len(one.network.sent)

        read = await other.call("get_job", job_id=first.job["job_id"])

        assert "submitting" == read.job["status"]
        assert requests == len(one.network.sent)


async def test_a_job_that_another_process_saw_fail_is_not_told_as_running(tmp_path: Path) -> None:
    """Even if this one can't read it now: how a job ended never changes."""
    kernel = Kernel()
    async with running(tmp_path, locks=kernel.process()) as one, running(
        tmp_path,
        sandbox=one.sandbox,
        network=one.network,
        clock=one.clock,
        locks=kernel.process(),
    ) as other:  # fmt: skip
        call = ("upscale_video", {"source": dreamina_jobs.MODERATED_VIDEO})
        first = await submit(one, call)
        await asyncio.sleep(20)
        one.network.concerns = lambda request: request.method == "GET"
        one.network.faults = [Fault(after_s=5, then="cut")]
        again = asyncio.create_task(submit(one, call))
        await asyncio.sleep(1)
        read = await other.call("get_job", job_id=first.job["job_id"])
        one.network.faults = [Fault(then="cut"), Fault(then="cut")]

        second = await again

        assert "failed" == read.job["status"]
        assert "running" == second.job["status"]
        assert first.job["job_id"] != second.job["job_id"]


async def test_a_row_whose_process_died_before_it_was_sent_has_failed(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        h.network.faults = [Fault(connect_s=30)]
        caller = asyncio.create_task(submit(h, UPSCALE))
        await asyncio.sleep(1)
        caller.cancel()

    async with running(tmp_path, sandbox=h.sandbox, network=h.network, clock=h.clock) as h:
        (row,) = (await h.call("list_jobs")).job["jobs"]
        read = await h.call("get_job", job_id=row["job_id"])

    assert "submitting" == row["status"]
    assert ("failed", "never_sent") == (read.job["status"], read.job["failure"]["code"])


async def test_a_google_flow_image_whose_process_died_is_lost(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=200) as h:
        first = await submit(h, UPSCALE_FLOW_IMAGE)

    async with running(tmp_path, sandbox=h.sandbox, network=h.network, clock=h.clock) as h:
        read = await h.call("get_job", job_id=first.job["job_id"])
        again = await submit(h, UPSCALE_FLOW_IMAGE)

    assert ("failed", "lost") == (read.job["status"], read.job["failure"]["code"])
    assert first.job["job_id"] != again.job["job_id"]


# list_jobs


async def test_list_jobs_tells_every_state(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=100) as h:
        await h.call("upscale_video", source=dreamina_jobs.video_id(412))  # failed
        done = await submit(h, UPSCALE)
        await h.call("cancel_job", job_id=done.job["job_id"])  # cancelled
        await submit(h, INTERPOLATE)
        await asyncio.sleep(120)
        await submit(h, INTERPOLATE)  # completed
        await unconfirmed(h)  # unconfirmed
        await submit(h, UPSCALE_IMAGE)  # running
        await submit(h, UPSCALE_FLOW_IMAGE)  # running, without an id of the vendor's
        h.network.faults = [Fault(after_s=100)]
        await submit(h, UPSCALE_FLOW)  # submitting

        by_status = {
            status: (await h.call("list_jobs", status=status)).job["jobs"]
            for status in (
                "submitting", "running", "completed", "failed", "cancelled", "unconfirmed",
            )
        }  # fmt: skip
        everything = (await h.call("list_jobs")).job["jobs"]

        assert {
            "submitting": ["submitting"],
            "running": ["running", "running"],
            "completed": ["completed"],
            "failed": ["failed"],
            "cancelled": ["cancelled"],
            "unconfirmed": ["unconfirmed"],
        } == {status: [job["status"] for job in jobs] for status, jobs in by_status.items()}
        assert [
            "submitting",
            "running",
            "running",
            "unconfirmed",
            "completed",
            "cancelled",
        ] == [job["status"] for job in everything]


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": -1}, {"status": "asleep"}])
async def test_list_jobs_refuses_what_it_does_not_know(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    async with running(tmp_path) as h:
        reply = await h.call("list_jobs", **wrong)

        assert "invalid_argument" == reply.error["code"]


async def test_list_jobs_shows_the_newest_first_and_no_more_than_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        sources = [dreamina_jobs.SECOND_VIDEO, dreamina_jobs.THIRD_VIDEO, VIDEO]
        for source in sources:
            await h.call("upscale_video", source=source)
        requests = len(h.network.sent)

        jobs = (await h.call("list_jobs", limit=2)).job["jobs"]

        assert [VIDEO, dreamina_jobs.THIRD_VIDEO] == [job["source"] for job in jobs]
        assert requests == len(h.network.sent)


# cancel_job


async def test_cancel_job_asks_dreamina_and_tells_what_became_of_it(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=100) as h:
        job_id = (await submit(h, UPSCALE)).job["job_id"]

        reply = await h.call("cancel_job", job_id=job_id)
        read = await h.call("get_job", job_id=job_id)

        assert "cancelled" == reply.job["status"] == read.job["status"]
        assert "credits are not known to come back" in reply.text
        asked = [request.method for request in h.network.sent]
        assert "DELETE" in asked
        assert "GET" == asked[asked.index("DELETE") + 1]


@pytest.mark.parametrize("call", [UPSCALE_FLOW, UPSCALE_PIXVERSE], ids=["google flow", "pixverse"])
async def test_cancel_job_on_the_other_services_says_that_it_can_not(
    tmp_path: Path, call: Call
) -> None:
    async with running(tmp_path, job_seconds=100) as h:
        job_id = (await submit(h, call)).job["job_id"]

        reply = await h.call("cancel_job", job_id=job_id)

        assert "unsupported" == reply.error["code"]
        assert "no way to cancel" in reply.text
        assert "DELETE" not in [request.method for request in h.network.sent]


async def test_cancel_job_on_a_job_that_ended_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        job_id = (await submit(h, UPSCALE)).job["job_id"]
        await asyncio.sleep(10)

        reply = await h.call("cancel_job", job_id=job_id)

        assert "completed" == reply.job["status"]
        assert "nothing to cancel" in reply.text


async def test_cancel_job_on_a_request_without_an_answer_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        h.network.faults = [Fault(after_s=100)]
        job_id = (await submit(h, UPSCALE)).job["job_id"]

        reply = await h.call("cancel_job", job_id=job_id)
        after = await h.call("get_job", job_id=job_id)

        assert "unanswered" == reply.error["code"]
        assert "submitting" == after.job["status"]


async def test_an_answer_that_comes_after_it_was_given_up_is_not_lost(tmp_path: Path) -> None:
    """The job is found by a look that was under way when the user gave the request up."""
    async with running(tmp_path, job_seconds=100) as h:
        ours = (await unconfirmed(h)).job["job_id"]
        made = await elsewhere(h, "/v2/pixverse/videos/upscale", {"video_id": PIXVERSE})
        h.network.concerns = lambda request: request.method == "GET"
        h.network.faults = [Fault(after_s=10)]
        looking = asyncio.create_task(submit(h, UPSCALE_PIXVERSE))
        await asyncio.sleep(5)
        await h.call("cancel_job", job_id=ours)

        found = await looking
        listed = (await h.call("list_jobs")).job["jobs"]

        assert made["video_id"] == found.job["job_id"]
        assert [made["video_id"]] == [job["job_id"] for job in listed]


async def test_where_no_connection_can_be_made_nothing_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://proxy.example")
    settings = Settings.read({"USEAPI_TOKEN": TOKEN, "USEAPI_STATE_DIR": str(tmp_path)})
    async with Client(create_server(settings, clock=VirtualClock())) as client:
        tool, arguments = UPSCALE
        refused = reply(await client.call_tool(tool, arguments))
        failed = reply(await client.call_tool("list_jobs", {"status": "failed"}))

    assert "wrong_setting" == refused.error["code"]
    assert [] == failed.job["jobs"]


async def test_without_a_token_nothing_is_sent(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_TOKEN="") as h:
        reply = await submit(h, UPSCALE)

        assert "wrong_token" == reply.error["code"]
        assert [] == h.network.sent


async def test_nothing_sent_or_written_holds_the_token_but_its_header(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        await submit(h, UPSCALE)
        stored = b"".join(file.read_bytes() for file in (tmp_path / "state").iterdir())

        assert TOKEN.encode() not in stored
        assert TOKEN.encode() not in h.posts()[0].content
        assert TOKEN not in str(h.posts()[0].url)
