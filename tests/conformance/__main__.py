"""`make conformance`: the suite in both versions of the protocol, then its tasks scenarios.

What our server has no part for stands in the `.yml` beside this, check by check with its reason. A
check that fails and is not named there ends this with 1, and so does one that is and passes.
"""

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.support.environments import NodeEnvironment

FOLDER = Path(__file__).parent
SUITE = NodeEnvironment("conformance", ("@modelcontextprotocol/conformance@0.2.0-alpha.12",))
VERSIONS = ("2025-11-25", "2026-07-28")
TASKS = (  # tasks-status-notifications is missing: the suite itself skips it
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
)
_SUITE_S = 300


def passed(label: str, url: str, baseline: str, *part: str) -> bool:
    """Run a part of the suite and print what it counted."""
    expected = str(FOLDER / f"{baseline}.yml")
    command = SUITE.script("@modelcontextprotocol/conformance/dist/index.js")
    with tempfile.TemporaryDirectory() as results:
        done = subprocess.run(
            [
                *command,
                "server",
                "--url",
                url,
                "-o",
                results,
                "--expected-failures",
                expected,
                *part,
            ],
            capture_output=True,
            encoding="utf-8",
            timeout=_SUITE_S,
            check=False,
        )
        counts = Counter(
            check["status"]
            for file in Path(results).glob("*/checks.json")
            for check in json.loads(file.read_text("utf-8"))
        )
    ok = done.returncode == 0 and counts["SUCCESS"] > 0
    not_here = counts["FAILURE"] + counts["WARNING"]
    shown = f"{counts['SUCCESS']:3} checks passed"
    if not_here:
        shown += f", {not_here} {'explained' if ok else 'did not'} ({baseline}.yml)"
    print(f"{label:32} {'ok' if ok else 'FAILED':6} {shown}", flush=True)
    if not ok:
        said = re.sub(r"\x1b\[\d+m", "", done.stdout)
        print(said.partition("=== SUMMARY ===")[2] or said, done.stderr, flush=True)
    return ok


@contextlib.contextmanager
def running(*command: str) -> Iterator[str]:
    """A server, started with these arguments to Python; gives the URL it names on stderr."""
    with tempfile.TemporaryDirectory() as folder:
        errors = Path(folder, "stderr")
        with (
            errors.open("w") as said,
            subprocess.Popen([sys.executable, *command], stderr=said) as server,
        ):
            try:
                while not (url := re.search(r"http://127\.0\.0\.1:\d+\S*", errors.read_text())):
                    assert server.poll() is None, errors.read_text()
                    time.sleep(0.05)
                yield url[0]
            finally:
                server.terminate()


def main() -> int:
    SUITE.make()
    results = []
    server = ("-m", "mcp_server", "--sandbox", "http", "--port", "0", "--no-auth")
    with running(*server) as url:
        for version in VERSIONS:
            part = ("--suite", "all", "--spec-version", version)
            results.append(passed(f"{version}, all of it", url, version, *part))
    with running("-m", "tests.conformance.tasks_server") as url:
        results += [passed(part, url, "tasks", "--scenario", part) for part in TASKS]
    print(f"conformance: {sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
