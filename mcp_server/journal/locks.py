"""Key locks: who is at work on a key, told by locks that the kernel drops with their process.

No pid, no heartbeat, no clock: a process that was killed holds nothing, and one that is stopped or
asleep still holds what it had. On a network file system they are only as good as that system's.
"""

import hashlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class KeyLocks(Protocol):
    """Says who is at work on a key."""

    def try_lock(self, key: str) -> bool:
        """True: nobody alive is at work on this key, and until `unlock` nobody else will be.

        Raises:
            OSError: it can't be known.
        """

    def holds(self, key: str) -> bool:
        """Whether a key that was locked here is still locked for everybody else."""

    def unlock(self, key: str) -> None:
        """Let go of a key; one that was refused or never asked for changes nothing."""

    def close(self) -> None:
        """Let go of every key."""


if sys.platform == "win32":  # pragma: no cover - CI runs it on Windows
    import msvcrt

    def _lock_byte(descriptor: int, at: int) -> None:
        os.lseek(descriptor, at, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock_byte(descriptor: int, at: int) -> None:
        os.lseek(descriptor, at, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock_byte(descriptor: int, at: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)

    def _unlock_byte(descriptor: int, at: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, at)


@dataclass
class _LockFile:
    """An open lock file, and the bytes of it that are locked here, by key."""

    descriptor: int
    slots: dict[str, int] = field(default_factory=dict)


class FileLocks:
    """A locked byte of one file for each key; the kernel drops it however the process ends.

    POSIX keeps these locks per process and file: a process is never refused what it holds itself,
    and closing any descriptor of the file drops all of them. So a process must have one FileLocks
    for a file, and two stores on one folder must share it. The folder is there: the store made it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: _LockFile | None = None
        self._gone: list[_LockFile] = []  # removed or replaced while a key of it was held

    def try_lock(self, key: str) -> bool:
        """True: nobody alive holds this key, and until `unlock` nobody else will.

        A key whose byte this process holds, for itself or for another key that hashes to the same
        one, is refused: the kernel would grant it, and the first unlock would then drop both.

        Raises:
            OSError: the file can't be opened, or the system gives no locks on it.
        """
        slot = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") & 0x7FFFFFFF
        if any(slot in file.slots.values() for file in self._files()):
            return False
        file = self._open()
        try:
            _lock_byte(file.descriptor, slot)
        except (BlockingIOError, PermissionError) as error:
            if isinstance(error, PermissionError) and not _is_refusal(error):
                raise
            return False  # someone else holds it
        file.slots[key] = slot
        if self._is_current(file):
            return True
        self.unlock(key)  # the file went away meanwhile: the next try locks the new one
        return False

    def holds(self, key: str) -> bool:
        """Whether a key locked here is still locked for others: the file is still the one there."""
        file = self._file
        return file is not None and key in file.slots and self._is_current(file)

    def unlock(self, key: str) -> None:
        """Let go of a key; one that was refused or never asked for changes nothing."""
        for file in self._files():
            slot = file.slots.pop(key, None)
            if slot is not None:
                _unlock_byte(file.descriptor, slot)
        for file in [file for file in self._gone if not file.slots]:
            os.close(file.descriptor)
            self._gone.remove(file)

    def close(self) -> None:
        """Let go of every key; the file is opened again when one is asked for."""
        for file in self._files():
            os.close(file.descriptor)  # which drops its locks
        self._file, self._gone = None, []

    def _files(self) -> list[_LockFile]:
        return [*self._gone, *([self._file] if self._file else [])]

    def _open(self) -> _LockFile:
        """The lock file that is there now; one that was put back may still be open here."""
        files = self._files()
        current = next(filter(self._is_current, files), None)
        if current is None:
            current = _LockFile(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        self._file, self._gone = current, [file for file in files if file is not current]
        return current

    def _is_current(self, file: _LockFile) -> bool:
        """Whether others who open the path now lock the same file."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(file.descriptor))
        except FileNotFoundError:
            return False


def _is_refusal(error: PermissionError) -> bool:
    """EACCES is how some systems say that someone else holds a lock; EPERM is none of that."""
    import errno

    return error.errno == errno.EACCES
