"""Files that callers send over HTTP, kept for a day below the output folder."""

import re
import secrets
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path

from mcp_server.clock import Clock
from mcp_server.errors import TooLargeError, UnusableFileError
from mcp_server.media.files import UPLOADS, OutputFolder, PartFile
from mcp_server.media.links import END_STEP_S, LINK_WORKS_S
from mcp_server.media.own_files import TYPES
from mcp_server.media.probe import HEAD_BYTES, sniff_mime_type
from mcp_server.redaction import one_line

_LONGEST_STEM = 40
_SWEEP_S = 3600


class Inbox:
    """Takes what callers send, and removes it when the link to it has ended."""

    def __init__(self, clock: Clock, outputs: OutputFolder, most_mb: int) -> None:
        self._clock = clock
        self._outputs = outputs
        self._most_mb = most_mb
        self._next_sweep = 0.0

    async def take(
        self, pieces: AsyncIterator[bytes], name: str, size_bytes: int | None = None
    ) -> Path:
        """A file with this content, under a name made here.

        Args:
            name: what its sender calls it.
            size_bytes: how large it will be, if that is known.

        Raises:
            TooLargeError: it is larger than a file may be here.
            UnusableFileError: its own first bytes say that no tool takes it.
            OutputError: it can't be written.
        """
        self.sweep()
        self._check_size(size_bytes or 0)
        shown = one_line(name, 120) or "What was sent"
        file = self._outputs.begin()
        try:
            if size_bytes is not None:
                file.expect(size_bytes)
            await self._write(pieces, file, shown)
        except OSError as error:
            self._outputs.discard(file)
            raise self._outputs.full(error) from None
        except BaseException:
            self._outputs.discard(file)
            raise
        stem = f"{_plain(name)}-{secrets.token_hex(8)}"
        saved = await self._outputs.in_background(
            file.size_bytes, lambda: self._outputs.keep(file, stem, UPLOADS)
        )
        return saved.path

    def sweep(self) -> None:
        """Remove what no link leads to any more, at most once an hour."""
        if self._clock.elapsed() >= self._next_sweep:
            self._next_sweep = self._clock.elapsed() + _SWEEP_S
            ended_at = self._clock.now() - LINK_WORKS_S - END_STEP_S
            self._outputs.sweep_sent_in_background(ended_at)

    async def _write(self, pieces: AsyncIterator[bytes], file: PartFile, shown: str) -> None:
        head = b""
        async for piece in pieces:
            if len(head) < HEAD_BYTES:
                head = (head + piece)[:HEAD_BYTES]
                if len(head) == HEAD_BYTES:
                    _check_type(head, shown)
            self._check_size(file.size_bytes + len(piece))
            file.write(piece)
        _check_type(head, shown)

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._most_mb << 20:
            raise TooLargeError(
                message=f"The file is larger than {self._most_mb} MB, so it was not kept.",
                hint="Send a smaller one; the operator may raise USEAPI_MAX_DOWNLOAD_MB.",
            )


def _check_type(head: bytes, shown: str) -> None:
    if sniff_mime_type(head) not in TYPES:
        raise UnusableFileError(
            message=f"{shown} is none of {', '.join(TYPES.values())} by its own bytes, so it was"
            " not kept.",
            hint="Send the bytes of such a file as the body, and no form around them.",
        )


def _plain(name: str) -> str:
    """What is left of a name when all that a file system might mind is taken off."""
    last = re.split(r"[/\\]", name)[-1]
    stem = last.rpartition(".")[0] or last
    ascii_only = unicodedata.normalize("NFKD", stem[:200]).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", ascii_only.lower())
    return "-".join(words)[:_LONGEST_STEM].strip("-") or "upload"
