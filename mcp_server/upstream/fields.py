"""Typed reads of vendor JSON: each function returns a value of its type, or None."""

import re
from typing import Any
from urllib.parse import quote

from mcp_server.clock import epoch, iso
from mcp_server.redaction import one_line

_LONGEST_LINK = 2048  # an answer holds up to 16 of them
_ASCII = "".join(map(chr, range(0x21, 0x7F)))
_LINK = re.compile(
    r"https?://(?:[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"  # no user's name
    r"(?:[/?#](?:[!#-;=?-~]|[^\x00-\x7f])*)?"
)


def obj(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def objs(value: object) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def text(value: object, most: int = 300) -> str | None:
    """One clean line, or None."""
    return one_line(value, most) or None if isinstance(value, str) else None


def texts(value: object) -> list[str]:
    """The clean lines of a list of text."""
    entries = value if isinstance(value, list) else []
    return [line for line in map(text, entries) if line]


def number(value: object) -> float | None:
    """A number below 1e15, or None. A bool is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < 1e15 else None


def whole(value: object) -> int | None:
    """A count or a size: a whole number from 0 up, or None."""
    found = number(value)
    return round(found) if found is not None and found >= 0 else None


def link(value: object) -> str | None:
    """An http or https address in printable ASCII without a user's name, or None.

    Printable letters beyond ASCII are percent-encoded in the path and query; in a host they are
    not allowed.
    """
    if not isinstance(value, str) or len(value) > _LONGEST_LINK:
        return None
    if not value.isprintable() or not _LINK.fullmatch(value):
        return None
    encoded = quote(value, safe=_ASCII)
    return encoded if len(encoded) <= _LONGEST_LINK else None


def moment(value: object) -> str | None:
    """A time as ISO 8601 in UTC, or None."""
    seconds = epoch(value) if isinstance(value, str) else None
    try:
        return iso(seconds) if seconds is not None else None
    except (ValueError, OverflowError, OSError):  # before the year 1 in UTC
        return None
