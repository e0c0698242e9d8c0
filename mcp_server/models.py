"""Job: the one shape in which every service's work is told."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

OUR_ID_PREFIX = "useapi-mcp:"
MOST_MEDIA = 16  # no vendor documents more than 4; more would flood an agent

Status = Literal["submitting", "running", "completed", "failed", "cancelled", "unconfirmed"]
Operation = Literal[
    "upscale_video", "interpolate_video", "upscale_image", "generate_video", "generate_image"
]
PaidOperation = Literal["upscale_video", "interpolate_video", "upscale_image"]
Kind = Literal["video", "image"]

TERMINAL: frozenset[Status] = frozenset({"completed", "failed", "cancelled"})


class Media(BaseModel):
    """One finished file: at its vendor (`url`), on the server's disk (`path`), or both."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    url: Annotated[str | None, Field(description="signed; expires in hours")] = None
    path: Annotated[str | None, Field(description="file on the server's disk")] = None
    mime_type: str | None = None
    width: Annotated[int | None, Field(description="px, as reported")] = None
    height: int | None = None
    duration_ms: int | None = None
    frame_rate: float | None = None
    thumbnail_url: str | None = None
    media_id: Annotated[str | None, Field(description="usable as source_id")] = None
    size_bytes: int | None = None


class Failure(BaseModel):
    """Why a job ended without a result; `message` may quote the vendor."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str


class Job(BaseModel):
    """What is known of one job. A failed job is data: reading it succeeded."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    service: Literal["dreamina", "google-flow", "pixverse"]
    operation: Operation
    status: Status
    source_id: str | None = None
    model: str | None = None
    media: tuple[Media, ...] | None = None
    forecast_credits: float | None = None
    remaining_credits: float | None = None
    failure: Failure | None = None
    created_at: Annotated[str | None, Field(description="ISO 8601 UTC")] = None
    updated_at: str | None = None
    reused: Annotated[bool | None, Field(description="an earlier job; nothing was submitted")] = (
        None
    )
    poll_after_seconds: int | None = None

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL

    @property
    def kind(self) -> Kind:
        return "image" if self.operation in {"upscale_image", "generate_image"} else "video"

    def evolve(self, **changes: object) -> "Job":
        """The same job with some fields changed."""
        return self.model_copy(update=changes)


class JobList(BaseModel):
    """Jobs this server submitted, newest first."""

    jobs: tuple[Job, ...]
