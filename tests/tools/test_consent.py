"""Consent: the user is asked about a known price, once, and never about what is free or refused."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp.types import ElicitRequestParams, ElicitResult

from mcp_server.sandbox import dreamina as dreamina_jobs
from tests.support.harness import GOOD, Fault, Reply, running

VIDEO = GOOD["dreamina", "video"]
FLOW_VIDEO = GOOD["google-flow", "video"]
PIXVERSE = GOOD["pixverse", "video"]

ERAS = pytest.mark.parametrize("mode", ["legacy", "auto"])
INTERPOLATE: dict[str, Any] = {"source": VIDEO, "fps": 60}  # 66 credits


class User:
    """Answers every question the same way, and remembers them."""

    def __init__(self, **answer: Any) -> None:
        self.asked: list[str] = []
        self._answer = ElicitResult(**answer)

    async def __call__(self, context: Any, asked: ElicitRequestParams) -> ElicitResult:
        self.asked.append(asked.message)
        return self._answer

    def on(self, mode: str) -> dict[str, Any]:
        return {"mode": mode, "elicitation_callback": self}


def willing() -> User:
    return User(action="accept", content={"confirm": True})


@ERAS
async def test_a_user_who_agrees_to_the_price_gets_the_job(tmp_path: Path, mode: str) -> None:
    user = willing()
    async with running(tmp_path, client_options=user.on(mode)) as h:
        reply = await h.call("interpolate_video", **INTERPOLATE)

        assert ["interpolate video on Dreamina costs about 66 credits. Go on?"] == user.asked
        assert "running" == reply.job["status"]
        assert 1 == len(h.posts())


@ERAS
@pytest.mark.parametrize(
    "answer",
    [
        {"action": "decline"},
        {"action": "cancel"},
        {"action": "accept", "content": {"confirm": False}},
    ],
)
async def test_a_user_who_does_not_agree_pays_nothing(
    tmp_path: Path, mode: str, answer: dict[str, Any]
) -> None:
    user = User(**answer)
    async with running(tmp_path, client_options=user.on(mode)) as h:
        reply = await h.call("interpolate_video", **INTERPOLATE)
        listed = (await h.call("list_jobs")).job["jobs"]

        assert 1 == len(user.asked)
        assert "declined" == reply.error["code"]
        assert [] == listed
        assert [] == h.network.sent


@ERAS
async def test_a_client_that_can_not_ask_is_not_asked(tmp_path: Path, mode: str) -> None:
    async with running(tmp_path, client_options={"mode": mode}) as h:
        reply = await h.call("interpolate_video", **INTERPOLATE)

        assert "running" == reply.job["status"]


@ERAS
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("upscale_video", {"source": FLOW_VIDEO}),  # free
        ("upscale_video", {"source": VIDEO}),  # 30, below the limit
        ("upscale_video", {"source": PIXVERSE}),  # not known beforehand
        ("upscale_image", {"source": GOOD["dreamina", "image"]}),
    ],
)
async def test_nobody_is_asked_about_a_price_that_is_small_or_unknown(
    tmp_path: Path, mode: str, tool: str, arguments: dict[str, Any]
) -> None:
    user = willing()
    async with running(tmp_path, client_options=user.on(mode)) as h:
        reply = await h.call(tool, **arguments)

        assert "running" == reply.job["status"]
        assert [] == user.asked


@ERAS
async def test_the_limit_is_the_operators(tmp_path: Path, mode: str) -> None:
    user = willing()
    options = user.on(mode)
    async with running(tmp_path, client_options=options, USEAPI_CONFIRM_CREDITS="30") as h:
        await h.call("upscale_video", source=VIDEO)
    async with running(tmp_path, client_options=options, USEAPI_CONFIRM_CREDITS="67") as h:
        await h.call("interpolate_video", **INTERPOLATE)

    assert ["upscale video on Dreamina costs about 30 credits. Go on?"] == user.asked


@ERAS
async def test_nobody_is_asked_about_a_call_that_was_made_before(tmp_path: Path, mode: str) -> None:
    user = willing()
    async with running(tmp_path, client_options=user.on(mode)) as h:
        await h.call("interpolate_video", **INTERPOLATE)
        again = await h.call("interpolate_video", **INTERPOLATE)
    async with running(
        tmp_path, sandbox=h.sandbox, network=h.network, client_options=user.on(mode)
    ) as h:
        after_a_restart = await h.call("interpolate_video", **INTERPOLATE)

    assert again.job["reused"] is True
    assert after_a_restart.job["reused"] is True
    assert 1 == len(user.asked)


@ERAS
async def test_nobody_is_asked_about_a_call_that_is_in_flight(tmp_path: Path, mode: str) -> None:
    user = willing()
    async with running(tmp_path, client_options=user.on(mode)) as h:
        h.network.faults = [Fault(after_s=30)]
        first = asyncio.create_task(h.call("interpolate_video", **INTERPOLATE))
        await asyncio.sleep(1)
        second = await h.call("interpolate_video", **INTERPOLATE)

        assert (await first).job["job_id"] == second.job["job_id"]
        assert 1 == len(user.asked)
        assert 1 == len(h.posts())


def spoil_the_journal(folder: Path) -> None:
    (folder / "state").write_text("no folder", encoding="utf-8")


def nothing(folder: Path) -> None: ...


@ERAS
@pytest.mark.parametrize(
    ("arguments", "environment", "prepare", "code"),
    [
        ({"source": VIDEO, "fps": 25}, {}, nothing, "invalid_argument"),
        ({"source": VIDEO, "fps": 60, "max_job": 3}, {}, nothing, "invalid_argument"),
        ({"source": PIXVERSE, "fps": 60}, {}, nothing, "unsupported"),
        ({"source": "no such id", "fps": 60}, {}, nothing, "unknown_id"),
        (INTERPOLATE, {"USEAPI_TOKEN": ""}, nothing, "wrong_token"),
        (INTERPOLATE, {"USEAPI_MAX_CREDITS_PER_DAY": "65"}, nothing, "budget_spent"),
        (INTERPOLATE, {}, spoil_the_journal, "journal_unusable"),
    ],
)
async def test_nobody_is_asked_about_a_call_that_is_refused(
    tmp_path: Path,
    mode: str,
    arguments: dict[str, Any],
    environment: dict[str, Any],
    prepare: Callable[[Path], None],
    code: str,
) -> None:
    prepare(tmp_path)
    user = willing()
    async with running(tmp_path, client_options=user.on(mode), **environment) as h:
        reply: Reply = await h.call("interpolate_video", **arguments)

        assert code == reply.error["code"]
        assert [] == user.asked
        assert [] == h.network.sent


@ERAS
async def test_a_job_that_failed_costs_again_so_the_user_is_asked_again(
    tmp_path: Path, mode: str
) -> None:
    user = willing()
    async with running(tmp_path, client_options=user.on(mode)) as h:
        moderated: dict[str, Any] = {"source": dreamina_jobs.MODERATED_VIDEO, "fps": 60}
        first = await h.call("interpolate_video", **moderated)
        failed = await h.call("get_job", job_id=first.job["job_id"], wait_seconds=50)
        await h.call("interpolate_video", **moderated)

        assert "failed" == failed.job["status"]
        assert 2 == len(user.asked) == len(h.posts())
