"""Reading requests and writing answers as api.useapi.net does, whatever the service."""

import json
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

Json = dict[str, object]


class RefusedError(Exception):
    """Ends the handling of a request: the sandbox gives this answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


async def read_fields(
    request: Request,
    *,
    numbers: frozenset[str] = frozenset(),
    booleans: frozenset[str] = frozenset(),
) -> Json:
    """The body's fields, from JSON or multipart/form-data.

    Both are documented for Google Flow and PixVerse (pages of 25 May 2026 and 6 December 2024) and
    used for Dreamina in the vendor's Postman collection (July 2026). A form only holds text, so
    `numbers` and `booleans` name the fields whose text means something else.
    """
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        form = await request.form()
        return {
            name: _typed(str(value), name in numbers, name in booleans)
            for name, value in form.items()
        }
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise refused(400, "Invalid JSON body")  # assumed: no text is documented
    return {name: value for name, value in body.items() if value is not None}


def _typed(text: str, number: bool, boolean: bool) -> object:
    if boolean and text in ("true", "false"):
        return text == "true"
    if number:
        try:
            return int(text)
        except ValueError:
            try:
                return float(text)
            except ValueError:
                return text
    return text


def is_number(value: object, low: float, high: float, *, whole: bool = True) -> bool:
    kinds = int if whole else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high


class _Json(JSONResponse):
    def render(self, content: object) -> bytes:
        """As JSON.stringify writes it: half a surrogate pair is escaped."""
        try:
            return super().render(content)
        except UnicodeEncodeError:
            return json.dumps(content).encode()


def answer(
    body: Json | list[Json], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return _Json(body, status_code=status, headers=dict(headers or {}))


def error(status: int, text: str, *, with_code: bool = False) -> Response:
    """The flat error body; `with_code` adds the status as `code`, as some endpoints do."""
    body: Json = {"error": text}
    if with_code:
        body["code"] = status
    return answer(body, status=status)


def refused(status: int, text: str, *, with_code: bool = False) -> RefusedError:
    return RefusedError(error(status, text, with_code=with_code))


def has_encoded_path(request: Request) -> bool:
    """Whether the path holds a percent-encoded character: ids must be sent raw.

    Source: the vendor's own clients `clips.mjs` (September 2026: "rejects the percent-encoded form
    with a 400") and `compare.mjs` (2026), for PixVerse and Dreamina; live notes for Google Flow.
    """
    return b"%" in request.scope.get("raw_path", b"")


def origin(request: Request) -> str:
    """Where this sandbox is reached, as the request itself says."""
    return f"{request.url.scheme}://{request.headers.get('host', 'localhost')}"


def gateway_page(status: int = 523) -> Response:
    """The gateway's own page, which is not JSON.

    Source: answers to unknown paths recorded in July 2025 (522/523 HTML after 18-20 s). The wait is
    left out here; the wording of the page is *assumed*.
    """
    reason = {
        403: "Access denied",
        522: "Connection timed out",
        523: "Origin is unreachable",
    }.get(status, "A timeout occurred")
    page = (
        "<!DOCTYPE html>\n<html><head>"
        f"<title>api.useapi.net | {status}: {reason}</title></head>"
        f"<body><h1>{reason} <span>Error code {status}</span></h1></body></html>\n"
    )
    return HTMLResponse(page, status_code=status)
