"""Journals that older versions wrote stay readable, and what they hold is not paid for again."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.harness import GOOD, running

VIDEO = GOOD["dreamina", "video"]


def rename_to_source_id(folder: Path) -> None:
    """Name the source of every job in a journal as versions before `source` did."""
    with closing(sqlite3.connect(folder / "state" / "journal.sqlite")) as database:
        rows = database.execute("select id, job from submission").fetchall()
        for row_id, job in rows:
            stored = json.loads(job)
            stored["source_id"] = stored.pop("source")
            database.execute(
                "update submission set job = ? where id = ?", (json.dumps(stored), row_id)
            )
        database.commit()
    assert rows


async def test_a_job_with_source_id_is_read_and_used_again(tmp_path: Path) -> None:
    async with running(tmp_path) as before:
        job = (await before.call("upscale_video", source=VIDEO)).job
    rename_to_source_id(tmp_path)

    async with running(
        tmp_path, sandbox=before.sandbox, network=before.network, clock=before.clock
    ) as server:
        (listed,) = (await server.call("list_jobs")).job["jobs"]
        again = (await server.call("upscale_video", source=VIDEO)).job
        done = (await server.call("get_job", job_id=job["job_id"], wait_seconds=50)).job

    assert [VIDEO] * 3 == [each["source"] for each in (listed, again, done)]
    assert "source_id" not in listed
    assert job["job_id"] == again["job_id"]
    assert len(before.posts()) == 1
