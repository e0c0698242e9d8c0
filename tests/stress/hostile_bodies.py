"""Answers that are meant to hurt, from a real socket: what becomes of each, and what it costs.

`python -m tests.stress.hostile_bodies` prints a table and fails where an answer is not a typed
error or a job, takes longer than a minute, or makes the process grow by more than 32 MB.
"""

import asyncio
import base64
import gzip
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

from mcp import Client

from mcp_server.sandbox import media
from mcp_server.server.factory import create_server
from mcp_server.settings import Settings
from tests.support.harness import GOOD, TOKEN, Reply, reply

LONGEST_S = 60.0
MOST_GROWTH_MB = 32
MEGABYTE = 1_000_000
PIECE = 65_536

Answer = Callable[[], Iterable[bytes]]


def plain(body: bytes, *, head: str = "", status: str = "200 OK") -> Answer:
    """A whole answer with the right length."""
    start = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode()
    return lambda: [start, *(body[at : at + PIECE] for at in range(0, len(body), PIECE))]


def later(make: Callable[[], Answer]) -> Answer:
    """An answer that takes long to make, made when it is asked for."""

    def answer() -> Iterable[bytes]:
        return make()()

    return answer


def raw(*parts: bytes) -> Answer:
    return lambda: parts


def chunked(*parts: tuple[bytes, int]) -> Answer:
    """Each part as a chunk, as often as it says; the last chunk comes at the end."""

    def answer() -> Iterable[bytes]:
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for part, times in parts:
            yield from repeat(b"%x\r\n%b\r\n" % (len(part), part), times)
        yield b"0\r\n\r\n"

    return answer


def job(**fields: object) -> bytes:
    record = {"jobid": GOOD["dreamina", "video"], "status": "completed", "response": {}}
    return json.dumps(record | fields).encode()


def gzip_bomb() -> bytes:
    """1 GB of zeros in 1 MB: a gzip file may have any number of members."""
    return gzip.compress(bytes(10 * MEGABYTE), 9) * 100


def gzip_video_bomb() -> bytes:
    """100 MB of base64 in 100 kB, in the field that becomes a file."""
    start = b'{"jobid":"x","status":"completed","response":{"rawBytes":"'
    return gzip.compress(start) + gzip.compress(b"A" * (10 * MEGABYTE), 9) * 10


def _base64_video(megabytes: int) -> Answer:
    head = base64.b64encode(media.read(media.clip(640, 360, 24))[:3000])
    rest = base64.b64encode(bytes(48_000))
    start = b'{"jobid":"x","status":"completed","response":{"rawBytes":"' + head
    return chunked((start, 1), (rest, megabytes * MEGABYTE // len(rest)), (b'"}}', 1))


GIGABYTE_TIMES = 1_000_000_000 // PIECE
SPACES = b" " * PIECE


def many_keys() -> Iterable[bytes]:
    """500,000 keys, made as they are sent: the vendor is in this process, too."""
    yield b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"
    for first in range(0, 500_000, 1000):
        yield b"".join(b'"%d":1,' % number for number in range(first, first + 1000))
    yield b'"last":1}'


def many_images() -> bytes:
    link = f"https://cdn.example.com/{'a' * 90}"
    return job(jobid="", response={"images": [{"imageUrl": f"{link}{n}"} for n in range(40_000)]})


BODIES: dict[str, Answer] = {
    "gzip bomb of 1 GB": later(lambda: plain(gzip_bomb(), head="Content-Encoding: gzip\r\n")),
    "gzip bomb in base64": later(
        lambda: plain(gzip_video_bomb(), head="Content-Encoding: gzip\r\n")
    ),
    "an honest gzip": plain(gzip.compress(job()), head="Content-Encoding: gzip\r\n"),
    "gzip that is none": plain(job(), head="Content-Encoding: gzip\r\n"),
    "brotli that is none": plain(b"\x00\x01\x02", head="Content-Encoding: br\r\n"),
    "200,000 lists deep": plain(b"[" * 200_000),
    "200,000 objects deep": plain(b'{"a":' * 200_000),
    "200,000 deep, closed": plain(b"[" * 200_000 + b"]" * 200_000),
    "an integer of 5,000 digits": plain(b'{"status":"completed","x":' + b"9" * 5000 + b"}"),
    "an exponent out of range": plain(job(response={"width": 1}).replace(b"1}", b"1e999}")),
    "NaN": plain(b'{"status":"completed","response":{"width":NaN}}'),
    "Infinity": plain(b'{"status":"completed","response":{"width":-Infinity}}'),
    "lone surrogates": plain(job(status="failed", error="\ud800 \udfff", model="\ud800")),
    "invalid UTF-8": plain(b'{"status":"failed","error":"\xff\xfe\x80"}'),
    "UTF-16": plain(job().decode().encode("utf-16")),
    "NUL bytes": plain(b"\x00" * 100_000),
    "nothing": plain(b""),
    "null": plain(b"null"),
    "a list": plain(b"[1, 2, 3]"),
    "a string": plain(b'"completed"'),
    "a string without end": plain(b'{"status":"' + b"a" * 1_000_000),
    "a page": plain(b"<html>" + b"a" * 1_000_000),
    "the same key 100,000 times": plain(b"{" + b'"status":"failed",' * 100_000 + b'"a":1}'),
    "500,000 keys": many_keys,
    "40,000 images": later(lambda: plain(many_images())),
    "an error of 5 MB": later(
        lambda: plain(json.dumps({"error": "a b " * 1_250_000}).encode(), status="400 No")
    ),
    "8 MiB of JSON and a byte": plain(b'{"a":"' + b"a" * (8 << 20) + b'"}'),
    "1 GB of spaces": chunked((SPACES, GIGABYTE_TIMES)),
    "1 GB of one string": chunked((b'{"a":"', 1), (SPACES, GIGABYTE_TIMES)),
    "1 GB in chunks of one byte": chunked((b" ", 170_000_000)),
    "1 GB, as it says": lambda: chain(
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"], repeat(SPACES, GIGABYTE_TIMES)
    ),
    "1 GB without an end": lambda: chain(
        [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"], repeat(SPACES, GIGABYTE_TIMES)
    ),
    "1 GB of headers": lambda: chain(
        [b"HTTP/1.1 200 OK\r\n"], repeat(b"X-A: " + b"a" * 60_000 + b"\r\n", GIGABYTE_TIMES)
    ),
    "1 GB of interim answers": lambda: repeat(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2000, 20_000),
    "a video in base64, over the limit": later(lambda: _base64_video(30)),
    "base64 that is none": plain(b'{"status":"completed","rawBytes":"' + b"\xff*" * 9000 + b'"}'),
    "40 videos in base64": plain(
        b'{"status":"completed","a":[' + b",".join([b'{"rawBytes":"AAAA"}'] * 40) + b"]}"
    ),
    "a length too long": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}"),
    "a length too short": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + job()),
    "a negative length": raw(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"),
    "a length that is none": raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}"),
    "two lengths": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "a length of 10,000 digits": raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 10_000 + b"\r\n\r\n{}"
    ),
    "a chunk that is none": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
    "a chunk without end": raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc"
    ),
    "cut in the head": raw(b"HTTP/1.1 200 OK\r\nContent-"),
    "cut at once": raw(),
    "no HTTP": raw(b"\x16\x03\x01 SSH-2.0 hello\r\n\r\n"),
    "status 000": raw(b"HTTP/1.1 000 x\r\n\r\n"),
    "status 99999": raw(b"HTTP/1.1 99999 x\r\n\r\n"),
    "a redirect to elsewhere": raw(
        b"HTTP/1.1 302 x\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    ),
    "a wait for ever": plain(b"{}", status="429 x", head="Retry-After: 1e308\r\n"),
    "a wait in the past": plain(b"{}", status="429 x", head="Retry-After: -1e308\r\n"),
    "a wait of 5,000 digits": plain(b"{}", status="429 x", head=f"Retry-After: {'9' * 5000}\r\n"),
}

# Work for a second to a minute each: `make hostile` measures them, the tests leave them out.
SLOW = {
    "1 GB in chunks of one byte",
    "1 GB of interim answers",
    "500,000 keys",
    "200,000 objects deep",
    "a video in base64, over the limit",
}


@dataclass
class Hostile:
    """A vendor that answers every request with `answer`, and a server of ours that asks it."""

    client: Client
    answer: Answer

    async def ask(self, name: str) -> Reply:
        """What an agent gets when the vendor answers so."""
        self.answer = BODIES[name]
        kind = "image" if "images" in name else "video"
        job_id = FLOW_JOB if "base64" in name else GOOD["dreamina", kind]
        async with asyncio.timeout(LONGEST_S):
            return reply(await self.client.call_tool("get_job", {"job_id": job_id}))


FLOW_JOB = "j0528202703000000004v-u12345-email:user@example.com-bot:google-flow"


@asynccontextmanager
async def hostile(folder: Path) -> AsyncIterator[Hostile]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            for part in vendor.answer():
                writer.write(part)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    settings = Settings.read(
        {
            "USEAPI_TOKEN": TOKEN,
            "USEAPI_BASE_URL": f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}",
            "USEAPI_OUTPUT_DIR": str(folder / "output"),
            "USEAPI_STATE_DIR": str(folder / "state"),
            "USEAPI_MAX_DOWNLOAD_MB": "16",
        }
    )
    async with listening, Client(create_server(settings)) as client:
        vendor = Hostile(client, raw())
        yield vendor


def peak_mb() -> float:
    """The most memory this process ever had, in MB."""
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1_000_000 if sys.platform == "darwin" else 977)


PARTS = 2


def measure() -> bool:
    """Print the table and whether all is well.

    Each process of several has a part of the answers, for an answer keeps one core at work.
    """
    print(f"{'answer':<36} {'outcome':<20} {'s':>6} {'+MB':>6}", flush=True)
    with ProcessPoolExecutor(PARTS, mp_context=multiprocessing.get_context("spawn")) as pool:
        failed = sum(pool.map(measure_part, range(PARTS)))
    print(f"hostile: {len(BODIES) + PARTS - failed} passed, {failed} failed")
    return not failed


def measure_part(part: int) -> int:
    """Print the lines of a part of the answers, all given to one server; how many are wrong."""
    slow_first = sorted(BODIES, key=lambda name: name not in SLOW)
    return asyncio.run(_measure(slow_first[part::PARTS]))


async def _measure(names: Iterable[str]) -> int:
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        async with hostile(Path(folder)) as vendor:
            BODIES["warm-up"] = plain(b'{"a":"' + b"a" * (8 << 20) + b'"}')
            await vendor.ask("warm-up")
            del BODIES["warm-up"]
            for name in names:
                before, begun = peak_mb(), time.perf_counter()
                given = await vendor.ask(name)
                grown, taken_s = peak_mb() - before, time.perf_counter() - begun
                said = given.error["code"] if given.is_error else str(given.job["status"])
                fine = grown <= MOST_GROWTH_MB and len(given.text) <= 8000 and said != "internal"
                failed += not fine
                mark = "" if fine else "  FAILED"
                print(f"{name:<36} {said:<20} {taken_s:6.2f} {grown:6.1f}{mark}", flush=True)
        left = _half_written(Path(folder))
        print(f"temporary files left: {left}")
    return failed + bool(left)


def _half_written(folder: Path) -> int:
    return len(list(folder.rglob("*.part")))


if __name__ == "__main__":
    sys.exit(not measure())
