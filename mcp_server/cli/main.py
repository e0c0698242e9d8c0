"""The command line: reads arguments and environment, and runs the command they name.

What a command needs is imported when it runs: `--version`, help and a wrong setting answer at once.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mcp_server import __version__
from mcp_server.errors import JournalError, RequestError, SettingsError
from mcp_server.logs import flush_log, log_to_stderr
from mcp_server.settings import Settings, unknown_settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from mcp_server.cli.hosts import Host

README = "https://github.com/useapi-mcp/useapi-mcp"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a wrong setting ends it with one line and exit code 2, Ctrl-C with 130.

    The server on stdio starts all the same, and says what is wrong at each call.
    """
    given = build_parser().parse_args(arguments)
    try:
        settings, given.fault = Settings.read_with_fault(os.environ)
        for sentence in unknown_settings(os.environ):
            print(f"useapi-mcp: {sentence}", file=sys.stderr)
        if given.fault is not None:
            print(f"useapi-mcp: {given.fault}", file=sys.stderr)
            if given.run is not _run_stdio:
                raise SystemExit(2)
        log_to_stderr(settings.log_level, settings.secret, settings.log_format)
        if given.sandbox:
            settings = settings.model_copy(update={"sandbox": True})
        given.run(settings, given)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except SettingsError as error:
        print(f"useapi-mcp: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:  # the reader of our output has left, as `check --json | head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def http_worker() -> "ASGIApp":
    """What `uvicorn --factory mcp_server.cli.main:http_worker --workers N` runs in each worker."""
    from mcp_server.http.serve import worker

    try:
        settings = Settings.read(os.environ)
        log_to_stderr(settings.log_level, settings.secret, settings.log_format)
        return worker(settings)
    except SettingsError as error:
        print(f"useapi-mcp: {error}", file=sys.stderr)
        raise SystemExit(3) from None  # to uvicorn: no other worker can start either


class _Parser(argparse.ArgumentParser):
    """One that can make its epilog when help is asked for, and not before."""

    make_epilog: Callable[[], str] | None = None

    def format_help(self) -> str:
        if self.make_epilog is not None:
            self.epilog = self.make_epilog()
        return super().format_help()


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; `run` of what it gives takes the settings and the arguments."""
    parser = _Parser(
        prog="useapi-mcp",
        description="MCP server that upscales video, raises frame rates and upscales images "
        "on useapi.net. Without a command it serves MCP over stdio.",
        epilog="Settings are environment variables: USEAPI_TOKEN first; all of them are in "
        f"{README}#settings",
    )
    parser.add_argument("--version", action="version", version=f"useapi-mcp {__version__}")
    _add_sandbox(parser, default=False)
    parser.set_defaults(run=_run_stdio)
    commands = parser.add_subparsers(metavar="command")

    stdio = commands.add_parser("stdio", help="serve MCP over stdio, as without a command")
    stdio.set_defaults(run=_run_stdio)

    sandbox = commands.add_parser(
        "sandbox",
        help="serve the sandbox alone, as a plain HTTP API",
        description="Answers on 127.0.0.1 as the documents of api.useapi.net say. "
        "Any well-formed token is right.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sandbox.make_epilog = _sandbox_sources
    sandbox.add_argument("--port", type=int, default=8001, help="port to serve on (default 8001)")
    sandbox.set_defaults(run=_run_sandbox)

    http = commands.add_parser(
        "http",
        help="serve MCP over Streamable HTTP at /mcp",
        epilog="Clients must send the token in USEAPI_HTTP_TOKEN as `Authorization: Bearer ...`. "
        "Where neither it nor USEAPI_OAUTH_ISSUER is set, a token is made, kept and printed; in the"
        " sandbox at each start.",
    )
    http.add_argument("--host", default="127.0.0.1", help="address to bind (default 127.0.0.1)")
    http.add_argument(
        "--port", type=int, default=8000, help="port to serve on (default 8000; 0 = any free one)"
    )
    http.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="HOST",
        help="a further value of the Host header, like mcp.example.com or mcp.example.com:8443",
    )
    http.add_argument(
        "--allowed-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="an origin whose web pages may connect, like https://app.example.com",
    )
    http.add_argument(
        "--no-auth", action="store_true", help="ask for no token; on the loopback address only"
    )
    http.set_defaults(run=_run_http)

    check = commands.add_parser(
        "check", help="tell whether token, subscription and linked accounts are in order; free"
    )
    check.add_argument("--json", action="store_true", help="print JSON instead of a table")
    check.set_defaults(run=_run_check)

    migrate = commands.add_parser(
        "migrate",
        help="make or change the tables in the database of USEAPI_DATABASE_URL",
        description="Makes the tables of an empty database, and changes those of an older version."
        " Run it with the new version before its first server starts; servers of the version before"
        " go on meanwhile. What is up to date stays as it is.",
    )
    migrate.set_defaults(run=_run_migrate)

    user = commands.add_parser(
        "user",
        help="hand out tokens for `useapi-mcp http`, one a user, or take them back",
        description="Each user of `useapi-mcp http` has a token, and sees what he asked for"
        " (USEAPI_SHARING). Run it with the same USEAPI_DATABASE_URL or USEAPI_STATE_DIR as the"
        " servers; they need no restart.",
    )
    actions = user.add_subparsers(metavar="action", required=True)
    added = actions.add_parser("add", help="make a user, and print the token: it is not kept")
    added.add_argument("name", help="letters, digits and . _ @ + -")
    added.add_argument("--read-only", action="store_true", help="who can't submit or cancel jobs")
    added.set_defaults(run=_run_user_add)
    removed = actions.add_parser("remove", help="refuse a user's token from now on; jobs stay")
    removed.add_argument("name", help="one that `list` shows")
    removed.set_defaults(run=_run_user_remove)
    forgotten = actions.add_parser(
        "forget-token", help="forget the useapi.net token that a user has given (USEAPI_OWN_TOKENS)"
    )
    forgotten.add_argument(
        "name", help="one that `list` shows, or the subject of a user of USEAPI_OAUTH_ISSUER"
    )
    forgotten.set_defaults(run=_run_user_forget)
    actions.add_parser("list", help="show the users").set_defaults(run=_run_user_list)
    for action in actions.choices.values():
        _add_sandbox(action)

    demo = commands.add_parser(
        "demo", help="do the main job from start to end in the sandbox, and show the files"
    )
    demo.add_argument(
        "--folder",
        type=Path,
        default=Path("useapi-mcp-demo"),
        help="folder for the files (default: useapi-mcp-demo)",
    )
    demo.set_defaults(run=_run_demo)

    for name, run, help_text in (
        ("install", _run_install, "put this server into the configuration of a host"),
        ("uninstall", _run_uninstall, "take this server out of the configuration of a host"),
    ):
        command = commands.add_parser(name, help=help_text)
        command.add_argument("host", type=_host, metavar="host", help="one of those below")
        command.add_argument("--print", action="store_true", help="only say what would be done")
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        command.make_epilog = _hosts
        command.set_defaults(run=run)
    for command in commands.choices.values():
        _add_sandbox(command)
    return parser


def _add_sandbox(parser: argparse.ArgumentParser, default: Any = argparse.SUPPRESS) -> None:
    """Take --sandbox; after a command it does not undo one before it."""
    parser.add_argument(
        "--sandbox",
        action="store_true",
        default=default,
        help="use a built-in sandbox: no token, no cost",
    )


def _run_stdio(settings: Settings, given: argparse.Namespace) -> None:
    from mcp_server.server import stdio
    from mcp_server.server.factory import create_server

    if sys.stdin is not None and sys.stdin.isatty():
        print(
            "useapi-mcp waits for an MCP host to talk to it here, over stdin. "
            "To try it by hand: useapi-mcp demo",
            file=sys.stderr,
        )

    def end() -> NoReturn:
        # Not by Python's own exit: it would wait for a thread that reads stdin or writes stdout.
        flush_log()
        os._exit(0)

    async def serve() -> None:
        # Nothing is to be sent, and paid for, after the client that asked for it has left.
        unqueued = settings.model_copy(update={"queue_seconds": 0.0})
        async with _with_sandbox(unqueued) as (used, sources, folder):

            def leave() -> None:
                if folder is not None:
                    shutil.rmtree(folder, ignore_errors=True)
                end()

            streams = stdio.StandardStreams()
            server = create_server(used, sandbox_sources=sources, leave=leave, fault=given.fault)
            await stdio.serve(server, streams)
        end()

    asyncio.run(serve())


def _run_http(settings: Settings, given: argparse.Namespace) -> None:
    from mcp_server.http.serve import serve

    async def run() -> None:
        async with _with_sandbox(settings) as (used, sources, _):
            await serve(
                used,
                host=given.host,
                port=given.port,
                allowed_hosts=given.allowed_host,
                allowed_origins=given.allowed_origin,
                no_auth=given.no_auth,
                sandbox_sources=sources,
            )

    asyncio.run(run())


def _run_check(settings: Settings, given: argparse.Namespace) -> None:
    from mcp_server.cli import check

    async def run() -> tuple[str, bool]:
        async with _with_sandbox(settings) as (used, _, _):
            return await check.run(used, as_json=given.json)

    report, ok = asyncio.run(run())
    print(report)
    if not ok:
        raise SystemExit(1)


def _run_migrate(settings: Settings, _: argparse.Namespace) -> None:
    if settings.database_url is None:
        raise SettingsError(
            message="USEAPI_DATABASE_URL is not set.",
            hint="Set it to the database; a journal in a folder needs no such command.",
        )
    from mcp_server.journal.postgres_layout import migrate

    try:
        before, after = asyncio.run(migrate(settings.database_url.get_secret_value()))
    except JournalError as error:
        print(f"useapi-mcp: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    was = "was empty" if before is None else f"had layout {before}"
    print(f"The database {was}; it has layout {after} now.")


def _run_user_add(settings: Settings, given: argparse.Namespace) -> None:
    from mcp_server.cli import users

    token = _of_users(settings, users.add(settings, given.name, read_only=given.read_only))
    print(
        f"This is the token of {given.name}, who sends it as `Authorization: Bearer ...`. It can't"
        " be shown again.",
        file=sys.stderr,
    )
    print(token)


def _run_user_remove(settings: Settings, given: argparse.Namespace) -> None:
    from mcp_server.cli import users

    print(_of_users(settings, users.remove(settings, given.name)))


def _run_user_forget(settings: Settings, given: argparse.Namespace) -> None:
    from mcp_server.cli import users

    print(_of_users(settings, users.forget(settings, given.name)))


def _run_user_list(settings: Settings, _: argparse.Namespace) -> None:
    from mcp_server.cli import users

    print(_of_users(settings, users.table(settings)))


def _of_users(settings: Settings, work: Coroutine[Any, Any, str]) -> str:
    """What a command about users prints; an error ends it with one line."""
    if settings.sandbox:
        work.close()
        raise SettingsError(
            message="The sandbox keeps no users: its journal ends with it.",
            hint="Leave --sandbox and USEAPI_SANDBOX out.",
        )
    try:
        return asyncio.run(work)
    except (JournalError, RequestError) as error:
        print(f"useapi-mcp: {error}", file=sys.stderr)
        raise SystemExit(1 if isinstance(error, JournalError) else 2) from None


def _run_sandbox(settings: Settings, given: argparse.Namespace) -> None:
    from mcp_server.cli import sandbox

    sandbox.serve(settings, given.port)


def _run_demo(_: Settings, given: argparse.Namespace) -> None:
    from mcp_server.cli import demo
    from mcp_server.sandbox.app import SOURCES

    good = {(source.service, source.kind): source.id for source in SOURCES if source.good}
    asyncio.run(demo.run(given.folder.absolute(), good))


def _run_install(settings: Settings, given: argparse.Namespace) -> None:
    from getpass import getpass

    from mcp_server.cli import check, install
    from mcp_server.cli.hosts import find_file
    from mcp_server.cli.server_command import origin_of_package, server_command
    from mcp_server.sandbox.app import SOURCES

    host, path = given.host, find_file(given.host, sys.platform, os.environ)
    command = server_command(Path(sys.prefix), sys.executable, os.environ, origin_of_package())
    command += ["--sandbox"] if settings.sandbox else []
    if given.print:
        print(install.show(host, path, command, sandbox=settings.sandbox))
        return
    source = next(source.id for source in SOURCES if source.good)
    print(
        install.install(
            host,
            path,
            command,
            settings,
            ask=getpass if sys.stdin is not None and sys.stdin.isatty() else None,
            check=lambda used: asyncio.run(check.look(used)),
            first_words=f"Upscale the video {source}"
            if settings.sandbox
            else "Check my useapi.net accounts",
        )
    )


def _run_uninstall(_: Settings, given: argparse.Namespace) -> None:
    from mcp_server.cli import install
    from mcp_server.cli.hosts import find_file

    host, path = given.host, find_file(given.host, sys.platform, os.environ)
    print(install.uninstall(host, path, print_only=given.print))


def _host(name: str) -> "Host":
    from mcp_server.cli.hosts import HOSTS

    if name not in HOSTS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(HOSTS)}")
    return HOSTS[name]


def _hosts() -> str:
    """The hosts with the file of each on this system."""
    from mcp_server.cli.hosts import HOSTS, find_file

    lines = [
        f"  {host.name:<16}{find_file(host, sys.platform, os.environ)}" for host in HOSTS.values()
    ]
    return "\n".join(["hosts, and the file that is changed:", *lines])


def _sandbox_sources() -> str:
    from mcp_server.sandbox.app import help_text

    return help_text()


@contextlib.asynccontextmanager
async def _with_sandbox(settings: Settings) -> AsyncIterator[tuple[Settings, str, Path | None]]:
    """The settings to use, and of a sandbox, if it is wanted, its source ids and its folder."""
    if not settings.sandbox:
        yield settings, "", None
        return
    from mcp_server.cli import sandbox

    async with sandbox.run_in_process(settings) as running:
        yield running
