"""What runs beside the requests: how often, how many at once, and what a machine's memory allows."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.simulation.virtual_time import run_virtual
from tests.unit.invocations.test_event_service import FAILED, OK, Node

from lambent.assembly import node as nodes
from lambent.domain.clock import ManualClock
from lambent.invocations import events
from lambent.invocations.queue import Event
from lambent.invocations.retry import Outcome
from lambent.runtimes import discovery
from lambent.settings import LimitSettings, Settings
from lambent.telemetry.segments import FSYNC_MS, SEGMENT_BYTES_MAX, FileRecords


def test_memory_decides_how_many_environments_there_may_be() -> None:
    chosen = Settings(limits=LimitSettings(memory_budget_mb=1_000))
    assert nodes.environments_max(chosen) == 1_000 // nodes.SANDBOX_MB
    assert nodes.environments_max(Settings(limits=LimitSettings(memory_budget_mb=1))) == 1
    assert nodes.environments_max(Settings(limits=LimitSettings(environments_max=7))) == 7
    total_mb = int(Path("/proc/meminfo").read_text().split()[1]) / 1_024
    assert nodes.memory_budget_mb(Settings()) == pytest.approx(nodes.MEMORY_SHARE * total_mb, rel=0.02)


def test_what_nobody_needs_is_collected_every_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    collected: list[float] = []

    class Kept:
        @property
        def packages(self) -> Kept:
            return self

        def digests(self) -> set[str]:
            return set()

        async def collect(self, keep: set[str]) -> list[str]:
            collected.append(clock.monotonic_ns() / 1e9)
            if len(collected) == 3:
                raise KeyboardInterrupt
            return []

        def retain(self, retention: object, now_ms: int) -> None: ...

    async def inline(call: Any, *arguments: Any) -> Any:
        return call(*arguments)

    anything: Any = Kept()
    began_s = clock.monotonic_ns() / 1e9
    monkeypatch.setattr(asyncio, "to_thread", inline)
    with pytest.raises(KeyboardInterrupt):
        run_virtual(clock, nodes._keep(anything, anything, anything, clock))
    assert [at_s - began_s for at_s in collected] == [nodes.RETAIN_EVERY_S * n for n in (1, 2, 3)]


def test_four_interpreters_are_asked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = most = 0
    changed = threading.Condition()

    def probe(family: str, real: str) -> None:
        nonlocal inside, most
        with changed:
            inside += 1
            most = max(most, inside)
            changed.notify_all()
            changed.wait_for(lambda: most >= discovery.PROBES_AT_ONCE, 10.0)
            inside -= 1

    monkeypatch.setattr(discovery, "_probe", probe)
    folder = tmp_path / "bin"
    folder.mkdir()
    for minor in range(8, 16):
        program = folder / f"python3.{minor}"
        program.write_bytes(b"\x7fELF" + bytes(14) + b"\x3e\x00" + bytes([minor]))
        program.chmod(0o755)
    places = discovery.Places(str(folder), tmp_path / "home", tmp_path / "added")
    discovery.scan(places, tmp_path / "cache.json")
    assert most == discovery.PROBES_AT_ONCE


def test_the_wall_clock_is_looked_at_every_second_while_events_wait() -> None:
    """A clock that is set forward makes a retry due within a second, though it was a minute away."""
    tries: list[float] = []

    async def invoke(event: Event) -> Outcome:
        tries.append(node.clock.monotonic_ns() / 1e9)
        return FAILED if len(tries) == 1 else OK

    node = Node(invoke)

    async def main() -> None:
        await node.accept()
        await asyncio.sleep(0.5)
        assert len(tries) == 1
        node.clock.jump_wall(60.0)
        await asyncio.sleep(events.WALL_CHECK_S)
        assert len(tries) == 2
        await node.settled()

    node.run(main)


def test_a_new_function_has_sixteen_events_under_way_and_then_more() -> None:
    running = 0
    most: list[int] = []

    async def invoke(event: Event) -> Outcome:
        nonlocal running
        running += 1
        most.append(running)
        await asyncio.sleep(1.0)
        running -= 1
        return OK

    node = Node(invoke)

    async def main() -> None:
        for number in range(100):
            await node.accept(str(number))
        await asyncio.sleep(0.9 * events.WIDEN_MS / 1_000)
        assert max(most) == events.WINDOW_FIRST
        await asyncio.sleep(0.2 * events.WIDEN_MS / 1_000)
        assert max(most) == 2 * events.WINDOW_FIRST
        await node.settled()

    node.run(main)


def test_records_are_kept_in_segments_of_three_megabytes_and_synced_in_time(tmp_path: Path) -> None:
    records = FileRecords(tmp_path / "records")
    try:
        assert (records._bytes_max, records._fsync_s) == (SEGMENT_BYTES_MAX, FSYNC_MS / 1_000)
    finally:
        records.close()
    assert (SEGMENT_BYTES_MAX, FSYNC_MS) == (3 * 1_048_576, 50)
