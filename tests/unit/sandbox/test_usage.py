"""Figures from the kernel's files, and that they never fall."""

from __future__ import annotations

import os
from pathlib import Path

from lambent.sandbox.groups import Groups, Hierarchy
from lambent.sandbox.port import Usage
from lambent.sandbox.usage import OPEN_MAX, UsageReader


def test_version_1(tmp_path: Path) -> None:
    group = tmp_path / "lambent-i" / "s-1a"
    group.mkdir(parents=True)
    (group / "memory.max_usage_in_bytes").write_text("1048576\n")
    (group / "cpuacct.usage").write_text("7000999\n")
    reader = UsageReader(Groups(1, (Hierarchy(str(tmp_path), ("memory", "cpuacct")),)), "i").of("s-1a", 1)
    assert reader.read() == Usage(1_048_576, 7_000)
    (group / "memory.max_usage_in_bytes").write_text("1\n")
    assert reader.read() == Usage(1_048_576, 7_000)  # the high-water mark never falls
    reader.reset()
    assert reader.read().memory_peak_bytes == 1
    reader.keep_last()
    (group / "cpuacct.usage").unlink()
    assert reader.read() == Usage(1, 7_000)


def test_descriptors_are_bounded_and_given_back(tmp_path: Path) -> None:
    reader = UsageReader(Groups(2, (Hierarchy(str(tmp_path), ("memory", "cpu")),)), "i")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(OPEN_MAX + 20):
        group = tmp_path / "lambent-i" / f"s-{number:x}"
        group.mkdir(parents=True)
        (group / "memory.peak").write_text(f"{number}\n")
        (group / "cpu.stat").write_text("usage_usec 1\n")
        assert reader.of(f"s-{number:x}", 1).read().memory_peak_bytes == number
    assert len(os.listdir("/proc/self/fd")) - before == 2 * OPEN_MAX
    assert reader.of("s-0", 1).read().memory_peak_bytes == 0  # opened again
    reader.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_version_2(tmp_path: Path) -> None:
    group = tmp_path / "lambent-i" / "s-2"
    group.mkdir(parents=True)
    (group / "memory.peak").write_text("2097152\n")
    (group / "cpu.stat").write_text("usage_usec 12345\nuser_usec 1\nsystem_usec 2\n")
    reader = UsageReader(Groups(2, (Hierarchy(str(tmp_path), ("memory", "cpu")),)), "i").of("s-2", 1)
    assert reader.read() == Usage(2_097_152, 12_345)
    reader.keep_last()


def test_version_2_without_a_peak_is_estimated(tmp_path: Path) -> None:
    """Linux before 5.19. A figure of 0 would be reported and metered as if it were true."""
    group = tmp_path / "lambent-i" / "s-2"
    group.mkdir(parents=True)
    (group / "memory.current").write_text("900000000000\n")
    (group / "cpu.stat").write_text("usage_usec 12345\n")
    reader = UsageReader(Groups(2, (Hierarchy(str(tmp_path), ("memory", "cpu")),)), "i").of("s-2", os.getpid())
    assert reader.peak() == 900_000_000_000
    (group / "memory.current").write_text("1\n")
    assert reader.read() == Usage(900_000_000_000, 12_345)  # what was seen stays
    reader.reset()
    assert 1_000_000 < reader.peak() < 900_000_000_000  # of this process, which has it in /proc
    reader.keep_last()


def test_without_groups_the_processes_are_asked() -> None:
    reader = UsageReader(Groups(0, ()), "i").of("s-1", os.getpid())
    assert reader.read().memory_peak_bytes > 1_000_000
    gone = UsageReader(Groups(0, ()), "i").of("s-1", 2**22 + 1)
    assert gone.read() == Usage(0, 0)
