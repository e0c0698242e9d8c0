"""The list of tools: each with its title, its hints, and what hosts that show the viewer need."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from mcp.types import ToolAnnotations

from mcp_server.tools.enhance import interpolate_video, upscale_image, upscale_video
from mcp_server.tools.jobs import cancel_job, check_accounts, download_media, get_job, list_jobs
from mcp_server.tools.strict_tool import StrictTool

VIEWER_URI = "ui://useapi-mcp/viewer.html"

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

# Who may call a tool that the viewer shows or calls. The viewer can never spend: hosts refuse it.
_MODEL = ["model"]
_MODEL_AND_VIEWER = ["model", "app"]


@functools.cache
def all_tools() -> tuple[StrictTool, ...]:
    """The tools, made once: they hold nothing of the server that lists them."""
    return (
        _tool(upscale_video, "Upscale a video", _CREATES, _shown(_MODEL)),
        _tool(interpolate_video, "Raise a video's frame rate", _CREATES, _shown(_MODEL)),
        _tool(upscale_image, "Upscale an image", _CREATES, _shown(_MODEL)),
        _tool(get_job, "Get a job", _READS, _shown(_MODEL_AND_VIEWER)),
        _tool(list_jobs, "List jobs", _READS_JOURNAL),
        _tool(
            download_media,
            "Save a job's files",
            _CREATES,
            {"ui": {"visibility": _MODEL_AND_VIEWER}},
        ),
        _tool(cancel_job, "Cancel a job", _CANCELS),
        _tool(check_accounts, "Check token and accounts", _READS),
    )


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


def _shown(visibility: list[str]) -> dict[str, Any]:
    """The `_meta` of a tool whose answer the viewer shows."""
    # Hosts read the first spelling or, older ones, the second.
    return {
        "ui": {"resourceUri": VIEWER_URI, "visibility": visibility},
        "ui/resourceUri": VIEWER_URI,
    }
