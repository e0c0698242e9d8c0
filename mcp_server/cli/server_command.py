"""The command by which a host starts this server: absolute, and one that will still be there."""

import json
import re
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mcp_server.errors import SettingsError

_UV_CACHE = re.compile(r"(archive|environments|builds)-v\d+")


def server_command(
    prefix: Path, python: str, environment: Mapping[str, str], origin: str | None
) -> list[str]:
    """The command and its arguments.

    It is the installed script; where uvx runs us from its cache, which it may empty, uvx itself;
    without a script this Python.

    Args:
        prefix: the folder of the Python environment, `sys.prefix`.
        python: its interpreter, `sys.executable`.
        origin: `direct_url.json` of the installed package (PEP 610); None: it came by its name.

    Raises:
        SettingsError: it runs from uvx's cache, and uvx can't be found.
    """
    if any(_UV_CACHE.fullmatch(part) for part in prefix.parts):
        return [str(_uvx(environment)), *_package(origin)]
    for script in ("bin/useapi-mcp", "Scripts/useapi-mcp.exe"):
        if (prefix / script).is_file():
            return [str((prefix / script).absolute())]
    return [python, "-m", "mcp_server"]


def origin_of_package() -> str | None:
    """`direct_url.json` of this package, if it was installed from a link, a folder or a clone."""
    found = metadata.distributions(name="useapi-mcp")
    return next((each.read_text("direct_url.json") for each in found), None)


def _uvx(environment: Mapping[str, str]) -> Path:
    """By the search path first: what `UV` names may have a version in its name, and go with it."""
    found = shutil.which("uvx", path=environment.get("PATH"))
    if found is None and (uv := environment.get("UV")):
        found = shutil.which("uvx", path=str(Path(uv).parent))
    if found is None:
        raise SettingsError(
            message="This runs from the cache of uvx, and uvx is not found.",
            hint="Put uvx into PATH, or install with `uv tool install`, and start again.",
        )
    return Path(found).absolute()


def _package(origin: str | None) -> list[str]:
    """What uvx is to be given to run the same package again."""
    if origin is None:
        return ["useapi-mcp"]
    facts = json.loads(origin)
    url = facts["url"]
    if vcs := facts.get("vcs_info"):
        revision = vcs.get("requested_revision")
        url = f"{vcs['vcs']}+{url}" + (f"@{revision}" if revision else "")
    elif url.startswith("file:"):
        url = url2pathname(urlsplit(url).path)
    return ["--from", url, "useapi-mcp"]
