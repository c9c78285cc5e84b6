"""Messages with two readings get none: 400 (or the status that fits) and the end of the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.http.http_world import World

from lambent.http import Buffered, Exchange, listen, serve

Run = Callable[..., None]
H = b"Host: a\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

REFUSED: dict[str, tuple[bytes, int]] = {
    "length and coding": (
        b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "coding and length": (
        b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two lengths": (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
    "one length twice": (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "a list of lengths": (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    "a signed length": (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: +3\r\n\r\nabc", 400),
    "a negative length": (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: -3\r\n\r\nabc", 400),
    "a hexadecimal length": (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 0x3\r\n\r\nabc", 400),
    "an empty length": (b"POST / HTTP/1.1\r\n" + H + b"Content-Length:\r\n\r\nabc", 400),
    "an endless length": (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 99999999999999999999\r\n\r\nabc", 400),
    "coding in a folded line": (b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
    "another coding": (b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "two codings": (b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "coding twice": (
        b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        400,
    ),
    "coding in 1.0": (b"POST / HTTP/1.0\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "space before colon": (b"POST / HTTP/1.1\r\n" + H + b"Content-Length : 3\r\n\r\nabc", 400),
    "folded field": (b"GET / HTTP/1.1\r\n" + H + b"X: a\r\n b\r\n\r\n", 400),
    "space before the first field": (b"GET / HTTP/1.1\r\n " + H + b"\r\n", 400),
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "bare LF in a field": (b"GET / HTTP/1.1\r\n" + H + b"X: a\nY: b\r\n\r\n", 400),
    "bare CR in a field": (b"GET / HTTP/1.1\r\n" + H + b"X: a\rY: b\r\n\r\n", 400),
    "NUL in a value": (b"GET / HTTP/1.1\r\n" + H + b"X: a\0b\r\n\r\n", 400),
    "NUL in the target": (b"GET /a\0b HTTP/1.1\r\n" + H + b"\r\n", 400),
    "control character": (b"GET / HTTP/1.1\r\n" + H + b"X: a\x01\r\n\r\n", 400),
    "field without colon": (b"GET / HTTP/1.1\r\n" + H + b"abc\r\n\r\n", 400),
    "field without name": (b"GET / HTTP/1.1\r\n" + H + b": abc\r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\n" + H + b"\r\n", 400),
    "tabs": (b"GET\t/\tHTTP/1.1\r\n" + H + b"\r\n", 400),
    "space in the target": (b"GET /a b HTTP/1.1\r\n" + H + b"\r\n", 400),
    "space after the version": (b"GET / HTTP/1.1 \r\n" + H + b"\r\n", 400),
    "raw bytes in the target": (b"GET /\xc3\xa9 HTTP/1.1\r\n" + H + b"\r\n", 400),
    "fragment": (b"GET /a#b HTTP/1.1\r\n" + H + b"\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "contradicting target": (b"GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no target": (b"GET HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "CONNECT": (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "unknown method": (b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
    "RTSP": (b"DESCRIBE / RTSP/1.0\r\nHost: a\r\n\r\n", 400),
    "another expectation": (b"POST / HTTP/1.1\r\n" + H + b"Expect: a-miracle\r\nContent-Length: 3\r\n\r\nabc", 417),
}
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
BAD_CHUNKS = {
    "size with prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "signed size": b"+3\r\nabc\r\n0\r\n\r\n",
    "space before size": b" 3\r\nabc\r\n0\r\n\r\n",
    "space after size": b"3 \r\nabc\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "not a number": b"xyz\r\nabc\r\n0\r\n\r\n",
    "a size of 17 digits": b"00000000000000003\r\nabc\r\n0\r\n\r\n",
    "bare LF after size": b"3\nabc\r\n0\r\n\r\n",
    "bare CR in extension": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "bare LF after data": b"3\r\nabc\n0\r\n\r\n",
    "longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "endless extension": b"3;" + b"a" * 400 + b"\r\nabc\r\n0\r\n\r\n",
    "bad trailer": b"0\r\nX : y\r\n\r\n",
    "folded trailer": b"0\r\nX: y\r\n z\r\n\r\n",
    "bare LF end": b"0\r\n\n",
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_ambiguous_heads(run: Run, name: str) -> None:
    message, expected = REFUSED[name]

    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(message + SMUGGLED)
        status, fields, body = await client.reply()
        assert (status, fields[b"connection"], fields[b"content-type"]) == (expected, b"close", b"application/json")
        assert body.startswith(b'{"message":"')
        assert await client.ended() == b""
        assert world.app.seen == []

    run(scenario)


@pytest.mark.parametrize("name", list(BAD_CHUNKS))
def test_bad_chunks(run: Run, name: str) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(CHUNKED + BAD_CHUNKS[name] + SMUGGLED)
        assert (await client.reply())[0] == 400
        assert await client.ended() == b""
        assert world.app.seen == []

    run(scenario)


def test_forms_of_the_target(run: Run) -> None:
    async def scenario(world: World) -> None:
        paths: list[tuple[bytes, bytes]] = []

        def handle(exchange: Exchange) -> None:
            paths.append((exchange.request.path, exchange.request.query))
            exchange.respond(200)

        world.app.handle = handle  # type: ignore[method-assign]
        client = await world.connect()
        for target in (b"/a%2Fb?c=d?e", b"http://a/x?y", b"http://A?y", b"/"):
            client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
            assert (await client.reply())[0] == 200
        client.send(b"\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.reply())[0] == 200
        assert paths == [(b"/a%2Fb", b"c=d?e"), (b"/x", b"y"), (b"/", b"y"), (b"/", b""), (b"*", b"")]

    run(scenario)


TOKENS = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"POST /x HTTP/1.1",
        b"\r\n",
        b"\n",
        b"\r",
        b"Host: a",
        b"Content-Length: 3",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"Expect: 100-continue",
        b"abc",
        b"0",
        b"3",
        b" ",
        b":",
        b"\x00",
        b"\r\n\r\n",
        b"0\r\n\r\n",
        b"3\r\nabc\r\n",
        b"\xff",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
)


class Recorder:
    """Notes every request it is handed."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes, bytes]] = []

    def head(self, exchange: Exchange) -> Buffered:
        return Buffered(100)

    def handle(self, exchange: Exchange) -> None:
        request = exchange.request
        self.seen.append((request.method, request.target, request.body))
        exchange.respond(200, (), b"ok")

    def too_large(self, exchange: Exchange, limit: int, declared: int | None) -> None:
        exchange.respond(413)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pieces=st.lists(st.one_of(TOKENS, st.binary(max_size=6)), max_size=25),
    cuts=st.lists(st.integers(1, 40), max_size=8),
)
def test_whatever_comes_the_split_does_not_matter_and_nothing_breaks(pieces: list[bytes], cuts: list[int]) -> None:
    """The same bytes in one piece and in many: the same requests, the same answers, no exception in the loop."""
    data = b"".join(pieces)

    async def play(parts: list[bytes]) -> tuple[list[tuple[str, bytes, bytes]], list[bytes]]:
        recorder = Recorder()
        reports: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
        server = await serve(recorder, listen("127.0.0.1", 0))
        reader, writer = await asyncio.open_connection(*server.addresses[0][:2])
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        writer.write_eof()
        async with asyncio.timeout(5):
            try:
                answer = await reader.read()
            except ConnectionResetError:
                answer = b""
        writer.close()
        await server.drain(1.0)
        assert reports == []
        return recorder.seen, [
            line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1") and b" 100 " not in line
        ]

    parts = []
    rest = data
    for cut in cuts:
        parts.append(rest[:cut])
        rest = rest[cut:]
    parts.append(rest)
    whole = asyncio.run(play([data]))
    split = asyncio.run(play([part for part in parts if part]))
    assert whole == split
