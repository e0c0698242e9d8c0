"""The one door to the vendor's API: it adds the token, sends, retries, and knows what was sent."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from mcp_server.clock import Clock
from mcp_server.errors import TokenError
from mcp_server.media.files import OutputFolder
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

if TYPE_CHECKING:  # httpx takes 30 ms to import: a server that only lists its tools never does
    import httpx

    Transport = httpx.AsyncBaseTransport

log = logging.getLogger(__name__)

JSON_LIMIT_BYTES = 8 << 20
READ_TIMEOUT_S = 30.0
_CONNECT_TIMEOUT_S, _WRITE_TIMEOUT_S = 5.0, 10.0

T = TypeVar("T")


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    body: Mapping[str, Any] | None = None
    read_timeout_s: float = READ_TIMEOUT_S
    stem: str | None = None
    keep_if: Callable[[Any], bool] | None = None
    on_send: Callable[[], Awaitable[None]] | None = None

    @property
    def paid(self) -> bool:
        return self.on_send is not None


class Upstream:
    """Sends requests to the vendor and to nobody else; the token goes only to its origin."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        outputs: OutputFolder,
        transport: "Transport | None" = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._outputs = outputs
        self._transport = transport
        self._clients: tuple[httpx.AsyncClient, httpx.AsyncClient] | None = None
        self._in_flight: set[asyncio.Task[Any]] = set()

    @property
    def origin(self) -> str:
        return self._settings.base_url

    async def get(
        self,
        vendor: ServiceInfo,
        path: str,
        *,
        stem: str | None = None,
        keep_if: Callable[[Any], bool] | None = None,
    ) -> Answer:
        """GET `path`, up to three times.

        Args:
            path: from a fixed template, sent as it is: `:` and `@` unencoded.
            stem: how a file that comes as base64 is to be named.
            keep_if: whether to save such files, by the JSON they came in; else they are dropped.

        Raises:
            UpstreamError, UnreachableError, UnexpectedAnswerError.
        """
        return await self._send_with_retries(
            vendor, _Request("GET", path, stem=stem, keep_if=keep_if)
        )

    async def delete(self, vendor: ServiceInfo, path: str) -> Answer:
        """DELETE `path`: free, and harmless to repeat."""
        return await self._send_with_retries(vendor, _Request("DELETE", path))

    async def post_paid(
        self,
        vendor: ServiceInfo,
        path: str,
        body: Mapping[str, Any],
        *,
        on_send: Callable[[], Awaitable[None]],
        read_timeout_s: float,
        stem: str | None = None,
    ) -> Answer:
        """POST what costs money: sent again only where it is certain that nothing was done.

        Args:
            on_send: awaited when connected, before the first byte leaves; what it raises stops it.

        Raises:
            UnansweredError: it left, and nothing usable came back.
            UpstreamError, UnreachableError: it was refused, or never left.
        """
        request = _Request("POST", path, body, read_timeout_s, stem, on_send=on_send)
        return await self._send_with_retries(vendor, request)

    def require_token(self) -> None:
        """Raise a TokenError if no token is set."""
        if self._settings.secret is None:
            raise TokenError(
                message="No useapi.net token is set, so nothing was sent.",
                hint="Set USEAPI_TOKEN in the server's environment and restart it; "
                "to try it without a token, start the server with --sandbox.",
            )

    async def close(self) -> None:
        """Stop what nobody waits for any more, and close the connections."""
        for task in self._in_flight:
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)
        for client in self._clients or ():
            await client.aclose()

    async def _send_with_retries(self, vendor: ServiceInfo, request: _Request) -> Answer:
        self.require_token()
        tries, waited = 0, False
        while True:
            tries += 1
            result = await self._shielded(self._attempt(vendor, request))
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
                raise result.error
            waited = waited or result.outcome is Outcome.RATE_LIMITED
            log.info("%s: %s; once more in %.1f s", vendor.name, result.outcome.value, pause)
            await self._clock.sleep(pause)

    async def _shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that a cancelled caller leaves alone: httpx 0.28 can lose a pool slot then."""
        task = asyncio.ensure_future(work)
        self._in_flight.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._in_flight.discard(task)
        if not task.cancelled():
            task.exception()  # seen: its caller may have left

    async def _attempt(self, vendor: ServiceInfo, request: _Request) -> Answer | Failure:
        import httpx

        sent = False

        async def trace(event: str, about: Mapping[str, Any]) -> None:
            # Fires when connected, TLS included, and before the first byte: the last safe moment.
            # A proxy is asked with a CONNECT of its own first, which says nothing of the request.
            nonlocal sent
            if not sent and event.endswith("send_request_headers.started"):
                if about["request"].method == b"CONNECT":
                    return
                if request.on_send:
                    await request.on_send()
                sent = True

        try:
            # A server that trickles keeps within every single time-out.
            async with asyncio.timeout(2 * request.read_timeout_s):
                return await self._send_once(vendor, request, trace)
        except DecompressionError as error:
            reason = quoted(str(error), 100)
            return interrupted(vendor, reason, paid=request.paid, unusable=True)
        except (httpx.TransportError, httpx.InvalidURL, ExtractionError, TimeoutError) as error:
            # InvalidURL: httpx looks at a redirect's address even if told not to follow it.
            unusable = isinstance(error, ExtractionError | httpx.InvalidURL)
            reason = type(error).__name__
            if not sent:
                return not_sent(vendor, reason)
            return interrupted(vendor, reason, paid=request.paid, unusable=unusable)

    async def _send_once(
        self, vendor: ServiceInfo, request: _Request, trace: Callable[[str, Any], Any]
    ) -> Answer | Failure:
        import httpx

        url = httpx.URL(self._settings.base_url).copy_with(raw_path=request.path.encode("ascii"))
        if url.raw_path != request.path.encode("ascii"):
            raise AssertionError("a path is sent as it is, or not at all")
        cutter = Base64Extractor(
            vendor.base64_fields,
            self._outputs.begin,
            limit_bytes=JSON_LIMIT_BYTES,
            file_limit_bytes=self._settings.max_download_mb << 20,
        )
        try:
            async with self._client(paid=request.paid).stream(
                request.method,
                url,
                json=request.body,
                headers={
                    "Authorization": f"Bearer {self._settings.secret}",
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                },
                timeout=httpx.Timeout(
                    request.read_timeout_s, connect=_CONNECT_TIMEOUT_S, write=_WRITE_TIMEOUT_S
                ),
                extensions={"trace": trace},
            ) as response:
                status = response.status_code
                try:
                    await self._take(response, cutter)
                    data = parsed(cutter.finish())
                except DecompressionError:
                    if status < 400:
                        raise
                    data = None  # what it is comes from its status
            # What a DELETE answers with is documented nowhere: its status is all that counts.
            if 200 <= status < 300 and (data is not None or request.method == "DELETE"):
                wanted = request.keep_if is None or request.keep_if(data)
                full = [file for file in cutter.files if wanted and file.tell() > 0]
                stem = request.stem or vendor.name
                names = (stem if n == 0 else f"{stem}-{n + 1}" for n in range(len(full)))
                files = tuple(map(self._outputs.keep, full, names))
                return Answer(status, data, files, http_date(response.headers.get("date", "")))
            now = self._clock.now()
            wait_s = retry_after_s(response.headers.get("retry-after"), data, now)
            return refused(vendor, BadResponse(status, data, wait_s, now), paid=request.paid)
        finally:
            for file in cutter.files:
                self._outputs.discard(file)

    async def _take(self, response: "httpx.Response", cutter: Base64Extractor) -> None:
        """Take in a body as it comes: httpx would undo a compression without a limit."""
        inflater = Decompressor(response.headers.get("content-encoding", ""))
        async for chunk in response.aiter_raw():
            for piece in inflater.feed(chunk):
                self._feed(cutter, piece)

    def _feed(self, cutter: Base64Extractor, piece: bytes) -> None:
        try:
            cutter.feed(piece)
        except OSError as error:
            raise self._outputs.full(error) from None

    def _client(self, *, paid: bool) -> "httpx.AsyncClient":
        """One of two clients over one TLS context.

        A paid request never travels on a reused connection: there, a cut says nothing about
        whether it arrived.
        """
        import httpx

        if self._clients is None:
            # A proxy from the environment is the user's wish, but never for this machine itself.
            options: dict[str, Any] = {
                "verify": httpx.create_ssl_context() if self._transport is None else True,
                "trust_env": not self._settings.is_loopback,
                "transport": self._transport,
            }
            unpooled = httpx.Limits(max_keepalive_connections=0)
            self._clients = (
                httpx.AsyncClient(**options),
                httpx.AsyncClient(**options, limits=unpooled),
            )
        return self._clients[1 if paid else 0]
