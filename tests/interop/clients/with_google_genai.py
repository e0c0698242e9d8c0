"""google-genai: its own adapter makes Gemini's function declarations of the tools."""

import asyncio
from typing import Any

import httpx2
from google.genai import _adapters, types
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
            adapter = _adapters.McpToGenAiToolAdapter(client, await client.list_tools())
            declared = [tool.function_declarations[0] for tool in adapter.tools]
            (fps,) = (d.parameters.properties["fps"] for d in declared if "interp" in d.name)
            assert (30, 60) == (fps.minimum, fps.maximum), fps

            async def call(name: str, arguments: dict[str, Any]) -> Answer:
                result = await adapter.call_tool(types.FunctionCall(name=name, args=arguments))
                return Answer(result.content[0].text, result.structured_content, result.is_error)

            await tell((function.name for function in declared), call)


asyncio.run(main())
