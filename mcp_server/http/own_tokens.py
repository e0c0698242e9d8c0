"""The page at which a user gives this server a useapi.net token of his own, or takes it back.

Its address is made for one user, works for ten minutes, and once. It is no proof of who opens it: a
user could send his own to somebody else, whose token would then be used in his name (phishing; MCP
2026-07-28, elicitation). A log-in in the browser would be the identity provider's, which knows
nothing of this page. So the page asks for what its user alone has, the token with which his client
calls this server: one that the operator handed out, or an access token of the provider. Only who
shows that of the very user for whom the address was made can give a token, or take it back.

The page runs no script, loads nothing and leads nowhere. What is typed there goes to the vendor for
one free read, and sealed into the database; it is in no answer, error or log.
"""

import asyncio
import contextlib
import hmac
import html
import math
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.errors import (
    JournalError,
    OwnTokenError,
    SubscriptionError,
    UseapiError,
    UsedAddressError,
)
from mcp_server.http.auth import NoKeysError, OwnAccountOf, Users, WrongTokenError
from mcp_server.http.rate_limit import RateLimit
from mcp_server.http.stopping import Stopping
from mcp_server.journal.own_tokens import PAGE_PATH, OwnTokens, account_of, used_address
from mcp_server.models import OwnAccount
from mcp_server.sealing import NotOpenedError
from mcp_server.services.accounts import subscription_of
from mcp_server.settings import bare_token
from mcp_server.tools.context import SUBMIT_SCOPE, AppContext

_LARGEST_FORM_BYTES = 16 << 10
_MOST_FIELDS = 5
_AGAIN_S = 5.0
_LONGEST_CHECK_S = 20.0  # a browser, and a proxy before us, wait no longer than a minute
# `user:` and a number are documented; the characters after it are *assumed* to be no others than
# these, which the log's filter knows, too.
_TOKEN = re.compile(r"user:[0-9]{1,20}-[A-Za-z0-9_.~+/=-]{1,500}", re.ASCII)
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # To nobody else; with `no-referrer` browsers would hide the form's own origin from us, too.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Your useapi.net token</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 3rem auto; padding: 1rem }}
label {{ display: block; margin-top: 1rem }}
input {{ box-sizing: border-box; width: 100%; font: inherit; padding: .4rem }}
button {{ font: inherit; margin: 1.2rem .6rem 0 0; padding: .4rem 1rem }}
</style>
<h1>Your useapi.net token</h1>
{body}
</html>
"""
_FORM = """<p role="status"><strong>{sentence}</strong></p>
<p>With it this server makes your jobs on your own useapi.net account and at your cost, until you
take it back. It is kept sealed, and shown to nobody. Go on only if you yourself asked your client
for this page: who sent you its address would otherwise use your account.</p>
<form method="post" autocomplete="off">
<label>The token with which your client calls this server, which shows that it is you
<input type="password" name="proof" required maxlength="8192" autocomplete="off"></label>
<label>Your useapi.net token, whole, with <code>user:</code>
<input type="password" name="token" maxlength="600" autocomplete="off"></label>
<button name="do" value="keep">Keep it</button>
{take_back}
</form>
"""
_TAKE_BACK = '<button name="do" value="take back">Take back the one I gave</button>'


class _RefusedError(Exception):
    """What was sent is not taken.

    Args:
        sentence: why, and what to do.
        has_form: whether the same page can be used for another try.
        again_s: when that helps at the earliest; None: at once.
    """

    def __init__(
        self, status: int, sentence: str, *, has_form: bool = False, again_s: float | None = None
    ) -> None:
        super().__init__(status)
        self.status = status
        self.sentence = sentence
        self.has_form = has_form
        self.again_s = again_s


class OwnTokenMiddleware:
    """Serves the page, where users may give tokens of their own.

    Args:
        users: tells whose the token is that shows who opens the page.
        limit: of the requests of one user, wherever he sends them.
    """

    def __init__(
        self, app: ASGIApp, stopping: Stopping, users: Users, limit: RateLimit | None = None
    ) -> None:
        self._app = app
        self._stopping = stopping
        self._users = users
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app, start = self._stopping.app, f"{PAGE_PATH}/"
        is_page = scope["type"] == "http" and scope["path"].startswith(start)
        if not is_page or app is None or app.own_tokens is None or self._users.are_none:
            return await self._app(scope, receive, send)
        request, sealed = Request(scope, receive), scope["path"].removeprefix(start)
        try:
            response = await self._answer(request, sealed, app.own_tokens, app)
        except ClientDisconnect:
            return None
        return await response(scope, receive, send)

    async def _answer(
        self, request: Request, sealed: str, tokens: OwnTokens, app: AppContext
    ) -> Response:
        if request.method not in ("GET", "HEAD", "POST"):
            return _page(405, "This page is read and sent, nothing else.")
        own = OwnAccount()
        try:
            user, version = _addressee(tokens, sealed)
            own = await _unchanged(tokens, user, version)
            if request.method != "POST":
                return _form(200, "Give this server your own useapi.net token.", own)
            form = await _form_of(request)
            await self._require(user, form.get("proof", ""))
            with self._counted(user):
                if form.get("do") == "take back":
                    await tokens.take_back(user, version)
                    return _page(200, "It is taken back: no server here has it any more.")
                token = bare_token(form.get("token", ""))
                account = await self._checked(app, user, token)
                await tokens.keep(user, version, account, token)
        except _RefusedError as refused:
            if refused.has_form:
                return _form(refused.status, refused.sentence, own, refused.again_s)
            return _page(refused.status, refused.sentence)
        except UsedAddressError as error:
            return _page(410, f"{error.message} {error.hint}")
        except JournalError:
            sentence = "The tokens can't be read or kept just now. Try again in a minute."
            return _page(503, sentence, _AGAIN_S)
        return _page(200, "It is kept. Go back to your client, and make the same call again there.")

    async def _require(self, user: str, proof: str) -> None:
        """Refuse whoever is not the user for whom the page was made.

        Raises:
            _RefusedError: he is not, or nobody can tell.
        """
        again = "Give the token that your own client sends, and your useapi.net token once more."
        try:
            found = await self._users.user_of(bare_token(proof))
        except WrongTokenError as wrong:
            raise _RefusedError(403, f"{wrong} {again}", has_form=True) from None
        except (NoKeysError, JournalError):
            sentence = "Nobody can tell just now whose token that is. Try again in a minute."
            raise _RefusedError(503, sentence, has_form=True, again_s=_AGAIN_S) from None
        if found is None:
            await self._users.pause()
            sentence = f"The token that shows who you are is not known here. {again}"
            raise _RefusedError(403, sentence, has_form=True)
        if found.subject != user:
            raise _RefusedError(
                403,
                "This page was made for another user, so nothing was kept. Don't use an address"
                " that somebody sent you: your own client tells yours (check_accounts).",
            )
        # A token of the provider may be narrower than its user is: who got hold of one that only
        # reads must not have what the user makes from now on made on another account. One that was
        # handed out is all that its user has.
        if found.claims is not None and SUBMIT_SCOPE not in found.scopes:
            raise _RefusedError(
                403,
                f"The token that shows who you are may only read: the page needs one with the"
                f" scope {SUBMIT_SCOPE}. Nothing was changed.",
                has_form=True,
            )

    @contextlib.contextmanager
    def _counted(self, user: str) -> Iterator[None]:
        """While a request of a user is answered that is one of those he may send.

        Raises:
            _RefusedError: he has sent too many.
        """
        if self._limit is None:
            yield
            return
        wait_s = _AGAIN_S
        if self._limit.has_room(user):
            wait_s = self._limit.wait_s(user, asyncio.get_running_loop().time())
        if wait_s > 0:
            sentence = f"Too many requests: send this again in {math.ceil(wait_s)} s."
            raise _RefusedError(429, sentence, has_form=True, again_s=wait_s)
        with self._limit.holding(user):
            yield

    async def _checked(self, app: AppContext, user: str, token: str) -> str:
        """The account of a token that useapi.net knows.

        Raises:
            _RefusedError: it does not, or can't say.
        """
        if not _TOKEN.fullmatch(token):
            sentence = "A useapi.net token begins with user:, a number and a hyphen. Give it whole."
            raise _RefusedError(400, sentence, has_form=True)
        # Else the credits of one account would be counted as those of two, and a job of it that
        # is there already would be made, and paid for, once more.
        if hmac.compare_digest(token, app.settings.secret or ""):
            sentence = (
                "This is the token of this server itself, which is used without any of yours."
            )
            raise _RefusedError(400, sentence, has_form=True)

        async def itself(_: str) -> str:
            return token

        try:
            async with asyncio.timeout(_LONGEST_CHECK_S):
                upstream = app.all_jobs.upstream.with_token_of("", itself)
                found = await subscription_of(upstream)
        except OwnTokenError:
            await self._users.pause()
            sentence = "useapi.net does not know this token. Copy it whole, and give it again."
            raise _RefusedError(400, sentence, has_form=True) from None
        except SubscriptionError:
            raise _RefusedError(400, _HAS_ENDED, has_form=True) from None
        except (UseapiError, TimeoutError):
            sentence = "useapi.net could not be asked about the token just now. Try again."
            raise _RefusedError(503, sentence, has_form=True, again_s=_AGAIN_S) from None
        if not found.is_active:
            raise _RefusedError(400, _HAS_ENDED, has_form=True)
        if found.id is None:  # jobs could not be told from those of another account
            sentence = "useapi.net does not tell whose token this is, so it can't be kept."
            raise _RefusedError(503, sentence, has_form=True, again_s=_AGAIN_S)
        return account_of(user, found.id)


_HAS_ENDED = "The useapi.net subscription of this token is not active. Renew it there first."


def own_account_in(stopping: Stopping) -> OwnAccountOf:
    """What tells which account a user of a server has given the token of."""

    async def own_account_of(user: str) -> OwnAccount | None:
        if stopping.app is None or stopping.app.own_tokens is None:
            return None
        return await stopping.app.own_tokens.known(user)

    return own_account_of


def _addressee(tokens: OwnTokens, sealed: str) -> tuple[str, int]:
    try:
        return tokens.user_at(sealed)
    except NotOpenedError:
        raise _RefusedError(404, "There is no such page. Open the address whole.") from None


async def _unchanged(tokens: OwnTokens, user: str, version: int) -> OwnAccount:
    """What a user has given, which is what it was when the address was made.

    Raises:
        UsedAddressError: it is not.
        JournalError: it can't be read.
    """
    own = await tokens.known(user)
    if own.version != version:
        raise used_address()
    return own


async def _form_of(request: Request) -> dict[str, str]:
    """The fields of a form, of which each is there once at most.

    Raises:
        _RefusedError: it is none of ours.
    """
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST_FORM_BYTES:
            raise _RefusedError(413, "That is more than the page asks for.")
    try:
        fields = parse_qsl(body.decode("ascii"), strict_parsing=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        fields = []
    if not fields or len(dict(fields)) != len(fields):
        raise _RefusedError(400, "Send the form of this page, as it is.", has_form=True)
    return dict(fields)


def _form(status: int, sentence: str, own: OwnAccount, again_s: float | None = None) -> Response:
    take_back = _TAKE_BACK if own.account else ""
    body = _FORM.format(sentence=html.escape(sentence), take_back=take_back)
    return _html(status, body, again_s)


def _page(status: int, sentence: str, again_s: float | None = None) -> Response:
    return _html(status, f'<p role="status">{html.escape(sentence)}</p>', again_s)


def _html(status: int, body: str, again_s: float | None) -> Response:
    more = {} if again_s is None else {"Retry-After": str(math.ceil(again_s))}
    if status == 405:
        more = {"Allow": "GET, HEAD, POST"}
    return HTMLResponse(_PAGE.format(body=body), status, headers=_HEADERS | more)
