"""A sandbox and a client of it, in virtual time: what every test of the sandbox begins with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from mcp_server.sandbox.app import Conditions, Sandbox

EPOCH_S = 1_780_000_000  # 2026-05-28T20:26:40Z: when virtual time begins
JOB_S = 4.0
TOKEN = "Bearer user:1-abc"


@dataclass(frozen=True)
class Api:
    sandbox: Sandbox
    http: httpx.AsyncClient

    async def get(self, path: str, *, status: int = 200) -> Any:
        """The JSON of the answer, which must have this status."""
        return _json(await self.http.get(path), status)

    async def post(self, path: str, body: object, *, status: int = 200) -> Any:
        return _json(await self.http.post(path, json=body), status)

    async def delete(self, path: str, *, status: int = 200) -> Any:
        return _json(await self.http.delete(path), status)


@asynccontextmanager
async def open_api(
    conditions: Conditions = Conditions(),  # noqa: B008 - frozen
    /,
    **headers: str,
) -> AsyncIterator[Api]:
    loop = asyncio.get_running_loop()
    sandbox = Sandbox(job_seconds=JOB_S, now=lambda: EPOCH_S + loop.time(), conditions=conditions)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=sandbox),
        base_url="http://sandbox",
        headers={"Authorization": TOKEN, **headers},
    ) as http:
        yield Api(sandbox, http)


def _json(answer: httpx.Response, status: int) -> Any:
    assert status == answer.status_code, answer.text[:300]
    return answer.json()
