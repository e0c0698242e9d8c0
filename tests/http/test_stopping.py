"""Stopping: probes tell it at once, who waits is answered, and no call fails meanwhile."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from mcp_server.clock import Clock
from mcp_server.http.app import http_app
from mcp_server.http.stopping import Stopping
from mcp_server.metrics import Metrics
from mcp_server.server.factory import create_server
from mcp_server.settings import Settings
from mcp_server.tools.context import open_app
from tests.support.harness import GOOD, TOKEN
from tests.support.limits import LONGEST_S
from tests.support.serving import Served, http_server, request, result, rows, vendor, workers

HTTP_TOKEN = "the-token-all-workers-share"
VIDEO = GOOD["dreamina", "video"]
NEVER_ENDS = "600"  # the pause after a SIGTERM: a test that waited for its end would not end
pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows can't send a child SIGTERM or SIGINT alone"
)


def asked(server: Served, path: str) -> httpx.Response:
    return httpx.get(server.origin + path, timeout=LONGEST_S)


def wait_for_ready(server: Served, status: int) -> httpx.Response:
    """The answer to `/readyz` as soon as it has this status."""
    deadline = time.monotonic() + LONGEST_S
    while (answer := asked(server, "/readyz")).status_code != status:
        assert time.monotonic() < deadline
    return answer


def children(pid: int) -> list[int]:
    """The processes that one has started."""
    told = Path(f"/proc/{pid}/task/{pid}/children")
    if told.exists():
        return list(map(int, told.read_text().split()))
    return list(map(int, subprocess.check_output(["pgrep", "-P", str(pid)], text=True).split()))


def posted(
    server: Served, tool: str, /, begun: threading.Event | None = None, **arguments: object
) -> httpx.Response:
    """The answer to a call; `begun` is set when the server is at work on it."""
    body = request("tools/call", name=tool, arguments=arguments)
    headers = server.headers
    with httpx.stream("POST", server.url, json=body, headers=headers, timeout=LONGEST_S) as answer:
        if begun is not None:
            begun.set()
        answer.read()
    return answer


@contextmanager
def with_a_job_that_runs(folder: Path, **environment: str) -> Iterator[tuple[Served, str]]:
    """A server, and the id of a job that its vendor does not end."""
    with vendor(job_seconds=3600) as slow:
        settings = {"USEAPI_BASE_URL": slow.url, "USEAPI_TOKEN": TOKEN, **environment}
        with http_server(folder, **settings) as server:
            job = server.call("upscale_video", source=VIDEO)["structuredContent"]
            yield server, job["job_id"]


def test_probes_need_no_token_and_are_told_no_more_than_a_word(tmp_path: Path) -> None:
    with http_server(tmp_path) as server:
        answers = [asked(server, path) for path in ("/livez", "/readyz")]
        other = httpx.get(f"{server.origin}/readyz", headers={"Host": "evil.com"})

    assert [(200, "ok\n")] * 2 == [(answer.status_code, answer.text) for answer in answers]
    assert other.status_code == 421


def test_a_server_that_stops_is_not_ready_answers_who_waits_and_serves_on(tmp_path: Path) -> None:
    with (
        with_a_job_that_runs(tmp_path, USEAPI_DRAIN_SECONDS=NEVER_ENDS) as (server, job_id),
        ThreadPoolExecutor() as threads,
    ):
        begun = [threading.Event(), threading.Event()]
        waiting = threads.submit(
            posted, server, "get_job", begun[0], job_id=job_id, wait_seconds=50
        )
        saving = threads.submit(posted, server, "download_media", begun[1], job_id=job_id)
        assert all(each.wait(LONGEST_S) for each in begun)
        server.process.send_signal(signal.SIGTERM)
        ready = wait_for_ready(server, 503)
        answers = [waiting.result(), saving.result()]
        alive = asked(server, "/livez")
        new = posted(server, "list_jobs")
        new_wait = posted(server, "get_job", job_id=job_id, wait_seconds=50)

        code = server.stop()  # the second SIGTERM does not wait

    assert (503, "not ready: stopping\n") == (ready.status_code, ready.text)
    assert alive.status_code == 200
    for answer in (*answers, new_wait):
        job = result(answer)["structuredContent"]
        assert ("running", job_id) == (job["status"], job["job_id"])
        assert job["next"].startswith("get_job(")
    assert result(new)["structuredContent"]["jobs"]
    assert "close" == new.headers["connection"] == ready.headers["connection"]
    assert code == 0
    assert "Traceback" not in server.errors.read_text()


def test_ctrl_c_stops_without_the_pause_and_answers_who_waits(tmp_path: Path) -> None:
    with (
        with_a_job_that_runs(tmp_path, USEAPI_DRAIN_SECONDS=NEVER_ENDS) as (server, job_id),
        ThreadPoolExecutor() as threads,
    ):
        begun = threading.Event()
        waiting = threads.submit(posted, server, "get_job", begun, job_id=job_id, wait_seconds=50)
        assert begun.wait(LONGEST_S)

        code = server.stop(signal.SIGINT)

        job = result(waiting.result())["structuredContent"]
    assert code == 0
    assert job["status"] == "running"


def test_after_the_pause_it_stops_by_itself_and_a_paid_call_has_an_id_to_ask_for(
    tmp_path: Path,
) -> None:
    """The vendor takes longer than the calls of a server that stops may last."""
    with (
        vendor(post_takes_s=5, job_seconds=3600) as slow,
        http_server(
            tmp_path, USEAPI_BASE_URL=slow.url, USEAPI_TOKEN=TOKEN, USEAPI_DRAIN_SECONDS="0.5"
        ) as server,
        ThreadPoolExecutor() as threads,
    ):
        paying = threads.submit(posted, server, "upscale_video", source=VIDEO)
        slow.wait_for_a_post()

        code = server.stop()

        job = result(paying.result())["structuredContent"]
    assert code == 0
    assert job["status"] == "submitting"
    assert job["next"].startswith("get_job(")
    [(state, _, posts)] = rows(tmp_path)
    assert ("accepted", 1) == (state, posts)


def test_workers_pause_too(tmp_path: Path) -> None:
    environment = {
        "USEAPI_BASE_URL": "http://127.0.0.1:9",  # nobody is asked anything
        "USEAPI_HTTP_TOKEN": HTTP_TOKEN,
        "USEAPI_DRAIN_SECONDS": NEVER_ENDS,
    }
    with workers(tmp_path, 2, **environment) as server:
        assert asked(server, "/readyz").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        ready = wait_for_ready(server, 503)
        new = posted(server, "list_jobs")
        for child in children(server.process.pid):
            os.kill(child, signal.SIGTERM)
        server.process.wait(LONGEST_S)

    assert ready.text == "not ready: stopping\n"
    assert result(new)["structuredContent"] == {"jobs": []}
    assert "Traceback" not in server.errors.read_text()


@pytest.mark.parametrize(
    ("drain_s", "is_asked", "stopped_after_s"),
    [(None, False, 0), (None, True, 5), (0, True, 0), (20, False, 20)],
)
async def test_where_nobody_asks_whether_it_is_ready_there_is_no_pause(
    tmp_path: Path, drain_s: float | None, is_asked: bool, stopped_after_s: float
) -> None:
    """Then there is no proxy that must learn of the stop."""
    loop, stopped_at_s = asyncio.get_running_loop(), list[float]()
    settings = Settings.read(
        {"USEAPI_STATE_DIR": str(tmp_path), "USEAPI_OUTPUT_DIR": str(tmp_path)}
    )
    stopping = Stopping(Clock(), drain_s)
    before = signal.signal(signal.SIGTERM, lambda *_: stopped_at_s.append(loop.time()))
    try:
        async with open_app(settings, Clock()) as app:
            with stopping.while_open(app):
                if is_asked:
                    assert await stopping.why_not_ready() is None
                began_s = loop.time()
                signal.raise_signal(signal.SIGTERM)
                await asyncio.sleep(3600)
            put_back = signal.getsignal(signal.SIGTERM)
    finally:
        after = signal.signal(signal.SIGTERM, before)

    assert [stopped_after_s] == [at_s - began_s for at_s in stopped_at_s]
    assert put_back is after


def test_it_is_not_ready_while_its_journal_can_not_be_written(tmp_path: Path) -> None:
    state, away = tmp_path / "state", tmp_path / "away"
    with http_server(tmp_path, USEAPI_BASE_URL="http://127.0.0.1:9") as server:
        first = asked(server, "/readyz")
        state.rename(away)
        state.write_text("a file in the folder's place")
        broken = wait_for_ready(server, 503)
        alive = asked(server, "/livez")
        state.unlink()
        away.rename(state)
        healed = wait_for_ready(server, 200)

    assert 200 == first.status_code == alive.status_code == healed.status_code
    assert broken.text == "not ready: journal\n"


async def test_a_server_that_has_not_started_is_not_ready(tmp_path: Path) -> None:
    settings = Settings.read({"USEAPI_STATE_DIR": str(tmp_path)})
    app = http_app(
        create_server(settings), token=None, stopping=Stopping(Clock(), None), metrics=Metrics()
    )
    transport = httpx.ASGITransport(app)

    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        answer = await client.get("/readyz")

    assert (503, "not ready: starting\n") == (answer.status_code, answer.text)
