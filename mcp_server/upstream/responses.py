"""What a response means: its JSON, the wait it asks for, its error, and whether it was done."""

import email.utils
import json
import math
from dataclasses import dataclass
from typing import Any, Literal

from mcp_server.clock import epoch
from mcp_server.errors import (
    AccountError,
    CreditsError,
    ExpiredError,
    NotFoundError,
    RateLimitError,
    RefusedError,
    ServerError,
    SubscriptionError,
    TokenError,
    UnansweredError,
    UnexpectedAnswerError,
    UnreachableError,
    UpstreamError,
    UseapiError,
)
from mcp_server.media.files import SavedFile
from mcp_server.redaction import one_line, quoted
from mcp_server.retry import Outcome
from mcp_server.upstream.fields import objs

_LONGEST_RETRY_AFTER_S = 86_400
_MOST_COMMAS = 250_000  # parsed JSON takes many times its own length in memory


@dataclass(frozen=True)
class ErrorRule:
    """An error the vendor documents: how to know it, and what it means for the caller.

    `says` is a part of the error text; "" is any text, and then the text is quoted.
    `cooldown_s` is the documented wait, told where the answer names none.
    """

    status: int
    says: str
    error: type[UpstreamError]
    message: str
    hint: str
    cooldown_s: int | Literal["until UTC midnight"] | None = None


@dataclass(frozen=True)
class ServiceInfo:
    """What sending must know of a service: its name, documented errors and base64 fields."""

    name: str
    title: str
    problems: tuple[ErrorRule, ...] = ()
    base64_fields: frozenset[str] = frozenset()


# The platform's own errors, where a service documents nothing more precise
# (useapi.net, conventions common to all services, read 27 July 2026).
_PLATFORM = (
    ErrorRule(401, "", TokenError, "useapi.net does not accept the token.",
            "Set USEAPI_TOKEN to the whole token, `user:` included, and restart the server."),
    ErrorRule(402, "", SubscriptionError, "the subscription is missing or has expired.",
            "Renew it on useapi.net; nothing works until then."),
    ErrorRule(403, "", RefusedError, "access is refused.",
            "Use an id of your own account, and check that the account's plan includes this."),
    ErrorRule(404, "", NotFoundError, "this id is not known.",
            "Check the id; a job or file that was deleted or has expired is gone."),
    ErrorRule(408, "", ServerError, "it gave up waiting for its own work.",
            "Wait a minute, then read the job again."),
    ErrorRule(410, "", ExpiredError, "this job is no longer kept.",
            "Submit the source again, or go on from a newer job."),
    ErrorRule(412, "", CreditsError, "the linked account has too few credits.",
            "Buy credits or wait for the next refill, then call again."),
    ErrorRule(422, "", RefusedError, "moderation refused the request.",
            "Use another source; the same one will be refused again."),
    ErrorRule(429, "", RateLimitError, "it is busy and took nothing.",
            "Wait, then call again with the same arguments."),
    ErrorRule(596, "", AccountError, "the linked account's session is broken.",
            "Reconnect the account on useapi.net, then call again; before that it is no use."),
)  # fmt: skip


def error_for(
    vendor: ServiceInfo, status: int, data: Any, *, wait_s: float | None, now: float
) -> UpstreamError | None:
    """The error an answer stands for; None if its status is none of an error.

    Args:
        data: the parsed body, None if it was no JSON (a gateway's page).
        wait_s: seconds the answer asks to wait, if it does.
        now: seconds since the epoch.
    """
    if not 400 <= status < 600:
        return None
    said = error_text(data)
    problem = next(
        p
        for p in (*vendor.problems, *_PLATFORM, _unknown(status, no_json=data is None))
        if p.status == status and p.says.lower() in said.lower()
    )
    what = problem.message if problem.error is TokenError else f"{vendor.title}: {problem.message}"
    if said and not problem.says and problem.error is not TokenError:
        what += f" It said: “{quoted(said)}”."
    if wait_s is None and problem.cooldown_s is not None:
        day_s = 86_400
        wait_s = problem.cooldown_s if isinstance(problem.cooldown_s, int) else day_s - now % day_s
    retry_after = min(math.ceil(wait_s), _LONGEST_RETRY_AFTER_S) if wait_s is not None else None
    return problem.error(
        message=what,
        hint=problem.hint,
        vendor_text=one_line(said, 1000),
        service=vendor.name,
        http_status=status,
        retry_after_seconds=retry_after if problem.error.retryable else None,
    )


def _unknown(status: int, *, no_json: bool) -> ErrorRule:
    if status < 500:
        return ErrorRule(
            status, "", RefusedError, f"the request was refused (status {status}).",
            "Correct the arguments, then call again.",
        )  # fmt: skip
    page = " with a gateway's page instead of an answer" if no_json else ""
    return ErrorRule(
        status, "", ServerError, f"it failed (status {status}{page}).",
        "Wait a minute, then call again.",
    )  # fmt: skip


def unexpected(vendor: ServiceInfo, missing: str, do: str) -> UnexpectedAnswerError:
    """The error of a good answer without what it should hold."""
    what = f"{vendor.title} answered without a usable {missing}."
    return UnexpectedAnswerError(message=what, hint=do, service=vendor.name)


def error_text(data: Any) -> str:
    """The error of an answer or a job as text.

    `error` is a string or an object; the details may also stand inside `response`
    (useapi.net, google-flow videos/upscale, Model of errors, 25 May 2026).
    """
    if not isinstance(data, dict):
        return ""
    parts: list[object] = [data["error"]] if isinstance(data.get("error"), str) else []
    response = data.get("response")
    for inner in (data.get("error"), response.get("error") if isinstance(response, dict) else None):
        if isinstance(inner, dict):
            details = inner.get("details")
            parts += [inner.get("status"), inner.get("message")]
            parts += [d.get("reason") for d in objs(details)]
    if not parts:
        parts.append(data.get("message"))
    return ": ".join(dict.fromkeys(p for p in parts if isinstance(p, str) and p))


def failure_text(record: dict[str, Any]) -> str | None:
    """Why a job failed, as its record tells: one clean line, e-mail addresses masked."""
    parts = (error_text(record), record.get("errorDetails"))
    said = ": ".join(dict.fromkeys(part for part in parts if isinstance(part, str) and part))
    return quoted(said) or None


def retry_after_s(header: str | None, data: Any, now: float) -> float | None:
    """Seconds an answer asks to wait: header `Retry-After`, else `retryAfter` in the body.

    Where in the body it stands is not documented; *assumed*: at the top or in `error`.
    """
    tops = objs([data])
    inner = objs([top.get("error") for top in tops])
    for given in (header, *(found.get("retryAfter") for found in (*tops, *inner))):
        wait_s = _seconds_until(given, now)
        if wait_s is not None:
            return wait_s
    return None


def parsed(body: bytes) -> Any:
    """JSON of sane size, depth and numbers; None for anything else."""
    if body.count(b",") > _MOST_COMMAS:
        return None
    try:
        return json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _seconds_until(given: object, now: float) -> float | None:
    """From seconds, an ISO time or an HTTP date."""
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        return None
    written = str(given).strip()[:64]
    try:
        seconds = float(written)
    except ValueError:
        then = epoch(written)
        if then is None:
            then = _http_date(written)
        if then is None:
            return None
        seconds = max(then - now, 0)
    return seconds if 0 <= seconds < float("inf") else None


def _http_date(written: str) -> float | None:
    found = email.utils.parsedate_tz(written)
    try:
        return email.utils.mktime_tz((*found[:9], found[9] or 0)) if found is not None else None
    except (ValueError, OverflowError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


@dataclass(frozen=True)
class Answer:
    """A good answer: parsed JSON, and the files that were cut out of it, in their order."""

    status: int
    data: Any
    files: tuple[SavedFile, ...] = ()


@dataclass(frozen=True)
class Failure:
    """One try that brought no good answer, and the wait the vendor asked for."""

    outcome: Outcome
    error: UseapiError
    wait_s: float | None = None


def not_sent(vendor: ServiceInfo, reason: str) -> Failure:
    """The connection failed before the first byte left."""
    what = f"{vendor.title} on useapi.net could not be reached ({reason}): nothing was sent."
    do = "Check the network, then call again."
    return Failure(Outcome.NOT_SENT, UnreachableError(message=what, hint=do, service=vendor.name))


def interrupted(vendor: ServiceInfo, reason: str, *, paid: bool, unusable: bool) -> Failure:
    """The exchange failed after the first byte had left.

    Args:
        unusable: it did answer, but with what can't be taken in.
    """
    if paid:
        return Failure(Outcome.UNKNOWN, _unanswered(vendor, f"the answer broke off ({reason})"))
    kind = UnexpectedAnswerError if unusable else UnreachableError
    what = f"{vendor.title} on useapi.net did not answer in full ({reason})."
    do = "Call again in a minute; reading changes nothing."
    return Failure(Outcome.UNKNOWN, kind(message=what, hint=do, service=vendor.name))


def refused(
    vendor: ServiceInfo, status: int, data: Any, *, paid: bool, wait_s: float | None, now: float
) -> Failure:
    """It answered, but not well.

    Args:
        data: the parsed body, None if it was no JSON.
        wait_s: seconds the answer asks to wait, if it does.
        now: seconds since the epoch.
    """
    error = error_for(vendor, status, data, wait_s=wait_s, now=now)
    if isinstance(error, RateLimitError):
        return Failure(Outcome.RATE_LIMITED, error, wait_s)
    if error is not None and not isinstance(error, ServerError):
        return Failure(Outcome.REFUSED, error)
    if paid:
        unanswered = _unanswered(
            vendor,
            f"it answered with status {status}",
            http_status=status,
            vendor_answered=isinstance(data, dict) and status >= 400,
        )
        return Failure(Outcome.UNKNOWN, unanswered)
    if error is not None:
        return Failure(Outcome.UNKNOWN, error, wait_s)
    what = f"{vendor.title} answered with status {status} and without usable JSON."
    do = "Wait a minute, then call again."
    unusable = UnexpectedAnswerError(message=what, hint=do, service=vendor.name, http_status=status)
    return Failure(Outcome.UNKNOWN, unusable)


def _unanswered(
    vendor: ServiceInfo, how: str, *, http_status: int | None = None, vendor_answered: bool = False
) -> UnansweredError:
    return UnansweredError(
        message=f"The request was sent to {vendor.title}, but {how}, so it may have been done.",
        hint="Call this tool again with the same arguments, and only those: "
        "it looks before it sends.",
        vendor_answered=vendor_answered,
        service=vendor.name,
        http_status=http_status,
    )
