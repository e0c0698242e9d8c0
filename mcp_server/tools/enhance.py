"""The tools an agent sees: what they take, what they say of themselves, and whom they ask.

A tool's docstring is its description: lines are joined, paragraphs are kept.
"""
# ruff: noqa: ARG001 - a paid tool's arguments are read from its signature and used by its resolvers

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

from mcp.server.mcpserver.resolve import AcceptedElicitation, ElicitationResult, Resolve
from mcp.types import CallToolResult, ToolAnnotations
from pydantic import Field

from mcp_server.errors import DeclinedError
from mcp_server.models import Job, JobList, Status
from mcp_server.services.health import Check, check
from mcp_server.tools.consent import Consent, Ctx, Plan, consenter, planner
from mcp_server.tools.parameters import (
    CaptchaOrder,
    CaptchaRetry,
    CaptchaToken,
    DetailStrength,
    FileName,
    FrameRate,
    ImageIndex,
    ImageResolution,
    JobId,
    MaxJobs,
    OriginalStrength,
    ReplyRef,
    ReplyUrl,
    SourceClip,
    SourceImage,
    SourceVideo,
    VideoResolution,
)
from mcp_server.tools.results import check_answer, job_answer, list_answer
from mcp_server.tools.strict_tool import StrictTool

JobAnswer = Annotated[CallToolResult, Job]


_COMMON = ("reply_url", "reply_ref", "max_jobs")
_CAPTCHA = ("captcha_token", "captcha_retry", "captcha_order")
_ANOTHER_DISK = (
    "This server is reached over HTTP: a path is on its machine's disk, which may not be yours."
)


async def _submit(ctx: Ctx, plan: Plan, consent: ElicitationResult[Consent]) -> CallToolResult:
    if not (isinstance(consent, AcceptedElicitation) and consent.data.confirm):
        raise DeclinedError(
            "The user declined the cost, so nothing was sent.",
            "Don't ask again for the same; offer something cheaper if there is.",
            service=plan.order.service,
        )
    app = ctx.request_context.lifespan_context
    return job_answer(await app.jobs.submit(plan.order), sandbox=app.settings.sandbox)


_plan_upscale_video = planner("upscale_video", "resolution", *_COMMON, *_CAPTCHA)
_plan_interpolate_video = planner("interpolate_video", "fps", *_COMMON)
_plan_upscale_image = planner(
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
    consent: Annotated[ElicitationResult[Consent], Resolve(consenter(_plan_upscale_video))],
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
    consent: Annotated[ElicitationResult[Consent], Resolve(consenter(_plan_interpolate_video))],
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
    consent: Annotated[ElicitationResult[Consent], Resolve(consenter(_plan_upscale_image))],
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
        job = await app.jobs.get(job_id)
    else:
        job = await app.jobs.wait(job_id, wait_seconds, ctx.report_progress)
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
    return list_answer(await app.jobs.recent(limit, status), sandbox=app.settings.sandbox)


async def download_media(ctx: Ctx, job_id: JobId, file_name: FileName = None) -> JobAnswer:
    """Save the files of a completed job on the server's disk and return their paths. Free.

    The same call again returns the files that are there; nothing is ever overwritten. Returns when
    all is saved: on a slow line a long video takes minutes. Call it before the URLs expire.
    """
    app = ctx.request_context.lifespan_context
    job = await app.jobs.download(job_id, file_name, ctx.report_progress)
    note = "" if ctx.request_context.request is None else _ANOTHER_DISK
    return job_answer(job, note=note, sandbox=app.settings.sandbox)


async def cancel_job(ctx: Ctx, job_id: JobId) -> JobAnswer:
    """Ask the vendor to cancel a running job and return its real state; Dreamina only.

    Credits are not known to come back. On an unconfirmed job it gives the job up instead and asks
    the vendor nothing: the same call may then be charged again.
    """
    app = ctx.request_context.lifespan_context
    job, note = await app.jobs.cancel(job_id)
    return job_answer(job, note=note, sandbox=app.settings.sandbox)


async def check_accounts(ctx: Ctx) -> Annotated[CallToolResult, Check]:
    """Whether the token, the subscription and the linked accounts are in order. Free.

    Call it when a call fails with wrong_token, no_subscription or account_error, or before the
    first job. It tells the user what to do about each fault; names of accounts are masked.
    """
    app = ctx.request_context.lifespan_context
    return check_answer(await check(app.upstream), sandbox=app.settings.sandbox)


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


@functools.cache
def all_tools() -> tuple[StrictTool, ...]:
    """The tools, made once: they hold nothing of the server that lists them."""
    return (
        _tool(upscale_video, "Upscale a video", "FFTT"),
        _tool(interpolate_video, "Raise a video's frame rate", "FFTT"),
        _tool(upscale_image, "Upscale an image", "FFTT"),
        _tool(get_job, "Get a job", "TFTT"),
        _tool(list_jobs, "List jobs", "TFTF"),
        _tool(download_media, "Save a job's files", "FFTT"),
        _tool(cancel_job, "Cancel a job", "FTTT"),
        _tool(check_accounts, "Check token and accounts", "TFTT"),
    )
