"""Waiting: reads come on a schedule, are shared, end in time, and never invent how a job ended.

Through `client.call_tool`, against the sandbox, in virtual time. The rules are §5 of the design.
"""

import asyncio
import gc
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from mcp_server.errors import NotFoundError, UnknownIdError
from mcp_server.jobs.polling import Poller, interval_s
from mcp_server.jobs.repository import JobRepository
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import NewSubmission, Submission
from mcp_server.journal.sqlite import SqliteStore
from mcp_server.media.files import OutputFolder
from mcp_server.sandbox import dreamina as dreamina_jobs
from mcp_server.settings import Settings
from mcp_server.tools.context import AppContext
from mcp_server.upstream.client import Upstream
from tests.support.harness import (
    GOOD,
    ORIGIN,
    TOKEN,
    Fault,
    Harness,
    Opened,
    Reply,
    VirtualClock,
    running,
)
from tests.support.processes import Kernel

VIDEO = GOOD["dreamina", "video"]
IMAGE = GOOD["dreamina", "image"]
FLOW_VIDEO = GOOD["google-flow", "video"]


def now() -> float:
    return asyncio.get_running_loop().time()


def reads_at(h: Harness) -> list[float]:
    """When each read of a job left, in seconds of virtual time."""
    sent = zip(h.network.sent, h.network.sent_at, strict=True)
    lists = ("/scheduler", "/videos", "/jobs")
    return [
        at
        for request, at in sent
        if request.method == "GET" and not request.url.path.endswith(lists)
    ]


def reading(request: httpx.Request) -> bool:
    return request.method == "GET"


def gateway_page() -> httpx.Response:
    return httpx.Response(502, html="<html>Bad gateway</html>")


async def job_of(h: Harness, tool: str = "upscale_video", **arguments: Any) -> str:
    reply = await h.call(tool, **(arguments or {"source": VIDEO}))
    return str(reply.job["job_id"])


async def made_elsewhere(h: Harness, source: str = VIDEO) -> str:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=h.sandbox),
        base_url=ORIGIN,
        headers={"Authorization": f"Bearer {TOKEN}"},
    ) as client:
        answer = await client.post("/v1/dreamina/videos/upscale", json={"jobid": source})
        return str(answer.json()["jobid"])


async def wait_on(h: Harness, job_id: str, seconds: float) -> None:
    """Wait as an agent does: again and again."""
    until = now() + seconds
    while now() < until:
        reply = await h.call("get_job", job_id=job_id, wait_seconds=50)
        if reply.job["status"] != "running":
            return


@pytest.mark.parametrize(
    ("tool", "source", "first_look_s", "interval"),
    [("upscale_video", VIDEO, 15, 5), ("upscale_image", IMAGE, 8, 2)],
)
async def test_looks_come_on_a_schedule_that_slows_down(
    tmp_path: Path, tool: str, source: str, first_look_s: float, interval: float
) -> None:
    async with running(tmp_path, job_seconds=2000) as h:
        job_id = await job_of(h, tool, source=source)

        await wait_on(h, job_id, 900)

        looks = reads_at(h)
        assert first_look_s == pytest.approx(looks[0], abs=0.01)
        for before, after in pairwise(looks):
            wanted = interval if before < 180 else 10 if before < 600 else 20
            assert 0.9 * wanted <= after - before <= 1.1 * wanted + 0.01
        gaps = {round(after - before, 3) for before, after in pairwise(looks)}
        assert len(gaps) > 20  # jittered: many servers do not march in step


@pytest.mark.parametrize(
    ("age_s", "video_s", "image_s"), [(0, 5, 2), (179, 5, 2), (180, 10, 10), (600, 20, 20)]
)
def test_the_time_between_looks_grows_with_age(
    age_s: float, video_s: float, image_s: float
) -> None:
    assert (video_s, image_s) == (interval_s("video", age_s), interval_s("image", age_s))


async def test_a_job_that_is_older_is_looked_at_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=30) as h:
        job_id = await job_of(h)
        await asyncio.sleep(40)

        reply = await h.call("get_job", job_id=job_id, wait_seconds=50)

        assert 40 == pytest.approx(now(), abs=0.1)
        assert "completed" == reply.job["status"]
        assert 1 == len(reads_at(h))


async def test_a_job_made_elsewhere_is_looked_at_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        reply = await h.call("get_job", job_id=VIDEO, wait_seconds=50)

        assert ("completed", "generate_video") == (reply.job["status"], reply.job["operation"])
        assert 0 == pytest.approx(now(), abs=0.1)


async def test_without_a_wait_it_is_read_once_and_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        job_id = await job_of(h)

        reply = await h.call("get_job", job_id=job_id)

        assert "running" == reply.job["status"]
        assert 1 == len(reads_at(h))
        assert 15 == reply.job["poll_after_seconds"]


async def test_a_wait_that_is_shorter_than_the_hold_looks_once_before_it_ends(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, job_seconds=3) as h:
        job_id = await job_of(h)

        reply = await h.call("get_job", job_id=job_id, wait_seconds=10)

        assert "completed" == reply.job["status"]
        assert [9] == pytest.approx(reads_at(h), abs=0.01)


@pytest.mark.parametrize("wait_s", [1, 2, 20, 50])
async def test_running_out_of_time_is_no_error(tmp_path: Path, wait_s: int) -> None:
    async with running(tmp_path, job_seconds=500) as h:
        job_id = await job_of(h)

        reply = await h.call("get_job", job_id=job_id, wait_seconds=wait_s)

        assert wait_s == pytest.approx(now(), abs=0.1)
        assert "running" == reply.job["status"]
        assert reply.job["poll_after_seconds"] > 0
        assert len(reads_at(h)) >= 1


async def test_however_many_wait_there_is_one_watcher(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=100) as h:
        job_id = await job_of(h)
        waits = []
        for _ in range(20):
            waits.append(asyncio.create_task(wait_on(h, job_id, 100)))
            await asyncio.sleep(0.7)

        await asyncio.gather(*waits)

        looks = [at for at in reads_at(h) if at < 100]
        assert 15 <= len(looks) <= 20
        assert all(after - before > 4.4 for before, after in pairwise(looks))


async def test_reads_within_two_seconds_are_one(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=100) as h:
        job_id = await job_of(h)

        await asyncio.gather(*(h.call("get_job", job_id=job_id) for _ in range(10)))
        at_once = len(reads_at(h))
        await asyncio.sleep(1.9)
        await h.client.read_resource(f"useapi://jobs/{job_id}")
        soon = len(reads_at(h))
        await asyncio.sleep(0.2)
        await h.client.read_resource(f"useapi://jobs/{job_id}")

        assert (1, 1, 2) == (at_once, soon, len(reads_at(h)))


async def test_what_is_no_id_is_refused_before_it_is_watched(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        for wait in (0, 50):
            reply = await h.call("get_job", job_id="a" * 500, wait_seconds=wait)

            assert "unknown_id" == reply.error["code"]
        assert [] == h.network.sent


async def test_who_reads_in_a_tight_loop_is_held(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=6) as h:
        job_id = await job_of(h)
        began, seen = h.clock.now(), []
        while True:
            job = (await h.call("get_job", job_id=job_id)).job
            seen.append(h.clock.now() - began)
            if job["status"] == "completed":
                break

        assert len(seen) <= 4
        assert 0 == pytest.approx(seen[0], abs=0.1)  # the first answer comes at once
        assert max(b - a for a, b in pairwise(seen)) <= 4.1


async def test_who_reads_when_told_to_is_not_held(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=1000) as h:
        job_id = await job_of(h)
        for _ in range(3):
            job = (await h.call("get_job", job_id=job_id)).job
            await asyncio.sleep(job["poll_after_seconds"])
            asked_at = h.clock.now()
            await h.call("get_job", job_id=job_id)

            assert h.clock.now() == pytest.approx(asked_at, abs=0.1)
            await asyncio.sleep(60)


async def test_a_job_that_has_ended_is_read_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=3) as h:
        job_id = await job_of(h)
        await h.call("get_job", job_id=job_id, wait_seconds=50)
        began = h.clock.now()
        for _ in range(5):
            await h.call("get_job", job_id=job_id)

        assert h.clock.now() == pytest.approx(began, abs=0.1)


async def test_a_failed_read_does_not_hide_what_was_read_a_moment_before(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=100) as h:
        job_id = await job_of(h)
        await asyncio.sleep(20)
        h.network.concerns = reading
        await h.call("get_job", job_id=job_id)
        h.network.faults = [Fault(then=gateway_page()) for _ in range(3)]
        await h.call("cancel_job", job_id=job_id)

        reply = await h.call("get_job", job_id=job_id)

        assert reply.job["status"] in ("running", "cancelled")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(connects=False),
        Fault(then="cut"),
        Fault(then=gateway_page()),
        Fault(then=httpx.Response(500, json={"error": "Internal server error"})),
        Fault(then=httpx.Response(408, json={"error": "Polling timeout"})),
        Fault(then=httpx.Response(429, json={"error": "busy"})),
        Fault(then=httpx.Response(200, text="not json")),
        Fault(then=httpx.Response(200, json={"strange": True})),
        Fault(then=httpx.Response(200, json={"status": "a new word"})),
        Fault(reaches=False, after_s=1000),
    ],
    ids=["refused", "cut", "502", "500", "408", "429", "no json", "no job", "new word", "stall"],
)
async def test_a_poll_that_fails_is_not_a_job_that_failed(tmp_path: Path, fault: Fault) -> None:
    async with running(tmp_path, job_seconds=60) as h:
        job_id = await job_of(h)
        h.network.concerns = reading
        h.network.faults = [fault] * 3

        first = await h.call("get_job", job_id=job_id, wait_seconds=50)
        h.network.faults = []
        second = await h.call("get_job", job_id=job_id, wait_seconds=50)

        assert "running" == first.job["status"]
        assert "completed" == second.job["status"]


async def test_five_bad_polls_in_a_row_end_the_wait_with_what_is_known(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=60) as h:
        job_id = await job_of(h)
        h.network.concerns = reading
        h.network.faults = [Fault(then=gateway_page()) for _ in range(100)]

        reply = await h.call("get_job", job_id=job_id, wait_seconds=50)

        assert "running" == reply.job["status"]
        assert 15 == len(reads_at(h))  # five looks, each of three tries
        assert now() < 50


async def test_four_bad_polls_and_a_good_one_do_not(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=35) as h:
        job_id = await job_of(h)
        h.network.concerns = reading
        h.network.faults = [Fault(then=gateway_page()) for _ in range(12)]

        reply = await h.call("get_job", job_id=job_id, wait_seconds=50)

        assert "completed" == reply.job["status"]


async def test_a_job_that_could_never_be_read_is_an_error(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        h.network.concerns = reading
        h.network.faults = [Fault(then=gateway_page()) for _ in range(100)]

        reply = await h.call("get_job", job_id=VIDEO, wait_seconds=50)

        assert "server_error" == reply.error["code"]
        assert reply.error["retryable"] is True


@pytest.mark.parametrize("wait_s", [0, 50])
@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "wrong_token"), (402, "no_subscription"), (404, "not_found"), (410, "expired")],
)
async def test_what_waiting_can_not_mend_is_an_error_at_once(
    tmp_path: Path, status: int, code: str, wait_s: int
) -> None:
    async with running(tmp_path) as h:
        h.network.concerns = reading
        h.network.faults = [Fault(then=httpx.Response(status, json={"error": "no"}))]

        reply = await h.call("get_job", job_id=VIDEO, wait_seconds=wait_s)

        assert code == reply.error["code"]
        assert 1 == len(reads_at(h))


async def test_nothing_is_kept_of_ids_that_nobody_knows(tmp_path: Path) -> None:
    """An error that is kept holds its frames, and they hold the request."""

    def kept() -> int:
        gc.collect()
        return sum(isinstance(one, NotFoundError | UnknownIdError) for one in gc.get_objects())

    async with running(tmp_path) as h:
        before = kept()
        for number in range(20):
            for job_id in (f"{number}", f"useapi-mcp:{number:026}", VIDEO.replace("u1", "u9")):
                assert (await h.call("get_job", job_id=job_id)).is_error

        assert kept() == before


async def test_a_dreamina_job_of_more_than_30_days_has_expired(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        job_id = await job_of(h)
        await asyncio.sleep(31 * 86_400)

        reply = await h.call("get_job", job_id=job_id)

        assert "expired" == reply.error["code"]


async def test_an_id_of_ours_that_was_never_given_is_not_found(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        reply = await h.call("get_job", job_id="useapi-mcp:aaaaaaaaaaaaaaaaaaaaaaaaaa")

        assert "not_found" == reply.error["code"]
        assert [] == h.network.sent


@pytest.mark.parametrize("wait_s", [1, 3, 10, 30, 50])
async def test_a_vendor_that_stalls_does_not_prolong_the_wait(tmp_path: Path, wait_s: int) -> None:
    async with running(tmp_path) as h:
        job_id = await job_of(h)
        h.network.concerns = reading
        h.network.faults = [Fault(reaches=False, after_s=1000) for _ in range(100)]

        ours = await h.call("get_job", job_id=job_id, wait_seconds=wait_s)
        ours_until = now()
        other = await h.call("get_job", job_id=VIDEO, wait_seconds=wait_s)

        assert "running" == ours.job["status"]
        assert wait_s == pytest.approx(ours_until, abs=0.01)
        assert "unreachable" == other.error["code"]
        assert wait_s == pytest.approx(now() - ours_until, abs=0.01)


async def test_a_single_read_of_a_vendor_that_stalls_ends_before_clients_give_up(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as h:
        h.network.concerns = reading
        h.network.faults = [Fault(reaches=False, after_s=1000) for _ in range(100)]

        reply = await h.call("get_job", job_id=VIDEO)

        assert "unreachable" == reply.error["code"]
        assert 45 == pytest.approx(now(), abs=0.01)


@pytest.mark.parametrize("stalled", [False, True])
async def test_there_is_progress_at_least_every_ten_seconds(tmp_path: Path, stalled: bool) -> None:
    told: list[tuple[float, float, float | None, str | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append((now(), done, total, message))

    async with running(tmp_path, job_seconds=500) as h:
        job_id = await job_of(h)
        h.network.concerns = reading
        h.network.faults = [Fault(after_s=1000) for _ in range(100 if stalled else 0)]

        await h.call("get_job", job_id=job_id, wait_seconds=50, progress_callback=progress)

        times = [0.0, *(at for at, *_ in told), 50.0]
        assert all(after - before <= 10 for before, after in pairwise(times))
        assert all(after > before for before, after in pairwise(done for _, done, *_ in told))
        assert {None} == {total for _, _, total, _ in told}  # nobody knows how long it takes
        assert all("running" in str(message) for *_, message in told)


async def test_the_progress_of_a_wait_goes_on_from_the_wait_before(tmp_path: Path) -> None:
    told: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(done)

    async with running(tmp_path, job_seconds=500) as h:
        job_id = await job_of(h)
        for _ in range(3):
            await h.call("get_job", job_id=job_id, wait_seconds=50, progress_callback=progress)

    assert told == sorted(told)
    assert told[-1] > 100


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_caller_that_leaves_does_not_cut_the_read_others_wait_for(
    tmp_path: Path, mode: str
) -> None:
    async with running(tmp_path, job_seconds=10, client_options={"mode": mode}) as h:
        job_id = await job_of(h)
        await asyncio.sleep(20)
        h.network.concerns = reading
        h.network.faults = [Fault(after_s=10)]
        leaving = asyncio.create_task(h.call("get_job", job_id=job_id, wait_seconds=50))
        await asyncio.sleep(1)
        staying = asyncio.create_task(h.call("get_job", job_id=job_id, wait_seconds=50))
        await asyncio.sleep(1)

        leaving.cancel()
        await asyncio.wait({leaving})
        left_at = now()
        reply = await staying

        assert 22 == pytest.approx(left_at, abs=0.1)
        assert 30 == pytest.approx(now(), abs=0.1)
        assert "completed" == reply.job["status"]
        assert 1 == len(reads_at(h))


async def test_nobody_reads_for_callers_that_have_left(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=1000) as h:
        job_id = await job_of(h)
        leaving = asyncio.create_task(h.call("get_job", job_id=job_id, wait_seconds=50))
        await asyncio.sleep(20)
        looks = len(reads_at(h))

        leaving.cancel()
        await asyncio.sleep(100)

        assert looks == len(reads_at(h)) > 0


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("later", ["created", "failed"])
async def test_how_a_job_ended_never_changes(tmp_path: Path, ours: bool, later: str) -> None:
    async with running(tmp_path) as h:
        job_id = await job_of(h) if ours else await made_elsewhere(h)
        ended = await h.call("get_job", job_id=job_id, wait_seconds=50)
        h.network.concerns = reading
        h.network.faults = [Fault(then=httpx.Response(200, json={"status": later}))]

        again = await h.call("get_job", job_id=job_id)

        assert "completed" == ended.job["status"] == again.job["status"]
        assert again.job["media"][0]["url"]


@pytest.mark.parametrize("wait_s", [0, 5])
async def test_an_end_that_another_process_has_read_is_told(tmp_path: Path, wait_s: int) -> None:
    kernel = Kernel()
    async with running(tmp_path, job_seconds=16, locks=kernel.process()) as one, running(
        tmp_path,
        sandbox=one.sandbox,
        network=one.network,
        clock=one.clock,
        locks=kernel.process(),
    ) as other:  # fmt: skip
        job_id = await job_of(one)
        await asyncio.sleep(15.5)
        before = await one.call("get_job", job_id=job_id)
        await asyncio.sleep(1)
        ended = await other.call("get_job", job_id=job_id)
        one.network.concerns = reading
        one.network.faults = [Fault(then="cut") for _ in range(30 if wait_s else 0)]

        after = await one.call("get_job", job_id=job_id, wait_seconds=wait_s)

        assert ["running", "completed", "completed"] == [
            each.job["status"] for each in (before, ended, after)
        ]


async def test_a_completed_job_gets_fresh_links(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        job_id = await job_of(h, source=FLOW_VIDEO)
        first = await h.call("get_job", job_id=job_id, wait_seconds=50)
        reads = len(reads_at(h))
        await asyncio.sleep(3600)

        again = await h.call("get_job", job_id=job_id, wait_seconds=50)

        assert "completed" == first.job["status"] == again.job["status"]
        assert len(reads_at(h)) > reads


async def test_the_vendors_wish_to_wait_is_obeyed(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=20) as h:
        job_id = await job_of(h)
        h.network.concerns = reading
        busy = httpx.Response(429, json={"error": "busy"}, headers={"Retry-After": "25"})
        h.network.faults = [Fault(then=busy)]

        reply = await h.call("get_job", job_id=job_id, wait_seconds=50)

        first, second = reads_at(h)
        assert 25 == pytest.approx(second - first, abs=0.1)
        assert "completed" == reply.job["status"]


async def test_a_read_begun_before_a_cancellation_is_not_taken_for_what_came_of_it(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, job_seconds=500) as h:
        job_id = await job_of(h)
        await asyncio.sleep(20)
        await h.call("get_job", job_id=job_id)
        cancelling = asyncio.create_task(h.call("cancel_job", job_id=job_id))
        h.network.concerns = lambda request: request.method == "DELETE"
        h.network.faults = [Fault(after_s=4)]
        await asyncio.sleep(3)
        h.network.concerns = reading
        h.network.faults = [Fault(after_s=10)]
        old_read = asyncio.create_task(h.call("get_job", job_id=job_id))

        cancelled = await cancelling
        await old_read

        assert "cancelled" == cancelled.job["status"]


async def test_a_wait_that_is_under_way_is_shared_after_a_thousand_other_jobs(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, job_seconds=60) as h:
        job_id = await job_of(h)
        first = asyncio.create_task(wait_on(h, job_id, 60))
        await asyncio.sleep(1)
        mine, h.network.concerns = job_id, lambda request: mine not in request.url.path
        h.network.faults = [Fault(then=httpx.Response(429, json={"error": "busy"}))] * 1001
        for number in range(1001):
            await h.call("get_job", job_id=VIDEO.replace("j0", f"j{number:04}"))

        await asyncio.gather(first, wait_on(h, job_id, 60))

        sent = zip(h.network.sent, h.network.sent_at, strict=True)
        looks = [at for request, at in sent if mine in request.url.path and at < 60]
        assert len(looks) > 5
        assert all(after - before > 4.4 for before, after in pairwise(looks))


@pytest.mark.parametrize("wait_s", [0, 50])
async def test_a_bug_in_a_read_is_raised_and_not_waited_out(tmp_path: Path, wait_s: int) -> None:
    """Else the wait would begin read after read, as fast as it can."""
    clock = VirtualClock()
    journal = Journal(SqliteStore(tmp_path, clock, Kernel().process()), clock.now)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(journal.close)
        video = GOOD["pixverse", "video"]
        new = NewSubmission("key", ORIGIN, "pixverse", "upscale_video", video, {}, 0)
        await journal.claim("key")
        row = await journal.count_post(await journal.insert(new), expected=0)
        outputs = OutputFolder(tmp_path)
        upstream = Upstream(Settings.read({}), clock, outputs)
        looks = 0

        async def look(row: Submission) -> Submission:
            nonlocal looks
            looks += 1
            raise KeyError("a bug")

        async def report(done: float, total: float | None, message: str) -> None: ...

        waiting = Poller(clock, upstream, journal, JobRepository(journal, outputs), look)

        with pytest.raises(KeyError):
            await (waiting.wait(row.id, wait_s, report) if wait_s else waiting.read(row.id))

        assert 1 == looks


async def test_a_server_that_stops_ends_the_waits(tmp_path: Path) -> None:
    async with running(tmp_path, job_seconds=500) as h:
        job_id = await job_of(h)
        await asyncio.sleep(20)
        h.network.concerns = reading
        h.network.faults = [Fault(after_s=1000)]
        waiting = asyncio.create_task(h.call("get_job", job_id=job_id, wait_seconds=50))
        await asyncio.sleep(1)
    await asyncio.wait({waiting})

    assert now() < 25


async def answered_early(h: Harness, app: AppContext, tool: str, **arguments: Any) -> Reply:
    """What a call is answered whose server is about to stop 3 s after it began."""
    began_s, call = now(), asyncio.create_task(h.call(tool, **arguments))
    await asyncio.sleep(3)
    assert not call.done()
    app.jobs.answer_waiting()
    answer = await call
    assert now() - began_s < 4
    return answer


@pytest.mark.parametrize(
    ("tool", "given"),
    [
        ("get_job", {"wait_seconds": 50}),
        ("get_job", {}),  # asked again too early, it would be held
        ("download_media", {}),
    ],
)
async def test_who_waits_for_a_job_is_answered_when_the_server_is_about_to_stop(
    tmp_path: Path, tool: str, given: dict[str, Any]
) -> None:
    opened = Opened()
    async with running(tmp_path, job_seconds=3600, while_open=opened) as h:
        job_id = await job_of(h)
        await h.call("get_job", job_id=job_id)

        first = await answered_early(h, opened.app, tool, job_id=job_id, **given)
        began_s = now()
        again = await h.call("get_job", job_id=job_id, wait_seconds=50)

        assert now() - began_s < 1

    for answer in (first, again):
        assert ("running", job_id) == (answer.job["status"], answer.job["job_id"])
        assert answer.job["next"].startswith("get_job(")


async def test_a_job_of_which_nothing_is_known_is_read_once_before_the_server_stops(
    tmp_path: Path,
) -> None:
    opened = Opened()
    async with running(tmp_path, job_seconds=3600, while_open=opened) as h:
        job_id = await made_elsewhere(h)
        h.network.concerns = reading
        h.network.faults = [Fault(before_s=10)]

        call = asyncio.create_task(h.call("get_job", job_id=job_id, wait_seconds=50))
        await asyncio.sleep(3)
        opened.app.jobs.answer_waiting()
        answer = await call

    assert "running" == answer.job["status"]
    assert 1 == len(reads_at(h))


async def test_in_the_sandbox_the_first_look_comes_when_its_jobs_are_done(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_SANDBOX="true", USEAPI_SANDBOX_JOB_SECONDS="3") as h:
        job_id = await job_of(h)

        reply = await h.call("get_job", job_id=job_id, wait_seconds=50)

        assert 3 == pytest.approx(now(), abs=0.1)
        assert "completed" == reply.job["status"]


async def test_a_job_that_fails_is_told_with_its_reason(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        job_id = await job_of(h, source=dreamina_jobs.MODERATED_VIDEO)

        reply = await h.call("get_job", job_id=job_id, wait_seconds=50)

        assert "failed" == reply.job["status"]
        assert "2043" in reply.job["failure"]["message"]
