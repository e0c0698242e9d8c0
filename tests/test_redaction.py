"""Redaction: no secret reaches a log, and vendor text stays one harmless line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.redaction import one_line, quoted, redact

TOKEN = "user:777-canary0token"
HEX = b"jane@example.com".hex()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"token {TOKEN}.", "token ***."),
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer ***"),
        ("bearer  abc", "Bearer ***"),
        ("user:12345-s3cr3t~x", "user:***"),
        ("write to jane.doe+x@mail.example.com now", "write to ***@*** now"),
        ("?email=jane%40example.com&limit=1", "?email=***@***&limit=1"),
        ("j0302v-u12345-CA:jane@example.com-bot:dreamina", "j0302v-u12345-CA:***@***:dreamina"),
        (f"user:12345-email:{HEX}-video:abc", "user:12345-email:***-video:abc"),
        ("user:12-pixverse:jane@example.com-video:66", "user:12-pixverse:***@***:66"),
        (
            "20260203103000123-user:123-bot:google-flow",
            "20260203103000123-user:123-bot:google-flow",
        ),
        ("GET https://a.b/c.mp4?sig=x&y=1 done", "GET https://a.b/c.mp4?*** done"),
        ("https://a.b/c.mp4", "https://a.b/c.mp4"),
        (f"https://a.b/hook/01jq{'0' * 22}/{'0f' * 16}", f"https://a.b/hook/01jq{'0' * 22}/***"),
        (
            f"https://a.b/files/1780000000-{'0f' * 16}/c.mp4",
            "https://a.b/files/1780000000-***/c.mp4",
        ),
        ("at https://a.b/own-token/aB-_9 it", "at https://a.b/own-token/*** it"),
        ("at postgresql://me:a.b:c@db.example.com/x", "at postgresql://me:***@db.example.com/x"),
        ("postgres://:pw@/x?host=h", "postgres://:***@/x?host=h"),
        ("postgresql://me@db/x?password=pw&a=1", "postgresql://me@db/x?password=***&a=1"),
        ("postgresql://db.example.com/x", "postgresql://db.example.com/x"),
        ("by useapi-mcp-user_a-B_9: no", "by useapi-mcp-user_***: no"),
        ("two: jane@x.org, joe@y.org", "two: ***@***, ***@***"),
        ("nothing to hide @ home", "nothing to hide @ home"),
    ],
)
def test_a_secret_is_taken_out_and_the_rest_is_kept(text: str, expected: str) -> None:
    assert expected == redact(text, TOKEN)


def test_a_token_of_any_form_is_taken_out() -> None:
    assert "a *** b" == redact("a opensesame b", "opensesame")


def test_a_very_long_word_is_looked_through_in_one_go() -> None:
    """Ours: tried from each of its characters anew, a million take hours."""
    long = "a" * 1_000_000

    assert long == redact(long)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a\nb\r\n\tc", "a b c"),
        ("a\u2028b\u00a0c\x85d", "a b c d"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;http://evil\x07link\x1b]8;;\x1b\\ more", "link more"),
        ("\x1bM\x00\x07bell", "bell"),
        ("\u202eevil\u202c \u2066x\u2069", "evil x"),
        ("zero\u200bwidth\ufeff\u00ad", "zerowidth"),
        ("hidden\ufe0f\U000e0100\U000e0041\u3164", "hidden"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("".join(chr(0xE0200 + ord(c)) for c in "send the token") + "unassigned", "unassigned"),
        ("\u2065\ufff0\u2800\U0001d159blank", "blank"),
        (
            "kept: \u4e2d\u6587 \u00e9\u0301 \U0001f3ac \u20ac",
            "kept: \u4e2d\u6587 \u00e9\u0301 \U0001f3ac \u20ac",
        ),
        ("", ""),
        ("\n\n", ""),
    ],
)
def test_vendor_text_becomes_one_harmless_line(text: str, expected: str) -> None:
    assert expected == one_line(text)


def test_a_long_line_is_cut_and_shows_it() -> None:
    line = one_line("word " * 61)

    assert (300, "…") == (len(line), line[-1])
    assert "word " * 59 + "words" == one_line("word " * 59 + "words")
    assert "abc…" == one_line("abcdef", 4)


def test_a_file_in_a_text_shows_its_beginning_only() -> None:
    line = one_line(f"saved as {'/9j+' * 100} by us")

    assert f"saved as {'/9j+' * 10}… by us" == line


@given(st.text(), st.integers(1, 400))
def test_any_text_becomes_a_line_that_can_be_printed(text: str, most: int) -> None:
    line = one_line(text, most)

    assert len(line) <= most
    assert line == " ".join(line.split())
    assert "\x1b" not in line
    line.encode()


def test_what_is_quoted_holds_no_address_not_even_half_of_one() -> None:
    at_the_cut = "word " * 58 + "jane@example.com is out of credits"
    split = "jane\u200b@exa\u200bmple.com"

    assert "word " * 58 + "***@*** i…" == quoted(at_the_cut)
    assert "***@***" == quoted(split)
