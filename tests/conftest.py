"""What every test shares: `async def` tests run in virtual time, property tests without chance."""

import inspect
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator

from tests.support import virtual_time

# Journals wait for the disk at each step: tmp_path is in memory where there is plenty of it.
MEMORY, ENOUGH_BYTES = Path("/dev/shm"), 2_000_000_000
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

_check_schema = Draft202012Validator.check_schema
_checked: set[str] = set()


def _check_schema_once(schema: Any, *rest: Any) -> None:
    """The SDK's client checks a tool's output schema each time it connects, which takes longest."""
    text = json.dumps(schema, sort_keys=True)
    if text not in _checked:
        _check_schema(schema, *rest)
        _checked.add(text)


Draft202012Validator.check_schema = _check_schema_once  # type: ignore[assignment]

# No deadline: a loaded machine would break it. The same examples each time: a red test stays red.
settings.register_profile("quick", deadline=None, derandomize=True, max_examples=50)
settings.register_profile(
    "fuzz", deadline=None, max_examples=20_000, suppress_health_check=list(HealthCheck)
)
settings.load_profile("quick")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test on an event loop whose time jumps when nothing is left to do."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted: dict[str, Any] = {
        name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames
    }
    virtual_time.run(pyfuncitem.obj(**wanted))
    return True
