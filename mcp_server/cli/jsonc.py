"""JSON with comments, changed in its text: all but the named value stays as it is, byte for byte.

A path names a value by the keys that lead to it, such as `("mcpServers", "useapi")`; a number is
the place in a list. Comments and commas at the end of a list are taken, as editors do.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

Keys = tuple[str | int, ...]

_BLANK = " \t\r\n\ufeff"
_EMPTY = "{}\n"
_TOO_DEEP = "it is nested too deep"
_SPACE = re.compile(r"(?:[ \t\r\n\ufeff]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_GAP = re.compile(r"[ \t\r\n\ufeff]+|/\*.*?\*/|(//[^\r\n]*)", re.DOTALL)
_STRING = re.compile(r'"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*"')
_WORD = re.compile(r"-?\d[\d.eE+-]*|true|false|null")
_LINE_END = re.compile(r"[ \t\r]*(?:\n|\Z)")
_COMMENT_BEHIND = re.compile(r"(?:[ \t]*/\*[^\r\n]*?\*/)*(?:[ \t]*//[^\r\n]*)?")


@dataclass(frozen=True)
class _Value:
    """A value and where it stands; `children` of an object or a list."""

    start: int
    end: int
    plain: Any
    children: "tuple[_Child, ...]" = ()


@dataclass(frozen=True)
class _Child:
    """`start` is that of the name, in a list that of the value; `comma` is behind the value."""

    key: str | int
    start: int
    value: _Value
    comma: int | None


def read(text: str) -> Any:
    """The value of the text; an empty one is an empty object.

    Raises:
        ValueError: the text is not JSON; it says where.
    """
    try:
        return json.loads(text, parse_constant=_refuse)  # far faster, for files of megabytes
    except ValueError:
        return _parsed(text if text.strip() else _EMPTY).plain
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def put(text: str, path: Keys, value: Any) -> str:
    """The text with the value at the path; what is missing on the way there is made.

    Raises:
        ValueError: the text is not JSON, or something on the way holds no such key.
    """
    text = text if text.strip() else _EMPTY
    root = _parsed(text)
    unit = _unit_of(text, root)
    here, depth = root, 0
    while depth < len(path) and (child := _child(here, path[depth])):
        here, depth = child.value, depth + 1
    if depth == len(path):
        shown = _shown(value, _indent(text, here.start), unit, _newline(text))
        return text[: here.start] + shown + text[here.end :]
    for key in reversed(path[depth + 1 :]):
        value = [value] if isinstance(key, int) else {key: value}
    if not isinstance(here.plain, list if isinstance(path[depth], int) else dict):
        kind = "list" if isinstance(path[depth], int) else "object"
        raise ValueError(f"{path[depth - 1] if depth else 'the whole'} is no {kind}")  # noqa: TRY004 - of the file, not of an argument
    return _inserted(text, here, path[depth], value, unit)


def remove(text: str, path: Keys) -> str:
    """The text without the value at the path, its name and one comma; the same if it is not there.

    Raises:
        ValueError: the text is not JSON.
    """
    parent = _parsed(text)
    for key in path[:-1]:
        found = _child(parent, key)
        if found is None:
            return text
        parent = found.value
    child = _child(parent, path[-1])
    if child is None:
        return text
    if len(parent.children) == 1 and _is_bare(text, parent, child):
        return text[: parent.start + 1] + text[parent.end - 1 :]
    place = parent.children.index(child)
    before = parent.children[place - 1].comma if place else None
    comma = before if child.comma is None else child.comma
    end = child.value.end
    if child.comma is not None and text[end : child.comma].isspace():
        end = child.comma
    start = len(text[: child.start].rstrip(_BLANK))
    behind = end if child.comma is None else child.comma + 1
    gaps = list(_GAP.finditer(text, (parent.start if before is None else before) + 1, start))
    if gaps and gaps[-1][1] and not _LINE_END.match(text, behind):
        start = child.start  # the comment must end before what follows here
    cuts = [(start, end)] if comma is None else [(start, end), (comma, comma + 1)]
    for begin, stop in sorted(cuts, reverse=True):
        text = text[:begin] + text[stop:]
    return text


def _is_bare(text: str, parent: _Value, child: _Child) -> bool:
    """Whether nothing stands beside the only child, no comment either."""
    behind = child.value.end if child.comma is None else child.comma + 1
    between = text[child.value.end : child.comma or child.value.end]
    return not (
        text[parent.start + 1 : child.start] + between + text[behind : parent.end - 1]
    ).strip()


def _child(value: _Value, key: str | int) -> _Child | None:
    """Of two with one name the last, as readers of JSON take it."""
    return next((child for child in reversed(value.children) if child.key == key), None)


def _inserted(text: str, inside: _Value, key: str | int, value: Any, unit: str) -> str:
    newline = _newline(text)

    def shown(indent: str | None) -> str:
        name = "" if isinstance(key, int) else f"{json.dumps(key, ensure_ascii=False)}: "
        return name + _shown(value, indent, unit, newline)

    if not inside.children:
        body = text[inside.start + 1 : inside.end - 1]
        kept = body.rstrip(_BLANK)
        outer = _indent(text, inside.start)
        behind = body[len(kept) :]
        behind = behind if "\n" in behind else newline + outer
        child = newline + outer + unit + shown(outer + unit)
        return text[: inside.start + 1] + kept + child + behind + text[inside.end - 1 :]
    last = inside.children[-1]
    after = last.value.end if last.comma is None else last.comma + 1
    if _begins_its_line(text, last.start):
        indent = _indent(text, last.start)
        comment = _COMMENT_BEHIND.match(text, after)
        assert comment is not None
        tail, child = comment.end(), newline + indent + shown(indent)
    else:
        tail, child = after, " " + shown(None)
    if last.comma is not None:
        return text[:tail] + child + "," + text[tail:]
    return text[:after] + "," + text[after:tail] + child + text[tail:]


def _shown(value: Any, indent: str | None, unit: str, newline: str) -> str:
    """The value as JSON, its further lines indented; None: all in one line."""
    if indent is None:
        return json.dumps(value, ensure_ascii=False)
    lines = json.dumps(value, ensure_ascii=False, indent=unit)
    return lines.replace("\n", newline + indent)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _indent(text: str, at: int) -> str:
    """The white space that begins the line of a place."""
    start = text.rfind("\n", 0, at) + 1
    found = re.compile(r"[ \t]*").match(text, start)
    assert found is not None
    return found[0]


def _begins_its_line(text: str, at: int) -> bool:
    start = text.rfind("\n", 0, at) + 1
    return start > 0 and not text[start:at].strip()


def _unit_of(text: str, root: _Value) -> str:
    """The white space of one level: that of the first key."""
    for child in root.children[:1]:
        if _begins_its_line(text, child.start):
            return _indent(text, child.start) or "  "
    return "  "


def _parsed(text: str) -> _Value:
    try:
        return _Reader(text).document()
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def _refuse(constant: str) -> NoReturn:
    """For NaN and the like, which Python takes and JSON does not have."""
    raise ValueError(constant)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text

    def document(self) -> _Value:
        value = self._value(self._skip(0))
        end = self._skip(value.end)
        if end != len(self._text):
            self._fail(end)
        return value

    def _value(self, at: int) -> _Value:
        if self._text[at : at + 1] in ("{", "["):
            return self._container(at)
        found = _STRING.match(self._text, at) or _WORD.match(self._text, at)
        if found is None:
            self._fail(at)
        try:
            return _Value(at, found.end(), json.loads(found[0]))
        except ValueError:  # such as \x in a string, or 1.2.3
            self._fail(at)

    def _container(self, at: int) -> _Value:
        start, text = at, self._text
        closing = "}" if text[at] == "{" else "]"
        children: list[_Child] = []
        at = self._skip(at + 1)
        while text[at : at + 1] != closing:
            begin = at
            key: str | int = len(children)
            if closing == "}":
                name = self._value(at)
                at = self._skip(name.end)
                if not isinstance(name.plain, str):
                    self._fail(begin)
                if text[at : at + 1] != ":":
                    self._fail(at)
                key, at = name.plain, self._skip(at + 1)
            value = self._value(at)
            at = self._skip(value.end)
            comma = at if text[at : at + 1] == "," else None
            children.append(_Child(key, begin, value, comma))
            if comma is not None:
                at = self._skip(comma + 1)
            elif text[at : at + 1] != closing:
                self._fail(at)
        plain: Any = [child.value.plain for child in children]
        if closing == "}":
            plain = {child.key: child.value.plain for child in children}
        return _Value(start, at + 1, plain, tuple(children))

    def _skip(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        assert found is not None
        return found.end()

    def _fail(self, at: int) -> NoReturn:
        line = self._text.count("\n", 0, at) + 1
        column = at - self._text.rfind("\n", 0, at)
        raise ValueError(f"line {line}, column {column}")
