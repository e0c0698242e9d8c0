"""Downloads one file from a link of the vendor: https to public addresses, limited in size."""

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from mcp_server.clock import Clock
from mcp_server.errors import DownloadError
from mcp_server.media.files import OutputFolder
from mcp_server.media.probe import HEAD_BYTES, sniff_mime_type
from mcp_server.media.ssrf import NotPublicError, Resolver, public_addresses, system_resolver
from mcp_server.models import Kind
from mcp_server.retry import Outcome, pause_before_retry
from mcp_server.settings import Settings

if TYPE_CHECKING:  # httpx takes 30 ms to import: the functions that need it do so
    import ssl

    import httpx

log = logging.getLogger(__name__)

MOST_REDIRECTS = 3
DISK_RESERVE_BYTES = 64 << 20
_READ_TIMEOUT_S, _CONNECT_TIMEOUT_S = 30.0, 5.0
_SLOWEST_BYTES_PER_S, _SLOW_AFTER_S = 4096, 60.0
_LONGEST_URL = 8192
_EXPIRED = {401, 403, 404, 410}  # the answers to a signed link that has expired
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}

OnBytes = Callable[[int, int | None], Awaitable[None]]


class ExpiredLinkError(DownloadError):
    """The link has expired; there may be a new one."""


class _BrokenError(Exception):
    """This try failed; the next may succeed."""


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
        resolve: Resolver = system_resolver,
    ) -> None:
        self._origin = settings.base_url
        self._most_bytes = settings.max_download_mb << 20
        self._clock = clock
        self._outputs = outputs
        self._transport = transport
        self._resolve = resolve
        self._tls: ssl.SSLContext | None = None

    async def fetch(self, url: str, file: BinaryIO, kind: Kind, on_bytes: OnBytes) -> None:
        """Download a link into an empty file, in up to three tries.

        Args:
            kind: what the file must be, by its own bytes.
            on_bytes: called with the bytes so far and in all, after each piece.

        Raises:
            ExpiredLinkError: the link has expired.
            DownloadError: the address is not allowed, or what it leads to is missing, too large or
                of another type.
        """
        import httpx

        tries = 0
        while True:
            tries += 1
            try:
                await self._follow(url, file, kind, on_bytes, tries)
                return
            except httpx.InvalidURL:  # httpx parses redirects even with follow_redirects=False
                raise _refused("redirects to no proper address") from None
            except (httpx.TransportError, _BrokenError) as error:
                reason = str(error) if isinstance(error, _BrokenError) else type(error).__name__
            except OSError as error:
                raise self._outputs.full(error) from None
            pause_s = pause_before_retry(
                Outcome.UNKNOWN, paid=False, tries=tries, random=random.random
            )
            if pause_s is None:
                raise DownloadError(
                    message=f"The file can't be fetched ({reason}), in {tries} tries.",
                    hint="Call download_media again in a minute.",
                )
            log.info("a download broke (%s); once more in %.1f s", reason, pause_s)
            await self._clock.sleep(pause_s)

    async def _follow(
        self, url: str, file: BinaryIO, kind: Kind, on_bytes: OnBytes, tries: int
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
                    headers=target.headers,
                    extensions={"sni_hostname": target.name} if target.name else {},
                ) as response,
            ):
                if not response.has_redirect_location:
                    self._check_status(response.status_code)
                    await self._write(response, file, kind, on_bytes)
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
            raise _BrokenError("its host was not found") from None
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
            self._tls = httpx.create_ssl_context()
        return httpx.AsyncClient(
            verify=self._tls or True,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(_READ_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S),
            transport=self._transport,
        )

    def _check_status(self, status: int) -> None:
        if status in _EXPIRED:
            raise ExpiredLinkError(
                message=f"The link to the file is good no longer (status {status}).",
                hint="Call get_job for a new one; a file that has expired at its vendor is gone.",
                http_status=status,
            )
        if status in _TEMPORARY:
            raise _BrokenError(f"status {status}")
        if status != 200:
            raise _refused(f"is answered with status {status}")

    async def _write(
        self, response: "httpx.Response", file: BinaryIO, kind: Kind, on_bytes: OnBytes
    ) -> None:
        """Write the body to the file, without decompression: little data may become a lot."""
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise _refused("leads to an encoded file")
        length = response.headers.get("content-length", "")
        expected = int(length) if length.isdecimal() and len(length) < 20 else None
        self._check_size(expected or 0)
        self._check_disk(expected or 0)
        began, written, head = self._clock.elapsed(), 0, b""
        file.seek(0)
        file.truncate()  # an earlier try may have written something
        async for chunk in response.aiter_raw():
            if len(head) < HEAD_BYTES:
                head = (head + chunk)[:HEAD_BYTES]
                if len(head) == HEAD_BYTES:
                    _check_kind(head, kind)
            if written // DISK_RESERVE_BYTES < (written + len(chunk)) // DISK_RESERVE_BYTES:
                self._check_disk(len(chunk))
            written += len(chunk)
            self._check_size(written)
            file.write(chunk)
            taken_s = self._clock.elapsed() - began
            if taken_s > _SLOW_AFTER_S and written < taken_s * _SLOWEST_BYTES_PER_S:
                raise _refused("brings its file too slowly")
            await on_bytes(written, expected)
        if expected is not None and written != expected:
            raise _BrokenError("it broke off")
        _check_kind(head, kind)
        file.flush()

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._most_bytes:
            raise DownloadError(
                message=f"The file is larger than {self._most_bytes >> 20} MB, "
                "so it was not saved.",
                hint="Use its link, or raise USEAPI_MAX_DOWNLOAD_MB.",
            )

    def _check_disk(self, needed_bytes: int) -> None:
        if self._outputs.free_bytes() < needed_bytes + DISK_RESERVE_BYTES:
            raise self._outputs.full()


def _check_kind(head: bytes, kind: Kind) -> None:
    if not (sniff_mime_type(head) or "").startswith(f"{kind}/"):
        raise _refused(f"leads to no {kind} of a known type")


def _refused(why: str) -> DownloadError:
    """The error for a link that is not allowed. The link is not quoted: its query is a secret."""
    return DownloadError(
        message=f"The link to the file {why}, so nothing was saved.",
        hint="Call get_job for a new one; if it is the same again, the file can't be saved here.",
    )
