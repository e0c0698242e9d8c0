"""Changes in the text of JSON with comments: what is not meant keeps its bytes and its meaning."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.cli import jsonc

KEY = ("servers", "useapi")
ENTRY = {"command": "x", "args": ["--sandbox"]}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"servers":{"a":1}}', '{"servers":{"a":1, "useapi": 2}}'),
        ('{ "servers": { } }', '{ "servers": {\n  "useapi": 2\n} }'),
        (
            '{\n\t"servers": {\n\t\t"a": 1 // why\n\t}\n}',
            '{\n\t"servers": {\n\t\t"a": 1, // why\n\t\t"useapi": 2\n\t}\n}',
        ),
        (
            '{\n "servers": {\n  "a": 1, /* b */ // c\n }\n}',
            '{\n "servers": {\n  "a": 1, /* b */ // c\n  "useapi": 2,\n }\n}',
        ),
        (
            '{\n  "servers": {\n    // none yet\n  }\n}',
            '{\n  "servers": {\n    // none yet\n    "useapi": 2\n  }\n}',
        ),
        ('{"servers": {"a": 1 // why\n}}', '{"servers": {"a": 1, "useapi": 2 // why\n}}'),
        ("", '{\n  "servers": {\n    "useapi": 2\n  }\n}\n'),
        (
            '{\r\n    "b": []\r\n}',
            '{\r\n    "b": [],\r\n    "servers": {\r\n        "useapi": 2\r\n    }\r\n}',
        ),
        ('{"servers": {"useapi": {"old": [1]}}} // end', '{"servers": {"useapi": 2}} // end'),
    ],
)
def test_a_value_is_put_where_a_person_would_write_it(before: str, after: str) -> None:
    assert after == jsonc.put(before, KEY, 2)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"useapi": 1}', "{}"),
        ('{\n  "useapi": 1,\n}', "{}"),
        ('{"useapi": 1, "b": 2}', '{ "b": 2}'),
        ('{"useapi": 1 , "b": 2}', '{ "b": 2}'),
        ('{"a": 1, "useapi": 1, "b": 2}', '{"a": 1, "b": 2}'),
        ('{\n  "a": 1, // why\n  "useapi": 1 // ours\n}', '{\n  "a": 1 // why\n   // ours\n}'),
        ('{\n  // why\n  "useapi": 1 }', "{\n  // why\n   }"),
        ('{"useapi": 1 /* b */ , "c": 2}', '{ /* b */  "c": 2}'),
        ('{"useapi": 1 /* b */}', "{ /* b */}"),
        ('{"a": 1, /* // */\n"useapi": 1}', '{"a": 1 /* // */}'),
        ('{"b": 2}', '{"b": 2}'),
    ],
)
def test_a_value_is_taken_out_with_its_comma_and_no_comment(before: str, after: str) -> None:
    assert after == jsonc.remove(before, ("useapi",))
    assert {k: v for k, v in jsonc.read(before).items() if k != "useapi"} == jsonc.read(after)


def test_of_two_with_one_name_the_last_counts_as_for_every_reader() -> None:
    twice = '{"a": 1, "a": 2}'

    assert {"a": 2} == jsonc.read(twice)
    assert '{"a": 1, "a": 3}' == jsonc.put(twice, ("a",), 3)


def test_an_element_is_put_into_a_list_and_taken_out() -> None:
    assert '{"inputs": [1, 2]}' == jsonc.put('{"inputs": [1]}', ("inputs", 1), 2)
    assert '{"inputs": [2]}' == jsonc.put('{"inputs": [1]}', ("inputs", 0), 2)
    assert {"inputs": [2]} == jsonc.read(jsonc.put("{}", ("inputs", 0), 2))
    assert '{"inputs": [1]}' == jsonc.remove('{"inputs": [1, 2]}', ("inputs", 1))
    assert '{"inputs": [1]}' == jsonc.remove('{"inputs": [1]}', ("inputs", 1))
    assert "{}" == jsonc.remove("{}", ("inputs", 1))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{", "line 1, column 2"),
        ('{"a" 1}', "line 1, column 6"),
        ('{\n"a": 1\n"b": 2}', "line 3, column 1"),
        ('{"a": 1,,}', "line 1, column 9"),
        ("{1: 2}", "line 1, column 2"),
        ('{"a": 1.2.3}', "line 1, column 7"),
        ('{"a": "\\x"}', "line 1, column 7"),
        ('{"a": "no end}', "line 1, column 7"),
        ('{"a": NaN}', "line 1, column 7"),
        ("{} {}", "line 1, column 4"),
        ("{ /* no end }", "line 1, column 3"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(text: str, place: str) -> None:
    for change in (jsonc.read, lambda t: jsonc.put(t, KEY, 1), lambda t: jsonc.remove(t, KEY)):
        with pytest.raises(ValueError, match=place):
            change(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
gaps = st.sampled_from(["", " ", "\n", "\n  ", "\r\n\t", " // c, }\n", "/* { */", "\n // d\n\n  "])


@st.composite
def documents(draw: st.DrawFn, value: Any) -> str:
    """The value as JSON, with all that may stand between its parts."""

    def between() -> str:
        return draw(gaps)

    def text(value: Any) -> str:
        if isinstance(value, dict):
            parts = [
                f"{json.dumps(key)}{between()}:{between()}{text(each)}"
                for key, each in value.items()
            ]
            return "{" + joined(parts) + "}"
        if isinstance(value, list):
            return "[" + joined([text(each) for each in value]) + "]"
        return json.dumps(value)

    def joined(parts: list[str]) -> str:
        last = draw(st.sampled_from(["", ","])) if parts else ""
        return between() + f"{between()},{between()}".join(parts) + between() + last + between()

    return between() + text(value) + between()


@given(st.data())
def test_whatever_stands_there_only_the_named_value_changes(data: st.DataObject) -> None:
    value = data.draw(st.dictionaries(st.text(max_size=5), values, max_size=4))
    servers = data.draw(st.none() | st.dictionaries(st.text(max_size=5), values, max_size=3))
    value |= {} if servers is None else {"servers": servers}
    text = data.draw(documents(value))
    assert value == jsonc.read(text)

    added = jsonc.put(text, KEY, ENTRY)
    assert value | {"servers": (servers or {}) | {"useapi": ENTRY}} == jsonc.read(added)

    removed = jsonc.remove(added, KEY)
    left = {name: each for name, each in (servers or {}).items() if name != "useapi"}
    assert value | {"servers": left} == jsonc.read(removed)


@given(st.data())
def test_what_was_put_beside_others_leaves_no_trace(data: st.DataObject) -> None:
    servers = data.draw(st.dictionaries(st.text(max_size=5), values, min_size=1, max_size=3))
    text = data.draw(documents({"servers": servers}))

    assert text == jsonc.remove(jsonc.put(text, KEY, ENTRY), KEY)
