"""A wire that breaks at every byte of a paid request and of its answer, held against the vendor.

`python -m tests.test_byte_offsets` prints the table of all of them; the test takes every byte too,
each broken one way in turn.
"""

import asyncio
import contextlib
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from mcp_server.app import App, open_app
from mcp_server.errors import UseapiError
from mcp_server.journal import Row
from mcp_server.jobs import PaidOperation
from mcp_server.sandbox import Sandbox
from mcp_server.services import service_named
from mcp_server.services.service import Order
from mcp_server.settings import Settings
from tests import virtual_time
from tests.cut_vendor import Break, CutVendor, Framing, How, Side
from tests.harness import GOOD, TOKEN, VirtualClock


@dataclass(frozen=True)
class Story:
    """An operation, and what becomes of it where the vendor never saw it, and where it did."""

    service: str
    operation: PaidOperation
    unseen: str
    acted: str
    framing: Framing = "length"
    job_seconds: float = 600.0

    @property
    def name(self) -> str:
        about = f"{self.framing}, {self.job_seconds:g} s"
        return f"{self.service} {self.operation} ({about})"

    def order(self, source_id: str) -> Order:
        return service_named(self.service).order(self.operation, source_id, {}, {})


STORIES = (
    Story("dreamina", "upscale_video", "sent once more", "found"),
    # Over before the first look: then only the repeat tells, for it is refused by the job's name.
    Story("dreamina", "upscale_video", "sent once more", "refused repeat", "chunks", job_seconds=1),
    Story("dreamina", "upscale_image", "unconfirmed", "found", "close"),
    Story("pixverse", "upscale_video", "unconfirmed", "found", "chunks"),
    Story("google-flow", "upscale_video", "sent once more", "found"),
    Story("google-flow", "upscale_image", "lost", "lost", job_seconds=20),
)


class Desk:
    """One story's server and vendor, for as many cases as there are."""

    def __init__(self, story: Story, app: App, vendor: CutVendor, clock: VirtualClock) -> None:
        self.story = story
        self.app = app
        self.vendor = vendor
        self._clock = clock
        kind = "image" if story.operation == "upscale_image" else "video"
        self.order = story.order(GOOD[story.service, kind])
        self.sandbox = self._new_sandbox()

    def _new_sandbox(self) -> Sandbox:
        return Sandbox(job_seconds=self.story.job_seconds, now=self._clock.now)

    async def case(self, fault: Break | None) -> tuple[Row, str]:
        """Submit over a wire that breaks like this; what it came to, in the journal and in a word."""
        await asyncio.sleep(self.story.job_seconds + 1)
        if self.story.service != "pixverse":
            self.sandbox = self._new_sandbox()
        elif self.sandbox.accepted:  # a new sandbox would give the old ids again
            self.order = self.story.order(str(self.sandbox.accepted[-1].job_id))
        self.sandbox.accepted.clear()
        self.sandbox.requests.clear()
        self.vendor.app = self.sandbox
        self.vendor.breaks(fault)
        with contextlib.suppress(UseapiError):  # the row says it too
            await self.app.submitting.submit(self.order)
        (row,) = self.app.journal.recent(1)
        while row.state == "submitting":
            await asyncio.sleep(5)
            (row,) = self.app.journal.recent(1)
        self.app.journal.end(row.id, "freed", "The next case orders the same.")
        return row, self._came_to(row)

    def _came_to(self, row: Row) -> str:
        """One word; what never may be fails here."""
        seen = [method for method, _ in self.sandbox.requests]
        accepted = self.sandbox.accepted
        arrived = sum(bool(payment.request) for payment in self.vendor.payments)
        assert arrived <= row.posts <= len(self.vendor.payments) <= 2
        assert len(accepted) <= 1, "paid twice"
        if row.state == "failed":
            assert row.posts == 1
            assert row.job is not None
            return str(row.job["failure"]["code"])
        if row.state == "unconfirmed":
            assert row.posts == 1
            assert not accepted, "it can be found"
            return "unconfirmed"
        assert row.state == "accepted"
        assert accepted, "made up"
        assert row.job_id == accepted[0].job_id
        if row.posts == 2:
            return "sent once more" if seen.count("POST") == 1 else "refused repeat"
        return "found" if "GET" in seen else "answered"


@contextlib.asynccontextmanager
async def desk(story: Story, folder: Path) -> AsyncIterator[Desk]:
    clock = VirtualClock()
    vendor = CutVendor(Sandbox(now=clock.now))
    vendor.framing = story.framing
    vendor.listen()
    settings = Settings.read(
        {
            "USEAPI_TOKEN": TOKEN,
            "USEAPI_BASE_URL": vendor.origin,
            "USEAPI_OUTPUT_DIR": str(folder / "output"),
            "USEAPI_STATE_DIR": str(folder / "state"),
        }
    )
    async with open_app(settings, clock) as app:
        yield Desk(story, app, vendor, clock)
    await vendor.close()
