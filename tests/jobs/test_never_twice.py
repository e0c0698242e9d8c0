"""Nothing is paid for twice: each sequence that once did so, and its kind.

Findings M1 to M4, M6, M10, M12 and M15 of the review, and what kills the mutants of those lines.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.types import ElicitRequestParams, ElicitResult

from mcp_server.jobs.repository import key_of
from mcp_server.models import OperationName
from mcp_server.sandbox import dreamina as dreamina_jobs
from mcp_server.services import base as services
from mcp_server.services.registry import service_named
from tests.services.scripted import Says
from tests.support.harness import GOOD, ORIGIN, Fault, Harness, Reply, VirtualClock, running
from tests.support.processes import Kernel
from tests.support.vendors import (
    DREAMINA_IMAGE,
    DREAMINA_VIDEO,
    EMAIL,
    FLOW_VIDEO,
    PIXVERSE_VIDEO,
    Dreamina,
    GoogleFlow,
    PixVerse,
    Vendor,
    dreamina_id,
    pixverse_id,
)

LATER_S = 200.0  # every look has been made by then
CUT = Fault(gives_up_s=1, then="cut")  # after a second, while the vendor is still at work


async def ask(h: Harness, tool: str, source: str, **arguments: Any) -> Reply:
    """Call a paid tool; here alone stands what its argument for the source is called."""
    return await h.call(tool, source=source, **arguments)


async def upscale(h: Harness, source: str, **arguments: Any) -> Reply:
    return await ask(h, "upscale_video", source, **arguments)


async def known_ids(h: Harness) -> set[str]:
    """The ids of every job that list_jobs tells of."""
    return {job["job_id"] for job in (await h.call("list_jobs", limit=100)).job["jobs"]}


# M1, r01: a gateway's word is not the vendor's


def cloudflare(status: int = 502) -> httpx.Response:
    """What Cloudflare makes of its own errors for `Accept: application/json` (27 April 2026)."""
    return httpx.Response(
        status,
        json={
            "type": "https://developers.cloudflare.com/support/troubleshooting/",
            "title": f"Error {status}: Bad gateway",
            "status": status,
            "detail": "The origin returned an invalid or incomplete response.",
            "retryable": True,
            "retry_after": 60,
            "cloudflare_error": True,
        },
        headers={"Retry-After": "60"},
    )


GATEWAYS: dict[str, Callable[[], httpx.Response]] = {
    "cloudflare 502": cloudflare,
    "cloudflare 500": lambda: cloudflare(500),
    "cloudflare 520": lambda: cloudflare(520),
    "cloudflare with an error": lambda: httpx.Response(
        503, json={"error": "Bad gateway", "cloudflare_error": True}
    ),
    "aws": lambda: httpx.Response(504, json={"message": "Endpoint request timed out"}),
    "aws 500": lambda: httpx.Response(500, json={"message": "Internal server error"}),
    "aws 503": lambda: httpx.Response(503, json={"message": "Service Unavailable"}),
    "kong": lambda: httpx.Response(
        503, json={"message": "failure to get a peer from the ring-balancer", "request_id": "f1"}
    ),
    "rfc 9457": lambda: httpx.Response(
        500,
        json={"type": "about:blank", "title": "Internal Server Error", "status": 500},
        headers={"Content-Type": "application/problem+json"},
    ),
    "rfc 9457 with an error": lambda: httpx.Response(
        500, json={"type": "about:blank", "title": "Oops", "status": 500, "error": "Oops"}
    ),
    "408": lambda: httpx.Response(408, json={"error": "Request timeout"}),
    "502 in the envelope": lambda: httpx.Response(502, json={"error": "Bad gateway"}),
    "504 in the envelope": lambda: httpx.Response(504, json={"error": "Gateway timeout"}),
    "524 in the envelope": lambda: httpx.Response(524, json={"error": "A timeout occurred"}),
    "html": lambda: httpx.Response(502, html="<html>502 Bad gateway</html>"),
    "json text": lambda: httpx.Response(500, json="upstream connect error"),
    "json list": lambda: httpx.Response(500, json=[{"error": "x"}]),
    "envoy text": lambda: httpx.Response(503, text="upstream connect error or disconnect"),
    "an error that is null": lambda: httpx.Response(500, json={"error": None}),
}
TAKEN: dict[str, Callable[[], httpx.Response]] = {
    "202 without an id": lambda: httpx.Response(202, json={"status": "queued"}),
    "200 with an error": lambda: httpx.Response(200, json={"error": "try later"}),
    "204": lambda: httpx.Response(204),
    "200 page": lambda: httpx.Response(200, html="<html>OK</html>"),
}


@pytest.mark.parametrize("gateway", [*GATEWAYS.values(), *TAKEN.values()], ids=[*GATEWAYS, *TAKEN])
async def test_a_gateways_answer_does_not_end_the_vendors_work(
    tmp_path: Path, gateway: Callable[[], httpx.Response]
) -> None:
    """Upscaling on Dreamina is refused a second time only once the first job is there: at 40 s."""
    vendor = Dreamina(work_s=40)
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(gives_up_s=1, then=gateway())]
        await upscale(h, DREAMINA_VIDEO)
        await asyncio.sleep(LATER_S)
        again = await upscale(h, DREAMINA_VIDEO)

    assert [30] == vendor.charged
    assert again.job["job_id"] in vendor.jobs


@pytest.mark.parametrize("gateway", [cloudflare, GATEWAYS["html"]], ids=["json", "html"])
async def test_a_4k_video_whose_answer_a_gateway_lost_is_paid_once_and_found(
    tmp_path: Path, gateway: Callable[[], httpx.Response]
) -> None:
    async with running(tmp_path, job_seconds=90) as h:
        h.network.faults = [Fault(before_s=30, gives_up_s=1, then=gateway())]
        await upscale(h, GOOD["google-flow", "video"], resolution="4K")
        await asyncio.sleep(LATER_S)
        listed = await known_ids(h)

    assert [1, 1] == [len(h.posts()), len(h.sandbox.accepted)]
    assert {h.sandbox.accepted[0].job_id} == listed


@pytest.mark.parametrize("error", ["Internal error", {"message": "Internal", "code": 13}])
async def test_the_vendors_own_envelope_does_end_its_work(tmp_path: Path, error: Any) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(reaches=False, then=httpx.Response(500, json={"error": error}))]
        reply = await upscale(h, DREAMINA_VIDEO)

    assert [10.0] == pytest.approx(vendor.posted_at, abs=1)
    assert reply.job["job_id"] in vendor.jobs


# M2, r09, r10, r20, r31, r32: the best of all candidates, never the first

TAKING = pytest.mark.parametrize(
    ("tool", "source"),
    [("upscale_video", PIXVERSE_VIDEO), ("upscale_image", DREAMINA_IMAGE)],
    ids=["pixverse", "dreamina image"],
)


def taking(source: str, **options: Any) -> PixVerse | Dreamina:
    return PixVerse(**options) if source == PIXVERSE_VIDEO else Dreamina(**options)


def strangers(vendor: PixVerse | Dreamina, age_s: float = 0, *, failed: bool = False) -> str:
    """The id of a job that somebody else had made of the same source."""
    if isinstance(vendor, PixVerse):
        return str(
            vendor.add(PIXVERSE_VIDEO, age_s=age_s, video_status=8 if failed else 5)["video_id"]
        )
    status = "failed" if failed else "created"
    return str(vendor.add("images/upscale", DREAMINA_IMAGE, age_s=age_s, status=status)["jobid"])


def ours(vendor: Vendor) -> str:
    """The job that our last request made."""
    return vendor.made[-1]


@TAKING
@pytest.mark.parametrize("tells_time", [True, False])
@pytest.mark.parametrize("age_s", [0, 90, 3600])
async def test_an_older_job_does_not_end_the_search_for_ours(
    tmp_path: Path, tool: str, source: str, age_s: float, tells_time: bool
) -> None:
    vendor = taking(source, work_s=20, tells_time=tells_time)
    async with running(tmp_path, vendor=vendor) as h:
        older = [strangers(vendor, age_s), strangers(vendor, age_s)]
        h.network.faults = [CUT]
        reply = await ask(h, tool, source)
        again = await ask(h, tool, source)
        listed = await known_ids(h)

    assert {ours(vendor)} == {reply.job["job_id"], again.job["job_id"]} == listed
    assert ours(vendor) not in older
    assert "reused" not in reply.job
    assert 1 == len(vendor.charged)


@TAKING
async def test_of_two_jobs_that_are_both_new_the_first_is_ours(
    tmp_path: Path, tool: str, source: str
) -> None:
    """A stranger's request came a second after ours, and both are listed at the first look."""
    vendor = taking(source)
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(then="cut")]
        calling = asyncio.create_task(ask(h, tool, source))
        await asyncio.sleep(1)
        strangers(vendor)
        told = await calling

    assert ours(vendor) == told.job["job_id"]


@TAKING
@pytest.mark.parametrize("age_s", [0, 60, 90])
async def test_a_strangers_failed_job_is_not_ours_and_frees_nothing(
    tmp_path: Path, tool: str, source: str, age_s: float
) -> None:
    vendor = taking(source, work_s=20)
    async with running(tmp_path, vendor=vendor) as h:
        strangers(vendor, age_s, failed=True)
        h.network.faults = [CUT]
        await ask(h, tool, source)
        again = await ask(h, tool, source)

    assert ours(vendor) == again.job["job_id"]
    assert 1 == len(vendor.posted_at)


async def test_a_strangers_job_that_fails_beside_ours_is_not_ours(tmp_path: Path) -> None:
    """Made after our request left, so only its failure tells that ours may still appear."""
    vendor = PixVerse(work_s=30)
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [CUT]
        calling = asyncio.create_task(upscale(h, PIXVERSE_VIDEO))
        await asyncio.sleep(1.5)
        strangers(vendor, failed=True)
        await calling
        await asyncio.sleep(LATER_S)
        again = await upscale(h, PIXVERSE_VIDEO)

    assert ours(vendor) == again.job["job_id"]
    assert 1 == len(vendor.posted_at)


async def test_a_failed_job_with_anothers_reference_does_not_keep_ours_from_being_made(
    tmp_path: Path,
) -> None:
    """Ours went out with a reference of its own, so this one is certainly not it."""
    vendor = GoogleFlow()
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(reaches=False, then=httpx.Response(500, json={"error": "x"}))]
        calling = asyncio.create_task(upscale(h, FLOW_VIDEO))
        await asyncio.sleep(1)
        request = {"mediaGenerationId": FLOW_VIDEO, "replyRef": "theirs"}
        vendor.add(FLOW_VIDEO, request=request, status="failed", error="PUBLIC_ERROR_UNSAFE")
        told = await calling

    assert ours(vendor) == told.job["job_id"]


@pytest.mark.parametrize("how", ["the same call", "get_job"])
async def test_a_strangers_job_that_was_taken_for_ours_and_fails_frees_nothing(
    tmp_path: Path, how: str
) -> None:
    """It was found by what it does while ours was not there yet: its failure is not ours."""
    vendor = PixVerse(work_s=100)
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [CUT]
        calling = asyncio.create_task(upscale(h, PIXVERSE_VIDEO))
        await asyncio.sleep(1.5)
        theirs = strangers(vendor)
        taken = await calling
        vendor.jobs[theirs]["video_status"] = 8
        if how == "get_job":
            read = await h.call("get_job", job_id=theirs)
        else:
            read = await upscale(h, PIXVERSE_VIDEO)
        await asyncio.sleep(LATER_S)
        again = await upscale(h, PIXVERSE_VIDEO)

    assert theirs == taken.job["job_id"]
    assert "unconfirmed" == read.job["status"]
    assert ours(vendor) == again.job["job_id"]
    assert 1 == len(vendor.posted_at)


async def test_when_a_strangers_job_fails_that_was_taken_for_ours_ours_is_found_at_once(
    tmp_path: Path,
) -> None:
    vendor = PixVerse(work_s=30)
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [CUT]
        calling = asyncio.create_task(upscale(h, PIXVERSE_VIDEO))
        await asyncio.sleep(1.5)
        theirs = strangers(vendor)
        taken = await calling
        await asyncio.sleep(60)
        vendor.jobs[theirs]["video_status"] = 8
        again = await upscale(h, PIXVERSE_VIDEO)

    assert [theirs, ours(vendor)] == [taken.job["job_id"], again.job["job_id"]]
    assert 1 == len(vendor.posted_at)


@TAKING
@pytest.mark.parametrize("wrong_s", [-3600.0, 3600.0])
@pytest.mark.parametrize("tells_time", [True, False])
async def test_whose_job_it_is_does_not_hang_on_our_clock(
    tmp_path: Path, tool: str, source: str, wrong_s: float, tells_time: bool
) -> None:
    clock = VirtualClock()
    clock.jump_s = wrong_s
    vendor = taking(source, work_s=20, tells_time=tells_time)
    async with running(tmp_path, vendor=vendor, clock=clock) as h:
        strangers(vendor, 1800, failed=True)
        strangers(vendor, 1800)
        h.network.faults = [CUT]
        reply = await ask(h, tool, source)

    assert (ours(vendor), None) == (reply.job["job_id"], reply.job.get("reused"))
    assert 1 == len(vendor.posted_at)


@pytest.mark.parametrize(
    ("ahead_s", "tells_time"), [(-60.0, False), (60.0, False), (-3600.0, True), (3600.0, True)]
)
async def test_our_own_job_is_not_told_as_an_earlier_one_where_clocks_differ(
    tmp_path: Path, ahead_s: float, tells_time: bool
) -> None:
    """Two minutes are assumed where the vendor does not tell its time."""
    vendor = Dreamina(ahead_s=ahead_s, tells_time=tells_time)
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(then="cut")]
        reply = await upscale(h, DREAMINA_VIDEO)

    assert (ours(vendor), None) == (reply.job["job_id"], reply.job.get("reused"))


async def test_by_the_vendors_own_clock_a_job_of_a_minute_ago_is_an_earlier_one(
    tmp_path: Path,
) -> None:
    vendor = Dreamina(ahead_s=-3600, tells_time=True)
    async with running(tmp_path, vendor=vendor) as h:
        older = vendor.add("videos/upscale", DREAMINA_VIDEO, age_s=60)["jobid"]
        h.network.faults = [Fault(reaches=False, then="cut")]
        reply = await upscale(h, DREAMINA_VIDEO)

    assert (older, True) == (reply.job["job_id"], reply.job.get("reused"))
    assert [] == vendor.posted_at


@pytest.mark.parametrize("source", [PIXVERSE_VIDEO, DREAMINA_VIDEO])
@pytest.mark.parametrize("jump_s", [3600, -3600])
async def test_a_clock_that_is_set_between_submit_and_look_changes_nothing(
    tmp_path: Path, source: str, jump_s: float
) -> None:
    clock = VirtualClock()
    vendor = taking(source, work_s=20, tells_time=True)
    async with running(tmp_path, vendor=vendor, clock=clock) as h:
        h.network.faults = [CUT]
        calling = asyncio.create_task(upscale(h, source))
        await asyncio.sleep(3)
        clock.jump_s = jump_s
        reply = await calling

    assert (ours(vendor), None) == (reply.job["job_id"], reply.job.get("reused"))


async def test_what_a_request_that_was_given_up_made_is_not_the_next_ones(tmp_path: Path) -> None:
    vendor = PixVerse(work_s=70)
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [CUT]
        vendor.instead["GET /v2/pixverse/videos"] = Says({"error": "x"}, 500)
        first = await upscale(h, PIXVERSE_VIDEO)
        await asyncio.sleep(LATER_S)
        await h.call("cancel_job", job_id=first.job["job_id"])
        vendor.instead.clear()
        vendor.work_s = 20
        h.network.faults = [CUT]
        second = await upscale(h, PIXVERSE_VIDEO)
        again = await upscale(h, PIXVERSE_VIDEO)

    assert 2 == len(vendor.charged)
    assert {ours(vendor)} == {second.job["job_id"], again.job["job_id"]}


async def test_what_could_not_be_read_beforehand_is_not_taken_for_ours_afterwards(
    tmp_path: Path,
) -> None:
    """A stranger's record that is unreadable just when the ids that exist are noted."""
    vendor = Dreamina(work_s=20, tells_time=True)
    async with running(tmp_path, vendor=vendor) as h:
        older = strangers(vendor, 300)
        busy = Says({"error": "x"}, 500)
        vendor.instead[f"GET /v1/dreamina/images/{older}"] = [busy] * 3
        h.network.faults = [CUT]
        reply = await ask(h, "upscale_image", DREAMINA_IMAGE)
        again = await ask(h, "upscale_image", DREAMINA_IMAGE)

    assert {ours(vendor)} == {reply.job["job_id"], again.job["job_id"]}


async def test_a_request_is_sent_though_what_exists_can_not_be_read(tmp_path: Path) -> None:
    vendor = PixVerse()
    async with running(tmp_path, vendor=vendor) as h:
        vendor.instead["GET /v2/pixverse/videos?"] = Says(b"<html>", 502)
        reply = await upscale(h, PIXVERSE_VIDEO)
        elapsed = asyncio.get_running_loop().time()

    assert ours(vendor) == reply.job["job_id"]
    assert elapsed < 20


async def test_of_several_pages_of_newer_videos_ours_is_found(tmp_path: Path) -> None:
    """GET /videos shows forty; what others made meanwhile has pushed ours to the second page."""
    vendor = PixVerse(tells_time=True)
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(then="cut")]
        calling = asyncio.create_task(upscale(h, PIXVERSE_VIDEO))
        await asyncio.sleep(1)
        made = ours(vendor)
        for _ in range(45):
            vendor.add(pixverse_id(2))
        reply = await calling

    assert made == reply.job["job_id"]
    assert any("offset=40" in asked for asked in vendor.asked)


async def test_what_is_older_than_the_noted_page_is_not_ours(tmp_path: Path) -> None:
    """Forty videos were noted, so one further back is older than all of them."""
    vendor = PixVerse(work_s=20)
    async with running(tmp_path, vendor=vendor) as h:
        older = strangers(vendor, 300)
        others = [vendor.add(pixverse_id(2), age_s=10 + n)["video_id"] for n in range(45)]
        h.network.faults = [CUT]
        calling = asyncio.create_task(upscale(h, PIXVERSE_VIDEO))
        await asyncio.sleep(1.5)
        for other in others:  # deleted, so that the older one is on the first page now
            del vendor.jobs[other]
        await calling
        again = await upscale(h, PIXVERSE_VIDEO)

    assert older != ours(vendor) == again.job["job_id"]


@TAKING
async def test_a_list_that_never_shows_ours_leaves_it_unconfirmed(
    tmp_path: Path, tool: str, source: str
) -> None:
    """An older job does the same, and is named; where a repeat is charged it is no answer."""
    vendor = taking(source)
    async with running(tmp_path, vendor=vendor) as h:
        older = strangers(vendor, 3600)
        h.network.faults = [Fault(reaches=False, then="cut")]
        await ask(h, tool, source)
        await asyncio.sleep(LATER_S)
        again = await ask(h, tool, source)

    assert "unconfirmed" == again.job["status"]
    assert older in again.text
    assert [] == vendor.posted_at


# M3, r08, r19: what can't be read is no proof that nothing is there


def record_is_an_error(vendor: GoogleFlow, job_id: str) -> None:
    vendor.instead[f"GET /v1/google-flow/jobs/{job_id}"] = Says({"error": "Unavailable"})


def record_is_empty(vendor: GoogleFlow, job_id: str) -> None:
    vendor.instead[f"GET /v1/google-flow/jobs/{job_id}"] = Says({})


def record_is_gone(vendor: GoogleFlow, job_id: str) -> None:
    vendor.instead[f"GET /v1/google-flow/jobs/{job_id}"] = Says({"error": "Gone"}, 410)


def record_is_forbidden(vendor: GoogleFlow, job_id: str) -> None:
    vendor.instead[f"GET /v1/google-flow/jobs/{job_id}"] = Says({"error": "Forbidden"}, 403)


def request_is_empty(vendor: GoogleFlow, job_id: str) -> None:
    vendor.jobs[job_id]["request"] = {}


def request_is_no_object(vendor: GoogleFlow, job_id: str) -> None:
    vendor.jobs[job_id]["request"] = "upscale"


def request_names_no_source(vendor: GoogleFlow, job_id: str) -> None:
    vendor.jobs[job_id]["request"] = {"async": True}


def id_is_of_a_new_form(vendor: GoogleFlow, job_id: str) -> None:
    vendor.jobs["gf-1-" + EMAIL] = vendor.jobs.pop(job_id)


def section_is_missing(vendor: GoogleFlow, job_id: str) -> None:
    vendor.instead["GET /v1/google-flow/jobs?"] = Says({"videos": {"summary": {EMAIL: 1}}})


def one_section_is_missing(vendor: GoogleFlow, job_id: str) -> None:
    vendor.instead["GET /v1/google-flow/jobs?options=executing"] = Says({"videos": {}})


def one_list_can_not_be_read(vendor: GoogleFlow, job_id: str) -> None:
    vendor.instead["GET /v1/google-flow/jobs?options=executing"] = Says({"error": "x"}, 500)


def one_group_is_no_object(vendor: GoogleFlow, job_id: str) -> None:
    vendor.instead["GET /v1/google-flow/jobs?options=executing"] = Says(
        {"videos": [], "combined": {"executing": {}}}
    )


UNREADABLE = pytest.mark.parametrize(
    "spoil",
    [
        record_is_an_error,
        record_is_empty,
        record_is_gone,
        record_is_forbidden,
        request_is_empty,
        request_is_no_object,
        request_names_no_source,
        id_is_of_a_new_form,
        section_is_missing,
        one_section_is_missing,
        one_list_can_not_be_read,
        one_group_is_no_object,
    ],
)


@UNREADABLE
@pytest.mark.parametrize("resolution", ["1080p", "4K"])
async def test_evidence_that_can_not_be_read_is_not_absence(
    tmp_path: Path, spoil: Callable[[GoogleFlow, str], None], resolution: str
) -> None:
    vendor = GoogleFlow()
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(then=httpx.Response(500, json={"error": "x"}))]
        calling = asyncio.create_task(upscale(h, FLOW_VIDEO, resolution=resolution))
        await asyncio.sleep(0.5)
        spoil(vendor, ours(vendor))
        reply = await calling
        again = await upscale(h, FLOW_VIDEO, resolution=resolution)

    assert 1 == len(vendor.posted_at)
    assert "unconfirmed" == reply.job["status"] == again.job["status"]
    assert "did not list it" not in reply.text


async def test_an_answer_with_a_job_id_of_an_unknown_form_is_not_sent_again(
    tmp_path: Path,
) -> None:
    """The documents warrant no form of job ids."""
    vendor = GoogleFlow()
    new_form = f"gf-1-{EMAIL}-bot:google-flow"
    async with running(tmp_path, vendor=vendor) as h:
        vendor.instead["POST "] = Says({"jobid": new_form, "status": "created"}, 201)
        vendor.add(FLOW_VIDEO, jobid=new_form)
        for resolution in ("1080p", "4K"):
            await upscale(h, FLOW_VIDEO, resolution=resolution)
            await asyncio.sleep(LATER_S)

    assert 2 == len(vendor.posted_at)


async def test_google_flow_lists_that_are_read_whole_do_prove_absence(tmp_path: Path) -> None:
    vendor = GoogleFlow()
    vendor.add(FLOW_VIDEO + "x")
    vendor.add(FLOW_VIDEO, request={"mediaGenerationId": FLOW_VIDEO, "resolution": "720p"})
    vendor.add("", request={"prompt": "A windmill"})
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(reaches=False, then=httpx.Response(500, json={"error": "x"}))]
        reply = await upscale(h, FLOW_VIDEO)

    assert [10.0] == pytest.approx(vendor.posted_at, abs=1)
    assert ours(vendor) == reply.job["job_id"]


def scheduler_is_partial(vendor: Dreamina) -> None:
    vendor.instead["GET /v1/dreamina/scheduler"] = Says({"executing": {}, "total": 1})


def scheduler_has_no_list(vendor: Dreamina) -> None:
    vendor.instead["GET /v1/dreamina/scheduler"] = Says({"executing": {f"CA:{EMAIL}": None}})


def scheduler_has_strange_entries(vendor: Dreamina) -> None:
    entries = {f"CA:{EMAIL}": [{"jobid": "dreamina/1"}]}
    vendor.instead["GET /v1/dreamina/scheduler"] = Says({"executing": entries, "total": 1})


def echo_names_no_source(vendor: Dreamina) -> None:
    vendor.jobs[ours(vendor)]["request"] = {"replyRef": "x"}


def echo_is_missing(vendor: Dreamina) -> None:
    del vendor.jobs[ours(vendor)]["request"]


@pytest.mark.parametrize(
    "spoil",
    [
        scheduler_is_partial,
        scheduler_has_no_list,
        scheduler_has_strange_entries,
        echo_names_no_source,
        echo_is_missing,
    ],
)
async def test_a_scheduler_that_can_not_be_understood_is_not_absence(
    tmp_path: Path, spoil: Callable[[Dreamina], None]
) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(then=httpx.Response(500, json={"error": "x"}))]
        calling = asyncio.create_task(upscale(h, DREAMINA_VIDEO))
        await asyncio.sleep(0.5)
        spoil(vendor)
        reply = await calling

    assert 1 == len(vendor.posted_at)
    assert "unconfirmed" == reply.job["status"]


# M4, r25: no probe inside of the vendor's working time


@pytest.mark.parametrize(
    ("work_s", "gives_up_s", "arguments"),
    [(100, 1, {"captcha_retry": 10}), (200, 100, {}), (50, 1, {}), (600, 1, {})],
)
async def test_a_4k_video_is_never_sent_once_more(
    tmp_path: Path, work_s: float, gives_up_s: float, arguments: dict[str, Any]
) -> None:
    """Google Flow solves up to ten captchas first, and each may take a minute."""
    vendor = GoogleFlow(work_s=work_s)
    async with running(tmp_path, vendor=vendor) as h:
        page = httpx.Response(524, html="<html>524 A timeout occurred</html>")
        h.network.faults = [Fault(gives_up_s=gives_up_s, then=page)]
        await upscale(h, FLOW_VIDEO, resolution="4K", **arguments)
        await asyncio.sleep(1000)
        again = await upscale(h, FLOW_VIDEO, resolution="4K", **arguments)

    assert [50] == vendor.charged
    assert ours(vendor) == again.job["job_id"]


# M6, r03, r23: a yes is for one new job


class User:
    """Says yes to every price, and remembers being asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, context: Any, asked: ElicitRequestParams) -> ElicitResult:
        self.asked.append(asked.message)
        return ElicitResult(action="accept", content={"confirm": True})

    def on(self, mode: str) -> dict[str, Any]:
        return {"mode": mode, "elicitation_callback": self}


ERAS = pytest.mark.parametrize("mode", ["legacy", "auto"])
ASKS: dict[str, Any] = {"USEAPI_CONFIRM_CREDITS": "50"}


@ERAS
async def test_a_job_that_failed_is_not_made_again_without_a_yes(tmp_path: Path, mode: str) -> None:
    user = User()
    async with running(tmp_path, client_options=user.on(mode), **ASKS) as h:
        moderated = dreamina_jobs.MODERATED_VIDEO
        await ask(h, "interpolate_video", moderated, fps=60)
        await asyncio.sleep(60)  # it fails, and nobody has read that
        await ask(h, "interpolate_video", moderated, fps=60)

    assert [2, 2] == [len(user.asked), len(h.posts())]


@ERAS
async def test_a_job_that_expired_is_not_made_again_without_a_yes(
    tmp_path: Path, mode: str
) -> None:
    user = User()
    async with running(tmp_path, client_options=user.on(mode), **ASKS) as h:
        source = GOOD["google-flow", "video"]
        first = await upscale(h, source, resolution="4K")
        await h.call("get_job", job_id=first.job["job_id"], wait_seconds=50)
        await asyncio.sleep(8 * 86_400)  # it keeps jobs for 7 days
        await upscale(h, source, resolution="4K")

    assert [2, 2] == [len(user.asked), len(h.posts())]


@ERAS
async def test_nobody_is_asked_about_a_request_that_is_looked_for(
    tmp_path: Path, mode: str
) -> None:
    """Nor does the question free its key: it would be paid for twice."""
    user, vendor = User(), GoogleFlow()
    async with running(tmp_path, vendor=vendor, client_options=user.on(mode), **ASKS) as h:
        h.network.faults = [CUT, CUT]
        vendor.work_s = 300
        await upscale(h, FLOW_VIDEO, resolution="4K")
        await asyncio.sleep(LATER_S)
        unconfirmed = await upscale(h, FLOW_VIDEO, resolution="4K")
        await asyncio.sleep(300)
        found = await upscale(h, FLOW_VIDEO, resolution="4K")

    assert "unconfirmed" == unconfirmed.job["status"]
    assert ours(vendor) == found.job["job_id"]
    assert [1, 1] == [len(user.asked), len(vendor.charged)]


async def test_a_job_that_fails_after_it_was_seen_to_stand_is_not_made_again_without_a_yes(
    tmp_path: Path,
) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor, **ASKS) as h:
        await ask(h, "interpolate_video", DREAMINA_VIDEO, fps=60, max_credits=66)
        h.network.concerns = lambda request: request.method == "GET"
        h.network.faults = [Fault(), Fault(before_s=5)]
        calling = asyncio.create_task(ask(h, "interpolate_video", DREAMINA_VIDEO, fps=60))
        await asyncio.sleep(1)
        vendor.jobs[ours(vendor)]["status"] = "failed"
        refused = await calling
        after = await ask(h, "interpolate_video", DREAMINA_VIDEO, fps=60, max_credits=66)

    assert ("consent_needed", True) == (refused.error["code"], refused.error["retryable"])
    assert "about 66 credits" in refused.text
    assert vendor.made[1:] == [after.job["job_id"]]


@pytest.mark.parametrize("is_elsewhere", [True, False])
async def test_nobody_is_asked_about_a_call_that_still_connects(
    tmp_path: Path, is_elsewhere: bool
) -> None:
    """Another process is at it; or this one is, whose lock file went."""
    user, kernel = User(), Kernel()
    options = user.on("legacy")
    async with (
        running(tmp_path, locks=kernel.process(), client_options=options, **ASKS) as one,
        another_server(tmp_path, one, kernel, client_options=options, **ASKS) as other,
    ):
        one.network.faults = [Fault(connect_s=20)]
        call = {"source": GOOD["dreamina", "video"], "fps": 60}
        calling = asyncio.create_task(one.call("interpolate_video", **call))
        await asyncio.sleep(1)
        if not is_elsewhere:
            kernel.lose_all()
        await (other if is_elsewhere else one).call("interpolate_video", **call)
        await calling

    assert 1 == len(user.asked)


@ERAS
async def test_a_row_that_was_never_sent_is_not_sent_without_a_yes(
    tmp_path: Path, mode: str
) -> None:
    user, kernel = User(), Kernel()
    async with running(tmp_path, locks=kernel.process(), client_options=user.on(mode), **ASKS) as h:
        await leave_while_it_connects(h, "interpolate_video", dreamina_jobs.GOOD_VIDEO, fps=60)
    async with another_server(tmp_path, h, kernel, client_options=user.on(mode), **ASKS) as h:
        await ask(h, "interpolate_video", dreamina_jobs.GOOD_VIDEO, fps=60)

    assert [2, 1] == [len(user.asked), len(h.posts())]


@pytest.mark.parametrize("agreed_first", [False, True])
async def test_of_two_callers_one_yes_is_enough(tmp_path: Path, agreed_first: bool) -> None:
    """Both join what is under way; that the job failed is found out when both are there."""
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor, **ASKS) as h:
        await ask(h, "interpolate_video", DREAMINA_VIDEO, fps=60, max_credits=66)
        h.network.concerns = lambda request: request.method == "GET"
        stands = [] if agreed_first else [Fault()]  # who did not agree is told that it stands
        h.network.faults = [*stands, Fault(before_s=5)]
        yes: dict[str, Any] = {"max_credits": 66}
        first, second = (yes, {}) if agreed_first else ({}, yes)
        calling = asyncio.create_task(ask(h, "interpolate_video", DREAMINA_VIDEO, fps=60, **first))
        await asyncio.sleep(1)
        vendor.jobs[ours(vendor)]["status"] = "failed"
        later = await ask(h, "interpolate_video", DREAMINA_VIDEO, fps=60, **second)
        earlier = await calling

    assert vendor.made[1] == earlier.job["job_id"] == later.job["job_id"]
    assert 2 == len(vendor.made)


async def test_a_row_that_was_never_sent_counts_on_the_day_it_is_sent(tmp_path: Path) -> None:
    kernel = Kernel()
    budget: dict[str, Any] = {"USEAPI_MAX_CREDITS_PER_DAY": "30"}
    async with running(tmp_path, locks=kernel.process(), **budget) as h:
        await leave_while_it_connects(h, "upscale_video", dreamina_jobs.GOOD_VIDEO)
    await asyncio.sleep(86_400)
    async with another_server(tmp_path, h, kernel, **budget) as h:
        videos = (
            dreamina_jobs.SECOND_VIDEO,
            dreamina_jobs.GOOD_VIDEO,
            dreamina_jobs.THIRD_VIDEO,
        )
        replies = [await upscale(h, video) for video in videos]

    assert [False, True, True] == [reply.is_error for reply in replies]
    assert 1 == len(h.sandbox.accepted)


async def leave_while_it_connects(h: Harness, tool: str, source: str, **arguments: Any) -> None:
    """A server that stops with a row in its journal of which no byte was sent."""
    h.network.faults = [Fault(connect_s=100)]
    caller = asyncio.create_task(ask(h, tool, source, **arguments))
    await asyncio.sleep(1)
    caller.cancel()


def another_server(folder: Path, h: Harness, kernel: Kernel, **more: Any) -> Any:
    """The next server on the same journal, with the same vendor."""
    return running(
        folder,
        sandbox=h.sandbox,
        network=h.network,
        clock=h.clock,
        locks=kernel.process(),
        **more,
    )


# M10, r14: a result without a job


async def test_a_result_without_a_job_is_returned_and_not_made_again(tmp_path: Path) -> None:
    vendor = GoogleFlow()
    vendor.instead["POST "] = Says(
        {
            "media": [
                {
                    "mediaGenerationId": FLOW_VIDEO + "_upsampled",
                    "videoUrl": "https://flow-content.google/x.mp4?Expires=1",
                    "mediaMetadata": {
                        "mediaStatus": {
                            "mediaGenerationStatus": "MEDIA_GENERATION_STATUS_SUCCESSFUL"
                        }
                    },
                }
            ],
            "remainingCredits": 100,
        }
    )
    async with running(tmp_path, vendor=vendor) as h:
        first, *others = [await upscale(h, FLOW_VIDEO, resolution="4K") for _ in range(3)]
        posts = len(vendor.posted_at)
        await asyncio.sleep(86_500)  # its link has long ended by then
        anew = await upscale(h, FLOW_VIDEO, resolution="4K")

    assert (1, 2) == (posts, len(vendor.posted_at))
    assert "reused" not in anew.job
    assert [True, True] == [reply.job.get("reused") for reply in others]
    assert {first.job["job_id"]} == {reply.job["job_id"] for reply in others}
    assert first.job["media"] == others[0].job["media"]


# M12, r13: a lock that is lost


@pytest.mark.parametrize("answer_s", [1.0, 60.0], ids=["answered", "on its way"])
async def test_of_two_servers_that_both_think_a_key_is_theirs_one_sends(
    tmp_path: Path, answer_s: float
) -> None:
    """The lock file was removed while the first connected: the journal must refuse it."""
    vendor, kernel = PixVerse(), Kernel()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(
            running(tmp_path, vendor=vendor, locks=kernel.process())
        )
        first.network.faults = [Fault(connect_s=3), Fault(after_s=answer_s)]
        slow = asyncio.create_task(upscale(first, PIXVERSE_VIDEO))
        await asyncio.sleep(1)
        kernel.holders.clear()
        second = await stack.enter_async_context(
            running(tmp_path, network=first.network, clock=first.clock, locks=kernel.process())
        )
        await upscale(second, PIXVERSE_VIDEO)
        await slow
        await asyncio.sleep(LATER_S)
        again = await upscale(second, PIXVERSE_VIDEO)

    assert 1 == len(vendor.charged)
    assert ours(vendor) == again.job["job_id"]


async def test_a_server_that_lost_its_key_does_not_end_the_row_of_its_successor(
    tmp_path: Path,
) -> None:
    """Both connect; the journal refuses the first, which must not free the key for a third."""
    vendor, kernel = PixVerse(work_s=20), Kernel()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(
            running(tmp_path, vendor=vendor, locks=kernel.process())
        )
        first.network.faults = [Fault(connect_s=3), Fault()]
        slow = asyncio.create_task(upscale(first, PIXVERSE_VIDEO))
        await asyncio.sleep(1)
        kernel.holders.clear()
        second = await stack.enter_async_context(
            running(tmp_path, network=first.network, clock=first.clock, locks=kernel.process())
        )
        quick = asyncio.create_task(upscale(second, PIXVERSE_VIDEO))
        refused = await slow
        again = await upscale(first, PIXVERSE_VIDEO)
        await quick

    assert refused.is_error
    assert "journal_unusable" == refused.error["code"]
    assert ours(vendor) == again.job["job_id"]
    assert 1 == len(vendor.charged)


async def test_a_lock_file_that_was_removed_is_not_locked_by_two(tmp_path: Path) -> None:
    """With the real locks: what goes out after the file is gone is refused by the journal."""
    vendor = PixVerse()
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(connect_s=3)]
        calling = asyncio.create_task(upscale(h, PIXVERSE_VIDEO))
        await asyncio.sleep(1)
        (tmp_path / "state" / "journal.lock").unlink()
        refused = await calling
        posts = list(vendor.posted_at)
        again = await upscale(h, PIXVERSE_VIDEO)

    assert "journal_unusable" == refused.error["code"]
    assert [] == posts
    assert ours(vendor) == again.job["job_id"]
    assert 1 == len(vendor.charged)


# M15, r16: a gateway's 404 frees nothing


GONE = pytest.mark.parametrize(
    "gone",
    [
        Says(b"<html>404 Not Found - nginx</html>", 404),
        Says({"message": "no Route matched with those values"}, 404),
        Says({"type": "about:blank", "title": "Not Found", "status": 404}, 404),
        Says(b"<html>410 Gone</html>", 410),
    ],
    ids=["nginx", "kong", "rfc 9457", "410"],
)


@GONE
async def test_a_gateways_404_does_not_free_a_completed_jobs_key(
    tmp_path: Path, gone: Says
) -> None:
    """Forty-one newer videos, so that the list does not show it either."""
    vendor = PixVerse()
    async with running(tmp_path, vendor=vendor) as h:
        first = await upscale(h, PIXVERSE_VIDEO)
        vendor.finish()
        await h.call("get_job", job_id=first.job["job_id"], wait_seconds=20)
        await asyncio.sleep(3700)
        for _ in range(41):
            vendor.add(0)
        vendor.instead[f"GET /v2/pixverse/videos/{first.job['job_id']}"] = gone
        again = await upscale(h, PIXVERSE_VIDEO)

    assert (first.job["job_id"], "completed") == (again.job["job_id"], again.job["status"])
    assert 1 == len(vendor.charged)


@GONE
async def test_a_gateways_404_does_not_free_a_finished_image(tmp_path: Path, gone: Says) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        first = await ask(h, "upscale_image", DREAMINA_IMAGE)
        vendor.jobs[ours(vendor)]["status"] = "completed"
        await h.call("get_job", job_id=first.job["job_id"], wait_seconds=20)
        await asyncio.sleep(2 * 86_400)
        vendor.instead["GET /v1/dreamina/images/"] = gone
        again = await ask(h, "upscale_image", DREAMINA_IMAGE)

    assert (first.job["job_id"], "completed") == (again.job["job_id"], again.job["status"])
    assert 1 == len(vendor.charged)


@pytest.mark.parametrize(
    "answer",
    [
        Says({"error": "x"}, 500),
        Says({"error": "Forbidden"}, 403),
        Says({"error": "x"}, 429),
        Says(b"<html>", 502),
        Says({"error": "Reconnect"}, 596),
        Says([]),
    ],
    ids=["500", "403", "429", "page", "596", "no record"],
)
async def test_an_error_on_reading_an_old_job_again_does_not_free_its_key(
    tmp_path: Path, answer: Says
) -> None:
    """Only that it is gone does, and only in the vendor's own words."""
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        first = await ask(h, "upscale_image", DREAMINA_IMAGE)
        vendor.jobs[ours(vendor)]["status"] = "completed"
        await h.call("get_job", job_id=first.job["job_id"], wait_seconds=20)
        await asyncio.sleep(2 * 86_400)
        vendor.instead["GET /v1/dreamina/images/"] = answer
        again = await ask(h, "upscale_image", DREAMINA_IMAGE)

    assert (first.job["job_id"], True) == (again.job["job_id"], again.job["reused"])
    assert 1 == len(vendor.charged)


# After a crash


@pytest.mark.parametrize(
    ("source", "more"),
    [(DREAMINA_VIDEO, {}), (FLOW_VIDEO, {"resolution": "1080p"})],
    ids=["dreamina", "google flow"],
)
async def test_after_a_crash_nothing_is_sent_before_a_minute_of_looks(
    tmp_path: Path, source: str, more: dict[str, Any]
) -> None:
    """How long ago its bytes left is told by a clock that may have been set since."""
    vendor: Vendor = Dreamina(work_s=50) if source == DREAMINA_VIDEO else GoogleFlow(work_s=50)
    kernel = Kernel()
    async with running(tmp_path, vendor=vendor, locks=kernel.process()) as h:
        caller = asyncio.create_task(upscale(h, source, **more))
        await asyncio.sleep(1)
        caller.cancel()
    stopped = asyncio.get_running_loop().time()
    async with running(tmp_path, network=h.network, clock=h.clock, locks=kernel.process()) as h:
        await upscale(h, source, **more)
        await asyncio.sleep(LATER_S)
        again = await upscale(h, source, **more)

    assert stopped < 20
    assert 1 == len(vendor.posted_at) == len(vendor.charged)
    assert ours(vendor) == again.job["job_id"]


async def test_what_is_unconfirmed_is_looked_for_and_not_sent(tmp_path: Path) -> None:
    """Once every look and the further request are used up."""
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(reaches=False, then="cut") for _ in range(9)]
        await upscale(h, DREAMINA_VIDEO)
        await asyncio.sleep(LATER_S)
        replies = []
        for _ in range(4):
            replies.append(await upscale(h, DREAMINA_VIDEO))
            await asyncio.sleep(LATER_S)

    assert {"unconfirmed"} == {reply.job["status"] for reply in replies}
    assert 2 == len(h.posts())


async def test_a_search_that_proved_nothing_is_not_made_good_by_a_later_look(
    tmp_path: Path,
) -> None:
    """A look much later may come after the job has ended: the scheduler lists only what runs."""
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(then="cut")]
        vendor.instead["GET /v1/dreamina/scheduler"] = Says({"error": "x"}, 500)
        first = await upscale(h, DREAMINA_VIDEO)
        await asyncio.sleep(LATER_S)
        vendor.instead.clear()
        vendor.jobs[ours(vendor)]["status"] = "completed"
        again = await upscale(h, DREAMINA_VIDEO)

    assert first.job["status"] in ("submitting", "unconfirmed")
    assert "unconfirmed" == again.job["status"]
    assert 1 == len(h.posts())


async def test_our_own_job_that_failed_is_not_absent(tmp_path: Path) -> None:
    """Its failure may be a stranger's, so it proves neither that ours is there nor that not."""
    vendor = GoogleFlow()
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(then=httpx.Response(500, json={"error": "x"}))]
        calling = asyncio.create_task(upscale(h, FLOW_VIDEO))
        await asyncio.sleep(0.5)
        vendor.jobs[ours(vendor)] |= {"status": "failed", "error": "moderated"}
        del vendor.jobs[ours(vendor)]["request"]["replyRef"]
        reply = await calling

    assert "unconfirmed" == reply.job["status"]
    assert ours(vendor) in reply.text
    assert 1 == len(vendor.posted_at)


async def test_our_own_job_that_failed_is_told_where_our_reference_proves_it(
    tmp_path: Path,
) -> None:
    vendor = GoogleFlow()
    async with running(tmp_path, vendor=vendor) as h:
        h.network.faults = [Fault(then=httpx.Response(500, json={"error": "x"}))]
        calling = asyncio.create_task(upscale(h, FLOW_VIDEO, resolution="4K"))
        await asyncio.sleep(0.5)
        vendor.jobs[ours(vendor)] |= {"status": "failed", "error": "PUBLIC_ERROR_UNSAFE"}
        reply = await calling
        again = await upscale(h, FLOW_VIDEO, resolution="4K")

    assert ("failed", "moderated") == (reply.job["status"], reply.job["failure"]["code"])
    assert "running" == again.job["status"]
    assert 2 == len(vendor.posted_at)


@pytest.mark.parametrize("known", ["the vendor's record", "the journal"])
async def test_an_earlier_job_that_failed_answers_nothing_whoever_knows_it(
    tmp_path: Path, known: str
) -> None:
    """The vendor's record of it may be late; the journal of another machine knows nothing."""
    vendor = GoogleFlow()
    async with running(tmp_path, vendor=vendor) as h:
        first = await upscale(h, FLOW_VIDEO)
        failed = first.job["job_id"]
        vendor.jobs[failed] |= {"status": "failed", "error": "moderated"}
        if known == "the journal":
            await h.call("get_job", job_id=failed)
            vendor.jobs[failed] |= {"status": "started"}
    folder = tmp_path if known == "the journal" else tmp_path / "another machine"
    async with running(folder, network=h.network, clock=h.clock) as h:
        await asyncio.sleep(300)
        vendor.work_s = 30
        h.network.faults = [CUT]
        await upscale(h, FLOW_VIDEO)
        second = await upscale(h, FLOW_VIDEO)

    assert failed != second.job["job_id"] == ours(vendor)
    assert 2 == len(vendor.posted_at)


async def test_a_request_that_connects_while_its_server_closes_never_leaves(
    tmp_path: Path,
) -> None:
    """Its key is about to be let go of, and the next server would send it as well."""
    from mcp_server.tools.context import open_app

    vendor = PixVerse()
    async with running(tmp_path, vendor=vendor) as h:
        pass
    connected = asyncio.Event()
    left: list[httpx.Request] = []

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST":
                await connected.wait()
                await request.extensions["trace"](
                    "http11.send_request_headers.started", {"request": request}
                )
                left.append(request)
            return await h.network.handle_async_request(request)

    async with open_app(h.settings, h.clock, Slow(), Kernel().process(), drain_s=0) as app:
        order = service_named("pixverse").order("upscale_video", PIXVERSE_VIDEO, {}, {})
        caller = asyncio.create_task(app.jobs.submit(order))
        await asyncio.sleep(1)
        connected.set()
        await app.jobs._own.submitter.close()
        await asyncio.sleep(1)
        (row,) = await app.journal.recent(1, origin=ORIGIN)
    caller.cancel()

    assert [] == left
    assert 0 == row.posts


async def test_a_stale_row_that_is_looked_at_does_not_free_a_job(tmp_path: Path) -> None:
    """It was read before its request left, and looked at when that had been answered."""
    from mcp_server.tools.context import open_app

    vendor = PixVerse()
    async with running(tmp_path, vendor=vendor) as h:
        pass
    async with open_app(h.settings, h.clock, h.network, Kernel().process(), drain_s=0) as app:
        order = service_named("pixverse").order("upscale_video", PIXVERSE_VIDEO, {}, {})
        h.network.faults = [Fault(connect_s=3)]
        caller = asyncio.create_task(app.jobs.submit(order))
        await asyncio.sleep(1)
        (stale,) = await app.journal.recent(1, origin=ORIGIN)
        await caller

        seen = await app.jobs._own.submitter.look(stale)
        again = await app.jobs.submit(order)

    assert ("submitting", 0) == (stale.state, stale.posts)
    assert "accepted" == seen.state
    assert ours(vendor) == again.job_id
    assert 1 == len(vendor.charged)


async def test_a_stale_row_that_is_looked_at_does_not_free_what_was_sent_meanwhile(
    tmp_path: Path,
) -> None:
    """Read before its request left, looked at when its server had died after that."""
    from mcp_server.tools.context import open_app

    vendor, kernel = PixVerse(), Kernel()
    async with running(tmp_path, vendor=vendor) as h:
        pass
    order = service_named("pixverse").order("upscale_video", PIXVERSE_VIDEO, {}, {})
    async with open_app(h.settings, h.clock, h.network, kernel.process(), drain_s=0) as app:
        h.network.faults = [Fault(connect_s=3, after_s=1000)]
        caller = asyncio.create_task(app.jobs.submit(order))
        await asyncio.sleep(1)
        (stale,) = await app.journal.recent(1, origin=ORIGIN)
        await asyncio.sleep(4)
        caller.cancel()
    async with open_app(h.settings, h.clock, h.network, kernel.process(), drain_s=0) as app:
        seen = await app.jobs._own.submitter.look(stale)
        again = await app.jobs.submit(order)

    assert (0, 1) == (stale.posts, seen.posts)
    assert ours(vendor) == seen.job_id == again.job_id
    assert 1 == len(vendor.charged)


# The key


GOLDEN: dict[str, tuple[str, OperationName, str, dict[str, Any]]] = {
    "a2d553cbb5ac5b597a2ac64ff21e90504265596c585f855de222afa774b06243": (
        "dreamina",
        "upscale_video",
        "j0302140530123456789v-u12345-CA:user@example.com-bot:dreamina",
        {},
    ),
    "eea77bf3e8565d317644ff12c30399aed92b32704803430b085da5b9a2c70a31": (
        "dreamina",
        "interpolate_video",
        "j0302140530123456789v-u12345-CA:user@example.com-bot:dreamina",
        {"fps": 30},
    ),
    "246de44b7bb448c82d2b2e2ea224daedec76fd15a629402ea8bacda6a75a12e7": (
        "dreamina",
        "interpolate_video",
        "j0302140530123456789v-u12345-CA:user@example.com-bot:dreamina",
        {"fps": 60},
    ),
    "c7eceacc16b98104d34b0a539fc82b63a15cc3b5d9cd3a150825356313921bcd": (
        "dreamina",
        "upscale_image",
        "j0302140530123456789i-u12345-US:user@example.com-bot:dreamina",
        {},
    ),
    "2569785cf7ef4e5cc25b78a0496600143634421ead2fc3f43ed76bb46a0e1b59": (
        "dreamina",
        "upscale_image",
        "j0302140530123456789i-u12345-US:user@example.com-bot:dreamina",
        {"resolution": "8k", "image_index": 2, "original_image_strength": 0, "detail_strength": 1},
    ),
    "4718b9b4812faeb6f04702a697fdaa13ff6b4427e85dd8bbfcd575f9d7ea4c3a": (
        "google-flow",
        "upscale_video",
        "user:12345-email:75736572406578616d706c652e636f6d-video:CAMaJDMx",
        {},
    ),
    "65eafae7572a84d5d99bd59b93189e331b26533ad98225551e5a4a09905ed310": (
        "google-flow",
        "upscale_video",
        "user:12345-email:75736572406578616d706c652e636f6d-video:CAMaJDMx",
        {"resolution": "4K"},
    ),
    "60b4af0c74d33f77889b3632abd392e6fb3fc3f22b8af5b6cca7fc92cde6b522": (
        "google-flow",
        "upscale_image",
        "user:12345-email:75736572406578616d706c652e636f6d-image:CAMaJDMy",
        {},
    ),
    "acb57985e407fa0e77efdc875e8c50544b0acb0ba39a96d555ea87d2107d69b6": (
        "google-flow",
        "upscale_image",
        "user:12345-email:75736572406578616d706c652e636f6d-image:CAMaJDMy",
        {"resolution": "4k"},
    ),
    "6f75438033c77b9c22eea83026909b1d9da67f769d6fe0d1c7d27aed88e82f09": (
        "pixverse",
        "upscale_video",
        "user:12345-pixverse:user@example.com-video:66778801",
        {},
    ),
    "7a1dbbef32882b2711f84d70e9bc6e1a1572c9fd1d97508cc4ad5a4c468d31c8": (
        "dreamina",
        "generate_video",
        "A red panda sails a paper boat",
        {},
    ),
    "eb2c301c88ef57b2bf990a36fc7496faca618c1c393b7a3af50aebdbe53df612": (
        "dreamina",
        "generate_video",
        "A red panda sails a paper boat",
        {"variation": 2, "duration_seconds": 10, "resolution": "1080p", "model": "seedance-2.5"},
    ),
    "229c808c5149364413a83f881ee8fd301fa18b04c747cc7717b9968475895f8a": (
        "dreamina",
        "generate_video",
        "A red panda sails a paper boat",
        {
            "start_image": "file:5555555555555555555555555555555555555555555555555555555555555555",
            "end_image": "file:5555555555555555555555555555555555555555555555555555555555555555",
        },
    ),
    "4d015bfb93b84fdec9ced090a04e5905a748cdc5c80ff8bcd70afbc1c91deffd": (
        "dreamina",
        "generate_image",
        "A red panda sails a paper boat",
        {"aspect_ratio": "16:9", "resolution": "4k"},
    ),
    "824cabd5ed0eb3528ca21856165f755106e33451741a25037381b9d10d3008a5": (
        "google-flow",
        "generate_video",
        "A red panda sails a paper boat",
        {},
    ),
    "c7d33df3b32e52c21cb16c0b1bb854e08bb6eaf4981646164f6f6030bbb44746": (
        "google-flow",
        "generate_video",
        "A red panda sails a paper boat",
        {"aspect_ratio": "9:16", "model": "omni-flash"},
    ),
    "d786b4aa3dec56cda204cf57c8b70a84b48958d72ca6e303540c08e7cf9f504e": (
        "google-flow",
        "generate_image",
        "A red panda sails a paper boat",
        {"count": 4},
    ),
    "9c5af52fafec9a8441f2acc7a4cb5077b6713e011cca04159ca42fc87e41cab9": (
        "pixverse",
        "generate_video",
        "A red panda sails a paper boat",
        {},
    ),
    "9eaa2292c17e477dcf223ee2471a9341d6a29b8b43727ec90a9f7b93b6fad0ef": (
        "pixverse",
        "generate_video",
        "A red panda sails a paper boat",
        {"start_image": "file:5555555555555555555555555555555555555555555555555555555555555555"},
    ),
    "5a43ec90b0613a58f6feebfe9709b464d704588900b3d4bbd9f05e678a013f2d": (
        "pixverse",
        "generate_image",
        "A red panda sails a paper boat",
        {"count": 2, "model": "nano-banana-2", "resolution": "2k"},
    ),
    "8615b3de31a1f79c4817e02881cf0e44909930200ac620e1886ca61bf2e559d1": (
        "pixverse",
        "upscale_video",
        "file:5555555555555555555555555555555555555555555555555555555555555555",
        {},
    ),
    "3eb8ad1894297e5a8da9c122e117e072310e5ddaec5d9dcb032d98b031fe6e73": (
        "pixverse",
        "upscale_video",
        "file:5555555555555555555555555555555555555555555555555555555555555555",
        {"model": "topaz-proteus", "resolution": "1080p"},
    ),
    "c3444a878447412a90d96ffcaea0dcb828285255c12a9fcefc8a260594a8c8b2": (
        "pixverse",
        "upscale_image",
        "user:12345-pixverse:user@example.com-image:66779801",
        {},
    ),
    "063e8ea076b31f800cbce48a37897c68716d49ee6dca96bccbc585ca215a4990": (
        "pixverse",
        "upscale_image",
        "file:5555555555555555555555555555555555555555555555555555555555555555",
        {"model": "topaz-gigapixel", "resolution": "2k"},
    ),
}


@pytest.mark.parametrize("key", GOLDEN)
def test_a_key_is_the_one_of_the_first_version(key: str) -> None:
    """Else the same call would be paid for again after an upgrade."""
    service, operation, source, given = GOLDEN[key]

    assert key == key_of(service_named(service).order(operation, source, given, {}), ORIGIN)


def test_the_key_of_another_vendor_address_is_another() -> None:
    order = service_named("pixverse").order("upscale_video", pixverse_id(66778801), {}, {})

    assert key_of(order, ORIGIN) != key_of(order, "http://127.0.0.1:8001")


def test_an_option_of_a_later_version_changes_the_key_only_off_its_default() -> None:
    class Later(type(service_named("pixverse"))):  # type: ignore[misc]  # a class at run time
        """The next version, with one option more."""

        endpoints = {  # noqa: RUF012 - as its base has it
            "upscale_video": services.Endpoint(
                **{
                    **vars(service_named("pixverse").endpoints["upscale_video"]),
                    "options": {
                        **service_named("pixverse").endpoints["upscale_video"].options,
                        "denoise": services.Option(
                            "denoise", low=0, high=1, default=0.5, shapes_result=True
                        ),
                    },
                }
            )
        }

    def key(service: services.Service, **given: Any) -> str:
        return key_of(service.order("upscale_video", PIXVERSE_VIDEO, given, {}), ORIGIN)

    now = key(service_named("pixverse"))
    assert now == key(Later()) == key(Later(), denoise=0.5)
    assert now != key(Later(), denoise=0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"original_image_strength": 0.0}, {"original_image_strength": -0.0}),
        ({"detail_strength": 1}, {"detail_strength": 1.0}),
        ({}, {"resolution": "4k", "image_index": 0}),
    ],
)
async def test_the_same_wish_in_other_words_is_one_job(
    tmp_path: Path, one: dict[str, Any], other: dict[str, Any]
) -> None:
    vendor = Dreamina()
    async with running(tmp_path, vendor=vendor) as h:
        first = await ask(h, "upscale_image", DREAMINA_IMAGE, **one)
        second = await ask(h, "upscale_image", DREAMINA_IMAGE, **other)

    assert first.job["job_id"] == second.job["job_id"]
    assert 1 == len(vendor.charged)


async def test_a_row_of_the_first_version_is_the_same_call_today(tmp_path: Path) -> None:
    """It has no origin and no evidence; its key tells where it was submitted."""
    vendor = PixVerse()
    async with running(tmp_path, vendor=vendor) as h:
        first = await upscale(h, PIXVERSE_VIDEO)
    with closing(sqlite3.connect(tmp_path / "state" / "journal.sqlite")) as database:
        database.execute("update submission set origin = '', evidence = '{}'")
        database.commit()
    async with running(tmp_path, network=h.network, clock=h.clock) as h:
        again = await upscale(h, PIXVERSE_VIDEO)
        vendor.finish()
        read = await h.call("get_job", job_id=first.job["job_id"], wait_seconds=20)

    assert (first.job["job_id"], True) == (again.job["job_id"], again.job["reused"])
    assert (first.job["job_id"], "completed") == (read.job["job_id"], read.job["status"])
    assert 1 == len(vendor.charged)


async def test_a_second_account_beside_changes_nothing(tmp_path: Path) -> None:
    """Jobs of the same kind in an account of another region, or of another owner."""
    vendor = Dreamina(work_s=20)
    other = dreamina_id(1, "v", "US")
    async with running(tmp_path, vendor=vendor) as h:
        vendor.add("videos/upscale", other)
        h.network.faults = [CUT]
        reply = await upscale(h, DREAMINA_VIDEO)

    assert ours(vendor) == reply.job["job_id"]
    assert 1 == len(vendor.charged)
