"""Response bodies in constant memory: decompression, and base64 files taken out of JSON."""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Generic, TypeVar

_PIECE_BYTES = 65_536

F = TypeVar("F", bound=BinaryIO)

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # zlib detects which of the two it is


class DecompressionError(ValueError):
    """The encoding is not supported, or the data does not have it."""


class Decompressor:
    """Decompresses a body that arrives in pieces of any size."""

    def __init__(self, encoding: str) -> None:
        """Begin a body.

        Args:
            encoding: the header `Content-Encoding`, or "" if there is none.

        Raises:
            DecompressionError: it is none of gzip, deflate and identity.
        """
        self._encoding = encoding.strip().lower()
        if self._encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
            raise DecompressionError(f"encoded as {self._encoding}, which was not asked for")
        self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The decompressed data of a chunk, in pieces of at most 64 KiB.

        Raises:
            DecompressionError: the data is not compressed in this way.
        """
        if self._encoding in {"", "identity"}:
            yield chunk
            return
        piece = b""
        while chunk or len(piece) == _PIECE_BYTES:  # after a full piece there may be more
            if self._stream.eof:  # a gzip body may have several members
                self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
            try:
                piece = self._stream.decompress(chunk, _PIECE_BYTES)
            except zlib.error:
                raise DecompressionError(f"encoded as {self._encoding}, but it is none") from None
            yield piece
            chunk = self._stream.unused_data or self._stream.unconsumed_tail


_MAX_FILES = 16
_MAX_SPACES = 64  # on each side of a colon; JSON sets no limit
_MAX_DATA_URL_HEAD_BYTES = 200
_WHITESPACE = b" \t\r\n"
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_ESCAPE = re.compile(rb"\\(?:u.{4}|[^u])", re.DOTALL)
_UNFINISHED_ESCAPE = re.compile(rb"\\(?:u.{0,3})?\Z", re.DOTALL)


class ExtractionError(ValueError):
    """The JSON or its files are too large, it breaks off, or base64 is expected and not there."""


class Base64Extractor(Generic[F]):
    """Keeps JSON that arrives in pieces of any size, except for the values of some keys.

    Each string that is the value of one of `keys`, anywhere in the tree, is decoded into a file
    of its own as it arrives, and is replaced by `"file:<n>"`, an index into `files`. Such a string
    may be a data URL, use the URL-safe alphabet, or have no padding. A value that is not a string
    is kept. A key is not recognised if it is written with escapes, or with more than 64 spaces
    before or after its colon: then its value is kept, and counts for `limit_bytes`.

    The caller closes `files`, also after an error; each is left at its end.
    """

    def __init__(
        self,
        keys: frozenset[str],
        open_file: Callable[[], F],
        *,
        limit_bytes: int = 8 * 1024 * 1024,
        file_limit_bytes: int,
    ) -> None:
        """`limit_bytes` is for the JSON that is kept, `file_limit_bytes` for all files together."""
        self.files: list[F] = []
        self.file_bytes = 0  # of all files together
        self._open_file = open_file
        self._limit_bytes = limit_bytes
        self._file_limit_bytes = file_limit_bytes
        self._kept = bytearray()
        self._decoder: _Base64Decoder | None = None  # while in a string that is extracted
        # The quote of a key never follows a backslash; one inside a string always does. So in
        # valid JSON this matches nothing but a key and the start of its value. (It looks back from
        # after the quote: `re` searches many times faster for what begins with a plain character.)
        names = b"|".join(re.escape(key.encode()) for key in keys) or rb"(?!)"
        spaces = rb"[ \t\r\n]{0,%d}" % _MAX_SPACES
        self._start = re.compile(rb'"(?<!\\")(?:%b)"%b:%b"' % (names, spaces, spaces))
        self._longest_start = len(names) + 2 * _MAX_SPACES + len(b'"":"')
        self._search_from = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            ExtractionError: and nothing more can be fed.
        """
        while chunk:
            chunk = self._keep(chunk) if self._decoder is None else self._extract(chunk)

    def finish(self) -> bytes:
        """The JSON that is kept. It is not checked further: that is for its parser.

        Raises:
            ExtractionError: the stream broke off inside a string.
        """
        quotes = re.sub(rb"\\.", b"", self._kept, flags=re.DOTALL).count(b'"')
        if self._decoder is not None or quotes % 2:
            raise ExtractionError("The answer breaks off inside a string.")
        return bytes(self._kept)

    def _keep(self, chunk: bytes) -> bytes:
        """Keep JSON up to the next string to extract; the rest is returned."""
        self._kept += chunk
        found = self._start.search(self._kept, self._search_from)
        rest = b""
        if found is None:
            # A match that is still incomplete begins in the last bytes.
            self._search_from = max(self._search_from, len(self._kept) - self._longest_start)
        else:
            end = found.end()
            rest = bytes(self._kept[end:])
            if len(self.files) == _MAX_FILES:
                raise ExtractionError(f"The answer holds more than {_MAX_FILES} files.")
            self._kept[end - 1 :] = b'"file:%d"' % len(self.files)
            self._search_from = len(self._kept)
            self.files.append(self._open_file())
            self._decoder = _Base64Decoder(self._write)
        if len(self._kept) > self._limit_bytes:
            raise ExtractionError(f"The answer is longer than {self._limit_bytes} bytes.")
        return rest

    def _extract(self, chunk: bytes) -> bytes:
        """Decode up to the end of the string; the rest is returned.

        The first quote is its end: an escaped one is an error, as its backslash is no base64.
        """
        assert self._decoder is not None
        text, quote, rest = chunk.partition(b'"')
        self._decoder.feed(text)
        if quote:
            self._decoder.finish()
            self._decoder = None
        return rest

    def _write(self, data: bytes) -> None:
        self.file_bytes += len(data)
        if self.file_bytes > self._file_limit_bytes:
            raise ExtractionError("The files in the answer are larger than allowed.")
        self.files[-1].write(data)


class _Base64Decoder:
    """Decodes the inside of one JSON string that arrives in pieces."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._rest = b""  # not decoded yet: less than four characters, an escape, a data URL's head
        self._in_head = True
        self._padded = False

    def feed(self, text: bytes) -> None:
        text = self._rest + text
        unfinished = _UNFINISHED_ESCAPE.search(text)
        end = unfinished.start() if unfinished else len(text)
        clean = _ESCAPE.sub(_character, text[:end]).translate(_FROM_URL_SAFE, delete=_WHITESPACE)
        if self._in_head:
            clean = self._without_head(clean)
        whole = 0 if self._in_head else len(clean) // 4 * 4
        self._decode(clean[:whole])
        self._rest = clean[whole:] + text[end:]

    def finish(self) -> None:
        self._decode(self._rest + b"=" * (-len(self._rest) % 4))

    def _without_head(self, text: bytes) -> bytes:
        """The text after `data:image/jpeg;base64,`; all of it while that may still be to come."""
        if not text.startswith(b"data:"[: len(text)]):
            self._in_head = False
            return text
        head, comma, rest = text.partition(b",")
        if len(head) > _MAX_DATA_URL_HEAD_BYTES or (comma and not head.endswith(b";base64")):
            raise ExtractionError("A data URL in the answer is not base64.")
        self._in_head = not comma
        return rest if comma else text

    def _decode(self, text: bytes) -> None:
        if not text:
            return
        if self._padded:
            raise ExtractionError("A string that should be base64 goes on after its end.")
        self._padded = text.endswith(b"=")
        try:
            self._write(base64.b64decode(text, validate=True))
        except binascii.Error:
            raise _not_base64() from None


def _character(escape: re.Match[bytes]) -> bytes:
    r"""What an escape means in JSON: `\/`, `\n` or `\u002f`."""
    try:
        character: str = json.loads(b'"%b"' % escape[0])
        return character.encode("ascii")
    except ValueError:
        raise _not_base64() from None


def _not_base64() -> ExtractionError:
    return ExtractionError("A string that should be base64 holds something else.")
