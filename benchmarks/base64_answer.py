"""A picture of 200 MB of base64 in a JSON answer: how much memory the tool call takes.

It is cut out of the byte stream into a file, so the process should hardly grow at all.
"""

import asyncio
import base64
import resource
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
BASE64_MB = 200
SOURCE = "user:12345-email:75736572406578616d706c652e636f6d-image:warm{}"
PIECE = base64.b64encode(bytes(MEGABYTE * 3 // 4))


def answer_start(picture: bytes) -> bytes:
    return b'{"encodedImage":"' + base64.b64encode(picture[: len(picture) // 3 * 3])


async def serve() -> None:
    """Answer a source that ends in 0 with a small picture, any other with a large one."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            asked = await reader.readuntil(b"}")
            start, end = answer_start(media.read(media.image(1280, 720))), b'"}'
            pieces = 0 if b"warm0" in asked else BASE64_MB
            size = len(start) + pieces * len(PIECE) + len(end)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, start))
            for _ in range(pieces):
                writer.write(PIECE)
                await writer.drain()
            writer.write(end)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    """The server as a process of its own, so that its memory is not ours."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--serve", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.terminate()
        await process.wait()


def peak_mb() -> float:
    """The most memory this process ever had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MEGABYTE if sys.platform == "darwin" else 977)


async def upscaled(client: Client, source: str) -> int:
    """The size of the picture that an upscale brings."""
    result = await client.call_tool("upscale_image", {"source": source})
    assert isinstance(result, CallToolResult)
    assert result.structured_content, result.content
    job = result.structured_content
    while job["status"] == "running":
        asked = {"job_id": job["job_id"], "wait_seconds": 50}
        result = await client.call_tool("get_job", asked)
        assert isinstance(result, CallToolResult)
        assert result.structured_content, result.content
        job = result.structured_content
    return int(job["media"][0]["size_bytes"])


async def measure() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with served() as origin:
            settings = Settings.read(
                {
                    "USEAPI_TOKEN": "user:1-benchmark",
                    "USEAPI_BASE_URL": origin,
                    "USEAPI_OUTPUT_DIR": f"{folder}/output",
                    "USEAPI_STATE_DIR": f"{folder}/state",
                }
            )
            async with Client(create_server(settings)) as client, asyncio.timeout(300):
                await upscaled(client, SOURCE.format(0))  # everything is imported by now
                before, begun = peak_mb(), time.perf_counter()
                size_bytes = await upscaled(client, SOURCE.format(1))
                taken_s, grown = time.perf_counter() - begun, peak_mb() - before
    print(
        f"base64: {BASE64_MB} MB of it in an answer, {size_bytes / MEGABYTE:.0f} MB saved in"
        f" {taken_s:.1f} s, memory +{grown:.1f} MB"
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        with suppress(KeyboardInterrupt):
            asyncio.run(serve())
    else:
        asyncio.run(measure())
