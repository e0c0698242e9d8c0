"""The official Python SDK, 1.x: `ClientSession`."""

import asyncio
import contextlib
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client
from story import COMMAND, HEADERS, URL, Answer, tell


async def main() -> None:
    async with contextlib.AsyncExitStack() as stack:
        streams = await stack.enter_async_context(
            stdio_client(StdioServerParameters(command=COMMAND[0], args=COMMAND[1:]))
            if COMMAND
            else streamablehttp_client(URL, headers=HEADERS)
        )
        session = await stack.enter_async_context(ClientSession(streams[0], streams[1]))
        await session.initialize()

        async def call(name: str, arguments: dict[str, Any]) -> Answer:
            result = await session.call_tool(name, arguments)
            data = getattr(result, "structuredContent", None)  # unknown before 2025-06-18
            return Answer(result.content[0].text, data, result.isError)

        await tell((tool.name for tool in (await session.list_tools()).tools), call)


asyncio.run(main())
