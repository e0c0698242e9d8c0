"""What one look, and a series of them, conclude about a row whose request has no answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from mcp_server.jobs.reconciliation import Reconciler, Sighting
from mcp_server.jobs.repository import key_of
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import NewSubmission, Submission
from mcp_server.journal.sqlite import SqliteStore
from mcp_server.media.files import OutputFolder
from mcp_server.services.base import Order
from mcp_server.services.registry import service_of
from mcp_server.settings import Settings
from mcp_server.upstream.client import Upstream
from tests.services.scripted import Says
from tests.support.harness import ORIGIN, TOKEN, Network, VirtualClock
from tests.support.vendors import FLOW_VIDEO, PIXVERSE_VIDEO, GoogleFlow, PixVerse

Owner = Literal["nobody", "this row", "the same key", "the same key, failed", "another key"]


@dataclass
class Scene:
    """A row that was sent, and the vendor that is looked at for it."""

    vendor: PixVerse | GoogleFlow
    journal: Journal
    reconciler: Reconciler
    order: Order
    row: Submission

    async def add(self, owner: Owner = "nobody", **facts: Any) -> str:
        """A job that does what was ordered, and whose the journal says it is."""
        record = self.vendor.add(self.order.source, **facts)
        made = str(record.get("video_id") or record.get("jobid"))
        if owner == "this row":
            await self.journal.accept(self.row.id, made, {"status": "running"})
        elif owner != "nobody":
            key = "another" if owner == "another key" else self.row.key
            if key == self.row.key:  # one row of a key is live: the other is the one that ended
                await self.journal.close_row(self.row, "cancelled", "given up")
            other = await self.journal.insert(_new(self.order, key))
            await self.journal.accept(other.id, made, {"status": "running"})
            if owner.endswith("failed"):
                await self.journal.record(made, {"status": "failed"})
        return made

    async def look(self) -> Sighting:
        return await self.reconciler.look(self.order, self.row)


def _new(order: Order, key: str) -> NewSubmission:
    return NewSubmission(
        key, ORIGIN, order.service, order.operation, order.source, dict(order.result_arguments), 0
    )


@asynccontextmanager
async def scene(folder: Path, vendor: PixVerse | GoogleFlow) -> AsyncIterator[Scene]:
    clock = VirtualClock()
    settings = Settings.read({"USEAPI_TOKEN": TOKEN})
    upstream = Upstream(settings, clock, OutputFolder(folder), Network(vendor))
    journal = Journal(SqliteStore(folder, clock), clock.now)
    source = PIXVERSE_VIDEO if isinstance(vendor, PixVerse) else FLOW_VIDEO
    order = service_of(source, "source").order("upscale_video", source, {}, {})
    key = key_of(order, ORIGIN)
    row = await journal.insert(_new(order, key))
    await journal.claim(key)
    row = await journal.count_post(row, expected=0)
    try:
        yield Scene(vendor, journal, Reconciler(clock, upstream, journal), order, row)
    finally:
        await upstream.close()
        await journal.close()


@pytest.mark.parametrize(
    ("owner", "found", "is_absent"),
    [
        ("nobody", "ours", False),
        ("this row", "ours", False),
        ("the same key", None, True),
        ("the same key, failed", None, True),
        ("another key", None, True),
    ],
)
async def test_a_job_is_ours_unless_the_journal_knows_it_as_another_rows(
    tmp_path: Path, owner: Owner, found: str | None, is_absent: bool
) -> None:
    async with scene(tmp_path, PixVerse()) as s:
        job_id = await s.add(owner)
        sighting = await s.look()

    assert is_absent == sighting.proves_absence
    assert (found == "ours") == (sighting.found is not None and sighting.found.ours)
    assert (owner == "the same key") == (job_id in (sighting.hint or ""))


@pytest.mark.parametrize(
    ("owner", "stands"),
    [("the same key", True), ("the same key, failed", False), ("another key", False)],
)
async def test_where_a_repeat_is_refused_an_earlier_row_of_this_keys_job_is_the_answer(
    tmp_path: Path, owner: Owner, stands: bool
) -> None:
    async with scene(tmp_path, GoogleFlow()) as s:
        job_id = await s.add(owner, request={"mediaGenerationId": FLOW_VIDEO})
        sighting = await s.look()

    if stands:
        assert sighting.found is not None
        assert (job_id, False) == (sighting.found.job.job_id, sighting.found.ours)
    else:
        assert sighting.found is None
        assert sighting.proves_absence


@pytest.mark.parametrize(("age_s", "is_earlier"), [(300, True), (-3, False)])
async def test_anothers_job_that_was_made_beside_ours_is_not_told_as_an_earlier_one(
    tmp_path: Path, age_s: float, is_earlier: bool
) -> None:
    """Its reference is another's, and Google Flow answers ours from what that one made."""
    async with scene(tmp_path, GoogleFlow()) as s:
        s.row = await s.journal.add_evidence(s.row.id, reference="ours")
        request = {"mediaGenerationId": FLOW_VIDEO, "replyRef": "theirs"}
        job_id = await s.add(age_s=age_s, request=request)
        sighting = await s.look()

    assert sighting.found is not None
    assert (job_id, is_earlier) == (sighting.found.job.job_id, not sighting.found.ours)


async def test_of_several_earlier_jobs_the_newest_is_the_answer(tmp_path: Path) -> None:
    async with scene(tmp_path, GoogleFlow()) as s:
        ages = {age_s: await s.add(age_s=age_s) for age_s in (3000, 2000, 4000)}
        sighting = await s.look()

    assert sighting.found is not None
    assert ages[2000] == sighting.found.job.job_id


async def test_a_job_without_a_time_may_be_ours_beside_one_that_has_one(tmp_path: Path) -> None:
    async with scene(tmp_path, GoogleFlow()) as s:
        timeless = await s.add()
        del s.vendor.jobs[timeless]["created"]
        with_a_time = await s.add()
        sighting = await s.look()

    assert sighting.found is not None
    assert sighting.found.ours
    assert sighting.found.job.job_id in {timeless, with_a_time}


@pytest.mark.parametrize(
    ("tells_time", "age_s", "is_ours"),
    [(False, 119, True), (False, 121, False), (True, 1.9, True), (True, 2.1, False)],
)
async def test_a_job_is_ours_if_it_is_not_older_by_the_vendors_clock(
    tmp_path: Path, tells_time: bool, age_s: float, is_ours: bool
) -> None:
    """A clock that is told is exact to two seconds; else two minutes are allowed for."""
    async with scene(tmp_path, PixVerse(tells_time=tells_time)) as s:
        await s.add(age_s=age_s)
        sighting = await s.look()

    assert is_ours == (sighting.found is not None)


@pytest.mark.parametrize(
    ("clock_s", "age_s", "is_ours"),
    [(None, 1000, True), (0.0, 1.9, True), (0.0, 2.1, False), (60.0, -59, True), (60.0, 0, False)],
)
async def test_an_older_job_that_the_noted_list_lacked_is_not_ours_by_the_vendors_clock(
    tmp_path: Path, clock_s: float | None, age_s: float, is_ours: bool
) -> None:
    """A list may lack what is there; without a clock it is all that is known."""
    async with scene(tmp_path, PixVerse()) as s:
        noted = {} if clock_s is None else {"clock_s": clock_s}
        s.row = await s.journal.add_evidence(s.row.id, before=[], horizon=None, **noted)
        await s.add(age_s=age_s)
        sighting = await s.look()

    assert is_ours == (sighting.found is not None)


async def test_a_job_without_a_time_that_the_noted_list_lacked_may_be_ours(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, PixVerse()) as s:
        s.row = await s.journal.add_evidence(s.row.id, before=[], horizon=None, clock_s=0.0)
        job_id = await s.add()
        del s.vendor.jobs[job_id]["created_at"]
        sighting = await s.look()

    assert sighting.found is not None
    assert job_id == sighting.found.job.job_id


@pytest.mark.parametrize(
    ("age_s", "was_there", "is_seen"),
    [(30, False, True), (60, False, False), (30, True, False)],
)
async def test_what_was_refused_is_looked_for_by_what_was_noted_when_it_left(
    tmp_path: Path, age_s: float, was_there: bool, is_seen: bool
) -> None:
    """It left fifty seconds ago."""
    async with scene(tmp_path, PixVerse()) as s:
        job_id = await s.add(age_s=age_s)
        noted = {"before": [job_id] if was_there else [], "horizon": None, "clock_s": 0.0}
        refused = {"sent_at": s.vendor.now() - 50, **noted}
        s.row = await s.journal.add_evidence(s.row.id, reference="ours", refused=refused)
        sighting = await s.reconciler.look_for_refused(s.order, s.row)

    assert is_seen == (sighting is not None)


async def test_an_earlier_job_is_not_what_a_refused_request_made(tmp_path: Path) -> None:
    async with scene(tmp_path, GoogleFlow()) as s:
        await s.add(age_s=3000)
        refused = {"sent_at": s.vendor.now()}
        s.row = await s.journal.add_evidence(s.row.id, reference="ours", refused=refused)
        found = (await s.look()).found
        sighting = await s.reconciler.look_for_refused(s.order, s.row)

    assert found is not None
    assert sighting is None


@pytest.mark.parametrize(
    ("created_at", "is_ours"), [("2020-01-01T00:00:00Z", False), (None, False), ("now", True)]
)
async def test_what_is_beyond_the_list_that_was_noted_is_not_ours(
    tmp_path: Path, created_at: str | None, is_ours: bool
) -> None:
    """Of a long list only the newest page is noted: a job without a time may be older than it."""
    async with scene(tmp_path, PixVerse()) as s:
        now = s.vendor.now()
        s.row = await s.journal.add_evidence(s.row.id, before=[], horizon=now - 60)
        video = s.vendor.jobs[await s.add()]
        if created_at is None:
            del video["created_at"]
        elif created_at != "now":
            video["created_at"] = created_at
        sighting = await s.look()

    assert is_ours == (sighting.found is not None)


@pytest.mark.parametrize(
    ("answers", "note"),
    [
        ([], "PixVerse was asked 3 times and did not list it"),
        ([Says({}, 500)] * 3, "PixVerse was asked 2 times and did not list it"),
        ([Says({}, 500)] * 9, "PixVerse can't be read"),
        ([Says({"data": [{}]})] * 3, "PixVerse was asked 3 times and what it answered proves"),
    ],
)
async def test_a_search_says_how_many_looks_were_answered_and_what_they_brought(
    tmp_path: Path, answers: list[Says], note: str
) -> None:
    """A read is tried three times, so three answers are one look."""
    async with scene(tmp_path, PixVerse()) as s:
        s.vendor.instead["GET /v2/pixverse/videos"] = list(answers)
        search = await s.reconciler.search(s.order, s.row, (0.0, 10.0, 20.0))

    assert search.note.startswith(note)
    assert search.proves_absence == (note.endswith("did not list it"))


async def test_a_search_of_one_look_says_so(tmp_path: Path) -> None:
    async with scene(tmp_path, PixVerse()) as s:
        search = await s.reconciler.search(s.order, s.row, (0.0,))

    assert "PixVerse was asked once and did not list it" == search.note


async def test_a_journal_that_can_not_be_read_does_not_stop_a_look(tmp_path: Path) -> None:
    async with scene(tmp_path, PixVerse()) as s:
        job_id = await s.add()
        await s.journal.close()
        (tmp_path / "journal.sqlite").write_bytes(b"no database" * 1000)
        sighting = await s.look()

    assert sighting.found is not None
    assert job_id == sighting.found.job.job_id
