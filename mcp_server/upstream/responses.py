"""What a response means: its JSON, the wait it asks for, its error, and whether it was done."""

import email.utils
import json
import math
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Literal

from mcp_server.clock import epoch
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
    UnexpectedAnswerError,
    UnreachableError,
    UpstreamError,
    UseapiError,
)
from mcp_server.media.files import SavedFile
from mcp_server.redaction import one_line, quoted
from mcp_server.retry import Outcome
from mcp_server.upstream.fields import objs

_DAY_S = 86_400  # also the longest wait that is passed on
_MOST_PARTS = 250_000  # parsed JSON takes many times its own length in memory


@dataclass(frozen=True, kw_only=True)
class ErrorRule:
    """An error the vendor documents: how to recognise it, and what it means for the caller.

    `text` is a part of the error's text, in upper or lower case. None is any text, and then the
    message quotes it. `cooldown_s` is the documented wait, for a response that names none.
    """

    status: int
    text: str | None
    error: type[UpstreamError]
    message: str
    hint: str
    cooldown_s: int | Literal["until UTC midnight"] | None = None

    def fits(self, status: int, said: str) -> bool:
        return status == self.status and (self.text or "").lower() in said.lower()

    def wait_s(self, now: float) -> float | None:
        """The documented wait, from `now` on."""
        return _DAY_S - now % _DAY_S if self.cooldown_s == "until UTC midnight" else self.cooldown_s


@dataclass(frozen=True)
class ServiceInfo:
    """What sending must know of a service: its name, documented errors and base64 fields."""

    name: str
    title: str
    error_rules: tuple[ErrorRule, ...] = ()
    base64_fields: frozenset[str] = frozenset()


# The platform's own errors, where a service documents nothing more precise
# (useapi.net, conventions common to all services, read 27 July 2026).
_PLATFORM_RULES = (
    ErrorRule(
        status=401,
        text=None,
        error=TokenError,
        message="useapi.net does not accept the token.",
        hint="Set USEAPI_TOKEN to the whole token, `user:` included, and restart the server.",
    ),
    ErrorRule(
        status=402,
        text=None,
        error=SubscriptionError,
        message="the subscription is missing or has expired.",
        hint="Renew it on useapi.net; nothing works until then.",
    ),
    ErrorRule(
        status=403,
        text=None,
        error=RefusedError,
        message="access is refused.",
        hint="Use an id of your own account, and check that the account's plan includes this.",
    ),
    ErrorRule(
        status=404,
        text=None,
        error=NotFoundError,
        message="this id is not known.",
        hint="Check the id; a job or file that was deleted or has expired is gone.",
    ),
    ErrorRule(
        status=408,
        text=None,
        error=ServerError,
        message="it gave up waiting for its own work.",
        hint="Wait a minute, then read the job again.",
    ),
    ErrorRule(
        status=410,
        text=None,
        error=ExpiredError,
        message="this job is no longer kept.",
        hint="Submit the source again, or go on from a newer job.",
    ),
    ErrorRule(
        status=412,
        text=None,
        error=CreditsError,
        message="the linked account has too few credits.",
        hint="Buy credits or wait for the next refill, then call again.",
    ),
    ErrorRule(
        status=422,
        text=None,
        error=ModeratedError,
        message="moderation refused the request.",
        hint="Use another source or prompt; the same one will be refused again.",
    ),
    ErrorRule(
        status=429,
        text=None,
        error=RateLimitError,
        message="it is busy and took nothing.",
        hint="Wait, then call again with the same arguments.",
    ),
    ErrorRule(
        status=596,
        text=None,
        error=AccountError,
        message="the linked account's session is broken.",
        hint="Reconnect the account on useapi.net, then call again; before that it is no use.",
    ),
)


_GATEWAY_STATUSES = frozenset({408, 502, 504, *range(520, 530)})
_GATEWAY_RULE = ErrorRule(
    status=404,
    text=None,
    error=ServerError,
    message="a gateway answered in its place, and that says nothing of the job.",
    hint="Wait a minute, then call again; if it goes on, check USEAPI_BASE_URL.",
)


@dataclass(frozen=True)
class BadResponse:
    """A response that is no good answer.

    `data` is its JSON, None if it has none (a gateway's page). `retry_after_s` is the wait it
    asks for, `received_at` seconds since the epoch.
    """

    status: int
    data: Any
    retry_after_s: float | None
    received_at: float


def error_for(vendor: ServiceInfo, response: BadResponse) -> UpstreamError | None:
    """The error a response means; None if its status is not that of an error."""
    status = response.status
    if not 400 <= status < 600:
        return None
    said = error_text(response.data)
    rules = (*vendor.error_rules, *_PLATFORM_RULES)
    rule = next((rule for rule in rules if rule.fits(status, said)), None)
    if status in (404, 410) and not is_vendors(response.data):
        rule = _GATEWAY_RULE  # it says nothing of the job, and must not end or free one
    rule = rule or _undocumented(status, no_json=response.data is None)
    message = rule.message
    if rule.error is not TokenError:
        message = f"{vendor.title}: {message}"
        if said and rule.text is None:
            message += f" It said: “{quoted(said)}”."
    wait_s = response.retry_after_s
    if wait_s is None:
        wait_s = rule.wait_s(response.received_at)
    hint = rule.hint
    if wait_s is not None and rule.error is RateLimitError:
        hint += f" The wait it asks for: {min(math.ceil(wait_s), _DAY_S)} s."
    return rule.error(
        message=message,
        hint=hint,
        vendor_text=one_line(said, 1000),
        service=vendor.name,
        http_status=status,
        retry_after_seconds=min(math.ceil(wait_s), _DAY_S)
        if wait_s is not None and rule.error.retryable
        else None,
    )


def is_vendors(data: Any) -> bool:
    """Whether an error is in the vendor's own envelope: `error` is a string or an object.

    Gateways speak JSON too: Cloudflare since April 2026 (`cloudflare_error`), RFC 9457 (`type`,
    `title`, `status`), API gateways (`message` alone).
    """
    if not isinstance(data, dict) or not isinstance(data.get("error"), str | dict):
        return False
    return "cloudflare_error" not in data and not {"type", "title", "status"} <= data.keys()


def _undocumented(status: int, *, no_json: bool) -> ErrorRule:
    if status < 500:
        return ErrorRule(
            status=status,
            text=None,
            error=RefusedError,
            message=f"the request was refused (status {status}).",
            hint="Correct the arguments, then call again.",
        )
    page = " with a gateway's page instead of an answer" if no_json else ""
    return ErrorRule(
        status=status,
        text=None,
        error=ServerError,
        message=f"it failed (status {status}{page}).",
        hint="Wait a minute, then call again.",
    )


def unexpected(vendor: ServiceInfo, missing: str, hint: str) -> UnexpectedAnswerError:
    """The error for a good answer without what it should hold."""
    message = f"{vendor.title} answered without a usable {missing}."
    return UnexpectedAnswerError(message=message, hint=hint, service=vendor.name)


def error_text(data: Any) -> str:
    """The error in an answer or a job, as text.

    `error` is a string or an object; the details may also be inside `response`
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
    """Why a job failed, from its record: one clean line, e-mail addresses masked."""
    parts = (error_text(record), record.get("errorDetails"))
    said = ": ".join(dict.fromkeys(part for part in parts if isinstance(part, str) and part))
    return quoted(said) or None


def retry_after_s(header: str | None, data: Any, now: float) -> float | None:
    """Seconds a response asks to wait: header `Retry-After`, else `retryAfter` in the body.

    Where in the body it is, is not documented; *assumed*: at the top or in `error`.
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
    if sum(map(body.count, (b",", b":", b"[", b"{"))) > _MOST_PARTS:
        return None
    try:
        return json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _seconds_until(given: object, now: float) -> float | None:
    """The seconds from `now` to a number of seconds, an ISO time or an HTTP date."""
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        return None
    written = str(given).strip()[:64]
    try:
        seconds = float(written)
    except ValueError:
        then = epoch(written)
        if then is None:
            then = http_date(written)
        if then is None:
            return None
        seconds = max(then - now, 0)
    return seconds if 0 <= seconds < float("inf") else None


def http_date(written: str) -> float | None:
    try:
        moment = email.utils.parsedate_to_datetime(written)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


@dataclass(frozen=True)
class Answer:
    """A good answer: its JSON, the files cut out of it, and how far the vendor's clock is ahead."""

    status: int
    data: Any
    files: tuple[SavedFile, ...] = ()
    clock_ahead_s: float | None = None


@dataclass(frozen=True)
class Failure:
    """One try that brought no good answer, and the wait the vendor asked for."""

    outcome: Outcome
    error: UseapiError
    wait_s: float | None = None


def not_sent(vendor: ServiceInfo, reason: str, hint: str) -> Failure:
    """The connection failed before the first byte left; `hint` says what to do about it."""
    error = UnreachableError(
        message=f"{vendor.title} on useapi.net could not be reached ({reason}): nothing was sent.",
        hint=hint,
        service=vendor.name,
    )
    return Failure(Outcome.NOT_SENT, error)


def interrupted(vendor: ServiceInfo, reason: str, *, paid: bool, unusable: bool) -> Failure:
    """The exchange failed after the first byte had left.

    Args:
        unusable: there was an answer, but one that can't be read.
    """
    if paid:
        return Failure(Outcome.UNKNOWN, _unanswered(vendor, f"the answer broke off ({reason})"))
    kind = UnexpectedAnswerError if unusable else UnreachableError
    error = kind(
        message=f"{vendor.title} on useapi.net did not answer in full ({reason}).",
        hint="Call again in a minute; reading changes nothing.",
        service=vendor.name,
    )
    return Failure(Outcome.UNKNOWN, error)


def refused(vendor: ServiceInfo, response: BadResponse, *, paid: bool) -> Failure:
    """The exchange was complete, but brought no good answer."""
    status, data = response.status, response.data
    error = error_for(vendor, response)
    if isinstance(error, RateLimitError):
        return Failure(Outcome.RATE_LIMITED, error, response.retry_after_s)
    # A gateway may refuse in the vendor's place what the vendor goes on with; 401 ends it anywhere.
    is_certain = not paid or is_vendors(data) or status == 401
    if error is not None and is_certain and not isinstance(error, ServerError):
        return Failure(Outcome.REFUSED, error)
    if paid:
        unanswered = _unanswered(
            vendor,
            f"it answered with status {status}",
            http_status=status,
            vendor_answered=is_vendors(data) and 400 <= status not in _GATEWAY_STATUSES,
        )
        return Failure(Outcome.UNKNOWN, unanswered)
    if error is not None:
        return Failure(Outcome.UNKNOWN, error)
    unusable = UnexpectedAnswerError(
        message=f"{vendor.title} answered with status {status} and without usable JSON.",
        hint="Wait a minute, then call again.",
        service=vendor.name,
        http_status=status,
    )
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
