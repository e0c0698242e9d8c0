"""Which engine keeps the journal."""

from mcp_server.clock import Clock
from mcp_server.journal.base import Store
from mcp_server.journal.locks import KeyLocks
from mcp_server.journal.sqlite import SqliteStore
from mcp_server.settings import Settings


def store_of(settings: Settings, clock: Clock, locks: KeyLocks | None = None) -> Store:
    """The store that the settings name; it is opened at first use.

    Args:
        locks: of SQLite's, for tests.
    """
    if settings.database_url is None:
        return SqliteStore(settings.state_folder(), clock, locks)
    from mcp_server.journal.postgres import PostgresStore  # its driver takes 60 ms to import

    return PostgresStore(settings.database_url.get_secret_value(), clock)
