"""The user's own files: which are read, by which path, and what is noticed about them."""

import asyncio
import hashlib
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcp_server.errors import UnusableFileError
from mcp_server.media.own_files import OwnFile, name_of_link, open_file
from mcp_server.media.probe import MediaInfo
from mcp_server.sandbox import media
from mcp_server.services.base import FileRule
from tests.support.media_host import film

CLIP = media.read(media.clip(640, 360, 24))
JPEG = media.read(media.image(1280, 720))
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (64).to_bytes(4, "big") + (32).to_bytes(4, "big")
WEBP = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0/" + bytes(16)
MOV = CLIP[:8] + b"qt  " + CLIP[12:]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that may be read; what is beside it may not."""
    made = tmp_path / "Movies"
    made.mkdir()
    return made


def put(path: Path, content: bytes = CLIP) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def refusal(text: str, *folders: Path, why_none: str = "") -> str:
    """Why a path is refused, and what to do."""
    with pytest.raises(UnusableFileError) as raised:
        open_file(text, folders, why_none=why_none)
    assert "nothing was sent" in raised.value.message
    return str(raised.value)


async def inline(size_bytes: int, work: Callable[[], bytes]) -> bytes:
    return work()


async def content_of(file: OwnFile) -> bytes:
    return b"".join([piece async for piece in file.pieces(inline, lambda _: None)])


# What is read


@pytest.mark.parametrize(
    ("name", "content", "mime_type"),
    [
        ("a.mp4", CLIP, "video/mp4"),
        ("a.mov", MOV, "video/quicktime"),
        ("a.jpg", JPEG, "image/jpeg"),
        ("a.png", PNG, "image/png"),
        ("a.webp", WEBP, "image/webp"),
        ("without an extension", CLIP, "video/mp4"),
        ("a.jpeg", PNG, "image/png"),  # its own bytes count
    ],
)
async def test_a_file_is_what_its_own_bytes_say(
    folder: Path, name: str, content: bytes, mime_type: str
) -> None:
    path = put(folder / name, content)

    file = open_file(str(path), [folder])
    sha256 = file.identify()

    assert (name, len(content), mime_type) == (file.name, file.size_bytes, file.info.mime_type)
    assert hashlib.sha256(content).hexdigest() == sha256
    assert f"file:{sha256}" == file.placeholder
    assert content == await content_of(file)


@pytest.mark.parametrize(
    "written",
    [
        "{path}",
        "  '{path}' ",
        '"{path}"',
        "`{path}`",
        "<{uri}>",
        "{uri}",
        "file://localhost{encoded}",
        "file:{encoded}",
        "{escaped}",
    ],
)
def test_a_path_is_understood_as_people_and_hosts_write_it(folder: Path, written: str) -> None:
    path = put(folder / "My clip é 100%.mp4")
    uri = path.as_uri()

    file = open_file(
        written.format(
            path=path,
            uri=uri,
            encoded=uri.removeprefix("file://"),
            escaped=str(path).replace(" ", "\\ "),
        ),
        [folder],
    )

    assert "My clip é 100%.mp4" == file.name


def test_the_home_folder_may_be_written_as_a_tilde(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder / "a.mp4")
    monkeypatch.setenv("HOME", str(folder.parent))

    assert "a.mp4" == open_file("~/Movies/a.mp4", [folder]).name


def test_a_link_that_stays_inside_is_followed(folder: Path) -> None:
    put(folder / "deep" / "a.mp4")
    (folder / "short.mp4").symlink_to(folder / "deep" / "a.mp4")
    (folder.parent / "other").symlink_to(folder)

    assert open_file(str(folder / "short.mp4"), [folder]).size_bytes == len(CLIP)
    for path, root in (
        (folder.parent / "other" / "short.mp4", folder),
        (folder / "short.mp4", folder.parent / "other"),
    ):
        assert "short.mp4" == open_file(str(path), [root]).name


def test_a_hidden_folder_that_is_named_itself_is_read(tmp_path: Path) -> None:
    path = put(tmp_path / ".cache" / "a.mp4")

    assert "a.mp4" == open_file(str(path), [tmp_path / ".cache"]).name


def test_a_file_is_read_on_though_its_name_is_gone_or_is_anothers(folder: Path) -> None:
    path = put(folder / "a.mp4")
    file = open_file(str(path), [folder])

    path.unlink()
    put(path, JPEG)

    assert hashlib.sha256(CLIP).hexdigest() == file.identify()


# What is not


def outside(folder: Path) -> Path:
    return put(folder.parent / "secret.mp4")


def by_link(folder: Path) -> Path:
    (folder / "a.mp4").symlink_to(outside(folder))
    return folder / "a.mp4"


def by_linked_folder(folder: Path) -> Path:
    put(folder.parent / "private" / "a.mp4")
    (folder / "sub").symlink_to(folder.parent / "private")
    return folder / "sub" / "a.mp4"


def by_dots(folder: Path) -> Path:
    outside(folder)
    return folder / "x" / ".." / ".." / "secret.mp4"


def by_prefix(folder: Path) -> Path:
    return put(folder.parent / "Movies of others" / "a.mp4")


@pytest.mark.parametrize(
    "made",
    [outside, by_link, by_linked_folder, by_dots, by_prefix],
    ids=lambda function: function.__name__,
)
def test_what_is_outside_is_refused_and_the_folders_are_named(
    folder: Path, made: Callable[[Path], Path]
) -> None:
    said = refusal(str(made(folder)), folder)

    assert "in none of the folders that this server may read" in said
    assert str(folder) in said
    assert "USEAPI_INPUT_DIRS" in said


def test_whether_a_file_outside_exists_is_not_told(folder: Path) -> None:
    there = refusal(str(outside(folder)), folder)
    missing = refusal(str(folder.parent / "missing.mp4"), folder)

    assert there == missing.replace("missing.mp4", "secret.mp4")


@pytest.mark.parametrize("name", [".a.mp4", ".hidden/a.mp4", "x/.git/y/a.mp4"])
def test_what_is_hidden_is_refused(folder: Path, name: str) -> None:
    assert "hidden" in refusal(str(put(folder / name)), folder)


def test_a_link_to_what_is_hidden_is_refused(folder: Path) -> None:
    (folder / "a.mp4").symlink_to(put(folder / ".ssh" / "a.mp4"))

    assert "hidden" in refusal(str(folder / "a.mp4"), folder)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize("make", [fifo, listening], ids=["a pipe", "a socket"])
def test_what_is_no_file_is_refused_at_once(make: Callable[[Path], None]) -> None:
    """A pipe without a writer would be waited for, for ever."""
    with tempfile.TemporaryDirectory() as short:  # the name of a socket may not be long
        make(Path(short) / "a.mp4")

        assert "Give the path of a video or an image" in refusal(f"{short}/a.mp4", Path(short))


def test_a_folder_is_refused(folder: Path) -> None:
    (folder / "a.mp4").mkdir()

    assert "is a folder" in refusal(str(folder / "a.mp4"), folder)
    assert "is a folder" in refusal(str(folder), folder)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.mp4", b"", "is empty"),
        ("a.mp4", b"# Notes", "is none of MP4, MOV, JPEG, PNG, WebP by its own bytes"),
        ("a.mp4", b"MZ" + bytes(200), "is none of"),
        ("a.webm", b"\x1a\x45\xdf\xa3" + b"webm" * 20, "is none of"),
        ("a.gif", b"GIF89a" + bytes(60), "is none of"),
        ("a.mp4", JPEG, "holds JPEG by its own bytes, which its name does not say"),
        ("a.png", CLIP, "holds MP4 by its own bytes"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(
    folder: Path, name: str, content: bytes, says: str
) -> None:
    assert says in refusal(str(put(folder / name, content)), folder)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a.mp4", "is no whole path"),
        ("./a.mp4", "is no whole path"),
        ("../a.mp4", "is no whole path"),
        ("~nobody-of-ours/a.mp4", "is no whole path"),
        ("~\0/a.mp4", "a.mp4 is no whole path"),
        ("~\ud800/a.mp4", "a.mp4 is no whole path"),
        ("/{folder}/\ud800.mp4", "is no whole path"),
        ("file://elsewhere.example.com/a.mp4", "file://elsewhere.example.com/a.mp4 is no whole"),
        ("C:\\Users\\me\\a.mp4", "a.mp4 is no whole path"),
        ("\\\\nas\\films\\a.mp4", "a.mp4 is no whole path"),
        ("/{folder}/a\0.mp4", "is no whole path"),
        ("/" + "x" * 5000 + ".mp4", "is no whole path"),
        ("{folder}/missing.mp4", "is not there"),
        ("{folder}/a.mp4/b.mp4", "is not there"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(folder: Path, text: str, says: str) -> None:
    put(folder / "a.mp4")

    assert says in refusal(text.replace("{folder}", str(folder)), folder)


def test_a_file_that_may_not_be_read_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(folder / "a.mp4")

    def denied(*_: Any, **__: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)

    assert "may not be read by this server's user" in refusal(str(path), folder)


def test_without_folders_nothing_is_read_and_it_says_why(folder: Path) -> None:
    said = refusal(str(put(folder / "a.mp4")), why_none="Over HTTP nothing is read")

    assert said.startswith("Over HTTP nothing is read")
    assert "https link" in said


def test_a_link_put_in_the_way_after_the_check_is_not_followed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(folder / "a.mp4")
    secret = outside(folder)
    real = os.path.realpath

    def swapped(name: Any, **options: Any) -> str:
        found = real(name, **options)
        if Path(str(name)) == path and not path.is_symlink():
            path.unlink()
            path.symlink_to(secret)
        return str(found)

    monkeypatch.setattr(os.path, "realpath", swapped)

    assert "can't be opened" in refusal(str(path), folder)


# Changes


def grown(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def cut(path: Path) -> None:
    os.truncate(path, 20_000)


def rewritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(b"another scene")
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("change", [grown, cut, rewritten], ids=lambda change: change.__name__)
def test_a_file_that_changes_before_it_is_read_whole_is_refused(
    folder: Path, change: Callable[[Path], None]
) -> None:
    path = put(folder / "a.mp4")
    file = open_file(str(path), [folder])

    change(path)

    with pytest.raises(UnusableFileError, match="changes while it is read"):
        file.identify()


@pytest.mark.parametrize("change", [grown, cut, rewritten], ids=lambda change: change.__name__)
async def test_of_a_file_that_changes_while_it_is_sent_the_end_is_never_sent(
    folder: Path, change: Callable[[Path], None]
) -> None:
    path = put(folder / "a.mp4", film(3_000_000))
    file = open_file(str(path), [folder])
    file.identify()
    sent: list[int] = []

    def on_bytes(sent_bytes: int) -> None:
        sent.append(sent_bytes)
        change(path)

    with pytest.raises(UnusableFileError, match="changes while it is read"):
        [piece async for piece in file.pieces(inline, on_bytes)]

    assert 0 < sent[-1] < 3_000_000


async def test_a_file_changed_behind_its_times_is_noticed_by_its_content(folder: Path) -> None:
    path = put(folder / "a.mp4", film(3_000_000))
    file = open_file(str(path), [folder])
    file.identify()
    before = path.stat()
    with path.open("r+b") as changed:
        changed.seek(2_500_000)
        changed.write(b"another scene")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(UnusableFileError, match="changes while it is read"):
        await content_of(file)


async def test_progress_is_told_by_bytes(folder: Path) -> None:
    file = open_file(str(put(folder / "a.mp4", film(2_500_000))), [folder])
    read: list[int] = []
    sent: list[int] = []

    file.identify(read.append)
    async for _ in file.pieces(inline, sent.append):
        await asyncio.sleep(0)

    assert [1 << 20, 2 << 20, 2_500_000] == read == sent


def test_a_disk_that_fails_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = open_file(str(put(folder / "a.mp4")), [folder])

    def broken(*_: Any) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", broken)

    with pytest.raises(UnusableFileError, match=r"can't be read \(Input/output error\)"):
        file.identify()


@pytest.mark.parametrize("content", [CLIP, b"no film"], ids=["used", "refused"])
def test_no_descriptor_is_left_open(
    folder: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = put(folder / "a.mp4", content), os.open
    opened: list[int] = []

    def recorded(*given: Any, **named: Any) -> int:
        opened.append(real(*given, **named))
        return opened[-1]

    monkeypatch.setattr(os, "open", recorded)

    if content == CLIP:
        open_file(str(path), [folder]).identify()
    else:
        refusal(str(path), folder)

    assert opened
    for descriptor in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.com/a/My%20clip.mp4?x=1", "My clip.mp4"),
        ("https://example.com/", "example.com"),
        ("https://example.com", "example.com"),
    ],
)
def test_a_link_is_called_by_its_file_or_its_host(url: str, name: str) -> None:
    assert name == name_of_link(url)


# What a service takes


RULE = FileRule(("video/mp4", "video/quicktime"), 10 << 20, under_px=3840, longest_s=180)


@pytest.mark.parametrize(
    ("info", "size_bytes", "says"),
    [
        (MediaInfo("image/png", "image"), 1, "is PNG, and PixVerse takes MP4, MOV here"),
        (MediaInfo("video/mp4", "video"), (10 << 20) + 1, "takes up to 10 MB"),
        (MediaInfo("video/mp4", "video", 3840, 2160), 1, "is 3840x2160"),
        (MediaInfo("video/mp4", "video", 2160, 3840), 1, "smaller than 4K"),
        (MediaInfo("video/mp4", "video", 1, 1, 180_001), 1, "lasts 180 s, and PixVerse takes up"),
    ],
)
def test_what_a_service_does_not_take_is_refused_with_what_it_takes(
    info: MediaInfo, size_bytes: int, says: str
) -> None:
    with pytest.raises(UnusableFileError) as raised:
        RULE.check("PixVerse", "a.mp4", info, size_bytes)

    assert says in str(raised.value)
    assert "nothing was sent" in str(raised.value)


@pytest.mark.parametrize(
    "info",
    [
        MediaInfo("video/mp4", "video"),  # its header says nothing: the vendor judges
        MediaInfo("video/mp4", "video", 3839, 2160, 180_000),
    ],
)
def test_what_fits_is_taken(info: MediaInfo) -> None:
    RULE.check("PixVerse", "a.mp4", info, 10 << 20)
