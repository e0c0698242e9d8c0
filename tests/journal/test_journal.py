"""Journal: a step that was taken is never forgotten, and a key is never submitted twice at once.

All of it holds for every engine (tests/journal/engines.py).
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.errors import BudgetError, JournalError, QueueFullError, RequestError
from mcp_server.journal.base import Rows, Store
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import LIVE, Figures, Quote, Refused, Submission, Traffic
from mcp_server.journal.users import TOKEN_PREFIX, Users
from mcp_server.models import TERMINAL
from tests.journal.engines import ENGINES, NAMES
from tests.journal.programs import HOLDER, go, line, others_get, process
from tests.journal.rows import (
    NOON,
    ORIGIN,
    StoppedClock,
    accepted,
    anybody,
    job,
    listed,
    new,
    queued,
    sent,
)
from tests.support.limits import LONGEST_S

End = Literal["failed", "cancelled", "freed"]


@pytest.fixture
def store(store_of_engine: Store) -> Store:
    return store_of_engine


@asynccontextmanager
async def second_journal(engine: str, folder: Path, clock: StoppedClock) -> AsyncIterator[Journal]:
    """Another journal of the same database, as another process has it; it must claim nothing."""
    journal = Journal(ENGINES[engine].store(folder, clock), clock.now)
    try:
        yield journal
    finally:
        await journal.close()


async def claim_in_the_end(journal: Journal, key: str) -> None:
    """Claim a key whose holder was killed: a database is told that by the end of its lease."""
    async with asyncio.timeout(LONGEST_S):
        while not await journal.claim(key):  # noqa: ASYNC110 - nobody tells when it is free
            await asyncio.sleep(0.2)


async def test_what_is_about_to_be_submitted_is_written_down_as_it_is(journal: Journal) -> None:
    row = await journal.insert(new(price=30))

    assert row == Submission(
        id=row.id,
        key="key",
        state="submitting",
        origin=ORIGIN,
        service="dreamina",
        operation="upscale_video",
        source="the-source",
        arguments={"resolution": "4K"},
        price=30,
        posts=0,
        sent_at=None,
        first_sent_at=None,
        job_id=None,
        job=None,
        note=None,
        evidence={},
        created_at=NOON,
        updated_at=NOON,
        payer="",
        account="",
        runs_on="",
        queued_until=None,
    )
    assert row == await journal.find_live("key") == await journal.get(row.id)


async def test_an_id_of_ours_has_26_characters_that_nobody_can_guess(journal: Journal) -> None:
    ids = {(await journal.insert(new(f"key-{n}"))).id for n in range(50)}

    assert 50 == len(ids)
    assert all(re.fullmatch(r"useapi-mcp:[a-z0-9]{26}", each) for each in ids)
    assert 50 == len({each[11:16] for each in ids})


async def test_the_latest_of_a_row_is_what_was_committed_since(journal: Journal) -> None:
    row = await journal.insert(new())
    after = await journal.accept(row.id, "job-1", job())
    nowhere = replace(row, id="useapi-mcp:nowhere")

    assert after == await journal.latest(row)
    assert nowhere == await journal.latest(nowhere)


async def test_each_post_is_counted_and_timed_before_it_leaves(
    journal: Journal, clock: StoppedClock
) -> None:
    row = await journal.insert(new())
    await journal.claim("key")

    first = await journal.count_post(row, expected=0)
    clock.at += 60
    second = await journal.count_post(row, expected=1)

    assert (1, NOON, NOON) == (first.posts, first.first_sent_at, first.sent_at)
    assert (2, NOON, NOON + 60) == (second.posts, second.first_sent_at, second.sent_at)
    assert NOON + 60 == second.updated_at


async def test_a_row_that_is_sent_has_the_status_its_sender_says(journal: Journal) -> None:
    row = await journal.insert(new())
    await journal.claim("key")

    counted = await journal.count_post(row, expected=0, status="running")

    assert [counted] == await listed(journal, status="running")
    assert [] == await listed(journal, status="submitting")


@pytest.mark.parametrize("expected", [0, 2])
async def test_a_post_is_not_counted_from_another_count_than_its_sender_expects(
    journal: Journal, expected: int
) -> None:
    row = await sent(journal)

    with pytest.raises(JournalError, match="was sent by another process meanwhile") as refused:
        await journal.count_post(row, expected=expected)

    assert row == await journal.get(row.id)
    assert row.id == refused.value.job_id
    assert journal.fault is None


async def test_of_two_that_count_the_same_post_one_is_refused(journal: Journal) -> None:
    row = await sent(journal)

    counts = await asyncio.gather(
        *(journal.count_post(row, expected=1) for _ in range(2)), return_exceptions=True
    )

    assert 1 == sum(isinstance(each, JournalError) for each in counts)
    after = await journal.get(row.id)
    assert after is not None
    assert 2 == after.posts


async def test_nothing_is_sent_without_a_claim(journal: Journal) -> None:
    row = await journal.insert(new())
    await journal.claim("another")

    with pytest.raises(JournalError, match="was taken over by another process"):
        await journal.count_post(row, expected=0)
    await journal.claim("key")
    await journal.release("key")
    with pytest.raises(JournalError, match="was taken over by another process"):
        await journal.count_post(row, expected=0)

    assert row == await journal.get(row.id)
    assert journal.fault is None


@pytest.mark.parametrize("state", ["unconfirmed", "accepted", "failed", "cancelled", "freed"])
async def test_nothing_is_sent_for_a_row_that_is_no_longer_submitting(
    journal: Journal, state: Any
) -> None:
    row = await sent(journal)
    if state == "unconfirmed":
        await journal.mark_unconfirmed(row.id, "looked 6 times")
    elif state == "accepted":
        await journal.accept(row.id, "job-1", job())
    else:
        await journal.close_row(row, state, "over")

    with pytest.raises(JournalError, match=f"is {state} by now, so it is not sent") as refused:
        await journal.count_post(row, expected=1)

    after = await journal.get(row.id)
    assert after is not None
    assert (state, 1) == (after.state, after.posts)
    assert ("job-1" if state == "accepted" else row.id) == refused.value.job_id
    assert journal.fault is None


async def test_the_vendors_answer_gives_the_row_its_job(journal: Journal) -> None:
    row = await sent(journal)

    done = await journal.accept(row.id, "job-1", job(forecast_credits=30))

    assert ("accepted", "job-1", job(forecast_credits=30)) == (done.state, done.job_id, done.job)
    assert done == await journal.get("job-1") == await journal.get(row.id)
    assert done == await journal.find_live("key")


async def test_a_job_without_an_id_of_its_own_is_known_by_ours(journal: Journal) -> None:
    row = await sent(journal)

    done = await journal.accept(row.id, None, job("completed"))

    assert ("accepted", None) == (done.state, done.job_id)
    assert done == await journal.get(row.id)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_an_answer_that_the_job_failed_frees_the_key_at_once(
    journal: Journal, status: str
) -> None:
    done = await accepted(journal, status=status)

    assert status == done.state
    assert await journal.find_live("key") is None


async def test_an_answer_after_the_row_was_given_up_brings_it_back(journal: Journal) -> None:
    row = await sent(journal)
    await journal.close_row(row, "freed", "forgotten")

    done = await journal.accept(row.id, "job-1", job())

    assert ("accepted", "job-1", None) == (done.state, done.job_id, done.note)
    assert done == await journal.find_live("key")


@pytest.mark.parametrize("state", ["failed", "cancelled", "freed"])
async def test_an_answer_after_the_key_was_submitted_again_is_kept_beside_it(
    journal: Journal, state: End
) -> None:
    given_up = await sent(journal)
    await journal.close_row(given_up, state, "given up")
    again = await sent(journal)

    late = await journal.accept(given_up.id, "job-1", job())

    assert ("freed", "job-1", job()) == (late.state, late.job_id, late.job)
    assert again == await journal.find_live("key")
    assert late == await journal.get("job-1")
    assert [late] == await listed(journal, status="running")


@pytest.mark.parametrize("status", ["running", "completed"])
async def test_a_job_that_another_keys_row_took_without_proof_is_the_proven_ones(
    journal: Journal, status: str
) -> None:
    taker, maker = await journal.insert(new("one")), await journal.insert(new("two"))
    await journal.accept(taker.id, "job-1", job(status), is_proven=False)

    await journal.accept(maker.id, "job-1", job())
    too_late = await journal.accept(taker.id, "job-1", job(), is_proven=False)

    taken = await journal.find_live("one")
    assert taken == too_late
    assert taken is not None
    assert ("unconfirmed", None, None) == (taken.state, taken.job_id, taken.job)
    assert taken.note == "job-1 was made by another request"
    made = await journal.find_live("two")
    assert made is not None
    assert ("accepted", "job-1") == (made.state, made.job_id)


async def test_a_proven_job_of_another_keys_row_stays_its_own(journal: Journal) -> None:
    """The vendor names one job to two: both go by it, and nothing is looked for again."""
    rows = [await journal.insert(new(key)) for key in ("one", "two")]

    for row in rows:
        await journal.accept(row.id, "job-1", job())

    assert ["accepted"] * 2 == [(await journal.latest(row)).state for row in rows]


async def test_what_is_over_is_not_looked_for_again_when_its_job_is_another_ones(
    journal: Journal,
) -> None:
    over, maker = await journal.insert(new("one")), await journal.insert(new("two"))
    over = await journal.accept(over.id, "job-1", job("completed"), is_proven=False)
    over = await journal.close_row(over, "freed", "gone")

    await journal.accept(maker.id, "job-1", job())

    assert over == await journal.latest(over)


async def test_a_second_answer_does_not_change_how_a_job_ended(journal: Journal) -> None:
    row = await accepted(journal, status="completed")

    again = await journal.accept(row.id, "job-2", job("running"))

    assert row == again


async def test_a_second_answer_that_names_another_job_does_not_hide_the_first(
    journal: Journal,
) -> None:
    row = await accepted(journal)

    other = await journal.accept(row.id, "job-2", job())
    same = await journal.accept(row.id, "job-1", job("completed"))
    without_id = await journal.accept(row.id, None, job("completed", url="later"))

    assert row == other
    assert ("job-1", job("completed")) == (same.job_id, same.job)
    assert same == without_id


async def test_a_row_without_an_answer_is_unconfirmed_and_still_holds_its_key(
    journal: Journal,
) -> None:
    row = await sent(journal)

    after = await journal.mark_unconfirmed(row.id, "looked 6 times")

    assert ("unconfirmed", "looked 6 times") == (after.state, after.note)
    assert after == await journal.find_live("key")
    assert "looked again" == (await journal.mark_unconfirmed(row.id, "looked again")).note


async def test_an_unconfirmed_row_may_still_be_found(journal: Journal) -> None:
    row = await sent(journal)
    await journal.mark_unconfirmed(row.id, "looked 6 times")

    found = await journal.accept(row.id, "job-1", job())

    assert ("accepted", "job-1", None) == (found.state, found.job_id, found.note)


async def test_an_answered_row_does_not_become_unconfirmed(journal: Journal) -> None:
    row = await accepted(journal)

    after = await journal.mark_unconfirmed(row.id, "looked 6 times", named="job-7")

    assert row == after


async def test_evidence_adds_up_and_the_newest_of_a_name_counts(journal: Journal) -> None:
    row = await journal.insert(new())

    one = await journal.add_evidence(row.id, before=["a", "b"], clock_s=1.5)
    two = await journal.add_evidence(row.id, clock_s=-2.0, named="job-1")
    three = await journal.mark_unconfirmed(row.id, "looked 6 times", named="job-7")

    assert {"before": ["a", "b"], "clock_s": 1.5} == one.evidence
    assert {"before": ["a", "b"], "clock_s": -2.0, "named": "job-1"} == two.evidence
    assert two.evidence | {"named": "job-7"} == three.evidence
    assert replace(row, evidence=two.evidence) == two
    assert three == await journal.find_live("key")


async def test_evidence_stays_with_a_row_that_is_answered_and_ends(journal: Journal) -> None:
    row = await sent(journal)
    await journal.add_evidence(row.id, before=["a"])

    done = await journal.accept(row.id, "job-1", job())
    ended = await journal.close_row(done, "freed", "gone")

    assert {"before": ["a"]} == done.evidence == ended.evidence


@pytest.mark.parametrize("state", ["failed", "cancelled", "freed"])
async def test_a_row_that_ends_frees_its_key(journal: Journal, state: End) -> None:
    row = await sent(journal)

    ended = await journal.close_row(row, state, "refused")

    assert (state, "refused", None) == (ended.state, ended.note, ended.job)
    assert await journal.find_live("key") is None
    assert row.id != (await journal.insert(new())).id


async def test_how_a_row_ended_first_stays(journal: Journal) -> None:
    row = await sent(journal)
    ended = await journal.close_row(row, "failed", "refused")

    for seen in (row, ended):
        assert ended == await journal.close_row(seen, "cancelled", "too late")


async def test_a_row_that_changed_since_it_was_seen_is_not_closed(journal: Journal) -> None:
    submitting = await sent(journal)
    unconfirmed = await journal.mark_unconfirmed(submitting.id, "looked 6 times")

    from_before = await journal.close_row(submitting, "failed", "refused")
    answered = await journal.accept(submitting.id, "job-1", job())
    from_between = await journal.close_row(unconfirmed, "cancelled", "given up")

    assert unconfirmed == from_before
    assert answered == from_between == await journal.find_live("key")


async def test_a_completed_job_can_be_freed_but_not_fail(journal: Journal) -> None:
    row = await accepted(journal, status="completed")

    not_failed = await journal.close_row(row, "failed", "no")
    freed = await journal.close_row(row, "freed", "gone at the vendor")

    assert row == not_failed
    assert ("freed", job("completed")) == (freed.state, freed.job)
    assert await journal.find_live("key") is None


async def test_the_job_of_a_row_that_ends_ends_with_it(journal: Journal) -> None:
    one, two, three = [await accepted(journal, f"key-{n}", f"job-{n}", n=n) for n in (1, 2, 3)]

    cancelled = await journal.close_row(one, "cancelled", "asked for")
    reason = job("failed", n=2, failure={"code": "7"})
    failed = await journal.close_row(two, "failed", "moderated", reason)
    freed = await journal.close_row(three, "freed", "gone", job("completed", n=3))

    assert job("cancelled", n=1) == cancelled.job
    assert reason == failed.job
    assert ("freed", job("completed", n=3)) == (freed.state, freed.job)


async def test_a_second_live_row_of_a_key_is_refused_with_the_id_of_the_first(
    journal: Journal,
) -> None:
    await sent(journal, "another")
    first = await sent(journal)

    with pytest.raises(JournalError, match="not sent again") as unanswered:
        await journal.insert(new())
    await journal.accept(first.id, "job-1", job())
    with pytest.raises(JournalError) as answered:
        await journal.insert(new())

    assert first.id == unanswered.value.job_id
    assert ("job-1", "dreamina") == (answered.value.job_id, answered.value.service)
    assert 2 == len(await listed(journal))
    assert journal.fault is None


async def test_an_answer_without_an_id_leaves_the_one_that_is_known(journal: Journal) -> None:
    row = await accepted(journal)

    again = await journal.accept(row.id, None, job("completed"))

    assert "job-1" == again.job_id
    assert again.job is not None
    assert "completed" == again.job["status"]


async def test_a_row_that_was_freed_stays_freed_though_its_job_fails_afterwards(
    journal: Journal,
) -> None:
    row = await accepted(journal)
    await journal.close_row(row, "freed", "gone")

    await journal.record("job-1", job("failed"))

    assert "freed" == (await journal.latest(row)).state


async def test_of_many_that_insert_one_key_at_once_one_does(journal: Journal) -> None:
    made = await asyncio.gather(*(journal.insert(new()) for _ in range(10)), return_exceptions=True)

    (row,) = [each for each in made if isinstance(each, Submission)]
    assert {row.id} == {each.job_id for each in made if isinstance(each, JournalError)}
    assert [row] == await listed(journal)


async def test_a_row_that_is_not_there_can_not_be_changed(journal: Journal) -> None:
    row = await sent(journal)
    unknown = replace(row, id="useapi-mcp:nothing")

    for change in (
        journal.count_post(unknown, expected=1),
        journal.accept(unknown.id, "job-1", job()),
        journal.add_evidence(unknown.id, named="job-7"),
        journal.mark_unconfirmed(unknown.id, "?"),
        journal.close_row(unknown, "freed", "gone"),
    ):
        with pytest.raises(JournalError, match="knows no submission useapi-mcp:nothing"):
            await change

    assert await journal.get("useapi-mcp:nothing") is None
    assert [row] == await listed(journal)
    assert journal.fault is None


async def test_every_row_of_a_job_follows_what_the_vendor_says(journal: Journal) -> None:
    old = await accepted(journal)
    await journal.close_row(old, "freed", "gone")
    newer = await accepted(journal)

    await journal.record("job-1", job("completed"))

    rows = await listed(journal)
    assert [(newer.id, "accepted"), (old.id, "freed")] == [(row.id, row.state) for row in rows]
    assert [job("completed"), job("completed")] == [row.job for row in rows]
    newest = await journal.get("job-1")
    assert newest is not None
    assert newer.id == newest.id


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_a_job_that_failed_frees_its_key(journal: Journal, status: str) -> None:
    await accepted(journal)

    await journal.record("job-1", job(status))

    assert await journal.find_live("key") is None
    assert [status] == [row.state for row in await listed(journal)]


async def test_a_job_nobody_submitted_here_leaves_no_trace(journal: Journal) -> None:
    await journal.record("elsewhere", job("completed"))

    assert [] == await listed(journal)


async def test_what_was_known_already_is_not_written_again(
    journal: Journal, clock: StoppedClock
) -> None:
    row = await accepted(journal)
    clock.at += 5

    await journal.record("job-1", job())

    assert row == await journal.get("job-1")


async def test_a_completed_job_may_get_new_links_but_no_new_end(journal: Journal) -> None:
    await accepted(journal)
    await journal.record("job-1", job("completed", url="first"))

    await journal.record("job-1", job("completed", url="second"))
    await journal.record("job-1", job("failed"))
    await journal.record("job-1", job("running"))

    row = await journal.get("job-1")
    assert row is not None
    assert ("accepted", job("completed", url="second")) == (row.state, row.job)


STATUSES = st.sampled_from(["running", "completed", "failed", "cancelled"])
STEPS = st.one_of(
    st.tuples(
        st.sampled_from(["insert", "claim", "release", "evidence", "unconfirmed"]), st.none()
    ),
    st.tuples(st.just("count"), st.integers(0, 2)),
    st.tuples(st.just("close"), st.sampled_from(["failed", "cancelled", "freed"])),
    st.tuples(st.sampled_from(["accept", "accept for nothing", "record"]), STATUSES),
)


@pytest.mark.parametrize("engine", NAMES)
@given(steps=st.lists(st.tuples(st.integers(0, 30), STEPS), max_size=30))
@settings(deadline=None)
def test_whatever_happens_in_whatever_order_a_key_has_one_live_row_and_an_end_stays(
    engine: str, steps: list[tuple[int, tuple[str, Any]]]
) -> None:
    async def story() -> None:
        clock = StoppedClock()
        journal = Journal(ENGINES[engine].store(Path(folder), clock), clock.now)
        try:
            await follow(journal, steps)
        finally:
            await journal.close()

    with TemporaryDirectory() as folder, asyncio.Runner(loop_factory=ENGINES[engine].loop) as loop:
        loop.run(story())


async def follow(journal: Journal, steps: list[tuple[int, tuple[str, Any]]]) -> None:
    """Take the steps, and see after each that nothing was lost and nothing is there twice."""
    before: dict[str, Submission] = {}
    seen: list[Submission] = []  # every row in every state it ever had
    claimed: set[str] = set()
    for number, (what, how) in steps:
        await take(journal, number, what, how, seen, claimed)

        rows = {row.id: row for row in await listed(journal, 1000)}
        live = [row.key for row in rows.values() if row.state in LIVE]
        assert len(set(live)) == len(live)
        for each, was in before.items():
            assert_follows(was, rows[each])
            if rows[each].posts > was.posts:
                assert ("count", was.posts) == (what, how)
                assert was.key in claimed
        before = dict(sorted(rows.items()))
        seen += [row for row in before.values() if row not in seen]


async def take(
    journal: Journal, number: int, what: str, how: Any, seen: list[Submission], claimed: set[str]
) -> None:
    """One step on one of two keys, or on one of the rows as it once was; it may be refused."""
    key = f"key-{number % 2}"
    try:
        if what == "insert":
            await journal.insert(new(key))
        elif what == "claim":
            assert (key not in claimed) == await journal.claim(key)
            claimed.add(key)
        elif what == "release":
            await journal.release(key)
            claimed.discard(key)
        elif what == "record":
            await journal.record(f"job-{number % 4}", job(how))
        elif seen:
            await change(journal, seen[number % len(seen)], number, what, how)
    except JournalError:
        assert journal.fault is None


async def change(journal: Journal, row: Submission, number: int, what: str, how: Any) -> None:
    if what == "count":
        await journal.count_post(row, expected=how)
    elif what == "evidence":
        await journal.add_evidence(row.id, **{f"fact-{number}": number})
    elif what == "unconfirmed":
        await journal.mark_unconfirmed(row.id, "looked")
    elif what == "close":
        before = await journal.get(row.id)
        after = await journal.close_row(row, how, "over")
        assert before is not None
        assert before.state == row.state or after == before
    else:
        charged = what == "accept"
        await journal.accept(row.id, f"job-{number % 4}", job(how), charged=charged)


def assert_follows(was: Submission, row: Submission) -> None:
    assert was.posts <= row.posts
    assert was.job_id in (None, row.job_id)
    assert was.evidence.items() <= row.evidence.items()
    if was.job and was.job["status"] in TERMINAL:
        assert row.job is not None
        assert was.job["status"] == row.job["status"]
        assert row.state in (was.state, "freed")
    if was.state == "accepted":
        assert row.state in ("accepted", "failed", "cancelled", "freed")
    if row.job and row.state in ("failed", "cancelled"):
        assert row.state == row.job["status"]


async def test_the_newest_rows_come_first_whatever_the_clock_did(
    journal: Journal, clock: StoppedClock
) -> None:
    ids = []
    for n in range(4):
        clock.at -= 3600 * n
        ids.append((await journal.insert(new(f"key-{n}"))).id)

    newest = [row.id for row in await listed(journal, 3)]

    assert ids[:0:-1] == newest


async def test_rows_are_found_by_the_status_of_their_job(journal: Journal) -> None:
    submitting = (await sent(journal, "a")).id
    unconfirmed = (await journal.mark_unconfirmed((await sent(journal, "b")).id, "?")).id
    running = (await accepted(journal, "c", "job-c")).id
    completed = (await accepted(journal, "d", "job-d", status="completed")).id
    failed = (await accepted(journal, "e", "job-e", status="failed")).id
    refused = (await journal.close_row(await sent(journal, "f"), "failed", "refused")).id
    was_running = await accepted(journal, "g", "job-g")
    cancelled = (await journal.close_row(was_running, "cancelled", "asked for")).id
    freed = await accepted(journal, "h", "job-h")
    await journal.record("job-h", job("completed"))
    await journal.close_row(freed, "freed", "gone")
    not_found = await journal.mark_unconfirmed((await sent(journal, "i")).id, "?")
    forgotten = (await journal.close_row(not_found, "freed", "")).id

    found = {
        status: {row.id for row in await listed(journal, status=status)}
        for status in ("submitting", "unconfirmed", "running", "completed", "failed", "cancelled")
    }

    assert {
        "submitting": {submitting},
        "unconfirmed": {unconfirmed, forgotten},
        "running": {running},
        "completed": {completed, freed.id},
        "failed": {failed, refused},
        "cancelled": {cancelled},
    } == found
    assert 9 == len(await listed(journal))


async def test_rows_are_listed_by_the_vendors_address_they_were_sent_to(journal: Journal) -> None:
    here = await journal.insert(new("a"))
    there = await journal.insert(new("b", origin="http://127.0.0.1:8000"))
    nobody_knows = await journal.insert(new("c", origin=""))

    listed_here = await journal.recent(10, origin=ORIGIN)
    listed_there = await journal.recent(10, "submitting", origin="http://127.0.0.1:8000")

    assert [nobody_knows, here] == listed_here
    assert [nobody_knows, there] == listed_there
    assert [] == await journal.recent(10, "running", origin=ORIGIN)
    assert there == await journal.get(there.id)


MONTH_S = 30 * 86_400
LINKED = {
    "kind": "video",
    "width": 1920,
    "url": "https://a.b/c?sig=1",
    "thumbnail_url": "https://d",
}


async def test_links_are_dropped_a_month_after_the_end_and_nothing_else(
    journal: Journal, clock: StoppedClock
) -> None:
    """The vendor's links end within hours; files, facts and the job stay known."""
    saved = {"kind": "image", "path": "/output/a.jpg", "size_bytes": 3}
    media = {"media": [LINKED, saved], "model": "seedance"}
    ended = await accepted(journal, "a", "job-1", status="completed", **media)
    running = await accepted(journal, "b", "job-2", **media)
    without_id = await journal.accept(
        (await sent(journal, "c")).id, None, job("completed", **media)
    )

    clock.at += MONTH_S
    await journal.check()
    just_in_time = await journal.get(ended.id)
    clock.at += 1
    await journal.check()

    assert just_in_time == ended
    assert [running, without_id] == [await journal.get(row.id) for row in (running, without_id)]
    kept = [{"kind": "video", "width": 1920}, saved]
    assert replace(ended, job={**(ended.job or {}), "media": kept}) == await journal.get("job-1")


async def test_a_job_that_is_read_again_has_its_links_for_another_month(
    journal: Journal, clock: StoppedClock
) -> None:
    await accepted(journal, "a", "job-1", status="completed", media=[LINKED])
    for _ in range(2):
        clock.at += MONTH_S + 1
        await journal.check()
        dropped = await journal.get("job-1")
        await journal.record("job-1", job("completed", media=[LINKED]))
        read = await journal.get("job-1")

        assert dropped is not None
        assert dropped.job == job("completed", media=[{"kind": "video", "width": 1920}])
        assert read is not None
        assert read.job == job("completed", media=[LINKED])


async def test_a_server_that_runs_for_long_drops_links_too_and_a_few_at_a_time(
    journal: Journal, clock: StoppedClock
) -> None:
    for number in range(150):
        await accepted(journal, f"{number}", f"job-{number}", status="completed", media=[LINKED])

    clock.at += 2 * MONTH_S
    left = []
    for number in range(3):
        await journal.insert(new(f"new-{number}"))
        rows = [await journal.get(f"job-{number}") for number in range(150)]
        left.append(sum("url" in str(row and row.job) for row in rows))  # an id may spell it

    assert [50, 0, 0] == left


@pytest.mark.parametrize("stored", [{"media": "newer"}, {"media": [5]}, {"newer": True}])
async def test_a_job_of_a_newer_version_keeps_what_is_not_understood(
    journal: Journal, clock: StoppedClock, stored: dict[str, Any]
) -> None:
    await accepted(journal, "a", "job-1", status="completed", **stored)

    clock.at += 2 * MONTH_S
    await journal.check()

    row = await journal.get("job-1")
    assert row is not None
    assert row.job == job("completed", **stored)


async def test_files_are_remembered_by_job_and_position(journal: Journal) -> None:
    await journal.add_saved_file("job-1", 1, "/output/b.mp4", {"size_bytes": 2})
    await journal.add_saved_file("job-1", 0, "/output/old.mp4", {"size_bytes": 1})
    facts = {"size_bytes": 3, "mime_type": "video/mp4"}
    await journal.add_saved_file("job-1", 0, "/output/a.mp4", facts)
    await journal.add_saved_file("job-2", 0, "/output/c.mp4", {})

    saved = await journal.saved_files("job-1")

    assert [
        {"position": 0, "path": "/output/a.mp4", "size_bytes": 3, "mime_type": "video/mp4"},
        {"position": 1, "path": "/output/b.mp4", "size_bytes": 2},
    ] == saved
    assert [] == await journal.saved_files("job-3")


async def test_a_request_beyond_the_days_budget_is_not_written_down(journal: Journal) -> None:
    await journal.insert(new("a", price=30), budget=60)
    await journal.insert(new("b", price=30), budget=60)

    with pytest.raises(BudgetError, match="costs 1 credits, and of today's 60 for dreamina 60"):
        await journal.insert(new("c", price=1), budget=60)

    assert 2 == len(await listed(journal))
    assert await journal.find_live("c") is None
    assert journal.fault is None


async def test_requests_at_once_do_not_exceed_the_budget_together(journal: Journal) -> None:
    made = await asyncio.gather(
        *(journal.insert(new(f"key-{n}", price=30), budget=100) for n in range(10)),
        return_exceptions=True,
    )

    assert 7 == sum(isinstance(each, BudgetError) for each in made)
    assert 3 == len(await listed(journal))


async def test_second_posts_at_once_do_not_exceed_the_budget_together(journal: Journal) -> None:
    rows = [await sent(journal, key, price=30) for key in "abcde"]

    counts = await asyncio.gather(
        *(journal.count_post(row, expected=1, budget=210) for row in rows), return_exceptions=True
    )

    assert 3 == sum(isinstance(each, BudgetError) for each in counts)
    assert [1, 1, 1, 2, 2] == sorted(row.posts for row in await listed(journal))


@pytest.mark.parametrize("price", [30, 1, 0, None])
@pytest.mark.parametrize("budget", [0, 30, 59.5, 60, 61])
async def test_the_budget_can_be_asked_before_anything_is_written(
    journal: Journal, price: float | None, budget: float
) -> None:
    await sent(journal)

    async def refusal(asked: Any) -> str | None:
        try:
            await asked
        except BudgetError as error:
            return error.message
        return None

    asked = await refusal(journal.check_budget(ORIGIN, "dreamina", price, budget))

    assert 1 == len(await listed(journal))
    assert asked == await refusal(journal.insert(new("next", price=price), budget=budget))


async def test_its_figures_tell_what_has_not_ended_and_what_today_cost(
    journal: Journal, clock: StoppedClock
) -> None:
    before = await journal.figures(ORIGIN, ["dreamina", "pixverse"])
    clock.at -= 86_400
    await sent(journal, "of yesterday", price=7)
    clock.at += 86_400
    await accepted(journal, "runs", "job-1")
    await accepted(journal, "done", "job-2", status="completed")
    unknown = await sent(journal, "unknown", service="pixverse", price=5)
    await journal.mark_unconfirmed(unknown.id, "nobody knows")
    await sent(journal, "of another vendor", origin="https://other.example.com")
    clock.at -= 300
    await queued(journal, "waits", price=0)
    clock.at += 300

    after = await journal.figures(ORIGIN, ["dreamina", "pixverse"])

    none_open = {"queued": 0, "submitting": 0, "running": 0, "unconfirmed": 0}
    assert Figures(none_open, 0, 0, {"dreamina": 0, "pixverse": 0}) == before
    one_each = {"queued": 1, "submitting": 1, "running": 1, "unconfirmed": 1}
    assert Figures(one_each, 86_400, 300, {"dreamina": 60, "pixverse": 5}) == after


async def test_what_is_free_is_never_beyond_the_budget(journal: Journal) -> None:
    await journal.insert(new("a", price=30))

    row = await journal.insert(new("b", price=0), budget=10)

    assert 0 == row.price


async def test_a_price_that_nobody_knows_needs_something_left_of_the_budget(
    journal: Journal,
) -> None:
    await journal.insert(new("a", price=29), budget=30)
    left = await journal.insert(new("b", price=None), budget=30)
    await journal.insert(new("c", price=1), budget=30)

    with pytest.raises(BudgetError, match=r"not documented, and of today's 30 credits.* 30 are"):
        await journal.insert(new("d", price=None), budget=30)

    assert 0 == left.price


async def test_each_service_has_a_budget_of_its_own(journal: Journal) -> None:
    await journal.insert(new("a", "dreamina", 30), budget=30)

    row = await journal.insert(new("b", "google-flow", 30), budget=30)

    assert "google-flow" == row.service


async def test_each_address_of_the_vendor_has_a_budget_of_its_own(journal: Journal) -> None:
    await journal.insert(new("a", origin="http://127.0.0.1:8000"), budget=30)
    await journal.insert(new("b"), budget=30)
    await journal.insert(new("c", origin=""))

    for origin in (ORIGIN, "http://127.0.0.1:8000"):
        with pytest.raises(BudgetError, match="60 are spent"):
            await journal.check_budget(origin, "dreamina", 30, 89)
        await journal.check_budget(origin, "dreamina", 30, 90)


async def test_the_budget_starts_again_at_midnight_utc(
    journal: Journal, clock: StoppedClock
) -> None:
    await journal.insert(new("a"), budget=30)

    for days, key in enumerate("bc"):
        clock.at = NOON + 86_400 * days + 43_199
        with pytest.raises(BudgetError):
            await journal.insert(new(key), budget=30)
        clock.at += 1

        assert key == (await journal.insert(new(key), budget=30)).key


async def test_the_vendors_forecast_replaces_the_price(journal: Journal) -> None:
    await accepted(journal, "a", "job-a", forecast_credits=66)
    await journal.record("job-a", job("completed"))  # an answer that no longer tells the cost

    with pytest.raises(BudgetError, match="66 are spent"):
        await journal.insert(new("b", price=30), budget=95)

    assert "b" == (await journal.insert(new("b", price=30), budget=96)).key


async def test_a_negative_forecast_does_not_raise_the_budget(journal: Journal) -> None:
    await journal.insert(new("a", price=30))
    await accepted(journal, "b", forecast_credits=-1000)

    with pytest.raises(BudgetError, match="30 are spent"):
        await journal.check_budget(ORIGIN, "dreamina", 30, 59)


async def test_the_budget_counts_what_was_or_may_have_been_charged(journal: Journal) -> None:
    await journal.mark_unconfirmed((await sent(journal, "unconfirmed")).id, "?")
    await accepted(journal, "failed after it was taken", "job-1", status="failed")
    await journal.close_row(await sent(journal, "forgotten"), "cancelled", "asked for")
    await journal.close_row(await accepted(journal, "gone", "job-2"), "freed", "gone")

    with pytest.raises(BudgetError, match="120 are spent"):
        await journal.insert(new("next"), budget=149)


async def test_the_budget_does_not_count_what_was_never_taken(journal: Journal) -> None:
    await journal.close_row(await sent(journal, "refused"), "failed", "400")
    await journal.close_row(await journal.insert(new("not sent")), "cancelled", "asked for")
    await journal.close_row(await journal.insert(new("not sent")), "freed", "asked for")

    row = await journal.insert(new("next"), budget=30)

    assert "submitting" == row.state


async def test_the_budget_does_not_count_a_job_that_was_there_before(journal: Journal) -> None:
    row = await sent(journal)
    found = await journal.accept(row.id, "job-1", job(forecast_credits=66), charged=False)

    await journal.record("job-1", job("completed", forecast_credits=66))
    await journal.check_budget(ORIGIN, "dreamina", 30, 30)
    again = await journal.accept(row.id, "job-1", job("completed"))

    assert {"charged": False} == found.evidence == again.evidence
    await journal.check_budget(ORIGIN, "dreamina", 30, 30)


async def test_an_id_or_a_path_that_holds_a_nul_is_unknown_and_no_fault(journal: Journal) -> None:
    await accepted(journal)

    assert await journal.get("job-1\x00") is None
    assert [] == await journal.find_made(path="/made/\x00.png")
    assert journal.fault is None


async def test_two_journals_of_one_database_see_each_others_commits(
    journal: Journal, engine: str, folder: Path, clock: StoppedClock
) -> None:
    async with second_journal(engine, folder, clock) as other:
        row = await journal.insert(new())
        seen = await other.find_live("key")
        await other.accept(row.id, "job-1", job())

        with pytest.raises(JournalError):
            await other.insert(new())

    after = await journal.get(row.id)
    assert after is not None
    assert row == seen
    assert "job-1" == after.job_id


async def test_a_closed_journal_opens_again_with_all_it_knew(journal: Journal) -> None:
    row = await accepted(journal)

    await journal.close()
    await journal.close()

    assert row == await journal.get("job-1")


async def test_a_journal_that_works_has_no_fault(journal: Journal) -> None:
    await journal.check()
    await journal.check()

    assert journal.fault is None
    assert [] == await listed(journal)


async def test_a_key_that_is_claimed_is_refused_to_everybody(
    journal: Journal, engine: str, folder: Path
) -> None:
    assert await journal.claim("key")

    assert not await journal.claim("key")

    assert "False True" == others_get(engine, folder, "key", "another")


async def test_a_key_that_was_released_can_be_claimed_by_others(
    journal: Journal, engine: str, folder: Path
) -> None:
    await journal.claim("key")

    await journal.release("key")

    assert "True" == others_get(engine, folder, "key")
    await claim_in_the_end(journal, "key")


async def test_releasing_a_key_that_is_not_claimed_changes_nothing(
    journal: Journal, engine: str, folder: Path
) -> None:
    await journal.release("key")
    await journal.claim("key")
    await journal.release("another")

    assert "False True" == others_get(engine, folder, "key", "another")


async def test_a_key_that_a_living_process_claimed_is_refused_until_it_is_killed(
    journal: Journal, engine: str, folder: Path
) -> None:
    row = await journal.insert(new())
    with process(HOLDER, engine, folder, "key") as holder:
        assert "True" == line(holder)

        while_it_lives = await journal.claim("key")
        with pytest.raises(JournalError, match="was taken over by another process"):
            await journal.count_post(row, expected=0)
        another_key = await journal.claim("another")
        holder.kill()
        holder.wait()

        assert (False, True) == (while_it_lives, another_key)
        await claim_in_the_end(journal, "key")
        assert 1 == (await journal.count_post(row, expected=0)).posts


async def test_a_process_that_closes_its_journal_releases_its_keys(
    journal: Journal, engine: str, folder: Path
) -> None:
    with process(HOLDER, engine, folder, "key") as holder:
        assert "True" == line(holder)
        go(holder)
        assert "closed" == line(holder)

        assert await journal.claim("key")


async def test_a_transaction_that_is_cancelled_is_undone(store: Store, journal: Journal) -> None:
    row = await journal.insert(new())

    async def never_ends() -> None:
        async with store.write("key") as rows:
            await rows.all("update submission set posts = 7 where id = ?", row.id)
            await asyncio.Event().wait()

    writing = asyncio.create_task(never_ends())
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.wait({writing})

    assert writing.cancelled()
    assert row == await journal.get(row.id)
    await journal.claim("key")
    assert 1 == (await journal.count_post(row, expected=0)).posts


async def test_a_transaction_that_raises_is_undone(store: Store, journal: Journal) -> None:
    row = await journal.insert(new())

    async def fails() -> None:
        async with store.write("key") as rows:
            await rows.all("update submission set posts = 7 where id = ?", row.id)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails()

    assert row == await journal.get(row.id)
    assert journal.fault is None


# Quotes, and the job of a link or a path


async def test_a_price_is_asked_for_before_it_is_told(
    journal: Journal, clock: StoppedClock
) -> None:
    assert await journal.find_quote("key") is None
    await journal.claim("key")

    await journal.begin_quote("key")
    asked = await journal.find_quote("key")
    clock.at += 5
    await journal.end_quote("key", 30)
    told = await journal.find_quote("key")
    clock.at += 700
    await journal.begin_quote("key")
    anew = await journal.find_quote("key")

    assert Quote(NOON, None, None) == asked
    assert Quote(NOON, NOON + 5, 30) == told
    assert Quote(NOON + 705, None, None) == anew


async def test_who_lost_the_key_asks_for_no_price(journal: Journal) -> None:
    with pytest.raises(JournalError, match="taken this order over"):
        await journal.begin_quote("key")

    assert await journal.find_quote("key") is None


async def test_prices_asked_for_a_day_ago_are_dropped(
    journal: Journal, clock: StoppedClock
) -> None:
    for key in ("old", "new"):
        await journal.claim(key)
    await journal.begin_quote("old")
    clock.at += 86_401
    await journal.begin_quote("new")

    assert await journal.find_quote("old") is None
    assert await journal.find_quote("new") is not None


LINK = "https://example.com/50%_off.mp4?Signature=a_b%2F"


@pytest.mark.parametrize(
    ("asked", "is_found"),
    [
        ({"url": LINK}, True),
        ({"url": LINK.replace("a_b", "another")}, True),
        ({"url": LINK.partition("?")[0]}, True),
        ({"url": LINK.replace("mp4", "mp4x")}, False),
        ({"url": LINK.replace("mp4", "mp")}, False),
        ({"url": LINK.replace("50%", "50 or more ")}, False),  # no wildcard
        ({"url": LINK.replace("%_off", "%Xoff")}, False),
        ({"path": "/output/a.mp4"}, True),
        ({"path": "/output/b.mp4"}, False),
        ({"path": "/elsewhere/below.mp4"}, True),
        ({"path": "/elsewhere/é.png"}, True),  # its own path is for the caller to compare
        ({"path": "/made/%.png"}, False),
        ({"path": "/made/é.png"}, True),
    ],
)
async def test_a_link_or_a_path_is_found_whole(
    journal: Journal, asked: dict[str, Any], is_found: bool
) -> None:
    media = [{"url": LINK}, {"path": "/made/é.png"}]
    row = await accepted(journal, media=media)
    await accepted(journal, "another", "job-2", media=[{"url": "https://example.com/other.mp4"}])
    await journal.add_saved_file("job-1", 0, "/output/a.mp4", {})
    await journal.add_saved_file("job-1", 1, "below.mp4", {})

    found = await journal.find_made(**asked)

    assert ([row.id] if is_found else []) == [each.id for each in found]


async def test_of_what_a_link_may_be_a_result_of_the_newest_comes_first(journal: Journal) -> None:
    """An order that was made again has the result of the one before."""
    for key in ("first", "second", "third"):
        await accepted(journal, key, f"job of {key}", media=[{"url": LINK}])

    found = await journal.find_made(url=LINK)

    assert ["third", "second", "first"] == [row.key for row in found]


async def test_evidence_that_is_known_from_the_start_is_kept(journal: Journal) -> None:
    row = await journal.insert(replace(new(), evidence={"files": {"file:1": "a.mp4"}}))

    assert {"files": {"file:1": "a.mp4"}} == row.evidence


# Users


async def test_what_a_user_has_submitted_is_the_users_from_its_first_commit(
    journal: Journal,
) -> None:
    row = await journal.insert(replace(new(), payer="alice"))
    await journal.insert(new("operators"))

    assert "alice" == row.payer
    assert [row] == await journal.recent(9, origin=ORIGIN, user="alice")
    assert [] == await journal.recent(9, origin=ORIGIN, user="bob")
    assert 2 == len(await listed(journal))
    assert {"alice"} == await journal.users_asking([row])


async def test_who_asks_for_the_same_sees_it_until_he_wants_it_no_more(journal: Journal) -> None:
    row = await journal.insert(replace(new(), payer="alice"))
    await journal.add_asked("bob", row.id)
    await journal.add_asked("bob", row.id)

    assert {"alice", "bob"} == await journal.users_asking([row])
    assert [row] == await journal.recent(9, origin=ORIGIN, user="bob")
    await journal.remove_asked("bob", [row])
    assert {"alice"} == await journal.users_asking([row])
    assert [] == await journal.recent(9, origin=ORIGIN, user="bob")


async def test_a_row_is_found_by_every_id_that_has_to_do_with_it(journal: Journal) -> None:
    await accepted(journal, media=[{"kind": "image", "media_id": 'a"1_%'}])
    row = await journal.get("job-1")
    assert row is not None

    for known in (row.id, "job-1", 'a"1_%', row.id.upper(), "JOB-1", 'A"1_%'):
        assert [row] == await journal.rows_of(known)
    for unknown in ("a", 'a"1', 'a"1__', "the-source", "job-", "", "job-1\0"):
        assert [] == await journal.rows_of(unknown), unknown


async def test_an_id_is_first_looked_for_as_it_is_written_and_then_the_newest_come_first(
    journal: Journal,
) -> None:
    rows = [
        await accepted(journal, "one", "job-1"),
        await accepted(journal, "two", "JOB-1"),
        await accepted(journal, "three", "job-3", media=[{"kind": "image", "media_id": "job-1"}]),
    ]

    assert rows[:1] == await journal.rows_of("job-1")
    assert rows[::-1] == await journal.rows_of("Job-1")


async def test_what_a_link_or_a_path_leads_to_is_found_for_who_asked_for_it(
    journal: Journal,
) -> None:
    await accepted(journal, media=[{"kind": "video", "url": "https://host/a.mp4?sign=1"}])
    await journal.add_saved_file("job-1", 0, "/output/a.mp4", {})
    row = await journal.get("job-1")
    assert row is not None

    assert [] == await journal.find_made(url="https://host/a.mp4", user="bob")
    assert [] == await journal.find_made(path="/output/a.mp4", user="bob")
    await journal.add_asked("bob", row.id)
    assert [row] == await journal.find_made(url="https://host/a.mp4", user="bob")
    assert [row] == await journal.find_made(path="/output/a.mp4", user="bob")


async def test_of_a_users_requests_at_once_none_exceeds_the_users_budget(journal: Journal) -> None:
    """Fifty calls of two users, and those of the operator, who has none."""
    wishes = [replace(new(f"key-{n}"), payer=("alice", "bob", "")[n % 3]) for n in range(50)]
    made = await asyncio.gather(
        *(journal.insert(wish, user_budget=100) for wish in wishes), return_exceptions=True
    )

    payers = [row.payer for row in made if isinstance(row, Submission)]
    assert {"alice": 3, "bob": 3, "": 16} == {payer: payers.count(payer) for payer in payers}
    refused = [each for each in made if not isinstance(each, Submission)]
    assert 28 == len(refused)
    assert {"This costs 30 credits, and of your daily 100 for dreamina 90 are spent;"} == {
        str(each).partition(" nothing")[0] for each in refused
    }


async def test_a_users_budget_and_that_of_all_are_kept_together(journal: Journal) -> None:
    made = await asyncio.gather(
        *(
            journal.insert(replace(new(f"{n}"), payer=f"{n % 5}"), budget=200, user_budget=60)
            for n in range(20)
        ),
        return_exceptions=True,
    )

    payers = [row.payer for row in made if isinstance(row, Submission)]
    assert 6 == len(payers)
    assert max(payers.count(payer) for payer in payers) <= 2


async def test_a_second_post_counts_for_the_budget_of_its_payer(journal: Journal) -> None:
    row = await journal.insert(replace(new(), payer="alice"), user_budget=50)
    await journal.claim("key")
    row = await journal.count_post(row, expected=0, user_budget=50)

    with pytest.raises(BudgetError, match="of your daily 50 for dreamina 30 are spent"):
        await journal.count_post(row, expected=1, user_budget=50)
    assert 2 == (await journal.count_post(row, expected=1, user_budget=60)).posts
    with pytest.raises(BudgetError, match="of your daily 60 for dreamina 60"):
        await journal.check_budget(ORIGIN, "dreamina", 1, None, payer="alice", user_budget=60)
    await journal.check_budget(ORIGIN, "dreamina", 30, None, payer="bob", user_budget=60)
    await journal.check_budget(ORIGIN, "dreamina", 30, None, user_budget=0)


@pytest.fixture
def users(store: Store, clock: StoppedClock) -> Users:
    return Users(store, clock.now)


async def test_a_token_is_its_users_and_nobody_can_read_it_in_the_database(
    users: Users, store: Store
) -> None:
    token = await users.add("alice")
    reader = await users.add("Bob.B@example.com", may_submit=False)

    bob, alice = sorted(await users.all(), key=lambda user: user.name)
    assert ("alice", True, NOON) == (alice.name, alice.may_submit, alice.created_at)
    assert ("Bob.B@example.com", False) == (bob.name, bob.may_submit)
    assert (alice, bob) == (await users.find(token), await users.find(reader))
    assert re.fullmatch("[0-9a-f]{64}", alice.id)
    assert re.fullmatch(TOKEN_PREFIX + "[A-Za-z0-9_-]{43}", token)
    async with store.read() as rows:
        assert token not in str(await rows.all("select * from users"))


async def test_what_is_no_users_token_is_nobodys(users: Users) -> None:
    token = await users.add("alice")

    for other in (
        "",
        token[:-1],
        f"{token}a",
        f"{token} ",
        f"{token[:-1]}{'b' if token[-1] == 'a' else 'a'}",
        token.removeprefix(TOKEN_PREFIX),
        f"{TOKEN_PREFIX}{chr(0x661) * 43}",
        f"{token}{chr(0)}",
        "x" * 100_000,
    ):
        assert await users.find(other) is None


async def test_a_user_who_is_removed_is_nobody_and_the_next_of_the_name_another(
    users: Users, engine: str, folder: Path, clock: StoppedClock
) -> None:
    token = await users.add("alice")
    (before,) = await users.all()
    with pytest.raises(RequestError, match="There is a user alice already"):
        await users.add("alice")
    other = ENGINES[engine].store(folder, clock)
    try:
        await Users(other, clock.now).remove("alice")
    finally:
        await other.close()

    assert await users.find(token) is None
    again = await users.find(await users.add("alice"))
    assert again is not None
    assert again.id != before.id
    with pytest.raises(RequestError, match="no user of this name"):
        await users.remove("bob")


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a\n", "a\0", "é", "x" * 65, "a;", "../a"])
async def test_a_name_that_may_be_misread_is_none(users: Users, name: str) -> None:
    with pytest.raises(RequestError, match="nothing was done"):
        await users.add(name)
    assert [] == await users.all()


def nobody(_: Traffic) -> tuple[str, ...]:
    return ()


async def test_what_waits_holds_its_key_and_its_price(journal: Journal) -> None:
    row = await queued(journal, payer="alice")

    assert ("queued", 0, NOON + 600) == (row.state, row.posts, row.queued_until)
    assert row == await journal.find_live("key")
    with pytest.raises(JournalError, match="submitted before"):
        await journal.insert(new())
    with pytest.raises(BudgetError):
        await journal.check_budget(ORIGIN, "dreamina", 30, 59)
    with pytest.raises(BudgetError):
        await journal.check_budget(ORIGIN, "dreamina", 30, None, payer="alice", user_budget=59)


async def test_what_may_start_at_once_never_waits(journal: Journal) -> None:
    waiting = replace(new(), queued_until=NOON + 600)

    row = await journal.insert(waiting, may_start=anybody, most_queued=0)

    assert "submitting" == row.state
    assert row == await journal.find_live("key")


async def test_a_payer_has_no_more_waiting_than_he_may(journal: Journal) -> None:
    for key in ("one", "two"):
        await queued(journal, key, payer="alice")
    third = replace(new("three"), payer="alice", queued_until=NOON + 600)

    with pytest.raises(QueueFullError, match="2 of your submissions"):
        await journal.insert(third, may_start=nobody, most_queued=2)
    of_another = await journal.insert(replace(third, payer="bob"), may_start=nobody, most_queued=2)

    assert await journal.find_live("three") == of_another


async def test_what_waits_is_begun_once_and_only_in_its_turn(journal: Journal) -> None:
    row = await queued(journal)

    too_early = await journal.begin(row, nobody)
    begun = await journal.begin(row, anybody)
    again = await journal.begin(row, anybody)

    assert (None, None) == (too_early, again)
    assert begun is not None
    assert ("submitting", 0) == (begun.state, begun.posts)


async def test_what_the_user_took_out_is_not_begun(journal: Journal) -> None:
    row = await queued(journal)
    gone = await journal.close_row(row, "cancelled", "no more")

    assert "cancelled" == gone.state
    assert await journal.begin(row, anybody) is None
    assert await journal.find_live("key") is None


async def test_a_refused_post_is_taken_off_and_its_row_waits_in_its_old_place(
    journal: Journal, clock: StoppedClock
) -> None:
    first, behind = await queued(journal, "first"), await queued(journal, "behind")
    begun = await journal.begin(first, anybody)
    assert begun is not None
    await journal.claim("first")
    begun = await journal.add_evidence(begun.id, before=["job-0"], body={"a": 1})
    await journal.count_post(begun, expected=0)

    untouched = await journal.put_back(begun)
    back = await journal.put_back(begun, was_refused=True, pause_s=10, is_full=True)
    traffic = await journal.traffic(ORIGIN, "dreamina")
    again = await journal.begin(back, anybody)
    assert again is not None
    sent_again = await journal.count_post(again, expected=0)

    assert ("submitting", 1) == (untouched.state, untouched.posts)
    assert ("queued", 0, None, None) == (
        back.state,
        back.posts,
        back.sent_at,
        back.first_sent_at,
    )
    refused = {"sent_at": NOON, "before": ["job-0"]}
    assert {"body": {"a": 1}, "refused": refused} == back.evidence
    assert [first.id, behind.id] == [each.id for each in traffic.waiting]
    assert {"": Refused(1, NOON, NOON + 10, 10)} == traffic.refused
    assert 1 == sent_again.posts


async def test_what_another_process_has_taken_over_is_not_put_back(journal: Journal) -> None:
    """As one that took it, sent it, and waits for the answer to another POST than was refused."""
    begun = await journal.begin(await queued(journal), anybody)
    assert begun is not None
    await journal.claim("key")
    await journal.count_post(begun, expected=0)
    await journal.release("key")

    after = await journal.put_back(begun, was_refused=True, pause_s=10, is_full=True)

    assert ("submitting", 1) == (after.state, after.posts)
    assert {} == (await journal.traffic(ORIGIN, "dreamina")).refused


async def test_what_was_sent_or_never_waits_is_not_put_back(journal: Journal) -> None:
    plain = await sent(journal, "plain")
    taken = await journal.begin(await queued(journal, "taken"), anybody)
    assert taken is not None
    await journal.accept(taken.id, "job-1", job())
    await journal.claim("taken")

    for row in (plain, taken):
        after = await journal.put_back(row, was_refused=True)
        assert after.state in ("submitting", "accepted")


async def test_the_pause_grows_only_while_as_few_are_refused_as_before(
    journal: Journal, clock: StoppedClock
) -> None:
    pauses = []
    for gap_s in (0, 15, 25, 200):
        clock.at += gap_s
        begun = await journal.begin(
            await journal.find_live("key") or await queued(journal), anybody
        )
        assert begun is not None
        await journal.claim("key")
        await journal.put_back(begun, pause_s=10, is_full=True)
        await journal.release("key")
        pauses.append((await journal.traffic(ORIGIN, "dreamina")).refused[""].pause_s)

    assert [10, 20, 40, 10] == pauses


async def test_a_refusal_holds_up_its_own_service_and_account_alone(journal: Journal) -> None:
    begun = await journal.begin(await queued(journal), anybody)
    assert begun is not None
    await journal.claim("key")
    await journal.put_back(begun, pause_s=10, is_full=True)

    places = [("dreamina", ""), ("pixverse", ""), ("dreamina", "alice"), ("pixverse", "alice")]
    refused = [(await journal.traffic(ORIGIN, *place)).refused for place in places]

    assert [1, 0, 0, 0] == [len(each) for each in refused]
    assert {} == (await journal.traffic("https://elsewhere.example", "dreamina")).refused


async def test_what_waits_past_midnight_counts_while_it_may_still_be_sent(
    journal: Journal, clock: StoppedClock
) -> None:
    midnight = NOON + 43_200
    await journal.insert(
        replace(new("a"), queued_until=midnight + 600), may_start=nobody, most_queued=9
    )

    clock.at = midnight + 599
    with pytest.raises(BudgetError):
        await journal.check_budget(ORIGIN, "dreamina", 30, 59)
    clock.at = midnight + 600
    await journal.check_budget(ORIGIN, "dreamina", 30, 30)


async def test_what_waited_until_midnight_counts_for_the_day_that_begins_then(
    journal: Journal, clock: StoppedClock
) -> None:
    midnight = NOON + 43_200
    row = await journal.insert(
        replace(new("a"), queued_until=midnight + 600), may_start=nobody, most_queued=9
    )
    clock.at = midnight
    begun = await journal.begin(row, anybody)
    assert begun is not None
    await journal.claim("a")
    await journal.count_post(begun, expected=0)

    clock.at = midnight + 3600
    with pytest.raises(BudgetError):
        await journal.check_budget(ORIGIN, "dreamina", 30, 59)


async def test_how_long_an_answer_is_waited_for_counts_from_the_call_where_nothing_waited(
    journal: Journal, clock: StoppedClock
) -> None:
    row = await journal.insert(new())
    await journal.claim("key")
    clock.at += 30
    await journal.count_post(row, expected=0)
    clock.at += 10
    figures = await journal.figures(ORIGIN, ["dreamina"])

    assert figures is not None
    assert 40 == figures.oldest_submitting_s


async def test_how_long_the_oldest_waits_to_be_sent_counts_from_its_call(
    journal: Journal, clock: StoppedClock
) -> None:
    row = await queued(journal)
    clock.at += 30
    begun = await journal.begin(row, anybody)
    assert begun is not None
    await journal.claim("key")
    await journal.put_back(begun, pause_s=10, is_full=True)
    clock.at += 10
    figures = await journal.figures(ORIGIN, ["dreamina"])

    assert figures is not None
    assert 40 == figures.oldest_queued_s


async def test_a_vendor_that_is_away_is_left_alone_and_nothing_is_learned_of_its_slots(
    journal: Journal,
) -> None:
    begun = await journal.begin(await queued(journal, runs_on="a@example.com"), anybody)
    assert begun is not None
    await journal.claim("key")
    await journal.put_back(begun, was_refused=True, pause_s=10)

    refused = (await journal.traffic(ORIGIN, "dreamina")).refused["a@example.com"]

    assert NOON + 10 == refused.not_before
    assert refused.most > 1000


async def refused_slot(
    journal: Journal, runs_on: str = "x", *, pause_s: float = 10, is_full: bool = True
) -> Refused:
    """What is known of an account's slots after it refused one that waits, which is then over."""
    begun = await journal.begin(await queued(journal, runs_on=runs_on), anybody)
    assert begun is not None
    await journal.claim("key")
    back = await journal.put_back(begun, was_refused=True, pause_s=pause_s, is_full=is_full)
    await journal.release("key")
    await journal.close_row(back, "cancelled", "over")
    return (await journal.traffic(ORIGIN, "dreamina")).refused[runs_on]


async def runs(journal: Journal, key: str, runs_on: str = "x") -> None:
    """A job on this account."""
    row = await sent(journal, key)
    await journal.accept(row.id, f"job of {key}", job(), runs_on=runs_on)


async def test_an_account_that_refuses_has_as_many_slots_as_jobs_run_on_it(
    journal: Journal,
) -> None:
    for key, runs_on in (("one", "x"), ("two", "x"), ("three", "y")):
        await runs(journal, key, runs_on)

    assert 2 == (await refused_slot(journal, "x")).most
    assert 1 == (await refused_slot(journal, "y")).most
    assert 3 == (await refused_slot(journal, "")).most  # whichever its vendor chooses


async def test_who_is_refused_beside_as_many_as_before_waits_longer(journal: Journal) -> None:
    await runs(journal, "one")

    pauses = [(await refused_slot(journal)).pause_s for _ in range(2)]
    await runs(journal, "two")
    pauses.append((await refused_slot(journal)).pause_s)

    assert [10, 20, 10] == pauses


async def test_a_vendor_that_is_away_changes_nothing_of_what_is_known_of_its_slots(
    journal: Journal, clock: StoppedClock
) -> None:
    await runs(journal, "one")
    await refused_slot(journal)
    clock.at += 5

    away = await refused_slot(journal, pause_s=3, is_full=False)
    for_longer = await refused_slot(journal, pause_s=30, is_full=False)

    assert Refused(1, NOON, NOON + 10, 10) == away
    assert Refused(1, NOON, NOON + 35, 10) == for_longer


async def test_a_pause_while_a_vendor_was_away_makes_none_longer(journal: Journal) -> None:
    await refused_slot(journal, is_full=False)

    assert Refused(1, NOON, NOON + 1, 1) == await refused_slot(journal, pause_s=1)


class Noting:
    """A store that keeps the names of its transactions."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.names: list[set[str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, *names: str) -> AbstractAsyncContextManager[Rows]:
        self.names.append(set(names))
        return self._store.write(*names)


async def test_what_takes_slots_or_a_place_in_the_queue_goes_one_after_the_other(
    store: Store, clock: StoppedClock
) -> None:
    """Of servers that share a journal: transactions that share no name go beside each other."""
    noting = Noting(store)
    journal = Journal(cast("Store", noting), clock.now)
    await journal.insert(new("at once"))
    first = await queued(journal, "first")
    await queued(journal, "second")
    await queued(journal, "elsewhere", service="pixverse")
    await queued(journal, "another payer's", service="google-flow", payer="bob")
    begun = await journal.begin(first, anybody)
    assert begun is not None
    await journal.put_back(begun)

    at_once, one, two, elsewhere, another, begin, put_back = (each for each in noting.names if each)
    assert one & two & begin & put_back
    assert one & elsewhere
    assert not one & elsewhere & begin
    assert not another & (one | elsewhere | begin)
    assert not at_once & (one | begin)


async def test_a_slot_is_taken_by_what_runs_and_by_what_may_run(
    journal: Journal, clock: StoppedClock
) -> None:
    runs = await accepted(journal, "runs", "job-1")
    await accepted(journal, "done", "job-2", status="completed")
    doubtful = await sent(journal, "doubtful")
    await journal.mark_unconfirmed(doubtful.id, "nobody knows")
    unanswered = await sent(journal, "unanswered")
    await sent(journal, "elsewhere", service="pixverse")

    at_once = await journal.traffic(ORIGIN, "dreamina")
    clock.at += 700
    soon = await journal.traffic(ORIGIN, "dreamina")
    clock.at += 3_600
    late = await journal.traffic(ORIGIN, "dreamina")

    def ids(traffic: Traffic) -> list[str]:
        return [each.id for each in traffic.running]

    assert [runs.id, doubtful.id, unanswered.id] == ids(at_once)
    assert [runs.id, unanswered.id] == ids(soon)
    assert [] == ids(late)


async def test_the_account_is_told_by_the_first_answer_where_it_was_not_known(
    journal: Journal,
) -> None:
    known = await queued(journal, "known", runs_on="a@example.com")
    chosen = await queued(journal, "chosen")
    for row, job_id in ((known, "job-1"), (chosen, "job-2")):
        await journal.accept(row.id, job_id, job(), runs_on="b@example.com")

    running = (await journal.traffic(ORIGIN, "dreamina")).running

    assert ["a@example.com", "b@example.com"] == [each.runs_on for each in running]


async def test_only_what_waits_or_was_about_to_be_sent_is_unsent(journal: Journal) -> None:
    waiting, begun = await queued(journal, "waits"), await queued(journal, "begun")
    await journal.begin(begun, anybody)
    await sent(journal, "sent")
    await journal.insert(new("never waits"))
    await queued(journal, "elsewhere", origin="https://other.example.com")

    assert [waiting.id, begun.id] == [row.id for row in await journal.unsent(ORIGIN)]


async def test_of_several_servers_one_at_a_time_decides_who_is_next(
    engine: str, folder: Path, journal: Journal, clock: StoppedClock
) -> None:
    rows = [await queued(journal, f"key-{n}") for n in range(8)]

    def three(traffic: Traffic) -> list[str]:
        free = max(0, 3 - len(traffic.running))
        return [each.id for each in traffic.waiting][: free and 8]

    async with second_journal(engine, folder, clock) as other:
        tries = [each.begin(row, three) for row in rows for each in (journal, other)]
        begun = [row for row in await asyncio.gather(*tries) if row is not None]

    assert 3 == len(begun) == len({row.id for row in begun})
