"""The output folder: where finished files go, under names the server makes."""

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mcp_server.containers import Facts, read_facts
from mcp_server.errors import DownloadError

_EXTENSIONS = {
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/gif": ".gif",
}


@dataclass(frozen=True)
class SavedFile:
    """A file in place, and what its own bytes say (None: they are of no known type)."""

    path: Path
    size_bytes: int
    facts: Facts | None


def file_stem(service: str, job_id: str) -> str:
    """A name for a job's file. Ids hold the account's e-mail, so only their hash shows."""
    return f"{service}-{hashlib.sha256(job_id.encode()).hexdigest()[:12]}"


class OutputFolder:
    """Files appear in it whole, once, readable by their owner only, and never over another file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self) -> BinaryIO:
        """A new temporary file beside its later place.

        Raises:
            DownloadError: the folder can't be made or written.
        """
        name = self.path / f".useapi-mcp-{secrets.token_hex(8)}.part"
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            return open(name, "x+b", opener=_for_its_owner)  # noqa: SIM115 - closed by keep or discard
        except OSError as error:
            raise DownloadError(
                f"The output folder {self.path} can't be written ({error.strerror}).",
                "Set USEAPI_OUTPUT_DIR to a folder that can.",
            ) from None

    def discard(self, file: BinaryIO) -> None:
        file.close()
        Path(file.name).unlink(missing_ok=True)

    def keep(self, file: BinaryIO, stem: str) -> SavedFile:
        """Put a temporary file in its place. The same bytes under the same name are kept once.

        Raises:
            DownloadError: it can't be put in place.
        """
        try:
            file.flush()
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(0)
            facts = read_facts(file)
            os.fsync(file.fileno())
            path = self._place(file, stem, _EXTENSIONS[facts.mime_type] if facts else ".bin")
        except OSError as error:
            raise DownloadError(
                f"The file can't be saved in {self.path} ({error.strerror}).",
                "Make room there or set USEAPI_OUTPUT_DIR to another folder.",
            ) from None
        finally:
            self.discard(file)
        return SavedFile(path, size_bytes, facts)

    def _place(self, file: BinaryIO, stem: str, extension: str) -> Path:
        for number in range(1, 1000):
            path = self.path / f"{stem}{f'-{number}' if number > 1 else ''}{extension}"
            try:
                os.link(file.name, path)  # fails if the name is taken, atomically
            except FileExistsError:
                if _same_bytes(file, path):
                    return path
            else:
                return path
        raise DownloadError(
            f"There are a thousand files named {stem} in {self.path}.", "Move some of them away."
        )


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _same_bytes(file: BinaryIO, path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    file.seek(0)
    with path.open("rb") as other:
        while True:
            ours, theirs = file.read(1 << 20), other.read(1 << 20)
            if ours != theirs:
                return False
            if not ours:
                return True
