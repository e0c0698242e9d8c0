"""The sandbox's useapi.net account, which is the same for every service."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mcp_server.sandbox import responses as web
from mcp_server.sandbox import users
from mcp_server.sandbox.state import EMAIL, USER, Vendor


class Account(Vendor):
    prefix = "/v2"
    sources = ()

    def routes(self) -> list[Route]:
        return [Route(f"{self.prefix}/account", self.get_account, methods=["GET"])]

    async def get_account(self, request: Request) -> Response:
        """GET account, 7 April 2025. The names under `accounts` are assumed."""
        user = users.number(request)

        def count(accounts: int) -> web.Json:
            total = 0 if user == users.NO_ACCOUNTS else accounts
            return {"total": total, "active": total - (user == users.BROKEN_ACCOUNTS)}

        return web.answer(
            {
                "id": int(USER),
                "email": EMAIL,
                "created": "2025-04-07T12:00:00.000Z",
                "name": "Sandbox",
                "subscriptionIsActive": user != users.NO_SUBSCRIPTION,
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
