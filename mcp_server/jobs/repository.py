"""Journal rows as jobs, and what became of them written back.

What the vendor did is a fact even when the journal can't take it: then it is told all the same,
and the row, left as it was, is looked into by the next call.
"""

import contextlib
import hashlib
import json
import logging
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from mcp_server.clock import iso
from mcp_server.errors import JournalError
from mcp_server.journal.records import Submission
from mcp_server.journal.sqlite import Journal
from mcp_server.models import Failure, Job, OperationName
from mcp_server.services.base import Order
from mcp_server.services.registry import service_named

log = logging.getLogger(__name__)


class JobRepository:
    """Reads and writes the journal for those who think in jobs."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def to_job(self, row: Submission) -> Job:
        """A submission as a job: what is known without asking the vendor."""
        if row.job is not None:
            with contextlib.suppress(ValidationError):  # else a newer version's: its row is told
                return Job.model_validate(row.job)
        says_why = row.state in ("failed", "cancelled", "unconfirmed")
        return Job.model_validate(
            {
                "job_id": row.id,
                "service": row.service,
                "operation": row.operation,
                "status": "running" if is_worked_on(row) else row.state,
                "source": row.source_id,
                "failure": {"code": row.state, "message": row.note}
                if says_why and row.note
                else None,
                "created_at": iso(row.created_at),
                "updated_at": iso(row.updated_at),
            }
        )

    def record_accepted(self, row: Submission, job: Job) -> Job:
        """Write down the job the vendor made of a submission, or had made before."""
        job = job.evolve(
            source=job.source or row.source_id,
            created_at=job.created_at or iso(row.created_at),
        )
        vendor_id = None if job.job_id == row.id else job.job_id
        try:
            self._journal.accept(row.id, vendor_id, _plain(job))
        except JournalError as error:
            log.warning("%s was made but not written down: %s", row.id, error)
        return job

    def record_update(self, row: Submission, job: Job) -> Job:
        """Write down what the vendor now says, completed by what is known; an end stays an end."""
        row = self._journal.get(row.id) or row
        known = self.to_job(row)
        if known.ended and known.status != job.status:
            return known
        job = job.evolve(
            operation=row.operation,
            source=job.source or row.source_id,
            forecast_credits=known.forecast_credits
            if job.forecast_credits is None
            else job.forecast_credits,
            created_at=job.created_at or known.created_at,
            # A file that came with the first answer is not in the vendor's record of the job.
            media=job.media if _has_media(job) or not known.ended else known.media,
        )
        try:
            self._journal.record(job.job_id, _plain(job))
        except JournalError as error:
            log.warning("the news of %s was not written down: %s", row.id, error)
        return job

    def record_failure(self, row: Submission, code: str, message: str) -> None:
        """Write down that nothing was made of a submission: its key is free."""
        failure = Failure(code=code, message=message)
        job = self.to_job(row).evolve(status="failed", failure=failure)
        try:
            self._journal.end(row.id, "failed", message, _plain(job))
        except JournalError as error:
            log.warning("%s failed, which was not written down: %s", row.id, error)

    def close_abandoned(self, row: Submission) -> bool:
        """Close the row of a dead process that can't have left anything to find; else False."""
        if row.posts == 0:
            self.record_failure(row, "never_sent", "The server stopped before it was sent.")
        elif is_worked_on(row):
            self.record_failure(row, "lost", "The server stopped before the result arrived.")
        else:
            return False
        return True

    def mark_unconfirmed(self, row: Submission, note: str) -> Job:
        """Write down that nobody knows what became of a submission."""
        return self.to_job(self._journal.unconfirmed(row.id, note))


def order_of(row: Submission) -> Order:
    """The order a row was made of, as far as it shapes the result."""
    given = {name: value for name, value in row.arguments.items() if value is not None}
    operation = cast("OperationName", row.operation)  # rows are only made of orders
    return service_named(row.service).order(operation, row.source_id, given, {})


def is_worked_on(row: Submission) -> bool:
    """Whether the vendor is at work though it has not answered: its answer will be the result."""
    sent = row.state == "submitting" and row.posts > 0
    return sent and order_of(row).endpoint.answers_when_done


def key_of(order: Order, origin: str) -> str:
    """What makes two orders the same; hashed, for ids hold the account's e-mail."""
    result_arguments = dict(sorted(order.result_arguments.items()))
    wish = [origin, order.service, order.operation, order.source, result_arguments]
    return hashlib.sha256(json.dumps(wish).encode()).hexdigest()


def has_a_file(job: Job) -> bool:
    """Whether a file of the job is on disk."""
    return any(item.path and Path(item.path).is_file() for item in job.media or ())


def _has_media(job: Job) -> bool:
    return any(item.url or item.path for item in job.media or ())


def _plain(job: Job) -> dict[str, Any]:
    return job.model_dump(mode="json", exclude_none=True)
