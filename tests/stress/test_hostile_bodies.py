"""Hostile bodies: a typed error or a job, never a hang, a crash or a flood (reliability.md C1, 10).

What they cost in memory is measured by `python -m tests.stress.hostile_bodies` (`make fuzz`).
"""

import asyncio
from pathlib import Path

import httpx
import pytest

from mcp_server.models import MOST_MEDIA
from tests.stress.hostile_bodies import BODIES, SLOW, hostile
from tests.support.harness import GOOD, Fault, Reply, running
from tests.test_errors import kinds

CODES = {kind.code for kind in kinds()}
QUICK = sorted(BODIES.keys() - SLOW)


@pytest.mark.repeats
def test_every_hostile_body_comes_out_in_our_words(tmp_path: Path) -> None:
    """Over real sockets and in real time, so all at once."""

    async def ask(name: str) -> Reply:
        async with hostile(tmp_path / name.replace(" ", "-")) as vendor:
            return await vendor.ask(name)

    async def ask_all() -> dict[str, Reply]:
        return dict(zip(QUICK, await asyncio.gather(*map(ask, QUICK)), strict=True))

    answers = asyncio.run(ask_all())

    for name, answer in answers.items():
        assert len(answer.text) <= 8000, name
        assert answer.is_error or answer.job["status"] in {"completed", "failed", "running"}, name
        assert not answer.is_error or answer.error["code"] in CODES, name
    assert len(answers) >= 40
    assert "completed" == answers["an honest gzip"].job["status"]
    for bomb in ("gzip bomb of 1 GB", "gzip bomb in base64"):
        assert "unexpected_answer" == answers[bomb].error["code"]
        assert "ExtractionError" in answers[bomb].text  # the limit's, not the clock's
    assert "encoded as br" in answers["brotli that is none"].text
    assert [] == list(tmp_path.rglob("*.part"))


def test_more_media_than_anyone_makes_do_not_flood_the_answer(tmp_path: Path) -> None:
    async def work() -> Reply:
        async with hostile(tmp_path) as vendor:
            return await vendor.ask("40,000 images")

    answer = asyncio.run(work())

    assert MOST_MEDIA == len(answer.job["media"])
    assert "more than" not in answer.text


@pytest.mark.parametrize("fault", [Fault(after_s=1e6), Fault(before_s=1e6), Fault(reaches=False)])
async def test_an_answer_that_never_comes_is_an_error_within_a_minute(
    tmp_path: Path, fault: Fault
) -> None:
    async with running(tmp_path) as harness:
        harness.network.concerns = lambda request: True
        harness.network.faults = [fault] * 9
        begun = asyncio.get_running_loop().time()

        answer = await harness.call("get_job", job_id=GOOD["dreamina", "video"])

        assert "unreachable" == answer.error["code"]
        assert asyncio.get_running_loop().time() - begun < 60


@pytest.mark.parametrize("location", ["https://evil.example.com/", "/x", "data:,x", "mailto:a"])
async def test_a_redirect_of_the_api_is_not_followed(tmp_path: Path, location: str) -> None:
    """The token would go along."""
    async with running(tmp_path) as harness:
        harness.network.concerns = lambda request: True
        away = httpx.Response(307, headers={"location": location})
        harness.network.faults = [Fault(then=away)] * 3

        answer = await harness.call("get_job", job_id=GOOD["dreamina", "video"])

        assert "unexpected_answer" == answer.error["code"]
        assert {"api.useapi.net"} == {request.url.host for request in harness.network.sent}


@pytest.mark.parametrize("location", ["https://evil.example.com/", "data:,x"])
async def test_a_redirect_of_a_paid_call_is_no_reason_to_send_it_twice(
    tmp_path: Path, location: str
) -> None:
    async with running(tmp_path) as harness:
        away = httpx.Response(307, headers={"location": location})
        harness.network.faults = [Fault(then=away)]

        answer = await harness.call("upscale_image", source=GOOD["dreamina", "image"])

        assert "running" == answer.job["status"]  # it was accepted, and found by reading
        assert 1 == len(harness.posts())
