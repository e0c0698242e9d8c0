"""openai-agents, its default limit of 5 s a call left alone."""

import asyncio
from typing import Any

from agents.mcp import MCPServerStdio, MCPServerStreamableHttp
from story import COMMAND, HEADERS, URL, Answer, tell


async def main() -> None:
    server = (
        MCPServerStdio(params={"command": COMMAND[0], "args": COMMAND[1:]})
        if COMMAND
        else MCPServerStreamableHttp(params={"url": URL, "headers": HEADERS})
    )
    async with server:

        async def call(name: str, arguments: dict[str, Any]) -> Answer:
            result = await server.call_tool(name, arguments)
            told = result.model_dump()
            data = told.get("structured_content") or told.get("structuredContent")
            is_error = told.get("is_error") or told.get("isError")
            return Answer(told["content"][0]["text"], data, bool(is_error))

        await tell((tool.name for tool in await server.list_tools()), call)


asyncio.run(main())
