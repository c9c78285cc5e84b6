"""Frames over a real socketpair."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.integration.runtime_api.runtime_world import RememberingSink, an_event

from lambent.domain.limits import INVOKE_RESPONSE_BYTES_MAX
from lambent.runtime_api.frame_channel import FrameChannel, open_frame_channel
from lambent.runtime_api.machine import Refused

OnLoop = Callable[[Callable[[], Awaitable[Any]]], None]


def frame(kind: int, *names: bytes, body: bytes = b"") -> bytes:
    payload = b"".join(struct.pack("<H", len(name)) + name for name in names) + body
    return struct.pack("<IB", 1 + len(payload), kind) + payload


READY = frame(5)


class Runtime:
    """The runtime's end."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def event(self) -> tuple[str, bytes]:
        loop = asyncio.get_running_loop()
        data = b""
        while len(data) < 4 or len(data) < 4 + struct.unpack_from("<I", data)[0]:
            data += await loop.sock_recv(self.sock, 1_000_000)
        length, _, _, *sizes = struct.unpack_from("<IBQ6H", data)
        assert len(data) == 4 + length
        return data[25 : 25 + sizes[0]].decode(), data[25 + sum(sizes) :]


def opened() -> tuple[RememberingSink, FrameChannel, Runtime]:
    sink = RememberingSink()
    channel, theirs = open_frame_channel(sink)
    return sink, channel, Runtime(theirs)


def test_invocations_one_after_another(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        sink, channel, runtime = opened()
        await runtime.send(READY)
        assert await sink.after(1) == [("ready",)]
        for n, size in enumerate((2, 65_536, 65_537, 3_000_000)):
            sink.calls.clear()
            channel.dispatch(an_event(f"id-{n}", b"x" * size))
            assert await runtime.event() == (f"id-{n}", b"x" * size)
            answer = frame(2, b"id-%d" % n, b"application/json", body=b"y" * size)
            await asyncio.gather(runtime.send(answer), sink.after(2))
            assert sink.calls == [("response", f"id-{n}", "application/json", b"y" * size), ("ready",)]
        channel.dispatch(an_event("id-e"))
        await runtime.event()
        sink.calls.clear()
        await runtime.send(frame(3, b"id-e", b"ValueError", body=b"{}"))
        assert await sink.after(2) == [("error", "id-e", "Runtime.Unknown", b"{}"), ("ready",)]
        channel.close()
        runtime.sock.close()
        await asyncio.sleep(0)

    on_loop(scenario)


def test_a_runtime_that_ends_with_its_error_is_not_ready_again(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        sink, channel, runtime = opened()
        await runtime.send(READY)
        await sink.after(1)
        channel.dispatch(an_event())
        await runtime.event()
        await runtime.send(frame(10, b"id-1", b"Runtime.UnhandledPromiseRejection", body=b"{}"))
        runtime.sock.close()
        assert (await sink.after(3))[1:] == [("error", "id-1", "Runtime.UnhandledPromiseRejection", b"{}"), ("gone",)]
        channel.close()

    on_loop(scenario)


def test_init_error_and_end(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        sink, channel, runtime = opened()
        await runtime.send(frame(4, b"Runtime.ImportModuleError", body=b"{}"))
        runtime.sock.close()
        assert await sink.after(2) == [("init_error", "Runtime.ImportModuleError", b"{}"), ("gone",)]
        channel.close()

    on_loop(scenario)


def test_too_large_results_leave_the_runtime_healthy(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        sink, channel, runtime = opened()
        await runtime.send(READY)
        await sink.after(1)
        channel.dispatch(an_event())
        await runtime.event()
        size = INVOKE_RESPONSE_BYTES_MAX + 1
        await asyncio.gather(runtime.send(frame(2, b"id-1", b"", body=b"x" * size)), sink.after(3))
        assert sink.calls[1:] == [("response_too_large", "id-1", size), ("ready",)]
        channel.dispatch(an_event("id-2"))
        assert (await runtime.event())[0] == "id-2"
        channel.close()
        runtime.sock.close()
        await asyncio.sleep(0)

    on_loop(scenario)


def test_a_late_answer_is_dropped_and_the_runtime_is_ready(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        sink, channel, runtime = opened()
        await runtime.send(READY)
        await sink.after(1)
        channel.dispatch(an_event())
        with pytest.raises(Refused):
            channel.dispatch(an_event("id-2"))
        channel.abandon()
        await runtime.send(frame(2, b"id-1", b"", body=b"late"))
        assert await sink.after(2) == [("ready",), ("ready",)]
        channel.close()
        runtime.sock.close()
        await asyncio.sleep(0)

    on_loop(scenario)


@pytest.mark.parametrize("data", [b"\0\0\0\0", frame(2, b"other", b"x"), frame(4, b"Runtime.X")])
def test_who_breaks_the_protocol_is_gone(on_loop: OnLoop, data: bytes) -> None:
    async def scenario() -> None:
        sink, channel, runtime = opened()
        await runtime.send(READY)
        await sink.after(1)
        channel.dispatch(an_event())
        await runtime.send(data)
        assert (await sink.after(2))[1:] == [("gone",)]
        channel.close()
        runtime.sock.close()

    on_loop(scenario)


def test_closing_at_any_time_releases_the_descriptor_and_is_silent(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        for turns in range(4):
            sink, channel, runtime = opened()
            for _ in range(turns):
                await asyncio.sleep(0)
            channel.close()
            channel.close()
            for _ in range(4):
                await asyncio.sleep(0)
            assert await asyncio.get_running_loop().sock_recv(runtime.sock, 10) == b""
            runtime.sock.close()
            assert sink.calls == []

    on_loop(scenario)
