"""The MCP server as an ASGI app over Streamable HTTP, with its own checks of who may use it.

Host and Origin are checked here because the SDK wants a list of exact values, and the port is not
known to a worker when it makes its app; the SDK's patterns for any port (`127.0.0.1:*`) match a
prefix, so `127.0.0.1:x.evil.com` would pass. The token is checked here because the SDK's check
announces an OAuth server, and there is none.
"""

import contextlib
import hashlib
import hmac

from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_server import __version__
from mcp_server.tools.context import AppContext

MCP_PATH = "/mcp"
HEALTH_PATH = "/health"
MOST_BODY_BYTES = 4 * 1024 * 1024
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")


def http_app(
    server: MCPServer[AppContext],
    *,
    token: str | None,
    allowed_hosts: frozenset[str] = frozenset(),
    allowed_origins: frozenset[str] = frozenset(),
) -> ASGIApp:
    """An app with the MCP server at `/mcp` and a health check at `/health`.

    Args:
        token: what clients must send as their bearer token; None = no token is asked for.
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
        max_request_body_size=MOST_BODY_BYTES,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    inner.router.routes[:0] = [
        Route(HEALTH_PATH, _health),
        # Without sessions the SDK would hold a stream open for ever and send nothing on it.
        Route(MCP_PATH, _no_session, methods=["GET", "DELETE"]),
    ]
    app: ASGIApp = DisconnectMiddleware(inner)
    if token is not None:
        app = BearerTokenMiddleware(app, token)
    if allowed_origins:
        # Outside the token's check: a browser's preflight request (OPTIONS) has no token.
        app = CORSMiddleware(
            app,
            allow_origins=sorted(allowed_origins),
            allow_methods=["POST"],
            allow_headers=["*"],
            expose_headers=["WWW-Authenticate"],
        )
    return HostMiddleware(app, allowed_hosts, allowed_origins)


def request_state_key(token: str) -> bytes:
    """The key that signs a question to the user, the same in every worker with this token."""
    return hmac.digest(token.encode(), b"useapi-mcp request state", hashlib.sha256)


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok", "version": __version__})


async def _no_session(_: Request) -> Response:
    return PlainTextResponse(
        "There are no sessions: every request is a POST.\n",
        status_code=405,
        headers={"Allow": "POST"},
    )


class HostMiddleware:
    """Refuses a request for another host name (421) or from another site's web page (403).

    This stops DNS rebinding: a site whose name was made to point to this machine still sends that
    name as `Host`.
    """

    def __init__(
        self, app: ASGIApp, allowed_hosts: frozenset[str], allowed_origins: frozenset[str]
    ) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in allowed_hosts)
        self._origins = frozenset(origin.lower() for origin in allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, own = Headers(scope=scope), _own_names(scope)
        hosts = [host.lower() for host in headers.getlist("host")]
        origins = [origin.lower() for origin in headers.getlist("origin")]
        if len(hosts) != 1 or hosts[0] not in self._hosts | own:
            return PlainTextResponse(
                "This Host is not served here; the operator can add it with --allowed-host.\n",
                status_code=421,
            )
        if set(origins) - self._origins - {f"http://{name}" for name in own}:
            return PlainTextResponse(
                "This Origin is not allowed; the operator can add it with --allowed-origin.\n",
                status_code=403,
            )
        return None


class BearerTokenMiddleware:
    """Refuses a request without the token (401); only `/health` needs none."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        if not token:
            raise ValueError("an empty token would let everybody in")
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asks_us = scope["type"] == "http" and scope["path"] != HEALTH_PATH
        app = self._app
        if asks_us and not self._is_sent(Headers(scope=scope)):
            app = PlainTextResponse(
                "Send the server's token: Authorization: Bearer …\n",
                status_code=401,
                headers={"WWW-Authenticate": 'Bearer realm="useapi-mcp"'},
            )
        await app(scope, receive, send)

    def _is_sent(self, headers: Headers) -> bool:
        given = headers.getlist("authorization")
        scheme, _, value = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        sent = value.strip().encode("latin-1")
        return scheme.lower() == "bearer" and hmac.compare_digest(sent, self._token)


class DisconnectMiddleware:
    """Ends a request without an answer when its client leaves before its body is complete.

    The SDK reads the body too (and refuses one that is too large), but hands on the part it got,
    and logs a traceback.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_complete = scope["type"] != "http"

        async def receive_or_raise() -> Message:
            nonlocal is_complete
            message = await receive()
            if not is_complete:
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                is_complete = not message.get("more_body", False)
            return message

        with contextlib.suppress(ClientDisconnect):
            await self._app(scope, receive_or_raise, send)


def _own_names(scope: Scope) -> frozenset[str]:
    """This machine's names and the address the request came to, each with the port."""
    address, port = scope.get("server") or ("", None)
    if port is None:  # a Unix socket
        return frozenset()
    hosts = {f"[{host}]" if ":" in host else host for host in (*_LOOPBACK_NAMES, address)}
    return frozenset({*(hosts if port == 80 else ()), *(f"{host}:{port}" for host in hosts)})
