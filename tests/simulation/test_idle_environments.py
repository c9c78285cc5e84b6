"""A node through half a day of virtual time: what its environments cost and save, next to a timer of ten minutes.

The real service on sandboxes that are none. A seed decides who is called when: one version by a schedule of 15 minutes, one
now and then, one in visits with pauses between. The seed is in the name of a run that fails; LAMBENT_SIMULATION_SEEDS=n runs more.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter

import pytest
from tests.unit.environments.provisioning_world import ProvisionedWorld, play
from tests.unit.environments.test_keeping import uses

from lambent.environments import service
from lambent.environments.environment import Environment
from lambent.environments.lifecycle import State

SEEDS = int(os.environ.get("LAMBENT_SIMULATION_SEEDS", "6"))
HOURS = 12
LOOK_S = 15.0
BUDGET_MB = 150
"""Room for all three only without the one that is seldom called."""
PEAKS_MB = {"1": 30, "2": 120, "3": 60}


class Arm:
    """What is seen of one run."""

    def __init__(self) -> None:
        self.cold: Counter[str] = Counter()
        self.idle_mb_s = 0.0
        self.held_mb_max = 0


def arrivals(seed: int) -> list[tuple[float, str]]:
    dice = random.Random(seed)
    end_s = HOURS * 3_600.0
    found = [(minute * 60.0 + 7.0, "1") for minute in range(0, HOURS * 60, 15)]
    at = dice.expovariate(1 / 7_200)
    while at < end_s:
        found.append((at, "2"))
        at += dice.expovariate(1 / 7_200)
    at = dice.random() * 600
    while at < end_s:
        found.append((at, "3"))
        at += dice.expovariate(1 / 30) if dice.random() < 0.8 else 900 + dice.expovariate(1 / 900)
    return sorted(found)


def held_mb(environment: Environment) -> int:
    return environment.peak_mb or environment.version.configuration.memory_mb


def run(seed: int, **limits: float) -> Arm:
    arm = Arm()

    async def day(world: ProvisionedWorld) -> None:
        world.act = lambda number: 0.2
        for at_s, version in arrivals(seed):
            while world.now_s < at_s:
                await asyncio.sleep(min(LOOK_S, at_s - world.now_s + 0.001))
                idle = [one for one in world.environments.all() if one.state is State.IDLE]
                arm.idle_mb_s += LOOK_S * sum(map(held_mb, idle))
            before = world.environments.cold_starts
            world.submit(version)
            while not (busy := world.busy()):  # noqa: ASYNC110 - virtual time
                await asyncio.sleep(0.05)
            arm.cold[version] += world.environments.cold_starts - before
            (environment,) = busy
            world.answer(environment)
            uses(world, environment, PEAKS_MB[version])
            await asyncio.sleep(service.SWEEP_EVERY_S)
            arm.held_mb_max = max(arm.held_mb_max, sum(map(held_mb, world.environments.all())))

    play(day, **limits)
    return arm


@pytest.mark.parametrize("seed", range(SEEDS))
def test_fewer_cold_starts_than_a_timer_and_never_more_than_the_budget(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SWEEP_EVERY_S", 10.0)
    timer = run(seed, idle_timeout_s=600.0)
    policy = run(seed, idle_timeout_s=14_400.0, memory_budget_mb=BUDGET_MB)
    assert timer.cold["1"] == HOURS * 4, "a timer of ten minutes is of no use every quarter of an hour"
    assert policy.cold["1"] <= 4, "the schedule is learned"
    assert policy.cold.total() <= timer.cold.total() / 2
    assert policy.held_mb_max <= BUDGET_MB
    assert policy.idle_mb_s <= BUDGET_MB * HOURS * 3_600
