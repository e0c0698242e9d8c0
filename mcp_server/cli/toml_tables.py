"""A table of a TOML file, changed in its text: all other lines stay as they are.

The table must have a header of its own, `[mcp_servers.useapi]`; what is written otherwise, as an
inline table for instance, is refused by `put` or still there after `remove`.
"""

import json
import re
import tomllib
from typing import Any

from mcp_server.cli.jsonc import Keys

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def read(text: str) -> Any:
    """The tables of the text.

    Raises:
        ValueError: the text is not TOML; it says where.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def put(text: str, path: Keys, value: dict[str, Any]) -> str:
    """The text with the table at its end, in the place of one with this name.

    Raises:
        ValueError: there is a table with this name that can't be taken out.
    """
    text = remove(text, path)
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = [f"[{'.'.join(_key(str(key)) for key in path)}]"]
    lines += [f"{_key(key)} = {_shown(each)}" for key, each in value.items()]
    if text:
        text += newline if text.endswith("\n") else 2 * newline
    text += "".join(line + newline for line in lines)
    read(text)
    return text


def remove(text: str, path: Keys) -> str:
    """The text without the table and the tables in it, and without the empty line before it."""
    kept: list[str] = []
    behind: list[str] = []  # empty lines and comments, which belong to the header that follows
    inside = False
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        header = _header(line)
        if header is not None:
            was_inside, inside = inside, _is_within(header, path)
            if inside and not was_inside and kept and not kept[-1].strip():
                kept.pop()
            elif not inside:
                kept += behind
            behind = []
        if not inside:
            kept.append(line)
        elif not line.strip() or line.lstrip().startswith("#"):
            behind.append(line)
        else:
            behind = []
    return "".join(kept + behind)


def _header(line: str) -> Any:
    """The tables that a header line names; None: it is no header."""
    if not line.lstrip().startswith("["):
        return None
    try:
        return read(line)
    except ValueError:
        return None


def _is_within(tables: Any, path: Keys) -> bool:
    for key in path:
        if not isinstance(tables, dict) or key not in tables:
            return False
        tables = tables[key]
    return True


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else json.dumps(name)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_shown(value[key])}" for key in value) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return json.dumps(value, ensure_ascii=False, default=str)
