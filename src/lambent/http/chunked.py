"""The chunked transfer coding of a request body, decoded strictly.

Written by hand because the connection must know at which byte a message ends: what follows belongs to the next request
and is not to be parsed before its turn. A size is 1 to 15 hexadecimal digits; an extension is tolerated and ignored;
every line ends in CR LF; white space where the grammar has none is refused.
"""

from __future__ import annotations

import re

from .head import Refusal
from .message import Fields

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")

_SIZE, _DATA, _AFTER_DATA, _TRAILERS = range(4)

SIZES_MAX = 1_024
"""Size lines that were found good and are remembered; beyond it the table starts anew."""
_SHORT_LINE_BYTES = 12
_sizes: dict[bytes, int] = {}  # whole size lines, short ones and none of a last chunk


class ChunkDecoder:
    """Fed with what arrives; tells data from framing. `done` is set when the last trailer line was read."""

    __slots__ = (
        "_left",
        "_line",
        "_line_bytes_max",
        "_state",
        "_trailer_bytes",
        "_trailer_bytes_max",
        "done",
        "trailers",
    )

    def __init__(self, line_bytes_max: int, trailer_bytes_max: int) -> None:
        self._line_bytes_max = line_bytes_max
        self._trailer_bytes_max = trailer_bytes_max
        self._trailer_bytes = 0
        self._state = _SIZE
        self._line = bytearray()  # an unfinished line
        self._left = 0  # data of the current chunk still to come
        self.done = False
        self.trailers: Fields = []

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Decode `data`: the pieces of the body in it, and what lies behind the body's end. Raises Refusal (400)."""
        pieces: list[bytes] = []
        at = 0
        end = len(data)
        while at < end:
            if self._state == _DATA:
                take = min(self._left, end - at)
                pieces.append(data[at : at + take])
                at += take
                self._left -= take
                if self._left == 0:
                    self._state = _AFTER_DATA
                continue
            stop = data.find(b"\n", at)
            line = self._line
            if self._state == _SIZE and not line and stop - at < _SHORT_LINE_BYTES:
                # The whole chunk, framing and all, in one look: how they come when a body is written faster than read.
                size = _sizes.get(data[at : stop + 1])
                if size is not None and data[stop + 1 + size : stop + 3 + size] == b"\r\n":
                    pieces.append(data[stop + 1 : stop + 1 + size])
                    at = stop + 3 + size
                    continue
            line += data[at : end if stop < 0 else stop + 1]
            self._check_length(len(line))
            if stop < 0:
                return pieces, b""
            at = stop + 1
            if line[-2:] != b"\r\n":
                raise Refusal(400, "Malformed chunk: a line must end in CR LF")
            content = bytes(line[:-2])
            line.clear()
            self._take_line(content)
            if self.done:
                return pieces, data[at:]
        return pieces, b""

    def _check_length(self, length: int) -> None:
        if self._state == _TRAILERS:
            if self._trailer_bytes + length > self._trailer_bytes_max:
                raise Refusal(431, "The trailers are too large")
        elif length > self._line_bytes_max + 2:
            raise Refusal(400, "Malformed chunk: its size line is too long")

    def _take_line(self, line: bytes) -> None:
        if self._state == _SIZE:
            match = _SIZE_LINE.fullmatch(line)
            if match is None:
                raise Refusal(400, "Malformed chunk size")
            self._left = int(match[1], 16)
            if self._left and len(line) < _SHORT_LINE_BYTES - 1:
                if len(_sizes) >= SIZES_MAX:
                    _sizes.clear()
                _sizes[line + b"\r\n"] = self._left
            self._state = _DATA if self._left else _TRAILERS
        elif self._state == _AFTER_DATA:
            if line:
                raise Refusal(400, "Malformed chunk: longer than its size")
            self._state = _SIZE
        elif line:
            match = _FIELD.fullmatch(line)
            if match is None:
                raise Refusal(400, "Malformed trailer field")
            self._trailer_bytes += len(line) + 2
            self.trailers.append((match[1].lower(), match[2].rstrip()))
        else:
            self.done = True
