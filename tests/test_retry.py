"""The retry policy: every cell of its table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.retry import LONGEST_WAIT_S, TRIES, Outcome, pause_before_retry


@pytest.mark.parametrize(
    ("outcome", "paid", "tries", "wait_s", "waited", "expected_s"),
    [
        # could not connect: three tries, whatever it is; the back-off doubles
        (Outcome.NOT_SENT, False, 1, None, False, 0.5),
        (Outcome.NOT_SENT, False, 2, None, False, 1.0),
        (Outcome.NOT_SENT, False, 3, None, False, None),
        (Outcome.NOT_SENT, True, 1, None, False, 0.5),
        (Outcome.NOT_SENT, True, 2, None, False, 1.0),
        (Outcome.NOT_SENT, True, 3, None, False, None),
        # 429 with a known, short wait: once more, exactly then
        (Outcome.RATE_LIMITED, False, 1, 0.0, False, 0.0),
        (Outcome.RATE_LIMITED, False, 1, 7.0, False, 7.0),
        (Outcome.RATE_LIMITED, False, 1, 10.0, False, 10.0),
        (Outcome.RATE_LIMITED, True, 1, 7.0, False, 7.0),
        (Outcome.RATE_LIMITED, True, 1, 10.0, False, 10.0),
        # … even after tries that never left, but not twice
        (Outcome.RATE_LIMITED, True, 3, 7.0, False, 7.0),
        (Outcome.RATE_LIMITED, False, 2, 7.0, True, None),
        (Outcome.RATE_LIMITED, True, 2, 7.0, True, None),
        # 429 otherwise: for the caller to wait
        (Outcome.RATE_LIMITED, False, 1, None, False, None),
        (Outcome.RATE_LIMITED, False, 1, 10.1, False, None),
        (Outcome.RATE_LIMITED, True, 1, None, False, None),
        (Outcome.RATE_LIMITED, True, 1, 1800.0, False, None),
        # cut after sending, 408, 5xx: a read again, a paid request never
        (Outcome.UNKNOWN, False, 1, None, False, 0.5),
        (Outcome.UNKNOWN, False, 2, None, False, 1.0),
        (Outcome.UNKNOWN, False, 3, None, False, None),
        (Outcome.UNKNOWN, True, 1, None, False, None),
        (Outcome.UNKNOWN, True, 1, 5.0, False, None),
        # any other refusal
        (Outcome.REFUSED, False, 1, None, False, None),
        (Outcome.REFUSED, False, 1, 5.0, False, None),
        (Outcome.REFUSED, True, 1, None, False, None),
    ],
)
def test_every_cell_of_the_table(
    outcome: Outcome,
    paid: bool,
    tries: int,
    wait_s: float | None,
    waited: bool,
    expected_s: float | None,
) -> None:
    found_s = pause_before_retry(
        outcome,
        paid=paid,
        tries=tries,
        vendor_wait_s=wait_s,
        waited_before=waited,
        random=lambda: 1.0,
    )

    assert expected_s == found_s


@given(st.sampled_from(Outcome), st.booleans(), st.integers(1, 9), st.floats(0, 1))
def test_a_pause_is_never_longer_than_a_client_waits(
    outcome: Outcome, paid: bool, tries: int, random: float
) -> None:
    pause_s = pause_before_retry(
        outcome,
        paid=paid,
        tries=tries,
        vendor_wait_s=None,
        waited_before=False,
        random=lambda: random,
    )

    assert pause_s is None or 0 <= pause_s <= 5


@given(st.booleans(), st.integers(1, 9), st.floats(0, 3600), st.booleans())
def test_a_paid_request_that_may_have_been_done_is_never_sent_again(
    waited: bool, tries: int, wait_s: float, twice: bool
) -> None:
    assert None is pause_before_retry(
        Outcome.UNKNOWN,
        paid=True,
        tries=tries,
        vendor_wait_s=wait_s if twice else None,
        waited_before=waited,
        random=lambda: 0.0,
    )


def test_the_back_off_is_spread_over_its_whole_length() -> None:
    pauses = [
        pause_before_retry(
            Outcome.NOT_SENT,
            paid=False,
            tries=2,
            vendor_wait_s=None,
            waited_before=False,
            random=lambda r=r: r,  # type: ignore[misc]
        )
        for r in (0.0, 0.25, 1.0)
    ]

    assert [0.0, 0.25, 1.0] == pauses


def test_three_tries_and_ten_seconds_are_what_the_design_says() -> None:
    assert (3, 10.0) == (TRIES, LONGEST_WAIT_S)
