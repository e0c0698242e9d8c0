"""The queue: what finds the slots of its account taken is sent later, in a fair turn, and once."""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.types import ElicitResult

from mcp_server.jobs.queue import in_turn, may_start
from mcp_server.journal.locks import FileLocks
from mcp_server.journal.records import Refused, Running, Traffic, Waiting
from mcp_server.sandbox.app import Sandbox
from mcp_server.sandbox.state import Conditions
from tests.support.harness import (
    GOOD,
    Fault,
    Harness,
    Network,
    Opened,
    Reply,
    VirtualClock,
    running,
)
from tests.support.tasks_client import DECLARED, ask, call
from tests.support.team import OPERATOR, team

VIDEO = GOOD["dreamina", "video"]
FLOW_VIDEO = GOOD["google-flow", "video"]
QUEUE: dict[str, Any] = {"USEAPI_QUEUE_SECONDS": "1800"}
BUSY = httpx.Response(429, json={"error": "Account is busy"})


NOW = 1_790_000_000.0


def waiting(name: str) -> Waiting:
    """One that waits for the account x; the payer is its first letter."""
    return Waiting(name, name[0], "x", NOW + 600)


class Vendor:
    """A vendor whose accounts have few slots, under servers that come and go."""

    def __init__(self, folder: Path, *, slots: int = 1, job_seconds: float = 100.0) -> None:
        self.clock = VirtualClock()
        self.sandbox = Sandbox(
            job_seconds=job_seconds, now=self.clock.now, conditions=Conditions(slots=slots)
        )
        self.network = Network(self.sandbox)
        self._folder = folder
        self._locks = FileLocks(folder / "state" / "journal.lock")

    def server(
        self,
        *,
        client_options: dict[str, Any] | None = None,
        while_open: Opened | None = None,
        **settings: Any,
    ) -> contextlib.AbstractAsyncContextManager[Harness]:
        return running(
            self._folder,
            clock=self.clock,
            sandbox=self.sandbox,
            network=self.network,
            locks=self._locks,
            client_options=client_options,
            while_open=while_open,
            **{**QUEUE, **settings},
        )

    @property
    def accepted(self) -> int:
        return len(self.sandbox.accepted)


@contextlib.asynccontextmanager
async def one_server(
    folder: Path, *, slots: int = 1, job_seconds: float = 100.0, **settings: Any
) -> AsyncIterator[Harness]:
    async with Vendor(folder, slots=slots, job_seconds=job_seconds).server(**settings) as server:
        yield server


async def made(caller: Harness, number: int, service: str = "pixverse", **arguments: Any) -> Reply:
    return await caller.call("generate_video", prompt=f"cat {number}", service=service, **arguments)


async def ended(server: Harness, job_id: str) -> dict[str, Any]:
    while True:
        job = (await server.call("get_job", job_id=job_id, wait_seconds=50)).job
        if job["status"] in ("completed", "failed", "cancelled"):
            return job


def change_row(folder: Path, what: str, row_id: str) -> None:
    """Change a row as another server may have left it."""
    path = folder / "state" / "journal.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        assert database.execute(f"update submission set {what} where id = ?", [row_id]).rowcount


async def test_an_order_that_finds_no_slot_free_waits_and_is_sent_when_one_is(
    tmp_path: Path,
) -> None:
    async with one_server(tmp_path) as server:
        first = await made(server, 1)
        second, third = await made(server, 2), await made(server, 3)
        sent_at_first = len(server.posts())
        listed = await server.call("list_jobs", status="queued")
        last = await ended(server, third.job["job_id"])
        before_last = await server.call("get_job", job_id=second.job["job_id"])

    assert ["running", "queued", "queued"] == [r.job["status"] for r in (first, second, third)]
    assert [1, 2] == [r.job["queue_position"] for r in (second, third)]
    assert "number 2 in the queue" in third.text
    assert "costs nothing before" in third.job["note"]
    assert third.job["next"].startswith("get_job(job_id, wait_seconds=50)")
    assert 1 == sent_at_first
    assert 2 == len((listed.data or {})["jobs"])
    assert ("completed", "completed") == (last["status"], before_last.job["status"])
    assert "queue_position" not in last
    assert 3 == len(server.posts()) == len(server.sandbox.accepted)


async def test_the_same_call_joins_what_waits_and_is_told_its_place(tmp_path: Path) -> None:
    async with one_server(tmp_path) as server:
        await made(server, 1)
        first, other = await made(server, 2), await made(server, 3)
        again = await made(server, 3)
        await ended(server, other.job["job_id"])

    assert first.job["job_id"] != other.job["job_id"] == again.job["job_id"]
    assert ("queued", 2) == (again.job["status"], again.job["queue_position"])
    assert 3 == len(server.posts())


async def test_a_user_with_few_orders_does_not_wait_for_anothers_many(tmp_path: Path) -> None:
    conditions = Conditions(slots=4)
    async with (
        team(
            tmp_path,
            job_seconds=100,
            conditions=conditions,
            USEAPI_QUEUE_SECONDS="7200",
            USEAPI_MAX_QUEUED="40",
        ) as server,
        server.caller("alice") as alice,
        server.caller("bob") as bob,
    ):
        batch = [await made(alice, number) for number in range(40)]
        few = [await made(bob, number) for number in (100, 101)]
        for reply in few:
            await ended(bob, reply.job["job_id"])
        sent_before_bobs_ended = len(alice.posts())
        await asyncio.sleep(1000)
        seen_by_bob = await bob.call("list_jobs")

    assert 4 == [reply.job["status"] for reply in batch].count("running")
    assert [1, 2] == [reply.job["queue_position"] for reply in few]
    assert sent_before_bobs_ended <= 4 + 2 + 6
    assert 2 == len((seen_by_bob.data or {})["jobs"])
    assert 42 == len(alice.posts()) == len(server.sandbox.accepted)


async def test_what_is_taken_out_of_the_queue_costs_nothing_and_frees_its_key(
    tmp_path: Path,
) -> None:
    async with one_server(tmp_path) as server:
        await made(server, 1)
        waiting, behind = await made(server, 2), await made(server, 3)
        gone = await server.call("cancel_job", job_id=waiting.job["job_id"])
        read = await server.call("get_job", job_id=waiting.job["job_id"])
        next_now = await server.call("get_job", job_id=behind.job["job_id"])
        again = await made(server, 2)
        await ended(server, behind.job["job_id"])

    assert ("cancelled", "cancelled") == (gone.job["status"], read.job["status"])
    assert "taken out of the queue before it was sent: nothing is charged" in gone.text
    assert 1 == next_now.job["queue_position"]
    assert again.job["job_id"] != waiting.job["job_id"]
    assert 2 == again.job["queue_position"]
    references = [made.body["replyRef"] for made in server.sandbox.accepted]
    assert behind.job["job_id"] in references
    assert waiting.job["job_id"] not in references


async def test_what_waited_too_long_fails_and_was_never_charged(tmp_path: Path) -> None:
    async with one_server(tmp_path, job_seconds=500, USEAPI_QUEUE_SECONDS="60") as server:
        await made(server, 1)
        waiting = await made(server, 2)
        job = await ended(server, waiting.job["job_id"])
        again = await made(server, 2)

    assert ("failed", "queue_timeout") == (job["status"], job["failure"]["code"])
    assert "within 60 s" in job["failure"]["message"]
    assert "nothing was charged" in job["failure"]["message"]
    assert "queued" == again.job["status"]
    assert again.job["job_id"] != job["job_id"]
    assert 1 == len(server.posts())


async def test_a_user_may_have_so_many_waiting_and_no_more(tmp_path: Path) -> None:
    async with (
        team(
            tmp_path,
            job_seconds=100,
            conditions=Conditions(slots=1),
            USEAPI_MAX_QUEUED="2",
            **QUEUE,
        ) as server,
        server.caller("alice") as alice,
        server.caller(OPERATOR) as operator,
    ):
        replies = [await made(alice, number) for number in range(4)]
        others = await made(operator, 10)
        joined = await made(alice, 2)

    refused = replies[-1]
    assert [False, False, False, True] == [reply.is_error for reply in replies]
    assert ("queue_full", 60) == (refused.error["code"], refused.error["retry_after_seconds"])
    assert "2 of your submissions wait" in refused.text
    assert ("queued", "queued") == (others.job["status"], joined.job["status"])
    assert 1 == len(alice.posts())


async def test_a_restart_loses_nothing_that_waits(tmp_path: Path) -> None:
    vendor = Vendor(tmp_path)
    async with vendor.server() as server:
        await made(server, 1)
        waiting = await made(server, 2, reply_ref="mine", max_jobs=1)
    async with vendor.server() as server:
        job = await ended(server, waiting.job["job_id"])

    assert "completed" == job["status"]
    first, second = vendor.sandbox.accepted
    assert ("mine", 1) == (second.body["replyRef"], second.body["maxJobs"])
    assert first.at + 100 <= second.at
    assert 2 == vendor.accepted


async def test_two_servers_on_one_journal_send_no_more_than_there_are_slots(
    tmp_path: Path,
) -> None:
    vendor = Vendor(tmp_path, slots=2)
    async with vendor.server() as one, vendor.server() as other:
        replies = await asyncio.gather(
            *(made(server, number) for number in range(6) for server in (one, other))
        )
        ids = sorted({reply.job["job_id"] for reply in replies})
        jobs = await asyncio.gather(*(ended(other, job_id) for job_id in ids))

    assert {"completed"} == {job["status"] for job in jobs}
    assert 6 == vendor.accepted == len(one.posts())


@pytest.mark.parametrize("settings", [{}, {"USEAPI_QUEUE_SECONDS": "0"}])
async def test_without_the_setting_a_full_account_refuses(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    vendor = Vendor(tmp_path)
    async with vendor.server(**{"USEAPI_QUEUE_SECONDS": "", **settings}) as server:
        await made(server, 1)
        refused = await made(server, 2)

    assert "rate_limited" == refused.error["code"]


async def test_what_waits_is_joined_by_a_server_without_a_queue_and_never_sent_by_it(
    tmp_path: Path,
) -> None:
    vendor = Vendor(tmp_path)
    async with vendor.server() as server:
        await made(server, 1)
        waiting = await made(server, 2)
    async with vendor.server(USEAPI_QUEUE_SECONDS="") as plain:
        await asyncio.sleep(1000)
        joined = await made(plain, 2)
        await asyncio.sleep(1000)
        over = await plain.call("get_job", job_id=waiting.job["job_id"])

    assert waiting.job["job_id"] == joined.job["job_id"]
    assert ("queued", 1) == (joined.job["status"], joined.job["queue_position"])
    assert "queue_timeout" == over.job["failure"]["code"]
    assert 1 == vendor.accepted


async def test_a_refusal_for_want_of_a_slot_is_no_post_and_is_tried_again(tmp_path: Path) -> None:
    """Others may use the account by hand: its slots are taken though the journal knows of none."""
    async with one_server(tmp_path) as server:
        busy = Fault(reaches=False, then=BUSY)
        server.network.faults = [busy, busy]
        reply = await made(server, 1)
        told = await server.call("get_job", job_id=reply.job["job_id"])
        job = await ended(server, reply.job["job_id"])

    assert ("queued", 1) == (reply.job["status"], reply.job["queue_position"])
    assert "queued" == told.job["status"]
    assert "completed" == job["status"]
    assert 3 == len(server.posts())
    assert 1 == len(server.sandbox.accepted)


async def test_slots_that_nobody_tells_are_learned_from_a_refusal(tmp_path: Path) -> None:
    """Google Flow documents none."""
    async with one_server(tmp_path, slots=2, job_seconds=50) as server:
        replies = [await made(server, number, "google-flow") for number in range(6)]
        refused_at_first = len(server.posts()) - 2
        jobs = [await ended(server, reply.job["job_id"]) for reply in replies]

    statuses = [reply.job["status"] for reply in replies]
    assert ["running"] * 2 + ["queued"] * 4 == statuses
    assert 1 == refused_at_first
    assert {"completed"} == {job["status"] for job in jobs}
    assert 6 == len(server.sandbox.accepted)


async def test_no_more_than_ran_when_an_account_was_full_are_tried_within_a_minute(
    tmp_path: Path,
) -> None:
    async with one_server(tmp_path, job_seconds=3000) as server:
        for number in range(5):
            await made(server, number, "google-flow")
        await asyncio.sleep(55)
        tried_soon = len(server.posts())
        await asyncio.sleep(10)
        tried_later = len(server.posts())

    assert (2, 3) == (tried_soon, tried_later)


async def test_slots_that_can_t_be_read_are_learned_too(tmp_path: Path) -> None:
    async with one_server(tmp_path, job_seconds=50) as server:
        server.network.concerns = lambda request: request.url.path.endswith("/available")
        server.network.faults = [Fault(connects=False)] * 300
        replies = [await made(server, number) for number in range(2)]
        job = await ended(server, replies[1].job["job_id"])

    assert ["running", "queued"] == [reply.job["status"] for reply in replies]
    assert "completed" == job["status"]
    assert 2 == len(server.sandbox.accepted) < len(server.posts())


async def test_the_number_that_an_order_names_counts_for_it_alone(tmp_path: Path) -> None:
    async with one_server(tmp_path, slots=3) as server:
        await made(server, 1)
        narrow = await made(server, 2, max_jobs=1)
        wide = await made(server, 3)
        job = await ended(server, narrow.job["job_id"])

    assert ("queued", "running") == (narrow.job["status"], wide.job["status"])
    assert "completed" == job["status"]
    assert 3 == len(server.posts()) == len(server.sandbox.accepted)


async def test_where_the_vendor_chooses_the_account_all_of_its_service_count(
    tmp_path: Path,
) -> None:
    """The sandbox's user has two accounts on Dreamina."""
    async with one_server(tmp_path) as server:
        chosen = [await made(server, number, "dreamina") for number in range(3)]
        of_a_taken_one = await server.call("upscale_video", source=VIDEO)
        await ended(server, chosen[2].job["job_id"])
        last = await ended(server, of_a_taken_one.job["job_id"])

    assert ["running", "running", "queued"] == [reply.job["status"] for reply in chosen]
    assert ("queued", 1) == (of_a_taken_one.job["status"], of_a_taken_one.job["queue_position"])
    assert "completed" == last["status"]
    assert 4 == len(server.posts()) == len(server.sandbox.accepted)


async def test_an_order_with_the_callers_own_captcha_does_not_wait(tmp_path: Path) -> None:
    async with one_server(tmp_path) as server:
        await made(server, 1, "google-flow")
        refused = await made(server, 2, "google-flow", captcha_token="x" * 40)

    assert "rate_limited" == refused.error["code"]


@pytest.mark.parametrize("name", ["too-much-traffic", "daily-quota-reached"])
async def test_a_refusal_that_waiting_does_not_help_is_told_at_once(
    tmp_path: Path, name: str
) -> None:
    source = FLOW_VIDEO.replace("sample-1", name)
    async with one_server(tmp_path) as server:
        refused = await server.call("upscale_video", source=source)
        jobs = await server.call("list_jobs")

    assert "rate_limited" == refused.error["code"]
    assert [] == (jobs.data or {})["jobs"]
    assert 1 == len(server.posts())


async def test_what_waits_counts_for_the_budgets_until_it_is_over(tmp_path: Path) -> None:
    """A clip of Dreamina's costs 115 credits in the sandbox."""
    async with one_server(tmp_path, USEAPI_MAX_CREDITS_PER_DAY="350") as server:
        replies = [await made(server, number, "dreamina") for number in range(4)]
        waiting = replies[2]
        await server.call("cancel_job", job_id=waiting.job["job_id"])
        after = await made(server, 3, "dreamina")

    assert "queued" == waiting.job["status"]
    assert "budget_spent" == replies[3].error["code"]
    assert "queued" == after.job["status"]


@pytest.mark.parametrize("given", [{}, {"captcha_token": "x" * 40}], ids=["waits", "can't wait"])
@pytest.mark.parametrize(
    "budget", ["USEAPI_MAX_CREDITS_PER_DAY", "USEAPI_MAX_CREDITS_PER_USER_PER_DAY"]
)
async def test_what_is_ordered_at_one_time_stays_within_the_budgets(
    tmp_path: Path, budget: str, given: dict[str, Any]
) -> None:
    """A clip of Google Flow's costs 20 credits in the sandbox."""
    environment = {**QUEUE, budget: "30"}
    async with (
        team(tmp_path, **environment) as server,
        team(tmp_path, sandbox=server.sandbox, **environment) as other,
        server.caller("alice") as alice,
        other.caller("alice") as again,
    ):
        replies = await asyncio.gather(
            *(
                made(caller, number, "google-flow", **given)
                for number, caller in enumerate((alice, again))
            )
        )

    refused = [reply.error["code"] for reply in replies if reply.is_error]
    assert ["budget_spent"] == refused
    assert 1 == len(server.sandbox.accepted)


async def test_who_can_call_again_is_told_at_once_that_the_vendor_can_t_be_reached(
    tmp_path: Path,
) -> None:
    async with one_server(tmp_path) as server:
        server.network.faults = [Fault(connects=False)] * 9
        refused = await made(server, 1)
        left = len(server.network.faults)
        await asyncio.sleep(60)

    assert "unreachable" == refused.error["code"]
    assert 0 < left == len(server.network.faults)


async def test_what_waits_fails_if_its_vendor_refuses_it_for_another_reason(
    tmp_path: Path,
) -> None:
    async with one_server(tmp_path) as server:
        await made(server, 1)
        waiting = await made(server, 2)
        said = httpx.Response(422, json={"error": "Your prompt has been moderated"})
        server.network.faults = [Fault(reaches=False, then=said)]
        job = await ended(server, waiting.job["job_id"])
        await asyncio.sleep(60)

    assert ("failed", "moderated") == (job["status"], job["failure"]["code"])
    assert 2 == len(server.posts())


async def test_what_waits_is_not_given_up_because_its_server_stops_when_it_is_refused(
    tmp_path: Path,
) -> None:
    """A pause would last longer than it may wait; the next server makes none."""
    vendor = Vendor(tmp_path, job_seconds=10)
    settings: dict[str, Any] = {"USEAPI_QUEUE_SECONDS": "30"}
    async with vendor.server(**settings) as server:
        await made(server, 1)
        vendor.network.faults = [Fault(reaches=False, after_s=8, then=BUSY)]
        waiting = await made(server, 2)
        await asyncio.sleep(20)
    assert [] == vendor.network.faults
    async with vendor.server(**settings) as server:
        job = await ended(server, waiting.job["job_id"])

    assert "completed" == job["status"]
    assert 2 == vendor.accepted


async def test_what_was_about_to_be_sent_when_its_server_ended_is_sent_by_the_next(
    tmp_path: Path,
) -> None:
    """Nobody asks for it."""
    vendor = Vendor(tmp_path, job_seconds=10)
    async with vendor.server() as server:
        await made(server, 1)
        vendor.network.faults = [Fault(connect_s=3000)]
        await made(server, 2)
        await asyncio.sleep(20)
    assert [] == vendor.network.faults
    async with vendor.server() as server:
        await asyncio.sleep(20)
        (last,) = (await server.call("list_jobs", limit=1)).job["jobs"]

    assert "running" == last["status"]
    assert 2 == vendor.accepted


async def test_what_waited_too_long_is_over_though_nobody_asks_for_it(tmp_path: Path) -> None:
    async with one_server(tmp_path, job_seconds=500, USEAPI_QUEUE_SECONDS="60") as server:
        await made(server, 1)
        await made(server, 2)
        await asyncio.sleep(65)
        waiting = await server.call("list_jobs", status="queued")

    assert [] == waiting.job["jobs"]


async def test_what_comes_to_wait_is_looked_at_at_once_and_then_every_two_seconds(
    tmp_path: Path,
) -> None:
    """Else the queue is looked at every ten."""
    async with one_server(tmp_path, job_seconds=3) as server:
        await asyncio.sleep(1)
        first = await made(server, 1)
        await made(server, 2)
        await asyncio.sleep(4)
        read = await server.call("get_job", job_id=first.job["job_id"])
        await asyncio.sleep(2.5)
        sent = len(server.posts())

    assert "completed" == read.job["status"]
    assert 2 == sent


async def test_what_was_refused_for_a_second_is_sent_again_soon(tmp_path: Path) -> None:
    """The second refusal comes when the queue, which is empty, has just been looked at."""
    async with one_server(tmp_path) as server:
        await asyncio.sleep(1)
        busy = httpx.Response(429, json={"error": "Busy"}, headers={"Retry-After": "1"})
        server.network.faults = [
            Fault(reaches=False, then=busy),
            Fault(reaches=False, after_s=2.5, then=busy),
        ]
        reply = await made(server, 1)
        await asyncio.sleep(4)
        read = await server.call("get_job", job_id=reply.job["job_id"])

    assert ("queued", "running") == (reply.job["status"], read.job["status"])


async def test_what_waits_is_not_given_up_while_its_vendor_can_t_be_reached(
    tmp_path: Path,
) -> None:
    async with one_server(tmp_path) as server:
        await made(server, 1)
        waiting = await made(server, 2)
        away = Fault(connects=False)
        server.network.faults = [away] * 9
        job = await ended(server, waiting.job["job_id"])

    assert "completed" == job["status"]
    assert [] == server.network.faults
    assert 2 == len(server.posts()) == len(server.sandbox.accepted)


async def test_a_lost_answer_to_what_waited_is_looked_for_and_never_sent_again(
    tmp_path: Path,
) -> None:
    async with one_server(tmp_path) as server:
        await made(server, 1)
        waiting, behind = await made(server, 2), await made(server, 3)
        server.network.faults = [Fault(then="cut")]
        jobs = [await ended(server, reply.job["job_id"]) for reply in (waiting, behind)]

    assert ["completed", "completed"] == [job["status"] for job in jobs]
    assert 3 == len(server.posts()) == len(server.sandbox.accepted)


async def test_a_lost_answer_is_looked_for_by_the_next_server_at_once(tmp_path: Path) -> None:
    """It is in no queue, though it might have waited there for as long as half an hour."""
    vendor = Vendor(tmp_path)
    async with vendor.server() as server:
        server.network.faults = [Fault(after_s=1000)]
        lost = await made(server, 1)
    async with vendor.server() as server:
        found = await server.call("get_job", job_id=lost.job["job_id"])

    assert "submitting" == lost.job["status"]
    assert found.job["status"] in ("running", "completed")
    assert 1 == vendor.accepted


async def test_what_waits_is_sent_as_it_was_ordered_by_whoever_asks_for_it(tmp_path: Path) -> None:
    async with one_server(tmp_path) as server:
        first = await server.call("upscale_video", source=VIDEO)
        wish = {"source": VIDEO, "fps": 60}
        waiting = await server.call("interpolate_video", reply_ref="mine", **wish)
        await server.call("cancel_job", job_id=first.job["job_id"])
        joined = await server.call("interpolate_video", **wish)

    assert ("queued", "running") == (waiting.job["status"], joined.job["status"])
    assert "mine" == server.sandbox.accepted[-1].body["replyRef"]
    assert 2 == len(server.sandbox.accepted)


async def test_what_a_newer_version_put_into_the_queue_is_left_to_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vendor = Vendor(tmp_path)
    async with vendor.server() as server:
        await made(server, 1)
        theirs = await made(server, 2)
    change_row(tmp_path, "operation = 'sing'", theirs.job["job_id"])
    async with vendor.server() as server:
        seen = set()
        for _ in range(40):
            await asyncio.sleep(5)
            listed = await server.call("list_jobs")
            seen |= {job["status"] for job in listed.job["jobs"] if job["operation"] == "sing"}

    assert {"queued"} == seen
    assert 1 == vendor.accepted
    assert [] == [each for each in caplog.records if each.levelno >= logging.ERROR]


async def test_what_waits_costs_no_new_consent_until_it_has_waited_too_long(
    tmp_path: Path,
) -> None:
    """Afterwards it would be a new job, and the user is asked."""
    asked: list[str] = []

    async def answer(_: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"confirm": True})

    vendor = Vendor(tmp_path, job_seconds=5000)
    wish: dict[str, Any] = {"service": "dreamina"}
    async with vendor.server() as server:
        for number in (1, 2):
            await made(server, number, **wish)
        waiting = await made(server, 3, **wish)
    async with vendor.server(
        client_options={"elicitation_callback": answer},
        USEAPI_QUEUE_SECONDS="",
        USEAPI_CONFIRM_CREDITS="50",
    ) as plain:
        joined = await made(plain, 3, **wish)
        asked_before = len(asked)
        await asyncio.sleep(2000)
        await made(plain, 3, **wish)

    assert "queued" == waiting.job["status"]
    assert waiting.job["job_id"] == joined.job["job_id"]
    assert (0, 1) == (asked_before, len(asked))


async def test_how_long_was_waited_is_counted_when_it_was_sent(tmp_path: Path) -> None:
    opened = Opened()
    vendor = Vendor(tmp_path)
    async with vendor.server(while_open=opened) as server:
        await made(server, 1)
        waiting = await made(server, 2)
        server.network.faults = [Fault(reaches=False, then=BUSY)] * 2  # when its turn comes
        await ended(server, waiting.job["job_id"])

    waits = opened.app.metrics.queue_waits
    assert ["pixverse"] == list(waits)
    assert 1 == sum(waits["pixverse"].counts)
    assert 4 == len(server.posts())


async def test_a_slot_is_free_again_though_nobody_asks_for_the_job_that_had_it(
    tmp_path: Path,
) -> None:
    async with one_server(tmp_path) as server:
        for number in range(3):
            await made(server, number)
        await asyncio.sleep(400)

        assert 3 == len(server.posts()) == len(server.sandbox.accepted)


async def test_a_second_user_joins_what_waits_and_the_first_can_t_end_it_for_both(
    tmp_path: Path,
) -> None:
    async with (
        team(tmp_path, job_seconds=100, conditions=Conditions(slots=1), **QUEUE) as server,
        server.caller("alice") as alice,
        server.caller("bob") as bob,
    ):
        await made(alice, 1)
        hers, his = await made(alice, 2), await made(bob, 2)
        left = await bob.call("cancel_job", job_id=his.job["job_id"])
        still = await alice.call("get_job", job_id=hers.job["job_id"])
        hidden = await bob.call("get_job", job_id=his.job["job_id"])

    assert hers.job["job_id"] == his.job["job_id"]
    assert ("queued", 1) == (his.job["status"], his.job["queue_position"])
    assert "no longer among your jobs" in left.text
    assert "queued" == still.job["status"]
    assert "not_found" == hidden.error["code"]
    assert 1 == len(alice.posts())


async def test_a_server_that_stops_answers_who_waits_and_sends_nothing_more(
    tmp_path: Path,
) -> None:
    async with (
        team(tmp_path, job_seconds=60, conditions=Conditions(slots=1), **QUEUE) as server,
        server.caller(OPERATOR) as caller,
    ):
        await made(caller, 1)
        waiting = await made(caller, 2)
        asked = asyncio.create_task(
            caller.call("get_job", job_id=waiting.job["job_id"], wait_seconds=50)
        )
        await asyncio.sleep(5)
        server.app.all_jobs.answer_waiting()
        answered = await asyncio.wait_for(asked, 5)
        await server.app.all_jobs.drain()
        await asyncio.sleep(300)
        after = await caller.call("list_jobs", status="queued")

    assert "queued" == answered.job["status"]
    assert [waiting.job["job_id"]] == [job["job_id"] for job in (after.data or {})["jobs"]]
    assert 1 == len(caller.posts())


async def test_a_server_that_stops_while_it_reads_the_slots_answers_when_it_has_sent(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, **QUEUE) as server, server.caller(OPERATOR) as caller:
        server.network.concerns = lambda request: request.url.path.endswith("/available")
        server.network.faults = [Fault(after_s=3)]
        asked = asyncio.create_task(made(caller, 1))
        await asyncio.sleep(1)
        server.app.all_jobs.answer_submitting()
        answered = await asked

    assert "running" == answered.job["status"]
    assert [] == server.network.faults


async def test_a_task_works_while_its_job_waits(tmp_path: Path) -> None:
    vendor = Vendor(tmp_path, job_seconds=30)
    async with vendor.server(client_options=DECLARED) as server:
        await call(server.client, "upscale_video", source=VIDEO)
        task = await call(server.client, "interpolate_video", source=VIDEO, fps=60)
        told = await ask(server.client, "tasks/get", task["taskId"])
        await asyncio.sleep(120)
        done = await ask(server.client, "tasks/get", task["taskId"])

    assert ("working", "queued") == (told["status"], told["statusMessage"])
    assert "completed" == done["status"]


@pytest.mark.parametrize("service", ["pixverse", "google-flow"])
@pytest.mark.parametrize(
    "refusal", [BUSY, httpx.Response(429, html="<html>Too many</html>")], ids=["JSON", "page"]
)
async def test_what_was_refused_and_made_all_the_same_is_not_sent_again(
    tmp_path: Path, service: str, refusal: httpx.Response
) -> None:
    """As by a gateway that refuses, or sends again, what the vendor has taken."""
    async with one_server(tmp_path, job_seconds=30) as server:
        server.network.faults = [Fault(then=refusal)]
        reply = await made(server, 1, service)
        job = await ended(server, reply.job["job_id"])

    assert "queued" == reply.job["status"]
    assert "completed" == job["status"]
    assert 1 == len(server.posts()) == len(server.sandbox.accepted)


async def test_of_several_images_that_were_refused_and_made_no_more_are_ordered(
    tmp_path: Path,
) -> None:
    async with one_server(tmp_path, job_seconds=30) as server:
        server.network.faults = [Fault(then=BUSY)]
        reply = await server.call(
            "generate_image", prompt="a cat", service="pixverse", count=2, max_credits=1000
        )
        await asyncio.sleep(900)
        job = await server.call("get_job", job_id=reply.job["job_id"], wait_seconds=50)

    assert "completed" == job.job["status"]
    assert 1 == len(server.posts()) == len(server.sandbox.accepted)


@pytest.mark.parametrize(("later_s", "is_listed_then"), [(100, True), (600, False)])
async def test_of_images_that_were_refused_and_made_some_are_waited_for(
    tmp_path: Path, later_s: float, is_listed_then: bool
) -> None:
    """At first one of the two is listed, and after ten minutes that one is all there is."""
    hidden = ""

    def without_one(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if is_listed_then and server.clock.now() > began + 100:
            return answer
        listed = answer.json()
        rows = listed["data"] if isinstance(listed, dict) else listed
        rows[:] = [row for row in rows if row.get("id", row.get("image_id")) != hidden]
        return httpx.Response(200, json=listed, headers={"Date": answer.headers["date"]})

    async with one_server(tmp_path, job_seconds=30) as server:
        began = server.clock.now()
        server.network.faults = [Fault(then=BUSY)]
        reply = await server.call(
            "generate_image", prompt="a cat", service="pixverse", count=2, max_credits=1000
        )
        first = server.sandbox.accepted[0].job_id or ""
        number = first.rpartition(":")[2]
        hidden = first.replace(number, str(int(number) + 1))
        server.network.concerns = lambda request: request.url.path.endswith(
            ("/images", "/scheduler")
        )
        server.network.faults = [Fault(then=without_one)] * 1000
        await asyncio.sleep(45)
        unsure = await server.call("get_job", job_id=reply.job["job_id"])
        await asyncio.sleep(later_s)
        job = await server.call("get_job", job_id=reply.job["job_id"], wait_seconds=50)

    assert ("queued", "unconfirmed") == (reply.job["status"], unsure.job["status"])
    assert f"of 2 only {first} is listed" in unsure.job["failure"]["message"]
    assert "completed" == job.job["status"]
    images = {item["media_id"] for item in job.job["media"]}
    assert images == ({first, hidden} if is_listed_then else {first})
    assert 1 == len(server.posts()) == len(server.sandbox.accepted)


async def test_with_a_reference_of_the_callers_a_strangers_job_is_not_what_was_refused(
    tmp_path: Path,
) -> None:
    vendor = Vendor(tmp_path, slots=2)
    async with vendor.server() as server:
        vendor.network.faults = [Fault(reaches=False, then=BUSY)]
        waiting = await made(server, 1, reply_ref="mine")
        async with running(
            tmp_path / "other", clock=vendor.clock, sandbox=vendor.sandbox, network=vendor.network
        ) as other:
            await made(other, 1, reply_ref="theirs")
        job = await ended(server, waiting.job["job_id"])

    assert "completed" == job["status"]
    assert "mine" == vendor.sandbox.accepted[-1].body["replyRef"]
    assert 2 == vendor.accepted


async def test_what_waited_for_a_day_is_as_young_as_its_request(tmp_path: Path) -> None:
    """A job of a day ago that its vendor does not know is made anew; this one is a minute old."""
    vendor = Vendor(tmp_path, job_seconds=300)
    async with vendor.server(USEAPI_QUEUE_SECONDS="86400") as server:
        await made(server, 1)
        await made(server, 2)
        vendor.clock.jump_s = 86_380.0
        await asyncio.sleep(19)
        sent = len(server.posts())
        unknown = httpx.Response(404, json={"error": "Not found"})
        server.network.concerns = lambda request: (
            request.method == "GET" and "/videos" in request.url.path
        )
        server.network.faults = [Fault(reaches=False, then=unknown)] * 9
        await asyncio.sleep(10)
        again = await made(server, 2)

    assert "running" == again.job["status"]
    assert 2 == sent == len(server.posts())


async def test_what_waited_past_midnight_counts_for_the_day_on_which_it_is_sent(
    tmp_path: Path,
) -> None:
    """A clip of Dreamina's costs 115 credits in the sandbox, and its user has two accounts."""
    vendor = Vendor(tmp_path)
    async with vendor.server(USEAPI_MAX_CREDITS_PER_DAY="350") as server:
        vendor.clock.jump_s = 86_400 - vendor.clock.now() % 86_400 - 60
        before = [await made(server, number, "dreamina") for number in range(3)]
        await asyncio.sleep(70)
        while_it_waits = [await made(server, number, "dreamina") for number in range(3, 6)]
        await asyncio.sleep(400)
        when_it_was_sent = await made(server, 6, "dreamina")

    assert ["running", "running", "queued"] == [reply.job["status"] for reply in before]
    assert [False, False, True] == [reply.is_error for reply in while_it_waits]
    assert "budget_spent" == while_it_waits[2].error["code"]
    assert "budget_spent" == when_it_was_sent.error["code"]
    assert 5 == len(server.posts())


@pytest.mark.parametrize("status", [401, 403])
async def test_a_job_that_can_t_be_read_is_not_read_all_the_time_for_its_slot(
    tmp_path: Path, status: int
) -> None:
    async with one_server(tmp_path, job_seconds=3000) as server:
        await made(server, 1)
        await made(server, 2)
        server.network.concerns = lambda request: "/videos/" in request.url.path
        refused = httpx.Response(status, json={"error": "No"})
        server.network.faults = [Fault(reaches=False, then=refused)] * 1000
        await asyncio.sleep(120)

    assert 1000 - len(server.network.faults) <= 120 / 4


@pytest.mark.parametrize("status", [404, 410])
async def test_a_job_that_its_vendor_does_not_know_any_more_takes_no_slot(
    tmp_path: Path, status: int
) -> None:
    async with one_server(tmp_path, slots=2, job_seconds=200) as server:
        server.network.concerns = lambda request: request.url.path.endswith("/available")
        one_slot = httpx.Response(
            200, json={"available": [{"email": "user@example.com", "maxJobs": 1}]}
        )
        server.network.faults = [Fault(then=one_slot)] * 100
        first = await made(server, 1, "google-flow")
        assert "running" == first.job["status"]
        server.network.faults = []
        busy = Fault(reaches=False, then=BUSY)
        server.network.concerns = lambda request: (
            request.method == "POST" or "/jobs/" in request.url.path
        )
        server.network.faults = [busy]
        waiting = await made(server, 2, "google-flow")
        gone = httpx.Response(status, json={"error": "Gone"})
        server.network.concerns = lambda request: "/jobs/" in request.url.path
        server.network.faults = [Fault(reaches=False, then=gone)] * 100
        await asyncio.sleep(75)
        sent = len(server.posts())

    assert "queued" == waiting.job["status"]
    assert 3 == sent


@pytest.mark.parametrize("status", [404, 410])
async def test_a_job_that_its_vendor_did_not_know_once_never_takes_a_slot_again(
    tmp_path: Path, status: int
) -> None:
    """Those that wait want to run alone there, so that nothing else lets them begin."""
    told: list[int] = []

    def answer(_: httpx.Request, __: httpx.Response) -> httpx.Response:
        is_young = server.clock.now() < began + 70  # and may not be known everywhere yet
        told.append(500 if is_young or status in told else status)
        return httpx.Response(told[-1], json={"error": "No"})

    async with one_server(tmp_path, slots=2, job_seconds=30) as server:
        began = server.clock.now()
        first = await made(server, 1, "dreamina", account="ca:")
        server.network.concerns = lambda request: first.job["job_id"] in request.url.path
        server.network.faults = [Fault(then=answer)] * 1000
        waiting = [
            await made(server, number, "dreamina", account="ca:", max_jobs=1) for number in (2, 3)
        ]
        await asyncio.sleep(250)

    assert status in told
    assert ["queued", "queued"] == [reply.job["status"] for reply in waiting]
    assert 3 == len(server.posts()) == len(server.sandbox.accepted)


async def test_a_refusal_noted_by_a_clock_that_was_ahead_keeps_nothing_back(
    tmp_path: Path,
) -> None:
    vendor = Vendor(tmp_path)
    async with vendor.server() as server:
        vendor.clock.jump_s = 7200.0
        server.network.faults = [Fault(reaches=False, then=BUSY)]
        await made(server, 1)
        vendor.clock.jump_s = 0.0
        await asyncio.sleep(30)

    assert 1 == len(server.sandbox.accepted)


async def test_an_account_whose_slots_can_t_be_read_holds_up_no_other(tmp_path: Path) -> None:
    async with one_server(tmp_path, slots=1, job_seconds=50) as server:
        for service in ("pixverse", "dreamina"):
            for number in range(3):
                await made(server, number, service)
        server.network.concerns = lambda request: request.url.path.endswith(
            ("/available", "/dreamina/accounts")
        )
        server.network.faults = [Fault(before_s=20)] * 1000
        await asyncio.sleep(400)

    assert 6 == len(server.sandbox.accepted)


def test_who_names_an_account_does_not_wait_for_anothers_many_that_name_none() -> None:
    many = [replace(waiting(f"a{number}"), runs_on="") for number in range(3)]
    traffic = Traffic(
        (*many, waiting("b1")),
        (Running("r1", None, "a", "y"),),
        {},
    )

    assert ["b1"] == [each.id for each in may_start(traffic, {"x": 1, "y": 1}, NOW)]


def test_what_runs_on_an_unknown_account_takes_a_slot_that_no_other_account_has() -> None:
    traffic = Traffic(
        (waiting("a1"),),
        (Running("r1", None, "b", "y"), Running("r2", None, "b", "")),
        {},
    )

    assert [] == may_start(traffic, {"x": 1, "y": 1}, NOW)
    assert ["a1"] == [each.id for each in may_start(traffic, {"x": 1, "y": 2}, NOW)]
    assert ["a1"] == [each.id for each in may_start(traffic, {"x": 2, "y": 1}, NOW)]


def test_those_with_the_fewest_running_are_next_and_of_these_the_oldest() -> None:
    traffic = Traffic(
        tuple(waiting(name) for name in ("a1", "a2", "b1", "a3", "c1", "b2")),
        (Running("r1", "job-1", "a", "x"), Running("r2", "job-2", "b", "elsewhere")),
        {},
    )

    assert ["b1", "c1", "a1", "b2", "a2", "a3"] == [each.id for each in in_turn(traffic, "x")]


@pytest.mark.parametrize(
    ("slots", "refused", "expected"),
    [
        ({}, {}, 3),
        ({"x": 2}, {}, 1),
        ({"x": 1}, {}, 0),
        ({"y": 1}, {}, 3),
        ({}, {"x": Refused(1, NOW - 30, NOW - 20, 10)}, 0),
        ({}, {"x": Refused(1, NOW - 61, NOW - 51, 10)}, 1),
        ({}, {"x": Refused(1, NOW - 130, NOW - 120, 10)}, 2),
        ({"x": 2}, {"x": Refused(9, NOW - 130, NOW - 120, 10)}, 1),
        ({"x": 9}, {"x": Refused(9, NOW - 5, NOW + 5, 10)}, 0),
        ({}, {"x": Refused(2, NOW - 10, NOW, 10)}, 1),
    ],
)
def test_no_more_start_than_an_account_has_slots_for(
    slots: dict[str, int], refused: dict[str, Refused], expected: int
) -> None:
    traffic = Traffic(
        tuple(waiting(name) for name in ("a1", "a2", "b1")),
        (Running("r1", None, "c", "x"), Running("r2", None, "c", "elsewhere")),
        refused,
    )

    assert expected == len(may_start(traffic, slots, NOW))


@pytest.mark.parametrize(
    ("most", "slots", "expected"), [(1, {}, 1), (2, {}, 2), (1, {"x": 9, "y": 9}, 2)]
)
def test_the_number_of_an_order_whose_account_its_vendor_chooses_is_of_each_account(
    most: int, slots: dict[str, int], expected: int
) -> None:
    many = [replace(waiting(f"a{number}"), runs_on="", most=most) for number in range(3)]

    assert expected == len(may_start(Traffic(tuple(many), (), {}), slots, NOW))


def test_what_waited_too_long_does_not_start() -> None:
    over = replace(waiting("a1"), queued_until=NOW)

    assert ["a2"] == [
        each.id for each in may_start(Traffic((over, waiting("a2")), (), {}), {}, NOW)
    ]
