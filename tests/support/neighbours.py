"""The sandbox with other jobs in its lists: somebody else's, a second account's, unreadable ones.

They are only seen, in the lists and by their ids; the sandbox behind them neither counts nor
refuses anything for them.
"""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_server.clock import iso
from mcp_server.services.base import Order

_EMAIL, _SECOND_EMAIL = "user@example.com", "second@example.com"
_LISTS = ("/scheduler", "/jobs", "/videos", "/images")
_FIELDS = {"upscaleResolution": "resolution"}  # sent under one name, echoed under another
_LETTERS = {
    "upscale_video": "V",
    "interpolate_video": "F",
    "upscale_image": "I",
    "generate_video": "v",
    "generate_image": "i",
}
_TYPES = {
    "generate_video": "video",
    "generate_image": "image",
    "upscale_video": "video-upscale",
    "interpolate_video": "video-interpolate",
    "upscale_image": "upscale",
}


# What a record of what was made from a prompt holds beside it, where nothing else was asked for.
_ECHOES: dict[tuple[str, str], dict[str, Any]] = {
    ("dreamina", "generate_video"): {
        "model": "seedance-2.0",
        "ratio": "16:9",
        "duration": 5,
        "inputMode": "prompt",
    },
    ("dreamina", "generate_image"): {
        "model": "seedream-4.6",
        "ratio": "auto",
        "resolution": "2k",
        "inputMode": "generate",
    },
    ("google-flow", "generate_video"): {"aspectRatio": "landscape", "count": 1, "async": True},
    ("pixverse", "generate_video"): {
        "model": "v6",
        "quality": "720p",
        "aspect_ratio": "16:9",
        "duration": 5,
    },
    ("pixverse", "generate_image"): {
        "model": "qwen-image",
        "quality": "720p",
        "aspect_ratio": "16:9",
    },
}


@dataclass(frozen=True)
class Neighbour:
    """A job that is listed. `unreadable` is the status that reading it by its id has, if any."""

    job_id: str
    made_at: float
    record: dict[str, Any]
    unreadable: int | None = None

    @property
    def has_failed(self) -> bool:
        return self.record.get("status") == "failed" or self.record.get("video_status") == 8


class Makers:
    """Makes the neighbours of one order.

    Args:
        now: the vendor's time.
    """

    def __init__(self, order: Order, now: Callable[[], float]) -> None:
        self._order = order
        self._now = now
        self._numbers = itertools.count(1)
        self._make = {
            "dreamina": self._dreamina,
            "google-flow": self._google_flow,
            "pixverse": self._pixverse,
        }[order.service]

    def strangers(self, age_s: float, unreadable: int | None = None) -> Neighbour:
        """A job of the same kind, of another source or prompt."""
        return self._make(self._other_source(_EMAIL), _EMAIL, age_s, unreadable=unreadable)

    def second_accounts(self, age_s: float) -> Neighbour:
        """The same of a second account that is linked."""
        return self._make(self._other_source(_SECOND_EMAIL), _SECOND_EMAIL, age_s)

    def twin(self, age_s: float, *, failed: bool = False) -> Neighbour:
        """A job that does exactly what is ordered, made before."""
        return self._make(self._order.source, _EMAIL, age_s, failed=failed)

    def _other_source(self, email: str) -> str:
        number = f"{next(self._numbers):04d}"
        if self._echo is not None:
            return f"Another prompt, no. {number}"
        match self._order.service:
            case "google-flow":
                return f"user:12345-email:{email.encode().hex()}-video:neighbour{number}"
            case "pixverse":
                kind = "image" if self._order.operation == "upscale_image" else "video"
                return f"user:12345-pixverse:{email}-{kind}:5550{number}"
            case _:
                letter = "i" if self._order.operation == "upscale_image" else "v"
                return f"j030214053012{number}{letter}-u12345-{self._region}:{email}-bot:dreamina"

    @property
    def _region(self) -> str:
        return "US" if self._order.operation == "upscale_image" else "CA"

    @property
    def _echo(self) -> dict[str, Any] | None:
        """What a record holds beside its prompt; None: it is of no prompt."""
        return _ECHOES.get((self._order.service, self._order.operation))

    def _dreamina(
        self,
        source: str,
        email: str,
        age_s: float,
        *,
        failed: bool = False,
        unreadable: int | None = None,
    ) -> Neighbour:
        operation, made_at = self._order.operation, self._now() - age_s
        digits = f"0999{next(self._numbers):016d}"
        account = f"u12345-{self._region}:{email}-bot:dreamina"
        job_id = f"j{digits}{_LETTERS[operation]}-{account}"
        echo: dict[str, Any] = {"jobid": source}
        for name, value in self._order.result_arguments.items():
            field = self._order.endpoint.options[name].field
            if not field.endswith("Strength"):  # the documented echo holds none
                echo[_FIELDS.get(field, field)] = value
        if self._echo is not None:
            echo = {"prompt": source, **self._echo}
        record = {
            "jobid": job_id,
            "type": _TYPES[operation],
            "status": "failed" if failed else "created",
            "created": iso(made_at),
            "request": echo,
            **({"error": "fail_code: 2043"} if failed else {}),
        }
        return Neighbour(job_id, made_at, record, unreadable)

    def _google_flow(
        self,
        source: str,
        email: str,
        age_s: float,
        *,
        failed: bool = False,
        unreadable: int | None = None,
    ) -> Neighbour:
        made_at = self._now() - age_s
        job_id = f"j1999{next(self._numbers):012d}v-u12345-email:{email}-bot:google-flow"
        resolution = self._order.result_arguments["resolution"]
        request = {"mediaGenerationId": source, "resolution": resolution, "async": True}
        if self._echo is not None:
            request = {"prompt": source, **self._echo}
        record = {
            "jobid": job_id,
            "type": "video",
            "status": "failed" if failed else "started",
            "created": iso(made_at),
            "request": request,
            **({"error": "API error: 500"} if failed else {}),
        }
        return Neighbour(job_id, made_at, record, unreadable)

    def _pixverse(
        self,
        source: str,
        email: str,
        age_s: float,
        *,
        failed: bool = False,
        unreadable: int | None = None,
    ) -> Neighbour:
        made_at = self._now() - age_s
        kind = "image" if self._order.operation.endswith("image") else "video"
        job_id = f"user:12345-pixverse:{email}-{kind}:5559{next(self._numbers):04d}"
        record: dict[str, Any] = {
            f"{kind}_id": job_id,
            f"{kind}_status": 8 if failed else 5,
            "created_at": iso(made_at),
            "output_width": 0,
        }
        names = {"prompt": source, **self._echo} if self._echo is not None else {}
        names = names or {f"original_{kind}_id": source, "upscaled": 1}
        if unreadable:  # its records are the list, and "all fields are optional"
            names.pop("prompt", None)
            names.pop(f"original_{kind}_id", None)
        record |= names
        return Neighbour(job_id, made_at, record, unreadable)


class Neighbourhood:
    """An ASGI app: `app`, a sandbox, whose lists hold the neighbours, too."""

    def __init__(self, app: ASGIApp, neighbours: tuple[Neighbour, ...]) -> None:
        self._app = app
        self._neighbours = neighbours
        self._by_id = {neighbour.job_id: neighbour for neighbour in neighbours}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not self._neighbours:
            await self._app(scope, receive, send)
            return
        sent: list[Message] = []

        async def keep(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, keep)
        start, body = sent[0], b"".join(message.get("body", b"") for message in sent)
        neighbour = self._by_id.get(scope["path"].rpartition("/")[2])
        if neighbour is not None:
            status = neighbour.unreadable or 200
            record = {"error": "Try again"} if neighbour.unreadable else neighbour.record
            start, body = {**start, "status": status}, json.dumps(record).encode()
        elif start["status"] == 200 and scope["path"].endswith(_LISTS):
            listed = json.loads(body)
            self._join(listed, scope["query_string"].decode())
            body = json.dumps(listed).encode()
        headers = [pair for pair in start["headers"] if pair[0] != b"content-length"]
        headers.append((b"content-length", b"%d" % len(body)))
        await send({**start, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _join(self, listed: Any, query: str) -> None:
        """Add the neighbours to a list of the vendor's."""
        if isinstance(listed, list):  # PixVerse's scheduler, which nobody looks at
            return
        if "data" in listed:
            records = [neighbour.record for neighbour in self._neighbours]
            everything = [*listed["data"], *records]
            listed["data"] = sorted(everything, key=lambda record: record["created_at"])[::-1]
        elif "executing" in listed:
            for neighbour in self._neighbours:
                account = neighbour.job_id.split("-", 2)[2].removesuffix("-bot:dreamina")
                listed["executing"].setdefault(account, []).append({"jobid": neighbour.job_id})
            listed["total"] += len(self._neighbours)
        elif "videos" in listed:
            option = query.partition("options=")[2]
            for neighbour in self._neighbours:
                if neighbour.has_failed == (option == "history"):
                    entry = {"timestamp": int(neighbour.made_at * 1000)}
                    for group in ("videos", "combined"):
                        listed[group].setdefault(option, {})[neighbour.job_id] = entry
