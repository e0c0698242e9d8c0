"""The prompts, each of which names the steps of a whole task in the order that works."""

import json
from typing import Annotated

from mcp.server import MCPServer
from mcp.server.mcpserver.prompts.base import Message, UserMessage
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS
from pydantic import Field

from mcp_server.errors import RequestError
from mcp_server.services.base import Service
from mcp_server.services.ids import bare_link, is_path
from mcp_server.services.registry import SERVICES, id_in, service_of
from mcp_server.tools import lenient
from mcp_server.tools.context import AppContext

PROMPTS = {
    "make_clip": frozenset({"prompt"}),
    "enhance_clip": frozenset({"source"}),
    "enhance_file": frozenset({"file"}),
}
"""The prompts, each with the arguments it requires."""

FRAME_RATES = ("30", "60")
_IMAGES = (".jpg", ".jpeg", ".png", ".webp")


def add_prompts(server: MCPServer[AppContext]) -> None:
    """Register `make_clip`, `enhance_clip` and `enhance_file`."""
    server.prompt(title="Make a clip")(make_clip)
    server.prompt(title="Enhance a clip")(enhance_clip)
    server.prompt(title="Enhance a file")(enhance_file)


async def make_clip(
    prompt: Annotated[str, Field(description="What to show: scene, motion, style")],
    service: Annotated[str, Field(description="dreamina, google-flow or pixverse")] = "",
) -> list[Message]:
    """Make a video from a prompt, make it larger, then save the file."""
    maker = _maker(prompt, service)
    named = "" if maker is None else f", service={maker.name}"
    smoother = "interpolate_video(source=<the job_id of step 2>, fps=60), on Dreamina alone"
    return [
        UserMessage(
            "Make a clip for me, in this order:\n"
            f"1. generate_video(prompt={json.dumps(prompt, ensure_ascii=False)}{named}); then "
            "get_job(job_id, wait_seconds=50) until it is completed. If several services may "
            "make it, ask me which.\n"
            "2. upscale_video(source=<the job_id of step 1>); wait for it the same way.\n"
            f"3. Only if I say so: {smoother}.\n"
            "4. download_media(job_id=<the last job_id>).\n"
            "Each step but the last costs credits: learn its price with max_credits=0, ask me, "
            "then give the call the price as max_credits. A call whose answer was lost is made "
            "again as it was: it never pays twice. At the end tell me the file's path and "
            "size, and what it cost."
        )
    ]


async def enhance_clip(
    source: Annotated[str, Field(description="Dreamina jobid of a finished generated video")],
    fps: Annotated[str, Field(description="30 or 60; default 60")] = "60",
) -> list[Message]:
    """Double a Dreamina video's size, then raise its frame rate, then save the file."""
    source = id_in(source) or source
    _check(source, fps)
    return [
        UserMessage(
            f"Enhance the Dreamina video {source}, in this order, for an interpolated "
            "video can't be upscaled any more:\n"
            f"1. upscale_video(source={source}); then get_job(job_id, wait_seconds=50) "
            "until it is completed.\n"
            f"2. interpolate_video(source=<the job_id of step 1>, fps={fps}); wait for it "
            "the same way.\n"
            "3. download_media(job_id=<the job_id of step 2>).\n"
            "Both steps cost credits, about 30 and 66: ask me first, then give each call the "
            "price as max_credits. At the end tell me the file's path, size and frame rate, "
            "and what it cost."
        )
    ]


async def enhance_file(
    file: Annotated[str, Field(description="path or https link of your video or image")],
) -> list[Message]:
    """Upload a video or an image of your own to PixVerse, make it larger, then save it."""
    file = file.strip()
    if "\n" in file or (bare_link(file) is None and not is_path(file)):
        raise MCPError(INVALID_PARAMS, "file must be the path or the https link of one file")
    tool = "upscale_image" if file.lower().endswith(_IMAGES) else "upscale_video"
    call = f"{tool}(source={json.dumps(file, ensure_ascii=False)}"
    return [
        UserMessage(
            "Make this file of mine larger, in this order:\n"
            f"1. {call}, max_credits=0), which uploads it to PixVerse and tells the price. If "
            "that takes long, wait with get_job(job_id, wait_seconds=50), then make the same "
            "call again. Tell me the price, and that the file was sent there.\n"
            f"2. When I agree: {call}, max_credits=<the price>); then get_job(job_id, "
            "wait_seconds=50) until it is completed.\n"
            "3. download_media(job_id=<the job_id of step 2>).\n"
            "At the end tell me the new file's path and size, and what it cost."
        )
    ]


def _maker(prompt: str, name: str) -> Service | None:
    """The service of this name; None where none is named. One must take the prompt."""
    named = [each for each in SERVICES if each.name == lenient.service(name)]
    if name and not named:
        known = " or ".join(each.name for each in SERVICES)
        raise MCPError(INVALID_PARAMS, f"service must be {known}")
    faults = []
    for maker in named or SERVICES:
        try:
            maker.order("generate_video", prompt, {}, {})
        except RequestError as error:
            faults.append(error)
        else:
            return maker if named else None
    raise MCPError(INVALID_PARAMS, f"{faults[-1].message} {faults[-1].hint}")


def _check(source: str, fps: str) -> None:
    """Refuse what the tools that the prompt names would refuse."""
    if fps not in FRAME_RATES:
        raise MCPError(INVALID_PARAMS, f"fps must be {' or '.join(FRAME_RATES)}")
    try:
        service = service_of(source, "source")
        service.order("upscale_video", source, {}, {})
        service.order("interpolate_video", source, {"fps": int(fps)}, {})
    except RequestError as error:
        raise MCPError(INVALID_PARAMS, f"{error.message} {error.hint}") from None
