"""FileLocks: a key is one process's at a time, whatever becomes of processes and of the file."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mcp_server.journal.locks import FileLocks
from tests.journal.programs import go, line, process

LOCKER = """
import sys
from pathlib import Path
from mcp_server.journal.locks import FileLocks
locks = FileLocks(Path(sys.argv[1]))
print(*[locks.try_lock(key) for key in sys.argv[2:]], flush=True)
sys.stdin.readline()
locks.close()
print("closed", flush=True)
sys.stdin.readline()
"""
"""Locks keys and says which it got; after a line it closes, after another it ends."""

# Windows neither removes nor renames a file that is open.
needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="an open file can't be removed")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / "journal.lock"


@pytest.fixture
def locks(path: Path) -> Iterator[FileLocks]:
    with closing(FileLocks(path)) as opened:
        yield opened


def others_get(path: Path, *keys: str) -> str:
    """Which of these keys another process can lock."""
    with process(LOCKER, path, *keys) as other:
        return line(other)


def descriptors(path: Path) -> int:
    """How many descriptors of the file this process has."""
    identity = path.stat().st_ino
    count = 0
    for number in range(256):
        try:
            count += os.fstat(number).st_ino == identity
        except OSError:
            continue
    return count


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.touch(0o600)
    other.replace(path)


def test_a_key_is_one_processs_at_a_time(locks: FileLocks, path: Path) -> None:
    assert locks.try_lock("key")
    assert locks.holds("key")

    assert "False True" == others_get(path, "key", "another")

    locks.unlock("key")
    assert not locks.holds("key")
    assert "True" == others_get(path, "key")


def test_a_process_that_is_killed_holds_nothing(locks: FileLocks, path: Path) -> None:
    with process(LOCKER, path, "key", "another") as holder:
        assert "True True" == line(holder)

        while_it_lives = locks.try_lock("key")
        holder.kill()
        holder.wait()

        assert not while_it_lives
        assert not locks.holds("another")
        assert locks.try_lock("key")
        assert locks.try_lock("another")


def test_a_process_that_closes_its_locks_holds_nothing(locks: FileLocks, path: Path) -> None:
    with process(LOCKER, path, "key") as holder:
        assert "True" == line(holder)
        go(holder)
        assert "closed" == line(holder)

        assert locks.try_lock("key")


def test_a_key_that_is_held_is_refused_in_this_process_too(locks: FileLocks) -> None:
    assert locks.try_lock("key")

    assert not locks.try_lock("key")

    assert locks.holds("key")


def test_releasing_a_key_that_is_not_held_changes_nothing(locks: FileLocks, path: Path) -> None:
    locks.unlock("key")
    locks.try_lock("key")
    locks.unlock("another")

    assert locks.holds("key")
    assert "False True" == others_get(path, "key", "another")


def test_two_keys_on_one_byte_do_not_drop_each_others_lock(locks: FileLocks, path: Path) -> None:
    one, other = "key-8337", "key-15029"  # sha256 puts both on the same byte
    assert locks.try_lock(one)

    assert not locks.try_lock(other)
    assert not locks.holds(other)
    locks.unlock(other)

    assert "False" == others_get(path, one)
    locks.unlock(one)
    assert locks.try_lock(other)


def test_a_key_takes_no_byte_but_its_own(locks: FileLocks, path: Path) -> None:
    one, next_to_it = "key-36426", "key-64293"  # sha256 puts the second on the byte after the first
    locks.try_lock(one)
    assert "True" == others_get(path, next_to_it)

    locks.try_lock(next_to_it)
    locks.unlock(one)

    assert locks.holds(next_to_it)
    assert "True False" == others_get(path, one, next_to_it)


def test_closing_drops_every_key_and_the_file(locks: FileLocks, path: Path) -> None:
    locks.try_lock("key")
    locks.try_lock("another")
    was_open = descriptors(path)

    locks.close()
    locks.close()

    assert (1, 0) == (was_open, descriptors(path))
    assert not locks.holds("key")
    assert "True True" == others_get(path, "key", "another")


def test_locks_that_were_closed_open_the_file_again(locks: FileLocks, path: Path) -> None:
    locks.try_lock("key")
    locks.close()

    assert locks.try_lock("key")

    assert locks.holds("key")
    assert "False" == others_get(path, "key")


def test_the_file_is_only_made_when_a_key_is_locked(locks: FileLocks, path: Path) -> None:
    assert not locks.holds("key")
    locks.unlock("key")
    locks.close()

    assert not path.exists()


@needs_posix
@pytest.mark.parametrize("lose", [remove, replace])
def test_a_key_of_a_lost_file_is_no_longer_held(
    locks: FileLocks, path: Path, lose: Callable[[Path], None]
) -> None:
    locks.try_lock("key")

    lose(path)

    assert not locks.holds("key")
    assert "True" == others_get(path, "key")


@needs_posix
@pytest.mark.parametrize("lose", [remove, replace])
def test_after_a_file_was_lost_keys_are_locked_in_the_new_one(
    locks: FileLocks, path: Path, lose: Callable[[Path], None]
) -> None:
    locks.try_lock("before")
    lose(path)

    assert locks.try_lock("after")

    assert locks.holds("after")
    assert not locks.holds("before")
    assert "True False" == others_get(path, "before", "after")


@needs_posix
@pytest.mark.parametrize("lose", [remove, replace])
def test_a_process_that_lost_its_file_is_refused_what_others_hold_in_the_new_one(
    locks: FileLocks, path: Path, lose: Callable[[Path], None]
) -> None:
    locks.try_lock("key")
    lose(path)
    with process(LOCKER, path, "key", "another") as other:
        assert "True True" == line(other)

        assert not locks.try_lock("another")
        locks.unlock("key")
        assert not locks.try_lock("key")

        assert not locks.holds("key")


@needs_posix
def test_a_key_of_a_lost_file_is_not_locked_twice_in_this_process(
    locks: FileLocks, path: Path
) -> None:
    """Whoever has it is still at work on it, though others can have it too by now."""
    locks.try_lock("key")
    remove(path)

    while_it_is_worked_on = locks.try_lock("key")
    locks.unlock("key")

    assert not while_it_is_worked_on
    assert locks.try_lock("key")
    assert locks.holds("key")


@needs_posix
def test_releasing_a_key_of_a_lost_file_keeps_those_of_the_new_one(
    locks: FileLocks, path: Path
) -> None:
    locks.try_lock("one")
    locks.try_lock("two")
    remove(path)
    locks.try_lock("after")

    locks.unlock("one")
    locks.unlock("two")

    assert locks.holds("after")
    assert "False True" == others_get(path, "after", "one")


@needs_posix
def test_a_lost_file_is_closed_with_the_last_of_its_keys(locks: FileLocks, path: Path) -> None:
    kept = path.with_name("kept")
    locks.try_lock("one")
    locks.try_lock("two")
    path.rename(kept)
    locks.try_lock("after")

    locks.unlock("one")
    with_one_left = descriptors(kept)
    locks.unlock("two")

    assert (1, 0) == (with_one_left, descriptors(kept))
    assert 1 == descriptors(path)


@needs_posix
def test_closing_closes_lost_files_too(locks: FileLocks, path: Path) -> None:
    kept = path.with_name("kept")
    locks.try_lock("key")
    path.rename(kept)
    locks.try_lock("after")

    locks.close()

    assert (0, 0) == (descriptors(kept), descriptors(path))


@needs_posix
def test_a_file_that_is_put_back_is_not_opened_a_second_time(locks: FileLocks, path: Path) -> None:
    """Closing one of two descriptors would drop the locks of both."""
    kept = path.with_name("kept")
    locks.try_lock("before")
    path.rename(kept)
    locks.try_lock("between")
    kept.rename(path)

    locks.try_lock("after")
    locks.unlock("before")
    locks.unlock("between")

    assert locks.holds("after")
    assert 1 == descriptors(path)
    assert "False True" == others_get(path, "after", "before")


@needs_posix
def test_a_file_that_is_lost_while_a_key_is_locked_does_not_count(
    locks: FileLocks, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    lockf = fcntl.lockf

    def lose_and_lock(descriptor: int, *how: int) -> None:
        monkeypatch.undo()
        path.unlink()
        lockf(descriptor, *how)

    monkeypatch.setattr(fcntl, "lockf", lose_and_lock)

    at_first = locks.try_lock("key")

    assert not at_first
    assert not locks.holds("key")
    assert locks.try_lock("key")
    assert "False" == others_get(path, "key")


@needs_posix
@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOLCK, errno.EIO])
def test_a_system_that_gives_no_locks_is_not_taken_for_somebody_who_holds_it(
    locks: FileLocks, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    import fcntl

    def fail(descriptor: int, *how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", fail)

    with pytest.raises(OSError, match=os.strerror(number)):
        locks.try_lock("key")

    assert not locks.holds("key")
    monkeypatch.undo()
    assert locks.try_lock("key")


@needs_posix
@pytest.mark.parametrize("number", [errno.EACCES, errno.EAGAIN])
def test_both_ways_to_say_that_a_lock_is_held_are_understood(
    locks: FileLocks, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    import fcntl

    def refuse(descriptor: int, *how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refuse)

    assert not locks.try_lock("key")


def test_a_file_that_can_not_be_opened_raises(locks: FileLocks, path: Path) -> None:
    path.mkdir()

    with pytest.raises(OSError, match=r"journal\.lock"):
        locks.try_lock("key")


@needs_posix
def test_a_folder_that_is_lost_raises_when_its_place_is_taken(locks: FileLocks, path: Path) -> None:
    locks.try_lock("key")
    path.unlink()
    path.parent.rmdir()
    path.parent.touch()

    with pytest.raises(NotADirectoryError):
        locks.holds("key")
    with pytest.raises(NotADirectoryError):
        locks.try_lock("another")
