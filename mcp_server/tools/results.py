"""How a job, a list of jobs and an error read to an agent: a sentence, the data, the links."""

import json
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from mcp.types import CallToolResult, ContentBlock, ResourceLink, TextContent

from mcp_server.errors import UseapiError
from mcp_server.models import Job, JobList, Media
from mcp_server.redaction import one_line
from mcp_server.services.health import Check
from mcp_server.services.registry import title_of

LONGEST_TEXT = 8000
SANDBOX_NOTE = "This is the sandbox: nothing is real or charged."

_DOING = {
    "upscale_video": "upscaling the video",
    "interpolate_video": "raising the video's frame rate",
    "upscale_image": "upscaling the image",
    "generate_video": "making the video",
    "generate_image": "making the image",
}


def job_answer(job: Job, *, note: str = "", sandbox: bool = False) -> CallToolResult:
    """One job as text, structured content and a link for each of its files."""
    said = " ".join(part for part in (note, _told(job), SANDBOX_NOTE if sandbox else "") if part)
    lines, room = [said], LONGEST_TEXT - len(said)
    for place in _places(job):
        room -= len(place) + 1
        if room >= 0:  # a link that is cut is none; the data holds it whole
            lines.append(place)
    return CallToolResult(
        content=[_text("\n".join(lines)), *_links(job)],
        structured_content=job.model_dump(mode="json", exclude_none=True),
    )


def list_answer(jobs: list[Job], *, sandbox: bool = False) -> CallToolResult:
    """Jobs, one a line: all of them as data, as many as fit as text."""
    head = f"{len(jobs)} job{'' if len(jobs) == 1 else 's'}, newest first, as last known."
    if jobs:
        head += " get_job reads one as it is now."
    else:
        head = "No such job: this server has submitted none that fits."
    if sandbox:
        head += f" {SANDBOX_NOTE}"
    lines, room = [head], LONGEST_TEXT - len(head) - 40
    for number, job in enumerate(jobs):
        line = " ".join(p for p in (job.created_at, job.operation, job.status, job.job_id) if p)
        room -= len(line) + 1
        if room < 0:
            lines.append(f"… and {len(jobs) - number} more.")
            break
        lines.append(line)
    listed = JobList(jobs=tuple(jobs)).model_dump(mode="json", exclude_none=True)
    return CallToolResult(content=[_text("\n".join(lines))], structured_content=listed)


def check_answer(found: Check, *, sandbox: bool = False) -> CallToolResult:
    """What is there to work with: a line for the whole, one a service, each fault with its hint."""
    whole = f"Token {found.token}, subscription {found.subscription}."
    if found.problem:
        whole = f"{found.problem} {found.hint}"
    lines = ["Everything is there to work." if found.ok else "Not everything is there to work."]
    lines[0] += f" {whole}{f' {SANDBOX_NOTE}' if sandbox else ''}"
    for service in found.services:
        accounts = (f"{a.name} {a.problem or 'healthy'}" for a in service.accounts)
        parts = (service.problem, "; ".join(accounts), service.hint)
        lines.append(f"{service.service}: {' '.join(part for part in parts if part)}")
    return CallToolResult(
        content=[_text("\n".join(lines))],
        structured_content=found.model_dump(mode="json", exclude_none=True),
    )


def error_answer(error: UseapiError, *, sandbox: bool = False) -> CallToolResult:
    """What happened, what to do next, and one line of JSON to branch on."""
    said = f"{error.message} {error.hint} {SANDBOX_NOTE if sandbox else ''}".rstrip()
    facts = json.dumps(error.facts(), separators=(",", ":"))
    return CallToolResult(content=[_text(f"{said}\n{facts}")], is_error=True)


def _told(job: Job) -> str:
    """State, size, where it is and what to call next, in plain sentences."""
    title = title_of(job.service)
    if job.status == "completed":
        again = " An earlier call made it, so nothing was submitted now." if job.reused else ""
        return f"Job {job.job_id} on {title} is completed{_result(job)}.{again} {_where(job)}"
    if job.status == "running":
        cost = f" (forecast: {job.forecast_credits:g} credits)" if job.forecast_credits else ""
        again = " An earlier call started it, so nothing was submitted now." if job.reused else ""
        doing = _DOING.get(job.operation, "at work")
        return (
            f"{title} is {doing}{cost}: job {job.job_id} is running.{again} "
            "Call get_job with this job_id and wait_seconds=50 until it ends."
        )
    if job.status == "submitting":
        return (
            f"{title} has not answered yet; the request goes on as job {job.job_id}. "
            "Call get_job with this job_id and wait_seconds=50; "
            "the same call again would join it, not pay again."
        )
    if job.status == "unconfirmed":
        return (
            f"It is not known whether {title} took job {job.job_id}{_because(job)}, "
            "so it is not sent again. The same call or get_job looks for it again; cancel_job "
            "with this job_id gives it up, and then the same call may be charged a second time."
        )
    ended = "failed" if job.status == "failed" else "was cancelled"
    return f"Job {job.job_id} on {title} {ended}{_because(job)}.{_after(job)}"


def _because(job: Job) -> str:
    return f": {one_line(job.failure.message).rstrip('.')}" if job.failure else ""


def _after(job: Job) -> str:
    if job.failure is not None and job.failure.code == "moderated":
        return " The same source will be refused again; use another."
    return " The same call submits it anew, at its price." if job.source_id else ""


def _result(job: Job) -> str:
    """`: 2560x1440, 60 fps, 5.0 s`, as far as it is known."""
    if not job.media:
        return ", but its record holds no file"
    first, facts = job.media[0], []
    if len(job.media) > 1:
        facts.append(f"{len(job.media)} files")
    if first.width and first.height:
        facts.append(f"{first.width}x{first.height}")
    if first.frame_rate:
        facts.append(f"{first.frame_rate:g} fps")
    if first.duration_ms:
        facts.append(f"{first.duration_ms / 1000:.1f} s")
    return f": {', '.join(facts)}" if facts else ""


def _where(job: Job) -> str:
    media = job.media or ()
    several = len(media) > 1
    if any(item.path for item in media):
        files, are = ("files", "are") if several else ("file", "is")
        return f"The {files} {are} saved on the server's disk, at the path below."
    if any(item.url for item in media):
        links, expire, files = (
            ("links", "expire", "files") if several else ("link", "expires", "file")
        )
        return (
            f"The {links} below {expire} within hours; "
            f"download_media with this job_id saves the {files}."
        )
    return "Call get_job again later for a link."


def _places(job: Job) -> list[str]:
    """Where the files are, the server's disk first."""
    media = job.media or ()
    paths = [item.path for item in media if item.path]
    return paths + [item.url for item in media if item.url]


def _links(job: Job) -> list[ContentBlock]:
    return [
        ResourceLink(
            type="resource_link",
            uri=uri,
            name=_name(item, number),
            mime_type=item.mime_type,
            size=item.size_bytes,
        )
        for number, item in enumerate(job.media or (), start=1)
        for uri in (Path(item.path).as_uri() if item.path else None, item.url)
        if uri
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
