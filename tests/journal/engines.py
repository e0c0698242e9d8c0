"""The engines that tests/journal/test_journal.py puts through the suite: a new one is one line."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mcp_server.clock import Clock
from mcp_server.journal.base import Store
from mcp_server.journal.postgres import PostgresStore
from mcp_server.journal.sqlite import SqliteStore
from tests.support.postgres import needs_postgres, schema_of
from tests.support.virtual_time import VirtualLoop

LEASE_S = 6.0
"""Shorter than a server's, for the test that waits for its end."""


@dataclass(frozen=True)
class Engine:
    """A kind of database.

    Args:
        store: of the database at a place, where stores of other processes may be open too.
        loop: whose time runs with what the database does; None = asyncio's own, in real time.
    """

    store: Callable[[Path, Clock], Store]
    loop: Callable[[], asyncio.AbstractEventLoop] | None
    marks: tuple[pytest.MarkDecorator, ...] = ()


def _postgres(place: Path, clock: Clock) -> PostgresStore:
    return PostgresStore(schema_of(place), clock, lease_s=LEASE_S)


ENGINES: dict[str, Engine] = {
    "SQLite": Engine(SqliteStore, VirtualLoop),
    "PostgreSQL": Engine(_postgres, None, (needs_postgres,)),
}

NAMES: list[Any] = [pytest.param(name, marks=engine.marks) for name, engine in ENGINES.items()]
