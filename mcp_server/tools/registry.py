"""The list of tools: each with its title, its hints, and what hosts that show the viewer need."""

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any

from mcp.types import ToolAnnotations

from mcp_server.errors import SettingsError
from mcp_server.redaction import one_line
from mcp_server.tools.enhance import interpolate_video, upscale_image, upscale_video
from mcp_server.tools.generate import generate_image, generate_video
from mcp_server.tools.jobs import cancel_job, check_accounts, download_media, get_job, list_jobs
from mcp_server.tools.media import list_media
from mcp_server.tools.strict_tool import StrictTool

VIEWER_URI = "ui://useapi-mcp/viewer.html"
GALLERY_URI = "ui://useapi-mcp/gallery.html"

# Every tool is idempotent: the same call again does nothing more.
_CREATES = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True
)
_READS = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True
)
_READS_JOURNAL = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
_CANCELS = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True
)

# Who may call a tool that a page shows or calls. A page can never spend: hosts refuse it.
_MODEL = ["model"]
_MODEL_AND_VIEWER = ["model", "app"]

_GROUPS = {
    "common": ("reply_url", "reply_ref", "max_jobs"),
    "captcha": ("captcha_token", "captcha_retry", "captcha_order"),
}


@functools.cache
def all_tools() -> tuple[StrictTool, ...]:
    """The tools, made once: they hold nothing of the server that lists them."""
    return (
        _tool(upscale_video, "Upscale a video", _CREATES, _shown(_MODEL)),
        _tool(interpolate_video, "Raise a video's frame rate", _CREATES, _shown(_MODEL)),
        _tool(upscale_image, "Upscale an image", _CREATES, _shown(_MODEL)),
        _tool(generate_video, "Make a video", _CREATES, _shown(_MODEL)),
        _tool(generate_image, "Make images", _CREATES, _shown(_MODEL)),
        _tool(list_media, "Find media", _READS, _shown(_MODEL_AND_VIEWER, GALLERY_URI)),
        _tool(get_job, "Get a job", _READS, _shown(_MODEL_AND_VIEWER)),
        _tool(list_jobs, "List jobs", _READS_JOURNAL, _shown(_MODEL_AND_VIEWER, GALLERY_URI)),
        _tool(
            download_media,
            "Save a job's files",
            _CREATES,
            {"ui": {"visibility": _MODEL_AND_VIEWER}},
        ),
        _tool(cancel_job, "Cancel a job", _CANCELS, {"ui": {"visibility": _MODEL_AND_VIEWER}}),
        _tool(check_accounts, "Check token and accounts", _CREATES),  # its credits may claim some
    )


def tools_hiding(hidden: Collection[str]) -> tuple[StrictTool, ...]:
    """The tools as they are published where some arguments are hidden.

    Args:
        hidden: names of arguments or of groups of them.

    Raises:
        SettingsError: no tool has such an argument, or one can't do without it.
    """
    names = {name for word in hidden for name in _GROUPS.get(word, (word,))}
    schemas = [tool.parameters for tool in all_tools()]
    known = {name for schema in schemas for name in schema["properties"]}
    needed = {name for schema in schemas for name in schema.get("required", ())}
    if wrong := sorted(names - known) + sorted(names & needed):
        raise SettingsError(
            message=f"USEAPI_HIDE_ARGUMENTS can't hide {one_line(wrong[0], 60)}.",
            hint=f"It takes: {', '.join([*_GROUPS, *sorted(known - needed)])}.",
        )
    return tuple(tool.hiding(names) for tool in all_tools())


def _tool(
    function: Callable[..., Any],
    title: str,
    hints: ToolAnnotations,
    meta: dict[str, Any] | None = None,
) -> StrictTool:
    description = inspect.getdoc(function) or ""
    paragraphs = [paragraph.replace("\n", " ") for paragraph in description.split("\n\n")]
    return StrictTool.of(
        function, title=title, description="\n".join(paragraphs), annotations=hints, meta=meta
    )


def _shown(visibility: list[str], page: str = VIEWER_URI) -> dict[str, Any]:
    """The `_meta` of a tool whose answer the viewer, or another page, shows."""
    # Hosts read the first spelling or, older ones, the second.
    return {
        "ui": {"resourceUri": page, "visibility": visibility},
        "ui/resourceUri": page,
    }
