"""The image: nobody's root, nothing secret, one base; `make packages` does its steps by hand."""

import json
import re
from pathlib import Path

from mcp_server.http.app import HEALTH_PATH
from tests.packaging.packages import instructions

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text("utf-8")
STEPS = list(instructions(TEXT))
WORDS = dict(STEPS)
IGNORED = (ROOT / ".dockerignore").read_text("utf-8").split()


def test_there_is_one_base_and_it_is_pinned_by_its_content() -> None:
    bases = [rest for word, rest in STEPS if word == "FROM"]

    assert 1 == len(bases)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", bases[0])


def test_it_runs_as_a_user_of_its_own() -> None:
    user = WORDS["USER"]

    assert int(user) >= 1000
    assert any(f"useradd --uid {user} " in rest for word, rest in STEPS if word == "RUN")
    assert [word for word, _ in STEPS].index("USER") > max(
        number for number, (word, _) in enumerate(STEPS) if word in ("RUN", "COPY")
    )


def test_it_serves_http_and_tells_whether_it_is_healthy() -> None:
    port = WORDS["EXPOSE"]
    start = json.loads(WORDS["ENTRYPOINT"]) + json.loads(WORDS["CMD"])

    assert ["useapi-mcp", "http", "--host", "0.0.0.0", "--port", port] == start
    assert f"http://127.0.0.1:{port}{HEALTH_PATH}" in WORDS["HEALTHCHECK"]


def test_what_must_outlive_it_lies_on_its_volume() -> None:
    volume = WORDS["VOLUME"]

    assert f"USEAPI_STATE_DIR={volume}/state" in WORDS["ENV"].split()
    assert f"USEAPI_OUTPUT_DIR={volume}/output" in WORDS["ENV"].split()


def test_nothing_secret_is_in_it() -> None:
    assert "TOKEN" not in WORDS["ENV"]
    assert "ARG" not in WORDS


def test_only_what_is_copied_is_let_through() -> None:
    copied = {source for word, rest in STEPS if word == "COPY" for source in rest.split()[:-1]}

    assert "*" == IGNORED[0]
    assert copied == {line[1:] for line in IGNORED if line.startswith("!")}
