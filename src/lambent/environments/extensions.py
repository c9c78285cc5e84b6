"""The extensions of one environment, for one life of its runtime: their programs, what they print, and their end.

External extensions are programs in /opt/extensions, started before the runtime; internal ones live within the runtime.
Whoever is registered, ready or busy is kept by an `ExtensionsChannel`; here is what there is of processes, and who waits for
what they do.
Source: Developer guide, "Using the Lambda Extensions API" and "Lambda execution environment lifecycle".
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..domain.clock import Clock
from ..domain.limits import EXTENSIONS_MAX, SHUTDOWN_EXTERNAL_S, SHUTDOWN_INTERNAL_S
from ..sandbox.port import Command, Exit, Sandbox
from ..telemetry.attempt import LogLine
from ..telemetry.lines import LineSplitter
from .channel import ExtensionsChannel, ExtensionsSink
from .failures import describe_extension_exit, launch_error_type
from .plan import ExtensionProgram

RUNTIME_SHARE = 0.3
"""The part of the time for an end in which the runtime may end by itself. Source: the service's emulator."""

INIT_EXIT_GRACE_S = 1.0
"""How long whoever reported an error, a runtime in its init or an extension, may take to exit before it is killed."""

_READ_BYTES = 65_536


class _Program:
    """An external extension that runs."""

    __slots__ = ("ended", "exit", "log_fd", "name", "splitter")

    def __init__(self, name: str, splitter: LineSplitter) -> None:
        self.name = name
        self.splitter = splitter
        self.log_fd = -1
        self.ended = asyncio.Event()
        self.exit: Exit | None = None


class Extensions:
    """See the module's text. It is the sink of its channel."""

    __slots__ = (
        "_clock",
        "_failure_timer",
        "_is_ending",
        "_loop",
        "_new_splitter",
        "_on_end",
        "_on_moved",
        "_on_output",
        "_registered",
        "channel",
        "programs",
    )

    def __init__(
        self,
        open_channel: Callable[[ExtensionsSink], ExtensionsChannel],
        clock: Clock,
        new_splitter: Callable[[], LineSplitter],
        on_output: Callable[[], None],
        on_moved: Callable[[], None],
        on_end: Callable[[tuple[str, str]], None],
    ) -> None:
        """on_output: something was printed. on_moved: one has registered or asks for its next event. on_end: one has ended or
        could not be started, though nobody told it to end; (error type, text)."""
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._new_splitter = new_splitter
        self._on_output = on_output
        self._on_moved = on_moved
        self._on_end = on_end
        self._registered: asyncio.Future[None] | None = None
        """Waits for the external ones to register."""
        self._failure_timer: asyncio.TimerHandle | None = None
        self.programs: dict[str, _Program] = {}
        """The external ones that were started."""
        self._is_ending = False
        self.channel = open_channel(self)

    async def start(self, sandbox: Sandbox, programs: Sequence[ExtensionProgram]) -> None:
        """Start them one after another; whoever can't be started is told by `on_end`. Raises SandboxError."""
        if len(programs) > EXTENSIONS_MAX:
            self.channel.launch_failed(programs[EXTENSIONS_MAX].name, "TooManyExtensions")
            self._on_end(("Extension.LaunchError", f"Extension limit ({EXTENSIONS_MAX}) reached"))
            return
        for one in programs:
            program = _Program(one.name, self._new_splitter())
            command = Command(one.argv, one.env, one.cwd, None, label=f"extension {one.name}")
            program.log_fd = await sandbox.start(command, self._ender(program))
            self.programs[one.name] = program
            self._loop.add_reader(program.log_fd, self._read, program)
            if program.exit is not None and program.exit.error:
                return

    def _ender(self, program: _Program) -> Callable[[Exit], None]:
        def ended(exit_: Exit) -> None:
            program.exit = exit_
            program.ended.set()
            error_type, text = describe_extension_exit(program.name, exit_)
            if exit_.error:
                self.channel.launch_failed(program.name, launch_error_type(exit_.error))
            if not self._is_ending:
                reported = self.channel.failure
                self._on_end((error_type if reported is None else reported[0], text))

        return ended

    async def registered(self, broken: asyncio.Future[Any], limit_s: float | None) -> bool:
        """Wait until each external one has registered. False: `broken` was done first, or `limit_s` is over."""
        registered = self._registered = self._loop.create_future()
        self.extension_moved()
        await asyncio.wait((registered, broken), timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        self._registered = None
        return registered.done() and not broken.done()

    # --- ExtensionsSink ----------------------------------------------------------------------------------------

    def extension_moved(self) -> None:
        if self._registered is not None and self.channel.is_external_registered and not self._registered.done():
            self._registered.set_result(None)
        self._on_moved()

    def extension_failed(self) -> None:
        """It said why; let it end by itself, so that what it still prints is logged."""
        if self._failure_timer is None:
            self._failure_timer = self._loop.call_later(INIT_EXIT_GRACE_S, self._on_failed)

    def _on_failed(self) -> None:
        self._failure_timer = None
        if self.channel.failure is not None:
            self._on_end(self.channel.failure)

    # --- what they print ---------------------------------------------------------------------------------------

    @property
    def pending_bytes(self) -> int:
        """Bytes of complete lines that nobody has taken."""
        return sum(program.splitter.pending_bytes for program in self.programs.values())

    def _read(self, program: _Program) -> None:
        if self._feed(program) == 0:
            self._loop.remove_reader(program.log_fd)
        else:
            self._on_output()

    def _feed(self, program: _Program) -> int:
        """One read: how many bytes came, 0 at the pipe's end, -1 when there is nothing now."""
        try:
            data = os.read(program.log_fd, _READ_BYTES)
        except BlockingIOError:
            return -1
        if data:
            program.splitter.feed(data, self._clock.wall_ms(), self._clock.monotonic_ns())
        return len(data)

    def drain(self, bytes_max: int) -> None:
        """Take what lies in the pipes now, of each so much at most."""
        for program in self.programs.values():
            taken = 0
            while program.log_fd >= 0 and taken < bytes_max and (size := self._feed(program)) > 0:
                taken += size

    def take_lines(self, *, is_flushed: bool) -> list[LogLine]:
        """The lines since the last call; is_flushed: begun ones too."""
        lines: list[LogLine] = []
        for program in self.programs.values():
            if is_flushed:
                program.splitter.flush(self._clock.wall_ms())
            lines += program.splitter.take()
        return lines

    def close(self) -> None:
        """Release the descriptors; idempotent."""
        if self._failure_timer is not None:
            self._failure_timer.cancel()
            self._failure_timer = None
        self.channel.close()
        for program in self.programs.values():
            if program.log_fd >= 0:
                self._loop.remove_reader(program.log_fd)
                os.close(program.log_fd)
                program.log_fd = -1

    # --- the end -----------------------------------------------------------------------------------------------

    async def shut_down(
        self, sandbox: Sandbox, reason: str, runtime_ended: Callable[[], Awaitable[object]] | None
    ) -> None:
        """Let runtime and extensions end by themselves, in that order, within the published time; what is left then is
        the caller's to kill. Without extensions nobody gets any time.

        reason: `spindown`, `timeout` or `failure`. runtime_ended: waits for the runtime's end; None: it has none.
        Raises SandboxError.
        """
        if self._is_ending or not self.channel.count:
            return
        self._is_ending = True
        limit_s = SHUTDOWN_EXTERNAL_S if self.programs else SHUTDOWN_INTERNAL_S
        deadline_s = self._loop.time() + limit_s
        deadline_ms = self._clock.wall_ms() + round(limit_s * 1_000)
        if runtime_ended is not None:
            await sandbox.signal("runtime", signal.SIGTERM)
            if not await _within(runtime_ended(), limit_s * RUNTIME_SHARE):
                await sandbox.signal("runtime", signal.SIGKILL)
        told = self.channel.shut_down(reason, deadline_ms)
        alive = [program for program in self.programs.values() if not program.ended.is_set()]
        for program in alive:
            if program.name not in told:
                await sandbox.signal(f"extension {program.name}", signal.SIGKILL)
        await _within(
            asyncio.gather(*(program.ended.wait() for program in alive)), max(0.0, deadline_s - self._loop.time())
        )


async def _within(what: Awaitable[object], limit_s: float) -> bool:
    """Whether it came in time."""
    try:
        async with asyncio.timeout(limit_s):
            await what
    except TimeoutError:
        return False
    return True
