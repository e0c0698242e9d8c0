"""Journal on a store whose COMMIT may be lost: before it arrives, or only its answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest

from mcp_server.clock import Clock
from mcp_server.errors import JournalCutError, JournalError
from mcp_server.journal.base import Rows
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import Submission
from mcp_server.journal.sqlite import SqliteStore
from tests.journal.rows import REPEATABLE, Step, StoppedClock, new, sent

Cut = Literal["request", "answer"]


class CutStore(SqliteStore):
    """SQLite as it is behind a network that breaks.

    Attributes:
        cuts: are used up by the next transactions.
        loses: a key that is taken over at the next cut.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        super().__init__(folder, clock)
        self.cuts: list[Cut] = []
        self.loses = ""

    @asynccontextmanager
    async def write(self, *names: str) -> AsyncIterator[Rows]:
        cut = self.cuts.pop(0) if self.cuts else None
        lost = JournalCutError(message="It went away.", hint="Call again in a few seconds.")
        async with super().write(*names) as rows:
            yield rows
            if cut:
                await self.release(self.loses)
            if cut == "request":
                raise lost
        if cut == "answer":
            raise lost


@pytest.fixture
def store(folder: Path, clock: StoppedClock) -> CutStore:
    return CutStore(folder, clock)


STEPS: dict[str, Step] = {
    **REPEATABLE,
    "count": lambda journal, row: journal.count_post(row, expected=1),
}


async def state(journal: Journal, row: Submission) -> object:
    return (
        await journal.get(row.id),
        await journal.saved_files(row.id),
        await journal.find_quote("key"),
    )


async def begun(store: CutStore, clock: StoppedClock) -> tuple[Journal, Submission]:
    journal = Journal(store, clock.now)
    row = await sent(journal)
    await journal.begin_quote("key")
    return journal, row


@pytest.mark.parametrize("cuts", [["request"], ["answer"], ["answer", "request", "answer"]])
@pytest.mark.parametrize("step", STEPS)
async def test_a_step_whose_commit_is_lost_comes_to_the_same(
    store: CutStore, clock: StoppedClock, step: str, cuts: list[Cut]
) -> None:
    journal, row = await begun(store, clock)
    store.cuts = list(cuts)
    await STEPS[step](journal, row)
    was_cut = len(cuts) - len(store.cuts)
    store.cuts = []
    after = await state(journal, row)
    await journal.close()

    other = CutStore(store._folder.parent / "other", clock)
    smooth, its_row = await begun(other, clock)
    await STEPS[step](smooth, its_row)
    expected = await state(smooth, its_row)
    await smooth.close()

    assert 1 <= was_cut
    assert str(expected).replace(its_row.id, row.id) == str(after)


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_step_whose_commits_are_all_lost_says_so(
    store: CutStore, clock: StoppedClock, step: str, lost: Cut
) -> None:
    journal, row = await begun(store, clock)
    store.cuts = [lost] * 4

    # What has been written is seen to be there, and needs no other commit.
    if step == "record" and lost == "answer":
        await STEPS[step](journal, row)
    else:
        with pytest.raises(JournalCutError):
            await STEPS[step](journal, row)
        assert [] == store.cuts
    await journal.close()


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_a_count_that_was_cut_is_not_made_once_the_key_is_somebody_elses(
    store: CutStore, clock: StoppedClock, lost: Cut
) -> None:
    journal, row = await begun(store, clock)
    store.cuts, store.loses = [lost], "key"

    with pytest.raises(JournalError, match="was taken over by another process"):
        await journal.count_post(row, expected=1)
    after = await journal.get(row.id)
    await journal.close()

    assert [] == store.cuts
    assert after is not None
    assert (2 if lost == "answer" else 1) == after.posts


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_an_insert_that_was_cut_is_left_to_the_next_call(
    store: CutStore, clock: StoppedClock, lost: Cut
) -> None:
    journal, _ = await begun(store, clock)
    store.cuts = [lost]

    with pytest.raises(JournalCutError):
        await journal.insert(new("another"))
    left = await journal.find_live("another")
    await journal.close()

    assert (lost == "answer") == (left is not None)
    assert left is None or left.posts == 0
