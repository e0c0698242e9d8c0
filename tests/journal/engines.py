"""The engines that tests/journal/test_journal.py puts through the suite: a new one is one line."""

from collections.abc import Callable
from pathlib import Path

from mcp_server.clock import Clock
from mcp_server.journal.base import Store
from mcp_server.journal.sqlite import SqliteStore

# A store of the database at a place, where stores of other processes may be open too.
Engine = Callable[[Path, Clock], Store]

ENGINES: dict[str, Engine] = {
    "SQLite": SqliteStore,
}
