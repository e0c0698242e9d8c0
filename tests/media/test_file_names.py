"""File names: valid on every system, or refused with the reason."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.errors import RequestError
from mcp_server.media.names import MadeName, check_file_name
from mcp_server.media.probe import MediaInfo
from tests.support.corpora import GOOD_FILE_NAMES, HOSTILE_FILE_NAMES

FOLDER = Path("/home/jane/Downloads/useapi-mcp")


@pytest.mark.parametrize("name", HOSTILE_FILE_NAMES)
def test_a_name_that_may_mean_something_else_is_refused(name: str) -> None:
    with pytest.raises(RequestError) as refusal:
        check_file_name(name, FOLDER)

    assert "nothing was saved" in refusal.value.message
    assert refusal.value.message.isprintable()


@pytest.mark.parametrize(("name", "stem"), GOOD_FILE_NAMES)
def test_a_good_name_stays_as_it_is_but_for_a_media_extension(name: str, stem: str) -> None:
    assert stem == check_file_name(name, FOLDER)


@given(st.text(max_size=150))
def test_whatever_is_asked_for_is_one_plain_name_or_refused(name: str) -> None:
    try:
        stem = check_file_name(name, FOLDER)
    except RequestError:
        return

    assert name.startswith(stem)
    assert stem.isprintable()
    assert not set('/\\:*?"<>|') & set(stem)
    assert stem.strip(" .") == stem.removeprefix(".")
    assert len(stem.encode()) <= 200


JOB_ID = "j0302v-u1-CA:jane@example.com-bot:dreamina"


@pytest.mark.parametrize(
    ("name", "info", "stem"),
    [
        (
            MadeName("dreamina", JOB_ID, "upscale_video", "2026-11-26T10:00:00.000Z"),
            MediaInfo("video/mp4", "video", 2560, 1440, 5000, 24.0),
            "dreamina-upscale-2560x1440-2026-11-26-",
        ),
        (
            MadeName("dreamina", JOB_ID, "interpolate_video", "2026-11-26"),
            MediaInfo("video/mp4", "video", 1280, 720, 5000, 59.94),
            "dreamina-interpolate-1280x720-60fps-2026-11-26-",
        ),
        (MadeName("google-flow", JOB_ID), None, "google-flow-"),
        (MadeName("../evil", JOB_ID, "../../x_y", "/etc"), None, "evil-x-etc-"),
    ],
    ids=["upscale", "interpolation", "nothing known", "hostile"],
)
def test_a_name_made_here_says_what_the_file_is_and_not_whose(
    name: MadeName, info: MediaInfo | None, stem: str
) -> None:
    made = name.stem(info)

    assert made.startswith(stem)
    assert 8 == len(made.removeprefix(stem))
    assert "jane" not in made
    assert made == check_file_name(made, FOLDER)


def test_jobs_and_files_of_one_job_have_names_of_their_own() -> None:
    first, second = MadeName("pixverse", "1"), MadeName("pixverse", "2")

    stems = {name.stem(None) for name in (first, second, first.numbered(1), first.numbered(2))}

    assert 4 == len(stems)


def test_who_asks_for_another_folder_hears_where_files_go() -> None:
    for name in ("/home/jane/Desktop/film.mp4", "Desktop\\film"):
        with pytest.raises(RequestError) as refusal:
            check_file_name(name, FOLDER)

        assert "names a folder" in refusal.value.message
        assert str(FOLDER) in refusal.value.hint
        assert "USEAPI_OUTPUT_DIR" in refusal.value.hint
