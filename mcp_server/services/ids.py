"""Ids as people and models write them: in quotes, in a link, percent-encoded, cut.

What is taken off is never part of an id, and what is left must be one whole id: nothing is
completed, and nothing is guessed.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from urllib.parse import unquote

LONGEST_TEXT = 4096  # of what may hold an id

# What stands round an id: quotes, brackets, emphasis, the end of a sentence.
_ROUND = " \t\r\n\"'`“”‘’«»<>()[]{}*_.,;"
_API_PATH = r"(?:https://api\.useapi\.net)?/v[0-9]/[a-z-]{2,30}/[a-z-]{2,30}"
_ADDRESS = re.compile(rf"(?:{_API_PATH}|useapi://jobs)/([^/?#\s]+)(?:[?#]\S*)?")
_MARKDOWN_LINK = re.compile(r"\[([^\[\]()\s]+)\]\((?:mailto:)?([^\[\]()\s]+)\)")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_BETWEEN = re.compile(r"[\s\"'`<>(){}\[\],;|/?#]+")
_LINK = re.compile(r"(?i)(?:https?|ftp|data|blob|s3)(?:://|:)|www\.")
_FILE = re.compile(
    r"(?i)file:|~?/|\.{1,2}[/\\]|~|[a-z]:[/\\]|\\\\|[^\n]*\.(?:mp4|mov|m4v|webm|avi|mkv|"
    r"gif|jpe?g|png|webp|heic)$"
)
_NEARLY = re.compile(r"j[0-9]{4}|user:|[0-9]{8,}-user:|useapi-mcp:")


def readings(text: str) -> Iterator[str]:
    """The text as it stands, then with more and more taken off that is no part of an id."""
    yield text
    if len(text) > LONGEST_TEXT:
        return
    text = "".join(c for c in text if unicodedata.category(c) != "Cf").strip()
    yield text
    text = _MARKDOWN_LINK.sub(lambda link: link[1] if link[1] == link[2] else link[0], text)
    text = _ESCAPE.sub(r"\1", text).replace("mailto:", "").strip(_ROUND)
    yield text
    address = _ADDRESS.fullmatch(text)
    text = address[1] if address else text
    yield text
    for _ in range(2):  # encoded, and once more by whoever handed it on
        text = unquote(text)
        yield text


def ids_within(text: str, read: Callable[[str], str | None]) -> set[str]:
    """The ids that stand somewhere in a text, between other words.

    Args:
        read: the id that a word is, if it is one.
    """
    words = _BETWEEN.split(text[:LONGEST_TEXT])
    return {some_id for word in words if (some_id := read(word)) is not None}


def is_link(text: str) -> bool:
    return _LINK.match(text.strip(_ROUND)) is not None


def bare_link(text: str) -> str | None:
    """The https link that a text is, without quotes or brackets round it; None: it is none."""
    markdown = _MARKDOWN_LINK.fullmatch(text.strip())
    if markdown is not None and markdown[1] != markdown[2]:
        return None  # which of the two is meant can't be told
    bare = markdown[2] if markdown else text.strip(_ROUND)
    return bare if re.match(r"(?i)https?://", bare) else None


def is_path(text: str) -> bool:
    """Whether it looks like a path, or like the name of a video or an image."""
    return not is_link(text) and _FILE.match(text.strip("\"'`<> \n")) is not None


def is_nearly_an_id(text: str) -> bool:
    """Whether it begins as ids do: one that was cut or copied with a mistake."""
    return _NEARLY.match(text.strip(_ROUND)) is not None
