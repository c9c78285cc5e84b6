"""Cold starts take turns: how many are made at once when there are more than the machine can make.

A thousand environments that start side by side are all ready at the end: each has had a five-hundredth of a processor, and
whoever is warm has waited behind all of them. One after another, as many at a time as keep the processors busy, the same
work takes the same time, half of the callers are answered in half of it, and a warm request waits behind a few. So a start
waits for its turn where others are being made.

An init phase that waits for something else (a database, a download) would hold up everybody: therefore the line moves on
whenever the processors have nothing better to do, and in any case when a start has held its turn for a while.
Nothing here is a limit of how many environments there may be; that is the owner's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

PER_PROCESSOR = 3
"""Starts that have their turn at once, for each processor: one that computes, and two that wait for the spawner."""
HELD_S_MAX = 0.25
"""A start that takes longer than this lets the next one begin."""
LOOK_S = 0.005
"""How often the processors are looked at while somebody waits for a turn."""
RUNNABLE_PER_PROCESSOR = 1
"""With fewer processes than this that run or want to, for each processor, the machine has nothing better to do."""

_LOAD = Path("/proc/loadavg")
_OWN_TIMES = Path("/proc/thread-self/schedstat")
_GROUPS = Path("/proc/self/cgroup")
_GROUP_ROOT = Path("/sys/fs/cgroup")


class StartingLine:
    """Who may start now. Used on the event loop."""

    def __init__(self, processors: int, runnable: Callable[[], int]) -> None:
        """runnable: how many processes of the machine run or want to, just now; 0 where that can't be told."""
        self._processors = processors
        self._runnable = runnable
        self._most = processors * PER_PROCESSOR
        self._held = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._looking: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Starts that wait for their turn."""
        return len(self._waiting)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """Wait for a turn and have it for the length of the block, or until HELD_S_MAX; whether others had to go first."""
        has_waited = self._held >= self._most or bool(self._waiting)
        if has_waited:
            await self._wait()
        else:
            self._held += 1
        is_over = False

        def end() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                self._held -= 1
                self._admit(self._most - self._held)

        timer = asyncio.get_running_loop().call_later(HELD_S_MAX, end)
        try:
            yield has_waited
        finally:
            timer.cancel()
            end()

    async def _wait(self) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        self._look_soon()
        try:
            await mine
        except asyncio.CancelledError:
            with contextlib.suppress(ValueError):
                self._waiting.remove(mine)
            if mine.done() and not mine.cancelled():  # the turn came in the same step
                self._held -= 1
                self._admit(self._most - self._held)
            raise

    def _admit(self, number: int) -> None:
        while number > 0 and self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                self._held += 1
                number -= 1

    def _look_soon(self) -> None:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        """Where processors are idle, those who have their turn wait for something else: let others begin."""
        self._looking = None
        if self._waiting:
            self._admit(self._processors * RUNNABLE_PER_PROCESSOR - self._runnable())
        if self._waiting:
            self._look_soon()

    def close(self) -> None:
        """Nobody waits any more: every start that waits begins, to find that it is not wanted."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        self._admit(len(self._waiting))


def processors() -> int:
    """Of this machine, those that this process may use: by its affinity, and by the quota of its control groups."""
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(number, _quota())))


def _quota() -> float:
    """Processors that the control groups grant; as many as there can be where none of them sets a bound."""
    least = float("inf")
    try:
        groups = _GROUPS.read_text().splitlines()
    except OSError:
        return least
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = _GROUP_ROOT / "cpu" if controllers else _GROUP_ROOT
        for directory in (root / path.lstrip("/"), *(root / path.lstrip("/")).parents):
            least = min(least, _quota_of(directory))
            if directory == root:
                break
    return least


def _quota_of(directory: Path) -> float:
    try:
        if (directory / "cpu.max").exists():
            quota, period = (directory / "cpu.max").read_text().split()
        else:
            quota = (directory / "cpu.cfs_quota_us").read_text()
            period = (directory / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else float("inf")
    except (OSError, ValueError, ZeroDivisionError):  # not mounted here, or `max`
        return float("inf")


def runnable() -> int:
    """Processes and threads of this machine that run or want to, without this one; 0 where the system does not tell."""
    try:
        return int(_LOAD.read_bytes().split()[3].partition(b"/")[0]) - 1
    except (OSError, ValueError, IndexError):
        return 0


def used_ns() -> int:
    """The processor time that this thread has used, or waited for where the system tells."""
    try:
        used, waited = _OWN_TIMES.read_bytes().split()[:2]
        return int(used) + int(waited)
    except (OSError, ValueError):
        return time.thread_time_ns()
