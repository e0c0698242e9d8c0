"""The AppContext of the request that is being handled.

The SDK gives it to tools and resource templates, but not to static resources and completions.
"""

from contextvars import ContextVar
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

from mcp_server.tools.context import AppContext

_CURRENT: ContextVar[AppContext] = ContextVar("mcp_server.server.current")


async def with_current_app(
    ctx: ServerRequestContext[AppContext, Any], call_next: CallNext
) -> HandlerResult:
    """Middleware: `current_app` knows the app of this request while it is handled."""
    token = _CURRENT.set(ctx.lifespan_context)
    try:
        return await call_next(ctx)
    finally:
        _CURRENT.reset(token)


def current_app() -> AppContext:
    """The app that serves the request being handled.

    Raises:
        LookupError: no request is being handled.
    """
    return _CURRENT.get()
