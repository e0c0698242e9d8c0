"""Uploads: a file is sent once, whoever calls and whenever, and what becomes of it is a job."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.types import ElicitResult

from mcp_server.journal.locks import FileLocks
from mcp_server.sandbox import media
from mcp_server.sandbox.app import Conditions, Sandbox
from tests.jobs.test_submission import NO_LIMITS_ON_WINDOWS, full_disk
from tests.support.harness import GOOD, Fault, Harness, Network, Opened, VirtualClock, running
from tests.support.processes import Kernel

CLIP = media.read(media.clip(640, 360, 24))
ONE_OF_TWO = "user:2-any"  # its user has two accounts of each service
TO_4K = "/v2/pixverse/videos/upscale"
VIDEO = GOOD["pixverse", "video"]


def put(folder: Path, name: str = "clip.mp4", content: bytes = CLIP) -> str:
    """A file that the server may read."""
    path = folder / "own" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return str(path)


def own(folder: Path, **environment: str) -> dict[str, Any]:
    return {"USEAPI_INPUT_DIRS": str(folder / "own"), **environment}


def uploads(h: Harness) -> list[httpx.Request]:
    return [request for request in h.posts() if "/files" in request.url.path]


def orders(h: Harness) -> list[dict[str, Any]]:
    """The bodies of paid requests; a question for a price is none."""
    bodies = [json.loads(r.content) for r in h.posts() if r.url.path.endswith("/upscale")]
    return [body for body in bodies if "quote" not in body]


def is_upload(request: httpx.Request) -> bool:
    return request.method == "POST" and "/files" in request.url.path


def is_order(request: httpx.Request) -> bool:
    return request.method == "POST" and request.url.path.endswith("/upscale")


async def test_the_bytes_arrive_once_and_whole_with_their_type_and_length(tmp_path: Path) -> None:
    async with running(tmp_path, **own(tmp_path)) as h:
        path = put(tmp_path)
        first = await h.call("upscale_video", source=path)
        again = await h.call("upscale_video", source=path)

        (upload,) = uploads(h)
        (order,) = orders(h)
    headers = {name: upload.headers[name] for name in ("content-type", "content-length")}
    assert {"content-type": "video/mp4", "content-length": str(len(CLIP))} == headers
    assert "transfer-encoding" not in upload.headers
    assert "email=user%40example.com" in str(upload.url)
    assert order["video_path"].startswith("upload/")
    assert ("clip.mp4", first.job["job_id"]) == (first.job["source"], again.job["job_id"])


async def test_the_same_content_by_another_name_is_the_same_job(tmp_path: Path) -> None:
    async with running(tmp_path, **own(tmp_path)) as h:
        first = await h.call("upscale_video", source=put(tmp_path))
        second = await h.call("upscale_video", source=put(tmp_path, "copy.mp4"))

        assert first.job["job_id"] == second.job["job_id"]
        assert (1, 1) == (len(uploads(h)), len(orders(h)))


async def test_another_order_of_the_same_file_needs_no_upload(tmp_path: Path) -> None:
    async with running(tmp_path, **own(tmp_path)) as h:
        path = put(tmp_path)
        await h.call("upscale_video", source=path)
        await h.call("upscale_video", source=path, model="topaz-proteus", resolution="1080p")

        assert (1, 2) == (len(uploads(h)), len(orders(h)))
        assert orders(h)[0]["video_path"] == orders(h)[1]["video_path"]


async def test_after_a_restart_nothing_is_sent_or_paid_again(tmp_path: Path) -> None:
    path = put(tmp_path)
    async with running(tmp_path, **own(tmp_path)) as h:
        first = await h.call("upscale_video", source=path)
        await h.call("get_job", job_id=first.job["job_id"], wait_seconds=50)
    async with running(
        tmp_path, sandbox=h.sandbox, network=h.network, clock=h.clock, **own(tmp_path)
    ) as after:
        again = await after.call("upscale_video", source=path)
        other = await after.call("upscale_video", source=path, model="topaz-proteus")

        assert first.job["job_id"] == again.job["job_id"] != other.job["job_id"]
        assert 1 == len(uploads(after))


# Slow ones


async def test_a_caller_that_gives_up_and_calls_again_has_one_upload_and_one_job(
    tmp_path: Path,
) -> None:
    path = put(tmp_path)
    async with running(tmp_path, **own(tmp_path)) as h:
        h.network.faults = [Fault(before_s=33)]
        answers = []
        for _ in range(8):
            try:
                async with asyncio.timeout(5):
                    answers.append(await h.call("upscale_video", source=path))
            except TimeoutError:
                continue

        (job_id,) = {answer.job["job_id"] for answer in answers}
        assert (1, 1) == (len(uploads(h)), len(orders(h)))
        assert job_id == h.sandbox.accepted[0].job_id


async def test_after_40_s_the_upload_itself_is_the_answer_and_says_what_then(
    tmp_path: Path,
) -> None:
    path = put(tmp_path)
    async with running(tmp_path, **own(tmp_path)) as h:
        h.network.faults = [Fault(before_s=100)]
        begun = h.clock.elapsed()
        started = await h.call("upscale_video", source=path)
        assert h.clock.elapsed() - begun < 45
        waited = await h.call("get_job", job_id=started.job["job_id"], wait_seconds=50)
        listed = (await h.call("list_jobs", status="running")).job["jobs"]
        done = await h.call("get_job", job_id=started.job["job_id"], wait_seconds=50)
        after = await h.call("upscale_video", source=path)

        assert (1, 1) == (len(uploads(h)), len(orders(h)))
    for reply in (started, waited):
        assert ("upload", "running", "clip.mp4") == (
            reply.job["operation"],
            reply.job["status"],
            reply.job["source"],
        )
        assert "get_job(job_id, wait_seconds=50)" in reply.job["next"]
        assert "the call that began it once more" in reply.job["next"]
    assert [started.job["job_id"]] == [row["job_id"] for row in listed]
    assert "completed" == done.job["status"]
    assert "the call that began it once more" in done.text
    assert "upscale_video" == after.job["operation"]


async def test_when_the_server_is_about_to_stop_the_upload_is_the_answer_at_once(
    tmp_path: Path,
) -> None:
    opened = Opened()
    async with running(tmp_path, while_open=opened, **own(tmp_path)) as h:
        h.network.faults = [Fault(before_s=100)]
        call = asyncio.create_task(h.call("upscale_video", source=put(tmp_path)))
        await asyncio.sleep(3)
        assert not call.done()
        opened.app.jobs.answer_submitting()
        began_s = h.clock.elapsed()
        told = await call

        assert h.clock.elapsed() - began_s < 1
    assert ("upload", "running") == (told.job["operation"], told.job["status"])
    assert "get_job(job_id, wait_seconds=50)" in told.job["next"]


async def test_an_upload_is_no_source_and_can_neither_be_cancelled_nor_saved(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, **own(tmp_path)) as h:
        h.network.faults = [Fault(before_s=100)]
        upload = (await h.call("upscale_video", source=put(tmp_path))).job["job_id"]

        source = await h.call("upscale_video", source=upload)
        cancelled = await h.call("cancel_job", job_id=upload)
        await asyncio.sleep(100)
        ended = await h.call("cancel_job", job_id=upload)
        saved = await h.call("download_media", job_id=upload)

        assert "give the file itself" in source.text
        assert "can't be cancelled" in cancelled.text
        assert "nothing to cancel" in ended.text
        assert "no file to save" in saved.text
        assert [] == orders(h)


async def test_two_calls_at_once_share_an_upload_and_a_job(tmp_path: Path) -> None:
    path = put(tmp_path)
    async with running(tmp_path, **own(tmp_path)) as h:
        h.network.faults = [Fault(before_s=10)]
        replies = await asyncio.gather(
            *(h.call("upscale_video", source=path) for _ in range(4)),
        )

        assert 1 == len({reply.job["job_id"] for reply in replies})
        assert (1, 1) == (len(uploads(h)), len(orders(h)))


async def test_progress_is_told_in_bytes(tmp_path: Path) -> None:
    seen: list[tuple[float, float | None]] = []

    async def note(done: float, total: float | None, message: str | None) -> None:
        seen.append((done, total))

    async with running(tmp_path, **own(tmp_path)) as h:
        h.network.faults = [Fault(after_s=5)]
        await h.call("upscale_video", source=put(tmp_path), progress_callback=note)

    assert (len(CLIP), len(CLIP)) in seen


# What goes wrong


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault(then="cut"), "no usable answer came"),
        (Fault(reaches=False, then="cut"), "no usable answer came"),
        (Fault(then=httpx.Response(524, text="<html>")), "no usable answer came (status 524)"),
        (Fault(then=httpx.Response(200, json={"odd": 1})), "without a usable path"),
    ],
)
async def test_an_upload_without_an_answer_is_made_once_more_by_the_next_call(
    tmp_path: Path, fault: Fault, says: str
) -> None:
    path = put(tmp_path)
    async with running(tmp_path, **own(tmp_path)) as h:
        h.network.faults = [fault]
        failed = await h.call("upscale_video", source=path)
        (row,) = (await h.call("list_jobs", status="failed")).job["jobs"]
        job = await h.call("get_job", job_id=row["job_id"])
        after = await h.call("upscale_video", source=path)

        assert says in failed.text
        assert failed.error["retryable"]
        assert ("upload", "failed") == (row["operation"], job.job["status"])
        assert "sends the file anew, which is free" in job.text
        assert "upscale_video" == after.job["operation"]
        assert (2, 1) == (len(uploads(h)), len(orders(h)))


async def test_what_could_not_connect_is_tried_again_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, **own(tmp_path)) as h:
        h.network.faults = [Fault(connects=False), Fault(connects=False)]
        reply = await h.call("upscale_video", source=put(tmp_path))

        assert "running" == reply.job["status"]
        assert 1 == len(uploads(h))


@pytest.mark.parametrize(
    ("word", "name", "code"),
    [
        ("no-credits", "a.mp4", "no_credits"),
        ("busy", "a.mp4", "rate_limited"),
        ("moderated", "a.mp4", "moderated"),
        ("pending-error", "a.mp4", "account_error"),
    ],
)
async def test_a_refused_upload_is_told_and_nothing_is_ordered(
    tmp_path: Path, word: str, name: str, code: str
) -> None:
    content = CLIP + f"sandbox:{word}".encode()
    async with running(tmp_path, **own(tmp_path)) as h:
        reply = await h.call("upscale_video", source=put(tmp_path, name, content))

        assert code == reply.error["code"]
        assert (1, 0) == (len(uploads(h)), len(orders(h)))


async def test_an_image_that_is_rejected_says_why(tmp_path: Path) -> None:
    content = media.read(media.image(1280, 720)) + b"sandbox:rejected"
    head, tail = content[:2], content[2:]
    comment = b"\xff\xfe" + (18).to_bytes(2, "big") + b"sandbox:rejected"
    async with running(tmp_path, **own(tmp_path)) as h:
        reply = await h.call("upscale_image", source=put(tmp_path, "a.jpg", head + comment + tail))

        assert "did not take the file" in reply.text
        assert "The image was rejected" in reply.text
        assert [] == orders(h)


def grown(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


class Writing(Network):
    """A network that is so slow that a program writes on to the file meanwhile."""

    def __init__(self, path: Path) -> None:
        super().__init__(Sandbox(now=VirtualClock().now))
        self._path = path

    async def left(self, request: httpx.Request, fault: Fault) -> None:
        if is_upload(request):
            grown(self._path)


async def test_a_file_that_changes_while_it_is_sent_is_not_sent_whole(tmp_path: Path) -> None:
    path = put(tmp_path)
    async with running(tmp_path, network=Writing(Path(path)), **own(tmp_path)) as h:
        refused = await h.call("upscale_video", source=path)

        assert "unusable_file" == refused.error["code"]
        assert "changes while it is read" in refused.text
        assert [] == orders(h)
    put(tmp_path)
    async with running(tmp_path, **own(tmp_path)) as h:
        again = await h.call("upscale_video", source=path)
        (upload,) = uploads(h)

        assert str(len(CLIP)) == upload.headers["content-length"]
        assert "running" == again.job["status"]


async def test_a_file_that_the_vendor_has_forgotten_is_sent_once_more(tmp_path: Path) -> None:
    path = put(tmp_path)
    async with running(tmp_path, **own(tmp_path)) as h:
        await h.call("upscale_video", source=path)
    forgetful = Sandbox(now=h.clock.now, conditions=Conditions(first_serial=100))
    async with running(tmp_path, sandbox=forgetful, clock=h.clock, **own(tmp_path)) as after:
        reply = await after.call("upscale_video", source=path, model="topaz-proteus")

        assert "running" == reply.job["status"]
        assert (1, 2) == (len(uploads(after)), len(orders(after)))
        assert 1 == len(forgetful.accepted)


def forgotten() -> httpx.Response:
    """What the vendor says of a file that it does not keep any more."""
    return httpx.Response(400, json={"error": "Video upload/1.mp4 not found"})


async def test_a_file_that_is_forgotten_again_and_again_is_sent_once_more_and_no_more(
    tmp_path: Path,
) -> None:
    path = put(tmp_path)
    async with running(tmp_path, **own(tmp_path)) as h:
        h.network.concerns = is_order
        h.network.faults = [Fault(reaches=False, then=forgotten()) for _ in range(5)]
        reply = await h.call("upscale_video", source=path)

        assert "refused" == reply.error["code"]
        assert (2, 2) == (len(uploads(h)), len(orders(h)))


async def test_after_any_other_refusal_the_file_is_not_sent_once_more(tmp_path: Path) -> None:
    path = put(tmp_path)
    refusal = httpx.Response(400, json={"error": "This is refused"})
    async with running(tmp_path, **own(tmp_path)) as h:
        h.network.concerns = is_order
        h.network.faults = [Fault(reaches=False, then=refusal)]
        reply = await h.call("upscale_video", source=path)

        assert "refused" == reply.error["code"]
        assert (1, 1) == (len(uploads(h)), len(orders(h)))


async def test_an_order_of_no_file_is_not_made_again_by_words_that_tell_of_one(
    tmp_path: Path,
) -> None:
    gone = httpx.Response(404, json={"error": "Video not found"})
    async with running(tmp_path) as h:
        h.network.faults = [Fault(reaches=False, then=gone)]
        reply = await h.call("upscale_video", source=VIDEO)

        assert "not_found" == reply.error["code"]
        assert 1 == len(h.posts())


async def test_who_joined_an_order_whose_file_was_forgotten_is_refused_and_orders_nothing(
    tmp_path: Path,
) -> None:
    path = put(tmp_path)
    async with running(tmp_path, **own(tmp_path)) as h:
        h.network.concerns = is_order
        h.network.faults = [Fault(reaches=False, after_s=5, then=forgotten())]
        began = asyncio.create_task(h.call("upscale_video", source=path))
        await asyncio.sleep(1)
        joined = await h.call("upscale_video", source=path)
        made = await began
        again = await h.call("upscale_video", source=path)

        assert "refused" == joined.error["code"]
        assert made.job["job_id"] == again.job["job_id"]
        assert (2, 2) == (len(uploads(h)), len(orders(h)))


async def test_a_file_that_is_sent_once_more_is_waited_for_no_longer(tmp_path: Path) -> None:
    path = put(tmp_path)
    async with running(tmp_path, **own(tmp_path)) as h:
        h.network.faults = [
            Fault(before_s=25),
            Fault(reaches=False, then=forgotten()),  # the question for the price
            Fault(before_s=25),
        ]
        reply = await h.call("upscale_video", source=path, max_credits=1000)

        assert 40 == pytest.approx(asyncio.get_running_loop().time(), abs=1)
        assert ("upload", "running") == (reply.job["operation"], reply.job["status"])


async def test_the_question_about_the_price_names_the_file(tmp_path: Path) -> None:
    asked: list[str] = []

    async def answer(_: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="decline")

    settings = own(tmp_path, USEAPI_CONFIRM_CREDITS="1")
    options = {"elicitation_callback": answer}
    async with running(tmp_path, client_options=options, **settings) as h:
        await h.call("upscale_video", source=put(tmp_path))

        assert [] == orders(h)
    (question,) = asked
    assert ", of clip.mp4: it costs about " in question


async def test_a_refusal_for_the_price_says_whether_the_file_was_uploaded(tmp_path: Path) -> None:
    async with running(tmp_path, **own(tmp_path)) as h:
        of_a_file = await h.call("upscale_video", source=put(tmp_path), max_credits=1)
        of_an_id = await h.call("upscale_video", source=VIDEO, max_credits=1)

        assert "so nothing was ordered; the file was uploaded, which is free." in of_a_file.text
        assert "so nothing was sent." in of_an_id.text
        assert (1, 0) == (len(uploads(h)), len(orders(h)))


@NO_LIMITS_ON_WINDOWS
async def test_a_server_that_stops_leaves_an_upload_that_has_failed(tmp_path: Path) -> None:
    path = put(tmp_path)
    async with running(tmp_path, **own(tmp_path)) as h:
        h.network.faults = [Fault(before_s=1000)]
        upload = (await h.call("upscale_video", source=path)).job["job_id"]
    async with running(
        tmp_path, sandbox=h.sandbox, network=h.network, clock=h.clock, **own(tmp_path)
    ) as after:
        with full_disk():
            unwritten = await after.call("get_job", job_id=upload)
        job = await after.call("get_job", job_id=upload)
        reply = await after.call("upscale_video", source=path)

        assert ("failed", "lost") == (job.job["status"], job.job["failure"]["code"])
        assert job.record == unwritten.record
        assert "upscale_video" == reply.job["operation"]


def begin_again(folder: Path) -> None:
    """Make uploads of those that were just written down and not begun."""
    with closing(sqlite3.connect(folder / "state" / "journal.sqlite")) as database, database:
        database.execute(
            "update submission set state = 'submitting', status = 'submitting', job = null,"
            " evidence = '{}' where operation = 'upload'"
        )


async def test_a_server_that_died_before_the_first_byte_of_an_upload_stops_no_other(
    tmp_path: Path,
) -> None:
    path = put(tmp_path)
    async with running(tmp_path, **own(tmp_path)) as h:
        await h.call("upscale_video", source=path)
    begin_again(tmp_path)
    async with running(tmp_path, sandbox=h.sandbox, clock=h.clock, **own(tmp_path)) as after:
        (row,) = (await after.call("list_jobs", status="submitting")).job["jobs"]
        read = await after.call("get_job", job_id=row["job_id"])
        other = await after.call("upscale_video", source=path, model="topaz-proteus")

        assert ("failed", "lost") == (read.job["status"], read.job["failure"]["code"])
        assert "running" == other.job["status"]
        assert 1 == len(uploads(after))


async def test_how_an_upload_ended_is_told_afterwards(tmp_path: Path) -> None:
    path = put(tmp_path)
    async with running(tmp_path, **own(tmp_path)) as h:
        h.network.concerns = is_upload
        h.network.faults = [Fault(then="cut")]
        refused = await h.call("upscale_video", source=path)
        await h.call("upscale_video", source=path)
        jobs = [
            (await h.call("get_job", job_id=row["job_id"])).job
            for status in ("failed", "completed")
            for row in (await h.call("list_jobs", status=status)).job["jobs"]
            if row["operation"] == "upload"
        ]

    assert "upload_failed" == refused.error["code"]
    assert ["failed", "completed"] == [job["status"] for job in jobs]
    assert "upload_failed" == jobs[0]["failure"]["code"]
    assert ["clip.mp4"] * 2 == [job["source"] for job in jobs]
    assert all(job["created_at"] for job in jobs)


async def test_an_upload_that_arrived_is_told_as_that_while_the_journal_is_locked(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, **own(tmp_path)) as h:
        await h.call("upscale_video", source=put(tmp_path))
        (upload,) = (await h.call("list_jobs", status="completed")).job["jobs"]
        journal = tmp_path / "state" / "journal.sqlite"
        with closing(sqlite3.connect(journal, isolation_level=None)) as other:
            other.execute("begin immediate")
            read = await h.call("get_job", job_id=upload["job_id"])
            other.execute("rollback")

    assert ("upload", "completed") == (read.job["operation"], read.job["status"])
    assert "failure" not in read.job


async def test_of_two_servers_one_sends_a_file_and_the_other_knows_it_then(tmp_path: Path) -> None:
    path, kernel = put(tmp_path), Kernel()
    settings = own(tmp_path)
    async with (
        running(tmp_path, locks=kernel.process(), **settings) as one,
        running(
            tmp_path,
            sandbox=one.sandbox,
            network=one.network,
            clock=one.clock,
            locks=kernel.process(),
            **settings,
        ) as other,
    ):
        one.network.concerns = is_upload
        one.network.faults = [Fault(after_s=5)]
        replies = await asyncio.gather(
            *(server.call("upscale_video", source=path) for server in (one, other))
        )

        assert 1 == len(uploads(one)) == len(orders(one))
        assert 1 == len({reply.job["job_id"] for reply in replies})


async def test_an_upload_takes_nothing_of_the_days_credits(tmp_path: Path) -> None:
    path = put(tmp_path)
    async with running(tmp_path, USEAPI_MAX_CREDITS_PER_DAY="12", **own(tmp_path)) as h:
        reply = await h.call("upscale_video", source=path)  # 12 credits for two seconds

        assert "running" == reply.job["status"]


async def test_an_upload_that_was_not_begun_takes_nothing_of_them_either(tmp_path: Path) -> None:
    limit: dict[str, Any] = {"USEAPI_MAX_CREDITS_PER_DAY": "24"}
    async with running(tmp_path, **own(tmp_path, **limit)) as h:
        await h.call("upscale_video", source=put(tmp_path))  # 12 credits for two seconds
    begin_again(tmp_path)
    async with running(tmp_path, sandbox=h.sandbox, clock=h.clock, **limit) as h:
        reply = await h.call("upscale_video", source=GOOD["pixverse", "video"])  # as many

        assert "running" == reply.job["status"]


async def test_with_a_journal_that_cant_be_written_no_file_is_sent(tmp_path: Path) -> None:
    path = put(tmp_path)
    (tmp_path / "state").write_text("no folder")
    async with running(tmp_path, **own(tmp_path)) as h:
        reply = await h.call("upscale_video", source=path)

        assert "journal_unusable" == reply.error["code"]
        assert [] == h.posts()


# Accounts


async def test_of_several_accounts_the_one_to_send_it_to_must_be_named(tmp_path: Path) -> None:
    path = put(tmp_path)
    async with running(tmp_path, USEAPI_TOKEN=ONE_OF_TWO, **own(tmp_path)) as h:
        refused = await h.call("upscale_video", source=path)
        unknown = await h.call("upscale_video", source=path, account="nobody@example.org")
        assert [] == h.posts()
        second = await h.call("upscale_video", source=path, account="second")
        same = await h.call("upscale_video", source=path)

        assert "us***@ex***.com, se***@ex***.com" in refused.text
        assert "us***@ex***.com, se***@ex***.com" in unknown.text
        assert "second@example.com" in second.job["job_id"]
        assert second.job["job_id"] == same.job["job_id"]  # the account is no part of the wish
        assert "second@example.com" == orders(h)[0]["email"]


async def test_the_account_of_the_setting_is_used(tmp_path: Path) -> None:
    settings = own(tmp_path, USEAPI_ACCOUNTS="pixverse=second", USEAPI_TOKEN=ONE_OF_TWO)
    path = put(tmp_path)
    async with running(tmp_path, **settings) as h:
        reply = await h.call("upscale_video", source=path)

        assert "second@example.com" in reply.job["job_id"]


async def test_without_an_account_nothing_is_sent(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_TOKEN="user:404-any", **own(tmp_path)) as h:
        reply = await h.call("upscale_video", source=put(tmp_path))

        assert "No account is linked to PixVerse" in reply.text
        assert [] == h.posts()


async def test_of_a_job_that_is_gone_the_same_call_makes_another(tmp_path: Path) -> None:
    path = put(tmp_path)
    async with running(tmp_path, **own(tmp_path)) as h:
        first = await h.call("upscale_video", source=path)
        await h.call("get_job", job_id=first.job["job_id"], wait_seconds=50)
    h.clock.jump_s += 40 * 86_400
    forgetful = Sandbox(now=h.clock.now, conditions=Conditions(first_serial=100))
    async with running(tmp_path, sandbox=forgetful, clock=h.clock, **own(tmp_path)) as after:
        again = await after.call("upscale_video", source=path)

        assert first.job["job_id"] != again.job["job_id"]
        assert (1, 2) == (len(uploads(after)), len(orders(after)))  # by its old name, and anew


async def test_after_a_job_that_failed_unseen_the_same_call_makes_another_of_the_image(
    tmp_path: Path,
) -> None:
    path = put(tmp_path, "photo.jpg", media.read(media.image(1280, 720)))
    wish = {"prompt": "sandbox:job-fails", "service": "google-flow", "start_image": path}
    async with running(tmp_path, **own(tmp_path)) as h:
        await h.call("generate_video", **wish)
        await asyncio.sleep(60)
        again = await h.call("generate_video", **wish)

        assert "reused" not in again.job
        assert 3 == len(h.posts())  # the file, and two orders


@pytest.mark.parametrize("service", ["dreamina", "google-flow", "pixverse"])
async def test_an_image_that_a_service_has_forgotten_is_sent_once_more(
    tmp_path: Path, service: str
) -> None:
    path = put(tmp_path, "photo.jpg", media.read(media.image(1280, 720)))
    wish = {"prompt": "x", "service": service, "start_image": path}
    wish |= {"account": "US:"} if service == "dreamina" else {}
    async with running(tmp_path, **own(tmp_path)) as h:
        await h.call("generate_video", **wish)
    forgetful = Sandbox(now=h.clock.now, conditions=Conditions(first_serial=100))
    async with running(tmp_path, sandbox=forgetful, clock=h.clock, **own(tmp_path)) as after:
        reply = await after.call("generate_video", **wish, variation=2)

        assert "running" == reply.job["status"], reply.text
        assert 3 == len(after.posts())  # by its old name, the file, by its new name
        assert 1 == len(forgetful.accepted)


async def test_two_servers_on_one_journal_send_a_file_once(tmp_path: Path) -> None:
    path, locks = put(tmp_path), FileLocks(tmp_path / "state" / "journal.lock")
    async with running(tmp_path, locks=locks, **own(tmp_path)) as one:
        async with running(
            tmp_path,
            locks=locks,
            sandbox=one.sandbox,
            network=one.network,
            clock=one.clock,
            **own(tmp_path),
        ) as other:
            one.network.faults = [Fault(before_s=60)]
            begun = await asyncio.gather(
                *(each.call("upscale_video", source=path) for each in (one, other))
            )
            await asyncio.sleep(30)
            after = [await each.call("upscale_video", source=path) for each in (one, other)]

        assert 1 == len({reply.job["job_id"] for reply in begun})
        assert {"upload"} == {reply.job["operation"] for reply in begun}
        assert 1 == len({reply.job["job_id"] for reply in after})
        assert (1, 1) == (len(uploads(one)), len(orders(one)))
