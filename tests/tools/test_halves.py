"""Each half of an answer alone is enough: some hosts give a model the text, others the data."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import GOOD, Fault, Harness, running

VIDEO = GOOD["dreamina", "video"]
PIXVERSE = GOOD["pixverse", "video"]
JOB_ID = re.compile(r"(?:useapi-mcp:|j\d|user:)[\w:@.+-]*\w")
CUT = Fault(reaches=False, then="cut")


class Model:
    """An agent that follows what it reads, and reads one half of each answer.

    Args:
        half: "text" or "data".
    """

    def __init__(self, server: Harness, half: str) -> None:
        self._server = server
        self._half = half
        self.read = ""
        self.calls: list[str] = []

    async def call(self, tool: str, **arguments: Any) -> str:
        reply = await self._server.call(tool, **arguments)
        self.calls.append(tool)
        # An error has no data, and hosts of both kinds then give the text.
        has_text = self._half == "text" or reply.data is None
        self.read = reply.text if has_text else json.dumps(reply.data)
        return self.read

    async def follow(self) -> str:
        """Make the call that the answer says comes next."""
        told = re.search(r"(get_job|download_media)\(job_id(?:, wait_seconds=(\d+))?\)", self.read)
        assert told is not None, self.read
        waits = {"wait_seconds": int(told[2])} if told[2] else {}
        return await self.call(told[1], job_id=self.job_id, **waits)

    @property
    def job_id(self) -> str:
        found = JOB_ID.findall(self.read)
        assert found, self.read
        return str(found[0])


@pytest.fixture(params=["text", "data"])
def half(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_the_whole_job_can_be_done_by_either_half(tmp_path: Path, half: str) -> None:
    async with running(tmp_path) as server:
        model = Model(server, half)

        await model.call("upscale_video", source=VIDEO)
        await model.follow()
        saved = await model.follow()

        assert ["upscale_video", "get_job", "download_media"] == model.calls
        (path,) = re.findall(r"/\S+\.mp4", saved)
        assert path in map(str, server.folder.rglob("*.mp4"))
        assert "Next" not in saved
        assert '"next"' not in saved
        assert "https://" not in saved
        assert "http://" not in saved


async def test_who_reads_either_half_knows_that_it_is_the_sandbox(
    tmp_path: Path, half: str
) -> None:
    async with running(tmp_path, USEAPI_SANDBOX="true") as server:
        model = Model(server, half)

        for tool, arguments in (
            ("upscale_video", {"source": VIDEO}),
            ("get_job", {"job_id": VIDEO}),
            ("download_media", {"job_id": VIDEO}),
            ("list_jobs", {}),
            ("check_accounts", {}),
            ("list_media", {}),
            ("cancel_job", {"job_id": VIDEO}),
            ("get_job", {"job_id": "nonsense"}),
        ):
            assert "nothing is real or charged" in await model.call(tool, **arguments)


async def test_what_nobody_knows_can_cost_twice_and_either_half_says_when(
    tmp_path: Path, half: str
) -> None:
    async with running(tmp_path) as server:
        server.network.faults.append(CUT)
        model = Model(server, half)

        started = await model.call("upscale_video", source=PIXVERSE)
        unknown = await model.follow()
        if "submitting" in unknown or "has not answered" in unknown:
            unknown = await model.follow()
        given_up = await model.call("cancel_job", job_id=model.job_id)

        assert "The same call" in started
        assert "cancel_job with this job_id gives it up" in unknown
        assert "the same call may be charged a second time" in unknown
        assert "the same call will be charged a second time" in given_up


async def test_either_half_says_what_cancelling_did(tmp_path: Path, half: str) -> None:
    async with running(tmp_path, job_seconds=1000) as server:
        model = Model(server, half)

        nothing = await model.call("cancel_job", job_id=VIDEO)
        await model.call("upscale_video", source=VIDEO)
        cancelled = await model.call("cancel_job", job_id=model.job_id)

        assert "There was nothing to cancel." in nothing
        assert "credits are not known to come back" in cancelled
        assert "The same call submits it anew, at its price." in cancelled


async def test_either_half_says_that_a_job_was_made_before(tmp_path: Path, half: str) -> None:
    async with running(tmp_path) as server:
        model = Model(server, half)

        await model.call("upscale_video", source=VIDEO)
        again = await model.call("upscale_video", source=VIDEO)

        assert "An earlier call started it, so nothing was submitted now." in again


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("upscale_video", {"source": "nonsense"}, "unknown_id"),
        ("upscale_video", {"source": VIDEO, "resolution": "4K"}, "It takes: source"),
        ("interpolate_video", {"source": VIDEO, "fps": 24}, "fps on Dreamina must be"),
    ],
)
async def test_a_refusal_is_told_to_who_reads_either_half(
    tmp_path: Path, half: str, tool: str, arguments: dict[str, Any], says: str
) -> None:
    async with running(tmp_path) as server:
        assert says in await Model(server, half).call(tool, **arguments)


async def test_either_half_of_a_list_tells_jobs_apart(tmp_path: Path, half: str) -> None:
    async with running(tmp_path) as server:
        model = Model(server, half)
        for index in (0, 1):
            await model.call("upscale_image", source=GOOD["dreamina", "image"], image_index=index)

        told = await model.call("list_jobs")

        assert told.count(GOOD["dreamina", "image"]) == 2
        for said in _options(half, image_index=0), _options(half, image_index=1):
            assert said in told
        assert "get_job(job_id)" in told


def _options(half: str, **option: int) -> str:
    ((name, value),) = option.items()
    written: dict[str, Callable[[], str]] = {
        "text": lambda: f"{name} {value}",
        "data": lambda: f'"{name}": {value}',
    }
    return written[half]()
