"""CVEs of servers like this one: where each class is kept out, and a test that it is.

The list is reliability.md C2. `ELSEWHERE` names the tests that say more; `DO_NOT_APPLY` says why
some can't happen here at all.
"""

import ast
import asyncio
import importlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client

import mcp_server
from mcp_server.errors import DownloadError, RequestError
from mcp_server.media.names import check_file_name
from mcp_server.media.ssrf import is_public
from mcp_server.server.factory import create_server
from mcp_server.settings import Settings
from mcp_server.tools.registry import all_tools
from tests.media.test_fetch import LINK, Web, fetch, fetcher, redirect
from tests.support.harness import GOOD, ORIGIN, TOKEN, Fault, reply, running

ELSEWHERE = {
    "CVE-2026-32871 (FastMCP): ids in a path": "security.test_hostile_ids",
    "CVE-2026-27825 (mcp-atlassian): arbitrary file write": "jobs.test_downloads",
    "CVE-2026-27826 (mcp-atlassian): address from a header": "media.test_fetch",
    "GHSA-489g-7rxv-6c8q (mcp-atlassian): rebinding after the check": "media.test_fetch",
    "CVE-2026-49857 (auth-fetch-mcp): IPv4-mapped IPv6": "media.test_ssrf",
    "CVE-2026-33989 (mobile-mcp): output path": "media.test_file_names",
    "CVE-2026-35394 (mobile-mcp): URL scheme": "media.test_fetch",
    "CVE-2026-40576 (excel-mcp-server): absolute paths": "media.test_file_names",
    "CVE-2025-53109, 53110 (filesystem): links, prefixes": "jobs.test_downloads",
    "CVE-2025-53365, 53366 (python-sdk): one bad request": "security.test_cves",
    "CVE-2026-48710 (starlette): address rebuilt from Host": "security.test_cves",
}
DO_NOT_APPLY = {
    "CVE-2025-6514 (mcp-remote), CVE-2025-68143 to 68145 (mcp-server-git)": (
        "no command is run: see test_no_module_of_ours_can_run_a_command"
    ),
    "CVE-2026-27124 (FastMCP)": "there is no OAuth proxy; the bearer token is ours alone",
    "CVE-2026-25536 (TypeScript SDK)": (
        "another SDK; the same shape is tried over HTTP with the same request ids"
    ),
    "CVE-2025-49596 (Inspector), CVE-2026-23744 (MCPJam)": (
        "stdio opens no port; HTTP binds 127.0.0.1 and asks for a token unless --no-auth is given"
    ),
    "CVE-2025-66416 and its like": "Host and Origin lists of the HTTP app: tests/http/test_app.py",
    "GHSA-g5r6-gv6m-f5jv (mcp-atlassian)": "nothing is uploaded: no tool reads a file",
}


def test_the_tests_named_here_exist() -> None:
    for name in ELSEWHERE.values():
        importlib.import_module(f"tests.{name}")


@pytest.mark.parametrize(
    "job_id",
    ["../../accounts", f"{GOOD['dreamina', 'video']}/../../../accounts", "%2e%2e/accounts"],
)
async def test_cve_2026_32871_an_id_never_leads_to_another_path(
    tmp_path: Path, job_id: str
) -> None:
    async with running(tmp_path) as harness:
        refused = await harness.call("get_job", job_id=job_id)

        assert "unknown_id" == refused.error["code"]
        assert [] == harness.network.sent


@pytest.mark.parametrize("name", ["../../.bashrc", "/etc/cron.d/x", "..\\x", "C:x", ".ssh"])
def test_cve_2026_27825_a_download_stays_in_its_folder(name: str) -> None:
    """And 33989, 40576: a path from the caller was written to as it was."""
    with pytest.raises(RequestError):
        check_file_name(name, Path("/home/jane/films"))


async def test_cve_2026_27825_the_vendor_has_no_say_in_the_name(tmp_path: Path) -> None:
    """Neither the link nor Content-Disposition names a file."""
    async with running(tmp_path) as harness:
        harness.network.concerns = lambda request: request.url.path.startswith("/media/")
        body = (
            Path(mcp_server.__file__).parent / "sandbox/samples/clip-640x360-24fps.mp4"
        ).read_bytes()
        evil = {"content-disposition": 'attachment; filename="../../evil.sh"'}
        harness.network.faults = [Fault(then=httpx.Response(200, headers=evil, content=body))]

        saved = await harness.call("download_media", job_id=GOOD["dreamina", "video"])

        (path,) = (tmp_path / "output").iterdir()
        assert str(path) == saved.job["media"][0]["path"]
        assert path.name.startswith("dreamina-")
        assert ".mp4" == path.suffix


async def test_ghsa_489g_7rxv_6c8q_the_address_that_was_checked_is_the_one_used() -> None:
    answers = iter((["93.184.215.14"], ["127.0.0.1"]))

    async def rebinding(host: str) -> list[str]:
        return next(answers)

    web = Web()

    await fetch(fetcher(web, rebinding))

    assert ["93.184.215.14"] == [request.url.host for request in web.seen]


@pytest.mark.parametrize("address", ["::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::7f00:1"])
def test_cve_2026_49857_an_address_in_another_is_seen(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://media.example.com/a", "data:,x"])
async def test_cve_2026_35394_only_https_is_fetched(url: str) -> None:
    web = Web({"media.example.com/clip.mp4": redirect(url)})

    for start in (url, LINK):
        with pytest.raises(DownloadError):
            await fetch(fetcher(web), start)


async def test_cve_2025_53109_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    output = tmp_path / "output"
    output.mkdir()
    (output / "clip.mp4").symlink_to(target)
    async with running(tmp_path) as harness:
        await harness.call("download_media", job_id=GOOD["dreamina", "video"], file_name="clip")

        assert not target.exists()
        assert (output / "clip-2.mp4").is_file()


async def test_cve_2026_27826_and_48710_no_header_of_the_client_moves_the_token(
    tmp_path: Path,
) -> None:
    """The token goes to the origin of USEAPI_BASE_URL, whatever a vendor or a link says."""
    async with running(tmp_path) as harness:
        harness.network.concerns = lambda request: True
        away = httpx.Response(302, headers={"location": "https://evil.example.com/"})
        harness.network.faults = [Fault(then=away)] * 9
        await harness.call("get_job", job_id=GOOD["dreamina", "video"])
        await harness.call("upscale_video", source=GOOD["dreamina", "video"])

        for request in harness.network.sent:
            assert ORIGIN == f"{request.url.scheme}://{request.url.host}"
            assert "api.useapi.net" == request.headers["host"]


async def test_cve_2025_53365_one_bad_call_ends_no_session(tmp_path: Path) -> None:
    async with running(tmp_path) as harness:
        bad: list[dict[str, Any]] = [{}, {"job_id": 1}, {"job_id": []}, {"x": {}}]
        for arguments in bad:
            refused = await harness.call("get_job", **arguments)
            assert refused.is_error

        assert not (await harness.call("list_jobs")).is_error


async def test_answers_to_many_clients_are_never_mixed_up(tmp_path: Path) -> None:
    """CVE-2026-25536's shape: one server, many clients, the same request ids in all of them."""
    settings = Settings.read({"USEAPI_TOKEN": TOKEN, "USEAPI_STATE_DIR": str(tmp_path)})
    server = create_server(settings)

    async def one(number: int) -> None:
        async with Client(server) as client:
            for _ in range(5):
                asked = {"job_id": "x", f"argument_{number}": "x"}
                answer = reply(await client.call_tool("get_job", asked))
                assert f"no argument argument_{number}," in answer.text

    await asyncio.gather(*(one(number) for number in range(20)))


def test_no_tool_takes_an_address_a_header_or_a_path_but_as_a_source() -> None:
    """And none reaches accounts, cookies or the global webhook (scope creep, C1 row 13).

    What a source or an image may be is told by tests/tools/test_sources.py.
    """
    allowed = {
        *("source", "job_id", "resolution", "fps", "image_index", "original_image_strength"),
        *("detail_strength", "reply_url", "reply_ref", "max_jobs", "captcha_token"),
        *(
            "max_credits",
            "captcha_retry",
            "captcha_order",
            "wait_seconds",
            "status",
            "limit",
            "file_name",
        ),
        *("prompt", "model", "duration_seconds", "aspect_ratio", "count", "variation"),
        *("start_image", "end_image", "reference_image"),
        # Of list_media and check_accounts; `account` is only ever one of the linked ones.
        *("service", "kind", "cursor", "account", "credits"),
    }

    for tool in all_tools():
        assert set(tool.parameters["properties"]) <= allowed


def test_no_module_of_ours_can_run_a_command() -> None:
    """CVE-2025-6514 and the git server's: there is nothing to inject into."""
    barred = {"subprocess", "pty", "ctypes", "pickle", "marshal", "shelve"}
    calls = {"eval", "exec", "compile", "system", "popen", "create_subprocess_shell"}
    for path in Path(mcp_server.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert not barred & {alias.name.partition(".")[0] for alias in node.names}, path
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").partition(".")[0] not in barred, path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in calls, (path, called)
                assert called.rpartition(".")[2] not in calls - {"compile"}, (path, called)
