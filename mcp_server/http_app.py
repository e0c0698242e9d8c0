"""Streamable HTTP: the MCP server as an ASGI app that lets in only whom it should.

The SDK's own host check is a prefix match (`127.0.0.1:x.evil.com` passes it), and its token check
announces an OAuth server that is not there. So both are done here, exactly, before anything else
sees the request.
"""

import hashlib
import hmac

from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server import __version__
from mcp_server.app import App

MCP_PATH = "/mcp"
HEALTH_PATH = "/health"
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


def http_app(
    server: MCPServer[App],
    *,
    token: str | None,
    allowed_hosts: frozenset[str] = frozenset(),
    allowed_origins: frozenset[str] = frozenset(),
) -> ASGIApp:
    """The server at `/mcp`, and `/health` for whoever asks whether it runs.

    Args:
        token: what clients must send as their bearer token; None lets everybody in.
        allowed_hosts: values of `Host` besides this machine's own names at the port served.
        allowed_origins: values of `Origin`; a request without one comes from no browser.
    """
    # Legacy clients are served without sessions: any worker can take any request. Answers are
    # event streams: JSON would lose progress and would not notice a client that has left.
    inner = server.streamable_http_app(
        streamable_http_path=MCP_PATH,
        json_response=False,
        stateless_http=True,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    inner.router.routes.append(Route(HEALTH_PATH, _health))
    return Gate(inner, token, allowed_hosts, allowed_origins)


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok", "version": __version__})


def request_state_key(token: str) -> bytes:
    """The key that seals a question to the user, the same in every worker that has the token."""
    return hmac.digest(token.encode(), b"useapi-mcp request state", hashlib.sha256)


class Gate:
    """Refuses a request with a wrong Host (421), a foreign Origin (403) or no token (401)."""

    def __init__(
        self,
        app: ASGIApp,
        token: str | None,
        allowed_hosts: frozenset[str],
        allowed_origins: frozenset[str],
    ) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._hosts = frozenset(host.lower() for host in allowed_hosts)
        self._origins = frozenset(origin.lower() for origin in allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts | _own_names(scope):
            return PlainTextResponse("This Host is not served here.", status_code=421)
        if any(origin.lower() not in self._origins for origin in origins):
            return PlainTextResponse("This Origin is not allowed.", status_code=403)
        if scope["path"] == HEALTH_PATH or self._token is None or self._has_token(headers):
            return None
        return PlainTextResponse(
            "Send the server's token: Authorization: Bearer …",
            status_code=401,
            headers={"WWW-Authenticate": 'Bearer realm="useapi-mcp"'},
        )

    def _has_token(self, headers: Headers) -> bool:
        given = headers.getlist("authorization")
        scheme, _, value = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        sent = value.strip().encode("latin-1")
        return scheme.lower() == "bearer" and hmac.compare_digest(sent, self._token or b"")


def _own_names(scope: Scope) -> frozenset[str]:
    """This machine's own names, at the port the request came in by."""
    address = scope.get("server")
    if not address or address[1] is None:
        return frozenset()
    port = address[1]
    bare = _LOOPBACK_NAMES if port == 80 else ()
    return frozenset({*bare, *(f"{name}:{port}" for name in _LOOPBACK_NAMES)})
