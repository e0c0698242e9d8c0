"""The sandbox: an ASGI app that answers as the documents of api.useapi.net say, without a token.

It imports nothing of ours outside this package: a mistake in reading the documents would otherwise
be made once and shared by both sides, and no test would see it. It starts no threads, and takes the
time from its caller. It sends nothing by itself: a `replyUrl` is called where its caller gives it
the means to. A service is one module (or a package, where that gets long) and one line in
`VENDORS`.
"""

import contextlib
import re
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from itertools import groupby

from starlette.requests import Request
from starlette.routing import Router
from starlette.types import Message, Receive, Scope, Send

from mcp_server.sandbox import media, responses
from mcp_server.sandbox.account import USERS, Account, is_refused_by_the_edge, user_number
from mcp_server.sandbox.callbacks import Callbacks, Post
from mcp_server.sandbox.dreamina import Dreamina
from mcp_server.sandbox.google_flow.api import GoogleFlow
from mcp_server.sandbox.pixverse import PixVerse
from mcp_server.sandbox.state import Accepted, Conditions, SandboxState, Source, Vendor, Word

__all__ = [
    "SOURCES",
    "VENDORS",
    "WORDS",
    "Accepted",
    "Conditions",
    "Sandbox",
    "Source",
    "help_text",
]

VENDORS: tuple[type[Vendor], ...] = (Dreamina, GoogleFlow, PixVerse, Account)
SOURCES: tuple[Source, ...] = tuple(
    source
    for vendor in VENDORS
    for source in sorted(vendor.sources, key=lambda source: source.kind == "image")
)
WORDS: tuple[Word, ...] = tuple(word for vendor in VENDORS for word in vendor.words)

# `user:<digits>-<characters>` is the documented form of a token (auth.md, 2026). Assumed: the
# sandbox takes any, and the placeholders in the examples of the pages.
_TOKEN = re.compile(rb"Bearer (user:[0-9]+-[!-~]+|YOUR_API_TOKEN|API token|\xe2\x80\xa6)")


class Sandbox:
    """The whole API as an ASGI app.

    Args:
        job_seconds: how long a job takes.
        now: the time as epoch seconds.
        conditions: what a test decides about the vendor.
        post: sends a body to an address; None: no `replyUrl` is called.

    Attributes:
        accepted: every paid POST that made a job or did the work at once, in order. A repeat that
            Google Flow answers from its cache costs nothing and is not among them.
        requests: every request as (method, raw path with its query), in order.
    """

    def __init__(
        self,
        *,
        job_seconds: float = 3.0,
        now: Callable[[], float],
        conditions: Conditions = Conditions(),  # noqa: B008 - frozen
        post: Post | None = None,
    ) -> None:
        self._now = now
        if post is not None:
            callbacks = Callbacks(job_seconds, self._record, post)
            conditions = replace(conditions, on_accepted=callbacks.accepted)
        self._state = SandboxState(job_seconds=job_seconds, now=now, conditions=conditions)
        self.accepted = self._state.accepted
        self.requests: list[tuple[str, str]] = []
        self._routers: dict[int, Router] = {}  # by the user's number
        self._router_of(0)  # what is there from the start is as old as the sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._router_of(0)(scope, receive, send)
            return
        self.requests.append((scope["method"], _raw_target(scope)))
        send = self._dated(send)
        if not scope["path"].startswith("/media/") and not _has_token(scope):
            await responses.error(401, "Unauthorized")(scope, receive, send)
            return
        if is_refused_by_the_edge(Request(scope)):
            await responses.gateway_page(403)(scope, receive, send)
            return
        try:
            await self._router_of(user_number(Request(scope)))(scope, receive, send)
        except responses.RefusedError as refused:
            await refused.response(scope, receive, send)

    async def _record(self, work: Accepted) -> bytes:
        """The record of a job, as the vendor's own GET answers it."""
        kind = "images" if "/images" in work.path else "videos"
        if work.service == "google-flow":
            kind = "jobs"
        version = "v2" if work.service == "pixverse" else "v1"
        path = f"/{version}/{work.service}/{kind}/{work.job_id}"
        scope: Scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer API token")],
        }
        body, status = bytearray(), 0

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def keep(part: Message) -> None:
            nonlocal status
            status = part.get("status", status)
            body.extend(part.get("body", b""))

        for router in list(self._routers.values()):
            body.clear()
            with contextlib.suppress(responses.RefusedError):
                await router(scope, receive, keep)
            if status == 200:  # it is this user's job
                break
        return bytes(body)

    def _router_of(self, user: int) -> Router:
        """What answers a user: what others made is not there, and no id of theirs comes again."""
        if user not in self._routers:
            vendors = [vendor(self._state) for vendor in VENDORS]
            routes = [route for vendor in vendors for route in vendor.routes()]
            self._routers[user] = Router(
                [*routes, *media.routes(self._now)], redirect_slashes=False, default=_unknown_path
            )
        return self._routers[user]

    def _dated(self, send: Send) -> Send:
        """Answers with the `Date` that every server sends, by this one's clock."""

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = formatdate(self._now(), usegmt=True).encode()
                message = {**message, "headers": [*message["headers"], (b"date", date)]}
            await send(message)

        return dated


def help_text() -> str:
    """A list of every source id, prompt's word and user's number that shows something."""
    lines = [
        "Every clip and image shows the same scene in 16:9, as large and long as was asked.\n",
        "Ids the sandbox knows from the start (* = start here):",
    ]
    for (service, kind), sources in groupby(SOURCES, lambda source: (source.service, source.kind)):
        lines.append(f"\n{service}, {kind}")
        lines += [
            f"{'*' if source.good else ' '} {source.id}\n      {source.use}" for source in sources
        ]
    for service, words in groupby(WORDS, lambda word: word.service):
        lines.append(f"\n{service}, words in a prompt, or in the first bytes of an upload")
        lines += [f"  sandbox:{word.word}\n      {word.use}" for word in words]
    lines.append("\nTokens (any `user:<number>-<characters>` is right; these users are special)")
    lines += [f"  user:{number}-x\n      {what}" for number, what in USERS.items()]
    return "\n".join(lines) + "\n"


def _raw_target(scope: Scope) -> str:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


def _has_token(scope: Scope) -> bool:
    """Every page of 2026: `Authorization: Bearer {API token}`, else 401."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    return len(values) == 1 and _TOKEN.fullmatch(values[0]) is not None


async def _unknown_path(scope: Scope, receive: Receive, send: Send) -> None:
    """Not a JSON 404: see `responses.gateway_page`."""
    await responses.gateway_page()(scope, receive, send)
