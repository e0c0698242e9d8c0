"""The hosts that `useapi-mcp install` knows: where each keeps its servers, and in which form.

Places and forms are those of each host's documentation, read in November 2026. *Assumed*, from what
users report: where the app of Microsoft's store keeps Claude Desktop's file, and `mcp.json` in the
folder of VS Code's default profile.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Protocol

from mcp_server.cli import jsonc, toml_tables

SERVER = "useapi"
INPUT_ID = "useapi-token"


class Format(Protocol):
    """What changes a text of one format in place; its functions raise ValueError."""

    def read(self, text: str) -> Any: ...
    def put(self, text: str, path: jsonc.Keys, value: Any) -> str: ...
    def remove(self, text: str, path: jsonc.Keys) -> str: ...


@dataclass(frozen=True)
class Host:
    """A program that starts MCP servers.

    Args:
        servers: the key in its file below which the servers stand.
        restart: what the user must do for the host to read its file again.
        extra: what each of its entries has beside command, arguments and environment.
        asks: it asks the user for the token itself, so the file only names the question.
    """

    name: str
    title: str
    servers: str
    restart: str
    extra: Mapping[str, Any]
    format: Format = jsonc
    asks: bool = False

    def entry(self, command: list[str], token: str | None) -> dict[str, Any]:
        """The server's entry; without a token it has no environment."""
        entry: dict[str, Any] = {"command": command[0], "args": command[1:]}
        if token is not None:
            value = f"${{input:{INPUT_ID}}}" if self.asks else token
            entry["env"] = {"USEAPI_TOKEN": value}
        return entry | dict(self.extra)


INPUT = {
    "type": "promptString",
    "id": INPUT_ID,
    "description": "useapi.net token",
    "password": True,
}

_STDIO: dict[str, Any] = {"type": "stdio"}
# The first start may download what uvx needs; get_job waits for 50 s, and Codex gives a call 60.
_CODEX_LIMITS: dict[str, Any] = {"startup_timeout_sec": 60, "tool_timeout_sec": 120}

HOSTS = {
    host.name: host
    for host in (
        Host(
            "claude-desktop",
            "Claude Desktop",
            "mcpServers",
            "Quit Claude Desktop whole, not its window alone, and start it again.",
            {},
        ),
        Host(
            "claude-code",
            "Claude Code",
            "mcpServers",
            "Start a new session of Claude Code; /mcp lists the server.",
            _STDIO,
        ),
        Host(
            "cursor",
            "Cursor",
            "mcpServers",
            "Restart Cursor; Settings, MCP lists the server.",
            {},
        ),
        Host(
            "vscode",
            "VS Code",
            "servers",
            "In VS Code run the command `MCP: List Servers` and start useapi.",
            _STDIO,
            asks=True,
        ),
        Host(
            "codex",
            "Codex",
            "mcp_servers",
            "Start a new session of Codex; /mcp lists the server.",
            _CODEX_LIMITS,
            toml_tables,
        ),
        Host(
            "gemini",
            "Gemini CLI",
            "mcpServers",
            "Start a new session of Gemini CLI; /mcp lists the server.",
            {},
        ),
        Host(
            "windsurf",
            "Windsurf",
            "mcpServers",
            "Restart Windsurf, or refresh the list of MCP servers in Cascade.",
            {},
        ),
        Host(
            "zed",
            "Zed",
            "context_servers",
            "Zed reads its settings at once; the Agent Panel's settings list the server.",
            {},
        ),
    )
}


def config_files(host: str, system: str, environment: Mapping[str, str]) -> list[PurePath]:
    """Where a host's file may be, the likeliest first; the last is the ordinary place.

    Args:
        system: as `sys.platform` names it.
        environment: names the folders of the user, on Windows too.
    """
    windows = system == "win32"
    path: type[PurePath] = PureWindowsPath if windows else PurePosixPath
    home = path(environment.get("USERPROFILE" if windows else "HOME") or Path.home())
    local = path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
    unix_settings = path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    if windows:
        settings = path(environment.get("APPDATA") or home / "AppData" / "Roaming")
    elif system == "darwin":
        settings, unix_settings = home / "Library" / "Application Support", home / ".config"
    else:
        settings = unix_settings
    claude = ("Claude", "claude_desktop_config.json")
    # The app of Microsoft's store has a folder of its own in the place of AppData/Roaming.
    store = local / "Packages" / "Claude_pzs8sxrjxfjjc" / "LocalCache" / "Roaming"
    places = {
        "claude-desktop": [
            *([store.joinpath(*claude)] if windows else []),
            settings.joinpath(*claude),
        ],
        "claude-code": [path(environment.get("CLAUDE_CONFIG_DIR") or home) / ".claude.json"],
        "cursor": [home / ".cursor" / "mcp.json"],
        "vscode": [settings / "Code" / "User" / "mcp.json"],
        "codex": [path(environment.get("CODEX_HOME") or home / ".codex") / "config.toml"],
        "gemini": [home / ".gemini" / "settings.json"],
        "windsurf": [home / ".codeium" / "windsurf" / "mcp_config.json"],
        "zed": [(settings / "Zed" if windows else unix_settings / "zed") / "settings.json"],
    }
    return places[host]


def find_file(host: Host, system: str, environment: Mapping[str, str]) -> Path:
    """The host's file on this system: the first place whose folder is there, else the last."""
    places = [Path(place).absolute() for place in config_files(host.name, system, environment)]
    return next((place for place in places if place.parent.is_dir()), places[-1])
