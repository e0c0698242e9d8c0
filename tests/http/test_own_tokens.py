"""Users' own useapi.net tokens: given on a page, used for their user alone, and shown to nobody."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitRequestURLParams, ElicitResult

from mcp_server.http.identity_provider import IdentityProvider
from mcp_server.http.rate_limit import RateLimit
from mcp_server.models import Caller, OwnAccount
from mcp_server.sandbox import media
from mcp_server.sandbox.app import Sandbox
from tests.jobs.test_uploads import uploads
from tests.security.test_canary import logged
from tests.support.harness import (
    GOOD,
    TOKEN,
    Fault,
    Harness,
    Network,
    Reply,
    VirtualClock,
    reply,
)
from tests.support.http_memory import ADDRESS, HTTP_TOKEN, Mode, serving
from tests.support.identity import AUDIENCE, BOTH_SCOPES, ISSUER, Issuer
from tests.support.stores import journal_away
from tests.support.team import NOBODY, OPERATOR, READER, Team, find_user, team

OWN: dict[str, Any] = {
    "USEAPI_OWN_TOKENS": "true",
    "USEAPI_PUBLIC_URL": ADDRESS,
    "USEAPI_SECRET": "s" * 32,
}
ALONE = {**OWN, "USEAPI_TOKEN": ""}
ALICES, BOBS = "user:11-alices0canary", "user:22-bobs0canary"
CANARIES = ("alices0canary", "bobs0canary")
VIDEO, IMAGE, FLOW, PIXVERSE = (
    GOOD["dreamina", "video"],
    GOOD["dreamina", "image"],
    GOOD["google-flow", "video"],
    GOOD["pixverse", "video"],
)
WISH: dict[str, Any] = {"prompt": "a lighthouse", "service": "dreamina"}


def page_in(text: str) -> str:
    found = re.search(rf"{ADDRESS}/own-token/[\w-]+", text)
    assert found, text
    return found[0]


async def page_of(caller: Harness) -> str:
    """The page's address, as a user finds it."""
    return page_in((await caller.call("check_accounts", service="dreamina")).text)


async def fill(server: Team, page: str, proof: str, token: str, do: str = "keep") -> httpx.Response:
    form = {"proof": proof, "token": token, "do": do}
    return await server.served.http.post(page, data=form, headers={"Origin": ADDRESS})


async def give(server: Team, caller: Harness, name: str, token: str) -> None:
    answer = await fill(server, await page_of(caller), name, token)
    assert answer.status_code == 200, answer.text


def tokens_sent(network: Network) -> set[str]:
    """What the vendor was sent as a token since the last look; files of links need none."""
    sent, network.sent[:] = list(network.sent), []
    asked = [request for request in sent if "/media/" not in request.url.path]
    return {request.headers["authorization"].removeprefix("Bearer ") for request in asked}


@asynccontextmanager
async def with_two(
    folder: Path, **environment: str
) -> AsyncIterator[tuple[Team, Harness, Harness]]:
    """A server to which Alice and Bob have each given a token."""
    async with (
        team(folder, job_seconds=30, **{**OWN, **environment}) as server,
        server.caller("alice") as alice,
        server.caller("bob") as bob,
    ):
        await give(server, alice, "alice", ALICES)
        await give(server, bob, "bob", BOBS)
        server.network.sent.clear()
        yield server, alice, bob


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_who_needs_a_token_is_told_the_page_and_goes_on_with_the_same_call(
    tmp_path: Path, mode: Mode
) -> None:
    async with team(tmp_path, **ALONE) as server, server.caller("alice", mode) as alice:
        before = await alice.call("upscale_video", source=VIDEO)
        checked = await alice.call("check_accounts")
        assert [] == server.network.sent
        answer = await fill(server, page_in(before.text), "alice", ALICES)
        after = await alice.call("upscale_video", source=VIDEO)
        checked_after = await alice.call("check_accounts")
        sent = tokens_sent(server.network)

    assert ("own_token", "give_token") == (before.error["code"], before.error["next_action"])
    assert "never in the chat" in before.text
    assert 1 == checked.text.count(page_in(checked.text).rpartition("/")[0])
    assert "missing" == checked.job["token"]
    assert 200 == answer.status_code
    assert "running" == after.job["status"]
    assert checked_after.job["ok"]
    assert {ALICES} == sent


@pytest.mark.parametrize("tool", ["list_media", "upscale_video"])
async def test_a_client_that_opens_addresses_is_asked_and_its_call_goes_on(
    tmp_path: Path, tool: str
) -> None:
    asked: list[ElicitRequestURLParams] = []

    async with team(tmp_path, **ALONE) as server:

        async def user(_: Any, params: Any) -> ElicitResult:
            asked.append(params)
            asyncio.get_running_loop().call_later(20, lambda: filled.append(begin(params.url)))
            return ElicitResult(action="accept")

        def begin(page: str) -> "asyncio.Task[httpx.Response]":
            return asyncio.create_task(fill(server, page, "alice", ALICES))

        filled: list[asyncio.Task[httpx.Response]] = []
        async with server.caller("alice", elicitation_callback=user) as alice:
            arguments = {"source": VIDEO} if tool == "upscale_video" else {}
            answer = await alice.call(tool, **arguments)
            again = await alice.call(tool, **arguments)
        sent = tokens_sent(server.network)

    assert not answer.is_error, answer.text
    assert not again.is_error
    (question,) = asked
    assert "url" == question.mode
    assert "token" in question.message
    assert "http" not in question.message
    assert {ALICES} == sent


@pytest.mark.parametrize(
    ("action", "code", "waits_s"),
    [("accept", "own_token", 45), ("cancel", "own_token", 0), ("decline", "declined", 0)],
)
async def test_a_user_who_gives_no_token_gets_nothing_sent(
    tmp_path: Path, action: Any, code: str, waits_s: float
) -> None:
    async def user(_: Any, __: Any) -> ElicitResult:
        return ElicitResult(action=action)

    async with (
        team(tmp_path, **ALONE) as server,
        server.caller("alice", elicitation_callback=user) as alice,
    ):
        began = server.served.clock.now()
        answer = await alice.call("upscale_video", source=VIDEO)
        took_s = server.served.clock.now() - began

    assert code == answer.error["code"]
    assert waits_s == pytest.approx(took_s, abs=1.5)
    assert [] == server.network.sent


async def test_the_question_about_the_price_comes_after_the_one_for_the_token(
    tmp_path: Path,
) -> None:
    asked: list[str] = []
    async with team(tmp_path, **{**ALONE, "USEAPI_CONFIRM_CREDITS": "10"}) as server:

        async def user(_: Any, params: Any) -> ElicitResult:
            asked.append(params.mode)
            if params.mode == "form":
                return ElicitResult(action="accept", content={"confirm": True})
            assert 200 == (await fill(server, params.url, "alice", ALICES)).status_code
            return ElicitResult(action="accept")

        async with server.caller("alice", elicitation_callback=user) as alice:
            answer = await alice.call("upscale_video", source=VIDEO)

    assert "running" == answer.job["status"]
    assert ["url", "form"] == asked
    assert 1 == len(server.sandbox.accepted)


async def use_everything(caller: Harness, folder: Path) -> list[Reply]:
    """Every kind of request to the vendor: lists, prices, uploads, submits, reads, files, ends."""
    clip = folder / "own" / "clip.mp4"
    clip.parent.mkdir(exist_ok=True)
    clip.write_bytes(media.read(media.clip(640, 360, 24)))
    replies = [
        await caller.call("check_accounts", credits=True),
        await caller.call("list_media"),
        await caller.call("upscale_video", source=str(clip), max_credits=100),
        await caller.call("upscale_video", source=PIXVERSE, max_credits=0),
        await caller.call("generate_image", prompt="a", service="google-flow"),
        await caller.call("upscale_image", source=IMAGE),
        await caller.call("get_job", job_id=IMAGE),
    ]
    for wish in ({"source": VIDEO}, {"source": FLOW}):
        made = await caller.call("upscale_video", **wish)
        job_id = made.job["job_id"]
        replies += [
            made,
            await caller.call("cancel_job", job_id=job_id),
            await caller.call("get_job", job_id=job_id, wait_seconds=50),
            await caller.call("download_media", job_id=job_id),
        ]
    # Its answer is lost, and it is looked for.
    caller.network.faults = [Fault(then="cut")]
    replies += [await caller.call("generate_video", **WISH)]
    return [*replies, await caller.call("list_jobs")]


async def test_every_request_of_a_user_goes_with_his_own_token(tmp_path: Path) -> None:
    folder = {"USEAPI_INPUT_DIRS": str(tmp_path / "own")}
    async with with_two(tmp_path, **folder) as (server, alice, bob):
        used = {}
        async with server.caller("carol") as carol:
            for name, caller in (("alice", alice), ("bob", bob), ("carol", carol)):
                replies = await use_everything(caller, tmp_path)
                asked = {f"{r.method} {r.url.path}".rstrip("/") for r in server.network.sent}
                used[name] = tokens_sent(server.network)
                assert len([each for each in replies if not each.is_error]) > 10
                for kind in ("POST /v2/pixverse/files", "GET /v2/account", "GET /v1/dreamina/"):
                    assert any(each.startswith(kind) for each in asked), asked
        accepted = len(server.sandbox.accepted)

    assert {"alice": {ALICES}, "bob": {BOBS}, "carol": {TOKEN}} == used
    assert accepted % 3 == 0  # none of them joined another


async def test_the_same_wish_of_two_accounts_is_two_jobs_and_of_one_is_one(tmp_path: Path) -> None:
    async with with_two(tmp_path) as (server, alice, bob):
        made = [await caller.call("generate_video", **WISH) for caller in (alice, bob, alice)]
        ids = [each.job["job_id"] for each in made]
        rows = [await server.app.journal.get(some_id) for some_id in ids]
        hidden = await bob.call("get_job", job_id=ids[0])

    assert ids[0] != ids[1]
    assert ids[0] == ids[2]
    assert made[2].job["reused"]
    assert 2 == len(server.sandbox.accepted)
    assert all(row is not None and row.account for row in rows)
    assert "not_found" == hidden.error["code"]


async def test_what_waits_for_a_slot_is_sent_with_its_users_own_token(tmp_path: Path) -> None:
    async with with_two(tmp_path, USEAPI_QUEUE_SECONDS="1800") as (server, alice, _):
        busy = httpx.Response(429, json={"error": "Account is busy"})
        server.network.faults = [Fault(reaches=False, then=busy)]
        waiting = await alice.call("generate_video", **WISH)
        await asyncio.sleep(30)
        sent = tokens_sent(server.network)

    assert "queued" == waiting.job["status"]
    assert 1 == len(server.sandbox.accepted)
    assert {ALICES} == sent


async def test_what_the_shared_token_made_before_is_read_with_it(tmp_path: Path) -> None:
    async with team(tmp_path, **OWN) as server, server.caller("alice") as alice:
        job_id = (await alice.call("upscale_video", source=VIDEO)).job["job_id"]
        await give(server, alice, "alice", ALICES)
        server.network.sent.clear()
        done = await alice.call("get_job", job_id=job_id, wait_seconds=50)
        old = tokens_sent(server.network)
        again = await alice.call("upscale_video", source=VIDEO)
        new = tokens_sent(server.network)

    assert "completed" == done.job["status"]
    assert ({TOKEN}, {ALICES}) == (old, new)
    assert again.job["job_id"] != job_id


async def test_an_image_that_the_shared_token_made_before_is_still_an_image(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, job_seconds=5, **OWN) as server, server.caller("alice") as alice:
        made = await alice.call("generate_image", prompt="a fox", service="google-flow")
        done = await alice.call("get_job", job_id=made.job["job_id"], wait_seconds=50)
        image = done.job["media"][0]["media_id"]
        await give(server, alice, "alice", ALICES)
        server.network.sent.clear()
        await alice.call("generate_video", **WISH, start_image=image)
        asked = [request for request in server.network.sent if "assets" in request.url.path]

    assert asked
    assert {f"Bearer {TOKEN}"} == {request.headers["authorization"] for request in asked}


async def test_whoever_looks_at_a_job_reads_it_with_the_token_that_paid(tmp_path: Path) -> None:
    async with with_two(tmp_path) as (server, alice, _), server.caller(OPERATOR) as operator:
        job_id = (await alice.call("upscale_video", source=VIDEO)).job["job_id"]
        server.network.sent.clear()
        read = await operator.call("get_job", job_id=job_id, wait_seconds=50)
        saved = await operator.call("download_media", job_id=job_id)
        asked = tokens_sent(server.network)

    assert "completed" == read.job["status"]
    assert not saved.is_error
    assert {ALICES} == asked


async def test_whoever_cancels_a_job_does_so_with_the_token_that_paid(tmp_path: Path) -> None:
    async with with_two(tmp_path) as (server, alice, _), server.caller(OPERATOR) as operator:
        job_id = (await alice.call("upscale_video", source=VIDEO)).job["job_id"]
        server.network.sent.clear()
        cancelled = await operator.call("cancel_job", job_id=job_id)
        methods = {request.method for request in server.network.sent}
        asked = tokens_sent(server.network)

    assert "cancelled" == cancelled.job["status"]
    assert "DELETE" in methods
    assert {ALICES} == asked


async def test_another_server_goes_on_with_a_users_token(tmp_path: Path) -> None:
    """An answer that was lost is looked for by who has the journal, with the token that paid."""
    async with with_two(tmp_path) as (server, alice, _):
        server.network.concerns = lambda _: True
        server.network.faults = [Fault(), Fault(then="cut"), *[Fault(connects=False)] * 99]
        lost = await alice.call("generate_video", **WISH)
        await asyncio.sleep(60)
        server.network.faults.clear()
        network, clock = server.network, server.served.clock
    network.sent.clear()
    async with (
        serving(tmp_path, OWN, network=network, clock=clock, find_user=find_user) as other,
        other.client(token="alice") as client,
    ):
        found = await client.call_tool("generate_video", WISH)
    asked = tokens_sent(network)

    assert lost.job["job_id"].startswith("useapi-mcp:")
    assert not found.is_error
    assert 1 == len(server.sandbox.accepted)
    assert {ALICES} == asked


async def test_a_webhook_has_the_job_read_with_the_token_that_paid(tmp_path: Path) -> None:
    async with with_two(tmp_path, USEAPI_WEBHOOKS="true") as (server, alice, _):
        await alice.call("upscale_video", source=VIDEO)
        (post,) = alice.posts()
        url = json.loads(post.content)["replyUrl"]
        server.network.sent.clear()
        answer = await server.served.http.post(url)
        await asyncio.sleep(5)
        asked = tokens_sent(server.network)

    assert 204 == answer.status_code
    assert {ALICES} == asked


async def test_a_token_that_is_taken_back_is_used_no_more_and_its_jobs_stay_listed(
    tmp_path: Path,
) -> None:
    async with with_two(tmp_path) as (server, alice, bob):
        job_id = (await alice.call("upscale_video", source=VIDEO)).job["job_id"]
        page = await page_of(alice)
        shown = await server.served.http.get(page)
        waiting = asyncio.create_task(alice.call("get_job", job_id=job_id, wait_seconds=50))
        await asyncio.sleep(1)
        answer = await fill(server, page, "alice", "", do="take back")
        waited = await waiting
        server.network.sent.clear()
        listed = (await alice.call("list_jobs")).job["jobs"]
        read = await alice.call("get_job", job_id=job_id)
        cancelled = await alice.call("cancel_job", job_id=job_id)
        assert [] == server.network.sent
        await alice.call("generate_video", **WISH)
        of_alice = tokens_sent(server.network)
        await bob.call("generate_video", **WISH)
        of_bob = tokens_sent(server.network)
        await give(server, alice, "alice", "user:11-another0token")
        server.network.sent.clear()
        back = await alice.call("get_job", job_id=job_id, wait_seconds=50)
        renewed = tokens_sent(server.network)

    assert "Take back" in shown.text
    assert 200 == answer.status_code
    assert [job_id] == [job["job_id"] for job in listed]
    for each in (waited, read, cancelled):
        assert "own_token" == each.error["code"]
        assert "not kept here any more" in each.text
        assert "check_accounts" in each.text
    assert ({TOKEN}, {BOBS}) == (of_alice, of_bob)
    assert "completed" == back.job["status"]  # a new token of the same account goes on with it
    assert {"user:11-another0token"} == renewed


async def test_a_token_of_another_account_does_not_read_the_jobs_of_the_first(
    tmp_path: Path,
) -> None:
    async with with_two(tmp_path) as (server, alice, _):
        job_id = (await alice.call("upscale_video", source=VIDEO)).job["job_id"]
        await give(server, alice, "alice", "user:33-elsewhere")
        server.network.sent.clear()
        read = await alice.call("get_job", job_id=job_id)
        again = await alice.call("upscale_video", source=VIDEO)

    assert "own_token" == read.error["code"]
    assert again.job["job_id"] != job_id
    assert {"user:33-elsewhere"} == tokens_sent(server.network)


async def test_a_token_that_the_vendor_refuses_is_told_as_the_users_own(tmp_path: Path) -> None:
    async with with_two(tmp_path) as (server, alice, _):
        server.network.concerns = lambda _: True
        server.network.faults = [Fault(then=httpx.Response(401, json={"error": "Unauthorized"}))]
        answer = await alice.call("list_media", service="dreamina")
        refusal = Fault(then=httpx.Response(401, json={"error": "Unauthorized"}))
        server.network.faults = [refusal] * 3  # what exists already is read first
        made = await alice.call("upscale_image", source=IMAGE)

    for each in (answer, made):
        assert "own_token" == each.error["code"]
        assert "USEAPI_TOKEN" not in each.text


async def test_a_secret_that_is_replaced_keeps_tokens_and_another_one_does_not(
    tmp_path: Path,
) -> None:
    async with with_two(tmp_path) as (server, _, _):
        network, clock = server.network, server.served.clock

    async def calls(secret: str, source: str = VIDEO) -> list[Any]:
        changed = {**OWN, "USEAPI_SECRET": secret}
        async with (
            serving(tmp_path, changed, network=network, clock=clock, find_user=find_user) as other,
            other.client(token="alice") as client,
        ):
            return [
                await client.call_tool("upscale_video", {"source": source}),
                await client.call_tool("check_accounts", {"service": "dreamina"}),
            ]

    both = await calls(f"{'n' * 32},{'s' * 32}")
    new_alone = await calls("n" * 32)  # what was read meanwhile was sealed anew
    other = await calls("o" * 32, PIXVERSE)

    assert not any(answer.is_error for answer in (*both, *new_alone))
    said = other[0].content[0].text
    assert other[0].is_error
    assert "sealed with another USEAPI_SECRET" in said
    assert "give it again" in said
    assert page_in(other[1].content[0].text)


async def test_a_server_that_is_not_set_to_use_them_reads_no_job_of_theirs(tmp_path: Path) -> None:
    async with with_two(tmp_path) as (server, alice, _):
        job_id = (await alice.call("upscale_video", source=VIDEO)).job["job_id"]
        network, clock = server.network, server.served.clock
    network.sent.clear()
    async with (
        serving(tmp_path, network=network, clock=clock, find_user=find_user) as other,
        other.client(token="alice") as client,
    ):
        read = await client.call_tool("get_job", {"job_id": job_id})
        page = await other.http.get("/own-token/x")

    assert read.is_error
    assert "USEAPI_OWN_TOKENS" in read.content[0].text  # type: ignore[union-attr]
    assert [] == network.sent
    assert 401 == page.status_code


async def test_a_team_shares_what_is_paid_with_its_token_and_nothing_else(tmp_path: Path) -> None:
    async with (
        with_two(tmp_path, USEAPI_SHARING="team") as (server, alice, bob),
        server.caller("carol") as carol,
        server.caller(OPERATOR) as operator,
    ):
        hers = (await alice.call("upscale_video", source=VIDEO)).job["job_id"]
        teams = (await carol.call("upscale_video", source=VIDEO)).job["job_id"]
        sees = {
            name: {job["job_id"] for job in (await caller.call("list_jobs")).job["jobs"]}
            for name, caller in {"alice": alice, "bob": bob, "operator": operator}.items()
        }
        hidden = await bob.call("get_job", job_id=hers)
        unknown = await bob.call("cancel_job", job_id=hers)
        server.network.sent.clear()
        shared = await bob.call("get_job", job_id=teams, wait_seconds=50)
        asked = tokens_sent(server.network)
        found = (await carol.call("list_media", service="pixverse")).job["media"]

    assert {"alice": {hers, teams}, "bob": {teams}, "operator": {hers, teams}} == sees
    assert ["not_found"] * 2 == [each.error["code"] for each in (hidden, unknown)]
    assert "completed" == shared.job["status"]
    assert {TOKEN} == asked
    assert any(not item["made_here"] for item in found)  # all that the team's account holds


async def test_budgets_count_each_accounts_credits_apart(tmp_path: Path) -> None:
    async with with_two(tmp_path, USEAPI_MAX_CREDITS_PER_DAY="150") as (server, alice, bob):
        async with server.caller("carol") as carol:
            made = [await carol.call("generate_video", **WISH)]
        made += [await caller.call("generate_video", **WISH) for caller in (alice, bob)]
        over = await alice.call("generate_video", **WISH, variation=2)

    assert not any(each.is_error for each in made)
    assert "budget_spent" == over.error["code"]


async def test_the_operators_accounts_are_no_default_for_a_user_with_his_own(
    tmp_path: Path,
) -> None:
    accounts = {"USEAPI_ACCOUNTS": "dreamina=US:nobody@elsewhere.example"}
    async with with_two(tmp_path, **accounts) as (server, alice, _):
        own = await alice.call("generate_video", **WISH)
        listed = await alice.call("list_media", service="dreamina")
        async with server.caller("carol") as carol:
            shared = await carol.call("generate_video", **WISH)

    assert not own.is_error
    assert any(not item["made_here"] for item in listed.job["media"])  # all of it is his
    assert "wrong_setting" == shared.error["code"]


def check_files(folder: Path, canary: str) -> None:
    for path in folder.rglob("*"):
        assert path.is_dir() or canary.encode() not in path.read_bytes(), path


async def test_no_token_is_in_a_database_an_answer_a_page_or_a_log(tmp_path: Path) -> None:
    said: list[str] = []
    folder = {"USEAPI_INPUT_DIRS": str(tmp_path / "own")}
    with logged() as (written, records):
        async with with_two(tmp_path, **folder) as (server, alice, bob):
            for caller, token in ((alice, ALICES), (bob, BOBS)):
                server.network.concerns = lambda request: request.method == "GET"
                answer = httpx.Response(403, json={"error": f"no {token} here"})
                server.network.faults = [Fault(then=answer)] * 3
                replies = [await caller.call("list_media", service="dreamina")]
                server.network.faults = []
                server.network.concerns = lambda request: request.method == "POST"
                replies += await use_everything(caller, tmp_path)
                page = await page_of(caller)
                for proof, given in ((NOBODY, token), ("alice", f"{token} x"), ("bob", token)):
                    answer = await fill(server, page, proof, given)
                    said += [answer.text, str(answer.headers)]
                said += [each.text + json.dumps([each.data, each.meta]) for each in replies]

    said += [written.getvalue(), *(record.getMessage() for record in records)]
    assert len("".join(said)) > 10_000
    for canary in CANARIES:
        assert not any(canary in text for text in said)
        check_files(tmp_path, canary)
    assert "/own-token/" not in written.getvalue().replace("/own-token/***", "")


# The page.


async def test_the_page_is_a_plain_form_that_leads_nowhere(tmp_path: Path) -> None:
    async with team(tmp_path, **OWN) as server, server.caller("alice") as alice:
        answer = await server.served.http.get(await page_of(alice))

    policy = answer.headers["content-security-policy"]
    assert 200 == answer.status_code
    assert "default-src 'none'" in policy
    assert "form-action 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert ("same-origin", "no-store") == (
        answer.headers["referrer-policy"],
        answer.headers["cache-control"],
    )
    assert not re.search(r"<script|<a |<img|http", answer.text)
    assert "Take back" not in answer.text
    assert ["proof", "token"] == re.findall(r'<input type="password" name="(\w+)"', answer.text)


async def test_a_page_takes_nothing_from_another_user_than_its_own(tmp_path: Path) -> None:
    """Alice sends Bob the address that was made for her."""
    async with (
        team(tmp_path, **OWN) as server,
        server.caller("alice") as alice,
        server.caller("bob") as bob,
    ):
        page = await page_of(alice)
        server.network.sent.clear()
        answers = [await fill(server, page, who, BOBS) for who in ("bob", HTTP_TOKEN, "", NOBODY)]
        assert [] == server.network.sent
        await alice.call("upscale_video", source=VIDEO)
        await bob.call("upscale_video", source=VIDEO)
        sent = tokens_sent(server.network)

    assert [403] * 4 == [answer.status_code for answer in answers]
    assert "another user" in answers[0].text
    assert {TOKEN} == sent


async def test_a_user_of_an_identity_provider_shows_who_he_is_by_its_token(tmp_path: Path) -> None:
    clock = VirtualClock()
    issuer = Issuer(clock.now)
    provider = IdentityProvider(ISSUER, AUDIENCE, clock, issuer.transport)
    network = Network(Sandbox(now=clock.now))
    alice, bob = (issuer.token(name, scope=BOTH_SCOPES) for name in ("alice", "bob"))
    async with (
        serving(tmp_path, ALONE, network=network, clock=clock, provider=provider) as server,
        server.client(token=alice) as client,
    ):
        page = page_in(reply(await client.call_tool("check_accounts", {})).text)
        statuses = [
            (await server.http.post(page, data={"proof": proof, "token": ALICES})).status_code
            for proof in (bob, issuer.token("alice", key="k2"), alice)
        ]
        made = reply(await client.call_tool("upscale_video", {"source": VIDEO}))

    assert [403, 403, 200] == statuses
    assert "running" == made.job["status"]
    assert {ALICES} == tokens_sent(network)


async def test_an_address_works_once_and_for_ten_minutes(tmp_path: Path) -> None:
    async with team(tmp_path, **OWN) as server, server.caller("alice") as alice:
        late, first, second = [await page_of(alice) for _ in range(3)]
        kept = await fill(server, first, "alice", ALICES)
        replayed = await fill(server, first, "alice", ALICES)
        beside = await fill(server, second, "alice", ALICES)
        back = await fill(server, await page_of(alice), "alice", "", do="take back")
        after = await fill(server, late, "alice", ALICES)
        fresh = await page_of(alice)
        await asyncio.sleep(599)
        in_time = await server.served.http.get(fresh)
        await asyncio.sleep(1)
        too_late = await fill(server, fresh, "alice", ALICES)
        known = await server.app.own_tokens.known("alice")  # type: ignore[union-attr]

    assert [200, 410, 410, 200, 410, 200, 410] == [
        answer.status_code for answer in (kept, replayed, beside, back, after, in_time, too_late)
    ]
    assert "check_accounts" in replayed.text
    assert "" == known.account


@pytest.mark.parametrize(
    ("token", "status", "said"),
    [
        ("", 400, "begins with user:"),
        ("12345-abc", 400, "begins with user:"),
        ("user:11-a b", 400, "begins with user:"),
        ("user:402-ended", 400, "not active"),
        (f'"Bearer {ALICES}"', 200, "It is kept"),
        (f"  {ALICES}\n", 200, "It is kept"),
    ],
)
async def test_a_token_is_looked_at_before_it_is_kept(
    tmp_path: Path, token: str, status: int, said: str
) -> None:
    async with team(tmp_path, **OWN) as server, server.caller("alice") as alice:
        page = await page_of(alice)
        answer = await fill(server, page, "alice", token)
        again = await fill(server, page, "alice", ALICES)

    assert status == answer.status_code
    assert said in answer.text
    assert (410 if status == 200 else 200) == again.status_code  # another try at the same page


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (Fault(then=httpx.Response(401, json={"error": "Unauthorized"})), 400, "does not know"),
        (Fault(then=httpx.Response(500, text="<html>")), 503, "could not be asked"),
        (Fault(connects=False), 503, "could not be asked"),
        (Fault(then=httpx.Response(200, json={"subscriptionIsActive": True})), 503, "whose token"),
    ],
)
async def test_a_token_that_can_not_be_checked_is_not_kept(
    tmp_path: Path, fault: Fault, status: int, said: str
) -> None:
    async with team(tmp_path, **OWN) as server, server.caller("alice") as alice:
        page = await page_of(alice)
        server.network.concerns = lambda _: True
        server.network.faults = [fault] * 3
        answer = await fill(server, page, "alice", ALICES)
        server.network.faults = []
        known = await server.app.own_tokens.known("alice")  # type: ignore[union-attr]

    assert status == answer.status_code
    assert said in answer.text
    assert "" == known.account


async def test_what_is_no_form_of_the_page_is_refused(tmp_path: Path) -> None:
    async with team(tmp_path, **OWN) as server, server.caller("alice") as alice:
        page, http = await page_of(alice), server.served.http
        changed = page[:-2] + ("aa" if page[-2:] != "aa" else "bb")
        answers = {
            404: [await http.get(each) for each in (changed, f"{ADDRESS}/own-token/", f"{page}/x")],
            405: [await http.put(page)],
            413: [await http.post(page, content=b"proof=" + b"a" * 20_000)],
            400: [
                await http.post(page, content=content)
                for content in (b"", b"proof=alice&proof=bob", b"\xff", b"&".join([b"a=b"] * 9))
            ],
            403: [
                await http.post(page, data={"proof": "alice"}, headers={"Origin": "https://x.y"})
            ],
        }

    assert answers.keys() == {answer.status_code for each in answers.values() for answer in each}
    for status, each in answers.items():
        assert {status} == {answer.status_code for answer in each}


async def test_who_guesses_at_the_page_is_slowed_down(tmp_path: Path) -> None:
    async with team(tmp_path, **OWN) as server, server.caller("alice") as alice:
        page = await page_of(alice)
        began = server.served.clock.now()
        for _ in range(12):
            assert 403 == (await fill(server, page, NOBODY, ALICES)).status_code
        took_s = server.served.clock.now() - began

    assert 3 == pytest.approx(took_s, abs=0.5)


async def test_while_the_database_is_away_nobody_goes_on_with_the_shared_token(
    tmp_path: Path,
) -> None:
    async with with_two(tmp_path) as (server, alice, _):
        page = await page_of(alice)
        server.network.sent.clear()
        with journal_away(tmp_path):
            answer = await server.served.http.post(
                "/mcp", json={}, headers={"Authorization": "Bearer alice"}
            )
            shown = await fill(server, page, "alice", ALICES)

    assert [503, 503] == [answer.status_code, shown.status_code]
    assert "Retry-After" in answer.headers
    assert [] == server.network.sent


async def test_a_server_without_users_has_no_page(tmp_path: Path) -> None:
    async with serving(tmp_path, OWN) as server:
        page = await server.http.get("/own-token/abc")
        checked = await server.call("check_accounts", service="dreamina")

    assert 401 == page.status_code
    assert "own-token" not in checked.text


async def test_without_the_setting_there_is_no_page_and_nobody_is_told_of_one(
    tmp_path: Path,
) -> None:
    settings = {**OWN, "USEAPI_OWN_TOKENS": ""}
    async with team(tmp_path, **settings) as server, server.caller("alice") as alice:
        checked = await alice.call("check_accounts", service="dreamina")
        page = await server.served.http.get("/own-token/abc")

    assert "own-token" not in checked.text
    assert 401 == page.status_code


# Who has less than a user, or is more than one.


async def test_a_token_that_may_only_read_does_not_change_where_jobs_go(tmp_path: Path) -> None:
    """Who took it from a user would otherwise have all his jobs made on an account of theirs."""
    clock = VirtualClock()
    issuer = Issuer(clock.now)
    provider = IdentityProvider(ISSUER, AUDIENCE, clock, issuer.transport)
    network = Network(Sandbox(now=clock.now))
    narrow, wide = (issuer.token("alice", scope=scope) for scope in ("jobs:read", BOTH_SCOPES))
    async with (
        serving(tmp_path, OWN, network=network, clock=clock, provider=provider) as server,
        server.client(token=narrow) as client,
    ):
        page = page_in(reply(await client.call_tool("check_accounts", {})).text)
        network.sent.clear()
        refused = [
            await server.http.post(page, data={"proof": narrow, "token": BOBS, "do": do})
            for do in ("keep", "take back")
        ]
        asked = tokens_sent(network)
        kept = await server.http.post(page, data={"proof": wide, "token": ALICES})

    assert [403, 403] == [answer.status_code for answer in refused]
    assert all("jobs:submit" in answer.text for answer in refused)
    assert set() == asked
    assert 200 == kept.status_code


async def test_a_user_who_may_only_read_can_give_a_token_of_his_own(tmp_path: Path) -> None:
    """There is no wider token of his: nobody gains anything by this one."""
    async with team(tmp_path, **ALONE) as server, server.caller(READER) as reader:
        await give(server, reader, READER, ALICES)
        listed = await reader.call("list_media", service="dreamina")
        made = await reader.call("upscale_video", source=VIDEO)

    assert not listed.is_error
    assert "forbidden" == made.error["code"]


async def test_a_users_requests_to_the_page_count_as_his_calls_do(tmp_path: Path) -> None:
    clock = VirtualClock()
    network = Network(Sandbox(now=clock.now))
    async with serving(
        tmp_path, OWN, network=network, clock=clock, find_user=find_user, limit=RateLimit(3)
    ) as server:
        assert server.shared.own_tokens is not None
        page = server.shared.own_tokens.page_for("alice", OwnAccount())
        form = {"proof": "alice", "token": "user:402-ended"}
        answers = [await server.http.post(page, data=form) for _ in range(5)]

    assert [400, 400, 400, 429, 429] == [answer.status_code for answer in answers]
    assert 20 == int(answers[-1].headers["retry-after"])
    assert 3 == len(network.sent)


async def test_a_page_is_answered_in_time_by_whatever_vendor(tmp_path: Path) -> None:
    async with team(tmp_path, **OWN) as server, server.caller("alice") as alice:
        page = await page_of(alice)
        server.network.concerns = lambda _: True
        server.network.faults = [Fault(before_s=1000)] * 3
        began = server.served.clock.now()
        answer = await fill(server, page, "alice", ALICES)
        took_s = server.served.clock.now() - began
        known = await server.app.own_tokens.known("alice")  # type: ignore[union-attr]

    assert 503 == answer.status_code
    assert took_s <= 30
    assert "" == known.account


async def test_the_token_of_the_server_itself_is_nobodys_own(tmp_path: Path) -> None:
    """Its jobs would count for no budget of the server, and be paid for twice."""
    async with team(tmp_path, **OWN) as server, server.caller("alice") as alice:
        page = await page_of(alice)
        server.network.sent.clear()
        answer = await fill(server, page, "alice", f"Bearer {TOKEN}")
        other = await fill(server, page, "alice", ALICES)

    assert 400 == answer.status_code
    assert "of this server" in answer.text
    assert 200 == other.status_code
    assert {ALICES} == tokens_sent(server.network)


async def test_a_server_that_uses_them_no_more_shows_a_team_nothing_of_theirs(
    tmp_path: Path,
) -> None:
    shared = {"USEAPI_SHARING": "team"}
    async with with_two(tmp_path, **shared) as (server, alice, _):
        made = await alice.call("upscale_video", source=VIDEO)
        saved = await alice.call("get_job", job_id=made.job["job_id"], wait_seconds=50)
        row = await server.app.journal.get(made.job["job_id"])
        network, clock = server.network, server.served.clock
    assert row is not None
    job_id, url = made.job["job_id"], saved.job["media"][0]["url"]
    async with (
        serving(tmp_path, shared, network=network, clock=clock, find_user=find_user) as other,
        other.client(token="bob") as client,
    ):
        network.sent.clear()
        listed = reply(await client.call_tool("list_jobs", {})).job["jobs"]
        hidden = [
            reply(await client.call_tool(tool, {"job_id": some_id}))
            for tool in ("get_job", "download_media", "cancel_job")
            for some_id in (job_id, row.id)
        ]
        unknown = [
            reply(await client.call_tool("get_job", {"job_id": some_id}))
            for some_id in (f"{job_id[:-20]}{'0' * 5}{job_id[-15:]}", f"{row.id[:-5]}aaaaa")
        ]
        asked = tokens_sent(network)
        at_link = await other.shared.all_jobs.of(Caller("bob")).made(url=url)

    assert [] == listed
    assert ["not_found"] * 6 == [each.error["code"] for each in hidden]
    assert asked <= {TOKEN}
    assert at_link is None
    assert "not_found" == unknown[1].error["code"]
    assert unknown[1].text.partition("{")[0] == hidden[1].text.partition("{")[0]


async def test_two_users_of_one_useapi_account_use_what_its_list_shows(tmp_path: Path) -> None:
    async with (
        team(tmp_path, job_seconds=5, **OWN) as server,
        server.caller("alice") as alice,
        server.caller("bob") as bob,
    ):
        await give(server, alice, "alice", ALICES)
        await give(server, bob, "bob", "user:11-bobs0canary")
        made = await alice.call("upscale_video", source=PIXVERSE, max_credits=100)
        job_id = made.job["job_id"]
        done = await alice.call("get_job", job_id=job_id, wait_seconds=50)
        found = (await bob.call("list_media", service="pixverse")).job["media"]
        server.network.sent.clear()
        read = await bob.call("get_job", job_id=job_id)
        ours = await bob.call("list_jobs")
        asked = tokens_sent(server.network)

    assert "completed" == done.job["status"]
    assert job_id in [item["source"] for item in found]
    assert not read.is_error, read.text
    assert {"user:11-bobs0canary"} == asked
    assert [] == ours.job["jobs"]


async def test_a_resource_and_a_task_say_who_can_give_the_token_that_is_missing(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, **ALONE) as server, server.caller("alice") as alice:
        with pytest.raises(MCPError) as refused:
            await alice.client.read_resource(f"useapi://jobs/{VIDEO}")

    assert "check_accounts" in str(refused.value)


def own_clip(folder: Path) -> str:
    path = folder / "own" / "clip.mp4"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(media.read(media.clip(640, 360, 24)))
    return str(path)


async def test_a_file_is_sent_to_each_account_that_its_user_has_had(tmp_path: Path) -> None:
    """What one account's vendor calls it means nothing to another's."""
    clip = own_clip(tmp_path)
    folder: dict[str, Any] = {"USEAPI_INPUT_DIRS": str(tmp_path / "own")}
    tokens = (TOKEN, ALICES, "user:33-elsewhere")
    async with team(tmp_path, **OWN, **folder) as server, server.caller("alice") as alice:
        for token in tokens:
            if token != TOKEN:
                await give(server, alice, "alice", token)
            for resolution in ("4K", "1080p"):
                order = {"model": "topaz-proteus", "resolution": resolution}
                made = await alice.call("upscale_video", source=clip, **order, max_credits=100)
                assert "upscale_video" == made.job["operation"]
        sent, questions = uploads(alice), len(alice.posts()) - len(uploads(alice))

    assert [f"Bearer {token}" for token in tokens] == [
        request.headers["authorization"] for request in sent
    ]
    # For each a price is asked and an order sent: nobody was told of a file that is not there.
    assert (12, 6) == (questions, len(server.sandbox.accepted))


async def test_a_file_on_its_way_to_a_users_own_account_is_none_of_the_teams(
    tmp_path: Path,
) -> None:
    clip, folder = own_clip(tmp_path), {"USEAPI_INPUT_DIRS": str(tmp_path / "own")}
    async with (
        with_two(tmp_path, USEAPI_SHARING="team", **folder) as (server, alice, bob),
        server.caller("carol") as carol,
    ):
        server.network.faults = [Fault(before_s=100)]
        upload = await alice.call("upscale_video", source=clip, max_credits=100)
        seen = [
            [job["job_id"] for job in (await caller.call("list_jobs")).job["jobs"]]
            for caller in (alice, bob, carol)
        ]
        hidden = await carol.call("get_job", job_id=upload.job["job_id"])

    assert ("upload", "running") == (upload.job["operation"], upload.job["status"])
    assert [[upload.job["job_id"]], [], []] == seen
    assert "not_found" == hidden.error["code"]
