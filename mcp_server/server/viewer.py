"""The MCP Apps extension: pages that hosts show in the chat.

The viewer shows a job and follows it, the gallery shows what list_media and list_jobs found. A
client without Apps reads the same answers as text.
"""

import functools
import re
from importlib import resources

from mcp.server.apps import Apps, ResourceCsp, ResourcePermissions

from mcp_server.services.registry import SERVICES
from mcp_server.settings import Settings
from mcp_server.tools.registry import GALLERY_URI, VIEWER_URI

_PART = re.compile(r"/\*\{([a-z.]+)\}\*/")
_COMMENT = re.compile(r"^\s*/\*(?:(?!\*/).)*\*/$", re.DOTALL | re.MULTILINE)


def viewer(settings: Settings) -> Apps:
    """The pages as resources, with the hosts they may load media from."""
    apps = Apps()
    for uri, name, title, description in (
        (VIEWER_URI, "viewer", "Job viewer", "Follows a job and shows before and after."),
        (GALLERY_URI, "gallery", "Gallery", "Shows media or jobs with what can be done next."),
    ):
        apps.add_html_resource(
            uri,
            page(f"{name}.html"),
            name=name,
            title=title,
            description=description,
            csp=ResourceCsp(resource_domains=media_origins(settings)),
            permissions=ResourcePermissions(clipboard_write={}),
            prefers_border=True,
        )
    return apps


@functools.cache
def page(name: str) -> str:
    """A page as it is served: with the parts that all share, without comments and indentation."""
    folder = resources.files("mcp_server.server")

    def part(found: re.Match[str]) -> str:
        return (folder / found[1]).read_text("utf-8")

    whole = _COMMENT.sub("", _PART.sub(part, (folder / name).read_text("utf-8")))
    return "\n".join(line.strip() for line in whole.splitlines() if line.strip())


def media_origins(settings: Settings) -> list[str]:
    """Where media may be: the hosts the services name, this server's own, the sandbox's.

    `data:` is for saved files, which the page reads as resources.
    """
    origins = [host for service in SERVICES for host in service.media_hosts]
    own = [settings.public_url] if settings.public_url is not None else []
    return [*origins, "data:", *own, *([settings.base_url] if settings.is_loopback else [])]
