"""PostgreSQL for tests: servers of their own in temporary folders, which end with their process.

`python -m tests.support.postgres` prints what `coverage report` leaves out where there is none.
"""

import asyncio
import atexit
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import psycopg
import pytest

from mcp_server.journal.postgres_layout import migrate

T = TypeVar("T")

USER = "useapi"
_SHARED = "TESTS_POSTGRES"
"""The folder of a server that a process shares with those that it starts."""

_QUICK = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
"""For what does not survive its test anyway."""


def programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`, which few systems have on the PATH."""
    found = shutil.which("pg_ctl")
    if found is not None:
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")
    return max((path.parent for path in versions), default=None)


needs_postgres = pytest.mark.skipif(
    programs() is None, reason="PostgreSQL is not installed: no pg_ctl was found"
)


def require(*names: str) -> None:
    """Install what a slow target needs, where that can be done; else end with what to install.

    Args:
        names: of Debian's packages, which are named like the programs in them.
    """
    packages = [
        name for name in names if not (programs() if name == "postgresql" else shutil.which(name))
    ]
    if not packages:
        return
    root = sys.platform == "linux" and os.geteuid() == 0 and shutil.which("apt-get")
    if not root:
        raise SystemExit(f"Install {' and '.join(packages)} first.")
    for command in (["update", "-qq"], ["install", "-y", "-qq", *packages]):
        subprocess.run(["apt-get", *command], check=True, stdout=subprocess.DEVNULL)


@dataclass(frozen=True)
class Server:
    """A server, on a socket in its folder and on a port of this machine if it has one."""

    folder: Path
    port: int = 5432

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @contextmanager
    def standby(self, port: int) -> Iterator["Server"]:
        """A standby without which this one, the primary, answers no COMMIT from now on."""
        folder = _folder()
        try:
            made = Server(folder, port)
            where = f"host={self.folder} port={self.port} user={USER}"
            as_its_user("pg_basebackup", "-d", where, "-D", str(made.data), "-R", "-c", "fast")
            made.configure(unix_socket_directories=str(folder), port=str(port))
            made.start()
            try:
                self.configure(synchronous_standby_names="*")
                self.reload()
                yield made
            finally:
                made.stop("immediate")
        finally:
            shutil.rmtree(folder)

    def dsn(self, database: str = "postgres", *, schema: str = "", user: str = USER) -> str:
        """The address for USEAPI_DATABASE_URL, by the socket."""
        where = f"host={quote(str(self.folder), safe='')}&port={self.port}"
        options = f"&options=-csearch_path%3D{schema}" if schema else ""
        return f"postgresql://{user}:canary-password@/{database}?{where}{options}"

    def create(self, database: str) -> str:
        """A new database with the newest layout; its address."""
        self.run(f"create database {database}")
        apart(migrate(self.dsn(database)))
        return self.dsn(database)

    def run(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Do something behind the journal's back; the rows of the last statement."""
        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        self._pg_ctl("start", "-l", str(self.folder / "log"))

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        self._pg_ctl("stop", "-m", mode)

    def restart(self) -> None:
        """A fast one, which cuts all connections."""
        self._pg_ctl("restart", "-m", "fast", "-l", str(self.folder / "log"))

    def reload(self) -> None:
        """Take the settings that need no restart."""
        self._pg_ctl("reload")

    def promote(self) -> None:
        """Make a standby a server that takes writes."""
        self._pg_ctl("promote")

    def configure(self, **settings: str) -> None:
        """Change its settings; most are taken when it is next started."""
        lines = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(lines)

    def _pg_ctl(self, *command: str) -> None:
        as_its_user("pg_ctl", "-D", str(self.data), "-w", *command)


def as_its_user(program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs, which refuse to be run by root."""
    folder = programs()
    assert folder is not None
    root = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    command = [*root, str(folder / program), *arguments]
    # Not captured: a server that is started keeps what it is given open.
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run(
            command, cwd="/", stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False
        )
        said.seek(0)
        assert done.returncode == 0, said.read()


@contextmanager
def server(port: int = 0, **settings: str) -> Iterator[Server]:
    """A new server, gone when the block is left.

    Args:
        port: on 127.0.0.1, too; 0 = on its socket only.
        settings: of its postgresql.conf.
    """
    folder = _folder()
    try:
        made = Server(folder, port or 5432)
        as_its_user("initdb", "-D", str(made.data), "-U", USER, "-A", "trust", "-E", "UTF8", "-N")
        made.configure(
            unix_socket_directories=str(folder),
            listen_addresses="127.0.0.1" if port else "",
            port=str(made.port),
            **settings,
        )
        made.start()
        try:
            yield made
        finally:
            if (made.data / "postmaster.pid").exists():
                made.stop("immediate")
    finally:
        shutil.rmtree(folder)


def _folder() -> Path:
    """A temporary folder that its user may use, with a name short enough for a socket's."""
    memory = os.environ.get("PYTEST_DEBUG_TEMPROOT")
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=memory))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    return folder


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def shared() -> Server:
    """The server of this process, or of the one that started it; made at first use."""
    if _SHARED not in os.environ:
        running = server(0, **_QUICK)
        os.environ[_SHARED] = str(running.__enter__().folder)
        atexit.register(running.__exit__, None, None, None)
    return Server(Path(os.environ[_SHARED]))


def schema_of(place: Path) -> str:
    """The address of a journal of its own for a place, in the shared server."""
    name = "at_" + hashlib.sha256(str(place).encode()).hexdigest()[:16]
    running = shared()
    if not running.run(f"select 1 from pg_namespace where nspname = '{name}'"):
        running.run(f"create schema {name}")
        apart(migrate(running.dsn(schema=name)))
    return running.dsn(schema=name)


Cut = Literal["none", "request", "answer", "late", "late answer"]


class Wire:
    """A socket before a server's, which cuts a connection at its COMMIT.

    Attributes:
        cuts: what becomes of the next ones: nothing, the COMMIT never arrives, its answer never
            does, or its answer waits for `go_on` and then arrives, or does not.
        committing: a COMMIT was answered.
    """

    def __init__(self, server: Server) -> None:
        self.cuts: list[Cut] = []
        self.committing = asyncio.Event()
        self.go_on = asyncio.Event()
        self._server = server
        self._serving: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Server]:
        """The same server by way of this socket."""
        with tempfile.TemporaryDirectory(prefix="wire-") as name:
            path = Path(name, ".s.PGSQL.5432")
            async with await asyncio.start_unix_server(self._carry, str(path)):
                yield Server(Path(name))
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    async def _carry(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        path = self._server.folder / f".s.PGSQL.{self._server.port}"
        server, to_server = await asyncio.open_unix_connection(str(path))
        answering = asyncio.create_task(_copy(server, to_client))
        self._serving |= {answering, _this_task()}
        try:
            while data := await client.read(65536):
                cut = self.cuts.pop(0) if self.cuts and b"commit\0" in data else "none"
                if cut != "none":
                    if cut == "request":
                        break
                    answering.cancel()
                    await asyncio.wait({answering})
                    to_server.write(data)
                    answer = await server.read(65536)
                    self.committing.set()
                    if cut != "answer":
                        await self.go_on.wait()
                    if cut != "late":
                        break
                    to_client.write(answer)
                    answering = asyncio.create_task(_copy(server, to_client))
                    self._serving.add(answering)
                    continue
                to_server.write(data)
        finally:
            to_client.close()
            to_server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def apart(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, on a loop and a thread of its own: one may run in this thread."""
    results: list[T] = []
    thread = threading.Thread(target=lambda: results.append(asyncio.run(work)))
    thread.start()
    thread.join()
    return results[0]


if __name__ == "__main__":
    if programs() is None:
        print("--omit=mcp_server/journal/postgres*.py")
