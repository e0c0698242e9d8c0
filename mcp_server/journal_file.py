"""The journal's file: an SQLite database that says in plain words why it can't be used.

WAL and `synchronous=FULL`: what was committed survives whatever dies. Everything runs on the event
loop, in well under a millisecond. On a network file system SQLite's locks are only as good as that
system's: USEAPI_STATE_DIR belongs on a local disk.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mcp_server.errors import JournalError

if TYPE_CHECKING:
    import sqlite3  # at run time only when a journal is used: 5 ms of start-up

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
)
"""The layout's history, oldest first; `user_version` counts how many were applied. Only append."""


class JournalFile:
    """The database `journal.sqlite` in `folder`, opened at first use.

    One that can't be used says why in `fault`, and both ways in raise it. Each use tries anew, so
    it heals as soon as the cause is gone.

    Args:
        probes: queries that fail on a layout that lacks something.
    """

    def __init__(self, folder: Path, probes: tuple[str, ...], busy_timeout_s: float) -> None:
        self.fault: JournalError | None = None
        self._folder = folder
        self._path = folder / "journal.sqlite"
        self._probes = probes
        self._busy_timeout_s = busy_timeout_s
        self._open: sqlite3.Connection | None = None

    def check(self) -> None:
        """Write something that changes nothing; `fault` then says whether that went well."""
        with suppress(JournalError), self.write() as database:
            database.execute(f"pragma user_version = {_version(database, len(MIGRATIONS))}")

    @contextmanager
    def write(self) -> "Iterator[sqlite3.Connection]":
        """One transaction, alone among all processes, on disk when the block is left."""
        with self.read() as database:
            database.execute("begin immediate")
            try:
                yield database
                database.execute("commit")
            except BaseException:
                database.rollback()
                raise
            self.fault = None

    @contextmanager
    def read(self) -> "Iterator[sqlite3.Connection]":
        """The open database; what SQLite, the disk or a damaged row say becomes `fault`."""
        import sqlite3

        try:
            if self._open is None:
                self._open = self._connect()
                self.fault = None
            yield self._open
        except sqlite3.ProgrammingError:
            raise  # a mistake in our code, not in the file
        except (sqlite3.Error, OSError, json.JSONDecodeError) as error:
            # SQLite's main codes have 8 bits; errors Python itself raises carry none.
            exact = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
            code = exact & 0xFF
            no_room = code == sqlite3.SQLITE_FULL or exact == sqlite3.SQLITE_IOERR_WRITE  # a quota
            if not no_room and code != sqlite3.SQLITE_BUSY:
                # A new connection may see a repaired file; this one never would. Without room it
                # is the other way round: nothing new can be opened, but this one still reads.
                self.close()
            self.fault = self._explain(error, code)
            raise self.fault from error
        except _NewerError as newer:
            self.close()
            self.fault = JournalError(
                f"The journal {self._path} was written by a newer useapi-mcp ({newer}).",
                "Upgrade useapi-mcp.",
            )
            raise self.fault from newer

    def _explain(self, error: Exception, code: int) -> JournalError:
        import sqlite3

        if isinstance(error, OSError) or code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            return JournalError(
                f"The folder {self._folder} can't hold the journal of submissions ({error}).",
                "Set USEAPI_STATE_DIR to a folder on a local disk that can be written to.",
            )
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return JournalError(
                f"The disk refuses to take the journal {self._path} ({error}).",
                "Free some disk space, then call again.",
            )
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL):
            return JournalError(
                f"Another process keeps the journal {self._path} to itself.",
                "Call again in a few seconds.",
            )
        return JournalError(
            f"The journal {self._path} is damaged ({error}).",
            "Stop useapi-mcp, move every journal.sqlite* file out of that folder and start it"
            " again; what was submitted until now would then be charged again.",
        )

    def _connect(self) -> "sqlite3.Connection":
        import sqlite3

        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would create it readable by others. Only ever created here, never opened: closing a
        # second descriptor of it would drop the locks SQLite holds in this process.
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        database = sqlite3.connect(self._path, timeout=self._busy_timeout_s, isolation_level=None)
        try:
            # Of several processes that switch a new file to WAL at the same moment, SQLite refuses
            # all but one at once, without waiting. `migrate` waits its turn; then it is switched.
            with suppress(sqlite3.OperationalError):
                database.execute("pragma journal_mode = wal")
            database.execute("pragma synchronous = full")
            migrate(database)
            database.execute("pragma journal_mode = wal")
            for query in self._probes:
                database.execute(query)
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


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
    version: int = database.execute("pragma user_version").fetchone()[0]
    if version > known:
        raise _NewerError(f"its layout is version {version}, this one knows {known}")
    return version


class _NewerError(Exception):
    """The layout of the database is newer than this code."""
