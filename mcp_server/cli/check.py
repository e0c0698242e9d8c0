"""`useapi-mcp check`: a report on token, subscription and accounts, as a table or as JSON."""

from mcp_server import __version__
from mcp_server.clock import Clock
from mcp_server.media.files import OutputFolder
from mcp_server.services.health import Check, ServiceCheck, check
from mcp_server.settings import Settings
from mcp_server.upstream.client import Upstream

_STATES = {
    "accepted": "ok",
    "active": "ok",
    "ready": "ok",
    "not_linked": "none",
    "in_error": "FAULT",
    "unknown": "?",
}
_INDENT = " " * 22


async def run(
    settings: Settings, *, as_json: bool, upstream: Upstream | None = None
) -> tuple[str, bool]:
    """The text to print, and whether all is well. A given `upstream` (of a test) is closed too."""
    upstream = upstream or Upstream(settings, Clock(), OutputFolder(settings.output_folder()))
    try:
        found = await check(upstream)
    finally:
        await upstream.close()
    if as_json:
        return found.model_dump_json(indent=2, exclude_none=True), found.ok
    return table(found, sandbox=settings.sandbox), found.ok


def table(found: Check, *, sandbox: bool = False) -> str:
    """A line for each part, each fault with its remedy, and a last line with the result."""
    lines = [
        f"useapi-mcp {__version__} at {found.base_url}{' (the sandbox)' if sandbox else ''}",
        "",
    ]
    lines += [_line("token", found.token), _line("subscription", found.subscription)]
    for service in found.services:
        lines += _service(service)
    if found.problem:
        lines += ["", found.problem, f"-> {found.hint}"]
    lines += [
        "",
        "Everything is there to work." if found.ok else "Not everything is there to work.",
    ]
    return "\n".join(lines)


def _service(service: ServiceCheck) -> list[str]:
    names = ", ".join(account.name for account in service.accounts if account.healthy)
    text = names if service.state == "ready" else service.problem or ""
    lines = [_line(service.service, service.state, text)]
    lines += [
        f"{_INDENT}{account.name}: {account.problem or 'healthy'}"
        for account in service.accounts
        if service.state == "in_error"
    ]
    if service.hint:
        lines.append(f"{_INDENT}-> {service.hint}")
    return lines


def _line(part: str, state: str, text: str = "") -> str:
    return f"{part:<14}{_STATES.get(state, 'FAULT'):<8}{text or state}"
