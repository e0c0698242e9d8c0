"""`useapi-mcp check`: its table, its JSON, its exit codes, and what it never prints."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import HTMLResponse, JSONResponse, Response

from mcp_server import __version__
from mcp_server.cli import check as check_command
from mcp_server.media.files import OutputFolder
from mcp_server.sandbox.app import Sandbox
from mcp_server.services.health import AccountCheck, Check, ServiceCheck
from mcp_server.settings import Settings
from mcp_server.upstream.client import Upstream
from tests.support import virtual_time
from tests.support.harness import ORIGIN, TOKEN, Fault, Network, VirtualClock
from tests.support.limits import LONGEST_S
from tests.support.postgres import needs_postgres, schema_of, shared

FOLDERS = {"files": Path.home() / "no-such-folder" / "files", "journal": Path.home() / "journal"}
TABLE = f"""\
useapi-mcp {__version__} at {ORIGIN}

token         ok      accepted
subscription  ok      active
dreamina      FAULT   Dreamina: 1 of 2 linked accounts in error.
                      CA:jo***@ex***.com: Session expired
                      US:jo***@ex***.com: healthy
                      -> Solve it.
google-flow   ok      an***@ex***.com
pixverse      none    No PixVerse account is linked.
                      -> Link one.
files         ok      {FOLDERS["files"]}
journal       ok      {FOLDERS["journal"]}

Not ready to work: see above."""

FOUND = Check(
    ok=False,
    base_url=ORIGIN,
    subscription="active",
    services=(
        ServiceCheck(
            service="dreamina",
            state="in_error",
            accounts=(
                AccountCheck(name="CA:jo***@ex***.com", healthy=False, problem="Session expired"),
                AccountCheck(name="US:jo***@ex***.com", healthy=True),
            ),
            problem="Dreamina: 1 of 2 linked accounts in error.",
            hint="Solve it.",
        ),
        ServiceCheck(
            service="google-flow",
            state="ready",
            accounts=(AccountCheck(name="an***@ex***.com", healthy=True),),
        ),
        ServiceCheck(
            service="pixverse",
            state="not_linked",
            problem="No PixVerse account is linked.",
            hint="Link one.",
        ),
    ),
)


async def printed(
    folder: Path, network: Network | None = None, *, token: str = TOKEN, as_json: bool = False
) -> tuple[str, bool]:
    clock = VirtualClock()
    settings = Settings.read({"USEAPI_TOKEN": token})
    network = network or Network(Sandbox(now=clock.now))
    upstream = Upstream(settings, clock, OutputFolder(folder), network)
    return await check_command.run(settings, as_json=as_json, upstream=upstream)


def test_the_table_is_aligned_and_plain() -> None:
    assert TABLE == check_command.table(FOUND, FOLDERS)
    assert TABLE.isascii()


def test_in_the_sandbox_the_table_says_so() -> None:
    assert "(the sandbox)" in check_command.table(FOUND, FOLDERS, sandbox=True).splitlines()[0]


def test_it_makes_no_folder_and_no_journal(tmp_path: Path) -> None:
    _, ok = virtual_time.run(printed(tmp_path / "output"))

    assert ok
    assert [] == list(tmp_path.iterdir())


async def test_the_json_is_the_data_of_the_tool(tmp_path: Path) -> None:
    report, ok = await printed(tmp_path, as_json=True)

    data = json.loads(report)
    assert ok is data["ok"] is True
    assert ["dreamina", "google-flow", "pixverse"] == [each["service"] for each in data["services"]]
    folders = {name: data.pop(name) for name in ("files_folder", "journal_folder")}
    assert all(map(os.path.isabs, folders.values()))
    assert data == Check.model_validate(data).model_dump(mode="json", exclude_none=True)


def test_a_folder_that_takes_no_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    unusable = tmp_path / "file" / "below"

    text = check_command.table(FOUND.model_copy(update={"ok": True}), {"files": unusable})

    assert f"files         FAULT   {unusable}" in text
    assert f"Files can't be made in {unusable}.\n-> Set USEAPI_OUTPUT_DIR" in text
    assert text.endswith("Not ready to work: see above.")


@needs_postgres
@pytest.mark.parametrize("as_json", [False, True])
def test_a_database_is_told_with_what_is_wrong_with_it(tmp_path: Path, as_json: bool) -> None:
    empty = shared().dsn(schema="nothing_of_this_name")
    ready = schema_of(tmp_path)

    def told(url: str) -> tuple[str, bool]:
        settings = Settings.read({"USEAPI_TOKEN": TOKEN, "USEAPI_DATABASE_URL": url})

        async def run() -> tuple[str, bool]:
            clock = VirtualClock()
            network = Network(Sandbox(now=clock.now))
            upstream = Upstream(settings, clock, OutputFolder(tmp_path), network)
            return await check_command.run(settings, as_json=as_json, upstream=upstream)

        return asyncio.run(run())

    (bad, bad_ok), (good, good_ok) = told(empty), told(ready)

    assert (False, True) == (bad_ok, good_ok)
    assert "Run `useapi-mcp migrate`" in bad
    assert "canary-password" not in bad + good
    assert "journal_folder" not in good
    assert ('"database": "ok"' if as_json else "journal       ok      in the database") in good


@pytest.mark.parametrize(
    ("answer", "says", "hint"),
    [
        (
            JSONResponse({"error": "Unauthorized"}, 401),
            "useapi.net does not accept the token.",
            "Set USEAPI_TOKEN to the whole token",
        ),
        (
            HTMLResponse("<html>Welcome to the hotel</html>"),
            "The account endpoint answered with status 200 and without usable JSON.",
            "check USEAPI_BASE_URL",
        ),
        (
            JSONResponse({"error": "Not found"}, 404),
            "There is no account endpoint at the address in USEAPI_BASE_URL.",
            "Unset it, or correct it",
        ),
        (
            JSONResponse({"subscriptionIsActive": False}),
            "The useapi.net subscription is not active.",
            "Renew it on useapi.net",
        ),
    ],
)
async def test_each_fault_is_a_sentence_and_a_hint(
    tmp_path: Path, answer: Response, says: str, hint: str
) -> None:
    report, ok = await printed(tmp_path, Network(answer))

    sentence, arrow, _, last = report.splitlines()[-4:]
    assert not ok
    assert sentence.startswith(says)
    assert arrow.startswith("-> ")
    assert hint in arrow
    assert "Not ready to work: see above." == last


async def test_without_a_token_nothing_is_sent(tmp_path: Path) -> None:
    network = Network(JSONResponse({}))

    report, ok = await printed(tmp_path, network, token="")

    assert not ok
    assert "token         FAULT   missing" in report
    assert "No useapi.net token is set, so nothing was sent." in report
    assert [] == network.sent


async def test_with_the_vendor_down_it_says_so(tmp_path: Path) -> None:
    network = Network(JSONResponse({}))
    network.faults, network.concerns = [Fault(connects=False)] * 9, lambda _: True

    report, ok = await printed(tmp_path, network)

    assert not ok
    assert "could not be reached" in report
    assert "token         ?       unknown" in report


# From here on as processes of their own.


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("USEAPI_")}
    return own | {"USEAPI_STATE_DIR": str(tmp_path / "s"), "USEAPI_OUTPUT_DIR": str(tmp_path / "o")}


@pytest.fixture
def sandbox(env: dict[str, str]) -> Iterator[str]:
    """The address of `useapi-mcp sandbox`."""
    with subprocess.Popen(
        [sys.executable, "-m", "mcp_server", "sandbox", "--port", "0"],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found is not None
            yield found[0]
        finally:
            process.kill()


def run(env: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "mcp_server", *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )


@pytest.mark.covered
@pytest.mark.parametrize(
    ("arguments", "setting"), [(("--sandbox",), {}), ((), {"USEAPI_SANDBOX": "true"})]
)
def test_in_the_built_in_sandbox_all_is_well(
    env: dict[str, str], arguments: tuple[str, ...], setting: dict[str, str]
) -> None:
    done = run(env | setting, *arguments, "check")

    assert (0, "") == (done.returncode, done.stderr)
    assert "(the sandbox)" in done.stdout
    assert done.stdout.endswith("Ready to work.\n")


def test_the_exit_code_is_1_when_something_is_missing(env: dict[str, str], sandbox: str) -> None:
    found: dict[str, Any] = {}
    for token in ("user:1-good", "nonsense"):
        done = run(env | {"USEAPI_TOKEN": token, "USEAPI_BASE_URL": sandbox}, "check", "--json")
        assert "" == done.stderr
        found[token] = done.returncode, json.loads(done.stdout)["token"]

    assert {"user:1-good": (0, "accepted"), "nonsense": (1, "refused")} == found


@pytest.mark.parametrize(
    ("token", "subscription", "state"),
    [
        ("user:402-x", "inactive", None),
        ("user:404-x", "active", "not_linked"),
        ("user:596-x", "active", "in_error"),
    ],
)
async def test_what_is_missing_is_named(
    tmp_path: Path, token: str, subscription: str, state: str | None
) -> None:
    text, ok = await printed(tmp_path, token=token, as_json=True)

    data = json.loads(text)
    assert not ok
    assert subscription == data["subscription"]
    assert state is None or [state] * 3 == [each["state"] for each in data["services"]]
