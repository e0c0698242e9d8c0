"""SqliteStore: what is particular to SQLite: its file, what can be wrong with it, and its locks."""

# ruff: noqa: ASYNC240 - nothing else waits while a test makes its files

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mcp_server.clock import Clock
from mcp_server.errors import BudgetError, JournalBusyError, JournalError
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import LIVE
from mcp_server.journal.sqlite import MIGRATIONS, SqliteStore, migrate
from tests.journal.programs import REPOSITORY, go, line, process
from tests.journal.rows import NOON, ORIGIN, StoppedClock, accepted, job, listed, new, sent

LAYOUT_VERSION = 7

needs_modes = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no mode bits")


def tamper(folder: Path, *statements: str) -> None:
    """Change the database behind the journal's back."""
    with closing(sqlite3.connect(folder / "journal.sqlite")) as database, database:
        for statement in statements:
            database.execute(statement)


@asynccontextmanager
async def opened(folder: Path, clock: Clock, *, busy_s: float = 10.0) -> AsyncIterator[Journal]:
    journal = Journal(SqliteStore(folder, clock, busy_s=busy_s), clock.now)
    try:
        yield journal
    finally:
        await journal.close()


@contextmanager
def locked(folder: Path, *statements: str) -> Iterator[sqlite3.Connection]:
    """Another connection, in a transaction that keeps out every other that writes."""
    path = folder / "journal.sqlite"
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
        for statement in statements or ("begin immediate",):
            other.execute(statement)
        yield other


def elapsed() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("first", LIVE)
@pytest.mark.parametrize("second", LIVE)
async def test_the_database_itself_refuses_a_second_live_row(
    journal: Journal, folder: Path, first: str, second: str
) -> None:
    await journal.insert(new())
    tamper(folder, f"update submission set state = '{first}'")

    with pytest.raises(sqlite3.IntegrityError):
        tamper(
            folder,
            "create temp table copy as select * from submission",
            f"update copy set number = 2, id = 'other', state = '{second}'",
            "insert into submission select * from copy",
        )


SUBMITTER = f"""
import asyncio, sys
from pathlib import Path
from mcp_server.clock import Clock
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import NewSubmission
from mcp_server.journal.sqlite import SqliteStore
async def main():
    clock = Clock()
    journal = Journal(SqliteStore(Path(sys.argv[1]), clock), clock.now)
    for key in sys.argv[2:]:
        await journal.insert(NewSubmission(key, "{ORIGIN}", "dreamina", "upscale", "s", {{}}, 30))
    await journal.close()
print("ready", flush=True)
sys.stdin.readline()
asyncio.run(main())
print("done", flush=True)
"""


@pytest.mark.parametrize("_round", range(3))
async def test_processes_that_start_at_the_same_moment_make_one_journal(
    journal: Journal, folder: Path, _round: int
) -> None:
    """SQLite refuses all but one of them the switch to WAL, without waiting [ran: 1 of 40]."""
    with ExitStack() as stack:
        children = [stack.enter_context(process(SUBMITTER, folder, f"key-{n}")) for n in range(8)]
        assert ["ready"] * 8 == [line(child) for child in children]

        for child in children:
            go(child)

        assert ["done"] * 8 == [line(child) for child in children]
    assert {f"key-{n}" for n in range(8)} == {row.key for row in await listed(journal)}


WORKER = f"""
import asyncio, sys
from pathlib import Path
from mcp_server.clock import Clock
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import NewSubmission
from mcp_server.journal.sqlite import SqliteStore
async def main():
    clock = Clock()
    journal = Journal(SqliteStore(Path(sys.argv[1]), clock), clock.now)
    for n in range(100_000):
        key = f"key-{{n}}"
        assert await journal.claim(key)
        new = NewSubmission(key, "{ORIGIN}", "dreamina", "upscale_video", "s", {{}}, 30)
        row = await journal.insert(new)
        print("submitting", 0, row.id, flush=True)
        await journal.count_post(row, expected=0)
        print("submitting", 1, row.id, flush=True)
        await journal.accept(row.id, f"job-{{n}}", {{"status": "running"}})
        print("accepted", 1, row.id, flush=True)
        await journal.release(key)
asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 2, 3, 4, 50, 500])
async def test_a_step_that_was_taken_survives_kill_9(
    journal: Journal, folder: Path, lines: int
) -> None:
    with process(WORKER, folder) as child:
        said = [line(child) for _ in range(lines)]
        child.kill()
        assert child.stdout is not None
        said += [each for each in child.stdout.read().split("\n")[:-1] if each]

    last = {row_id: (state, int(posts)) for state, posts, row_id in map(str.split, said)}
    for row_id, (state, posts) in last.items():
        row = await journal.get(row_id)
        assert row is not None
        # It may have got one step further than it could say.
        assert (row.state, row.posts) in {(state, posts), ("submitting", 1), ("accepted", 1)}
        assert posts <= row.posts
    newest = (await listed(journal, 1))[0]
    assert await journal.claim(newest.key)
    with closing(sqlite3.connect(folder / "journal.sqlite")) as database:
        assert ("ok",) == database.execute("pragma integrity_check").fetchone()


class NoLocks:
    """Grants everything and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def try_lock(self, key: str) -> bool:
        self.asked.append(f"lock {key}")
        return True

    def holds(self, key: str) -> bool:
        self.asked.append(f"holds {key}")
        return True

    def unlock(self, key: str) -> None:
        self.asked.append(f"unlock {key}")

    def close(self) -> None:
        self.asked.append("close")


async def test_other_locks_can_be_handed_in(folder: Path, clock: StoppedClock) -> None:
    locks = NoLocks()
    journal = Journal(SqliteStore(folder, clock, locks), clock.now)

    await sent(journal)
    await journal.release("key")
    await journal.close()

    assert ["lock key", "holds key", "unlock key", "close"] == locks.asked
    assert not (folder / "journal.lock").exists()


async def test_a_journal_is_only_made_when_it_is_used(journal: Journal, folder: Path) -> None:
    made_at_first = folder.exists()

    await journal.check()

    assert not made_at_first
    assert (folder / "journal.sqlite").exists()


def test_sqlite_is_not_imported_before_a_journal_is_used() -> None:
    program = (
        "import asyncio, sys; from pathlib import Path; from mcp_server.clock import Clock;"
        " from mcp_server.journal.sqlite import SqliteStore;"
        " asyncio.run(SqliteStore(Path('nowhere'), Clock()).close());"
        " print('sqlite3' in sys.modules)"
    )

    with process(program) as child:
        assert "False" == line(child)


@needs_modes
async def test_nobody_else_can_read_the_journal(journal: Journal, folder: Path) -> None:
    was = os.umask(0)
    try:
        await sent(journal)
    finally:
        os.umask(was)

    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}
    assert {
        "state": 0o700,
        "journal.lock": 0o600,
        "journal.sqlite": 0o600,
        "journal.sqlite-shm": 0o600,
        "journal.sqlite-wal": 0o600,
    } == modes


async def test_every_commit_is_on_disk_when_it_returns(
    store: SqliteStore, journal: Journal
) -> None:
    await journal.check()

    database = store.connection()
    assert ("wal",) == database.execute("pragma journal_mode").fetchone()
    assert (2,) == database.execute("pragma synchronous").fetchone()  # FULL


async def test_what_is_stored_is_json_that_other_tools_can_read(
    journal: Journal, folder: Path
) -> None:
    row = await accepted(journal, forecast_credits=30)
    await journal.add_evidence(row.id, before=["a"])

    with closing(sqlite3.connect(folder / "journal.sqlite")) as database:
        stored = database.execute("select arguments, job, evidence from submission").fetchone()

    assert [{"resolution": "4K"}, job(forecast_credits=30), {"before": ["a"]}] == [
        json.loads(each) for each in stored
    ]


def test_migrations_are_applied_in_order_from_where_a_database_is() -> None:
    first = ("create table a(x)", "insert into a values(1)")
    second = ("alter table a add column y default 2",)
    third = ("update a set y = y + 1", "create table b(z)")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        migrate(database, (first,))

        migrate(database, (first, second, third))
        migrate(database, (first, second, third))

        assert [(1, 3)] == database.execute("select x, y from a").fetchall()
        assert (3,) == database.execute("pragma user_version").fetchone()


def test_migrations_that_fail_leave_the_database_as_it_was() -> None:
    first, wrong = ("create table a(x)",), ("create table b(y)", "create table a(x)")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        migrate(database, (first,))

        with pytest.raises(sqlite3.OperationalError):
            migrate(database, (first, wrong))

        assert [("a",)] == database.execute("select name from sqlite_master").fetchall()
        assert (1,) == database.execute("pragma user_version").fetchone()
        assert not database.in_transaction


async def test_the_layout_has_the_version_this_test_knows(journal: Journal, folder: Path) -> None:
    """A changed layout needs a new migration: those that were released are never edited."""
    await journal.check()

    with closing(sqlite3.connect(folder / "journal.sqlite")) as database:
        assert (LAYOUT_VERSION,) == database.execute("pragma user_version").fetchone()
    assert LAYOUT_VERSION == len(MIGRATIONS)


FIRST_VERSION = (
    f"""insert into submission(
            id, key, state, status, service, operation, source_id, arguments, price, credits,
            posts, sent_at, first_sent_at, job_id, job, note, created_at, updated_at)
        values(
            'useapi-mcp:a', 'a', 'accepted', 'running', 'dreamina', 'upscale_video', 'source',
            '{{"resolution": "4K"}}', 30, 66, 1, {NOON}, {NOON}, 'job-1',
            '{{"status": "running"}}', null, {NOON}, {NOON})""",
    f"""insert into submission(
            id, key, state, status, service, operation, source_id, arguments, price, credits,
            posts, created_at, updated_at)
        values(
            'useapi-mcp:b', 'b', 'submitting', 'submitting', 'dreamina', 'upscale_video',
            'source', '{{}}', 30, 30, 0, {NOON}, {NOON})""",
    """insert into saved values('job-1', 0, '/output/a.mp4', '{"size_bytes": 1}')""",
)
"""What the first version wrote: a job that runs, a request that was not sent, a file."""


async def test_a_journal_of_the_first_version_is_read_and_goes_on(
    journal: Journal, folder: Path
) -> None:
    folder.mkdir()
    path = folder / "journal.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        migrate(database, MIGRATIONS[:1])
    tamper(folder, *FIRST_VERSION)

    not_sent, running = await listed(journal)

    assert ("b", "submitting", "", {}) == (
        not_sent.key,
        not_sent.state,
        not_sent.origin,
        not_sent.evidence,
    )
    assert ("job-1", 1, "", {}) == (
        running.job_id,
        running.posts,
        running.origin,
        running.evidence,
    )
    assert ["", ""] == [not_sent.payer, running.payer]
    assert [] == await journal.recent(9, origin=ORIGIN, user="alice")
    assert {"resolution": "4K"} == running.arguments
    assert running == await journal.find_live("a")
    assert ["/output/a.mp4"] == [each["path"] for each in await journal.saved_files("job-1")]
    with pytest.raises(JournalError, match="submitted before, as job-1"):
        await journal.insert(new("a"))
    with pytest.raises(BudgetError, match="96 are spent"):
        await journal.insert(new("c"), budget=125)
    await journal.claim("b")
    assert 1 == (await journal.count_post(not_sent, expected=0)).posts
    assert ORIGIN == (await journal.insert(new("c"), budget=126)).origin


@pytest.mark.parametrize("status", ["failed", None])
async def test_a_list_reads_the_rows_it_shows_and_no_others(
    store: SqliteStore, journal: Journal, status: str | None
) -> None:
    for number in range(3):
        await accepted(journal, f"key-{number}", f"job-{number}", status="failed")
    database = store.connection()
    database.execute("begin")
    columns = [name for _, name, *_ in database.execute("pragma table_info(submission)")]
    others = [name for name in columns if name not in ("number", "id", "key", "status")]
    names = ", ".join(others)
    database.execute(
        f"insert into submission(number, id, key, status, {names})"
        f" with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000)"
        f" select -i, i, i, 'running', {names} from submission, n where number = 1"
    )
    database.execute("commit")
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 100
        return 0

    database.set_progress_handler(count, 100)
    rows = await listed(journal, 3, status)
    database.set_progress_handler(None, 0)

    assert ["job-2", "job-1", "job-0"] == [row.job_id for row in rows]
    assert steps < 10_000


async def assert_unusable(journal: Journal, *, what: str, hint: str) -> None:
    """Nothing can be submitted, reads know nothing, and the fault says what to do."""
    with TemporaryDirectory() as elsewhere:
        async with opened(Path(elsewhere), Clock()) as usable:
            row = await usable.insert(new())
    for write in (
        journal.claim("key"),
        journal.insert(new()),
        journal.count_post(row, expected=0),
        journal.accept(row.id, "job-1", job()),
        journal.record("job-1", job()),
        journal.add_evidence(row.id, named="job-7"),
        journal.mark_unconfirmed(row.id, "?"),
        journal.close_row(row, "freed", "gone"),
        journal.add_saved_file("job-1", 0, "/output/a.mp4", {}),
    ):
        with pytest.raises(JournalError, match=what) as raised:
            await write
        assert hint in raised.value.hint
        assert journal.fault is raised.value
    assert await journal.find_live("key") is None
    assert await journal.get("job-1") is None
    assert [] == await listed(journal)
    assert [] == await journal.saved_files("job-1")
    assert await journal.figures(ORIGIN, ["dreamina"]) is None
    await journal.check_budget(ORIGIN, "dreamina", 30, 30)
    with pytest.raises(BudgetError):
        await journal.check_budget(ORIGIN, "dreamina", 30, 29)
    await journal.check()
    assert journal.fault is not None
    assert re.search(what, journal.fault.message)


async def test_a_folder_below_a_file_is_a_fault_and_not_a_crash(
    tmp_path: Path, clock: StoppedClock
) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    folder = tmp_path / "file" / "state"

    async with opened(folder, clock) as journal:
        what = f"{re.escape(str(folder))} can't hold the journal"
        await assert_unusable(journal, what=what, hint="USEAPI_STATE_DIR")


async def test_a_folder_that_is_a_file_is_a_fault(journal: Journal, folder: Path) -> None:
    folder.write_text("no folder", encoding="utf-8")

    await assert_unusable(journal, what="can't hold the journal", hint="USEAPI_STATE_DIR")


async def test_a_folder_in_the_journals_place_is_a_fault(journal: Journal, folder: Path) -> None:
    (folder / "journal.sqlite").mkdir(parents=True)

    await assert_unusable(journal, what="can't hold the journal", hint="USEAPI_STATE_DIR")


async def test_a_lock_file_that_can_not_be_had_is_a_fault(journal: Journal, folder: Path) -> None:
    (folder / "journal.lock").mkdir(parents=True)

    with pytest.raises(JournalError, match="can't hold the journal") as raised:
        await journal.claim("key")

    assert "USEAPI_STATE_DIR" in raised.value.hint
    assert journal.fault is raised.value


async def test_a_journal_of_a_newer_version_is_left_alone(journal: Journal, folder: Path) -> None:
    await journal.insert(new("newer"))
    await journal.close()
    tamper(folder, f"pragma user_version = {LAYOUT_VERSION + 1}")
    before = (folder / "journal.sqlite").read_bytes()

    await assert_unusable(journal, what="written by a newer useapi-mcp", hint="Upgrade useapi-mcp")

    assert before == (folder / "journal.sqlite").read_bytes()


@pytest.mark.parametrize("contents", [b"not a database, " * 4096, b"SQLite format 3\x00" * 64])
async def test_a_file_that_is_no_database_is_a_fault(
    journal: Journal, folder: Path, contents: bytes
) -> None:
    folder.mkdir()
    (folder / "journal.sqlite").write_bytes(contents)
    began_s = elapsed()

    await assert_unusable(journal, what="is damaged", hint="move every journal.sqlite")

    assert began_s == elapsed()  # it is not waited for, as a locked one is
    assert contents == (folder / "journal.sqlite").read_bytes()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
async def test_a_truncated_journal_is_a_fault(journal: Journal, folder: Path, share: float) -> None:
    for n in range(50):
        await journal.insert(new(f"key-{n}"))
    await journal.close()
    whole = (folder / "journal.sqlite").read_bytes()
    (folder / "journal.sqlite").write_bytes(whole[: int(len(whole) * share)])

    await assert_unusable(journal, what="is damaged", hint="would then be charged again")


@pytest.mark.parametrize(
    "damage",
    [
        "alter table submission drop column first_sent_at",
        "alter table submission drop column credits",
        "alter table submission drop column origin",
        "alter table submission drop column evidence",
        "alter table saved drop column facts",
        "drop table saved",
        "drop table submission",
        "drop index one_live_row",
    ],
)
async def test_a_layout_that_lacks_something_is_a_fault(
    journal: Journal, folder: Path, damage: str
) -> None:
    await journal.check()
    await journal.close()
    tamper(folder, damage)

    await assert_unusable(journal, what="is damaged", hint="move every journal.sqlite")


async def test_a_row_that_makes_no_sense_is_a_fault(journal: Journal, folder: Path) -> None:
    row = await accepted(journal)
    await journal.add_saved_file("job-1", 0, "/output/a.mp4", {})
    tamper(folder, "update submission set job = '{'", "update saved set facts = '{'")

    assert await journal.get("job-1") is None
    assert journal.fault is not None
    assert [] == await journal.saved_files("job-1")
    with pytest.raises(JournalError, match="is damaged"):
        await journal.count_post(row, expected=1)
    with pytest.raises(JournalError, match="is damaged"):
        await journal.record("job-1", job())


async def test_a_journal_works_again_once_it_is_repaired(journal: Journal, folder: Path) -> None:
    folder.mkdir()
    damaged = folder / "journal.sqlite"
    damaged.write_bytes(b"not a database, " * 4096)
    with pytest.raises(JournalError):
        await journal.insert(new())
    was = journal.fault

    damaged.rename(folder / "kept.sqlite")
    await journal.check()

    assert was is not None
    assert journal.fault is None
    assert "key" == (await journal.insert(new())).key


async def test_a_journal_that_a_newer_version_took_over_meanwhile_is_found_out_by_a_check(
    journal: Journal, folder: Path
) -> None:
    await journal.check()
    tamper(folder, f"pragma user_version = {LAYOUT_VERSION + 1}")

    await journal.check()

    await assert_unusable(journal, what="written by a newer useapi-mcp", hint="Upgrade useapi-mcp")


# Windows neither removes nor renames a file that is open.
needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="an open file can't be removed")


@needs_posix
@pytest.mark.parametrize("names", ["journal.sqlite", "journal.sqlite*"])
async def test_nothing_is_sent_that_is_only_written_down_in_a_file_that_is_gone(
    journal: Journal, folder: Path, names: str
) -> None:
    """SQLite would go on writing to the removed file, where no other process sees it."""
    row = await journal.insert(new())
    await journal.claim("key")
    for path in folder.glob(names):
        path.unlink()

    with pytest.raises(JournalError, match="knows no submission"):
        await journal.count_post(row, expected=0)

    assert await journal.find_live("key") is None
    assert 1 == (await journal.count_post(await journal.insert(new()), expected=0)).posts


@needs_posix
async def test_a_journal_whose_file_was_replaced_goes_on_with_the_new_one(
    journal: Journal, folder: Path, clock: StoppedClock, tmp_path: Path
) -> None:
    old = await sent(journal)
    folder.rename(tmp_path / "kept")
    async with opened(folder, clock) as other:
        submitted = await other.insert(new())

    with pytest.raises(JournalError) as refused:
        await journal.insert(new())
    folder.rename(tmp_path / "put away")
    (tmp_path / "kept").rename(folder)

    assert submitted.id == refused.value.job_id
    assert old == await journal.find_live("key")


async def test_other_tasks_go_on_while_another_process_has_the_file_locked(
    journal: Journal, folder: Path
) -> None:
    row = await sent(journal)
    began = elapsed()
    with locked(folder) as other:
        writing = [
            asyncio.create_task(journal.insert(new("another"))),
            asyncio.create_task(journal.add_evidence(row.id, named="job-7")),
            asyncio.create_task(journal.accept(row.id, "job-1", job())),
        ]
        await asyncio.sleep(5)
        waited = [not task.done() for task in writing]
        read_meanwhile = await journal.get(row.id)
        other.execute("rollback")

    await asyncio.gather(*writing)

    assert [True] * 3 == waited
    assert row == read_meanwhile
    assert 5 == pytest.approx(elapsed() - began, abs=0.1)
    assert journal.fault is None
    another, answered = await listed(journal)
    assert "another" == another.key
    assert ("accepted", {"named": "job-7"}) == (answered.state, answered.evidence)


async def test_a_file_that_stays_locked_is_a_fault_that_passes(
    folder: Path, clock: StoppedClock
) -> None:
    async with opened(folder, clock, busy_s=3) as journal:
        row = await sent(journal)
        began = elapsed()
        with locked(folder) as other:
            with pytest.raises(JournalBusyError, match="to itself") as busy:
                await journal.count_post(row, expected=1)
            took_s = elapsed() - began
            readable = await journal.get(row.id)
            fault = journal.fault
            other.execute("rollback")

        await journal.check()

        assert 3 == pytest.approx(took_s, abs=0.1)
        assert ("journal_busy", True) == (busy.value.code, busy.value.retryable)
        assert "Call again" in busy.value.hint
        assert row == readable
        assert fault is busy.value
        assert journal.fault is None
        assert 2 == (await journal.count_post(row, expected=1)).posts


async def test_a_fault_is_over_with_the_first_write_that_succeeds(
    journal: Journal, folder: Path
) -> None:
    row = await sent(journal)
    with locked(folder) as other:
        await journal.check()
        was = journal.fault
        other.execute("rollback")

    await journal.count_post(row, expected=1)

    assert was is not None
    assert journal.fault is None


async def test_what_can_not_even_be_read_is_waited_for(journal: Journal, folder: Path) -> None:
    """A file in exclusive mode, as a tool for repairs has it, can't be read meanwhile."""
    row = await sent(journal)
    await journal.close()
    exclusive = ("pragma locking_mode = exclusive", "begin exclusive", "commit")
    with locked(folder, *exclusive) as other:
        reading = asyncio.create_task(journal.get(row.id))
        claiming = asyncio.create_task(journal.claim("key"))
        await asyncio.sleep(5)
        waited = [not reading.done(), not claiming.done()]
        other.close()

    assert row == await reading
    assert await claiming
    assert [True, True] == waited
    assert journal.fault is None


async def test_what_can_not_be_read_for_long_is_answered_with_nothing(
    journal: Journal, folder: Path
) -> None:
    row = await sent(journal)
    await journal.close()
    exclusive = ("pragma locking_mode = exclusive", "begin exclusive", "commit")
    with locked(folder, *exclusive):
        found = await journal.get(row.id)
        with pytest.raises(JournalBusyError):
            await journal.claim("key")

    assert found is None
    assert isinstance(journal.fault, JournalBusyError)
    assert row == await journal.get(row.id)
    assert journal.fault is None


async def test_tasks_that_connect_at_once_share_one_connection(
    journal: Journal, store: SqliteStore, folder: Path
) -> None:
    await journal.check()
    await journal.close()
    with locked(folder) as other:
        connecting = [asyncio.create_task(journal.insert(new(f"key-{n}"))) for n in range(5)]
        await asyncio.sleep(1)
        other.execute("rollback")

    await asyncio.gather(*connecting)

    assert 5 == len(await listed(journal))
    await journal.close()
    assert not (folder / "journal.sqlite-wal").exists()  # the last connection removes it


async def test_a_task_that_is_cancelled_while_it_waits_leaves_nothing_locked(
    journal: Journal, folder: Path
) -> None:
    row = await sent(journal)
    with locked(folder) as other:
        waiting = asyncio.create_task(journal.count_post(row, expected=1))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.wait({waiting})
        other.execute("rollback")

    assert waiting.cancelled()
    assert journal.fault is None
    tamper(folder, "update submission set note = 'not locked'")
    after = await journal.get(row.id)
    assert after is not None
    assert ("not locked", 1) == (after.note, after.posts)


async def test_a_post_that_waits_while_its_journal_is_closed_is_not_sent(
    journal: Journal, folder: Path
) -> None:
    """Closing releases its key, so that another may have it by the time it goes on."""
    row = await sent(journal)
    with locked(folder) as other:
        waiting = asyncio.create_task(journal.count_post(row, expected=1))
        await asyncio.sleep(1)
        await journal.close()
        other.execute("rollback")

        with pytest.raises(JournalError, match="was taken over by another process"):
            await waiting

    assert row == await journal.get(row.id)


async def test_a_row_that_was_closed_by_another_process_meanwhile_is_not_sent(
    journal: Journal, folder: Path
) -> None:
    row = await sent(journal)
    with locked(folder) as other:
        waiting = asyncio.create_task(journal.count_post(row, expected=1))
        await asyncio.sleep(1)
        other.execute("update submission set state = 'cancelled'")
        other.execute("commit")

        with pytest.raises(JournalError, match="is cancelled by now, so it is not sent"):
            await waiting


FULL_DISK = f"""
import asyncio, resource, sys
from pathlib import Path
from mcp_server.clock import Clock
from mcp_server.errors import JournalError
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import NewSubmission
from mcp_server.journal.sqlite import SqliteStore
async def main():
    folder, room = Path(sys.argv[1]), int(sys.argv[2])
    clock = Clock()
    journal = Journal(SqliteStore(folder, clock), clock.now)
    new = NewSubmission("key", "{ORIGIN}", "dreamina", "upscale_video", "s", {{}}, 30)
    row = await journal.insert(new)
    assert await journal.claim("key")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file can be written beyond this size; the log is as long as the commits until now.
    size = (folder / "journal.sqlite-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room if room else 0, hard))
    try:
        await journal.count_post(row, expected=0)
        print("sent")
    except JournalError as error:
        print(error.message.startswith("The disk refuses"), error.hint, journal.fault is error)
    print((await journal.get(row.id)).posts)
    if not room:
        await journal.check()
        print(journal.fault.message.startswith("The disk refuses"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await journal.check()
    posts = (await journal.get(row.id)).posts
    print(posts, journal.fault, (await journal.count_post(row, expected=0)).posts)
    await journal.close()
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a file's size")
@pytest.mark.parametrize(
    ("room_bytes", "checked"), [(0, ["True"]), (100, [])], ids=["no room", "room for half a page"]
)
def test_on_a_full_disk_nothing_is_sent_until_there_is_room(
    folder: Path, room_bytes: int, checked: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(folder), str(room_bytes)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )

    refused = "True Free some disk space, then call again. True"
    assert [refused, "0", *checked, "0 None 1"] == done.stdout.splitlines()


READ_ONLY = f"""
import asyncio, os, sys
import sqlite3
from pathlib import Path
from mcp_server.clock import Clock
from mcp_server.errors import JournalError
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import NewSubmission
from mcp_server.journal.sqlite import SqliteStore
async def main():
    clock = Clock()
    journal = Journal(SqliteStore(Path(sys.argv[1]), clock), clock.now)
    await journal.check()
    print(journal.fault)
    print(await journal.get("job-1") is not None)
    new = NewSubmission("key", "{ORIGIN}", "dreamina", "upscale_video", "s", {{}}, 30)
    try:
        await journal.insert(new)
    except JournalError as error:
        print(error.hint)
if os.getuid() == 0:
    os.setuid(65534)  # root could write it all the same
asyncio.run(main())
"""


@needs_modes
@pytest.mark.parametrize(("folder_mode", "readable"), [(0o777, "True"), (0o555, "False")])
async def test_a_journal_that_may_only_be_read_is_read_if_it_can_be_and_never_written(
    clock: StoppedClock, folder_mode: int, readable: str
) -> None:
    """Reading takes SQLite's two helper files, so it needs a folder that can be written to."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        async with opened(folder, clock) as journal:
            await accepted(journal)
        (folder / "journal.sqlite").chmod(0o444)
        folder.chmod(folder_mode)

        with process(READ_ONLY, folder) as child:
            fault, read, hint = line(child), line(child), line(child)

        folder.chmod(0o700)
    assert "can't hold the journal of submissions" in fault
    assert readable == read
    assert "Set USEAPI_STATE_DIR" in hint


async def test_a_mistake_in_our_code_is_not_called_damage(
    store: SqliteStore, journal: Journal
) -> None:
    await journal.check()
    raised: list[BaseException] = []

    async def use() -> None:
        async with store.read() as rows:
            await rows.all("select 1")

    def elsewhere() -> None:
        try:
            asyncio.run(use())
        except sqlite3.ProgrammingError as error:
            raised.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()

    assert 1 == len(raised)
    assert journal.fault is None
    await journal.check()
    assert journal.fault is None
