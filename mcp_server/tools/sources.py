"""The source of a paid call: the id that its service takes, found from whatever id was given."""

from mcp_server.errors import NotReadyError, UnknownIdError, UnsupportedError
from mcp_server.models import OUR_ID_PREFIX, Job
from mcp_server.services.base import Service
from mcp_server.services.registry import service_of, title_of
from mcp_server.tools.context import AppContext


async def source_id(app: AppContext, given: str) -> str:
    """The id to send: of a job of ours the vendor's, of a job whose id is no source its medium's.

    It may read the job, which is free.

    Raises:
        UnknownIdError: no service owns this id, or we never gave it.
        NotReadyError: the job has no result yet.
        UnsupportedError: the job has no result to work on, or several.
    """
    some_id = given
    if given.startswith(OUR_ID_PREFIX):
        job = await app.jobs.known(given)
        if job is None:
            raise UnknownIdError(
                message="No submission of this server has this id, so nothing was sent.",
                hint="Call list_jobs for the ids there are.",
                asks="list_jobs",
            )
        if job.job_id.startswith(OUR_ID_PREFIX):
            return _medium_of(await app.jobs.get(given))
        some_id = job.job_id
    service = service_of(some_id, "source")
    if service.takes_as_source(some_id):
        return some_id
    job = await app.jobs.known(some_id)
    if job is None or not job.ended or not _media_ids(job):
        job = await app.jobs.get(some_id)
    return _medium_of(job)


def image_id(service: Service, argument: str, given: str) -> str:
    """The id to send as an image that a generation begins with.

    Raises:
        UnsupportedError: it is none that this service takes.
    """
    if service.takes_as_image(given):
        return given
    raise UnsupportedError(
        message=f"{service.vendor.title} does not take this as {argument}, so nothing was sent.",
        hint=f"Leave {argument} out.",
        service=service.name,
    )


def _medium_of(job: Job) -> str:
    ids = _media_ids(job)
    if len(ids) == 1 and job.status == "completed":
        return ids[0]
    if not job.ended:
        raise NotReadyError(
            message="The source is a job that is not finished yet, so nothing was sent.",
            hint="Wait for it with get_job(job_id=source, wait_seconds=50), then call again.",
            service=job.service,
            job_id=job.job_id,
        )
    title = title_of(job.service)
    if len(ids) > 1:
        raise UnsupportedError(
            message=f"This job of {title} made several files, so nothing was sent.",
            hint=f"Give the media_id of one as source: {', '.join(ids)}.",
            service=job.service,
        )
    raise UnsupportedError(
        message=f"This job of {title} is {job.status} and has no media_id to work on, so nothing"
        " was sent.",
        hint="Use another source.",
        service=job.service,
    )


def _media_ids(job: Job) -> list[str]:
    return [item.media_id for item in job.media or () if item.media_id]
