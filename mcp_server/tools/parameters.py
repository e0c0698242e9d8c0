"""The arguments of the tools: what each may be, and what a model reads of it."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field


def _any_case(*words: str) -> BeforeValidator:
    """A validator that takes these words in any case: `4k` is `4K`."""
    known = {word.lower(): word for word in words}
    return BeforeValidator(
        lambda given: known.get(given.lower(), given) if isinstance(given, str) else given
    )


def _plain_number(given: Any) -> Any:
    """The number, unless it is text that could be misread: `1,000`, `1e3`, `50 credits`."""
    if isinstance(given, str) and not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,3})?", given.strip()):
        raise ValueError("no plain number")
    return given


SourceVideo = Annotated[
    str,
    Field(
        description="Id of the finished source video: Dreamina jobid, Google Flow "
        "mediaGenerationId or PixVerse video_id. The id tells the service."
    ),
]
SourceClip = Annotated[
    str, Field(description="Dreamina jobid of a finished generated or upscaled video.")
]
SourceImage = Annotated[
    str, Field(description="Dreamina image jobid or Google Flow image mediaGenerationId.")
]
VideoResolution = Annotated[
    Literal["720p", "1080p", "4K"] | None,
    _any_case("720p", "1080p", "4K"),
    Field(
        description="Google Flow only; default 1080p. Dreamina always doubles, "
        "PixVerse always makes 4K."
    ),
]
ImageResolution = Annotated[
    Literal["2k", "4k", "8k"] | None,
    _any_case("2k", "4k", "8k"),
    Field(description="Default: Dreamina 4k, Google Flow 2k. 8k is Dreamina only."),
]
FrameRate = Annotated[
    Literal[30, 60],
    BeforeValidator(lambda given: int(given) if given in ("30", "60") else given),
    Field(description="Target frames per second (the source has 24)."),
]
ImageIndex = Annotated[
    int | None,
    Field(ge=0, le=3, description="Dreamina only: which image of the job, from 0; default 0."),
]
OriginalStrength = Annotated[
    float | None,
    Field(
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Dreamina only: how much of the original to keep; default 0.65.",
    ),
]
DetailStrength = Annotated[
    float | None,
    Field(
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Dreamina only: how much detail to add; default 0.5.",
    ),
]
MaxCredits = Annotated[
    float | None,
    Field(
        ge=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Pay at most this; a higher price is refused and told. 0 only asks the price.",
    ),
    BeforeValidator(_plain_number),
]
ReplyUrl = Annotated[
    str | None,
    Field(max_length=1024, description="https webhook; its host must be allowed by the operator."),
]
ReplyRef = Annotated[
    str | None, Field(max_length=1024, description="Reference echoed to the webhook.")
]
MaxJobs = Annotated[
    int | None,
    Field(ge=1, le=50, description="Ceiling of jobs at once; PixVerse 1-8; not Google Flow."),
]
CaptchaToken = Annotated[
    str | None,
    Field(
        min_length=20,
        max_length=8192,
        description="Google Flow only: own reCAPTCHA token. At most one captcha_* a call.",
    ),
]
CaptchaRetry = Annotated[
    int | None, Field(ge=1, le=10, description="Google Flow only: captcha attempts.")
]
CaptchaOrder = Annotated[
    str | None,
    Field(
        pattern=r"^\w+(, ?\w+){0,9}$",
        description="Google Flow only: captcha providers, comma-separated.",
    ),
]
JobId = Annotated[
    str, Field(description="job_id from any tool here, or a job id made elsewhere on useapi.net.")
]
FileName = Annotated[
    str | None,
    Field(
        max_length=120,
        description="Bare name, no folder; the extension follows the file's type. Default: made "
        "by the server.",
    ),
]
