"""Changes the money code, one place at a time, and says which change no test notices.

    python -m tests.stress.mutants                        # the whole of it: about an hour
    python -m tests.stress.mutants --since origin/main    # what a change touches
    python -m tests.stress.mutants --only jobs/submission.py:120

A test that fails, or no longer ends, kills a mutant. One that survives is a missing test, code that
does nothing, or listed in `mutants_survivors.toml` with the reason why it may live.

Nothing on disk is changed. The tests are collected once; for each mutant the process is forked,
the code of the changed function takes the place of the old, and the tests that run the changed
lines are run: those that killed a neighbour first, then those whose names share words with the
change, then the file's own, then those that killed another mutant of the file, and then the
fastest. What runs at import time (a constant, a default) needs a new import: such a mutant is
forked before our code is imported. A test that starts another process tests the code as it is
there, so that it kills nothing.
"""

import argparse
import ast
import contextlib
import gc
import importlib.machinery
import importlib.util
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import coverage
import httpx
import jsonschema
import mcp.server.mcpserver
import pydantic
import pytest
from _pytest.runner import runtestprotocol

# Imported before the forks: none of it imports our code.
SHARED = (httpx, jsonschema, mcp.server.mcpserver, pydantic)

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mcp_server"
LISTED = Path(__file__).with_name("mutants_survivors.toml")

# The files, and the functions of each whose name matches; the most important first.
FILES = {
    "jobs/submission.py": "",
    "jobs/queue.py": r"Queue\.(insert|begin|put_back|_pass|_may_start)|in_turn|may_start|_can_wait",
    "jobs/reconciliation.py": "",
    "jobs/repository.py": "",
    "jobs/quotes.py": "",
    "jobs/uploads.py": r"Uploads\.(known_ref|send|forget|look|_send|_close|_key)|_ref_in",
    "journal/journal.py": "",
    "tools/consent.py": "",
    "services/base.py": r"Order|_normal|Service\.(names|named|in_the_way|together)",
    "services/dreamina.py": r"find|named|accepted|_same|_candidate|_(may|can)_be_of|in_the_way",
    "services/google_flow.py": r"find|named|accepted|_same|_is_same_wish|_candidate|_listed",
    "services/pixverse.py": r"find|named|accepted|together|_page|_look|_same|_is_same_wish|_goes_by"
    r"|_can_be_of|_tracked|_further|_is_no_upscale|price_in",
    "retry.py": "",
    "upstream/responses.py": r"error_for|is_vendors|_undocumented|not_sent|interrupted|refused"
    r"|_unanswered",
    "journal/locks.py": "",
    "journal/sqlite.py": r"SqliteStore\.(write|claim|release|owns|check|patiently|connection|_begin"
    r"|_is_current|_disconnect)|_is_busy|migrate|_version|_known",
}

# Fast tests, in this process and in virtual time. The state machine is left out: it needs luck.
TESTS = (
    "tests/jobs/test_never_twice.py",
    "tests/jobs/test_never_lost.py",
    "tests/jobs/test_submission.py",
    "tests/jobs/test_queue.py",
    "tests/jobs/test_reconciliation.py",
    "tests/jobs/test_repository.py",
    "tests/jobs/test_old_journals.py",
    "tests/jobs/test_cancellation.py",
    "tests/jobs/test_cancel_and_restart.py",
    "tests/jobs/test_polling.py",
    "tests/jobs/test_quotes.py",
    "tests/jobs/test_uploads.py",
    "tests/journal",
    "tests/services",
    "tests/jobs/test_downloads.py",
    "tests/tools",
    "tests/jobs/test_access.py",
    "tests/server/test_users.py",
    "tests/http/test_own_tokens.py",
    "tests/http/test_webhooks.py",
    "tests/server/test_job_tasks.py",
    "tests/server/test_viewer.py",
    "tests/upstream/test_responses.py",
    "tests/upstream/test_outcomes.py",
    "tests/test_retry.py",
)

NO_DATABASE = ("-k", "not postgres")  # each fork would start one of its own

CPU_S, WALL_S = 10.0, 90.0  # what a mutant is given beside what its tests took when all was well
SLOW_S = 2.0  # a test that takes longer is left out
SURVIVED, KILLED, NEEDS_IMPORT = 0, 1, 2

# --- The mutants ------------------------------------------------------------------------------


@dataclass
class Mutant:
    """One change; `path` is relative to the package, `lines` those of the code it changes."""

    path: str
    function: str
    operator: str
    was: str
    becomes: str
    line: int
    lines: tuple[int, int]
    number: int  # of the change in its file, in the order in which they are made
    is_early: bool  # it takes effect only at import
    same: int = 1  # of those that read the same in one function
    outcome: str = "not run"

    @property
    def change(self) -> str:
        again = f" (no. {self.same})" if self.same > 1 else ""
        return f"{self.was} -> {self.becomes}{again}"

    @property
    def name(self) -> tuple[str, ...]:
        """What it is listed by; no line numbers, which change with every edit."""
        return self.path, self.function, self.operator, self.change


@dataclass
class _Change:
    """A field of a syntax tree that gets another value, and how that reads."""

    node: ast.AST
    field: str
    value: Any
    operator: str
    was: Any
    becomes: Any
    at: ast.AST


_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_SQL = (
    (r" and ", " or "), (r" or ", " and "), (r" <> ", " = "), (r" >= ", " > "), (r" > 0", " >= 0"),
    (r" desc\b", ""), (r"'submitting', ", ""), (r"'unconfirmed', ", ""), (r", 'accepted'", ""),
)  # fmt: skip


def _text(node: Any) -> str:
    if isinstance(node, str):
        return node
    nodes = node if isinstance(node, list) else [node]
    said = "; ".join(ast.unparse(one) for one in nodes)
    return re.sub(r"\s+", " ", said).replace("'", '"')[:160]


def _of_node(  # noqa: C901, PLR0912 - a table
    parent: ast.AST, name: str, at: int | None, node: ast.AST
) -> Iterator[_Change]:
    """The changes of one node, which is `parent.name`, or `parent.name[at]`."""

    def instead(value: ast.AST, operator: str) -> _Change:
        new = ast.fix_missing_locations(ast.copy_location(value, node))
        whole: Any = new
        if at is not None:
            whole = list(getattr(parent, name))
            whole[at] = new
        return _Change(parent, name, whole, operator, node, new, node)

    def without(holder: ast.AST, name: str, index: int, operator: str) -> _Change:
        rest = list(getattr(holder, name))
        gone = rest.pop(index)
        return _Change(holder, name, rest, operator, holder, f"without {_text(gone)}", gone)

    is_test = name == "test" and not isinstance(parent, ast.Assert)
    is_not = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    if isinstance(node, ast.expr) and (is_test or name == "ifs") and not is_not:
        yield instead(ast.UnaryOp(ast.Not(), node), "negate")
    match node:
        case ast.UnaryOp(op=ast.Not()):
            yield instead(node.operand, "drop not")
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield instead(ast.BoolOp(other, node.values), "swap and/or")
            for index in range(len(node.values)):
                rest = node.values[:index] + node.values[index + 1 :]
                yield instead(
                    rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest), "drop operand"
                )
        case ast.Compare(ops=[op]):
            yield instead(
                ast.Compare(node.left, [_COMPARISONS[type(op)]()], node.comparators), "compare"
            )
            (against,) = node.comparators
            if isinstance(op, ast.In | ast.NotIn) and isinstance(against, ast.Tuple | ast.Set):
                for index in range(len(against.elts) if len(against.elts) > 1 else 0):
                    yield without(against, "elts", index, "drop element")
        case ast.Constant(value=bool(value)):
            yield instead(ast.Constant(not value), "constant")
        case ast.Constant(value=int(value) | float(value)):
            if value == 1:
                yield instead(ast.Constant(type(value)(0)), "constant")
            yield instead(ast.Constant(value + 1 if value < 20 else value * 2), "constant")
        case ast.Constant(value=str(value)) if re.search(r"\?|state in", value):
            for pattern, new in _SQL:
                for found in re.finditer(pattern, value):
                    changed = value[: found.start()] + new + value[found.end() :]
                    yield instead(ast.Constant(changed), "sql")
        case ast.Expr(value=ast.Call() | ast.Await()) if not _text(node).startswith("log."):
            yield instead(ast.Pass(), "drop statement")
        case ast.AugAssign() | ast.Raise() | ast.Delete():
            yield instead(ast.Pass(), "drop statement")
        case ast.ExceptHandler(type=ast.Tuple() as kinds):
            for index in range(len(kinds.elts)):
                yield without(kinds, "elts", index, "drop exception")
        case ast.Call(func=ast.Name(id="isinstance"), args=[what, ast.BinOp() as kinds]):
            for kind in (kinds.left, kinds.right):
                yield _Change(node, "args", [what, kind], "drop type", node, kind, node)
        case ast.Call() if not re.search(r"(Error|Rule|dataclass)$|^kind$", _text(node.func)):
            for index, keyword in enumerate(node.keywords):
                if keyword.arg not in {None, "message", "hint"}:
                    yield without(node, "keywords", index, "drop keyword")


def _skips(node: ast.AST, name: str, child: ast.AST) -> bool:
    """What no mutant is made of: types, decorators, the words of messages, what is subscribed."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return name in {"decorator_list", "returns", "bases"}
        case ast.AnnAssign() | ast.arg():
            return name == "annotation"
        case ast.JoinedStr():
            return not isinstance(child, ast.Constant)
        case ast.Expr():
            return isinstance(child, ast.Constant)
        case ast.Subscript():
            return name == "slice"
    return isinstance(node, ast.Assert)


@dataclass(frozen=True)
class _Place:
    """Where a change is: `depth` counts the functions around it, `returns` is the annotation."""

    function: str = ""
    returns: str = ""
    depth: int = 0
    simple: ast.AST | None = None  # the statement around it, if it holds no other


def _changes(node: ast.AST, place: _Place = _Place()) -> Iterator[tuple[_Change, _Place]]:
    """Every change below a node."""
    for name, value in ast.iter_fields(node):
        is_body = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and name == "body"
        here = replace(place, depth=place.depth + is_body)
        for at, child in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(child, ast.AST) or _skips(node, name, child):
                continue
            below = here
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                function = f"{here.function}.{child.name}".lstrip(".")
                gives = "" if isinstance(child, ast.ClassDef) else _text(child.returns)
                below = replace(here, function=function, returns=gives, simple=None)
            elif isinstance(child, ast.stmt):
                below = replace(here, simple=None if hasattr(child, "body") else child)
            for change in _of_node(node, name, at if isinstance(value, list) else None, child):
                yield change, below
            if "None" in place.returns.split(" | "):
                yield from _without_result(child, below)
            yield from _changes(child, below)


def _without_result(node: ast.AST, place: _Place) -> Iterator[tuple[_Change, _Place]]:
    if isinstance(node, ast.Return) and not isinstance(node.value, ast.Constant | None):
        none = ast.copy_location(ast.Constant(None), node)
        yield _Change(node, "value", none, "return None", node, ast.Return(none), node), place


def mutants_of(path: str) -> list[Mutant]:
    """Every mutant of a file, in order."""
    wanted = FILES[path]
    found: list[Mutant] = []
    names: dict[tuple[str, ...], int] = defaultdict(int)
    source = (PACKAGE / path).read_text(encoding="utf-8")
    for number, (change, place) in enumerate(_changes(ast.parse(source))):
        if not re.search(wanted, place.function):
            continue
        span: Any = place.simple or change.at
        mutant = Mutant(
            path=path,
            function=place.function,
            operator=change.operator,
            was=_text(change.was),
            becomes=_text(change.becomes),
            line=getattr(change.at, "lineno", span.lineno),
            lines=(span.lineno, span.end_lineno),
            number=number,
            is_early=place.depth == 0,
        )
        names[mutant.name] += 1
        mutant.same = names[mutant.name]
        found.append(mutant)
    return found


def compiled(mutant: Mutant) -> CodeType:
    """The code of the mutant's file, changed."""
    file = PACKAGE / mutant.path
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for number, (change, _) in enumerate(_changes(tree)):
        if number == mutant.number:
            setattr(change.node, change.field, change.value)
            return compile(tree, str(file), "exec")
    raise AssertionError(mutant)


# --- The tests --------------------------------------------------------------------------------


@dataclass
class Tests:
    """How long each test takes, and which lines of which file it runs."""

    took_s: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[str, list[int]]] = field(default_factory=dict)  # by path, by test
    killers: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self._words = {name: _words(name.partition("::")[2]) for name in self.took_s}
        having = Counter(word for words in self._words.values() for word in words)
        self._weights = {word: math.log(len(self._words) / n) for word, n in having.items()}

    def of(self, mutant: Mutant) -> list[str]:
        """The tests that run what a mutant changes, the most promising first."""
        start, end = mutant.lines
        by_test = self.lines.get(mutant.path, {})
        wanted = set(range(start, end + 1))
        names = [name for name, ran in by_test.items() if mutant.is_early or wanted & set(ran)]
        first = self.killers[mutant.path, mutant.function]
        next_to_them = {
            name for (path, _), names in self.killers.items() if path == mutant.path
            for name in names
        }  # fmt: skip
        own = f"/test_{Path(mutant.path).stem}.py::"
        words = _words(f"{mutant.function} {mutant.was}")

        def promise(name: str) -> tuple[bool, int, bool, bool, float]:
            alike = round(sum(self._weights[word] for word in words & self._words[name]))
            return (
                name not in first,
                -alike,
                own not in name,
                name not in next_to_them,
                self.took_s[name],
            )

        return sorted(names, key=promise)


def _words(text: str) -> set[str]:
    """Its words by their first letters: `_budgets` and `a_budget` have one in common."""
    return {word[:5].lower() for word in re.findall("[A-Z]?[a-z]+", text) if len(word) > 2}


class _InOneProcess:
    """Instead of running the collected tests: first all of them, for their lines, then mutants."""

    def __init__(
        self,
        folder: Path,
        mutants: list[Mutant],
        jobs: int,
        minutes: float,
        measured: Path,
        most_s: float,
    ) -> None:
        self.folder, self.mutants, self.jobs, self.minutes = folder, mutants, jobs, minutes
        self.measured, self.most_s = measured, most_s

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Failed("a test file can't be imported")
        items = {item.nodeid: item for item in session.items}
        if not self.measured.exists():
            found = _measured(session.items, self.folder, self.jobs)
            self.measured.write_text(json.dumps({"took_s": found.took_s, "lines": found.lines}))
        tests = Tests(**json.loads(self.measured.read_text()))
        until = time.monotonic() + 60 * self.minutes
        for item in {item.path: item for item in session.items}.values():
            runtestprotocol(item, nextitem=None, log=False)  # what is set up once, is set up here
        functions = [found for found in gc.get_objects() if isinstance(found, FunctionType)]
        gc.freeze()  # else each process copies all there is when it looks for garbage

        def run(mutant: Mutant, names: list[str], tell: int) -> int:
            try:
                _swap(mutant, functions)
            except ValueError:  # it uses other names of the function around it
                return NEEDS_IMPORT
            return _first_failure([items[name] for name in names], tell, self.most_s)

        _run_all(self.mutants, tests, run, self.folder, self.jobs, until)
        outcomes = [mutant.outcome for mutant in self.mutants]
        (self.folder / "outcomes.json").write_text(json.dumps([until, outcomes]))
        return True


def _measured(items: Sequence[pytest.Item], folder: Path, jobs: int) -> Tests:
    """What each test runs, found out in several processes."""
    size = -(-len(items) // jobs)
    pids = {}
    for number in range(jobs):
        part, into = items[number * size : (number + 1) * size], folder / f"measured-{number}.json"
        temporary = folder / f"measuring-{number}"
        pids[_fork(lambda p=part, i=into: _measure(p, i), temporary)] = into  # type: ignore[misc]
    tests = Tests(lines={path: {} for path in FILES})
    for pid, into in pids.items():
        if _wait(pid) != 0:
            raise RuntimeError("the tests could not be measured")
        found = json.loads(into.read_text())
        tests.took_s |= found["took_s"]
        for path, by_test in found["lines"].items():
            tests.lines[path] |= by_test
    return tests


def _measure(items: Sequence[pytest.Item], into: Path) -> int:
    files = {str(PACKAGE / path): path for path in FILES}
    watch = coverage.Coverage(data_file=None, config_file=False, include=list(files))
    took_s: dict[str, float] = {}
    watch.start()
    for item, following in zip(items, [*items[1:], None], strict=True):
        watch.switch_context(item.nodeid)
        began = time.process_time()
        reports = runtestprotocol(item, nextitem=following, log=False)
        if any(report.failed for report in reports):
            print(f"left out, for it fails as it is: {item.nodeid}", file=sys.__stderr__)
        elif all(report.passed for report in reports) and time.process_time() - began < SLOW_S:
            took_s[item.nodeid] = time.process_time() - began
    watch.stop()
    lines: dict[str, dict[str, list[int]]] = {}
    for file, path in files.items():
        by_test: dict[str, list[int]] = defaultdict(list)
        for line, names in watch.get_data().contexts_by_lineno(file).items():
            for name in names:
                if name in took_s:
                    by_test[name].append(line)
        lines[path] = by_test
    into.write_text(json.dumps({"took_s": took_s, "lines": lines}))
    return 0


def _first_failure(items: Sequence[pytest.Item], tell: int, most_s: float) -> int:
    until = time.process_time() + most_s
    for item, following in zip(items, [*items[1:], None], strict=True):
        if time.process_time() > until:
            break
        if any(r.failed for r in runtestprotocol(item, nextitem=following, log=False)):
            os.write(tell, item.nodeid.encode())
            return KILLED
    return SURVIVED


def _swap(mutant: Mutant, functions: list[FunctionType]) -> None:
    """Put the changed code into the functions that are there, closures and methods too."""

    def codes(code: CodeType) -> Iterator[CodeType]:
        yield code
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield from codes(constant)

    new = {(code.co_qualname, code.co_firstlineno): code for code in codes(compiled(mutant))}
    file = str(PACKAGE / mutant.path)
    for function in functions:
        code = function.__code__
        if code.co_filename == file:
            changed = new.get((code.co_qualname, code.co_firstlineno))
            if changed is not None and changed != code:
                function.__code__ = changed


class _Loader(importlib.machinery.SourceFileLoader):
    code: CodeType

    def get_code(self, fullname: str) -> CodeType:
        return self.code


def _import_changed(mutant: Mutant) -> None:
    """From now on, the module is imported changed."""
    name = f"mcp_server.{mutant.path.removesuffix('.py').replace('/', '.')}"
    loader = _Loader(name, str(PACKAGE / mutant.path))
    loader.code = compiled(mutant)

    class Finder:
        @staticmethod
        def find_spec(
            wanted: str, path: Sequence[str] | None = None, target: ModuleType | None = None
        ) -> importlib.machinery.ModuleSpec | None:
            if wanted != name:
                return None
            return importlib.util.spec_from_file_location(name, loader.path, loader=loader)

    sys.meta_path.insert(0, Finder)


# --- Processes --------------------------------------------------------------------------------


_OUTCOMES = {SURVIVED: "survived", KILLED: "killed", NEEDS_IMPORT: "needs import"}


def _fork(work: Callable[[], int], temporary: Path, *, cpu_s: float | None = None) -> int:
    """A process of ours that does this, silently, with a folder for its temporary files."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        temporary.mkdir(exist_ok=True)
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(temporary)
        if cpu_s is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s) + 1, int(cpu_s) + 3))
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
        code = work()
    except SystemExit:
        code = KILLED
    except BaseException as error:  # noqa: BLE001 - a mutant may raise anything
        if cpu_s is None:
            print(f"{type(error).__name__}: {error}", file=sys.__stderr__)
        code = KILLED
    finally:
        os._exit(code)


def _wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _run_all(
    mutants: Iterable[Mutant],
    tests: Tests,
    run: Callable[[Mutant, list[str], int], int],
    folder: Path,
    jobs: int,
    until: float,
) -> None:
    """Run each mutant in a process of its own, `jobs` side by side, and note its outcome."""
    waiting = list(mutants)[::-1]
    running: dict[int, tuple[Mutant, float, int, Path]] = {}
    while waiting or running:
        while waiting and len(running) < jobs and time.monotonic() < until:
            mutant = waiting.pop()
            names = tests.of(mutant)
            took_s = sum(tests.took_s[name] for name in names)
            hear, tell = os.pipe()
            os.set_blocking(hear, False)
            temporary = folder / f"{mutant.path.replace('/', '-')}-{mutant.number}"
            pid = _fork(
                lambda m=mutant, n=names, t=tell: run(m, n, t),  # type: ignore[misc]
                temporary,
                cpu_s=CPU_S + 3 * took_s,
            )
            os.close(tell)
            running[pid] = (mutant, time.monotonic() + WALL_S + 20 * took_s, hear, temporary)
        if not running and (not waiting or time.monotonic() >= until):
            return
        for pid, (mutant, deadline, hear, temporary) in list(running.items()):
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done:
                continue
            del running[pid]
            code = os.waitstatus_to_exitcode(status)
            mutant.outcome = _OUTCOMES.get(code, "hung")
            with contextlib.suppress(BlockingIOError):
                killer = os.read(hear, 4096).decode()
                first = tests.killers[mutant.path, mutant.function]
                if killer and killer not in first:
                    first.append(killer)
            os.close(hear)
            shutil.rmtree(temporary, ignore_errors=True)
            if mutant.outcome == "survived":
                print(f"{mutant.path}:{mutant.line} {mutant.operator}: {mutant.change}"
                      f"  [{mutant.function}]", flush=True)  # fmt: skip
        time.sleep(0.01)


# --- The command ------------------------------------------------------------------------------


def run_mutants(
    mutants: list[Mutant],
    folder: Path,
    jobs: int,
    minutes: float,
    measured: Path | None,
    most_s: float,
) -> None:
    """Run the mutants and note their outcomes.

    Args:
        minutes: begin no mutant after so many, counted from when the tests have been measured.
        measured: where what each test runs is kept for the next time, for the code as it is.
        most_s: CPU seconds of tests after which a mutant counts as one that survives.

    Raises:
        RuntimeError: the tests can't be run as they are.
    """
    options = [
        "-s",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "--no-header",
        "--assert=plain",
    ]
    measured = measured or folder / "measured.json"
    early = [mutant for mutant in mutants if mutant.is_early]
    late = [mutant for mutant in mutants if not mutant.is_early]

    def in_one_process() -> int:
        plugin = _InOneProcess(folder, late, jobs, minutes, measured, most_s)
        return int(pytest.main([*options, "--no-summary", *NO_DATABASE, *TESTS], plugins=[plugin]))

    code = _wait(_fork(in_one_process, folder / "all"))
    outcomes = folder / "outcomes.json"
    if not outcomes.exists():
        raise RuntimeError(f"the tests can't be run as they are (status {code})")
    until, came_to = json.loads(outcomes.read_text())
    for mutant, outcome in zip(late, came_to, strict=True):
        if outcome == "needs import":
            early.append(mutant)
        else:
            mutant.outcome = outcome
    tests = Tests(**json.loads(measured.read_text()))

    def run(mutant: Mutant, names: list[str], tell: int) -> int:
        _import_changed(mutant)
        return SURVIVED if pytest.main([*options, *names]) == 0 else KILLED

    _run_all(early, tests, run, folder, jobs, until)


def changed_lines(since: str) -> dict[str, set[int]]:
    """The lines of each of FILES that differ from a revision."""
    command = ["git", "diff", "--unified=0", "--no-color", "--no-ext-diff", "--relative", since]
    files = [f"mcp_server/{path}" for path in FILES]
    said = subprocess.run(
        [*command, "--", *files], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    changed: dict[str, set[int]] = defaultdict(set)
    path = ""
    for line in said.splitlines():
        if line.startswith("+++ "):
            path = line.removeprefix("+++ b/mcp_server/")
        elif found := re.match(r"@@ \S+ \+(\d+)(?:,(\d+))? @@", line):
            start, count = int(found[1]), int(found[2] or 1)
            changed[path] |= set(range(start, start + max(count, 2)))
    return changed


def listed() -> dict[tuple[str, ...], str]:
    """The mutants that may survive, and why."""
    entries = tomllib.loads(LISTED.read_text(encoding="utf-8")).get("survivor", [])
    return {
        (entry["file"], entry["function"], entry["operator"], entry["change"]): entry["why"]
        for entry in entries
    }


def chosen(given: argparse.Namespace) -> list[Mutant]:
    """The mutants that the command line asks for."""
    mutants = [mutant for path in FILES for mutant in mutants_of(path)]
    if given.only:
        file, _, line = given.only.partition(":")
        mutants = [
            mutant
            for mutant in mutants
            if mutant.path in file or file in mutant.path
            if not line or mutant.lines[0] <= int(line) <= mutant.lines[1]
        ]
    if given.since:
        changed = changed_lines(given.since)
        mutants = [
            mutant
            for mutant in mutants
            if changed[mutant.path] & set(range(mutant.lines[0], mutant.lines[1] + 1))
        ]
    return mutants


def main() -> int:
    parser = argparse.ArgumentParser(description="Changes the money code and runs its tests.")
    parser.add_argument("--since", help="only lines that differ from this revision")
    parser.add_argument("--only", help="only this file:line, or this file")
    parser.add_argument("--minutes", type=float, default=90, help="begin no mutant after this")
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="let one survive after so many of tests"
    )
    parser.add_argument("--seed", type=int, help="run them in an order drawn with this seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--measured", type=Path, help="a file that keeps what the tests run")
    parser.add_argument("--all", action="store_true", help="run those that are listed, too")
    parser.add_argument("--list", action="store_true", help="only say which there are")
    given = parser.parse_args()
    mutants, reasons = chosen(given), listed()
    if given.seed is not None:
        random.Random(given.seed).shuffle(mutants)
    unrun = [mutant for mutant in mutants if given.all or mutant.name not in reasons]
    if given.list:
        for mutant in mutants:
            print(f"{mutant.path}:{mutant.line} {mutant.operator}: {mutant.change}")
    elif unrun:
        memory = Path("/dev/shm")
        folder = Path(tempfile.mkdtemp(prefix="mutants-", dir=memory if memory.is_dir() else None))
        try:
            run_mutants(unrun, folder, given.jobs, given.minutes, given.measured, given.seconds)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    ran = [mutant for mutant in unrun if mutant.outcome != "not run"]
    survived = [mutant for mutant in ran if mutant.outcome == "survived"]
    bad = [mutant for mutant in survived if mutant.name not in reasons]
    excused = len(mutants) - len(unrun)
    hung = sum(mutant.outcome == "hung" for mutant in ran)
    for mutant in ran if given.all else ():
        if mutant.outcome != "survived" and mutant.name in reasons:
            print(f"killed, though it is listed: {' | '.join(mutant.name)}")
    missing = []
    if not (given.only or given.since):
        missing = sorted(set(reasons) - {mutant.name for mutant in mutants})
        for name in missing:
            print(f"listed, but there is no such mutant: {' | '.join(name)}")
    print(
        f"{len(mutants)} mutants: {len(ran) - len(survived)} killed ({hung} of them by their time),"
        f" {len(bad)} survived, {excused + len(survived) - len(bad)} may survive,"
        f" {len(unrun) - len(ran)} left out"
    )
    failed = len(bad) + len(missing)
    print(f"mutants: {len(ran) + excused - len(bad)} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
