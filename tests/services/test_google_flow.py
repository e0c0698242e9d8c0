"""Google Flow: two spellings of an id, four places for a film, and many reasons to wait."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import httpx
import pytest

from mcp_server.sandbox import media
from tests.services.scripted import Says, Scripted
from tests.support.harness import EPOCH, GOOD, Fault, Harness, asked_for, running

VIDEO, IMAGE = GOOD["google-flow", "video"], GOOD["google-flow", "image"]
OWNER = VIDEO.rpartition("video:")[0]
JOB = "j1731859234567890123v-u12345-email:user@example.com-bot:google-flow"
OTHER_JOB = "20260203103000123-user:123-bot:google-flow"
UPSAMPLED = f"{OWNER}video:abc_upsampled"
UPSCALE, BIG_IMAGE = "/v1/google-flow/videos/upscale", "/v1/google-flow/images/upscale"
READ = f"GET /v1/google-flow/jobs/{JOB}"
LISTS = {
    option: f"GET /v1/google-flow/jobs?options={option}" for option in ("executing", "history")
}
LINK = "https://flow-content.google/video/abc.mp4?sig=1"
FILM = media.read(media.clip(1920, 1080, 24))
CREATED = {"jobid": JOB, "type": "video", "status": "created", "created": "2026-05-28T20:26:40Z"}
SUCCESSFUL, FAILED = "MEDIA_GENERATION_STATUS_SUCCESSFUL", "MEDIA_GENERATION_STATUS_FAILED"


def content_of(item: dict[str, Any]) -> bytes:
    return Path(item["path"]).read_bytes()


def files_in(folder: Path) -> list[str]:
    return [str(path) for path in folder.iterdir()] if folder.exists() else []


def source(name: str, kind: str = "video") -> str:
    return f"{OWNER}{kind}:{name}"


def film(status: str = SUCCESSFUL, **fields: Any) -> dict[str, Any]:
    return {
        "mediaGenerationId": UPSAMPLED,
        "mediaMetadata": {"mediaStatus": {"mediaGenerationStatus": status}},
        "video": {"generatedVideo": {"model": "veo_3_1_upsampler_1080p"}},
        **fields,
    }


def legacy(status: str = SUCCESSFUL, **video: Any) -> dict[str, Any]:
    return {
        "operation": {"name": "abc", "metadata": {"video": video}},
        "status": status,
        "mediaGenerationId": UPSAMPLED,
    }


def record(status: str = "completed", **response: Any) -> dict[str, Any]:
    return {
        **CREATED,
        "status": status,
        "request": {"async": True, "mediaGenerationId": VIDEO},
        "response": response,
    }


async def read(folder: Path, answer: Any, **more: Any) -> Any:
    """What get_job says where the vendor's record is this."""
    async with running(folder, vendor=Scripted({READ: answer, **more})) as server:
        return await server.call("get_job", job_id=JOB)


async def ended(server: Harness, reply: Any) -> Any:
    return await server.call("get_job", job_id=reply.job["job_id"], wait_seconds=50)


# Submitter


@pytest.mark.parametrize("spelling", ["jobid", "jobId"])
@pytest.mark.parametrize("status", [200, 201])
async def test_a_jobs_id_is_found_in_both_spellings(
    tmp_path: Path, spelling: str, status: int
) -> None:
    """201 has `jobid`, 200 and 408 have `jobId` (POST videos/upscale, 25 May 2026)."""
    vendor = Scripted({f"POST {UPSCALE}": Says({spelling: JOB, "status": "created"}, status)})
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=VIDEO)

    assert (JOB, "running", VIDEO) == (
        reply.job["job_id"],
        reply.job["status"],
        reply.job["source"],
    )


@pytest.mark.parametrize(
    ("answer", "is_read"), [([CREATED], True), ([CREATED, CREATED], False), ([], False)]
)
async def test_an_answer_that_is_a_list_of_one_is_that_one(
    tmp_path: Path, answer: list[Any], is_read: bool
) -> None:
    vendor = Scripted({f"POST {UPSCALE}": Says(answer)})
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=VIDEO)

    assert is_read is (JOB == reply.job["job_id"])


@pytest.mark.parametrize(
    ("answer", "model"),
    [
        ({}, "veo-3.1-fast"),
        ({"media": [film("MEDIA_GENERATION_STATUS_PENDING")]}, "veo_3_1_upsampler_1080p"),
    ],
)
async def test_a_new_job_has_the_model_that_google_flow_tells_or_was_asked_for(
    tmp_path: Path, answer: dict[str, Any], model: str
) -> None:
    vendor = Scripted({"POST /v1/google-flow/videos": {**CREATED, **answer}})
    wish = {"prompt": "x", "service": "google-flow", "model": "veo-3.1-fast"}
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("generate_video", **wish)

    assert model == reply.job["model"]


async def test_a_new_job_has_the_time_that_google_flow_tells(tmp_path: Path) -> None:
    answer = {**CREATED, "created": "2026-05-28T20:26:33Z"}
    async with running(tmp_path, vendor=Scripted({f"POST {UPSCALE}": answer})) as server:
        reply = await server.call("upscale_video", source=VIDEO)

    assert "2026-05-28T20:26:33.000Z" == reply.job["created_at"]


@pytest.mark.parametrize("job_id", [JOB, OTHER_JOB])
async def test_both_forms_of_a_jobs_id_are_read(tmp_path: Path, job_id: str) -> None:
    vendor = Scripted({f"GET /v1/google-flow/jobs/{job_id}": record("started")})
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("get_job", job_id=job_id)

    assert (job_id, "running", "upscale_video") == (
        reply.job["job_id"],
        reply.job["status"],
        reply.job["operation"],
    )


@pytest.mark.parametrize(
    ("given", "sent"), [("4k", "4K"), ("4K", "4K"), ("720P", "720p"), ("1080p", "1080p")]
)
async def test_a_resolution_is_sent_as_google_flow_writes_it(
    tmp_path: Path, given: str, sent: str
) -> None:
    async with running(tmp_path) as server:
        await server.call("upscale_video", source=VIDEO, resolution=given)

        body = asked_for(server.sandbox.accepted[0].body)
    assert {"mediaGenerationId": VIDEO, "resolution": sent, "async": True} == body


async def test_an_image_takes_its_sizes_in_small_letters(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("upscale_image", source=IMAGE, resolution="4K")
        done = await ended(server, reply)

        body = server.sandbox.accepted[0].body
    assert {"mediaGenerationId": IMAGE, "resolution": "4k"} == body
    assert (3840, 2160) == (done.job["media"][0]["width"], done.job["media"][0]["height"])


@pytest.mark.parametrize(
    ("operation", "source", "says"),
    [
        ("upscale_video", IMAGE, "takes the mediaGenerationId of a video"),
        ("upscale_image", VIDEO, "takes the mediaGenerationId of an image"),
        ("upscale_video", f"{OWNER}voice:abc", "takes the mediaGenerationId of a video"),
    ],
)
async def test_an_id_of_another_kind_is_refused_before_it_is_sent(
    tmp_path: Path, operation: str, source: str, says: str
) -> None:
    async with running(tmp_path) as server:
        reply = await server.call(operation, source=source)

        assert [] == server.network.sent
    assert "unsupported" == reply.error["code"]
    assert says in reply.text


async def test_a_media_id_is_no_job_to_read(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("get_job", job_id=VIDEO)

        assert [] == server.network.sent
    assert "invalid_argument" == reply.error["code"]
    assert "source" in reply.text


# Captcha


@pytest.mark.parametrize(
    "given",
    [
        {"captcha_token": "x" * 20, "captcha_retry": 3},
        {"captcha_retry": 3, "captcha_order": "CapSolver"},
        {"captcha_token": "x" * 20, "captcha_retry": 3, "captcha_order": "CapSolver"},
    ],
)
async def test_captcha_arguments_exclude_each_other(tmp_path: Path, given: dict[str, Any]) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("upscale_video", source=VIDEO, **given)

        assert [] == server.network.sent
    assert "invalid_argument" == reply.error["code"]
    assert "at most one" in reply.text


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, {"captchaRetry": 4}),
        ({"captcha_retry": 9}, {"captchaRetry": 9}),
        ({"captcha_order": "CapSolver, 2Captcha"}, {"captchaOrder": "CapSolver,2Captcha"}),
        ({"captcha_token": "t" * 20}, {"captchaToken": "t" * 20}),
    ],
)
async def test_captcha_defaults_give_way_together(
    tmp_path: Path, given: dict[str, Any], sent: dict[str, Any]
) -> None:
    async with running(tmp_path, USEAPI_CAPTCHA_RETRY="4") as server:
        await server.call("upscale_video", source=VIDEO, **given)

        body = server.sandbox.accepted[0].body
    assert sent == {name: value for name, value in body.items() if name.startswith("captcha")}


# Errors


@pytest.mark.parametrize(
    ("name", "code", "status", "says"),
    [
        ("no-subscription", "no_subscription", 402, "Renew it on useapi.net"),
        ("captcha-rejected", "captcha", 403, "captcha_retry=5"),
        ("no-such-account", "not_found", 404, "the Google account of this id is not linked"),
        ("no-such-video", "not_found", 404, "not known"),
        ("requests-throttled", "rate_limited", 429, "too many requests at once"),
        ("quota-reached", "rate_limited", 429, "quota is used up"),
        ("daily-quota-reached", "rate_limited", 429, "next UTC midnight"),
        ("too-much-traffic", "rate_limited", 429, "captcha scored too low"),
        ("no-eligible-account", "rate_limited", 429, "cool-down"),
        ("captcha-service-failed", "captcha", 503, "provider's key and balance"),
        ("session-broken", "account_error", 596, "Reconnect the account"),
    ],
)
async def test_a_documented_error_says_what_to_do(
    tmp_path: Path, name: str, code: str, status: int, says: str
) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("upscale_video", source=source(name))

        assert 1 == len(server.posts())
    assert (code, status, "google-flow") == (
        reply.error["code"],
        reply.error["http_status"],
        reply.error["service"],
    )
    assert says in reply.text
    assert "user@example.com" not in reply.text


MIDNIGHT_S = 86_400 - EPOCH % 86_400


@pytest.mark.parametrize(
    ("name", "reason", "seconds", "documented_s"),
    [
        ("requests-throttled", "PUBLIC_ERROR_USER_REQUESTS_THROTTLED", 1800, 1800),
        ("quota-reached", "PUBLIC_ERROR_USER_QUOTA_REACHED", 1800, 1800),
        (
            "daily-quota-reached",
            "PUBLIC_ERROR_PER_MODEL_DAILY_QUOTA_REACHED",
            MIDNIGHT_S,
            MIDNIGHT_S,
        ),
        ("too-much-traffic", "PUBLIC_ERROR_UNUSUAL_ACTIVITY_TOO_MUCH_TRAFFIC", 60, 60),
        ("no-eligible-account", "no_eligible_account", 1800, None),
    ],
)
async def test_every_reason_for_429_says_how_long_to_wait(
    tmp_path: Path, name: str, reason: str, seconds: float, documented_s: float | None
) -> None:
    """By the answer, and where that names no wait by the documents (25 May 2026)."""
    bare = {"error": {"code": 429, "message": "x", "details": [{"reason": reason}]}}
    if name == "no-eligible-account":
        bare = {"error": reason}  # type: ignore[dict-item]
    async with running(tmp_path) as server:
        told = await server.call("upscale_video", source=source(name))
        server.network.faults = [Fault(reaches=False, then=httpx.Response(429, json=bare))]
        untold = await server.call("upscale_video", source=VIDEO)

        assert 2 == len(server.posts())
    assert seconds == pytest.approx(told.error["retry_after_seconds"], abs=1)
    assert documented_s == pytest.approx(untold.error.get("retry_after_seconds"), abs=1)


@pytest.mark.parametrize(
    ("status", "text", "code"),
    [
        (402, "Not enough Google credits", "no_credits"),
        (403, "captcha_quality: PUBLIC_ERROR_UNUSUAL_ACTIVITY after 1 attempt", "captcha"),
        (403, "Unauthorized access to user:1 detected in reference", "refused"),
        (400, "Error message", "refused"),
    ],
)
async def test_what_else_it_may_say(tmp_path: Path, status: int, text: str, code: str) -> None:
    answer = httpx.Response(status, json={"error": text, "code": status})
    async with running(tmp_path) as server:
        server.network.faults = [Fault(reaches=False, then=answer)]

        reply = await server.call("upscale_video", source=VIDEO)

    assert code == reply.error["code"]


async def test_an_account_without_the_plan_is_told_so(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("upscale_video", source=source("no-ultra-plan"), resolution="4K")

    assert "refused" == reply.error["code"]
    assert "lower resolution" in reply.text


async def test_a_short_wait_is_obeyed_by_the_server_itself(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("upscale_video", source=source("busy-once"))

        assert 2 == len(server.posts())
    assert "running" == reply.job["status"]


@pytest.mark.parametrize("name", ["polling-timeout", "unavailable"])
async def test_an_outage_is_never_paid_for_three_times(tmp_path: Path, name: str) -> None:
    async with running(tmp_path) as server:
        await server.call("upscale_video", source=source(name))
        await asyncio.sleep(300)
        reply = await server.call("upscale_video", source=source(name))

        assert 2 == len(server.posts())
    assert "unconfirmed" == reply.job["status"]


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"error": "Invalid job ID format", "code": 400}, "not_found"),
        (403, {"error": "not yours"}, "refused"),
        (404, {"error": "Job not found"}, "not_found"),
        (410, {"error": "Job has expired", "code": 410}, "expired"),
    ],
)
async def test_a_job_that_can_t_be_read_says_why(
    tmp_path: Path, status: int, body: dict[str, Any], code: str
) -> None:
    reply = await read(tmp_path, Says(body, status))

    assert (code, status) == (reply.error["code"], reply.error["http_status"])


# Images: the answer is the result


async def test_an_image_is_made_in_the_background_under_an_id_of_ours(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=100) as server:
        started = await server.call("upscale_image", source=IMAGE)
        waiting = await ended(server, started)
        listed = await server.call("list_jobs")

        done = await ended(server, started)

        assert 1 == len(server.posts())
    assert started.job["job_id"].startswith("useapi-mcp:")
    assert ("running", "running") == (started.job["status"], waiting.job["status"])
    assert [started.job["job_id"]] == [job["job_id"] for job in listed.job["jobs"]]
    assert ("completed", started.job["job_id"]) == (done.job["status"], done.job["job_id"])
    (item,) = done.job["media"]
    assert "image/jpeg" == item["mime_type"]
    assert len(content_of(item)) == item["size_bytes"]
    assert "encodedImage" not in done.text


async def test_an_image_that_is_refused_early_is_refused_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("upscale_image", source=source("quota-reached", "image"))

    assert ("rate_limited", 1800) == (reply.error["code"], reply.error["retry_after_seconds"])


@pytest.mark.parametrize(
    "answer",
    [{}, {"encodedImage": ""}, {"encodedImage": 3}, {"encodedImage": None}, {"other": "x"}],
)
async def test_an_answer_without_an_image_is_no_result(tmp_path: Path, answer: Any) -> None:
    async with running(tmp_path, vendor=Scripted({f"POST {BIG_IMAGE}": answer})) as server:
        reply = await server.call("upscale_image", source=IMAGE)

        assert 1 == len(server.posts())
        assert [] == files_in(tmp_path / "output")
    assert reply.is_error


async def test_an_image_of_no_known_type_is_kept_all_the_same(tmp_path: Path) -> None:
    answer = {"encodedImage": base64.b64encode(b"what is this").decode()}
    async with running(tmp_path, vendor=Scripted({f"POST {BIG_IMAGE}": answer})) as server:
        reply = await server.call("upscale_image", source=IMAGE)

    (item,) = reply.job["media"]
    assert ("image", "application/octet-stream", 12) == (
        item["kind"],
        item["mime_type"],
        item["size_bytes"],
    )
    assert b"what is this" == content_of(item)
    assert item["path"].endswith(".bin")


# Films as base64


BASE64 = base64.b64encode(FILM).decode()
POSITIONS: dict[str, dict[str, Any]] = {
    "top level": {"rawBytes": BASE64},
    "operations[i]": {"operations": [{**legacy(), "rawBytes": BASE64}]},
    "operations[i].operation.metadata.video": {"operations": [legacy(rawBytes=BASE64)]},
    "media[i]": {"media": [film(rawBytes=BASE64)]},
    "media[i].video": {"media": [film(video={"rawBytes": BASE64})]},
    "operations[i], media[i] without": {
        "media": [film()],
        "operations": [{**legacy(), "rawBytes": BASE64}],
    },
}


@pytest.mark.parametrize("body", POSITIONS.values(), ids=list(POSITIONS))
@pytest.mark.parametrize("wrapped", [False, True], ids=["flat", "in response"])
async def test_a_film_as_base64_is_saved_wherever_it_stands(
    tmp_path: Path, body: dict[str, Any], wrapped: bool
) -> None:
    """Upscaled again, a video comes as `rawBytes`; where is documented nowhere (25 May 2026)."""
    answer = {"jobId": JOB, **({"response": body} if wrapped else body)}
    async with running(tmp_path, vendor=Scripted({f"POST {UPSCALE}": answer})) as server:
        reply = await server.call("upscale_video", source=VIDEO)

    assert (JOB, "completed") == (reply.job["job_id"], reply.job["status"])
    (item,) = reply.job["media"]
    assert ("video", "video/mp4", 1920, 1080) == (
        item["kind"],
        item["mime_type"],
        item["width"],
        item["height"],
    )
    assert FILM == content_of(item)
    assert len(reply.text) < 1000
    has_id = "media" in body or "operations" in body
    assert (UPSAMPLED if has_id else None) == item.get("media_id")


@pytest.mark.parametrize("body", POSITIONS.values(), ids=list(POSITIONS))
async def test_a_film_as_base64_is_saved_from_a_jobs_record_too_and_once(
    tmp_path: Path, body: dict[str, Any]
) -> None:
    async with running(tmp_path, vendor=Scripted({READ: record(**body)})) as server:
        first = await server.call("get_job", job_id=JOB)
        again = await server.call("get_job", job_id=JOB)

        saved = files_in(tmp_path / "output")
    assert [first.job["media"][0]["path"]] == saved
    assert first.job["media"] == again.job["media"]


async def test_bytes_of_no_known_type_are_kept_and_said_to_be_that(tmp_path: Path) -> None:
    body: dict[str, Any] = {"rawBytes": base64.b64encode(b"not a film at all").decode()}

    reply = await read(tmp_path, record(**body))

    (item,) = reply.job["media"]
    assert item["path"].endswith(".bin")
    assert ("video", "application/octet-stream") == (item["kind"], item["mime_type"])


async def test_a_repeat_costs_nothing_and_comes_as_a_file(tmp_path: Path) -> None:
    async with running(tmp_path / "one") as server:
        first = await ended(server, await server.call("upscale_video", source=VIDEO))
        sandbox = server.sandbox
    async with running(tmp_path / "two", sandbox=sandbox, clock=server.clock) as later:
        again = await ended(later, await later.call("upscale_video", source=VIDEO))

    assert first.job["media"][0]["url"].startswith("https://")
    assert content_of(again.job["media"][0])
    assert 1 == len(sandbox.accepted)


# Films as links


async def test_media_come_before_operations(tmp_path: Path) -> None:
    other = "https://storage.googleapis.com/legacy.mp4"
    body: dict[str, Any] = {
        "media": [film(videoUrl=LINK, thumbnailUrl="https://flow-content.google/abc.jpg")],
        "operations": [legacy(fifeUrl=other)],
        "remainingCredits": 18710,
    }

    reply = await read(tmp_path, record(**body))

    assert [
        {
            "kind": "video",
            "url": LINK,
            "mime_type": "video/mp4",
            "thumbnail_url": "https://flow-content.google/abc.jpg",
            "media_id": UPSAMPLED,
        }
    ] == reply.job["media"]
    assert ("veo_3_1_upsampler_1080p", 18710, "2026-05-28T20:26:40.000Z") == (
        reply.job["model"],
        reply.job["remaining_credits"],
        reply.job["created_at"],
    )


@pytest.mark.parametrize("media_entries", [[], [film()], [None, "x"]])
async def test_operations_have_the_link_where_media_have_none(
    tmp_path: Path, media_entries: list[Any]
) -> None:
    thumbnail = "https://flow-content.google/abc.jpg"
    body: dict[str, Any] = {
        "media": media_entries,
        "operations": [legacy(fifeUrl=LINK, servingBaseUri=thumbnail), legacy(FAILED, fifeUrl="x")],
    }

    reply = await read(tmp_path, record(**body))

    (item,) = reply.job["media"]
    assert (LINK, thumbnail, UPSAMPLED) == (item["url"], item["thumbnail_url"], item["media_id"])


@pytest.mark.parametrize("field", ["fifeUrl", "uri"])
async def test_operations_of_november_2025_are_read(tmp_path: Path, field: str) -> None:
    old = {"video": {field: LINK}, "status": "VIDEO_GENERATION_STATUS_SUCCEEDED"}

    reply = await read(tmp_path, record(operations=[old]))

    assert [LINK] == [item["url"] for item in reply.job["media"]]


@pytest.mark.parametrize(
    "beside",
    [
        {"media": [film(videoUrl=LINK)], "remainingCredits": 7},
        {"operations": [legacy(fifeUrl=LINK)], "response": {"remainingCredits": 7}},
        {"media": [film(videoUrl=LINK)], "response": {"captcha": {}}, "remainingCredits": 7},
    ],
)
async def test_media_are_found_at_the_top_of_a_record_too(
    tmp_path: Path, beside: dict[str, Any]
) -> None:
    answer = {**record(captcha={"service": "x", "durationMs": 1}), **beside}

    reply = await read(tmp_path, answer)

    assert (LINK, 7) == (reply.job["media"][0]["url"], reply.job["remaining_credits"])


async def test_what_is_left_is_told_where_the_film_stands_beside_it(tmp_path: Path) -> None:
    made = {"jobid": JOB, "media": [film(videoUrl=LINK)], "response": {"remainingCredits": 7}}
    async with running(tmp_path, vendor=Scripted({f"POST {UPSCALE}": made})) as server:
        reply = await server.call("upscale_video", source=VIDEO)

    assert (LINK, 7) == (reply.job["media"][0]["url"], reply.job["remaining_credits"])


async def test_the_sandboxs_legacy_record_is_read(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        started = await server.call("upscale_video", source=source("operations-only"))

        done = await ended(server, started)

    assert done.job["media"][0]["url"].startswith("https://")


async def test_a_record_without_a_link_is_completed_by_asking_for_one(tmp_path: Path) -> None:
    """The one path whose id is encoded (GET assets/mediaGenerationId, 14 June 2026)."""
    encoded = UPSAMPLED.replace(":", "%3A")
    asset = f"GET /v1/google-flow/assets/{encoded}"
    vendor = Scripted({READ: record(media=[film()]), asset: {"url": LINK}})
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("get_job", job_id=JOB)

    assert [READ, asset] == vendor.asked
    assert LINK == reply.job["media"][0]["url"]


@pytest.mark.parametrize("answer", [Says({"error": "x"}, 404), {}, {"url": "ftp://x"}, Says([])])
async def test_a_job_without_any_link_is_completed_all_the_same(
    tmp_path: Path, answer: Any
) -> None:
    asset = f"GET /v1/google-flow/assets/{UPSAMPLED.replace(':', '%3A')}"

    reply = await read(tmp_path, record(media=[film()]), **{asset: answer})

    assert "completed" == reply.job["status"]
    assert [{"kind": "video", "mime_type": "video/mp4", "media_id": UPSAMPLED}] == reply.job[
        "media"
    ]
    assert "There is no link to its file yet." in reply.text


async def test_only_a_missing_link_is_asked_for(tmp_path: Path) -> None:
    entries = [film(videoUrl=LINK), film(mediaGenerationId="odd"), film()]
    asset = f"GET /v1/google-flow/assets/{UPSAMPLED.replace(':', '%3A')}"
    vendor = Scripted({READ: record(media=entries), asset: {"url": LINK + "2"}})
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("get_job", job_id=JOB)

    assert [READ, asset] == vendor.asked
    assert [LINK, None, LINK + "2"] == [item.get("url") for item in reply.job["media"]]


@pytest.mark.parametrize(
    ("body", "finished"),
    [
        ({"media": [film(videoUrl=LINK)]}, True),
        ({"operations": [legacy(fifeUrl=LINK)]}, True),
        ({"response": {"media": [film(videoUrl=LINK)]}}, True),
        ({"response": {"media": [film("MEDIA_GENERATION_STATUS_PENDING")]}}, False),
        ({"response": {"operations": [legacy("MEDIA_GENERATION_STATUS_PENDING")]}}, False),
        ({"media": [film(FAILED)]}, False),
    ],
)
async def test_an_answer_that_holds_the_film_is_the_end(
    tmp_path: Path, body: dict[str, Any], finished: bool
) -> None:
    vendor = Scripted({f"POST {UPSCALE}": {"jobid": JOB, **body}})
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=VIDEO)

    assert "completed" if finished else "running" == reply.job["status"]
    assert finished is ("media" in reply.job)


async def test_a_film_without_a_job_is_kept_under_our_own_id(tmp_path: Path) -> None:
    vendor = Scripted({f"POST {UPSCALE}": {"media": [film(videoUrl=LINK)]}})
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("upscale_video", source=VIDEO)
        again = await server.call("get_job", job_id=reply.job["job_id"])

    assert reply.job["job_id"].startswith("useapi-mcp:")
    assert LINK == again.job["media"][0]["url"]


# Records


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"media": [film(FAILED)]}, "Google Flow gave no reason."),
        (
            {
                "media": [
                    film(),
                    film(
                        mediaMetadata={
                            "mediaStatus": {
                                "mediaGenerationStatus": FAILED,
                                "error": {"code": 3, "message": "PUBLIC_ERROR_UNSAFE"},
                            }
                        }
                    ),
                ][1:]
            },
            "Google Flow's moderation refused it: PUBLIC_ERROR_UNSAFE",
        ),
        ({"operations": [legacy(FAILED)]}, "Google Flow gave no reason."),
    ],
)
async def test_a_completed_job_whose_film_failed_has_failed(
    tmp_path: Path, body: dict[str, Any], message: str
) -> None:
    reply = await read(tmp_path, record(**body))

    code = "moderated" if "moderation" in message else "vendor_failed"
    assert ("failed", code, message) == (
        reply.job["status"],
        reply.job["failure"]["code"],
        reply.job["failure"]["message"],
    )


@pytest.mark.parametrize("name", ["job-fails", "media-fails"])
async def test_a_job_that_fails_in_the_sandbox_tells_why(tmp_path: Path, name: str) -> None:
    async with running(tmp_path) as server:
        started = await server.call("upscale_video", source=source(name))

        reply = await ended(server, started)

    assert "failed" == reply.job["status"]
    assert "reason" not in reply.job["failure"]["message"]


@pytest.mark.parametrize(
    "said", ["PUBLIC_ERROR_UNSAFE_GENERATION", "PUBLIC_ERROR_AUDIO_FILTERED", "blocked by SAFETY"]
)
async def test_what_moderation_refuses_is_told_alike_before_and_after_it_began(
    tmp_path: Path, said: str
) -> None:
    refusal = Says({"error": {"message": said, "status": "INVALID_ARGUMENT"}}, 400)
    vendor = Scripted({"POST /v1/google-flow/videos/upscale": refusal})
    async with running(tmp_path / "before", vendor=vendor) as server:
        before = await server.call("upscale_video", source=VIDEO)

    after = await read(tmp_path / "after", {**record("failed"), "error": said})

    assert "moderated" == before.error["code"] == after.job["failure"]["code"]
    assert "refused again" in before.text
    assert "refused again" in after.job["note"]
    assert "at its price" not in before.text + after.text


async def test_one_film_of_two_is_a_result(tmp_path: Path) -> None:
    reply = await read(tmp_path, record(media=[film(FAILED), film(videoUrl=LINK)]))

    assert ("completed", [LINK]) == (
        reply.job["status"],
        [item["url"] for item in reply.job["media"]],
    )


async def test_a_failed_job_without_a_reason_says_so(tmp_path: Path) -> None:
    reply = await read(tmp_path, record("failed"))

    assert "Google Flow gave no reason." == reply.job["failure"]["message"]


async def test_a_completed_job_without_anything_is_completed(tmp_path: Path) -> None:
    reply = await read(tmp_path, record())

    assert ("completed", []) == (reply.job["status"], reply.job["media"])


@pytest.mark.parametrize("word", ["created", "started", "queued", "Completed", ""])
async def test_a_word_that_is_no_end_is_running(tmp_path: Path, word: str) -> None:
    reply = await read(tmp_path, record(word, media=[film(videoUrl=LINK)]))

    assert "running" == reply.job["status"]
    assert "media" not in reply.job


@pytest.mark.parametrize("answer", [{}, Says([]), "x", {"status": 3}])
async def test_an_answer_that_is_no_record_is_unexpected(tmp_path: Path, answer: Any) -> None:
    assert "unexpected_answer" == (await read(tmp_path, answer)).error["code"]


async def test_an_image_job_made_elsewhere_is_read(tmp_path: Path) -> None:
    """A refused image has a prompt and no link (live notes, September 2026)."""
    link = "https://flow-content.google/image/abc"
    made = {"generatedImage": {"fifeUrl": link, "mediaGenerationId": IMAGE}}
    images = [{"image": made}, {"image": {"generatedImage": {"prompt": "x", "seed": 1}}}]
    answer = {**record(media=images), "type": "image", "request": {"model": "nano-banana-2"}}

    reply = await read(tmp_path, answer)

    assert ("generate_image", "nano-banana-2") == (reply.job["operation"], reply.job["model"])
    assert [{"kind": "image", "url": link, "media_id": IMAGE}] == reply.job["media"]


def picture(**fields: Any) -> dict[str, Any]:
    return {"image": {"generatedImage": {"prompt": "x", "seed": 1, **fields}}}


async def test_an_image_job_whose_images_were_all_refused_was_moderated(tmp_path: Path) -> None:
    """Without a word: there is no error, only neither a link nor an id."""
    reply = await read(tmp_path, {**record(media=[picture()]), "type": "image"})

    assert ("failed", "moderated") == (reply.job["status"], reply.job["failure"]["code"])
    assert "refused again" in reply.job["note"]


async def test_images_that_were_all_refused_at_once_were_moderated(tmp_path: Path) -> None:
    vendor = Scripted({"POST /v1/google-flow/images": {"media": [picture()]}})
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("generate_image", prompt="x", service="google-flow")

    assert ("failed", "moderated") == (reply.job["status"], reply.job["failure"]["code"])


@pytest.mark.parametrize("at", ["image.generatedImage", "media[i]"])
async def test_images_as_base64_are_saved_each_with_its_own_id(tmp_path: Path, at: str) -> None:
    """Between them a refused one, and one with a link: no id gets to another's file."""
    jpeg = [base64.b64encode(content).decode() for content in (b"first", b"second, longer")]
    ids = [source(f"picture-{n}", "image") for n in range(3)]
    link = "https://flow-content.google/image/abc"

    def encoded(content: str, media_id: str) -> dict[str, Any]:
        if at == "media[i]":
            return {**picture(mediaGenerationId=media_id), "encodedImage": content}
        return picture(encodedImage=content, mediaGenerationId=media_id)

    images = [
        picture(),
        encoded(jpeg[0], ids[0]),
        picture(fifeUrl=link, mediaGenerationId=ids[1]),
        encoded(jpeg[1], ids[2]),
    ]

    reply = await read(tmp_path, {**record(media=images), "type": "image"})

    first, second, third = reply.job["media"]
    assert ids == [first["media_id"], second["media_id"], third["media_id"]]
    assert (b"first", link, b"second, longer") == (
        content_of(first),
        second["url"],
        content_of(third),
    )
    assert "url" not in third
    assert jpeg[1] not in reply.text


async def test_an_image_as_base64_without_bytes_leaves_open_whose_the_others_are(
    tmp_path: Path,
) -> None:
    """An id on another's file would have the wrong picture upscaled."""
    some = base64.b64encode(b"some").decode()
    images = [
        picture(encodedImage="", mediaGenerationId=IMAGE),
        picture(encodedImage=some, mediaGenerationId=source("other", "image")),
    ]

    reply = await read(tmp_path, {**record(media=images), "type": "image"})

    (item,) = reply.job["media"]
    assert b"some" == content_of(item)
    assert "media_id" not in item


@pytest.mark.parametrize(
    "request_fields", [{"prompt": "a cat"}, {"prompt": "more", "mediaGenerationId": VIDEO}, {}]
)
async def test_a_video_that_was_not_upscaled_is_a_generated_one(
    tmp_path: Path, request_fields: dict[str, str]
) -> None:
    answer = {**record(media=[film(videoUrl=LINK)]), "request": request_fields}

    assert "generate_video" == (await read(tmp_path, answer)).job["operation"]


# Lost answers


def listed(*job_ids: str, group: str = "videos", at_ms: Any = 1_780_000_000_000) -> Any:
    entries = {job_id: {"email": "user@example.com", "timestamp": at_ms} for job_id in job_ids}
    return {group: {"executing": entries, "history": entries}}


def job_id(number: int) -> str:
    return f"j17318592345{number:05}v-u12345-email:user@example.com-bot:google-flow"


async def lost(folder: Path, answers: dict[str, Any], **order: str) -> tuple[Any, Scripted]:
    """What comes of an order whose answer was a JSON 500."""
    vendor = Scripted({f"POST {UPSCALE}": Says({"error": "x"}, 500), **answers})
    async with running(folder, vendor=vendor) as server:
        return await server.call("upscale_video", source=VIDEO, **order), vendor


async def test_a_lost_answer_is_found_among_the_jobs(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=100) as server:
        reply = await server.call("upscale_video", source=source("lost-answer"))

        assert 1 == len(server.posts())
        assert server.sandbox.accepted[0].job_id == reply.job["job_id"]


@pytest.mark.parametrize("option", ["executing", "history"])
@pytest.mark.parametrize("group", ["videos", "combined"])
async def test_a_job_is_found_in_either_list_and_either_group(
    tmp_path: Path, option: str, group: str
) -> None:
    answers: dict[str, Any] = {path: {group: {}} for path in LISTS.values()}
    answers[LISTS[option]] = listed(JOB, "odd", group=group)

    reply, _ = await lost(tmp_path, {**answers, READ: record("started")})

    assert JOB == reply.job["job_id"]


@pytest.mark.parametrize(
    ("echo", "order", "found"),
    [
        ({}, {}, True),
        ({"resolution": "1080p"}, {}, True),
        ({}, {"resolution": "1080p"}, True),
        ({"resolution": "4K"}, {"resolution": "4K"}, True),
        ({"resolution": "4K"}, {}, False),
        ({}, {"resolution": "720p"}, False),
        ({"prompt": "an extension"}, {}, False),
        ({"mediaGenerationId": source("sample-2")}, {}, False),
        ({"mediaGenerationId": None}, {}, False),
    ],
)
async def test_a_job_is_ours_only_if_it_makes_what_was_asked(
    tmp_path: Path, echo: dict[str, Any], order: dict[str, str], found: bool
) -> None:
    made = {**CREATED, "request": {"mediaGenerationId": VIDEO, **echo}}
    answers = {**dict.fromkeys(LISTS.values(), listed(JOB)), READ: made}

    reply, vendor = await lost(tmp_path, answers, **order)

    assert found is (reply.job["job_id"] == JOB)
    assert (1 if found else 2) == vendor.asked.count(f"POST {UPSCALE}")


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {LISTS["executing"]: listed()},  # the second list can't be read
        {LISTS["executing"]: {}, LISTS["history"]: {}},
        {LISTS["executing"]: Says([]), LISTS["history"]: "x"},
        {LISTS["executing"]: {"videos": []}, LISTS["history"]: listed()},
        {path: listed(JOB) for path in LISTS.values()},  # what is listed can't be read
        *(
            {path: listed(JOB) for path in LISTS.values()} | {READ: {**CREATED, "request": odd}}
            for odd in (None, "x", 3, {}, {"replyRef": "mine"})
        ),
        {path: listed(*map(job_id, range(21))) for path in LISTS.values()}
        | {f"GET /v1/google-flow/jobs/{job_id(n)}": CREATED for n in range(21)},
    ],
    ids=[
        "none", "one", "empty", "no lists", "odd", "unread", "no request", "a text", "a number",
        "an empty request", "a reference", "too many",
    ],
)  # fmt: skip
async def test_a_look_that_may_have_missed_it_proves_nothing(
    tmp_path: Path, answers: dict[str, Any]
) -> None:
    reply, vendor = await lost(tmp_path, answers)

    assert "unconfirmed" == reply.job["status"]
    assert 1 == vendor.asked.count(f"POST {UPSCALE}")


async def test_films_of_other_jobs_do_not_stay_in_the_output_folder(tmp_path: Path) -> None:
    others = {job_id(n): {**record(rawBytes=BASE64), "request": {}} for n in range(3)}
    answers: dict[str, Any] = dict.fromkeys(LISTS.values(), listed(*others, JOB))
    answers |= {f"GET /v1/google-flow/jobs/{name}": other for name, other in others.items()}
    answers[READ] = record(rawBytes=BASE64)

    reply, _ = await lost(tmp_path, answers)

    assert JOB == reply.job["job_id"]
    assert [reply.job["media"][0]["path"]] == files_in(tmp_path / "output")


async def test_a_job_that_its_reference_proves_is_found_with_its_film(tmp_path: Path) -> None:
    """Though its record says nothing else of the request."""
    request: dict[str, str] = {}
    answers = {READ: {**record(rawBytes=BASE64), "request": request}}
    answers |= dict.fromkeys(LISTS.values(), listed(JOB))
    vendor = Scripted({f"POST {UPSCALE}": Says({"error": "x"}, 500), **answers})
    async with running(tmp_path, vendor=vendor) as server:
        calling = asyncio.create_task(server.call("upscale_video", source=VIDEO))
        await asyncio.sleep(1)
        request["replyRef"] = vendor.bodies[0]["replyRef"]
        reply = await calling

    assert (JOB, "upscale_video") == (reply.job["job_id"], reply.job["operation"])
    assert FILM == content_of(reply.job["media"][0])


async def test_a_job_with_the_reference_of_another_hides_no_absence(tmp_path: Path) -> None:
    others = {**CREATED, "request": {"replyRef": f"useapi-mcp:{'a' * 26}"}}
    answers = {**dict.fromkeys(LISTS.values(), listed(JOB)), READ: others}

    _, vendor = await lost(tmp_path, answers)

    assert 2 == vendor.asked.count(f"POST {UPSCALE}")


async def test_of_many_jobs_the_newest_are_read_first(tmp_path: Path) -> None:
    entries = {job_id(n): {"timestamp": n * 1000} for n in range(30)}
    answers: dict[str, Any] = {path: {"videos": {"executing": entries}} for path in LISTS.values()}
    answers |= {f"GET /v1/google-flow/jobs/{job_id(n)}": record("started") for n in range(25, 30)}

    reply, _ = await lost(tmp_path, answers)

    assert job_id(29) == reply.job["job_id"]


async def test_an_older_job_that_failed_is_no_answer(tmp_path: Path) -> None:
    """The second request was not even seen: an old failure must not be told as its end."""
    old = {**record("failed"), "created": "2026-05-28T20:00:00Z"}
    answers = {**dict.fromkeys(LISTS.values(), listed(JOB)), READ: old}

    reply, _ = await lost(tmp_path, answers)

    assert "failed" != reply.job["status"]
