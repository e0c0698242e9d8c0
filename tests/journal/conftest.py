"""An open journal for each test of this folder."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_server.journal.base import Store
from mcp_server.journal.journal import Journal
from mcp_server.journal.sqlite import SqliteStore
from tests.journal.engines import ENGINES, NAMES
from tests.journal.rows import StoppedClock
from tests.support import virtual_time


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the journal is; made when it is first used."""
    return tmp_path / "state"


@pytest.fixture
def store(folder: Path, clock: StoppedClock) -> Iterator[Store]:
    """An open store; a module that tests another engine has a fixture of this name."""
    opened = SqliteStore(folder, clock)
    yield opened
    virtual_time.run(opened.close())


@pytest.fixture(params=NAMES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def runner(engine: str) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=ENGINES[engine].loop) as runner:
        yield runner


@pytest.fixture
def store_of_engine(
    engine: str, folder: Path, clock: StoppedClock, runner: asyncio.Runner
) -> Iterator[Store]:
    """An open store of each kind of database."""
    opened = ENGINES[engine].store(folder, clock)
    yield opened
    runner.run(opened.close())


@pytest.fixture
def journal(store: Store, clock: StoppedClock) -> Journal:
    return Journal(store, clock.now)
