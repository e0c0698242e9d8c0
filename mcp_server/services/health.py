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
from mcp_server.services.accounts import Account, subscription_is_active, without_secrets
from mcp_server.services.base import Service
from mcp_server.services.registry import SERVICES
from mcp_server.upstream.client import Upstream

# For the account, then for all services at once: together less than clients wait for a tool.
_LONGEST_S = 20.0
_MOST_ACCOUNTS = 50


class AccountCheck(BaseModel):
    """A linked account; `name` is masked."""

    model_config = ConfigDict(frozen=True)

    name: str
    healthy: bool
    problem: str | None = None


class ServiceCheck(BaseModel):
    """A service and the accounts linked to it."""

    model_config = ConfigDict(frozen=True)

    service: str
    state: Literal["ready", "in_error", "not_linked", "unknown"]
    accounts: tuple[AccountCheck, ...] = ()
    problem: str | None = None
    hint: str | None = None


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


async def check(upstream: Upstream) -> Check:
    """The state of everything. Errors are part of the result and are not raised."""

    def stopped(token: Token, problem: str, hint: str) -> Check:
        return Check(ok=False, base_url=upstream.origin, token=token, problem=problem, hint=hint)

    try:
        upstream.require_token()
    except TokenError as error:
        return stopped("missing", error.message, error.hint)
    try:
        async with asyncio.timeout(_LONGEST_S):
            active = await subscription_is_active(upstream)
    except SubscriptionError:
        active = False
    except (UseapiError, TimeoutError) as error:
        return stopped(
            "refused" if isinstance(error, TokenError) else "unknown", *_explained(error)
        )
    services = tuple(await asyncio.gather(*(_service(each, upstream) for each in SERVICES)))
    problem: str | None = None
    hint: str | None = None
    if not active:
        problem = "The useapi.net subscription is not active."
        hint = "Renew it on useapi.net; nothing works until then."
    elif all(service.state == "not_linked" for service in services):
        problem = "No account is linked to any service, so no job can run."
        hint = "Link an account of Dreamina, Google Flow or PixVerse on useapi.net."
    faulty = any(service.state in {"in_error", "unknown"} for service in services)
    return Check(
        ok=problem is None and not faulty,
        base_url=upstream.origin,
        subscription="active" if active else "inactive",
        problem=problem,
        hint=hint,
        services=services,
    )


async def _service(service: Service, upstream: Upstream) -> ServiceCheck:
    title = service.vendor.title
    try:
        async with asyncio.timeout(_LONGEST_S):
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
    in_error = sum(not account.healthy for account in accounts)
    if not in_error:
        return ServiceCheck(service=service.name, state="ready", accounts=_listed(accounts))
    return ServiceCheck(
        service=service.name,
        state="in_error",
        accounts=_listed(accounts),
        problem=f"{title}: {in_error} of {len(accounts)} linked accounts in error.",
        hint="Solve what it says, connect the account again on useapi.net, then check again.",
    )


def _listed(accounts: tuple[Account, ...]) -> tuple[AccountCheck, ...]:
    """The accounts for the result, those in error first."""
    return tuple(
        AccountCheck(name=account.name, healthy=account.healthy, problem=account.problem)
        for account in sorted(accounts, key=lambda account: account.healthy)[:_MOST_ACCOUNTS]
    )


def _explained(error: UseapiError | TimeoutError) -> tuple[str, str]:
    """What is wrong and what to do about it, for somebody who sets the server up."""
    if isinstance(error, TimeoutError):
        return f"No answer came within {_LONGEST_S:g} s.", "Try again in a minute."
    hint = error.hint
    if isinstance(error, UnexpectedAnswerError | ServerError):
        hint = "Try again in a minute; if it stays so, check USEAPI_BASE_URL."
    return without_secrets(error.message), hint
