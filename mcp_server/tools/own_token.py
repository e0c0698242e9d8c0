"""The way to the page at which a user gives a useapi.net token of his own.

The token itself never comes this way: it is given to the page (http/own_tokens.py), which no client
and no model sees. A client of 2026 that opens addresses is asked to (elicitation of mode `url`),
where a call can't go on without a token; its second call waits for what the user does there. All
others are told the address. A client of 2025 is never asked: over HTTP without sessions nobody
knows what it can do, and a request that it does not know must not be sent.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from mcp.types import ElicitRequest, ElicitRequestURLParams, ElicitResult, InputRequiredResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_server.errors import DeclinedError, OwnTokenError
from mcp_server.journal.own_tokens import OwnTokens
from mcp_server.models import Caller, OwnAccount
from mcp_server.tools.context import Ctx, app_of, current_caller, with_own_account

T = TypeVar("T")

_ASKED = "own token"  # the name of the question
_LONGEST_WAIT_S, _LOOK_EVERY_S = 45.0, 1.0  # clients wait for 60 s
_ASK = (
    "This server needs your own useapi.net token for this. The page asks for it, and for the token"
    " with which you use this server, so that nobody else can give one in your name."
)


def answers_of(ctx: Ctx) -> list[Any]:
    """What the user has answered to all other questions."""
    return [answer for name, answer in (ctx.input_responses or {}).items() if name != _ASKED]


async def once_given(
    ctx: Ctx, own_tokens: OwnTokens, call: Callable[[], Awaitable[T]]
) -> T | InputRequiredResult:
    """What a call gives once its user has given a token, or the question for it.

    Raises:
        OwnTokenError: the user has not, or can't be asked; it tells the address.
        DeclinedError: the user does not want to.
        JournalError: it can't be read whether he has.
    """
    caller = current_caller()
    answer = (ctx.input_responses or {}).get(_ASKED)
    own = await own_tokens.known(caller.user)
    if isinstance(answer, ElicitResult):
        if answer.action == "decline":
            raise DeclinedError(
                message="The user does not want to give a useapi.net token, so nothing was sent.",
                hint="Without one nothing can be made here; don't ask again for the same.",
            )
        if answer.action == "accept":
            own = await _given(ctx, own_tokens, caller.user)
    page = own_tokens.page_for(caller.user, own)
    if own.account:
        with with_own_account(own):
            return await call()
    if isinstance(answer, ElicitResult) or not _can_open(ctx):
        raise needed(page)
    asked = ElicitRequest(params=ElicitRequestURLParams(message=_ASK, url=page))
    return InputRequiredResult(input_requests={_ASKED: asked})


def needed(page: str) -> OwnTokenError:
    """What is said where a call can't go on without a token of its user's own."""
    return OwnTokenError(
        message="The user has not given this server a useapi.net token of his own, which it needs"
        " here, so nothing was sent.",
        hint=f"Have the user open {page} and give it there (never in the chat); it works once, for"
        " ten minutes. Then make the same call.",
    )


def note_on(caller: Caller, page: str) -> str:
    """What a check of the accounts tells of the user's own token."""
    at = f"{page} (for ten minutes, once; never give a token in the chat)."
    if caller.account:
        return f"The user's own useapi.net token is used; it can be changed or taken back at {at}"
    return (
        "The token of this server's operator is used; the user can give his own instead, to be"
        f" used for him alone, at {at}"
    )


async def _given(ctx: Ctx, own_tokens: OwnTokens, user: str) -> OwnAccount:
    """What a user gives, waited for as long as clients wait for an answer."""
    clock = app_of(ctx).clock
    ends_s = clock.elapsed() + _LONGEST_WAIT_S
    while not (own := await own_tokens.known(user)).account and clock.elapsed() < ends_s:
        await clock.sleep(_LOOK_EVERY_S)
    return own


def _can_open(ctx: Ctx) -> bool:
    """Whether the client can be asked to have the user open an address."""
    able = ctx.client_capabilities.elicitation if ctx.client_capabilities else None
    is_modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
    return is_modern and able is not None and able.url is not None
