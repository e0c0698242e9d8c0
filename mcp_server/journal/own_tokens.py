"""Users' own useapi.net tokens: sealed in the database, and opened for each request anew.

A token is sealed under a key that comes of USEAPI_SECRET, and bound to its user and account: a row
that is copied to another user's, or read with another secret, opens for nobody. What is kept is
looked up each time, so a token that was taken back is used by no server from then on.

Where a token is given is a page of ours (http/own_tokens.py), whose address is sealed, too: it
names the user and the `version` of what he has given so far. Each change counts that up, so an
address serves once.
"""

import hashlib
import json
import logging
import math
from collections.abc import Callable
from typing import Self

from mcp_server.errors import JournalError, OwnTokenError, UsedAddressError
from mcp_server.journal.base import Rows, Store
from mcp_server.models import OwnAccount
from mcp_server.sealing import NotOpenedError, Sealer
from mcp_server.settings import Settings

log = logging.getLogger(__name__)

PAGE_PATH = "/own-token"
ADDRESS_WORKS_S = 600


class OwnTokens:
    """The tokens in a store, and the addresses of the page at which they are given."""

    def __init__(
        self, store: Store, now: Callable[[], float], tokens: Sealer, pages: Sealer, address: str
    ) -> None:
        """Take the parts.

        Args:
            tokens, pages: seal what is kept, and the addresses.
            address: at which users' browsers reach this server.
        """
        self._store = store
        self._now = now
        self._tokens = tokens
        self._pages = pages
        self._address = address

    @classmethod
    def of(cls, settings: Settings, store: Store, now: Callable[[], float]) -> Self | None:
        """Those that the settings allow; None where they do not."""
        if not settings.own_tokens or settings.public_url is None:
            return None
        tokens, pages = (
            Sealer(settings.derived_keys(purpose)) for purpose in ("own tokens", "own token page")
        )
        return cls(store, now, tokens, pages, settings.public_url)

    async def known(self, user: str) -> OwnAccount:
        """Which account a user has given the token of.

        Raises:
            JournalError: it can't be read, so nobody knows.
        """
        async with self._store.read() as rows:
            return await _known(rows, user)

    async def token_of(self, account: str) -> str:
        """The token of an account, for a request that goes out now.

        Raises:
            OwnTokenError: there is none, or none that can be opened.
            JournalError: it can't be read.
        """
        async with self._store.read() as rows:
            found = await rows.all(
                "select user_id, sealed, key_id from own_token where account = ?", account
            )
        if not account or not found:
            raise OwnTokenError(
                message="The useapi.net token of the user's own that this belongs to is not kept"
                " here any more, so nothing was sent.",
                hint=f"Its user can give it again: {_WHERE}.",
            )
        if len(found) > 1:  # an account is one user's: somebody wrote this who is none of us
            raise OwnTokenError(
                message="In the database two users have the same useapi.net token of their own,"
                " which no server has written there, so nothing was sent.",
                hint=f"Tell the operator; each of them can give his own again: {_WHERE}.",
            )
        ((user, sealed, key_id),) = found
        try:
            token = self._tokens.open(sealed, user, account)
        except NotOpenedError:
            raise OwnTokenError(
                message="The user's own useapi.net token was sealed with another USEAPI_SECRET, so"
                " it can't be read, and nothing was sent.",
                hint=f"Its user must give it again: {_WHERE}.",
            ) from None
        if key_id != self._tokens.key_id:
            await self._seal_anew(user, account, sealed, token)
        return token

    async def keep(self, user: str, version: int, account: str, token: str) -> None:
        """Keep a token in place of the one that this user may have given before.

        Args:
            version: what the user had when he was given the address of the page.

        Raises:
            UsedAddressError: it has changed since; nothing is kept.
            JournalError: it can't be written down.
        """
        sealed = self._tokens.seal(token, user, account)
        await self._change(user, version, account, sealed)

    async def take_back(self, user: str, version: int | None = None) -> bool:
        """Forget the token of a user; whether there was one.

        Args:
            version: as of `keep`; None: whatever there is.

        Raises:
            UsedAddressError, JournalError: as `keep`.
        """
        return await self._change(user, version, "", "")

    def page_for(self, user: str, own: OwnAccount) -> str:
        """The address at which a user can give his token once, or take it back."""
        ends_at = math.floor(self._now()) + ADDRESS_WORKS_S
        sealed = self._pages.seal(json.dumps([user, own.version, ends_at]))
        return f"{self._address}{PAGE_PATH}/{sealed}"

    def user_at(self, sealed: str) -> tuple[str, int]:
        """The user for whom the last part of an address was made, and the version.

        Raises:
            NotOpenedError: no server with this secret has made it.
            UsedAddressError: its time is over.
        """
        user, version, ends_at = json.loads(self._pages.open(sealed))
        if ends_at <= self._now():
            raise used_address()
        return user, version

    async def _change(self, user: str, version: int | None, account: str, sealed: str) -> bool:
        async with self._store.write("users") as rows:
            known = await _known(rows, user)
            if version is not None and known.version != version:
                raise used_address()
            key_id = self._tokens.key_id if sealed else ""
            await _write(rows, user, known, account, sealed, key_id, self._now())
        return bool(known.account)

    async def _seal_anew(self, user: str, account: str, before: str, token: str) -> None:
        """Seal under the newest key what an older one opened, unless it has changed meanwhile."""
        try:
            async with self._store.write("users") as rows:
                await rows.all(
                    "update own_token set sealed = ?, key_id = ? where user_id = ? and sealed = ?",
                    self._tokens.seal(token, user, account),
                    self._tokens.key_id,
                    user,
                    before,
                )
        except JournalError as error:  # the next request does it
            log.warning("a user's token was not sealed anew: %s", error.code)


_WHERE = "check_accounts tells where"


def account_of(user: str, vendors_id: str) -> str:
    """What the journal calls the account of a user's own token.

    The same for each token of one useapi.net account, so a new token goes on with the jobs of the
    old one. Another user's is another account, also where both have one at useapi.net.
    """
    return hashlib.sha256(json.dumps(["own token", user, vendors_id]).encode()).hexdigest()


def used_address() -> UsedAddressError:
    """What is said of an address that works no more."""
    return UsedAddressError(
        message="This address works no more: it works once, and for ten minutes.",
        hint="Ask for another: the tool check_accounts tells it.",
    )


async def forget(rows: Rows, user: str, now: float) -> bool:
    """Forget the token of a user, inside a transaction; whether there was one.

    Where there was none, too, an address that he has works no more: he may be giving one just now.
    """
    known = await _known(rows, user)
    await _write(rows, user, known, "", "", "", now)
    return bool(known.account)


async def _write(
    rows: Rows, user: str, known: OwnAccount, account: str, sealed: str, key_id: str, now: float
) -> None:
    await rows.all(
        "insert into own_token(user_id, account, sealed, key_id, version, changed_at)"
        " values(?, ?, ?, ?, ?, ?) on conflict (user_id) do update"
        " set account = excluded.account, sealed = excluded.sealed,"
        " key_id = excluded.key_id, version = excluded.version,"
        " changed_at = excluded.changed_at",
        user,
        account,
        sealed,
        key_id,
        known.version + 1,
        now,
    )


async def _known(rows: Rows, user: str) -> OwnAccount:
    found = await rows.all("select account, version from own_token where user_id = ?", user)
    return OwnAccount(*found[0]) if found else OwnAccount()
