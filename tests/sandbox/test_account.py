"""The useapi.net account."""

from tests.sandbox.api import open_api


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
