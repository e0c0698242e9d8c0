"""HTTP client for useapi.net: adds the token, retries, and reports whether a request left."""

import asyncio
import copy
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from mcp_server import __version__
from mcp_server.clock import Clock, Turns
from mcp_server.errors import (
    NoTokenError,
    OwnTokenError,
    SettingsError,
    TokenError,
    UseapiError,
)
from mcp_server.media.files import OutputFolder, PartFile, SavedFile
from mcp_server.media.names import MadeName
from mcp_server.media.own_files import OwnFile
from mcp_server.metrics import Metrics
from mcp_server.redaction import quoted
from mcp_server.retry import Outcome, pause_before_retry
from mcp_server.settings import Settings
from mcp_server.upstream.body import (
    Base64Extractor,
    DecompressionError,
    Decompressor,
    ExtractionError,
)
from mcp_server.upstream.responses import (
    Answer,
    BadResponse,
    Failure,
    ServiceInfo,
    http_date,
    interrupted,
    not_sent,
    parsed,
    refused,
    retry_after_s,
)

# httpx takes 30 ms to import, and a server that only lists its tools does not need it. So the
# functions that do import it: a helper that returned the module would hide its types from mypy.
if TYPE_CHECKING:
    import ssl

    import httpx

    Transport = httpx.AsyncBaseTransport

log = logging.getLogger(__name__)

JSON_LIMIT_BYTES = 8 << 20
READ_TIMEOUT_S = 30.0
_CONNECT_TIMEOUT_S, _WRITE_TIMEOUT_S = 5.0, 10.0
_PIECE_TIMEOUT_S, _UPLOADED_TIMEOUT_S, _LONGEST_UPLOAD_S = 60.0, 150.0, 12 * 3600.0

T = TypeVar("T")

TokenOf = Callable[[str], Awaitable[str]]
"""The token of an account, for a request that goes out now; raises a UseapiError if it has none."""


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    body: Mapping[str, Any] | None = None
    read_timeout_s: float = READ_TIMEOUT_S
    name: MadeName | None = None
    keep_if: Callable[[Any], bool] | None = None
    on_send: Callable[[], Awaitable[None]] | None = None
    file: OwnFile | None = None
    on_bytes: Callable[[int], None] = lambda _: None
    longest_s: float | None = None
    is_quote: bool = False

    @property
    def paid(self) -> bool:
        return self.on_send is not None

    @property
    def kind(self) -> str:
        """What it is counted as."""
        if self.file is not None:
            return "upload"
        if self.paid:
            return "quote" if self.is_quote else "paid"
        return {"GET": "read", "DELETE": "delete"}[self.method]


class Upstream:
    """Sends requests to the vendor; the token goes to no other host.

    Attributes:
        account: whose token the requests go with, as the journal calls it; "" is USEAPI_TOKEN.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        outputs: OutputFolder,
        transport: "Transport | None" = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.account = ""
        self._token_of: TokenOf | None = None
        self._root = self
        self._settings = settings
        self._metrics = metrics or Metrics()
        self._clock = clock
        self._outputs = outputs
        self._transport = transport
        self._clients: tuple[httpx.AsyncClient, httpx.AsyncClient] | None = None
        self._in_flight: set[asyncio.Task[Any]] = set()

    def with_token_of(self, account: str, token_of: TokenOf) -> Self:
        """The same connections, with the token of another account.

        Args:
            token_of: asked before each request, so that a token that was replaced or taken back is
                not used any more.
        """
        other = copy.copy(self)
        vars(other).update(account=account, _token_of=token_of)
        return other

    @property
    def origin(self) -> str:
        return self._settings.base_url

    async def get(
        self,
        vendor: ServiceInfo,
        path: str,
        *,
        name: MadeName | None = None,
        keep_if: Callable[[Any], bool] | None = None,
    ) -> Answer:
        """GET `path`, up to three times.

        Args:
            path: sent as it is, with `:` and `@` unencoded.
            name: of a file that comes as base64.
            keep_if: whether to save such files, given the JSON they came in; default: yes.

        Raises:
            UpstreamError, UnreachableError, UnexpectedAnswerError.
        """
        return await self._send_with_retries(
            vendor, _Request("GET", path, name=name, keep_if=keep_if)
        )

    async def delete(self, vendor: ServiceInfo, path: str) -> Answer:
        """DELETE `path`, up to three times."""
        return await self._send_with_retries(vendor, _Request("DELETE", path))

    async def post_paid(
        self,
        vendor: ServiceInfo,
        path: str,
        body: Mapping[str, Any],
        *,
        on_send: Callable[[], Awaitable[None]],
        read_timeout_s: float,
        name: MadeName | None = None,
        is_quote: bool = False,
    ) -> Answer:
        """POST what costs money; send it again only if it is certain that nothing was done.

        Args:
            on_send: awaited when connected, before the first byte leaves. If it raises, nothing is
                sent.
            is_quote: it only asks for the price; sent with the same care, and counted apart.

        Raises:
            UnansweredError: the request left, and no usable answer came.
            UpstreamError, UnreachableError: the request was refused, or never left.
        """
        request = _Request(
            "POST", path, body, read_timeout_s, name, on_send=on_send, is_quote=is_quote
        )
        return await self._send_with_retries(vendor, request)

    async def upload(
        self, vendor: ServiceInfo, path: str, file: OwnFile, on_bytes: Callable[[int], None]
    ) -> Answer:
        """POST a file as it is; once it began to leave it is not sent again.

        Args:
            on_bytes: given how many bytes have left, after each piece.

        Raises:
            UnusableFileError: the file changed or can't be read, and was cut before its end.
            UnansweredError: no usable answer came.
            UpstreamError, UnreachableError: it was refused, or did not begin to leave.
        """

        async def on_send() -> None:
            on_bytes(0)

        request = _Request(
            "POST",
            path,
            read_timeout_s=_UPLOADED_TIMEOUT_S,
            on_send=on_send,
            file=file,
            on_bytes=on_bytes,
            longest_s=_LONGEST_UPLOAD_S,
        )
        return await self._send_with_retries(vendor, request)

    def require_token(self) -> None:
        """Raise a NoTokenError if no token is set."""
        if self._token_of is None and self._settings.secret is None:
            hint = (
                "Set USEAPI_TOKEN in the server's environment and restart it; "
                "to try it without a token, start the server with --sandbox."
            )
            if self._settings.own_tokens:
                hint = (
                    "A user can give one of his own: check_accounts tells where. For all others the"
                    " operator sets USEAPI_TOKEN and restarts the server."
                )
            raise NoTokenError(
                message="No useapi.net token is set, so nothing was sent.", hint=hint
            )

    async def _token(self) -> str:
        """The token that a request goes with."""
        self.require_token()
        if self._token_of is None:
            return str(self._settings.secret)
        return await self._token_of(self.account)

    def require_ready(self) -> None:
        """Raise a NoTokenError or SettingsError if nothing can be sent with these settings."""
        self.require_token()
        self._client(paid=True)

    async def close(self) -> None:
        """Cancel the requests in flight, and close the connections."""
        for task in self._in_flight:
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)
        for client in self._clients or ():
            await client.aclose()

    async def _send_with_retries(self, vendor: ServiceInfo, request: _Request) -> Answer:
        tries, waited = 0, False
        while True:
            tries += 1
            token = await self._token()
            result = await self._shielded(self._counted_attempt(vendor, request, token))
            if isinstance(result, Answer):
                return result
            pause = pause_before_retry(
                result.outcome,
                paid=request.paid,
                tries=tries,
                vendor_wait_s=result.wait_s,
                waited_before=waited,
                random=random.random,
            )
            if pause is None:
                raise self._of_this_token(result.error)
            waited = waited or result.outcome is Outcome.RATE_LIMITED
            log.info("%s: %s; once more in %.1f s", vendor.name, result.outcome.value, pause)
            await self._clock.sleep(pause)

    def _of_this_token(self, error: UseapiError) -> UseapiError:
        """An error as it is told of this account: a user's own token is not the operator's."""
        if self._token_of is None or not isinstance(error, TokenError):
            return error
        return OwnTokenError(
            message="useapi.net does not take the user's own token any more, so nothing was done.",
            hint="Its user must give another: check_accounts tells where.",
            vendor_text=error.vendor_text,
            service=error.service,
            http_status=error.http_status,
        )

    async def _shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that goes on when the caller is cancelled.

        A request that is cancelled can lose its slot in the pool of httpx 0.28.
        """
        task = asyncio.ensure_future(work)
        self._in_flight.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._in_flight.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved here in case the caller was cancelled

    async def _counted_attempt(
        self, vendor: ServiceInfo, request: _Request, token: str
    ) -> Answer | Failure:
        result = await self._attempt(vendor, request, token)
        fate = "answered" if isinstance(result, Answer) else result.outcome.name.lower()
        self._metrics.requests[request.kind, vendor.name, fate] += 1
        return result

    async def _attempt(
        self, vendor: ServiceInfo, request: _Request, token: str
    ) -> Answer | Failure:
        import httpx

        sent = False

        async def trace(event: str, about: Mapping[str, Any]) -> None:
            # This event comes after connecting, TLS included, and before the first byte is sent.
            # A CONNECT to a proxy comes earlier and is not the request itself.
            nonlocal sent
            if not sent and event.endswith("send_request_headers.started"):
                if about["request"].method == b"CONNECT":
                    return
                if request.on_send:
                    await request.on_send()
                sent = True

        try:
            # A server that sends byte by byte would never exceed the time-out of a single read.
            async with asyncio.timeout(request.longest_s or 2 * request.read_timeout_s):
                return await self._send_once(vendor, request, token, trace)
        except DecompressionError as error:
            reason = quoted(str(error), 100)
            return interrupted(vendor, reason, paid=request.paid, unusable=True)
        except (httpx.TransportError, httpx.InvalidURL, ExtractionError, TimeoutError) as error:
            # InvalidURL: httpx parses a redirect's address even with follow_redirects=False.
            unusable = isinstance(error, ExtractionError | httpx.InvalidURL)
            reason = type(error).__name__
            if not sent:
                from mcp_server.upstream.reachability import why_unreachable

                return not_sent(vendor, *why_unreachable(error, self._settings.base_url))
            return interrupted(vendor, reason, paid=request.paid, unusable=unusable)

    async def _send_once(
        self,
        vendor: ServiceInfo,
        request: _Request,
        token: str,
        trace: Callable[[str, Any], Any],
    ) -> Answer | Failure:
        import httpx

        url = httpx.URL(self._settings.base_url).copy_with(raw_path=request.path.encode("ascii"))
        if url.raw_path != request.path.encode("ascii"):
            raise AssertionError("a path is sent as it is, or not at all")
        extractor = Base64Extractor(
            vendor.base64_fields,
            self._outputs.begin,
            limit_bytes=JSON_LIMIT_BYTES,
            file_limit_bytes=self._settings.max_download_mb << 20,
        )
        try:
            headers = {
                "Authorization": f"Bearer {token}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                # The vendor's edge refuses the defaults of some libraries (403, error 1010).
                "User-Agent": f"useapi-mcp/{__version__}",
            }
            content, write_timeout_s = None, _WRITE_TIMEOUT_S
            if (own := request.file) is not None:
                headers |= {
                    "Content-Type": own.info.mime_type,
                    "Content-Length": str(own.size_bytes),
                }
                content = own.pieces(self._outputs.in_background, request.on_bytes)
                write_timeout_s = _PIECE_TIMEOUT_S
            async with self._client(paid=request.paid).stream(
                request.method,
                url,
                json=request.body,
                content=content,
                headers=headers,
                timeout=httpx.Timeout(
                    request.read_timeout_s, connect=_CONNECT_TIMEOUT_S, write=write_timeout_s
                ),
                extensions={"trace": trace},
            ) as response:
                status, received_at = response.status_code, self._clock.now()
                try:
                    await self._read_body(response, extractor)
                    data = parsed(extractor.finish())
                except DecompressionError:
                    if status < 400:
                        raise
                    data = None  # the status says what went wrong
            # The body of an answer to DELETE is not documented: only its status counts.
            if 200 <= status < 300 and (data is not None or request.method == "DELETE"):
                wanted = request.keep_if is None or request.keep_if(data)
                full = [file for file in extractor.files if wanted and file.size_bytes > 0]
                name = request.name or MadeName(vendor.name, request.path)
                files = await self._keep(full, name)
                said_at = http_date(response.headers.get("date", ""))
                ahead_s = None if said_at is None else said_at - received_at
                return Answer(status, data, files, ahead_s)
            wait_s = retry_after_s(response.headers.get("retry-after"), data, received_at)
            bad = BadResponse(status, data, wait_s, received_at)
            return refused(vendor, bad, paid=request.paid)
        finally:
            for file in extractor.files:
                self._outputs.discard(file)

    async def _read_body(
        self, response: "httpx.Response", extractor: Base64Extractor[PartFile]
    ) -> None:
        """Read the body and decompress it here: httpx would do it without a limit.

        What is neither kept nor a file is limited too, on the wire and decompressed: white space
        in base64, and what decompresses to nothing.
        """
        decompressor, turns = Decompressor(response.headers.get("content-encoding", "")), Turns()
        wire_bytes = body_bytes = 0
        async for chunk in response.aiter_raw():
            wire_bytes += len(chunk)
            for piece in decompressor.feed(chunk):
                self._feed(extractor, piece)
                body_bytes += len(piece)
                if max(wire_bytes, body_bytes) > 2 * (JSON_LIMIT_BYTES + extractor.file_bytes):
                    raise ExtractionError("The answer is longer than what it holds.")
                await turns.after(len(piece))

    async def _keep(self, files: list[PartFile], name: MadeName) -> tuple[SavedFile, ...]:
        """Put files in place, numbered if there are several."""
        kept = []
        for number, file in enumerate(files, start=1):
            own = name.numbered(number) if len(files) > 1 else name
            keep = partial(self._outputs.keep, file, own)
            kept.append(await self._outputs.in_background(file.size_bytes, keep))
        return tuple(kept)

    def _feed(self, extractor: Base64Extractor[PartFile], piece: bytes) -> None:
        try:
            extractor.feed(piece)
        except OSError as error:
            raise self._outputs.full(error) from None

    def _client(self, *, paid: bool) -> "httpx.AsyncClient":
        """One of two clients over one TLS context.

        A paid request never uses a kept-alive connection: if that breaks, nothing shows whether
        the request arrived.

        Raises:
            SettingsError: a proxy or a CA file of the environment can't be used.
        """
        if self._root is not self:
            return self._root._client(paid=paid)  # noqa: SLF001 - of this class
        from http.cookiejar import CookieJar, DefaultCookiePolicy

        import httpx

        if self._clients is None:
            # A proxy from the environment is used, but not to reach this machine itself.
            options: dict[str, Any] = {
                "verify": self._tls_context() if self._transport is None else True,
                "trust_env": not self._settings.is_loopback,
                "transport": self._transport,
                # No cookies: kept, they would grow until a gateway refuses the request's headers.
                "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            }
            unpooled = httpx.Limits(max_keepalive_connections=0)
            try:
                self._clients = (
                    httpx.AsyncClient(**options),
                    httpx.AsyncClient(**options, limits=unpooled),
                )
            except (ImportError, ValueError, httpx.InvalidURL) as error:
                from mcp_server.upstream.reachability import wrong_proxy

                raise wrong_proxy() from error
        return self._clients[1 if paid else 0]

    def _tls_context(self) -> "ssl.SSLContext":
        """What https is checked with; for a plain http origin, one that trusts nobody."""
        import ssl

        import httpx

        if not self._settings.base_url.startswith("https:"):
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            return httpx.create_ssl_context()
        except OSError as error:  # ssl.SSLError is one
            raise SettingsError(
                message="The certificate authorities that SSL_CERT_FILE or SSL_CERT_DIR names can't"
                f" be read ({type(error).__name__}), so nothing was sent.",
                hint="Unset it for this server, or name a file that is there; then restart it.",
            ) from error
