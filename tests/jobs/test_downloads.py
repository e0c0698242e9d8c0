"""Downloads: whole files under safe names, once, with what their own bytes say."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from mcp_server.clock import Clock
from mcp_server.errors import DownloadError, JournalError
from mcp_server.jobs.downloads import Downloads
from mcp_server.journal.journal import Journal
from mcp_server.journal.sqlite import SqliteStore
from mcp_server.media.fetch import Fetcher
from mcp_server.media.files import OutputFolder, check_file_name
from mcp_server.models import Job, Media
from mcp_server.sandbox import media
from mcp_server.settings import Settings
from tests.support.corpora import HOSTILE_FILE_NAMES
from tests.support.harness import GOOD, Fault, Harness, Reply, running

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

        assert "download_failed" == told.error["code"]
        assert job_id == told.error["job_id"]


async def test_a_job_that_runs_or_failed_has_nothing_to_save(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=600) as harness:
        submitted = await harness.call("upscale_video", source=GOOD["dreamina", "video"])

        told = await harness.call("download_media", job_id=submitted.job["job_id"])

        assert "download_failed" == told.error["code"]
        assert "running" in told.text
        assert "wait_seconds=50" in told.text
        assert not (tmp_path / "output").exists()


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


def downloads(
    folder: Path, network: httpx.AsyncBaseTransport, journal: type[Journal] = Journal
) -> Downloads:
    settings = Settings.read({})
    clock, outputs = Clock(), OutputFolder(folder / "output")

    async def resolve(host: str) -> list[str]:
        return ["93.184.215.14"]

    async def no_fresh_link(job: Job, position: int) -> str | None:
        return None

    return Downloads(
        clock,
        outputs,
        journal(SqliteStore(folder / "state", clock), clock.now),
        Fetcher(settings, clock, outputs, network, resolve),
        no_fresh_link,
    )


def finished_job(*urls: str, kind: str = "video") -> Job:
    made = [{"kind": kind, "url": url, "width": 1} for url in urls]
    return Job.model_validate(
        {
            "job_id": "j0528202640000000001V-u12345-CA:user@example.com-bot:dreamina",
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

    named = await some.save(job, check_file_name("set"), unheard)

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


async def test_a_caller_that_leaves_leaves_nothing_behind(tmp_path: Path) -> None:
    network = Streams(CLIP, pause_s=1)
    some = downloads(tmp_path, network)
    task = asyncio.create_task(some.save(JOB, None, unheard))
    await asyncio.sleep(3.5)
    under_way = list((tmp_path / "output").iterdir())

    task.cancel()
    await asyncio.wait({task})

    assert task.cancelled()
    assert 1 == len(under_way)
    assert [] == list((tmp_path / "output").iterdir())
    assert 0 == network.open
    network.pause_s = 0
    again = await some.save(JOB, None, unheard)
    assert CLIP == first_path(again).read_bytes()


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
    assert all(b - a >= 0.5 for a, b in pairwise(times))


async def test_a_file_that_can_not_be_written_down_is_saved_all_the_same(tmp_path: Path) -> None:
    some = downloads(tmp_path, Streams(CLIP), BrokenJournal)

    saved = await some.save(JOB, None, unheard)

    assert CLIP == first_path(saved).read_bytes()


async def test_a_file_of_no_known_type_can_be_copied_too(tmp_path: Path) -> None:
    """What a vendor sends as base64 is kept whatever it is."""
    (tmp_path / "some.bin").write_bytes(b"of no known type")
    item = Media(kind="image", path=str(tmp_path / "some.bin"), size_bytes=16)
    some = downloads(tmp_path, Streams(CLIP))

    saved = await some.save(JOB.evolve(media=(item,)), check_file_name("copy"), unheard)

    assert tmp_path / "output" / "copy.bin" == first_path(saved)
    assert 16 == (saved.media or ())[0].size_bytes


async def test_closing_removes_what_is_half_written(tmp_path: Path) -> None:
    """A process that ends in os._exit runs no `finally`."""
    some = downloads(tmp_path, Streams(CLIP, pause_s=1))
    task = asyncio.create_task(some.save(JOB, None, unheard))
    await asyncio.sleep(3.5)

    some.close()

    assert [] == list((tmp_path / "output").iterdir())
    task.cancel()
    await asyncio.wait({task})


async def test_what_a_killed_server_left_is_swept_up_after_a_day(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    old, new, other = (
        output / ".useapi-mcp-0000000000000000.part",
        output / ".useapi-mcp-1111111111111111.part",
        output / "somebody.part",
    )
    for path in (old, new, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (1, 1))

    await downloads(tmp_path, Streams(CLIP)).save(JOB, None, unheard)

    assert not old.exists()
    assert new.exists()
    assert other.exists()


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

    saved = await some.save(JOB, check_file_name("clip"), unheard)

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
        saved = await some.save(JOB, check_file_name("one"), unheard)
        copied = await some.save(saved, check_file_name("two"), unheard)

        assert len(film) == first_path(copied).stat().st_size

    asyncio.run(work())

    assert ["one.mp4", "two.mp4"] == sorted(p.name for p in (tmp_path / "output").iterdir())
