"""Connections to PostgreSQL: handed out for one block each, and what their errors mean.

No statement is ever cancelled in the server. A COMMIT that is cancelled while it waits for a
standby counts as done there, though the standby may never have it. So a caller that leaves, or has
waited for too long, leaves the statement running; its connection comes back when that has ended.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
from psycopg import conninfo
from psycopg.pq import TransactionStatus

from mcp_server.errors import JournalBusyError, JournalError
from mcp_server.redaction import quoted

LOCK_S = 10  # that a transaction waits for another one
IDLE_S = 5  # that the database waits for a transaction's next statement, before it ends it
ANSWER_S = 15.0  # that a statement may take; longer than it may wait for a lock

FAULTS = (psycopg.Error, OSError, json.JSONDecodeError)
"""What is raised where a database, the network to it or what is stored there is at fault."""

_NOT_OURS = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.InvalidColumnReference,  # of "on conflict", where its index is missing
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedTable,
)
_DEFAULTS: dict[str, str | int] = {
    "application_name": "useapi-mcp",
    "client_encoding": "utf8",
    "connect_timeout": 5,
    # A network that swallows everything is noticed long before the kernel's two hours.
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_CUT_STATES = frozenset(
    {
        "25006",  # it is not the primary, or not any more
        "25P03",  # ended in the middle of a transaction
        "40001",  # in the way of another transaction
        "40P01",
        "53300",  # too many connections
        "57P01",  # the database stops, has crashed, or starts
        "57P02",
        "57P03",
        "57P05",  # ended while nobody used it
    }
)
_REFUSED = ("password authentication", "pg_hba.conf", "does not exist", "not permitted to log in")


class SilentError(OSError):
    """The database did not answer in time."""


class Link:
    """A connection, used by one block at a time; each statement may take `answer_s`."""

    def __init__(self, connection: "psycopg.AsyncConnection[Any]", answer_s: float) -> None:
        self._connection = connection
        self._answer_s = answer_s
        self._statement: asyncio.Task[psycopg.AsyncCursor[Any]] | None = None
        self.is_spoilt = False

    async def run(self, sql: str, values: tuple[object, ...] | None = None) -> list[Any]:
        """The rows that a statement returns, with `%s` for values.

        Raises:
            SilentError: no answer came in time; the statement may still be at work.
        """
        cursor = await self._execute(sql, values)
        return await cursor.fetchall() if cursor.description else []

    async def begin(self, *statements: str) -> None:
        """Begin a transaction with these statements, which take no values, in one round trip.

        Raises:
            psycopg.errors.ReadOnlySqlTransaction: it could not write.
        """
        cursor = await self._execute("; ".join((*statements, "show transaction_read_only")))
        while cursor.nextset():
            pass
        if await cursor.fetchall() != [("off",)]:
            raise psycopg.errors.ReadOnlySqlTransaction("the database is read-only")

    async def commit(self) -> None:
        """End the transaction; what it wrote is on disk, or an error is raised."""
        cursor = await self._execute("commit")
        if cursor.statusmessage != "COMMIT":  # the answer to a COMMIT of what had failed
            raise psycopg.OperationalError("the transaction was undone")

    async def _execute(
        self, sql: str, values: tuple[object, ...] | None = None
    ) -> "psycopg.AsyncCursor[Any]":
        # In a task of its own: psycopg would cancel the statement in the server with its caller.
        self._statement = asyncio.create_task(self._connection.execute(sql, values))
        done, _ = await asyncio.wait({self._statement}, timeout=self._answer_s)
        if not done:
            raise SilentError(f"no answer within {self._answer_s:g} s")
        return self._statement.result()

    @property
    def is_idle(self) -> bool:
        """Whether it can be used: in no transaction, and as far as is known connected."""
        is_at_rest = self._statement is None or self._statement.done()
        status = self._connection.info.transaction_status
        return is_at_rest and not self.is_spoilt and status is TransactionStatus.IDLE

    async def settle(self) -> bool:
        """Wait for a statement that was left running, and undo its transaction: is it idle now?"""
        if self._statement is not None:
            await asyncio.wait({self._statement})
            self._statement.exception()  # nobody else asks for it
        if self._connection.info.transaction_status in (
            TransactionStatus.INTRANS,
            TransactionStatus.INERROR,
        ):
            with contextlib.suppress(*FAULTS):
                await self._execute("rollback")
        return self.is_idle

    async def close(self) -> None:
        """End it; the database undoes what was not committed."""
        await self._connection.close()


class Connections:
    """At most `most` connections, made when they are needed.

    Args:
        on_connect: is given each new one before it is used, and may refuse it.
        answer_s: how long a statement may take, and how long one of them is waited for.

    Attributes:
        reused: how often one was handed out that was there, and may have broken since.
    """

    def __init__(
        self,
        dsn: str,
        on_connect: Callable[[Link], Awaitable[None]],
        *,
        most: int,
        answer_s: float = ANSWER_S,
    ) -> None:
        self.reused = 0
        self._dsn = dsn
        self._on_connect = on_connect
        self._answer_s = answer_s
        self._free = asyncio.Semaphore(most)
        self._idle: list[Link] = []
        self._ending: set[asyncio.Task[None]] = set()

    async def take(self) -> Link:
        """A connection for one block, which must put it back.

        Raises:
            SilentError: the others keep all of them.
        """
        try:
            async with asyncio.timeout(self._answer_s):
                await self._free.acquire()
        except TimeoutError:
            raise SilentError("all connections are in use") from None
        try:
            while self._idle:
                link = self._idle.pop()
                if link.is_idle:
                    self.reused += 1
                    return link
                await link.close()
            return await connect(self._dsn, self._on_connect, self._answer_s)
        except BaseException:
            self._free.release()
            raise

    def put_back(self, link: Link) -> None:
        """Take a connection back in whatever state; what was not committed is undone."""
        if link.is_idle:
            self._idle.append(link)
            self._free.release()
            return
        ending = asyncio.create_task(self._settle(link))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def drop_idle(self) -> None:
        """Close those that nobody uses: after one has broken, they may have, too."""
        dropped, self._idle = self._idle, []
        for link in dropped:
            await link.close()

    async def close(self, patience_s: float = 2.0) -> None:
        """Close all that is not in use; the next `take` makes a new one."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=patience_s)
        await self.drop_idle()

    async def _settle(self, link: Link) -> None:
        try:
            if await link.settle():
                self._idle.append(link)
            else:
                await link.close()
        finally:
            self._free.release()


async def connect(
    dsn: str, on_connect: Callable[[Link], Awaitable[None]], answer_s: float = ANSWER_S
) -> Link:
    """A new connection that `on_connect` has looked at.

    Raises:
        JournalError: the address is none.
    """
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:  # its text holds the address, and so the password
        raise JournalError(
            message="USEAPI_DATABASE_URL is no address that PostgreSQL's library understands.",
            hint="Write it like postgresql://user:password@host:5432/database; in the password,"
            " %-encode what is no letter and no digit.",
        ) from None
    if "," in str(given.get("host", "")):  # the standbys among them can't be written to
        given.setdefault("target_session_attrs", "read-write")
    connection = await psycopg.AsyncConnection.connect(
        conninfo.make_conninfo("", **(_DEFAULTS | given)), autocommit=True, prepare_threshold=None
    )
    link = Link(connection, answer_s)
    try:
        await on_connect(link)
    except BaseException:
        await connection.close()
        raise
    return link


def may_pass(error: BaseException) -> bool:
    """Whether the same may go well soon, on another connection."""
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        return error.sqlstate in _CUT_STATES or error.sqlstate.startswith("08")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return not _is_refusal(error)  # it broke, or was not made
    return isinstance(error, SilentError)


def is_ours(error: BaseException) -> bool:
    """Whether an error is a mistake in our code."""
    return isinstance(error, psycopg.ProgrammingError) and not isinstance(error, _NOT_OURS)


def is_of_values(error: BaseException) -> bool:
    """Whether only what it was given is at fault, like a NUL, which no text of it can hold."""
    return isinstance(error, psycopg.DataError)


def explain(error: BaseException) -> JournalError:
    """What a caller is told; it never holds the address or its password."""
    says = _words(error)
    if isinstance(error, psycopg.errors.DiskFull):
        return JournalError(
            message=f"The database of submissions has no room left ({says}).",
            hint="Free some disk space where it runs, then call again.",
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return JournalError(
            message=f"The database's user may not do what the journal needs ({says}).",
            hint="Give it select, insert, update and delete on the tables; `useapi-mcp migrate`"
            " needs a user that may create them.",
        )
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return JournalError(
            message="The database of submissions can be read but not written to.",
            hint="Is it a standby? Name all hosts in USEAPI_DATABASE_URL: the one that takes writes"
            " is used.",
        )
    if isinstance(error, psycopg.ProgrammingError):  # `is_ours` says which others there can be
        return JournalError(
            message=f"The database of submissions is damaged ({says}).",
            hint="Restore its tables and indexes, as `useapi-mcp migrate` makes them in an empty"
            " database.",
        )
    if isinstance(error, psycopg.OperationalError) and _is_refusal(error):
        return JournalError(
            message=f"The database of submissions refuses the connection ({says}).",
            hint="Correct USEAPI_DATABASE_URL, or what the database allows.",
        )
    if isinstance(error, psycopg.OperationalError | OSError) or may_pass(error):
        return JournalBusyError(
            message=f"The database of submissions can't be used now ({says}).",
            hint="Call again in a few seconds; if it stays so, look at the database and at"
            " USEAPI_DATABASE_URL.",
        )
    return JournalError(
        message=f"The database of submissions holds or was given what it can't take ({says}).",
        hint="Look at the database's log.",
    )


def _is_refusal(error: BaseException) -> bool:
    """Whether a connection was refused for good: of that libpq gives no code but the words."""
    return isinstance(error, psycopg.Error) and (
        error.sqlstate is None and any(words in str(error) for words in _REFUSED)
    )


def _words(error: BaseException) -> str:
    """What the database said, in one line: its reason, without where it is and who asked."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary is not None:
        return quoted(error.diag.message_primary)
    line = str(error).strip().partition("\n")[0]
    return quoted(line.rpartition("failed: ")[2]) or type(error).__name__
