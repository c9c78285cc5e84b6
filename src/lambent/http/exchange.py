"""One request and its answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .message import Application, Buffered, Request, Streamed
from .status import status_line

if TYPE_CHECKING:
    from .connection import Connection

ONE_WRITE_BYTES_MAX = 65_536
"""Bodies up to here are joined to their head and written at once; larger ones go with `writelines`, without a copy."""

_OURS = frozenset((b"content-length", b"transfer-encoding", b"connection", b"date"))
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NAMES_MAX = 1_024
_NAME_BYTES_KEPT = 64
_names: set[bytes] = set()  # field names that were found good, at most _NAMES_MAX

OPEN, STARTED, DONE, GONE = range(4)
_CHUNKED, _COUNTED, _UNTIL_CLOSE, _NONE = range(4)


class Exchange:
    """One request and its answer; single use.

    Answer with `respond`, or with `start`, `write` and `finish`. When the client has vanished all of these do nothing.
    An exchange and its connection let go of each other when the answer is complete: no cycle keeps a body alive.
    """

    __slots__ = (
        "_connection",
        "_framing",
        "_left",
        "app",
        "context",
        "needs_open",
        "on_gone",
        "on_room",
        "on_truncated",
        "request",
        "state",
    )

    def __init__(self, connection: Connection, request: Request, app: Application) -> None:
        self.request = request
        self.context: Any = None
        """The application's own, carried from `head` to `handle`."""
        self.on_gone: Callable[[], None] | None = None
        """Called once when the client vanished before the answer was complete."""
        self.on_room: Callable[[], None] | None = None
        """Called whenever a client that had too much waiting (`is_full`) has taken it."""
        self.on_truncated: Callable[[], None] | None = None
        """Called instead of the core's own 400 when the client ended a buffered body early and can still read an answer."""
        self.needs_open = False
        self.app = app
        """Who handles this exchange; see `delegate`."""
        self._connection: Connection | None = connection
        self.state = OPEN
        self._framing = _NONE
        self._left = 0

    @property
    def is_open(self) -> bool:
        """Whether an answer can still be given or continued."""
        return self.state <= STARTED

    @property
    def is_full(self) -> bool:
        """Whether the client has more unsent bytes waiting than `Limits.write_high_bytes`: write on when `on_room` is
        called, or `drain` is over."""
        return self._connection is not None and self._connection.is_full

    @property
    def is_started(self) -> bool:
        """Whether a streamed answer has begun."""
        return self.state == STARTED

    def delegate(self, app: Application) -> Buffered | Streamed | None:
        """Give this exchange to another application: answers its `head`, and the core calls it from now on."""
        self.app = app
        return app.head(self)

    def require_open(self) -> None:
        """From now on a client that closed its sending side counts as gone. (A half-closed client can't be told from
        one that went away until something is written to it.)"""
        self.needs_open = True
        if self._connection is not None:
            self._connection.check_half_closed()

    def respond(self, status: int, headers: Sequence[tuple[bytes, bytes]] = (), body: bytes = b"") -> None:
        """The whole answer in one write. Content-Length, Date and Connection are the core's.

        Raises ValueError for a field that is the core's or holds a line break, RuntimeError when answered already.
        """
        connection = self._connection
        if connection is None or self.state != OPEN:
            self._check_unanswered()
            return
        if status == 204 or status == 304:
            head = self._head(connection, status, headers, b"")
            body = b""
        else:
            head = self._head(connection, status, headers, b"Content-Length: %d\r\n" % len(body))
            if self.request.method == "HEAD":
                body = b""
        if len(body) <= ONE_WRITE_BYTES_MAX:
            connection.write(head + body)
        else:
            connection.writelines((head, body))
        self.state = DONE
        self._connection = None
        self.on_gone = self.on_room = self.on_truncated = None
        connection.answered()

    def start(self, status: int, headers: Sequence[tuple[bytes, bytes]] = (), length: int | None = None) -> None:
        """Begin a streamed answer: chunked, or of `length` bytes when that is known. Raises as `respond` does."""
        connection = self._connection
        if connection is None or self.state != OPEN:
            self._check_unanswered()
            return
        request = self.request
        if status == 204 or status == 304:
            framing, field = _NONE, b""
        elif length is not None:
            framing, field = _COUNTED, b"Content-Length: %d\r\n" % length
            self._left = length
        elif connection.minor == 1:
            framing, field = _CHUNKED, b"Transfer-Encoding: chunked\r\n"
        else:
            framing, field = _UNTIL_CLOSE, b""
            connection.close_after_answer()
        connection.write(self._head(connection, status, headers, field))
        self._framing = _NONE if request.method == "HEAD" else framing
        self.state = STARTED

    def write(self, data: bytes) -> None:
        """The next piece of a streamed answer. Raises ValueError when it exceeds the length given to `start`."""
        connection = self._connection
        if connection is None or self.state != STARTED:
            self._check_started()
            return
        framing = self._framing
        if not data or framing == _NONE:
            return
        if framing == _CHUNKED:
            if len(data) <= ONE_WRITE_BYTES_MAX:
                connection.write(b"%x\r\n%b\r\n" % (len(data), data))
            else:
                connection.writelines((b"%x\r\n" % len(data), data, b"\r\n"))
            return
        if framing == _COUNTED:
            if len(data) > self._left:
                raise ValueError(f"{len(data) - self._left} bytes more than the declared length")
            self._left -= len(data)
        connection.write(data)

    def write_pieces(self, pieces: Sequence[bytes | memoryview], size: int) -> None:
        """As `write`, for `size` bytes in several pieces: they go out as one chunk. Large ones are not copied."""
        connection = self._connection
        if connection is None or self.state != STARTED:
            self._check_started()
            return
        if self._framing != _CHUNKED:
            self.write(b"".join(pieces))
        elif size > ONE_WRITE_BYTES_MAX:
            connection.writelines((b"%x\r\n" % size, *pieces, b"\r\n"))
        elif size:
            connection.write(b"".join((b"%x\r\n" % size, *pieces, b"\r\n")))

    async def drain(self) -> None:
        """Wait while the client has more unsent bytes waiting than `Limits.write_high_bytes`."""
        connection = self._connection
        if connection is not None and self.state == STARTED:
            await connection.drained()

    def finish(self) -> None:
        """End a streamed answer. One that fell short of its declared length cuts the connection instead."""
        connection = self._connection
        if connection is None or self.state != STARTED:
            self._check_started()
            return
        if self._framing == _CHUNKED:
            connection.write(b"0\r\n\r\n")
        elif self._framing == _COUNTED and self._left:
            self.abort()
            return
        self._complete(connection)

    def abort(self) -> None:
        """Cut the connection: the only honest end of a streamed answer that failed. `on_gone` is not called."""
        connection = self._connection
        if connection is not None:
            self.on_gone = None
            connection.abort()

    def pause_body(self) -> None:
        """Stop reading the request's body (what one read had in hand may still come)."""
        if self._connection is not None:
            self._connection.pause_body()

    def resume_body(self) -> None:
        """Go on reading the body."""
        if self._connection is not None:
            self._connection.resume_body()

    def vanish(self) -> None:
        """The core's: the client is gone, or was refused by the core."""
        if self.state > STARTED:
            return
        self.state = GONE
        self._connection = None
        on_gone = self.on_gone
        self.on_gone = self.on_room = self.on_truncated = None
        if on_gone is not None:
            on_gone()

    def _complete(self, connection: Connection) -> None:
        self.state = DONE
        self._connection = None
        self.on_gone = self.on_room = self.on_truncated = None
        connection.answered()

    def _check_unanswered(self) -> None:
        if self.state != GONE:
            raise RuntimeError("this exchange is answered already")

    def _check_started(self) -> None:
        if self.state != GONE:
            raise RuntimeError("no streamed answer is under way")

    def _head(
        self, connection: Connection, status: int, headers: Sequence[tuple[bytes, bytes]], framing: bytes
    ) -> bytes:
        fields = b""
        if headers:
            for name, _ in headers:
                if name not in _names:
                    _check_name(name)
            fields = b"".join([b"%b: %b\r\n" % field for field in headers])
            count = len(headers)
            if fields.count(b"\n") != count or fields.count(b"\r") != count or b"\0" in fields:
                raise ValueError("a header field holds a line break or NUL")
        return b"%b%b%b%b\r\n" % (status_line(status), fields, framing, connection.own_fields())


def _check_name(name: bytes) -> None:
    if _TOKEN.fullmatch(name) is None or name.lower() in _OURS:
        raise ValueError(f"{name!r} is no field name, or one that the core writes")
    if len(_names) < _NAMES_MAX and len(name) <= _NAME_BYTES_KEPT:
        _names.add(name)
