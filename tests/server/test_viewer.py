"""The viewer as a host reads it; what the page does there is tested by `make viewer`."""

import asyncio
import base64
import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from mcp import MCPError
from mcp.types import BlobResourceContents, TextResourceContents

from mcp_server.server import viewer
from mcp_server.services.registry import SERVICES
from mcp_server.settings import Settings
from mcp_server.tools.registry import GALLERY_URI, VIEWER_URI
from tests.support.harness import GOOD, Harness, running

ERAS = ("auto", "legacy")
PAGES = {VIEWER_URI: viewer.page("viewer.html"), GALLERY_URI: viewer.page("gallery.html")}
ALL_PAGES = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
PAID = {
    "upscale_video",
    "interpolate_video",
    "upscale_image",
    "generate_video",
    "generate_image",
}
SHOWN = {
    **dict.fromkeys((*PAID, "get_job"), VIEWER_URI),
    **dict.fromkeys(("list_media", "list_jobs"), GALLERY_URI),
}


async def metas(server: Harness) -> dict[str, dict[str, Any]]:
    """The `_meta` of every tool that has one."""
    listed = await server.client.list_tools()
    return {tool.name: tool.meta for tool in listed.tools if tool.meta}


async def page_of(server: Harness, uri: str = VIEWER_URI) -> TextResourceContents:
    (page,) = (await server.client.read_resource(uri)).contents
    assert isinstance(page, TextResourceContents)
    return page


def bytes_at(path: str) -> bytes:
    return Path(path).read_bytes()


async def finished(server: Harness, tool: str, **given: Any) -> Any:
    """The whole answer about a job that is completed."""
    job_id = (await server.call(tool, **given)).job["job_id"]
    await asyncio.sleep(120)
    return await server.client.call_tool("get_job", {"job_id": job_id})


@ALL_PAGES
def test_a_page_is_small_and_whole(page: str) -> None:
    assert len(page.encode()) <= 60_000
    assert page.startswith("<!doctype html>")
    assert "/*" not in page


@pytest.mark.parametrize(
    "foreign",
    [r"https?://", r"\bsrc=", r"href=", r"url\(", "@import", "<link", "<iframe", r"\bimport\b"],
)
@ALL_PAGES
def test_a_page_refers_to_nothing_outside(page: str, foreign: str) -> None:
    assert [] == re.findall(foreign, page)


@pytest.mark.parametrize(
    "risk",
    [
        *("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("),
        *("fetch(", "XMLHttpRequest", "WebSocket", "localStorage", "sessionStorage", ' onclick="'),
    ],
)
@ALL_PAGES
def test_a_page_makes_no_markup_or_code_of_strings_and_asks_no_network(
    page: str, risk: str
) -> None:
    assert risk not in page


@ALL_PAGES
def test_a_page_allows_itself_no_script_but_its_own_whatever_the_host_allows(page: str) -> None:
    policy = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)

    assert 1 == len(policy)
    rules = dict(rule.strip().split(" ", 1) for rule in policy[0].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'unsafe-inline'"


@pytest.mark.parametrize("uri", PAGES)
@pytest.mark.parametrize("era", ERAS)
async def test_a_host_can_read_a_page(tmp_path: Path, era: str, uri: str) -> None:
    async with running(tmp_path, client_options={"mode": era}) as server:
        page = await page_of(server, uri)
        listed = [str(each.uri) for each in (await server.client.list_resources()).resources]

    assert PAGES[uri] == page.text
    assert page.mime_type == "text/html;profile=mcp-app"
    assert uri in listed


@pytest.mark.parametrize("uri", PAGES)
async def test_a_page_may_load_media_from_the_services_hosts_and_what_it_read_itself(
    tmp_path: Path, uri: str
) -> None:
    async with running(tmp_path) as server:
        ui = ((await page_of(server, uri)).meta or {})["ui"]

    hosts = [host for service in SERVICES for host in service.media_hosts]
    assert ui["csp"] == {"resourceDomains": [*hosts, "data:"]}
    assert ui["permissions"] == {"clipboardWrite": {}}
    assert all(host.startswith("https://") for host in hosts)


def test_every_service_names_the_hosts_of_its_media() -> None:
    assert all(service.media_hosts for service in SERVICES)


def test_a_vendor_on_this_machine_may_be_loaded_from_too() -> None:
    local = Settings.read({"USEAPI_BASE_URL": "http://127.0.0.1:8001"})

    assert viewer.media_origins(local)[-1] == "http://127.0.0.1:8001"
    assert viewer.media_origins(local)[:-1] == viewer.media_origins(Settings.read({}))


@pytest.mark.parametrize("era", ERAS)
async def test_tools_name_the_page_that_shows_their_answer_in_both_spellings(
    tmp_path: Path, era: str
) -> None:
    async with running(tmp_path, client_options={"mode": era}) as server:
        told = await metas(server)

    modern = {name: meta["ui"].get("resourceUri") for name, meta in told.items()}
    older = {name: meta.get("ui/resourceUri") for name, meta in told.items()}
    assert modern == older
    assert SHOWN == {name: page for name, page in modern.items() if page}


async def test_a_page_may_read_save_and_cancel_but_never_spend(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        told = await metas(server)

    allowed = {name for name, meta in told.items() if "app" in meta["ui"]["visibility"]}
    free = {"get_job", "list_media", "list_jobs", "download_media", "cancel_job"}
    assert free == allowed
    assert all("model" in meta["ui"]["visibility"] for meta in told.values())
    assert PAID == told.keys() - allowed


async def test_the_list_of_tools_stays_within_its_budget(tmp_path: Path) -> None:
    """What only hosts read, the five schemas of a job above all, included."""
    async with running(tmp_path) as server:
        listed = (await server.client.list_tools()).model_dump(
            mode="json", by_alias=True, exclude_none=True
        )

    assert len(json.dumps(listed, separators=(",", ":"), ensure_ascii=False).encode()) <= 32_100


async def test_hosts_are_told_that_there_are_apps(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        extensions = server.client.server_capabilities.extensions or {}

    assert "io.modelcontextprotocol/ui" in extensions


async def test_a_client_without_apps_loses_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("upscale_video", source=GOOD["dreamina", "video"])

    assert reply.job["status"] == "running"
    assert "Next: get_job(" in reply.text


STEPS = "useapi-mcp/steps"


@pytest.mark.parametrize(
    ("tool", "given", "expected"),
    [
        (
            "upscale_video",
            {"source": GOOD["dreamina", "video"]},
            [("interpolate_video", {"fps": 60}, 66)],
        ),
        ("interpolate_video", {"source": GOOD["dreamina", "video"], "fps": 60}, []),
        ("upscale_video", {"source": GOOD["google-flow", "video"]}, []),
        ("upscale_video", {"source": GOOD["pixverse", "video"]}, []),
    ],
)
async def test_a_completed_job_tells_the_page_what_can_be_done_next_and_its_price(
    tmp_path: Path, tool: str, given: dict[str, Any], expected: list[Any]
) -> None:
    async with running(tmp_path) as server:
        answer = await finished(server, tool, **given)
        job_id = answer.structured_content["job_id"]
        steps = (answer.meta or {}).get(STEPS, [])
        taken = [
            await server.call(
                step["tool"], source=step["source"], **step["arguments"], max_credits=step["price"]
            )
            for step in steps
        ]

    assert expected == [(step["tool"], step["arguments"], step["price"]) for step in steps]
    assert all(step["source"] == job_id for step in steps)
    assert all(reply.job["status"] == "running" for reply in taken)


@pytest.mark.parametrize(
    ("service", "offered"),
    [
        (
            "google-flow",
            {
                "google-flow upscale_video": [
                    ({"resolution": "1080p"}, 0),
                    ({"resolution": "4K"}, 50),
                ],
                "google-flow upscale_image": [({"resolution": "4k"}, 0)],
            },
        ),
        (
            "pixverse",
            {
                "pixverse upscale_video": [({"resolution": "4K"}, None)],
                "pixverse upscale_image": [({"resolution": "4k"}, None)],
            },
        ),
    ],
)
async def test_a_list_of_media_tells_the_page_what_its_rows_offer_at_which_price(
    tmp_path: Path, service: str, offered: dict[str, Any]
) -> None:
    async with running(tmp_path) as server:
        answer = await server.client.call_tool("list_media", {"service": service, "limit": 50})

    told = (answer.meta or {})[STEPS]
    assert offered == {
        name: [(step["arguments"], step.get("price")) for step in steps]
        for name, steps in told.items()
    }
    can = {tool for row in (answer.structured_content or {})["media"] for tool in row["can"]}
    from_a_prompt = {"generate_video", "generate_image"}  # a press can't say what to make
    assert {name.split(" ")[1] for name in told} == can - from_a_prompt - {"download_media"}


async def test_a_list_of_jobs_has_pictures_for_the_page_and_none_for_the_model(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as server:
        await finished(server, "upscale_video", source=GOOD["dreamina", "video"])
        await server.call("upscale_video", source=GOOD["pixverse", "video"])
        answer = await server.client.call_tool("list_jobs", {})

    jobs = (answer.structured_content or {})["jobs"]
    [running_row, row] = (answer.meta or {})["useapi-mcp/rows"]
    assert ["running", "completed"] == [job["status"] for job in jobs]
    assert running_row == {}
    assert row["url"].startswith("https://")
    assert row["can"] == ["interpolate_video"]
    assert "url" not in json.dumps(answer.structured_content)


async def test_a_saved_file_can_be_read_by_the_page(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        answer = await finished(server, "upscale_image", source=GOOD["google-flow", "image"])
        [medium] = answer.structured_content["media"]
        uri = f"useapi://jobs/{quote(answer.structured_content['job_id'], safe='')}/files/0"
        [content] = (await server.client.read_resource(uri)).contents

    assert isinstance(content, BlobResourceContents)
    assert base64.b64decode(content.blob) == await asyncio.to_thread(bytes_at, medium["path"])


@pytest.mark.parametrize("number", ["1", "-1", "x", "99999", "..%2F0", "0%2F.."])
async def test_no_other_file_can_be_read(tmp_path: Path, number: str) -> None:
    async with running(tmp_path) as server:
        answer = await finished(server, "upscale_image", source=GOOD["google-flow", "image"])
        uri = f"useapi://jobs/{quote(answer.structured_content['job_id'], safe='')}/files/{number}"
        with pytest.raises(MCPError):
            await server.client.read_resource(uri)


async def test_a_file_that_is_gone_or_too_large_is_not_read(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        answer = await finished(server, "upscale_image", source=GOOD["google-flow", "image"])
        path = answer.structured_content["media"][0]["path"]
        uri = f"useapi://jobs/{quote(answer.structured_content['job_id'], safe='')}/files/0"
        os.truncate(path, 13 << 20)
        with pytest.raises(MCPError):
            await server.client.read_resource(uri)
        await asyncio.to_thread(Path(path).unlink)
        with pytest.raises(MCPError):
            await server.client.read_resource(uri)
        await asyncio.to_thread(Path(path).symlink_to, tmp_path)
        with pytest.raises(MCPError):
            await server.client.read_resource(uri)


async def test_the_link_of_what_was_there_before_is_had_by_its_id(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        uri = f"useapi://media/{quote(GOOD['google-flow', 'video'], safe='')}"
        [content] = (await server.client.read_resource(uri)).contents

    assert isinstance(content, TextResourceContents)
    assert json.loads(content.text)["url"].startswith("https://")


@pytest.mark.parametrize("source", ["nonsense", "..%2F..", GOOD["dreamina", "video"]])
async def test_what_has_no_link_by_its_id_is_not_found(tmp_path: Path, source: str) -> None:
    async with running(tmp_path) as server:
        with pytest.raises(MCPError) as error:
            await server.client.read_resource(f"useapi://media/{quote(source)}")

    assert "Traceback" not in error.value.message
