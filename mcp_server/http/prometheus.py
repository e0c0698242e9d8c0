"""The metrics as Prometheus reads them, served on a port of their own.

Only this module knows prometheus_client, which is in the extra `team` and imported only when
USEAPI_METRICS_PORT is set.
"""

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mcp_server.errors import SettingsError
from mcp_server.http.stopping import Stopping
from mcp_server.journal.records import Figures
from mcp_server.metrics import Durations, Metrics
from mcp_server.services.registry import SERVICES

if TYPE_CHECKING:
    from prometheus_client.core import Metric

METRICS_PATH = "/metrics"


def metrics_app(metrics: Metrics, stopping: Stopping) -> Starlette:
    """An app that answers `/metrics`: what was counted, and how the journal stands just now.

    Raises:
        SettingsError: prometheus-client is not installed.
    """
    try:
        import prometheus_client
    except ImportError:
        raise SettingsError(
            message="USEAPI_METRICS_PORT is set, and prometheus-client is not installed.",
            hint="Install useapi-mcp[team], or leave the setting out.",
        ) from None

    async def show(_: Request) -> Response:
        registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=registry)
        registry.register(_Families(metrics, await _figures(stopping)))
        text = prometheus_client.generate_latest(registry)
        return Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route(METRICS_PATH, show)])


async def _figures(stopping: Stopping) -> Figures | None:
    app = stopping.app
    if app is None:
        return None
    return await app.journal.figures(app.upstream.origin, [service.name for service in SERVICES])


class _Families:
    """What a registry collects for one answer."""

    def __init__(self, metrics: Metrics, figures: Figures | None) -> None:
        self._metrics = metrics
        self._figures = figures

    def collect(self) -> "Iterator[Metric]":
        """The counters, and the figures where the journal can be read."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        calls = HistogramMetricFamily(
            "useapi_tool_call_seconds", "Calls of tools.", labels=["tool", "outcome"]
        )
        for labels, durations in sorted(self._metrics.calls.items()):
            calls.add_metric(list(labels), _buckets(durations), durations.total_s)
        yield calls

        waits = HistogramMetricFamily(
            "useapi_queue_wait_seconds",
            "How long what was sent had waited for a free slot.",
            labels=["service"],
        )
        for service, durations in sorted(self._metrics.queue_waits.items()):
            waits.add_metric([service], _buckets(durations), durations.total_s)
        yield waits

        requests = CounterMetricFamily(
            "useapi_vendor_requests",
            "Requests to the vendor, each try by itself.",
            labels=["kind", "service", "outcome"],
        )
        for names, number in sorted(self._metrics.requests.items()):
            requests.add_metric(list(names), number)
        yield requests

        refusals = CounterMetricFamily(
            "useapi_refusals", "Calls answered with an error.", labels=["reason"]
        )
        for reason, number in sorted(self._metrics.refusals.items()):
            refusals.add_metric([reason], number)
        yield refusals

        usable = self._figures is not None
        yield GaugeMetricFamily("useapi_journal_usable", "1: it can be read.", value=usable)
        if self._figures is None:
            return
        jobs = GaugeMetricFamily(
            "useapi_open_jobs", "Jobs in the journal that have not ended.", labels=["status"]
        )
        for status, number in self._figures.open_jobs.items():
            jobs.add_metric([status], number)
        yield jobs
        yield GaugeMetricFamily(
            "useapi_oldest_submitting_seconds",
            "Age of the oldest paid request without an answer; 0 without one.",
            value=self._figures.oldest_submitting_s,
        )
        yield GaugeMetricFamily(
            "useapi_oldest_queued_seconds",
            "Age of the oldest submission that waits for a free slot; 0 without one.",
            value=self._figures.oldest_queued_s,
        )
        charged = GaugeMetricFamily(
            "useapi_credits_today",
            "Credits that were or may have been charged since midnight UTC.",
            labels=["service"],
        )
        for service, credits_charged in self._figures.credits_today.items():
            charged.add_metric([service], credits_charged)
        yield charged


def _buckets(durations: Durations) -> list[tuple[str, int]]:
    """The counts as a histogram has them: of each bound, how many did not exceed it."""
    bounds = [*map(str, durations.bounds_s), "+Inf"]
    return [*zip(bounds, accumulate(durations.counts), strict=True)]
