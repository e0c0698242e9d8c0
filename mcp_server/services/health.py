"""The state of the token, the subscription and the linked accounts, from free reads only.

What is reported of accounts contains no e-mail address, password, cookie or token.
"""

import asyncio
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mcp_server.errors import (
    ServerError,
    SubscriptionError,
    TokenError,
    UnexpectedAnswerError,
    UseapiError,
)
from mcp_server.models import Next, Note
from mcp_server.services.accounts import Account, subscription_of, without_secrets
from mcp_server.services.base import Service
from mcp_server.services.registry import SERVICES
from mcp_server.upstream.client import Upstream

# For the account, then for all services at once: together less than clients wait for a tool.
_LONGEST_S = 20.0
_MOST_ACCOUNTS = 50
_MOST_MODELS = 40


class AccountCheck(BaseModel):
    """A linked account; `name` is masked. What follows `problem` is read only when asked for."""

    model_config = ConfigDict(frozen=True)

    name: str
    healthy: bool
    problem: str | None = None
    credits: float | None = None
    plan: str | None = None
    free_slots: Annotated[int | None, Field(description="jobs it can take now")] = None
    models: tuple[str, ...] | None = None


class ServiceCheck(BaseModel):
    """A service and the accounts linked to it."""

    model_config = ConfigDict(frozen=True)

    service: str
    state: Literal["ready", "in_error", "not_linked", "unknown"]
    accounts: tuple[AccountCheck, ...] = ()
    problem: str | None = None
    hint: str | None = None
    note: Note = None


Token = Literal["accepted", "missing", "refused", "unknown"]


class Check(BaseModel):
    """`problem` concerns all services; each service has a `problem` of its own."""

    model_config = ConfigDict(frozen=True)

    ok: Annotated[bool, Field(description="a service is ready and nothing is in error")]
    base_url: str
    token: Token = "accepted"  # noqa: S105 - a state, not a token
    subscription: Literal["active", "inactive", "unknown"] = "unknown"
    problem: str | None = None
    hint: str | None = None
    services: tuple[ServiceCheck, ...] = ()
    next: Next = None
    note: Note = None


async def check(
    upstream: Upstream, service: str | None = None, *, with_credits: bool = False
) -> Check:
    """The state of everything. Errors are part of the result and are not raised.

    Args:
        service: the one whose accounts are wanted; None: all.
        with_credits: read what each account has, too; that may claim something there.
    """

    def stopped(token: Token, problem: str, hint: str) -> Check:
        return Check(ok=False, base_url=upstream.origin, token=token, problem=problem, hint=hint)

    try:
        upstream.require_token()
    except TokenError as error:
        return stopped("missing", error.message, error.hint)
    try:
        async with asyncio.timeout(_LONGEST_S):
            active = (await subscription_of(upstream)).is_active
    except SubscriptionError:
        active = False
    except (UseapiError, TimeoutError) as error:
        return stopped(
            "refused" if isinstance(error, TokenError) else "unknown", *_explained(error)
        )
    asked = [each for each in SERVICES if service in (None, each.name)]
    services = tuple(
        await asyncio.gather(
            *(_service(each, upstream, with_credits=with_credits) for each in asked)
        )
    )
    problem: str | None = None
    hint: str | None = None
    if not active:
        problem = "The useapi.net subscription is not active."
        hint = "Renew it on useapi.net; nothing works until then."
    elif all(each.state == "not_linked" for each in services):
        titles = [each.vendor.title for each in asked]
        where = titles[0] if len(titles) == 1 else "any service"
        problem = f"No account is linked to {where}, so no job can run."
        hint = f"Link an account of {_either(titles)} on useapi.net."
    faulty = any(each.state in {"in_error", "unknown"} for each in services)
    return Check(
        ok=problem is None and not faulty,
        base_url=upstream.origin,
        subscription="active" if active else "inactive",
        problem=problem,
        hint=hint,
        services=services,
    )


async def _service(service: Service, upstream: Upstream, *, with_credits: bool) -> ServiceCheck:
    title = service.vendor.title
    ends_at = asyncio.get_running_loop().time() + _LONGEST_S
    try:
        async with asyncio.timeout_at(ends_at):
            accounts = await service.accounts(upstream)
    except (UseapiError, TimeoutError) as error:
        problem, hint = _explained(error)
        return ServiceCheck(service=service.name, state="unknown", problem=problem, hint=hint)
    if not accounts:
        return ServiceCheck(
            service=service.name,
            state="not_linked",
            problem=f"No {title} account is linked.",
            hint=f"To use {title}, link an account of it on useapi.net.",
        )
    # Those in error first, so that a long list is not cut before them.
    told = sorted(accounts, key=lambda account: account.healthy)[:_MOST_ACCOUNTS]
    listed, notes = tuple(map(_told, told)), []
    if with_credits:
        read = await asyncio.gather(
            *(_with_balance(service, upstream, account, ends_at) for account in told)
        )
        listed = tuple(account for account, _ in read)
        notes = [service.claims, *(note for _, note in read)]
    found = ServiceCheck(
        service=service.name,
        state="ready",
        accounts=listed,
        note=" ".join(filter(None, notes)) or None,
    )
    in_error = sum(not account.healthy for account in accounts)
    if not in_error:
        return found
    return found.model_copy(
        update={
            "state": "in_error",
            "problem": f"{title}: {in_error} of {len(accounts)} linked accounts in error.",
            "hint": "Solve what it says, connect the account again on useapi.net, then check"
            " again.",
        }
    )


async def _with_balance(
    service: Service, upstream: Upstream, account: Account, ends_at: float
) -> tuple[AccountCheck, str]:
    """An account with what it has, and a sentence where that can't be read."""
    told = _told(account)
    try:
        async with asyncio.timeout_at(ends_at):
            balance = await service.balance(upstream, account)
    except (UseapiError, TimeoutError) as error:
        problem, _ = _explained(error)
        return told, f"The credits of {account.name} could not be read: {problem}"
    return told.model_copy(
        update={
            "credits": balance.credits,
            "plan": balance.plan,
            "free_slots": balance.free_slots,
            "models": balance.models[:_MOST_MODELS] or None,
        }
    ), "" if balance.credits is not None else f"The credits of {account.name} are not told."


def _told(account: Account) -> AccountCheck:
    return AccountCheck(name=account.name, healthy=account.healthy, problem=account.problem)


def _either(titles: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(titles[:-1]), titles[-1])))


def _explained(error: UseapiError | TimeoutError) -> tuple[str, str]:
    """What is wrong and what to do about it, for somebody who sets the server up."""
    if isinstance(error, TimeoutError):
        return f"No answer came within {_LONGEST_S:g} s.", "Try again in a minute."
    hint = error.hint
    if isinstance(error, UnexpectedAnswerError | ServerError):
        hint = "Try again in a minute; if it stays so, check USEAPI_BASE_URL."
    return without_secrets(error.message), hint
