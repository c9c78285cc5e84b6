"""Blank sandboxes kept ready, and runtimes that wait in them: everything that knows no function is done beforehand.

The first use of an image says that more may follow: from then on some blanks of it are kept, and in most of them its
runtime is started and waits for a function, where the driver lets code be mounted under a running program. A blank holds
no code, no identity and no limits of anybody's, and nothing but trusted code has run in it; it gets a function when it
is bound, and is used once. How many wait follows the demand of the last seconds, within one bound for all images.

What is missing is made a moment after one was taken, not at once: the cold start that took it needs the machine more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from ..domain.clock import Clock
from ..domain.limits import EPHEMERAL_MB_DEFAULT, RUNTIME_DESCRIPTORS_MAX, RUNTIME_PROCESSES_MAX
from ..sandbox.port import Command, Exit, Limits, Sandbox, SandboxDriver, SandboxError
from .plan import WaitingProgram

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
WAITING_FRAME = b"\x01\0\0\0\x0c"
"""What a runtime writes once it waits (WAITING, see ARCHITECTURE.md): nothing else comes before its function."""
BLANK_LIMITS = Limits(
    memory_mb=128,
    cpu_vcpus=1.0,
    processes_max=RUNTIME_PROCESSES_MAX,
    descriptors_max=RUNTIME_DESCRIPTORS_MAX,
    tmp_mb=EPHEMERAL_MB_DEFAULT,
)

_LOOK_S = 0.01

log = logging.getLogger("lambent.environments")


class WaitingRuntime:
    """A runtime in a blank: our end of its channel, its log pipe, and its end when that comes."""

    __slots__ = ("_is_waiting", "_on_exit", "ended", "log_fd", "ours")

    def __init__(self, ours: socket.socket) -> None:
        self.ours = ours
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


@dataclass(frozen=True, slots=True)
class BlankLimits:
    """How many blanks are kept."""

    per_image: int
    """Of each image in use without demand; 0: none."""
    waiting_max: int
    """Runtimes that wait, of all images together; 0: none waits."""


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
        self._programs: dict[str, WaitingProgram] = {}
        self._ready: dict[str, deque[Blank]] = {}
        self._making: dict[str, int] = {}
        self._starting = 0
        self._turn = asyncio.Lock()
        """One runtime starts at a time: whoever makes a cold start meanwhile needs the machine more."""
        self._taken: dict[str, deque[int]] = {}
        """Moments (monotonic ns) at which an image's blanks were asked for lately."""
        self._asked_ns: dict[str, int] = {}
        """When an image was last asked for, or expected to be."""
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._is_closed = False
        self.misses = 0
        """How often a runtime was asked for and none waited."""
        self.hits = 0

    def expect(self, image: str, program: WaitingProgram | None) -> None:
        """A function that will ask for `image` is there: have something ready."""
        if self._limits.per_image and not self._is_closed:
            if program is not None:
                self._programs[image] = program
            self._asked_ns[image] = self._clock.monotonic_ns()
            self._refill_soon(image)

    async def take(self, image: str, limits: Limits, program: WaitingProgram | None = None) -> Blank:
        """A blank of `image`, with a runtime that waits in it if one does and the caller has a use for it (`program`).

        A ready one where the size of `/tmp` allows, else one made now. Raises SandboxError.
        """
        if self._limits.per_image and not self._is_closed:
            self.expect(image, program)
            self._taken.setdefault(image, deque(maxlen=TAKEN_MAX)).append(self._clock.monotonic_ns())
            if limits.tmp_mb == BLANK_LIMITS.tmp_mb:
                blank = self._pick(image, program is not None)
                if blank is not None:
                    return blank
        return Blank(await self._driver.create(image, limits))

    def _pick(self, image: str, wants_runtime: bool) -> Blank | None:
        """The one that has waited longest, of the kind that is wanted; else one without a runtime."""
        ready = self._ready.get(image, deque())
        for blank in [blank for blank in ready if blank.runtime is not None and blank.runtime.ended is not None]:
            ready.remove(blank)
            self._supervise(self._destroy(blank), f"destroy a blank of {image}")
        found = None
        if wants_runtime:
            found = next((blank for blank in ready if blank.runtime is not None and blank.runtime.is_waiting()), None)
            if self._waiting_max:
                self.hits += found is not None
                self.misses += found is None
        found = found or next((blank for blank in ready if blank.runtime is None), None)
        if found is not None:
            ready.remove(found)
        return found

    # --- making ------------------------------------------------------------------------------------------------

    def _target(self, image: str) -> int:
        """How many of an image should be ready now."""
        since_ns = self._clock.monotonic_ns() - int(DEMAND_S * 1_000_000_000)
        demand = sum(1 for moment in self._taken.get(image, ()) if moment >= since_ns)
        return max(self._limits.per_image, min(demand, self._waiting_max))

    def _refill_soon(self, image: str) -> None:
        if image not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[image] = loop.call_later(REFILL_DELAY_S, self._refill, image)

    def _refill(self, image: str) -> None:
        self._timers.pop(image, None)
        if self._is_closed:
            return
        ready = self._ready.setdefault(image, deque())
        for blank in self._plain(image):
            ready.remove(blank)  # of a time when nobody had a use for a runtime in it
            self._begin(image, blank)
        for _ in range(self._target(image) - len(ready) - self._making.get(image, 0)):
            self._begin(image, None)

    def _plain(self, image: str) -> list[Blank]:
        """Ready blanks in which a runtime could wait and none does."""
        room = self._waiting_max - self.waiting - self._starting
        if image not in self._programs or room <= 0:
            return []
        return [blank for blank in self._ready.get(image, ()) if blank.runtime is None][:room]

    def _begin(self, image: str, blank: Blank | None) -> None:
        self._making[image] = self._making.get(image, 0) + 1
        self._supervise(self._make(image, blank), f"blank {image}")

    async def _make(self, image: str, blank: Blank | None) -> None:
        try:
            if blank is None:
                blank = Blank(await self._driver.create(image, BLANK_LIMITS))
            program = self._programs.get(image)
            if program is not None and self.waiting + self._starting < self._waiting_max:
                self._starting += 1
                try:
                    async with self._turn:
                        await self._start(blank, program)
                finally:
                    self._starting -= 1
        except SandboxError as error:
            # The next cold start makes its own, and tries.
            log.warning("no blank of %s could be made: %s", image, error)
            return
        finally:
            self._making[image] -= 1
        if self._is_closed:
            await self._destroy(blank)
        else:
            self._ready.setdefault(image, deque()).append(blank)

    async def _start(self, blank: Blank, program: WaitingProgram) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        runtime = WaitingRuntime(ours)
        try:
            command = Command(program.argv, program.env, program.cwd, theirs)
            runtime.log_fd = await blank.sandbox.start(command, runtime.exited)
        except BaseException:
            runtime.close()
            with contextlib.suppress(SandboxError):
                await blank.sandbox.destroy()
            raise
        blank.runtime = runtime
        left = round(STARTING_S_MAX / _LOOK_S)
        while left and not (runtime.is_waiting() or runtime.ended or self._is_closed):
            await asyncio.sleep(_LOOK_S)
            left -= 1

    # --- keeping -----------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Ready blanks of all images."""
        return sum(map(len, self._ready.values()))

    @property
    def waiting(self) -> int:
        """Runtimes that wait in them."""
        return sum(blank.runtime is not None for ready in self._ready.values() for blank in ready)

    async def sweep(self) -> None:
        """Give up the blanks that the demand of the last seconds no longer asks for."""
        now_ns = self._clock.monotonic_ns()
        for image, asked_ns in list(self._asked_ns.items()):
            idle_s = (now_ns - asked_ns) / 1e9
            keep = min(1, self._limits.per_image) if idle_s >= KEEP_S else self._target(image)
            if idle_s >= FORGET_S:
                keep = 0
                del self._asked_ns[image]
                self._taken.pop(image, None)
            await self._give_up(image, keep)

    async def close(self) -> None:
        """Destroy every blank; those being made follow when they are done."""
        self._is_closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for image in list(self._ready):
            await self._give_up(image, 0)

    async def _give_up(self, image: str, keep: int) -> None:
        ready = self._ready.get(image, deque())
        while len(ready) > keep:
            await self._destroy(ready.pop())

    async def _destroy(self, blank: Blank) -> None:
        if blank.runtime is not None:
            blank.runtime.close()
        try:
            await blank.sandbox.destroy()
        except SandboxError as error:
            log.warning("a blank was not torn down cleanly: %s", error)
