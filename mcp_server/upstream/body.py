"""Reads a response body within limits: decompresses it, and cuts base64 files out of its JSON.

However large the answer or the file in it, little is held in memory.
"""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

_PIECE_BYTES = 65_536
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # told apart by their own first bytes


class DecompressionError(ValueError):
    """It is compressed in a way that is not known here, or is not what it says."""


class Decompressor:
    """Takes a body in pieces of any size as it came; gives it as it was meant."""

    def __init__(self, encoding: str) -> None:
        """Begin a body.

        Args:
            encoding: what its header `Content-Encoding` says; nothing where it says nothing.

        Raises:
            DecompressionError: it is none of gzip, deflate and identity.
        """
        self._named = encoding.strip().lower()
        if self._named not in {"", "identity", "gzip", "x-gzip", "deflate"}:
            raise DecompressionError(f"encoded as {self._named}, which was not asked for")
        self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What a piece stands for, in pieces of 64 KiB at most.

        Raises:
            DecompressionError: it is no such data.
        """
        if self._named in {"", "identity"}:
            yield chunk
            return
        piece = b""
        while chunk or len(piece) == _PIECE_BYTES:  # a full piece may have left some in the stream
            if self._stream.eof:  # a gzip body may have several members
                self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
            try:
                piece = self._stream.decompress(chunk, _PIECE_BYTES)
            except zlib.error:
                raise DecompressionError(f"encoded as {self._named}, but it is none") from None
            yield piece
            chunk = self._stream.unused_data or self._stream.unconsumed_tail


_MAX_FILES = 16
_MAX_DATA_URL_HEAD_BYTES = 200
_WHITESPACE = b" \t\r\n"
_QUOTE_OR_ESCAPE = re.compile(rb'["\\]')
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")


class ExtractionError(ValueError):
    """The stream is too long, breaks off inside a string, or holds no base64 where it should."""


class JsonExtractor:
    """Takes JSON in pieces of any size; keeps it, but for the values of some keys.

    Each string that is the value of one of `keys`, anywhere in the tree, is decoded into a file
    of its own as it arrives, and `"cut:<n>"` stands in its place, n counting `files`. Such a
    string may be a data URL, use the URL-safe alphabet, or leave out its padding. A value that is
    no string stays as it is. A key written with escapes is not recognised: it counts as text.

    The caller closes `files`, after an error too; each is left at its end.
    """

    def __init__(
        self,
        keys: frozenset[str],
        open_file: Callable[[], BinaryIO],
        *,
        limit_bytes: int = 8 * 1024 * 1024,
        file_limit_bytes: int,
    ) -> None:
        """`limit_bytes` is for the JSON that remains, `file_limit_bytes` for all files together."""
        self.files: list[BinaryIO] = []
        self._keys = {key.encode() for key in keys}
        self._open_file = open_file
        self._limit_bytes = limit_bytes
        self._file_bytes_left = file_limit_bytes
        self._kept = bytearray()
        self._read_on = self._read_gap
        self._gap = b""  # what stood since the last string, without spaces; two bytes say enough
        self._text = slice(0, 0)  # where in `_kept` the last string is
        self._escape = b""  # one that has begun and not ended
        self._decoder = _Decoder(self._write)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            ExtractionError: and nothing more can be fed.
        """
        at = 0
        while at < len(chunk):
            at = self._read_on(chunk, at)

    def finish(self) -> bytes:
        """The JSON that remains. Whether it is JSON is for its parser to say.

        Raises:
            ExtractionError: the stream broke off inside a string.
        """
        if self._read_on != self._read_gap:
            raise ExtractionError("The answer breaks off inside a string.")
        return bytes(self._kept)

    def _read_gap(self, chunk: bytes, at: int) -> int:
        """Read what stands between two strings."""
        quote = chunk.find(b'"', at)
        end = len(chunk) if quote < 0 else quote
        self._keep(chunk[at:end])
        self._gap = (self._gap + chunk[at:end].strip(_WHITESPACE))[:2]
        if quote < 0:
            return end
        if self._gap == b":" and bytes(self._kept[self._text]) in self._keys:
            self._read_on = self._read_base64
            self._begin_file()
        else:
            self._read_on = self._read_text
            self._keep(b'"')
            self._text = slice(len(self._kept), None)
        self._gap = b""
        return end + 1

    def _read_text(self, chunk: bytes, at: int) -> int:
        """Read a string that is kept."""
        if self._escape:  # whatever follows the backslash can't end the string
            self._escape = b""
            self._keep(chunk[at : at + 1])
            return at + 1
        mark = _QUOTE_OR_ESCAPE.search(chunk, at)
        end = mark.end() if mark else len(chunk)
        self._keep(chunk[at:end])
        if mark and mark[0] == b'"':
            self._text = slice(self._text.start, len(self._kept) - 1)
            self._read_on = self._read_gap
        elif mark:
            self._escape = b"\\"
        return end

    def _read_base64(self, chunk: bytes, at: int) -> int:
        """Read a string that is cut out."""
        if self._escape:
            return self._read_escape(chunk, at)
        mark = _QUOTE_OR_ESCAPE.search(chunk, at)
        end = mark.start() if mark else len(chunk)
        self._decoder.feed(chunk[at:end])
        if mark is None:
            return end
        if mark[0] == b'"':
            self._decoder.finish()
            self._read_on = self._read_gap
        else:
            self._escape = b"\\"
        return end + 1

    def _read_escape(self, chunk: bytes, at: int) -> int:
        r"""Read on in an escape of two bytes (`\/`) or six (`\u002f`)."""
        self._escape += chunk[at : at + 1]
        if len(self._escape) == (6 if self._escape[1:2] == b"u" else 2):
            try:
                character = json.loads(b'"%b"' % self._escape).encode("ascii")
            except ValueError:
                raise ExtractionError(
                    "A string that should be base64 holds something else."
                ) from None
            self._decoder.feed(character)
            self._escape = b""
        return at + 1

    def _begin_file(self) -> None:
        if len(self.files) == _MAX_FILES:
            raise ExtractionError(f"The answer holds more than {_MAX_FILES} files.")
        self._keep(b'"cut:%d"' % len(self.files))
        self.files.append(self._open_file())
        self._decoder = _Decoder(self._write)

    def _keep(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) > self._limit_bytes:
            raise ExtractionError(f"The answer is longer than {self._limit_bytes} bytes.")

    def _write(self, data: bytes) -> None:
        self._file_bytes_left -= len(data)
        if self._file_bytes_left < 0:
            raise ExtractionError("The files in the answer are larger than allowed.")
        self.files[-1].write(data)


class _Decoder:
    """Decodes one base64 text that comes in pieces."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._rest = b""  # not decoded yet: less than a group of four, or the head of a data URL
        self._in_head = True
        self._padded = False

    def feed(self, text: bytes) -> None:
        self._rest += text.translate(_FROM_URL_SAFE, delete=_WHITESPACE)
        if self._in_head:
            self._skip_head()
        if not self._in_head:
            whole = len(self._rest) // 4 * 4
            self._decode(self._rest[:whole])
            self._rest = self._rest[whole:]

    def finish(self) -> None:
        self._decode(self._rest + b"=" * (-len(self._rest) % 4))

    def _skip_head(self) -> None:
        """Skip `data:image/jpeg;base64,` if there is one, once enough is here to know."""
        if not self._rest.startswith(b"data:"[: len(self._rest)]):
            self._in_head = False
            return
        head, comma, rest = self._rest.partition(b",")
        if len(head) > _MAX_DATA_URL_HEAD_BYTES or (comma and not head.endswith(b";base64")):
            raise ExtractionError("A data URL in the answer is not base64.")
        if comma:
            self._rest, self._in_head = rest, False

    def _decode(self, text: bytes) -> None:
        if not text:
            return
        if self._padded:
            raise ExtractionError("A string that should be base64 goes on after its end.")
        self._padded = text.endswith(b"=")
        try:
            self._write(base64.b64decode(text, validate=True))
        except binascii.Error:
            raise ExtractionError("A string that should be base64 holds something else.") from None
