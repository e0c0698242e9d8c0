"""The user's own files: which may be read, opened once, known by their bytes.

A path is followed once, part by part and by no link, below a folder that may be read. From then on
the open file is all that counts, whatever becomes of its name.
"""

import contextlib
import errno
import hashlib
import os
import re
import stat
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from mcp_server.errors import UnusableFileError
from mcp_server.media.probe import MediaInfo, probe
from mcp_server.models import FILE_PREFIX
from mcp_server.redaction import one_line

LONGEST_PATH = 4096
PIECE_BYTES = 1 << 20
TYPES = {
    "video/mp4": "MP4",
    "video/quicktime": "MOV",
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WebP",
}
"""What is read, by mime type."""

_QUOTES = "\"'`“”‘’«»<> \t\r\n"
_BY_NAME = re.compile(r"(?i)\.(?:(mp4|m4v|mov|webm|mkv|avi)|(jpe?g|png|webp|gif|heic))\Z")
_OF_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # else opening a pipe waits for somebody to write to it
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_FOLDER_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_DIRECTORY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
_HIDDEN_ON_WINDOWS, _HIDDEN_ON_MACOS = 0x2, 0x8000

OnBytes = Callable[[int], None]
InBackground = Callable[[int, Callable[[], bytes]], Awaitable[bytes]]


class OwnFile:
    """An open file that is read from its beginning to its end, as often as is needed.

    Attributes:
        name: for people, without its folders.
        size_bytes, info: what it was when it was opened.
        sha256: of its content; "" until `identify` has read it.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        """Take over an open descriptor.

        Raises:
            UnusableFileError: it is no regular file, empty, or of a type that nobody takes.
        """
        self._descriptor = descriptor
        self._close = weakref.finalize(self, os.close, descriptor)
        self._lock = threading.Lock()
        self.name = one_line(name, 120) or "file"
        self.sha256 = ""
        try:
            self._look()
        except BaseException:  # whoever catches it may keep this object alive
            self._close()
            raise

    def _look(self) -> None:
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode):
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "no file that holds anything"
            raise self._unusable(f"is {what}", "Give the path of a video or an image.")
        self.size_bytes = found.st_size
        self._seen = _state(found)
        self.identity = (*self._seen, found.st_ctime_ns)
        self.changed_at = found.st_mtime
        if not self.size_bytes:
            raise self._unusable("is empty", "Give another file, or wait until it is written.")
        self.info = self._probed()

    @property
    def placeholder(self) -> str:
        """What stands for it in an order until it is uploaded."""
        return FILE_PREFIX + self.sha256

    def identify(self, on_bytes: OnBytes = lambda _: None) -> str:
        """Read it whole, and know it by its SHA-256. Takes seconds for gigabytes.

        Raises:
            UnusableFileError: it changed meanwhile, or can't be read.
        """
        digest, at = hashlib.sha256(), 0
        while piece := self._read(at, PIECE_BYTES):
            digest.update(piece)
            at += len(piece)
            on_bytes(at)
        self._check_unchanged(at)
        self.sha256 = digest.hexdigest()
        return self.sha256

    async def pieces(self, in_background: InBackground, on_bytes: OnBytes) -> AsyncIterator[bytes]:
        """Its content, in pieces; the last one only if all of it is still what was identified.

        Args:
            in_background: runs a read that may take long, given the size of the file.

        Raises:
            UnusableFileError: it changed meanwhile, or can't be read.
        """
        digest, at = hashlib.sha256(), 0
        while True:
            start = at

            def read(start: int = start) -> bytes:
                piece = self._read(start, min(PIECE_BYTES, self.size_bytes - start))
                digest.update(piece)
                return piece

            piece = await in_background(self.size_bytes, read)
            at += len(piece)
            if not piece or at >= self.size_bytes:
                break
            yield piece
            on_bytes(at)
        self._check_unchanged(at)
        if digest.hexdigest() != self.sha256:
            raise self._changed()
        yield piece
        on_bytes(at)

    def _probed(self) -> MediaInfo:
        with self._as_file() as file, self._reading():
            info = probe(file)
        named = _BY_NAME.search(self.name)
        if info is None or info.mime_type not in TYPES:
            raise self._unusable(
                f"is none of {', '.join(TYPES.values())} by its own bytes",
                "Give such a file; one of another format must be converted first.",
            )
        if named and ("video" if named[1] else "image") != info.kind:
            raise self._unusable(
                f"holds {TYPES[info.mime_type]} by its own bytes, which its name does not say",
                "Give the right file, or correct its name.",
            )
        return info

    @contextlib.contextmanager
    def _as_file(self) -> Iterator[BinaryIO]:
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            yield file

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unusable(
                f"can't be read ({error.strerror})", "Give a file on a disk that is there."
            ) from None

    def _read(self, at: int, size_bytes: int) -> bytes:
        with self._reading():
            if hasattr(os, "pread"):
                return os.pread(self._descriptor, size_bytes, at)
            with self._lock:  # pragma: no cover - Windows
                os.lseek(self._descriptor, at, os.SEEK_SET)
                return os.read(self._descriptor, size_bytes)

    def _check_unchanged(self, read_bytes: int) -> None:
        with self._reading():
            now = _state(os.fstat(self._descriptor))
        if now != self._seen or read_bytes != self.size_bytes:
            raise self._changed()

    def _changed(self) -> UnusableFileError:
        return self._unusable(
            "changes while it is read", "Call again when it is written to its end."
        )

    def _unusable(self, what: str, hint: str) -> UnusableFileError:
        return unusable(self.name, what, hint)


def unusable(name: str, what: str, hint: str) -> UnusableFileError:
    return UnusableFileError(message=f"{name} {what}, so nothing was sent.", hint=hint)


def open_file(
    text: str, folders: Sequence[Path], *, why_none: str = "", as_missing: bool = False
) -> OwnFile:
    """The file at a path or `file:` URI, opened.

    Args:
        folders: it must be in one of these once every link is followed, and nothing of its path
            below that folder may be hidden.
        why_none: why there are no folders, in a sentence.
        as_missing: refuse a file as one that is not there.

    Raises:
        UnusableFileError: it may not be read, or is nothing that can be used.
    """
    path = path_of(text)
    name = re.split(r"[/\\]" if _OF_WINDOWS.match(path) else "/", path.rstrip("/"))[-1] or text
    shown = one_line(name, 120)
    if not folders:
        raise UnusableFileError(
            message=f"{why_none or 'This server may read no files'}, so nothing was sent.",
            hint="Give an https link to the file, or the id of what was made on useapi.net; the"
            " operator may name folders of this server's disk in USEAPI_INPUT_DIRS.",
        )
    if not Path(path).is_absolute() or len(path) > LONGEST_PATH or not _can_be_named(path):
        raise unusable(
            shown, "is no whole path", "Give the whole path, from / or ~ on; ask the user for it."
        )
    try:
        real = os.path.realpath(path)
        roots = [os.path.realpath(folder) for folder in folders]
    except OSError:  # pragma: no cover - Windows, where a part of it can't be looked at
        real, roots = path, []
    for root in roots:
        parts = _below(real, root)
        if parts is not None:
            break
    else:
        listed = ", ".join(dict.fromkeys(map(str, folders)))
        raise unusable(
            shown,
            "is in none of the folders that this server may read",
            f"It reads {listed} on its own disk (USEAPI_INPUT_DIRS sets them). A file of a chat or"
            " of another machine is not there: ask the user to put it there, or for a link.",
        )
    if any(part.startswith(".") for part in parts):
        raise unusable(
            shown, "is hidden or in a hidden folder", "Copy it to a folder that is not hidden."
        )
    try:
        if as_missing:
            raise FileNotFoundError(errno.ENOENT, "")
        descriptor = _open_below(root, parts)
    except OSError as error:
        raise _not_opened(shown, error) from None
    file = OwnFile(descriptor, name)
    if _is_marked_hidden(os.fstat(descriptor)):
        raise unusable(shown, "is hidden", "Copy it to one that is not hidden.")
    return file


def path_of(text: str) -> str:
    """The path that a text is: as it stands, or without quotes and a shell's backslashes."""
    bare = text.strip(_QUOTES)
    if re.match(r"(?i)file:", bare):
        bare = _from_uri(bare)
    elif "\\" in bare and os.sep == "/" and not _OF_WINDOWS.match(bare):
        plain = re.sub(r"\\(.)", r"\1", bare)
        bare = bare if os.path.lexists(_expanded(bare)) else plain
    return _expanded(bare) if bare else ""


def real_path(text: str) -> str:
    """Where a path or `file:` URI leads to in the end; nothing is opened."""
    try:
        return os.path.realpath(path_of(text))
    except (OSError, ValueError):
        return ""


def name_of_link(url: str) -> str:
    """What a link calls its file; its host where it calls it nothing."""
    parts = urlsplit(url)
    return one_line(unquote(parts.path.rstrip("/").rpartition("/")[2]), 120) or str(parts.hostname)


def _expanded(path: str) -> str:
    try:
        return str(Path(path).expanduser())
    except (RuntimeError, ValueError):  # there is no such user, or can't be
        return path


def _can_be_named(path: str) -> bool:
    """Whether a file system can hold such a path: no NUL, and no half of a character."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _from_uri(uri: str) -> str:
    """The path of `file:///a%20b.mp4`; "" for that of another machine."""
    host, path = "", uri[len("file:") :]
    if path.startswith("//"):
        host, slash, rest = path[2:].partition("/")
        path = slash + rest
    return url2pathname(path) if host.lower() in ("", "localhost") else ""


def _below(path: str, root: str) -> tuple[str, ...] | None:
    """The parts of a path below a folder; None if it is elsewhere."""
    try:
        if os.path.commonpath([os.path.normcase(path), os.path.normcase(root)]) != os.path.normcase(
            root
        ):
            return None
    except ValueError:  # on another drive
        return None
    return Path(path).parts[len(Path(root).parts) :]


def _open_below(root: str, parts: Sequence[str]) -> int:
    """Open what is there, by no link: one may have been put in its way meanwhile."""
    if not parts or os.open not in os.supports_dir_fd:
        return os.open(Path(root, *parts), _FLAGS)
    at = os.open(root, _FOLDER_FLAGS)
    try:
        for part in parts[:-1]:
            below = os.open(part, _FOLDER_FLAGS, dir_fd=at)
            os.close(at)
            at = below
        return os.open(parts[-1], _FLAGS, dir_fd=at)
    finally:
        os.close(at)


def _not_opened(shown: str, error: OSError) -> UnusableFileError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return unusable(shown, "is not there", "Check the path, or ask the user for it.")
    if error.errno in (errno.EACCES, errno.EPERM):
        extra = " macOS asks for that in its privacy settings." * (sys.platform == "darwin")
        return unusable(
            shown,
            "may not be read by this server's user",
            f"Allow it, or copy the file to a folder where it may be read.{extra}",
        )
    return unusable(
        shown, f"can't be opened ({error.strerror})", "Give the path of a video or an image."
    )


def _state(found: os.stat_result) -> tuple[int, int, int, int]:
    """What is another number once the file was changed."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _is_marked_hidden(found: os.stat_result) -> bool:
    """Whether a file is hidden without a dot, as Windows and macOS do it."""
    on_windows = getattr(found, "st_file_attributes", 0) & _HIDDEN_ON_WINDOWS
    return bool(on_windows or getattr(found, "st_flags", 0) & _HIDDEN_ON_MACOS)
