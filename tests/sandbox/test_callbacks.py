"""Callbacks: who names a `replyUrl` is sent the job's record when the documents say so."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from mcp_server.sandbox.app import Sandbox
from tests.support.harness import ORIGIN, TOKEN, VirtualClock

URL = "https://mcp.example.com/hook/a/b"
PROGRESS = ["QUEUED", "GENERATING", "COMPLETED", "COMPLETED"]
ORDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "dreamina": ("/v1/dreamina/videos", {"model": "seedance-2.0-fast"}),
    "google-flow": ("/v1/google-flow/videos", {"async": True}),
    "pixverse": ("/v2/pixverse/videos/create", {"aspect_ratio": "16:9"}),
}


async def called(service: str, **more: str) -> list[tuple[float, str, dict[str, Any]]]:
    """When which address was sent what, of a job that takes a hundred seconds."""
    seen: list[tuple[float, str, dict[str, Any]]] = []

    async def post(url: str, body: bytes) -> None:
        seen.append((asyncio.get_running_loop().time() - began, url, json.loads(body)))

    sandbox = Sandbox(job_seconds=100, now=VirtualClock().now, post=post)
    path, body = ORDERS[service]
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(sandbox),
        base_url=ORIGIN,
        headers={"Authorization": f"Bearer {TOKEN}"},
    ) as http:
        began = asyncio.get_running_loop().time()
        answer = await http.post(path, json={"prompt": "A boat.", **body, **more})
        assert answer.is_success, answer.text
        await asyncio.sleep(200)
    return seen


@pytest.mark.parametrize(
    ("service", "moments", "name", "states"),
    [
        ("dreamina", [100], "status", ["completed"]),
        ("google-flow", [0, 25, 100], "status", ["created", "started", "completed"]),
        ("pixverse", [25, 50, 75, 100], "video_status_name", PROGRESS),
    ],
)
async def test_a_job_is_told_of_as_it_changes(
    service: str, moments: list[float], name: str, states: list[Any]
) -> None:
    calls = await called(service, replyUrl=URL)

    assert moments == [round(at) for at, _, _ in calls]
    assert {URL} == {url for _, url, _ in calls}
    assert states == [body[name] for _, _, body in calls]


@pytest.mark.parametrize("service", ORDERS)
async def test_who_names_no_address_is_told_nothing(service: str) -> None:
    assert [] == await called(service)
