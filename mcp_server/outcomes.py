"""What one try of a request came to: an answer, or why not and whether it may have been done."""

from dataclasses import dataclass
from typing import Any

from mcp_server.answers import Vendor, explained
from mcp_server.errors import (
    RateLimitError,
    ServerError,
    UnansweredError,
    UnexpectedAnswerError,
    UnreachableError,
    UseapiError,
)
from mcp_server.output_folder import SavedFile
from mcp_server.retries import Fate


@dataclass(frozen=True)
class Answer:
    """A good answer: parsed JSON, and the files that were cut out of it, in their order."""

    status: int
    data: Any
    files: tuple[SavedFile, ...] = ()


@dataclass(frozen=True)
class Failure:
    """One try that brought no good answer, and the wait the vendor asked for."""

    fate: Fate
    error: UseapiError
    wait_s: float | None = None


def not_sent(vendor: Vendor, reason: str) -> Failure:
    """The connection failed before the first byte left."""
    what = f"{vendor.title} on useapi.net could not be reached ({reason}): nothing was sent."
    do = "Check the network, then call again."
    return Failure(Fate.NOT_SENT, UnreachableError(what, do, service=vendor.name))


def broken_off(vendor: Vendor, reason: str, *, paid: bool, unusable: bool) -> Failure:
    """The exchange failed after the first byte had left.

    Args:
        unusable: it did answer, but with what can't be taken in.
    """
    if paid:
        return Failure(Fate.MAYBE_DONE, _unanswered(vendor, f"the answer broke off ({reason})"))
    kind = UnexpectedAnswerError if unusable else UnreachableError
    what = f"{vendor.title} on useapi.net did not answer in full ({reason})."
    do = "Call again in a minute; reading changes nothing."
    return Failure(Fate.MAYBE_DONE, kind(what, do, service=vendor.name))


def refused(
    vendor: Vendor, status: int, data: Any, *, paid: bool, wait_s: float | None, now: float
) -> Failure:
    """It answered, but not well.

    Args:
        data: the parsed body, None if it was no JSON.
        wait_s: seconds the answer asks to wait, if it does.
        now: seconds since the epoch.
    """
    error = explained(vendor, status, data, wait_s=wait_s, now=now)
    if isinstance(error, RateLimitError):
        return Failure(Fate.TOO_EARLY, error, wait_s)
    if error is not None and not isinstance(error, ServerError):
        return Failure(Fate.REFUSED, error)
    if paid:
        unanswered = _unanswered(vendor, f"it answered with status {status}", status)
        unanswered.vendor_answered = isinstance(data, dict) and status >= 400
        return Failure(Fate.MAYBE_DONE, unanswered)
    if error is not None:
        return Failure(Fate.MAYBE_DONE, error, wait_s)
    what = f"{vendor.title} answered with status {status} and without usable JSON."
    do = "Wait a minute, then call again."
    strange = UnexpectedAnswerError(what, do, service=vendor.name, http_status=status)
    return Failure(Fate.MAYBE_DONE, strange)


def _unanswered(vendor: Vendor, how: str, status: int | None = None) -> UnansweredError:
    return UnansweredError(
        f"The request was sent to {vendor.title}, but {how}, so it may have been done.",
        "Call this tool again with the same arguments, and only those: it looks before it sends.",
        service=vendor.name,
        http_status=status,
    )
