"""File names: those that a caller asks for, checked, and those made here."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NewType

from mcp_server.errors import RequestError
from mcp_server.media.probe import MediaInfo
from mcp_server.redaction import is_unseen

LONGEST_NAME = 120
_LONGEST_BYTES = 200  # file systems allow 255; a number and an extension are added

_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$|clock\$)")
_FORBIDDEN = frozenset('/\\:*?"<>|')
_MEDIA_EXTENSION = re.compile(r"\.(?:mp4|m4v|mov|webm|mkv|avi|jpe?g|png|webp|gif)\Z", re.IGNORECASE)

Stem = NewType("Stem", str)
"""A checked name without its extension."""


@dataclass(frozen=True)
class MadeName:
    """The name of a file that nobody named: `dreamina-upscale-2560x1440-2026-11-26-1f3a8c05`.

    A job's id contains the account's e-mail address, so the last word is a part of its hash.

    Args:
        operation: `upscale_video`; "" if it is not known.
        day: when the job was made, in ISO 8601; "" if that is not known.
        number: of one file among several; 0 for a single one.
    """

    service: str
    job_id: str
    operation: str = ""
    day: str = ""
    number: int = 0

    def numbered(self, number: int) -> "MadeName":
        return replace(self, number=number)

    def stem(self, info: MediaInfo | None) -> Stem:
        """The name for a file of which its own bytes say this."""
        verb = self.operation.partition("_")[0]
        size = f"{info.width}x{info.height}" if info and info.width and info.height else ""
        is_faster = verb == "interpolate" and info is not None and info.frame_rate
        rate = f"{info.frame_rate:.0f}fps" if is_faster and info else ""
        short_id = hashlib.sha256(self.job_id.encode()).hexdigest()[:8]
        number = str(self.number) if self.number else ""
        words = (self.service, verb, size, rate, self.day[:10], short_id, number)
        # A newer version's service, out of the journal, may be any text.
        plain = (re.sub(r"[^a-z0-9-]", "", word) for word in words)
        return Stem("-".join(word for word in plain if word))


Name = str | MadeName
"""What a file is to be called, without its extension."""


def stem_for(name: Name, info: MediaInfo | None) -> str:
    """The name without its extension, for a file of which its own bytes say this."""
    return name.stem(info) if isinstance(name, MadeName) else name


def check_file_name(file_name: str, folder: Path) -> Stem:
    """The name without a media extension: the right one for the file's type is added later.

    Args:
        folder: where files go, to tell a caller who asks for another place.

    Raises:
        RequestError: on some system the name could mean another folder or file, or be invalid.
    """
    stem = _MEDIA_EXTENSION.sub("", file_name)
    fault = _fault(file_name) or _fault(stem)
    if fault:
        raise RequestError(
            message=f"file_name {fault}, so nothing was saved.",
            hint="Give a bare name such as my-video, or leave it out: every file goes to"
            f" {folder}, the folder that USEAPI_OUTPUT_DIR sets.",
        )
    return Stem(stem)


def _fault(name: str) -> str | None:
    """What is wrong with a name, to follow the words `file_name`; None if nothing is."""
    if len(name) > LONGEST_NAME or len(name.encode(errors="replace")) > _LONGEST_BYTES:
        return f"is longer than {LONGEST_NAME} characters or {_LONGEST_BYTES} bytes"
    # Some file systems treat a compatibility character (a full-width slash) as the plain one.
    plain = unicodedata.normalize("NFKC", name)
    if any(is_unseen(c) for c in name + plain):
        return "holds a control, invisible or unusual space character"
    if {"/", "\\"} & {*name, *plain}:
        return "names a folder"
    if _FORBIDDEN & {*name, *plain}:
        return 'holds one of : * ? " < > |'
    if not plain.strip(" ."):
        return "is empty"
    if plain.startswith((".", " ", "-", "~")) or plain.endswith((".", " ")):
        return "begins with a dot, space, dash or tilde, or ends with a dot or space"
    if _RESERVED.fullmatch(plain.partition(".")[0].strip().casefold()):
        return "is a device on Windows"
    return None
