"""A connection that breaks at every byte of a paid request and of its answer.

`make offsets` breaks it at every byte in each of three ways, and lets a gateway go on in the
vendor's place at every byte, in JSON and HTML by turns; it prints the table. The test takes the
edges and every 211th byte. Other jobs are in the vendor's lists: strangers', a second account's,
older ones that do the same, unreadable ones. All of it is our server's own path: `submit`, the
journal on a disk, httpx on a real socket. Only time is virtual.
"""

import asyncio
import contextlib
import gc
import multiprocessing
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest

from mcp_server.errors import JournalError, UseapiError
from mcp_server.journal.records import Submission
from mcp_server.models import OperationName
from mcp_server.sandbox.app import Sandbox
from mcp_server.services.base import Order
from mcp_server.services.registry import service_named
from mcp_server.settings import Settings
from mcp_server.tools.context import AppContext, open_app
from tests.support import virtual_time
from tests.support.cut_vendor import Break, CutVendor, Framing, How, Side
from tests.support.harness import GOOD, TOKEN, VirtualClock
from tests.support.neighbours import Makers, Neighbourhood

HOWS: tuple[How, ...] = get_args(How)
CUTS: tuple[How, ...] = ("cut", "reset", "stall")
PAGES: tuple[How, ...] = ("json", "html")
_FRAMINGS: tuple[tuple[str, Framing], ...] = (("google-flow", "chunks"), ("dreamina", "close"))
_EDGE = 256  # bytes at each end of an answer too long to be broken at every one
_STRIDE = 499
# Thousands of commits that wait for a disk take minutes.
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@dataclass(frozen=True)
class Story:
    """An operation, and what a break comes to.

    Args:
        unseen: where the vendor never saw the whole request.
        acted: where it did, but its answer did not arrive whole.
        framing: how the answer tells where it ends.
        sides: what is broken.
        beside: what makes it another story than the first of its operation.
        cuts: the ways in which every byte is broken, beside a gateway's page.
        has_unreadable: a job in the lists can't be read, so that nothing proves ours absent.
        by_hand: `make offsets` alone tells it; the tests have one like it.
    """

    service: str
    operation: OperationName
    unseen: str
    acted: str
    framing: Framing = "length"
    job_seconds: float = 600.0
    sides: tuple[Side, ...] = ("request", "answer")
    beside: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    cuts: tuple[How, ...] = CUTS
    has_unreadable: bool = False
    by_hand: bool = False

    @property
    def name(self) -> str:
        name = f"{self.service} {self.operation}"
        return f"{name}, {self.beside}" if self.beside else name

    @property
    def is_made(self) -> bool:
        """Whether it is made from a prompt."""
        return self.operation in ("generate_video", "generate_image")

    @property
    def source(self) -> str:
        """The first one to order it of."""
        kind = "image" if self.operation == "upscale_image" else "video"
        return "A windmill at dawn" if self.is_made else GOOD[self.service, kind]

    def order(self, source: str) -> Order:
        return service_named(self.service).order(self.operation, source, self.arguments, {})

    def next_source(self, job_id: str) -> str:
        """One that was not ordered before, after a job was made."""
        return f"A windmill at dawn, unlike {job_id[-8:]}" if self.is_made else job_id

    def may_come_to(self, fault: Break, answer_bytes: int) -> tuple[str, ...]:
        if fault.side == "request":
            return (self.unseen,)
        if fault.at < answer_bytes:
            return (self.acted,)
        if fault.how == "reset":  # what was sent whole may be lost on the way
            return ("answered", self.acted)
        # What ends with the connection: a silent one never does, and a page after it spoils it.
        whole = self.framing != "close" or fault.how == "cut"
        return ("answered" if whole else self.acted,)


STORIES = (
    Story("google-flow", "upscale_video", "sent once more", "found"),
    Story("pixverse", "upscale_video", "unconfirmed", "found", "chunks"),
    Story("dreamina", "upscale_video", "sent once more", "found"),
    # Over before the first look: only the refusal of a repeat tells then, by the job's name.
    Story(
        "dreamina",
        "upscale_video",
        "",
        "refused repeat",
        "chunks",
        job_seconds=1,
        sides=("answer",),
        beside="1 s",
    ),
    Story("dreamina", "upscale_image", "unconfirmed", "found", "close"),
    # The result is in the answer and nowhere else; no cost is documented.
    Story("google-flow", "upscale_image", "lost", "lost", job_seconds=20),
    # What is made from a prompt is never sent again.
    Story("dreamina", "generate_video", "unconfirmed", "found", cuts=()),
    Story("dreamina", "generate_image", "unconfirmed", "found", "close", by_hand=True),
    Story("google-flow", "generate_video", "unconfirmed", "found", "chunks", by_hand=True),
    Story("google-flow", "generate_image", "lost", "lost", job_seconds=20, cuts=()),
    Story("pixverse", "generate_video", "unconfirmed", "found", by_hand=True),
    Story("pixverse", "generate_image", "unconfirmed", "found", "chunks", cuts=()),
    # A repeat may be charged, and an older job that does the same is in the list.
    Story(
        "google-flow",
        "upscale_video",
        "unconfirmed",
        "found",
        beside="4K",
        arguments={"resolution": "4K"},
        cuts=(),
    ),
    *(
        Story(
            service,
            "upscale_video",
            "unconfirmed",
            "found",
            framing,
            beside="unreadable",
            cuts=(),
            has_unreadable=True,
        )
        for service, framing in _FRAMINGS
    ),
)


TOLD = [story for story in STORIES if not story.by_hand]


@dataclass
class Tally:
    """What many cases came to, by story, side and way; and those that came to something else."""

    came_to: Counter[tuple[str, Side, How, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Desk:
    """One story's server and vendor, for as many cases as there are."""

    def __init__(
        self, story: Story, app: AppContext, vendor: CutVendor, clock: VirtualClock
    ) -> None:
        self.story = story
        self.app = app
        self.vendor = vendor
        self.order = story.order(story.source)
        self._clock = clock
        self._sandbox = self._new_sandbox()
        self._row: Submission | None = None
        self._uncounted = 0
        vendor.at_first_byte = self._check_count

    async def case(self, fault: Break | None, then: Break | None = None) -> str:
        """What the order comes to if the wire breaks like this, and then like that.

        Raises:
            AssertionError: it came to what never may be.
        """
        await self._anew(fault, then)
        with contextlib.suppress(UseapiError):  # the row tells it too
            await self.app.jobs.submit(self.order)
        return self._came_to(await self._settled())

    async def again(self) -> int:
        """Order the same once more; how many POSTs left."""
        before = len(self.vendor.payments)
        await self.app.jobs.submit(self.order)
        await self._settled()
        return len(self.vendor.payments) - before

    async def newest_row(self) -> Submission:
        """What the journal knows of the last order."""
        (row,) = await self.app.journal.recent(1, origin=self.vendor.origin)
        return row

    async def _anew(self, fault: Break | None, then: Break | None) -> None:
        """A vendor that knows nothing of earlier cases, and a free key."""
        if self._row is not None:
            await self.app.journal.close_row(self._row, "freed", "The next case orders the same.")
        await asyncio.sleep(self.story.job_seconds + 1)
        if self._sandbox.accepted and self.story.service != "pixverse":
            self._sandbox = self._new_sandbox()
        elif self._sandbox.accepted:  # a new one would number its videos like the last
            made = str(self._sandbox.accepted[-1].job_id)
            self.order = self.story.order(self.story.next_source(made))
        self._sandbox.accepted.clear()
        self._sandbox.requests.clear()
        self.vendor.app = self._with_neighbours()
        self.vendor.breaks(fault, then)

    def _with_neighbours(self) -> Neighbourhood:
        if self.order.endpoint.answers_when_done:
            return Neighbourhood(self._sandbox, ())  # it has no list
        makers = Makers(self.order, self._clock.now)
        beside = [makers.strangers(30), makers.second_accounts(20), makers.twin(400, failed=True)]
        if not self.order.refuses_repeats:  # else it would be the answer
            beside += [makers.twin(10), makers.twin(300)]
        if self.story.has_unreadable:
            beside += [makers.strangers(60, unreadable=404), makers.strangers(5, unreadable=500)]
        return Neighbourhood(self._sandbox, tuple(beside))

    async def _check_count(self) -> None:
        """A POST begins to arrive: by now the journal must have counted it."""
        arriving = len(self.vendor.payments)
        self._uncounted += (await self.newest_row()).posts < arriving

    def _new_sandbox(self) -> Sandbox:
        return Sandbox(job_seconds=self.story.job_seconds, now=self._clock.now)

    async def _settled(self) -> Submission:
        """The row, once nobody works on it any more."""
        while (row := await self.newest_row()).state == "submitting":  # noqa: ASYNC110
            await asyncio.sleep(30)
        self._row = row
        return row

    def _came_to(self, row: Submission) -> str:
        accepted, seen = self._sandbox.accepted, [method for method, _ in self._sandbox.requests]
        looks = seen[seen.index("POST") :] if "POST" in seen else seen
        arrived = sum(bool(payment.request) for payment in self.vendor.payments)
        assert len(accepted) <= 1, "paid twice"
        assert arrived <= row.posts, "left uncounted"
        assert self._uncounted == 0, "counted too late"
        assert row.posts <= len(self.vendor.payments), "counted, but never left"
        assert row.posts <= (2 if self.order.refuses_repeats else 1), "sent too often"
        if row.state == "unconfirmed":
            assert not accepted, "the vendor lists it"
            return "unconfirmed"
        if row.state == "failed":
            assert row.job is not None
            return str(row.job["failure"]["code"])
        assert [row.job_id] == [work.job_id for work in accepted], "another job"
        if row.posts > 1:
            return "refused repeat" if seen.count("POST") > 1 else "sent once more"
        return "found" if "GET" in looks else "answered"


@contextlib.asynccontextmanager
async def desk(story: Story) -> AsyncIterator[Desk]:
    clock = VirtualClock()
    vendor = CutVendor(Sandbox(now=clock.now))
    vendor.framing = story.framing
    vendor.listen()
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        settings = Settings.read(
            {
                "USEAPI_TOKEN": TOKEN,
                "USEAPI_BASE_URL": vendor.origin,
                "USEAPI_OUTPUT_DIR": f"{folder}/output",
                "USEAPI_STATE_DIR": f"{folder}/state",
            }
        )
        try:
            async with open_app(settings, clock) as app:
                yield Desk(story, app, vendor, clock)
        finally:
            await vendor.close()


async def breaks(story: Story, *, stride: int = 1) -> Tally:
    """Break one story's connection at every byte, in each way.

    Args:
        stride: take only so many-th bytes, one way after the other, and the edges in each way.
    """
    tally = Tally()
    async with desk(story) as at_work:
        assert await at_work.case(None) == "answered"
        (whole,) = at_work.vendor.payments
        for side in story.sides:
            message = whole.request if side == "request" else whole.answer
            length = len(message) + (side == "answer")
            body = message.index(b"\r\n\r\n") + 4
            edges = {0, body, length - 1}
            for at in _offsets(length):
                if at in edges:
                    hows = HOWS
                elif stride == 1:
                    hows = (*story.cuts, PAGES[at % 2])
                else:
                    hows = (HOWS[at // stride % len(HOWS)],) if at % stride == 0 else ()
                for how in hows:
                    fault = Break(side, at, how)
                    try:
                        came_to = await at_work.case(fault)
                    except AssertionError as never:
                        came_to = str(never).partition("\n")[0]
                    tally.came_to[story.name, side, how, came_to] += 1
                    right = story.may_come_to(fault, len(whole.answer))
                    if came_to not in right:
                        tally.wrong.append(f"{story.name}, {fault}: {came_to}, not {right}")
    return tally


def _offsets(length: int) -> Iterator[int]:
    """All of them, but for the middle of what is very long."""
    for at in range(length):
        if at < _EDGE or at >= length - _EDGE or at % _STRIDE == 0:
            yield at


@dataclass(frozen=True)
class Errand:
    """A request that costs nothing: the upload of a file, or the question for a price."""

    service: str
    account: str = ""  # of an upload
    framing: Framing = "length"

    @property
    def name(self) -> str:
        return f"{self.service} {'upload' if self.account else 'quote'}"


ERRANDS = (
    Errand("pixverse", "user@example.com", "chunks"),
    Errand("dreamina", "CA:user@example.com"),
    Errand("google-flow", "user@example.com", "close"),
    Errand("pixverse"),
)


class ErrandDesk:
    """A server and a vendor for as many errands of one kind as there are."""

    def __init__(
        self, errand: Errand, app: AppContext, vendor: CutVendor, sandbox: Sandbox, folder: Path
    ) -> None:
        self.app, self.vendor, self.sandbox = app, vendor, sandbox
        self._errand, self._folder, self._number = errand, folder, 0

    async def case(self, fault: Break | None) -> str:
        """What it comes to if the wire breaks like this; afterwards it must go well, and once."""
        self._number += 1
        await asyncio.sleep(600)  # a price that was told is kept so long
        self.vendor.breaks(fault)
        came_to = await self._run()
        await asyncio.sleep(400)  # whoever waits for a silent wire has given up by then
        if came_to == "goes on":  # how it ended is told to who asks next
            came_to = await self._run()
        rows = len(await self._live_rows())
        assert rows == (came_to == "told" and bool(self._errand.account)), "a row that is not true"
        again, once_more = await self._run(), await self._run()
        arrived = sum(payment.is_whole for payment in self.vendor.payments)
        assert (again, once_more) == ("told", "told"), "not told afterwards"
        assert len(self.vendor.payments) == 1 + (came_to != "told"), "asked again for what was told"
        assert arrived >= 1, "told without an answer"
        assert not self.sandbox.accepted, "paid for"
        return came_to

    async def _run(self) -> str:
        try:
            if self._errand.account:
                return await self._upload()
            source = GOOD[self._errand.service, "video"]
            order = service_named(self._errand.service).order("upscale_video", source, {}, {})
            priced = await self.app.jobs.quote(order)
        except UseapiError as error:
            return error.code
        return "told" if priced.price else "no price"

    async def _upload(self) -> str:
        async def report(*_: object) -> None: ...

        picture = self._folder / "picture.png"
        picture.write_bytes(_PNG + f"{self._number:08}".encode())
        patience = self.app.jobs.patience(report)
        file = await self.app.jobs.open_file(
            str(picture), [self._folder], lambda file: None, patience
        )
        sent = await self.app.jobs.send_file(
            self._errand.service, self._errand.account, file, patience
        )
        return "told" if isinstance(sent, str) else "goes on"

    async def _live_rows(self) -> list[Submission]:
        rows = await self.app.journal.recent(1, origin=self.vendor.origin)
        return [row for row in rows if row.state == "accepted"]


_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\5\0\0\0\2\xd0\x08\2\0\0\0\0\0\0\0"


async def errand_breaks(errand: Errand, *, stride: int = 1) -> Tally:
    """Break the connection of an errand at every byte, in each way; see `breaks`."""
    tally, clock = Tally(), VirtualClock()
    sandbox = Sandbox(now=clock.now)
    vendor = CutVendor(sandbox)
    vendor.framing = errand.framing
    vendor.listen()
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        settings = Settings.read(
            {
                "USEAPI_TOKEN": TOKEN,
                "USEAPI_BASE_URL": vendor.origin,
                "USEAPI_OUTPUT_DIR": f"{folder}/output",
                "USEAPI_STATE_DIR": f"{folder}/state",
            }
        )
        try:
            async with open_app(settings, clock) as app:
                at_work = ErrandDesk(errand, app, vendor, sandbox, Path(folder))
                assert await at_work.case(None) == "told"
                (whole,) = vendor.payments
                sides: dict[Side, bytes] = {"request": whole.request, "answer": whole.answer}
                for side, message in sides.items():
                    for at in range(0, len(message), stride):
                        hows = (HOWS[at // stride % len(HOWS)],) if stride > 1 else CUTS
                        for how in hows:
                            await _break_errand(at_work, Break(side, at, how), errand, tally)
        finally:
            await vendor.close()
    return tally


async def _break_errand(at_work: ErrandDesk, fault: Break, errand: Errand, tally: Tally) -> None:
    try:
        came_to = await at_work.case(fault)
    except AssertionError as never:
        came_to = str(never).partition("\n")[0]
    tally.came_to[errand.name, fault.side, fault.how, came_to] += 1
    if came_to != ("upload_failed" if errand.account else "price_not_told"):
        tally.wrong.append(f"{errand.name}, {fault}: {came_to}")


def _in_a_process(story: Story | Errand) -> Tally:
    for name in ("sniffio", "trio"):  # httpcore looks for them on the disk at every request
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None = it can't be imported
    gc.freeze()
    if isinstance(story, Errand):
        return virtual_time.run(errand_breaks(story))
    return virtual_time.run(breaks(story))


def _all() -> Tally:
    tally = Tally()
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        everything: tuple[Story | Errand, ...] = (*STORIES, *ERRANDS)
        parts = [pool.submit(_in_a_process, story) for story in everything]
        for part in parts:
            tally.came_to += part.result().came_to
            tally.wrong += part.result().wrong
    return tally


def _table(tally: Tally) -> str:
    lines = [f"{'operation':34} {'side':8} {'break':6} {'cases':>6}  came to"]
    places = dict.fromkeys(place[:3] for place in tally.came_to)
    for story, side, how in places:
        counts = {
            came_to: count
            for (*place, came_to), count in tally.came_to.items()
            if tuple(place) == (story, side, how)
        }
        told = ", ".join(f"{came_to} {count}" for came_to, count in counts.items())
        lines.append(f"{story:34} {side:8} {how:6} {sum(counts.values()):6}  {told}")
    lines.append(f"{sum(tally.came_to.values())} cases, {len(tally.wrong)} wrong")
    return "\n".join(lines)


@pytest.mark.repeats
@pytest.mark.parametrize("story", TOLD, ids=lambda story: story.name)
async def test_a_wire_that_breaks_at_any_byte_loses_no_job_and_pays_for_none_twice(
    story: Story,
) -> None:
    tally = await breaks(story, stride=211)

    assert [] == tally.wrong[:10]
    assert sum(tally.came_to.values()) > 12


@pytest.mark.repeats
@pytest.mark.parametrize("errand", ERRANDS, ids=lambda errand: errand.name)
async def test_an_upload_or_a_quote_that_breaks_at_any_byte_pays_nothing_and_is_made_again(
    errand: Errand,
) -> None:
    tally = await errand_breaks(errand, stride=97)

    assert [] == tally.wrong[:10]
    assert sum(tally.came_to.values()) > 5


@pytest.mark.parametrize("story", TOLD, ids=lambda story: story.name)
async def test_what_never_left_is_not_counted(story: Story) -> None:
    async with desk(story) as at_work:
        await at_work.vendor.refuse()

        came_to = await at_work.case(None)
        posts = (await at_work.newest_row()).posts

    assert "unreachable" == came_to
    assert 0 == posts


@pytest.mark.parametrize("story", TOLD, ids=lambda story: story.name)
async def test_a_refused_connection_is_tried_again(story: Story) -> None:
    async with desk(story) as at_work:
        await at_work.vendor.refuse()
        waiting = asyncio.create_task(at_work.case(None))
        await asyncio.sleep(story.job_seconds + 1 + 1e-6)
        at_work.vendor.listen()

        came_to = await waiting
        posts = (await at_work.newest_row()).posts

    assert "answered" == came_to
    assert 1 == posts


@pytest.mark.parametrize("story", TOLD, ids=lambda story: story.name)
async def test_what_can_not_be_counted_does_not_leave(story: Story) -> None:
    async with desk(story) as at_work:
        await at_work.vendor.refuse()
        waiting = asyncio.create_task(at_work.app.jobs.submit(at_work.order))
        await asyncio.sleep(1e-6)
        await at_work.app.journal.close_row(await at_work.newest_row(), "cancelled", "Given up.")
        at_work.vendor.listen()

        with pytest.raises(JournalError):
            await waiting
        left = at_work.vendor.payments

    assert [] == left


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("story", [STORIES[0], STORIES[2]], ids=lambda story: story.name)
async def test_there_is_never_a_third_post(story: Story, how: How) -> None:
    async with desk(story) as at_work:
        came_to = await at_work.case(Break("request", 100, how), Break("request", 101, how))
        again = await at_work.again()

    assert ("unconfirmed", 0) == (came_to, again)


@pytest.mark.repeats
@pytest.mark.parametrize("side", get_args(Side))
@pytest.mark.parametrize(
    "story", [story for story in TOLD if story.acted != "lost"], ids=lambda story: story.name
)
async def test_the_same_call_after_a_break_sends_nothing_more(story: Story, side: Side) -> None:
    sent = []
    async with desk(story) as at_work:
        for how in HOWS:
            await at_work.case(Break(side, 100, how))

            sent.append(await at_work.again())

    assert [0] * len(HOWS) == sent


if __name__ == "__main__":
    table = _all()
    print(_table(table))
    print("\n".join(table.wrong[:20]))
    print(f"offsets: {table.came_to.total() - len(table.wrong)} passed, {len(table.wrong)} failed")
    sys.exit(bool(table.wrong))
