"""pydantic-ai, which follows jobs as tasks through its mcp-tasks extra.

An answer with links reaches its agents as text alone: what they need must be told there too.
"""

import asyncio
import re
from typing import Any

from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from pydantic_ai import ModelRetry
from pydantic_ai.mcp import MCPToolset
from story import COMMAND, HEADERS, URL, Answer, tell


def told(text: str) -> dict[str, Any]:
    """The job as its sentences tell it."""
    job_id, said = re.findall(r"[Jj]ob (\S+).* is (completed|running)", text)[0]
    width = re.findall(r": (\d+)x\d+", text)
    path = re.findall(r"^/.+", text, re.MULTILINE)
    media = [{"width": int(width[0]), "path": path[0] if path else None}] if width else None
    return {"job_id": job_id, "status": said, "media": media}


async def main() -> None:
    server = (
        StdioTransport(command=COMMAND[0], args=COMMAND[1:])
        if COMMAND
        else StreamableHttpTransport(URL, headers=HEADERS)
    )
    async with MCPToolset(server) as toolset:

        async def call(name: str, arguments: dict[str, Any]) -> Answer:
            try:
                result = await toolset.direct_call_tool(name, arguments)
            except ModelRetry as refusal:
                return Answer(str(refusal), is_error=True)
            if isinstance(result, dict):
                return Answer(str(result), result)
            return Answer(result[0], told(result[0]))

        await tell((tool.name for tool in await toolset.list_tools()), call)


asyncio.run(main())
