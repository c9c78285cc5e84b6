"""The carrier for our bootstraps: frames over a Unix socketpair, two writes and two reads per invocation."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Mapping

from lambent.environments.channel import RuntimeEvent, RuntimeSink

from .error_types import normalise_error_type
from .frames import (
    ERROR,
    INIT_ERROR,
    LAST_ERROR,
    READY,
    RESPONSE,
    Frame,
    FrameParser,
    MalformedFrame,
    encode_assign,
    encode_invoke,
)
from .machine import Machine, Move, Refused

ONE_WRITE_BYTES_MAX = 65_536
"""Events up to here are joined to their head; larger ones are written without a copy."""

READ_BYTES = 65_536
"""Bytes asked for by one read: enough for nearly every answer, and still cheap to allocate."""

log = logging.getLogger("lambent.runtime_api")


def open_frame_channel(sink: RuntimeSink) -> tuple[FrameChannel, socket.socket]:
    """A channel and the runtime's end of its socketpair, which the caller hands to the sandbox. On the running loop."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return FrameChannel(ours, sink), theirs


class FrameChannel:
    """A `RuntimeChannel` over the server's end of a socketpair, which it owns.

    It reads and writes the socket itself, when the loop says that it can. A transport of the loop's would be made in a
    task, and a runtime whose start fails meanwhile would find the descriptor closed twice, by then somebody else's.
    """

    __slots__ = ("_loop", "_machine", "_parser", "_sink", "_sock", "_unsent")

    def __init__(self, sock: socket.socket, sink: RuntimeSink) -> None:
        sock.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._sock: socket.socket | None = sock
        self._sink: RuntimeSink | None = sink
        self._machine = Machine()
        self._parser = FrameParser()
        self._unsent: deque[memoryview] = deque()
        """What the socket had no room for; at most one event, because a runtime gets one at a time."""
        self._loop.add_reader(sock.fileno(), self._on_readable)

    # -- RuntimeChannel

    def dispatch(self, event: RuntimeEvent) -> None:
        """Write one INVOKE frame. Raises Refused when the runtime is not ready."""
        self._machine.deliver(event)
        if self._sock is None:
            return  # the runtime is gone; `gone` says so, or has said so
        head = encode_invoke(event)
        if len(event.body) <= ONE_WRITE_BYTES_MAX:
            self._write(head + event.body)
        else:
            self._write(head)
            self._write(event.body)

    def assign(self, env: Mapping[str, str], cwd: str) -> None:
        """Tell a runtime that waited without a function which one it runs; once, before anything else."""
        self._write(encode_assign(env, cwd))

    def abandon(self) -> None:
        self._machine.abandon()

    def close(self) -> None:
        self._sink = None
        self._release()

    # -- the socket

    def _write(self, data: bytes) -> None:
        sock = self._sock
        if sock is None:
            return
        sent = 0
        if not self._unsent:
            try:
                sent = sock.send(data)
            except BlockingIOError:
                pass
            except OSError:
                self._lose()
                return
            if sent == len(data):
                return
            self._loop.add_writer(sock.fileno(), self._on_writable)
        self._unsent.append(memoryview(data)[sent:])

    def _on_writable(self) -> None:
        sock = self._sock
        while sock is not None and self._unsent:
            piece = self._unsent[0]
            try:
                sent = sock.send(piece)
            except BlockingIOError:
                return
            except OSError:
                self._lose()
                return
            if sent < len(piece):
                self._unsent[0] = piece[sent:]
                return
            self._unsent.popleft()
        if sock is not None:
            self._loop.remove_writer(sock.fileno())

    def _on_readable(self) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            data = sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._received(data)
        else:
            self._lose()

    def _received(self, data: bytes) -> None:
        try:
            for frame in self._parser.feed(data):
                if self._sink is None:
                    return
                self._take(frame, self._sink)
        except (MalformedFrame, Refused) as error:
            # The runtime does not speak the protocol (user code can write to its descriptor): end it as if it had gone.
            log.warning("a runtime broke the frame protocol: %s", error)
            self._lose()

    def _lose(self) -> None:
        """The runtime has gone, or is treated so."""
        self._release()
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.gone()

    def _release(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            self._loop.remove_reader(sock.fileno())
            if self._unsent:
                self._loop.remove_writer(sock.fileno())
                self._unsent.clear()
            sock.close()

    def _take(self, frame: Frame, sink: RuntimeSink) -> None:
        machine = self._machine
        if frame.type == RESPONSE or frame.type == ERROR or frame.type == LAST_ERROR:
            request_id, kind = frame.names
            if machine.event is not None:
                machine.begin_result(request_id, None, Move.RESPONSE if frame.type == RESPONSE else Move.ERROR)
                machine.end_result(request_id)
                if frame.is_too_large:
                    sink.response_too_large(request_id, frame.size)
                elif frame.type == RESPONSE:
                    sink.response(request_id, kind, frame.body)
                else:
                    sink.error(request_id, normalise_error_type(kind), frame.body)
            # else: the late answer to an abandoned invocation, of which the platform wants to know no more
            if frame.type == LAST_ERROR:
                return  # it ends now; whoever came next would be lost with it
            if machine.ask() and self._sink is not None:
                sink.ready()
        elif frame.type == READY:
            if machine.ask():
                sink.ready()
        elif frame.type == INIT_ERROR:
            machine.move(Move.INIT_ERROR)
            sink.init_error(normalise_error_type(frame.names[0]), frame.body)
