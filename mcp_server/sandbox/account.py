"""The sandbox's useapi.net account, which is the same for every service."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mcp_server.sandbox import web
from mcp_server.sandbox.world import EMAIL, USER, Vendor


class Account(Vendor):
    prefix = "/v2"
    sources = ()

    def routes(self) -> list[Route]:
        return [Route(f"{self.prefix}/account", self.get_account, methods=["GET"])]

    async def get_account(self, request: Request) -> Response:
        """GET account, 7 April 2025. The names under `accounts` are assumed."""
        one: web.Json = {"total": 1, "active": 1}
        return web.answer(
            {
                "id": int(USER),
                "email": EMAIL,
                "created": "2025-04-07T12:00:00.000Z",
                "name": "Sandbox",
                "subscriptionIsActive": True,
                "subscriptions": 1,
                "maxAccountsPerAPI": 3,
                "accounts": {
                    "Dreamina API": {"total": 2, "active": 2},
                    "Google Flow API": one,
                    "PixVerse API": one,
                },
                "verified": True,
                "sub": "261231",
            }
        )
