"""Staying awake for a moment: an answer that is due at once is looked for, not slept for.

A processor with nothing to do goes to sleep. To wake it, whoever writes to the sleeper interrupts it: on a virtual machine
that leaves the guest twice, and costs the writer about 40 µs and the sleeper as much again. An invocation of a quick
function has four such moments (server, runtime, server, caller), more time than all it computes. So where an answer is
expected within the window, the loop polls its sockets without sleeping; the time is taken from what sleeping and waking
would have cost, and processor time per request stays the same (docs/benchmarks.md, "Staying awake").

It is never more than two windows for one invocation, and only where it is likely to pay: for the answer, when the
environment's last one came soon; for the next request, when the last one came soon after an answer; and while fewer
invocations run than there are processors, whose time it would be otherwise. A function that takes longer, or is called
now and then, costs nothing.

The kernel does the same for sockets (`net.core.busy_poll`) and virtual processors (`haltpoll`), where somebody set it up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

SOON_WINDOWS = 2
"""What came within so many windows is expected within one the next time: the sleeping was part of what it took."""


class Awake:
    """Used on the event loop."""

    __slots__ = (
        "_answered_ns",
        "_follows",
        "_is_looking",
        "_loop",
        "_now_ns",
        "_running_max",
        "_soon_ns",
        "_until_ns",
        "_window_ns",
        "running",
    )

    def __init__(self, window_us: int, processors: int, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """window_us: 0 lets the loop sleep whenever it has nothing to do."""
        self._window_ns = window_us * 1_000
        self._soon_ns = self._window_ns * SOON_WINDOWS
        self._running_max = processors - 1 if window_us else -1
        self.running = 0
        """Attempts that environments have in hand, and environments that are opened; who has them counts them."""
        self._now_ns = now_ns
        self._until_ns = 0
        self._is_looking = False
        self._answered_ns = 0
        self._follows = False
        """The last request came soon after the answer before it."""
        self._loop = asyncio.get_running_loop()

    def dispatched(self, last_us: int) -> None:
        """A runtime was given an event; last_us: how long its last one took, 0: it had none."""
        if self.running > self._running_max:
            return
        now_ns = self._now_ns()
        self._follows = now_ns - self._answered_ns < self._soon_ns
        if 0 < last_us * 1_000 < self._soon_ns:
            self._look(now_ns)

    def answered(self) -> None:
        """A result has come; its attempt still counts as running."""
        if self.running > self._running_max:
            return
        now_ns = self._answered_ns = self._now_ns()
        if self._follows:
            self._look(now_ns)
        else:
            self._until_ns = 0

    def _look(self, now_ns: int) -> None:
        self._until_ns = now_ns + self._window_ns
        if not self._is_looking:
            self._is_looking = True
            self._loop.call_soon(self._again)

    def _again(self) -> None:
        """Once in each turn of the loop, which polls and does not wait as long as something is to be called."""
        if self._now_ns() < self._until_ns:
            self._loop.call_soon(self._again)
        else:
            self._is_looking = False
