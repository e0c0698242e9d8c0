"""The mistakes that agents make, played: each is understood at once, or its refusal repairs it.

Understood: the call does what was meant. Repaired: nothing is paid, the refusal says what to do,
and the call it names does what was meant. Numbers are those of the list they were collected in.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from mcp_server.sandbox import dreamina as dreamina_jobs
from tests.support.harness import GOOD, Harness, Reply, running

VIDEO = GOOD["dreamina", "video"]
IMAGE = GOOD["dreamina", "image"]
FLOW = GOOD["google-flow", "video"]
FLOW_IMAGE = GOOD["google-flow", "image"]
PIXVERSE = GOOD["pixverse", "video"]
UPSCALE, INTERPOLATION = dreamina_jobs.UPSCALE_OF_IT, dreamina_jobs.INTERPOLATION_OF_IT
MAILTO = VIDEO.replace("user@example.com", "[user@example.com](mailto:user@example.com)")

Call = tuple[str, dict[str, Any]]
ASKED: Call = ("upscale_video", {"source": VIDEO})  # with the id that the user then gives


@dataclass(frozen=True)
class Understood:
    """A call that does what was meant by it.

    Args:
        meant: the source that is worked on, and what of the request's body says what is made.
    """

    number: int
    what: str
    call: Call
    meant: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Repaired:
    """A call that is refused, and the next call, which the refusal asks for."""

    number: int
    what: str
    call: Call
    says: str
    then: Call


def upscale(source: Any, **more: Any) -> Call:
    return "upscale_video", {"source": source, **more}


def interpolate(source: str, fps: Any) -> Call:
    return "interpolate_video", {"source": source, "fps": fps}


def of(source: str, **body: Any) -> dict[str, Any]:
    names = {"dreamina": "jobid", "google-flow": "mediaGenerationId", "pixverse": "video_id"}
    service = next(name for (name, _), good in GOOD.items() if good == source)
    return {names[service]: source, **body}


UNDERSTOOD = [
    Understood(
        3,
        "an address of the API",
        upscale(f"https://api.useapi.net/v1/dreamina/videos/{VIDEO}"),
        of(VIDEO),
    ),
    Understood(3, "a path of the API", upscale(f"/v1/dreamina/videos/{VIDEO}?x=1"), of(VIDEO)),
    Understood(4, "encoded", upscale(VIDEO.replace(":", "%3A").replace("@", "%40")), of(VIDEO)),
    Understood(4, "encoded twice", upscale(VIDEO.replace("@", "%2540")), of(VIDEO)),
    Understood(5, "in quotes", upscale(f'"{VIDEO}"'), of(VIDEO)),
    Understood(6, "in backticks", upscale(f"`{PIXVERSE}`"), of(PIXVERSE)),
    Understood(6, "in bold type", upscale(f"**{VIDEO}**"), of(VIDEO)),
    Understood(6, "in angle brackets", upscale(f"<{FLOW}>"), of(FLOW)),
    Understood(7, "a dot after it", upscale(f"{FLOW}."), of(FLOW)),
    Understood(7, "a comma after it", upscale(f"{VIDEO},"), of(VIDEO)),
    Understood(8, "white space round it", upscale(f" \t{VIDEO}\r\n"), of(VIDEO)),
    Understood(8, "what nobody sees in it", upscale(f"\ufeff{VIDEO}\u200b"), of(VIDEO)),
    Understood(9, "an e-mail link inside", upscale(MAILTO), of(VIDEO)),
    Understood(9, "Markdown's backslashes", upscale(VIDEO.replace("@", "\\@")), of(VIDEO)),
    Understood(10, "our own resource", upscale(f"useapi://jobs/{VIDEO}"), of(VIDEO)),
    Understood(10, "as job_id", ("get_job", {"job_id": f"useapi://jobs/{VIDEO}"})),
    Understood(18, "a list of one", upscale([VIDEO]), of(VIDEO)),
    Understood(18, "a list of one as text", upscale(f'["{VIDEO}"]'), of(VIDEO)),
    *(
        Understood(number, str(word), upscale(FLOW, resolution=word), of(FLOW, resolution="4K"))
        for number, word in [
            *((21, word) for word in ("4k", "4K")),
            *((22, word) for word in ("2160p", "UHD", "3840x2160", "3840 × 2160", " 4K", 2160)),
        ]
    ),
    *(
        Understood(22, str(word), upscale(FLOW, resolution=word), of(FLOW, resolution="1080p"))
        for word in ("1080", 1080, "Full HD", "1920x1080", "1080P")
    ),
    Understood(
        21,
        "8K of an image",
        ("upscale_image", {"source": IMAGE, "resolution": "8K"}),
        of(IMAGE, upscaleResolution="8k"),
    ),
    Understood(
        23,
        "1440p of an image",
        ("upscale_image", {"source": FLOW_IMAGE, "resolution": "1440p"}),
        of(FLOW_IMAGE, resolution="2k"),
    ),
    Understood(24, "2x, which it always does", upscale(VIDEO, resolution="2x"), of(VIDEO)),
    Understood(25, "4K, which it always makes", upscale(PIXVERSE, resolution="4K"), of(PIXVERSE)),
    *(
        Understood(number, repr(fps), interpolate(VIDEO, fps), of(VIDEO, fps=60))
        for number, fps in [
            (26, "60"),
            (26, 60.0),
            (26, "60.0"),
            (26, " 60"),
            (27, "60fps"),
            (27, "60 FPS"),
            (27, "60 Hz"),
        ]
    ),
    *(
        Understood(number, repr(wait), ("get_job", {"job_id": VIDEO, "wait_seconds": wait}))
        for number, wait in [
            (28, "50"),
            (28, 50.0),
            (28, None),
            (28, " 5 "),
            (29, 60),
            (29, 300),
            (29, "120"),
            (29, 10**12),
        ]
    ),
    *(
        Understood(41, f"{given}", ("list_jobs", given))
        for given in (
            {"status": "done"},
            {"status": "Completed"},
            {"status": "canceled"},
            {"status": "RUNNING"},
            {"status": "all"},
            {"limit": 500},
            {"limit": "20"},
        )
    ),
]

REPAIRED = [
    Repaired(
        1,
        "a link to a file of this machine",
        upscale("https://127.0.0.1/v/clip.mp4?sig=1"),
        "leads to an address that is not public",
        ASKED,
    ),
    Repaired(
        2,
        "a page of a local network",
        upscale("https://10.0.0.7/ai-tool/work/1"),
        "leads to an address that is not public",
        ASKED,
    ),
    Repaired(
        12,
        "a path of another machine",
        upscale("/mnt/user-data/uploads/video.mp4"),
        "A file of a chat or of another machine is not there: ask the user",
        ASKED,
    ),
    Repaired(
        12,
        "a path of Windows",
        upscale("C:\\Users\\me\\clip.mov"),
        "ask the user",
        ASKED,
    ),
    Repaired(
        12,
        "a file's address",
        upscale("file:///home/nobody/a.mp4"),
        "in none of the folders",
        ASKED,
    ),
    Repaired(12, "a file's name", upscale("my clip.mp4"), "Give the whole path", ASKED),
    Repaired(13, "words", upscale("my last video"), "list_jobs shows the ids", ("list_jobs", {})),
    Repaired(13, "a word", ("get_job", {"job_id": "latest"}), "list_jobs shows", ("list_jobs", {})),
    Repaired(
        14, "a number", upscale("66778801"), "video:66778801. Ask the user", upscale(PIXVERSE)
    ),
    Repaired(14, "a number as such", upscale(66778801), "PixVerse are whole", upscale(PIXVERSE)),
    Repaired(15, "no source", ("upscale_video", {}), "needs source", ASKED),
    Repaired(
        16, "job_id for source", ("upscale_video", {"job_id": VIDEO}), "It takes: source", ASKED
    ),
    Repaired(
        16,
        "source for job_id",
        ("get_job", {"source": VIDEO}),
        "It takes: job_id",
        ("get_job", {"job_id": VIDEO}),
    ),
    Repaired(
        17,
        "url",
        ("upscale_video", {"url": "https://example.com/a.mp4"}),
        "It takes: source",
        ASKED,
    ),
    Repaired(
        18, "two ids", upscale([VIDEO, dreamina_jobs.SECOND_VIDEO]), "one call for each", ASKED
    ),
    Repaired(18, "two ids as text", upscale(f"{VIDEO}, {PIXVERSE}"), "one call for each", ASKED),
    Repaired(
        18, "an id in JSON", upscale(f'{{"jobid": "{VIDEO}"}}'), f"If {VIDEO} is meant", ASKED
    ),
    Repaired(
        19,
        "an image as a video",
        upscale(IMAGE),
        "Call upscale_image",
        ("upscale_image", {"source": IMAGE}),
    ),
    Repaired(
        19, "a video as an image", ("upscale_image", {"source": VIDEO}), "Call upscale_video", ASKED
    ),
    Repaired(
        19,
        "an image of Google Flow",
        upscale(FLOW_IMAGE),
        "Call upscale_image",
        ("upscale_image", {"source": FLOW_IMAGE}),
    ),
    Repaired(
        23,
        "1440p of a video",
        upscale(FLOW, resolution="1440p"),
        "720p or 1080p or 4K",
        upscale(FLOW, resolution="1080p"),
    ),
    Repaired(
        23,
        "8k of a video",
        upscale(FLOW, resolution="8k"),
        "720p or 1080p or 4K",
        upscale(FLOW, resolution="4K"),
    ),
    Repaired(
        25,
        "1080p where it always makes 4K",
        upscale(PIXVERSE, resolution="1080p"),
        "makes 4K and no 1080p",
        upscale(PIXVERSE),
    ),
    Repaired(27, "120 frames", interpolate(VIDEO, 120), "must be 30 or 60", interpolate(VIDEO, 60)),
    Repaired(
        31,
        "an upscale of an upscale",
        upscale(UPSCALE),
        "already an upscale",
        interpolate(UPSCALE, 60),
    ),
    Repaired(
        32,
        "an upscale of an interpolation",
        upscale(INTERPOLATION),
        "Save it with",
        ("download_media", {"job_id": INTERPOLATION}),
    ),
    Repaired(
        38,
        "to the Desktop",
        ("download_media", {"job_id": VIDEO, "file_name": "/Users/me/Desktop/clip.mp4"}),
        "file_name",
        ("download_media", {"job_id": VIDEO, "file_name": "clip.mp4"}),
    ),
    Repaired(
        38,
        "path",
        ("download_media", {"job_id": VIDEO, "path": "~/Desktop"}),
        "file_name",
        ("download_media", {"job_id": VIDEO}),
    ),
    *(
        Repaired(40, name, upscale(VIDEO, **{name: value}), f"no argument {name}", ASKED)
        for name, value in {"service": "dreamina", "scale": 2, "fps": 60, "quality": "high"}.items()
    ),
    Repaired(
        43, "a captcha elsewhere", upscale(VIDEO, captcha_retry=3), "takes no captcha_retry", ASKED
    ),
    Repaired(
        43, "max_jobs elsewhere", upscale(FLOW, max_jobs=3), "takes no max_jobs", upscale(FLOW)
    ),
    Repaired(44, "Google Flow", interpolate(FLOW, 60), "It can: upscale_video", upscale(FLOW)),
    Repaired(44, "PixVerse", interpolate(PIXVERSE, 60), "It can: upscale_video", upscale(PIXVERSE)),
]


def named(mistake: Understood | Repaired) -> str:
    return f"{mistake.number} {mistake.what}"


@pytest.mark.parametrize("mistake", UNDERSTOOD, ids=named)
async def test_it_is_understood(tmp_path: Path, mistake: Understood) -> None:
    async with running(tmp_path) as h:
        tool, arguments = mistake.call
        reply = await h.call(tool, **arguments)

        assert not reply.is_error, reply.text
        assert len(h.posts()) == bool(mistake.meant)
        for made in h.sandbox.accepted:
            assert mistake.meant.items() <= dict(made.body).items()


@pytest.mark.parametrize("mistake", REPAIRED, ids=named)
async def test_its_refusal_repairs_it(tmp_path: Path, mistake: Repaired) -> None:
    async with running(tmp_path) as h:
        tool, arguments = mistake.call
        refused = await h.call(tool, **arguments)
        assert refused.is_error
        assert mistake.says in refused.text
        assert [] == h.posts()

        tool, arguments = mistake.then
        done = await h.call(tool, **arguments)

        assert not done.is_error, done.text


# What takes more than one call to show

Play = Callable[[Harness], Awaitable[None]]


async def finished(h: Harness, call: Call) -> str:
    tool, arguments = call
    job_id = str((await h.call(tool, **arguments)).job["job_id"])
    done = await h.call("get_job", job_id=job_id, wait_seconds=50)
    assert done.job["status"] == "completed"
    return job_id


async def refused(h: Harness, call: Call, says: str) -> Reply:
    before = len(h.posts())
    tool, arguments = call
    reply = await h.call(tool, **arguments)
    assert reply.is_error
    assert says in reply.text
    assert before == len(h.posts()) or "http_status" in reply.error
    return reply


async def an_id_that_is_cut_is_found_in_the_list(h: Harness) -> None:
    job_id = await finished(h, ASKED)
    await refused(h, ("get_job", {"job_id": job_id[:20]}), "Take it from list_jobs")
    (row,) = (await h.call("list_jobs")).job["jobs"]
    assert not (await h.call("get_job", job_id=row["job_id"])).is_error


async def a_job_of_google_flow_is_its_medium(h: Harness) -> None:
    job_id = await finished(h, upscale(FLOW))
    (medium,) = (await h.call("get_job", job_id=job_id)).job["media"]
    await h.call("upscale_video", source=job_id, resolution="4K")
    assert {"mediaGenerationId": medium["media_id"], "resolution": "4K"}.items() <= (
        json.loads(h.posts()[-1].content).items()
    )


async def a_tight_loop_is_held(h: Harness) -> None:
    job_id = (await h.call("upscale_video", source=VIDEO)).job["job_id"]
    answers = 1
    while (await h.call("get_job", job_id=job_id)).job["status"] != "completed":
        answers += 1
    assert answers <= 4


async def an_upscale_of_ours_is_named_with_its_source(h: Harness) -> None:
    job_id = await finished(h, ASKED)
    await refused(h, upscale(job_id), f"It was made of {VIDEO}")
    assert not (await h.call("interpolate_video", source=job_id, fps=60)).is_error


async def another_frame_rate_names_the_job_there_is(h: Harness) -> None:
    job_id = await finished(h, interpolate(VIDEO, 60))
    reply = await refused(h, interpolate(VIDEO, 30), f"get_job(job_id={job_id})")
    assert not (await h.call("get_job", job_id=reply.error["job_id"])).is_error


async def the_same_call_twice_is_one_job(h: Harness) -> None:
    first, again = await h.call(*ASKED[:1], **ASKED[1]), await h.call(*ASKED[:1], **ASKED[1])
    assert first.job["job_id"] == again.job["job_id"]
    assert len(h.posts()) == 1


async def a_source_that_is_not_finished_is_waited_for(h: Harness) -> None:
    job_id = str((await h.call("upscale_video", source=VIDEO)).job["job_id"])
    reply = await refused(h, interpolate(job_id, 60), "get_job(job_id=")
    assert reply.error["retryable"]
    await h.call("get_job", job_id=job_id, wait_seconds=50)
    assert not (await h.call("interpolate_video", source=job_id, fps=60)).is_error


async def a_running_job_of_google_flow_is_waited_for(h: Harness) -> None:
    job_id = str((await h.call("upscale_video", source=FLOW)).job["job_id"])
    reply = await refused(h, upscale(job_id, resolution="4K"), "not finished yet")
    assert (True, "wait_then_retry") == (reply.error["retryable"], reply.error["next_action"])


async def a_download_before_the_end_is_waited_for(h: Harness) -> None:
    job_id = str((await h.call("upscale_video", source=VIDEO)).job["job_id"])
    early = await h.call("download_media", job_id=job_id)
    if early.is_error:
        assert "get_job" in early.text
        await h.call("get_job", job_id=job_id, wait_seconds=50)
    assert not (await h.call("download_media", job_id=job_id)).is_error


async def a_second_download_returns_the_file_there_is(h: Harness) -> None:
    first = await h.call("download_media", job_id=VIDEO)
    again = await h.call("download_media", job_id=VIDEO, file_name="another")
    assert first.job["media"][0]["path"]
    assert not again.is_error


async def cancelling_what_has_ended_says_so(h: Harness) -> None:
    job_id = await finished(h, ASKED)
    assert "nothing to cancel" in (await h.call("cancel_job", job_id=job_id)).text


async def cancelling_on_google_flow_says_to_let_it_run(h: Harness) -> None:
    job_id = str((await h.call("upscale_video", source=FLOW)).job["job_id"])
    await refused(h, ("cancel_job", {"job_id": job_id}), "Let it run")
    assert not (await h.call("get_job", job_id=job_id, wait_seconds=50)).is_error


async def a_wrong_name_of_a_tool_is_told_the_right_one(h: Harness) -> None:
    for wrong, right in {"get_job_status": "get_job", "video_upscale": "upscale_video"}.items():
        with pytest.raises(MCPError, match=right):
            await h.call(wrong, job_id=VIDEO)


async def what_moderation_refused_is_not_offered_again(h: Harness) -> None:
    source = dreamina_jobs.MODERATED_VIDEO
    job_id = (await h.call("upscale_video", source=source)).job["job_id"]
    failed = await h.call("get_job", job_id=job_id, wait_seconds=50)
    assert failed.job["failure"]["code"] == "moderated"
    assert "another" in failed.text
    assert "at its price" not in failed.text


PLAYED: dict[int, list[Play]] = {
    11: [an_id_that_is_cut_is_found_in_the_list],
    20: [a_job_of_google_flow_is_its_medium],
    30: [a_tight_loop_is_held],
    31: [an_upscale_of_ours_is_named_with_its_source],
    33: [another_frame_rate_names_the_job_there_is],
    34: [the_same_call_twice_is_one_job],
    35: [
        a_source_that_is_not_finished_is_waited_for,
        a_running_job_of_google_flow_is_waited_for,
    ],
    36: [a_download_before_the_end_is_waited_for],
    37: [a_second_download_returns_the_file_there_is],
    39: [cancelling_what_has_ended_says_so, cancelling_on_google_flow_says_to_let_it_run],
    42: [a_wrong_name_of_a_tool_is_told_the_right_one],
    45: [what_moderation_refused_is_not_offered_again],
}


@pytest.mark.parametrize("play", [play for plays in PLAYED.values() for play in plays])
async def test_played(tmp_path: Path, play: Play) -> None:
    async with running(tmp_path, job_seconds=6) as h:
        await play(h)


def test_none_of_the_mistakes_is_left_out() -> None:
    understood = {mistake.number for mistake in UNDERSTOOD}
    repaired = {mistake.number for mistake in REPAIRED}

    assert set(range(1, 46)) == understood | repaired | PLAYED.keys()
