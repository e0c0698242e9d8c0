"""The sandbox's PixVerse API v2: video upscale, videos, scheduler.

Sources, cited below by page and date: POST videos/upscale (6 December 2024), GET videos (8 July
2025), GET videos/video_id (22 September 2025), GET and DELETE scheduler (9 March 2026), GET
accounts (6 December 2024), and the vendor's own client clips.mjs (21 September 2026).
"""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mcp_server.sandbox import media, responses
from mcp_server.sandbox.account import linked_accounts
from mcp_server.sandbox.state import (
    EMAIL,
    USER,
    Refusal,
    SandboxState,
    Source,
    Vendor,
    iso,
    minutes_and_seconds,
)

SERVICE = "pixverse"
LINK_LIFE_S = 30 * 24 * 3600  # assumed: nothing is documented
MAX_JOBS = 8  # of the account; POST accounts/email, 6 December 2024: 1-8


def video_id(number: int, email: str = EMAIL) -> str:
    return f"user:{USER}-pixverse:{email}-video:{number}"


def _email(some_id: str) -> str:
    return some_id.partition("-pixverse:")[2].partition("-video:")[0]


GOOD_VIDEO, SECOND_VIDEO, THIRD_VIDEO = video_id(66778801), video_id(66778802), video_id(66778803)
MODERATED_VIDEO, FAILING_VIDEO = video_id(66778807), video_id(66778808)
_ENDS = {MODERATED_VIDEO: 7, FAILING_VIDEO: 8}  # the video_status an upscale ends with
LOST_VIDEO = video_id(66778809)
EXAMPLE_VIDEO = "video_id"  # a placeholder in the page's examples; so is "…"
PLACEHOLDERS = {EXAMPLE_VIDEO: video_id(66778901), "…": video_id(66778902)}

_BUSY = f"Account {EMAIL} is busy executing {{}} tasks."
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
        "429: the account is full", 429, {"error": f"{_BUSY.format(3)} {_ALL_BUSY}"}
    ),
    video_id(66778430): Refusal(
        "429: PixVerse's own limit",
        429,
        {"error": "Reached the limit for concurrent generations."},
    ),
    video_id(66778596): Refusal("596: the account has a pending error", 596, {"error": _PENDING}),
}
LOSING = frozenset({LOST_VIDEO})


@dataclass
class _Video:
    video_id: str
    made_at: float
    done_at: float
    clip: tuple[int, int, int] = (640, 360, 24)  # width, height, frames per second
    original: str | None = None  # of an upscale: the id of its source
    ends: int = 1  # the video_status it ends with
    reply_url: object = ""
    reply_ref: object = ""
    tracked: bool = False  # the scheduler follows it


class PixVerse(Vendor):
    prefix = "/v2/pixverse"
    sources = (
        Source(GOOD_VIDEO, SERVICE, "a finished video, 640x360 at 24 fps", good=True),
        Source(SECOND_VIDEO, SERVICE, "another finished video"),
        Source(THIRD_VIDEO, SERVICE, "a third finished video"),
        Source(MODERATED_VIDEO, SERVICE, "accepted, then ends as MODERATED (7)"),
        Source(FAILING_VIDEO, SERVICE, "accepted, then ends as FAILED (8)"),
        Source(
            LOST_VIDEO,
            SERVICE,
            "accepted, but the first answer gets lost: the gateway's page comes instead",
        ),
        *(refusal.source(source_id, SERVICE) for source_id, refusal in REFUSALS.items()),
    )

    def __init__(self, state: SandboxState) -> None:
        super().__init__(state)
        ids = [source.id for source in self.sources] + list(PLACEHOLDERS.values())
        ids += [some_id for some_id in state.conditions.sources if "-pixverse:" in some_id]
        made_at = state.now() - 3600
        self._videos = {name: _Video(name, made_at, made_at + 60) for name in ids}

    def routes(self) -> list[Route]:
        """Each path with and without a slash at its end: assumed that both are taken.

        The vendor's Postman collection (24 June 2026) writes some with it, its pages none.
        """
        at = self.prefix
        routes = [
            Route(f"{at}/videos/{{video_id}}", self.get_video, methods=["GET"]),
            Route(f"{at}/scheduler/{{id}}", self.stop_tracking, methods=["DELETE"]),
        ]
        for end in ("", "/"):
            routes += [
                Route(f"{at}/videos/upscale{end}", self.upscale, methods=["POST"]),
                Route(f"{at}/videos{end}", self.list_videos, methods=["GET"]),
                Route(f"{at}/scheduler{end}", self.get_scheduler, methods=["GET"]),
                Route(f"{at}/accounts{end}", self.get_accounts, methods=["GET"]),
            ]
        return routes

    async def upscale(self, request: Request) -> Response:
        """POST videos/upscale, 6 December 2024. No once-only rule: each POST makes a new video.

        Assumed: the texts of the 400s, and that only a finished video can be upscaled.
        """
        body = await responses.read_fields(request, numbers=frozenset({"maxJobs"}))
        source = self._source(body)
        self.state.refuse(source.video_id, REFUSALS)
        await self.state.conditions.work()
        now = self.state.now()
        limit = int(str(body.get("maxJobs", MAX_JOBS)))
        if sum(video.tracked and now < video.done_at for video in self._videos.values()) >= limit:
            raise responses.refused(429, _BUSY.format(limit))
        video = _Video(
            video_id(66780000 + self.state.serial(), _email(source.video_id)),
            now,
            now + self.state.job_seconds,
            (3840, 2160, 24),
            source.video_id,
            8 if self.state.conditions.fails() else _ENDS.get(source.video_id, 1),
            body.get("replyUrl", ""),
            body.get("replyRef", ""),
            tracked=True,
        )
        self._videos[video.video_id] = video
        path = request.url.path.removesuffix("/")
        self.state.accept(SERVICE, path, source.video_id, video.video_id, body)
        if self.state.loses_the_answer(source.video_id, LOSING):
            return responses.gateway_page(524)
        return responses.answer({"video_id": video.video_id})

    async def get_video(self, request: Request) -> Response:
        """GET videos/video_id, 22 September 2025: 404 while it is processed; the id goes in raw.

        Assumed: the 404 is answered in the first quarter of the job only, so that the states seen
        by clips.mjs (21 September 2026) come after it; its text (the image page's, 9 March 2026).
        """
        if responses.has_encoded_path(request):
            raise responses.refused(
                400, "Invalid video_id", with_code=True
            )  # 400: clips.mjs; its text
        video = self._videos.get(request.path_params["video_id"])
        if video is None or self._done(video) < 0.25:
            raise responses.refused(404, "The original video has been deleted")
        return responses.answer(self._record(request, video))

    async def list_videos(self, request: Request) -> Response:
        """GET videos, 8 July 2025: with those still in the queue; `limit` is 40 when not given.

        Assumed: newest first, `offset` counts, the largest limit is 100, and the 400s' texts.
        """
        email = request.query_params.get("email", EMAIL)
        videos = [v for v in self._videos.values() if _email(v.video_id) == email]
        if not videos:
            raise responses.refused(
                400, f"Unable to find configuration for {email}", with_code=True
            )
        limit, offset = (
            request.query_params.get(name, default)
            for name, default in (("limit", "40"), ("offset", "0"))
        )
        if not (limit.isdecimal() and offset.isdecimal() and 1 <= int(limit) <= 100):
            raise responses.refused(400, "Invalid limit or offset", with_code=True)
        newest_first = sorted(videos, key=lambda video: -video.made_at)
        page = newest_first[int(offset) : int(offset) + int(limit)]
        return responses.answer({"data": [self._record(request, video) for video in page]})

    async def get_scheduler(self, request: Request) -> Response:
        """GET scheduler, 9 March 2026."""
        now = self.state.now()
        return responses.answer(
            [
                {
                    "id": video.video_id,
                    "type": "video",
                    "started": iso(video.made_at),
                    "elapsed": minutes_and_seconds(now - video.made_at),
                    "replyUrl": video.reply_url,
                    "replyRef": video.reply_ref,
                }
                for video in self._videos.values()
                if video.tracked and now < video.done_at
            ]
        )

    async def stop_tracking(self, request: Request) -> Response:
        """DELETE scheduler/id, 9 March 2026: the API forgets it, PixVerse goes on with it.

        Assumed: both bodies.
        """
        video = self._videos.get(request.path_params["id"])
        if responses.has_encoded_path(request):
            raise responses.refused(400, "Invalid id", with_code=True)
        if video is None or not video.tracked or self._done(video) >= 1:
            raise responses.refused(404, "Not found", with_code=True)
        video.tracked = False
        return responses.answer({"id": video.video_id, "deleted": True})

    async def get_accounts(self, request: Request) -> Response:
        """GET accounts, 6 December 2024: a map by e-mail. That `error` marks one is assumed."""
        account: responses.Json = {"email": EMAIL, "password": "…secured…", "maxJobs": MAX_JOBS}
        return responses.answer(linked_accounts(request, {EMAIL: account}, {"error": _PENDING}))

    def _source(self, body: responses.Json) -> _Video:
        if not body.get("video_id"):
            raise responses.refused(400, "Parameter video_id is required")
        max_jobs = body.get("maxJobs", MAX_JOBS)
        if not responses.is_number(max_jobs, 1, 8):
            raise responses.refused(400, f"Parameter maxJobs ({max_jobs}) valid range: 1…8")
        for name in ("replyUrl", "replyRef"):
            if len(str(body.get(name, ""))) > 1024:
                raise responses.refused(400, f"{name} is too long")
        name = str(body["video_id"])
        source = self._videos.get(PLACEHOLDERS.get(name, name))
        if source is None or self._done(source) < 1 or source.ends != 1:
            raise responses.refused(400, "Video not found or not completed")
        return source

    def _done(self, video: _Video) -> float:
        """How much of the job is done, 0-1."""
        working_s = video.done_at - video.made_at
        return min((self.state.now() - video.made_at) / working_s, 1.0) if working_s else 1.0

    def _record(self, request: Request, video: _Video) -> responses.Json:
        """GET videos, 8 July 2025: the fields a reader may want ("all fields are optional").

        An upscale has `upscaled`, `original_video_id` and `output_*`; `quality` is the source's.
        """
        done = self._done(video)
        status, name, final = _status(done, video.ends)
        has_output = done >= 1 and video.ends == 1
        width, height, fps = video.clip
        link_to = media.clip(width, height, fps)
        expires = video.done_at + LINK_LIFE_S
        url = media.link(request, link_to, owner=video.video_id, expires=expires)
        frame = media.link(request, media.THUMBNAIL, owner=video.video_id, expires=expires)
        return {
            "video_id": video.video_id,
            "video_status": status,
            "video_status_name": name,
            "video_status_final": final,
            "account_id": 123456,
            "created_at": iso(video.made_at),
            "first_frame": frame if done >= 1 else "",
            "output_width": width if has_output else 0,
            "output_height": height if has_output else 0,
            "original_video_id": video.original or 0,
            "upscaled": 1 if video.original else 0,
            "extended": 0,
            "prompt": "A windmill and a balloon",
            "model": "v6",
            "quality": "360p",
            "video_duration": media.CLIP_MS // 1000,
            "duration": media.CLIP_MS // 1000,
            # GET videos shows a link on a record that is still being generated.
            "url": url if done >= 0.5 and status in (1, 10) else "",
            "aspect_ratio": "16:9",
        }


def _status(done: float, ends: int) -> tuple[int, str, bool]:
    """The number, name and finality of a video after this much of its work.

    GET videos, 8 July 2025: 1, 5 (final, as the page says), 7, 9 and 10. 8, and COMPLETED before
    there is an output: clips.mjs, 21 September 2026; the name FAILED is from the vendor's example
    of 15 June 2026. Assumed: the quarters.
    """
    if done < 0.5:
        return 5, "QUEUED", True
    if done < 0.75:
        return 10, "GENERATING", False
    if ends == 1:
        return 1, "COMPLETED", True
    if done < 1:
        return 9, "GENERATING", False
    return ends, {7: "MODERATED", 8: "FAILED"}[ends], True
