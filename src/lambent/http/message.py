"""What the core hands to an application, and what the application answers about the body."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from .exchange import Exchange

Fields = list[tuple[bytes, bytes]]


class Tls(NamedTuple):
    """What was agreed with a client, in OpenSSL's words."""

    version: str
    """As `TLSv1.3`."""
    cipher: str


class Request:
    """One request; made by the connection."""

    __slots__ = (
        "body",
        "header",
        "headers",
        "keep_alive",
        "method",
        "minor",
        "origin",
        "path",
        "peer",
        "query",
        "target",
        "tls",
        "trailers",
    )

    def __init__(self) -> None:
        self.method = ""
        """As on the request line, upper case."""
        self.target = b""
        """As on the request line."""
        self.path = b""
        """Raw, still percent-encoded, without the query."""
        self.query = b""
        """Raw, without the question mark."""
        self.headers: Fields = []
        """Names in lower case, in order, repeats kept; values without surrounding white space."""
        self.body = b""
        """The whole body once `Application.handle` is called; empty before, and for streamed bodies."""
        self.peer: tuple[str, int] | None = None
        """Address and port of the client; None on a Unix socket."""
        self.origin: Any = None
        """Who stands behind the listener where that is known (a sandbox), else None; see `serve`."""
        self.minor = 1
        """HTTP/1.0 or HTTP/1.1."""
        self.tls: Tls | None = None
        """How the connection is encrypted; None: it is not."""
        self.keep_alive = True
        self.trailers: Sequence[tuple[bytes, bytes]] = ()
        """Fields after a chunked body, like `headers`."""
        nothing: dict[bytes, bytes] = {}
        self.header: Callable[[bytes], bytes | None] = nothing.get
        """The first value of a field, named in lower case; None: it is not there."""


class BodySink(Protocol):
    """Takes a streamed body. `Exchange.pause_body` stops the reading; what one read had in hand may still come."""

    def data(self, pieces: Sequence[bytes]) -> None:
        """The next bytes: what one read brought, in one piece or more, none empty; a piece is part of one chunk at most."""

    def eof(self) -> None:
        """The body is complete; trailers are on the request."""

    def gone(self) -> None:
        """The body will never be complete. `Exchange.is_open` tells whether an answer can still be given, here and now: when
        the sink gives none, the core answers 400."""


@dataclass(frozen=True, slots=True)
class Buffered:
    """Collect the body up to `limit` bytes, then call `handle`; over it call `too_large`. Make it once, not per request."""

    limit: int


@dataclass(frozen=True, slots=True)
class Streamed:
    """Feed the body to `sink` piece by piece; over `limit` bytes (None: no limit) the sink is `gone` and `too_large` called."""

    sink: BodySink
    limit: int | None = None
    is_patient: bool = False
    """The body may take its time: it is written while it comes to be."""


class Application(Protocol):
    """What a server serves. Calls come on the event loop, one request of a connection after another; none may block."""

    def head(self, exchange: Exchange) -> Buffered | Streamed | None:
        """The head is complete: say what becomes of the body. None: it is not wanted; the answer was given or will be."""

    def handle(self, exchange: Exchange) -> None:
        """A buffered body is complete; answer now or later."""

    def too_large(self, exchange: Exchange, limit: int, declared: int | None) -> None:
        """The body exceeds `limit` (`declared`: its Content-Length, if it had one); answer now or later."""
