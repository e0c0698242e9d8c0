"""Middleware: the protocol's own errors, and in words that say what to change.

The SDK answers an unknown tool with a tool's error, an unknown prompt or one without its argument
with an internal error and a traceback in the log, and parameters of a wrong kind, or a call before
`initialize`, with "Invalid request parameters" and no more.
"""

from collections.abc import Mapping
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS
from pydantic import ValidationError

from mcp_server.redaction import one_line

RequestContext = ServerRequestContext[Any, Any]


async def explain_refusals(ctx: RequestContext, call_next: CallNext) -> HandlerResult:
    """Middleware that names the member that is wrong, or the request that is missing."""
    try:
        return await call_next(ctx)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = _shown(
            ".".join(["params", *(str(part) for part in fault["loc"] if part != "params")])
        )
        raise MCPError(INVALID_PARAMS, f"{where}: {fault['msg']}") from None
    except MCPError as error:
        if (error.error.code, error.error.data) == (INVALID_PARAMS, ""):
            raise MCPError(
                INVALID_PARAMS, f"Send initialize before {_shown(ctx.method)}."
            ) from None
        raise


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
