"""`useapi-mcp user`: hand out tokens for a server of many, and take them back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mcp_server.clock import Clock, iso
from mcp_server.journal.stores import store_of
from mcp_server.journal.users import Users
from mcp_server.settings import Settings


async def add(settings: Settings, name: str, *, read_only: bool) -> str:
    """The token of a new user.

    Raises:
        RequestError: the name is none, or taken.
        JournalError: it can't be written down.
    """
    async with _users(settings) as users:
        return await users.add(name, may_submit=not read_only)


async def remove(settings: Settings, name: str) -> str:
    """That a user was removed, in a sentence.

    Raises:
        RequestError: there is none of this name.
        JournalError: it can't be written down.
    """
    async with _users(settings) as users:
        await users.remove(name)
    return f"{name} is removed: the token is refused from now on; jobs stay."


async def forget(settings: Settings, name: str) -> str:
    """That a user's own useapi.net token is forgotten, in a sentence.

    Args:
        name: of a user, or the subject (`sub`) of one of the identity provider's.

    Raises:
        RequestError: there is none of this name.
        JournalError: it can't be written down.
    """
    user = ""
    if settings.oauth_issuer is not None:
        from mcp_server.http.auth import user_id

        user = user_id(settings.oauth_issuer, name)
    async with _users(settings) as users:
        was_there = await users.forget_token(name, user)
    if not was_there:
        return f"{name} has given no useapi.net token."
    return f"The useapi.net token of {name} is forgotten: no server uses it any more; jobs stay."


async def table(settings: Settings) -> str:
    """The users, one a line: name, what the token is for, when it was made, and who gave his own.

    Raises:
        JournalError: they can't be read.
    """
    async with _users(settings) as users:
        known = await users.all()
    if not known:
        return "There are no users."
    longest = max(len(user.name) for user in known)
    return "\n".join(
        f"{user.name:<{longest}}  {'submits' if user.may_submit else 'reads  '}"
        f"  since {iso(user.created_at)}{'  own useapi.net token' if user.has_own_token else ''}"
        for user in known
    )


@asynccontextmanager
async def _users(settings: Settings) -> AsyncIterator[Users]:
    clock = Clock()
    store = store_of(settings, clock)
    try:
        yield Users(store, clock.now)
    finally:
        await store.close()
