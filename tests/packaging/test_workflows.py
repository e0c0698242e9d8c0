"""What the workflows call and try exists; zizmor, in `make lint`, checks how they are written."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
JOBS: list[dict[str, Any]] = [
    job
    for path in sorted(FOLDER.glob("*.yml"))
    for job in yaml.safe_load(path.read_text("utf-8"))["jobs"].values()
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_every_make_target_that_is_called_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    scripts = [step.get("run", "") for job in JOBS for step in job["steps"]]
    scripts.append((ROOT / ".ci" / "run").read_text("utf-8"))
    calls = [
        call
        for text in scripts
        for call in re.findall(r"^(?:make|step|beside) ([a-z][\w= .\"$]*)", text, re.MULTILINE)
    ]

    assert calls
    for call in calls:
        target, *given = call.split()
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), call
        for variable in re.findall(r"([A-Z]+)=", " ".join(given)):
            assert re.search(rf"^{variable} :=", makefile, re.MULTILINE), call


def test_the_oldest_python_we_promise_is_tried() -> None:
    oldest = PROJECT["requires-python"].removeprefix(">=")
    tried = [job["strategy"]["matrix"].get("python", []) for job in JOBS if "strategy" in job]

    assert any(oldest in versions for versions in tried)


def test_the_lowest_versions_are_those_the_package_allows() -> None:
    lowest = dict(re.findall(r"(.+)==(.+)", (ROOT / ".ci" / "lowest.txt").read_text("utf-8")))
    allowed = {
        found[1]: found[2]
        for dependency in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["team"]
        if (found := re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", dependency))
    }

    assert {name: whole(version) for name, version in lowest.items()} == {
        name: whole(version) for name, version in allowed.items()
    }


def whole(version: str) -> list[str]:
    """`4` and `4.0.0` are the same version."""
    return f"{version}.0.0".split(".")[:3]
