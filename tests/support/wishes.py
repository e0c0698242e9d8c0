"""Wish: what an idempotency key stands for, in the tools' words and in the vendors'.

It is written from the documents alone, so that it can't share a mistake with the server.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SOURCE = "source"
"""What the tools call the argument that says what is worked on, and the field of a job."""

STRANGER = "stranger"
"""The `replyRef` of somebody else's requests."""

# A tool's argument, the vendor's field of it and its default, by the path of the operation.
_FIELDS: dict[str, dict[str, tuple[str, Any]]] = {
    "/v1/dreamina/videos/upscale": {},
    "/v1/dreamina/videos/interpolate": {"fps": ("fps", None)},
    "/v1/dreamina/images/upscale": {
        "resolution": ("upscaleResolution", "4k"),
        "image_index": ("imageIndex", 0),
        "original_image_strength": ("originalImageStrength", 0.65),
        "detail_strength": ("detailStrength", 0.5),
    },
    "/v1/google-flow/videos/upscale": {"resolution": ("resolution", "1080p")},
    "/v1/google-flow/images/upscale": {"resolution": ("resolution", "2k")},
    "/v2/pixverse/videos/upscale": {},
    "/v2/pixverse/images/upscale": {},
    "/v1/dreamina/videos": {"duration_seconds": ("duration", 5)},
    "/v1/dreamina/images": {},
    "/v1/google-flow/videos": {"duration_seconds": ("duration", 8)},
    "/v1/google-flow/images": {"count": ("count", 1)},
    "/v2/pixverse/videos/create": {"duration_seconds": ("duration", 5)},
    "/v2/pixverse/images/create": {"count": ("create_count", 1)},
}
_SOURCE_FIELD = {"dreamina": "jobid", "google-flow": "mediaGenerationId", "pixverse": "video_id"}
_PATHS = {"upscale_video": "videos/upscale", "interpolate_video": "videos/interpolate"}
_GENERATES = {"generate_video": "videos", "generate_image": "images"}
# What a stranger's request must hold beside its prompt.
_REQUIRED: dict[str, dict[str, Any]] = {
    "/v1/google-flow/videos": {"async": True, "count": 1, "aspectRatio": "landscape"},
    "/v2/pixverse/videos/create": {"aspect_ratio": "16:9"},
}
FILE_FIELDS = ("video_path", "image_path")
"""What names an uploaded file in the body of an upscale."""


@dataclass(frozen=True)
class Wish:
    """One operation on one source, or from one prompt: what a call asks for.

    `source_id` is an id, a prompt, or the path of a file of the user's own. `kept_as` is what the
    journal calls the source of the last: its content.
    """

    tool: str
    source_id: str
    options: tuple[tuple[str, Any], ...] = ()
    kept_as: str = ""

    @property
    def arguments(self) -> dict[str, Any]:
        """Of the tool."""
        return {"prompt" if self.is_made else SOURCE: self.source_id, **dict(self.options)}

    @property
    def is_made(self) -> bool:
        """Whether it is made from a prompt."""
        return self.tool in _GENERATES

    @property
    def variation(self) -> int:
        """Which of several of the same is wished for: the vendor does not know it."""
        return int(dict(self.options).get("variation", 1))

    @property
    def service(self) -> str:
        if self.is_made:
            return str(dict(self.options)["service"])
        if self.kept_as or "-pixverse:" in self.source_id:
            return "pixverse"
        return "dreamina" if self.source_id.endswith("-bot:dreamina") else "google-flow"

    @property
    def path(self) -> str:
        version = "v2" if self.service == "pixverse" else "v1"
        folder = _GENERATES.get(self.tool) or _PATHS.get(self.tool, "images/upscale")
        create = "/create" if self.is_made and self.service == "pixverse" else ""
        return f"/{version}/{self.service}/{folder}{create}"

    @property
    def shape(self) -> dict[str, Any]:
        """The arguments that shape the result, by the vendor's names."""
        given = dict(self.options)
        return {
            name: given.get(argument, default)
            for argument, (name, default) in _FIELDS[self.path].items()
        }

    @property
    def body(self) -> dict[str, Any]:
        """What somebody else sends for the same."""
        fields = _FIELDS[self.path]
        given = {fields[name][0]: value for name, value in self.options if name in fields}
        if self.is_made:
            required = _REQUIRED.get(self.path, {})
            return {"prompt": self.source_id, "replyRef": STRANGER, **required, **given}
        is_flow = self.service == "google-flow"
        mode = {"async": True} if is_flow else {}
        return {
            _SOURCE_FIELD[self.service]: self.source_id,
            "replyRef": STRANGER,
            **mode,
            **given,
        }

    @property
    def has_jobs(self) -> bool:
        """Google Flow's images have none: nothing to find, and no documented cost."""
        return not self.path.startswith("/v1/google-flow/images")

    @property
    def has_quote(self) -> bool:
        """Whether the vendor is asked for the price first."""
        return self.path in ("/v2/pixverse/videos/upscale", "/v2/pixverse/images/upscale")

    @property
    def may_have_a_twin(self) -> bool:
        """Whether a stranger can order just the same."""
        return self.has_jobs and not self.kept_as

    @property
    def is_free(self) -> bool:
        if self.service != "google-flow" or self.path == "/v1/google-flow/videos":
            return False
        return self.shape.get("resolution") != "4K"

    @property
    def may_be_sent_twice(self) -> bool:
        """Whether the vendor refuses a repeat, or it is free."""
        refuses = self.service == "dreamina" and self.tool in _PATHS
        return refuses or (self.is_free and self.has_jobs)

    @property
    def price(self) -> float:
        """As documented, before it is sent."""
        return _price(self.path, self.shape, 66)

    @property
    def asked_about(self) -> float:
        """The price that the user is asked about at least: one that nobody tells is taken as 50."""
        is_unknown = self.path in ("/v2/pixverse/videos/create", "/v1/dreamina/images/upscale")
        return 50 if is_unknown else self.price

    @property
    def cost(self) -> float:
        """What the vendor charges at least: Dreamina's accounts of the US pay less than CA's."""
        return _price(self.path, self.shape, 33, of_dreamina=17)

    def is_of(self, path: str, body: Mapping[str, Any]) -> bool:
        """Whether a paid request asks for just this."""
        fields = _FIELDS[self.path].values() if path == self.path else ()
        shape = {name: body.get(name, default) for name, default in fields}
        field = "prompt" if self.is_made else _SOURCE_FIELD[self.service]
        is_it = body.get(field) == self.source_id
        if self.kept_as:  # the name of the upload tells nothing
            is_it = any(name in body for name in FILE_FIELDS)
        return is_it and path == self.path and shape == self.shape

    def as_listed(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the vendor's list shows of a request: each image alone, not how many were asked."""
        counts = {name: count for name, count in self.shape.items() if name.endswith("count")}
        return {**body, **counts}

    def is_row(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of the journal is one of this wish."""
        source_id = self.kept_as or self.source_id
        wish = (self.service, self.tool, source_id)
        if (row["service"], row["operation"], row["source_id"]) != wish:
            return False
        kept, given = json.loads(row["arguments"]), dict(self.options)
        return kept.get("variation", 1) == self.variation and all(
            kept.get(argument, default) == given.get(argument, default)
            for argument, (_, default) in _FIELDS[self.path].items()
        )


def _price(
    path: str, shape: Mapping[str, Any], at_30_fps: float, *, of_dreamina: float = 23
) -> float:
    if path.endswith("interpolate"):
        return 66 if shape["fps"] == 60 else at_30_fps
    if path == "/v1/dreamina/videos":  # a second of seedance-2.0 in 720p
        return float(shape["duration"] * of_dreamina)
    if path == "/v1/google-flow/videos/upscale":
        return 50 if shape["resolution"] == "4K" else 0
    prices: dict[str, float] = {
        "/v1/dreamina/videos/upscale": 30,
        "/v1/google-flow/videos": 20,  # a clip of veo-3.1-fast
        "/v2/pixverse/images/create": 5 * shape.get("create_count", 1),
        "/v2/pixverse/images/upscale": 10,
        "/v2/pixverse/videos/upscale": 6,  # a second, of which there is one at least
    }
    return prices.get(path, 0)
