"""The service and the account of a paid call, where its caller leaves them open."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mcp_server.errors import BudgetError, RequestError, UseapiError
from mcp_server.models import OperationName
from mcp_server.services.accounts import Account, by_setting, chosen, the_only
from mcp_server.services.base import Service
from mcp_server.services.registry import SERVICES, service_named
from mcp_server.tools.context import AppContext, read_in_time


async def service_for(
    app: AppContext,
    operation: OperationName,
    prompt: str,
    given: Mapping[str, Any],
    *,
    named: str | None,
    images: Iterable[str],
) -> Service:
    """The service that makes something of a prompt.

    The one that is named; else that of an image which is an id; else that of the setting; else the
    one that made the same before; else the only one with a healthy account.

    Args:
        given: the other arguments that were given.
        named: by the caller.
        images: what was given as images.

    Raises:
        RequestError: none of that tells one; it names those there are.
    """
    if named is not None:
        return service_named(named)
    able = [service for service in SERVICES if operation in service.endpoints]
    for image in images:
        job = await app.jobs.known(image)  # by an id of ours, which tells no service
        for service in able:
            if service.owns(image) or (job is not None and job.service == service.name):
                return service
    if app.settings.service is not None:
        return service_named(app.settings.service)
    if len(made := await _that_made_it(app, able, operation, prompt, given)) == 1:
        return made[0]
    return await _healthy(app, able)


async def account_for(
    app: AppContext,
    service: Service,
    wanted: str | None,
    *,
    belongs_to: str | None = None,
    is_needed: bool = False,
) -> str | None:
    """The account to send, as its vendor calls it; None: the vendor chooses.

    Args:
        belongs_to: the account of what the request names, which can be no other's.
        is_needed: whether this very request must name one, as an upload does.
        wanted: by the caller; None: the one of the setting, or where the vendor needs to be told,
            the only one.

    Raises:
        RequestError, SettingsError: none or several are meant.
        UseapiError: the accounts can't be read.
    """
    title, setting = service.vendor.title, app.default_accounts.get(service.name)
    if wanted is None and belongs_to is not None:
        return belongs_to if is_needed else None  # the vendor tells it by the same
    if wanted is None and setting is None and not (service.needs_account or is_needed):
        return None
    linked = await _accounts(app, service)
    if wanted is not None:
        account = chosen(title, linked, wanted)
        if belongs_to is not None and account.login.lower() != belongs_to.lower():
            raise RequestError(
                message=f"The image belongs to another account of {title} than {account.name}, so"
                " nothing was sent.",
                hint="Leave account out, or give an image of that account.",
                service=service.name,
            )
        return account.login
    if setting is not None:
        return by_setting(title, linked, setting).login
    only = the_only(title, linked)
    if only is None and is_needed:
        raise RequestError(
            message=f"No account is linked to {title}, so nothing was sent.",
            hint="Link one on useapi.net first; check_accounts shows those there are.",
        )
    return only.login if only is not None else None


async def _that_made_it(
    app: AppContext,
    services: Iterable[Service],
    operation: OperationName,
    prompt: str,
    given: Mapping[str, Any],
) -> list[Service]:
    """The services to which the same wish was submitted, so that a repeat is not a new one."""
    found = []
    for service in services:
        try:
            order = service.order(operation, prompt, given, app.settings.job_defaults)
        except RequestError:  # it does not take these arguments
            continue
        with contextlib.suppress(BudgetError):  # of a new one; it may go to another service
            if await app.jobs.is_live(order):
                found.append(service)
    return found


async def _healthy(app: AppContext, services: list[Service]) -> Service:
    """The only one of the services with a healthy account.

    Raises:
        RequestError: there is none or are several, or one can't be read, which may have one.
        UseapiError: none can be read.
    """

    async def is_healthy(service: Service) -> bool | UseapiError:
        try:
            return any(account.healthy for account in await _accounts(app, service, hint))
        except UseapiError as error:
            return error

    hint = f"Call again, and give service: {', '.join(each.name for each in services)}."
    states = await asyncio.gather(*map(is_healthy, services))
    faults = [state for state in states if isinstance(state, UseapiError)]
    if len(faults) == len(services):
        raise faults[0]
    possible = [each for each, state in zip(services, states, strict=True) if state is not False]
    if len(possible) == 1:
        return possible[0]
    names = ", ".join(service.name for service in (possible or services))
    if not possible:
        raise RequestError(
            message="No healthy account is linked to any service that makes this, so nothing was"
            " sent.",
            hint=f"check_accounts says what is wrong; link one of {names} on useapi.net.",
        )
    raise RequestError(
        message=f"{len(possible)} services may make this, and none was named; nothing was sent.",
        hint=f"Give service: {names}. Ask the user where the choice matters.",
    )


async def _accounts(app: AppContext, service: Service, hint: str = "") -> Sequence[Account]:
    title = service.vendor.title
    reading = service.accounts(app.upstream)
    return await read_in_time(reading, f"The accounts of {title}", service.name, hint)
