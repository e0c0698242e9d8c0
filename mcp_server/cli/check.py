"""`useapi-mcp check`: a report on token, accounts and folders, as a table or as JSON."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mcp_server import __version__
from mcp_server.clock import Clock
from mcp_server.errors import JournalError
from mcp_server.journal.stores import store_of
from mcp_server.media.files import OutputFolder
from mcp_server.services.health import Check, ServiceCheck, check
from mcp_server.settings import Settings
from mcp_server.upstream.client import Upstream

_STATES = {
    "ok": "ok",
    "accepted": "ok",
    "active": "ok",
    "ready": "ok",
    "not_linked": "none",
    "in_error": "FAULT",
    "unknown": "?",
}
_CHOOSE_A_FOLDER = "Set USEAPI_OUTPUT_DIR (files) or USEAPI_STATE_DIR (journal) to one of yours."
_INDENT = " " * 22


async def run(
    settings: Settings, *, as_json: bool, upstream: Upstream | None = None
) -> tuple[str, bool]:
    """The text to print, and whether all is well."""
    found = await look(settings, upstream)
    folders = {"files": settings.output_folder()}
    if settings.database_url is None:
        folders["journal"] = settings.state_folder()
    database = await _look_at_database(settings)
    ok = found.ok and all(map(_takes_files, folders.values())) and not (database and database.fault)
    if as_json:
        facts = found.model_dump(exclude_none=True) | {"ok": ok}
        facts |= {f"{part}_folder": str(folder) for part, folder in folders.items()}
        if database is not None:
            facts["database"] = str(database.fault or "ok")
        return json.dumps(facts, indent=2), ok
    return table(found, folders, database, sandbox=settings.sandbox), ok


async def look(settings: Settings, upstream: Upstream | None = None) -> Check:
    """What useapi.net says of the token. A given `upstream` (of a test) is closed too."""
    upstream = upstream or Upstream(settings, Clock(), OutputFolder(settings.output_folder()))
    try:
        return await check(upstream)
    finally:
        await upstream.close()


@dataclass(frozen=True)
class Database:
    """The database that keeps the journal, and why it can't be used."""

    fault: JournalError | None


async def _look_at_database(settings: Settings) -> Database | None:
    """What is wrong with the database; None where the journal is a file."""
    if settings.database_url is None:
        return None
    store = store_of(settings, Clock())
    await store.check()
    await store.close()
    return Database(store.fault)


def table(
    found: Check,
    folders: Mapping[str, Path],
    database: Database | None = None,
    *,
    sandbox: bool = False,
) -> str:
    """A line for each part, each fault with its remedy, and a last line with the result."""
    unusable = [folder for folder in folders.values() if not _takes_files(folder)]
    lines = [
        f"useapi-mcp {__version__} at {found.base_url}{' (the sandbox)' if sandbox else ''}",
        "",
    ]
    lines += [_line("token", found.token), _line("subscription", found.subscription)]
    for service in found.services:
        lines += _service(service)
    lines += [
        _line(part, "not usable" if folder in unusable else "ok", str(folder))
        for part, folder in folders.items()
    ]
    if database is not None:
        where = "in the database of USEAPI_DATABASE_URL"
        lines.append(_line("journal", "not usable" if database.fault else "ok", where))
    if found.problem:
        lines += ["", found.problem, f"-> {found.hint}"]
    if unusable:
        lines += ["", f"Files can't be made in {unusable[0]}.", f"-> {_CHOOSE_A_FOLDER}"]
    if database is not None and database.fault is not None:
        lines += ["", database.fault.message, f"-> {database.fault.hint}"]
    ready = found.ok and not unusable and not (database and database.fault)
    lines += ["", "Ready to work." if ready else "Not ready to work: see above."]
    return "\n".join(lines)


def _takes_files(folder: Path) -> bool:
    """Whether files can be made in a folder, which need not be there yet."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


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
