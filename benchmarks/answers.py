"""How much a model reads: the list of tools, and the answers of the usual calls."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.types import CallToolResult, TextContent

from benchmarks import peers
from benchmarks.figures import Figure
from mcp_server.server.factory import create_server
from mcp_server.settings import Settings

MOST_LIST_BYTES, MOST_LIST_TOKENS = 12_500, 3_000
_TOKENIZER = peers.ROOT / ".interop" / "tokens"
_COUNT = """
const { encode } = require("gpt-tokenizer/cjs/encoding/o200k_base");
const texts = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(texts.map((text) => encode(text).length)));
"""


def measure() -> list[Figure]:
    """Bytes, and tokens of o200k_base where Node.js is there to count them."""
    texts = asyncio.run(_texts())
    tokens = _tokens(list(texts.values()))
    figures = []
    for position, (what, text) in enumerate(texts.items()):
        is_list = what == "list of tools"
        most_bytes, most_tokens = (MOST_LIST_BYTES, MOST_LIST_TOKENS) if is_list else (None, None)
        figures.append(Figure(what, "bytes", (len(text.encode()),), most=most_bytes))
        if tokens:
            figures.append(Figure(what, "tokens", (tokens[position],), most=most_tokens))
    return figures


async def _texts() -> dict[str, str]:
    """What a model is given, by what it is."""
    with peers.folder() as folder, peers.vendor() as origin:
        settings = Settings.read(
            {
                "USEAPI_TOKEN": peers.TOKEN,
                "USEAPI_BASE_URL": origin,
                "USEAPI_STATE_DIR": str(folder / "state"),
                "USEAPI_OUTPUT_DIR": str(folder / "output"),
            }
        )
        async with Client(create_server(settings)) as client:
            tools = (await client.list_tools()).tools
            listed = [
                {
                    "name": tool.name,
                    "description": tool.description,
                    "input_schema": tool.input_schema,
                }
                for tool in tools
            ]
            job = await client.call_tool("get_job", {"job_id": peers.JOB.format(1)})
            refused = await client.call_tool("get_job", {"job_id": "clip.mp4"})
    assert isinstance(job, CallToolResult)
    assert isinstance(refused, CallToolResult)
    return {
        "list of tools": _json(listed),
        "finished job, its text": _text_of(job),
        "finished job, its data": _json(job.structured_content),
        "refusal of a wrong id": _text_of(refused),
    }


def _text_of(result: CallToolResult) -> str:
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _tokens(texts: list[str]) -> list[int]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if not (node and npm):
        print("answers: without Node.js no tokens are counted")
        return []
    if not Path(_TOKENIZER, "node_modules").exists():
        _TOKENIZER.mkdir(parents=True, exist_ok=True)
        install = [npm, "install", "--silent", "--no-audit", "--no-fund", "gpt-tokenizer"]
        if subprocess.run(install, cwd=_TOKENIZER, check=False).returncode:
            print("answers: gpt-tokenizer can't be had, so no tokens are counted")
            return []
    counted = subprocess.run(
        [node, "-e", _COUNT],
        cwd=_TOKENIZER,
        input=json.dumps(texts),
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    return [int(number) for number in json.loads(counted.stdout)]
