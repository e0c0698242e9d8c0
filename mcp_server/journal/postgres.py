"""The journal's store on PostgreSQL: one database for any number of servers on any machines.

Who is at work on a key is told by a row of `claim`, and whether its owner lives by a row of
`member`, which each server renews every few seconds by the database's clock. Nothing is kept in a
session: it works through a pooler in transaction mode, and after a fail-over.

An owner that stalls for longer than its lease may be taken over. `owns`, asked in the transaction
that counts a POST, then says no: it locks the claim's row, so that nobody takes it over until the
transaction has ended. What nobody can prevent is a process that stalls for longer than its lease
between that commit and the first byte.

What the operator must see to: replication that is waited for (`synchronous_standby_names`, or a
service that fails over without losing commits). A fail-over that loses the last commits forgets
POSTs that were sent, and they would be paid for again.
"""

import asyncio
import hashlib
import logging
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from typing import Any, NoReturn, TypeVar

from mcp_server.clock import Clock
from mcp_server.errors import JournalBusyError, JournalCutError, JournalError
from mcp_server.journal.base import Rows
from mcp_server.journal.postgres_connections import (
    ANSWER_S,
    FAULTS,
    IDLE_S,
    LOCK_S,
    Connections,
    Link,
    explain,
    is_of_values,
    is_ours,
    may_pass,
)
from mcp_server.journal.postgres_layout import LAYOUT, require_known, require_layout

log = logging.getLogger(__name__)

T = TypeVar("T")

LEASE_S = 15.0
_BEATS = 4  # in one lease: three may fail
_FORGOTTEN_S = 86_400.0  # after which nothing is kept of a server that ended without a word
_FAREWELL_S = 3.0  # that the end of a server waits for the database
_PAUSE_S = 0.2  # between two tries at a database that is not there
_NOW = "extract(epoch from clock_timestamp())::double precision"
_CLAIM = (
    f"insert into claim(key, owner, token, taken_at) values(%s, %s, %s, {_NOW})"  # noqa: S608 - names of ours
    " on conflict (key) do update"
    " set owner = excluded.owner, token = excluded.token, taken_at = excluded.taken_at"
    " where claim.owner = excluded.owner"
    f" or claim.owner not in (select owner from member where alive_until > {_NOW})"
    " returning token"
)
_TURN = (
    f"insert into turn(name, taken_at) values(%s, {_NOW})"
    " on conflict (name) do update set taken_at = excluded.taken_at"
    " where turn.taken_at < excluded.taken_at - %s returning name"
)
_BEAT = (
    f"insert into member(owner, alive_until) values(%s, {_NOW} + %s)"
    " on conflict (owner) do update set alive_until = excluded.alive_until"
)
_DELETE_OVER = (
    "delete from claim where owner = %s and (token = any(%s)"  # noqa: S608 - as above
    f" or (not token = any(%s) and taken_at < {_NOW} - %s))"
)
_FORGET = (
    (
        "delete from claim where owner not in"  # noqa: S608 - as above
        f" (select owner from member where alive_until > {_NOW} - %s)"
    ),
    f"delete from member where alive_until < {_NOW} - %s",  # noqa: S608 - as above
    f"delete from turn where taken_at < {_NOW} - %s",  # noqa: S608 - as above
)


class PostgresStore:
    """The database at a libpq address like `postgresql://user:password@host/database`.

    One that can't be used says why in `fault`, and everything raises it. A database that is not
    there is waited for up to `busy_s` when it goes, and by nobody while it is known to be gone;
    each use tries anew.

    Args:
        dsn: may name several hosts; the one that takes writes is used.
        lease_s: how long a server counts as alive after it last said so.
        answer_s: how long the database may take for a statement.
        most: connections for blocks; one more says that this server lives.
    """

    is_shared = True

    def __init__(
        self,
        dsn: str,
        clock: Clock,
        *,
        busy_s: float = 5.0,
        lease_s: float = LEASE_S,
        answer_s: float = ANSWER_S,
        most: int = 4,
    ) -> None:
        self.fault: JournalError | None = None
        self._is_away = False  # whether that ends when anything can be read again
        self._clock = clock
        self._busy_s = busy_s
        self._lease_s = lease_s
        self._owner = secrets.token_hex(16)
        self._connections = Connections(dsn, self._welcome, most=most, answer_s=answer_s)
        # Of its own: those above may all wait for a transaction that does not end.
        self._heart = Connections(dsn, self._welcome, most=1, answer_s=answer_s)
        self._beating: asyncio.Task[None] | None = None
        self._alive_until = float("-inf")  # on the clock's `elapsed`
        self._claims: dict[str, str] = {}  # the token of each
        self._over: set[str] = set()  # tokens of claims that are over, and may still be there

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Rows]:
        """Statements that change nothing, each tried again where the connection breaks."""
        try:
            yield _ReadRows(self._read)
        except FAULTS as error:
            self._raise_as_fault(error)

    @asynccontextmanager
    async def write(self, *names: str) -> AsyncIterator[Rows]:
        """One transaction, on disk on every standby that must have it, when the block is left.

        Others with a name run meanwhile, but none that shares one; beside one without names none.
        """
        journal = "_shared" if names else ""
        locks = [f"pg_advisory_xact_lock{journal}({_number('journal')})"]
        locks += [
            f"pg_advisory_xact_lock({n})" for n in sorted(_number(f"name {n}") for n in names)
        ]
        async with self._transaction(self._connections, locks) as link:
            yield _TransactionRows(link)
        self.fault = None

    async def claim(self, key: str) -> bool:
        """True: nobody alive is at work on this key, and until `release` nobody else will be."""
        if key in self._claims:
            return False
        self._claims[key] = token = secrets.token_hex(16)
        is_granted = False
        try:
            await self._live()
            is_granted = await self._patiently(lambda: self._take(key, token))
        except BaseException:
            self._over.add(token)  # it may have been granted all the same
            raise
        finally:
            if not is_granted:
                self._claims.pop(key, None)
        return is_granted

    async def release(self, key: str) -> None:
        """Let go of a key; one that was refused or never asked for changes nothing."""
        token = self._claims.pop(key, None)
        if token is None:
            return
        self._over.add(token)
        with suppress(JournalError):  # what can't be told now is told with a later beat
            await self._patiently(self._delete_over)

    async def owns(self, rows: Rows, key: str) -> bool:
        """Whether the claim still stands, and will until this transaction has ended."""
        found = await rows.all("select token from claim where key = ? for update", key)
        stands = key in self._claims and found == [(self._claims[key],)]
        return stands and self._clock.elapsed() < self._alive_until

    async def take_turn(self, name: str, apart_s: float) -> bool:
        """False: another server has done this less than so many seconds ago, so it can be left out.

        No promise: where the database can't tell, it is True.
        """
        try:
            return bool(await self._run(self._connections, _TURN, (name, apart_s)))
        except FAULTS as error:
            with suppress(JournalError):
                self._raise_as_fault(error)
            return True

    async def check(self) -> None:
        """Write something that changes nothing; `fault` then says whether that went well."""
        with suppress(JournalError):
            await self._patiently(self._beat)

    async def close(self) -> None:
        """Give up every key, so that others need not wait for the lease to end; disconnect."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
            self._beating = None
        if self._alive_until > float("-inf"):
            with suppress(*FAULTS, JournalError):
                async with asyncio.timeout(_FAREWELL_S):
                    for table in ("claim", "member"):
                        await self._run(
                            self._heart,
                            f"delete from {table} where owner = %s",  # noqa: S608 - names of ours
                            (self._owner,),
                        )
        self._alive_until = float("-inf")
        self._claims.clear()
        self._over.clear()
        await self._heart.close()
        await self._connections.close()

    async def _welcome(self, link: Link) -> None:
        """Look whether a new connection leads to a layout that this code knows."""
        await require_layout(link)
        self._is_back()

    async def _take(self, key: str, token: str) -> bool:
        # In a transaction that begins with a lock, so that its statement sees who has committed
        # meanwhile: a single one could see a claim of a server that it does not see alive.
        lock = f"pg_advisory_xact_lock({_number(f'claim {key}')})"
        async with self._transaction(self._connections, [lock]) as link:
            found = await link.run(_CLAIM, (key, self._owner, token))
        return bool(found)

    async def _live(self) -> None:
        """Be known to be alive, and stay it."""
        if self._clock.elapsed() >= self._alive_until:
            await self._patiently(self._beat)
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._keep_beating())

    async def _keep_beating(self) -> None:
        await self._tell(self._forget_the_dead)
        while True:
            await self._clock.sleep(self._lease_s / _BEATS)
            await self._tell(self._beat)
            await self._tell(self._delete_over)

    async def _tell(self, what: Callable[[], Awaitable[None]]) -> None:
        """Do it, or leave it for the next beat."""
        try:
            await what()
        except JournalError as error:  # the layout has changed
            self.fault, self._is_away = error, True
            await self._drop_idle()
        except FAULTS as error:
            await self._drop_idle()
            with suppress(JournalError):
                self._raise_as_fault(error)

    async def _beat(self) -> None:
        began = self._clock.elapsed()  # before the database's clock is read
        ((version, readable_since),) = await self._run(self._heart, LAYOUT)
        require_known(version, readable_since)
        await self._run(self._heart, _BEAT, (self._owner, self._lease_s))
        self._alive_until = began + self._lease_s
        self.fault = None

    async def _delete_over(self) -> None:
        """Delete the claims of this server that are over, even those it lost sight of."""
        over = list(self._over)
        await self._run(
            self._heart,
            _DELETE_OVER,
            (self._owner, over, list(self._claims.values()), self._lease_s),
        )
        self._over.difference_update(over)

    async def _forget_the_dead(self) -> None:
        """Delete what servers have left that ended without a word."""
        for statement in _FORGET:
            await self._run(self._heart, statement, (_FORGOTTEN_S,))

    async def _read(self, sql: str, values: tuple[object, ...]) -> list[Any]:
        found = await self._patiently(lambda: self._run(self._connections, sql, values))
        self._is_back()
        return found

    def _is_back(self) -> None:
        """Forget a fault of the connection; one of what is written stays until something is."""
        if self._is_away:
            self.fault, self._is_away = None, False

    async def _run(
        self, connections: Connections, sql: str, values: tuple[object, ...] | None = None
    ) -> list[Any]:
        """One statement, committed by itself."""
        link = await connections.take()
        try:
            return await link.run(sql, values)
        finally:
            connections.put_back(link)

    @asynccontextmanager
    async def _transaction(self, connections: Connections, locks: list[str]) -> AsyncIterator[Link]:
        """A transaction that has these locks.

        The database ends one whose process stands still or is cut off: it would keep its locks.
        """
        begin = (
            "begin isolation level read committed",
            f"set local lock_timeout = '{LOCK_S}s'",
            f"set local idle_in_transaction_session_timeout = '{IDLE_S}s'",
            *(f"select {lock}" for lock in locks),
        )

        async def begun() -> Link:
            link = await connections.take()
            try:
                await link.begin(*begin)
            except BaseException as error:
                self._put_back(connections, link, error)
                raise
            return link

        link = await self._patiently(begun)
        failure: BaseException | None = None
        try:
            yield link
            await link.commit()
        except BaseException as error:
            failure = error
            if isinstance(error, FAULTS):
                if may_pass(error):
                    await self._drop_idle()
                self._raise_as_fault(error, is_cut=True)
            raise
        finally:
            self._put_back(connections, link, failure)

    def _put_back(
        self, connections: Connections, link: Link, failure: BaseException | None
    ) -> None:
        link.is_spoilt = failure is not None and may_pass(failure)
        connections.put_back(link)

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until the database is there, or for `busy_s`; once if it is known not to be."""
        deadline = self._clock.elapsed() + (self._busy_s if self.fault is None else 0.0)
        while True:
            reused = self._connections.reused + self._heart.reused
            try:
                return await attempt()
            except FAULTS as error:
                if may_pass(error):
                    await self._drop_idle()
                    if reused != self._connections.reused + self._heart.reused:
                        continue  # it was made before; a new one may do better
                if not may_pass(error) or self._clock.elapsed() >= deadline:
                    self._raise_as_fault(error)
            except JournalCutError:  # in a transaction that can be made again
                if self._clock.elapsed() >= deadline:
                    raise
            except JournalError as error:  # the address or the layout is none that can be used
                self.fault, self._is_away = error, True
                raise
            await self._clock.sleep(_PAUSE_S)

    async def _drop_idle(self) -> None:
        """Close the connections that nobody uses: what broke one may have broken them, too."""
        for each in (self._connections, self._heart):
            await each.drop_idle()

    def _raise_as_fault(self, error: BaseException, *, is_cut: bool = False) -> NoReturn:
        """Raise what the database, the network or a damaged row say as `fault`; a bug as it is.

        Args:
            is_cut: it came in a transaction, of which nobody may know whether it was committed.
        """
        if is_ours(error):
            raise error
        fault = explain(error)
        if is_of_values(error):
            raise fault from error
        if is_cut and isinstance(fault, JournalBusyError):
            fault = JournalCutError(message=fault.message, hint=fault.hint)
        if self.fault is None:
            log.warning("%s", fault)
        away = isinstance(fault, JournalBusyError) or getattr(error, "sqlstate", None) is None
        self.fault, self._is_away = fault, away
        raise fault from error


class _ReadRows:
    def __init__(self, run: Callable[[str, tuple[object, ...]], Awaitable[list[Any]]]) -> None:
        self._run = run

    async def all(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return await self._run(_in_their_words(sql), values)


class _TransactionRows:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def all(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return await self._link.run(_in_their_words(sql), values)


@lru_cache(maxsize=256)
def _in_their_words(sql: str) -> str:
    """A statement with `?` for values as psycopg takes it; what is in quotes stays as it is."""

    def spelt(found: re.Match[str]) -> str:
        return "%s" if found[0] == "?" else found[0].replace("%", "%%")

    return re.sub(r"'[^']*'|[?%]", spelt, sql)


def _number(name: str) -> int:
    """The advisory lock of a name; another program that shares the database has others."""
    digest = hashlib.sha256(f"useapi-mcp {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
