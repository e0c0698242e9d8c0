"""The least of a client, over stdio and over HTTP, so that what is measured is the server."""

import asyncio
import contextlib
import itertools
import json
import os
import resource
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

_HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "1"},
}
_LONGEST_ANSWER = 2**24


class StdioClient:
    """Requests to a server that is a process of its own; answers in whatever order they come."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a request."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        return await self._waiting[number]

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The result of a tool, which must not be an error."""
        result = await self.ask("tools/call", name=tool, arguments=arguments)
        assert not result.get("isError"), result
        return result

    async def start(self) -> None:
        await self.ask("initialize", **_HELLO)
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout
        async for line in self._process.stdout:
            message = json.loads(line)
            if "id" in message and "method" not in message:
                self._waiting.pop(message["id"]).set_result(message.get("result") or message)


@contextlib.asynccontextmanager
async def stdio(command: list[str], environment: Mapping[str, str]) -> AsyncIterator[StdioClient]:
    """A client whose server has been started and greeted."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=dict(environment),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=_LONGEST_ANSWER,
    )
    client = StdioClient(process)
    try:
        await client.start()
        yield client
    finally:
        client._reading.cancel()  # noqa: SLF001 - it is made and ended here
        process.kill()
        await process.wait()


class HttpClient:
    """One connection that is kept, one request at a time, as a client without a session."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
            "Accept: application/json, text/event-stream\r\n"
            "Mcp-Protocol-Version: 2025-11-25\r\nContent-Length: "
        )

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._writer.close()

    async def call(self, tool: str, **arguments: Any) -> bytes:
        """The answer's body, whole."""
        params = {"name": tool, "arguments": arguments}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        self._writer.write(f"{self._head}{len(body)}\r\n\r\n{body}".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        if b"transfer-encoding: chunked" in head:
            answer = await self._chunks()
        else:
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            answer = await self._reader.readexactly(length)
        assert b'"isError":true' not in answer, answer
        return answer

    async def _chunks(self) -> bytes:
        found = b""
        while size := int(await self._reader.readline(), 16):
            found += await self._reader.readexactly(size)
            await self._reader.readline()
        await self._reader.readline()
        return found


def memory_mb(pid: int) -> float:
    """What a process holds in memory now; Linux only."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_s(pid: int) -> float:
    """The processor's time that a process has used; Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ended_cpu_s() -> float:
    """The processor's time of all processes that we started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def times_ms(client: Any, tool: str, calls: list[dict[str, Any]]) -> list[float]:
    """Milliseconds of each of these calls, one after the other."""
    took_ms = []
    for arguments in calls:
        begun = time.perf_counter()
        await client.call(tool, **arguments)
        took_ms.append((time.perf_counter() - begun) * 1e3)
    return took_ms
