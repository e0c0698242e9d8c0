"""The output folder: finished files appear in it complete and never replace another file."""

import asyncio
import contextlib
import errno
import hashlib
import io
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from mcp_server.errors import OutputError
from mcp_server.media.names import Name, stem_for
from mcp_server.media.probe import MediaInfo, probe

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

DISK_RESERVE_BYTES = 64 << 20  # what is left free for others, the journal among them
_STEP_BYTES = 8 << 20  # how far a file of unknown size may grow before there must be room again
_LARGE_BYTES = 16 << 20  # takes long enough on a disk to hold up other calls
_LONGEST_VALIDATOR = 512

T = TypeVar("T")

_EXTENSIONS = {
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/gif": ".gif",
}

UPLOADS = "uploads"
"""The folder in the output folder that holds what callers have sent."""

_MIME_TYPES = {extension: mime_type for mime_type, extension in _EXTENSIONS.items()}

_TEMPORARY, _VALIDATOR = ".useapi-mcp-{}.part", ".validator"
# Of what callers sent. Other files there are somebody's own.
_SENT = re.compile(r"[a-z0-9-]{1,40}-[0-9a-f]{16}\.(?:mp4|mov|jpg|png|webp)")
_OURS = re.compile(r"\.useapi-mcp-[0-9a-f]{16}\.(?:part|validator)")
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
# The errors of file systems without hard links: FAT, some network and phone storage.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}


@dataclass(frozen=True)
class SavedFile:
    """A file in the output folder, and what its own bytes say (None: its type is not known)."""

    path: Path
    size_bytes: int
    media_info: MediaInfo | None


class PartFile(io.BufferedRandom):
    """A temporary file of an output folder, written from its beginning to its end.

    It is locked as long as it is open, so that others can tell that its owner is alive. One that
    was begun under a key can be kept half-written and be gone on with later, by another process.
    """

    def __init__(self, folder: "OutputFolder", raw: io.FileIO, *, is_resumable: bool) -> None:
        super().__init__(raw)
        self.path = Path(str(raw.name))
        self.size_bytes = self.seek(0, os.SEEK_END)
        self.promised_bytes = self.size_bytes
        self._folder = folder
        self._is_sized = False
        self._next_look_bytes = self.size_bytes
        self._is_resumable = is_resumable
        self.is_whole = False
        self.validator = self._read_validator() if is_resumable else None

    def expect(self, size_bytes: int) -> None:
        """Claim room on the disk for a file of this size.

        Raises:
            OutputError: there is none, given what is promised to other files under way.
        """
        self._is_sized = True
        self._claim(size_bytes)

    def write(self, data: "ReadableBuffer", /) -> int:
        """Append bytes.

        Raises:
            OutputError: the disk has no room for more.
            OSError: the disk does not take them.
        """
        end = self.size_bytes + memoryview(data).nbytes
        if end > self._next_look_bytes:
            self._claim(end if self._is_sized else end + _STEP_BYTES)
            self._next_look_bytes = end + _STEP_BYTES
        written = super().write(data)
        self.size_bytes = end
        return written

    def start_over(self, validator: str | None) -> None:
        """Empty the file, and note the validator (RFC 9110) of what will be written to it."""
        validator_path = self.path.with_suffix(_VALIDATOR)
        # First of all, since an old beginning must never be taken for one of the new file.
        validator_path.unlink(missing_ok=True)
        self.validator = None
        if self.size_bytes:
            self.seek(0)
            self.truncate()
        self.size_bytes = self.promised_bytes = self._next_look_bytes = 0
        self._is_sized = False
        if validator and self._is_resumable and len(validator) <= _LONGEST_VALIDATOR:
            with open(validator_path, "xb", opener=owner_only) as file:
                file.write(validator.encode("ascii"))
            self.validator = validator

    def head(self, size_bytes: int) -> bytes:
        """The first bytes of what was written."""
        self.seek(0)
        head = self.read(size_bytes)
        self.seek(0, os.SEEK_END)
        return head

    def _read_validator(self) -> str | None:
        """What was noted beside the file; None and an empty file if that can't be gone on with."""
        try:
            with open(self.path.with_suffix(_VALIDATOR), "rb", opener=_no_follow) as file:
                text = file.read(_LONGEST_VALIDATOR + 1)
            if 0 < len(text) <= _LONGEST_VALIDATOR and text.isascii() and self.size_bytes:
                return text.decode("ascii")
        except OSError:
            pass
        self.start_over(None)
        return None

    def _claim(self, size_bytes: int) -> None:
        before, self.promised_bytes = self.promised_bytes, max(self.promised_bytes, size_bytes)
        if not self._folder.has_room():
            self.promised_bytes = before
            raise self._folder.full()


class OutputFolder:
    """A folder in which files appear complete, readable by their owner only, replacing none.

    The room on its disk is shared out here: what is promised to the files under way, downloads
    and files out of answers alike, counts as used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._under_way: set[PartFile] = set()
        # Threads of its own: the loop's also look up the names of all hosts.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="files")

    def begin(self, key: str | None = None) -> PartFile:
        """A new temporary file in the folder.

        Args:
            key: what it will hold. If a file was set aside under the same key it is that one, at
                its end, unless somebody else is writing it.

        Raises:
            OutputError: the folder can't be made or written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = None
            if key is not None:
                with contextlib.suppress(OSError):  # something else has its name
                    file = self._open(hashlib.sha256(key.encode()).hexdigest()[:16], is_new=False)
            while file is None:
                file = self._open(secrets.token_hex(8), is_new=True)
        except OSError as error:
            raise OutputError(
                message=f"The output folder {self.path} can't be written ({error.strerror}).",
                hint="Set USEAPI_OUTPUT_DIR to a folder that can.",
            ) from None
        self._under_way.add(file)
        return file

    def set_aside(self, file: PartFile) -> None:
        """Close a half-written file, and keep it if it can be gone on with later."""
        if file.validator is None or not file.size_bytes:
            self.discard(file)
            return
        self._under_way.discard(file)
        with contextlib.suppress(OSError):
            file.close()

    def discard(self, file: PartFile) -> None:
        """Close and remove a temporary file, as far as that can be done.

        It raises nothing: what led here is what the caller must hear of.
        """
        self._under_way.discard(file)
        # Removed while it is locked, so that nobody goes on with it meanwhile; Windows removes
        # only what is closed.
        is_removed = _removed(file.path)
        with contextlib.suppress(OSError):  # closing flushes, and the disk may be full
            file.close()
        if not is_removed:
            _removed(file.path)
        _removed(file.path.with_suffix(_VALIDATOR))

    def keep(self, file: PartFile, name: Name, below: str = "") -> SavedFile:
        """Give a temporary file its name. The same bytes under the same name are kept once.

        Args:
            below: the folder in this one that it goes to.

        Raises:
            OutputError: the file can't be written.
        """
        file.is_whole = True
        try:
            file.flush()
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(0)
            info = probe(file)
            os.fsync(file.fileno())
            extension = _EXTENSIONS[info.mime_type] if info else ".bin"
            folder = self.path / below
            folder.mkdir(mode=0o700, exist_ok=True)
            if below and folder.is_symlink():  # it would lead out of this folder
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
            path = self._place(file, folder, stem_for(name, info), extension)
        except OSError as error:
            raise self.full(error) from None
        finally:
            self.discard(file)
        return SavedFile(path, size_bytes, info)

    def copy(self, path: Path, name: Name) -> SavedFile:
        """Save a copy of a saved file under another name.

        Raises:
            OutputError: the file can't be read, or the copy can't be written.
        """
        file = self.begin()
        try:
            with path.open("rb") as saved:
                file.expect(os.fstat(saved.fileno()).st_size)
                shutil.copyfileobj(saved, file, 1 << 20)
        except BaseException as error:
            self.discard(file)
            if not isinstance(error, OSError):
                raise
            raise OutputError(
                message=f"The file {path} can't be copied ({error.strerror}).",
                hint="Make room, or call again without file_name.",
            ) from None
        return self.keep(file, name)

    def recorded(self, path: Path | str) -> str:
        """A path as it is written down: of a file in the folder only its path below it.

        Servers that share the folder may see it at different paths.
        """
        real, folder = _real(path), _real(self.path)
        return real.relative_to(folder).as_posix() if real.is_relative_to(folder) else str(path)

    def find(
        self, recorded: str, size_bytes: int | None = None, folder: str | None = None
    ) -> Path | None:
        """The file that was written down, if it is still there; None: it is not.

        Args:
            size_bytes: how large it must be; None: any size will do.
            folder: the path of this folder when it was written down.
        """
        # A whole path may be another server's, which shares the folder.
        places = [self.path / recorded, self.path / Path(recorded).name]
        if folder is not None:
            places.insert(1, Path(folder, recorded))
        for path in dict.fromkeys(places):
            found_bytes = _size_bytes(path)
            if found_bytes is not None and size_bytes in (None, found_bytes):
                return path
        return None

    async def in_background(self, size_bytes: int, work: Callable[[], T]) -> T:
        """What `work` gives: for a large file done in a thread, so that other calls go on.

        A cancelled caller does not cut it: a file appears whole or not at all.
        """
        if size_bytes < _LARGE_BYTES:
            return work()
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._threads, work))

    def sync_in_background(self, file: PartFile) -> Future[None]:
        """Begin to put on the disk what was written to a file, in a thread."""
        return self._threads.submit(os.fsync, file.fileno())

    def sweep_in_background(self, before: float) -> None:
        """`sweep` in a thread: there may be many files in the folder."""
        self._threads.submit(self.sweep, before)

    def sweep_sent_in_background(self, before: float) -> None:
        """Remove, in a thread, what callers sent before this epoch time."""
        self._threads.submit(self._sweep_sent, before)

    def sweep(self, before: float) -> None:
        """Remove temporary files whose owner is gone.

        Args:
            before: epoch time; what can be gone on with is kept if it was written since.
        """
        with contextlib.suppress(OSError), os.scandir(self.path) as entries:
            for entry in entries:
                if _OURS.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    self._sweep(Path(entry.path), before)

    def has_room(self) -> bool:
        """Whether the disk's reserve stays free once all that is promised is written."""
        files = tuple(self._under_way)  # at once: a thread may be copying
        left_bytes = sum(max(file.promised_bytes - file.size_bytes, 0) for file in files)
        return self.free_bytes() - left_bytes >= DISK_RESERVE_BYTES

    def free_bytes(self) -> int:
        try:
            return shutil.disk_usage(self.path).free
        except OSError:
            return 0

    def full(self, error: OSError | None = None) -> OutputError:
        """The error for a file that does not fit or, with `error`, can't be written."""
        message = f"There is no room for the file in {self.path}."
        hint = "Make room there or set USEAPI_OUTPUT_DIR to another folder."
        if error is not None:
            message = f"The file can't be written to {self.path} ({error.strerror})."
        if error is not None and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            hint = "Set USEAPI_OUTPUT_DIR to a folder that can."
        return OutputError(message=message, hint=hint)

    def discard_all(self) -> None:
        """Remove what is half-written: the process may end before the writers are cancelled."""
        for file in tuple(self._under_way):
            if not file.is_whole:  # else a thread is putting it in place
                self.discard(file)

    def close(self) -> None:
        """Remove what is half-written, and wait for what is under way in threads."""
        self.discard_all()
        self._threads.shutdown()

    def _open(self, name: str, *, is_new: bool) -> PartFile | None:
        """A temporary file, locked; None if somebody else has it or has just removed it."""
        path = self.path / _TEMPORARY.format(name)
        flags = _NO_FOLLOW | os.O_CREAT | (os.O_EXCL if is_new else 0)
        with contextlib.ExitStack() as opened:
            raw = io.FileIO(str(path), "r+", opener=lambda name, own: owner_only(name, own | flags))
            opened.callback(raw.close)
            if _locked(raw.fileno()) is False or not _is_same(path, os.fstat(raw.fileno())):
                return None
            if os.fstat(raw.fileno()).st_nlink > 1:
                path.unlink()  # a process was killed after it had put it in place
                return None
            file = PartFile(self, raw, is_resumable=not is_new)
            opened.pop_all()
            return file

    def _sweep_sent(self, before: float) -> None:
        with contextlib.suppress(OSError), os.scandir(self.path / UPLOADS) as entries:
            for entry in entries:
                is_sent = _SENT.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
                if is_sent and entry.stat(follow_symlinks=False).st_mtime < before:
                    _removed(Path(entry.path))

    def _sweep(self, path: Path, before: float) -> None:
        part, validator = path.with_suffix(".part"), path.with_suffix(_VALIDATOR)
        if any(file.path == part for file in tuple(self._under_way)):
            return
        with contextlib.suppress(OSError):  # already removed, or another user's
            if path == validator:
                if not part.exists():
                    path.unlink()
                return
            is_new = part.lstat().st_mtime >= before
            descriptor = os.open(part, os.O_RDONLY | _NO_FOLLOW)
            try:
                is_free = _locked(descriptor)
                if is_free is False or (is_new and (is_free is None or validator.exists())):
                    return
                removed = _removed(part)
            finally:
                os.close(descriptor)
            if not removed:  # pragma: no cover - Windows removes only what is closed
                _removed(part)
            _removed(validator)

    def _place(self, file: PartFile, folder: Path, stem: str, extension: str) -> Path:
        written = os.fstat(file.fileno())
        for number in range(1, 1000):
            path = folder / f"{stem}{f'-{number}' if number > 1 else ''}{extension}"
            try:
                link_into_place(file, path)
            except FileExistsError:
                if _same_bytes(file, path):
                    return path
            else:
                if _is_same(path, written):
                    return path
                _removed(path)
                raise OutputError(
                    message=f"Something else was put in the place of the file in {self.path}, so"
                    " it was not saved.",
                    hint="Set USEAPI_OUTPUT_DIR to a folder that only this user can write.",
                )
        raise OutputError(
            message=f"There are a thousand files named {stem} in {self.path}.",
            hint="Move some of them away.",
        )


def media_type_of(path: Path) -> str | None:
    """The mime type that the name of a saved file says; None for one that is not media."""
    return _MIME_TYPES.get(path.suffix)


def link_into_place(file: BinaryIO, path: Path) -> None:
    """Give a temporary file of the same disk its name; it may be open or closed.

    Raises:
        FileExistsError: there is a file of that name; it is not changed.
    """
    try:
        os.link(file.name, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Reserve the name with an empty file, then replace that.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if sys.platform == "win32":  # pragma: no cover - it renames only what is closed
            file.close()
        try:
            Path(file.name).replace(path)
        except OSError:
            _removed(path)
            raise


def owner_only(path: str, flags: int) -> int:
    """An `opener` for files that only their owner may read."""
    return os.open(path, flags, 0o600)


def _no_follow(path: str, flags: int) -> int:
    return os.open(path, flags | _NO_FOLLOW)


def _removed(path: Path) -> bool:
    """Remove a file, as clean-up: whether it is gone."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _real(path: Path | str) -> Path:
    """A path that no link is a part of; as it is where that can't be looked at."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        return Path(path)


def _size_bytes(path: Path) -> int | None:
    """The size of a regular file; None if there is none."""
    try:
        found = path.lstat()
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _is_same(path: Path, known: os.stat_result) -> bool:
    """Whether a path leads to this very regular file, and not by a link."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and os.path.samestat(found, known)


if sys.platform == "win32":  # pragma: no cover - CI runs it on Windows
    import msvcrt

    _FAR = 1 << 30  # what is locked there can't be read, so it is a byte that nothing reads

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _locked(descriptor: int) -> bool | None:
    """Lock a file until it is closed.

    Returns:
        False: somebody else, in whatever process, has it. None: its file system has no locks.
    """
    try:
        _lock(descriptor)
    except OSError as error:
        is_taken = error.errno in {errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}
        return False if is_taken else None
    return True


def _same_bytes(file: BinaryIO, path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    if path.stat().st_size != os.fstat(file.fileno()).st_size:
        return False
    file.seek(0)
    with path.open("rb") as other:
        while True:
            ours, theirs = file.read(1 << 20), other.read(1 << 20)
            if ours != theirs:
                return False
            if not ours:
                return True
