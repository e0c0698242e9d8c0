"""App: what a running server holds open, built when it starts and closed when it stops."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from mcp_server.clock import Clock
from mcp_server.errors import UnsupportedError
from mcp_server.jobs.downloads import Downloads, Report
from mcp_server.jobs.polling import Poller
from mcp_server.jobs.repository import JobRepository
from mcp_server.jobs.submission import Submitter
from mcp_server.journal.base import Store
from mcp_server.journal.journal import Journal
from mcp_server.journal.locks import KeyLocks
from mcp_server.journal.records import Submission
from mcp_server.journal.sqlite import SqliteStore
from mcp_server.media.fetch import Fetcher
from mcp_server.media.files import OutputFolder, check_file_name
from mcp_server.media.ssrf import Resolver, system_resolver
from mcp_server.models import OUR_ID_PREFIX, Job
from mcp_server.services.registry import service_named
from mcp_server.settings import Settings
from mcp_server.upstream.client import Upstream

if TYPE_CHECKING:
    from mcp_server.upstream.client import Transport

DRAIN_S = 15.0


@dataclass(frozen=True)
class App:
    """The parts a tool call works with."""

    settings: Settings
    clock: Clock
    upstream: Upstream
    journal: Journal
    submitting: Submitter
    waiting: Poller
    downloads: Downloads
    drain_s: float

    async def drain(self) -> None:
        """Let paid requests that are on their way be answered and written down, up to a time."""
        with anyio.move_on_after(self.drain_s):
            await self.submitting.idle()
        self.downloads.close()

    async def told(self, row: Submission) -> Job:
        """A submission as a job, as last known, with what was saved of it."""
        return await self.downloads.seen(self.submitting.to_job(row))

    async def read(self, job_id: str) -> Job:
        """The job as it is now, with what was saved of it."""
        return await self.downloads.seen(await self.waiting.read(job_id))

    async def download(self, job_id: str, file_name: str | None, report: Report) -> Job:
        """Save a completed job's media. What is on disk already needs no vendor."""
        stem = check_file_name(file_name) if file_name is not None else None
        row = await self.journal.get(job_id)
        known = self.submitting.to_job(row) if row is not None else None
        if known is None or not await self.downloads.has_all(known):
            known = await self.waiting.read(job_id)
        return await self.downloads.save(known, stem, report)

    async def cancel(self, job_id: str) -> tuple[Job, str]:
        """Cancel a job as far as its vendor offers it, or give up an unconfirmed one.

        Returns:
            The job as it really is afterwards, and what there is to say about it.
        """
        row = await self.journal.get(job_id)
        if row is not None and row.state == "unconfirmed":
            await self.submitting.give_up(row)
            return self.submitting.to_job(await self.journal.get(row.id) or row), (
                "Given up: the vendor was not asked, and if it did take the request, "
                "the same call will be charged a second time."
            )
        job = await self.waiting.read(job_id)
        if job.ended:
            return job, "There was nothing to cancel."
        if job.job_id.startswith(OUR_ID_PREFIX):
            raise UnsupportedError(
                "This request has no answer from the vendor yet, so it can't be cancelled.",
                "Call get_job with this job_id in a minute.",
                job_id=job.job_id,
            )
        await service_named(job.service).cancel(self.upstream, job.job_id)
        return await self.waiting.read(job_id, afresh=True), (
            "The vendor was asked to cancel it; credits are not known to come back."
        )


@asynccontextmanager
async def open_app(
    settings: Settings,
    clock: Clock,
    transport: "Transport | None" = None,
    locks: KeyLocks | None = None,
    drain_s: float = DRAIN_S,
    resolve: Resolver = system_resolver,
    open_store: Callable[[Path, Clock, KeyLocks | None], Store] = SqliteStore,
) -> AsyncIterator[App]:
    """Open the parts, and close them in the order that loses nothing.

    Work in flight is stopped before its connections are: an outcome that our own shutdown caused
    must never be taken for the vendor's.
    """
    outputs = OutputFolder(settings.output_folder())
    upstream = Upstream(settings, clock, outputs, transport)
    journal = Journal(open_store(settings.state_folder(), clock, locks), clock.now)
    repository = JobRepository(journal)
    submitting = Submitter(settings, clock, upstream, journal, repository)
    hold_s = min(settings.sandbox_job_seconds, 15.0) if settings.sandbox else 15.0
    waiting = Poller(clock, upstream, journal, repository, submitting.look, hold_s)

    async def fresh_link(job: Job, position: int) -> str | None:
        """Ask for a link in place of one that expired: the vendor's own way, else the job's."""
        item = (job.media or ())[position]
        url = await service_named(job.service).fresh_link(upstream, item)
        if url is None:
            again = (await waiting.read(job.job_id, afresh=True)).media or ()
            url = again[position].url if position < len(again) else None
        return url

    fetcher = Fetcher(settings, clock, outputs, transport, resolve)
    downloads = Downloads(clock, outputs, journal, fetcher, fresh_link)
    app = App(settings, clock, upstream, journal, submitting, waiting, downloads, drain_s)
    try:
        yield app
    finally:
        with anyio.CancelScope(shield=True):
            await app.drain()
            await submitting.close()
            await waiting.close()
            await upstream.close()
            await journal.close()
