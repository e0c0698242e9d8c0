"""Packaging: what registries and installers read agrees with the code, and with their rules."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import mcp_server
from mcp_server.settings import Settings

ROOT = Path(__file__).parents[2]
NAME = "io.github.useapi-mcp/useapi-mcp"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SERVER = json.loads((ROOT / "server.json").read_text("utf-8"))
SCHEMA = json.loads((ROOT / "tests" / "packaging" / "server.schema.json").read_text("utf-8"))


def faults(server: dict[str, Any]) -> list[str]:
    """What the registry would refuse."""
    validator = jsonschema.Draft7Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
    return [error.message for error in validator.iter_errors(server)]


def tracked_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_the_registry_accepts_server_json() -> None:
    """Schema of 2025-12-11, kept in `server.schema.json`."""
    assert SERVER["$schema"] == SCHEMA["$id"]
    assert [] == faults(SERVER)


@pytest.mark.parametrize(
    "wrong", [{"name": "no-slash"}, {"description": "x" * 101}, {"packages": [{}]}]
)
def test_the_registry_would_refuse_another(wrong: dict[str, Any]) -> None:
    assert faults(SERVER | wrong)


def test_there_is_one_version() -> None:
    assert PYPROJECT["tool"]["hatch"]["version"]["path"] == "mcp_server/__init__.py"
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    assert mcp_server.__version__ == SERVER["version"] == SERVER["packages"][0]["version"]


def test_the_change_notes_know_the_version() -> None:
    assert mcp_server.__version__ in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_names_agree() -> None:
    package = SERVER["packages"][0]

    assert SERVER["name"] == NAME
    assert PYPROJECT["project"]["name"] == package["identifier"]
    assert PYPROJECT["project"]["urls"]["Source"] == SERVER["repository"]["url"]


def test_the_readme_says_to_whom_the_package_belongs() -> None:
    """The registry looks for this line in the package's long description."""
    readme = (ROOT / PYPROJECT["project"]["readme"]).read_text("utf-8")

    assert f"<!-- mcp-name: {NAME} -->" in readme


def test_server_json_lists_every_setting() -> None:
    variables = {v["name"]: v for v in SERVER["packages"][0]["environmentVariables"]}

    assert [field.alias for field in Settings.model_fields.values()] == list(variables)


@pytest.mark.parametrize("field", Settings.model_fields.values(), ids=lambda field: field.alias)
def test_server_json_describes_a_setting_as_the_code_does(field: Any) -> None:
    (variable,) = (
        v for v in SERVER["packages"][0]["environmentVariables"] if v["name"] == field.alias
    )
    default = "" if field.default in (None, ()) else field.default

    assert variable["description"] == field.description.removesuffix(".")
    assert variable["isSecret"] == ("SecretStr" in str(field.annotation))
    assert not variable["isRequired"]
    assert variable.get("default", "") == re.sub(r"\.0$", "", str(default)).replace(
        "False", "false"
    )


def test_every_dependency_has_one_pinned_version() -> None:
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    )
    wanted = PYPROJECT["project"]["dependencies"] + PYPROJECT["dependency-groups"]["dev"]
    wanted += PYPROJECT["build-system"]["requires"]
    wanted += PYPROJECT["project"]["optional-dependencies"]["team"]

    missing = {re.split(r"[<>=\[]", line)[0] for line in wanted} - pins.keys()

    assert missing == set()


def test_what_is_no_code_is_packaged_too() -> None:
    package = Path(mcp_server.__file__).parent

    assert (package / "py.typed").is_file()
    for name in ("viewer.html", "gallery.html", "page.css", "page.js"):
        assert (package / "server" / name).is_file()
    assert any((package / "sandbox" / "samples").iterdir())


def test_no_file_names_the_host_of_a_package_registry() -> None:
    """Where packages come from is for the machine that installs them to say."""
    hosts = re.compile(rb"\b(pypi|pythonhosted|npmjs)\.(org|com)\b", re.IGNORECASE)

    naming = [str(path) for path in tracked_files() if hosts.search(path.read_bytes())]

    assert [] == naming
