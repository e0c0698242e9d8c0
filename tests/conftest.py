"""What every test shares: async tests run in virtual time, and fixtures hand out the parts."""

import inspect
from typing import Any

import pytest

from tests.support import virtual_time


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
