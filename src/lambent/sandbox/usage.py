"""What a sandbox has used, read from the kernel without asking the spawner.

With control groups two small files are read. Opening them costs 15 us, reading them 2, but two descriptors for each of
thousands of idle environments are too many: those read last stay open, OPEN_MAX sandboxes of them. Without control groups
/proc is walked from the sandbox's pid 1.

The peak begins anew when a sandbox is bound where the kernel can reset it for every reader: version 1. Version 2 has
memory.peak since Linux 5.19 and never resets it but for the one descriptor that was written to, since 6.12; that would cost
a writable descriptor for each sandbox, to hide the 1 to 3 MB of a blank that every runtime exceeds. Before 5.19 there is no
such file, and the peak is estimated: the most that memory.current said when it was read, and that the processes then alive
ever had resident, each for itself. What has ended in between is missed.

The peak holds cached pages of the files that a function wrote or was the first to read, up to the limit, in both versions. No
counter of the kernel keeps a high-water mark without them: version 1 has one for all that is charged and one for the
kernel's own memory, version 2 one for all. To take away what is cached now would tell too little whenever memory was given
back before files were written; to sample would cost every invocation and miss what lies between two looks. So the figure is
never too small, and for a function that writes files larger than what it needs.
"""

from __future__ import annotations

import os
import re

from .groups import Groups
from .kept import KeptFiles
from .port import Usage

OPEN_MAX = 128
"""Sandboxes whose files stay open; the one read longest ago gives way. Two descriptors each."""

_PEAK = re.compile(rb"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_KILLS = re.compile(rb"^oom_kill (\d+)", re.MULTILINE)
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


class UsageReader:
    """Knows where an instance's groups are."""

    def __init__(self, groups: Groups, instance: str) -> None:
        self._version = groups.version
        memory, cpu = groups.directory("memory"), groups.directory("cpuacct" if groups.version == 1 else "cpu")
        self._memory = None if memory is None else f"{memory}/lambent-{instance}"
        self._cpu = None if cpu is None else f"{cpu}/lambent-{instance}"

        self._files = KeptFiles(2 * OPEN_MAX, os.O_RDONLY)

    def read(self, path: str) -> bytes:
        """The text of a small kernel file, through a descriptor that is kept."""
        return os.pread(self._files.fd(path), 4096, 0)

    def release(self, *paths: str | None) -> None:
        """Nobody reads these any more."""
        for path in paths:
            if path is not None:
                self._files.release(path)

    def close(self) -> None:
        """Release everything."""
        self._files.close()

    def of(self, group: str, init_pid: int) -> SandboxUsage:
        """The reader of one sandbox, whose control group has this name."""
        peak = cpu = kills = None
        is_estimated = False
        if self._memory is not None:
            kills = f"{self._memory}/{group}/{'memory.oom_control' if self._version == 1 else 'memory.events'}"
            name = "memory.max_usage_in_bytes" if self._version == 1 else "memory.peak"
            peak = f"{self._memory}/{group}/{name}"
            if self._version == 2 and not os.path.exists(peak):
                peak = f"{self._memory}/{group}/memory.current"
                is_estimated = True
        if self._cpu is not None:
            name = "cpuacct.usage" if self._version == 1 else "cpu.stat"
            cpu = f"{self._cpu}/{group}/{name}"
        return SandboxUsage(self, peak, cpu, init_pid, kills, is_estimated=is_estimated)


class SandboxUsage:
    """One sandbox's figures; after its end the last ones stay."""

    def __init__(
        self,
        reader: UsageReader,
        peak: str | None,
        cpu: str | None,
        init_pid: int,
        kills: str | None = None,
        *,
        is_estimated: bool = False,
    ) -> None:
        self._reader = reader
        self._is_estimated = is_estimated
        self._peak = peak
        self._cpu = cpu
        self._init_pid = init_pid
        self._kills = kills
        self._last = Usage(0, 0)
        self._ended = False

    def reset(self) -> None:
        """The high-water mark begins anew (the kernel's own was reset by the spawner, where it can be)."""
        self._last = Usage(0, self._last.cpu_us)

    def read(self) -> Usage:
        """Never lower than before; the last figures once the sandbox is gone."""
        if self._ended:
            return self._last
        try:
            memory = self._memory(self._peak)
            cpu_us = self._processes()[1] if self._cpu is None else self._cpu_us(self._cpu)
        except (OSError, ValueError):  # ended between two reads
            return self._last
        self._last = Usage(max(memory, self._last.memory_peak_bytes), max(cpu_us, self._last.cpu_us))
        return self._last

    def peak(self) -> int:
        """The high-water mark alone, in bytes: one read less, on every invocation."""
        if self._ended or self._peak is None:
            return self.read().memory_peak_bytes
        try:
            memory = int(self._reader.read(self._peak))
            if self._is_estimated:
                memory = max(memory, self._processes()[0])
        except (OSError, ValueError):
            return self._last.memory_peak_bytes
        last = self._last
        if memory <= last.memory_peak_bytes:
            return last.memory_peak_bytes
        self._last = Usage(memory, last.cpu_us)
        return memory

    def kills(self) -> int | None:
        """How often the kernel has ended something inside for its memory; None where nobody counts. Opened each time: it is
        asked for where the limit was reached, and rarely."""
        if self._kills is None or self._ended:
            return None
        try:
            found = _KILLS.search(_read(self._kills))
        except OSError:  # it has ended
            return None
        return None if found is None else int(found[1])

    def keep_last(self) -> None:
        """The sandbox is about to go: read once more, then answer that."""
        self.read()
        self._ended = True
        self._reader.release(self._peak, self._cpu)

    def _memory(self, path: str | None) -> int:
        if path is None:
            return self._processes()[0]
        counted = int(self._reader.read(path))
        return max(counted, self._processes()[0]) if self._is_estimated else counted

    def _cpu_us(self, path: str) -> int:
        text = self._reader.read(path)
        if text.startswith(b"usage_usec"):
            return int(text.split(None, 2)[1])
        return int(text) // 1_000

    def _processes(self) -> tuple[int, int]:
        """Sum of the peaks and of the CPU time of the processes there are now."""
        memory = ticks = 0
        todo = [self._init_pid]
        while todo:
            pid = todo.pop()
            try:
                todo += map(int, _read(f"/proc/{pid}/task/{pid}/children").split())
                peak = _PEAK.search(_read(f"/proc/{pid}/status"))
                fields = _read(f"/proc/{pid}/stat").rsplit(b") ", 1)[1].split()
            except OSError:
                continue  # ended meanwhile
            memory += int(peak[1]) * 1024 if peak else 0
            ticks += sum(map(int, fields[11:15]))  # own and reaped children's, user and system
        return memory, ticks * 1_000_000 // _TICKS_PER_S
