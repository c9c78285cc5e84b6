"""One client connection: reading requests one after another, and what cuts it short.

A message is framed here, byte by byte, and only the head is given to a parser (`head.py`). What a client sends ahead of
its turn stays raw until the request before it is answered, so requests of one connection are handled in order and a
`Connection: close` or a refusal leaves the rest unread. Callbacks only: no task and no future per request.

    IDLE ─first byte─► HEAD ─blank line─► BODY ─complete─► HANDLING ─answered─► IDLE
                                            └─answered early─► DISCARD (short rest) ─► IDLE
                                            └─answered early, refused─► LINGER ─► closed
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, cast

from .chunked import ChunkDecoder
from .exchange import STARTED, Exchange
from .head import Refusal, read_head
from .limits import Limits
from .message import Application, Buffered, Streamed, Tls
from .status import CONTINUE, ERROR_HEADERS, error_body, status_line

IDLE, HEAD, BODY, DISCARD, HANDLING, LINGER, CLOSED = range(7)

_BY_HELD, _BY_SINK = 1, 2


class Service:
    """What the connections of one server share."""

    __slots__ = ("admits", "app", "connections", "date_line", "is_draining", "limits", "loop", "on_change", "origin")

    def __init__(self, app: Application, limits: Limits, loop: asyncio.AbstractEventLoop, origin: Any) -> None:
        self.app = app
        self.limits = limits
        self.date_line = b""
        """The Date field of every answer, renewed by each sweep and when the first connection comes."""
        self.loop = loop
        self.origin = origin
        self.connections: set[Connection] = set()
        self.is_draining = False
        self.on_change: Callable[[], None] | None = None
        """Called after a connection was opened or closed."""
        self.admits: Callable[[tuple[str, int]], bool] | None = None
        """Asked about the peer of each connection, where not everybody who can connect may."""


class Connection(asyncio.Protocol):
    """The protocol of one accepted socket."""

    __slots__ = (
        "_age_s",
        "_closes",
        "_consuming",
        "_decoder",
        "_drain_waiter",
        "_eof",
        "_exchange",
        "_got",
        "_head",
        "_held",
        "_left",
        "_limit",
        "_limits",
        "_parts",
        "_paused",
        "_peer",
        "_phase",
        "_service",
        "_stalled_s",
        "_tls",
        "_transport",
        "_unsent",
        "_waits_for_continue",
        "_want",
        "_write_paused",
        "minor",
    )

    def __init__(self, service: Service) -> None:
        self._service = service
        self._limits = service.limits
        self._transport: asyncio.Transport | None = None
        self._peer: tuple[str, int] | None = None
        self._tls: Tls | None = None
        self._phase = IDLE
        self._age_s = 0.0  # in this phase, as the sweep counts
        self._stalled_s = 0.0  # since the client last took a byte of what waits for it
        self._unsent = 0
        self._head: bytearray | None = None  # an unfinished head
        self._held = b""  # read ahead of its turn
        self._exchange: Exchange | None = None
        self._decoder: ChunkDecoder | None = None
        self._want: Buffered | Streamed | None = None
        self._parts: bytearray | None = None
        self._left = 0
        self._got = 0
        self._limit: int | None = None
        self._waits_for_continue = False
        self._closes = False
        self._eof = False
        self._consuming = False
        self._paused = 0
        self._write_paused = False
        self._drain_waiter: asyncio.Future[None] | None = None
        self.minor = 1

    # -- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=self._limits.write_high_bytes)
        peer = transport.get_extra_info("peername")
        self._peer = (peer[0], peer[1]) if isinstance(peer, tuple) else None
        cipher = transport.get_extra_info("cipher")
        if cipher is not None:
            self._tls = Tls(cipher[1] if cipher[1] != "TLSv1/SSLv3" else "TLSv1", cipher[0])
        service = self._service
        service.connections.add(self)
        if service.on_change is not None:
            service.on_change()
        if service.is_draining:
            self._transport.abort()  # it was accepted in the very turn in which the server stopped
        elif service.admits is not None and (self._peer is None or not service.admits(self._peer)):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        phase = self._phase
        exchange = self._exchange
        want = self._want
        self._phase = CLOSED
        self._exchange = self._want = self._transport = self._head = self._parts = self._decoder = None
        self._held = b""
        self._release_drain()
        service = self._service
        service.connections.discard(self)
        if exchange is not None:
            self._call(None, self._tell_gone, exchange, want if phase == BODY else None)
        if service.on_change is not None:
            service.on_change()

    def data_received(self, data: bytes) -> None:
        if self._held or self._phase == HANDLING or (self._write_paused and self._phase <= HEAD):
            self._hold(data)
        else:
            self._consume(data)

    def eof_received(self) -> bool:
        self._eof = True
        if self._tls is not None:
            # Half of an encrypted connection can't be closed: who says farewell here is gone, and the transport closes.
            if self._phase == BODY and self._exchange is not None:
                self._truncated(self._exchange)
            return False
        phase = self._phase
        exchange = self._exchange
        if phase == BODY and exchange is not None:
            self._truncated(exchange)
        elif phase == HANDLING:
            if exchange is not None and exchange.needs_open:
                return False
        elif not self._held:
            return False  # the transport closes itself, unsent answers first
        return True

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._release_drain()
        exchange = self._exchange
        if exchange is not None and exchange.on_room is not None:
            self._call(exchange, exchange.on_room)
        if self._phase == IDLE and not self._consuming:
            self._next()

    # -- reading

    def _consume(self, data: bytes) -> None:
        self._consuming = True
        try:
            while data:
                phase = self._phase
                if phase <= HEAD and not self._write_paused:
                    data = self._take_head(data)
                elif HEAD < phase <= DISCARD:
                    data = self._take_body(data)
                elif phase <= HANDLING:
                    self._hold(data)
                    break
                else:
                    break  # lingering or closed: nobody wants it
        except Refusal as refusal:
            self._refuse(refusal)
        finally:
            self._consuming = False
        if self._phase == IDLE and (self._eof or self._service.is_draining) and not self._held:
            self._close()

    def _hold(self, data: bytes) -> None:
        self._held = self._held + data if self._held else data
        if len(self._held) >= self._limits.pipelined_bytes:
            self._pause(_BY_HELD)

    def _take_head(self, data: bytes) -> bytes:
        """Read on in a head; answers what lies behind its end."""
        partial = self._head
        if partial is None:
            if data[0] in b"\r\n" and not (data := _skip_empty_lines(data)):
                return b""
            end = data.find(b"\r\n\r\n") + 4
            if end > 3:
                if end > self._limits.head_bytes:
                    raise _head_too_large(data, self._limits.head_bytes)
                self._begin(data if end == len(data) else data[:end], len(data) > end)
                return data[end:]
            partial = self._head = bytearray()
            self._phase = HEAD
            self._age_s = 0.0
        searched = max(0, len(partial) - 3)
        partial += data
        if partial[0] == 0x0D and partial[:2] == b"\r\n":
            self._head = None  # an empty line, torn in two; nothing of a head is there yet
            self._phase = IDLE
            return bytes(partial[2:])
        end = partial.find(b"\r\n\r\n", searched) + 4
        if end <= 3:
            if len(partial) > self._limits.head_bytes:
                raise _head_too_large(partial, self._limits.head_bytes)
            if partial.count(b"\n", searched) != partial.count(b"\r\n", max(0, searched - 1)):
                raise Refusal(400, "A line must end in CR LF")
            return b""
        if end > self._limits.head_bytes:
            raise _head_too_large(partial, self._limits.head_bytes)
        self._head = None
        rest = bytes(partial[end:])
        self._begin(bytes(partial[:end]), bool(rest))
        return rest

    def _begin(self, raw: bytes, more_in_hand: bool) -> None:
        """A head is complete: make the exchange and ask the application what becomes of the body."""
        limits = self._limits
        head = read_head(raw, limits.head_fields)
        head.peer = self._peer
        head.tls = self._tls
        head.origin = self._service.origin
        self.minor = head.minor
        self._closes = False
        self._waits_for_continue = head.continues and not more_in_hand
        self._left = head.length
        self._got = 0
        self._age_s = 0.0
        app = self._service.app
        exchange = self._exchange = Exchange(self, head, app)
        if head.chunked:
            self._decoder = ChunkDecoder(limits.chunk_line_bytes, limits.head_bytes)
        elif not head.length:
            self._phase = HANDLING
            want = self._call(exchange, app.head, exchange)
            if want is not None and exchange.state <= STARTED:
                if isinstance(want, Buffered):
                    self._call(exchange, exchange.app.handle, exchange)
                else:
                    self._call(exchange, want.sink.eof)
            return
        self._phase = BODY
        try:
            want = app.head(exchange)
        except Exception as error:
            want = None
            self._failed(exchange, error)
        if self._exchange is not exchange:
            return  # answered already; `answered` has seen to the rest
        self._want = want
        limit: int | None = limits.body_bytes
        if isinstance(want, Streamed) or (want is not None and want.limit < limits.body_bytes):
            limit = want.limit
        self._limit = limit
        if want is not None and limit is not None and head.length > limit:
            self._too_large(exchange, limit, head.length)
        elif self._waits_for_continue and want is not None:
            self._waits_for_continue = False
            self.write(CONTINUE)

    def _take_body(self, data: bytes) -> bytes:
        """Read on in a body; answers what lies behind its end."""
        decoder = self._decoder
        if decoder is None:
            left = self._left
            want = self._want
            if len(data) >= left and not self._got and isinstance(want, Buffered):
                self._take_whole(data if len(data) == left else data[:left])
                return data[left:]
            if len(data) <= left:
                piece, rest = data, b""
            else:
                piece, rest = data[:left], data[left:]
            self._left = left = left - len(piece)
            self._take_piece(piece, left == 0)
            is_complete = left == 0
        else:
            pieces, rest = decoder.feed(data)
            if isinstance(self._want, Streamed) and pieces:
                self._take_pieces(self._want, pieces)
            else:
                for piece in pieces:
                    self._take_piece(piece, False)
            is_complete = decoder.done
        if is_complete and self._phase <= DISCARD:
            self._body_complete()
        return rest

    def _take_whole(self, body: bytes) -> None:
        """A buffered body of known length that came in one piece: the usual case. Its limit was checked already."""
        self._want = None
        self._phase = HANDLING
        exchange = self._exchange
        assert exchange is not None
        exchange.request.body = body
        try:
            exchange.app.handle(exchange)
        except Exception as error:
            self._failed(exchange, error)

    def _take_piece(self, piece: bytes, is_last: bool) -> None:
        self._got += len(piece)
        exchange = self._exchange
        if exchange is None:
            return
        want = self._want
        limit = self._limit
        if limit is not None and self._got > limit:
            if want is None:
                raise Refusal(413, "The body is too large")
            self._too_large(exchange, limit, None)
        elif isinstance(want, Buffered):
            if self._parts is not None:
                self._parts += piece
            elif is_last:
                exchange.request.body = piece
            else:
                self._parts = bytearray(piece)
        elif want is not None:
            self._call(exchange, want.sink.data, (piece,))

    def _take_pieces(self, want: Streamed, pieces: list[bytes]) -> None:
        """What one read brought of a chunked body that is streamed."""
        self._got += sum(map(len, pieces))
        exchange = self._exchange
        if exchange is None:
            return
        if self._limit is not None and self._got > self._limit:
            self._too_large(exchange, self._limit, None)
        else:
            self._call(exchange, want.sink.data, pieces)

    def _body_complete(self) -> None:
        exchange = self._exchange
        decoder = self._decoder
        self._decoder = None
        if exchange is None:
            self._end_cycle()
            return
        self._phase = HANDLING
        if decoder is not None:
            exchange.request.trailers = decoder.trailers
        want = self._want
        self._want = None
        if isinstance(want, Buffered):
            if self._parts is not None:
                exchange.request.body = bytes(self._parts)
                self._parts = None
            self._call(exchange, exchange.app.handle, exchange)
        elif want is not None:
            self._call(exchange, want.sink.eof)

    def _too_large(self, exchange: Exchange, limit: int, declared: int | None) -> None:
        want = self._want
        self._want = self._parts = None
        self._limit = self._limits.body_bytes
        if isinstance(want, Streamed):
            self._call(exchange, want.sink.gone)
        if exchange.is_open:
            self._call(exchange, exchange.app.too_large, exchange, limit, declared)

    def _truncated(self, exchange: Exchange) -> None:
        """The client ended its side within a body."""
        want = self._want
        self._want = self._parts = None
        self._phase = HANDLING  # nothing more will be read
        self._closes = True
        if isinstance(want, Streamed):
            self._call(exchange, want.sink.gone)
        elif exchange.on_truncated is not None:
            self._call(exchange, exchange.on_truncated)
        if want is not None and self._exchange is exchange:
            self._refuse(Refusal(400, "The body ended before its declared length"))

    # -- what applications and exchanges may do

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def writelines(self, pieces: Iterable[bytes | memoryview]) -> None:
        if self._transport is not None:
            self._transport.writelines(pieces)

    def own_fields(self) -> bytes:
        """Date and Connection of the answer about to be written; decides whether the connection outlives it."""
        exchange = self._exchange
        assert exchange is not None
        if (
            self._closes
            or not exchange.request.keep_alive
            or self._eof
            or self._service.is_draining
            or (
                self._phase == BODY
                and (self._waits_for_continue or self._decoder is not None or self._left > self._limits.discard_bytes)
            )
        ):
            self._closes = True
            return self._service.date_line + b"Connection: close\r\n"
        if self.minor == 1:
            return self._service.date_line
        return self._service.date_line + b"Connection: keep-alive\r\n"

    def close_after_answer(self) -> None:
        self._closes = True

    def answered(self) -> None:
        """The exchange's answer is written to its end."""
        self._exchange = None
        if self._phase == HANDLING:
            if not self._closes and self._consuming and not self._paused:
                self._phase = IDLE
                self._age_s = 0.0
            else:
                self._end_cycle()
        elif self._phase == BODY:
            self._want = self._parts = None
            self._age_s = 0.0
            if self._closes:
                self._linger()
            else:
                self._phase = DISCARD
                self._unpause(_BY_SINK)

    @property
    def is_full(self) -> bool:
        """The client leaves more unsent than it should."""
        return self._write_paused

    async def drained(self) -> None:
        if self._write_paused and self._transport is not None:
            if self._drain_waiter is None:
                self._drain_waiter = self._service.loop.create_future()
            await asyncio.shield(self._drain_waiter)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def pause_body(self) -> None:
        self._pause(_BY_SINK)

    def resume_body(self) -> None:
        self._unpause(_BY_SINK)

    def check_half_closed(self) -> None:
        if self._eof:
            self.abort()

    def drain(self) -> None:
        """The server is draining: leave at once when nothing is under way, else after the answer."""
        if self._phase == IDLE and not self._held:
            self._close()

    # -- ends of a message and of the connection

    def _end_cycle(self) -> None:
        if self._closes:
            self._close()
            return
        self._phase = IDLE
        self._age_s = 0.0
        if self._paused & _BY_SINK:
            self._unpause(_BY_SINK)
        if not self._consuming:
            self._next()

    def _next(self) -> None:
        """Begin with what was read ahead, if the client takes our answers."""
        if self._held and not self._write_paused:
            data, self._held = self._held, b""
            self._unpause(_BY_HELD)
            self._consume(data)
        elif not self._held and (self._eof or self._service.is_draining):
            self._close()

    def _close(self) -> None:
        self._phase = CLOSED
        self._held = b""
        if self._transport is not None:
            self._transport.close()

    def _linger(self) -> None:
        """Close so that a client in mid-request gets to read the answer: an immediate close would reset it."""
        transport = self._transport
        if transport is None or self._eof:
            self._close()
            return
        self._phase = LINGER
        self._age_s = 0.0
        self._held = b""
        self._decoder = None
        if self._paused:
            self._paused = 0
            transport.resume_reading()
        if transport.can_write_eof():
            transport.write_eof()

    def _refuse(self, refusal: Refusal) -> None:
        """The core's own answer, and the end of the connection."""
        exchange, self._exchange = self._exchange, None
        want, self._want = self._want, None
        self._head = self._parts = None
        if exchange is not None:
            was_started = exchange.is_started
            self._call(None, self._tell_gone, exchange, want)
            if was_started:
                self.abort()
                return
        body = error_body(refusal.message)
        ((name, value),) = ERROR_HEADERS
        self.write(
            b"%b%b: %b\r\n%bContent-Length: %d\r\nConnection: close\r\n\r\n%b"
            % (status_line(refusal.status), name, value, self._service.date_line, len(body), body)
        )
        self._linger()

    @staticmethod
    def _tell_gone(exchange: Exchange, want: Buffered | Streamed | None) -> None:
        exchange.vanish()
        if isinstance(want, Streamed):
            want.sink.gone()

    def _call(self, exchange: Exchange | None, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call into the application. What it raises is a bug of ours: it is reported, and answered with 500."""
        try:
            return function(*arguments)
        except Exception as error:
            self._failed(exchange, error)
            return None

    def _failed(self, exchange: Exchange | None, error: Exception) -> None:
        self._service.loop.call_exception_handler(
            {"message": "an HTTP application failed", "exception": error, "protocol": self}
        )
        if exchange is not None and exchange.is_started:
            exchange.abort()
        elif exchange is not None and exchange.is_open:
            self._closes = True
            exchange.respond(500, ERROR_HEADERS, error_body("Internal Server Error"))

    def _pause(self, reason: int) -> None:
        if not self._paused and self._transport is not None and not self._eof:
            self._transport.pause_reading()
        self._paused |= reason

    def _unpause(self, reason: int) -> None:
        if not self._paused & reason:
            return
        self._paused &= ~reason
        if not self._paused and self._transport is not None and not self._eof and not self._transport.is_closing():
            self._transport.resume_reading()

    def _release_drain(self) -> None:
        waiter, self._drain_waiter = self._drain_waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # -- time

    def tick(self, elapsed_s: float) -> None:
        """`elapsed_s` have passed since the last sweep: cut what takes too long."""
        transport = self._transport
        if transport is None:
            return
        limits = self._limits
        unsent = transport.get_write_buffer_size()
        self._stalled_s = self._stalled_s + elapsed_s if unsent and unsent == self._unsent else 0.0
        self._unsent = unsent
        if self._stalled_s > limits.write_stall_s:
            transport.abort()
            return
        phase = self._phase
        if phase == HANDLING or self._paused & _BY_SINK:
            return
        age_s = self._age_s
        self._age_s = age_s + elapsed_s
        if phase == IDLE:
            if limits.idle_s is not None and age_s > limits.idle_s and not unsent:
                self._close()
        elif phase == HEAD:
            if age_s > limits.header_s:
                self._refuse(Refusal(408, "The request's head took too long"))
        elif phase == LINGER:
            if age_s > limits.linger_s and not unsent:
                transport.abort()
        elif phase == BODY and isinstance(self._want, Streamed) and self._want.is_patient:
            return
        elif phase != CLOSED and age_s > limits.body_grace_s + self._got / limits.body_rate_min:
            self._refuse(Refusal(408, "The request's body came too slowly"))


def _skip_empty_lines(data: bytes) -> bytes:
    """Empty lines before a request line are skipped; a line break that is not CR LF stays and is refused."""
    while data[:2] == b"\r\n":
        data = data[2:]
    return data


def _head_too_large(head: bytes | bytearray, limit: int) -> Refusal:
    """Which part was too much: the request line (414) or the fields (431)."""
    if 0 <= head.find(b"\r\n") < limit:
        return Refusal(431, "The header fields are too large")
    return Refusal(414, "The request target is too long")
