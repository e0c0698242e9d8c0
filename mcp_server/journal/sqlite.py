"""Journal: what was submitted, written down before the bytes of a paid request leave.

Three things keep a job from being lost or paid for twice, whatever dies and whenever:

- every step is committed (SQLite, WAL, `synchronous=FULL`) before the next one is taken;
- a partial unique index allows one live row a key: the database refuses what our code gets wrong;
- who is at work on a key is decided by a lock that the kernel drops with its process (locks.py).

The token never enters. On a network file system SQLite's locks are only as good as that system's:
USEAPI_STATE_DIR belongs on a local disk.
"""

import base64
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mcp_server.errors import BudgetError, JournalError
from mcp_server.journal.locks import FileLocks, KeyLocks
from mcp_server.journal.records import LIVE, NewSubmission, State, Submission
from mcp_server.models import OUR_ID_PREFIX, TERMINAL, Status

if TYPE_CHECKING:
    import sqlite3  # at run time only when a journal is used: 5 ms of start-up
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3  # at run time only when a journal is used: 5 ms of start-up

_IS_LIVE = "state in ('submitting', 'unconfirmed', 'accepted')"  # as in the index, which it uses


class Journal:
    """The submissions of every process that shares `folder`.

    Opened at first use. A journal that can't be written says why in `fault`; every write then
    raises it and nothing paid can be sent, while reads answer with nothing. Each call tries anew,
    so a journal heals as soon as the cause is gone.
    """

    def __init__(
        self,
        folder: Path,
        now: Callable[[], float],
        locks: KeyLocks | None = None,
        *,
        busy_timeout_s: float = 10,
    ) -> None:
        self._now = now
        self._file = JournalFile(folder, _PROBES, busy_timeout_s)
        self._locks = locks or FileLocks(folder / "journal.lock")

    @property
    def fault(self) -> JournalError | None:
        """Why the journal can't be used, as far as is known."""
        return self._file.fault

    def check(self) -> None:
        """Try whether it can be written; `fault` then tells."""
        self._file.check()

    def close(self) -> None:
        self._file.close()
        self._locks.close()

    def try_lock(self, key: str) -> bool:
        """True: nobody alive is at work on this key, and until `unlock` nobody else will be.

        Raises:
            JournalError: the journal can't be used, so nothing may be sent.
        """
        with self._file.read():
            return self._locks.try_lock(key)

    def unlock(self, key: str) -> None:
        self._locks.unlock(key)

    def live(self, key: str) -> Submission | None:
        """The row that stands in the way of submitting `key` again."""
        return _first(self._read(f"where key = ? and {_IS_LIVE}", key))

    def get(self, any_id: str) -> Submission | None:
        """The row with this id of ours, or the newest one of this vendor's job."""
        return _first(
            self._read("where id = ? or job_id = ? order by number desc limit 1", any_id, any_id)
        )

    def recent(self, limit: int, status: str | None = None) -> list[Submission]:
        """The newest rows first, all or those of one Job status; a freed row keeps its last one."""
        return self._read(
            "where ? in (status, '') order by number desc limit ?", status or "", limit
        )

    def intend(self, intent: NewSubmission, *, budget: float | None = None) -> Submission:
        """Write down what is about to be submitted.

        Args:
            budget: the credits this service may be charged in one UTC day.

        Raises:
            BudgetError: this one would exceed it; nothing is written.
            JournalError: the key has a live row already, or the journal can't be written.
        """
        import sqlite3

        now = self._now()
        row_id = OUR_ID_PREFIX + base64.b32encode(os.urandom(16)).decode().rstrip("=").lower()
        with self._file.write() as database:
            try:
                database.execute(
                    "insert into submission(id, key, state, status, service, operation, source_id,"
                    " arguments, price, credits, posts, created_at, updated_at)"
                    " values(?, ?, 'submitting', 'submitting', ?, ?, ?, ?, ?, ?, 0, ?, ?)",
                    (
                        row_id,
                        intent.key,
                        intent.service,
                        intent.operation,
                        intent.source_id,
                        json.dumps(intent.arguments),
                        intent.price,
                        intent.price,
                        now,
                        now,
                    ),
                )
            except sqlite3.IntegrityError as refused:
                (row,) = _select(database, f"where key = ? and {_IS_LIVE}", intent.key)
                raise _taken(row) from refused
            if budget is not None:
                spent = _spent(database, intent.service, now) - intent.price
                _stay_within(budget, spent, intent.service, intent.price)
            return _by_id(database, row_id)

    def check_budget(self, service: str, price: float, budget: float) -> None:
        """Raise the BudgetError that `intend` would raise now."""
        spent = 0.0
        with suppress(JournalError), self._file.read() as database:
            spent = _spent(database, service, self._now())
        _stay_within(budget, spent, service, price)

    def count_post(self, row_id: str, *, told_as: Status = "submitting") -> Submission:
        """Count a POST whose bytes leave next.

        Args:
            told_as: the Job status the row has until it is answered.

        Raises:
            JournalError: this must not be sent: it was answered, ended or found unconfirmed in the
                meantime, or the journal can't be written.
        """
        with self._file.write() as database:
            row = _by_id(database, row_id)
            if row.state != "submitting":
                raise JournalError(
                    message=f"The submission {row_id} is {row.state} by now, so it is not sent.",
                    hint="Call get_job with its id.",
                    service=row.service,
                    job_id=row.job_id or row_id,
                )
            now = self._now()
            first = now if row.first_sent_at is None else row.first_sent_at
            sent = replace(row, posts=row.posts + 1, sent_at=now, first_sent_at=first)
            return self._store(database, sent, told_as)

    def accept(self, row_id: str, job_id: str | None, job: dict[str, Any]) -> Submission:
        """Write down the vendor's answer: the job it made, or that it had made before.

        The first answer stays: a later one that names another job changes nothing. An answer that
        comes after the row was given up brings it back to life, unless the key was submitted again
        meanwhile: then the job is only written down. A job that failed frees the key at once.
        """
        with self._file.write() as database:
            row = _by_id(database, row_id)
            if _final(row.job) or (job_id and row.job_id and job_id != row.job_id):
                return row
            other = _select(database, f"where key = ? and id <> ? and {_IS_LIVE}", row.key, row_id)
            state: State = "freed" if other else "accepted"
            answered = replace(row, state=state, job_id=job_id or row.job_id, note=None)
            return self._store(database, _following(answered, job))

    def record(self, job_id: str, job: dict[str, Any]) -> None:
        """Let every row of this vendor's job follow what the vendor now says about it.

        The first of completed, failed and cancelled stays. Failed and cancelled free the key.
        """
        with self._file.read() as database:
            rows = _select(database, "where job_id = ?", job_id)
        if all(_following(row, job) == row for row in rows):
            return  # most polls bring no news, and news alone is worth a commit
        with self._file.write() as database:
            for row in _select(database, "where job_id = ?", job_id):
                self._store(database, _following(row, job))

    def unconfirmed(self, row_id: str, note: str) -> Submission:
        """Nobody knows whether the vendor took it; a row that was answered or ended stays."""
        with self._file.write() as database:
            row = _by_id(database, row_id)
            if row.state not in ("submitting", "unconfirmed"):
                return row
            return self._store(database, replace(row, state="unconfirmed", note=note))

    def end(
        self,
        row_id: str,
        state: Literal["failed", "cancelled", "freed"],
        note: str,
        job: dict[str, Any] | None = None,
    ) -> Submission:
        """Free the key.

        A row that ended before stays as it is; a job that completed can be freed but not fail.
        """
        with self._file.write() as database:
            row = _by_id(database, row_id)
            if row.state not in LIVE:
                return row
            if state == "freed":
                freed = replace(row, state=state, note=note)
                return self._store(database, _following(freed, job) if job else freed)
            if _final(row.job):
                return row
            known = job or row.job
            ended = {**known, "status": state} if known else None
            return self._store(database, replace(row, state=state, note=note, job=ended))

    def saved(self, job_id: str) -> list[dict[str, Any]]:
        """The files saved for a job, by position: their facts, `position` and `path`."""
        with suppress(JournalError), self._file.read() as database:
            found = database.execute(
                "select position, path, facts from saved where job_id = ? order by position",
                (job_id,),
            )
            return [
                {**json.loads(facts), "position": position, "path": path}
                for position, path, facts in found
            ]
        return []

    def save(self, job_id: str, position: int, path: str, facts: dict[str, Any]) -> None:
        """Write down where the job's media number `position` was saved; the last one counts."""
        with self._file.write() as database:
            database.execute(
                "insert or replace into saved(job_id, position, path, facts) values(?, ?, ?, ?)",
                (job_id, position, path, json.dumps(facts)),
            )

    def _read(self, where: str, *values: object) -> list[Submission]:
        with suppress(JournalError), self._file.read() as database:
            return _select(database, where, *values)
        return []

    def _store(
        self, database: "sqlite3.Connection", row: Submission, told_as: Status | None = None
    ) -> Submission:
        """Write what can change of a row, with the columns that are derived from it."""
        job = row.job or {}
        has_job = row.state in ("accepted", "freed")
        status = told_as or (job.get("status") if has_job else row.state)
        database.execute(
            "update submission set state = ?, posts = ?, sent_at = ?, first_sent_at = ?,"
            " job_id = ?, job = ?, note = ?, updated_at = ?,"
            " status = coalesce(?, status), credits = coalesce(?, credits) where id = ?",
            (
                row.state,
                row.posts,
                row.sent_at,
                row.first_sent_at,
                row.job_id,
                json.dumps(row.job) if row.job else None,
                row.note,
                self._now(),
                status,
                job.get("forecast_credits"),
                row.id,
            ),
        )
        return _by_id(database, row.id)


_QUERY = f"select {', '.join(field.name for field in fields(Submission))} from submission "  # noqa: S608 - names of ours
_PROBES = (
    _QUERY + "limit 0",
    "select number, status, credits from submission limit 0",
    f"select 1 from submission indexed by one_live_row where {_IS_LIVE} limit 0",  # noqa: S608 - ours
    "select job_id, position, path, facts from saved limit 0",
)
"""What fails on a layout that lacks a column, or the index that keeps money safe."""


def _select(database: "sqlite3.Connection", where: str, *values: object) -> list[Submission]:
    found = database.execute(_QUERY + where, values)
    rows = (Submission(*columns) for columns in found)
    return [
        replace(
            row,
            arguments=json.loads(str(row.arguments)),
            job=json.loads(str(row.job)) if row.job else None,
        )
        for row in rows
    ]


def _first(rows: list[Submission]) -> Submission | None:
    return rows[0] if rows else None


def _by_id(database: "sqlite3.Connection", row_id: str) -> Submission:
    row = _first(_select(database, "where id = ?", row_id))
    if row is None:
        raise JournalError(
            message=f"The journal knows no submission {row_id}.",
            hint="Call list_jobs for those it knows.",
        )
    return row


def _final(job: dict[str, Any] | None) -> bool:
    return job is not None and job["status"] in TERMINAL


def _following(row: Submission, job: dict[str, Any]) -> Submission:
    """The row after the vendor has said this about its job."""
    if row.job and _final(row.job) and row.job["status"] != job["status"]:
        return row
    ended = row.state in LIVE and job["status"] in ("failed", "cancelled")
    return replace(row, job=job, state=job["status"] if ended else row.state)


def _taken(row: Submission) -> JournalError:
    job_id = row.job_id or row.id
    return JournalError(
        message=f"The same request was submitted before, as {job_id}, "
        "so it is not submitted again.",
        hint="Call get_job with that id.",
        service=row.service,
        job_id=job_id,
    )


def _spent(database: "sqlite3.Connection", service: str, now: float) -> float:
    """The credits of a service's rows since midnight UTC.

    Everything that was or may have been charged counts. What certainly was not is a request that
    the vendor refused, and one that ended before its bytes left.
    """
    total: float = database.execute(
        "select total(credits) from submission where service = ? and created_at >= ?"
        " and (state in ('submitting', 'unconfirmed', 'accepted')"
        " or job_id is not null or (posts > 0 and state <> 'failed'))",
        (service, now - now % 86400),
    ).fetchone()[0]
    return total


def _stay_within(budget: float, spent: float, service: str, price: float) -> None:
    if spent + price > budget:
        raise BudgetError(
            message=f"This costs {price:g} credits, and of today's {budget:g} for {service}"
            f" {spent:g} are spent; nothing was sent.",
            hint="Raise USEAPI_MAX_CREDITS_PER_DAY, or call again after midnight UTC.",
            service=service,
        )


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
                message=f"The journal {self._path} was written by a newer useapi-mcp ({newer}).",
                hint="Upgrade useapi-mcp.",
            )
            raise self.fault from newer

    def _explain(self, error: Exception, code: int) -> JournalError:
        import sqlite3

        if isinstance(error, OSError) or code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            return JournalError(
                message=f"The folder {self._folder} can't hold the journal of submissions "
                f"({error}).",
                hint="Set USEAPI_STATE_DIR to a folder on a local disk that can be written to.",
            )
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return JournalError(
                message=f"The disk refuses to take the journal {self._path} ({error}).",
                hint="Free some disk space, then call again.",
            )
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL):
            return JournalError(
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
