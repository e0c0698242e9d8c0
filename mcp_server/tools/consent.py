"""Before a paid call: what would be sent, whether it may be, and whether the user wants to pay it.

The SDK runs these resolvers ahead of a tool's body and may run them twice, so they write nothing.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel, Field

from mcp_server.errors import RequestError
from mcp_server.models import PaidOperation
from mcp_server.services.base import Order
from mcp_server.services.registry import service_named, service_of
from mcp_server.settings import is_https
from mcp_server.tools.context import AppContext

Ctx = Context[AppContext]


@dataclass(frozen=True)
class Plan:
    """A call that would be sent: checked, priced, and whether it was made before."""

    order: Order
    is_live: bool


class Consent(BaseModel):
    confirm: bool = Field(description="Spend these credits?")


Planner = Callable[..., Awaitable[Plan]]


def planner(operation: PaidOperation, *takes: str) -> Planner:
    """A resolver that checks a call and prices it. It writes nothing: the SDK may run it twice."""

    async def plan(ctx: Ctx, source_id: str, **given: Any) -> Plan:
        app = ctx.request_context.lifespan_context
        given = {name: value for name, value in given.items() if value is not None}
        service = service_of(source_id, "source_id")
        order = service.order(operation, source_id, given, app.settings.job_defaults)
        if "reply_url" in given:
            _check_reply_url(given["reply_url"], app.settings.allowed_reply_hosts)
        return Plan(order, await app.jobs.is_live(order))

    # The SDK hands a resolver those of the tool's arguments that its signature names.
    own = list(inspect.signature(plan).parameters.values())[:2]
    rest = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in takes]
    plan.__signature__ = inspect.Signature([*own, *rest])  # type: ignore[attr-defined]  # settable, as PEP 362 says
    return plan


def consenter(plans: Planner) -> Callable[..., Awaitable[Consent | Elicit[Consent]]]:
    """A resolver that asks the user about a price known beforehand, where the client can ask.

    Nobody is asked about a call that is refused, free, or made before.
    """

    async def consent(ctx: Ctx, plan: Annotated[Plan, Resolve(plans)]) -> Consent | Elicit[Consent]:
        price = plan.order.price or 0
        limit = ctx.request_context.lifespan_context.settings.confirm_credits
        if price == 0 or price < limit or plan.is_live or not _can_ask(ctx):
            return Consent(confirm=True)
        service = service_named(plan.order.service).vendor.title
        what = plan.order.operation.replace("_", " ")
        return Elicit(f"{what} on {service} costs about {price:g} credits. Go on?", Consent)

    return consent


def _can_ask(ctx: Ctx) -> bool:
    able = ctx.client_capabilities.elicitation if ctx.client_capabilities else None
    # A client that names no mode means forms.
    return able is not None and (able.form is not None or able.url is None)


def _check_reply_url(url: str, hosts: frozenset[str]) -> None:
    if not is_https(url):
        raise RequestError(
            "reply_url must begin with https:// and name a host; nothing was sent.",
            "Correct it or leave it out: get_job tells the state too.",
        )
    if (urlsplit(url).hostname or "").lower() not in hosts:
        raise RequestError(
            "The host of reply_url is not one the operator allows; nothing was sent.",
            "Leave reply_url out, or ask the operator to name the host in USEAPI_REPLY_URL_HOSTS.",
        )
