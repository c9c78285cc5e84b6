"""Time as a port with two faces.

Durations are measured on the monotonic face; due times, time stamps and deadlines that leave the process are kept on
the wall face. When somebody sets the wall clock, running durations and time-outs do not notice (they are monotonic),
and due times are met when the new wall clock says so: a jump forward makes them due at once, a jump back waits.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def wall_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go backwards; the zero has no meaning."""


class SystemClock:
    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    monotonic_ns = staticmethod(time.monotonic_ns)


class ManualClock:
    """A clock for tests and simulations: it stands still until it is moved."""

    def __init__(self, wall_ms: int = 1_764_100_000_000) -> None:
        self._wall_ms = wall_ms
        self._monotonic_ns = 1_000_000_000

    def wall_ms(self) -> int:
        return self._wall_ms

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def advance(self, seconds: float) -> None:
        """Move both faces forward by `seconds` (>= 0)."""
        if seconds < 0:
            raise ValueError("a manual clock only moves forward; use jump_wall for a clock that is set back")
        self._wall_ms += round(seconds * 1_000)
        self._monotonic_ns += round(seconds * 1_000_000_000)

    def jump_wall(self, seconds: float) -> None:
        """Set the wall face, as an operator or NTP would; durations do not notice."""
        self._wall_ms += round(seconds * 1_000)
