"""PostgresStore: what is particular to a database that may be away, and to claims with a lease.

Time is real here, for the database has its own.
"""

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest

from mcp_server.clock import Clock
from mcp_server.errors import JournalBusyError, JournalCutError, JournalError
from mcp_server.journal.journal import Journal
from mcp_server.journal.postgres import PostgresStore
from mcp_server.journal.postgres_layout import MIGRATIONS, Migration, migrate
from mcp_server.journal.records import Quote, Submission
from tests.journal.rows import REPEATABLE, StoppedClock, accepted, job, listed, new, sent
from tests.support.limits import LONGEST_S
from tests.support.postgres import (
    Server,
    Wire,
    free_port,
    needs_postgres,
    schema_of,
    server,
    shared,
)

pytestmark = needs_postgres

SECRET = "canary-password"


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def dsn(tmp_path: Path) -> str:
    """A journal of its own in a server that others use, too."""
    return schema_of(tmp_path)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server that nobody else uses, with a database `journal`."""
    with server(fsync="off") as running:
        running.create("journal")
        yield running


@asynccontextmanager
async def opened(dsn: str, *, busy_s: float = 1.0, lease_s: float = 15.0) -> AsyncIterator[Journal]:
    clock = StoppedClock()
    journal = Journal(PostgresStore(dsn, clock, busy_s=busy_s, lease_s=lease_s), clock.now)
    try:
        yield journal
    finally:
        await journal.close()


def run(dsn: str, *statements: str) -> list[tuple[Any, ...]]:
    """Do something in a journal's schema behind its back."""
    schema = dsn.rpartition("%3D")[2]
    return shared().run(f"set search_path = {schema}", *statements)


async def in_the_end(is_so: Callable[[], object]) -> None:
    """Wait until something is so that nobody tells of."""
    async with asyncio.timeout(LONGEST_S):
        while not is_so():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)


async def insert_in_the_end(journal: Journal, key: str) -> Submission:
    async with asyncio.timeout(LONGEST_S):
        while True:
            try:
                return await journal.insert(new(key))
            except JournalError:
                await asyncio.sleep(0.1)


def keeps_the_secret(error: JournalError) -> bool:
    """Whether neither what is told nor what may be logged of an error has the password."""
    return SECRET not in "".join(traceback.format_exception(error))


async def test_a_database_that_is_down_is_told_and_used_when_it_comes(
    runner: asyncio.Runner, own: Server
) -> None:
    own.stop()
    async with opened(own.dsn("journal"), busy_s=0) as journal:
        await journal.check()
        with pytest.raises(JournalBusyError) as refused:
            await journal.insert(new())
        unread = await listed(journal)
        fault = journal.fault
        own.start()
        row = await journal.insert(new())

        assert "can't be used now" in refused.value.message
        assert "USEAPI_DATABASE_URL" in refused.value.hint
        assert keeps_the_secret(refused.value)
        assert isinstance(fault, JournalBusyError)
        assert [] == unread
        assert [row] == await listed(journal)
        assert journal.fault is None


async def test_a_database_that_goes_and_comes_back_has_lost_nothing(
    runner: asyncio.Runner, own: Server
) -> None:
    async with opened(own.dsn("journal"), busy_s=0, lease_s=4.0) as journal:
        row = await sent(journal)
        own.stop("immediate")
        with pytest.raises(JournalBusyError):
            await journal.accept(row.id, "job-1", job())
        await journal.release("key")  # which can't be told now
        own.start()

        assert row == await journal.get(row.id)
        assert "accepted" == (await journal.accept(row.id, "job-1", job())).state
        async with opened(own.dsn("journal")) as other:
            async with asyncio.timeout(LONGEST_S):
                while not await other.claim("key"):  # noqa: ASYNC110 - told with a later beat
                    await asyncio.sleep(0.1)


async def test_a_restart_of_the_database_is_waited_for(runner: asyncio.Runner, own: Server) -> None:
    async with opened(own.dsn("journal"), busy_s=LONGEST_S) as journal:
        row = await sent(journal)
        own.stop()
        writing = asyncio.create_task(journal.insert(new("another")))
        reading = asyncio.create_task(journal.get(row.id))
        claiming = asyncio.create_task(journal.claim("another"))
        await asyncio.to_thread(own.start)

        assert "submitting" == (await writing).state
        assert row == await reading
        assert await claiming
        assert journal.fault is None


async def test_connections_that_were_cut_are_replaced(runner: asyncio.Runner, own: Server) -> None:
    async with opened(own.dsn("journal")) as journal:
        row = await sent(journal)
        own.run(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'useapi-mcp'"
        )

        assert row == await journal.get(row.id)
        assert "accepted" == (await journal.accept(row.id, "job-1", job())).state
        assert not await journal.claim("key")


async def test_a_database_that_takes_no_writes_can_be_read(
    runner: asyncio.Runner, own: Server
) -> None:
    async with opened(own.dsn("journal")) as journal:
        row = await accepted(journal)
    own.run("alter database journal set default_transaction_read_only = on")
    async with opened(own.dsn("journal"), busy_s=0) as journal:
        with pytest.raises(JournalError, match="can be read but not written") as refused:
            await journal.accept(row.id, "job-1", job("completed"))
        seen = await journal.get("job-1")
        fault = journal.fault
        own.run("alter database journal reset default_transaction_read_only")
        await journal.accept(row.id, "job-1", job("completed"))

        assert not isinstance(refused.value, JournalBusyError)
        assert "Name all hosts" in refused.value.hint
        assert row == seen
        assert fault is not None
        assert journal.fault is None


async def test_a_database_without_room_is_told_and_used_when_it_has_some(
    runner: asyncio.Runner, dsn: str
) -> None:
    run(
        dsn,
        "create function refuse() returns trigger language plpgsql as"
        " $$ begin raise disk_full using message = 'could not extend file'; end $$",
        "create trigger full_disk before insert or update on submission"
        " for each row execute function refuse()",
    )
    async with opened(dsn) as journal:
        with pytest.raises(
            JournalError, match=r"no room left \(could not extend file\)"
        ) as refused:
            await journal.insert(new())
        fault = journal.fault
        run(dsn, "drop trigger full_disk on submission")
        await journal.insert(new())

        assert "Free some disk space" in refused.value.hint
        assert fault is refused.value
        assert journal.fault is None


async def test_a_database_without_a_free_connection_is_told_and_used_when_it_has_one(
    runner: asyncio.Runner, own: Server
) -> None:
    own.run(
        "create role few login connection limit 1",
        "grant all on all tables in schema public to few",
        database="journal",
    )
    dsn = own.dsn("journal", user="few")
    async with opened(dsn, busy_s=0) as first:
        await first.insert(new())
        async with opened(dsn, busy_s=0) as second:
            with pytest.raises(JournalBusyError, match="too many connections") as refused:
                await second.insert(new("another"))
            await first.close()

            assert "submitting" == (await insert_in_the_end(second, "another")).state
            assert "few seconds" in refused.value.hint


async def test_a_user_without_rights_is_told(runner: asyncio.Runner, own: Server) -> None:
    own.run(
        "create role reader login",
        "grant select on layout, submission to reader",
        database="journal",
    )
    async with opened(own.dsn("journal", user="reader")) as journal:
        with pytest.raises(JournalError, match="may not do what the journal needs") as refused:
            await journal.insert(new())

        assert not isinstance(refused.value, JournalBusyError)
        assert "Give it select, insert, update and delete" in refused.value.hint
        with pytest.raises(JournalError, match="may not do what the journal needs"):
            await migrate(own.dsn("postgres", user="reader"))


@pytest.mark.parametrize(
    ("database", "user"), [("postgres", "nobody_of_this_name"), ("none_of_this_name", "useapi")]
)
async def test_an_address_that_is_refused_is_told_at_once(
    runner: asyncio.Runner, database: str, user: str
) -> None:
    async with opened(shared().dsn(database, user=user), busy_s=LONGEST_S) as journal:
        with pytest.raises(JournalError, match="does not exist") as refused:
            await journal.insert(new())
        with pytest.raises(JournalError, match="refuses the connection"):
            await migrate(shared().dsn(database, user=user))

        assert not isinstance(refused.value, JournalBusyError)
        assert keeps_the_secret(refused.value)


@pytest.mark.parametrize("rest", ["/x?nonsense=1", ":port/x", "/%zz"])
async def test_an_address_that_is_none_is_told_without_its_password(
    runner: asyncio.Runner, rest: str
) -> None:
    async with opened(f"postgresql://me:{SECRET}@localhost{rest}") as journal:
        with pytest.raises(JournalError, match="USEAPI_DATABASE_URL") as refused:
            await journal.insert(new())

        assert keeps_the_secret(refused.value)
        assert journal.fault is refused.value


async def test_a_row_that_is_damaged_is_told(runner: asyncio.Runner, dsn: str) -> None:
    async with opened(dsn) as journal:
        row = await accepted(journal)
        run(dsn, "update submission set job = 'no JSON'")

        with pytest.raises(JournalError, match="holds or was given"):
            await journal.accept(row.id, "job-1", job("completed"))
        assert await journal.get(row.id) is None
        assert journal.fault is not None


async def test_without_the_index_that_keeps_money_safe_nothing_is_written(
    runner: asyncio.Runner, dsn: str
) -> None:
    run(dsn, "drop index one_live_row")
    async with opened(dsn) as journal:
        with pytest.raises(JournalError, match="is damaged"):
            await journal.insert(new())

        assert [] == await listed(journal)


async def test_what_is_in_quotes_is_no_placeholder(runner: asyncio.Runner, dsn: str) -> None:
    store = PostgresStore(dsn, Clock())
    async with store.read() as rows:
        read = await rows.all("select '100%? it''s', 7 % 4, ?::text", "50%?")
    async with store.write() as rows:
        written = await rows.all("select '%s?', ?::text", None)
    await store.close()

    assert [("100%? it's", 3, "50%?")] == read
    assert [("%s?", None)] == written


async def test_of_several_hosts_the_one_that_takes_writes_is_used(
    runner: asyncio.Runner, tmp_path: Path
) -> None:
    port, other = free_port(), free_port()
    with server(port, fsync="off") as primary:
        primary.create("journal")
        with primary.standby(other):
            hosts = f"127.0.0.1:{other},127.0.0.1:{port}"
            async with opened(f"postgresql://useapi@{hosts}/journal") as journal:
                assert "submitting" == (await journal.insert(new())).state


async def test_a_server_that_does_nothing_notices_that_its_database_goes_and_comes(
    runner: asyncio.Runner, own: Server
) -> None:
    async with opened(own.dsn("journal"), lease_s=0.4) as journal:
        assert await journal.claim("key")
        own.stop()
        await in_the_end(lambda: journal.fault is not None)
        with pytest.raises(JournalBusyError):
            await journal.claim("another")
        own.start()
        await in_the_end(lambda: journal.fault is None)

        assert await journal.claim("another")
        assert not await journal.claim("key")


async def test_a_mistake_in_a_statement_is_none_of_the_databases(
    runner: asyncio.Runner, dsn: str
) -> None:
    store = PostgresStore(dsn, Clock())
    with pytest.raises(psycopg.errors.SyntaxError):
        async with store.write("key") as rows:
            await rows.all("selec 1")
    fault = store.fault
    await store.close()

    assert fault is None


# Transactions that do not end well


async def test_a_transaction_that_failed_in_the_middle_is_never_taken_for_written(
    runner: asyncio.Runner, dsn: str
) -> None:
    store = PostgresStore(dsn, Clock())

    async def goes_on() -> None:
        async with store.write("key") as rows:
            with suppress(psycopg.DataError):
                await rows.all("select 1 / 0")

    with pytest.raises(JournalError, match="was undone"):
        await goes_on()
    await store.close()


async def test_an_answer_that_never_comes_is_looked_for_on_another_connection(
    runner: asyncio.Runner, dsn: str
) -> None:
    wire = Wire(shared())
    schema = dsn.rpartition("%3D")[2]
    async with wire.listening() as by_way:
        url = by_way.dsn(schema=schema)
        store = PostgresStore(url, Clock(), answer_s=3.0, most=2)
        journal = Journal(store, StoppedClock().now)
        row = await journal.insert(new())
        await journal.claim("key")
        wire.cuts = ["late"]
        counted = await journal.count_post(row, expected=0)
        wire.cuts = ["late"]
        with pytest.raises(JournalBusyError, match="all connections are in use"):
            await journal.count_post(row, expected=1)
        wire.go_on.set()
        known = await insert_in_the_end(journal, "another")
        await store.close()

    assert 1 == counted.posts
    assert "submitting" == known.state


async def test_a_statement_whose_caller_leaves_is_undone_when_it_has_ended(
    runner: asyncio.Runner, dsn: str
) -> None:
    store = PostgresStore(dsn, Clock())
    journal = Journal(store, StoppedClock().now)
    row = await journal.insert(new())
    waits = asyncio.Event()

    async def leaves() -> None:
        async with store.write("key") as rows:
            await rows.all("update submission set posts = 7 where id = ?", row.id)
            waits.set()
            await rows.all("select pg_sleep(1)")

    writing = asyncio.create_task(leaves())
    await waits.wait()
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.wait({writing})
    assert await journal.claim("key")
    counted = await journal.count_post(row, expected=0)  # which waits for the key's lock
    open_ones = "select 1 from pg_stat_activity where state like 'idle in transaction%'"
    left = shared().run(f"{open_ones} and application_name = 'useapi-mcp'")
    await store.close()

    assert writing.cancelled()
    assert 1 == counted.posts
    assert [] == left


async def test_a_process_that_stands_still_in_a_transaction_keeps_nobody_out_for_long(
    runner: asyncio.Runner, dsn: str
) -> None:
    stuck = PostgresStore(dsn, Clock())
    ends = asyncio.Event()

    async def stands_still() -> None:
        async with stuck.write("key") as rows:
            await rows.all("select 1")
            await ends.wait()
            await rows.all("select 1")

    async with opened(dsn) as journal:
        writing = asyncio.create_task(stands_still())
        await in_the_end(
            lambda: shared().run(
                "select 1 from pg_stat_activity where state = 'idle in transaction'"
            )
        )
        row = await sent(journal)
        ends.set()

        assert 1 == row.posts
        with pytest.raises(JournalCutError):
            await writing
    await stuck.close()


@asynccontextmanager
async def by_wire(dsn: str) -> AsyncIterator[tuple[Journal, Wire]]:
    """A journal whose connections can be cut at a COMMIT."""
    wire = Wire(shared())
    schema = dsn.rpartition("%3D")[2]
    async with wire.listening() as by_way, opened(by_way.dsn(schema=schema)) as journal:
        yield journal, wire


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_a_post_whose_count_was_cut_is_counted_once(
    runner: asyncio.Runner, dsn: str, lost: Literal["request", "answer"]
) -> None:
    async with by_wire(dsn) as (journal, wire):
        row = await journal.insert(new())
        await journal.claim("key")
        wire.cuts = [lost]
        first = await journal.count_post(row, expected=0)
        wire.cuts = [lost]
        second = await journal.count_post(row, expected=1)

        assert [] == wire.cuts
        assert (1, 2) == (first.posts, second.posts)
        assert second == await journal.get(row.id)
        assert first.first_sent_at == second.first_sent_at
        with pytest.raises(JournalError, match="was sent by another process"):
            await journal.count_post(row, expected=1)


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_a_post_whose_count_stays_unknown_must_not_be_sent(
    runner: asyncio.Runner, dsn: str, lost: Literal["request", "answer"]
) -> None:
    async with by_wire(dsn) as (journal, wire):
        row = await journal.insert(new())
        await journal.claim("key")
        wire.cuts = [lost] * 20
        with pytest.raises(JournalCutError):
            await journal.count_post(row, expected=0)

        wire.cuts = []
        known = await journal.get(row.id)
        assert known is not None
        assert known.posts == (lost == "answer")


async def test_a_post_whose_count_was_cut_and_whose_key_was_taken_over_must_not_be_sent(
    runner: asyncio.Runner, dsn: str
) -> None:
    async with by_wire(dsn) as (journal, wire), opened(dsn) as other:
        row = await journal.insert(new())
        await journal.claim("key")
        wire.cuts = ["late answer"]
        counting = asyncio.create_task(journal.count_post(row, expected=0))
        await wire.committing.wait()
        run(dsn, "update member set alive_until = 0")
        assert await other.claim("key")
        wire.go_on.set()

        with pytest.raises(JournalError, match="was taken over by another process"):
            await counting
        known = await other.get(row.id)
        assert known is not None
        assert 1 == known.posts


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("step", REPEATABLE)
async def test_a_step_that_was_cut_is_taken_all_the_same(
    runner: asyncio.Runner, dsn: str, step: str, lost: Literal["request", "answer"]
) -> None:
    async with by_wire(dsn) as (journal, wire):
        row = await sent(journal)
        await journal.begin_quote("key")
        wire.cuts = [lost]

        await REPEATABLE[step](journal, row)

        after = await journal.get(row.id)
        assert after is not None
        assert [] == wire.cuts
        assert {
            "accept": ("accepted", "job-1") == (after.state, after.job_id),
            "record": after.job == job("completed"),
            "evidence": after.evidence == {"named": "job-2"},
            "unconfirmed": ("unconfirmed", "looked") == (after.state, after.note),
            "close": ("failed", "refused") == (after.state, after.note),
            "saved": await journal.saved_files(row.id) == [{"position": 0, "path": "/a.mp4"}],
            "quote": (await journal.find_quote("key") or Quote(0, None, None)).price == 30,
            "asked": await journal.users_asking([row]) == {"alice"},
            "left": await journal.users_asking([row]) == set(),
        }[step]


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_a_row_whose_insert_was_cut_can_be_made_again_by_the_next_call(
    runner: asyncio.Runner, dsn: str, lost: Literal["request", "answer"]
) -> None:
    async with by_wire(dsn) as (journal, wire):
        await journal.insert(new("another"))
        wire.cuts = [lost]
        with pytest.raises(JournalCutError, match="can't be used now"):
            await journal.insert(new())

        left = await journal.find_live("key")
        assert (left is not None) == (lost == "answer")
        if left is not None:
            assert 0 == left.posts
            await journal.close_row(left, "failed", "never sent")
        assert "submitting" == (await journal.insert(new())).state


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_a_claim_that_was_cut_is_granted_all_the_same(
    runner: asyncio.Runner, dsn: str, lost: Literal["request", "answer"]
) -> None:
    async with by_wire(dsn) as (journal, wire), opened(dsn) as other:
        wire.cuts = [lost]
        assert await journal.claim("key")
        assert not await other.claim("key")
        await journal.release("key")
        assert await other.claim("key")


async def test_a_count_whose_caller_leaves_during_the_commit_leaves_nothing_open(
    runner: asyncio.Runner, dsn: str
) -> None:
    async with by_wire(dsn) as (journal, wire):
        row = await journal.insert(new())
        await journal.claim("key")
        wire.cuts = ["late"]
        counting = asyncio.create_task(journal.count_post(row, expected=0))
        await wire.committing.wait()
        counting.cancel()
        await asyncio.wait({counting})
        wire.go_on.set()

        assert counting.cancelled()
        after = await journal.get(row.id)
        assert after is not None
        assert 1 == after.posts
        assert 2 == (await journal.count_post(row, expected=1)).posts


# Who is at work on a key


async def test_an_owner_that_was_taken_over_can_send_nothing(
    runner: asyncio.Runner, dsn: str
) -> None:
    async with opened(dsn) as stalled, opened(dsn) as other:
        row = await stalled.insert(new())
        assert await stalled.claim("key")
        assert not await other.claim("key")
        run(dsn, "update member set alive_until = 0")
        assert await other.claim("key")
        run(dsn, "update member set alive_until = 1e12")  # it lives after all

        with pytest.raises(JournalError, match="was taken over by another process"):
            await stalled.count_post(row, expected=0)
        assert 1 == (await other.count_post(row, expected=0)).posts
        await stalled.release("key")
        assert 2 == (await other.count_post(row, expected=1)).posts


async def test_an_owner_that_can_not_say_that_it_lives_sends_nothing_until_it_can(
    runner: asyncio.Runner, dsn: str
) -> None:
    async with opened(dsn, lease_s=0.4) as journal:
        row = await journal.insert(new())
        assert await journal.claim("key")
        with psycopg.connect(dsn) as other:
            other.execute("lock table member in share mode")  # it can be read, as claims do
            refused = await refusal_in_the_end(journal, row)
        async with asyncio.timeout(LONGEST_S):
            while await refusal_in_the_end(journal, row, tries=1):  # noqa: ASYNC110 - a beat ends it
                await asyncio.sleep(0.1)

    assert "was taken over by another process" in str(refused)


async def refusal_in_the_end(
    journal: Journal, row: Submission, tries: int = 100_000
) -> JournalError | None:
    """Why a POST is not counted, after so many that are."""
    for _ in range(tries):
        row = await journal.latest(row)
        try:
            await journal.count_post(row, expected=row.posts)
        except JournalError as error:
            return error
    return None


async def test_what_one_server_does_for_all_is_done_by_the_first_and_by_all_who_can_not_ask(
    runner: asyncio.Runner, own: Server
) -> None:
    one, other = (PostgresStore(own.dsn("journal"), Clock(), busy_s=0.2) for _ in range(2))

    taken = [await each.take_turn("read it", 3_600.0) for each in (one, other, one)]
    at_once = await other.take_turn("read it", 0.0)
    something_else = await other.take_turn("read another", 3_600.0)
    own.stop()
    alone = await other.take_turn("read it", 3_600.0)
    own.start()
    await one.close()
    await other.close()

    assert [True, False, False] == taken
    assert [True, True, True] == [at_once, something_else, alone]


async def test_what_a_server_left_that_ended_without_a_word_is_forgotten_after_a_day(
    runner: asyncio.Runner, dsn: str
) -> None:
    run(
        dsn,
        "insert into member select 'of yesterday', extract(epoch from now()) - 90000",
        "insert into claim values('a', 'of yesterday', 't1', 0), ('b', 'unknown', 't2', 0)",
        "insert into member select 'of today', extract(epoch from now()) - 60",
        "insert into claim values('c', 'of today', 't3', 0)",
    )
    async with opened(dsn) as journal:
        assert await journal.claim("key")

        await in_the_end(lambda: 2 == len(run(dsn, "select owner from member")))
        assert [("c",), ("key",)] == run(dsn, "select key from claim order by key")


async def test_a_claim_that_its_server_lost_sight_of_is_given_up(
    runner: asyncio.Runner, dsn: str
) -> None:
    async with opened(dsn, lease_s=1.0) as journal, opened(dsn) as other:
        assert await journal.claim("key")
        run(
            dsn,
            "insert into claim select 'lost', owner, 'some token', 0 from member",
        )
        await in_the_end(lambda: [] == run(dsn, "select 1 from claim where key = 'lost'"))
        assert not await other.claim("key")


async def test_a_server_that_closes_leaves_nothing_behind(runner: asyncio.Runner, dsn: str) -> None:
    async with opened(dsn) as journal:
        assert await journal.claim("key")
        await journal.close()

        assert [] == run(dsn, "select owner from member union select owner from claim")
        assert await journal.claim("key")


async def test_as_many_as_like_use_the_journal_at_once(runner: asyncio.Runner, dsn: str) -> None:
    async def one(journal: Journal, number: int) -> str:
        row = await sent(journal, f"key-{number}")
        await journal.accept(row.id, f"job-{number}", job())
        await journal.release(row.key)
        return row.id

    async with opened(dsn) as first, opened(dsn) as second:
        ids = await asyncio.gather(*(one((first, second)[n % 2], n) for n in range(40)))
        rows = await listed(first)

    assert set(ids) == {row.id for row in rows}
    assert {("accepted", 1)} == {(row.state, row.posts) for row in rows}


# The layout


@pytest.fixture
def empty(tmp_path: Path) -> str:
    """The address of a schema without tables."""
    schema = f"empty_{abs(hash(str(tmp_path)))}"
    shared().run(f"create schema {schema}")
    return shared().dsn(schema=schema)


async def test_an_empty_database_must_be_made_ready_first(
    runner: asyncio.Runner, empty: str
) -> None:
    async with opened(empty) as journal:
        with pytest.raises(JournalError, match="has no tables yet") as refused:
            await journal.insert(new())
        assert (None, len(MIGRATIONS)) == await migrate(empty)

        assert "useapi-mcp migrate" in refused.value.hint
        assert "submitting" == (await journal.insert(new())).state


async def test_several_that_migrate_at_once_do_it_once(runner: asyncio.Runner, empty: str) -> None:
    newest = len(MIGRATIONS)
    done = await asyncio.gather(*(migrate(empty) for _ in range(4)))

    assert sorted([(0, newest), *[(newest, newest)] * 3]) == sorted(
        (old or 0, n) for old, n in done
    )


async def test_a_database_of_something_else_is_left_alone(
    runner: asyncio.Runner, empty: str
) -> None:
    run(empty, "create table quote(mine text)")
    with pytest.raises(JournalError, match="holds tables of something else"):
        await migrate(empty)

    schema = empty.rpartition("%3D")[2]
    tables = f"select relname from pg_class where relnamespace = '{schema}'::regnamespace"
    assert [("quote",)] == shared().run(tables)


async def test_a_server_goes_on_while_a_newer_version_adds_to_the_layout(
    runner: asyncio.Runner, dsn: str
) -> None:
    adds = Migration(("alter table submission add column more text",), readable_since=1)
    async with opened(dsn) as before:
        await before.insert(new("before"))
        newest = len(MIGRATIONS)
        assert (newest, newest + 1) == await migrate(dsn, (*MIGRATIONS, adds))
        await sent(before, "meanwhile")
        async with opened(dsn) as after:
            await sent(after, "after")

    assert [(3,)] == run(dsn, "select count(*) from submission")
    assert (newest + 1, newest + 1) == await migrate(dsn)


async def test_a_database_without_users_is_the_operators_and_its_servers_go_on(
    runner: asyncio.Runner, empty: str
) -> None:
    def insert(key: str) -> None:
        """What a server of layout 1 writes."""
        run(
            empty,
            "insert into submission(id, key, state, status, service, operation, source_id,"
            " arguments, price, credits, posts, created_at, updated_at) values("
            f"'{key}', '{key}', 'accepted', 'running', 'dreamina', 'upscale_video', 'source',"
            " '{}', 30, 30, 1, 0, 0)",
        )

    await migrate(empty, MIGRATIONS[:1])
    insert("before")
    assert (1, len(MIGRATIONS)) == await migrate(empty)
    insert("meanwhile")

    async with opened(empty) as journal:
        rows = await listed(journal)
        assert ["meanwhile", "before"] == [row.id for row in rows]
        assert ["", ""] == [row.payer for row in rows]
        assert set() == await journal.users_asking(rows)
    assert [(1,)] == run(empty, "select readable_since from layout")


async def test_a_server_stops_writing_when_a_newer_version_changes_the_layout(
    runner: asyncio.Runner, dsn: str
) -> None:
    newer = len(MIGRATIONS) + 1
    rename = "alter table submission rename column note to notes"
    changes = Migration((rename,), readable_since=newer)
    async with opened(dsn, lease_s=1.0) as before:
        row = await sent(before)
        await migrate(dsn, (*MIGRATIONS, changes))
        await in_the_end(lambda: before.fault is not None)
        async with opened(dsn) as after:
            for journal in (before, after):
                with pytest.raises(
                    JournalError, match=f"has layout {newer}, of a newer"
                ) as refused:
                    await journal.accept(row.id, "job-1", job())
                assert "Upgrade useapi-mcp." == refused.value.hint
