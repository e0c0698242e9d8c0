"""fastmcp; with fastmcp-tasks a job is followed as a task, and its end is the tool's answer."""

import asyncio
from typing import Any

import fastmcp_tasks  # noqa: F401 - makes the client declare tasks
from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from story import COMMAND, HEADERS, URL, Answer, tell


async def main() -> None:
    server = (
        StdioTransport(command=COMMAND[0], args=COMMAND[1:])
        if COMMAND
        else StreamableHttpTransport(URL, headers=HEADERS)
    )
    async with Client(server) as client:

        async def call(name: str, arguments: dict[str, Any]) -> Answer:
            result = await client.call_tool(name, arguments, raise_on_error=False)
            return Answer(result.content[0].text, result.structured_content, result.is_error)

        await tell((tool.name for tool in await client.list_tools()), call)


asyncio.run(main())
