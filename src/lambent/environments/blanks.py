"""Blank sandboxes kept ready, and runtimes that wait in them: everything that knows no function is done beforehand.

The first use of an image says that more may follow: from then on some blanks of it are kept, and in most of them its
runtime is started, or forked by a zygote, and waits for a function, where the driver lets code be mounted under a running
program. A blank holds no code, no identity and no limits of anybody's, and nothing but trusted code has run in it; it gets
a function when it is bound, and is used once. How many wait follows the demand of the last seconds, within one bound and one
budget of memory for all images.

When none waits, a zygote forks a copy now; where there is none, an interpreter is started, in a ready blank or in one made
for it. Each step is slower, none is missing, and `steps` counts which it was.

What is missing is made a moment after one was taken, not at once: the cold start that took it needs the machine more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from ..domain.clock import Clock
from ..domain.limits import EPHEMERAL_MB_DEFAULT, RUNTIME_DESCRIPTORS_MAX, RUNTIME_PROCESSES_MAX
from ..sandbox.port import Command, Exit, Limits, Sandbox, SandboxDriver, SandboxError
from .plan import WaitingProgram
from .zygotes import WAITING_FRAME, Zygotes

KEEP_S = 600.0
"""An image's blanks fall to one when none was taken for this long."""
FORGET_S = 86_400.0
"""The last one goes when none was taken for this long."""
DEMAND_S = 10.0
"""As many wait as were taken within this time, between the two bounds."""
REFILL_DELAY_S = 0.03
"""How long after one was taken the next is begun."""
STARTING_S_MAX = 2.0
"""How long the start of one waiting runtime holds up the next: they are begun one after another."""
TAKEN_MAX = 1_000
"""Moments kept of each image; more in DEMAND_S is all the same to the target."""
STALE_LOG_BYTES_MAX = 65_536
"""What a waiting runtime printed before it had a function is thrown away, up to a pipe's worth."""
BLANK_LIMITS = Limits(
    memory_mb=128,
    cpu_vcpus=1.0,
    processes_max=RUNTIME_PROCESSES_MAX,
    descriptors_max=RUNTIME_DESCRIPTORS_MAX,
    tmp_mb=EPHEMERAL_MB_DEFAULT,
)

PLAIN_BYTES = 300_000
"""What a blank without a runtime holds, most of it the kernel's."""
RUNTIME_BYTES = 8_000_000
"""What a runtime is taken to hold before the first of its kind was measured."""
WAITING, FORKED, STARTED = "waiting", "forked", "started"
"""How a cold start got its runtime: one that waited, a copy made now, an interpreter started now."""
FORKED_DRY, STARTED_DRY = "forked_dry", "started_dry"
"""The same in a sandbox that was made now."""
STEPS = (WAITING, FORKED, FORKED_DRY, STARTED, STARTED_DRY)

_LOOK_S = 0.01
_LOOK_FORKED_S = 0.001

log = logging.getLogger("lambent.environments")


class WaitingRuntime:
    """A runtime in a blank: our end of its channel, its log pipe, and its end when that comes."""

    __slots__ = ("_is_waiting", "_on_exit", "ended", "is_copy", "log_fd", "ours", "pool")

    def __init__(self, ours: socket.socket, pool: str) -> None:
        self.ours = ours
        self.pool = pool
        """Whose it may become."""
        self.is_copy = False
        """A zygote made it."""
        self.log_fd = -1
        self.ended: Exit | None = None
        self._on_exit: Callable[[Exit], None] | None = None
        self._is_waiting = False

    def is_waiting(self) -> bool:
        """Whether it has said that it waits: one that still starts is slower than a start of one's own."""
        if not self._is_waiting and self.ended is None:
            with contextlib.suppress(OSError):  # nothing has come yet, or nothing will: then the sandbox tells its end
                self._is_waiting = self.ours.recv(len(WAITING_FRAME), socket.MSG_DONTWAIT) == WAITING_FRAME
        return self._is_waiting

    def exited(self, exit_: Exit) -> None:
        """Told by the sandbox."""
        self.ended = exit_
        if self._on_exit is not None:
            self._on_exit(exit_)

    def adopt(self, on_exit: Callable[[Exit], None]) -> tuple[socket.socket, int]:
        """Become an environment's: answers the channel's end and the log pipe, which are the caller's now.

        `on_exit` is told of the end, at once if that has come."""
        with contextlib.suppress(BlockingIOError):
            stale = os.read(self.log_fd, STALE_LOG_BYTES_MAX)
            if stale:
                log.warning("a runtime printed before it had a function: %r", stale[:1_000])
        self._on_exit = on_exit
        if self.ended is not None:
            on_exit(self.ended)
        return self.ours, self.log_fd

    def close(self) -> None:
        """Give up the descriptors; the sandbox's end ends the runtime."""
        self.ours.close()
        if self.log_fd >= 0:
            os.close(self.log_fd)
            self.log_fd = -1


@dataclass(slots=True)
class Blank:
    """A sandbox without a function, and perhaps a runtime that waits for one."""

    sandbox: Sandbox
    runtime: WaitingRuntime | None = None
    held_bytes: int = PLAIN_BYTES


@dataclass(frozen=True, slots=True)
class BlankLimits:
    """How many blanks are kept."""

    per_image: int
    """Of each image in use without demand; 0: none."""
    waiting_max: int
    """Runtimes that wait, of all images together; 0: none waits."""
    has_zygotes: bool = False
    """Runtimes that can be are forked."""
    memory_mb: int = 0
    """What blanks, waiting runtimes and zygotes hold together at most; 0: no bound."""


@dataclass(slots=True)
class _Demand:
    """What is asked of one pool: an image's runtimes that may serve the same functions."""

    image: str
    program: WaitingProgram | None
    """None: nothing may wait, blanks alone are wanted."""
    asked_ns: int = 0
    """When it was last asked for, or expected to be."""
    taken: deque[int] = field(default_factory=lambda: deque(maxlen=TAKEN_MAX))
    """Moments (monotonic ns) at which it was asked for lately."""
    starting: int = 0
    runtime_bytes: int = RUNTIME_BYTES

    def recent(self, since_ns: int) -> int:
        return sum(1 for moment in self.taken if moment >= since_ns)


def pool_of(image: str, program: WaitingProgram | None) -> str:
    """Name of the pool: whose waiting runtimes a program's function may take."""
    return image if program is None or not program.zygote else program.zygote


class Blanks:
    """Ready blanks by image."""

    def __init__(
        self,
        driver: SandboxDriver,
        clock: Clock,
        limits: BlankLimits,
        supervise: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._limits = limits
        self._waiting_max = limits.waiting_max if limits.waiting_max and driver.binds_running else 0
        self._supervise = supervise
        forks = driver.forks if limits.has_zygotes else None
        self.zygotes = Zygotes(forks, clock, supervise) if forks is not None else None
        self._demands: dict[str, _Demand] = {}
        """By the pool's name."""
        self._ready: dict[str, deque[Blank]] = {}
        self._making: dict[str, int] = {}
        self._turn = asyncio.Lock()
        """One runtime starts at a time: whoever makes a cold start meanwhile needs the machine more."""
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._is_closed = False
        self.steps: Counter[str] = Counter()
        """How cold starts got their runtime, see STEPS."""
        self.misses = 0
        """How often a runtime was asked for and none waited."""
        self.hits = 0

    def expect(self, image: str, program: WaitingProgram | None) -> None:
        """A function that will ask for `image` is there: have something ready."""
        if self._is_closed:
            return
        if self.zygotes is not None and program is not None:
            self.zygotes.expect(image, program)
        if self._limits.per_image:
            self._demand(image, program).asked_ns = self._clock.monotonic_ns()
            self._refill_soon(image)

    def _demand(self, image: str, program: WaitingProgram | None) -> _Demand:
        name = pool_of(image, program)
        demand = self._demands.get(name)
        if demand is None:
            demand = self._demands[name] = _Demand(image, program)
        elif demand.program is None:
            demand.program = program
        return demand

    async def take(self, image: str, limits: Limits, program: WaitingProgram | None = None) -> Blank:
        """A blank of `image`, with a runtime that waits in it, or that was forked into it now, if the caller has a use for
        one (`program`).

        A ready blank where the size of `/tmp` allows, else one made now. Raises SandboxError.
        """
        blank = None
        if self._limits.per_image and not self._is_closed:
            self.expect(image, program)
            self._demand(image, program).taken.append(self._clock.monotonic_ns())
            if limits.tmp_mb == BLANK_LIMITS.tmp_mb:
                blank = self._pick(image, program)
        if blank is not None and blank.runtime is not None:
            self.steps[WAITING] += 1
            return blank
        is_dry = blank is None
        blank = blank or Blank(await self._driver.create(image, limits))
        if await self._has_copy(image, program, blank):
            self.steps[FORKED_DRY if is_dry else FORKED] += 1
        else:
            self.steps[STARTED_DRY if is_dry else STARTED] += 1
        return blank

    async def _has_copy(self, image: str, program: WaitingProgram | None, blank: Blank) -> bool:
        """Have a zygote make a copy in the blank, if there is one and it can; the blank is fit for a start, if not."""
        if self.zygotes is None or program is None or not self.zygotes.is_ready(program):
            return False
        try:
            await self._fork(image, program, blank, is_ahead=False)
        except SandboxError:
            return False  # the zygotes have said why
        except BaseException:
            self._supervise(self._destroy(blank), f"destroy a blank of {image}")
            raise
        return True

    def _pick(self, image: str, program: WaitingProgram | None) -> Blank | None:
        """The one that has waited longest, of the kind that is wanted; else one without a runtime."""
        ready = self._ready.get(image, deque())
        for blank in [blank for blank in ready if blank.runtime is not None and blank.runtime.ended is not None]:
            ready.remove(blank)
            self._supervise(self._destroy(blank), f"destroy a blank of {image}")
        found = None
        if program is not None:
            pool = pool_of(image, program)
            waiting = (blank for blank in ready if blank.runtime is not None and blank.runtime.pool == pool)
            found = next((blank for blank in waiting if blank.runtime is not None and blank.runtime.is_waiting()), None)
            if self._waiting_max:
                self.hits += found is not None
                self.misses += found is None
        found = found or next((blank for blank in ready if blank.runtime is None), None)
        if found is not None:
            ready.remove(found)
        return found

    # --- making ------------------------------------------------------------------------------------------------

    def _since_ns(self) -> int:
        return self._clock.monotonic_ns() - int(DEMAND_S * 1_000_000_000)

    def _target(self, image: str) -> int:
        """How many of an image should be ready now, with a runtime or without."""
        since_ns = self._since_ns()
        wanted = sum(self._wanted(one, since_ns) for one in self._pools(image) if one.program is not None)
        demand = sum(one.recent(since_ns) for one in self._pools(image))
        return max(self._limits.per_image, min(max(wanted, demand), self._waiting_max))

    def _wanted(self, demand: _Demand, since_ns: int) -> int:
        """How many runtimes of one pool should wait."""
        if self._is_idle(demand):
            return min(1, self._limits.per_image)
        return max(self._limits.per_image, min(demand.recent(since_ns), self._waiting_max))

    def _is_idle(self, demand: _Demand) -> bool:
        return (self._clock.monotonic_ns() - demand.asked_ns) / 1e9 >= KEEP_S

    def _pools(self, image: str) -> list[_Demand]:
        return [demand for demand in self._demands.values() if demand.image == image]

    def _refill_soon(self, image: str) -> None:
        if image not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[image] = loop.call_later(REFILL_DELAY_S, self._refill, image)

    def _refill(self, image: str) -> None:
        self._timers.pop(image, None)
        if self._is_closed:
            return
        ready, since_ns = self._ready.setdefault(image, deque()), self._since_ns()
        plain = [blank for blank in ready if blank.runtime is None]
        while (demand := self._neediest(image, since_ns)) is not None:
            if not self._has_room(demand):
                self._yield_to(demand)
                plain = [blank for blank in ready if blank.runtime is None]
            blank = plain.pop() if plain else None
            if blank is not None:
                ready.remove(blank)  # of a time when nobody had a use for a runtime in it
            demand.starting += 1
            self._begin(image, blank, demand)
        for _ in range(self._target(image) - len(ready) - self._making.get(image, 0)):
            self._begin(image, None, None)

    def _neediest(self, image: str, since_ns: int) -> _Demand | None:
        """The pool that wants one more runtime, has the fewest, and may have it."""
        found, fewest = None, 0
        for demand in self._pools(image):
            if demand.program is None:
                continue
            there = self._there(demand)
            if there >= self._wanted(demand, since_ns) or not (self._has_room(demand) or self._older(demand)):
                continue
            if found is None or there < fewest:
                found, fewest = demand, there
        return found

    def _there(self, demand: _Demand) -> int:
        """Runtimes of a pool that wait or are being started."""
        return self._waiting_in(pool_of(demand.image, demand.program)) + demand.starting

    def _older(self, demand: _Demand) -> Blank | None:
        """What has to go, where there is no room, for a pool that has none: one that waits for the pool that was asked for
        the longest time ago."""
        if self._there(demand):
            return None
        found, oldest_ns = None, demand.asked_ns
        for other in self._demands.values():
            if other.program is None or other.asked_ns >= oldest_ns:
                continue
            pool = pool_of(other.image, other.program)
            ready = (one for one in self._ready.get(other.image, ()) if one.runtime is not None)
            blank = next((one for one in ready if one.runtime is not None and one.runtime.pool == pool), None)
            if blank is not None:
                found, oldest_ns = blank, other.asked_ns
        return found

    def _yield_to(self, demand: _Demand) -> None:
        blank = self._older(demand)
        assert blank is not None
        for image, ready in self._ready.items():
            if blank in ready:
                ready.remove(blank)
                self._supervise(self._destroy(blank), f"destroy a blank of {image}")

    def _has_room(self, demand: _Demand) -> bool:
        """Whether one more runtime may wait, by number and by memory."""
        if self.waiting + self._starting >= self._waiting_max:
            return False
        return not self._limits.memory_mb or self.held_bytes() + demand.runtime_bytes <= self._limits.memory_mb << 20

    def _begin(self, image: str, blank: Blank | None, demand: _Demand | None) -> None:
        self._making[image] = self._making.get(image, 0) + 1
        self._supervise(self._make(image, blank, demand), f"blank {image}")

    async def _make(self, image: str, blank: Blank | None, demand: _Demand | None) -> None:
        try:
            if blank is None:
                blank = Blank(await self._driver.create(image, BLANK_LIMITS))
            if demand is not None:
                async with self._turn:
                    await self._prepare(blank, demand)
        except SandboxError as error:
            # The next cold start makes its own, and tries.
            log.warning("no blank of %s could be made: %s", image, error)
            return
        finally:
            self._making[image] -= 1
            if demand is not None:
                demand.starting -= 1
        if self._is_closed:
            await self._destroy(blank)
        else:
            self._ready.setdefault(image, deque()).append(blank)

    async def _prepare(self, blank: Blank, demand: _Demand) -> None:
        """Have a runtime wait in a blank: a zygote's copy where there is one, else one that is started."""
        program, image = demand.program, demand.image
        assert program is not None
        try:
            if self.zygotes is None or not await self.zygotes.prepared(image, program):
                await self._start(image, blank, program)
            else:
                try:
                    await self._fork(image, program, blank, is_ahead=True)
                except SandboxError:
                    await self._start(image, blank, program)
        except BaseException:
            with contextlib.suppress(SandboxError):
                await blank.sandbox.destroy()
            raise
        runtime = blank.runtime
        assert runtime is not None
        look_s = _LOOK_FORKED_S if runtime.is_copy else _LOOK_S
        left = round(STARTING_S_MAX / look_s)
        while left and not (runtime.is_waiting() or runtime.ended or self._is_closed):
            await asyncio.sleep(look_s)
            left -= 1
        blank.held_bytes = demand.runtime_bytes = PLAIN_BYTES + blank.sandbox.peak_bytes()

    async def _start(self, image: str, blank: Blank, program: WaitingProgram) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        runtime = WaitingRuntime(ours, pool_of(image, program))
        try:
            command = Command(program.argv, program.env, program.cwd, theirs)
            runtime.log_fd = await blank.sandbox.start(command, runtime.exited)
        except BaseException:
            runtime.close()
            raise
        blank.runtime = runtime

    async def _fork(self, image: str, program: WaitingProgram, blank: Blank, *, is_ahead: bool) -> None:
        assert self.zygotes is not None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        runtime = WaitingRuntime(ours, pool_of(image, program))
        runtime.is_copy = True
        try:
            runtime.log_fd = await self.zygotes.fork(
                image, program, blank.sandbox, theirs, runtime.exited, is_ahead=is_ahead
            )
        except BaseException:
            runtime.close()
            raise
        blank.runtime = runtime

    # --- keeping -----------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Ready blanks of all images."""
        return sum(map(len, self._ready.values()))

    @property
    def waiting(self) -> int:
        """Runtimes that wait in them."""
        return sum(blank.runtime is not None for ready in self._ready.values() for blank in ready)

    @property
    def _starting(self) -> int:
        return sum(demand.starting for demand in self._demands.values())

    def _waiting_in(self, pool: str) -> int:
        ready = (blank for blanks in self._ready.values() for blank in blanks)
        return sum(blank.runtime is not None and blank.runtime.pool == pool for blank in ready)

    def held_bytes(self) -> int:
        """What blanks, waiting runtimes and zygotes hold, those that are being started included."""
        held = sum(blank.held_bytes for ready in self._ready.values() for blank in ready)
        held += sum(demand.starting * demand.runtime_bytes for demand in self._demands.values())
        return held + (self.zygotes.peak_bytes() if self.zygotes is not None else 0)

    async def sweep(self) -> None:
        """Give up the blanks that the demand of the last seconds no longer asks for, and zygotes that are old or idle."""
        now_ns, since_ns = self._clock.monotonic_ns(), self._since_ns()
        for name, demand in list(self._demands.items()):
            if (now_ns - demand.asked_ns) / 1e9 >= FORGET_S:
                del self._demands[name]
                await self._give_up(demand.image, name, 0)
            elif demand.program is not None:
                await self._give_up(demand.image, name, self._wanted(demand, since_ns))
        for image, ready in list(self._ready.items()):
            pools = self._pools(image)
            keep = 0
            if pools:
                keep = min(1, self._limits.per_image) if all(map(self._is_idle, pools)) else self._target(image)
            waiting = sum(blank.runtime is not None for blank in ready)
            await self._give_up(image, None, max(0, keep - waiting))
            if self._neediest(image, since_ns) is not None:  # for whom there was no room before
                self._refill_soon(image)
        if self.zygotes is not None:
            self.zygotes.sweep()

    async def close(self) -> None:
        """Destroy every blank; those being made follow when they are done."""
        self._is_closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for ready in self._ready.values():
            while ready:
                await self._destroy(ready.pop())
        if self.zygotes is not None:
            await self.zygotes.close()

    async def _give_up(self, image: str, pool: str | None, keep: int) -> None:
        """Of an image's ready blanks keep so many, the oldest, of one pool; None: of those without a runtime."""
        ready = self._ready.get(image, deque())
        ours = [b for b in ready if (b.runtime.pool if b.runtime is not None else None) == pool]
        for blank in ours[keep:]:
            ready.remove(blank)
        for blank in ours[keep:]:
            await self._destroy(blank)

    async def _destroy(self, blank: Blank) -> None:
        if blank.runtime is not None:
            blank.runtime.close()
        try:
            await blank.sandbox.destroy()
        except SandboxError as error:
            log.warning("a blank was not torn down cleanly: %s", error)
