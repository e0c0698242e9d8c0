"""The accounts at useapi.net: what works on the jobs of each, with its token and no other.

Most servers have one, that of USEAPI_TOKEN. A user's own token is another account, whose requests,
reads, prices, uploads and downloads are kept apart from all others: what is known of an id, a price
or a file by one token says nothing to who has another.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from mcp_server.clock import Clock
from mcp_server.errors import OwnTokenError
from mcp_server.jobs.access import StrangersPoller, UnjournaledPoller
from mcp_server.jobs.downloads import Downloads
from mcp_server.jobs.hooks import Hooks
from mcp_server.jobs.polling import Poller
from mcp_server.jobs.quotes import Quotes
from mcp_server.jobs.repository import JobRepository
from mcp_server.jobs.submission import Submitter
from mcp_server.jobs.uploads import Uploads
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import Submission
from mcp_server.media.fetch import Fetcher
from mcp_server.media.files import OutputFolder
from mcp_server.models import Job
from mcp_server.services.registry import service_named
from mcp_server.settings import Settings
from mcp_server.upstream.client import TokenOf, Upstream

if TYPE_CHECKING:
    from mcp_server.jobs.queue import Queue

_LONGEST_HOLD_S = 15.0  # the age by which any job is worth a read


class AccountJobs:
    """What submits, reads and saves the jobs of one account."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        upstream: Upstream,
        journal: Journal,
        repository: JobRepository,
        outputs: OutputFolder,
        fetcher: Fetcher,
        *,
        hooks: Hooks | None,
        queue: "Queue | None",
    ) -> None:
        hold_s = _LONGEST_HOLD_S
        if settings.sandbox:  # its jobs take as long as they are set to
            hold_s = min(settings.sandbox_job_seconds, hold_s)
        self.upstream = upstream
        self.submitter = Submitter(settings, clock, upstream, journal, repository, hooks, queue)
        parts = (clock, upstream, journal, repository, self._look, hold_s, hooks)
        self.poller = Poller(*parts)
        # Who may see all that the account holds is told of what nobody asked for here, too.
        sees_account = bool(upstream.account) or settings.sharing == "team"
        self.strangers: Poller = (UnjournaledPoller if sees_account else StrangersPoller)(*parts)
        self.uploads = Uploads(clock, upstream, journal, repository, outputs, fetcher)
        self.quotes = Quotes(clock, upstream, journal, repository)
        self.downloads = Downloads(clock, outputs, journal, fetcher, self._fresh_link)

    def answer_waiting(self) -> None:
        """Answer all who wait for a job or its files, and from now on all who would."""
        self.poller.answer_now()
        self.strangers.answer_now()
        self.downloads.answer_now()

    def answer_submitting(self) -> None:
        """Answer all who submit something, with how far it is."""
        self.submitter.answer_now()
        self.uploads.answer_now()

    async def close_files(self) -> None:
        """End what is on its way to a disk or from one."""
        await self.downloads.close()
        await self.uploads.close()

    async def close(self) -> None:
        """Stop all work on jobs."""
        await self.quotes.close()
        await self.submitter.close()
        await self.poller.close()
        await self.strangers.close()

    async def _look(self, row: Submission) -> Submission:
        """What became of a row that has come to no end."""
        if row.operation == "upload":
            return await self.uploads.look(row)
        return await self.submitter.look(row)

    async def _fresh_link(self, job: Job, position: int) -> str | None:
        """A link in place of one that expired: by the vendor's own way, else by the job."""
        item = (job.media or ())[position]
        url = await service_named(job.service).fresh_link(self.upstream, item)
        if url is None:
            again = (await self.poller.read(job.job_id, afresh=True)).media or ()
            url = again[position].url if position < len(again) else None
        return url


class Accounts:
    """The accounts whose jobs this server works on; one of a user's is added when it is needed."""

    def __init__(
        self,
        upstream: Upstream,
        make: Callable[[Upstream], AccountJobs],
        token_of: TokenOf | None,
    ) -> None:
        """Take the parts.

        Args:
            upstream: that of USEAPI_TOKEN.
            make: what works with an account's upstream.
            token_of: the token of a user's account; None: this server is not set to use any.
        """
        self._upstream = upstream
        self._make = make
        self._token_of = token_of or _not_used_here
        self._known: dict[str, AccountJobs] = {}
        self._answers_waiting = self._answers_submitting = False
        self.shared = self.of("")

    def __iter__(self) -> Iterator[AccountJobs]:
        return iter(list(self._known.values()))

    def of(self, account: str) -> AccountJobs:
        """What works on the jobs of an account, as rows of the journal name it."""
        if account not in self._known:
            upstream = self._upstream
            if account:
                upstream = upstream.with_token_of(account, self._token_of)
            jobs = self._make(upstream)
            if self._answers_waiting:
                jobs.answer_waiting()
            if self._answers_submitting:
                jobs.answer_submitting()
            self._known[account] = jobs
        return self._known[account]

    def answer_waiting(self) -> None:
        """Answer all who wait for a job or its files; nobody waits again."""
        self._answers_waiting = True
        for jobs in self:
            jobs.answer_waiting()

    def answer_submitting(self) -> None:
        """Answer all who submit something, with how far it is; the work itself goes on."""
        self._answers_submitting = True
        for jobs in self:
            jobs.answer_submitting()


async def _not_used_here(_: str) -> str:
    raise OwnTokenError(
        message="This belongs to a user's own useapi.net token, which this server is not set to"
        " use, so nothing was sent.",
        hint="The operator can set USEAPI_OWN_TOKENS, as it was when the job was made.",
    )
