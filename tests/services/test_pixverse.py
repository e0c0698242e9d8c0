"""PixVerse: an end is an end only when everything says so, and a 404 may mean patience."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from mcp_server.errors import UnexpectedAnswerError
from mcp_server.services.registry import service_named
from mcp_server.upstream.responses import Answer
from tests.services.scripted import Says, Scripted
from tests.support.harness import GOOD, running

VIDEO = GOOD["pixverse", "video"]
UPSCALED = "user:12345-pixverse:user@example.com-video:66999001"
MADE = "POST /v2/pixverse/videos/upscale"
READ = f"GET /v2/pixverse/videos/{UPSCALED}"
LIST = "GET /v2/pixverse/videos?email=user%40example.com"
LINK = "https://media.pixverse.ai/x.mp4"
NOT_FOUND = Says({"error": "Not found"}, 404)
NOW, LONG_AGO = "2026-05-28T20:26:40.000Z", "2026-01-01T00:00:00Z"


def source(number: int) -> str:
    return f"user:12345-pixverse:user@example.com-video:{number}"


def record(**changes: Any) -> dict[str, Any]:
    """A finished upscale, as GET videos/video_id shows one (22 September 2025)."""
    return {
        "video_id": UPSCALED,
        "video_status": 1,
        "video_status_name": "COMPLETED",
        "video_status_final": True,
        "created_at": NOW,
        "first_frame": "https://media.pixverse.ai/x.jpg",
        "output_width": 2560,
        "output_height": 1472,
        "original_video_id": VIDEO,
        "upscaled": 1,
        "model": "v3",
        "quality": "360p",
        "url": LINK,
        **changes,
    }


QUEUED = {"video_status": 5, "video_status_name": "QUEUED", "video_status_final": True, "url": ""}
GENERATING = {"video_status": 10, "video_status_name": "GENERATING", "video_status_final": False}


async def read(folder: Path, answer: Any) -> Any:
    """What get_job says where the vendor's record is this."""
    async with running(folder, vendor=Scripted({READ: answer})) as server:
        return await server.call("get_job", job_id=UPSCALED)


# Records


async def test_a_finished_upscale_is_told_as_its_record_says(tmp_path: Path) -> None:
    """`quality` stays that of the source; what came out is `output_width` by `output_height`."""
    reply = await read(tmp_path, record())

    assert {
        "job_id": UPSCALED,
        "service": "pixverse",
        "operation": "upscale_video",
        "status": "completed",
        "source": VIDEO,
        "model": "v3",
        "media": [
            {
                "kind": "video",
                "url": LINK,
                "mime_type": "video/mp4",
                "width": 2560,
                "height": 1472,
                "thumbnail_url": "https://media.pixverse.ai/x.jpg",
                "media_id": UPSCALED,
            }
        ],
        "created_at": NOW,
    } == reply.record


@pytest.mark.parametrize(
    "changes",
    [
        QUEUED,  # final, says the page; and is not (images/image_id, 9 March 2026)
        GENERATING,  # with a url, as the page's own sample has it
        {**GENERATING, "video_status": 9},
        {"output_width": 0},  # reported done before it is (the vendor's client, September 2026)
        {"output_width": None},
        {"url": ""},
        {"url": None},
        {"url": "javascript:x"},
        {"video_status": 2, "video_status_name": "NEW", "video_status_final": True},
        {"video_status": 6, "video_status_name": None},
        {"video_status": "1"},
        {"video_status": None, "video_status_name": "completed"},
        {"video_status": None, "video_status_name": None},
        {"video_status": [1]},
    ],
    ids=range(14),
)
async def test_what_is_not_wholly_finished_is_running(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    reply = await read(tmp_path, record(**changes))

    assert "running" == reply.job["status"]
    assert "media" not in reply.job


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"video_status": 7, "video_status_name": "MODERATED"}, "moderated"),
        ({"video_status": 7, "video_status_name": None}, "moderated"),
        ({"video_status": None, "video_status_name": "MODERATED"}, "moderated"),
        ({"video_status": 8, "video_status_name": None}, "vendor_failed"),
        ({"video_status": 8, "video_status_name": "FAILED"}, "vendor_failed"),
        ({"video_status": None, "video_status_name": "FAILED"}, "vendor_failed"),
    ],
)
async def test_moderated_and_failed_are_ends_whatever_else_is_there(
    tmp_path: Path, changes: dict[str, Any], code: str
) -> None:
    reply = await read(tmp_path, record(**changes))

    assert ("failed", code) == (reply.job["status"], reply.job["failure"]["code"])
    assert "media" not in reply.job


async def test_a_name_alone_is_enough(tmp_path: Path) -> None:
    reply = await read(tmp_path, record(video_status=None))

    assert "completed" == reply.job["status"]


async def test_a_video_that_is_no_upscale_is_a_generated_one(tmp_path: Path) -> None:
    reply = await read(tmp_path, record(upscaled=0, original_video_id=0))

    assert "generate_video" == reply.job["operation"]
    assert "source" not in reply.job


@pytest.mark.parametrize("answer", [{}, Says([]), "x", {"error": "odd"}])
async def test_an_answer_that_is_no_record_is_unexpected(tmp_path: Path, answer: Any) -> None:
    assert "unexpected_answer" == (await read(tmp_path, answer)).error["code"]


@pytest.mark.parametrize(("number", "code"), [(66778807, "moderated"), (66778808, "vendor_failed")])
async def test_a_job_that_fails_in_the_sandbox_tells_why(
    tmp_path: Path, number: int, code: str
) -> None:
    async with running(tmp_path) as server:
        started = await server.call("upscale_video", source=source(number))

        reply = await server.call("get_job", job_id=started.job["job_id"], wait_seconds=50)

    assert ("failed", code) == (reply.job["status"], reply.job["failure"]["code"])


# Images


IMAGE = UPSCALED.replace("-video:", "-image:")
READ_IMAGE = f"GET /v2/pixverse/images/{IMAGE}"
IMAGES = "GET /v2/pixverse/images?email=user%40example.com"
PICTURE = {
    "image_id": IMAGE,
    "image_status": 1,
    "image_status_name": "COMPLETED",
    "image_status_final": True,
    "created_at": NOW,
    "model": "qwen-image",
    "image_url": "https://media.pixverse.ai/x.webp",
    "output_width": 1280,
    "output_height": 720,
}


async def test_a_finished_image_is_told_as_its_record_says(tmp_path: Path) -> None:
    async with running(tmp_path, vendor=Scripted({READ_IMAGE: PICTURE})) as server:
        reply = await server.call("get_job", job_id=IMAGE)

    assert {
        "job_id": IMAGE,
        "service": "pixverse",
        "operation": "generate_image",
        "status": "completed",
        "model": "qwen-image",
        "media": [
            {
                "kind": "image",
                "url": "https://media.pixverse.ai/x.webp",
                "width": 1280,
                "height": 720,
                "media_id": IMAGE,
            }
        ],
        "created_at": NOW,
    } == reply.record


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"image_status": 5, "image_status_name": "QUEUED"}, "running", None),
        ({"image_status": 9, "image_status_name": "GENERATING"}, "running", None),
        ({"image_status": 10, "image_status_name": "PROCESSING"}, "running", None),
        ({"output_width": 0}, "running", None),
        ({"image_url": ""}, "running", None),
        ({"image_status": None}, "completed", None),
        ({"image_status": 7, "image_status_name": "MODERATED"}, "failed", "moderated"),
        ({"image_status": None, "image_status_name": "FAILED"}, "failed", "vendor_failed"),
    ],
)
async def test_an_image_ends_as_a_video_does(
    tmp_path: Path, changes: dict[str, Any], status: str, code: str | None
) -> None:
    async with running(tmp_path, vendor=Scripted({READ_IMAGE: PICTURE | changes})) as server:
        reply = await server.call("get_job", job_id=IMAGE)

    assert (status, code) == (reply.job["status"], reply.job.get("failure", {}).get("code"))


@pytest.mark.parametrize(("listed", "is_found"), [([PICTURE], True), ([], False)])
async def test_an_image_that_is_not_known_gets_a_second_look(
    tmp_path: Path, listed: list[Any], is_found: bool
) -> None:
    """An image that is still made has its status; it is no 404 (9 March 2026)."""
    vendor = Scripted({IMAGES: {"data": listed}})
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("get_job", job_id=IMAGE)

    assert [READ_IMAGE, IMAGES] == vendor.asked
    assert is_found is not reply.is_error
    assert is_found or reply.error["code"] == "not_found"


@pytest.mark.parametrize("answer", [{}, record(), {"error": "odd"}])
async def test_an_answer_that_is_no_image_is_unexpected(tmp_path: Path, answer: Any) -> None:
    async with running(tmp_path, vendor=Scripted({READ_IMAGE: answer})) as server:
        reply = await server.call("get_job", job_id=IMAGE)

    assert "unexpected_answer" == reply.error["code"]


# 404


async def test_a_job_of_ours_that_is_not_there_yet_is_running_for_an_hour(tmp_path: Path) -> None:
    """`404: the video is still processing` (GET videos/video_id, 22 September 2025)."""
    vendor = Scripted({MADE: {"video_id": UPSCALED}, LIST: {"data": []}})
    async with running(tmp_path, vendor=vendor) as server:
        await server.call("upscale_video", source=VIDEO)
        server.clock.jump_s = 3590
        young = await server.call("get_job", job_id=UPSCALED)
        server.clock.jump_s = 3610
        await asyncio.sleep(3)  # within 2 s it would not be read again
        vendor.asked.clear()

        old = await server.call("get_job", job_id=UPSCALED)

    assert ("running", VIDEO) == (young.job["status"], young.job["source"])
    assert ("not_found", 404) == (old.error["code"], old.error["http_status"])
    assert [READ, LIST] == vendor.asked


@pytest.mark.parametrize(
    ("listed", "status"), [(record(), "completed"), (record(**QUEUED), "running")]
)
async def test_an_id_of_somebody_elses_gets_a_second_look(
    tmp_path: Path, listed: dict[str, Any], status: str
) -> None:
    others = [record(video_id=source(1)), None, "x"]
    vendor = Scripted({LIST: {"data": [*others, listed]}})
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("get_job", job_id=UPSCALED)

    assert [READ, LIST] == vendor.asked
    assert status == reply.job["status"]


@pytest.mark.parametrize(
    "answer",
    [
        {"data": []},
        {"data": [record(video_id=source(1))]},
        Says({"error": "Unable to find configuration", "code": 400}, 400),
        NOT_FOUND,
    ],
)
async def test_an_id_neither_knows_is_not_found(tmp_path: Path, answer: Any) -> None:
    async with running(tmp_path, vendor=Scripted({LIST: answer})) as server:
        reply = await server.call("get_job", job_id=UPSCALED)

    assert "not_found" == reply.error["code"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Says({"error": "x"}, 500), "server_error"),
        (Says(b"<html>", 523), "server_error"),
        ({}, "unexpected_answer"),
    ],
)
async def test_a_second_look_that_fails_proves_nothing(
    tmp_path: Path, answer: Any, code: str
) -> None:
    async with running(tmp_path, vendor=Scripted({LIST: answer})) as server:
        reply = await server.call("get_job", job_id=UPSCALED)

    assert code == reply.error["code"]


async def test_an_id_of_another_kind_is_no_job(tmp_path: Path) -> None:
    song = UPSCALED.replace("-video:", "-music:")
    async with running(tmp_path) as server:
        reply = await server.call("get_job", job_id=song)
        submitted = await server.call("upscale_video", source=song)

        assert [] == server.network.sent
    assert "invalid_argument" == reply.error["code"]
    assert "unsupported" == submitted.error["code"]


# Submitter


@pytest.mark.parametrize(("extra", "cost"), [({}, None), ({"cost_credits": 60}, 60)])
async def test_a_cost_is_passed_on_if_it_is_told(
    tmp_path: Path, extra: dict[str, int], cost: int | None
) -> None:
    vendor = Scripted({MADE: {"video_id": UPSCALED, **extra}})
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=VIDEO)

    assert (UPSCALED, cost) == (reply.job["job_id"], reply.job.get("forecast_credits"))


@pytest.mark.parametrize(
    ("number", "code", "status", "says"),
    [
        (66778400, "refused", 400, "This video cannot be upscaled"),
        (66778412, "no_credits", 412, "too few credits"),
        (66778429, "rate_limited", 429, "queue is full"),
        (66778430, "rate_limited", 429, "concurrent generations"),
        (66778596, "account_error", 596, "Solve it on PixVerse"),
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
    assert (30 if status == 429 else None) == reply.error.get("retry_after_seconds")
    assert "user@example.com" not in reply.text


# Lost answers


async def test_a_lost_answer_is_found_in_the_list(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("upscale_video", source=source(66778809))

        assert 1 == len(server.posts())
        assert server.sandbox.accepted[0].job_id == reply.job["job_id"]
    assert "reused" not in reply.job


async def lost(folder: Path, *records: Any, before: tuple[Any, ...] = ()) -> Any:
    """What comes of an order whose answer was a JSON 500, with these videos in the list."""
    lists = [{"data": list(before)}, {"data": [*records, *before]}]
    vendor = Scripted({MADE: Says({"error": "x"}, 500), LIST: lists})
    async with running(folder, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=VIDEO)
    assert 1 == vendor.asked.count(MADE)
    return reply


@pytest.mark.parametrize(
    "other",
    [
        {"original_video_id": source(1)},
        {"original_video_id": 0},
        {"upscaled": 0},
        {"extended": 1},
        {"video_id": "../../x"},
        {"video_id": 3},
    ],
)
async def test_another_video_is_not_taken_for_ours(tmp_path: Path, other: dict[str, Any]) -> None:
    """PixVerse does not refuse a repeat, so it is never sent again either."""
    reply = await lost(tmp_path, record(**other))

    assert "unconfirmed" == reply.job["status"]


async def test_a_record_that_does_not_say_it_is_an_upscale_may_be_ours(tmp_path: Path) -> None:
    """Every field is optional (GET videos, 8 July 2025), so it is judged by its source."""
    silent = {name: value for name, value in record().items() if name != "upscaled"}

    reply = await lost(tmp_path, silent)

    assert (UPSCALED, "upscale_video") == (reply.job["job_id"], reply.job["operation"])


async def test_of_several_upscales_the_one_that_was_not_there_before_is_ours(
    tmp_path: Path,
) -> None:
    newest = record(video_id=source(5), created_at="2026-05-28T20:26:59Z", **QUEUED)
    there = (record(), record(video_id=source(6), created_at=LONG_AGO))

    reply = await lost(tmp_path, newest, before=there)

    assert (source(5), "running") == (reply.job["job_id"], reply.job["status"])


@pytest.mark.parametrize("made_at", [NOW, None, "odd"])
async def test_a_job_made_now_or_without_a_date_is_ours(
    tmp_path: Path, made_at: str | None
) -> None:
    reply = await lost(tmp_path, record(created_at=made_at))

    assert (UPSCALED, None) == (reply.job["job_id"], reply.job.get("reused"))


@pytest.mark.parametrize("made_at", [LONG_AGO, NOW, None])
async def test_an_upscale_that_was_there_before_is_named_and_not_taken(
    tmp_path: Path, made_at: str | None
) -> None:
    reply = await lost(tmp_path, before=(record(created_at=made_at),))

    assert "unconfirmed" == reply.job["status"]
    assert f"{UPSCALED}, which is older, does the same" in reply.text


async def test_an_older_upscale_that_failed_is_no_answer(tmp_path: Path) -> None:
    failed = record(created_at=LONG_AGO, video_status=8)

    reply = await lost(tmp_path, before=(failed,))

    assert "unconfirmed" == reply.job["status"]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"video_id": 3},
        {"video_id": "x"},
        Says([]),
        {"video_id": VIDEO},
        {"video_id": UPSCALED.replace("-video:", "-image:")},
        {"video_id": UPSCALED.replace("user@", "other@")},
    ],
)
async def test_an_answer_without_an_id_is_looked_into(tmp_path: Path, answer: Any) -> None:
    lists = [{"data": []}, {"data": [record(**GENERATING)]}]
    vendor = Scripted({MADE: answer, LIST: lists})
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=VIDEO)

    assert (UPSCALED, "running") == (reply.job["job_id"], reply.job["status"])
    assert 1 == vendor.asked.count(MADE)


# Upscalers


async def sent(folder: Path, tool: str, **given: Any) -> dict[str, Any]:
    """What an order holds, without our reference."""
    async with running(folder) as server:
        reply = await server.call(tool, **given)
        assert "running" == reply.job["status"]
        (order,) = server.posts()
    return {name: value for name, value in json.loads(order.content).items() if name != "replyRef"}


GOOD_IMAGE = GOOD["pixverse", "image"]


@pytest.mark.parametrize(
    ("tool", "given", "body"),
    [
        # As before there were models: the default upscaler makes 2160p.
        ("upscale_video", {"source": VIDEO}, {"video_id": VIDEO}),
        ("upscale_video", {"source": VIDEO, "resolution": "4K"}, {"video_id": VIDEO}),
        (
            "upscale_video",
            {"source": VIDEO, "resolution": "uhd", "model": "pixverse-upscale"},
            {"video_id": VIDEO},
        ),
        (
            "upscale_video",
            {"source": VIDEO, "model": "topaz-starlight-fast"},
            {"video_id": VIDEO, "model": "topaz-starlight-fast"},
        ),
        (
            "upscale_video",
            {"source": VIDEO, "model": "topaz-proteus", "resolution": "1080p"},
            {"video_id": VIDEO, "model": "topaz-proteus", "quality": "1080p"},
        ),
        ("upscale_image", {"source": GOOD_IMAGE, "resolution": "2160p"}, {"image_id": GOOD_IMAGE}),
        (
            "upscale_image",
            {"source": GOOD_IMAGE, "model": "topaz-gigapixel", "resolution": "1440p"},
            {"image_id": GOOD_IMAGE, "model": "topaz-gigapixel", "quality": "1440p"},
        ),
        (
            "upscale_image",
            {"source": GOOD_IMAGE, "model": "topaz-gigapixel", "resolution": "full hd"},
            {"image_id": GOOD_IMAGE, "model": "topaz-gigapixel", "quality": "1080p"},
        ),
    ],
)
async def test_models_and_resolutions_are_written_as_the_vendor_wants_them(
    tmp_path: Path, tool: str, given: dict[str, Any], body: dict[str, Any]
) -> None:
    assert body == await sent(tmp_path, tool, **given)


@pytest.mark.parametrize(
    ("tool", "given", "says"),
    [
        ("upscale_video", {"resolution": "1080p"}, "Give model=topaz-proteus"),
        ("upscale_image", {"resolution": "2k"}, "Give model=topaz-gigapixel for 2k"),
        ("upscale_image", {"resolution": "8k"}, "must be 1080p or 2k or 4k"),
        ("upscale_video", {"model": "topaz-gigapixel"}, "must be pixverse-upscale or"),
        ("upscale_image", {"model": "topaz-proteus"}, "must be pixverse-upscale or"),
        ("upscale_video", {"account": "user@example.com"}, "takes no account"),
    ],
)
async def test_what_an_upscaler_does_not_make_is_refused(
    tmp_path: Path, tool: str, given: dict[str, Any], says: str
) -> None:
    async with running(tmp_path) as server:
        reply = await server.call(tool, source=GOOD_IMAGE if "image" in tool else VIDEO, **given)

        assert says in reply.text
        assert [] == server.posts()


async def test_without_a_linked_account_it_is_for_pixverse_to_judge(tmp_path: Path) -> None:
    vendor = Scripted(
        {
            "GET /v2/pixverse/accounts": {},
            "POST /v2/pixverse/videos/create": {"video_id": UPSCALED},
        }
    )
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("generate_video", prompt="x", service="pixverse")

    assert (UPSCALED, "running") == (reply.job["job_id"], reply.job["status"])


async def test_an_image_is_upscaled_and_read_by_its_own_id(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        started = await server.call("upscale_image", source=GOOD_IMAGE)
        done = await server.call("get_job", job_id=started.job["job_id"], wait_seconds=50)

    (item,) = done.job["media"]
    assert ("completed", "upscale_image", GOOD_IMAGE) == (
        done.job["status"],
        done.job["operation"],
        done.job["source"],
    )
    assert ("image", 3840, 2160) == (item["kind"], item["width"], item["height"])


async def test_what_is_known_to_be_4k_is_not_upscaled_again(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        made = await server.call("upscale_video", source=VIDEO)
        job_id = made.job["job_id"]
        await server.call("get_job", job_id=job_id, wait_seconds=50)
        reply = await server.call("upscale_video", source=job_id, model="topaz-proteus")

        assert "is 3840x2160 already" in reply.text
        assert 1 == len(server.posts())


@pytest.mark.parametrize(
    ("width", "height", "is_sent"),
    [(2160, 3840, False), (2160, 3838, True), (2160, None, True)],
)
async def test_what_is_known_to_be_4k_is_so_by_its_longer_side(
    tmp_path: Path, width: int, height: int | None, is_sent: bool
) -> None:
    vendor = Scripted(
        {
            MADE: Says({"video_id": UPSCALED}),
            READ: record(output_width=width, output_height=height),
        }
    )
    async with running(tmp_path, vendor=vendor) as server:
        await server.call("upscale_video", source=VIDEO)
        await server.call("get_job", job_id=UPSCALED)
        reply = await server.call("upscale_video", source=UPSCALED, model="topaz-proteus")

        assert is_sent != ("already, and PixVerse upscales what is smaller" in reply.text)
        assert 1 + is_sent == len(server.posts())


@pytest.mark.parametrize(
    "answer",
    [
        {"result": [{"id": 1, "url": "", "path": "upload/x.jpg", "err_msg": ""}]},
        {"path": "upload/x.jpg", "url": "https://media.pixverse.ai/x.jpg"},
        {"result": [], "path": "upload/x.jpg"},
        {"result": [None, {"path": "upload/x.jpg"}]},
    ],
)
def test_the_path_of_an_upload_is_found_in_both_shapes(answer: dict[str, Any]) -> None:
    """POST files (6 December 2024): an image's answer is another than a video's."""
    assert "upload/x.jpg" == service_named("pixverse").ref_of(Answer(200, answer))


@pytest.mark.parametrize(
    "answer", [{}, {"result": []}, {"path": ""}, {"path": 3}, [], "x", {"result": [{"path": None}]}]
)
def test_an_upload_without_a_path_is_unexpected(answer: Any) -> None:
    with pytest.raises(UnexpectedAnswerError):
        service_named("pixverse").ref_of(Answer(200, answer))
