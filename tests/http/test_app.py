"""HTTP app: who may use it, and that one client's request never touches another's."""

import asyncio
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import MCPError
from mcp.types import ElicitResult
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_server.clock import Clock
from mcp_server.http.app import (
    BearerTokenMiddleware,
    CompletingMiddleware,
    HostMiddleware,
    request_state_key,
)
from mcp_server.http.stopping import Stopping
from mcp_server.sandbox import media
from mcp_server.server.lines import LONGEST_LINE_BYTES
from mcp_server.server.tasks import IDENTIFIER
from tests.support.harness import GOOD
from tests.support.limits import LONGEST_S
from tests.support.serving import Served, http_server, message, request, result

TOKEN = "a-token-of-our-own"
PAGE = "https://app.example.com"
Headers = list[tuple[str, str]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests here: whatever they do to it, it goes on."""
    options = ("--allowed-origin", PAGE)
    with http_server(tmp_path_factory.mktemp("http"), *options) as served:
        yield served


def era_headers(version: str, method: str, name: str) -> dict[str, str]:
    """What a client of this era says in its headers."""
    modern = {"Mcp-Method": method, "Mcp-Name": name} if version > "2026" else {}
    return {"Mcp-Protocol-Version": version, **modern}


def with_era(version: str, body: dict[str, Any]) -> dict[str, Any]:
    """A request as a client of this era sends it."""
    if version > "2026":
        body["params"]["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    return body


async def status_of(
    app: ASGIApp,
    headers: Headers,
    *,
    path: str = "/mcp",
    server: tuple[str, int | None] = ("127.0.0.1", 8000),
) -> int:
    """The status of the answer to a request."""
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(part: Message) -> None:
        if part["type"] == "http.response.start":
            statuses.append(part["status"])

    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "server": server,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    await app(scope, receive, send)
    return statuses[0]


async def allowed(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("in", status_code=200)(scope, receive, send)


def host_check(hosts: set[str] | None = None, origins: set[str] | None = None) -> HostMiddleware:
    return HostMiddleware(allowed, frozenset(hosts or ()), frozenset(origins or ()))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8000", "localhost:8000", "LOCALHOST:8000", "[::1]:8000", "mcp.example.com", "a:1"],
)
async def test_a_host_on_the_list_and_this_machine_are_served(host: str) -> None:
    check = host_check({"MCP.example.com", "a:1"})

    assert await status_of(check, [("host", host)]) == 200


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:x.evil.com",  # passes the SDK's own pattern `127.0.0.1:*`, a prefix match
        "127.0.0.1:8000.evil.com",
        "127.0.0.1:8000@evil.com",
        "127.0.0.1:8001",
        "127.0.0.1:",
        "127.0.0.1",
        "127.0.0.1 :8000",
        "127.0.0.2:8000",
        "127.1:8000",
        "2130706433:8000",
        "0.0.0.0:8000",
        "localhost",
        "localhost.:8000",
        "localhost.evil.com:8000",
        "evil.com",
        "evil.com:8000",
        "mcp.example.com.evil.com",
        "evil-mcp.example.com",
        "xmcp.example.com",
        "mcp.example.com:443",
        "mcp.example.com/",
        "mcp.example.com,127.0.0.1:8000",
        "https://mcp.example.com",
        "*",
        "null",
        "",
        "[::1]",
        "[::1]:8000.evil.com",
        "::1:8000",
    ],
)
async def test_any_other_host_is_refused(host: str) -> None:
    check = host_check({"mcp.example.com"})

    assert await status_of(check, [("host", host)]) == 421


async def test_a_request_has_one_host() -> None:
    own = ("host", "127.0.0.1:8000")

    assert await status_of(host_check(), []) == 421
    assert await status_of(host_check(), [own, own]) == 421
    assert await status_of(host_check(), [own, ("host", "evil.com")]) == 421


async def test_the_address_a_request_came_in_by_is_a_name_of_ours() -> None:
    """A health check of a container names its address; a web page's own name is never one."""
    check, reached = host_check(), ("10.0.0.7", 8000)

    assert await status_of(check, [("host", "10.0.0.7:8000")], server=reached) == 200
    assert await status_of(check, [("host", "10.0.0.8:8000")], server=reached) == 421
    assert await status_of(check, [("host", "[fe80::1]:80")], server=("fe80::1", 80)) == 200


async def test_at_port_80_a_host_needs_no_port() -> None:
    assert await status_of(host_check(), [("host", "localhost")], server=("127.0.0.1", 80)) == 200


async def test_behind_a_socket_without_a_port_only_the_list_counts() -> None:
    check, unix = host_check({"mcp.example.com"}), ("/run/mcp.sock", None)

    assert await status_of(check, [("host", "mcp.example.com")], server=unix) == 200
    assert await status_of(check, [("host", "127.0.0.1:8000")], server=unix) == 421


@pytest.mark.parametrize(
    "origin", ["https://app.example.com", "HTTPS://APP.example.com", "http://localhost:8000"]
)
async def test_an_origin_on_the_list_and_our_own_are_allowed(origin: str) -> None:
    check = host_check(origins={"https://app.example.com"})

    assert await status_of(check, [("host", "127.0.0.1:8000"), ("origin", origin)]) == 200


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "*",
        "app.example.com",
        "http://app.example.com",
        "https://app.example.com:443",
        "https://app.example.com:8443",
        "https://app.example.com/",
        "https://app.example.com.evil.com",
        "https://evil-app.example.com",
        "https://app.example.com@evil.com",
        "https://127.0.0.1:8000",
        "http://127.0.0.1:8001",
        "http://127.0.0.1:8000.evil.com",
        "http://127.0.0.1:x.evil.com",
        "http://localhost",
    ],
)
async def test_any_other_origin_is_refused(origin: str) -> None:
    check = host_check(origins={"https://app.example.com"})

    assert await status_of(check, [("host", "127.0.0.1:8000"), ("origin", origin)]) == 403


async def test_one_foreign_origin_among_several_is_enough() -> None:
    own = [("host", "127.0.0.1:8000"), ("origin", "http://127.0.0.1:8000")]

    assert await status_of(host_check(), [*own, ("origin", "https://evil.com")]) == 403


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER  {TOKEN} "])
async def test_a_request_with_the_token_is_allowed(given: str) -> None:
    check = BearerTokenMiddleware(allowed, TOKEN)

    assert await status_of(check, [("authorization", given)]) == 200


@pytest.mark.parametrize(
    "given",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        [TOKEN],
        [f"Basic {TOKEN}"],
        [f"Bearer{TOKEN}"],
        [f"Bearer {TOKEN}x"],
        [f"Bearer {TOKEN[:-1]}"],
        [f"Bearer {TOKEN.upper()}"],
        [f"Bearer {TOKEN},{TOKEN}"],
        [f"Bearer {TOKEN}", f"Bearer {TOKEN}"],
        ["Bearer wrong", f"Bearer {TOKEN}"],
        [f"Bearer {TOKEN}\xff"],
    ],
)
async def test_a_token_sent_in_another_way_is_refused(given: list[str]) -> None:
    check = BearerTokenMiddleware(allowed, TOKEN)

    assert await status_of(check, [("authorization", value) for value in given]) == 401


async def test_a_token_may_hold_any_character() -> None:
    check = BearerTokenMiddleware(allowed, "schlüssel")
    sent = "schlüssel".encode().decode("latin-1")

    assert await status_of(check, [("authorization", f"Bearer {sent}")]) == 200


def test_an_empty_token_is_none() -> None:
    with pytest.raises(ValueError, match="empty"):
        BearerTokenMiddleware(allowed, "")


def test_the_key_for_questions_is_the_tokens_and_does_not_reveal_it() -> None:
    key = request_state_key(TOKEN)

    assert key == request_state_key(TOKEN) != request_state_key(TOKEN + "x")
    assert len(key) == 32
    assert TOKEN.encode() not in key


def test_without_the_token_a_client_is_asked_to_send_it(server: Served) -> None:
    headers = server.headers | {"Authorization": "Bearer wrong"}

    answer = httpx.post(server.url, json=request("tools/list"), headers=headers, timeout=LONGEST_S)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="useapi-mcp"'
    assert server.token not in answer.text
    assert answer.json()["error"] == "invalid_token"  # the form in which clients show the sentence
    assert "Authorization: Bearer" in answer.json()["error_description"]


def test_no_oauth_server_is_announced_that_is_not_there(server: Served) -> None:
    """A client that sees `resource_metadata` begins a search for it."""
    places = ("/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp")

    found = [
        httpx.get(server.origin + place, headers=headers, timeout=LONGEST_S)
        for place in places
        for headers in (server.headers, {})
    ]

    assert [answer.status_code for answer in found] == [404] * 4


def test_health_needs_no_token_and_holds_no_secret(server: Served) -> None:
    answer = httpx.get(f"{server.origin}/health", timeout=LONGEST_S)

    assert answer.status_code == 200
    assert answer.json().keys() == {"status", "version"}


def test_a_foreign_page_can_not_ask_for_the_health(server: Served) -> None:
    answer = httpx.get(f"{server.origin}/health", headers={"Host": "evil.com"}, timeout=LONGEST_S)

    assert answer.status_code == 421


def test_names_are_checked_before_the_token(server: Served) -> None:
    evil = server.headers | {"Host": "127.0.0.1:x.evil.com"}
    foreign = server.headers | {"Origin": "https://evil.com"}

    answers = [
        httpx.post(server.url, json=request("ping"), headers=headers, timeout=LONGEST_S).status_code
        for headers in (evil, foreign, {**evil, "Authorization": ""})
    ]

    assert [421, 403, 421] == answers


def test_hosts_that_http_itself_forbids_never_arrive(server: Served) -> None:
    address = httpx.URL(server.url)

    def answered(*hosts: str) -> int:
        connection = http.client.HTTPConnection(address.host, address.port)
        connection.putrequest("GET", "/health", skip_host=True)
        for host in hosts:
            connection.putheader("Host", host)
        connection.endheaders()
        status = connection.getresponse().status
        connection.close()
        return status

    assert [200, 400, 400] == [
        answered(f"127.0.0.1:{address.port}"),
        answered(),
        answered(f"127.0.0.1:{address.port}", "evil.com"),
    ]


def test_a_body_over_4_mib_is_refused(server: Served) -> None:
    fits = json.dumps(request("ping", padding="x" * (LONGEST_LINE_BYTES - 200)))
    fits_not = json.dumps(request("ping", padding="x" * LONGEST_LINE_BYTES))
    headers = server.headers | {"Content-Type": "application/json"}

    statuses = [
        httpx.post(server.url, content=body, headers=headers, timeout=LONGEST_S).status_code
        for body in (fits, fits_not)
    ]

    assert [200, 413] == statuses


def test_a_body_that_would_take_many_times_its_length_in_memory_is_refused(server: Served) -> None:
    body = json.dumps(request("ping", padding=[{}] * 200_000))
    headers = server.headers | {"Content-Type": "application/json"}

    answer = httpx.post(server.url, content=body, headers=headers, timeout=LONGEST_S)

    assert answer.status_code == 413


def test_a_body_that_does_not_say_its_length_is_bounded_too(server: Served) -> None:
    parts = (b"x" * 65_536 for _ in range(100))
    headers = server.headers | {"Content-Type": "application/json"}

    answer = httpx.post(server.url, content=parts, headers=headers, timeout=LONGEST_S)

    assert answer.status_code == 413


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"1", b'"text"', b"[" * 100_000]
)
def test_broken_json_is_the_clients_fault(server: Served, body: bytes) -> None:
    headers = server.headers | {"Content-Type": "application/json"}

    answer = httpx.post(server.url, content=body, headers=headers, timeout=LONGEST_S)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in (-32700, -32600, -32602)


@pytest.mark.parametrize("request_id", [None, 1.5, {}, True])
def test_a_request_whose_id_is_none_is_refused_and_not_taken_for_a_notification(
    server: Served, request_id: object
) -> None:
    body = request("ping") | {"id": request_id}

    answer = httpx.post(server.url, json=body, headers=server.headers, timeout=LONGEST_S)

    assert answer.status_code == 400
    assert "id" in answer.json()["error"]["message"]


def test_there_are_no_sessions_to_get_or_delete(server: Served) -> None:
    answers = [
        httpx.request(method, server.url, headers=server.headers, timeout=LONGEST_S).status_code
        for method in ("GET", "HEAD", "DELETE", "PUT", "PATCH")
    ]

    assert [405] * 5 == answers


def test_a_slash_at_the_end_changes_nothing(server: Served) -> None:
    """A redirect would send the token on over http:// where a proxy ends TLS."""
    url = f"{server.url}/"

    answer = httpx.post(url, json=request("ping"), headers=server.headers, timeout=LONGEST_S)
    no_token = httpx.post(url, json=request("ping"), timeout=LONGEST_S)
    no_session = httpx.get(url, headers=server.headers, timeout=LONGEST_S)

    assert result(answer) == {}
    assert [401, 405] == [no_token.status_code, no_session.status_code]


@pytest.mark.parametrize(
    ("accepts", "kind"),
    [
        ({"Accept": "application/json"}, "application/json"),
        ({"Accept": "application/json; q=0.9, text/plain"}, "application/json"),
        ({"Accept": "text/event-stream"}, "text/event-stream"),
        ({"Accept": "*/*"}, "text/event-stream"),
        ({"Accept": ""}, "text/event-stream"),
    ],
)
@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
def test_a_client_gets_the_kind_of_answer_it_accepts(
    server: Served, version: str, accepts: dict[str, str], kind: str
) -> None:
    body = with_era(version, request("tools/call", name="list_jobs", arguments={}))
    headers = server.headers | era_headers(version, "tools/call", "list_jobs") | accepts

    answer = httpx.post(server.url, json=body, headers=headers, timeout=LONGEST_S)

    assert not result(answer)["isError"]
    if version < "2026" or kind == "application/json":  # the SDK's newer one answers JSON at will
        assert answer.headers["content-type"].startswith(kind)


def test_who_accepts_only_json_is_spared_the_progress_before_the_answer(server: Served) -> None:
    job = server.call("upscale_video", source=GOOD["dreamina", "video"])["structuredContent"]
    arguments = {"job_id": job["job_id"], "wait_seconds": 20}
    body = request(
        "tools/call", name="get_job", arguments=arguments, _meta={"progressToken": "mine"}
    )
    headers = server.headers | {"Accept": "application/json"}

    answer = httpx.post(server.url, json=body, headers=headers, timeout=LONGEST_S)

    assert answer.json()["id"] == body["id"]
    assert answer.json()["result"]["structuredContent"]["status"] == "completed"


@pytest.mark.parametrize("accepts", ["text/html", "image/png, text/plain"])
def test_who_accepts_neither_is_refused(server: Served, accepts: str) -> None:
    headers = server.headers | {"Accept": accepts}

    answer = httpx.post(server.url, json=request("ping"), headers=headers, timeout=LONGEST_S)

    assert answer.status_code == 406


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
@pytest.mark.parametrize("unsent_bytes", [0, 1])
def test_a_client_that_leaves_in_the_middle_disturbs_nobody(
    server: Served, version: str, unsent_bytes: int
) -> None:
    """In the middle of its request, or of the answer."""
    source, address = GOOD["dreamina", "video"], httpx.URL(server.url)
    job = server.call("upscale_video", source=source)["structuredContent"]
    waits = {"job_id": job["job_id"], "wait_seconds": 50}
    body = json.dumps(with_era(version, request("tools/call", name="get_job", arguments=waits)))
    headers = server.headers | era_headers(version, "tools/call", "get_job")
    headers |= {
        "Content-Length": str(len(body) + unsent_bytes),
        "Host": f"127.0.0.1:{address.port}",
    }
    head = [f"{name}: {value}" for name, value in headers.items()]
    lines = ["POST /mcp HTTP/1.1", "Content-Type: application/json", *head, "", body]

    with socket.create_connection((address.host, address.port or 0)) as connection:
        connection.sendall("\r\n".join(lines).encode())
    answer = server.call("get_job", job_id=job["job_id"], wait_seconds=20)

    assert answer["structuredContent"]["status"] == "completed"
    assert "Traceback" not in server.errors.read_text()


def test_100_clients_with_equal_ids_each_get_their_own_answer(server: Served) -> None:
    """Half of them of either era; each reads a job of its own, all under the JSON-RPC id 1."""

    async def ask(client: httpx.AsyncClient, number: int) -> tuple[str, dict[str, Any]]:
        uri = f"useapi://jobs/j0302140530{number:09d}v-u12345-CA:user@example.com-bot:dreamina"
        version = ("2025-11-25", "2026-07-28")[number % 2]
        body = with_era(version, request("resources/read", uri=uri))
        headers = server.headers | era_headers(version, "resources/read", uri)
        return uri, message(await client.post(server.url, json=body, headers=headers))

    async def all_at_once() -> list[tuple[str, dict[str, Any]]]:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(timeout=LONGEST_S, limits=limits) as client:
            return await asyncio.gather(*(ask(client, number) for number in range(100)))

    answers = asyncio.run(all_at_once())

    assert [1] * 100 == [answer["id"] for _, answer in answers]
    assert [uri for uri, _ in answers] == [answer["error"]["data"]["uri"] for _, answer in answers]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_what_does_not_exist_is_the_protocols_error(server: Served, mode: Any) -> None:
    async def codes() -> list[int]:
        found = []
        async with server.client(mode) as client:
            for ask in (
                client.call_tool("no_such_tool", {}),
                client.get_prompt("no_such_prompt", {}),
                client.get_prompt("enhance_clip", {}),
                client.read_resource("useapi://nothing"),
                client.read_resource("useapi://jobs/useapi-mcp:00000000000000000000000000"),
            ):
                with pytest.raises(MCPError) as error:
                    await ask
                found.append(error.value.code)
        return found

    assert [-32602] * 5 == asyncio.run(codes())
    assert "Traceback" not in server.errors.read_text()


@pytest.mark.parametrize(("named", "status"), [("nobody", 400), ("the-task", 200)])
def test_a_task_in_the_header_is_the_one_in_the_body(
    server: Served, named: str, status: int
) -> None:
    """A proxy that routes by the header must not be led astray (SEP-2243)."""
    job = server.call("upscale_video", source=GOOD["dreamina", "video"])["structuredContent"]
    task_id = job["job_id"]
    body = with_era("2026-07-28", request("tasks/get", taskId=task_id))
    body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = {
        "extensions": {IDENTIFIER: {}}
    }
    name = task_id if named == "the-task" else named
    headers = server.headers | era_headers("2026-07-28", "tasks/get", name)

    answer = httpx.post(server.url, json=body, headers=headers, timeout=LONGEST_S)

    assert answer.status_code == status
    assert (status == 200) == ("result" in message(answer))


def test_over_http_no_path_is_read_and_it_says_why(server: Served, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(media.read(media.clip(640, 360, 24)))

    answer = server.call("upscale_video", source=str(tmp_path / "clip.mp4"))

    text = answer["content"][0]["text"]
    assert answer["isError"]
    assert text.startswith("Over HTTP this server reads no files of its own disk")
    assert "https link" in text


def test_over_http_a_path_in_a_folder_of_the_operators_is_read(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(media.read(media.clip(640, 360, 24)))
    with http_server(tmp_path / "server", USEAPI_INPUT_DIRS=str(tmp_path)) as server:
        answer = server.call("upscale_video", source=str(tmp_path / "clip.mp4"), max_credits=50)

    assert answer["structuredContent"]["source"] == "clip.mp4"


def test_a_legacy_client_over_http_is_told_the_price_and_not_charged(server: Served) -> None:
    """Without sessions its declaration is forgotten, so it can't be asked."""
    given = {"source": GOOD["google-flow", "video"], "resolution": "4K"}

    async def never(*_: object) -> ElicitResult:
        raise AssertionError("it was asked")

    async def upscaled() -> Any:
        async with server.client("legacy", elicitation_callback=never) as client:
            refused = await client.call_tool("upscale_video", given)
            return refused, await client.call_tool("upscale_video", given | {"max_credits": 50})

    refused, done = asyncio.run(upscaled())

    assert refused.is_error
    assert '"price":50' in refused.content[0].text
    assert done.structured_content["service"] == "google-flow"


def test_a_web_page_on_the_list_can_connect(server: Served) -> None:
    """A preflight request has no token, and a browser reads the answer only if it is allowed to."""
    page = {"Origin": PAGE}
    asks = page | {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,mcp-protocol-version",
    }

    preflight = httpx.options(server.url, headers=asks, timeout=LONGEST_S)
    answer = httpx.post(
        server.url, json=request("tools/list"), headers=server.headers | page, timeout=LONGEST_S
    )
    no_token = httpx.post(server.url, json=request("tools/list"), headers=page, timeout=LONGEST_S)
    foreign = httpx.options(
        server.url, headers=asks | {"Origin": "https://evil.com"}, timeout=LONGEST_S
    )

    assert preflight.status_code == 200
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert result(answer)["tools"]
    assert no_token.status_code == 401
    assert foreign.status_code == 403


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_web_page_may_learn_that_there_are_no_sessions(server: Served, method: str) -> None:
    """Without leave to ask, a client takes the refusal for a broken network."""
    asks = {
        "Origin": PAGE,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Private-Network": "true",
    }

    preflight = httpx.options(server.url, headers=asks, timeout=LONGEST_S)

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-private-network"] == "true"


async def test_an_answer_that_is_open_when_the_server_stops_is_completed() -> None:
    """Uvicorn cancels it, and logs a traceback for what it has to end by itself."""
    sent: list[Message] = []

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"progress", "more_body": True})
        await asyncio.sleep(3600)

    async def receive() -> Message:
        raise AssertionError("it reads nothing")

    async def send(part: Message) -> None:
        sent.append(part)

    app = CompletingMiddleware(stream, Stopping(Clock(), None))
    serving = asyncio.create_task(app({"type": "http"}, receive, send))
    await asyncio.sleep(1)
    serving.cancel("timeout graceful shutdown exceeded")
    await serving

    assert [False, True, False] == [part.get("more_body", False) for part in sent]


async def answered_after_s(check: BearerTokenMiddleware, token: str) -> float:
    began = asyncio.get_running_loop().time()
    await status_of(check, [("authorization", f"Bearer {token}")])
    return asyncio.get_running_loop().time() - began


async def test_who_guesses_the_token_is_slowed_down_and_who_knows_it_is_not() -> None:
    check = BearerTokenMiddleware(allowed, TOKEN)

    guesses = [await answered_after_s(check, f"guess-{n}") for n in range(12)]
    known = await answered_after_s(check, TOKEN)
    await asyncio.sleep(60)
    mistyped = await answered_after_s(check, f"{TOKEN}x")

    assert [0] * 9 + [1] * 3 == guesses
    assert known == mistyped == 0


async def test_many_who_guess_at_once_do_not_hold_all_connections() -> None:
    check = BearerTokenMiddleware(allowed, TOKEN)

    waits = await asyncio.gather(*(answered_after_s(check, "guess") for _ in range(500)))

    assert sum(wait > 0 for wait in waits) == 100


async def test_what_is_refused_is_logged_once_a_minute_with_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    names, token = host_check({"a"}), BearerTokenMiddleware(allowed, TOKEN)

    for _ in range(3):
        await status_of(names, [("host", "mcp:8000\x1b[2J")])
        await status_of(token, [("authorization", "Bearer wrong")])
    first = [record.getMessage() for record in caplog.records]
    await asyncio.sleep(60)
    await status_of(names, [("host", "a"), ("origin", "https://evil.com")])

    assert len(first) == 2
    assert first[0].startswith("Refused Host 'mcp:8000' (421)")
    assert first[0].endswith("add --allowed-host mcp:8000")
    assert "wrong" not in first[1]
    assert "Refused Origin 'https://evil.com' (403)" in caplog.records[-1].getMessage()


def test_every_answer_with_a_path_says_that_it_is_on_another_disk(server: Served) -> None:
    source = GOOD["dreamina", "video"]

    before = server.call("get_job", job_id=source)
    saved = server.call("download_media", job_id=source)
    again = server.call("get_job", job_id=source)

    assert "which may not be yours" not in before["content"][0]["text"]
    for answer in (saved, again):
        assert "path" in answer["structuredContent"]["media"][0]
        assert "which may not be yours" in answer["content"][0]["text"]
        assert "which may not be yours" in answer["structuredContent"]["note"]
        assert answer["_meta"]["useapi-mcp/links"][0]["url"].startswith("http")
