"""The jobs of the sandbox's Google Flow API v1: what their records and answers hold, and when.

Sources, cited below by page and date: POST videos/upscale (25 May 2026), GET jobs/jobId (20 May
2026; its Model as copied by a client on 22 July 2026), GET jobs (15 June 2026).
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.requests import Request

from mcp_server.sandbox import media, responses
from mcp_server.sandbox.google_flow.sources import (
    FAILING_MEDIA,
    LEGACY_VIDEO,
    owner,
    passthrough,
)
from mcp_server.sandbox.state import EMAIL, iso, minutes_and_seconds

VIDEO_SIZES = {"720p": (1280, 720), "1080p": (1920, 1080), "4K": (3840, 2160)}  # pixels: assumed
IMAGE_SIZES = {"2k": (2560, 1440), "4k": (3840, 2160)}  # pixels: assumed
LINK_LIFE_S = 6 * 3600  # the vendor's skill omni-flash-video, September 2026: about 6 hours
KEPT_S = 7 * 24 * 3600  # GET jobs/jobId as summarised on 27 July 2026: 7 days, then 410
SUCCESSFUL, FAILED = "MEDIA_GENERATION_STATUS_SUCCESSFUL", "MEDIA_GENERATION_STATUS_FAILED"


@dataclass
class Job:
    """A job. `media_names` are the raw names of what it makes, `cached` that it was there."""

    jobid: str
    request: responses.Json
    source_id: str  # "" for a generation
    resolution: str  # "" for a generation
    made_at: float
    done_at: float
    media_names: tuple[str, ...]
    remaining_credits: int
    cached: bool = False
    fails: bool = False
    kind: str = "video"  # or "image"
    size: tuple[int, int] = (1280, 720)  # of a generation
    seconds: int = media.CLIP_S  # of a video
    prompt: str = ""
    model: str = ""
    word: str = ""  # in the prompt

    def status(self, now: float) -> str:
        """GET jobs/jobId, 20 May 2026: four words; when it is `started` is assumed."""
        if now >= self.done_at:
            return "failed" if self.fails else "completed"
        return "created" if now < self.made_at + (self.done_at - self.made_at) / 4 else "started"

    @property
    def email(self) -> str:
        return self.jobid.partition("-email:")[2].removesuffix("-bot:google-flow")

    def media_id(self, name: str) -> str:
        return f"{owner(self.email)}-{self.kind}:{name}"

    @property
    def media_ids(self) -> list[str]:
        return [self.media_id(name) for name in self.media_names]

    @property
    def media_fails(self) -> bool:
        return self.source_id == FAILING_MEDIA or self.word == "media-fails"

    @property
    def sample(self) -> str:
        """The file of its result."""
        if self.kind == "image":
            return media.image(*self.size)
        size = VIDEO_SIZES[self.resolution] if self.resolution else self.size
        return media.clip(*size, 24, self.seconds)


def created(job: Job) -> responses.Json:
    """The body of the 201, POST videos/upscale, 25 May 2026: here the id is `jobid`.

    A generation's holds its operations (POST videos, as copied by a client on 22 July 2026).
    """
    response: responses.Json = {"captcha": captcha(with_attempts=False)}
    if not job.resolution:
        pending = "MEDIA_GENERATION_STATUS_PENDING"
        response["operations"] = [
            {"operation": {"name": name}, "sceneId": "", "status": pending}
            for name in job.media_names
        ]
    return {
        "jobid": job.jobid,
        "type": "video",
        "status": "created",
        "created": iso(job.made_at),
        "request": job.request,
        "response": response,
    }


def record(request: Request, job: Job, now: float) -> responses.Json:
    """GET jobs/jobId, 20 May 2026.

    Assumed: a finished upscale's `response` holds what the synchronous answer holds.
    """
    status = job.status(now)
    answer: responses.Json = {
        "jobid": job.jobid,
        "type": job.kind,
        "status": status,
        "created": iso(job.made_at),
        "updated": iso(job.done_at if now >= job.done_at else job.made_at),
        "request": job.request,
    }
    if status == "failed":
        return {**answer, **failure()}
    response: responses.Json = {"captcha": captcha(with_attempts=False)}
    if status == "completed":
        response = result(request, job)
    return {**answer, "response": response}


def failure() -> responses.Json:
    """GET jobs/jobId's failed record, as copied by a client on 22 July 2026."""
    error = passthrough(500, "Internal error encountered.", "INTERNAL")
    return {
        "error": "API error: 500",
        "errorDetails": "Internal error encountered.",
        "code": 500,
        "response": {"error": error},
    }


def result(request: Request, job: Job) -> responses.Json:
    """The body of POST videos/upscale's 200, 25 May 2026, but for `jobId`.

    A generation of videos (POST videos, 5 June 2026) has no `operations[]`; images (POST images)
    have neither those nor credits. Assumed: `rawBytes`, which a
    cached result has instead of links, is a field of operations[0].
    """
    if job.kind == "image":
        images: list[object] = [_image(request, job, at) for at in range(len(job.media_names))]
        return {"media": images, "captcha": captcha()}
    answer: responses.Json = {}
    if job.resolution:
        answer["operations"] = [_operation(request, job, job.media_names[0])]
    if job.source_id != LEGACY_VIDEO:
        answer["media"] = [_media(request, job, name) for name in job.media_names]
    return {**answer, "remainingCredits": job.remaining_credits, "captcha": captcha()}


def captcha(*, with_attempts: bool = True) -> responses.Json:
    """POST videos/upscale, 25 May 2026: `attempts` is in the 200, not in the 201."""
    solved: responses.Json = {"service": "AntiCaptcha", "taskId": "abc123", "durationMs": 3500}
    return {**solved, "attempts": [{**solved, "success": True}]} if with_attempts else solved


def _operation(request: Request, job: Job, name: str) -> responses.Json:
    metadata: responses.Json = {
        "@type": "type.googleapis.com/google.internal.labs.aisandbox.v1.Media",
        "name": name,
        "video": {
            "seed": 0,
            "model": f"veo_3_1_upsampler_{job.resolution.lower()}",
            "aspectRatio": "VIDEO_ASPECT_RATIO_LANDSCAPE",
            "isLooped": False,
            "upsampleResolution": f"VIDEO_UPSAMPLE_RESOLUTION_{job.resolution.upper()}",
            **_links(request, job, name, "fifeUrl", "servingBaseUri"),
            "mediaGenerationId": job.media_id(name),
            "mediaVisibility": "PRIVATE",
        },
    }
    operation: responses.Json = {
        "operation": {"name": name, "metadata": metadata},
        "sceneId": "",
        "status": FAILED if job.media_fails else SUCCESSFUL,
        "mediaGenerationId": job.media_id(name),
    }
    if job.cached:
        operation["rawBytes"] = base64.b64encode(media.read(job.sample)).decode()
    return operation


def _media(request: Request, job: Job, name: str) -> responses.Json:
    status: responses.Json = {"mediaGenerationStatus": SUCCESSFUL}
    if job.media_fails:
        error = {"code": 3, "message": "PUBLIC_ERROR_UNSAFE_GENERATION"}
        status = {"mediaGenerationStatus": FAILED, "error": error}
    generated: responses.Json = {"seed": 0, "model": "veo_3_1_fast", "isLooped": False}
    generated["aspectRatio"] = "VIDEO_ASPECT_RATIO_LANDSCAPE"
    if job.resolution:
        wanted = f"VIDEO_UPSAMPLE_RESOLUTION_{job.resolution.upper()}"
        generated["model"] = f"veo_3_1_upsampler_{job.resolution.lower()}"
        generated["upsampleMetadata"] = {"videoUpsampleResolution": wanted}
    return {
        "name": name,
        "projectId": "9f63078c-0000-4000-8000-000000000000",
        "workflowId": "66612805-0000-4000-8000-000000000000",
        "workflowStepId": "CAI",
        "mediaMetadata": {
            "createTime": iso(job.made_at),
            "mediaStatus": status,
            "visibility": "PRIVATE",
        },
        "video": {
            "generatedVideo": generated,
            "dimensions": {"length": "0s"},
            "operation": {"name": name},
        },
        "mediaGenerationId": job.media_id(name),
        **_links(request, job, name, "videoUrl", "thumbnailUrl"),
    }


def _links(request: Request, job: Job, name: str, video: str, thumbnail: str) -> responses.Json:
    """The two signed links, under these names; a cached or failed result has none."""
    if job.cached or job.media_fails:
        return {}
    expires = job.done_at + LINK_LIFE_S
    return {
        video: media.link(request, job.sample, owner=name, expires=expires),
        thumbnail: media.link(request, media.THUMBNAIL, owner=name, expires=expires),
    }


def _image(request: Request, job: Job, at: int) -> responses.Json:
    """POST images, June to October 2026: a link or base64, never both.

    A silent refusal (live notes, September 2026) has neither of them and no id.
    """
    name, workflow = job.media_names[at], "66612805-0000-4000-8000-000000000000"
    generated: responses.Json = {"seed": 1000 + at, "prompt": job.prompt}
    refused = job.word == "silently-refused" or (job.word == "partly-refused" and at == 0)
    if not refused:
        generated |= {
            "mediaGenerationId": job.media_id(name),
            "mediaVisibility": "PRIVATE",
            "modelNameType": job.model.upper().replace("-", "_").replace(".", "_"),
            "workflowId": workflow,
            "aspectRatio": "IMAGE_ASPECT_RATIO_LANDSCAPE",
        }
        if job.word == "encoded":
            generated["encodedImage"] = base64.b64encode(media.read(job.sample)).decode()
        else:
            expires = job.done_at + LINK_LIFE_S
            generated["fifeUrl"] = media.link(request, job.sample, owner=name, expires=expires)
    return {"name": name, "workflowId": workflow, "image": {"generatedImage": generated}}


def telemetry(jobs: Iterable[Job], option: str, now: float) -> responses.Json:
    """GET jobs, 15 June 2026, as copied by a client on 22 July 2026: numbers, and no job list.

    The history holds the last ten jobs that ended in the last 15 minutes. Assumed: that a cached
    repeat is among them. An upscaled image is no job, a generated one is.
    """
    jobs = list(jobs)
    images = [job for job in jobs if job.kind == "image"]
    return {
        "emails": [EMAIL],
        "videos": _numbers([job for job in jobs if job.kind == "video"], option, now),
        "images": _numbers(images, option, now) if images else {},
        "combined": _numbers(jobs, option, now),
    }


def _numbers(jobs: list[Job], option: str, now: float) -> responses.Json:
    ended = [job for job in jobs if 0 <= now - job.done_at <= 15 * 60]
    times_ms = [int((job.done_at - job.made_at) * 1000) for job in ended]
    executing = [job for job in jobs if now < job.done_at]
    failed = sum(job.status(now) == "failed" for job in ended)
    summary: responses.Json = {
        "executing": len(executing),
        "completed": len(ended) - failed,
        "failed": failed,
        "rateLimited": 0,
        "avgResponseTime": sum(times_ms) // max(len(times_ms), 1),
        "score": len(executing) + failed * 10,
    }
    numbers: responses.Json = {"summary": {EMAIL: summary}}
    if option == "executing":
        numbers["executing"] = {
            job.jobid: {
                "email": EMAIL,
                "timestamp": int(job.made_at * 1000),
                "elapsed": minutes_and_seconds(now - job.made_at),
            }
            for job in executing
        }
    if option == "history":
        numbers["history"] = {
            job.jobid: {
                "email": EMAIL,
                "timestamp": int(job.made_at * 1000),
                "httpStatus": 500 if job.status(now) == "failed" else 200,
                "responseTime": int((job.done_at - job.made_at) * 1000),
            }
            for job in sorted(ended, key=lambda job: -job.done_at)[:10]
        }
    return numbers
