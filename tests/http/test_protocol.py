"""HTTP connections: none outlives its time, and a crowd of silent ones keeps nobody out."""

import asyncio
import contextlib
import socket
import sys
from typing import Any

import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from mcp_server.http.protocol import (
    BODY_S,
    HEAD_S,
    KEPT_S,
    LONG_BODY,
    STALLED_S,
    LimitedProtocol,
    most_connections,
    raise_descriptor_limit,
)
from mcp_server.http.uvicorn_server import EmbeddedServer, config_for
from tests.support.limits import LONGEST_S

HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
HALF_BODY = b"POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1234"


class Wire(asyncio.Transport):
    """A client's end: what it was sent, and whether it was cut off."""

    def __init__(self, crowd: "Crowd") -> None:
        super().__init__()
        self.got, self.is_cut, self._closing = b"", False, False
        self.protocol: Any = LimitedProtocol(crowd.config, crowd.state, {})
        self.protocol.connection_made(self)

    def says(self, data: bytes) -> None:
        self.protocol.data_received(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: Any) -> None:
        self.got += bytes(data)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    def abort(self) -> None:
        if not self.is_cut:
            self._closing = self.is_cut = True
            self.protocol.connection_lost(None)

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Crowd:
    """An app that answers at once and takes bodies whole, and its connections."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.takes_s = takes_s
        self.takes_long_bodies = False
        self.config = config_for(self, lifespan="off")
        self.config.load()
        self.state = ServerState()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            scope["state"][LONG_BODY] = self.takes_long_bodies
            while (part := await receive()).get("more_body"):
                pass
            if part["type"] == "http.disconnect":
                return
        await asyncio.sleep(self.takes_s)
        await PlainTextResponse("well")(scope, receive, send)

    def connection(self) -> Wire:
        return Wire(self)


async def test_who_sends_half_a_header_is_cut_off_after_ten_seconds() -> None:
    client = Crowd().connection()

    client.says(HEALTH[:10])
    await asyncio.sleep(HEAD_S - 1)
    client.says(HEALTH[10:12])
    still_there = not client.is_cut
    await asyncio.sleep(1)

    assert still_there
    assert client.is_cut


async def test_who_sends_half_a_body_is_cut_off_after_thirty_seconds() -> None:
    client = Crowd().connection()

    client.says(HALF_BODY)
    await asyncio.sleep(BODY_S - 1)
    client.says(b"5")
    still_there = not client.is_cut
    await asyncio.sleep(1)

    assert still_there
    assert client.is_cut


async def test_a_long_body_that_keeps_coming_is_read_and_one_that_stands_still_is_not() -> None:
    crowd = Crowd()
    crowd.takes_long_bodies = True
    client = crowd.connection()

    client.says(HALF_BODY)
    for byte in (b"5", b"6", b"7"):
        await asyncio.sleep(BODY_S - 1)
        client.says(byte)
    still_there = not client.is_cut
    await asyncio.sleep(BODY_S)

    assert still_there
    assert client.is_cut


async def test_who_waits_for_a_long_answer_is_not_cut_off() -> None:
    client = Crowd(takes_s=300).connection()

    client.says(HALF_BODY + b"56789")
    await asyncio.sleep(301)

    assert b"200 OK" in client.got
    assert not client.is_cut


async def test_each_request_of_a_kept_connection_has_its_time() -> None:
    client = Crowd().connection()

    for _ in range(5):
        client.says(HEALTH)
        await asyncio.sleep(4)

    assert client.got.count(b"200 OK") == 5
    assert not client.is_cut


async def test_the_server_keeps_an_unused_connection_for_longer_than_a_proxy_does() -> None:
    """A request that is sent while the server closes is lost; Google's proxies wait 600 s."""
    client = Crowd().connection()

    client.says(HEALTH)
    await asyncio.sleep(601)
    client.says(HEALTH)
    await asyncio.sleep(1)

    assert client.got.count(b"200 OK") == 2
    assert not client.is_closing()


@pytest.mark.parametrize("first", [HEALTH, HEALTH + HEALTH[:10]])
async def test_who_sends_half_of_the_next_header_is_cut_off_after_ten_seconds(first: bytes) -> None:
    client = Crowd().connection()

    client.says(first)
    await asyncio.sleep(HEAD_S - 1)
    client.says(HEALTH[10:12])
    await asyncio.sleep(HEAD_S + 1)

    assert client.got.count(b"200 OK") == 1
    assert client.is_cut


async def test_a_connection_that_is_not_used_any_more_ends_though_its_client_reads_nothing() -> (
    None
):
    client = Crowd().connection()

    client.says(HEALTH)
    await asyncio.sleep(KEPT_S + HEAD_S + 1)

    assert client.is_cut


async def test_who_reads_nothing_of_an_answer_is_cut_off_in_the_end() -> None:
    reads, reads_not = Crowd(takes_s=300).connection(), Crowd(takes_s=300).connection()
    for client in (reads, reads_not):
        client.says(HEALTH)
        client.protocol.pause_writing()

    await asyncio.sleep(STALLED_S - 1)
    reads.protocol.resume_writing()
    await asyncio.sleep(2)

    assert not reads.is_cut
    assert reads_not.is_cut


async def test_a_crowd_of_silent_connections_keeps_nobody_out() -> None:
    crowd = Crowd()
    silent = []
    for _ in range(most_connections() + 100):
        silent.append(crowd.connection())
        await asyncio.sleep(0.001)

    client = crowd.connection()
    client.says(HEALTH)
    await asyncio.sleep(0.1)

    assert b"200 OK" in client.got
    assert len(crowd.state.connections) == most_connections()
    assert all(one.is_cut for one in silent[:101])  # those that were silent for longest
    assert not any(one.is_cut for one in silent[101:])


async def test_the_connection_that_was_used_longest_ago_gives_way() -> None:
    crowd = Crowd()
    kept = [crowd.connection() for _ in range(most_connections())]
    for one in reversed(kept):
        one.says(HEALTH)
        await asyncio.sleep(0.001)

    crowd.connection()

    assert [kept[-1]] == [one for one in kept if one.is_cut]


async def test_who_sends_a_body_that_was_refused_already_gives_way_too() -> None:
    crowd = Crowd()
    refused = [crowd.connection() for _ in range(most_connections())]
    for one in refused:
        one.says(HALF_BODY.replace(b"POST", b"GET"))  # it is answered before its body is there
    await asyncio.sleep(0.1)

    client = crowd.connection()
    client.says(HEALTH)
    await asyncio.sleep(0.1)

    assert b"200 OK" in client.got


async def test_where_all_are_at_work_one_more_is_told_to_come_back() -> None:
    crowd = Crowd(takes_s=3)
    busy = [crowd.connection() for _ in range(most_connections())]
    for one in busy:
        one.says(HEALTH)

    refused = crowd.connection()
    refused.says(HEALTH)
    await asyncio.sleep(4)
    later = crowd.connection()
    later.says(HEALTH)
    await asyncio.sleep(4)

    head, _, body = refused.got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert f"Content-Length: {len(body)}".encode() in head
    assert refused.is_closing()
    assert all(b"200 OK" in one.got for one in [*busy, later])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_the_process_may_open_as_many_files_as_the_system_lets_it() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (400, before[1]))
        few = most_connections()
        raise_descriptor_limit()
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    assert few < 400 < raised <= before[1] or before[1] == resource.RLIM_INFINITY


def test_no_answer_waits_for_the_one_before_to_be_acknowledged() -> None:
    """Nagle's algorithm would hold each answer back for 40 ms."""
    undelayed: list[int] = []

    class Looking(LimitedProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            own = transport.get_extra_info("socket")
            undelayed.append(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async def ask() -> None:
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
            config = config_for(Crowd(), lifespan="off")
            config.http = Looking
            async with EmbeddedServer(config).running(listener):
                reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
                writer.write(HEALTH)
                await asyncio.wait_for(reader.readuntil(b"well"), LONGEST_S)
                writer.close()
                await writer.wait_closed()

    asyncio.run(ask())

    assert undelayed
    assert all(undelayed)


def test_every_server_of_ours_has_these_limits() -> None:
    config: uvicorn.Config = config_for(Crowd())
    config.load()

    assert issubclass(config.http_protocol_class, LimitedProtocol)
