"""The sandbox's Google Flow API v1: video and image upscale, jobs, assets, a little generation.

Sources, cited below by page and date: POST videos/upscale (25 May 2026), POST images/upscale (14
February 2026), POST videos (5 June 2026), GET jobs/jobId (20 May 2026), GET jobs (15 June 2026),
GET assets/mediaGenerationId (14 June 2026), GET accounts/captcha-providers (25 June 2026), the
limits of captcha parameters as copied by a client on 22 July 2026, and live notes of September
2026.
"""

import asyncio
import base64
import re

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mcp_server.sandbox import media, responses
from mcp_server.sandbox.account import linked_accounts
from mcp_server.sandbox.google_flow.jobs import (
    IMAGE_SIZES,
    KEPT_S,
    LINK_LIFE_S,
    VIDEO_SIZES,
    Job,
    captcha,
    created,
    failure,
    record,
    result,
    telemetry,
)
from mcp_server.sandbox.google_flow.sources import (
    FAILING_MEDIA,
    FAILING_VIDEO,
    LOSING,
    NO_ULTRA_VIDEO,
    OWNER,
    REFUSALS,
    SERVICE,
    SOURCES,
    passthrough,
)
from mcp_server.sandbox.state import EMAIL, USER, SandboxState, Vendor, iso

FIRST_CREDITS = 18760  # POST videos/upscale's example, 25 May 2026
UPSCALE_4K_CREDITS = 50  # POST videos/upscale, 25 May 2026; 1080p is free
GENERATE_CREDITS = 20  # POST videos, 5 June 2026: veo-3.1-fast, the default model

CAPTCHA_FIELDS = frozenset({"captchaToken", "captchaRetry", "captchaOrder"})
CAPTCHA_SERVICES = frozenset(
    {
        *("CapSolver", "AntiCaptcha", "YesCaptcha", "CapMonster"),
        *("SolveCaptcha", "2Captcha", "EzCaptcha"),
    }
)

VIDEO_UPSCALE_FIELDS = CAPTCHA_FIELDS | {
    "mediaGenerationId",
    "resolution",
    "async",
    "replyUrl",
    "replyRef",
}
IMAGE_UPSCALE_FIELDS = CAPTCHA_FIELDS | {"mediaGenerationId", "resolution"}
GENERATE_FIELDS = CAPTCHA_FIELDS | {
    *("prompt", "model", "email", "aspectRatio", "duration", "resolution", "count", "seed"),
    *("async", "replyUrl", "replyRef"),
}
NUMBERS = frozenset({"captchaRetry", "duration", "count", "seed"})
MEDIA_ID = re.compile(r"user:[0-9]+-email:([0-9a-f]+)-(video|image|voice|character):(.+)", re.ASCII)


class GoogleFlow(Vendor):
    prefix = "/v1/google-flow"
    sources = SOURCES

    def __init__(self, state: SandboxState) -> None:
        super().__init__(state)
        self._known = {source.id for source in SOURCES} | set(state.conditions.sources)
        self._jobs: dict[str, Job] = {}
        self._credits = FIRST_CREDITS

    def routes(self) -> list[Route]:
        at = self.prefix
        return [
            Route(f"{at}/videos/upscale", self.upscale_video, methods=["POST"]),
            Route(f"{at}/images/upscale", self.upscale_image, methods=["POST"]),
            Route(f"{at}/videos", self.generate_video, methods=["POST"]),
            Route(f"{at}/jobs/{{jobId}}", self.get_job, methods=["GET"]),
            Route(f"{at}/jobs", self.get_jobs, methods=["GET"]),
            Route(f"{at}/jobs/", self.get_jobs, methods=["GET"]),  # as the page writes it
            Route(f"{at}/assets/{{mediaGenerationId}}", self.get_asset, methods=["GET"]),
            Route(f"{at}/accounts", self.get_accounts, methods=["GET"]),
        ]

    async def upscale_video(self, request: Request) -> Response:
        """POST videos/upscale, 25 May 2026 (`720p`: known from the pages of October 2026).

        "Upscaling the same video twice returns a cached result", with `rawBytes` and at no cost.
        Assumed: that means the same resolution too; a repeat while the first still runs is a job of
        its own, paid again; an `async` repeat is a job that has finished when it is first read.
        """
        body = await self._fields(request, VIDEO_UPSCALE_FIELDS)
        source_id = self._source_id(body, "video")
        resolution = body.get("resolution", "1080p")
        if resolution not in VIDEO_SIZES:
            raise _invalid(f"Parameter resolution ({resolution}) valid values: 720p, 1080p, 4K")
        if source_id == NO_ULTRA_VIDEO and resolution == "4K":  # the answer is assumed
            text = "The caller does not have permission"
            error = passthrough(403, text, "PERMISSION_DENIED", "MODEL_ACCESS_DENIED")
            raise responses.RefusedError(responses.answer({"error": error}, status=403))
        self.state.refuse(source_id, REFUSALS)
        cached = self._finished(source_id, str(resolution))
        await self.state.conditions.work()
        cost = UPSCALE_4K_CREDITS if resolution == "4K" and not cached else 0
        name = cached.media_name if cached else f"{self._new_name()}_upsampled"
        job = self._new_job(body, source_id, str(resolution), name, cost)
        job.cached = cached is not None
        if job.cached:
            job.done_at = job.made_at
        return await self._answer(request, job, body)

    async def generate_video(self, request: Request) -> Response:
        """POST videos, 5 June 2026: only as much as the examples of POST videos/upscale need."""
        body = await self._fields(request, GENERATE_FIELDS)
        if not body.get("prompt"):
            raise _invalid("prompt is required")  # assumed, as for mediaGenerationId
        job = self._new_job(body, "", "", self._new_name(), GENERATE_CREDITS)
        self._known.add(job.media_id)
        return await self._answer(request, job, body)

    async def upscale_image(self, request: Request) -> Response:
        """POST images/upscale, 14 February 2026: answers with the image itself, when it is done.

        Assumed: there is no cache and no cost.
        """
        body = await self._fields(request, IMAGE_UPSCALE_FIELDS)
        source_id = self._source_id(body, "image")
        resolution = body.get("resolution", "2k")
        if resolution not in IMAGE_SIZES:
            raise _invalid(f"Parameter resolution ({resolution}) valid values: 2k, 4k")
        self.state.refuse(source_id, REFUSALS)
        await self.state.conditions.work()
        self.state.accept(SERVICE, request.url.path, source_id, None, body)
        await asyncio.sleep(self.state.job_seconds)
        if self.state.loses_the_answer(source_id, LOSING):
            return responses.gateway_page(524)
        content = media.read(media.image(*IMAGE_SIZES[str(resolution)]))
        return responses.answer(
            {"encodedImage": base64.b64encode(content).decode(), "captcha": captcha()}
        )

    async def get_job(self, request: Request) -> Response:
        """GET jobs/jobId, 20 May 2026: the id goes in raw (live notes, September 2026).

        410 as summarised on 27 July 2026; the 404's text is assumed.
        """
        jobid = request.path_params["jobId"]
        if responses.has_encoded_path(request) or not jobid.endswith("-bot:google-flow"):
            raise responses.refused(400, "Invalid job ID format", with_code=True)
        job = self._jobs.get(jobid)
        if job is None:
            raise responses.refused(404, "Job not found", with_code=True)
        now = self.state.now()
        if now - job.made_at > KEPT_S:
            raise responses.refused(410, "Job has expired", with_code=True)
        return responses.answer(record(request, job, now))

    async def get_jobs(self, request: Request) -> Response:
        """GET jobs, 15 June 2026; the 400's text is assumed."""
        option = request.query_params.get("options", "summary")
        if option not in ("summary", "executing", "history"):
            text = f"Parameter options ({option}) valid values: summary, executing, history"
            raise _invalid(text)
        return responses.answer(telemetry(self._jobs.values(), option, self.state.now()))

    async def get_asset(self, request: Request) -> Response:
        """GET assets/mediaGenerationId, 14 June 2026: a fresh link; this id is percent-encoded."""
        name = request.path_params["mediaGenerationId"]
        found = MEDIA_ID.fullmatch(name)
        if not found:
            raise _invalid(f"Invalid mediaGenerationId format: {name}")
        kind = found[2]
        if kind not in ("video", "image"):
            text = f"mediaGenerationId type must be 'image' or 'video', got '{kind}'"
            raise _invalid(text)
        now = self.state.now()
        made = [job for job in self._jobs.values() if job.media_id == name and now >= job.done_at]
        if not made and name not in self._known:
            raise responses.refused(404, "Media not found", with_code=True)  # the text is assumed
        sample = made[0].clip if made else media.clip(1280, 720, 24)
        if kind == "image":
            sample = media.image(1280, 720)
        link = media.link(request, sample, owner=f"{name} {now}", expires=now + LINK_LIFE_S)
        return responses.answer({"url": link, "mediaGenerationId": name})

    async def get_accounts(self, request: Request) -> Response:
        """GET accounts: a map by e-mail; `health` is "OK" or the error's text (here assumed)."""
        account: responses.Json = {
            "created": "2026-01-02T12:00:00.000Z",
            "health": "OK",
            "nextRefresh": {"scheduledFor": iso(self.state.now() + 3600)},
            "project": {"projectId": "9f63078c", "projectTitle": "Sandbox"},
            "sessionData": {"expires": iso(self.state.now() + 24 * 3600)},
        }
        fault: responses.Json = {
            "health": "refresh token rejected",
            "error": "refresh token rejected",
        }
        return responses.answer(linked_accounts(request, {EMAIL: account}, fault))

    async def _fields(self, request: Request, known: frozenset[str] | set[str]) -> responses.Json:
        """The body, refused where a field is unknown (live notes, September 2026).

        replyUrl's text is POST account's (7 April 2025), async's is assumed.
        """
        body = await responses.read_fields(request, numbers=NUMBERS, booleans=frozenset({"async"}))
        for name in body:
            if name not in known:
                raise _invalid(f"Parameter {name} not supported")
        for name in ("replyUrl", "replyRef"):
            if len(str(body.get(name, ""))) > 1024:
                raise _invalid(f"{name} is too long")
        _check_captcha(body)
        if not isinstance(body.get("async", False), bool):
            raise _invalid(f"Parameter async ({body['async']}) valid values: true, false")
        return body

    def _source_id(self, body: responses.Json, kind: str) -> str:
        """The id a POST names, or the 400 or 404 it deserves.

        Texts: missing, POST images/upscale (14 February 2026); wrong kind, POST videos/gif (20
        January 2026); no account, POST videos/upscale; wrong form, GET assets; no video: assumed.
        """
        if not body.get("mediaGenerationId"):
            raise responses.refused(400, "mediaGenerationId is required")
        name = str(body["mediaGenerationId"])
        found = MEDIA_ID.fullmatch(name)
        if not found:
            raise _invalid(f"Invalid mediaGenerationId format: {name}")
        if found[2] != kind:
            raise _invalid(f"mediaGenerationId type must be '{kind}', got '{found[2]}'")
        if not name.startswith(OWNER) and name not in self._known:
            email = (
                bytes.fromhex(found[1]).decode(errors="replace") if len(found[1]) % 2 == 0 else "?"
            )
            raise responses.refused(404, f"Google Flow account {email} not found")
        if name not in self._known:
            raise responses.refused(404, f"{kind.capitalize()} not found")
        return name

    def _finished(self, source_id: str, resolution: str) -> Job | None:
        """The first upscale of this video to this size, if it is done: that is the cache."""
        if source_id == FAILING_MEDIA:
            return None
        now = self.state.now()
        for job in self._jobs.values():
            same = (job.source_id, job.resolution) == (source_id, resolution)
            if same and job.status(now) == "completed":
                return job
        return None

    def _new_name(self) -> str:
        """A raw media name that looks like the UUIDs in the examples."""
        return f"2fefd089-0000-4000-8000-{self.state.serial():012}"

    def _new_job(
        self, body: responses.Json, source_id: str, resolution: str, name: str, cost: int
    ) -> Job:
        now = self.state.now()
        found = MEDIA_ID.fullmatch(source_id)
        email = bytes.fromhex(found[1]).decode() if found else EMAIL
        return Job(
            f"j{self.state.digits()}v-u{USER}-email:{email}-bot:google-flow",
            {key: value for key, value in body.items() if key not in CAPTCHA_FIELDS},
            source_id,
            resolution,
            now,
            now + self.state.job_seconds,
            name,
            self._credits - cost,
            fails=source_id == FAILING_VIDEO or self.state.conditions.fails(),
        )

    async def _answer(self, request: Request, job: Job, body: responses.Json) -> Response:
        """201 at once when `async` is asked for, else 200 when the job is done (25 May 2026)."""
        self._jobs[job.jobid] = job
        self._credits = job.remaining_credits
        if not job.cached:
            path = request.url.path
            self.state.accept(SERVICE, path, job.source_id, job.jobid, body)
        lost = self.state.loses_the_answer(job.source_id, LOSING)
        if body.get("async") is True:
            return (
                responses.gateway_page(524) if lost else responses.answer(created(job), status=201)
            )
        await asyncio.sleep(job.done_at - self.state.now())
        if lost:
            return responses.gateway_page(524)
        if job.fails:  # its form is the page's error Model, its status assumed
            return responses.answer({"jobId": job.jobid, **failure()}, status=500)
        return responses.answer({"jobId": job.jobid, **result(request, job)})


def _check_captcha(body: responses.Json) -> None:
    """Refuse captcha parameters that exclude each other or are out of range; all texts are assumed.

    Raises:
        RefusedError: a 400.
    """
    given = CAPTCHA_FIELDS & body.keys()
    if len(given) > 1:
        raise _invalid(f"Parameters {', '.join(sorted(given))} are mutually exclusive")
    if len(str(body.get("captchaToken", "x" * 20))) < 20:
        raise _invalid("Parameter captchaToken must be at least 20 characters")
    if not responses.is_number(body.get("captchaRetry", 1), 1, 10):
        raise _invalid(f"Parameter captchaRetry ({body['captchaRetry']}) valid range: 1-10")
    order = str(body.get("captchaOrder", "CapSolver")).split(",")
    if len(order) > 10 or not CAPTCHA_SERVICES.issuperset(order):
        raise _invalid(f"Parameter captchaOrder ({body['captchaOrder']}) not supported")


def _invalid(text: str) -> responses.RefusedError:
    """Google Flow's 400, which repeats the status as `code` (live notes, September 2026)."""
    return responses.refused(400, text, with_code=True)
