"""The AppContext of the request that is being handled, and whether that came over HTTP.

The SDK gives them to tools and resource templates, but not to static resources and completions.
"""

from contextvars import ContextVar
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

from mcp_server.tools.context import AppContext, Remote

_CURRENT: ContextVar[ServerRequestContext[AppContext, Any]] = ContextVar(
    "mcp_server.server.current"
)


async def with_current_app(
    ctx: ServerRequestContext[AppContext, Any], call_next: CallNext
) -> HandlerResult:
    """Middleware: `current_app` and `current_remote` know this request while it is handled."""
    token = _CURRENT.set(ctx)
    try:
        return await call_next(ctx)
    finally:
        _CURRENT.reset(token)


def current_app() -> AppContext:
    """The app that serves the request being handled.

    Raises:
        LookupError: no request is being handled.
    """
    return _CURRENT.get().lifespan_context


def current_remote() -> Remote | None:
    """Who made the request being handled, if that came over HTTP.

    Raises:
        LookupError: no request is being handled.
    """
    return current_app().remote(_CURRENT.get().request)
