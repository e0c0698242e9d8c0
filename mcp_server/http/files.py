"""Saved files by signed link, and files that callers send to be given as a source.

A browser opens a link, so no token is asked for: the link itself is the right to read the file.
Who sends a file must have the token, as for a call.
"""

from collections.abc import AsyncIterator
from pathlib import Path

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.clock import iso
from mcp_server.errors import OutputError, TooLargeError, UnusableFileError, UseapiError
from mcp_server.http.protocol import LONG_BODY
from mcp_server.http.stopping import Stopping
from mcp_server.media.files import media_type_of
from mcp_server.media.links import FILES_PATH, NoFile
from mcp_server.tools.context import AppContext, current_caller

_HEADERS = {
    # What is in the file runs nothing, whatever a browser takes it for.
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address is the right to read it
    "Cache-Control": "private, max-age=3600",
}
_NOT_KEPT = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_NO_FILE = {
    NoFile.UNKNOWN: (404, "There is no file at this link.\n"),
    NoFile.LATE: (410, "This link works no more: ask for the file again to get another.\n"),
}


class LinkMiddleware:
    """Serves the files that links name, if this server makes links."""

    def __init__(self, app: ASGIApp, stopping: Stopping) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        links = self._stopping.app.links if self._stopping.app is not None else None
        start = f"{FILES_PATH}/"
        if links is None or scope["type"] != "http" or not scope["path"].startswith(start):
            return await self._app(scope, receive, send)
        if scope["method"] not in ("GET", "HEAD"):
            response: Response = PlainTextResponse(
                "A file is read with GET.\n", 405, headers={"Allow": "GET, HEAD"}
            )
            return await response(scope, receive, send)
        proof, _, name = scope["path"].removeprefix(start).partition("/")
        return await _response(links.find(proof, name))(scope, receive, send)


class SendingMiddleware:
    """Takes a file that a caller sends to `/files`, if this server makes links."""

    def __init__(self, app: ASGIApp, stopping: Stopping) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._stopping.app
        is_ours = scope["type"] == "http" and scope["path"] == FILES_PATH
        if app is None or app.links is None or not is_ours:
            return await self._app(scope, receive, send)
        try:
            response = await _taken(app, Request(scope, receive))
        except ClientDisconnect:
            return None
        return await response(scope, receive, send)


async def _taken(app: AppContext, request: Request) -> Response:
    """The answer to who sends a file: the link to give as a source, or why it was not taken."""
    if request.method != "POST":
        return PlainTextResponse("A file is sent with POST.\n", 405, headers={"Allow": "POST"})
    if not current_caller().may_submit:
        return _refusal(403, "insufficient_scope", "This token may send no files.")
    length = request.headers.get("content-length", "")
    # From here on the request may take as long as a large file does.
    request.scope.setdefault("state", {})[LONG_BODY] = True
    try:
        path = await app.inbox.take(
            _pieces(request),
            request.query_params.get("name", ""),
            int(length) if length.isdecimal() and len(length) < 20 else None,
        )
    except UseapiError as error:
        return _refusal(_status_of(error), error.code, f"{error.message} {error.hint}")
    assert app.links is not None
    ends_at = app.links.ends_at()
    told = {"source": app.links.link_to(str(path)), "expires_at": iso(ends_at)}
    return JSONResponse(told, 201, headers=_NOT_KEPT)


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    async for piece in request.stream():
        if piece:
            yield piece


def _status_of(error: UseapiError) -> int:
    if isinstance(error, TooLargeError):
        return 413
    if isinstance(error, OutputError):
        return 507
    return 415 if isinstance(error, UnusableFileError) else 400


def _refusal(status: int, code: str, sentence: str) -> Response:
    """A refusal in the form of OAuth's errors, as that of a missing token is."""
    told = {"error": code, "error_description": sentence}
    return JSONResponse(told, status, headers=_NOT_KEPT)


def _response(found: Path | NoFile) -> Response:
    """The file, or why there is none."""
    if isinstance(found, Path):
        try:
            return _file(found)
        except FileNotFoundError:  # pragma: no cover - it was deleted between two looks
            found = NoFile.UNKNOWN
    status, sentence = _NO_FILE[found]
    return PlainTextResponse(sentence, status, headers=_NOT_KEPT)


def _file(path: Path) -> Response:
    media_type = media_type_of(path)
    return FileResponse(
        path,
        headers=_HEADERS,
        media_type=media_type or "application/octet-stream",
        filename=path.name,
        content_disposition_type="attachment" if media_type is None else "inline",
        stat_result=path.stat(),
    )
