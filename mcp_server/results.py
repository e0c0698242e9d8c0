"""How a job, a list of jobs and an error read to an agent: a sentence, the data, the links."""

import json
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from mcp.types import CallToolResult, ContentBlock, ResourceLink, TextContent

from mcp_server.errors import UseapiError
from mcp_server.jobs import Job, JobList, Media
from mcp_server.redaction import one_line
from mcp_server.services import service_named

LONGEST_TEXT = 8000

_DOING = {
    "upscale_video": "upscaling the video",
    "interpolate_video": "raising the video's frame rate",
    "upscale_image": "upscaling the image",
    "generate_video": "making the video",
    "generate_image": "making the image",
}


def job_answer(job: Job, *, note: str = "", sandbox: bool = False) -> CallToolResult:
    """One job as text, structured content and a link for each of its files."""
    lines = [_sentence(job)]
    if note:
        lines[0] = f"{note} {lines[0]}"
    if sandbox:
        lines[0] += " (Sandbox: nothing real was done or charged.)"
    room = LONGEST_TEXT - len(lines[0])
    for item in job.media or ():
        place = item.path or item.url or ""
        room -= len(place) + 1
        if place and room >= 0:  # a link that is cut is none; the data holds it whole
            lines.append(place)
    return CallToolResult(
        content=[_text("\n".join(lines)), *_links(job)],
        structured_content=job.model_dump(mode="json", exclude_none=True),
    )


def list_answer(jobs: list[Job], *, sandbox: bool = False) -> CallToolResult:
    """Jobs, one a line: all of them as data, as many as fit as text."""
    head = f"{len(jobs)} job{'' if len(jobs) == 1 else 's'}, newest first."
    if not jobs:
        head = "No such job: this server has submitted none that fits."
    if sandbox:
        head += " (Sandbox.)"
    lines, room = [head], LONGEST_TEXT - len(head) - 40
    for number, job in enumerate(jobs):
        line = f"{job.created_at or ''} {job.operation} {job.status}: {job.job_id}"
        room -= len(line) + 1
        if room < 0:
            lines.append(f"… and {len(jobs) - number} more.")
            break
        lines.append(line)
    listed = JobList(jobs=tuple(jobs)).model_dump(mode="json", exclude_none=True)
    return CallToolResult(content=[_text("\n".join(lines))], structured_content=listed)


def error_answer(error: UseapiError) -> CallToolResult:
    """What happened, what to do next, and one line of JSON to branch on."""
    facts = json.dumps(error.facts(), separators=(",", ":"))
    return CallToolResult(content=[_text(f"{error.what} {error.do}\n{facts}")], is_error=True)


def _sentence(job: Job) -> str:
    title = service_named(job.service).vendor.title
    doing = _DOING[job.operation]
    if job.status == "completed":
        again = " It was made by an earlier call; nothing was submitted." if job.reused else ""
        return f"Job {job.job_id} on {title} is completed{_result(job)}.{again}{_then(job)}"
    if job.status == "running":
        again = "an earlier call started it; nothing was submitted now. " if job.reused else ""
        cost = f" (forecast: {job.forecast_credits:g} credits)" if job.forecast_credits else ""
        return (
            f"{title} is {doing}{cost}: {again}job {job.job_id} is running. "
            "Call get_job with this job_id and wait_seconds=50 until it ends."
        )
    if job.status == "submitting":
        return (
            f"{title} has not answered yet; the request goes on as job {job.job_id}. "
            "Call get_job with this job_id; don't submit it another way."
        )
    if job.status == "unconfirmed":
        return (
            f"It is not known whether {title} took job {job.job_id}, so it is not sent again. "
            "The same call looks for it again; cancel_job with this job_id gives it up, "
            "and then it may be charged a second time."
        )
    reason = f": {one_line(job.failure.message)}" if job.failure else ""
    return f"Job {job.job_id} on {title} {_ENDED[job.status]}{reason.rstrip('.')}.{_after(job)}"


_ENDED = {"failed": "failed", "cancelled": "was cancelled"}


def _after(job: Job) -> str:
    if job.failure is not None and job.failure.code == "moderated":
        return " Another try with the same source will be refused again."
    return " The same call may be made again." if job.source_id else ""


def _result(job: Job) -> str:
    """`: 2560x1440, 60 fps, 5.0 s`, as far as it is known."""
    media = job.media or ()
    if not media:
        return ", but its record holds no file"
    first, facts = media[0], []
    if first.width and first.height:
        facts.append(f"{first.width}x{first.height}")
    if first.frame_rate:
        facts.append(f"{first.frame_rate:g} fps")
    if first.duration_ms:
        facts.append(f"{first.duration_ms / 1000:.1f} s")
    if len(media) > 1:
        facts.append(f"{len(media)} files")
    return f": {', '.join(facts)}" if facts else ""


def _then(job: Job) -> str:
    if any(item.path for item in job.media or ()):
        return " The file is on the server's disk:"
    if any(item.url for item in job.media or ()):
        return " The link expires in hours:"
    return " Read it again later for a link."


def _links(job: Job) -> list[ContentBlock]:
    return [
        ResourceLink(
            type="resource_link",
            uri=item.url or Path(str(item.path)).as_uri(),
            name=_name(item, number),
            mime_type=item.mime_type,
            size=item.size_bytes,
        )
        for number, item in enumerate(job.media or (), start=1)
        if item.url or item.path
    ]


def _name(item: Media, number: int) -> str:
    if item.path:
        return Path(item.path).name
    name = PurePosixPath(urlsplit(str(item.url)).path).name
    return one_line(name, 80) or f"{item.kind}-{number}"


def _text(text: str) -> TextContent:
    if len(text) > LONGEST_TEXT:
        text = text[: LONGEST_TEXT - 1] + "…"
    return TextContent(type="text", text=text)
