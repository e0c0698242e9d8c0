"""Jobs: what the layers above see of this package."""

import copy
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from mcp_server.clock import Clock
from mcp_server.errors import (
    ForbiddenError,
    JournalError,
    NotFoundError,
    UnansweredError,
    UnsupportedError,
)
from mcp_server.jobs.access import (
    CallersReader,
    DroppingUpstream,
    Reader,
    Standing,
    VisibleRows,
    not_known,
)
from mcp_server.jobs.accounts import AccountJobs, Accounts
from mcp_server.jobs.hooks import ASKED, HEARD, Hooks
from mcp_server.jobs.polling import Report as WaitReport
from mcp_server.jobs.recognition import made_here
from mcp_server.jobs.repository import JobRepository
from mcp_server.jobs.transfers import LONGEST_CALL_S
from mcp_server.jobs.transfers import Report as BytesReport
from mcp_server.jobs.uploads import Check, Patience
from mcp_server.journal.journal import Journal
from mcp_server.media.fetch import Fetcher
from mcp_server.media.files import OutputFolder
from mcp_server.media.names import check_file_name
from mcp_server.media.own_files import OwnFile, real_path
from mcp_server.metrics import Metrics
from mcp_server.models import OUR_ID_PREFIX, Caller, Job, Kind, ListedJob, Media, Status
from mcp_server.services.base import Order
from mcp_server.services.listing import MadeHere
from mcp_server.services.registry import service_named, service_of
from mcp_server.settings import Settings
from mcp_server.upstream.client import TokenOf, Upstream

if TYPE_CHECKING:
    from mcp_server.jobs.queue import Queue

log = logging.getLogger(__name__)

LEFT = (
    "It goes on, for somebody else asked for it, too: the vendor was not asked to cancel it. It is"
    " no longer among your jobs."
)
TAKEN_OUT = "It was taken out of the queue before it was sent: nothing is charged."
_UNDER_WAY = ("queued", "submitting", "running")


class Jobs:
    """Submits paid jobs, follows them, saves their media and cancels them.

    It is the operator's, who sees all; `of` gives that of a user. What it knows of rows and reads
    of jobs is had from `_rows` and `_reader` alone, so that a user has what is his. What is new
    goes to the account of the caller (`_own`), and a job there is to its own (`_of_job`).

    Every job it returns has the path of each of its files that was saved and is still there. A job
    that was submitted or read just now and has not ended has `poll_after_seconds` too.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        upstream: Upstream,
        journal: Journal,
        outputs: OutputFolder,
        fetcher: Fetcher,
        *,
        drain_s: float,
        metrics: Metrics | None = None,
        token_of: TokenOf | None = None,
    ) -> None:
        """Take the parts.

        Args:
            drain_s: how long paid requests may take to be answered when the server stops.
            metrics: where it counts how long orders wait in the queue.
            token_of: the tokens that users have given; None: none of them is used.
        """
        self._sharing = settings.sharing
        self._caller = Caller()
        self._clock = clock
        self._upstream = upstream
        self._journal = journal
        self._outputs = outputs
        self._repository = JobRepository(journal, outputs)
        self._hooks = Hooks.of(settings)
        self._queue: Queue | None = None
        if settings.queue_seconds:
            from mcp_server.jobs import queue

            self._queue = queue.Queue(
                settings, clock, upstream.origin, journal, metrics or Metrics()
            )

        def of_account(own: Upstream) -> AccountJobs:
            shared = (journal, self._repository, outputs, fetcher)
            return AccountJobs(settings, clock, own, *shared, hooks=self._hooks, queue=self._queue)

        self._accounts = Accounts(upstream, of_account, token_of)
        self._has_own = token_of is not None
        self._own = self._accounts.shared
        self._rows = self._all_rows = VisibleRows(journal)
        self._reader: Reader = self._reader_of_caller()
        self._drain_s = drain_s
        self._own.downloads.sweep()
        if self._queue is not None:
            self._queue.start(self._accounts.of, has_own=token_of is not None)

    def of(self, caller: Caller) -> "Jobs":
        """The same jobs, as this caller may see and change them."""
        if caller == self._caller:
            return self
        theirs = copy.copy(self)
        own, rows = self._accounts.of(caller.account), self._rows
        if caller.user and self._sharing == "private":
            rows = VisibleRows(self._journal, caller.user)
        elif caller.user:  # a team shares what is paid with its own token
            rows = VisibleRows(self._journal, caller.user, shared=True)
        vars(theirs).update(_caller=caller, _own=own, _rows=rows)
        vars(theirs).update(_reader=theirs._reader_of_caller())  # noqa: SLF001 - of this class
        return theirs

    @property
    def share_account(self) -> bool:
        """Whether all that the caller's account holds is his to see, whoever made it."""
        return self._rows.are_shared or bool(self._caller.account)

    @property
    def upstream(self) -> Upstream:
        """What asks useapi.net for this caller, of what is no job of his."""
        return self._own.upstream

    @property
    def are_all(self) -> bool:
        """Whether the caller may see what others asked for."""
        return self._rows.are_all

    async def require_known(self, some_id: str) -> None:
        """Raise for an id of a service that nobody knows, and in the same words for another user's.

        For a caller who may see all that his account holds nothing is asked: the vendor will say.

        Raises:
            NotFoundError: it is one of those.
            UseapiError: it can't be read.
        """
        if self.share_account or some_id.startswith(OUR_ID_PREFIX):
            return
        standing = await self._rows.standing(some_id)
        if standing == "own":
            return
        service = service_of(some_id, "source")
        try:
            await service.look_up(self._upstream_for(standing), some_id)
        except NotFoundError:
            raise not_known(service) from None
        if standing == "hidden":
            raise not_known(service)

    async def is_live(self, order: Order, *, read: bool = False) -> bool:
        """Whether this very order was submitted before and counts, so that it costs nothing.

        Args:
            read: ask the vendor whether the job that was made before still counts.

        Raises:
            TokenError, JournalError, BudgetError: it would be refused.
        """
        self.upstream.require_token()
        return await self._own.submitter.is_live(order, read=read, user=self._caller.user)

    async def submit(self, order: Order, *, may_charge: bool = True) -> Job:
        """The job of an order: a new one, the same one in flight, or the one made before.

        A cancelled caller stops waiting; the submission goes on. After 40 s without an answer the
        job is returned as `submitting`, under an id of ours.

        Args:
            may_charge: whether the price of a new job was agreed to. Else the job there is can be
                returned, but nothing new is sent.

        Raises:
            UseapiError: nothing was made of it, and the error says why.
        """
        self._require_submitter()
        user = self._caller.user
        job = await self._own.submitter.submit(order, may_charge=may_charge, user=user)
        if not job.ended:
            job = job.evolve(poll_after_seconds=self._reader.poll_after_s(job))
        return await self._complete(job)

    def patience(self, report: BytesReport) -> Patience:
        """What a call has to wait for a file, from now on."""
        return Patience(self._clock, self._clock.elapsed() + LONGEST_CALL_S, report)

    async def open_file(
        self,
        path: str,
        folders: Sequence[Path],
        check: Check,
        patience: Patience,
        *,
        why_none: str = "",
    ) -> OwnFile:
        """The user's own file at a path, known by its content; see `Uploads.open`."""
        return await self._own.uploads.open(
            path,
            folders,
            check,
            patience,
            why_none=why_none,
            as_missing=await self._hides_file(path),
        )

    async def open_saved(self, path: str, check: Check, patience: Patience) -> OwnFile:
        """A file that this server saved, for who has our link to it or the job it is of."""
        return await self._own.uploads.open(path, (Path(path).parent,), check, patience)

    async def fetch_file(self, url: str, kind: Kind, check: Check, patience: Patience) -> OwnFile:
        """What a link leads to, known by its content; see `Uploads.fetch`."""
        return await self._own.uploads.fetch(url, kind, check, patience)

    async def send_file(
        self, service: str, account: str, file: OwnFile, patience: Patience
    ) -> str | Job:
        """What a service calls a file that is sent to it once, or the job that still sends it."""
        self._require_submitter()
        return await self._own.uploads.send(
            service_named(service), account, file, patience, self._uploader
        )

    async def forget_file(self, service: str, account: str, file: OwnFile) -> None:
        """Let the next call send a file anew, which its service does not know any more."""
        await self._own.uploads.forget(service_named(service), account, file.sha256, self._uploader)

    async def quote(self, order: Order) -> Order:
        """The order with the price that its vendor says; as it is, where it says none.

        Raises:
            QuoteError: it could not be had just now.
            UseapiError: it was refused, as the order would be.
        """
        self._require_submitter()
        return replace(order, quoted=await self._own.quotes.price_of(order, self._caller.user))

    async def made(self, *, url: str = "", path: str = "") -> tuple[Job, int] | None:
        """The job submitted here that a link or path leads to, and the position of its medium."""
        return await self._made(self._rows, url=url, path=path)

    async def get(self, job_id: str, *, held: bool = False) -> Job:
        """The job as it is now, read once, by an id of ours or of its service.

        Args:
            held: whoever asks again too early waits for it, up to 4 s.

        Raises:
            UseapiError: it can't be read; the job itself may be in any state.
        """
        return await self._complete(await self._reader.read(job_id, held=held))

    async def wait(self, job_id: str, seconds: float, report: WaitReport) -> Job:
        """The job when it ends, or as it is when the time is up.

        Args:
            report: is given seconds waited, seconds at most, and the status, every 5 s.

        Raises:
            UseapiError: it can't be read at all.
        """
        job = await self._reader.wait(job_id, seconds, report)
        return await self._complete(job)

    async def recent(self, limit: int, status: Status | None = None) -> list[ListedJob]:
        """The jobs submitted here, newest first, as last known; all or those of one status.

        What was refused is no job: it is left out unless `status` is "failed".
        """
        rows = await self._rows.recent(
            limit, status, origin=self.upstream.origin, refused=status == "failed"
        )
        return [
            self._repository.to_listed(
                row, await self._own.downloads.with_paths(self._repository.to_job(row))
            )
            for row in rows
        ]

    async def made_here(self) -> Mapping[str, MadeHere]:
        """The newest jobs submitted here, by every id that a vendor's list may have for them."""
        return await made_here(self._rows, self._repository, self.upstream.origin)

    async def known(self, job_id: str) -> Job | None:
        """A job submitted here, as last known; None if there is none with this id."""
        row = await self._rows.get(job_id)
        if row is None:
            return None
        return await self._complete(self._repository.to_job(row))

    async def saved_file(self, job_id: str, position: int, most_bytes: int) -> bytes | None:
        """The bytes of a file that was saved; None if it is not there or is larger than that."""
        job = await self.known(job_id)
        media = (job.media if job is not None else None) or ()
        if not 0 <= position < len(media):
            return None
        return await self._own.downloads.read(media[position], most_bytes)

    async def link_of(self, source: str) -> str | None:
        """The link of a medium by its id, where its service gives one; None: it gives none.

        Raises:
            UnknownIdError: no service owns this id.
            UseapiError: it can't be read.
        """
        service = service_of(source, "source")
        if service.is_job(source):  # get_job has its link
            return None
        self.upstream.require_token()
        upstream = self._upstream_for(await self._rows.standing(source))
        if self._has_own and (account := await self._rows.account_of(source)) is not None:
            upstream = self._accounts.of(account).upstream
        return await service.fresh_link(upstream, Media(kind="video", media_id=source))

    async def download(
        self, job_id: str, file_name: str | None, report: BytesReport
    ) -> tuple[Job, str]:
        """The job with each of its media as a file. What is on disk already needs no vendor.

        After 40 s the answer is how far it is: the download goes on, and the same call joins it. Of
        a job that has not ended it waits for the end as long.

        Args:
            file_name: a bare name for the file; None: any.
            report: is given bytes saved, bytes in all and a message, at most every half second.

        Returns:
            The job, and a sentence about what is still to come; "" when all is saved.

        Raises:
            RequestError: the name can't be the name of a file.
            DownloadError: something can't be had or can't be saved; what was saved before stays.
            UseapiError: the job can't be read.
        """
        stem = None if file_name is None else check_file_name(file_name, self._outputs.path)
        ends_s = self._clock.elapsed() + LONGEST_CALL_S
        job = await self.known(job_id)
        if job is None or (job.ended and not await self._own.downloads.has_all(job)):
            job = await self._reader.read(job_id)
        if job.status in _UNDER_WAY:
            job = await self._reader.wait(job_id, LONGEST_CALL_S, report)
        if job.status in _UNDER_WAY:
            return job, "It has not ended, so nothing is saved yet."
        left_s = max(ends_s - self._clock.elapsed(), 0.0)
        downloads = (await self._of_job(job_id)).downloads
        job = await downloads.save(job, stem, report, left_s)
        progress = downloads.how_far(job.job_id)
        if progress is None or all(item.path for item in job.media or ()):
            return job, ""
        return job, (
            f"{progress} saved so far: the download goes on by itself, and the same call joins it."
        )

    async def cancel(self, job_id: str, *, may_give_up: bool = True) -> tuple[Job, str]:
        """Cancel a job as far as its vendor offers it, or give up an unconfirmed one.

        A user who does not pay for it wants it no more, and it goes on for the others.

        Args:
            may_give_up: whether an unconfirmed job may be given up. After that the same order is
                sent again, and may be charged a second time.

        Returns:
            The job as it really is afterwards, and a sentence about what was done; LEFT where the
            caller just left it.

        Raises:
            ForbiddenError: the caller may only read.
            UnsupportedError: it can't be cancelled.
            UseapiError: it can't be read, or its vendor refused.
        """
        self._require_submitter()
        row = await self._rows.get(job_id)
        if row is not None and row.operation == "upload":
            job = await self.get(job_id)
            if job.ended:
                return job, "There was nothing to cancel."
            raise UnsupportedError(
                message="An upload can't be cancelled, so nothing was done.",
                hint="It is free: only the call that needed it, made again, may cost something.",
                service=job.service,
            )
        if not await self._rows.may_end(job_id):
            job = await self.get(job_id)
            if job.ended:
                return job, "There was nothing to cancel."
            await self._rows.leave(job_id)
            return job, LEFT
        submitter = self._own.submitter
        if row is not None:
            submitter = self._accounts.of(row.account).submitter
            if row.waits and await submitter.take_out(row):
                return await self.get(job_id), TAKEN_OUT
            if row.state == "submitting":  # its owner may be gone
                row = await submitter.look(row)
        if may_give_up and row is not None and row.state == "unconfirmed":
            await submitter.give_up(row)
            given_up = self._repository.to_job(await self._rows.get(row.id) or row)
            return await self._complete(given_up), (
                "Given up: the vendor was not asked, and if it did take the request, "
                "the same call will be charged a second time."
            )
        return await self._cancel_at_vendor(job_id)

    async def _cancel_at_vendor(self, job_id: str) -> tuple[Job, str]:
        """Cancel a job that the vendor has; see `cancel`."""
        job = await self.get(job_id)
        if job.ended:
            return job, "There was nothing to cancel."
        service = service_named(job.service)
        if job.job_id.startswith(OUR_ID_PREFIX) and not service.has_parts(job):
            raise UnansweredError(
                message="This request has no answer from the vendor yet, so it can't be cancelled.",
                hint="Call get_job with this job_id in a minute, then cancel it again.",
                job_id=job.job_id,
            )
        await service.cancel((await self._of_job(job_id)).upstream, job.job_id)
        job = await self._reader.read(job_id, afresh=True)
        return await self._complete(job), (
            "The vendor was asked to cancel it; credits are not known to come back."
        )

    async def notify(self, name: str, proof: str) -> bool:
        """Take the vendor's word that a job has changed, so that it is read soon.

        Args:
            name, proof: the parts of the address that the vendor called.

        Returns:
            False: no vendor was given this address.
        """
        row_id = None if self._hooks is None else self._hooks.row_of(name, proof)
        row = None if row_id is None else await self._journal.get(row_id)
        if self._hooks is None or row is None or ASKED not in row.evidence:
            return False
        self._hooks.heard(row.service)
        if HEARD not in row.evidence:
            try:
                await self._journal.add_evidence(row.id, **{HEARD: True})
            except JournalError as error:
                log.warning("a webhook was not written down: %s", error.code)
        # Before the request is answered, whoever sent it is at work on it.
        if row.state != "submitting" and not self._repository.to_job(row).ended:
            self._accounts.of(row.account).poller.look_soon(row.job_id or row.id)
        return True

    def answer_waiting(self) -> None:
        """Answer all who wait for a job or its files, with what there is; nobody waits again.

        For a server that is about to stop: its clients go on waiting at another one.
        """
        self._accounts.answer_waiting()

    def answer_submitting(self) -> None:
        """Answer all who submit something, with how far it is; the work itself goes on."""
        self._accounts.answer_submitting()

    async def drain(self) -> None:
        """Let paid requests that are on their way be answered and written down, up to a time.

        What waits in the queue is not sent any more.
        """
        if self._queue is not None:
            await self._queue.close()
        with anyio.move_on_after(self._drain_s):
            for each in self._accounts:
                await each.submitter.idle()
        for each in self._accounts:
            await each.close_files()
        self._outputs.discard_all()

    async def close(self) -> None:
        """Drain, then stop all work; what has no answer yet is looked for after a restart."""
        await self.drain()
        for each in self._accounts:
            await each.close()

    async def _of_job(self, job_id: str) -> AccountJobs:
        """What works on a job: on one that no row has, that of the caller."""
        row = await self._rows.get(job_id)
        return self._own if row is None else self._accounts.of(row.account)

    async def _complete(self, job: Job) -> Job:
        """The job with the paths of its files, or its place in the queue."""
        if job.status != "queued":
            return await self._own.downloads.with_paths(job)
        from mcp_server.jobs.queue import position

        row = await self._journal.get(job.job_id)
        return job.evolve(
            queue_position=None if row is None else await position(self._journal, row)
        )

    def _upstream_for(self, standing: Standing) -> Upstream:
        """What reads an id: of somebody else's job on this account nothing is found."""
        is_dropped = standing == "hidden" and not self.share_account
        return DroppingUpstream(self.upstream) if is_dropped else self.upstream

    async def _made(
        self, rows: VisibleRows, *, url: str = "", path: str = ""
    ) -> tuple[Job, int] | None:
        """The job among these rows that a link or path leads to, and the position of its medium."""
        found: list[tuple[Job, int]] = []
        for row in await rows.find_made(url=url, path=path):
            job = await self._own.downloads.with_paths(self._repository.to_job(row))
            for position, item in enumerate(job.media or ()):
                if (path and item.path and _is_at(item.path, path)) or (url and item.url == url):
                    return job, position
                if url and (item.url or "").partition("?")[0] == url.partition("?")[0]:
                    found.append((job, position))
        # With another signature it is the same file, unless several jobs have such a link.
        return found[0] if len(found) == 1 else None

    async def _hides_file(self, given: str) -> bool:
        """Whether a path leads to what somebody else's job may have left.

        Of the output folder that is all but the caller's own, unless a team shares all there is: a
        file that was saved once more, by another name, is in no row any longer.

        Raises:
            JournalError: nobody can tell.
        """
        real = real_path(given)
        if self.are_all or await self.made(path=real) is not None:
            return False
        is_anothers = await self._made(self._all_rows, path=real) is not None
        if self._journal.fault is not None:
            raise self._journal.fault
        shares_all = self._rows.are_shared and self._caller.own is None
        return is_anothers or (not shares_all and _is_below(real, self._outputs.path))

    def _reader_of_caller(self) -> Reader:
        return CallersReader(self._accounts, self._own, self._rows, sees_account=self.share_account)

    def _require_submitter(self) -> None:
        if not self._caller.may_submit:
            raise may_only_read()

    @property
    def _uploader(self) -> str:
        """Who sends a file that nobody else is to know of; "" where it is for all."""
        is_for_all = self._rows.are_shared and not self._caller.account
        return "" if is_for_all else self._caller.user


def may_only_read() -> ForbiddenError:
    """What a caller is told who asks for what costs or changes something, and may only read."""
    return ForbiddenError(
        message="This token may only read, so nothing was done.",
        hint="Ask the operator of this server for one that may submit jobs.",
    )


def _is_at(path: str, real: str) -> bool:
    """Whether a file that was saved is the one at a path that no link leads to."""
    return os.path.realpath(path) == real


def _is_below(path: str, folder: Path) -> bool:
    """Whether a path leads into a folder, in whatever letters or by whatever mount it does so."""
    return any(_is_same(parent, folder) for parent in Path(path).parents)


def _is_same(folder: Path, other: Path) -> bool:
    try:
        return folder.samefile(other)
    except (OSError, ValueError):  # there is no such folder, so nothing is below it
        return False
