"""Metrics: what Prometheus reads of a server that works, and that nothing of anybody is in it."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from mcp_server.clock import Clock
from mcp_server.errors import SettingsError
from mcp_server.http.prometheus import metrics_app
from mcp_server.http.serve import worker
from mcp_server.http.stopping import Stopping
from mcp_server.metrics import Metrics
from mcp_server.settings import Settings
from tests.support.harness import GOOD, TOKEN
from tests.support.limits import LONGEST_S
from tests.support.serving import Served, free_port, http_server, request, vendor

HTTP_TOKEN = "the-token-all-workers-share"
VIDEO = GOOD["dreamina", "video"]


@dataclass
class Samples:
    """What Prometheus was told: `told["name", "label's value", ...]`."""

    by_name: dict[tuple[str, frozenset[str]], float]

    def __getitem__(self, key: tuple[str, ...]) -> float:
        name, *values = key
        return self.by_name[name, frozenset(values)]


def samples(text: str) -> Samples:
    return Samples(
        {
            (sample.name, frozenset(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )


def ask(server: Served, tool: str, **arguments: object) -> None:
    body = request("tools/call", name=tool, arguments=arguments)
    httpx.post(server.url, json=body, headers=server.headers, timeout=LONGEST_S)


def test_prometheus_reads_what_a_server_did_and_nothing_of_anybody(tmp_path: Path) -> None:
    port = free_port()
    with (
        vendor(job_seconds=3600) as real,
        http_server(
            tmp_path,
            USEAPI_BASE_URL=real.url,
            USEAPI_TOKEN=TOKEN,
            USEAPI_METRICS_PORT=str(port),
        ) as server,
    ):
        address = f"http://127.0.0.1:{port}/metrics"
        before = samples(httpx.get(address, timeout=LONGEST_S).text)
        job = server.call("upscale_video", source=VIDEO)["structuredContent"]
        server.call("get_job", job_id=job["job_id"])
        server.call("get_job", job_id=job["job_id"], wait_seconds=1)
        ask(server, "get_job", job_id="no id")
        httpx.post(server.url, json={}, timeout=LONGEST_S)
        text = httpx.get(address, timeout=LONGEST_S).text
        foreign = httpx.get(address, headers={"Host": "evil.com"}, timeout=LONGEST_S)

    after = samples(text)
    assert before["useapi_open_jobs", "running"] == 0
    assert after["useapi_open_jobs", "running"] == 1
    assert after["useapi_tool_call_seconds_count", "get_job", "ok"] == 2
    assert after["useapi_tool_call_seconds_count", "get_job", "error"] == 1
    assert after["useapi_tool_call_seconds_count", "upscale_video", "ok"] == 1
    assert after["useapi_vendor_requests_total", "paid", "dreamina", "answered"] == 1
    assert after["useapi_vendor_requests_total", "read", "dreamina", "answered"] >= 1
    assert after["useapi_refusals_total", "unknown_id"] == 1
    assert after["useapi_refusals_total", "http_401"] == 1
    assert after["useapi_credits_today", "dreamina"] == job["forecast_credits"]
    assert after["useapi_credits_today", "pixverse"] == 0
    assert after["useapi_oldest_submitting_seconds",] == 0
    assert after["useapi_oldest_queued_seconds",] == after["useapi_open_jobs", "queued"] == 0
    assert after["useapi_journal_usable",] == 1
    assert foreign.status_code == 421
    for secret in (TOKEN, server.token, job["job_id"], "example.com", VIDEO):
        assert secret not in text


def test_a_request_without_an_answer_and_its_age_are_told(tmp_path: Path) -> None:
    port = free_port()
    with (
        vendor(post_takes_s=3600) as silent,
        http_server(
            tmp_path,
            USEAPI_BASE_URL=silent.url,
            USEAPI_TOKEN=TOKEN,
            USEAPI_METRICS_PORT=str(port),
        ) as server,
        httpx.Client(timeout=LONGEST_S) as http,
    ):
        body = request("tools/call", name="upscale_video", arguments={"source": VIDEO})
        with http.stream("POST", server.url, json=body, headers=server.headers):
            silent.wait_for_a_post()
            told = samples(http.get(f"http://127.0.0.1:{port}/metrics").text)

    assert told["useapi_open_jobs", "submitting"] == 1
    assert told["useapi_oldest_submitting_seconds",] > 0


async def test_without_a_journal_the_counters_are_shown_all_the_same(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.calls["get_job", "ok"].add(3.0)
    metrics.queue_waits["dreamina"].add(100.0)
    app = metrics_app(metrics, Stopping(Clock(), None))  # it has not started

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a") as http:
        told = samples((await http.get("/metrics")).text)

    assert told["useapi_journal_usable",] == 0
    assert told["useapi_tool_call_seconds_sum", "get_job", "ok"] == 3
    bounds = ("2.5", "5.0", "+Inf")
    counts = [told["useapi_tool_call_seconds_bucket", "get_job", "ok", le] for le in bounds]
    assert [0, 1, 1] == counts
    waits = [told["useapi_queue_wait_seconds_bucket", "dreamina", le] for le in ("60.0", "120.0")]
    assert [0, 1] == waits


def test_without_the_library_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    with pytest.raises(SettingsError, match=r"useapi-mcp\[team\]"):
        metrics_app(Metrics(), Stopping(Clock(), None))


def test_workers_do_not_share_the_port_for_metrics() -> None:
    settings = Settings(http_token=SecretStr(HTTP_TOKEN), metrics_port=9464)

    with pytest.raises(SettingsError, match="USEAPI_METRICS_PORT"):
        worker(settings)


def test_the_library_is_not_imported_where_no_port_is_set(tmp_path: Path) -> None:
    program = (
        "import sys; from mcp_server.cli.main import http_worker; http_worker();"
        " print('prometheus_client' in sys.modules)"
    )
    environment = {**os.environ, "USEAPI_HTTP_TOKEN": HTTP_TOKEN, "USEAPI_STATE_DIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )

    assert ended.stdout == "False\n"
