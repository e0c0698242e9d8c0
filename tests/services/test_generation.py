"""Google Flow and PixVerse make videos and images: what is sent, what comes, what may be ours.

Dreamina's are in test_dreamina.py.
"""

import asyncio
import struct
import zlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from mcp_server.sandbox import media
from mcp_server.sandbox.account import SEVERAL_ACCOUNTS
from tests.jobs.test_never_twice import another_server
from tests.services.scripted import Says, Scripted
from tests.support.harness import GOOD, ORIGIN, TOKEN, Fault, Harness, Reply, running
from tests.support.processes import Kernel
from tests.support.vendor_faults import stale

PROMPT = "A red panda sails a paper boat"
FLOW_IMAGE = GOOD["google-flow", "image"]
PATHS = {
    ("google-flow", "video"): "/v1/google-flow/videos",
    ("google-flow", "image"): "/v1/google-flow/images",
    ("pixverse", "video"): "/v2/pixverse/videos/create",
    ("pixverse", "image"): "/v2/pixverse/images/create",
}
CUT = Fault(then="cut")
SEVERAL = f"user:{SEVERAL_ACCOUNTS}-token"


async def make(
    server: Harness, service: str, kind: str = "video", prompt: str = PROMPT, **given: Any
) -> Reply:
    return await server.call(f"generate_{kind}", prompt=prompt, service=service, **given)


async def ended(server: Harness, reply: Reply) -> Reply:
    return await server.call("get_job", job_id=reply.job["job_id"], wait_seconds=50)


def content_of(item: dict[str, Any]) -> bytes:
    return Path(item["path"]).read_bytes()


def sent(server: Harness, number: int = 0) -> dict[str, Any]:
    """The body of a paid request, without our reference."""
    body = dict(server.sandbox.accepted[number].body)
    assert str(body.pop("replyRef")).startswith("useapi-mcp:")
    return body


async def stranger(server: Harness, path: str, **body: Any) -> dict[str, Any]:
    """A request that another program sends on the same account."""
    transport = httpx.ASGITransport(app=server.sandbox)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return dict((await client.post(path, json=body, headers=headers)).json())


# What is sent


@pytest.mark.parametrize(
    ("given", "body"),
    [
        ({}, {"aspectRatio": "landscape"}),
        ({"aspect_ratio": "9:16"}, {"aspectRatio": "portrait"}),
        (
            {"aspect_ratio": "3:4", "resolution": "720p"},
            {"aspectRatio": "3:4", "resolution": "720p"},
        ),
        (
            {"model": "omni-flash", "duration_seconds": 10, "resolution": "360"},
            {
                "aspectRatio": "landscape",
                "model": "omni-flash",
                "duration": 10,
                "resolution": "360p",
            },
        ),
        (
            {"start_image": FLOW_IMAGE, "end_image": FLOW_IMAGE, "aspect_ratio": "portrait"},
            {"aspectRatio": "portrait", "startImage": FLOW_IMAGE, "endImage": FLOW_IMAGE},
        ),
        ({"variation": 3}, {"aspectRatio": "landscape"}),
    ],
)
async def test_a_video_is_asked_of_google_flow_in_its_words(
    tmp_path: Path, given: dict[str, Any], body: dict[str, Any]
) -> None:
    """The shape and how many are always sent: a frame changes neither (October 2026)."""
    async with running(tmp_path) as server:
        reply = await make(server, "google-flow", **given)

    assert "running" == reply.job["status"]
    assert PATHS["google-flow", "video"] == server.sandbox.accepted[0].path
    assert {"prompt": PROMPT, "async": True, "count": 1, **body} == sent(server)


@pytest.mark.parametrize(
    ("given", "body"),
    [
        ({}, {"count": 1}),
        ({"count": 4, "model": "nano-banana-pro"}, {"count": 4, "model": "nano-banana-pro"}),
        ({"aspect_ratio": "16:9"}, {"count": 1, "aspectRatio": "16:9"}),
        (
            {"reference_image": FLOW_IMAGE, "aspect_ratio": "auto"},
            {"count": 1, "reference_1": FLOW_IMAGE, "aspectRatio": "auto"},
        ),
    ],
)
async def test_images_are_asked_of_google_flow_in_its_words(
    tmp_path: Path, given: dict[str, Any], body: dict[str, Any]
) -> None:
    async with running(tmp_path) as server:
        await ended(server, await make(server, "google-flow", "image", **given))

    assert {"prompt": PROMPT, **body} == sent(server)


@pytest.mark.parametrize(
    ("kind", "given", "body"),
    [
        ("video", {}, {"aspect_ratio": "16:9"}),
        ("video", {"aspect_ratio": "9x16"}, {"aspect_ratio": "9:16"}),
        (
            "video",
            {"model": "seedance-2.0", "resolution": "4k", "duration_seconds": 4, "max_jobs": 2},
            {
                "aspect_ratio": "16:9",
                "model": "seedance-2.0",
                "quality": "2160p",
                "duration": 4,
                "maxJobs": 2,
            },
        ),
        ("video", {"account": "user@example.com"}, {"aspect_ratio": "16:9"}),
        ("image", {}, {}),
        ("image", {"count": 3, "aspect_ratio": "1:1"}, {"create_count": 3, "aspect_ratio": "1:1"}),
        (
            "image",
            {"model": "nano-banana-2", "resolution": "2k"},
            {"model": "nano-banana-2", "quality": "1440p"},
        ),
    ],
)
async def test_a_wish_is_sent_to_pixverse_in_its_words(
    tmp_path: Path, kind: str, given: dict[str, Any], body: dict[str, Any]
) -> None:
    async with running(tmp_path) as server:
        await make(server, "pixverse", kind, **given)

    assert PATHS["pixverse", kind] == server.sandbox.accepted[0].path
    assert {"prompt": PROMPT, "email": "user@example.com", **body} == sent(server)


@pytest.mark.parametrize(
    ("service", "kind", "given", "says"),
    [
        ("google-flow", "video", {"end_image": FLOW_IMAGE}, "needs a start_image"),
        ("google-flow", "video", {"resolution": "1080p"}, "must be 360p or 720p"),
        ("google-flow", "video", {"aspect_ratio": "21:9"}, "must be 16:9 or 9:16"),
        ("google-flow", "video", {"max_jobs": 2}, "takes no max_jobs"),
        ("google-flow", "image", {"aspect_ratio": "auto"}, "needs a reference_image"),
        ("google-flow", "image", {"resolution": "4k"}, "takes no resolution"),
        ("pixverse", "video", {"duration_seconds": 61}, "must be 1 to 60"),
        ("pixverse", "video", {"resolution": "8k"}, "must be 360p or"),
        ("pixverse", "video", {"captcha_retry": 2}, "takes no captcha_retry"),
        ("pixverse", "video", {"prompt": "x" * 5001}, "takes 5000"),
        ("pixverse", "image", {"resolution": "8k"}, "must be 512p or"),
    ],
)
async def test_what_does_not_go_is_refused_before_anything_is_sent(
    tmp_path: Path, service: str, kind: str, given: dict[str, Any], says: str
) -> None:
    async with running(tmp_path) as server:
        reply = await make(server, service, kind, **given)

        assert [] == server.posts()
    assert reply.error["code"] in ("invalid_argument", "unsupported")
    assert says in reply.text


async def test_pixverse_needs_to_be_told_which_of_several_accounts_makes_it(
    tmp_path: Path,
) -> None:
    """It is no part of the wish: the same on another account is the same job."""
    async with running(tmp_path, USEAPI_TOKEN=SEVERAL) as server:
        open_ = await make(server, "pixverse")
        named = await make(server, "pixverse", account="second")
        again = await make(server, "pixverse", account="user@example.com")
        body = sent(server)
    async with running(
        tmp_path / "set", USEAPI_TOKEN=SEVERAL, USEAPI_ACCOUNTS="pixverse=second@example.com"
    ) as server:
        await make(server, "pixverse")
        by_setting = sent(server)

    assert "invalid_argument" == open_.error["code"]
    assert "se***@ex***.com" in open_.text
    assert "second@example.com" not in open_.text
    assert "second@example.com" == body["email"] == by_setting["email"]
    assert named.job["job_id"] == again.job["job_id"]


async def test_google_flow_chooses_an_account_itself_unless_one_is_named(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_TOKEN=SEVERAL) as server:
        await make(server, "google-flow")
        await make(server, "google-flow", account="second", variation=2)
        bodies = [sent(server, number) for number in range(2)]

    assert [None, "second@example.com"] == [body.get("email") for body in bodies]


@pytest.mark.parametrize(
    ("service", "kind", "given", "price"),
    [
        ("google-flow", "video", {}, 20),
        ("google-flow", "video", {"model": "veo-3.1-quality"}, 100),
        ("google-flow", "video", {"model": "omni-flash"}, 12),
        ("google-flow", "video", {"model": "omni-flash", "duration_seconds": 10}, 15),
        ("google-flow", "video", {"model": "omni-flash", "resolution": "360p"}, 6),
        ("google-flow", "video", {"model": "omni-flash", "duration_seconds": 7}, None),
        ("google-flow", "video", {"model": "omni-flash-1.2", "duration_seconds": 12}, 42),
        ("google-flow", "video", {"model": "omni-flash-1.2", "resolution": "360p"}, None),
        ("google-flow", "video", {"model": "veo-4"}, None),
        ("pixverse", "video", {}, None),
        ("pixverse", "video", {"model": "seedance-2.5"}, None),
        ("pixverse", "video", {"model": "seedance-2.5", "resolution": "720p"}, 375),
        (
            "pixverse",
            "video",
            {"model": "seedance-2.0", "resolution": "4K", "duration_seconds": 10},
            2000,
        ),
        ("pixverse", "image", {}, 10),
        ("pixverse", "image", {"resolution": "720p", "count": 3}, 15),
        ("pixverse", "image", {"model": "nano-banana-pro"}, 90),
        ("pixverse", "image", {"model": "nano-banana-pro", "resolution": "2k", "count": 2}, 100),
        ("pixverse", "image", {"model": "kling-3.0"}, None),
        ("pixverse", "image", {"resolution": "4k"}, None),
    ],
)
async def test_the_documented_price_is_told_and_another_is_said_to_be_unknown(
    tmp_path: Path, service: str, kind: str, given: dict[str, Any], price: float | None
) -> None:
    async with running(tmp_path) as server:
        reply = await make(server, service, kind, max_credits=0, **given)

        assert [] == server.posts()
    assert "price" == reply.error["code"]
    assert price == reply.error.get("price")
    assert ("documents no price" in reply.text) is (price is None)


@pytest.mark.parametrize(
    ("kind", "given"), [("video", {"model": "veo-3.1-lite-low-priority"}), ("image", {})]
)
async def test_what_is_documented_as_free_is_made_without_a_question(
    tmp_path: Path, kind: str, given: dict[str, Any]
) -> None:
    async with running(tmp_path, USEAPI_CONFIRM_CREDITS="1") as server:
        reply = await make(server, "google-flow", kind, max_credits=0, **given)

    assert "running" == reply.job["status"]


# Refusals


@pytest.mark.parametrize(
    ("service", "word", "code"),
    [
        ("google-flow", "moderated", "moderated"),
        ("google-flow", "audio-filtered", "moderated"),
        ("google-flow", "no-paid-plan", "refused"),
        ("google-flow", "no-subscription", "no_subscription"),
        ("google-flow", "captcha-rejected", "captcha"),
        ("google-flow", "quota-reached", "rate_limited"),
        ("google-flow", "no-eligible-account", "rate_limited"),
        ("google-flow", "session-broken", "account_error"),
        ("pixverse", "moderated", "moderated"),
        ("pixverse", "no-credits", "no_credits"),
        ("pixverse", "no-subscription", "no_subscription"),
        ("pixverse", "busy", "rate_limited"),
        ("pixverse", "pending-error", "account_error"),
    ],
)
@pytest.mark.parametrize("kind", ["video", "image"])
async def test_a_refusal_makes_nothing_and_says_why(
    tmp_path: Path, kind: str, service: str, word: str, code: str
) -> None:
    async with running(tmp_path) as server:
        reply = await make(server, service, kind, f"A cat sandbox:{word}")

        assert 1 == len(server.posts())
        assert [] == server.sandbox.accepted
    assert (code, service) == (reply.error["code"], reply.error["service"])
    assert "user@example.com" not in reply.text


async def test_a_plan_that_lacks_the_model_is_told_as_that(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        reply = await make(server, "google-flow", prompt="A cat sandbox:no-paid-plan")

    assert "the account's plan lacks this" in reply.text


@pytest.mark.parametrize(
    ("service", "posts", "status"), [("google-flow", 2, "running"), ("pixverse", 1, None)]
)
async def test_a_short_wait_is_obeyed_where_the_vendor_tells_one(
    tmp_path: Path, service: str, posts: int, status: str | None
) -> None:
    """PixVerse tells none: nothing was taken, and the same call makes it later."""
    async with running(tmp_path) as server:
        reply = await make(server, service, prompt="A cat sandbox:busy-once")
        assert posts == len(server.posts())
        again = await make(server, service, prompt="A cat sandbox:busy-once")

    assert status == (None if reply.is_error else reply.job["status"])
    assert status or reply.error["retry_after_seconds"] == 30
    assert "running" == again.job["status"]
    assert 1 == len(server.sandbox.accepted)


@pytest.mark.parametrize(
    ("service", "word", "code"),
    [
        ("google-flow", "job-fails", "vendor_failed"),
        ("google-flow", "media-fails", "moderated"),
        ("pixverse", "ends-moderated", "moderated"),
        ("pixverse", "fails", "vendor_failed"),
    ],
)
async def test_a_job_that_fails_frees_its_wish(
    tmp_path: Path, service: str, word: str, code: str
) -> None:
    async with running(tmp_path) as server:
        failed = await ended(server, await make(server, service, prompt=f"A cat sandbox:{word}"))
        again = await make(server, service, prompt=f"A cat sandbox:{word}")

        assert 2 == len(server.posts())
    assert ("failed", code) == (failed.job["status"], failed.job["failure"]["code"])
    assert "running" == again.job["status"]


# Images


async def test_several_images_of_pixverse_are_one_job_under_our_id(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        started = await make(server, "pixverse", "image", count=3)
        done = await ended(server, started)
        again = await make(server, "pixverse", "image", count=3)
        saved = await server.call("download_media", job_id=done.job["job_id"])
        listed = await server.call("list_media", service="pixverse", kind="image", limit=3)

        assert 1 == len(server.posts())
    made = [row["source"] for row in listed.job["media"]]
    assert started.job["job_id"] == done.job["job_id"] == again.job["job_id"]
    assert done.job["job_id"].startswith("useapi-mcp:")
    assert ("completed", 3) == (done.job["status"], len(done.job["media"]))
    assert sorted(made) == sorted(item["media_id"] for item in done.job["media"])
    assert 3 == len({item["path"] for item in saved.job["media"]})
    assert all(row["made_here"] for row in listed.job["media"])
    assert again.job["reused"]


async def test_one_image_of_pixverse_has_its_own_id(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        done = await ended(server, await make(server, "pixverse", "image"))

    assert server.sandbox.accepted[0].job_id == done.job["job_id"]
    assert [done.job["job_id"]] == [item["media_id"] for item in done.job["media"]]


IMAGES = [f"user:12345-pixverse:user@example.com-image:{n}" for n in (1, 2, 3)]
PICTURE = {"output_width": 8, "output_height": 8, "image_url": "https://media.pixverse.ai/x.webp"}
DONE, WORKING, MODERATED = ({"image_status": status, **PICTURE} for status in (1, 10, 7))


def images_of_pixverse(made: Any, *records: Any) -> Scripted:
    return Scripted(
        {
            "GET /v2/pixverse/accounts": {"user@example.com": {}},
            "POST /v2/pixverse/images/create": made,
            **{
                f"GET /v2/pixverse/images/{image}": record
                for image, record in zip(IMAGES, records, strict=False)
            },
        }
    )


@pytest.mark.parametrize(
    ("records", "status", "media", "says"),
    [
        ((DONE, DONE, DONE), "completed", 3, ""),
        ((DONE, WORKING, DONE), "running", 3, ""),
        ((DONE, MODERATED, DONE), "completed", 2, "1 of 3 images are left out"),
        ((MODERATED, WORKING, MODERATED), "running", 3, ""),
        ((MODERATED, {"image_status": 8}, MODERATED), "failed", 0, "moderation refused it"),
        ((DONE, Says({"error": "x"}, 404), DONE), "running", 3, ""),
    ],
)
async def test_a_job_of_several_images_ends_with_the_last_of_them(
    tmp_path: Path, records: tuple[Any, ...], status: str, media: int, says: str
) -> None:
    vendor = images_of_pixverse({"success_ids": IMAGES}, *records)
    async with running(tmp_path, vendor=vendor) as server:
        reply = await ended(server, await make(server, "pixverse", "image", count=3))

    assert (status, media) == (reply.job["status"], len(reply.job.get("media", [])))
    assert says in reply.text
    assert says in reply.job.get("note", "") + reply.job.get("failure", {}).get("message", "")
    links = [item["url"] for item in reply.job.get("media", []) if "url" in item]
    assert len(links) == (media if status == "completed" else 0)


@pytest.mark.parametrize(
    ("made", "job_id"),
    [
        ({"success_ids": IMAGES[:1]}, IMAGES[0]),
        ({"image_id": IMAGES[0]}, IMAGES[0]),
        ({"success_ids": [], "image_id": IMAGES[0]}, IMAGES[0]),
        ({"success_ids": [None, "x", IMAGES[0]]}, IMAGES[0]),
        ({"success_ids": IMAGES}, "useapi-mcp:"),
    ],
)
async def test_the_ids_of_images_are_read_in_both_places(
    tmp_path: Path, made: Any, job_id: str
) -> None:
    async with running(tmp_path, vendor=images_of_pixverse(made)) as server:
        reply = await make(server, "pixverse", "image")

    assert reply.job["job_id"].startswith(job_id)


@pytest.mark.parametrize("kind", ["video", "image"])
@pytest.mark.parametrize("of", ["other@example.com", "user@example.com"])
async def test_an_answer_that_names_what_can_not_be_its_job_is_not_believed(
    tmp_path: Path, kind: str, of: str
) -> None:
    """Of another account, or of another kind: it is looked for, and never sent again."""
    answered = kind if of.startswith("other") else {"video": "image", "image": "video"}[kind]
    some_id = f"user:12345-pixverse:{of}-{answered}:7"
    path = PATHS["pixverse", kind]
    vendor = Scripted(
        {
            "GET /v2/pixverse/accounts": {"user@example.com": {}},
            f"POST {path}": {f"{kind}_id": some_id},
        }
    )
    async with running(tmp_path, vendor=vendor) as server:
        reply = await make(server, "pixverse", kind)

    assert reply.job["status"] in ("submitting", "unconfirmed")
    assert 1 == vendor.asked.count(f"POST {path}")


async def test_what_google_flow_refuses_without_a_word_is_left_out_and_told(
    tmp_path: Path,
) -> None:
    prompt = "A cat sandbox:partly-refused"
    async with running(tmp_path) as server:
        reply = await ended(server, await make(server, "google-flow", "image", prompt, count=3))
        again = await make(server, "google-flow", "image", prompt, count=3)

    assert ("completed", 2) == (reply.job["status"], len(reply.job["media"]))
    for one in (reply, again):
        assert "1 of 3 images are left out" in one.job["note"]
        assert one.job["note"] in one.text


async def test_where_google_flow_refuses_all_images_the_prompt_was_moderated(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as server:
        reply = await ended(
            server,
            await make(server, "google-flow", "image", "A cat sandbox:silently-refused", count=2),
        )

    assert ("failed", "moderated") == (reply.job["status"], reply.job["failure"]["code"])
    assert "refused again" in reply.job["note"]


async def test_images_of_google_flow_as_base64_are_files_with_their_ids(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        started = await make(server, "google-flow", "image", "A cat sandbox:encoded", count=2)
        done = await ended(server, started)
        larger = await server.call("upscale_image", source=done.job["media"][1]["media_id"])
        again = await server.call("get_job", job_id=done.job["job_id"])
        repeated = await make(server, "google-flow", "image", "A cat sandbox:encoded", count=2)

        assert 2 == len(server.posts())
        assert 2 == len(list((tmp_path / "output").glob("*generate*")))
        assert 2 == len(list((tmp_path / "output").iterdir()))
    assert done.job["media"] == again.job["media"] == repeated.job["media"]
    first, second = done.job["media"]
    assert first["media_id"] != second["media_id"]
    assert first["path"] != second["path"]
    assert len(content_of(second)) == second["size_bytes"]
    assert "encodedImage" not in done.text
    assert "running" == larger.job["status"]


async def test_images_of_google_flow_are_made_in_the_background_and_only_once(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, job_seconds=100) as server:
        started = await make(server, "google-flow", "image")
        joined = await make(server, "google-flow", "image")
        await ended(server, started)
        done = await ended(server, started)

        assert 1 == len(server.posts())
    assert started.job["job_id"] == joined.job["job_id"]
    assert started.job["job_id"].startswith("useapi-mcp:")
    assert server.sandbox.accepted[0].job_id == done.job["job_id"]
    assert "completed" == done.job["status"]


async def test_nothing_is_read_before_images_of_google_flow_for_they_are_never_looked_for(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as server:
        await make(server, "google-flow", "video")
        sent = len(server.network.sent)
        await make(server, "google-flow", "image")

        assert ["POST"] == [request.method for request in server.network.sent[sent:]]


@pytest.mark.parametrize("fault", [CUT, Fault(then=httpx.Response(502, text="<html>"))])
async def test_images_of_google_flow_whose_answer_is_lost_are_lost_and_can_be_made_anew(
    tmp_path: Path, fault: Fault
) -> None:
    async with running(tmp_path, job_seconds=1) as server:
        server.network.faults = [fault]
        lost = await make(server, "google-flow", "image")
        again = await ended(server, await make(server, "google-flow", "image"))

    assert "lost" == lost.error["code"]
    assert "completed" == again.job["status"]


# Whose a job is, where the answer is lost


MAKING = [("google-flow", "video"), ("pixverse", "video"), ("pixverse", "image")]
TWINS: dict[str, dict[str, Any]] = {
    "google-flow": {"async": True, "count": 1, "aspectRatio": "landscape"},
    "pixverse": {"aspect_ratio": "16:9"},
}


async def a_twin(server: Harness, service: str, kind: str, prompt: str, **more: Any) -> None:
    extra = TWINS[service] if kind == "video" else {}
    await stranger(server, PATHS[service, kind], prompt=prompt, **extra, **more)


def ours(server: Harness) -> str:
    """The id of the job that our own request made."""
    (made,) = (
        work
        for work in server.sandbox.accepted
        if str(work.body.get("replyRef")).startswith("useapi-mcp:")
    )
    assert made.job_id is not None
    return made.job_id


@pytest.mark.parametrize(("service", "kind"), MAKING)
@pytest.mark.parametrize("reference", [None, "theirs"])
async def test_ours_is_told_among_twins_by_its_reference(
    tmp_path: Path, service: str, kind: str, reference: str | None
) -> None:
    """Made before, at the same time and after, on the same account, of the same prompt."""
    more = {"replyRef": reference} if reference else {}
    async with running(tmp_path, job_seconds=60) as server:
        await a_twin(server, service, kind, PROMPT, **more)
        server.network.faults = [Fault(before_s=1, then="cut")]
        calling = asyncio.create_task(make(server, service, kind))
        await asyncio.sleep(0.9)
        await a_twin(server, service, kind, PROMPT, **more)
        await asyncio.sleep(0.2)
        await a_twin(server, service, kind, PROMPT, **more)
        found = await calling
        done = await ended(server, found)
        again = await make(server, service, kind)

        assert 1 == len(server.posts())
    assert ours(server) == found.job["job_id"] == done.job["job_id"] == again.job["job_id"]


@pytest.mark.parametrize(("service", "kind"), MAKING)
@pytest.mark.parametrize("reference", [f"useapi-mcp:{'a' * 26}", "theirs"])
async def test_a_job_with_the_reference_of_another_is_not_ours(
    tmp_path: Path, service: str, kind: str, reference: str
) -> None:
    """Ours never arrived: what does the same, and begins just after it, is another submission's."""
    async with running(tmp_path, job_seconds=100) as server:
        server.network.faults = [Fault(reaches=False, then="cut")]
        calling = asyncio.create_task(make(server, service, kind))
        await asyncio.sleep(0.5)
        await a_twin(server, service, kind, PROMPT, replyRef=reference)
        reply = await calling

    assert reply.job["status"] in ("submitting", "unconfirmed")


@pytest.mark.parametrize(("service", "kind"), MAKING)
async def test_without_an_echo_of_the_reference_the_first_that_came_after_is_ours(
    tmp_path: Path, service: str, kind: str
) -> None:
    prompt = f"{PROMPT} sandbox:forgets-ref"
    async with running(tmp_path, job_seconds=60) as server:
        await a_twin(server, service, kind, prompt)
        await asyncio.sleep(5)
        server.network.faults = [CUT]
        calling = asyncio.create_task(make(server, service, kind, prompt))
        await asyncio.sleep(1)
        await a_twin(server, service, kind, prompt)
        await a_twin(server, service, kind, "Something else")
        found = await calling

        assert 1 == len(server.posts())
    assert ours(server) == found.job["job_id"]


WITH_OR_WITHOUT_ECHO = pytest.mark.parametrize("prompt", [PROMPT, f"{PROMPT} sandbox:forgets-ref"])


@WITH_OR_WITHOUT_ECHO
async def test_all_images_of_a_lost_answer_are_found(tmp_path: Path, prompt: str) -> None:
    async with running(tmp_path) as server:
        await stranger(server, PATHS["pixverse", "image"], prompt=prompt, create_count=4)
        await asyncio.sleep(30)
        server.network.faults = [CUT]
        found = await make(server, "pixverse", "image", prompt, count=3)
        done = await ended(server, found)
        listed = await server.call("list_media", service="pixverse", kind="image", limit=7)

        assert 1 == len(server.posts())
    made = {item["media_id"] for item in done.job["media"]}
    assert ("completed", 3) == (done.job["status"], len(made))
    assert made == {row["source"] for row in listed.job["media"] if row["made_here"]}
    assert made == {row["source"] for row in listed.job["media"][:3]}


async def test_images_that_are_found_finished_are_running_until_their_links_are_read(
    tmp_path: Path,
) -> None:
    prompt = f"{PROMPT} sandbox:forgets-ref"
    async with running(tmp_path, job_seconds=1) as server:
        server.network.faults = [CUT]
        found = await make(server, "pixverse", "image", prompt, count=3)
        done = await ended(server, found)

    assert "running" == found.job["status"]
    assert 3 == len([item["url"] for item in done.job["media"]])


class StaleImages:
    """Cuts off the answer of a paid request; for a while the list of images lacks its newest."""

    def __init__(self, server: Harness, stale_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._until_s = self._loop.time() + stale_s
        paths = (PATHS["pixverse", "image"], "/v2/pixverse/images")
        server.network.concerns = lambda request: request.url.path in paths
        listed = Fault(then=self._listed)
        server.network.faults = [listed, CUT, *[listed] * 100]  # the first is read before it

    def _listed(self, request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        return stale(request, answer) if self._loop.time() < self._until_s else answer


@WITH_OR_WITHOUT_ECHO
async def test_a_list_that_lacks_an_image_for_a_moment_loses_none(
    tmp_path: Path, prompt: str
) -> None:
    async with running(tmp_path, job_seconds=5) as server:
        StaleImages(server, 4)
        found = await make(server, "pixverse", "image", prompt, count=3)

        assert 1 == len(server.posts())
    assert 3 == len(found.job["media"])


async def test_what_a_list_lacks_for_ten_minutes_is_waited_for_no_longer(tmp_path: Path) -> None:
    prompt = f"{PROMPT} sandbox:forgets-ref"
    async with running(tmp_path, job_seconds=5) as server:
        StaleImages(server, 1000)
        lost = await make(server, "pixverse", "image", prompt, count=3)
        await asyncio.sleep(60)
        early = await server.call("get_job", job_id=lost.job["job_id"])
        await asyncio.sleep(600)
        late = await make(server, "pixverse", "image", prompt, count=3)

        assert 1 == len(server.posts())
    assert "unconfirmed" == early.job["status"]
    assert "of 3 only user:" in early.job["failure"]["message"]
    assert 2 == len(late.job["media"])


async def test_images_that_the_journal_knows_as_another_wishs_are_not_ours(tmp_path: Path) -> None:
    """They are parts of a job under an id of ours, and the vendor's ids are in its media alone."""
    prompt = f"{PROMPT} sandbox:forgets-ref"
    async with running(tmp_path) as server:
        server.network.faults = [Fault(before_s=3), Fault(reaches=False, then="cut")]
        calling = asyncio.create_task(make(server, "pixverse", "image", prompt, count=2))
        await asyncio.sleep(1)
        second = await make(server, "pixverse", "image", prompt, count=2, variation=2)
        first = await calling

        assert 2 == len(server.posts())
    assert 2 == len(first.job["media"])
    assert second.job["status"] in ("submitting", "unconfirmed")


@pytest.mark.parametrize(("service", "kind"), MAKING)
async def test_a_wish_that_is_not_found_is_never_sent_again_by_itself(
    tmp_path: Path, service: str, kind: str
) -> None:
    async with running(tmp_path) as server:
        server.network.faults = [Fault(reaches=False, then="cut")]
        await make(server, service, kind)
        await asyncio.sleep(300)
        again = await make(server, service, kind)
        another = await make(server, service, kind, variation=2)

        assert 2 == len(server.posts())
    assert "unconfirmed" == again.job["status"]
    assert "running" == another.job["status"]


@pytest.mark.parametrize(("service", "kind"), MAKING)
@pytest.mark.parametrize("arrives", [True, False])
async def test_a_wish_whose_server_died_is_found_or_unconfirmed(
    tmp_path: Path, service: str, kind: str, arrives: bool
) -> None:
    kernel = Kernel()
    async with running(tmp_path, locks=kernel.process(), job_seconds=200) as h:
        h.network.faults = [Fault(reaches=arrives, after_s=1000)]
        caller = asyncio.create_task(make(h, service, kind))
        await asyncio.sleep(1)
        caller.cancel()
    async with another_server(tmp_path, h, kernel) as later:
        if arrives:
            await a_twin(later, service, kind, PROMPT)
        reply = await make(later, service, kind)
        if not arrives:
            await asyncio.sleep(100)
            reply = await make(later, service, kind)

        assert 1 == len(later.posts())
    assert arrives is (reply.job["status"] == "running")
    assert not arrives or ours(later) == reply.job["job_id"]


async def test_images_of_google_flow_that_were_lost_with_their_server_are_made_anew(
    tmp_path: Path,
) -> None:
    kernel = Kernel()
    async with running(tmp_path, locks=kernel.process(), job_seconds=100) as h:
        caller = asyncio.create_task(make(h, "google-flow", "image"))
        await asyncio.sleep(1)
        caller.cancel()
    async with another_server(tmp_path, h, kernel) as later:
        again = await make(later, "google-flow", "image")

    assert "running" == again.job["status"]
    assert 2 == len(h.posts())


async def test_a_reference_of_the_callers_own_is_sent_and_ours_is_not(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        server.network.faults = [CUT]
        reply = await make(server, "google-flow", reply_ref="mine")

        assert 1 == len(server.posts())
    assert "mine" == server.sandbox.accepted[0].body["replyRef"]
    assert server.sandbox.accepted[0].job_id == reply.job["job_id"]


@pytest.mark.parametrize("service", ["google-flow", "pixverse"])
async def test_a_job_that_its_reference_proves_frees_the_key_when_it_fails(
    tmp_path: Path, service: str
) -> None:
    prompt = f"{PROMPT} sandbox:{'job-fails' if service == 'google-flow' else 'fails'}"
    async with running(tmp_path, job_seconds=60) as server:
        server.network.faults = [CUT]
        found = await make(server, service, prompt=prompt)
        await asyncio.sleep(60)
        failed = await server.call("get_job", job_id=found.job["job_id"])
        anew = await make(server, service, prompt=prompt)

    assert ("running", "failed") == (found.job["status"], failed.job["status"])
    assert found.job["job_id"] != anew.job["job_id"]
    assert 2 == len(server.sandbox.accepted)


async def test_the_images_of_one_wish_are_not_taken_for_another_variations(
    tmp_path: Path,
) -> None:
    """No reference tells them apart, and both were made after the lost request had left."""
    prompt = f"{PROMPT} sandbox:forgets-ref"
    async with running(tmp_path, job_seconds=600) as server:
        server.network.faults = [Fault(before_s=30, gives_up_s=1, then="cut")]
        lost = asyncio.create_task(make(server, "pixverse", "image", prompt, count=2, variation=2))
        await asyncio.sleep(2)
        first = await make(server, "pixverse", "image", prompt, count=2)
        await lost
        await asyncio.sleep(60)
        second = await make(server, "pixverse", "image", prompt, count=2, variation=2)
        parts = [{item["media_id"] for item in reply.job["media"]} for reply in (first, second)]

    assert [2, 2] == [len(each) for each in parts]
    assert not parts[0] & parts[1]
    assert 2 == len(server.sandbox.accepted)


async def test_a_lost_image_of_dreaminas_is_found_beside_rows_that_have_no_media(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, job_seconds=600) as server:
        server.network.faults = [CUT]
        found = await make(server, "dreamina", "image")

    assert server.sandbox.accepted[0].job_id == found.job["job_id"]


# Drafts


DRAFT: dict[str, Any] = {
    "model": "seedance-2.5-draft",
    "duration_seconds": 4,
    "max_credits": 10_000,
}
FULL = {
    "dreamina": "/v1/dreamina/videos/full-quality",
    "pixverse": "/v2/pixverse/videos/create-final",
}


async def a_draft(server: Harness, service: str) -> str:
    made = await make(server, service, **DRAFT)
    assert "within 14 days" in made.job["note"]
    return str((await ended(server, made)).job["job_id"])


@pytest.mark.parametrize("service", ["dreamina", "pixverse"])
@pytest.mark.parametrize(
    ("resolution", "field"), [("1080p", "1080p"), ("4K", {"dreamina": "4k", "pixverse": "2160p"})]
)
@pytest.mark.parametrize("is_known", [True, False])
async def test_a_draft_is_finished_in_the_resolution_that_is_asked_for(
    tmp_path: Path, service: str, resolution: str, field: Any, is_known: bool
) -> None:
    async with running(tmp_path / "one") as here:
        draft = await a_draft(here, service)
        folder = tmp_path / ("one" if is_known else "elsewhere")
    async with running(folder, sandbox=here.sandbox, clock=here.clock) as server:
        unpaid = await server.call(
            "upscale_video", source=draft, resolution=resolution, max_credits=0
        )
        started = await server.call("upscale_video", source=draft, resolution=resolution)
        done = await ended(server, started)
        again = await server.call("upscale_video", source=draft, resolution=resolution)

        assert 1 == len(server.posts())
    body = dict(server.sandbox.accepted[-1].body)
    name = "resolution" if service == "dreamina" else "quality"
    assert "documents no price" in unpaid.text
    assert FULL[service] == server.sandbox.accepted[-1].path
    assert body[name] == (field if isinstance(field, str) else field[service])
    assert draft == body["jobid" if service == "dreamina" else "video_id"]
    assert "upscale_video" == started.job["operation"]
    assert ("completed", "upscale_video", draft) == (
        done.job["status"],
        done.job["operation"],
        done.job["source"],
    )
    assert 1080 <= done.job["media"][0]["height"]
    assert (done.job["job_id"], True) == (again.job["job_id"], again.job["reused"])


@pytest.mark.parametrize("service", ["dreamina", "pixverse"])
async def test_a_draft_is_finished_once_for_each_resolution(tmp_path: Path, service: str) -> None:
    async with running(tmp_path) as server:
        draft = await a_draft(server, service)
        smaller = await server.call("upscale_video", source=draft, resolution="1080p")
        larger = await server.call("upscale_video", source=draft, resolution="4K")

        assert 3 == len(server.posts())
    assert smaller.job["job_id"] != larger.job["job_id"]


async def test_dreamina_does_not_upscale_a_draft_and_says_what_to_do(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        draft = await a_draft(server, "dreamina")
        reply = await server.call("upscale_video", source=draft)

        assert 1 == len(server.posts())
    assert "unsupported" == reply.error["code"]
    assert "Give resolution=1080p or 4K" in reply.text


async def test_pixverse_upscales_a_draft_as_it_is_without_a_resolution(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        draft = await a_draft(server, "pixverse")
        await server.call("upscale_video", source=draft)

    assert "/v2/pixverse/videos/upscale" == server.sandbox.accepted[-1].path


@pytest.mark.parametrize("service", ["dreamina", "pixverse"])
async def test_what_is_no_draft_is_read_once_and_not_finished(tmp_path: Path, service: str) -> None:
    async with running(tmp_path) as server:
        reply = await server.call(
            "upscale_video", source=GOOD[service, "video"], resolution="1080p"
        )

        assert 1 == len(server.network.sent)
    assert "unsupported" == reply.error["code"]
    assert "1080p" in reply.text or "takes no resolution" in reply.text


@pytest.mark.parametrize("service", ["dreamina", "pixverse"])
async def test_whether_it_is_a_draft_must_be_known_before_it_is_paid_for(
    tmp_path: Path, service: str
) -> None:
    async with running(tmp_path / "one") as here:
        draft = await a_draft(here, service)
    async with running(tmp_path / "two", sandbox=here.sandbox, clock=here.clock) as server:
        server.network.concerns = lambda request: request.method == "GET"
        server.network.faults = [Fault(then=httpx.Response(500, json={"error": "x"}))] * 3
        reply = await server.call("upscale_video", source=draft, resolution="4K")

        assert [] == server.posts()
    assert ("server_error", True) == (reply.error["code"], reply.error["retryable"])


@pytest.mark.parametrize("service", ["dreamina", "pixverse"])
async def test_a_draft_whose_finish_got_no_answer_is_never_finished_twice(
    tmp_path: Path, service: str
) -> None:
    """PixVerse's scheduler tells it by our reference; on Dreamina nothing proves it."""
    kernel = Kernel()
    async with running(tmp_path, locks=kernel.process(), job_seconds=40) as h:
        draft = await a_draft(h, service)
        h.network.faults = [Fault(after_s=1000)]
        given = {"source": draft, "resolution": "1080p"}
        caller = asyncio.create_task(h.call("upscale_video", **given))
        await asyncio.sleep(1)
        caller.cancel()
    async with another_server(tmp_path, h, kernel) as later:
        reply = await later.call("upscale_video", **given)
        await asyncio.sleep(100)
        again = await later.call("upscale_video", **given)

        assert 2 == len(later.posts())
    statuses = {reply.job["status"], again.job["status"]}
    assert statuses <= (
        {"running", "completed"} if service == "pixverse" else {"submitting", "unconfirmed"}
    )


async def test_a_draft_of_pixverse_that_is_still_made_is_waited_for(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=100) as server:
        made = await make(server, "pixverse", **DRAFT)
        await asyncio.sleep(60)
        reply = await server.call("upscale_video", source=made.job["job_id"], resolution="1080p")

        assert 1 == len(server.posts())
    assert "not_ready" == reply.error["code"]


# Images that a generation begins with


def pictures(folder: Path) -> tuple[str, str]:
    """Two own files, and the folder they may be read from is `folder`."""
    folder.mkdir()
    paths = folder / "first.jpg", folder / "last.png"
    paths[0].write_bytes(media.read(media.image(1280, 720)))
    paths[1].write_bytes(png(64, 36))
    return str(paths[0]), str(paths[1])


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = (b"\x00" + b"\x10\x20\x30" * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("service", "path", "fields"),
    [
        ("pixverse", "/v2/pixverse/videos/create", ("first_frame_path",)),
        ("pixverse", "/v2/pixverse/videos/create-frames", ("first_frame_path", "last_frame_path")),
        ("google-flow", PATHS["google-flow", "video"], ("startImage",)),
        ("google-flow", PATHS["google-flow", "video"], ("startImage", "endImage")),
    ],
)
async def test_own_frames_are_uploaded_once_and_sent_as_the_vendor_calls_them(
    tmp_path: Path, service: str, path: str, fields: tuple[str, ...]
) -> None:
    """One frame or two: PixVerse has a path of its own for two, and takes no shape beside them."""
    own = pictures(tmp_path / "mine")
    given = dict(zip(("start_image", "end_image"), own[: len(fields)], strict=False))
    async with running(tmp_path, USEAPI_INPUT_DIRS=str(tmp_path / "mine")) as server:
        first = await make(server, service, **given)
        again = await make(server, service, **given)
        body = sent(server)

        assert 1 == len(server.sandbox.accepted)
        assert len(fields) + 1 == len(server.posts())
    assert path == server.sandbox.accepted[0].path
    assert len({str(body[field]) for field in fields}) == len(fields)
    assert not any(str(value).startswith("file:") for value in body.values())
    assert ("aspectRatio" in body, "aspect_ratio" in body) == (service == "google-flow", False)
    assert first.job["job_id"] == again.job["job_id"]


async def test_an_image_made_on_one_service_is_the_first_frame_on_another(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        image = await ended(server, await make(server, "pixverse", "image"))
        video = await make(server, "google-flow", start_image=image.job["job_id"])
        body = sent(server, 1)

    assert "running" == video.job["status"]
    assert "-image:" in str(body["startImage"])


@pytest.mark.parametrize("kind", ["video", "image"])
async def test_a_wish_with_an_own_image_that_got_no_answer_is_told_by_our_reference_alone(
    tmp_path: Path, kind: str
) -> None:
    """Which frame a video has is told in no documented way: its prompt alone proves nothing."""
    own, _ = pictures(tmp_path / "mine")
    given = {"start_image" if kind == "video" else "reference_image": own}
    prompt = f"{PROMPT} sandbox:forgets-ref" if kind == "video" else PROMPT
    async with running(
        tmp_path, USEAPI_INPUT_DIRS=str(tmp_path / "mine"), job_seconds=100
    ) as server:
        server.network.concerns = lambda request: request.url.path == PATHS["pixverse", kind]
        server.network.faults = [CUT]
        reply = await make(server, "pixverse", kind, prompt, **given)

        assert 1 == len(server.sandbox.accepted)
    assert (kind == "image") is (reply.job["status"] == "running")


async def test_an_end_without_a_start_is_refused_by_pixverse_too(tmp_path: Path) -> None:
    own, _ = pictures(tmp_path / "mine")
    async with running(tmp_path, USEAPI_INPUT_DIRS=str(tmp_path / "mine")) as server:
        alone = await make(server, "pixverse", end_image=own)
        shaped = await make(server, "pixverse", start_image=own, aspect_ratio="1:1")

        assert [] == server.posts()
    assert "needs a start_image" in alone.text
    assert "aspect_ratio can't go with start_image" in shaped.text


async def test_a_frame_of_google_flow_decides_the_account(tmp_path: Path) -> None:
    """Another account than its own would be refused: `Email mismatch` (September 2026)."""
    async with running(tmp_path, USEAPI_TOKEN=SEVERAL) as server:
        linked = (await server.call("check_accounts")).job["services"][1]["accounts"]
        other = linked[1]["name"]
        named = await make(server, "google-flow", start_image=FLOW_IMAGE, account=other)
        reply = await make(server, "google-flow", start_image=FLOW_IMAGE)
        body = dict(server.sandbox.accepted[0].body)

        assert 1 == len(server.posts())
    assert "invalid_argument" == named.error["code"]
    assert f"another account of Google Flow than {other}" in named.text
    assert "running" == reply.job["status"]
    assert body.get("email", "user@example.com") == "user@example.com"


@pytest.mark.parametrize("is_made", [False, True])
async def test_what_another_variation_made_is_not_told_as_this_ones(
    tmp_path: Path, is_made: bool
) -> None:
    """Dreamina echoes no reference: until the other one is answered nothing tells them apart."""
    fate: dict[str, Any] = {"before_s": 50} if is_made else {"reaches": False}
    async with running(tmp_path, job_seconds=600) as server:
        server.network.faults = [Fault(gives_up_s=1, then="cut", **fate), Fault(after_s=30)]
        lost = asyncio.create_task(make(server, "dreamina"))
        await asyncio.sleep(1.5)
        other = await make(server, "dreamina", variation=2)
        await lost
        await asyncio.sleep(100)
        found = await make(server, "dreamina")
        again = await make(server, "dreamina", variation=2)

    first, *later = [work.job_id for work in server.sandbox.accepted]
    assert first == other.job["job_id"] == again.job["job_id"]
    if is_made:
        assert later == [found.job["job_id"]]
    else:
        assert ([], "unconfirmed") == (later, found.job["status"])


@pytest.mark.parametrize(
    ("service", "kind"), [("dreamina", "image"), ("dreamina", "video"), ("google-flow", "video")]
)
async def test_what_is_made_from_a_prompt_is_never_sent_once_more_even_if_it_is_free(
    tmp_path: Path, service: str, kind: str
) -> None:
    async with running(tmp_path) as server:
        server.network.faults = [Fault(reaches=False, then="cut")]
        await make(server, service, kind)
        await asyncio.sleep(200)
        again = await make(server, service, kind)

        assert 1 == len(server.posts())
    assert "unconfirmed" == again.job["status"]
    assert [] == server.sandbox.accepted
