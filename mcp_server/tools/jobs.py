"""The tools that cost nothing: read, list, save and cancel jobs, and check the accounts.

A tool's docstring is its description: lines are joined, paragraphs are kept.
"""

from typing import Annotated

from mcp.types import CallToolResult

from mcp_server.jobs.jobs import LEFT
from mcp_server.models import JobList
from mcp_server.services.health import Check, check
from mcp_server.tools import own_token
from mcp_server.tools.context import Ctx, app_of, current_caller, remote_of
from mcp_server.tools.parameters import (
    FileName,
    JobId,
    Limit,
    ServiceFilter,
    StatusFilter,
    WaitSeconds,
    WithCredits,
)
from mcp_server.tools.results import JobAnswer, check_answer, job_answer, list_answer


async def get_job(
    ctx: Ctx,
    job_id: JobId,
    wait_seconds: WaitSeconds = 0,
) -> JobAnswer:
    """State of a job and, once completed, its media with URL and size. Free.

    Still running after wait_seconds is no error: call again. A failed job is status failed with
    the reason. URLs expire within hours; download_media keeps a file.
    """
    app = app_of(ctx)
    if wait_seconds == 0:
        job = await app.jobs.get(job_id, held=True)
    else:
        job = await app.jobs.wait(job_id, wait_seconds, ctx.report_progress)
    return job_answer(job, sandbox=app.settings.sandbox, remote=remote_of(ctx))


async def list_jobs(
    ctx: Ctx,
    status: StatusFilter = None,
    limit: Limit = 20,
) -> Annotated[CallToolResult, JobList]:
    """Jobs this server submitted, newest first, as last known; no network.

    Submissions that no job came of are listed only with status failed.
    """
    app = app_of(ctx)
    jobs = await app.jobs.recent(limit, status)
    return list_answer(jobs, sandbox=app.settings.sandbox, remote=remote_of(ctx))


async def download_media(ctx: Ctx, job_id: JobId, file_name: FileName = None) -> JobAnswer:
    """Save a job's files on the server's disk and return their paths. Free.

    Waits up to 40 s for the job and the download; what takes longer goes on, and the same call
    joins it. Repeated, it returns the files that are there; nothing is overwritten. Call it before
    the URLs expire.
    """
    app = app_of(ctx)
    job, note = await app.jobs.download(job_id, file_name, ctx.report_progress)
    return job_answer(job, note=note, sandbox=app.settings.sandbox, remote=remote_of(ctx))


async def cancel_job(ctx: Ctx, job_id: JobId) -> JobAnswer:
    """Ask the vendor to cancel a running job and return its real state; Dreamina only.

    Credits are not known to come back. On an unconfirmed job it gives the job up instead and asks
    the vendor nothing: the same call may then be charged again.
    """
    app = app_of(ctx)
    job, note = await app.jobs.cancel(job_id)
    return job_answer(
        job,
        note=note,
        sandbox=app.settings.sandbox,
        remote=remote_of(ctx),
        is_gone=note == LEFT,
    )


async def check_accounts(
    ctx: Ctx,
    service: ServiceFilter = None,
    credits: WithCredits = False,  # noqa: A002 - what callers know it by
) -> Annotated[CallToolResult, Check]:
    """Whether the token, the subscription and the linked accounts are in order. Free.

    Call it before the first job, or after wrong_token, no_subscription or account_error: it says
    what to do. Names are masked. With credits it also claims Dreamina's free ones of the day.
    """
    app = app_of(ctx)
    found = await check(app.upstream, service, with_credits=credits)
    caller, note = current_caller(), ""
    page = app.page_of(caller)
    if page is not None and found.token == "missing":  # noqa: S105 - a state, not a token
        missing = own_token.needed(page)
        found = found.model_copy(update={"problem": missing.message, "hint": missing.hint})
    elif page is not None:
        note = own_token.note_on(caller, page)
    return check_answer(found, note=note, sandbox=app.settings.sandbox)
