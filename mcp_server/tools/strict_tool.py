"""StrictTool: a tool that refuses unknown arguments and answers errors in our words.

Written against mcp 2.3.0, whose argument model and metadata it replaces.
"""

from collections.abc import Callable
from typing import Any

from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from pydantic import ValidationError, create_model, field_validator

from mcp_server.errors import RequestError, UseapiError
from mcp_server.redaction import one_line
from mcp_server.tools.results import error_answer
from mcp_server.tools.schema import Schema, lean


class _Arguments(FuncMetadata):
    """Drops null and "" as not given, and leaves a string that looks like JSON a string."""

    def pre_parse_json(self, data: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in data.items() if value is not None and value != ""}


def _no_boolean(given: Any) -> Any:
    """The argument, unless it is true or false, which pydantic would read as 1 or 0."""
    if isinstance(given, bool):
        raise ValueError("no boolean")  # noqa: TRY004 - a TypeError is no fault to pydantic
    return given


class StrictTool(Tool):
    """A tool whose every expected error is an answer: the only place where errors become answers.

    The SDK would drop an unknown argument silently (a misspelt option would spend credits), hide
    an ordinary exception's text from the model, and put a prefix before a ToolError's.
    """

    @classmethod
    def of(cls, function: Callable[..., Any], **options: Any) -> "StrictTool":
        """A strict tool made of a function.

        Args:
            options: those of `Tool.from_function`.
        """
        tool = cls.from_function(function, **options)
        assert isinstance(tool, cls)
        metadata = tool.fn_metadata
        arguments = create_model(
            metadata.arg_model.__name__,
            __base__=metadata.arg_model,
            __validators__={"no_boolean": field_validator("*", mode="before")(_no_boolean)},
        )
        arguments.model_config["extra"] = "forbid"
        arguments.model_rebuild(force=True)
        tool.fn_metadata = _Arguments(
            arg_model=arguments,
            output_model=metadata.output_model,
            output_schema=metadata.output_schema and lean(metadata.output_schema),
        )
        tool.parameters = lean(arguments.model_json_schema(by_alias=True))
        return tool

    async def run(
        self, arguments: dict[str, Any], context: Any, convert_result: bool = False
    ) -> Any:
        fault = context.request_context.lifespan_context.fault
        if fault is not None:  # the server runs only to say so
            return error_answer(fault)
        try:
            return await super().run(arguments, context, convert_result)
        except ToolError as error:
            fault = error.__cause__
            if isinstance(fault, ValidationError) and not isinstance(error, UnexpectedToolError):
                fault = self._refusal(fault)
            if isinstance(fault, UseapiError):
                settings = context.request_context.lifespan_context.settings
                return error_answer(fault, sandbox=settings.sandbox)
            raise  # a bug: the SDK withholds its text and logs it

    def _refusal(self, invalid: ValidationError) -> RequestError:
        """The first fault of the arguments, in one sentence."""
        fault = invalid.errors(include_url=False, include_input=False, include_context=False)[0]
        name = one_line(str(fault["loc"][0]), 60)
        properties = self.parameters["properties"]
        takes = f"It takes: {', '.join(properties)}."
        if fault["type"] == "extra_forbidden":
            return RequestError(
                message=f"{self.name} has no argument {name}, so nothing was done.", hint=takes
            )
        if fault["type"] == "missing":
            return RequestError(
                message=f"{self.name} needs {name}, so nothing was done.", hint=takes
            )
        return RequestError(
            message=f"{name} must be {_wanted(properties[name])}, so nothing was done.",
            hint="Call again with that corrected.",
        )


def _wanted(schema: Schema) -> str:
    """What an argument must be, in words."""
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if schema["type"] in ("integer", "number"):
        kind = "a whole number" if schema["type"] == "integer" else "a number"
        return f"{kind} from {schema['minimum']} to {schema['maximum']}"
    text = "text"
    if "maxLength" in schema:
        text += f" of {schema.get('minLength', 1)} to {schema['maxLength']} characters"
    if "pattern" in schema:
        text += f" that matches {schema['pattern']}"
    return text
