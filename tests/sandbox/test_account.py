"""The useapi.net account, and the users that show a fault."""

import pytest

from mcp_server.sandbox.account import (
    BROKEN_ACCOUNTS,
    NO_ACCOUNTS,
    NO_SUBSCRIPTION,
    SEVERAL_ACCOUNTS,
    STRICT_EDGE,
    USERS,
)
from mcp_server.sandbox.app import help_text
from tests.sandbox.api import Api, open_api

LISTS = ("/v1/dreamina/accounts", "/v1/google-flow/accounts", "/v2/pixverse/accounts")


async def test_the_account_has_a_subscription_and_linked_accounts() -> None:
    """GET account, 7 April 2025."""
    async with open_api() as api:
        account = await api.get("/v2/account")

        assert True is account["subscriptionIsActive"]
        assert {"total": 1, "active": 1} == account["accounts"]["PixVerse API"]
        documented = {
            *("id", "email", "created", "name", "subscriptionIsActive", "subscriptions"),
            *("maxAccountsPerAPI", "accounts", "verified", "sub"),
        }
        assert documented == account.keys()


def as_user(number: int) -> dict[str, str]:
    return {"Authorization": f"Bearer user:{number}-x"}


async def account(api: Api) -> tuple[bool, set[tuple[int, int]]]:
    """Whether the subscription is active, and how many accounts there are and work, by service."""
    found = await api.get("/v2/account")
    return found["subscriptionIsActive"], {
        (each["total"], each["active"]) for each in found["accounts"].values()
    }


async def test_any_other_user_has_healthy_accounts() -> None:
    async with open_api(**as_user(1)) as api:
        assert (True, {(2, 2), (1, 1)}) == await account(api)
        for path in LISTS:
            assert all("error" not in each for each in (await api.get(path)).values())


async def test_one_user_has_no_subscription() -> None:
    async with open_api(**as_user(NO_SUBSCRIPTION)) as api:
        assert (False, {(2, 2), (1, 1)}) == await account(api)


async def test_one_user_has_linked_no_account() -> None:
    """GET dreamina/accounts, 23 February 2026: `{}` when none."""
    async with open_api(**as_user(NO_ACCOUNTS)) as api:
        assert (True, {(0, 0)}) == await account(api)
        for path in LISTS:
            assert {} == await api.get(path)


async def test_one_user_has_an_account_of_each_service_in_error() -> None:
    async with open_api(**as_user(BROKEN_ACCOUNTS)) as api:
        assert (True, {(2, 1), (1, 0)}) == await account(api)
        for path in LISTS:
            errors = [each.get("error") for each in (await api.get(path)).values()]
            assert isinstance(errors[0], str)
            assert [None] * (len(errors) - 1) == errors[1:]
        flow = (await api.get("/v1/google-flow/accounts"))["user@example.com"]
        assert "OK" != flow["health"]


async def test_one_user_has_linked_a_second_account_to_each_service() -> None:
    async with open_api(**as_user(SEVERAL_ACCOUNTS)) as api:
        assert (True, {(3, 3), (2, 2)}) == await account(api)
        assert [3, 2, 2] == [len(await api.get(path)) for path in LISTS]


async def test_an_account_in_error_is_shown_without_what_is_read_live() -> None:
    """GET dreamina/accounts/account, 2 March 2026; GET google-flow/accounts/email."""
    async with open_api(**as_user(BROKEN_ACCOUNTS)) as api:
        dreamina = await api.get("/v1/dreamina/accounts/CA:user@example.com")
        flow = await api.get("/v1/google-flow/accounts/user@example.com")

        assert dreamina["error"]
        assert not {"session", "models", "credits"} & dreamina.keys()
        assert flow["error"]
        assert not {"models", "credits"} & flow.keys()
        healthy = await api.get("/v1/dreamina/accounts/US:user@example.com")
        assert {"session", "models", "credits"} < healthy.keys()


@pytest.mark.parametrize(
    ("agent", "status"), [("Python-urllib/3.13", 403), ("useapi-mcp/0.1.0", 200)]
)
async def test_for_one_user_the_edge_refuses_urllib(agent: str, status: int) -> None:
    """The vendor's changelog, 11 September 2026: 403, error 1010, no JSON."""
    async with open_api(**as_user(STRICT_EDGE), **{"User-Agent": agent}) as api:
        answer = await api.http.get("/v2/account")

        assert status == answer.status_code
        assert (status == 403) is answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("number", USERS)
def test_the_help_lists_these_users(number: int) -> None:
    assert f"user:{number}-x\n      {USERS[number]}" in help_text()
