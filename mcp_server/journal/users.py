"""Users: who was given a token for a server of many, and whose token it is.

Of a token only its SHA-256 is kept. It has 256 random bits, so nothing slower is needed to keep it
from being guessed. A server looks at each call: a user who is removed is refused at once, by all
servers of the database.
"""

import hashlib
import re
import secrets
from collections.abc import Callable

from mcp_server.errors import RequestError
from mcp_server.journal import own_tokens
from mcp_server.journal.base import Store
from mcp_server.journal.records import User

TOKEN_PREFIX = "useapi-mcp-user_"  # noqa: S105 - tells what it is, to people and to scanners
_TOKEN = re.compile(rf"{TOKEN_PREFIX}[A-Za-z0-9_-]{{43}}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}", re.ASCII)
_COLUMNS = "id, name, may_submit, created_at"


class Users:
    """The users in a store."""

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    async def add(self, name: str, *, may_submit: bool = True) -> str:
        """The token of a new user, which can't be had again.

        The id is another one each time: who is given the name of a user that was removed sees
        nothing of what that one made.

        Args:
            may_submit: whether the paid tools are for this user, and cancelling.

        Raises:
            RequestError: the name is none, or taken.
            JournalError: it can't be written down.
        """
        if not _NAME.fullmatch(name):
            raise RequestError(
                message="The name of a user has up to 64 letters, digits and . _ @ + -, and begins"
                " with a letter or a digit; nothing was done.",
                hint="Choose such a name.",
            )
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        async with self._store.write("users") as rows:
            added = await rows.all(
                "insert into users(id, name, token_sha256, may_submit, created_at)"
                " values(?, ?, ?, ?, ?) on conflict (name) do nothing returning id",
                secrets.token_hex(32),
                name,
                _hash(token),
                int(may_submit),
                self._now(),
            )
        if not added:
            raise RequestError(
                message=f"There is a user {name} already; nothing was done.",
                hint=f"Choose another name, or first run `useapi-mcp user remove {name}`.",
            )
        return token

    async def remove(self, name: str) -> None:
        """Let nobody in any more with the token of a user; jobs stay, his useapi.net token goes.

        Raises:
            RequestError: there is none of this name.
            JournalError: it can't be written down.
        """
        async with self._store.write("users") as rows:
            removed = await rows.all("delete from users where name = ? returning id", name)
            for (user,) in removed:
                await own_tokens.forget(rows, user, self._now())
        if not removed:
            raise _no_user()

    async def forget_token(self, name: str, user: str = "") -> bool:
        """Forget a user's own useapi.net token; whether there was one.

        Args:
            user: who it is where nobody was given a token by this name; "" is nobody.

        Raises:
            RequestError: there is none of this name.
            JournalError: it can't be written down.
        """
        async with self._store.write("users") as rows:
            found = await rows.all("select id from users where name = ?", name)
            if not found and not user:
                raise _no_user()
            return await own_tokens.forget(rows, found[0][0] if found else user, self._now())

    async def all(self) -> list[User]:
        """Every user, by name.

        Raises:
            JournalError: they can't be read.
        """
        async with self._store.read() as rows:
            found = await rows.all(
                f"select {_COLUMNS}, id in (select user_id from own_token where account <> '')"  # noqa: S608 - names of ours
                " from users order by name"
            )
        return [_user(*columns) for columns in found]

    async def find(self, token: str) -> User | None:
        """The user whose token this is; None: nobody's.

        Raises:
            JournalError: it can't be read, so nobody knows.
        """
        if not _TOKEN.fullmatch(token):
            return None
        async with self._store.read() as rows:
            found = await rows.all(
                f"select {_COLUMNS} from users where token_sha256 = ?",  # noqa: S608 - as above
                _hash(token),
            )
        return _user(*found[0]) if found else None


def _user(
    some_id: str, name: str, may_submit: int, created_at: float, has_own_token: int = 0
) -> User:
    return User(some_id, name, bool(may_submit), created_at, has_own_token=bool(has_own_token))


def _no_user() -> RequestError:
    return RequestError(
        message="There is no user of this name; nothing was done.",
        hint="`useapi-mcp user list` shows the names.",
    )


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
