"""Jobs as tasks: what the Tasks extension asks, answered from our jobs."""

import contextlib

from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, CallToolRequestParams, CallToolResult

from mcp_server.app import App
from mcp_server.clock import iso
from mcp_server.errors import ExpiredError, NotFoundError, RequestError, UseapiError
from mcp_server.jobs import OUR_ID_PREFIX, Job
from mcp_server.redaction import one_line
from mcp_server.results import job_answer
from mcp_server.services import service_named
from mcp_server.tasks import RequestContext, Task, Tasks, TaskStatus

_KEPT_MS = 7 * 86_400_000  # the shortest time a vendor keeps jobs (Google Flow)
_STARTERS = ("upscale_video", "interpolate_video", "upscale_image")
_NEXT_READ_S = 5  # after one that failed


def job_tasks() -> Tasks:
    return Tasks(created=_created, get=_get, cancel=_cancel)


def _created(
    ctx: RequestContext, params: CallToolRequestParams, result: CallToolResult
) -> Task | None:
    """A paid call whose job still runs becomes a task; one that has ended is its own answer."""
    if params.name not in _STARTERS or result.structured_content is None:
        return None
    app: App = ctx.lifespan_context
    job = Job.model_validate(result.structured_content)
    return None if _ended(job) else _task(app, job.job_id, job)


async def _get(ctx: RequestContext, task_id: str) -> Task | None:
    app: App = ctx.lifespan_context
    try:
        return _task(app, task_id, await app.read(task_id))
    except (NotFoundError, ExpiredError, RequestError):
        return None
    except UseapiError as error:
        if not error.retryable:  # a wrong token, say: to go on asking would not help
            raise MCPError(INTERNAL_ERROR, f"{error.what} {error.do}", error.facts()) from None
        return _unread(app, task_id, error)


async def _cancel(ctx: RequestContext, task_id: str) -> Task | None:
    """Ask the vendor, where it can be asked. Cancelling is a wish: tasks/get tells what came of it.

    An unconfirmed job is never given up by this: the same call could then be charged again.
    """
    app: App = ctx.lifespan_context
    task = await _get(ctx, task_id)
    if task is not None and task.status == "working":
        with contextlib.suppress(UseapiError):
            job = await app.waiting.read(task_id)
            if not job.job_id.startswith(OUR_ID_PREFIX):
                await service_named(job.service).cancel(app.upstream, job.job_id)
                await app.waiting.read(task_id, afresh=True)
    return task


def _task(app: App, task_id: str, job: Job) -> Task:
    now = iso(app.clock.now())
    status: TaskStatus = "completed" if _ended(job) else "working"
    if job.status == "cancelled":
        status = "cancelled"
    return Task(
        task_id=task_id,
        status=status,
        status_message=job.status,
        created_at=job.created_at or now,
        last_updated_at=job.updated_at or now,
        ttl_ms=_KEPT_MS,
        poll_interval_ms=1000 * app.waiting.poll_after_s(job) if status == "working" else None,
        result=_result(app, job) if status == "completed" else None,
    )


def _unread(app: App, task_id: str, error: UseapiError) -> Task:
    """A read that failed says nothing about the job: the client asks again."""
    now = iso(app.clock.now())
    row = app.journal.get(task_id)
    return Task(
        task_id=task_id,
        status="working",
        status_message=one_line(error.what),
        created_at=iso(row.created_at) if row is not None else now,
        last_updated_at=now,
        ttl_ms=_KEPT_MS,
        poll_interval_ms=1000 * (error.retry_after_seconds or _NEXT_READ_S),
    )


def _ended(job: Job) -> bool:
    """An unconfirmed job has no end, but waiting brings none either: its answer says what to do."""
    return job.ended or job.status == "unconfirmed"


def _result(app: App, job: Job) -> dict[str, object]:
    answer = job_answer(job, sandbox=app.settings.sandbox)
    # The work failed, not the protocol: such a task is completed, and its answer is an error.
    answer.is_error = job.status == "failed"
    return answer.model_dump(by_alias=True, mode="json", exclude_none=True)
