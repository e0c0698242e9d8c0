"""Webhooks: a hint to read a job now, believed in nothing else; without them nothing is lost."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mcp_server.sandbox.app import Sandbox
from mcp_server.sandbox.state import Conditions
from tests.support.harness import GOOD, TOKEN, Fault, Network, Reply, VirtualClock
from tests.support.http_memory import ADDRESS, Served, serving
from tests.support.serving import free_port, http_server
from tests.support.serving import vendor as vendor_on_a_port
from tests.support.team import OPERATOR, team

HOOKS = {
    "USEAPI_PUBLIC_URL": ADDRESS,
    "USEAPI_SECRET": "s" * 32,
    "USEAPI_WEBHOOKS": "true",
}
POLLING = {"USEAPI_WEBHOOKS": ""}
VIDEO, IMAGE, PIXVERSE = (
    GOOD["dreamina", "video"],
    GOOD["dreamina", "image"],
    GOOD["pixverse", "video"],
)


@dataclass
class Vendor:
    """The sandbox that calls back, through what stands between it and the server."""

    clock: VirtualClock
    job_seconds: float
    is_heard: bool = True
    calls: list[str] = field(default_factory=list)
    server: Served | None = None

    def __post_init__(self) -> None:
        self.sandbox = Sandbox(job_seconds=self.job_seconds, now=self.clock.now, post=self._call)
        self.network = Network(self.sandbox)

    async def _call(self, url: str, body: bytes) -> None:
        self.calls.append(url)
        if self.is_heard and self.server is not None:
            answer = await self.server.http.post(url, content=body)
            assert answer.status_code == 204

    def paid(self) -> list[Any]:
        """What was paid for."""
        return list(self.sandbox.accepted)

    def reads(self) -> int:
        """How often a job was read."""
        lists = ("/scheduler", "/videos", "/jobs", "/accounts")
        return sum(
            request.method == "GET" and not request.url.path.rstrip("/").endswith(lists)
            for request in self.network.sent
        )


@asynccontextmanager
async def with_hooks(
    folder: Path, job_seconds: float = 60, changes: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[Served, Vendor]]:
    clock = VirtualClock()
    vendor = Vendor(clock, job_seconds)
    settings = {**HOOKS, **(changes or {})}
    async with serving(folder, settings, network=vendor.network, clock=clock) as server:
        vendor.server = server
        yield server, vendor


def fields(vendor: Vendor) -> dict[str, Any]:
    posts = [request for request in vendor.network.sent if request.method == "POST"]
    return dict(json.loads(posts[-1].content))


async def ended(server: Served, **order: str) -> tuple[Reply, float]:
    """The answer of a new video's end, waited for as agents do, and when it came."""
    began = asyncio.get_running_loop().time()
    job_id = (await server.call("generate_video", **order)).job["job_id"]
    answer = await server.call("get_job", job_id=job_id, wait_seconds=50)
    while answer.job["status"] != "completed":
        answer = await server.call("get_job", job_id=job_id, wait_seconds=50)
    return answer, asyncio.get_running_loop().time() - began


@pytest.mark.parametrize(
    ("tool", "source"),
    [("upscale_video", VIDEO), ("upscale_image", IMAGE), ("upscale_video", PIXVERSE)],
)
async def test_a_paid_request_names_an_address_that_is_no_part_of_its_key(
    tmp_path: Path, tool: str, source: str
) -> None:
    async with with_hooks(tmp_path) as (server, vendor):
        first = (await server.call(tool, source=source)).job
        url = fields(vendor)["replyUrl"]
        async with serving(tmp_path, network=server.network, clock=server.clock) as other:
            again = (await other.call(tool, source=source)).job

    assert url.startswith(f"{ADDRESS}/hook/")
    assert len(url) < 120
    assert (first["job_id"], True) == (again["job_id"], again["reused"])


@pytest.mark.parametrize(
    "changes", [{"USEAPI_WEBHOOKS": ""}, {"USEAPI_REPLY_URL": "https://operator.example/hook"}]
)
async def test_no_address_is_named_where_it_is_not_wanted_or_another_one_is(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    async with with_hooks(tmp_path, changes=changes) as (server, vendor):
        await server.call("upscale_video", source=VIDEO)
        sent = fields(vendor)

    assert changes.get("USEAPI_REPLY_URL") == sent.get("replyUrl")


async def test_what_answers_only_when_it_is_done_names_none(tmp_path: Path) -> None:
    async with with_hooks(tmp_path) as (server, vendor):
        await server.call("upscale_image", source=GOOD["google-flow", "image"])
        sent = fields(vendor)

    assert "replyUrl" not in sent


@pytest.mark.parametrize(
    ("service", "most_reads"), [("dreamina", 2), ("google-flow", 4), ("pixverse", 5)]
)
async def test_a_job_of_a_service_that_calls_is_read_when_it_calls_and_seldom_else(
    tmp_path: Path, service: str, most_reads: int
) -> None:
    async with with_hooks(tmp_path) as (server, vendor):
        await ended(server, prompt="The first.", service=service)
        polled = vendor.reads()
        answer, took_s = await ended(server, prompt="The second.", service=service)
        reads = vendor.reads() - polled

    assert answer.job["media"][0]["url"]
    assert reads <= most_reads
    assert took_s <= 60 + 3


async def test_without_webhooks_the_same_job_is_read_every_five_seconds(tmp_path: Path) -> None:
    async with with_hooks(tmp_path, changes=POLLING) as (server, vendor):
        await ended(server, prompt="The first.", service="dreamina")
        first = vendor.reads()
        await ended(server, prompt="The second.", service="dreamina")

    assert first >= 9
    assert vendor.reads() - first >= 9
    assert [] == vendor.calls


async def test_a_service_that_stops_calling_costs_a_minute_once(tmp_path: Path) -> None:
    async with with_hooks(tmp_path, job_seconds=30) as (server, vendor):
        await ended(server, prompt="It calls.", service="dreamina")
        vendor.is_heard = False
        _, late_s = await ended(server, prompt="It does not.", service="dreamina")
        _, usual_s = await ended(server, prompt="Nor now.", service="dreamina")
        vendor.is_heard = True
        await ended(server, prompt="It calls again.", service="dreamina")
        before = vendor.reads()
        await ended(server, prompt="And again.", service="dreamina")

    assert 30 < late_s <= 70
    assert usual_s <= 40
    assert vendor.reads() - before <= 2


async def test_a_call_that_another_server_hears_ends_the_wait_here(tmp_path: Path) -> None:
    async with with_hooks(tmp_path) as (server, vendor):
        await ended(server, prompt="The first.", service="dreamina")
        async with serving(tmp_path, HOOKS, network=server.network, clock=server.clock) as other:
            vendor.server = other
            before = vendor.reads()
            _, took_s = await ended(server, prompt="The second.", service="dreamina")
            reads = vendor.reads() - before

    assert took_s <= 63
    assert reads <= 2


async def test_a_call_just_after_a_read_is_heard_two_seconds_later(tmp_path: Path) -> None:
    async with with_hooks(tmp_path, job_seconds=600) as (server, vendor):
        job_id = (await server.call("upscale_video", source=VIDEO)).job["job_id"]
        url = fields(vendor)["replyUrl"]
        await asyncio.sleep(20)
        await server.call("get_job", job_id=job_id)
        before = vendor.reads()
        for _ in range(20):
            assert (await server.http.post(url)).status_code == 204
        at_once = vendor.reads() - before
        await asyncio.sleep(2.1)
        later = vendor.reads() - before
        await asyncio.sleep(60)

    assert (0, 1) == (at_once, later)
    assert 1 == vendor.reads() - before


async def test_a_call_of_a_job_that_has_ended_reads_nothing(tmp_path: Path) -> None:
    async with with_hooks(tmp_path) as (server, vendor):
        await ended(server, prompt="It is done.", service="dreamina")
        await asyncio.sleep(10)
        before = len(vendor.network.sent)
        answers = [await server.http.post(vendor.calls[-1], content=b"x" * 100_000)]
        answers += [await server.http.get(vendor.calls[-1])]
        await asyncio.sleep(10)

    assert [204, 405] == [answer.status_code for answer in answers]
    assert before == len(vendor.network.sent)


async def test_what_the_vendor_says_is_not_believed(tmp_path: Path) -> None:
    async with with_hooks(tmp_path, job_seconds=600) as (server, vendor):
        job_id = (await server.call("upscale_video", source=VIDEO)).job["job_id"]
        await asyncio.sleep(20)
        lie = {"jobid": job_id, "status": "completed", "response": {"videoUrl": "https://evil"}}
        await server.http.post(fields(vendor)["replyUrl"], json=lie)
        await asyncio.sleep(3)
        job = (await server.call("get_job", job_id=job_id)).job

    assert "running" == job["status"]


async def test_a_forged_address_and_that_of_another_job_are_unknown(tmp_path: Path) -> None:
    async with with_hooks(tmp_path, job_seconds=600) as (server, vendor):
        await server.call("upscale_video", source=VIDEO)
        first = fields(vendor)["replyUrl"].split("/")
        await server.call("upscale_video", source=PIXVERSE)
        second = fields(vendor)["replyUrl"].split("/")
        before = len(vendor.network.sent)
        wrong = [
            [*first[:-1], second[-1]],
            [*first[:-1], "0" * 32],
            [*first[:-1], "é"],
            [*first[:-2], "nobody", first[-1]],
            first[:-1],
            [*first, "more"],
            [*first[:-1], "x" * 60_000],
            [*first[:-2], "%00", first[-1]],
        ]
        answers = [await server.http.post("/".join(parts)) for parts in wrong]
        await asyncio.sleep(5)

    assert {404} == {answer.status_code for answer in answers}
    assert before == len(vendor.network.sent)


async def test_an_address_of_an_older_secret_is_heard(tmp_path: Path) -> None:
    async with with_hooks(tmp_path, job_seconds=600) as (server, vendor):
        await server.call("upscale_video", source=VIDEO)
        rotated = {**HOOKS, "USEAPI_SECRET": f"{'n' * 32},{HOOKS['USEAPI_SECRET']}"}
        async with serving(tmp_path, rotated, network=server.network, clock=server.clock) as other:
            answer = await other.http.post(fields(vendor)["replyUrl"])

    assert 204 == answer.status_code


async def test_without_the_setting_there_is_no_such_address(tmp_path: Path) -> None:
    async with with_hooks(tmp_path, changes=POLLING) as (server, _):
        answer = await server.http.post("/hook/a/b")

    assert 401 == answer.status_code


@pytest.mark.parametrize("service", ["dreamina", "google-flow", "pixverse"])
async def test_a_lost_answer_is_found_and_paid_for_once_with_an_address_in_it_too(
    tmp_path: Path, service: str
) -> None:
    async with with_hooks(tmp_path) as (server, vendor):
        server.network.faults.append(Fault(after_s=20, then="cut"))
        order = {"prompt": "It is lost.", "service": service}
        await server.call("generate_video", **order)
        await asyncio.sleep(90)
        again = (await server.call("generate_video", **order)).job

    assert "completed" == again["status"]
    assert 1 == len(vendor.paid())


def test_over_a_real_port_a_job_ends_by_the_vendors_call(tmp_path: Path) -> None:
    port = free_port()
    settings = {
        **HOOKS,
        "USEAPI_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "USEAPI_TOKEN": TOKEN,
        "USEAPI_HTTP_TOKEN": "a-token-of-this-server",
    }
    with (
        vendor_on_a_port(job_seconds=1, calls_back=True) as real,
        http_server(tmp_path, "--port", str(port), **settings, USEAPI_BASE_URL=real.url) as server,
    ):
        job = server.call("upscale_video", source=VIDEO)["structuredContent"]
        waited = server.call("get_job", job_id=job["job_id"], wait_seconds=50)
        real.wait_for_a_call()
        said = server.errors.read_text()

    assert "completed" == waited["structuredContent"]["status"]
    assert [204] == real.called
    assert "Traceback" not in said


async def test_what_waited_is_sent_without_an_address_where_webhooks_are_off_by_then(
    tmp_path: Path,
) -> None:
    sandbox = Sandbox(job_seconds=60, now=VirtualClock().now, conditions=Conditions(slots=1))
    bodies: list[dict[str, Any]] = []
    replies: list[Reply] = []
    queue: dict[str, Any] = {"USEAPI_QUEUE_SECONDS": "1800"}
    for settings in (HOOKS | queue, POLLING | queue):
        async with (
            team(tmp_path, sandbox=sandbox, **settings) as server,
            server.caller(OPERATOR) as caller,
        ):
            for prompt in ("a cat", "a dog"):
                order = {"prompt": prompt, "service": "pixverse"}
                replies.append(await caller.call("generate_video", **order))
            if settings["USEAPI_WEBHOOKS"] == "":
                await asyncio.sleep(100)
            bodies += [json.loads(request.content) for request in caller.posts()]

    assert ["running", "queued"] == [reply.job["status"] for reply in replies[:2]]
    assert ["a cat", "a dog"] == [body["prompt"] for body in bodies]
    assert [True, False] == ["replyUrl" in body for body in bodies]
