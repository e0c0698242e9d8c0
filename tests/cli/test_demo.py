"""The demo: a real client, a real server process, real files."""

import asyncio
import re
from pathlib import Path

import pytest

from mcp_server.cli import demo
from mcp_server.media.probe import probe
from tests.support.harness import GOOD

AFTER = {
    "a-wish-to-a-4k-file-after.mp4": (3840, 2160, 24.0),
    "an-own-file-to-a-4k-file-after.mp4": (3840, 2160, 24.0),
    "dreamina-upscale-video-after.mp4": (1280, 720, 24.0),
    "dreamina-interpolate-to-60-fps-after.mp4": (1280, 720, 60.0),
    "dreamina-upscale-image-to-8k-after.jpg": (7680, 4320, None),
    "google-flow-upscale-video-to-4k-after.mp4": (3840, 2160, 24.0),
    "google-flow-upscale-image-to-2k-after.jpg": (2560, 1440, None),
    "pixverse-upscale-video-to-4k-after.mp4": (3840, 2160, 24.0),
}


def test_the_demo_saves_a_larger_or_smoother_file_for_every_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "files"

    asyncio.run(demo.run(folder, GOOD, job_s=0.3))

    for name, expected in AFTER.items():
        with (folder / "sandbox" / name).open("rb") as file:
            facts = probe(file)
        assert facts is not None
        assert expected == (facts.width, facts.height, facts.frame_rate)
    printed = capsys.readouterr().out
    assert "640x360 24 fps 2.0 s" in printed
    assert "1280x720 60 fps 2.0 s" in printed
    assert str(folder / "sandbox") in printed
    assert "useapi-mcp check" in printed
    wide = [line for line in printed.splitlines() if len(line) > 80 and str(folder) not in line]
    assert [] == wide
    line = f"{'Dreamina interpolate to 60 fps':<32} "
    assert [f"{line}running", f"{line}completed"] == [
        found for found in printed.splitlines() if re.fullmatch(rf"{line}\w+", found)
    ]


def test_a_job_that_fails_ends_the_demo_with_what_the_tool_said(tmp_path: Path) -> None:
    wrong = dict.fromkeys(GOOD, "nonsense")

    with pytest.raises(SystemExit, match="This job_id is no id"):
        asyncio.run(demo.run(tmp_path, wrong, job_s=0.3))


def test_a_server_that_does_not_start_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))  # no Python starts with this

    with pytest.raises(SystemExit) as left:
        asyncio.run(demo.run(tmp_path, GOOD))

    assert str(left.value).startswith("The server did not start.")
    assert "\n" not in str(left.value)
