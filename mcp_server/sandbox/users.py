"""Whose token it is: any number is a user for whom all is well, some show what can be wrong.

A token is `user:<number>-<characters>` (auth.md, 2026). What these numbers mean is the sandbox's.
"""

import re
from collections.abc import Mapping

from starlette.requests import Request

from mcp_server.sandbox import responses as web

NO_SUBSCRIPTION, NO_ACCOUNTS, BROKEN_ACCOUNTS = 402, 404, 596
USERS = {
    NO_SUBSCRIPTION: "a subscription that has ended",
    NO_ACCOUNTS: "no account is linked to any service",
    BROKEN_ACCOUNTS: "an account of each service is in error",
}


def number(request: Request) -> int:
    """The number in the caller's token; 0 for the words that stand for one in the examples."""
    found = re.match(r"Bearer user:([0-9]{1,9})-", request.headers.get("authorization", ""))
    return int(found[1]) if found else 0


def linked(request: Request, accounts: Mapping[str, web.Json], fault: web.Json) -> web.Json:
    """The accounts this user has linked.

    Args:
        fault: the fields by which an account in error differs from a healthy one.
    """
    user = number(request)
    if user == NO_ACCOUNTS:
        return {}  # "{} when none": GET dreamina/accounts, 23 February 2026
    if user == BROKEN_ACCOUNTS:
        first = next(iter(accounts))
        return {**accounts, first: {**accounts[first], **fault}}
    return dict(accounts)
