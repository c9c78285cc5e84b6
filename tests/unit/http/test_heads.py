"""Reading heads and chunked bodies, without a socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.http.chunked import ChunkDecoder
from lambent.http.head import Refusal, read_head
from lambent.http.status import date_line, error_body, status_line


def test_a_head_is_taken_apart() -> None:
    head = read_head(
        b"POST /2015-03-31/functions/a%3Ab/invocations?Qualifier=1&x HTTP/1.1\r\nHost: a:1\r\nX-One:  1 \r\n"
        b"x-one: 2\r\nContent-Length: 12\r\nExpect: 100-Continue\r\nX-Empty:\r\n\r\n",
        100,
    )
    assert (head.method, head.target) == ("POST", b"/2015-03-31/functions/a%3Ab/invocations?Qualifier=1&x")
    assert (head.path, head.query) == (b"/2015-03-31/functions/a%3Ab/invocations", b"Qualifier=1&x")
    assert (head.length, head.chunked, head.continues, head.keep_alive, head.minor) == (12, False, True, True, 1)
    assert head.headers[1:3] == [(b"x-one", b"1"), (b"x-one", b"2")]
    assert head.header(b"x-one") == b"1", "the first of a name"
    assert head.header(b"x-empty") == b""
    assert head.header(b"x-none") is None


@pytest.mark.parametrize(
    ("line", "fields", "keep_alive"),
    [
        (b"GET / HTTP/1.1", b"", True),
        (b"GET / HTTP/1.1", b"Connection: close\r\n", False),
        (b"GET / HTTP/1.1", b"Connection: Foo, CLOSE\r\n", False),
        (b"GET / HTTP/1.1", b"Connection: foo\r\nConnection: close\r\n", False),
        (b"GET / HTTP/1.1", b"Connection: keep-alive\r\n", True),
        (b"GET / HTTP/1.0", b"", False),
        (b"GET / HTTP/1.0", b"Connection: Keep-Alive\r\n", True),
        (b"GET / HTTP/1.0", b"Connection: keep-alive, close\r\n", False),
    ],
)
def test_persistence(line: bytes, fields: bytes, keep_alive: bool) -> None:
    assert read_head(line + b"\r\nHost: a\r\n" + fields + b"\r\n", 100).keep_alive is keep_alive


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(garbage: bytes) -> None:
    for raw in (garbage, b"GET / HTTP/1.1\r\nHost: a\r\n" + garbage, b"GET /" + garbage + b" HTTP/1.1\r\nHost: a"):
        try:
            head = read_head(raw + b"\r\n\r\n", 50)
        except Refusal as refusal:
            assert refusal.status in (400, 417, 431, 501, 505)  # noqa: PT017
        else:
            assert head.path[:1] == b"/" or head.path == b"*"
            assert not (head.chunked and head.length)


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    st.binary(max_size=20),
    st.lists(st.integers(1, 30), max_size=40),
)
def test_chunks_survive_any_split(chunks: list[bytes], rest: bytes, cuts: list[int]) -> None:
    data = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nX-T: 1 \r\n\r\n"
    wire = data + rest
    decoder = ChunkDecoder(256, 1_000)
    body, behind = b"", b""
    for cut in [*cuts, len(wire)]:
        part, wire = wire[:cut], wire[cut:]
        if decoder.done:
            behind += part
            continue
        pieces, left = decoder.feed(part)
        body += b"".join(pieces)
        behind += left
    assert (body, behind, decoder.done) == (b"".join(chunks), rest, True)
    assert decoder.trailers == [(b"x-t", b"1")]


@given(st.binary(max_size=60))
def test_any_chunks_are_read_or_refused(garbage: bytes) -> None:
    decoder = ChunkDecoder(16, 100)
    try:
        decoder.feed(garbage)
    except Refusal as refusal:
        assert refusal.status in (400, 431)  # noqa: PT017
    assert len(decoder._line) <= 200


def test_status_lines_and_dates() -> None:
    assert status_line(200) == b"HTTP/1.1 200 OK\r\n"
    assert status_line(299) == b"HTTP/1.1 299 \r\n"
    for status in (100, 199, 600):
        with pytest.raises(ValueError):
            status_line(status)
    assert date_line(784_111_777_000) == b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    assert error_body('a "b"') == b'{"message":"a \\"b\\""}'
