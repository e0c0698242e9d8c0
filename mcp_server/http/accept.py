"""Answers for clients that accept only JSON or only event streams; the SDK asks for both."""

import json

from mcp.types import INTERNAL_ERROR
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_JSON = frozenset({"application/json", "application/*", "*/*"})
_STREAM = frozenset({"text/event-stream", "text/*", "*/*"})
_BOTH = "application/json, text/event-stream"


class AcceptMiddleware:
    """Serves a POST whatever of the two it accepts, or if it does not say what.

    Who accepts only JSON gets the last message of the event stream: the answer, without the
    progress before it. What accepts neither is left to the SDK, which refuses it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        accepted = {
            part.partition(";")[0].strip().lower()
            for line in headers.getlist("accept")
            for part in line.split(",")
        }
        takes_json, takes_stream = bool(accepted & _JSON), bool(accepted & _STREAM)
        if takes_json and not takes_stream:
            if headers.get("mcp-method") == "subscriptions/listen":  # it has no one answer
                return await self._app(scope, receive, send)
            send = _AsJson(send)
        elif not takes_stream and accepted - {""}:
            return await self._app(scope, receive, send)
        served = {**scope, "headers": [*scope["headers"]]}
        MutableHeaders(scope=served)["accept"] = _BOTH
        return await self._app(served, receive, send)


class _AsJson:
    """Sends the last message of an event stream as JSON, and any other answer as it is."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None  # of an event stream
        self._events = bytearray()

    async def __call__(self, part: Message) -> None:
        if part["type"] == "http.response.start":
            kind = Headers(raw=part["headers"]).get("content-type", "")
            if kind.startswith("text/event-stream"):
                self._start = part
                return
        if self._start is None:
            await self._send(part)
            return
        self._events += part.get("body", b"")
        if not part.get("more_body", False):
            await self._send_answer(self._start)

    async def _send_answer(self, start: Message) -> None:
        body = _last_message(bytes(self._events))
        headers = MutableHeaders(raw=list(start["headers"]))
        headers["content-type"] = "application/json"
        headers["content-length"] = str(len(body))
        await self._send({**start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})


def _last_message(events: bytes) -> bytes:
    """The last message of an event stream; an error where it broke off before there was one."""
    lines = [line.rstrip(b"\r") for line in events.split(b"\n")]
    messages = [line[6:] for line in lines if line.startswith(b"data: {")]
    if messages:
        return messages[-1]
    error = {"code": INTERNAL_ERROR, "message": "The call ended without an answer."}
    return json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
