"""Which media in the vendors' lists came of jobs that this server submitted."""

from collections.abc import Mapping

from mcp_server.jobs.access import VisibleRows
from mcp_server.jobs.repository import JobRepository
from mcp_server.services.listing import MadeHere

_NEWEST = 500  # rows of the journal that are looked at


async def made_here(
    rows: VisibleRows, repository: JobRepository, origin: str
) -> Mapping[str, MadeHere]:
    """The newest jobs submitted here, by every id that a list may have for what they made."""
    made: dict[str, MadeHere] = {}
    for row in await rows.recent(_NEWEST, origin=origin, refused=False):
        job = repository.to_job(row)
        media = job.media or ()
        made.setdefault(job.job_id, MadeHere(job.job_id))
        for position, item in enumerate(media):
            known = MadeHere(job.job_id, position if len(media) > 1 else None)
            for name in (item.media_id, *(item.listed_as or ())):
                if name:
                    made.setdefault(name, known)
    return made
