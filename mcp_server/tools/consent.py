"""Before a paid call: the plan of what would be sent, its price, and the question to the user.

The SDK runs resolvers ahead of a tool's body and may run them twice, so nothing here writes but a
file's upload and the question for a price, which are free and done once whoever asks.
Clients of 2025 are asked in the middle of the call; those of 2026 get the question as a result and
make the call again with its answer. How a client answers is input like any other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from mcp.server.mcpserver.resolve import (
    AcceptedElicitation,
    CancelledElicitation,
    Elicit,
    ElicitationResult,
    Resolve,
)
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, Field, ValidationError

from mcp_server.errors import (
    DeclinedError,
    NotFoundError,
    PriceError,
    RefusedError,
    RequestError,
    UnsupportedError,
)
from mcp_server.jobs.uploads import Patience
from mcp_server.media.own_files import OwnFile
from mcp_server.models import OPERATIONS, Job, OperationName, operation_named
from mcp_server.services.base import Order, Service
from mcp_server.services.registry import service_named, title_of
from mcp_server.settings import Settings, is_https
from mcp_server.tools.choice import account_for
from mcp_server.tools.context import AppContext, Ctx, app_of, read_in_time
from mcp_server.tools.own_token import answers_of
from mcp_server.tools.results import JobFirstError
from mcp_server.tools.sources import find_source

T = TypeVar("T")

NOBODY_IS_ASKED = 1_000_000  # a limit so high that it means no question, whatever the price
UNKNOWN_PRICE = 50  # what a price that nobody documents is taken as, to decide whether to ask
ANSWER_S = 60.0


@dataclass(frozen=True)
class Plan:
    """A call that would be sent: its order, checked and priced, and whether it was made before.

    `max_credits` is what the caller agreed to pay at most; None: nothing was said. `files` are
    those that its order goes by, and `account` is the one they are uploaded to. `is_partial`: as it
    was made before, its price, its account or its files were not looked up, so it must not make a
    new job.
    """

    order: Order
    is_live: bool
    max_credits: float | None = None
    files: Sequence[OwnFile] = ()
    account: str | None = None
    is_partial: bool = False

    @property
    def title(self) -> str:
        return title_of(self.order.service)

    @property
    def cost(self) -> str:
        """What it costs, as the part of a sentence."""
        price = self.order.price
        if price is None:
            return f"{self.title} documents no price for it, so its cost is not known beforehand"
        return f"it costs about {price:g} credits"

    @property
    def nothing(self) -> str:
        """What has not happened so far, as the end of a sentence."""
        if self.files:
            return "nothing was ordered; the file was uploaded, which is free"
        return "nothing was sent"

    @property
    def warning(self) -> str:
        """What can't be done with the result, in a sentence; "" where there is nothing to say."""
        return service_named(self.order.service).warning(self.order)

    def note(self, job: Job) -> str:
        """What the answer that names a new job has to say beside what the job says itself."""
        if job.reused or job.failure is not None:
            return ""
        is_checked = self.max_credits is None or self.order.price is not None
        unchecked = f"{self.cost[0].upper()}{self.cost[1:]}: max_credits could not be checked."
        return " ".join(filter(None, ("" if is_checked else unchecked, self.warning)))


class Consent(BaseModel):
    confirm: bool = Field(description="Spend these credits?")


class NotAsked(Consent):
    """The call was made before, so nobody was asked: it must not make a new job."""


async def make_plan(
    ctx: Ctx,
    operation: OperationName,
    source: str,
    *,
    max_credits: float | None,
    **arguments: str | float | None,
) -> Plan:
    """The plan of a paid call.

    Args:
        max_credits: what the caller agrees to pay at most; None: not said.
        arguments: the tool's other arguments by name; None: not given.

    Raises:
        RequestError: an argument does not fit, or this service doesn't take it.
        UseapiError: the source is a job that can't be read.
        TokenError, JournalError, BudgetError: it would be refused.
    """
    app = app_of(ctx)
    patience = app.jobs.patience(ctx.report_progress)
    given = {name: value for name, value in arguments.items() if value is not None}
    index = given.pop("image_index", None)
    found = await find_source(
        ctx, operation, source, None if index is None else int(index), patience
    )
    if found.image_index is not None:
        given["image_index"] = found.image_index
    made = await app.jobs.known(found.id)
    made_of = None
    if made is not None:
        _check_size(found.service, operation, made)
        made_of = None if operation_named(made.operation).from_prompt else made.source
    if found.file is None:
        telling = found.service.told_by_source(app.upstream, operation, found.id, given, made)
        given |= await read_in_time(telling, "The source", found.service.name)
    return await plan_of(
        ctx,
        found.service,
        operation,
        found.id,
        given,
        patience,
        files=[found.file] if found.file is not None else [],
        max_credits=max_credits,
        made_of=made_of,
    )


async def plan_of(
    ctx: Ctx,
    service: Service,
    operation: OperationName,
    source: str,
    given: Mapping[str, Any],
    patience: Patience,
    *,
    max_credits: float | None,
    files: Sequence[OwnFile] = (),
    made_of: str | None = None,
) -> Plan:
    """The plan of a paid call whose source is one that its service takes.

    Of an order that is not live its files are uploaded, which is free, and its price is asked for,
    where the vendor tells it and somebody needs to know.

    Args:
        given: the tool's arguments that were given.
        files: what placeholders among the source and the arguments stand for.
        made_of: what the source was made of, for a refusal.

    Raises:
        RequestError: an argument does not fit, or this service doesn't take it.
        UseapiError: the accounts can't be read.
        TokenError, JournalError, BudgetError: it would be refused.
        JobFirstError: a file is still being uploaded.
    """
    app = app_of(ctx)
    names = {file.placeholder: file.name for file in files}

    def order_with(arguments: Mapping[str, Any]) -> Order:
        defaults = app.settings.job_defaults
        order = service.order(operation, source, arguments, defaults, made_of=made_of)
        return replace(order, files=names)

    order = order_with(given)
    if "reply_url" in given:
        _check_reply_url(str(given["reply_url"]), app.settings.allowed_reply_hosts)
    is_live = await app.jobs.is_live(order)
    is_partial = is_live and _is_open(order, given, max_credits, app)
    if is_partial:  # then whether it still stands decides what has to be looked up
        is_live = is_partial = await app.jobs.is_live(order, read=True)
    account = None
    if "account" in order.endpoint.options and ("account" in given or not is_live):
        account = await account_for(
            app,
            service,
            given.get("account"),
            belongs_to=service.account_in(order),
            is_needed=bool(order.missing),
        )
        if account is not None:
            order = order_with({**given, "account": account})
    plan = Plan(order, is_live, max_credits, files, account, is_partial)
    if is_live:
        return plan
    plan = await _uploaded(ctx, plan, patience)
    if not _needs_quote(plan.order, max_credits, app.settings):
        return plan
    return replace(plan, order=await with_files(ctx, plan, app.jobs.quote, patience))


async def with_files(
    ctx: Ctx, plan: Plan, act: Callable[[Order], Awaitable[T]], patience: Patience | None = None
) -> T:
    """What an act on a plan's order gives; a file that the vendor has forgotten is sent once more.

    Raises:
        JobFirstError: it is still being sent.
        UseapiError: as the act.
    """
    app, service = app_of(ctx), service_named(plan.order.service)
    try:
        return await act(plan.order)
    except (RefusedError, NotFoundError) as refusal:
        if not plan.files or plan.is_live or not service.has_forgotten_a_file(refusal):
            raise
    for file in plan.files:
        await app.jobs.forget_file(service.name, plan.account or "", file)
    again = patience or app.jobs.patience(ctx.report_progress)
    return await act((await _uploaded(ctx, plan, again)).order)


async def _uploaded(ctx: Ctx, plan: Plan, patience: Patience) -> Plan:
    """The plan with what the vendor calls each of its files in place of its placeholder."""
    app, refs = app_of(ctx), {}
    for file in plan.files:
        sent = await app.jobs.send_file(plan.order.service, plan.account or "", file, patience)
        if isinstance(sent, Job):
            raise JobFirstError(sent)
        refs[file.placeholder] = sent
    return replace(plan, order=plan.order.with_refs(refs))


def _check_size(service: Service, operation: OperationName, made: Job) -> None:
    """Refuse what is known to be as large as its upscale would be.

    Raises:
        UnsupportedError: it is.
    """
    rule = service.file_rules.get(operation)
    if rule is None or rule.under_px is None:
        return
    for item in made.media or ():
        if any(px is not None and px >= rule.under_px for px in (item.width, item.height)):
            raise UnsupportedError(
                message=f"{made.job_id} is {item.width}x{item.height} already, and"
                f" {service.vendor.title} upscales what is smaller than 4K; nothing was sent.",
                hint="Save it with download_media.",
                service=service.name,
            )


def _is_open(
    order: Order, given: Mapping[str, Any], max_credits: float | None, app: AppContext
) -> bool:
    """Whether more has to be looked up before a new job may be made: files, price or account."""
    service = service_named(order.service)
    is_named = "account" in given or "account" not in order.endpoint.options
    must_name = service.needs_account or service.name in app.default_accounts
    needs_more = bool(order.missing) or _needs_quote(order, max_credits, app.settings)
    return needs_more or (must_name and not is_named)


def _needs_quote(order: Order, max_credits: float | None, settings: Settings) -> bool:
    """Whether the vendor tells a price that the cap, the budget or the question needs."""
    is_asked = settings.confirm_credits < NOBODY_IS_ASKED
    budgets = (settings.max_credits_per_day, settings.max_credits_per_user_per_day)
    is_limited = max_credits is not None or budgets != (None, None)
    return order.endpoint.quotes is not None and (is_asked or is_limited)


def consenter(
    plans: Callable[..., Awaitable[Plan]],
) -> Callable[..., Awaitable[Consent | Elicit[Consent]]]:
    """A resolver that lets pass what was agreed to, and asks the user about the rest.

    Nobody is asked about a call that is refused, free, or made before.

    Args:
        plans: the resolver of the call's plan.
    """

    async def consent(ctx: Ctx, plan: Annotated[Plan, Resolve(plans)]) -> Consent | Elicit[Consent]:
        app = app_of(ctx)
        if plan.is_partial:
            return NotAsked(confirm=True)
        if _is_agreed_to(plan, app.settings.confirm_credits):
            return Consent(confirm=True)
        # The job that was made before may have ended since: then this call would make a new one.
        if await app.jobs.is_live(plan.order, read=True):
            return NotAsked(confirm=True)
        if plan.max_credits is not None:
            raise _too_dear(plan)
        if not _can_ask(ctx):
            raise _unanswered(plan, "this client can't ask the user")
        if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return await _asked(ctx, plan)
        if not all(map(_is_an_answer, answers_of(ctx))):
            raise _unanswered(plan, "the question about it got no usable answer")
        return Elicit(_question(plan), Consent)

    return consent


def check_consent(plan: Plan, consent: ElicitationResult[Consent]) -> bool:
    """Whether a new job may be charged for: the user agreed, or the price needs no question.

    Raises:
        DeclinedError: the user said no.
        PriceError: the question was closed without an answer.
    """
    return not isinstance(_agreed(plan, consent), NotAsked)


def _is_agreed_to(plan: Plan, asked_from: float) -> bool:
    """Whether the price needs no question: free, below the limit, or within the caller's cap."""
    price = plan.order.price
    if price is None and plan.max_credits is not None:
        return plan.max_credits > 0
    taken_as = UNKNOWN_PRICE if price is None else price
    if plan.max_credits is not None:
        return taken_as <= plan.max_credits
    return taken_as == 0 or taken_as < asked_from


def _question(plan: Plan) -> str:
    what = plan.order.operation.replace("_", " ")
    result = f" ({plan.order.result})" if plan.order.result else ""
    of = f"of {plan.order.shown_source}"
    if OPERATIONS[plan.order.operation].from_prompt:
        of = f"from the prompt \u201c{plan.order.shown_source}\u201d"
    asked = f"{plan.title}, {what}{result}, {of}: {plan.cost}."
    return " ".join(filter(None, (asked, plan.warning, "Go on?")))


async def _asked(ctx: Ctx, plan: Plan) -> Consent:
    """The user's answer, from a client that is asked in the middle of the call."""
    try:
        async with asyncio.timeout(ANSWER_S):
            outcome = await ctx.elicit(_question(plan), Consent)
    except TimeoutError:
        raise _unanswered(plan, f"nobody answered the question within {ANSWER_S:g} s") from None
    except (MCPError, ValueError):  # it refused to ask, or its answer is none
        raise _unanswered(plan, "the question about it got no usable answer") from None
    return _agreed(plan, outcome)


def _agreed(plan: Plan, outcome: ElicitationResult[Consent]) -> Consent:
    if isinstance(outcome, CancelledElicitation):  # many hosts do so without showing it
        raise _unanswered(plan, "the question about it was closed without an answer")
    if not (isinstance(outcome, AcceptedElicitation) and outcome.data.confirm):
        raise DeclinedError(
            message=f"The user declined the cost, so {plan.nothing}.",
            hint="Don't ask again for the same; offer something cheaper if there is.",
            service=plan.order.service,
        )
    return outcome.data


def _is_an_answer(answer: object) -> bool:
    """Whether a client said yes or no, or closed the question; the SDK has other words for less."""
    if not isinstance(answer, ElicitResult):
        return False
    try:
        return answer.action != "accept" or Consent.model_validate(answer.content) is not None
    except ValidationError:
        return False


def _too_dear(plan: Plan) -> PriceError:
    price = plan.order.price
    if price is None:
        hint = "Ask the user; with max_credits above 0 the call goes through, whatever it costs."
    else:
        hint = f"Ask the user; max_credits={price:g} lets the same call through."
    return PriceError(
        message=f"{plan.cost[0].upper()}{plan.cost[1:]}; max_credits is {plan.max_credits:g}, so"
        f" {plan.nothing}.",
        hint=_hint(plan, hint),
        service=plan.order.service,
        price=price,
    )


def _unanswered(plan: Plan, why: str) -> PriceError:
    price = plan.order.price
    cap = UNKNOWN_PRICE if price is None else price
    return PriceError(
        message=f"{plan.cost[0].upper()}{plan.cost[1:]}, and {why}; {plan.nothing}.",
        hint=_hint(
            plan,
            f"Ask the user in the chat; after a yes make the same call with max_credits={cap:g}.",
        ),
        service=plan.order.service,
        price=price,
    )


def _hint(plan: Plan, hint: str) -> str:
    return f"{hint} Tell them: {plan.warning}" if plan.warning else hint


def _can_ask(ctx: Ctx) -> bool:
    """Whether the client shows questions; a 2025 client of stateless HTTP has told it in vain."""
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
