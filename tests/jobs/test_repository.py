"""Rows of the journal as jobs: what they say themselves, where the vendor's answer says nothing."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mcp_server.clock import iso
from mcp_server.services import dreamina
from tests.jobs.test_never_lost import add_row
from tests.jobs.test_queue import Vendor, change_row, ended, made, one_server
from tests.support.harness import EPOCH, GOOD, Fault, Harness, running
from tests.support.vendors import (
    DREAMINA_IMAGE,
    DREAMINA_VIDEO,
    FLOW_IMAGE,
    PIXVERSE_VIDEO,
    Dreamina,
    PixVerse,
    pixverse_id,
)

RESOLUTION = {"arguments": json.dumps({"resolution": "4K"})}


async def told(folder: Path, **row: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What get_job and list_jobs say of a row that has ended."""
    async with running(folder) as h:
        await h.call("list_jobs")  # which makes the journal
        row_id = add_row(folder, **row)
        job = (await h.call("get_job", job_id=row_id)).record
        (listed,) = await listed_by(h, row["status"])
    return job, listed


async def listed_by(h: Harness, status: str) -> list[dict[str, Any]]:
    return list((await h.call("list_jobs", status=status)).job["jobs"])


@pytest.mark.parametrize("state", ["failed", "cancelled"])
async def test_what_ended_without_a_job_is_told_by_its_columns(tmp_path: Path, state: str) -> None:
    ended = {"state": state, "status": state, "note": "It was refused.", "updated_at": EPOCH + 5}
    job, listed = await told(tmp_path, **RESOLUTION, **ended)

    assert {
        "job_id": "useapi-mcp:" + "b" * 26,
        "service": "pixverse",
        "operation": "upscale_video",
        "status": state,
        "source": PIXVERSE_VIDEO,
        "options": {"resolution": "4K"},
        "failure": {"code": state, "message": "It was refused."},
        "created_at": iso(EPOCH),
        "updated_at": iso(EPOCH + 5),
    } == job
    assert {"resolution": "4K"} == listed["options"]


async def test_what_ended_without_a_word_has_no_reason(tmp_path: Path) -> None:
    job, _ = await told(tmp_path, state="failed", status="failed")

    assert "failed" == job["status"]
    assert "failure" not in job
    assert "options" not in job


async def test_an_image_that_ended_without_a_job_is_not_told_as_being_made(tmp_path: Path) -> None:
    """Its service answers only when it is done, so it runs while there is no answer."""
    image = {"service": "google-flow", "operation": "upscale_image", "source_id": FLOW_IMAGE}
    job, _ = await told(tmp_path, state="failed", status="failed", **image)

    assert "failed" == job["status"]


async def test_a_fraction_is_told_as_it_was_asked(tmp_path: Path) -> None:
    async with running(tmp_path, vendor=Dreamina()) as h:
        job = await h.call("upscale_image", source=DREAMINA_IMAGE, detail_strength=0.35)

    assert 0.35 == job.job["options"]["detail_strength"]


@pytest.mark.parametrize("options", [None, {"model": "topaz-proteus"}])
async def test_a_job_says_its_options_itself_or_its_row_does(
    tmp_path: Path, options: dict[str, str] | None
) -> None:
    """Jobs that the first versions wrote have none."""
    stored: dict[str, Any] = {"job_id": "x", "service": "pixverse", "operation": "upscale_video"}
    stored |= {"status": "failed", **({"options": options} if options else {})}
    job, listed = await told(
        tmp_path, state="failed", status="failed", job=json.dumps(stored), **RESOLUTION
    )

    assert (options or {"resolution": "4K"}) == job["options"] == listed["options"]


@pytest.mark.parametrize("operation", ["upscale_video", "generate_video"])
async def test_a_job_without_a_source_is_listed_without_one(tmp_path: Path, operation: str) -> None:
    stored = {"job_id": "x", "service": "pixverse", "operation": operation, "status": "failed"}
    ended = {"state": "failed", "status": "failed", "operation": operation}
    _, listed = await told(tmp_path, job=json.dumps(stored), **ended)

    assert "source" not in listed


async def test_a_note_on_a_job_that_did_not_fail_is_no_failure(tmp_path: Path) -> None:
    """A newer version's job is told by its columns, and its key may have been freed."""
    job, _ = await told(
        tmp_path, state="freed", status="completed", note="Its file is gone.", job='{"is": "newer"}'
    )

    assert "failure" not in job


async def test_an_answered_row_whose_job_was_not_kept_runs(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        await h.call("list_jobs")
        add_row(tmp_path, state="accepted", status="running", job_id=pixverse_id(2))
        (listed,) = await listed_by(h, "running")

    assert (pixverse_id(2), "running") == (listed["job_id"], listed["status"])


async def test_a_result_that_is_not_understood_is_made_anew(tmp_path: Path) -> None:
    """There is no job to read and no file to find: its row is all there is of it."""
    image = GOOD["google-flow", "image"]
    async with running(tmp_path) as h:
        first = (await h.call("upscale_image", source=image)).job
        await asyncio.sleep(10)
    with closing(sqlite3.connect(tmp_path / "state" / "journal.sqlite")) as database, database:
        database.execute("update submission set job = '{}'")
    async with running(tmp_path, network=h.network, clock=h.clock) as h:
        again = (await h.call("upscale_image", source=image)).job

    assert first["job_id"] != again["job_id"]
    assert 2 == len(h.posts())


async def test_a_row_of_another_address_is_told_as_last_known_and_nobody_is_asked(
    tmp_path: Path,
) -> None:
    """Rows of the first version name no address: their key was made with it."""
    job_id = pixverse_id(2)
    stored = {"job_id": job_id, "service": "pixverse", "operation": "upscale_video"}
    async with running(tmp_path) as h:
        await h.call("list_jobs")
        row_id = add_row(
            tmp_path,
            origin="",
            state="accepted",
            status="running",
            job_id=job_id,
            job=json.dumps(stored | {"status": "running"}),
        )
        asked = len(h.network.sent)
        job = await h.call("get_job", job_id=row_id)

        assert "running" == job.job["status"]
        assert asked == len(h.network.sent)


async def test_a_new_job_is_told_with_what_was_asked_and_when(tmp_path: Path) -> None:
    """PixVerse answers with an id alone."""
    async with running(tmp_path, vendor=PixVerse()) as h:
        job = (await h.call("upscale_video", source=PIXVERSE_VIDEO, resolution="4K")).job

    assert (PIXVERSE_VIDEO, "4K") == (job["source"], job["options"]["resolution"])
    assert iso(EPOCH) == job["created_at"]


async def test_an_ended_job_has_the_link_that_its_service_gives_it_now(tmp_path: Path) -> None:
    vendor = PixVerse()
    async with running(tmp_path, vendor=vendor) as h:
        job_id = (await h.call("upscale_video", source=PIXVERSE_VIDEO)).job["job_id"]
        vendor.finish()
        for link in ("https://media.pixverse.ai/1.mp4", "https://media.pixverse.ai/2.mp4"):
            vendor.jobs[job_id]["url"] = link
            await asyncio.sleep(20)
            job = (await h.call("get_job", job_id=job_id)).job

            assert link == job["media"][0]["url"]


async def test_an_ended_job_that_is_read_again_is_written_down_once(tmp_path: Path) -> None:
    """Nothing is committed for a read that brings no news."""
    vendor = PixVerse()
    async with running(tmp_path, vendor=vendor) as h:
        job_id = (await h.call("upscale_video", source=PIXVERSE_VIDEO)).job["job_id"]
        vendor.finish()
        written = []
        with closing(sqlite3.connect(tmp_path / "state" / "journal.sqlite")) as database:
            for _ in range(2):
                await asyncio.sleep(20)
                assert "completed" == (await h.call("get_job", job_id=job_id)).job["status"]
                written += database.execute("select updated_at from submission").fetchall()

    assert written[0] == written[1]


async def test_an_earlier_job_is_told_with_its_own_time(tmp_path: Path) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        vendor.add("videos/upscale", DREAMINA_VIDEO, age_s=3600)
        job = (await h.call("upscale_video", source=DREAMINA_VIDEO)).job

    assert job["reused"]
    assert iso(EPOCH - 3600) == job["created_at"]


async def test_a_job_that_was_looked_for_is_told_with_what_its_record_lacks(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        h.network.faults = [Fault(then="cut")]
        job = (await h.call("generate_video", prompt="a red fox", service="google-flow")).job

    assert not job["job_id"].startswith("useapi-mcp:")
    assert "a red fox" == job["source"]


async def test_a_list_names_the_file_of_a_job_once_it_is_saved(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        job_id = (await h.call("upscale_video", source=GOOD["dreamina", "video"])).job["job_id"]
        (before,) = await listed_by(h, "running")
        saved = await h.call("download_media", job_id=job_id)
        (after,) = await listed_by(h, "completed")

    assert "path" not in before
    assert saved.job["media"][0]["path"] == after["path"]


async def test_a_record_of_a_job_does_not_change_what_was_asked_for_and_when(
    tmp_path: Path,
) -> None:
    """PixVerse has no word for some of it, and its clock is its own."""
    vendor = PixVerse()
    async with running(tmp_path, vendor=vendor) as h:
        first = (await h.call("upscale_video", source=PIXVERSE_VIDEO, resolution="4K")).job
        vendor.finish()
        record = vendor.jobs[first["job_id"]]
        record |= {"upscaled": False, "created_at": iso(EPOCH + 30)}
        await asyncio.sleep(20)
        read = (await h.call("get_job", job_id=first["job_id"])).job

    assert "completed" == read["status"]
    for name in ("operation", "source", "options", "created_at"):
        assert first[name] == read[name]


async def test_an_image_that_is_not_sent_yet_does_not_run(tmp_path: Path) -> None:
    """Its service answers only when it is done, so it runs from when its request leaves."""
    async with running(tmp_path) as h:
        h.network.faults = [Fault(connect_s=10)]
        before = await h.call("upscale_image", source=GOOD["google-flow", "image"])
        sent_before = len(h.posts())
        await asyncio.sleep(9)
        (after,) = await listed_by(h, "running")

    assert ("submitting", 0) == (before.job["status"], sent_before)
    assert before.job["job_id"] == after["job_id"]


# What waits for a slot


async def test_what_a_server_took_out_of_the_queue_and_died_is_sent_by_the_next(
    tmp_path: Path,
) -> None:
    vendor = Vendor(tmp_path)
    async with vendor.server() as server:
        await made(server, 1)
        waiting = (await made(server, 2)).job["job_id"]
    change_row(tmp_path, "state = 'submitting', status = 'submitting'", waiting)
    async with vendor.server() as server:
        job = await ended(server, waiting)

    assert "completed" == job["status"]
    assert 2 == vendor.accepted


async def test_what_waits_and_is_not_understood_holds_up_nothing_that_waits_behind_it(
    tmp_path: Path,
) -> None:
    """A newer version's is sent by a server of that version."""
    newer = {"operation": "restyle_video", "evidence": json.dumps({"body": {"style": "ink"}})}
    unsent = {"posts": 0, "sent_at": None, "first_sent_at": None, "queued_until": EPOCH + 9000}
    async with one_server(tmp_path, slots=2) as server:
        for number in (1, 2):
            await made(server, number)
        row_id = add_row(tmp_path, state="queued", status="queued", **newer, **unsent)
        behind = await made(server, 3)
        job = await ended(server, behind.job["job_id"])
        still = await server.call("get_job", job_id=row_id)

    assert ("queued", "completed") == (behind.job["status"], job["status"])
    assert "queued" == still.job["status"]
    assert 3 == len(server.posts())


async def test_what_waits_without_what_is_to_be_sent_is_sent_by_the_same_call(
    tmp_path: Path,
) -> None:
    async with one_server(tmp_path) as server:
        await made(server, 1)
        waiting = await made(server, 2)
        change_row(tmp_path, "evidence = '{}'", waiting.job["job_id"])
        await asyncio.sleep(200)
        still = await server.call("get_job", job_id=waiting.job["job_id"])
        sent_by_then = len(server.posts())
        again = await made(server, 2)

    assert ("queued", 1) == (still.job["status"], sent_by_then)
    assert "running" == again.job["status"]
    assert 2 == len(server.posts())


async def test_a_job_takes_the_slot_of_the_account_that_its_vendor_chose(tmp_path: Path) -> None:
    """The sandbox's user has two accounts on Dreamina, of which one is free."""
    async with one_server(tmp_path) as server:
        chosen = await made(server, 1, "dreamina")
        beside = await server.call("upscale_video", source=GOOD["dreamina", "video"])

    account = dreamina.account_of(GOOD["dreamina", "video"])
    assert account == dreamina.account_of(chosen.job["job_id"])
    assert "queued" == beside.job["status"]
    assert 1 == len(server.posts())
