"""The tools that make something of a prompt: what is sent, refused, asked about, and made once."""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.client.context import ClientRequestContext
from mcp.types import ElicitRequestParams, ElicitResult

from mcp_server.sandbox import media
from mcp_server.sandbox.app import Sandbox
from tests.support.harness import (
    GOOD,
    Fault,
    Harness,
    Network,
    Reply,
    VirtualClock,
    asked_for,
    running,
)
from tests.support.processes import Kernel

PANDA = "A red panda sails a paper boat"
ON_DREAMINA: dict[str, Any] = {"prompt": PANDA, "service": "dreamina"}
FLOW: dict[str, Any] = {"service": "google-flow"}
CA, US = "CA:user@example.com", "US:user@example.com"
ASKS: dict[str, Any] = {"USEAPI_CONFIRM_CREDITS": ""}  # its default
CUT = Fault(then="cut")


async def video(server: Harness, **arguments: Any) -> Reply:
    return await server.call("generate_video", **{**ON_DREAMINA, **arguments})


async def image(server: Harness, **arguments: Any) -> Reply:
    return await server.call("generate_image", **{**ON_DREAMINA, **arguments})


async def ended(server: Harness, started: Reply) -> Reply:
    return await server.call("get_job", job_id=started.job["job_id"], wait_seconds=50)


def bodies(server: Harness) -> list[dict[str, Any]]:
    return [asked_for(json.loads(request.content)) for request in server.posts()]


# What is sent, and what is told


async def test_a_prompt_becomes_a_job_that_says_what_was_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        job = (await video(server, aspect_ratio="9:16")).job

    assert ("generate_video", "dreamina", "running", PANDA) == (
        job["operation"],
        job["service"],
        job["status"],
        job["source"],
    )
    assert {
        "model": "seedance-2.0",
        "duration_seconds": 5,
        "resolution": "720p",
        "aspect_ratio": "9:16",
    } == job["options"]
    assert 115 == job["forecast_credits"]
    assert [{"prompt": PANDA, "ratio": "9:16"}] == bodies(server)


async def test_arguments_are_sent_as_dreamina_calls_them(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await video(
            server,
            model="seedance-2.0",
            duration_seconds="10 s",
            resolution="4k",
            aspect_ratio="21x9",
            account="ca:",
            max_jobs=3,
        )
        await image(server, model="seedream-4.0", resolution="4K", aspect_ratio="landscape")

        first, second = bodies(server)
    assert {
        "prompt": PANDA,
        "model": "seedance-2.0",
        "duration": 10,
        "resolution": "4k",
        "ratio": "21:9",
        "account": CA,
        "maxJobs": 3,
    } == first
    assert {
        "prompt": PANDA,
        "model": "seedream-4.0",
        "resolution": "4k",
        "ratio": "16:9",
    } == second


async def test_a_prompt_is_sent_whole_and_shown_as_one_line(tmp_path: Path) -> None:
    prompt = "Scene 1:\n\tA panda 🐼 “sails”.\n" + "Waves. " * 500
    async with running(tmp_path) as server:
        job = (await video(server, prompt=prompt)).job
        listed = await server.call("list_jobs")

    assert [{"prompt": prompt}] == bodies(server)
    shown = listed.job["jobs"][0]["source"]
    assert (300, 120) == (len(job["source"]), len(shown))
    for text in (job["source"], shown):
        assert text.startswith("Scene 1: A panda 🐼 “sails”. Waves. Waves.")
    assert f" from “{shown}”, model" in listed.text


async def test_from_a_prompt_to_a_saved_file_twice_its_size(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        made = await ended(server, await video(server, model="seedance-1.5-pro"))
        upscaled = await ended(
            server, await server.call("upscale_video", source=made.job["job_id"])
        )
        smooth = await ended(
            server,
            await server.call("interpolate_video", source=upscaled.job["job_id"], fps=60),
        )
        saved = await server.call("download_media", job_id=smooth.job["job_id"])

    (item,) = saved.job["media"]
    assert (2560, 1440, 60) == (item["width"], item["height"], item["frame_rate"])
    assert item["path"].endswith(".mp4")


async def test_each_of_the_images_of_a_job_can_be_saved_and_upscaled(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        made = await ended(server, await image(server))
        saved = await server.call("download_media", job_id=made.job["job_id"])
        last = await server.call("upscale_image", source=made.job["job_id"], image_index=3)

    assert 4 == len({item["path"] for item in saved.job["media"]})
    assert "running" == last.job["status"]


async def test_what_the_list_of_media_finds_was_made_here(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        made = await ended(server, await video(server))

        found = (await server.call("list_media", service="dreamina", kind="video")).job["media"]

    (row,) = [each for each in found if each["made_here"]]
    assert (made.job["job_id"], PANDA) == (row["source"], row["prompt"])
    assert {"upscale_video", "interpolate_video"} <= set(row["can"])


async def test_what_a_moderation_refuses_is_data_and_nobody_is_invited_to_pay_again(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as server:
        failed = await ended(server, await video(server, prompt="sandbox:moderated panda"))

    assert ("failed", "moderated") == (failed.job["status"], failed.job["failure"]["code"])
    assert "will be refused again" in failed.job["note"]


async def test_a_prompt_is_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with running(tmp_path) as server:
        server.network.faults = [CUT]
        await video(server)
        await video(server, model="no-such-model")

    assert PANDA not in caplog.text


# Never twice


SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({}, {"variation": 1}),
    ({"prompt": f"{PANDA}\n"}, {"prompt": f" {PANDA}"}),
    ({}, {"model": "seedance-2.0", "duration_seconds": "5s", "resolution": "720p"}),
    ({"aspect_ratio": "16:9"}, {}),
    ({"variation": 2}, {"variation": 2, "aspect_ratio": "16 : 9"}),
    ({}, {"account": US}),
    ({}, {"reply_ref": "x", "max_jobs": 7}),
    ({"model": "seedance-2.5"}, {"model": " seedance-2.5 ", "resolution": "480p"}),
]
OTHER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"variation": 2}),
    ({"variation": 2}, {"variation": 3}),
    ({}, {"prompt": f"{PANDA}."}),
    ({}, {"duration_seconds": 6}),
    ({}, {"aspect_ratio": "1:1"}),
    ({}, {"model": "seedance-2.0-fast"}),
    ({"model": "seedance-2.5"}, {"model": "seedance-2.5", "resolution": "720p"}),
]


@pytest.mark.parametrize(("first", "second"), SAME)
async def test_the_same_call_again_is_the_same_job(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    async with running(tmp_path) as server:
        made = await video(server, **first)
        again = await video(server, **second)
        await ended(server, made)
        later = await video(server, **second)

        assert 1 == len(server.posts())
    for reply in (again, later):
        assert (made.job["job_id"], True) == (reply.job["job_id"], reply.job["reused"])


@pytest.mark.parametrize(("first", "second"), OTHER)
async def test_another_wish_is_another_job(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    async with running(tmp_path) as server:
        made = await video(server, **first)
        other = await video(server, **second)

        assert 2 == len(server.posts())
    assert made.job["job_id"] != other.job["job_id"]
    assert "reused" not in other.job
    assert all("variation" not in body for body in bodies(server))


async def test_ten_calls_at_once_make_one_video(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        replies = await asyncio.gather(*(video(server) for _ in range(10)))

        assert 1 == len(server.posts())
    assert 1 == len({reply.job["job_id"] for reply in replies})


async def test_a_video_whose_answer_was_lost_is_found_by_what_was_asked_for(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, job_seconds=90) as server:
        found = await video(server, prompt="sandbox:lost-answer panda")

        (made,) = server.sandbox.accepted
    assert ("running", made.job_id) == (found.job["status"], found.job["job_id"])


async def test_a_lost_video_that_is_nowhere_is_unconfirmed_and_never_sent_again(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as server:
        server.network.faults = [Fault(reaches=False, then="cut")]
        call = asyncio.create_task(video(server))
        await asyncio.sleep(200)
        first = await call
        again = await video(server)
        row = await server.call("get_job", job_id=first.job["job_id"])

        assert 1 == len(server.posts())
    assert "submitting" == first.job["status"]
    assert ["unconfirmed", "unconfirmed"] == [again.job["status"], row.job["status"]]
    assert "charged a second time" in again.job["note"]


async def test_another_video_of_the_same_prompt_is_not_taken_for_the_lost_one(
    tmp_path: Path,
) -> None:
    """It was there before, or it is not what was asked for."""
    async with running(tmp_path, job_seconds=600) as server:
        before = await video(server)
        server.network.faults = [Fault(reaches=False, then="cut")]
        call = asyncio.create_task(video(server, variation=2))
        await asyncio.sleep(1)
        await video(server, duration_seconds=10)
        await asyncio.sleep(200)
        await call
        lost = await video(server, variation=2)

    assert "running" == before.job["status"]
    assert "unconfirmed" == lost.job["status"]


async def test_a_video_that_goes_by_another_frame_is_not_taken_for_the_lost_one(
    tmp_path: Path,
) -> None:
    """Dreamina's record of a video does not say which frame it began with."""
    own = tmp_path / "own"
    own.mkdir()
    for name, size in (("one", (1280, 720)), ("two", (1920, 1080))):
        (own / f"{name}.jpg").write_bytes(media.read(media.image(*size)))
    async with running(tmp_path, job_seconds=600, USEAPI_INPUT_DIRS=str(own)) as server:
        server.network.concerns = lambda request: request.url.path == "/v1/dreamina/videos"
        server.network.faults = [Fault(reaches=False, then="cut"), CUT]
        wishes = [{"start_image": str(own / f"{n}.jpg"), "account": CA} for n in ("one", "two")]
        calls = []
        for wish in wishes:
            calls.append(asyncio.create_task(video(server, **wish)))
            await asyncio.sleep(1)
        await asyncio.sleep(200)
        await asyncio.gather(*calls)
        again = [await video(server, **wish) for wish in wishes]

        assert 1 == len(server.sandbox.accepted)
        assert 2 == sum(map(server.network.concerns, server.posts()))
    assert ["unconfirmed", "unconfirmed"] == [reply.job["status"] for reply in again]


async def test_what_a_dead_server_left_is_found_and_not_made_again(tmp_path: Path) -> None:
    kernel = Kernel()
    clock = VirtualClock()
    sandbox = Sandbox(job_seconds=600, now=clock.now)
    async with running(tmp_path, locks=kernel.process(), sandbox=sandbox, clock=clock) as server:
        server.network.faults = [Fault(after_s=1000)]
        call = asyncio.create_task(video(server))
        await asyncio.sleep(2)
        kernel.lose_all()
        async with running(
            tmp_path, locks=kernel.process(), sandbox=sandbox, clock=clock
        ) as successor:
            found = await video(successor)

            assert [] == successor.posts()
        call.cancel()
    (made,) = sandbox.accepted
    assert made.job_id == found.job["job_id"]


# Bad input


def bad(name: str, says: str, code: str = "invalid_argument", /, **given: Any) -> Any:
    return pytest.param(given, says, code, id=name)


REFUSED_VIDEOS = [
    bad("no prompt", "needs prompt", prompt=""),
    bad("a blank prompt", "The prompt is empty", prompt=" \n\t "),
    bad("a prompt of what can't be seen", "The prompt is empty", prompt="\u200b\u2060 "),
    bad("a long prompt", "takes 5000 here", prompt="x" * 5001),
    bad("a prompt that no service takes", "of 1 to 15000 characters", prompt="x" * 15_001),
    bad("a prompt with a zero byte", "no text", prompt="a\0b"),
    bad("half a character", "must be text", prompt="a\ud800b"),
    bad("a control character in model", "without control characters", model="a\x1b[31mb"),
    bad("a long model", "1 to 80 characters", model="x" * 81),
    bad("no seconds", "from 1 to 180", duration_seconds=0),
    bad("half a second", "whole number", duration_seconds=0.5),
    bad("seconds as a word", "whole number", duration_seconds="short"),
    bad("a strange shape", "must be 21:9 or 16:9", aspect_ratio="5:1"),
    bad("a strange resolution", "must be 480p or 720p", resolution="8K"),
    bad("variation 0", "from 1 to 1000", variation=0),
    bad("variation 1001", "from 1 to 1000", variation=1001),
    bad("a service of nobody", "service must be dreamina", service="sora"),
    bad("a captcha", "takes no captcha_retry", "unsupported", captcha_retry=3),
    bad("max_jobs 51", "from 1 to 50", max_jobs=51),
    bad("a webhook of nobody", "not one the operator allows", reply_url="https://x.example/y"),
    bad("an unknown account", "No linked account", account="nobody@example.com"),
    bad("an account that fits several", "fits 2 accounts", account="user@"),
    bad("a misspelt argument", "has no argument aspect", aspect="16:9"),
]
REFUSED_IMAGES = [
    bad("nine images", "from 1 to 4", count=9),
    bad("a count on Dreamina", "takes no count", "unsupported", count=2),
    bad("a long prompt", "takes 1600 here", prompt="x" * 1601),
    bad("a strange size", "must be 1k or 2k or 4k", resolution="8k"),
]


async def refused(folder: Path, tool: str, given: dict[str, Any]) -> Reply:
    async with running(folder) as server:
        reply = await server.call(tool, **{**ON_DREAMINA, **given})

        assert [] == server.posts()
        assert [] == (await server.call("list_jobs", status="failed")).job["jobs"]
        return reply


@pytest.mark.parametrize(("given", "says", "code"), REFUSED_VIDEOS)
async def test_a_video_that_can_t_be_made_is_refused_in_a_sentence(
    tmp_path: Path, given: dict[str, Any], says: str, code: str
) -> None:
    reply = await refused(tmp_path, "generate_video", given)

    assert code == reply.error["code"]
    assert says in reply.text
    assert "nothing was" in reply.text or "none was asked" in reply.text


@pytest.mark.parametrize(("given", "says", "code"), REFUSED_IMAGES)
async def test_an_image_that_can_t_be_made_is_refused_in_a_sentence(
    tmp_path: Path, given: dict[str, Any], says: str, code: str
) -> None:
    reply = await refused(tmp_path, "generate_image", given)

    assert code == reply.error["code"]
    assert says in reply.text


async def test_what_the_vendor_refuses_is_told_in_its_words_and_costs_nothing(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as server:
        refusal = await video(server, model="no-such-model", max_credits=500)
        again = await video(server, model="seedance-2.0")

    assert "refused" == refusal.error["code"]
    assert "valid values" in refusal.text
    assert "running" == again.job["status"]


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("no-subscription", "no_subscription"),
        ("no-credits", "no_credits"),
        ("busy", "rate_limited"),
        ("session-expired", "account_error"),
    ],
)
async def test_an_error_of_the_vendor_is_told_after_one_post(
    tmp_path: Path, word: str, code: str
) -> None:
    async with running(tmp_path) as server:
        reply = await video(server, prompt=f"sandbox:{word}")

        assert 1 == len(server.posts())
    assert code == reply.error["code"]


# The service


def only_healthy(name: str) -> Callable[[httpx.Request, httpx.Response], httpx.Response]:
    """What becomes of the lists of accounts where one service alone has a healthy one."""

    def rewritten(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        accounts = json.loads(answer.content)
        if f"/{name}/" not in request.url.path:
            accounts = {login: {**each, "error": "broken"} for login, each in accounts.items()}
        return httpx.Response(200, json=accounts)

    return rewritten


def with_accounts(network: Network, rewrite: Any, calls: int = 30) -> None:
    network.concerns = lambda request: request.url.path.endswith("/accounts")
    network.faults = [Fault(then=rewrite)] * calls


async def test_the_only_service_with_a_healthy_account_is_taken(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        with_accounts(server.network, only_healthy("dreamina"))
        made = await server.call("generate_video", prompt=PANDA)

    assert "dreamina" == made.job["service"]


async def test_the_same_call_stays_with_its_service_when_another_becomes_healthy(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as server:
        with_accounts(server.network, only_healthy("dreamina"))
        made = await server.call("generate_video", prompt=PANDA)
        server.network.faults = []
        again = await server.call("generate_video", prompt=PANDA)

        assert 1 == len(server.posts())
    assert made.job["job_id"] == again.job["job_id"]


async def test_the_operators_service_is_taken_where_the_caller_names_none(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, USEAPI_SERVICE="Dreamina") as server:
        made = await server.call("generate_video", prompt=PANDA)

        assert ["POST"] == [r.method for r in server.network.sent if r.method != "GET"]
    assert "dreamina" == made.job["service"]


async def test_no_healthy_account_anywhere_is_said_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as server:
        with_accounts(server.network, only_healthy("nobody"))
        reply = await server.call("generate_video", prompt=PANDA)

        assert [] == server.posts()
    assert "No healthy account" in reply.text
    assert "check_accounts" in reply.text


async def test_a_token_that_is_refused_is_said_and_no_service_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        with_accounts(server.network, None)
        denied = httpx.Response(401, json={"error": "Unauthorized"})
        server.network.faults = [Fault(reaches=False, then=denied)] * 9
        reply = await server.call("generate_video", prompt=PANDA)

    assert "wrong_token" == reply.error["code"]


# The account


@pytest.mark.parametrize("account", [US, "US:us***@ex***.com", "us:user", "`US:user@example.com`"])
async def test_an_account_is_known_by_its_name_its_mask_or_a_part(
    tmp_path: Path, account: str
) -> None:
    async with running(tmp_path) as server:
        made = await video(server, account=account)

    assert [{"prompt": PANDA, "account": US}] == bodies(server)
    assert "-US:" in made.job["job_id"]


async def test_the_operators_account_is_used_where_the_caller_names_none(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_ACCOUNTS="dreamina=us:") as server:
        await video(server)
        await video(server, account="ca:", variation=2)
        await server.call("upscale_video", source=GOOD["dreamina", "video"])

    assert [US, CA, None] == [body.get("account") for body in bodies(server)]


async def test_an_operators_account_that_is_none_is_a_wrong_setting(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_ACCOUNTS="dreamina=other@example.com") as server:
        reply = await video(server)

        assert [] == server.posts()
    assert "wrong_setting" == reply.error["code"]


async def test_refusals_about_accounts_hold_no_address(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_TOKEN="user:2-x") as server:
        unknown = await video(server, account="nobody")
        several = await video(server, account="example.com")

    for reply in (unknown, several):
        assert "@ex***.com" in reply.text
        assert "@example.com" not in reply.text


# The price


class User:
    """Answers every question the same way, and remembers them."""

    def __init__(self, *, says_yes: bool = True) -> None:
        self.asked: list[str] = []
        self._says_yes = says_yes

    async def __call__(
        self, context: ClientRequestContext, asked: ElicitRequestParams
    ) -> ElicitResult:
        self.asked.append(asked.message)
        return ElicitResult(action="accept", content={"confirm": self._says_yes})

    def on(self, mode: str) -> dict[str, Any]:
        return {"mode": mode, "elicitation_callback": self}


ERAS = pytest.mark.parametrize("mode", ["legacy", "auto"])


@ERAS
async def test_the_user_is_asked_with_what_is_made_and_what_it_costs(
    tmp_path: Path, mode: str
) -> None:
    user = User()
    async with running(tmp_path, client_options=user.on(mode), **ASKS) as server:
        await video(server)
        await video(server)  # made before: nobody is asked again
        await image(server)  # free

        assert 2 == len(server.posts())
    (asked,) = user.asked
    assert asked == (
        "Dreamina, generate video (model seedance-2.0, duration_seconds 5, resolution 720p, "
        f"aspect_ratio 16:9), from the prompt “{PANDA}”: it costs about 115 credits. Go on?"
    )


@ERAS
async def test_a_no_sends_nothing(tmp_path: Path, mode: str) -> None:
    async with running(tmp_path, client_options=User(says_yes=False).on(mode), **ASKS) as server:
        reply = await video(server)

        assert [] == server.posts()
    assert "declined" in reply.text


@pytest.mark.parametrize(
    ("given", "price"),
    [
        ({}, 115),
        ({"duration_seconds": 10, "resolution": "1080p"}, 570),
        ({"resolution": "4K"}, 630),
        ({"model": "seedance-2.5"}, 110),
        ({"model": "seedance-2.5", "resolution": "1080p", "duration_seconds": 4}, 468),
    ],
)
async def test_max_credits_0_only_asks_the_price(
    tmp_path: Path, given: dict[str, Any], price: float
) -> None:
    """Credits a second, as of 5 October 2026; of the dearer region."""
    async with running(tmp_path, **ASKS) as server:
        reply = await video(server, max_credits=0, **given)

        assert [] == server.posts()
    assert ("price", price) == (reply.error["code"], reply.error["price"])


async def test_a_price_that_nobody_documents_is_asked_about_and_a_cap_goes_through(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, **ASKS) as server:
        refusal = await video(server, model="seedance-1.5-pro")
        made = await video(server, model="seedance-1.5-pro", max_credits=60)

        assert 1 == len(server.posts())
    assert "ask_user_then_set_max_credits" == refusal.error["next_action"]
    assert "documents no price" in refusal.text
    assert "max_credits could not be checked" in made.job["note"]


NOT_UPSCALED = "Dreamina does not upscale what is 4K."
A_DRAFT = (
    "Dreamina neither upscales nor interpolates a draft; within 14 days it is finished by"
    " upscale_video with a resolution, 1080p or 4K."
)


@pytest.mark.parametrize(
    ("given", "warning"),
    [
        ({"resolution": "4K"}, NOT_UPSCALED),
        ({"model": "seedance-2.5-draft", "duration_seconds": 4}, A_DRAFT),
    ],
)
async def test_what_can_t_be_done_with_the_result_is_said_before_it_is_paid(
    tmp_path: Path, given: dict[str, Any], warning: str
) -> None:
    user = User()
    async with running(tmp_path / "asked", client_options=user.on("auto"), **ASKS) as server:
        made = await video(server, account="ca:", **given)
    async with running(tmp_path / "refused", **ASKS) as server:
        refusal = await video(server, **given)

    assert f"{warning} Go on?" in user.asked[0]
    assert warning in refusal.text
    assert warning in made.job["note"]


async def test_of_what_is_unconfirmed_nothing_is_said_of_a_result(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        server.network.faults = [Fault(reaches=False, then="cut")]
        begun = await video(server, resolution="4K")
        await asyncio.sleep(60)
        lost = await video(server, resolution="4K")

    assert "submitting" == begun.job["status"]
    assert NOT_UPSCALED in begun.job["note"]
    assert "unconfirmed" == lost.job["status"]
    assert NOT_UPSCALED not in lost.text


async def test_a_wrong_source_is_not_told_with_the_prompt_it_was_made_of(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        made = await ended(server, await video(server))
        refused = await server.call("upscale_image", source=made.job["job_id"])

        assert 1 == len(server.posts())
    assert "unsupported" == refused.error["code"]
    assert PANDA not in refused.text


async def test_a_budget_counts_what_is_made(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_MAX_CREDITS_PER_DAY="200") as server:
        first = await video(server)
        second = await video(server, variation=2)
        again = await video(server)

        assert 1 == len(server.posts())
    assert "budget" in second.error["code"]
    assert first.job["job_id"] == again.job["job_id"]


# All services


MADE = [
    (service, tool)
    for service in ("dreamina", "google-flow", "pixverse")
    for tool in ("generate_video", "generate_image")
]


@pytest.mark.parametrize(("service", "tool"), MADE)
async def test_every_service_makes_it_and_the_next_step_that_is_told_works(
    tmp_path: Path, service: str, tool: str
) -> None:
    async with running(tmp_path) as server:
        started = await server.call(tool, prompt=PANDA, service=service)
        done = await ended(server, started)
        further = re.search(r"(upscale_\w+)\(source=job_id(, image_index=0)?\)", done.job["next"])
        assert further is not None
        index = {"image_index": 0} if further[2] else {}
        larger = await server.call(further[1], source=done.job["job_id"], **index)

        assert (service, "completed") == (done.job["service"], done.job["status"])
        assert (await ended(server, larger)).job["status"] == "completed"
        assert 2 == len(server.sandbox.accepted)


@pytest.mark.parametrize(("service", "tool"), MADE)
async def test_the_same_wish_to_a_service_is_made_once(
    tmp_path: Path, service: str, tool: str
) -> None:
    wish: dict[str, Any] = {"prompt": PANDA, "service": service}
    async with running(tmp_path) as server:
        first = await server.call(tool, **wish)
        await server.call(tool, **wish)
        await ended(server, first)
        later = await server.call(tool, **wish)
        more = await server.call(tool, variation=2, **wish)

        assert 2 == len(server.sandbox.accepted)
    assert later.job["reused"]
    assert "reused" not in more.job


@pytest.mark.parametrize("given", [{}, {"account": "us:"}, {"model": "seedance-2.0"}])
async def test_where_several_services_may_make_it_none_is_chosen(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("generate_video", prompt=PANDA, **given)

        assert [] == server.posts()
    assert "Give service: dreamina, google-flow, pixverse." in reply.text
    assert "fix_arguments" == reply.error["next_action"]


async def test_a_service_whose_accounts_can_t_be_read_may_be_meant(tmp_path: Path) -> None:
    """Money goes where it was meant to, or nowhere."""

    def unreadable(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if "/pixverse/" in request.url.path:
            return httpx.Response(500, json={"error": "Internal server error"})
        return only_healthy("dreamina")(request, answer)

    async with running(tmp_path) as server:
        with_accounts(server.network, unreadable)
        reply = await server.call("generate_video", prompt=PANDA)

        assert [] == server.posts()
    assert "Give service: dreamina, pixverse." in reply.text


@pytest.mark.parametrize("argument", ["start_image", "reference_image"])
async def test_an_id_of_an_image_chooses_its_service(tmp_path: Path, argument: str) -> None:
    tool = "generate_video" if argument == "start_image" else "generate_image"
    given = {argument: GOOD["google-flow", "image"]}
    async with running(tmp_path, USEAPI_SERVICE="pixverse") as server:
        made = await server.call(tool, prompt=PANDA, **given)

    assert "google-flow" == made.job["service"]


async def test_a_job_as_an_image_chooses_its_service_by_any_of_its_ids(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_SERVICE="pixverse") as server:
        made = await server.call("generate_image", prompt=PANDA, service="google-flow")
        assert made.job["job_id"].startswith("useapi-mcp:")
        await ended(server, made)
        clip = await server.call("generate_video", prompt=PANDA, start_image=made.job["job_id"])

    assert "google-flow" == clip.job["service"]


async def test_a_named_service_makes_it_whatever_the_image_is_an_id_of(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        made = await server.call(
            "generate_video",
            prompt=PANDA,
            service="dreamina",
            account="ca:",
            start_image=GOOD["google-flow", "image"],
        )

    assert "dreamina" == made.job["service"]


async def test_an_end_without_a_start_is_refused_before_it_is_uploaded(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        made = await ended(server, await image(server))
        link = made.job["media"][0]["url"]
        before = len(server.posts())
        reply = await video(server, end_image=link)

        assert before == len(server.posts())
    assert "needs a start_image" in reply.text


async def test_of_several_pixverse_accounts_one_must_be_named(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_TOKEN="user:2-x") as server:
        reply = await server.call("generate_video", prompt=PANDA, service="pixverse")
        assert [] == server.posts()
        made = await server.call(
            "generate_video", prompt=PANDA, service="pixverse", account="second"
        )
        again = await server.call("generate_video", prompt=PANDA, service="pixverse")

        assert "second@example.com" == server.sandbox.accepted[0].body["email"]
    assert "Give account: us***@ex***.com, se***@ex***.com" in reply.text
    assert made.job["job_id"] == again.job["job_id"]  # which account made it does not matter


@pytest.mark.parametrize(
    ("tool", "given", "next_call"),
    [
        ("generate_video", {"resolution": "4K"}, None),
        (
            "generate_video",
            {"model": "seedance-2.5-draft", "duration_seconds": 4},
            "upscale_video(source=job_id, resolution=1080p), which finishes the draft",
        ),
        (
            "generate_image",
            {"resolution": "4k"},
            "upscale_image(source=job_id, image_index=0), which makes it larger",
        ),
    ],
)
async def test_no_step_is_told_that_would_be_refused(
    tmp_path: Path, tool: str, given: dict[str, Any], next_call: str | None
) -> None:
    async with running(tmp_path) as server:
        made = await server.call(tool, **{**ON_DREAMINA, "account": "ca:", **given})
        done = await ended(server, made)
        saved = await server.call("download_media", job_id=done.job["job_id"])

    parts = ("download_media(job_id), which saves it", next_call)
    assert " or ".join(filter(None, parts)) == done.job["next"]
    assert next_call == saved.job.get("next")


async def test_what_the_user_agreed_to_is_what_is_made(tmp_path: Path) -> None:
    """While the question stands another service gets the only healthy account."""

    class Slow(User):
        async def __call__(
            self, context: ClientRequestContext, asked: ElicitRequestParams
        ) -> ElicitResult:
            with_accounts(server.network, only_healthy("pixverse"))
            return await super().__call__(context, asked)

    user = Slow()
    async with running(tmp_path, client_options=user.on("legacy"), **ASKS) as server:
        with_accounts(server.network, only_healthy("dreamina"))
        made = await server.call("generate_video", prompt=PANDA)

    assert user.asked[0].startswith("Dreamina, generate video")
    assert "dreamina" == made.job["service"]


@pytest.mark.parametrize("service", ["dreamina", "google-flow", "pixverse"])
async def test_from_a_wish_to_an_image_in_4k(tmp_path: Path, service: str) -> None:
    async with running(tmp_path) as server:
        made = await ended(
            server, await server.call("generate_image", prompt=PANDA, service=service)
        )
        larger = await server.call("upscale_image", source=made.job["job_id"], resolution="4K")
        saved = await server.call("download_media", job_id=larger.job["job_id"])

    (item,) = saved.job["media"]
    assert ("image", 3840, 2160) == (item["kind"], item["width"], item["height"])


@pytest.mark.parametrize(("service", "resolution"), [("google-flow", "4K"), ("pixverse", "4K")])
async def test_from_a_wish_to_a_clip_in_4k(tmp_path: Path, service: str, resolution: str) -> None:
    async with running(tmp_path) as server:
        made = await ended(
            server, await server.call("generate_video", prompt=PANDA, service=service)
        )
        larger = await server.call(
            "upscale_video", source=made.job["job_id"], resolution=resolution
        )
        saved = await server.call("download_media", job_id=larger.job["job_id"])

    (item,) = saved.job["media"]
    assert ("video", 3840, 2160) == (item["kind"], item["width"], item["height"])


@pytest.mark.parametrize(
    ("service", "given"),
    [
        ("dreamina", {"aspect_ratio": "16:9"}),
        ("pixverse", {"aspect_ratio": "16:9"}),
        ("dreamina", {"variation": 0}),
        ("dreamina", {"duration_seconds": 500}),
    ],
)
async def test_what_is_refused_beside_a_frame_is_refused_before_the_frame_is_uploaded(
    tmp_path: Path, service: str, given: dict[str, Any]
) -> None:
    async with running(tmp_path) as server:
        made = await ended(server, await server.call("generate_image", prompt=PANDA, **FLOW))
        before = len(server.posts())
        reply = await server.call(
            "generate_video",
            prompt=PANDA,
            service=service,
            start_image=made.job["media"][0]["url"],
            **given,
        )

        assert before == len(server.posts())
    assert reply.is_error


@pytest.mark.parametrize("service", ["dreamina", "google-flow", "pixverse"])
async def test_a_made_image_becomes_the_first_frame_on_every_service(
    tmp_path: Path, service: str
) -> None:
    given = {} if service == "pixverse" else {"account": "user@example.com"}
    given |= {"account": CA} if service == "dreamina" else {}
    async with running(tmp_path) as server:
        made = await ended(server, await server.call("generate_image", prompt=PANDA, **FLOW))
        wish = {"prompt": PANDA, "service": service, "start_image": made.job["job_id"], **given}
        clip = await server.call("generate_video", **wish)
        posts = len(server.posts())
        again = await server.call("generate_video", **wish)

        assert posts == len(server.posts())
        assert "completed" == (await ended(server, clip)).job["status"]
    assert clip.job["job_id"] == again.job["job_id"]


@pytest.mark.parametrize(
    ("given", "settings", "account"),
    [
        ({}, {"USEAPI_ACCOUNTS": "dreamina=us:"}, {"account": US}),
        ({"account": "us:"}, {}, {"account": US}),
        (
            {"service": "pixverse", "prompt": "sandbox:fails panda"},
            {},
            {"email": "user@example.com"},
        ),
    ],
)
async def test_after_a_job_that_failed_unseen_the_same_call_goes_to_the_same_account(
    tmp_path: Path, given: dict[str, Any], settings: dict[str, Any], account: dict[str, Any]
) -> None:
    wish = {"prompt": "sandbox:moderated panda", **given}
    async with running(tmp_path, **settings) as server:
        await video(server, **wish)
        await asyncio.sleep(60)
        again = await video(server, **wish)

    assert "reused" not in again.job
    assert 2 == len(server.posts())
    assert all(account.items() <= body.items() for body in bodies(server))
