"""Who calls: the operator, a user with a token of ours, or a user of an identity provider.

The SDK's own check knows one list of scopes for all tools, says `invalid_token` to who sent none,
and adds a slash to the issuer, which its own client then refuses.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import math
import re
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.types import JSONRPCMessage, JSONRPCRequest
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.errors import JournalError
from mcp_server.http.rate_limit import RateLimit
from mcp_server.logs import seldom_warning
from mcp_server.models import Caller, OwnAccount
from mcp_server.tools.context import SUBMIT_SCOPE, SUBMITTING_TOOLS, with_own_account

if TYPE_CHECKING:
    from mcp_server.http.identity_provider import IdentityProvider

log = logging.getLogger(__name__)

READ_SCOPE = "jobs:read"
_ALL_SCOPES = f"{READ_SCOPE} {SUBMIT_SCOPE}"
_DISCOVERY = "/.well-known/"  # where clients look for an OAuth server
_METADATA = f"{_DISCOVERY}oauth-protected-resource"
_GUESSES, _GUESSES_S, _GUESS_PAUSE_S, _MOST_WAITING = 10, 60.0, 1.0, 100
_JOURNAL_AGAIN_S = _OPEN_AGAIN_S = 5.0
_DOTS_OF_A_JWT = 2

FindUser = Callable[[str], Awaitable[Caller | None]]
"""Who was given this token by the operator; None: nobody was."""

OwnAccountOf = Callable[[str], Awaitable[OwnAccount | None]]
"""Which account a user has given the token of; None: users may give none."""


class WrongTokenError(Exception):
    """The token is refused; the text is a sentence that says why."""


class NoKeysError(Exception):
    """Nobody can say whether the token is right before the issuer's keys are known."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class _RefusedError(Exception):
    """A request that is answered here."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


def user_id(issuer: str, subject: str) -> str:
    """What a user of an issuer is called here: a hash, as subjects can be e-mail addresses."""
    return hashlib.sha256(json.dumps([issuer, subject]).encode()).hexdigest()


class Users:
    """Tells whose a token is.

    Who guesses is slowed down: in a minute, the tenth wrong token and all after it wait a second.

    Args:
        find_user: knows the tokens that the operator handed out.
        provider: verifies the tokens of the identity provider.
    """

    def __init__(self, find_user: FindUser | None, provider: "IdentityProvider | None") -> None:
        self.are_none = find_user is None and provider is None
        self.has_provider = provider is not None
        self._find_user = find_user
        self._provider = provider
        self._wrong: deque[float] = deque(maxlen=_GUESSES)  # when the last ones came
        self._waiting = 0

    async def user_of(self, sent: str) -> AccessToken | None:
        """Whose this token is; None: nobody's. What is signed can't be guessed, only be wrong.

        Raises:
            WrongTokenError, NoKeysError: it is signed, and can't be taken.
            JournalError: the users can't be looked up.
        """
        if self._provider is not None and sent.count(".") == _DOTS_OF_A_JWT:
            return await self._provider.verified(sent)
        caller = await self._find_user(sent) if self._find_user is not None else None
        if caller is None:
            return None
        scopes = _ALL_SCOPES.split() if caller.may_submit else [READ_SCOPE]
        return AccessToken(token="", client_id="", scopes=scopes, subject=caller.user)

    async def pause(self) -> None:
        """Wait where too many wrong tokens came; told of each."""
        now = asyncio.get_running_loop().time()
        self._wrong.append(now)
        is_guessing = len(self._wrong) == _GUESSES and now - self._wrong[0] < _GUESSES_S
        if is_guessing and self._waiting < _MOST_WAITING:  # each holds a connection
            self._waiting += 1
            try:
                await asyncio.sleep(_GUESS_PAUSE_S)
            finally:
                self._waiting -= 1


class AuthMiddleware:
    """Refuses a request of nobody who is known, and hands on who sent it, without the token.

    The SDK, and `current_caller`, know the user from `scope["user"]`; the operator has none there.

    Args:
        token: the operator's; None: there is none.
        users: tells whose another token is.
        own_account_of: knows what users have given.
        challenge: what who is refused is answered.
        open_paths: need no token.
        limit: of the requests of one user.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str | None,
        *,
        users: Users | None = None,
        own_account_of: OwnAccountOf | None = None,
        challenge: "Challenge | None" = None,
        open_paths: frozenset[str] = frozenset(),
        limit: RateLimit | None = None,
    ) -> None:
        self._users = users or Users(None, None)
        if token == "" or (token is None and self._users.are_none):
            raise ValueError("an empty token would let everybody in")
        self._app = AuthContextMiddleware(app)
        self._token = None if token is None else token.encode()
        self._own_account_of = own_account_of
        self._open_paths = open_paths
        self._limit = limit
        self._challenge = challenge or Challenge(None)
        self._warn = seldom_warning(log)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._open_paths:
            await self._app(scope, receive, send)
            return
        if scope["path"].startswith(_DISCOVERY):
            nothing = PlainTextResponse("There is no OAuth server.\n", status_code=404)
            await nothing(scope, receive, send)
            return
        try:
            user = await self._user(scope)
            own = await self._own_account(user)
        except _RefusedError as refused:
            await refused.response(scope, receive, send)
            return
        # Nothing behind this needs the token, and what is not there is not passed on.
        headers = [header for header in scope["headers"] if header[0] != b"authorization"]
        served = {**scope, "headers": headers}
        held: AbstractContextManager[None] = nullcontext()
        if user is not None:
            served["user"] = AuthenticatedUser(user)
            if self._limit is not None:
                held = self._limit.holding(user.subject or "")
        with held, with_own_account(own):
            await self._app(served, receive, send)

    async def _user(self, scope: Scope) -> AccessToken | None:
        """Who sent the request; None is the operator.

        Raises:
            _RefusedError: nobody who may.
        """
        headers = Headers(scope=scope)
        given = headers.getlist("authorization")
        if self._users.has_provider and _is_sent_twice_or_in_the_address(scope, given):
            raise _RefusedError(self._challenge.malformed())
        scheme, _, value = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        sent = value.strip() if scheme.lower() == "bearer" else None
        if sent is not None and self._is_operators(sent):
            return None
        try:
            user = None if sent is None else await self._users.user_of(sent)
        except WrongTokenError as wrong:
            self._warn(f"Refused a token (401): {wrong}")
            raise _RefusedError(self._challenge.unauthorized(str(wrong))) from None
        except NoKeysError as error:
            raise _RefusedError(_try_later("The keys of the issuer", error.retry_after_s)) from None
        except JournalError:
            raise _RefusedError(_try_later("The list of users", _JOURNAL_AGAIN_S)) from None
        if user is None:
            if given:
                self._warn("Refused a token that is not this server's (401)")
                await self._users.pause()
            raise _RefusedError(self._challenge.unauthorized("" if sent is None else _UNKNOWN))
        self._count(scope, user)
        return user

    def _is_operators(self, sent: str) -> bool:
        if self._token is None:
            return False
        return hmac.compare_digest(sent.encode("latin-1"), self._token)

    async def _own_account(self, user: AccessToken | None) -> OwnAccount | None:
        """Which account a user's calls go to: never another one because it can't be read.

        Raises:
            _RefusedError: it can't be read.
        """
        if user is None or self._own_account_of is None:
            return None
        try:
            return await self._own_account_of(user.subject or "")
        except JournalError:
            what = "The useapi.net tokens of users"
            raise _RefusedError(_try_later(what, _JOURNAL_AGAIN_S)) from None

    def _count(self, scope: Scope, user: AccessToken) -> None:
        if self._limit is None or scope["method"] != "POST":
            return
        if not self._limit.has_room(user.subject or ""):
            raise _RefusedError(_too_many_open(self._limit.most_open))
        wait_s = self._limit.wait_s(user.subject or "", asyncio.get_running_loop().time())
        if wait_s > 0:
            raise _RefusedError(_too_many(wait_s))


class Challenge:
    """The answers 400, 401 and 403, and what they tell a client to do (RFC 6750, RFC 9728).

    Args:
        metadata_url: where the metadata is; None: there is no identity provider to log in at.
    """

    def __init__(self, metadata_url: str | None) -> None:
        self._metadata_url = metadata_url

    def unauthorized(self, why: str = "") -> Response:
        """Nobody, or nobody who is known; `why` is empty where no token was sent."""
        if self._metadata_url is None:
            return JSONResponse(_INVALID_TOKEN, status_code=401, headers=_ASKS_FOR_TOKEN)
        # All that a usual user needs: a client registers with these, and may not ask for more.
        if why:
            return self._answer(401, "invalid_token", why, _ALL_SCOPES)
        return self._answer(401, "", "Log in first, or send a token of this server.", _ALL_SCOPES)

    def malformed(self) -> Response:
        """A token where none may be, or more than one."""
        return self._answer(400, "invalid_request", _ONE_HEADER, "")

    def not_allowed(self, scopes: str) -> Response:
        """A known user without these scopes."""
        return self._answer(403, "insufficient_scope", f"This needs the scope {scopes}.", scopes)

    def _answer(self, status: int, error: str, why: str, scopes: str) -> Response:
        facts = {"error": error, "error_description": why} if error else {}
        if self._metadata_url is not None:
            facts["resource_metadata"] = self._metadata_url
        if scopes:
            facts["scope"] = scopes
        header = ", ".join(f'{name}="{_quotable(text)}"' for name, text in facts.items())
        body = {"error": error or "unauthorized", "error_description": why}
        return JSONResponse(body, status, headers={"WWW-Authenticate": f"Bearer {header}"})


class ScopeCheck:
    """Says which messages an identity provider's token is too narrow for.

    Its client then asks the user to log in for a wider one.
    """

    def __init__(self, challenge: Challenge) -> None:
        self._challenge = challenge

    def __call__(self, scope: Scope, message: JSONRPCMessage) -> Response | None:
        """The refusal, or None. It goes by the body: what a header says of it proves nothing."""
        user = scope.get("user")
        if not isinstance(user, AuthenticatedUser) or SUBMIT_SCOPE in user.scopes:
            return None
        if user.access_token.claims is None:  # of ours: there is no wider one to log in for
            return None  # and the tool's refusal is one that an agent reads
        if READ_SCOPE not in user.scopes:
            return self._challenge.not_allowed(_ALL_SCOPES)
        if self._submits(message):
            return self._challenge.not_allowed(SUBMIT_SCOPE)
        return None

    def _submits(self, message: JSONRPCMessage) -> bool:
        if not isinstance(message, JSONRPCRequest):
            return False
        if message.method == "tools/call":
            name = (message.params or {}).get("name")
            return isinstance(name, str) and name in SUBMITTING_TOOLS
        return message.method == "tasks/cancel"


_ASKS_FOR_TOKEN = {"WWW-Authenticate": 'Bearer realm="useapi-mcp"'}
# In the form of OAuth's errors: clients that know OAuth show the sentence.
_INVALID_TOKEN = {
    "error": "invalid_token",
    "error_description": "Send the server's token: Authorization: Bearer …",
}
_UNKNOWN = "The token is not known here."
_ONE_HEADER = "Send one token, in one header: Authorization: Bearer TOKEN."


def metadata_paths(path: str) -> tuple[str, str]:
    """Where clients look for the metadata of what is served at this path: there, or at the root."""
    return f"{_METADATA}{path}", _METADATA


def metadata_app(resource: str, issuer: str) -> ASGIApp:
    """The metadata (RFC 9728), for any site's page: it says nothing that a 401 does not.

    Plain strings: an URL of pydantic's would add a slash, and clients compare letter by letter.
    """
    metadata = {
        "resource": resource,
        "authorization_servers": [issuer],
        "scopes_supported": _ALL_SCOPES.split(),
        "bearer_methods_supported": ["header"],
        "resource_name": "useapi-mcp",
    }

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        answer: Response = JSONResponse(metadata, headers={"Cache-Control": "public, max-age=3600"})
        if scope["method"] not in ("GET", "HEAD"):
            answer = PlainTextResponse("", status_code=405, headers={"Allow": "GET"})
        await answer(scope, receive, send)

    return CORSMiddleware(app, allow_origins=["*"], allow_methods=["GET"], allow_headers=["*"])


def _quotable(text: str) -> str:
    """The text in the characters that RFC 6750 lets stand in the header."""
    return re.sub(r"[^\x20\x21\x23-\x5b\x5d-\x7e]", "?", text)


def _is_sent_twice_or_in_the_address(scope: Scope, given: list[str]) -> bool:
    query = scope.get("query_string", b"").decode("latin-1")
    return len(given) > 1 or "access_token" in parse_qs(query, keep_blank_values=True)


def _try_later(what: str, retry_after_s: float) -> Response:
    why = f"{what} can't be read just now, so nobody can be let in by it. Try again."
    return _later(503, "temporarily_unavailable", why, retry_after_s)


def _too_many(wait_s: float) -> Response:
    why = f"Too many requests; the next one is taken in {math.ceil(wait_s)} s."
    return _later(429, "too_many_requests", why, wait_s)


def _too_many_open(count: int) -> Response:
    why = f"Too many requests: {count} of yours are still open. Wait until one ends."
    return _later(429, "too_many_requests", why, _OPEN_AGAIN_S)


def _later(status: int, error: str, why: str, wait_s: float) -> Response:
    body = {"error": error, "error_description": why}
    return JSONResponse(body, status, headers={"Retry-After": str(max(1, math.ceil(wait_s)))})
