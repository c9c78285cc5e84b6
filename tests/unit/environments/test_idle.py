"""Freezing what is idle, a few at a time."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.simulation.virtual_time import run_virtual

from lambent.domain.clock import ManualClock
from lambent.environments.idle import FREEZE_PAUSE_S, FREEZES_MAX, Idle
from lambent.environments.lifecycle import State

FREEZE_AFTER_S = 0.02


class Idler:
    """As much of an environment as is looked at."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.state = State.IDLE
        self.idle_since_ns = clock.monotonic_ns()
        self.awaits_freeze = False
        self.frozen_s: list[float] = []

    def request_freeze(self) -> None:
        self.frozen_s.append(self.clock.monotonic_ns() / 1e9)


def test_a_crowd_that_falls_idle_at_once_is_frozen_a_few_in_a_turn() -> None:
    clock = ManualClock()

    async def body() -> None:
        nothing: Any = None
        idle = Idle(nothing, nothing, clock, FREEZE_AFTER_S, nothing)
        began_s = clock.monotonic_ns() / 1e9
        crowd: list[Any] = [Idler(clock) for _ in range(3 * FREEZES_MAX + 5)]
        for one in crowd:
            idle.freeze_soon(one)
        busy = crowd[7]
        busy.state = State.INVOKING
        await asyncio.sleep(FREEZE_AFTER_S + 10 * FREEZE_PAUSE_S)
        moments = [one.frozen_s[0] for one in crowd if one is not busy]
        assert not busy.frozen_s
        assert all(len(one.frozen_s) == 1 for one in crowd if one is not busy)
        assert not any(one.awaits_freeze for one in crowd)
        assert min(moments) - began_s >= FREEZE_AFTER_S
        assert max(moments.count(moment) for moment in moments) == FREEZES_MAX
        assert len(set(moments)) == 4
        late: Any = Idler(clock)
        idle.freeze_soon(late)
        await asyncio.sleep(2 * FREEZE_AFTER_S)
        assert late.frozen_s, "whoever comes afterwards has his turn, too"
        idle.close()

    run_virtual(clock, body())
