"""What a caller may see and end, where several requests are one job of the vendor's."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mcp_server.jobs.access import VisibleRows
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import Submission
from mcp_server.journal.sqlite import SqliteStore
from tests.journal.rows import StoppedClock, job, new
from tests.support import virtual_time


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    clock = StoppedClock()
    store = SqliteStore(tmp_path / "state", clock)
    yield Journal(store, clock.now)
    virtual_time.run(store.close())


async def answered(
    journal: Journal, key: str, payer: str, *, charged: bool = True, job_id: str = "job-1"
) -> Submission:
    row = await journal.insert(replace(new(key), payer=payer))
    return await journal.accept(row.id, job_id, job(), charged=charged)


async def test_who_was_given_a_job_that_another_paid_for_can_not_end_it(journal: Journal) -> None:
    """By whatever id it is named: the vendor said of another request that this job had done it."""
    hers = await answered(journal, "a", "alice")
    his = await answered(journal, "b", "bob", charged=False)
    alice, bob = (VisibleRows(journal, user) for user in ("alice", "bob"))

    for some_id in ("job-1", "Job-1", his.id, his.id.upper()):
        assert not await bob.may_end(some_id)
    for some_id in ("job-1", hers.id):
        assert await alice.may_end(some_id)
    assert await VisibleRows(journal).may_end("job-1")
    assert await bob.may_end("job-2")
    await bob.leave(his.id)
    assert await bob.get("job-1") is None
    assert await alice.get("job-1") is not None


async def test_a_job_that_nobody_here_paid_for_is_ended_by_who_alone_asked_for_it(
    journal: Journal,
) -> None:
    row = await answered(journal, "a", "alice", charged=False)
    alice = VisibleRows(journal, "alice")

    assert await alice.may_end("job-1")
    await journal.add_asked("bob", row.id)
    assert not await alice.may_end("job-1")


async def test_the_operator_is_one_of_those_who_asked(journal: Journal) -> None:
    """Nothing is written down of what he asks for but the rows that he caused."""
    row = await answered(journal, "a", "", charged=False)
    await journal.add_asked("bob", row.id)

    assert not await VisibleRows(journal, "bob").may_end("job-1")


async def test_a_user_sees_his_own_row_of_a_job_that_several_requests_named(
    journal: Journal,
) -> None:
    his = await answered(journal, "a", "bob")
    hers = await answered(journal, "b", "alice")

    assert his == await VisibleRows(journal, "bob").get("job-1")
    assert hers == await VisibleRows(journal).get("job-1")
    assert ["own", "hidden", "nobodys"] == [
        await VisibleRows(journal, user).standing(some_id)
        for user, some_id in (("bob", "JOB-1"), ("carol", "Job-1"), ("carol", "job-2"))
    ]


async def test_a_medium_is_read_with_the_account_of_a_job_that_its_reader_may_see(
    journal: Journal,
) -> None:
    """Two accounts may have one medium, where two users have one account at useapi.net."""
    rows = {}
    for number, name in enumerate(("alice", "bob", "carol")):
        added = replace(new(name), payer=name, account="" if name == "carol" else name)
        row = await journal.insert(added)
        rows[name] = await journal.accept(row.id, "job-1", job(), charged=number == 0)

    async def account(user: str, *, shared: bool = False) -> str | None:
        return await VisibleRows(journal, user, shared=shared).account_of("job-1")

    assert ["alice", "bob", ""] == [await account(name) for name in rows]
    assert await account("dan") is None
    assert await account("dan", shared=True) == ""
