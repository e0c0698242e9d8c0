"""The sandbox as a whole: tokens, the list of requests, unknown paths."""

import asyncio
import json
from collections.abc import MutableMapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from mcp_server.sandbox import pixverse
from mcp_server.sandbox.app import SOURCES, VENDORS, WORDS, Accepted, Conditions, help_text
from tests.sandbox.api import EPOCH_S, JOB_S, open_api

ACCOUNT = "/v2/account"
GOOD = {(source.service, source.kind): source.id for source in SOURCES if source.good}


@pytest.mark.parametrize(
    "token",
    [
        b"Bearer user:12345-abcDEF",
        b"Bearer YOUR_API_TOKEN",
        b"Bearer API token",
        "Bearer …".encode(),
    ],
)
async def test_any_well_formed_token_and_the_examples_words_for_one_are_right(token: bytes) -> None:
    """auth.md, 2026: `user:<digits>-<alphanumeric>`; the examples of the upscale pages; assumed."""
    async with open_api() as api:
        answer = await api.http.get(ACCOUNT, headers={b"Authorization": token})

        assert 200 == answer.status_code


@pytest.mark.parametrize(
    "token", ["", "Bearer", "Bearer abc", "Bearer user:12345", "Bearer 12345-abc", "user:1-abc"]
)
async def test_any_other_token_is_unauthorized(token: str) -> None:
    """Every page of 2026: 401 {"error": "Unauthorized"}."""
    async with open_api() as api:
        answer = await api.http.get(ACCOUNT, headers={"Authorization": token})

        assert 401 == answer.status_code
        assert {"error": "Unauthorized"} == answer.json()


@pytest.mark.parametrize("path", ["/", "/ping", "/v1/dreamina/nothing", "/v2/pixverse/videos/a/b"])
async def test_an_unknown_path_answers_the_gateways_page(path: str) -> None:
    """Recorded in July 2025: 522/523 and HTML, not a JSON 404."""
    async with open_api() as api:
        answer = await api.http.get(path)

        assert 523 == answer.status_code
        assert answer.headers["content-type"].startswith("text/html")


async def test_a_paid_post_is_written_down_once_with_what_it_made() -> None:
    async with open_api() as api:
        await asyncio.sleep(7)
        source_id = GOOD["dreamina", "video"]
        body = {"jobid": source_id, "maxJobs": 2}

        made = await api.post("/v1/dreamina/videos/upscale", body)
        await api.post("/v1/dreamina/videos/upscale", body, status=400)

        path = "/v1/dreamina/videos/upscale"
        expected = Accepted("dreamina", path, source_id, made["jobid"], body, EPOCH_S + 7)
        assert [expected] == api.sandbox.accepted


async def test_every_request_is_written_down_as_it_was_sent() -> None:
    async with open_api() as api:
        await api.http.get("/v2/pixverse/videos?limit=1")
        await api.http.post("/v1/a%3Ab", json={})
        await api.http.get(ACCOUNT, headers={"Authorization": "no"})

        expected = [
            ("GET", "/v2/pixverse/videos?limit=1"),
            ("POST", "/v1/a%3Ab"),
            ("GET", ACCOUNT),
        ]
        assert expected == api.sandbox.requests


def test_each_kind_of_each_service_has_one_source_to_start_with() -> None:
    kinds = {(source.service, source.kind) for source in SOURCES}

    assert kinds == GOOD.keys()
    assert len(GOOD) == sum(source.good for source in SOURCES)


def test_source_ids_are_unique_and_the_help_says_what_each_is_for() -> None:
    text = help_text()

    assert len(SOURCES) == len({source.id for source in SOURCES})
    assert [source.id for source in SOURCES] == [
        line[2:] for line in text.splitlines() if line[2:] in {source.id for source in SOURCES}
    ]
    assert all(source.use in text for source in SOURCES)
    headings = [line for line in text.splitlines() if line and line[0] not in " *"]
    assert sorted(headings) == sorted(set(headings))


def test_the_help_says_what_each_word_in_a_prompt_shows() -> None:
    text = help_text()

    assert WORDS
    assert len(WORDS) == len({(word.service, word.word) for word in WORDS})
    for word in WORDS:
        _, _, of_service = text.partition(f"\n{word.service}, words in a prompt")
        assert f"\n  sandbox:{word.word}\n      {word.use}\n" in of_service


def test_every_vendor_has_a_prefix_of_its_own() -> None:
    prefixes = [vendor.prefix for vendor in VENDORS]

    assert len(prefixes) == len(set(prefixes))


@pytest.mark.parametrize(
    "path",
    [
        "/v1/dreamina/videos/upscale",
        "/v1/google-flow/videos/upscale",
        "/v1/google-flow/images/upscale",
        "/v2/pixverse/videos/upscale",
        "/v2/pixverse/images/create",
    ],
)
@pytest.mark.parametrize("content", [b"", b"no json", b"[]", b"\xff"])
async def test_a_body_that_is_no_json_object_is_refused(path: str, content: bytes) -> None:
    """Assumed: 400."""
    async with open_api() as api:
        headers = {"Content-Type": "application/json"}

        answer = await api.http.post(path, content=content, headers=headers)

        assert 400 == answer.status_code
        assert {"error": "Invalid JSON body"} == answer.json()


async def test_a_server_may_announce_its_start_and_its_end() -> None:
    """ASGI's lifespan, as uvicorn speaks it."""
    heard = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    said: list[str] = []

    async def receive() -> MutableMapping[str, Any]:
        return next(heard)

    async def send(message: MutableMapping[str, Any]) -> None:
        said.append(message["type"])

    async with open_api() as api:
        await api.sandbox({"type": "lifespan", "app": api.sandbox}, receive, send)

        assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == said
        assert [] == api.sandbox.requests


async def test_two_requests_at_once_do_not_wait_for_each_other() -> None:
    """Google Flow's synchronous upscale waits for its job; everything else goes on."""
    async with open_api() as api:
        body = {"mediaGenerationId": GOOD["google-flow", "image"]}

        slow = asyncio.create_task(api.http.post("/v1/google-flow/images/upscale", json=body))
        await asyncio.sleep(1)
        quick = await api.http.get(ACCOUNT)

        assert 200 == quick.status_code
        assert not slow.done()
        assert isinstance(await slow, httpx.Response)


@pytest.mark.parametrize("path", [ACCOUNT, "/v1/dreamina/videos/unknown", "/nowhere"])
async def test_every_answer_tells_the_time_by_the_sandboxs_own_clock(path: str) -> None:
    """Its jobs are dated by that clock, which a test may set wrong."""
    async with open_api() as api:
        answer = await api.http.get(path)

        (date,) = answer.headers.get_list("date")
        assert EPOCH_S == pytest.approx(parsedate_to_datetime(date).timestamp(), abs=5)


UPLOADS = (
    "/v1/dreamina/assets/CA:user@example.com",
    "/v1/google-flow/assets/user@example.com",
    "/v2/pixverse/files",
)


@pytest.mark.parametrize("path", UPLOADS)
async def test_a_word_in_an_upload_shows_its_error(path: str) -> None:
    async with open_api() as api:
        headers = {"Content-Type": "image/png"}
        refused = await api.http.post(path, content=b"sandbox:no-subscription", headers=headers)
        lost = await api.http.post(path, content=b"sandbox:lost-answer", headers=headers)
        again = await api.http.post(path, content=b"sandbox:lost-answer", headers=headers)

        statuses = [answer.status_code for answer in (refused, lost, again)]
        assert [402, 524, 200] == statuses


GENERATIONS: tuple[tuple[str, dict[str, object]], ...] = (
    ("/v1/dreamina/videos", {"prompt": "A fox"}),
    ("/v1/dreamina/images", {"prompt": "A fox"}),
    ("/v1/google-flow/videos", {"prompt": "A fox", "async": True}),
    ("/v1/google-flow/images", {"prompt": "A fox"}),
    ("/v2/pixverse/videos/create", {"prompt": "A fox", "aspect_ratio": "16:9"}),
    ("/v2/pixverse/images/create", {"prompt": "A fox"}),
    ("/v2/pixverse/images/upscale", {"image_id": pixverse.GOOD_IMAGE}),
)


@pytest.mark.parametrize(("path", "body"), GENERATIONS)
async def test_a_test_decides_what_a_generation_waits_for_and_hears_of_it(
    path: str, body: dict[str, object]
) -> None:
    heard: list[tuple[str, float]] = []
    conditions = Conditions(
        work=lambda: asyncio.sleep(20),
        on_accepted=lambda work: heard.append((work.path, work.at)),
    )
    async with open_api(conditions) as api:
        first = asyncio.create_task(api.http.post(path, json=body))
        await asyncio.sleep(19)
        before = list(heard)
        answer = await first

        assert ([], [(path, EPOCH_S + 20)]) == (before, heard)
        assert answer.is_success


@pytest.mark.parametrize(("path", "body"), GENERATIONS)
async def test_a_test_decides_whether_a_generation_fails(
    path: str, body: dict[str, object]
) -> None:
    async with open_api(Conditions(fails=lambda: True)) as api:
        answer = (await api.http.post(path, json=body)).json()
        await asyncio.sleep(JOB_S)

        name = next(
            answer[key]
            for key in ("jobid", "jobId", "video_id", "image_id", "success_ids")
            if key in answer
        )
        name = name if isinstance(name, str) else name[0]
        kind = "images" if "/images" in path else "videos"
        at = f"{path[: path.index(f'/{kind}')]}/{'jobs' if 'flow' in path else kind}/{name}"
        record = await api.get(at)
        assert "failed" == record.get("status") or 8 == record[f"{kind[:-1]}_status"]


ODD: tuple[object, ...] = ([], {}, [1], {"a": 1}, True, -1, 1.5, 10**30, "", "x", "\u0000\ud83d")
FIELDS = {
    "/v1/dreamina": (
        *("account", "prompt", "model", "ratio", "duration", "resolution", "firstFrameRef"),
        *("endFrameRef", "imageRef_1", "imageStrength", "maxJobs", "replyUrl", "replyRef"),
    ),
    "/v1/google-flow": (
        *("prompt", "model", "email", "aspectRatio", "duration", "resolution", "count", "seed"),
        *("startImage", "endImage", "reference_1", "async", "replyUrl", "captchaRetry"),
    ),
    "/v2/pixverse": (
        *("prompt", "model", "email", "aspect_ratio", "duration", "quality", "create_count"),
        *("first_frame_path", "image_path", "video_path", "image_id", "quote", "maxJobs"),
    ),
}


@pytest.mark.parametrize(("path", "body"), GENERATIONS)
async def test_any_value_in_any_field_is_taken_or_refused(
    path: str, body: dict[str, object]
) -> None:
    async with open_api() as api:
        service = next(service for service in FIELDS if path.startswith(service))
        for field in FIELDS[service]:
            for value in ODD:
                content = json.dumps({**body, field: value})
                answer = await api.http.post(path, content=content)
                assert answer.status_code in (200, 201, 400, 404, 429), (field, value)
                assert isinstance(answer.json(), dict)
                await asyncio.sleep(JOB_S)


async def test_a_test_may_add_sources_also_of_other_accounts() -> None:
    other = "user:12345-email:" + b"other@example.com".hex()
    flow = f"{other}-image:mine"
    video, image = pixverse.video_id(1, "other@example.com"), pixverse.image_id(2)
    job = "j0302140530123456001v-u12345-CA:other@example.com-bot:dreamina"
    async with open_api(Conditions(sources=(flow, video, image, job))) as api:
        await api.post("/v1/google-flow/images/upscale", {"mediaGenerationId": flow})
        await api.post("/v2/pixverse/videos/upscale", {"video_id": video})
        await api.post("/v2/pixverse/images/upscale", {"image_id": image})
        await api.post("/v1/dreamina/videos/upscale", {"jobid": job})

        (listed,) = (await api.get("/v1/google-flow/assets/media/other@example.com"))["media"]
        assert flow == listed["mediaGenerationId"]
        assert 2 == len((await api.get("/v2/pixverse/videos?email=other@example.com"))["data"])
