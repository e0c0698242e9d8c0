"""Hostile ids: refused in one sentence before any request leaves (CVE-2026-32871's shape).

An id becomes a part of a path, sent with a token that may also read accounts and cookies.
"""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcp_server.services.registry import SERVICES
from tests.support.corpora import HOSTILE_IDS
from tests.support.harness import GOOD, TOKEN, running

IDS = tuple(case for case in HOSTILE_IDS if case.isascii() or "\ud800" not in case)
CALLS: tuple[tuple[str, str, dict[str, int]], ...] = (
    ("upscale_video", "source", {}),
    ("interpolate_video", "source", {"fps": 60}),
    ("upscale_image", "source", {}),
    ("get_job", "job_id", {}),
    ("download_media", "job_id", {}),
    ("cancel_job", "job_id", {}),
)


def test_there_are_enough_of_them_and_no_two_are_the_same() -> None:
    assert len(HOSTILE_IDS) == len(set(HOSTILE_IDS)) >= 60


@pytest.mark.parametrize(("tool", "argument", "others"), CALLS)
async def test_a_hostile_id_is_refused_and_nothing_is_sent(
    tmp_path: Path, tool: str, argument: str, others: dict[str, int]
) -> None:
    async with running(tmp_path) as harness:
        for case in IDS:
            if argument == "source" and re.match("https?:", case):
                continue  # a link is a source: which of them are followed is the fetcher's to say
            refused = await harness.call(tool, **{argument: case}, **others)

            codes = {"unknown_id" if len(case) <= 512 else "invalid_argument"}
            if argument == "source":  # some look like a path, or are too long for an id alone
                codes |= {"unknown_id", "unusable_file", "unsupported"}
            assert refused.error["code"] in codes, case[:100]
            assert len(refused.text) < 2000
            assert TOKEN not in refused.text
            assert len(case) < 4 or case not in refused.text

        assert [] == harness.network.sent


async def test_the_ids_they_were_made_from_are_good(tmp_path: Path) -> None:
    """Or the refusals above would prove nothing."""
    async with running(tmp_path) as harness:
        for service, kind in GOOD:
            sent = await harness.call(f"upscale_{kind}", source=GOOD[service, kind])

            assert not sent.is_error, sent.text


IN_A_PATH = re.compile(r"[A-Za-z0-9._+=~!$&'*@:-]+")
PIECES = st.one_of(
    st.sampled_from(["..", "/", "%2e", "?", "#", "\\", "\n", "@", ":", "-", ".", "a", "0", "\x00"]),
    st.characters(),
)


@given(st.sampled_from(sorted(GOOD.values())), st.integers(0, 200), st.lists(PIECES, max_size=3))
@example(min(GOOD.values()), 200, ["\n"])  # `$` would let it pass
def test_whatever_a_service_owns_stays_one_segment_of_a_path(
    good: str, at: int, pieces: list[str]
) -> None:
    some_id = good[:at] + "".join(pieces) + good[at:]

    if any(service.owns(some_id) for service in SERVICES):
        assert IN_A_PATH.fullmatch(some_id)
        assert ".." not in some_id
        assert len(some_id) <= 512
