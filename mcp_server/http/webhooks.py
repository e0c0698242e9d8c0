"""What a vendor sends when a job has changed: a reason to read that job, and nothing else.

No token is asked for: the address itself was told to the vendor only.
"""

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.http.stopping import Stopping
from mcp_server.jobs.hooks import HOOK_PATH


class HookMiddleware:
    """Answers the vendor, where the settings ask for webhooks; the body is never read."""

    def __init__(self, app: ASGIApp, stopping: Stopping) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app, start = self._stopping.app, f"{HOOK_PATH}/"
        is_hook = scope["type"] == "http" and scope["path"].startswith(start)
        if not is_hook or app is None or not app.settings.webhooks:
            return await self._app(scope, receive, send)
        name, _, proof = scope["path"].removeprefix(start).partition("/")
        if scope["method"] != "POST":
            response: Response = PlainTextResponse(
                "The vendor calls it with POST.\n", 405, headers={"Allow": "POST"}
            )
        elif await app.all_jobs.notify(name, proof):
            response = Response(status_code=204)
        else:
            response = PlainTextResponse("Nothing is waited for here.\n", 404)
        return await response(scope, receive, send)
