"""The carrier for our bootstraps: frames over a Unix socketpair, two writes and two reads per invocation."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import cast

from lambent.environments.channel import RuntimeEvent, RuntimeSink

from .error_types import normalise_error_type
from .frames import ERROR, INIT_ERROR, LAST_ERROR, READY, RESPONSE, Frame, FrameParser, MalformedFrame, encode_invoke
from .machine import Machine, Move, Refused

ONE_WRITE_BYTES_MAX = 65_536
"""Events up to here are joined to their head; larger ones are written without a copy."""

log = logging.getLogger("lambent.runtime_api")


def open_frame_channel(sink: RuntimeSink) -> tuple[FrameChannel, socket.socket]:
    """A channel and the runtime's end of its socketpair, which the caller hands to the sandbox. On the running loop."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return FrameChannel(ours, sink), theirs


class FrameChannel(asyncio.Protocol):
    """A `RuntimeChannel` over the server's end of a socketpair, which it owns."""

    def __init__(self, sock: socket.socket, sink: RuntimeSink) -> None:
        sock.setblocking(False)
        self._sock: socket.socket | None = sock
        self._sink: RuntimeSink | None = sink
        self._machine = Machine()
        self._parser = FrameParser()
        self._transport: asyncio.WriteTransport | None = None
        # The transport is there before the runtime can have said a word; nothing is written before it has.
        self._connecting: asyncio.Task[None] | None = asyncio.get_running_loop().create_task(self._connect(sock))

    async def _connect(self, sock: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=sock)
        finally:
            self._connecting = None

    # -- RuntimeChannel

    def dispatch(self, event: RuntimeEvent) -> None:
        """Write one INVOKE frame. Raises Refused when the runtime is not ready."""
        self._machine.deliver(event)
        transport = self._transport
        if transport is None or transport.is_closing():
            return  # the runtime is gone; `gone` says so, or has said so
        head = encode_invoke(event)
        if len(event.body) <= ONE_WRITE_BYTES_MAX:
            transport.write(head + event.body)
        else:
            transport.writelines((head, event.body))

    def abandon(self) -> None:
        self._machine.abandon()

    def close(self) -> None:
        self._sink = None
        if self._transport is not None:
            self._transport.abort()
        elif self._connecting is not None:
            self._connecting.cancel()
            if self._sock is not None:
                self._sock.close()
        self._sock = None

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        if self._sink is None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = self._sock = None
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.gone()

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._parser.feed(data):
                if self._sink is None:
                    return
                self._take(frame, self._sink)
        except (MalformedFrame, Refused) as error:
            # The runtime does not speak the protocol (user code can write to its descriptor): end it as if it had gone.
            log.warning("a runtime broke the frame protocol: %s", error)
            if self._transport is not None:
                self._transport.abort()

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
