"""Downloads: whole files under safe names, once, with what their own bytes say."""

import asyncio
import os
import re
import shutil
import stat
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from mcp_server.clock import Clock
from mcp_server.errors import DownloadError, JournalError, UnreachableError
from mcp_server.jobs.downloads import Downloads
from mcp_server.journal.journal import Journal
from mcp_server.journal.sqlite import SqliteStore
from mcp_server.media.fetch import Fetcher
from mcp_server.media.files import DISK_RESERVE_BYTES, OutputFolder
from mcp_server.media.names import Stem
from mcp_server.models import Job, Media
from mcp_server.sandbox import media
from mcp_server.sandbox.app import Sandbox
from mcp_server.settings import Settings
from tests.support.corpora import HOSTILE_FILE_NAMES
from tests.support.harness import GOOD, Fault, Harness, Opened, Reply, VirtualClock, running
from tests.support.media_host import MediaHost, WithMediaHost, film

CLIP = media.read(media.clip(640, 360, 24))
PICTURE = media.read(media.image(1280, 720))
EMAIL = "user@example.com"


async def completed(harness: Harness, service: str = "dreamina", kind: str = "video") -> str:
    """A finished upscale of the service's good source."""
    submitted = await harness.call(f"upscale_{kind}", source=GOOD[service, kind])
    job_id = str(submitted.job["job_id"])
    waited = await harness.call("get_job", job_id=job_id, wait_seconds=50)
    assert "completed" == waited.job["status"]
    return job_id


def files(harness: Harness) -> list[str]:
    return sorted(path.name for path in (harness.folder / "output").iterdir())


def path_of(reply: Reply) -> Path:
    return Path(reply.job["media"][0]["path"])


def first_path(job: Job) -> Path:
    return Path(str((job.media or ())[0].path))


def is_media(request: httpx.Request) -> bool:
    return request.url.path.startswith("/media/")


async def test_a_file_is_saved_with_what_its_own_bytes_say(tmp_path: Path) -> None:
    async with running(tmp_path) as harness:
        job_id = await completed(harness)

        saved = await harness.call("download_media", job_id=job_id)

        (item,) = saved.job["media"]
        path = path_of(saved)
        expected = media.read(media.clip(1280, 720, 24))
        assert path.is_absolute()
        assert expected == path.read_bytes()
        assert 0o600 == stat.S_IMODE(path.stat().st_mode)
        facts = ("video/mp4", 1280, 720, 2000, 24.0, len(expected))
        names = ("mime_type", "width", "height", "duration_ms", "frame_rate", "size_bytes")
        assert facts == tuple(item[name] for name in names)
        assert str(path) in saved.text
        assert [path.name] == files(harness)


async def test_no_file_name_holds_the_accounts_email(tmp_path: Path) -> None:
    async with running(tmp_path) as harness:
        for service in ("dreamina", "google-flow", "pixverse"):
            await harness.call("download_media", job_id=await completed(harness, service))

        assert 3 == len(files(harness))
        assert not [
            name for name in files(harness) if "user" in name or EMAIL.encode().hex() in name
        ]


async def test_the_same_call_again_returns_the_file_that_is_there(tmp_path: Path) -> None:
    async with running(tmp_path) as harness:
        job_id = await completed(harness)
        first = await harness.call("download_media", job_id=job_id)
        asked = len(harness.network.sent)

        second = await harness.call("download_media", job_id=job_id)

        assert first.job["media"] == second.job["media"]
        assert asked == len(harness.network.sent)
        assert 1 == len(files(harness))


async def test_get_job_shows_where_the_file_is_also_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as harness:
        job_id = await completed(harness)
        saved = await harness.call("download_media", job_id=job_id)
        sandbox = harness.sandbox

    async with running(tmp_path, sandbox=sandbox) as harness:
        read = await harness.call("get_job", job_id=job_id)
        again = await harness.call("upscale_video", source=GOOD["dreamina", "video"])

        for job in (read.job, again.job):
            assert saved.job["media"][0]["path"] == job["media"][0]["path"]
            assert 24.0 == job["media"][0]["frame_rate"]
        assert again.job["reused"]


@pytest.mark.parametrize("harm", ["deleted", "cut", "a folder", "a link"])
async def test_a_file_that_is_not_as_it_was_is_fetched_again(tmp_path: Path, harm: str) -> None:
    async with running(tmp_path) as harness:
        job_id = await completed(harness)
        first = await harness.call("download_media", job_id=job_id)
        path = path_of(first)
        whole = path.read_bytes()
        if harm == "cut":
            path.write_bytes(b"cut")
        else:
            path.unlink()
        if harm == "a folder":
            path.mkdir()
        if harm == "a link":
            path.symlink_to(tmp_path / "nowhere")

        read = await harness.call("get_job", job_id=job_id)
        second = await harness.call("download_media", job_id=job_id)

        assert "path" not in read.job["media"][0]
        assert whole == path_of(second).read_bytes()
        assert not (tmp_path / "nowhere").exists()


async def test_the_caller_may_name_the_file(tmp_path: Path) -> None:
    async with running(tmp_path) as harness:
        job_id = await completed(harness)

        saved = await harness.call("download_media", job_id=job_id, file_name="my clip.mov")

        assert ["my clip.mp4"] == files(harness)
        assert saved.job["media"][0]["path"].endswith("/my clip.mp4")


async def test_a_hostile_name_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    async with running(tmp_path) as harness:
        for name in (name for name in HOSTILE_FILE_NAMES if "\ud800" not in name):
            refused = await harness.call(
                "download_media", job_id=GOOD["dreamina", "video"], file_name=name
            )

            assert "invalid_argument" == refused.error["code"], name
        assert [] == harness.network.sent
        assert not (tmp_path / "output").exists()


async def test_another_name_for_a_saved_file_is_a_copy_and_no_download(tmp_path: Path) -> None:
    async with running(tmp_path) as harness:
        job_id = await completed(harness)
        await harness.call("download_media", job_id=job_id, file_name="one")
        asked = len(harness.network.sent)

        two = await harness.call("download_media", job_id=job_id, file_name="two")
        again = await harness.call("download_media", job_id=job_id, file_name="two")
        default = await harness.call("download_media", job_id=job_id)

        assert ["one.mp4", "two.mp4"] == files(harness)
        assert two.job["media"] == again.job["media"] == default.job["media"]
        assert asked == len(harness.network.sent)


async def test_a_name_that_is_taken_gets_a_number_and_nothing_is_overwritten(
    tmp_path: Path,
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("keep")
    output = tmp_path / "output"
    output.mkdir()
    (output / "clip.mp4").write_text("somebody else's")
    (output / "clip-2.mp4").symlink_to(secret)
    (output / "clip-3.mp4").symlink_to(tmp_path / "dangling")
    async with running(tmp_path) as harness:
        job_id = await completed(harness)

        saved = await harness.call("download_media", job_id=job_id, file_name="clip")
        again = await harness.call("download_media", job_id=job_id, file_name="clip")

        assert saved.job["media"][0]["path"].endswith("/clip-4.mp4")
        assert saved.job["media"] == again.job["media"]
        assert "keep" == secret.read_text()
        assert "somebody else's" == (output / "clip.mp4").read_text()
        assert not (tmp_path / "dangling").exists()


async def test_a_result_that_came_as_base64_is_a_file_already(tmp_path: Path) -> None:
    async with running(tmp_path) as harness:
        job_id = await completed(harness, "google-flow", "image")
        asked = len(harness.network.sent)

        saved = await harness.call("download_media", job_id=job_id)
        named = await harness.call("download_media", job_id=job_id, file_name="picture")

        assert 2 == len(files(harness))
        assert "picture.jpg" in files(harness)
        assert named.job["media"][0]["path"].endswith("/picture.jpg")
        assert saved.job["media"][0]["size_bytes"] == named.job["media"][0]["size_bytes"]
        assert asked == len(harness.network.sent)


async def test_a_base64_result_whose_file_is_gone_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as harness:
        job_id = await completed(harness, "google-flow", "image")
        for path in (tmp_path / "output").iterdir():
            path.unlink()

        told = await harness.call("download_media", job_id=job_id)

        assert "file_gone" == told.error["code"]
        assert job_id == told.error["job_id"]


async def test_of_a_running_job_the_end_is_waited_for(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=30) as harness:
        submitted = await harness.call("upscale_video", source=GOOD["dreamina", "video"])

        saved = await harness.call("download_media", job_id=submitted.job["job_id"])

        assert "completed" == saved.job["status"]
        assert path_of(saved).is_file()


async def test_a_job_that_goes_on_running_is_told_and_saved_by_a_later_call(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=60) as harness:
        submitted = await harness.call("upscale_video", source=GOOD["dreamina", "video"])
        job_id, began = submitted.job["job_id"], asyncio.get_running_loop().time()

        told = await harness.call("download_media", job_id=job_id)
        taken_s = asyncio.get_running_loop().time() - began
        saved = await harness.call("download_media", job_id=job_id)

        assert 39 <= taken_s <= 41
        assert "running" == told.job["status"]
        assert "nothing is saved yet" in told.job["note"]
        assert told.job["next"].startswith("get_job")
        assert path_of(saved).is_file()


async def test_a_job_that_was_cancelled_has_nothing_to_save(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=600) as harness:
        submitted = await harness.call("upscale_video", source=GOOD["dreamina", "video"])
        job_id = submitted.job["job_id"]
        await harness.call("cancel_job", job_id=job_id)

        told = await harness.call("download_media", job_id=job_id)

        assert "is cancelled and has no file to save" in told.text
        assert ("download_failed", "get_job") == (told.error["code"], told.error["next_action"])


@pytest.mark.parametrize("service", ["dreamina", "google-flow", "pixverse"])
async def test_an_expired_link_is_replaced_by_a_fresh_one_once(
    tmp_path: Path, service: str
) -> None:
    async with running(tmp_path) as harness:
        job_id = await completed(harness, service)
        harness.network.concerns = is_media
        harness.network.faults = [Fault(then=httpx.Response(403, text="Request has expired"))]

        saved = await harness.call("download_media", job_id=job_id)

        links = [str(r.url) for r in harness.network.sent if is_media(r)]
        if service == "google-flow":  # a job's record keeps its link: GET /assets gives a new one
            assert 2 == len(links)
            assert links[0] != links[1]
            assert path_of(saved).is_file()
        else:  # the sandbox signs the same link again, which is of no use
            assert "status 403" in saved.text
            assert job_id == saved.error["job_id"]
        assert [] == [name for name in files(harness) if name.endswith(".part")]


async def test_google_flow_links_older_than_six_hours_are_replaced(tmp_path: Path) -> None:
    """GET /assets/{mediaGenerationId} gives a new link (google-flow.md: links live about 6 h)."""
    async with running(tmp_path) as harness:
        job_id = await completed(harness, "google-flow")
        harness.clock.jump_s = 7 * 3600

        saved = await harness.call("download_media", job_id=job_id)

        assert path_of(saved).is_file()
        assert any("/assets/user%3A12345" in path for _, path in harness.sandbox.requests)


async def test_a_broken_download_is_tried_again_and_leaves_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as harness:
        job_id = await completed(harness)
        harness.network.concerns = is_media
        harness.network.faults = [Fault(then="cut")] * 3

        failed = await harness.call("download_media", job_id=job_id)
        left = files(harness)
        saved = await harness.call("download_media", job_id=job_id)

        assert "in 3 tries" in failed.text
        assert [] == left
        assert path_of(saved).is_file()


async def test_callers_at_once_fetch_once(tmp_path: Path) -> None:
    async with running(tmp_path) as harness:
        job_id = await completed(harness)

        answers = await asyncio.gather(
            *(harness.call("download_media", job_id=job_id) for _ in range(20))
        )

        assert 1 == len({answer.job["media"][0]["path"] for answer in answers})
        assert 1 == len([r for r in harness.network.sent if is_media(r)])


async def test_the_token_never_goes_to_a_media_link(tmp_path: Path) -> None:
    async with running(tmp_path) as harness:
        await harness.call("download_media", job_id=await completed(harness))

        fetched = [request for request in harness.network.sent if is_media(request)]
        assert 1 == len(fetched)
        assert "authorization" not in fetched[0].headers


# Downloads that take longer than their callers wait.


def with_host(
    tmp_path: Path, host: MediaHost, opened: Opened | None = None
) -> AbstractAsyncContextManager[Harness]:
    """A server whose media come from this host."""
    clock = VirtualClock()
    sandbox = Sandbox(job_seconds=3, now=clock.now)
    network = WithMediaHost(sandbox, host)
    return running(tmp_path, sandbox=sandbox, network=network, clock=clock, while_open=opened)


async def leaves_after(seconds: float, call: Coroutine[Any, Any, Reply]) -> None:
    """A caller whose host gives up; the client then sends notifications/cancelled."""
    task = asyncio.create_task(call)
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.wait({task})


async def test_a_download_goes_on_when_its_callers_leave_and_is_done_once(tmp_path: Path) -> None:
    host = MediaHost(film(4_000_000), bytes_per_s=400_000)
    async with with_host(tmp_path, host) as harness:
        job_id = await completed(harness)

        for _ in range(3):  # each leaves after 4 of the 10 seconds
            await leaves_after(4, harness.call("download_media", job_id=job_id))
        saved = await harness.call("download_media", job_id=job_id)

        assert host.body == path_of(saved).read_bytes()
        assert [None] == host.ranges
        assert 4_000_000 == host.sent_bytes
        assert [path_of(saved).name] == files(harness)


async def test_after_40_seconds_the_call_says_how_far_it_is_and_the_same_call_joins(
    tmp_path: Path,
) -> None:
    host = MediaHost(film(15_000_000), bytes_per_s=200_000)
    async with with_host(tmp_path, host) as harness:
        job_id, began = await completed(harness), asyncio.get_running_loop().time()

        told = await harness.call("download_media", job_id=job_id)
        taken_s = asyncio.get_running_loop().time() - began
        saved = await harness.call("download_media", job_id=job_id)

        assert 39 <= taken_s <= 41
        assert "completed" == told.job["status"]
        assert "path" not in told.job["media"][0]
        assert re.search(r"[78]\.\d of 15\.0 MB saved so far", told.text)
        assert "the same call joins it" in told.job["note"]
        assert told.job["next"].startswith("download_media")
        assert host.body == path_of(saved).read_bytes()
        assert [None] == host.ranges


async def test_when_the_server_is_about_to_stop_the_call_says_at_once_how_far_it_is(
    tmp_path: Path,
) -> None:
    host, opened = MediaHost(film(15_000_000), bytes_per_s=200_000), Opened()
    async with with_host(tmp_path, host, opened) as harness:
        job_id, loop = await completed(harness), asyncio.get_running_loop()
        call = asyncio.create_task(harness.call("download_media", job_id=job_id))
        await asyncio.sleep(3)
        assert not call.done()
        opened.app.jobs.answer_waiting()
        began_s = loop.time()
        told = await call

        assert loop.time() - began_s < 1
    assert "the same call joins it" in told.job["note"]
    assert told.job["next"].startswith("download_media")


async def test_what_a_restart_cut_is_gone_on_with_after_what_there_is(tmp_path: Path) -> None:
    host = MediaHost(film(12_000_000), bytes_per_s=200_000)
    async with with_host(tmp_path, host) as harness:
        job_id, sandbox, clock = await completed(harness), harness.sandbox, harness.clock
        await leaves_after(30, harness.call("download_media", job_id=job_id))
    had_bytes = host.sent_bytes

    network = WithMediaHost(sandbox, host)
    async with running(tmp_path, sandbox=sandbox, network=network, clock=clock) as harness:
        saved = await harness.call("download_media", job_id=job_id)

        assert had_bytes > 5_000_000
        assert [None, f"bytes={had_bytes}-"] == host.ranges
        assert '"1"' == host.seen[1].headers["if-range"]
        assert host.body == path_of(saved).read_bytes()
        assert len(host.body) == host.sent_bytes
        assert [path_of(saved).name] == files(harness)


async def test_a_file_that_has_changed_since_is_begun_anew(tmp_path: Path) -> None:
    host = MediaHost(film(2_000_000), bytes_per_s=400_000)
    async with with_host(tmp_path, host) as harness:
        job_id, sandbox, clock = await completed(harness), harness.sandbox, harness.clock
        await leaves_after(3, harness.call("download_media", job_id=job_id))
    host.body, host.headers = film(3_000_000) + b"other", {"etag": '"2"'}

    network = WithMediaHost(sandbox, host)
    async with running(tmp_path, sandbox=sandbox, network=network, clock=clock) as harness:
        saved = await harness.call("download_media", job_id=job_id)

        assert host.body == path_of(saved).read_bytes()
        assert [path_of(saved).name] == files(harness)


async def test_a_half_of_which_nobody_can_tell_whether_it_still_fits_is_not_kept(
    tmp_path: Path,
) -> None:
    host = MediaHost(film(2_000_000), bytes_per_s=400_000, headers={"etag": 'W/"1"'})
    async with with_host(tmp_path, host) as harness:
        job_id = await completed(harness)
        await leaves_after(3, harness.call("download_media", job_id=job_id))

    assert [] == files(harness)


async def test_calls_with_two_names_fetch_once(tmp_path: Path) -> None:
    host = MediaHost(film(2_000_000), bytes_per_s=400_000)
    async with with_host(tmp_path, host) as harness:
        job_id = await completed(harness)

        one, two = await asyncio.gather(
            harness.call("download_media", job_id=job_id, file_name="one"),
            harness.call("download_media", job_id=job_id, file_name="two"),
        )

        assert ["one.mp4", "two.mp4"] == [path_of(one).name, path_of(two).name]
        assert [None] == host.ranges


async def test_four_downloads_go_on_at_once_and_the_others_wait(tmp_path: Path) -> None:
    host = MediaHost(film(400_000), bytes_per_s=400_000)
    some = downloads(tmp_path, host)
    jobs = [finished_job("https://media.example.com/1", number=n) for n in range(10)]

    saved = await asyncio.gather(*(some.save(job, None, unheard) for job in jobs))

    assert 4 == host.most_open
    assert 10 == len({first_path(job) for job in saved})


async def test_a_call_while_the_server_stops_is_told_to_come_back(tmp_path: Path) -> None:
    host = MediaHost(film(4_000_000), bytes_per_s=400_000)
    some = downloads(tmp_path, host)
    call = asyncio.create_task(some.save(JOB, None, unheard))
    await asyncio.sleep(3)

    await some.close()

    with pytest.raises(UnreachableError, match="stopping"):
        await call
    with pytest.raises(UnreachableError, match="stopping"):
        await some.save(JOB, None, unheard)
    assert 0 == host.open


async def test_a_download_that_fails_while_nobody_waits_is_told_to_the_next_call(
    tmp_path: Path,
) -> None:
    """Else one that always fails late would be begun for ever, and nobody would hear why."""
    host = MediaHost(film(4_000_000), bytes_per_s=400_000, breaks_at=[0, 0, 0])
    async with with_host(tmp_path, host) as harness:
        job_id = await completed(harness)
        await leaves_after(0.001, harness.call("download_media", job_id=job_id))
        await asyncio.sleep(60)

        told = await harness.call("download_media", job_id=job_id)
        saved = await harness.call("download_media", job_id=job_id)

        assert "download_interrupted" == told.error["code"]
        assert 4 == len(host.seen)
        assert host.body == path_of(saved).read_bytes()


async def test_a_failure_of_long_ago_is_told_to_nobody(tmp_path: Path) -> None:
    host = MediaHost(breaks_at=[0, 0, 0])
    async with with_host(tmp_path, host) as harness:
        job_id = await completed(harness)
        await leaves_after(0.001, harness.call("download_media", job_id=job_id))
        await asyncio.sleep(3600)

        saved = await harness.call("download_media", job_id=job_id)

        assert path_of(saved).is_file()


async def test_a_bug_in_a_download_is_logged_though_nobody_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(1)
            raise LookupError("a bug")

    some = downloads(tmp_path, Broken())
    with suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await some.save(JOB, None, unheard)
    await asyncio.sleep(1)

    assert ["a transfer ended by a bug"] == [record.message for record in caplog.records]
    assert [] == list((tmp_path / "output").iterdir())


async def test_failures_that_nobody_asks_for_do_not_pile_up(tmp_path: Path) -> None:
    host = MediaHost(b"no film" * 99)
    some = downloads(tmp_path, host)
    for number in range(101):
        job = finished_job("https://media.example.com/1", number=number)
        with suppress(TimeoutError):
            async with asyncio.timeout(0):
                await some.save(job, None, unheard)
        await asyncio.sleep(1)
    host.body = CLIP

    saved = await some.save(finished_job("https://media.example.com/1", number=0), None, unheard)

    assert CLIP == first_path(saved).read_bytes()
    with pytest.raises(DownloadError, match="no video"):
        await some.save(finished_job("https://media.example.com/1", number=100), None, unheard)


async def test_a_broken_download_is_worth_another_call_by_its_words_and_by_its_data(
    tmp_path: Path,
) -> None:
    host = MediaHost(breaks_at=[0, 0, 0])
    async with with_host(tmp_path, host) as harness:
        job_id = await completed(harness)

        failed = await harness.call("download_media", job_id=job_id)

        assert "Call download_media again in a minute" in failed.text
        assert (True, "wait_then_retry", job_id) == tuple(
            failed.error[name] for name in ("retryable", "next_action", "job_id")
        )


# A disk that is full, or can't be written any more.


def small_disk(monkeypatch: pytest.MonkeyPatch, folder: Path, size_bytes: int) -> None:
    """A disk of this size on which there is nothing but the folder."""

    def usage(path: Path) -> SimpleNamespace:
        assert path == folder
        used = sum(entry.stat().st_size for entry in folder.iterdir())
        return SimpleNamespace(free=size_bytes - used)

    monkeypatch.setattr(shutil, "disk_usage", usage)


async def test_downloads_at_once_leave_the_disks_reserve_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size_bytes = DISK_RESERVE_BYTES + 5_000_000
    small_disk(monkeypatch, tmp_path / "output", size_bytes)
    host = MediaHost(film(2_000_000), bytes_per_s=400_000)
    some = downloads(tmp_path, host)
    jobs = [finished_job("https://media.example.com/1", number=n) for n in range(12)]

    done = await asyncio.gather(
        *(some.save(job, None, unheard) for job in jobs), return_exceptions=True
    )

    refused = [error for error in done if isinstance(error, DownloadError)]
    assert 2 == len(done) - len(refused)
    assert {"output_folder"} == {error.code for error in refused}
    assert {"no room" in error.message for error in refused} == {True}


async def test_an_answer_full_of_base64_leaves_the_disks_reserve_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_disk(monkeypatch, tmp_path / "output", DISK_RESERVE_BYTES + 20_000_000)
    async with running(tmp_path) as harness:
        harness.network.concerns = lambda request: request.method == "POST"
        body = b'{"encodedImage": "' + b"QUJD" * 10_000_000 + b'"}'
        harness.network.faults = [Fault(then=httpx.Response(200, content=body))]

        begun = await harness.call("upscale_image", source=GOOD["google-flow", "image"])
        told = await harness.call("get_job", job_id=begun.job["job_id"], wait_seconds=50)

        assert "lost" == told.job["failure"]["code"]
        assert "no room for the file" in told.job["failure"]["message"]
        assert [] == files(harness)


@pytest.mark.parametrize("job", ["a download", "a paid answer"])
async def test_an_output_folder_that_goes_away_meanwhile_hides_no_outcome(
    tmp_path: Path, job: str
) -> None:
    """Nothing can be removed from it then: as with one that was made read-only."""
    output, paid = tmp_path / "output", job == "a paid answer"

    class Vanishing(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            body = b'{"jobid": "x", "rawBytes": "' + b"QUJD" * 9999 + b'"}' if paid else CLIP
            yield body[:20_000]
            output.rename(tmp_path / "elsewhere")
            output.write_bytes(b"")
            yield body[20_000:]

    async with running(tmp_path) as harness:
        if paid:
            harness.network.faults = [
                Fault(then=lambda *_: httpx.Response(200, stream=Vanishing()))
            ]
            told = await harness.call("upscale_video", source=GOOD["google-flow", "video"])
            assert told.job["job_id"]
            assert 1 == len(harness.posts())
        else:
            job_id = await completed(harness)
            harness.network.concerns = is_media
            harness.network.faults = [Fault(then=httpx.Response(200, stream=Vanishing()))]
            told = await harness.call("download_media", job_id=job_id)
            assert "output_folder" == told.error["code"]
            assert job_id == told.error["job_id"]


# Without the tools: jobs and networks a sandbox can't be told to be.


class Streams(httpx.AsyncBaseTransport):
    """Answers every request with pieces, one every `pause_s`."""

    def __init__(self, body: bytes, pause_s: float = 0.0, piece_bytes: int = 8192) -> None:
        self.body = body
        self.pause_s = pause_s
        self.piece_bytes = piece_bytes
        self.seen = 0
        self.open = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen += 1
        size = {"content-length": str(len(self.body))}
        return httpx.Response(200, headers=size, stream=_Stream(self))


class _Stream(httpx.AsyncByteStream):
    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        streams.open += 1

    async def __aiter__(self) -> AsyncIterator[bytes]:
        of = self._streams
        for at in range(0, len(of.body), of.piece_bytes):
            await asyncio.sleep(of.pause_s)
            yield of.body[at : at + of.piece_bytes]

    async def aclose(self) -> None:
        self._streams.open -= 1


class BrokenJournal(Journal):
    async def add_saved_file(
        self, job_id: str, position: int, path: str, facts: dict[str, Any]
    ) -> None:
        raise JournalError(message="The disk is full.", hint="Make room.")


_STORES: list[SqliteStore] = []


@pytest.fixture(autouse=True)
def stores() -> Iterator[None]:
    """Those that `downloads` opened are closed."""
    yield
    while _STORES:
        asyncio.run(_STORES.pop().close())


def downloads(
    folder: Path, network: httpx.AsyncBaseTransport, journal: type[Journal] = Journal
) -> Downloads:
    settings = Settings.read({})
    clock, outputs = Clock(), OutputFolder(folder / "output")

    async def resolve(host: str) -> list[str]:
        return ["93.184.215.14"]

    async def no_fresh_link(job: Job, position: int) -> str | None:
        return None

    _STORES.append(SqliteStore(folder / "state", clock))
    return Downloads(
        clock,
        outputs,
        journal(_STORES[-1], clock.now),
        Fetcher(settings, clock, outputs, network, resolve),
        no_fresh_link,
    )


def finished_job(*urls: str, kind: str = "video", number: int = 1) -> Job:
    made = [{"kind": kind, "url": url, "width": 1} for url in urls]
    return Job.model_validate(
        {
            "job_id": f"j05282026400000000{number:02}V-u12345-CA:user@example.com-bot:dreamina",
            "service": "dreamina",
            "operation": "upscale_video",
            "status": "completed",
            "media": made,
        }
    )


JOB = finished_job("https://media.example.com/1.mp4")


async def unheard(done: float, total: float | None, told: str) -> None: ...


async def test_several_files_are_numbered(tmp_path: Path) -> None:
    job = finished_job(*(f"https://media.example.com/{n}" for n in range(3)), kind="image")
    some = downloads(tmp_path, Streams(PICTURE))

    named = await some.save(job, Stem("set"), unheard)

    names = [Path(str(item.path)).name for item in named.media or ()]
    assert ["set-1.jpg", "set-2.jpg", "set-3.jpg"] == names
    assert named.media == (await some.with_paths(job)).media
    assert await some.has_all(job)


async def test_what_was_saved_before_a_failure_stays_and_is_not_fetched_again(
    tmp_path: Path,
) -> None:
    job = finished_job("https://media.example.com/1", "http://bad.example.com/2", kind="image")
    network = Streams(PICTURE)
    some = downloads(tmp_path, network)

    for _ in range(2):
        with pytest.raises(DownloadError):
            await some.save(job, None, unheard)

    assert 1 == network.seen
    assert not await some.has_all(job)
    seen = (await some.with_paths(job)).media or ()
    assert [True, False] == [item.path is not None for item in seen]


async def test_one_caller_that_leaves_does_not_harm_the_next(tmp_path: Path) -> None:
    network = Streams(CLIP, pause_s=1)
    some = downloads(tmp_path, network)
    first = asyncio.create_task(some.save(JOB, None, unheard))
    second = asyncio.create_task(some.save(JOB, None, unheard))
    await asyncio.sleep(3.5)

    first.cancel()

    saved = await second
    assert CLIP == first_path(saved).read_bytes()
    assert 1 == len(list((tmp_path / "output").iterdir()))


async def test_progress_rises_and_comes_at_most_every_half_second(tmp_path: Path) -> None:
    told: list[tuple[float, float, float | None]] = []

    async def hear(done: float, total: float | None, text: str) -> None:
        told.append((asyncio.get_running_loop().time(), done, total))

    some = downloads(tmp_path, Streams(CLIP, pause_s=0.1, piece_bytes=1024))

    await some.save(JOB, None, hear)

    times, bytes_done, totals = zip(*told, strict=True)
    assert len(told) > 10
    assert {float(len(CLIP))} == set(totals)
    assert list(bytes_done) == sorted(set(bytes_done))
    assert all(b - a > 0.499 for a, b in pairwise(times))  # the loop's clock has a millionth


async def test_a_file_that_can_not_be_written_down_is_saved_all_the_same(tmp_path: Path) -> None:
    some = downloads(tmp_path, Streams(CLIP), BrokenJournal)

    saved = await some.save(JOB, None, unheard)

    assert CLIP == first_path(saved).read_bytes()


async def test_a_file_of_no_known_type_can_be_copied_too(tmp_path: Path) -> None:
    """What a vendor sends as base64 is kept whatever it is."""
    (tmp_path / "some.bin").write_bytes(b"of no known type")
    item = Media(kind="image", path=str(tmp_path / "some.bin"), size_bytes=16)
    some = downloads(tmp_path, Streams(CLIP))

    saved = await some.save(JOB.evolve(media=(item,)), Stem("copy"), unheard)

    assert tmp_path / "output" / "copy.bin" == first_path(saved)
    assert 16 == (saved.media or ())[0].size_bytes


async def test_what_dead_servers_left_is_removed_at_the_start(tmp_path: Path) -> None:
    """By the lock that its owner had: its age does not matter."""
    output = tmp_path / "output"
    output.mkdir()
    dead = output / ".useapi-mcp-1111111111111111.part"
    dead.write_bytes(b"half")
    (output / "somebody.part").write_bytes(b"half")
    alive = OutputFolder(output)
    file = alive.begin()

    async with running(tmp_path):
        pass

    assert {"somebody.part", file.path.name} == {path.name for path in output.iterdir()}
    alive.close()


async def test_a_file_system_without_links_gets_whole_files_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: str, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")  # what FAT says

    monkeypatch.setattr(os, "link", no_links)
    some = downloads(tmp_path, Streams(CLIP))
    output = tmp_path / "output"
    output.mkdir()
    (output / "clip.mp4").write_text("somebody else's")

    saved = await some.save(JOB, Stem("clip"), unheard)

    assert (output / "clip-2.mp4") == first_path(saved)
    assert CLIP == (output / "clip-2.mp4").read_bytes()
    assert 0o600 == stat.S_IMODE((output / "clip-2.mp4").stat().st_mode)
    assert "somebody else's" == (output / "clip.mp4").read_text()
    assert 2 == len(list(output.iterdir()))


async def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("a file")

    with pytest.raises(DownloadError, match="can't be written"):
        await downloads(tmp_path, Streams(CLIP)).save(JOB, None, unheard)


async def test_a_job_without_media_has_nothing_to_save(tmp_path: Path) -> None:
    some = downloads(tmp_path, Streams(CLIP))

    for job in (JOB.evolve(media=None), JOB.evolve(media=()), JOB.evolve(status="failed")):
        with pytest.raises(DownloadError, match="no file to save"):
            await some.save(job, None, unheard)
        assert job == await some.with_paths(job)
    assert not await some.has_all(JOB.evolve(media=()))


def test_a_large_file_does_not_hold_up_other_calls(tmp_path: Path) -> None:
    """It is written out in a thread; a real loop, for a virtual one jumps while threads work."""
    film = CLIP + bytes(20 << 20)

    async def work() -> None:
        some = downloads(tmp_path, Streams(film, piece_bytes=1 << 20))
        saved = await some.save(JOB, Stem("one"), unheard)
        copied = await some.save(saved, Stem("two"), unheard)

        assert len(film) == first_path(copied).stat().st_size

    asyncio.run(work())

    assert ["one.mp4", "two.mp4"] == sorted(p.name for p in (tmp_path / "output").iterdir())
