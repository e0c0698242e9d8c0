"""Key locks: who is at work on a key is told by a lock the kernel drops with its process.

No pid, no heartbeat, no clock: a process that was killed holds nothing, and one that is stopped or
asleep still holds what it had. On a network file system they are only as good as that system's.
"""

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol


class KeyLocks(Protocol):
    """Says who is at work on a key."""

    def try_lock(self, key: str) -> bool:
        """True: nobody alive is at work on this key, and until `unlock` nobody else will be."""

    def unlock(self, key: str) -> None: ...

    def close(self) -> None: ...


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
    descriptor: int
    slots: set[int]
    users: int = 0


class FileLocks:
    """A locked byte of one file for each key; the kernel drops it however the process ends.

    POSIX keeps these locks per process and file: a process is never refused what it holds itself,
    and closing any descriptor of the file drops all of them. So this process's one descriptor and
    the bytes it holds are shared by every FileLocks on that file.
    """

    _files: ClassVar[dict[str, _LockFile]] = {}

    def __init__(self, path: Path) -> None:
        self._path = os.path.realpath(path)
        self._file: _LockFile | None = None
        self._held: dict[str, int] = {}

    def try_lock(self, key: str) -> bool:
        """True: nobody alive holds this key, and until `unlock` nobody else will.

        A key whose byte this process holds, for itself or for another key that hashes to the same
        one, is refused: the kernel would grant it, and the first unlock would then drop both.
        """
        file = self._file = self._file or self._open()
        slot = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") & 0x7FFFFFFF
        if slot in file.slots:
            return False
        try:
            _lock_byte(file.descriptor, slot)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: someone else holds it
            return False
        file.slots.add(slot)
        self._held[key] = slot
        return True

    def unlock(self, key: str) -> None:
        """Let go of a key; one that was refused or never asked for changes nothing."""
        slot = self._held.pop(key, None)
        if slot is not None and self._file is not None:
            _unlock_byte(self._file.descriptor, slot)
            self._file.slots.remove(slot)

    def close(self) -> None:
        if self._file is None:
            return
        for key in list(self._held):
            self.unlock(key)
        self._file.users -= 1
        if not self._file.users:
            os.close(self._file.descriptor)
            del self._files[self._path]
        self._file = None

    def _open(self) -> _LockFile:
        if self._path not in self._files:
            descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
            self._files[self._path] = _LockFile(descriptor, set())
        file = self._files[self._path]
        file.users += 1
        return file
