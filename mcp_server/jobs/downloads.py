"""Finished media as files in the output folder, each saved once."""

import asyncio
import logging
import os
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from mcp_server.clock import Clock, iso
from mcp_server.errors import (
    DownloadError,
    FileGoneError,
    InterruptedDownloadError,
    JournalError,
    NoRouteError,
)
from mcp_server.jobs.transfers import LONGEST_CALL_S, Progress, Report, Transfers
from mcp_server.journal.journal import Journal
from mcp_server.media.fetch import ExpiredLinkError, Fetcher
from mcp_server.media.files import OutputFolder, PartFile, SavedFile
from mcp_server.media.names import MadeName, Name, Stem
from mcp_server.models import Job, Media

log = logging.getLogger(__name__)

MOST_AT_ONCE = 4  # files that are downloaded at the same time
_KEPT_S = 86_400  # how long a half-written file is kept to be gone on with
_SWEEP_S = 3600

# What says nothing against the bytes there are: the next call goes on after them.
_PASSING = (InterruptedDownloadError, NoRouteError, ExpiredLinkError, asyncio.CancelledError)

FreshLink = Callable[[Job, int], Awaitable[str | None]]


class Downloads:
    """The media of completed jobs, as files."""

    def __init__(
        self,
        clock: Clock,
        outputs: OutputFolder,
        journal: Journal,
        fetcher: Fetcher,
        fresh_link: FreshLink,
    ) -> None:
        """Take the parts.

        Args:
            fresh_link: gives a new link to a job's medium, by its position, when one has expired.
        """
        self._clock = clock
        self._outputs = outputs
        self._journal = journal
        self._fetcher = fetcher
        self._fresh_link = fresh_link
        self._transfers: Transfers[tuple[Media, ...]] = Transfers(clock)
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._progress: weakref.WeakValueDictionary[str, Progress] = weakref.WeakValueDictionary()
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        self._next_sweep = 0.0

    async def save(
        self, job: Job, stem: Stem | None, report: Report, wait_s: float = LONGEST_CALL_S
    ) -> Job:
        """The job with each of its media as a file, saved now unless it is there already.

        A cancelled caller cuts nothing. If it takes longer than `wait_s` it goes on by itself:
        then media have no path yet, `how_far` says how far it is, and the same call joins it.

        Args:
            stem: the name asked for; None: any. Several media are numbered.
            report: is given bytes saved, bytes in all and a message, at most every half second.

        Raises:
            DownloadError: something can't be had or can't be saved; what was saved before stays.
        """
        if job.status != "completed" or not job.media:
            raise _nothing_to_save(job)
        progress = self._progress.setdefault(job.job_id, Progress())
        media = await self._transfers.join(
            f"{job.job_id} {stem or ''}",
            lambda: self._save_all(job, stem, progress),
            progress,
            report,
            wait_s,
        )
        return job.evolve(media=media) if media is not None else await self.with_paths(job)

    def how_far(self, job_id: str) -> Progress | None:
        """How far a job's files are that are being saved just now."""
        return self._progress.get(job_id)

    def sweep(self) -> None:
        """Remove what dead servers left half-written, at most once an hour."""
        if self._clock.elapsed() >= self._next_sweep:
            self._next_sweep = self._clock.elapsed() + _SWEEP_S
            self._outputs.sweep_in_background(self._clock.now() - _KEPT_S)

    async def with_paths(self, job: Job) -> Job:
        """The job with the path of each of its media that was saved and is still there."""
        if job.status != "completed" or not job.media:
            return job
        media = [
            await self._on_disk(job, position) or self._without_lost_path(item)
            for position, item in enumerate(job.media)
        ]
        return job.evolve(media=tuple(media))

    async def read(self, item: Media, most_bytes: int) -> bytes | None:
        """The bytes of a medium's file; None if there is none, or it is larger than that."""
        if item.path is None:
            return None
        return await asyncio.to_thread(_bytes_of, Path(item.path), most_bytes)

    async def has_all(self, job: Job) -> bool:
        """Whether every file of a job is on disk, so that nothing need be asked of its vendor."""
        positions = range(len(job.media or ()))
        on_disk = [await self._on_disk(job, position) for position in positions]
        return bool(on_disk) and None not in on_disk

    def answer_now(self) -> None:
        """Let no call wait for a download any more; what is under way goes on."""
        self._transfers.answer_now()

    async def close(self) -> None:
        """End what is under way; what can be gone on with after a restart is kept."""
        await self._transfers.close()

    async def _save_all(self, job: Job, stem: Stem | None, progress: Progress) -> tuple[Media, ...]:
        media = job.media or ()
        lock = self._locks.setdefault(job.job_id, asyncio.Lock())
        async with lock:  # a call with another name finds what this one saved
            saved = []
            for position in range(len(media)):
                asked = f"{stem}-{position + 1}" if stem and len(media) > 1 else stem
                try:
                    saved.append(await self._save(job, position, asked, progress))
                except DownloadError as error:
                    raise error.about(service=job.service, job_id=job.job_id) from None
        return tuple(saved)

    async def _save(self, job: Job, position: int, asked: str | None, progress: Progress) -> Media:
        on_disk = await self._on_disk(job, position)
        if on_disk is not None:
            record = await self._record(job, position)
            if asked is None or (record is not None and record.get("asked") == asked):
                return on_disk
            before = Path(str(on_disk.path))
            file = await self._outputs.in_background(
                on_disk.size_bytes or 0, lambda: self._outputs.copy(before, asked)
            )
        else:
            async with self._slots:
                file = await self._download(job, position, asked, progress)
        return await self._recorded(job, position, asked, file)

    async def _download(
        self, job: Job, position: int, asked: str | None, progress: Progress
    ) -> SavedFile:
        url = (job.media or ())[position].url
        if url is None:
            raise FileGoneError(
                message="The file is not on disk any more, and there is no link to it.",
                hint="Make the call that made this job again: without its file it is made anew.",
            )
        self.sweep()
        file = self._outputs.begin(key=f"{job.job_id} {position}")
        try:
            await self._fetch(job, position, url, file, progress)
        except _PASSING:
            self._outputs.set_aside(file)
            raise
        except BaseException:
            self._outputs.discard(file)
            raise
        name: Name = asked or self._made_name(job, position)
        return await self._outputs.in_background(
            file.size_bytes, lambda: self._outputs.keep(file, name)
        )

    def _made_name(self, job: Job, position: int) -> MadeName:
        return MadeName(
            job.service,
            job.job_id,
            operation=job.operation,
            day=job.created_at or iso(self._clock.now()),
            number=position + 1 if len(job.media or ()) > 1 else 0,
        )

    async def _fetch(
        self, job: Job, position: int, url: str, file: PartFile, progress: Progress
    ) -> None:
        media = job.media or ()
        before_bytes = progress.done_bytes

        def on_bytes(written_bytes: int, expected_bytes: int | None) -> None:
            progress.done_bytes = before_bytes + written_bytes
            if len(media) == 1:  # of several their bytes in all are not known
                progress.total_bytes = expected_bytes

        kind = media[position].kind
        try:
            await self._fetcher.fetch(url, file, kind, on_bytes)
        except ExpiredLinkError:
            fresh = await self._fresh_link(job, position)
            if fresh is None or fresh == url:
                raise
            await self._fetcher.fetch(fresh, file, kind, on_bytes)

    async def _recorded(self, job: Job, position: int, asked: str | None, file: SavedFile) -> Media:
        """The file as media, recorded in the journal: its own bytes count more than the vendor."""
        facts: dict[str, Any] = {"size_bytes": file.size_bytes}
        if file.media_info is not None:
            probed = {name: getattr(file.media_info, name) for name in _FACTS}
            facts |= {name: value for name, value in probed.items() if value is not None}
        try:
            path = self._outputs.recorded(file.path)
            record = {**facts, "asked": asked, "folder": str(self._outputs.path)}
            await self._journal.add_saved_file(job.job_id, position, path, record)
        except JournalError as error:  # the file is there all the same, and is the answer
            log.warning("a file was saved but not written down: %s", error.code)
        return (job.media or ())[position].model_copy(update={**facts, "path": str(file.path)})

    async def _record(self, job: Job, position: int) -> dict[str, Any] | None:
        saved = await self._journal.saved_files(job.job_id)
        return next((record for record in saved if record["position"] == position), None)

    async def _on_disk(self, job: Job, position: int) -> Media | None:
        """A medium with its file, if that is still as it was saved."""
        item = (job.media or ())[position]
        record = await self._record(job, position)
        if record is not None:
            path = self._outputs.find(record["path"], record["size_bytes"], record.get("folder"))
            if path is not None:
                names = ("size_bytes", *_FACTS)
                facts = {name: record[name] for name in names if name in record}
                return item.model_copy(update={**facts, "path": str(path)})
        if item.path is not None and item.size_bytes is not None:
            path = self._outputs.find(item.path, item.size_bytes)
            if path is not None:
                return item.model_copy(update={"path": str(path)})
        return None

    def _without_lost_path(self, item: Media) -> Media:
        """A medium that has no saved file; a path where there is no file any more is left out."""
        path = None if item.path is None else self._outputs.find(item.path)
        return item.model_copy(update={"path": None if path is None else str(path)})


_FACTS = ("mime_type", "width", "height", "duration_ms", "frame_rate")


def _bytes_of(path: Path, most_bytes: int) -> bytes | None:
    def opener(name: str, flags: int) -> int:  # never what a link put in its place leads to
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0))

    try:
        with open(path, "rb", opener=opener) as file:
            content = file.read(most_bytes + 1)
    except OSError:
        return None
    return content if len(content) <= most_bytes else None


def _nothing_to_save(job: Job) -> DownloadError:
    hint = "Call get_job for what happened to it."
    if job.operation == "upload":
        hint = "An upload brings none: make the call that began it once more."
    elif job.status == "completed":
        hint = "Call get_job again later for its media."
    return DownloadError(
        message=f"The job is {job.status} and has no file to save.",
        hint=hint,
        service=job.service,
        job_id=job.job_id,
    )
