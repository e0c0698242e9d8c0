"""Servers that share the output folder, perhaps at different paths, know each other's files."""

import asyncio
import contextlib
import filecmp
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mcp_server.sandbox.app import Sandbox
from tests.support.harness import GOOD, Harness, Network, VirtualClock, running

CLIP = GOOD["dreamina", "video"]
PICTURE = GOOD["google-flow", "image"]  # its result comes with the answer: there is no link to it


@contextlib.asynccontextmanager
async def two_servers(tmp_path: Path) -> AsyncIterator[tuple[Harness, Harness]]:
    """One journal, one vendor, and one folder of files that each sees at another path."""
    folder = tmp_path / "disk"
    folder.mkdir()
    for name in ("mounted", "elsewhere"):
        (tmp_path / name).symlink_to(folder)
    clock = VirtualClock()
    network = Network(Sandbox(now=clock.now))
    servers = [
        running(tmp_path, clock=clock, network=network, USEAPI_OUTPUT_DIR=str(tmp_path / name))
        for name in ("mounted", "elsewhere")
    ]
    async with servers[0] as first, servers[1] as second:
        yield first, second


async def saved(server: Harness, tool: str, source: str) -> tuple[str, str]:
    """The id and the path of a job with its file."""
    job_id = (await server.call(tool, source=source)).job["job_id"]
    await asyncio.sleep(60)
    job = (await server.call("download_media", job_id=job_id)).job
    return job_id, job["media"][0]["path"]


def unlinked(tmp_path: Path) -> None:
    """Make it two disks: what is on the first is not on the second."""
    (tmp_path / "mounted").unlink()
    (tmp_path / "elsewhere").unlink()
    (tmp_path / "elsewhere").mkdir()


@pytest.mark.parametrize(("tool", "source"), [("upscale_video", CLIP), ("upscale_image", PICTURE)])
async def test_a_file_is_told_where_the_server_that_is_asked_has_it(
    tmp_path: Path, tool: str, source: str
) -> None:
    async with two_servers(tmp_path) as (first, second):
        job_id, path = await saved(first, tool, source)
        (tmp_path / "mounted").unlink()  # on the second one's machine there is no such path
        told = (await second.call("get_job", job_id=job_id)).job["media"][0]["path"]
        listed = (await second.call("list_jobs")).job["jobs"][0]["path"]

    assert Path(path).parent == tmp_path / "mounted"
    assert told == listed == str(tmp_path / "elsewhere" / Path(path).name)


async def test_a_file_that_another_server_saved_is_known_by_its_path(tmp_path: Path) -> None:
    async with two_servers(tmp_path) as (first, second):
        await saved(first, "upscale_video", CLIP)
        (tmp_path / "mounted").unlink()
        path = (await second.call("list_jobs")).job["jobs"][0]["path"]
        made = await second.call("interpolate_video", source=path, fps=60)

    assert made.job["service"] == "dreamina"


async def test_what_is_there_under_another_path_is_not_paid_for_again(tmp_path: Path) -> None:
    async with two_servers(tmp_path) as (first, second):
        job_id, _ = await saved(first, "upscale_image", PICTURE)
        (tmp_path / "mounted").unlink()
        posts = len(first.posts())
        again = (await second.call("upscale_image", source=PICTURE)).job

    assert (job_id, True) == (again["job_id"], again["reused"])
    assert posts == len(first.posts())


async def test_a_server_without_the_file_downloads_it_anew(tmp_path: Path) -> None:
    async with two_servers(tmp_path) as (first, second):
        job_id, path = await saved(first, "upscale_video", CLIP)
        unlinked(tmp_path)
        told = (await second.call("get_job", job_id=job_id)).job["media"][0]
        anew = (await second.call("download_media", job_id=job_id)).job["media"][0]

    assert "path" not in told
    assert told["url"]
    assert Path(anew["path"]).parent == tmp_path / "elsewhere"
    assert filecmp.cmp(anew["path"], tmp_path / "disk" / Path(path).name, shallow=False)


async def test_a_path_that_an_older_version_wrote_down_whole_is_understood(tmp_path: Path) -> None:
    async with two_servers(tmp_path) as (first, second):
        job_id, path = await saved(first, "upscale_video", CLIP)
        with contextlib.closing(sqlite3.connect(tmp_path / "state" / "journal.sqlite")) as journal:
            written = journal.execute("select path from saved").fetchall()
            journal.execute("update saved set path = ?", (path,))
            journal.commit()
        here = (await first.call("get_job", job_id=job_id)).job["media"][0]["path"]
        (tmp_path / "mounted").unlink()
        there = (await second.call("get_job", job_id=job_id)).job["media"][0]["path"]

    assert [(Path(path).name,)] == written
    assert path == here
    assert str(tmp_path / "elsewhere" / Path(path).name) == there


async def test_a_file_of_an_output_folder_of_before_is_still_known(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_OUTPUT_DIR=str(tmp_path / "before")) as server:
        job_id, path = await saved(server, "upscale_image", PICTURE)
    shutil.copy(path, tmp_path / "kept.jpg")  # a copy under another name is none of its job
    async with running(tmp_path, sandbox=server.sandbox, clock=server.clock) as server:
        told = (await server.call("get_job", job_id=job_id)).job["media"][0]

    assert path == told["path"]
