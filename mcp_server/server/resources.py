"""Jobs and media as resources, the prompt `enhance_clip`, and completions."""

from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.server.mcpserver.prompts.base import Message, UserMessage
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)
from pydantic import Field

from mcp_server.errors import ExpiredError, NotFoundError, RequestError, UseapiError
from mcp_server.server.current import current_app
from mcp_server.services.registry import id_in, service_of
from mcp_server.tools.context import AppContext, Ctx, app_of, is_remote
from mcp_server.tools.results import job_answer, list_answer

PROMPTS = {"enhance_clip": frozenset({"source"})}
"""The prompts, each with the arguments it requires."""

_LISTED = 50
_LARGEST_FILE = 12 << 20  # it goes as one message, in base64
_FRAME_RATES = ("30", "60")


def add_resources(server: MCPServer[AppContext]) -> None:
    """Register the resources of jobs, their files and media, and the prompt `enhance_clip`."""

    @server.resource(
        "useapi://jobs",
        title="Jobs",
        description=f"The last {_LISTED} jobs this server submitted, as last known.",
        mime_type="application/json",
    )
    async def jobs() -> dict[str, Any]:
        app = current_app()
        answer = list_answer(await app.jobs.recent(_LISTED), sandbox=app.settings.sandbox)
        return dict(answer.structured_content or {})

    @server.resource(
        "useapi://jobs/{job_id}",
        title="Job",
        description="One job as it is now, by any id that get_job takes.",
        mime_type="application/json",
    )
    async def job(ctx: Ctx, job_id: str) -> dict[str, Any]:
        app = app_of(ctx)
        try:
            found = await app.jobs.get(job_id)
        except (NotFoundError, ExpiredError, RequestError):
            raise ResourceNotFoundError("There is no job with this id.") from None
        except UseapiError as error:
            raise ResourceError(f"{error.message} {error.hint}") from None
        answer = job_answer(found, sandbox=app.settings.sandbox, is_remote=is_remote(ctx))
        return dict(answer.structured_content or {})

    _add_files(server)

    @server.prompt(title="Enhance a clip")
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

    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator]  # the SDK gave it no types
    async def complete(
        _ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        _context: CompletionContext | None,
    ) -> Completion | None:
        if argument.name == "fps":
            known = list(_FRAME_RATES)
        elif argument.name == "job_id":
            known = [job.job_id for job in await current_app().jobs.recent(_LISTED)]
        else:
            return None
        return Completion(values=[value for value in known if value.startswith(argument.value)])


def _add_files(server: MCPServer[AppContext]) -> None:
    """Register what the pages in the chat read where a link can't show a medium."""

    @server.resource(
        "useapi://jobs/{job_id}/files/{number}",
        title="Saved file",
        description=f"A saved file of a job, counted from 0, up to {_LARGEST_FILE >> 20} MB.",
        mime_type="application/octet-stream",
    )
    async def saved_file(ctx: Ctx, job_id: str, number: str) -> bytes:
        position = int(number) if number.isdecimal() and len(number) < 4 else -1
        content = await app_of(ctx).jobs.saved_file(job_id, position, _LARGEST_FILE)
        if content is None:
            raise ResourceNotFoundError("There is no such file, or it is too large to be read so.")
        return content

    @server.resource(
        "useapi://media/{source}",
        title="Link of a medium",
        description="The link of a video or image of Google Flow by its id; it expires.",
        mime_type="application/json",
    )
    async def medium(ctx: Ctx, source: str) -> dict[str, Any]:
        try:
            url = await app_of(ctx).jobs.link_of(source)
        except (NotFoundError, ExpiredError, RequestError):
            url = None
        except UseapiError as error:
            raise ResourceError(f"{error.message} {error.hint}") from None
        if url is None:
            raise ResourceNotFoundError("There is no link by this id.")
        return {"url": url}


def _check(source: str, fps: str) -> None:
    """Refuse what the tools that the prompt names would refuse."""
    if fps not in _FRAME_RATES:
        raise MCPError(INVALID_PARAMS, f"fps must be {' or '.join(_FRAME_RATES)}")
    try:
        service = service_of(source, "source")
        service.order("upscale_video", source, {}, {})
        service.order("interpolate_video", source, {"fps": int(fps)}, {})
    except RequestError as error:
        raise MCPError(INVALID_PARAMS, f"{error.message} {error.hint}") from None
