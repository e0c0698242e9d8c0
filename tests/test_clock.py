"""The clock: real time outside, the loop's time inside, and ISO 8601 between."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.clock import Clock, epoch, iso


def test_now_is_seconds_since_the_epoch() -> None:
    before = time.time()

    now = Clock().now()

    assert before <= now <= time.time()


async def test_sleeping_takes_the_loops_time_and_elapsed_tells_how_much() -> None:
    clock = Clock()
    began = clock.elapsed()

    await clock.sleep(90.5)

    assert 90.5 == clock.elapsed() - began
    assert asyncio.get_running_loop().time() == clock.elapsed()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2026-11-21T10:15:00.000Z", 1795256100.0),
        ("2026-11-21T10:15:00Z", 1795256100.0),
        ("2026-11-21T11:15:00+01:00", 1795256100.0),
        ("2026-11-21T10:15:00", 1795256100.0),  # no zone means UTC
        ("2026-11-21T10:15:00.250Z", 1795256100.25),
        ("2026-11-21", 1795219200.0),
    ],
)
def test_an_iso_time_is_read(written: str, seconds: float) -> None:
    assert seconds == epoch(written)


@pytest.mark.parametrize("written", ["", "yesterday", "10", "2026-13-01", "2026-11-21T25:00:00Z"])
def test_what_is_no_time_is_none(written: str) -> None:
    assert epoch(written) is None


@given(st.text())
def test_any_text_is_a_time_or_none(written: str) -> None:
    found = epoch(written)

    assert found is None or isinstance(found, float)


@given(st.integers(0, 4_102_444_800_000))
def test_a_time_is_written_and_read_back(milliseconds: int) -> None:
    written = iso(milliseconds / 1000)

    assert written.endswith("Z")
    assert milliseconds / 1000 == pytest.approx(epoch(written), abs=0.001)
