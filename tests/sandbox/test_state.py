"""The shared state: ids, moments, refusals."""

import pytest

from mcp_server.sandbox import state
from mcp_server.sandbox.responses import RefusedError

NOON = 1_780_056_000.5  # 2026-05-29T12:00:00.5Z


def new_state() -> state.SandboxState:
    return state.SandboxState(job_seconds=3, now=lambda: NOON)


def test_ids_made_in_the_same_moment_differ() -> None:
    """Two submits in one millisecond must not share a job."""
    shared = new_state()

    assert ["0529120000500000001", "0529120000500000002"] == [shared.digits(), shared.digits()]


def test_a_moment_is_written_in_utc_with_milliseconds() -> None:
    """POST dreamina/videos/upscale, 2 April 2026: "2026-04-02T00:24:24.535Z"."""
    assert "2026-05-29T12:00:00.500Z" == state.iso(NOON)


@pytest.mark.parametrize(("seconds", "expected"), [(0, "00:00"), (61.9, "01:01"), (3600, "60:00")])
def test_elapsed_time_is_minutes_and_seconds(seconds: float, expected: str) -> None:
    """GET pixverse/scheduler, 9 March 2026: "MM:SS"."""
    assert expected == state.minutes_and_seconds(seconds)


def test_the_next_utc_midnight_is_never_now() -> None:
    midnight = NOON + state.until_midnight_utc(NOON)

    assert "2026-05-30T00:00:00" == state.iso(midnight)[:19]
    assert 86_400 == state.until_midnight_utc(midnight - 0.5)


def test_a_refusal_with_a_count_ends() -> None:
    shared = new_state()
    refusals = {"a": state.Refusal("twice", 429, {"error": "Busy"}, 5, times=2)}

    for _ in range(2):
        with pytest.raises(RefusedError) as refused:
            shared.refuse("a", refusals)
        assert "5" == refused.value.response.headers["retry-after"]
    shared.refuse("a", refusals)
    shared.refuse("b", refusals)
