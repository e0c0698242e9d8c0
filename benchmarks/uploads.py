"""A large file of the user's own: how fast it is sent beside curl, and what that takes in memory.

`python -m benchmarks.uploads serve` is the vendor it is sent to, as a process of its own, which
throws away what it receives. The file takes no room on the disk: nearly all of it is a hole.
"""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import peers
from benchmarks.clients import StdioClient, stdio
from benchmarks.figures import Figure
from benchmarks.transfers import MEGABYTE, peak_mb
from mcp_server.sandbox import media

FILE_MB = 4_000
MOST_GROWTH_MB = 32.0
VIDEO = "user:12345-pixverse:user@example.com-video:{}"


def measure() -> list[Figure]:
    with served() as origin:
        return asyncio.run(_measure(origin))


async def _measure(origin: str) -> list[Figure]:
    with peers.folder() as folder:
        small, large = folder / "small.mp4", folder / "large.mp4"
        _write(small, 1)
        _write(large, FILE_MB)
        environment = peers.environment(folder, origin) | {
            "USEAPI_INPUT_DIRS": str(folder),
            "USEAPI_CONFIRM_CREDITS": "1000000",
        }
        async with stdio(peers.ours_stdio(), environment) as client:
            await _upscaled(client, small)  # imports what it needs
            before, begun = peak_mb(client.pid), time.perf_counter()
            await _upscaled(client, large)
            ours = FILE_MB / (time.perf_counter() - begun)
            grown = peak_mb(client.pid) - before
        curl: tuple[float, ...] = ()
        if shutil.which("curl"):
            curl = (FILE_MB / await asyncio.to_thread(_curl_s, origin, large),)
    return [
        Figure(
            f"upload of {FILE_MB:,} MB, read twice: hashed, then sent and hashed",
            "MB/s",
            (ours,),
            curl,
            "curl, read once",
        ),
        Figure(f"memory for {FILE_MB:,} MB uploaded", "MB", (grown,), most=MOST_GROWTH_MB),
    ]


async def _upscaled(client: StdioClient, path: Path) -> None:
    """Call until it is no longer the upload that answers."""
    while True:
        answer = await client.call("upscale_video", source=str(path))
        job = answer["structuredContent"]
        if job["operation"] != "upload":
            return
        await client.call("get_job", job_id=job["job_id"], wait_seconds=50)


def _write(path: Path, size_mb: int) -> None:
    path.write_bytes(media.read(media.clip(640, 360, 24)))
    os.truncate(path, size_mb * MEGABYTE)


def _curl_s(origin: str, path: Path) -> float:
    begun = time.perf_counter()
    command = ["curl", "-sS", "-o", os.devnull, "-T", str(path), "-X", "POST", f"{origin}/files"]
    subprocess.run([*command, "-H", "Expect:"], check=True, timeout=300)
    return time.perf_counter() - begun


@contextlib.contextmanager
def served() -> Iterator[str]:
    """The origin of a vendor that takes files and upscales them at once."""
    with peers.printing_its_address([sys.executable, "-m", "benchmarks.uploads", "serve"]) as url:
        yield url


async def _serve() -> None:
    made = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal made
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                made += 1
                lines = head.lower().split(b"\r\n")
                left = sum(int(x[15:]) for x in lines if x.startswith(b"content-length:"))
                while left > 0:
                    left -= len(await reader.read(min(left, 1 << 20)))
                target = head.split(b" ", 2)[1]
                found: dict[str, object] = {"data": []}
                if b"/files" in target:
                    found = {"path": f"upload/{made}.mp4"}
                elif target.endswith(b"/upscale"):
                    found = {"video_id": VIDEO.format(made)}
                elif target.endswith(b"/accounts"):
                    found = {"user@example.com": {}}
                text = json.dumps(found).encode()
                start = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                writer.write(b"%bContent-Length: %d\r\n\r\n%b" % (start, len(text), text))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1 << 20)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve())
