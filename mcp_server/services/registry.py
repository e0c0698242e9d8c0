"""SERVICES: all services there are, and the lookup of one by id or by name."""

import re

from mcp_server.errors import UnknownIdError, UnsupportedError
from mcp_server.models import OUR_ID_PREFIX
from mcp_server.services.base import Service
from mcp_server.services.dreamina import Dreamina
from mcp_server.services.google_flow import GoogleFlow
from mcp_server.services.ids import ids_within, is_link, is_nearly_an_id, is_path, readings
from mcp_server.services.pixverse import PixVerse

SERVICES: tuple[Service, ...] = (Dreamina(), GoogleFlow(), PixVerse())

_OURS = re.compile(rf"{OUR_ID_PREFIX}[a-z0-9]{{26}}", re.ASCII)
_MADE_THERE = "this server works on what was made on useapi.net"


def is_id(text: str) -> bool:
    """Whether it is, from end to end, an id of a service or one of ours."""
    return _OURS.fullmatch(text) is not None or any(service.owns(text) for service in SERVICES)


def id_in(text: str) -> str | None:
    """The one id that a text is, but for quotes, brackets, encoding or our vendor's own address."""
    return next(filter(is_id, readings(text)), None)


def service_of(some_id: str, argument: str) -> Service:
    """The service an id names.

    Args:
        argument: what the caller calls the id, for the refusal.

    Raises:
        UnknownIdError: no service has ids of this form; nothing was sent.
    """
    for service in SERVICES:
        if service.owns(some_id):
            return service
    raise unknown_id(some_id, argument)


def unknown_id(text: str, argument: str) -> UnknownIdError:
    """Why a text is no id, and where to have one from."""
    within = ids_within(text, id_in)
    if len(within) > 1:
        return UnknownIdError(
            message=f"This {argument} holds several ids, so nothing was sent.",
            hint="Make one call for each id.",
        )
    if within:
        return UnknownIdError(
            message=f"This {argument} holds more than an id, so nothing was sent.",
            hint=f"If {within.pop()} is meant, give that alone.",
        )
    if is_link(text) or is_path(text):
        what = "A link of this kind" if is_link(text) else "A file"
        return UnknownIdError(
            message=f"{what} is no {argument}, so nothing was sent.",
            hint="Give an id; list_jobs shows those of what was submitted here. A paid tool takes"
            " an https link to a video or an image too, or a path.",
            asks="list_jobs",
        )
    for service in SERVICES:
        if whole := service.whole_form(text):
            return UnknownIdError(
                message=f"This {argument} is a part of an id, so nothing was sent.",
                hint=f"Ids of {service.vendor.title} are whole: {whole}. Ask the user for it.",
                asks="ask_user",
            )
    if is_nearly_an_id(text):
        forms = "; ".join(f"{s.vendor.title}: {' or '.join(s.id_forms)}" for s in SERVICES)
        return UnknownIdError(
            message=f"This {argument} is no whole id, so nothing was sent.",
            hint="Take it from list_jobs or from the answer that named it, and don't complete it"
            f" yourself. Forms: {forms}.",
            asks="list_jobs",
        )
    return UnknownIdError(
        message=f"This {argument} is no id, so nothing was sent.",
        hint="list_jobs shows the ids of what was submitted here, list_media those of what was made"
        f" elsewhere; else ask the user for the id: {_MADE_THERE}.",
        asks="list_jobs",
    )


def known_service(name: str) -> Service | None:
    """The service of this name; None if there is none, as in a row of a newer version."""
    return next((service for service in SERVICES if service.name == name), None)


def service_named(name: str) -> Service:
    """The service of this name.

    Raises:
        UnsupportedError: there is none, as in a row of a newer version.
    """
    service = known_service(name)
    if service is not None:
        return service
    raise UnsupportedError(
        message=f"This version of useapi-mcp does not know the service {name}.",
        hint="Upgrade useapi-mcp.",
    )


def title_of(name: str) -> str:
    """What a service is called; its name where it is not known here."""
    service = known_service(name)
    return name if service is None else service.vendor.title
