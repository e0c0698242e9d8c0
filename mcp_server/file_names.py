"""Checks a file name that a caller asks for: a bare name, good on every system, or none."""

import re
import unicodedata
from typing import NewType

from mcp_server.errors import RequestError

LONGEST_NAME = 120
_LONGEST_BYTES = 200  # file systems end at 255; a number and an extension are added

_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$|clock\$)")
_FORBIDDEN = frozenset('/\\:*?"<>|')
_MEDIA_EXTENSION = re.compile(r"\.(?:mp4|m4v|mov|webm|mkv|avi|jpe?g|png|webp|gif)\Z", re.IGNORECASE)

Stem = NewType("Stem", str)
"""A checked name without its extension."""


def checked_stem(file_name: str) -> Stem:
    """The name without a media extension: the one the file's own type asks for is put on it.

    Raises:
        RequestError: it could mean another place, another file or nothing on some system.
    """
    stem = _MEDIA_EXTENSION.sub("", file_name)
    fault = _fault(file_name) or _fault(stem)
    if fault:
        raise RequestError(
            f"file_name {fault}, so nothing was saved.",
            "Give a bare name such as my-video, without a folder, or leave it out.",
        )
    return Stem(stem)


def _fault(name: str) -> str | None:
    """What is wrong with a name, as a predicate; None if nothing is."""
    if len(name) > LONGEST_NAME or len(name.encode(errors="replace")) > _LONGEST_BYTES:
        return f"is longer than {LONGEST_NAME} characters or {_LONGEST_BYTES} bytes"
    # A compatibility character (a full-width slash) is the plain one to some file systems.
    plain = unicodedata.normalize("NFKC", name)
    if any(_is_unseen(c) for c in name + plain):
        return "holds a control, invisible or unusual space character"
    if _FORBIDDEN & {*name, *plain}:
        return 'holds one of / \\ : * ? " < > |'
    if not plain.strip(" ."):
        return "is empty"
    if plain.startswith((".", " ", "-", "~")) or plain.endswith((".", " ")):
        return "begins with a dot, space, dash or tilde, or ends with a dot or space"
    if _RESERVED.fullmatch(plain.partition(".")[0].strip().casefold()):
        return "is a device on Windows"
    return None


def _is_unseen(character: str) -> bool:
    """Control, format (bidi, zero-width), surrogate, private, unassigned; spaces but the plain."""
    category = unicodedata.category(character)
    return category[0] == "C" or (category[0] == "Z" and character != " ")
