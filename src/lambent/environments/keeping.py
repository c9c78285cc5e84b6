"""Which idle environments are looked at, and when: thousands that sleep cost next to nothing.

What an idle environment is worth changes when its idle time enters another bin of its history (`keepalive`), which happens
less and less often: after an hour, every eleven minutes. So each pool is due at a moment, in a heap, and a look once a second
takes those that are due. The price of memory changes at any time; no pool is left alone for longer than LOOK_S_MAX.

What all environments hold is kept as a sum that follows each attempt, and the order in which they go when room or memory is
short is made once and used for a second: making it means to look at every pool.

Decisions only: nothing here awaits, and nothing retires anybody.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from ..functions.model import FunctionVersion
from .environment import Environment
from .keepalive import EDGES, History, bin_of, is_worth_keeping
from .pool import Pool
from .work import Work

LOOK_S_MAX = 15.0
"""No pool with an idle environment is left alone for longer."""
LOOK_S_MIN = 1.0
"""None is looked at more often."""
LOOKS_MAX = 1_000
"""At once: a thousand pools that became idle in one burst are not looked at in one turn of the event loop for ever."""
RANKED_S = 1.0
"""How long an order of who goes first is used: who is idle for less than this goes last in any case."""

_NS = 1_000_000_000


class Kept(Protocol):
    """A version's pool, with what is known of it."""

    version: FunctionVersion
    pool: Pool[Environment, tuple[int, Work]]
    history: History
    is_watched: bool
    """It is in the heap of those that will be looked at."""


K = TypeVar("K", bound=Kept)


class Keeping(Generic[K]):
    """See the module's text. Used on the event loop."""

    def __init__(self, idle_timeout_s: float, budget_mb: int) -> None:
        """budget_mb: what all environments together should hold; 0: no bound."""
        self._idle_timeout_ns = round(idle_timeout_s * _NS)
        self._budget_mb = budget_mb
        self.held_mb = 0
        """What all environments hold."""
        self.looks = 0
        """Pools looked at so far."""
        self._due: list[tuple[int, int, K]] = []
        self._number = 0
        self._ranked: list[tuple[float, int, int, K, Environment]] = []
        self._ranked_ns = 0

    # --- what they hold ----------------------------------------------------------------------------------------

    def holds(self, kept: K, environment: Environment) -> None:
        """An environment is there, or has run: what its last attempt used at most, or the last of another one of its
        version, else its limit."""
        peak_mb = environment.peak_mb
        if peak_mb:
            kept.history.memory_mb = peak_mb
        now_mb = peak_mb or kept.history.memory_mb or kept.version.configuration.memory_mb
        self.held_mb += now_mb - environment.held_mb
        environment.held_mb = now_mb

    def left(self, environment: Environment) -> None:
        """An environment retires."""
        self.held_mb -= environment.held_mb
        environment.held_mb = 0

    # --- who is looked at --------------------------------------------------------------------------------------

    def watch(self, kept: K, now_ns: int) -> None:
        """One of its environments became idle, and nobody looks at the pool yet."""
        self._push(kept, now_ns + round(LOOK_S_MIN * _NS))

    def _push(self, kept: K, due_ns: int) -> None:
        kept.is_watched = True
        self._number += 1
        heapq.heappush(self._due, (due_ns, self._number, kept))

    def next_to_go(self, now_ns: int, looks_max: int) -> K | None:
        """A pool whose longest idle environment is not worth its memory any more, or idle for too long; ask until None.

        Whoever is told retires it before it asks again. looks_max: what `looks` may come to; who is due beyond it stays
        due."""
        while self._due and self._due[0][0] <= now_ns and self.looks < looks_max:
            kept = self._due[0][2]
            longest = kept.pool.longest_idle
            if longest is not None and self._is_over(kept, longest, now_ns):
                return kept  # the next one of the same pool is looked at at once
            heapq.heappop(self._due)
            self.looks += 1
            if longest is None:
                kept.is_watched = False
            else:
                self._push(kept, self._next_look(longest, now_ns))
        return None

    def _is_over(self, kept: K, longest: Environment, now_ns: int) -> bool:
        return now_ns - longest.idle_since_ns > self._idle_timeout_ns or not is_worth_keeping(
            self.worth(kept, longest, now_ns), self.held_mb, self._budget_mb
        )

    def _next_look(self, longest: Environment, now_ns: int) -> int:
        """When its idle time enters another bin, or is over."""
        since_ns = longest.idle_since_ns
        edge_s: float = EDGES[bin_of((now_ns - since_ns) / _NS) + 1]
        due_ns = min(since_ns + round(edge_s * _NS), since_ns + self._idle_timeout_ns, now_ns + round(LOOK_S_MAX * _NS))
        return max(due_ns, now_ns + round(LOOK_S_MIN * _NS))

    # --- who goes first ----------------------------------------------------------------------------------------

    @property
    def excess_mb(self) -> int:
        """What they hold beyond the budget."""
        return self.held_mb - self._budget_mb if self._budget_mb else 0

    def least_worth(self, everybody: Iterable[K], now_ns: int) -> K | None:
        """The pool whose longest idle environment is worth least; of equals the longest idle is the least.

        everybody: every pool there is. None: nobody is idle."""
        if not self._ranked or now_ns - self._ranked_ns >= RANKED_S * _NS:
            self._rank(everybody, now_ns)
        found = self._first_that_holds()
        if found is None and self._ranked_ns != now_ns:
            self._rank(everybody, now_ns)  # everybody in it was used or has gone since
            found = self._first_that_holds()
        return found

    def _rank(self, everybody: Iterable[K], now_ns: int) -> None:
        self._ranked_ns = now_ns
        self._ranked = [
            (self.worth(kept, longest, now_ns), longest.idle_since_ns, number, kept, longest)
            for number, kept in enumerate(everybody)
            if (longest := kept.pool.longest_idle) is not None
        ]
        heapq.heapify(self._ranked)

    def _first_that_holds(self) -> K | None:
        while self._ranked:
            _, since_ns, _, kept, longest = self._ranked[0]
            if kept.pool.longest_idle is longest and longest.idle_since_ns == since_ns:
                return kept
            heapq.heappop(self._ranked)
        return None

    def goes(self, kept: K, now_ns: int) -> None:
        """The longest idle environment of a pool has just been retired: the next one takes its place in the order."""
        if self._ranked and self._ranked[0][3] is kept:
            _, _, number, _, _ = heapq.heappop(self._ranked)
            if (following := kept.pool.longest_idle) is not None:
                worth = self.worth(kept, following, now_ns)
                heapq.heappush(self._ranked, (worth, following.idle_since_ns, number, kept, following))

    def forget_order(self, now_ns: int) -> None:
        """An order that is too old keeps nobody in memory."""
        if now_ns - self._ranked_ns >= RANKED_S * _NS:
            self._ranked = []

    def worth(self, kept: K, longest_idle: Environment, now_ns: int) -> float:
        """What the environment that has been idle longest is worth: all others of its pool are used before it."""
        pool = kept.pool
        return kept.history.worth(
            len(pool.members) - len(pool.provisioned) - 1,
            (now_ns - longest_idle.idle_since_ns) / _NS,
            longest_idle.held_mb,
        )
