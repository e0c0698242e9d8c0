"""What PixVerse's paid bodies may hold, and what that costs.

Sources, cited below by page and date: model-capabilities (24 April and 26 June 2026), POST
videos/create (12 May 2026), POST images/create (9 March 2026), POST images/upscale (10 October
2026), the vendor's tool texts of upscales (October to November 2026), its Postman collections (24
June 2026 and later), its client clips.mjs (September 2026), its prices of 5 October 2026.
Assumed: every text of a 400, and each price and limit for which no source is named.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mcp_server.sandbox import responses

MAX_PROMPT = 5000  # characters; POST videos/create, 12 May 2026
DRAFT_MODEL = "seedance-2.5-draft"
_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4")
_WIDER = (*_RATIOS, "3:2", "2:3", "21:9")
_THIRD_PARTY = {"480p": 15, "720p": 30, "1080p": 60}  # assumed, as the next
_NATIVE = {"360p": 6, "540p": 8, "720p": 10, "1080p": 20}  # credits a second


@dataclass(frozen=True)
class VideoModel:
    """Credits a second by quality, the limits of `duration`, and what else is asked of a body."""

    prices: Mapping[str, int]
    seconds: tuple[int, int]
    default_quality: str = "720p"
    ratios: tuple[str, ...] = _RATIOS
    always_sounds: bool = False  # clips.mjs: no `audio`; `duration` and `quality` are required
    needs_frame: bool = False


# The limits of the first six, kling-v3, minimax-h3 and gemini-omni-flash: model-capabilities and
# the Postman collections. Prices of seedance-2.0 and 2.5: 5 October 2026.
VIDEO_MODELS: Mapping[str, VideoModel] = {
    "v6": VideoModel(_NATIVE, (1, 15)),
    **{name: VideoModel(_NATIVE, (1, 10), "540p") for name in ("v5.6", "v5.5", "v5", "v5-fast")},
    "pixverse-c1": VideoModel(_NATIVE, (1, 15), ratios=(*_RATIOS, "3:2", "2:3")),
    "seedance-2.0": VideoModel(
        {"480p": 20, "720p": 45, "1080p": 90, "2160p": 200}, (4, 15), ratios=(*_RATIOS, "21:9")
    ),
    "seedance-2.5": VideoModel(
        {"480p": 35, "720p": 75, "1080p": 170}, (4, 30), ratios=_WIDER, always_sounds=True
    ),
    DRAFT_MODEL: VideoModel({"480p": 24}, (4, 30), "480p", _WIDER),
    "kling-v3": VideoModel({"720p": 30, "1080p": 40, "2160p": 120}, (3, 15)),
    "minimax-h3": VideoModel({"768p": 30, "1440p": 60}, (5, 15), "768p", always_sounds=True),
    "happyhorse-1.0": VideoModel({"720p": 30, "1080p": 50}, (3, 15), always_sounds=True),
    "gemini-omni-flash": VideoModel({"720p": 30}, (3, 10)),
    "grok-imagine-1.5": VideoModel({"480p": 10, "720p": 20}, (1, 15), needs_frame=True),
    # Of these only the names are known, and the seconds of flux-3.0 and wan-3.0.
    "flux-3.0": VideoModel(_THIRD_PARTY, (5, 20)),
    "wan-3.0": VideoModel(_THIRD_PARTY, (2, 30)),
    **dict.fromkeys(
        (
            *("seedance-2.0-fast", "seedance-2.0-mini", "kling-o3", "grok-imagine"),
            *("veo-3.1-lite", "veo-3.1-standard", "veo-3.1-fast", "sora-2", "sora-2-pro"),
        ),
        VideoModel(_THIRD_PARTY, (1, 15)),
    ),
}

# POST images/create, 9 March 2026, and the Postman collections: credits an image by quality, the
# largest number of pictures to go by. Assumed: the first quality is made when none is given.
IMAGE_MODELS: Mapping[str, tuple[Mapping[str, int], int]] = {
    "qwen-image": ({"720p": 5, "1080p": 10}, 3),
    "nano-banana": ({"1080p": 15}, 3),
    "nano-banana-2": ({"512p": 16, "1080p": 25, "1440p": 40, "2160p": 60}, 9),
    "nano-banana-pro": ({"1080p": 50, "1440p": 50, "2160p": 90}, 9),
    "seedream-4.0": ({"1080p": 10, "1440p": 10, "2160p": 10}, 6),
    "seedream-4.5": ({"1440p": 10, "2160p": 10}, 6),
    "seedream-5.0-lite": ({"1440p": 15, "1800p": 15, "2160p": 15}, 6),
    "kling-3.0": ({"1080p": 20, "1440p": 20, "2160p": 20}, 1),
    "kling-o3": ({"1080p": 20, "1440p": 20, "2160p": 20}, 1),
    "gpt-image-2.0": ({"1080p": 40, "1440p": 40, "2160p": 40}, 9),
}

# By kind, model and quality: credits a second of a video, or for an image. Which there are: the
# vendor's tool texts. Prices: assumed, but for the 30 that five seconds cost (29 August 2025).
UPSCALERS: Mapping[str, Mapping[str, Mapping[str, int]]] = {
    "video": {
        "pixverse-upscale": {"2160p": 6},
        "topaz-proteus": {"1080p": 4, "2160p": 8},
        "topaz-starlight-fast": {"1080p": 8, "2160p": 16},
        "topaz-starlight-precise": {"1080p": 12, "2160p": 24},
    },
    "image": {
        "pixverse-upscale": {"2160p": 10},
        "topaz-gigapixel": {"1080p": 8, "1440p": 12, "2160p": 16},
    },
}


@dataclass(frozen=True)
class Order:
    """What a body that was understood asks for."""

    model: str
    quality: str
    credits: int  # for all of it
    seconds: int = 0
    ratio: str = "16:9"
    count: int = 1
    prompt: str = ""
    paths: tuple[str, ...] = ()  # of the uploads it goes by

    @property
    def lines(self) -> int:
        return int(self.quality.removesuffix("p"))


def video_order(body: responses.Json, frames: tuple[str, ...]) -> Order:
    """What POST videos/create and create-frames ask for.

    Args:
        frames: the fields that hold the uploads it starts, or starts and ends, with.

    Raises:
        RefusedError: a 400.
    """
    given = tuple(name for name in frames if body.get(name))
    prompt = _prompt(body, required=not given)
    name = _one_of(body, "model", VIDEO_MODELS, "v6")
    model = VIDEO_MODELS[name]
    if model.needs_frame and not given:
        raise responses.refused(400, "Parameter first_frame_path is required")
    if model.always_sounds:
        _require(body, "duration", "quality")
        if "audio" in body:
            raise responses.refused(400, "Parameter audio is not supported")
    quality = _one_of(body, "quality", model.prices, model.default_quality)
    low, high = model.seconds
    if name.startswith("v5") and quality == "1080p":
        high = 8  # POST videos/create, 12 May 2026
    seconds = body.get("duration", max(5, low))
    if not responses.is_number(seconds, low, high):
        raise responses.refused(400, f"Parameter duration ({seconds}) valid range: {low}…{high}")
    ratio = "16:9"
    if given:
        if "aspect_ratio" in body:
            raise responses.refused(400, "Parameter aspect_ratio is not supported")
    else:
        # pixverse.mjs (15 June 2026) requires it, its README has a default: assumed, the stricter.
        _require(body, "aspect_ratio")
        ratio = _one_of(body, "aspect_ratio", model.ratios, "16:9")
    whole = int(str(seconds))
    cost = whole * model.prices[quality]
    paths = tuple(str(body[name]) for name in given)
    return Order(name, quality, cost, whole, ratio, prompt=prompt, paths=paths)


def image_order(body: responses.Json) -> Order:
    """What POST images/create asks for.

    Raises:
        RefusedError: a 400.
    """
    prompt = _prompt(body, required=True)
    name = _one_of(body, "model", IMAGE_MODELS, "qwen-image")
    prices, most_paths = IMAGE_MODELS[name]
    quality = _one_of(body, "quality", prices, next(iter(prices)))
    ratio = _one_of(body, "aspect_ratio", _WIDER, "16:9")
    if name == "gpt-image-2.0":
        _require(body, "detail_level")
    elif "detail_level" in body:
        raise responses.refused(400, "Parameter detail_level is not supported")
    count = body.get("create_count", 1)
    if not responses.is_number(count, 1, 4):
        raise responses.refused(400, f"Parameter create_count ({count}) valid range: 1…4")
    paths = tuple(str(body[key]) for key in body if key.startswith("image_path_"))
    if len(paths) > most_paths:
        raise responses.refused(400, f"Model {name} takes up to {most_paths} images")
    cost = int(str(count)) * prices[quality]
    return Order(name, quality, cost, 0, ratio, int(str(count)), prompt, paths)


def upscale_order(body: responses.Json, kind: str, seconds: int) -> Order:
    """What POST videos/upscale (`kind` is `video`) or images/upscale asks for.

    Raises:
        RefusedError: a 400.
    """
    models = UPSCALERS[kind]
    name = _one_of(body, "model", models, "pixverse-upscale")
    quality = _one_of(body, "quality", models[name], "2160p")
    times = seconds if kind == "video" else 1
    return Order(name, quality, times * models[name][quality], seconds)


def final_order(body: responses.Json, seconds: int) -> Order:
    """What POST videos/create-final asks for (15 November 2026); prices as of seedance-2.5.

    Raises:
        RefusedError: a 400.
    """
    quality = _one_of(body, "quality", {"1080p": 170, "2160p": 340}, "1080p")
    price = 170 if quality == "1080p" else 340
    return Order("seedance-2.5", quality, seconds * price, seconds)


def _prompt(body: responses.Json, *, required: bool) -> str:
    prompt = str(body.get("prompt", ""))
    if required and not prompt.strip():
        raise responses.refused(400, "Parameter prompt is required")
    if len(prompt) > MAX_PROMPT:
        raise responses.refused(400, f"Parameter prompt is longer than {MAX_PROMPT} characters")
    return prompt


def _require(body: responses.Json, *names: str) -> None:
    for name in names:
        if not body.get(name):
            raise responses.refused(400, f"Parameter {name} is required")


def _one_of(
    body: responses.Json, name: str, known: Mapping[str, object] | tuple[str, ...], default: str
) -> str:
    value = body.get(name, default)
    if not isinstance(value, str) or value not in known:
        raise responses.refused(400, f"Parameter {name} ({value}) valid values: {', '.join(known)}")
    return value
