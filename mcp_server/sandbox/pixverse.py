"""The sandbox's PixVerse API v2: files, upscales, generations, lists, scheduler, accounts.

Sources, cited below by page and date: POST videos/upscale (6 December 2024), POST images/upscale
(10 October 2026) and the vendor's tool texts of both (October to November 2026), POST files (6
December 2024), POST videos/create (12 May 2026) and create-final (15 November 2026), POST
images/create, GET images and GET images/image_id (9 March 2026), GET videos (8 July 2025), GET
videos/video_id (22 September 2025), GET and DELETE scheduler (9 March 2026), GET
scheduler/available (24 June 2026), GET accounts and GET features (6 December 2024), and the
vendor's own client clips.mjs (21 September 2026).
"""

from dataclasses import dataclass
from math import ceil

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mcp_server.sandbox import media, pixverse_orders, responses, uploads
from mcp_server.sandbox.account import linked_accounts, linked_emails
from mcp_server.sandbox.pixverse_orders import DRAFT_MODEL, Order
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
    minutes_and_seconds,
    word_in,
)

SERVICE = "pixverse"
LINK_LIFE_S = 30 * 24 * 3600  # assumed: nothing is documented
MAX_JOBS = 8  # of the account; POST accounts/email, 6 December 2024: 1-8
FIRST_CREDITS = 15_000  # of an account: what the plan Premium holds (prices of 5 October 2026)
DRAFT_KEPT_S = 14 * 24 * 3600  # POST videos/create-final, 15 November 2026
MAX_FILE_BYTES = 5 * 1024**3  # POST files, 6 December 2024: "up to 5 GB"
MAX_SOURCE_S = 180  # the vendor's tool text of the upscale, November 2026: up to 3 minutes
# "Under 4K" (the same text); that no side may be as long as 4K's long one is assumed.
MAX_SOURCE_PX = 3840 - 1
# POST files, 6 December 2024: png, jpeg, gif, webp; mp4, mov, 3gp, mkv, flv, mpeg, ts, avi, mjpeg,
# webm, ogv; wav, mp3. Assumed: how a request names them.
FILE_TYPES = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/3gpp": "3gp",
    "video/x-matroska": "mkv",
    "video/x-flv": "flv",
    "video/mpeg": "mpeg",
    "video/mp2t": "ts",
    "video/x-msvideo": "avi",
    "video/x-motion-jpeg": "mjpeg",
    "video/webm": "webm",
    "video/ogg": "ogv",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
}


def video_id(number: int, email: str = EMAIL) -> str:
    return f"user:{USER}-pixverse:{email}-video:{number}"


def image_id(number: int, email: str = EMAIL) -> str:
    """The form of the vendor's tool text pixverse_get_image, October to November 2026."""
    return f"user:{USER}-pixverse:{email}-image:{number}"


def _email(some_id: str) -> str:
    return some_id.partition("-pixverse:")[2].rpartition("-")[0]


GOOD_VIDEO, SECOND_VIDEO, THIRD_VIDEO = video_id(66778801), video_id(66778802), video_id(66778803)
MODERATED_VIDEO, FAILING_VIDEO = video_id(66778807), video_id(66778808)
_ENDS = {MODERATED_VIDEO: 7, FAILING_VIDEO: 8}  # the video_status an upscale ends with
LOST_VIDEO = video_id(66778809)
ORDERING_VIDEO, SILENT_VIDEO = video_id(66778811), video_id(66778812)
GOOD_IMAGE, SECOND_IMAGE, LOST_IMAGE = (image_id(66779000 + n) for n in (801, 802, 809))
MODERATED_IMAGE = image_id(66779807)
_ENDS[MODERATED_IMAGE] = 7
EXAMPLE_VIDEO = "video_id"  # a placeholder in the page's examples; so is "…"
PLACEHOLDERS = {EXAMPLE_VIDEO: video_id(66778901), "…": video_id(66778902)}

_BUSY = "Account {} is busy executing {} tasks."
_ALL_BUSY = "All configured accounts are running at maximum capacity."
_NO_CREDITS = "All Credits have been used up. Please upgrade your membership or purchase credits."
# The page prints two texts in one body, which is no JSON; assumed: they are one text.
_PENDING = (
    "Your PixVerse account has pending error. Please address this issue at "
    "https://useapi.net/docs/api-pixverse-v2/post-pixverse-accounts-email before making any new "
    "API calls."
)
# All but 400's text: POST videos/upscale, 6 December 2024.
REFUSALS = {
    video_id(66778400): Refusal("400", 400, {"error": "This video cannot be upscaled"}),
    video_id(66778412): Refusal("412: out of credits", 412, {"error": _NO_CREDITS}),
    video_id(66778429): Refusal(
        "429: the account is full", 429, {"error": f"{_BUSY.format(EMAIL, 3)} {_ALL_BUSY}"}
    ),
    video_id(66778430): Refusal(
        "429: PixVerse's own limit",
        429,
        {"error": "Reached the limit for concurrent generations."},
    ),
    video_id(66778596): Refusal("596: the account has a pending error", 596, {"error": _PENDING}),
    image_id(66779412): Refusal("412: out of credits", 412, {"error": _NO_CREDITS}, kind="image"),
    image_id(66779429): Refusal(
        "429: the account is full",
        429,
        {"error": f"{_BUSY.format(EMAIL, 3)} {_ALL_BUSY}"},
        kind="image",
    ),
}
LOSING = frozenset({LOST_VIDEO, LOST_IMAGE})
_LOST = "accepted, but the first answer gets lost: the gateway's page comes instead"

# Statuses: pixverse.mjs (15 June 2026) knows 400, 412, 422 and 429; 402 and 596 are the platform's.
# Texts of 412, 429 and 596 as for upscales, 422's is assumed.
WORD_REFUSALS = {
    "no-subscription": Refusal(
        "402: no subscription",
        402,
        {"error": "Account has no subscription or subscription expired"},
    ),
    "no-credits": Refusal("412: out of credits", 412, {"error": _NO_CREDITS}),
    "moderated": Refusal(
        "422: the prompt is moderated, nothing is made",
        422,
        {"error": "Your prompt has been moderated. Please change it."},
    ),
    "busy": Refusal(
        "429: the account is full", 429, {"error": f"{_BUSY.format(EMAIL, 3)} {_ALL_BUSY}"}
    ),
    "busy-once": Refusal(
        "429 the first time this prompt comes, then accepted",
        429,
        {"error": "Reached the limit for concurrent generations."},
        times=1,
    ),
    "pending-error": Refusal("596: the account has a pending error", 596, {"error": _PENDING}),
}
WORD_ENDS = {"ends-moderated": 7, "fails": 8}


@dataclass
class _Made:
    """A video or an image: how it came about, and what it is when it is done."""

    id: str
    made_at: float
    done_at: float
    size: tuple[int, int] = (640, 360)
    seconds: int = media.CLIP_S  # of a video
    original: str | None = None  # of an upscale: the id of its source
    upscaled: bool = False
    ends: int = 1  # the status it ends with
    prompt: str = "A windmill and a balloon"
    model: str = "v6"
    quality: str = "360p"
    ratio: str = "16:9"
    paths: tuple[str, ...] = ()  # of the uploads it was made from
    reply_url: object = ""
    reply_ref: object = ""
    tracked: bool = False  # the scheduler follows it

    @property
    def kind(self) -> str:
        return "image" if "-image:" in self.id else "video"

    @property
    def email(self) -> str:
        return _email(self.id)


class PixVerse(Vendor):
    prefix = "/v2/pixverse"
    sources = (
        Source(GOOD_VIDEO, SERVICE, "a finished video, 640x360 at 24 fps", good=True),
        Source(SECOND_VIDEO, SERVICE, "another finished video"),
        Source(THIRD_VIDEO, SERVICE, "a third finished video"),
        Source(MODERATED_VIDEO, SERVICE, "accepted, then ends as MODERATED (7)"),
        Source(FAILING_VIDEO, SERVICE, "accepted, then ends as FAILED (8)"),
        Source(LOST_VIDEO, SERVICE, _LOST),
        Source(ORDERING_VIDEO, SERVICE, "`quote` is passed over: an order is made and paid"),
        Source(SILENT_VIDEO, SERVICE, "a `quote` for it is answered by the gateway's page"),
        Source(GOOD_IMAGE, SERVICE, "a finished image, 1280x720", good=True, kind="image"),
        Source(SECOND_IMAGE, SERVICE, "another finished image", kind="image"),
        Source(MODERATED_IMAGE, SERVICE, "accepted, then ends as MODERATED (7)", kind="image"),
        Source(LOST_IMAGE, SERVICE, _LOST, kind="image"),
        *(refusal.source(source_id, SERVICE) for source_id, refusal in REFUSALS.items()),
    )
    words = (
        *(refusal.word(word, SERVICE) for word, refusal in WORD_REFUSALS.items()),
        Word("ends-moderated", SERVICE, "accepted, then it or its upscale ends as MODERATED (7)"),
        Word("fails", SERVICE, "accepted, then it or its upscale ends as FAILED (8)"),
        Word("lost-answer", SERVICE, "accepted, but the first answer to this prompt gets lost"),
        # Whether it is kept without a replyUrl is not said.
        Word("forgets-ref", SERVICE, "the scheduler does not know its replyRef"),
        # Documented are the two fields, and no example of either in use.
        Word("rejected", SERVICE, "a picture has an `err_msg` and no `path`"),
    )

    def __init__(self, state: SandboxState) -> None:
        super().__init__(state)
        ids = [source.id for source in self.sources] + list(PLACEHOLDERS.values())
        ids += [some_id for some_id in state.conditions.sources if "-pixverse:" in some_id]
        made_at = state.now() - 3600
        self._made = {name: _made_before(name, made_at) for name in ids}
        self._uploads: dict[str, uploads.Upload] = {}
        self._credits: dict[str, int] = {}

    def routes(self) -> list[Route]:
        """Each path with and without a slash at its end: assumed that both are taken.

        The vendor's Postman collection (24 June 2026) writes some with it, its pages none.
        """
        at = self.prefix
        routes = [
            Route(f"{at}/videos/{{id}}", self.get_video, methods=["GET"]),
            Route(f"{at}/images/{{id}}", self.get_image, methods=["GET"]),
        ]
        for end in ("", "/"):
            routes += [
                Route(f"{at}/videos/upscale{end}", self.upscale_video, methods=["POST"]),
                Route(f"{at}/images/upscale{end}", self.upscale_image, methods=["POST"]),
                Route(f"{at}/videos/create{end}", self.create_video, methods=["POST"]),
                Route(f"{at}/videos/create-v4{end}", self.create_video, methods=["POST"]),
                Route(f"{at}/videos/create-frames{end}", self.create_frames, methods=["POST"]),
                Route(f"{at}/videos/create-final{end}", self.create_final, methods=["POST"]),
                Route(f"{at}/images/create{end}", self.create_images, methods=["POST"]),
                Route(f"{at}/files{end}", self.upload, methods=["POST"]),
                Route(f"{at}/videos{end}", self.list_videos, methods=["GET"]),
                Route(f"{at}/images{end}", self.list_images, methods=["GET"]),
                Route(f"{at}/scheduler{end}", self.get_scheduler, methods=["GET"]),
                Route(f"{at}/scheduler/available{end}", self.get_available, methods=["GET"]),
                Route(f"{at}/features{end}", self.get_features, methods=["GET"]),
                Route(f"{at}/accounts{end}", self.get_accounts, methods=["GET"]),
            ]
        return [*routes, Route(f"{at}/scheduler/{{id}}", self.stop_tracking, methods=["DELETE"])]

    async def upload(self, request: Request) -> Response:
        """POST files, 6 December 2024: the raw file; an image is answered in another shape.

        Assumed: the texts of the 400s, that too large a file is refused before it is read, what a
        path looks like, and that a file's link shows a sample of about its size, since no upload is
        kept. `code` beside `error` is documented.
        """
        if int(request.headers.get("content-length", "0")) > MAX_FILE_BYTES:
            raise responses.refused(400, "File is larger than 5 GB", with_code=True)
        file = await uploads.receive(request)
        self._listed_account(request)
        if file.mime_type not in FILE_TYPES:
            text = f"Content-Type ({file.mime_type}) not supported"
            raise responses.refused(400, text, with_code=True)
        if not file.size_bytes:
            raise responses.refused(400, "File is empty", with_code=True)
        asked = f"{SERVICE} {file.sha256}"
        self.state.refuse(file.word, WORD_REFUSALS, asked=asked)
        number = 66790000 + self.state.serial()
        path = f"upload/{number}.{FILE_TYPES[file.mime_type]}"
        self._uploads[path] = file
        if self.state.loses_the_answer(file.word, LOSING_WORDS, asked=asked):
            return responses.gateway_page(524)
        url = self._link(request, _sample(file.kind, file.height), path, self.state.now())
        if file.kind != "image":
            return responses.answer({"path": path, "url": url})
        rejected = file.word == "rejected"
        entry: responses.Json = {
            "id": number,
            "url": "" if rejected else url,
            "path": "" if rejected else path,
            "size": file.size_bytes,
            "name": path.rpartition("/")[2],
            "category": 0,
            "err_msg": "The image was rejected" if rejected else "",
        }
        return responses.answer({"result": [entry]})

    async def upscale_video(self, request: Request) -> Response:
        """POST videos/upscale, 6 December 2024. No once-only rule: each POST makes a new video.

        `video_path`, `model`, `quality` and `quote`: the vendor's tool text, November 2026.
        """
        return await self._upscale(request, "video")

    async def upscale_image(self, request: Request) -> Response:
        """POST images/upscale, 10 October 2026, and the vendor's tool text."""
        return await self._upscale(request, "image")

    async def _upscale(self, request: Request, kind: str) -> Response:
        """Assumed: the texts of the 400s, and that only what is finished can be upscaled.

        Assumed of `quote`: that it is refused as the order would be, but for what only that needs:
        credits and a free place.
        """
        body = await self._fields(request)
        source, file = self._source(body, kind)
        length = file.seconds if file else source.seconds if source else 0
        order = pixverse_orders.upscale_order(body, kind, max(1, ceil(length)))
        name = source.id if source else ""
        if body.get("quote") is True and name != ORDERING_VIDEO:
            if name == SILENT_VIDEO:
                return responses.gateway_page(524)
            if REFUSALS.get(name, _NONE).status not in (412, 429):
                self.state.refuse(name, REFUSALS)
            return responses.answer(dict(self.state.conditions.quote(order.credits)))
        self.state.refuse(name, REFUSALS)
        await self.state.conditions.work()
        email = source.email if source else self._paid_account(request, body)
        ends = WORD_ENDS.get(file.word, 1) if file else _ENDS.get(name, 1)
        made = self._make(order, kind, email, body, ends=ends)
        made.upscaled, made.original = True, name or None
        if source:  # GET videos/video_id, 6 December 2024: the source's `quality` stays
            made.quality, made.model, made.prompt = source.quality, source.model, source.prompt
        made.paths = (str(body[f"{kind}_path"]),) if file else ()
        self._accept(request, [made], order, body, name)
        if self.state.loses_the_answer(name, LOSING):
            return responses.gateway_page(524)
        return responses.answer({f"{kind}_id": made.id})

    async def create_video(self, request: Request) -> Response:
        """POST videos/create, 12 May 2026: from words, or from a first frame.

        Assumed: without an effect there is no last frame (Postman collection, 24 June 2026).
        """
        body = await self._fields(request)
        if "last_frame_path" in body:
            raise responses.refused(400, "Parameter last_frame_path is not supported")
        return await self._create_video(request, body, ("first_frame_path",))

    async def create_frames(self, request: Request) -> Response:
        """POST videos/create-frames (Postman collection, 24 June 2026): from a first to a last."""
        body, frames = await self._fields(request), ("first_frame_path", "last_frame_path")
        for name in frames:
            if not body.get(name):
                raise responses.refused(400, f"Parameter {name} is required")
        return await self._create_video(request, body, frames)

    async def _create_video(
        self, request: Request, body: responses.Json, frames: tuple[str, ...]
    ) -> Response:
        """The answer: clips.mjs, 21 September 2026, reads both its fields."""
        order = pixverse_orders.video_order(body, frames)
        made = await self._generate(request, body, order, "video")
        if not made:
            return responses.gateway_page(524)
        return responses.answer({"video_id": made[0].id, "cost_credits": order.credits})

    async def create_images(self, request: Request) -> Response:
        """POST images/create, 9 March 2026: `success_ids` of up to four."""
        body = await self._fields(request)
        made = await self._generate(request, body, pixverse_orders.image_order(body), "image")
        if not made:
            return responses.gateway_page(524)
        ids: list[object] = [image.id for image in made]
        return responses.answer({"success_ids": ids})

    async def _generate(
        self, request: Request, body: responses.Json, order: Order, kind: str
    ) -> list[_Made]:
        """What was made; nothing where the answer gets lost."""
        for path in order.paths:
            self._file(path, "image")
        word, asked = word_in(order.prompt), f"{SERVICE} {order.prompt}"
        self.state.refuse(word, WORD_REFUSALS, asked=asked)
        await self.state.conditions.work()
        email = self._paid_account(request, body)
        made = [
            self._make(order, kind, email, body, ends=WORD_ENDS.get(word, 1))
            for _ in range(order.count)
        ]
        if word == "forgets-ref":
            for each in made:
                each.reply_ref = ""
        self._accept(request, made, order, body, "")
        lost = self.state.loses_the_answer(word, LOSING_WORDS, asked=asked)
        return [] if lost else made

    async def create_final(self, request: Request) -> Response:
        """POST videos/create-final, 15 November 2026: finishes a draft, more than once.

        Assumed: the texts of the 400s, and the answer, which is as that of videos/create.
        """
        body = await self._fields(request)
        source, _ = self._source(body, "video")
        now = self.state.now()
        if source is None or source.model != DRAFT_MODEL:
            raise responses.refused(400, "Video is not a draft")
        if now > source.done_at + DRAFT_KEPT_S:
            raise responses.refused(400, "Draft has expired")
        order = pixverse_orders.final_order(body, source.seconds)
        await self.state.conditions.work()
        made = self._make(order, "video", source.email, body)
        made.original, made.prompt, made.ratio = source.id, source.prompt, source.ratio
        self._accept(request, [made], order, body, source.id)
        return responses.answer({"video_id": made.id, "cost_credits": order.credits})

    async def get_video(self, request: Request) -> Response:
        """GET videos/video_id, 22 September 2025: 404 while it is processed; the id goes in raw.

        It takes the id of an image too. Assumed: the 404 is answered in the first quarter of the
        job only, so that the states seen by clips.mjs (21 September 2026) come after it; its text
        (the image page's, 9 March 2026).
        """
        made = self._named(request)
        if made is None or (made.kind == "video" and self._done(made) < 0.25):
            raise responses.refused(404, "The original video has been deleted")
        return responses.answer(self._record(request, made))

    async def get_image(self, request: Request) -> Response:
        """GET images/image_id, 9 March 2026: an image that is still processed is shown as it is."""
        made = self._named(request)
        if made is None or made.kind != "image":
            raise responses.refused(404, "The original image has been deleted")
        return responses.answer(self._record(request, made))

    async def list_videos(self, request: Request) -> Response:
        """GET videos, 8 July 2025: with those still in the queue; `limit` is 40 when not given.

        `next_offset`: the vendor's tool text, November 2026. Assumed: it is left out on the last
        page.
        """
        videos, next_offset, _ = self._page(request, "video", 40)
        return responses.answer({"data": videos, **next_offset})

    async def list_images(self, request: Request) -> Response:
        """GET images, 9 March 2026; `has_more`: the vendor's tool text, November 2026."""
        images, next_offset, total = self._page(request, "image", 50)
        more: responses.Json = {"has_more": bool(next_offset)}
        return responses.answer({"data": images, **next_offset, "total": total, **more})

    def _page(
        self, request: Request, kind: str, usual_limit: int
    ) -> tuple[list[object], responses.Json, int]:
        """The records of a page, where the next one starts, and how many there are.

        Assumed: newest first, `offset` counts, the largest limit is 100, and the 400s' texts.
        """
        email = self._listed_account(request)
        limit, offset = (
            request.query_params.get(name, default)
            for name, default in (("limit", str(usual_limit)), ("offset", "0"))
        )
        if not (limit.isdecimal() and offset.isdecimal() and 1 <= int(limit) <= 100):
            raise responses.refused(400, "Invalid limit or offset", with_code=True)
        there = [made for made in self._made.values() if (made.email, made.kind) == (email, kind)]
        there.sort(key=lambda made: -made.made_at)
        end = int(offset) + int(limit)
        page: list[object] = [self._record(request, made) for made in there[int(offset) : end]]
        return page, {"next_offset": end} if end < len(there) else {}, len(there)

    async def get_scheduler(self, request: Request) -> Response:
        """GET scheduler, 9 March 2026."""
        return responses.answer([self._followed(made) for made in self._running()])

    async def get_available(self, request: Request) -> Response:
        """GET scheduler/available, 24 June 2026: what runs, and the free places of each account."""
        executing: list[object] = [self._followed(made) for made in self._running()]
        available: list[object] = []
        for email in linked_emails(request):
            busy = sum(made.email == email for made in self._running())
            free = {"executing": busy, "available": self._slots - busy}
            available.append({"email": email, "maxJobs": self._slots, **free})
        return responses.answer({"executing": executing, "available": available})

    async def stop_tracking(self, request: Request) -> Response:
        """DELETE scheduler/id, 9 March 2026: the API forgets it, PixVerse goes on with it.

        Assumed: both bodies.
        """
        made = self._named(request)
        if made is None or not made.tracked or self._done(made) >= 1:
            raise responses.refused(404, "Not found", with_code=True)
        made.tracked = False
        return responses.answer({"id": made.id, "deleted": True})

    async def get_features(self, request: Request) -> Response:
        """GET features, 6 December 2024 and 24 June 2026: the plan and its credits.

        The values are assumed, and so is which of the models belong into which list.
        """
        email = self._listed_account(request)
        image_models: list[object] = list(pixverse_orders.IMAGE_MODELS)
        return responses.answer(
            {
                "user_id": 123456,
                "plan_name": "Premium",
                "next_plan_name": "Premium",
                "credit_daily": 0,
                "credit_daily_gift": 0,
                "credit_monthly": self._credits.get(email, FIRST_CREDITS),
                "credit_monthly_gift": 0,
                "credit_package": 0,
                "expired_date": iso(self.state.now() + 30 * 24 * 3600),
                "gen_simultaneously": self._slots,
                "off_peak": 1,
                "off_peak_discount": "0.7",
                "qualities": ["360p", "480p", "540p", "720p", "1080p", "2160p"],
                "remaining_days": 30,
                "unlimited_image_models": image_models,
                "invoice_url": "https://billing.example.com/in_sandbox",
                "stripe_bill_url": "https://billing.example.com/session_sandbox",
            }
        )

    async def get_accounts(self, request: Request) -> Response:
        """GET accounts, 6 December 2024: a map by e-mail. That `error` marks one is assumed."""
        accounts: dict[str, responses.Json] = {
            email: {"email": email, "password": "…secured…", "maxJobs": self._slots}
            for email in linked_emails(request)
        }
        return responses.answer(dict(linked_accounts(request, accounts, {"error": _PENDING})))

    async def _fields(self, request: Request) -> responses.Json:
        """The body of a paid request. Its limits: POST videos/upscale, 6 December 2024."""
        numbers = frozenset({"maxJobs", "duration", "seed", "create_count"})
        booleans = frozenset({"quote", "audio", "relax_mode"})
        body = await responses.read_fields(request, numbers=numbers, booleans=booleans)
        max_jobs = body.get("maxJobs", MAX_JOBS)
        if not responses.is_number(max_jobs, 1, 8):
            raise responses.refused(400, f"Parameter maxJobs ({max_jobs}) valid range: 1…8")
        for name in ("replyUrl", "replyRef"):
            if len(str(body.get(name, ""))) > 1024:
                raise responses.refused(400, f"{name} is too long")
        return body

    def _source(
        self, body: responses.Json, kind: str
    ) -> tuple[_Made | None, uploads.Upload | None]:
        """What the body names: a finished video or image of this kind, or an upload."""
        name, path = str(body.get(f"{kind}_id", "")), str(body.get(f"{kind}_path", ""))
        if name and path:
            raise responses.refused(400, f"Parameters {kind}_id, {kind}_path exclude each other")
        if not name and not path:
            raise responses.refused(400, f"Parameter {kind}_id is required")
        if path:
            file = self._file(path, kind)
            if max(file.width, file.height) > MAX_SOURCE_PX:
                text = f"{kind.capitalize()} is {file.width}x{file.height}, must be under 4K"
                raise responses.refused(400, text)
            if file.seconds > MAX_SOURCE_S:
                raise responses.refused(400, f"Video is longer than {MAX_SOURCE_S} seconds")
            return None, file
        if "email" in body:
            raise responses.refused(400, f"Parameter email is only for {kind}_path")
        made = self._made.get(PLACEHOLDERS.get(name, name))
        if made is None or made.kind != kind or self._done(made) < 1 or made.ends != 1:
            raise responses.refused(400, f"{kind.capitalize()} not found or not completed")
        return made, None

    def _file(self, path: str, kind: str) -> uploads.Upload:
        """The upload at this path: any account may use it (POST files, 6 December 2024)."""
        file = self._uploads.get(path)
        if file is None or file.kind != kind:
            raise responses.refused(400, f"{kind.capitalize()} {path} not found")
        return file

    def _listed_account(self, request: Request) -> str:
        """The account a request without a body is about; with several it must be named.

        An account whose videos are there from the start is known too. The texts are assumed.
        """
        emails, email = linked_emails(request), request.query_params.get("email", "")
        if not email and len(emails) > 1:
            raise responses.refused(400, "Parameter email is required", with_code=True)
        email = email or next(iter(emails), EMAIL)
        if email not in emails and all(made.email != email for made in self._made.values()):
            text = f"Unable to find configuration for {email}"
            raise responses.refused(400, text, with_code=True)
        return email

    def _paid_account(self, request: Request, body: responses.Json) -> str:
        """The account that pays: the one named, else the least busy (POST images/upscale)."""
        emails, email = linked_emails(request), body.get("email")
        if not emails or (email is not None and email not in emails):
            raise responses.refused(400, f"Unable to find configuration for {email or EMAIL}")
        if email is not None:
            return str(email)
        return min(emails, key=lambda each: sum(made.email == each for made in self._running()))

    def _make(
        self, order: Order, kind: str, email: str, body: responses.Json, *, ends: int = 1
    ) -> _Made:
        now = self.state.now()
        number = (66780000 if kind == "video" else 66781000) + self.state.serial()
        return _Made(
            video_id(number, email) if kind == "video" else image_id(number, email),
            now,
            now + self.state.job_seconds,
            _size(kind, order.lines),
            order.seconds,
            ends=8 if self.state.conditions.fails() else ends,
            prompt=order.prompt,
            model=order.model,
            quality=order.quality,
            ratio=order.ratio,
            paths=order.paths,
            reply_url=body.get("replyUrl", ""),
            reply_ref=body.get("replyRef", ""),
            tracked=True,
        )

    def _accept(
        self,
        request: Request,
        made: list[_Made],
        order: Order,
        body: responses.Json,
        source_id: str,
    ) -> None:
        """Take the order, unless its account is full.

        Its credits never end: what 412 looks like is shown by a source and by a word in a prompt.
        """
        first = made[0]
        limit = int(str(body.get("maxJobs", self._slots)))
        if sum(other.email == first.email for other in self._running()) >= limit:
            raise responses.refused(429, _BUSY.format(first.email, limit))
        credits_left = self._credits.get(first.email, FIRST_CREDITS) - order.credits
        self._credits[first.email] = max(credits_left, 0)
        self._made |= {each.id: each for each in made}
        path = request.url.path.removesuffix("/")
        self.state.accept(SERVICE, path, source_id, first.id, body)

    @property
    def _slots(self) -> int:
        """How many jobs an account runs at once."""
        return self.state.conditions.slots or MAX_JOBS

    def _named(self, request: Request) -> _Made | None:
        """What the path names. clips.mjs: an encoded id is a 400, whose text is assumed."""
        if responses.has_encoded_path(request):
            raise responses.refused(400, "Invalid id", with_code=True)
        return self._made.get(request.path_params["id"])

    def _running(self) -> list[_Made]:
        now = self.state.now()
        return [made for made in self._made.values() if made.tracked and now < made.done_at]

    def _followed(self, made: _Made) -> responses.Json:
        """GET scheduler, 9 March 2026."""
        return {
            "id": made.id,
            "type": made.kind,
            "started": iso(made.made_at),
            "elapsed": minutes_and_seconds(self.state.now() - made.made_at),
            "replyUrl": made.reply_url,
            "replyRef": made.reply_ref,
        }

    def _done(self, made: _Made) -> float:
        """How much of the job is done, 0-1."""
        working_s = made.done_at - made.made_at
        return min((self.state.now() - made.made_at) / working_s, 1.0) if working_s else 1.0

    def _link(self, request: Request, name: str, owner: str, since: float) -> str:
        return media.link(request, name, owner=owner, expires=since + LINK_LIFE_S)

    def _record(self, request: Request, made: _Made) -> responses.Json:
        """GET videos, 8 July 2025, and GET images, 9 March 2026: the fields a reader may want.

        "All fields are optional". Assumed: `customer_img_paths` is a list of paths.
        """
        done = self._done(made)
        status, name, final = _status(done, made.ends, made.kind)
        has_output = done >= 1 and made.ends == 1
        width, height = made.size if has_output else (0, 0)
        shared: responses.Json = {
            f"{made.kind}_id": made.id,
            f"{made.kind}_status": status,
            f"{made.kind}_status_name": name,
            f"{made.kind}_status_final": final,
            "account_id": 123456,
            "created_at": iso(made.made_at),
            "output_width": width,
            "output_height": height,
            "prompt": made.prompt,
            "model": made.model,
            "quality": made.quality,
            "aspect_ratio": made.ratio,
        }
        sample = media.image(*made.size)
        if made.kind == "video":
            sample = media.clip(*made.size, 24, made.seconds)
        link = self._link(request, sample, made.id, made.done_at)
        if made.kind == "image":
            images: list[object] = list(made.paths)
            return {
                **shared,
                "create_mode": "t2i",
                "image_url": link if has_output else "",
                "customer_img_paths": images,
                "updated_at": iso(made.done_at if done >= 1 else made.made_at),
                "queue_data": {"queue_count": 0, "queue_time": 0},
            }
        frame = self._link(request, media.THUMBNAIL, made.id, made.done_at)
        draft: responses.Json = {}
        if made.model == DRAFT_MODEL and not made.upscaled:
            ends_at = made.done_at + DRAFT_KEPT_S
            can = has_output and self.state.now() <= ends_at
            draft["seedance_draft"] = {"can_create_final": can, "expires_at": iso(ends_at)}
        return {
            **shared,
            "first_frame": frame if done >= 1 else "",
            # An upscale shows in `upscaled`, `original_video_id` and `output_*`.
            "original_video_id": made.original or 0,
            "upscaled": int(made.upscaled),
            "extended": 0,
            "video_duration": made.seconds,
            "duration": made.seconds,
            # GET videos shows a link on a record that is still being generated.
            "url": link if done >= 0.5 and status in (1, 10) else "",
            **draft,
        }


_NONE = Refusal("", 0, {})


def _made_before(name: str, made_at: float) -> _Made:
    made = _Made(name, made_at, made_at + 60)
    if made.kind == "image":
        made.size, made.model, made.quality = (1280, 720), "qwen-image", "720p"
    return made


def _size(kind: str, lines: int) -> tuple[int, int]:
    return media.image_size(lines) if kind == "image" else media.clip_size(lines)


def _sample(kind: str, lines: int) -> str:
    """The sample of about this size; an audio file has a clip's, since there is no other."""
    size = _size(kind, lines)
    return media.image(*size) if kind == "image" else media.clip(*size, 24)


def _status(done: float, ends: int, kind: str) -> tuple[int, str, bool]:
    """The number, name and finality of a video or image after this much of its work.

    GET videos, 8 July 2025: 1, 5 (final, as the page says), 7, 9 and 10. 8, and COMPLETED before
    there is an output: clips.mjs, 21 September 2026; the name FAILED is from the vendor's example
    of 15 June 2026. GET images, 9 March 2026: 5 is not final, 10 is PROCESSING. Assumed: the
    quarters.
    """
    if done < 0.5:
        return 5, "QUEUED", kind == "video"
    if done < 0.75:
        return 10, "GENERATING" if kind == "video" else "PROCESSING", False
    if ends == 1:
        return 1, "COMPLETED", True
    if done < 1:
        return 9, "GENERATING", False
    return ends, {7: "MODERATED", 8: "FAILED"}[ends], True
