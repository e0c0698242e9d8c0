"""Middleware: calls of unknown tools and prompts get the protocol's own error.

The SDK answers an unknown tool with a tool's error, and an unknown prompt or one without its
argument with an internal error and a traceback in the log.
"""

from collections.abc import Mapping
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS

from mcp_server.redaction import one_line

RequestContext = ServerRequestContext[Any, Any]


def only_known(
    tools: frozenset[str], prompts: Mapping[str, frozenset[str]]
) -> ServerMiddleware[Any]:
    """Middleware that refuses calls of tools and prompts that don't exist.

    Args:
        tools: the names of those that exist.
        prompts: the names of those that exist, each with the arguments it requires.
    """

    async def check(ctx: RequestContext, call_next: CallNext) -> HandlerResult:
        params = ctx.params or {}
        name = params.get("name")
        if ctx.method == "tools/call" and (not isinstance(name, str) or name not in tools):
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {_shown(name)}. {_like(name, tools)}")
        if ctx.method == "prompts/get":
            if not isinstance(name, str) or name not in prompts:
                raise MCPError(INVALID_PARAMS, f"Unknown prompt: {_shown(name)}")
            given = params.get("arguments")
            missing = prompts[name] - set(given if isinstance(given, Mapping) else ())
            if missing:
                needs = ", ".join(sorted(missing))
                raise MCPError(INVALID_PARAMS, f"The prompt {name} needs: {needs}")
        return await call_next(ctx)

    return check


def _like(name: object, tools: frozenset[str]) -> str:
    """The tools that a wrong name may have meant; all of them where none is like it."""
    from difflib import get_close_matches  # 3 ms that only a wrong name has to pay for

    near = get_close_matches(str(name)[:100].lower(), sorted(tools), n=2, cutoff=0.6)
    return (
        f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(sorted(tools))}."
    )


def _shown(name: object) -> str:
    return one_line(str(name), 100)
