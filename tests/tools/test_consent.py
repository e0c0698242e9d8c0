"""Consent: what a call may cost is agreed to first, by its cap or by the user's own answer."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession
from mcp.client.context import ClientRequestContext
from mcp.types import (
    METHOD_NOT_FOUND,
    ClientCapabilities,
    ElicitationCapability,
    ElicitRequestParams,
    ElicitResult,
    ErrorData,
    ListRootsResult,
)

from mcp_server.sandbox import dreamina as dreamina_jobs
from tests.support.harness import GOOD, Fault, Harness, Opened, Reply, reply, running

VIDEO = GOOD["dreamina", "video"]
FLOW_VIDEO = GOOD["google-flow", "video"]
IMAGE = GOOD["dreamina", "image"]
PIXVERSE = GOOD["pixverse", "video"]

ERAS = pytest.mark.parametrize("mode", ["legacy", "auto"])
ASKS: dict[str, Any] = {"USEAPI_CONFIRM_CREDITS": ""}  # its default
INTERPOLATE: dict[str, Any] = {"source": VIDEO, "fps": 60}  # 66 credits
FLOW_4K: dict[str, Any] = {"source": FLOW_VIDEO, "resolution": "4K"}  # 50
COSTS_50 = "it costs about 50 credits. Go on?"
COST_IS_NOT_KNOWN = (
    "Dreamina documents no price for it, so its cost is not known beforehand. Go on?"
)
STRENGTHS = "resolution 4k, image_index 0, original_image_strength 0.65, detail_strength 0.5"
THEN_ASK_THE_USER = "ask_user_then_set_max_credits"


Answer = ElicitResult | ErrorData


class User:
    """Answers every question the same way, and remembers them."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[str] = []
        self._answer = answer

    async def __call__(self, context: ClientRequestContext, asked: ElicitRequestParams) -> Answer:
        self.asked.append(asked.message)
        return self._answer

    def on(self, mode: str) -> dict[str, Any]:
        return {"mode": mode, "elicitation_callback": self}


def willing() -> User:
    return User(ElicitResult(action="accept", content={"confirm": True}))


async def nothing_was_sent(h: Harness) -> bool:
    listed = (await h.call("list_jobs")).job["jobs"]
    return not listed and not h.network.sent


@ERAS
@pytest.mark.parametrize(
    ("tool", "arguments", "question"),
    [
        (
            "interpolate_video",
            INTERPOLATE,
            f"Dreamina, interpolate video (fps 60), of {VIDEO}: it costs about 66 credits. Go on?",
        ),
        (
            "upscale_video",
            FLOW_4K,
            f"Google Flow, upscale video (resolution 4K), of {FLOW_VIDEO}: {COSTS_50}",
        ),
        (
            "upscale_image",
            {"source": IMAGE},
            f"Dreamina, upscale image ({STRENGTHS}), of {IMAGE}: {COST_IS_NOT_KNOWN}",
        ),
    ],
)
async def test_a_user_who_agrees_to_the_price_gets_the_job(
    tmp_path: Path, mode: str, tool: str, arguments: dict[str, Any], question: str
) -> None:
    user = willing()
    async with running(tmp_path, client_options=user.on(mode), **ASKS) as h:
        reply = await h.call(tool, **arguments)

        assert [question] == user.asked
        assert "running" == reply.job["status"]
        assert 1 == len(h.posts())


@ERAS
@pytest.mark.parametrize(
    "answer",
    [
        ElicitResult(action="decline"),
        ElicitResult(action="accept", content={"confirm": False}),
    ],
    ids=["declined", "unticked"],
)
async def test_a_user_who_does_not_agree_pays_nothing(
    tmp_path: Path, mode: str, answer: ElicitResult
) -> None:
    user = User(answer)
    async with running(tmp_path, client_options=user.on(mode), **ASKS) as h:
        reply = await h.call("interpolate_video", **INTERPOLATE)

        assert 1 == len(user.asked)
        assert "declined" == reply.error["code"]
        assert await nothing_was_sent(h)


def is_refused_with_its_price(reply: Reply) -> bool:
    facts = ("code", "price", "retryable", "next_action")
    assert {"code": "price", "price": 66, "retryable": False, "next_action": THEN_ASK_THE_USER} == {
        name: reply.error[name] for name in facts
    }
    return "66 credits" in reply.text and "max_credits=66" in reply.text


NO_ANSWERS: dict[str, Answer] = {
    "cancel": ElicitResult(action="cancel"),
    "no content": ElicitResult(action="accept"),
    "empty content": ElicitResult(action="accept", content={}),
    "another content": ElicitResult(action="accept", content={"confirm": "perhaps"}),
}
# In 2026 the protocol itself refuses these: they are in the request.
BROKEN_ANSWERS: dict[str, Answer] = {
    "unknown action": ElicitResult.model_construct(action="later"),
    "{}": ElicitResult.model_construct(),
    "-32601": ErrorData(code=METHOD_NOT_FOUND, message="Method not found"),
}


@pytest.mark.parametrize(
    ("mode", "answer"),
    [
        *(("legacy", name) for name in NO_ANSWERS | BROKEN_ANSWERS),
        *(("auto", name) for name in NO_ANSWERS),
    ],
)
async def test_an_answer_that_is_none_is_a_refusal_with_the_price(
    tmp_path: Path, mode: str, answer: str
) -> None:
    user = User((NO_ANSWERS | BROKEN_ANSWERS)[answer])
    async with running(tmp_path, client_options=user.on(mode), **ASKS) as h:
        reply = await h.call("interpolate_video", **INTERPOLATE)

        assert 1 == len(user.asked)
        assert is_refused_with_its_price(reply)
        assert await nothing_was_sent(h)


async def test_an_answer_to_another_question_is_a_refusal_with_the_price(tmp_path: Path) -> None:
    async with running(tmp_path, client_options=willing().on("auto"), **ASKS) as h:
        asked: Any = await h.client.session.call_tool(
            "interpolate_video", INTERPOLATE, allow_input_required=True
        )
        [name] = asked.input_requests
        answered = await h.client.session.call_tool(
            "interpolate_video",
            INTERPOLATE,
            input_responses={name: ListRootsResult(roots=[])},
            request_state=asked.request_state,
        )

        assert is_refused_with_its_price(reply(answered))
        assert await nothing_was_sent(h)


async def test_a_question_that_nobody_answers_ends_after_a_minute(tmp_path: Path) -> None:
    async def never(context: ClientRequestContext, asked: ElicitRequestParams) -> ElicitResult:
        await asyncio.sleep(3600)
        raise AssertionError

    options = {"mode": "legacy", "elicitation_callback": never}
    async with running(tmp_path, client_options=options, **ASKS) as h:
        began = h.clock.now()
        reply = await h.call("interpolate_video", **INTERPOLATE)

        assert 60 == pytest.approx(h.clock.now() - began, abs=1)
        assert is_refused_with_its_price(reply)
        assert await nothing_was_sent(h)


@ERAS
async def test_a_client_that_can_not_ask_is_told_the_price(tmp_path: Path, mode: str) -> None:
    async with running(tmp_path, client_options={"mode": mode}, **ASKS) as h:
        reply = await h.call("interpolate_video", **INTERPOLATE)

        assert is_refused_with_its_price(reply)
        assert await nothing_was_sent(h)


@ERAS
@pytest.mark.parametrize(
    ("modes", "is_asked"),
    [({}, True), ({"form": {}}, True), ({"form": {}, "url": {}}, True), ({"url": {}}, False)],
)
async def test_a_client_that_only_opens_links_is_told_the_price_and_any_other_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, modes: Any, is_asked: bool
) -> None:
    """One that names no mode means forms; the SDK's own always names both."""
    able = ClientCapabilities(elicitation=ElicitationCapability.model_validate(modes))
    monkeypatch.setattr(ClientSession, "_build_capabilities", lambda *_: able)
    user = willing()
    async with running(tmp_path, client_options=user.on(mode), **ASKS) as h:
        reply = await h.call("interpolate_video", **INTERPOLATE)

        assert is_asked == (len(user.asked) == 1) == (len(h.posts()) == 1)
        assert is_asked or is_refused_with_its_price(reply)


@ERAS
async def test_the_call_that_a_refusal_names_gets_the_job(tmp_path: Path, mode: str) -> None:
    async with running(tmp_path, client_options={"mode": mode}, **ASKS) as h:
        refused = await h.call("interpolate_video", **INTERPOLATE)
        done = await h.call("interpolate_video", **INTERPOLATE, max_credits=refused.error["price"])

        assert "running" == done.job["status"]
        assert 1 == len(h.posts())


@ERAS
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("upscale_video", {"source": FLOW_VIDEO}),  # free
        ("upscale_video", {"source": VIDEO}),  # 30, below the limit
        ("upscale_image", {"source": GOOD["google-flow", "image"]}),
    ],
)
async def test_nobody_is_asked_about_a_price_that_is_small(
    tmp_path: Path, mode: str, tool: str, arguments: dict[str, Any]
) -> None:
    user = willing()
    async with running(tmp_path, client_options=user.on(mode), **ASKS) as h:
        reply = await h.call(tool, **arguments)

        assert reply.job["status"] in ("running", "completed")
        assert [] == user.asked


@ERAS
async def test_the_limit_is_the_operators(tmp_path: Path, mode: str) -> None:
    user = willing()
    options = user.on(mode)
    async with running(tmp_path, client_options=options, USEAPI_CONFIRM_CREDITS="30") as h:
        await h.call("upscale_video", source=VIDEO)
    async with running(tmp_path, client_options=options, USEAPI_CONFIRM_CREDITS="67") as h:
        await h.call("interpolate_video", **INTERPOLATE)
        await h.call("upscale_image", source=IMAGE)

    assert 1 == len(user.asked)
    assert user.asked[0].startswith(f"Dreamina, upscale video (twice its size), of {VIDEO}: ")
    assert 2 == len(h.posts())


@ERAS
async def test_nobody_is_asked_about_a_call_that_was_made_before(tmp_path: Path, mode: str) -> None:
    user = willing()
    async with running(tmp_path, client_options=user.on(mode), **ASKS) as h:
        await h.call("interpolate_video", **INTERPOLATE)
        again = await h.call("interpolate_video", **INTERPOLATE)
    async with running(
        tmp_path, sandbox=h.sandbox, network=h.network, client_options=user.on(mode), **ASKS
    ) as h:
        after_a_restart = await h.call("interpolate_video", **INTERPOLATE)

    assert again.job["reused"] is True
    assert after_a_restart.job["reused"] is True
    assert 1 == len(user.asked)


@ERAS
async def test_nobody_is_asked_about_a_call_that_is_in_flight(tmp_path: Path, mode: str) -> None:
    user = willing()
    async with running(tmp_path, client_options=user.on(mode), **ASKS) as h:
        h.network.faults = [Fault(after_s=30)]
        first = asyncio.create_task(h.call("interpolate_video", **INTERPOLATE))
        await asyncio.sleep(1)
        second = await h.call("interpolate_video", **INTERPOLATE)

        assert (await first).job["job_id"] == second.job["job_id"]
        assert 1 == len(user.asked)
        assert 1 == len(h.posts())


def spoil_the_journal(folder: Path) -> None:
    (folder / "state").write_text("no folder", encoding="utf-8")


def nothing(folder: Path) -> None: ...


@ERAS
@pytest.mark.parametrize(
    ("arguments", "environment", "prepare", "code"),
    [
        ({"source": VIDEO, "fps": 25}, {}, nothing, "invalid_argument"),
        ({"source": VIDEO, "fps": 60, "max_job": 3}, {}, nothing, "invalid_argument"),
        ({"source": PIXVERSE, "fps": 60}, {}, nothing, "unsupported"),
        ({"source": "no such id", "fps": 60}, {}, nothing, "unknown_id"),
        (INTERPOLATE, {"USEAPI_TOKEN": ""}, nothing, "wrong_token"),
        (INTERPOLATE, {"USEAPI_MAX_CREDITS_PER_DAY": "65"}, nothing, "budget_spent"),
        (INTERPOLATE, {}, spoil_the_journal, "journal_unusable"),
        (INTERPOLATE | {"max_credits": 65.9}, {}, nothing, "price"),
    ],
)
async def test_nobody_is_asked_about_a_call_that_is_refused(
    tmp_path: Path,
    mode: str,
    arguments: dict[str, Any],
    environment: dict[str, Any],
    prepare: Callable[[Path], None],
    code: str,
) -> None:
    prepare(tmp_path)
    user = willing()
    async with running(tmp_path, client_options=user.on(mode), **ASKS, **environment) as h:
        reply = await h.call("interpolate_video", **arguments)

        assert code == reply.error["code"]
        assert [] == user.asked
        assert [] == h.network.sent


@ERAS
async def test_a_job_that_failed_costs_again_so_the_user_is_asked_again(
    tmp_path: Path, mode: str
) -> None:
    user = willing()
    async with running(tmp_path, client_options=user.on(mode), **ASKS) as h:
        moderated: dict[str, Any] = {"source": dreamina_jobs.MODERATED_VIDEO, "fps": 60}
        first = await h.call("interpolate_video", **moderated)
        failed = await h.call("get_job", job_id=first.job["job_id"], wait_seconds=50)
        await h.call("interpolate_video", **moderated)

        assert "failed" == failed.job["status"]
        assert 2 == len(user.asked) == len(h.posts())


# What the caller's own cap does


@ERAS
@pytest.mark.parametrize("max_credits", [66, 66.0, "66", 500])
async def test_a_price_within_the_cap_needs_no_question(
    tmp_path: Path, mode: str, max_credits: Any
) -> None:
    user = willing()
    async with running(tmp_path, client_options=user.on(mode), **ASKS) as h:
        reply = await h.call("interpolate_video", **INTERPOLATE, max_credits=max_credits)

        assert "running" == reply.job["status"]
        assert [] == user.asked


@pytest.mark.parametrize(
    ("tool", "arguments", "price"),
    [
        ("interpolate_video", INTERPOLATE, 66),
        ("upscale_video", {"source": VIDEO}, 30),  # below the limit, but above the caller's
        ("upscale_video", FLOW_4K, 50),
    ],
)
async def test_a_cap_of_0_asks_for_the_price_and_pays_nothing(
    tmp_path: Path, tool: str, arguments: dict[str, Any], price: float
) -> None:
    async with running(tmp_path) as h:
        reply = await h.call(tool, **arguments, max_credits=0)

        assert ("price", price) == (reply.error["code"], reply.error["price"])
        assert f"max_credits={price}" in reply.text
        assert await nothing_was_sent(h)


async def test_a_cap_of_0_says_of_an_unknown_price_that_it_is_not_known(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        reply = await h.call("upscale_image", source=IMAGE, max_credits=0)

        assert "price" == reply.error["code"]
        assert "price" not in reply.error
        assert "not known" in reply.text
        assert await nothing_was_sent(h)


@pytest.mark.parametrize("cap", [0.5, 1, 10])
async def test_a_cap_lets_an_unknown_price_through_with_a_note(tmp_path: Path, cap: float) -> None:
    async with running(tmp_path, **ASKS) as h:
        refused = await h.call("upscale_image", source=IMAGE)
        done = await h.call("upscale_image", source=IMAGE, max_credits=cap)
        again = await h.call("upscale_image", source=IMAGE, max_credits=cap)

        assert ("price", None) == (refused.error["code"], refused.error.get("price"))
        assert "running" == done.job["status"]
        assert "max_credits could not be checked" in done.text
        assert "could not be checked" not in again.text
        assert 1 == len(h.posts())


async def test_without_a_cap_nothing_is_said_of_one(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        done = await h.call("upscale_image", source=IMAGE)

        assert "running" == done.job["status"]
        assert "max_credits" not in done.text


@ERAS
async def test_nobody_is_asked_about_what_is_free_even_where_every_price_is_asked_about(
    tmp_path: Path, mode: str
) -> None:
    user = willing()
    options = user.on(mode)
    async with running(tmp_path, client_options=options, USEAPI_CONFIRM_CREDITS="0") as h:
        free = await h.call("upscale_video", source=FLOW_VIDEO, resolution="1080p")
        nobody_yet = list(user.asked)
        await h.call("upscale_video", source=VIDEO)

    assert "running" == free.job["status"]
    assert [] == nobody_yet
    assert 1 == len(user.asked)


async def test_what_is_documented_as_free_is_done_at_a_cap_of_0(tmp_path: Path) -> None:
    async with running(tmp_path, **ASKS) as h:
        video = await h.call("upscale_video", source=FLOW_VIDEO, max_credits=0)
        image = await h.call("upscale_image", source=GOOD["google-flow", "image"], max_credits=0)

        assert ["running", "running"] == [video.job["status"], image.job["status"]]


async def test_a_cap_makes_no_other_job_of_the_same_call(tmp_path: Path) -> None:
    async with running(tmp_path, **ASKS) as h:
        first = await h.call("interpolate_video", **INTERPOLATE, max_credits=70)
        others = [
            await h.call("interpolate_video", **INTERPOLATE, **cap)
            for cap in ({}, {"max_credits": 0}, {"max_credits": 1000})
        ]

        assert {first.job["job_id"]} == {other.job["job_id"] for other in others}
        assert 1 == len(h.posts())


@pytest.mark.parametrize(
    "max_credits", [-1, "-1", "1,000", "1e3", "66 credits", "inf", "nan", True, [66], {"max": 66}]
)
async def test_a_cap_that_could_be_misread_is_refused(tmp_path: Path, max_credits: Any) -> None:
    async with running(tmp_path) as h:
        reply = await h.call("interpolate_video", **INTERPOLATE, max_credits=max_credits)

        assert "invalid_argument" == reply.error["code"]
        assert "max_credits must be a number" in reply.text
        assert await nothing_was_sent(h)


async def test_a_cap_counts_for_the_job_after_one_that_failed_unseen(tmp_path: Path) -> None:
    """The first call's job stands as far as is known, so its price was not asked for again."""
    source = PIXVERSE.replace("66778801", "66778807")  # ends as moderated
    async with running(tmp_path, **ASKS) as server:
        await server.call("upscale_video", source=source, max_credits=500)
        await asyncio.sleep(60)
        refused = await server.call("upscale_video", source=source, max_credits=1)
        price = refused.error["price"]
        again = await server.call("upscale_video", source=source, max_credits=price)

        assert 2 == len(server.sandbox.accepted)
    assert "price" == refused.error["code"]
    assert "reused" not in again.job


async def test_a_vendor_that_does_not_answer_keeps_nobody_from_the_job_there_is(
    tmp_path: Path,
) -> None:
    """Whether it still stands is read before anybody is asked, for ten seconds at most."""
    async with running(tmp_path, **ASKS) as h:
        first = await h.call("upscale_video", **FLOW_4K, max_credits=50)
        h.network.concerns = lambda request: request.method == "GET"
        h.network.faults = [Fault(after_s=1000)] * 9
        began_s = asyncio.get_running_loop().time()
        again = await h.call("upscale_video", **FLOW_4K)

        assert asyncio.get_running_loop().time() - began_s < 50.1
        assert 1 == len(h.posts())
    assert first.job["job_id"] == again.job["job_id"]


async def test_a_call_that_asks_is_counted_apart_from_the_one_that_submits(tmp_path: Path) -> None:
    """In the newer protocol a question ends the call, and its answer comes with another one."""
    opened, options = Opened(), willing().on("auto")
    async with running(tmp_path, client_options=options, while_open=opened, **ASKS) as h:
        await h.call("upscale_video", **FLOW_4K)

    counted = {labels: sum(each.counts) for labels, each in opened.app.metrics.calls.items()}
    assert {("upscale_video", "asked"): 1, ("upscale_video", "ok"): 1} == counted
    assert 1 == opened.app.metrics.requests["paid", "google-flow", "answered"]
