"""The paid tools: upscale a video, raise its frame rate, upscale an image.

Each tool has a `_plan_...` function that turns its arguments into a plan. The SDK runs it as a
resolver, once a call: the user is asked about the price of just that plan which is then submitted.

A tool's docstring is its description: lines are joined, paragraphs are kept.
"""

from typing import Annotated

from mcp.server.mcpserver.resolve import ElicitationResult, Resolve
from mcp.types import CallToolResult

from mcp_server.tools.consent import (
    Consent,
    Plan,
    check_consent,
    consenter,
    make_plan,
    with_files,
)
from mcp_server.tools.context import Ctx, app_of, remote_of
from mcp_server.tools.parameters import (
    CaptchaOrder,
    CaptchaRetry,
    CaptchaToken,
    DetailStrength,
    FrameRate,
    ImageIndex,
    ImageResolution,
    ImageUpscaler,
    MaxCredits,
    MaxJobs,
    OriginalStrength,
    PaidAccount,
    ReplyRef,
    ReplyUrl,
    SourceClip,
    SourceImage,
    SourceVideo,
    VideoResolution,
    VideoUpscaler,
)
from mcp_server.tools.results import JobAnswer, job_answer


async def _plan_upscale_video(
    ctx: Ctx,
    source: str,
    *,
    resolution: str | None,
    model: str | None,
    max_credits: float | None,
    account: str | None,
    reply_url: str | None,
    reply_ref: str | None,
    max_jobs: int | None,
    captcha_token: str | None,
    captcha_retry: int | None,
    captcha_order: str | None,
) -> Plan:
    return await make_plan(
        ctx,
        "upscale_video",
        source,
        resolution=resolution,
        model=model,
        max_credits=max_credits,
        account=account,
        reply_url=reply_url,
        reply_ref=reply_ref,
        max_jobs=max_jobs,
        captcha_token=captcha_token,
        captcha_retry=captcha_retry,
        captcha_order=captcha_order,
    )


async def upscale_video(
    ctx: Ctx,
    source: SourceVideo,
    *,
    plan: Annotated[Plan, Resolve(_plan_upscale_video)],
    consent: Annotated[ElicitationResult[Consent], Resolve(consenter(_plan_upscale_video))],
    resolution: VideoResolution = None,
    model: VideoUpscaler = None,
    max_credits: MaxCredits = None,
    account: PaidAccount = None,
    reply_url: ReplyUrl = None,
    reply_ref: ReplyRef = None,
    max_jobs: MaxJobs = None,
    captcha_token: CaptchaToken = None,
    captcha_retry: CaptchaRetry = None,
    captcha_order: CaptchaOrder = None,
) -> JobAnswer:
    """Start upscaling a finished video.

    Returns a job at once, mostly done in 1 to 5 minutes: then get_job(wait_seconds=50) until it
    ends. Costs credits: Google Flow 1080p free, 4K 50; Dreamina about 30; PixVerse by length. From
    50 on ask the user first and set max_credits, or it may be refused. The same call again never
    pays twice. Dreamina upscales a generated video once; upscale before interpolating.
    """
    return await submit_plan(ctx, plan, consent)


async def _plan_interpolate_video(
    ctx: Ctx,
    source: str,
    *,
    fps: int,
    max_credits: float | None,
    account: str | None,
    reply_url: str | None,
    reply_ref: str | None,
    max_jobs: int | None,
) -> Plan:
    return await make_plan(
        ctx,
        "interpolate_video",
        source,
        fps=fps,
        max_credits=max_credits,
        account=account,
        reply_url=reply_url,
        reply_ref=reply_ref,
        max_jobs=max_jobs,
    )


async def interpolate_video(
    ctx: Ctx,
    source: SourceClip,
    fps: FrameRate,
    *,
    plan: Annotated[Plan, Resolve(_plan_interpolate_video)],
    consent: Annotated[ElicitationResult[Consent], Resolve(consenter(_plan_interpolate_video))],
    max_credits: MaxCredits = None,
    account: PaidAccount = None,
    reply_url: ReplyUrl = None,
    reply_ref: ReplyRef = None,
    max_jobs: MaxJobs = None,
) -> JobAnswer:
    """Start raising a finished Dreamina video to 30 or 60 frames per second.

    Returns a job at once: then get_job(wait_seconds=50) until it ends. Costs about 66 credits for
    60 fps, each video once: ask the user first and set max_credits, or it may be refused. Upscale
    first, then interpolate the result. The same call again never pays twice.
    """
    return await submit_plan(ctx, plan, consent)


async def _plan_upscale_image(
    ctx: Ctx,
    source: str,
    *,
    resolution: str | None,
    model: str | None,
    image_index: int | None,
    original_image_strength: float | None,
    detail_strength: float | None,
    max_credits: float | None,
    account: str | None,
    reply_url: str | None,
    reply_ref: str | None,
    max_jobs: int | None,
    captcha_token: str | None,
    captcha_retry: int | None,
    captcha_order: str | None,
) -> Plan:
    return await make_plan(
        ctx,
        "upscale_image",
        source,
        resolution=resolution,
        model=model,
        image_index=image_index,
        original_image_strength=original_image_strength,
        detail_strength=detail_strength,
        max_credits=max_credits,
        account=account,
        reply_url=reply_url,
        reply_ref=reply_ref,
        max_jobs=max_jobs,
        captcha_token=captcha_token,
        captcha_retry=captcha_retry,
        captcha_order=captcha_order,
    )


async def upscale_image(
    ctx: Ctx,
    source: SourceImage,
    *,
    plan: Annotated[Plan, Resolve(_plan_upscale_image)],
    consent: Annotated[ElicitationResult[Consent], Resolve(consenter(_plan_upscale_image))],
    resolution: ImageResolution = None,
    model: ImageUpscaler = None,
    image_index: ImageIndex = None,
    original_image_strength: OriginalStrength = None,
    detail_strength: DetailStrength = None,
    max_credits: MaxCredits = None,
    account: PaidAccount = None,
    reply_url: ReplyUrl = None,
    reply_ref: ReplyRef = None,
    max_jobs: MaxJobs = None,
    captcha_token: CaptchaToken = None,
    captcha_retry: CaptchaRetry = None,
    captcha_order: CaptchaOrder = None,
) -> JobAnswer:
    """Start upscaling a finished image.

    Returns a job at once: then get_job(wait_seconds=50) until it ends. May cost credits
    (forecast_credits). Google Flow's results are saved and come back as path. The same call again
    never pays twice.
    """
    return await submit_plan(ctx, plan, consent)


async def submit_plan(ctx: Ctx, plan: Plan, consent: ElicitationResult[Consent]) -> CallToolResult:
    """The answer of a paid tool: the job that its plan makes, or the one there is."""
    may_charge = check_consent(plan, consent)
    app = app_of(ctx)
    job = await with_files(ctx, plan, lambda order: app.jobs.submit(order, may_charge=may_charge))
    return job_answer(
        job,
        note=plan.note(job),
        sandbox=app.settings.sandbox,
        remote=remote_of(ctx),
    )
