"""What every test shares: `async def` tests run in virtual time, property tests without chance."""

import asyncio
import functools
import inspect
import json
import os
import shutil
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator
from mcp.server.mcpserver.prompts.base import Prompt
from mcp.server.mcpserver.resources import ResourceTemplate

from tests.support import virtual_time

# Journals wait for the disk at each step: tmp_path is in memory where there is plenty of it.
MEMORY, ENOUGH_BYTES = Path("/dev/shm"), 2_000_000_000
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

_MEASURES = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")  # in new processes, too

_check_schema = Draft202012Validator.check_schema
_checked: set[str] = set()


def _check_schema_once(schema: Any, *rest: Any) -> None:
    """The SDK's client checks a tool's output schema each time it connects, which takes longest."""
    text = json.dumps(schema, sort_keys=True)
    if text not in _checked:
        _check_schema(schema, *rest)
        _checked.add(text)


Draft202012Validator.check_schema = _check_schema_once  # type: ignore[assignment]

# Half of what a server in memory takes: a model of the arguments of each of the same functions.
Prompt.from_function = functools.cache(Prompt.from_function)  # type: ignore[method-assign,assignment]
ResourceTemplate.from_function = functools.cache(  # type: ignore[method-assign,assignment]
    ResourceTemplate.from_function
)

# No deadline: a loaded machine would break it. The same examples each time: a red test stays red.
settings.register_profile("quick", deadline=None, derandomize=True, max_examples=50)
settings.register_profile(
    "fuzz", deadline=None, max_examples=20_000, suppress_health_check=list(HealthCheck)
)
settings.load_profile("quick")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure the coverage of a test's processes only where it asks for it.

    It doubles what a process takes to start, and most processes run the same lines. A test that
    runs the same lines thousands of times takes three times as long with it, up to Python 3.13.
    """
    hidden: dict[str, str] = {}
    tracing = sys.gettrace()
    if item.get_closest_marker("repeats") is not None:
        sys.settrace(None)
    if item.get_closest_marker("covered") is None:
        hidden = {name: os.environ.pop(name) for name in list(os.environ) if name in _MEASURES}
    try:
        return (yield)
    finally:
        os.environ.update(hidden)
        if sys.gettrace() is not tracing:
            sys.settrace(tracing)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test on an event loop whose time jumps when nothing is left to do.

    One with a fixture named `runner`, an asyncio.Runner, is run by that, as its fixtures are.
    """
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted: dict[str, Any] = {
        name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames
    }
    runner = pyfuncitem.funcargs.get("runner")
    run = runner.run if isinstance(runner, asyncio.Runner) else virtual_time.run
    run(pyfuncitem.obj(**wanted))
    return True
