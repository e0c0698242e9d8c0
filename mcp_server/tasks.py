"""MCP Tasks (`io.modelcontextprotocol/tasks`, SEP-2663): a job seen through another door.

The task's id is the job's, ours or the vendor's, so nothing is stored for a task. Only a client
that declares the extension on its request gets one; to all others the tools answer with the job.
The wire follows ext-tasks, specification/draft (August 2026).
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver.server import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp.types import INVALID_PARAMS, CallToolRequestParams, CallToolResult, RequestParams
from mcp_types.jsonrpc import HEADER_MISMATCH
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import AliasGenerator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

IDENTIFIER = "io.modelcontextprotocol/tasks"
_VERSIONS = frozenset(MODERN_PROTOCOL_VERSIONS)

RequestContext = ServerRequestContext[Any, Any]
TaskStatus = Literal["working", "completed", "failed", "cancelled"]


class Task(BaseModel):
    """A task on the wire. `result` and `error` are only told by tasks/get."""

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
    """The extension, over three questions that are answered elsewhere.

    Args:
        created: the task a tool's answer stands for; None if it is a plain answer.
        get: the task with this id, with its result once it has one; None if nobody made it.
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
