"""Many users of one server: each sees what he asked for, and nobody can tell the rest from nothing.

Whatever takes an id is in ENTRIES: what it answers to another user's id is compared, word for word,
with what it answers to an id that nobody knows.
"""

import asyncio
import contextlib
import inspect
import json
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from mcp import MCPError
from mcp.types import ResourceTemplateReference

from mcp_server.jobs.jobs import Jobs
from mcp_server.models import OUR_ID_PREFIX, Caller
from mcp_server.sandbox import media
from mcp_server.tools.context import SUBMITTING_TOOLS
from mcp_server.tools.registry import all_tools
from tests.jobs.test_submission import own_500
from tests.support.harness import GOOD, Fault, Harness, Reply
from tests.support.http_memory import Mode
from tests.support.stores import journal_away
from tests.support.tasks_client import DECLARED, Method, ask
from tests.support.team import OPERATOR, READER, Team, team

VIDEO, IMAGE = GOOD["dreamina", "video"], GOOD["dreamina", "image"]
FLOW = GOOD["google-flow", "video"]
MODES = get_args(Mode)

Entry = Callable[[Harness, str], Awaitable[Any]]


def tool(name: str, argument: str, /, **others: Any) -> Entry:
    """A tool that takes an id as this argument."""

    async def entry(caller: Harness, some_id: str) -> Any:
        reply = await caller.call(name, **{argument: some_id}, **others)
        return reply.is_error, reply.text, reply.data, reply.meta

    return entry


def resource(uri: str) -> Entry:
    async def entry(caller: Harness, some_id: str) -> Any:
        return await caller.client.read_resource(uri.format(some_id))

    return entry


def task(method: Method) -> Entry:
    async def entry(caller: Harness, some_id: str) -> Any:
        return await ask(caller.client, method, some_id, {} if method == "tasks/update" else None)

    return entry


async def completion(caller: Harness, some_id: str) -> Any:
    reference = ResourceTemplateReference(type="ref/resource", uri="useapi://jobs/{job_id}")
    found = await caller.client.complete(reference, {"name": "job_id", "value": some_id[:2]})
    return found.completion


async def prompt(caller: Harness, some_id: str) -> Any:
    return await caller.client.get_prompt("enhance_clip", {"source": some_id})


ENTRIES: dict[str, Entry] = {
    "get_job": tool("get_job", "job_id"),
    "get_job that waits": tool("get_job", "job_id", wait_seconds=20),
    "download_media": tool("download_media", "job_id"),
    "download_media with a wrong name": tool("download_media", "job_id", file_name="../a"),
    "cancel_job": tool("cancel_job", "job_id"),
    "upscale_video": tool("upscale_video", "source"),
    "upscale_video with a cap": tool("upscale_video", "source", max_credits=0),
    "upscale_video of a draft": tool("upscale_video", "source", resolution="1080p"),
    "interpolate_video": tool("interpolate_video", "source", fps=60),
    "upscale_image": tool("upscale_image", "source"),
    "upscale_image by index": tool("upscale_image", "source", image_index=1),
    "generate_video from": tool("generate_video", "start_image", prompt="a", service="dreamina"),
    "generate_video to": tool(
        "generate_video",
        "end_image",
        prompt="a",
        start_image=GOOD["pixverse", "image"],
        service="pixverse",
    ),
    "generate_image": tool("generate_image", "reference_image", prompt="a", service="google-flow"),
    "generate_image of any": tool("generate_image", "reference_image", prompt="a"),
    "job": resource("useapi://jobs/{}"),
    "file": resource("useapi://jobs/{}/files/0"),
    "medium": resource("useapi://media/{}"),
    "completion": completion,
    "prompt": prompt,
}
TASKS: dict[str, Entry] = {
    method: task(method) for method in ("tasks/get", "tasks/cancel", "tasks/update")
}


async def outcome(entry: Entry, caller: Harness, some_id: str) -> str:
    """What an entry answers, without the id."""
    try:
        said = repr(await entry(caller, some_id))
    except MCPError as error:
        said = f"MCPError {error.error!r}"
    return said.replace(some_id, "<id>").replace(json.dumps(some_id)[1:-1], "<id>")


def asked(requests: list[httpx.Request], some_id: str) -> set[str]:
    """What the vendor was asked, without the id; files of links are kept for a while."""
    lines = (f"{each.method} {httpx.URL(str(each.url)).path}" for each in requests)
    return {line.replace(some_id, "<id>") for line in lines if "/media/image" not in line}


@dataclass(frozen=True)
class Theirs:
    """What is Alice's: ids, a path and a link of her jobs, and the same that nobody has."""

    ids: dict[str, tuple[str, str]]
    path: str
    link: str


def other(some_id: str) -> str:
    """An id of the same form that nobody has."""
    if some_id.startswith(OUR_ID_PREFIX):
        return OUR_ID_PREFIX + "a" * 26
    number = re.findall(r"(?<=[j:-])[0-9a-f-]{6,}", some_id)[-1]
    if some_id.startswith("j"):
        number = some_id[10:20]
    turned = "".join(str((int(c) + 1) % 10) if c.isdigit() else c for c in number)
    return some_id.replace(number, turned)


async def made_by_alice(server: Team) -> Theirs:
    ids: dict[str, tuple[str, str]] = {}
    async with server.caller("alice") as alice:
        path = link = ""
        calls: dict[str, tuple[str, dict[str, Any]]] = {
            "Dreamina's video": ("upscale_video", {"source": VIDEO}),
            "Dreamina's image": ("upscale_image", {"source": IMAGE}),
            "Google Flow's video": ("upscale_video", {"source": FLOW}),
            "Google Flow's image": ("generate_image", {"prompt": "a", "service": "google-flow"}),
            "PixVerse's video": ("upscale_video", {"source": GOOD["pixverse", "video"]}),
            "PixVerse's images": (
                "generate_image",
                {"prompt": "cat", "service": "pixverse", "count": 2},
            ),
        }
        for name, (made_by, arguments) in calls.items():
            job = (await alice.call(made_by, **arguments)).job
            done = (await alice.call("get_job", job_id=job["job_id"], wait_seconds=50)).job
            assert done["status"] == "completed", done
            row = await server.app.journal.get(done["job_id"])
            assert row is not None
            for kind, some_id in {
                "job": done["job_id"],
                "submission": row.id,
                "medium": done["media"][-1].get("media_id"),
            }.items():
                if some_id and some_id not in [known for known, _ in ids.values()]:
                    ids[f"{name}: {kind}"] = (some_id, other(some_id))
            link = done["media"][0].get("url") or link
        saved = (await alice.call("download_media", job_id=ids["Dreamina's video: job"][0])).job
        path = saved["media"][0]["path"]
    return Theirs(ids, path, link)


@contextlib.asynccontextmanager
async def alices(folder: Path, **environment: Any) -> AsyncIterator[tuple[Team, Theirs]]:
    async with team(folder, **environment) as server:
        yield server, await made_by_alice(server)


@pytest.mark.parametrize("mode", MODES)
async def test_anothers_id_is_answered_as_one_that_nobody_knows(tmp_path: Path, mode: Mode) -> None:
    entries = ENTRIES if mode == "legacy" else ENTRIES | TASKS
    options = {} if mode == "legacy" else DECLARED
    differing: list[tuple[object, ...]] = []
    compared = set()
    async with alices(tmp_path) as (server, theirs), server.caller("bob", mode, **options) as bob:
        # The answers are the same in both eras: of the older one, a few ids will do.
        ids = list(theirs.ids.items())[: 3 if mode == "legacy" else None]
        for kind, (hidden, unknown) in ids:
            assert hidden != unknown
            for name, entry in entries.items():
                sent = server.network.sent
                sent.clear()
                nothing, of_unknown = await outcome(entry, bob, unknown), asked(sent, unknown)
                sent.clear()
                said, of_hidden = await outcome(entry, bob, hidden), asked(sent, hidden)
                compared.add(nothing)
                if (said, of_hidden) != (nothing, of_unknown):
                    differing.append((kind, name, nothing, said, of_hidden ^ of_unknown))
                if any(line.startswith(("POST", "DELETE")) for line in of_hidden):
                    differing.append((kind, name, of_hidden))
        assert [] == (await bob.call("list_jobs")).job["jobs"]
        assert [] == (await bob.call("list_jobs", status="failed")).job["jobs"]

    assert [] == differing
    assert len(compared) > 5  # not all of it is one refusal of whatever is asked


@pytest.mark.parametrize(
    "then", [Fault(connects=False), Fault(then=httpx.Response(401, json={"error": "Unauthorized"}))]
)
async def test_while_the_vendor_can_not_be_read_no_difference_shows_either(
    tmp_path: Path, then: Fault
) -> None:
    async with alices(tmp_path) as (server, theirs), server.caller("bob", **DECLARED) as bob:
        server.network.concerns = lambda _: True
        differing = []
        for kind, (hidden, unknown) in theirs.ids.items():
            for name in ("get_job", "get_job that waits", "upscale_video", "job", "tasks/get"):
                said = []
                for some_id in (unknown, hidden):
                    server.network.faults = [then] * 99
                    said.append(await outcome((ENTRIES | TASKS)[name], bob, some_id))
                if re.sub(r"....-..-..T[0-9:.]+Z", "", said[0]) != re.sub(
                    r"....-..-..T[0-9:.]+Z", "", said[1]
                ):
                    differing.append((kind, name, *said))

    assert [] == differing


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_listed_is_what_the_caller_asked_for(tmp_path: Path, mode: Mode) -> None:
    async with alices(tmp_path) as (server, _):
        sees: dict[str, list[int]] = {}
        for name in ("alice", "bob", OPERATOR):
            async with server.caller(name, mode) as caller:
                jobs = (await caller.call("list_jobs")).job["jobs"]
                (content,) = (await caller.client.read_resource("useapi://jobs")).contents
                completed = await completion(caller, "")
                found = (await caller.call("list_media", limit=50)).job
                found_media = found["media"]
                sees[name] = [
                    len(jobs),
                    len(json.loads(str(getattr(content, "text", "")))["jobs"]),
                    len(completed.values),
                    sum(item["made_here"] for item in found_media),
                ]
                is_told = "others use these accounts" in found.get("note", "")
                assert is_told == (name != OPERATOR)
                if name != OPERATOR:
                    assert all(item["made_here"] for item in found_media)

    assert [0, 0, 0, 0] == sees["bob"]
    assert sees["alice"] == sees[OPERATOR]
    assert [6, 6, 6] == sees["alice"][:3]
    assert sees["alice"][3] > 0


async def test_a_path_of_anothers_file_is_one_that_is_not_there(tmp_path: Path) -> None:
    folder = str(tmp_path / "output")
    async with (
        alices(tmp_path, USEAPI_INPUT_DIRS=folder) as (server, theirs),
        server.caller("bob") as bob,
        server.caller("alice") as alice,
    ):
        hidden = Path(theirs.path)
        missing = hidden.with_name(f"z{hidden.name[1:]}")
        link = tmp_path / "output" / "a-link.mp4"
        link.symlink_to(hidden)
        entry = tool("upscale_video", "source")
        said = [await entry(bob, str(path)) for path in (hidden, missing)]
        by_link = await entry(bob, str(link))
        by_uri = await entry(bob, hidden.as_uri())
        own = (await alice.call("upscale_video", source=str(hidden))).text
        await alice.call(
            "download_media", job_id=theirs.ids["Dreamina's video: job"][0], file_name="again"
        )
        before_that = await entry(bob, str(hidden))

    named = zip(said, (hidden, missing), strict=True)
    told = [repr(each).replace(path.name, "") for each, path in named]
    assert told[0] == told[1]
    assert "is not there" in told[0]
    assert said[0] == before_that
    assert "is not there" in repr(by_link)
    assert "is not there" in repr(by_uri)
    assert "this is already" in own  # known as the job


async def test_who_names_anothers_file_in_a_prompt_may_not_read_it(tmp_path: Path) -> None:
    """Rows are searched for a name as text, which anybody may write."""
    async with (
        alices(tmp_path, USEAPI_INPUT_DIRS=str(tmp_path / "output")) as (server, theirs),
        server.caller("bob") as bob,
    ):
        prompt = f"A cat beside {Path(theirs.path).name}"
        await bob.call("generate_video", prompt=prompt, service="dreamina")
        refused = await bob.call("upscale_video", source=theirs.path)

    assert "is not there" in refused.text


async def test_a_file_that_has_the_name_of_anothers_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    clip = folder / "clip.mp4"
    clip.write_bytes(media.read(media.clip(640, 360, 24)))
    async with (
        team(tmp_path, USEAPI_INPUT_DIRS=f"{folder}") as server,
        server.caller("alice") as alice,
        server.caller("bob") as bob,
    ):
        replies = []
        for caller in (alice, bob):
            replies.append(await caller.call("upscale_video", source=str(clip)))
            job_id = replies[0].job["job_id"]
            await alice.call("get_job", job_id=job_id, wait_seconds=50)
            await alice.call("download_media", job_id=job_id, file_name="clip")

    assert ["clip.mp4"] * 2 == [reply.job["source"] for reply in replies]


async def test_a_link_to_anothers_medium_is_a_link_like_any_other(tmp_path: Path) -> None:
    async with alices(tmp_path) as (server, theirs):
        of_bob = await server.app.all_jobs.of(Caller("bob")).made(url=theirs.link)
        of_alice = await server.app.all_jobs.of(Caller("alice")).made(url=theirs.link)

    assert of_bob is None
    assert of_alice is not None


@pytest.mark.parametrize("mode", MODES)
async def test_who_asks_for_the_same_joins_pays_nothing_and_sees_it(
    tmp_path: Path, mode: Mode
) -> None:
    async with (
        team(tmp_path, job_seconds=60) as server,
        server.caller("alice", mode) as alice,
        server.caller("bob", mode) as bob,
    ):
        both = await asyncio.gather(*(c.call("upscale_video", source=VIDEO) for c in (alice, bob)))
        later = await bob.call("upscale_video", source=VIDEO)
        job_id = both[0].job["job_id"]
        read = (await bob.call("get_job", job_id=job_id)).job
        lists = [(await c.call("list_jobs")).job["jobs"] for c in (alice, bob)]
        row = await server.app.journal.get(job_id)

    assert {job_id} == {reply.job["job_id"] for reply in (*both, later)}
    assert [[job_id]] * 2 == [[job["job_id"] for job in jobs] for jobs in lists]
    assert "running" == read["status"]
    assert 1 == len(alice.posts())
    assert row is not None
    assert "alice" == row.payer


async def test_who_does_not_pay_leaves_a_job_and_who_pays_cancels_it(tmp_path: Path) -> None:
    async with (
        team(tmp_path, job_seconds=60) as server,
        server.caller("alice") as alice,
        server.caller("bob") as bob,
    ):
        job_id = (await alice.call("upscale_video", source=VIDEO)).job["job_id"]
        await bob.call("upscale_video", source=VIDEO)
        await bob.call("cancel_job", job_id=job_id.replace("user@", "USER@"))
        left = (await bob.call("cancel_job", job_id=job_id)).job
        asked_after = [r for r in server.network.sent if r.method == "DELETE"]
        gone = await bob.call("get_job", job_id=job_id)
        still = (await alice.call("get_job", job_id=job_id)).job
        cancelled = (await alice.call("cancel_job", job_id=job_id)).job

    assert ("running", None) == (left["status"], left.get("next"))
    assert left["note"].startswith("It goes on, for somebody else asked for it, too")
    assert [] == asked_after
    assert "not_found" == gone.error["code"]
    assert "running" == still["status"]
    assert "cancelled" == cancelled["status"]


async def test_a_job_of_the_operator_is_his_to_cancel(tmp_path: Path) -> None:
    async with (
        team(tmp_path, job_seconds=60) as server,
        server.caller(OPERATOR) as operator,
        server.caller("bob") as bob,
    ):
        job_id = (await operator.call("upscale_video", source=VIDEO)).job["job_id"]
        before = await bob.call("get_job", job_id=job_id)
        await bob.call("upscale_video", source=VIDEO)
        after = await bob.call("get_job", job_id=job_id)
        left = (await bob.call("cancel_job", job_id=job_id)).job
        cancelled = (await operator.call("cancel_job", job_id=job_id)).job

    assert "not_found" == before.error["code"]
    assert job_id == after.job["job_id"]
    assert "running" == left["status"]
    assert "cancelled" == cancelled["status"]


async def test_a_job_that_is_over_is_not_left(tmp_path: Path) -> None:
    async with alices(tmp_path) as (server, theirs), server.caller("bob") as bob:
        job_id, _ = theirs.ids["Dreamina's video: job"]
        await bob.call("upscale_video", source=VIDEO)
        cancelled = (await bob.call("cancel_job", job_id=job_id)).job
        again = (await bob.call("get_job", job_id=job_id)).job

    assert cancelled["note"].startswith("There was nothing to cancel")
    assert "completed" == again["status"]


async def test_in_a_team_everybody_sees_all_and_may_cancel_it(tmp_path: Path) -> None:
    async with (
        team(tmp_path, job_seconds=60, USEAPI_SHARING="team") as server,
        server.caller("alice") as alice,
        server.caller("bob") as bob,
    ):
        job_id = (await alice.call("upscale_video", source=VIDEO)).job["job_id"]
        listed = (await bob.call("list_jobs")).job["jobs"]
        found = (await bob.call("list_media", service="pixverse")).job
        cancelled = (await bob.call("cancel_job", job_id=job_id)).job
        row = await server.app.journal.get(job_id)

    assert [job_id] == [job["job_id"] for job in listed]
    assert any(not item["made_here"] for item in found["media"])
    assert "cancelled" == cancelled["status"]
    assert row is not None
    assert "alice" == row.payer


@pytest.mark.parametrize("mode", MODES)
async def test_who_may_only_read_can_not_submit_or_cancel(tmp_path: Path, mode: Mode) -> None:
    needed: dict[str, dict[str, Any]] = {
        "upscale_video": {"source": VIDEO},
        "interpolate_video": {"source": VIDEO, "fps": 60},
        "upscale_image": {"source": IMAGE},
        "generate_video": {"prompt": "a"},
        "generate_image": {"prompt": "a"},
        "cancel_job": {"job_id": VIDEO},
    }
    assert SUBMITTING_TOOLS == needed.keys()
    options = {} if mode == "legacy" else DECLARED
    async with team(tmp_path) as server, server.caller(READER, mode, **options) as reader:
        for name, arguments in needed.items():
            reply = await reader.call(name, **arguments)
            assert "forbidden" == reply.error["code"]
            assert "may only read, so nothing was done" in reply.text
        if mode != "legacy":
            with pytest.raises(MCPError, match="may only read"):
                await ask(reader.client, "tasks/cancel", VIDEO)
        assert [] == server.network.sent
        assert (await reader.call("get_job", job_id=VIDEO)).job["status"] == "completed"


async def test_a_user_pays_within_a_daily_budget_and_nobody_is_held_up_by_anothers(
    tmp_path: Path,
) -> None:
    async with (
        team(tmp_path, job_seconds=60, USEAPI_MAX_CREDITS_PER_USER_PER_DAY="250") as server,
        server.caller("alice") as alice,
        server.caller("bob") as bob,
        server.caller(OPERATOR) as operator,
    ):

        async def made(caller: Harness, variation: int) -> Reply:
            return await caller.call(
                "generate_video", prompt="a cat", service="dreamina", variation=variation
            )

        at_once = await asyncio.gather(*(made(alice, n) for n in range(1, 13)))
        # Of the same wish at once, the first is of her whose credits are spent.
        hers, his = await asyncio.gather(made(alice, 20), made(bob, 20))
        joined = await made(alice, 20)
        unlimited = [await made(operator, n) for n in range(30, 33)]

    refused = [reply for reply in at_once if reply.is_error]
    assert 10 == len(refused)
    assert {"budget_spent"} == {reply.error["code"] for reply in refused}
    assert "of your daily 250 for dreamina 230 are spent" in refused[0].text
    assert "ask the operator" in refused[0].text
    assert not his.is_error
    assert hers.is_error or hers.job["job_id"] == his.job["job_id"]
    assert joined.job["job_id"] == his.job["job_id"]
    assert not any(reply.is_error for reply in unlimited)
    assert 2 + 1 + 3 == len(alice.posts())


async def test_a_second_request_is_not_sent_where_the_users_credits_do_not_cover_both(
    tmp_path: Path,
) -> None:
    """An upscale costs 30 credits, and the first may have been charged for one that failed."""
    async with (
        team(tmp_path, USEAPI_MAX_CREDITS_PER_USER_PER_DAY="59") as server,
        server.caller("alice") as alice,
    ):
        server.network.faults = [Fault(reaches=False, then=own_500())]
        told = await alice.call("upscale_video", source=VIDEO)

    assert "unconfirmed" == told.job["status"]
    assert "budget_spent" in told.text
    assert [] == server.sandbox.accepted


async def test_a_user_whose_credits_are_spent_is_told_so_before_any_question(
    tmp_path: Path,
) -> None:
    settings: dict[str, Any] = {
        "USEAPI_MAX_CREDITS_PER_USER_PER_DAY": "150",
        "USEAPI_CONFIRM_CREDITS": "50",
    }
    wish = {"prompt": "a cat", "service": "dreamina"}  # 115 credits
    async with team(tmp_path, **settings) as server, server.caller("alice") as alice:
        await alice.call("generate_video", **wish, max_credits=1000)
        refused = await alice.call("generate_video", **wish, variation=2)

    assert "budget_spent" == refused.error["code"]


async def test_a_price_that_the_vendor_tells_counts_for_a_users_budget(tmp_path: Path) -> None:
    wish = {"source": GOOD["pixverse", "video"]}
    async with (
        team(tmp_path, USEAPI_MAX_CREDITS_PER_USER_PER_DAY="15") as server,
        server.caller("alice") as alice,
    ):
        made = await alice.call("upscale_video", **wish)
        refused = await alice.call("upscale_video", **wish, model="topaz-proteus")

    assert "running" == made.job["status"]
    assert "budget_spent" == refused.error["code"]
    assert 1 == len(server.sandbox.accepted)


async def test_whoever_joined_what_failed_can_read_why(tmp_path: Path) -> None:
    image = {"source": GOOD["google-flow", "image"]}
    async with (
        team(tmp_path) as server,
        server.caller("alice") as alice,
        server.caller("bob") as bob,
    ):
        server.network.faults = [Fault(reaches=False, after_s=1, then="cut")]
        lost = await asyncio.gather(*(c.call("upscale_image", **image) for c in (alice, bob)))
        ids = {reply.error["job_id"] for reply in lost}
        read = [(await c.call("get_job", job_id=min(ids))).job for c in (alice, bob)]

    assert 1 == len(ids) == len(alice.posts())
    assert ["lost", "lost"] == [job["failure"]["code"] for job in read]


async def test_who_agreed_to_no_price_is_not_told_of_anothers_budget(tmp_path: Path) -> None:
    """Bob's job ends while he repeats the call that made it, and Alice asks for the same."""
    settings: dict[str, Any] = {
        "USEAPI_MAX_CREDITS_PER_USER_PER_DAY": "150",
        "USEAPI_CONFIRM_CREDITS": "50",
    }
    wish: dict[str, Any] = {"prompt": "a cat", "service": "dreamina"}  # 115 credits
    async with (
        team(tmp_path, job_seconds=600, **settings) as server,
        server.caller("alice") as alice,
        server.caller("bob") as bob,
    ):
        await alice.call("generate_video", **wish, variation=2, max_credits=1000)
        job_id = (await bob.call("generate_video", **wish, max_credits=1000)).job["job_id"]
        failed = httpx.Response(200, json={"jobid": job_id, "status": "failed", "error": "No"})
        server.network.concerns = lambda request: request.method == "GET"
        server.network.faults = [Fault(), Fault(reaches=False, after_s=5, then=failed)]
        again = asyncio.create_task(bob.call("generate_video", **wish))
        await asyncio.sleep(2)
        hers = await alice.call("generate_video", **wish, max_credits=1000)
        his = await again

    assert "budget_spent" == hers.error["code"]
    assert "consent_needed" == his.error["code"]
    assert "credits for dreamina" not in his.text
    assert 2 == len(server.sandbox.accepted)


@pytest.mark.skipif(sys.platform == "win32", reason="its files can't be moved while they are open")
async def test_a_user_whose_journal_fails_while_the_vendor_works_gets_his_job(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, job_seconds=60) as server, server.caller("alice") as alice:
        server.network.faults = [Fault(after_s=10)]
        asked = asyncio.create_task(alice.call("upscale_video", source=VIDEO))
        await asyncio.sleep(5)
        with journal_away(tmp_path):
            reply = await asked

    assert server.sandbox.accepted[0].job_id == reply.job["job_id"]


async def test_that_the_operator_asked_for_a_users_job_is_not_written_down(
    tmp_path: Path,
) -> None:
    async with (
        team(tmp_path, job_seconds=60) as server,
        server.caller("alice") as alice,
        server.caller(OPERATOR) as operator,
    ):
        job_id = (await alice.call("upscale_video", source=VIDEO)).job["job_id"]
        joined = (await operator.call("upscale_video", source=VIDEO)).job["job_id"]
        row = await server.app.journal.get(job_id)
        assert row is not None
        users = await server.app.journal.users_asking([row])

    assert joined == job_id
    assert {"alice"} == users


async def test_nobody_learns_that_another_has_sent_the_same_file(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    for name in ("alices.mp4", "bobs.mp4"):
        (folder / name).write_bytes(media.read(media.clip(640, 360, 24)))
    async with (
        team(tmp_path, USEAPI_INPUT_DIRS=str(folder)) as server,
        server.caller("alice") as alice,
        server.caller("bob") as bob,
    ):
        wish: dict[str, Any] = {"max_credits": 0}  # uploads it, and asks for the price
        await alice.call("upscale_video", source=str(folder / "alices.mp4"), **wish)
        await bob.call("upscale_video", source=str(folder / "bobs.mp4"), **wish)
        uploads = [r for r in server.network.sent if "/files" in r.url.path]
        listed = [(await c.call("list_jobs")).job["jobs"] for c in (alice, bob)]

    assert 2 == len(uploads)
    assert [["alices.mp4"], ["bobs.mp4"]] == [[job["source"] for job in jobs] for jobs in listed]


async def test_while_the_journal_can_not_be_read_nobody_sees_what_may_be_anothers(
    tmp_path: Path,
) -> None:
    async with alices(tmp_path) as (server, theirs), server.caller("bob") as bob:
        job_id, _ = theirs.ids["Dreamina's video: job"]
        with journal_away(tmp_path):
            replies = [
                await bob.call(name, **{argument: job_id})
                for name, argument in {
                    "get_job": "job_id",
                    "download_media": "job_id",
                    "cancel_job": "job_id",
                    "upscale_video": "source",
                }.items()
            ]

    assert ["journal_unusable"] * 4 == [reply.error["code"] for reply in replies]


def test_every_tool_that_takes_an_id_is_compared() -> None:
    """A new one that is not in ENTRIES might tell another's id from one that nobody knows."""
    takes = {
        (each.name, argument)
        for each in all_tools()
        for argument in each.all_parameters()["properties"]
        if argument in ("job_id", "source") or argument.endswith("_image")
    }
    compared = {
        (cells["name"], cells["argument"])
        for entry in ENTRIES.values()
        if "argument" in (cells := inspect.getclosurevars(entry).nonlocals)
    }

    assert takes == compared


LIFECYCLE = {"of", "notify", "answer_waiting", "answer_submitting", "drain", "close"}
"""What of Jobs is no answer to a caller; nor is a property."""


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, part in vars(Jobs).items()
        if name[0] != "_" and name not in LIFECYCLE and not isinstance(part, property)
    ],
)
def test_what_jobs_answer_comes_from_what_the_caller_may_see(name: str) -> None:
    """`_rows` and `_reader` are the caller's, and `_own`; what else reads jobs is everybody's."""
    source = inspect.getsource(getattr(Jobs, name))

    assert not re.search(r"self\._(all_rows|journal|upstream|accounts\.shared)\b", source)


def test_no_handler_passes_by_the_jobs_of_its_caller() -> None:
    package = Path(inspect.getfile(Jobs)).parents[1]
    files = [path for folder in ("tools", "server") for path in (package / folder).glob("*.py")]
    used = {
        (path.name, found)
        for path in files
        for found in re.findall(r"\b(?:app|app_of\(ctx\)|current_app\(\))\.(\w+)", path.read_text())
    }

    assert {"consent.py", "media.py", "sources.py", "choice.py", "jobs.py"} >= {
        name for name, found in used if found == "upstream"
    }
    assert {"factory.py"} == {name for name, found in used if found in ("journal", "all_jobs")}
