"""Tasks: the extension's own rules, on three answers that are made up here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jsonschema
import pytest
from mcp import Client, MCPError
from mcp.server import MCPServer
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    Result,
    SubscriptionFilter,
    SubscriptionsListenRequest,
    SubscriptionsListenRequestParams,
    TextContent,
)

from mcp_server.server.tasks import (
    IDENTIFIER,
    RequestContext,
    Task,
    Tasks,
    refuse_undeclared_listen,
)
from tests.support.tasks_client import DECLARED, ask, call

NOW = "2026-11-21T10:15:00.000Z"
TEXT = {"type": "string"}
KNOWN = {  # ext-tasks, schema/draft (August 2026): what each shape must and may hold
    "taskId": TEXT,
    "status": {"enum": ["working", "input_required", "completed", "failed", "cancelled"]},
    "statusMessage": TEXT,
    "createdAt": TEXT,
    "lastUpdatedAt": TEXT,
    "ttlMs": {"type": ["integer", "null"]},
    "pollIntervalMs": {"type": "integer"},
    "_meta": {"type": "object"},
}
REQUIRED = ["resultType", "taskId", "status", "createdAt", "lastUpdatedAt", "ttlMs"]
CREATED = {
    "type": "object",
    "required": REQUIRED,
    "properties": KNOWN | {"resultType": {"const": "task"}},
    "additionalProperties": False,
}


def got(status: str, **more: dict[str, Any]) -> dict[str, Any]:
    """The shape of a task in this status, with what it must hold besides."""
    told = {"resultType": {"const": "complete"}, "status": {"const": status}}
    return {
        "type": "object",
        "required": [*REQUIRED, *more],
        "properties": KNOWN | told | more,
        "additionalProperties": False,
    }


ERROR = {"type": "object", "required": ["code", "message"]}
GOT = {
    "working": got("working"),
    "completed": got("completed", result={"type": "object", "required": ["content"]}),
    "failed": got("failed", error=ERROR),
    "cancelled": got("cancelled"),
}


def fits(told: dict[str, Any]) -> bool:
    """Whether an answer has the shape that the specification gives it."""
    shape = CREATED if told.get("resultType") == "task" else GOT[told["status"]]
    jsonschema.validate(told, shape)
    return True


def task(task_id: str, **more: Any) -> Task:
    fixed = {"created_at": NOW, "last_updated_at": NOW, "ttl_ms": None}
    return Task.model_validate({"task_id": task_id, "status": "working", **fixed, **more})


class Jobs:
    """What the extension asks, answered from a dict; `cancelled` is what it was asked to cancel."""

    def __init__(self, **tasks: Task) -> None:
        self.tasks = tasks
        self.cancelled: list[str] = []

    def created(
        self, ctx: RequestContext, params: CallToolRequestParams, result: CallToolResult
    ) -> Task | None:
        return task("begun") if params.name == "begin" else None

    async def get(self, ctx: RequestContext, task_id: str) -> Task | None:
        return self.tasks.get(task_id)

    async def cancel(self, ctx: RequestContext, task_id: str) -> Task | None:
        self.cancelled.append(task_id)
        return self.tasks.get(task_id)


@asynccontextmanager
async def client_of(jobs: Jobs, **options: Any) -> AsyncIterator[Client]:
    server: MCPServer[None] = MCPServer(
        "tasks",
        extensions=[Tasks(created=jobs.created, get=jobs.get, cancel=jobs.cancel)],
        middleware=[refuse_undeclared_listen],
        log_level="WARNING",
    )

    @server.tool()
    async def begin() -> str:
        return "as it is"

    @server.tool()
    async def plain() -> str:
        return "as it is"

    @server.tool()
    async def fail() -> CallToolResult:
        said = TextContent(type="text", text="refused")
        return CallToolResult(content=[said], is_error=True)

    async with Client(server, **options) as client:
        yield client


async def test_the_server_says_that_it_knows_tasks() -> None:
    async with client_of(Jobs()) as client:
        assert client.server_capabilities.extensions == {IDENTIFIER: {}}


async def test_a_client_that_declares_tasks_gets_one() -> None:
    async with client_of(Jobs(), **DECLARED) as client:
        told = await call(client, "begin")

    assert told["resultType"] == "task"
    assert told["taskId"] == "begun"
    assert fits(told)


@pytest.mark.parametrize("options", [{}, {"mode": "legacy"}, {"mode": "legacy", **DECLARED}])
async def test_any_other_client_gets_the_tools_answer(options: dict[str, Any]) -> None:
    async with client_of(Jobs(), **options) as client:
        told = await call(client, "begin")

    assert told["content"][0]["text"] == "as it is"


@pytest.mark.parametrize("tool", ["plain", "fail"])
async def test_what_is_no_task_is_answered_as_ever(tool: str) -> None:
    async with client_of(Jobs(), **DECLARED) as client:
        told = await call(client, tool)

    assert told["isError"] == (tool == "fail")
    assert "taskId" not in told


@pytest.mark.parametrize(
    "known",
    [
        task("a", poll_interval_ms=5000),
        task("a", ttl_ms=86_400_000, status_message="running"),
        task("a", status="completed", result={"content": [], "isError": True}),
        task("a", status="failed", error={"code": -32603, "message": "broke"}),
        task("a", status="cancelled"),
    ],
)
async def test_a_task_is_told_in_the_shape_of_its_status(known: Task) -> None:
    async with client_of(Jobs(a=known), **DECLARED) as client:
        told = await ask(client, "tasks/get", "a")

    assert told["status"] == known.status
    assert told["ttlMs"] == known.ttl_ms
    assert fits(told)


async def test_cancelling_and_updating_are_only_acknowledged() -> None:
    jobs = Jobs(a=task("a"))
    async with client_of(jobs, **DECLARED) as client:
        cancelled = await ask(client, "tasks/cancel", "a")
        updated = await ask(client, "tasks/update", "a", {"x": {"action": "accept"}})

    for told in (cancelled, updated):
        assert {n for n, value in told.items() if value is not None} - {"_meta"} == {"resultType"}
        assert told["resultType"] == "complete"
    assert ["a"] == jobs.cancelled


METHODS = ["tasks/get", "tasks/update", "tasks/cancel"]


@pytest.mark.parametrize("method", METHODS)
async def test_a_task_that_nobody_made_is_unknown(method: Any) -> None:
    async with client_of(Jobs(), **DECLARED) as client:
        with pytest.raises(MCPError) as error:
            await ask(client, method, "a")

    assert error.value.code == -32602
    assert "not found" in error.value.message


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task_id", ["", "x" * 513])
async def test_so_is_an_id_that_is_none(method: Any, task_id: str) -> None:
    async with client_of(Jobs(), **DECLARED) as client:
        with pytest.raises(MCPError) as error:
            await ask(client, method, task_id)

    assert error.value.code == -32602


@pytest.mark.parametrize("method", METHODS)
async def test_who_did_not_declare_tasks_may_not_ask_for_them(method: Any) -> None:
    jobs = Jobs(a=task("a"))
    async with client_of(jobs) as client:
        with pytest.raises(MCPError) as error:
            await ask(client, method, "a")

    assert error.value.code == -32021
    assert error.value.data == {"requiredCapabilities": {"extensions": {IDENTIFIER: {}}}}
    assert [] == jobs.cancelled


@pytest.mark.parametrize("method", METHODS)
async def test_to_the_older_protocol_these_methods_do_not_exist(method: Any) -> None:
    async with client_of(Jobs(a=task("a")), mode="legacy", **DECLARED) as client:
        with pytest.raises(MCPError) as error:
            await ask(client, method, "a")

    assert error.value.code == -32601


@pytest.mark.parametrize(
    ("options", "wish", "refused"),
    [({}, {"taskIds": ["a"]}, True), (DECLARED, {"taskIds": ["a"]}, False), ({}, {}, False)],
)
async def test_only_who_declares_tasks_may_listen_for_them(
    options: dict[str, Any], wish: dict[str, Any], refused: bool
) -> None:
    """A stream that is let in stays open: that no answer comes is the answer."""
    wanted = SubscriptionFilter.model_validate(wish)
    listen = SubscriptionsListenRequest(
        params=SubscriptionsListenRequestParams(notifications=wanted)
    )
    async with client_of(Jobs(a=task("a")), **options) as client:
        with pytest.raises(MCPError) as error:
            await client.session.send_request(listen, Result, request_read_timeout_seconds=5)

    assert (error.value.code == -32021) == refused
