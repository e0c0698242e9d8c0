"""JSON-RPC messages in lines: what a line holds, or how it is answered if that is no message.

The SDK's own reader drops a line that it can't read, and its client waits until it gives up. The
body of an HTTP request is such a line too.
"""

import json
import math
import re
from typing import Any

from mcp.types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    JSONRPCMessage,
    JSONRPCNotification,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

LONGEST_LINE_BYTES = 4 * 1024 * 1024
MOST_PARTS = 100_000  # parsed JSON takes many times its own length in memory
_ID = rb'"id"\s*:\s*(-?[0-9]{1,15}|"[^"\\]{0,200}")'
_FIRST_ID = re.compile(rb"\s*\{[^{\[]{0,500}?" + _ID)
_LAST_ID = re.compile(_ID + rb"\s*\}\s*\Z")
_BOM = b"\xef\xbb\xbf"
_LONGEST_NUMBER = 300  # digits; Python refuses to make an integer of thousands


class BrokenLineError(Exception):
    """A line that is no message; `answers` are the lines to send back."""

    def __init__(
        self, why: str, ids: list[Any], code: int = INVALID_REQUEST, *, is_too_large: bool = False
    ) -> None:
        super().__init__(why)
        self.is_too_large = is_too_large
        self.answers = [error_line(code, why, one) for one in ids]


def message_of(line: bytes) -> JSONRPCMessage:
    """The message in a line.

    Raises:
        BrokenLineError: it holds none.
    """
    if len(line) > LONGEST_LINE_BYTES or _parts(line) > MOST_PARTS:
        why = f"A message has at most {LONGEST_LINE_BYTES} bytes and {MOST_PARTS} values."
        raise BrokenLineError(why, [_id_of(line)], is_too_large=True)
    text = line.removeprefix(_BOM).decode("utf-8", "replace")
    try:
        message = jsonrpc_message_adapter.validate_json(text, by_name=False)
    except ValidationError:
        raise _broken(text) from None
    if (
        isinstance(message, JSONRPCNotification)
        and '"id"' in text
        and "id" in json.loads(text, parse_int=_number)
    ):
        raise _broken(text)  # a request with an id that is none: to the SDK a notification
    return message


def error_line(code: int, why: str, request_id: object = None) -> bytes:
    """An error as a line. An id that can't be one is answered with null, as JSON-RPC has it."""
    is_number = isinstance(request_id, int | float) and not isinstance(request_id, bool)
    is_id = isinstance(request_id, str) or (is_number and math.isfinite(request_id))  # type: ignore[arg-type]
    error = {"code": code, "message": why}
    answer = {"jsonrpc": "2.0", "id": request_id if is_id else None, "error": error}
    return json.dumps(answer).encode() + b"\n"


def _id_of(line: bytes) -> Any:
    """The id of a request that is too large to be parsed, if it stands before or after the rest."""
    found = _FIRST_ID.match(line) or _LAST_ID.search(line[-1000:])
    return json.loads(found[1]) if found else None


def _parts(data: bytes) -> int:
    """How many values JSON may hold at most, counted without parsing it."""
    return sum(map(data.count, (b",", b":", b"[", b"{")))


def _broken(text: str) -> BrokenLineError:
    try:
        data = json.loads(text, parse_int=_number)
    except (ValueError, RecursionError):
        return BrokenLineError("This line is no JSON.", [None], PARSE_ERROR)
    if isinstance(data, list):
        requests = [one for one in data if isinstance(one, dict) and "method" in one]
        ids = [one["id"] for one in requests if "id" in one]
        return BrokenLineError("Send each message in a line of its own, not as a list.", ids)
    if not isinstance(data, dict):
        return BrokenLineError("A message is a JSON object.", [None])
    if "id" not in data and isinstance(data.get("method"), str):
        return BrokenLineError(_fault(data, text), [])  # a notification is never answered
    if "method" not in data and ("result" in data or "error" in data):
        return BrokenLineError("This is no answer of JSON-RPC 2.0.", [])
    return BrokenLineError(_fault(data, text), [data.get("id")])


def _fault(data: dict[str, Any], text: str) -> str:
    """What is wrong with a request, in one sentence."""
    if data.get("jsonrpc") != "2.0":
        return 'Its "jsonrpc" must be "2.0".'
    if not isinstance(data.get("method"), str):
        return 'Its "method" must be text.'
    if "id" in data and (isinstance(data["id"], bool) or not isinstance(data["id"], int | str)):
        return 'Its "id" must be text or a whole number.'
    if "params" in data and not isinstance(data["params"], dict):
        return 'Its "params" must be an object.'
    if "\\ud" in text.lower():
        return "It holds half of a character: \\ud800 to \\udfff stand in pairs."
    return "It holds a number or a character that can't be read."


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) < _LONGEST_NUMBER else math.inf
