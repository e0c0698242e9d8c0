"""`make oauth`: our server behind a certified OpenID provider, with the official clients.

The provider is npm's `oidc-provider`, the server a process of its own with the sandbox. Clients
find out by themselves where to log in, register, and call; then every wrong token is tried. Ends
with 1 if anything is not as it must be.
"""

import asyncio
import base64
import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider, TokenStorage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from pydantic import AnyUrl

from mcp_server.clock import Clock
from mcp_server.http.identity_provider import IdentityProvider
from tests.support.environments import NodeEnvironment
from tests.support.harness import GOOD
from tests.support.identity import BOTH_SCOPES, WRONG, Issuer, private_jwk
from tests.support.limits import LONGEST_S
from tests.support.serving import http_server, request

CLIENTS = Path(__file__).parent / "clients"
PROVIDER = NodeEnvironment("oidc-provider", ("oidc-provider@9.13.3",))
TYPESCRIPT = NodeEnvironment("typescript-sdk", ("@modelcontextprotocol/sdk@1.32.2",))
REDIRECT = "http://127.0.0.1:9/callback"  # nobody is there: the redirect is read, not followed
ROBOT = ("robot", "the-secret-of-the-robot")
SOURCE = GOOD["dreamina", "video"]
_KEYS_AGAIN_S = 31  # an unknown key makes the server look no more often
_VERIFICATIONS = 1000


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Kept(TokenStorage):
    """What the official client keeps of a log-in, in memory."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Browser:
    """Logs in as a user would, at the address that a client opens."""

    def __init__(self, user: str) -> None:
        self._user = user
        self._back: dict[str, list[str]] = {}
        self.opened: list[str] = []

    async def open(self, address: str) -> None:
        self.opened.append(address)
        async with httpx.AsyncClient(timeout=LONGEST_S) as http:
            while not address.startswith(REDIRECT):
                answer = await http.get(address)
                assert answer.is_redirect, f"{address} answered {answer.status_code}"
                address = urljoin(address, answer.headers["location"])
                if "/login/" in address:
                    address += f"?user={self._user}"
        self._back = parse_qs(urlsplit(address).query)

    async def back(self) -> AuthorizationCodeResult:
        assert "code" in self._back, self._back
        return AuthorizationCodeResult(**{name: values[0] for name, values in self._back.items()})


class Team:
    """The server, its provider, and what is tried on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._port = free_port()
        self.issuer = Issuer(time.time, issuer=f"http://127.0.0.1:{self._port}")
        self._said = folder / "provider"
        self.http = httpx.AsyncClient(timeout=LONGEST_S)

    @contextlib.contextmanager
    def server(self) -> Iterator[None]:
        """The server, and no provider yet."""
        port = free_port()
        origin = f"http://127.0.0.1:{port}"
        self.issuer.audience = f"{origin}/mcp"
        settings = {
            "USEAPI_PUBLIC_URL": origin,
            "USEAPI_OAUTH_ISSUER": self.issuer.issuer,
            "USEAPI_CALLS_PER_MINUTE": "100000",
        }
        with http_server(self.folder, "--port", str(port), **settings):
            yield

    @contextlib.contextmanager
    def provider(self, key: str) -> Iterator[None]:
        """The provider, signing with the key of this name."""
        given = {
            "port": self._port,
            "resource": self.issuer.audience,
            "key": {**private_jwk(key), "use": "sig", "alg": "RS256"},
            "scopes": BOTH_SCOPES,
        }
        script = shutil.copy(CLIENTS / "oauth_provider.mjs", PROVIDER.folder)
        with (
            self._said.open("w") as said,
            subprocess.Popen(
                [*PROVIDER.script(f"../{Path(script).name}"), json.dumps(given)],
                stdout=said,
                stderr=said,
            ) as process,
        ):
            try:
                while "ready" not in self._said.read_text():
                    assert process.poll() is None, self._said.read_text()
                    time.sleep(0.05)
                yield
            finally:
                process.terminate()

    @property
    def fetches(self) -> int:
        return self._said.read_text().count("keys were asked for")

    @property
    def url(self) -> str:
        return self.issuer.audience

    async def post(
        self, token: str | None, tool: str = "", *, query: str = "", twice: bool = False
    ) -> httpx.Response:
        """The answer to a call of a tool, or to a ping."""
        body = request("tools/call", name=tool, arguments={}) if tool else request("ping")
        headers = [("Accept", "application/json"), ("Mcp-Protocol-Version", "2025-11-25")]
        headers += [("Authorization", f"Bearer {token}")] * ((token is not None) + twice)
        return await self.http.post(self.url + query, json=body, headers=headers)

    async def ready(self) -> str:
        return (await self.http.get(self.url.removesuffix("/mcp") + "/readyz")).text

    async def robots_token(self, **form: str) -> str:
        """What the provider gives to who is no person."""
        answer = await self.http.post(
            f"{self.issuer.issuer}/token",
            auth=ROBOT,
            data={"grant_type": "client_credentials", **form},
        )
        return str(answer.raise_for_status().json()["access_token"])

    async def become_ready(self) -> None:
        deadline = time.monotonic() + LONGEST_S
        while (told := await self.ready()) != "ok\n":
            assert time.monotonic() < deadline, told
            await asyncio.sleep(0.2)


def claims_of(token: str) -> dict[str, Any]:
    """What a token says, not verified."""
    middle = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4))))


def check_login(address: str, token: str, team: Team, user: str) -> None:
    """A client asked for the right thing, and got a token for this server alone."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    assert asked["code_challenge_method"] == "S256", asked
    assert asked["resource"] == team.url, asked
    assert set(BOTH_SCOPES.split()) <= set(asked["scope"].split()), asked
    claims = claims_of(token)
    assert (claims["aud"], claims["sub"]) == (team.url, user), claims


async def without_a_provider(team: Team) -> None:
    assert await team.ready() == "not ready: keys\n"
    answer = await team.post(team.issuer.token())
    assert answer.status_code == 503, answer.text
    assert "retry-after" in answer.headers


async def python_client(team: Team, mode: Literal["auto", "legacy"], user: str) -> None:
    browser, kept = Browser(user), Kept()
    provider = OAuthClientProvider(
        server_url=team.url,
        client_metadata=OAuthClientMetadata(
            client_name="interop",
            redirect_uris=[AnyUrl(REDIRECT)],
            grant_types=["authorization_code", "refresh_token"],
            response_types=["code"],
        ),
        storage=kept,
        redirect_handler=browser.open,
        callback_handler=browser.back,
    )
    async with httpx2.AsyncClient(auth=provider, timeout=LONGEST_S) as http:
        transport = streamable_http_client(team.url, http_client=http)
        async with Client(transport, mode=mode) as client:
            listed = await client.call_tool("list_jobs", {})
            made = await client.call_tool("upscale_video", {"source": SOURCE, "max_credits": 50})
    assert not listed.is_error, listed
    assert not made.is_error, made
    assert kept.tokens is not None
    check_login(browser.opened[0], kept.tokens.access_token, team, user)


async def typescript_client(team: Team) -> None:
    script = Path(shutil.copy(CLIENTS / "oauth_client.mjs", TYPESCRIPT.folder))
    paid = ["upscale_video", {"source": SOURCE, "max_credits": 50}]
    given = {
        "url": team.url,
        "user": "bob",
        "redirect": REDIRECT,
        "tools": [["list_jobs", {}], paid],
    }
    process = await asyncio.create_subprocess_exec(
        *TYPESCRIPT.script(f"../{script.name}"),
        json.dumps(given),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), LONGEST_S)
    assert process.returncode == 0, errors.decode()[-2000:]
    told = json.loads(output)
    assert told["refused"] == "UnauthorizedError", told
    assert [False, False] == [answer["isError"] for answer in told["answers"]], told
    check_login(told["address"], told["token"], team, "bob")


async def robot(team: Team) -> None:
    token = await team.robots_token(scope=BOTH_SCOPES, resource=team.url)
    answer = await team.post(token, "list_jobs")
    assert answer.status_code == 200, answer.text


async def reader(team: Team) -> None:
    token = await team.robots_token(scope="jobs:read", resource=team.url)
    read, paid = await team.post(token, "list_jobs"), await team.post(token, "upscale_video")
    assert (200, 403) == (read.status_code, paid.status_code), paid.text
    assert 'error="insufficient_scope"' in paid.headers["www-authenticate"]
    assert 'scope="jobs:submit"' in paid.headers["www-authenticate"]


async def stranger(team: Team) -> None:
    answer = await team.post(None)
    assert answer.status_code == 401
    said = answer.headers["www-authenticate"]
    assert "error" not in said, said
    found = re.search(r'resource_metadata="([^"]+)"', said)
    assert found, said
    metadata = (await team.http.get(found[1])).json()
    assert metadata["resource"] == team.url, metadata
    assert metadata["authorization_servers"] == [team.issuer.issuer], metadata


async def providers_wrong_token(team: Team, **form: str) -> None:
    """A token that the provider itself gave, for something else."""
    await refused(team, await team.robots_token(**form))


async def refused(team: Team, token: str, why: str = "") -> None:
    answer = await team.post(token, "list_jobs")
    assert answer.status_code == 401, answer.text
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert why in answer.json()["error_description"], answer.text
    assert token not in answer.text


async def malformed(team: Team) -> None:
    token = team.issuer.token()
    for answer in (
        await team.post(token, twice=True),
        await team.post(None, query=f"?access_token={token}"),
    ):
        assert answer.status_code == 400, answer.text


async def unknown_keys(team: Team) -> None:
    await asyncio.sleep(_KEYS_AGAIN_S)
    before, began = team.fetches, time.monotonic()
    tokens = [team.issuer.token(key="mine", head={"kid": f"u{n}"}) for n in range(200)]
    statuses = {(await team.post(token)).status_code for token in tokens}
    assert statuses == {401}, statuses
    looks = 1 + int((time.monotonic() - began) / _KEYS_AGAIN_S)
    assert before < team.fetches <= before + looks, (before, team.fetches, looks)


async def nothing_said(team: Team) -> None:
    """No token, nor a part of one, is in the server's log."""
    log = (team.folder / "stderr").read_text()
    assert "Refused a token (401)" in log
    assert "eyJ" not in log, log  # how the header of every JWT begins
    assert "Traceback" not in log, log


async def provider_away(team: Team) -> None:
    answer = await team.post(team.issuer.token())
    assert answer.status_code == 200, answer.text


async def new_key(team: Team) -> None:
    await asyncio.sleep(_KEYS_AGAIN_S)
    answer = await team.post(team.issuer.token(key="k2"))
    assert answer.status_code == 200, answer.text
    await refused(team, team.issuer.token(key="k1"), "does not publish")


async def cost(team: Team) -> None:
    """Only printed: it is the machine's."""
    provider = IdentityProvider(team.issuer.issuer, team.url, Clock())
    token = team.issuer.token()
    await provider.verified(token)
    began = time.perf_counter()
    for _ in range(_VERIFICATIONS):
        await provider.verified(token)
    each_ms = (time.perf_counter() - began) * 1000 / _VERIFICATIONS
    print(f"  to verify a token (RS256) takes {each_ms:.2f} ms", flush=True)


Checks = list[tuple[str, Callable[[Team], Awaitable[None]]]]


def with_the_provider() -> Checks:
    return [
        ("who sends no token is told where to log in", stranger),
        ("Python client, 2026-07-28", lambda team: python_client(team, "auto", "alice")),
        ("Python client, 2025-11-25", lambda team: python_client(team, "legacy", "carol")),
        ("TypeScript client", typescript_client),
        ("a robot, by client_credentials", robot),
        ("a token that may only read", reader),
        (
            "refused: the provider's own token for another server",
            lambda team: providers_wrong_token(
                team, scope="jobs:read", resource="http://other.example/mcp"
            ),
        ),
        (
            "refused: the provider's own opaque token",
            lambda team: providers_wrong_token(team, scope="jobs:read"),
        ),
        *((f"refused: {name}", _wrong(name)) for name in WRONG),
        ("refused: two tokens, or one in the address", malformed),
        ("200 unknown keys make the server look once", unknown_keys),
        ("the log holds no token", nothing_said),
        ("what it costs", cost),
    ]


def _wrong(name: str) -> Callable[[Team], Awaitable[None]]:
    made, why = WRONG[name]
    return lambda team: refused(team, made(team.issuer), why)


class Tally:
    """Runs checks, and counts what came of them."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    async def run(self, team: Team, checks: Checks) -> None:
        for name, check in checks:
            began = time.monotonic()
            try:
                await check(team)
            except (
                AssertionError,
                KeyError,
                OSError,
                httpx.HTTPError,
                BaseExceptionGroup,
            ) as error:
                self.failed += 1
                print(f"{name:60} FAILED: {type(error).__name__}: {error}", flush=True)
            else:
                self.passed += 1
                print(f"{name:60} ok ({time.monotonic() - began:.1f} s)", flush=True)


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Team]:
    team = Team(folder)
    with team.server():
        async with team.http:
            yield team


async def main() -> int:
    PROVIDER.make()
    TYPESCRIPT.make()
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder)) as team:
            await tally.run(team, [("without its provider it is not ready", without_a_provider)])
            with team.provider("k1"):
                await team.become_ready()
                await tally.run(team, with_the_provider())
            await tally.run(team, [("the provider is away, its keys are known", provider_away)])
            with team.provider("k2"):
                await tally.run(team, [("a new key is taken, the old one given up", new_key)])
    print(f"oauth: {tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
