"""The tools as a client sees them: the published contract, and every call that must be refused."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import EPOCH, GOOD, Harness, asked_for, running

STORED = Path(__file__).parent / "tools.json"
ERAS = ("auto", "legacy")  # 2026-07-28, and the handshake of 2025-11-25 and before
HOOKS: Any = {"USEAPI_REPLY_URL_HOSTS": "hooks.example.com"}

VIDEO = GOOD["dreamina", "video"]
IMAGE = GOOD["dreamina", "image"]
FLOW_VIDEO = GOOD["google-flow", "video"]
FLOW_IMAGE = GOOD["google-flow", "image"]
PIXVERSE = GOOD["pixverse", "video"]
FLOW_JOB = "j1731859234567v-u12345-email:user@example.com-bot:google-flow"

HINTS = {  # read-only, destructive, idempotent, open-world (design, section 2)
    "upscale_video": (False, False, True, True),
    "interpolate_video": (False, False, True, True),
    "upscale_image": (False, False, True, True),
    "generate_video": (False, False, True, True),
    "generate_image": (False, False, True, True),
    "list_media": (True, False, True, True),
    "get_job": (True, False, True, True),
    "list_jobs": (True, False, True, False),
    "download_media": (False, False, True, True),
    "cancel_job": (False, True, True, True),
    "check_accounts": (False, False, True, True),  # with credits it may claim some
}
PAID = ("upscale_video", "interpolate_video", "upscale_image")


async def listing(folder: Path, mode: str = "auto") -> dict[str, Any]:
    async with running(folder, client_options={"mode": mode}) as server:
        result = await server.client.list_tools()
        return result.model_dump(mode="json", by_alias=True, exclude_none=True)


async def tools(folder: Path) -> list[dict[str, Any]]:
    return list((await listing(folder))["tools"])


def compact(data: object) -> bytes:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()


def parts(schema: object) -> Iterator[dict[str, Any]]:
    """A schema and every schema in it."""
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else ():
        yield from parts(inner)


async def test_the_contract_is_the_stored_one(tmp_path: Path) -> None:
    """A changed schema is a decision: UPDATE_SNAPSHOTS=1 makes it."""
    told = json.dumps(await tools(tmp_path), indent=2, ensure_ascii=False) + "\n"

    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        STORED.write_text(told, "utf-8")

    assert STORED.read_text("utf-8") == told


async def test_both_eras_see_the_same_tools(tmp_path: Path) -> None:
    modern = await listing(tmp_path / "modern", "auto")
    legacy = await listing(tmp_path / "legacy", "legacy")

    assert modern["tools"] == legacy["tools"]


async def test_the_tools_and_their_hints_are_those_of_the_design(tmp_path: Path) -> None:
    names = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")

    told = {
        tool["name"]: tuple(tool["annotations"].get(name) for name in names)
        for tool in await tools(tmp_path)
    }

    assert HINTS == told
    assert list(HINTS) == list(told)


async def test_every_tool_and_argument_is_described_in_a_few_words(tmp_path: Path) -> None:
    for tool in await tools(tmp_path):
        assert tool["title"]
        assert 40 <= len(tool["description"]) <= 1000
        assert tool["description"].endswith(".")
        for name, schema in tool["inputSchema"]["properties"].items():
            assert schema.get("description"), f"{tool['name']}({name}) has no description"


async def test_what_a_model_reads_is_short(tmp_path: Path) -> None:
    """Design, section 2: 12,500 bytes for names, descriptions and input schemas."""
    listed = await listing(tmp_path)
    names = ("name", "description", "inputSchema")

    read = [{name: tool[name] for name in names} for tool in listed["tools"]]

    assert len(compact(read)) <= 12_500


# What the function declarations of all model vendors know of JSON schema, and what they mean by it.
KNOWN_TO_ALL = {
    "string": {"type", "description", "default", "enum", "pattern", "minLength", "maxLength"},
    "integer": {"type", "description", "default", "minimum", "maximum"},
    "number": {"type", "description", "default", "minimum", "maximum"},
    "boolean": {"type", "description", "default"},
}


async def test_input_schemas_hold_only_what_every_model_takes(tmp_path: Path) -> None:
    """No reference, choice of schemas, null, nested object, closed object, or enum of numbers."""
    for tool in await tools(tmp_path):
        schema = tool["inputSchema"]
        assert schema["type"] == "object"
        assert {"type", "properties", "required"} >= schema.keys()
        for name, argument in schema["properties"].items():
            assert KNOWN_TO_ALL[argument["type"]] >= argument.keys(), name
            assert all(isinstance(choice, str) for choice in argument.get("enum", ()))
            python = {"string": str, "integer": int, "number": float, "boolean": bool}[
                argument["type"]
            ]
            assert type(argument.get("default", python())) is python


async def published(folder: Path, **settings: Any) -> dict[str, set[str]]:
    async with running(folder, **settings) as server:
        return {
            tool.name: set(tool.input_schema["properties"])
            for tool in (await server.client.list_tools()).tools
        }


CAPTCHA = {"captcha_token", "captcha_retry", "captcha_order"}
COMMON = {"reply_url", "reply_ref", "max_jobs"}


@pytest.mark.parametrize(
    ("setting", "hidden"),
    [
        ("common", COMMON),
        ("captcha", CAPTCHA),
        ("Common, captcha", COMMON | CAPTCHA),
        ("resolution,limit", {"resolution", "limit"}),
    ],
)
async def test_hidden_arguments_are_not_published(
    tmp_path: Path, setting: str, hidden: set[str]
) -> None:
    everything = await published(tmp_path / "all")

    told = await published(tmp_path / "some", USEAPI_HIDE_ARGUMENTS=setting)

    assert {name: names - hidden for name, names in everything.items()} == told
    assert any(names & hidden for names in everything.values())


async def test_a_hidden_argument_is_taken_and_checked_all_the_same(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_HIDE_ARGUMENTS="common,captcha") as server:
        await server.call("upscale_video", source=VIDEO, max_jobs=3)
        refused = await server.call("upscale_video", source=PIXVERSE, max_jobs=51)

        assert {"jobid": VIDEO, "maxJobs": 3} == body(server)
        assert "max_jobs must be a whole number from 1 to 50" in refused.text


@pytest.mark.parametrize("wrong", ["source", "fps", "resolutoin", "\x1b[31m", "common captcha"])
async def test_what_can_not_be_hidden_is_a_wrong_setting(tmp_path: Path, wrong: str) -> None:
    async with running(tmp_path, USEAPI_HIDE_ARGUMENTS=wrong) as server:
        told = await server.call("get_job", job_id=VIDEO)

        assert "wrong_setting" == told.error["code"]
        assert "USEAPI_HIDE_ARGUMENTS can't hide" in told.text
        assert "It takes: common, captcha, " in told.text
        assert [] == server.network.sent


async def test_output_schemas_hold_no_references_either(tmp_path: Path) -> None:
    for tool in await tools(tmp_path):
        for part in parts(tool["outputSchema"]):
            assert not {"$ref", "$defs", "anyOf", "oneOf", "allOf"} & part.keys()
            assert part.get("type") != "null"


def bad(name: str, tool: str, says: str, code: str = "invalid_argument", /, **given: Any) -> Any:
    return pytest.param(tool, given, says, code, id=name)


STRANGE_IDS = {
    "of nobody": "nonsense",
    "with a slash": f"{VIDEO}/x",
    "with a question mark": f"{PIXVERSE}?x",
    "with a hash": f"{FLOW_VIDEO}#x",
    "with an encoded slash": VIDEO.replace("@", "%2F"),
    "with a backslash": VIDEO.replace("user@", "us\\er@"),
    "with a space inside": VIDEO.replace("@", " @"),
    "with a line break inside": VIDEO.replace("@", "\n@"),
    "with dots that climb": FLOW_VIDEO.replace("sample-1", "..sample-1"),
    "with a letter of another script": VIDEO.replace("user@", "usеr@"),
    "with digits of another script": PIXVERSE.replace("66778801", "٦٦٧٧٨٨٠١"),
    "with a zero byte": f"{VIDEO}\0",
}
TOO_LONG = "x" * 9000

REFUSED = [
    *(
        bad(f"{tool} of an id {what}", tool, "nothing was sent", "unknown_id", **{name: some_id})
        for what, some_id in STRANGE_IDS.items()
        for tool, name in (("upscale_video", "source"), ("get_job", "job_id"))
    ),
    bad("a long id", "get_job", "text of 1 to 512 characters", job_id=TOO_LONG),
    bad("a long source", "upscale_video", "text of 1 to 8192 characters", source=TOO_LONG),
    bad("cancel_job of an id of nobody", "cancel_job", "list_jobs", "unknown_id", job_id="x"),
    # The wrong kind of id
    bad(
        "a Google Flow image as a video",
        "upscale_video",
        "takes the mediaGenerationId of a video",
        "unsupported",
        source=FLOW_IMAGE,
    ),
    bad(
        "a Google Flow video as an image",
        "upscale_image",
        "takes the mediaGenerationId of an image",
        "unsupported",
        source=FLOW_VIDEO,
    ),
    bad(
        "a Dreamina image as a video",
        "upscale_video",
        "of a generated video",
        "unsupported",
        source=IMAGE,
    ),
    bad(
        "a Dreamina video as an image",
        "upscale_image",
        "of a video",
        "unsupported",
        source=VIDEO,
    ),
    bad(
        "an upscale of an upscale",
        "upscale_video",
        "of a generated video",
        "unsupported",
        source=VIDEO.replace("v-u", "V-u"),
    ),
    bad("a source as a job", "get_job", "not of a job", source=None, job_id=FLOW_VIDEO),
    # What a service can't do
    bad(
        "interpolation on Google Flow",
        "interpolate_video",
        "It can: upscale_video, upscale_image",
        "unsupported",
        source=FLOW_VIDEO,
        fps=60,
    ),
    bad(
        "a PixVerse video as an image",
        "upscale_image",
        "Call upscale_video for it",
        "unsupported",
        source=PIXVERSE,
    ),
    # An argument that this service does not take
    bad(
        "resolution on Dreamina video",
        "upscale_video",
        "It takes: source, reply_url, reply_ref, max_jobs",
        "unsupported",
        source=VIDEO,
        resolution="4K",
    ),
    bad(
        "1080p by PixVerse's own upscaler",
        "upscale_video",
        "Give model=topaz-proteus",
        "unsupported",
        source=PIXVERSE,
        resolution="1080p",
    ),
    bad(
        "image_index on Google Flow",
        "upscale_image",
        "takes no image_index",
        "unsupported",
        source=FLOW_IMAGE,
        image_index=0,
    ),
    bad(
        "max_jobs on Google Flow",
        "upscale_video",
        "takes no max_jobs",
        "unsupported",
        source=FLOW_VIDEO,
        max_jobs=3,
    ),
    bad(
        "reply_url on a Google Flow image",
        "upscale_image",
        "takes no reply_url",
        "unsupported",
        source=FLOW_IMAGE,
        reply_url="https://hooks.example.com/x",
    ),
    bad(
        "a captcha option on Dreamina",
        "upscale_video",
        "takes no captcha_retry",
        "unsupported",
        source=VIDEO,
        captcha_retry=3,
    ),
    # Out of range
    bad("fps 24", "interpolate_video", "fps on Dreamina must be 30 or 60", source=VIDEO, fps=24),
    bad("fps as a word", "interpolate_video", "fps must be a whole", source=VIDEO, fps="high"),
    bad("no fps", "interpolate_video", "interpolate_video needs fps", source=VIDEO),
    bad("image_index 7", "upscale_image", "from 0 to 3", source=IMAGE, image_index=7),
    bad("image_index -1", "upscale_image", "from 0 to 3", source=IMAGE, image_index=-1),
    bad("image_index 1.5", "upscale_image", "whole number", source=IMAGE, image_index=1.5),
    bad(
        "a strength above 1",
        "upscale_image",
        "original_image_strength must be a number from 0 to 1",
        source=IMAGE,
        original_image_strength=1.01,
    ),
    bad(
        "a strength below 0",
        "upscale_image",
        "detail_strength must be a number from 0 to 1",
        source=IMAGE,
        detail_strength=-0.1,
    ),
    bad("8k on Google Flow", "upscale_image", "2k or 4k", source=FLOW_IMAGE, resolution="8k"),
    bad(
        "a resolution nobody has",
        "upscale_video",
        "resolution on Google Flow must be 720p or 1080p or 4K",
        source=FLOW_VIDEO,
        resolution="1440p",
    ),
    bad("51 jobs", "upscale_video", "from 1 to 50", source=VIDEO, max_jobs=51),
    bad("9 jobs on PixVerse", "upscale_video", "must be 1 to 8", source=PIXVERSE, max_jobs=9),
    bad("a wait below 0", "get_job", "from 0 to 50", job_id=VIDEO, wait_seconds=-1),
    bad("a limit of 0", "list_jobs", "from 1 to 100", limit=0),
    bad("a status nobody has", "list_jobs", "submitting or running", status="asleep"),
    bad(
        "a short captcha token",
        "upscale_video",
        "captcha_token must be text of 20 to 8192 characters",
        source=FLOW_VIDEO,
        captcha_token="x",
    ),
    bad(
        "captcha providers with semicolons",
        "upscale_video",
        "captcha_order must be text that matches",
        source=FLOW_VIDEO,
        captcha_order="CapSolver;2Captcha",
    ),
    bad(
        "two captcha options",
        "upscale_video",
        "captcha_retry and captcha_order can't go together",
        source=FLOW_VIDEO,
        captcha_retry=3,
        captcha_order="CapSolver",
    ),
    # Webhooks
    bad(
        "a reply_url that is not https",
        "upscale_video",
        "must begin with https://",
        source=VIDEO,
        reply_url="http://hooks.example.com/x",
    ),
    bad(
        "a reply_url with a password",
        "upscale_video",
        "must begin with https://",
        source=VIDEO,
        reply_url="https://user:word@hooks.example.com/x",
    ),
    bad(
        "a reply_url to a host that is not allowed",
        "upscale_video",
        "USEAPI_REPLY_URL_HOSTS",
        source=VIDEO,
        reply_url="https://hooks.example.com.evil.example/x",
    ),
    bad(
        "a reply_url over 1,024 characters",
        "upscale_video",
        "reply_url must be text of 1 to 1024 characters",
        source=VIDEO,
        reply_url=f"https://hooks.example.com/{'x' * 1000}",
    ),
    bad(
        "a reply_ref over 1,024 characters",
        "upscale_video",
        "reply_ref must be text of 1 to 1024 characters",
        source=VIDEO,
        reply_ref="x" * 1025,
    ),
    # Names and types
    bad(
        "a misspelt name",
        "upscale_video",
        "has no argument resolutoin, so nothing was done. It takes: source, resolution,",
        source=FLOW_VIDEO,
        resolutoin="4K",
    ),
    bad("the name of a resolver", "upscale_video", "no argument plan", source=VIDEO, plan="x"),
    bad("no source", "upscale_video", "upscale_video needs source"),
    bad("a source of null", "upscale_video", "needs source", source=None),
    bad("an empty source", "upscale_video", "needs source", source=""),
    bad("a source that is a number", "upscale_video", "no id", "unknown_id", source=7),
    bad("two sources", "upscale_video", "one call for each id", source=[VIDEO, PIXVERSE]),
    bad("no source in a list", "upscale_video", "one call for each id", source=[]),
    bad("a source that is an object", "upscale_video", "must be text", source={"id": VIDEO}),
    bad("a reference that is a list", "upscale_video", "be text", source=VIDEO, reply_ref=["a"]),
    bad("true for a number", "upscale_video", "whole number", source=VIDEO, max_jobs=True),
    bad("true for a strength", "upscale_image", "a number", source=IMAGE, detail_strength=True),
    bad("false for an index", "upscale_image", "whole number", source=IMAGE, image_index=False),
    bad("a word for a number", "upscale_video", "whole number", source=VIDEO, max_jobs="many"),
    bad("a list for a choice", "upscale_video", "720p", source=FLOW_VIDEO, resolution=["4K"]),
]


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize(("tool", "given", "says", "code"), REFUSED)
async def test_a_wrong_call_is_told_what_to_do_and_sends_nothing(
    tmp_path: Path, mode: str, tool: str, given: dict[str, Any], says: str, code: str
) -> None:
    async with running(tmp_path, client_options={"mode": mode}, **HOOKS) as server:
        reply = await server.call(tool, **given)

        said, facts = reply.text.split("\n")
        assert reply.is_error
        assert reply.data is None
        assert says in said
        assert said.endswith(".")
        assert len(said) < 700
        told = json.loads(facts)
        assert (code, False) == (told["code"], told["retryable"])
        assert told["next_action"] == "fix_arguments" or code == "unknown_id"
        is_read = "resolution" in given  # is the source a draft? Reading it is free
        assert [] == (server.posts() if is_read else server.network.sent)


@pytest.mark.parametrize("mode", ERAS)
async def test_without_a_token_a_call_says_what_to_set(tmp_path: Path, mode: str) -> None:
    options = {"mode": mode}
    async with running(tmp_path, client_options=options, USEAPI_TOKEN="") as server:
        replies = [
            await server.call("upscale_video", source=VIDEO),
            await server.call("interpolate_video", source=VIDEO, fps=60),
            await server.call("upscale_image", source=IMAGE),
            await server.call("get_job", job_id=VIDEO),
            await server.call("get_job", job_id=VIDEO, wait_seconds=20),
            await server.call("download_media", job_id=VIDEO),
            await server.call("cancel_job", job_id=VIDEO),
        ]

        for reply in replies:
            assert "USEAPI_TOKEN" in reply.text
            assert "--sandbox" in reply.text
            assert {"code": "wrong_token", "retryable": False, "next_action": "set_token"} == (
                reply.error
            )
        assert [] == server.network.sent
        assert {"jobs": []} == (await server.call("list_jobs")).job


def body(server: Harness) -> dict[str, Any]:
    (request,) = server.posts()
    return asked_for(json.loads(request.content))


@pytest.mark.parametrize("mode", ERAS)
async def test_null_and_nothing_are_not_given(tmp_path: Path, mode: str) -> None:
    async with running(tmp_path, client_options={"mode": mode}) as server:
        reply = await server.call(
            "upscale_video", source=VIDEO, resolution=None, reply_ref="", max_jobs=None
        )

        assert reply.job["status"] == "running"
        assert {"jobid": VIDEO} == body(server)


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("ref", ['{"a": 1}', "[1]", "3", "true", "null"])
async def test_a_reference_that_looks_like_json_stays_as_it_is(
    tmp_path: Path, mode: str, ref: str
) -> None:
    async with running(tmp_path, client_options={"mode": mode}) as server:
        await server.call("upscale_video", source=VIDEO, reply_ref=ref)

        assert {"jobid": VIDEO, "replyRef": ref} == body(server)


@pytest.mark.parametrize("mode", ERAS)
async def test_numbers_and_sizes_are_understood_as_models_write_them(
    tmp_path: Path, mode: str
) -> None:
    async with running(tmp_path, client_options={"mode": mode}) as server:
        await server.call("interpolate_video", source=VIDEO, fps="60", max_jobs="3")
        await server.call("upscale_video", source=FLOW_VIDEO, resolution="4k")
        await server.call("upscale_image", source=IMAGE, resolution="8K", detail_strength="0.7")

        first, second, third = (asked_for(json.loads(sent.content)) for sent in server.posts())
        assert {"jobid": VIDEO, "fps": 60, "maxJobs": 3} == first
        assert {"mediaGenerationId": FLOW_VIDEO, "async": True, "resolution": "4K"} == second
        assert {"jobid": IMAGE, "upscaleResolution": "8k", "detailStrength": 0.7} == third


async def test_a_default_from_the_settings_is_dropped_where_it_does_not_fit(
    tmp_path: Path,
) -> None:
    settings: Any = {"USEAPI_MAX_JOBS": "20", "USEAPI_CAPTCHA_RETRY": "7", "USEAPI_REPLY_REF": "r"}
    async with running(tmp_path, **settings) as server:
        await server.call("upscale_video", source=VIDEO)
        await server.call("upscale_video", source=PIXVERSE)
        await server.call("upscale_video", source=FLOW_VIDEO, captcha_order="CapSolver")
        await server.call("upscale_image", source=FLOW_IMAGE)

        sent = [json.loads(request.content) for request in server.posts()]
        flow = {"mediaGenerationId": FLOW_VIDEO, "async": True}
        assert [
            {"jobid": VIDEO, "replyRef": "r", "maxJobs": 20},
            {"video_id": PIXVERSE, "replyRef": "r"},
            flow | {"replyRef": "r", "captchaOrder": "CapSolver"},
            {"mediaGenerationId": FLOW_IMAGE, "captchaRetry": 7},
        ] == sent


async def test_a_webhook_on_an_allowed_host_is_passed_on(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_REPLY_URL="https://hooks.example.com/mine") as server:
        await server.call(
            "upscale_video", source=VIDEO, reply_url="https://hooks.example.com/yours"
        )

        assert {"jobid": VIDEO, "replyUrl": "https://hooks.example.com/yours"} == body(server)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_paid_tool_returns_at_once_and_get_job_waits(tmp_path: Path, mode: str) -> None:
    async with running(tmp_path, job_seconds=20, client_options={"mode": mode}) as server:
        job = (await server.call("upscale_video", source=VIDEO)).job
        submitted_s = server.clock.now() - EPOCH
        seen: list[float] = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            seen.append(done)

        done = await server.call(
            "get_job", job_id=job["job_id"], wait_seconds=50, progress_callback=progress
        )

        assert submitted_s < 1
        assert job["poll_after_seconds"] >= 1
        assert done.job["status"] == "completed"
        assert seen
        assert max(b - a for a, b in zip([0, *seen], seen, strict=False)) <= 10


async def test_the_same_call_again_does_not_pay_again(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        for tool, given in (
            ("upscale_video", {"source": VIDEO}),
            ("interpolate_video", {"source": VIDEO, "fps": 30}),
            ("upscale_image", {"source": IMAGE, "resolution": "4k"}),
        ):
            first, again = await server.call(tool, **given), await server.call(tool, **given)

            assert again.job["job_id"] == first.job["job_id"]
            assert again.job["reused"]
        assert len(server.posts()) == 3


async def test_a_number_is_the_same_wish_however_it_is_written(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        jobs = [
            (await server.call("upscale_image", source=IMAGE, detail_strength=zero)).job["job_id"]
            for zero in (0, 0.0, -0.0, "0")
        ]

        assert len(server.posts()) == 1
    assert len(set(jobs)) == 1


@pytest.mark.parametrize(
    ("tool", "given"),
    [
        ("upscale_video", {"source": VIDEO}),
        ("upscale_video", {"source": PIXVERSE}),
        ("generate_video", {"prompt": "x", "service": "pixverse", "account": "user@example.com"}),
    ],
)
async def test_the_same_call_again_reads_its_job_once(
    tmp_path: Path, tool: str, given: dict[str, Any]
) -> None:
    async with running(tmp_path) as server:
        job_id = (await server.call(tool, **given)).job["job_id"]
        sent = len(server.network.sent)
        await server.call(tool, **given)

        read = [str(request.url.path) for request in server.network.sent[sent:]]
    assert sum(job_id in path for path in read) == 1


async def test_list_jobs_lists_the_newest_first_and_asks_nobody(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=1000) as server:
        first = (await server.call("upscale_video", source=VIDEO)).job
        second = (await server.call("upscale_video", source=PIXVERSE)).job
        sent = len(server.network.sent)

        listed = (await server.call("list_jobs")).job["jobs"]
        one = (await server.call("list_jobs", limit=1)).job["jobs"]
        completed = (await server.call("list_jobs", status="completed")).job["jobs"]

        assert [second["job_id"], first["job_id"]] == [job["job_id"] for job in listed]
        assert listed[:1] == one
        assert [] == completed
        assert sent == len(server.network.sent)
