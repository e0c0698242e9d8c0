"""The journal's store on SQLite: one file, written in WAL mode with `synchronous=FULL`.

On a network file system SQLite's locks are only as good as that system's: USEAPI_STATE_DIR belongs
on a local disk.
"""

import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mcp_server.clock import Clock
from mcp_server.errors import JournalBusyError, JournalError
from mcp_server.journal.base import Rows
from mcp_server.journal.journal import COLUMNS, IS_LIVE
from mcp_server.journal.locks import FileLocks, KeyLocks

if TYPE_CHECKING:
    import sqlite3  # at run time only when a journal is used: 5 ms of start-up

T = TypeVar("T")

_BUSY_PAUSE_S = 0.05  # between two tries at a file that another process has locked

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # status: the Job's status word. credits: what the day's budget counts, the vendor's
        # forecast once it is known, the price until then.
        """create table submission(
            number integer primary key, id text not null unique, key text not null,
            state text not null, status text not null, service text not null,
            operation text not null, source_id text not null, arguments text not null,
            price real not null, credits real not null, posts integer not null,
            sent_at real, first_sent_at real, job_id text, job text, note text,
            created_at real not null, updated_at real not null)""",
        """create unique index one_live_row on submission(key)
            where state in ('submitting', 'unconfirmed', 'accepted')""",
        "create index by_job on submission(job_id)",
        "create index by_day on submission(service, created_at)",
        """create table saved(
            job_id text not null, position integer not null, path text not null,
            facts text not null, primary key(job_id, position))""",
    ),
    (
        # Of a row without them its key tells the origin, and nothing else was known.
        "alter table submission add column origin text not null default ''",
        "alter table submission add column evidence text not null default '{}'",
    ),
    (
        # has_links: 0 once the row has grown old, and links of a job that ended were dropped.
        "alter table submission add column has_links integer not null default 1",
        "create index by_status on submission(status, number)",
        "create index by_age on submission(updated_at) where has_links = 1",
    ),
    (
        # What the vendor said that an order would cost; told_at is null where it did not answer.
        """create table quote(
            key text not null primary key, asked_at real not null, told_at real, price real)""",
    ),
    (
        # Who may call: of each user's token only its SHA-256.
        """create table users(
            id text not null primary key, name text not null unique,
            token_sha256 text not null unique, may_submit integer not null,
            created_at real not null)""",
        # payer: the user who caused a submission; '' is the operator, and all of before.
        "alter table submission add column payer text not null default ''",
        # Which users asked for it, and so may see it. What the operator asks for is not noted.
        """create table asked(
            user_id text not null, submission_id text not null,
            primary key(user_id, submission_id))""",
        "create index by_submission on asked(submission_id)",
    ),
    (
        # What waits for a free slot holds its key, too.
        "drop index one_live_row",
        """create unique index one_live_row on submission(key)
            where state in ('queued', 'submitting', 'unconfirmed', 'accepted')""",
        "alter table submission add column runs_on text not null default ''",
        "alter table submission add column queued_until real",
        # What an account's refusals for want of a slot say: most jobs ran there besides.
        """create table slots(
            origin text not null, service text not null, account text not null,
            runs_on text not null, most integer not null, refused_at real not null,
            not_before real not null, pause_s real not null,
            primary key(origin, service, account, runs_on))""",
    ),
    (
        # account: whose token a request goes with; '' is the server's, and all of before.
        "alter table submission add column account text not null default ''",
        # Users' own useapi.net tokens, sealed. A row stays when its token is taken back, so that
        # `version` never comes again: it says how often that has changed.
        """create table own_token(
            user_id text not null primary key, account text not null, sealed text not null,
            key_id text not null, version integer not null, changed_at real not null)""",
        "create index by_account on own_token(account)",
    ),
)
"""The layout's history, oldest first; `user_version` counts how many were applied. Only append."""

_PROBES = (
    f"select {COLUMNS}, number, status, credits, has_links from submission limit 0",  # noqa: S608 - names of ours
    f"select 1 from submission indexed by one_live_row where {IS_LIVE} limit 0",  # noqa: S608 - as above
    "select job_id, position, path, facts from saved limit 0",
    "select key, asked_at, told_at, price from quote limit 0",
    "select id, name, token_sha256, may_submit, created_at from users limit 0",
    "select user_id, submission_id from asked limit 0",
    "select account, runs_on, most, refused_at, not_before, pause_s from slots limit 0",
    "select user_id, account, sealed, key_id, version, changed_at from own_token limit 0",
)
"""What fails on a layout that lacks a column, or the index that keeps money safe."""


class SqliteStore:
    """The database `journal.sqlite` in `folder`, opened at first use.

    One that can't be used says why in `fault`, and everything raises it. Each use tries anew, so it
    heals as soon as the cause is gone. A file that another process has locked is tried again for up
    to `busy_s`, while other tasks go on. When the file is removed or replaced, the next use opens
    what is at its path then: a process that went on with the old one would be alone with it.

    Args:
        locks: who is at work on a key; two stores on one folder in one process must share them.
    """

    is_shared = False

    def __init__(
        self, folder: Path, clock: Clock, locks: KeyLocks | None = None, *, busy_s: float = 10.0
    ) -> None:
        self.fault: JournalError | None = None
        self._folder = folder
        self._path = folder / "journal.sqlite"
        self._clock = clock
        self._locks = locks or FileLocks(folder / "journal.lock")
        self._busy_s = busy_s
        self._open: sqlite3.Connection | None = None
        self._opened: os.stat_result | None = None  # what was at the path

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Rows]:
        """Statements that change nothing; what they or the disk raise becomes `fault`."""
        try:
            yield _PatientRows(self)
        except BaseException as error:
            self._raise_as_fault(error)
            raise

    @asynccontextmanager
    async def write(self, *names: str) -> AsyncIterator[Rows]:
        """One transaction, alone among all processes whatever its names, on disk when left."""
        database = await self.patiently(self._begin)
        try:
            yield _TransactionRows(database)
            database.execute("commit")
        except BaseException as error:
            database.rollback()
            self._raise_as_fault(error)
            raise
        self.fault = None

    async def claim(self, key: str) -> bool:
        """True: nobody alive is at work on this key, and until `release` nobody else will be."""
        await self.patiently(self.connection)
        return await self.patiently(lambda: self._locks.try_lock(key))

    async def release(self, key: str) -> None:
        """Let go of a key; one that was refused or never asked for changes nothing."""
        self._locks.unlock(key)

    async def owns(self, rows: Rows, key: str) -> bool:
        """Whether the lock of a key still keeps others out."""
        return self._locks.holds(key)

    async def take_turn(self, name: str, apart_s: float) -> bool:
        """True: what a server on this machine reads is not worth a write to its disk each time."""
        return True

    async def check(self) -> None:
        """Write something that changes nothing; `fault` then says whether that went well."""
        with suppress(JournalError):
            async with self.write() as rows:
                ((found,),) = await rows.all("pragma user_version")
                await rows.all(f"pragma user_version = {_known(found, len(MIGRATIONS))}")

    async def close(self) -> None:
        """Close the file and let go of every key; the next use opens it again."""
        self._disconnect()
        self._locks.close()

    def connection(self) -> "sqlite3.Connection":
        """The database at the path, open."""
        if not self._is_current():
            self._disconnect()
        if self._open is None:
            self._open = self._connect()
            self.fault = None
        return self._open

    def _is_current(self) -> bool:
        """Whether others who open the path now get the same file."""
        try:
            return self._opened is not None and os.path.samestat(self._path.stat(), self._opened)
        except FileNotFoundError:
            return False

    def _begin(self) -> "sqlite3.Connection":
        database = self.connection()
        database.execute("begin immediate")
        return database

    async def patiently(self, attempt: Callable[[], T]) -> T:
        """Try until the file is not locked by another process, or for `busy_s`."""
        import sqlite3

        deadline = self._clock.elapsed() + self._busy_s
        while True:
            try:
                return attempt()
            except (sqlite3.Error, OSError, _NewerError) as error:
                if not _is_busy(error) or self._clock.elapsed() >= deadline:
                    self._raise_as_fault(error)
                    raise
            await self._clock.sleep(_BUSY_PAUSE_S)

    def _raise_as_fault(self, error: BaseException) -> None:
        """Raise what SQLite, the disk or a damaged row say as `fault`; let everything else be."""
        import sqlite3

        if isinstance(error, _NewerError):
            self._disconnect()
            self.fault = JournalError(
                message=f"The journal {self._path} was written by a newer useapi-mcp ({error}).",
                hint="Upgrade useapi-mcp.",
            )
            raise self.fault from error
        if isinstance(error, sqlite3.ProgrammingError):
            return  # a mistake in our code, not in the file
        if isinstance(error, sqlite3.Error | OSError | json.JSONDecodeError):
            # SQLite's main codes have 8 bits; errors Python itself raises carry none.
            exact = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
            code = exact & 0xFF
            no_room = code == sqlite3.SQLITE_FULL or exact == sqlite3.SQLITE_IOERR_WRITE  # a quota
            if not no_room and code != sqlite3.SQLITE_BUSY:
                # A new connection may see a repaired file; this one never would. Without room it
                # is the other way round: nothing new can be opened, but this one still reads.
                self._disconnect()
            self.fault = self._explain(error, code)
            raise self.fault from error

    def _explain(self, error: Exception, code: int) -> JournalError:
        import sqlite3

        if isinstance(error, OSError) or code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            return JournalError(
                message=f"The folder {self._folder} can't hold the journal of submissions"
                f" ({error}).",
                hint="Set USEAPI_STATE_DIR to a folder on a local disk that can be written to.",
            )
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return JournalError(
                message=f"The disk refuses to take the journal {self._path} ({error}).",
                hint="Free some disk space, then call again.",
            )
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL):
            return JournalBusyError(
                message=f"Another process keeps the journal {self._path} to itself.",
                hint="Call again in a few seconds.",
            )
        return JournalError(
            message=f"The journal {self._path} is damaged ({error}).",
            hint="Stop useapi-mcp, move every journal.sqlite* file out of that folder and start it"
            " again; what was submitted until now would then be charged again.",
        )

    def _connect(self) -> "sqlite3.Connection":
        import sqlite3

        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would create it readable by others. Only ever created here, never opened: closing a
        # second descriptor of it would drop the locks SQLite holds in this process.
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        self._opened = self._path.stat()
        # No time-out: SQLite would wait on the event loop. `patiently` waits beside it.
        database = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        try:
            # Of several processes that switch a new file to WAL at the same moment, SQLite refuses
            # all but one at once, without waiting. `migrate` waits its turn; then it is switched.
            with suppress(sqlite3.OperationalError):
                database.execute("pragma journal_mode = wal")
            database.execute("pragma synchronous = full")
            migrate(database)
            database.execute("pragma journal_mode = wal")
            for query in _PROBES:
                database.execute(query)
        except BaseException:
            database.close()
            raise
        return database

    def _disconnect(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


class _PatientRows:
    """Rows outside of a transaction: a statement may wait for its turn."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def all(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return await self._store.patiently(lambda: _all(self._store.connection(), sql, values))


class _TransactionRows:
    """Rows inside of one: nothing gives way to another task."""

    def __init__(self, database: "sqlite3.Connection") -> None:
        self._database = database

    async def all(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return _all(self._database, sql, values)


def _all(
    database: "sqlite3.Connection", sql: str, values: tuple[Any, ...]
) -> list[tuple[Any, ...]]:
    return database.execute(sql, values).fetchall()


def _is_busy(error: BaseException) -> bool:
    import sqlite3

    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def migrate(
    database: "sqlite3.Connection", migrations: tuple[tuple[str, ...], ...] = MIGRATIONS
) -> None:
    """Bring a database to the newest layout, in one transaction; a newer one raises."""
    database.execute("begin immediate")
    try:
        pending = migrations[_version(database, len(migrations)) :]
        for statements in pending:
            for statement in statements:
                database.execute(statement)
        if pending:  # else nothing is written: a journal on a full disk can still be read
            database.execute(f"pragma user_version = {len(migrations)}")
        database.execute("commit")
    except BaseException:
        database.rollback()
        raise


def _version(database: "sqlite3.Connection", known: int) -> int:
    return _known(database.execute("pragma user_version").fetchone()[0], known)


def _known(version: int, known: int) -> int:
    if version > known:
        raise _NewerError(f"its layout is version {version}, this one knows {known}")
    return version


class _NewerError(Exception):
    """The layout of the database is newer than this code."""
