"""The chunked coding reads the same however it is split, and its short way is as strict as its long one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.http import chunked
from lambent.http.chunked import SIZES_MAX, ChunkDecoder
from lambent.http.head import Refusal

LINES = [b"%x", b"%X", b"00%x", b"%x;a=b"]


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from(LINES), st.binary(min_size=1, max_size=30)), max_size=12),
    st.lists(st.integers(1, 50), max_size=30),
)
def test_any_split_reads_the_same(chunks: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    data = b"".join(line % len(chunk) + b"\r\n" + chunk + b"\r\n" for line, chunk in chunks)
    data += b"0\r\nA: b\r\n\r\nnext"
    decoder = ChunkDecoder(256, 1_000)
    body, rest = b"", b""
    for cut in [*cuts, len(data)]:
        if decoder.done:
            break
        pieces, rest = decoder.feed(data[:cut])
        assert all(pieces)
        body += b"".join(pieces)
        data = data[cut:]
    assert decoder.done
    assert body == b"".join(chunk for _, chunk in chunks)
    assert decoder.trailers == [(b"a", b"b")]
    assert rest + data == b"next"


def test_whole_chunks_of_one_read_are_one_piece_each() -> None:
    decoder = ChunkDecoder(256, 1_000)
    for _ in range(2):  # the second time their sizes are known
        pieces, _ = decoder.feed(b"3\r\nabc\r\n1\r\nd\r\n3\r\nefg\r\n")
        assert pieces == [b"abc", b"d", b"efg"]


@pytest.mark.parametrize("data", [b"3\r\nabcd\r\n", b"3\r\nabc\n\n", b"3\nabc\r\n", b" 3\r\nabc\r\n", b"+3\r\nabc\r\n"])
def test_a_size_that_is_known_excuses_nothing(data: bytes) -> None:
    decoder = ChunkDecoder(256, 1_000)
    decoder.feed(b"3\r\nabc\r\n" * 2)
    with pytest.raises(Refusal):
        decoder.feed(data)


def test_what_is_remembered_is_bounded() -> None:
    decoder = ChunkDecoder(256, 1_000)
    for size in range(1, SIZES_MAX + 100):
        decoder.feed(b"%x\r\n" % size + b"x" * size + b"\r\n")
        assert len(chunked._sizes) <= SIZES_MAX
    assert b"0\r\n" not in chunked._sizes
