"""The same story through every client: list the tools, upscale, follow, save, and be refused once.

Each client is a program beside this one. It is told where the server is by one argument, JSON:
`source` to upscale, and either `command` (stdio) or `url` and `token` (HTTP).
"""

import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GIVEN: dict[str, Any] = json.loads(sys.argv[1])
SOURCE: str = GIVEN["source"]
COMMAND: list[str] | None = GIVEN.get("command")
URL: str = GIVEN.get("url", "")
HEADERS = {"Authorization": f"Bearer {GIVEN.get('token')}"}

_TOOLS = {
    "upscale_video",
    "interpolate_video",
    "upscale_image",
    "get_job",
    "list_jobs",
    "cancel_job",
    "download_media",
}
_LOOKS = 15


@dataclass(frozen=True)
class Answer:
    """A tool's answer as this client hands it on; `data` is its structured content."""

    text: str
    data: dict[str, Any] | None = None
    is_error: bool = False


Call = Callable[[str, dict[str, Any]], Awaitable[Answer]]


async def tell(tools: Iterable[str], call: Call) -> None:
    """Do what every client must be able to do.

    Raises:
        AssertionError: it could not.
    """
    missing = _TOOLS - set(tools)
    assert not missing, f"not listed: {missing}"

    job = _job(await call("upscale_video", {"source": SOURCE}))
    for _ in range(_LOOKS):
        if job["status"] == "completed":
            break
        # Short, for there are clients that give up after 5 s.
        job = _job(await call("get_job", {"job_id": job["job_id"], "wait_seconds": 2}))
    assert job["status"] == "completed", job
    assert job["media"][0]["width"] > 0, job

    saved = _job(await call("download_media", {"job_id": job["job_id"]}))
    assert size_bytes(saved["media"][0]["path"]) > 0, saved

    refused = await call("upscale_video", {"source": SOURCE, "resolution": "4K"})
    assert refused.is_error, refused
    assert "resolution" in refused.text, refused


def size_bytes(path: str) -> int:
    return Path(path).stat().st_size


def _job(answer: Answer) -> dict[str, Any]:
    assert not answer.is_error, answer
    assert answer.data is not None, answer
    return answer.data
