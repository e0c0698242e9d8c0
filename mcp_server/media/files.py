"""The output folder: finished files appear in it complete and never replace another file."""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NewType

from mcp_server.errors import DownloadError, RequestError
from mcp_server.media.probe import MediaInfo, probe

LONGEST_NAME = 120
_LONGEST_BYTES = 200  # file systems allow 255; a number and an extension are added

_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$|clock\$)")
_FORBIDDEN = frozenset('/\\:*?"<>|')
_MEDIA_EXTENSION = re.compile(r"\.(?:mp4|m4v|mov|webm|mkv|avi|jpe?g|png|webp|gif)\Z", re.IGNORECASE)

Stem = NewType("Stem", str)
"""A checked name without its extension."""


def check_file_name(file_name: str) -> Stem:
    """The name without a media extension: the right one for the file's type is added later.

    Raises:
        RequestError: on some system the name could mean another folder or file, or be invalid.
    """
    stem = _MEDIA_EXTENSION.sub("", file_name)
    fault = _fault(file_name) or _fault(stem)
    if fault:
        raise RequestError(
            message=f"file_name {fault}, so nothing was saved.",
            hint="Give a bare name such as my-video, without a folder, or leave it out.",
        )
    return Stem(stem)


def _fault(name: str) -> str | None:
    """What is wrong with a name, to follow the words `file_name`; None if nothing is."""
    if len(name) > LONGEST_NAME or len(name.encode(errors="replace")) > _LONGEST_BYTES:
        return f"is longer than {LONGEST_NAME} characters or {_LONGEST_BYTES} bytes"
    # Some file systems treat a compatibility character (a full-width slash) as the plain one.
    plain = unicodedata.normalize("NFKC", name)
    if any(_is_unseen(c) for c in name + plain):
        return "holds a control, invisible or unusual space character"
    if _FORBIDDEN & {*name, *plain}:
        return 'holds one of / \\ : * ? " < > |'
    if not plain.strip(" ."):
        return "is empty"
    if plain.startswith((".", " ", "-", "~")) or plain.endswith((".", " ")):
        return "begins with a dot, space, dash or tilde, or ends with a dot or space"
    if _RESERVED.fullmatch(plain.partition(".")[0].strip().casefold()):
        return "is a device on Windows"
    return None


def _is_unseen(character: str) -> bool:
    """Control, format, surrogate, private or unassigned, or a space other than U+0020."""
    category = unicodedata.category(character)
    return category[0] == "C" or (category[0] == "Z" and character != " ")


_EXTENSIONS = {
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/gif": ".gif",
}


_TEMPORARY = ".useapi-mcp-{}.part"
# The errors of file systems without hard links: FAT, some network and phone storage.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}


@dataclass(frozen=True)
class SavedFile:
    """A file in the output folder, and what its own bytes say (None: its type is not known)."""

    path: Path
    size_bytes: int
    media_info: MediaInfo | None


def file_stem(service: str, job_id: str) -> str:
    """A file name for a job. Ids contain the account's e-mail address, so only a hash is used."""
    return f"{service}-{hashlib.sha256(job_id.encode()).hexdigest()[:12]}"


class OutputFolder:
    """A folder in which files appear complete, readable by their owner only, replacing none."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self) -> BinaryIO:
        """A new temporary file in the folder.

        Raises:
            DownloadError: the folder can't be made or written.
        """
        name = self.path / _TEMPORARY.format(secrets.token_hex(8))
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            return open(name, "x+b", opener=owner_only)
        except OSError as error:
            raise DownloadError(
                message=f"The output folder {self.path} can't be written ({error.strerror}).",
                hint="Set USEAPI_OUTPUT_DIR to a folder that can.",
            ) from None

    def sweep(self, before: float) -> None:
        """Remove temporary files that a killed server left, last written before this epoch time."""
        for left in self.path.glob(_TEMPORARY.format("*")):
            with contextlib.suppress(OSError):  # already removed, or another user's
                if left.lstat().st_mtime < before:
                    left.unlink()

    def free_bytes(self) -> int:
        try:
            return shutil.disk_usage(self.path).free
        except OSError:
            return 0

    def full(self, error: OSError | None = None) -> DownloadError:
        """The error for a file that does not fit or, with `error`, can't be written."""
        message = f"There is no room for the file in {self.path}."
        if error is not None:
            message = f"The file can't be written to {self.path} ({error.strerror})."
        hint = "Make room there or set USEAPI_OUTPUT_DIR to another folder."
        return DownloadError(message=message, hint=hint)

    def discard(self, file: BinaryIO) -> None:
        with contextlib.suppress(OSError):  # closing flushes, and the disk may be full
            file.close()
        Path(file.name).unlink(missing_ok=True)

    def keep(self, file: BinaryIO, stem: str) -> SavedFile:
        """Give a temporary file its name. The same bytes under the same name are kept once.

        Raises:
            DownloadError: the file can't be written.
        """
        try:
            file.flush()
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(0)
            info = probe(file)
            os.fsync(file.fileno())
            path = self._place(file, stem, _EXTENSIONS[info.mime_type] if info else ".bin")
        except OSError as error:
            raise self.full(error) from None
        finally:
            self.discard(file)
        return SavedFile(path, size_bytes, info)

    def copy(self, path: Path, stem: str) -> SavedFile:
        """Save a copy of a saved file under another name.

        Raises:
            DownloadError: the file can't be read, or the copy can't be written.
        """
        file = self.begin()
        try:
            with path.open("rb") as saved:
                shutil.copyfileobj(saved, file, 1 << 20)
        except OSError as error:
            self.discard(file)
            raise DownloadError(
                message=f"The file {path} can't be copied ({error.strerror}).",
                hint="Make room, or call again without file_name.",
            ) from None
        return self.keep(file, stem)

    def _place(self, file: BinaryIO, stem: str, extension: str) -> Path:
        for number in range(1, 1000):
            path = self.path / f"{stem}{f'-{number}' if number > 1 else ''}{extension}"
            try:
                link_into_place(file, path)
            except FileExistsError:
                if _same_bytes(file, path):
                    return path
            else:
                return path
        raise DownloadError(
            message=f"There are a thousand files named {stem} in {self.path}.",
            hint="Move some of them away.",
        )


def link_into_place(file: BinaryIO, path: Path) -> None:
    """Give a temporary file of the same folder its name; it may be open or closed.

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
        file.close()
        try:
            Path(file.name).replace(path)
        except OSError:
            path.unlink()
            raise


def owner_only(path: str, flags: int) -> int:
    """An `opener` for files that only their owner may read."""
    return os.open(path, flags, 0o600)


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
