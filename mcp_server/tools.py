"""The tools an agent sees: what they take, what they say of themselves, and whom they ask.

A tool's docstring is its description: lines are joined, paragraphs are kept.
"""
# ruff: noqa: ARG001 - a paid tool's arguments are read from its signature and used by its resolvers

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import (
    AcceptedElicitation,
    Elicit,
    ElicitationResult,
    Resolve,
)
from mcp.types import CallToolResult, ToolAnnotations
from pydantic import BaseModel, BeforeValidator, Field

from mcp_server.app import App
from mcp_server.errors import DeclinedError, RequestError
from mcp_server.jobs import Job, JobList, PaidOperation, Status
from mcp_server.results import job_answer, list_answer
from mcp_server.services import service_of
from mcp_server.services.service import Order
from mcp_server.settings import is_https
from mcp_server.strict_tool import StrictTool

Ctx = Context[App]


def _any_case(*words: str) -> BeforeValidator:
    """Understand `4k` for `4K`, and the like."""
    known = {word.lower(): word for word in words}
    return BeforeValidator(
        lambda given: known.get(given.lower(), given) if isinstance(given, str) else given
    )


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
JobAnswer = Annotated[CallToolResult, Job]


@dataclass(frozen=True)
class Plan:
    """A call that would be sent: checked, priced, and whether it was made before."""

    order: Order
    is_live: bool


class Consent(BaseModel):
    confirm: bool = Field(description="Spend these credits?")


Planner = Callable[..., Awaitable[Plan]]
_COMMON = ("reply_url", "reply_ref", "max_jobs")
_CAPTCHA = ("captcha_token", "captcha_retry", "captcha_order")


def _planner(operation: PaidOperation, *takes: str) -> Planner:
    """A resolver that checks a call and prices it. It writes nothing: the SDK may run it twice."""

    async def plan(ctx: Ctx, source_id: str, **given: Any) -> Plan:
        app = ctx.request_context.lifespan_context
        given = {name: value for name, value in given.items() if value is not None}
        service = service_of(source_id, "source_id")
        order = service.order(operation, source_id, given, app.settings.job_defaults)
        if "reply_url" in given:
            _check_reply_url(given["reply_url"], app.settings.allowed_reply_hosts)
        app.upstream.require_token()
        return Plan(order, app.submitting.is_live(order))

    # The SDK hands a resolver those of the tool's arguments that its signature names.
    own = list(inspect.signature(plan).parameters.values())[:2]
    rest = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in takes]
    plan.__signature__ = inspect.Signature([*own, *rest])  # type: ignore[attr-defined]  # settable, as PEP 362 says
    return plan


def _consenter(planner: Planner) -> Callable[..., Awaitable[Consent | Elicit[Consent]]]:
    """A resolver that asks the user about a price known beforehand, where the client can ask.

    Nobody is asked about a call that is refused, free, or made before.
    """

    async def consent(
        ctx: Ctx, plan: Annotated[Plan, Resolve(planner)]
    ) -> Consent | Elicit[Consent]:
        price = plan.order.price or 0
        limit = ctx.request_context.lifespan_context.settings.confirm_credits
        if price == 0 or price < limit or plan.is_live or not _can_ask(ctx):
            return Consent(confirm=True)
        service = service_of(plan.order.source_id, "source_id").vendor.title
        what = plan.order.operation.replace("_", " ")
        return Elicit(f"{what} on {service} costs about {price:g} credits. Go on?", Consent)

    return consent


def _can_ask(ctx: Ctx) -> bool:
    able = ctx.client_capabilities.elicitation if ctx.client_capabilities else None
    # A client that names no mode means forms.
    return able is not None and (able.form is not None or able.url is None)


def _check_reply_url(url: str, hosts: frozenset[str]) -> None:
    if not is_https(url):
        raise RequestError(
            "reply_url must begin with https:// and name a host; nothing was sent.",
            "Correct it or leave it out: get_job tells the state too.",
        )
    if (urlsplit(url).hostname or "").lower() not in hosts:
        raise RequestError(
            "The host of reply_url is not one the operator allows; nothing was sent.",
            "Leave reply_url out, or ask the operator to name the host in USEAPI_REPLY_URL_HOSTS.",
        )


async def _submit(ctx: Ctx, plan: Plan, consent: ElicitationResult[Consent]) -> CallToolResult:
    if not (isinstance(consent, AcceptedElicitation) and consent.data.confirm):
        raise DeclinedError(
            "The user declined the cost, so nothing was sent.",
            "Don't ask again for the same; offer something cheaper if there is.",
            service=plan.order.service,
        )
    app = ctx.request_context.lifespan_context
    job = await app.submitting.submit(plan.order)
    if not job.ended:
        job = job.but(poll_after_seconds=app.waiting.poll_after_s(job))
    return job_answer(job, sandbox=app.settings.sandbox)


_plan_upscale_video = _planner("upscale_video", "resolution", *_COMMON, *_CAPTCHA)
_plan_interpolate_video = _planner("interpolate_video", "fps", *_COMMON)
_plan_upscale_image = _planner(
    "upscale_image",
    "resolution",
    "image_index",
    "original_image_strength",
    "detail_strength",
    *_COMMON,
    *_CAPTCHA,
)


async def upscale_video(
    ctx: Ctx,
    source_id: SourceVideo,
    *,
    plan: Annotated[Plan, Resolve(_plan_upscale_video)],
    consent: Annotated[ElicitationResult[Consent], Resolve(_consenter(_plan_upscale_video))],
    resolution: VideoResolution = None,
    reply_url: ReplyUrl = None,
    reply_ref: ReplyRef = None,
    max_jobs: MaxJobs = None,
    captcha_token: CaptchaToken = None,
    captcha_retry: CaptchaRetry = None,
    captcha_order: CaptchaOrder = None,
) -> JobAnswer:
    """Start upscaling a finished video.

    Returns at once with a job; then call get_job with wait_seconds until it ends.
    Costs credits: Google Flow 1080p free, 4K 50; Dreamina about 30; PixVerse by length.
    The same call again never pays twice: it returns the job there is (reused: true).
    Dreamina upscales a generated video once; upscale before interpolating.
    """
    return await _submit(ctx, plan, consent)


async def interpolate_video(
    ctx: Ctx,
    source_id: SourceClip,
    fps: FrameRate,
    *,
    plan: Annotated[Plan, Resolve(_plan_interpolate_video)],
    consent: Annotated[ElicitationResult[Consent], Resolve(_consenter(_plan_interpolate_video))],
    reply_url: ReplyUrl = None,
    reply_ref: ReplyRef = None,
    max_jobs: MaxJobs = None,
) -> JobAnswer:
    """Start raising a finished Dreamina video to 30 or 60 frames per second.

    Returns at once with a job; then call get_job with wait_seconds until it ends.
    Costs credits, about 66 for 60 fps; each video once. For both, upscale first, then interpolate
    the result. The same call again never pays twice: it returns the job there is.
    """
    return await _submit(ctx, plan, consent)


async def upscale_image(
    ctx: Ctx,
    source_id: SourceImage,
    *,
    plan: Annotated[Plan, Resolve(_plan_upscale_image)],
    consent: Annotated[ElicitationResult[Consent], Resolve(_consenter(_plan_upscale_image))],
    resolution: ImageResolution = None,
    image_index: ImageIndex = None,
    original_image_strength: OriginalStrength = None,
    detail_strength: DetailStrength = None,
    reply_url: ReplyUrl = None,
    reply_ref: ReplyRef = None,
    max_jobs: MaxJobs = None,
    captcha_token: CaptchaToken = None,
    captcha_retry: CaptchaRetry = None,
    captcha_order: CaptchaOrder = None,
) -> JobAnswer:
    """Start upscaling a finished image.

    Returns at once with a job; then call get_job with wait_seconds until it ends.
    May cost credits (forecast_credits). Google Flow results are saved to a file and come back as
    path. The same call again never pays twice: it returns the job there is.
    """
    return await _submit(ctx, plan, consent)


async def get_job(
    ctx: Ctx,
    job_id: JobId,
    wait_seconds: Annotated[
        int, Field(ge=0, le=50, description="Wait up to this long for the end; 0 reads once.")
    ] = 0,
) -> JobAnswer:
    """State of a job and, once completed, its media with URL and size. Free.

    Still running after wait_seconds is no error: call again. A failed job is status failed with
    the reason. URLs expire within hours; download_media keeps a file.
    """
    app = ctx.request_context.lifespan_context
    if wait_seconds == 0:
        job = await app.waiting.read(job_id)
    else:
        job = await app.waiting.wait(job_id, wait_seconds, ctx.report_progress)
    return job_answer(job, sandbox=app.settings.sandbox)


async def list_jobs(
    ctx: Ctx,
    status: Annotated[
        Status | None, Field(description="Only jobs last known in this state.")
    ] = None,
    limit: Annotated[int, Field(ge=1, le=100, description="How many, newest first.")] = 20,
) -> Annotated[CallToolResult, JobList]:
    """Jobs this server submitted, newest first, as last known; no network.

    Call it after a lost answer, before submitting again.
    """
    app = ctx.request_context.lifespan_context
    jobs = [app.submitting.told(row) for row in app.journal.recent(limit, status)]
    return list_answer(jobs, sandbox=app.settings.sandbox)


async def cancel_job(ctx: Ctx, job_id: JobId) -> JobAnswer:
    """Ask the vendor to cancel a running job and return its real state; Dreamina only.

    Credits are not known to come back. On an unconfirmed job it gives the job up instead and asks
    the vendor nothing: the same call may then be charged again.
    """
    app = ctx.request_context.lifespan_context
    job, note = await app.cancel(job_id)
    return job_answer(job, note=note, sandbox=app.settings.sandbox)


def _tool(function: Callable[..., Any], title: str, hints: str) -> StrictTool:
    """`hints`: read-only, destructive, idempotent, open-world, each T or F."""
    read_only, destructive, idempotent, open_world = (hint == "T" for hint in hints)
    return StrictTool.of(
        function,
        title=title,
        description=_flowing(inspect.getdoc(function) or ""),
        annotations=ToolAnnotations(
            read_only_hint=read_only,
            destructive_hint=destructive,
            idempotent_hint=idempotent,
            open_world_hint=open_world,
        ),
    )


def _flowing(text: str) -> str:
    return "\n".join(paragraph.replace("\n", " ") for paragraph in text.split("\n\n"))


def all_tools() -> list[StrictTool]:
    return [
        _tool(upscale_video, "Upscale a video", "FFTT"),
        _tool(interpolate_video, "Raise a video's frame rate", "FFTT"),
        _tool(upscale_image, "Upscale an image", "FFTT"),
        _tool(get_job, "Get a job", "TFTT"),
        _tool(list_jobs, "List jobs", "TFTF"),
        _tool(cancel_job, "Cancel a job", "FTTT"),
    ]
