"""Frames over a real socketpair."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.integration.runtime_api.runtime_world import RememberingSink, an_event

from lambent.domain.limits import INVOKE_RESPONSE_BYTES_MAX
from lambent.runtime_api.frame_channel import READ_BYTES, REST_BYTES_MAX, FrameChannel, open_frame_channel
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


STREAM = frame(6, b"id-1", b"text/plain")


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\0",
        frame(2, b"other", b"x"),
        frame(4, b"Runtime.X"),
        frame(6, b"other", b"x"),
        frame(7, body=b"x"),
        frame(8),
        frame(9, b"Runtime.X", body=b"{}"),
    ],
)
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


@pytest.mark.parametrize("data", [STREAM, READY, frame(2, b"id-1", b""), frame(3, b"id-1", b""), frame(1)])
def test_who_breaks_the_protocol_within_a_stream_is_gone(on_loop: OnLoop, data: bytes) -> None:
    async def scenario() -> None:
        sink, channel, runtime = await invoked()
        await runtime.send(STREAM)
        await sink.after(1)
        await runtime.send(data)
        assert await sink.after(2) == [("stream_started", "id-1", "text/plain"), ("gone",)]
        channel.close()
        runtime.sock.close()

    on_loop(scenario)


async def invoked() -> tuple[RememberingSink, FrameChannel, Runtime]:
    """A runtime that was given an event; the sink has forgotten what was before."""
    sink, channel, runtime = opened()
    await runtime.send(READY)
    await sink.after(1)
    channel.dispatch(an_event())
    await runtime.event()
    sink.calls.clear()
    return sink, channel, runtime


END, CHUNK_A, FAILED = frame(8), frame(7, body=b"a"), frame(9, b"Function.Midway", body=b"{}")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (END, [("stream_ended",)]),
        (CHUNK_A + CHUNK_A + END, [("streamed", b"a", b"a"), ("stream_ended",)]),
        (CHUNK_A + FAILED, [("streamed", b"a"), ("stream_failed", "Function.Midway", b"{}")]),
        (frame(7) + END, [("stream_ended",)]),
        (
            frame(9, b"x", body=b"{" * (INVOKE_RESPONSE_BYTES_MAX + 1)),
            [("stream_failed", "Runtime.Unknown", b'"Invalid error body"')],
        ),
    ],
)
def test_streams(on_loop: OnLoop, data: bytes, expected: list[Any]) -> None:
    async def scenario() -> None:
        sink, channel, runtime = await invoked()
        sending = asyncio.ensure_future(runtime.send(STREAM + data))
        expect = [("stream_started", "id-1", "text/plain"), *expected]
        assert await sink.after(len(expect)) == expect
        await sending
        await runtime.send(READY)
        assert (await sink.after(len(expect) + 1))[-1] == ("ready",)
        channel.dispatch(an_event("id-2"))
        assert (await runtime.event())[0] == "id-2"
        channel.close()
        runtime.sock.close()

    on_loop(scenario)


def test_a_runtime_that_ends_within_its_stream(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        sink, channel, runtime = await invoked()
        await runtime.send(STREAM + CHUNK_A + frame(10, b"id-1", b"Runtime.UnhandledPromiseRejection", body=b"{}"))
        runtime.sock.close()
        assert (await sink.after(4))[1:] == [
            ("streamed", b"a"),
            ("stream_failed", "Runtime.UnhandledPromiseRejection", b"{}"),
            ("gone",),
        ]
        channel.close()

    on_loop(scenario)


def test_an_abandoned_stream_is_dropped_and_its_runtime_is_ready(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        for before in (b"", STREAM + CHUNK_A):
            sink, channel, runtime = await invoked()
            await runtime.send(before)
            await sink.after(2 if before else 0)
            channel.abandon()
            sink.calls.clear()
            await runtime.send((b"" if before else STREAM) + END + READY)
            assert await sink.after(1) == [("ready",)]
            channel.close()
            runtime.sock.close()
        await asyncio.sleep(0)

    on_loop(scenario)


def test_a_paused_channel_is_not_read_and_its_rest_is_read_when_the_runtime_ended(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        sink, channel, runtime = await invoked()
        channel.pause()
        channel.pause()
        await runtime.send(STREAM + CHUNK_A)
        await asyncio.sleep(0.02)
        assert sink.calls == []
        channel.resume()
        await sink.after(2)
        channel.pause()
        await runtime.send(frame(7, body=b"x" * 100_000) + END)
        runtime.sock.close()
        channel.read_rest()
        assert sink.streamed_bytes == 100_001
        assert sink.calls[-1] == ("stream_ended",)
        assert ("gone",) not in sink.calls
        channel.close()
        channel.resume()
        channel.read_rest()

    on_loop(scenario)


def test_the_rest_that_is_read_is_bounded(on_loop: OnLoop) -> None:
    """Whoever inherited the channel could write for ever."""

    async def scenario() -> None:
        sink, channel, runtime = await invoked()
        channel.pause()
        with runtime.sock.dup() as other:
            await runtime.send(STREAM + struct.pack("<IB", 2**32 - 1, 7))
            other.setblocking(True)
            writing = asyncio.ensure_future(asyncio.to_thread(write_for_ever, other))
            async with asyncio.timeout(30):
                while (before := sink.streamed_bytes) < 2 * REST_BYTES_MAX:
                    await asyncio.to_thread(time.sleep, 0.001)
                    channel.read_rest()
                    assert sink.streamed_bytes - before < REST_BYTES_MAX + READ_BYTES
            channel.close()
            await writing
        runtime.sock.close()

    on_loop(scenario)


def write_for_ever(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            sock.sendall(b"x" * 65_536)


def test_a_function_blocks_when_nobody_reads(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        sink, channel, runtime = await invoked()
        channel.pause()
        wanted = 16 * 1_048_576
        sending = asyncio.ensure_future(runtime.send(STREAM + frame(7, body=b"x" * wanted) + END))
        done, _ = await asyncio.wait([sending], timeout=0.2)
        assert not done
        channel.resume()
        await sending
        while sink.calls[-1:] != [("stream_ended",)]:
            await sink.after(len(sink.calls) + 1)
        assert sink.streamed_bytes == wanted
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
