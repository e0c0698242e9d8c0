"""Service, the base of the adapters: it checks an order against what the service takes."""

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from mcp_server.errors import (
    NotFoundError,
    RateLimitError,
    RefusedError,
    RequestError,
    UnexpectedAnswerError,
    UnsupportedError,
    UnusableFileError,
    UseapiError,
)
from mcp_server.media.probe import MediaInfo
from mcp_server.models import (
    FILE_PREFIX,
    OUR_ID_PREFIX,
    Failure,
    FoundMedia,
    Job,
    Kind,
    Media,
    OperationName,
    operation_named,
)
from mcp_server.redaction import is_unseen, one_line
from mcp_server.services.accounts import Account, Balance, account_hash
from mcp_server.upstream.client import Upstream
from mcp_server.upstream.responses import Answer, ServiceInfo, unexpected

LONGEST_ID = 512
_FILE = re.compile(rf"{FILE_PREFIX}[0-9a-f]{{64}}", re.ASCII)
LONGEST_PROMPT = 120  # of one that is shown in a list
_LARGEST = ("4K", "4k")
LONGEST_SOURCE = 300  # of a prompt that is shown as what a job was made of
FROM_PROMPT = re.compile(r"(?!)")
"""The pattern of the sources of what is made from a prompt: no id is one."""

Default = str | float | None


@dataclass(frozen=True)
class Option:
    """An argument an operation takes.

    `field` is the vendor's name for it. `values`, `low`..`high` or, of text, `longest` bound it.
    `default` is the documented default, or a function of the other arguments where it depends on
    them: two calls that differ only by naming it are the same. `written` puts a value as the vendor
    wants it. `hashes_default`: the first version hashed it into the idempotency key even at its
    default, and jobs that it made must keep their key; an option that comes later is left out of
    the key at its default. `group`: the vendor takes at most one option of a group in a request.
    `sent`: where it was `given`; `always`, at its default too; where it was `changed` from its
    default; or `never`, as it only tells one wish from another.
    """

    field: str
    values: tuple[str | int, ...] = ()
    low: float | None = None
    high: float | None = None
    longest: int | None = None
    default: Default | Callable[[Mapping[str, Any]], Default] = None
    shapes_result: bool = False
    hashes_default: bool = False
    written: Callable[[Any], Any] = lambda value: value
    group: str | None = None
    sent: Literal["given", "always", "changed", "never"] = "given"

    def fits(self, value: Any) -> bool:
        if self.values:
            return value in self.values
        if self.longest is not None:
            is_text = isinstance(value, str) and 0 < len(value) <= self.longest
            return is_text and not any(map(is_unseen, value.replace(" ", "")))
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def default_for(self, arguments: Mapping[str, Any]) -> Default:
        """Its default beside these arguments, of which those that are not given may be None."""
        return self.default(arguments) if callable(self.default) else self.default

    @property
    def range(self) -> str:
        if self.values:
            return " or ".join(map(str, self.values))
        if self.longest is not None:
            return f"text of 1 to {self.longest} characters without control characters"
        return f"{self.low} to {self.high}"


VARIATION = Option("", low=1, high=1000, default=1, shapes_result=True, sent="never")
"""Tells a wish for one more from the same wish again; it is no argument of any vendor's."""

OF_DRAFT = Option("", values=("draft",), shapes_result=True, sent="never")
"""Says that a source is a draft, so that finishing it is meant; no tool has such an argument."""


@dataclass(frozen=True)
class FileRule:
    """What a service takes of the user's own files for one operation; None: no limit is known.

    Args:
        types: mime types.
        under_px: what its longer side must stay under.
    """

    types: tuple[str, ...]
    most_bytes: int
    under_px: int | None = None
    longest_s: int | None = None

    def check(self, title: str, name: str, info: MediaInfo, size_bytes: int) -> None:
        """Refuse a file before it is sent; what its header does not say is for the vendor to judge.

        Args:
            title: of the service.
            name: of the file.

        Raises:
            UnusableFileError: it is of another type, too large or too long.
        """
        longer_px = max(info.width or 0, info.height or 0)
        if info.mime_type not in self.types:
            faults = f"is {_kind_named(info.mime_type)}"
            limit = f"takes {', '.join(map(_kind_named, self.types))} here"
        elif size_bytes > self.most_bytes:
            faults = f"has {size_bytes / (1 << 20):,.0f} MB"
            limit = f"takes up to {self.most_bytes >> 20:,} MB"
        elif self.under_px is not None and longer_px >= self.under_px:
            faults = f"is {info.width}x{info.height}"
            limit = (
                f"takes what is smaller than 4K, under {self.under_px} pixels on its longer side"
            )
        elif self.longest_s is not None and (info.duration_ms or 0) > self.longest_s * 1000:
            faults = f"lasts {(info.duration_ms or 0) / 1000:.0f} s"
            limit = f"takes up to {self.longest_s} s"
        else:
            return
        raise UnusableFileError(
            message=f"{name} {faults}, and {title} {limit}; nothing was sent.",
            hint="Give another file, or one that was converted, cut or made smaller.",
        )


@dataclass(frozen=True)
class Endpoint:
    """One paid operation of a service.

    Args:
        source_pattern: what its sources look like, whole.
        source_is: the same in words, for a refusal.
        fixed: fields that are always sent.
        price: documented credits for the options that shape the result; None where not documented.
        makes: what it makes, in words, where no option says it.
        always: by argument, the values that name what it does anyway: taken, and not sent.
        repeats: what the vendor does with a request that it was sent before: it is `refused`;
            answered from a cache that a repeat may come too early for, so that only a free one is
            safe (`cached`); or made and charged again (`taken`).
        answers_when_done: the answer is the result, and no job of the vendor's exists.
        file_field: what names an uploaded file in place of the source; None: it takes none.
        file_options: what it takes beside, where the source is an uploaded file.
        quotes: the field that asks for the price alone; None: the vendor tells none.
        longest_prompt: its source is a prompt of at most so many characters; None: it is an id.
    """

    path: str
    source_field: str
    source_pattern: re.Pattern[str]
    source_is: str
    options: Mapping[str, Option]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    price: Callable[[Mapping[str, Any]], float | None] = lambda result_arguments: None
    makes: str = ""
    always: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    repeats: Literal["refused", "cached", "taken"] = "taken"
    answers_when_done: bool = False
    file_field: str | None = None
    file_options: Mapping[str, Option] = field(default_factory=dict)
    quotes: str | None = None
    read_timeout_s: float = 150.0
    longest_prompt: int | None = None

    def takes_index(self, index: int) -> bool:
        """Whether it can work on this image of a source that has several."""
        option = self.options.get("image_index")
        return option is not None and option.fits(index)


@dataclass(frozen=True)
class Order:
    """A checked order, ready to be sent; submitting checks no argument any more.

    `result_arguments` holds the arguments that change the result, documented defaults filled in.
    `files` are the names of the files that placeholders stand for, `refs` what the vendor calls
    them once they are uploaded. `quoted` is the vendor's price.
    """

    service: str
    operation: OperationName
    source: str
    endpoint: Endpoint
    body: Mapping[str, Any]
    result_arguments: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)
    refs: Mapping[str, str] = field(default_factory=dict)
    quoted: float | None = None

    @property
    def price(self) -> float | None:
        """Credits as quoted or documented; None where they are not."""
        if self.quoted is not None:
            return self.quoted
        return self.endpoint.price(self.result_arguments)

    @property
    def missing(self) -> tuple[str, ...]:
        """The placeholders of files that must be uploaded before it can be sent."""
        return tuple(value for value in self.body.values() if is_file(value))

    def with_refs(self, refs: Mapping[str, str]) -> "Order":
        """The order with what the vendor calls each file, for its placeholder or its old name."""
        named = {ref: placeholder for placeholder, ref in self.refs.items()}
        body: dict[str, Any] = {}
        for name, value in self.body.items():
            placeholder = named.get(value, value) if isinstance(value, str) else value
            body[name] = refs.get(placeholder, value) if is_file(placeholder) else value
        return replace(self, body=body, refs={**self.refs, **refs})

    @property
    def result(self) -> str:
        """What it makes, in words: `resolution 4K`."""
        named = (
            f"{name} {_shown(value)}"
            for name, value in self.result_arguments.items()
            if value is not None
        )
        return self.endpoint.makes or ", ".join(named)

    @property
    def shown_source(self) -> str:
        """What it works on, as it is told: an id whole, a prompt as one line, a file's name."""
        return self.files.get(self.source) or shown_source(self.operation, self.source)

    @property
    def takes_our_reference(self) -> bool:
        """Whether its vendor keeps a reference, and neither caller nor operator gave one."""
        option = self.endpoint.options.get("reply_ref")
        return option is not None and option.field not in self.body

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
            if options[name].hashes_default
            or value != _normal(options[name].default_for(self.result_arguments))
        }


@dataclass(frozen=True)
class Look:
    """What one look at the vendor showed for an order: every job that does what was ordered.

    `is_complete`: the lists were read and understood whole, so that what is not among `jobs` was
    not there. An id of an unknown form, a record without its request, a missing section, an
    argument that is not echoed or a candidate that can't be read make it incomplete.
    `horizon`: no job made before this time was listed, in seconds since the epoch by the vendor's
    clock; None: all were. `clock_ahead_s`: how far that clock is ahead of ours; None: not known.
    `ours` is the job that the vendor lists under the reference that went out with the order, which
    proves it to be the order's, whatever else is listed. Where several of the vendor's jobs are one
    of ours, its `job_id` is that reference, and theirs are the `media_id` of its media. `others`
    are the ids of jobs that another submission's reference proves not to be the order's;
    `strangers` those with a reference of another form, which proves it if the order went out with
    one of ours. `unclear` are jobs whose records do not tell whether they do what was ordered.
    """

    jobs: tuple[Job, ...]
    is_complete: bool
    horizon: float | None = None
    clock_ahead_s: float | None = None
    ours: Job | None = None
    others: frozenset[str] = frozenset()
    strangers: frozenset[str] = frozenset()
    unclear: tuple[Job, ...] = ()


@dataclass(frozen=True)
class Listed:
    """A row of a service's list of media, in the vendor's order.

    `media` is None where there is nothing to show: it is not finished, or it failed. `ids` are all
    names that the vendor has for it, by which the journal may know it. `is_end`: it can be saved,
    and no paid operation takes it, as an upscale or an upload.
    """

    media: FoundMedia | None
    ids: tuple[str, ...] = ()
    is_end: bool = False


@dataclass(frozen=True)
class MediaPage:
    """A page of a service's list of media; `next` is where another begins, as the vendor says."""

    rows: tuple[Listed, ...]
    next: str | None = None


class Service(ABC):
    """The base of every service's adapter, which overrides what its vendor offers."""

    vendor: ClassVar[ServiceInfo]
    endpoints: ClassVar[Mapping[OperationName, Endpoint]] = {}
    id_forms: ClassVar[tuple[str, ...]]
    where_ids_are: ClassVar[str]
    abilities: ClassVar[str]
    media_hosts: ClassVar[tuple[str, ...]] = ()
    media_lists: ClassVar[tuple[frozenset[Kind], ...]] = (frozenset[Kind]({"video", "image"}),)
    """The vendor's lists of what an account made: what kinds each holds."""
    has_no_sources: ClassVar[str] = ""
    """Why rows of its lists have no source, in a sentence; "" where they have."""
    file_rules: ClassVar[Mapping[OperationName, FileRule]] = {}
    """What it takes of the user's own files, by the operation they are for."""
    forgets_files: ClassVar[tuple[str, ...]] = ()
    """What its refusals say of an upload that it no longer has, in lower case; *assumed* texts."""
    claims: ClassVar[str] = ""
    """What reading a balance changes at the vendor, in a sentence; "" where it changes nothing."""
    needs_account: ClassVar[bool] = False
    """Whether a request that takes an account must name it where several are linked."""

    @property
    def name(self) -> str:
        return self.vendor.name

    @abstractmethod
    def owns(self, some_id: str) -> bool:
        """Whether an id is one of this service's, of whatever kind."""

    def takes_as_source(self, some_id: str) -> bool:
        """Whether an id of this service can be a source itself; else it is that of a job alone."""
        return True

    def takes_as_image(self, some_id: str) -> bool:
        """Whether an id of this service goes as it is where a generation takes an image."""
        return False

    def is_job(self, some_id: str) -> bool:
        """Whether an id of this service can be read as a job."""
        return self.owns(some_id)

    def has_parts(self, job: Job) -> bool:
        """Whether a job under an id of ours is several of the vendor's, named in its media."""
        return False

    def takers(self, source: str, image_index: int | None = None) -> tuple[OperationName, ...]:
        """The paid operations that take a source, or one of the images it has."""
        return tuple(
            operation
            for operation, endpoint in self.endpoints.items()
            if full_match(endpoint.source_pattern, source)
            and (not image_index or endpoint.takes_index(image_index))
        )

    def further(self, job: Job) -> str | None:
        """The call that goes on with what a completed job made of a prompt, if there is one."""
        if (job.options or {}).get("resolution") in _LARGEST:
            return None
        tool: OperationName = "upscale_image" if job.kind == "image" else "upscale_video"
        names = (job.job_id, *(item.media_id for item in job.media or () if item.media_id))
        if not any(tool in self.takers(name) for name in names):
            return None
        which = ", image_index=0" if len(job.media or ()) > 1 else ""
        return f"{tool}(source=job_id{which}), which makes it larger"

    def what_it_is(self, some_id: str) -> str | None:
        """What an id names, as far as it tells: `this is an upscale`."""
        return None

    def instead(self, operation: OperationName, some_id: str) -> str | None:
        """What can be done with what an id names, where this operation can't take it."""
        return None

    def whole_form(self, part: str) -> str | None:
        """The form of the whole id, where people tend to copy just this part of it."""
        return None

    def endpoint_for(self, operation: OperationName, given: Mapping[str, Any]) -> Endpoint | None:
        """What an operation with these arguments is asked of; None: there is nothing."""
        return self.endpoints.get(operation)

    async def told_by_source(
        self,
        upstream: Upstream,
        operation: OperationName,
        source: str,
        given: Mapping[str, Any],
        known: Job | None,
    ) -> Mapping[str, Any]:
        """Arguments that follow from what the source is. It may be read, which is free.

        Args:
            known: the source as the journal knows it.

        Raises:
            UnsupportedError: it is something that this can't be done with.
            UseapiError: it can't be read.
        """
        return {}

    def account_in(self, order: Order) -> str | None:
        """The account that the ids in an order belong to, where it can be of no other."""
        return None

    def owner_of(self, some_id: object) -> str:
        """The account that an id of this service belongs to; "" where it does not tell."""
        return ""

    def runs_on(self, order: Order) -> str:
        """The account that an order runs on, by its hash; "" where its vendor chooses."""
        option = order.endpoint.options.get("account")
        named = "" if option is None else str(order.body.get(option.field) or "")
        prompt = None if order.endpoint.longest_prompt is None else order.endpoint.source_field
        ids = (value for field, value in order.body.items() if field != prompt)
        return account_hash(next(filter(None, (named, *map(self.owner_of, ids))), ""))

    async def slots(self, upstream: Upstream) -> Mapping[str, int]:
        """How many jobs each account may run at once, by its name. Free.

        It is empty where the vendor does not tell.

        Raises:
            UseapiError: it can't be read.
        """
        return {}

    def frees_slots(self, refusal: RateLimitError) -> bool:
        """Whether what was refused as too early is taken once the account has less to do."""
        return True

    def order(
        self,
        operation: OperationName,
        source: str,
        given: Mapping[str, Any],
        defaults: Mapping[str, Any],
        *,
        made_of: str | None = None,
    ) -> Order:
        """An order made of what the caller gave, checked; nothing is sent.

        Args:
            given: the arguments the caller gave, by tool argument name.
            defaults: settings for arguments not given; dropped where they don't fit.
            made_of: what the source was made of, for a refusal.

        Raises:
            UnsupportedError: the service has no such operation, or takes no such argument or id.
            RequestError: an argument is out of range.
        """
        endpoint = self.endpoint_for(operation, given)
        if endpoint is None:
            raise UnsupportedError(
                message=f"{self.vendor.title} can't {operation.replace('_', ' ')}s.",
                hint=f"It can: {', '.join(self.endpoints)}. {self.abilities}",
                service=self.name,
            )
        given = {n: value for n, value in given.items() if value not in endpoint.always.get(n, ())}
        if is_file(source) and endpoint.file_field is not None:
            endpoint = replace(
                endpoint,
                source_field=endpoint.file_field,
                source_pattern=_FILE,
                options={**endpoint.options, **endpoint.file_options},
            )
        self._check_groups(endpoint, given)
        if endpoint.longest_prompt is None:
            self._check_source(operation, endpoint, source, made_of)
        for name, value in given.items():
            self._check(operation, endpoint, name, value)
        endpoint, given = self.prepared(operation, endpoint, given)
        if endpoint.longest_prompt is not None:
            self._check_prompt(source, endpoint.longest_prompt)
        options = endpoint.options
        arguments = _fitting(endpoint, given, defaults) | dict(given)
        settled = dict(arguments)
        for name, option in options.items():
            settled.setdefault(name, option.default_for(settled))
        sent = {
            name: value
            for name, value in arguments.items()
            if options[name].sent != "never"
            and not (options[name].sent == "changed" and value == options[name].default)
        }
        sent |= {
            name: settled[name]
            for name, option in options.items()
            if option.sent == "always" and settled[name] is not None
        }
        body = {
            endpoint.source_field: source,
            **endpoint.fixed,
            **{options[name].field: options[name].written(value) for name, value in sent.items()},
        }
        result_arguments = {
            name: _normal(settled[name])
            for name, option in options.items()
            if option.shapes_result
            and not (option.sent == "never" and settled[name] == option.default_for(settled))
        }
        return Order(self.name, operation, source, endpoint, body, result_arguments)

    def prepared(
        self, operation: OperationName, endpoint: Endpoint, given: Mapping[str, Any]
    ) -> tuple[Endpoint, Mapping[str, Any]]:
        """The endpoint and the arguments of a call, by the rules that concern several arguments.

        It is given what fits each option alone, and may choose another endpoint, with options of
        the same names, or drop and add arguments. What it returns it takes as it is: an order is
        made anew of its own result arguments.

        Raises:
            RequestError, UnsupportedError: what was given does not go together.
        """
        return endpoint, given

    def _check_end_image(self, given: Mapping[str, Any], hint: str = "Give both.") -> None:
        """Refuse a last frame without a first one."""
        if "end_image" in given and "start_image" not in given:
            raise RequestError(
                message=f"end_image on {self.vendor.title} needs a start_image, so nothing was"
                " sent.",
                hint=hint,
                service=self.name,
            )

    def _check_ratio(self, given: Mapping[str, Any]) -> None:
        """Refuse an aspect ratio beside a first frame, where the frame decides it."""
        if "start_image" in given and "aspect_ratio" in given:
            raise RequestError(
                message=f"aspect_ratio can't go with start_image on {self.vendor.title}, which"
                " takes it from the image; nothing was sent.",
                hint="Leave aspect_ratio out.",
                service=self.name,
            )

    def warning(self, order: Order) -> str:
        """What can't be done with the result, in a sentence to say before it is paid for."""
        return ""

    def _check_prompt(self, prompt: str, longest: int) -> None:
        """Refuse a prompt that is none."""
        if not any(not is_unseen(character) for character in prompt.replace(" ", "")):
            raise RequestError(
                message="The prompt is empty, so nothing was sent.",
                hint="Say in prompt what to make.",
                service=self.name,
            )
        if len(prompt) > longest:
            raise RequestError(
                message=f"The prompt has {len(prompt)} characters and {self.vendor.title} takes"
                f" {longest} here, so nothing was sent.",
                hint="Shorten it.",
                service=self.name,
            )
        if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n\r" for c in prompt):
            raise RequestError(
                message="The prompt holds characters that are no text, so nothing was sent.",
                hint="Write it as plain text.",
                service=self.name,
            )

    def _check_source(
        self, operation: OperationName, endpoint: Endpoint, source: str, made_of: str | None
    ) -> None:
        """Refuse an id of this service that this operation can't take."""
        if not full_match(endpoint.source_pattern, source):
            hint = self.instead(operation, source) or f"Give such an id. {self.where_ids_are}"
            raise UnsupportedError(
                message=f"{operation} on {self.vendor.title} takes {endpoint.source_is}; "
                f"{self.what_it_is(source) or 'this id is another kind'}, so nothing was sent.",
                hint=f"{hint} It was made of {made_of}." if made_of else hint,
                service=self.name,
            )

    def _check_groups(self, endpoint: Endpoint, given: Mapping[str, Any]) -> None:
        """Refuse two options of one group."""
        for names in _grouped(endpoint, given).values():
            if len(names) > 1:
                raise RequestError(
                    message=f"{' and '.join(names)} can't go together, so nothing was sent.",
                    hint="Give at most one of them.",
                    service=self.name,
                )

    def _check(self, operation: str, endpoint: Endpoint, name: str, value: Any) -> None:
        option = endpoint.options.get(name)
        if option is None:
            raise UnsupportedError(
                message=f"{operation} on {self.vendor.title} takes no {name}, so nothing was sent.",
                hint=f"It takes: {', '.join((_called(endpoint), *endpoint.options))}. "
                f"{self.abilities}",
                service=self.name,
            )
        if not option.fits(value):
            raise RequestError(
                message=f"{name} on {self.vendor.title} must be {option.range}, "
                "so nothing was sent.",
                hint="Call again with such a value.",
                service=self.name,
            )

    @abstractmethod
    def accepted(self, order: Order, answer: Answer, our_id: str) -> Job:
        """The job in a good answer to a paid POST.

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
            UseapiError: it can't be read; the job itself may be in any state.
        """

    async def look_up(self, upstream: Upstream, some_id: str) -> None:
        """Read what an id names, to see whether there is such a thing; some can't be read so.

        Raises:
            NotFoundError: there is none.
            UseapiError: it can't be read.
        """
        if self.is_job(some_id):
            await self.read(upstream, some_id, age_s=None)

    async def read_parts(self, upstream: Upstream, job: Job, *, age_s: float | None) -> Job:
        """The state of a job that `has_parts`, read part by part.

        Args:
            job: as last known.
            age_s: seconds since this server submitted it; None if it did not.

        Raises:
            UseapiError: it can't be read; the job itself may be in any state.
        """
        raise self.unexpected("job of several parts")

    @abstractmethod
    async def find(
        self, upstream: Upstream, order: Order, *, since: float | None, our_id: str | None = None
    ) -> Look:
        """Every job that does what was ordered, as far as the vendor lists them.

        Args:
            since: jobs made before this time, on the vendor's clock, may be left out; None: only
                the newest are wanted.
            our_id: the reference that the order was sent with, unless its caller gave another one;
                None: it was not sent yet.

        Raises:
            UseapiError: nothing of it could be read.
        """

    def together(self, order: Order, jobs: Sequence[Job], our_id: str) -> Job:
        """Of jobs that each may be an order's: the one that is, or what several of them are.

        Args:
            our_id: the id of a job that is several of the vendor's.
        """
        return min(jobs, key=lambda job: job.created_at or "")  # a later one is somebody else's

    def jobs_of(self, order: Order) -> int:
        """How many jobs of the vendor's own one request of this order makes."""
        return 1

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
            message=f"{self.vendor.title} says that {job_id} did this before, and that job"
            f" {outcome}.",
            hint="Use another source.",
            service=self.name,
            job_id=job_id,
        )

    async def cancel(self, upstream: Upstream, job_id: str) -> None:
        """Ask the vendor to cancel a job.

        Raises:
            UnsupportedError: the vendor documents no way to cancel.
        """
        raise UnsupportedError(
            message=f"{self.vendor.title} offers no way to cancel a job, so nothing was sent.",
            hint="Let it run, and read it with get_job.",
            service=self.name,
        )

    async def fresh_link(self, upstream: Upstream, media: Media) -> str | None:
        """A new link to a medium whose link has expired; None: the job read again has one."""
        return None

    def upload_path(self, account: str) -> str:
        """Where the user's own files are sent to, by POST and as they are.

        Args:
            account: as the vendor calls it.

        Raises:
            UnsupportedError: it takes none.
        """
        raise UnsupportedError(
            message=f"{self.vendor.title} takes no files of the user's own, so nothing was sent.",
            hint=self.abilities,
            service=self.name,
        )

    def ref_of(self, answer: Answer) -> str:
        """What the vendor calls a file that was uploaded.

        Raises:
            RefusedError: it was not taken.
            UnexpectedAnswerError: the answer does not say.
        """
        raise self.unexpected("name of the file")

    def has_forgotten_a_file(self, error: UseapiError) -> bool:
        """Whether an order was refused because the vendor no longer has an upload."""
        if not isinstance(error, RefusedError | NotFoundError):
            return False
        return any(said in error.vendor_text.lower() for said in self.forgets_files)

    def price_in(self, answer: Answer) -> float | None:
        """The price in an answer to an order with `quotes`; None: it holds none."""
        return None

    @abstractmethod
    async def accounts(self, upstream: Upstream) -> tuple[Account, ...]:
        """The accounts linked to this service. Free, and it changes nothing.

        Raises:
            UseapiError: they can't be read.
        """

    @abstractmethod
    async def media(
        self, upstream: Upstream, account: Account, kinds: frozenset[Kind], offset: str
    ) -> MediaPage:
        """A page of what was made on an account, here or elsewhere. Free.

        Args:
            kinds: which of `media_lists`.
            offset: where the page begins, as an earlier one said; "" is the begin of the list.

        Raises:
            UseapiError: it can't be read.
        """

    @abstractmethod
    async def balance(self, upstream: Upstream, account: Account) -> Balance:
        """What an account has, read live. Free; `claims` says what it changes.

        Raises:
            UseapiError: it can't be read.
        """

    def unexpected(self, missing: str) -> UnexpectedAnswerError:
        return unexpected(
            self.vendor, missing, "Call again in a minute; list_jobs shows what was submitted."
        )


FINISH_DRAFT = "upscale_video(source=job_id, resolution=1080p), which finishes the draft"


def shown_source(operation: str, source: str, longest: int = LONGEST_SOURCE) -> str:
    """What an operation works on, as it is told: an id whole, a prompt as one line."""
    return one_line(source, longest) if operation_named(operation).from_prompt else source


def is_anothers(reference: object, our_id: str | None) -> bool:
    """Whether a reference that a vendor's record echoes is that of another submission.

    One of another form may be the caller's own, which went out in place of ours.
    """
    is_one = isinstance(reference, str) and reference.startswith(OUR_ID_PREFIX)
    return is_one and reference != our_id


def moderated(title: str, reason: str = "") -> Failure:
    """Why a job failed whose content a moderation refused, told alike for all services."""
    because = f": {reason}" if reason else "."
    return Failure(code="moderated", message=f"{title}'s moderation refused it{because}")


def is_file(text: object) -> bool:
    """Whether this stands for a file that is not uploaded yet."""
    return isinstance(text, str) and text.startswith(FILE_PREFIX)


def _kind_named(mime_type: str) -> str:
    """`JPEG` of `image/jpeg`."""
    names = {"video/quicktime": "MOV", "image/webp": "WebP"}
    return names.get(mime_type, mime_type.partition("/")[2].upper())


def full_match(pattern: re.Pattern[str], some_id: object) -> re.Match[str] | None:
    """Whether it is text of sane length and, from end to end, an id of this form."""
    fits = isinstance(some_id, str) and len(some_id) <= LONGEST_ID
    return pattern.fullmatch(str(some_id)) if fits else None


def _called(endpoint: Endpoint) -> str:
    """The argument that names what it works on."""
    return "source" if endpoint.longest_prompt is None else "prompt"


def _grouped(endpoint: Endpoint, given: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names of what was given, by the group of options they are in."""
    groups: dict[str, list[str]] = {}
    for name in given:
        option = endpoint.options.get(name)
        if option is not None and option.group is not None:
            groups.setdefault(option.group, []).append(name)
    return groups


def _fitting(
    endpoint: Endpoint, given: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """The defaults that this operation takes, unless an option of their group was given."""
    groups = _grouped(endpoint, given)
    fitting = {}
    for name, value in defaults.items():
        option = endpoint.options.get(name)
        if option is not None and option.fits(value) and option.group not in groups:
            fitting[name] = value
    return fitting


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _normal(value: Any) -> Any:
    """The value as it counts in the key: 1 and 1.0 are the same, and -0.0 is 0.0."""
    return float(value) + 0.0 if isinstance(value, int | float) else value
