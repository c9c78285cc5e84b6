"""The carrier for our bootstraps: frames over a Unix socketpair, two writes and two reads per invocation."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque

import orjson

from lambent.environments.channel import RuntimeEvent, RuntimeSink

from .error_types import INVALID_ERROR_BODY, normalise_error_type
from .frames import (
    END,
    ERROR,
    INIT_ERROR,
    LAST_ERROR,
    READY,
    RESPONSE,
    SNAPSHOT,
    STREAM,
    STREAM_ERROR,
    Chunks,
    Frame,
    FrameParser,
    MalformedFrame,
    encode_invoke,
    encode_restore,
)
from .machine import Machine, Move, Refused, State

ONE_WRITE_BYTES_MAX = 65_536
"""Events up to here are joined to their head; larger ones are written without a copy."""

READ_BYTES = 65_536
"""Bytes asked for by one read: enough for nearly every answer, and still cheap to allocate."""

OBSTACLES_MAX, OBSTACLE_CHARS_MAX = 8, 200
"""Of what a runtime says that keeps it from being a template."""
REST_BYTES_MAX = 4 * 1_048_576
"""What is read of an ended runtime's words at most; a socketpair holds far less unless a program enlarges it."""

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

    __slots__ = ("_is_paused", "_is_streaming", "_loop", "_machine", "_parser", "_sink", "_sock", "_unsent")

    def __init__(self, sock: socket.socket, sink: RuntimeSink) -> None:
        sock.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._sock: socket.socket | None = sock
        self._sink: RuntimeSink | None = sink
        self._machine = Machine()
        self._parser = FrameParser()
        self._unsent: deque[memoryview] = deque()
        """What the socket had no room for; at most one event, because a runtime gets one at a time."""
        self._is_paused = False
        self._is_streaming = False
        """Between a STREAM and its end."""
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

    def assign(self, assignment: bytes) -> None:
        """Tell a runtime that waited without a function which one it runs; once, before anything else."""
        self._write(assignment)

    def restore(self) -> None:
        """Tell a copy of a template that it lives; once, before anything else."""
        self._machine.move(Move.RESTORE_NEXT)  # as its template did
        self._machine.move(Move.THAW)
        self._write(encode_restore())

    def abandon(self) -> None:
        self._machine.abandon()

    def pause(self) -> None:
        if self._sock is not None and not self._is_paused:
            self._is_paused = True
            self._loop.remove_reader(self._sock.fileno())

    def resume(self) -> None:
        if self._sock is not None and self._is_paused:
            self._is_paused = False
            self._loop.add_reader(self._sock.fileno(), self._on_readable)

    def read_rest(self) -> None:
        taken = 0
        while self._sock is not None and taken < REST_BYTES_MAX:
            try:
                data = self._sock.recv(READ_BYTES)
            except OSError:  # nothing more is there, or nobody
                return
            if not data:
                return
            taken += len(data)
            self._received(data)

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
            if not self._is_paused:
                self._loop.remove_reader(sock.fileno())
            if self._unsent:
                self._loop.remove_writer(sock.fileno())
                self._unsent.clear()
            sock.close()

    def _take(self, frame: Frame | Chunks, sink: RuntimeSink) -> None:
        if isinstance(frame, Chunks):
            if not self._is_streaming:
                raise MalformedFrame("a CHUNK without a STREAM")
            if frame.size:
                sink.streamed(frame.pieces, frame.size)
            return
        machine = self._machine
        kind = frame.type
        if self._is_streaming:
            self._end_stream(frame, sink)
            return
        if kind in (RESPONSE, ERROR, LAST_ERROR):
            request_id, label = frame.names
            if machine.event is not None:
                machine.begin_result(request_id, None, Move.RESPONSE if kind == RESPONSE else Move.ERROR)
                machine.end_result(request_id)
                if frame.is_too_large:
                    sink.response_too_large(request_id, frame.size)
                elif kind == RESPONSE:
                    sink.response(request_id, label, frame.body)
                else:
                    sink.error(request_id, normalise_error_type(label), frame.body)
            # else: the late answer to an abandoned invocation, of which the platform wants to know no more
        elif kind == STREAM:
            request_id, label = frame.names
            if machine.event is not None:
                machine.begin_result(request_id, None, Move.RESPONSE)
                sink.stream_started(request_id, label)
            self._is_streaming = True
            return
        elif kind == INIT_ERROR:
            machine.move(Move.INIT_ERROR)
            sink.init_error(normalise_error_type(frame.names[0]), frame.body)
            return
        elif kind == SNAPSHOT:
            machine.move(Move.RESTORE_NEXT)
            sink.snapshot(_obstacles(frame.body))
            return
        elif kind != READY:
            raise MalformedFrame(f"a frame of type {kind} without a STREAM")
        if kind == LAST_ERROR:
            return  # it ends now; whoever came next would be lost with it
        if machine.ask() and self._sink is not None:
            sink.ready()

    def _end_stream(self, frame: Frame, sink: RuntimeSink) -> None:
        """What may follow a STREAM and its CHUNKs. Of an abandoned one the platform wants to know no more."""
        kind = frame.type
        if kind not in (END, STREAM_ERROR, LAST_ERROR):
            raise MalformedFrame(f"a frame of type {kind} within a STREAM")
        self._is_streaming = False
        machine = self._machine
        if machine.state is State.RESPONSE:
            machine.move(Move.BODY_READ)
        if machine.event is None:
            return
        if kind == END:
            sink.stream_ended()
        else:
            body = INVALID_ERROR_BODY if frame.is_too_large else frame.body
            sink.stream_failed(normalise_error_type(frame.names[-1]), body)


def _obstacles(body: bytes) -> list[str]:
    """What a runtime says of itself; it is the function's, so anything may come."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, list):
        raise MalformedFrame("a snapshot without its obstacles")
    return [str(one)[:OBSTACLE_CHARS_MAX] for one in said[:OBSTACLES_MAX]]
