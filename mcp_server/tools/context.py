"""AppContext: what a running server holds open."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import Context

from mcp_server.clock import Clock
from mcp_server.errors import SettingsError, UnreachableError
from mcp_server.jobs.jobs import Jobs
from mcp_server.journal.base import Store
from mcp_server.journal.journal import Journal
from mcp_server.journal.locks import KeyLocks
from mcp_server.journal.own_tokens import OwnTokens
from mcp_server.journal.stores import store_of
from mcp_server.journal.users import Users
from mcp_server.media.fetch import Fetcher
from mcp_server.media.files import OutputFolder
from mcp_server.media.inbox import Inbox
from mcp_server.media.links import FileLinks
from mcp_server.media.ssrf import Resolver
from mcp_server.metrics import Metrics
from mcp_server.models import PAID_OPERATIONS, Caller, OwnAccount
from mcp_server.settings import Settings
from mcp_server.upstream.client import Upstream

if TYPE_CHECKING:
    from mcp_server.upstream.client import Transport

T = TypeVar("T")

DRAIN_S = 15.0
SUBMIT_SCOPE = "jobs:submit"  # of a caller who may spend credits
SUBMITTING_TOOLS = PAID_OPERATIONS | {"cancel_job"}
"""The tools for which a caller needs that scope."""
READ_S = 10.0  # what a paid call may read first: with the 40 s of its submission clients still wait


@dataclass(frozen=True)
class Remote:
    """A caller over HTTP, who may not see the server's disk.

    Args:
        links: made to its files; None: they are told by their paths, which is said.
    """

    links: FileLinks | None = None

    def link_to(self, path: str) -> str | None:
        """Our link to a saved file; None: it is told by its path."""
        return self.links.link_to(path) if self.links is not None else None


@dataclass(frozen=True)
class AppContext:
    """What the handlers of a server share: made when it starts, closed when it stops.

    `journal` is here because it is open; only `jobs` reads it and writes to it. `all_jobs` is for
    what starts and stops the server; whatever answers a call takes `jobs`. `users` are those who
    were given a token, `own_tokens` the useapi.net tokens that users have given, None where they
    may give none. `links` are made to saved files for callers over HTTP, whose own files
    `inbox` takes; None where the settings do not allow it. `fault` is a wrong setting, with which
    the server runs only to say so at each call.
    """

    settings: Settings
    clock: Clock
    journal: Journal
    all_jobs: Jobs
    users: Users
    metrics: Metrics
    links: FileLinks | None
    inbox: Inbox
    own_tokens: OwnTokens | None = None
    fault: SettingsError | None = None

    @property
    def jobs(self) -> Jobs:
        """The jobs, as whoever made the call that is being handled may see and change them."""
        return self.all_jobs.of(current_caller())

    @property
    def upstream(self) -> Upstream:
        """What asks useapi.net, with the token of whoever made the call being handled."""
        return self.jobs.upstream

    @property
    def default_accounts(self) -> dict[str, str]:
        """The account of each service that is used where a call names none: of our own token."""
        return {} if current_caller().account else dict(self.settings.accounts)

    def page_of(self, caller: Caller) -> str | None:
        """Where this caller can give a useapi.net token of his own; None: he may not."""
        if self.own_tokens is None or caller.own is None:
            return None
        return self.own_tokens.page_for(caller.user, caller.own)

    def remote(self, request: object | None) -> Remote | None:
        """Who sent this request over HTTP; None: there is none, on stdio."""
        return Remote(self.links) if request is not None else None


_OWN: ContextVar[OwnAccount | None] = ContextVar("mcp_server.tools.context", default=None)


@contextmanager
def with_own_account(own: OwnAccount | None) -> Iterator[None]:
    """While a call is handled, `current_caller` knows the account of its user's own token."""
    token = _OWN.set(own)
    try:
        yield
    finally:
        _OWN.reset(token)


Ctx = Context[AppContext]
"""What the SDK hands to a tool, a resolver and a resource template."""


def app_of(ctx: Ctx) -> AppContext:
    return ctx.request_context.lifespan_context


def is_remote(ctx: Ctx) -> bool:
    """Whether the call came over HTTP, so that the server may run on another machine."""
    return ctx.request_context.request is not None


def remote_of(ctx: Ctx) -> Remote | None:
    """Who made a call over HTTP; None: the server was started by its caller."""
    return app_of(ctx).remote(ctx.request_context.request)


def current_caller() -> Caller:
    """Who made the call that is being handled: the one whose token came with the request.

    What checks tokens has put the user's hash into the token's `subject`.
    """
    token = get_access_token()
    if token is None:
        return Caller()
    if not token.subject:  # never the operator, who has no token here
        raise ValueError("a token without a subject is nobody's")
    return Caller(token.subject, may_submit=SUBMIT_SCOPE in token.scopes, own=_OWN.get())


async def read_in_time(
    reading: Awaitable[T], what: str, service: str | None = None, hint: str = ""
) -> T:
    """What a free read gives that a paid call needs first.

    Args:
        what: what is read, to begin a sentence with.
        hint: what to do where it takes too long; to call again, if not said.

    Raises:
        UnreachableError: it takes longer than ten seconds.
    """
    try:
        async with asyncio.timeout(READ_S):
            return await reading
    except TimeoutError:
        raise UnreachableError(
            message=f"{what} could not be read in time, so nothing was sent.",
            hint=hint or "Call again in a minute.",
            service=service,
        ) from None


@asynccontextmanager
async def open_app(
    settings: Settings,
    clock: Clock,
    transport: "Transport | None" = None,
    locks: KeyLocks | None = None,
    drain_s: float = DRAIN_S,
    resolve: Resolver | None = None,
    open_store: Callable[[Path, Clock, KeyLocks | None], Store] | None = None,
    *,
    fault: SettingsError | None = None,
    metrics: Metrics | None = None,
) -> AsyncIterator[AppContext]:
    """An AppContext, closed at the end in the order that loses nothing.

    Work in flight is stopped before its connections are: an outcome that our own shutdown caused
    must never be taken for the vendor's.
    """
    outputs = OutputFolder(settings.output_folder())
    metrics = metrics or Metrics()
    upstream = Upstream(settings, clock, outputs, transport, metrics)
    store = (
        store_of(settings, clock, locks)
        if open_store is None
        else open_store(settings.state_folder(), clock, locks)
    )
    journal = Journal(store, clock.now)
    fetcher = Fetcher(settings, clock, outputs, transport, resolve)
    own_tokens = OwnTokens.of(settings, store, clock.now)
    jobs = Jobs(
        settings,
        clock,
        upstream,
        journal,
        outputs,
        fetcher,
        drain_s=drain_s,
        metrics=metrics,
        token_of=None if own_tokens is None else own_tokens.token_of,
    )
    try:
        users = Users(store, clock.now)
        links = FileLinks.of(settings, outputs, clock)
        inbox = Inbox(clock, outputs, settings.max_download_mb)
        if links is not None:
            inbox.sweep()
        yield AppContext(
            settings, clock, journal, jobs, users, metrics, links, inbox, own_tokens, fault
        )
    finally:
        with anyio.CancelScope(shield=True):
            await jobs.close()
            await upstream.close()
            await journal.close()
            outputs.close()
