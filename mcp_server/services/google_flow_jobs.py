"""Google Flow's ids, media and job records: what they are, and a record as a Job.

Sources: useapi.net, POST google-flow/videos/upscale (25 May 2026), GET jobs/jobid (20 May 2026).
What they leave open is marked *assumed*.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, TypeGuard

from mcp_server.answers import failure_text, link, moment, number, obj, objs, text
from mcp_server.jobs import MOST_MEDIA, Failure, Job, Kind, Media, Operation, Status
from mcp_server.outcomes import Answer
from mcp_server.output_folder import SavedFile
from mcp_server.redaction import quoted
from mcp_server.services.service import full_match

_MEDIA = r"(?!.*\.\.)user:[0-9]{1,20}-email:[0-9A-Fa-f]{2,300}-%s:[A-Za-z0-9._~+=-]{1,300}"
VIDEO = re.compile(_MEDIA % "video", re.ASCII)
IMAGE = re.compile(_MEDIA % "image", re.ASCII)
_ANY_MEDIA = re.compile(_MEDIA % "[a-z]{2,20}", re.ASCII)
# Two forms were seen; the number of digits and the letter are not documented.
_JOB = re.compile(
    r"(?!.*\.\.)(?:j[0-9]{6,40}[A-Za-z]{1,4}-u[0-9]{1,20}-email:[A-Za-z0-9._+=~!$&'*-]+@[A-Za-z0-9.-]+"
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
    """They stand beside the media, wherever those are."""
    in_response = number(obj(record.get("response")).get("remainingCredits"))
    return number(record.get("remainingCredits")) if in_response is None else in_response


def as_job(job_id: str, answer: Answer) -> Job:
    """The record of GET jobs/jobid as a job; what is not understood is left out."""
    record = obj(answer.data)
    request = obj(record.get("request"))
    source_id = request.get("mediaGenerationId")
    # An extension of a video names it too, but has a prompt.
    is_upscale = is_media_id(source_id) and "prompt" not in request
    operation: Operation = "upscale_video" if is_upscale else "generate_video"
    if record.get("type") == "image":
        operation = "generate_image"
    status: Status = _STATUSES.get(str(record.get("status")), "running")
    holder, failure = holder_of(record), None
    media = media_of(operation, holder, answer.files) if status == "completed" else ()
    if status == "completed" and not media and (said := _media_error(holder)):
        status, failure = "failed", Failure(code="vendor_failed", message=said)
    elif status == "failed":
        failure = Failure(code="vendor_failed", message=failure_text(record) or _NO_REASON)
    return Job(
        job_id=job_id,
        service="google-flow",
        operation=operation,
        status=status,
        source_id=source_id if is_media_id(source_id) else None,
        model=model_of(holder) or text(request.get("model")),
        media=media if status == "completed" else None,
        remaining_credits=remaining_credits(record),
        failure=failure,
        created_at=moment(record.get("created")),
        updated_at=moment(record.get("updated")),
    )


def media_of(
    operation: Operation, holder: Mapping[str, Any], files: tuple[SavedFile, ...]
) -> tuple[Media, ...]:
    """The media of an answer: files that came as base64, else `media`, else `operations`.

    Where `rawBytes` stands is documented nowhere; every one in the answer was cut into a file.
    """
    entries = objs(holder.get("media"))[:MOST_MEDIA]
    legacy = objs(holder.get("operations"))[:MOST_MEDIA]
    if files:
        ids = [i for entry in (entries or legacy) if (i := _media_id(entry))]
        kind: Kind = "image" if operation in {"generate_image", "upscale_image"} else "video"
        return tuple(_saved(file, kind, i) for file, i in zip_longest(files, ids[: len(files)]))
    if operation == "generate_image":
        return tuple(_images(entries))
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
    facts = file.facts
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


def _images(entries: list[dict[str, Any]]) -> Iterator[Media]:
    for entry in entries:
        image = obj(obj(entry.get("image")).get("generatedImage"))
        if url := link(image.get("fifeUrl")):  # a refused image has none
            yield Media(kind="image", url=url, media_id=_media_id(image))


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


def _failed(status: object) -> bool:
    return isinstance(status, str) and status.endswith("_FAILED")


def _media_error(holder: Mapping[str, Any]) -> str | None:
    """Why every medium of a completed job failed; None if none says so."""
    for entry in objs(holder.get("media")):
        if _failed(_media_status(entry)):
            status = obj(obj(entry.get("mediaMetadata")).get("mediaStatus"))
            said = obj(status.get("error")).get("message")
            return quoted(said) if isinstance(said, str) and said else _NO_REASON
    if any(_failed(entry.get("status")) for entry in objs(holder.get("operations"))):
        return _NO_REASON
    return None
