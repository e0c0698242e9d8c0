"""What can be done next with a medium, and what it costs: for the pages in the chat, not a model.

A page shows a step as a button, and what a press says in the chat is a call with its price as cap.
"""

from collections.abc import Iterable
from typing import Any

from mcp_server.errors import UseapiError
from mcp_server.models import FoundMedia, Job, OperationName
from mcp_server.services.base import Service
from mcp_server.services.registry import known_service

Step = dict[str, Any]
"""`tool`, its `arguments` but the source, `price` in credits (none: not known), and `makes`."""

_SIZES = ("resolution", "fps")  # the options that name a result


def steps_after(job: Job) -> list[Step]:
    """What can be done with the files of a completed job; each step has its `source` and `file`."""
    service = known_service(job.service)
    if service is None or job.status != "completed":
        return []
    is_source = service.owns(job.job_id) and service.takes_as_source(job.job_id)
    media = job.media or ()
    steps: list[Step] = []
    for position, item in enumerate(media):
        source = job.job_id if is_source else item.media_id
        if source is None:
            continue
        index = position if is_source and len(media) > 1 else 0
        for operation in service.takers(source, index):
            if operation != job.operation:  # an upscale of an upscale is refused or of no use
                found = _steps(service, operation, source, index)
                steps += [{**step, "source": source, "file": position} for step in found]
    return steps


def steps_for(media: Iterable[FoundMedia]) -> dict[str, list[Step]]:
    """What the tools in `can` offer, by `<service> <tool>`; every row's source is its own."""
    known: dict[str, list[Step]] = {}
    for item in media:
        service = known_service(item.service)
        for operation in _from_a_source(service) if service is not None and item.source else ():
            name = f"{item.service} {operation}"
            if operation in item.can and name not in known and service is not None:
                known[name] = _steps(service, operation, str(item.source), 0)
    return known


def _from_a_source(service: Service) -> list[OperationName]:
    """The operations that work on a source; what is made from a prompt needs more than a press."""
    return [name for name, end in service.endpoints.items() if end.longest_prompt is None]


def _steps(service: Service, operation: OperationName, source: str, image_index: int) -> list[Step]:
    """The largest result that is offered, and the default one where that is cheaper."""
    endpoint = service.endpoints[operation]
    fixed: dict[str, Any] = {"image_index": image_index} if image_index else {}
    named = next((name for name in _SIZES if name in endpoint.options), None)
    wishes = [fixed]
    if named is not None and endpoint.options[named].values:
        option = endpoint.options[named]
        wishes = [fixed | {named: option.values[-1]}]
        if option.default in option.values[:-1]:
            wishes.insert(0, fixed | {named: option.default})
    steps: list[Step] = []
    for wish in wishes:
        try:
            price = service.order(operation, source, wish, {}).price
        except UseapiError:
            continue
        step: Step = {"tool": operation, "arguments": wish}
        step |= {} if price is None else {"price": price}
        if named is None and (makes := _makes(service, operation)):
            step["makes"] = makes
        steps.append(step)
    if len(steps) == 2:
        least, most = (step.get("price") for step in steps)
        if least is None:
            return steps[:1]  # what is not known is not asked for at its largest
        if most is not None and least >= most:
            return steps[1:]
    return steps


def _makes(service: Service, operation: OperationName) -> str:
    """What an operation makes that has no option for it: `4K`, `2x`."""
    endpoint = service.endpoints[operation]
    return next((str(value) for value in endpoint.always.get("resolution", ())), endpoint.makes)
