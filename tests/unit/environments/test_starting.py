"""Cold starts take turns: a few at a time while the processors are busy, more when they are not, nobody for ever."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.simulation.virtual_time import run_virtual
from tests.unit.environments.provisioning_world import ProvisionedWorld, play

from lambent.domain.clock import ManualClock
from lambent.environments import opening, starting
from lambent.environments.starting import (
    HELD_S_MAX,
    LOOK_S,
    PER_PROCESSOR,
    RUNNABLE_PER_PROCESSOR,
    StartingLine,
    runnable,
    used_ns,
)

BUSY = 1_000


class Line:
    """Starts that last as long as the test says."""

    def __init__(self, clock: ManualClock, load: Callable[[], int], processors: int = 1) -> None:
        self.turns = StartingLine(processors, load)
        self._clock = clock
        self._from_ns = clock.monotonic_ns()
        self.began: dict[int, float] = {}
        self.waited: dict[int, bool] = {}
        self.now = 0
        self.most = 0

    async def start(self, number: int, lasts_s: float) -> None:
        async with self.turns.turn() as has_waited:
            self.waited[number] = has_waited
            self.began[number] = (self._clock.monotonic_ns() - self._from_ns) / 1e9
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                await asyncio.sleep(lasts_s)
            finally:
                self.now -= 1


def lined_up(count: int, lasts_s: float, load: Callable[[], int]) -> Line:
    clock = ManualClock()
    line = Line(clock, load)

    async def main() -> None:
        await asyncio.gather(*(line.start(number, lasts_s) for number in range(count)))

    run_virtual(clock, main())
    assert line.turns.waiting == 0
    return line


def test_while_the_processors_are_busy_a_few_start_at_a_time_in_the_order_they_came() -> None:
    line = lined_up(30, 0.05, lambda: BUSY)
    assert line.most == PER_PROCESSOR
    assert list(line.began) == list(range(30))
    assert [line.waited[number] for number in range(PER_PROCESSOR + 1)] == [False] * PER_PROCESSOR + [True]


def test_a_start_that_takes_long_lets_the_next_one_begin() -> None:
    line = lined_up(3 * PER_PROCESSOR, 10.0, lambda: BUSY)
    assert line.began[PER_PROCESSOR] == pytest.approx(HELD_S_MAX)
    assert line.began[2 * PER_PROCESSOR] == pytest.approx(2 * HELD_S_MAX)


def test_while_the_processors_have_nothing_to_do_everybody_begins() -> None:
    """Whoever has a turn waits for something else: a database, a download."""
    line = lined_up(100, 10.0, lambda: 0)
    looks = (100 - PER_PROCESSOR) / RUNNABLE_PER_PROCESSOR
    assert line.began[99] <= looks * LOOK_S + HELD_S_MAX


def test_whoever_is_cancelled_in_the_line_or_in_the_step_of_its_turn_takes_nobodys_place() -> None:
    clock = ManualClock()
    line = Line(clock, lambda: BUSY)

    async def main() -> None:
        tasks = [asyncio.create_task(line.start(number, 0.05)) for number in range(3 * PER_PROCESSOR)]
        await asyncio.sleep(0)
        tasks[-1].cancel()
        line.turns._admit(1)
        tasks[PER_PROCESSOR].cancel()  # has its turn, and has not heard of it
        await asyncio.gather(*tasks, return_exceptions=True)
        assert line.turns.waiting == 0
        await asyncio.gather(*(line.start(100 + number, 0.05) for number in range(PER_PROCESSOR)))
        assert not any(line.waited[100 + number] for number in range(PER_PROCESSOR))

    run_virtual(clock, main())
    assert sorted(line.began) == [*(n for n in range(3 * PER_PROCESSOR - 1) if n != PER_PROCESSOR), 100, 101, 102]
    assert line.most == PER_PROCESSOR


def test_at_the_end_nobody_waits() -> None:
    clock = ManualClock()
    line = Line(clock, lambda: BUSY)

    async def main() -> None:
        tasks = [asyncio.create_task(line.start(number, 10.0)) for number in range(20)]
        await asyncio.sleep(0)
        line.turns.close()
        await asyncio.sleep(0)
        assert line.now == 20
        await asyncio.gather(*tasks)

    run_virtual(clock, main())


def test_the_machine_tells_how_much_it_has_to_do() -> None:
    assert 0 <= runnable() < 100_000


def test_a_start_whose_request_was_served_meanwhile_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty at once that take a hundredth of a second each, where six can be started in half a second."""
    monkeypatch.setattr(opening, "processors", lambda: 2)
    monkeypatch.setattr(opening, "runnable", lambda: BUSY)

    async def body(world: ProvisionedWorld) -> None:
        world.act = lambda number: 0.1
        for _ in range(40):
            world.submit()
        while len(world.results) < 40:  # virtual time
            await asyncio.sleep(0.01)
            for environment in world.busy():
                world.answer(environment)
        await asyncio.sleep(1.0)
        assert world.environments.count == len(world.starts) <= 2 * 2 * PER_PROCESSOR

    play(body, idle_timeout_s=600.0)


@pytest.mark.parametrize(
    ("groups", "files", "granted"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, 1.5),
        ("0::/a\n", {"a/cpu.max": "max 100000"}, float("inf")),
        ("0::/\n", {"cpu.max": "50000 100000"}, 0.5),
        ("3:cpu,cpuacct:/a\n0::/\n", {"cpu/a/cpu.cfs_quota_us": "300000", "cpu/a/cpu.cfs_period_us": "100000"}, 3.0),
        ("3:cpu:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, float("inf")),
        ("4:memory:/a\n", {"memory/a/cpu.cfs_quota_us": "1"}, float("inf")),
        ("0::/not/mounted/here\n", {}, float("inf")),
    ],
)
def test_the_control_groups_quota_is_the_smallest_on_the_way_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, files: dict[str, str], granted: float
) -> None:
    (tmp_path / "groups").write_text(groups)
    for name, text in files.items():
        file = tmp_path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    monkeypatch.setattr(starting, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(starting, "_GROUP_ROOT", tmp_path / "root")
    assert starting._quota() == granted
    assert starting.processors() == max(1, int(min(len(os.sched_getaffinity(0)), granted)))


def test_what_this_thread_used_and_waited_for_grows_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in (starting._OWN_TIMES, tmp_path / "not there"):
        monkeypatch.setattr(starting, "_OWN_TIMES", path)
        before_ns, until_ns = used_ns(), time.thread_time_ns() + 20_000_000
        while time.thread_time_ns() < until_ns:
            pass
        assert used_ns() - before_ns > 10_000_000
