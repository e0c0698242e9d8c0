"""langchain-mcp-adapters: tools for LangChain agents, called as a model's tool call."""

import asyncio
from typing import Any

from langchain_mcp_adapters.client import MultiServerMCPClient
from story import COMMAND, HEADERS, URL, Answer, tell


async def main() -> None:
    server = (
        {"transport": "stdio", "command": COMMAND[0], "args": COMMAND[1:]}
        if COMMAND
        else {"transport": "streamable_http", "url": URL, "headers": HEADERS}
    )
    client = MultiServerMCPClient({"useapi": server})
    async with client.session("useapi") as session:
        from langchain_mcp_adapters.tools import load_mcp_tools

        tools = {tool.name: tool for tool in await load_mcp_tools(session)}

        async def call(name: str, arguments: dict[str, Any]) -> Answer:
            asked = {"type": "tool_call", "id": "1", "name": name, "args": arguments}
            message = await tools[name].ainvoke(asked)
            data = (message.artifact or {}).get("structured_content")
            return Answer(str(message.content), data, message.status == "error" or data is None)

        await tell(tools, call)


asyncio.run(main())
