"""The workflows: only pinned actions, only the rights a job needs, only targets that exist."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
TEXTS = {path.stem: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.yml"))}
WORKFLOWS: dict[str, dict[Any, Any]] = {name: yaml.safe_load(t) for name, t in TEXTS.items()}
JOBS = {
    f"{name}: {job}": told
    for name, workflow in WORKFLOWS.items()
    for job, told in workflow["jobs"].items()
}
RIGHTS = {  # beyond reading the source
    "release: build": {},
    "release: package": {"id-token": "write"},
    "release: bundle": {"contents": "write"},
    "release: image": {"packages": "write"},
    "release: registry": {"id-token": "write"},
}


def steps(name: str | None = None) -> Iterator[dict[str, Any]]:
    for job, told in JOBS.items():
        if name is None or job.startswith(f"{name}: "):
            yield from told["steps"]


def test_these_are_the_workflows() -> None:
    assert ["ci", "release"] == list(WORKFLOWS)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_every_action_is_pinned_by_its_commit_and_tells_its_tag(text: str) -> None:
    used = re.findall(r"uses: (.+)", text)

    assert used
    assert [] == [
        action
        for action in used
        if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
    ]


def test_an_action_is_the_same_everywhere() -> None:
    used = {action for text in TEXTS.values() for action in re.findall(r"uses: (.+)", text)}

    assert len(used) == len({action.partition("@")[0] for action in used})


def test_no_secret_is_used() -> None:
    assert [] == [
        name for name, text in TEXTS.items() if "secrets" in text.replace("No secret", "")
    ]


def test_by_default_a_workflow_may_only_read() -> None:
    assert {"contents": "read"} == WORKFLOWS["ci"]["permissions"]
    assert {} == WORKFLOWS["release"]["permissions"]


@pytest.mark.parametrize("job", JOBS)
def test_a_job_has_the_rights_it_needs_and_an_end(job: str) -> None:
    told = JOBS[job].get("permissions", {})

    assert RIGHTS.get(job, {}) == {right: how for right, how in told.items() if how != "read"}
    assert 0 < JOBS[job]["timeout-minutes"] <= 60


def test_a_checkout_leaves_no_token_behind() -> None:
    checkouts = [step for step in steps() if "actions/checkout@" in step.get("uses", "")]

    assert checkouts
    assert all(False is step["with"]["persist-credentials"] for step in checkouts)


def test_what_somebody_else_wrote_is_never_put_into_a_script() -> None:
    """`${{ github.event… }}` in `run` is text that becomes code."""
    for step in steps():
        placed = re.findall(r"\$\{\{\s*([\w.]+)", step.get("run", ""))
        assert [] == [each for each in placed if not each.startswith("matrix.")]


def test_every_make_target_that_is_called_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    called = re.findall(r"\bmake ([a-z]+)", script + "\n".join(s.get("run", "") for s in steps()))

    assert {"test", "unit", "packages", "image"} <= set(called)
    assert set() == set(called) - targets
    assert all(
        re.search(rf"^{variable} :=", makefile, re.MULTILINE)
        for step in steps()
        for variable in re.findall(r"\b([A-Z]+)=", step.get("run", ""))
        if step.get("run", "").startswith("make ")
    )


def test_every_system_and_the_oldest_and_newest_python_are_tried() -> None:
    matrix = WORKFLOWS["ci"]["jobs"]["test"]["strategy"]["matrix"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert ["ubuntu", "macos", "windows"] == [os.split("-")[0] for os in matrix["os"]]
    assert project["requires-python"] == f">={matrix['python'][0]}"


def test_the_lowest_versions_are_those_the_package_allows() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "dependencies"
    ]
    lowest = dict(re.findall(r"(.+)==(.+)", (ROOT / ".ci" / "lowest.txt").read_text("utf-8")))
    tried = {
        told["constraints"]
        for told in WORKFLOWS["ci"]["jobs"]["versions"]["strategy"]["matrix"]["include"]
    }

    assert {".ci/lowest.txt", "/dev/null"} == tried
    assert {name: f"{version}.0.0".split(".")[:3] for name, version in lowest.items()} == {
        found[1]: f"{found[2]}.0.0".split(".")[:3]
        for dependency in dependencies
        if (found := re.match(r"([\w-]+)>=([\d.]+)", dependency))
    }


def test_a_release_is_checked_before_anything_is_published() -> None:
    jobs = WORKFLOWS["release"]["jobs"]

    assert {"release"} == set(WORKFLOWS["release"][True])  # YAML reads `on` as true
    assert {"package": "build", "bundle": "build", "image": "build", "registry": "package"} == {
        name: job["needs"] for name, job in jobs.items() if "needs" in job
    }
    assert {"make test PYTHONS=python", "make packages PYTHONS=python"} <= {
        step.get("run") for step in jobs["build"]["steps"]
    }


def test_what_is_downloaded_is_compared_with_what_it_must_be() -> None:
    (step,) = (step for step in steps("release") if "curl" in step.get("run", ""))

    assert re.fullmatch(r"[0-9a-f]{64}", step["env"]["SHA256"])
    assert step["run"].index("sha256sum --check") < step["run"].index("tar --extract")
