"""`useapi-mcp user`: what it prints, and its exit codes."""

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mcp_server.cli.main import main
from mcp_server.clock import Clock
from mcp_server.http.auth import user_id
from mcp_server.journal.records import User
from mcp_server.journal.sqlite import SqliteStore
from mcp_server.journal.users import Users
from tests.support.identity import ISSUER


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the journal that the command works on."""
    monkeypatch.delenv("USEAPI_DATABASE_URL", raising=False)
    monkeypatch.delenv("USEAPI_SANDBOX", raising=False)
    monkeypatch.setenv("USEAPI_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def found(folder: Path, token: str) -> User | None:
    """Whose token it is, to a server on the same folder."""

    async def find() -> User | None:
        store = SqliteStore(folder, Clock())
        try:
            return await Users(store, Clock().now).find(token)
        finally:
            await store.close()

    return asyncio.run(find())


def test_a_token_is_printed_alone_and_works_until_its_user_is_removed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["user", "add", "alice"])
    token, told = capsys.readouterr()
    user = found(folder, token.rstrip("\n"))
    main(["user", "remove", "alice"])

    assert user is not None
    assert ("alice", True) == (user.name, user.may_submit)
    assert "can't be shown again" in told
    assert capsys.readouterr().out.startswith("alice is removed")
    assert found(folder, token.rstrip("\n")) is None


def test_a_list_shows_who_there_is_and_no_token(capsys: pytest.CaptureFixture[str]) -> None:
    main(["user", "list"])
    nobody = capsys.readouterr().out
    main(["user", "add", "bob"])
    main(["user", "add", "al", "--read-only"])
    capsys.readouterr()
    main(["user", "list"])
    first, second = capsys.readouterr().out.splitlines()

    assert "There are no users.\n" == nobody
    assert re.fullmatch(r"al   reads    since 20\d\d-\d\d-\d\dT\S+Z", first)
    assert re.fullmatch(r"bob  submits  since 20\d\d-\d\d-\d\dT\S+Z", second)


def test_a_useapi_token_of_a_users_own_is_shown_as_given_and_forgotten(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USEAPI_OAUTH_ISSUER", ISSUER)
    monkeypatch.setenv("USEAPI_PUBLIC_URL", "https://mcp.example.com")
    main(["user", "add", "alice"])
    alice = found(folder, capsys.readouterr().out.rstrip("\n"))
    assert alice is not None
    subject = user_id(ISSUER, "carol")
    with closing(sqlite3.connect(folder / "journal.sqlite", isolation_level=None)) as database:
        for user in (alice.id, subject):
            database.execute("insert into own_token values(?, 'a', 's', 'k', 1, 0)", (user,))
    said = []
    main(["user", "list"])
    said.append(capsys.readouterr().out)
    for name in ("alice", "alice", "carol", "carol"):
        main(["user", "forget-token", name])
        said.append(capsys.readouterr().out)
    main(["user", "list"])
    said.append(capsys.readouterr().out)
    with closing(sqlite3.connect(folder / "journal.sqlite")) as database:
        left = set(database.execute("select account, sealed, version from own_token"))

    assert said[0].rstrip().endswith("own useapi.net token")
    assert ["is forgotten", "has given no"] * 2 == [
        next(part for part in ("is forgotten", "has given no") if part in line)
        for line in said[1:5]
    ]
    assert "own useapi.net token" not in said[5]
    assert {("", "", 3)} == left


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "a b"], "The name of a user has up to 64"),
        (["add", "-x"], "required: name"),
        (["add"], "required: name"),
        (["add", "alice"], "There is a user alice already"),
        (["remove", "bob"], "There is no user of this name"),
        (["forget-token", "bob"], "There is no user of this name"),
        (["list", "alice"], "unrecognized arguments: alice"),
        ([], "required: action"),
        (["add", "carol", "--sandbox"], "The sandbox keeps no users"),
    ],
)
def test_what_can_not_be_done_is_told_in_one_line(
    words: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["user", "add", "alice"])
    capsys.readouterr()

    with pytest.raises(SystemExit) as left:
        main(["user", *words])

    printed = capsys.readouterr()
    assert (2, "") == (left.value.code, printed.out)
    assert said in printed.err.splitlines()[-1]
    with closing(sqlite3.connect(folder / "journal.sqlite")) as database:
        assert [("alice",)] == database.execute("select name from users").fetchall()


def test_a_journal_that_can_not_be_used_is_one_line_and_exit_code_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write_text("a file in the folder's place")

    for words in (["add", "alice"], ["remove", "alice"], ["forget-token", "alice"], ["list"]):
        with pytest.raises(SystemExit) as left:
            main(["user", *words])
        printed = capsys.readouterr()
        assert (1, "") == (left.value.code, printed.out)
        assert 1 == printed.err.count("\n")
        assert "can't hold the journal" in printed.err
