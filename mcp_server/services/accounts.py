"""The state of the useapi.net subscription and of the accounts linked to a service, masked.

The records contain passwords, cookies and tokens: only masked names and errors are returned.
Sources: useapi.net, GET account (7 April 2025), dreamina/accounts (23 February 2026),
google-flow/accounts (2026), pixverse/accounts (6 December 2024).
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcp_server.errors import NotFoundError, RequestError, SettingsError
from mcp_server.redaction import one_line, quoted
from mcp_server.services.ids import readings
from mcp_server.upstream.client import Upstream
from mcp_server.upstream.fields import obj
from mcp_server.upstream.responses import ServiceInfo, error_text, unexpected

PLATFORM = ServiceInfo("useapi", "The account endpoint")
_AGAIN = "Try again in a minute."
_MOST_LISTED = 10

_NAME = re.compile(r"(?:([A-Za-z]{2,4}):)?([^@\s]+)@([^@\s]+)\.([A-Za-z]{2,24})")
# Secrets an error may contain: the value after such a name, and long words with digits (keys).
_NAMED_SECRET = re.compile(
    r"(?i)(?<!\w)(\w*(?:auth|cookie|jwt|key|pass|pwd|secret|session|token)\w*['\"]?\s*[=:]\s*)\S+"
)
_KEY = re.compile(r"(?!https://(?:www\.)?useapi\.net/)(?<!\S)(?=\S*[0-9])\S{20,}")


@dataclass(frozen=True)
class Balance:
    """What an account has, read live; `models` are the names of those it may use."""

    credits: float | None = None
    plan: str | None = None
    free_slots: int | None = None
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class Account:
    """A login linked to a service: its masked name, and its error if it has one.

    `login` is what the vendor calls it, its e-mail address included: for requests, never told.
    """

    name: str
    problem: str | None = None
    login: str = field(default="", repr=False)

    @property
    def healthy(self) -> bool:
        return self.problem is None


@dataclass(frozen=True)
class Subscription:
    """The useapi.net account that a token is of; `id` is None where it is not told."""

    is_active: bool
    id: str | None


async def subscription_of(upstream: Upstream) -> Subscription:
    """The useapi.net account whose token the requests go with. A result proves the token. Free.

    Raises:
        UseapiError: there is no usable answer.
    """
    try:
        account = obj((await upstream.get(PLATFORM, "/v2/account")).data)
    except NotFoundError:
        raise SettingsError(
            message="There is no account endpoint at the address in USEAPI_BASE_URL.",
            hint="Unset it, or correct it: it is where the API of useapi.net is.",
        ) from None
    active = account.get("subscriptionIsActive")
    if not isinstance(active, bool):
        raise unexpected(PLATFORM, "subscription", _AGAIN)
    some_id = account.get("id")
    is_told = isinstance(some_id, int | str) and not isinstance(some_id, bool) and some_id
    return Subscription(active, str(some_id) if is_told else None)


def linked(
    vendor: ServiceInfo, data: Any, fault_of: Callable[[Mapping[str, Any]], object]
) -> tuple[Account, ...]:
    """The accounts in a service's map from name to record.

    Args:
        fault_of: the error in a record; None or empty if there is none.

    Raises:
        UnexpectedAnswerError: the data is not such a map.
    """
    if not isinstance(data, dict) or not all(isinstance(value, dict) for value in data.values()):
        raise unexpected(vendor, "list of accounts", _AGAIN)
    return tuple(
        Account(masked(name), _problem(fault_of(record)), name) for name, record in data.items()
    )


def fitting(accounts: Iterable[Account], wanted: str) -> tuple[Account, ...]:
    """The accounts that are meant: by the full name, else the masked one, else a part of either."""
    for reading in readings(wanted):
        word = reading.casefold()
        for fits in (_is_login, _is_name, _holds):
            if word and (found := tuple(account for account in accounts if fits(account, word))):
                return found
    return ()


def chosen(title: str, accounts: Sequence[Account], wanted: str) -> Account:
    """The one account that is meant.

    Raises:
        RequestError: none or several are; it lists them masked, and repeats nothing of `wanted`.
    """
    found = fitting(accounts, wanted)
    if len(found) == 1:
        return found[0]
    listed = ", ".join(account.name for account in (found or accounts)[:_MOST_LISTED])
    if found:
        raise RequestError(
            message=f"This name fits {len(found)} accounts of {title}, so none was asked.",
            hint=f"Give more of its name: {listed}.",
        )
    raise RequestError(
        message=f"No linked account of {title} has this name, so none was asked.",
        hint=f"Linked are: {listed}." if listed else f"Link one of {title} on useapi.net first.",
    )


def by_setting(title: str, accounts: Sequence[Account], wanted: str) -> Account:
    """The one account that USEAPI_ACCOUNTS names.

    Raises:
        SettingsError: it names none or several.
    """
    found = fitting(accounts, wanted)
    if len(found) != 1:
        raise SettingsError(
            message=f"USEAPI_ACCOUNTS names no one account that is linked to {title}.",
            hint="Correct it, or give account; check_accounts shows the names, masked.",
        )
    return found[0]


def the_only(title: str, accounts: Sequence[Account]) -> Account | None:
    """The one account that is linked; None if none is.

    Raises:
        RequestError: there are several; it lists them masked.
    """
    if len(accounts) > 1:
        listed = ", ".join(account.name for account in accounts[:_MOST_LISTED])
        raise RequestError(
            message=f"{len(accounts)} accounts are linked to {title}, which needs to be told the"
            " one to use; nothing was sent.",
            hint=f"Give account: {listed}.",
        )
    return accounts[0] if accounts else None


def _is_login(account: Account, word: str) -> bool:
    return account.login.casefold() == word


def _is_name(account: Account, word: str) -> bool:
    return account.name.casefold() == word


def _holds(account: Account, word: str) -> bool:
    return word in account.login.casefold() or word in account.name.casefold()


def account_hash(login: str) -> str:
    """What stands for an account where its e-mail address must not; "" for none."""
    return hashlib.sha256(login.lower().encode()).hexdigest()[:16] if login else ""


def masked(name: str) -> str:
    """`CA:jo***@ex***.com` for `CA:joanna@example.com`; `***` for what is no e-mail address."""
    found = _NAME.fullmatch(name)
    if found is None:
        return "***"
    region, local, host, end = found.groups()
    return f"{region + ':' if region else ''}{_begin(local)}***@{_begin(host)}***.{end}"


def without_secrets(text: str) -> str:
    """Text about an account as one line, with secrets masked."""
    whole = quoted(text, 1000)  # masked first: a cut could leave half a secret
    return one_line(_KEY.sub("***", _NAMED_SECRET.sub(r"\1***", whole)))


def _begin(part: str) -> str:
    """Two letters at most, and never more than half."""
    return re.sub(r"\W", "", part[: min(2, len(part) // 2)])


def _problem(fault: object) -> str | None:
    if not fault:
        return None
    said = error_text({"error": fault})
    return without_secrets(said) or "useapi.net gives no reason."
