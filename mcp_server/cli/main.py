"""The command line: reads arguments and environment, and starts what they ask for."""

import argparse
import asyncio
import contextlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from mcp_server import __version__
from mcp_server.clock import Clock
from mcp_server.errors import SettingsError
from mcp_server.redaction import log_to_stderr
from mcp_server.settings import Settings

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

    from mcp_server.sandbox.app import Sandbox


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a wrong setting ends it with one line and exit code 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    given = _parser(arguments).parse_args(arguments)
    try:
        settings = Settings.read(os.environ)
        log_to_stderr(settings.log_level, settings.secret)
        _run(given, settings)
    except SettingsError as error:
        print(f"useapi-mcp: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:  # who reads what is printed has left, as `check --json | head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def _run(given: argparse.Namespace, settings: Settings) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        if given.command == "sandbox":
            _serve_sandbox(settings, given.port)
        elif given.command == "demo":
            _run_demo(given.folder)
        else:
            if given.sandbox:
                settings = settings.model_copy(update={"sandbox": True})
            if given.command == "check":
                asyncio.run(_check(settings, as_json=given.json))
            else:
                asyncio.run(
                    _serve_http(settings, given) if given.command else _serve_stdio(settings)
                )


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="useapi-mcp",
        description="MCP server that upscales video, raises frame rates and upscales images "
        "on useapi.net. Without a command it serves MCP over stdio.",
        epilog="Settings are environment variables: USEAPI_TOKEN first; README names them all.",
    )
    parser.add_argument("--version", action="version", version=f"useapi-mcp {__version__}")
    parser.add_argument(
        "--sandbox", action="store_true", help="serve a built-in sandbox: no token, no cost"
    )
    commands = parser.add_subparsers(dest="command", metavar="command")
    sandbox = commands.add_parser(
        "sandbox",
        help="serve the sandbox alone, as a plain HTTP API",
        description="Answers on 127.0.0.1 as the documents of api.useapi.net say. "
        "Any well-formed token is right.",
        epilog=_sources_help() if "sandbox" in arguments else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sandbox.add_argument("--port", type=int, default=8001, help="port to serve on (default 8001)")
    http = commands.add_parser("http", help="serve MCP over Streamable HTTP at /mcp")
    if "http" in arguments:
        from mcp_server.http import serve as http_command

        http_command.add_arguments(http)
    check = commands.add_parser(
        "check", help="tell whether token, subscription and linked accounts are in order; free"
    )
    check.add_argument("--json", action="store_true", help="print JSON instead of a table")
    demo = commands.add_parser(
        "demo", help="do the main job from start to end in the sandbox, and show the files"
    )
    demo.add_argument(
        "--folder",
        type=Path,
        default=Path("useapi-mcp-demo"),
        help="folder for the files (default: useapi-mcp-demo)",
    )
    return parser


async def _serve_stdio(settings: Settings) -> None:
    # Imported here: --version and a wrong setting answer at once.
    from mcp_server.server.factory import create_server

    async with _vendor(settings) as (used, sources, folder):

        def leave() -> None:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            sys.stderr.flush()
            os._exit(0)

        server = create_server(used, sandbox_sources=sources, leave=leave)
        await server.run_stdio_async()


async def _serve_http(settings: Settings, given: argparse.Namespace) -> None:
    from mcp_server.http import serve as http_command

    async with _vendor(settings) as (used, sources, _):
        await http_command.serve(used, given, sources)


async def _check(settings: Settings, *, as_json: bool) -> None:
    from mcp_server.cli import check as check_command

    async with _vendor(settings) as (used, _, _):
        told, ok = await check_command.run(used, as_json=as_json)
    print(told)
    if not ok:
        raise SystemExit(1)


def http_worker() -> "ASGIApp":
    """What `uvicorn --factory mcp_server.cli.main:http_worker --workers N` runs in each worker."""
    from mcp_server.http import serve as http_command

    try:
        settings = Settings.read(os.environ)
        log_to_stderr(settings.log_level, settings.secret)
        return http_command.worker(settings)
    except SettingsError as error:
        print(f"useapi-mcp: {error}", file=sys.stderr)
        raise SystemExit(3) from None  # to uvicorn: no other worker can start either


@contextlib.asynccontextmanager
async def _vendor(settings: Settings) -> AsyncIterator[tuple[Settings, str, Path | None]]:
    """Settings as they are, or for a sandbox that runs as long as this; its sources and folder."""
    if not settings.sandbox:
        yield settings, "", None
        return
    from mcp_server.sandbox.app import SOURCES

    with tempfile.TemporaryDirectory(prefix="useapi-mcp-") as name:
        folder = Path(name)
        async with _sandbox_in_process(settings) as origin:
            sources = " ".join(source.id for source in SOURCES if source.good)
            yield _for_sandbox(settings, origin, folder), sources, folder


def _for_sandbox(settings: Settings, origin: str, folder: Path) -> Settings:
    """Settings whose API is the sandbox: nothing leaves the machine, nothing stays behind."""
    return settings.model_copy(
        update={
            "base_url": origin,
            "token": SecretStr("user:0-sandbox"),
            "state_dir": folder / "state",
            "output_dir": settings.output_dir or folder / "output",
        }
    )


@contextlib.asynccontextmanager
async def _sandbox_in_process(settings: Settings) -> AsyncIterator[str]:
    """The sandbox on a port the system chooses, in this process and loop; gives its origin."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = _uvicorn(_sandbox(settings))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not (server.started or serving.done()):  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.001)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            await serving


def _serve_sandbox(settings: Settings, port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()  # whoever reads the address below may connect at once
        except (OSError, OverflowError) as error:
            print(f"useapi-mcp: port {port} can't be served ({error}).", file=sys.stderr)
            raise SystemExit(2) from None
        chosen = listener.getsockname()[1]
        print(
            f"Sandbox of api.useapi.net at http://127.0.0.1:{chosen} (Ctrl-C ends it)", flush=True
        )
        asyncio.run(_uvicorn(_sandbox(settings), own_signals=True).serve(sockets=[listener]))


def _sandbox(settings: Settings) -> "Sandbox":
    from mcp_server.sandbox.app import Sandbox

    return Sandbox(job_seconds=settings.sandbox_job_seconds, now=Clock().now)


def _sources_help() -> str:
    from mcp_server.sandbox.app import help_text

    return help_text()


def _uvicorn(app: "Sandbox", *, own_signals: bool = False) -> "uvicorn.Server":
    import uvicorn

    class InProcess(uvicorn.Server):
        """Leaves signals to the process it is a guest in."""

        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None, None, None]:
            yield

    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
        date_header=False,  # the sandbox tells its own time
    )
    return uvicorn.Server(config) if own_signals else InProcess(config)


def _run_demo(folder: Path) -> None:
    from mcp_server.cli.demo import run
    from mcp_server.sandbox.app import SOURCES

    good = {(source.service, source.kind): source.id for source in SOURCES if source.good}
    asyncio.run(run(folder.absolute(), good))
