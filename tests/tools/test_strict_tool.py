"""StrictTool: nothing is dropped silently, our errors keep their words, bugs are withheld."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from mcp import Client
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import Resolve
from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, Field

from mcp_server.clock import Clock
from mcp_server.errors import DeclinedError
from mcp_server.metrics import Metrics
from mcp_server.tools.strict_tool import StrictTool
from tests.support.harness import Reply, reply


def say(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)])


async def call(
    function: Callable[..., Any], metrics: Metrics | None = None, /, **arguments: Any
) -> Reply:
    """Call a function as the only tool of a server."""

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[SimpleNamespace]:
        yield SimpleNamespace(
            settings=SimpleNamespace(sandbox=False),
            fault=None,
            clock=Clock(),
            metrics=metrics or Metrics(),
        )

    tool = StrictTool.of(function, description="For a test.")
    server: MCPServer[Any] = MCPServer("test", tools=[tool], lifespan=lifespan)
    async with Client(server) as client:
        return reply(await client.call_tool(tool.name, arguments))


async def test_an_argument_it_does_not_take_is_refused() -> None:
    async def tool(size: str | None = None) -> CallToolResult:
        raise AssertionError("a misspelt option must not get here")

    told = await call(tool, sice="4K")

    assert "tool has no argument sice, so nothing was done. It takes: size." in told.text
    assert told.error["code"] == "invalid_argument"


async def test_a_strange_name_is_told_on_one_short_line() -> None:
    async def tool(size: str | None = None) -> CallToolResult:
        raise AssertionError("unreachable")

    told = await call(tool, **{"a\x1b[31m\n" + "b" * 500: 1})

    assert len(told.text.splitlines()) == 2
    assert len(told.text) < 300


async def test_a_tool_without_arguments_says_that_it_takes_none() -> None:
    async def tool() -> CallToolResult:
        raise AssertionError("unreachable")

    assert "It takes: none." in (await call(tool, size="4K")).text


@pytest.mark.parametrize(
    "name", ["toolCallId", "sessionId", "action", "chatInput", "tool", "_meta", "random_string"]
)
async def test_what_a_host_adds_by_itself_is_dropped(name: str) -> None:
    """n8n adds most of these; some hosts give a tool without arguments a random string."""

    async def tool(size: str | None = None) -> CallToolResult:
        return say(f"size {size}")

    assert "size 4K" == (await call(tool, size="4K", **{name: "call_x"})).text


async def test_an_argument_is_taken_though_a_host_may_add_one_of_that_name() -> None:
    async def tool(action: str) -> CallToolResult:
        return say(action)

    assert "cancel" == (await call(tool, action="cancel")).text


async def test_a_hundred_thousand_unknown_arguments_are_refused_by_the_first() -> None:
    async def tool(size: str | None = None) -> CallToolResult:
        raise AssertionError("unreachable")

    told = await call(tool, **{f"n{number}": 1 for number in range(100_000)})

    assert told.text.startswith("tool has no argument n0, so nothing was done. It takes: size.")


@pytest.mark.parametrize("text", ['{"a": 1}', "[1]", "null", "true", "3"])
async def test_a_string_stays_a_string(text: str) -> None:
    """The SDK would parse what looks like JSON."""

    async def tool(ref: str | None = None) -> CallToolResult:
        return say(repr(ref))

    assert repr(text) == (await call(tool, ref=text)).text


@pytest.mark.parametrize("nothing", [None, ""])
async def test_nothing_is_not_given(nothing: str | None) -> None:
    async def tool(ref: str = "the default") -> CallToolResult:
        return say(ref)

    assert (await call(tool, ref=nothing)).text == "the default"


@pytest.mark.parametrize("given", [True, False, "many", [1], {"a": 1}, 1.5])
async def test_what_is_no_number_is_not_taken_for_one(given: object) -> None:
    async def tool(count: Annotated[int | None, Field(ge=1, le=9)] = None) -> CallToolResult:
        raise AssertionError("unreachable")

    told = await call(tool, count=given)

    assert "count must be a whole number from 1 to 9, so nothing was done." in told.text


async def test_our_errors_reach_the_agent_in_our_words() -> None:
    async def tool() -> CallToolResult:
        raise DeclinedError(message="The user said no.", hint="Don't ask again.")

    told = await call(tool)

    assert told.text.startswith("The user said no. Don't ask again.\n{")
    assert told.error["code"] == "declined"


async def test_each_call_is_counted_and_is_one_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "mcp_server.tools.strict_tool")
    metrics = Metrics()

    async def tool(is_declined: bool = False) -> CallToolResult:
        await asyncio.sleep(3)
        if is_declined:
            raise DeclinedError(message="The user said no.", hint="Don't ask again.")
        return say("done")

    await call(tool, metrics)
    await call(tool, metrics, is_declined=True)
    leaving = asyncio.create_task(call(tool, metrics))
    await asyncio.sleep(1)
    leaving.cancel()
    await asyncio.wait({leaving})

    ms = {"ok": 3000, "error": 3000, "cancelled": 1000}
    assert [f"tool: {outcome} in {took} ms" for outcome, took in ms.items()] == [
        record.getMessage() for record in caplog.records
    ]
    for record, (outcome, took) in zip(caplog.records, ms.items(), strict=True):
        facts = dict(vars(record)["facts"])
        assert facts.pop("request_id")
        assert {"tool": "tool", "outcome": outcome, "ms": took} == facts
    assert {("tool", outcome): took / 1000 for outcome, took in ms.items()} == {
        labels: durations.total_s for labels, durations in metrics.calls.items()
    }
    assert {"declined": 1} == metrics.refusals


async def test_a_bug_is_told_in_our_words_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def tool() -> CallToolResult:
        raise RuntimeError("the secret of user:1-abc")

    told = await call(tool)

    assert "A fault in this server ended tool; its log has it. Tell the user." in told.text
    assert {"code": "internal", "retryable": False, "next_action": "tell_user"} == told.error
    assert "secret" not in told.text
    (logged,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert logged.exc_info is not None
    assert "the secret" in str(getattr(logged.exc_info[1], "__cause__", None))


async def test_an_error_of_ours_is_told_though_others_were_raised_from_it() -> None:
    async def resolver() -> str:
        declined = DeclinedError(message="The user said no.", hint="Don't ask again.")
        raise ToolError("Resolver 'resolver': something") from declined

    async def tool(agreed: Annotated[str, Resolve(resolver)]) -> CallToolResult:
        raise AssertionError("unreachable")

    assert "declined" == (await call(tool)).error["code"]


async def test_an_error_of_the_sdk_is_a_fault_of_this_server() -> None:
    async def tool() -> CallToolResult:
        raise ToolError("Resolver 'mcp_server.tools.consent:consenter': a text of the SDK")

    told = await call(tool)

    assert "internal" == told.error["code"]
    assert "consenter" not in told.text


class Inner(BaseModel):
    number: int


async def test_a_bug_that_looks_like_a_wrong_argument_is_withheld_too() -> None:
    async def tool(number: Annotated[int, Field(ge=0, le=9)] = 0) -> CallToolResult:
        Inner.model_validate({"number": "secret"})
        raise AssertionError("unreachable")

    told = await call(tool)

    assert "internal" == told.error["code"]
    assert "secret" not in told.text
