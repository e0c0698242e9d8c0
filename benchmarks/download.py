"""A large film from a server on this machine: how much memory it takes, and how fast beside curl.

`python benchmarks/download.py [megabytes]`, 2,000 unless told. Where the disk has no room for that,
a smaller one is taken, and it says so. The server makes the film as it sends it; what is saved is
deleted again.
"""

import asyncio
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # runs from a checkout too

from mcp import Client
from mcp.types import CallToolResult

from mcp_server.sandbox import media
from mcp_server.server.factory import create_server
from mcp_server.settings import Settings

MEGABYTE = 1_000_000
DEFAULT_MB = 2_000
LONGEST_S = 300
JOB = "j0302140530123456789v-u12345-CA:user@example.com-bot:dreamina"
PIECE = bytes(MEGABYTE)


async def serve(size_bytes: int) -> None:
    """Answer with a finished job or with its film; print the port first."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if head.startswith("GET /film"):
                start = media.read(media.clip(640, 360, 24))
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size_bytes}\r\n\r\n".encode())
                writer.write(start)
                left = size_bytes - len(start)
                while left > 0:
                    writer.write(PIECE[:left])
                    left -= MEGABYTE
                    await writer.drain()
            else:
                film = f"http://127.0.0.1:{port}/film.mp4"
                body = f'{{"status":"completed","response":{{"videoUrl":"{film}"}}}}'.encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(port, flush=True)
    async with server:
        await server.serve_forever()


@asynccontextmanager
async def served(size_bytes: int) -> AsyncIterator[str]:
    """The server as a process of its own, so that its memory is not ours."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--serve", str(size_bytes), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.terminate()
        await process.wait()


def with_curl(url: str, folder: Path) -> float:
    """Seconds curl takes for the same file."""
    film = folder / "curl.mp4"
    begun = time.perf_counter()
    subprocess.run(["curl", "-sS", "-o", film, url], check=True, timeout=LONGEST_S)  # noqa: S607
    taken_s = time.perf_counter() - begun
    film.unlink()
    return taken_s


def peak_mb() -> float:
    """The most memory this process ever had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MEGABYTE if sys.platform == "darwin" else 977)


async def with_ours(origin: str, folder: Path, size_bytes: int) -> tuple[float, float]:
    """(seconds, megabytes the process grew by) of a download_media call."""
    settings = Settings.read(
        {
            "USEAPI_TOKEN": "user:1-benchmark",
            "USEAPI_BASE_URL": origin,
            "USEAPI_OUTPUT_DIR": str(folder / "output"),
            "USEAPI_STATE_DIR": str(folder / "state"),
            "USEAPI_MAX_DOWNLOAD_MB": "1000000",
        }
    )
    async with Client(create_server(settings)) as client, asyncio.timeout(LONGEST_S):
        await client.call_tool("get_job", {"job_id": JOB})  # everything is imported by now
        before, begun = peak_mb(), time.perf_counter()
        result = await client.call_tool("download_media", {"job_id": JOB})
        taken_s, grown = time.perf_counter() - begun, peak_mb() - before
    assert isinstance(result, CallToolResult)
    assert result.structured_content, result.content
    item = result.structured_content["media"][0]
    assert (size_bytes, 640, 360) == (item["size_bytes"], item["width"], item["height"])
    return taken_s, grown


async def measure(megabytes: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        free_mb = shutil.disk_usage(folder).free // MEGABYTE
        if free_mb < megabytes + 1000:
            megabytes = max(100, (free_mb - 1000) // 2)
            print(f"download: only {free_mb} MB are free, so {megabytes} MB are taken")
        size_bytes = megabytes * MEGABYTE
        async with served(size_bytes) as origin:
            curl_s = None
            if shutil.which("curl"):
                curl_s = await asyncio.to_thread(with_curl, f"{origin}/film.mp4", folder)
            taken_s, grown = await with_ours(origin, folder, size_bytes)
    print(
        f"download: {megabytes} MB, ours {megabytes / taken_s:.0f} MB/s"
        f" ({taken_s:.1f} s, on disk for good), memory +{grown:.1f} MB"
    )
    if curl_s is not None:
        print(
            f"download: the same with curl {megabytes / curl_s:.0f} MB/s ({curl_s:.1f} s, not"
            f" synced to disk); ours takes {taken_s / curl_s:.2f} times as long"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        with suppress(KeyboardInterrupt):
            asyncio.run(serve(int(sys.argv[2])))
    else:
        asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_MB))
