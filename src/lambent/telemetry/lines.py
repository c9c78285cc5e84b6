"""From the bytes of an environment's log pipe to log events.

One newline ends one event; a carriage return inside stays, which is how Python keeps a traceback together. Events have
a size bound, environments a rate; what a rate drops is counted and told by one line. With the JSON log format, JSON
objects below the function's ApplicationLogLevel are dropped and may bring their own time.
Source: AWS Lambda Developer Guide, "Log level filtering".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from .attempt import JSON, TEXT, LogLine
from .platform_lines import logs_dropped

EVENT_BYTES_MAX = 1_048_576
"""Largest log event; a longer line is cut into several. Source: CloudWatch Logs quotas."""

_LEVELS = {"TRACE": 0, "DEBUG": 1, "INFO": 2, "WARN": 3, "ERROR": 4, "FATAL": 5}
_LEVEL_WORDS = _LEVELS | {"WARNING": 3, "CRITICAL": 5, "INFORMATION": 2}
_LEVEL_KEYS = ("level", "log_level")


@dataclass(frozen=True, slots=True)
class LogRate:
    """What one environment may log, as a bucket of `burst_s` seconds of its rate."""

    bytes_per_s: int = 16 * 1_048_576
    events_per_s: int = 100_000
    burst_s: float = 4.0

    def __post_init__(self) -> None:
        if self.bytes_per_s < 1 or self.events_per_s < 1 or self.burst_s <= 0:
            raise ValueError(f"a log rate is positive: {self}")

    @property
    def sentence(self) -> str:
        return f"more than {self.bytes_per_s} bytes/s or {self.events_per_s} events/s in one environment"


class LineSplitter:
    """The log pipe of one environment; feed it bytes, take complete events.

    Takes facts (bytes, times), reads no clock. Times of events never decrease. `dropped_records` and `dropped_bytes`
    count what the rate limit dropped since the environment began.
    """

    __slots__ = (
        "_bytes_left",
        "_event_bytes_max",
        "_events_left",
        "_format",
        "_last_ms",
        "_level",
        "_lines",
        "_partial",
        "_rate",
        "_refilled_ns",
        "_untold_bytes",
        "_untold_records",
        "dropped_bytes",
        "dropped_records",
        "pending_bytes",
    )

    def __init__(
        self,
        *,
        log_format: str = TEXT,
        application_log_level: str = "INFO",
        event_bytes_max: int = EVENT_BYTES_MAX,
        rate: LogRate | None = None,
    ) -> None:
        if event_bytes_max < 1:
            raise ValueError("event_bytes_max is at least one byte")
        self._format = log_format
        self._level = _LEVELS.get(application_log_level, _LEVELS["INFO"])
        self._event_bytes_max = event_bytes_max
        self._rate = rate if rate is not None else LogRate()
        self._bytes_left = self._rate.bytes_per_s * self._rate.burst_s
        self._events_left = self._rate.events_per_s * self._rate.burst_s
        self._refilled_ns: int | None = None
        self._partial = bytearray()
        self._lines: list[LogLine] = []
        self._last_ms = 0
        self._untold_records = 0
        self._untold_bytes = 0
        self.dropped_records = 0
        self.dropped_bytes = 0
        self.pending_bytes = 0
        """Bytes of complete events waiting for `take`: past a bound the owner writes an AttemptPart."""

    def feed(self, data: bytes, wall_ms: int, monotonic_ns: int) -> None:
        """Take what was read from the pipe at this moment."""
        self._refill(monotonic_ns)
        pieces = data.split(b"\n")
        rest = pieces.pop()
        for piece in pieces:
            if self._partial:
                self._partial += piece
                piece = bytes(self._partial)
                self._partial.clear()
            self._event(piece + b"\n", wall_ms)
        if rest:
            self._partial += rest
            while len(self._partial) > self._event_bytes_max:
                self._emit(bytes(self._partial[: self._event_bytes_max]), wall_ms)
                del self._partial[: self._event_bytes_max]

    def flush(self, wall_ms: int) -> None:
        """A partial line ends here: the attempt is over and the next one must not begin in its middle."""
        if self._partial:
            line = bytes(self._partial)
            self._partial.clear()
            self._event(line, wall_ms)
        self._tell(wall_ms)

    def take(self) -> list[LogLine]:
        """The complete events since the last `take`, oldest first; they are the caller's."""
        lines, self._lines = self._lines, []
        self.pending_bytes = 0
        return lines

    def _event(self, line: bytes, wall_ms: int) -> None:
        if self._format == JSON:
            stripped = line.strip()
            if stripped.startswith(b"{") and stripped.endswith(b"}"):
                document = _object(stripped)
                if document is not None:
                    if _level(document) < self._level:
                        return
                    wall_ms = _own_time(document, wall_ms)
        while len(line) > self._event_bytes_max:
            self._emit(line[: self._event_bytes_max], wall_ms)
            line = line[self._event_bytes_max :]
        self._emit(line, wall_ms)

    def _emit(self, line: bytes, wall_ms: int) -> None:
        size = len(line)
        if self._events_left < 1 or self._bytes_left < size:
            self._untold_records += 1
            self._untold_bytes += size
            self.dropped_records += 1
            self.dropped_bytes += size
            return
        self._events_left -= 1
        self._bytes_left -= size
        self._tell(wall_ms)
        self._append(line, wall_ms)

    def _append(self, line: bytes, wall_ms: int) -> None:
        self._last_ms = max(self._last_ms, wall_ms)
        self._lines.append((self._last_ms, line))
        self.pending_bytes += len(line)

    def _tell(self, wall_ms: int) -> None:
        if self._untold_records:
            _, told = logs_dropped(self._format, wall_ms, self._untold_records, self._untold_bytes, self._rate.sentence)
            self._untold_records = self._untold_bytes = 0
            self._append(told, wall_ms)

    def _refill(self, monotonic_ns: int) -> None:
        if self._refilled_ns is not None:
            elapsed_s = (monotonic_ns - self._refilled_ns) / 1_000_000_000
            rate = self._rate
            self._bytes_left = min(rate.bytes_per_s * rate.burst_s, self._bytes_left + elapsed_s * rate.bytes_per_s)
            self._events_left = min(rate.events_per_s * rate.burst_s, self._events_left + elapsed_s * rate.events_per_s)
        self._refilled_ns = monotonic_ns


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None  # looks like an object and is none: text, and text is never filtered
    return document if isinstance(document, dict) else None


def _level(document: dict[str, Any]) -> int:
    for key in _LEVEL_KEYS:
        word = document.get(key)
        if isinstance(word, str):
            return _LEVEL_WORDS.get(word.upper(), _LEVELS["INFO"])
    return _LEVELS["INFO"]


def _own_time(document: dict[str, Any], wall_ms: int) -> int:
    """The object's RFC 3339 `timestamp` as event time, when it has one that is not in the future."""
    text = document.get("timestamp")
    if not isinstance(text, str) or len(text) < 20 or text[10:11] not in ("T", "t"):
        return wall_ms
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return wall_ms
    return wall_ms if moment.tzinfo is None else min(wall_ms, round(moment.timestamp() * 1_000))
