"""What Google Flow's generating bodies may hold, and what that costs.

Sources, cited below by page and date: POST videos (5 June 2026, and what a comparison with the
pages of October 2026 says), POST images (June to October 2026), the vendor's skill omni-flash-video
(August to October 2026), its article on omni-flash-1.2 (12 November 2026).
Assumed: every text of a 400 but the one for an unknown field.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from mcp_server.sandbox import responses

MAX_COUNT = 4
VIDEO_REFS = (
    "startImage",
    "endImage",
    *(f"referenceImage_{n}" for n in range(1, 11)),
    "referenceVideo_1",
)
IMAGE_REFS = tuple(f"reference_{n}" for n in range(1, 11))
VIDEO_FIELDS = frozenset(
    {
        *("prompt", "model", "email", "aspectRatio", "duration", "resolution", "count", "seed"),
        *("async", "replyUrl", "replyRef", "startFrameIndex_1", "endFrameIndex_1"),
        *(f"character_{n}" for n in range(1, 8)),
        *(f"referenceAudio_{n}" for n in range(1, 6)),
        *VIDEO_REFS,
    }
)
IMAGE_FIELDS = frozenset(
    {
        *("prompt", "model", "email", "aspectRatio", "count", "seed", "replyUrl", "replyRef"),
        *(f"character_{n}" for n in range(1, 8)),
        *IMAGE_REFS,
    }
)
NUMBERS = frozenset({"duration", "count", "seed", "startFrameIndex_1", "endFrameIndex_1"})
LINES = {"360p": 360, "720p": 720}
IMAGE_MODELS = {  # with the names that stand for one: POST images, July 2026
    "nano-banana-2-lite": "nano-banana-2-lite",
    "nano-banana-2": "nano-banana-2",
    "nano-banana-pro": "nano-banana-pro",
    "nano-banana": "nano-banana-2",
    "imagen-4": "nano-banana-2-lite",
}
IMAGE_RATIOS = ("16:9", "4:3", "1:1", "3:4", "9:16", "landscape", "portrait")


@dataclass(frozen=True)
class VideoModel:
    """What it takes; `credits` gives what a clip of so many seconds in this resolution costs."""

    credits: Callable[[int, str], int]
    seconds: Collection[int] = (4, 6, 8)
    ratios: tuple[str, ...] = ("landscape", "portrait", "1:1", "4:3", "3:4")
    resolutions: tuple[str, ...] = ("720p",)
    images: int = 3
    edits: bool = False  # takes referenceVideo_1


def _flat(credits_: int) -> Callable[[int, str], int]:
    return lambda _seconds, _resolution: credits_


_OMNI = {"720p": {4: 7, 6: 10, 8: 12, 10: 15}, "360p": {4: 4, 6: 5, 8: 6, 10: 7}}
_OMNI_SECONDS = (4, 6, 8, 10)
_OMNI_RATIOS, _OMNI_RESOLUTIONS = ("landscape", "portrait"), ("720p", "360p")


def _omni(seconds: int, resolution: str) -> int:
    """The skill's table, October 2026."""
    return _OMNI[resolution][seconds]


def _omni_12(seconds: int, resolution: str) -> int:
    """Three a second up to ten, then six (November 2026); in 360p half of it: assumed."""
    whole = 3 * min(seconds, 10) + 6 * max(seconds - 10, 0)
    return whole if resolution == "720p" else whole // 2


# POST videos, 5 June 2026: 20 for a clip of veo-3.1-fast, the default.
VIDEO_MODELS: Mapping[str, VideoModel] = {
    "veo-3.1-fast": VideoModel(_flat(20)),
    "veo-3.1-lite": VideoModel(_flat(10)),
    "veo-3.1-lite-low-priority": VideoModel(_flat(0)),
    "veo-3.1-quality": VideoModel(_flat(100), (8,), images=0),
    "omni-flash": VideoModel(
        _omni, _OMNI_SECONDS, _OMNI_RATIOS, _OMNI_RESOLUTIONS, images=7, edits=True
    ),
    "omni-flash-1.2": VideoModel(
        _omni_12, range(3, 16), _OMNI_RATIOS, _OMNI_RESOLUTIONS, images=10, edits=True
    ),
}


@dataclass(frozen=True)
class Order:
    """What a body that was understood asks for; `credits` is for all of it."""

    model: str
    count: int
    credits: int
    prompt: str
    refs: tuple[str, ...]
    ratio: str
    resolution: str = "720p"
    seconds: int = 8


def video_order(body: responses.Json) -> Order:
    """What POST videos asks for.

    Raises:
        RefusedError: a 400.
    """
    prompt = _prompt(body)
    name = _one_of(body, "model", VIDEO_MODELS, "veo-3.1-fast")
    model = VIDEO_MODELS[name]
    ratio = _one_of(body, "aspectRatio", model.ratios, "landscape")
    resolution = _one_of(body, "resolution", model.resolutions, "720p")
    edits = "referenceVideo_1" in body
    images = [ref for ref in VIDEO_REFS if ref.startswith("referenceImage_") and ref in body]
    if edits and not model.edits:
        raise invalid(f"Model {name} does not support referenceVideo_1")
    if edits and "duration" in body:
        raise invalid("Parameter duration is not supported with referenceVideo_1")
    if "endImage" in body and "startImage" not in body:
        raise invalid("Parameter endImage requires startImage")
    if "startImage" in body and (images or edits):
        raise invalid("Parameter startImage is not supported with references")
    if len(images) > model.images:
        raise invalid(f"Model {name} supports up to {model.images} reference images")
    seconds = body.get("duration", 8)
    if not responses.is_number(seconds, 1, 60) or seconds not in model.seconds:
        allowed = ", ".join(map(str, model.seconds))
        raise invalid(f"Parameter duration ({seconds}) valid values: {allowed}")
    whole, count = int(str(seconds)), _count(body, 1)
    # The skill, October 2026: an edit costs 20, or 10 in 360p.
    each = (20 if resolution == "720p" else 10) if edits else model.credits(whole, resolution)
    return Order(
        name, count, count * each, prompt, _given(body, VIDEO_REFS), ratio, resolution, whole
    )


def image_order(body: responses.Json) -> Order:
    """What POST images asks for; it costs no credits.

    Raises:
        RefusedError: a 400.
    """
    prompt = _prompt(body)
    model = IMAGE_MODELS[_one_of(body, "model", IMAGE_MODELS, "nano-banana-2-lite")]
    refs = _given(body, IMAGE_REFS)
    ratios = (*IMAGE_RATIOS, "auto") if refs else IMAGE_RATIOS
    ratio = _one_of(body, "aspectRatio", ratios, "16:9")
    return Order(model, _count(body, MAX_COUNT), 0, prompt, refs, ratio)


def invalid(text: str) -> responses.RefusedError:
    """Google Flow's 400, which repeats the status as `code` (live notes, September 2026)."""
    return responses.refused(400, text, with_code=True)


def _prompt(body: responses.Json) -> str:
    prompt = str(body.get("prompt", ""))
    if not prompt.strip():
        raise invalid("prompt is required")  # as for mediaGenerationId
    return prompt


def _count(body: responses.Json, usual: int) -> int:
    """How many are asked for; `seed` is checked too."""
    count, seed = body.get("count", usual), body.get("seed", 0)
    if not responses.is_number(count, 1, MAX_COUNT):
        raise invalid(f"Parameter count ({count}) valid range: 1-{MAX_COUNT}")
    if not responses.is_number(seed, 0, 2**31):
        raise invalid(f"Parameter seed ({seed}) must not be negative")
    return int(str(count))


def _given(body: responses.Json, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(body[name]) for name in names if name in body)


def _one_of(body: responses.Json, name: str, known: Collection[str], default: str) -> str:
    value = body.get(name, default)
    if not isinstance(value, str) or value not in known:
        raise invalid(f"Parameter {name} ({value}) valid values: {', '.join(known)}")
    return value
