"""The services this server knows, and which of them an id belongs to."""

from mcp_server.errors import UnknownIdError, UnsupportedError
from mcp_server.services.base import Service
from mcp_server.services.dreamina import Dreamina
from mcp_server.services.google_flow import GoogleFlow
from mcp_server.services.pixverse import PixVerse

SERVICES: tuple[Service, ...] = (Dreamina(), GoogleFlow(), PixVerse())


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
    forms = "; ".join(f"{s.vendor.title}: {' or '.join(s.id_forms)}" for s in SERVICES)
    raise UnknownIdError(
        f"This {argument} has the form of no service, so nothing was sent.",
        f"Copy it exactly as the service gave it. Known forms: {forms}.",
    )


def service_named(name: str) -> Service:
    """The service of this name.

    Raises:
        UnsupportedError: there is none, as in a row of a newer version.
    """
    for service in SERVICES:
        if service.name == name:
            return service
    raise UnsupportedError(
        f"This version of useapi-mcp does not know the service {name}, so nothing was sent.",
        "Upgrade useapi-mcp, then call again.",
    )


def title_of(name: str) -> str:
    """How a service is called in a sentence; one that only a newer version knows, by its name."""
    return next((s.vendor.title for s in SERVICES if s.name == name), name)
