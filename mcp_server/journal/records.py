"""A submission as the journal keeps it, and the states it can take."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from mcp_server.models import Status

State = Literal["queued", "submitting", "unconfirmed", "accepted", "failed", "cancelled", "freed"]
LIVE: tuple[State, ...] = ("queued", "submitting", "unconfirmed", "accepted")
OPEN: tuple[Status, ...] = ("queued", "submitting", "running", "unconfirmed")  # has not ended


@dataclass(frozen=True)
class NewSubmission:
    """A paid request about to be made: `arguments` as JSON, `price` in the service's credits.

    `key` is the idempotency key: equal keys are the same wish. `origin` is the vendor's address.
    A `price` of None is one that nobody documents. `payer` is the user who agreed to the price; ""
    is the operator. `account` is the useapi.net account that it goes to; "" is that of the server.
    `runs_on` and `queued_until` are as of a Submission.
    """

    key: str
    origin: str
    service: str
    operation: str
    source: str
    arguments: dict[str, Any]
    price: float | None
    evidence: dict[str, Any] = field(default_factory=dict)
    payer: str = ""
    account: str = ""
    runs_on: str = ""
    queued_until: float | None = None


@dataclass(frozen=True)
class User:
    """Someone who was given a token: `id` is what the journal knows the user by.

    `has_own_token` is known of those of a list: whether a useapi.net token of his own is kept.
    """

    id: str
    name: str
    may_submit: bool
    created_at: float
    has_own_token: bool = False


@dataclass(frozen=True)
class Quote:
    """A price that was asked of the vendor: `told_at` is None where no answer is known.

    `price` is None where the answer told none. Times are seconds since the epoch.
    """

    asked_at: float
    told_at: float | None
    price: float | None


@dataclass(frozen=True)
class Figures:
    """How the journal stands, for who operates a server.

    `open_jobs` counts the submissions that have not ended, by their Job's status;
    `oldest_submitting_s` is how long the oldest one waits for its answer, 0 without one;
    `oldest_queued_s` how long the oldest one waits to be sent;
    `credits_today` is what was or may have been charged since midnight UTC, by service.
    """

    open_jobs: dict[str, int]
    oldest_submitting_s: float
    oldest_queued_s: float
    credits_today: dict[str, float]


@dataclass(frozen=True)
class Submission:
    """One submission as last committed; times are seconds since the epoch.

    `id` is ours, `job_id` the vendor's. `posts` counts the POSTs whose bytes may have left,
    `sent_at` is when the last of them did. `job` is the last known Job as JSON, `note` says why
    the row is unconfirmed or ended. `origin` is empty in rows of the first version.

    `evidence` is what helps to tell its job from others: `before`, the ids that existed before the
    first POST; `clock_s`, how far the vendor's clock was ahead of ours; `named`, the job that the
    vendor itself named; `charged`, false where the job had been made before; `unproven`, that the
    job was found by what it does, and may be somebody else's; `files` and `refs`, the names of the
    user's own files and what the vendor calls them, by their placeholders; `ref`, the same of the
    one that this row uploaded; `reference`, that the request was sent with our id as its reference;
    `hook`, that it was sent with an address of ours to call; `hooked`, that the vendor has called;
    `body`, what is to be sent of a row that may have to wait for that; `most`, how many jobs its
    account may run at most for this one to be taken, where its caller said so; `refused`, of
    the first POST that was refused for want of a slot: `sent_at`, and what was noted as above.

    `payer` is the user who caused the request; "" is the operator. `account` is the useapi.net
    account that it went to, of a user's own token; "" is that of the server's. `runs_on` is the
    hash of the vendor's account that it runs on there, "" as long as that is not known.
    `queued_until` is when it is given up if it could not be sent by then; None: it never waits.
    """

    id: str
    key: str
    state: State
    origin: str
    service: str
    operation: str
    source: str
    arguments: dict[str, Any]
    price: float
    posts: int
    sent_at: float | None
    first_sent_at: float | None
    job_id: str | None
    job: dict[str, Any] | None
    note: str | None
    evidence: dict[str, Any]
    created_at: float
    updated_at: float
    payer: str
    account: str
    runs_on: str
    queued_until: float | None

    @property
    def began_at(self) -> float:
        """From when on its job may have been at its vendor, where it did not wait for a slot."""
        return self.created_at if self.first_sent_at is None else self.first_sent_at

    @property
    def waits(self) -> bool:
        """Whether it is to be sent later: it is in the queue, or whoever took it out is gone."""
        is_unsent = self.state in ("queued", "submitting") and self.posts == 0
        return is_unsent and self.queued_until is not None

    @property
    def waits_s(self) -> float:
        """For how long it waits at most, from its call on; 0 where it never does."""
        return 0.0 if self.queued_until is None else self.queued_until - self.created_at

    def has_waited_enough(self, now: float) -> bool:
        """Whether it is given up if it has not been sent by now."""
        return self.queued_until is not None and now >= self.queued_until

    def as_refused(self) -> "Submission":
        """As it was when the request left that was refused, and may have been taken all the same.

        Raises:
            KeyError: none was refused.
        """
        noted = dict(self.evidence["refused"])
        return replace(self, first_sent_at=noted.pop("sent_at"), evidence=self.evidence | noted)


@dataclass(frozen=True)
class Waiting:
    """A submission in the queue; `most` is the limit that its own caller set (see Submission)."""

    id: str
    payer: str
    runs_on: str
    queued_until: float
    most: int | None = None


@dataclass(frozen=True)
class Running:
    """A submission that takes a slot at its vendor, as far as the journal knows."""

    id: str
    job_id: str | None
    payer: str
    runs_on: str


@dataclass(frozen=True)
class Refused:
    """When an account last refused a job for it had no slot free, and what follows.

    `most` jobs ran there besides. Nothing is sent before `not_before`, which is `pause_s` later or
    what the vendor asked for.
    """

    most: int
    at: float
    not_before: float
    pause_s: float


@dataclass(frozen=True)
class Traffic:
    """What waits, oldest first, and runs at one service; `refused` is by account."""

    waiting: tuple[Waiting, ...]
    running: tuple[Running, ...]
    refused: Mapping[str, Refused]
