"""What a paid call works on: an id that its service takes, or a file that must be uploaded first.

A source is whatever the user has: an id, a job, a path, a link. A link or path that a job of the
journal made is that job.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mcp_server.errors import (
    NotReadyError,
    RequestError,
    UnknownIdError,
    UnsupportedError,
    UnusableFileError,
)
from mcp_server.jobs.uploads import Patience
from mcp_server.media.links import FILES_PATH, FileLinks
from mcp_server.media.own_files import OwnFile, path_of, real_path
from mcp_server.models import OPERATIONS, OUR_ID_PREFIX, Job, Kind, Media, OperationName
from mcp_server.services.base import FileRule, Service
from mcp_server.services.ids import bare_link, is_path
from mcp_server.services.registry import (
    SERVICES,
    is_id,
    service_named,
    service_of,
    title_of,
    unknown_id,
)
from mcp_server.tools.context import (
    AppContext,
    Ctx,
    app_of,
    is_remote,
    read_in_time,
    remote_of,
)

_NO_FOLDERS = "Over HTTP this server reads no files of its own disk unless its operator allows it"


@dataclass(frozen=True)
class Source:
    """What a call works on.

    Args:
        id: to send; of a file what stands for it until it is uploaded.
        image_index: which of several images its service is to take; None: not said.
        file: the file that must be uploaded first.
    """

    service: Service
    id: str
    image_index: int | None = None
    file: OwnFile | None = None


async def find_source(
    ctx: Ctx, operation: OperationName, given: str, image_index: int | None, patience: Patience
) -> Source:
    """What is meant by a source. It may read a job, a file or a link, and changes nothing.

    Args:
        image_index: which of several images, as the caller said; None: not said.

    Raises:
        UnknownIdError: it is nothing of all that, or an id that we never gave.
        NotReadyError: the job has no result yet, or the file is still being read.
        UnsupportedError: the job has no result to work on, or several; or no service works on a
            file of the user's own in this way.
        UnusableFileError, DownloadError: the file or the link can't be used.
    """
    app = app_of(ctx)
    if is_id(given):
        await _require_known(app, given)
        return await _of_id(app, given, image_index)
    place = _place_of(app, given)
    if place is None:
        raise unknown_id(given, "source")
    made = await _made_here(app, place)
    if made is not None:
        job, position = made
        is_one_of_several = len(job.media or ()) > 1
        if is_one_of_several and image_index not in (None, position):
            raise RequestError(
                message=f"This source is image {position} of its job, and image_index is"
                f" {image_index}; nothing was sent.",
                hint="Leave image_index out, or give the id of the job.",
            )
        return await _of_id(app, job.job_id, position if is_one_of_several else image_index)
    service = _taker_of_files(operation)
    rule = service.file_rules[operation]
    file = await _own_file(ctx, place, OPERATIONS[operation].kind, rule, service, patience)
    return Source(service, file.placeholder, image_index, file)


async def find_image(
    ctx: Ctx, maker: Service, operation: OperationName, given: str, patience: Patience
) -> Source:
    """An image that a generation goes by: one that its service takes as it is, or else a file.

    Raises:
        UnknownIdError, NotReadyError, UnsupportedError, UnusableFileError, DownloadError: as of a
            source.
    """
    app = app_of(ctx)
    if is_id(given):
        await _require_known(app, given)
    if maker.takes_as_image(given):
        return Source(maker, given)
    rule = maker.file_rules[operation]
    medium: Media | None
    if is_id(given):
        place, medium = _Place(), await _image_of(ctx, given)
    else:
        named = _place_of(app, given)
        if named is None:
            raise unknown_id(given, "image")
        made = await _made_here(app, named)
        place, medium = named, (made[0].media or ())[made[1]] if made is not None else None
    if medium is not None:
        if medium.media_id and maker.takes_as_image(medium.media_id):
            return Source(maker, medium.media_id)
        place = _Place(url=None if medium.path else medium.url, saved=medium.path)
    file = await _own_file(ctx, place, "image", rule, maker, patience)
    return Source(maker, file.placeholder, file=file)


async def _require_known(app: AppContext, some_id: str) -> None:
    """Refuse an id of somebody else's job as one that nobody knows."""
    await read_in_time(app.jobs.require_known(some_id), f"The id {some_id}")


async def _of_id(app: AppContext, given: str, image_index: int | None) -> Source:
    """The id to send: of a job of ours the vendor's, of a job whose id is no source its medium's.

    It may read the job, which is free.
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
        if job.operation == "upload":
            raise UnsupportedError(
                message=f"This job is the upload of {job.source}, so nothing was sent.",
                hint="Make the call that began it once more: give the file itself as source.",
                service=job.service,
            )
        if job.job_id.startswith(OUR_ID_PREFIX):
            job = await _read(app, given)
            return Source(service_named(job.service), _medium_of(job, image_index))
        some_id = job.job_id
    service = service_of(some_id, "source")
    if service.takes_as_source(some_id):
        return Source(service, some_id, image_index)
    job = await app.jobs.known(some_id)
    if job is None or not job.ended or not _media_ids(job):
        job = await _read(app, some_id)
    return Source(service, _medium_of(job, image_index))


async def _read(app: AppContext, job_id: str) -> Job:
    return await read_in_time(app.jobs.get(job_id), f"The job {job_id}")


async def _image_of(ctx: Ctx, some_id: str) -> Media:
    """The one image that an id names, with a link to it or a path."""
    app = app_of(ctx)
    service = None if some_id.startswith(OUR_ID_PREFIX) else service_of(some_id, "image")
    if service is not None and not service.is_job(some_id):
        alone = Media(kind="image", media_id=some_id)
        url = await read_in_time(app.jobs.link_of(some_id), "The link to this id", service.name)
        if url is None:
            raise UnsupportedError(
                message=f"{service.vendor.title} gives no link to this id, so nothing was sent.",
                hint="Give the job that made it, a link, or a path.",
                service=service.name,
            )
        return alone.model_copy(update={"url": url})
    job = await app.jobs.known(some_id)
    if job is None or not job.ended or not any(item.path for item in job.media or ()):
        job = await _read(app, some_id)  # for a link that is still good
    media = job.media or ()
    if not job.ended:
        raise _not_ready(job, "image")
    if len(media) > 1:
        remote = remote_of(ctx)
        links = [remote.link_to(item.path) if remote and item.path else None for item in media]
        told = [link or item.path or item.url for item, link in zip(media, links, strict=True)]
        raise UnsupportedError(
            message=f"This job of {title_of(job.service)} made several images, so nothing was"
            " sent.",
            hint=f"Give the path or link of one of them: {' '.join(filter(None, told))}",
            service=job.service,
        )
    if job.status != "completed" or not media or media[0].kind != "image":
        raise UnsupportedError(
            message=f"This job of {title_of(job.service)} is {job.status} and has no image, so"
            " nothing was sent.",
            hint="Give an image: an id, a path or a link.",
            service=job.service,
        )
    return media[0]


@dataclass(frozen=True)
class _Place:
    """Where a file is, by one of three.

    Args:
        url: a link that leads out of this server.
        path: as a caller gave it.
        saved: the path of a file that this server itself has saved.
    """

    url: str | None = None
    path: str | None = None
    saved: str | None = None


def _place_of(app: AppContext, given: str) -> _Place | None:
    """Where the file is that a text names; None: it is neither a link nor a path.

    Raises:
        UnusableFileError: it is a link of ours that works no more.
    """
    if is_path(given):
        return _Place(path=given)
    url = bare_link(given)
    saved = app.links.path_of(url) if url is not None and app.links is not None else None
    if saved is not None:
        return _Place(saved=str(saved))
    return None if url is None else _Place(url=url)


async def _made_here(app: AppContext, place: _Place) -> tuple[Job, int] | None:
    """The job of the journal that a link or a path leads to, and the position of its medium."""
    if place.url is not None:
        return await app.jobs.made(url=place.url)
    path = place.saved or place.path or ""
    for each in dict.fromkeys((real_path(path), path_of(path))):
        made = await app.jobs.made(path=each) if each else None
        if made is not None:
            return made
    return None


async def _own_file(
    ctx: Ctx, place: _Place, kind: Kind, rule: FileRule, service: Service, patience: Patience
) -> OwnFile:
    app, check = app_of(ctx), _checker(rule, service)
    if place.url is not None:
        return await app.jobs.fetch_file(place.url, kind, check, patience)
    if place.saved is not None:
        return await app.jobs.open_saved(place.saved, check, patience)
    folders = app.settings.input_folders()
    if is_remote(ctx):
        folders = app.settings.input_dirs
        if not folders and app.links is not None:
            raise _send_it(app.links)
    return await app.jobs.open_file(
        place.path or "", folders, check, patience, why_none=_NO_FOLDERS if is_remote(ctx) else ""
    )


def _send_it(links: FileLinks) -> UnusableFileError:
    return UnusableFileError(
        message=f"{_NO_FOLDERS}, so nothing was sent.",
        hint="Send the file itself with the token that this call has, as the body of POST"
        f" {links.address}{FILES_PATH}?name=clip.mp4, and give the source that it answers; or give"
        " an https link to the file, or the id of what was made on useapi.net.",
    )


def _checker(rule: FileRule, service: Service) -> Callable[[OwnFile], None]:
    def check(file: OwnFile) -> None:
        rule.check(service.vendor.title, file.name, file.info, file.size_bytes)

    return check


def _taker_of_files(operation: OperationName) -> Service:
    """The service that does this with files of the user's own.

    Raises:
        UnsupportedError: none does.
    """
    for service in SERVICES:
        endpoint = service.endpoints.get(operation)
        if endpoint is not None and endpoint.file_field is not None:
            return service
    raise UnsupportedError(
        message="No service raises the frame rate of a file of the user's own, so nothing was"
        " sent.",
        hint="Dreamina does so with the videos it made: give such a job's id. An own file can be"
        " upscaled: upscale_video or upscale_image with its path.",
    )


def _medium_of(job: Job, image_index: int | None) -> str:
    ids = _media_ids(job)
    if job.status == "completed" and image_index is not None and len(ids) > 1:
        if image_index < len(ids):
            return ids[image_index]
        raise RequestError(
            message=f"This job made {len(ids)} images, and image_index is {image_index}; nothing"
            " was sent.",
            hint=f"Give image_index from 0 to {len(ids) - 1}.",
        )
    if len(ids) == 1 and job.status == "completed":
        return ids[0]
    if not job.ended:
        raise _not_ready(job, "source")
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


def _not_ready(job: Job, argument: str) -> NotReadyError:
    return NotReadyError(
        message=f"The {argument} is a job that is not finished yet, so nothing was sent.",
        hint=f"Wait for it with get_job(job_id={argument}, wait_seconds=50), then call again.",
        service=job.service,
        job_id=job.job_id,
    )


def _media_ids(job: Job) -> list[str]:
    return [item.media_id for item in job.media or () if item.media_id]
