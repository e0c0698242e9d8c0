"""Cancellation: callers that leave at any moment cost the next ones nothing."""

import asyncio
from pathlib import Path

import pytest
from mcp import Client

from mcp_server.server.factory import create_server
from tests.stress.callers import (
    CALLERS,
    ROUNDS_OF_A_TEST,
    half_written,
    many_rounds,
    served,
    settings,
)
from tests.support.harness import GOOD, reply
from tests.support.limits import LONGEST_S


def test_callers_that_leave_at_any_moment_leave_nothing_behind(tmp_path: Path) -> None:
    """`make callers` does it far more often."""
    left = asyncio.run(many_rounds(ROUNDS_OF_A_TEST, tmp_path))

    assert left > ROUNDS_OF_A_TEST * CALLERS / 10
    assert [] == half_written(tmp_path)


@pytest.mark.parametrize("leave_after_s", [0.0, 0.002, 0.01])
def test_a_paid_call_whose_caller_leaves_is_made_once(tmp_path: Path, leave_after_s: float) -> None:
    async def work() -> int:
        source = GOOD["dreamina", "video"]
        async with (
            served() as (sandbox, origin),
            Client(create_server(settings(origin, tmp_path))) as client,
            asyncio.timeout(LONGEST_S),
        ):
            call = asyncio.create_task(client.call_tool("upscale_video", {"source": source}))
            await asyncio.sleep(leave_after_s)
            call.cancel()
            await asyncio.wait({call})
            again = reply(await client.call_tool("upscale_video", {"source": source}))

            assert not again.is_error, again.text
            return len(sandbox.accepted)

    assert 1 == asyncio.run(work())
