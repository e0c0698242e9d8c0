"""What one caller may see of the journal, and how everything else is answered.

A user sees the jobs that he asked for. An id, a link or a path of somebody else's job is answered
as one that nobody knows: in the same words, and after the same read of the vendor, whose answer is
dropped. An id in no row is read as it is: whoever has it may use it.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Literal, Protocol

from mcp_server.errors import ExpiredError, NotFoundError
from mcp_server.jobs.polling import Poller, Report, no_submission
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import Submission
from mcp_server.media.names import MadeName
from mcp_server.models import OUR_ID_PREFIX, Job
from mcp_server.services.base import Service
from mcp_server.services.registry import service_of
from mcp_server.upstream.client import Upstream
from mcp_server.upstream.responses import Answer, ServiceInfo

Standing = Literal["own", "hidden", "nobodys"]


class VisibleRows:
    """The rows of the journal that a caller may see.

    Args:
        user: sees what he asked for; "" sees all.
        shared: he sees all that is of the server's own account, too.
    """

    def __init__(self, journal: Journal, user: str = "", *, shared: bool = False) -> None:
        self._journal = journal
        self._user = user
        self._shared = shared

    @property
    def are_all(self) -> bool:
        return not self._user

    @property
    def are_shared(self) -> bool:
        """Whether all rows of the server's own account are among them."""
        return self.are_all or self._shared

    async def get(self, any_id: str) -> Submission | None:
        """The row with this id of ours, or the newest one of this vendor's job."""
        return await self._journal.get(any_id, user=self._user, shared=self._shared)

    async def recent(
        self, limit: int, status: str | None = None, *, origin: str, refused: bool = True
    ) -> list[Submission]:
        """The newest rows first; see `Journal.recent`."""
        return await self._journal.recent(
            limit, status, origin=origin, refused=refused, user=self._user, shared=self._shared
        )

    async def find_made(self, *, url: str = "", path: str = "") -> list[Submission]:
        """The newest rows of jobs that this link or path may be a result of."""
        return await self._journal.find_made(
            url=url, path=path, user=self._user, shared=self._shared
        )

    async def standing(self, some_id: str) -> Standing:
        """Whose an id is: of a job, or of a medium of one.

        Raises:
            JournalError: nobody can tell.
        """
        if self.are_all:
            return "own"
        rows = await self._journal.rows_of(some_id)
        if not rows:
            return "nobodys"
        return "own" if await self._may_see(rows) else "hidden"

    async def account_of(self, some_id: str) -> str | None:
        """The account of a job, or of a medium of one; None: of none that this caller may see.

        Raises:
            JournalError: nobody can tell.
        """
        for row in await self._journal.rows_of(some_id):
            # The same medium may be of a job on another account, too, which is not for him.
            if await self._may_see([row]):
                return row.account
        return None

    async def may_end(self, job_id: str) -> bool:
        """Whether a job ends for all when this caller cancels it: he pays, or nobody else asked.

        A job in no row is as it is for reading: whoever has its id may end it.

        Raises:
            JournalError: nobody can tell.
        """
        if self.are_all:
            return True
        rows = await self._rows_of_job(job_id)
        if self._shared and any(not row.account for row in rows):
            return True
        payers = {row.payer for row in rows if row.evidence.get("charged") is not False}
        if payers:
            return self._user in payers
        # Of what the operator asks for, only the rows that he caused are known.
        operator = {row.payer for row in rows if not row.payer}
        return await self._journal.users_asking(rows) | operator <= {self._user}

    async def _may_see(self, rows: Sequence[Submission]) -> bool:
        """Whether any of these is the caller's to see."""
        if self.are_all or (self._shared and any(not row.account for row in rows)):
            return True
        return self._user in await self._journal.users_asking(rows)

    async def leave(self, job_id: str) -> None:
        """Have it written down that the user wants a job no more."""
        await self._journal.remove_asked(self._user, await self._rows_of_job(job_id))

    async def _rows_of_job(self, job_id: str) -> list[Submission]:
        """Every row of a job, those included that another request made of the same one."""
        rows = {row.id: row for row in await self._journal.rows_of(job_id)}
        for vendor_id in {row.job_id for row in rows.values()} - {None}:
            rows |= {row.id: row for row in await self._journal.rows_of(str(vendor_id))}
        return list(rows.values())


class Reader(Protocol):
    """What reads jobs: the Poller, or what one caller may have of it."""

    async def read(self, job_id: str, *, afresh: bool = False, held: bool = False) -> Job: ...
    async def wait(self, job_id: str, seconds: float, report: Report) -> Job: ...
    def poll_after_s(self, job: Job) -> int: ...


class DroppingUpstream(Upstream):
    """Makes the reads that an unknown id would cause, and finds nothing, whatever they bring.

    Where the vendor can't be read they fail as those of an unknown id do.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._reads = upstream

    async def get(
        self,
        vendor: ServiceInfo,
        path: str,
        *,
        name: MadeName | None = None,
        keep_if: Callable[[Any], bool] | None = None,
    ) -> Answer:
        with contextlib.suppress(NotFoundError, ExpiredError):
            await self._reads.get(vendor, path, name=name, keep_if=lambda _: False)
        raise NotFoundError(message=f"{vendor.title}: nothing was found.", hint="Check the id.")


class UnjournaledPoller(Poller):
    """Reads a job as if the journal knew nothing of it."""

    async def _read(self, job_id: str, apart_s: float) -> Job:
        if job_id.startswith(OUR_ID_PREFIX):
            raise no_submission()
        return await self._ask(service_of(job_id, "job_id"), job_id)

    async def _ask(self, service: Service, job_id: str) -> Job:
        return await service.read(self._upstream, job_id, age_s=None)

    async def _journaled(self, job_id: str) -> Job | None:
        return None


class StrangersPoller(UnjournaledPoller):
    """Reads a job as if the journal knew nothing of it, and answers that nobody knows it."""

    async def _ask(self, service: Service, job_id: str) -> Job:
        with contextlib.suppress(NotFoundError):
            await service.read(DroppingUpstream(self._upstream), job_id, age_s=None)
        raise not_known(service)


class Pollers(Protocol):
    """What reads the jobs of one account; `strangers` those that its caller may not see."""

    poller: Poller
    strangers: Poller


class PollersOf(Protocol):
    """What reads the jobs of each account."""

    def of(self, account: str) -> Pollers: ...


class CallersReader:
    """Reads the jobs that one caller may see, each with its account's token.

    All others are read as if nobody knew them.

    Args:
        own: reads what no row has.
        sees_account: all that his account holds is his to see, so its vendor says what is there.
    """

    def __init__(
        self, accounts: PollersOf, own: Pollers, rows: VisibleRows, *, sees_account: bool
    ) -> None:
        self._accounts = accounts
        self._own = own
        self._rows = rows
        self._sees_account = sees_account

    async def read(self, job_id: str, *, afresh: bool = False, held: bool = False) -> Job:
        """The job as it is now; see `Poller.read`."""
        async with self._poller_of(job_id) as poller:
            return await poller.read(job_id, afresh=afresh, held=held)

    async def wait(self, job_id: str, seconds: float, report: Report) -> Job:
        """The job when it ends, or as it is when the time is up; see `Poller.wait`."""
        async with self._poller_of(job_id) as poller:
            return await poller.wait(job_id, seconds, report)

    def poll_after_s(self, job: Job) -> int:
        """When a read of a running job is next worth while, in whole seconds."""
        return self._own.poller.poll_after_s(job)

    @contextlib.asynccontextmanager
    async def _poller_of(self, job_id: str) -> AsyncIterator[Poller]:
        """What reads this job; of one that is not the user's it is only said that nobody knows."""
        row = await self._rows.get(job_id)
        if row is not None or self._rows.are_all:
            yield (self._own if row is None else self._accounts.of(row.account)).poller
            return
        is_hidden = await self._rows.standing(job_id) == "hidden"
        try:
            yield self._own.strangers if is_hidden else self._own.poller
        except NotFoundError:
            if self._sees_account:  # the words are the vendor's, whosever job it is
                raise
            if job_id.startswith(OUR_ID_PREFIX):
                raise no_submission() from None
            raise not_known(service_of(job_id, "job_id")) from None


def not_known(service: Service) -> NotFoundError:
    """What is said of an id that nobody knows; the vendor's own words would tell it from others."""
    return NotFoundError(
        message=f"{service.vendor.title}: this id is not known.",
        hint="Check the id; a job or file that was deleted or has expired is gone.",
        service=service.name,
        http_status=404,
    )
