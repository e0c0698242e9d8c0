"""The MCP Apps extension: a page that shows a job in the chat and follows it.

The page itself is viewer.html. A client without Apps reads the same answers as text.
"""

from importlib import resources

from mcp.server.apps import Apps, ResourceCsp

from mcp_server.services.registry import SERVICES
from mcp_server.settings import Settings
from mcp_server.tools.registry import VIEWER_URI


def viewer(settings: Settings) -> Apps:
    """The page as a resource, with the hosts it may load media from."""
    apps = Apps()
    apps.add_html_resource(
        VIEWER_URI,
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
