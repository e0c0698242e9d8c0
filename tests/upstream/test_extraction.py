"""Base64 files in JSON: however the bytes arrive, the same JSON and the same files come out."""

import base64
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcp_server.upstream.body import Base64Extractor, ExtractionError

KEYS = frozenset({"rawBytes", "encodedImage"})
FILE = bytes(range(256)) * 3
FILE_BASE64 = base64.b64encode(FILE).decode()


def new_extractor(
    keys: frozenset[str] = KEYS, limit_bytes: int = 10_000, file_limit_bytes: int = 10_000
) -> Base64Extractor[io.BytesIO]:
    return Base64Extractor(
        keys, io.BytesIO, limit_bytes=limit_bytes, file_limit_bytes=file_limit_bytes
    )


def extracted(document: str, at: tuple[int, ...] = ()) -> tuple[Any, list[bytes]]:
    """The JSON that is kept and the files that are taken out, of a document in pieces."""
    extractor = new_extractor()
    data = document.encode()
    for start, end in pairwise((0, *sorted(at), len(data))):
        extractor.feed(data[start:end])
    remaining = json.loads(extractor.finish())
    return remaining, [contents(extractor, n) for n in range(len(extractor.files))]


def contents(extractor: Base64Extractor[io.BytesIO], n: int) -> bytes:
    file = extractor.files[n]
    assert isinstance(file, io.BytesIO)
    return file.getvalue()


def extracted_in_memory(document: str) -> tuple[Any, list[bytes]]:
    """The same with everything in memory: what `Base64Extractor` must agree with."""
    files: list[bytes] = []

    def walk(node: Any) -> Any:
        if isinstance(node, list):
            return [walk(child) for child in node]
        if not isinstance(node, dict):
            return node
        walked = {}
        for key, value in node.items():
            if key in KEYS and isinstance(value, str):
                text = re.sub(r"^data:[^,]*,", "", value)
                files.append(base64.urlsafe_b64decode(text.translate({43: 45, 47: 95}) + "=="))
                walked[key] = f"file:{len(files) - 1}"
            else:
                walked[key] = walk(value)
        return walked

    return walk(json.loads(document)), files


def in_every_alphabet(data: bytes) -> list[str]:
    """The ways a vendor may write bytes in base64, as JSON strings."""
    plain = base64.b64encode(data).decode()
    escapes = {"/": r"\u002f", "=": r"\u003D", "+": r"\u002B"}
    return [
        json.dumps(plain),
        json.dumps(plain.rstrip("=")),
        json.dumps(base64.urlsafe_b64encode(data).decode()),
        json.dumps("data:image/jpeg;base64," + plain),
        json.dumps(plain).replace("/", r"\/"),
        "".join(escapes.get(character, character) for character in json.dumps(plain)),
    ]


written_files = st.binary(max_size=20).flatmap(
    lambda data: st.sampled_from(in_every_alphabet(data))
)
spaces = st.sampled_from(["", " ", "\n\t "])
other_keys = st.text(max_size=4).filter(lambda key: key not in KEYS).map(json.dumps)
file_keys = st.sampled_from(['"rawBytes"', '"encodedImage"'])
leaves = st.one_of(
    st.none().map(json.dumps),
    st.integers().map(str),
    st.text(max_size=8).map(json.dumps),
    st.text(max_size=8).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(['"file:0"', '"rawBytes"', r'"\\"', r'"\""', '"a:b"', '":"', "1e9", "true"]),
)


def grow(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Arrays and objects, with files among their members and spaces where JSON allows them."""

    def write_array(children: list[str], space: str) -> str:
        return f"[{space}" + f"{space},{space}".join(children) + f"{space}]"

    def write_object(members: dict[str, str], space: str) -> str:
        written = (f"{space}{key}{space}:{space}{value}" for key, value in members.items())
        return "{" + f"{space},".join(written) + f"{space}}}"

    no_strings = st.one_of(values, spaces.map(lambda space: f"[{space}]"))
    members = st.one_of(
        st.dictionaries(other_keys, values, max_size=3),
        st.dictionaries(file_keys, written_files, max_size=2),
        st.dictionaries(file_keys, no_strings.filter(lambda text: text[0] != '"'), max_size=2),
    )
    return st.one_of(
        st.builds(write_array, st.lists(values, max_size=3), spaces),
        st.builds(write_object, members, spaces),
    )


documents = st.recursive(leaves, grow, max_leaves=8)


@given(document=documents, at=st.lists(st.integers(0, 200), max_size=12))
@example(document='{"rawBytes":"' + FILE_BASE64 + '"}', at=[])
@settings(deadline=None)
def test_in_whatever_pieces_it_arrives_the_same_comes_out(document: str, at: list[int]) -> None:
    size = len(document.encode())

    outcome = extracted(document, tuple(place for place in at if place < size))

    assert extracted_in_memory(document) == outcome
    assert outcome == extracted(document, tuple(range(1, size)))


@pytest.mark.parametrize("written", in_every_alphabet(b"\xfb\xff\xbf\xfe?>"))
def test_base64_is_read_however_it_is_written_and_wherever_it_breaks(written: str) -> None:
    document = '{"a": [{"encodedImage" : ' + written + ' }], "b": "\\"file:0"}'

    outcomes = [extracted(document, (place,)) for place in range(1, len(document))]

    expected = {"a": [{"encodedImage": "file:0"}], "b": '"file:0'}, [b"\xfb\xff\xbf\xfe?>"]
    assert all(expected == outcome for outcome in outcomes)


def test_base64_in_lines_is_read() -> None:
    lines = "\\n".join(re.findall(".{1,76}", FILE_BASE64))

    assert ({"rawBytes": "file:0"}, [FILE]) == extracted('{"rawBytes": "' + lines + '"}')


def test_files_are_numbered_in_their_order() -> None:
    document = '{"operations": [{"rawBytes": "QQ=="}, {"rawBytes": "Qg=="}], "encodedImage": "Qw"}'

    remaining, files = extracted(document)

    assert [b"A", b"B", b"C"] == files
    assert {
        "operations": [{"rawBytes": "file:0"}, {"rawBytes": "file:1"}],
        "encodedImage": "file:2",
    } == remaining


def test_an_empty_string_becomes_an_empty_file() -> None:
    assert ({"rawBytes": "file:0"}, [b""]) == extracted('{"rawBytes": ""}')


@pytest.mark.parametrize("value", ["null", "3", "true", '["QQ=="]', '{"a": "QQ=="}'])
def test_a_value_that_is_no_string_stays(value: str) -> None:
    document = '{"rawBytes": ' + value + "}"

    assert (json.loads(document), []) == extracted(document)


def test_a_string_that_only_looks_like_a_place_holder_stays() -> None:
    document = '{"rawBytes": "QQ==", "other": "file:0", "list": ["rawBytes", "file:0"]}'

    remaining, files = extracted(document)

    assert {"rawBytes": "file:0", "other": "file:0", "list": ["rawBytes", "file:0"]} == remaining
    assert [b"A"] == files


def test_a_key_written_with_escapes_is_text_and_counts_as_such() -> None:
    document = r'{"rawB\u0079tes": "QQ=="}'

    assert ({"rawBytes": "QQ=="}, []) == extracted(document)


def test_what_arrives_is_written_before_the_rest_is_there() -> None:
    extractor = new_extractor()

    extractor.feed(b'{"rawBytes": "' + FILE_BASE64[:400].encode())

    assert contents(extractor, 0) == FILE[:300]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("Q", id="one character"),
        pytest.param("QQQQQ", id="one too many"),
        pytest.param("QQ==QQ==", id="padding in the middle"),
        pytest.param("QQ==QQ", id="more after the padding"),
        pytest.param("====", id="padding only"),
        pytest.param("QQQQ=", id="padding of nothing"),
        pytest.param("https://example.com/a.mp4", id="a link"),
        pytest.param("QQ\\u00e9=", id="an escaped letter"),
        pytest.param("QQ\\x==", id="no escape"),
        pytest.param("QQ\\ud800", id="half a character"),
        pytest.param("Q\u00e9", id="a letter"),
        pytest.param("data:image/png;base64", id="a data URL without data"),
        pytest.param("data:image/svg+xml,QQ==", id="a data URL in plain text"),
        pytest.param("data:" + "x" * 300 + ";base64,QQ==", id="a data URL with a long head"),
    ],
)
@pytest.mark.parametrize("piece_bytes", [1, 3, 1_000])
def test_what_is_no_base64_is_refused(value: str, piece_bytes: int) -> None:
    document = ('{"rawBytes": "' + value + '"}').encode()

    with pytest.raises(ExtractionError, match="base64"):
        feed_in_pieces(new_extractor(), document, piece_bytes)


def feed_in_pieces(
    extractor: Base64Extractor[io.BytesIO], document: bytes, piece_bytes: int
) -> None:
    starts = range(0, len(document), piece_bytes)
    feed_all(extractor, (document[start : start + piece_bytes] for start in starts))


def feed_all(extractor: Base64Extractor[io.BytesIO], pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        extractor.feed(piece)


@pytest.mark.parametrize("start", ['{"rawBytes": "QQ', '{"a": "b', '{"a', '{"rawBytes": "QQ\\'])
def test_a_stream_that_breaks_off_inside_a_string_is_refused(start: str) -> None:
    extractor = new_extractor()
    extractor.feed(start.encode())

    with pytest.raises(ExtractionError, match="breaks off"):
        extractor.finish()


def endless(start: bytes, more: bytes) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        yield start
        while True:
            yield more

    return pieces


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(endless(b"", b" "), id="spaces"),
        pytest.param(endless(b"[", b"1"), id="a number"),
        pytest.param(endless(b'["', b"text"), id="a string"),
        pytest.param(endless(b'{"', b"key"), id="a key"),
        pytest.param(endless(b'{"rawB\\u0079tes": "', b"QUFB"), id="a file under an escaped key"),
        pytest.param(endless(b'{"rawBytes": "', b"QUFB"), id="a file"),
        pytest.param(endless(b'{"rawBytes": "data:', b"QUFB"), id="the head of a data URL"),
        pytest.param(endless(b'{"a": [', b'{"rawBytes": ""},'), id="files"),
    ],
)
def test_a_stream_without_end_is_refused(pieces: Callable[[], Iterator[bytes]]) -> None:
    extractor = new_extractor()

    with pytest.raises(ExtractionError):
        feed_all(extractor, pieces())

    assert len(extractor.files) <= 16


def test_the_limits_are_exact() -> None:
    document = b'{"rawBytes": "QUFB", "encodedImage": "QUFB"}'
    remains = b'{"rawBytes": "file:0", "encodedImage": "file:1"}'
    exact = new_extractor(limit_bytes=len(remains), file_limit_bytes=6)

    exact.feed(document)

    assert remains == exact.finish()
    with pytest.raises(ExtractionError, match="longer than"):
        new_extractor(limit_bytes=len(remains) - 1).feed(document)
    with pytest.raises(ExtractionError, match="larger than"):
        new_extractor(file_limit_bytes=5).feed(document)


def test_without_keys_it_only_limits() -> None:
    document = b'{"rawBytes": "QUFB"}'
    extractor = new_extractor(keys=frozenset(), limit_bytes=len(document))

    extractor.feed(document)

    assert document == extractor.finish()
    assert [] == extractor.files
