"""What the programs inside one environment print, the runtime's and its extensions', and where it is written down.

A line leaves here once, in one of three ways: with the result of an attempt or the record of an init phase, whose owner
takes it; as a part of an attempt that runs for long or prints much, which bounds memory and is what a follower sees; or as
an event of its own, printed between two attempts by threads that outlive their answer, or on the way down.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import termios
from collections.abc import Callable
from typing import NamedTuple

from ..domain.clock import Clock
from ..domain.limits import TAIL_BYTES_MAX
from ..telemetry.attempt import AttemptPart, InitRecord, LogLine, Origin, UserEvents
from ..telemetry.lines import LineSplitter
from ..telemetry.platform_lines import part_events
from .extensions import Extensions

LOG_READ_BYTES = 65_536
LOG_DRAIN_BYTES_MAX = 4 * 1_048_576
"""What is read of a log pipe at the end of an attempt at most; a pipe holds 64 KB unless a program enlarges it."""
PART_BYTES = 262_144
PART_DELAY_S = 1.0
"""A running attempt's output is written down early once it is this large, or this old."""
_NOTHING_WAITS = bytes(4)
_WAITING = bytearray(4)


class Running(NamedTuple):
    """The attempt that a part belongs to."""

    request_id: str
    started_ms: int
    lines: list[LogLine]
    """Taken for its result already, which now finds them written down."""


class Output:
    """See the module's text. Used on the event loop."""

    __slots__ = (
        "_clock",
        "_extensions",
        "_fd",
        "_loop",
        "_origin",
        "_platform_lines",
        "_record",
        "_running",
        "_splitter",
        "_timer",
        "earlier",
        "is_held",
    )

    def __init__(
        self,
        origin: Origin,
        clock: Clock,
        splitter: LineSplitter,
        record: Callable[[InitRecord | AttemptPart | UserEvents], None],
        running: Callable[[], Running | None],
    ) -> None:
        """running: asked when a part is written; None: no attempt runs."""
        self._origin = origin
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._splitter = splitter
        self._record = record
        self._running = running
        self._fd = -1
        self._extensions: Extensions | None = None
        self._platform_lines: list[LogLine] = []
        """What the platform says of the extensions."""
        self._timer: asyncio.TimerHandle | None = None
        self.is_held = True
        """What is printed now belongs into the record of the first init phase, and waits for it."""
        self.earlier = b""
        """The end of what parts of the running attempt have written, for the log tail; its owner empties it."""

    # --- where it comes from -----------------------------------------------------------------------------------

    def attach(self, fd: int) -> None:
        """Read this pipe from now on; it is closed by `close`."""
        self._fd = fd
        self._loop.add_reader(fd, self._read)

    def follow(self, extensions: Extensions) -> None:
        """Take what these print, too; of earlier ones there is no more."""
        self._extensions = extensions

    def add(self, lines: list[LogLine]) -> None:
        """Lines of the platform's among those of the programs."""
        self._platform_lines += lines

    def _read(self) -> None:
        """Readable: one read, so that a chatty function can't keep the loop to itself."""
        try:
            data = os.read(self._fd, LOG_READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._fd)
            return
        self._splitter.feed(data, self._clock.wall_ms(), self._clock.monotonic_ns())
        self.printed()

    def printed(self) -> None:
        """There are lines that nobody has written down yet."""
        if self.is_held:
            return
        if self.pending_bytes >= PART_BYTES:
            self.write_part()
        elif self._timer is None:
            self._timer = self._loop.call_later(PART_DELAY_S, self.write_part)

    @property
    def pending_bytes(self) -> int:
        """Bytes of complete lines that nobody has taken."""
        pending = self._splitter.pending_bytes
        if self._extensions is not None and self._extensions.programs:
            pending += self._extensions.pending_bytes
        return pending

    def drain(self) -> None:
        """Read everything that lies in the pipe now: the runtime wrote it before it answered."""
        if self._extensions is not None and self._extensions.programs:
            self._extensions.drain(LOG_DRAIN_BYTES_MAX)
        if self._fd >= 0:
            fcntl.ioctl(self._fd, termios.FIONREAD, _WAITING)  # half of what a read costs that finds nothing
            if _WAITING == _NOTHING_WAITS:
                return
        taken = 0
        while self._fd >= 0 and taken < LOG_DRAIN_BYTES_MAX:
            try:
                data = os.read(self._fd, LOG_READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                return
            taken += len(data)
            self._splitter.feed(data, self._clock.wall_ms(), self._clock.monotonic_ns())
            if len(data) < LOG_READ_BYTES:
                return  # a short read emptied the pipe; a full one may have more behind it

    def close(self) -> None:
        """Read no more of the pipe; idempotent. What was read stays."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    # --- where it goes -----------------------------------------------------------------------------------------

    def take_lines(self) -> list[LogLine]:
        """The lines since the last call, one that is begun included: what comes next must not begin in its middle."""
        self._splitter.flush(self._clock.wall_ms())
        return self._taken(is_flushed=True)

    def take_all(self) -> list[LogLine]:
        """The same with what lies in the pipes, for a result: nothing of it is to be written early any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.drain()
        self._splitter.flush(self._clock.wall_ms())
        return self._taken(is_flushed=True)

    def _taken(self, *, is_flushed: bool) -> list[LogLine]:
        lines = self._splitter.take()
        if self._extensions is None or not (self._extensions.programs or self._platform_lines):
            return lines
        lines += self._extensions.take_lines(is_flushed=is_flushed) + self._platform_lines
        self._platform_lines = []
        return sorted(lines, key=lambda line: line[0])

    def write_part(self) -> None:
        """Write down what was printed so far, by a running attempt or between two."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines = self._taken(is_flushed=False)
        if not lines:
            return
        running = self._running()
        if running is None:
            self._write_events(lines)
            return
        part = AttemptPart(
            self._origin,
            running.request_id,
            running.started_ms,
            running.lines + lines,
            is_first=not self.earlier,
        )
        self.earlier = (self.earlier + b"".join(line for _, line in part_events(part)))[-TAIL_BYTES_MAX:]
        self._record(part)

    def write_rest(self) -> None:
        """What was printed after the last attempt still belongs to the stream."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines = self.take_lines()
        if lines:
            self._write_events(lines)

    def say(self, text: str) -> None:
        """One line of the platform's, at once."""
        self._write_events([(self._clock.wall_ms(), text.encode() + b"\n")])

    def _write_events(self, lines: list[LogLine]) -> None:
        o = self._origin
        self._record(UserEvents(o.account, o.region, o.log_group, o.log_stream, lines, self._clock.wall_ms()))
