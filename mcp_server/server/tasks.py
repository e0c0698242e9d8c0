"""Jobs as MCP tasks (`io.modelcontextprotocol/tasks`, SEP-2663).

The task's id is the job's, ours or the vendor's, so nothing is stored for a task. Only a client
that declares the extension on its request gets one; to all others the tools answer with the job.
The wire follows ext-tasks, specification/draft (August 2026).
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver.server import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    CallToolRequestParams,
    CallToolResult,
    RequestParams,
)
from mcp_types.jsonrpc import HEADER_MISMATCH
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import AliasGenerator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mcp_server.clock import iso
from mcp_server.errors import ExpiredError, NotFoundError, RequestError, UseapiError
from mcp_server.jobs.jobs import may_only_read
from mcp_server.models import PAID_OPERATIONS, Job
from mcp_server.redaction import one_line
from mcp_server.tools.context import AppContext, current_caller
from mcp_server.tools.results import job_answer

IDENTIFIER = "io.modelcontextprotocol/tasks"
_VERSIONS = frozenset(MODERN_PROTOCOL_VERSIONS)

RequestContext = ServerRequestContext[Any, Any]
TaskStatus = Literal["working", "completed", "failed", "cancelled"]


class Task(BaseModel):
    """A task on the wire. Only tasks/get answers with `result` and `error`."""

    model_config = ConfigDict(alias_generator=AliasGenerator(serialization_alias=to_camel))

    task_id: str
    status: TaskStatus
    status_message: str | None = None
    created_at: str
    last_updated_at: str
    ttl_ms: int | None
    poll_interval_ms: int | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None

    def on_the_wire(self, result_type: Literal["task", "complete"]) -> dict[str, Any]:
        fields = self.model_dump(by_alias=True, exclude_none=True, mode="json")
        return {"resultType": result_type, **fields, "ttlMs": self.ttl_ms}  # required, even as null


Created = Callable[[RequestContext, CallToolRequestParams, CallToolResult], Task | None]
Known = Callable[[RequestContext, str], Awaitable[Task | None]]


class _TaskParams(RequestParams):
    task_id: str = Field(alias="taskId", min_length=1, max_length=512)


class _UpdateParams(_TaskParams):
    input_responses: dict[str, Any] = Field(default_factory=dict, alias="inputResponses")


class Tasks(Extension):
    """The extension; what a task is and does comes from three functions.

    Args:
        created: the task that a tool's answer becomes; None: it stays an answer.
        get: the task with this id, with its result once it has one; None: there is none.
        cancel: the same, after it was asked to stop.
    """

    identifier = IDENTIFIER

    def __init__(self, *, created: Created, get: Known, cancel: Known) -> None:
        self._created = created
        self._get = get
        self._cancel = cancel

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: RequestContext, call_next: CallNext
    ) -> HandlerResult:
        result = await call_next(ctx)
        if not (_declared(ctx) and isinstance(result, CallToolResult)) or result.is_error:
            return result
        task = self._created(ctx, params, result)
        return result if task is None else task.on_the_wire("task")

    def methods(self) -> list[MethodBinding]:
        return [
            MethodBinding("tasks/get", _TaskParams, self._on_get, _VERSIONS),
            MethodBinding("tasks/cancel", _TaskParams, self._on_cancel, _VERSIONS),
            MethodBinding("tasks/update", _UpdateParams, self._on_update, _VERSIONS),
        ]

    async def _on_get(self, ctx: RequestContext, params: _TaskParams) -> HandlerResult:
        task = await self._found(ctx, params, self._get, "retrieve")
        return task.on_the_wire("complete")

    async def _on_cancel(self, ctx: RequestContext, params: _TaskParams) -> HandlerResult:
        await self._found(ctx, params, self._cancel, "cancel")
        return {"resultType": "complete"}  # an acknowledgement; what came of it is in tasks/get

    async def _on_update(self, ctx: RequestContext, params: _UpdateParams) -> HandlerResult:
        # All questions come before the task, so no task waits for an answer.
        await self._found(ctx, params, self._get, "update")
        return {"resultType": "complete"}

    @staticmethod
    async def _found(ctx: RequestContext, params: _TaskParams, ask: Known, verb: str) -> Task:
        require_client_extension(ctx, IDENTIFIER)
        named = (getattr(ctx.request, "headers", None) or {}).get(MCP_NAME_HEADER)
        if named is not None and decode_header_value(named) != params.task_id:
            raise MCPError(
                HEADER_MISMATCH, "mcp-name header does not match the request body's 'taskId'"
            )
        task = await ask(ctx, params.task_id)
        if task is None:
            raise MCPError(INVALID_PARAMS, f"Failed to {verb} task: Task not found")
        return task


def _declared(ctx: RequestContext) -> bool:
    able = ctx.session.client_capabilities
    extensions = able.extensions if able is not None else None
    return ctx.protocol_version in _VERSIONS and IDENTIFIER in (extensions or {})


async def refuse_undeclared_listen(ctx: RequestContext, call_next: CallNext) -> HandlerResult:
    """Middleware: to listen for tasks a client must declare the extension too."""
    if ctx.method == "subscriptions/listen":
        wanted = (ctx.params or {}).get("notifications")
        if isinstance(wanted, Mapping) and wanted.get("taskIds"):
            require_client_extension(ctx, IDENTIFIER)
    return await call_next(ctx)


_KEPT_MS = 7 * 86_400_000  # the shortest time a vendor keeps jobs (Google Flow)
_NEXT_READ_S = 5  # after one that failed


def job_tasks() -> Tasks:
    return Tasks(created=_created, get=_get, cancel=_cancel)


def _created(
    ctx: RequestContext, params: CallToolRequestParams, result: CallToolResult
) -> Task | None:
    """A paid call whose job still runs becomes a task; one that has ended is its own answer."""
    if params.name not in PAID_OPERATIONS or result.structured_content is None:
        return None
    job = Job.model_validate(result.structured_content)
    return None if _ended(job) else _task(ctx, job.job_id, job)


async def _get(ctx: RequestContext, task_id: str) -> Task | None:
    app: AppContext = ctx.lifespan_context
    try:
        return _task(ctx, task_id, await app.jobs.get(task_id))
    except (NotFoundError, ExpiredError, RequestError):
        return None
    except UseapiError as error:
        if not error.retryable:  # a wrong token, say: to go on asking would not help
            raise MCPError(INTERNAL_ERROR, f"{error.message} {error.hint}", error.facts()) from None
        return await _unread(app, task_id, error)


async def _cancel(ctx: RequestContext, task_id: str) -> Task | None:
    """The task as it was before the vendor was asked to cancel it, where it can be asked.

    An unconfirmed job is never given up by this: the same call could then be charged again.
    """
    app: AppContext = ctx.lifespan_context
    if not current_caller().may_submit:
        fault = may_only_read()
        raise MCPError(INVALID_REQUEST, f"{fault.message} {fault.hint}", fault.facts())
    task = await _get(ctx, task_id)
    if task is not None and task.status == "working":
        with contextlib.suppress(UseapiError):
            await app.jobs.cancel(task_id, may_give_up=False)
    return task


def _task(ctx: RequestContext, task_id: str, job: Job) -> Task:
    app: AppContext = ctx.lifespan_context
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
        poll_interval_ms=_poll_ms(job) if status == "working" else None,
        result=_result(ctx, job) if status == "completed" else None,
    )


async def _unread(app: AppContext, task_id: str, error: UseapiError) -> Task:
    """A task whose job could not be read: it is still working, and the client asks again."""
    now = iso(app.clock.now())
    known = await app.jobs.known(task_id)
    return Task(
        task_id=task_id,
        status="working",
        status_message=one_line(error.message),
        created_at=(known and known.created_at) or now,
        last_updated_at=now,
        ttl_ms=_KEPT_MS,
        poll_interval_ms=1000 * (error.retry_after_seconds or _NEXT_READ_S),
    )


def _poll_ms(job: Job) -> int:
    return 1000 * (job.poll_after_seconds or _NEXT_READ_S)


def _ended(job: Job) -> bool:
    """Whether waiting brings nothing more: an unconfirmed job's answer says what to do."""
    return job.ended or job.status == "unconfirmed"


def _result(ctx: RequestContext, job: Job) -> dict[str, object]:
    app: AppContext = ctx.lifespan_context
    answer = job_answer(job, sandbox=app.settings.sandbox, remote=app.remote(ctx.request))
    # A job that failed is a completed task whose answer is an error: the protocol did not fail.
    answer.is_error = job.status == "failed"
    return answer.model_dump(by_alias=True, mode="json", exclude_none=True)
