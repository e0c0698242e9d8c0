"""Lines of JSON-RPC: whatever comes in is a message, or is answered."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.types import INVALID_REQUEST, PARSE_ERROR, JSONRPCNotification, JSONRPCRequest

from mcp_server.server.lines import LONGEST_LINE_BYTES, BrokenLineError, message_of


def refused(line: bytes | str) -> list[dict[str, Any]]:
    """The answers to a line that is no message."""
    with pytest.raises(BrokenLineError) as caught:
        message_of(line if isinstance(line, bytes) else line.encode())
    return [json.loads(answer) for answer in caught.value.answers]


def call(**members: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": "ping", **members})


@pytest.mark.parametrize(
    ("line", "code", "request_id"),
    [
        ("{", PARSE_ERROR, None),
        ("nonsense", PARSE_ERROR, None),
        (b"\xff\xfe", PARSE_ERROR, None),
        ("[" * 100_000, PARSE_ERROR, None),
        (call(params={"a": "\ud800"}), INVALID_REQUEST, 7),
        (call(params={"a": 1}).replace("1}", "9" * 5000 + "}"), INVALID_REQUEST, 7),
        (call(id="text", jsonrpc="1.0"), INVALID_REQUEST, "text"),
        (call(method=5), INVALID_REQUEST, 7),
        (call(params=[1]), INVALID_REQUEST, 7),
        (call(id=7.5), INVALID_REQUEST, 7.5),
        (call(id=7.0), INVALID_REQUEST, 7.0),
        (call(id=None), INVALID_REQUEST, None),
        (call(id={}), INVALID_REQUEST, None),
        (call(id=True), INVALID_REQUEST, None),
        (call(id=7).replace("7", "9" * 5000), INVALID_REQUEST, None),
        ("{}", INVALID_REQUEST, None),
        ("5", INVALID_REQUEST, None),
        ('"text"', INVALID_REQUEST, None),
        ("null", INVALID_REQUEST, None),
        (b" " * (LONGEST_LINE_BYTES + 1), INVALID_REQUEST, None),
    ],
    ids=range(20),
)
def test_a_line_that_is_no_message_is_answered_with_its_id_where_it_has_one(
    line: bytes | str, code: int, request_id: object
) -> None:
    (answer,) = refused(line)

    assert ("2.0", request_id, code) == (answer["jsonrpc"], answer["id"], answer["error"]["code"])
    assert answer["error"]["message"].endswith(".")


@pytest.mark.parametrize("many", [",", "[", "{", ":"])
@pytest.mark.parametrize("request_id", [7, "seven"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_line_that_would_take_many_times_its_length_in_memory_is_refused_by_its_id(
    many: str, request_id: object, is_first: bool
) -> None:
    members = {"jsonrpc": "2.0", "method": "ping"}
    rest = {"params": {"id": 9, "a": many * 100_001}}
    named = {"id": request_id}

    (answer,) = refused(json.dumps(named | members | rest if is_first else members | rest | named))

    assert request_id == answer["id"]


def test_a_line_that_is_too_long_is_refused_by_its_id_where_that_comes_first() -> None:
    params = {"a": "x" * LONGEST_LINE_BYTES}

    assert 7 == refused(call(params=params)[: LONGEST_LINE_BYTES + 1])[0]["id"]
    assert (
        None is refused(json.dumps({"params": params, "id": 7})[: LONGEST_LINE_BYTES + 1])[0]["id"]
    )


def test_each_request_of_a_batch_is_answered() -> None:
    batch = f"[{call(id=1)}, {call(id='b')}, 5, {json.dumps({'method': 'a/notification'})}]"

    assert [1, "b"] == [answer["id"] for answer in refused(batch)]


@pytest.mark.parametrize(
    "line",
    [
        '{"jsonrpc": "1.0", "method": "notifications/initialized"}',
        '{"jsonrpc": "1.0", "id": 1, "result": {}}',
        '{"jsonrpc": "2.0", "id": 1, "error": 5}',
    ],
)
def test_a_notification_and_an_answer_are_never_answered(line: str) -> None:
    assert refused(line) == []


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"  "])
def test_a_message_is_read_after_a_mark_of_its_encoding_too(before: bytes) -> None:
    message = message_of(before + call().encode() + b"\r\n")

    assert isinstance(message, JSONRPCRequest)
    assert (7, "ping") == (message.id, message.method)


def test_a_notification_may_speak_of_an_id() -> None:
    line = b'{"jsonrpc": "2.0", "method": "notifications/x", "params": {"id": 1}}'

    assert isinstance(message_of(line), JSONRPCNotification)


@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_any_line_is_a_message_or_answered_as_json(line: bytes) -> None:
    answers: list[bytes] = []
    try:
        message_of(line)
    except BrokenLineError as broken:
        answers = broken.answers

    assert all(isinstance(json.loads(answer), dict) for answer in answers)
