"""Job, the shape of every service's work, and the tables of operations and services."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

OUR_ID_PREFIX = "useapi-mcp:"
FILE_PREFIX = "file:"  # with its SHA-256, stands for a file until it is uploaded
MOST_MEDIA = 16  # no vendor documents more than 4; more would flood an agent

Status = Literal[
    "queued", "submitting", "running", "completed", "failed", "cancelled", "unconfirmed"
]
TERMINAL: frozenset[Status] = frozenset({"completed", "failed", "cancelled"})

Kind = Literal["video", "image"]
OperationName = Literal[
    "upscale_video",
    "interpolate_video",
    "upscale_image",
    "generate_video",
    "generate_image",
    "upload",
]
ServiceName = Literal["dreamina", "google-flow", "pixverse"]


@dataclass(frozen=True)
class Operation:
    """What a job does.

    Args:
        kind: what it makes.
        doing: what its service does meanwhile, in words.
        is_paid: a tool of this name submits it, and it may cost credits.
        from_prompt: what it works on is a text, not something that was made before.
    """

    kind: Kind
    doing: str
    is_paid: bool = False
    from_prompt: bool = False


OPERATIONS: Mapping[OperationName, Operation] = {
    "upscale_video": Operation("video", "upscaling the video", is_paid=True),
    "interpolate_video": Operation("video", "raising the video's frame rate", is_paid=True),
    "upscale_image": Operation("image", "upscaling the image", is_paid=True),
    "generate_video": Operation("video", "making the video", is_paid=True, from_prompt=True),
    "generate_image": Operation("image", "making the image", is_paid=True, from_prompt=True),
    "upload": Operation("video", "being sent the file"),
}


def operation_named(name: str) -> Operation:
    """The operation of this name; a guess by its name for one of a newer version."""
    for known, operation in OPERATIONS.items():
        if known == name:
            return operation
    return Operation("image" if "image" in name else "video", f"at work on it ({name})")


PAID_OPERATIONS = frozenset(name for name, operation in OPERATIONS.items() if operation.is_paid)


@dataclass(frozen=True)
class OwnAccount:
    """Which useapi.net account a user has given the token of; for users who may give one.

    Args:
        account: what the journal calls it; "" where none was given, or it was taken back.
        version: how often that has changed.
    """

    account: str = ""
    version: int = 0


@dataclass(frozen=True)
class Caller:
    """Who made a call.

    Args:
        user: who it is to the journal, a hash; "" is the operator: who holds USEAPI_HTTP_TOKEN, or
            runs the server for himself. The operator sees every job.
        may_submit: whether the paid tools are for this caller, and cancelling.
        own: of a user who may give a useapi.net token of his own; None: of all others.
    """

    user: str = ""
    may_submit: bool = True
    own: OwnAccount | None = None

    @property
    def account(self) -> str:
        """The account that is used for this caller; "" is that of USEAPI_TOKEN."""
        return "" if self.own is None else self.own.account


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
    media_id: Annotated[str | None, Field(description="usable as source")] = None
    size_bytes: int | None = None
    # What tells it in the service's own list of media; kept in the journal, never told.
    listed_as: SkipJsonSchema[tuple[str, ...] | None] = None


class Failure(BaseModel):
    """Why a job ended without a result; `message` may quote the vendor."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str


Options = Annotated[
    dict[str, Any] | None, Field(description="what shapes the result: resolution, fps, ...")
]
Next = Annotated[str | None, Field(description="the call to make now")]
Note = Annotated[str | None, Field(description="what to mind, of money above all")]


class Job(BaseModel):
    """What is known of one job. A failed job is data: reading it succeeded.

    `next` and `note` are for the caller of a tool, and made when it is answered.
    """

    model_config = ConfigDict(frozen=True)

    job_id: str
    # Any text: a job of a newer version, of a service or an operation unknown here, is a job too.
    service: Annotated[str, Field(description=", ".join(get_args(ServiceName)))]
    operation: Annotated[str, Field(description=", ".join(get_args(OperationName)))]
    status: Status
    # A job that an older version wrote to the journal names it `source_id`.
    source: Annotated[str | None, Field(validation_alias=AliasChoices("source", "source_id"))] = (
        None
    )
    options: Options = None
    model: str | None = None
    media: tuple[Media, ...] | None = None
    forecast_credits: float | None = None
    remaining_credits: float | None = None
    failure: Failure | None = None
    created_at: Annotated[str | None, Field(description="ISO 8601 UTC")] = None
    updated_at: str | None = None
    queue_position: int | None = None  # of one that is queued: 1 is sent next
    reused: Annotated[bool | None, Field(description="an earlier job; nothing was submitted")] = (
        None
    )
    poll_after_seconds: int | None = None
    next: Next = None
    note: Note = None

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL

    @property
    def kind(self) -> Kind:
        return operation_named(self.operation).kind

    def evolve(self, **changes: object) -> "Job":
        """The same job with some fields changed."""
        return self.model_copy(update=changes)


class ListedJob(BaseModel):
    """A job in a list: what tells it from others, without links."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    service: str
    operation: str
    status: Status
    source: str | None = None
    options: Options = None
    path: Annotated[str | None, Field(description="its first file on the server's disk")] = None
    created_at: Annotated[str, Field(description="ISO 8601 UTC; newest first")]
    # The whole job, for the gallery; never told.
    job: SkipJsonSchema[Annotated[Job | None, Field(exclude=True)]] = None


class JobList(BaseModel):
    """Jobs this server submitted, newest first."""

    jobs: tuple[ListedJob, ...]
    next: Next = None
    note: Note = None


class FoundMedia(BaseModel):
    """A video or an image on a linked account, whoever made it."""

    model_config = ConfigDict(frozen=True)

    source: Annotated[str | None, Field(description="for the tools in `can`; none: see note")] = (
        None
    )
    image_index: Annotated[int | None, Field(description="which image of the source")] = None
    service: str
    kind: Kind
    created_at: Annotated[str | None, Field(description="ISO 8601 UTC")] = None
    prompt: str | None = None
    model: str | None = None
    width: Annotated[int | None, Field(description="px, as reported")] = None
    height: int | None = None
    duration_ms: int | None = None
    url: Annotated[str | None, Field(description="signed; expires")] = None
    thumbnail_url: str | None = None
    made_here: Annotated[bool, Field(description="submitted by this server")] = False
    can: Annotated[tuple[str, ...], Field(description="tools that take the source")] = ()


class MediaList(BaseModel):
    """What was made on the linked accounts; newest first where the times are known."""

    media: tuple[FoundMedia, ...]
    cursor: Annotated[str | None, Field(description="for the next page; none: it was the last")] = (
        None
    )
    next: Next = None
    note: Note = None
