"""Frames survive any split, and nothing a runtime writes is more than refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.domain.limits import INVOKE_RESPONSE_BYTES_MAX
from lambent.environments.channel import RuntimeEvent
from lambent.runtime_api.frames import (
    CHUNK,
    END,
    ERROR,
    INIT_ERROR,
    LAST_ERROR,
    READY,
    RESPONSE,
    SNAPSHOT,
    STREAM,
    STREAM_ERROR,
    VIEW_BYTES,
    Chunks,
    Frame,
    FrameParser,
    MalformedFrame,
    encode_invoke,
)


def wire(kind: int, names: tuple[bytes, ...] = (), body: bytes = b"") -> bytes:
    payload = b"".join(struct.pack("<H", len(name)) + name for name in names) + body
    return struct.pack("<IB", 1 + len(payload), kind) + payload


FRAMES = [
    (wire(SNAPSHOT, (), b'["a thread"]'), Frame(SNAPSHOT, (), b'["a thread"]', 12)),
    (wire(READY), Frame(READY, (), b"", 0)),
    (
        wire(RESPONSE, (b"id-1", b"application/json"), b'{"a":1}'),
        Frame(RESPONSE, ("id-1", "application/json"), b'{"a":1}', 7),
    ),
    (wire(RESPONSE, (b"", b"")), Frame(RESPONSE, ("", ""), b"", 0)),
    (wire(ERROR, (b"id-2", "Runtime.Ä".encode()), b"x" * 300), Frame(ERROR, ("id-2", "Runtime.Ä"), b"x" * 300, 300)),
    (wire(LAST_ERROR, (b"id-3", b"Runtime.X"), b"{}"), Frame(LAST_ERROR, ("id-3", "Runtime.X"), b"{}", 2)),
    (wire(INIT_ERROR, (b"Runtime.X",), b"null"), Frame(INIT_ERROR, ("Runtime.X",), b"null", 4)),
    (wire(STREAM, (b"id-4", b"text/plain")), Frame(STREAM, ("id-4", "text/plain"), b"", 0)),
    (wire(END), Frame(END, (), b"", 0)),
    (wire(STREAM_ERROR, (b"Runtime.X",), b"{}"), Frame(STREAM_ERROR, ("Runtime.X",), b"{}", 2)),
]
CHUNKS = [b"", b"a", b"bcd", bytes((CHUNK,)) * 9, b"e" * 300]


@settings(max_examples=200)
@given(st.lists(st.sampled_from(FRAMES), max_size=8), st.lists(st.integers(1, 40), max_size=40))
def test_any_split_reads_the_same(frames: list[tuple[bytes, Frame]], cuts: list[int]) -> None:
    data = b"".join(encoded for encoded, _ in frames)
    parser = FrameParser()
    got: list[Frame] = []
    for cut in [*cuts, len(data)]:
        got += parser.feed(data[:cut])
        data = data[cut:]
    assert got == [frame for _, frame in frames]


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from([*range(len(FRAMES)), *CHUNKS]), max_size=12), st.lists(st.integers(1, 40), max_size=40)
)
def test_chunks_between_frames_come_through_any_split(given: list[int | bytes], cuts: list[int]) -> None:
    """In order, nothing of a chunk kept back, and each piece part of one chunk."""
    data = b"".join(FRAMES[one][0] if isinstance(one, int) else wire(CHUNK, (), one) for one in given)
    parser = FrameParser()
    got: list[Frame | bytes] = []
    for cut in [*cuts, len(data)]:
        for found in parser.feed(data[:cut]):
            if isinstance(found, Chunks):
                assert found.size == sum(map(len, found.pieces))
                got += [bytes(piece) for piece in found.pieces]
            else:
                got.append(found)
        data = data[cut:]
        if parser._is_chunk:
            assert not parser._kept
    expected: list[Frame | bytes] = []
    for one in given:
        if isinstance(one, int):
            expected.append(FRAMES[one][1])
        elif one:
            expected.append(one)
    assert _joined(got) == _joined(expected)


def _joined(found: list[Frame | bytes]) -> list[Frame | bytes]:
    """With neighbouring pieces put together."""
    joined: list[Frame | bytes] = []
    for one in found:
        if joined and isinstance(one, bytes) and isinstance(joined[-1], bytes):
            joined[-1] += one
        else:
            joined.append(one)
    return joined


def test_whole_chunks_of_one_read_come_together_one_piece_each() -> None:
    read = wire(STREAM, (b"id", b"")) + b"".join(wire(CHUNK, (), b"%d" % n) for n in range(50)) + wire(END)
    stream, chunks, end = FrameParser().feed(read)
    assert (stream.type, chunks.type, end.type) == (STREAM, CHUNK, END)
    assert isinstance(chunks, Chunks)
    assert chunks.pieces == [b"%d" % n for n in range(50)]


def test_a_large_chunk_is_passed_on_as_it_comes_and_not_copied() -> None:
    parser = FrameParser()
    size = 3 * VIEW_BYTES
    data = wire(CHUNK, (), b"x" * size)
    sizes = []
    for at in range(0, len(data), VIEW_BYTES + 5):
        (chunks,) = parser.feed(data[at : at + VIEW_BYTES + 5])
        assert isinstance(chunks, Chunks)
        (piece,) = chunks.pieces
        assert isinstance(piece, memoryview) is (len(piece) >= VIEW_BYTES)
        sizes.append(len(piece))
    assert sum(sizes) == size
    assert len(sizes) == 3


@pytest.mark.parametrize("kind", [READY, STREAM, END])
def test_what_has_no_body_has_none(kind: int) -> None:
    names = (b"a", b"b") if kind == STREAM else ()
    with pytest.raises(MalformedFrame):
        FrameParser().feed(wire(kind, names, b"x"))


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_garbage_is_refused_or_awaited(parts: list[bytes]) -> None:
    parser = FrameParser()
    try:
        for part in parts:
            parser.feed(part)
    except MalformedFrame:
        pass
    assert len(parser._kept) <= 400


@pytest.mark.parametrize("split", [1_000, 65_536, 10**9])
def test_the_largest_response_fits_and_one_byte_more_does_not(split: int) -> None:
    names = (b"id", b"application/json")
    parser = FrameParser()
    for size in (INVOKE_RESPONSE_BYTES_MAX, INVOKE_RESPONSE_BYTES_MAX + 1, INVOKE_RESPONSE_BYTES_MAX + 100_000):
        data = wire(RESPONSE, names, b"x" * size) + wire(READY)
        frames = [frame for at in range(0, len(data), split) for frame in parser.feed(data[at : at + split])]
        assert [frame.type for frame in frames] == [RESPONSE, READY]
        assert frames[0].size == size
        assert frames[0].is_too_large is (size > INVOKE_RESPONSE_BYTES_MAX)
        assert len(frames[0].body) == (0 if frames[0].is_too_large else size)
        assert frames[0].names == ("id", "application/json")
        assert not parser._kept


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<I", 0),
        wire(99),
        wire(READY, (), b"x"),
        struct.pack("<IBH", 3, INIT_ERROR, 10),
        struct.pack("<IB", 1, RESPONSE),
        wire(INIT_ERROR, (b"x" * 5_000,), b""),
        wire(INIT_ERROR, (b"\xff",), b""),
    ],
)
def test_malformed_frames(data: bytes) -> None:
    with pytest.raises(MalformedFrame):
        FrameParser().feed(data)


def test_the_invoke_frame() -> None:
    event = RuntimeEvent("id-ä", 2**40, "arn:x", "Root=1", '{"c":1}', "", "tenant", "application/json", b"[1]")
    data = encode_invoke(event) + event.body
    length, kind, deadline, *lengths = struct.unpack_from("<IBQ6H", data)
    assert (length, kind, deadline) == (len(data) - 4, 1, 2**40)
    at = struct.calcsize("<IBQ6H")
    strings = []
    for size in lengths:
        strings.append(data[at : at + size].decode())
        at += size
    assert strings == ["id-ä", "arn:x", "Root=1", '{"c":1}', "", "tenant"]
    assert data[at:] == b"[1]"
    event.client_context = "x" * 65_536
    with pytest.raises(ValueError):
        encode_invoke(event)
