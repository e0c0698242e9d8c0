"""Arguments as models write them, taken as they are meant where they can't be misread.

Each function takes what was given and returns what it means, or the same where that is not clear:
then it is refused as any other wrong value. Prices are not among them.
"""

import re
from typing import Any

from mcp_server.errors import RequestError
from mcp_server.services.registry import id_in

_VIDEO_RESOLUTIONS = {
    "360p": ("360", "360p", "640x360"),
    "480p": ("480", "480p", "sd", "854x480"),
    "540p": ("540", "540p", "960x540"),
    "720p": ("720", "720p", "hd", "1280x720"),
    "1080p": ("1080", "1080p", "full hd", "fullhd", "fhd", "1920x1080"),
    "4K": ("2160", "2160p", "4k", "uhd", "4k uhd", "uhd 4k", "ultra hd", "3840x2160"),
    "2x": ("2x", "x2"),
}
_IMAGE_RESOLUTIONS = {
    "1k": ("1k", "1024"),
    "1080p": _VIDEO_RESOLUTIONS["1080p"],
    "2k": ("1440", "1440p", "2k", "qhd", "2560x1440"),
    "4k": _VIDEO_RESOLUTIONS["4K"],
    "8k": ("4320", "4320p", "8k", "8k uhd", "7680x4320"),
}
_RATIOS = {"landscape": "16:9", "widescreen": "16:9", "portrait": "9:16", "square": "1:1"}
_STATUSES = {"done": "completed", "complete": "completed", "finished": "completed"}
_STATUSES |= {"canceled": "cancelled", "all": "", "any": ""}
_SERVICES = {"flow": "google-flow", "googleflow": "google-flow", "all": "", "any": ""}
_KINDS = {"videos": "video", "clip": "video", "clips": "video", "images": "image"}
_KINDS |= {"picture": "image", "pictures": "image", "all": "", "any": "", "both": ""}


def one_id(given: Any) -> Any:
    """The id in what was given.

    Raises:
        RequestError: there are several.
    """
    if isinstance(given, list | tuple):
        if len(given) != 1:
            raise RequestError(
                message=f"{len(given)} ids were given, so nothing was sent.",
                hint="Make one call for each id.",
            )
        return one_id(given[0])
    if isinstance(given, int) and not isinstance(given, bool) and abs(given) < 10**30:
        return str(given)
    return (id_in(given) or given) if isinstance(given, str) else given


def video_resolution(given: Any) -> Any:
    return _by_meaning(given, _VIDEO_RESOLUTIONS)


def image_resolution(given: Any) -> Any:
    return _by_meaning(given, _IMAGE_RESOLUTIONS)


def frame_rate(given: Any) -> Any:
    """30 of `30fps`, `30 FPS`, `30.0` and `30 Hz`."""
    if not isinstance(given, str):
        return given
    found = re.fullmatch(r"(?i)([0-9]{1,3})(?:\.0+)?\s*(?:fps|hz|p)?", given.strip(), re.ASCII)
    return int(found[1]) if found else given


def seconds(given: Any) -> Any:
    """5 of `5s`, `5 seconds` and `5.0`."""
    if not isinstance(given, str):
        return given
    pattern = r"(?i)([0-9]{1,3})(?:\.0+)?\s*(?:s|secs?|seconds?)?"
    found = re.fullmatch(pattern, given.strip(), re.ASCII)
    return int(found[1]) if found else given


def ratio(given: Any) -> Any:
    """`16:9` of `16x9`, `16/9`, `16 : 9` and `landscape`."""
    if not isinstance(given, str):
        return given
    word = _word(given)
    found = re.fullmatch(r"([0-9]{1,2})\s?[:x/]\s?([0-9]{1,2})", word, re.ASCII)
    return f"{int(found[1])}:{int(found[2])}" if found else _RATIOS.get(word, word)


def name(given: Any) -> Any:
    """A name as it stands, without what it was copied with: quotes, blanks, a comma."""
    return given.strip(" \t\r\n\"'`,") if isinstance(given, str) else given


def status(given: Any) -> Any:
    """The status of a word for it, in any case; None for `all`."""
    word = _word(given)
    return _STATUSES.get(word, word) or None if isinstance(given, str) else given


def service(given: Any) -> Any:
    """The service of a name for it, in any case: `Google Flow`, `flow`; None for `all`."""
    return _named(given, _SERVICES)


def kind(given: Any) -> Any:
    """`video` of `Videos`, `clip`; None for `all`."""
    return _named(given, _KINDS)


def at_most(most: int, given: Any) -> Any:
    """A number of a range in which more can only mean as much as there is."""
    if isinstance(given, str) and re.fullmatch(r"[0-9]{1,9}(?:\.0+)?", given.strip(), re.ASCII):
        given = float(given)
    if isinstance(given, int | float) and not isinstance(given, bool) and given > most:
        return most
    return given


def _named(given: Any, names: dict[str, str]) -> Any:
    if not isinstance(given, str):
        return given
    word = re.sub(r"[ _]", "-", _word(given))
    return names.get(word, word) or None


def _by_meaning(given: Any, meanings: dict[str, tuple[str, ...]]) -> Any:
    word = _word(given)
    return next((meant for meant, words in meanings.items() if word in words), given)


def _word(given: Any) -> str:
    """Text or a whole number as a word: `3840 × 2160` as `3840x2160`."""
    if isinstance(given, bool) or not isinstance(given, int | str):
        return ""
    word = re.sub(r"\s+", " ", str(given)[:100].strip(" \t\r\n\"'`.,").lower())
    return re.sub(r"\s?[x×*]\s?", "x", word)
