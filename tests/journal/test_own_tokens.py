"""OwnTokens: sealed in whatever database, each change once, and gone when taken back."""

import asyncio
from dataclasses import replace

import pytest

from mcp_server.errors import BudgetError, OwnTokenError, UsedAddressError
from mcp_server.journal.base import Store
from mcp_server.journal.journal import Journal
from mcp_server.journal.own_tokens import OwnTokens, account_of
from mcp_server.journal.users import Users
from mcp_server.models import OwnAccount
from mcp_server.sealing import NotOpenedError, Sealer
from tests.journal.rows import NOON, ORIGIN, StoppedClock, new

OLD, NEW = b"o" * 32, b"n" * 32
TOKEN = "user:11-canary"
ACCOUNT = account_of("alice", "11")


@pytest.fixture
def store(store_of_engine: Store) -> Store:
    return store_of_engine


def own_tokens(store: Store, clock: StoppedClock, *keys: bytes) -> OwnTokens:
    return OwnTokens(store, clock.now, Sealer(keys), Sealer([OLD]), "https://mcp.example.com")


@pytest.fixture
def tokens(store: Store, clock: StoppedClock) -> OwnTokens:
    return own_tokens(store, clock, OLD)


async def stored(store: Store) -> list[tuple[object, ...]]:
    async with store.read() as rows:
        return await rows.all(
            "select user_id, account, sealed, key_id, version, changed_at from own_token"
        )


async def test_a_token_is_its_accounts_and_nobody_can_read_it_in_the_database(
    tokens: OwnTokens, store: Store
) -> None:
    nothing = await tokens.known("alice")
    await tokens.keep("alice", 0, ACCOUNT, TOKEN)
    known = await tokens.known("alice")

    assert (OwnAccount(), OwnAccount(ACCOUNT, 1)) == (nothing, known)
    assert TOKEN == await tokens.token_of(ACCOUNT)
    assert OwnAccount() == await tokens.known("bob")
    assert "canary" not in repr(await stored(store))
    for other in ("", "unknown", account_of("bob", "11")):
        with pytest.raises(OwnTokenError, match="not kept here"):
            await tokens.token_of(other)


async def test_each_change_is_made_from_what_was_seen_and_once(
    tokens: OwnTokens, store: Store, clock: StoppedClock
) -> None:
    page = tokens.page_for("alice", OwnAccount()).rpartition("/")[2]
    at_once = await asyncio.gather(
        *(tokens.keep("alice", 0, ACCOUNT, TOKEN) for _ in range(4)), return_exceptions=True
    )
    assert [UsedAddressError] * 3 == [type(each) for each in at_once if each is not None]
    assert ("alice", 0) == tokens.user_at(page)
    with pytest.raises(UsedAddressError):
        await tokens.take_back("alice", 0)
    assert await tokens.take_back("alice", 1)
    assert not await tokens.take_back("alice")
    assert OwnAccount("", 3) == await tokens.known("alice")
    with pytest.raises(OwnTokenError):
        await tokens.token_of(ACCOUNT)
    for _, account, sealed, key_id, _, changed_at in await stored(store):
        assert ("", "", "", NOON) == (account, sealed, key_id, changed_at)
    clock.at += 600
    with pytest.raises(UsedAddressError):
        tokens.user_at(page)
    with pytest.raises(NotOpenedError):
        tokens.user_at("A" * 80)


async def test_a_row_of_one_user_opens_for_no_other(tokens: OwnTokens, store: Store) -> None:
    await tokens.keep("alice", 0, ACCOUNT, TOKEN)
    async with store.write("users") as rows:
        await rows.all("update own_token set user_id = 'bob'")

    with pytest.raises(OwnTokenError, match="sealed with another"):
        await tokens.token_of(ACCOUNT)


async def test_an_account_that_two_users_have_in_the_database_is_used_for_neither(
    tokens: OwnTokens, store: Store
) -> None:
    """Who can write to the database, and has no secret, has copied a row to his own user."""
    await tokens.keep("alice", 0, ACCOUNT, TOKEN)
    async with store.write("users") as rows:
        await rows.all(
            "insert into own_token(user_id, account, sealed, key_id, version, changed_at)"
            " select 'bob', account, sealed, key_id, version, changed_at from own_token"
        )

    with pytest.raises(OwnTokenError, match="two users"):
        await tokens.token_of(ACCOUNT)


async def test_what_an_old_key_opens_is_sealed_under_the_new_one(
    tokens: OwnTokens, store: Store, clock: StoppedClock
) -> None:
    await tokens.keep("alice", 0, ACCOUNT, TOKEN)
    both, new_alone = own_tokens(store, clock, NEW, OLD), own_tokens(store, clock, NEW)

    with pytest.raises(OwnTokenError, match="must give it again"):
        await new_alone.token_of(ACCOUNT)
    assert TOKEN == await both.token_of(ACCOUNT)
    assert TOKEN == await new_alone.token_of(ACCOUNT)
    with pytest.raises(OwnTokenError):
        await tokens.token_of(ACCOUNT)
    assert OwnAccount(ACCOUNT, 1) == await tokens.known("alice")  # the user has changed nothing


async def test_a_user_who_is_removed_leaves_no_token(
    tokens: OwnTokens, store: Store, clock: StoppedClock
) -> None:
    users = Users(store, clock.now)
    alice = await users.find(await users.add("alice"))
    assert alice is not None
    await tokens.keep(alice.id, 0, ACCOUNT, TOKEN)
    listed = await users.all()
    await users.remove("alice")

    assert [True] == [user.has_own_token for user in listed]
    assert OwnAccount("", 2) == await tokens.known(alice.id)


async def test_a_user_who_is_removed_while_he_gives_a_token_leaves_none(
    tokens: OwnTokens, store: Store, clock: StoppedClock
) -> None:
    """Between the look at who he is and the write the vendor is asked about the token."""
    users = Users(store, clock.now)
    alice = await users.find(await users.add("alice"))
    assert alice is not None
    known = await tokens.known(alice.id)
    await users.remove("alice")

    with pytest.raises(UsedAddressError):
        await tokens.keep(alice.id, known.version, ACCOUNT, TOKEN)


async def test_credits_of_one_account_count_for_no_other(journal: Journal) -> None:
    await journal.insert(replace(new("a", price=80), account=ACCOUNT, payer="alice"), budget=100)
    await journal.insert(replace(new("b", price=80)), budget=100)
    row = await journal.find_live("a")

    assert row is not None
    assert ACCOUNT == row.account
    for account in (ACCOUNT, ""):
        with pytest.raises(BudgetError):
            await journal.check_budget(ORIGIN, "dreamina", 30, 100, account=account)
    await journal.check_budget(ORIGIN, "dreamina", 30, 100, account="another")
    figures = await journal.figures(ORIGIN, ["dreamina"])
    assert figures is not None
    assert {"dreamina": 80} == figures.credits_today


async def test_a_user_sees_of_the_servers_account_all_where_a_team_shares_it(
    journal: Journal,
) -> None:
    hers = await journal.insert(replace(new("a"), account=ACCOUNT, payer="alice"))
    teams = await journal.insert(replace(new("b"), payer="carol"))

    async def seen(user: str, *, shared: bool) -> list[str]:
        found = await journal.recent(10, origin=ORIGIN, user=user, shared=shared)
        return [row.id for row in found]

    assert [teams.id, hers.id] == await seen("alice", shared=True)
    assert [teams.id] == await seen("bob", shared=True)
    assert [] == await seen("bob", shared=False)
    assert [teams.id, hers.id] == await seen("", shared=False)
    assert await journal.get(hers.id, user="bob", shared=True) is None
    assert teams == await journal.get(teams.id, user="bob", shared=True)
