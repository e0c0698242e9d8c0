"""HTTP outcomes: whether a request that failed may have been done, on which money depends."""

from typing import Any

import pytest

from mcp_server.errors import (
    RefusedError,
    ServerError,
    UnansweredError,
    UnexpectedAnswerError,
    UnreachableError,
    UseapiError,
)
from mcp_server.retry import Outcome
from mcp_server.upstream.responses import BadResponse, ServiceInfo, interrupted, not_sent, refused

VENDOR = ServiceInfo("plain", "Plain")


def of_status(status: int, data: Any, *, paid: bool) -> tuple[Outcome, UseapiError]:
    failure = refused(VENDOR, BadResponse(status, data, None, 0.0), paid=paid)
    return failure.outcome, failure.error


@pytest.mark.parametrize("paid", [True, False])
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 410, 412, 422, 596])
def test_a_plain_refusal_is_final(status: int, paid: bool) -> None:
    outcome, error = of_status(status, {"error": "x"}, paid=paid)

    assert Outcome.REFUSED is outcome
    assert not error.retryable


@pytest.mark.parametrize("data", [None, {"message": "Forbidden"}, "text"])
@pytest.mark.parametrize("status", [400, 402, 403, 404, 410, 413, 422, 596])
def test_a_gateways_refusal_is_final_for_a_read_alone(status: int, data: Any) -> None:
    """The vendor behind it may go on with what is paid."""
    paid, read = (of_status(status, data, paid=is_paid) for is_paid in (True, False))

    assert (Outcome.UNKNOWN, UnansweredError) == (paid[0], type(paid[1]))
    gone = status in (404, 410)  # of a gateway, that says nothing of the job
    assert (Outcome.UNKNOWN if gone else Outcome.REFUSED) is read[0]


@pytest.mark.parametrize("paid", [True, False])
@pytest.mark.parametrize("data", [None, {"message": "Unauthorized"}])
def test_a_wrong_token_is_final_whoever_says_so(data: Any, paid: bool) -> None:
    assert Outcome.REFUSED is of_status(401, data, paid=paid)[0]


@pytest.mark.parametrize("paid", [True, False])
def test_429_was_refused_before_any_work(paid: bool) -> None:
    failure = refused(VENDOR, BadResponse(429, {"error": "x"}, 7.0, 0.0), paid=paid)

    assert (Outcome.RATE_LIMITED, 7.0, 7) == (
        failure.outcome,
        failure.wait_s,
        failure.error.retry_after_seconds,
    )


@pytest.mark.parametrize(
    ("status", "data", "vendor_answered"),
    [
        (408, {"error": "Polling timeout"}, False),
        (500, {"error": "x"}, True),
        (503, {"error": {"message": "x"}}, True),
        (524, None, False),
        (500, "text", False),
        (200, None, False),
        (302, None, False),
        (302, {"a": 1}, False),
    ],
)
def test_a_paid_request_without_a_good_answer_may_have_been_done(
    status: int, data: Any, vendor_answered: bool
) -> None:
    """Only the vendor's own JSON error proves that its work on the request is over."""
    outcome, error = of_status(status, data, paid=True)

    assert Outcome.UNKNOWN is outcome
    assert isinstance(error, UnansweredError)
    assert (vendor_answered, status) == (error.vendor_answered, error.http_status)


@pytest.mark.parametrize(
    ("status", "data", "kind"),
    [
        (500, {"error": "x"}, ServerError),
        (524, None, ServerError),
        (200, None, UnexpectedAnswerError),
        (302, {"a": 1}, UnexpectedAnswerError),
        (700, {"a": 1}, UnexpectedAnswerError),
    ],
)
def test_a_read_without_a_good_answer_says_what_came(
    status: int, data: Any, kind: type[UseapiError]
) -> None:
    outcome, error = of_status(status, data, paid=False)

    assert (Outcome.UNKNOWN, kind, status) == (outcome, type(error), error.http_status)


def test_what_never_left_is_told_as_that() -> None:
    failure = not_sent(VENDOR, "ConnectError", "Check the network.")

    assert Outcome.NOT_SENT is failure.outcome
    assert isinstance(failure.error, UnreachableError)
    assert failure.error.message.endswith("(ConnectError): nothing was sent.")


@pytest.mark.parametrize(
    ("paid", "unusable", "kind"),
    [
        (True, True, UnansweredError),
        (True, False, UnansweredError),
        (False, True, UnexpectedAnswerError),
        (False, False, UnreachableError),
    ],
)
def test_what_broke_off_after_it_left_may_have_been_done(
    paid: bool, unusable: bool, kind: type[UseapiError]
) -> None:
    failure = interrupted(VENDOR, "ReadTimeout", paid=paid, unusable=unusable)

    assert (Outcome.UNKNOWN, kind) == (failure.outcome, type(failure.error))
    assert "ReadTimeout" in failure.error.message
    assert not getattr(failure.error, "vendor_answered", False)


def test_a_refusal_is_still_readable_by_its_service() -> None:
    _, error = of_status(400, {"error": "already upscaled: j1"}, paid=True)

    assert isinstance(error, RefusedError)
    assert "already upscaled: j1" == error.vendor_text
