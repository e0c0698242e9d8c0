"""Mutated answers of the vendor: the sandbox's, through the real tools and a real client.

`python -m tests.stress.fuzz_responses 100000 [seed]` (`make answers`) prints what came of them.
Whatever the vendor answers, a tool's answer has one of our codes or a valid job, at most 8,000
characters, no base64 and no token.
"""

import copy
import json
import logging
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp_server.models import Job
from mcp_server.sandbox.app import SOURCES, Sandbox
from tests.support import virtual_time
from tests.support.corpora import HOSTILE_STRINGS, HOSTILE_URLS
from tests.support.harness import TOKEN, Harness, Reply, VirtualClock, running
from tests.test_errors import kinds

A_SESSION = 400  # mutated answers for one server and its journal
CODES = {kind.code for kind in kinds()}
BASE64_RUN = re.compile(r"[A-Za-z0-9+/=_-]{201,}")
LINK = re.compile(r"https?://[^\s\"]+")
STATUSES = (
    *(200, 200, 200, 201, 202, 204, 301, 400, 401, 402, 403, 404, 408, 409, 410, 412, 418),
    *(422, 425, 429, 451, 500, 501, 502, 503, 504, 522, 523, 596, 599),
)
LOCATIONS = [url for url in HOSTILE_URLS if url.isascii() and url.isprintable()]
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 7, 8, 2**31, -(2**63), 10**30, 0.5, 1e308, -1e308, 1e-308,
    "", "0", "completed", "failed", "created", "COMPLETED", "null", [], {}, [[]], [{}], [None],
    {"a": {"b": {"c": []}}}, "A" * 50_000, "/9j/" + "A" * 50_000, "2026-13-45T99:99:99Z",
    "9999-12-31T23:59:59.999Z", "0001-01-01", "Already upscaled: j1", *HOSTILE_STRINGS,
    *HOSTILE_URLS,
)  # fmt: skip


class Mutator:
    """Changes an answer's JSON, or its bytes."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def mutated(self, body: bytes) -> bytes:
        try:
            tree = json.loads(body)
        except ValueError:
            return self._mutated_bytes(body)
        if self._rng.random() < 0.15:
            return self._mutated_bytes(body)
        for _ in range(self._rng.randint(1, 4)):
            tree = self._mutated_tree(tree)
        return json.dumps(tree).encode()

    def _mutated_tree(self, tree: Any) -> Any:
        places = list(_places(tree))
        if not places or self._rng.random() < 0.02:
            return copy.deepcopy(self._rng.choice(VALUES))
        holder, key = self._rng.choice(places)
        change = self._rng.randrange(6)
        if change <= 2:
            holder[key] = copy.deepcopy(self._rng.choice(VALUES))
        elif change == 3:
            del holder[key]
        elif change == 4:
            other, its_key = self._rng.choice(places)
            if its_key in (other if isinstance(other, dict) else range(len(other))):
                holder[key] = copy.deepcopy(other[its_key])
        else:
            holder[key] = [holder[key]] * self._rng.choice((1, 2, 50))
        return tree

    def _mutated_bytes(self, body: bytes) -> bytes:
        at = self._rng.randrange(len(body) + 1)
        return self._rng.choice(
            (
                body[:at],
                body[:at] + self._rng.randbytes(8) + body[at + 8 :],
                body[:at] + b'"' + body[at:],
                body[at:],
                body * 2,
                b"<html>" + body,
                b"",
            )
        )


def _places(tree: Any) -> Any:
    """(holder, key) of every node below the top."""
    waiting = [tree] if isinstance(tree, dict | list) else []
    while waiting:
        node = waiting.pop()
        entries = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in entries:
            yield node, key
            if isinstance(value, dict | list):
                waiting.append(value)


@dataclass
class Tally:
    """What came of it."""

    mutated: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    longest_text: int = 0
    faults: list[str] = field(default_factory=list)

    sessions: int = 0

    def judge(self, tool: str, reply: Reply) -> None:
        self.calls[tool] += 1
        self.longest_text = max(self.longest_text, len(reply.text))
        whole = reply.text + json.dumps([reply.data, reply.meta])
        try:
            if reply.is_error:
                code = reply.error["code"]
                assert code in CODES, f"not one of our codes: {code}"
            else:
                code = "answered"
                for job in reply.job.get("jobs", [reply.job]):
                    code = Job.model_validate(job).status
            self.outcomes[code] += 1
            assert len(reply.text) <= 8000, "a text too long"
            assert not BASE64_RUN.search(LINK.sub("", whole)), "base64"
            assert TOKEN not in whole, "the token"
            assert all(c.isprintable() or c == "\n" for c in reply.text), "control characters"
        except (AssertionError, ValueError, KeyError, IndexError) as fault:
            self.faults.append(f"{tool}: {fault!r}: {reply.text[:300]!r}")


class FuzzingVendor:
    """The sandbox, whose answers are changed on their way, most of the time."""

    def __init__(self, sandbox: Sandbox, rng: random.Random, tally: Tally) -> None:
        self._sandbox = sandbox
        self._rng = rng
        self._mutator = Mutator(rng)
        self._tally = tally

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Any]) -> None:
        start: dict[str, Any] = {}
        body = bytearray()

        async def take(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                body.extend(message.get("body", b""))

        await self._sandbox(scope, receive, take)
        content = bytes(body)
        if self._rng.random() < 0.7:
            self._tally.mutated += 1
            content = self._mutator.mutated(content)
            if self._rng.random() < 0.3:
                start["status"] = self._rng.choice(STATUSES)
        start["headers"] = [
            (name, value) for name, value in start["headers"] if name != b"content-length"
        ]
        if self._rng.random() < 0.02:
            start["status"] = self._rng.choice((301, 302, 303, 307, 308))
            start["headers"].append((b"location", self._rng.choice(LOCATIONS).encode()))
        await send(start)
        await send({"type": "http.response.body", "body": content})


async def fuzz(count: int, seed: int, folder: Path) -> Tally:
    """Let `count` answers be mutated, and judge every answer of a tool."""
    rng, tally = random.Random(seed), Tally()
    bugs = _Bugs(tally)
    logging.root.addHandler(bugs)
    try:
        while tally.mutated < count and len(tally.faults) < 20:
            tally.sessions += 1
            enough = min(tally.mutated + A_SESSION, count)
            clock = VirtualClock()
            sandbox = Sandbox(job_seconds=3.0, now=clock.now)
            vendor = FuzzingVendor(sandbox, rng, tally)
            home = folder / str(tally.mutated)
            async with running(home, sandbox=sandbox, vendor=vendor, clock=clock) as harness:
                while tally.mutated < enough:
                    await _one_call(harness, rng, tally)
    finally:
        logging.root.removeHandler(bugs)
    return tally


class _Bugs(logging.Handler):
    """A bug outside of a call is in the log, at least."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(logging.ERROR)
        self._tally = tally

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._tally.faults.append(f"logged: {logging.Formatter().format(record)[-600:]}")


async def _one_call(harness: Harness, rng: random.Random, tally: Tally) -> None:
    jobs = [accepted.job_id for accepted in harness.sandbox.accepted if accepted.job_id]
    sources = [source.id for source in SOURCES]
    tool = rng.choice(
        ("get_job",) * 8 + ("upscale_video", "upscale_image", "interpolate_video", "download_media")
        + ("cancel_job", "list_jobs")
    )  # fmt: skip
    arguments: dict[str, Any]
    if tool in ("get_job", "download_media", "cancel_job"):
        arguments = {"job_id": rng.choice(jobs[-20:] * 2 + sources)}
        if tool == "get_job" and rng.random() < 0.2:
            arguments["wait_seconds"] = rng.choice((1, 20, 50))
    elif tool == "list_jobs":
        arguments = {"limit": 100}
    else:
        arguments = {"source": rng.choice(sources)}
        if tool == "interpolate_video":
            arguments["fps"] = rng.choice((30, 60))
        elif tool == "upscale_image":
            arguments["image_index"] = rng.randrange(4)
    tally.judge(tool, await harness.call(tool, **arguments))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(10**6)
    logging.getLogger("mcp").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        tally = virtual_time.run(fuzz(count, seed, Path(folder)))
    print(f"seed {seed}: {tally.mutated} mutated answers, {tally.calls.total()} calls")
    print("calls:", dict(tally.calls.most_common()))
    print("outcomes:", dict(tally.outcomes.most_common()))
    print(f"longest text: {tally.longest_text} characters; faults: {len(tally.faults)}")
    for fault in tally.faults:
        print("-", fault)
    failed = min(len(tally.faults), tally.sessions)
    print(f"answers: {tally.sessions - failed} passed, {failed} failed")
    sys.exit(bool(tally.faults))


if __name__ == "__main__":
    main()
