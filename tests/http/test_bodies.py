"""What goes in and out of a POST: bodies that are messages, and answers of the kind wanted."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_server.http.accept import AcceptMiddleware
from mcp_server.http.app import BodyMiddleware
from mcp_server.server.lines import LONGEST_LINE_BYTES, MOST_PARTS

PING = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "ping"}).encode()
ANSWER = {"jsonrpc": "2.0", "id": 7, "result": {}}
PROGRESS = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}


async def posted(
    app: ASGIApp,
    *parts: bytes,
    headers: dict[str, str] | None = None,
    method: str = "POST",
    leaves: bool = False,
) -> tuple[int, Headers, bytes]:
    """What an app answers to a body in these parts, whose client may then leave."""
    sent: list[Message] = []
    messages: list[Message] = [
        {"type": "http.request", "body": part, "more_body": leaves or part is not parts[-1]}
        for part in parts
    ]

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(part: Message) -> None:
        sent.append(part)

    scope = {
        "type": "http",
        "method": method,
        "headers": [(n.encode(), value.encode()) for n, value in (headers or {}).items()],
    }
    await app(scope, receive, send)
    if not sent:
        return 0, Headers(), b""
    body = b"".join(part.get("body", b"") for part in sent[1:])
    return sent[0]["status"], Headers(raw=sent[0]["headers"]), body


async def reads_it(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it reads, until its client is gone."""
    parts = [await receive(), await receive()]
    told = [[part["type"], part.get("body", b"").decode()] for part in parts]
    await JSONResponse(told)(scope, receive, send)


@pytest.mark.parametrize("parts", [(PING,), (PING[:5], PING[5:], b"")])
async def test_a_body_that_is_a_message_is_handed_on_whole(parts: Sequence[bytes]) -> None:
    status, _, told = await posted(BodyMiddleware(reads_it), *parts)

    assert (200, [["http.request", PING.decode()], ["http.disconnect", ""]]) == (
        status,
        json.loads(told),
    )


@pytest.mark.parametrize(
    ("body", "status", "request_id"),
    [
        (b"", 400, None),
        (b"{", 400, None),
        (PING.replace(b"7", b"null"), 400, None),
        (PING.replace(b"2.0", b"1.0"), 400, 7),
        (b'{"jsonrpc": "1.0", "method": "notifications/initialized"}', 400, None),
        (PING.replace(b"}", b', "params": [' + b"[]," * (MOST_PARTS // 2 + 1) + b"1]}"), 413, 7),
        (PING.ljust(LONGEST_LINE_BYTES + 1), 413, 7),
    ],
    ids=range(7),
)
async def test_a_body_that_is_no_message_is_answered_and_not_handed_on(
    body: bytes, status: int, request_id: object
) -> None:
    answered, _, answer = await posted(BodyMiddleware(reads_it), body)

    assert (status, request_id) == (answered, json.loads(answer)["id"])
    assert json.loads(answer)["error"]["message"]


async def test_of_a_client_that_leaves_nothing_is_handed_on_and_nothing_answered() -> None:
    assert (0, Headers(), b"") == await posted(BodyMiddleware(reads_it), PING[:5], leaves=True)


async def test_what_has_no_body_to_check_is_handed_on() -> None:
    status, _, told = await posted(BodyMiddleware(reads_it), b"", method="GET")

    assert (200, "http.request") == (status, json.loads(told)[0][0])


def streams(*messages: Any) -> ASGIApp:
    """An app that answers with an event stream where that is accepted with JSON, else with 406."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        accepted = Headers(scope=scope).get("accept", "")
        if not {"application/json", "text/event-stream"} <= set(accepted.split(", ")):
            await JSONResponse({"refused": accepted}, 406)(scope, receive, send)
            return
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for message in messages:
            event = f"event: message\r\ndata: {json.dumps(message)}\r\n\r\n".encode()
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return AcceptMiddleware(app)


async def test_who_accepts_only_json_gets_the_last_message_as_json() -> None:
    wants = {"accept": "application/json;q=1"}

    status, headers, body = await posted(streams(PROGRESS, ANSWER), PING, headers=wants)

    assert (200, "application/json") == (status, headers["content-type"])
    assert str(len(body)) == headers["content-length"]
    assert ANSWER == json.loads(body)


async def test_a_stream_that_ends_without_an_answer_is_an_error_as_json() -> None:
    _, _, body = await posted(streams(), PING, headers={"accept": "application/json"})

    assert "without an answer" in json.loads(body)["error"]["message"]


@pytest.mark.parametrize("accepts", ["text/event-stream", "*/*", "text/*, application/*", "", None])
async def test_who_accepts_a_stream_or_does_not_say_gets_one(accepts: str | None) -> None:
    headers = {} if accepts is None else {"accept": accepts}

    status, told, body = await posted(streams(PROGRESS, ANSWER), PING, headers=headers)

    assert (200, "text/event-stream") == (status, told["content-type"])
    assert 2 == body.count(b"data: ")


@pytest.mark.parametrize(
    "headers",
    [
        {"accept": "text/html"},
        {"accept": "application/json", "mcp-method": "subscriptions/listen"},
    ],
)
async def test_what_can_not_be_accepted_is_left_to_be_refused(headers: dict[str, str]) -> None:
    status, told, body = await posted(streams(ANSWER), PING, headers=headers)

    assert (406, "application/json") == (status, told["content-type"])
    assert {"refused": headers["accept"]} == json.loads(body)


async def test_an_answer_that_is_no_stream_is_passed_on_as_it_is() -> None:
    async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
        await JSONResponse({"no": "way"}, 403)(scope, receive, send)

    wants = {"accept": "application/json"}

    status, _, body = await posted(AcceptMiddleware(refuses), PING, headers=wants)

    assert (403, {"no": "way"}) == (status, json.loads(body))


async def test_only_a_post_is_changed() -> None:
    status, _, _ = await posted(streams(ANSWER), b"", headers={"accept": "*/*"}, method="GET")

    assert status == 406
