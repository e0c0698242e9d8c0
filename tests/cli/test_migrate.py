"""`useapi-mcp migrate`: what it prints, and its exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

from mcp_server.cli.main import main
from mcp_server.journal.postgres_layout import MIGRATIONS
from tests.support.postgres import needs_postgres, shared


def test_without_a_database_there_is_nothing_to_migrate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("USEAPI_DATABASE_URL", raising=False)

    with pytest.raises(SystemExit) as left:
        main(["migrate"])

    assert left.value.code == 2
    assert "USEAPI_DATABASE_URL is not set" in capsys.readouterr().err


def test_without_a_database_a_server_does_not_load_its_driver(tmp_path: Path) -> None:
    code = f"""if True:
        import sys
        from pathlib import Path
        from mcp_server.clock import Clock
        from mcp_server.journal.stores import store_of
        from mcp_server.server.factory import create_server
        from mcp_server.settings import Settings
        settings = Settings.read({{"USEAPI_STATE_DIR": {str(tmp_path)!r}}})
        create_server(settings)
        store_of(settings, Clock())
        print(*{{"psycopg", "psycopg_binary"}} & set(sys.modules))"""

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout

    assert b"" == loaded.strip()


@needs_postgres
def test_an_empty_database_gets_its_tables_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shared().run("create schema migrated")
    monkeypatch.setenv("USEAPI_DATABASE_URL", shared().dsn(schema="migrated"))

    main(["migrate"])
    main(["migrate"])

    newest = len(MIGRATIONS)
    assert (
        f"The database was empty; it has layout {newest} now.\n"
        f"The database had layout {newest}; it has layout {newest} now.\n"
    ) == capsys.readouterr().out


@needs_postgres
def test_a_database_that_can_not_be_used_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("USEAPI_DATABASE_URL", shared().dsn("none_of_this_name"))

    with pytest.raises(SystemExit) as left:
        main(["migrate"])

    printed = capsys.readouterr()
    assert (1, "") == (left.value.code, printed.out)
    assert printed.err.startswith("useapi-mcp: The database of submissions refuses the connection")
    assert printed.err.count("\n") == 1
    assert "canary-password" not in printed.err
