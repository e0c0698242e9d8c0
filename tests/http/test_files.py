"""Files over HTTP: told by links that open without a token and lead to nothing else."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.types import Receive, Scope, Send

from mcp_server.sandbox import media
from mcp_server.tools.registry import GALLERY_URI, VIEWER_URI
from tests.support.harness import GOOD, Reply
from tests.support.http_memory import ADDRESS, HTTP_TOKEN, Served, serving

SECRET, OTHER_SECRET = "s" * 32, "another-secret-of-32-characters-or-more"
LINKS = {"USEAPI_PUBLIC_URL": ADDRESS, "USEAPI_SECRET": SECRET}
VIDEO = GOOD["dreamina", "video"]
DAY_S = 86_400
CLIP = media.read(media.clip(640, 360, 24))
PICTURE = media.read(media.image(1280, 720))
SENDER = {"Authorization": f"Bearer {HTTP_TOKEN}"}


async def saved(server: Served, tool: str = "upscale_video", source: str = VIDEO) -> Reply:
    """The answer of download_media for a new job."""
    job_id = (await server.call(tool, source=source)).job["job_id"]
    await asyncio.sleep(60)
    return await server.call("download_media", job_id=job_id)


def link_in(answer: Reply) -> str:
    (item,) = answer.job["media"]
    return str(item["url"])


@asynccontextmanager
async def with_a_link(folder: Path) -> AsyncIterator[tuple[Served, str]]:
    async with serving(folder, LINKS) as server:
        yield server, link_in(await saved(server))


async def test_a_saved_file_is_told_by_a_link_that_opens_without_a_token(tmp_path: Path) -> None:
    async with serving(tmp_path, LINKS) as server:
        answer = await saved(server)
        opened = await server.http.get(link_in(answer))
        (file,) = [path for path in server.output.iterdir() if path.is_file()]

    (item,) = answer.job["media"]
    assert "path" not in item
    assert answer.text.splitlines()[-1] == item["url"]
    assert "at the link below" in answer.text
    assert "works for a day" in answer.job["note"]
    assert "works for a day" in answer.text
    assert str(tmp_path) not in answer.text + json.dumps(answer.data)
    assert opened.status_code == 200
    assert opened.content == file.read_bytes()
    assert opened.headers["content-type"] == "video/mp4"
    assert opened.headers["content-disposition"] == f'inline; filename="{file.name}"'
    assert opened.headers["x-content-type-options"] == "nosniff"
    assert opened.headers["cache-control"].startswith("private")
    assert "default-src 'none'" in opened.headers["content-security-policy"]


async def test_every_answer_that_tells_a_saved_file_tells_its_link(tmp_path: Path) -> None:
    async with with_a_link(tmp_path) as (server, link), server.client() as client:
        listed = (await server.call("list_jobs")).job["jobs"][0]
        job_id = listed["job_id"]
        got = (await server.call("get_job", job_id=job_id)).job
        again = (await server.call("upscale_video", source=VIDEO)).job
        resources: list[Any] = []
        for uri in ("useapi://jobs", f"useapi://jobs/{quote(job_id, safe='')}"):
            (content,) = (await client.read_resource(uri)).contents
            resources.append(json.loads(str(getattr(content, "text", ""))))

    of_list, of_job = resources
    assert link == listed["path"] == of_list["jobs"][0]["path"]
    for job in (got, again, of_job):
        assert link == job["media"][0]["url"]
        assert "path" not in job["media"][0]
    for told in (got, again, of_job, of_list):
        assert "works for a day" in told["note"]


async def test_a_range_of_a_file_and_its_head_are_answered(tmp_path: Path) -> None:
    async with with_a_link(tmp_path) as (server, link):
        whole = (await server.http.get(link)).content
        part = await server.http.get(link, headers={"Range": "bytes=10-19"})
        end = await server.http.get(link, headers={"Range": "bytes=-5"})
        none = await server.http.get(link, headers={"Range": f"bytes={len(whole)}-"})
        head = await server.http.head(link)

    assert (206, whole[10:20]) == (part.status_code, part.content)
    assert f"bytes 10-19/{len(whole)}" == part.headers["content-range"]
    assert whole[-5:] == end.content
    assert none.status_code == 416
    assert (200, b"") == (head.status_code, head.content)
    assert str(len(whole)) == head.headers["content-length"]


async def test_a_link_works_for_a_day_and_the_next_answer_has_another(tmp_path: Path) -> None:
    async with with_a_link(tmp_path) as (server, link):
        await asyncio.sleep(DAY_S - 120)
        on_its_day = await server.http.get(link)
        await asyncio.sleep(3720)
        late = await server.http.get(link)
        late_head = await server.http.head(link)
        job_id = (await server.call("list_jobs")).job["jobs"][0]["job_id"]
        anew = link_in(await server.call("get_job", job_id=job_id))
        opened = await server.http.get(anew)

    assert [200, 410, 410] == [on_its_day.status_code, late.status_code, late_head.status_code]
    assert late.text == "This link works no more: ask for the file again to get another.\n"
    assert anew != link
    assert opened.status_code == 200


def replica(server: Served, **settings: str) -> AbstractAsyncContextManager[Served]:
    """Another server on the same folders, with some settings changed; an empty one is not set."""
    settings = {**LINKS, **settings}
    return serving(server.folder, settings, network=server.network, clock=server.clock)


def changed(link: str, **parts: str) -> str:
    proof, name = link.removeprefix(f"{ADDRESS}/files/").split("/")
    ends_at, signature = proof.split("-")
    new = {"ends_at": ends_at, "signature": signature, "name": name, **parts}
    return f"{ADDRESS}/files/{new['ends_at']}-{new['signature']}/{new['name']}"


@pytest.mark.parametrize(
    "parts",
    [
        {"signature": "0" * 32},
        {"signature": ""},
        {"signature": "f" * 31 + "é"},
        {"ends_at": "9999999999"},
        {"ends_at": "-1"},
        {"ends_at": "0"},
        {"ends_at": "１７８００９０００0"},
        {"name": "other.mp4"},
        {"name": "secret.txt"},
        {"name": ""},
        {"name": "uploads"},
        {"name": "."},
        {"name": "%2e%2e/state/journal.sqlite"},
        {"name": "..%2fstate%2fjournal.sqlite"},
        {"name": "..%5cstate"},
        {"name": "%252e%252e/state"},
        {"name": "/etc/passwd"},
        {"name": "%00"},
        {"name": "a.mp4%00.txt"},
        {"name": "%ff%fe"},
        {"name": "x" * 60_000},
    ],
)
async def test_a_link_that_was_changed_leads_to_nothing(
    tmp_path: Path, parts: dict[str, str]
) -> None:
    async with with_a_link(tmp_path) as (server, link):
        (server.output / "secret.txt").write_text("secret")
        (server.output / "other.mp4").write_bytes(CLIP)
        wrong = await server.http.get(changed(link, **parts))
        right = await server.http.get(changed(link))

    assert (404, "There is no file at this link.\n") == (wrong.status_code, wrong.text)
    assert right.status_code == 200


@pytest.mark.parametrize("path", ["/files", "/files/", "/files//", "/files/x", "/Files/a/b"])
async def test_without_a_link_there_is_nothing(tmp_path: Path, path: str) -> None:
    async with with_a_link(tmp_path) as (server, _):
        answer = await server.http.get(path)

    assert answer.status_code in (401, 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_a_link_is_for_reading_only(tmp_path: Path, method: str) -> None:
    async with with_a_link(tmp_path) as (server, link):
        answer = await server.http.request(method, link)

    assert answer.status_code == 405


async def test_a_link_to_what_is_not_that_file_any_more_leads_to_nothing(tmp_path: Path) -> None:
    async with with_a_link(tmp_path) as (server, link):
        (path,) = [path for path in server.output.iterdir() if path.is_file()]
        secret = tmp_path / "secret.mp4"
        path.rename(secret)
        deleted = await server.http.get(link)
        path.symlink_to(secret)
        linked = await server.http.get(link)
        path.unlink()
        path.mkdir()
        a_folder = await server.http.get(link)

    assert [404] * 3 == [deleted.status_code, linked.status_code, a_folder.status_code]


async def test_any_server_with_the_secret_serves_a_link_and_no_other_one_does(
    tmp_path: Path,
) -> None:
    rotated = f"{OTHER_SECRET}, {SECRET}"
    changes: list[dict[str, str]] = [
        {},
        {"USEAPI_SECRET": rotated},
        {"USEAPI_SECRET": OTHER_SECRET},
        {"USEAPI_SANDBOX": "true"},
    ]
    async with with_a_link(tmp_path) as (server, link):
        statuses = []
        for each in changes:
            async with replica(server, **each) as other:
                statuses.append((await other.http.get(link)).status_code)
        async with replica(server, USEAPI_SECRET=rotated) as other:
            job_id = (await other.call("list_jobs")).job["jobs"][0]["job_id"]
            anew = link_in(await other.call("get_job", job_id=job_id))
        by_old_secret = await server.http.get(anew)

    assert [200, 200, 404, 404] == statuses
    assert by_old_secret.status_code == 404


async def test_another_web_page_can_not_read_a_link(tmp_path: Path) -> None:
    async with with_a_link(tmp_path) as (server, link):
        foreign = await server.http.get(link, headers={"Origin": "https://evil.example"})

    assert foreign.status_code == 403


@pytest.mark.parametrize("missing", LINKS)
async def test_without_the_settings_paths_are_told_and_nothing_is_served(
    tmp_path: Path, missing: str
) -> None:
    async with (
        with_a_link(tmp_path) as (server, link),
        replica(server, **{missing: ""}) as other,
    ):
        job_id = (await other.call("list_jobs")).job["jobs"][0]["job_id"]
        told = (await other.call("get_job", job_id=job_id)).job
        opened = await other.http.get(link)
        sent = await other.http.post("/files", content=CLIP, headers=SENDER)

    assert Path(told["media"][0]["path"]).parent == server.output
    assert "which may not be yours" in told["note"]
    assert opened.status_code == 401
    assert sent.status_code in (400, 404)


async def test_a_file_in_the_folder_of_before_is_told_by_its_path(tmp_path: Path) -> None:
    """No link leads out of the output folder."""
    async with (
        with_a_link(tmp_path) as (server, _),
        replica(server, USEAPI_OUTPUT_DIR=str(tmp_path / "new")) as other,
    ):
        (listed,) = (await other.call("list_jobs")).job["jobs"]
        got = (await other.call("get_job", job_id=listed["job_id"])).job

    assert Path(got["media"][0]["path"]).parent == server.output
    assert listed["path"] == got["media"][0]["path"]
    assert "which may not be yours" in got["note"]


async def test_a_name_of_other_letters_is_kept(tmp_path: Path) -> None:
    async with serving(tmp_path, LINKS) as server:
        answer = await saved(server)
        named = await server.call(
            "download_media", job_id=answer.job["job_id"], file_name="Zürich – 4K 100%"
        )
        opened = await server.http.get(link_in(named))

    assert opened.status_code == 200
    assert opened.headers["content-disposition"] == (
        f"inline; filename*=utf-8''{quote('Zürich – 4K 100%.mp4')}"
    )


# ---- A link as a source ---------------------------------------------------------------------


async def test_a_link_to_a_saved_file_is_the_job_that_made_it(tmp_path: Path) -> None:
    async with with_a_link(tmp_path) as (server, link):
        before = len(server.network.sent)
        made = (await server.call("interpolate_video", source=link, fps=60)).job
        (post,) = [r for r in server.network.sent[before:] if r.method == "POST"]

    assert made["service"] == "dreamina"
    assert link not in post.content.decode()
    assert not [request for request in server.network.sent if "/files/" in str(request.url)]


@pytest.mark.parametrize(
    ("parts", "said"),
    [({"signature": "0" * 32}, "leads to no file"), ({"name": "a.mp4"}, "leads to no file")],
)
async def test_a_forged_link_is_no_source(tmp_path: Path, parts: dict[str, str], said: str) -> None:
    async with with_a_link(tmp_path) as (server, link):
        before = len(server.network.sent)
        refused = await server.call("upscale_video", source=changed(link, **parts))
        sent = server.network.sent[before:]

    assert refused.error["code"] == "unusable_file"
    assert said in refused.text
    assert [] == sent


@pytest.mark.parametrize("link", ["https://[mcp/files/a/b.mp4", "https://mcp.example.com]/files/a"])
async def test_what_is_no_link_at_all_is_refused(tmp_path: Path, link: str) -> None:
    async with serving(tmp_path, LINKS) as server:
        refused = await server.call("upscale_video", source=link)

    assert refused.is_error
    assert refused.error["code"] != "internal"


async def test_a_file_that_was_sent_and_is_gone_must_be_sent_again(tmp_path: Path) -> None:
    async with serving(tmp_path, LINKS) as server:
        source = (await sent(server)).json()["source"]
        (kept,) = (server.output / "uploads").iterdir()
        kept.unlink()
        refused = await server.call("upscale_video", source=source)

    assert "unusable_file" == refused.error["code"]
    assert "must be sent again" in refused.text


async def test_a_job_of_several_images_is_told_by_the_links_of_each(tmp_path: Path) -> None:
    async with serving(tmp_path, LINKS) as server:
        job = (
            await server.call(
                "generate_image", prompt="Four boats.", service="google-flow", count=4
            )
        ).job
        await server.call("download_media", job_id=job["job_id"])
        refused = await server.call(
            "generate_video", prompt="It moves.", service="pixverse", start_image=job["job_id"]
        )

    assert refused.text.count(f"{ADDRESS}/files/") == 4
    assert str(tmp_path) not in refused.text


async def test_a_late_link_is_no_source(tmp_path: Path) -> None:
    async with with_a_link(tmp_path) as (server, link):
        await asyncio.sleep(DAY_S + 3600)
        refused = await server.call("upscale_video", source=link)

    assert "works no more" in refused.text
    assert "get_job gives a new one" in refused.text


# ---- A file that a caller sends -------------------------------------------------------------


async def sent(server: Served, content: Any = CLIP, name: str = "clip.mp4", **how: Any) -> Any:
    return await server.http.post(
        "/files", params={"name": name} if name else {}, content=content, headers=SENDER, **how
    )


async def test_a_file_that_is_sent_is_a_source_without_a_fetch(tmp_path: Path) -> None:
    async with serving(tmp_path, LINKS) as server:
        answer = await sent(server)
        job = await server.call("upscale_video", source=answer.json()["source"])
        again = await server.call("upscale_video", source=answer.json()["source"])
        opened = await server.http.get(answer.json()["source"])
        (kept,) = (server.output / "uploads").iterdir()
        uploads = [r for r in server.network.sent if r.url.path.endswith("/files/")]

    assert answer.status_code == 201
    assert set(answer.json()) == {"source", "expires_at"}
    assert job.job["service"] == "pixverse"
    assert job.job["source"].startswith("clip-")
    assert again.job["job_id"] == job.job["job_id"]
    assert opened.content == CLIP
    assert kept.stat().st_mode & 0o777 == 0o600
    assert not [r for r in server.network.sent if r.url.host == "mcp.example.com"]
    assert len(uploads) <= 1


async def test_an_image_that_is_sent_is_a_first_frame(tmp_path: Path) -> None:
    async with serving(tmp_path, LINKS) as server:
        source = (await sent(server, PICTURE, "frame.png")).json()["source"]
        job = await server.call(
            "generate_video", prompt="It moves.", service="pixverse", start_image=source
        )

    assert job.job["status"] in ("running", "submitting")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("clip.mp4", "clip"),
        ("", "upload"),
        ("../../etc/passwd", "passwd"),
        ("C:\\clips\\a b.mov", "a-b"),
        (".hidden.mp4", "hidden"),
        ("a\x00b.mp4", "a-b"),
        ("Zürich Été.MP4", "zurich-ete"),
        ("電影.mp4", "upload"),
        ("x" * 5000, "x" * 40),
        ("CON", "con"),
    ],
)
async def test_a_file_is_kept_under_a_name_of_ours(tmp_path: Path, name: str, stem: str) -> None:
    async with serving(tmp_path, LINKS) as server:
        answer = await sent(server, name=name)
        (kept,) = (server.output / "uploads").iterdir()

    assert answer.status_code == 201
    assert kept.name.rpartition("-")[0] == stem
    assert kept.suffix == ".mp4"


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 415),
        (b"#!/bin/sh\n", 415),
        (b"<html>" * 1000, 415),
        (b"GIF89a" + bytes(500), 415),
        (CLIP[:20], 201),
    ],
)
async def test_the_type_of_what_is_sent_is_told_by_its_first_bytes(
    tmp_path: Path, content: bytes, status: int
) -> None:
    async with serving(tmp_path, LINKS) as server:
        answer = await sent(server, content)
        left = [path for path in server.output.rglob("*") if path.is_file()]

    assert answer.status_code == status
    assert len(left) == (status == 201)
    if status != 201:
        assert "by its own bytes" in answer.json()["error_description"]


async def pieces(count: int) -> AsyncIterator[bytes]:
    yield CLIP
    for _ in range(count):
        yield bytes(1 << 20)


async def test_what_is_too_large_is_refused_and_not_kept(tmp_path: Path) -> None:
    async with serving(tmp_path, {**LINKS, "USEAPI_MAX_DOWNLOAD_MB": "2"}) as server:
        told = await sent(server, CLIP + bytes(2 << 20))
        untold = await sent(server, pieces(5))
        fits = await sent(server, pieces(1))
        left = [path for path in server.output.rglob("*") if path.is_file()]

    assert [413, 413, 201] == [told.status_code, untold.status_code, fits.status_code]
    assert "larger than 2 MB" in told.json()["error_description"]
    assert len(left) == 1


async def test_a_disk_without_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1 << 20}))
    async with serving(tmp_path, LINKS) as server:
        answer = await sent(server)
        left = [path for path in server.output.rglob("*") if path.is_file()]

    assert answer.status_code == 507
    assert "no room" in answer.json()["error_description"]
    assert [] == left


async def test_a_folder_that_leads_elsewhere_takes_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, LINKS) as server:
        server.output.mkdir()
        (tmp_path / "elsewhere").mkdir()
        (server.output / "uploads").symlink_to(tmp_path / "elsewhere")
        answer = await sent(server)

    assert answer.status_code == 507
    assert [] == list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer another"}])
async def test_nobody_sends_a_file_without_the_token(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async with serving(tmp_path, LINKS) as server:
        answer = await server.http.post("/files?name=a.mp4", content=CLIP, headers=headers)

    assert answer.status_code == 401
    assert not server.output.exists()


async def test_who_may_only_read_sends_no_file(tmp_path: Path) -> None:
    token = AccessToken(token="", client_id="t", scopes=["jobs:read"], subject="somebody")
    async with serving(tmp_path, LINKS) as server:

        async def as_a_reader(scope: Scope, receive: Receive, send: Send) -> None:
            await server.app({**scope, "user": AuthenticatedUser(token)}, receive, send)

        transport = httpx.ASGITransport(as_a_reader)
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as http:
            answer = await http.post("/files", content=CLIP, headers=SENDER)
        asked = await server.http.get("/files", headers=SENDER)

    assert (403, "insufficient_scope") == (answer.status_code, answer.json()["error"])
    assert 405 == asked.status_code
    assert not server.output.exists()


async def test_what_was_sent_is_removed_when_its_link_has_ended_and_nothing_else(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, LINKS) as server:
        await sent(server)
        (kept,) = (server.output / "uploads").iterdir()
        mine = server.output / "uploads" / "clip-of-mine.mp4"
        mine.write_bytes(CLIP)
        for path in (kept, mine):
            at = server.clock.now()
            os.utime(path, (at, at))
        await asyncio.sleep(DAY_S)
        await sent(server)
        server_after_a_day = kept.exists()
        await asyncio.sleep(7201)
        await sent(server)
    left = set((tmp_path / "output" / "uploads").iterdir())

    assert server_after_a_day
    assert kept not in left
    assert mine in left


async def test_a_path_over_http_is_refused_with_how_to_send_the_file(tmp_path: Path) -> None:
    async with serving(tmp_path, LINKS) as server:
        refused = await server.call("upscale_video", source="/home/me/clip.mp4")

    assert refused.error["code"] == "unusable_file"
    assert f"POST {ADDRESS}/files?name=clip.mp4" in refused.text


async def test_a_sender_that_leaves_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    async def cut() -> AsyncIterator[bytes]:
        yield CLIP[:1000]
        raise httpx.WriteError("cut")

    async with serving(tmp_path, LINKS) as server:
        with pytest.raises(httpx.WriteError):
            await sent(server, cut())
        await asyncio.sleep(1)
        left = [path for path in server.output.rglob("*") if path.is_file()]

    assert [] == left


async def test_the_pages_in_the_chat_may_load_a_link_and_know_that_it_is_of_a_saved_file(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, LINKS) as server, server.client() as client:
        answer = await saved(server)
        pages = [await client.read_resource(uri) for uri in (VIEWER_URI, GALLERY_URI)]
    allowed = [page.contents[0].meta["ui"]["csp"]["resourceDomains"] for page in pages]  # type: ignore[index]

    (shown,) = answer.meta["useapi-mcp/links"]
    assert shown["saved"]
    assert "useapi-mcp/remote" not in answer.meta  # no path is told
    assert all(ADDRESS in domains for domains in allowed)
