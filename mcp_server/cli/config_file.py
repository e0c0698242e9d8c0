"""A configuration file of another program: read as text, replaced whole, with a copy beside it."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

_COPY = ".before-useapi"
_PRIVATE = 0o600  # of a file made here: a token stands in it


class ConfigFile:
    """The file at a path, or the one that a link there leads to; the link stays.

    Each method raises OSError where the file can't be reached, and `read` and `copy_text`
    ValueError where a file is not UTF-8.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.copy = path.with_name(path.name + _COPY)
        self._real = Path(os.path.realpath(path))

    def read(self) -> str | None:
        """Its text with the ends of lines as they are; None: there is no such file."""
        return _read(self._real)

    def copy_text(self) -> str | None:
        """The text of the copy, None without one."""
        return _read(self.copy)

    def is_read_only(self) -> bool:
        """Whether it is there and nobody, or not this user, may write it."""
        try:
            mode = self._real.stat().st_mode
        except FileNotFoundError:
            return False
        return not mode & 0o222 or not os.access(self._real, os.W_OK)

    def is_open_to_others(self) -> bool:
        """Whether other users of this machine may read it; Windows does not tell it this way."""
        return os.name == "posix" and bool(self._real.stat().st_mode & 0o077)

    def keep_copy(self, text: str) -> None:
        """Make the copy, which has the rights of the file."""
        _replace(self.copy, text, stat.S_IMODE(self._real.stat().st_mode))

    def write(self, text: str) -> None:
        """Replace the text at once, whole, with the rights the file has."""
        try:
            mode = stat.S_IMODE(self._real.stat().st_mode)
        except FileNotFoundError:
            mode = _PRIVATE
        _replace(self._real, text, mode)

    def delete(self) -> None:
        self._real.unlink()

    def delete_copy(self) -> None:
        self.copy.unlink(missing_ok=True)


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None


def _replace(path: Path, text: str, mode: int) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
