"""When a request gets an environment of its own, and when it waits for one that is about to be free.

The service gives each concurrent request an environment of its own. What its callers see of that is that nobody waits
behind somebody else's work; and where the work takes a fraction of a millisecond and an environment ten, they would see
more of the start than of the waiting. A pause of the whole machine is enough: whatever came in the meantime comes at once,
each request asks for an environment, the starts take the processors from those who could have answered, and more requests
wait. So a request waits for busy environments that, by what attempts take, can serve everybody who waits within the
*patience*, which is what a start costs. Who rents a thing for as long as buying it would have cost, and then buys, pays at
most twice what was possible; here, too, whoever has waited in vain for that long gets the environment after all.

While all processors are busy a start takes longer than it used to, and takes from those who run; then patience is longer,
and traffic that always finds everything busy gets no spare. A function that takes longer than the patience, or of which
nothing is known yet, has an environment for each concurrent request at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ..domain.clock import Clock
from .entries import Entry
from .lifecycle import State

FINISH_GRACE_S = 0.02
"""How long a request waits for a runtime that has answered to ask for its next event, before an environment is started
for it: runtimes ask within a fraction of a millisecond, and some only when they have done other work."""
WAITS_IN_A_ROW_MAX = 32
"""Requests in a row that found no idle environment and were not worth a start; then traffic is steady enough for a spare."""
PATIENCE_S = 0.02
"""A request waits for busy environments for so long: what a start costs, for the one who waits and, in processor time, for
everybody else."""
BUSY_PATIENCE_S = 0.25
"""The same while all processors are busy."""
OWN_SHARE_MAX = 0.75
"""All processors are busy, too, when the server itself has used, or waited for, this share of one since the last look:
everything goes through it, starts included, and what waits for it would wait behind them."""
LOOK_NS = 5_000_000
"""For so long one look at the processors holds."""
TOOK_DOWN_SHIFT = 1
TOOK_UP_SHIFT = 5
"""How long attempts take is what most of them take: a quicker one counts for one part in 2**TOOK_DOWN_SHIFT of what is known, a
slower one for one in 2**TOOK_UP_SHIFT. A pause of the machine makes all that run look slow, and says nothing of the next."""

_NS = 1_000_000_000


class Scaling:
    """Used on the event loop."""

    def __init__(
        self,
        clock: Clock,
        processors: int,
        runnable: Callable[[], int],
        start: Callable[[Entry, int], None],
        in_line: Callable[[], int],
        used_ns: Callable[[], int],
    ) -> None:
        """runnable: how many processes of the machine besides this one run or want to. start: begins so many starts.
        in_line: how many starts wait for their turn, on the whole node.
        used_ns: the processor time that this thread has used, or waited for."""
        self._clock = clock
        self._processors = processors
        self._runnable = runnable
        self._start = start
        self._in_line = in_line
        self._used_ns = used_ns
        self._looked_ns, self._had_used_ns = clock.monotonic_ns() - LOOK_NS, used_ns()
        self._is_busy = False
        self._is_closing = False

    def needs(self, entry: Entry) -> bool:
        """Whether one more request would start an environment, where none is idle and none on its way to nobody."""
        pool = entry.pool
        if entry.looking is not None and len(pool.waiting) < entry.enough:
            return False
        return self._lacking(entry, len(pool.waiting) + 1, pool.starting) > 0

    def is_wanted(self, entry: Entry) -> bool:
        """Whether a start that has its turn now is still needed, besides those that had theirs before."""
        return self._lacking(entry, len(entry.pool.waiting), entry.opening, is_due=True) > 0

    def waits(self, entry: Entry) -> None:
        """A request has begun to wait: start what it takes."""
        pool = entry.pool
        missing = pool.missing
        if missing < 0 or entry.is_starved or (missing == 0 and not pool.mending):
            return  # who waits for room is served when there is some
        is_looked_at = entry.looking is not None and missing > 0 and len(pool.waiting) <= entry.enough
        if missing > 0 and not is_looked_at:
            wanted = self._lacking(entry, len(pool.waiting), pool.starting)
            if wanted > 0:
                self._start(entry, wanted)
                return
        entry.waits += 1
        if entry.waits >= WAITS_IN_A_ROW_MAX:
            entry.waits = 0
            if missing <= 0 or not self._are_processors_busy():
                self._start(entry, 1)
                return
        if not is_looked_at:
            self._look_later(entry)

    def replenish(self, entry: Entry, *, is_due: bool = False) -> None:
        """Whoever waits always has an environment on its way, or is looked at again soon: a busy one may stay busy for a
        quarter of an hour."""
        pool = entry.pool
        if pool.missing > 0 and not self._is_closing:
            wanted = self._lacking(entry, len(pool.waiting), pool.starting, is_due=is_due)
            if wanted > 0:
                self._start(entry, wanted)
            else:
                self._look_later(entry)

    def freed(self, entry: Entry, started_ns: int, now_ns: int) -> None:
        """An environment has done an attempt that began at `started_ns`, and can take the next."""
        took_us = (now_ns - started_ns) // 1_000
        entry.freed_ns = now_ns
        more_us = took_us - entry.took_us
        if not entry.took_us:
            entry.took_us = took_us
        else:
            entry.took_us += more_us >> (TOOK_UP_SHIFT if more_us > 0 else TOOK_DOWN_SHIFT)

    def _lacking(self, entry: Entry, waiting: int, coming: int, *, is_due: bool = False) -> int:
        """How many environments must be started besides those that are `coming`, so that all who are `waiting` are served
        within the patience; for functions that take longer, one for each. is_due: look whether the first has waited in vain."""
        pool = entry.pool
        each = waiting - coming - len(pool.mending)
        busy = len(pool.members) - pool.idle - len(pool.mending)
        if each <= 0 or busy <= 0 or not entry.took_us:
            return max(0, each)
        patience_us = round(self._patience_s() * 1_000_000)
        if entry.took_us >= patience_us:
            return each
        there = busy + coming + len(pool.mending)
        entry.enough = there * patience_us // entry.took_us
        together = -(-waiting * entry.took_us // patience_us) - there
        if is_due and pool.waiting:
            before_ns = self._clock.monotonic_ns() - patience_us * 1_000
            if pool.waiting[0][0] <= before_ns:  # it was not as it used to be
                return each if entry.freed_ns <= before_ns else max(0 if coming else 1, together)
        return max(0, together)

    def _patience_s(self) -> float:
        return BUSY_PATIENCE_S if self._are_processors_busy() else PATIENCE_S

    def _are_processors_busy(self) -> bool:
        now_ns = self._clock.monotonic_ns()
        passed_ns = now_ns - self._looked_ns
        if passed_ns >= LOOK_NS:
            used_ns = self._used_ns()
            share = (used_ns - self._had_used_ns) / passed_ns
            self._looked_ns, self._had_used_ns = now_ns, used_ns
            self._is_busy = share >= OWN_SHARE_MAX or self._runnable() >= self._processors
        return self._is_busy or self._in_line() > 0

    def close(self, entries: Iterable[Entry]) -> None:
        """Nothing is started any more, and nobody looked at."""
        self._is_closing = True
        for entry in entries:
            if entry.looking is not None:
                entry.looking.cancel()
                entry.looking = None

    # --- looking again -----------------------------------------------------------------------------------------

    def _look_later(self, entry: Entry) -> None:
        """Look again when the first of the runtimes that have answered has had its grace to ask for its next event, or
        patience with busy ones has an end."""
        if self._is_closing:
            return
        now_ns = self._clock.monotonic_ns()
        pool = entry.pool
        dues_ns = [e.answered_ns + round(FINISH_GRACE_S * _NS) for e in pool.mending if e.state is State.INVOKING]
        if pool.missing > 0 and not entry.is_starved:  # who waits for room is served when there is some
            patience_ns = round(self._patience_s() * _NS)
            overdue_ns = now_ns - pool.waiting[0][0] - patience_ns
            dues_ns.append(now_ns + patience_ns if overdue_ns >= 0 else now_ns - overdue_ns)
        if not dues_ns:
            return
        due_ns = min(dues_ns)
        if entry.looking is not None:
            if entry.look_ns <= due_ns:
                return
            entry.looking.cancel()
        entry.look_ns = due_ns
        entry.looking = asyncio.get_running_loop().call_later(max(0.0, (due_ns - now_ns) / _NS), self._look, entry)

    def _look(self, entry: Entry) -> None:
        """Runtimes that answered a grace ago and still have not asked are counted on no longer."""
        entry.looking = None
        now_ns = self._clock.monotonic_ns()
        # The server is behind itself: that nobody has come says nothing of those who were to come.
        is_late = now_ns - entry.look_ns >= LOOK_NS
        if is_late:
            self._is_busy, self._looked_ns, self._had_used_ns = True, now_ns, self._used_ns()
        before_ns = now_ns - round(FINISH_GRACE_S * _NS)
        for environment in list(entry.pool.mending):
            if environment.state is State.INVOKING and environment.answered_ns <= before_ns:
                entry.pool.mending.discard(environment)
        waiting = entry.pool.waiting
        is_due = not is_late or (bool(waiting) and now_ns - waiting[0][0] >= BUSY_PATIENCE_S * _NS)
        self.replenish(entry, is_due=is_due)
        if waiting:
            self._look_later(entry)
