"""Dreamina v1: makes videos and images, doubles a video, raises its frame rate, upscales an image.

Sources: useapi.net, POST dreamina/videos (3 April 2026), images (2 April 2026), the vendor's
collections for Postman (July 2026 and later), its blog of 7 August 2026, its prices of 5 October
2026, POST videos/upscale and videos/interpolate (2 April 2026), images/upscale (2 March 2026),
GET videos/jobid (2 April 2026), images/jobid (2 March 2026), scheduler (23 February 2026),
assets/account and accounts/account (2 March 2026).
What they leave open is marked *assumed*.
"""

import contextlib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, TypeGuard
from urllib.parse import quote

from mcp_server.errors import (
    ExpiredError,
    NotFoundError,
    NotReadyError,
    RateLimitError,
    RefusedError,
    UnsupportedError,
    UseapiError,
)
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
from mcp_server.services.accounts import Account, Balance, linked
from mcp_server.services.base import (
    FINISH_DRAFT,
    FROM_PROMPT,
    LONGEST_PROMPT,
    OF_DRAFT,
    VARIATION,
    Default,
    Endpoint,
    FileRule,
    Listed,
    Look,
    MediaPage,
    Option,
    Order,
    Service,
    full_match,
    is_file,
    moderated,
)
from mcp_server.upstream.client import Upstream
from mcp_server.upstream.fields import link, moment, number, obj, objs, text, texts, whole
from mcp_server.upstream.responses import Answer, ErrorRule, ServiceInfo, failure_text

# j + digits + a letter for the kind + account. Letters seen: v V F i I; others are newer kinds.
_ACCOUNT = r"-u[0-9]{1,20}-[A-Za-z]{2,4}:[A-Za-z0-9._+=~!$&'*-]+@[A-Za-z0-9.-]+-bot:dreamina"


def id_pattern(letters: str) -> re.Pattern[str]:
    return re.compile(rf"(?!.*\.\.)j[0-9]{{6,60}}(?P<letter>{letters}){_ACCOUNT}", re.ASCII)


_ANY = id_pattern("[A-Za-z]{1,4}")
# The account stands in an id of a job, and in what an upload or an image is called.
_OWNER = re.compile(
    r"(?:j[0-9]{6,60}[A-Za-z]{1,4}-u[0-9]{1,20}-)?"
    r"(?P<owner>[A-Za-z]{2,4}:[A-Za-z0-9._+=~!$&'*-]+@[A-Za-z0-9.-]+?)-(?:bot:dreamina$|image:)",
    re.ASCII,
)
_TYPES: Mapping[str, OperationName] = {
    "video": "generate_video",
    "video-upscale": "upscale_video",
    "video-interpolate": "interpolate_video",
    "image": "generate_image",
    "upscale": "upscale_image",
}
_OPERATIONS: Mapping[str, OperationName] = {
    "V": "upscale_video",
    "F": "interpolate_video",
    "i": "generate_image",
    "I": "upscale_image",
}
_NAMES = {
    "v": "this is a generated video",
    "V": "this is already an upscale",
    "F": "this is already an interpolated video",
    "i": "this is an image",
    "I": "this is already an upscaled image",
}
# 2043 is the one code that is documented; *assumed*: a moderation's other codes name it.
_MODERATED = re.compile(r"\bfail_code: 2043\b|\bmoderation\b", re.IGNORECASE)
_MOST_CANDIDATES = 50  # that are read to find a lost job; `maxJobs` allows as many to run
_PAGE = 50  # rows of the history; at most 100
_STATUSES: Mapping[str, Status] = {"completed": "completed", "failed": "failed"}


def is_id(some_id: object) -> TypeGuard[str]:
    return full_match(_ANY, some_id) is not None


def letter_of(job_id: str) -> str:
    """The letter for a job's kind."""
    found = full_match(_ANY, job_id)
    return found["letter"] if found else ""


def account_of(job_id: str) -> str:
    return job_id[job_id.index("-u") :]


def as_job(job_id: str, record: Any) -> Job:
    """A record of whatever shape as a job; what is not understood is left out."""
    record = obj(record)
    request, response = obj(record.get("request")), obj(record.get("response"))
    operation = _TYPES.get(str(record.get("type"))) or _OPERATIONS.get(
        letter_of(job_id), "generate_video"
    )
    status: Status = _STATUSES.get(str(record.get("status")), "running")
    failure = None
    if status == "failed":
        reason = failure_text(record) or "Dreamina gave no reason."
        failure = Failure(code="vendor_failed", message=reason)
        if "cancelled by user" in reason.lower():
            status, failure = "cancelled", Failure(code="cancelled", message=reason)
        elif _MODERATED.search(reason):
            failure = moderated("Dreamina", reason)
    source = request.get("jobid")
    return Job(
        job_id=job_id,
        service="dreamina",
        operation=operation,
        status=status,
        source=source if is_id(source) else None,
        model=text(record.get("model")),
        media=_media(operation, request, response) if status == "completed" else None,
        forecast_credits=number(response.get("forecastCost")),
        failure=failure,
        created_at=moment(record.get("created")),
        updated_at=moment(record.get("updated")),
    )


def _media(
    operation: OperationName, request: Mapping[str, Any], response: Mapping[str, Any]
) -> tuple[Media, ...]:
    if OPERATIONS[operation].kind == "image":
        return tuple(
            Media(
                kind="image",
                url=link(image.get("imageUrl")),
                mime_type=f"image/{image['format']}"
                if image.get("format") in ("jpeg", "png", "webp")
                else None,
                width=whole(image.get("width")),
                height=whole(image.get("height")),
                listed_as=_ids(image) or None,
            )
            for image in objs(response.get("images"))[:MOST_MEDIA]
        )
    return (
        Media(
            kind="video",
            # videoUrl may be absent, then this one is there (vendor's own script, 19 July 2026).
            url=link(response.get("videoUrl")) or link(response.get("videoUrlWatermarked")),
            width=whole(response.get("width")),
            height=whole(response.get("height")),
            duration_ms=whole(response.get("durationMs")),
            frame_rate=number(request.get("fps")),
            thumbnail_url=link(response.get("coverUrl")),
            listed_as=_ids(response) or None,
        ),
    )


def _ids(record: Mapping[str, Any]) -> tuple[str, ...]:
    """What the history calls a medium: *assumed* that a job's result and its row have one name.

    A job says `assetId` with `videoId` or `itemId`, a row `assetId` with `itemId`. They are hashed,
    for they hold the account's e-mail address, and the journal keeps them.
    """
    names = (record.get(name) for name in ("assetId", "itemId", "videoId"))
    return tuple(
        hashlib.sha256(f"dreamina {name}".encode()).hexdigest()[:24]
        for name in map(text, names)
        if name
    )


_KEPT_S = 30 * 86_400  # "Jobs are retained for 30 days" (GET videos/jobid)

# An undocumented letter may be a newer kind of video or image, so it is for Dreamina to judge.
_GENERATED_VIDEO = id_pattern("(?![VFiI]-)[A-Za-z]{1,4}")
_VIDEO = id_pattern("(?![FiI]-)[A-Za-z]{1,4}")
_GENERATED_IMAGE = id_pattern("(?![vVFI]-)[A-Za-z]{1,4}")

_LETTERS = {operation: letter for letter, operation in _OPERATIONS.items()}
_LETTERS["generate_video"] = "v"

# POST assets/account (3 April 2026): jpeg, png, webp, up to 10 MB.
_FRAME = FileRule(("image/jpeg", "image/png", "image/webp"), 10 << 20)

_COMMON = {
    "reply_url": Option("replyUrl"),
    "reply_ref": Option("replyRef"),
    "max_jobs": Option("maxJobs", low=1, high=50),
}

_GENERATION = {
    "variation": VARIATION,
    "account": Option("account"),
    **_COMMON,
}
_DRAFT = "seedance-2.5-draft"
_ON_DRAFTS = (
    "Dreamina neither upscales nor interpolates a draft; within 14 days it is finished by"
    " upscale_video with a resolution, 1080p or 4K."
)
_VIDEO_MODEL, _IMAGE_MODEL = "seedance-2.0", "seedream-4.6"  # the documented defaults
# Texts of 4,000 (August 2026) to 5,000 characters (February) are documented, of 15,000 for 2.5.
_LONGEST_VIDEO_PROMPT, _LONGEST_OF_2_5, _LONGEST_IMAGE_PROMPT = 5_000, 15_000, 1_600
# Credits a second from text, 5 October 2026, in CA and, where it is offered there, in US.
# *Assumed*: from images it is the same.
_RATES: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "seedance-2.0": {"720p": (23, 17), "1080p": (57,), "4K": (126,)},
    "seedance-2.5": {"480p": (22, 17), "720p": (48, 37), "1080p": (117,)},
}
_FREE_IMAGES = ("seedream-4.0", "seedream-4.6", "seedream-5.0-lite")
_VIDEO_RATIOS = ("21:9", "16:9", "4:3", "1:1", "3:4", "9:16", "4:5", "5:4", "9:21")
_IMAGE_RATIOS = ("auto", "1:1", "3:4", "16:9", "4:3", "9:16", "2:3", "3:2", "21:9")
_SMALL_IMAGES = ("nano-banana", "seedream-3.0", "gpt-image-2")  # 1k by default


def _video_resolution(arguments: Mapping[str, Any]) -> Default:
    return "480p" if str(arguments.get("model")).startswith("seedance-2.5") else "720p"


def _video_ratio(arguments: Mapping[str, Any]) -> Default:
    return None if arguments.get("start_image") else "16:9"


def _image_ratio(arguments: Mapping[str, Any]) -> Default:
    """`auto` where it is supported, else 1:1, as documented; of other models it is not known."""
    model = str(arguments.get("model"))
    if model == "seedream-3.0":
        return "1:1"
    return "auto" if model.startswith("seedream-") or model == "nano-banana" else None


def _image_size(arguments: Mapping[str, Any]) -> Default:
    model = str(arguments.get("model"))
    if model in _SMALL_IMAGES:
        return "1k"
    return "2k" if model.startswith("seedream-") else None


def _price_of_a_video(arguments: Mapping[str, Any]) -> float | None:
    """That of the dearer region: which account makes it is not known beforehand."""
    rates = _RATES.get(str(arguments["model"]), {}).get(str(arguments["resolution"]))
    return None if rates is None else max(rates) * float(arguments["duration_seconds"])


def _is_told_by_price(wanted: Mapping[str, Any], credits_: float | None) -> bool | None:
    """Whether a video costs what one of this resolution does; None: its price does not tell."""
    by_resolution = _RATES.get(str(wanted["model"]), {})
    if credits_ is None or str(wanted["resolution"]) not in by_resolution:
        return None
    rate = credits_ / float(wanted["duration_seconds"])
    fitting = {resolution for resolution, rates in by_resolution.items() if rate in rates}
    return wanted["resolution"] in fitting if fitting else None


_ERROR_RULES = (
    ErrorRule(
        status=400,
        text="job is failed",
        error=RefusedError,
        message="the source job failed.",
        hint="Use another source.",
    ),
    ErrorRule(
        status=400,
        text="must be completed",
        error=NotReadyError,
        message="the source job is not finished yet.",
        hint="Wait for it with get_job(job_id=source, wait_seconds=50), then call again.",
    ),
    ErrorRule(
        status=400,
        text="already upscaled",
        error=RefusedError,
        message="this video was upscaled before, and each can be only once.",
        hint="Use the upscale there is; list_jobs may show it.",
    ),
    ErrorRule(
        status=400,
        text="already interpolated",
        error=RefusedError,
        message="this video was interpolated before, and each can be only once.",
        hint="Use the result there is, or upscale the video and interpolate that.",
    ),
    ErrorRule(
        status=404,
        text="source",
        error=NotFoundError,
        message="the source job is not known.",
        hint="Check the source; jobs are kept for 30 days.",
    ),
    ErrorRule(
        status=429,
        text=None,
        error=RateLimitError,
        message="all linked accounts are at capacity, nothing was taken.",
        hint="Wait, then call again with the same arguments.",
        cooldown_s=10,
    ),
)


# POST videos/full-quality (12 November 2026); what it costs was not seen.
_FULL_QUALITY = Endpoint(
    path="/v1/dreamina/videos/full-quality",
    source_field="jobid",
    source_pattern=_GENERATED_VIDEO,
    source_is="the id of a draft",
    options={
        "resolution": Option(
            "resolution",
            values=("1080p", "4K"),
            default="1080p",
            shapes_result=True,
            written=str.lower,
        ),
        "of": OF_DRAFT,
        **_COMMON,
    },
)


class Dreamina(Service):
    """A job id is also the source id of the next operation."""

    vendor = ServiceInfo("dreamina", "Dreamina", _ERROR_RULES)
    id_forms = ("j<digits><letter>-u<number>-<REGION>:<e-mail>-bot:dreamina",)
    where_ids_are = "A Dreamina source is the jobid that made the video or image."
    abilities = (
        "Dreamina makes videos and up to 4 images a call, doubles a generated video (once), raises "
        "a generated or upscaled one to 30 or 60 fps (once), and upscales images to 2k, 4k or 8k."
    )
    has_no_sources = (
        "Dreamina's list names no jobs: what has no source was made elsewhere, or get_job has not "
        "read its job since it ended; no tool takes it."
    )
    claims = "Reading Dreamina's credits also claimed the free ones of the day."
    file_rules: ClassVar[Mapping[OperationName, FileRule]] = {
        "generate_video": _FRAME,
        "generate_image": _FRAME,
    }
    forgets_files = (
        "asset reference",
        "assetref",
        "imageref",
        "asset not found",
        "asset has expired",
    )
    media_hosts = (
        "https://*.douyinvod.com",
        "https://*.akamaized.net",
        "https://*.douyinpic.com",
    )
    endpoints: ClassVar[Mapping[OperationName, Endpoint]] = {
        "upscale_video": Endpoint(
            path="/v1/dreamina/videos/upscale",
            source_field="jobid",
            source_pattern=_GENERATED_VIDEO,
            source_is="the id of a generated video (no image, no upscale, no interpolation)",
            options=_COMMON,
            price=lambda _: 30,  # forecastCost in the documented answer
            makes="twice its size",
            always={"resolution": ("2x",)},
            repeats="refused",
        ),
        "interpolate_video": Endpoint(
            path="/v1/dreamina/videos/interpolate",
            source_field="jobid",
            source_pattern=_VIDEO,
            source_is="the id of a generated or an upscaled video",
            options={
                "fps": Option("fps", values=(30, 60), shapes_result=True, hashes_default=True),
                **_COMMON,
            },
            price=lambda _: 66,  # forecastCost in the documented answer, for 60 fps
            repeats="refused",
        ),
        "upscale_image": Endpoint(
            path="/v1/dreamina/images/upscale",
            source_field="jobid",
            source_pattern=_GENERATED_IMAGE,
            source_is="the id of an image job (not of a video or of an upscale)",
            options={
                "resolution": Option(
                    "upscaleResolution",
                    values=("2k", "4k", "8k"),
                    default="4k",
                    shapes_result=True,
                    hashes_default=True,
                ),
                "image_index": Option(
                    "imageIndex", low=0, high=3, default=0, shapes_result=True, hashes_default=True
                ),
                "original_image_strength": Option(
                    "originalImageStrength",
                    low=0,
                    high=1,
                    default=0.65,
                    shapes_result=True,
                    hashes_default=True,
                ),
                "detail_strength": Option(
                    "detailStrength",
                    low=0,
                    high=1,
                    default=0.5,
                    shapes_result=True,
                    hashes_default=True,
                ),
                **_COMMON,
            },
            # Unknown: the documented answer forecasts 0, a guide of October 2026 says it costs.
            price=lambda _: None,
        ),
        "generate_video": Endpoint(
            path="/v1/dreamina/videos",
            source_field="prompt",
            source_pattern=FROM_PROMPT,
            source_is="a prompt",
            longest_prompt=_LONGEST_VIDEO_PROMPT,
            # Which model takes what changes monthly, so it is for Dreamina to judge.
            options={
                "model": Option("model", longest=80, default=_VIDEO_MODEL, shapes_result=True),
                "duration_seconds": Option(
                    "duration", low=1, high=180, default=5, shapes_result=True
                ),
                "resolution": Option(
                    "resolution",
                    values=("480p", "720p", "1080p", "4K"),
                    default=_video_resolution,
                    shapes_result=True,
                    written=str.lower,
                ),
                "start_image": Option("firstFrameRef", shapes_result=True),
                "end_image": Option("endFrameRef", shapes_result=True),
                "aspect_ratio": Option(
                    "ratio", values=_VIDEO_RATIOS, default=_video_ratio, shapes_result=True
                ),
                **_GENERATION,
            },
            price=_price_of_a_video,
        ),
        "generate_image": Endpoint(
            path="/v1/dreamina/images",
            source_field="prompt",
            source_pattern=FROM_PROMPT,
            source_is="a prompt",
            longest_prompt=_LONGEST_IMAGE_PROMPT,
            options={
                "model": Option("model", longest=80, default=_IMAGE_MODEL, shapes_result=True),
                "resolution": Option(
                    "resolution",
                    values=("1k", "2k", "4k"),
                    default=_image_size,
                    shapes_result=True,
                ),
                "reference_image": Option("imageRef_1", shapes_result=True),
                "aspect_ratio": Option(
                    "ratio", values=_IMAGE_RATIOS, default=_image_ratio, shapes_result=True
                ),
                **_GENERATION,
            },
            always={"count": (4,)},
            price=lambda arguments: 0 if arguments["model"] in _FREE_IMAGES else None,
        ),
    }

    def owns(self, some_id: str) -> bool:
        return is_id(some_id)

    def what_it_is(self, some_id: str) -> str | None:
        return _NAMES.get(letter_of(some_id))

    def instead(self, operation: OperationName, some_id: str) -> str | None:
        letter = letter_of(some_id)
        if letter == "i":
            return "Call upscale_image for it."
        if letter == "I" or operation == "upscale_image":
            return "Save it with download_media." if letter == "I" else "Call upscale_video for it."
        if letter == "V":
            return "Interpolate it with interpolate_video, or save it with download_media."
        return "Save it with download_media. To have both, upscale first and interpolate that."

    def prepared(
        self, operation: OperationName, endpoint: Endpoint, given: Mapping[str, Any]
    ) -> tuple[Endpoint, Mapping[str, Any]]:
        self._check_end_image(given, "Give both; they must have the same aspect ratio.")
        self._check_ratio(given)
        if operation == "generate_video" and str(given.get("model")).startswith("seedance-2.5"):
            endpoint = replace(endpoint, longest_prompt=_LONGEST_OF_2_5)
        return endpoint, given

    def further(self, job: Job) -> str | None:
        if job.model == _DRAFT:
            return FINISH_DRAFT
        # An image of 4k is made larger still.
        return super().further(job.evolve(options=None) if job.kind == "image" else job)

    def warning(self, order: Order) -> str:
        if order.operation != "generate_video":
            return ""
        if order.result_arguments["model"] == _DRAFT:
            return _ON_DRAFTS
        is_4k = order.result_arguments["resolution"] == "4K"
        return "Dreamina does not upscale what is 4K." if is_4k else ""

    def endpoint_for(self, operation: OperationName, given: Mapping[str, Any]) -> Endpoint | None:
        is_final = operation == "upscale_video" and "of" in given
        return _FULL_QUALITY if is_final else super().endpoint_for(operation, given)

    async def told_by_source(
        self,
        upstream: Upstream,
        operation: OperationName,
        source: str,
        given: Mapping[str, Any],
        known: Job | None,
    ) -> Mapping[str, Any]:
        """A draft is finished in the resolution that is asked for; nothing else takes one."""
        resolution = given.get("resolution")
        may_be = operation == "upscale_video" and full_match(_GENERATED_VIDEO, source)
        if not may_be or resolution == "2x":
            return {}
        model = known.model if known is not None else None
        if model is None and resolution in _FULL_QUALITY.options["resolution"].values:
            model = (await self.read(upstream, source, age_s=None)).model
        if model != _DRAFT:
            return {}
        if resolution is None:
            raise UnsupportedError(
                message="This is a draft, which Dreamina finishes and does not upscale; nothing was"
                " sent.",
                hint="Give resolution=1080p or 4K to have it finished; ask the user which.",
                service=self.name,
            )
        return {"of": "draft"}

    def accepted(self, order: Order, answer: Answer, our_id: str) -> Job:
        job_id = obj(answer.data).get("jobid")
        if not is_id(job_id) or not _can_be_of(order, job_id):
            raise self.unexpected("job id")
        return as_job(job_id, answer.data).evolve(operation=order.operation)

    def owner_of(self, some_id: object) -> str:
        found = _OWNER.match(some_id) if isinstance(some_id, str) else None
        return found["owner"] if found else ""

    def upload_path(self, account: str) -> str:
        return f"/v1/dreamina/assets/{quote(account, safe='')}"

    def ref_of(self, answer: Answer) -> str:
        record = obj(answer.data)  # the second is its name of February 2026
        ref = record.get("assetRef") or record.get("imageRef")
        if not isinstance(ref, str):
            raise self.unexpected("reference of the file")
        return ref

    async def read(self, upstream: Upstream, job_id: str, *, age_s: float | None) -> Job:
        try:
            answer = await upstream.get(self.vendor, self._path(job_id))
        except NotFoundError as error:
            if age_s is not None and age_s > _KEPT_S:
                raise ExpiredError(
                    message="Dreamina keeps jobs for 30 days, and this one is older.",
                    hint="Submit the source again if you need it.",
                    service=self.name,
                    http_status=error.http_status,
                    job_id=job_id,
                ) from None
            raise
        if not isinstance(obj(answer.data).get("status"), str):
            raise self.unexpected("job")
        return as_job(job_id, answer.data)

    async def find(
        self, upstream: Upstream, order: Order, *, since: float | None, our_id: str | None = None
    ) -> Look:
        answer = await upstream.get(self.vendor, "/v1/dreamina/scheduler")
        running = obj(answer.data).get("executing")
        if not isinstance(running, dict):
            raise self.unexpected("list of running jobs")
        candidates: dict[str, float] = {}  # with their ages
        lists = [entries for entries in running.values() if isinstance(entries, list)]
        listed = [entry for entries in lists for entry in entries]
        total = obj(answer.data).get("total")
        is_complete = len(lists) == len(running) and total in (None, len(listed))
        for entry in listed:
            job_id = obj(entry).get("jobid")
            if not is_id(job_id):
                is_complete = False
            elif _may_be_of(order, job_id):
                candidates[job_id] = number(obj(entry).get("elapsedSeconds")) or 0
        is_complete = is_complete and len(candidates) <= _MOST_CANDIDATES
        jobs: list[Job] = []
        unclear: list[Job] = []
        newest = sorted(candidates, key=lambda job_id: candidates[job_id])
        for job_id in newest[:_MOST_CANDIDATES]:
            job, is_known = await self._candidate(upstream, order, job_id)
            is_complete = is_complete and is_known
            if job is not None:
                (jobs if is_known else unclear).append(job)
        ahead_s = answer.clock_ahead_s
        return Look(tuple(jobs), is_complete, clock_ahead_s=ahead_s, unclear=tuple(unclear))

    async def _candidate(
        self, upstream: Upstream, order: Order, job_id: str
    ) -> tuple[Job | None, bool]:
        """The job if it does what was ordered or may do so, and whether that could be told."""
        try:
            record = obj((await upstream.get(self.vendor, self._path(job_id))).data)
        except UseapiError:  # another one's may have been deleted a moment ago
            return None, False
        same = self._same(order, record)
        return None if same is False else as_job(job_id, record), same is not None

    def names(self, order: Order, refusal: RefusedError) -> str | None:
        named = re.search(r"already (?:upscaled|interpolated): (\S+)", refusal.vendor_text)
        job_id = named[1] if named else None
        return job_id if is_id(job_id) and _may_be_of(order, job_id) else None

    async def named(self, upstream: Upstream, order: Order, job_id: str) -> Job:
        try:
            record = obj((await upstream.get(self.vendor, self._path(job_id))).data)
        except RefusedError as unread:  # it says nothing of what the job did
            raise self.unexpected("job that may be read") from unread
        if not isinstance(record.get("status"), str):
            raise self.unexpected("job")
        job, echo = as_job(job_id, record), obj(record.get("request"))
        # Where it does not echo its source, Dreamina named it for this very one: its kind must do.
        request = {"jobid": order.source} | echo
        of_this = job.operation == order.operation or "jobid" in echo
        if "fps" in order.result_arguments and whole(request.get("fps")) is None:
            raise self.unexpected("job that says its frame rate")  # it may be ours
        if of_this and self._same(order, {"request": request}):
            return job.evolve(operation=order.operation)
        if of_this and request["jobid"] == order.source and "fps" in order.result_arguments:
            raise self._in_the_way(
                "Dreamina interpolated this video before, to "
                f"{whole(request.get('fps'))} fps, and does so only once.",
                f"Use that job: get_job(job_id={job_id}).",
                job_id,
            )
        raise self._in_the_way(
            "Dreamina says that it did this before, and does so only once, but the job that it "
            "names is another by its record.",
            f"See whether it is of use: get_job(job_id={job_id}).",
            job_id,
        )

    def in_the_way(self, job_id: str, *, failed: bool) -> RefusedError:
        if failed:
            return self._in_the_way(
                "Dreamina tried this before, and does so only once. That job failed.",
                f"See why: get_job(job_id={job_id}). Another source may do.",
                job_id,
            )
        return self._in_the_way(
            "Dreamina did this before, and does so only once. It keeps the job no longer.",
            f"Use what {job_id} made, if it was saved; Dreamina's own site may still have it.",
            job_id,
        )

    def _in_the_way(self, message: str, hint: str, job_id: str) -> RefusedError:
        """The refusal of an order whose source another job used up (answered with 400)."""
        return RefusedError(
            message=message, hint=hint, service=self.name, http_status=400, job_id=job_id
        )

    async def cancel(self, upstream: Upstream, job_id: str) -> None:
        # The answer's fields are not documented, so the job is read afterwards in any case, also
        # where it isn't (or is no longer) in the scheduler.
        with contextlib.suppress(NotFoundError):
            await upstream.delete(self.vendor, f"/v1/dreamina/scheduler/{job_id}")

    async def accounts(self, upstream: Upstream) -> tuple[Account, ...]:
        # Never accounts/{account}: reading that one claims the day's free credits.
        answer = await upstream.get(self.vendor, "/v1/dreamina/accounts")
        return linked(self.vendor, answer.data, lambda record: record.get("error"))

    async def slots(self, upstream: Upstream) -> Mapping[str, int]:
        """GET accounts (23 February 2026): `maxJobs`, the jobs that an account runs at once."""
        accounts = obj((await upstream.get(self.vendor, "/v1/dreamina/accounts")).data)
        told = {name: whole(obj(record).get("maxJobs")) for name, record in accounts.items()}
        return {name: number for name, number in told.items() if number}

    async def media(
        self, upstream: Upstream, account: Account, kinds: frozenset[Kind], offset: str
    ) -> MediaPage:
        at = f"&offset={quote(offset, safe='')}" if offset else ""
        path = f"/v1/dreamina/assets/{quote(account.login, safe='')}?count={_PAGE}{at}"
        data = obj((await upstream.get(self.vendor, path)).data)
        if not isinstance(data.get("assets"), list):
            raise self.unexpected("list of what was made")
        rows = tuple(_listed(record) for record in objs(data["assets"]))
        further = whole(data.get("nextOffset"))
        goes_on = data.get("hasMore") is not False and further and rows
        return MediaPage(rows, str(further) if goes_on else None)

    async def balance(self, upstream: Upstream, account: Account) -> Balance:
        path = f"/v1/dreamina/accounts/{quote(account.login, safe='')}"
        record = obj((await upstream.get(self.vendor, path)).data)
        models = obj(record.get("models"))
        names = [*texts(models.get("video")), *texts(models.get("image"))]
        return Balance(number(obj(record.get("credits")).get("total")), models=tuple(names))

    def _path(self, job_id: str) -> str:
        folder = "images" if letter_of(job_id) in {"i", "I"} else "videos"
        return f"/v1/dreamina/{folder}/{job_id}"

    def _same(self, order: Order, record: Mapping[str, Any]) -> bool | None:
        """Whether a job's echoed request is this order; None if its record does not tell.

        What is not echoed is the default: the documented echo of an image upscale holds none of its
        strengths. So an order with other strengths than the default can't be told from its record.
        """
        request = record.get("request")
        if not isinstance(request, dict):
            return None
        if order.endpoint.longest_prompt is not None:
            return _is_same_wish(order, request, obj(record.get("response")))
        echoes = {"resolution": ("resolution", "upscaleResolution")}  # sent as the second
        if "jobid" not in request:
            return None
        if request["jobid"] != order.source:
            return False
        is_told = True
        for name, wanted in order.result_arguments.items():
            option = order.endpoint.options[name]
            if option.sent == "never":
                continue
            echoed = [request[f] for f in echoes.get(name, (option.field,)) if f in request]
            if echoed and echoed[0] not in (wanted, option.written(wanted)):
                return False
            is_told = is_told and (bool(echoed) or option.default == wanted)
        return True if is_told else None


def _listed(record: Mapping[str, Any]) -> Listed:
    """A row of the history. It names no job, so its source is for the journal to tell."""
    video = link(record.get("videoUrl"))
    is_video = record.get("type") == "video" or video is not None
    url, cover = video or link(record.get("imageUrl")), link(record.get("coverUrl"))
    return Listed(
        FoundMedia(
            service="dreamina",
            kind="video" if is_video else "image",
            created_at=moment(record.get("createdAt")),
            prompt=text(record.get("description"), LONGEST_PROMPT),
            width=whole(record.get("width")),
            height=whole(record.get("height")),
            url=url,
            thumbnail_url=cover if cover != url else None,
        ),
        _ids(record),
    )


def _is_same_wish(
    order: Order, request: Mapping[str, Any], response: Mapping[str, Any]
) -> bool | None:
    """Whether the record of a generation is this order's; None if it does not tell.

    The documented echo of a video holds no image, only how it is used, so that one with an image is
    never sure.
    """
    if "jobid" in request:
        return False
    if "prompt" not in request:
        return None
    wanted = order.result_arguments
    if str(request["prompt"]).strip() != order.source.strip():
        return False
    told = [_is_same_argument(order, name, request, response) for name in wanted]
    if order.operation == "generate_video":
        mode = "first_frame" if wanted.get("start_image") else "prompt"
        mode = "end_frame" if wanted.get("end_image") else mode
        told.append(request.get("inputMode", mode) == mode)
    elif request.get("inputMode", "generate") != "generate":  # the one that is documented
        told.append(None)
    if False in told:
        return False
    return None if None in told else True


def _is_same_argument(
    order: Order, name: str, request: Mapping[str, Any], response: Mapping[str, Any]
) -> bool | None:
    """Whether the record of a generation has this argument as ordered; None if it does not tell.

    What is not echoed is the default, but for an image. The documented echo of a video holds no
    resolution: where the prices are known they tell it.
    """
    wanted, option = order.result_arguments, order.endpoint.options[name]
    value = wanted[name]
    if option.sent == "never":
        return True
    sent = order.refs.get(str(value)) if is_file(value) else value
    echoed = request.get(option.field)
    if None not in (echoed, sent):
        return bool(echoed == option.written(sent))
    if name.endswith("_image"):
        return echoed is None if value is None else None
    if echoed is not None:  # what is left to Dreamina
        return True
    by_price = None
    if name == "resolution":
        by_price = _is_told_by_price(wanted, number(response.get("forecastCost")))
    return True if by_price is None and value == option.default_for(wanted) else by_price


def _letter_for(order: Order) -> str:
    """The letter of an order's job. *Assumed*: a draft, finished, is a generated video."""
    return _LETTERS["generate_video" if "of" in order.result_arguments else order.operation]


def _may_be_of(order: Order, job_id: str) -> bool:
    """Whether a job's id is of the kind and the account of an order's job."""
    letter, wanted = letter_of(job_id), _letter_for(order)
    if order.endpoint.longest_prompt is None:
        return (letter, account_of(job_id)) == (wanted, account_of(order.source))
    account = order.body.get("account")  # not known where Dreamina chose it
    is_there = account is None or account_of(job_id).lower().endswith(
        f"-{account}-bot:dreamina".lower()
    )
    is_newer = wanted == "v" and letter not in _OPERATIONS  # as a new kind of video may have
    return is_there and (letter == wanted or is_newer)


def _can_be_of(order: Order, job_id: str) -> bool:
    """Whether a new job's id can be this order's: of its account, and not known as another kind."""
    if letter_of(job_id) in {"v", *_OPERATIONS} - {_letter_for(order)}:
        return False
    if order.endpoint.longest_prompt is not None:
        return True
    return account_of(job_id) == account_of(order.source) and job_id != order.source
