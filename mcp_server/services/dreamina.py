"""Dreamina v1: doubles a video, raises its frame rate, upscales an image.

Sources: useapi.net, POST dreamina/videos/upscale and videos/interpolate (2 April 2026),
images/upscale (2 March 2026), GET videos/jobid (2 April 2026), images/jobid (2 March 2026),
scheduler (23 February 2026). What they leave open is marked *assumed*.
"""

import re
from collections.abc import Mapping
from typing import Any

from mcp_server.answers import Problem, Vendor, error_text, link, number, obj, objs, text, whole
from mcp_server.clock import epoch
from mcp_server.errors import (
    ExpiredError,
    NotFoundError,
    RateLimitError,
    RefusedError,
)
from mcp_server.jobs import Failure, Job, Media, Operation, PaidOperation, Status
from mcp_server.services.service import LONGEST_ID, Endpoint, Found, Option, Order, Service
from mcp_server.upstream import Answer, Upstream

_KEPT_S = 30 * 86_400  # "Jobs are retained for 30 days" (GET videos/jobid)
_CLOCK_SKEW_S = 120  # between the vendor's clock and ours, *assumed* to be at most this

# j + digits + a letter for the kind + account. Letters seen: v V F i I; others are newer kinds.
_ACCOUNT = r"-u[0-9]{1,20}-[A-Za-z]{2,4}:[A-Za-z0-9._+=~!$&'*-]+@[A-Za-z0-9.-]+-bot:dreamina"


def _ids(letters: str) -> re.Pattern[str]:
    return re.compile(rf"(?!.*\.\.)j[0-9]{{6,60}}(?P<letter>{letters}){_ACCOUNT}", re.ASCII)


_ANY = _ids("[A-Za-z]{1,4}")
_GENERATED_VIDEO = _ids("(?![VFiI]-)[A-Za-z]{1,4}")
_VIDEO = _ids("(?![FiI]-)[A-Za-z]{1,4}")
_GENERATED_IMAGE = _ids("(?![vVFI]-)[A-Za-z]{1,4}")

_LETTERS: Mapping[PaidOperation, str] = {
    "upscale_video": "V",
    "interpolate_video": "F",
    "upscale_image": "I",
}
_TYPES: Mapping[str, Operation] = {
    "video": "generate_video",
    "video-upscale": "upscale_video",
    "video-interpolate": "interpolate_video",
    "image": "generate_image",
    "upscale": "upscale_image",
}
_OPERATIONS: Mapping[str, Operation] = {
    "V": "upscale_video",
    "F": "interpolate_video",
    "i": "generate_image",
    "I": "upscale_image",
}
_STATUSES: Mapping[str, Status] = {"completed": "completed", "failed": "failed"}

_COMMON = {
    "reply_url": Option("replyUrl"),
    "reply_ref": Option("replyRef"),
    "max_jobs": Option("maxJobs", low=1, high=50),
}

_PROBLEMS = (
    Problem(400, "must be completed", RefusedError, "the source job is not finished yet.",
            "Wait for it with get_job(job_id=source_id, wait_seconds=50), then call again."),
    Problem(400, "already upscaled", RefusedError,
            "this video was upscaled before, and each can be only once.",
            "Use the upscale there is; list_jobs may show it."),
    Problem(400, "already interpolated", RefusedError,
            "this video was interpolated before, and each can be only once.",
            "Use the result there is, or upscale the video and interpolate that."),
    Problem(404, "source", NotFoundError, "the source job is not known.",
            "Check the source_id; jobs are kept for 30 days."),
    Problem(429, "", RateLimitError, "all linked accounts are at capacity, nothing was taken.",
            "Wait, then call again with the same arguments.", cooldown_s=10),
)  # fmt: skip


class Dreamina(Service):
    """A job id is also the source id of the next operation."""

    vendor = Vendor("dreamina", "Dreamina", _PROBLEMS)
    id_forms = ("j<digits><letter>-u<number>-<REGION>:<e-mail>-bot:dreamina",)
    where_ids_are = (
        "A Dreamina source_id is the jobid that POST /videos or /images answered "
        "when the video or image was made."
    )
    abilities = (
        "Dreamina doubles a generated video (once each, no resolution), raises a generated or "
        "upscaled one to 30 or 60 fps (once each), and upscales images to 2k, 4k or 8k."
    )
    media_hosts = (
        "https://*.douyinvod.com",
        "https://*.akamaized.net",
        "https://*.douyinpic.com",
    )
    endpoints = {
        "upscale_video": Endpoint(
            path="/v1/dreamina/videos/upscale",
            source_field="jobid",
            source=_GENERATED_VIDEO,
            source_is="the id of a generated video (not of an image, an upscale or an interpolation)",
            options=_COMMON,
            price=lambda _: 30,  # forecastCost in the documented answer
            refuses_repeats=True,
        ),
        "interpolate_video": Endpoint(
            path="/v1/dreamina/videos/interpolate",
            source_field="jobid",
            source=_VIDEO,
            source_is="the id of a generated or an upscaled video",
            options={"fps": Option("fps", values=(30, 60), shapes_result=True), **_COMMON},
            price=lambda _: 66,  # forecastCost in the documented answer, for 60 fps
            refuses_repeats=True,
        ),
        "upscale_image": Endpoint(
            path="/v1/dreamina/images/upscale",
            source_field="jobid",
            source=_GENERATED_IMAGE,
            source_is="the id of an image job (not of a video or of an upscale)",
            options={
                "resolution": Option(
                    "upscaleResolution",
                    values=("2k", "4k", "8k"),
                    default="4k",
                    shapes_result=True,
                ),
                "image_index": Option("imageIndex", low=0, high=3, default=0, shapes_result=True),
                "original_image_strength": Option(
                    "originalImageStrength", low=0, high=1, default=0.65, shapes_result=True
                ),
                "detail_strength": Option(
                    "detailStrength", low=0, high=1, default=0.5, shapes_result=True
                ),
                **_COMMON,
            },
            price=lambda _: 0,  # forecastCost in the documented answer
        ),
    }

    def owns(self, some_id: str) -> bool:
        return len(some_id) <= LONGEST_ID and _ANY.fullmatch(some_id) is not None

    def accepted(self, order: Order, answer: Answer, our_id: str) -> Job:
        job_id = obj(answer.data).get("jobid")
        if not isinstance(job_id, str) or not self.owns(job_id):
            raise self.strange("job id")
        return self._job(job_id, answer.data).but(
            operation=order.operation, source_id=order.source_id
        )

    async def read(self, upstream: Upstream, job_id: str, *, age_s: float | None) -> Job:
        try:
            answer = await upstream.read(self.vendor, self._path(job_id))
        except NotFoundError as error:
            if age_s is not None and age_s > _KEPT_S:
                raise ExpiredError(
                    "Dreamina keeps jobs for 30 days, and this one is older.",
                    "Submit the source again if you need it.",
                    service=self.name,
                    http_status=error.http_status,
                    job_id=job_id,
                ) from None
            raise
        if not isinstance(obj(answer.data).get("status"), str):
            raise self.strange("job")
        return self._job(job_id, answer.data)

    async def find(self, upstream: Upstream, order: Order, sent_at: float) -> Found | None:
        letter, account = _LETTERS[order.operation], _account(order.source_id)
        answer = await upstream.read(self.vendor, "/v1/dreamina/scheduler")
        running = obj(answer.data).get("executing")
        if not isinstance(running, dict):
            raise self.strange("list of running jobs")
        for entry in (e for entries in running.values() for e in objs(entries)):
            job_id = entry.get("jobid")
            if not isinstance(job_id, str) or not self.owns(job_id):
                continue
            if _letter(job_id) != letter or _account(job_id) != account:
                continue
            record = obj((await upstream.read(self.vendor, self._path(job_id))).data)
            if self._same(order, record):
                job = self._job(job_id, record)
                made = epoch(job.created_at or "")
                return Found(job, ours=made is None or made >= sent_at - _CLOCK_SKEW_S)
        return None

    async def existing(
        self, upstream: Upstream, order: Order, refusal: RefusedError
    ) -> Job | None:
        named = re.search(r"already (?:upscaled|interpolated): (\S+)", refusal.vendor_text)
        if not named or not self.owns(job_id := named[1]):
            return None
        if _letter(job_id) != _LETTERS[order.operation]:
            return None
        record = obj((await upstream.read(self.vendor, self._path(job_id))).data)
        if self._same(order, record):
            return self._job(job_id, record)
        if obj(record.get("request")).get("jobid") != order.source_id:
            return None
        made = whole(obj(record.get("request")).get("fps"))
        raise RefusedError(
            f"Dreamina interpolated this video before, to {made or 'another number of'} fps, and does so only once.",
            f"Use that job: get_job(job_id={job_id}).",
            service=self.name,
            http_status=refusal.http_status,
            job_id=job_id,
        )

    async def cancel(self, upstream: Upstream, job_id: str) -> None:
        # The answer's fields are not documented: whatever it says, the job is read afterwards.
        await upstream.delete(self.vendor, f"/v1/dreamina/scheduler/{job_id}")

    def _path(self, job_id: str) -> str:
        folder = "images" if _letter(job_id) in {"i", "I"} else "videos"
        return f"/v1/dreamina/{folder}/{job_id}"

    def _same(self, order: Order, record: Mapping[str, Any]) -> bool:
        """Whether a job's echoed request is this order. What is not echoed is the default."""
        request = obj(record.get("request"))
        echoes = {"resolution": ("resolution", "upscaleResolution")}  # sent as the second
        if request.get("jobid") != order.source_id:
            return False
        for name, wanted in order.shaping.items():
            option = order.endpoint.options[name]
            fields = echoes.get(name, (option.field,))
            found = next((request[f] for f in fields if f in request), option.default)
            if found != wanted:
                return False
        return True

    def _job(self, job_id: str, record: Any) -> Job:
        record = obj(record)
        request, response = obj(record.get("request")), obj(record.get("response"))
        operation = _TYPES.get(str(record.get("type"))) or _OPERATIONS.get(
            _letter(job_id), "generate_video"
        )
        status: Status = _STATUSES.get(str(record.get("status")), "running")
        failure = None
        if status == "failed":
            said = ": ".join(
                dict.fromkeys(
                    part
                    for part in (error_text(record), text(record.get("errorDetails")))
                    if part
                )
            )
            if "cancelled by user" in said.lower():
                status = "cancelled"
            failure = Failure(
                code="cancelled" if status == "cancelled" else "vendor_failed",
                message=text(said) or "Dreamina gave no reason.",
            )
        source_id = request.get("jobid")
        return Job(
            job_id=job_id,
            service="dreamina",
            operation=operation,
            status=status,
            source_id=source_id if isinstance(source_id, str) and self.owns(source_id) else None,
            model=text(record.get("model")),
            media=_media(operation, request, response) if status == "completed" else None,
            forecast_credits=number(response.get("forecastCost")),
            failure=failure,
            created_at=text(record.get("created")),
            updated_at=text(record.get("updated")),
        )


def _media(
    operation: Operation, request: Mapping[str, Any], response: Mapping[str, Any]
) -> tuple[Media, ...]:
    if operation in {"generate_image", "upscale_image"}:
        return tuple(
            Media(
                kind="image",
                url=link(image.get("imageUrl")),
                mime_type=f"image/{image['format']}"
                if image.get("format") in ("jpeg", "png", "webp")
                else None,
                width=whole(image.get("width")),
                height=whole(image.get("height")),
            )
            for image in objs(response.get("images"))
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
        ),
    )


def _letter(job_id: str) -> str:
    found = _ANY.fullmatch(job_id)
    return found["letter"] if found else ""


def _account(job_id: str) -> str:
    return job_id[job_id.index("-u") :]
