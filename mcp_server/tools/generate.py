"""The paid tools that make something of a prompt: a video, images.

They are built as those of enhance.py are.
"""

from typing import Annotated

from mcp.server.mcpserver.resolve import ElicitationResult, Resolve

from mcp_server.models import OperationName
from mcp_server.tools.choice import service_for
from mcp_server.tools.consent import Consent, Plan, consenter, plan_of
from mcp_server.tools.context import Ctx, app_of
from mcp_server.tools.enhance import submit_plan
from mcp_server.tools.parameters import (
    AspectRatio,
    CaptchaOrder,
    CaptchaRetry,
    CaptchaToken,
    Count,
    Duration,
    EndImage,
    MadeImageResolution,
    MadeVideoResolution,
    MakingService,
    MaxCredits,
    MaxJobs,
    Model,
    PaidAccount,
    Prompt,
    ReferenceImage,
    ReplyRef,
    ReplyUrl,
    StartImage,
    Variation,
)
from mcp_server.tools.results import JobAnswer
from mcp_server.tools.sources import find_image

_IMAGES = ("start_image", "end_image", "reference_image")


async def _plan_generate_video(
    ctx: Ctx,
    prompt: str,
    *,
    service: str | None,
    model: str | None,
    duration_seconds: int | None,
    aspect_ratio: str | None,
    resolution: str | None,
    start_image: str | None,
    end_image: str | None,
    variation: int | None,
    max_credits: float | None,
    account: str | None,
    reply_url: str | None,
    reply_ref: str | None,
    max_jobs: int | None,
    captcha_token: str | None,
    captcha_retry: int | None,
    captcha_order: str | None,
) -> Plan:
    return await _plan(
        ctx,
        "generate_video",
        prompt,
        service=service,
        model=model,
        duration_seconds=duration_seconds,
        aspect_ratio=aspect_ratio,
        resolution=resolution,
        start_image=start_image,
        end_image=end_image,
        variation=variation,
        max_credits=max_credits,
        account=account,
        reply_url=reply_url,
        reply_ref=reply_ref,
        max_jobs=max_jobs,
        captcha_token=captcha_token,
        captcha_retry=captcha_retry,
        captcha_order=captcha_order,
    )


async def generate_video(
    ctx: Ctx,
    prompt: Prompt,
    *,
    plan: Annotated[Plan, Resolve(_plan_generate_video)],
    consent: Annotated[ElicitationResult[Consent], Resolve(consenter(_plan_generate_video))],
    service: MakingService = None,
    model: Model = None,
    duration_seconds: Duration = None,
    aspect_ratio: AspectRatio = None,
    resolution: MadeVideoResolution = None,
    start_image: StartImage = None,
    end_image: EndImage = None,
    variation: Variation = None,
    max_credits: MaxCredits = None,
    account: PaidAccount = None,
    reply_url: ReplyUrl = None,
    reply_ref: ReplyRef = None,
    max_jobs: MaxJobs = None,
    captcha_token: CaptchaToken = None,
    captcha_retry: CaptchaRetry = None,
    captcha_order: CaptchaOrder = None,
) -> JobAnswer:
    """Start making a new video from a prompt.

    Returns a job at once, mostly done in 1 to 5 minutes: then get_job(wait_seconds=50) until it
    ends. Costs credits by model, length and resolution, as 115 for 5 s on Dreamina: ask the user
    first and set max_credits, or it may be refused. The same call again never pays twice;
    variation=2 makes one more. For 4K make 1080p, then upscale_video(source=job_id).
    """
    return await submit_plan(ctx, plan, consent)


async def _plan_generate_image(
    ctx: Ctx,
    prompt: str,
    *,
    service: str | None,
    model: str | None,
    aspect_ratio: str | None,
    resolution: str | None,
    count: int | None,
    reference_image: str | None,
    variation: int | None,
    max_credits: float | None,
    account: str | None,
    reply_url: str | None,
    reply_ref: str | None,
    max_jobs: int | None,
    captcha_token: str | None,
    captcha_retry: int | None,
    captcha_order: str | None,
) -> Plan:
    return await _plan(
        ctx,
        "generate_image",
        prompt,
        service=service,
        model=model,
        aspect_ratio=aspect_ratio,
        resolution=resolution,
        count=count,
        reference_image=reference_image,
        variation=variation,
        max_credits=max_credits,
        account=account,
        reply_url=reply_url,
        reply_ref=reply_ref,
        max_jobs=max_jobs,
        captcha_token=captcha_token,
        captcha_retry=captcha_retry,
        captcha_order=captcha_order,
    )


async def generate_image(
    ctx: Ctx,
    prompt: Prompt,
    *,
    plan: Annotated[Plan, Resolve(_plan_generate_image)],
    consent: Annotated[ElicitationResult[Consent], Resolve(consenter(_plan_generate_image))],
    service: MakingService = None,
    model: Model = None,
    aspect_ratio: AspectRatio = None,
    resolution: MadeImageResolution = None,
    count: Count = None,
    reference_image: ReferenceImage = None,
    variation: Variation = None,
    max_credits: MaxCredits = None,
    account: PaidAccount = None,
    reply_url: ReplyUrl = None,
    reply_ref: ReplyRef = None,
    max_jobs: MaxJobs = None,
    captcha_token: CaptchaToken = None,
    captcha_retry: CaptchaRetry = None,
    captcha_order: CaptchaOrder = None,
) -> JobAnswer:
    """Start making new images from a prompt.

    Returns a job at once, mostly done within 2 minutes: then get_job(wait_seconds=50) until it
    ends. Free on Google Flow and with some models of Dreamina, else it costs credits by model. The
    same call again never pays twice; variation=2 makes one more.
    """
    return await submit_plan(ctx, plan, consent)


async def _plan(
    ctx: Ctx,
    operation: OperationName,
    prompt: str,
    *,
    service: str | None,
    max_credits: float | None,
    **arguments: str | float | None,
) -> Plan:
    """The plan of a call that makes something of a prompt; see make_plan."""
    app = app_of(ctx)
    patience = app.jobs.patience(ctx.report_progress)
    given = {name: value for name, value in arguments.items() if value is not None}
    images = {name: str(given[name]) for name in _IMAGES if name in given}
    maker = await service_for(app, operation, prompt, given, named=service, images=images.values())
    files = []
    for name, value in images.items():
        image = await find_image(ctx, maker, operation, value, patience)
        given[name] = image.id
        files += [image.file] if image.file is not None else []
    return await plan_of(
        ctx, maker, operation, prompt, given, patience, files=files, max_credits=max_credits
    )
