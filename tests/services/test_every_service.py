"""What holds for every service: ids, errors, refusals, and a job that ends."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.errors import RequestError, UnknownIdError
from mcp_server.models import OPERATIONS, PAID_OPERATIONS, OperationName, ServiceName
from mcp_server.sandbox.app import SOURCES
from mcp_server.services.accounts import account_hash
from mcp_server.services.base import Endpoint, Option, Service
from mcp_server.services.registry import SERVICES, service_named, service_of
from mcp_server.upstream.responses import Answer, ServiceInfo
from tests.support import virtual_time
from tests.support.harness import GOOD, ORIGIN, Fault, asked_for, running

PAID = sorted(PAID_OPERATIONS)
FPS: dict[str, dict[str, Any]] = {"interpolate_video": {"fps": 60}}
PROMPT = "A red panda sails a paper boat"
JOBS = (
    "j0302140530123456789V-u12345-CA:user@example.com-bot:dreamina",
    "j1731859234567890123v-u12345-email:user@example.com-bot:google-flow",
    "user:12345-pixverse:user@example.com-video:66778801",
)


def source_for(service: Service, operation: OperationName) -> str:
    return GOOD[service.name, "image" if operation == "upscale_image" else "video"]


def arguments_for(service: Service, operation: OperationName) -> dict[str, Any]:
    """What the tool of an operation has to be given."""
    if OPERATIONS[operation].from_prompt:
        return {"prompt": PROMPT, "service": service.name}
    return {"source": source_for(service, operation), **FPS.get(operation, {})}


def size_of(item: dict[str, Any]) -> int:
    return Path(item["path"]).stat().st_size


def offered() -> Iterator[tuple[str, OperationName]]:
    for service in SERVICES:
        for operation in service.endpoints:
            yield service.name, operation


def lacking() -> Iterator[tuple[str, OperationName]]:
    for service in SERVICES:
        for operation in PAID:
            if operation not in service.endpoints:
                yield service.name, operation


def test_the_tables_of_services_and_operations_leave_none_out() -> None:
    assert list(get_args(ServiceName)) == [service.name for service in SERVICES]
    assert list(get_args(OperationName)) == list(OPERATIONS)
    assert {operation for service in SERVICES for operation in service.endpoints} == PAID_OPERATIONS


def test_a_service_says_what_files_it_takes_for_all_that_may_go_by_one() -> None:
    for service in SERVICES:
        takers = {
            operation
            for operation, endpoint in service.endpoints.items()
            if endpoint.file_field or OPERATIONS[operation].from_prompt
        }
        assert takers == service.file_rules.keys()


# Ids


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.id)
def test_an_id_belongs_to_its_service_and_to_no_other(source: Any) -> None:
    owners = [service.name for service in SERVICES if service.owns(source.id)]

    assert [source.service] == owners
    assert source.service == service_of(source.id, "source").name


@pytest.mark.parametrize(
    ("some_id", "name"), list(zip(JOBS, ("dreamina", "google-flow", "pixverse"), strict=True))
)
def test_a_jobs_id_names_its_service(some_id: str, name: str) -> None:
    assert name == service_of(some_id, "job_id").name
    assert name == service_named(name).name


CHANGES: list[Callable[[str], str]] = [
    lambda i: i[:8] + "/" + i[8:],
    lambda i: i + "/../../../accounts",
    lambda i: i + "?email=x",
    lambda i: i + "#x",
    lambda i: i.replace(":", "%2F"),
    lambda i: i.replace("e", "\\", 1),
    lambda i: i.replace("@", " @") + " x",
    lambda i: i.replace("-", "\n-", 1),
    lambda i: i + "\x00",
    lambda i: i.replace("1", "..", 1),
    lambda i: i.replace("12345", "12345..", 1),
    lambda i: i.replace("1", "١", 1),  # a digit, but not of ours
    lambda i: i.replace("o", "о", 1),  # looks like ours
    lambda i: i + "x" * 10_000,
    lambda i: i[:4] + "1" * 10_000 + i[4:],
    lambda i: i.upper() + "!",
    lambda i: i + i,
    lambda i: "",
    lambda i: "..",
    lambda i: "https://evil.example.com/" + i,
]


async def test_an_id_that_is_none_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        for good in (*GOOD.values(), *JOBS):
            for change in CHANGES:
                wrong = change(good)

                replies = [await server.call("get_job", job_id=wrong)]
                if not wrong.startswith("https:"):  # a link of whatever kind is a source
                    replies.append(await server.call("upscale_video", source=wrong))

                expected = ("unknown_id", "invalid_argument", "unsupported")
                assert all(reply.error["code"] in expected for reply in replies), wrong

        assert [] == server.network.sent


async def test_a_refused_id_is_told_with_the_forms_there_are(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("upscale_video", source="user:7-pixverse:you@example.com")

    assert "unknown_id" == reply.error["code"]
    for service in SERVICES:
        assert service.vendor.title in reply.text
        for form in service.id_forms:
            assert form in reply.text


class Recorder:
    """In place of the vendor: writes down which paths are asked for."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def get(self, vendor: ServiceInfo, path: str, **more: Any) -> Answer:
        self.paths.append(path)
        return Answer(200, {"status": "created", "video_status": 5, "image_status": 5})


FIXED = re.compile(
    r"/v1/dreamina/(videos|images)/[^/]+|/v1/google-flow/jobs/[^/]+"
    r"|/v2/pixverse/(videos|images)/[^/]+"
)
ANY_ID = st.text() | st.builds(
    lambda some_id, at, more: some_id[:at] + more + some_id[at:],
    st.sampled_from([*GOOD.values(), *JOBS]),
    st.integers(0, 80),
    st.text() | st.sampled_from(["/", "?", "#", "%2e", "..", "\\", "@", ":", "&", "'", "~", "\n"]),
)


@given(ANY_ID)
def test_any_text_is_refused_or_stays_one_segment_of_its_path(some_id: str) -> None:
    upstream: Any = Recorder()
    try:
        service = service_of(some_id, "job_id")
        virtual_time.run(service.read(upstream, some_id, age_s=None))
    except (UnknownIdError, RequestError):
        assert [] == upstream.paths
        return

    (path,) = upstream.paths
    assert FIXED.fullmatch(path)
    assert path.endswith(f"/{some_id}")
    assert path == httpx.URL(ORIGIN).copy_with(raw_path=path.encode()).raw_path.decode()
    assert path.isascii()


@pytest.mark.parametrize("job_id", JOBS)
async def test_an_id_is_sent_raw(tmp_path: Path, job_id: str) -> None:
    """The vendors answer 400 to `%3A` and `%40` (live notes and the vendor's clients, 2026)."""
    async with running(tmp_path) as server:
        await server.call("get_job", job_id=job_id)

        first = server.network.sent[0].url.raw_path.decode()

    assert first.endswith(f"/{job_id}")
    assert "%" not in first


# Work


@pytest.mark.parametrize(("name", "operation"), list(offered()))
async def test_an_order_becomes_a_job_that_ends(
    tmp_path: Path, name: str, operation: OperationName
) -> None:
    given = arguments_for(service_named(name), operation)
    async with running(tmp_path) as server:
        started = await server.call(operation, **given)

        done = await server.call("get_job", job_id=started.job["job_id"], wait_seconds=50)

    assert ("running", operation, name) == (
        started.job["status"],
        started.job["operation"],
        started.job["service"],
    )
    assert ("completed", operation, given.get("prompt") or given["source"]) == (
        done.job["status"],
        done.job["operation"],
        done.job["source"],
    )
    item, *others = done.job["media"]
    assert not others or operation == "generate_image"
    assert item["width"] > 0 if "width" in item else name == "google-flow"
    assert item.get("url", "").startswith("https://") or size_of(item) == item["size_bytes"]
    assert 1 == len(server.posts())
    assert 1 == len(server.sandbox.accepted)


@pytest.mark.parametrize(("name", "operation"), list(offered()))
async def test_what_nobody_asked_for_is_not_sent(
    tmp_path: Path, name: str, operation: OperationName
) -> None:
    """A vendor's default is the vendor's: sent by us it would stay when the vendor changes it."""
    service = service_named(name)
    endpoint = service.endpoints[operation]
    given = arguments_for(service, operation)
    async with running(tmp_path) as server:
        await server.call(operation, **given)

        body = server.sandbox.accepted[0].body if server.sandbox.accepted else {}

    always = {
        option.field for option in endpoint.options.values() if option.sent == "always"
    }  # whose documented default would be dear or wrong
    if service.needs_account:
        always.add("email")
    asked = {name: value for name, value in asked_for(body).items() if name not in always}
    source = given.get("prompt") or given["source"]
    assert {endpoint.source_field: source, **endpoint.fixed, **FPS.get(operation, {})} == asked


@pytest.mark.parametrize(("name", "operation"), list(offered()))
async def test_our_id_goes_out_as_the_reference_where_none_was_given(
    tmp_path: Path, name: str, operation: OperationName
) -> None:
    service = service_named(name)
    async with running(tmp_path) as server:
        started = await server.call(operation, **arguments_for(service, operation))
        (sent,) = server.posts()
        reference = json.loads(sent.content).get("replyRef")

        if "reply_ref" in service.endpoints[operation].options:
            known = await server.call("get_job", job_id=reference)
            assert started.job["job_id"] == known.job["job_id"]
        else:
            assert reference is None


@pytest.mark.parametrize("setting", [{}, {"USEAPI_REPLY_REF": "the operator's"}])
async def test_a_reference_that_was_given_goes_out_in_place_of_ours(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    given = {} if setting else {"reply_ref": "the caller's"}
    async with running(tmp_path, **setting) as server:
        await server.call("upscale_video", source=GOOD["google-flow", "video"], **given)

        (sent,) = server.posts()

    assert json.loads(sent.content)["replyRef"] in ("the caller's", "the operator's")


ERRORS = [
    (401, {"error": "Unauthorized"}, "wrong_token", "set_token"),
    (
        402,
        {"error": "Account has no subscription or subscription expired"},
        "no_subscription",
        "renew_subscription",
    ),
    (412, {"error": "Not enough credits: requested 3, available 0"}, "no_credits", "buy_credits"),
    (422, {"error": "Moderated"}, "moderated", "use_another_source_or_prompt"),
    (429, {"error": "busy"}, "rate_limited", "wait_then_retry"),
    (596, {"error": "Session expired"}, "account_error", "reconnect_account"),
]


@pytest.mark.parametrize(("status", "body", "code", "next_action"), ERRORS)
@pytest.mark.parametrize(("name", "operation"), list(offered()))
async def test_a_refusal_is_told_in_our_words_after_one_post(
    tmp_path: Path,
    name: str,
    operation: OperationName,
    status: int,
    body: dict[str, str],
    code: str,
    next_action: str,
) -> None:
    given = arguments_for(service_named(name), operation)
    async with running(tmp_path) as server:
        server.network.faults = [Fault(reaches=False, then=httpx.Response(status, json=body))]

        reply = await server.call(operation, **given)

    assert (code, next_action, status, name) == (
        reply.error["code"],
        reply.error["next_action"],
        reply.error["http_status"],
        reply.error["service"],
    )
    assert 1 == len(server.posts())
    assert (status == 429) is reply.error["retryable"]


@pytest.mark.parametrize(("name", "operation"), list(offered()))
async def test_after_a_refusal_the_same_order_can_be_given_again(
    tmp_path: Path, name: str, operation: OperationName
) -> None:
    given = arguments_for(service_named(name), operation)
    refusal = httpx.Response(429, headers={"Retry-After": "1800"}, json={"error": "busy"})
    async with running(tmp_path) as server:
        server.network.faults = [Fault(reaches=False, then=refusal)]
        first = await server.call(operation, **given)

        second = await server.call(operation, **given)

    assert 1800 == first.error["retry_after_seconds"]
    assert "reused" not in second.job
    assert 2 == len(server.posts())


@pytest.mark.parametrize("name", [service.name for service in SERVICES])
async def test_no_connection_means_nothing_was_sent(tmp_path: Path, name: str) -> None:
    source = GOOD[name, "video"]
    async with running(tmp_path) as server:
        server.network.faults = [Fault(connects=False)] * 3

        reply = await server.call("upscale_video", source=source)

        assert "unreachable" == reply.error["code"]
        assert "nothing was sent" in reply.text
        assert [] == server.network.faults
        assert [] == server.posts()


@pytest.mark.parametrize(("name", "operation"), list(offered()))
async def test_without_a_token_a_call_says_what_to_set(
    tmp_path: Path, name: str, operation: OperationName
) -> None:
    given = arguments_for(service_named(name), operation)
    async with running(tmp_path, USEAPI_TOKEN="") as server:
        submitted = await server.call(operation, **given)
        read = await server.call("get_job", job_id=JOBS[0])

        assert [] == server.network.sent
    for reply in (submitted, read):
        assert ("wrong_token", "set_token") == (reply.error["code"], reply.error["next_action"])
        assert "USEAPI_TOKEN" in reply.text
        assert "--sandbox" in reply.text


# What a service lacks


@pytest.mark.parametrize(("name", "operation"), list(lacking()))
async def test_what_a_service_can_t_do_is_refused_with_what_it_can(
    tmp_path: Path, name: str, operation: OperationName
) -> None:
    given = arguments_for(service_named(name), operation)
    async with running(tmp_path) as server:
        reply = await server.call(operation, **given)

        assert "unsupported" == reply.error["code"]
        assert [] == server.network.sent
    for able in service_named(name).endpoints:
        assert able in reply.text


LACKING_ARGUMENTS = [
    ("dreamina", "upscale_video", {"resolution": "4K"}),
    ("dreamina", "upscale_video", {"captcha_retry": 3}),
    ("dreamina", "upscale_image", {"captcha_order": "CapSolver"}),
    ("google-flow", "upscale_video", {"max_jobs": 3}),
    ("google-flow", "upscale_image", {"image_index": 0}),
    ("google-flow", "upscale_image", {"detail_strength": 0.5}),
    ("google-flow", "upscale_image", {"original_image_strength": 0.5}),
    ("google-flow", "upscale_image", {"reply_ref": "x"}),
    ("pixverse", "upscale_image", {"image_index": 1}),
    ("pixverse", "upscale_video", {"captcha_token": "x" * 20}),
]


@pytest.mark.parametrize(("name", "operation", "argument"), LACKING_ARGUMENTS)
async def test_an_argument_a_service_does_not_take_is_refused_with_those_it_takes(
    tmp_path: Path, name: str, operation: OperationName, argument: dict[str, Any]
) -> None:
    service = service_named(name)
    async with running(tmp_path) as server:
        reply = await server.call(operation, source=source_for(service, operation), **argument)

        assert [] == server.posts()
    assert "unsupported" == reply.error["code"]
    assert f"takes no {next(iter(argument))}" in reply.text
    for taken in service.endpoints[operation].options:
        assert taken in reply.text


OUT_OF_RANGE = [
    ("pixverse", "upscale_video", {"max_jobs": 9}, "1 to 8"),
    ("google-flow", "upscale_image", {"resolution": "8k"}, "2k or 4k"),
]


@pytest.mark.parametrize(("name", "operation", "argument", "allowed"), OUT_OF_RANGE)
async def test_an_argument_out_of_its_range_is_refused_with_the_range(
    tmp_path: Path, name: str, operation: OperationName, argument: dict[str, Any], allowed: str
) -> None:
    source = source_for(service_named(name), operation)
    async with running(tmp_path) as server:
        reply = await server.call(operation, source=source, **argument)

        assert [] == server.network.sent
    assert "invalid_argument" == reply.error["code"]
    assert allowed in reply.text


@pytest.mark.parametrize("name", ["google-flow", "pixverse"])
async def test_a_service_that_can_t_cancel_says_so(tmp_path: Path, name: str) -> None:
    async with running(tmp_path, job_seconds=60) as server:
        started = await server.call("upscale_video", source=GOOD[name, "video"])
        sent = len(server.network.sent)

        reply = await server.call("cancel_job", job_id=started.job["job_id"])

        asked = {request.method for request in server.network.sent[sent:]}
    assert "unsupported" == reply.error["code"]
    assert {"GET"} == asked


# Defaults from settings


@pytest.mark.parametrize(
    ("name", "operation", "expected"),
    [
        ("dreamina", "upscale_video", {"maxJobs": 20, "replyUrl": "https://h.example.com/x"}),
        (
            "google-flow",
            "upscale_video",
            {"captchaRetry": 4, "replyUrl": "https://h.example.com/x"},
        ),
        ("google-flow", "upscale_image", {"captchaRetry": 4}),
        ("pixverse", "upscale_video", {"replyUrl": "https://h.example.com/x"}),
    ],
)
async def test_a_default_is_dropped_where_it_is_not_taken_or_out_of_range(
    tmp_path: Path, name: str, operation: OperationName, expected: dict[str, Any]
) -> None:
    service = service_named(name)
    endpoint, source = service.endpoints[operation], source_for(service, operation)
    settings: dict[str, Any] = {
        "USEAPI_MAX_JOBS": "20",
        "USEAPI_CAPTCHA_RETRY": "4",
        "USEAPI_REPLY_URL": "https://h.example.com/x",
    }
    async with running(tmp_path, **settings) as server:
        await server.call(operation, source=source)

        body = dict(server.sandbox.accepted[0].body)

    assert {endpoint.source_field: source, **endpoint.fixed, **expected} == asked_for(body)


async def test_a_default_gives_way_to_what_the_caller_gave(tmp_path: Path) -> None:
    source = GOOD["pixverse", "video"]
    async with running(tmp_path, USEAPI_MAX_JOBS="8", USEAPI_REPLY_REF="ours") as server:
        await server.call("upscale_video", source=source, max_jobs=2)

        body = dict(server.sandbox.accepted[0].body)

    assert {"video_id": source, "maxJobs": 2, "replyRef": "ours"} == body


def test_an_option_without_bounds_takes_anything() -> None:
    assert Option("x").fits("anything")


def test_a_price_nobody_documented_is_unknown() -> None:
    endpoint = Endpoint("/x", "id", re.compile("x"), "x", {})

    assert endpoint.price({}) is None


@pytest.mark.parametrize(
    ("name", "index", "takers"),
    [
        ("dreamina", None, ("upscale_image",)),
        ("dreamina", 3, ("upscale_image",)),
        ("dreamina", 4, ()),  # "only a job's first 4 can be upscaled"
        ("google-flow", None, ("upscale_image",)),
        ("google-flow", 1, ()),
    ],
)
def test_what_takes_one_image_of_several_is_told_by_its_index(
    name: str, index: int | None, takers: tuple[str, ...]
) -> None:
    assert takers == service_named(name).takers(GOOD[name, "image"], index)


@pytest.mark.parametrize(
    ("name", "some_id", "owner"),
    [
        ("dreamina", JOBS[0], "CA:user@example.com"),
        ("dreamina", "US:a.b@example.com-image:w1:h1:s1-uri:tos/abc", "US:a.b@example.com"),
        ("dreamina", "a prompt that names US:a@example.com", ""),
        ("google-flow", JOBS[1], "user@example.com"),
        ("google-flow", GOOD["google-flow", "video"], "user@example.com"),
        ("google-flow", "12345678-user:12345-bot:google-flow", ""),
        ("pixverse", JOBS[2], "user@example.com"),
        ("pixverse", 7, ""),
    ],
)
def test_an_id_tells_whose_account_it_is(name: str, some_id: object, owner: str) -> None:
    assert owner == service_named(name).owner_of(some_id)


@pytest.mark.parametrize(
    ("name", "operation", "source", "given", "account"),
    [
        ("dreamina", "upscale_video", GOOD["dreamina", "video"], {}, "ca:user@example.com"),
        ("dreamina", "generate_video", PROMPT, {}, ""),
        ("dreamina", "generate_video", PROMPT, {"account": "US:Me@a.com"}, "us:me@a.com"),
        ("pixverse", "generate_video", PROMPT, {"account": "Me@a.com"}, "me@a.com"),
        ("pixverse", "generate_video", JOBS[2], {}, ""),  # a prompt is no id
        ("google-flow", "upscale_video", GOOD["google-flow", "video"], {}, "user@example.com"),
        (
            "google-flow",
            "generate_video",
            PROMPT,
            {"start_image": GOOD["google-flow", "image"]},
            "user@example.com",
        ),
    ],
)
def test_an_order_runs_on_the_account_that_it_names_or_that_its_ids_belong_to(
    name: str, operation: OperationName, source: str, given: dict[str, Any], account: str
) -> None:
    service = service_named(name)

    order = service.order(operation, source, given, {})

    assert account_hash(account) == service.runs_on(order)
