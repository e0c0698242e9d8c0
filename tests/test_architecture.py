"""Architecture: floors, doors and names, read from the source and enforced.

A module imports only from floors below its own. One outside thing has one door. The drawing is in
`CONTRIBUTING.md`; a new module takes its place in `FLOORS`.
"""

import ast
import builtins
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mcp_server

PACKAGE = Path(mcp_server.__file__).parent

FLOORS: tuple[tuple[str, ...], ...] = (
    (
        "errors",
        "clock",
        "redaction",
        "containers",
        "cutting",
        "inflating",
        "retries",
        "addresses",
        "key_locks",
    ),
    ("jobs", "settings", "output_folder", "file_names", "answers", "arguments"),
    ("outcomes", "journal_file"),
    ("upstream", "journal", "fetching"),
    ("services.accounts",),  # floor 3 has steps: what is told of accounts,
    ("services.service",),  # what a service is,
    ("services.dreamina_jobs", "services.google_flow_jobs"),  # how long records become jobs,
    ("services.dreamina", "services.google_flow", "services.pixverse"),  # the three, strangers,
    ("services",),  # and the list of them
    ("ledger",),  # floor 4 has steps too: submissions in the words of jobs,
    ("reconciling",),  # finding them by reading,
    ("submitting", "waiting", "downloads", "checking"),  # and those who work on them
    ("results", "app"),
    ("planning", "strict_tool", "known_names"),
    ("tools", "tasks", "viewer", "resources", "http_app"),
    ("job_tasks",),  # floor 6's last step: our jobs, told as tasks
    ("server",),
    ("demo", "check_command", "http_command"),  # so has floor 8
    ("cli",),
    ("__main__",),
)
FLOOR_OF = {module: floor for floor, modules in enumerate(FLOORS) for module in modules}

SPEAK_MCP = (
    "results",
    "app",
    "planning",
    "strict_tool",
    "known_names",
    "tools",
    "tasks",
    "viewer",
    "resources",
    "http_app",
    "job_tasks",
    "server",
    "demo",
    "cli",
    "__main__",
)
TALK_TO_THE_SHELL = ("demo", "check_command", "http_command", "cli", "__main__")
DOORS = {  # an import or a name in use -> the only modules it may stand in
    "httpx": ("upstream", "fetching"),
    "mcp": SPEAK_MCP,
    "mcp_types": SPEAK_MCP,
    "sqlite3": ("journal", "journal_file"),
    "time": ("clock",),
    "datetime.datetime.now": ("clock",),
    "datetime.datetime.utcnow": ("clock",),
    "datetime.datetime.today": ("clock",),
    "datetime.date.today": ("clock",),
    "asyncio.get_running_loop().time": ("clock",),
    "asyncio.get_event_loop().time": ("clock",),
    "loop.time": ("clock",),
    "anyio.current_time": ("clock",),
    "os.environ": TALK_TO_THE_SHELL,
    "os.getenv": TALK_TO_THE_SHELL,
    "sys.argv": TALK_TO_THE_SHELL,
    "print": TALK_TO_THE_SHELL,
    "importlib.import_module": (),  # would hide an import from this test
    "__import__": (),
}
BUILT_IN_DOORS = DOORS.keys() & vars(builtins).keys()
VENDOR_WORDS = {
    "jobid",
    "mediaGenerationId",
    "original_video_id",
    "video_id",
    "videoUrl",
    "fifeUrl",
    "rawBytes",
    "encodedImage",
    "output_width",
    "output_height",
    "video_status_final",
}
SANDBOX_MAY_IMPORT = {"starlette"} | sys.stdlib_module_names
EMPTY_NAMES = {
    "utils",
    "util",
    "helpers",
    "common",
    "base",
    "consts",
    "constants",
    "types",
    "core",
    "manager",
    "misc",
}
MOST_LINES = 300
LONGER_FOR_A_REASON: dict[str, str] = {
    "journal": "each step a submission can take, with the rules that hold whatever came before",
}


def modules() -> dict[str, str]:
    """Source by module name, without `mcp_server.`."""
    sources = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        sources[name] = path.read_text("utf-8")
    return sources


def faults(module: str, source: str, known: frozenset[str] = frozenset()) -> list[str]:
    """All a module does wrong, one sentence each."""
    known |= FLOOR_OF.keys()
    tree = ast.parse(source)
    return [
        *name_faults(module),
        *text_faults(module, source, tree),
        *floor_faults(module, tree, known),
        *door_faults(module, tree),
        *vendor_word_faults(module, tree),
    ]


def name_faults(module: str) -> Iterator[str]:
    if module and not is_sandbox(module) and module not in FLOOR_OF:
        yield f"{module} has no floor"
    for part in module.split("."):
        if part in EMPTY_NAMES:
            yield f"{part} says nothing about what is in it"


def text_faults(module: str, source: str, tree: ast.Module) -> Iterator[str]:
    if not (ast.get_docstring(tree, clean=False) or "").split("\n")[0].strip():
        yield f"{module} does not say in its first line what it is for"
    lines = source.count("\n")
    if lines > MOST_LINES and module not in LONGER_FOR_A_REASON:
        yield f"{module} has {lines} lines: split it, or give a reason"


def floor_faults(module: str, tree: ast.Module, known: frozenset[str]) -> Iterator[str]:
    for imported in imports(tree):
        top, _, rest = imported.partition(".")
        if not top:
            yield f"{module} imports by a relative path"
        elif is_sandbox(module):
            is_its_own = top == "mcp_server" and is_sandbox(rest)
            if not is_its_own and top not in SANDBOX_MAY_IMPORT:
                yield f"{module} imports {imported}, but the sandbox stands alone"
        elif top == "mcp_server":
            ours = module_of(rest, known)
            if is_sandbox(ours):
                if module != "cli":
                    yield f"{module} imports the sandbox, which only cli does"
            elif ours and FLOOR_OF.get(ours, len(FLOORS)) >= FLOOR_OF.get(module, -1):
                yield f"{module} imports {ours}, which is not on a floor below"


def door_faults(module: str, tree: ast.Module) -> Iterator[str]:
    for thing in sorted({*imports(tree), *names_in_use(tree)}):
        for door, allowed in DOORS.items():
            if (thing == door or thing.startswith(f"{door}.")) and module not in allowed:
                yield f"{module} uses {thing}"


def vendor_word_faults(module: str, tree: ast.Module) -> Iterator[str]:
    if is_sandbox(module) or module.startswith("services."):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in VENDOR_WORDS:
            yield f"{module} knows the vendor's word {node.value}"


def is_sandbox(module: str) -> bool:
    return module == "sandbox" or module.startswith("sandbox.")


def module_of(name: str, known: frozenset[str]) -> str:
    """The module of a name such as `jobs.Job`; "" for what the package itself holds."""
    while name and name not in known and not is_sandbox(name):
        parent, dot, _ = name.rpartition(".")
        if not dot and name[:1].islower():
            return name  # a module nobody gave a floor
        name = parent
    return name


def imports(tree: ast.Module) -> Iterator[str]:
    """Everything imported, dotted, wherever it stands; a relative import begins with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from (f"{start}.{alias.name}" for alias in node.names)


def names_in_use(tree: ast.Module) -> Iterator[str]:
    """Every dotted name read, with what it was imported as put back: `dt.now`, `loop.time`."""
    origin: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            origin |= {
                alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names
            }
        elif isinstance(node, ast.Import):
            origin |= {alias.asname: alias.name for alias in node.names if alias.asname}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            first, dot, rest = ast.unparse(node).partition(".")
            called, brackets, _ = first.partition("()")
            if dot or called in BUILT_IN_DOORS:  # a variable may well be called `time`
                yield origin.get(called, called) + brackets + dot + rest


@pytest.mark.parametrize(("module", "source"), modules().items(), ids=modules())
def test_a_module_keeps_to_its_floor_and_its_doors(module: str, source: str) -> None:
    assert [] == faults(module, source, frozenset(modules()))


def test_every_floor_and_every_door_is_in_use() -> None:
    """A name that stands here and nowhere else is out of date."""
    listed = {*FLOOR_OF, *LONGER_FOR_A_REASON, *(m for allowed in DOORS.values() for m in allowed)}

    assert set() == listed - modules().keys()


def test_a_long_module_is_excused_only_while_it_is_long() -> None:
    short = {
        name
        for name, source in modules().items()
        if name in LONGER_FOR_A_REASON and source.count("\n") <= MOST_LINES
    }

    assert set() == short


@pytest.mark.parametrize(
    ("module", "line"),
    [
        # floors
        ("jobs", "from mcp_server.upstream import Upstream"),
        ("jobs", "from mcp_server import upstream"),
        ("jobs", "import mcp_server.upstream"),
        ("jobs", "from mcp_server.settings import Settings"),
        ("jobs", "def f():\n    from mcp_server.server import create_server"),
        ("jobs", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import mcp_server.app"),
        ("jobs", "from mcp_server.services import SERVICES"),
        ("jobs", "from mcp_server.somewhere import something"),
        ("services.pixverse", "from mcp_server.services.dreamina import Dreamina"),
        ("services.pixverse", "from mcp_server.services import dreamina"),
        ("services.pixverse", "from mcp_server.services import SERVICES"),
        ("services.service", "from mcp_server.services.dreamina import Dreamina"),
        ("services", "from .dreamina import Dreamina"),
        ("server", "from mcp_server.cli import main"),
        ("tools", "from mcp_server.tasks import Tasks"),
        # the sandbox
        ("server", "from mcp_server.sandbox import create_app"),
        ("demo", "import mcp_server.sandbox.dreamina"),
        ("sandbox", "from mcp_server.errors import UseapiError"),
        ("sandbox.dreamina", "from mcp_server import errors"),
        ("sandbox.dreamina", "import httpx"),
        ("sandbox.world", "import pydantic"),
        # doors
        ("waiting", "import httpx"),
        ("waiting", "from httpx import AsyncClient"),
        ("upstream", "from mcp.types import Tool"),
        ("upstream", "import mcp_types"),
        ("downloads", "def f():\n    import sqlite3"),
        ("waiting", "import time"),
        ("waiting", "from time import monotonic"),
        ("journal", "from datetime import datetime\nnow = datetime.now()"),
        ("journal", "from datetime import datetime as d\nnow = d.now()"),
        ("journal", "import datetime as d\nnow = d.datetime.utcnow()"),
        ("journal", "from datetime import date\nnow = date.today"),
        ("sandbox.world", "from datetime import UTC, datetime\nnow = datetime.now(UTC)"),
        ("waiting", "import asyncio\nnow = asyncio.get_running_loop().time()"),
        ("waiting", "from asyncio import get_running_loop as g\nnow = g().time()"),
        ("waiting", "import asyncio\nloop = asyncio.new_event_loop()\nnow = loop.time()"),
        ("waiting", "import anyio\nnow = anyio.current_time()"),
        ("settings", "import os\ntoken = os.environ['TOKEN']"),
        ("settings", "from os import environ"),
        ("settings", "import os\ntoken = os.getenv('TOKEN')"),
        ("server", "import sys\narguments = sys.argv[1:]"),
        ("server", "print('ready')"),
        ("server", "write = print"),
        ("server", "import importlib\nimportlib.import_module('mcp_server.cli')"),
        ("server", "__import__('mcp_server.cli')"),
        # words
        ("results", "def f(record):\n    return record['videoUrl']"),
    ],
)
def test_a_wrong_line_is_found(module: str, line: str) -> None:
    assert faults(module, f'"""About."""\n{line}\n')


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("jobs", "from mcp_server.errors import UseapiError"),
        ("jobs", "from mcp_server import __version__"),
        ("services.pixverse", "from mcp_server.services.service import Service"),
        ("services", "from mcp_server.services.pixverse import PixVerse"),
        ("cli", "from mcp_server.sandbox import create_app"),
        ("cli", "import os, sys\nprint(os.environ, sys.argv)"),
        ("sandbox.dreamina", "from mcp_server.sandbox import media"),
        ("sandbox.dreamina", "from starlette.routing import Route"),
        ("sandbox.dreamina", "def f(record):\n    return record['videoUrl']"),
        ("upstream", "import httpx"),
        ("clock", "import time\nnow = time.time()"),
        ("waiting", "from datetime import UTC, datetime\nd = datetime.fromtimestamp(0, UTC)"),
        ("waiting", "async def f(clock):\n    await clock.sleep(clock.now())"),
        ("app", "def f(time, mcp):\n    return time(mcp)"),
        ("results", "text = 'It is called jobid by the vendor.'"),
    ],
)
def test_a_right_line_is_left_alone(module: str, line: str) -> None:
    assert [] == faults(module, f'"""About."""\n{line}\n')


@pytest.mark.parametrize("module", ["utils", "services.helpers", "sandbox.common", "newcomer"])
def test_a_module_without_a_place_or_a_meaning_is_found(module: str) -> None:
    assert faults(module, '"""About."""\n')


@pytest.mark.parametrize(
    "source", ["", "import re\n", '"""\nAbout.\n"""\n', '"""About."""\n' + "x = 1\n" * MOST_LINES]
)
def test_a_module_without_a_word_about_it_or_without_end_is_found(source: str) -> None:
    assert 1 == len(faults("jobs", source))
