"""Journal rows as jobs, and what became of them written back.

What the vendor did is a fact even when the journal can't take it: then the caller is given it all
the same, and it is written when the journal works again.
"""

import contextlib
import hashlib
import json
import logging
from dataclasses import replace
from typing import Any, cast, get_args

from pydantic import ValidationError

from mcp_server.clock import iso
from mcp_server.errors import JournalError, UseapiError
from mcp_server.journal.journal import Journal
from mcp_server.journal.records import NewSubmission, Submission
from mcp_server.media.files import OutputFolder
from mcp_server.models import Failure, Job, ListedJob, OperationName, Status
from mcp_server.services.accounts import account_hash
from mcp_server.services.base import LONGEST_PROMPT, Order, is_file, shown_source
from mcp_server.services.registry import service_named

log = logging.getLogger(__name__)


class JobRepository:
    """Reads and writes the journal in terms of jobs."""

    def __init__(self, journal: Journal, outputs: OutputFolder) -> None:
        self._journal = journal
        self._outputs = outputs
        self._unwritten: dict[str, tuple[str | None, Job, bool, bool]] = {}

    def to_job(self, row: Submission) -> Job:
        """A submission as a job: what is known without asking the vendor; it never raises."""
        if row.id in self._unwritten:
            return self._unwritten[row.id][1]
        if row.job is not None:
            with contextlib.suppress(ValidationError):  # else a newer version's: by its columns
                job = Job.model_validate(row.job)
                return job.evolve(options=job.options or _options(row))
        says_why = row.state in ("failed", "cancelled", "unconfirmed")
        failure = Failure(code=row.state, message=row.note) if says_why and row.note else None
        return Job.model_construct(  # not validated: a newer version knows more services
            job_id=row.job_id or row.id,
            service=row.service,
            operation=row.operation,
            status=_status(row),
            source=_shown_source(row),
            options=_options(row),
            failure=failure,
            created_at=iso(row.created_at),
            updated_at=iso(row.updated_at),
        )

    def to_listed(self, row: Submission, job: Job) -> ListedJob:
        """A submission as a row of a list; `job` is the same one with the paths of its files."""
        return ListedJob.model_construct(  # not validated: a newer version knows more services
            job_id=job.job_id,
            service=job.service,
            operation=job.operation,
            status=job.status,
            source=shown_source(job.operation, job.source or "", LONGEST_PROMPT) or None,
            options=job.options,
            path=next((item.path for item in job.media or () if item.path), None),
            created_at=iso(row.created_at),
            job=job,
        )

    def has_a_file(self, job: Job) -> bool:
        """Whether a file of the job is on disk."""
        return any(item.path and self._outputs.find(item.path) for item in job.media or ())

    def is_of(self, row: Submission, origin: str) -> bool:
        """Whether a row was submitted to this address; one of the first version tells by key."""
        if row.origin:
            return row.origin == origin
        order = order_of(row)
        return order is not None and key_of(order, origin) == row.key

    async def record_accepted(
        self, row: Submission, job: Job, *, charged: bool = True, is_proven: bool = True
    ) -> Job:
        """Write down the job the vendor made of a submission, or had made before."""
        job = job.evolve(
            source=_shown_source(row),
            options=_options(row),
            created_at=job.created_at or iso(row.created_at),
        )
        vendor_id = None if job.job_id == row.id else job.job_id
        self._unwritten[row.id] = (vendor_id, job, charged, is_proven)
        await self.flush()
        return job

    async def flush(self) -> None:
        """Write the answers that the journal could not take when they came."""
        for row_id, (vendor_id, job, charged, is_proven) in list(self._unwritten.items()):
            try:
                await self._journal.accept(
                    row_id,
                    vendor_id,
                    plain(job),
                    charged=charged,
                    is_proven=is_proven,
                    runs_on=account_hash(service_named(job.service).owner_of(job.job_id)),
                )
            except JournalError as error:
                log.warning("%s was made but not written down: %s", row_id, error)
                return
            self._unwritten.pop(row_id, None)

    async def record_update(self, row: Submission, job: Job) -> Job:
        """Write down what the vendor now says, completed by what is known; an end stays an end."""
        row = await self._journal.latest(row)
        known = self.to_job(row)
        if known.ended and known.status != job.status:
            return known
        job = job.evolve(
            operation=row.operation,
            source=_shown_source(row),
            options=known.options,
            forecast_credits=known.forecast_credits
            if job.forecast_credits is None
            else job.forecast_credits,
            created_at=known.created_at,
            # A file that came with the first answer is not in the vendor's record of the job.
            media=job.media if _has_media(job) or not known.ended else known.media,
        )
        try:
            await self._journal.record(job.job_id, plain(job))
        except JournalError as error:
            log.warning("the news of %s was not written down: %s", row.id, error)
            return job
        row = await self._journal.latest(row)
        return self.to_job(row) if row.state == "unconfirmed" else job

    async def record_failure(self, row: Submission, code: str, message: str) -> Submission:
        """Write down that nothing was made of a submission: its key is free."""
        failure = Failure(code=code, message=message)
        job = plain(self.to_job(row).evolve(status="failed", failure=failure))
        try:
            return await self._journal.close_row(row, "failed", message, job)
        except JournalError as error:  # the row stays as it is, and is closed by the next call
            log.warning("%s failed, which was not written down: %s", row.id, error)
            return replace(row, job=job)

    async def back_in_queue(self, row: Submission, now: float) -> Submission:
        """A row that waits, in its place in the queue; failed, where it has waited too long."""
        if row.has_waited_enough(now):
            message = (
                f"No slot of its account became free within {row.waits_s:.0f} s, so it was not"
                " sent, and nothing was charged. The same call, made again, waits once more."
            )
            return await self.record_failure(row, "queue_timeout", message)
        return row if row.state == "queued" else await self._journal.put_back(row)

    async def close_abandoned(self, row: Submission) -> Submission | None:
        """Close the row of a dead process, unless there may be something to find of it."""
        if row.posts == 0:
            message = "The server stopped before it was sent."
            return await self.record_failure(row, "never_sent", message)
        if is_worked_on(row):
            message = "The server stopped before the result arrived."
            return await self.record_failure(row, "lost", message)
        return None

    async def mark_unconfirmed(self, row: Submission, note: str, **evidence: Any) -> Submission:
        """Write down that nobody knows what became of a submission."""
        try:
            return await self._journal.mark_unconfirmed(row.id, note, **evidence)
        except JournalError as error:  # the row stays as it is, and is looked for again
            log.warning("%s is unconfirmed, which was not written down: %s", row.id, error)
            return replace(row, state="unconfirmed", note=note)


def submission_of(
    order: Order, key: str, origin: str, payer: str, account: str = ""
) -> NewSubmission:
    """The row to write down before an order is sent, with the token of this account."""
    return NewSubmission(
        key=key,
        origin=origin,
        service=order.service,
        operation=order.operation,
        source=order.source,
        arguments=dict(order.result_arguments),
        price=order.price,
        evidence=_evidence(order),
        payer=payer,
        account=account,
        runs_on=service_named(order.service).runs_on(order),
    )


def _evidence(order: Order) -> dict[str, Any]:
    evidence: dict[str, Any] = {}
    if order.files:
        evidence |= {"files": dict(order.files), "refs": dict(order.refs)}
    if order.takes_our_reference:
        evidence["reference"] = "ours"
    return evidence


def has_our_reference(row: Submission) -> bool:
    """Whether our id is known to be the reference that a row's request was sent with."""
    return row.evidence.get("reference") == "ours"


def order_of(row: Submission) -> Order | None:
    """The order a row was made of, as far as it shapes the result; None if it is not understood."""
    given = {name: value for name, value in row.arguments.items() if value is not None}
    operation = cast("OperationName", row.operation)  # rows are only made of orders
    try:
        order = service_named(row.service).order(operation, row.source, given, {})
    except (UseapiError, TypeError):  # a newer version's
        return None
    return order.with_refs(row.evidence.get("refs", {}))


def order_to_send(row: Submission) -> Order | None:
    """The order of a row that waits, as it was to be sent; None if it is not understood."""
    order, body = order_of(row), row.evidence.get("body")
    return None if order is None or not body else replace(order, body=body)


def is_worked_on(row: Submission) -> bool:
    """Whether the vendor is at work though it has not answered: its answer will be the result."""
    if row.state != "submitting" or row.posts == 0:
        return False
    order = order_of(row)
    return order is not None and order.endpoint.answers_when_done


def _options(row: Submission) -> dict[str, Any] | None:
    """What shapes the result of a submission, as its caller named it."""
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else _shown(row, value)
        for name, value in row.arguments.items()
        if value is not None
    } or None


def _shown_source(row: Submission) -> str:
    """What a submission works on, as it is told."""
    named = row.evidence.get("files", {}).get(row.source)
    return str(named) if named else shown_source(row.operation, row.source)


def _shown(row: Submission, value: Any) -> Any:
    """A value for people: a file of the user's by its name."""
    return row.evidence.get("files", {}).get(value, value) if is_file(value) else value


def _status(row: Submission) -> Status:
    if row.state in ("accepted", "freed"):
        status = (row.job or {}).get("status")
        return cast("Status", status) if status in get_args(Status) else "running"
    return "running" if is_worked_on(row) else cast("Status", row.state)


def key_of(order: Order, origin: str, account: str = "") -> str:
    """What makes two orders the same; hashed, for ids hold the account's e-mail.

    A prompt with a line's end more is none that asks for another video. What goes to the account of
    a user's own token is none of another's.
    """
    wish: list[Any]
    wish = [origin, order.service, order.operation, order.source.strip(), order.key_arguments]
    wish += [account] if account else []
    return hashlib.sha256(json.dumps(wish).encode()).hexdigest()


def _has_media(job: Job) -> bool:
    return any(item.url or item.path for item in job.media or ())


def plain(job: Job) -> dict[str, Any]:
    """A job as the journal keeps it."""
    return job.model_dump(mode="json", exclude_none=True)
