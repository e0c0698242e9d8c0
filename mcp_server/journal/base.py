"""Store: what the journal asks of a database, so that a second engine is one more file.

SQL that goes in is what SQLite 3.35 and PostgreSQL 12 both understand, with `?` for values.
"""

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from mcp_server.errors import JournalError


class Rows(Protocol):
    """The database inside one `read` or `write` block."""

    async def all(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Every row that a statement returns; none for one that returns nothing."""


class Store(Protocol):
    """A database, and who is at work on which key.

    Whatever the engine, the disk or a damaged row raise comes out as a JournalError and stays in
    `fault` until the store works again; every call tries anew.
    """

    fault: JournalError | None
    is_shared: bool
    """Whether servers of several machines may be at work on it."""

    def read(self) -> AbstractAsyncContextManager[Rows]:
        """Statements that change nothing."""

    def write(self, *names: str) -> AbstractAsyncContextManager[Rows]:
        """One transaction, on disk when the block is left, undone when it raises.

        No other transaction that shares a name runs meanwhile; beside one without a name none does.

        Raises:
            JournalCutError: the database went away, and the transaction may have been committed.
        """

    async def claim(self, key: str) -> bool:
        """True: nobody alive is at work on this key, and until `release` nobody else will be."""

    async def release(self, key: str) -> None:
        """Let go of a key; one that was refused or never asked for changes nothing."""

    async def owns(self, rows: Rows, key: str) -> bool:
        """Whether the claim still stands, and will until this transaction has ended."""

    async def take_turn(self, name: str, apart_s: float) -> bool:
        """False: another server has done this less than so many seconds ago, so it can be left out.

        No promise: where nobody can tell, it is True.
        """

    async def check(self) -> None:
        """Write something that changes nothing; `fault` then says whether that went well."""

    async def close(self) -> None:
        """Close the database and release every key."""
