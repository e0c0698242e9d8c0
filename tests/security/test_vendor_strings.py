"""Vendor strings: data in one clean line, whatever they say (reliability.md C1, row 7)."""

import json
import re
import unicodedata
from pathlib import Path

import httpx
import pytest

from tests.support.corpora import HOSTILE_STRINGS
from tests.support.harness import GOOD, Fault, Harness, running

SOURCE = GOOD["dreamina", "video"]
SECRET = re.compile(r"someone@|othersecret|abcdef0123456789|736f6d656f6e65")


def is_clean(line: str) -> bool:
    bad = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    return len(line) <= 300 and not any(unicodedata.category(c) in bad for c in line)


def answer(status: int, body: object) -> Fault:
    # ensure_ascii writes a lone surrogate as an escape, as a vendor could.
    return Fault(then=httpx.Response(status, content=json.dumps(body).encode()))


def failed_job(harness: Harness, said: str) -> Fault:
    record = {
        "jobid": SOURCE,
        "type": "video",
        "status": "failed",
        "model": said,
        "error": said,
        "errorDetails": said,
        "created": said,
        "request": {"prompt": said},
        "response": {"message": said},
    }
    harness.network.concerns = lambda request: request.method == "GET"
    return answer(200, record)


def test_there_are_enough_of_them() -> None:
    assert len(set(HOSTILE_STRINGS)) == len(HOSTILE_STRINGS) >= 50


async def test_why_a_job_failed_is_one_clean_line(tmp_path: Path) -> None:
    async with running(tmp_path) as harness:
        for said in HOSTILE_STRINGS:
            harness.network.faults = [failed_job(harness, said)]

            reply = await harness.call("get_job", job_id=SOURCE)

            assert "failed" == reply.job["status"], said[:50]
            assert is_clean(reply.job["failure"]["message"]), said[:50]
            assert is_clean(reply.job.get("model", "")), said[:50]
            assert is_clean(reply.job.get("created_at", "")), said[:50]
            assert 1 == len(reply.text.splitlines()), said[:50]
            assert len(reply.text) < 1000
            assert not SECRET.search(reply.job["failure"]["message"] + reply.text), said[:50]


@pytest.mark.parametrize("status", [400, 403, 422, 429, 500, 596])
async def test_why_a_call_was_refused_is_one_clean_line(tmp_path: Path, status: int) -> None:
    async with running(tmp_path) as harness:
        harness.network.concerns = lambda request: True
        for said in HOSTILE_STRINGS:
            harness.network.faults = [answer(status, {"error": said})] * 3

            reply = await harness.call("get_job", job_id=SOURCE)

            said_line, facts = reply.text.split("\n")
            assert len(said_line) < 800, said[:50]
            assert is_clean(said_line[:300]), said[:50]
            assert is_clean(said_line[300:600]), said[:50]
            assert "retryable" in json.loads(facts)
            assert not SECRET.search(reply.text), said[:50]


async def test_a_hostile_string_in_the_place_of_a_link_or_a_number_is_left_out(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as harness:
        harness.network.concerns = lambda request: request.method == "GET"
        for said in HOSTILE_STRINGS:
            response = {
                "videoUrl": said,
                "coverUrl": said,
                "width": said,
                "height": said,
                "durationMs": said,
                "forecastCost": said,
            }
            record = {"jobid": SOURCE, "status": "completed", "response": response}
            harness.network.faults = [answer(200, record)]

            reply = await harness.call("get_job", job_id=SOURCE)

            (item,) = reply.job["media"]
            links = {item.pop(name) for name in ("url", "thumbnail_url") if name in item}
            assert {"kind": "video"} == item, said[:50]
            assert not links or (links == {said} and said.startswith("https://cdn.example.com/"))
