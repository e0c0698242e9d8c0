"""The MCP server as an ASGI app over Streamable HTTP, with its own checks of who may use it.

Host and Origin are checked here because the SDK wants a list of exact values, and the port is not
known to a worker when it makes its app; the SDK's patterns for any port (`127.0.0.1:*`) match a
prefix, so `127.0.0.1:x.evil.com` would pass. Who calls is told in `auth.py`.
"""

import asyncio
import contextlib
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import INVALID_REQUEST, JSONRPCMessage
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_server import __version__
from mcp_server.http.accept import AcceptMiddleware
from mcp_server.http.auth import (
    AuthMiddleware,
    Challenge,
    FindUser,
    ScopeCheck,
    Users,
    metadata_app,
    metadata_paths,
)
from mcp_server.http.files import LinkMiddleware, SendingMiddleware
from mcp_server.http.own_tokens import OwnTokenMiddleware, own_account_in
from mcp_server.http.rate_limit import RateLimit
from mcp_server.http.stopping import Stopping
from mcp_server.http.webhooks import HookMiddleware
from mcp_server.logs import seldom_warning
from mcp_server.metrics import Metrics
from mcp_server.redaction import one_line
from mcp_server.server.lines import LONGEST_LINE_BYTES, BrokenLineError, error_line, message_of
from mcp_server.tools.context import AppContext

if TYPE_CHECKING:
    from mcp_server.http.identity_provider import IdentityProvider

log = logging.getLogger(__name__)

MCP_PATH = "/mcp"
HEALTH_PATH, LIVE_PATH, READY_PATH = "/health", "/livez", "/readyz"
_OPEN_PATHS = frozenset({HEALTH_PATH, LIVE_PATH, READY_PATH})  # probes have no token
_MCP_PATHS = (MCP_PATH, f"{MCP_PATH}/")
_FIRST_REFUSAL = 400
_LONGEST_WAIT_S = 2.0  # of a probe, for the issuer's keys
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")

MessageCheck = Callable[[Scope, JSONRPCMessage], Response | None]


def http_app(
    server: MCPServer[AppContext],
    *,
    token: str | None,
    stopping: Stopping,
    metrics: Metrics,
    allowed_hosts: frozenset[str] = frozenset(),
    allowed_origins: frozenset[str] = frozenset(),
    find_user: FindUser | None = None,
    provider: "IdentityProvider | None" = None,
    public_url: str = "",
    page_origins: frozenset[str] = frozenset(),
    limit: RateLimit | None = None,
) -> ASGIApp:
    """An app with the MCP server at `/mcp`, `/health`, `/livez` and `/readyz` for probes.

    With the settings for it, saved files are at `/files`, the vendor is heard at `/hook`, and users
    give useapi.net tokens of their own at `/own-token`.

    Args:
        stopping: knows whether it is ready, and whether it is about to stop.
        metrics: where refused requests are counted.
        token: what the operator's clients send as their bearer token.
        find_user, provider: know the tokens of users. Without these and `token` none is asked for.
        public_url: this server's origin, as clients of the provider have it.
        page_origins: origins of its own pages, as browsers send them with a form.
        limit: of the requests of one user.
        allowed_hosts: values of `Host` besides this machine's own, at the port served.
        allowed_origins: values of `Origin` besides this server's own. A request without `Origin`
            is allowed: it does not come from a web page.
    """
    # Legacy clients are served without sessions: any worker can take any request. Answers are
    # event streams: JSON would lose progress and would not notice a client that has left.
    inner = server.streamable_http_app(
        streamable_http_path=MCP_PATH,
        json_response=False,
        stateless_http=True,
        max_request_body_size=LONGEST_LINE_BYTES,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    # `/mcp/` is the same: a redirect would be absolute, and http:// behind a proxy that ends TLS.
    inner.router.redirect_slashes = False
    (mcp,) = (route for route in inner.routes if isinstance(route, Route))
    inner.router.routes[:] = [
        Route(HEALTH_PATH, _health),
        Route(LIVE_PATH, _live),
        Route(READY_PATH, _ready_by(stopping, provider)),
        # Without sessions the SDK would hold a stream open for ever and send nothing on it.
        *(Route(path, _no_session, methods=["GET", "DELETE"]) for path in _MCP_PATHS),
        *(Route(path, mcp.endpoint) for path in _MCP_PATHS),
    ]
    challenge, public = Challenge(None), frozenset[str]()
    if provider is not None:
        paths = metadata_paths(MCP_PATH)
        metadata = metadata_app(f"{public_url}{MCP_PATH}", provider.issuer)
        inner.router.routes[:0] = [Route(path, metadata) for path in paths]
        challenge, public = Challenge(f"{public_url}{paths[0]}"), frozenset(paths)
    app: ASGIApp = AcceptMiddleware(BodyMiddleware(inner, ScopeCheck(challenge)))
    app = SendingMiddleware(app, stopping)
    users = Users(find_user, provider)
    if token is not None or not users.are_none:
        app = AuthMiddleware(
            app,
            token,
            users=users,
            own_account_of=own_account_in(stopping),
            challenge=challenge,
            open_paths=_OPEN_PATHS | public,
            limit=limit,
        )
    # Outside the token's check: these addresses are known to those only whom they are for.
    app = HookMiddleware(LinkMiddleware(app, stopping), stopping)
    app = OwnTokenMiddleware(app, stopping, users, limit)
    if allowed_origins:
        # Outside the token's check: a browser's preflight request (OPTIONS) has no token.
        app = CORSMiddleware(
            app,
            allow_origins=sorted(allowed_origins),
            allow_methods=["POST", "GET", "DELETE"],  # the last two are answered 405
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=["WWW-Authenticate"],
        )
    app = HostMiddleware(app, allowed_hosts, allowed_origins | page_origins, public)
    return CompletingMiddleware(CountingMiddleware(app, metrics), stopping)


def request_state_key(token: str) -> bytes:
    """The key that signs a question to the user, the same in every worker with this token."""
    return hmac.digest(token.encode(), b"useapi-mcp request state", hashlib.sha256)


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok", "version": __version__})


async def _live(_: Request) -> Response:
    return PlainTextResponse("ok\n")


def _ready_by(
    stopping: Stopping, provider: "IdentityProvider | None"
) -> Callable[[Request], Awaitable[Response]]:
    async def ready(_: Request) -> Response:
        reason = await stopping.why_not_ready()
        if reason is None and provider is not None and not await provider.has_keys(_LONGEST_WAIT_S):
            reason = "keys"
        if reason is None:
            return PlainTextResponse("ok\n")
        return PlainTextResponse(f"not ready: {reason}\n", status_code=503)

    return ready


async def _no_session(_: Request) -> Response:
    return PlainTextResponse(
        "There are no sessions: every request is a POST.\n",
        status_code=405,
        headers={"Allow": "POST"},
    )


class CompletingMiddleware:
    """Completes an answer that is still open when the server stops, and closes connections.

    uvicorn cancels it, and would log a traceback for each. From a stop signal on every answer is
    the last one on its connection: a client that sent the next request there could find it closed.
    """

    def __init__(self, app: ASGIApp, stopping: Stopping) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        is_open = False

        async def send_and_note(part: Message) -> None:
            nonlocal is_open
            if part["type"] == "http.response.start":  # half a file can't be completed
                is_open = "content-length" not in Headers(raw=list(part.get("headers", ())))
            elif not part.get("more_body", False):
                is_open = False
            if part["type"] == "http.response.start" and self._stopping.has_begun:
                headers = MutableHeaders(raw=list(part.get("headers", ())))
                headers["connection"] = "close"
                part = {**part, "headers": headers.raw}
            await send(part)

        # Only uvicorn cancels this task.
        with self._stopping.request(), contextlib.suppress(asyncio.CancelledError):
            await self._app(scope, receive, send_and_note)
        if is_open:
            await send({"type": "http.response.body", "body": b""})
        return None


class CountingMiddleware:
    """Counts the requests that are refused, by their status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == READY_PATH:  # its 503 is an answer
            return await self._app(scope, receive, send)

        async def send_and_count(part: Message) -> None:
            if part["type"] == "http.response.start" and part["status"] >= _FIRST_REFUSAL:
                self._metrics.refusals[f"http_{part['status']}"] += 1
            await send(part)

        return await self._app(scope, receive, send_and_count)


class HostMiddleware:
    """Refuses a request for another host name (421) or from another site's web page (403).

    This stops DNS rebinding: a site whose name was made to point to this machine still sends that
    name as `Host`.

    Args:
        public_paths: may be read by any site's page.
    """

    def __init__(
        self,
        app: ASGIApp,
        allowed_hosts: frozenset[str],
        allowed_origins: frozenset[str],
        public_paths: frozenset[str] = frozenset(),
    ) -> None:
        self._app = app
        self._public_paths = public_paths
        self._hosts = frozenset(host.lower() for host in allowed_hosts)
        self._origins = frozenset(origin.lower() for origin in allowed_origins)
        self._warn = seldom_warning(log)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, own = Headers(scope=scope), _own_names(scope)
        hosts = [host.lower() for host in headers.getlist("host")]
        origins = [origin.lower() for origin in headers.getlist("origin")]
        if len(hosts) != 1 or hosts[0] not in self._hosts | own:
            shown = one_line(", ".join(hosts), 100)
            self._warn(f"Refused Host {shown!r} (421); if it is yours, add --allowed-host {shown}")
            return PlainTextResponse(
                "This Host is not served here; the operator can add it with --allowed-host.\n",
                status_code=421,
            )
        foreign = set(origins) - self._origins - {f"http://{name}" for name in own}
        if foreign and scope["path"] not in self._public_paths:
            shown = one_line(", ".join(sorted(foreign)), 100)
            self._warn(f"Refused Origin {shown!r} (403); if it is yours, add --allowed-origin")
            return PlainTextResponse(
                "This Origin is not allowed; the operator can add it with --allowed-origin.\n",
                status_code=403,
            )
        return None


class BodyMiddleware:
    """Reads the body of a POST whole, and refuses what is no message (400) or too large (413).

    The SDK would hand on half a body when its client leaves, parse what takes a hundred times its
    length in memory, and take a request for a notification if its id is none.

    Args:
        check: gives the refusal of a message that its sender may not send.
    """

    def __init__(self, app: ASGIApp, check: MessageCheck | None = None) -> None:
        self._app = app
        self._check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self._app(scope, receive, send)
        read, is_complete = bytearray(), False
        while not is_complete and len(read) <= LONGEST_LINE_BYTES:
            part = await receive()
            if part["type"] == "http.disconnect":
                return None
            read += part.get("body", b"")
            is_complete = not part.get("more_body", False)
        body = bytes(read)
        read.clear()
        try:
            message = message_of(body)
        except BrokenLineError as broken:
            answer = next(iter(broken.answers), error_line(INVALID_REQUEST, str(broken)))
            status = 413 if broken.is_too_large else 400
            response = Response(answer, status, media_type="application/json")
            return await response(scope, receive, send)
        refusal = self._check(scope, message) if self._check is not None else None
        if refusal is not None:
            return await refusal(scope, receive, send)
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_again() -> Message:
            return whole.pop() if whole else await receive()

        return await self._app(scope, receive_again, send)


def _own_names(scope: Scope) -> frozenset[str]:
    """This machine's names and the address the request came to, each with the port."""
    address, port = scope.get("server") or ("", None)
    if port is None:  # a Unix socket
        return frozenset()
    hosts = {f"[{host}]" if ":" in host else host for host in (*_LOOPBACK_NAMES, address)}
    return frozenset({*(hosts if port == 80 else ()), *(f"{host}:{port}" for host in hosts)})
