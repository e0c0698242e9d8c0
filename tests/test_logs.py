"""Log: what goes to stderr, without secrets, and without waiting for who should read it."""

import json
import logging
import os
import re
import sys
from collections.abc import Iterator

import pytest

from mcp_server.logs import DescriptorHandler, RedactingFormatter, flush_log, log_to_stderr

TOKEN = "user:777-canary0token"


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, put back afterwards."""
    root = logging.root
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_traceback_is_redacted_like_the_message() -> None:
    formatter = RedactingFormatter(TOKEN)
    try:
        int(f"token {TOKEN} of jane@example.com")
    except ValueError:
        failure = sys.exc_info()
    record = logging.LogRecord(
        "a.b", logging.ERROR, "f", 1, "GET %s", ("https://a.b/c?sig=1",), failure
    )

    text = formatter.format(record)

    assert "ERROR a.b: GET https://a.b/c?***" in text
    assert "base 10: 'token *** of ***@***'" in text
    assert TOKEN not in text


def test_logs_go_to_stderr_from_the_level_on(
    root_logger: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr("INFO", TOKEN)

    logging.getLogger("ours").info("with %s", TOKEN)
    logging.getLogger("ours").debug("too much")

    flush_log()
    out, err = capfd.readouterr()
    assert "" == out
    assert err.endswith("INFO ours: with ***\n")
    assert 1 == len(root_logger.handlers)


def test_as_json_a_line_is_one_object_without_secrets(
    root_logger: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    token = 'user:777-"canary"token'
    log_to_stderr("INFO", token, "json")
    logger = logging.getLogger("ours")

    logger.info("two\nlines with %s", token, extra={"facts": {"ms": 3, "who": "jane@example.com"}})
    try:
        int(token)
    except ValueError:
        logger.exception("it failed")

    flush_log()
    first, second = map(json.loads, capfd.readouterr().err.splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {
        "level": "INFO",
        "logger": "ours",
        "message": "two\nlines with ***",
        "ms": 3,
        "who": "***@***",
    }
    assert second["level"] == "ERROR"
    assert second["exception"].startswith("Traceback")
    assert "canary" not in json.dumps(second)


@pytest.mark.parametrize(("level", "noisy"), [("DEBUG", "WARNING"), ("ERROR", "ERROR")])
def test_libraries_that_log_whole_urls_are_kept_quiet(
    root_logger: logging.Logger, level: str, noisy: str
) -> None:
    log_to_stderr(level, None)

    assert getattr(logging, level) == root_logger.level
    levels = {logging.getLogger(n).level for n in ("httpx", "httpcore", "uvicorn.access")}

    assert {getattr(logging, noisy)} == levels


def test_a_host_that_never_reads_stderr_holds_nothing_up() -> None:
    """What is logged beyond what the pipe and the queue hold is dropped, and counted."""
    read_end, write_end = os.pipe()
    handler = DescriptorHandler(write_end)

    for number in range(10_000):
        handler.emit(logging.LogRecord("a", logging.ERROR, "f", 1, f"{number} " * 50, (), None))
    written = b""
    while b"were dropped" not in written:
        written += os.read(read_end, 1 << 20)
    os.close(read_end)
    handler.flush()
    os.close(write_end)

    lines = written.decode().splitlines()
    assert lines[0].startswith("0 0 ")
    assert int(lines[-1].lstrip("(").split()[0]) + len(lines[:-1]) <= 10_000


def test_the_end_of_a_process_waits_for_the_last_lines_but_not_for_ever(
    root_logger: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr("INFO", TOKEN)

    for number in range(500):
        logging.getLogger("ours").info("line %d", number)
    flush_log()

    assert capfd.readouterr().err.count("\n") == 500


def test_a_stderr_that_is_closed_is_no_fault() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    handler = DescriptorHandler(write_end)

    handler.emit(logging.LogRecord("a", logging.ERROR, "f", 1, "lost", (), None))
    handler.flush()
    os.close(write_end)


def test_a_lack_of_descriptors_is_one_line_a_second(
    root_logger: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    """Asyncio tries, and logs a traceback, as many times a second as its backlog is long."""
    log_to_stderr("WARNING", TOKEN)
    logger, fault = logging.getLogger("asyncio"), OSError(24, "Too many open files")

    for _ in range(100):
        logger.error("socket.accept() out of system resource\nsocket: 7", exc_info=fault)
    logger.error("something else")
    flush_log()

    said = capfd.readouterr().err
    assert said.count("out of system resource") <= 2  # a second may have passed
    assert "Traceback" not in said
    assert "something else" in said
