"""Who is kept and who goes, by the service: histories follow their versions, and the budget has its exceptions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

import pytest
from tests.unit.environments.provisioning_world import ProvisionedWorld, play, version

from lambent.environments import idle, service
from lambent.environments.entries import Entry
from lambent.environments.environment import Environment
from lambent.environments.keeping import LOOK_S_MAX
from lambent.environments.lifecycle import State


async def invoked(world: ProvisionedWorld, number: str, peak_mb: int = 0) -> Environment:
    """Invoke a version, and answer the environment that ran it."""
    world.act = lambda _: 0.1
    world.submit(number)
    while not (busy := world.busy()):  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.02)
    world.answer(busy[0])
    uses(world, busy[0], peak_mb)
    return busy[0]


def uses(world: ProvisionedWorld, environment: Environment, peak_mb: int) -> None:
    """What the sandbox would have said after an attempt: these sandboxes are none, and use nothing."""
    environment.peak_mb = peak_mb
    world.environments.keeping.holds(environment.home, environment)


def names(world: ProvisionedWorld) -> list[str]:
    return sorted(one.version.version for one in world.environments.all() if one.state is State.IDLE)


def test_without_a_budget_the_idle_timeout_alone_decides() -> None:
    async def body(world: ProvisionedWorld) -> None:
        await invoked(world, "1", 1_000)
        await asyncio.sleep(590)
        assert names(world) == ["1"]
        await asyncio.sleep(15)
        assert names(world) == []

    play(body, idle_timeout_s=600.0)


def test_over_the_budget_the_large_one_goes_first_although_it_was_used_last() -> None:
    async def body(world: ProvisionedWorld) -> None:
        await invoked(world, "1", 40)
        await invoked(world, "2", 40)
        await asyncio.sleep(2)
        large = await invoked(world, "3", 30)
        await asyncio.sleep(5)
        assert names(world) == ["1", "2", "3"]
        uses(world, large, 90)
        await asyncio.sleep(2)
        assert names(world) == ["1", "2"]

    play(body, memory_budget_mb=120)


def test_one_that_has_not_run_counts_with_its_functions_memory() -> None:
    async def body(world: ProvisionedWorld) -> None:
        memory_mb = world.versions["1"].configuration.memory_mb
        await invoked(world, "1", 0)
        assert memory_mb > 100
        await asyncio.sleep(5)
        assert names(world) == []
        await invoked(world, "1", 100)
        await asyncio.sleep(5)
        assert names(world) == ["1"]

    play(body, memory_budget_mb=100)


def test_provisioned_environments_stay_whatever_they_hold() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.act = lambda _: 0.1
        world.wish("1", {"1": 1})
        await asyncio.sleep(5)
        await invoked(world, "2", 30)
        await asyncio.sleep(5)
        assert world.standing() == (1, 1, "READY")
        assert names(world) == ["1"]

    play(body, memory_budget_mb=1)


def test_memory_is_dear_near_the_budget_and_cheap_while_much_is_free() -> None:
    async def kept_s(world: ProvisionedWorld) -> None:
        await invoked(world, "1", 100)
        began_s = world.now_s
        while names(world):  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(1)
        found.append(world.now_s - began_s)

    found: list[float] = []
    for budget_mb in (100, 1_000, 1_000_000):
        play(kept_s, idle_timeout_s=3_600.0, memory_budget_mb=budget_mb)
    near, free, empty = found
    assert near < free / 4
    assert free < empty
    assert 3_600 <= empty <= 3_602


def test_an_update_keeps_what_is_known_of_a_version_and_a_deletion_does_not() -> None:
    async def body(world: ProvisionedWorld) -> None:
        await invoked(world, "1")
        known = world.environments.entry(world.versions["1"]).history
        assert known.cost_s > 0
        for generation in (2, 3):
            world.versions["1"] = version("1", generation)
            world.told("updated")
        assert world.environments.entry(world.versions["1"]).history is known
        world.versions["1"] = version("1", 4)
        world.told("updated")
        await asyncio.sleep(1)
        world.versions.clear()
        world.told("deleted")
        assert world.environments._entries.inherited == {}
        world.versions["1"] = version("1", 5)
        assert world.environments.entry(world.versions["1"]).history is not known

    play(body)


def test_what_tenants_do_says_nothing_of_functions() -> None:
    async def body(world: ProvisionedWorld) -> None:
        one, other, none = (world.environments.entry(world.versions["1"], tenant) for tenant in ("a", "b", ""))
        before = none.history.worth(0, 100, 50)
        shared = other.history.worth(0, 100, 50)
        for _ in range(200):
            one.history.used(0, 150.0)
        world.environments.entry(world.versions["2"])
        assert world.environments.entry(world.versions["2"]).history.worth(0, 100, 50) == before
        assert world.environments.entry(world.versions["2"], "c").history.worth(0, 100, 50) > shared

    play(body)


def test_a_use_within_a_second_costs_no_more_than_a_look() -> None:
    async def body(world: ProvisionedWorld) -> None:
        await invoked(world, "1")
        history = world.environments.entry(world.versions["1"]).history
        await asyncio.sleep(0.5)
        await invoked(world, "1")
        assert history._levels[0] is None
        await asyncio.sleep(30)
        await invoked(world, "1")
        level = history._levels[0]
        assert level is not None
        assert level.total == 1

    play(body)


def test_a_second_environment_is_known_by_its_depth() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.act = lambda _: 0.1
        for _ in range(2):
            for _ in range(2):
                world.submit("1")
            while len(busy := world.busy()) < 2:  # noqa: ASYNC110 - virtual time
                await asyncio.sleep(0.02)
            for one in busy:
                world.answer(one)
            await asyncio.sleep(30)
        levels = world.environments.entry(world.versions["1"]).history._levels
        assert [level.total if level else 0 for level in levels[:3]] == [1, 1, 0]

    play(body)


def test_over_the_budget_several_of_one_version_go_before_one_of_another() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.act = lambda _: 0.1
        for _ in range(3):
            world.submit("1")
        while len(busy := world.busy()) < 3:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.02)
        for one in busy:
            world.answer(one)
            uses(world, one, 10)
        await invoked(world, "2", 20)
        await asyncio.sleep(5)
        assert names(world) == ["1", "1", "1", "2"]
        for one in busy:
            uses(world, one, 60)  # 200 MB in all: two must go
        await asyncio.sleep(2)
        assert names(world) == ["1", "2"]

    play(body, memory_budget_mb=100)


def test_a_pool_is_looked_at_when_its_worth_may_have_changed_and_not_each_second() -> None:
    async def body(world: ProvisionedWorld) -> None:
        await invoked(world, "1", 10)
        looks: list[int] = []
        for _ in range(4):
            await asyncio.sleep(600)
            looks.append(world.environments.keeping.looks)
        first, *_, last = looks
        assert first < 600 / LOOK_S_MAX + 25, "half of the bins are shorter than LOOK_S_MAX"
        assert last - first <= 3 * (600 / LOOK_S_MAX + 2)
        assert names(world) == ["1"]

    play(body, idle_timeout_s=7_200.0, memory_budget_mb=1_000_000)


def test_nobody_is_looked_at_who_has_nothing_idle() -> None:
    async def body(world: ProvisionedWorld) -> None:
        await invoked(world, "1", 10)
        await asyncio.sleep(30)
        assert names(world) == []
        entry = world.environments.entry(world.versions["1"])
        assert not entry.is_watched
        looks = world.environments.keeping.looks
        await asyncio.sleep(60)
        assert world.environments.keeping.looks == looks
        await invoked(world, "1", 10)
        assert entry.is_watched

    play(body, idle_timeout_s=5.0)


def test_what_all_hold_is_the_sum_of_what_each_holds() -> None:
    async def body(world: ProvisionedWorld) -> None:
        keeping = world.environments.keeping
        dice = random.Random(5)
        for _ in range(60):
            await invoked(world, dice.choice(["1", "2", "3"]), dice.randrange(1, 90))
            await asyncio.sleep(dice.choice([0.0, 1.0, 20.0]))
            assert keeping.held_mb == sum(one.held_mb for one in world.environments.all())
            assert all(one.held_mb == one.peak_mb for one in world.environments.all())
        await asyncio.sleep(400)
        assert names(world) == []
        assert keeping.held_mb == 0

    play(body, idle_timeout_s=200.0, memory_budget_mb=150)


def test_an_order_of_who_goes_is_made_once_for_many_that_go() -> None:
    async def body(world: ProvisionedWorld) -> None:
        for number in map(str, range(1, 41)):
            world.versions[number] = version(number)
            await invoked(world, number, 10)
        await asyncio.sleep(30)
        keeping = world.environments.keeping
        ranked, made = keeping._rank, []

        def counted(everybody: Iterable[Entry], now_ns: int) -> None:
            made.append(now_ns)
            ranked(everybody, now_ns)

        monkeypatch = pytest.MonkeyPatch()
        monkeypatch.setattr(keeping, "_rank", counted)
        for _ in range(20):
            world.environments._idle.evict_one()
        monkeypatch.undo()
        assert len(made) == 1
        assert names(world) == sorted(map(str, range(21, 41))), "the longest idle first, of equals"
        assert len({one.version.version for one in world.environments.all()}) == 20

    play(body, idle_timeout_s=3_600.0)


def test_while_the_disk_is_full_idle_environments_go_one_after_another() -> None:
    """Each holds a `/tmp`, and may be what fills it."""

    async def body(world: ProvisionedWorld) -> None:
        for number in ("1", "2", "3"):
            await invoked(world, number, 10)
        await asyncio.sleep(5)
        world.has_disk = False
        await asyncio.sleep(2.5)
        assert names(world) == ["3"]
        world.has_disk = True
        await asyncio.sleep(30)
        assert names(world) == ["3"]

    play(body, idle_timeout_s=3_600.0)


def test_pools_that_fall_idle_together_are_not_all_looked_at_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "LOOKS_MAX", 10)

    async def body(world: ProvisionedWorld) -> None:
        for number in map(str, range(1, 31)):
            world.versions[number] = version(number)
            await invoked(world, number, 10)
        keeping = world.environments.keeping
        most, last = 0, keeping.looks
        for _ in range(40):
            await asyncio.sleep(service.SWEEP_EVERY_S)
            most, last = max(most, keeping.looks - last), keeping.looks
        assert most == 10
        assert len(names(world)) == 30
        await asyncio.sleep(120)
        assert names(world) == [], "each has its turn"

    play(body, idle_timeout_s=100.0)
