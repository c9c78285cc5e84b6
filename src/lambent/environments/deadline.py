"""When an attempt times out: one timer for many attempts, because to set and cancel one for each costs more than all of an
environment's moves. A timer that rings looks at the deadline that holds by then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """Used on the event loop."""

    __slots__ = ("_loop", "_on_passed", "_timer", "at_s")

    def __init__(self, on_passed: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_passed = on_passed
        self._timer: asyncio.TimerHandle | None = None
        self.at_s = 0.0
        """In the loop's time; 0: nothing runs. Whoever has no time for a call may set that."""

    def set(self, timeout_s: float) -> None:
        """From now on."""
        self.at_s = self._loop.time() + timeout_s
        if self._timer is None:
            self._timer = self._loop.call_later(timeout_s, self._look)

    def cancel(self) -> None:
        """No deadline, and no timer that keeps anything in memory."""
        self.at_s = 0.0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self.at_s == 0.0:
            return
        left_s = self.at_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        else:
            self._on_passed()
