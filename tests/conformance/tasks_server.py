"""The tools the suite's tasks scenarios call, on our own tasks module, at the URL it prints.

What the tools do is made up here. What a task is on the wire, who gets one and how it is asked for
is `mcp_server.tasks`, as it ships.
"""

import math
import socket
import sys
import time
import uuid
from dataclasses import dataclass, replace
from typing import Annotated

import uvicorn
from mcp.server import MCPServer
from mcp.server.context import CallNext, HandlerResult
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp.server.mcpserver.server import require_client_extension
from mcp.types import CallToolRequestParams, CallToolResult, TextContent
from pydantic import BaseModel

from mcp_server.clock import iso
from mcp_server.server.tasks import (
    IDENTIFIER,
    RequestContext,
    Task,
    Tasks,
    TaskStatus,
    refuse_undeclared_listen,
)

_ONLY_AS_TASKS = ("failing_job", "test_tool_with_task")
_POLL_MS = 500


@dataclass
class Work:
    """What a tool began; `breaks` = it ends in the protocol's error, not in the tool's."""

    began: float
    ends: float
    text: str
    fails: bool = False
    breaks: bool = False
    cancelled: bool = False

    def as_task(self, task_id: str) -> Task:
        now = time.time()
        status: TaskStatus = "working"
        result, error = None, None
        if self.cancelled:
            status = "cancelled"
        elif now >= self.ends and self.breaks:
            status, error = "failed", {"code": -32603, "message": self.text}
        elif now >= self.ends:
            status = "completed"
            said = TextContent(type="text", text=self.text)
            answer = CallToolResult(content=[said], is_error=self.fails)
            result = answer.model_dump(by_alias=True, exclude_none=True, mode="json")
        return Task(
            task_id=task_id,
            status=status,
            status_message=self.text if self.breaks else None,
            created_at=iso(self.began),
            last_updated_at=iso(now),
            ttl_ms=3_600_000,
            poll_interval_ms=_POLL_MS,
            result=result,
            error=error,
        )


class Name(BaseModel):
    name: str


async def ask_for_a_name() -> Elicit[Name]:
    return Elicit("What is your name?", Name)


class Works:
    """What was begun, by the ids of its tasks: what the tasks module asks about."""

    def __init__(self) -> None:
        self._begun: dict[str, Work] = {}

    def begin(self, seconds: float, text: str, **ends: bool) -> CallToolResult:
        task_id, now = str(uuid.uuid4()), time.time()
        self._begun[task_id] = Work(now, now + seconds, text, **ends)
        said = TextContent(type="text", text=f"begun: {task_id}")
        return CallToolResult(content=[said], _meta={"task_id": task_id})

    def created(
        self, ctx: RequestContext, params: CallToolRequestParams, result: CallToolResult
    ) -> Task | None:
        task_id = (result.meta or {}).get("task_id")
        if not isinstance(task_id, str):
            return None
        # A task begins as working, however soon it ends.
        return replace(self._begun[task_id], ends=math.inf).as_task(task_id)

    async def get(self, ctx: RequestContext, task_id: str) -> Task | None:
        work = self._begun.get(task_id)
        return None if work is None else work.as_task(task_id)

    async def cancel(self, ctx: RequestContext, task_id: str) -> Task | None:
        work = self._begun.get(task_id)
        if work is not None and time.time() < work.ends:
            work.cancelled = True
        return await self.get(ctx, task_id)


async def as_tasks_only(ctx: RequestContext, call_next: CallNext) -> HandlerResult:
    """Middleware: some tools are for clients with tasks only."""
    if ctx.method == "tools/call" and (ctx.params or {}).get("name") in _ONLY_AS_TASKS:
        require_client_extension(ctx, IDENTIFIER)
    return await call_next(ctx)


def server() -> MCPServer[None]:
    works = Works()
    mcp: MCPServer[None] = MCPServer(
        "tasks",
        version="1",
        extensions=[Tasks(created=works.created, get=works.get, cancel=works.cancel)],
        middleware=[refuse_undeclared_listen, as_tasks_only],
        log_level="WARNING",
    )

    @mcp.tool()
    async def greet(name: str) -> str:
        return f"Hello, {name}!"

    @mcp.tool()
    async def slow_compute(seconds: float = 0, label: str = "") -> CallToolResult:
        return works.begin(seconds, f"Slept {seconds} s")

    @mcp.tool()
    async def failing_job() -> CallToolResult:
        return works.begin(1, "It failed", fails=True)

    @mcp.tool()
    async def protocol_error_job() -> CallToolResult:
        return works.begin(0.5, "It broke", breaks=True)

    @mcp.tool()
    async def test_tool_with_task(
        who: Annotated[Name, Resolve(ask_for_a_name)],
    ) -> CallToolResult:
        return works.begin(0.2, f"Hello {who.name}")

    return mcp


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", file=sys.stderr, flush=True)
        config = uvicorn.Config(server().streamable_http_app(), log_config=None)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
