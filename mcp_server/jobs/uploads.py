"""The user's own files on their way to a service: read once, sent once, known by their content.

What a service calls a file is kept in the journal, by service, account and content, as the result
of a job of operation `upload`. So the same file is sent once, whoever asks and whenever; what a
service has forgotten since is sent once more. An upload costs nothing.
"""

import asyncio
import hashlib
import json
import logging
import os
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcp_server.clock import Clock, iso
from mcp_server.errors import (
    DownloadError,
    InterruptedDownloadError,
    JournalBusyError,
    JournalError,
    NoRouteError,
    NotReadyError,
    OutputError,
    UnansweredError,
    UnusableFileError,
    UploadError,
    UseapiError,
)
from mcp_server.jobs.repository import JobRepository, plain
from mcp_server.jobs.transfers import Progress, Report, Transfers
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import NewSubmission, Submission
from mcp_server.media.fetch import Fetcher
from mcp_server.media.files import OutputFolder
from mcp_server.media.own_files import OwnFile, name_of_link, open_file
from mcp_server.models import Job, Kind
from mcp_server.services.base import Service
from mcp_server.upstream.client import Upstream

log = logging.getLogger(__name__)

_LEAST_S = 2.0
LINK_KEPT_S = 600.0  # how long what a link led to is taken for what it leads to
_MOST_LINKS = 20  # what they led to is held open
_MOST_KEPT = 200  # contents that are known by the state of their file
_LOCK_POLL_S = 0.25
_JUST_CHANGED_S = 2.0  # a file may change again within what its clock can tell

Check = Callable[[OwnFile], None]


@dataclass(frozen=True)
class Patience:
    """How long a call may wait, and where it reports to.

    Args:
        ends_s: on the clock's `elapsed`.
        report: is given bytes done, bytes in all and a message, at most every half second.
    """

    clock: Clock
    ends_s: float
    report: Report

    @property
    def left_s(self) -> float:
        """At least so much that what takes no time is not left for another call."""
        return max(self.ends_s - self.clock.elapsed(), _LEAST_S)


class Uploads:
    """Opens files, fetches links, and sends both to services."""

    def __init__(
        self,
        clock: Clock,
        upstream: Upstream,
        journal: Journal,
        repository: JobRepository,
        outputs: OutputFolder,
        fetcher: Fetcher,
    ) -> None:
        self._clock = clock
        self._upstream = upstream
        self._journal = journal
        self._repository = repository
        self._outputs = outputs
        self._fetcher = fetcher
        self._reads: Transfers[OwnFile] = Transfers(clock)
        self._sends: Transfers[str] = Transfers(clock)
        self._progress: weakref.WeakValueDictionary[str, Progress] = weakref.WeakValueDictionary()
        self._contents: dict[tuple[int, ...], str] = {}
        self._links: dict[str, OwnFile] = {}

    async def open(
        self,
        path: str,
        folders: Sequence[Path],
        check: Check,
        patience: Patience,
        *,
        why_none: str = "",
        as_missing: bool = False,
    ) -> OwnFile:
        """The file at a path, known by its content.

        Args:
            folders, why_none, as_missing: see `open_file`.
            check: refuses a file, by what its beginning says, before it is read whole.

        Raises:
            UnusableFileError: it may not be read, or is nothing that can be used.
            NotReadyError: it is still being read; the same call joins that.
        """
        file = open_file(path, folders, why_none=why_none, as_missing=as_missing)
        check(file)
        known = self._contents.get(file.identity)
        if known is not None:
            file.sha256 = known
            return file
        key = f"read {file.identity}"
        progress = self._progress.setdefault(key, Progress(total_bytes=file.size_bytes))
        read = await self._reads.join(
            key, lambda: self._read(file, progress), progress, patience.report, patience.left_s
        )
        if read is None:
            raise _still(file.name, "read", progress)
        file.sha256 = read.sha256
        return file

    async def fetch(self, url: str, kind: Kind, check: Check, patience: Patience) -> OwnFile:
        """What an https link leads to, as a file of no name that goes when nobody needs it.

        Raises:
            UnusableFileError: it leads to nothing that can be used.
            DownloadError: it can't be had, now or at all.
            NotReadyError: it is still being fetched; the same call joins that.
        """
        file = self._links.get(url)
        if file is None:
            key = f"link {kind} {url}"
            progress = self._progress.setdefault(key, Progress())
            file = await self._reads.join(
                key,
                lambda: self._fetch(url, kind, progress),
                progress,
                patience.report,
                patience.left_s,
            )
            if file is None:
                raise _still(name_of_link(url), "fetched", progress)
        check(file)
        return file

    async def send(
        self, service: Service, account: str, file: OwnFile, patience: Patience, user: str = ""
    ) -> str | Job:
        """What a service calls a file, sent to it now unless it was before.

        A cancelled caller cuts nothing. If it takes longer than the patience lasts, its job: it
        goes on by itself, and the same call joins it.

        Args:
            account: as the vendor calls it.
            user: sends it for himself alone, so that nobody learns who has sent the same; "" is
                all who share what is sent.

        Raises:
            UploadError: it did not arrive.
            UseapiError: it was refused, or the journal can't be used.
        """
        key = self._key(service, account, file.sha256, user)
        if self._journal.fault is not None:
            raise self._journal.fault
        progress = self._progress.setdefault(key, Progress(total_bytes=file.size_bytes))
        new = NewSubmission(
            key,
            self._upstream.origin,
            service.name,
            "upload",
            file.name,
            {},
            0.0,
            payer=user,
            account=self._upstream.account,
        )
        ref = await self._sends.join(
            key,
            lambda: self._send_alone(new, service, account, file, progress),
            progress,
            patience.report,
            patience.left_s,
        )
        if ref is not None:
            return ref
        row = await self._journal.find_live(key)
        if row is None:
            raise JournalBusyError(
                message="Another process is at work on the same file and has not said how far.",
                hint="Call again with the same arguments in a minute; it joins.",
                service=service.name,
            )
        return self._repository.to_job(row)

    async def forget(self, service: Service, account: str, sha256: str, user: str = "") -> None:
        """Let the next call send a file anew, which its service does not know any more."""
        row = await self._journal.find_live(self._key(service, account, sha256, user))
        if row is not None:
            await self._journal.close_row(row, "freed", "The vendor does not know the file now.")

    async def look(self, row: Submission) -> Submission:
        """The row of an upload as it is: one whose process is gone has failed."""
        if self._sends.is_under_way(row.key):
            return row
        try:
            if not await self._journal.claim(row.key):
                return row
        except JournalError:
            return row
        try:
            row = await self._journal.latest(row)
            return await self._close_lost(row)
        finally:
            await self._journal.release(row.key)

    def answer_now(self) -> None:
        """Let no call wait for a file any more; what is under way goes on."""
        self._reads.answer_now()
        self._sends.answer_now()

    async def close(self) -> None:
        """End what is under way: nothing of it was charged, and the same call begins anew."""
        await self._reads.close()
        await self._sends.close()
        self._links.clear()

    async def _read(self, file: OwnFile, progress: Progress) -> OwnFile:
        def on_bytes(done_bytes: int) -> None:
            progress.done_bytes = done_bytes

        sha256 = await self._outputs.in_background(file.size_bytes, lambda: file.identify(on_bytes))
        if self._clock.now() - file.changed_at > _JUST_CHANGED_S:
            while len(self._contents) >= _MOST_KEPT:
                del self._contents[next(iter(self._contents))]
            self._contents[file.identity] = sha256
        return file

    async def _fetch(self, url: str, kind: Kind, progress: Progress) -> OwnFile:
        def on_bytes(done_bytes: int, total_bytes: int | None) -> None:
            progress.done_bytes, progress.total_bytes = done_bytes, total_bytes

        part = self._outputs.begin(key=f"link {url}")
        try:
            await self._fetcher.fetch(url, part, kind, on_bytes)
            file = OwnFile(os.dup(part.fileno()), name_of_link(url))
        except (InterruptedDownloadError, asyncio.CancelledError) as error:
            self._outputs.set_aside(part)
            raise _of_link(error) if isinstance(error, DownloadError) else error from None
        except DownloadError as error:
            self._outputs.discard(part)
            raise _of_link(error) from None
        except BaseException:
            self._outputs.discard(part)
            raise
        self._outputs.discard(part)  # its bytes stay as long as the file is open
        await self._outputs.in_background(file.size_bytes, file.identify)
        while len(self._links) >= _MOST_LINKS:
            del self._links[next(iter(self._links))]
        self._links[url] = file
        asyncio.get_running_loop().call_later(LINK_KEPT_S, self._links.pop, url, None)
        return file

    async def _send_alone(
        self, new: NewSubmission, service: Service, account: str, file: OwnFile, progress: Progress
    ) -> str:
        """Send a file while no other process does, unless one has meanwhile."""
        while not await self._journal.claim(new.key):
            await self._clock.sleep(_LOCK_POLL_S)
        try:
            row = await self._journal.find_live(new.key)
            if (ref := _ref_in(row)) is not None:
                return ref
            if row is not None:
                row = await self._close_lost(row)
                note = "What the vendor calls it is not known here, so it is sent anew."
                await self._journal.close_row(row, "freed", note)
            return await self._send(new, service, account, file, progress)
        finally:
            await self._journal.release(new.key)

    async def _send(
        self, new: NewSubmission, service: Service, account: str, file: OwnFile, progress: Progress
    ) -> str:
        row = await self._journal.insert(new)
        job = Job(
            job_id=row.id,
            service=service.name,
            operation="upload",
            status="running",
            source=file.name,
            created_at=iso(row.created_at),
        )
        row = await self._journal.accept(row.id, None, plain(job))

        def on_bytes(done_bytes: int) -> None:
            progress.done_bytes = done_bytes

        try:
            path = service.upload_path(account)
            answer = await self._upstream.upload(service.vendor, path, file, on_bytes)
            ref = service.ref_of(answer)
        except UseapiError as error:
            fault = _arrived_nowhere(service, file, error)
            await self._repository.record_failure(row, fault.code, fault.message)
            raise fault from None
        try:
            await self._journal.add_evidence(row.id, ref=ref)
            await self._journal.accept(row.id, None, plain(job.evolve(status="completed")))
        except JournalError as error:  # it is there all the same
            log.warning("a file was sent but not written down: %s", error.code)
        return ref

    async def _close_lost(self, row: Submission) -> Submission:
        """Close the row of a process that is gone; one that had come to its end stays."""
        if self._repository.to_job(row).ended:
            return row
        message = "The server stopped before the whole file was sent."
        return await self._repository.record_failure(row, "lost", message)

    def _key(self, service: Service, account: str, sha256: str, user: str) -> str:
        wish = [self._upstream.origin, "upload", service.name, account.lower(), sha256]
        wish += [user] if user else []
        wish += [self._upstream.account] if self._upstream.account else []
        return hashlib.sha256(json.dumps(wish).encode()).hexdigest()


def _ref_in(row: Submission | None) -> str | None:
    """What the vendor calls the file of an upload; it is known when that has come to its end."""
    ref = row.evidence.get("ref") if row is not None else None
    return ref if isinstance(ref, str) else None


def _still(name: str, doing: str, progress: Progress) -> NotReadyError:
    return NotReadyError(
        message=f"{name} is still being {doing} ({progress}); nothing was sent yet.",
        hint="Wait a little, then make the same call again: that goes on by itself.",
    )


def _arrived_nowhere(service: Service, file: OwnFile, error: UseapiError) -> UseapiError:
    """The error of an upload, which can be made again where it is not known whether it arrived."""
    if not isinstance(error, UnansweredError):
        return error
    status = f" (status {error.http_status})" if error.http_status else ""
    return UploadError(
        message=f"{file.name} was being sent to {service.vendor.title}, and no usable answer"
        f" came{status}.",
        hint="Make the same call again: the file is sent anew, which costs nothing.",
        service=service.name,
        http_status=error.http_status,
    )


def _of_link(error: DownloadError) -> UseapiError:
    """The error of a download as that of a link that was given as a source."""
    message = error.message
    for saved in ("nothing was saved", "it was not saved"):
        message = message.replace(saved, "nothing was sent")
    if "nothing was sent" not in message:
        message = f"{message.rstrip('.')}; nothing was sent."
    if isinstance(error, InterruptedDownloadError):
        hint = "Make the same call again in a minute: it goes on where it broke."
        return InterruptedDownloadError(message=message, hint=hint)
    if isinstance(error, NoRouteError):
        return NoRouteError(message=message, hint=error.hint)
    if isinstance(error, OutputError):
        return OutputError(message=message, hint=error.hint)
    return UnusableFileError(
        message=message,
        hint="Give an https link that leads to the file itself, or the path of the file.",
    )
