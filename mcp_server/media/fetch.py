"""Downloads one file from a link of the vendor: https to public addresses, limited in size."""

import asyncio
import logging
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

from mcp_server.clock import Clock, Turns
from mcp_server.errors import (
    DownloadError,
    InterruptedDownloadError,
    NoRouteError,
    OutputError,
    SettingsError,
)
from mcp_server.media.files import OutputFolder, PartFile
from mcp_server.media.probe import HEAD_BYTES, sniff_mime_type
from mcp_server.media.ssrf import NotPublicError, Resolver, SystemResolver, public_addresses
from mcp_server.models import Kind
from mcp_server.retry import Outcome, pause_before_retry
from mcp_server.settings import Settings

if TYPE_CHECKING:  # httpx takes 30 ms to import: the functions that need it do so
    import ssl

    import httpx

log = logging.getLogger(__name__)

MOST_REDIRECTS = 3
_READ_TIMEOUT_S, _CONNECT_TIMEOUT_S = 30.0, 5.0
_SILENCE_S = 60.0  # to the first byte of a file, all redirects included, and between two of them
_WHOLE_S = 3600.0
_SLOWEST_BYTES_PER_S, _SLOW_AFTER_S = 4096, 60.0
_ADVANCE_BYTES = 1 << 20  # a try that brought this much was no failure
_LONGEST_URL = 8192
_LONGEST_HEADER_BYTES = 256 * 1024  # the beginning of the body may come with it
_READ_BYTES = 256 * 1024  # as much as asyncio takes from a socket at once
_SYNC_BYTES = 32 << 20
_EXPIRED = {401, 403, 404, 410}  # the answers to a signed link that has expired
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]*"')
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(?:\d{1,18}|\*)")

OnBytes = Callable[[int, int | None], None]


class ExpiredLinkError(DownloadError):
    """The link has expired; there may be a new one."""


class _BrokenError(Exception):
    """This try failed; the next may succeed."""


class _NotReachedError(_BrokenError):
    """No connection was made."""


@dataclass(frozen=True)
class _Target:
    """A checked link: `url` to connect to, with the name that its certificate must have."""

    url: "httpx.URL"
    headers: dict[str, str]
    name: str | None = None


class Fetcher:
    """Downloads files, without the token, without cookies and without a proxy."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        outputs: OutputFolder,
        transport: "httpx.AsyncBaseTransport | None" = None,
        resolve: Resolver | None = None,
    ) -> None:
        self._origin = settings.base_url
        self._most_bytes = settings.max_download_mb << 20
        self._clock = clock
        self._outputs = outputs
        self._transport = transport
        self._resolve = resolve or SystemResolver()
        self._tls: ssl.SSLContext | None = None

    async def fetch(self, url: str, file: PartFile, kind: Kind, on_bytes: OnBytes) -> None:
        """Download a link into a file, in tries, each of which goes on where the last one broke.

        Args:
            file: empty, or the beginning of what the link leads to, with the validator of it.
            kind: what the file must be, by its own bytes.
            on_bytes: called with the bytes so far and in all, after each piece.

        Raises:
            ExpiredLinkError: the link has expired.
            InterruptedDownloadError: called again, it goes on.
            DownloadError: the address is not allowed, or what it leads to is missing, too large or
                of another type.
        """
        import httpx

        tries, ends_s = 0, self._clock.elapsed() + _WHOLE_S
        while True:
            tries += 1
            had_bytes = file.size_bytes
            try:
                async with asyncio.timeout(_SILENCE_S) as limit:
                    await self._follow(url, file, kind, _Watch(on_bytes, limit, ends_s), tries)
                return
            except TimeoutError:
                raise _too_slow() from None
            except httpx.InvalidURL:  # httpx parses redirects even with follow_redirects=False
                raise _refused("redirects to no proper address") from None
            except (httpx.TransportError, _BrokenError) as error:
                reason = str(error) if isinstance(error, _BrokenError) else type(error).__name__
                is_reached = not isinstance(
                    error, _NotReachedError | httpx.ConnectError | httpx.ConnectTimeout
                )
            except OSError as error:
                raise self._outputs.full(error) from None
            if file.size_bytes - had_bytes >= _ADVANCE_BYTES:
                tries = 1
            pause_s = pause_before_retry(
                Outcome.UNKNOWN,
                paid=False,
                tries=tries,
                vendor_wait_s=None,
                waited_before=False,
                random=random.random,
            )
            if pause_s is None:
                raise _given_up(reason, tries, is_reached=is_reached)
            log.info("a download broke (%s); once more in %.1f s", reason, pause_s)
            await self._clock.sleep(pause_s)

    async def _follow(
        self, url: str, file: PartFile, kind: Kind, watch: "_Watch", tries: int
    ) -> None:
        """Follow redirects, with a new client for each.

        A pooled connection was verified for another name, and cookies must not be passed on.
        """
        here = self._parsed(url)
        for redirects in range(MOST_REDIRECTS + 1):
            target = await self._checked(here, is_first=redirects == 0, tries=tries)
            async with (
                self._client() as client,
                client.stream(
                    "GET",
                    target.url,
                    headers=target.headers | _range_after(file),
                    extensions={"trace": _Reads()}
                    | ({"sni_hostname": target.name} if target.name else {}),
                ) as response,
            ):
                if not response.has_redirect_location:
                    await self._write(response, file, kind, watch)
                    return
                # Relative to the address with the name, not to the pinned one.
                here = self._parsed(str(here.join(response.headers["location"])))
        raise _refused(f"redirects more than {MOST_REDIRECTS} times")

    def _parsed(self, url: str) -> "httpx.URL":
        import httpx

        try:
            if len(url) <= _LONGEST_URL and url.isascii():
                return httpx.URL(url)
        except httpx.InvalidURL:
            pass
        raise _refused("is no proper address")

    async def _checked(self, url: "httpx.URL", *, is_first: bool, tries: int) -> _Target:
        """Resolve the host once and pin the checked address: a second answer may differ."""
        headers = {"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity"}
        if is_first and self._is_own(url):
            return _Target(url, headers)
        if url.scheme != "https" or url.port is not None or url.userinfo or not url.host:
            raise _refused("is not plain https on port 443")
        try:
            addresses = await public_addresses(url.host, self._resolve)
        except NotPublicError:
            raise _refused("leads to an address that is not public") from None
        except (OSError, UnicodeError):
            raise _NotReachedError("its host was not found") from None
        pinned = url.copy_with(host=addresses[(tries - 1) % len(addresses)])
        return _Target(pinned, headers, name=url.raw_host.decode("ascii"))

    def _is_own(self, url: "httpx.URL") -> bool:
        """Whether it is on the vendor's API itself, where the sandbox serves its files."""
        own = self._parsed(self._origin)
        same = (url.scheme, url.host, url.port) == (own.scheme, own.host, own.port)
        return same and not url.userinfo

    def _client(self) -> "httpx.AsyncClient":
        import httpx

        if self._tls is None and self._transport is None:
            try:
                self._tls = httpx.create_ssl_context()
            except OSError as error:  # it is no file of the output folder that can't be read
                raise SettingsError(
                    message="The certificate authorities that SSL_CERT_FILE or SSL_CERT_DIR names"
                    f" can't be read ({type(error).__name__}), so nothing was saved.",
                    hint="Unset it for this server, or name a file that is there; then restart it.",
                ) from None
        return httpx.AsyncClient(
            verify=self._tls or True,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(_READ_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S),
            transport=self._transport,
        )

    async def _write(
        self, response: "httpx.Response", file: PartFile, kind: Kind, watch: "_Watch"
    ) -> None:
        """Write the body to the file, without decompression: little data may become a lot."""
        _check_status(response, file)
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise _refused("leads to an encoded file")
        if response.status_code == 206:
            _check_part(response, file)
            head = file.head(HEAD_BYTES)
        else:  # the whole file; an earlier try may have written something
            file.start_over(_validator(response))
            head = b""
        length = response.headers.get("content-length", "")
        is_length_known = length.isdecimal() and len(length) < 20
        expected = file.size_bytes + int(length) if is_length_known else None
        self._check_size(expected or 0)
        file.expect(expected or 0)
        began, began_bytes, turns = self._clock.elapsed(), file.size_bytes, Turns()
        syncs = _Syncs(self._outputs, file)
        try:
            async for chunk in response.aiter_raw():
                if len(head) < HEAD_BYTES:
                    head = (head + chunk)[:HEAD_BYTES]
                    if len(head) == HEAD_BYTES:
                        _check_kind(head, kind)
                self._check_size(file.size_bytes + len(chunk))
                file.write(chunk)
                taken_s = self._clock.elapsed() - began
                brought = file.size_bytes - began_bytes
                if taken_s > _SLOW_AFTER_S and brought < taken_s * _SLOWEST_BYTES_PER_S:
                    raise _too_slow()
                watch.saw(file.size_bytes, expected, began + taken_s)
                await syncs.next()
                await turns.after(len(chunk))
        finally:
            await syncs.end()
        if expected is not None and file.size_bytes != expected:
            raise _BrokenError("it broke off")
        _check_kind(head, kind)
        file.flush()

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._most_bytes:
            raise OutputError(
                message=f"The file is larger than {self._most_bytes >> 20} MB, "
                "so it was not saved.",
                hint="Use its link, or raise USEAPI_MAX_DOWNLOAD_MB.",
            )


class _Reads:
    """Limits what a connection brings before its answer, and reads more at once after it.

    It is a `trace` of httpcore, which reads any number of informational answers (RFC 9110, 15.2)
    without a limit, and a file in pieces of 64 KiB, each of which takes as long as a larger one.
    """

    def __init__(self) -> None:
        self._left_bytes = _LONGEST_HEADER_BYTES
        self._is_over = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            stream = info["return_value"]
            stream.read = partial(self._read, stream.read)
        elif event.endswith(".receive_response_headers.complete"):
            self._is_over = True

    async def _read(
        self, read: Callable[..., Awaitable[bytes]], most_bytes: int, **how: Any
    ) -> bytes:
        if self._is_over:
            return await read(_READ_BYTES, **how)
        data = await read(most_bytes, **how)
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            raise _refused("is answered with a header without an end")
        return data


class _Syncs:
    """Puts a file on the disk in parts, in a thread, while the rest of it comes.

    So little is left to wait for at its end; and where a file system writes all that is new to it
    together, a commit of the journal waits for a part at most.
    """

    def __init__(self, outputs: OutputFolder, file: PartFile) -> None:
        self._outputs = outputs
        self._file = file
        self._begun_bytes = file.size_bytes
        self._under_way: Future[None] | None = None

    async def next(self) -> None:
        """Begin the next part if it is long enough.

        A disk that is slower than the host is waited for, so what is left stays little.

        Raises:
            OSError: the disk did not take what was written. It is told once and by no later sync.
        """
        if self._file.size_bytes - self._begun_bytes >= _SYNC_BYTES:
            await self.end()
            self._begun_bytes = self._file.size_bytes
            self._under_way = self._outputs.sync_in_background(self._file)

    async def end(self) -> None:
        """Wait for the part under way; one that has not begun yet is left out.

        Raises:
            OSError: see `next`.
        """
        if self._under_way is not None and not self._under_way.cancel():
            await asyncio.wrap_future(self._under_way)


@dataclass
class _Watch:
    """Reports each piece, and moves on the time by which the next one must have come."""

    on_bytes: OnBytes
    limit: asyncio.Timeout
    ends_s: float

    def saw(self, size_bytes: int, expected_bytes: int | None, now_s: float) -> None:
        self.limit.reschedule(min(now_s + _SILENCE_S, self.ends_s))
        self.on_bytes(size_bytes, expected_bytes)


def _range_after(file: PartFile) -> dict[str, str]:
    """The headers that ask for what is missing of a file that is still the same (RFC 9110)."""
    if file.validator is None or file.size_bytes < HEAD_BYTES:
        return {}
    return {"Range": f"bytes={file.size_bytes}-", "If-Range": file.validator}


def _validator(response: "httpx.Response") -> str | None:
    """What tells whether a file is still the same, byte by byte: RFC 9110, 8.8.

    A time counts if the file was a second old by then: else it may have changed within that second.
    """
    etag = response.headers.get("etag", "").strip()
    if _STRONG_ETAG.fullmatch(etag):
        return str(etag)
    changed, told = (response.headers.get(name, "") for name in ("last-modified", "date"))
    try:
        age = parsedate_to_datetime(told) - parsedate_to_datetime(changed)
    except (ValueError, TypeError):  # one is missing or no date; TypeError: one without a zone
        return None
    return str(changed) if age >= timedelta(seconds=1) else None


def _check_status(response: "httpx.Response", file: PartFile) -> None:
    status = response.status_code
    if status in _EXPIRED:
        raise ExpiredLinkError(
            message=f"The link to the file is good no longer (status {status}).",
            hint="Call get_job for a new one; a file that has expired at its vendor is gone.",
            http_status=status,
        )
    if status in _TEMPORARY:
        raise _BrokenError(f"status {status}")
    if status == 416 and _range_after(file):
        file.start_over(None)
        raise _BrokenError("it has no such part")
    if status != 200 and not (status == 206 and _range_after(file)):
        raise _refused(f"is answered with status {status}")


def _check_part(response: "httpx.Response", file: PartFile) -> None:
    """Make sure that this is the part that was asked for, of the same file."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    etag = response.headers.get("etag", file.validator)
    is_same = etag == file.validator or not _STRONG_ETAG.fullmatch(file.validator or "")
    if found is None or int(found[1]) != file.size_bytes or not is_same:
        file.start_over(None)
        raise _BrokenError("it sent another part")


def _check_kind(head: bytes, kind: Kind) -> None:
    if not (sniff_mime_type(head) or "").startswith(f"{kind}/"):
        raise _refused(f"leads to no {kind} of a known type")


def _refused(why: str) -> DownloadError:
    """The error for a link that is not allowed. The link is not quoted: its query is a secret."""
    return DownloadError(
        message=f"The link to the file {why}, so nothing was saved.",
        hint="Call get_job for a new one; if it is the same again, the file can't be saved here.",
    )


def _too_slow() -> InterruptedDownloadError:
    return InterruptedDownloadError(
        message="The link brings its file too slowly, so the download was ended.",
        hint="Call download_media again later: it goes on where it was, if the host can do that.",
    )


def _given_up(reason: str, tries: int, *, is_reached: bool) -> DownloadError:
    message = f"The file can't be fetched ({reason}), in {tries} tries."
    proxies = [f"{scheme.upper()}_PROXY" for scheme in getproxies() if scheme in ("https", "all")]
    if proxies and not is_reached:
        return NoRouteError(
            message=f"{message} {' and '.join(sorted(proxies))} names a proxy, which downloads do"
            " not use: it would undo the check of their addresses.",
            hint="Let this server reach the internet directly, or give the user the link to open.",
        )
    return InterruptedDownloadError(
        message=message, hint="Call download_media again in a minute: it goes on where it broke."
    )
