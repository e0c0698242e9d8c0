"""What README and its companions say is true: tables, names, settings, and every block of code.

UPDATE_SNAPSHOTS=1 rewrites the generated parts of README.
"""

import json
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import uvicorn

import mcp_server
from mcp_server.cli import main as cli
from mcp_server.cli.hosts import HOSTS
from mcp_server.settings import Settings
from mcp_server.tools.registry import all_tools
from tests.support.limits import LONGEST_S
from tests.support.serving import http_server

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCUMENTS = [
    ROOT / name
    for name in ("README.md", "CONTRIBUTING.md", "AGENTS.md", "SECURITY.md", "CHANGELOG.md")
]
NAMES = {tool.name for tool in all_tools()}
SETTINGS = {str(field.alias): field for field in Settings.model_fields.values()}
OURS = re.escape("https://github.com/useapi-mcp/useapi-mcp")


def tools_table() -> str:
    rows = ["| tool | what it does | arguments |", "|---|---|---|"]
    for tool in all_tools():
        required = tool.parameters.get("required", ())
        names = [f"`{n}`" + r"\*" * (n in required) for n in tool.parameters["properties"]]
        first = tool.description.split("\n")[0]
        rows.append(f"| `{tool.name}` | {first} | {', '.join(names) or 'none'} |")
    return "\n".join(rows)


def settings_table() -> str:
    rows = ["| setting | what it is | default |", "|---|---|---|"]
    for name, field in SETTINGS.items():
        default = "" if field.default in (None, ()) else f"`{field.default}`"
        default = {"`False`": "`false`", "`3.0`": "`3`"}.get(default, default)
        rows.append(f"| `{name}` | {field.description} | {default} |")
    return "\n".join(rows)


GENERATED = {"tools": tools_table, "settings": settings_table}


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", document.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


def words(document: Path) -> set[str]:
    """What stands in backquotes, code blocks left out."""
    text = re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return set(re.findall(r"`([^`\n]+)`", text))


def commands(document: Path) -> list[str]:
    """Every line of the bash blocks, and what else stands in backquotes."""
    shell = "".join(blocks(document, "bash")).replace("\\\n", " ")
    return [*shell.splitlines(), *sorted(words(document))]


def arguments(line: str, program: str) -> list[str]:
    """What a line gives to a program; nothing if it starts another."""
    parts = shlex.split(line, comments=True) if program in line else []
    return parts[parts.index(program) + 1 :] if program in parts else []


def is_taken(given: list[str]) -> bool:
    """Whether our command line takes these arguments."""
    try:
        cli.build_parser().parse_args(given)
    except SystemExit as end:
        return end.code == 0  # --help and --version end it well
    return True


@pytest.mark.parametrize("name", GENERATED)
def test_what_is_generated_is_current(name: str) -> None:
    text = README.read_text("utf-8")
    found = re.search(
        rf"(<!-- {name}: begin [^\n]*-->\n)(.*?)(<!-- {name}: end -->)", text, re.DOTALL
    )
    assert found
    wanted = f"\n{GENERATED[name]()}\n\n"

    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        README.write_text(text[: found.start(2)] + wanted + text[found.end(2) :], "utf-8")
    else:
        assert wanted == found[2]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_setting_that_is_named_exists(document: Path) -> None:
    named = set(re.findall(r"\bUSEAPI_[A-Z_]+\b", document.read_text("utf-8")))

    assert set() == named - SETTINGS.keys()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_tool_that_is_named_exists(document: Path) -> None:
    verbs = {name.split("_")[0] for name in NAMES}
    named = {word for word in words(document) if re.fullmatch(rf"({'|'.join(verbs)})_\w+", word)}

    assert set() == named - NAMES


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_named_is_there(document: Path) -> None:
    text = document.read_text("utf-8")
    linked = set(re.findall(rf"\]\((?:{OURS}/(?:blob|raw)/main/|(?!https?:|#))([^)]+)\)", text))
    named = {word for word in words(document) if re.fullmatch(r"(mcp_server|tests)/[\w./]+", word)}

    assert [] == [name for name in linked | named if not (ROOT / name).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_target_that_is_named_exists_and_takes_what_it_is_given(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    given = {part for line in commands(document) for part in arguments(line, "make")}

    variables = {part.partition("=")[0] for part in given if "=" in part}

    assert set() == {part for part in given if "=" not in part} - targets
    assert set() == variables - set(re.findall(r"\$\((?:if \$\()?([A-Z]+)\)", makefile))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_our_own_parser_takes_every_command_that_is_named(document: Path) -> None:
    image = f"ghcr.io/useapi-mcp/useapi-mcp:{mcp_server.__version__}"
    lines = [
        given
        for line in commands(document)
        for program in ("useapi-mcp", image)
        if (given := arguments(line, program))
    ]

    assert [] == [given for given in lines if not is_taken(given)]


def test_the_readme_names_every_command() -> None:
    named = {part for line in commands(README) for part in arguments(line, "useapi-mcp")}

    assert {"check", "demo", "http", "install", "sandbox", "uninstall"} <= named


def test_the_readme_names_every_host_that_can_be_installed_into() -> None:
    given = [arguments(line, "useapi-mcp") for line in commands(README)]

    assert HOSTS.keys() == {g[1] for g in given if g[:1] == ["install"]} - {"--help"}


def test_uvicorn_takes_the_command_for_workers() -> None:
    (given,) = (found for line in commands(README) if (found := arguments(line, "uvicorn")))

    options = uvicorn.main.make_context("uvicorn", given).params

    assert options["factory"]
    assert cli.http_worker is pkgutil.resolve_name(options["app"])


def test_json_blocks_are_json() -> None:
    files = [json.loads(block) for block in blocks(README, "json")]
    servers = [
        server for file in files for server in file.get("mcpServers", file.get("servers")).values()
    ]

    assert len(servers) >= 4
    for entry in servers:
        if entry.get("type") == "http":
            assert entry["url"].endswith("/mcp")
            assert entry["headers"]["Authorization"].startswith("Bearer ")
            continue
        assert ("uvx", ["useapi-mcp"]) == (entry["command"], entry["args"])
        assert {"USEAPI_TOKEN"} == entry["env"].keys()


def test_toml_blocks_are_toml() -> None:
    (block,) = blocks(README, "toml")

    server = tomllib.loads(block)["mcp_servers"]["useapi"]
    assert ("uvx", ["useapi-mcp"]) == (server["command"], server["args"])
    assert {"USEAPI_TOKEN"} == server["env"].keys()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_blocks_compile(document: Path) -> None:
    for block in blocks(document, "python"):
        compile(block, document.name, "exec")


def test_the_python_example_runs(tmp_path: Path) -> None:
    block = blocks(README, "python")[0]
    own = {name: value for name, value in os.environ.items() if not name.startswith("USEAPI_")}
    folder = str(Path(mcp_server.__file__).parent.parent)

    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            block.replace(
                "args=[",
                f'env={{"PYTHONPATH": {folder!r}, "USEAPI_OUTPUT_DIR": {str(tmp_path)!r}}}, args=[',
            ),
        ],
        env=own | {"PYTHONPATH": folder},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )

    assert (0, "") == (ended.returncode, ended.stderr)
    assert Path(ended.stdout.strip()).is_file()


def test_the_python_example_for_http_runs(tmp_path: Path) -> None:
    block = blocks(README, "python")[-1]
    with http_server(tmp_path) as served:
        ended = subprocess.run(
            [sys.executable, "-c", block.replace("http://127.0.0.1:8000/mcp", served.url)],
            env={**os.environ, "USEAPI_HTTP_TOKEN": served.token},
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )

    assert (0, "") == (ended.returncode, ended.stderr)
    assert ended.stdout.startswith("{'jobs': []")


def test_the_agents_of_the_examples_start_our_command_in_the_sandbox() -> None:
    """`make examples` runs them."""
    examples = [*blocks(README, "python")[1:-1], *blocks(README, "js")]

    assert 4 == len(examples)
    for example in examples:
        assert re.search(
            r"""command["']?[=:] ?"uvx", "?args"?[=:] ?\["useapi-mcp", "--sandbox"\]""", example
        )


def test_the_image_and_the_bundle_that_are_named_are_of_this_version() -> None:
    text = README.read_text("utf-8")
    named = re.findall(r"useapi-mcp[-:](\d+\.\d+\.\d+)", text)

    assert {mcp_server.__version__} == set(named)


def test_the_readme_keeps_its_order() -> None:
    """The first screen says what it is and how to try it; how it is built comes last."""
    headings = re.findall(r"^## (.+)$", README.read_text("utf-8"), re.MULTILINE)

    assert [
        "Try it without a token",
        "Install",
        "Costs and limits",
        "Connect a host",
        "Serve it over HTTP",
        "Run it in a container",
        "A team's server",
        "Tools",
        "What can be a source",
        "Hosted by the vendor, or this one?",
        "Settings",
        "How it keeps your money safe",
        "How it is built",
        "Working on it",
    ] == headings
