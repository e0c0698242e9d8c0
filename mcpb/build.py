"""Builds the bundle for Claude Desktop and other hosts: `python mcpb/build.py` from the root.

The bundle holds our source and names what it needs; the host's uv installs that at the first start,
in the versions of constraints.txt. It is checked and packed by the bundle format's own tool.
"""

import json
import shutil
import subprocess
import tomllib
from pathlib import Path

TOOL = "@anthropic-ai/mcpb@2.1.2"
ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "bundle"
MANIFEST = ROOT / "mcpb" / "manifest.json"


def bundle_file() -> Path:
    manifest = json.loads(MANIFEST.read_text("utf-8"))
    return ROOT / "build" / f"{manifest['name']}-{manifest['version']}.mcpb"


def fill() -> None:
    """Put together what goes into the bundle."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for file in (MANIFEST, ROOT / "README.md", ROOT / "LICENSE"):
        shutil.copy(file, FOLDER)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "mcp_server", FOLDER / "mcp_server", ignore=ignored)
    (FOLDER / "pyproject.toml").write_text(project(), "utf-8")


def project() -> str:
    """What uv has to know to run the source as it lies there, and nothing for building it."""
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = (ROOT / "constraints.txt").read_text("utf-8").split()
    version = json.loads(MANIFEST.read_text("utf-8"))["version"]
    return "\n".join(
        [
            "[project]",
            f'name = "{ours["name"]}"',
            f'version = "{version}"',
            f'requires-python = "{ours["requires-python"]}"',
            f"dependencies = {json.dumps(ours['dependencies'], indent=4)}",
            "",
            "[tool.uv]",
            "package = false",
            f"constraint-dependencies = {json.dumps(pins, indent=4)}",
            "",
        ]
    )


def mcpb(*arguments: str | Path) -> None:
    """Run the bundle format's tool.

    Raises:
        SystemExit: Node.js is not there.
        CalledProcessError: the tool found a fault, and has told it.
    """
    npx = shutil.which("npx")
    if npx is None:
        raise SystemExit("npx was not found: install Node.js 20 or newer.")
    # Without install scripts: the versions of what the tool itself needs are not pinned.
    command = [npx, "--yes", "--ignore-scripts", TOOL, *map(str, arguments)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def main() -> None:
    fill()
    mcpb("validate", FOLDER / "manifest.json")
    file = bundle_file()
    file.unlink(missing_ok=True)
    mcpb("pack", FOLDER, file)
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
