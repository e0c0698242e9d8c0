"""`useapi-mcp install` and `uninstall`, on files as each host writes them."""

import io
import json
import os
import re
import stat
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse

from mcp_server.cli import check, install, jsonc
from mcp_server.cli.hosts import HOSTS, config_files, find_file
from mcp_server.cli.main import main
from mcp_server.cli.server_command import origin_of_package, server_command
from mcp_server.errors import SettingsError
from mcp_server.media.files import OutputFolder
from mcp_server.sandbox.app import Sandbox
from mcp_server.services.health import Check
from mcp_server.settings import Settings
from mcp_server.upstream.client import Upstream
from tests.support import virtual_time
from tests.support.harness import TOKEN, Fault, Network, VirtualClock

COMMAND = ["/opt/useapi/bin/useapi-mcp"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps no such modes")

# What each host's own documentation shows, with what its users and the host itself add.
CLAUDE_DESKTOP = """\
{
  "globalShortcut": "Ctrl+Space",
  "mcpServers": {
    "filesystem": {
      "command": "npx",
      "args": ["-y", "@modelcontextprotocol/server-filesystem", "/Users/ann/Desktop"]
    }
  }
}
"""
CLAUDE_CODE = """\
{
  "numStartups": 34,
  "oauthAccount": {
    "displayName": "Ann"
  },
  "projects": {
    "/home/ann/film": {
      "allowedTools": [],
      "mcpServers": {
        "useapi": {
          "command": "of-this-project-alone"
        }
      }
    }
  }
}"""
CURSOR = """\
{
\t"mcpServers": {
\t\t// the team's
\t\t"context": {
\t\t\t"url": "https://mcp.example.com/mcp", // read only
\t\t},
\t\t/* "old": {"command": "old"}, */
\t},
}
"""
VSCODE = """\
{
    // asked once
    "inputs": [
        {"type": "promptString", "id": "key", "description": "Key", "password": true}
    ],
    "servers": {
        "github": {"type": "http", "url": "https://mcp.example.com/mcp"} // mine
    }
}
"""
CODEX = """\
model = "gpt-5" # the default

[mcp_servers.context]
command = "npx"
args = [
  "-y", # no question
  "@context/mcp",
]

[mcp_servers.context.env]
KEY = "1"

[projects."/home/ann/film"]
trust_level = "trusted"
"""
GEMINI = '{"theme": "Default", "mcpServers": {"git": {"command": "git-mcp", "timeout": 9}}}'
WINDSURF = '{\r\n  "mcpServers": {}\r\n}\r\n'
ZED = """\
// Zed settings
//
// For information on how to configure Zed, see the Zed
// documentation: https://zed.dev/docs/configuring-zed
{
  "ui_font_size": 16,
  "theme": {
    "mode": "system",
    "dark": "One Dark",
  }, // as the system
}
"""
SAMPLES = {
    "claude-desktop": CLAUDE_DESKTOP,
    "claude-code": CLAUDE_CODE,
    "cursor": CURSOR,
    "vscode": VSCODE,
    "codex": CODEX,
    "gemini": GEMINI,
    "windsurf": WINDSURF,
    "zed": ZED,
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder without files of hosts, and without settings of ours."""
    for name in [name for name in os.environ if name.startswith("USEAPI_")]:
        monkeypatch.delenv(name)
    for name in ("XDG_CONFIG_HOME", "CODEX_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, folder in {
        "HOME": "",
        "USERPROFILE": "",
        "APPDATA": "AppData/Roaming",
        "LOCALAPPDATA": "AppData/Local",
    }.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    return tmp_path


def place(host: str) -> Path:
    """The host's file, whose folder is there then."""
    path = find_file(HOSTS[host], sys.platform, os.environ)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def written(host: str, text: str) -> Path:
    path = place(host)
    path.write_bytes(text.encode())
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that goes well prints."""
    main(arguments)
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a command that ends with exit code 2."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    out, err = capsys.readouterr()
    assert (2, "", 1) == (left.value.code, out, len(err.splitlines()))
    return err


def checks(network: Network | None = None) -> Callable[[Settings], Check]:
    """The check against a vendor in this process."""

    async def look(settings: Settings) -> Check:
        clock = VirtualClock()
        vendor = network or Network(Sandbox(now=clock.now))
        folder = OutputFolder(Path("not-used"))
        return await check.look(settings, Upstream(settings, clock, folder, vendor))

    return lambda settings: virtual_time.run(look(settings))


def put(
    host: str,
    path: Path,
    *,
    token: str = TOKEN,
    ask: Callable[[str], str] | None = None,
    network: Network | None = None,
    command: list[str] = COMMAND,
) -> str:
    return install.install(
        HOSTS[host],
        path,
        command,
        Settings.read({"USEAPI_TOKEN": token}),
        ask=ask,
        check=checks(network),
        first_words="Check my accounts",
    )


def values(host: str, text: str) -> Any:
    return tomllib.loads(text) if host == "codex" else jsonc.read(text)


def entry(host: str, text: str) -> Any:
    return values(host, text)[HOSTS[host].servers]["useapi"]


@pytest.mark.parametrize("host", HOSTS)
def test_the_entry_comes_in_and_out_and_every_other_byte_stays(host: str, home: Path) -> None:
    path = written(host, SAMPLES[host])

    said = put(host, path)
    text = path.read_bytes().decode()

    env = {"USEAPI_TOKEN": "${input:useapi-token}" if host == "vscode" else TOKEN}
    wanted = {"command": COMMAND[0], "args": [], "env": env} | dict(HOSTS[host].extra)
    assert wanted == entry(host, text)
    assert (TOKEN in text) == (host != "vscode")
    assert f"useapi is now in {path}." in said
    assert HOSTS[host].restart in said
    assert "Then say: Check my accounts" in said
    assert TOKEN not in said
    copy = path.with_name(path.name + ".before-useapi")
    assert SAMPLES[host] == copy.read_bytes().decode()

    install.uninstall(HOSTS[host], path, print_only=False)

    assert SAMPLES[host] == path.read_bytes().decode()
    assert not copy.exists()


@pytest.mark.parametrize("host", HOSTS)
def test_all_that_was_in_the_file_is_still_there_in_its_order(host: str, home: Path) -> None:
    path = written(host, SAMPLES[host])

    put(host, path)

    left = iter(path.read_bytes().decode())
    assert all(letter in left for letter in SAMPLES[host])  # as a subsequence, comments too


@pytest.mark.parametrize("host", HOSTS)
def test_a_second_time_nothing_changes(host: str, home: Path) -> None:
    path = written(host, SAMPLES[host])
    put(host, path)
    before = path.read_bytes(), path.stat().st_mtime_ns

    said = put(host, path)

    assert "already, so nothing was changed" in said
    assert before == (path.read_bytes(), path.stat().st_mtime_ns)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("text", [None, "", "\n"])
def test_a_file_that_is_missing_or_empty_is_made_and_is_again_as_it_was(
    host: str, text: str | None, home: Path
) -> None:
    path = place(host) if text is None else written(host, text)

    put(host, path)
    assert entry(host, path.read_text("utf-8"))["command"] == COMMAND[0]
    install.uninstall(HOSTS[host], path, print_only=False)

    assert text == (path.read_bytes().decode() if path.exists() else None)
    assert [] == [each for each in path.parent.iterdir() if each != path and each.is_file()]


@pytest.mark.parametrize("host", HOSTS)
def test_what_changed_meanwhile_stays_when_the_entry_goes(host: str, home: Path) -> None:
    path = written(host, SAMPLES[host])
    put(host, path)
    other = (HOSTS[host].servers, "other")
    later = HOSTS[host].format.put(path.read_bytes().decode(), other, {"command": "x"})
    path.write_bytes(later.encode())

    said = install.uninstall(HOSTS[host], path, print_only=False)

    text = path.read_bytes().decode()
    wanted = values(host, SAMPLES[host])
    wanted.setdefault(HOSTS[host].servers, {})["other"] = {"command": "x"}
    assert wanted == values(host, text)
    assert TOKEN not in text
    assert "as it was before is still there" in said


@pytest.mark.parametrize("host", HOSTS)
def test_without_its_copy_the_entry_goes_too(host: str, home: Path) -> None:
    path = written(host, SAMPLES[host])
    put(host, path)
    path.with_name(path.name + ".before-useapi").unlink()

    install.uninstall(HOSTS[host], path, print_only=False)

    left = values(host, path.read_bytes().decode()) if path.exists() else {}
    left.setdefault(HOSTS[host].servers, {})
    assert left == {HOSTS[host].servers: {}} | values(host, SAMPLES[host])


def test_a_copy_that_somebody_spoilt_is_not_used(home: Path) -> None:
    for spoilt in ("{", '{"mcpServers": []}', '{"mcpServers": {"useapi": {}}}'):
        path = written("cursor", CURSOR)
        put("cursor", path)
        copy = path.with_name(path.name + ".before-useapi")
        copy.write_text(spoilt, "utf-8")

        install.uninstall(HOSTS["cursor"], path, print_only=False)

        assert CURSOR == path.read_bytes().decode()
        assert spoilt == copy.read_text("utf-8")


def test_a_new_token_takes_the_place_of_the_old_and_what_the_user_added_stays(home: Path) -> None:
    path = written("cursor", CURSOR)
    put("cursor", path, token="user:1-old")
    text = path.read_bytes().decode()
    text = jsonc.put(text, ("mcpServers", "useapi", "env", "USEAPI_OUTPUT_DIR"), "/films")
    path.write_bytes(jsonc.put(text, ("mcpServers", "useapi", "disabled"), False).encode())

    put("cursor", path, command=["/usr/bin/uvx", "useapi-mcp"])

    text = path.read_bytes().decode()
    assert "user:1-old" not in text
    assert {
        "command": "/usr/bin/uvx",
        "args": ["useapi-mcp"],
        "env": {"USEAPI_OUTPUT_DIR": "/films", "USEAPI_TOKEN": TOKEN},
        "disabled": False,
    } == entry("cursor", text)
    assert all("user:1-old" not in each.read_text("utf-8") for each in path.parent.iterdir())


def test_an_entry_for_an_address_is_replaced_whole_and_kept_in_the_copy(home: Path) -> None:
    text = '{"mcpServers": {"useapi": {"url": "http://127.0.0.1:8000/mcp"}}}'
    path = written("cursor", text)

    put("cursor", path)

    assert {"command", "args", "env"} == entry("cursor", path.read_text("utf-8")).keys()
    copy = path.with_name(path.name + ".before-useapi")
    assert text == copy.read_text("utf-8")
    install.uninstall(HOSTS["cursor"], path, print_only=False)
    assert "{}" == path.read_text("utf-8")
    assert text == copy.read_text("utf-8")


def test_to_the_sandbox_and_back(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written("vscode", VSCODE)
    put("vscode", path)

    said = run(capsys, "install", "vscode", "--sandbox")

    after = entry("vscode", path.read_text("utf-8"))
    assert "--sandbox" == after["args"][-1]
    assert "env" not in after
    assert "asks for your token" not in said
    run(capsys, "uninstall", "vscode")
    assert values("vscode", VSCODE) == values("vscode", path.read_text("utf-8"))


def test_a_question_that_another_server_asks_too_stays(home: Path) -> None:
    path = written("vscode", VSCODE)
    put("vscode", path)
    text = path.read_bytes().decode()
    other = {"type": "stdio", "command": "x", "env": {"T": "${input:useapi-token}"}}
    path.write_bytes(jsonc.put(text, ("servers", "other"), other).encode())

    install.uninstall(HOSTS["vscode"], path, print_only=False)

    left = values("vscode", path.read_text("utf-8"))
    assert ["key", "useapi-token"] == [each["id"] for each in left["inputs"]]
    assert {"github", "other"} == left["servers"].keys()


@pytest.mark.parametrize("host", HOSTS)
def test_print_shows_the_block_and_touches_nothing(
    host: str, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(host, SAMPLES[host])
    monkeypatch.setenv("USEAPI_TOKEN", TOKEN)

    said = run(capsys, "install", host, "--print")

    assert str(path) in said
    assert TOKEN not in said
    block = said.split("\n\n")[1].rstrip()
    shown = entry(host, block)
    assert Path(shown["command"]).is_absolute()
    assert "user:12345-yourtoken" in block or "${input:useapi-token}" in block
    put(host, path)
    with_entry = path.read_bytes()
    assert "would be taken out" in run(capsys, "uninstall", host, "--print")
    assert with_entry == path.read_bytes()


def test_print_needs_neither_file_nor_folder(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = run(capsys, "install", "zed", "--print", "--sandbox")

    assert '"--sandbox"' in said
    assert "USEAPI_TOKEN" not in said
    assert [] == list(home.iterdir())


def test_in_the_sandbox_no_token_is_asked_for_and_its_sentence_works_there(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written("gemini", GEMINI)

    said = run(capsys, "install", "gemini", "--sandbox")

    assert "--sandbox" == entry("gemini", path.read_text("utf-8"))["args"][-1]
    assert "Then say: Upscale the video j0302140530123456789v-" in said
    assert "useapi-mcp uninstall gemini" in said
    assert "no longer in" in run(capsys, "uninstall", "gemini")
    assert GEMINI == path.read_text("utf-8")


def test_uninstall_without_an_entry_changes_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is not in" in run(capsys, "uninstall", "windsurf")
    path = written("windsurf", WINDSURF)
    assert "is not in" in run(capsys, "uninstall", "windsurf")
    assert WINDSURF == path.read_bytes().decode()


@pytest.mark.parametrize(
    ("host", "text", "says"),
    [
        ("cursor", '{\n  "mcpServers": {\n', "(line 3, column 1)"),
        ("cursor", '{"mcpServers": []}', "(mcpServers is no object)"),
        ("cursor", "[]", "(the whole is no object)"),
        ("cursor", "[" * 100_000, "(it is nested too deep)"),
        ("cursor", "[/**/" * 100_000, "(it is nested too deep)"),
        ("vscode", '{"inputs": {}, "servers": {}}', "(inputs is no list)"),
        ("codex", "[mcp_servers\n", "line 1"),
        ("codex", "a = " + "[" * 100_000, "(it is nested too deep)"),
        ("codex", 'mcp_servers = { x = { command = "x" } }\n', "("),
        ("codex", '[mcp_servers]\nuseapi.command = "x"\n', "("),
        ("codex", '[[mcp_servers]]\nname = "x"\n', "in a form that is not changed here"),
    ],
)
def test_a_file_that_is_not_in_order_is_named_and_left_alone(
    host: str, text: str, says: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(host, text)

    said = refused(capsys, "install", host)

    assert f"{path} is not in order for {HOSTS[host].title} (" in said
    assert says in said
    assert "or put the entry in by hand; --print shows it." in said
    assert text == path.read_bytes().decode()
    assert [path] == [each for each in path.parent.iterdir() if each.is_file()]


def test_a_form_that_can_not_be_taken_out_is_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = '[mcp_servers]\nuseapi.command = "x"\n'
    path = written("codex", text)

    said = refused(capsys, "uninstall", "codex")

    assert "in a form that is not changed here" in said
    assert "or take the entry out by hand." in said
    assert text == path.read_bytes().decode()


def test_a_file_that_is_not_utf_8_is_left_alone(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place("cursor")
    path.write_bytes("{}".encode("utf-16"))

    assert "(it is not UTF-8 text)" in refused(capsys, "install", "cursor", "--sandbox")
    assert "{}".encode("utf-16") == path.read_bytes()


def test_a_mark_at_the_start_as_windows_writes_it_stays(home: Path) -> None:
    path = written("claude-desktop", "\ufeff" + CLAUDE_DESKTOP.replace("\n", "\r\n"))

    put("claude-desktop", path)

    text = path.read_bytes().decode()
    assert text.startswith("\ufeff{\r\n")
    assert text.count("\n") == text.count("\r\n")


def test_a_read_only_file_is_left_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written("cursor", CURSOR)
    path.chmod(0o444)
    try:
        said = refused(capsys, "install", "cursor", "--sandbox")
    finally:
        path.chmod(0o644)

    assert f"{path} is read-only" in said
    assert CURSOR == path.read_bytes().decode()
    assert [path] == list(path.parent.iterdir())


def test_a_folder_in_the_place_of_the_file_is_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place("cursor").mkdir()

    assert "can't be used (" in refused(capsys, "install", "cursor", "--sandbox")


def test_where_the_copy_can_not_be_made_nothing_changes(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written("cursor", CURSOR)
    copy = path.with_name(path.name + ".before-useapi")
    copy.mkdir()

    assert f"{path} can't be used (" in refused(capsys, "install", "cursor", "--sandbox")
    assert CURSOR == path.read_bytes().decode()
    assert {path, copy} == set(path.parent.iterdir())


def test_a_host_that_never_ran_here_gets_no_file(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "install", "cursor", "--sandbox")

    assert "so Cursor has not run here" in said
    assert "Start Cursor once" in said
    assert [] == list(home.iterdir())


def test_a_host_that_is_not_known_is_refused_with_the_list(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["install", "emacs"])

    said = capsys.readouterr().err
    assert left.value.code == 2
    assert all(host in said for host in HOSTS)


def test_help_lists_the_hosts_with_their_files(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["install", "--help"])

    said = capsys.readouterr().out
    for name, host in HOSTS.items():
        file = find_file(host, sys.platform, os.environ)
        assert re.search(rf"^  {name} +{re.escape(str(file))}$", said, re.MULTILINE)


@posix
def test_the_modes_stay_and_a_new_file_is_private(home: Path) -> None:
    path = written("cursor", CURSOR)
    for mode in (0o600, 0o644):
        path.chmod(mode)
        said = put("cursor", path, token=f"user:1-{mode}")
        modes = {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
        assert {0o600, mode} >= modes
        assert mode == stat.S_IMODE(path.stat().st_mode)
        assert ("chmod 600" in said) == (mode == 0o644)
    new = place("windsurf")
    put("windsurf", new)
    assert 0o600 == stat.S_IMODE(new.stat().st_mode)


@posix
def test_a_link_stays_a_link_and_no_copy_lies_where_it_leads(home: Path) -> None:
    (home / "dotfiles").mkdir()
    real = home / "dotfiles" / "mcp.json"
    real.write_text(CURSOR, "utf-8")
    path = place("cursor")
    path.symlink_to(real)

    put("cursor", path)

    assert path.is_symlink()
    assert TOKEN in real.read_text("utf-8")
    assert [real] == list(real.parent.iterdir())
    install.uninstall(HOSTS["cursor"], path, print_only=False)
    assert path.is_symlink()
    assert CURSOR == real.read_text("utf-8")


def test_the_token_is_asked_for_and_cleaned(home: Path) -> None:
    path = written("cursor", CURSOR)
    asked = []

    def ask(question: str) -> str:
        asked.append(question)
        return f' "Bearer {TOKEN}" '

    said = put("cursor", path, token="", ask=ask)

    assert ["Your useapi.net token, with its user: prefix: "] == asked
    assert "useapi.net accepts the token." in said
    assert TOKEN == entry("cursor", path.read_text("utf-8"))["env"]["USEAPI_TOKEN"]


def ended(_: str) -> str:
    raise EOFError


@pytest.mark.parametrize(
    "ask", [None, lambda _: "", ended, lambda _: "user:1-two words"], ids=lambda _: ""
)
def test_without_a_token_nothing_is_sent_and_nothing_changed(
    ask: Callable[[str], str] | None, home: Path
) -> None:
    path, network = written("cursor", CURSOR), Network(JSONResponse({}))

    with pytest.raises(SettingsError) as error:
        put("cursor", path, token="", ask=ask, network=network)

    assert "oken" in error.value.message
    assert "two words" not in str(error.value)
    assert [] == network.sent
    assert [path] == list(path.parent.iterdir())
    assert CURSOR == path.read_bytes().decode()


def test_where_nobody_can_be_asked_the_command_says_how(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written("cursor", CURSOR)
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    assert "Set USEAPI_TOKEN, or type the token" in refused(capsys, "install", "cursor")


def test_a_token_that_is_refused_is_not_written(home: Path) -> None:
    path = written("cursor", CURSOR)

    with pytest.raises(SettingsError) as error:
        put("cursor", path, network=Network(JSONResponse({"error": "Unauthorized"}, 401)))

    assert "does not accept the token. Nothing was changed." in error.value.message
    assert TOKEN not in str(error.value)
    assert [path] == list(path.parent.iterdir())
    assert CURSOR == path.read_bytes().decode()


def test_a_token_that_can_not_be_checked_is_written_and_it_is_said(home: Path) -> None:
    path, network = written("cursor", CURSOR), Network(JSONResponse({}))
    network.faults, network.concerns = [Fault(connects=False)] * 9, lambda _: True

    said = put("cursor", path, network=network)

    assert "could not be reached" in said
    assert "useapi is now in" in said
    assert TOKEN in path.read_text("utf-8")


def test_what_the_host_wrote_while_the_user_typed_stays(home: Path) -> None:
    path = written("claude-code", CLAUDE_CODE)

    def ask(_: str) -> str:
        path.write_text(CLAUDE_CODE.replace("34", "35"), "utf-8")
        return TOKEN

    put("claude-code", path, token="", ask=ask)

    assert 35 == json.loads(path.read_text("utf-8"))["numStartups"]


HOME = {"HOME": "/home/ann"}
WINDOWS = {
    "USERPROFILE": r"C:\Users\Ann",
    "APPDATA": r"C:\Users\Ann\AppData\Roaming",
    "LOCALAPPDATA": r"C:\Users\Ann\AppData\Local",
}


@pytest.mark.parametrize(
    ("host", "linux", "mac", "windows"),
    [
        (
            "claude-desktop",
            ".config/Claude/claude_desktop_config.json",
            "Library/Application Support/Claude/claude_desktop_config.json",
            r"AppData\Roaming\Claude\claude_desktop_config.json",
        ),
        ("claude-code", ".claude.json", ".claude.json", ".claude.json"),
        ("cursor", ".cursor/mcp.json", ".cursor/mcp.json", r".cursor\mcp.json"),
        (
            "vscode",
            ".config/Code/User/mcp.json",
            "Library/Application Support/Code/User/mcp.json",
            r"AppData\Roaming\Code\User\mcp.json",
        ),
        ("codex", ".codex/config.toml", ".codex/config.toml", r".codex\config.toml"),
        ("gemini", ".gemini/settings.json", ".gemini/settings.json", r".gemini\settings.json"),
        (
            "windsurf",
            ".codeium/windsurf/mcp_config.json",
            ".codeium/windsurf/mcp_config.json",
            r".codeium\windsurf\mcp_config.json",
        ),
        (
            "zed",
            ".config/zed/settings.json",
            ".config/zed/settings.json",
            r"AppData\Roaming\Zed\settings.json",
        ),
    ],
)
def test_each_file_is_where_the_host_has_it(host: str, linux: str, mac: str, windows: str) -> None:
    found = {
        system: str(config_files(host, system, environment)[-1])
        for system, environment in (("linux", HOME), ("darwin", HOME), ("win32", WINDOWS))
    }

    assert {
        "linux": f"/home/ann/{linux}",
        "darwin": f"/home/ann/{mac}",
        "win32": rf"C:\Users\Ann\{windows}",
    } == found


def test_the_places_that_hosts_let_a_user_choose_are_heeded() -> None:
    chosen = HOME | {
        "XDG_CONFIG_HOME": "/x",
        "CODEX_HOME": "/codex",
        "CLAUDE_CONFIG_DIR": "/claude",
    }

    def found(host: str, system: str) -> str:
        return config_files(host, system, chosen)[-1].as_posix()

    assert "/x/Claude/claude_desktop_config.json" == found("claude-desktop", "linux")
    assert "/x/zed/settings.json" == found("zed", "linux")
    assert "/home/ann/.config/zed/settings.json" == found("zed", "darwin")
    assert "/codex/config.toml" == found("codex", "linux")
    assert "/claude/.claude.json" == found("claude-code", "linux")


def test_claude_desktop_of_microsofts_store_has_a_place_of_its_own() -> None:
    first, second = config_files("claude-desktop", "win32", WINDOWS)

    assert r"AppData\Local\Packages\Claude_pzs8sxrjxfjjc\LocalCache\Roaming\Claude" in str(first)
    assert r"C:\Users\Ann\AppData\Roaming\Claude" == str(second.parent)


GIT = "https://github.com/useapi-mcp/useapi-mcp"


@pytest.mark.parametrize(
    ("origin", "arguments"),
    [
        (None, ["useapi-mcp"]),
        (
            {"url": GIT, "vcs_info": {"vcs": "git", "commit_id": "0" * 40}},
            ["--from", f"git+{GIT}", "useapi-mcp"],
        ),
        (
            {"url": GIT, "vcs_info": {"vcs": "git", "requested_revision": "v1"}},
            ["--from", f"git+{GIT}@v1", "useapi-mcp"],
        ),
        (
            {"url": "https://example.com/x.whl", "archive_info": {}},
            ["--from", "https://example.com/x.whl", "useapi-mcp"],
        ),
    ],
)
def test_from_the_cache_of_uvx_it_is_uvx_with_the_same_package(
    origin: dict[str, Any] | None, arguments: list[str], tmp_path: Path
) -> None:
    uvx = tmp_path / ("uvx.exe" if sys.platform == "win32" else "uvx")
    uvx.touch(0o755)
    prefix = tmp_path / ".cache" / "uv" / "archive-v0" / "x1"
    text = None if origin is None else json.dumps(origin)

    for environment in ({"PATH": str(tmp_path)}, {"PATH": "", "UV": str(tmp_path / "uv")}):
        assert [str(uvx), *arguments] == server_command(prefix, "python", environment, text)


def test_from_the_cache_of_uvx_a_folder_is_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / ("uvx.exe" if sys.platform == "win32" else "uvx")).touch(0o755)
    clone = tmp_path / "my clone"
    origin = json.dumps({"url": clone.as_uri(), "dir_info": {}})

    found = server_command(
        tmp_path / "environments-v2" / "x", "python", {"PATH": str(tmp_path)}, origin
    )

    assert ["--from", str(clone), "useapi-mcp"] == found[1:]


def test_where_uvx_is_not_found_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="uvx is not found"):
        server_command(tmp_path / "archive-v0" / "x", "python", {"PATH": ""}, None)


def test_of_an_installed_package_it_is_the_script_by_its_whole_path(tmp_path: Path) -> None:
    script = tmp_path / "bin" / "useapi-mcp"
    assert ["/p/python", "-m", "mcp_server"] == server_command(tmp_path, "/p/python", {}, None)
    script.parent.mkdir()
    script.touch()
    assert [str(script)] == server_command(tmp_path, "/p/python", {}, origin_of_package())
