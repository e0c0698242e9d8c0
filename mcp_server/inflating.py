"""Undoes a compression nobody asked for, in pieces: however much it hides, little is held."""

import zlib
from collections.abc import Iterator

_PIECE_BYTES = 65_536
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # told apart by their own first bytes


class InflateError(ValueError):
    """It is compressed in a way that is not known here, or is not what it says."""


class Inflater:
    """Takes a body in pieces of any size as it came; gives it as it was meant."""

    def __init__(self, encoding: str) -> None:
        """Begin a body.

        Args:
            encoding: what its header `Content-Encoding` says; nothing where it says nothing.

        Raises:
            InflateError: it is none of gzip, deflate and identity.
        """
        self._named = encoding.strip().lower()
        if self._named not in {"", "identity", "gzip", "x-gzip", "deflate"}:
            raise InflateError(f"encoded as {self._named}, which was not asked for")
        self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What a piece stands for, in pieces of 64 KiB at most.

        Raises:
            InflateError: it is no such data.
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
                raise InflateError(f"encoded as {self._named}, but it is none") from None
            yield piece
            chunk = self._stream.unused_data or self._stream.unconsumed_tail
