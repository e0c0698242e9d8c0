"""Sealer: what it seals opens for the same purpose only, and tells nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.sealing import NotOpenedError, Sealer

OLD, NEW, OTHER = (letter * 32 for letter in (b"o", b"n", b"x"))


@given(text=st.text(max_size=200), about=st.lists(st.text(max_size=20), max_size=3))
def test_what_was_sealed_opens_for_what_it_belongs_to(text: str, about: list[str]) -> None:
    sealer = Sealer([NEW])
    sealed = sealer.seal(text, *about)

    assert text == sealer.open(sealed, *about)
    assert sealed != sealer.seal(text, *about)
    with pytest.raises(NotOpenedError):
        sealer.open(sealed, *about, "more")


def test_another_key_or_another_owner_opens_nothing() -> None:
    sealed = Sealer([OLD]).seal("user:1-canary", "alice", "account")

    assert "user:1-canary" == Sealer([NEW, OLD]).open(sealed, "alice", "account")
    assert Sealer([NEW, OLD]).key_id != Sealer([OLD]).key_id == Sealer([OLD, NEW]).key_id
    assert "canary" not in sealed
    for sealer, about in (
        (Sealer([OTHER]), ("alice", "account")),
        (Sealer([OLD]), ("bob", "account")),
        (Sealer([OLD]), ("alice", "other")),
        (Sealer([OLD]), ("aliceaccount",)),
    ):
        with pytest.raises(NotOpenedError):
            sealer.open(sealed, *about)


@pytest.mark.parametrize("sealed", ["", "a", "é", "a b", "AAAA", "A" * 16, "=", "A" * 60, "\ud800"])
def test_what_was_never_sealed_is_refused(sealed: str) -> None:
    with pytest.raises(NotOpenedError):
        Sealer([OLD]).open(sealed)


def test_a_changed_letter_opens_nothing() -> None:
    sealed = Sealer([OLD]).seal("text")

    for at in range(len(sealed)):
        other = "A" if sealed[at] != "A" else "B"
        changed = sealed[:at] + other + sealed[at + 1 :]
        try:
            opened = Sealer([OLD]).open(changed)
        except NotOpenedError:
            continue
        assert (at, opened) == (len(sealed) - 1, "text")  # bits that the last letter has no use for
