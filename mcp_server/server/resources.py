"""Jobs and media as resources, and completions of what resources and prompts are given."""

from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)

from mcp_server.errors import ExpiredError, NotFoundError, RequestError, UseapiError
from mcp_server.server.current import current_app, current_remote
from mcp_server.server.prompts import FRAME_RATES
from mcp_server.services.registry import SERVICES
from mcp_server.tools.context import AppContext, Ctx, app_of, remote_of
from mcp_server.tools.results import job_answer, list_answer

_LISTED = 50
_LARGEST_FILE = 12 << 20  # it goes as one message, in base64


def add_resources(server: MCPServer[AppContext]) -> None:
    """Register the resources of jobs, their files and media, and complete what is typed."""
    server.resource(
        "useapi://jobs",
        title="Jobs",
        description=f"The last {_LISTED} jobs this server submitted, as last known.",
        mime_type="application/json",
    )(jobs)
    server.resource(
        "useapi://jobs/{job_id}",
        title="Job",
        description="One job as it is now, by any id that get_job takes.",
        mime_type="application/json",
    )(job)
    # What the pages in the chat read where a link can't show a medium.
    server.resource(
        "useapi://jobs/{job_id}/files/{number}",
        title="Saved file",
        description=f"A saved file of a job, counted from 0, up to {_LARGEST_FILE >> 20} MB.",
        mime_type="application/octet-stream",
    )(saved_file)
    server.resource(
        "useapi://media/{source}",
        title="Link of a medium",
        description="The link of a video or image of Google Flow by its id; it expires.",
        mime_type="application/json",
    )(medium)
    server.completion()(complete)  # type: ignore[no-untyped-call]  # the SDK gave it no types


async def jobs() -> dict[str, Any]:
    """The last jobs of whoever asks, as `list_jobs` tells them."""
    app = current_app()
    recent = await app.jobs.recent(_LISTED)
    answer = list_answer(recent, sandbox=app.settings.sandbox, remote=current_remote())
    return dict(answer.structured_content or {})


async def job(ctx: Ctx, job_id: str) -> dict[str, Any]:
    """One job, as `get_job` tells it."""
    app = app_of(ctx)
    try:
        found = await app.jobs.get(job_id)
    except (NotFoundError, ExpiredError, RequestError):
        raise ResourceNotFoundError("There is no job with this id.") from None
    except UseapiError as error:
        raise ResourceError(f"{error.message} {error.hint}") from None
    answer = job_answer(found, sandbox=app.settings.sandbox, remote=remote_of(ctx))
    return dict(answer.structured_content or {})


async def saved_file(ctx: Ctx, job_id: str, number: str) -> bytes:
    """What is in a saved file of a job."""
    position = int(number) if number.isdecimal() and len(number) < 4 else -1
    content = await app_of(ctx).jobs.saved_file(job_id, position, _LARGEST_FILE)
    if content is None:
        raise ResourceNotFoundError("There is no such file, or it is too large to be read so.")
    return content


async def medium(ctx: Ctx, source: str) -> dict[str, Any]:
    """The link of a medium that has an id of its own."""
    try:
        url = await app_of(ctx).jobs.link_of(source)
    except (NotFoundError, ExpiredError, RequestError):
        url = None
    except UseapiError as error:
        raise ResourceError(f"{error.message} {error.hint}") from None
    if url is None:
        raise ResourceNotFoundError("There is no link by this id.")
    return {"url": url}


async def complete(
    _ref: PromptReference | ResourceTemplateReference,
    argument: CompletionArgument,
    _context: CompletionContext | None,
) -> Completion | None:
    """What an argument may be that begins with what was typed; None where anything may."""
    if argument.name == "fps":
        known = list(FRAME_RATES)
    elif argument.name == "service":
        known = [each.name for each in SERVICES]
    elif argument.name == "job_id":
        known = [recent.job_id for recent in await current_app().jobs.recent(_LISTED)]
    else:
        return None
    return Completion(values=[value for value in known if value.startswith(argument.value)])
