"""The sandbox's Google Flow API v1: generations, upscales, jobs, uploads, lists, accounts.

Sources, cited below by page and date: POST videos/upscale (25 May 2026), POST images/upscale (14
February 2026), POST videos (5 June 2026), POST images (June to October 2026), POST assets (15 June
2026), GET assets/media (1 September 2026), GET accounts/email (its fields as copied by a client in
2026), GET jobs/jobId (20 May 2026), GET jobs (15 June 2026),
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

from mcp_server.sandbox import media, responses, uploads
from mcp_server.sandbox.account import linked_accounts, linked_emails
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
from mcp_server.sandbox.google_flow.orders import (
    IMAGE_FIELDS,
    LINES,
    VIDEO_FIELDS,
    VIDEO_MODELS,
    Order,
    image_order,
    invalid,
    video_order,
)
from mcp_server.sandbox.google_flow.orders import NUMBERS as ORDER_NUMBERS
from mcp_server.sandbox.google_flow.sources import (
    FAILING_MEDIA,
    FAILING_VIDEO,
    LOSING,
    NO_ULTRA_VIDEO,
    OWNER,
    REFUSALS,
    SERVICE,
    SOURCES,
    WORD_REFUSALS,
    WORDS,
    owner,
    passthrough,
    throttled,
)
from mcp_server.sandbox.state import (
    EMAIL,
    LOSING_WORDS,
    USER,
    SandboxState,
    Vendor,
    iso,
    word_in,
)

FIRST_CREDITS = 18760  # POST videos/upscale's example, 25 May 2026
UPSCALE_4K_CREDITS = 50  # POST videos/upscale, 25 May 2026; 1080p is free
# POST assets, 15 June 2026: what a file of this type may weigh.
MAX_ASSET_BYTES = {
    "image/png": 20 * 1024**2,
    "image/jpeg": 20 * 1024**2,
    "image/webp": 20 * 1024**2,
    "video/mp4": 100 * 1024**2,
}

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
NUMBERS = ORDER_NUMBERS | {"captchaRetry"}
MEDIA_ID = re.compile(r"user:[0-9]+-email:([0-9a-f]+)-(video|image|voice|character):(.+)", re.ASCII)


class GoogleFlow(Vendor):
    prefix = "/v1/google-flow"
    sources = SOURCES
    words = WORDS

    def __init__(self, state: SandboxState) -> None:
        super().__init__(state)
        more = {name for name in state.conditions.sources if MEDIA_ID.fullmatch(name)}
        self._known = {source.id for source in SOURCES} | more
        self._more_emails = {_email(name) for name in more}
        self._jobs: dict[str, Job] = {}
        self._uploads: dict[str, float] = {}  # when each came, by its id
        self._credits = FIRST_CREDITS

    def routes(self) -> list[Route]:
        at = self.prefix
        return [
            Route(f"{at}/videos/upscale", self.upscale_video, methods=["POST"]),
            Route(f"{at}/images/upscale", self.upscale_image, methods=["POST"]),
            Route(f"{at}/videos", self.generate_video, methods=["POST"]),
            Route(f"{at}/images", self.generate_image, methods=["POST"]),
            Route(f"{at}/assets", self.upload, methods=["POST"]),
            Route(f"{at}/assets/{{email}}", self.upload, methods=["POST"]),
            Route(f"{at}/assets/media/{{email}}", self.list_media, methods=["GET"]),
            Route(f"{at}/jobs/{{jobId}}", self.get_job, methods=["GET"]),
            Route(f"{at}/jobs", self.get_jobs, methods=["GET"]),
            Route(f"{at}/jobs/", self.get_jobs, methods=["GET"]),  # as the page writes it
            Route(f"{at}/assets/{{mediaGenerationId}}", self.get_asset, methods=["GET"]),
            Route(f"{at}/accounts", self.get_accounts, methods=["GET"]),
            Route(f"{at}/accounts/{{email}}", self.get_account, methods=["GET"]),
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
        if str(resolution) not in VIDEO_SIZES:
            raise invalid(f"Parameter resolution ({resolution}) valid values: 720p, 1080p, 4K")
        if source_id == NO_ULTRA_VIDEO and resolution == "4K":  # the answer is assumed
            text = "The caller does not have permission"
            error = passthrough(403, text, "PERMISSION_DENIED", "MODEL_ACCESS_DENIED")
            raise responses.RefusedError(responses.answer({"error": error}, status=403))
        self.state.refuse(source_id, REFUSALS)
        cached = self._finished(source_id, str(resolution))
        await self.state.conditions.work()
        cost = UPSCALE_4K_CREDITS if resolution == "4K" and not cached else 0
        names = cached.media_names if cached else (f"{self._new_name()}_upsampled",)
        job = self._new_job(body, _email(source_id), names, cost)
        job.source_id, job.resolution = source_id, str(resolution)
        job.fails = job.fails or source_id == FAILING_VIDEO
        job.seconds = next(
            (made.seconds for made in self._jobs.values() if source_id in made.media_ids),
            media.CLIP_S,
        )
        job.cached = cached is not None
        if job.cached:
            job.done_at = job.made_at
        return await self._answer(request, job, body)

    async def generate_video(self, request: Request) -> Response:
        """POST videos, 5 June 2026."""
        body = await self._fields(request, CAPTCHA_FIELDS | VIDEO_FIELDS)
        order = video_order(body)
        job = await self._generation(request, body, order)
        job.size, job.seconds = media.clip_size(LINES[order.resolution]), order.seconds
        return await self._answer(request, job, body)

    async def generate_image(self, request: Request) -> Response:
        """POST images, June to October 2026: answers with the images, when they are done."""
        body = await self._fields(request, CAPTCHA_FIELDS | IMAGE_FIELDS)
        job = await self._generation(request, body, image_order(body))
        job.kind, job.jobid = "image", job.jobid.replace("v-u", "i-u", 1)
        return await self._answer(request, job, body)

    async def _generation(self, request: Request, body: responses.Json, order: Order) -> Job:
        """A job of the account that is named, or that the references belong to, or the first."""
        owners = list(dict.fromkeys(self._ref_owner(ref) for ref in order.refs))
        email = str(body.get("email") or next(iter(owners), next(iter(_linked(request)))))
        self._check_account(request, email)
        for other in owners:
            if other != email:  # live notes, September 2026
                text = f"Email mismatch: body has '{email}', references have '{other}'"
                raise invalid(text)
        word = word_in(order.prompt)
        self.state.refuse(word, WORD_REFUSALS, asked=f"{SERVICE} {order.prompt}")
        await self.state.conditions.work()
        names = tuple(self._new_name() for _ in range(order.count))
        job = self._new_job(body, email, names, order.credits)
        job.prompt, job.model, job.word = order.prompt, order.model, word
        job.fails = job.fails or word == "job-fails"
        if word == "forgets-ref":
            job.request.pop("replyRef", None)
        return job

    def _ref_owner(self, ref: str) -> str:
        """The account of an upload or of what was made. Assumed: the 404's text."""
        if not MEDIA_ID.fullmatch(ref):
            raise invalid(f"Invalid mediaGenerationId format: {ref}")
        if ref not in self._uploads and not self._is_there(ref):
            raise responses.refused(404, "Media not found", with_code=True)
        return _email(ref)

    async def upscale_image(self, request: Request) -> Response:
        """POST images/upscale, 14 February 2026: answers with the image itself, when it is done.

        Assumed: there is no cache and no cost.
        """
        body = await self._fields(request, IMAGE_UPSCALE_FIELDS)
        source_id = self._source_id(body, "image")
        resolution = body.get("resolution", "2k")
        if str(resolution) not in IMAGE_SIZES:
            raise invalid(f"Parameter resolution ({resolution}) valid values: 2k, 4k")
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
            raise invalid(text)
        return responses.answer(telemetry(self._jobs.values(), option, self.state.now()))

    async def get_asset(self, request: Request) -> Response:
        """GET assets/mediaGenerationId, 14 June 2026: a fresh link; this id is percent-encoded."""
        name = request.path_params["mediaGenerationId"]
        found = MEDIA_ID.fullmatch(name)
        if not found:
            raise invalid(f"Invalid mediaGenerationId format: {name}")
        kind = found[2]
        if kind not in ("video", "image"):
            text = f"mediaGenerationId type must be 'image' or 'video', got '{kind}'"
            raise invalid(text)
        now = self.state.now()
        made = [job for job in self._jobs.values() if name in job.media_ids and now >= job.done_at]
        if not made and name not in self._known and name not in self._uploads:
            raise responses.refused(404, "Media not found", with_code=True)  # the text is assumed
        sample = media.clip(1280, 720, 24) if kind == "video" else media.image(1280, 720)
        if made:
            sample = made[0].sample
        link = media.link(request, sample, owner=f"{name} {now}", expires=now + LINK_LIFE_S)
        return responses.answer({"url": link, "mediaGenerationId": name})

    async def upload(self, request: Request) -> Response:
        """POST assets, 15 June 2026: the raw file; its id is nested twice.

        The account is in the path alone: `?email=` is passed over (live notes, September 2026).
        Assumed: the text for another type, and what `media` says of a video.
        """
        file = await uploads.receive(request)
        email = str(request.path_params.get("email", next(iter(_linked(request)))))
        self._check_account(request, email)
        limit = MAX_ASSET_BYTES.get(file.mime_type)
        if limit is None:
            raise invalid(f"Content-Type {file.mime_type} not supported")
        if file.size_bytes > limit:
            raise responses.refused(400, f"File size ({file.size_bytes}) is over {limit} bytes")
        asked = f"{SERVICE} {file.sha256}"
        self.state.refuse(file.word, WORD_REFUSALS, asked=asked)
        now, name = self.state.now(), self._new_name()
        media_id = f"{owner(email)}-{file.kind}:{name}"
        self._uploads[media_id] = now
        if self.state.loses_the_answer(file.word, LOSING_WORDS, asked=asked):
            return responses.gateway_page(524)
        sizes: responses.Json = {"width": file.width, "height": file.height}
        shown: responses.Json = {"dimensions": sizes}
        lasts: responses.Json = {}
        if file.kind == "image":
            shown["userUploadedImage"] = {"aspectRatio": "IMAGE_ASPECT_RATIO_UNSPECIFIED"}
        else:
            lasts["durationSeconds"] = file.seconds
        return responses.answer(
            {
                "media": {
                    "name": name,
                    "projectId": "9f63078c-0000-4000-8000-000000000000",
                    "workflowId": "66612805-0000-4000-8000-000000000000",
                    "workflowStepId": "CAE",
                    "mediaMetadata": {
                        "createTime": iso(now),
                        "requestData": {"clientPlatform": "SANDBOX"},
                        "visibility": "PRIVATE",
                    },
                    file.kind: shown,
                },
                "mediaGenerationId": {"mediaGenerationId": media_id},
                **lasts,
                **sizes,
                "email": email,
            }
        )

    async def list_media(self, request: Request) -> Response:
        """GET assets/media/email, 1 September 2026: everything of the project, in one answer.

        `mediaGenerationId` and `likelyUpload` are documented, `likelyUploads` beside them; `type`,
        `createTime` and `count` are known from a client's comparison with the pages of October
        2026. Assumed: how those are written, the newest first, and one project only.
        """
        email = request.path_params["email"]
        self._check_account(request, email)
        now = self.state.now()
        made_at = {name: now - 3600 for name in self._known if _email(name) == email}
        for job in self._jobs.values():
            if job.email == email and job.status(now) == "completed" and not job.cached:
                made_at |= dict.fromkeys(job.media_ids, job.made_at)
        uploaded = {name: at for name, at in self._uploads.items() if _email(name) == email}
        made_at |= uploaded
        entries: list[object] = [
            {
                "mediaGenerationId": name,
                "likelyUpload": name in uploaded,
                "type": "VIDEO" if "-video:" in name else "IMAGE",
                "createTime": iso(at),
            }
            for name, at in sorted(made_at.items(), key=lambda item: (-item[1], item[0]))
        ]
        return responses.answer(
            {"media": entries, "count": len(entries), "likelyUploads": len(uploaded)}
        )

    async def get_accounts(self, request: Request) -> Response:
        """GET accounts: a map by e-mail; `health` is "OK" or the error's text (here assumed)."""
        return responses.answer(dict(self._accounts(request)))

    async def get_account(self, request: Request) -> Response:
        """GET accounts/email: with what must never be shown, and with credits and models.

        Those two are left out where the account is in error.
        """
        email = request.path_params["email"]
        account = self._accounts(request).get(email)
        if account is None:
            raise responses.refused(404, f"Google Flow account {email} not found")
        session = {"expires": iso(self.state.now() + 24 * 3600), "user": {"email": email}}
        cookies: list[object] = [{"name": "SID", "value": "sandbox-cookie"}]
        models: list[object] = [
            {"key": name, "displayName": name, "creditCost": model.credits(8, "720p")}
            for name, model in VIDEO_MODELS.items()
        ]
        secret: responses.Json = {
            "accountCookies": cookies,
            "sessionCookies": cookies,
            "sessionData": {**session, "access_token": "sandbox-access-token"},
        }
        if "error" in account:
            return responses.answer({**account, **secret})
        credits_ = {"credits": self._credits, "userPaygateTier": "PAYGATE_TIER_TWO"}
        live: responses.Json = {"credits": credits_, "models": {"videoModels": models}}
        return responses.answer({**account, **secret, **live})

    def _accounts(self, request: Request) -> dict[str, responses.Json]:
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
        return linked_accounts(request, dict.fromkeys(linked_emails(request), account), fault)

    def _check_account(self, request: Request, email: str) -> None:
        """The 404 of POST videos/upscale, 25 May 2026; known are also those of a test's sources."""
        if email not in linked_emails(request) and email not in self._more_emails:
            raise responses.refused(404, f"Google Flow account {email} not found")

    async def _fields(self, request: Request, known: frozenset[str] | set[str]) -> responses.Json:
        """The body, refused where a field is unknown (live notes, September 2026).

        replyUrl's text is POST account's (7 April 2025), async's is assumed.
        """
        body = await responses.read_fields(request, numbers=NUMBERS, booleans=frozenset({"async"}))
        for name in body:
            if name not in known:
                raise invalid(f"Parameter {name} not supported")
        for name in ("replyUrl", "replyRef"):
            if len(str(body.get(name, ""))) > 1024:
                raise invalid(f"{name} is too long")
        _check_captcha(body)
        if not isinstance(body.get("async", False), bool):
            raise invalid(f"Parameter async ({body['async']}) valid values: true, false")
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
            raise invalid(f"Invalid mediaGenerationId format: {name}")
        if found[2] != kind:
            raise invalid(f"mediaGenerationId type must be '{kind}', got '{found[2]}'")
        if not name.startswith(OWNER) and not self._is_there(name):
            email = (
                bytes.fromhex(found[1]).decode(errors="replace") if len(found[1]) % 2 == 0 else "?"
            )
            raise responses.refused(404, f"Google Flow account {email} not found")
        if not self._is_there(name):
            raise responses.refused(404, f"{kind.capitalize()} not found")
        return name

    def _is_there(self, media_id: str) -> bool:
        """Whether this was there from the start, or was generated meanwhile."""
        now = self.state.now()
        return media_id in self._known or any(
            media_id in job.media_ids and not job.source_id and job.status(now) == "completed"
            for job in self._jobs.values()
        )

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

    def _new_job(self, body: responses.Json, email: str, names: tuple[str, ...], cost: int) -> Job:
        now = self.state.now()
        return Job(
            jobid=f"j{self.state.digits()}v-u{USER}-email:{email}-bot:google-flow",
            request={key: value for key, value in body.items() if key not in CAPTCHA_FIELDS},
            source_id="",
            resolution="",
            made_at=now,
            done_at=now + self.state.job_seconds,
            media_names=names,
            remaining_credits=max(self._credits - cost, 0),
            fails=self.state.conditions.fails(),
        )

    async def _answer(self, request: Request, job: Job, body: responses.Json) -> Response:
        """201 at once when `async` is asked for, else 200 when the job is done (25 May 2026)."""
        slots = self.state.conditions.slots
        running = sum(self.state.now() < other.done_at for other in self._jobs.values())
        if slots is not None and running >= slots and not job.cached:
            raise throttled(self.state.now())
        self._jobs[job.jobid] = job
        self._credits = job.remaining_credits
        if not job.cached:
            path = request.url.path
            self.state.accept(SERVICE, path, job.source_id, job.jobid, body)
        asked = f"{SERVICE} {job.prompt}"
        lost = self.state.loses_the_answer(job.source_id, LOSING) or self.state.loses_the_answer(
            job.word, LOSING_WORDS, asked=asked
        )
        if body.get("async") is True:
            return (
                responses.gateway_page(524) if lost else responses.answer(created(job), status=201)
            )
        await asyncio.sleep(job.done_at - self.state.now())
        if lost:
            return responses.gateway_page(524)
        if job.fails:  # its form is the page's error Model, its status assumed
            return responses.answer({"jobId": job.jobid, **failure()}, status=500)
        done: responses.Json = {"jobId": job.jobid, **result(request, job)}
        return responses.answer([done] if job.word == "array" else done)


def _check_captcha(body: responses.Json) -> None:
    """Refuse captcha parameters that exclude each other or are out of range; all texts are assumed.

    Raises:
        RefusedError: a 400.
    """
    given = CAPTCHA_FIELDS & body.keys()
    if len(given) > 1:
        raise invalid(f"Parameters {', '.join(sorted(given))} are mutually exclusive")
    if len(str(body.get("captchaToken", "x" * 20))) < 20:
        raise invalid("Parameter captchaToken must be at least 20 characters")
    if not responses.is_number(body.get("captchaRetry", 1), 1, 10):
        raise invalid(f"Parameter captchaRetry ({body['captchaRetry']}) valid range: 1-10")
    order = str(body.get("captchaOrder", "CapSolver")).split(",")
    if len(order) > 10 or not CAPTCHA_SERVICES.issuperset(order):
        raise invalid(f"Parameter captchaOrder ({body['captchaOrder']}) not supported")


def _email(media_id: str) -> str:
    """The account of an id: its e-mail is written in hexadecimal digits."""
    found = MEDIA_ID.fullmatch(media_id)
    return bytes.fromhex(found[1]).decode() if found else EMAIL


def _linked(request: Request) -> tuple[str, ...]:
    """The linked accounts; where there are none, the one that is then not found."""
    return linked_emails(request) or (EMAIL,)
