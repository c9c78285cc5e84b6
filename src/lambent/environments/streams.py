"""A streamed response on its way from the runtime to whoever asked.

The environment makes one `Stream` when a runtime begins to stream and forgets it with the attempt. It counts, keeps the
limit, brakes, and either passes on (there is a sink) or collects (there is none: a plain Invoke, an event).

Two can hold the brake: the sink, whose client is slow, and the bandwidth that a response may use. The channel reads
while neither does. Nothing is queued here: what was read is in the sink's hands before the next read.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..domain.limits import INVOKE_RESPONSE_BYTES_MAX, STREAM_RESPONSE_BYTES_MAX
from .channel import Piece, ResponseSink, RuntimeChannel

STREAM_CONTENT_TYPE = "application/octet-stream"
"""Of a stream whose function names none."""

_PRINTABLE = re.compile(r"[\t\x20-\x7e]*")
_BY_SINK, _BY_RATE = 1, 2


def clean_content_type(content_type: str) -> str:
    """What a function names, fit for a header field: functions may write anything there."""
    return content_type if content_type and _PRINTABLE.fullmatch(content_type) else STREAM_CONTENT_TYPE


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """What one streamed response may use. Source: AWS Lambda Developer Guide, "Bandwidth limits for response streaming"."""

    burst_bytes: int
    """The first bytes, as fast as they come."""
    bytes_per_s: int
    """After them."""


class Bucket:
    """The tokens of one response. Decides, waits for nothing."""

    __slots__ = ("_at_s", "_bandwidth", "_left")

    def __init__(self, bandwidth: Bandwidth, now_s: float) -> None:
        self._bandwidth = bandwidth
        self._left = float(bandwidth.burst_bytes)
        self._at_s = now_s

    def take(self, size: int, now_s: float) -> float:
        """`size` bytes have passed: how many seconds to wait before the next. One read may overdraw, and waits for it."""
        refill = (now_s - self._at_s) * self._bandwidth.bytes_per_s
        self._at_s = now_s
        self._left = min(self._left + refill, self._bandwidth.burst_bytes) - size
        return max(0.0, -self._left / self._bandwidth.bytes_per_s)


class Stream:
    """See the module's text. It is the `Flow` that its sink is given."""

    __slots__ = (
        "_bucket",
        "_channel",
        "_held",
        "_limit",
        "_loop",
        "_parts",
        "_sink",
        "_timer",
        "content_type",
        "is_ended",
        "size",
    )

    def __init__(
        self, content_type: str, sink: ResponseSink | None, channel: RuntimeChannel, bandwidth: Bandwidth | None
    ) -> None:
        self.content_type = clean_content_type(content_type)
        self.size = 0
        self.is_ended = False
        self._sink = sink
        self._channel: RuntimeChannel | None = channel
        self._limit = INVOKE_RESPONSE_BYTES_MAX if sink is None else STREAM_RESPONSE_BYTES_MAX
        self._parts = bytearray()
        self._loop = asyncio.get_running_loop()
        self._bucket = None if bandwidth is None or sink is None else Bucket(bandwidth, self._loop.time())
        self._timer: asyncio.TimerHandle | None = None
        self._held = 0
        if sink is not None:
            sink.start(self.content_type, self)

    def write(self, pieces: Sequence[Piece], size: int) -> bool:
        """Pass on, or keep. False: this is more than a response may have; what exceeds the limit went nowhere."""
        before = self.size
        self.size = total = before + size
        is_within = total <= self._limit
        if not is_within:
            size = self._limit - before
            pieces = _first(pieces, size)
            self.size = self._limit
        if self._sink is None:
            for piece in pieces:
                self._parts += piece
        elif size:
            self._sink.write(pieces, size)
        if self._bucket is not None and self._channel is not None:
            wait_s = self._bucket.take(size, self._loop.time())
            if wait_s > 0 and self._timer is None:
                self._hold(_BY_RATE)
                self._timer = self._loop.call_later(wait_s, self._has_tokens)
        return is_within

    def end(self) -> None:
        """The function has said all of it."""
        self.is_ended = True
        if self._sink is not None:
            self._sink.end()

    def collected(self) -> bytes:
        """The whole response, where there was no sink."""
        return bytes(self._parts)

    def close(self) -> None:
        """The attempt is over: let go of everybody, and of the brake."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        channel, self._channel, self._sink = self._channel, None, None
        if channel is not None and self._held:
            channel.resume()

    # -- Flow

    def pause(self) -> None:
        self._hold(_BY_SINK)

    def resume(self) -> None:
        self._release(_BY_SINK)

    def _has_tokens(self) -> None:
        self._timer = None
        self._release(_BY_RATE)

    def _hold(self, reason: int) -> None:
        if not self._held and self._channel is not None:
            self._channel.pause()
        self._held |= reason

    def _release(self, reason: int) -> None:
        if not self._held & reason:
            return
        self._held &= ~reason
        if not self._held and self._channel is not None:
            self._channel.resume()


class Unbraked:
    """The flow of a response that is all there."""

    def pause(self) -> None:
        """Nothing more comes."""

    def resume(self) -> None:
        """Nothing was paused."""


UNBRAKED = Unbraked()


def _first(pieces: Sequence[Piece], size: int) -> list[Piece]:
    """The first `size` bytes of `pieces`."""
    kept: list[Piece] = []
    for piece in pieces:
        if size <= 0:
            break
        kept.append(piece[:size])
        size -= len(piece)
    return kept
