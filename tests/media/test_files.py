"""The output folder: files are complete, unique, for their owner only, and replace nothing."""

import errno
import io
import os
import stat
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from mcp_server.errors import DownloadError, OutputError
from mcp_server.media.files import DISK_RESERVE_BYTES, OutputFolder, PartFile, SavedFile
from mcp_server.sandbox import media

VIDEO = media.read(media.clip(1280, 720, 24))
IMAGE = media.read(media.image(1280, 720))
LINUX = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="a full disk is a device of Linux"
)


def save(folder: OutputFolder, content: bytes, stem: str = "film") -> SavedFile:
    file = folder.begin()
    file.write(content)
    return folder.keep(file, stem)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("content", "name", "mime_type"),
    [
        (VIDEO, "film.mp4", "video/mp4"),
        (IMAGE, "film.jpg", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "film.png", "image/png"),
        (b"<html>no film</html>", "film.bin", None),
        (b"", "film.bin", None),
    ],
    ids=["video", "image", "head only", "page", "nothing"],
)
def test_a_file_is_named_by_what_its_bytes_say(
    tmp_path: Path, content: bytes, name: str, mime_type: str | None
) -> None:
    saved = save(OutputFolder(tmp_path), content)

    assert (tmp_path / name, len(content)) == (saved.path, saved.size_bytes)
    assert mime_type == (saved.media_info.mime_type if saved.media_info else None)
    assert content == saved.path.read_bytes()
    assert {name} == names(tmp_path)


def test_what_a_film_is_like_is_read_from_it(tmp_path: Path) -> None:
    info = save(OutputFolder(tmp_path), VIDEO).media_info

    assert info is not None
    assert ("video", 1280, 720, 24.0) == (info.kind, info.width, info.height, info.frame_rate)


def test_the_folder_and_its_files_are_the_owners_only(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "films"

    saved = save(OutputFolder(folder), b"x")

    assert 0o700 == stat.S_IMODE(folder.stat().st_mode)
    assert 0o600 == stat.S_IMODE(saved.path.stat().st_mode)


def test_the_same_bytes_are_kept_once_and_others_beside_them(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)

    paths = [save(folder, content).path.name for content in (b"a", b"b", b"a", b"b", b"cc", b"")]

    assert ["film.bin", "film-2.bin", "film.bin", "film-2.bin", "film-3.bin", "film-4.bin"] == paths
    assert b"a" == (tmp_path / "film.bin").read_bytes()


def test_long_files_are_compared_to_their_end(tmp_path: Path) -> None:
    folder, long = OutputFolder(tmp_path), bytes(3 << 20)

    paths = [save(folder, content).path.name for content in (long, long[:-1] + b"x", long)]

    assert ["film.bin", "film-2.bin", "film.bin"] == paths


@pytest.mark.parametrize("kind", ["folder", "link", "dangling link"])
def test_what_is_no_plain_file_is_left_alone(tmp_path: Path, kind: str) -> None:
    other, taken = tmp_path / "elsewhere", tmp_path / "film.bin"
    other.write_bytes(b"a")
    if kind == "folder":
        taken.mkdir()
    else:
        taken.symlink_to(other if kind == "link" else tmp_path / "nowhere")

    saved = save(OutputFolder(tmp_path), b"a")

    assert "film-2.bin" == saved.path.name
    assert b"a" == other.read_bytes()


def test_a_thousand_files_of_one_name_are_enough(tmp_path: Path) -> None:
    for number in range(1, 1000):
        (tmp_path / f"film{f'-{number}' if number > 1 else ''}.bin").write_bytes(b"old")

    with pytest.raises(DownloadError, match="a thousand"):
        save(OutputFolder(tmp_path), b"new")

    assert 999 == len(names(tmp_path))


def test_a_folder_that_can_t_be_made_is_told_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(DownloadError) as caught:
        OutputFolder(tmp_path / "file" / "films").begin()

    assert "can't be written" in caught.value.message
    assert "USEAPI_OUTPUT_DIR" in caught.value.hint


@LINUX
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """What is written stays in memory for a while, so the disk's refusal comes with the flush."""
    place, folder = tmp_path / "film.part", OutputFolder(tmp_path)
    place.symlink_to("/dev/full")
    file = PartFile(folder, io.FileIO(str(place), "r+"), is_resumable=False)
    file.write(b"x")

    with pytest.raises(DownloadError, match="No space left"):
        folder.keep(file, "film")

    assert file.closed
    assert set() == names(tmp_path)


def test_what_is_discarded_leaves_nothing(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    file = folder.begin()
    assert 1 == len(names(tmp_path))

    folder.discard(file)
    folder.discard(file)

    assert set() == names(tmp_path)


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links, as on a memory stick: none can be mounted here."""

    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("no_links")
def test_without_hard_links_a_file_is_put_in_place_all_the_same(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)

    paths = [save(folder, content).path.name for content in (b"a", b"b", b"a")]

    assert ["film.bin", "film-2.bin", "film.bin"] == paths
    assert [b"a", b"b"] == [(tmp_path / name).read_bytes() for name in paths[:2]]
    assert {"film.bin", "film-2.bin"} == names(tmp_path)
    assert 0o600 == stat.S_IMODE((tmp_path / "film.bin").stat().st_mode)


@pytest.mark.usefixtures("no_links")
def test_a_file_that_is_put_in_place_is_swept_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server starts, and sweeps, between the file's last byte and its name."""
    replace = Path.replace

    def late(path: Path, target: Path) -> Path:
        OutputFolder(tmp_path).sweep(0)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", late)

    assert VIDEO == save(OutputFolder(tmp_path), VIDEO).path.read_bytes()


@pytest.mark.usefixtures("no_links")
def test_a_name_that_was_taken_is_given_back_if_the_file_can_t_follow(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    file = folder.begin()
    Path(file.name).unlink()

    with pytest.raises(DownloadError):
        folder.keep(file, "film")

    assert set() == names(tmp_path)


def test_a_link_that_fails_for_another_reason_is_told(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    file = folder.begin()
    Path(file.name).unlink()

    with pytest.raises(DownloadError, match="No such file"):
        folder.keep(file, "film")


def test_a_file_is_saved_again_under_another_name(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    first = save(folder, VIDEO)

    second = folder.copy(first.path, "my-film")

    assert tmp_path / "my-film.mp4" == second.path
    assert (VIDEO, first.media_info) == (second.path.read_bytes(), second.media_info)


def test_a_file_that_is_gone_can_t_be_copied(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="can't be copied"):
        OutputFolder(tmp_path).copy(tmp_path / "gone.mp4", "film")

    assert set() == names(tmp_path)


def test_a_sweep_takes_what_dead_owners_left_and_nothing_else(tmp_path: Path) -> None:
    folder, others = OutputFolder(tmp_path), OutputFolder(tmp_path)
    dead, own, alive = folder.begin(), folder.begin(), others.begin()
    dead.close()  # as the kernel does for a process that was killed
    folder._under_way.discard(dead)
    save(folder, b"x")
    (tmp_path / "somebody.part").write_bytes(b"")

    for path in tmp_path.iterdir():
        os.utime(path, (1000, 1000))
    folder.sweep(2000)

    kept = {Path(str(file.name)).name for file in (own, alive)}
    assert {*kept, "film.bin", "somebody.part"} == names(tmp_path)
    others.close()
    folder.close()


def test_what_can_be_gone_on_with_is_swept_after_its_time(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    for key in ("old", "new"):
        file = folder.begin(key)
        file.start_over('"1"')
        file.write(b"half")
        folder.set_aside(file)
        if key == "old":
            for path in tmp_path.iterdir():
                os.utime(path, (1000, 1000))

    folder.sweep(2000)

    assert 2 == len(names(tmp_path))
    old, new = folder.begin("old"), folder.begin("new")
    assert (None, 0) == (old.validator, old.size_bytes)
    assert ('"1"', 4) == (new.validator, new.size_bytes)
    folder.close()
    assert set() == names(tmp_path)


def test_a_validator_that_lost_its_file_is_swept(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    left = tmp_path / ".useapi-mcp-0000000000000000.validator"
    left.write_text("x")

    folder.sweep(0)

    assert set() == names(tmp_path)


def test_a_sweep_of_no_folder_does_nothing(tmp_path: Path) -> None:
    OutputFolder(tmp_path / "nowhere").sweep(2000)

    assert set() == names(tmp_path)


def test_room_is_counted_in_bytes_and_none_where_there_is_no_disk(tmp_path: Path) -> None:
    assert OutputFolder(tmp_path).free_bytes() > 0
    assert 0 == OutputFolder(tmp_path / "nowhere").free_bytes()


# Half-written files: whose they are, what may be gone on with, and the room they take.


def half(folder: OutputFolder, key: str = "film", content: bytes = VIDEO[:1000]) -> PartFile:
    file = folder.begin(key)
    file.start_over('"1"')
    file.write(content)
    return file


def test_what_was_set_aside_is_gone_on_with_by_another_process(tmp_path: Path) -> None:
    before = OutputFolder(tmp_path)
    before.set_aside(half(before))

    folder = OutputFolder(tmp_path)
    file = folder.begin("film")

    assert ('"1"', 1000) == (file.validator, file.size_bytes)
    file.write(VIDEO[1000:])
    assert VIDEO == folder.keep(file, "film").path.read_bytes()
    assert {"film.mp4"} == names(tmp_path)


def test_what_somebody_else_is_writing_is_left_to_them(tmp_path: Path) -> None:
    """Two servers that share a folder and save the same job."""
    first, second = OutputFolder(tmp_path), OutputFolder(tmp_path)
    theirs = half(first)

    ours = second.begin("film")

    assert theirs.path != ours.path
    assert 0 == ours.size_bytes
    ours.write(VIDEO)
    theirs.write(VIDEO[1000:])
    assert second.keep(ours, "film").path == first.keep(theirs, "film").path
    assert {"film.mp4"} == names(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes nothing that is open")
def test_a_file_that_a_sweep_took_before_it_was_locked_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    lock = fcntl.flock
    taken: list[str] = []

    def late(descriptor: int, operation: int) -> None:
        if not taken:
            taken.extend(names(tmp_path))
            (tmp_path / taken[0]).unlink()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    folder = OutputFolder(tmp_path)

    file = folder.begin()

    assert {file.path.name} == names(tmp_path) != set(taken)
    folder.close()


@pytest.mark.skipif(sys.platform == "win32", reason="fcntl is not there")
def test_without_locks_only_what_is_old_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network file system, say: nothing tells whether an owner is alive."""
    import fcntl

    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    others = OutputFolder(tmp_path)
    old, new = others.begin(), others.begin()
    os.utime(old.path, (1000, 1000))

    OutputFolder(tmp_path).sweep(2000)

    assert {new.path.name} == names(tmp_path)
    others.close()


def test_what_is_in_place_already_is_never_written_to(tmp_path: Path) -> None:
    """A process was killed after it had put the file in place, before it removed the other name."""
    folder = OutputFolder(tmp_path)
    file = half(folder, content=VIDEO)
    os.link(file.path, tmp_path / "film.mp4")
    folder.set_aside(file)

    again = folder.begin("film")
    again.write(b"other")

    assert VIDEO == (tmp_path / "film.mp4").read_bytes()
    folder.close()


@pytest.mark.parametrize("text", [None, b"", b"\xff", b"x" * 600])
def test_a_half_without_its_validator_is_begun_anew(tmp_path: Path, text: bytes | None) -> None:
    folder = OutputFolder(tmp_path)
    folder.set_aside(half(folder))
    for path in tmp_path.glob("*.validator"):
        if text is None:
            path.unlink()
        else:
            path.write_bytes(text)

    file = folder.begin("film")

    assert (None, 0) == (file.validator, file.size_bytes)
    folder.close()


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_something_else_of_a_halfs_name_is_left_alone(tmp_path: Path, kind: str) -> None:
    folder = OutputFolder(tmp_path)
    half(folder).close()
    (name,) = (name for name in names(tmp_path) if name.endswith(".part"))
    folder.discard_all()
    if kind == "folder":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).symlink_to(tmp_path / "nowhere")

    saved = folder.keep(half(folder, content=VIDEO), "film")

    assert VIDEO == saved.path.read_bytes()
    assert {name, "film.mp4"} == names(tmp_path)


def test_a_file_that_was_swapped_for_a_link_is_not_published(tmp_path: Path) -> None:
    """By somebody who can write the folder."""
    folder, secret = OutputFolder(tmp_path), tmp_path / "secret"
    secret.write_text("keep")
    file = folder.begin()
    file.write(VIDEO)
    file.path.unlink()
    file.path.symlink_to(secret)

    with pytest.raises(DownloadError, match="Something else was put in the place"):
        folder.keep(file, "film")

    assert "keep" == secret.read_text()
    assert {"secret"} == names(tmp_path)


def test_clean_up_that_can_not_be_done_hides_no_outcome(tmp_path: Path) -> None:
    """The folder turned into a file: nothing in it can be removed, as with a read-only one."""
    folder = OutputFolder(tmp_path / "films")
    file, other = half(folder), folder.begin()
    folder.path.rename(tmp_path / "elsewhere")
    folder.path.write_bytes(b"")

    with pytest.raises(DownloadError, match="can't be written"):
        folder.keep(file, "film")
    folder.set_aside(other)
    folder.close()

    assert file.closed
    assert other.closed


class Disk(OutputFolder):
    """A folder on a small disk of its own."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        super().__init__(path)
        self._size_bytes = size_bytes

    def free_bytes(self) -> int:
        used = sum(entry.stat().st_size for entry in self.path.iterdir())
        return self._size_bytes - used


def test_what_is_promised_to_one_file_is_not_promised_to_the_next(tmp_path: Path) -> None:
    disk = Disk(tmp_path, DISK_RESERVE_BYTES + (10 << 20))
    first, second = disk.begin(), disk.begin()

    first.expect(7 << 20)
    with pytest.raises(OutputError, match="no room"):
        second.expect(4 << 20)
    second.expect(3 << 20)
    disk.discard(first)

    second.expect(9 << 20)
    disk.close()


def test_a_file_of_unknown_size_leaves_the_reserve_free(tmp_path: Path) -> None:
    disk = Disk(tmp_path, DISK_RESERVE_BYTES + (20 << 20))
    file = disk.begin()

    with pytest.raises(OutputError, match="no room"):
        file.writelines([bytes(1 << 20)] * 40)

    assert disk.free_bytes() >= DISK_RESERVE_BYTES
    assert 10 << 20 < file.size_bytes <= 20 << 20
    disk.close()


def test_a_copy_leaves_the_reserve_free_too(tmp_path: Path) -> None:
    disk = Disk(tmp_path, DISK_RESERVE_BYTES + (10 << 20))
    (tmp_path / "film.mp4").write_bytes(bytes(6 << 20))

    with pytest.raises(OutputError, match="no room"):
        disk.copy(tmp_path / "film.mp4", "copy")

    assert {"film.mp4"} == names(tmp_path)
