"""Nothing is lost, no answer lies and no call hangs: each sequence that once did so, and its kind.

Findings M5, M7 to M9, M11, M13, M14 and M16 to M18 of the review, and what kills the mutants of
those lines.
"""

import asyncio
import base64
import json
import logging
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client

from mcp_server.errors import UseapiError
from mcp_server.journal.base import Rows
from mcp_server.journal.sqlite import SqliteStore
from mcp_server.sandbox import dreamina as dreamina_jobs
from mcp_server.server.factory import create_server
from mcp_server.services.registry import service_named
from mcp_server.settings import Settings
from mcp_server.tools.context import DRAIN_S, open_app
from tests.jobs.test_never_twice import (
    LATER_S,
    another_server,
    ask,
    known_ids,
    leave_while_it_connects,
    ours,
    upscale,
)
from tests.jobs.test_submission import NO_LIMITS_ON_WINDOWS, full_disk
from tests.services.scripted import Says
from tests.support import tasks_client
from tests.support.harness import (
    EPOCH,
    GOOD,
    NOBODY_IS_ASKED,
    TOKEN,
    Fault,
    Harness,
    Network,
    Reply,
    VirtualClock,
    reply,
    running,
)
from tests.support.processes import Kernel
from tests.support.vendors import (
    DREAMINA_IMAGE,
    DREAMINA_VIDEO,
    FLOW_IMAGE,
    FLOW_VIDEO,
    NOT_FOUND,
    PIXVERSE_VIDEO,
    Dreamina,
    GoogleFlow,
    PixVerse,
    Vendor,
    dreamina_id,
    pixverse_id,
)

ANSWERED_BY_S = 41.1  # a paid call, at the latest


def now() -> float:
    return asyncio.get_running_loop().time()


def own_500() -> httpx.Response:
    return httpx.Response(500, json={"error": "Internal server error"})


# M5, r02, r22: a row whose owner died


async def dies_before_it_arrives(
    folder: Path, kernel: Kernel, tool: str, source: str, **more: Any
) -> Harness:
    """A server that stops while a request of its is on the way to a vendor who never sees it."""
    async with running(folder, locks=kernel.process()) as h:
        h.network.faults = [Fault(reaches=False, after_s=1000)]
        caller = asyncio.create_task(ask(h, tool, source, **more))
        await asyncio.sleep(1)
        caller.cancel()
    return h


@pytest.mark.parametrize(
    ("tool", "source", "more"),
    [
        ("upscale_video", GOOD["pixverse", "video"], {}),
        ("upscale_video", GOOD["dreamina", "video"], {}),
        ("upscale_image", GOOD["dreamina", "image"], {}),
        ("upscale_video", GOOD["google-flow", "video"], {"resolution": "4K"}),
    ],
    ids=["pixverse", "dreamina", "dreamina image", "google flow"],
)
async def test_a_request_whose_server_died_is_unconfirmed_and_can_be_given_up(
    tmp_path: Path, tool: str, source: str, more: dict[str, Any]
) -> None:
    kernel = Kernel()
    h = await dies_before_it_arrives(tmp_path, kernel, tool, source, **more)
    async with another_server(tmp_path, h, kernel) as h:
        (row,) = (await h.call("list_jobs")).job["jobs"]
        began = now()
        read = await h.call("get_job", job_id=row["job_id"], wait_seconds=50)
        took_s = now() - began
        given_up = await h.call("cancel_job", job_id=row["job_id"])
        again = await ask(h, tool, source, **more)

    assert "unconfirmed" == read.job["status"]
    assert "goes on" not in read.text
    assert took_s < 50
    assert "cancelled" == given_up.job["status"]
    assert again.job["job_id"] == h.sandbox.accepted[0].job_id


async def test_a_request_whose_server_died_is_unconfirmed_though_the_vendor_is_down(
    tmp_path: Path,
) -> None:
    kernel, source = Kernel(), GOOD["pixverse", "video"]
    h = await dies_before_it_arrives(tmp_path, kernel, "upscale_video", source)
    async with another_server(tmp_path, h, kernel) as h:
        (row,) = (await h.call("list_jobs")).job["jobs"]
        h.network.concerns = lambda request: True
        h.network.faults = [Fault(connects=False) for _ in range(100)]
        read = await h.call("get_job", job_id=row["job_id"], wait_seconds=50)

    assert "unconfirmed" == read.job["status"]


async def test_a_request_that_somebody_alive_is_at_is_still_being_submitted(
    tmp_path: Path,
) -> None:
    kernel = Kernel()
    async with running(tmp_path, locks=kernel.process()) as one:
        one.network.faults = [Fault(after_s=100)]
        first = await upscale(one, GOOD["pixverse", "video"])
        async with another_server(tmp_path, one, kernel) as two:
            read = await two.call("get_job", job_id=first.job["job_id"], wait_seconds=20)
            later = await two.call("get_job", job_id=first.job["job_id"], wait_seconds=50)

    assert "submitting" == read.job["status"]
    assert one.sandbox.accepted[0].job_id == later.job["job_id"]


async def test_a_request_under_way_is_being_submitted_though_its_lock_was_lost(
    tmp_path: Path,
) -> None:
    kernel = Kernel()
    async with running(tmp_path, locks=kernel.process()) as h:
        h.network.faults = [Fault(reaches=False, after_s=100)]
        first = await upscale(h, GOOD["pixverse", "video"])
        kernel.lose_all()
        sent = len(h.network.sent)
        read = await h.call("get_job", job_id=first.job["job_id"])
        asked = len(h.network.sent) - sent

    assert ("submitting", 0) == (read.job["status"], asked)


async def test_the_task_of_a_request_whose_server_died_does_not_work_for_ever(
    tmp_path: Path,
) -> None:
    kernel, source = Kernel(), GOOD["pixverse", "video"]
    h = await dies_before_it_arrives(tmp_path, kernel, "upscale_video", source)
    async with another_server(
        tmp_path, h, kernel, client_options=tasks_client.DECLARED
    ) as h:  # fmt: skip
        (row,) = (await h.call("list_jobs")).job["jobs"]
        told = await tasks_client.ask(h.client, "tasks/get", row["job_id"])

    assert "completed" == told["status"]
    assert "unconfirmed" == told["result"]["structuredContent"]["status"]


@pytest.mark.parametrize("at", ["before its bytes left", "after its bytes left"])
async def test_an_image_that_was_lost_with_its_server_is_made_anew_by_the_same_call(
    tmp_path: Path, at: str
) -> None:
    """It costs nothing, and there is no job to find: not unconfirmed, and not running."""
    kernel, image = Kernel(), GOOD["google-flow", "image"]
    async with running(tmp_path, locks=kernel.process(), job_seconds=100) as h:
        h.network.faults = [Fault(connect_s=100 if at == "before its bytes left" else 0)]
        caller = asyncio.create_task(ask(h, "upscale_image", image))
        await asyncio.sleep(1)
        caller.cancel()
    async with another_server(tmp_path, h, kernel) as h:
        (listed,) = (await h.call("list_jobs")).job["jobs"]
        again = await ask(h, "upscale_image", image)
        done = await h.call("get_job", job_id=again.job["job_id"], wait_seconds=50)
        done = await h.call("get_job", job_id=again.job["job_id"], wait_seconds=50)
        failed = (await h.call("get_job", job_id=listed["job_id"])).job

    was_sent = at == "after its bytes left"
    assert ("running" if was_sent else "submitting") == listed["status"]
    assert ("lost" if was_sent else "never_sent") == failed["failure"]["code"]
    assert "running" == again.job["status"]
    assert "completed" == done.job["status"]


# M7, r18: our own lost job, named by a refusal, which can't be read just then

UNREADABLE = {
    "404": Says({"error": "Job not found"}, 404),
    "500": Says({"error": "x"}, 500),
    "403": Says({"error": "Forbidden"}, 403),
    "400": Says({"error": "Invalid"}, 400),
    "410": Says({"error": "Gone"}, 410),
    "422": Says({"error": "x"}, 422),
    "429": Says({"error": "x"}, 429),
    "596": Says({"error": "x"}, 596),
    "page": Says(b"<html>", 502),
    "no record": Says({"error": "try later"}),
}


@pytest.mark.parametrize("says", UNREADABLE.values(), ids=UNREADABLE)
async def test_our_own_job_that_is_named_and_can_not_be_read_has_not_failed(
    tmp_path: Path, says: Says
) -> None:
    """It is not listed yet, so the request is sent once more, and that is refused."""
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor, USEAPI_MAX_CREDITS_PER_DAY="60") as h:
        vendor.instead["GET /v1/dreamina/scheduler"] = Says({"executing": {}, "total": 0})
        vendor.instead["GET /v1/dreamina/videos/"] = says
        h.network.faults = [Fault(then=own_500())]
        first = await upscale(h, DREAMINA_VIDEO)
        await asyncio.sleep(LATER_S)
        (listed,) = (await h.call("list_jobs")).job["jobs"]
        other = await upscale(h, dreamina_id(2))
        vendor.instead.clear()
        again = await upscale(h, DREAMINA_VIDEO)

    assert "unconfirmed" == listed["status"]
    assert ours(vendor) in first.text
    assert "budget_spent" == other.error["code"]
    assert (ours(vendor), None) == (again.job["job_id"], again.job.get("reused"))
    assert [30] == vendor.charged
    assert 2 == len(vendor.posted_at)


@pytest.mark.parametrize("says", [Says({"error": "Forbidden"}, 403), Says({"error": "x"}, 500)])
async def test_an_earlier_job_that_is_named_and_can_not_be_read_is_named_to_the_caller(
    tmp_path: Path, says: Says
) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        earlier = vendor.add("videos/upscale", DREAMINA_VIDEO, age_s=3600)["jobid"]
        vendor.instead[f"GET /v1/dreamina/videos/{earlier}"] = says
        first = await upscale(h, DREAMINA_VIDEO)
        vendor.instead.clear()
        read = await h.call("get_job", job_id=first.job["job_id"])

    assert "unconfirmed" == first.job["status"]
    assert earlier in first.text
    assert earlier == read.job["job_id"]
    assert 1 == len(vendor.posted_at)


async def test_an_earlier_job_that_is_named_and_is_gone_is_told_as_that(tmp_path: Path) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        earlier = vendor.add("videos/upscale", DREAMINA_VIDEO, age_s=3600)["jobid"]
        vendor.instead[f"GET /v1/dreamina/videos/{earlier}"] = NOT_FOUND
        told = await upscale(h, DREAMINA_VIDEO)

    assert "It keeps the job no longer." in told.text
    assert earlier == told.error["job_id"]


# M8, r06: what is not echoed can't be told apart


async def test_a_job_that_the_journal_made_for_another_order_is_not_this_ones(
    tmp_path: Path,
) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        one = await ask(
            h, "upscale_image", DREAMINA_IMAGE, detail_strength=1, original_image_strength=0
        )
        h.network.faults = [Fault(reaches=False, then="cut")]
        await ask(h, "upscale_image", DREAMINA_IMAGE)
        await asyncio.sleep(LATER_S)
        other = await ask(h, "upscale_image", DREAMINA_IMAGE)

    assert one.job["job_id"] != other.job["job_id"]
    assert one.job["job_id"] not in other.text
    assert "unconfirmed" == other.job["status"]
    assert 1 == len(vendor.charged)


@pytest.mark.parametrize("strength", ["detail_strength", "original_image_strength"])
async def test_a_strength_that_is_not_echoed_leaves_open_whose_a_job_is(
    tmp_path: Path, strength: str
) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(then="cut")]
        await ask(h, "upscale_image", DREAMINA_IMAGE, **{strength: 1})
        await asyncio.sleep(LATER_S)
        again = await ask(h, "upscale_image", DREAMINA_IMAGE, **{strength: 1})

    assert "unconfirmed" == again.job["status"]
    assert "did not list it" not in again.text
    assert 1 == len(vendor.posted_at)


async def test_a_job_that_may_be_the_lost_one_is_named_and_an_older_one_is_not(
    tmp_path: Path,
) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        older = vendor.add("images/upscale", DREAMINA_IMAGE, age_s=3600)["jobid"]
        h.network.faults = [Fault(then="cut")]
        await ask(h, "upscale_image", DREAMINA_IMAGE, detail_strength=1)
        await asyncio.sleep(LATER_S)
        again = await ask(h, "upscale_image", DREAMINA_IMAGE, detail_strength=1)

    assert ours(vendor) in again.job["failure"]["message"]
    assert older not in again.text


async def test_a_job_that_another_call_made_is_not_named_as_the_lost_one(tmp_path: Path) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(reaches=False, then="cut")]
        calling = asyncio.create_task(ask(h, "upscale_image", DREAMINA_IMAGE, detail_strength=1))
        await asyncio.sleep(1)
        other = await ask(h, "upscale_image", DREAMINA_IMAGE, detail_strength=0.9)
        await calling
        await asyncio.sleep(LATER_S)
        again = await ask(h, "upscale_image", DREAMINA_IMAGE, detail_strength=1)

    assert "unconfirmed" == again.job["status"]
    assert other.job["job_id"] not in again.text


@pytest.mark.parametrize(
    ("ordered", "echo", "is_ours"),
    [
        ({}, {"resolution": "4k"}, True),
        ({}, {"resolution": "8k"}, False),
        ({}, {"upscaleResolution": "8k"}, False),
        ({"resolution": "2k"}, {"resolution": "2k"}, True),
        ({"resolution": "2k"}, {"upscaleResolution": "2k"}, True),
        ({"resolution": "2k"}, {"resolution": "4k"}, False),
        ({"image_index": 2}, {"resolution": "4k", "imageIndex": 2}, True),
        ({"image_index": 2}, {"resolution": "4k", "imageIndex": 0}, False),
        ({"detail_strength": 1}, {"resolution": "4k", "detailStrength": 1.0}, True),
        ({"detail_strength": 1}, {"resolution": "4k", "detailStrength": 0.5}, False),
    ],
)
async def test_an_image_is_ours_if_its_echo_is_what_was_ordered(
    tmp_path: Path, ordered: dict[str, Any], echo: dict[str, Any], is_ours: bool
) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(reaches=False, then="cut")]
        calling = asyncio.create_task(ask(h, "upscale_image", DREAMINA_IMAGE, **ordered))
        await asyncio.sleep(1)
        made = vendor.add("images/upscale", DREAMINA_IMAGE)
        made["request"] = {"jobid": DREAMINA_IMAGE, **echo}
        told = await calling

    assert is_ours is (told.job["job_id"] == made["jobid"])


# M9, r07: one neighbour that can't be read


@pytest.mark.parametrize("says", UNREADABLE.values(), ids=UNREADABLE)
async def test_a_neighbour_that_can_not_be_read_does_not_hide_our_job(
    tmp_path: Path, says: Says
) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        other = vendor.add("videos/upscale", dreamina_id(2))["jobid"]
        vendor.instead[f"GET /v1/dreamina/videos/{other}"] = says
        h.network.faults = [Fault(then="cut")]
        told = await upscale(h, DREAMINA_VIDEO)

    assert ours(vendor) == told.job["job_id"]
    assert 1 == len(vendor.posted_at)


@pytest.mark.parametrize("says", UNREADABLE.values(), ids=UNREADABLE)
async def test_a_newer_google_flow_job_that_can_not_be_read_does_not_hide_ours(
    tmp_path: Path, says: Says
) -> None:
    vendor = GoogleFlow()
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(then="cut")]
        calling = asyncio.create_task(upscale(h, FLOW_VIDEO, resolution="4K"))
        await asyncio.sleep(1)
        other = vendor.add(FLOW_VIDEO + "x")["jobid"]
        vendor.instead[f"GET /v1/google-flow/jobs/{other}"] = says
        told = await calling

    assert ours(vendor) == told.job["job_id"]
    assert 1 == len(vendor.posted_at)


async def test_one_google_flow_list_that_can_not_be_read_does_not_hide_ours(
    tmp_path: Path,
) -> None:
    vendor = GoogleFlow()
    async with running(tmp_path, vendor=vendor) as h:
        vendor.instead["GET /v1/google-flow/jobs?options=history"] = Says({"error": "x"}, 500)
        h.network.faults = [Fault(then="cut")]
        told = await upscale(h, FLOW_VIDEO)

    assert ours(vendor) == told.job["job_id"]


async def test_a_strange_video_beside_ours_does_not_hide_it(tmp_path: Path) -> None:
    vendor = PixVerse()
    async with running(tmp_path, vendor=vendor) as h:
        vendor.add(0, video_id=17)
        vendor.jobs[pixverse_id(3)] = {"created_at": "soon", "url": None}
        h.network.faults = [Fault(then="cut")]
        told = await upscale(h, PIXVERSE_VIDEO)

    assert ours(vendor) == told.job["job_id"]


# M11, r05: rows of a newer version

NEWER: dict[str, dict[str, Any]] = {
    "service": {"service": "kling"},
    "operation": {"operation": "restyle_video"},
    "argument": {"arguments": json.dumps({"denoise": 1})},
    "value": {"arguments": json.dumps({"max_jobs": 5000})},
    "type of a value": {"arguments": json.dumps({"max_jobs": "all"})},
    "unconfirmed": {"service": "kling", "state": "unconfirmed", "status": "unconfirmed"},
    "completed": {
        "service": "kling",
        "state": "accepted",
        "status": "completed",
        "job_id": "kling-1",
        "job": json.dumps(
            {
                "job_id": "kling-1",
                "service": "kling",
                "operation": "upscale_video",
                "status": "completed",
            }
        ),
    },
    "shape of a job": {
        "state": "accepted",
        "status": "completed",
        "job_id": "kling-2",
        "job": json.dumps({"id": "kling-2", "status": "completed", "service": "kling"}),
    },
    "evidence": {"evidence": json.dumps({"scene": {"of": "nine"}, "named": "kling-1"})},
    "no address": {"origin": "", "operation": "restyle_video"},
}


def add_row(folder: Path, **changes: Any) -> str:
    """Write a row as another version may have; its id."""
    row: dict[str, Any] = {
        "id": "useapi-mcp:" + "b" * 26,
        "key": "another",
        "state": "submitting",
        "status": "submitting",
        "origin": "https://api.useapi.net",
        "service": "pixverse",
        "operation": "upscale_video",
        "source_id": PIXVERSE_VIDEO,
        "arguments": "{}",
        "evidence": "{}",
        "price": 0,
        "credits": 0,
        "posts": 1,
        "sent_at": EPOCH,
        "first_sent_at": EPOCH,
        "created_at": EPOCH,
        "updated_at": EPOCH,
        **changes,
    }
    with closing(sqlite3.connect(folder / "state" / "journal.sqlite")) as database:
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        database.execute(
            f"insert into submission({names}) values({marks})",
            tuple(row.values()),
        )
        database.commit()
    return str(row["id"])


@pytest.mark.parametrize("newer", NEWER.values(), ids=NEWER)
async def test_a_row_of_a_newer_version_hides_no_other_and_is_told_by_its_columns(
    tmp_path: Path, newer: dict[str, Any]
) -> None:
    async with running(tmp_path) as h:
        first = await upscale(h, GOOD["pixverse", "video"])
        row_id = add_row(tmp_path, **newer)
        listed = await known_ids(h)
        read = await h.call("get_job", job_id=row_id)
        waited = await h.call("get_job", job_id=row_id, wait_seconds=20)
        saved = await h.call("download_media", job_id=row_id)
        again = await upscale(h, GOOD["pixverse", "video"])

    told_id = newer.get("job_id", row_id)
    assert {first.job["job_id"], told_id} == listed
    assert told_id == read.job["job_id"] == waited.job["job_id"]
    assert newer.get("service", "pixverse") == read.job["service"]
    assert saved.is_error
    assert "Error executing" not in saved.text
    assert first.job["job_id"] == again.job["job_id"]


async def test_a_row_of_a_newer_version_can_be_given_up(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        await h.call("list_jobs")
        row_id = add_row(tmp_path, **NEWER["unconfirmed"])
        given_up = await h.call("cancel_job", job_id=row_id)

    assert "cancelled" == given_up.job["status"]


# M13, M14, r04, r27: the day's budget, and the vendor's address


async def test_a_job_that_was_there_before_is_not_spent(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_MAX_CREDITS_PER_DAY="30") as h:
        reused = await upscale(h, dreamina_jobs.UPSCALED_VIDEO)
        other = await upscale(h, dreamina_jobs.SECOND_VIDEO)
        third = await upscale(h, dreamina_jobs.THIRD_VIDEO)

    assert reused.job["reused"] is True
    assert "running" == other.job["status"]
    assert "budget_spent" == third.error["code"]
    assert 1 == len(h.sandbox.accepted)


async def test_an_older_job_that_was_found_is_not_spent(tmp_path: Path) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor, USEAPI_MAX_CREDITS_PER_DAY="30") as h:
        vendor.add("videos/upscale", DREAMINA_VIDEO, age_s=3600)
        h.network.faults = [Fault(reaches=False, then=own_500())]
        found = await upscale(h, DREAMINA_VIDEO)
        other = await upscale(h, dreamina_id(2))

    assert found.job["reused"] is True
    assert "running" == other.job["status"]


async def test_our_own_job_that_the_second_request_names_is_spent_and_not_an_earlier_one(
    tmp_path: Path,
) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor, USEAPI_MAX_CREDITS_PER_DAY="60") as h:
        vendor.instead["GET /v1/dreamina/scheduler"] = Says({"executing": {}, "total": 0})
        h.network.faults = [Fault(then=own_500())]
        told = await upscale(h, DREAMINA_VIDEO)
        other = await upscale(h, dreamina_id(2))

    assert (ours(vendor), None) == (told.job["job_id"], told.job.get("reused"))
    assert "nothing was submitted" not in told.text
    assert "budget_spent" == other.error["code"]


async def test_an_earlier_job_that_the_second_request_names_is_not_spent(tmp_path: Path) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor, USEAPI_MAX_CREDITS_PER_DAY="60") as h:
        earlier = vendor.add("videos/upscale", DREAMINA_VIDEO, age_s=3600)["jobid"]
        vendor.instead["GET /v1/dreamina/scheduler"] = Says({"executing": {}, "total": 0})
        h.network.faults = [Fault(reaches=False, then=own_500())]
        told = await upscale(h, DREAMINA_VIDEO)
        other = await upscale(h, dreamina_id(2))

    assert 3 == len(h.posts())
    assert (earlier, True) == (told.job["job_id"], told.job["reused"])
    assert "running" == other.job["status"]


async def test_a_job_that_can_only_be_ours_and_fails_has_failed(tmp_path: Path) -> None:
    """Dreamina makes one upscale of a video: what was found is never somebody else's beside it."""
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(then="cut")]
        found = await upscale(h, DREAMINA_VIDEO)
        vendor.jobs[ours(vendor)] |= {"status": "failed", "error": "fail_code: 2043"}
        failed = await h.call("get_job", job_id=found.job["job_id"])

    assert (ours(vendor), "failed") == (failed.job["job_id"], failed.job["status"])


async def test_a_second_request_is_not_sent_where_the_budget_is_too_small_for_both(
    tmp_path: Path,
) -> None:
    """The first may have been charged for a job that failed unseen."""
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor, USEAPI_MAX_CREDITS_PER_DAY="59") as h:
        h.network.faults = [Fault(reaches=False, then=own_500())]
        told = await upscale(h, DREAMINA_VIDEO)

    assert "unconfirmed" == told.job["status"]
    assert "budget_spent" in told.text
    assert [] == vendor.posted_at


@pytest.mark.parametrize(("lost", "status"), [(1, "running"), (2, "unconfirmed")])
async def test_a_second_request_counts_once_more(tmp_path: Path, lost: int, status: str) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor, USEAPI_MAX_CREDITS_PER_DAY="89") as h:
        h.network.faults = [Fault(reaches=False, then=own_500()) for _ in range(lost)]
        told = await upscale(h, DREAMINA_VIDEO)
        other = await upscale(h, dreamina_id(2))

    assert status == told.job["status"]
    assert "of today's 89 for dreamina 60 are spent" in other.text


async def test_our_own_job_that_failed_before_the_second_request_named_it_is_data(
    tmp_path: Path,
) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        vendor.instead["GET /v1/dreamina/scheduler"] = Says({"executing": {}, "total": 0})
        h.network.faults = [Fault(then=own_500())]
        calling = asyncio.create_task(upscale(h, DREAMINA_VIDEO))
        await asyncio.sleep(1)
        vendor.jobs[ours(vendor)] |= {"status": "failed", "error": "fail_code: 2043"}
        said = {"error": f"Source video already upscaled: {ours(vendor)}"}
        vendor.instead["POST "] = Says(said, 400)
        told = await calling

    assert (ours(vendor), "failed") == (told.job["job_id"], told.job["status"])
    assert 2 == len(vendor.posted_at)


async def test_a_job_of_a_moment_ago_that_the_first_refusal_names_is_an_earlier_one(
    tmp_path: Path,
) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor, USEAPI_MAX_CREDITS_PER_DAY="30") as h:
        earlier = vendor.add("videos/upscale", DREAMINA_VIDEO, age_s=30)["jobid"]
        told = await upscale(h, DREAMINA_VIDEO)
        other = await upscale(h, dreamina_id(2))

    assert (earlier, True) == (told.job["job_id"], told.job["reused"])
    assert "running" == other.job["status"]


async def test_what_is_free_is_never_refused_for_the_budget(tmp_path: Path) -> None:
    vendor = GoogleFlow()
    other = FLOW_VIDEO.replace("CAMaJDMx", "another")
    async with running(tmp_path, vendor=vendor, USEAPI_MAX_CREDITS_PER_DAY="50") as h:
        await upscale(h, FLOW_VIDEO, resolution="4K")
        free = await upscale(h, other, resolution="1080p")
        paid = await upscale(h, other, resolution="4K")

    assert "running" == free.job["status"]
    assert "budget_spent" == paid.error["code"]


async def test_a_negative_forecast_does_not_raise_the_budget(tmp_path: Path) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor, USEAPI_MAX_CREDITS_PER_DAY="30") as h:
        vendor.credits = -1000  # type: ignore[misc]  # of this one
        await upscale(h, DREAMINA_VIDEO)
        vendor.credits = 30  # type: ignore[misc]  # as above
        await upscale(h, dreamina_id(2))
        third = await upscale(h, dreamina_id(3))

    assert "budget_spent" == third.error["code"]


async def test_with_no_credits_allowed_nothing_of_an_unknown_price_is_sent(
    tmp_path: Path,
) -> None:
    vendor = PixVerse()
    async with running(tmp_path, vendor=vendor, USEAPI_MAX_CREDITS_PER_DAY="0") as h:
        refused = await upscale(h, PIXVERSE_VIDEO)

    assert "budget_spent" == refused.error["code"]
    assert [] == vendor.posted_at


async def test_another_address_of_the_vendor_has_rows_and_a_budget_of_its_own(
    tmp_path: Path,
) -> None:
    """`useapi-mcp sandbox` under USEAPI_BASE_URL, then the real one, with one state folder."""
    local = "http://127.0.0.1:8001"
    async with running(tmp_path, USEAPI_BASE_URL=local, job_seconds=900) as h:
        played = await upscale(h, GOOD["dreamina", "video"])
        h.network.faults = [Fault(reaches=False, then=own_500())]
        unconfirmed = await upscale(h, GOOD["pixverse", "video"])
    async with running(
        tmp_path, clock=h.clock, job_seconds=900, USEAPI_MAX_CREDITS_PER_DAY="30"
    ) as real:
        paid = await upscale(real, dreamina_jobs.SECOND_VIDEO)
        made = await upscale(real, GOOD["pixverse", "video"])
        reads = len(real.network.sent)
        read = await real.call("get_job", job_id=unconfirmed.job["job_id"])
        read_played = await real.call("get_job", job_id=played.job["job_id"])
        asked = len(real.network.sent) - reads
        listed = await known_ids(real)

    assert "unconfirmed" == unconfirmed.job["status"] == read.job["status"]
    assert ("running", 0) == (read_played.job["status"], asked)
    assert {paid.job["job_id"], made.job["job_id"]} == listed
    assert played.job["job_id"] not in listed


# M16, r28, r26, r29: waits


async def test_a_repeated_call_is_answered_in_40_seconds_though_its_row_ends_meanwhile(
    tmp_path: Path,
) -> None:
    """Another server reads that the job has failed while this one's read stalls."""
    kernel = Kernel()
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(
            running(tmp_path, locks=kernel.process(), job_seconds=60)
        )
        two = await stack.enter_async_context(another_server(tmp_path, one, kernel))
        source = dreamina_jobs.MODERATED_VIDEO
        first = await upscale(one, source)
        await asyncio.sleep(100)
        one.network.concerns = lambda request: request.method == "GET"
        one.network.faults = [Fault(after_s=200, then="cut")]
        began = now()
        calling = asyncio.create_task(upscale(one, source))
        await asyncio.sleep(1)
        await two.call("get_job", job_id=first.job["job_id"])
        one.network.faults = [Fault(after_s=200, then="cut")] * 2
        await calling
        took_s = now() - began

    assert took_s < ANSWERED_BY_S


class NobodysLocks:
    """Every key is somebody else's, as on a file system that refuses locks."""

    def try_lock(self, key: str) -> bool:
        return False

    def holds(self, key: str) -> bool:
        return False

    def unlock(self, key: str) -> None:
        pass

    def close(self) -> None:
        pass


class LateLocks(NobodysLocks):
    """Another process lets go of the key while the caller is about to be answered."""

    def try_lock(self, key: str) -> bool:
        return now() > 40.4

    def holds(self, key: str) -> bool:
        return True


async def test_a_key_that_is_never_given_is_told_in_40_seconds(tmp_path: Path) -> None:
    async with running(tmp_path, locks=NobodysLocks()) as h:
        refused = await upscale(h, GOOD["pixverse", "video"])
        took_s = now()

    assert took_s < ANSWERED_BY_S
    assert ("journal_busy", True) == (refused.error["code"], refused.error["retryable"])
    assert [] == h.network.sent


async def test_a_key_that_is_given_at_the_last_moment_has_a_row_to_tell_of(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, locks=LateLocks()) as h:
        h.network.faults = [Fault(after_s=100)]
        told = await upscale(h, GOOD["dreamina", "video"])
        took_s = now()

    assert took_s < ANSWERED_BY_S
    assert "submitting" == told.job["status"]


async def test_what_was_made_at_the_last_moment_is_not_told_as_an_earlier_job(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, locks=LateLocks()) as h:
        told = await upscale(h, GOOD["dreamina", "video"])

    assert (h.sandbox.accepted[0].job_id, None) == (told.job["job_id"], told.job.get("reused"))


async def test_a_key_that_is_never_given_is_not_asked_for_for_ever(tmp_path: Path) -> None:
    asked: list[float] = []

    class Counting(NobodysLocks):
        def try_lock(self, key: str) -> bool:
            asked.append(now())
            return False

    async with running(tmp_path, locks=Counting()) as h:
        await upscale(h, GOOD["pixverse", "video"])
        await asyncio.sleep(3600)
        again = await upscale(h, GOOD["pixverse", "video"])

    assert max(at for at in asked if at < 3600) < 1000
    assert "journal_busy" == again.error["code"]


async def test_a_lock_that_the_system_forbids_is_an_error_at_once(tmp_path: Path) -> None:
    """EPERM is no other process: waiting would bring nothing."""

    class Forbidden(NobodysLocks):
        def try_lock(self, key: str) -> bool:
            raise PermissionError(1, "Operation not permitted")

    async with running(tmp_path, locks=Forbidden()) as h:
        refused = await upscale(h, GOOD["pixverse", "video"])
        took_s = now()

    assert took_s < 1
    assert "journal_unusable" == refused.error["code"]


async def test_a_journal_that_another_process_has_locked_stops_only_what_needs_it(
    tmp_path: Path,
) -> None:
    """A backup, or a shell with a transaction open: the other calls go on meanwhile."""
    async with running(tmp_path) as h:
        await upscale(h, GOOD["dreamina", "video"])
        with closing(
            sqlite3.connect(tmp_path / "state" / "journal.sqlite", isolation_level=None)
        ) as other:
            other.execute("begin immediate")
            began = now()
            calling = asyncio.create_task(upscale(h, GOOD["pixverse", "video"]))
            await asyncio.sleep(0.5)
            listed = await known_ids(h)
            listed_at = now() - began
            refused = await calling
            took_s = now() - began
            other.execute("rollback")
        again = await upscale(h, GOOD["pixverse", "video"])

    assert 1 == len(listed)
    assert listed_at < 1
    assert took_s < 15
    assert ("journal_busy", True) == (refused.error["code"], refused.error["retryable"])
    assert "running" == again.job["status"]


# M17, r11: the disk fills up while an answer is lost


@NO_LIMITS_ON_WINDOWS
@pytest.mark.parametrize(
    "source", [GOOD["pixverse", "video"], GOOD["dreamina", "video"]], ids=["pixverse", "dreamina"]
)
async def test_on_a_disk_that_fills_up_a_lost_answer_is_told_as_that(
    tmp_path: Path, source: str
) -> None:
    """The vendor took it; that nothing was sent would be a lie."""
    async with running(tmp_path, job_seconds=5) as h:
        h.network.concerns = lambda request: True
        reads = [Fault(reaches=False, then=own_500())] * 60
        h.network.faults = [Fault(after_s=4, then=own_500()), *reads]
        if "pixverse" in source:
            h.network.faults = [Fault(), *h.network.faults]  # of what exists already
        calling = asyncio.create_task(upscale(h, source))
        await asyncio.sleep(2)
        with full_disk():
            told = await calling
        (listed,) = (await h.call("list_jobs")).job["jobs"]

    assert 1 == len(h.sandbox.accepted)
    assert "unconfirmed" == told.job["status"]
    assert "can't be read" in told.job["failure"]["message"]
    assert listed["status"] in ("submitting", "unconfirmed")
    assert told.job["job_id"] == listed["job_id"]


@NO_LIMITS_ON_WINDOWS
async def test_on_a_disk_that_fills_up_before_the_second_request_the_first_is_not_forgotten(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, job_seconds=5) as h:
        h.network.faults = [Fault(reaches=False, then=own_500())]
        calling = asyncio.create_task(upscale(h, GOOD["dreamina", "video"]))
        await asyncio.sleep(5)
        with full_disk():
            told = await calling
        await upscale(h, GOOD["dreamina", "video"])
        await asyncio.sleep(LATER_S)
        again = await upscale(h, GOOD["dreamina", "video"])

    assert "unconfirmed" == told.job["status"]
    assert h.sandbox.accepted[0].job_id == again.job["job_id"]
    assert 1 == len(h.sandbox.accepted)


@NO_LIMITS_ON_WINDOWS
async def test_on_a_full_disk_a_request_that_nobody_is_at_is_not_told_as_being_submitted(
    tmp_path: Path,
) -> None:
    kernel = Kernel()
    async with running(tmp_path, locks=kernel.process()) as h:
        await leave_while_it_connects(h, "upscale_video", GOOD["dreamina", "video"])
    async with another_server(tmp_path, h, kernel) as h:
        (row,) = await known_ids(h)
        with full_disk():
            read = await h.call("get_job", job_id=row)
        later = await h.call("get_job", job_id=row)

    assert ["failed", "failed"] == [read.job["status"], later.job["status"]]
    assert "never_sent" == read.job["failure"]["code"] == later.job["failure"]["code"]


@NO_LIMITS_ON_WINDOWS
async def test_an_answer_that_came_on_a_full_disk_is_written_down_when_there_is_room(
    tmp_path: Path,
) -> None:
    """The caller had left; an image that ends soon is listed nowhere afterwards."""
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(after_s=10)]
        caller = asyncio.create_task(ask(h, "upscale_image", DREAMINA_IMAGE))
        await asyncio.sleep(5)
        caller.cancel()
        with full_disk():
            await asyncio.sleep(10)
        vendor.jobs[ours(vendor)]["status"] = "completed"
        again = await ask(h, "upscale_image", DREAMINA_IMAGE)
    async with running(tmp_path, network=h.network, clock=h.clock) as h:
        listed = await known_ids(h)

    assert {ours(vendor)} == {again.job["job_id"]} == listed
    assert 1 == len(vendor.charged)


# M18, r12, r15, r21, r30


@pytest.mark.parametrize(
    "names",
    [DREAMINA_VIDEO, dreamina_id(7, "F"), dreamina_id(7, "V").replace("joe@", "else@")],
    ids=["the source", "another kind", "another account"],
)
async def test_an_answer_that_names_what_can_not_be_its_job_is_not_believed(
    tmp_path: Path, names: str
) -> None:
    vendor = Dreamina()
    vendor.jobs[names] = {
        "jobid": names,
        "type": "video",
        "status": "completed",
        "request": {"prompt": "x"},
        "response": {"videoUrl": "https://v.douyinvod.com/a.mp4", "width": 640, "height": 360},
    }
    async with running(tmp_path, vendor=vendor) as h:
        said = httpx.Response(200, json={"jobid": names, "status": "created"})
        h.network.faults = [Fault(reaches=False, then=said)]
        await upscale(h, DREAMINA_VIDEO)
        await asyncio.sleep(LATER_S)
        again = await upscale(h, DREAMINA_VIDEO)

    assert names != again.job["job_id"]


async def test_a_pixverse_answer_that_names_its_source_is_not_believed(tmp_path: Path) -> None:
    vendor = PixVerse()
    vendor.jobs[PIXVERSE_VIDEO] = {"video_id": PIXVERSE_VIDEO, "video_status": 1}
    async with running(tmp_path, vendor=vendor) as h:
        said = httpx.Response(200, json={"video_id": PIXVERSE_VIDEO})
        h.network.faults = [Fault(reaches=False, then=said)]
        await upscale(h, PIXVERSE_VIDEO)
        await asyncio.sleep(LATER_S)
        again = await upscale(h, PIXVERSE_VIDEO)

    assert "unconfirmed" == again.job["status"]
    assert 1 == len(h.posts())


@pytest.mark.parametrize(
    ("proxy", "variable"),
    [
        ("socks5://127.0.0.1:1080", "ALL_PROXY"),
        ("socks5h://127.0.0.1:1080", "HTTPS_PROXY"),
        ("ftp://127.0.0.1:1", "ALL_PROXY"),
        ("127.0.0.1:9", "HTTPS_PROXY"),
    ],
)
async def test_a_proxy_that_can_not_be_used_is_told_by_its_variable_and_leaves_no_row(
    tmp_path: Path, proxy: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv(variable, proxy)
    settings = Settings.read(
        {
            "USEAPI_TOKEN": TOKEN,
            "USEAPI_STATE_DIR": str(tmp_path / "state"),
            "USEAPI_OUTPUT_DIR": str(tmp_path / "output"),
            **NOBODY_IS_ASKED,
            "USEAPI_BASE_URL": "https://vendor.invalid",
        }
    )
    async with Client(create_server(settings, clock=VirtualClock(), transport=None)) as client:
        source = {"source": PIXVERSE_VIDEO}
        refused = reply(await client.call_tool("upscale_video", source))
        read = reply(await client.call_tool("get_job", {"job_id": PIXVERSE_VIDEO}))
        listed = [
            job
            for status in ("submitting", "failed")
            for job in reply(await client.call_tool("list_jobs", {"status": status})).job["jobs"]
        ]

    if proxy != "127.0.0.1:9":  # httpx takes it for http, where nothing listens
        assert variable in refused.text
        assert variable in read.text
        assert [] == listed
    assert "Error executing" not in refused.text + read.text
    assert "submitting" not in [job["status"] for job in listed]


@pytest.mark.parametrize(
    ("vendor", "tool", "source"),
    [
        (Dreamina, "upscale_video", DREAMINA_VIDEO),
        (Dreamina, "upscale_image", DREAMINA_IMAGE),
        (GoogleFlow, "upscale_video", FLOW_VIDEO),
        (PixVerse, "upscale_video", PIXVERSE_VIDEO),
    ],
    ids=["dreamina", "dreamina image", "google flow", "pixverse"],
)
async def test_a_job_of_a_moment_ago_that_is_not_known_everywhere_yet_runs(
    tmp_path: Path, vendor: type[Vendor], tool: str, source: str
) -> None:
    here = vendor()
    async with running(tmp_path, vendor=here) as h:
        first = await ask(h, tool, source)
        here.instead["GET "] = Says({"error": "Job not found"}, 404)
        await asyncio.sleep(2)
        read = await h.call("get_job", job_id=first.job["job_id"])
        again = await ask(h, tool, source)

    assert (first.job["job_id"], "running") == (read.job["job_id"], read.job["status"])
    assert (first.job["job_id"], True) == (again.job["job_id"], again.job["reused"])
    assert 1 == len(here.posted_at)


async def test_a_job_that_was_never_known_here_is_not_found(tmp_path: Path) -> None:
    async with running(tmp_path, vendor=Dreamina()) as h:
        read = await h.call("get_job", job_id=dreamina_id(5, "V"))

    assert "not_found" == read.error["code"]


@pytest.mark.parametrize("error", ["fail_code: 2043", "Cancelled by user"])
async def test_a_failed_job_that_stands_in_the_way_for_ever_is_told_as_that(
    tmp_path: Path, error: str
) -> None:
    """If Dreamina refuses to repeat what failed (not documented): no invitation to try again."""
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        failed = vendor.add("videos/upscale", DREAMINA_VIDEO, status="failed", error=error)
        said = {"error": f"Source video already upscaled: {failed['jobid']}"}
        vendor.instead["POST "] = Says(said, 400)
        told = [await upscale(h, DREAMINA_VIDEO) for _ in range(2)]

    for one in told:
        assert ("refused", failed["jobid"]) == (one.error["code"], one.error["job_id"])
        assert "failed" in one.text
        assert "submits it anew" not in one.text


# What kills the mutants


async def test_a_paid_answer_that_can_not_be_saved_is_looked_for(tmp_path: Path) -> None:
    """The vendor took it: the key is not free."""
    vendor = GoogleFlow()
    film = base64.b64encode(b"not really a film" * 99).decode()
    (tmp_path / "output").write_text("no folder", encoding="utf-8")
    async with running(tmp_path, vendor=vendor) as h:
        vendor.add(FLOW_VIDEO, request={"mediaGenerationId": FLOW_VIDEO, "resolution": "4K"})
        made = next(iter(vendor.jobs))
        vendor.instead["POST "] = Says({"media": [{"video": {"rawBytes": film}}]})
        first = await upscale(h, FLOW_VIDEO, resolution="4K")
        again = await upscale(h, FLOW_VIDEO, resolution="4K")

    assert made == first.job["job_id"] == again.job["job_id"]
    assert 1 == len(vendor.posted_at)


async def test_a_server_that_stops_waits_for_the_last_of_several_requests(
    tmp_path: Path,
) -> None:
    vendor = PixVerse()
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(after_s=3), Fault(after_s=12)]
        callers = [
            asyncio.create_task(upscale(h, source)) for source in (PIXVERSE_VIDEO, pixverse_id(2))
        ]
        await asyncio.sleep(1)
        for caller in callers:
            caller.cancel()
    async with running(tmp_path, network=h.network, clock=h.clock) as h:
        listed = await known_ids(h)

    assert set(vendor.made) == listed
    assert 2 == len(listed)


@pytest.mark.parametrize("does", ["submit", "quote"])
async def test_only_a_bug_in_what_goes_on_by_itself_is_logged_as_one(
    tmp_path: Path, does: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its callers may have left; a refusal is theirs to hear, and is none."""

    class Buggy(SqliteStore):
        async def claim(self, key: str) -> bool:
            raise ZeroDivisionError

    folders = {"USEAPI_STATE_DIR": str(tmp_path), "USEAPI_OUTPUT_DIR": str(tmp_path)}
    settings = Settings.read({"USEAPI_TOKEN": TOKEN, **folders})
    vendor = PixVerse()
    orders = [
        service_named("pixverse").order("upscale_video", pixverse_id(number), {}, {})
        for number in (1, 2)
    ]
    async with open_app(settings, VirtualClock(), Network(vendor)) as app:
        await getattr(app.jobs, does)(orders[0])
        vendor.instead["POST "] = Says({"error": "No"}, 402)
        with pytest.raises(UseapiError):
            await getattr(app.jobs, does)(orders[1])
    assert [] == [each for each in caplog.records if each.levelno >= logging.ERROR]
    async with open_app(settings, VirtualClock(), Network(vendor), open_store=Buggy) as app:
        with pytest.raises(ZeroDivisionError):
            await getattr(app.jobs, does)(orders[1])

    (logged,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert "ended by a bug" in logged.message
    assert logged.exc_info is not None
    assert logged.exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize("does", ["submit", "quote"])
async def test_a_server_that_stops_lets_go_of_its_keys_before_the_journal_is_closed(
    tmp_path: Path, does: str
) -> None:
    """A key may be a row of a database: one that is kept would stop everybody else's calls."""
    steps: list[str] = []

    class RemoteStore(SqliteStore):
        async def release(self, key: str) -> None:
            await asyncio.sleep(0.1)
            steps.append("released")
            await super().release(key)

        async def close(self) -> None:
            steps.append("closed")
            await super().close()

    folders = {"USEAPI_STATE_DIR": str(tmp_path), "USEAPI_OUTPUT_DIR": str(tmp_path)}
    settings = Settings.read({"USEAPI_TOKEN": TOKEN, **folders})
    network = Network(PixVerse(work_s=100))
    async with open_app(settings, VirtualClock(), network, open_store=RemoteStore) as app:
        order = service_named("pixverse").order("upscale_video", PIXVERSE_VIDEO, {}, {})
        calling = asyncio.create_task(getattr(app.jobs, does)(order))
        await asyncio.sleep(1)
    stopped_at = now()
    await asyncio.wait({calling})

    assert ["released", "closed"] == steps
    assert stopped_at < 17


async def test_a_request_that_was_counted_while_the_server_stopped_does_not_leave(
    tmp_path: Path,
) -> None:
    """Its key is free from then on, so that another server may send it."""

    class SlowStore(SqliteStore):
        is_counted = False

        @asynccontextmanager
        async def write(self, *names: str) -> AsyncIterator[Rows]:
            async with super().write(*names) as rows:
                yield rows
                counted = await rows.all("select 1 from submission where posts > 0")
            if counted and not self.is_counted:
                self.is_counted = True
                await asyncio.sleep(DRAIN_S)

        async def release(self, key: str) -> None:
            await asyncio.sleep(2)
            await super().release(key)

    folders = {"USEAPI_STATE_DIR": str(tmp_path), "USEAPI_OUTPUT_DIR": str(tmp_path)}
    settings = Settings.read({"USEAPI_TOKEN": TOKEN, **folders})
    vendor = Dreamina()
    async with open_app(settings, VirtualClock(), Network(vendor), open_store=SlowStore) as app:
        order = service_named("dreamina").order("upscale_video", DREAMINA_VIDEO, {}, {})
        calling = asyncio.create_task(app.jobs.submit(order))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.wait({calling})

    assert [] == vendor.posted_at


async def test_a_file_that_came_with_the_answer_is_not_lost_by_a_record_without_it(
    tmp_path: Path,
) -> None:
    vendor = GoogleFlow()
    film = base64.b64encode(b"not really a film" * 99).decode()
    async with running(tmp_path, vendor=vendor) as h:
        job = vendor.add(FLOW_VIDEO, status="completed")
        vendor.instead["POST "] = Says(
            {"jobid": job["jobid"], "media": [{"video": {"rawBytes": film}}]}
        )
        first = await upscale(h, FLOW_VIDEO, resolution="4K")
        read = await h.call("get_job", job_id=job["jobid"])
        again = await upscale(h, FLOW_VIDEO, resolution="4K")

    assert first.job["media"][0]["path"] in map(str, (tmp_path / "output").iterdir())
    assert first.job["media"] == read.job["media"] == again.job["media"]


def file_of(told: Reply) -> Path:
    return Path(told.job["media"][0]["path"])


async def test_a_file_that_comes_with_each_record_is_there_again_when_it_was_changed(
    tmp_path: Path,
) -> None:
    vendor, film = GoogleFlow(), b"not really a film" * 99
    async with running(tmp_path, vendor=vendor) as h:
        job_id = (await upscale(h, FLOW_VIDEO, resolution="4K")).job["job_id"]
        video = {"video": {"rawBytes": base64.b64encode(film).decode()}}
        vendor.jobs[job_id] |= {"status": "completed", "response": {"media": [video]}}
        first = await h.call("get_job", job_id=job_id, wait_seconds=50)
        file_of(first).write_bytes(b"cut by its user")
        again = await h.call("get_job", job_id=job_id)

    assert film == file_of(again).read_bytes()


async def test_a_read_that_comes_late_does_not_undo_an_end(tmp_path: Path) -> None:
    """Another server read the end while this one's read, begun before, was on its way."""
    vendor, kernel = PixVerse(), Kernel()
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(
            running(tmp_path, vendor=vendor, locks=kernel.process())
        )
        two = await stack.enter_async_context(
            running(tmp_path, network=one.network, clock=one.clock, locks=kernel.process())
        )
        first = await upscale(one, PIXVERSE_VIDEO)
        await asyncio.sleep(20)
        one.network.concerns = lambda request: request.method == "GET"
        one.network.faults = [Fault(after_s=10)]
        slow = asyncio.create_task(one.call("get_job", job_id=first.job["job_id"]))
        await asyncio.sleep(5)
        vendor.finish()
        ended = await two.call("get_job", job_id=first.job["job_id"])
        late = await slow

    assert "completed" == ended.job["status"] == late.job["status"]
    assert late.job["media"]


async def test_a_young_job_that_is_read_again_costs_one_read(tmp_path: Path) -> None:
    """Its age is known, so a 404 is patience: the account's list need not be asked."""
    vendor = PixVerse()
    async with running(tmp_path, vendor=vendor) as h:
        first = await upscale(h, PIXVERSE_VIDEO)
        await asyncio.sleep(10)
        vendor.instead[f"GET /v2/pixverse/videos/{first.job['job_id']}"] = Says(
            {"error": "Not found"}, 404
        )
        asked = len(vendor.asked)
        again = await upscale(h, PIXVERSE_VIDEO)

    assert 1 == len(vendor.asked) - asked
    assert "running" == again.job["status"]


@pytest.mark.parametrize(
    "busy",
    [
        httpx.Response(429, html="<html>Too many</html>", headers={"Retry-After": "5"}),
        httpx.Response(429, json={"error": "x"}, headers={"Retry-After": "5"}),
    ],
    ids=["page", "json"],
)
async def test_a_short_wait_that_is_asked_for_is_kept_whoever_asks(
    tmp_path: Path, busy: httpx.Response
) -> None:
    vendor = PixVerse()
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(reaches=False, then=busy)]
        told = await upscale(h, PIXVERSE_VIDEO)

    assert ours(vendor) == told.job["job_id"]
    assert [5.0] == pytest.approx(vendor.posted_at, abs=0.5)


async def test_a_finished_image_without_its_file_is_not_told_as_saved(tmp_path: Path) -> None:
    vendor, output = GoogleFlow(), tmp_path / "output"
    image = base64.b64encode(b"not really an image" * 99).decode()
    async with running(tmp_path, vendor=vendor) as h:
        vendor.instead["POST "] = Says({"encodedImage": image})
        first = await ask(h, "upscale_image", FLOW_IMAGE)
        kept = await ask(h, "upscale_image", FLOW_IMAGE)
        for file in output.iterdir():
            file.unlink()
        again = await ask(h, "upscale_image", FLOW_IMAGE)
        files = [str(file) for file in output.iterdir()]

    assert (first.job["job_id"], True) == (kept.job["job_id"], kept.job["reused"])
    assert files == [item["path"] for item in again.job["media"]]
    assert 2 == len(vendor.posted_at)


# r17: answers on a real socket


def whole(status: str, body: bytes = b"", extra: bytes = b"", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return (
        b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s\r\n"
        % (status.encode(), size, extra)
    ) + body


NEW = pixverse_id(77)
GOOD_ANSWER = json.dumps({"video_id": NEW}).encode()
ON_THE_WIRE = {
    "100 first": (b"HTTP/1.1 100 Continue\r\n\r\n" + whole("200 OK", GOOD_ANSWER), "running"),
    "103 first": (
        b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n" + whole("200 OK", GOOD_ANSWER),
        "running",
    ),
    "two answers": (whole("200 OK", GOOD_ANSWER) + whole("500 X", b'{"error":"x"}'), "running"),
    "a field twice": (
        whole("200 OK", b'{"video_id": "nonsense", "video_id": "%s"}' % NEW.encode()),
        "running",
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", "unconfirmed"),
    "202 without an id": (whole("202 Accepted", b'{"status":"queued"}'), "unconfirmed"),
    "307": (whole("307 X", b"", b"location: https://elsewhere.invalid/x\r\n"), "unconfirmed"),
    "cut body": (whole("200 OK", GOOD_ANSWER[:20], length=len(GOOD_ANSWER)), "unconfirmed"),
    "101": (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "unconfirmed",
    ),
    "409": (whole("409 Conflict", b'{"error":"conflict"}'), "refused"),
    "early 413": (whole("413 X", b'{"error":"too large"}', b"connection: close\r\n"), "refused"),
}


@pytest.mark.parametrize(("answer", "becomes"), ON_THE_WIRE.values(), ids=ON_THE_WIRE)
async def test_whatever_comes_over_the_wire_one_request_leaves(
    tmp_path: Path, answer: bytes, becomes: str
) -> None:
    posts = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal posts
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            while not (head := await reader.readuntil(b"\r\n\r\n")).startswith(b"POST"):
                writer.write(whole("200 OK", b'{"data": []}'))
                await writer.drain()
            posts += 1
            length = re.search(rb"(?i)content-length: *([0-9]+)", head)
            if length and b"413" not in answer[:20]:
                await reader.readexactly(int(length[1]))
            writer.write(answer)
            await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    settings = Settings.read(
        {
            "USEAPI_TOKEN": TOKEN,
            "USEAPI_STATE_DIR": str(tmp_path / "state"),
            "USEAPI_OUTPUT_DIR": str(tmp_path / "output"),
            **NOBODY_IS_ASKED,
            "USEAPI_BASE_URL": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        }
    )
    async with server, Client(create_server(settings, clock=VirtualClock())) as client:
        call = ("upscale_video", {"source": PIXVERSE_VIDEO})
        await client.call_tool(*call)
        await asyncio.sleep(LATER_S)
        told = reply(await client.call_tool(*call)) if becomes != "refused" else None
        which = {"status": "failed"} if told is None else {}
        (listed,) = reply(await client.call_tool("list_jobs", which)).job["jobs"]
    await asyncio.sleep(1)  # for the connections to close

    assert 1 == posts
    if told is None:
        assert "failed" == listed["status"]
    elif becomes == "running":
        assert NEW == told.job["job_id"]
    else:
        assert "unconfirmed" == told.job["status"]
