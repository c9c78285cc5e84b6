"""Streamed responses of runtimes that speak the Runtime API: well formed, and every way in which they are not."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.integration.http.http_world import Client
from tests.integration.runtime_api.runtime_world import an_event
from tests.integration.runtime_api.test_http_door import API, NEXT, Place, error_of, post, running

OnLoop = Callable[[Callable[[], Awaitable[Any]]], None]
CLOSE = b"0\r\n\r\n"


def head(mode: bytes = b"streaming", *fields: bytes) -> bytes:
    """Of a streamed response, as the service's own clients send it."""
    return (
        b"POST %binvocation/id-1/response HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        b"Lambda-Runtime-Function-Response-Mode: %b\r\n"
        b"Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n%b\r\n"
        % (API, mode, b"".join(field + b"\r\n" for field in fields))
    )


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def trailers(*fields: bytes) -> bytes:
    return b"0\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


async def streaming(place: Place, *fields: bytes) -> Client:
    """A runtime that has begun to stream."""
    client, _ = await running(place)
    place.sink.calls.clear()
    client.send(head(b"streaming", *fields))
    await place.sink.after(1)
    return client


def test_chunks_are_passed_on_as_they_come(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client = await streaming(place, b"Content-Type: text/plain")
            assert place.sink.calls == [("stream_started", "id-1", "text/plain")]
            client.send(chunk(b"abc"))
            assert (await place.sink.after(2))[1:] == [("streamed", b"abc")]
            client.send(chunk(b"de") + chunk(b"f") + CLOSE)
            assert (await client.reply())[0] == 202
            assert place.sink.calls[2:] == [("streamed", b"de", b"f"), ("stream_ended",)]
            client.send(NEXT)
            assert (await place.sink.after(5))[4:] == [("ready",)]

    on_loop(scenario)


def test_a_length_instead_of_chunks_will_do(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client, _ = await running(place)
            place.sink.calls.clear()
            client.send(post(b"invocation/id-1/response", b"abc", b"Lambda-Runtime-Function-Response-Mode: Streaming"))
            assert (await client.reply())[0] == 202
            assert place.sink.calls == [("stream_started", "id-1", ""), ("streamed", b"abc"), ("stream_ended",)]

    on_loop(scenario)


def test_an_empty_stream(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client = await streaming(place)
            client.send(CLOSE)
            assert (await client.reply())[0] == 202
            assert place.sink.calls[1:] == [("stream_ended",)]

    on_loop(scenario)


TYPE, BODY = b"Lambda-Runtime-Function-Error-Type: ", b"Lambda-Runtime-Function-Error-Body: "
DOCUMENT = b'{"errorMessage":"m"}'


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((TYPE + b"Runtime.Midway", BODY + base64.b64encode(DOCUMENT)), ("Runtime.Midway", DOCUMENT)),
        ((BODY.upper() + base64.b64encode(DOCUMENT), TYPE.lower() + b"Error"), ("Runtime.Unknown", DOCUMENT)),
        ((TYPE + b"Function.x",), ("Function.Unknown", b"")),
        ((BODY + base64.b64encode(DOCUMENT),), ("Runtime.Unknown", DOCUMENT)),
        ((TYPE + b"Runtime.Midway", BODY + b"%%%"), ("Runtime.Midway", b'"Invalid error body"')),
        ((TYPE + b"Runtime.Midway", BODY), ("Runtime.Midway", b"")),
        ((TYPE + b"Runtime.First", TYPE + b"Runtime.Last"), ("Runtime.Last", b"")),
        ((b"X-Checksum: 5", b"Expires: never"), None),
    ],
)
def test_trailers_tell_of_a_failure_on_the_way(on_loop: OnLoop, fields: Any, expected: Any) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client = await streaming(place)
            client.send(chunk(b"abc") + trailers(*fields))
            assert (await client.reply())[0] == 202
            end = ("stream_ended",) if expected is None else ("stream_failed", *expected)
            assert place.sink.calls[1:] == [("streamed", b"abc"), end]
            await running(place)

    on_loop(scenario)


@pytest.mark.parametrize("mode", [b"buffered", b"", b"stream", b"streaming, streaming"])
def test_another_mode_is_refused(on_loop: OnLoop, mode: bytes) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client, _ = await running(place)
            client.send(head(mode) + CLOSE)
            assert error_of(await client.reply()) == (
                400,
                "InvalidFunctionResponseMode",
                "Invalid function response mode",
            )
            assert place.sink.calls[-1] == ("response_refused", "id-1", "Runtime.InvalidResponseModeHeader")
            await running(place)

    on_loop(scenario)


@pytest.mark.parametrize(
    "broken",
    [
        b"zz\r\nabc\r\n",
        b"-3\r\nabc\r\n",
        b"3\nabc\n",
        b"3\r\nabcd\r\n",
        b"ffffffffffffffff\r\n",
        b"3" + b" " * 300 + b"\r\n",
        b"0\r\nno field\r\n\r\n",
        b"0\r\nA: b\n\r\n",
    ],
)
def test_broken_chunking_cuts_the_response_short(on_loop: OnLoop, broken: bytes) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client = await streaming(place)
            client.send(chunk(b"abc"))
            await place.sink.after(2)
            client.send(broken)
            assert (await client.reply())[0] == 400
            calls = [call for call in place.sink.calls[1:] if call[0] != "streamed"]
            assert place.sink.calls[1] == ("streamed", b"abc")
            assert calls == [("response_refused", "id-1", "Runtime.TruncatedResponse")]

    on_loop(scenario)


def test_trailers_without_end_are_refused(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client = await streaming(place)
            client.send(b"0\r\n" + (b"A: " + b"x" * 60_000 + b"\r\n") * 20)
            assert (await client.reply())[0] == 431
            assert place.sink.calls[-1] == ("response_refused", "id-1", "Runtime.TruncatedResponse")

    on_loop(scenario)


@pytest.mark.parametrize("is_half_open", [True, False])
def test_a_connection_that_ends_on_the_way(on_loop: OnLoop, is_half_open: bool) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client = await streaming(place)
            client.send(chunk(b"abc") + b"5\r\nab")
            await place.sink.after(2)
            if is_half_open:
                client.writer.write_eof()
                assert error_of(await client.reply()) == (
                    400,
                    "TruncatedHTTPRequest",
                    "HTTP request detected as truncated",
                )
            else:
                client.writer.transport.abort()
            await place.sink.after(3)
            assert place.sink.calls[1:] == [
                ("streamed", b"abc", b"ab"),
                ("response_refused", "id-1", "Runtime.TruncatedResponse"),
            ]
            await running(place)

    on_loop(scenario)


def test_a_stream_that_became_too_large_is_refused_on_the_way(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            place.sink.stream_bytes_max = 5
            client = await streaming(place)
            client.send(chunk(b"abc") + chunk(b"def"))
            assert error_of(await client.reply())[:2] == (413, "RequestEntityTooLarge")
            assert place.sink.calls[1:] == [("streamed", b"abc", b"def")]
            client.send(chunk(b"ghi") + CLOSE)
            await running(place)
            assert [call[0] for call in place.sink.calls].count("streamed") == 1

    on_loop(scenario)


def test_a_second_answer(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client = await streaming(place)
            other = await place.client()
            for path in (b"invocation/id-1/response", b"invocation/id-1/error"):
                other.send(post(path, b"{}"))
                assert error_of(await other.reply())[:2] == (403, "InvalidStateTransition")
            client.send(chunk(b"abc") + CLOSE)
            assert (await client.reply())[0] == 202
            for path in (b"invocation/id-1/response", b"invocation/id-1/error"):
                other.send(post(path, b"{}"))
                assert error_of(await other.reply())[:2] == (403, "InvalidStateTransition")
            client.send(head())
            assert error_of(await client.reply())[:2] == (403, "InvalidStateTransition")
            assert place.sink.calls[1:] == [("streamed", b"abc"), ("stream_ended",)]
            other.send(NEXT)
            await place.sink.after(4)
            late = await place.client()
            late.send(head())
            assert error_of(await late.reply())[:2] == (400, "InvalidRequestID")

    on_loop(scenario)


@pytest.mark.parametrize("end", [CLOSE, b"zz\r\n"])
def test_who_asks_for_more_before_the_end_has_arrived_waits(on_loop: OnLoop, end: bytes) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client = await streaming(place)
            other = await place.client()
            other.send(NEXT)
            lost = await place.client()
            lost.send(NEXT)
            await asyncio.sleep(0.02)
            lost.writer.transport.abort()
            await asyncio.sleep(0.02)
            assert len(place.sink.calls) == 1
            client.send(end)
            await client.reply()
            await place.sink.after(3)
            assert place.sink.calls[2:] == [("ready",)]
            place.channel.dispatch(an_event("id-2"))
            assert (await other.reply())[1][b"lambda-runtime-aws-request-id"] == b"id-2"

    on_loop(scenario)


def test_an_invocation_that_is_abandoned_on_the_way(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client = await streaming(place)
            place.channel.abandon()
            client.send(chunk(b"abc") + CLOSE)
            assert error_of(await client.reply())[:2] == (400, "InvalidRequestID")
            assert ("stream_ended",) not in place.sink.calls

    on_loop(scenario)


def test_a_closed_channel_takes_no_more_and_cuts_nobody_silently(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client = await streaming(place)
            place.channel.pause()
            place.channel.close()
            client.send(chunk(b"abc") + CLOSE)
            assert error_of(await client.reply())[:2] == (500, "InternalServerError")
            assert len(place.sink.calls) == 1

    on_loop(scenario)


def test_a_paused_stream_is_not_read(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client = await streaming(place)
            place.channel.pause()
            wanted = 64 * 1_048_576
            sent = asyncio.ensure_future(send_all(client, chunk(b"x" * 65_536), wanted // 65_536))
            done, _ = await asyncio.wait([sent], timeout=0.3)
            assert not done
            assert place.sink.streamed_bytes < wanted // 4
            place.channel.resume()
            await sent
            assert (await client.reply())[0] == 202
            assert place.sink.streamed_bytes == wanted

    on_loop(scenario)


async def send_all(client: Client, piece: bytes, times: int) -> None:
    for _ in range(times):
        client.send(piece)
        await client.writer.drain()
    client.send(CLOSE)


def test_a_stream_may_take_its_time(on_loop: OnLoop) -> None:
    """No rate is asked of what is written while it comes to be."""

    async def scenario() -> None:
        async with Place() as place:
            client = await streaming(place)
            assert place.door._server is not None
            for connection in list(place.door._server._service.connections):
                connection.tick(3_600.0)
                connection.tick(3_600.0)
            client.send(chunk(b"abc") + CLOSE)
            assert (await client.reply())[0] == 202

    on_loop(scenario)
