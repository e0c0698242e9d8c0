"""Jobs as tasks: what the Tasks extension asks, answered from our jobs."""

from mcp.types import CallToolRequestParams, CallToolResult

from mcp_server.app import App
from mcp_server.clock import iso
from mcp_server.errors import (
    ExpiredError,
    NotFoundError,
    RequestError,
    UnsupportedError,
    UseapiError,
)
from mcp_server.jobs import OUR_ID_PREFIX, Job
from mcp_server.results import error_answer, job_answer
from mcp_server.services import service_named
from mcp_server.tasks import RequestContext, Task, Tasks, TaskStatus

_KEPT_MS = 7 * 86_400_000  # the shortest time a vendor keeps jobs (Google Flow)
_STARTERS = ("upscale_video", "interpolate_video", "upscale_image")


def job_tasks() -> Tasks:
    return Tasks(created=_created, get=_get, cancel=_cancel)


def _created(
    ctx: RequestContext, params: CallToolRequestParams, result: CallToolResult
) -> Task | None:
    """A paid call whose job still runs becomes a task; one that has ended is its own answer."""
    if params.name not in _STARTERS or result.structured_content is None:
        return None
    job = Job.model_validate(result.structured_content)
    return None if job.ended or job.status == "unconfirmed" else _task(ctx, job, None)


async def _get(ctx: RequestContext, task_id: str) -> Task | None:
    app: App = ctx.lifespan_context
    try:
        job = await app.waiting.read(task_id)
    except (NotFoundError, ExpiredError, RequestError):
        return None
    except UseapiError as error:
        # A read that failed says nothing about the job: the client asks again.
        return _working(ctx, task_id, error)
    answer = job_answer(job, sandbox=app.settings.sandbox)
    if job.status == "failed":  # the work failed, not the protocol: a completed task says so
        answer.is_error = True
    return _task(ctx, job, answer, task_id)


async def _cancel(ctx: RequestContext, task_id: str) -> Task | None:
    """Ask the vendor, where it can be asked; an unconfirmed job is never given up by this."""
    app: App = ctx.lifespan_context
    task = await _get(ctx, task_id)
    if task is None or task.status != "working":
        return task
    try:
        job = await app.waiting.read(task_id)
        if not job.job_id.startswith(OUR_ID_PREFIX):
            await service_named(job.service).cancel(app.upstream, job.job_id)
            await app.waiting.read(task_id, afresh=True)
    except (UnsupportedError, UseapiError):
        pass  # cancelling is a wish; tasks/get tells how the job stands
    return task


def _task(
    ctx: RequestContext, job: Job, answer: CallToolResult | None, task_id: str | None = None
) -> Task:
    app: App = ctx.lifespan_context
    now = iso(app.clock.now())
    ended = job.ended or job.status == "unconfirmed"
    status: TaskStatus = "completed" if ended else "working"
    if job.status == "cancelled":
        status = "cancelled"
    return Task(
        task_id=task_id or job.job_id,
        status=status,
        status_message=job.status,
        created_at=job.created_at or now,
        last_updated_at=job.updated_at or now,
        ttl_ms=_KEPT_MS,
        poll_interval_ms=None if ended else 1000 * app.waiting.poll_after_s(job),
        result=answer.model_dump(by_alias=True, mode="json", exclude_none=True)
        if answer is not None and status == "completed"
        else None,
    )


def _working(ctx: RequestContext, task_id: str, error: UseapiError) -> Task:
    app: App = ctx.lifespan_context
    now = iso(app.clock.now())
    wait_s = error.retry_after_seconds or 5
    said = str(error_answer(error).content[0].text)  # type: ignore[union-attr]  # an error answer is text
    return Task(
        task_id=task_id,
        status="working",
        status_message=said.splitlines()[0][:300],
        created_at=now,
        last_updated_at=now,
        ttl_ms=_KEPT_MS,
        poll_interval_ms=1000 * wait_s,
    )
