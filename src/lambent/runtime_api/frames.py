"""The frames between the platform and our bootstraps: a codec, no sockets.

Little-endian, no padding; `u32 length` (of what follows), `u8 type`, payload. The types and payloads are listed in
ARCHITECTURE.md, "Frames".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from lambent.domain.limits import INVOKE_RESPONSE_BYTES_MAX
from lambent.environments.channel import Piece, RuntimeEvent

INVOKE = 1
RESPONSE = 2
ERROR = 3
INIT_ERROR = 4
READY = 5
STREAM = 6
CHUNK = 7
END = 8
STREAM_ERROR = 9
LAST_ERROR = 10
ASSIGN = 11
WAITING = 12
SNAPSHOT = 20
RESTORE = 21
REHEARSE = 22

NAME_BYTES_MAX = 4_096
"""Longest string (request id, content type, error type) in a frame from a runtime."""
FRAME_BYTES_MAX = 1 + 2 * (2 + NAME_BYTES_MAX) + INVOKE_RESPONSE_BYTES_MAX
"""Longest frame that is kept whole. Of a longer one only the strings are kept and the rest is thrown away as it comes,
so that a runtime with too large a result stays healthy."""
_KEPT_BYTES = 1 + 2 * (2 + NAME_BYTES_MAX)

_INVOKE_HEAD = struct.Struct("<IBQ6H")
_U32 = struct.Struct("<I")


VIEW_BYTES = 16_384
"""From here on a piece of a chunk is a view of what was read, not a copy."""


class MalformedFrame(Exception):
    """What came is no frame of the protocol; the channel is beyond repair."""


@dataclass(slots=True)
class Frame:
    """One frame from a runtime. `names`: its strings, in order; `size`: bytes of the body as sent, also when it was too
    large and `body` is empty."""

    type: int
    names: tuple[str, ...]
    body: bytes
    size: int

    @property
    def is_too_large(self) -> bool:
        """The body exceeds what a response may have; it was not kept."""
        return self.size > INVOKE_RESPONSE_BYTES_MAX


class Chunks:
    """What CHUNK frames without another frame between carried. A chunk that came in several reads is several pieces, each
    passed on as it came: a chunk may be as large as its function likes."""

    __slots__ = ("pieces", "size")
    type = CHUNK

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.size = 0


_NAMES_OF = {
    RESPONSE: 2,
    ERROR: 2,
    INIT_ERROR: 1,
    READY: 0,
    LAST_ERROR: 2,
    STREAM: 2,
    END: 0,
    STREAM_ERROR: 1,
    SNAPSHOT: 0,
}
_BARE = {READY: "READY", STREAM: "STREAM", END: "END"}
"""Frames with nothing after their strings."""


def encode_invoke(event: RuntimeEvent) -> bytes:
    """Everything of an INVOKE frame but the event itself, which follows. Raises ValueError for a string over 65,535 bytes."""
    request_id, arn, trace = event.request_id.encode(), event.invoked_arn.encode(), event.trace_id.encode()
    context, identity, tenant = (
        event.client_context.encode(),
        event.cognito_identity.encode(),
        event.tenant_id.encode(),
    )
    strings = b"".join((request_id, arn, trace, context, identity, tenant))
    lengths = len(request_id), len(arn), len(trace), len(context), len(identity), len(tenant)
    length = _INVOKE_HEAD.size - 4 + len(strings) + len(event.body)
    try:
        return _INVOKE_HEAD.pack(length, INVOKE, event.deadline_ms, *lengths) + strings
    except struct.error:
        raise ValueError(f"a string of an event exceeds 65535 bytes: {lengths}") from None


def encode_assign(env: Mapping[str, str], cwd: str) -> bytes:
    """The ASSIGN frame: what a runtime that waited without a function becomes."""
    document = orjson.dumps({"env": dict(env), "cwd": cwd})
    return _U32.pack(1 + len(document)) + bytes((ASSIGN,)) + document


def encode_restore() -> bytes:
    """The RESTORE frame: a copy of a template goes on."""
    return _U32.pack(1) + bytes((RESTORE,))


class FrameParser:
    """Frames out of a byte stream, however it is split. Holds at most one frame, and nothing of a chunk."""

    __slots__ = ("_is_chunk", "_kept", "_left", "_length")

    def __init__(self) -> None:
        self._kept = bytearray()  # the frame so far, its length field included until that is read
        self._length = -1  # of the current frame; -1 while its length field is incomplete
        self._left = 0  # bytes of the current frame still to come
        self._is_chunk = False  # the current frame is a CHUNK whose type was read

    def feed(self, data: bytes) -> list[Frame | Chunks]:
        """The frames completed by `data`, and what is in it of chunks. Raises MalformedFrame."""
        frames: list[Frame | Chunks] = []
        at = 0
        end = len(data)
        kept = self._kept
        chunks: Chunks | None = None  # the last of `frames`, if it is chunks
        while at < end:
            if self._length < 0:
                if not kept and end - at >= 4:
                    if end - at > 4 and data[at + 4] == CHUNK:
                        # Whole chunks, one after another: how they come when a function writes faster than we read.
                        if chunks is None:
                            chunks = Chunks()
                            frames.append(chunks)
                        at = _take_chunks(data, at, end, chunks)
                        if end - at < 4:
                            continue
                    (self._length,) = _U32.unpack_from(data, at)
                    at += 4
                else:
                    take = min(4 - len(kept), end - at)
                    kept += data[at : at + take]
                    at += take
                    if len(kept) < 4:
                        break
                    (self._length,) = _U32.unpack(kept)
                    kept.clear()
                if self._length == 0:
                    raise MalformedFrame("a frame without a type")
                self._left = self._length
                continue
            if self._is_chunk or (data[at] == CHUNK and self._left == self._length):
                if chunks is None:
                    chunks = Chunks()
                    frames.append(chunks)
                at = self._take_part_of_chunk(data, at, end, chunks)
                continue
            chunks = None
            take = min(self._left, end - at)
            if take == self._length <= FRAME_BYTES_MAX:  # the usual case: all of it is here
                frames.append(_decode(data, at, at + take, take))
            else:
                room = (self._length if self._length <= FRAME_BYTES_MAX else _KEPT_BYTES) - len(kept)
                if room > 0:
                    kept += data[at : at + min(take, room)]
                if self._left == take:
                    frames.append(_decode(kept, 0, len(kept), self._length))
                    kept.clear()
            at += take
            self._left -= take
            if self._left == 0:
                self._length = -1
        return frames

    def _take_part_of_chunk(self, data: bytes, at: int, end: int, chunks: Chunks) -> int:
        """What is here of a chunk that comes in several reads; answers where it ends in `data`."""
        if not self._is_chunk:
            self._is_chunk = True
            self._left -= 1
            at += 1
        take = min(self._left, end - at)
        if take:
            chunks.pieces.append(_piece(data, at, at + take))
            chunks.size += take
            self._left -= take
        if self._left == 0:
            self._length = -1
            self._is_chunk = False
        return at + take


def _take_chunks(data: bytes, at: int, end: int, chunks: Chunks) -> int:
    """The whole chunks from `at` on; answers where they end."""
    pieces = chunks.pieces
    length_at = _U32.unpack_from
    size = 0
    while end - at > 4 and data[at + 4] == CHUNK:
        stop = at + 4 + length_at(data, at)[0]
        if stop > end or stop == at + 4:
            break
        if stop - at > 5:
            pieces.append(data[at + 5 : stop] if stop - at < VIEW_BYTES else memoryview(data)[at + 5 : stop])
            size += stop - at - 5
        at = stop
    chunks.size += size
    return at


def _piece(data: bytes, start: int, stop: int) -> Piece:
    return data[start:stop] if stop - start < VIEW_BYTES else memoryview(data)[start:stop]


def _decode(data: bytes | bytearray, start: int, stop: int, length: int) -> Frame:
    """The frame in `data[start:stop]`: from the type on, cut off where it was too long; `length`: of the whole."""
    kind = data[start]
    count = _NAMES_OF.get(kind)
    if count is None:
        raise MalformedFrame(f"frame type {kind}")
    names: list[str] = []
    at = start + 1
    for _ in range(count):
        if at + 2 > stop:
            raise MalformedFrame("a frame ends within a length")
        size = data[at] | data[at + 1] << 8
        at += 2
        if size > NAME_BYTES_MAX or at + size > stop:
            raise MalformedFrame("a string exceeds its frame or the limit")
        try:
            names.append(data[at : at + size].decode())
        except UnicodeDecodeError as error:
            raise MalformedFrame(str(error)) from None
        at += size
    size = length - (at - start)
    if size and kind in _BARE:
        raise MalformedFrame(f"{_BARE[kind]} has no payload")
    if size > INVOKE_RESPONSE_BYTES_MAX:
        return Frame(kind, tuple(names), b"", size)
    return Frame(kind, tuple(names), bytes(memoryview(data)[at:stop]), size)
