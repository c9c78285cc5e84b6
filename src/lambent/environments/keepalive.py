"""How long an idle environment is worth its memory, and which one goes first when memory or room is short.

The arrivals of a version are kept as a histogram of the time its environments were idle before they were used again: not
a rate, because a function that is called every hour on the hour and one that is called in bursts can have the same
rate, and nothing in common. Idle environments are a stack (the most recently used is used first), so the times are kept
by depth: a second environment, needed only when two requests overlap, has a life of its own.

From it follows one number, the *worth* of an idle environment: the seconds of cold start that it saves for each megabyte
and second it is kept, for the most favourable length of keeping it from now on,

    worth = cost / memory * max over t of  P(used within t) / E(time kept until then)

given how long it has been idle already. With arrivals at random this is cost * frequency / size, what GreedyDual-Size-
Frequency ranks by; its ageing clock is not needed, because an environment that has been idle for longer than its
function ever let it be ages by itself, and one that nears the hour of its next use does not. An environment is retired
when it is worth less than the price of memory, which falls as more of the budget is free; over the budget, and on a full
node, the one that is worth least goes first. A window for each function, as histogram policies have it, is the same thing
seen from the function: where its worth falls below the price.

Of a version that is hardly known, what the versions of this node have in common stands in. Nothing here awaits, reads a
clock or knows a pool. Nothing is stored: a server that starts anew knows nothing.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise

BINS_PER_OCTAVE = 4
BINS = 68
"""Idle times from one second to 2**17 s, a day and a half, each bin 19 % longer than the one before."""
LEVELS = 32
"""Depths of the stack that are told apart; the last takes the deeper ones too."""
COUNT_MAX = 255
"""When a bin holds so many, all of the version are halved: what was long ago counts less."""
GHOSTS_MAX = 64
"""Retired environments of a version whose next use would still be recognised."""
EARLY_MAX = 8
"""How many idle times of each version, and each depth, count for what all have in common."""
COMMON_MAX = 4_096
"""When so many are counted of a depth, all are halved."""
COMMON_WEIGHT = 1.0
"""What all versions have in common counts like one observation of the version itself."""
COLD_START_S = 0.5
"""What a cold start costs besides the time it takes: the machine's work, and a caller who did not expect it."""
PRICE_MB_S = 204_800
"""A second of cold start is worth this much idle memory, in megabyte-seconds, when the budget is used up: 200 GB-seconds;
and twice as much while half of it is free."""
MEMORY_MB_MIN = 4
"""What an idle environment costs at least: its sandbox."""
QUICK_S = 1.0
"""Who was used less than this ago is in use; not counted, and the last to go."""
SMOOTHING = 0.3
"""The share of the newest measurement in what is known of a version's cost."""

EDGES = [2.0 ** (number / BINS_PER_OCTAVE) for number in range(BINS + 1)]
WIDTHS = [after - before for before, after in pairwise(EDGES)]
"""Of the bins, in seconds."""
_NEVER = BINS


def bin_of(idle_s: float) -> int:
    """The bin of an idle time; the first takes what is shorter, the last what is longer."""
    if idle_s <= 1.0:
        return 0
    return min(BINS - 1, int(math.log2(idle_s) * BINS_PER_OCTAVE))


class Level:
    """The idle times at one depth of a version's stack."""

    __slots__ = ("counts", "early", "looked_at", "rate", "total")

    def __init__(self) -> None:
        self.counts = bytearray(BINS + 1)
        """By bin; the last of all: retired, and not used since."""
        self.total = 0
        self.early = EARLY_MAX
        self.looked_at = -1
        """The bin of the idle time for which `rate` was worked out."""
        self.rate = 0.0

    def add(self, number: int) -> None:
        """Count one."""
        self.looked_at = -1
        if self.counts[number] >= COUNT_MAX:
            self.counts = bytearray(count // 2 for count in self.counts)
            self.total = sum(self.counts)
        self.counts[number] += 1
        self.total += 1

    def recall(self) -> None:
        """One that was retired would have been used after all."""
        if self.counts[_NEVER]:
            self.counts[_NEVER] -= 1
            self.total -= 1


class Common:
    """What the versions of a node have in common at one depth: their first few idle times."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        # Before anything is known: each octave as likely as any other, and every third never used again.
        self.counts = [8.0 / (1.5 * BINS)] * BINS + [8.0 / 3.0]
        self.total = 8.0

    def add(self, number: int, count: float = 1.0) -> None:
        """Count one, or with -1.0 take one back."""
        self.counts[number] = max(0.0, self.counts[number] + count)
        self.total = self.total + count
        if self.total >= COMMON_MAX:
            self.counts = [one / 2 for one in self.counts]
            self.total = sum(self.counts)


class History:
    """What is known of one version, or of one tenant of it."""

    __slots__ = ("_common", "_ghosts", "_levels", "_most_s", "cost_s", "memory_mb")

    def __init__(self, common: list[Common], most_s: float) -> None:
        """most_s: after so long an idle environment is retired in any case."""
        self._common, self._most_s = common, most_s
        self._levels: list[Level | None] = [None] * LEVELS
        self._ghosts: deque[tuple[float, int, bool]] = deque(maxlen=GHOSTS_MAX)
        """Idle since, depth and whether it counts for all, of environments that were retired; the latest used last."""
        self.cost_s = 0.0
        """How long it takes until a new environment can take work; 0: not known."""
        self.memory_mb = 0
        """What the last attempt of any environment used at most; 0: not known."""

    def _level(self, depth: int) -> tuple[Level, Common]:
        number = min(depth, LEVELS - 1)
        level = self._levels[number]
        if level is None:
            level = self._levels[number] = Level()
        return level, self._common[number]

    def used(self, depth: int, idle_s: float) -> None:
        """An environment was used again. depth: how many were busy."""
        level, common = self._level(depth)
        number = bin_of(idle_s)
        level.add(number)
        if level.early:
            level.early -= 1
            common.add(number)

    def retired(self, depth: int, since_s: float) -> None:
        """An environment was retired that has been idle since then. depth: how many are used before it."""
        level, common = self._level(depth)
        level.add(_NEVER)
        is_early = level.early > 0
        if is_early:
            level.early -= 1
            common.add(_NEVER)
        self._ghosts.append((since_s, depth, is_early))

    def missed(self, now_s: float) -> None:
        """No environment was idle: had the last of the retired been kept, it would have been used now."""
        if not self._ghosts:
            return
        since_s, depth, is_early = self._ghosts.pop()
        level, common = self._level(depth)
        number = bin_of(now_s - since_s)
        level.recall()
        level.add(number)
        if is_early:
            common.add(_NEVER, -1.0)
            common.add(number)

    def started(self, took_s: float) -> None:
        """A new environment can take work after so long."""
        self.cost_s = took_s if self.cost_s == 0.0 else self.cost_s + SMOOTHING * (took_s - self.cost_s)

    def worth(self, depth: int, idle_s: float, memory_mb: float) -> float:
        """Seconds of cold start saved by each MB-second of keeping an environment that has been idle for `idle_s`.

        depth: how many are used before it.
        """
        if idle_s < QUICK_S:
            return math.inf
        number = min(depth, LEVELS - 1)
        level = self._levels[number]
        if level is None:
            level = self._levels[number] = Level()
        now = bin_of(idle_s)
        if level.looked_at != now:
            level.looked_at, level.rate = now, _rate(level, self._common[number], now, self._most_s)
        return level.rate * (COLD_START_S + self.cost_s) / max(memory_mb, MEMORY_MB_MIN)


def is_worth_keeping(worth: float, held_mb: float, budget_mb: float) -> bool:
    """Whether an environment's worth covers the price of memory, of which `held_mb` of the budget are held.

    budget_mb: 0 for none; then memory costs nothing, and the idle time-out alone decides.
    """
    return not budget_mb or worth * PRICE_MB_S * budget_mb >= held_mb


def _rate(level: Level, common: Common, now: int, most_s: float) -> float:
    """The best ratio of the chance that an environment is used to the seconds it is kept, from the start of bin `now`."""
    counts, others = level.counts, common.counts
    share = COMMON_WEIGHT / common.total
    left = counts[_NEVER] + share * others[_NEVER] + sum(counts[now:_NEVER]) + share * sum(others[now:_NEVER])
    used = kept_s = best = 0.0
    for number in range(now, BINS):
        if EDGES[number] >= most_s:
            break
        mass = counts[number] + others[number] * share
        kept_s += (left - mass / 2) * WIDTHS[number]
        used += mass
        left -= mass
        if used > best * kept_s:
            best = used / kept_s
    return best


def commons() -> list[Common]:
    """What all versions of a node share: nothing is known of any."""
    return [Common() for _ in range(LEVELS)]
