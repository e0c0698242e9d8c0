"""Finished media as files in the output folder, each saved once."""

import asyncio
import logging
import stat
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mcp_server.clock import Clock
from mcp_server.errors import DownloadError, JournalError
from mcp_server.journal.journal import Journal
from mcp_server.media.fetch import ExpiredLinkError, Fetcher
from mcp_server.media.files import OutputFolder, SavedFile, Stem, file_stem
from mcp_server.models import Job, Media

log = logging.getLogger(__name__)

PROGRESS_S = 0.5
_LARGE_BYTES = 16 << 20  # takes long enough on a disk to hold up other calls
_LEFT_BEHIND_S = 86_400  # no download takes a day: its server was killed in the middle

Report = Callable[[float, float | None, str], Awaitable[None]]
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
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._half_written: set[BinaryIO] = set()

    async def save(self, job: Job, stem: Stem | None, report: Report) -> Job:
        """The job with each of its media as a file, saved now unless it is there already.

        A cancelled caller leaves nothing half-written behind.

        Args:
            stem: the name asked for; None: any. Several media are numbered.
            report: is given bytes saved, bytes in all and a message, at most every half second.

        Raises:
            DownloadError: something can't be had or can't be saved; what was saved before stays.
        """
        media = job.media or ()
        if job.status != "completed" or not media:
            raise _nothing_to_save(job)
        lock = self._locks.setdefault(job.job_id, asyncio.Lock())
        async with lock:  # a second caller finds what the first one saved
            progress = _Progress(report, self._clock, is_alone=len(media) == 1)
            saved = []
            for position in range(len(media)):
                asked = f"{stem}-{position + 1}" if stem and len(media) > 1 else stem
                saved.append(await self._save(job, position, asked, progress))
        return job.evolve(media=tuple(saved))

    async def with_paths(self, job: Job) -> Job:
        """The job with the path of each of its media that was saved and is still there."""
        if job.status != "completed" or not job.media:
            return job
        media = [
            await self._on_disk(job, position) or _without_lost_path(item)
            for position, item in enumerate(job.media)
        ]
        return job.evolve(media=tuple(media))

    async def has_all(self, job: Job) -> bool:
        """Whether every file of a job is on disk, so that nothing need be asked of its vendor."""
        positions = range(len(job.media or ()))
        on_disk = [await self._on_disk(job, position) for position in positions]
        return bool(on_disk) and None not in on_disk

    def close(self) -> None:
        """Remove what is half-written: the process may end before its writers are cancelled."""
        for file in self._half_written:
            self._outputs.discard(file)
        self._half_written.clear()

    async def _save(
        self, job: Job, position: int, asked: str | None, progress: "_Progress"
    ) -> Media:
        on_disk = await self._on_disk(job, position)
        if on_disk is not None:
            record = await self._record(job, position)
            if asked is None or (record is not None and record.get("asked") == asked):
                return on_disk
            before = Path(str(on_disk.path))
            file = await self._write(
                on_disk.size_bytes or 0, lambda: self._outputs.copy(before, asked)
            )
        else:
            file = await self._download(job, position, asked, progress)
        return await self._recorded(job, position, asked, file)

    async def _download(
        self, job: Job, position: int, asked: str | None, progress: "_Progress"
    ) -> SavedFile:
        media = job.media or ()
        item = media[position]
        if item.url is None:
            raise DownloadError(
                message="The file is not on disk any more, and there is no link to it.",
                hint="Make the call that made this job again: without its file it is made anew.",
                service=job.service,
                job_id=job.job_id,
            )
        self._outputs.sweep(self._clock.now() - _LEFT_BEHIND_S)
        file = self._outputs.begin()
        self._half_written.add(file)
        try:
            await self._fetch(job, position, item.url, file, progress)
        except BaseException as error:
            self._outputs.discard(file)
            if isinstance(error, DownloadError):
                raise error.about(service=job.service, job_id=job.job_id) from None
            raise
        finally:
            self._half_written.discard(file)
        number = f"-{position + 1}" if len(media) > 1 else ""
        stem = asked or file_stem(job.service, job.job_id) + number
        size_bytes = file.tell()
        progress.file_is_done(size_bytes)
        return await self._write(size_bytes, lambda: self._outputs.keep(file, stem))

    async def _fetch(
        self, job: Job, position: int, url: str, file: BinaryIO, progress: "_Progress"
    ) -> None:
        item = (job.media or ())[position]
        try:
            await self._fetcher.fetch(url, file, item.kind, progress.report)
        except ExpiredLinkError:
            fresh = await self._fresh_link(job, position)
            if fresh is None or fresh == url:
                raise
            await self._fetcher.fetch(fresh, file, item.kind, progress.report)

    async def _write(self, size_bytes: int, work: Callable[[], SavedFile]) -> SavedFile:
        """The file that `work` writes out or copies: a large one in a thread, so others go on.

        A cancelled caller does not cut it: the file appears whole or not at all.
        """
        if size_bytes < _LARGE_BYTES:
            return work()
        return await asyncio.shield(asyncio.ensure_future(asyncio.to_thread(work)))

    async def _recorded(self, job: Job, position: int, asked: str | None, file: SavedFile) -> Media:
        """The file as media, recorded in the journal: its own bytes count more than the vendor."""
        facts: dict[str, Any] = {"size_bytes": file.size_bytes}
        if file.media_info is not None:
            probed = {name: getattr(file.media_info, name) for name in _FACTS}
            facts |= {name: value for name, value in probed.items() if value is not None}
        try:
            record = {**facts, "asked": asked}
            await self._journal.add_saved_file(job.job_id, position, str(file.path), record)
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
        if record is not None and _size_bytes(record["path"]) == record["size_bytes"]:
            names = ("path", "size_bytes", *_FACTS)
            facts = {name: record[name] for name in names if name in record}
            return item.model_copy(update=facts)
        if item.path is not None and _size_bytes(item.path) == item.size_bytes:
            return item
        return None


_FACTS = ("mime_type", "width", "height", "duration_ms", "frame_rate")


@dataclass
class _Progress:
    """Reports how many bytes there are: only rising, and not too often."""

    send: Report
    clock: Clock
    is_alone: bool
    next_s: float = 0.0
    before_bytes: int = 0
    most_bytes: int = 0

    async def report(self, written_bytes: int, expected_bytes: int | None) -> None:
        """Report on one file; with several, their bytes in all are not known."""
        now, done = self.clock.elapsed(), self.before_bytes + written_bytes
        if now < self.next_s or done <= self.most_bytes:  # a second try begins anew
            return
        self.next_s, self.most_bytes = now + PROGRESS_S, done
        total = expected_bytes if self.is_alone else None
        of = f" of {total / 1e6:.1f}" if total else ""
        await self.send(done, total, f"{done / 1e6:.1f}{of} MB saved")

    def file_is_done(self, size_bytes: int) -> None:
        self.before_bytes += size_bytes


def _without_lost_path(item: Media) -> Media:
    """A medium that has no saved file; a path where there is no file any more is left out."""
    gone = item.path is not None and _size_bytes(item.path) is None
    return item.model_copy(update={"path": None}) if gone else item


def _size_bytes(path: str) -> int | None:
    """The size of a regular file; None if there is none."""
    try:
        found = Path(path).lstat()
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _nothing_to_save(job: Job) -> DownloadError:
    if job.status in ("submitting", "running"):
        hint = "Call get_job with this job_id and wait_seconds=50 until it is completed, then this."
    elif job.status == "completed":
        hint = "Call get_job again later for its media."
    else:
        hint = "Call get_job for what happened to it."
    return DownloadError(
        message=f"The job is {job.status} and has no file to save.",
        hint=hint,
        service=job.service,
        job_id=job.job_id,
    )
