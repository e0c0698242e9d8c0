"""Decompression: the same body from pieces of any size, and no step gives more than 64 KiB."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.upstream.body import DecompressionError, Decompressor


def pieces(body: bytes, encoding: str, size: int) -> list[bytes]:
    decompressor = Decompressor(encoding)
    chunks = (body[at : at + size] for at in range(0, len(body), size))
    return [piece for chunk in chunks for piece in decompressor.feed(chunk)]


@given(st.lists(st.binary(), max_size=4), st.integers(1, 50))
def test_a_body_is_the_same_in_whatever_pieces_it_comes(members: list[bytes], size: int) -> None:
    body = b"".join(members)
    packed = b"".join(map(gzip.compress, members))

    assert body == b"".join(pieces(packed, "gzip", size))
    assert body == b"".join(pieces(zlib.compress(body), "deflate", size))
    assert body == b"".join(pieces(body, "", size))


@pytest.mark.parametrize("length", [65_535, 65_536, 65_537, 131_072, 5_000_000])
def test_no_step_gives_more_than_64_kib_and_nothing_is_left_inside(length: int) -> None:
    given = pieces(gzip.compress(bytes(length)), "gzip", 1 << 20)

    assert max(map(len, given)) <= 65_536
    assert bytes(length) == b"".join(given)


def test_what_is_not_known_or_not_what_it_says_is_refused() -> None:
    with pytest.raises(DecompressionError, match="br"):
        Decompressor("br")
    with pytest.raises(DecompressionError, match="gzip"):
        pieces(b"plain", "gzip", 9)
