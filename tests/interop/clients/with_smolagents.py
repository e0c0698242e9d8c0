"""smolagents: its tools are plain functions."""

import asyncio
from typing import Any

from mcp import StdioServerParameters
from smolagents import MCPClient
from story import COMMAND, HEADERS, URL, Answer, tell

SERVER = (
    StdioServerParameters(command=COMMAND[0], args=COMMAND[1:])
    if COMMAND
    else {"url": URL, "transport": "streamable-http", "headers": HEADERS}
)

with MCPClient(SERVER, structured_output=True) as offered:
    tools = {tool.name: tool for tool in offered}

    async def call(name: str, arguments: dict[str, Any]) -> Answer:
        result = tools[name](**arguments)
        data = result if isinstance(result, dict) else None
        return Answer(str(result), data, data is None)

    asyncio.run(tell(tools, call))
