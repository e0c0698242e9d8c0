"""The bundle for desktop hosts says what the code says; `make packages` builds and starts it."""

import json
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

import mcp_server
from mcp_server.settings import Settings
from mcp_server.tools.registry import all_tools

ROOT = Path(__file__).parents[2]
MANIFEST = json.loads((ROOT / "mcpb" / "manifest.json").read_text("utf-8"))
SERVER = json.loads((ROOT / "server.json").read_text("utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
ASKED = ("token", "sandbox", "output_dir", "max_credits_per_day")
FIELDS = {name: Settings.model_fields[name] for name in ASKED}
TYPES = {"boolean": "boolean", "number": "number", "filepath": "directory", "string": "string"}


def test_name_and_version_are_those_of_the_package() -> None:
    assert PROJECT["name"] == MANIFEST["name"]
    assert mcp_server.__version__ == MANIFEST["version"]
    assert SERVER["title"] == MANIFEST["display_name"]
    assert SERVER["description"] == MANIFEST["description"]
    assert PROJECT["urls"]["Homepage"] == MANIFEST["homepage"] == MANIFEST["repository"]["url"]
    assert PROJECT["license"] == MANIFEST["license"]
    assert PROJECT["requires-python"] == MANIFEST["compatibility"]["runtimes"]["python"]


def test_the_dialog_asks_for_what_most_users_set_and_sets_it() -> None:
    """Token, sandbox, folder and credits per day; the others are set by environment."""
    assert list(FIELDS) == list(MANIFEST["user_config"])
    assert {field.alias: f"${{user_config.{name}}}" for name, field in FIELDS.items()} == (
        MANIFEST["server"]["mcp_config"]["env"]
    )


@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_is_described_as_the_code_does(name: str) -> None:
    field, described = FIELDS[name], MANIFEST["user_config"][name]
    (variable,) = (
        v for v in SERVER["packages"][0]["environmentVariables"] if v["name"] == field.alias
    )
    limits = {
        ours: getattr(limit, theirs)
        for limit in field.metadata
        for theirs, ours in (("ge", "min"), ("le", "max"))
        if hasattr(limit, theirs)
    }

    assert str(field.description).removesuffix(".") == described["description"]
    assert TYPES[variable["format"]] == described["type"]
    assert ("SecretStr" in str(field.annotation)) == described.get("sensitive", False)
    assert (None if field.default == () else field.default) == described.get("default")
    assert limits == {limit: described[limit] for limit in ("min", "max") if limit in described}
    assert described["title"]
    assert not described["required"]  # the sandbox needs none


def test_what_the_user_leaves_empty_counts_as_not_set() -> None:
    """A host puts no value in the place of a template that has none."""
    environment = MANIFEST["server"]["mcp_config"]["env"]

    assert Settings.read({}) == Settings.read(environment)


def test_the_tools_are_those_of_the_server() -> None:
    described = [{"name": t.name, "description": t.description.split("\n")[0]} for t in all_tools()]

    assert described == MANIFEST["tools"]
    assert not MANIFEST["tools_generated"]


def test_the_bundle_starts_what_is_in_it_with_what_the_package_needs() -> None:
    build: dict[str, Any] = runpy.run_path(str(ROOT / "mcpb" / "build.py"))
    bundled = tomllib.loads(build["project"]())

    assert "python -m mcp_server" == " ".join(MANIFEST["server"]["mcp_config"]["args"][-3:])
    assert (ROOT / MANIFEST["server"]["entry_point"]).is_file()
    assert {
        "name": PROJECT["name"],
        "version": mcp_server.__version__,
        "requires-python": PROJECT["requires-python"],
        "dependencies": PROJECT["dependencies"],
    } == bundled["project"]
    pins = (ROOT / "constraints.txt").read_text("utf-8").split()
    assert pins == bundled["tool"]["uv"]["constraint-dependencies"]
