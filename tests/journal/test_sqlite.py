"""Journal: a step that was taken is never forgotten, and a key is never submitted twice at once."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.errors import BudgetError, JournalError
from mcp_server.journal.locks import FileLocks
from mcp_server.journal.records import LIVE, NewSubmission, Submission
from mcp_server.journal.sqlite import MIGRATIONS, Journal, migrate

REPOSITORY = Path(__file__).parents[2]
NOON = 1_790_000_000 // 86_400 * 86_400 + 43_200.0
"""12:00 UTC of some day."""

LAYOUT_VERSION = 1


class Now:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def journal(folder: Path, now: Now) -> Iterator[Journal]:
    with closing(Journal(folder, now)) as opened:
        yield opened


def intent(key: str = "key", service: str = "dreamina", price: float = 30) -> NewSubmission:
    return NewSubmission(key, service, "upscale_video", "the-source", {"resolution": "4K"}, price)


def job(status: str = "running", **facts: Any) -> dict[str, Any]:
    return {"service": "dreamina", "operation": "upscale_video", "status": status, **facts}


def sent(journal: Journal, key: str = "key", **what: Any) -> Submission:
    return journal.count_post(journal.intend(intent(key, **what)).id)


def accepted(journal: Journal, key: str = "key", job_id: str = "job-1", **facts: Any) -> Submission:
    return journal.accept(sent(journal, key).id, job_id, job(**facts))


def tamper(folder: Path, *statements: str) -> None:
    """Change the database behind the journal's back."""
    with closing(sqlite3.connect(folder / "journal.sqlite")) as database, database:
        for statement in statements:
            database.execute(statement)


@contextmanager
def process(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Another Python that runs `program`; it is killed when the block is left.

    Nothing measures its coverage: what it leaves when it is killed could not be read.
    """
    measuring = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
    child = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name not in measuring},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def go(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


def test_what_is_intended_is_written_down_as_it_was_said(journal: Journal) -> None:
    row = journal.intend(intent(price=30))

    assert row == Submission(
        id=row.id,
        key="key",
        state="submitting",
        service="dreamina",
        operation="upscale_video",
        source_id="the-source",
        arguments={"resolution": "4K"},
        price=30,
        posts=0,
        sent_at=None,
        first_sent_at=None,
        job_id=None,
        job=None,
        note=None,
        created_at=NOON,
        updated_at=NOON,
    )
    assert row == journal.live("key") == journal.get(row.id)


def test_an_id_of_ours_has_26_characters_that_nobody_can_guess(journal: Journal) -> None:
    ids = {journal.intend(intent(f"key-{n}")).id for n in range(50)}

    assert 50 == len(ids)
    assert all(re.fullmatch(r"useapi-mcp:[a-z0-9]{26}", each) for each in ids)
    assert 50 == len({each[11:16] for each in ids})


def test_each_post_is_counted_and_timed_before_it_leaves(journal: Journal, now: Now) -> None:
    row = journal.intend(intent())

    first = journal.count_post(row.id)
    now.at += 60
    second = journal.count_post(row.id)

    assert (1, NOON, NOON) == (first.posts, first.first_sent_at, first.sent_at)
    assert (2, NOON, NOON + 60) == (second.posts, second.first_sent_at, second.sent_at)
    assert NOON + 60 == second.updated_at


@pytest.mark.parametrize("state", ["unconfirmed", "accepted", "failed", "cancelled", "freed"])
def test_nothing_is_sent_for_a_row_that_is_no_longer_submitting(
    journal: Journal, state: Any
) -> None:
    row = sent(journal)
    if state == "unconfirmed":
        journal.unconfirmed(row.id, "looked 6 times")
    elif state == "accepted":
        journal.accept(row.id, "job-1", job())
    else:
        journal.end(row.id, state, "over")

    with pytest.raises(JournalError, match=f"is {state} by now, so it is not sent") as refused:
        journal.count_post(row.id)

    after = journal.get(row.id)
    assert after is not None
    assert (state, 1) == (after.state, after.posts)
    assert ("job-1" if state == "accepted" else row.id) == refused.value.job_id
    assert journal.fault is None


def test_the_vendors_answer_gives_the_row_its_job(journal: Journal) -> None:
    row = sent(journal)

    done = journal.accept(row.id, "job-1", job(forecast_credits=30))

    assert ("accepted", "job-1", job(forecast_credits=30)) == (done.state, done.job_id, done.job)
    assert done == journal.get("job-1") == journal.get(row.id) == journal.live("key")


def test_a_job_without_an_id_of_its_own_is_known_by_ours(journal: Journal) -> None:
    row = sent(journal)

    done = journal.accept(row.id, None, job("completed"))

    assert ("accepted", None) == (done.state, done.job_id)
    assert done == journal.get(row.id)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_an_answer_that_the_job_failed_frees_the_key_at_once(journal: Journal, status: str) -> None:
    done = accepted(journal, status=status)

    assert status == done.state
    assert journal.live("key") is None


def test_an_answer_after_the_row_was_given_up_brings_it_back(journal: Journal) -> None:
    row = sent(journal)
    journal.end(row.id, "freed", "forgotten")

    done = journal.accept(row.id, "job-1", job())

    assert ("accepted", "job-1", None) == (done.state, done.job_id, done.note)
    assert done == journal.live("key")


@pytest.mark.parametrize("state", ["failed", "cancelled", "freed"])
def test_an_answer_after_the_key_was_submitted_again_is_kept_beside_it(
    journal: Journal, state: Literal["failed", "cancelled", "freed"]
) -> None:
    given_up = sent(journal)
    journal.end(given_up.id, state, "given up")
    again = sent(journal)

    late = journal.accept(given_up.id, "job-1", job())

    assert ("freed", "job-1", job()) == (late.state, late.job_id, late.job)
    assert again == journal.live("key")
    assert late == journal.get("job-1")
    assert [late] == journal.recent(10, "running")


def test_a_second_answer_does_not_change_how_a_job_ended(journal: Journal) -> None:
    row = accepted(journal, status="completed")

    again = journal.accept(row.id, "job-2", job("running"))

    assert row == again


def test_a_second_answer_that_names_another_job_does_not_hide_the_first(journal: Journal) -> None:
    row = accepted(journal)

    other = journal.accept(row.id, "job-2", job())
    same = journal.accept(row.id, "job-1", job("completed"))
    without_id = journal.accept(row.id, None, job("completed", url="later"))

    assert row == other
    assert ("job-1", job("completed")) == (same.job_id, same.job)
    assert same == without_id


def test_a_row_without_an_answer_is_unconfirmed_and_still_holds_its_key(journal: Journal) -> None:
    row = sent(journal)

    after = journal.unconfirmed(row.id, "looked 6 times")

    assert ("unconfirmed", "looked 6 times") == (after.state, after.note)
    assert after == journal.live("key")
    assert "looked again" == journal.unconfirmed(row.id, "looked again").note


def test_an_unconfirmed_row_may_still_be_found(journal: Journal) -> None:
    row = sent(journal)
    journal.unconfirmed(row.id, "looked 6 times")

    found = journal.accept(row.id, "job-1", job())

    assert ("accepted", "job-1", None) == (found.state, found.job_id, found.note)


def test_an_answer_is_not_taken_back_by_a_late_doubt(journal: Journal) -> None:
    row = accepted(journal)

    after = journal.unconfirmed(row.id, "looked 6 times")

    assert row == after


@pytest.mark.parametrize("state", ["failed", "cancelled", "freed"])
def test_a_row_that_ends_frees_its_key(
    journal: Journal, state: Literal["failed", "cancelled", "freed"]
) -> None:
    row = sent(journal)

    ended = journal.end(row.id, state, "refused")

    assert (state, "refused", None) == (ended.state, ended.note, ended.job)
    assert journal.live("key") is None
    assert row.id != journal.intend(intent()).id


def test_how_a_row_ended_first_stays(journal: Journal) -> None:
    row = sent(journal)
    ended = journal.end(row.id, "failed", "refused")

    again = journal.end(row.id, "cancelled", "too late")

    assert ended == again


def test_a_completed_job_can_be_freed_but_not_fail(journal: Journal) -> None:
    row = accepted(journal, status="completed")

    not_failed = journal.end(row.id, "failed", "no")
    freed = journal.end(row.id, "freed", "gone at the vendor")

    assert row == not_failed
    assert ("freed", job("completed")) == (freed.state, freed.job)
    assert journal.live("key") is None


def test_a_row_that_ends_tells_its_job_so(journal: Journal) -> None:
    one, two, three = (accepted(journal, f"key-{n}", f"job-{n}", n=n) for n in (1, 2, 3))

    patched = journal.end(one.id, "cancelled", "asked for")
    told = journal.end(two.id, "failed", "moderated", job("failed", n=2, failure={"code": "7"}))
    freed = journal.end(three.id, "freed", "gone", job("completed", n=3))

    assert job("cancelled", n=1) == patched.job
    assert job("failed", n=2, failure={"code": "7"}) == told.job
    assert ("freed", job("completed", n=3)) == (freed.state, freed.job)


def test_a_second_live_row_of_a_key_is_refused_with_the_id_of_the_first(journal: Journal) -> None:
    first = sent(journal)

    with pytest.raises(JournalError, match="not submitted again") as unanswered:
        journal.intend(intent())
    journal.accept(first.id, "job-1", job())
    with pytest.raises(JournalError) as answered:
        journal.intend(intent())

    assert first.id == unanswered.value.job_id
    assert ("job-1", "dreamina") == (answered.value.job_id, answered.value.service)
    assert 1 == len(journal.recent(10))
    assert journal.fault is None


@pytest.mark.parametrize("first", LIVE)
@pytest.mark.parametrize("second", LIVE)
def test_the_database_itself_refuses_a_second_live_row(
    journal: Journal, folder: Path, first: str, second: str
) -> None:
    journal.intend(intent())
    tamper(folder, f"update submission set state = '{first}'")

    with pytest.raises(sqlite3.IntegrityError):
        tamper(
            folder,
            "create temp table copy as select * from submission",
            f"update copy set number = 2, id = 'other', state = '{second}'",
            "insert into submission select * from copy",
        )


def test_a_row_that_is_not_there_can_not_be_changed(journal: Journal) -> None:
    with pytest.raises(JournalError, match="knows no submission useapi-mcp:nothing"):
        journal.count_post("useapi-mcp:nothing")

    assert journal.get("useapi-mcp:nothing") is None
    assert journal.fault is None


def test_every_row_of_a_job_follows_what_the_vendor_says(journal: Journal) -> None:
    old = accepted(journal)
    journal.end(old.id, "freed", "gone")
    new = accepted(journal)

    journal.record("job-1", job("completed"))

    rows = journal.recent(10)
    assert [(new.id, "accepted"), (old.id, "freed")] == [(row.id, row.state) for row in rows]
    assert [job("completed"), job("completed")] == [row.job for row in rows]
    newest = journal.get("job-1")
    assert newest is not None
    assert new.id == newest.id


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_job_that_failed_frees_its_key(journal: Journal, status: str) -> None:
    accepted(journal)

    journal.record("job-1", job(status))

    assert journal.live("key") is None
    assert [status] == [row.state for row in journal.recent(10)]


def test_a_job_nobody_submitted_here_leaves_no_trace(journal: Journal) -> None:
    journal.record("elsewhere", job("completed"))

    assert [] == journal.recent(10)


def test_what_was_known_already_is_not_written_again(journal: Journal, now: Now) -> None:
    row = accepted(journal)
    now.at += 5

    journal.record("job-1", job())

    assert row == journal.get("job-1")


def test_a_completed_job_may_get_new_links_but_no_new_end(journal: Journal) -> None:
    accepted(journal)
    journal.record("job-1", job("completed", url="first"))

    journal.record("job-1", job("completed", url="second"))
    journal.record("job-1", job("failed"))
    journal.record("job-1", job("running"))

    row = journal.get("job-1")
    assert row is not None
    assert ("accepted", job("completed", url="second")) == (row.state, row.job)


STEPS = st.one_of(
    st.sampled_from(["intend", "send", "doubt", "fail", "cancel", "free"]),
    st.tuples(
        st.sampled_from(["accept", "record"]),
        st.sampled_from(["running", "completed", "failed", "cancelled"]),
    ),
)


@given(st.lists(st.tuples(st.integers(0, 3), STEPS), max_size=25))
@settings(deadline=None)
def test_whatever_happens_in_whatever_order_a_key_has_one_live_row_and_an_end_stays(
    steps: list[tuple[int, str | tuple[str, str]]],
) -> None:
    with TemporaryDirectory() as folder, closing(Journal(Path(folder), Now())) as journal:
        before: dict[str, Submission] = {}
        for number, what in steps:
            take(journal, number, what, list(before))

            rows = {row.id: row for row in journal.recent(1000)}
            live = [row.key for row in rows.values() if row.state in LIVE]
            assert len(set(live)) == len(live)
            for each, was in before.items():
                assert_follows(was, rows[each])
            before = dict(sorted(rows.items()))


def take(journal: Journal, number: int, what: str | tuple[str, str], ids: list[str]) -> None:
    """One step on one of two keys, or on one of the rows there are; it may be refused."""
    try:
        if what == "intend":
            journal.intend(intent(f"key-{number % 2}"))
        elif not ids:
            return
        elif what == "send":
            journal.count_post(ids[number % len(ids)])
        elif what == "doubt":
            journal.unconfirmed(ids[number % len(ids)], "looked")
        elif what == "fail":
            journal.end(ids[number % len(ids)], "failed", "refused")
        elif what == "cancel":
            journal.end(ids[number % len(ids)], "cancelled", "asked for")
        elif what == "free":
            journal.end(ids[number % len(ids)], "freed", "gone")
        elif what[0] == "accept":
            journal.accept(ids[number % len(ids)], f"job-{number}", job(what[1]))
        else:
            journal.record(f"job-{number}", job(what[1]))
    except JournalError:
        assert journal.fault is None


def assert_follows(was: Submission, row: Submission) -> None:
    assert was.posts <= row.posts
    assert was.job_id in (None, row.job_id)
    if was.job and was.job["status"] in ("completed", "failed", "cancelled"):
        assert row.job is not None
        assert was.job["status"] == row.job["status"]
        assert row.state in (was.state, "freed")
    if was.state == "accepted":
        assert row.state in ("accepted", "failed", "cancelled", "freed")
    if row.job and row.state in ("failed", "cancelled"):
        assert row.state == row.job["status"]


def test_the_newest_rows_come_first_whatever_the_clock_did(journal: Journal, now: Now) -> None:
    ids = []
    for n in range(4):
        now.at -= 3600 * n
        ids.append(journal.intend(intent(f"key-{n}")).id)

    newest = [row.id for row in journal.recent(3)]

    assert ids[:0:-1] == newest


def test_rows_are_found_by_the_status_of_their_job(journal: Journal) -> None:
    submitting = sent(journal, "a").id
    unconfirmed = journal.unconfirmed(sent(journal, "b").id, "?").id
    running = accepted(journal, "c", "job-c").id
    completed = accepted(journal, "d", "job-d", status="completed").id
    failed = accepted(journal, "e", "job-e", status="failed").id
    refused = journal.end(sent(journal, "f").id, "failed", "refused").id
    cancelled = journal.end(accepted(journal, "g", "job-g").id, "cancelled", "asked for").id
    freed = accepted(journal, "h", "job-h").id
    journal.record("job-h", job("completed"))
    journal.end(freed, "freed", "gone")
    forgotten = journal.end(journal.unconfirmed(sent(journal, "i").id, "?").id, "freed", "").id

    found = {
        status: {row.id for row in journal.recent(100, status)}
        for status in ("submitting", "unconfirmed", "running", "completed", "failed", "cancelled")
    }

    assert {
        "submitting": {submitting},
        "unconfirmed": {unconfirmed, forgotten},
        "running": {running},
        "completed": {completed, freed},
        "failed": {failed, refused},
        "cancelled": {cancelled},
    } == found
    assert 9 == len(journal.recent(100))


def test_files_are_remembered_by_job_and_position(journal: Journal) -> None:
    journal.save("job-1", 1, "/films/b.mp4", {"size_bytes": 2})
    journal.save("job-1", 0, "/films/old.mp4", {"size_bytes": 1})
    journal.save("job-1", 0, "/films/a.mp4", {"size_bytes": 3, "mime_type": "video/mp4"})
    journal.save("job-2", 0, "/films/c.mp4", {})

    saved = journal.saved("job-1")

    assert [
        {"position": 0, "path": "/films/a.mp4", "size_bytes": 3, "mime_type": "video/mp4"},
        {"position": 1, "path": "/films/b.mp4", "size_bytes": 2},
    ] == saved
    assert [] == journal.saved("job-3")


def test_a_request_beyond_the_days_budget_is_not_written_down(journal: Journal) -> None:
    journal.intend(intent("a", price=30), budget=60)
    journal.intend(intent("b", price=30), budget=60)

    with pytest.raises(BudgetError, match="costs 1 credits, and of today's 60 for dreamina 60"):
        journal.intend(intent("c", price=1), budget=60)

    assert 2 == len(journal.recent(10))
    assert journal.live("c") is None
    assert journal.fault is None


def test_each_service_has_a_budget_of_its_own(journal: Journal) -> None:
    journal.intend(intent("a", "dreamina", 30), budget=30)

    row = journal.intend(intent("b", "google-flow", 30), budget=30)

    assert "google-flow" == row.service


def test_the_budget_starts_again_at_midnight_utc(journal: Journal, now: Now) -> None:
    journal.intend(intent("a"), budget=30)

    now.at = NOON + 43_199
    with pytest.raises(BudgetError):
        journal.intend(intent("b"), budget=30)
    now.at = NOON + 43_200

    assert "b" == journal.intend(intent("b"), budget=30).key


def test_the_vendors_forecast_replaces_the_price(journal: Journal) -> None:
    accepted(journal, "a", "job-a", forecast_credits=66)
    journal.record("job-a", job("completed"))  # an answer that no longer tells the cost

    with pytest.raises(BudgetError, match="66 are spent"):
        journal.intend(intent("b", price=30), budget=95)

    assert "b" == journal.intend(intent("b", price=30), budget=96).key


def test_the_budget_counts_what_was_or_may_have_been_charged(journal: Journal) -> None:
    journal.unconfirmed(sent(journal, "unconfirmed").id, "?")
    accepted(journal, "failed after it was taken", "job-1", status="failed")
    journal.end(sent(journal, "forgotten").id, "cancelled", "asked for")
    journal.end(accepted(journal, "gone", "job-2").id, "freed", "gone")

    with pytest.raises(BudgetError, match="120 are spent"):
        journal.intend(intent("next"), budget=149)


def test_the_budget_does_not_count_what_was_never_taken(journal: Journal) -> None:
    journal.end(sent(journal, "refused").id, "failed", "400")
    journal.end(journal.intend(intent("not sent")).id, "cancelled", "asked for")
    journal.end(journal.intend(intent("not sent")).id, "freed", "asked for")

    row = journal.intend(intent("next"), budget=30)

    assert "submitting" == row.state


def test_two_journals_on_one_folder_see_each_others_commits(
    journal: Journal, folder: Path, now: Now
) -> None:
    with closing(Journal(folder, now)) as other:
        row = journal.intend(intent())
        seen = other.live("key")
        other.accept(row.id, "job-1", job())

        with pytest.raises(JournalError):
            other.intend(intent())

    after = journal.get(row.id)
    assert after is not None
    assert row == seen
    assert "job-1" == after.job_id


SUBMITTER = """
import sys, time
from pathlib import Path
from mcp_server.journal.records import NewSubmission
from mcp_server.journal.sqlite import Journal
print("ready", flush=True)
sys.stdin.readline()
journal = Journal(Path(sys.argv[1]), time.time)
for key in sys.argv[2:]:
    journal.intend(NewSubmission(key, "dreamina", "upscale_video", "s", {}, 30))
print("done", flush=True)
"""


@pytest.mark.parametrize("_round", range(3))
def test_processes_that_start_at_the_same_moment_make_one_journal(
    journal: Journal, folder: Path, _round: int
) -> None:
    """SQLite refuses all but one of them the switch to WAL, without waiting [ran: 1 of 40]."""
    with ExitStack() as stack:
        children = [stack.enter_context(process(SUBMITTER, folder, f"key-{n}")) for n in range(8)]
        assert ["ready"] * 8 == [line(child) for child in children]

        for child in children:
            go(child)

        assert ["done"] * 8 == [line(child) for child in children]
    assert {f"key-{n}" for n in range(8)} == {row.key for row in journal.recent(100)}


WORKER = """
import sys, time
from pathlib import Path
from mcp_server.journal.records import NewSubmission
from mcp_server.journal.sqlite import Journal
journal = Journal(Path(sys.argv[1]), time.time)
for n in range(100_000):
    key = f"key-{n}"
    assert journal.try_lock(key)
    row = journal.intend(NewSubmission(key, "dreamina", "upscale_video", "s", {}, 30))
    print("submitting", 0, row.id, flush=True)
    journal.count_post(row.id)
    print("submitting", 1, row.id, flush=True)
    journal.accept(row.id, f"job-{n}", {"status": "running"})
    print("accepted", 1, row.id, flush=True)
    journal.unlock(key)
"""


@pytest.mark.parametrize("lines", [1, 2, 3, 4, 50, 500])
def test_a_step_that_was_taken_survives_kill_9(journal: Journal, folder: Path, lines: int) -> None:
    with process(WORKER, folder) as child:
        told = [line(child) for _ in range(lines)]
        child.kill()
        assert child.stdout is not None
        told += [each for each in child.stdout.read().split("\n")[:-1] if each]

    last = {row_id: (state, int(posts)) for state, posts, row_id in map(str.split, told)}
    for row_id, (state, posts) in last.items():
        row = journal.get(row_id)
        assert row is not None
        # It may have got one step further than it could tell.
        assert (row.state, row.posts) in {(state, posts), ("submitting", 1), ("accepted", 1)}
        assert posts <= row.posts
    newest = journal.recent(1)[0]
    assert journal.try_lock(newest.key)
    with closing(sqlite3.connect(folder / "journal.sqlite")) as database:
        assert ("ok",) == database.execute("pragma integrity_check").fetchone()


HOLDER = """
import sys, time
from pathlib import Path
from mcp_server.journal.sqlite import Journal
journal = Journal(Path(sys.argv[1]), time.time)
print(*(journal.try_lock(key) for key in sys.argv[2:]), flush=True)
sys.stdin.readline()
journal.close()
print("closed", flush=True)
sys.stdin.readline()
"""


def test_a_key_that_a_living_process_holds_is_refused_until_it_is_killed(
    journal: Journal, folder: Path
) -> None:
    with process(HOLDER, folder, "key") as holder:
        assert "True" == line(holder)

        while_it_lives = journal.try_lock("key")
        another_key = journal.try_lock("another")
        holder.kill()
        holder.wait()

        assert (False, True) == (while_it_lives, another_key)
        assert journal.try_lock("key")


def test_a_process_that_closes_its_journal_lets_go_of_its_keys(
    journal: Journal, folder: Path
) -> None:
    with process(HOLDER, folder, "key") as holder:
        assert "True" == line(holder)
        go(holder)
        assert "closed" == line(holder)

        assert journal.try_lock("key")


def others_get(folder: Path, *keys: str) -> str:
    with process(HOLDER, folder, *keys) as other:
        return line(other)


def test_a_key_that_is_held_is_refused_in_this_process_too(journal: Journal, folder: Path) -> None:
    assert journal.try_lock("key")

    assert not journal.try_lock("key")

    assert "False" == others_get(folder, "key")


def test_a_key_that_was_let_go_of_can_be_had_by_others(journal: Journal, folder: Path) -> None:
    journal.try_lock("key")

    journal.unlock("key")

    assert "True" == others_get(folder, "key")
    assert journal.try_lock("key")


def test_letting_go_of_a_key_that_is_not_held_changes_nothing(
    journal: Journal, folder: Path
) -> None:
    journal.unlock("key")
    journal.try_lock("key")
    journal.unlock("another")

    assert "False True" == others_get(folder, "key", "another")


def test_two_keys_on_one_byte_do_not_drop_each_others_lock(journal: Journal, folder: Path) -> None:
    one, other = "key-8337", "key-15029"  # sha256 puts both on the same byte
    assert journal.try_lock(one)

    assert not journal.try_lock(other)
    journal.unlock(other)

    assert "False" == others_get(folder, one)
    journal.unlock(one)
    assert journal.try_lock(other)


def test_a_second_journal_in_this_process_shares_the_locks(
    journal: Journal, folder: Path, now: Now
) -> None:
    """POSIX would grant it every key, and drop all of them when it closes the file."""
    journal.try_lock("key")

    with closing(Journal(folder, now)) as second:
        refused = second.try_lock("key")
        granted = second.try_lock("another")
        second.unlock("key")

    assert (False, True) == (refused, granted)
    assert "False True" == others_get(folder, "key", "another")


def test_the_last_to_close_closes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "journal.lock"
    locks, never_used = FileLocks(path), FileLocks(path)
    locks.try_lock("key")
    open_before = descriptors(path)

    locks.close()
    locks.close()
    never_used.close()

    assert (1, 0) == (open_before, descriptors(path))


def descriptors(path: Path) -> int:
    """How many descriptors of the file this process has."""
    identity = path.stat().st_ino
    count = 0
    for number in range(256):
        try:
            count += os.fstat(number).st_ino == identity
        except OSError:
            continue
    return count


class NoLocks:
    """Grants everything and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def try_lock(self, key: str) -> bool:
        self.asked.append(f"lock {key}")
        return True

    def unlock(self, key: str) -> None:
        self.asked.append(f"unlock {key}")

    def close(self) -> None:
        self.asked.append("close")


def test_other_locks_can_be_handed_in(folder: Path, now: Now) -> None:
    locks = NoLocks()
    journal = Journal(folder, now, locks)

    journal.try_lock("key")
    journal.unlock("key")
    journal.close()

    assert ["lock key", "unlock key", "close"] == locks.asked
    assert not (folder / "journal.lock").exists()


def test_a_journal_is_only_made_when_it_is_used(folder: Path, now: Now) -> None:
    with closing(Journal(folder, now)) as journal:
        made_at_first = folder.exists()
        journal.check()
        journal.check()

    assert not made_at_first
    assert (folder / "journal.sqlite").exists()
    assert journal.fault is None


def test_sqlite_is_not_imported_before_a_journal_is_used() -> None:
    program = (
        "import sys; from pathlib import Path; from mcp_server.journal.sqlite import Journal;"
        " Journal(Path('nowhere'), lambda: 0.0).close(); print('sqlite3' in sys.modules)"
    )

    with process(program) as child:
        assert "False" == line(child)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no mode bits")
def test_nobody_else_can_read_the_journal(journal: Journal, folder: Path) -> None:
    was = os.umask(0)
    try:
        journal.try_lock("key")
        journal.intend(intent())
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


def test_every_commit_is_on_disk_when_it_returns(journal: Journal, folder: Path) -> None:
    journal.check()

    database = journal._file._open
    assert database is not None
    assert ("wal",) == database.execute("pragma journal_mode").fetchone()
    assert (2,) == database.execute("pragma synchronous").fetchone()  # FULL
    assert (10_000,) == database.execute("pragma busy_timeout").fetchone()


def test_a_closed_journal_opens_again_with_all_it_knew(journal: Journal) -> None:
    row = accepted(journal)

    journal.close()

    assert row == journal.get("job-1")


def test_migrations_are_applied_in_order_from_where_a_database_stands() -> None:
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


def test_the_layout_has_the_version_this_test_knows(journal: Journal, folder: Path) -> None:
    """A changed layout needs a new migration: those that were released are never edited."""
    journal.check()

    with closing(sqlite3.connect(folder / "journal.sqlite")) as database:
        assert (LAYOUT_VERSION,) == database.execute("pragma user_version").fetchone()
    assert LAYOUT_VERSION == len(MIGRATIONS)


def assert_unusable(journal: Journal, *, what: str, do: str) -> None:
    """Nothing can be submitted, reads know nothing, and the fault says what to do."""
    writes = (
        lambda: journal.try_lock("key"),
        lambda: journal.intend(intent()),
        lambda: journal.count_post("useapi-mcp:a"),
        lambda: journal.accept("useapi-mcp:a", "job-1", job()),
        lambda: journal.record("job-1", job()),
        lambda: journal.unconfirmed("useapi-mcp:a", "?"),
        lambda: journal.end("useapi-mcp:a", "freed", "gone"),
        lambda: journal.save("job-1", 0, "/films/a.mp4", {}),
    )
    for write in writes:
        with pytest.raises(JournalError, match=what) as raised:
            write()
        assert do in raised.value.hint
        assert journal.fault is raised.value
    assert journal.live("key") is None
    assert journal.get("job-1") is None
    assert [] == journal.recent(10)
    assert [] == journal.saved("job-1")
    journal.check()
    assert journal.fault is not None
    assert re.search(what, journal.fault.message)


def test_a_folder_below_a_file_is_a_fault_and_not_a_crash(tmp_path: Path, now: Now) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    folder = tmp_path / "file" / "state"

    with closing(Journal(folder, now)) as journal:
        assert_unusable(journal, what=f"{folder} can't hold the journal", do="USEAPI_STATE_DIR")


def test_a_folder_that_is_a_file_is_a_fault(folder: Path, now: Now) -> None:
    folder.write_text("no folder", encoding="utf-8")

    with closing(Journal(folder, now)) as journal:
        assert_unusable(journal, what="can't hold the journal", do="USEAPI_STATE_DIR")


def test_a_folder_in_the_journals_place_is_a_fault(journal: Journal, folder: Path) -> None:
    (folder / "journal.sqlite").mkdir(parents=True)

    assert_unusable(journal, what="can't hold the journal", do="USEAPI_STATE_DIR")


def test_a_lock_file_that_can_not_be_had_is_a_fault(journal: Journal, folder: Path) -> None:
    (folder / "journal.lock").mkdir(parents=True)

    with pytest.raises(JournalError, match="can't hold the journal") as raised:
        journal.try_lock("key")

    assert "USEAPI_STATE_DIR" in raised.value.hint
    assert journal.fault is raised.value


def test_a_journal_of_a_newer_version_is_left_alone(journal: Journal, folder: Path) -> None:
    journal.intend(intent("newer"))
    journal.close()
    tamper(folder, f"pragma user_version = {LAYOUT_VERSION + 1}")
    before = (folder / "journal.sqlite").read_bytes()

    assert_unusable(journal, what="written by a newer useapi-mcp", do="Upgrade useapi-mcp")

    assert before == (folder / "journal.sqlite").read_bytes()


@pytest.mark.parametrize("contents", [b"not a database, " * 4096, b"SQLite format 3\x00" * 64])
def test_a_file_that_is_no_database_is_a_fault(
    journal: Journal, folder: Path, contents: bytes
) -> None:
    folder.mkdir()
    (folder / "journal.sqlite").write_bytes(contents)

    assert_unusable(journal, what="is damaged", do="move every journal.sqlite")

    assert contents == (folder / "journal.sqlite").read_bytes()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_journal_is_a_fault(journal: Journal, folder: Path, share: float) -> None:
    for n in range(50):
        journal.intend(intent(f"key-{n}"))
    journal.close()
    whole = (folder / "journal.sqlite").read_bytes()
    (folder / "journal.sqlite").write_bytes(whole[: int(len(whole) * share)])

    assert_unusable(journal, what="is damaged", do="would then be charged again")


@pytest.mark.parametrize(
    "damage",
    [
        "alter table submission drop column first_sent_at",
        "alter table submission drop column credits",
        "alter table saved drop column facts",
        "drop table saved",
        "drop table submission",
        "drop index one_live_row",
    ],
)
def test_a_layout_that_lacks_something_is_a_fault(
    journal: Journal, folder: Path, damage: str
) -> None:
    journal.check()
    journal.close()
    tamper(folder, damage)

    assert_unusable(journal, what="is damaged", do="move every journal.sqlite")


def test_a_row_that_makes_no_sense_is_a_fault(journal: Journal, folder: Path) -> None:
    row = accepted(journal)
    journal.save("job-1", 0, "/films/a.mp4", {})
    tamper(folder, "update submission set job = '{'", "update saved set facts = '{'")

    assert journal.get("job-1") is None
    assert journal.fault is not None
    assert [] == journal.saved("job-1")
    with pytest.raises(JournalError, match="is damaged"):
        journal.count_post(row.id)
    with pytest.raises(JournalError, match="is damaged"):
        journal.record("job-1", job())


def test_a_journal_works_again_once_it_is_repaired(journal: Journal, folder: Path) -> None:
    folder.mkdir()
    damaged = folder / "journal.sqlite"
    damaged.write_bytes(b"not a database, " * 4096)
    with pytest.raises(JournalError):
        journal.intend(intent())
    was = journal.fault

    damaged.rename(folder / "kept.sqlite")
    journal.check()

    assert was is not None
    assert journal.fault is None
    assert "key" == journal.intend(intent()).key


def test_a_journal_that_another_keeps_busy_is_a_fault_that_passes(folder: Path, now: Now) -> None:
    with closing(Journal(folder, now, busy_timeout_s=0.01)) as journal:
        row = journal.intend(intent())
        with closing(sqlite3.connect(folder / "journal.sqlite", isolation_level=None)) as other:
            other.execute("begin immediate")

            with pytest.raises(JournalError, match="to itself") as busy:
                journal.count_post(row.id)
            readable = journal.get(row.id)
            other.execute("rollback")

        assert "Call again" in busy.value.hint
        assert row == readable
        assert journal.fault is busy.value
        journal.check()
        assert journal.fault is None
        assert 1 == journal.count_post(row.id).posts


def test_a_fault_is_over_with_the_first_write_that_succeeds(folder: Path, now: Now) -> None:
    with closing(Journal(folder, now, busy_timeout_s=0.01)) as journal:
        row = journal.intend(intent())
        with closing(sqlite3.connect(folder / "journal.sqlite", isolation_level=None)) as other:
            other.execute("begin immediate")
            journal.check()
            was = journal.fault
            other.execute("rollback")

        journal.count_post(row.id)

    assert was is not None
    assert journal.fault is None


def test_a_journal_that_a_newer_version_took_over_meanwhile_is_found_out_by_a_check(
    journal: Journal, folder: Path
) -> None:
    journal.check()
    tamper(folder, f"pragma user_version = {LAYOUT_VERSION + 1}")

    journal.check()

    assert_unusable(journal, what="written by a newer useapi-mcp", do="Upgrade useapi-mcp")


FULL_DISK = """
import resource, sys
from pathlib import Path
from mcp_server.errors import JournalError
from mcp_server.journal.records import NewSubmission
from mcp_server.journal.sqlite import Journal
folder, room = Path(sys.argv[1]), int(sys.argv[2])
journal = Journal(folder, lambda: 0.0)
row = journal.intend(NewSubmission("key", "dreamina", "upscale_video", "s", {}, 30))
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
# No file can be written beyond this size; the log is as long as the commits until now.
size = (folder / "journal.sqlite-wal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + room if room else 0, hard))
try:
    journal.count_post(row.id)
    print("sent")
except JournalError as error:
    print(error.message.startswith("The disk refuses"), error.hint, journal.fault is error)
if not room:
    journal.check()
    print(journal.fault.message.startswith("The disk refuses"))
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
journal.check()
print(journal.get(row.id).posts, journal.fault, journal.count_post(row.id).posts)
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
    assert [refused, *checked, "0 None 1"] == done.stdout.splitlines()


READ_ONLY = """
import os, sys
from pathlib import Path
import sqlite3
from mcp_server.errors import JournalError
from mcp_server.journal.records import NewSubmission
from mcp_server.journal.sqlite import Journal
if os.getuid() == 0:
    os.setuid(65534)  # root could write it all the same
journal = Journal(Path(sys.argv[1]), lambda: 0.0)
journal.check()
print(journal.fault)
print(journal.get("job-1") is not None)
try:
    journal.intend(NewSubmission("key", "dreamina", "upscale_video", "s", {}, 30))
except JournalError as error:
    print(error.hint)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no mode bits")
@pytest.mark.parametrize(("folder_mode", "readable"), [(0o777, "True"), (0o555, "False")])
def test_a_journal_that_may_only_be_read_is_read_if_it_can_be_and_never_written(
    now: Now, folder_mode: int, readable: str
) -> None:
    """Reading takes SQLite's two helper files, so it needs a folder that can be written to."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        with closing(Journal(folder, now)) as journal:
            accepted(journal)
        (folder / "journal.sqlite").chmod(0o444)
        folder.chmod(folder_mode)

        with process(READ_ONLY, folder) as child:
            fault, read, do = line(child), line(child), line(child)

        folder.chmod(0o700)
    assert "can't hold the journal of submissions" in fault
    assert readable == read
    assert "Set USEAPI_STATE_DIR" in do


def test_a_mistake_in_our_code_is_not_called_damage(journal: Journal) -> None:
    journal.check()
    raised: list[BaseException] = []

    def elsewhere() -> None:
        try:
            journal.get("job-1")
        except sqlite3.ProgrammingError as error:
            raised.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()

    assert 1 == len(raised)
    assert journal.fault is None


def test_what_is_stored_is_json_that_other_tools_can_read(journal: Journal, folder: Path) -> None:
    accepted(journal, forecast_credits=30)

    with closing(sqlite3.connect(folder / "journal.sqlite")) as database:
        arguments, stored = database.execute("select arguments, job from submission").fetchone()

    assert {"resolution": "4K"} == json.loads(arguments)
    assert job(forecast_credits=30) == json.loads(stored)
