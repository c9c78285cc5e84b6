"""What happens to environments that are idle: frozen after a moment, retired when they are not worth their memory, and the
first to go where room is needed. `keeping` decides; here it is carried out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..domain.clock import Clock
from .entries import Entries, Entry
from .environment import Environment
from .keeping import LOOKS_MAX, Keeping
from .lifecycle import State

FREEZES_MAX = 32
"""Environments frozen in one turn of the event loop: each costs some 40 us, and a thousand may fall idle at once."""
FREEZE_PAUSE_S = 0.001
"""Between two such turns."""


class Idle:
    """Used on the event loop."""

    def __init__(
        self,
        entries: Entries,
        keeping: Keeping[Entry],
        clock: Clock,
        freeze_after_s: float,
        retire: Callable[[Environment, str], None],
    ) -> None:
        self._entries = entries
        self._keeping = keeping
        self._clock = clock
        self._freeze_after_s = freeze_after_s
        self._retire = retire
        self._to_freeze: list[Environment] = []
        self._freezer: asyncio.TimerHandle | None = None

    # --- freezing ----------------------------------------------------------------------------------------------

    def freeze_soon(self, environment: Environment) -> None:
        """Freeze one when it has been idle for long enough; to be asked for once until `awaits_freeze` is gone."""
        environment.awaits_freeze = True
        self._to_freeze.append(environment)
        if self._freezer is None:
            self._look_soon(self._freeze_after_s)

    def _look_soon(self, after_s: float) -> None:
        self._freezer = asyncio.get_running_loop().call_later(after_s, self._freeze)

    def _freeze(self) -> None:
        """Only environments that became idle lately are looked at: thousands that sleep already cost nothing."""
        self._freezer = None
        before_ns = self._clock.monotonic_ns() - int(self._freeze_after_s * 1_000_000_000)
        looked_at, self._to_freeze = self._to_freeze, []
        left = FREEZES_MAX
        for number, environment in enumerate(looked_at):
            if left == 0:
                self._to_freeze += looked_at[number:]
                self._look_soon(FREEZE_PAUSE_S)
                return
            if environment.state is State.IDLE and environment.idle_since_ns > before_ns:
                self._to_freeze.append(environment)
                continue
            environment.awaits_freeze = False  # one that is busy comes back when it is idle again
            if environment.state is State.IDLE:
                environment.request_freeze()
                left -= 1
        if self._to_freeze:
            self._look_soon(self._freeze_after_s)

    def close(self) -> None:
        """Nobody is frozen any more."""
        if self._freezer is not None:
            self._freezer.cancel()

    # --- retiring ----------------------------------------------------------------------------------------------

    def evict_one(self) -> None:
        """Retire the idle on-demand environment that is worth least, whoever's it is, if any is."""
        now_ns = self._clock.monotonic_ns()
        if (entry := self._keeping.least_worth(self._entries.all(), now_ns)) is not None:
            self._let_go(entry, now_ns, "room is needed")

    def sweep(self, now_ns: int) -> None:
        """Retire who is idle for too long, or worth less than its memory; and whoever is worth least, over the budget."""
        keeping = self._keeping
        looks_max = keeping.looks + LOOKS_MAX
        while (entry := keeping.next_to_go(now_ns, looks_max)) is not None:
            self._let_go(entry, now_ns, "idle")
        while keeping.excess_mb > 0:
            if (entry := keeping.least_worth(self._entries.all(), now_ns)) is None:
                return
            self._let_go(entry, now_ns, "memory is needed")
        keeping.forget_order(now_ns)

    def _let_go(self, entry: Entry, now_ns: int, reason: str) -> None:
        """Retire the one that has been idle longest, and remember that it was there."""
        environment = entry.pool.longest_idle
        assert environment is not None
        depth = len(entry.pool.members) - len(entry.pool.provisioned) - 1
        entry.history.retired(depth, environment.idle_since_ns / 1_000_000_000)
        self._retire(environment, reason)
        self._keeping.goes(entry, now_ns)
