"""find(): every job that does what was ordered, and whether the lists were understood whole."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mcp_server.clock import iso
from mcp_server.errors import UseapiError
from mcp_server.media.files import OutputFolder
from mcp_server.models import OperationName
from mcp_server.services.base import Look
from mcp_server.services.registry import service_named, service_of
from mcp_server.settings import Settings
from mcp_server.upstream.client import Upstream
from tests.services.scripted import Says
from tests.support.harness import EPOCH, TOKEN, Network, VirtualClock
from tests.support.vendors import (
    DREAMINA_IMAGE,
    DREAMINA_VIDEO,
    EMAIL,
    FLOW_IMAGE,
    FLOW_VIDEO,
    PIXVERSE_VIDEO,
    Dreamina,
    GoogleFlow,
    PixVerse,
    Vendor,
    dreamina_id,
    pixverse_id,
)


async def find(
    folder: Path,
    vendor: Vendor,
    source: str,
    operation: OperationName = "upscale_video",
    since: float | None = EPOCH,
    service: str = "",
    **given: Any,
) -> Look:
    settings = Settings.read({"USEAPI_TOKEN": TOKEN})
    upstream = Upstream(settings, VirtualClock(), OutputFolder(folder), Network(vendor))
    finder = service_named(service) if service else service_of(source, "source")
    try:
        return await finder.find(upstream, finder.order(operation, source, given, {}), since=since)
    finally:
        await upstream.close()


def ids(look: Look) -> list[str]:
    return [job.job_id for job in look.jobs]


# PixVerse


async def test_pixverse_lists_every_upscale_of_the_source_and_nothing_else(
    tmp_path: Path,
) -> None:
    vendor = PixVerse()
    wanted = [vendor.add(PIXVERSE_VIDEO, age_s=9 - n)["video_id"] for n in range(3)]
    vendor.add(pixverse_id(2))  # of another source
    vendor.add(0)  # a video that was generated
    vendor.add(PIXVERSE_VIDEO, upscaled=0, extended=1)
    vendor.add(PIXVERSE_VIDEO, upscaled=1, extended=1)

    look = await find(tmp_path, vendor, PIXVERSE_VIDEO)

    assert sorted(wanted) == sorted(ids(look))
    assert look.is_complete
    assert look.horizon is None
    assert {"upscale_video"} == {job.operation for job in look.jobs}


async def test_pixverse_that_was_not_whole_once_stays_so(tmp_path: Path) -> None:
    vendor = PixVerse()
    strange = {"video_id": pixverse_id(9), "created_at": "2027-06-01T00:00:00Z"}
    vendor.jobs["strange"] = strange  # the newest, so that others follow it
    vendor.add(pixverse_id(2))

    look = await find(tmp_path, vendor, PIXVERSE_VIDEO)

    assert not look.is_complete


async def test_pixverse_pages_without_times_are_read_to_the_last(tmp_path: Path) -> None:
    vendor = PixVerse(tells_time=True)
    for _ in range(300):
        del vendor.add(0)["created_at"]

    look = await find(tmp_path, vendor, PIXVERSE_VIDEO)

    assert 5 == len(vendor.asked)
    assert (False, None) == (look.is_complete, look.horizon)
    assert look.clock_ahead_s is not None


@pytest.mark.parametrize(
    "strange", [{"video_id": "new-form-17"}, {"video_id": 17}, {}, {"video_id": pixverse_id(9)}]
)
async def test_pixverse_with_a_record_that_does_not_say_what_it_is_is_not_whole(
    tmp_path: Path, strange: dict[str, Any]
) -> None:
    vendor = PixVerse()
    vendor.jobs["strange"] = strange
    made = vendor.add(PIXVERSE_VIDEO)["video_id"]

    look = await find(tmp_path, vendor, PIXVERSE_VIDEO)

    assert [made] == ids(look)
    assert not look.is_complete


@pytest.mark.parametrize(
    ("videos", "pages", "is_complete"),
    [(39, 1, True), (40, 2, True), (80, 3, True), (199, 5, True), (201, 5, False), (300, 5, False)],
)
async def test_pixverse_reads_on_until_the_jobs_are_older_than_the_request(
    tmp_path: Path, videos: int, pages: int, is_complete: bool
) -> None:
    vendor = PixVerse()
    last = vendor.add(PIXVERSE_VIDEO)["video_id"]
    await asyncio.sleep(1)
    for _ in range(videos - 1):
        vendor.add(0)

    look = await find(tmp_path, vendor, PIXVERSE_VIDEO)

    assert pages == len(vendor.asked)
    assert is_complete is look.is_complete
    assert is_complete is (last in ids(look))


async def test_pixverse_goes_on_where_the_page_says(tmp_path: Path) -> None:
    """`next_offset` (October 2026): not how many records came, and not only after a full page."""
    vendor = PixVerse()
    wanted = [vendor.add(PIXVERSE_VIDEO)["video_id"] for _ in range(2)]
    records = list(vendor.jobs.values())
    start = "GET /v2/pixverse/videos?email=joe%40example.com"
    vendor.instead = {
        f"{start}&offset=700": Says({"data": [records[1]]}),
        start: Says({"data": [vendor.add(0), records[0]], "next_offset": 700}),
    }

    look = await find(tmp_path, vendor, PIXVERSE_VIDEO)

    assert wanted == ids(look)
    assert look.is_complete


@pytest.mark.parametrize("end", [{"next_offset": 0}, {"next_offset": 7, "has_more": False}])
async def test_pixverse_ends_where_the_page_says_so(tmp_path: Path, end: dict[str, Any]) -> None:
    vendor = PixVerse()
    vendor.instead["GET "] = Says({"data": [vendor.add(PIXVERSE_VIDEO)] * 40, **end})

    look = await find(tmp_path, vendor, PIXVERSE_VIDEO)

    assert 1 == len(vendor.asked)
    assert look.is_complete


async def test_pixverse_ends_with_an_empty_page(tmp_path: Path) -> None:
    vendor = PixVerse()
    vendor.instead["GET "] = Says({"data": [], "next_offset": 7})

    look = await find(tmp_path, vendor, PIXVERSE_VIDEO)

    assert 1 == len(vendor.asked)
    assert look.is_complete


@pytest.mark.parametrize(
    ("echo", "same"),
    [
        ({"upscaled": 0, "quality": "1080p"}, True),
        ({"upscaled": 0, "quality": "720p"}, False),
        ({"upscaled": 1, "quality": "1080p"}, False),
        ({"upscaled": 0, "original_video_id": pixverse_id(2), "quality": "1080p"}, False),
        ({"upscaled": 0}, None),
    ],
)
async def test_a_pixverse_video_is_the_draft_finished_if_it_has_its_source_and_quality(
    tmp_path: Path, echo: dict[str, Any], same: bool | None
) -> None:
    vendor = PixVerse()
    made = vendor.add(PIXVERSE_VIDEO, **echo)["video_id"]

    look = await find(tmp_path, vendor, PIXVERSE_VIDEO, of="draft", resolution="1080p")

    assert ([made] if same else [], same is not None) == (ids(look), look.is_complete)


@pytest.mark.parametrize(("upscaled", "is_complete"), [(1, False), (0, True)])
async def test_an_upscale_on_pixverse_may_be_of_the_users_own_file(
    tmp_path: Path, upscaled: int, is_complete: bool
) -> None:
    vendor = PixVerse()
    vendor.add(0, upscaled=upscaled)

    look = await find(tmp_path, vendor, f"file:{'0' * 64}", service="pixverse", account=EMAIL)

    assert ([], is_complete) == (ids(look), look.is_complete)


async def test_pixverse_stops_at_the_page_that_is_older_than_the_request(tmp_path: Path) -> None:
    vendor = PixVerse()
    for n in range(130):
        vendor.add(0, age_s=60.0 * n)

    look = await find(tmp_path, vendor, PIXVERSE_VIDEO, since=EPOCH - 50 * 60)

    assert 2 == len(vendor.asked)
    assert look.is_complete
    assert EPOCH - 79 * 60 == look.horizon


async def test_pixverse_reads_one_page_of_what_exists_before_a_request(tmp_path: Path) -> None:
    vendor = PixVerse()
    for n in range(50):
        vendor.add(0, age_s=60.0 * n)

    look = await find(tmp_path, vendor, PIXVERSE_VIDEO, since=None)

    assert 1 == len(vendor.asked)
    assert look.is_complete
    assert EPOCH - 39 * 60 == look.horizon


@pytest.mark.parametrize("body", [{"data": {}}, {"videos": []}, [], {"error": "try later"}])
async def test_pixverse_without_a_list_can_not_be_read(tmp_path: Path, body: Any) -> None:
    vendor = PixVerse()
    vendor.instead["GET "] = Says(body)

    with pytest.raises(UseapiError):
        await find(tmp_path, vendor, PIXVERSE_VIDEO)


# Dreamina


async def test_dreamina_lists_every_job_that_does_the_same(tmp_path: Path) -> None:
    vendor = Dreamina()
    wanted = [vendor.add("images/upscale", DREAMINA_IMAGE)["jobid"] for _ in range(2)]
    other = vendor.add("images/upscale", DREAMINA_IMAGE)
    other["request"]["resolution"] = "8k"
    vendor.add("images/upscale", dreamina_id(2, "i", "US"))
    vendor.add("videos/upscale", DREAMINA_VIDEO)

    look = await find(tmp_path, vendor, DREAMINA_IMAGE, "upscale_image")

    assert wanted == ids(look)
    assert look.is_complete


async def test_dreamina_reads_only_jobs_of_the_kind_and_account_that_was_ordered(
    tmp_path: Path,
) -> None:
    vendor = Dreamina()
    made = vendor.add("videos/upscale", DREAMINA_VIDEO)["jobid"]
    vendor.add("videos/interpolate", DREAMINA_VIDEO)
    vendor.add("videos/upscale", dreamina_id(3, "v", "US"))

    look = await find(tmp_path, vendor, DREAMINA_VIDEO)

    assert [made] == ids(look)
    assert 2 == len(vendor.asked)


async def test_of_many_jobs_in_dreaminas_scheduler_the_newest_are_read_and_the_rest_is_left_open(
    tmp_path: Path,
) -> None:
    vendor = Dreamina()
    echo = {"jobid": DREAMINA_VIDEO, "fps": 60}
    made = [
        vendor.add("videos/interpolate", DREAMINA_VIDEO, request=echo)["jobid"] for _ in range(60)
    ]
    executing = [
        {"jobid": job_id, "elapsedSeconds": 600 - number} for number, job_id in enumerate(made)
    ]
    listed = {"executing": {"CA:" + EMAIL: executing}, "total": 60}
    vendor.instead["GET /v1/dreamina/scheduler"] = Says(listed)

    look = await find(tmp_path, vendor, DREAMINA_VIDEO, "interpolate_video", fps=60)
    listed["executing"] = {"CA:" + EMAIL: executing[10:]}
    listed["total"] = 50
    whole = await find(tmp_path, vendor, DREAMINA_VIDEO, "interpolate_video", fps=60)

    assert 2 * (1 + 50) == len(vendor.asked)
    assert executing[-1]["jobid"] in [asked.rsplit("/", 1)[-1] for asked in vendor.asked[:2]]
    assert (False, True) == (look.is_complete, whole.is_complete)
    assert 50 == len(ids(whole))
    assert ids(whole) == ids(look)


@pytest.mark.parametrize(
    ("executing", "total"),
    [
        ({"CA:" + EMAIL: []}, 1),
        ({"CA:" + EMAIL: [{"jobid": dreamina_id(5, "F")}]}, 2),
        ({"CA:" + EMAIL: [{"jobid": "d-1"}]}, 1),
        ({"CA:" + EMAIL: [{"submitId": "1"}]}, 1),
        ({"CA:" + EMAIL: ["j1"]}, 1),
        ({"CA:" + EMAIL: {"jobid": "j1"}}, 0),
        ({"CA:" + EMAIL: {"jobid": "j1"}, "US:" + EMAIL: []}, 0),
        ({"CA:" + EMAIL: [{"jobid": "d-1"}, {"jobid": dreamina_id(5, "F")}]}, 2),
    ],
)
async def test_a_dreamina_scheduler_that_is_not_understood_is_not_whole(
    tmp_path: Path, executing: Any, total: int
) -> None:
    vendor = Dreamina()
    vendor.instead["GET /v1/dreamina/scheduler"] = Says({"executing": executing, "total": total})

    look = await find(tmp_path, vendor, DREAMINA_VIDEO)

    assert () == look.jobs
    assert not look.is_complete


async def test_a_dreamina_scheduler_need_not_count_nor_tell_ages(tmp_path: Path) -> None:
    vendor = Dreamina()
    made = vendor.add("videos/upscale", DREAMINA_VIDEO)["jobid"]
    vendor.instead["GET /v1/dreamina/scheduler"] = Says({"executing": {"CA": [{"jobid": made}]}})

    look = await find(tmp_path, vendor, DREAMINA_VIDEO)

    assert ([made], True) == (ids(look), look.is_complete)


async def test_one_dreamina_job_that_can_not_be_read_leaves_it_open(tmp_path: Path) -> None:
    vendor = Dreamina()
    gone, there = (vendor.add("videos/upscale", DREAMINA_VIDEO)["jobid"] for _ in range(2))
    executing = [{"jobid": gone, "elapsedSeconds": 1}, {"jobid": there, "elapsedSeconds": 9}]
    vendor.instead["GET /v1/dreamina/scheduler"] = Says({"executing": {"CA": executing}})
    vendor.instead[f"GET /v1/dreamina/videos/{gone}"] = Says({"error": "Not found"}, 404)

    look = await find(tmp_path, vendor, DREAMINA_VIDEO)

    assert ([there], False) == (ids(look), look.is_complete)


@pytest.mark.parametrize(
    ("operation", "letters"), [("generate_video", ["v", "W"]), ("generate_image", ["i"])]
)
async def test_dreamina_reads_only_what_can_be_made_from_a_prompt_for_one(
    tmp_path: Path, operation: OperationName, letters: list[str]
) -> None:
    """A letter that is not known may be a newer kind of video."""
    vendor = Dreamina()
    listed = [dreamina_id(9, letter) for letter in "vVFiIW"]
    vendor.instead["GET /v1/dreamina/scheduler"] = Says(
        {"executing": {"CA": [{"jobid": job_id} for job_id in listed]}}
    )

    look = await find(tmp_path, vendor, "A windmill", operation, service="dreamina")

    read = [asked.rsplit("/", 1)[1] for asked in vendor.asked if "/scheduler" not in asked]
    assert [dreamina_id(9, letter) for letter in letters] == read
    assert not look.is_complete


@pytest.mark.parametrize(
    ("given", "echo", "is_listed", "is_complete"),
    [
        ({}, {}, True, True),
        ({"detail_strength": 0.5}, {}, True, True),
        ({"detail_strength": 1}, {}, False, False),
        ({"original_image_strength": 0}, {}, False, False),
        ({"detail_strength": 1}, {"detailStrength": 1}, True, True),
        ({"detail_strength": 1}, {"detailStrength": 0}, False, True),
        ({"detail_strength": 1}, {"resolution": "8k"}, False, True),
        ({"resolution": "8k", "detail_strength": 1}, {}, False, True),
        ({"image_index": 3}, {}, False, True),
    ],
)
async def test_an_argument_that_dreamina_does_not_echo_leaves_it_open(
    tmp_path: Path,
    given: dict[str, Any],
    echo: dict[str, Any],
    is_listed: bool,
    is_complete: bool,
) -> None:
    """The documents echo {jobid, imageIndex, resolution}."""
    vendor = Dreamina()
    vendor.add("images/upscale", DREAMINA_IMAGE)["request"].update(echo)

    look = await find(tmp_path, vendor, DREAMINA_IMAGE, "upscale_image", **given)

    assert (is_listed, is_complete) == (bool(look.jobs), look.is_complete)


@pytest.mark.parametrize("executing", [None, [], "none"])
async def test_dreamina_without_a_list_can_not_be_read(tmp_path: Path, executing: Any) -> None:
    vendor = Dreamina()
    vendor.instead["GET "] = Says({"executing": executing, "total": 0})

    with pytest.raises(UseapiError):
        await find(tmp_path, vendor, DREAMINA_VIDEO)


# Google Flow


async def test_google_flow_lists_every_job_that_does_the_same(tmp_path: Path) -> None:
    vendor = GoogleFlow()
    request = {"mediaGenerationId": FLOW_VIDEO}
    wanted = [
        vendor.add(FLOW_VIDEO, request=request)["jobid"],
        vendor.add(FLOW_VIDEO, request=request | {"resolution": "1080p"})["jobid"],
        vendor.add(FLOW_VIDEO, request=request, status="completed")["jobid"],
    ]
    vendor.add(FLOW_VIDEO, request=request | {"resolution": "4K"})
    vendor.add(FLOW_VIDEO, request=request | {"prompt": "and then it rains"})
    vendor.add(FLOW_VIDEO + "x")

    look = await find(tmp_path, vendor, FLOW_VIDEO)

    assert sorted(wanted) == sorted(ids(look))
    assert look.is_complete


@pytest.mark.parametrize(
    ("group", "is_complete"),
    [
        ({"videos": {"executing": {}, "history": {}}}, True),
        ({"combined": {"executing": {}, "history": {}}}, True),
        ({"videos": {"executing": {}}, "combined": {"executing": {}}}, False),
        ({"videos": {"executing": {}, "history": []}}, False),
        ({"videos": {"executing": {}, "history": {}}, "combined": None}, False),
        ({"videos": {"executing": {}, "history": {"gf-1": {}}}}, False),
        ({"videos": {"summary": {}}}, False),
        ({"images": {}}, False),
        ({}, False),
    ],
)
async def test_google_flow_lists_are_whole_only_with_every_section_asked_for(
    tmp_path: Path, group: dict[str, Any], is_complete: bool
) -> None:
    vendor = GoogleFlow()
    vendor.instead["GET "] = Says({"emails": [EMAIL], **group})

    look = await find(tmp_path, vendor, FLOW_VIDEO)

    assert ((), is_complete) == (look.jobs, look.is_complete)


@pytest.mark.parametrize(("jobs", "is_complete"), [(20, True), (21, False)])
async def test_google_flow_reads_the_newest_twenty_jobs(
    tmp_path: Path, jobs: int, is_complete: bool
) -> None:
    vendor = GoogleFlow()
    oldest = vendor.add(FLOW_VIDEO)["jobid"]
    for _ in range(jobs - 1):
        vendor.add(FLOW_VIDEO + "x")

    look = await find(tmp_path, vendor, FLOW_VIDEO)

    assert 20 == sum("/jobs/" in asked for asked in vendor.asked)
    assert (is_complete, is_complete) == (oldest in ids(look), look.is_complete)


async def test_google_flow_without_one_of_its_lists_shows_what_is_in_the_other(
    tmp_path: Path,
) -> None:
    vendor = GoogleFlow()
    made = vendor.add(FLOW_VIDEO, request={"mediaGenerationId": FLOW_VIDEO})["jobid"]
    vendor.instead["GET /v1/google-flow/jobs?options=history"] = Says({"error": "x"}, 500)

    look = await find(tmp_path, vendor, FLOW_VIDEO)

    assert ([made], False) == (ids(look), look.is_complete)


async def test_one_google_flow_job_that_can_not_be_read_leaves_it_open(tmp_path: Path) -> None:
    vendor = GoogleFlow()
    there = vendor.add(FLOW_VIDEO, request={"mediaGenerationId": FLOW_VIDEO})["jobid"]
    gone = vendor.add(FLOW_VIDEO)["jobid"]  # the newer, so it is read first
    vendor.instead[f"GET /v1/google-flow/jobs/{gone}"] = Says({"error": "Not found"}, 404)
    listed: dict[str, Any] = {there: {}, gone: {"timestamp": 7}}
    vendor.instead["GET /v1/google-flow/jobs?options=executing"] = Says(
        {"videos": {"executing": listed}}
    )

    look = await find(tmp_path, vendor, FLOW_VIDEO)

    assert ([there], False) == (ids(look), look.is_complete)


async def test_google_flow_without_either_list_can_not_be_read(tmp_path: Path) -> None:
    vendor = GoogleFlow()
    vendor.instead["GET "] = Says({"error": "x"}, 500)

    with pytest.raises(UseapiError):
        await find(tmp_path, vendor, FLOW_VIDEO)


# What is made from a prompt, and our reference


PROMPT = "A red panda sails a paper boat"
OURS, ANOTHERS = f"useapi-mcp:{'a' * 26}", f"useapi-mcp:{'b' * 26}"
FLOW_WISH: dict[str, Any] = {
    "prompt": PROMPT,
    "async": True,
    "count": 1,
    "aspectRatio": "landscape",
}
PIXVERSE_WISH: dict[str, Any] = {
    "prompt": PROMPT,
    "model": "v6",
    "quality": "720p",
    "aspect_ratio": "16:9",
}


async def find_wish(
    folder: Path,
    vendor: Vendor,
    service: str,
    operation: OperationName = "generate_video",
    *,
    our_id: str | None = OURS,
    since: float | None = EPOCH,
    **given: Any,
) -> Look:
    settings = Settings.read({"USEAPI_TOKEN": TOKEN})
    upstream = Upstream(settings, VirtualClock(), OutputFolder(folder), Network(vendor))
    adapter = service_named(service)
    given = {n: value for n, value in {"account": EMAIL, **given}.items() if value is not None}
    try:
        order = adapter.order(operation, PROMPT, given, {})
        return await adapter.find(upstream, order, since=since, our_id=our_id)
    finally:
        await upstream.close()


IMAGE_ID = FLOW_IMAGE
FLOW_ECHOES: list[tuple[dict[str, Any], dict[str, Any], bool | None]] = [
    ({}, {}, True),
    ({}, {"model": "veo-3.1-fast", "duration": 8, "resolution": "720p", "seed": 7}, True),
    ({}, {"model": "veo-3.1-lite"}, False),
    ({}, {"duration": 4}, False),
    ({}, {"resolution": "360p"}, False),
    ({}, {"aspectRatio": "portrait"}, False),
    ({}, {"startImage": IMAGE_ID}, False),
    ({}, {"mediaGenerationId": FLOW_VIDEO}, False),
    ({}, {"prompt": PROMPT + "."}, False),
    ({}, {"prompt": None}, None),
    ({"model": "omni-flash"}, {"model": "omni-flash"}, True),
    ({"model": "omni-flash"}, {}, None),
    ({"duration_seconds": 4}, {}, None),
    ({"aspect_ratio": "9:16"}, {"aspectRatio": "portrait"}, True),
    ({"aspect_ratio": "9:16"}, {"aspectRatio": None}, None),
    ({"start_image": IMAGE_ID}, {"startImage": IMAGE_ID}, True),
    ({"start_image": IMAGE_ID}, {"startImage": IMAGE_ID + "x"}, False),
    ({"start_image": IMAGE_ID}, {}, False),
    ({"start_image": "file:" + "0" * 64}, {"startImage": IMAGE_ID}, None),
    ({"variation": 9}, {}, True),
]


@pytest.mark.parametrize(("given", "echo", "same"), FLOW_ECHOES)
async def test_a_google_flow_job_is_the_wish_if_its_echo_is_what_was_ordered(
    tmp_path: Path, given: dict[str, Any], echo: dict[str, Any], same: bool | None
) -> None:
    """What is echoed and differs is another's; what shaped it and is not echoed leaves it open."""
    request = {name: value for name, value in (FLOW_WISH | echo).items() if value is not None}
    vendor = GoogleFlow()
    job = vendor.add("", request=request)["jobid"]

    look = await find_wish(tmp_path, vendor, "google-flow", **given)

    assert ([job] if same else [], same is not None) == (ids(look), look.is_complete)
    assert look.ours is None


PIXVERSE_ECHOES: list[tuple[dict[str, Any], dict[str, Any], bool | None]] = [
    ({}, {}, True),
    ({}, {"prompt": f" {PROMPT} "}, True),
    ({}, {"duration": 5}, True),
    ({}, {"duration": 8}, False),
    ({}, {"quality": "1080p"}, False),
    ({}, {"model": "v5.6"}, False),
    ({}, {"aspect_ratio": "9:16"}, False),
    ({}, {"upscaled": 1}, False),
    ({}, {"extended": 1}, False),
    ({}, {"prompt": "Another"}, False),
    ({}, {"prompt": None}, None),
    ({}, {"model": None, "quality": None, "aspect_ratio": ""}, True),
    ({"model": "v5.6"}, {"model": "v5.6", "quality": "540p"}, True),
    ({"model": "v5.6"}, {"model": None}, False),
    ({"resolution": "4K"}, {"quality": "2160p"}, True),
    ({"resolution": "4K"}, {"quality": None}, None),
    ({"duration_seconds": 8}, {}, None),
    ({"start_image": "path/1.png"}, {}, None),
    ({"variation": 9}, {}, True),
]


@pytest.mark.parametrize(("given", "echo", "same"), PIXVERSE_ECHOES)
async def test_a_pixverse_video_is_the_wish_if_its_record_is_what_was_ordered(
    tmp_path: Path, given: dict[str, Any], echo: dict[str, Any], same: bool | None
) -> None:
    """Its first frame is named in no documented way, so that a video with one is never sure."""
    vendor = PixVerse()
    made = vendor.add(0, **(PIXVERSE_WISH | echo))["video_id"]

    look = await find_wish(tmp_path, vendor, "pixverse", **given)

    assert ([made] if same else [], same is not None) == (ids(look), look.is_complete)


@pytest.mark.parametrize(
    ("given", "paths", "same"),
    [
        ({}, [], True),
        ({}, None, True),
        ({}, ["path/1.png"], False),
        ({"reference_image": "path/1.png"}, ["path/1.png"], True),
        ({"reference_image": "path/1.png"}, ["path/2.png"], False),
        ({"reference_image": "path/1.png"}, None, None),
        ({"reference_image": "path/1.png"}, [], None),
        ({"reference_image": "path/1.png"}, "path/1.png", None),
        ({"reference_image": "file:" + "0" * 64}, ["path/1.png"], None),
        ({"model": "nano-banana-pro"}, [], None),  # which the record does not tell
    ],
)
async def test_a_pixverse_image_is_the_wish_if_it_goes_by_the_same_picture(
    tmp_path: Path, given: dict[str, Any], paths: Any, same: bool | None
) -> None:
    image = pixverse_id(7).replace("-video:", "-image:")
    record = {"image_id": image, "prompt": PROMPT, "customer_img_paths": paths}
    vendor = PixVerse()
    vendor.instead["GET /v2/pixverse/images"] = Says({"data": [record]})

    look = await find_wish(tmp_path, vendor, "pixverse", "generate_image", **given)

    assert ([image] if same else [], same is not None) == (ids(look), look.is_complete)


async def test_a_google_flow_job_that_echoes_our_reference_is_ours_whatever_else_it_does(
    tmp_path: Path,
) -> None:
    vendor = GoogleFlow()
    vendor.add("", request=FLOW_WISH)
    ours = vendor.add("", request={**FLOW_WISH, "seed": 1, "replyRef": OURS})["jobid"]
    another = vendor.add("", request={**FLOW_WISH, "replyRef": ANOTHERS})["jobid"]
    theirs = vendor.add("", request={**FLOW_WISH, "replyRef": "mine"})["jobid"]

    found = await find_wish(tmp_path, vendor, "google-flow")
    del vendor.jobs[ours]
    other = await find_wish(tmp_path, vendor, "google-flow")

    assert found.ours is not None
    assert ours == found.ours.job_id
    assert other.ours is None
    assert {another} == other.others
    assert {theirs} == other.strangers
    assert {another, theirs} < set(ids(other))


async def test_what_is_there_before_a_wish_is_sent_to_google_flow_costs_two_reads(
    tmp_path: Path,
) -> None:
    vendor = GoogleFlow(ahead_s=-3600, tells_time=True)
    there = [vendor.add("", request={"prompt": str(n)})["jobid"] for n in range(9)]

    look = await find_wish(tmp_path, vendor, "google-flow", our_id=None, since=None)

    assert sorted(there) == sorted(ids(look))
    assert -3600 == pytest.approx(look.clock_ahead_s, abs=2)
    assert 2 == len(vendor.asked)


def tracked(video_id: str, reference: str, **more: Any) -> dict[str, Any]:
    return {"id": video_id, "type": "video", "started": iso(EPOCH), "replyRef": reference, **more}


@pytest.mark.parametrize("form", ["list", "executing", "video_id"])
async def test_pixverses_scheduler_tells_ours_and_anothers_by_the_reference(
    tmp_path: Path, form: str
) -> None:
    vendor = PixVerse()
    videos = [vendor.add(0, **PIXVERSE_WISH)["video_id"] for _ in range(3)]
    rows = [tracked(videos[0], ANOTHERS), tracked(videos[1], OURS), tracked(videos[2], "mine")]
    image = videos[1].replace("-video:", "-image:")  # of another kind
    rows += [tracked(image, OURS)]
    if form == "video_id":  # before 9 March 2026
        rows = [{**row, "video_id": row["id"]} for row in rows]
        for row in rows:
            del row["id"]
    answer: Any = {"executing": rows} if form == "executing" else rows
    vendor.instead["GET /v2/pixverse/scheduler"] = Says(answer)

    found = await find_wish(tmp_path, vendor, "pixverse")
    del rows[1]
    other = await find_wish(tmp_path, vendor, "pixverse")

    assert found.ours is not None
    assert videos[1] == found.ours.job_id
    assert other.ours is None
    assert {videos[0]} == other.others
    assert {videos[2], image} == other.strangers
    assert sorted(videos) == sorted(ids(other))


async def test_images_of_ours_that_the_scheduler_forgot_are_those_that_began_beside_the_rest(
    tmp_path: Path,
) -> None:
    """Not those of an earlier call, of a later one, or of another reference."""

    def image(number: int, age_s: float) -> dict[str, Any]:
        some_id = pixverse_id(number).replace("-video:", "-image:")
        return {"image_id": some_id, "prompt": PROMPT, "created_at": iso(EPOCH - age_s)}

    older, anothers, one, two, three, later = (
        image(number, age_s) for number, age_s in enumerate((600, 101, 100, 99.5, 99, 30), start=1)
    )
    rows = [
        tracked(two["image_id"], OURS, started=two["created_at"]),
        tracked(anothers["image_id"], ANOTHERS, started=anothers["created_at"]),
    ]
    vendor = PixVerse()
    vendor.instead = {
        "GET /v2/pixverse/scheduler": Says(rows),
        "GET /v2/pixverse/images": Says({"data": [later, three, two, one, anothers, older]}),
    }

    look = await find_wish(tmp_path, vendor, "pixverse", "generate_image", count=3)

    assert look.ours is not None
    assert OURS == look.ours.job_id
    found = [item.media_id for item in look.ours.media or ()]
    assert [each["image_id"] for each in (one, two, three)] == found


async def test_an_image_of_ours_that_the_scheduler_tells_no_time_of_is_one_of_them(
    tmp_path: Path,
) -> None:
    images = [pixverse_id(number).replace("-video:", "-image:") for number in (1, 2, 3)]
    rows = [tracked(image, OURS) for image in images]
    del rows[1]["started"]
    vendor = PixVerse()
    vendor.instead["GET /v2/pixverse/scheduler"] = Says(rows)

    look = await find_wish(tmp_path, vendor, "pixverse", "generate_image", count=3)

    assert look.ours is not None
    assert set(images) == {item.media_id for item in look.ours.media or ()}


@pytest.mark.parametrize("answer", [Says({"error": "x"}, 500), Says({}), Says([{}, 7]), Says([])])
async def test_a_scheduler_that_tells_nothing_leaves_it_to_the_list(
    tmp_path: Path, answer: Says
) -> None:
    """It omits what was started elsewhere and Off-Peak jobs: absence there proves nothing."""
    vendor = PixVerse()
    made = vendor.add(0, **PIXVERSE_WISH)["video_id"]
    vendor.instead["GET /v2/pixverse/scheduler"] = answer

    look = await find_wish(tmp_path, vendor, "pixverse")

    assert ([made], True, None) == (ids(look), look.is_complete, look.ours)


@pytest.mark.parametrize("linked", [1, 2])
async def test_of_an_unknown_account_the_lists_of_all_are_read(tmp_path: Path, linked: int) -> None:
    """After a restart the account is not known: it is no part of the wish."""
    vendor = PixVerse()
    made = vendor.add(0, **PIXVERSE_WISH)["video_id"]
    accounts: dict[str, dict[str, str]] = {f"{n}@example.com": {} for n in range(linked)}
    vendor.instead["GET /v2/pixverse/accounts"] = Says(accounts)

    look = await find_wish(tmp_path, vendor, "pixverse", account=None)

    assert linked == sum("/videos?email=" in asked for asked in vendor.asked)
    assert {made} == set(ids(look))
    assert look.is_complete


async def test_where_no_account_is_linked_nothing_is_known_to_be_absent(tmp_path: Path) -> None:
    vendor = PixVerse()
    vendor.instead["GET /v2/pixverse/accounts"] = Says({})

    look = await find_wish(tmp_path, vendor, "pixverse", account=None)

    assert ([], False) == (ids(look), look.is_complete)


# Every service


@pytest.mark.parametrize(
    ("kind", "source"),
    [(Dreamina, DREAMINA_VIDEO), (GoogleFlow, FLOW_VIDEO), (PixVerse, PIXVERSE_VIDEO)],
)
async def test_the_vendors_time_is_what_its_answer_says(
    tmp_path: Path, kind: type[Vendor], source: str
) -> None:
    told = await find(tmp_path, kind(ahead_s=-3600, tells_time=True), source)
    silent = await find(tmp_path, kind(), source)

    assert -3600 == pytest.approx(told.clock_ahead_s, abs=2)
    assert silent.clock_ahead_s is None
