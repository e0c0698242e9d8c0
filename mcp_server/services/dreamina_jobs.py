"""Dreamina's ids and job records: what they are of, and a record as a Job.

Sources: useapi.net, GET dreamina/videos/jobid (2 April 2026), images/jobid (2 March 2026).
"""

import re
from collections.abc import Mapping
from typing import Any, TypeGuard

from mcp_server.answers import failure_text, link, moment, number, obj, objs, text, whole
from mcp_server.jobs import MOST_MEDIA, Failure, Job, Media, Operation, Status
from mcp_server.services.service import full_match

# j + digits + a letter for the kind + account. Letters seen: v V F i I; others are newer kinds.
_ACCOUNT = r"-u[0-9]{1,20}-[A-Za-z]{2,4}:[A-Za-z0-9._+=~!$&'*-]+@[A-Za-z0-9.-]+-bot:dreamina"


def id_pattern(letters: str) -> re.Pattern[str]:
    return re.compile(rf"(?!.*\.\.)j[0-9]{{6,60}}(?P<letter>{letters}){_ACCOUNT}", re.ASCII)


_ANY = id_pattern("[A-Za-z]{1,4}")
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
        said = failure_text(record) or "Dreamina gave no reason."
        if "cancelled by user" in said.lower():
            status = "cancelled"
        code = "cancelled" if status == "cancelled" else "vendor_failed"
        failure = Failure(code=code, message=said)
    source_id = request.get("jobid")
    return Job(
        job_id=job_id,
        service="dreamina",
        operation=operation,
        status=status,
        source_id=source_id if is_id(source_id) else None,
        model=text(record.get("model")),
        media=_media(operation, request, response) if status == "completed" else None,
        forecast_credits=number(response.get("forecastCost")),
        failure=failure,
        created_at=moment(record.get("created")),
        updated_at=moment(record.get("updated")),
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
        ),
    )
