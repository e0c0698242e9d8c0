"""Responses: safe parsing of JSON, waits, and the error for every documented response."""

import email.utils
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.errors import (
    AccountError,
    CreditsError,
    ExpiredError,
    ModeratedError,
    NotFoundError,
    RateLimitError,
    RefusedError,
    ServerError,
    SubscriptionError,
    TokenError,
    UnansweredError,
    UpstreamError,
)
from mcp_server.services.registry import SERVICES
from mcp_server.upstream.fields import link, moment, number, obj, objs, text, whole
from mcp_server.upstream.responses import (
    BadResponse,
    ErrorRule,
    ServiceInfo,
    error_for,
    error_text,
    failure_text,
    parsed,
    refused,
    retry_after_s,
)
from tests.support.harness import EPOCH

PLAIN = ServiceInfo("plain", "Plain")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
RECORDS = st.dictionaries(
    st.sampled_from(["error", "response", "message", "errorDetails", "retryAfter", "details"]),
    JSON | st.dictionaries(st.sampled_from(["error", "message", "status", "details"]), JSON),
)


def error_of(
    status: int, data: Any, vendor: ServiceInfo = PLAIN, wait_s: float | None = None
) -> Any:
    return error_for(vendor, BadResponse(status, data, wait_s, EPOCH))


GATEWAYS = [
    None,
    {"message": "Endpoint request timed out"},  # AWS API Gateway
    {"message": "no Route matched with those values", "request_id": "1"},  # Kong
    {"type": "about:blank", "title": "Not Found", "status": 404, "error": "x"},  # RFC 9457
    {"title": "Error 502: Bad gateway", "status": 502, "cloudflare_error": True},
    {"error": "x", "cloudflare_error": True},
    {"error": None},
]


@pytest.mark.parametrize("body", GATEWAYS)
@pytest.mark.parametrize("status", [404, 410])
def test_only_the_vendor_itself_can_say_that_a_job_is_gone(status: int, body: Any) -> None:
    assert ServerError is type(error_of(status, body))


@pytest.mark.parametrize("body", GATEWAYS)
@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 522])
def test_a_gateways_error_does_not_end_the_vendors_work(status: int, body: Any) -> None:
    failure = refused(PLAIN, BadResponse(status, body, None, EPOCH), paid=True)

    assert isinstance(failure.error, UnansweredError)
    assert not failure.error.vendor_answered


@pytest.mark.parametrize(
    ("status", "answered"),
    [
        (500, True),
        (503, True),
        (408, False),
        (502, False),
        (504, False),
        (520, False),
        (529, False),
    ],
)
@pytest.mark.parametrize("body", [{"error": "x"}, {"error": {"message": "x"}, "code": 500}])
def test_the_vendors_own_error_ends_its_work_unless_gateways_use_its_status(
    status: int, answered: bool, body: Any
) -> None:
    failure = refused(PLAIN, BadResponse(status, body, None, EPOCH), paid=True)

    assert isinstance(failure.error, UnansweredError)
    assert answered == failure.error.vendor_answered


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RefusedError),
        (401, TokenError),
        (402, SubscriptionError),
        (403, RefusedError),
        (404, NotFoundError),
        (405, RefusedError),
        (408, ServerError),
        (409, RefusedError),
        (410, ExpiredError),
        (412, CreditsError),
        (413, RefusedError),
        (422, ModeratedError),
        (429, RateLimitError),
        (500, ServerError),
        (502, ServerError),
        (503, ServerError),
        (504, ServerError),
        (520, ServerError),
        (522, ServerError),
        (523, ServerError),
        (524, ServerError),
        (596, AccountError),
    ],
)
@pytest.mark.parametrize("body", [{"error": "x"}, {"error": {"message": "x"}}, None, [], "x"])
@pytest.mark.parametrize("vendor", [PLAIN, *(service.vendor for service in SERVICES)])
def test_every_documented_status_is_an_error_that_says_what_to_do(
    vendor: ServiceInfo, body: Any, status: int, kind: type[UpstreamError]
) -> None:
    """useapi.net, the services' pages and the platform's conventions (27 July 2026)."""
    error = error_of(status, body, vendor)

    is_gone = status in (404, 410)  # a gateway's word for it does not count
    assert (ServerError if is_gone and not isinstance(body, dict) else kind) is type(error)
    assert (vendor.name, status) == (error.service, error.http_status)
    assert error.message.endswith((".", "”."))
    assert error.hint.endswith(".")


@pytest.mark.parametrize("status", [100, 200, 201, 204, 301, 302, 399, 600, 999])
def test_a_status_that_is_no_error_is_none(status: int) -> None:
    assert error_of(status, {"error": "x"}) is None


@given(st.integers(100, 999), JSON, st.none() | st.floats(0, 1e9))
def test_any_answer_is_explained_or_none(status: int, data: Any, wait_s: float | None) -> None:
    error = error_of(status, data, wait_s=wait_s)

    assert (400 <= status < 600) is isinstance(error, UpstreamError)


def test_the_vendors_words_are_quoted_as_one_line_without_addresses() -> None:
    error = error_of(400, {"error": "Bad\nvideo of jane@example.com \x1b[31m" + "x" * 400})

    assert "It said: “Bad video of ***@*** xxx" in error.message
    assert len(error.message) < 400
    assert "\n" not in error.message


def test_only_words_that_explain_more_than_we_do_are_quoted() -> None:
    known = ErrorRule(
        status=402, text="no plan", error=RefusedError, message="it needs a plan.", hint="Buy one."
    )
    vendor = ServiceInfo("plain", "Plain", (known,))

    assert "Plain: it needs a plan." == error_of(402, {"error": "No plan"}, vendor).message
    assert "“Unpaid”" in error_of(402, {"error": "Unpaid"}, vendor).message
    assert "said" not in error_of(402, {"error": ""}, vendor).message
    assert "said" not in error_of(402, None, vendor).message


def test_a_token_error_quotes_nothing() -> None:
    assert "It said" not in error_of(401, {"error": "Unauthorized"}).message


def test_a_refusal_keeps_what_was_said_for_who_knows_how_to_read_it() -> None:
    said = "Source video already upscaled:\x00 j1"

    assert "Source video already upscaled: j1" == error_of(400, {"error": said}).vendor_text


def test_a_gateways_page_is_told_as_such() -> None:
    assert "status 522 with a gateway's page" in error_of(522, None).message
    assert "gateway" not in error_of(522, {"error": "x"}).message


def test_the_most_precise_problem_wins_whatever_its_case() -> None:
    vendor = ServiceInfo(
        "v",
        "V",
        (
            ErrorRule(
                status=400,
                text="no such FILM",
                error=NotFoundError,
                message="no film.",
                hint="Look.",
            ),
            ErrorRule(
                status=400,
                text=None,
                error=ServerError,
                message="else.",
                hint="Wait.",
            ),
        ),
    )

    assert NotFoundError is type(error_of(400, {"error": "there is No Such Film"}, vendor))
    assert ServerError is type(error_of(400, {"error": "other"}, vendor))
    assert RefusedError is type(error_of(403, {"error": "no such film"}, vendor))


@pytest.mark.parametrize(
    ("wait_s", "seconds"),
    [(1800.0, 1800), (6.2, 7), (0.0, 0), (1e9, 86_400), (None, None)],
)
def test_a_wait_is_told_in_whole_seconds_never_too_short_and_for_a_day_at_most(
    wait_s: float | None, seconds: int | None
) -> None:
    busy = error_of(429, {"error": "busy"}, wait_s=wait_s)

    assert seconds == busy.retry_after_seconds
    assert (seconds is not None) == busy.hint.endswith(f" The wait it asks for: {seconds} s.")


def test_only_a_refusal_for_the_rate_says_how_long_to_wait_in_words() -> None:
    assert "The wait it asks for" not in error_of(503, {"error": "down"}, wait_s=7).hint


def test_the_vendors_words_are_kept_to_a_thousand_characters() -> None:
    assert 1000 == len(error_of(400, {"error": "a b " * 1000}).vendor_text)


def test_a_documented_cool_down_stands_in_for_a_wait_that_is_not_named() -> None:
    problems = (
        ErrorRule(
            status=429,
            text="short",
            error=RateLimitError,
            message="a.",
            hint="b.",
            cooldown_s=60,
        ),
        ErrorRule(
            status=429,
            text=None,
            error=RateLimitError,
            message="a.",
            hint="b.",
            cooldown_s="until UTC midnight",
        ),
    )
    vendor = ServiceInfo("v", "V", problems)

    assert 60 == error_of(429, {"error": "short"}, vendor).retry_after_seconds
    assert 5 == error_of(429, {"error": "short"}, vendor, wait_s=5).retry_after_seconds
    assert 86_400 - EPOCH % 86_400 == error_of(429, {"error": "x"}, vendor).retry_after_seconds


def test_a_wait_is_no_help_where_another_try_is_none() -> None:
    assert error_of(402, {"error": "x"}, wait_s=60.0).retry_after_seconds is None
    assert 60 == error_of(503, {"error": "x"}, wait_s=60.0).retry_after_seconds


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"error": "plain"}, "plain"),
        ({"error": "with a code", "code": 400}, "with a code"),
        ({"error": {"code": 1, "message": "m", "status": "S"}}, "S: m"),
        ({"error": {"message": "m", "details": [{"reason": "R"}, {"reason": "R"}, 3]}}, "m: R"),
        (
            {"error": "top", "response": {"error": {"status": "S", "message": "m"}}},
            "top: S: m",
        ),
        ({"response": {"error": {"message": "inner"}}}, "inner"),
        ({"response": {"error": "a string there is not documented"}}, ""),
        ({"message": "only this"}, "only this"),
        ({"error": "this", "message": "not this"}, "this"),
        ({"error": "", "message": "other"}, ""),
        ({"error": {"status": 3, "message": None}}, ""),
        ({}, ""),
        (None, ""),
        ([{"error": "x"}], ""),
        ("text", ""),
    ],
)
def test_the_error_is_found_wherever_it_stands(data: Any, said: str) -> None:
    assert said == error_text(data)


def test_why_a_job_failed_is_its_error_and_its_details_once_each() -> None:
    record = {"error": "API error: 500", "errorDetails": "of jane@example.com"}

    assert "API error: 500: of ***@***" == failure_text(record)
    assert "same" == failure_text({"error": "same", "errorDetails": "same"})
    assert failure_text({"status": "failed", "errorDetails": 3}) is None


@given(RECORDS)
def test_any_record_has_an_error_text_and_a_wait_or_none(record: dict[str, Any]) -> None:
    assert isinstance(error_text(record), str)
    assert isinstance(failure_text(record), str | None)
    wait_s = retry_after_s(None, record, EPOCH)
    assert wait_s is None or 0 <= wait_s < math.inf


@pytest.mark.parametrize(
    ("header", "body", "wait_s"),
    [
        ("7", None, 7.0),
        (" 7.5 ", None, 7.5),
        ("0", None, 0.0),
        (email.utils.formatdate(EPOCH + 7, usegmt=True), None, 7.0),
        (email.utils.formatdate(EPOCH - 7, usegmt=True), None, 0.0),
        ("Thu, 28 May 2026 20:26:47 -0000", None, 7.0),
        ("Thu May 28 20:26:47 2026", None, 7.0),  # the oldest form of an HTTP date
        (None, {"retryAfter": "2026-05-28T20:26:47.000Z"}, 7.0),
        (None, {"retryAfter": "2026-05-28T20:26:47"}, 7.0),
        (None, {"retryAfter": "2026-05-28T20:26:00Z"}, 0.0),
        (None, {"retryAfter": 7}, 7.0),
        (None, {"error": {"retryAfter": "2026-05-28T20:26:47.000Z"}}, 7.0),
        ("7", {"retryAfter": 99}, 7.0),
        ("soon", {"retryAfter": 99}, 99.0),
        (None, {"retryAfter": True}, None),
        (None, {"retryAfter": [7]}, None),
        (None, {"retryAfter": math.inf}, None),
        (None, {"retryAfter": -7}, None),
        ("-7", None, None),
        ("nan", None, None),
        ("inf", None, None),
        ("", None, None),
        ("Thu, 99 Foo 2026 99:99:99 GMT", None, None),
        ("Thu, 28 May 0000 20:26:47 GMT", None, 0.0),
        ("Thu, 28 May 99999 20:26:47 GMT", None, None),
        (None, None, None),
        (None, [{"retryAfter": 7}], None),
        (None, "retryAfter", None),
    ],
)
def test_a_wait_is_understood_in_every_form(header: str | None, body: Any, wait_s: float) -> None:
    """`Retry-After` and `retryAfter` (google-flow videos/upscale, 25 May 2026)."""
    assert wait_s == retry_after_s(header, body, EPOCH)


@given(st.text() | st.from_regex(r"\A\w{3}, \d{1,5} \w{3} \d{1,5} \d+:\d+:\d+ \S{0,9}\Z"))
def test_any_header_is_a_wait_or_none(header: str) -> None:
    wait_s = retry_after_s(header, None, EPOCH)

    assert wait_s is None or 0 <= wait_s < math.inf


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>522</html>",
        b"\xff\xfe\x00",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 200_000,
        b"[" * 200_000 + b"]" * 200_000,
        b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
        b'{"a": 1',
        b"{'a': 1}",
        b"null",
        b"[" + b"1," * 250_001 + b"1]",
        b"[" + b"[[[[[[[[]]]]]]]]," * 28_000 + b"1]",
        b"[" + b'{"a":{"a":{}}},' * 50_000 + b"1]",
    ],
    ids=range(15),
)
def test_a_body_that_is_no_sane_json_is_none(body: bytes) -> None:
    assert parsed(body) is None


@given(JSON.filter(lambda value: value is not None))
def test_json_is_read(value: Any) -> None:
    try:
        body = json.dumps(value, allow_nan=False).encode()
    except ValueError:
        assert parsed(json.dumps(value).encode()) is None
        return

    assert value == parsed(body)


def test_a_lone_surrogate_is_read_and_does_not_leave() -> None:
    data = parsed(rb'{"error": "half \ud800 of a pair"}')

    error = error_of(400, data)

    assert "half of a pair" in error.message
    error.message.encode()


@pytest.mark.parametrize(
    ("value", "as_number", "as_count"),
    [
        (3, 3, 3),
        (2.6, 2.6, 3),
        (0, 0, 0),
        (-1, -1, None),
        (True, None, None),
        ("3", None, None),
        (None, None, None),
        (1e15, None, None),
        (10**400, None, None),
        (math.inf, None, None),
        (math.nan, None, None),
    ],
)
def test_a_number_is_finite_and_of_sane_size(
    value: object, as_number: object, as_count: object
) -> None:
    assert (as_number, as_count) == (number(value), whole(value))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://a.b/c.mp4?x=1&y=%20", True),
        ("http://127.0.0.1:8001/media/a", True),
        ("https://[::1]/x", True),
        ("ftp://a.b", False),
        ("javascript:alert(1)", False),
        ("https://", False),
        ("https:///x", False),
        ("https://a b", False),
        ("https://a.b/\n", False),
        ("https://a.b/<b>", False),
        ("https://a.b/\u202e", False),
        ("https://a.b/\u200b", False),
        ("https://a.b/\u00a0", False),
        ("https://a.b/\x85", False),
        ("https://a.b/\ud800", False),
        ("https://b\u00fc.example/x", False),
        ("https://a.b\u3002c/x", False),
        ("https://a.b/" + "\u00fc" * 4000, False),
        ("ftp://a.b/\u00fc", False),
        ("https://a.b/" + "x" * (2048 - 12), True),
        ("https://a.b/" + "x" * (2048 - 11), False),
        ("https://api.useapi.net@evil.example/x", False),
        ("https://user:word@a.b/x", False),
        ("https://evil.example\\@a.b/x", False),
        ("https://a.b\\x", False),
        ("https://a.b;c/x", False),
        ("https://a.b:99999999/x", False),
        (None, False),
        (3, False),
    ],
)
def test_a_link_is_a_plain_web_address(value: object, expected: bool) -> None:
    assert (value if expected else None) == link(value)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("https://a.b/film-\u00fc.mp4?x=1&y=%20", "https://a.b/film-%C3%BC.mp4?x=1&y=%20"),
        ("https://a.b?name=\u732b#\u732b", "https://a.b?name=%E7%8C%AB#%E7%8C%AB"),
    ],
)
def test_letters_beyond_ascii_are_percent_encoded_and_the_rest_stays(
    value: str, encoded: str
) -> None:
    assert encoded == link(value)


@given(st.text())
def test_a_link_with_anything_in_it_is_ascii_or_none(some: str) -> None:
    found = link(f"https://a.b/{some}")

    assert found is None or (found.isascii() and found.isprintable() and " " not in found)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-05-28T20:26:47Z", "2026-05-28T20:26:47.000Z"),
        ("2026-05-28T22:26:47.5+02:00", "2026-05-28T20:26:47.500Z"),
        ("yesterday", None),
        ("0001-01-01T00:00:00+23:59", None),
        (1780000000, None),
        (None, None),
    ],
)
def test_a_moment_is_told_in_one_form(value: object, expected: str | None) -> None:
    assert expected == moment(value)


@given(st.text() | st.datetimes(timezones=st.timezones()).map(lambda d: d.isoformat()))
def test_any_text_is_a_moment_or_none(value: str) -> None:
    found = moment(value)

    assert found is None or found.endswith("Z")


def test_what_does_not_fit_is_left_out() -> None:
    assert {} == obj([1])
    assert {"a": 1} == obj({"a": 1})
    assert [{"a": 1}] == objs([{"a": 1}, 2, None, "x"])
    assert [] == objs({"a": 1})
    assert "a b" == text("a\nb")
    assert text("\x00") is None
    assert text(3) is None
