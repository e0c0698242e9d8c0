"""StrictTool: a tool that refuses unknown arguments and answers errors in our words.

Written against mcp 2.3.0, whose metadata of a tool it replaces.
"""

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp.types import CallToolResult
from pydantic import BaseModel, ValidationError

from mcp_server.errors import (
    ForbiddenError,
    InternalError,
    NoTokenError,
    RequestError,
    UseapiError,
)
from mcp_server.jobs.jobs import may_only_read
from mcp_server.redaction import one_line
from mcp_server.tools import own_token
from mcp_server.tools.context import (
    SUBMITTING_TOOLS,
    AppContext,
    current_caller,
    remote_of,
)
from mcp_server.tools.results import JobFirstError, error_answer, job_answer
from mcp_server.tools.schema import Schema, lean, published, without_properties

log = logging.getLogger(__name__)

E = TypeVar("E", bound=BaseException)

_ADDED_BY_HOSTS = frozenset(
    {"toolCallId", "sessionId", "action", "chatInput", "tool", "_meta", "random_string"}
)
"""Arguments that no model wrote: n8n's, and what some hosts give a tool that takes none."""


class _Arguments(FuncMetadata):
    """Refuses unknown arguments and true for a number, drops null and "", and leaves text as it is.

    The SDK would parse text that looks like JSON.
    """

    tool_name: str

    def pre_parse_json(self, data: dict[str, Any]) -> dict[str, Any]:
        takes = self.arg_model.model_fields
        given: dict[str, Any] = {}
        # Before pydantic, which would take seconds for a hundred thousand unknown names.
        for name, value in data.items():
            if value is None or value == "":
                continue
            if name in takes:
                # pydantic would read true as 1, and take it for a number.
                if isinstance(value, bool) and takes[name].annotation is not bool:
                    raise _refusal(name, self.parameters()["properties"])
                given[name] = value
            elif name not in _ADDED_BY_HOSTS:
                raise RequestError(
                    message=f"{self.tool_name} has no argument {one_line(name, 60)},"
                    " so nothing was done.",
                    hint=_takes(takes),
                )
        return given

    def parameters(self) -> Schema:
        """The schema of all arguments."""
        return lean(self.arg_model.model_json_schema(by_alias=True))


def _takes(names: Collection[str]) -> str:
    return f"It takes: {', '.join(names) or 'none'}."


@functools.cache
def _schema_of_data(model: type[BaseModel]) -> Schema:
    return lean(model.model_json_schema())


def _data_of(function: Callable[..., Any]) -> type[BaseModel] | None:
    """What the data of a tool's answers is: the model in `Annotated[CallToolResult, model]`."""
    answer = inspect.signature(function, eval_str=True).return_annotation
    model = getattr(answer, "__metadata__", (None,))[0]
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


class StrictTool(Tool):
    """A tool whose every error is an answer: the only place where errors become answers.

    The SDK would drop an unknown argument silently (a misspelt option would spend credits), hide
    an ordinary exception's text from the model, and put a prefix before a ToolError's.
    """

    @classmethod
    def of(cls, function: Callable[..., Any], **options: Any) -> "StrictTool":
        """A strict tool made of a function.

        Args:
            options: those of `Tool.from_function`.
        """
        # The SDK would make the schema of the same answers anew for each tool.
        tool = cls.from_function(function, structured_output=False, **options)
        assert isinstance(tool, cls)
        data = _data_of(function)
        tool.fn_metadata = _Arguments(
            tool_name=tool.name,
            arg_model=tool.fn_metadata.arg_model,
            output_model=data,
            output_schema=None if data is None else _schema_of_data(data),
        )
        tool.parameters = published(lean(tool.parameters))
        return tool

    def all_parameters(self) -> Schema:
        """The schema of all arguments it takes, those that are not published included."""
        assert isinstance(self.fn_metadata, _Arguments)
        return self.fn_metadata.parameters()

    def hiding(self, names: Collection[str]) -> "StrictTool":
        """The same tool with these arguments left out of what it publishes; it still takes them."""
        return self.model_copy(update={"parameters": without_properties(self.parameters, names)})

    async def run(
        self, arguments: dict[str, Any], context: Any, convert_result: bool = False
    ) -> Any:
        """The answer to a call, counted and logged with how long it took."""
        app: AppContext = context.request_context.lifespan_context
        began_s, outcome = app.clock.elapsed(), "error"
        try:
            answer = await self._answer(arguments, context, convert_result)
            outcome = _outcome(answer)
            return answer
        except asyncio.CancelledError:  # its caller has left
            outcome = "cancelled"
            raise
        finally:
            took_s = app.clock.elapsed() - began_s
            app.metrics.calls[self.name, outcome].add(took_s)
            if log.isEnabledFor(logging.INFO):
                request_id = one_line(str(context.request_context.request_id), 60)
                facts = {"tool": self.name, "outcome": outcome, "ms": round(took_s * 1000)}
                log.info(
                    "%s: %s in %d ms",
                    *facts.values(),
                    extra={"facts": facts | {"request_id": request_id}},
                )

    async def _answer(self, arguments: dict[str, Any], context: Any, convert_result: bool) -> Any:
        app: AppContext = context.request_context.lifespan_context
        if app.fault is not None:  # the server runs only to say so
            app.metrics.refusals[app.fault.code] += 1
            return error_answer(app.fault)
        if self.name in SUBMITTING_TOOLS and not current_caller().may_submit:
            app.metrics.refusals[ForbiddenError.code] += 1
            return error_answer(may_only_read(), sandbox=app.settings.sandbox)
        try:
            return await self._called(arguments, context, convert_result)
        except (ToolError, UseapiError) as error:
            sandbox = app.settings.sandbox
            if (first := _cause(error, JobFirstError)) is not None:
                return job_answer(first.job, sandbox=sandbox, remote=remote_of(context))
            told = error if isinstance(error, UseapiError) else self._in_our_words(error)
            app.metrics.refusals[told.code] += 1
            return error_answer(told, sandbox=sandbox)

    async def _called(self, arguments: dict[str, Any], context: Any, convert_result: bool) -> Any:
        """What the tool gives; where its user must give a token first, once he has."""
        app: AppContext = context.request_context.lifespan_context
        call = functools.partial(super().run, arguments, context, convert_result)
        try:
            return await call()
        except ToolError as error:
            own_tokens = app.own_tokens if current_caller().own is not None else None
            if own_tokens is None or _cause(error, NoTokenError) is None:
                raise
        return await own_token.once_given(context, own_tokens, call)

    def _in_our_words(self, error: ToolError) -> UseapiError:
        fault = error.__cause__
        if isinstance(fault, ValidationError) and not isinstance(error, UnexpectedToolError):
            return self._refusal(fault)
        if (known := _cause(error, UseapiError)) is not None:
            return known
        log.error("%s failed by a fault of this server", self.name, exc_info=error)
        return InternalError(
            message=f"A fault in this server ended {self.name}; its log has it.",
            hint="Tell the user. If it was to cost credits, look at list_jobs first: the same call"
            " again never pays twice.",
        )

    def _refusal(self, invalid: ValidationError) -> RequestError:
        """The first fault of the arguments, in one sentence."""
        fault = invalid.errors(include_url=False, include_input=False, include_context=False)[0]
        name = one_line(str(fault["loc"][0]), 60)
        properties = self.all_parameters()["properties"]
        if fault["type"] == "missing":
            return RequestError(
                message=f"{self.name} needs {name}, so nothing was done.", hint=_takes(properties)
            )
        return _refusal(name, properties)


def _outcome(answer: Any) -> str:
    """What came of a call, in one word: `asked` is a question to the user."""
    if not isinstance(answer, CallToolResult):
        return "asked"
    return "error" if answer.is_error else "ok"


def _cause(error: BaseException, kind: type[E]) -> E | None:
    """The error of this kind that led to an error."""
    fault: BaseException | None = error
    while fault is not None and not isinstance(fault, kind):
        fault = fault.__cause__
    return fault


def _refusal(name: str, properties: Schema) -> RequestError:
    return RequestError(
        message=f"{name} must be {_wanted(properties[name])}, so nothing was done.",
        hint="Call again with that corrected.",
    )


def _wanted(schema: Schema) -> str:
    """What an argument must be, in words."""
    if "enum" in schema:
        return " or ".join(schema["enum"])
    if schema["type"] == "boolean":
        return "true or false"
    if schema["type"] in ("integer", "number"):
        kind = "a whole number" if schema["type"] == "integer" else "a number"
        return f"{kind} from {schema['minimum']} to {schema['maximum']}"
    text = "text"
    if "maxLength" in schema:
        text += f" of {schema.get('minLength', 1)} to {schema['maxLength']} characters"
    if "pattern" in schema:
        text += f" that matches {schema['pattern']}"
    return text
