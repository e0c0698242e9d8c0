"""What Dreamina's generating bodies may hold, and what that costs.

Sources, cited below by page and date: POST videos (23 February and 3 April 2026), POST images (2
April 2026), the vendor's Postman collections (July 2026 and later), its blog of 7 August 2026, its
prices of 5 October 2026, POST videos/full-quality (12 November 2026).
Assumed: every text of a 400, and each price for which no source is named.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mcp_server.sandbox import responses

MAX_VIDEO_PROMPT, MAX_IMAGE_PROMPT = 5000, 1600  # characters
DRAFT_MODEL = "seedance-2.5-draft"
VIDEO_RATIOS = ("21:9", "16:9", "4:3", "1:1", "3:4", "9:16")
IMAGE_RATIOS = ("auto", "1:1", "3:4", "16:9", "4:3", "9:16", "2:3", "3:2", "21:9")
MAX_FRAMES = 10
LINES = {"480p": 360, "720p": 720, "1080p": 1080, "4k": 2160}  # 480p: the sample next to it


@dataclass(frozen=True)
class VideoModel:
    """Credits a second by region and resolution, the first of which is the default."""

    rates: Mapping[str, Mapping[str, int]]
    seconds: Collection[int]
    ratios: tuple[str, ...] = VIDEO_RATIOS


_SOME = {"720p": 10, "1080p": 20}
# Which there are, how long and where: POST videos (3 April 2026), the Postman collections and the
# blog. Rates of seedance-2.0 and 2.5: 5 October 2026. Of a draft: a seventh of 1080p's, dev.to, 18
# November 2026.
VIDEO_MODELS: Mapping[str, VideoModel] = {
    "seedance-2.5": VideoModel(
        {"CA": {"480p": 22, "720p": 48, "1080p": 117}, "US": {"480p": 17, "720p": 37}},
        range(4, 181),
    ),
    DRAFT_MODEL: VideoModel({"CA": {"480p": 17}, "US": {"480p": 17}}, range(4, 31)),
    "seedance-2.0": VideoModel(
        {"CA": {"720p": 23, "1080p": 57, "4k": 126}, "US": {"720p": 17}}, range(4, 16)
    ),
    "seedance-2.0-fast": VideoModel({"CA": {"720p": 14}, "US": {"720p": 14}}, range(4, 16)),
    "seedance-2.0-mini": VideoModel({"CA": {"720p": 8}, "US": {"720p": 8}}, range(4, 16)),
    "seedance-1.5-pro": VideoModel({"CA": _SOME, "US": _SOME}, (5, 10, 12)),
    "seedance-1.0-pro": VideoModel({"CA": {"1080p": 20}}, (5, 10)),
    "seedance-1.0-mini": VideoModel({"CA": _SOME, "US": _SOME}, (5, 10)),
    "seedance-1.0-fast": VideoModel({"CA": _SOME}, (5, 10)),
    "sora2": VideoModel({"CA": {"720p": 30}}, (4, 8, 12)),
    # The vendor's tool text, November 2026: its ratios; its limits are assumed.
    "happyhorse-1.1": VideoModel(
        {"CA": _SOME, "US": _SOME}, range(3, 16), (*VIDEO_RATIOS, "4:5", "5:4", "9:21")
    ),
}


@dataclass(frozen=True)
class ImageModel:
    """Its resolutions, the first of which is the default, and how many pictures it goes by."""

    resolutions: tuple[str, ...] = ("2k", "4k")
    refs: int = 6
    regions: tuple[str, ...] = ("CA", "US")
    credits: int = 0
    auto_ratio: bool = True
    needs_prompt: bool = False


# POST images, 2 April 2026, and the Postman collection of July 2026; the credits are assumed, but
# for the free ones.
IMAGE_MODELS: Mapping[str, ImageModel] = {
    "seedream-4.6": ImageModel(),
    "seedream-5.0-lite": ImageModel(),
    **{f"seedream-4.{minor}": ImageModel() for minor in (0, 1, 5)},
    "seedream-4.7": ImageModel(regions=("CA",), credits=4),
    "seedream-5.0-pro": ImageModel(regions=("CA",), credits=8),
    "nano-banana": ImageModel(("1k",), 3, credits=8, needs_prompt=True),
    "seedream-3.0": ImageModel(("1k", "2k"), 1, credits=2, auto_ratio=False, needs_prompt=True),
    "gpt-image-2": ImageModel(("1k",), 3, ("CA",), credits=20, auto_ratio=False),
}


@dataclass(frozen=True)
class Order:
    """What a body that was understood asks for; `echo` is what its job's `request` holds."""

    model: str
    resolution: str
    seconds: int
    credits: int
    echo: responses.Json

    @property
    def prompt(self) -> str:
        return str(self.echo["prompt"])


def regions(body: responses.Json, kind: str) -> Collection[str]:
    """Where the model this body names is offered; everywhere where there is none of that name."""
    name = str(body.get("model", ""))
    if kind == "video":
        return VIDEO_MODELS[name].rates if name in VIDEO_MODELS else ("CA", "US")
    return IMAGE_MODELS[name].regions if name in IMAGE_MODELS else ("CA", "US")


def refs(body: responses.Json) -> list[str]:
    """The uploads and images this body goes by."""
    return [str(body[name]) for name in body if "Ref" in name and name != "replyRef"]


def video_order(body: responses.Json, region: str) -> Order:
    """What POST videos asks for.

    Raises:
        RefusedError: a 400.
    """
    model = _one_of(body, "model", VIDEO_MODELS, "seedance-2.0")
    mode = _input_mode(body)
    prompt = str(body.get("prompt", ""))
    if mode in ("prompt", "unified_edit") and not prompt.strip():
        raise responses.refused(400, "Parameter prompt is required")
    if mode == "multi_frame" and prompt:
        raise responses.refused(400, "Parameter prompt is not supported with frame_N_imageRef")
    if len(prompt) > MAX_VIDEO_PROMPT:
        raise responses.refused(400, f"Parameter prompt exceeds {MAX_VIDEO_PROMPT} characters")
    rates = VIDEO_MODELS[model].rates.get(region)
    if rates is None:
        raise responses.refused(400, f"Model {model} is not available in region {region}")
    resolution = _one_of(body, "resolution", rates, next(iter(rates)))
    lengths = VIDEO_MODELS[model].seconds
    seconds = body.get("duration", 5)
    if not responses.is_number(seconds, 1, 180) or seconds not in lengths:
        allowed = ", ".join(map(str, lengths))
        raise responses.refused(400, f"Parameter duration ({seconds}) valid values: {allowed}")
    if mode not in ("prompt", "unified_edit") and "ratio" in body:
        raise responses.refused(400, "Parameter ratio is not supported with image references")
    ratio = _one_of(body, "ratio", VIDEO_MODELS[model].ratios, "16:9")
    whole = int(str(seconds))
    # The vendor's tool text, November 2026: "no credits". Assumed: on every plan and model.
    rate = 0 if body.get("unlimited") is True else rates[resolution]
    echo: responses.Json = {"prompt": prompt, "model": model, "ratio": ratio, "duration": whole}
    echo["inputMode"] = mode
    return Order(model, resolution, whole, whole * rate, echo)


def _input_mode(body: responses.Json) -> str:
    """What the server makes of the references: POST videos, 3 April 2026."""
    if "endFrameRef" in body and "firstFrameRef" not in body:
        raise responses.refused(400, "Parameter endFrameRef requires firstFrameRef")
    if "endFrameRef" in body:
        return "end_frame"
    if "firstFrameRef" in body:
        return "first_frame"
    if frames := sum(name.startswith("frame_") and name.endswith("Ref") for name in body):
        if not 2 <= frames <= MAX_FRAMES:
            raise responses.refused(400, f"Parameter frame_N_imageRef takes 2 to {MAX_FRAMES}")
        return "multi_frame"
    return "unified_edit" if any(name.startswith("omni_") for name in body) else "prompt"


def image_order(body: responses.Json, region: str) -> Order:
    """What POST images asks for.

    Raises:
        RefusedError: a 400.
    """
    name = _one_of(body, "model", IMAGE_MODELS, "seedream-4.6")
    model = IMAGE_MODELS[name]
    given = refs(body)
    prompt = str(body.get("prompt", ""))
    if not prompt.strip() and (model.needs_prompt or not given):
        raise responses.refused(400, "Parameter prompt is required")
    if len(prompt) > MAX_IMAGE_PROMPT:
        raise responses.refused(400, f"Parameter prompt exceeds {MAX_IMAGE_PROMPT} characters")
    if region not in model.regions:
        raise responses.refused(400, f"Model {name} is not available in region {region}")
    if len(given) > model.refs or any(
        f"imageRef_{number}" not in body for number in range(1, len(given) + 1)
    ):
        raise responses.refused(400, f"Parameter imageRef_N takes 1 to {model.refs}, without gaps")
    resolution = _one_of(body, "resolution", model.resolutions, model.resolutions[0])
    ratios = IMAGE_RATIOS if model.auto_ratio else IMAGE_RATIOS[1:]
    ratio = _one_of(body, "ratio", ratios, ratios[0])
    strength = body.get("imageStrength", 0.5)
    if not responses.is_number(strength, 0, 1, whole=False):
        raise responses.refused(400, f"Parameter imageStrength ({strength}) valid range: 0-1")
    echo: responses.Json = {"prompt": prompt, "model": name, "ratio": ratio}
    echo |= {"resolution": resolution, "inputMode": "generate"}
    return Order(name, resolution, 0, model.credits, echo)


def full_quality_order(body: responses.Json, region: str, echo: responses.Json) -> Order:
    """What POST videos/full-quality asks for, 12 November 2026: "the same as" seedance-2.5 costs.

    Assumed: the price in 4k, and that the record is that of a generation by seedance-2.5.

    Raises:
        RefusedError: a 400.
    """
    rates = {"CA": {"1080p": 117, "4k": 234}, "US": {"1080p": 90}}[region]
    resolution = _one_of(body, "resolution", rates, "1080p")
    seconds = int(str(echo["duration"]))
    model = "seedance-2.5"
    return Order(model, resolution, seconds, seconds * rates[resolution], {**echo, "model": model})


def _one_of(body: responses.Json, name: str, known: Collection[str], default: str) -> str:
    value = body.get(name, default)
    if not isinstance(value, str) or value not in known:
        raise responses.refused(400, f"Parameter {name} ({value}) valid values: {', '.join(known)}")
    return value
