"""The sandbox's useapi.net account and its users: which of them have a fault to show.

A token is `user:<number>-<characters>` (auth.md, 2026). Any number is a healthy user, with jobs and
uploads that no other user has; what the few numbers below mean is the sandbox's own.
"""

import re
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mcp_server.sandbox import responses
from mcp_server.sandbox.state import EMAIL, SECOND_EMAIL, USER, Vendor

SEVERAL_ACCOUNTS, NO_SUBSCRIPTION, NO_ACCOUNTS, BROKEN_ACCOUNTS = 2, 402, 404, 596
STRICT_EDGE = 1010  # the gateway's number for this
USERS = {
    SEVERAL_ACCOUNTS: f"{SECOND_EMAIL} is linked to each service too",
    NO_SUBSCRIPTION: "a subscription that has ended",
    NO_ACCOUNTS: "no account is linked to any service",
    BROKEN_ACCOUNTS: "an account of each service is in error",
    STRICT_EDGE: "the gateway refuses the User-Agent of Python's urllib: 403 and HTML",
}


def user_number(request: Request) -> int:
    """The number in the caller's token; 0 for a placeholder of the pages' examples."""
    found = re.match(r"Bearer user:([0-9]{1,9})-", request.headers.get("authorization", ""))
    return int(found[1]) if found else 0


def is_refused_by_the_edge(request: Request) -> bool:
    """The vendor's changelog of 11 September 2026: 403 (error 1010) for urllib's own User-Agent."""
    agent = request.headers.get("user-agent", "")
    return user_number(request) == STRICT_EDGE and agent.startswith("Python-urllib")


def linked_emails(request: Request) -> tuple[str, ...]:
    """The accounts of other services that this user has linked, the oldest first."""
    user = user_number(request)
    if user == NO_ACCOUNTS:
        return ()
    return (EMAIL, SECOND_EMAIL) if user == SEVERAL_ACCOUNTS else (EMAIL,)


def linked_accounts(
    request: Request, accounts: Mapping[str, responses.Json], fault: responses.Json
) -> dict[str, responses.Json]:
    """The accounts this user has linked.

    Args:
        fault: the fields by which an account in error differs from a healthy one.
    """
    user = user_number(request)
    if user == NO_ACCOUNTS:
        return {}  # "{} when none": GET dreamina/accounts, 23 February 2026
    if user == BROKEN_ACCOUNTS:
        first = next(iter(accounts))
        return {**accounts, first: {**accounts[first], **fault}}
    return dict(accounts)


class Account(Vendor):
    prefix = "/v2"
    sources = ()

    def routes(self) -> list[Route]:
        return [Route(f"{self.prefix}/account", self.get_account, methods=["GET"])]

    async def get_account(self, request: Request) -> Response:
        """GET account, 7 April 2025. The names under `accounts` are assumed.

        Assumed, too: `id` is the number in the token, of which the page's example says nothing.
        """
        user = user_number(request)

        def count(accounts: int) -> responses.Json:
            total = 0 if user == NO_ACCOUNTS else accounts + (user == SEVERAL_ACCOUNTS)
            return {"total": total, "active": total - (user == BROKEN_ACCOUNTS)}

        return responses.answer(
            {
                "id": user or int(USER),
                "email": EMAIL,
                "created": "2025-04-07T12:00:00.000Z",
                "name": "Sandbox",
                "subscriptionIsActive": user != NO_SUBSCRIPTION,
                "subscriptions": 1,
                "maxAccountsPerAPI": 3,
                "accounts": {
                    "Dreamina API": count(2),
                    "Google Flow API": count(1),
                    "PixVerse API": count(1),
                },
                "verified": True,
                "sub": "261231",
            }
        )
