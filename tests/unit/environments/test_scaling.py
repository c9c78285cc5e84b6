"""Who waits for a busy environment, who gets one of his own, and that nobody waits longer than was promised."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.environments.provisioning_world import ProvisionedWorld, play
from tests.unit.limits.test_environment_limits import work

from lambent.environments import service
from lambent.environments.environment import Environment
from lambent.environments.scaling import (
    BUSY_PATIENCE_S,
    LOOK_NS,
    OWN_SHARE_MAX,
    PATIENCE_S,
    TOOK_DOWN_SHIFT,
    TOOK_UP_SHIFT,
    WAITS_IN_A_ROW_MAX,
)
from lambent.environments.service import SWEEP_EVERY_S, WAIT_S_MAX
from lambent.environments.starting import processors

START_S = 0.016
QUICK_S = 0.001
SEEDS = int(os.environ.get("LAMBENT_SIMULATION_SEEDS", "12"))
HAIR_S = 0.001


class Machine:
    """What runs on it besides the server."""

    runnable = 0
    used_ns = 0


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(service, "runnable", lambda: machine.runnable)
    monkeypatch.setattr(service, "used_ns", lambda: machine.used_ns)
    return machine


class World(ProvisionedWorld):
    """Starts take START_S."""

    def __init__(self, *args: Any, **limits: Any) -> None:
        super().__init__(*args, **limits)
        self.act = lambda number: START_S
        self.submitted = 0

    def submit(self, number: str = "1") -> None:
        self.submitted += 1
        super().submit(number)

    def needs(self) -> bool:
        environments = self.environments
        return environments.needs_environment(environments.entry(self.versions["1"]))

    async def run_one(self, took_s: float) -> Environment:
        """One request by itself, on an environment that starts for it if there is none; answers who ran it."""
        self.submit()
        for _ in range(10_000):
            if busy := self.busy():
                break
            await asyncio.sleep(HAIR_S)
        await asyncio.sleep(took_s)
        self.answer(busy[0])
        return busy[0]

    async def occupied(self, took_s: float) -> Environment:
        """One environment whose attempts take `took_s`, and that is busy from now on."""
        for _ in range(8):
            await self.run_one(took_s)
        self.submit()
        (busy,) = self.busy()
        return busy

    async def drain(self, took_s: float) -> None:
        """Answer whoever is busy, one after another, until nobody is."""
        while busy := self.busy():
            await asyncio.sleep(took_s)
            self.answer(busy[0])


def playing(body: Callable[[World], Any], **limits: Any) -> None:
    play(body, world=World, **limits)  # type: ignore[arg-type]


def test_a_second_request_waits_for_a_quick_one(machine: Machine) -> None:
    async def body(world: World) -> None:
        busy = await world.occupied(QUICK_S)
        assert not world.needs()
        world.submit()
        await asyncio.sleep(QUICK_S)
        world.answer(busy)
        assert world.busy() == [busy]
        await world.drain(QUICK_S)
        await asyncio.sleep(1)
        assert len(world.starts) == 1
        assert len(world.results) == 10

    playing(body)


def test_whoever_has_waited_for_as_long_as_a_start_costs_gets_one(machine: Machine) -> None:
    async def body(world: World) -> None:
        await world.occupied(QUICK_S)
        began_s = world.now_s
        for _ in range(3):
            world.submit()  # and nobody is answered
        await asyncio.sleep(PATIENCE_S - HAIR_S)
        assert len(world.starts) == 1
        await asyncio.sleep(4 * HAIR_S)
        assert len(world.starts) == 4, "the busy one is counted on no longer"
        assert world.starts[1] - began_s == pytest.approx(PATIENCE_S, abs=2 * HAIR_S)
        await world.drain(QUICK_S)

    playing(body)


def test_more_who_wait_than_can_be_served_in_time_get_as_many_as_it_takes(machine: Machine) -> None:
    async def body(world: World) -> None:
        await world.occupied(0.0045)  # a tick more, 5 ms
        for _ in range(14):  # at 5 ms each 70 ms of work, to be done within 20 ms: four environments, and one is there
            world.submit()
        await asyncio.sleep(HAIR_S)
        assert len(world.starts) == 4
        await world.drain(0.0)

    playing(body)


@pytest.mark.parametrize("took_s", [PATIENCE_S, 0.5])
def test_a_function_that_takes_longer_than_patience_has_one_for_each_request_at_once(
    machine: Machine, took_s: float
) -> None:
    async def body(world: World) -> None:
        await world.occupied(took_s)
        assert world.needs()
        for _ in range(5):
            world.submit()
        await asyncio.sleep(HAIR_S)
        assert len(world.starts) == 6
        await asyncio.sleep(1)
        await world.drain(0.0)

    playing(body)


def test_a_function_of_which_nothing_is_known_has_one_for_each_request(machine: Machine) -> None:
    async def body(world: World) -> None:
        for _ in range(6):
            assert world.needs()
            world.submit()
        await asyncio.sleep(1)
        assert len(world.starts) == 6
        await world.drain(0.0)

    playing(body)


def test_starts_that_wait_for_their_turn_are_not_needed_when_the_first_turns_out_to_be_quick(machine: Machine) -> None:
    """Sixty first calls at once: those who start have their turns, the others are answered by them."""

    async def body(world: World) -> None:
        machine.runnable = 99
        at_once = 3 * processors()
        for _ in range(10 * at_once):
            world.submit()
        await asyncio.sleep(START_S + HAIR_S)
        await world.drain(QUICK_S / 10)
        assert at_once <= len(world.starts) < 3 * at_once
        assert len(world.results) == 10 * at_once
        assert world.environments.count == len(world.starts)

    playing(body)


def test_patience_is_as_long_however_long_starts_take(machine: Machine) -> None:
    async def body(world: World) -> None:
        world.act = lambda number: 3.0
        await world.occupied(QUICK_S)
        began_s = world.now_s
        world.submit()
        await asyncio.sleep(1)
        assert world.starts[1] - began_s == pytest.approx(PATIENCE_S, abs=HAIR_S)
        await asyncio.sleep(3)
        await world.drain(0.0)

    playing(body)


def test_patience_is_longer_while_all_processors_are_busy(machine: Machine) -> None:
    async def body(world: World) -> None:
        machine.runnable = processors()
        await world.occupied(QUICK_S)
        await asyncio.sleep(LOOK_NS / 1e9)
        began_s = world.now_s
        world.submit()
        await asyncio.sleep(2 * BUSY_PATIENCE_S)
        assert world.starts[1] - began_s == pytest.approx(BUSY_PATIENCE_S, abs=2 * HAIR_S)
        await world.drain(0.0)

    playing(body)


def test_traffic_that_always_waits_gets_a_spare_unless_all_processors_are_busy(machine: Machine) -> None:
    async def body(world: World) -> None:
        await world.occupied(QUICK_S)

        async def in_a_row(number: int) -> None:
            for _ in range(number):  # each comes while the one before it runs
                world.submit()
                world.answer(world.busy()[0])
                await asyncio.sleep(QUICK_S)

        await in_a_row(WAITS_IN_A_ROW_MAX - 1)
        assert len(world.starts) == 1
        machine.runnable = 99
        await asyncio.sleep(LOOK_NS / 1e9)
        await in_a_row(2 * WAITS_IN_A_ROW_MAX)
        assert len(world.starts) == 1
        machine.runnable = 0
        await asyncio.sleep(LOOK_NS / 1e9)
        await in_a_row(WAITS_IN_A_ROW_MAX)
        assert len(world.starts) == 2
        await asyncio.sleep(1)
        await world.drain(0.0)

    playing(body)


def test_one_slow_attempt_says_little_some_say_it_and_quick_ones_take_it_back(machine: Machine) -> None:
    async def body(world: World) -> None:
        def is_waited_for() -> bool:
            world.submit()
            needs = world.needs()
            world.answer(world.busy()[0])
            return not needs

        await world.occupied(QUICK_S)
        world.answer(world.busy()[0])
        await world.run_one(0.2)  # a pause of the machine, perhaps
        assert is_waited_for()
        for _ in range(2 ** (TOOK_UP_SHIFT - 1)):
            await world.run_one(0.2)
        assert not is_waited_for()
        for _ in range(8 * TOOK_DOWN_SHIFT):
            await world.run_one(QUICK_S)
        assert is_waited_for()

    playing(body)


@pytest.mark.parametrize("sign", ["its own work", "starts in line"])
def test_a_server_that_has_all_it_can_do_starts_no_more(machine: Machine, sign: str) -> None:
    async def body(world: World) -> None:
        await world.occupied(QUICK_S)
        await asyncio.sleep(LOOK_NS / 1e9)
        if sign == "its own work":
            machine.used_ns = round(OWN_SHARE_MAX * world.clock.monotonic_ns())
        else:
            world.act = lambda number: BUSY_PATIENCE_S - 0.01
            machine.runnable = 99  # or all of them would have their turns
            for _ in range(3 * processors() + 1):
                world.submit("2")
        began_s, starts = world.now_s, len(world.starts)
        world.submit()
        await asyncio.sleep(START_S + 2 * HAIR_S)
        if sign == "its own work":
            assert len(world.starts) == starts
            await asyncio.sleep(BUSY_PATIENCE_S)
            assert world.starts[-1] - began_s == pytest.approx(BUSY_PATIENCE_S, abs=2 * HAIR_S)
        else:
            entry = world.environments.entry(world.versions["1"])
            await asyncio.sleep(BUSY_PATIENCE_S / 2)
            assert entry.pool.starting == 0
            machine.runnable = 0
        await asyncio.sleep(1)
        await world.drain(0.0)
        await asyncio.sleep(1)
        await world.drain(0.0)

    playing(body)


def test_a_server_that_was_behind_itself_looks_once_more_before_it_starts(machine: Machine) -> None:
    """Everything stood still: whoever waits has not waited for somebody who is slow."""

    async def body(world: World) -> None:
        busy = await world.occupied(QUICK_S)
        world.submit()
        world.clock.advance(PATIENCE_S + 2 * LOOK_NS / 1e9)
        await asyncio.sleep(HAIR_S)
        assert len(world.starts) == 1
        world.answer(busy)
        world.answer(busy)
        await asyncio.sleep(1)
        assert len(world.starts) == 1

    playing(body)


def test_whoever_waits_in_vain_for_starts_that_are_slow_is_told_so_and_not_that_the_node_is_full(
    machine: Machine,
) -> None:
    async def body(world: World) -> None:
        machine.runnable = 99
        world.act = lambda number: 70.0
        failed: list[str] = []
        for _ in range(3):
            made = work(world.results.append, 900.0)
            made.failed = lambda _, error: failed.append(str(error))
            world.environments.submit(world.environments.entry(world.versions["1"]), made)
        await asyncio.sleep(WAIT_S_MAX + 2 * SWEEP_EVERY_S)
        assert (
            failed
            == [
                "no environment was ready within 60 s: 3 of this function are being started, "
                "0 starts wait for their turn on this node"
            ]
            * 3
        )
        await asyncio.sleep(20)

    playing(body, init_limit_s=100.0)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_functions_do_nobody_waits_longer_than_patience_and_a_start(machine: Machine, seed: int) -> None:
    """Bursts and pauses, quick attempts and sudden slow ones, busy processors and idle ones, environments that die."""
    rng = random.Random(seed)
    slow_share = rng.choice((0.0, 0.02, 0.5))
    waits_s: list[float] = []

    async def body(world: World) -> None:
        entry = world.environments.entry(world.versions["1"])
        begun: set[Any] = set()

        def look() -> None:
            for environment in world.busy():
                work = environment.work
                if work is not None and work not in begun:
                    begun.add(work)
                    took_s = rng.uniform(0.1, 0.4) if rng.random() < slow_share else rng.uniform(0.0, 0.003)
                    asyncio.get_running_loop().call_later(took_s, finish, environment, work)

        def finish(environment: Environment, work: Any) -> None:
            if environment.work is work:
                world.answer(environment)

        for _ in range(400):
            if rng.random() < 0.1:
                machine.runnable = rng.choice((0, 99))
            for _ in range(rng.choice((1, 1, 1, 2, 30) if rng.random() < 0.1 else (1,))):
                world.submit()
            look()
            if entry.pool.waiting:
                waits_s.append((world.clock.monotonic_ns() - entry.pool.waiting[0][0]) / 1e9)
            if rng.random() < 0.01 and (idle := [one for one in world.environments.all() if not one.work]):
                world.environments.retire(idle[0], "a test's")
            await asyncio.sleep(rng.expovariate(1 / 0.002))
        for _ in range(10_000):
            look()
            if len(world.results) == world.submitted:
                break
            await asyncio.sleep(0.001)
        assert len(world.results) == world.submitted
        assert not entry.pool.waiting

    playing(body)
    # A queue is served in its order: whoever is first in it has waited for patience, a turn and a start at most.
    assert max(waits_s, default=0.0) <= BUSY_PATIENCE_S + 2 * 0.25 + START_S + HAIR_S
