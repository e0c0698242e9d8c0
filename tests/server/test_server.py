"""The server as it is put together: what it says of itself, and what it does without a journal."""

import logging
from pathlib import Path

import pytest
from mcp.types import Implementation

import mcp_server
from mcp_server.sandbox.app import SOURCES
from mcp_server.server.factory import instructions
from tests.support.harness import GOOD, TOKEN, running

VIDEO = GOOD["dreamina", "video"]
BEST = " ".join(source.id for source in SOURCES if source.good)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_it_says_who_it_is(tmp_path: Path, mode: str) -> None:
    async with running(tmp_path, client_options={"mode": mode}) as server:
        info = server.client.server_info

        assert isinstance(info, Implementation)
        assert ("useapi-mcp", mcp_server.__version__) == (info.name, info.version)
        assert "https://github.com/useapi-mcp/useapi-mcp" == info.website_url
        assert instructions() == server.client.instructions


@pytest.mark.parametrize("sources", ["", BEST])
def test_instructions_are_short(sources: str) -> None:
    assert len(instructions(sources)) <= 1_500


def test_instructions_say_the_vital_part_first() -> None:
    """A host may cut them: how to wait and how not to pay twice must survive."""
    first = instructions()[:400]

    assert "get_job(job_id, wait_seconds=50)" in first
    assert "never pays twice" in first


def test_instructions_say_where_every_service_has_its_ids() -> None:
    for word in ("jobid", "mediaGenerationId", "video_id", "Dreamina", "Google Flow", "PixVerse"):
        assert word in instructions()


def test_instructions_of_the_sandbox_name_its_sources_before_all_else() -> None:
    first, *rest = instructions(BEST).splitlines()

    assert first.startswith("SANDBOX: nothing is real or charged.")
    for source in GOOD.values():
        assert source in first
    assert instructions().splitlines() == rest


async def test_it_starts_and_reads_without_a_journal_but_sends_nothing_paid(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with caplog.at_level(logging.ERROR):
        async with running(tmp_path, USEAPI_STATE_DIR=str(tmp_path / "file")) as server:
            read = await server.call("get_job", job_id=VIDEO)
            refused = await server.call("upscale_video", source=VIDEO)

            assert read.job["status"] == "completed"
            assert refused.error["code"] == "journal_unusable"
            assert [] == server.posts()
    assert "Paid calls are refused until then." in caplog.text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_token_is_in_no_answer_and_in_no_log(
    tmp_path: Path, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "mcp_server"):
        async with running(tmp_path, client_options={"mode": mode}) as server:
            replies = [
                await server.call("upscale_video", source=VIDEO),
                await server.call("get_job", job_id=VIDEO),
                await server.call("get_job", job_id=TOKEN),
                await server.call("upscale_video", source=VIDEO, token=TOKEN),
            ]

            for reply in replies:
                assert TOKEN not in reply.text
                assert TOKEN not in str(reply.data)
            assert server.network.sent[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in caplog.text
