"""Who calls: tokens of an identity provider and of users, what each may do, and how often."""

import asyncio
import contextlib
import json
import logging
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import httpx2
import jwt
import pytest
from jwt.utils import base64url_encode
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.types import ElicitResult
from starlette.types import ASGIApp, Message

from mcp_server.clock import Clock
from mcp_server.errors import JournalBusyError
from mcp_server.http.app import http_app
from mcp_server.http.auth import user_id
from mcp_server.http.identity_provider import IdentityProvider, metadata_addresses
from mcp_server.http.rate_limit import RateLimit
from mcp_server.http.stopping import Stopping
from mcp_server.metrics import Metrics
from mcp_server.models import Caller
from mcp_server.sandbox.app import Sandbox
from mcp_server.server.factory import create_server
from mcp_server.settings import Settings
from mcp_server.tools.context import AppContext, current_caller
from mcp_server.tools.registry import all_tools
from tests.support.harness import EPOCH, GOOD, TOKEN, Network, VirtualClock
from tests.support.identity import (
    AUDIENCE,
    BOTH_SCOPES,
    ISSUER,
    METADATA,
    PUBLIC_URL,
    WRONG,
    Issuer,
    jwk,
    private_jwk,
    private_key,
)
from tests.support.serving import request

OPERATOR = "a-token-of-the-operator"
METADATA_URL = f"{PUBLIC_URL}/.well-known/oauth-protected-resource/mcp"
SUBMITTING = [
    "upscale_video",
    "interpolate_video",
    "upscale_image",
    "generate_video",
    "generate_image",
    "cancel_job",
]
READING = ["get_job", "list_jobs", "list_media", "download_media", "check_accounts"]
USERS = {
    "useapi-mcp-user_bob": Caller(user="hash-of-bob"),
    "useapi-mcp-user_carol": Caller(user="hash-of-carol", may_submit=False),
}


async def find_user(token: str) -> Caller | None:
    """What the journal knows, in short."""
    if token == "useapi-mcp-user_away":
        raise JournalBusyError(message="The database is away.", hint="Call again.")
    return USERS.get(token)


@dataclass
class Team:
    """A server with an identity provider, in memory."""

    http: httpx.AsyncClient
    issuer: Issuer
    app: ASGIApp
    seen: list[Any]
    """What each tool that was called saw: its caller, its headers and its own name."""

    async def post(
        self,
        token: str | None,
        body: dict[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """The answer to a message, of a client of 2025-11-25."""
        given = {
            "Accept": "application/json",
            "Mcp-Protocol-Version": "2025-11-25",
            **(headers or {}),
        }
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        return await self.http.post("/mcp", json=body or request("ping"), headers=given)

    async def call(self, token: str | None, tool: str) -> httpx.Response:
        return await self.post(token, request("tools/call", name=tool, arguments={}))

    @contextlib.asynccontextmanager
    async def client(self, token: str, mode: Any, **options: Any) -> AsyncIterator[Client]:
        """The official client, with this token."""
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.app), headers=headers
        ) as http:
            transport = streamable_http_client(AUDIENCE, http_client=http)
            async with Client(transport, mode=mode, **options) as client:
                yield client

    async def ready(self) -> tuple[int, str]:
        answer = await self.http.get("/readyz")
        return answer.status_code, answer.text


class Ready(Stopping):
    """Knows of no reason not to be ready: there is no journal here."""

    async def why_not_ready(self) -> str | None:
        return None


@contextlib.asynccontextmanager
async def team(
    issuer: Issuer | None = None,
    *,
    server: MCPServer[AppContext] | None = None,
    calls_per_minute: int = 1000,
    **options: Any,
) -> AsyncIterator[Team]:
    """A server whose tools only say who calls them, with the names of ours, or the one given."""
    clock, seen = VirtualClock(), list[Any]()
    issuer = issuer or Issuer(clock.now)
    if server is None:
        server = MCPServer("team")

        def named(tool: str) -> Callable[..., Any]:
            async def who(ctx: Context[Any]) -> str:
                seen.append((current_caller(), dict(ctx.headers or {}), tool))
                return current_caller().user

            return who

        for name in [*SUBMITTING, *READING]:
            server.tool(name)(named(name))
    given: dict[str, Any] = {
        "token": OPERATOR,
        "find_user": find_user,
        "provider": IdentityProvider(ISSUER, AUDIENCE, clock, issuer.transport),
        **options,
    }
    app = http_app(
        server,
        stopping=Ready(Clock(), None),
        metrics=Metrics(),
        allowed_hosts=frozenset({"mcp.example.com"}),
        public_url=PUBLIC_URL,
        limit=RateLimit(calls_per_minute),
        **given,
    )
    transport = httpx.ASGITransport(app)
    async with (
        started(app),
        httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL) as http,
    ):
        yield Team(http, issuer, app, seen)


@contextlib.asynccontextmanager
async def started(app: ASGIApp) -> AsyncIterator[None]:
    """The app between its start and its stop, as uvicorn has it."""
    inbox, outbox = asyncio.Queue[Message](), asyncio.Queue[Message]()
    running = asyncio.ensure_future(app({"type": "lifespan"}, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    assert (await outbox.get())["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        await running


def challenge(answer: httpx.Response) -> dict[str, str]:
    """What `WWW-Authenticate` says."""
    scheme, _, rest = answer.headers["www-authenticate"].partition(" ")
    assert scheme == "Bearer"
    return dict(re.findall(r'(\w+)="([^"]*)"', rest))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_tool_knows_whose_token_it_was_and_never_sees_the_token(mode: Any) -> None:
    async with team() as here:
        token = here.issuer.token("alice")
        async with here.client(token, mode) as client:
            answer = await client.call_tool("upscale_video", {})

    (caller, headers, _) = here.seen[0]
    assert Caller(user=user_id(ISSUER, "alice"), may_submit=True) == caller
    assert answer.structured_content == {"result": caller.user}
    assert "authorization" not in headers
    assert token not in str(headers)


async def test_users_are_told_apart_by_issuer_and_subject_and_the_operator_is_none() -> None:
    async with team() as here:
        tokens = [here.issuer.token(name) for name in ("alice", "bob", "alice")]
        for token in [*tokens, *USERS, OPERATOR]:
            assert (await here.call(token, "list_jobs")).status_code == 200
    callers = [caller for caller, _, _ in here.seen]

    assert callers[0] == callers[2] != callers[1]
    assert callers[3:] == [*USERS.values(), Caller()]
    assert user_id("https://a.example.com", "b") != user_id("https://a.example.co", "mb")
    assert "alice" not in callers[0].user


async def test_metadata_is_found_at_both_paths_letter_by_letter() -> None:
    async with team() as here:
        answers = [
            await here.http.get(path)
            for path in (
                "/.well-known/oauth-protected-resource",
                "/.well-known/oauth-protected-resource/mcp",
            )
        ]
        elsewhere = await here.http.get("/.well-known/oauth-authorization-server")
        posted = await here.http.post("/.well-known/oauth-protected-resource", json=request("ping"))

    for answer in answers:
        assert answer.json() == {
            "resource": AUDIENCE,
            "authorization_servers": [ISSUER],
            "scopes_supported": ["jobs:read", "jobs:submit"],
            "bearer_methods_supported": ["header"],
            "resource_name": "useapi-mcp",
        }
    assert [404, 405] == [elsewhere.status_code, posted.status_code]


async def test_any_page_may_read_the_metadata_and_no_foreign_page_more() -> None:
    page = {"Origin": "https://inspector.example.net"}
    asks = page | {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "mcp-protocol-version",
    }
    async with team() as here:
        path = "/.well-known/oauth-protected-resource/mcp"
        preflight = await here.http.options(path, headers=asks)
        answer = await here.http.get(path, headers=page)
        rebound = await here.http.get(path, headers={"Host": "evil.example.net"})
        call = await here.post(here.issuer.token(), headers=page)

    assert "mcp-protocol-version" in preflight.headers["access-control-allow-headers"]
    assert "*" == answer.headers["access-control-allow-origin"]
    assert [200, 200, 421, 403] == [each.status_code for each in (preflight, answer, rebound, call)]


async def test_who_sends_no_token_is_told_where_to_log_in_and_of_no_error() -> None:
    async with team() as here:
        answers = [await here.post(None), await here.http.get("/mcp")]

    for answer in answers:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == (
            f'Bearer resource_metadata="{METADATA_URL}", scope="{BOTH_SCOPES}"'
        )
        assert answer.json().keys() == {"error", "error_description"}


NOW = int(EPOCH)


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_token_is_refused_with_one_sentence_that_says_why(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    made, why = WRONG[name]
    async with team() as here:
        token = made(here.issuer)
        answer = await here.call(token, "list_jobs")

    sentence = answer.json()["error_description"]
    assert (401, "invalid_token") == (answer.status_code, answer.json()["error"])
    assert why in sentence
    assert sentence.endswith(".")
    assert sentence.count(". ") == 0
    assert challenge(answer) == {
        "error": "invalid_token",
        "error_description": sentence,
        "resource_metadata": METADATA_URL,
        "scope": BOTH_SCOPES,
    }
    assert [] == here.seen
    assert token not in answer.text + caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("key", "algorithm"), [("rsa", "RS256"), ("rsa", "PS256"), ("ec", "ES256"), ("okp", "EdDSA")]
)
@pytest.mark.parametrize("typ", ["at+jwt", "JWT", "application/AT+JWT", None])
async def test_a_token_signed_by_any_kind_of_key_is_taken(
    key: Any, algorithm: str, typ: str | None
) -> None:
    clock = VirtualClock()
    issuer = Issuer(clock.now, keys=[jwk("1", key), jwk("k1")])
    async with team(issuer) as here:
        token = issuer.token(key="1", kind=key, algorithm=algorithm, head={"typ": typ})
        answer = await here.post(token)

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW - 50},
        {"nbf": NOW + 50},
        {"aud": ["https://other.example.com", AUDIENCE]},
        {"iat": NOW + 1000, "jti": "1"},
        {"scope": None, "scp": BOTH_SCOPES},
        {"scope": None, "scp": BOTH_SCOPES.split()},
        {"client_id": None},
        {"client_id": "\ud800", "scope": None, "scp": ["\ud800", "jobs:submit"]},
        {"sub": "\ud800"},
        {"scope": f"openid {BOTH_SCOPES}"},
    ],
)
async def test_what_issuers_write_in_different_ways_is_taken(claims: dict[str, Any]) -> None:
    async with team() as here:
        answer = await here.call(here.issuer.token(**claims), "upscale_video")

    assert answer.status_code == 200


async def test_two_tokens_or_one_in_the_address_are_no_request_at_all() -> None:
    async with team() as here:
        token = here.issuer.token()
        one = ("Authorization", f"Bearer {token}")
        answers = [
            await here.http.post("/mcp", json=request("ping"), headers=[one, one]),
            await here.http.post(
                "/mcp", json=request("ping"), headers=[one, ("Authorization", f"Bearer {OPERATOR}")]
            ),
            await here.http.post(f"/mcp?access_token={token}", json=request("ping")),
            await here.http.post("/mcp?access_token=", json=request("ping"), headers=[one]),
        ]

    for answer in answers:
        assert (400, "invalid_request") == (answer.status_code, answer.json()["error"])
        assert challenge(answer)["error"] == "invalid_request"
        assert token not in answer.text


async def test_another_scheme_is_no_token() -> None:
    async with team() as here:
        answer = await here.post(None, headers={"Authorization": f"Basic {here.issuer.token()}"})

    assert answer.status_code == 401
    assert "error" not in challenge(answer)


@pytest.mark.parametrize("tool", SUBMITTING)
async def test_a_token_that_may_only_read_does_not_pay_and_does_not_cancel(tool: str) -> None:
    """The body counts: what `Mcp-Name` says proves nothing."""
    lies = {"Mcp-Name": "list_jobs", "Mcp-Method": "tools/list"}
    body = request("tools/call", name=tool, arguments={})
    async with team() as here:
        token = here.issuer.token(scope="jobs:read")
        answers = [await here.post(token, body, headers) for headers in ({}, lies)]

    for answer in answers:
        assert (403, "insufficient_scope") == (answer.status_code, answer.json()["error"])
        assert challenge(answer)["scope"] == "jobs:submit"
        assert challenge(answer)["resource_metadata"] == METADATA_URL
    assert [] == here.seen


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
@pytest.mark.parametrize(
    "names",
    [
        '"name":"list_jobs","name":"upscale_video"',
        '"name":"upscale_video","name":"list_jobs"',
        '"name":"upscale\\u005fvideo"',
        '"name":"list_jobs"},"params":{"name":"upscale_video"',
    ],
)
async def test_what_is_checked_is_what_is_called(version: str, names: str) -> None:
    """Of a name that is written twice, or in another way, both read the same."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    about = f'"arguments":{{}},"_meta":{json.dumps(meta)}'
    body = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{about},{names},{about}}}}}'
    async with team() as here:
        for token in (here.issuer.token(scope="jobs:read"), here.issuer.token()):
            for name in ("list_jobs", "upscale_video"):
                headers = {
                    "Authorization": f"Bearer {token}",
                    "Accept": "application/json",
                    "Content-Type": "application/json",
                    "Mcp-Protocol-Version": version,
                    "Mcp-Method": "tools/call",
                    "Mcp-Name": name,
                }
                await here.http.post("/mcp", content=body, headers=headers)

    called = {(caller.may_submit, tool) for caller, _, tool in here.seen}
    assert (False, "upscale_video") not in called
    assert called


@pytest.mark.parametrize("name", [["upscale_video"], {"upscale_video": 1}, 7, None])
async def test_a_tools_name_that_is_no_text_names_no_tool(name: Any) -> None:
    body = request("tools/call", name=name, arguments={})
    async with team() as here:
        answers = [
            await here.post(here.issuer.token(scope=scope), body)
            for scope in ("jobs:read", BOTH_SCOPES)
        ]

    for answer in answers:
        assert (200, -32602) == (answer.status_code, answer.json()["error"]["code"])
    assert [] == here.seen


async def test_a_question_to_one_user_is_not_answered_by_another(tmp_path: Path) -> None:
    clock = VirtualClock()
    sandbox = Sandbox(job_seconds=3.0, now=clock.now)
    settings = Settings.read({"USEAPI_TOKEN": TOKEN, "USEAPI_STATE_DIR": str(tmp_path)})
    network = Network(sandbox)
    server = create_server(settings, clock=clock, transport=network, request_state_keys=[b"k" * 32])
    given = {"source": GOOD["google-flow", "video"], "resolution": "4K"}
    yes = ElicitResult(action="accept", content={"confirm": True})

    async def never(*_: object) -> ElicitResult:
        raise AssertionError

    async with team(server=server) as here:
        codes: list[Any] = []
        alice = here.client(here.issuer.token("alice"), "auto", elicitation_callback=never)
        async with alice as client:
            asked: Any = await client.session.call_tool(
                "upscale_video", given, allow_input_required=True
            )
            [name] = asked.input_requests
        for user in ("bob", "alice"):
            token = here.issuer.token(user)
            async with here.client(token, "auto", elicitation_callback=never) as client:
                try:
                    answer = await client.session.call_tool(
                        "upscale_video",
                        given,
                        input_responses={name: yes},
                        request_state=asked.request_state,
                    )
                    codes.append(bool(answer.is_error))
                except MCPError as error:
                    codes.append(error.error.code)

    assert [-32602, False] == codes
    assert 1 == sum(request.method == "POST" for request in network.sent)


async def test_what_may_only_be_read_may_be_read() -> None:
    async with team() as here:
        token = here.issuer.token(scope="jobs:read")
        calls = [await here.call(token, tool) for tool in READING]
        listed = await here.post(token, request("tools/list"))
        cancelled = await here.post(token, request("tasks/cancel", taskId="1"))

    assert [200] * len(READING) == [answer.status_code for answer in calls]
    assert [200, 403] == [listed.status_code, cancelled.status_code]
    assert {False} == {caller.may_submit for caller, _, _ in here.seen}


def test_every_tool_is_one_that_submits_or_one_that_reads() -> None:
    """A new one is a decision."""
    assert {*SUBMITTING, *READING} == {tool.name for tool in all_tools()}


@pytest.mark.parametrize("scope", ["", "openid profile", "jobs:submit2 xjobs:read", None, 7, [1]])
async def test_a_token_for_something_else_of_the_issuers_is_refused(scope: Any) -> None:
    async with team() as here:
        token = here.issuer.token(scope=scope)
        answers = [await here.post(token), await here.call(token, "list_jobs")]

    for answer in answers:
        assert answer.status_code == 403
        assert challenge(answer)["scope"] == BOTH_SCOPES


async def test_who_may_submit_may_read() -> None:
    async with team() as here:
        token = here.issuer.token(scope="jobs:submit")
        answers = [await here.call(token, tool) for tool in ("list_jobs", "upscale_video")]

    assert [200, 200] == [answer.status_code for answer in answers]


async def test_while_the_users_can_not_be_looked_up_nobody_is_called_a_stranger() -> None:
    async with team() as here:
        answer = await here.post("useapi-mcp-user_away")

    assert (503, "5") == (answer.status_code, answer.headers["retry-after"])
    assert answer.json()["error"] == "temporarily_unavailable"


async def test_without_a_provider_a_user_is_asked_for_his_token_as_the_operator_is() -> None:
    async with team(provider=None) as here:
        known = await here.post("useapi-mcp-user_bob")
        signed = await here.post(here.issuer.token())
        metadata = await here.http.get("/.well-known/oauth-protected-resource/mcp")

    assert [200, 401, 404] == [answer.status_code for answer in (known, signed, metadata)]
    assert signed.headers["www-authenticate"] == 'Bearer realm="useapi-mcp"'


async def test_a_user_of_ours_who_may_only_read_is_refused_by_the_tool_in_words() -> None:
    """There is no wider token to log in for, and of a 403 an agent reads nothing."""
    async with team() as here:
        answer = await here.call("useapi-mcp-user_carol", "upscale_video")

    assert answer.status_code == 200
    assert {False} == {caller.may_submit for caller, _, _ in here.seen}


async def test_who_guesses_is_slowed_down_and_who_is_signed_for_is_not() -> None:
    async with team() as here:
        loop = asyncio.get_running_loop()
        waits = []
        for token in ["guess"] * 11 + [here.issuer.token(exp=NOW - 61)] * 2:
            began = loop.time()
            await here.post(token)
            waits.append(loop.time() - began)

    assert [0] * 9 + [1] * 2 + [0] * 2 == waits


async def test_however_many_unknown_keys_are_named_the_issuer_is_asked_every_30_s() -> None:
    async with team() as here:
        forged = [here.issuer.token(key="mine", head={"kid": f"u{n}"}) for n in range(100)]
        statuses = {answer.status_code for answer in await asyncio.gather(*map(here.post, forged))}
        first = here.issuer.fetches
        for token in forged[:5]:
            await asyncio.sleep(10)
            await here.post(token)

    assert statuses == {401}
    assert first == 1
    assert here.issuer.fetches == 2


async def test_a_new_key_is_taken_at_once_and_an_old_one_is_given_up() -> None:
    async with team() as here:
        old = here.issuer.token(exp=NOW + 3600)
        before = await here.post(old)
        await asyncio.sleep(31)
        here.issuer.keys = [jwk("k2")]
        still = await here.post(old)  # nothing has made it look yet
        new = await here.post(here.issuer.token(key="k2"))
        gone = await here.post(old)

    assert [200, 200, 200, 401] == [each.status_code for each in (before, still, new, gone)]


async def test_a_key_that_is_taken_back_is_refused_after_ten_minutes() -> None:
    async with team() as here:
        token = here.issuer.token(exp=NOW + 3600)
        before = await here.post(token)
        here.issuer.keys = [jwk("k2")]
        await asyncio.sleep(600)
        after = await here.post(token)

    assert [200, 401] == [before.status_code, after.status_code]


async def test_a_server_starts_without_its_issuer_and_says_so_until_it_is_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with team() as here:
        here.issuer.is_down = True
        at_first = await here.ready()
        call = await here.post(here.issuer.token())
        operators = await here.post(OPERATOR)
        here.issuer.is_down = False
        await asyncio.sleep(5)
        later = await here.ready()
        known = await here.post(here.issuer.token())

    assert (503, "not ready: keys\n") == at_first
    assert (503, "5") == (call.status_code, call.headers["retry-after"])
    assert "www-authenticate" not in call.headers
    assert (200, "ok\n") == later
    assert [200, 200] == [operators.status_code, known.status_code]
    assert "can't be read" in caplog.text
    assert "USEAPI_OAUTH_ISSUER" in caplog.text


async def test_known_keys_are_used_on_while_the_issuer_is_away() -> None:
    async with team() as here:
        await here.post(here.issuer.token())
        here.issuer.is_down = True
        await asyncio.sleep(4000)
        known = await here.post(here.issuer.token())
        unknown = await here.post(here.issuer.token(key="k2"))
        ready = await here.ready()

    assert [200, 503] == [known.status_code, unknown.status_code]
    assert ready[0] == 200


class Slow(httpx.AsyncBaseTransport):
    """A network on which every answer takes so long."""

    def __init__(self, issuer: Issuer, seconds: float) -> None:
        self._inner = issuer.transport
        self.seconds = seconds

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(self.seconds)
        return await self._inner.handle_async_request(request)


async def test_all_who_need_the_keys_wait_for_one_look_and_one_who_leaves_takes_nothing() -> None:
    clock = VirtualClock()
    issuer = Issuer(clock.now)
    provider = IdentityProvider(ISSUER, AUDIENCE, clock, Slow(issuer, 1))
    async with team(issuer, provider=provider) as here:
        first = asyncio.create_task(here.post(issuer.token()))
        others = [asyncio.create_task(here.post(issuer.token(f"{n}"))) for n in range(20)]
        await asyncio.sleep(0.5)
        first.cancel()
        answers = await asyncio.gather(*others)

    assert {200} == {answer.status_code for answer in answers}
    assert issuer.fetches == 1


async def test_a_probe_and_a_call_do_not_wait_for_ever_for_an_issuer_that_hangs() -> None:
    clock = VirtualClock()
    issuer = Issuer(clock.now)
    provider = IdentityProvider(ISSUER, AUDIENCE, clock, Slow(issuer, 3600))
    async with team(issuer, provider=provider) as here:
        loop = asyncio.get_running_loop()
        began = loop.time()
        status, _ = await here.ready()
        probed = loop.time()
        call = await here.post(issuer.token())
        ended = loop.time()

    assert [503, 503] == [status, call.status_code]
    assert probed - began == pytest.approx(2)
    assert ended - began == pytest.approx(10)


@pytest.mark.parametrize(
    ("issuer", "addresses"),
    [
        (
            "https://login.example.com",
            ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"],
        ),
        (
            "https://login.example.com/",
            ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"],
        ),
        (
            "https://login.example.com/a/b/",
            [
                "/.well-known/oauth-authorization-server/a/b",
                "/.well-known/openid-configuration/a/b",
                "/a/b/.well-known/openid-configuration",
            ],
        ),
    ],
)
async def test_an_issuers_metadata_is_found_in_every_form_there_is(
    issuer: str, addresses: list[str]
) -> None:
    found = []
    for path in addresses:
        clock = VirtualClock()
        told = {"issuer": issuer, "jwks_uri": "https://login.example.com/keys"}
        here = Issuer(clock.now, issuer=issuer, metadata={path: told})
        provider = IdentityProvider(issuer, AUDIENCE, clock, here.transport)
        found.append(await provider.has_keys(5))

    assert [True] * len(addresses) == found
    assert [f"https://login.example.com{path}" for path in addresses] == [
        *metadata_addresses(issuer)
    ]


RSA_1024 = {"kty": "RSA", "n": base64url_encode(b"\xc5" * 128).decode(), "e": "AQAB", "kid": "k1"}
KEYS = "https://login.example.com/keys"
UNREADABLE: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "another issuer's": ({METADATA: {"issuer": f"{ISSUER}/", "jwks_uri": KEYS}}, [jwk("k1")]),
    "no issuer": ({METADATA: {"jwks_uri": KEYS}}, [jwk("k1")]),
    "keys over http": (
        {METADATA: {"issuer": ISSUER, "jwks_uri": KEYS.replace("https", "http")}},
        [jwk("k1")],
    ),
    "keys in a file": (
        {METADATA: {"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"}},
        [jwk("k1")],
    ),
    "no keys": ({METADATA: {"issuer": ISSUER}}, [jwk("k1")]),
    "keys that are not there": (
        {METADATA: {"issuer": ISSUER, "jwks_uri": f"{KEYS}2"}},
        [jwk("k1")],
    ),
    "a list": ({METADATA: ["https"]}, []),
    "an empty set": ({}, []),
    "keys that are none": ({}, [None, 1, {}, {"kid": "k1"}, {"kid": "k1", "kty": ["RSA"]}]),
    "a secret key": ({}, [{"kty": "oct", "kid": "k1", "k": "AAAA"}]),
    "a private key": ({}, [{**jwk("k1"), **private_jwk("k1")}]),
    "a key to encrypt with": ({}, [jwk("k1", use="enc")]),
    "a key that does not verify": ({}, [jwk("k1", key_ops=["encrypt"])]),
    "a key for RS512": ({}, [jwk("k1", alg="RS512")]),
    "a short key": ({}, [RSA_1024]),
    "a broken key": ({}, [jwk("k1", n=5), jwk("k1", n="!"), jwk("k1", e="")]),
    "a key without a name": ({}, [jwk("k1", kid=None), jwk("k1", kid=1)]),
}


@pytest.mark.parametrize("name", UNREADABLE)
async def test_keys_that_can_not_be_trusted_are_none(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    metadata, keys = UNREADABLE[name]
    clock = VirtualClock()
    issuer = Issuer(clock.now, metadata=metadata, keys=keys)
    async with team(issuer) as here:
        answer = await here.post(issuer.token())
        ready = await here.ready()

    assert [503, 503] == [answer.status_code, ready[0]]
    assert f"The keys of {ISSUER} (USEAPI_OAUTH_ISSUER) can't be read: " in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(302, headers={"Location": "http://login.example.com/keys"}),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, content=b"[" * 100_000),
        httpx.Response(200, content=b" " * 600_000),
        httpx.Response(500),
    ],
)
async def test_an_answer_that_is_no_metadata_is_none(answer: httpx.Response) -> None:
    transport = httpx.MockTransport(lambda _: answer)
    provider = IdentityProvider(ISSUER, AUDIENCE, VirtualClock(), transport)

    assert not await provider.has_keys(5)


async def test_a_proxy_that_can_not_be_used_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://proxy.example.com")

    assert not await IdentityProvider(ISSUER, AUDIENCE, VirtualClock()).has_keys(5)
    assert "a proxy or a CA file of the environment can't be used" in caplog.text


async def test_a_user_who_calls_too_often_waits_and_nobody_else_does() -> None:
    async with team(calls_per_minute=120) as here:
        token = here.issuer.token("alice", exp=NOW + 3600)
        at_once = [(await here.post(token)).status_code for _ in range(121)]
        refused = await here.call(token, "upscale_video")
        others = [
            (await here.post(other)).status_code
            for other in (here.issuer.token("bob"), "useapi-mcp-user_bob", OPERATOR)
        ]
        await asyncio.sleep(1)
        a_second_later = [(await here.post(token)).status_code for _ in range(3)]

    assert [200] * 120 + [429] == at_once
    assert (429, "1") == (refused.status_code, refused.headers["retry-after"])
    assert refused.json() == {
        "error": "too_many_requests",
        "error_description": "Too many requests; the next one is taken in 1 s.",
    }
    assert [200, 200, 200] == others
    assert [200, 200, 429] == a_second_later
    assert [] == here.seen


async def test_one_user_does_not_take_all_connections_with_requests_that_stay_open() -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = request("subscriptions/listen", notifications={"toolsListChanged": True}, _meta=meta)
    headers = {"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen"}
    headers["Accept"] = "text/event-stream"
    async with team(calls_per_minute=3) as here:
        token = here.issuer.token("bob", exp=NOW + 3600)
        open_ones = [asyncio.create_task(here.post(token, body, headers)) for _ in range(3)]
        await asyncio.sleep(300)
        assert not any(each.done() for each in open_ones)
        refused = await here.post(token)
        others = await here.post(here.issuer.token("alice", exp=NOW + 3600))
        open_ones[0].cancel()
        await asyncio.sleep(60)
        served = await here.post(token)
        for each in open_ones:
            each.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)

    assert (429, "5") == (refused.status_code, refused.headers["retry-after"])
    assert "3 of yours are still open" in refused.json()["error_description"]
    assert [200, 200] == [others.status_code, served.status_code]


async def test_the_operator_may_call_as_often_as_he_likes() -> None:
    async with team(calls_per_minute=1) as here:
        statuses = {(await here.post(OPERATOR)).status_code for _ in range(5)}

    assert statuses == {200}


def test_who_has_been_silent_for_a_minute_is_forgotten() -> None:
    limit = RateLimit(60)
    for n in range(5000):
        limit.wait_s(f"user-{n}", now=0.0)
    for _ in range(30):  # the first of them goes on, and keeps nobody else
        limit.wait_s("user-0", now=0.5)
    limit.wait_s("late", now=10.0)

    assert len(limit) == 2


def test_however_many_users_come_in_a_minute_memory_is_bounded() -> None:
    limit = RateLimit(1)
    for n in range(30_000):
        limit.wait_s(f"user-{n}", now=0.0)

    assert len(limit) == 10_000
    assert limit.wait_s("user-29999", now=0.0) == pytest.approx(60)


async def test_what_is_refused_is_logged_once_a_minute_with_the_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with team() as here:
        for _ in range(3):
            await here.post(here.issuer.token(aud="https://other.example.com"))

    lines = [record.getMessage() for record in caplog.records if "Refused" in record.getMessage()]
    why = f"The token was issued for another server: its `aud` must be {AUDIENCE}."
    assert [f"Refused a token (401): {why}"] == lines


def test_nobody_without_an_issuer_pays_for_the_library() -> None:
    program = (
        "import sys, mcp_server.http.serve, mcp_server.cli.main;"
        "print(sorted({'jwt', 'cryptography.x509'} & sys.modules.keys()))"
    )

    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True
    )

    assert said.stdout == "[]\n"


def test_the_test_signs_as_others_do() -> None:
    """A right token of the tests is right for the library alone."""
    issuer = Issuer(lambda: EPOCH)
    public = private_key("k1").public_key()

    claims = jwt.decode(
        issuer.token(),
        public,
        algorithms=["RS256"],
        audience=AUDIENCE,
        options={"verify_exp": False, "verify_iat": False},
    )

    assert claims["sub"] == "alice"
