"""Small vendors that a test can bend, where the sandbox only does what the documents say.

Each looks a source up when a request arrives, works for a while and makes the job at the end, as
the real ones do: a repeat inside of that time is not refused. `add` is a job of somebody else's.
"""

import asyncio
import json
from collections import defaultdict
from email.utils import formatdate
from typing import Any, ClassVar
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from mcp_server.clock import iso
from tests.services.scripted import Says
from tests.support.harness import EPOCH

EMAIL = "joe@example.com"
NOT_FOUND = Says({"error": "Not found"}, 404)


def dreamina_id(number: int, letter: str = "v", region: str = "CA") -> str:
    return f"j030214053012345{number:04d}{letter}-u12345-{region}:{EMAIL}-bot:dreamina"


def pixverse_id(number: int) -> str:
    return f"user:12345-pixverse:{EMAIL}-video:{number}"


def flow_job_id(number: int) -> str:
    return f"j17373123456{number:05d}v-u12345-email:{EMAIL}-bot:google-flow"


FLOW_VIDEO = f"user:12345-email:{EMAIL.encode().hex()}-video:CAMaJDMx"
FLOW_IMAGE = f"user:12345-email:{EMAIL.encode().hex()}-image:CAMaJDMy"
DREAMINA_VIDEO, DREAMINA_IMAGE = dreamina_id(1), dreamina_id(1, "i", "US")
PIXVERSE_VIDEO = pixverse_id(1)


class Vendor:
    """What the three share.

    Args:
        work_s: seconds from the arrival of a paid request until its job is there.
        ahead_s: how far its clock is ahead of the true time.
        tells_time: whether its answers carry a `Date`.

    Attributes:
        jobs: the records of the jobs there are, by id, oldest first; a test may change them.
        made: the ids of the jobs that requests made, in order; the others are somebody else's.
        charged: the credits that each accepted request cost, in order.
        instead: answers by the start of "METHOD /path?query"; they take the place of its own, and
            a list is used up from its front.
    """

    credits: ClassVar[float] = 30

    def __init__(
        self, *, work_s: float = 0.0, ahead_s: float = 0.0, tells_time: bool = False
    ) -> None:
        self.work_s = work_s
        self.jobs: dict[str, dict[str, Any]] = {}
        self.made: list[str] = []
        self.charged: list[float] = []
        self.posted_at: list[float] = []
        self.asked: list[str] = []
        self.instead: dict[str, Says | list[Says]] = {}
        self._ahead_s = ahead_s
        self._tells_time = tells_time
        self._number = 100

    def now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time() + self._ahead_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = b""
        while True:
            message = await receive()
            sent += message.get("body", b"")
            if not message.get("more_body"):
                break
        path, query = scope["raw_path"].decode(), scope["query_string"].decode()
        asked = f"{scope['method']} {path}" + (f"?{query}" if query else "")
        self.asked.append(asked)
        if scope["method"] == "POST":
            self.posted_at.append(asyncio.get_running_loop().time())
        answer = self._instead_of(asked)
        if answer is None and scope["method"] == "POST":
            answer = await self.post(path, json.loads(sent))
        if answer is None:
            given = {name: values[0] for name, values in parse_qs(query).items()}
            answer = self.get(path, given)
        headers = dict(answer.headers)
        if self._tells_time:
            headers["date"] = formatdate(self.now(), usegmt=True)
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        start = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": start})
        await send({"type": "http.response.body", "body": body})

    def _instead_of(self, asked: str) -> Says | None:
        for start, says in self.instead.items():
            if asked.startswith(start):
                if isinstance(says, Says):
                    return says
                return says.pop(0) if says else None
        return None

    async def post(self, path: str, body: dict[str, Any]) -> Says:
        raise NotImplementedError

    def get(self, path: str, query: dict[str, str]) -> Says:
        raise NotImplementedError

    def number(self) -> int:
        self._number += 1
        return self._number

    def record(self, path: str) -> Says:
        """The record that a path ends with the id of."""
        found = self.jobs.get(path.rsplit("/", 1)[1])
        return Says(found) if found is not None else NOT_FOUND


class Dreamina(Vendor):
    """`running` are the jobs that the scheduler lists; it echoes what the documents show."""

    _KINDS: ClassVar[dict[str, tuple[str, str]]] = {
        "videos/upscale": ("V", "video-upscale"),
        "videos/interpolate": ("F", "video-interpolate"),
        "images/upscale": ("I", "upscale"),
    }

    def add(self, path: str, source: str, *, age_s: float = 0.0, **changes: Any) -> dict[str, Any]:
        """A job as one of these paths makes it; `changes` are made to its record."""
        letter, kind = self._KINDS[path]
        region = source.split("-u12345-")[1][:2]
        echo: dict[str, Any] = {"jobid": source}
        if kind == "upscale":
            echo |= {"imageIndex": 0, "resolution": "4k"}
        job = {
            "jobid": dreamina_id(self.number(), letter, region),
            "type": kind,
            "status": "created",
            "model": "seedance-2.0-fast",
            "created": iso(self.now() - age_s),
            "request": echo,
            "response": {"forecastCost": self.credits},
            **changes,
        }
        self.jobs[job["jobid"]] = job
        return job

    async def post(self, path: str, body: dict[str, Any]) -> Says:
        path = path.removeprefix("/v1/dreamina/")
        kind = self._KINDS[path][1]
        if kind != "upscale":
            for job_id, job in self.jobs.items():
                is_there = (job["type"], job["request"].get("jobid")) == (kind, body["jobid"])
                if is_there and job["status"] != "failed":
                    done = "upscaled" if kind == "video-upscale" else "interpolated"
                    return Says({"error": f"Source video already {done}: {job_id}"}, 400)
        await asyncio.sleep(self.work_s)
        job = self.add(path, body["jobid"])
        names = {"imageIndex": "imageIndex", "upscaleResolution": "resolution", "fps": "fps"}
        job["request"] |= {names[name]: body[name] for name in names if name in body}
        self.made.append(job["jobid"])
        self.charged.append(self.credits)
        return Says(job)

    def get(self, path: str, query: dict[str, str]) -> Says:
        if not path.endswith("/scheduler"):
            return self.record(path)
        executing = defaultdict(list)
        for job_id, job in self.jobs.items():
            if job["status"] == "created":
                executing[job_id.split("-u12345-")[1].removesuffix("-bot:dreamina")].append(
                    {"jobid": job_id}
                )
        return Says({"executing": executing, "total": sum(map(len, executing.values()))})


class PixVerse(Vendor):
    """Makes another job each time; its list is newest first, forty a page."""

    def add(self, source: str | int, *, age_s: float = 0.0, **changes: Any) -> dict[str, Any]:
        video_id = pixverse_id(self.number())
        video = {
            "video_id": video_id,
            "video_status": 5,
            "created_at": iso(self.now() - age_s),
            "output_width": 0,
            "output_height": 0,
            "original_video_id": source,
            "upscaled": 1 if source else 0,
            "url": "",
            **changes,
        }
        self.jobs[video_id] = video
        return video

    def finish(self) -> None:
        """Complete every job there is."""
        for video in self.jobs.values():
            link = "https://media.pixverse.ai/x.mp4"
            video |= {"video_status": 1, "output_width": 3840, "output_height": 2160, "url": link}

    async def post(self, path: str, body: dict[str, Any]) -> Says:
        await asyncio.sleep(self.work_s)
        video = self.add(body["video_id"])
        self.made.append(video["video_id"])
        self.charged.append(self.credits)
        return Says({"video_id": video["video_id"]})

    def get(self, path: str, query: dict[str, str]) -> Says:
        if not path.endswith("/videos"):
            return self.record(path)
        newest = sorted(self.jobs.values(), key=_made, reverse=True)
        offset = int(query.get("offset", 0))
        return Says({"data": newest[offset : offset + 40]})


def _made(video: dict[str, Any]) -> str:
    return str(video.get("created_at", ""))


class GoogleFlow(Vendor):
    """Answers a repeat of a job that is there without a charge, as from its cache."""

    credits = 50

    def add(self, source: str, *, age_s: float = 0.0, **changes: Any) -> dict[str, Any]:
        made = self.now() - age_s
        job = {
            "jobid": flow_job_id(self.number()),
            "type": "video",
            "status": "started",
            "created": iso(made),
            "request": {"mediaGenerationId": source, "async": True},
            **changes,
        }
        self.jobs[job["jobid"]] = job
        return job

    async def post(self, path: str, body: dict[str, Any]) -> Says:
        is_cached = any(
            job["request"].get("mediaGenerationId") == body["mediaGenerationId"]
            and job["request"].get("resolution") == body.get("resolution")
            for job in self.jobs.values()
        )
        await asyncio.sleep(self.work_s)
        job = self.add(body["mediaGenerationId"], request=body)
        self.made.append(job["jobid"])
        if not is_cached:
            self.charged.append(self.credits if body.get("resolution") == "4K" else 0)
        return Says(job, 201)

    def get(self, path: str, query: dict[str, str]) -> Says:
        return self.listed(query["options"]) if path.endswith("/jobs") else self.record(path)

    def listed(self, option: str) -> Says:
        section = {
            job_id: {"email": EMAIL, "timestamp": 1000 * number}
            for number, (job_id, job) in enumerate(self.jobs.items())
            if (job.get("status") == "started") == (option == "executing")
        }
        return Says({"emails": [EMAIL], "videos": {option: section}, "combined": {option: {}}})
