"""Changes in the text of a TOML file: one table comes and goes, and the other lines stay."""

import pytest

from mcp_server.cli import toml_tables

PATH = ("mcp_servers", "useapi")


def test_the_table_comes_behind_all_others() -> None:
    text = toml_tables.put('a = 1\n[b]\nc = "d"', PATH, {"command": "x", "args": ["y"], "n": 6})

    assert text == (
        'a = 1\n[b]\nc = "d"\n\n[mcp_servers.useapi]\ncommand = "x"\nargs = ["y"]\nn = 6\n'
    )


@pytest.mark.parametrize("text", ["", "a = 1\n", "[b]\nc = 1\n\n\n", "a = 1\r\n"])
def test_what_was_put_leaves_no_trace(text: str) -> None:
    added = toml_tables.put(text, PATH, {"command": "ü", "env": {"A B": "\\"}})

    assert {"command": "ü", "env": {"A B": "\\"}} == toml_tables.read(added)["mcp_servers"][
        "useapi"
    ]
    assert text == toml_tables.remove(added, PATH)
    assert added.count("\r") in (0, added.count("\n"))


@pytest.mark.parametrize(
    "header",
    ["[mcp_servers.useapi]", '  [ mcp_servers . "useapi" ] # ours', "[mcp_servers.'useapi']"],
)
def test_the_tables_in_it_go_with_it_and_comments_of_others_stay(header: str) -> None:
    before = "[mcp_servers.a]\ncommand = '''\n[mcp_servers.useapi\n'''\n"
    ours = (
        f'\n{header}\ncommand = "x"\nargs = [\n  # one\n  "y",\n]\n\n'
        "# ours\n[mcp_servers.useapi.env]\nK = 1\n"
    )
    after = "\n# of b\n[[b]]\nc = [\n  [1],\n]\n"

    assert before + after == toml_tables.remove(before + ours + after, PATH)
    assert before + "\n# end\n" == toml_tables.remove(before + ours + "\n# end\n", PATH)


def test_a_table_that_has_the_name_is_replaced() -> None:
    once = toml_tables.put("a = 1\n", PATH, {"command": "x"})

    assert once == toml_tables.put(once, PATH, {"command": "x"})
    assert 'command = "y"' in toml_tables.put(once, PATH, {"command": "y"})


@pytest.mark.parametrize("text", ['mcp_servers = { useapi = { command = "x" } }\n', "a = \n"])
def test_what_is_written_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"at line \d"):
        toml_tables.put(text, PATH, {"command": "x"})
