"""Several servers on one database: the same call at any of them is one job, whatever fails.

Time is real here, for the database has its own.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_server.sandbox.app import Sandbox
from mcp_server.sandbox.state import Conditions
from tests.support.harness import GOOD, Fault, Harness, Network, Reply, VirtualClock, running
from tests.support.limits import LONGEST_S
from tests.support.postgres import Cut, Wire, needs_postgres, schema_of, server, shared
from tests.support.team import team

pytestmark = needs_postgres

VIDEO = GOOD["pixverse", "video"]  # the vendor takes each repeat of it, and is paid for each


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@asynccontextmanager
async def replicas(
    folder: Path, number: int, url: str, *, sandbox: Sandbox | None = None, **settings: Any
) -> AsyncIterator[list[Harness]]:
    """So many servers of one account, each with a disk of its own."""
    clock = VirtualClock()
    sandbox = sandbox or Sandbox(job_seconds=0.5, now=clock.now)
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                running(
                    folder / str(n),
                    clock=clock,
                    sandbox=sandbox,
                    network=Network(sandbox),
                    USEAPI_DATABASE_URL=url,
                    **settings,
                )
            )
            for n in range(number)
        ]


def with_slots(number: int) -> Sandbox:
    """A vendor whose accounts run so many jobs at once."""
    now = VirtualClock().now
    return Sandbox(job_seconds=0.5, now=now, conditions=Conditions(slots=number))


def posts(servers: list[Harness]) -> int:
    return sum(len(each.posts()) for each in servers)


def gets(servers: list[Harness]) -> int:
    return sum(len(each.network.sent) - len(each.posts()) for each in servers)


async def upscale_in_the_end(at: Harness) -> Reply:
    """The answer to a call that is made again as long as the answer says so."""
    async with asyncio.timeout(LONGEST_S):
        while True:
            reply = await at.call("upscale_video", source=VIDEO)
            if not reply.is_error or not reply.error["retryable"]:
                return reply
            await asyncio.sleep(0.1)


async def test_the_same_call_at_several_servers_is_one_job(
    runner: asyncio.Runner, tmp_path: Path
) -> None:
    async with replicas(tmp_path, 3, schema_of(tmp_path)) as servers:
        for each in servers:
            each.network.faults = [Fault(before_s=0.3, after_s=0.3)]
        calls = [each.call("upscale_video", source=VIDEO) for each in servers * 2]
        replies = await asyncio.gather(*calls)
        (job_id,) = {reply.job["job_id"] for reply in replies}
        ended = [await each.call("get_job", job_id=job_id, wait_seconds=20) for each in servers]
        lists = [await each.call("list_jobs") for each in servers]

    assert 1 == posts(servers)
    assert ["completed"] * 3 == [reply.job["status"] for reply in ended]
    assert [1] * 3 == [len((reply.data or {})["jobs"]) for reply in lists]


async def test_a_job_that_one_server_reads_is_not_read_by_the_others(
    runner: asyncio.Runner, tmp_path: Path
) -> None:
    sandbox = Sandbox(job_seconds=600, now=VirtualClock().now)
    async with replicas(tmp_path, 3, schema_of(tmp_path), sandbox=sandbox) as servers:
        job_id = (await servers[0].call("upscale_video", source=VIDEO)).job["job_id"]
        before = gets(servers)
        replies = await asyncio.gather(*(each.call("get_job", job_id=job_id) for each in servers))

    assert ["running"] * 3 == [reply.job["status"] for reply in replies]
    assert 1 == gets(servers) - before


async def test_who_waits_is_told_of_an_end_that_another_server_read(
    runner: asyncio.Runner, tmp_path: Path
) -> None:
    async with replicas(tmp_path, 2, schema_of(tmp_path)) as (waits, reads):
        job_id = (await reads.call("upscale_video", source=VIDEO)).job["job_id"]
        waiting = asyncio.create_task(waits.call("get_job", job_id=job_id, wait_seconds=14))
        async with asyncio.timeout(LONGEST_S):
            while (await reads.call("get_job", job_id=job_id)).job["status"] == "running":
                pass  # a call too early is held
        reply = await waiting

    assert "completed" == reply.job["status"]
    assert 0 == gets([waits])


async def test_a_server_that_stops_leaves_its_work_to_the_others(
    runner: asyncio.Runner, tmp_path: Path
) -> None:
    url = schema_of(tmp_path)
    async with replicas(tmp_path / "stays", 1, url) as (stays,):
        async with replicas(tmp_path / "stops", 1, url) as (stops,):
            stops.network.faults = [Fault(connect_s=LONGEST_S)]
            waiting = asyncio.create_task(stops.call("upscale_video", source=VIDEO))
            while stops.network.faults:  # noqa: ASYNC110 - it is taken when it connects
                await asyncio.sleep(0.05)
            waiting.cancel()
            await asyncio.wait({waiting})
        reply = await upscale_in_the_end(stays)

    assert not stops.posts()
    assert 1 == len(stays.posts())
    assert "running" == reply.job["status"]


async def test_a_server_that_starts_before_its_database_submits_as_soon_as_it_is_there(
    runner: asyncio.Runner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with server(fsync="off") as database:
        url = database.create("journal")
        database.stop()
        async with replicas(tmp_path, 1, url) as (only,):
            refused = await only.call("upscale_video", source=VIDEO)
            read = await only.call("list_jobs")
            sent_before = posts([only])
            database.start()
            reply = await upscale_in_the_end(only)

    assert ("journal_busy", True) == (refused.error["code"], refused.error["retryable"])
    assert "can't be used now" in refused.text
    assert 0 == sent_before
    assert not reply.is_error
    assert 1 == posts([only])
    assert "canary-password" not in refused.text + read.text + caplog.text
    assert "Paid calls are refused until then." in caplog.text


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("after", range(1, 7))
async def test_a_connection_that_is_cut_at_any_commit_of_a_submission_costs_nothing(
    runner: asyncio.Runner, tmp_path: Path, after: int, lost: Cut
) -> None:
    wire = Wire(shared())
    url = schema_of(tmp_path)
    async with wire.listening() as by_way:
        schema = url.rpartition("%3D")[2]
        async with replicas(tmp_path, 1, by_way.dsn(schema=schema)) as (only,):
            untouched: list[Cut] = ["none"] * (after - 1)
            wire.cuts = [*untouched, lost]
            reply = await upscale_in_the_end(only)
            again = await upscale_in_the_end(only)

    assert 1 == posts([only])
    assert reply.job["job_id"] == again.job["job_id"]


async def test_no_users_budget_is_exceeded_by_fifty_calls_at_once_at_two_servers(
    runner: asyncio.Runner, tmp_path: Path
) -> None:
    """A clip of Dreamina's costs 115 credits in the sandbox."""
    wish = {"prompt": "a cat", "service": "dreamina"}
    settings: dict[str, Any] = {
        "USEAPI_DATABASE_URL": schema_of(tmp_path),
        "USEAPI_MAX_CREDITS_PER_USER_PER_DAY": "350",
    }
    sandbox = Sandbox(job_seconds=600, now=VirtualClock().now)
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(team(tmp_path / name, sandbox=sandbox, **settings))
            for name in ("one", "two")
        ]
        users = [
            [await stack.enter_async_context(each.caller(name)) for each in servers]
            for name in ("alice", "bob")
        ]
        replies = await asyncio.gather(
            *(
                caller.call("generate_video", variation=50 * number + n, **wish)
                for number, callers in enumerate(users, 1)
                for n, caller in enumerate(callers * 25)
            )
        )

    for of_one in (replies[:50], replies[50:]):
        assert 3 == len({each.job["job_id"] for each in of_one if not each.is_error})
        assert ["budget_spent"] * 47 == [each.error["code"] for each in of_one if each.is_error]
    assert 6 == len(sandbox.accepted)


async def test_several_servers_send_what_waits_once_and_never_more_than_there_are_slots(
    runner: asyncio.Runner, tmp_path: Path
) -> None:
    async with replicas(
        tmp_path, 3, schema_of(tmp_path), sandbox=with_slots(2), USEAPI_QUEUE_SECONDS="600"
    ) as servers:
        calls = [
            servers[number % 3].call("generate_video", prompt=f"cat {number}", service="pixverse")
            for number in range(9)
        ]
        ids = [reply.job["job_id"] for reply in await asyncio.gather(*calls)]
        async with asyncio.timeout(LONGEST_S):
            while 9 > len(servers[0].sandbox.accepted):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.1)
            jobs = [await servers[0].call("get_job", job_id=i, wait_seconds=20) for i in ids]

    assert {"completed"} == {reply.job["status"] for reply in jobs}
    assert 9 == posts(servers) == len(servers[0].sandbox.accepted)


async def test_what_a_server_left_in_the_queue_is_sent_by_another(
    runner: asyncio.Runner, tmp_path: Path
) -> None:
    url = schema_of(tmp_path)
    settings: dict[str, Any] = {"sandbox": with_slots(1), "USEAPI_QUEUE_SECONDS": "600"}
    async with replicas(tmp_path / "stays", 1, url, **settings) as (stays,):
        async with replicas(tmp_path / "stops", 1, url, **settings) as (stops,):
            first = await stops.call("generate_video", prompt="one", service="pixverse")
            waits = await stops.call("generate_video", prompt="two", service="pixverse")
        async with asyncio.timeout(LONGEST_S):
            while not stays.posts():  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.1)

    assert ["running", "queued"] == [reply.job["status"] for reply in (first, waits)]
    assert (1, 1) == (len(stops.posts()), len(stays.posts()))
