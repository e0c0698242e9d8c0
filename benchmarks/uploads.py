"""Large files of the user's own: how fast they are sent beside curl, and what that takes.

A file is known by its content, so each is read whole and hashed before anything of it is sent, and
once more as it is sent, which proves that it has not changed. curl alone does neither.

`python -m benchmarks.uploads serve` is the vendor it is sent to, as a process of its own, which
throws away what it receives. The files take no room on the disk: nearly all of each is a hole.
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
from benchmarks.clients import StdioClient, cpu_s, stdio
from benchmarks.figures import Figure
from benchmarks.transfers import MEGABYTE, Curl, peak_mb, run_curl
from mcp_server.sandbox import media

FILE_MB, ROUNDS = 2_000, 3
LEAST_SHARE = 0.8
MOST_GROWTH_MB = 32.0
VIDEO = "user:12345-pixverse:user@example.com-video:{}"


def measure() -> list[Figure]:
    with served() as origin:
        return asyncio.run(_measure(origin))


async def _measure(origin: str) -> list[Figure]:
    """Files of different content by upscale_video, by curl, and by OpenSSL and curl, in turns."""
    ours: list[float] = []
    ours_cpu_s: list[float] = []
    curl: list[Curl] = []
    hashing_s: list[float] = []
    with peers.folder() as folder:
        environment = peers.environment(folder, origin) | {
            "USEAPI_INPUT_DIRS": str(folder),
            "USEAPI_CONFIRM_CREDITS": "1000000",
        }
        async with stdio(peers.ours_stdio(), environment) as client:
            # The first one imports what it needs.
            for number in range(ROUNDS + 1):
                path = folder / f"{number}.mp4"
                _write(path, FILE_MB + number if number else 1)
                before, begun = cpu_s(client.pid), time.perf_counter()
                await _upscaled(client, path)
                if number == 0:
                    grown_from = peak_mb(client.pid)
                    continue
                ours.append(FILE_MB / (time.perf_counter() - begun))
                ours_cpu_s.append(cpu_s(client.pid) - before)
                if shutil.which("curl"):
                    curl.append(await asyncio.to_thread(run_curl, _of_curl(origin, path)))
                if shutil.which("openssl"):
                    hashing_s.append(await asyncio.to_thread(_hashing_s, path))
            grown = peak_mb(client.pid) - grown_from
    both_s = [run.taken_s + hashed_s for run, hashed_s in zip(curl, hashing_s, strict=False)]
    return [
        Figure(
            f"upload of {FILE_MB:,} MB, hashed, then sent and hashed",
            "MB/s",
            tuple(ours),
            tuple(FILE_MB / run.taken_s for run in curl),
            "curl, not hashed",
        ),
        Figure(
            "the same",
            "MB/s",
            tuple(ours),
            tuple(FILE_MB / taken_s for taken_s in both_s),
            "hashed by OpenSSL, then curl",
            least=LEAST_SHARE if both_s else None,
        ),
        Figure(
            "processor for that", "s", tuple(ours_cpu_s), tuple(run.cpu_s for run in curl), "curl"
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
    with path.open("rb") as file:  # whoever reads it first would pay for the pages of the hole
        while file.read(MEGABYTE):
            pass


def _of_curl(origin: str, path: Path) -> list[str]:
    return ["-o", os.devnull, "-T", str(path), "-X", "POST", f"{origin}/files", "-H", "Expect:"]


def _hashing_s(path: Path) -> float:
    begun = time.perf_counter()
    command = ["openssl", "dgst", "-sha256", str(path)]
    subprocess.run(command, check=True, timeout=300, stdout=subprocess.DEVNULL)
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
