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
from lambent.environments.channel import RuntimeEvent

INVOKE = 1
RESPONSE = 2
ERROR = 3
INIT_ERROR = 4
READY = 5
LAST_ERROR = 10
ASSIGN = 11
WAITING = 12

NAME_BYTES_MAX = 4_096
"""Longest string (request id, content type, error type) in a frame from a runtime."""
FRAME_BYTES_MAX = 1 + 2 * (2 + NAME_BYTES_MAX) + INVOKE_RESPONSE_BYTES_MAX
"""Longest frame that is kept whole. Of a longer one only the strings are kept and the rest is thrown away as it comes,
so that a runtime with too large a result stays healthy."""
_KEPT_BYTES = 1 + 2 * (2 + NAME_BYTES_MAX)

_INVOKE_HEAD = struct.Struct("<IBQ6H")
_U32 = struct.Struct("<I")
_U16 = struct.Struct("<H")


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


_NAMES_OF = {RESPONSE: 2, ERROR: 2, INIT_ERROR: 1, READY: 0, LAST_ERROR: 2}


def encode_invoke(event: RuntimeEvent) -> bytes:
    """Everything of an INVOKE frame but the event itself, which follows. Raises ValueError for a string over 65,535 bytes."""
    strings = (
        event.request_id.encode(),
        event.invoked_arn.encode(),
        event.trace_id.encode(),
        event.client_context.encode(),
        event.cognito_identity.encode(),
        event.tenant_id.encode(),
    )
    lengths = tuple(map(len, strings))
    if max(lengths) > 0xFFFF:
        raise ValueError(f"a string of an event exceeds 65535 bytes: {lengths}")
    length = _INVOKE_HEAD.size - 4 + sum(lengths) + len(event.body)
    return _INVOKE_HEAD.pack(length, INVOKE, event.deadline_ms, *lengths) + b"".join(strings)


def encode_assign(env: Mapping[str, str], cwd: str) -> bytes:
    """The ASSIGN frame: what a runtime that waited without a function becomes."""
    document = orjson.dumps({"env": dict(env), "cwd": cwd})
    return _U32.pack(1 + len(document)) + bytes((ASSIGN,)) + document


class FrameParser:
    """Frames out of a byte stream, however it is split. Holds at most one frame."""

    __slots__ = ("_kept", "_left", "_length")

    def __init__(self) -> None:
        self._kept = bytearray()  # the frame so far, its length field included until that is read
        self._length = -1  # of the current frame; -1 while its length field is incomplete
        self._left = 0  # bytes of the current frame still to come

    def feed(self, data: bytes) -> list[Frame]:
        """The frames completed by `data`. Raises MalformedFrame."""
        frames: list[Frame] = []
        at = 0
        end = len(data)
        kept = self._kept
        while at < end:
            if self._length < 0:
                if not kept and end - at >= 4:
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
            take = min(self._left, end - at)
            if take == self._length <= FRAME_BYTES_MAX:  # the usual case: all of it is here
                frames.append(_decode(memoryview(data)[at : at + take], take))
            else:
                room = (self._length if self._length <= FRAME_BYTES_MAX else _KEPT_BYTES) - len(kept)
                if room > 0:
                    kept += data[at : at + min(take, room)]
                if self._left == take:
                    with memoryview(kept) as view:
                        frames.append(_decode(view, self._length))
                    kept.clear()
            at += take
            self._left -= take
            if self._left == 0:
                self._length = -1
        return frames


def _decode(frame: memoryview, length: int) -> Frame:
    """`frame`: from the type on, cut off where the frame was too long; `length`: of the whole."""
    kind = frame[0]
    count = _NAMES_OF.get(kind)
    if count is None:
        raise MalformedFrame(f"frame type {kind}")
    names: list[str] = []
    at = 1
    for _ in range(count):
        if at + 2 > len(frame):
            raise MalformedFrame("a frame ends within a length")
        (size,) = _U16.unpack_from(frame, at)
        at += 2
        if size > NAME_BYTES_MAX or at + size > len(frame):
            raise MalformedFrame("a string exceeds its frame or the limit")
        try:
            names.append(str(frame[at : at + size], "utf-8"))
        except UnicodeDecodeError as error:
            raise MalformedFrame(str(error)) from None
        at += size
    size = length - at
    if kind == READY and size:
        raise MalformedFrame("READY has no payload")
    return Frame(kind, tuple(names), b"" if size > INVOKE_RESPONSE_BYTES_MAX else bytes(frame[at:]), size)
