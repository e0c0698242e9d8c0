"""Known names: a call of what does not exist is the protocol's error, and no traceback."""

from pathlib import Path
from typing import Any

import pytest
from mcp import MCPError
from mcp.types import Request, RequestParams, Result
from pydantic import ConfigDict

from tests.support.harness import GOOD, running
from tests.support.tasks_client import DECLARED


class _Anything(RequestParams):
    model_config = ConfigDict(extra="allow")


class _Ask(Request[_Anything, str]):
    method: str


CLIENTS: list[dict[str, Any]] = [{}, {"mode": "legacy"}, DECLARED]


@pytest.mark.parametrize("options", CLIENTS)
@pytest.mark.parametrize(
    "name", ["no_such_tool", "", "upscale_video ", "UPSCALE_VIDEO", "x" * 5000]
)
async def test_an_unknown_tool_is_an_error_of_the_protocol(
    tmp_path: Path, options: dict[str, Any], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, client_options=options) as server:
        with pytest.raises(MCPError) as error:
            await server.client.call_tool(name, {})

    assert error.value.code == -32602
    assert error.value.message.startswith("Unknown tool")
    assert len(error.value.message) < 250
    assert [] == [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("options", CLIENTS)
@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("no_such_prompt", None, "Unknown prompt: no_such_prompt"),
        ("no\nsuch\x1b[31m prompt", None, "Unknown prompt: no such prompt"),
        ("enhance_clip", None, "The prompt enhance_clip needs: source"),
        ("enhance_clip", {}, "The prompt enhance_clip needs: source"),
        ("enhance_clip", {"fps": "60"}, "The prompt enhance_clip needs: source"),
    ],
)
async def test_so_is_an_unknown_prompt_or_one_without_its_argument(
    tmp_path: Path,
    options: dict[str, Any],
    name: str,
    given: dict[str, str] | None,
    told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(tmp_path, client_options=options) as server:
        with pytest.raises(MCPError) as error:
            await server.client.get_prompt(name, given)

    assert (error.value.code, error.value.message) == (-32602, told)
    assert [] == [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("method", ["tools/call", "prompts/get"])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"name": None},
        {"name": 5},
        {"name": ["upscale_video"]},
        {"name": {"a": 1}},
        {"name": "upscale_video", "arguments": []},
        {"name": "enhance_clip", "arguments": "source"},
        {"name": "enhance_clip", "arguments": {"source": 5}},
    ],
)
async def test_names_that_are_none_are_refused_too(
    tmp_path: Path, method: str, params: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as server:
        ask = _Ask(method=method, params=_Anything.model_validate(params))
        with pytest.raises(MCPError) as error:
            await server.client.session.send_request(ask, Result)

    assert error.value.code == -32602
    assert [] == [record for record in caplog.records if record.exc_info]


async def test_what_exists_is_let_pass(tmp_path: Path) -> None:
    given = {"source": GOOD["dreamina", "video"]}
    async with running(tmp_path) as server:
        reply = await server.call("list_jobs")
        prompt = await server.client.get_prompt("enhance_clip", given)

    assert not reply.is_error
    assert prompt.messages
