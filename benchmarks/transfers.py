"""Large files: how fast beside curl, and what they take of the processor and in memory.

`python -m benchmarks.transfers SIZE` is the server they come from, as a process of its own, which
makes a file as it sends it.
"""

import asyncio
import base64
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers
from benchmarks.clients import StdioClient, cpu_s, ended_cpu_s, stdio
from benchmarks.figures import Figure
from mcp_server.sandbox import media

MEGABYTE = 1_000_000
FILE_MB, ROUNDS = 500, 5
BASE64_MB = 200
LEAST_SHARE, MOST_GROWTH_MB = 0.8, 32.0
IMAGE = "user:12345-email:75736572406578616d706c652e636f6d-image:of{}"
_PIECE = bytes(MEGABYTE)
_BASE64_PIECE = base64.b64encode(bytes(MEGABYTE * 3 // 4))


def measure() -> list[Figure]:
    size_mb = FILE_MB
    with peers.folder() as folder:
        free_mb = shutil.disk_usage(folder).free // MEGABYTE
    if free_mb < 4 * size_mb:
        size_mb = max(free_mb // 8, 10)
        print(f"transfers: only {free_mb} MB are free, so files of {size_mb} MB are taken")
    with served(size_mb) as origin:
        return [*asyncio.run(_downloads(origin, size_mb)), asyncio.run(_base64_growth(origin))]


async def _downloads(origin: str, size_mb: int) -> list[Figure]:
    """The same file by download_media and by curl, in turns."""
    ours: list[float] = []
    ours_cpu_s: list[float] = []
    curl: list[Curl] = []
    with peers.folder() as folder:
        async with stdio(peers.ours_stdio(), peers.environment(folder, origin)) as client:
            # The first one imports what it needs, and makes what all later ones use.
            for number in range(ROUNDS + 1):
                before, begun = cpu_s(client.pid), time.perf_counter()
                job = await client.call("download_media", job_id=peers.JOB.format(number))
                while not job["structuredContent"]["media"][0].get("path"):
                    job = await client.call("download_media", job_id=peers.JOB.format(number))
                taken_s = time.perf_counter() - begun
                if number:
                    ours.append(size_mb / taken_s)
                    ours_cpu_s.append(cpu_s(client.pid) - before)
                saved = Path(job["structuredContent"]["media"][0]["path"])
                await asyncio.to_thread(saved.unlink)
                if number == 0:
                    grown_from = peak_mb(client.pid)
                elif shutil.which("curl"):
                    target = folder / "curl.mp4"
                    of_curl = ["-o", str(target), f"{origin}/file.mp4"]
                    curl.append(await asyncio.to_thread(run_curl, of_curl, target))
                    await asyncio.to_thread(target.unlink)
            grown = peak_mb(client.pid) - grown_from
    least = LEAST_SHARE if curl else None
    return [
        Figure(
            f"download of {size_mb} MB, on the disk for good",
            "MB/s",
            tuple(ours),
            tuple(size_mb / run.taken_s for run in curl),
            "curl, not synchronised to disk",
            least=least,
        ),
        Figure(
            "the same",
            "MB/s",
            tuple(ours),
            tuple(size_mb / run.synchronised_s for run in curl),
            "curl, then synchronised",
            least=least,
        ),
        Figure(
            "processor for that", "s", tuple(ours_cpu_s), tuple(run.cpu_s for run in curl), "curl"
        ),
        Figure(f"memory for {size_mb} MB downloaded", "MB", (grown,), most=MOST_GROWTH_MB),
    ]


async def _base64_growth(origin: str) -> Figure:
    """Memory for an answer that holds a picture: its base64 goes to a file as it comes."""
    with peers.folder() as folder:
        async with stdio(peers.ours_stdio(), peers.environment(folder, origin)) as client:
            await _upscaled(client, IMAGE.format(0))
            before = peak_mb(client.pid)
            await _upscaled(client, IMAGE.format(1))
            grown = peak_mb(client.pid) - before
    return Figure(
        f"memory for an answer with {BASE64_MB} MB of base64", "MB", (grown,), most=MOST_GROWTH_MB
    )


async def _upscaled(client: StdioClient, source: str) -> None:
    answer = await client.call("upscale_image", source=source)
    while answer["structuredContent"]["status"] != "completed":
        job_id = answer["structuredContent"]["job_id"]
        answer = await client.call("get_job", job_id=job_id, wait_seconds=50)


@dataclass(frozen=True)
class Curl:
    """What a transfer by curl took.

    Args:
        synchronised_s: until what it wrote is on the disk for good.
        cpu_s: of the processor, without that.
    """

    taken_s: float
    synchronised_s: float
    cpu_s: float


def run_curl(arguments: list[str], written: Path | None = None) -> Curl:
    """Run curl to its end.

    Args:
        written: the file it writes, to be synchronised then.
    """
    before_s, begun = ended_cpu_s(), time.perf_counter()
    subprocess.run(["curl", "-sS", *arguments], check=True, timeout=300)
    taken_s, used_s = time.perf_counter() - begun, ended_cpu_s() - before_s
    if written is not None:
        with written.open("rb") as file:
            os.fsync(file.fileno())
    return Curl(taken_s, time.perf_counter() - begun, used_s)


def peak_mb(pid: int) -> float:
    """The most memory that a process ever had; Linux only."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 977


@contextlib.contextmanager
def served(size_mb: int) -> Iterator[str]:
    """The origin of a vendor whose jobs are finished, with a file of this size."""
    command = [sys.executable, "-m", "benchmarks.transfers", str(size_mb)]
    with peers.printing_its_address(command) as url:
        yield url


async def _serve(size_bytes: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET /file"):
                await _send(writer, media.read(media.clip(640, 360, 24)), _PIECE, size_bytes)
            elif head.startswith(b"POST"):
                pieces = 0 if b"of0" in await reader.readuntil(b"}") else BASE64_MB
                picture = media.read(media.image(1280, 720))
                start = base64.b64encode(picture[: len(picture) // 3 * 3])
                size = len(start) + pieces * len(_BASE64_PIECE)
                await _send(writer, start, _BASE64_PIECE, size, b'{"encodedImage":"', b'"}')
            else:
                link = f"http://127.0.0.1:{port}/file.mp4".encode()
                body = b'{"status":"completed","response":{"videoUrl":"%b"}}' % link
                await _send(writer, body, b"", len(body))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}", flush=True)
    async with server:
        await server.serve_forever()


async def _send(
    writer: asyncio.StreamWriter,
    start: bytes,
    piece: bytes,
    size: int,
    before: bytes = b"",
    after: bytes = b"",
) -> None:
    """An answer of this size between `before` and `after`: `start`, and then pieces."""
    whole = len(before) + size + len(after)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b%b" % (whole, before, start))
    left = size - len(start)
    while left > 0:
        writer.write(piece[:left])
        left -= len(piece)
        await writer.drain()
    writer.write(after)
    await writer.drain()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(int(sys.argv[1]) * MEGABYTE))
