"""Every bound of the core, and what is freed when."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import socket
import threading
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from tests.integration.http.http_world import Echo, World

from lambent.domain.clock import ManualClock
from lambent.http import Exchange, Limits, Reaper, serve

Run = Callable[..., None]
GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"


def test_long_heads(run: Run) -> None:
    async def scenario(world: World) -> None:
        for message, expected in (
            (GET % (b"/" + b"x" * 2000), 414),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 2000 + b"\r\n\r\n", 431),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000, 431),
            (b"GET /" + b"x" * 20_000, 414),
            (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 120 + b"\r\n", 431),
        ):
            client = await world.connect()
            client.send(message)
            assert (await client.reply())[0] == expected
            assert await client.ended() == b""
        client = await world.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 900 + b"\r\n\r\n")
        assert (await client.reply())[0] == 200

    run(scenario, Limits(head_bytes=1_000, head_fields=100))


def test_endless_trailers(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 300)
        assert (await client.reply())[0] == 431
        assert await client.ended() == b""

    run(scenario, Limits(head_bytes=1_000))


def test_an_idle_connection_is_closed(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(GET % b"/x")
        await client.reply()
        for seconds in (120, 1, 1):
            world.pass_time(seconds)
        assert await client.ended() == b""

    run(scenario)


def test_no_idle_limit_means_for_ever(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(GET % b"/x")
        await client.reply()
        for _ in range(50):
            world.pass_time(3600)
        client.send(GET % b"/x")
        assert (await client.reply())[0] == 200

    run(scenario, Limits(idle_s=None))


def test_a_slow_head_is_cut(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(b"GET / HT")
        (connection,) = world.server._service.connections
        while connection._head is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        world.pass_time(20)
        client.send(b"TP/1.1\r\n")  # a byte now and then does not help
        while len(connection._head) < 16:  # noqa: ASYNC110
            await asyncio.sleep(0)
        world.pass_time(1)
        world.pass_time(1)
        assert (await client.reply())[0] == 408
        assert await client.ended() == b""

    run(scenario)


def test_a_slow_body_is_cut_and_a_steady_one_is_not(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n")
        (connection,) = world.server._service.connections
        for second in range(60):
            client.send(b"x" * 1_024)
            while connection._got < 1_024 * (second + 1):  # noqa: ASYNC110
                await asyncio.sleep(0)
            world.pass_time(1)
        for _ in range(25):
            world.pass_time(1)
        assert (await client.reply())[0] == 408
        assert await client.ended() == b""
        assert await world.app.gone.get() == b"/"

    run(scenario)


def test_a_handler_may_take_its_time(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(GET % b"/later")
        await world.app.arrived.wait()
        for _ in range(100):
            world.pass_time(900)
        world.app.waiting[0].respond(200, (), b"late")
        assert (await client.reply())[2] == b"late"

    run(scenario)


def test_a_client_that_reads_nothing_is_cut(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(GET % b"/later")
        await world.app.arrived.wait()
        exchange = world.app.waiting[0]
        exchange.start(200)
        for _ in range(40):
            exchange.write(b"x" * 1_000_000)
        waiter = asyncio.create_task(exchange.drain())
        await asyncio.sleep(0.05)
        for _ in range(65):
            world.pass_time(1)
        assert await world.app.gone.get() == b"/later"
        await waiter
        assert not exchange.is_open

    run(scenario)


def test_who_sends_and_never_reads_is_not_served_further(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        world.app.limit = 1_000_000
        body = b"x" * 500_000
        message = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(60):
            client.send(message)
        await asyncio.sleep(0.3)
        assert len(world.app.seen) < 40

    run(scenario)


def test_accepting_pauses_at_the_limit_and_goes_on_below_it(run: Run) -> None:
    async def scenario(world: World) -> None:
        clients = [await world.connect() for _ in range(4)]
        while world.server.connections < 4:  # noqa: ASYNC110
            await asyncio.sleep(0)
        late = await world.connect()  # the kernel takes it, we do not
        late.send(GET % b"/late")
        clients[0].send(GET % b"/x")
        await clients[0].reply()
        await asyncio.sleep(0.05)
        assert world.server.connections == 4
        for client in clients[1:]:
            client.close()
        assert (await late.reply())[1][b"x-path"] == b"/late"
        clients[0].send(GET % b"/x")
        assert (await clients[0].reply())[0] == 200

    run(scenario, Limits(connections=4))


def test_a_crowd_waits_in_the_kernels_queue_and_is_accepted_a_few_at_a_time(run: Run) -> None:
    """They come while the server does something else; none is turned away, and who is open is served between the rounds."""
    crowd, limits = 3_000, Limits()
    if int(Path("/proc/sys/net/core/somaxconn").read_text()) < limits.backlog:
        pytest.skip("this machine queues fewer connections: sysctl -w net.core.somaxconn=4096")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3 * crowd:
        pytest.skip(f"this machine allows {hard} descriptors, {3 * crowd} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3 * crowd), hard))

    async def scenario(world: World) -> None:
        open_ = await world.connect()
        open_.send(GET % b"/first")
        await open_.reply()
        with ExitStack() as stack:
            for _ in range(crowd):  # no await: nobody accepts meanwhile
                raw = stack.enter_context(socket.socket())
                raw.settimeout(0.9)  # a client whom the kernel does not hear asks again after a second
                raw.connect(world.server.addresses[0])
            open_.send(GET % b"/between")
            reply = asyncio.ensure_future(open_.reply())
            rounds = [world.server.connections]
            is_served_between = False
            while rounds[-1] < crowd + 1:
                await asyncio.sleep(0)
                rounds.append(world.server.connections)
                is_served_between |= reply.done() and rounds[-1] <= crowd
            assert (await reply)[1][b"x-path"] == b"/between"
            if type(asyncio.get_running_loop()).__module__.startswith("asyncio"):  # libuv's rounds are its own
                most = limits.accept_round + 1  # asyncio of Python 3.14 accepts one more
                assert max(after - before for before, after in pairwise(rounds)) <= most
                assert is_served_between

    try:
        run(scenario)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_draining_lets_running_requests_end(run: Run) -> None:
    async def scenario(world: World) -> None:
        idle, busy = await world.connect(), await world.connect()
        idle.send(GET % b"/x")
        await idle.reply()
        busy.send(GET % b"/later")
        await world.app.arrived.wait()
        draining = asyncio.create_task(world.server.drain(10))
        assert await idle.ended() == b""
        with pytest.raises(OSError):
            await world.connect()
        world.app.waiting[0].respond(200, (), b"done")
        status, fields, body = await busy.reply()
        assert (status, fields[b"connection"], body) == (200, b"close", b"done")
        await draining
        assert world.server.connections == 0

    run(scenario)


def test_draining_ends_after_its_grace(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        client.send(GET % b"/later")
        await world.app.arrived.wait()
        await world.server.drain(0.05)
        assert await client.ended() == b""
        assert await world.app.gone.get() == b"/later"

    run(scenario)


def test_bodies_are_freed_without_the_collector(run: Run) -> None:
    """Reference counting alone frees a request's body once it is answered: no cycle runs through an exchange."""

    freed: list[int] = []

    class Witness:
        def __del__(self) -> None:
            freed.append(1)

    async def scenario(world: World) -> None:
        def handle(exchange: Exchange) -> None:
            exchange.context = Witness()
            exchange.on_gone = lambda: exchange.respond(500)  # the worst an application may do
            exchange.on_truncated = lambda: exchange.respond(500)
            if exchange.request.path == b"/stream":
                exchange.start(200)
                exchange.write(exchange.request.body)
                exchange.finish()
            else:
                exchange.respond(200, (), exchange.request.body)

        world.app.handle = handle  # type: ignore[method-assign]
        client = await world.connect()
        gc.collect()
        gc.disable()
        try:
            for n, path in enumerate((b"/x", b"/stream", b"/x", b"/stream")):
                client.send(b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" % path + b"x" * 200_000)
                assert len((await client.reply())[2]) == 200_000
                assert len(freed) == n + 1
        finally:
            gc.enable()

    run(scenario)


LISTENER_BYTES_MAX = 8_192
"""Of Python's memory; the loop's own and the kernel's are not in it."""


def test_thousands_of_listeners_are_cheap(run: Run) -> None:
    """Each is a descriptor and some objects: no task, no thread, no timer of its own."""

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def scenario(world: World) -> None:
        reaper = Reaper(ManualClock())
        app = Echo()
        servers = [await serve(app, sock=socket.create_server(("127.0.0.1", 0)), reaper=reaper, origin=-1)]
        tasks, threads, fds = len(asyncio.all_tasks()), threading.active_count(), descriptors()
        tracemalloc.start()
        try:
            for number in range(500):
                sock = socket.create_server(("127.0.0.1", 0))
                servers.append(await serve(app, sock=sock, reaper=reaper, origin=number))
            gc.collect()
            taken_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (len(asyncio.all_tasks()), threading.active_count(), descriptors()) == (tasks, threads, fds + 500)
        assert taken_bytes < 500 * LISTENER_BYTES_MAX
        for server in servers:
            server.close()
        await asyncio.sleep(0)

    run(scenario)


def test_who_comes_while_the_server_closes_is_cut(run: Run) -> None:
    async def scenario(world: World) -> None:
        late = socket.create_connection(world.server.addresses[0][:2])
        late.setblocking(False)
        await asyncio.sleep(0)
        world.server.close()
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.get_running_loop().sock_recv(late, 10) == b""
        late.close()
        assert world.server.connections == 0

    run(scenario)
