"""An event loop whose time is a `ManualClock`: where a real loop would sleep, this one moves the clock and goes on."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from lambent.domain.clock import ManualClock

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("deadlock: nothing is due and nobody else will wake this loop")
        self._clock.advance(math.ceil(timeout * 1_000) / 1_000)  # whole milliseconds keep both faces in step
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: ManualClock) -> None:
        super().__init__(_JumpingSelector(clock))
        self._manual = clock

    def time(self) -> float:
        return self._manual.monotonic_ns() / 1_000_000_000


def run_virtual(clock: ManualClock, main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in virtual time; hours pass in milliseconds."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        return runner.run(main)
