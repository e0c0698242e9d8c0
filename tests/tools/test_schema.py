"""Schemas: what a model reads holds nothing that it could misread."""

from typing import Annotated

from pydantic import BaseModel, Field

from mcp_server.tools.schema import lean


class Leaf(BaseModel):
    """What a class says of itself."""

    title: Annotated[str | None, Field(description="its name")] = None
    default: int | None = None


class Tree(BaseModel):
    leaf: Leaf
    leaves: tuple[Leaf, ...] | None = None
    count: int = 20


def test_a_lean_schema_holds_no_reference_title_docstring_or_null() -> None:
    leaf = {
        "type": "object",
        "properties": {
            "title": {"type": "string", "description": "its name"},
            "default": {"type": "integer"},
        },
    }

    assert {
        "type": "object",
        "properties": {
            "leaf": leaf,
            "leaves": {"type": "array", "items": leaf},
            "count": {"type": "integer", "default": 20},
        },
        "required": ["leaf"],
    } == lean(Tree.model_json_schema())
