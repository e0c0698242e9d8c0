"""The tool that finds what was made before, here or elsewhere, on the linked accounts."""

from typing import Annotated

from mcp.types import CallToolResult

from mcp_server.models import MediaList
from mcp_server.services.listing import Query, find_media
from mcp_server.tools.context import Ctx, app_of
from mcp_server.tools.parameters import (
    AccountName,
    KindFilter,
    PageCursor,
    PageLimit,
    ServiceFilter,
)
from mcp_server.tools.results import fits_a_page, media_answer


async def list_media(
    ctx: Ctx,
    service: ServiceFilter = None,
    kind: KindFilter = None,
    limit: PageLimit = 20,
    cursor: PageCursor = None,
    account: AccountName = None,
) -> Annotated[CallToolResult, MediaList]:
    """Finished videos and images on the linked accounts, newest first, with a source for the tools.

    Those of the services' own sites, too. `can` names the tools that take a row's source. Free; up
    to 20 s.
    """
    app = app_of(ctx)
    jobs = app.jobs
    query = Query(
        service,
        kind,
        limit,
        cursor,
        account,
        app.default_accounts,
        only_made_here=not jobs.share_account,
    )
    found = await find_media(app.upstream, query, await jobs.made_here(), fits_a_page)
    return media_answer(found, sandbox=app.settings.sandbox)
