"""Canary: a token and an e-mail address that must not be found where they do not belong.

The token: nowhere at all. The e-mail address, which job ids hold, plain or in hex: in the ids that
are handed to the client and in the journal, and nowhere else.
"""

import asyncio
import io
import json
import logging
import os
import re
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from mcp_server.logs import RedactingFormatter
from mcp_server.sandbox.app import SOURCES
from mcp_server.sandbox.state import EMAIL
from tests.support.corpora import HOSTILE_IDS
from tests.support.harness import GOOD, TOKEN, Fault, Harness, Reply, running
from tests.support.limits import LONGEST_S

SECRET = TOKEN.partition("-")[2]
HEX_EMAIL = EMAIL.encode().hex()
IN_AN_ID = re.compile(
    rf"j\d{{6,60}}[A-Za-z]{{1,4}}-u\d+-(?:[A-Za-z]{{2,4}}|email):{re.escape(EMAIL)}-bot:[a-z-]+"
    rf"|user:\d+-email:{HEX_EMAIL}-[a-z]+:[A-Za-z0-9._~+=-]+"
    rf"|user:\d+-pixverse:{re.escape(EMAIL)}-[a-z]+:[A-Za-z0-9-]+",
)


def has_email(text: str) -> bool:
    return EMAIL in text or HEX_EMAIL in text.lower() or EMAIL.replace("@", "%40") in text


def outside_ids(text: str) -> str:
    return IN_AN_ID.sub("<id>", text)


@contextmanager
def logged() -> Iterator[tuple[io.StringIO, list[logging.LogRecord]]]:
    """What is logged from DEBUG on: as it is written to stderr, and raw."""
    written, records = io.StringIO(), []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handlers: list[logging.Handler] = [logging.StreamHandler(written), Keep()]
    handlers[0].setFormatter(RedactingFormatter(TOKEN))
    before = logging.root.level
    logging.root.setLevel(logging.DEBUG)
    for handler in handlers:
        logging.root.addHandler(handler)
    try:
        yield written, records
    finally:
        logging.root.setLevel(before)
        for handler in handlers:
            logging.root.removeHandler(handler)


async def broad_session(harness: Harness) -> list[Reply]:
    """Every tool on every source there is, with networks and vendors that fail in many ways."""
    replies = []
    for source in SOURCES:
        tool = "upscale_video" if source.kind == "video" else "upscale_image"
        replies += [await harness.call(tool, source=source.id)]
        replies += [await harness.call("interpolate_video", source=source.id, fps=60)]
    for status in (400, 401, 402, 403, 404, 408, 410, 412, 422, 429, 500, 502, 503, 596):
        said = {"error": f"account {EMAIL} with {TOKEN} said no", "code": status}
        answer = httpx.Response(status, json=said)
        harness.network.concerns = lambda request: True
        harness.network.faults = [Fault(then=answer)] * 3
        replies += [await harness.call("get_job", job_id=GOOD["dreamina", "video"])]
        harness.network.faults = [Fault(then=answer)]
        replies += [await harness.call("upscale_image", source=GOOD["dreamina", "image"])]
    for fault in (Fault(connects=False), Fault(then="cut"), Fault(after_s=1000)):
        harness.network.faults = [fault] * 3
        replies += [await harness.call("get_job", job_id=GOOD["pixverse", "video"])]
    harness.network.faults = []
    listed = await harness.call("list_jobs", limit=100)
    for job in listed.job["jobs"]:
        replies += [await harness.call("get_job", job_id=job["job_id"], wait_seconds=50)]
        replies += [await harness.call("download_media", job_id=job["job_id"])]
        replies += [await harness.call("cancel_job", job_id=job["job_id"])]
    for case in HOSTILE_IDS[:20]:
        replies += [await harness.call("get_job", job_id=f"{case}{TOKEN}")]
    cursor = None
    for _ in range(20):
        found = await harness.call("list_media", limit=50, **({"cursor": cursor} if cursor else {}))
        replies += [found]
        if (cursor := found.job.get("cursor")) is None:
            break
    replies += [
        await harness.call("check_accounts", credits=True),
        await harness.call("list_media", account=EMAIL),
        await harness.call("list_media", account=TOKEN),
        await harness.call("list_media", cursor=TOKEN),
        await harness.call("get_job", job_id=TOKEN),
        await harness.call("list_jobs", limit=100),
    ]
    return replies


async def test_a_broad_session_tells_no_secret_anywhere(tmp_path: Path) -> None:
    with logged() as (written, records):
        async with running(tmp_path) as harness:
            replies = await broad_session(harness)

    answers = [reply.text + json.dumps([reply.data, reply.meta]) for reply in replies]
    assert len(answers) > 100
    raw_log = "\n".join(record.getMessage() for record in records)
    assert len(raw_log) > 1000
    for text in (*answers, written.getvalue(), raw_log):
        assert SECRET not in text
    for answer in answers:
        assert not has_email(outside_ids(answer)), answer
    assert not has_email(written.getvalue())
    assert any("authorization" in request.headers for request in harness.network.sent)
    check_files(tmp_path)


def check_files(folder: Path) -> None:
    names = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    assert any(name.endswith(".mp4") for name in names)
    assert not [name for name in names if has_email(name) or SECRET in name]
    for path in folder.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
    with closing(sqlite3.connect(folder / "state" / "journal.sqlite")) as database:
        for table in ("submission", "saved"):
            columns = [row[1] for row in database.execute(f"pragma table_info({table})")]
            for row in database.execute(f"select * from {table}"):
                for column, value in zip(columns, row, strict=True):
                    assert not has_email(outside_ids(str(value))), (column, value)
                    if has_email(str(value)):
                        assert column in {"source_id", "job_id", "job"}


async def test_an_exception_of_ours_holds_no_token(tmp_path: Path) -> None:
    """A bug's traceback goes to stderr: through the filter, locals never."""
    with logged() as (written, _):
        try:
            int(f"Authorization: Bearer {TOKEN} for {EMAIL}")
        except ValueError:
            logging.getLogger("mcp_server").exception("bug with %s", GOOD["dreamina", "video"])

    assert SECRET not in written.getvalue()
    assert not has_email(written.getvalue())
    assert "ValueError" in written.getvalue()


# The same with real processes.


@asynccontextmanager
async def process(
    *arguments: str, **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.Task[bytes]]]:
    """A process of ours, and what it writes to stderr."""
    ours = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mcp_server",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 24,
        env={**os.environ, **environment},
    )
    assert ours.stderr
    errors = asyncio.create_task(ours.stderr.read())
    try:
        yield ours, errors
    finally:
        if ours.returncode is None:
            ours.terminate()
        await ours.wait()
        await errors


class Stdio:
    """A bare JSON-RPC client: it sees every byte."""

    def __init__(self, ours: asyncio.subprocess.Process) -> None:
        self._ours = ours
        self._number = 0
        self.seen = b""

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        await self.tell(method, id=self._number, **params)
        assert self._ours.stdout
        while True:
            line = await self._ours.stdout.readline()
            self.seen += line
            answer = json.loads(line)
            if answer.get("id") == self._number:
                return dict(answer["result"])

    async def tell(self, method: str, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "method": method}
        if "id" in params:
            message["id"] = params.pop("id")
        assert self._ours.stdin
        self._ours.stdin.write(json.dumps(message | {"params": params}).encode() + b"\n")
        await self._ours.stdin.drain()

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return await self.ask("tools/call", name=tool, arguments=arguments)


def test_a_real_process_writes_no_secret_to_stdout_or_stderr(tmp_path: Path) -> None:
    async def session() -> tuple[bytes, bytes]:
        async with process("sandbox", "--port", "0", USEAPI_SANDBOX_JOB_SECONDS="0") as (vendor, _):
            assert vendor.stdout
            origin = re.search(rb"http://[\d.:]+", await vendor.stdout.readline())
            assert origin
            environment = {
                "USEAPI_TOKEN": TOKEN,
                "USEAPI_BASE_URL": origin[0].decode(),
                "USEAPI_LOG_LEVEL": "DEBUG",
                "USEAPI_OUTPUT_DIR": str(tmp_path / "output"),
                "USEAPI_STATE_DIR": str(tmp_path / "state"),
            }
            async with process(**environment) as (ours, errors):
                client = Stdio(ours)
                about = {"name": "canary", "version": "1"}
                await client.ask(
                    "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=about
                )
                await client.tell("notifications/initialized")
                for service, kind in GOOD:
                    given = {"source": GOOD[service, kind], "max_credits": 50}
                    made = await client.call(f"upscale_{kind}", **given)
                    job_id = made["structuredContent"]["job_id"]
                    read = await client.call("get_job", job_id=job_id)
                    assert "completed" == read["structuredContent"]["status"]
                    saved = await client.call("download_media", job_id=job_id)
                    assert not saved["isError"], saved
                await client.call("get_job", job_id=TOKEN)
                await client.call("upscale_video", source=SOURCES[0].id, token=TOKEN)
                assert ours.stdin
                ours.stdin.close()
                await asyncio.wait_for(ours.wait(), LONGEST_S)
                return client.seen, await errors

    stdout, stderr = asyncio.run(session())

    assert stdout
    assert stderr
    assert SECRET.encode() not in stdout + stderr
    assert not has_email(stderr.decode())
    assert not has_email(outside_ids(stdout.decode()))
    check_files(tmp_path)


@pytest.mark.parametrize(
    "value", [f"Bearer {TOKEN}", TOKEN, f"x {EMAIL} y", GOOD["pixverse", "video"]]
)
def test_the_canary_would_be_heard(value: str) -> None:
    """The tests above can fail."""
    assert SECRET in value or has_email(value)
    assert not has_email(outside_ids(GOOD["pixverse", "video"]))
    assert has_email(outside_ids(f"x {EMAIL} y"))
