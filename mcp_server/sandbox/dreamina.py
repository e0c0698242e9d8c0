"""The sandbox's Dreamina API v1: video upscale and interpolation, image upscale, jobs, scheduler.

Sources, cited below by page and date: POST videos/upscale and POST videos/interpolate (2 April
2026), POST images/upscale (2 March 2026), GET videos/jobid (23 February 2026), GET images/jobid
(2 March 2026), GET and DELETE scheduler, GET and POST accounts (23 February 2026).
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mcp_server.sandbox import users, web
from mcp_server.sandbox.dreamina_jobs import (
    BUSY,
    INTERPOLATE_CREDITS,
    KEPT_S,
    LOSING,
    MODERATED_IMAGE,
    MODERATED_VIDEO,
    PLACEHOLDERS,
    REFUSALS,
    SERVICE,
    SOURCES,
    UPSCALE_CREDITS,
    Job,
    made_before,
    record,
)
from mcp_server.sandbox.world import EMAIL, Vendor, World, iso

DEFAULT_MAX_JOBS = 10  # POST accounts, 23 February 2026: 1-50, default 10
IMAGE_SIZES = {"2k": (2560, 1440), "4k": (3840, 2160), "8k": (7680, 4320)}  # pixels: assumed


class Dreamina(Vendor):
    prefix = "/v1/dreamina"
    sources = SOURCES

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._jobs = made_before(world.now())

    def routes(self) -> list[Route]:
        at = self.prefix
        return [
            Route(f"{at}/videos/upscale", self.upscale_video, methods=["POST"]),
            Route(f"{at}/videos/interpolate", self.interpolate_video, methods=["POST"]),
            Route(f"{at}/images/upscale", self.upscale_image, methods=["POST"]),
            Route(f"{at}/videos/{{jobid}}", self.get_video, methods=["GET"]),
            Route(f"{at}/images/{{jobid}}", self.get_image, methods=["GET"]),
            Route(f"{at}/scheduler", self.get_scheduler, methods=["GET"]),
            Route(f"{at}/scheduler/{{jobid}}", self.cancel, methods=["DELETE"]),
            Route(f"{at}/accounts", self.get_accounts, methods=["GET"]),
        ]

    async def upscale_video(self, request: Request) -> Response:
        """POST videos/upscale, 2 April 2026: doubles both sides; each video once."""
        body = await web.read_fields(request, numbers=frozenset({"maxJobs"}))
        source = self._source(body, "video", ("video",))
        self._only_once(source, "video-upscale", "upscaled")
        width, height, fps = source.clip
        job = self._new(source, "V", "video-upscale", {}, body, UPSCALE_CREDITS)
        job.clip = (2 * width, 2 * height, fps)
        return self._accept(request, job, source, body)

    async def interpolate_video(self, request: Request) -> Response:
        """POST videos/interpolate, 2 April 2026: to 30 or 60 fps; each video once.

        Assumed: "once" whatever the fps, and a video and its upscale each count for themselves.
        """
        body = await web.read_fields(request, numbers=frozenset({"fps", "maxJobs"}))
        fps = body.get("fps")
        if "jobid" in body and fps is None:
            raise web.refused(400, "Parameter fps is required")  # assumed, as for jobid
        if fps is not None and (not web.is_number(fps, 30, 60) or fps not in INTERPOLATE_CREDITS):
            raise web.refused(400, f"Parameter fps ({fps}) valid values: 30, 60")
        source = self._source(body, "video", ("video", "video-upscale"))
        self._only_once(source, "video-interpolate", "interpolated")
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
        body = await web.read_fields(request, numbers=numbers)
        index, size = body.get("imageIndex", 0), body.get("upscaleResolution", "4k")
        if not web.is_number(index, 0, 3):
            raise web.refused(400, f"Parameter imageIndex ({index}) valid values: 0, 1, 2, 3")
        if size not in IMAGE_SIZES:
            text = f"Parameter upscaleResolution ({size}) valid values: 2k, 4k, 8k"
            raise web.refused(400, text)
        strengths = {name: body[name] for name in numbers & body.keys() if "Strength" in name}
        for name, strength in strengths.items():
            if not web.is_number(strength, 0, 1, whole=False):
                raise web.refused(400, f"Parameter {name} ({strength}) valid range: 0-1")
        source = self._source(body, "image", ("image",))
        # Assumed: the strengths are echoed when they were given; the page's example gives none.
        echo: web.Json = {"imageIndex": index, "resolution": size, **strengths}
        job = self._new(source, "I", "upscale", echo, body, 0)
        job.images = [IMAGE_SIZES[str(size)]]
        return self._accept(request, job, source, body)

    async def get_video(self, request: Request) -> Response:
        return self._get(request, "video")

    async def get_image(self, request: Request) -> Response:
        return self._get(request, "image")

    async def get_scheduler(self, request: Request) -> Response:
        """GET scheduler, 23 February 2026: what runs, by account."""
        now = self.world.now()
        running = [job for job in self._jobs.values() if job.is_executing(now)]
        executing: dict[str, list[web.Json]] = {}
        for job in running:
            entry: web.Json = {
                "jobid": job.jobid,
                "submitId": job.jobid[1:20],
                "model": job.model,
                "elapsedSeconds": int(now - job.made_at),
            }
            if job.reply_url:
                entry["replyUrl"] = job.reply_url
            executing.setdefault(job.account, []).append(entry)
        return web.answer({"executing": executing, "total": len(running)})

    async def cancel(self, request: Request) -> Response:
        """DELETE scheduler/jobid, 23 February 2026: the job fails, "Cancelled by user".

        Assumed: both bodies, and that a job that has ended is no longer in the scheduler.
        """
        job = self._find(request)
        if job is None or not job.is_executing(self.world.now()):
            raise web.refused(404, "Job not found")
        job.cancelled, job.done_at = True, self.world.now()
        return web.answer({"jobid": job.jobid, "deleted": True})

    async def get_accounts(self, request: Request) -> Response:
        """GET accounts, 23 February 2026: a map by account, without credits.

        One in error has an `error`; its text is that of POST assets (2 March 2026).
        """
        accounts: dict[str, web.Json] = {
            f"{region}:{EMAIL}": {
                "account": f"{region}:{EMAIL}",
                "email": EMAIL,
                "region": region,
                "maxJobs": DEFAULT_MAX_JOBS,
                "sessionExpires": iso(self.world.now() + KEPT_S),
            }
            for region in ("CA", "US")
        }
        return web.answer(users.linked(request, accounts, {"error": "Session expired"}))

    def _source(self, body: web.Json, kind: str, types: tuple[str, ...]) -> Job:
        """The finished job a POST names, or the documented 400 or 404."""
        if not body.get("jobid"):
            raise web.refused(400, "Parameter jobid is required")  # POST images/upscale, 2 March
        max_jobs = body.get("maxJobs", DEFAULT_MAX_JOBS)
        if not web.is_number(max_jobs, 1, 50):  # the text is assumed
            raise web.refused(400, f"Parameter maxJobs ({max_jobs}) valid range: 1-50")
        jobid = str(body["jobid"])
        source = self._jobs.get(PLACEHOLDERS.get(jobid, jobid))
        if source is None or source.kind != kind or self._is_expired(source):
            raise web.refused(404, f"Source {kind} job not found")
        if source.type not in types:  # ruled out by the page; the text is assumed
            raise web.refused(400, f"Source {kind} job is {source.type}, must be {types[0]}")
        status = source.status(self.world.now())
        if status != "completed":
            raise web.refused(400, f"Source {kind} job is {status}, must be completed")
        return source

    def _only_once(self, source: Job, type_: str, done: str) -> None:
        """Assumed: a job that failed or was cancelled does not count, one that runs does."""
        for job in self._jobs.values():
            if (job.type, job.request.get("jobid")) != (type_, source.jobid):
                continue
            if job.status(self.world.now()) != "failed":
                raise web.refused(400, f"Source video already {done}: {job.jobid}")

    def _new(
        self, source: Job, letter: str, type_: str, echo: web.Json, body: web.Json, credits_: int
    ) -> Job:
        now = self.world.now()
        bot = source.jobid.split("-", 1)[1]
        # Assumed: replyUrl and replyRef are echoed, as Google Flow documents; nothing is called.
        reply: web.Json = {name: body[name] for name in ("replyUrl", "replyRef") if name in body}
        return Job(
            jobid=f"j{self.world.digits()}{letter}-{bot}",
            type=type_,
            model=source.model,
            request={"jobid": source.jobid, **echo, **reply},
            made_at=now,
            done_at=now + self.world.job_seconds,
            forecast_credits=credits_,
            ends="failed" if source.jobid in (MODERATED_VIDEO, MODERATED_IMAGE) else "completed",
            tracked=True,
            reply_url=body.get("replyUrl"),
        )

    def _accept(self, request: Request, job: Job, source: Job, body: web.Json) -> Response:
        self.world.refuse(source.jobid, REFUSALS)
        now = self.world.now()
        running = [other for other in self._jobs.values() if other.is_executing(now)]
        busy = sum(other.account == job.account for other in running)
        if busy >= int(str(body.get("maxJobs", DEFAULT_MAX_JOBS))):
            raise web.RefusedError(web.answer(BUSY, status=429))
        self._jobs[job.jobid] = job
        self.world.accept(SERVICE, request.url.path, source.jobid, job.jobid, body)
        if self.world.loses_the_answer(source.jobid, LOSING):
            return web.gateway_page(524)
        return web.answer(record(request, job, self.world.now()))

    def _find(self, request: Request) -> Job | None:
        if web.has_encoded_path(request):
            raise web.refused(400, "Invalid job ID format")  # the 400 is documented, not its text
        job = self._jobs.get(request.path_params["jobid"])
        return None if job is None or self._is_expired(job) else job

    def _is_expired(self, job: Job) -> bool:
        return job.tracked and self.world.now() - job.made_at > KEPT_S

    def _get(self, request: Request, kind: str) -> Response:
        """GET videos/jobid and images/jobid; the 404's text is assumed."""
        job = self._find(request)
        if job is None or job.kind != kind:
            raise web.refused(404, f"{kind.capitalize()} job not found")
        return web.answer(record(request, job, self.world.now()))
