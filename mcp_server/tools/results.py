"""A job, a list of jobs, a check or an error as a tool's answer: as text and as data.

Some hosts give a model only the text, others only the data: each holds what the other does. The
text is a sentence about the data, then `note` and `next` in full, then where the files are.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Annotated

from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel

from mcp_server.errors import UseapiError
from mcp_server.models import FoundMedia, Job, JobList, ListedJob, Media, MediaList, operation_named
from mcp_server.redaction import one_line
from mcp_server.services.health import AccountCheck, Check
from mcp_server.services.listing import Found
from mcp_server.services.registry import known_service, title_of
from mcp_server.tools.context import Remote
from mcp_server.tools.steps import steps_after, steps_for

JobAnswer = Annotated[CallToolResult, Job]
"""What a tool about one job returns; the Job is its output schema."""

LONGEST_TEXT = 8000
LONGEST_LIST = (
    17_000  # characters of JSON, at most 8,000 tokens: an id may take one for two letters
)
SANDBOX_NOTE = "This is the sandbox: nothing is real or charged."
_LONGEST_HEAD = 2500  # of a page of media: its notes and its cursor
LINKS = "useapi-mcp/links"
"""In an answer's `_meta`, for the viewer: the vendor's links of each file that was saved, and
`saved` of one that is told by our own link."""
STEPS = "useapi-mcp/steps"
"""In an answer's `_meta`, for the pages: what can be done next, with its price."""
ROWS = "useapi-mcp/rows"
"""In the `_meta` of a list of jobs, for the gallery: what was made of each, as last known."""
REMOTE = "useapi-mcp/remote"
"""In an answer's `_meta`, for the viewer: paths are on a disk that may not be the user's."""
_MOST_ROWS_BYTES = 60_000

_WAIT = "get_job(job_id, wait_seconds=50)"
_ANOTHER_DISK = (
    "This server is reached over HTTP: a path is on its machine's disk, which may not be yours."
)
_LINKED = "A link to a saved file works for a day, for whoever has it; the same call gives another."


class JobFirstError(Exception):
    """A call can't go on before another job has ended: that job is its answer."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"{job.job_id} first")
        self.job = job


def job_answer(
    job: Job,
    *,
    note: str = "",
    sandbox: bool = False,
    remote: Remote | None = None,
    is_gone: bool = False,
) -> CallToolResult:
    """One job. A file that was saved is told by its path alone, or by our link to it.

    Args:
        note: what to mind beside what the job itself says.
        remote: who asks over HTTP; None: the server runs on its caller's machine.
        is_gone: whether the caller sees nothing more of it.
    """
    media = tuple(_as_told(item, remote) for item in job.media or ())
    notes = (
        note,
        _note(job),
        _note_on_places(
            ((item.path, told.path) for item, told in zip(job.media or (), media, strict=True)),
            remote,
        ),
        SANDBOX_NOTE if sandbox else "",
    )
    told = job.evolve(
        media=job.media and media,
        next=None if is_gone else _next(job),
        note=_joined(notes) or None,
    )
    lines = [_joined((_sentence(job, told), told.note, _next_sentence(told.next)))]
    left = LONGEST_TEXT - len(lines[0])
    for place in _places(told):
        left -= len(place) + 1
        if left >= 0:  # half a link is of no use; the data holds it whole
            lines.append(place)
    return _answer(lines, told, meta=_for_viewer(job, told, remote))


def list_answer(
    jobs: list[ListedJob], *, sandbox: bool = False, remote: Remote | None = None
) -> CallToolResult:
    """Jobs, one a line: the newest that fit, as data and as text."""
    saved, jobs = jobs, [_with_link(job, remote) for job in jobs]
    kept = _that_fit(jobs)
    notes = (
        f"{len(jobs) - kept} older ones are left out: ask for one status." * (kept < len(jobs)),
        _note_on_places(
            ((job.path, told.path) for job, told in zip(saved, jobs[:kept], strict=False)), remote
        ),
        SANDBOX_NOTE if sandbox else "",
    )
    told = JobList(
        jobs=tuple(jobs[:kept]),
        next="get_job(job_id), which reads one as it is now" if jobs else None,
        note=_joined(notes) or None,
    )
    head = f"{len(jobs)} job{'' if len(jobs) == 1 else 's'}, newest first, as last known."
    if not jobs:
        head = "No such job: this server has submitted none that fits."
    lines = [_joined((head, told.note, _next_sentence(told.next)))]
    left = LONGEST_TEXT - len(lines[0]) - 40
    for number, job in enumerate(told.jobs):
        line = _row(job)
        left -= len(line) + 1
        if left < 0:
            lines.append(f"… and {len(jobs) - number} more.")
            break
        lines.append(line)
    return _answer(lines, told, meta=_for_gallery(told.jobs))


def media_answer(found: Found, *, sandbox: bool = False) -> CallToolResult:
    """What was found, one a line; the links are in the data alone."""
    count, usable = len(found.media), any(item.can for item in found.media)
    is_for_making = any("generate_image" in item.can for item in found.media)
    as_image = ", to generate_* as start_image or reference_image" if is_for_making else ""
    calls = (
        f"give a row's source to a tool named in its can{as_image}" if usable else "",
        f"list_media(cursor={found.cursor}), for more" if found.cursor else "",
    )
    notes = (*found.notes, SANDBOX_NOTE if sandbox else "")
    told = MediaList(
        media=found.media,
        cursor=found.cursor,
        next="; or ".join(filter(None, calls)) or None,
        note=_joined(notes) or None,
    )
    head = f"{count} found{'' if found.cursor else ', and no more'}."
    lines = [_joined((head, told.note, _next_sentence(told.next)))]
    lines += [_found_row(item) for item in found.media]
    steps = steps_for(found.media)
    return _answer(lines, told, meta={STEPS: steps} if steps else None)


def fits_a_page(media: Sequence[FoundMedia]) -> bool:
    """Whether an answer holds so many, whole, as text and as data."""
    text = sum(len(_found_row(item)) + 1 for item in media)
    data = sum(len(item.model_dump_json(exclude_none=True)) for item in media)
    return text <= LONGEST_TEXT - _LONGEST_HEAD and data <= LONGEST_LIST - _LONGEST_HEAD


def check_answer(found: Check, *, note: str = "", sandbox: bool = False) -> CallToolResult:
    """A check: a line for the whole, one a service, each fault with its hint.

    Args:
        note: what to mind beside what the check itself says.
    """
    of_services = (service.note for service in found.services)
    notes = (*of_services, note, SANDBOX_NOTE if sandbox else "")
    told = found.model_copy(
        update={
            "services": tuple(
                service.model_copy(update={"note": None}) for service in found.services
            ),
            "next": None if found.ok else "check_accounts(), once that is mended",
            "note": _joined(notes) or None,
        }
    )
    whole = f"Token {found.token}, subscription {found.subscription}."
    if found.problem:
        whole = f"{found.problem} {found.hint}"
    head = "Ready to work." if found.ok else "Not ready to work."
    lines = [_joined((head, whole, told.note, _next_sentence(told.next)))]
    for service in found.services:
        accounts = map(_account, service.accounts)
        parts = (service.problem, "; ".join(accounts), service.hint)
        lines.append(f"{service.service}: {_joined(parts)}")
    return _answer(lines, told)


def error_answer(error: UseapiError, *, sandbox: bool = False) -> CallToolResult:
    """An error as text: what happened, what to do next, and one line of JSON to branch on."""
    text = _joined((error.message, error.hint, SANDBOX_NOTE if sandbox else ""))
    facts = json.dumps(error.facts(), separators=(",", ":"))
    return CallToolResult(content=[_text(f"{text}\n{facts}")], is_error=True)


def _sentence(job: Job, told: Job) -> str:
    """What the data says: status, price, size, and that places follow."""
    title = title_of(job.service)
    if job.status == "completed":
        return f"Job {job.job_id} on {title} is completed{_result(job)}.{_where(job, told)}"
    if job.status == "running":
        cost = f" (forecast: {job.forecast_credits:g} credits)" if job.forecast_credits else ""
        return f"{title} is {operation_named(job.operation).doing}{cost}: job {job.job_id} runs."
    if job.status == "submitting":
        return f"{title} has not answered yet; the request goes on as job {job.job_id}."
    if job.status == "queued":
        place = f", number {job.queue_position} in the queue" if job.queue_position else ""
        return f"All slots of {title} are taken: job {job.job_id} waits for one{place}."
    if job.status == "unconfirmed":
        return f"It is not known whether {title} took job {job.job_id}{_because(job)}."
    ended = "failed" if job.status == "failed" else "was cancelled"
    return f"Job {job.job_id} on {title} {ended}{_because(job)}."


def _note(job: Job) -> str:
    """What its caller must mind that no other field says."""
    if job.operation == "upload":
        return _note_on_upload(job)
    notes: list[str] = []
    if job.reused and job.status in ("running", "completed"):
        verb = "made" if job.ended else "started"
        notes.append(f"An earlier call {verb} it, so nothing was submitted now.")
    if job.status == "completed":
        notes += (_note_on_count(job), _note_on_files(job.media or ()))
    if job.status == "submitting":
        notes.append("The same call again would join it, not pay again.")
    if job.status == "queued":
        notes.append(
            "It is sent by itself when its turn comes, and costs nothing before. The same call"
            " joins it; cancel_job takes it out of the queue."
        )
    if job.status == "unconfirmed":
        notes.append(
            "It is not sent again by itself. The same call or get_job looks for it again; "
            "cancel_job with this job_id gives it up, and then the same call may be charged a "
            "second time."
        )
    if job.status in ("failed", "cancelled"):
        if job.failure is not None and job.failure.code == "moderated":
            notes.append("The same source or prompt will be refused again; use another.")
        elif job.source:
            notes.append("The same call submits it anew, at its price.")
    return _joined(notes)


def _note_on_count(job: Job) -> str:
    """That fewer came than were asked for: vendors leave out what they refuse without a word."""
    asked, made = (job.options or {}).get("count"), len(job.media or ())
    if not isinstance(asked, int) or not 0 < made < asked:
        return ""
    return f"{asked - made} of {asked} images are left out: refused by moderation, or failed."


def _note_on_upload(job: Job) -> str:
    if job.status == "completed":
        return "The file is there; nothing was charged."
    if job.ended:
        return "The call that began it, made again, sends the file anew, which is free."
    return "An upload is free. It goes on by itself, and the same call joins it."


def _note_on_files(media: tuple[Media, ...]) -> str:
    if not media:
        return "Its record holds no file."
    if not any(item.path or item.url for item in media):
        return "There is no link to its file yet."
    return "A link expires within hours." if _has_unsaved(media) else ""


def _has_unsaved(media: tuple[Media, ...]) -> bool:
    return any(item.url and not item.path for item in media)


def _next(job: Job) -> str | None:
    """The call to make now."""
    if job.operation == "upload":
        again = "the call that began it once more, with the same arguments"
        return again if job.ended else f"{_WAIT}, until it ends; then {again}"
    if job.status in ("queued", "running", "submitting"):
        return f"{_WAIT}, until it ends"
    if job.status == "unconfirmed":
        return _WAIT
    if job.status != "completed":
        return None
    media, further = job.media or (), _further(job)
    if _has_unsaved(media):
        return " or ".join(filter(None, ("download_media(job_id), which saves it", further)))
    return further if any(item.path for item in media) else "get_job(job_id), in a minute"


def _further(job: Job) -> str | None:
    """The call that goes on with what was made of a prompt."""
    if not operation_named(job.operation).from_prompt:
        return None
    service = known_service(job.service)
    return service.further(job) if service is not None else None


def _next_sentence(call: str | None) -> str:
    return f"Next: {call}." if call else ""


def _because(job: Job) -> str:
    return f": {one_line(job.failure.message).rstrip('.')}" if job.failure else ""


def _result(job: Job) -> str:
    """The result as far as it is known: `: 2560x1440, 60 fps, 5.0 s`."""
    if not job.media:
        return ""
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


def _where(job: Job, told: Job) -> str:
    media = told.media or ()
    file_is = "files are" if len(media) > 1 else "file is"
    if any(item.path for item in media):
        return f" The {file_is} saved on the server's disk, at the path below."
    if any(item.path for item in job.media or ()):
        return f" The {file_is} saved, at the link below."
    if any(item.url for item in media):
        return f" The link{'s are' if len(media) > 1 else ' is'} below."
    return ""


def _places(job: Job) -> list[str]:
    """Where the files are, the server's disk first."""
    media = job.media or ()
    paths = [item.path for item in media if item.path]
    return paths + [item.url for item in media if item.url]


def _as_told(item: Media, remote: Remote | None) -> Media:
    """Without what no caller needs: the links of what was saved, and the vendor's own names."""
    places: dict[str, str | None] = {}
    if item.path:
        link = remote.link_to(item.path) if remote else None
        places = {"url": link, "path": None if link else item.path, "thumbnail_url": None}
    return item.model_copy(update={"listed_as": None, **places})


def _with_link(job: ListedJob, remote: Remote | None) -> ListedJob:
    link = remote.link_to(job.path) if remote and job.path else None
    return job.model_copy(update={"path": link}) if link else job


def _note_on_places(places: Iterable[tuple[str | None, str | None]], remote: Remote | None) -> str:
    """What a caller over HTTP must mind of the places of saved files.

    Args:
        places: the path of each, and the one that is told.
    """
    linked = {told != path for path, told in places if path}
    if remote is None:
        return ""
    return _joined((_LINKED * (True in linked), _ANOTHER_DISK * (False in linked)))


def _for_viewer(job: Job, told: Job, remote: Remote | None) -> dict[str, object] | None:
    """What the viewer shows beside the job; hosts keep `_meta` from the model."""
    meta: dict[str, object] = {}
    pairs = list(zip(job.media or (), told.media or (), strict=True))
    if any(item.path and (item.url or not shown.path) for item, shown in pairs):
        meta[LINKS] = [
            item.model_dump(include={"url", "thumbnail_url"}, exclude_none=True)
            | ({"saved": True} if item.path and not shown.path else {})
            for item, shown in pairs
        ]
    if steps := steps_after(job):
        meta[STEPS] = steps
    if remote is not None and any(item.path for item in told.media or ()):
        meta[REMOTE] = True
    return meta or None


def _for_gallery(jobs: Sequence[ListedJob]) -> dict[str, object] | None:
    """What the gallery shows of jobs: their first files with links, and what can be done next."""
    rows: list[dict[str, object]] = []
    sources: list[FoundMedia] = []
    left = _MOST_ROWS_BYTES
    for listed in jobs:
        row: dict[str, object] = {}
        if (job := listed.job) is not None and job.media:
            facts = {"kind", "width", "height", "duration_ms", "url", "thumbnail_url"}
            row = job.media[0].model_dump(include=facts, exclude_none=True)
            steps = [step for step in steps_after(job) if step["file"] == 0]
            if steps:
                source, can = str(steps[0]["source"]), tuple(str(step["tool"]) for step in steps)
                row |= {"source": source, "can": list(dict.fromkeys(can))}
                sources.append(
                    FoundMedia(source=source, service=job.service, kind=job.kind, can=can)
                )
            left -= len(json.dumps(row))
        rows.append(row if left >= 0 else {})
    if not any(rows):
        return None
    return {ROWS: rows, STEPS: steps_for(sources)}


def _row(job: ListedJob) -> str:
    """`<time> upscale_image completed <id> of <source>, resolution 8k, in <path>`."""
    options = (f", {name} {value}" for name, value in (job.options or {}).items())
    return (
        f"{job.created_at} {job.operation} {job.status} {job.job_id}"
        f"{_of(job)}{''.join(options)}"
        f"{f', in {job.path}' if job.path else ''}"
    )


def _of(job: ListedJob) -> str:
    if not job.source:
        return ""
    is_text = operation_named(job.operation).from_prompt
    return f" from \u201c{job.source}\u201d" if is_text else f" of {job.source}"


def _that_fit(jobs: list[ListedJob]) -> int:
    """How many of them, from the first on, a list may hold."""
    left = LONGEST_LIST
    for number, job in enumerate(jobs):
        left -= len(job.model_dump_json(exclude_none=True))
        if left < 0:
            return number
    return len(jobs)


def _account(account: AccountCheck) -> str:
    """`jo***@ex***.com healthy, 120 credits, plan Premium, 3 free slots, models: v6, v5`."""
    facts = (
        f"{account.name} {account.problem or 'healthy'}",
        "" if account.credits is None else f"{account.credits:,g} credits",
        f"plan {account.plan}" if account.plan else "",
        "" if account.free_slots is None else f"{account.free_slots} free slots",
        f"models: {', '.join(account.models)}" if account.models else "",
    )
    return ", ".join(filter(None, facts))


def _found_row(item: FoundMedia) -> str:
    """`<time> video <source>, 640x360, 5.0 s, made here, "<prompt>", can upscale_video`."""
    size = f"{item.width}x{item.height}" if item.width and item.height else ""
    facts = (
        " ".join(filter(None, (item.created_at, item.service, item.kind, item.source))),
        "" if item.image_index is None else f"image_index {item.image_index}",
        item.model,
        size,
        f"{item.duration_ms / 1000:.1f} s" if item.duration_ms else "",
        "made here" if item.made_here else "",
        f"\u201c{one_line(item.prompt, 60)}\u201d" if item.prompt else "",
        f"can {' '.join(item.can)}" if item.can else "no tool takes it",
    )
    return ", ".join(filter(None, facts))


def _joined(sentences: Iterable[str | None]) -> str:
    return " ".join(sentence for sentence in sentences if sentence)


def _answer(
    lines: list[str], data: BaseModel, meta: dict[str, object] | None = None
) -> CallToolResult:
    return CallToolResult(
        content=[_text("\n".join(lines))],
        structured_content=data.model_dump(mode="json", exclude_none=True),
        _meta=meta,
    )


def _text(text: str) -> TextContent:
    if len(text) > LONGEST_TEXT:
        text = text[: LONGEST_TEXT - 1] + "…"
    return TextContent(type="text", text=text)
