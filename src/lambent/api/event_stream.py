"""The answer of InvokeWithResponseStream: binary event-stream messages, written while the function answers.

A message is `u32 total length, u32 length of the headers, u32 CRC of these eight bytes, headers, payload, u32 CRC of all
that`, big-endian; the CRC is the common one of zlib. What a function writes becomes PayloadChunk events, one for each
chunk as it came, and InvokeComplete says how it ended. A stream without one was cut short. Source: Smithy, "Amazon Event
Stream Specification"; AWS Lambda API reference, InvokeWithResponseStreamResponseEvent.

What is the same for all chunks of one size (lengths, headers and the checksum over them) is made once: a small chunk costs
little more than the checksum of its bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from typing import TYPE_CHECKING
from zlib import crc32

import orjson

if TYPE_CHECKING:
    from lambent.environments.channel import Flow, Piece
    from lambent.http import Exchange

CONTENT_TYPE = b"application/vnd.amazon.eventstream"
HEADS_MAX = 1_024
"""Sizes of chunks whose head is remembered; beyond it the table starts anew."""

_STRING = 7
_PRELUDE = Struct(">II")
_U32 = Struct(">I")
_AROUND_BYTES = 16
"""Of a message beside headers and payload: two lengths, two checksums."""


def _headers(values: Mapping[str, str]) -> bytes:
    encoded = bytearray()
    for name, value in values.items():
        text = value.encode()[:0xFFFF]
        encoded += bytes((len(name),)) + name.encode() + bytes((_STRING,)) + len(text).to_bytes(2, "big") + text
    return bytes(encoded)


def _event(name: str, content_type: str) -> bytes:
    return _headers({":message-type": "event", ":event-type": name, ":content-type": content_type})


_CHUNK = _event("PayloadChunk", "application/octet-stream")
_COMPLETE = _event("InvokeComplete", "application/json")


def _head(headers: bytes, size: int) -> bytes:
    lengths = _PRELUDE.pack(_AROUND_BYTES + len(headers) + size, len(headers))
    return lengths + _U32.pack(crc32(lengths)) + headers


def message(headers: bytes, payload: bytes) -> bytes:
    """One whole message."""
    whole = _head(headers, len(payload)) + payload
    return whole + _U32.pack(crc32(whole))


_heads: dict[int, tuple[bytes, int]] = {}  # by size of the payload: head of a PayloadChunk, and its checksum


def payload_chunks(pieces: Iterable[Piece]) -> tuple[list[Piece], int]:
    """PayloadChunk messages, one for each piece: their parts in order, and how many bytes that is."""
    parts: list[Piece] = []
    add = parts.append
    total = 0
    for piece in pieces:
        size = len(piece)
        known = _heads.get(size)
        if known is None:
            known = _learn(size)
        head, crc = known
        add(head)
        add(piece)
        add(crc32(piece, crc).to_bytes(4, "big"))
        total += len(head) + size + 4
    return parts, total


def _learn(size: int) -> tuple[bytes, int]:
    if len(_heads) >= HEADS_MAX:
        _heads.clear()
    head = _head(_CHUNK, size)
    known = _heads[size] = head, crc32(head)
    return known


def invoke_complete(error: bytes | None, log_result: str | None) -> bytes:
    """The last message. error: the document of a function that failed; log_result: base64, where it was asked for."""
    told = {}
    if error is not None:
        told["ErrorCode"] = "Unhandled"
        told["ErrorDetails"] = error.decode("utf-8", "replace")
    if log_result is not None:
        told["LogResult"] = log_result
    return message(_COMPLETE, orjson.dumps(told))


def failure(code: str, text: str) -> bytes:
    """The last message of a stream that the platform could not finish: clients raise it as an error."""
    return message(_headers({":message-type": "error", ":error-code": code, ":error-message": text}), b"")


class EventStreamAnswer:
    """A `ResponseSink` that answers an exchange. A client that is slow pauses the function; for one that is gone the
    function runs on, and what it writes is dropped."""

    __slots__ = ("_exchange", "_flow", "_headers")

    def __init__(self, exchange: Exchange, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """headers: of the answer, beside its type."""
        self._exchange = exchange
        self._headers = headers
        self._flow: Flow | None = None

    def start(self, content_type: str, flow: Flow) -> None:
        exchange = self._exchange
        self._flow = flow
        exchange.on_gone = exchange.on_room = flow.resume
        self._begin((b"x-amzn-remapped-content-type", content_type.encode()))

    def write(self, pieces: Sequence[Piece], size: int) -> None:
        exchange = self._exchange
        if exchange.is_open:
            exchange.write_pieces(*payload_chunks(pieces))
            if exchange.is_full and self._flow is not None:
                self._flow.pause()

    def end(self) -> None:
        """That is said by the last message, which tells what was written down of the whole attempt."""

    def finish(self, last: bytes) -> None:
        """Write the last message, and the head if nothing was written yet."""
        exchange = self._exchange
        if exchange.is_open:
            if not exchange.is_started:
                self._begin()
            exchange.write(last)
            exchange.finish()

    def _begin(self, *more: tuple[bytes, bytes]) -> None:
        self._exchange.start(200, [*self._headers, (b"content-type", CONTENT_TYPE), *more])
