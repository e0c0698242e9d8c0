"""PixVerse v2: makes videos and images, and upscales them and the user's own.

Sources: useapi.net, POST pixverse/videos/create (12 May 2026) and create-frames (24 June 2026),
create-final (15 November 2026), images/create (9 March 2026), videos/upscale (6 December 2024),
images/upscale (10 October 2026) and the vendor's tool texts of both (October to November 2026),
files (6 December 2024), GET videos/video_id (22 September 2025), videos (8 July 2025), images,
images/image_id and scheduler (9 March 2026), features and scheduler/available (24 June 2026); the
vendor's own clients of June to September 2026 for status 8, for `output_width` 0 on a completed
record and for ids sent raw; its tool texts of October and November 2026 for `next_offset` and
`has_more`; its prices of 5 October 2026. What they leave open is marked *assumed*.
"""

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from urllib.parse import quote

from mcp_server.clock import epoch
from mcp_server.errors import (
    AccountError,
    NotFoundError,
    NotReadyError,
    RateLimitError,
    RefusedError,
    RequestError,
    UnsupportedError,
    UseapiError,
)
from mcp_server.models import (
    MOST_MEDIA,
    OPERATIONS,
    OUR_ID_PREFIX,
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
    is_anothers,
    is_file,
    moderated,
)
from mcp_server.upstream.client import Upstream
from mcp_server.upstream.fields import link, moment, number, obj, objs, text, texts, whole
from mcp_server.upstream.responses import Answer, ErrorRule, ServiceInfo

_PAGES: Mapping[Kind, int] = {"video": 40, "image": 50}  # the documented defaults of `limit`
_MOST_PAGES = 5
_SAME_CALL_S = 10.0  # within which the images of one call are begun, *assumed*
_404_MEANS_WORKING_S = 3600  # the documents give no limit; *assumed* to be generous

_ID = (
    r"(?!.*\.\.)user:[0-9]{1,20}-pixverse:(?P<email>[A-Za-z0-9._+=~!$&'*-]+@[A-Za-z0-9.-]+)"
    r"-%s:[0-9]{1,30}"
)
_VIDEO = re.compile(_ID % "video", re.ASCII)
_IMAGE = re.compile(_ID % "image", re.ASCII)
_ANY = re.compile(_ID % "[a-z]{2,20}", re.ASCII)

_LONGEST_OF_4K = 3840  # px; *assumed*: "under 4K" is not given in pixels
_COMPLETED, _MODERATED, _FAILED = 1, 7, 8
_LINKS: Mapping[Kind, str] = {"video": "url", "image": "image_url"}
_OPERATIONS: Mapping[tuple[Kind, bool], OperationName] = {  # by kind, and whether it is an upscale
    ("video", False): "generate_video",
    ("video", True): "upscale_video",
    ("image", False): "generate_image",
    ("image", True): "upscale_image",
}

_MOST_BYTES = 5 * 1024**3  # "up to 5 GB" (POST files, 6 December 2024)
_IMAGES = ("image/jpeg", "image/png", "image/webp")
_UPSCALER = "pixverse-upscale"  # the documented default
_QUALITIES = {"1080p": "1080p", "2k": "1440p", "4k": "2160p", "4K": "2160p"}
# What each upscaler makes, the default first; so for videos, and for images.
_UPSCALERS: Mapping[Kind, Mapping[str, tuple[str, ...]]] = {
    "video": {
        "pixverse-upscale": ("4K",),
        "topaz-proteus": ("1080p", "4K"),
        "topaz-starlight-fast": ("1080p", "4K"),
        "topaz-starlight-precise": ("1080p", "4K"),
    },
    "image": {"pixverse-upscale": ("4k",), "topaz-gigapixel": ("1080p", "2k", "4k")},
}
# What an answer to `quote` may call the price. Its body is not documented: *assumed* that it is a
# number with a word for it in its name.
_PRICE = re.compile(r"(?i)cost|price|quote|total")
_CREDITS = re.compile(r"(?i)credit")
_DIGITS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?")  # a price as text is one all the same
_NO_PRICE = re.compile(r"(?i)remain|left|balance|daily|monthly|package|second|per_|available")

_COMMON = {
    "reply_url": Option("replyUrl"),
    "reply_ref": Option("replyRef"),
    "max_jobs": Option("maxJobs", low=1, high=8),
}
_ACCOUNT = {"account": Option("email")}


def _model(kind: Kind) -> dict[str, Option]:
    models = tuple(_UPSCALERS[kind])
    option = Option("model", values=models, default=models[0], shapes_result=True, sent="changed")
    return {"model": option}


def _quality(kind: Kind) -> dict[str, Option]:
    """Of all upscalers together; which of them makes what is checked apart."""
    made = tuple(dict.fromkeys(each for every in _UPSCALERS[kind].values() for each in every))
    option = Option(
        "quality",
        values=tuple(sorted(made)),
        default=_UPSCALERS[kind][_UPSCALER][0],
        shapes_result=True,
        written=lambda resolution: _QUALITIES[resolution],
        sent="changed",
    )
    return {"resolution": option}


_ERROR_RULES = (
    ErrorRule(
        status=429,
        text=None,
        error=RateLimitError,
        message="its queue is full, nothing was taken.",
        hint="Wait 10 to 30 seconds, then call again with the same arguments.",
        cooldown_s=30,
    ),
    ErrorRule(
        status=596,
        text=None,
        error=AccountError,
        message="the PixVerse account has a pending error.",
        hint="Solve it on PixVerse, then update the account on useapi.net; before, it is no use.",
    ),
)


_GENERATION = {"variation": VARIATION, **_ACCOUNT, **_COMMON}
_LONGEST_TEXT = 5_000  # characters of a video's prompt; *assumed* of an image's
_VIDEO_MODEL, _IMAGE_MODEL = "v6", "qwen-image"  # the documented defaults
_DRAFT = "seedance-2.5-draft"
_ON_DRAFTS = "A draft is finished within 14 days, by upscale_video with a resolution, 1080p or 4K."
_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")
# How our words for a resolution are written. The others are written alike.
_VIDEO_QUALITIES = {"4K": "2160p"}
_IMAGE_QUALITIES = {"2k": "1440p", "4k": "2160p"}
# Credits a second, 5 October 2026; those of v6 and v5 were not seen.
_RATES: Mapping[str, Mapping[str, float]] = {
    "seedance-2.0": {"480p": 20, "720p": 45, "1080p": 90, "4K": 200},
    "seedance-2.5": {"480p": 35, "720p": 75, "1080p": 170},
}
# Credits for an image by quality, 9 March 2026.
_IMAGE_PRICES: Mapping[str, Mapping[str, float]] = {
    "qwen-image": {"720p": 5, "1080p": 10},
    "nano-banana": {"1080p": 15},
    "nano-banana-2": {"512p": 16, "1080p": 25, "2k": 40, "4k": 60},
    "nano-banana-pro": {"1080p": 50, "2k": 50, "4k": 90},
    "seedream-4.0": {"1080p": 10, "2k": 10, "4k": 10},
    "seedream-4.5": {"2k": 10, "4k": 10},
    "seedream-5.0-lite": {"2k": 15, "1800p": 15, "4k": 15},
}


def _video_quality(arguments: Mapping[str, Any]) -> Default:
    """What the native models make by default; of others it is not documented."""
    model = str(arguments.get("model"))
    if model == _VIDEO_MODEL:
        return "720p"
    return "540p" if model.startswith("v5") else None


def _video_ratio(arguments: Mapping[str, Any]) -> Default:
    """Not taken beside a first frame. *Assumed*: else it is required, as in the vendor's client."""
    return None if arguments.get("start_image") else "16:9"


def _price_of_a_video(arguments: Mapping[str, Any]) -> float | None:
    rate = _RATES.get(str(arguments["model"]), {}).get(str(arguments["resolution"]))
    return None if rate is None else rate * float(arguments["duration_seconds"])


def _price_of_images(arguments: Mapping[str, Any]) -> float | None:
    """What they cost at most: which quality a model makes by default is not documented."""
    prices = _IMAGE_PRICES.get(str(arguments["model"]), {})
    quality = arguments["resolution"]
    each = max(prices.values(), default=None) if quality is None else prices.get(str(quality))
    return None if each is None else each * float(arguments["count"])


# POST videos/create-final (15 November 2026); what it costs was not seen.
_FINAL = Endpoint(
    path="/v2/pixverse/videos/create-final",
    source_field="video_id",
    source_pattern=_VIDEO,
    source_is="the video_id of a draft (user:…-pixverse:…-video:…)",
    options={
        "resolution": Option(
            "quality",
            values=("1080p", "4K"),
            default="1080p",
            shapes_result=True,
            written=lambda quality: _VIDEO_QUALITIES.get(quality, quality),
        ),
        "of": OF_DRAFT,
        **_COMMON,
    },
)


class PixVerse(Service):
    """The id of a video or an image is its job's id. Several images of one call have ours."""

    vendor = ServiceInfo("pixverse", "PixVerse", _ERROR_RULES)
    id_forms = ("user:<number>-pixverse:<e-mail>-video:<number> (or -image:)",)
    where_ids_are = "A PixVerse source is the video_id or image_id that it gave what it made."
    abilities = (
        "PixVerse makes videos and images, and upscales a video or an image to 4K, the user's own"
        " file too; with a topaz-* model also to 1080p, and images to 2k."
    )
    needs_account = True
    media_hosts = ("https://media.pixverse.ai",)
    media_lists = (frozenset[Kind]({"video"}), frozenset[Kind]({"image"}))
    endpoints: ClassVar[Mapping[OperationName, Endpoint]] = {
        "upscale_video": Endpoint(
            path="/v2/pixverse/videos/upscale",
            source_field="video_id",
            source_pattern=_VIDEO,
            source_is="the video_id of a video (user:…-pixverse:…-video:…)",
            options={**_quality("video"), **_model("video"), **_COMMON},
            file_field="video_path",
            file_options=_ACCOUNT,
            quotes="quote",
        ),
        "upscale_image": Endpoint(
            path="/v2/pixverse/images/upscale",
            source_field="image_id",
            source_pattern=_IMAGE,
            source_is="the image_id of an image (user:…-pixverse:…-image:…)",
            options={**_quality("image"), **_model("image"), **_COMMON},
            file_field="image_path",
            file_options=_ACCOUNT,
            quotes="quote",
        ),
        "generate_video": Endpoint(
            path="/v2/pixverse/videos/create",
            source_field="prompt",
            source_pattern=FROM_PROMPT,
            source_is="a prompt",
            longest_prompt=_LONGEST_TEXT,
            # What a model takes changes monthly, so it is for PixVerse to judge.
            options={
                "model": Option("model", longest=80, default=_VIDEO_MODEL, shapes_result=True),
                "duration_seconds": Option(
                    "duration", low=1, high=60, default=5, shapes_result=True
                ),
                "resolution": Option(
                    "quality",
                    values=("360p", "480p", "540p", "720p", "768p", "1080p", "1440p", "4K"),
                    default=_video_quality,
                    shapes_result=True,
                    written=lambda quality: _VIDEO_QUALITIES.get(quality, quality),
                ),
                "start_image": Option("first_frame_path", shapes_result=True),
                "end_image": Option("last_frame_path", shapes_result=True),
                "aspect_ratio": Option(
                    "aspect_ratio",
                    values=_RATIOS,
                    default=_video_ratio,
                    shapes_result=True,
                    sent="always",
                ),
                **_GENERATION,
            },
            price=_price_of_a_video,
        ),
        "generate_image": Endpoint(
            path="/v2/pixverse/images/create",
            source_field="prompt",
            source_pattern=FROM_PROMPT,
            source_is="a prompt",
            longest_prompt=_LONGEST_TEXT,
            options={
                "model": Option("model", longest=80, default=_IMAGE_MODEL, shapes_result=True),
                "resolution": Option(
                    "quality",
                    values=("512p", "720p", "1080p", "2k", "1800p", "4k"),
                    shapes_result=True,
                    written=lambda quality: _IMAGE_QUALITIES.get(quality, quality),
                ),
                "aspect_ratio": Option("aspect_ratio", values=_RATIOS, shapes_result=True),
                "count": Option("create_count", low=1, high=4, default=1, shapes_result=True),
                "reference_image": Option("image_path_1", shapes_result=True),
                **_GENERATION,
            },
            price=_price_of_images,
        ),
    }
    file_rules: ClassVar[Mapping[OperationName, FileRule]] = {
        # "MP4/MOV, under 4K, up to 3 min" (the vendor's tool text, November 2026).
        "upscale_video": FileRule(
            ("video/mp4", "video/quicktime"), _MOST_BYTES, _LONGEST_OF_4K, longest_s=180
        ),
        # "JPG/PNG/WebP under 4K" (POST images/upscale, 10 October 2026).
        "upscale_image": FileRule(_IMAGES, _MOST_BYTES, _LONGEST_OF_4K),
        "generate_video": FileRule(_IMAGES, _MOST_BYTES),
        "generate_image": FileRule(_IMAGES, _MOST_BYTES),
    }
    forgets_files = ("not found", "not exist", "no longer", "expired", "deleted", "invalid path")

    def owns(self, some_id: str) -> bool:
        return full_match(_ANY, some_id) is not None

    def is_job(self, some_id: str) -> bool:
        return _kind_of(some_id) is not None

    def has_parts(self, job: Job) -> bool:
        return job.job_id.startswith(OUR_ID_PREFIX) and bool(_parts(job))

    def whole_form(self, part: str) -> str | None:
        if not re.fullmatch(r"[0-9]{4,30}", part.strip(), re.ASCII):
            return None
        return f"user:<number>-pixverse:<e-mail>-video:{part.strip()}"

    def what_it_is(self, some_id: str) -> str | None:
        kind = _kind_of(some_id)
        return kind and f"this is {'an image' if kind == 'image' else 'a video'}"

    def instead(self, operation: OperationName, some_id: str) -> str | None:
        kind = _kind_of(some_id)
        return kind and f"Call upscale_{kind} for it."

    def prepared(
        self, operation: OperationName, endpoint: Endpoint, given: Mapping[str, Any]
    ) -> tuple[Endpoint, Mapping[str, Any]]:
        if endpoint.quotes is not None:
            self._check_upscaler(OPERATIONS[operation].kind, given)
        self._check_end_image(given)
        self._check_ratio(given)
        if operation == "generate_video" and "end_image" in given:
            endpoint = replace(endpoint, path="/v2/pixverse/videos/create-frames")
        return endpoint, given

    def endpoint_for(self, operation: OperationName, given: Mapping[str, Any]) -> Endpoint | None:
        is_final = operation == "upscale_video" and "of" in given
        return _FINAL if is_final else super().endpoint_for(operation, given)

    async def told_by_source(
        self,
        upstream: Upstream,
        operation: OperationName,
        source: str,
        given: Mapping[str, Any],
        known: Job | None,
    ) -> Mapping[str, Any]:
        """A draft with a resolution is finished; without one it is upscaled as it is."""
        is_asked = operation == "upscale_video" and "resolution" in given and "model" not in given
        if not is_asked or not full_match(_VIDEO, source):
            return {}
        if known is not None and known.model not in (None, _DRAFT):
            return {}
        try:
            answer = await upstream.get(self.vendor, f"/v2/pixverse/videos/{source}")
        except NotFoundError:  # it may still be made, and PixVerse knows best
            return {}
        record = obj(answer.data)
        draft = obj(record.get("seedance_draft"))
        if draft and _status(record, "video") == "running":
            raise NotReadyError(
                message="This draft is not finished yet, so nothing was sent.",
                hint="Wait for it with get_job(job_id=source, wait_seconds=50), then call again.",
                service=self.name,
                job_id=source,
            )
        return {"of": "draft"} if draft.get("can_create_final") is True else {}

    def further(self, job: Job) -> str | None:
        return FINISH_DRAFT if job.model == _DRAFT else super().further(job)

    def warning(self, order: Order) -> str:
        is_draft = order.result_arguments.get("model") == _DRAFT
        return _ON_DRAFTS if order.operation == "generate_video" and is_draft else ""

    def _check_upscaler(self, kind: Kind, given: Mapping[str, Any]) -> None:
        """Refuse a resolution that an upscaler does not make."""
        upscalers = _UPSCALERS[kind]
        model = str(given.get("model", _UPSCALER))
        resolution = given.get("resolution", upscalers[_UPSCALER][0])
        if resolution not in upscalers[model]:
            able = " or ".join(name for name, made in upscalers.items() if resolution in made)
            raise UnsupportedError(
                message=f"{model} on PixVerse makes {' or '.join(upscalers[model])} and no"
                f" {resolution}, so nothing was sent.",
                hint=f"Give model={able} for {resolution}.",
                service=self.name,
            )

    def upload_path(self, account: str) -> str:
        return f"/v2/pixverse/files?email={quote(account, safe='')}"

    def ref_of(self, answer: Answer) -> str:
        """An image's answer has another shape than a video's (POST files, 6 December 2024)."""
        for record in (*objs(obj(answer.data).get("result")), obj(answer.data)):
            path = record.get("path")
            if isinstance(path, str) and path:
                return path
            if said := text(record.get("err_msg")):
                raise RefusedError(
                    message=f"PixVerse did not take the file: “{quoted(said)}”.",
                    hint="Give another file.",
                    vendor_text=said,
                    service=self.name,
                )
        raise self.unexpected("path of the file")

    def price_in(self, answer: Answer) -> float | None:
        found: dict[str, float] = {}
        for record in (obj(answer.data), *objs(list(obj(answer.data).values()))):
            for name, value in record.items():
                is_digits = isinstance(value, str) and _DIGITS.fullmatch(value)
                price = float(value) if is_digits else number(value)
                if price is not None and price >= 0 and not _NO_PRICE.search(name):
                    found[name] = max(price, found.get(name, 0.0))
        for words in (_PRICE, _CREDITS):
            if prices := [price for name, price in found.items() if words.search(name)]:
                return max(prices)  # of several the one that can't be too low
        return None

    def accepted(self, order: Order, answer: Answer, our_id: str) -> Job:
        record = obj(answer.data)
        kind = OPERATIONS[order.operation].kind
        ids = [i for i in _ids_in(record, kind) if _can_be_of(order, i, kind)]
        if not ids:
            raise self.unexpected(f"{kind} id")
        return Job(
            job_id=ids[0] if len(ids) == 1 else our_id,
            service="pixverse",
            operation=order.operation,
            status="running",
            media=_unread(ids) if len(ids) > 1 else None,
            # Seen on POST videos/create; whether other answers have it too is not documented.
            forecast_credits=number(record.get("cost_credits")),
        )

    async def read(self, upstream: Upstream, job_id: str, *, age_s: float | None) -> Job:
        kind = _kind_of(job_id)
        if kind is None:
            raise RequestError(
                message="This is not the id of a video or an image on PixVerse.",
                hint="Give a video_id or an image_id.",
                service=self.name,
            )
        try:
            answer = await upstream.get(self.vendor, f"/v2/pixverse/{kind}s/{job_id}")
        except NotFoundError:
            # "404: the video is still processing", but a wrong id is answered the same.
            if age_s is not None and age_s <= _404_MEANS_WORKING_S:
                operation = _OPERATIONS[kind, True]
                return Job(job_id=job_id, service="pixverse", operation=operation, status="running")
            record = await self._listed(upstream, job_id, kind)
            if record is None:
                raise
            return _job(job_id, record, kind)
        if not _is_record(answer.data, kind):
            raise self.unexpected(kind)
        return _job(job_id, answer.data, kind)

    async def read_parts(self, upstream: Upstream, job: Job, *, age_s: float | None) -> Job:
        """A job of several images: completed when each has ended and one is there."""
        known = {item.media_id: item for item in job.media or ()}
        read: list[Job] = []
        media: list[Media] = []
        gone: NotFoundError | None = None
        for some_id in _parts(job):
            try:
                read.append(await self.read(upstream, some_id, age_s=age_s))
            except NotFoundError as error:
                gone = error
                media += [known[some_id]] if known[some_id].url else []  # it may be on disk
            else:
                media += read[-1].media or ()
        if gone is not None and not read:
            raise gone
        if any(not part.ended for part in read):
            return job.evolve(status="running", media=_unread(_parts(job)))
        failures = [part.failure for part in read if part.failure is not None]
        reasons = sorted(failures, key=lambda failure: failure.code != "moderated")
        return job.evolve(
            status="completed" if media else "failed",
            model=next((part.model for part in read if part.model), job.model),
            media=tuple(media) or None,
            failure=None if media else reasons[0],
        )

    async def find(
        self, upstream: Upstream, order: Order, *, since: float | None, our_id: str | None = None
    ) -> Look:
        kind = OPERATIONS[order.operation].kind
        tracked = await self._tracked(upstream) if our_id is not None else ()
        own = [each for each in tracked if each.reference == our_id and _kind_of(each.id) == kind]
        others = frozenset(each.id for each in tracked if is_anothers(each.reference, our_id))
        strangers = frozenset(each.id for each in tracked if each.reference) - others
        if our_id is not None and own:
            jobs = [_tracked_job(order, each) for each in own]
            if len(jobs) < self.jobs_of(order):  # the scheduler forgets what has ended
                with contextlib.suppress(UseapiError):
                    look = await self._look_everywhere(upstream, order, kind, since)
                    jobs += [
                        job
                        for job in look.jobs
                        if job.job_id not in others | strangers and _is_near(job, jobs[0])
                    ]
            return Look((), is_complete=True, ours=self.together(order, jobs, our_id))
        look = await self._look_everywhere(upstream, order, kind, since)
        return replace(look, others=others, strangers=strangers)

    def jobs_of(self, order: Order) -> int:
        return int(order.result_arguments.get("count") or 1)

    def together(self, order: Order, jobs: Sequence[Job], our_id: str) -> Job:
        first = super().together(order, jobs, our_id)
        near = [job for job in jobs if _is_near(job, first)]
        near.sort(key=lambda job: job.created_at or "")
        ids = list(dict.fromkeys(job.job_id for job in near))[: self.jobs_of(order)]
        if len(ids) == 1:
            return first
        return first.evolve(job_id=our_id, status="running", media=_unread(ids))

    async def _look_everywhere(
        self, upstream: Upstream, order: Order, kind: Kind, since: float | None
    ) -> Look:
        """What the lists of all accounts show that an order's job can be of."""
        looks = [
            await self._look(upstream, order, kind, email, since)
            for email in await self._emails(upstream, order)
        ]
        horizons = [look.horizon for look in looks if look.horizon is not None]
        clocks = [look.clock_ahead_s for look in looks if look.clock_ahead_s is not None]
        return Look(
            tuple(job for look in looks for job in look.jobs),
            is_complete=bool(looks) and all(look.is_complete for look in looks),
            horizon=max(horizons, default=None),
            clock_ahead_s=clocks[0] if clocks else None,
        )

    async def _look(
        self, upstream: Upstream, order: Order, kind: Kind, email: str, since: float | None
    ) -> Look:
        """What the list of one account shows for an order."""
        jobs, is_complete, horizon, clock_ahead_s, offset = [], True, None, None, 0
        for page in range(_MOST_PAGES):
            answer = await self._page(upstream, kind, email, offset)
            records = answer.data["data"]
            clock_ahead_s = answer.clock_ahead_s if page == 0 else clock_ahead_s
            for record in records:
                job_id = obj(record).get(f"{kind}_id")
                if not isinstance(job_id, str) or not self.owns(job_id):
                    is_complete = False  # all fields are optional, so it may be the one
                    continue
                same = _same(order, record, kind)
                is_complete = is_complete and same is not None
                if same:
                    jobs.append(_job(job_id, record, kind).evolve(operation=order.operation))
            times = [epoch(str(obj(record).get("created_at"))) for record in records]
            known = [made for made in times if made is not None]
            further = _further(answer.data, kind, offset)
            horizon = min(known) if known and further is not None else None
            if further is None or since is None or (horizon is not None and horizon < since):
                return Look(tuple(jobs), is_complete, horizon, clock_ahead_s)
            offset = further
        return Look(tuple(jobs), is_complete=False, clock_ahead_s=clock_ahead_s)

    async def _emails(self, upstream: Upstream, order: Order) -> tuple[str, ...]:
        """The accounts that an order's job can be of: of one without a source, all linked ones."""
        email = _email_of(order.source) or str(order.body.get("email") or "")
        if email:
            return (email,)
        return tuple(account.login for account in await self.accounts(upstream))

    async def _tracked(self, upstream: Upstream) -> tuple["_Tracked", ...]:
        """What the scheduler follows. It omits what others started, so absence proves nothing."""
        try:
            answer = await upstream.get(self.vendor, "/v2/pixverse/scheduler")
        except UseapiError:
            return ()
        rows = objs(answer.data) or objs(obj(answer.data).get("executing"))
        return tuple(
            _Tracked(some_id, text(row.get("replyRef"), 1024) or "", moment(row.get("started")))
            for row in rows
            # Before 9 March 2026 it was `video_id`.
            if isinstance(some_id := row.get("id", row.get("video_id")), str)
        )

    async def accounts(self, upstream: Upstream) -> tuple[Account, ...]:
        # `error` is documented for the platform's accounts, not on this page: *assumed* to be here.
        answer = await upstream.get(self.vendor, "/v2/pixverse/accounts")
        return linked(self.vendor, answer.data, lambda record: record.get("error"))

    def owner_of(self, some_id: object) -> str:
        return _email_of(some_id) if isinstance(some_id, str) else ""

    async def slots(self, upstream: Upstream) -> Mapping[str, int]:
        """GET scheduler/available: `maxJobs`, the jobs that an account runs at once."""
        answer = await upstream.get(self.vendor, "/v2/pixverse/scheduler/available")
        told = {
            str(each.get("email")): whole(each.get("maxJobs"))
            for each in objs(obj(answer.data).get("available"))
        }
        return {email: number for email, number in told.items() if number}

    async def media(
        self, upstream: Upstream, account: Account, kinds: frozenset[Kind], offset: str
    ) -> MediaPage:
        folder = "videos" if "video" in kinds else "images"
        at = f"&offset={quote(offset, safe='')}" if offset else ""
        path = f"/v2/pixverse/{folder}?email={quote(account.login, safe='')}{at}"
        data = obj((await upstream.get(self.vendor, path)).data)
        if not isinstance(data.get("data"), list):
            raise self.unexpected(f"list of {folder}")
        rows = tuple(self._found(record) for record in objs(data["data"]))
        further = whole(data.get("next_offset"))
        return MediaPage(rows, str(further) if further and rows else None)

    async def balance(self, upstream: Upstream, account: Account) -> Balance:
        email = quote(account.login, safe="")
        path = f"/v2/pixverse/features?email={email}"
        plan = obj((await upstream.get(self.vendor, path)).data)
        # *Assumed*: what can be spent is the sum of these three.
        parts = [number(plan.get(f"credit_{part}")) for part in ("daily", "monthly", "package")]
        known = [part for part in parts if part is not None]
        answer = await upstream.get(self.vendor, "/v2/pixverse/scheduler/available")
        free = [
            whole(each.get("available"))
            for each in objs(obj(answer.data).get("available"))
            if str(each.get("email")).lower() == account.login.lower()
        ]
        return Balance(
            sum(known) if known else None,
            text(plan.get("plan_name"), 60),
            free[0] if free else None,
            tuple(texts(plan.get("unlimited_image_models")) + texts(plan.get("veo_sora_models"))),
        )

    async def _listed(self, upstream: Upstream, job_id: str, kind: Kind) -> dict[str, Any] | None:
        """The record of a job in the account's list; None if neither knows it."""
        try:
            answer = await self._page(upstream, kind, _email_of(job_id), 0)
        except (NotFoundError, RefusedError):  # not even the account is known
            return None
        records = objs(answer.data["data"])
        return next((each for each in records if each.get(f"{kind}_id") == job_id), None)

    async def _page(self, upstream: Upstream, kind: Kind, email: str, offset: int) -> Answer:
        """A page of an account's videos or images, newest first: GET videos, GET images.

        Where the next one begins is for the answer to tell (`next_offset`). One of before that
        time says nothing: *assumed* that `offset` counts then, which is contradicted in the
        documents.
        """
        further = f"&offset={offset}" if offset else ""
        path = f"/v2/pixverse/{kind}s?email={quote(email, safe='')}{further}"
        answer = await upstream.get(self.vendor, path)
        if not isinstance(obj(answer.data).get("data"), list):
            raise self.unexpected(f"list of {kind}s")
        return answer

    def _found(self, record: Mapping[str, Any]) -> Listed:
        """A record of GET videos or GET images, whose fields are all optional."""
        kind: Kind = "video" if "video_id" in record else "image"
        some_id = record.get(f"{kind}_id")
        if not isinstance(some_id, str) or not self.owns(some_id):
            return Listed(None)
        if _status(record, kind) != "completed":
            return Listed(None)
        seconds = number(record.get("video_duration")) or number(record.get("duration"))
        width, height = whole(record.get("output_width")), whole(record.get("output_height"))
        media = FoundMedia(
            source=some_id,
            service="pixverse",
            kind=kind,
            created_at=moment(record.get("created_at")),
            prompt=text(record.get("prompt"), LONGEST_PROMPT),
            model=text(record.get("model"), 60),
            width=width,
            height=height,
            duration_ms=whole(seconds * 1000) if seconds and kind == "video" else None,
            url=link(record.get(_LINKS[kind])),
            thumbnail_url=link(record.get("first_frame")),
        )
        is_4k = max(width or 0, height or 0) >= _LONGEST_OF_4K  # "under 4K" is what is upscaled
        return Listed(media, (some_id,), is_end=is_4k or bool(record.get("upscaled")))


@dataclass(frozen=True)
class _Tracked:
    """A job that the scheduler follows, and the reference that it was ordered with."""

    id: str
    reference: str
    started: str | None


def _tracked_job(order: Order, tracked: _Tracked) -> Job:
    return Job(
        job_id=tracked.id,
        service="pixverse",
        operation=order.operation,
        status="running",
        created_at=tracked.started,
    )


def _is_near(job: Job, other: Job) -> bool:
    """Whether two jobs may have begun in the same call; one without a time may."""
    made, then = epoch(job.created_at or ""), epoch(other.created_at or "")
    return made is None or then is None or abs(made - then) <= _SAME_CALL_S


def _unread(image_ids: Iterable[str]) -> tuple[Media, ...]:
    return tuple(Media(kind="image", media_id=image_id) for image_id in image_ids)


def _parts(job: Job) -> tuple[str, ...]:
    """The images that a job under an id of ours is made of."""
    ids = (item.media_id for item in job.media or ())
    return tuple(i for i in ids if i is not None and full_match(_IMAGE, i))


def _ids_in(record: Mapping[str, Any], kind: Kind) -> list[str]:
    """The ids in a good answer: one, or of images a list."""
    several = record.get("success_ids")
    if kind == "image" and isinstance(several, list) and several:
        return [each for each in several if isinstance(each, str)][:MOST_MEDIA]
    some_id = record.get(f"{kind}_id")
    return [some_id] if isinstance(some_id, str) else []


def _can_be_of(order: Order, job_id: str, kind: Kind) -> bool:
    """Whether a new job's id can be this order's: of its kind and account, and not its source."""
    if _kind_of(job_id) != kind or job_id == order.source:
        return False
    if full_match(_ANY, order.source):
        return _account_of(job_id) == _account_of(order.source)
    email = order.body.get("email")
    return email is None or _email_of(job_id).lower() == str(email).lower()


def _kind_of(some_id: str) -> Kind | None:
    """What an id of a job names; None: neither a video nor an image."""
    if full_match(_VIDEO, some_id):
        return "video"
    return "image" if full_match(_IMAGE, some_id) else None


def _email_of(some_id: str) -> str:
    found = full_match(_ANY, some_id)
    return found["email"] if found else ""


def _further(data: Mapping[str, Any], kind: Kind, offset: int) -> int | None:
    """Where the next page of a list begins; None where this one is the last."""
    told, count = whole(data.get("next_offset")), len(data["data"])
    if data.get("has_more") is False or not count:
        return None
    if told is not None:  # one that leads back would never end
        return told if told > offset else None
    return offset + _PAGES[kind] if count >= _PAGES[kind] else None


def _job(job_id: str, record: Mapping[str, Any], kind: Kind) -> Job:
    """A record of GET videos/video_id or images/image_id as a job.

    *Assumed* of images: an upscale says so as a video does, and names its source likewise.
    """
    source = record.get(f"original_{kind}_id")
    status = _status(record, kind)
    failure = None
    if status == "failed":
        failure = Failure(code="vendor_failed", message="PixVerse failed.")
        said = (record.get(f"{kind}_status"), record.get(f"{kind}_status_name"))
        if _MODERATED in said or "MODERATED" in said:
            failure = moderated("PixVerse")
    return Job(
        job_id=job_id,
        service="pixverse",
        operation=_OPERATIONS[kind, bool(record.get("upscaled"))],
        status=status,
        source=source if isinstance(source, str) and full_match(_ANY, source) else None,
        model=text(record.get("model")),
        media=(_medium(job_id, record, kind),) if status == "completed" else None,
        failure=failure,
        created_at=moment(record.get("created_at")),
    )


def _medium(some_id: str, record: Mapping[str, Any], kind: Kind) -> Media:
    """What a finished record shows; an image's type is told by its bytes alone."""
    return Media(
        kind=kind,
        url=link(record.get(_LINKS[kind])),
        mime_type="video/mp4" if kind == "video" else None,
        width=whole(record.get("output_width")),
        height=whole(record.get("output_height")),
        thumbnail_url=link(record.get("first_frame")),
        media_id=some_id,
    )


def _same(order: Order, record: Mapping[str, Any], kind: Kind) -> bool | None:
    """Whether a record does what was ordered; None if it does not tell."""
    if order.endpoint.longest_prompt is not None:
        return _is_same_wish(order, record)
    if "of" in order.result_arguments:
        return _is_finished_draft(order, record)
    if is_file(order.source):  # *assumed*: it names no source, and nothing tells of which file
        return False if _is_no_upscale(record) else None
    source = f"original_{kind}_id"
    if record.get(source) != order.source:
        return False if source in record else None
    return not _is_no_upscale(record)


def _is_finished_draft(order: Order, record: Mapping[str, Any]) -> bool | None:
    """Whether a record is of this draft, finished. *Assumed*: it names it as an upscale does."""
    if "original_video_id" not in record or "quality" not in record:
        return None
    quality = order.endpoint.options["resolution"].written(order.result_arguments["resolution"])
    is_of_it = record["original_video_id"] == order.source and not record.get("upscaled")
    return bool(is_of_it and record["quality"] == quality)


def _is_same_wish(order: Order, record: Mapping[str, Any]) -> bool | None:
    """Whether a record is of what was made from this prompt; None if it does not tell.

    "All fields are optional", and a video names its first frame in no documented way.
    """
    prompt = record.get("prompt")
    if record.get("upscaled") or record.get("extended"):
        return False
    if not isinstance(prompt, str):
        return None
    if prompt.strip() != order.source.strip():
        return False
    is_told = order.result_arguments.get("start_image") is None
    for name in ("model", "resolution", "aspect_ratio", "duration_seconds"):
        option, wanted = order.endpoint.options.get(name), order.result_arguments.get(name)
        if option is None or wanted is None:
            continue
        echoed = record.get(option.field)
        if echoed and echoed != option.written(wanted):
            return False
        is_told = is_told and bool(echoed or wanted == option.default_for(order.result_arguments))
    if order.operation == "generate_image":
        goes_by = _goes_by_the_same(order, record)
        if goes_by is False:
            return False
        is_told = is_told and goes_by is not None
    return True if is_told else None


def _goes_by_the_same(order: Order, record: Mapping[str, Any]) -> bool | None:
    """Whether an image goes by the picture that was ordered, or by none as ordered."""
    paths = record.get("customer_img_paths")
    if order.result_arguments.get("reference_image") is None:
        return not paths
    sent = order.body.get("image_path_1")
    if not isinstance(paths, list) or not paths or is_file(sent):  # not known yet
        return None
    return sent in paths


def _account_of(some_id: str) -> str:
    return some_id.rsplit("-", 1)[0].lower()


def _is_record(data: Any, kind: Kind) -> bool:
    names = {f"{kind}_status", f"{kind}_status_name"}
    return isinstance(data, dict) and not names.isdisjoint(data)


def _is_no_upscale(record: Mapping[str, Any]) -> bool:
    """Whether a record is certainly no upscale; "all fields are optional" (GET videos/video_id)."""
    return not record.get("upscaled", True) or bool(record.get("extended"))


def _status(record: Mapping[str, Any], kind: Kind) -> Status:
    """Neither the link nor `video_status_final` alone proves anything: both come too early."""
    status, name = record.get(f"{kind}_status"), record.get(f"{kind}_status_name")
    if status in (_MODERATED, _FAILED) or name in ("MODERATED", "FAILED"):
        return "failed"
    finished = status == _COMPLETED or (status is None and name == "COMPLETED")
    url = record.get(_LINKS[kind])
    there = (number(record.get("output_width")) or 0) > 0 and link(url) is not None
    return "completed" if finished and there else "running"
