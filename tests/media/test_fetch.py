"""Downloads: only from public https addresses, pinned, limited, and never with the token.

Rules: design.md 6; the working pattern: reference/patterns.md 5.
"""

import asyncio
import contextlib
import datetime as dt
import errno
import io
import ipaddress
import os
import ssl
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mcp_server.clock import Clock
from mcp_server.errors import (
    DownloadError,
    InterruptedDownloadError,
    NoRouteError,
    SettingsError,
)
from mcp_server.media.fetch import ExpiredLinkError, Fetcher
from mcp_server.media.files import DISK_RESERVE_BYTES, OutputFolder, PartFile, SavedFile
from mcp_server.media.names import Stem
from mcp_server.media.ssrf import Resolver
from mcp_server.models import Kind
from mcp_server.sandbox import media
from mcp_server.settings import Settings
from tests.support.corpora import HOSTILE_ADDRESSES, HOSTILE_URLS
from tests.support.harness import ORIGIN, TOKEN
from tests.support.limits import LONGEST_S
from tests.support.media_host import MediaHost, film

CLIP = media.read(media.clip(640, 360, 24))
LINK = "https://media.example.com/clip.mp4?Signature=a%2Fb&Expires=1"
NAMES = {
    "media.example.com": ["93.184.215.14"],
    "cdn.example.com": ["93.184.215.15"],
    "api.useapi.net": ["93.184.215.16"],
}


async def names(host: str) -> list[str]:
    return NAMES[host]


@dataclass
class Web(httpx.AsyncBaseTransport):
    """Answers requests from a script, and keeps them."""

    answers: dict[str, Callable[[], httpx.Response]] = field(default_factory=dict)
    breaks: int = 0
    seen: list[httpx.Request] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        if self.breaks:
            self.breaks -= 1
            raise httpx.ReadError("cut", request=request)
        answer = self.answers.get(request.headers["host"] + request.url.path)
        return answer() if answer else clip_answer()


class Pieces(httpx.AsyncByteStream):
    """A body in pieces, one every `pause_s`."""

    def __init__(self, *pieces: bytes, pause_s: float = 0.0) -> None:
        self._pieces = pieces
        self._pause_s = pause_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            await asyncio.sleep(self._pause_s)
            yield piece


def clip_answer(**options: Any) -> httpx.Response:
    body = options.pop("body", CLIP)
    headers = {"content-length": str(len(body)), **options.pop("headers", {})}
    pieces = Pieces(*(body[at : at + 65_536] for at in range(0, len(body), 65_536)))
    return httpx.Response(options.pop("status", 200), headers=headers, stream=pieces)


def redirect(to: str) -> Callable[[], httpx.Response]:
    return lambda: httpx.Response(302, headers={"location": to})


def fetcher(
    web: httpx.AsyncBaseTransport | None,
    resolve: Resolver = names,
    *,
    base_url: str = ORIGIN,
    outputs: OutputFolder | None = None,
    limit_mb: int = 1,
) -> Fetcher:
    settings = Settings.read(
        {
            "USEAPI_TOKEN": TOKEN,
            "USEAPI_BASE_URL": base_url,
            "USEAPI_MAX_DOWNLOAD_MB": str(limit_mb),
        }
    )
    return Fetcher(settings, Clock(), outputs or OutputFolder(Path("/")), web, resolve)


async def fetch(a_fetcher: Fetcher, url: str = LINK, kind: Kind = "video") -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        outputs = OutputFolder(Path(folder))
        file = outputs.begin()
        try:
            await a_fetcher.fetch(url, file, kind, ignored)
            return file.head(1 << 30)
        finally:
            outputs.close()


def ignored(written: int, expected: int | None) -> None: ...


async def test_a_file_is_fetched_from_the_very_address_that_was_looked_at() -> None:
    web = Web()

    got = await fetch(fetcher(web))

    assert got == CLIP
    (request,) = web.seen
    assert str(request.url) == "https://93.184.215.14/clip.mp4?Signature=a%2Fb&Expires=1"
    assert request.headers["host"] == "media.example.com"
    assert request.extensions["sni_hostname"] == "media.example.com"
    assert request.headers["accept-encoding"] == "identity"


async def test_the_token_and_cookies_never_go_along() -> None:
    set_cookie = {"set-cookie": "a=b; Path=/", "location": "https://cdn.example.com/b.mp4"}
    web = Web({"media.example.com/clip.mp4": lambda: httpx.Response(302, headers=set_cookie)})

    await fetch(fetcher(web))

    assert 2 == len(web.seen)
    for request in web.seen:
        assert TOKEN not in repr(request.headers.raw) + str(request.url)
        assert not {"authorization", "cookie", "referer"} & set(request.headers)


@pytest.mark.parametrize("url", HOSTILE_URLS)
async def test_a_hostile_link_is_refused_and_nobody_is_asked(url: str) -> None:
    web = Web()

    with pytest.raises(DownloadError) as refusal:
        await fetch(fetcher(web), url)

    assert [] == web.seen
    assert "nothing was saved" in refusal.value.message
    if len(url) > 10:
        assert url not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        url
        for url in HOSTILE_URLS  # without those that a header can't hold or that lead back here
        if ":" in url and ":///a" not in url and url.isascii() and url.isprintable()
    ],
)
async def test_a_hostile_redirect_is_refused_and_not_followed(url: str) -> None:
    web = Web({"media.example.com/clip.mp4": redirect(url)})

    with pytest.raises(DownloadError):
        await fetch(fetcher(web))

    assert {"media.example.com"} == {request.headers["host"] for request in web.seen}


@pytest.mark.parametrize("addresses", HOSTILE_ADDRESSES)
async def test_a_name_with_a_hostile_address_is_refused(addresses: tuple[str, ...]) -> None:
    web = Web()

    async def resolve(host: str) -> list[str]:
        return list(addresses)

    with pytest.raises(DownloadError, match="not public"):
        await fetch(fetcher(web, resolve))

    assert [] == web.seen


async def test_a_name_that_changes_after_the_look_changes_nothing() -> None:
    """Rebinding (GHSA-489g-7rxv-6c8q): the second answer would be the attacker's."""
    answers = iter((["93.184.215.14"], ["127.0.0.1"]))

    async def rebinding(host: str) -> list[str]:
        return next(answers)

    web = Web()

    await fetch(fetcher(web, rebinding))

    assert ["93.184.215.14"] == [request.url.host for request in web.seen]
    assert ["127.0.0.1"] == next(answers)


async def test_a_name_that_changes_between_two_tries_is_looked_at_again() -> None:
    answers = iter((["93.184.215.14"], ["169.254.169.254"]))

    async def rebinding(host: str) -> list[str]:
        return next(answers)

    web = Web(breaks=1)

    with pytest.raises(DownloadError, match="not public"):
        await fetch(fetcher(web, rebinding))

    assert ["93.184.215.14"] == [request.url.host for request in web.seen]


async def test_three_redirects_are_followed_each_to_its_own_address() -> None:
    web = Web(
        {
            "media.example.com/clip.mp4": redirect("https://cdn.example.com/1"),
            "cdn.example.com/1": redirect("/2"),
            "cdn.example.com/2": redirect("//media.example.com/3.mp4"),
        }
    )

    assert await fetch(fetcher(web)) == CLIP

    hosts = [(r.url.host, r.headers["host"], r.extensions["sni_hostname"]) for r in web.seen]
    there = ("93.184.215.15", "cdn.example.com", "cdn.example.com")
    here = ("93.184.215.14", "media.example.com", "media.example.com")
    assert [here, there, there, here] == hosts


async def test_a_fourth_redirect_is_refused() -> None:
    web = Web({"media.example.com/clip.mp4": redirect("/clip.mp4")})

    with pytest.raises(DownloadError, match="redirects more than 3 times"):
        await fetch(fetcher(web))

    assert 4 == len(web.seen)


async def test_only_the_first_link_may_be_on_the_api_itself() -> None:
    own = "http://127.0.0.1:8001"
    web = Web({"media.example.com/clip.mp4": redirect(f"{own}/media/clip.mp4")})
    a_fetcher = fetcher(web, base_url=own)

    assert await fetch(a_fetcher, f"{own}/media/clip.mp4") == CLIP
    with pytest.raises(DownloadError):
        await fetch(a_fetcher)

    assert [f"{own}/media/clip.mp4"] == [str(r.url) for r in web.seen if r.url.scheme == "http"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8002/media/clip.mp4",
        "http://127.0.0.1/media/clip.mp4",
        "https://127.0.0.1:8001/media/clip.mp4",
        "http://localhost:8001/media/clip.mp4",
        "http://x@127.0.0.1:8001/media/clip.mp4",
        "http://127.0.0.2:8001/media/clip.mp4",
    ],
)
async def test_almost_the_api_itself_is_somewhere_else(url: str) -> None:
    web = Web()

    with pytest.raises(DownloadError):
        await fetch(fetcher(web, base_url="http://127.0.0.1:8001"), url)

    assert [] == web.seen


async def test_a_file_that_says_it_is_too_large_is_not_begun() -> None:
    taken: list[bytes] = []

    class Watched(Pieces):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            taken.append(b"")
            yield CLIP

    headers = {"content-length": str((1 << 20) + 1)}
    answer = httpx.Response(200, headers=headers, stream=Watched())
    web = Web({"media.example.com/clip.mp4": lambda: answer})

    with pytest.raises(DownloadError, match="larger than 1 MB"):
        await fetch(fetcher(web))

    assert [] == taken


async def test_a_file_that_goes_on_and_on_is_cut_at_the_cap() -> None:
    endless = httpx.Response(200, stream=Pieces(CLIP, *[bytes(65_536)] * 100))
    web = Web({"media.example.com/clip.mp4": lambda: endless})

    with pytest.raises(DownloadError, match="larger than 1 MB"):
        await fetch(fetcher(web))


async def test_a_file_that_breaks_off_is_begun_anew() -> None:
    answers = iter([clip_answer(headers={"content-length": "999999"}), clip_answer()])
    web = Web({"media.example.com/clip.mp4": lambda: next(answers)})

    assert await fetch(fetcher(web)) == CLIP


async def test_what_keeps_breaking_is_given_up_after_three_tries() -> None:
    web = Web(breaks=9)

    with pytest.raises(DownloadError, match="in 3 tries"):
        await fetch(fetcher(web))

    assert 3 == len(web.seen)


async def test_each_try_takes_the_next_address() -> None:
    async def resolve(host: str) -> list[str]:
        return ["93.184.215.14", "2606:4700::1111"]

    web = Web(breaks=2)

    await fetch(fetcher(web, resolve))

    hosts = ["93.184.215.14", "2606:4700::1111", "93.184.215.14"]
    assert hosts == [request.url.host for request in web.seen]


async def test_a_name_that_is_not_found_is_tried_again() -> None:
    asked: list[str] = []

    async def resolve(host: str) -> list[str]:
        asked.append(host)
        raise OSError("temporary failure in name resolution")

    with pytest.raises(DownloadError, match="host was not found"):
        await fetch(fetcher(Web(), resolve))

    assert 3 == len(asked)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_link_that_is_good_no_longer_is_told_apart(status: int) -> None:
    web = Web({"media.example.com/clip.mp4": lambda: clip_answer(status=status)})

    with pytest.raises(ExpiredLinkError):
        await fetch(fetcher(web))

    assert 1 == len(web.seen)


@pytest.mark.parametrize(("status", "tries"), [(500, 3), (503, 3), (429, 3), (204, 1), (300, 1)])
async def test_another_status_is_no_file(status: int, tries: int) -> None:
    web = Web({"media.example.com/clip.mp4": lambda: clip_answer(status=status)})

    with pytest.raises(DownloadError, match=str(status)):
        await fetch(fetcher(web))

    assert tries == len(web.seen)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip"])
async def test_an_encoded_file_is_refused(encoding: str) -> None:
    answer = clip_answer(headers={"content-encoding": encoding})
    web = Web({"media.example.com/clip.mp4": lambda: answer})

    with pytest.raises(DownloadError, match="encoded"):
        await fetch(fetcher(web))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<!doctype html><html>" + b" " * 999, "video"),
        (b"#!/bin/sh\nrm -rf /\n", "video"),
        (b"MZ" + bytes(999), "video"),
        (b"PK\x03\x04" + bytes(999), "image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "image"),
        (b"", "video"),
        (CLIP, "image"),
        (media.read(media.image(1280, 720)), "video"),
    ],
)
async def test_only_a_file_of_the_jobs_kind_is_taken(body: bytes, kind: Kind) -> None:
    web = Web({"media.example.com/clip.mp4": lambda: clip_answer(body=body)})

    with pytest.raises(DownloadError, match=f"no {kind} of a known type"):
        await fetch(fetcher(web), kind=kind)


async def test_a_file_that_trickles_is_given_up() -> None:
    trickle = httpx.Response(200, stream=Pieces(CLIP[:64], *[b"x"] * 9999, pause_s=10))
    web = Web({"media.example.com/clip.mp4": lambda: trickle})

    with pytest.raises(DownloadError, match="too slowly"):
        await fetch(fetcher(web))

    assert 60 <= asyncio.get_running_loop().time() <= 90


async def test_a_file_the_disk_has_no_room_for_is_not_begun(tmp_path: Path) -> None:
    class Full(OutputFolder):
        def free_bytes(self) -> int:
            return DISK_RESERVE_BYTES + len(CLIP) - 1

    folder = Full(tmp_path)

    with contextlib.closing(folder), pytest.raises(DownloadError, match="no room"):
        await fetcher(Web(), outputs=folder).fetch(LINK, folder.begin(), "video", ignored)


async def test_a_disk_that_fills_up_meanwhile_ends_it(tmp_path: Path) -> None:
    class Filling(OutputFolder):
        asked = 0

        def free_bytes(self) -> int:
            self.asked += 1
            return 1 << 40 if self.asked == 1 else DISK_RESERVE_BYTES - 1

    folder = Filling(tmp_path)
    file = folder.begin()
    film = httpx.Response(200, stream=Pieces(CLIP, *[bytes(1 << 20)] * 80))
    web = Web({"media.example.com/clip.mp4": lambda: film})

    with contextlib.closing(folder), pytest.raises(DownloadError, match="no room"):
        await fetcher(web, outputs=folder, limit_mb=99).fetch(LINK, file, "video", ignored)

    assert 2 == folder.asked


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk is a device of Linux")
async def test_a_file_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    (tmp_path / "film.part").symlink_to("/dev/full")
    raw = io.FileIO(str(tmp_path / "film.part"), "r+")
    file = PartFile(folder, raw, is_resumable=False)

    with pytest.raises(DownloadError, match=r"can't be written to .* .No space left on device"):
        await fetcher(Web(), outputs=folder).fetch(LINK, file, "video", ignored)
    folder.discard(file)


# Files so long that they are put on the disk while they come.


class Synced(httpx.AsyncByteStream):
    """40 MiB of a film, whose end comes when a part of it was put on the disk.

    A real loop is needed: a virtual one jumps while threads work.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: OSError | None = None) -> None:
        self.sizes: list[int] = []
        self._sync, self._error = os.fsync, error
        self._is_begun = threading.Event()
        monkeypatch.setattr(os, "fsync", self._synced)

    def _synced(self, descriptor: int) -> None:
        self.sizes.append(os.fstat(descriptor).st_size)
        self._is_begun.set()
        error, self._error = self._error, None
        if error:
            raise error
        self._sync(descriptor)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield CLIP
        for _ in range(40):
            yield bytes(1 << 20)
        await asyncio.to_thread(self._is_begun.wait, LONGEST_S)
        yield b"end"

    def saved(self, folder: Path) -> SavedFile:
        """The file that a download of this leaves in the folder."""

        async def work() -> SavedFile:
            outputs = OutputFolder(folder)
            web = Web({"media.example.com/clip.mp4": lambda: httpx.Response(200, stream=self)})
            with contextlib.closing(outputs):
                file = outputs.begin()
                await fetcher(web, outputs=outputs, limit_mb=99).fetch(LINK, file, "video", ignored)
                return outputs.keep(file, Stem("film"))

        return asyncio.run(work())


def test_a_long_file_is_put_on_the_disk_while_it_comes_and_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = Synced(monkeypatch)

    saved = film.saved(tmp_path)

    assert film.sizes[0] < film.sizes[-1] == saved.size_bytes == len(CLIP) + (40 << 20) + 3


def test_what_the_disk_did_not_take_while_a_file_came_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system tells such an error once: the sync at the end would find nothing wrong."""
    film = Synced(monkeypatch, OSError(errno.EIO, "Input/output error"))

    with pytest.raises(DownloadError, match=r"can't be written to .* \(Input/output error\)"):
        film.saved(tmp_path)


# Going on after a cut, and deadlines.


async def fetched_from(host: MediaHost, tmp_path: Path, **options: Any) -> bytes:
    """What a download brings from this host, in one call."""
    outputs = OutputFolder(tmp_path)
    with contextlib.closing(outputs):
        file = outputs.begin("film")
        await fetcher(host, outputs=outputs, limit_mb=99, **options).fetch(
            LINK, file, "video", ignored
        )
        return file.head(1 << 30)


@pytest.mark.parametrize(
    "headers",
    [
        {"etag": '"1"'},
        {
            "last-modified": "Thu, 26 Nov 2026 10:00:00 GMT",
            "date": "Fri, 27 Nov 2026 10:00:00 GMT",
        },
    ],
    ids=["etag", "time"],
)
async def test_a_file_that_breaks_off_is_gone_on_with(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    host = MediaHost(film(3_000_000), headers=headers, breaks_at=[1_000_000, 1_000_000])

    got = await fetched_from(host, tmp_path)

    assert host.body == got
    assert [None, "bytes=983040-", "bytes=1966080-"] == host.ranges
    assert len(got) == host.sent_bytes
    expected = headers.get("etag") or headers["last-modified"]
    assert expected == host.seen[2].headers["if-range"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"etag": 'W/"1"'},
        {"etag": "no quotes"},
        {"etag": '"' + "x" * 600 + '"'},
        {"last-modified": "Thu, 26 Nov 2026 10:00:00 GMT"},
        {"last-modified": "yesterday", "date": "today"},
        {
            "last-modified": "Thu, 26 Nov 2026 10:00:00 GMT",
            "date": "Thu, 26 Nov 2026 10:00:00 GMT",
        },
    ],
)
async def test_a_file_of_which_nothing_tells_that_it_is_the_same_is_begun_anew(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    host = MediaHost(film(300_000), headers=headers, breaks_at=[200_000])

    assert host.body == await fetched_from(host, tmp_path)

    assert [None, None] == host.ranges


async def test_a_line_that_breaks_often_brings_the_file_as_long_as_it_brings_something(
    tmp_path: Path,
) -> None:
    host = MediaHost(film(12_000_000), breaks_at=[1_500_000] * 7)

    assert host.body == await fetched_from(host, tmp_path)

    assert 8 == len(host.seen)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (206, {"content-range": "bytes 0-299999/300000"}),
        (206, {"content-range": "bytes 131072-299999/300000", "etag": '"2"'}),
        (206, {"content-range": "pages 1-2/3"}),
        (206, {}),
        (416, {"content-range": "bytes */300000"}),
    ],
    ids=["another part", "another file", "no bytes", "no range", "no such part"],
)
async def test_a_part_that_was_not_asked_for_is_never_joined(
    tmp_path: Path, status: int, headers: dict[str, str]
) -> None:
    body = film(300_000)
    answers = iter(
        [
            clip_answer(body=body[:131_072], headers={"etag": '"1"', "content-length": "300000"}),
            clip_answer(status=status, body=b"x" * 9, headers=headers),
            clip_answer(body=body),
        ]
    )
    web = Web({"media.example.com/clip.mp4": lambda: next(answers)})
    outputs = OutputFolder(tmp_path)

    with contextlib.closing(outputs):
        file = outputs.begin("film")
        await fetcher(web, outputs=outputs).fetch(LINK, file, "video", ignored)

        assert body == file.head(1 << 20)
    assert [None, "bytes=131072-", None] == [r.headers.get("range") for r in web.seen]


async def test_a_part_nobody_asked_for_is_no_file() -> None:
    web = Web({"media.example.com/clip.mp4": lambda: clip_answer(status=206)})

    with pytest.raises(DownloadError, match="status 206"):
        await fetch(fetcher(web))


class Silent(httpx.AsyncBaseTransport):
    """A host that sends a byte of its header now and then, so that no single read times out."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(1e6)
        raise AssertionError


async def silent_after(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    await asyncio.sleep(1e6)


class Stalling(httpx.AsyncByteStream):
    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return silent_after(*self._pieces)


@pytest.mark.parametrize(
    "web",
    [
        Silent(),
        Web({"media.example.com/clip.mp4": lambda: httpx.Response(200, stream=Stalling())}),
        Web({"media.example.com/clip.mp4": lambda: httpx.Response(200, stream=Stalling(CLIP))}),
    ],
    ids=["header", "body", "trailer"],
)
async def test_no_phase_of_a_download_goes_on_for_ever(web: httpx.AsyncBaseTransport) -> None:
    began = asyncio.get_running_loop().time()

    with pytest.raises(InterruptedDownloadError, match="too slowly"):
        await fetch(fetcher(web))

    assert 60 == round(asyncio.get_running_loop().time() - began, 3)


async def test_a_name_server_that_is_silent_ends_with_the_same_deadline() -> None:
    async def resolve(host: str) -> list[str]:
        await asyncio.sleep(1e6)
        return []

    with pytest.raises(InterruptedDownloadError, match="too slowly"):
        await fetch(fetcher(Web(), resolve))

    assert 60 == round(asyncio.get_running_loop().time(), 3)


async def test_a_download_takes_an_hour_at_most_and_can_then_be_gone_on_with(
    tmp_path: Path,
) -> None:
    host = MediaHost(film(1_000_000) * 25, bytes_per_s=5000)
    outputs = OutputFolder(tmp_path)
    with contextlib.closing(outputs):
        file = outputs.begin("film")

        with pytest.raises(InterruptedDownloadError, match="too slowly"):
            await fetcher(host, outputs=outputs, limit_mb=99).fetch(LINK, file, "video", ignored)

        assert 3600 == round(asyncio.get_running_loop().time())
        assert '"1"' == file.validator
        assert file.size_bytes > 17_000_000


async def test_small_pieces_let_others_run(tmp_path: Path) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    await fetched_from(MediaHost(film(20_000), piece_bytes=1), tmp_path)
    other.cancel()

    assert turns > 20_000 / 100


@pytest.mark.parametrize("is_found", [True, False])
async def test_where_a_proxy_is_the_only_way_out_the_error_says_so(
    monkeypatch: pytest.MonkeyPatch, *, is_found: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy.example.com:3128")

    async def resolve(host: str) -> list[str]:
        if is_found:
            return ["93.184.215.14"]
        raise OSError("temporary failure in name resolution")

    class Refusing(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("refused", request=request)

    with pytest.raises(NoRouteError) as told:
        await fetch(fetcher(Refusing(), resolve))

    assert "HTTPS_PROXY names a proxy, which downloads do not use" in told.value.message
    assert "secret" not in str(told.value)
    assert not told.value.retryable


async def test_a_cut_is_no_matter_of_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")

    with pytest.raises(InterruptedDownloadError, match="ReadError"):
        await fetch(fetcher(Web(breaks=9)))


def test_certificates_that_can_not_be_read_are_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere"))

    async def work() -> None:
        with pytest.raises(SettingsError, match="SSL_CERT_FILE"):
            await fetch(fetcher(None))

    asyncio.run(work())


# With a real TLS server, whose certificates come from a CA of its own.


@dataclass
class TlsServer:
    port: int
    trusts: ssl.SSLContext
    sni: list[str | None]
    heads: list[str]


class ToPort(httpx.AsyncBaseTransport):
    """The network's part: brings what is meant for a pinned address to the server of the test."""

    def __init__(self, server: TlsServer) -> None:
        self._server = server
        self._http = httpx.AsyncHTTPTransport(verify=server.trusts, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        ipaddress.ip_address(request.url.host)  # it must be pinned by now
        request.url = request.url.copy_with(host="127.0.0.1", port=self._server.port)
        return await self._http.handle_async_request(request)

    async def aclose(self) -> None:
        await self._http.aclose()


def key_usage(*, of_a_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not of_a_ca,
        key_cert_sign=of_a_ca,
        crl_sign=of_a_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def certificate(folder: Path, *hosts: str) -> tuple[Path, Path]:
    """(CA, certificate with its key) as PEM files, strict enough for Python 3.13 (RFC 5280)."""
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def signed(name: str, its_key: ec.EllipticCurvePrivateKey, *names: x509.GeneralName) -> bytes:
        is_ca = not names
        built = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]))
            .public_key(its_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(key_usage(of_a_ca=is_ca), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(its_key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
                critical=False,
            )
        )
        if names:
            built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return built.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca, chain = folder / "ca.pem", folder / "chain.pem"
    ca.write_bytes(signed("ca", ca_key))
    chain.write_bytes(
        signed(hosts[0], key, *map(x509.DNSName, hosts))
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return ca, chain


async def with_tls(folder: Path, work: Callable[[TlsServer], Any]) -> None:
    """Run `work` beside a TLS server for media.example.com; /there redirects to another name."""
    ca, chain = certificate(folder, "media.example.com")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    served = TlsServer(0, ssl.create_default_context(cafile=str(ca)), [], [])
    context.sni_callback = lambda _, name, __: served.sni.append(name)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            served.heads.append(head)
            if head.startswith("GET /there"):
                writer.write(b"HTTP/1.1 302 x\r\nlocation: https://cdn.example.com/x\r\n\r\n")
            else:
                size = f"content-length: {len(CLIP)}".encode()
                writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (size, CLIP))
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    served.port = server.sockets[0].getsockname()[1]
    async with server, asyncio.timeout(LONGEST_S):
        await work(served)


def test_over_tls_the_certificate_must_be_for_the_name_in_the_link(tmp_path: Path) -> None:
    async def work(server: TlsServer) -> None:
        right = fetcher(ToPort(server))
        assert await fetch(right) == CLIP
        assert ["media.example.com"] == server.sni
        assert "\r\nHost: media.example.com\r\n" in server.heads[0]

        with pytest.raises(DownloadError, match="ConnectError"):
            await fetch(fetcher(ToPort(server)), "https://cdn.example.com/clip.mp4")
        with pytest.raises(DownloadError, match="ConnectError"):
            await fetch(fetcher(ToPort(server)), "https://media.example.com/there")
        assert {"media.example.com", "cdn.example.com"} == set(server.sni)
        assert not [head for head in server.heads if "cdn.example.com" in head]

    asyncio.run(with_tls(tmp_path, work))


def test_informational_answers_without_an_end_are_not_read_on() -> None:
    """The client reads over them all; in real time, since only real connections do."""

    async def work() -> int:
        sent_bytes, piece = 0, b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent_bytes
            await reader.readuntil(b"\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(piece)
                    await writer.drain()
                    sent_bytes += len(piece)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, asyncio.timeout(LONGEST_S):
            with pytest.raises(DownloadError, match="a header without an end"):
                await fetch(fetcher(None, base_url=base), f"{base}/media/clip.mp4")
        return sent_bytes

    assert asyncio.run(work()) < 20_000_000


def test_the_environments_proxy_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would resolve the name once more, and undo the pin."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def work() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(CLIP), CLIP))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, asyncio.timeout(LONGEST_S):
            assert await fetch(fetcher(None, base_url=base), f"{base}/media/clip.mp4") == CLIP

    asyncio.run(work())
