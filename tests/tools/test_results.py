"""How answers read: every state of every service as text, data and links, and every error."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from mcp.types import TextContent

from mcp_server.clock import iso
from mcp_server.errors import DownloadError, RateLimitError, RequestError, UseapiError
from mcp_server.models import Failure, Job, ListedJob, Media
from mcp_server.sandbox.app import SOURCES
from mcp_server.tools.results import LONGEST_TEXT, error_answer, job_answer, list_answer
from tests.support.harness import EPOCH, GOOD, Fault, Harness, Reply, running

VIDEO = GOOD["dreamina", "video"]
IMAGE = GOOD["dreamina", "image"]
FLOW_VIDEO = GOOD["google-flow", "video"]
FLOW_IMAGE = GOOD["google-flow", "image"]
PIXVERSE = GOOD["pixverse", "video"]
CUT = Fault(reaches=False, then="cut")


def source(service: str, use: str) -> str:
    """The sandbox's source that is there for this."""
    (found,) = (
        s.id for s in SOURCES if s.service == service and s.kind == "video" and use in s.use
    )
    return found


async def checked(server: Harness, tool: str, **given: Any) -> Reply:
    """A call whose answer keeps all that every answer keeps."""
    reply = await server.call(tool, **given)
    schemas = {t.name: t.output_schema for t in (await server.client.list_tools()).tools}
    schema = schemas[tool]
    assert schema is not None
    jsonschema.Draft202012Validator(schema).validate(reply.data)
    assert "null" not in json.dumps(reply.data)
    assert len(reply.text) <= LONGEST_TEXT
    assert not reply.is_error
    jobs = reply.job["jobs"] if tool == "list_jobs" else [reply.job]
    for job in jobs:
        assert job["job_id"] in reply.text
        assert job.get("reused", True) is True  # left out unless true
    said = reply.text.splitlines()[0]
    assert reply.job.get("note", "") in said
    assert reply.job.get("next", "") in said
    if tool != "list_jobs":
        media = reply.job.get("media", [])
        assert [item.get("path") or item["url"] for item in media] == reply.text.splitlines()[1:]
        assert not any(
            "path" in item and ("url" in item or "thumbnail_url" in item) for item in media
        )
    return reply


WORK = [
    pytest.param("upscale_video", {"source": VIDEO}, "1280x720", id="Dreamina upscale"),
    pytest.param(
        "interpolate_video",
        {"source": VIDEO, "fps": 60},
        "640x360, 60 fps",
        id="Dreamina interpolate",
    ),
    pytest.param(
        "upscale_image", {"source": IMAGE, "resolution": "8k"}, "7680x4320", id="Dreamina image"
    ),
    pytest.param(
        "upscale_video", {"source": FLOW_VIDEO}, "is completed.", id="Google Flow upscale"
    ),
    pytest.param("upscale_image", {"source": FLOW_IMAGE}, "2560x1440", id="Google Flow image"),
    pytest.param("upscale_video", {"source": PIXVERSE}, "3840x2160", id="PixVerse upscale"),
]


@pytest.mark.parametrize(("tool", "given", "size"), WORK)
async def test_a_job_reads_well_from_its_start_to_its_end(
    tmp_path: Path, tool: str, given: dict[str, Any], size: str
) -> None:
    async with running(tmp_path) as server:
        started = await checked(server, tool, **given)
        job_id = started.job["job_id"]
        done = await checked(server, "get_job", job_id=job_id, wait_seconds=50)
        again = await checked(server, tool, **given)

        if started.job["status"] == "running":
            assert "get_job(job_id, wait_seconds=50), until it ends" == started.job["next"]
        assert done.job["status"] == "completed"
        assert size in done.text.splitlines()[0]
        if "path" in done.job["media"][0]:
            assert "saved on the server's disk" in done.text
            assert done.job["media"][0]["path"] in done.text.splitlines()
        else:
            assert "A link expires within hours." == done.job["note"]
            assert "download_media(job_id), which saves it" == done.job["next"]
        assert again.job["reused"]
        assert "An earlier call made it, so nothing was submitted now." in again.text


@pytest.mark.parametrize(
    ("service", "use", "says"),
    [
        (
            "dreamina",
            "fails with fail_code",
            "failed: Dreamina's moderation refused it: fail_code: 2043",
        ),
        ("google-flow", "then the job fails", "failed: "),
        ("google-flow", "a failed media", "failed: "),
        ("pixverse", "FAILED (8)", "failed: PixVerse failed."),
        (
            "pixverse",
            "MODERATED (7)",
            "The same source or prompt will be refused again; use another.",
        ),
    ],
)
async def test_a_failed_job_says_why_and_what_then(
    tmp_path: Path, service: str, use: str, says: str
) -> None:
    async with running(tmp_path) as server:
        job = (await checked(server, "upscale_video", source=source(service, use))).job

        failed = await checked(server, "get_job", job_id=job["job_id"], wait_seconds=50)

        assert failed.job["status"] == "failed"
        assert failed.job["failure"]["message"]
        assert says in failed.text
        assert failed.text.endswith(".")


async def test_a_running_job_that_is_asked_for_again_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=1000) as server:
        await checked(server, "upscale_video", source=VIDEO)

        again = await checked(server, "upscale_video", source=VIDEO)

        assert again.job["status"] == "running"
        assert "An earlier call started it, so nothing was submitted now." in again.text


async def test_a_cancelled_job_reads_well(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=1000) as server:
        job = (await checked(server, "upscale_video", source=VIDEO)).job

        reply = await checked(server, "cancel_job", job_id=job["job_id"])

        assert reply.job["status"] == "cancelled"
        assert (
            "The vendor was asked to cancel it; credits are not known to come back." in reply.text
        )
        assert "was cancelled: " in reply.text


async def test_a_vendor_that_is_slow_gives_an_id_to_follow(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        server.network.faults.append(Fault(after_s=60))

        reply = await checked(server, "upscale_video", source=FLOW_VIDEO)

        assert reply.job["status"] == "submitting"
        assert reply.job["job_id"].startswith("useapi-mcp:")
        assert "Google Flow has not answered yet; the request goes on" in reply.text
        assert "The same call again would join it, not pay again." in reply.text


async def test_a_job_nobody_knows_of_says_how_to_go_on(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        server.network.faults.append(CUT)
        first = await checked(server, "upscale_video", source=PIXVERSE)

        reply = await checked(server, "get_job", job_id=first.job["job_id"], wait_seconds=50)
        if reply.job["status"] == "submitting":
            reply = await checked(server, "get_job", job_id=first.job["job_id"], wait_seconds=50)
        given_up = await checked(server, "cancel_job", job_id=first.job["job_id"])

        assert reply.job["status"] == "unconfirmed"
        assert "It is not known whether PixVerse took job useapi-mcp:" in reply.text
        assert "cancel_job with this job_id gives it up" in reply.text
        assert given_up.job["status"] == "cancelled"
        assert "the vendor was not asked" in given_up.text


async def test_several_files_are_told_as_several(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        reply = await checked(server, "get_job", job_id=IMAGE)

        assert len(reply.job["media"]) == 4
        assert "is completed: 4 files, 1280x720." in reply.text
        assert "The links are below." in reply.text


@pytest.mark.parametrize("sandbox", [True, False])
async def test_every_answer_of_the_sandbox_says_so_and_no_other(
    tmp_path: Path, sandbox: bool
) -> None:
    async with running(tmp_path, USEAPI_SANDBOX=str(sandbox)) as server:
        replies = [
            await server.call("upscale_video", source=VIDEO),
            await server.call("get_job", job_id=VIDEO),
            await server.call("list_jobs"),
            await server.call("list_jobs", status="unconfirmed"),
            await server.call("get_job", job_id="nonsense"),
            await server.call("get_job", job_id=VIDEO, wait_seconds=99),
        ]

        for reply in replies:
            assert sandbox == (
                "This is the sandbox: nothing is real or charged." in reply.text.splitlines()[0]
            )


async def test_a_list_holds_no_refused_submission_unless_it_is_asked_for(tmp_path: Path) -> None:
    refused = source("dreamina", "412: out of credits")
    failing = source("dreamina", "fails with fail_code")
    async with running(tmp_path) as server:
        await server.call("upscale_video", source=refused)
        job = (await server.call("upscale_video", source=failing)).job
        await server.call("get_job", job_id=job["job_id"], wait_seconds=50)

        told = (await checked(server, "list_jobs")).job["jobs"]
        failed = (await checked(server, "list_jobs", status="failed")).job["jobs"]

        assert [failing] == [job["source"] for job in told]
        assert [failing, refused] == [job["source"] for job in failed]


async def test_a_list_tells_the_time_that_it_is_sorted_by(tmp_path: Path) -> None:
    """Ours: a vendor's clock may be ahead of it or behind."""
    async with running(tmp_path) as server:
        for clip in (VIDEO, FLOW_VIDEO, PIXVERSE):
            await server.call("upscale_video", source=clip)
            await asyncio.sleep(60)

        told = (await checked(server, "list_jobs")).job["jobs"]

        assert [PIXVERSE, FLOW_VIDEO, VIDEO] == [job["source"] for job in told]
        assert [iso(EPOCH + age) for age in (120, 60, 0)] == [job["created_at"] for job in told]


async def test_what_shaped_the_result_is_told_from_its_start_to_its_end(tmp_path: Path) -> None:
    given = {"source": IMAGE, "resolution": "8k", "image_index": 2}
    async with running(tmp_path) as server:
        replies = [
            started := await checked(server, "upscale_image", **given),
            await checked(server, "get_job", job_id=started.job["job_id"], wait_seconds=50),
            await checked(server, "download_media", job_id=started.job["job_id"]),
        ]

        for reply in replies:
            told = reply.job["options"]
            assert ("8k", 2) == (told["resolution"], told["image_index"])
            assert "image_index 2" in (await server.call("list_jobs")).text
            assert '"image_index": 2,' in json.dumps(told)


async def test_an_answer_never_holds_the_file_itself(tmp_path: Path) -> None:
    """Google Flow answers an image with base64: it is cut out into a file."""
    async with running(tmp_path) as server:
        reply = await checked(server, "upscale_image", source=FLOW_IMAGE)
        reply = await checked(server, "get_job", job_id=reply.job["job_id"], wait_seconds=50)

        (item,) = reply.job["media"]
        told = json.dumps(reply.data) + reply.text
        assert len(told) < 3000
        assert item["size_bytes"] == os.path.getsize(item["path"])  # noqa: ASYNC240, PTH202 - of a small file


def job(**changes: object) -> Job:
    plain = Job(job_id=VIDEO, service="dreamina", operation="upscale_video", status="completed")
    return plain.evolve(**changes)


def text(answer: Any) -> str:
    first = answer.content[0]
    assert isinstance(first, TextContent)
    return first.text


def test_links_that_do_not_fit_are_left_to_the_data() -> None:
    media = tuple(Media(kind="image", url=f"https://e.example/{n}?{'x' * 3000}") for n in range(4))

    answer = job_answer(job(media=media), sandbox=True)

    lines = text(answer).splitlines()
    assert len(text(answer)) <= LONGEST_TEXT
    assert [item.url for item in media[:2]] == lines[1:]
    assert answer.structured_content is not None
    assert len(answer.structured_content["media"]) == 4


def test_a_completed_job_without_a_file_says_so() -> None:
    assert "is completed. Its record holds no file. Next: get_job(job_id), in a minute." in text(
        job_answer(job())
    )


def test_a_completed_job_without_a_link_says_when_to_look_again() -> None:
    answer = job_answer(job(media=(Media(kind="video", width=2, height=1),)))

    assert "is completed: 2x1. There is no link to its file yet. Next: get_job" in text(answer)


def test_a_saved_file_is_told_by_its_path_and_its_links_are_left_to_the_viewer() -> None:
    saved = Media(
        kind="image", url="https://e.example/a.jpg", thumbnail_url="https://e.example/t.jpg"
    ).model_copy(update={"path": "/out/b.jpg", "size_bytes": 7})
    other = Media(kind="image", url="https://e.example/c.jpg")

    answer = job_answer(job(media=(saved, other)))

    assert answer.structured_content is not None
    assert [
        {"kind": "image", "path": "/out/b.jpg", "size_bytes": 7},
        {"kind": "image", "url": "https://e.example/c.jpg"},
    ] == answer.structured_content["media"]
    assert ["/out/b.jpg", "https://e.example/c.jpg"] == text(answer).splitlines()[1:]
    assert answer.structured_content["next"].startswith("download_media(job_id)")
    assert [
        {"url": "https://e.example/a.jpg", "thumbnail_url": "https://e.example/t.jpg"},
        {"url": "https://e.example/c.jpg"},
    ] == (answer.meta or {})["useapi-mcp/links"]


def test_what_a_vendor_says_stays_on_one_short_line() -> None:
    said = "no\x1b[31m\n\u202e" + "x" * 5000
    failed = job(status="failed", failure=Failure(code="vendor_failed", message=said))

    told = text(job_answer(failed))

    assert "\n" not in told
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert len(told) < 600


def test_why_nothing_is_known_is_told_where_it_is_known() -> None:
    failure = Failure(code="unconfirmed", message="PixVerse was asked 6 times.")

    told = text(job_answer(job(status="unconfirmed", failure=failure)))

    assert f"took job {VIDEO}: PixVerse was asked 6 times. It is not sent again by itself." in told


def listed(**changes: Any) -> ListedJob:
    plain = {
        "job_id": VIDEO,
        "service": "dreamina",
        "operation": "upscale_video",
        "status": "completed",
        "source": VIDEO,
        "options": {"fps": 60},
        "path": "/home/me/Downloads/useapi-mcp/dreamina-interpolate-2560x1440-20260302-k3j4h5.mp4",
        "created_at": "2026-11-21T10:00:00.000Z",
    }
    return ListedJob.model_validate(plain | changes)


@pytest.mark.parametrize("count", [1, 20, 100])
def test_a_long_list_says_how_many_more_there_are(count: int) -> None:
    answer = list_answer([listed()] * count, sandbox=True)

    lines = text(answer).splitlines()
    shown = [line for line in lines if line.startswith("2026")]
    assert len(text(answer)) <= LONGEST_TEXT
    assert answer.structured_content is not None
    told = len(answer.structured_content["jobs"])
    if count == 100:
        assert 20 < len(shown) < told < 100
        assert f"… and {100 - len(shown)} more." == lines[-1]
        assert f"{100 - told} older ones are left out" in answer.structured_content["note"]
    else:
        assert count == told == len(shown) == len(lines) - 1


@pytest.mark.parametrize("id_", [VIDEO, FLOW_VIDEO, PIXVERSE])
def test_a_hundred_rows_take_at_most_8000_tokens(id_: str) -> None:
    """Counted with o200k_base: 125 tokens for such a row of Dreamina, 2.9 characters for each."""
    answer = list_answer([listed(job_id=id_, source=id_)] * 100)

    told = json.dumps(answer.structured_content, separators=(",", ":"))
    assert len(told) < 19_000


def test_a_list_tells_jobs_apart_by_source_options_and_file() -> None:
    row = listed()

    answer = list_answer([row])

    assert (
        f"{row.created_at} upscale_video completed {VIDEO} of {VIDEO}, fps 60, in {row.path}"
        == text(answer).splitlines()[1]
    )
    assert answer.structured_content is not None
    assert [row.model_dump()] == answer.structured_content["jobs"]


def test_an_empty_list_says_so() -> None:
    assert "No such job: this server has submitted none that fits." == text(list_answer([]))


def test_one_job_is_no_jobs() -> None:
    assert text(list_answer([listed()])).startswith("1 job, newest first")


@pytest.mark.parametrize(
    ("error", "facts"),
    [
        (
            RequestError(message="A is wrong.", hint="Correct it."),
            {"code": "invalid_argument", "retryable": False, "next_action": "fix_arguments"},
        ),
        (
            RateLimitError(
                message="A is busy.",
                hint="Wait.",
                service="pixverse",
                http_status=429,
                retry_after_seconds=30,
                job_id="j",
            ),
            {
                "code": "rate_limited",
                "service": "pixverse",
                "http_status": 429,
                "retryable": True,
                "retry_after_seconds": 30,
                "job_id": "j",
                "next_action": "wait_then_retry",
            },
        ),
        (
            DownloadError(message="A is gone.", hint="Go."),
            {"code": "download_failed", "retryable": False, "next_action": "get_job"},
        ),
    ],
)
def test_an_error_is_two_sentences_and_a_line_of_json(
    error: UseapiError, facts: dict[str, Any]
) -> None:
    answer = error_answer(error)

    said, line = text(answer).split("\n")
    assert answer.is_error
    assert answer.structured_content is None
    assert f"{error.message} {error.hint}" == said
    assert facts == json.loads(line)


ERRORS = [
    ("dreamina", "402: no subscription", 402, "no_subscription", False),
    ("dreamina", "412: out of credits", 412, "no_credits", False),
    ("dreamina", "429 with Retry-After: 60", 429, "rate_limited", True),
    ("dreamina", "596: the linked", 596, "account_error", False),
    ("google-flow", "403: captcha token rejected", 403, "captcha", False),
    ("google-flow", "404: no such", 404, "not_found", False),
    ("google-flow", "429: every account", 429, "rate_limited", True),
    ("google-flow", "503: captcha service", 503, "captcha", False),
    ("pixverse", "429: the account is full", 429, "rate_limited", True),
    ("dreamina", "not finished: 400", 400, "not_ready", True),
]


@pytest.mark.parametrize(("service", "use", "status", "code", "retryable"), ERRORS)
async def test_an_error_of_the_vendor_says_what_to_do(
    tmp_path: Path, service: str, use: str, status: int, code: str, retryable: bool
) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("upscale_video", source=source(service, use))

        error = reply.error
        said = reply.text.splitlines()[0]
        assert (code, service, status, retryable) == (
            error["code"],
            error["service"],
            error["http_status"],
            error["retryable"],
        )
        assert error["next_action"]
        assert ("retry_after_seconds" in error) == (code == "rate_limited")
        assert said.endswith(".")
        assert reply.data is None
