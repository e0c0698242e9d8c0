"""Jobs: cancelling as far as a vendor offers it, and an end that loses nothing."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from mcp_server.sandbox.app import Sandbox
from tests.support.harness import (
    GOOD,
    Fault,
    Harness,
    Network,
    Opened,
    VirtualClock,
    running,
)

VIDEO = GOOD["dreamina", "video"]
FLOW_VIDEO = GOOD["google-flow", "video"]
PIXVERSE = GOOD["pixverse", "video"]
CUT = Fault(reaches=False, then="cut")


async def submitted(server: Harness, source: str) -> str:
    return str((await server.call("upscale_video", source=source)).job["job_id"])


async def test_a_running_dreamina_job_is_cancelled_and_read_again(tmp_path: Path) -> None:
    """DELETE scheduler/jobid, 23 February 2026: the job then fails with "Cancelled by user"."""
    async with running(tmp_path, job_seconds=1000) as server:
        job_id = await submitted(server, VIDEO)

        reply = await server.call("cancel_job", job_id=job_id)

        assert reply.job["status"] == "cancelled"
        assert ["DELETE", "GET"] == [request.method for request in server.network.sent[-2:]]
        assert (await server.call("get_job", job_id=job_id)).job["status"] == "cancelled"


async def test_a_cancelled_job_may_be_submitted_again(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=1000) as server:
        job_id = await submitted(server, VIDEO)
        await server.call("cancel_job", job_id=job_id)

        await server.call("upscale_video", source=VIDEO)

        assert len(server.posts()) == 2


async def test_a_job_that_has_ended_is_left_as_it_is(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        job_id = await submitted(server, VIDEO)
        await server.call("get_job", job_id=job_id, wait_seconds=50)

        reply = await server.call("cancel_job", job_id=job_id)

        assert reply.job["status"] == "completed"
        assert reply.job["note"].startswith("There was nothing to cancel.")
        assert "DELETE" not in {request.method for request in server.network.sent}


@pytest.mark.parametrize(("source", "title"), [(FLOW_VIDEO, "Google Flow"), (PIXVERSE, "PixVerse")])
async def test_a_service_that_cannot_cancel_says_so(
    tmp_path: Path, source: str, title: str
) -> None:
    async with running(tmp_path, job_seconds=1000) as server:
        job_id = await submitted(server, source)

        reply = await server.call("cancel_job", job_id=job_id)

        assert reply.error["code"] == "unsupported"
        assert reply.text.startswith(f"{title} offers no way to cancel a job")
        assert {"GET", "POST"} == {request.method for request in server.network.sent}


async def test_a_request_without_an_answer_yet_cannot_be_cancelled(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        server.network.faults.append(Fault(after_s=100))
        job_id = await submitted(server, FLOW_VIDEO)

        reply = await server.call("cancel_job", job_id=job_id)

        assert (reply.error["code"], reply.error["job_id"]) == ("unanswered", job_id)


async def test_an_unconfirmed_job_is_given_up_without_asking_the_vendor(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        server.network.faults.append(CUT)
        job_id = await submitted(server, PIXVERSE)
        await asyncio.sleep(120)
        asked = len(server.network.sent)

        given_up = await server.call("cancel_job", job_id=job_id)

        assert given_up.job["status"] == "cancelled"
        assert "will be charged a second time" in given_up.text
        assert asked == len(server.network.sent)
        assert (await server.call("upscale_video", source=PIXVERSE)).job["status"] == "running"


class Restarted:
    """One vendor and one network under servers that come and go."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clock = VirtualClock()
        self.sandbox = Sandbox(job_seconds=1000, now=self._clock.now)
        self.network = Network(self.sandbox)

    def server(self) -> contextlib.AbstractAsyncContextManager[Harness]:
        return running(self._folder, clock=self._clock, sandbox=self.sandbox, network=self.network)

    async def stop_during_a_post(self, after_s: float) -> float:
        """Submit, stop the server while the vendor takes its time; how long the stop took."""
        loop = asyncio.get_running_loop()
        self.network.faults.append(Fault(after_s=after_s))
        async with self.server() as server:
            call = asyncio.create_task(server.call("upscale_video", source=VIDEO))
            await asyncio.sleep(1)
            began = loop.time()
        with contextlib.suppress(MCPError, asyncio.CancelledError):
            await call
        return loop.time() - began

    async def jobs(self) -> list[dict[str, Any]]:
        async with self.server() as server:
            return list((await server.call("list_jobs")).job["jobs"])


async def test_a_stop_lets_a_paid_request_be_answered_and_written_down(tmp_path: Path) -> None:
    world = Restarted(tmp_path)

    took_s = await world.stop_during_a_post(after_s=10)

    (job,) = await world.jobs()
    assert 8 < took_s < 11
    assert ("running", world.sandbox.accepted[0].job_id) == (job["status"], job["job_id"])


async def test_a_paid_call_of_a_server_about_to_stop_is_answered_and_its_request_goes_on(
    tmp_path: Path,
) -> None:
    opened = Opened()
    async with running(tmp_path, job_seconds=1000, while_open=opened) as server:
        server.network.faults = [Fault(after_s=20)]
        call = asyncio.create_task(server.call("upscale_video", source=VIDEO))
        await asyncio.sleep(3)
        opened.app.jobs.answer_submitting()
        began_s = server.clock.elapsed()
        told = await call
        took_s = server.clock.elapsed() - began_s
        await asyncio.sleep(20)
        again = await server.call("get_job", job_id=told.job["job_id"])

        assert 1 == len(server.posts())
    assert took_s < 1
    assert "submitting" == told.job["status"]
    assert told.job["next"].startswith("get_job(")
    assert "running" == again.job["status"]


async def test_a_paid_call_is_not_told_to_wait_for_what_was_not_sent_yet(tmp_path: Path) -> None:
    """The server ends with it unsent, and nothing would come of it."""
    opened = Opened()
    async with running(tmp_path, job_seconds=1000, while_open=opened) as server:
        server.network.faults = [Fault(connect_s=3, after_s=20)]
        call = asyncio.create_task(server.call("upscale_video", source=VIDEO))
        await asyncio.sleep(1)
        opened.app.jobs.answer_submitting()
        told = await call
        posts = len(server.posts())

    assert 1 == posts
    assert "submitting" == told.job["status"]


async def test_a_stop_waits_15_seconds_at_most_and_judges_nothing(tmp_path: Path) -> None:
    world = Restarted(tmp_path)

    took_s = await world.stop_during_a_post(after_s=100)

    (job,) = await world.jobs()
    assert 14 < took_s < 16
    assert job["status"] == "submitting"
    assert "failure" not in job


async def test_what_a_stop_left_open_is_found_by_the_next_server(tmp_path: Path) -> None:
    world = Restarted(tmp_path)
    await world.stop_during_a_post(after_s=100)

    async with world.server() as server:
        job = (await server.call("upscale_video", source=VIDEO)).job

        assert world.sandbox.accepted[0].job_id == job["job_id"]
        assert len(world.sandbox.accepted) == 1


async def test_an_idle_server_stops_at_once(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with running(tmp_path) as server:
        await submitted(server, VIDEO)
        began = loop.time()

    assert loop.time() - began < 1
