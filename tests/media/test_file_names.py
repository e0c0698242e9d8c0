"""File names: valid on every system, or refused with the reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.errors import RequestError
from mcp_server.media.files import check_file_name
from tests.support.corpora import GOOD_FILE_NAMES, HOSTILE_FILE_NAMES


@pytest.mark.parametrize("name", HOSTILE_FILE_NAMES)
def test_a_name_that_may_mean_something_else_is_refused(name: str) -> None:
    with pytest.raises(RequestError) as refusal:
        check_file_name(name)

    assert "nothing was saved" in refusal.value.message
    assert refusal.value.message.isprintable()


@pytest.mark.parametrize(("name", "stem"), GOOD_FILE_NAMES)
def test_a_good_name_stays_as_it_is_but_for_a_media_extension(name: str, stem: str) -> None:
    assert stem == check_file_name(name)


@given(st.text(max_size=150))
def test_whatever_is_asked_for_is_one_plain_name_or_refused(name: str) -> None:
    try:
        stem = check_file_name(name)
    except RequestError:
        return

    assert name.startswith(stem)
    assert stem.isprintable()
    assert not set('/\\:*?"<>|') & set(stem)
    assert stem.strip(" .") == stem.removeprefix(".")
    assert len(stem.encode()) <= 200
