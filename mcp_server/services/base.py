"""Service: what every service can be asked, how it checks an order, and how it refuses."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from mcp_server.errors import RefusedError, RequestError, UnexpectedAnswerError, UnsupportedError
from mcp_server.models import Job, Media, PaidOperation
from mcp_server.services.accounts import Account
from mcp_server.upstream.client import Upstream
from mcp_server.upstream.responses import Answer, ServiceInfo, unexpected

LONGEST_ID = 512


@dataclass(frozen=True)
class Option:
    """An argument an operation takes.

    `field` is the vendor's name for it. `values` or `low`..`high` bound it. `default` is the
    documented default: never sent, but two calls that differ only by naming it are the same.
    `written` puts a value as the vendor wants it. `hashes_default`: the first version hashed it
    into the idempotency key even at its default, and jobs that it made must keep their key; an
    option that comes later is left out of the key at its default.
    """

    field: str
    values: tuple[str | int, ...] = ()
    low: float | None = None
    high: float | None = None
    default: str | float | None = None
    shapes_result: bool = False
    hashes_default: bool = False
    written: Callable[[Any], Any] = lambda value: value

    def fits(self, value: Any) -> bool:
        if self.values:
            return value in self.values
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    @property
    def range(self) -> str:
        if self.values:
            return " or ".join(map(str, self.values))
        return f"{self.low} to {self.high}"


@dataclass(frozen=True)
class Endpoint:
    """One paid operation of a service.

    Args:
        source: what its source ids look like, whole.
        source_is: the same in words, for a refusal.
        fixed: fields that are always sent.
        price: documented credits for the options that shape the result; None where not documented.
        repeats: what the vendor does with a request that it was sent before: it is `refused`;
            answered from a cache that a repeat may come too early for, so that only a free one is
            safe (`cached`); or made and charged again (`taken`).
        answers_when_done: the answer is the result, and no job of the vendor's exists.
    """

    path: str
    source_field: str
    source: re.Pattern[str]
    source_is: str
    options: Mapping[str, Option]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    price: Callable[[Mapping[str, Any]], float | None] = lambda result_arguments: None
    repeats: Literal["refused", "cached", "taken"] = "taken"
    answers_when_done: bool = False
    read_timeout_s: float = 150.0


@dataclass(frozen=True)
class Order:
    """A checked order, ready to be sent: nothing about it can be refused by us any more.

    `result_arguments` holds the arguments that change the result, documented defaults filled in.
    """

    service: str
    operation: PaidOperation
    source_id: str
    endpoint: Endpoint
    body: Mapping[str, Any]
    result_arguments: Mapping[str, Any]

    @property
    def price(self) -> float | None:
        """Credits as documented; None where they are not."""
        return self.endpoint.price(self.result_arguments)

    @property
    def refuses_repeats(self) -> bool:
        """Whether one more POST of it can't be charged again: refused, or cached and free."""
        repeats = self.endpoint.repeats
        return repeats == "refused" or (repeats == "cached" and self.price == 0)

    @property
    def key_arguments(self) -> dict[str, Any]:
        """The arguments that its idempotency key is made of, in a fixed order."""
        options = self.endpoint.options
        return {
            name: value
            for name, value in sorted(self.result_arguments.items())
            if options[name].hashes_default or value != _normal(options[name].default)
        }


@dataclass(frozen=True)
class Look:
    """What one look at the vendor showed for an order: every job that does what was ordered.

    `is_complete`: the lists were read and understood whole, so that what is not among `jobs` was
    not there. An id of an unknown form, a record without its request, a missing section, an
    argument that is not echoed or a candidate that can't be read make it incomplete.
    `horizon`: no job made before this time was listed; None: all were. `vendor_time`: what the
    vendor's clock said. Both are seconds since the epoch.
    """

    jobs: tuple[Job, ...]
    is_complete: bool
    horizon: float | None = None
    vendor_time: float | None = None


class Service(ABC):
    """The base of every service; one overrides what its vendor offers."""

    vendor: ClassVar[ServiceInfo]
    endpoints: ClassVar[Mapping[PaidOperation, Endpoint]] = {}
    id_forms: ClassVar[tuple[str, ...]]
    where_ids_are: ClassVar[str]
    abilities: ClassVar[str]
    media_hosts: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        return self.vendor.name

    @abstractmethod
    def owns(self, some_id: str) -> bool:
        """Whether an id is one of this service's, of whatever kind."""

    def order(
        self,
        operation: PaidOperation,
        source_id: str,
        given: Mapping[str, Any],
        defaults: Mapping[str, Any],
    ) -> Order:
        """Check what the caller gave and make an order of it; nothing is sent.

        Args:
            given: the arguments the caller gave, by tool argument name.
            defaults: settings for arguments not given; dropped where they don't fit.

        Raises:
            UnsupportedError: the service has no such operation, or takes no such argument or id.
            RequestError: an argument is out of range.
        """
        endpoint = self.endpoints.get(operation)
        if endpoint is None:
            raise UnsupportedError(
                f"{self.vendor.title} can't {operation.replace('_', ' ')}s.",
                f"It can: {', '.join(self.endpoints)}. {self.abilities}",
                service=self.name,
            )
        self.check_source(operation, endpoint, source_id)
        for name, value in given.items():
            self._check(operation, endpoint, name, value)
        arguments = {
            name: value
            for name, value in defaults.items()
            if (option := endpoint.options.get(name)) is not None
            and option.fits(value)
            and not (name.startswith("captcha_") and any(g.startswith("captcha_") for g in given))
        } | dict(given)
        body = {
            endpoint.source_field: source_id,
            **endpoint.fixed,
            **{
                (option := endpoint.options[name]).field: option.written(value)
                for name, value in arguments.items()
            },
        }
        result_arguments = {
            name: _normal(arguments.get(name, option.default))
            for name, option in endpoint.options.items()
            if option.shapes_result
        }
        return Order(self.name, operation, source_id, endpoint, body, result_arguments)

    def check_source(self, operation: PaidOperation, endpoint: Endpoint, source_id: str) -> None:
        """Refuse an id of ours that this operation can't take."""
        if not full_match(endpoint.source, source_id):
            raise UnsupportedError(
                f"{operation} on {self.vendor.title} takes {endpoint.source_is}; "
                "this id is another kind, so nothing was sent.",
                f"Give such an id. {self.where_ids_are}",
                service=self.name,
            )

    def _check(self, operation: str, endpoint: Endpoint, name: str, value: Any) -> None:
        option = endpoint.options.get(name)
        if option is None:
            raise UnsupportedError(
                f"{operation} on {self.vendor.title} takes no {name}, so nothing was sent.",
                f"It takes: {', '.join(('source_id', *endpoint.options))}. {self.abilities}",
                service=self.name,
            )
        if not option.fits(value):
            raise RequestError(
                f"{name} on {self.vendor.title} must be {option.range}, so nothing was sent.",
                "Call again with such a value.",
                service=self.name,
            )

    @abstractmethod
    def accepted(self, order: Order, answer: Answer, our_id: str) -> Job:
        """The job that a good answer to a paid POST stands for.

        Args:
            our_id: the job's id where the vendor gives it none.

        Raises:
            UnexpectedAnswerError: the answer holds no job.
        """

    @abstractmethod
    async def read(self, upstream: Upstream, job_id: str, *, age_s: float | None) -> Job:
        """The state of a job.

        Args:
            age_s: seconds since this server submitted it; None if it did not.

        Raises:
            UseapiError: it can't be read; that says nothing of the job itself.
        """

    @abstractmethod
    async def find(self, upstream: Upstream, order: Order, *, since: float | None) -> Look:
        """Every job that does what was ordered, as far as the vendor lists them.

        Args:
            since: jobs made before this time, on the vendor's clock, may be left out; None: only
                the newest are wanted.

        Raises:
            UseapiError: nothing of it could be read.
        """

    def names(self, order: Order, refusal: RefusedError) -> str | None:
        """The id of the job that did this before, where a refusal names one that may have."""
        return None

    async def named(self, upstream: Upstream, order: Order, job_id: str) -> Job:
        """The job that the vendor named, if it is what was ordered.

        Raises:
            RefusedError: it did something else with the same source, so this can't be done.
            UseapiError: the named job can't be read.
        """
        raise self.unexpected("job of its own in its refusal")

    def in_the_way(self, job_id: str, *, failed: bool) -> RefusedError:
        """The refusal of what the vendor says a job did before, though it has no result of it.

        Args:
            failed: that job failed; else the vendor keeps it no longer.
        """
        outcome = "failed" if failed else "is kept no longer"
        return RefusedError(
            f"{self.vendor.title} says that {job_id} did this before, and that job {outcome}.",
            "Use another source.",
            service=self.name,
            job_id=job_id,
        )

    async def cancel(self, upstream: Upstream, job_id: str) -> None:
        """Ask the vendor to cancel a job.

        Raises:
            UnsupportedError: the vendor documents no way to cancel.
        """
        raise UnsupportedError(
            f"{self.vendor.title} offers no way to cancel a job, so nothing was sent.",
            "Let it run, and read it with get_job.",
            service=self.name,
        )

    async def fresh_link(self, upstream: Upstream, media: Media) -> str | None:
        """A new link to a medium whose link has expired; None: the job read again has one."""
        return None

    @abstractmethod
    async def accounts(self, upstream: Upstream) -> tuple[Account, ...]:
        """The accounts linked to this service. Free, and it changes nothing.

        Raises:
            UseapiError: they can't be read.
        """

    def unexpected(self, missing: str) -> UnexpectedAnswerError:
        return unexpected(self.vendor, missing, "Call get_job or list_jobs in a minute.")


def full_match(pattern: re.Pattern[str], some_id: object) -> re.Match[str] | None:
    """Whether it is text of sane length and, from end to end, an id of this form."""
    fits = isinstance(some_id, str) and len(some_id) <= LONGEST_ID
    return pattern.fullmatch(str(some_id)) if fits else None


def _normal(value: Any) -> Any:
    """1 and 1.0 are the same wish."""
    return float(value) + 0.0 if isinstance(value, int | float) else value  # -0.0 is 0.0
