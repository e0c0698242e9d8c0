"""Traces: with OpenTelemetry a call is a span, as README says, and holds nothing of the user's."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.harness import GOOD
from tests.support.limits import LONGEST_S
from tests.support.serving import ROOT

# Of its own process: a provider can be set once, and would stay for all other tests.
PROGRAM = """
import asyncio, contextlib, json, sys
from opentelemetry import trace

spans = []

class Tracer(trace.Tracer):
    def start_span(self, name, *given, **options):
        raise AssertionError("a span that is not the current one")

    @contextlib.contextmanager
    def start_as_current_span(self, name, *given, **options):
        spans.append([name, str(options["kind"]), dict(options["attributes"] or {})])
        yield trace.INVALID_SPAN

class Provider(trace.TracerProvider):
    def get_tracer(self, *given, **options):
        return Tracer()

trace.set_tracer_provider(Provider())

from mcp import Client
from mcp_server.server.factory import create_server
from mcp_server.settings import Settings

async def main():
    settings = Settings.read({"USEAPI_STATE_DIR": sys.argv[1], "USEAPI_OUTPUT_DIR": sys.argv[1]})
    async with Client(create_server(settings)) as client:
        await client.call_tool("get_job", {"job_id": sys.argv[2]})

asyncio.run(main())
print(json.dumps(spans))
"""


def test_a_call_is_a_span_that_names_the_tool_and_no_argument(tmp_path: Path) -> None:
    job_id = GOOD["dreamina", "video"]
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), job_id]

    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=True
    )

    spans = json.loads(ended.stdout)
    served = [attributes for name, kind, attributes in spans if "SERVER" in kind]
    (call,) = [each for each in served if each["mcp.method.name"] == "tools/call"]
    assert call["gen_ai.tool.name"] == "get_job"
    assert job_id not in ended.stdout
