"""google-adk: a toolset for its agents."""

import asyncio
from typing import Any

from google.adk.agents import Agent
from google.adk.agents.invocation_context import InvocationContext
from google.adk.sessions import InMemorySessionService
from google.adk.tools import ToolContext
from google.adk.tools.mcp_tool.mcp_session_manager import (
    StdioConnectionParams,
    StreamableHTTPConnectionParams,
)
from google.adk.tools.mcp_tool.mcp_toolset import McpToolset
from mcp import StdioServerParameters
from story import COMMAND, HEADERS, URL, Answer, tell


async def main() -> None:
    server = (
        StdioConnectionParams(
            server_params=StdioServerParameters(command=COMMAND[0], args=COMMAND[1:])
        )
        if COMMAND
        else StreamableHTTPConnectionParams(url=URL, headers=HEADERS)
    )
    toolset = McpToolset(connection_params=server)
    sessions = InMemorySessionService()
    invocation = InvocationContext(
        invocation_id="1",
        agent=Agent(name="editor"),
        session=await sessions.create_session(app_name="interop", user_id="user"),
        session_service=sessions,
    )
    try:
        tools = {tool.name: tool for tool in await toolset.get_tools()}

        async def call(name: str, arguments: dict[str, Any]) -> Answer:
            # A tool with a viewer draws it into the call of the agent, so there must be one.
            context = ToolContext(invocation, function_call_id="1")
            result = await tools[name].run_async(args=arguments, tool_context=context)
            assert "content" in result, result
            data = result.get("structuredContent")
            return Answer(result["content"][0]["text"], data, bool(result.get("isError")))

        await tell(tools, call)
    finally:
        await toolset.close()


asyncio.run(main())
