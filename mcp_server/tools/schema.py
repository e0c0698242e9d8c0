"""A lean JSON schema of a pydantic one: short, and free of what some models and hosts misread.

Written against mcp 2.3.0 and pydantic 2.12, which put every model into `$defs`, a `title` on every
part, and `anyOf` with null and a null default on every argument that can be left out.
"""

from collections.abc import Collection, Mapping
from typing import Any

Schema = dict[str, Any]

_NULL = {"type": "null"}
_NONSENSE = 1_000_000  # credits


def lean(schema: Schema) -> Schema:
    """The schema without references, nulls, titles and the docstrings of classes."""
    return _lean(schema, schema.get("$defs", {}))


def _lean(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return _lean(definitions[name] | _without(schema, "$ref"), definitions)
    choices = [choice for choice in schema.get("anyOf", ()) if choice != _NULL]
    if len(choices) == 1:
        return _lean(_without(schema, "anyOf", "default") | choices[0], definitions)
    leaned: Schema = {}
    for keyword, value in schema.items():
        if keyword in ("$defs", "title", "additionalProperties"):
            continue  # the last is unknown to some hosts; StrictTool refuses unknown names itself
        if keyword == "description" and "properties" in schema:
            continue  # a class's docstring; each argument has a description of its own
        if keyword == "default" and value is None:
            continue
        if keyword == "properties":
            leaned[keyword] = {name: _lean(part, definitions) for name, part in value.items()}
        elif isinstance(value, dict):
            leaned[keyword] = _lean(value, definitions)
        elif isinstance(value, list):
            leaned[keyword] = [
                _lean(item, definitions) if isinstance(item, dict) else item for item in value
            ]
        else:
            leaned[keyword] = value
    return leaned


def published(schema: Schema) -> Schema:
    """The schema of an object as models read it: without limits that they don't need.

    Those of texts and of money only keep nonsense out, and those of some numbers are in their
    descriptions (`1-50`). The server checks them all, and a refusal names the one that was broken.
    """
    properties = {}
    for name, part in schema["properties"].items():
        needless = ["minLength", "maxLength", "pattern"]
        low, high = part.get("minimum"), part.get("maximum")
        if f"{low}-{high}" in part.get("description", ""):
            needless += ["minimum", "maximum"]
        if high == _NONSENSE:
            needless.append("maximum")
        properties[name] = _without(part, *needless)
    return schema | {"properties": properties}


def without_properties(schema: Schema, names: Collection[str]) -> Schema:
    """The schema of an object without these of its properties."""
    properties = {name: part for name, part in schema["properties"].items() if name not in names}
    return schema | {"properties": properties}


def _without(schema: Schema, *keywords: str) -> Schema:
    return {keyword: value for keyword, value in schema.items() if keyword not in keywords}
