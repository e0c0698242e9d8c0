"""Jobs as tasks: the same jobs through another protocol, and nothing kept for a task."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import MCPError
from mcp.types import ElicitResult

from mcp_server.models import OUR_ID_PREFIX
from mcp_server.sandbox.app import SOURCES
from tests.server.test_tasks import fits
from tests.support.harness import GOOD, Fault, Harness, running
from tests.support.tasks_client import DECLARED, TasksClient, ask, call

DREAMINA, FLOW, PIXVERSE = (GOOD[s, "video"] for s in ("dreamina", "google-flow", "pixverse"))
CUT = Fault(reaches=False, then="cut")


async def started(server: Harness, source: str, **arguments: Any) -> str:
    """The id of the task that an upscale becomes."""
    told = await call(server.client, "upscale_video", source=source, **arguments)
    assert fits(told), told
    return str(told["taskId"])


async def seen(server: Harness, task_id: str) -> dict[str, Any]:
    told = await ask(server.client, "tasks/get", task_id)
    assert fits(told), told
    assert told["taskId"] == task_id
    return told


async def test_a_task_is_followed_to_its_result(tmp_path: Path) -> None:
    async with running(tmp_path, client_options=DECLARED) as server:
        created = await call(server.client, "upscale_video", source=DREAMINA)
        early = await seen(server, created["taskId"])
        await asyncio.sleep(created["pollIntervalMs"] / 1000)
        late = await seen(server, created["taskId"])
        plain = await server.call("get_job", job_id=created["taskId"])

    assert [created["status"], early["status"], late["status"]] == ["working"] * 2 + ["completed"]
    assert created["ttlMs"] == 7 * 86_400_000
    assert early["pollIntervalMs"] >= 1000
    assert created["createdAt"] == early["createdAt"] == late["createdAt"]
    assert late["result"]["structuredContent"] == plain.job
    assert late["result"]["content"][0]["text"] == plain.text
    assert late["result"]["isError"] is False


async def test_a_task_has_the_jobs_own_id(tmp_path: Path) -> None:
    async with running(tmp_path, client_options=DECLARED) as server:
        task_id = await started(server, DREAMINA)
        listed = await server.call("list_jobs")

    assert [task_id] == [job["job_id"] for job in (listed.data or {})["jobs"]]


async def test_a_task_without_the_vendors_id_keeps_ours_for_ever(tmp_path: Path) -> None:
    async with running(tmp_path, client_options=DECLARED) as server:
        server.network.faults.append(Fault(after_s=60))
        task_id = await started(server, DREAMINA)
        waiting = await seen(server, task_id)
        await asyncio.sleep(90)
        ended = await seen(server, task_id)
        vendor_id = ended["result"]["structuredContent"]["job_id"]
        by_the_vendors_id = await seen(server, vendor_id)

    assert task_id.startswith(OUR_ID_PREFIX)
    assert (waiting["status"], waiting["statusMessage"]) == ("working", "submitting")
    assert ended["status"] == "completed"
    assert by_the_vendors_id["result"] == ended["result"]


async def test_a_task_outlives_the_server(tmp_path: Path) -> None:
    async with running(tmp_path, client_options=DECLARED) as server:
        task_id = await started(server, PIXVERSE)
        sandbox, clock = server.sandbox, server.clock
    async with running(tmp_path, client_options=DECLARED, sandbox=sandbox, clock=clock) as again:
        await asyncio.sleep(60)
        told = await seen(again, task_id)

    assert told["status"] == "completed"


FAILING = [
    source.id
    for source in SOURCES
    if source.use.startswith("accepted, then") and source.kind == "video"
]


@pytest.mark.parametrize("source", FAILING)
async def test_a_job_that_failed_is_a_completed_task_whose_answer_is_an_error(
    tmp_path: Path, source: str
) -> None:
    """`failed` is for a protocol that failed (SEP-2663)."""
    async with running(tmp_path, client_options=DECLARED) as server:
        task_id = await started(server, source)
        await asyncio.sleep(60)
        told = await seen(server, task_id)

    assert told["status"] == "completed"
    assert told["result"]["isError"] is True
    assert told["result"]["structuredContent"]["status"] == "failed"


async def test_a_call_that_is_refused_is_no_task(tmp_path: Path) -> None:
    async with running(tmp_path, client_options=DECLARED) as server:
        told = await call(server.client, "upscale_video", source=DREAMINA, resolution="4K")

    assert told["isError"] is True


async def test_a_job_that_has_ended_is_its_own_answer(tmp_path: Path) -> None:
    async with running(tmp_path, client_options=DECLARED) as server:
        await started(server, DREAMINA)
        await asyncio.sleep(60)
        again = await call(server.client, "upscale_video", source=DREAMINA)

    assert again["structuredContent"]["status"] == "completed"
    assert again["structuredContent"]["reused"] is True
    assert len(server.posts()) == 1


@pytest.mark.parametrize("tool", ["get_job", "cancel_job"])
async def test_a_tool_that_starts_nothing_answers_as_ever(tmp_path: Path, tool: str) -> None:
    async with running(tmp_path, client_options=DECLARED) as server:
        task_id = await started(server, DREAMINA)
        told = await call(server.client, tool, job_id=task_id)

    assert told["structuredContent"]["job_id"] == task_id


@pytest.mark.parametrize(
    "task_id",
    [
        "nonsense",
        f"{OUR_ID_PREFIX}{'0' * 26}",
        DREAMINA.replace("0302140530123456789", "0302140530000000000"),
        "user:1-pixverse:user@example.com-video:1",
        "../accounts",
    ],
)
@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_a_task_id_that_nobody_made_is_unknown(
    tmp_path: Path, method: Any, task_id: str
) -> None:
    async with running(tmp_path, client_options=DECLARED) as server:
        with pytest.raises(MCPError) as error:
            await ask(server.client, method, task_id)

    assert error.value.code == -32602


async def test_the_question_comes_first_and_then_the_task(tmp_path: Path) -> None:
    asked: list[str] = []

    async def accept(context: object, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"confirm": True})

    tasks = TasksClient()
    options = {"extensions": [tasks], "elicitation_callback": accept}
    async with running(tmp_path, client_options=options, USEAPI_CONFIRM_CREDITS="50") as server:
        reply = await server.call("upscale_video", source=FLOW, resolution="4K")

    [created] = tasks.created
    assert len(asked) == 1
    assert fits(created)
    assert reply.job["status"] == "completed"
    assert len(server.posts()) == 1


async def test_who_declines_gets_no_task_and_nothing_is_sent(tmp_path: Path) -> None:
    async def decline(*_: object) -> ElicitResult:
        return ElicitResult(action="decline")

    options = {**DECLARED, "elicitation_callback": decline}
    async with running(tmp_path, client_options=options, USEAPI_CONFIRM_CREDITS="50") as server:
        reply = await server.call("upscale_video", source=FLOW, resolution="4K")

    assert reply.error["code"] == "declined"
    assert [] == server.posts()


async def test_a_job_that_its_vendor_cancels_is_a_cancelled_task(tmp_path: Path) -> None:
    async with running(tmp_path, client_options=DECLARED, job_seconds=1000) as server:
        task_id = await started(server, DREAMINA)
        await ask(server.client, "tasks/cancel", task_id)
        told = await seen(server, task_id)

    assert told["status"] == "cancelled"
    assert "DELETE" in {request.method for request in server.network.sent}


async def test_a_job_that_can_not_be_cancelled_goes_on(tmp_path: Path) -> None:
    """Cancelling is a wish, and it is acknowledged all the same (SEP-2663)."""
    async with running(tmp_path, client_options=DECLARED, job_seconds=1000) as server:
        task_id = await started(server, PIXVERSE)
        await ask(server.client, "tasks/cancel", task_id)
        told = await seen(server, task_id)

    assert told["status"] == "working"


async def test_a_task_that_has_ended_is_not_cancelled_any_more(tmp_path: Path) -> None:
    async with running(tmp_path, client_options=DECLARED) as server:
        task_id = await started(server, DREAMINA)
        await asyncio.sleep(60)
        await ask(server.client, "tasks/cancel", task_id)
        told = await seen(server, task_id)

    assert told["status"] == "completed"
    assert "DELETE" not in {request.method for request in server.network.sent}


async def test_a_request_without_an_answer_is_not_given_up_by_tasks_cancel(tmp_path: Path) -> None:
    async with running(tmp_path, client_options=DECLARED) as server:
        server.network.faults.append(Fault(after_s=100))
        task_id = await started(server, DREAMINA)
        await ask(server.client, "tasks/cancel", task_id)
        await asyncio.sleep(120)
        told = await seen(server, task_id)

    assert told["status"] == "completed"
    assert len(server.posts()) == 1


async def test_an_unconfirmed_job_is_never_given_up_by_tasks_cancel(tmp_path: Path) -> None:
    """Its key would be free, and the same call could be charged a second time."""
    async with running(tmp_path, client_options=DECLARED) as server:
        server.network.faults.append(CUT)
        task_id = await started(server, PIXVERSE)
        await asyncio.sleep(120)

        await ask(server.client, "tasks/cancel", task_id)

        told = await seen(server, task_id)
        listed = await server.call("list_jobs", status="unconfirmed")
        again = await server.call("upscale_video", source=PIXVERSE)
    assert told["status"] == "completed"
    assert told["result"]["structuredContent"]["status"] == "unconfirmed"
    assert told["result"]["isError"] is False
    assert [task_id] == [job["job_id"] for job in (listed.data or {})["jobs"]]
    assert again.job["status"] == "unconfirmed"
    assert len(server.posts()) == 1


async def test_a_read_that_fails_says_nothing_about_the_task(tmp_path: Path) -> None:
    busy = httpx.Response(429, json={"error": "busy"}, headers={"Retry-After": "40"})
    async with running(tmp_path, client_options=DECLARED) as server:
        created = await call(server.client, "upscale_video", source=DREAMINA)
        await asyncio.sleep(30)
        server.network.concerns = lambda request: request.method == "GET"
        server.network.faults.append(Fault(then=busy))

        unread = await seen(server, created["taskId"])

        assert unread["status"] == "working"
        assert unread["createdAt"] == created["createdAt"]
        assert unread["pollIntervalMs"] == 40_000
        assert (await seen(server, created["taskId"]))["status"] == "completed"


async def test_asking_on_is_not_advised_where_it_would_not_help(tmp_path: Path) -> None:
    unauthorized = httpx.Response(401, json={"error": "Unauthorized"})
    async with running(tmp_path, client_options=DECLARED) as server:
        task_id = await started(server, DREAMINA)
        await asyncio.sleep(30)
        server.network.concerns = lambda request: request.method == "GET"
        server.network.faults.append(Fault(then=unauthorized))

        with pytest.raises(MCPError) as error:
            await ask(server.client, "tasks/get", task_id)

        assert error.value.code == -32603
        assert error.value.data["code"] == "wrong_token"
        assert (await seen(server, task_id))["status"] == "completed"


async def accept(*_: object) -> ElicitResult:
    return ElicitResult(action="accept", content={"confirm": True})


CLIENTS: list[dict[str, Any]] = [
    {},
    {"elicitation_callback": accept},
    DECLARED,
    {"mode": "legacy"},
]
"""A plain, an eliciting, a tasks and a legacy client."""


@pytest.mark.parametrize("first", range(4))
async def test_the_same_call_through_four_clients_is_one_job(tmp_path: Path, first: int) -> None:
    """Whoever comes first; and all of them find it."""
    order = CLIENTS[first:] + CLIENTS[:first]

    async def through(options: dict[str, Any], do: Callable[[Harness], Awaitable[str]]) -> str:
        async with running(
            tmp_path, sandbox=sandbox, network=network, clock=clock, client_options=options
        ) as server:
            return await do(server)

    async def upscale(server: Harness) -> str:
        given = {"source": FLOW, "resolution": "4K"}
        return str((await server.call("upscale_video", **given)).job["job_id"])

    async def read(server: Harness) -> str:
        return str((await server.call("get_job", job_id=ids[0])).job["job_id"])

    async with running(tmp_path, job_seconds=1000) as shared:
        sandbox, network, clock = shared.sandbox, shared.network, shared.clock
    ids = [await through(options, upscale) for options in order]
    found = [await through(options, read) for options in order]

    assert len({*ids, *found}) == 1
    assert len([request for request in network.sent if request.method == "POST"]) == 1
