"""A streamed response on its way to an HTTP client: what the function writes goes out as it comes.

Under one content type the response begins with metadata (`invocations/prelude.py`), which become status, header fields and
cookies; under any other it is the body of a 200 of that type. The head is sent with the first bytes behind the metadata, or
with the end: until then a function that fails, or whose metadata are none, is still a 502. After that its failure can only
cut the body short, and does so visibly: the connection is cut before the last chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from lambent.environments.channel import Flow, Piece
from lambent.http import Exchange
from lambent.invocations.prelude import MalformedPrelude, PreludeReader, has_prelude

from .answers import HttpAnswer, Malformed, headers_of, status_of

Headers = list[tuple[bytes, bytes]]

BYTES_TYPE: Final = (b"content-type", b"application/octet-stream")
"""Of a body whose metadata name no type."""


def head_of(metadata: Mapping[str, Any]) -> tuple[int, Headers]:
    """Status and header fields that a prelude asks for; 200 where it says none. Raises Malformed."""
    status = metadata.get("statusCode")
    return (
        200 if status is None else status_of(status),
        headers_of(metadata.get("headers"), metadata.get("cookies"), otherwise=BYTES_TYPE),
    )


def whole_answer(body: bytes) -> HttpAnswer:
    """The response to a streamed one that was collected, metadata and all. Raises Malformed."""
    reader = PreludeReader()
    try:
        found = reader.feed((body,))
        if found is None:
            reader.end()
    except MalformedPrelude as error:
        raise Malformed(f"the function's response: {error}") from None
    assert found is not None
    return HttpAnswer(*head_of(found[0]), found[1])


class StreamedAnswer:
    """A `ResponseSink` that answers an exchange. A client that is slow pauses the function; for one that is gone the
    function runs on, and what it writes is dropped."""

    __slots__ = ("_content_type", "_exchange", "_flow", "_is_refused", "_own", "_reader", "_refuse", "size", "status")

    def __init__(
        self,
        exchange: Exchange,
        own: Callable[[Headers], Headers],
        refuse: Callable[[Malformed], None],
    ) -> None:
        """own: the door's header fields put around those of the function. refuse: answers the exchange with a 502, while it
        is not answered yet."""
        self._exchange = exchange
        self._own = own
        self._refuse = refuse
        self._reader: PreludeReader | None = None
        self._content_type = b""
        self._flow: Flow | None = None
        self._is_refused = False
        self.status = 200
        self.size = 0
        """Bytes of the body that were given to the client."""

    @property
    def is_open(self) -> bool:
        """Whether the client can still be given something else instead."""
        return self._exchange.is_open and not self._exchange.is_started

    def start(self, content_type: str, flow: Flow) -> None:
        exchange = self._exchange
        self._flow = flow
        exchange.on_gone = exchange.on_room = flow.resume
        if has_prelude(content_type):
            self._reader = PreludeReader()
        else:
            self._content_type = content_type.encode("latin-1", "replace")

    def write(self, pieces: Sequence[Piece], size: int) -> None:
        exchange = self._exchange
        if self._is_refused or not exchange.is_open:
            return
        if self._reader is not None:
            rest = self._read(self._reader, pieces)
            if rest is None:
                return
            pieces, size = (rest,), len(rest)
        elif not exchange.is_started:
            self._begin()
        exchange.write_pieces(pieces, size)
        self.size += size
        if exchange.is_full and self._flow is not None:
            self._flow.pause()

    def end(self) -> None:
        exchange = self._exchange
        if self._is_refused or not exchange.is_open:
            return
        if self._reader is not None:
            try:
                self._reader.end()
            except MalformedPrelude as error:
                self._break(error)
            return
        if not exchange.is_started:
            self._begin()
        exchange.finish()

    def cut(self) -> None:
        """The function failed in the midst of its body."""
        self._exchange.abort()

    def _read(self, reader: PreludeReader, pieces: Sequence[Piece]) -> bytes | None:
        """What of the body came behind the metadata; None: they are not whole yet, or none."""
        try:
            found = reader.feed(pieces)
            if found is None:
                return None
            status, fields = head_of(found[0])
        except (MalformedPrelude, Malformed) as error:
            self._break(error)
            return None
        self._reader = None
        self.status = status
        self._exchange.start(status, self._own(fields))
        return found[1]

    def _begin(self) -> None:
        self._exchange.start(200, self._own([(b"content-type", self._content_type)]))

    def _break(self, error: Exception) -> None:
        """There is no head to send: all that follows is dropped, and the function runs on."""
        self._is_refused = True
        self._reader = None
        self._refuse(Malformed(f"the function's response: {error}"))
