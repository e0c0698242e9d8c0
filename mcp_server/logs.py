"""The log: to stderr only, without secrets, and never waited for."""

import asyncio
import json
import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, Literal

from mcp_server.clock import iso
from mcp_server.redaction import redact

_MOST_LINES = 1000  # that wait to be written
_LAST_LINES_S = 1.0  # that the end of the process may take to write them
_STDERR = 2
_WARNING_EVERY_S = 60.0


class RedactingFormatter(logging.Formatter):
    """Removes secrets from the whole formatted record, traceback included."""

    def __init__(self, token: str | None) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._token = token

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record), self._token)


class JsonFormatter(logging.Formatter):
    """Makes one JSON object of a record, secrets removed from every text in it.

    What a record was given as `extra={"facts": {...}}` stands beside its message.
    """

    def __init__(self, token: str | None) -> None:
        super().__init__()
        self._token = token

    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, Any] = {
            "time": iso(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        # Before it is JSON: a token may hold characters that JSON writes in another way.
        plain = {
            name: redact(value, self._token) if isinstance(value, str) else value
            for name, value in facts.items()
        }
        return json.dumps(plain, ensure_ascii=False)


class DescriptorHandler(logging.Handler):
    """Writes to a descriptor in a thread of its own, and drops what is not taken in time.

    Some hosts never read a server's stderr: once the pipe is full, a write would wait for ever,
    and the server with it.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._dropped = 0
        self._idle = threading.Condition()
        self._unwritten = 0
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; it is written soon, or dropped."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
            self._thread.start()
        line = f"{self.format(record)}\n"
        with self._idle:
            if self._unwritten == _MOST_LINES:
                self._dropped += 1
                return
            self._unwritten += 1
            self._lines.put(line)

    def flush(self) -> None:
        """Wait until all is written, for at most a second."""
        with self._idle:
            self._idle.wait_for(lambda: self._unwritten == 0, timeout=_LAST_LINES_S)

    def _write_all(self) -> None:
        while True:
            line = self._lines.get()
            with self._idle:
                dropped, self._dropped = self._dropped, 0
            if dropped:
                line += f"({dropped} lines of this log were dropped: nobody read them)\n"
            self._write(line.encode(errors="replace"))
            with self._idle:
                self._unwritten -= 1
                self._idle.notify_all()

    def _write(self, data: bytes) -> None:
        # Not sys.stderr: a thread that waits in a buffered write can't be left behind at the exit.
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except OSError:
                return  # nobody will read it any more


class _OneFaultASecond(logging.Filter):
    """Lets one line a second say that no connection can be accepted: asyncio writes a hundred."""

    def __init__(self) -> None:
        super().__init__()
        self._next_at = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if "socket.accept() out of system resource" not in record.getMessage():
            return True
        if record.created < self._next_at:
            return False
        self._next_at = record.created + 1
        record.exc_info = None
        return True


def log_to_stderr(level: str, token: str | None, form: Literal["text", "json"] = "text") -> None:
    """Log to stderr only, without secrets: stdout carries the protocol."""
    handler = DescriptorHandler(_STDERR)
    handler.setFormatter(JsonFormatter(token) if form == "json" else RedactingFormatter(token))
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level)
    logging.getLogger("asyncio").filters[:] = [_OneFaultASecond()]
    if form == "json":  # where uvicorn started us, it writes lines of its own
        for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
            uvicorn = logging.getLogger(name)
            uvicorn.handlers.clear()
            uvicorn.propagate = True
            uvicorn.setLevel(logging.NOTSET)
    for noisy in ("httpx", "httpcore", "uvicorn.access"):  # they log whole URLs, with ids
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.root.level))


def flush_log() -> None:
    """Write what waits to be written, before a process ends without Python's own exit."""
    for handler in logging.root.handlers:
        handler.flush()


def seldom_warning(log: logging.Logger) -> Callable[[str], None]:
    """A function that logs a warning, but not within a minute of the one before."""
    next_at = float("-inf")

    def warn(text: str) -> None:
        nonlocal next_at
        now = asyncio.get_running_loop().time()
        if now >= next_at:
            next_at = now + _WARNING_EVERY_S
            log.warning("%s", text)

    return warn
