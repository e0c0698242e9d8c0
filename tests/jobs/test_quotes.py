"""Prices that the vendor tells: asked for once, written down first, never taken for an order."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.types import ElicitResult

from mcp_server.sandbox.app import Conditions, Sandbox
from mcp_server.sandbox.pixverse import ORDERING_VIDEO, SILENT_VIDEO
from tests.support.harness import GOOD, Fault, Harness, Opened, VirtualClock, running
from tests.support.processes import Kernel

VIDEO, IMAGE = GOOD["pixverse", "video"], GOOD["pixverse", "image"]
ASKS_FROM_1: dict[str, Any] = {"USEAPI_CONFIRM_CREDITS": "1"}
PRICE = 12  # of two seconds by the default upscaler
FULL = {"error": "All Credits have been used up."}


def bodies(h: Harness) -> list[dict[str, Any]]:
    return [json.loads(request.content) for request in h.posts()]


def quotes(h: Harness) -> list[dict[str, Any]]:
    return [body for body in bodies(h) if body.get("quote")]


def orders(h: Harness) -> list[dict[str, Any]]:
    return [body for body in bodies(h) if not body.get("quote")]


async def test_the_price_is_told_and_nothing_is_paid_above_the_cap(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        refused = await h.call("upscale_video", source=VIDEO, max_credits=1, reply_ref="mine")
        listed = (await h.call("list_jobs")).job["jobs"]

        assert ("price", PRICE) == (refused.error["code"], refused.error["price"])
        assert "max_credits=12" in refused.text
        assert [{"video_id": VIDEO, "quote": True}] == bodies(h)
        assert [] == listed
        assert [] == h.sandbox.accepted


async def test_within_the_cap_it_is_asked_for_once_and_then_ordered(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        await h.call("upscale_video", source=VIDEO, max_credits=1)
        done = await h.call("upscale_video", source=VIDEO, max_credits=PRICE)
        again = await h.call("upscale_video", source=VIDEO, max_credits=1)

        assert done.job["job_id"] == again.job["job_id"]
        assert (1, 1) == (len(quotes(h)), len(orders(h)))
        assert "could not be checked" not in done.text


async def test_a_question_for_a_price_is_counted_apart(tmp_path: Path) -> None:
    opened = Opened()
    async with running(tmp_path, while_open=opened) as h:
        await h.call("upscale_video", source=VIDEO, max_credits=PRICE)

    counted = opened.app.metrics.requests
    assert 1 == counted["quote", "pixverse", "answered"] == counted["paid", "pixverse", "answered"]


async def test_after_ten_minutes_it_is_asked_for_anew(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        for waits_s in (0, 590, 20):
            await asyncio.sleep(waits_s)
            await h.call("upscale_video", source=VIDEO, max_credits=1)

        assert 2 == len(quotes(h))


async def test_a_price_is_that_of_one_order(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        prices = [
            (await h.call(tool, max_credits=1, **given)).error["price"]
            for tool, given in (
                ("upscale_video", {"source": VIDEO}),
                ("upscale_video", {"source": VIDEO, "model": "topaz-starlight-precise"}),
                (
                    "upscale_video",
                    {"source": VIDEO, "model": "topaz-proteus", "resolution": "1080p"},
                ),
                ("upscale_image", {"source": IMAGE}),
                (
                    "upscale_image",
                    {"source": IMAGE, "model": "topaz-gigapixel", "resolution": "2k"},
                ),
            )
        ]

    assert [12, 48, 8, 10, 12] == prices


async def test_where_nobody_needs_the_price_it_is_not_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path) as h:  # a server that asks nobody
        await h.call("upscale_video", source=VIDEO)

        assert [] == quotes(h)


async def test_the_budget_needs_it(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_MAX_CREDITS_PER_DAY="20") as h:
        first = await h.call("upscale_video", source=VIDEO)
        second = await h.call("upscale_video", source=VIDEO, model="topaz-proteus")

        assert "running" == first.job["status"]
        assert "budget_spent" == second.error["code"]
        assert "12 are spent" in second.text
        assert (2, 1) == (len(quotes(h)), len(orders(h)))


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_user_is_asked_with_the_vendors_price(tmp_path: Path, mode: str) -> None:
    asked: list[str] = []

    async def answer(_: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"confirm": True})

    options = {"mode": mode, "elicitation_callback": answer}
    async with running(tmp_path, client_options=options, **ASKS_FROM_1) as h:
        reply = await h.call("upscale_video", source=VIDEO)

        assert "running" == reply.job["status"]
        assert (1, 1) == (len(quotes(h)), len(orders(h)))
    (question,) = asked
    assert "it costs about 12 credits. Go on?" in question


@pytest.mark.parametrize(
    "fault",
    [Fault(then="cut"), Fault(then=httpx.Response(502, text="<html>")), Fault(after_s=100)],
    ids=["cut", "a gateway's page", "slow"],
)
async def test_a_price_that_cant_be_had_is_no_unknown_price(tmp_path: Path, fault: Fault) -> None:
    async with running(tmp_path) as h:
        h.network.faults = [fault]
        refused = await h.call("upscale_video", source=VIDEO, max_credits=1000)
        assert 1 == len(bodies(h))
        await asyncio.sleep(100)
        after = await h.call("upscale_video", source=VIDEO, max_credits=1000)

        assert ("price_not_told", True) == (refused.error["code"], refused.error["retryable"])
        assert "running" == after.job["status"]
        assert 1 == len(orders(h))


async def test_the_source_that_is_silent_is_asked_once_a_call(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        refused = await h.call("upscale_video", source=SILENT_VIDEO, max_credits=1000)

        assert "price_not_told" == refused.error["code"]
        assert (1, 0) == (len(quotes(h)), len(orders(h)))


async def test_a_job_in_place_of_a_price_is_the_orders(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        reply = await h.call("upscale_video", source=ORDERING_VIDEO, max_credits=1000)
        again = await h.call("upscale_video", source=ORDERING_VIDEO, max_credits=0)
        done = await h.call("get_job", job_id=reply.job["job_id"], wait_seconds=50)

        assert reply.job["job_id"] == again.job["job_id"] == h.sandbox.accepted[0].job_id
        assert "completed" == done.job["status"]
        assert 1 == len(bodies(h)) == len(h.sandbox.accepted)


async def test_several_images_in_place_of_a_price_are_one_job_of_an_id_of_ours(
    tmp_path: Path,
) -> None:
    images = [IMAGE.rsplit(":", 1)[0] + f":{number}" for number in (901, 902)]
    async with running(tmp_path) as h:
        h.network.faults = [
            Fault(reaches=False, then=httpx.Response(200, json={"success_ids": images}))
        ]
        made = await h.call("upscale_image", source=IMAGE, max_credits=1)
        again = await h.call("upscale_image", source=IMAGE, max_credits=1)

        assert 1 == len(h.posts())
    assert re.fullmatch("useapi-mcp:[a-z2-7]{26}", made.job["job_id"])
    assert made.job["job_id"] == again.job["job_id"]
    assert images == [item["media_id"] for item in made.job["media"]]


async def test_a_job_in_place_of_a_price_is_known_though_nothing_can_be_read(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as h:
        h.network.concerns = lambda request: request.method == "GET"
        h.network.faults = [Fault(then="cut")] * 99
        reply = await h.call("upscale_video", source=ORDERING_VIDEO, max_credits=1000)

        assert h.sandbox.accepted[0].job_id == reply.job["job_id"]
        assert 1 == len(bodies(h))


async def test_a_slow_price_is_not_waited_for_for_long_and_is_there_for_the_next_call(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as h:
        h.network.faults = [Fault(after_s=30)]
        refused = await h.call("upscale_video", source=VIDEO, max_credits=1)
        at_s = asyncio.get_running_loop().time()
        told = await h.call("upscale_video", source=VIDEO, max_credits=1)

        assert "price_not_told" == refused.error["code"]
        assert 20 == pytest.approx(at_s, abs=0.1)
        assert PRICE == told.error["price"]
        assert 1 == len(quotes(h))


async def test_a_price_that_never_comes_is_asked_for_anew_after_a_minute(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        h.network.faults = [Fault(after_s=1000)]
        await h.call("upscale_video", source=VIDEO, max_credits=1)
        await asyncio.sleep(45)
        told = await h.call("upscale_video", source=VIDEO, max_credits=1)

        assert PRICE == told.error["price"]
        assert 2 == len(quotes(h))


async def test_two_servers_ask_one_after_the_other_and_the_second_knows_the_price(
    tmp_path: Path,
) -> None:
    kernel = Kernel()
    async with running(tmp_path, locks=kernel.process()) as one, running(
        tmp_path, sandbox=one.sandbox, network=one.network, clock=one.clock, locks=kernel.process()
    ) as other:  # fmt: skip
        one.network.faults = [Fault(after_s=5)]
        first, second = await asyncio.gather(
            one.call("upscale_video", source=VIDEO, max_credits=1),
            other.call("upscale_video", source=VIDEO, max_credits=1),
        )
        took_s = asyncio.get_running_loop().time()

        assert PRICE == first.error["price"] == second.error["price"]
        assert 1 == len(quotes(one))
        assert took_s < 5.5


async def test_a_key_that_another_server_never_lets_go_is_told_in_20_seconds(
    tmp_path: Path,
) -> None:
    kernel = Kernel()
    async with running(tmp_path, locks=kernel.process()) as one, running(
        tmp_path, sandbox=one.sandbox, network=one.network, clock=one.clock, locks=kernel.process()
    ) as other:  # fmt: skip
        one.network.faults = [Fault(after_s=50)]
        asking = asyncio.create_task(one.call("upscale_video", source=VIDEO, max_credits=1))
        await asyncio.sleep(1)
        refused = await other.call("upscale_video", source=VIDEO, max_credits=1)
        at_s = asyncio.get_running_loop().time()
        await asking

        assert refused.error["code"] in ("price_not_told", "journal_busy")
        assert at_s < 21.5


async def test_many_callers_ask_once(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        h.network.faults = [Fault(after_s=5)]
        replies = await asyncio.gather(
            *(h.call("upscale_video", source=VIDEO, max_credits=1) for _ in range(5))
        )

        assert {PRICE} == {reply.error["price"] for reply in replies}
        assert 1 == len(bodies(h))


async def test_a_caller_that_leaves_cuts_no_question(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        h.network.faults = [Fault(after_s=8)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await h.call("upscale_video", source=VIDEO, max_credits=1)
        reply = await h.call("upscale_video", source=VIDEO, max_credits=1)

        assert PRICE == reply.error["price"]
        assert 1 == len(bodies(h))


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [(412, FULL, "no_credits"), (400, {"error": "no"}, "refused"), (429, FULL, "rate_limited")],
)
async def test_a_refusal_of_the_question_is_that_of_the_order(
    tmp_path: Path, status: int, body: dict[str, str], code: str
) -> None:
    async with running(tmp_path) as h:
        h.network.faults = [Fault(reaches=False, then=httpx.Response(status, json=body))]
        reply = await h.call("upscale_video", source=VIDEO, max_credits=1)

        assert code == reply.error["code"]
        assert [] == orders(h)


ANSWERS: list[tuple[dict[str, Any], float | None]] = [
    ({"cost_credits": 30}, 30),
    ({"credits": 30}, 30),
    ({"credits": 30, "credits_remaining": 15_000}, 30),
    ({"quote": 30}, 30),
    ({"quote": {"credits": 30}}, 30),
    ({"price": 30.5, "credits_remaining": 15_000}, 30.5),
    ({"estimated_cost": 30, "credits_per_second": 6}, 30),
    ({"credit_cost": 30, "credits": 15_000}, 30),
    ({"cost_credits": 0}, 0),
    ({"cost_credits": "30"}, 30),
    ({"quote": {"credits": "30.50"}}, 30.5),
    ({"cost_credits": "-30"}, None),
    ({"cost_credits": "much"}, None),
    ({"cost_credits": -1}, None),
    ({"ok": True, "video_duration": 5}, None),
]


@pytest.mark.parametrize(("body", "price"), ANSWERS, ids=json.dumps)
async def test_the_price_is_found_under_whatever_name(
    tmp_path: Path, body: dict[str, Any], price: float | None
) -> None:
    """Its body is not documented (10 October 2026), so a number that is called a price is one."""
    clock = VirtualClock()
    sandbox = Sandbox(now=clock.now, conditions=Conditions(quote=lambda _: body))
    async with running(tmp_path, clock=clock, sandbox=sandbox) as h:
        reply = await h.call("upscale_video", source=VIDEO, max_credits=0)

        if price == 0:
            assert "running" == reply.job["status"]
        else:
            assert ("price", price) == (reply.error["code"], reply.error.get("price"))


async def test_a_price_that_the_answer_does_not_hold_is_an_unknown_one(tmp_path: Path) -> None:
    clock = VirtualClock()
    sandbox = Sandbox(now=clock.now, conditions=Conditions(quote=lambda _: {}))
    async with running(tmp_path, clock=clock, sandbox=sandbox) as h:
        reply = await h.call("upscale_video", source=VIDEO, max_credits=5)

        assert "running" == reply.job["status"]
        assert "max_credits could not be checked" in reply.text


@pytest.mark.parametrize("max_credits", [5, 1000])
async def test_a_cap_holds_for_the_new_job_of_a_call_whose_job_is_gone(
    tmp_path: Path, max_credits: float
) -> None:
    async with running(tmp_path) as h:
        first = await h.call("upscale_video", source=VIDEO, max_credits=PRICE)
        await h.call("get_job", job_id=first.job["job_id"], wait_seconds=50)
    h.clock.jump_s += 40 * 86_400
    forgetful = Sandbox(now=h.clock.now, conditions=Conditions(first_serial=100))
    async with running(tmp_path, sandbox=forgetful, clock=h.clock) as after:
        again = await after.call("upscale_video", source=VIDEO, max_credits=max_credits)

        if max_credits < PRICE:
            assert ("price", PRICE) == (again.error["code"], again.error["price"])
            assert [] == forgetful.accepted
        else:
            assert first.job["job_id"] != again.job["job_id"]
            assert 1 == len(forgetful.accepted)
