"""`useapi-mcp http`: checks the options, keeps the token, serves, and stops in an orderly way."""

import contextlib
import re
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.types import ASGIApp

from mcp_server.clock import Clock
from mcp_server.errors import SettingsError
from mcp_server.http.app import MCP_PATH, HostMiddleware, http_app, request_state_key
from mcp_server.http.auth import FindUser
from mcp_server.http.protocol import BACKLOG, raise_descriptor_limit
from mcp_server.http.rate_limit import RateLimit
from mcp_server.http.stopping import Stopping
from mcp_server.http.uvicorn_server import EmbeddedServer, config_for
from mcp_server.media.files import link_into_place, owner_only
from mcp_server.metrics import Metrics
from mcp_server.models import Caller
from mcp_server.server.factory import create_server, stop_signals
from mcp_server.settings import LOOPBACK, Settings

if TYPE_CHECKING:
    from mcp_server.http.identity_provider import IdentityProvider

# A stop first waits for open requests, then for paid ones; together less than the allowed 15 s.
_REQUESTS_S, _DRAIN_S = 3, 10.0
_NAME = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_HOST = re.compile(_NAME)
_ORIGIN = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*://{_NAME}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_GIVEN_TOKEN = re.compile(r"[\x21-\x7e]{16,}")  # what a client can send and nobody guesses


async def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    allowed_hosts: Sequence[str],
    allowed_origins: Sequence[str],
    no_auth: bool,
    sandbox_sources: str,
) -> None:
    """Serve until a stop signal. The arguments are those of the command line.

    Raises:
        SettingsError: the server would be open to strangers, or can't be started.
    """
    hosts = _checked("--allowed-host", allowed_hosts, _HOST, "mcp.example.com")
    origins = _checked("--allowed-origin", allowed_origins, _ORIGIN, "https://app.example.com")
    origins = frozenset(map(as_browsers_send_it, origins))
    hosts |= _public_host(settings)
    token = _token(settings, host, no_auth=no_auth)
    with contextlib.closing(_listener(host, port)) as listener:
        stopping, metrics = Stopping(Clock(), settings.drain_seconds), Metrics()
        app = _app(settings, token, hosts, origins, sandbox_sources, stopping, metrics)
        showing = _metrics(settings, host, hosts, stopping, metrics)
        if token is not None and settings.http_token is None:  # it was made here: show it
            print(f"Clients must send: Authorization: Bearer {token}", file=sys.stderr)
        print(f"Serving MCP at {_address(listener)}{MCP_PATH} (Ctrl-C ends it)", file=sys.stderr)
        sys.stderr.flush()
        raise_descriptor_limit()
        config = config_for(app, timeout_graceful_shutdown=_REQUESTS_S)
        server = EmbeddedServer(config, signals=stop_signals())
        async with showing:
            await server.serve(sockets=[listener])


@contextlib.asynccontextmanager
async def _metrics(
    settings: Settings, host: str, hosts: frozenset[str], stopping: Stopping, metrics: Metrics
) -> AsyncIterator[None]:
    """Serve the metrics, if they are wanted, on the address that is served."""
    if settings.metrics_port is None:
        yield
        return
    from mcp_server.http.prometheus import METRICS_PATH, metrics_app

    app = HostMiddleware(metrics_app(metrics, stopping), hosts, frozenset())
    with contextlib.closing(_listener(host, settings.metrics_port)) as listener:
        print(f"Serving metrics at {_address(listener)}{METRICS_PATH}", file=sys.stderr)
        async with EmbeddedServer(config_for(app, lifespan="off")).running(listener):
            yield


def _address(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def worker(settings: Settings) -> ASGIApp:
    """The app for `uvicorn --factory --workers N`: all workers share the token and the journal.

    Raises:
        SettingsError: these settings can't be shared by several workers.
    """
    if settings.http_token is None and settings.oauth_issuer is None:
        raise SettingsError(
            message="USEAPI_HTTP_TOKEN is not set.", hint="Set it: all workers let in who sends it."
        )
    if settings.http_token is None and settings.server_secret is None:
        raise SettingsError(
            message="USEAPI_SECRET is not set.",
            hint="Set it: what one worker asks a user, another must take the answer to.",
        )
    if settings.sandbox:  # its answers would say that nothing is charged
        raise SettingsError(
            message="Workers can't share the built-in sandbox.",
            hint="Run `useapi-mcp sandbox` and set USEAPI_BASE_URL to its address.",
        )
    if settings.metrics_port is not None:
        raise SettingsError(
            message="Workers can't share the port of USEAPI_METRICS_PORT: each counts by itself.",
            hint="Leave it out, or run several `useapi-mcp http` behind a proxy.",
        )
    raise_descriptor_limit()
    token = None if settings.http_token is None else _given_token(settings.http_token)
    stopping, hosts = Stopping(Clock(), settings.drain_seconds), _public_host(settings)
    return _app(settings, token, hosts, frozenset(), "", stopping, Metrics())


def own_token(path: Path) -> str:
    """The token in this file; made at the first start, and readable by its owner only."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _put_in_place(path, secrets.token_urlsafe(32))
        path.chmod(0o600)
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            message=f"The token for clients can't be kept in {path} ({error}).",
            hint="Set USEAPI_HTTP_TOKEN, or USEAPI_STATE_DIR to a folder that can be written.",
        ) from None
    if not _TOKEN.fullmatch(token):
        raise SettingsError(
            message=f"The file {path} holds no token.",
            hint="Delete it: the next start makes a new one.",
        )
    return token


def _app(
    settings: Settings,
    token: str | None,
    hosts: frozenset[str],
    origins: frozenset[str],
    sandbox_sources: str,
    stopping: Stopping,
    metrics: Metrics,
) -> ASGIApp:
    server = create_server(
        settings,
        sandbox_sources=sandbox_sources,
        drain_s=_DRAIN_S,
        request_state_keys=_request_state_keys(settings, token),
        while_open=stopping.while_open,
        metrics=metrics,
    )
    provider = _provider(settings)
    is_guarded = token is not None or provider is not None
    return http_app(
        server,
        token=token,
        stopping=stopping,
        metrics=metrics,
        allowed_hosts=hosts,
        allowed_origins=origins,
        find_user=_finder(stopping) if is_guarded else None,
        provider=provider,
        public_url=settings.public_url or "",
        page_origins=page_origins(settings),
        limit=RateLimit(settings.calls_per_minute),
    )


def page_origins(settings: Settings) -> frozenset[str]:
    """The origin of the page at which users give tokens, where there is one."""
    url = settings.public_url
    return frozenset() if url is None or not settings.own_tokens else frozenset({url})


def _finder(stopping: Stopping) -> FindUser:
    """What finds the user whom the operator has given a token."""

    async def find_user(token: str) -> Caller | None:
        user = None if stopping.app is None else await stopping.app.users.find(token)
        return None if user is None else Caller(user.id, may_submit=user.may_submit)

    return find_user


def _provider(settings: Settings) -> "IdentityProvider | None":
    if settings.oauth_issuer is None:
        return None
    from mcp_server.http.identity_provider import IdentityProvider

    audience = settings.oauth_audience or f"{settings.public_url}{MCP_PATH}"
    return IdentityProvider(settings.oauth_issuer, audience, Clock())


def _request_state_keys(settings: Settings, token: str | None) -> tuple[bytes, ...]:
    """The keys of questions to users: the same in all servers with this secret, or token."""
    shared = settings.derived_keys("request state")
    return shared or (() if token is None else (request_state_key(token),))


def _public_host(settings: Settings) -> frozenset[str]:
    url = settings.public_url
    return frozenset() if url is None else frozenset({urlsplit(url).netloc})


def _checked(
    option: str, given: Sequence[str], pattern: re.Pattern[str], example: str
) -> frozenset[str]:
    for value in given:
        if not pattern.fullmatch(value):
            raise SettingsError(
                message=f"{option} takes a value like {example}: it is compared whole.",
                hint="Correct it and start again.",
            )
    return frozenset(given)


def as_browsers_send_it(origin: str) -> str:
    """The origin in lower case, without the port that its scheme has by default."""
    scheme, _, host = origin.lower().partition("://")
    default = {"https": ":443", "http": ":80"}.get(scheme, "")
    return f"{scheme}://{host.removesuffix(default) if default else host}"


def _listener(host: str, port: int) -> socket.socket:
    if port not in range(65536):
        raise SettingsError(message=f"There is no port {port}.", hint="Choose one from 0 to 65535.")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        raise SettingsError(
            message=f"Port {port} of {host} can't be served ({error}).", hint="Choose another."
        ) from None


def _token(settings: Settings, host: str, *, no_auth: bool) -> str | None:
    if no_auth and settings.oauth_issuer is not None:
        raise SettingsError(
            message="With --no-auth nobody would be asked to log in at USEAPI_OAUTH_ISSUER.",
            hint="Leave one of them out.",
        )
    if no_auth and settings.own_tokens:
        raise SettingsError(
            message="With --no-auth no user is told from another, so none can have a token of his"
            " own (USEAPI_OWN_TOKENS).",
            hint="Leave one of them out.",
        )
    loopback = host.lower() in LOOPBACK
    is_guarded = settings.http_token is not None or settings.oauth_issuer is not None
    if not loopback and (no_auth or not is_guarded):
        raise SettingsError(
            message=f"Serving on {host} without a token would let anybody spend your credits.",
            hint="Set USEAPI_HTTP_TOKEN and leave out --no-auth, or serve on 127.0.0.1.",
        )
    if no_auth:
        return None
    if settings.http_token is not None:
        return _given_token(settings.http_token)
    if settings.oauth_issuer is not None:
        return None
    return own_token(settings.state_folder() / "http_token")


def _given_token(secret: SecretStr) -> str:
    token = secret.get_secret_value()
    if not _GIVEN_TOKEN.fullmatch(token):
        raise SettingsError(
            message="USEAPI_HTTP_TOKEN is shorter than 16 characters, or holds some that no client"
            " can send.",
            hint="Set a longer one of ASCII characters without spaces, as `openssl rand -hex 32`"
            " makes.",
        )
    return token


def _put_in_place(path: Path, text: str) -> None:
    """Write a complete file for its owner only; one that already exists is left as it is."""
    name = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        with open(name, "xb", opener=owner_only) as file:
            file.write(text.encode("ascii"))
        with contextlib.suppress(FileExistsError):
            link_into_place(file, path)
    finally:
        with contextlib.suppress(OSError):  # what led here is what the caller must hear of
            name.unlink(missing_ok=True)
