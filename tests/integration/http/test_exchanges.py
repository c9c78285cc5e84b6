"""Requests and answers over real sockets."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence

import pytest
from tests.integration.http.http_world import World

from lambent.http import Buffered, Exchange, Limits, Streamed

Run = Callable[..., None]
GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"


def post(path: bytes, body: bytes, extra: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b" % (path, extra, len(body), body)


def test_a_body_comes_back(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        for size in (0, 1, 65_536, 65_537, 900_000):
            client.send(post(b"/x?y=1", b"z" * size))
            status, fields, body = await client.reply()
            assert (status, body) == (200, b"z" * size)
            assert fields[b"date"] == b"Tue, 25 Nov 2025 19:46:40 GMT"
            assert b"connection" not in fields

    run(scenario)


def test_any_split_of_the_bytes_reads_the_same(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.writer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        message = (
            post(b"/x", b"abc")
            + b"POST /y HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )
        for at in range(len(message)):
            client.send(message[at : at + 1])
            await asyncio.sleep(0)
        for path in (b"/x", b"/y"):
            _, fields, body = await client.reply()
            assert (fields[b"x-path"], body) == (path, b"abc")
        assert world.app.seen == [("POST", b"/x", b"abc"), ("POST", b"/y", b"abc")]

    run(scenario)


def test_pipelined_requests_are_handled_and_answered_in_order(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(post(b"/later", b"1") + post(b"/b", b"2") + GET % b"/c")
        await world.app.arrived.wait()
        await asyncio.sleep(0)
        assert [path for _, path, _ in world.app.seen] == [b"/later"], "the second waits for the first's answer"
        world.app.waiting[0].respond(200, ((b"X-Path", b"/later"),), b"1")
        replies = [await client.reply() for _ in range(3)]
        assert [fields[b"x-path"] for _, fields, _ in replies] == [b"/later", b"/b", b"/c"]
        assert [body for *_, body in replies] == [b"1", b"2", b""]

    run(scenario)


def test_what_is_pipelined_is_bounded(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(GET % b"/later")
        await world.app.arrived.wait()
        client.send((GET % b"/x") * 400_000)
        (connection,) = world.server._service.connections
        while not connection._paused:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert len(connection._held) <= 4_096 + 262_144
        client.close()

    run(scenario, Limits(pipelined_bytes=4_096))


def test_expect_100_continue(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        head = b"PUT %b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        client.send(head % b"/x")
        assert (await client.reply())[0] == 100
        client.send(b"abc")
        assert (await client.reply())[::2] == (200, b"abc")
        client.send(head % b"/early")
        status, fields, body = await client.reply()
        assert (status, body, fields[b"connection"]) == (403, b"no", b"close"), (
            "refused: no 100, and the body may come or not"
        )
        assert await client.ended() == b""

    run(scenario)


def test_chunked_bodies_with_trailers(run: Run) -> None:
    async def scenario(world: World) -> None:
        trailers = []

        def handle(exchange: Exchange) -> None:
            trailers.append(exchange.request.trailers)
            exchange.respond(200, (), exchange.request.body)

        world.app.handle = handle  # type: ignore[method-assign]
        client = await world.connect()
        client.send(
            b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-Error: yes\r\n\r\n" + GET % b"/y"
        )
        assert (await client.reply())[2] == b"hello0123456789"
        assert (await client.reply())[0] == 200
        assert trailers == [[(b"x-error", b"yes")], ()]

    run(scenario)


def test_an_early_answer_keeps_the_connection_when_the_rest_is_short(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(post(b"/early", b"x" * 1000) + GET % b"/y")
        assert (await client.reply())[0] == 403
        assert (await client.reply())[0] == 200
        client.send(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 300_000)
        status, fields, _ = await client.reply()
        assert (status, fields[b"connection"]) == (403, b"close")
        assert await client.ended() == b""

    run(scenario)


def test_too_large_bodies_are_the_applications_to_refuse(run: Run) -> None:
    async def scenario(world: World) -> None:
        world.app.limit = 10
        client = await world.connect()
        client.send(post(b"/x", b"x" * 11))
        assert (await client.reply())[::2] == (413, b"10 11")
        client = await world.connect()
        client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n")
        assert (await client.reply())[::2] == (413, b"10 -1")
        assert await client.ended() == b""
        client = await world.connect()
        client.send(post(b"/x", b"x" * 10))
        assert (await client.reply())[0] == 200

    run(scenario)


def test_http_1_0_and_connection_fields(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(b"GET /x HTTP/1.0\r\n\r\n")
        assert (await client.reply())[1][b"connection"] == b"close"
        assert await client.ended() == b""
        client = await world.connect()
        for _ in range(2):
            client.send(b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert (await client.reply())[1][b"connection"] == b"keep-alive"
        client = await world.connect()
        client.send(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET % b"/unread")
        assert (await client.reply())[1][b"connection"] == b"close"
        assert await client.ended() == b""
        assert b"/unread" not in [path for _, path, _ in world.app.seen]

    run(scenario)


def test_head_and_204_have_no_body(run: Run) -> None:
    async def scenario(world: World) -> None:
        def handle(exchange: Exchange) -> None:
            exchange.respond(204 if exchange.request.path == b"/none" else 200, (), b"12345")

        world.app.handle = handle  # type: ignore[method-assign]
        client = await world.connect()
        client.send(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.reply(bodyless=True))[1][b"content-length"] == b"5"
        client.send(GET % b"/none")
        status, fields, _ = await client.reply()
        assert status == 204
        assert b"content-length" not in fields
        client.send(GET % b"/x")
        assert (await client.reply())[2] == b"12345"

    run(scenario)


def test_an_offer_to_upgrade_is_not_taken(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(
            b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n" + GET % b"/y"
        )
        assert (await client.reply())[1][b"x-path"] == b"/x"
        assert (await client.reply())[1][b"x-path"] == b"/y"

    run(scenario)


@pytest.mark.parametrize(("version", "framing"), [(b"1.1", b"chunked"), (b"1.0", None)])
def test_streamed_answers(run: Run, version: bytes, framing: bytes | None) -> None:
    async def scenario(world: World) -> None:
        def handle(exchange: Exchange) -> None:
            exchange.start(200, ((b"X", b"y"),))
            for piece in (b"a" * 10, b"", b"b" * 100_000):
                exchange.write(piece)
            exchange.finish()

        world.app.handle = handle  # type: ignore[method-assign]
        client = await world.connect()
        for _ in range(2 if version == b"1.1" else 1):
            client.send(b"GET /x HTTP/%b\r\nHost: a\r\n\r\n" % version)
            status, fields, body = await client.reply()
            assert (status, fields.get(b"transfer-encoding"), len(body)) == (200, framing, 100_010)

    run(scenario)


def test_a_slow_reader_holds_back_the_writer(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(GET % b"/later")
        await world.app.arrived.wait()
        exchange = world.app.waiting[0]
        exchange.start(200, (), length=50_000_000)
        sent = 0

        async def write_all() -> None:
            nonlocal sent
            for _ in range(50):
                exchange.write(b"x" * 1_000_000)
                sent += 1
                await exchange.drain()
            exchange.finish()

        writer = asyncio.create_task(write_all())
        await asyncio.wait((writer,), timeout=0.2)
        assert not writer.done()
        assert sent < 20
        _, _, body = await client.reply()
        await writer
        assert len(body) == 50_000_000

    run(scenario)


def test_a_streamed_body_is_held_back_by_its_sink(run: Run) -> None:
    async def scenario(world: World) -> None:
        got: list[bytes] = []
        ended = asyncio.Event()
        started = asyncio.Event()
        exchanges: list[Exchange] = []

        class Sink:
            def data(self, pieces: Sequence[bytes]) -> None:
                was_empty = not got
                got.extend(pieces)
                if was_empty:
                    exchanges[0].pause_body()
                    started.set()

            def eof(self) -> None:
                ended.set()
                exchanges[0].respond(200, (), b"%d" % sum(map(len, got)))

            def gone(self) -> None:
                raise AssertionError("not gone")

        def decide(exchange: Exchange) -> Streamed:
            exchanges.append(exchange)
            return Streamed(Sink())

        world.app.decide = decide
        client = await world.connect()
        client.send(post(b"/x", b"x" * 30_000_000))
        await started.wait()
        await asyncio.sleep(0.1)
        assert not ended.is_set()
        assert sum(map(len, got)) < 2_000_000
        exchanges[0].resume_body()
        assert (await client.reply())[2] == b"30000000"

    run(scenario)


def test_a_vanished_client_is_told_to_the_application(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(GET % b"/later")
        await world.app.arrived.wait()
        sock = client.writer.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # its end is a reset
        client.writer.transport.abort()
        assert await world.app.gone.get() == b"/later"
        exchange = world.app.waiting[0]
        assert not exchange.is_open
        exchange.respond(200, (), b"nobody reads it")

    run(scenario)


def test_a_half_closed_client_gets_its_answers(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(GET % b"/later" + GET % b"/b")
        client.writer.write_eof()
        await world.app.arrived.wait()
        world.app.waiting[0].respond(200, (), b"1")
        assert (await client.reply())[2] == b"1"
        assert (await client.reply())[1][b"x-path"] == b"/b"
        assert await client.ended() == b""

    run(scenario)


def test_who_requires_an_open_client_loses_a_half_closed_one(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(GET % b"/later")
        await world.app.arrived.wait()
        world.app.waiting[0].require_open()
        client.writer.write_eof()
        assert await world.app.gone.get() == b"/later"

    run(scenario)


def test_a_truncated_body_is_refused(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        client.writer.write_eof()
        status, fields, body = await client.reply()
        assert (status, fields[b"connection"]) == (400, b"close")
        assert body == b'{"message":"The body ended before its declared length"}'
        assert await world.app.gone.get() == b"/x"
        assert world.app.seen == []

    run(scenario)


def test_a_bug_in_the_application_is_a_500_and_reported(run: Run) -> None:
    async def scenario(world: World) -> None:
        reports: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
        client = await world.connect()
        client.send(GET % b"/bug")
        assert (await client.reply())[::2] == (500, b'{"message":"Internal Server Error"}')
        assert await client.ended() == b""
        assert isinstance(reports[0]["exception"], LookupError)

    run(scenario)


def test_answers_refuse_what_would_split_them(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(GET % b"/later")
        await world.app.arrived.wait()
        exchange = world.app.waiting[0]
        for field in (
            (b"X", b"a\r\nY: b"),
            (b"X", b"a\nb"),
            (b"X\r\nY", b"b"),
            (b"Content-Length", b"3"),
            (b"X Y", b"z"),
        ):
            with pytest.raises(ValueError):
                exchange.respond(200, (field,), b"")
        exchange.respond(200, (), b"fine")
        with pytest.raises(RuntimeError):
            exchange.respond(200, (), b"twice")
        assert (await client.reply())[2] == b"fine"

    run(scenario)


def test_delegation_gives_the_exchange_away(run: Run) -> None:
    async def scenario(world: World) -> None:
        class Other:
            def head(self, exchange: Exchange) -> Buffered:
                return Buffered(3)

            def handle(self, exchange: Exchange) -> None:
                exchange.respond(200, (), b"other")

            def too_large(self, exchange: Exchange, limit: int, declared: int | None) -> None:
                exchange.respond(413, (), b"other")

        other = Other()
        world.app.decide = lambda exchange: exchange.delegate(other)
        client = await world.connect()
        client.send(post(b"/x", b"123") + post(b"/x", b"1234"))
        assert (await client.reply())[::2] == (200, b"other")
        assert (await client.reply())[::2] == (413, b"other")

    run(scenario)
