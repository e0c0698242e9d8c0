"""Google Flow v1: upscales a video to 720p, 1080p or 4K, and an image to 2k or 4k.

Sources: useapi.net, POST google-flow/videos/upscale (25 May 2026; 720p: October 2026),
images/upscale (14 February 2026), GET jobs/jobid (20 May 2026), jobs (15 June 2026),
assets/mediaGenerationId (14 June 2026). What they leave open is marked *assumed*.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from mcp_server.answers import Problem, Vendor, error_text, link, number, obj, objs, text, whole
from mcp_server.clock import epoch
from mcp_server.errors import (
    CaptchaError,
    CreditsError,
    NotFoundError,
    RateLimitError,
    RefusedError,
    RequestError,
    UseapiError,
)
from mcp_server.jobs import Failure, Job, Media, Operation, PaidOperation, Status
from mcp_server.output_folder import SavedFile, file_stem
from mcp_server.services.service import (
    LONGEST_ID,
    Endpoint,
    Found,
    Option,
    Order,
    Service,
    saved_media,
)
from mcp_server.upstream import Answer, Upstream

_CLOCK_SKEW_S = 120  # between the vendor's clock and ours, *assumed* to be at most this
_MOST_CANDIDATES = 10  # of running or recent jobs that are read to find a lost one

_MEDIA = r"(?!.*\.\.)user:[0-9]{1,20}-email:[0-9A-Fa-f]{2,300}-%s:[A-Za-z0-9._~+=-]{1,300}"
_VIDEO = re.compile(_MEDIA % "video", re.ASCII)
_IMAGE = re.compile(_MEDIA % "image", re.ASCII)
_ANY_MEDIA = re.compile(_MEDIA % "[a-z]{2,20}", re.ASCII)
# Two forms were seen; the number of digits and the letter are not documented.
_JOB = re.compile(
    r"(?!.*\.\.)(?:j[0-9]{6,40}[A-Za-z]{1,4}-u[0-9]{1,20}-email:[A-Za-z0-9._+=~!$&'*-]+@[A-Za-z0-9.-]+"
    r"|[0-9]{8,30}-user:[0-9]{1,20})-bot:google-flow",
    re.ASCII,
)

_CAPTCHA = {
    "captcha_token": Option("captchaToken"),
    "captcha_retry": Option("captchaRetry", low=1, high=10),
    "captcha_order": Option("captchaOrder"),
}
_STATUSES: Mapping[str, Status] = {"completed": "completed", "failed": "failed"}

_CAPTCHA_DO = (
    "Call again with captcha_retry=5 or more, or add captcha providers on useapi.net "
    "and name them in captcha_order."
)
_PROBLEMS = (
    Problem(403, "captcha_quality", CaptchaError,
            "Google rejected the captcha (for a 4k image it may mean: no Ultra plan).",
            _CAPTCHA_DO),
    Problem(403, "MODEL_ACCESS_DENIED", RefusedError, "the account's plan lacks this.",
            "Use a lower resolution or an account with a higher plan."),
    Problem(429, "PUBLIC_ERROR_USER_REQUESTS_THROTTLED", RateLimitError,
            "too many requests at once on this account.",
            "Run fewer jobs side by side and call again later.", cooldown_s=1800),
    Problem(429, "PUBLIC_ERROR_USER_QUOTA_REACHED", RateLimitError,
            "the account's quota is used up.",
            "Wait, or link further accounts on useapi.net.", cooldown_s=1800),
    Problem(429, "PUBLIC_ERROR_PER_MODEL_DAILY_QUOTA_REACHED", RateLimitError,
            "this account's daily quota for the model is used up.",
            "Wait until the next UTC midnight.", cooldown_s="until UTC midnight"),
    Problem(429, "PUBLIC_ERROR_UNUSUAL_ACTIVITY", RateLimitError,
            "the captcha scored too low.",
            f"Wait a minute. {_CAPTCHA_DO}", cooldown_s=60),
    Problem(429, "no_eligible_account", RateLimitError,
            "every linked account is in a cool-down for this.",
            "Wait as long as told, or link further accounts on useapi.net."),
    Problem(503, "Captcha service failed", CaptchaError, "the captcha provider failed.",
            "Check the provider's key and balance on useapi.net; until then it is no use to retry."),
    Problem(402, "credit", CreditsError, "the Google plan or its credits do not cover this.",
            "Check the Google account's plan and credits, or use a lower resolution."),
    Problem(400, "Invalid job ID format", NotFoundError, "this is no job id of its own.",
            "Use the job_id exactly as it was given."),
    Problem(404, "account", NotFoundError, "the Google account of this id is not linked.",
            "Link it on useapi.net, or use an id of a linked account."),
)  # fmt: skip


class GoogleFlow(Service):
    """Sources are media ids; the jobs that work on them have ids of another form."""

    vendor = Vendor(
        "google-flow", "Google Flow", _PROBLEMS, frozenset({"rawBytes", "encodedImage"})
    )
    id_forms = (
        "user:<number>-email:<hex>-video:<id> (or -image:)",
        "j<digits>v-u<number>-email:<e-mail>-bot:google-flow (a job)",
    )
    where_ids_are = (
        "A Google Flow source_id is the mediaGenerationId in the answer that made the video or "
        "image; in a job of this server it is media[].media_id."
    )
    abilities = (
        "Google Flow upscales a video to 720p, 1080p (default, free) or 4K (50 credits, Ultra "
        "plan), and an image to 2k (default) or 4k."
    )
    media_hosts = ("https://flow-content.google", "https://storage.googleapis.com")
    endpoints = {
        "upscale_video": Endpoint(
            path="/v1/google-flow/videos/upscale",
            source_field="mediaGenerationId",
            source=_VIDEO,
            source_is="the mediaGenerationId of a video (user:…-video:…)",
            options={
                "resolution": Option(
                    "resolution",
                    values=("720p", "1080p", "4K"),
                    default="1080p",
                    shapes_result=True,
                ),
                "reply_url": Option("replyUrl"),
                "reply_ref": Option("replyRef"),
                **_CAPTCHA,
            },
            fixed={"async": True},
            price=lambda shaping: 50 if shaping["resolution"] == "4K" else 0,
            refuses_repeats=True,  # "returns a cached result (no additional credits consumed)"
        ),
        "upscale_image": Endpoint(
            path="/v1/google-flow/images/upscale",
            source_field="mediaGenerationId",
            source=_IMAGE,
            source_is="the mediaGenerationId of an image (user:…-image:…)",
            options={
                "resolution": Option(
                    "resolution", values=("2k", "4k"), default="2k", shapes_result=True
                ),
                **_CAPTCHA,
            },
            price=lambda _: 0,  # none documented
            answers_when_done=True,
            read_timeout_s=330.0,
        ),
    }

    def owns(self, some_id: str) -> bool:
        return len(some_id) <= LONGEST_ID and bool(
            _ANY_MEDIA.fullmatch(some_id) or _JOB.fullmatch(some_id)
        )

    def order(
        self,
        operation: PaidOperation,
        source_id: str,
        given: Mapping[str, Any],
        defaults: Mapping[str, Any],
    ) -> Order:
        captcha = [name for name in given if name in _CAPTCHA]
        if len(captcha) > 1:
            raise RequestError(
                f"{' and '.join(captcha)} can't go together, so nothing was sent.",
                "Give at most one of them.",
                service=self.name,
            )
        return super().order(operation, source_id, given, defaults)

    def accepted(self, order: Order, answer: Answer, our_id: str) -> Job:
        record = obj(answer.data)
        job_id = next((i for i in (record.get("jobid"), record.get("jobId")) if _is_job(i)), None)
        # A sync or repeated answer holds the media itself: at the top, or in `response`.
        holder = record if record.get("media") or record.get("operations") else _response(record)
        media = _media(order.operation, holder, answer.files)
        if job_id is None and not media:
            raise self.strange("job id or result")
        return Job(
            job_id=job_id or our_id,
            service="google-flow",
            operation=order.operation,
            status="completed" if media else "running",
            source_id=order.source_id,
            model=_model(holder),
            media=media or None,
            remaining_credits=number(holder.get("remainingCredits")),
            created_at=text(record.get("created")),
        )

    async def read(self, upstream: Upstream, job_id: str, *, age_s: float | None) -> Job:
        if not _is_job(job_id):
            raise RequestError(
                "This is the id of a video or image on Google Flow, not of a job.",
                "Use it as a source_id, or give the job_id of a job.",
                service=self.name,
            )
        answer = await upstream.read(
            self.vendor, f"/v1/google-flow/jobs/{job_id}", stem=file_stem(self.name, job_id)
        )
        if not isinstance(obj(answer.data).get("status"), str):
            raise self.strange("job")
        job = self._job(job_id, answer)
        if job.status == "completed" and job.media and not (job.media[0].url or job.media[0].path):
            job = job.but(media=await self._with_links(upstream, job.media))
        return job

    async def find(self, upstream: Upstream, order: Order, sent_at: float) -> Found | None:
        listed: dict[str, float] = {}
        for option in ("executing", "history"):  # both must answer, or nothing is proven
            answer = await upstream.read(self.vendor, f"/v1/google-flow/jobs?options={option}")
            if not isinstance(answer.data, dict):
                raise self.strange("list of jobs")
            for group in ("videos", "combined"):
                jobs = obj(obj(answer.data.get(group)).get(option))
                listed |= {
                    i: (number(obj(j).get("timestamp")) or 0) / 1000 for i, j in jobs.items()
                }
        newest = sorted((i for i in listed if _is_job(i)), key=lambda i: -listed[i])
        for job_id in newest[:_MOST_CANDIDATES]:
            answer = await upstream.read(
                self.vendor, f"/v1/google-flow/jobs/{job_id}", stem=file_stem(self.name, job_id)
            )
            request = obj(obj(answer.data).get("request"))
            resolution = request.get("resolution", "1080p")
            if (
                request.get("mediaGenerationId") == order.source_id
                and "prompt" not in request  # an extension of the same video has one
                and resolution == order.shaping.get("resolution")
            ):
                job = self._job(job_id, answer)
                made = epoch(job.created_at or "")
                return Found(job, ours=made is None or made >= sent_at - _CLOCK_SKEW_S)
        return None

    async def _with_links(
        self, upstream: Upstream, media: tuple[Media, ...]
    ) -> tuple[Media, ...]:
        """Media whose record holds no link: ask for one by the media id (the one encoded path)."""
        linked = []
        for item in media:
            if item.media_id is not None:
                try:
                    answer = await upstream.read(
                        self.vendor, f"/v1/google-flow/assets/{quote(item.media_id, safe='')}"
                    )
                    item = item.model_copy(update={"url": link(obj(answer.data).get("url"))})
                except UseapiError:  # the job itself was read: it is completed, without a link yet
                    pass
            linked.append(item)
        return tuple(linked)

    def _job(self, job_id: str, answer: Answer) -> Job:
        record = obj(answer.data)
        request, response = obj(record.get("request")), _response(record)
        source_id = request.get("mediaGenerationId")
        is_source = isinstance(source_id, str) and _ANY_MEDIA.fullmatch(source_id)
        operation: Operation = "generate_image" if record.get("type") == "image" else (
            "upscale_video" if is_source and "prompt" not in request else "generate_video"
        )  # fmt: skip
        status: Status = _STATUSES.get(str(record.get("status")), "running")
        media = _media(operation, response or record, answer.files)
        failure = None
        if status == "completed" and not media and (said := _media_error(response or record)):
            status, failure = "failed", Failure(code="vendor_failed", message=said)
        elif status == "failed":
            parts = (error_text(record), text(record.get("errorDetails")))
            said = ": ".join(dict.fromkeys(p for p in parts if p))
            failure = Failure(
                code="vendor_failed", message=text(said) or "Google Flow gave no reason."
            )
        return Job(
            job_id=job_id,
            service="google-flow",
            operation=operation,
            status=status,
            source_id=source_id if is_source else None,
            model=_model(response) or text(request.get("model")),
            media=media if status == "completed" else None,
            remaining_credits=number(response.get("remainingCredits")),
            failure=failure,
            created_at=text(record.get("created")),
            updated_at=text(record.get("updated")),
        )


def _is_job(some_id: object) -> bool:
    return (
        isinstance(some_id, str)
        and len(some_id) <= LONGEST_ID
        and _JOB.fullmatch(some_id) is not None
    )


def _response(record: Mapping[str, Any]) -> dict[str, Any]:
    return obj(record.get("response"))


def _media(
    operation: Operation, holder: Mapping[str, Any], files: tuple[SavedFile, ...]
) -> tuple[Media, ...]:
    """The finished media of an answer: files that came as base64, else `media`, else `operations`.

    Where `rawBytes` stands is documented nowhere; every one in the answer was cut into a file.
    """
    if files:
        ids = [i for entry in objs(holder.get("media")) if (i := _media_id(entry))]
        image = operation in {"generate_image", "upscale_image"}
        return tuple(
            saved_media(file, "image" if image else "video", ids[n] if n < len(ids) else None)
            for n, file in enumerate(files)
        )
    if operation == "generate_image":
        images = [
            obj(obj(entry.get("image")).get("generatedImage"))
            for entry in objs(holder.get("media"))
        ]
        return tuple(
            Media(kind="image", url=url, media_id=_media_id(image))
            for image in images
            if (url := link(image.get("fifeUrl")))
        )
    good = [m for m in objs(holder.get("media")) if not _failed(_media_status(m))]
    if good:
        return tuple(
            Media(
                kind="video",
                url=link(entry.get("videoUrl")),
                mime_type="video/mp4",
                thumbnail_url=link(entry.get("thumbnailUrl")),
                media_id=_media_id(entry),
            )
            for entry in good
        )
    legacy = []
    for entry in objs(holder.get("operations")):
        video = obj(obj(obj(entry.get("operation")).get("metadata")).get("video"))
        if not _failed(entry.get("status")) and (url := link(video.get("fifeUrl"))):
            legacy.append(
                Media(
                    kind="video",
                    url=url,
                    mime_type="video/mp4",
                    thumbnail_url=link(video.get("servingBaseUri")),
                    media_id=_media_id(entry) or _media_id(video),
                )
            )
    return tuple(legacy)


def _media_id(entry: Mapping[str, Any]) -> str | None:
    found = entry.get("mediaGenerationId")
    fits = isinstance(found, str) and len(found) <= LONGEST_ID and _ANY_MEDIA.fullmatch(found)
    return found if fits else None


def _media_status(entry: Mapping[str, Any]) -> object:
    status = obj(obj(entry.get("mediaMetadata")).get("mediaStatus"))
    return status.get("mediaGenerationStatus")


def _failed(status: object) -> bool:
    return isinstance(status, str) and status.endswith("_FAILED")


def _media_error(holder: Mapping[str, Any]) -> str | None:
    """Why every medium of a completed job failed; None if none says so."""
    for entry in objs(holder.get("media")):
        if _failed(_media_status(entry)):
            status = obj(obj(entry.get("mediaMetadata")).get("mediaStatus"))
            return text(obj(status.get("error")).get("message")) or "Google Flow gave no reason."
    if any(_failed(entry.get("status")) for entry in objs(holder.get("operations"))):
        return "Google Flow gave no reason."
    return None


def _model(holder: Mapping[str, Any]) -> str | None:
    for entry in objs(holder.get("media")):
        found = text(obj(obj(entry.get("video")).get("generatedVideo")).get("model"))
        if found:
            return found
    return None
