"""Zygotes: runtimes that were started once and fork themselves into sandboxes, one for each account, image and flavour.

A zygote has run trusted code only and knows nothing of a function. What its copies have in common (layout of memory, hash
seed) they have in common with nobody of another account, unless the server is told to share. Each is replaced after an
hour, or so many copies: the next one is started first, so nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from ..domain.clock import Clock
from ..domain.limits import RUNTIME_DESCRIPTORS_MAX, RUNTIME_PROCESSES_MAX
from ..sandbox.port import Command, Exit, Forks, Limits, Sandbox, SandboxError, Zygote
from .plan import WaitingProgram

RENEW_S = 3_600.0
"""A zygote makes no copies any more when it is older."""
COPIES_MAX = 10_000
"""Nor after so many."""
IDLE_S = 600.0
"""One that made no copy for this long ends."""
START_S_MAX = 10.0
"""How long one may take to say that it is ready."""
RETRY_S = 60.0
"""After a start that failed, the next is tried."""
FAILURES_MAX = 3
"""Forks in a row that failed: the zygote is replaced."""
ZYGOTES_MAX = 64
"""At once, of all accounts; beyond it the one that has been idle longest makes room."""
LIMITS = Limits(
    memory_mb=512,
    cpu_vcpus=1.0,
    processes_max=RUNTIME_PROCESSES_MAX,  # copies inherit the process's own limit, and none can be raised
    descriptors_max=RUNTIME_DESCRIPTORS_MAX,
    tmp_mb=1,
)
FORKS_VARIABLE = "_LAMBENT_FORKS"
"""Names the fork object to a runtime that is to be a zygote (see bootstraps/)."""
WAITING_FRAME = b"\x01\0\0\0\x0c"
"""What a zygote says once it is ready, and what a waiting runtime says."""

_LOG_BYTES = 4_096

log = logging.getLogger("lambent.environments")


@dataclass(slots=True, eq=False)
class Running:
    """One zygote that is ready."""

    image: str
    program: WaitingProgram
    zygote: Zygote
    log_fd: int
    channel: socket.socket
    """Nothing is said on it any more; held, because its end would be one's end in the zygote's eyes."""
    since_ns: int
    used_ns: int
    copies: int = 0
    failures: int = 0
    under_way: int = 0
    """Forks that were asked for and have not been answered."""
    is_retired: bool = False


class Zygotes:
    """See the module's text. One for each name of a `WaitingProgram`."""

    def __init__(
        self, forks: Forks, clock: Clock, supervise: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
    ) -> None:
        self._forks = forks
        self._clock = clock
        self._supervise = supervise
        self._running: dict[str, Running] = {}
        self._starting: dict[str, asyncio.Future[None]] = {}
        self._broken_ns: dict[str, int] = {}
        """When the last start of a name failed."""
        self._is_closed = False
        self.started = 0
        self.copies = 0

    def is_ready(self, program: WaitingProgram) -> bool:
        """Whether a copy can be had now."""
        return program.zygote in self._running

    @property
    def count(self) -> int:
        """Zygotes that are ready."""
        return len(self._running)

    def peak_bytes(self) -> int:
        """What they hold."""
        return sum(running.zygote.peak_bytes() for running in self._running.values())

    def expect(self, image: str, program: WaitingProgram) -> None:
        """Have one ready soon."""
        name = program.zygote
        if name and name not in self._running and name not in self._starting and not self._is_closed:
            self._begin(image, program)

    async def prepared(self, image: str, program: WaitingProgram) -> bool:
        """Wait for the one that is on its way, if any is; whether a copy can be had."""
        self.expect(image, program)
        starting = self._starting.get(program.zygote)
        if starting is not None and not self.is_ready(program):
            await asyncio.wait([starting])
        return self.is_ready(program)

    async def fork(
        self,
        image: str,
        program: WaitingProgram,
        sandbox: Sandbox,
        channel: socket.socket,
        on_exit: Callable[[Exit], None],
        *,
        is_ahead: bool,
    ) -> int:
        """A copy of the program's zygote in a sandbox of its image; answers the log pipe. Closes `channel`.

        Raises SandboxError when there is none, or it could not: the sandbox can be used otherwise.
        """
        running = self._running.get(program.zygote)
        if running is None:
            channel.close()
            raise SandboxError("find a zygote", 3)
        running.used_ns = self._clock.monotonic_ns()
        running.copies += 1
        if running.copies >= COPIES_MAX:
            self._replace(image, program)
        running.under_way += 1
        try:
            log_fd = await self._forks.fork(running.zygote, sandbox, channel, on_exit, is_ahead)
        except SandboxError as error:
            log.warning("a zygote of %s made no copy: %s", program.zygote, error)
            running.failures += 1
            if running.failures >= FAILURES_MAX:
                self._retire(program.zygote, running)
            raise
        else:
            running.failures = 0
            self.copies += 1
            return log_fd
        finally:
            running.under_way -= 1
            if running.is_retired and not running.under_way:
                self._supervise(self._end(running), f"end zygote {program.zygote}")

    # --- making ------------------------------------------------------------------------------------------------

    def _begin(self, image: str, program: WaitingProgram) -> None:
        name, now_ns = program.zygote, self._clock.monotonic_ns()
        broken_ns = self._broken_ns.get(name)
        if broken_ns is not None and now_ns - broken_ns < RETRY_S * 1e9:
            return
        starting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._starting[name] = starting
        self._supervise(self._start(image, program, starting), f"zygote {name}")

    def _replace(self, image: str, program: WaitingProgram) -> None:
        """Start the next one; the old serves until it is ready."""
        if program.zygote not in self._starting and not self._is_closed:
            self._begin(image, program)

    async def _start(self, image: str, program: WaitingProgram, starting: asyncio.Future[None]) -> None:
        name = program.zygote
        try:
            running = await self._started(image, program)
        except SandboxError as error:
            self._broken_ns[name] = self._clock.monotonic_ns()
            log.warning("no zygote of %s: %s", name, error)
            return
        finally:
            del self._starting[name]
            starting.set_result(None)
        if self._is_closed:
            await self._end(running)
            return
        self._broken_ns.pop(name, None)
        self.started += 1
        old = self._running.get(name)
        if old is not None:
            self._retire(name, old)
        elif len(self._running) >= ZYGOTES_MAX:
            idle = min(self._running, key=lambda one: self._running[one].used_ns)
            self._retire(idle, self._running[idle])
        self._running[name] = running

    async def _started(self, image: str, program: WaitingProgram) -> Running:
        zygote = await self._forks.create(image, LIMITS)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        log_fd = -1
        env = {k: v for k, v in program.env.items() if k != "_LAMBENT_WAITS"} | {FORKS_VARIABLE: program.fork_object}

        def ended(exit_: Exit) -> None:
            self._lost(program.zygote, zygote, exit_)

        try:
            log_fd = await zygote.start(Command(program.argv, env, program.cwd, theirs), ended)
            async with asyncio.timeout(START_S_MAX):
                said = await asyncio.get_running_loop().sock_recv(ours, len(WAITING_FRAME))
            if said != WAITING_FRAME:
                with contextlib.suppress(BlockingIOError):
                    said = os.read(log_fd, _LOG_BYTES)
                raise SandboxError("start a zygote", 0, f"it ended and said {said.decode(errors='replace')!r}")
        except (OSError, TimeoutError, SandboxError) as error:
            ours.close()
            if log_fd >= 0:
                os.close(log_fd)
            await zygote.destroy()
            if isinstance(error, SandboxError):
                raise
            raise SandboxError("start a zygote", getattr(error, "errno", 0) or 110, str(error)) from error
        now_ns = self._clock.monotonic_ns()
        return Running(image, program, zygote, log_fd, ours, now_ns, now_ns)

    # --- keeping -----------------------------------------------------------------------------------------------

    def _lost(self, name: str, zygote: Zygote, exit_: Exit) -> None:
        """It ended by itself; the next who expects it starts another."""
        running = self._running.get(name)
        if running is None or running.zygote is not zygote or self._is_closed:
            return
        log.warning("the zygote of %s ended: %s", name, exit_)
        self._retire(name, running)

    def _retire(self, name: str, running: Running) -> None:
        """It makes no copy any more, and ends when those under way are made; copies live on in their sandboxes."""
        if self._running.get(name) is running:
            del self._running[name]
        running.is_retired = True
        if not running.under_way:
            self._supervise(self._end(running), f"end zygote {name}")

    async def _end(self, running: Running) -> None:
        running.channel.close()
        if running.log_fd >= 0:
            os.close(running.log_fd)
            running.log_fd = -1
        try:
            await running.zygote.destroy()
        except SandboxError as error:
            log.warning("a zygote was not torn down cleanly: %s", error)

    def sweep(self) -> None:
        """Replace who is old, end who is idle."""
        now_ns = self._clock.monotonic_ns()
        for name, running in list(self._running.items()):
            if now_ns - running.used_ns > IDLE_S * 1e9:
                self._retire(name, running)
            elif now_ns - running.since_ns > RENEW_S * 1e9:
                self._replace(running.image, running.program)

    async def close(self) -> None:
        """End all; one that is being started follows when it is done."""
        self._is_closed = True
        for name, running in list(self._running.items()):
            self._retire(name, running)
