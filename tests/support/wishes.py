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
}
_SOURCE_FIELD = {"dreamina": "jobid", "google-flow": "mediaGenerationId", "pixverse": "video_id"}
_PATHS = {"upscale_video": "videos/upscale", "interpolate_video": "videos/interpolate"}


@dataclass(frozen=True)
class Wish:
    """One operation on one source: what a call asks for."""

    tool: str
    source_id: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def arguments(self) -> dict[str, Any]:
        """Of the tool."""
        return {SOURCE: self.source_id, **dict(self.options)}

    @property
    def service(self) -> str:
        if "-pixverse:" in self.source_id:
            return "pixverse"
        return "dreamina" if self.source_id.endswith("-bot:dreamina") else "google-flow"

    @property
    def path(self) -> str:
        version = "v2" if self.service == "pixverse" else "v1"
        return f"/{version}/{self.service}/{_PATHS.get(self.tool, 'images/upscale')}"

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
        given = {_FIELDS[self.path][name][0]: value for name, value in self.options}
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
        """Google Flow's image upscale has none: nothing to find, and no documented cost."""
        return self.path != "/v1/google-flow/images/upscale"

    @property
    def is_free(self) -> bool:
        return self.service == "google-flow" and self.shape.get("resolution") != "4K"

    @property
    def may_be_sent_twice(self) -> bool:
        """Whether the vendor refuses a repeat, or it is free."""
        refuses = self.service == "dreamina" and self.tool != "upscale_image"
        return refuses or (self.is_free and self.has_jobs)

    @property
    def price(self) -> float:
        """As documented, before it is sent."""
        return _price(self.path, self.shape, 66)

    @property
    def asked_about(self) -> float:
        """The price that the user is asked about: one that nobody documents is taken as 50."""
        is_unknown = self.path in ("/v2/pixverse/videos/upscale", "/v1/dreamina/images/upscale")
        return 50 if is_unknown else self.price

    @property
    def cost(self) -> float:
        """What the vendor charges."""
        return _price(self.path, self.shape, 33)

    def is_of(self, path: str, body: Mapping[str, Any]) -> bool:
        """Whether a paid request asks for just this."""
        fields = _FIELDS[self.path].values() if path == self.path else ()
        shape = {name: body.get(name, default) for name, default in fields}
        is_it = body.get(_SOURCE_FIELD[self.service]) == self.source_id
        return is_it and path == self.path and shape == self.shape

    def is_row(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of the journal is one of this wish."""
        if (row["operation"], row["source_id"]) != (self.tool, self.source_id):
            return False
        kept, given = json.loads(row["arguments"]), dict(self.options)
        return all(
            kept.get(argument, default) == given.get(argument, default)
            for argument, (_, default) in _FIELDS[self.path].items()
        )


def _price(path: str, shape: Mapping[str, Any], at_30_fps: float) -> float:
    if path.endswith("interpolate"):
        return 66 if shape["fps"] == 60 else at_30_fps
    if path == "/v1/dreamina/videos/upscale":
        return 30
    is_4k = path == "/v1/google-flow/videos/upscale" and shape["resolution"] == "4K"
    return 50 if is_4k else 0
