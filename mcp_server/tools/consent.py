"""Before a paid call: the plan of what would be sent, its price, and the question to the user.

The SDK runs resolvers ahead of a tool's body and may run them twice, so nothing here writes.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from mcp.server.mcpserver.resolve import (
    AcceptedElicitation,
    Elicit,
    ElicitationResult,
    Resolve,
)
from pydantic import BaseModel, Field

from mcp_server.errors import DeclinedError, RequestError
from mcp_server.models import OperationName
from mcp_server.services.base import Order
from mcp_server.services.registry import service_named, service_of
from mcp_server.settings import is_https
from mcp_server.tools.context import Ctx, app_of


@dataclass(frozen=True)
class Plan:
    """A call that would be sent: its order, checked and priced, and whether it was made before."""

    order: Order
    is_live: bool


class Consent(BaseModel):
    confirm: bool = Field(description="Spend these credits?")


class NotAsked(Consent):
    """The call was made before, so nobody was asked: it must not make a new job."""


async def make_plan(
    ctx: Ctx, operation: OperationName, source: str, **arguments: str | float | None
) -> Plan:
    """The plan of a paid call.

    Args:
        arguments: the tool's other arguments by name; None: not given.

    Raises:
        RequestError: an argument does not fit, or this service doesn't take it.
        TokenError, JournalError, BudgetError: it would be refused.
    """
    app = app_of(ctx)
    given = {name: value for name, value in arguments.items() if value is not None}
    service = service_of(source, "source")
    order = service.order(operation, source, given, app.settings.job_defaults)
    if "reply_url" in given:
        _check_reply_url(str(given["reply_url"]), app.settings.allowed_reply_hosts)
    is_live = await app.jobs.is_live(order)
    return Plan(order, is_live)


def consenter(
    plans: Callable[..., Awaitable[Plan]],
) -> Callable[..., Awaitable[Consent | Elicit[Consent]]]:
    """A resolver that asks the user about a price known beforehand, where the client can ask.

    Nobody is asked about a call that is refused, free, or made before.

    Args:
        plans: the resolver of the call's plan.
    """

    async def consent(ctx: Ctx, plan: Annotated[Plan, Resolve(plans)]) -> Consent | Elicit[Consent]:
        price = plan.order.price or 0
        limit = app_of(ctx).settings.confirm_credits
        if price == 0 or price < limit or not _can_ask(ctx):
            return Consent(confirm=True)
        # The job that was made before may have ended since: then this call would make a new one.
        if plan.is_live and await app_of(ctx).jobs.is_live(plan.order, read=True):
            return NotAsked(confirm=True)
        service = service_named(plan.order.service).vendor.title
        what = plan.order.operation.replace("_", " ")
        return Elicit(f"{what} on {service} costs about {price:g} credits. Go on?", Consent)

    return consent


def check_consent(plan: Plan, consent: ElicitationResult[Consent]) -> bool:
    """Whether a new job may be charged for: the user agreed, or the price needs no question.

    Raises:
        DeclinedError: the user said no.
    """
    if not (isinstance(consent, AcceptedElicitation) and consent.data.confirm):
        raise DeclinedError(
            message="The user declined the cost, so nothing was sent.",
            hint="Don't ask again for the same; offer something cheaper if there is.",
            service=plan.order.service,
        )
    return not isinstance(consent.data, NotAsked)


def _can_ask(ctx: Ctx) -> bool:
    able = ctx.client_capabilities.elicitation if ctx.client_capabilities else None
    # A client that names no mode means forms.
    return able is not None and (able.form is not None or able.url is None)


def _check_reply_url(url: str, hosts: frozenset[str]) -> None:
    if not is_https(url):
        raise RequestError(
            message="reply_url must begin with https:// and name a host; nothing was sent.",
            hint="Correct it or leave it out: get_job tells the state too.",
        )
    if (urlsplit(url).hostname or "").lower() not in hosts:
        raise RequestError(
            message="The host of reply_url is not one the operator allows; nothing was sent.",
            hint="Leave reply_url out, or ask the operator to name the host in"
            " USEAPI_REPLY_URL_HOSTS.",
        )
