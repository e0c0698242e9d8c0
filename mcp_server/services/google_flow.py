"""Google Flow v1: makes videos and images, and upscales both.

Sources: useapi.net, POST google-flow/videos (5 June 2026; as compared with the pages of October
2026), images (June to October 2026), videos/upscale (25 May 2026; 720p: October 2026),
images/upscale (14 February 2026), GET jobs/jobid (20 May 2026), jobs (15 June 2026),
assets/mediaGenerationId (14 June 2026), assets/media/email (1 September 2026), accounts/email
(2026); the vendor's skill omni-flash-video (August to October 2026) and its article on
omni-flash-1.2 (12 November 2026). What they leave open is marked *assumed*.
"""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, ClassVar, TypeGuard
from urllib.parse import quote

from mcp_server.errors import (
    CaptchaError,
    CreditsError,
    ModeratedError,
    NotFoundError,
    RateLimitError,
    RefusedError,
    RequestError,
    UseapiError,
)
from mcp_server.media.files import SavedFile
from mcp_server.media.names import MadeName
from mcp_server.models import (
    MOST_MEDIA,
    OPERATIONS,
    Failure,
    FoundMedia,
    Job,
    Kind,
    Media,
    OperationName,
    Status,
)
from mcp_server.redaction import quoted
from mcp_server.services.accounts import Account, Balance, linked
from mcp_server.services.base import (
    FROM_PROMPT,
    LONGEST_PROMPT,
    VARIATION,
    Endpoint,
    FileRule,
    Listed,
    Look,
    MediaPage,
    Option,
    Order,
    Service,
    full_match,
    is_anothers,
    moderated,
)
from mcp_server.upstream.client import Upstream
from mcp_server.upstream.fields import link, moment, number, obj, objs, text, texts
from mcp_server.upstream.responses import Answer, ErrorRule, ServiceInfo, failure_text

# That none ends in a dot is *assumed*: one there is the end of a sentence.
_MEDIA = (
    r"(?!.*\.\.)user:[0-9]{1,20}-email:(?P<owner>[0-9A-Fa-f]{2,300})"
    r"-%s:[A-Za-z0-9._~+=-]{0,299}[A-Za-z0-9_~+=-]"
)
VIDEO = re.compile(_MEDIA % "video", re.ASCII)
IMAGE = re.compile(_MEDIA % "image", re.ASCII)
_ANY_MEDIA = re.compile(_MEDIA % "[a-z]{2,20}", re.ASCII)
# Two forms were seen; the number of digits and the letter are not documented.
_JOB = re.compile(
    r"(?!.*\.\.)(?:j[0-9]{6,40}[A-Za-z]{1,4}-u[0-9]{1,20}"
    r"-email:(?P<email>[A-Za-z0-9._+=~!$&'*-]+@[A-Za-z0-9.-]+)"
    r"|[0-9]{8,30}-user:[0-9]{1,20})-bot:google-flow",
    re.ASCII,
)
_STATUSES: Mapping[str, Status] = {"completed": "completed", "failed": "failed"}
_NO_REASON = "Google Flow gave no reason."


def is_media_id(some_id: object) -> TypeGuard[str]:
    return full_match(_ANY_MEDIA, some_id) is not None


def is_job_id(some_id: object) -> TypeGuard[str]:
    return full_match(_JOB, some_id) is not None


def holder_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What holds the media: an answer's `response`, or the answer itself."""
    response = obj(record.get("response"))
    for holder in (response, record):
        if objs(holder.get("media")) or objs(holder.get("operations")):
            return holder
    return response or record


def remaining_credits(record: Mapping[str, Any]) -> float | None:
    """The remaining credits, which are beside the media in every form of an answer."""
    in_response = number(obj(record.get("response")).get("remainingCredits"))
    return number(record.get("remainingCredits")) if in_response is None else in_response


def as_job(job_id: str, answer: Answer) -> Job:
    """The record of GET jobs/jobid as a job; what is not understood is left out."""
    record = obj(answer.data)
    request = obj(record.get("request"))
    source = request.get("mediaGenerationId")
    # An extension of a video names it too, but has a prompt.
    is_upscale = is_media_id(source) and "prompt" not in request
    operation: OperationName = "upscale_video" if is_upscale else "generate_video"
    if record.get("type") == "image":
        operation = "generate_image"
    status: Status = _STATUSES.get(str(record.get("status")), "running")
    holder, failure = holder_of(record), None
    media = media_of(operation, holder, answer.files) if status == "completed" else ()
    if status == "completed" and not media and (reason := _media_error(holder)):
        status, failure = "failed", _failure(reason)
    elif status == "completed" and not media and is_refused(operation, holder):
        status, failure = "failed", moderated("Google Flow")
    elif status == "failed":
        failure = _failure(failure_text(record) or _NO_REASON)
    return Job(
        job_id=job_id,
        service="google-flow",
        operation=operation,
        status=status,
        source=source if is_media_id(source) else None,
        model=model_of(holder) or text(request.get("model")),
        media=media if status == "completed" else None,
        remaining_credits=remaining_credits(record),
        failure=failure,
        created_at=moment(record.get("created")),
        updated_at=moment(record.get("updated")),
    )


def is_refused(operation: OperationName, holder: Mapping[str, Any]) -> bool:
    """Whether an answer without media means that all images were refused.

    Seen live in September 2026: each has its prompt, and neither a link nor its bytes.
    """
    return operation == "generate_image" and bool(objs(holder.get("media")))


def media_of(
    operation: OperationName, holder: Mapping[str, Any], files: tuple[SavedFile, ...]
) -> tuple[Media, ...]:
    """The media of an answer: files that came as base64, else `media`, else `operations`.

    Where `rawBytes` is found is documented nowhere; every one in the answer was cut into a file.
    """
    entries = objs(holder.get("media"))[:MOST_MEDIA]
    legacy = objs(holder.get("operations"))[:MOST_MEDIA]
    if operation == "generate_image":
        return tuple(_images(entries, files))
    if files:
        ids = [i for entry in (entries or legacy) if (i := _media_id(entry))]
        kind = OPERATIONS[operation].kind
        return tuple(_saved(file, kind, i) for file, i in zip_longest(files, ids[: len(files)]))
    videos = tuple(_video(entry) for entry in entries if not _failed(_media_status(entry)))
    if any(video.url for video in videos):
        return videos
    return tuple(_legacy_videos(legacy)) or videos


def model_of(holder: Mapping[str, Any]) -> str | None:
    for entry in objs(holder.get("media")):
        found = text(obj(obj(entry.get("video")).get("generatedVideo")).get("model"))
        if found:
            return found
    return None


def _saved(file: SavedFile, kind: Kind, media_id: str | None = None) -> Media:
    """A file on disk as media: its size and length are what its own bytes say."""
    facts = file.media_info
    return Media(
        kind=facts.kind if facts else kind,
        path=str(file.path),
        mime_type=facts.mime_type if facts else "application/octet-stream",
        width=facts.width if facts else None,
        height=facts.height if facts else None,
        duration_ms=facts.duration_ms if facts else None,
        frame_rate=facts.frame_rate if facts else None,
        media_id=media_id,
        size_bytes=file.size_bytes,
    )


def _images(entries: list[dict[str, Any]], files: tuple[SavedFile, ...]) -> Iterator[Media]:
    """The images of an answer: each is a link or base64, which was cut into a file.

    One with neither was refused without a word. An id is told only where it is certain whose it is:
    a file without bytes was not kept, and then it is not known which one that was.
    """
    images = [(entry, obj(obj(entry.get("image")).get("generatedImage"))) for entry in entries]
    is_cut = ["encodedImage" in image or "encodedImage" in entry for entry, image in images]
    left, is_certain = list(files), len(files) == sum(is_cut)
    for (_, image), in_a_file in zip(images, is_cut, strict=True):
        media_id = _media_id(image)
        if url := link(image.get("fifeUrl")):
            yield Media(kind="image", url=url, media_id=media_id)
        elif in_a_file and left:
            yield _saved(left.pop(0), "image", media_id if is_certain else None)
    yield from (_saved(file, "image") for file in left)


def _video(entry: Mapping[str, Any]) -> Media:
    return Media(
        kind="video",
        url=link(entry.get("videoUrl")),
        mime_type="video/mp4",
        thumbnail_url=link(entry.get("thumbnailUrl")),
        media_id=_media_id(entry),
    )


def _legacy_videos(entries: list[dict[str, Any]]) -> Iterator[Media]:
    for entry in entries:
        # In November 2025 it stood in `video`, under one of two names.
        in_metadata = obj(obj(obj(entry.get("operation")).get("metadata")).get("video"))
        video = obj(entry.get("video")) | in_metadata
        url = link(video.get("fifeUrl")) or link(video.get("uri"))
        if url and not _failed(entry.get("status")):
            yield Media(
                kind="video",
                url=url,
                mime_type="video/mp4",
                thumbnail_url=link(video.get("servingBaseUri")),
                media_id=_media_id(entry) or _media_id(video),
            )


def _media_id(entry: Mapping[str, Any]) -> str | None:
    found = entry.get("mediaGenerationId")
    return found if is_media_id(found) else None


def _media_status(entry: Mapping[str, Any]) -> object:
    status = obj(obj(entry.get("mediaMetadata")).get("mediaStatus"))
    return status.get("mediaGenerationStatus")


# Seen: PUBLIC_ERROR_UNSAFE_GENERATION, PUBLIC_ERROR_AUDIO_FILTERED; and the vendor's own scripts
# (September 2026) take SAFETY and "policy" in an error's text for it.
_MODERATION_WORDS = ("UNSAFE", "FILTERED", "SAFETY", "policy")
_MODERATED = re.compile("|".join(_MODERATION_WORDS), re.IGNORECASE)


def _failed(status: object) -> bool:
    return isinstance(status, str) and status.endswith("_FAILED")


def _failure(reason: str) -> Failure:
    if _MODERATED.search(reason):
        return moderated("Google Flow", reason)
    return Failure(code="vendor_failed", message=reason)


def _media_error(holder: Mapping[str, Any]) -> str | None:
    """Why every medium of a completed job failed; None if no record of one gives a failure."""
    for entry in objs(holder.get("media")):
        if _failed(_media_status(entry)):
            status = obj(obj(entry.get("mediaMetadata")).get("mediaStatus"))
            said = obj(status.get("error")).get("message")
            return quoted(said) if isinstance(said, str) and said else _NO_REASON
    if any(_failed(entry.get("status")) for entry in objs(holder.get("operations"))):
        return _NO_REASON
    return None


_RAW = "@:+!$&'*=~"  # in a path: e-mail addresses go in as they are
_MOST_CANDIDATES = 20  # of running or recent jobs that are read to find a lost one

# POST assets/email (15 June 2026): png, jpeg, webp, up to 20971520 bytes.
_FRAME = FileRule(("image/png", "image/jpeg", "image/webp"), 20 << 20)

_CAPTCHA = {
    "captcha_token": Option("captchaToken", group="captcha"),
    "captcha_retry": Option("captchaRetry", low=1, high=10, group="captcha"),
    # "Comma-separated"; whether a space may follow is not documented.
    "captcha_order": Option(
        "captchaOrder", written=lambda order: order.replace(" ", ""), group="captcha"
    ),
}
_GENERATION = {
    "variation": VARIATION,
    "account": Option("email"),
    "reply_url": Option("replyUrl"),
    "reply_ref": Option("replyRef"),
    **_CAPTCHA,
}
_LONGEST_PROMPT = 10_000  # characters: a sane limit of ours, none is documented
_VIDEO_MODEL, _IMAGE_MODEL = "veo-3.1-fast", "nano-banana-2-lite"  # the documented defaults
_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4")
_SHAPES = {"16:9": "landscape", "9:16": "portrait"}  # how a video's are written
# Credits for a clip, by model, resolution and seconds. Veo: 5 June 2026, on a plan that is not
# Ultra, where some cost half; Omni: October 2026. A `count` multiplies them; ours is always 1.
_VEO_CLIPS: Mapping[str, float] = {
    "veo-3.1-fast": 20,
    "veo-3.1-lite": 10,
    "veo-3.1-lite-low-priority": 0,
    "veo-3.1-quality": 100,
}
_OMNI_CLIPS: Mapping[str, Mapping[int, float]] = {
    "720p": {4: 7, 6: 10, 8: 12, 10: 15},
    "360p": {4: 4, 6: 5, 8: 6, 10: 7},
}


def _price_of_a_video(arguments: Mapping[str, Any]) -> float | None:
    model, seconds = str(arguments["model"]), int(arguments["duration_seconds"])
    if model == "omni-flash":
        return _OMNI_CLIPS.get(str(arguments["resolution"]), {}).get(seconds)
    if model == "omni-flash-1.2" and arguments["resolution"] == "720p":  # November 2026
        return 3 * min(seconds, 10) + 6 * max(seconds - 10, 0)
    return _VEO_CLIPS.get(model)


_CAPTCHA_DO = (
    "Call again with captcha_retry=5 or more, or add captcha providers on useapi.net "
    "and name them in captcha_order."
)
_ERROR_RULES = (
    ErrorRule(
        status=403,
        text="captcha_quality",
        error=CaptchaError,
        message="Google rejected the captcha.",
        hint=f"{_CAPTCHA_DO} An image at 4k is refused so without an Ultra plan, too.",
    ),
    *(
        ErrorRule(
            status=400,
            text=word,
            error=ModeratedError,
            message="moderation refused the request.",
            hint="Use another source or prompt; the same one will be refused again.",
        )
        for word in _MODERATION_WORDS
    ),
    *(
        ErrorRule(
            status=status,
            text=word,
            error=RefusedError,
            message="the account's plan lacks this.",
            hint="Use another model, a lower resolution or an account with a higher plan.",
        )
        for status, word in (
            (403, "MODEL_ACCESS_DENIED"),
            (400, "PAYGATE"),
            (400, "paid Google Flow plan"),
        )
    ),
    ErrorRule(
        status=400,
        text="Email mismatch",
        error=RefusedError,
        message="an image belongs to another account than the one that was named.",
        hint="Leave account out, or give an image of that account.",
    ),
    ErrorRule(
        status=429,
        text="PUBLIC_ERROR_USER_REQUESTS_THROTTLED",
        error=RateLimitError,
        message="too many requests at once on this account.",
        hint="Run fewer jobs side by side and call again later.",
        cooldown_s=1800,
    ),
    ErrorRule(
        status=429,
        text="PUBLIC_ERROR_USER_QUOTA_REACHED",
        error=RateLimitError,
        message="the account's quota is used up.",
        hint="Call again later, or link further accounts on useapi.net.",
        cooldown_s=1800,
    ),
    ErrorRule(
        status=429,
        text="PUBLIC_ERROR_PER_MODEL_DAILY_QUOTA_REACHED",
        error=RateLimitError,
        message="this account's daily quota for the model is used up.",
        hint="Call again after the next UTC midnight.",
        cooldown_s="until UTC midnight",
    ),
    ErrorRule(
        status=429,
        text="PUBLIC_ERROR_UNUSUAL_ACTIVITY",
        error=RateLimitError,
        message="the captcha scored too low.",
        hint=f"Wait a minute. {_CAPTCHA_DO}",
        cooldown_s=60,
    ),
    ErrorRule(
        status=429,
        text="no_eligible_account",
        error=RateLimitError,
        message="every linked account is in a cool-down for this.",
        hint="Call again after the wait that is told, or link further accounts on useapi.net.",
    ),
    ErrorRule(
        status=503,
        text="Captcha service failed",
        error=CaptchaError,
        message="the captcha provider failed.",
        hint="Check the provider's key and balance on useapi.net; until then it is no use.",
    ),
    ErrorRule(
        status=402,
        text="credit",
        error=CreditsError,
        message="the Google plan or its credits do not cover this.",
        hint="Check the Google account's plan and credits, or use a lower resolution.",
    ),
    ErrorRule(
        status=400,
        text="Invalid job ID format",
        error=NotFoundError,
        message="this is no job id of its own.",
        hint="Use the job_id exactly as it was given.",
    ),
    ErrorRule(
        status=404,
        text="account",
        error=NotFoundError,
        message="the Google account of this id is not linked.",
        hint="Link it on useapi.net, or use an id of a linked account.",
    ),
)


class GoogleFlow(Service):
    """Sources are media ids; the jobs that work on them have ids of another form."""

    vendor = ServiceInfo(
        "google-flow", "Google Flow", _ERROR_RULES, frozenset({"rawBytes", "encodedImage"})
    )
    id_forms = (
        "user:<number>-email:<hex>-video:<id> (or -image:)",
        "j<digits>v-u<number>-email:<e-mail>-bot:google-flow (a job)",
    )
    where_ids_are = (
        "A Google Flow source is the mediaGenerationId in the answer that made the video or "
        "image; in a job of this server it is media[].media_id."
    )
    abilities = (
        "Google Flow makes videos and images, upscales a video to 720p, 1080p (default, free) or "
        "4K (50 credits, Ultra plan), and an image to 2k (default) or 4k."
    )
    file_rules: ClassVar[Mapping[OperationName, FileRule]] = {
        "generate_video": _FRAME,
        "generate_image": _FRAME,
    }
    forgets_files = ("mediagenerationid", "media not found", "asset not found", "has expired")
    media_hosts = ("https://flow-content.google", "https://storage.googleapis.com")
    endpoints: ClassVar[Mapping[OperationName, Endpoint]] = {
        "upscale_video": Endpoint(
            path="/v1/google-flow/videos/upscale",
            source_field="mediaGenerationId",
            source_pattern=VIDEO,
            source_is="the mediaGenerationId of a video (user:…-video:…)",
            options={
                "resolution": Option(
                    "resolution",
                    values=("720p", "1080p", "4K"),
                    default="1080p",
                    shapes_result=True,
                    hashes_default=True,
                ),
                "reply_url": Option("replyUrl"),
                "reply_ref": Option("replyRef"),
                **_CAPTCHA,
            },
            fixed={"async": True},
            price=lambda result_arguments: 50 if result_arguments["resolution"] == "4K" else 0,
            repeats="cached",  # "returns a cached result (no additional credits consumed)"
        ),
        "upscale_image": Endpoint(
            path="/v1/google-flow/images/upscale",
            source_field="mediaGenerationId",
            source_pattern=IMAGE,
            source_is="the mediaGenerationId of an image (user:…-image:…)",
            options={
                "resolution": Option(
                    "resolution",
                    values=("2k", "4k"),
                    default="2k",
                    shapes_result=True,
                    hashes_default=True,
                ),
                **_CAPTCHA,
            },
            price=lambda _: 0,  # none documented
            answers_when_done=True,
            read_timeout_s=330.0,
        ),
        "generate_video": Endpoint(
            path="/v1/google-flow/videos",
            source_field="prompt",
            source_pattern=FROM_PROMPT,
            source_is="a prompt",
            longest_prompt=_LONGEST_PROMPT,
            # What a model takes changes monthly, so it is for Google Flow to judge.
            options={
                "model": Option("model", longest=80, default=_VIDEO_MODEL, shapes_result=True),
                "duration_seconds": Option(
                    "duration", low=1, high=60, default=8, shapes_result=True
                ),
                "resolution": Option(
                    "resolution", values=("360p", "720p"), default="720p", shapes_result=True
                ),
                "aspect_ratio": Option(
                    "aspectRatio",
                    values=_RATIOS,
                    default="16:9",
                    shapes_result=True,
                    written=lambda ratio: _SHAPES.get(ratio, ratio),
                    sent="always",  # a start image does not override it
                ),
                "start_image": Option("startImage", shapes_result=True),
                "end_image": Option("endImage", shapes_result=True),
                **_GENERATION,
            },
            fixed={"async": True, "count": 1},
            price=_price_of_a_video,
        ),
        "generate_image": Endpoint(
            path="/v1/google-flow/images",
            source_field="prompt",
            source_pattern=FROM_PROMPT,
            source_is="a prompt",
            longest_prompt=_LONGEST_PROMPT,
            options={
                "model": Option("model", longest=80, default=_IMAGE_MODEL, shapes_result=True),
                "aspect_ratio": Option(
                    "aspectRatio", values=(*_RATIOS, "auto"), shapes_result=True
                ),
                # Its own default is 1 or 4, by the date of the page.
                "count": Option(
                    "count", low=1, high=4, default=1, shapes_result=True, sent="always"
                ),
                "reference_image": Option("reference_1", shapes_result=True),
                **_GENERATION,
            },
            price=lambda _: 0,  # "included on every plan"
            answers_when_done=True,
            read_timeout_s=330.0,
        ),
    }

    def owns(self, some_id: str) -> bool:
        return is_media_id(some_id) or is_job_id(some_id)

    def takes_as_source(self, some_id: str) -> bool:
        return is_media_id(some_id)

    def takes_as_image(self, some_id: str) -> bool:
        return full_match(IMAGE, some_id) is not None

    def is_job(self, some_id: str) -> bool:
        return is_job_id(some_id)

    def what_it_is(self, some_id: str) -> str | None:
        if full_match(VIDEO, some_id):
            return "this is a video"
        return "this is an image" if full_match(IMAGE, some_id) else None

    def instead(self, operation: OperationName, some_id: str) -> str | None:
        if full_match(VIDEO, some_id):
            return "Call upscale_video for it."
        return "Call upscale_image for it." if full_match(IMAGE, some_id) else None

    def prepared(
        self, operation: OperationName, endpoint: Endpoint, given: Mapping[str, Any]
    ) -> tuple[Endpoint, Mapping[str, Any]]:
        self._check_end_image(given)
        if len(_owners(given.values())) > 1:
            raise RequestError(
                message="The two images belong to different accounts of Google Flow, so nothing was"
                " sent.",
                hint="Give two of the same account.",
                service=self.name,
            )
        if given.get("aspect_ratio") == "auto" and "reference_image" not in given:
            raise RequestError(
                message="aspect_ratio auto on Google Flow needs a reference_image, so nothing was"
                " sent.",
                hint=f"Give one, or one of {', '.join(_RATIOS)}.",
                service=self.name,
            )
        return endpoint, given

    def owner_of(self, some_id: object) -> str:
        if found := full_match(_ANY_MEDIA, some_id):
            return _decoded(found["owner"])
        found = full_match(_JOB, some_id)
        return (found["email"] or "") if found else ""

    def frees_slots(self, refusal: RateLimitError) -> bool:
        """A captcha that scored too low has nothing to do with slots, and each try costs one."""
        return "PUBLIC_ERROR_UNUSUAL_ACTIVITY" not in refusal.vendor_text

    def account_in(self, order: Order) -> str | None:
        """The e-mail address is in an image's id, in hexadecimal digits."""
        return next(iter(_owners(order.body.values())), None)

    def accepted(self, order: Order, answer: Answer, our_id: str) -> Job:
        data = answer.data
        if isinstance(data, list) and len(data) == 1:  # the vendor's own client reads it, too
            data = data[0]
        record = obj(data)
        job_id = next((i for i in (record.get("jobid"), record.get("jobId")) if is_job_id(i)), None)
        holder = holder_of(record)
        media = media_of(order.operation, holder, answer.files)
        finished = any(item.url or item.path for item in media)  # else they are still being made
        refused = not finished and is_refused(order.operation, holder)
        if job_id is None and not finished and not refused:
            raise self.unexpected("job id or result")
        if order.endpoint.answers_when_done and not finished and not refused:
            raise self.unexpected("image")
        if answer.files and order.endpoint.answers_when_done:
            job_id = None  # they are all there is: its record would have them saved once more
        model = order.result_arguments.get("model")
        return Job(
            job_id=job_id or our_id,
            service="google-flow",
            operation=order.operation,
            status="failed" if refused else "completed" if finished else "running",
            model=model_of(holder) or text(model),
            media=media if finished else None,
            remaining_credits=remaining_credits(record),
            failure=moderated("Google Flow") if refused else None,
            created_at=moment(record.get("created")),
        )

    def upload_path(self, account: str) -> str:
        return f"/v1/google-flow/assets/{quote(account, safe=_RAW)}"

    def ref_of(self, answer: Answer) -> str:
        entry = obj(answer.data)  # it is nested twice
        ref = _media_id(obj(entry.get("mediaGenerationId"))) or _media_id(entry)
        if ref is None:
            raise self.unexpected("id of the file")
        return ref

    async def read(self, upstream: Upstream, job_id: str, *, age_s: float | None) -> Job:
        if not is_job_id(job_id):
            raise RequestError(
                message="This is the id of a video or image on Google Flow, not of a job.",
                hint="Use it as a source, or give the job_id of a job.",
                service=self.name,
            )
        answer = await self._record(upstream, job_id)
        if not isinstance(obj(answer.data).get("status"), str):
            raise self.unexpected("job")
        job = as_job(job_id, answer)
        return job.evolve(media=await self._linked(upstream, job.media)) if job.media else job

    async def find(
        self, upstream: Upstream, order: Order, *, since: float | None, our_id: str | None = None
    ) -> Look:
        listed: dict[str, float] = {}
        is_complete, clock_ahead_s, failure = True, None, None
        for option in ("executing", "history"):
            try:
                answer = await upstream.get(self.vendor, f"/v1/google-flow/jobs?options={option}")
            except UseapiError as error:
                is_complete, failure = False, error
                continue
            clock_ahead_s = answer.clock_ahead_s if clock_ahead_s is None else clock_ahead_s
            entries = _listed(obj(answer.data), option)
            is_complete = is_complete and entries is not None
            for job_id, about in (entries or {}).items():
                if is_job_id(job_id):
                    listed[job_id] = number(obj(about).get("timestamp")) or 0
                else:
                    is_complete = False
        if failure is not None and not listed:
            raise failure
        newest = sorted(listed, key=lambda job_id: -listed[job_id])
        if since is None:
            # What is there before a new one is made need not be read to be known.
            return Look(tuple(map(_unread, newest)), is_complete, clock_ahead_s=clock_ahead_s)
        jobs: list[Job] = []
        others: list[str] = []
        strangers: list[str] = []
        for job_id in newest[:_MOST_CANDIDATES]:
            seen = await self._candidate(upstream, order, job_id, our_id)
            if seen.is_ours:
                return Look((), is_complete, ours=seen.job)
            is_complete = is_complete and seen.is_known
            jobs += [seen.job] if seen.job is not None else []
            others += [job_id] if is_anothers(seen.reference, our_id) else []
            strangers += [job_id] if seen.reference else []
        is_complete = is_complete and len(newest) <= _MOST_CANDIDATES
        return Look(
            tuple(jobs),
            is_complete,
            clock_ahead_s=clock_ahead_s,
            others=frozenset(others),
            strangers=frozenset(strangers).difference(others),
        )

    async def _candidate(
        self, upstream: Upstream, order: Order, job_id: str, our_id: str | None
    ) -> "_Candidate":
        """What a job that is listed has to do with an order."""

        def reference_in(data: Any) -> object:
            return obj(obj(data).get("request")).get("replyRef")

        def is_ours(data: Any) -> bool:
            return our_id is not None and reference_in(data) == our_id

        def is_of(data: Any) -> bool:
            return is_ours(data) or bool(self._same(order, obj(data)))

        try:
            answer = await self._record(upstream, job_id, is_of)
        except UseapiError:  # another one's may have expired a moment ago
            return _Candidate(None, is_known=False)
        job = as_job(job_id, answer).evolve(operation=order.operation)
        if is_ours(answer.data):
            return _Candidate(job, is_known=True, is_ours=True)
        same, reference = self._same(order, obj(answer.data)), reference_in(answer.data)
        return _Candidate(
            job if same else None,
            is_known=same is not None or is_anothers(reference, our_id),
            reference=reference if isinstance(reference, str) else "",
        )

    async def accounts(self, upstream: Upstream) -> tuple[Account, ...]:
        def fault(record: Mapping[str, Any]) -> object:
            health = record.get("health", "It does not tell its health.")
            return record.get("error") or (health if health != "OK" else None)

        answer = await upstream.get(self.vendor, "/v1/google-flow/accounts")
        return linked(self.vendor, answer.data, fault)

    async def media(
        self, upstream: Upstream, account: Account, kinds: frozenset[Kind], offset: str
    ) -> MediaPage:
        path = f"/v1/google-flow/assets/media/{quote(account.login, safe=_RAW)}"
        data = (await upstream.get(self.vendor, path)).data
        entries = _entries(data)
        if entries is None:
            raise self.unexpected("list of media")
        rows = [_found(entry) for entry in entries]
        times = [row.media.created_at for row in rows if row.media]
        if all(times):  # the order is not documented
            rows.sort(key=lambda row: str(row.media and row.media.created_at), reverse=True)
        return MediaPage(tuple(rows))

    async def balance(self, upstream: Upstream, account: Account) -> Balance:
        # The record holds cookies and a token: nothing of it leaves this function but these.
        path = f"/v1/google-flow/accounts/{quote(account.login, safe=_RAW)}"
        record = obj((await upstream.get(self.vendor, path)).data)
        credit, models = obj(record.get("credits")), obj(record.get("models"))
        return Balance(
            number(credit.get("credits")),
            text(credit.get("userPaygateTier"), 60),
            models=tuple(texts([model.get("key") for model in objs(models.get("videoModels"))])),
        )

    def _same(self, order: Order, record: Mapping[str, Any]) -> bool | None:
        """Whether a job's echoed request is this order; None if its record does not tell."""
        request = record.get("request")
        if not isinstance(request, dict):
            return None
        if order.endpoint.longest_prompt is not None:
            return _is_same_wish(order, request)
        if "prompt" in request:  # it makes a new one; an extension names its source, too
            return False
        if "mediaGenerationId" not in request:
            return None
        return bool(
            request["mediaGenerationId"] == order.source
            and request.get("resolution", "1080p") == order.result_arguments.get("resolution")
        )

    async def _record(
        self, upstream: Upstream, job_id: str, keep_if: Callable[[Any], bool] | None = None
    ) -> Answer:
        path, name = f"/v1/google-flow/jobs/{job_id}", MadeName(self.name, job_id)
        return await upstream.get(self.vendor, path, name=name, keep_if=keep_if)

    async def look_up(self, upstream: Upstream, some_id: str) -> None:
        if self.is_job(some_id):
            return await super().look_up(upstream, some_id)
        # "Page says uploads" (GET assets/mediaGenerationId, 14 June 2026); *assumed* to know what
        # was generated, too, as other clients use it.
        await upstream.get(self.vendor, _asset(some_id))
        return None

    async def fresh_link(self, upstream: Upstream, media: Media) -> str | None:
        """A job's record keeps the link it ended with; the media id gives a new one."""
        unlinked = media.model_copy(update={"url": None, "path": None})
        (linked,) = await self._linked(upstream, (unlinked,))
        return linked.url

    async def _linked(self, upstream: Upstream, media: tuple[Media, ...]) -> tuple[Media, ...]:
        """Where a record holds no link, ask for one by the media id."""
        linked = []
        for item in media:
            url = item.url
            if item.media_id and not url and not item.path:
                path = _asset(item.media_id)
                # The job itself was read: it is completed, with or without a link.
                with contextlib.suppress(UseapiError):
                    url = link(obj((await upstream.get(self.vendor, path)).data).get("url"))
            linked.append(item.model_copy(update={"url": url}))
        return tuple(linked)


def _asset(media_id: str) -> str:
    """Where a medium is told of: the one encoded path."""
    return f"/v1/google-flow/assets/{quote(media_id, safe='')}"


@dataclass(frozen=True)
class _Candidate:
    """What a listed job has to do with an order.

    `job` is there if it does what was ordered; `is_known`: whether that could be told; `is_ours`:
    its reference proves it.
    """

    job: Job | None
    is_known: bool
    is_ours: bool = False
    reference: str = ""


def _owners(values: Iterable[object]) -> list[str]:
    """The accounts of the images among some values."""
    found = [full_match(IMAGE, value) for value in values]
    owners = [_decoded(each["owner"]) for each in found if each]
    return list(dict.fromkeys(filter(None, owners)))


def _decoded(digits: str) -> str:
    """The e-mail address that an id holds; "" for what is none."""
    return bytes.fromhex(digits).decode(errors="replace") if len(digits) % 2 == 0 else ""


def _unread(job_id: str) -> Job:
    return Job(job_id=job_id, service="google-flow", operation="generate_video", status="running")


def _is_same_wish(order: Order, request: Mapping[str, Any]) -> bool | None:
    """Whether the echo of a generation is this order; None if it does not tell.

    It holds what was sent, and may hold what Google Flow filled in.
    """
    if "mediaGenerationId" in request:
        return False  # an upscale or an extension
    if "prompt" not in request:
        return None
    if str(request["prompt"]).strip() != order.source.strip():
        return False
    is_told = True
    for name, wanted in order.result_arguments.items():
        option = order.endpoint.options[name]
        if option.sent == "never":
            continue
        echoed = request.get(option.field)
        if name.endswith("_image"):  # an id
            sent = order.body.get(option.field)
            is_sent = full_match(_ANY_MEDIA, sent) is not None
            if (wanted is None or is_sent) and echoed != sent:
                return False
            is_told = is_told and (wanted is None or is_sent)
        elif echoed is None:
            is_told = is_told and wanted == option.default_for(order.result_arguments)
        elif wanted is not None and echoed != option.written(wanted):
            return False
    return True if is_told else None


def _entries(data: Any) -> list[dict[str, Any]] | None:
    """The entries of GET assets/media. *Assumed*: the first list of records that name media."""
    lists = data.values() if isinstance(data, dict) else (data,)
    found = [each for each in lists if isinstance(each, list)]
    named = [each for each in found if any(_named(entry) for entry in objs(each))]
    return objs((named or found)[0]) if found else None


def _named(entry: Mapping[str, Any]) -> str | None:
    """The id of an entry. An upload's own answer has it nested: *assumed* that a list may, too."""
    return _media_id(entry) or _media_id(obj(entry.get("mediaGenerationId")))


def _found(entry: Mapping[str, Any]) -> Listed:
    """An entry of GET assets/media.

    Documented are `mediaGenerationId` and `likelyUpload`; *assumed*: the names of the time, and
    that a prompt or a model, where there is one, is called so.
    """
    media_id = _named(entry)
    kind: Kind = "image" if full_match(IMAGE, media_id) else "video"
    if media_id is None or not (kind == "image" or full_match(VIDEO, media_id)):
        return Listed(None)
    times = (moment(entry.get(name)) for name in ("createTime", "createdAt", "created"))
    media = FoundMedia(
        source=media_id,
        service="google-flow",
        kind=kind,
        created_at=next(filter(None, times), None),
        prompt=text(entry.get("prompt"), LONGEST_PROMPT),
        model=text(entry.get("model"), 60),
    )
    # Whether an uploaded one can be upscaled is not documented; the suffix is (11 September 2026).
    is_end = entry.get("likelyUpload") is True or media_id.endswith("_upsampled")
    return Listed(media, (media_id,), is_end)


def _listed(data: Mapping[str, Any], option: str) -> dict[str, Any] | None:
    """The jobs of GET jobs by id; None if a section that was asked for is not there."""
    found: dict[str, Any] = {}
    groups = [data[name] for name in ("videos", "combined") if name in data]
    for group in groups:
        section = obj(group).get(option)
        if not isinstance(section, dict):
            return None
        found |= section
    return found if groups else None
