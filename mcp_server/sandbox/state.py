"""What the sandbox's vendors share: the clock, new ids, the list of paid work, the sources."""

import math
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from starlette.routing import Route

from mcp_server.sandbox import responses

# The linked account, as in the vendor's own examples; the second one only some users have.
USER = "12345"
EMAIL, SECOND_EMAIL = "user@example.com", "second@example.com"

LOSING_WORDS = frozenset({"lost-answer"})  # of a prompt or an upload, see `Word`
_WORD = re.compile(r"sandbox:([a-z0-9-]+)", re.ASCII)


@dataclass(frozen=True)
class Source:
    """A video or image that exists in the sandbox from the start.

    `use` says in a line what it is for. `good` marks the one to show first, one a kind a service.
    """

    id: str
    service: str
    use: str
    good: bool = False
    kind: str = "video"


@dataclass(frozen=True)
class Word:
    """A word that shows something when a prompt holds it, written `sandbox:<word>`.

    What is generated has no source that could stand for an error, so its prompt does, and so do
    the first bytes of an upload (a comment in a picture, say) where a word is about refusals.
    """

    word: str
    service: str
    use: str


def word_in(prompt: object) -> str:
    """The word in this prompt, without `sandbox:`; "" for none."""
    found = _WORD.search(str(prompt))
    return found[1] if found else ""


@dataclass(frozen=True)
class Accepted:
    """One paid POST that made a job, or did paid work and answered at once (`job_id` is None)."""

    service: str
    path: str
    source_id: str
    job_id: str | None
    body: Mapping[str, object]
    at: float


async def _at_once() -> None:
    """A paid request whose job is there as soon as its source was looked up."""


def _quoted(credits_: int) -> Mapping[str, object]:
    return {"cost_credits": credits_}


@dataclass(frozen=True)
class Conditions:
    """What a test decides about the vendor; as it is here, nothing beyond the documents happens.

    Args:
        sources: further finished videos and images that exist from the start, by their ids, also
            of other accounts.
        work: what a paid request waits for after its source was looked up and before there is a
            job of it, as a real one waits for a captcha: what came meanwhile is not seen.
        fails: whether the job made now fails in the end.
        first_serial: the number of the first job; two sandboxes that differ in it give no id twice.
        on_accepted: given each paid POST, at the moment that there is a job of it.
        takes_s: how long the job made now takes; None: as long as all.
        slots: how many jobs an account runs at once, unless a request names another number; None:
            as many as the documents say. Those of Google Flow say none: *assumed*, any number.
        quote: the body in which PixVerse tells a price in credits when asked for it. That it does
            is documented (10 October 2026), the body is not: *assumed*, the field of an order.
    """

    sources: tuple[str, ...] = ()
    work: Callable[[], Awaitable[None]] = _at_once
    fails: Callable[[], bool] = lambda: False
    first_serial: int = 0
    on_accepted: Callable[[Accepted], None] = lambda _: None
    takes_s: Callable[[], float] | None = None
    slots: int | None = None
    quote: Callable[[int], Mapping[str, object]] = _quoted


@dataclass(frozen=True)
class Refusal:
    """What a source that exists to show an error answers instead of taking the job.

    Args:
        use: what that shows, in a line.
        status: the HTTP status.
        body: the JSON body as documented.
        retry_after: seconds until another try, or how to know them from the time (epoch seconds);
            sent as the `Retry-After` header, and with `iso` also as the body's `retryAfter`.
        times: how often it refuses before it takes the job; None = always.
        kind: what the source is.
    """

    use: str
    status: int
    body: Mapping[str, object]
    retry_after: int | Callable[[float], int] = 0
    iso: bool = False
    times: int | None = None
    kind: str = "video"

    def source(self, source_id: str, service: str) -> Source:
        return Source(source_id, service, self.use, kind=self.kind)

    def word(self, word: str, service: str) -> Word:
        return Word(word, service, self.use)


class SandboxState:
    """The state every vendor of one sandbox works on."""

    def __init__(
        self,
        *,
        job_seconds: float,
        now: Callable[[], float],
        conditions: Conditions = Conditions(),
    ) -> None:
        self._job_seconds = job_seconds
        self.conditions = conditions
        self.now = now
        self.accepted: list[Accepted] = []
        self._serial = conditions.first_serial
        self._refused: Counter[str] = Counter()
        self._lost: set[str] = set()

    @property
    def job_seconds(self) -> float:
        """How long the job made now takes."""
        takes_s = self.conditions.takes_s
        return self._job_seconds if takes_s is None else takes_s()

    def serial(self) -> int:
        """A number that was not given before."""
        self._serial += 1
        return self._serial

    def digits(self) -> str:
        """The 19 digits of a new job id: month to millisecond, then a serial number.

        Source: the look of the ids in the vendor's examples; their meaning is *assumed*.
        """
        made = moment(self.now())
        return f"{made:%m%d%H%M%S}{made.microsecond // 1000:03}{self.serial():06}"

    def accept(
        self, service: str, path: str, source_id: str, job_id: str | None, body: responses.Json
    ) -> None:
        work = Accepted(service, path, source_id, job_id, dict(body), self.now())
        self.accepted.append(work)
        self.conditions.on_accepted(work)

    def refuse(self, name: str, refusals: Mapping[str, Refusal], *, asked: str = "") -> None:
        """Show the error this source or word is there for, if it is one of those and still refuses.

        Args:
            asked: what `times` counts for, where that is not the name: the whole prompt.

        Raises:
            RefusedError: it does; this is the answer.
        """
        refusal, asked = refusals.get(name), asked or name
        if refusal is None or self._refused[asked] == refusal.times:
            return
        self._refused[asked] += 1
        body: responses.Json = dict(refusal.body)
        headers = {}
        if refusal.retry_after:
            wait = refusal.retry_after
            wait_s = wait if isinstance(wait, int) else wait(self.now())
            headers["Retry-After"] = str(wait_s)
            if refusal.iso:
                body["retryAfter"] = iso(self.now() + wait_s)
        raise responses.RefusedError(responses.answer(body, status=refusal.status, headers=headers))

    def loses_the_answer(self, name: str, losing: frozenset[str], *, asked: str = "") -> bool:
        """Whether the job was taken but its answer gets lost: once for each name in `losing`.

        Args:
            asked: what "once" counts for, where that is not the name: the whole prompt.
        """
        asked = asked or name
        if name not in losing or asked in self._lost:
            return False
        self._lost.add(asked)
        return True


class Vendor(ABC):
    """One service: what it is called, what it starts with, what it answers."""

    prefix: ClassVar[str]
    sources: ClassVar[tuple[Source, ...]]
    words: ClassVar[tuple[Word, ...]] = ()

    def __init__(self, state: SandboxState) -> None:
        self.state = state

    @abstractmethod
    def routes(self) -> list[Route]: ...


def moment(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)


def iso(epoch_s: float) -> str:
    """ISO 8601 in UTC with milliseconds, as all three services write it."""
    return moment(epoch_s).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def minutes_and_seconds(seconds: float) -> str:
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"


def until_midnight_utc(epoch_s: float) -> int:
    now = moment(epoch_s)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return math.ceil((midnight - now).total_seconds())
