"""The sandbox's Dreamina API v1: generations, upscales, interpolation, uploads, history, accounts.

Sources, cited below by page and date: POST videos/upscale and POST videos/interpolate (2 April
2026), POST images/upscale (2 March 2026), POST videos (3 April 2026) and POST images (2 April
2026), POST videos/full-quality (12 November 2026), GET videos/jobid (23 February 2026), GET
images/jobid (2 March 2026), POST and GET assets/account (3 April and 2 March 2026), GET and DELETE
scheduler, GET and POST accounts, GET accounts/account (23 February 2026).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mcp_server.sandbox import dreamina_orders, media, responses, uploads
from mcp_server.sandbox.account import linked_accounts, linked_emails
from mcp_server.sandbox.dreamina_orders import DRAFT_MODEL, Order
from mcp_server.sandbox.state import (
    EMAIL,
    LOSING_WORDS,
    USER,
    Refusal,
    SandboxState,
    Source,
    Vendor,
    Word,
    iso,
    moment,
    word_in,
)

SERVICE = "dreamina"
VIDEO_BOT = f"u{USER}-CA:{EMAIL}-bot:dreamina"
IMAGE_BOT = f"u{USER}-US:{EMAIL}-bot:dreamina"

KEPT_S = 30 * 24 * 3600  # GET videos/jobid, 23 February 2026: "retained for 30 days"
UPSCALE_CREDITS = 30  # POST videos/upscale, 2 April 2026
VIDEO_MODEL, IMAGE_MODEL = "seedance-2.0-fast", "seedream-4.0"  # as in the pages' examples
INTERPOLATE_CREDITS = {60: 66, 30: 33}  # 66: POST videos/interpolate, 2 April 2026; 33: assumed
DEFAULT_MAX_JOBS = 10  # POST accounts, 23 February 2026: 1-50, default 10
FIRST_CREDITS, DAILY_CREDITS = 5_000, 60  # assumed
DRAFT_KEPT_S = 14 * 24 * 3600  # POST videos/full-quality, 12 November 2026
# POST assets/account, 3 April 2026: what each kind of file may weigh.
ASSET_TYPES = {
    "image": ("image/jpeg", "image/png", "image/webp"),
    "video": ("video/mp4", "video/quicktime", "video/webm"),
    "audio": ("audio/mpeg", "audio/mp3", "audio/wav", "audio/mp4", "audio/aac"),
}
MAX_ASSET_BYTES = {"image": 10 * 1024**2, "video": 50 * 1024**2, "audio": 15 * 1024**2}
IMAGES_EACH = 4  # POST images, 2 April 2026: up to four a job; assumed: always four
IMAGE_SIZES = {
    "1k": (1280, 720),
    "2k": (2560, 1440),
    "4k": (3840, 2160),
    "8k": (7680, 4320),
}  # pixels: assumed


def video_id(number: int, letter: str = "v") -> str:
    return f"j0302140530123456{number}{letter}-{VIDEO_BOT}"


def image_id(number: int) -> str:
    return f"j0302140530123456{number}i-{IMAGE_BOT}"


# The first of each is the id in the vendor's own examples.
GOOD_VIDEO, SECOND_VIDEO, THIRD_VIDEO = video_id(789), video_id(790), video_id(791)
UNFINISHED_VIDEO = video_id(801)
UPSCALED_VIDEO, UPSCALE_OF_IT = video_id(802), video_id(802, "V")
INTERPOLATED_VIDEO, INTERPOLATION_OF_IT = video_id(803), video_id(803, "F")
MODERATED_VIDEO = video_id(804)
LOST_VIDEO = video_id(805)
GOOD_IMAGE, SECOND_IMAGE = image_id(789), image_id(790)
UNFINISHED_IMAGE = image_id(801)
MODERATED_IMAGE = image_id(804)
LOST_IMAGE = image_id(805)

# The placeholders in the examples of POST videos/interpolate, 2 April 2026, as names of jobs that
# exist; they are not sources a caller would look for.
PLACEHOLDERS = {
    "YOUR_COMPLETED_VIDEO_JOBID": video_id(901),
    "YOUR_COMPLETED_UPSCALE_JOBID": video_id(902, "V"),
}

# 402, 429 and 596 on a Dreamina POST are known from the vendor's script of 19 July 2026, without
# their bodies; 412, 500 and 503 are the platform's. Texts: 402 from POST accounts (23 February
# 2026), 596 from POST assets (2 March 2026), the others assumed.
BUSY: responses.Json = {"error": "All configured accounts are running at maximum capacity."}
_NO_PLAN: responses.Json = {"error": "Account has no subscription or subscription expired"}
_NO_CREDITS: responses.Json = {"error": "Not enough credits: requested 30, available 0"}
_NO_SESSION: responses.Json = {"error": "Session expired"}
REFUSALS = {
    video_id(402): Refusal("402: no subscription", 402, _NO_PLAN),
    video_id(412): Refusal("412: out of credits", 412, _NO_CREDITS),
    video_id(429): Refusal("429 without a word on how long to wait", 429, BUSY),
    video_id(430): Refusal("429 with Retry-After: 60", 429, BUSY, 60),
    video_id(431): Refusal(
        "429 with Retry-After: 5 the first time, then accepted", 429, BUSY, 5, times=1
    ),
    video_id(500): Refusal("500", 500, {"error": "Internal server error"}),
    video_id(503): Refusal("503", 503, {"error": "Service unavailable"}),
    video_id(596): Refusal("596: the linked account must log in again", 596, _NO_SESSION),
    image_id(429): Refusal("429 without a word on how long to wait", 429, BUSY, kind="image"),
    image_id(596): Refusal(
        "596: the linked account must log in again", 596, _NO_SESSION, kind="image"
    ),
}
LOSING = frozenset({LOST_VIDEO, LOST_IMAGE})
# As for the sources: the statuses are known from the vendor's script of 19 July 2026.
WORD_REFUSALS = {
    "no-subscription": Refusal("402: no subscription", 402, _NO_PLAN),
    "no-credits": Refusal("412: out of credits", 412, _NO_CREDITS),
    "busy": Refusal("429 without a word on how long to wait", 429, BUSY),
    "busy-once": Refusal(
        "429 with Retry-After: 5 the first time this prompt comes, then accepted",
        429,
        BUSY,
        5,
        times=1,
    ),
    "server-error": Refusal("500", 500, {"error": "Internal server error"}),
    "session-expired": Refusal("596: the linked account must log in again", 596, _NO_SESSION),
}
_LOST = "accepted, but the first answer gets lost: the gateway's page comes instead"
_UNFINISHED = "not finished: 400, must be completed"
_MODERATED = "accepted, then fails with fail_code 2043"

SOURCES = (
    Source(GOOD_VIDEO, SERVICE, "a finished video, 640x360 at 24 fps", good=True),
    Source(SECOND_VIDEO, SERVICE, "another finished video"),
    Source(THIRD_VIDEO, SERVICE, "a third finished video"),
    Source(UPSCALED_VIDEO, SERVICE, "already upscaled: 400 names the earlier job"),
    Source(UPSCALE_OF_IT, SERVICE, "that upscale: can be interpolated, not upscaled"),
    Source(INTERPOLATED_VIDEO, SERVICE, "already interpolated, to 60 fps: 400 names the job"),
    Source(UNFINISHED_VIDEO, SERVICE, _UNFINISHED),
    Source(MODERATED_VIDEO, SERVICE, _MODERATED),
    Source(LOST_VIDEO, SERVICE, _LOST),
    Source(GOOD_IMAGE, SERVICE, "a finished job of four images", good=True, kind="image"),
    Source(SECOND_IMAGE, SERVICE, "another finished image job", kind="image"),
    Source(UNFINISHED_IMAGE, SERVICE, _UNFINISHED, kind="image"),
    Source(MODERATED_IMAGE, SERVICE, _MODERATED, kind="image"),
    Source(LOST_IMAGE, SERVICE, _LOST, kind="image"),
    *(refusal.source(source_id, SERVICE) for source_id, refusal in REFUSALS.items()),
)


@dataclass
class Job:
    jobid: str
    type: str  # video, video-upscale, video-interpolate, image, upscale
    model: str
    request: responses.Json
    made_at: float
    done_at: float
    forecast_credits: int
    clip: tuple[int, int, int] = (640, 360, 24)  # of a video: width, height, frames per second
    seconds: int = media.CLIP_S  # of a video
    images: list[tuple[int, int]] = field(default_factory=list)  # of an image: width, height
    ends: str = "completed"  # or "failed"
    tracked: bool = False  # made through the API, so it is in the scheduler
    cancelled: bool = False
    reply_url: object = None
    word: str = ""  # in the prompt

    def status(self, now: float) -> str:
        """Only these three words exist; a job that works stays `created` (GET videos/jobid)."""
        if self.cancelled:
            return "failed"
        return self.ends if now >= self.done_at else "created"

    def is_executing(self, now: float) -> bool:
        return self.tracked and self.status(now) == "created"

    @property
    def kind(self) -> str:
        return "image" if self.type in ("image", "upscale") else "video"

    @property
    def account(self) -> str:
        """`REGION:email`, which every job id holds."""
        return self.jobid.split("-", 2)[2].removesuffix("-bot:dreamina")


def made_before(now: float) -> dict[str, Job]:
    """The sources by their id, made an hour ago; what no line below changes has finished."""
    ids = [source.id for source in SOURCES] + [INTERPOLATION_OF_IT, *PLACEHOLDERS.values()]
    jobs = {jobid: _finished(jobid, now - 3600) for jobid in ids}
    jobs[INTERPOLATION_OF_IT].request = {"jobid": INTERPOLATED_VIDEO, "fps": 60}
    jobs[INTERPOLATION_OF_IT].clip = (640, 360, 60)
    for jobid in (UNFINISHED_VIDEO, UNFINISHED_IMAGE):
        jobs[jobid].done_at = math.inf
    return jobs


def _finished(jobid: str, made_at: float) -> Job:
    """GET videos/jobid, 23 February 2026, and GET images/jobid, 2 March 2026: the echoes."""
    prompt: responses.Json = {"prompt": "A windmill and a balloon", "ratio": "16:9"}
    done_at = made_at + 90
    match jobid[20]:
        case "v":
            request = {**prompt, "model": VIDEO_MODEL, "duration": 2, "inputMode": "prompt"}
            return Job(jobid, "video", VIDEO_MODEL, request, made_at, done_at, 50)
        case "V":
            job = Job(jobid, "video-upscale", VIDEO_MODEL, {}, made_at, done_at, UPSCALE_CREDITS)
            job.request, job.clip = {"jobid": jobid.replace("V-", "v-", 1)}, (1280, 720, 24)
            return job
        case "F":
            credits_ = INTERPOLATE_CREDITS[60]
            return Job(jobid, "video-interpolate", VIDEO_MODEL, {}, made_at, done_at, credits_)
        case _:
            request = {**prompt, "model": IMAGE_MODEL, "resolution": "1k", "inputMode": "generate"}
            images = [(1280, 720)] * 4
            return Job(jobid, "image", IMAGE_MODEL, request, made_at, done_at, 0, images=images)


def record(request: Request, job: Job, now: float) -> responses.Json:
    """The job record all types share: POST videos/upscale and GET videos/jobid, 2026."""
    status = job.status(now)
    answer: responses.Json = {
        "jobid": job.jobid,
        "type": job.type,
        "status": status,
        "model": job.model,
        "created": iso(job.made_at),
    }
    if status != "created":
        answer["updated"] = iso(job.done_at)
    answer["request"] = job.request
    if status == "failed":
        reason = "Cancelled by user" if job.cancelled else "fail_code: 2043"
        answer["error"] = reason
        if not job.cancelled:  # the page's example is cut after "OutputVi"
            answer["errorDetails"] = "OutputVideoRisk: the output did not pass moderation"
        return answer
    response: responses.Json = {"forecastCost": job.forecast_credits}
    if status == "completed":
        response = {**_result(request, job), **response, "finishTime": int(job.done_at)}
    return {**answer, "response": response, "code": 200}


def _result(request: Request, job: Job) -> responses.Json:
    """The completed `response`: GET videos/jobid, 23 February, and GET images/jobid, 2 March 2026.

    Assumed for upscales and interpolations, of which the pages only read `width`, `height`,
    `videoUrl` and `images[0].width/.height`: that they look like generated ones. Assumed too: a
    link lives as long as its job.
    """
    number = job.jobid[1:20]
    expires = job.done_at + KEPT_S
    if job.kind == "image":
        return {"images": [_image(request, job, at) for at in range(len(job.images))]}
    width, height, fps = job.clip
    video = media.clip(width, height, fps, job.seconds)
    # The vendor's script of 19 July 2026 falls back to the second name.
    link_name = "videoUrlWatermarked" if job.word == "watermarked" else "videoUrl"
    return {
        "assetId": f"{job.account}-asset:{number}",
        link_name: media.link(request, video, owner=job.jobid, expires=expires),
        "videoId": number,
        "coverUrl": media.link(request, media.THUMBNAIL, owner=job.jobid, expires=expires),
        "width": width,
        "height": height,
        "durationMs": job.seconds * 1000,
        "hasAudio": False,
    }


def _image(request: Request, job: Job, at: int) -> responses.Json:
    (width, height), item = job.images[at], f"{job.jobid[2:20]}{at}"
    name, owner = media.image(width, height), f"{job.jobid} {at}"
    uri = f"tos-useast5-i-wopfjsm1ax-tx/{item}"
    size = len(media.read(name))
    return {
        "imageUrl": media.link(request, name, owner=owner, expires=job.done_at + KEPT_S),
        "imageUri": uri,
        "width": width,
        "height": height,
        "format": "jpeg",
        "assetId": f"{job.account}-asset:{item}",
        "assetRef": f"{job.account}-image:w{width}:h{height}:s{size}-uri:{uri}",
        "itemId": item,
    }


def history(request: Request, job: Job) -> list[responses.Json]:
    """The rows of a job in GET assets/account, 2 March 2026: one for each thing it made.

    They name no job. Assumed: an id there is that of the job's result.
    """
    shared: responses.Json = {
        "historyRecordId": f"h{job.jobid[1:20]}",
        "description": job.request.get("prompt", ""),
        "createdAt": iso(job.made_at),
    }
    if job.kind == "video":
        result = _result(request, job)
        row = {name: result[name] for name in ("assetId", "coverUrl", "width", "height")}
        row["videoUrl"] = result.get("videoUrl", result.get("videoUrlWatermarked"))
        return [{**shared, **row, "itemId": result["videoId"], "type": "video"}]
    rows: list[responses.Json] = []
    for at in range(len(job.images)):
        image = _image(request, job, at)
        del image["imageUri"]
        rows.append({**shared, **image, "coverUrl": image["imageUrl"], "type": "image"})
    return rows


class Dreamina(Vendor):
    prefix = "/v1/dreamina"
    sources = SOURCES
    words = (
        *(refusal.word(word, SERVICE) for word, refusal in WORD_REFUSALS.items()),
        Word("moderated", SERVICE, _MODERATED),
        Word("lost-answer", SERVICE, "accepted, but the first answer to this prompt gets lost"),
        Word("watermarked", SERVICE, "a video has a link with a watermark alone"),
        # The vendor's tool text, November 2026: "only a job's first 4 can be upscaled".
        Word("six-images", SERVICE, "a job of six images"),
        Word("image-ref", SERVICE, "an upload's ref has its name of February 2026"),
    )

    def __init__(self, state: SandboxState) -> None:
        super().__init__(state)
        self._uploads: dict[str, uploads.Upload] = {}
        self._credits: dict[str, int] = {}
        self._claimed: set[tuple[str, str]] = set()  # account and day of the free credits
        # What was made in the web app: it is in the history, and no job of it can be read.
        self._elsewhere = [
            _finished(video_id(701), state.now() - 7200),
            _finished(image_id(701), state.now() - 7200),
        ]
        self._jobs = made_before(state.now())
        for jobid in state.conditions.sources:
            if jobid.endswith("-bot:dreamina"):
                self._jobs[jobid] = _finished(jobid, state.now() - 3600)

    def routes(self) -> list[Route]:
        at = self.prefix
        return [
            Route(f"{at}/videos/upscale", self.upscale_video, methods=["POST"]),
            Route(f"{at}/videos/interpolate", self.interpolate_video, methods=["POST"]),
            Route(f"{at}/images/upscale", self.upscale_image, methods=["POST"]),
            Route(f"{at}/videos/full-quality", self.full_quality, methods=["POST"]),
            Route(f"{at}/videos", self.generate_video, methods=["POST"]),
            Route(f"{at}/images", self.generate_image, methods=["POST"]),
            Route(f"{at}/assets/{{account}}", self.upload, methods=["POST"]),
            Route(f"{at}/assets/{{account}}", self.list_assets, methods=["GET"]),
            Route(f"{at}/videos/{{jobid}}", self.get_video, methods=["GET"]),
            Route(f"{at}/images/{{jobid}}", self.get_image, methods=["GET"]),
            Route(f"{at}/scheduler", self.get_scheduler, methods=["GET"]),
            Route(f"{at}/scheduler/{{jobid}}", self.cancel, methods=["DELETE"]),
            Route(f"{at}/accounts", self.get_accounts, methods=["GET"]),
            Route(f"{at}/accounts/{{account}}", self.get_account, methods=["GET"]),
        ]

    async def generate_video(self, request: Request) -> Response:
        """POST videos, 3 April 2026."""
        numbers, booleans = frozenset({"duration", "maxJobs"}), frozenset({"unlimited"})
        body = await responses.read_fields(request, numbers=numbers, booleans=booleans)
        account = self._generating_account(request, body, "video")
        order = dreamina_orders.video_order(body, account[:2])
        lines = dreamina_orders.LINES[order.resolution]
        clip = (*media.clip_size(lines), 24)
        return await self._generate(request, body, account, order, "v", clip=clip)

    async def generate_image(self, request: Request) -> Response:
        """POST images, 2 April 2026."""
        numbers = frozenset({"imageStrength", "maxJobs"})
        body = await responses.read_fields(request, numbers=numbers)
        account = self._generating_account(request, body, "image")
        order = dreamina_orders.image_order(body, account[:2])
        count = 6 if word_in(order.prompt) == "six-images" else IMAGES_EACH
        images = [IMAGE_SIZES[order.resolution]] * count
        return await self._generate(request, body, account, order, "i", images=images)

    async def full_quality(self, request: Request) -> Response:
        """POST videos/full-quality, 12 November 2026: a draft, anew, as a regular video job.

        Assumed: the texts of the 400s, and its letter and type, which are a generation's.
        """
        body = await responses.read_fields(request, numbers=frozenset({"maxJobs"}))
        source = self._source(body, "video", ("video",))
        if source.model != DRAFT_MODEL:
            raise responses.refused(400, "Source video job is not a draft")
        if self.state.now() > source.done_at + DRAFT_KEPT_S:
            raise responses.refused(400, "Source draft has expired")
        account = source.account
        order = dreamina_orders.full_quality_order(body, account[:2], source.request)
        clip = (*media.clip_size(dreamina_orders.LINES[order.resolution]), 24)
        return await self._generate(
            request, body, account, order, "v", source_id=source.jobid, clip=clip
        )

    async def upscale_video(self, request: Request) -> Response:
        """POST videos/upscale, 2 April 2026: doubles both sides; each video once."""
        body = await responses.read_fields(request, numbers=frozenset({"maxJobs"}))
        source = self._source(body, "video", ("video",))
        self._only_once(source, "video-upscale", "upscaled")
        if source.model == DRAFT_MODEL or source.clip[1] > 1080:
            # The vendor's tool text, November 2026: 480p to 1080p, no draft. The text is assumed.
            raise responses.refused(400, "Source video cannot be upscaled")
        await self.state.conditions.work()
        width, height, fps = source.clip
        job = self._new(source, "V", "video-upscale", {}, body, UPSCALE_CREDITS)
        job.clip = (2 * width, 2 * height, fps)
        return self._accept(request, job, source, body)

    async def interpolate_video(self, request: Request) -> Response:
        """POST videos/interpolate, 2 April 2026: to 30 or 60 fps; each video once.

        Assumed: "once" whatever the fps, and a video and its upscale each count for themselves.
        """
        body = await responses.read_fields(request, numbers=frozenset({"fps", "maxJobs"}))
        fps = body.get("fps")
        if "jobid" in body and fps is None:
            raise responses.refused(400, "Parameter fps is required")  # assumed, as for jobid
        if fps is not None and (
            not responses.is_number(fps, 30, 60) or fps not in INTERPOLATE_CREDITS
        ):
            raise responses.refused(400, f"Parameter fps ({fps}) valid values: 30, 60")
        source = self._source(body, "video", ("video", "video-upscale"))
        self._only_once(source, "video-interpolate", "interpolated")
        if source.model == DRAFT_MODEL:
            # The vendor's tool text, November 2026: full-quality first. The text is assumed.
            raise responses.refused(400, "Source video is a draft")
        await self.state.conditions.work()
        rate = 60 if fps == 60 else 30
        credits_ = INTERPOLATE_CREDITS[rate]
        job = self._new(source, "F", "video-interpolate", {"fps": fps}, body, credits_)
        job.clip = (*source.clip[:2], rate)
        return self._accept(request, job, source, body)

    async def upscale_image(self, request: Request) -> Response:
        """POST images/upscale, 2 March 2026: 2k, 4k (default) or 8k; no once-only rule, 0 credits.

        The body says `upscaleResolution`, the echo `resolution`. Texts for values out of range are
        assumed, like the one documented for fps.
        """
        numbers = frozenset({"imageIndex", "originalImageStrength", "detailStrength", "maxJobs"})
        body = await responses.read_fields(request, numbers=numbers)
        index, size = body.get("imageIndex", 0), body.get("upscaleResolution", "4k")
        if not responses.is_number(index, 0, 3):
            raise responses.refused(400, f"Parameter imageIndex ({index}) valid values: 0, 1, 2, 3")
        if size not in ("2k", "4k", "8k"):
            text = f"Parameter upscaleResolution ({size}) valid values: 2k, 4k, 8k"
            raise responses.refused(400, text)
        for name in ("originalImageStrength", "detailStrength"):
            strength = body.get(name, 0.5)
            if not responses.is_number(strength, 0, 1, whole=False):
                raise responses.refused(400, f"Parameter {name} ({strength}) valid range: 0-1")
        source = self._source(body, "image", ("image",))
        await self.state.conditions.work()
        # The page's echo holds no strengths; assumed: not even those that were given.
        echo: responses.Json = {"imageIndex": index, "resolution": size}
        job = self._new(source, "I", "upscale", echo, body, 0)
        job.images = [IMAGE_SIZES[str(size)]]
        return self._accept(request, job, source, body)

    async def get_video(self, request: Request) -> Response:
        return self._get(request, "video")

    async def get_image(self, request: Request) -> Response:
        return self._get(request, "image")

    async def get_scheduler(self, request: Request) -> Response:
        """GET scheduler, 23 February 2026: what runs, by account."""
        now = self.state.now()
        running = [job for job in self._jobs.values() if job.is_executing(now)]
        executing: dict[str, list[responses.Json]] = {}
        for job in running:
            entry: responses.Json = {
                "jobid": job.jobid,
                "submitId": job.jobid[1:20],
                "model": job.model,
                "elapsedSeconds": int(now - job.made_at),
            }
            if job.reply_url:
                entry["replyUrl"] = job.reply_url
            executing.setdefault(job.account, []).append(entry)
        return responses.answer({"executing": executing, "total": len(running)})

    async def cancel(self, request: Request) -> Response:
        """DELETE scheduler/jobid, 23 February 2026: the job fails, "Cancelled by user".

        Assumed: both bodies, and that a job that has ended is no longer in the scheduler.
        """
        job = self._find(request)
        if job is None or not job.is_executing(self.state.now()):
            raise responses.refused(404, "Job not found")
        job.cancelled, job.done_at = True, self.state.now()
        return responses.answer({"jobid": job.jobid, "deleted": True})

    async def upload(self, request: Request) -> Response:
        """POST assets/account, 3 April 2026: the raw file; its ref is good on this account alone.

        Texts: unknown type and empty, 2 March 2026; too large, assumed. So is what comes between
        the account and the sizes in the ref of a clip or a sound.
        """
        file = await uploads.receive(request)
        account = self._linked(request, request.path_params["account"])
        known = ASSET_TYPES.get(file.kind, ASSET_TYPES["image"])
        if file.mime_type not in known:
            text = f"Content-Type ({file.mime_type}) not supported. Valid values: "
            raise responses.refused(400, text + ", ".join(known))
        if not file.size_bytes:
            raise responses.refused(400, f"{file.kind.capitalize()} is empty")
        if file.size_bytes > MAX_ASSET_BYTES[file.kind]:
            text = f"{file.kind.capitalize()} size {file.size_bytes} exceeds the limit of "
            raise responses.refused(400, f"{text}{MAX_ASSET_BYTES[file.kind]} bytes")
        asked = f"{SERVICE} {file.sha256}"
        self.state.refuse(file.word, WORD_REFUSALS, asked=asked)
        number, milliseconds = f"{self.state.serial():019}", round(file.seconds * 1000)
        sizes = f"w{file.width}:h{file.height}:s{file.size_bytes}"
        answer: responses.Json = {"account": account, "size": file.size_bytes}
        ref = f"{account}-image:{sizes}-uri:tos-useast5-i-wopfjsm1ax-tx/{number}"
        if file.kind != "audio":
            answer |= {"width": file.width, "height": file.height}
        if file.kind != "image":
            answer |= {"type": file.kind, "duration": milliseconds}
            ref = f"{account}-{file.kind}:{sizes}:d{milliseconds}-vid:{number}"
        self._uploads[ref] = file
        if self.state.loses_the_answer(file.word, LOSING_WORDS, asked=asked):
            return responses.gateway_page(524)
        name = "imageRef" if file.word == "image-ref" else "assetRef"
        return responses.answer({name: ref, **answer})

    async def list_assets(self, request: Request) -> Response:
        """GET assets/account, 2 March 2026: what was made there, the newest first.

        Uploads are not among it. Assumed: what a wrong `count` or `offset` is answered, and that
        `nextOffset` counts.
        """
        account = self._linked(request, request.path_params["account"])
        count, offset = (
            request.query_params.get(name, default)
            for name, default in (("count", "20"), ("offset", "0"))
        )
        if not (count.isdecimal() and offset.isdecimal() and 1 <= int(count) <= 100):
            raise responses.refused(400, f"Parameter count ({count}) valid range: 1-100")
        now = self.state.now()
        made = [
            job
            for job in (*self._jobs.values(), *self._elsewhere)
            if job.account == account and job.status(now) == "completed"
        ]
        made.sort(key=lambda job: -job.made_at)
        rows = [row for job in made for row in history(request, job)]
        end = int(offset) + int(count)
        page: list[object] = list(rows[int(offset) : end])
        more: responses.Json = {"hasMore": end < len(rows), "nextOffset": min(end, len(rows))}
        return responses.answer({"assets": page, **more, "account": account})

    async def get_accounts(self, request: Request) -> Response:
        """GET accounts, 23 February 2026: a map by account, without credits.

        One in error has an `error`; its text is that of POST assets (2 March 2026).
        """
        return responses.answer(dict(self._accounts(request)))

    async def get_account(self, request: Request) -> Response:
        """GET accounts/account, 2 March 2026: with its models and credits, read live.

        Those are left out where they can't be read. The call also claims the free credits of the
        day. Assumed: how many, and how they count.
        """
        name = self._linked(request, request.path_params["account"])
        account = self._accounts(request)[name]
        if "error" in account:
            return responses.answer(dict(account))
        now = self.state.now()
        today = (name, f"{moment(now):%Y-%m-%d}")
        if today not in self._claimed:
            self._claimed.add(today)
            self._credits[name] = self._credits.get(name, FIRST_CREDITS) + DAILY_CREDITS
        total, region = self._credits[name], name[:2]
        videos: list[object] = [
            model for model, each in dreamina_orders.VIDEO_MODELS.items() if region in each.rates
        ]
        images: list[object] = [
            model for model, each in dreamina_orders.IMAGE_MODELS.items() if region in each.regions
        ]
        credits_ = {"total": total, "vip": max(total - DAILY_CREDITS, 0), "gift": DAILY_CREDITS}
        session = {"expires": iso(now + KEPT_S), "lastRefreshed": iso(now), "daysUntilExpiry": 30}
        return responses.answer(
            {
                **account,
                "session": session,
                "models": {"video": videos, "image": images},
                "credits": {**credits_, "purchase": 0, "dailyClaimed": True},
            }
        )

    def _accounts(self, request: Request) -> Mapping[str, responses.Json]:
        expires = iso(self.state.now() + KEPT_S)
        accounts: dict[str, responses.Json] = {
            name: {
                "account": name,
                "email": name[3:],
                "region": name[:2],
                "maxJobs": self._slots,
                "sessionExpires": expires,
            }
            for name in _accounts(request)
        }
        return linked_accounts(request, accounts, {"error": "Session expired"})

    def _linked(self, request: Request, name: str) -> str:
        """The account's name, if it is linked; else the documented 404."""
        if name not in _accounts(request):
            raise responses.refused(404, f"Unable to find configuration for account {name}")
        return name

    def _generating_account(self, request: Request, body: responses.Json, kind: str) -> str:
        """The account that generates: the one named, that of the references, or the least busy.

        POST images, 2 April 2026: "derived from imageRef_N"; one with free capacity if there is
        none. Assumed: every text, and that the model decides too.
        """
        self._check_limits(body)
        named, refs = body.get("account"), dreamina_orders.refs(body)
        accounts = _accounts(request) if named is None else (self._linked(request, str(named)),)
        if not accounts:
            raise responses.refused(404, f"Unable to find configuration for account US:{EMAIL}")
        for ref in refs:
            owned = self._is_ref(ref)
            accounts = tuple(name for name in accounts if owned and ref.startswith(f"{name}-"))
        if not accounts:
            raise responses.refused(400, "Invalid asset reference")
        regions = dreamina_orders.regions(body, kind)
        now = self.state.now()
        executing = [job.account for job in self._jobs.values() if job.is_executing(now)]
        return min(accounts, key=lambda name: (name[:2] not in regions, executing.count(name)))

    def _is_ref(self, ref: str) -> bool:
        """Whether this is the ref of an upload, or of an image that was made."""
        if ref in self._uploads:
            return True
        number = ref.rpartition("/")[2]
        return any(
            f"{job.jobid[2:20]}{at}" == number and ref.startswith(f"{job.account}-image:")
            for job in (*self._jobs.values(), *self._elsewhere)
            for at in range(len(job.images))
        )

    async def _generate(
        self,
        request: Request,
        body: responses.Json,
        account: str,
        order: Order,
        letter: str,
        *,
        source_id: str = "",
        clip: tuple[int, int, int] = (640, 360, 24),
        images: list[tuple[int, int]] | None = None,
    ) -> Response:
        """Assumed: the `request` of a generation holds no replyRef, of which no page shows one."""
        word, asked = word_in(order.prompt), f"{SERVICE} {order.prompt}"
        self.state.refuse(word, WORD_REFUSALS, asked=asked)
        await self.state.conditions.work()
        now = self.state.now()
        job = Job(
            jobid=f"j{self.state.digits()}{letter}-u{USER}-{account}-bot:dreamina",
            type="image" if images else "video",
            model=order.model,
            request=order.echo,
            made_at=now,
            done_at=now + self.state.job_seconds,
            forecast_credits=order.credits,
            clip=clip,
            seconds=order.seconds,
            images=images or [],
            ends="failed" if word == "moderated" or self.state.conditions.fails() else "completed",
            tracked=True,
            reply_url=body.get("replyUrl"),
            word=word,
        )
        self._take(request, job, source_id, body)
        if self.state.loses_the_answer(word, LOSING_WORDS, asked=asked):
            return responses.gateway_page(524)
        return responses.answer(record(request, job, self.state.now()))

    def _source(self, body: responses.Json, kind: str, types: tuple[str, ...]) -> Job:
        """The finished job a POST names, or the documented 400 or 404."""
        if not body.get("jobid"):
            raise responses.refused(
                400, "Parameter jobid is required"
            )  # POST images/upscale, 2 March
        self._check_limits(body)
        jobid = str(body["jobid"])
        source = self._jobs.get(PLACEHOLDERS.get(jobid, jobid))
        if source is None or source.kind != kind or self._is_expired(source):
            raise responses.refused(404, f"Source {kind} job not found")
        if source.type not in types:  # ruled out by the page; the text is assumed
            raise responses.refused(400, f"Source {kind} job is {source.type}, must be {types[0]}")
        status = source.status(self.state.now())
        if status != "completed":
            raise responses.refused(400, f"Source {kind} job is {status}, must be completed")
        return source

    @property
    def _slots(self) -> int:
        """How many jobs an account runs at once."""
        return self.state.conditions.slots or DEFAULT_MAX_JOBS

    def _check_limits(self, body: responses.Json) -> None:
        max_jobs = body.get("maxJobs", DEFAULT_MAX_JOBS)
        if not responses.is_number(max_jobs, 1, 50):  # the text is assumed
            raise responses.refused(400, f"Parameter maxJobs ({max_jobs}) valid range: 1-50")

    def _only_once(self, source: Job, type_: str, done: str) -> None:
        """Assumed: a job that failed or was cancelled does not count, one that runs does."""
        for job in self._jobs.values():
            if (job.type, job.request.get("jobid")) != (type_, source.jobid):
                continue
            if job.status(self.state.now()) != "failed":
                raise responses.refused(400, f"Source video already {done}: {job.jobid}")

    def _new(
        self,
        source: Job,
        letter: str,
        type_: str,
        echo: responses.Json,
        body: responses.Json,
        credits_: int,
    ) -> Job:
        now = self.state.now()
        bot = source.jobid.split("-", 1)[1]
        # Assumed: replyUrl and replyRef are echoed, as Google Flow documents; nothing is called.
        reply: responses.Json = {
            name: body[name] for name in ("replyUrl", "replyRef") if name in body
        }
        return Job(
            jobid=f"j{self.state.digits()}{letter}-{bot}",
            type=type_,
            model=source.model,
            request={"jobid": source.jobid, **echo, **reply},
            made_at=now,
            done_at=now + self.state.job_seconds,
            forecast_credits=credits_,
            seconds=source.seconds,
            ends="failed"
            if source.jobid in (MODERATED_VIDEO, MODERATED_IMAGE) or self.state.conditions.fails()
            else "completed",
            tracked=True,
            reply_url=body.get("replyUrl"),
        )

    def _accept(self, request: Request, job: Job, source: Job, body: responses.Json) -> Response:
        self.state.refuse(source.jobid, REFUSALS)
        self._take(request, job, source.jobid, body)
        if self.state.loses_the_answer(source.jobid, LOSING):
            return responses.gateway_page(524)
        return responses.answer(record(request, job, self.state.now()))

    def _take(self, request: Request, job: Job, source_id: str, body: responses.Json) -> None:
        """Take the job, unless its account is full. Its credits never end."""
        now = self.state.now()
        running = [other for other in self._jobs.values() if other.is_executing(now)]
        busy = sum(other.account == job.account for other in running)
        if busy >= int(str(body.get("maxJobs", self._slots))):
            raise responses.RefusedError(responses.answer(BUSY, status=429))
        self._jobs[job.jobid] = job
        credits_left = self._credits.get(job.account, FIRST_CREDITS) - job.forecast_credits
        self._credits[job.account] = max(credits_left, 0)
        self.state.accept(SERVICE, request.url.path, source_id, job.jobid, body)

    def _find(self, request: Request) -> Job | None:
        if responses.has_encoded_path(request):
            raise responses.refused(
                400, "Invalid job ID format"
            )  # the 400 is documented, not its text
        job = self._jobs.get(request.path_params["jobid"])
        return None if job is None or self._is_expired(job) else job

    def _is_expired(self, job: Job) -> bool:
        return job.tracked and self.state.now() - job.made_at > KEPT_S

    def _get(self, request: Request, kind: str) -> Response:
        """GET videos/jobid and images/jobid; the 404's text is assumed."""
        job = self._find(request)
        if job is None or job.kind != kind:
            raise responses.refused(404, f"{kind.capitalize()} job not found")
        return responses.answer(record(request, job, self.state.now()))


def _accounts(request: Request) -> tuple[str, ...]:
    """The linked accounts: the first e-mail has one in each region."""
    emails = linked_emails(request)
    return tuple(f"CA:{email}" for email in emails) + tuple(f"US:{email}" for email in emails[:1])
