"""Listens in on a client: what it really sends, over stdio and over HTTP.

As a program it stands in the server's place: `listening.py RECORD COMMAND …` starts the command,
hands on what it is sent and keeps a copy in the file. What the server says goes straight back.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

_VERSION = re.compile(rb'(?i)(?:protocolVersion"\s*:\s*"|mcp-protocol-version:\s*)(\d[\d-]+)')


@dataclass(frozen=True)
class Heard:
    """What a client sent."""

    sent: bytes

    @property
    def era(self) -> str:
        """The protocol's version it spoke in the end."""
        versions = _VERSION.findall(self.sent)
        return versions[-1].decode() if versions else "?"

    def count(self, method: str) -> int:
        return len(re.findall(rb'"method"\s*:\s*"%s"' % method.encode(), self.sent))


class Port:
    """A port of 127.0.0.1 that hands everything on to another, and keeps what clients send."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._kept: list[bytearray] = []
        self.number: int = self._listener.getsockname()[1]

    def lead_to(self, port: int) -> None:
        threading.Thread(target=self._accept, args=(port,), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def heard(self) -> Heard:
        return Heard(b"".join(self._kept))

    def _accept(self, port: int) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                kept = bytearray()
                self._kept.append(kept)
                for ends in ((client, server, kept), (server, client, None)):
                    threading.Thread(target=_carry, args=ends, daemon=True).start()


def _carry(source: socket.socket, target: socket.socket, kept: bytearray | None) -> None:
    with contextlib.suppress(OSError):  # an end that breaks off is what the other end sees
        while data := source.recv(65536):
            if kept is not None:
                kept += data
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _stand_in(record: Path, command: list[str]) -> int:
    with record.open("ab") as kept, subprocess.Popen(command, stdin=subprocess.PIPE) as server:

        def stop(number: int, _: object) -> None:
            server.terminate()
            sys.exit(128 + number)  # a client may leave our stdin open, and wait for our end

        signal.signal(signal.SIGTERM, stop)
        assert server.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            while data := os.read(0, 65536):
                kept.write(data)
                kept.flush()
                server.stdin.write(data)
                server.stdin.flush()
            server.stdin.close()
        return server.wait()


if __name__ == "__main__":
    sys.exit(_stand_in(Path(sys.argv[1]), sys.argv[2:]))
