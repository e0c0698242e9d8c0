"""The arguments of the tools: what each may be, and what a model reads of it."""

import re
from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from mcp_server.models import Kind, ServiceName, Status
from mcp_server.tools import lenient


def _plain_number(given: Any) -> Any:
    """The number, unless it is text that could be misread: `1,000`, `1e3`, `50 credits`."""
    if isinstance(given, str) and not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,3})?", given.strip()):
        raise ValueError("no plain number")
    return given


_LONGEST_ID = 512
_LONGEST_SOURCE = 8192  # of a link
_AN_ID = BeforeValidator(lenient.one_id)

SourceVideo = Annotated[
    str,
    Field(
        max_length=_LONGEST_SOURCE,
        description="Finished video or job: its id; or an own MP4 or MOV: path or https link "
        "(uploaded to PixVerse).",
    ),
    _AN_ID,
]
SourceClip = Annotated[
    str,
    Field(
        max_length=_LONGEST_SOURCE,
        description="Dreamina jobid of a finished generated or upscaled video.",
    ),
    _AN_ID,
]
SourceImage = Annotated[
    str,
    Field(
        max_length=_LONGEST_SOURCE,
        description="Finished image or job: its id; or an own JPEG, PNG or WebP: path or https "
        "link (uploaded to PixVerse).",
    ),
    _AN_ID,
]
# Which of its values a service takes is for the service to say, which depends on the source: so
# what is published is narrower than what is accepted here.
VideoResolution = Annotated[
    str | None,
    Field(
        max_length=20,
        json_schema_extra={"enum": ["720p", "1080p", "4K"]},
        description="Default: Google Flow 1080p, PixVerse 4K. Dreamina always doubles.",
    ),
    BeforeValidator(lenient.video_resolution),
]
ImageResolution = Annotated[
    str | None,
    Field(
        max_length=20,
        json_schema_extra={"enum": ["1080p", "2k", "4k", "8k"]},
        description="Default: 4k; Google Flow 2k.",
    ),
    BeforeValidator(lenient.image_resolution),
]
FrameRate = Annotated[
    int,
    Field(
        json_schema_extra={"minimum": 30, "maximum": 60},
        description="30 or 60; the source has 24.",
    ),
    BeforeValidator(lenient.frame_rate),
]
ImageIndex = Annotated[
    int | None,
    Field(ge=0, le=3, description="Dreamina: which image of the job, 0-3."),
]
OriginalStrength = Annotated[
    float | None,
    Field(
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Dreamina: how much of it to keep, 0-1; default 0.65.",
    ),
]
DetailStrength = Annotated[
    float | None,
    Field(
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Dreamina: how much detail to add, 0-1; default 0.5.",
    ),
]
Prompt = Annotated[str, Field(max_length=15_000, description="Scene, motion, style.")]
MakingService = Annotated[
    ServiceName | None,
    Field(description="Default: the only healthy one."),
    BeforeValidator(lenient.service),
]
Model = Annotated[
    str | None,
    Field(max_length=80, description="The service's own name of a model."),
    BeforeValidator(lenient.name),
]
VideoUpscaler = Annotated[
    str | None,
    Field(
        max_length=80,
        description="PixVerse: topaz-proteus, topaz-starlight-fast or -precise.",
    ),
    BeforeValidator(lenient.name),
]
ImageUpscaler = Annotated[
    str | None,
    Field(
        max_length=80,
        description="PixVerse: topaz-gigapixel.",
    ),
    BeforeValidator(lenient.name),
]
Duration = Annotated[
    int | None,
    Field(ge=1, le=180, description="1-180, by model; default mostly 5."),
    BeforeValidator(lenient.seconds),
]
AspectRatio = Annotated[
    str | None,
    Field(max_length=20, description="16:9, 9:16, 1:1, ...; not with start_image."),
    BeforeValidator(lenient.ratio),
]
MadeVideoResolution = Annotated[
    str | None,
    Field(max_length=20, description="360p to 1080p or 4K, by model."),
    BeforeValidator(lenient.video_resolution),
]
MadeImageResolution = Annotated[
    str | None,
    Field(max_length=20, description="1k, 1080p, 2k or 4k, by model."),
    BeforeValidator(lenient.image_resolution),
]
Count = Annotated[
    int | None,
    Field(ge=1, le=4, description="1-4, default 1; Dreamina always makes up to 4."),
]
StartImage = Annotated[
    str | None,
    Field(max_length=_LONGEST_SOURCE, description="First frame: an image's id, path or link."),
    _AN_ID,
]
EndImage = Annotated[
    str | None,
    Field(max_length=_LONGEST_SOURCE, description="Last frame, likewise; needs start_image."),
    _AN_ID,
]
ReferenceImage = Annotated[
    str | None,
    Field(max_length=_LONGEST_SOURCE, description="Image to go by: its id, path or link."),
    _AN_ID,
]
Variation = Annotated[
    int | None,
    Field(ge=1, le=1000, description="1-1000; another number makes one more."),
]
MaxCredits = Annotated[
    float | None,
    Field(
        ge=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Pay at most this; a higher price is refused; 0 only asks.",
    ),
    BeforeValidator(_plain_number),
]
ReplyUrl = Annotated[
    str | None,
    Field(max_length=1024, description="https webhook on a host the operator allows."),
]
ReplyRef = Annotated[str | None, Field(max_length=1024, description="Echoed to the webhook.")]
MaxJobs = Annotated[
    int | None,
    Field(ge=1, le=50, description="Most jobs at once, 1-50; not Google Flow."),
]
CaptchaToken = Annotated[
    str | None,
    Field(
        min_length=20,
        max_length=8192,
        description="Google Flow: own captcha token; one captcha_* a call.",
    ),
]
CaptchaRetry = Annotated[int | None, Field(ge=1, le=10, description="Google Flow: attempts, 1-10.")]
CaptchaOrder = Annotated[
    str | None,
    Field(
        pattern=r"^\w+(, ?\w+){0,9}$",
        description="Google Flow: providers, comma-separated.",
    ),
]
JobId = Annotated[
    str,
    Field(
        max_length=_LONGEST_ID,
        description="job_id from any tool, or a job id of useapi.net.",
    ),
    _AN_ID,
]
WaitSeconds = Annotated[
    int,
    Field(ge=0, le=50, description="Wait so long for the end; 0 reads once."),
    BeforeValidator(partial(lenient.at_most, 50)),
]
StatusFilter = Annotated[
    Status | None,
    Field(description="Only these."),
    BeforeValidator(lenient.status),
]
Limit = Annotated[
    int,
    Field(ge=1, le=100, description="How many, newest first."),
    BeforeValidator(partial(lenient.at_most, 100)),
]
FileName = Annotated[
    str | None,
    Field(
        max_length=120,
        description="Bare name; its extension follows the type.",
    ),
]

ServiceFilter = Annotated[
    ServiceName | None,
    Field(description="Only this service; default: all."),
    BeforeValidator(lenient.service),
]
KindFilter = Annotated[
    Kind | None, Field(description="Only these; default: both."), BeforeValidator(lenient.kind)
]
PageLimit = Annotated[
    int,
    Field(ge=1, le=50, description="How many at most."),
    BeforeValidator(partial(lenient.at_most, 50)),
]
PageCursor = Annotated[
    str | None,
    Field(max_length=8192, description="Of the answer before, for its next page."),
]
AccountName = Annotated[
    str | None,
    Field(
        max_length=320,
        description="Linked account, or a part of its name. Default: all.",
    ),
]
PaidAccount = Annotated[
    str | None,
    Field(max_length=320, description="Linked account, as in check_accounts."),
]
WithCredits = Annotated[
    bool,
    Field(description="Also each account's credits, plan, free slots and models, live."),
]
