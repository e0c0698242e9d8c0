"""The viewer as a host reads it; what the page does there is tested by `make viewer`."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from mcp.types import TextResourceContents

from mcp_server.server import viewer
from mcp_server.services.registry import SERVICES
from mcp_server.settings import Settings
from mcp_server.tools.registry import VIEWER_URI
from tests.support.harness import GOOD, Harness, running

ERAS = ("auto", "legacy")
PAGE = (Path(viewer.__file__).parent / "viewer.html").read_text("utf-8")
PAID = {
    "upscale_video",
    "interpolate_video",
    "upscale_image",
    "generate_video",
    "generate_image",
}
SHOWN = {*PAID, "get_job"}


async def metas(server: Harness) -> dict[str, dict[str, Any]]:
    """The `_meta` of every tool that has one."""
    listed = await server.client.list_tools()
    return {tool.name: tool.meta for tool in listed.tools if tool.meta}


async def page_of(server: Harness) -> TextResourceContents:
    (page,) = (await server.client.read_resource(VIEWER_URI)).contents
    assert isinstance(page, TextResourceContents)
    return page


def test_the_page_is_small() -> None:
    assert len(PAGE.encode()) <= 40_000


@pytest.mark.parametrize(
    "foreign",
    [r"https?://", r"\bsrc=", r"href=", r"url\(", "@import", "<link", "<iframe", r"\bimport\b"],
)
def test_the_page_refers_to_nothing_outside(foreign: str) -> None:
    assert [] == re.findall(foreign, PAGE)


@pytest.mark.parametrize(
    "risk",
    [
        *("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("),
        *("fetch(", "XMLHttpRequest", "WebSocket", "localStorage", "sessionStorage", ' onclick="'),
    ],
)
def test_the_page_makes_no_markup_or_code_of_strings_and_asks_no_network(risk: str) -> None:
    assert risk not in PAGE


@pytest.mark.parametrize("era", ERAS)
async def test_a_host_can_read_the_page(tmp_path: Path, era: str) -> None:
    async with running(tmp_path, client_options={"mode": era}) as server:
        page = await page_of(server)
        listed = [str(each.uri) for each in (await server.client.list_resources()).resources]

    assert PAGE == page.text
    assert page.mime_type == "text/html;profile=mcp-app"
    assert VIEWER_URI in listed


async def test_the_page_may_load_media_from_the_services_hosts_only(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        ui = ((await page_of(server)).meta or {})["ui"]

    hosts = [host for service in SERVICES for host in service.media_hosts]
    assert {"csp": {"resourceDomains": hosts}, "prefersBorder": True} == ui
    assert all(host.startswith("https://") for host in hosts)


def test_every_service_names_the_hosts_of_its_media() -> None:
    assert all(service.media_hosts for service in SERVICES)


def test_a_vendor_on_this_machine_may_be_loaded_from_too() -> None:
    local = Settings.read({"USEAPI_BASE_URL": "http://127.0.0.1:8001"})

    assert viewer.media_origins(local)[-1] == "http://127.0.0.1:8001"
    assert viewer.media_origins(local)[:-1] == viewer.media_origins(Settings.read({}))


@pytest.mark.parametrize("era", ERAS)
async def test_tools_that_are_about_one_job_show_it_in_both_spellings(
    tmp_path: Path, era: str
) -> None:
    async with running(tmp_path, client_options={"mode": era}) as server:
        told = await metas(server)

    assert SHOWN == {name for name, meta in told.items() if "ui/resourceUri" in meta}
    assert SHOWN == {name for name, meta in told.items() if "resourceUri" in meta.get("ui", {})}
    for name in SHOWN:
        assert VIEWER_URI == told[name]["ui"]["resourceUri"] == told[name]["ui/resourceUri"]


async def test_the_page_may_read_and_save_but_never_spend(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        told = await metas(server)

    allowed = {name for name, meta in told.items() if "app" in meta["ui"]["visibility"]}
    assert {"get_job", "download_media"} == allowed
    assert all("model" in meta["ui"]["visibility"] for meta in told.values())
    assert PAID == told.keys() - allowed


async def test_the_list_of_tools_stays_within_its_budget(tmp_path: Path) -> None:
    """What only hosts read, the five schemas of a job above all, included."""
    async with running(tmp_path) as server:
        listed = (await server.client.list_tools()).model_dump(
            mode="json", by_alias=True, exclude_none=True
        )

    assert len(json.dumps(listed, separators=(",", ":"), ensure_ascii=False).encode()) <= 32_000


async def test_hosts_are_told_that_there_are_apps(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        extensions = server.client.server_capabilities.extensions or {}

    assert "io.modelcontextprotocol/ui" in extensions


async def test_a_client_without_apps_loses_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("upscale_video", source=GOOD["dreamina", "video"])

    assert reply.job["status"] == "running"
    assert "Next: get_job(" in reply.text
