"""HTTP/1.1 connections with a limit on their number and on their time, as uvicorn has none.

What is limited here is spent before a token can be checked.
"""

import asyncio
import socket
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0  # from a new connection, or a request's first byte, to the last of its headers
BODY_S = 30.0
# Between two requests. Proxies keep unused connections for up to 600 s. Whoever gives up first must
# be the one who sends: a request that meets a server's close on its way fails.
KEPT_S = 620
LONG_BODY = "useapi-mcp.long_body"
"""In a request's `state`: it may send for as long as it sends something all the time."""
STALLED_S = 60.0  # in which nothing of an answer is read
BACKLOG = 128  # connections the system accepts before we do; asyncio logs as many faults at once
MOST_CONNECTIONS = 1000
_OTHER_DESCRIPTORS = 256  # for the journal, files, the vendor's API and downloads
_ENOUGH_DESCRIPTORS = 10_240  # the most that macOS takes
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nConnection: close\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 42\r\n\r\n"
    b"There are too many connections; try again\n"
)


class LimitedProtocol(H11Protocol):
    """A connection that is closed when its client takes too long.

    When there are as many as there may be, a new one takes the place of the one that has waited
    longest for a request; if all are at work on one, the new one is answered 503. uvicorn uses it
    where it is told `--http mcp_server.http.protocol:LimitedProtocol`.
    """

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.timeout_keep_alive = KEPT_S  # uvicorn's own clock; here, since workers are uvicorn's
        self._awaits: type[h11.IDLE | h11.SEND_BODY] | None = None
        self._silent_since = 0.0
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, if there is room."""
        own = transport.get_extra_info("socket")
        if own is not None and own.family != getattr(socket, "AF_UNIX", None):
            # asyncio sets it only where the listener was made with a protocol number.
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        has_room = self._make_room()
        super().connection_made(transport)
        if not has_room:
            transport.write(_BUSY)
            self._close_for_good()
            return
        self._follow()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        super().connection_lost(exc)
        self._await(None)
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take the next bytes of a request."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._awaits is h11.SEND_BODY and self.scope["state"].get(LONG_BODY):
            self._await(h11.SEND_BODY)
        self._follow()

    def on_response_complete(self) -> None:
        """Go on with the next request on this connection, or wait for one."""
        super().on_response_complete()
        next_bytes, _ = self.conn.trailing_data
        if self.conn.their_state is h11.IDLE and not next_bytes:
            self._await(None)
            self._silent_since = self.loop.time()
        else:
            self._follow()

    def pause_writing(self) -> None:
        """Begin to count how long the client reads nothing."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that is not used any more."""
        super().timeout_keep_alive_handler()
        self._close_for_good()

    def _make_room(self) -> bool:
        """Whether there is room for one more connection; a silent one is closed for it."""
        if len(self.connections) < most_connections():
            return True
        others = [one for one in self.connections if isinstance(one, LimitedProtocol)]
        silent = [one for one in others if one.cycle is None or one.cycle.response_complete]
        if not silent:
            return False
        oldest = min(silent, key=lambda one: one._silent_since)  # noqa: SLF001 - of this class
        self.connections.discard(oldest)
        oldest.transport.abort()
        return True

    def _follow(self) -> None:
        """Set the clock for what the client has to send next."""
        state = self.conn.their_state
        if self.transport.is_closing() or state not in (h11.IDLE, h11.SEND_BODY):
            self._await(None)
        elif state is not self._awaits:
            self._await(state)

    def _await(self, awaited: Any) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._awaits, self._deadline = awaited, None
        if awaited is not None:
            self._silent_since = self.loop.time()
            seconds = HEAD_S if awaited is h11.IDLE else BODY_S
            self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _close_for_good(self) -> None:
        """Close, and do not wait for ever until the client has read what was written."""
        self.transport.close()
        self._await(None)
        self._deadline = self.loop.call_later(HEAD_S, self.transport.abort)


def most_connections() -> int:
    """How many connections there may be, so that the process keeps descriptors for its work."""
    limit = _descriptor_limit()
    return min(MOST_CONNECTIONS, max(limit - _OTHER_DESCRIPTORS, limit // 2))


def raise_descriptor_limit() -> None:
    """Let this process open as many files and connections as it may."""
    if sys.platform == "win32":  # pragma: no cover - it has no such limit
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (
        _ENOUGH_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH_DESCRIPTORS)
    )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _descriptor_limit() -> int:
    if sys.platform == "win32":  # pragma: no cover - as above
        return _ENOUGH_DESCRIPTORS
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _ENOUGH_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
