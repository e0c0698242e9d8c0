"""The MCP Apps extension: a page that shows a job in the chat, follows it and compares the result.

What the page is and does is in viewer.html. A client without Apps reads the same answers as text.
"""

from collections.abc import Iterable
from importlib import resources
from typing import Any

from mcp.server.apps import Apps, ResourceCsp
from mcp.server.mcpserver.tools import Tool

from mcp_server.services.registry import SERVICES
from mcp_server.settings import Settings

URI = "ui://useapi-mcp/viewer.html"

# Who may call a tool. The page reads and saves, and can never spend: hosts refuse it the rest.
_SHOWN = {
    "upscale_video": ["model"],
    "interpolate_video": ["model"],
    "upscale_image": ["model"],
    "get_job": ["model", "app"],
}
_CALLED_BY_THE_PAGE = {"download_media": ["model", "app"]}


def viewer(settings: Settings) -> Apps:
    """The page as a resource, with the hosts it may load media from."""
    apps = Apps()
    apps.add_html_resource(
        URI,
        (resources.files("mcp_server.server") / "viewer.html").read_text("utf-8"),
        name="viewer",
        title="Job viewer",
        description="Follows a job and shows before and after.",
        csp=ResourceCsp(resource_domains=media_origins(settings)),
        prefers_border=True,
    )
    return apps


def media_origins(settings: Settings) -> list[str]:
    """Where results may be: the hosts the services name, and a vendor on this machine (sandbox)."""
    origins = [host for service in SERVICES for host in service.media_hosts]
    return [*origins, settings.base_url] if settings.is_loopback else origins


def bind(tools: Iterable[Tool]) -> None:
    """Tell hosts which tools the page shows, and which it calls."""
    for tool in tools:
        if tool.name in _SHOWN:
            tool.meta = _shown(_SHOWN[tool.name])
        elif tool.name in _CALLED_BY_THE_PAGE:
            tool.meta = {"ui": {"visibility": _CALLED_BY_THE_PAGE[tool.name]}}


def _shown(visibility: list[str]) -> dict[str, Any]:
    # Hosts read the first spelling or, older ones, the second.
    return {"ui": {"resourceUri": URI, "visibility": visibility}, "ui/resourceUri": URI}
