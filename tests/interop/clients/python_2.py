"""The official Python SDK, 2.x: `mcp.Client`."""

import asyncio
from typing import Any

import httpx2
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from story import COMMAND, HEADERS, URL, Answer, tell


async def main() -> None:
    async with httpx2.AsyncClient(headers=HEADERS) as http:
        server = (
            StdioServerParameters(command=COMMAND[0], args=COMMAND[1:])
            if COMMAND
            else streamable_http_client(URL, http_client=http)
        )
        async with Client(server) as client:

            async def call(name: str, arguments: dict[str, Any]) -> Answer:
                result = await client.call_tool(name, arguments)
                return Answer(result.content[0].text, result.structured_content, result.is_error)

            await tell((tool.name for tool in (await client.list_tools()).tools), call)


asyncio.run(main())
