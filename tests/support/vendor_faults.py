"""A vendor that works as real ones do, and everything that goes wrong on the way to it.

It looks a source up when a paid request arrives, works, and has a job at the end; others use the
same account. Requests meet faults: paid ones in turn, reads by their path.
"""

import asyncio
import json
import re
import zlib
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import httpx
from starlette.types import Message, Receive, Scope, Send

from mcp_server.sandbox.app import Accepted, Conditions, Sandbox
from tests.support.harness import TOKEN, Fault, Network
from tests.support.processes import Life
from tests.support.wishes import FILE_FIELDS, Wish

JOB_S = 90.0
# The contract counts on a vendor that refuses repeats to have a job within 60 s of a request; of
# Google Flow, whose captcha takes several tries, it counts on nothing.
_LONGEST_WORK_S = {"google-flow": 300.0}
_LONGEST_WORK_ELSEWHERE_S = 55.0


# Answers


def own(status: int, **headers: str) -> httpx.Response:
    """An error in the vendor's own envelope."""
    return httpx.Response(status, json={"error": "No"}, headers=headers)


def page(status: int) -> httpx.Response:
    """A gateway's page."""
    return httpx.Response(status, html="<html>A gateway's page</html>")


def is_own(answer: httpx.Response) -> bool:
    """Whether the vendor itself says that it refuses, as its documents have it."""
    try:
        said = json.loads(answer.content)
    except ValueError:
        return False
    return isinstance(said, dict) and isinstance(said.get("error"), str | dict)


GATEWAY_JSON = (
    httpx.Response(
        502,
        json={"title": "Error 502: Bad gateway", "status": 502, "cloudflare_error": True},
        headers={"Retry-After": "60"},
    ),
    httpx.Response(500, json={"title": "Error 500", "status": 500, "cloudflare_error": True}),
    httpx.Response(504, json={"message": "Endpoint request timed out"}),  # AWS API Gateway
    httpx.Response(500, json={"message": "An unexpected error occurred"}),  # Kong
    httpx.Response(503, json={"type": "about:blank", "title": "Unavailable", "status": 503}),
)
GATEWAY_REFUSALS = (
    page(403),
    page(404),
    httpx.Response(404, json={"message": "no Route matched with those values"}),
    httpx.Response(403, json={"message": "Forbidden"}),
    httpx.Response(413, json={"type": "about:blank", "title": "Too large", "status": 413}),
)
NOTHING_SAID = (
    httpx.Response(202, json={"status": "queued"}),
    httpx.Response(200, json={"success": True}),
    httpx.Response(200, json={"error": "Temporarily unavailable"}),
    httpx.Response(200, json=[]),
    httpx.Response(204),
    httpx.Response(302, headers={"Location": "https://api.useapi.net/"}),
)

_IDS = ("jobid", "jobId", "video_id", "image_id", "success_ids")


def unknown_id(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
    """The answer with a job id of a form that nobody has seen."""
    return _edited(answer, lambda data: _with_ids(data, lambda i: f"job_{zlib.crc32(i.encode())}"))


def wrong_id(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
    """The answer with the source's own id as the job's."""
    sent = json.loads(request.content)
    source_id = next(str(sent[name]) for name in SOURCE_FIELDS if name in sent)
    return _edited(answer, lambda data: _with_ids(data, lambda _: source_id))


def without_id(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
    """The answer without the job's id."""
    return _edited(answer, lambda data: {n: v for n, v in data.items() if n not in _IDS})


def result_without_id(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
    """An answer that is the result itself and names no job."""
    media = [{"videoUrl": "https://flow-content.google/result.mp4"}]
    return httpx.Response(200, json={"media": media}) if answer.is_success else answer


def without_request(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
    """A record that is not filled in yet."""
    return _edited(answer, lambda data: {n: v for n, v in data.items() if n != "request"})


def without_sections(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
    """A list without the sections that were asked for."""
    gone = ("executing", "history", "data")

    def edit(data: dict[str, Any]) -> dict[str, Any]:
        return {
            name: edit(value) if isinstance(value, dict) else value
            for name, value in data.items()
            if name not in gone
        }

    return _edited(answer, edit)


def every_other(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
    """A list that lacks every other entry and does not say so."""
    return _edited(answer, lambda data: _thinned(data, 1), (dict, list))


def stale(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
    """A list that lacks its newest entry, as one from a cache does."""
    return _edited(answer, lambda data: _thinned(data, 0), (dict, list))


def strange_entry(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
    """A list with an entry that nobody understands."""

    def edit(data: Any) -> Any:
        if isinstance(data, list):
            return [{"id": 7}, *data]
        for name in ("executing", "history", "data"):
            if isinstance(data.get(name), list):
                return {**data, name: [{"id": 7}, *data[name]]}
            if isinstance(data.get(name), dict):
                strange: Any = {} if "videos" in data else [{"id": 7}]
                return {**data, name: {"j_new_form": strange, **data[name]}}
        return {n: edit(v) if isinstance(v, dict) else v for n, v in data.items()}

    return _edited(answer, edit, (dict, list))


def _edited(
    answer: httpx.Response,
    edit: Callable[[Any], Any],
    kinds: tuple[type, ...] = (dict,),
) -> httpx.Response:
    """The answer with its JSON edited, if it is of these kinds; an error stays as it is."""
    try:
        data = json.loads(answer.content)
    except ValueError:
        return answer
    if not answer.is_success or not isinstance(data, kinds):
        return answer
    headers = {n: v for n, v in answer.headers.items() if n != "content-length"}
    return httpx.Response(answer.status_code, json=edit(data), headers=headers)


def _with_ids(data: dict[str, Any], changed: Callable[[str], str]) -> dict[str, Any]:
    def change(value: Any) -> Any:
        return [change(each) for each in value] if isinstance(value, list) else changed(str(value))

    return {n: change(v) if n in _IDS else v for n, v in data.items()}


def _thinned(data: Any, first: int) -> Any:
    """Lists and maps of jobs without some: from `first` on every other, or for 0 the newest."""

    def thin(found: Any) -> Any:
        if isinstance(found, list):
            return found[1:] if first == 0 else found[::2]
        names = list(found)
        kept = names[:-1] if first == 0 else names[::2]
        return {name: found[name] for name in kept}

    if isinstance(data, list):  # PixVerse's scheduler
        return thin(data)
    if not isinstance(data, dict):
        return data
    edited = {}
    for name, value in data.items():
        is_section = name in ("executing", "history", "data") and isinstance(value, dict | list)
        if isinstance(value, dict) and all(isinstance(jobs, list) for jobs in value.values()):
            edited[name] = {account: thin(jobs) for account, jobs in value.items()}  # Dreamina's
        else:
            edited[name] = thin(value) if is_section else _thinned(value, first)
    return edited


# Which requests are which

SOURCE_FIELDS = ("mediaGenerationId", "jobid", "video_id", *FILE_FIELDS, "prompt")
_LISTS = re.compile(r"/scheduler$|/v2/pixverse/(videos|images)$|/jobs$")
_UPLOADS = re.compile(r"/v2/pixverse/files/?$|/assets/[^/]+$")


def is_list(path: str) -> bool:
    return _LISTS.search(path) is not None


@dataclass(frozen=True)
class ReadFault:
    """A fault of the reads of some paths.

    `what`: `all`, `lists`, `records`, or `some` (the records of about half of the jobs, always the
    same half).
    """

    what: str
    fault: Fault

    def concerns(self, path: str) -> bool:
        if self.what == "some":
            return not is_list(path) and zlib.crc32(path.encode()) % 2 == 0
        return self.what == "all" or (self.what == "lists") == is_list(path)


@dataclass
class PostFault(Fault):
    """What goes wrong with one paid request, and how the vendor works on it.

    Args:
        work_s: how long the vendor works between its look at the source and the job.
        fails: the job fails in the end.
        kills: the process dies when it has counted the request and before a byte of it left.
    """

    work_s: float = 0.0
    fails: bool = False
    kills: bool = False


@dataclass(eq=False)
class Post:
    """A paid request, ours or somebody else's, and what truly came of it; times are true.

    `answer` is what we got of it; None: nothing. `accepted` is the vendor's job.
    """

    origin: str
    path: str
    body: Mapping[str, Any]
    fault: PostFault
    left_at: float
    wish: Wish | None = None
    life: Life | None = None
    row_id: str | None = None
    accepted: Accepted | None = None
    accepted_at: float = 0.0
    answer: httpx.Response | None = None

    @property
    def is_ours(self) -> bool:
        return self.life is not None

    @property
    def job_id(self) -> str | None:
        return self.accepted.job_id if self.accepted is not None else None

    @property
    def is_denied(self) -> bool:
        """Whether the vendor's own word is that it refused, whatever it did."""
        answer = self.answer
        return answer is not None and 400 <= answer.status_code < 500 and is_own(answer)

    @property
    def was_too_early(self) -> bool:
        """A 429: refused before any work, so it may go out again."""
        return self.answer is not None and self.answer.status_code == 429


@dataclass(eq=False)
class Free:
    """A request of ours that costs nothing: an upload, or a question for a price.

    `about` is what is uploaded to where, or the order whose price is asked for. `told_at` is when
    a good answer was there, `is_over` whether it has ended in any way.
    """

    about: tuple[object, ...]
    is_upload: bool
    life: Life
    left_at: float
    told_at: float | None = None
    is_over: bool = False


_NOBODY = Post("", "", {}, PostFault(), 0.0)
_AT_WORK: ContextVar[Post] = ContextVar("_AT_WORK", default=_NOBODY)


class Vendors:
    """The same API at several addresses, each with jobs of its own.

    Args:
        now: the true time.
        drift_s: how far their clocks are ahead of it.
        slots: how many jobs an account runs at once; None: as the documents say.
    """

    def __init__(
        self,
        hosts: tuple[str, ...],
        *,
        now: Callable[[], float],
        sources: tuple[str, ...],
        drift_s: float = 0.0,
        slots: int | None = None,
    ) -> None:
        self.now = now
        self.posts: list[Post] = []
        self.cancelled_at: dict[str, float] = {}
        self._drift_s = drift_s
        conditions = Conditions(
            sources=sources,
            work=self._work,
            fails=lambda: _AT_WORK.get().fault.fails,
            on_accepted=self._accepted,
            slots=slots,
        )
        self._sandboxes = {
            host: Sandbox(
                job_seconds=JOB_S,
                now=self.clock,
                conditions=replace(conditions, first_serial=10_000 * number),
            )
            for number, host in enumerate(hosts)
        }

    def clock(self) -> float:
        """What the vendors take for the time."""
        return self.now() + self._drift_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = next(value for name, value in scope["headers"] if name == b"host").decode()

        async def seen(message: Message) -> None:
            if scope["method"] == "DELETE" and message.get("status") == 200:
                self.cancelled_at[scope["path"].rpartition("/")[2]] = self.now()
            await send(message)

        await self._sandboxes[host](scope, receive, seen)

    async def stranger(self, post: Post) -> None:
        """Somebody else's paid request, made on the vendor's site or by another machine."""
        self.posts.append(post)
        _AT_WORK.set(post)
        transport = httpx.ASGITransport(app=self)
        async with httpx.AsyncClient(transport=transport, base_url=post.origin) as client:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            await client.post(post.path, json=dict(post.body), headers=headers)

    async def _work(self) -> None:
        post = _AT_WORK.get()
        service = post.path.split("/")[2]
        longest_s = _LONGEST_WORK_S.get(service, _LONGEST_WORK_ELSEWHERE_S)
        await asyncio.sleep(min(post.fault.work_s, longest_s))

    def _accepted(self, work: Accepted) -> None:
        post = _AT_WORK.get()
        post.accepted, post.accepted_at = work, self.now()


class VendorNetwork(Network):
    """The way to the vendors. Faults of POSTs are used up in turn, of reads by path.

    Uploads and questions for a price have faults of their own, `free_faults`.

    Args:
        assign: told of each paid request that leaves; says what it is for (`wish`, `row_id`).
    """

    def __init__(self, vendors: Vendors, assign: Callable[[Post], None]) -> None:
        super().__init__(vendors)
        self.post_faults: list[PostFault] = []
        self.free_faults: list[PostFault] = []
        self.free: list[Free] = []
        self.read_faults: list[ReadFault] = []
        self.disowned_at: dict[str, float] = {}
        """When the vendor said in its own words that it has no such job, by the job's id."""
        self._vendors = vendors
        self._assign = assign

    def heal(self) -> None:
        """From now on nothing goes wrong."""
        self.post_faults.clear()
        self.free_faults.clear()
        self.read_faults.clear()

    def fault_of(self, request: httpx.Request) -> Fault:
        if request.method == "POST":
            faults = self.free_faults if _is_free(request) else self.post_faults
            return faults.pop(0) if faults else PostFault()
        path = request.url.path
        if path.startswith("/media/"):
            return Fault()
        for number, found in enumerate(self.read_faults):
            if found.concerns(path):
                del self.read_faults[number]
                return found.fault
        return Fault()

    async def left(self, request: httpx.Request, fault: Fault) -> None:
        if request.method != "POST":
            return
        assert isinstance(fault, PostFault)
        life: Life = request.extensions["life"]
        origin = str(request.url.copy_with(raw_path=b"/")).rstrip("/")
        path, now = request.url.path, self._vendors.now()
        if _is_free(request):
            is_upload = _UPLOADS.search(path) is not None
            content = request.headers["content-length"] if is_upload else request.content
            free = Free((origin, path, request.url.query, content), is_upload, life, now)
            request.extensions["free"] = free
            self.free.append(free)
        else:
            post = Post(origin, path, json.loads(request.content), fault, now, life=life)
            self._assign(post)
            request.extensions["post"] = post
            self._vendors.posts.append(post)
        if fault.kills:
            life.end()
            await asyncio.Event().wait()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            answer = await super().handle_async_request(request)
        finally:
            if "free" in request.extensions:
                request.extensions["free"].is_over = True
        content = b"".join([part async for part in answer.stream])  # type: ignore[union-attr]  # an async one
        answer = httpx.Response(answer.status_code, headers=answer.headers, content=content)
        if "post" in request.extensions:
            request.extensions["post"].answer = answer
        if "free" in request.extensions and _is_told(answer):
            request.extensions["free"].told_at = self._vendors.now()
        if request.method == "GET" and answer.status_code in (404, 410) and is_own(answer):
            self.disowned_at[request.url.path.rpartition("/")[2]] = self._vendors.now()
        return httpx.Response(
            answer.status_code, headers=answer.headers, stream=httpx.ByteStream(content)
        )

    async def _carry(self, request: httpx.Request, fault: Fault) -> httpx.Response | None:
        if "post" in request.extensions:
            _AT_WORK.set(request.extensions["post"])
        return await super()._carry(request, fault)


def _is_free(request: httpx.Request) -> bool:
    if _UPLOADS.search(request.url.path):
        return True
    return json.loads(request.content).get("quote") is True


def _is_told(answer: httpx.Response) -> bool:
    """Whether it names the price that was asked for, or the upload."""
    try:
        said = json.loads(answer.content)
    except ValueError:
        return False
    names = ("cost_credits", "path", "result", "assetRef", "mediaGenerationId")
    return answer.is_success and isinstance(said, dict) and any(name in said for name in names)
