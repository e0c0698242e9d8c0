"""HTTP command: what it refuses to start with, the token file, and stops that lose nothing."""

import asyncio
import errno
import json
import os
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NoReturn

import httpx
import pytest
from mcp import Client
from mcp.types import ElicitResult
from pydantic import SecretStr

from mcp_server.cli.main import main
from mcp_server.errors import SettingsError
from mcp_server.http.serve import as_browsers_send_it, own_token, serve, worker
from mcp_server.settings import Settings
from tests.support.harness import GOOD, TOKEN
from tests.support.identity import PUBLIC_URL, Issuer
from tests.support.limits import LONGEST_S
from tests.support.serving import (
    Served,
    Vendor,
    http_server,
    request,
    result,
    rows,
    run_to_the_end,
    vendor,
    workers,
)

HTTP_TOKEN = "the-token-all-workers-share"
needs_signals = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows can't send a child SIGTERM or SIGINT alone"
)
VIDEO = GOOD["dreamina", "video"]
NOBODY = "http://127.0.0.1:9"  # an address where nobody answers
ISSUER = {"USEAPI_PUBLIC_URL": PUBLIC_URL, "USEAPI_OAUTH_ISSUER": NOBODY}


async def refusal(folder: Path, /, environment: dict[str, str] | None = None, **given: Any) -> str:
    """Why serving with these arguments is refused."""
    settings = {"USEAPI_STATE_DIR": str(folder / "state"), **(environment or {})}
    options: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "allowed_hosts": [],
        "allowed_origins": [],
        "no_auth": False,
        "sandbox_sources": "",
    }

    with pytest.raises(SettingsError) as error:
        await serve(Settings.read(settings), **(options | given))

    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.covered
def test_a_refused_start_ends_with_code_2_and_one_line(tmp_path: Path) -> None:
    refused = run_to_the_end(tmp_path, ["--host", "0.0.0.0"])

    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.startswith("useapi-mcp: Serving on 0.0.0.0 without a token")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", "127.0.0.2"])
async def test_beyond_this_machine_nobody_may_connect_without_a_token(
    tmp_path: Path, host: str
) -> None:
    """Anybody could spend the credits."""
    token = {"USEAPI_HTTP_TOKEN": HTTP_TOKEN}

    refusals = [
        await refusal(tmp_path, host=host),
        await refusal(tmp_path, host=host, no_auth=True),
        await refusal(tmp_path, token, host=host, no_auth=True),
    ]

    assert [True] * 3 == [
        text.startswith(f"Serving on {host} without a token") for text in refusals
    ]
    assert not (tmp_path / "state").exists()


async def test_without_asking_who_calls_there_is_nobody_to_log_in(tmp_path: Path) -> None:
    assert "--no-auth" in await refusal(tmp_path, ISSUER, no_auth=True)


async def test_without_asking_who_calls_nobody_has_a_token_of_his_own(tmp_path: Path) -> None:
    own = {
        "USEAPI_OWN_TOKENS": "true",
        "USEAPI_PUBLIC_URL": PUBLIC_URL,
        "USEAPI_SECRET": "s" * 32,
    }

    assert "USEAPI_OWN_TOKENS" in await refusal(tmp_path, own, no_auth=True)


def test_an_issuer_is_enough_to_serve_others_at_the_public_address(tmp_path: Path) -> None:
    """No token is made for an operator who has set none."""
    with http_server(tmp_path, "--host", "0.0.0.0", USEAPI_BASE_URL=NOBODY, **ISSUER) as server:
        origin = server.origin.replace("0.0.0.0", "127.0.0.1")
        public = {"Host": "mcp.example.com"}
        metadata = httpx.get(
            f"{origin}/.well-known/oauth-protected-resource", headers=public, timeout=LONGEST_S
        )
        nobody = httpx.post(f"{origin}/mcp", headers=public, json={}, timeout=LONGEST_S)
        signed = {**public, "Authorization": f"Bearer {Issuer(time.time).token()}"}
        unknown = httpx.post(f"{origin}/mcp", headers=signed, json={}, timeout=LONGEST_S)
        ready = httpx.get(f"{origin}/readyz", timeout=LONGEST_S)

    assert metadata.json()["resource"] == f"{PUBLIC_URL}/mcp"
    assert [401, 503, 503] == [each.status_code for each in (nobody, unknown, ready)]
    assert ready.text == "not ready: keys\n"
    assert server.token == ""
    assert not (tmp_path / "state" / "http_token").exists()


@pytest.mark.parametrize(
    "value",
    [
        "https://mcp.example.com",
        "mcp.example.com/mcp",
        "mcp.example.com:port",
        "mcp.example.com:",
        "user@mcp.example.com",
        "*",
        "*.example.com",
        "-",
        "",
    ],
)
async def test_a_host_that_could_never_match_is_refused_at_the_start(
    tmp_path: Path, value: str
) -> None:
    assert "--allowed-host" in await refusal(tmp_path, allowed_hosts=[value])


@pytest.mark.parametrize(
    "value",
    [
        "app.example.com",
        "https://app.example.com/",
        "https://*.example.com",
        "null",
        "*",
        "",
        "//a",
    ],
)
async def test_an_origin_that_could_never_match_is_too(tmp_path: Path, value: str) -> None:
    assert "--allowed-origin" in await refusal(tmp_path, allowed_origins=[value])


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://APP.example.com", "https://app.example.com"),
        ("HTTPS://app.example.com:443", "https://app.example.com"),
        ("http://localhost:80", "http://localhost"),
        ("http://localhost:443", "http://localhost:443"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("chrome-extension://abc", "chrome-extension://abc"),
    ],
)
def test_an_origin_is_compared_as_a_browser_writes_it(given: str, sent: str) -> None:
    assert as_browsers_send_it(given) == sent


@pytest.mark.parametrize("token", ["a", "fifteen-letters", "a token with spaces in it", "ä" * 20])
async def test_a_token_that_is_guessed_or_can_not_be_sent_is_refused(
    tmp_path: Path, token: str
) -> None:
    text = await refusal(tmp_path, {"USEAPI_HTTP_TOKEN": token})

    assert "USEAPI_HTTP_TOKEN" in text
    assert token not in text.replace("USEAPI_HTTP_TOKEN", "") or token == "a"


@pytest.mark.parametrize("port", [-1, 65536, 70000])
async def test_a_port_that_does_not_exist_is_refused(tmp_path: Path, port: int) -> None:
    assert f"no port {port}" in await refusal(tmp_path, port=port)


@pytest.mark.parametrize("host", ["::1.invalid", "no.such.host.invalid", "192.0.2.1", "a..b"])
async def test_so_is_an_address_that_is_not_ours(tmp_path: Path, host: str) -> None:
    text = await refusal(tmp_path, {"USEAPI_HTTP_TOKEN": HTTP_TOKEN}, host=host)

    assert "can't be served" in text


async def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = await refusal(tmp_path, port=taken.getsockname()[1])

    assert "can't be served" in text


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no mode bits")
def test_the_token_that_is_made_is_kept_for_its_owner_only(tmp_path: Path) -> None:
    base = "http://127.0.0.1:9"  # nobody is asked anything

    with http_server(tmp_path, USEAPI_BASE_URL=base) as server:
        kept = tmp_path / "state" / "http_token"
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (kept, kept.parent)]
        kept.chmod(0o644)
    again = own_token(kept)

    assert server.token == again == kept.read_text()
    assert len(again) == 43
    assert [0o600, 0o700] == modes
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "short", "\n", "ü" * 43, "two words " * 9])
async def test_a_token_file_that_holds_none_is_refused(tmp_path: Path, content: str) -> None:
    """An empty one, say of a full disk, would otherwise match an empty bearer token."""
    kept = tmp_path / "state" / "http_token"
    kept.parent.mkdir()
    kept.write_text(content)

    text = await refusal(tmp_path)

    assert str(kept) in text


async def test_a_state_folder_that_can_not_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in the folder's place")

    assert "USEAPI_HTTP_TOKEN" in await refusal(tmp_path)


async def test_two_first_starts_at_once_agree_on_the_token(tmp_path: Path) -> None:
    """It is put in place whole, and one that is there by then stays."""
    kept = tmp_path / "state" / "http_token"

    with ThreadPoolExecutor(8) as threads:
        made = {*threads.map(own_token, [kept] * 64)}

    assert made == {kept.read_text()}
    assert [kept] == list(kept.parent.iterdir())


def test_the_token_is_kept_where_there_are_no_hard_links_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a memory stick or some network storage: none can be mounted here."""

    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    kept = tmp_path / "state" / "http_token"

    made = [own_token(kept), own_token(kept)]

    assert [kept.read_text()] * 2 == made
    assert [kept] == list(kept.parent.iterdir())


def test_without_hard_links_too_a_token_that_came_first_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another start makes its own between our look and our write."""
    kept, first = tmp_path / "state" / "http_token", "a" * 43

    def refuse(*_: object) -> NoReturn:
        kept.write_text(first)
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)

    assert first == own_token(kept)
    assert [kept] == list(kept.parent.iterdir())


def test_a_token_of_ones_own_is_asked_for_and_not_printed_and_a_further_host_served(
    tmp_path: Path,
) -> None:
    host = ("--allowed-host", "mcp.example.com")
    with http_server(tmp_path, *host, USEAPI_HTTP_TOKEN=HTTP_TOKEN) as server:
        statuses = [
            httpx.get(
                f"{server.origin}/health", headers={"Host": host}, timeout=LONGEST_S
            ).status_code
            for host in ("mcp.example.com", "mcp.example.com.evil.com")
        ]
        answers = [
            httpx.post(
                server.url, json=request("tools/list"), headers=headers, timeout=LONGEST_S
            ).status_code
            for headers in (server.headers, {**server.headers, "Authorization": "Bearer x"})
        ]
        said = server.errors.read_text()

    assert [200, 421] == statuses
    assert [200, 401] == answers
    assert HTTP_TOKEN not in said


def test_a_user_is_let_in_from_the_moment_he_is_added_until_he_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command runs beside the server, which is told nothing."""
    monkeypatch.setenv("USEAPI_STATE_DIR", str(tmp_path / "state"))

    def asked(server: Served, token: str) -> tuple[int, str]:
        headers = {**server.headers, "Authorization": f"Bearer {token}"}
        body = request("tools/call", name="cancel_job", arguments={"job_id": "useapi-mcp:none"})
        answer = httpx.post(server.url, json=body, headers=headers, timeout=LONGEST_S)
        return answer.status_code, answer.text

    with http_server(tmp_path, USEAPI_HTTP_TOKEN=HTTP_TOKEN, USEAPI_BASE_URL=NOBODY) as server:
        main(["user", "add", "alice"])
        alice = capsys.readouterr().out.strip()
        main(["user", "add", "bob", "--read-only"])
        bob = capsys.readouterr().out.strip()
        before = [asked(server, alice), asked(server, bob)]
        main(["user", "remove", "alice"])
        after, _ = asked(server, alice)

    assert [200, 200, 401] == [before[0][0], before[1][0], after]
    assert ["forbidden" in text for _, text in before] == [False, True]


def test_without_auth_nobody_is_asked_for_a_token(tmp_path: Path) -> None:
    headers = {"Accept": "application/json, text/event-stream"}
    with http_server(tmp_path, "--no-auth") as server:
        answer = httpx.post(
            server.url, json=request("tools/list"), headers=headers, timeout=LONGEST_S
        )
        foreign = httpx.post(
            server.url, json={}, headers={"Host": "127.0.0.1:x.evil.com"}, timeout=LONGEST_S
        )
        said = server.errors.read_text()

    assert result(answer)["tools"]
    assert foreign.status_code == 421
    assert "Bearer" not in said


@pytest.mark.covered
@needs_signals
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_it_and_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    """The sandbox's folder is put away too."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    with http_server(tmp_path, TMPDIR=str(folder)) as server:
        server.call("upscale_video", source=VIDEO)
        assert list(folder.iterdir())

        code = server.stop(number)

    assert code == 0
    assert [] == list(folder.iterdir())
    assert "Traceback" not in server.errors.read_text()


def stopped_during_a_post(folder: Path, slow: Vendor) -> tuple[int, str]:
    """Exit code and log of a server that gets a stop signal during a paid request."""
    environment = {"USEAPI_BASE_URL": slow.url, "USEAPI_TOKEN": TOKEN}
    with http_server(folder, **environment) as server:
        caller = threading.Thread(target=_ask_in_vain, args=(server,))
        caller.start()
        slow.wait_for_a_post()

        code = server.stop()

        caller.join()
    return code, server.errors.read_text()


def _ask_in_vain(server: Served) -> None:
    """Its connection is cut when the time for requests is up, or it has its answer before."""
    body = request("tools/call", name="upscale_video", arguments={"source": VIDEO})
    with suppress(httpx.TransportError):
        httpx.post(server.url, json=body, headers=server.headers, timeout=LONGEST_S)


@needs_signals
def test_a_stop_signal_lets_a_paid_post_be_answered_and_written_down(tmp_path: Path) -> None:
    """Longer than a request may take, and still within the 15 s."""
    with vendor(post_takes_s=5) as slow:
        code, said = stopped_during_a_post(tmp_path, slow)

    [(state, job_id, posts)] = rows(tmp_path)
    assert (code, state, posts) == (0, "accepted", 1)
    assert job_id.endswith("-bot:dreamina")
    assert "Traceback" not in said


@needs_signals
def test_a_vendor_that_never_answers_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    """What became of it is found out by the next server: the row says that it was sent."""
    with vendor(post_takes_s=3600, job_seconds=600) as slow:
        code, said = stopped_during_a_post(tmp_path, slow)

        assert code == 0
        assert [("submitting", None, 1)] == rows(tmp_path)
        assert "Traceback" not in said
        with http_server(tmp_path, USEAPI_BASE_URL=slow.url, USEAPI_TOKEN=TOKEN) as again:
            [job] = again.call("list_jobs")["structuredContent"]["jobs"]
            found = again.call("get_job", job_id=job["job_id"])["structuredContent"]

    assert job["status"] == "submitting"
    assert found["status"] == "running"
    assert slow.posts == 1


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Vendor]]:
    folder = tmp_path_factory.mktemp("workers")
    with (
        vendor() as real,
        workers(
            folder,
            2,
            USEAPI_BASE_URL=real.url,
            USEAPI_TOKEN=TOKEN,
            USEAPI_HTTP_TOKEN=HTTP_TOKEN,
        ) as served,
    ):
        yield served, real


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_two_workers_serve_100_calls_of_either_era_and_submit_once(
    two_workers: tuple[Served, Vendor], mode: Literal["auto", "legacy"]
) -> None:
    """Ten clients at once, ten calls each; every one of them upscales the same video."""
    server, real = two_workers

    async def one_client() -> list[tuple[bool, Any]]:
        found = []
        async with server.client(mode) as client:
            job: dict[str, Any] = {}
            for number in range(10):
                name, given = [
                    ("upscale_video", {"source": VIDEO}),
                    ("get_job", {"job_id": job.get("job_id", "")}),
                    ("list_jobs", {}),
                ][number % 3]
                answer = await client.call_tool(name, given)
                data = getattr(answer, "structured_content", None) or {}
                found.append((bool(getattr(answer, "is_error", True)), data.get("job_id")))
                job = data if name == "upscale_video" else job
        return found

    async def all_clients() -> list[tuple[bool, Any]]:
        lists = await asyncio.gather(*(one_client() for _ in range(10)))
        return [answer for answers in lists for answer in answers]

    answers = asyncio.run(all_clients())

    assert len(answers) == 100
    assert [] == [answer for answer in answers if answer[0]]
    assert len({job_id for _, job_id in answers if job_id}) == 1
    assert real.posts == 1
    assert "Traceback" not in server.errors.read_text()


async def asked(client: Client) -> Any:
    """The raw first answer to a call that needs the user's consent: the question."""
    given = {"source": GOOD["google-flow", "video"], "resolution": "4K"}
    return await client.session.call_tool("upscale_video", given, allow_input_required=True)


async def no_answer(*_: object) -> ElicitResult:
    raise AssertionError("the question is answered below")


def test_a_question_is_answered_at_the_other_worker(tmp_path: Path) -> None:
    """The seal of the question is made from the token, which all workers share."""

    async def across(first: Served, second: Served) -> Any:
        async with (
            first.client(elicitation_callback=no_answer) as one,
            second.client(elicitation_callback=no_answer) as other,
        ):
            question = await asked(one)
            [name] = question.input_requests
            given = {"source": GOOD["google-flow", "video"], "resolution": "4K"}
            return await other.session.call_tool(
                "upscale_video",
                given,
                input_responses={name: ElicitResult(action="accept", content={"confirm": True})},
                request_state=question.request_state,
            )

    with vendor() as real:
        shared = {
            "USEAPI_BASE_URL": real.url,
            "USEAPI_TOKEN": TOKEN,
            "USEAPI_STATE_DIR": str(tmp_path / "state"),
        }
        with (
            http_server(tmp_path / "1", USEAPI_HTTP_TOKEN=HTTP_TOKEN, **shared) as first,
            http_server(tmp_path / "2", USEAPI_HTTP_TOKEN=HTTP_TOKEN, **shared) as second,
        ):
            answer = asyncio.run(across(first, second))

    assert not answer.is_error
    assert answer.structured_content["service"] == "google-flow"
    assert real.posts == 1


async def test_a_worker_asks_for_the_token_they_share(tmp_path: Path) -> None:
    settings = Settings(http_token=SecretStr(HTTP_TOKEN), state_dir=tmp_path)
    transport = httpx.ASGITransport(worker(settings))

    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        statuses = [(await client.get(path)).status_code for path in ("/health", "/mcp")]

    assert [200, 401] == statuses


def test_workers_need_a_token_that_they_can_share() -> None:
    with pytest.raises(SettingsError, match="USEAPI_HTTP_TOKEN"):
        worker(Settings())


async def test_workers_that_only_users_may_call_share_a_secret_in_place_of_the_token(
    tmp_path: Path,
) -> None:
    """What one asks a user, another takes the answer to."""
    given = {"USEAPI_STATE_DIR": str(tmp_path), **ISSUER}
    with pytest.raises(SettingsError, match="USEAPI_SECRET"):
        worker(Settings.read(given))
    transport = httpx.ASGITransport(worker(Settings.read({**given, "USEAPI_SECRET": "s" * 32})))

    async with httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL) as client:
        answer = await client.post("/mcp")

    assert answer.status_code == 401
    assert f'resource_metadata="{PUBLIC_URL}/.well-known/' in answer.headers["www-authenticate"]


def test_workers_do_not_pretend_to_be_the_sandbox() -> None:
    """Its answers would say that nothing is charged, and it would be the real API."""
    settings = Settings(sandbox=True, http_token=SecretStr(HTTP_TOKEN))

    with pytest.raises(SettingsError, match="sandbox"):
        worker(settings)


def test_every_line_of_a_worker_is_json_where_that_is_wanted(tmp_path: Path) -> None:
    """Uvicorn's own lines too; those of the process that starts the workers are not ours."""
    environment = {
        "USEAPI_BASE_URL": "http://127.0.0.1:9",  # nobody is asked anything
        "USEAPI_TOKEN": TOKEN,
        "USEAPI_HTTP_TOKEN": HTTP_TOKEN,
        "USEAPI_LOG_FORMAT": "JSON",
        "USEAPI_LOG_LEVEL": "info",
    }
    with workers(tmp_path, 1, **environment) as server:
        server.call("list_jobs")
        body = request("tools/call", name="get_job", arguments={"job_id": "no id"})
        httpx.post(server.url, json=body, headers=server.headers, timeout=LONGEST_S)
        server.stop()
        lines = server.errors.read_text().splitlines()

    written = [json.loads(line) for line in lines if line.startswith("{")]
    calls = [line for line in written if "tool" in line]
    assert [("list_jobs", "ok"), ("get_job", "error")] == [
        (line["tool"], line["outcome"]) for line in calls
    ]
    assert {"ms", "request_id", "time", "level", "logger", "message"} <= calls[0].keys()
    assert "uvicorn.error" in {line["logger"] for line in written}
    plain = [line for line in lines if not line.startswith("{")]
    assert [] == [line for line in plain if "server process" in line or "Application" in line]


@pytest.mark.covered
def test_a_worker_that_can_not_start_says_why_and_ends(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError) as error,
        workers(tmp_path, 1, USEAPI_HTTP_TOKEN=HTTP_TOKEN, USEAPI_SANDBOX="true"),
    ):
        pass

    assert "useapi-mcp: Workers can't share the built-in sandbox." in str(error.value)
    assert "Traceback" not in str(error.value)
