"""What the server is measured beside: a vendor that answers at once, and the least of a server.

`python -m benchmarks.peers vendor` is that vendor, as a process of its own, so that what it costs
is not counted. The other two are servers on the bare SDK: one tool that does nothing, over stdio,
and one that makes the request which ours makes, over HTTP.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
JOB = "j030214053012345{:04}v-u12345-CA:user@example.com-bot:dreamina"
MOST_JOBS = 10_000
TOKEN = "user:1-benchmark"

_RECORD = (
    b'{"jobid":"%b","type":"%b","status":"%b","created":"2026-11-01T10:00:00.000Z",'
    b'"updated":"2026-11-01T10:02:00.000Z","model":"seedance-2.0",'
    b'"request":{"prompt":"a lighthouse at night","model":"seedance-2.0"},'
    b'"response":{"forecastCost":115,"videoUrl":"https://example.com/video.mp4?sig=1",'
    b'"coverUrl":"https://example.com/cover.jpg?sig=1","width":1920,"height":1080,'
    b'"durationMs":5000}}'
)

_BARE = """
from mcp.server import MCPServer

server = MCPServer("bare")


@server.tool()
def nothing(source: str) -> str:
    return source


server.run()
"""

_BARE_OVER_HTTP = """
import contextlib, sys

import httpx
import uvicorn
from mcp.server import MCPServer

server = MCPServer("bare")
vendor = httpx.AsyncClient(base_url=sys.argv[1], headers={"Authorization": "Bearer " + sys.argv[2]})


@server.tool()
async def get_job(job_id: str) -> dict[str, object]:
    return (await vendor.get("/v1/dreamina/videos/" + job_id)).json()


app = server.streamable_http_app(stateless_http=True, json_response=True)
config = uvicorn.Config(app, port=0, log_config=None, access_log=False)
running = uvicorn.Server(config)
socket = config.bind_socket()
print("http://127.0.0.1:%d/mcp" % socket.getsockname()[1], flush=True)
running.run([socket])
"""


def upscale_of(job_id: str) -> str:
    """The id of the job that the vendor makes of a video."""
    return job_id.replace("v-", "V-", 1)


def bare_stdio() -> list[str]:
    """The command of a server of one tool that does nothing, over stdio."""
    return [sys.executable, "-c", _BARE]


def ours_stdio() -> list[str]:
    """The command of our server over stdio."""
    return [sys.executable, "-m", "mcp_server"]


def environment(folder: Path, origin: str) -> dict[str, str]:
    """What our server is started with."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("USEAPI")}
    # Else each start compiles all of ours again, and nothing of the SDK, which is installed.
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    return inherited | {
        "USEAPI_TOKEN": TOKEN,
        "USEAPI_BASE_URL": origin,
        "USEAPI_STATE_DIR": str(folder / "state"),
        "USEAPI_OUTPUT_DIR": str(folder / "output"),
        "PYTHONPATH": str(ROOT),
    }


@contextlib.contextmanager
def vendor(status: str = "completed") -> Iterator[str]:
    """The origin of a vendor that answers every read with a job of this status.

    It upscales every Dreamina video, which it says has been started.
    """
    command = [sys.executable, "-m", "benchmarks.peers", "vendor", status]
    with printing_its_address(command) as url:
        yield url


@contextlib.contextmanager
def bare_http(origin: str) -> Iterator[str]:
    """The address of a server on the bare SDK whose tool reads a job of this vendor."""
    with printing_its_address([sys.executable, "-c", _BARE_OVER_HTTP, origin, TOKEN]) as url:
        yield url


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="useapi-mcp-bench-") as name:
        yield Path(name)


@contextlib.contextmanager
def printing_its_address(command: list[str]) -> Iterator[str]:
    """A server as long as the body runs: the address that it prints first."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8", cwd=ROOT
    ) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


async def _serve(status: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                if head.startswith(b"POST"):
                    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                    source = json.loads(await reader.readexactly(length))["jobid"]
                    job_id, now = upscale_of(source).encode(), b"created"
                else:
                    job_id, now = head.split(b" ", 2)[1].rsplit(b"/", 1)[1], status.encode()
                kind = b"video-upscale" if b"V-" in job_id else b"video"
                body = _RECORD % (job_id, kind, now)
                start = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                writer.write(b"%bContent-Length: %d\r\n\r\n%b" % (start, len(body), body))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(sys.argv[2]))
