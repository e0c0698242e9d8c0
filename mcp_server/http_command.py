"""`useapi-mcp http`: who may connect, with which token, and a stop that loses no paid request."""

import argparse
import os
import secrets
import sys
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from mcp_server.errors import SettingsError
from mcp_server.http_app import http_app, request_state_key
from mcp_server.server import create_server
from mcp_server.settings import LOOPBACK, Settings

# Together they stay within the 15 s a stop may take: first requests, then paid ones.
_REQUESTS_S, _DRAIN_S = 3, 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port to serve on (default 8000)")
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="HOST",
        help="a further value of the Host header, like mcp.example.com or mcp.example.com:8443",
    )
    parser.add_argument(
        "--allowed-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="an origin whose web pages may connect, like https://app.example.com",
    )
    parser.add_argument(
        "--no-auth", action="store_true", help="ask for no token; on the loopback address only"
    )


async def serve(settings: Settings, given: argparse.Namespace, sandbox_sources: str) -> None:
    """Serve until a stop signal.

    Raises:
        SettingsError: serving so would let strangers in.
    """
    token = _token(settings, given.host, no_auth=given.no_auth)
    app = _app(settings, token, given.allowed_host, given.allowed_origin, sandbox_sources)
    config = uvicorn.Config(
        app,
        host=given.host,
        port=given.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_REQUESTS_S,
    )
    await uvicorn.Server(config).serve()


def worker(settings: Settings) -> ASGIApp:
    """The app for `uvicorn --factory --workers N`: all of them share the token and the journal.

    Raises:
        SettingsError: no token is set, and workers can't each make one.
    """
    if settings.http_token is None:
        raise SettingsError(
            "USEAPI_HTTP_TOKEN is not set.", "Set it: all workers let in who sends it."
        )
    return _app(settings, settings.http_token.get_secret_value(), [], [], "")


def _app(
    settings: Settings,
    token: str | None,
    hosts: list[str],
    origins: list[str],
    sandbox_sources: str,
) -> ASGIApp:
    server = create_server(
        settings,
        sandbox_sources=sandbox_sources,
        drain_s=_DRAIN_S,
        request_state_key=None if token is None else request_state_key(token),
    )
    return http_app(
        server,
        token=token,
        allowed_hosts=frozenset(hosts),
        allowed_origins=frozenset(origins),
    )


def _token(settings: Settings, host: str, *, no_auth: bool) -> str | None:
    loopback = host.lower() in LOOPBACK
    if not loopback and (no_auth or settings.http_token is None):
        raise SettingsError(
            f"Serving on {host} without a token would let anybody spend your credits.",
            "Set USEAPI_HTTP_TOKEN and leave out --no-auth, or serve on 127.0.0.1.",
        )
    if no_auth:
        return None
    if settings.http_token is not None:
        return settings.http_token.get_secret_value()
    token = _own_token(settings.state_folder() / "http_token")
    print(f"Clients must send: Authorization: Bearer {token}", file=sys.stderr, flush=True)
    return token


def _own_token(path: Path) -> str:
    """The token made at the first start, kept for the next ones; readable by its owner only."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            kept = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            return path.read_text("ascii").strip()
        token = secrets.token_urlsafe(32)
        with os.fdopen(kept, "w", encoding="ascii") as file:
            file.write(token)
        return token
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"The token for clients can't be kept in {path} ({error}).",
            "Set USEAPI_HTTP_TOKEN, or USEAPI_STATE_DIR to a folder that can be written.",
        ) from None
