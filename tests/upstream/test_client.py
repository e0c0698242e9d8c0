"""The HTTP client: the token, retries, hostile answers, and what is known to be sent."""

import asyncio
import base64
import contextlib
import email.utils
import gzip
import io
import json
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from mcp_server.clock import Clock, iso
from mcp_server.errors import (
    DownloadError,
    JournalError,
    RateLimitError,
    RefusedError,
    ServerError,
    SettingsError,
    TokenError,
    UnansweredError,
    UnexpectedAnswerError,
    UnreachableError,
    UseapiError,
)
from mcp_server.media.files import OutputFolder, PartFile
from mcp_server.media.names import MadeName
from mcp_server.settings import Settings
from mcp_server.upstream.client import Upstream
from mcp_server.upstream.responses import ServiceInfo
from tests.support.harness import EPOCH, ORIGIN, TOKEN, VirtualClock

PLAIN = ServiceInfo("plain", "Plain")
FILES = ServiceInfo("films", "Films", base64_fields=frozenset({"rawBytes"}))
PATH = "/v1/plain/jobs/j1-u1-CA:jane@example.com-bot:plain"

Script = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class Line(httpx.AsyncBaseTransport):
    """A connection that gives prepared answers; the last one for ever.

    It refuses to carry the token anywhere but to the API.
    """

    def __init__(self, *script: Script) -> None:
        self.script = list(script)
        self.sent: list[httpx.Request] = []
        self.sent_at: list[float] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert ORIGIN == f"{request.url.scheme}://{request.url.netloc.decode()}"
        assert f"Bearer {TOKEN}" == request.headers["authorization"]
        self.sent_at.append(asyncio.get_running_loop().time())
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, httpx.ConnectError):
            raise step
        await request.extensions["trace"](
            "http11.send_request_headers.started", {"request": request}
        )
        self.sent.append(request)
        if isinstance(step, Exception):
            raise step
        return step(request) if callable(step) else step


class Drip(httpx.AsyncByteStream):
    """Pieces with a pause before each."""

    def __init__(self, pieces: list[bytes], pause_s: float) -> None:
        self._pieces = pieces
        self._pause_s = pause_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            await asyncio.sleep(self._pause_s)
            yield piece


def upstream(
    folder: Path, transport: httpx.AsyncBaseTransport | None, **environment: str
) -> Upstream:
    settings = Settings.read({"USEAPI_TOKEN": TOKEN, **environment})
    return Upstream(settings, VirtualClock(), OutputFolder(folder), transport)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def says(body: Any = None, status: int = 200, **headers: str) -> Callable[[Any], httpx.Response]:
    """A fresh answer each time: one that was read can't be read again."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: httpx.Response(status, headers=headers, stream=httpx.ByteStream(content))


class Paying:
    """A paid request, and how often it was counted as sent."""

    def __init__(self, client: Upstream, vendor: ServiceInfo = PLAIN) -> None:
        self.client = client
        self.vendor = vendor
        self.counted = 0

    async def count(self) -> None:
        self.counted += 1

    async def __call__(self, read_timeout_s: float = 150.0) -> Any:
        return await self.client.post_paid(
            self.vendor,
            "/v1/plain/upscale",
            {"jobid": "j1"},
            on_send=self.count,
            read_timeout_s=read_timeout_s,
        )


# What is sent


async def test_a_request_carries_the_token_and_its_path_as_it_is(tmp_path: Path) -> None:
    line = Line(says({"a": 1}))

    answer = await upstream(tmp_path, line).get(PLAIN, PATH)

    assert (200, {"a": 1}, ()) == (answer.status, answer.data, answer.files)
    assert PATH.encode() == line.sent[0].url.raw_path
    assert "identity" == line.sent[0].headers["accept-encoding"]
    assert line.sent[0].headers["user-agent"].startswith("useapi-mcp/")


async def test_a_paid_request_is_counted_once_and_carries_its_body(tmp_path: Path) -> None:
    line = Line(says({"a": 1}, 201))
    pay = Paying(upstream(tmp_path, line))

    answer = await pay()

    assert (201, 1) == (answer.status, pay.counted)
    assert b'{"jobid":"j1"}' == line.sent[0].content


async def test_a_path_that_would_be_changed_on_its_way_is_a_bug(tmp_path: Path) -> None:
    line = Line(says({}))

    with pytest.raises(AssertionError, match="sent as it is"):
        await upstream(tmp_path, line).get(PLAIN, "/v1/a b")

    assert [] == line.sent


async def test_without_a_token_nothing_is_sent(tmp_path: Path) -> None:
    line = Line(says({}))
    client = upstream(tmp_path, line, USEAPI_TOKEN="")

    for call in (client.get(PLAIN, PATH), client.delete(PLAIN, PATH), Paying(client)()):
        with pytest.raises(TokenError) as caught:
            await call
        assert "--sandbox" in caught.value.hint

    assert [] == line.sent


async def test_the_token_goes_to_its_own_origin_and_a_redirect_is_not_followed(
    tmp_path: Path,
) -> None:
    line = Line(says(b"", 302, location="https://evil.example.com/"))
    client = upstream(tmp_path, line)
    pay = Paying(client)

    with pytest.raises(UnexpectedAnswerError):
        await client.get(PLAIN, PATH)
    with pytest.raises(UnansweredError) as caught:
        await pay()

    assert 302 == caught.value.http_status
    assert {"api.useapi.net"} == {request.url.host for request in line.sent}


async def test_a_send_that_can_t_be_written_down_does_not_happen(tmp_path: Path) -> None:
    line = Line(says({}))

    async def broken_journal() -> None:
        raise JournalError(message="Disk full.", hint="Make room.")

    with pytest.raises(JournalError):
        await upstream(tmp_path, line).post_paid(
            PLAIN, "/v1/x", {}, on_send=broken_journal, read_timeout_s=1
        )

    assert [] == line.sent


async def test_no_cookie_of_the_vendor_is_sent_back(tmp_path: Path) -> None:
    """They would pile up until a gateway refuses the request's headers."""
    line = Line(says({"a": 1}, set_cookie=f"session={'x' * 3000}; Path=/; Secure"))
    client = upstream(tmp_path, line)

    for _ in range(2):
        await client.get(PLAIN, PATH)
        await Paying(client)()

    assert 4 == len(line.sent)
    assert not any("cookie" in request.headers for request in line.sent)


# When it is sent again


async def test_what_never_left_is_tried_three_times_and_counted_never(tmp_path: Path) -> None:
    line = Line(httpx.ConnectError("refused"))
    pay = Paying(upstream(tmp_path, line))

    with pytest.raises(UnreachableError) as caught:
        await pay()

    assert "nothing was sent" in caught.value.message
    assert (3, 0) == (len(line.sent_at), pay.counted)


async def test_a_connection_at_the_third_try_is_soon_enough(tmp_path: Path) -> None:
    line = Line(httpx.ConnectError("refused"), httpx.ConnectError("refused"), says({"a": 1}))
    pay = Paying(upstream(tmp_path, line))

    answer = await pay()

    assert ({"a": 1}, 1) == (answer.data, pay.counted)
    assert line.sent_at[-1] <= 1.5


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"error": "busy"}, {"retry_after": "7"}),
        ({"error": "busy"}, {"retry_after": email.utils.formatdate(EPOCH + 7, usegmt=True)}),
        ({"error": "busy", "retryAfter": iso(EPOCH + 7)}, {}),
    ],
    ids=["seconds", "date", "body"],
)
async def test_a_short_wait_is_obeyed_and_the_request_sent_once_more(
    tmp_path: Path, body: dict[str, str], headers: dict[str, str]
) -> None:
    line = Line(says(body, 429, **headers), says({"a": 1}))
    pay = Paying(upstream(tmp_path, line))

    answer = await pay()

    assert ({"a": 1}, 2) == (answer.data, pay.counted)
    assert [0.0, 7.0] == line.sent_at


async def test_a_short_wait_is_obeyed_only_once(tmp_path: Path) -> None:
    line = Line(says({"error": "busy"}, 429, retry_after="7"))
    pay = Paying(upstream(tmp_path, line))

    with pytest.raises(RateLimitError) as caught:
        await pay()

    assert (2, 7) == (len(line.sent), caught.value.retry_after_seconds)


@pytest.mark.parametrize("wait", ["11", "1800"])
async def test_a_long_wait_is_the_callers(tmp_path: Path, wait: str) -> None:
    line = Line(says({"error": "busy"}, 429, retry_after=wait))
    pay = Paying(upstream(tmp_path, line))

    with pytest.raises(RateLimitError) as caught:
        await pay()

    assert (1, int(wait)) == (len(line.sent), caught.value.retry_after_seconds)


FAILING: list[tuple[Script, type[UseapiError]]] = [
    (says({"error": "x"}, 500), ServerError),
    (says({"error": "Polling timeout"}, 408), ServerError),
    (says(b"<html>", 524), ServerError),
    (says(b"<html>"), UnexpectedAnswerError),
    (httpx.ReadTimeout("slow"), UnreachableError),
    (httpx.RemoteProtocolError("cut"), UnreachableError),
]


@pytest.mark.parametrize(("step", "kind"), FAILING, ids=range(len(FAILING)))
async def test_a_read_is_tried_three_times(
    tmp_path: Path, step: Script, kind: type[UseapiError]
) -> None:
    line = Line(step)

    with pytest.raises(kind):
        await upstream(tmp_path, line).get(PLAIN, PATH)

    assert 3 == len(line.sent)


@pytest.mark.parametrize("step", [step for step, _ in FAILING], ids=range(len(FAILING)))
async def test_a_paid_request_is_never_sent_again_where_it_may_have_been_done(
    tmp_path: Path, step: Script
) -> None:
    line = Line(step)
    pay = Paying(upstream(tmp_path, line))

    with pytest.raises(UnansweredError):
        await pay()

    assert (1, 1) == (len(line.sent), pay.counted)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 410, 412, 422, 596])
async def test_a_refusal_is_not_argued_with(tmp_path: Path, status: int) -> None:
    line = Line(says({"error": "no"}, status))
    client = upstream(tmp_path, line)

    for call in (client.get(PLAIN, PATH), Paying(client)()):
        with pytest.raises(UseapiError) as caught:
            await call
        assert status == caught.value.http_status

    assert 2 == len(line.sent)


async def test_a_delete_may_answer_with_nothing(tmp_path: Path) -> None:
    line = Line(says(b"", 204))

    answer = await upstream(tmp_path, line).delete(PLAIN, PATH)

    assert (204, None) == (answer.status, answer.data)
    assert ["DELETE"] == [request.method for request in line.sent]


# Who waits for it


async def test_a_caller_that_leaves_does_not_cut_the_request(tmp_path: Path) -> None:
    finished = []

    async def slowly() -> None:
        await asyncio.sleep(20)
        finished.append(True)

    class Slow(Line):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await super().handle_async_request(request)
            await slowly()
            return answer

    line = Slow(says({"a": 1}))
    pay = Paying(upstream(tmp_path, line))
    caller = asyncio.create_task(pay())
    await asyncio.sleep(1)

    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.sleep(30)

    assert [True] == finished
    assert (1, 1) == (len(line.sent), pay.counted)


async def test_a_failure_nobody_waits_for_any_more_disturbs_nobody(tmp_path: Path) -> None:
    class Slow(Line):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(20)
            raise OSError("a bug")

    client = upstream(tmp_path, Slow(says({})))
    caller = asyncio.create_task(client.get(PLAIN, PATH))
    await asyncio.sleep(1)

    caller.cancel()
    await asyncio.sleep(30)

    assert caller.cancelled()


async def test_closing_stops_what_is_still_under_way(tmp_path: Path) -> None:
    cut = []

    class Endless(Line):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            try:
                await asyncio.sleep(1e6)
            except asyncio.CancelledError:
                cut.append(asyncio.get_running_loop().time())
                raise
            raise AssertionError

    client = upstream(tmp_path, Endless(says({})))
    caller = asyncio.create_task(Paying(client)())
    await asyncio.sleep(1)

    await client.close()

    assert [1.0] == cut
    await asyncio.gather(caller, return_exceptions=True)


async def test_what_was_never_used_can_be_closed(tmp_path: Path) -> None:
    await upstream(tmp_path, None).close()


# Hostile answers


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": NaN}',
        b"\xff\xfe\xff",
        b'{"a": "never closed',
        b"",
    ],
    ids=["deep", "long number", "NaN", "no text", "cut", "empty"],
)
async def test_a_body_that_is_no_json_is_an_unexpected_answer(tmp_path: Path, body: bytes) -> None:
    line = Line(says(body))

    with pytest.raises(UnexpectedAnswerError):
        await upstream(tmp_path, line).get(PLAIN, PATH)


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        (" GZIP", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("identity", bytes),
        ("", bytes),
    ],
)
async def test_a_compression_nobody_asked_for_loses_no_paid_job(
    tmp_path: Path, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    body = json.dumps({"jobid": "j1", "rawBytes": "QUJD" * 300_000}).encode()
    line = Line(says(compress(body), content_encoding=encoding))

    answer = await Paying(upstream(tmp_path, line), FILES)()

    assert {"jobid": "j1", "rawBytes": "file:0"} == answer.data
    assert b"ABC" * 300_000 == answer.files[0].path.read_bytes()


async def test_an_error_that_is_compressed_is_understood(tmp_path: Path) -> None:
    line = Line(says(gzip.compress(b'{"error": "no such thing"}'), 400, content_encoding="gzip"))

    with pytest.raises(RefusedError, match="no such thing"):
        await Paying(upstream(tmp_path, line))()


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
async def test_another_encoding_is_named_in_the_error(tmp_path: Path, encoding: str) -> None:
    line = Line(says(b"\x00", content_encoding=encoding))

    with pytest.raises(UnexpectedAnswerError, match=f"encoded as {encoding}"):
        await upstream(tmp_path, line).get(PLAIN, PATH)
    with pytest.raises(UnansweredError, match=f"encoded as {encoding}"):
        await Paying(upstream(tmp_path, line))()


@pytest.mark.parametrize("encoding", ["br", "gzip"])
async def test_a_refusal_in_an_encoding_not_understood_is_one_by_its_status(
    tmp_path: Path, encoding: str
) -> None:
    line = Line(says(b"\x00\x01", 401, content_encoding=encoding))

    with pytest.raises(TokenError):
        await Paying(upstream(tmp_path, line))()


async def test_what_is_no_gzip_is_unusable(tmp_path: Path) -> None:
    line = Line(says(b'{"a": 1}', content_encoding="gzip"))

    with pytest.raises(UnexpectedAnswerError, match="encoded as gzip, but it is none"):
        await upstream(tmp_path, line).get(PLAIN, PATH)


@pytest.mark.parametrize("body", [b" " * (64 << 20), b'{"rawBytes":"' + b"QUJD" * (16 << 20)])
async def test_a_gzip_bomb_is_stopped_by_the_limits(tmp_path: Path, body: bytes) -> None:
    line = Line(says(gzip.compress(body, 9), content_encoding="gzip"))
    client = upstream(tmp_path, line, USEAPI_MAX_DOWNLOAD_MB="1")

    with pytest.raises(UnexpectedAnswerError, match="ExtractionError"):
        await client.get(FILES, PATH)

    assert set() == names(tmp_path)


async def test_files_nobody_wants_are_dropped(tmp_path: Path) -> None:
    line = Line(says({"rawBytes": "YQ==", "a": 1}))
    client = upstream(tmp_path, line)

    dropped = await client.get(FILES, PATH, keep_if=lambda data: data["a"] != 1)
    assert ((), set()) == (dropped.files, names(tmp_path))

    kept = await client.get(FILES, PATH, keep_if=lambda data: data["a"] == 1)
    assert {file.path.name for file in kept.files} == names(tmp_path)


async def test_lone_surrogates_are_data(tmp_path: Path) -> None:
    line = Line(says(rb'{"a": "\ud800"}'))

    answer = await upstream(tmp_path, line).get(PLAIN, PATH)

    assert {"a": "\ud800"} == answer.data


async def test_json_over_8_mib_is_refused(tmp_path: Path) -> None:
    line = Line(says({"a": "x" * (8 << 20)}))

    with pytest.raises(UnexpectedAnswerError, match="ExtractionError"):
        await upstream(tmp_path, line).get(FILES, PATH)
    with pytest.raises(UnansweredError):
        await Paying(upstream(tmp_path, line))()


async def test_base64_is_cut_into_a_file_however_long_it_is(tmp_path: Path) -> None:
    film = bytes(range(256)) * (9 << 12)  # 9 MiB
    line = Line(says({"rawBytes": base64.b64encode(film).decode(), "a": 1}))

    answer = await upstream(tmp_path, line).get(FILES, PATH, name=MadeName("film", "1"))

    assert {"rawBytes": "file:0", "a": 1} == answer.data
    assert {answer.files[0].path.name} == names(tmp_path)
    assert film == answer.files[0].path.read_bytes()


async def test_the_same_field_of_a_service_without_files_is_only_text(tmp_path: Path) -> None:
    line = Line(says({"rawBytes": "x" * (8 << 20)}))

    with pytest.raises(UnexpectedAnswerError):
        await upstream(tmp_path, line).get(PLAIN, PATH)

    assert set() == names(tmp_path)


async def test_several_files_are_numbered_and_an_empty_one_is_none(tmp_path: Path) -> None:
    line = Line(says([{"rawBytes": "YQ=="}, {"rawBytes": ""}, {"rawBytes": "Yg=="}]))

    answer = await upstream(tmp_path, line).get(FILES, PATH)

    saved = [file.path.name for file in answer.files]
    assert saved == sorted(names(tmp_path))
    assert ["1.bin", "2.bin"] == [name.rpartition("-")[2] for name in saved]


@pytest.mark.parametrize(
    ("status", "field"),
    [
        (500, "YQ=="),
        (200, "no base64!"),
        (
            200,
            "YQ==",
        ),
    ],
    ids=range(3),
)
async def test_no_file_is_left_of_an_answer_that_was_none(
    tmp_path: Path, status: int, field: str
) -> None:
    body = json.dumps({"rawBytes": field}).encode()
    line = Line(says(body[:-1] if field == "YQ==" and status == 200 else body, status))

    with pytest.raises(UseapiError):
        await upstream(tmp_path, line).get(FILES, PATH)

    assert set() == names(tmp_path)


class Endless(httpx.AsyncByteStream):
    """The same piece for ever, after a first one, and without a pause."""

    def __init__(self, first: bytes, piece: bytes) -> None:
        self._first = first
        self._piece = piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._first
        while True:
            yield self._piece


@pytest.mark.parametrize(
    ("first", "piece", "encoding"),
    [
        (b'{"rawBytes": "', b" " * 65_536, "identity"),
        (b"", gzip.compress(b"") * 3000, "gzip"),
        (gzip.compress(b'{"rawBytes": "'), gzip.compress(b" " * 1_000_000), "gzip"),
    ],
    ids=["white space in base64", "empty gzip members", "white space out of gzip"],
)
async def test_what_goes_on_for_ever_and_holds_nothing_is_ended(
    tmp_path: Path, first: bytes, piece: bytes, encoding: str
) -> None:
    endless, headers = Endless(first, piece), {"content-encoding": encoding}
    line = Line(lambda _: httpx.Response(200, headers=headers, stream=endless))

    with pytest.raises(UnansweredError, match="ExtractionError"):
        await Paying(upstream(tmp_path, line))()

    assert set() == names(tmp_path)


async def test_small_pieces_of_an_answer_let_others_run(tmp_path: Path) -> None:
    turns, body = 0, json.dumps({"a": "x" * 20_000}).encode()

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    class Single(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for at in range(len(body)):
                yield body[at : at + 1]

    other = asyncio.create_task(others())
    await upstream(tmp_path, Line(lambda _: httpx.Response(200, stream=Single()))).get(PLAIN, PATH)
    other.cancel()

    assert turns > 20_000 / 100


async def test_files_larger_than_allowed_are_refused(tmp_path: Path) -> None:
    line = Line(says({"rawBytes": base64.b64encode(bytes(2 << 20)).decode()}))

    with pytest.raises(UnexpectedAnswerError, match="ExtractionError"):
        await upstream(tmp_path, line, USEAPI_MAX_DOWNLOAD_MB="1").get(FILES, PATH)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk is a device of Linux")
@pytest.mark.parametrize("size_bytes", [100, 100_000], ids=["at the end", "meanwhile"])
async def test_a_full_disk_is_told_as_that(tmp_path: Path, size_bytes: int) -> None:
    class FullDisk(OutputFolder):
        def begin(self, key: str | None = None) -> PartFile:
            place = self.path / "film.part"
            place.symlink_to("/dev/full")
            return PartFile(self, io.FileIO(str(place), "r+"), is_resumable=False)

    line = Line(says({"rawBytes": base64.b64encode(bytes(size_bytes)).decode()}))
    settings = Settings.read({"USEAPI_TOKEN": TOKEN})
    client = Upstream(settings, VirtualClock(), FullDisk(tmp_path), line)

    with pytest.raises(DownloadError, match="No space left"):
        await client.get(FILES, PATH)

    assert set() == names(tmp_path)


async def test_an_answer_that_trickles_is_given_up_after_twice_the_read_time_out(
    tmp_path: Path,
) -> None:
    def trickle(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Drip([b" "] * 1000, 29.0))

    line = Line(trickle)
    began = asyncio.get_running_loop().time()

    with pytest.raises(UnansweredError, match="TimeoutError"):
        await Paying(upstream(tmp_path, line))(read_timeout_s=150)

    assert 300 == asyncio.get_running_loop().time() - began


async def test_a_slow_answer_is_waited_for(tmp_path: Path) -> None:
    pieces = [b'{"a":', b" 1", b"}"]
    line = Line(lambda _: httpx.Response(200, stream=Drip(pieces, 19.0)))

    answer = await upstream(tmp_path, line).get(PLAIN, PATH)

    assert {"a": 1} == answer.data


# Over a real connection. Here time is real, so nothing waits but for a socket.


class Impatient(Clock):
    """Real time, in which a pause takes none."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Server:
    """Listens on 127.0.0.1 and gives each request prepared bytes.

    `requests` holds (connection number, first line) of each.
    """

    def __init__(self, *answers: bytes, cut_after: int | None = None, piece_s: float = 0) -> None:
        self.answers = answers
        self.cut_after = cut_after
        self.piece_s = piece_s
        self.connections = 0
        self.requests: list[tuple[int, str]] = []
        self.port = 0
        self._serving: list[asyncio.Task[Any]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.append(task)
        try:
            await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):  # the client is done
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            length = head.lower().partition("content-length: ")[2].partition("\r")[0]
            await reader.readexactly(int(length or 0))
            self.requests.append((number, head.partition("\r")[0]))
            answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
            pieces = [answer] if not self.piece_s else [bytes([byte]) for byte in answer]
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(self.piece_s)
            if self.cut_after == len(self.requests):
                return


def over_http(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), size, body)


OK = over_http(b'{"a": 1}')


def real(folder: Path, port: int) -> Upstream:
    settings = Settings.read({"USEAPI_TOKEN": TOKEN, "USEAPI_BASE_URL": f"http://127.0.0.1:{port}"})
    return Upstream(settings, Impatient(), OutputFolder(folder))


def test_a_paid_request_never_travels_on_a_connection_that_was_used(tmp_path: Path) -> None:
    async def scenario() -> list[tuple[int, str]]:
        async with Server(OK) as server:
            client = real(tmp_path, server.port)
            pay = Paying(client)
            await client.get(PLAIN, "/1")
            await pay()
            await client.get(PLAIN, "/2")
            await pay()
            await client.close()
            return server.requests

    requests = asyncio.run(scenario())

    assert [1, 2, 1, 3] == [connection for connection, _ in requests]
    assert "POST /v1/plain/upscale HTTP/1.1" == requests[1][1]


def test_an_id_goes_over_the_wire_as_it_is(tmp_path: Path) -> None:
    async def scenario() -> list[tuple[int, str]]:
        async with Server(OK) as server:
            client = real(tmp_path, server.port)
            await client.get(PLAIN, PATH)
            await client.close()
            return server.requests

    assert [(1, f"GET {PATH} HTTP/1.1")] == asyncio.run(scenario())


def test_a_refused_connection_is_tried_three_times_and_nothing_was_sent(tmp_path: Path) -> None:
    async def scenario() -> int:
        async with Server() as server:
            port = server.port
        client = real(tmp_path, port)
        pay = Paying(client)
        with pytest.raises(UnreachableError, match="was refused"):
            await pay()
        await client.close()
        return pay.counted

    assert 0 == asyncio.run(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        over_http(b'{"a": 1}', length=100),
        over_http(b'{"a": 1}', length=3),
        b"SSH-2.0-OpenSSH\r\n\r\n",
        over_http(b"", "204 No Content", length=8),
    ],
    ids=["nothing", "half a line", "half", "too long", "too short", "no HTTP", "204 with a body"],
)
def test_a_broken_answer_to_a_paid_request_may_mean_it_was_done(
    tmp_path: Path, answer: bytes
) -> None:
    async def scenario() -> tuple[int, int]:
        async with Server(answer, cut_after=1) as server:
            client = real(tmp_path, server.port)
            pay = Paying(client)
            with pytest.raises(UnansweredError) as caught:
                await pay()
            assert not caught.value.vendor_answered
            await client.close()
            return pay.counted, len(server.requests)

    assert (1, 1) == asyncio.run(scenario())


def test_a_read_survives_a_connection_that_is_cut(tmp_path: Path) -> None:
    async def scenario() -> tuple[Any, int]:
        async with Server(b"", OK, cut_after=1) as server:
            client = real(tmp_path, server.port)
            answer = await client.get(PLAIN, PATH)
            await client.close()
            return answer.data, server.connections

    assert ({"a": 1}, 2) == asyncio.run(scenario())


def test_headers_that_trickle_are_given_up_too(tmp_path: Path) -> None:
    """No read of such an answer ever times out, for there is always one more byte."""

    async def scenario() -> int:
        async with Server(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000, piece_s=0.01) as server:
            client = real(tmp_path, server.port)
            pay = Paying(client)
            with pytest.raises(UnansweredError, match="TimeoutError"):
                await pay(read_timeout_s=0.1)
            await client.close()
            return pay.counted

    assert 1 == asyncio.run(scenario())


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without proxies, to set one in."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


def test_a_proxy_that_refuses_was_told_nothing_of_the_request(
    tmp_path: Path, no_proxy: pytest.MonkeyPatch
) -> None:
    """Its CONNECT leaves, but that is not our request: counted, it would stay unconfirmed."""

    async def scenario() -> tuple[int, list[str]]:
        refusal = over_http(b"", "502 Bad Gateway")
        async with Server(refusal) as proxy:
            no_proxy.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            settings = Settings.read({"USEAPI_TOKEN": TOKEN})
            client = Upstream(settings, Impatient(), OutputFolder(tmp_path))
            pay = Paying(client)
            with pytest.raises(UnreachableError, match="502 Bad Gateway"):
                await pay()
            await client.close()
            return pay.counted, [line for _, line in proxy.requests]

    assert (0, ["CONNECT api.useapi.net:443 HTTP/1.1"] * 3) == asyncio.run(scenario())


def test_this_machine_itself_is_never_reached_by_a_proxy(
    tmp_path: Path, no_proxy: pytest.MonkeyPatch
) -> None:
    async def scenario() -> int:
        async with Server(OK) as server, Server(OK) as proxy:
            no_proxy.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
            client = real(tmp_path, server.port)
            await client.get(PLAIN, PATH)
            await client.close()
            return proxy.connections

    assert 0 == asyncio.run(scenario())


def failed(*causes: Exception) -> httpx.ConnectError:
    """What httpx raises when it can't connect, with what led to it."""
    error: Exception = httpx.ConnectError("All connection attempts failed")
    first = error
    for cause in causes:
        error.__cause__ = error = cause
    assert isinstance(first, httpx.ConnectError)
    return first


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    error.verify_message = "self-signed certificate in certificate chain"
    return error


@pytest.mark.parametrize(
    ("proxies", "error", "why", "hint"),
    [
        ({}, failed(untrusted()), "not trusted: self-signed certificate", "SSL_CERT_FILE"),
        ({}, failed(socket.gaierror(-2, "unknown")), "the name was not found", "USEAPI_BASE_URL"),
        ({}, failed(OSError(), ConnectionRefusedError()), "the connection was refused", "network"),
        ({}, failed(ExceptionGroup("all", [ConnectionRefusedError()])), "was refused", "network"),
        ({}, failed(), "(ConnectError)", "network"),
        (
            {"HTTPS_PROXY": "http://jane:s3cret@proxy:1"},
            failed(ConnectionRefusedError()),
            "by the proxy that HTTPS_PROXY names: the connection was refused",
            "unset HTTPS_PROXY",
        ),
        (
            {"ALL_PROXY": "http://jane:s3cret@proxy:1"},
            httpx.ProxyError("407 Proxy Authentication Required"),
            "by the proxy that ALL_PROXY names: 407 Proxy Authentication Required",
            "Correct ALL_PROXY",
        ),
        (
            {"ALL_PROXY": "http://proxy:1", "NO_PROXY": "api.useapi.net"},
            failed(socket.gaierror(-2, "unknown")),
            "(the name was not found)",
            "network",
        ),
    ],
    ids=range(8),
)
async def test_why_the_vendor_can_not_be_reached_is_said_and_what_to_do(
    tmp_path: Path,
    no_proxy: pytest.MonkeyPatch,
    proxies: dict[str, str],
    error: httpx.TransportError,
    why: str,
    hint: str,
) -> None:
    for name, value in proxies.items():
        no_proxy.setenv(name, value)

    with pytest.raises(UnreachableError) as caught:
        await upstream(tmp_path, Unconnected(error)).get(PLAIN, PATH)

    assert why in caught.value.message
    assert hint in caught.value.hint
    assert "s3cret" not in str(caught.value)


class Unconnected(httpx.AsyncBaseTransport):
    """A network that never connects."""

    def __init__(self, error: httpx.TransportError) -> None:
        self._error = error

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise self._error


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NO_PROXY", "localhost,[::1]"),
        ("NO_PROXY", "fe80::/10"),
        ("ALL_PROXY", "socks://jane:s3cret@proxy:1"),
        ("HTTPS_PROXY", "foo://jane:s3cret@proxy:1"),
    ],
)
def test_a_proxy_setting_that_can_not_be_used_is_named_without_its_value(
    tmp_path: Path, no_proxy: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    no_proxy.setenv(variable, value)

    with pytest.raises(SettingsError, match=variable) as caught:
        upstream(tmp_path, None).require_ready()

    assert value not in str(caught.value)
    assert "s3cret" not in str(caught.value)
