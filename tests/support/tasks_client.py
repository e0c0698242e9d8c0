"""The client's half of the tasks extension, for the official client: it shows the wire as it is."""

import asyncio
from typing import Any, Literal

from mcp import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.types import CallToolResult, Request, RequestParams, Result
from pydantic import ConfigDict, Field

from mcp_server.server.tasks import IDENTIFIER

Method = Literal["tasks/get", "tasks/update", "tasks/cancel"]


class Raw(Result):
    """Whatever came, with the names it had on the wire."""

    model_config = ConfigDict(extra="allow", alias_generator=None)

    def wire(self) -> dict[str, Any]:
        dumped = self.model_dump(by_alias=True, mode="json")
        return {n: value for n, value in dumped.items() if n == "ttlMs" or value is not None}


class Created(Raw):
    result_type: Literal["task"] = Field(alias="resultType")


class _Params(RequestParams):
    task_id: str = Field(serialization_alias="taskId")
    input_responses: dict[str, Any] | None = Field(
        default=None, serialization_alias="inputResponses"
    )


class _Ask(Request[_Params, Method]):
    name_param = "taskId"
    method: Method
    params: _Params


class TasksClient(ClientExtension):
    """Declares tasks, and follows each to its end; `created` is how they began."""

    identifier = IDENTIFIER

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []

    def claims(self) -> list[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Created, resolve=self._resolve)]

    async def _resolve(self, created: Created, ctx: ClaimContext) -> CallToolResult:
        task = created.wire()
        self.created.append(task)
        while task["status"] == "working":
            await asyncio.sleep(task["pollIntervalMs"] / 1000)
            request = _Ask(method="tasks/get", params=_Params(task_id=task["taskId"]))
            task = (await ctx.session.send_request(request, Raw)).wire()
        return CallToolResult.model_validate(task["result"])


DECLARED: dict[str, Any] = {"extensions": [TasksClient()]}
"""Options of a client that declares tasks."""


async def call(client: Client, tool: str, /, **arguments: Any) -> dict[str, Any]:
    """A task as it was created, or else the tool's answer, both as on the wire."""
    result = await client.session.call_tool(tool, arguments, allow_claimed=True)
    if isinstance(result, Raw):
        return result.wire()
    return result.model_dump(by_alias=True, mode="json", exclude_none=True)


async def ask(
    client: Client, method: Method, task_id: str, input_responses: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What a tasks request is answered."""
    params = _Params(task_id=task_id, input_responses=input_responses)
    request = _Ask(method=method, params=params)
    return (await client.session.send_request(request, Raw)).wire()
