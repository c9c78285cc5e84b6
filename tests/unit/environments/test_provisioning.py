"""Provisioned environments in virtual time: how they get there, what happens when they don't, and when an alias moves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest
from tests.unit.environments.provisioning_world import ProvisionedWorld, play, version

from lambent.domain.limits import PROVISIONED_ATTEMPTS_MAX, PROVISIONED_INIT_LIMIT_S
from lambent.environments.environment import Environment
from lambent.environments.provisioning import (
    FULL_S_MAX,
    INIT_FAILED,
    LIVED_S_MIN,
    NODE_SHARE,
    RETRY_FIRST_S,
    RETRY_MAX_S,
    STARTS_MAX,
)
from lambent.environments.scaling import FINISH_GRACE_S
from lambent.sandbox.port import Exit
from lambent.telemetry.attempt import InitRecord

EXIT = Exit(1, None, out_of_memory=False)


def test_they_are_started_four_at_a_time_and_the_counts_climb() -> None:
    async def body(world: ProvisionedWorld) -> None:
        assert world.standing() == (0, 0, "IN_PROGRESS")
        world.wish("1", {"1": 10})
        await asyncio.sleep(0.5)
        assert len(world.starts) == STARTS_MAX
        assert world.standing() == (0, 0, "IN_PROGRESS")
        await asyncio.sleep(1)
        assert world.standing() == (4, 4, "IN_PROGRESS")
        await asyncio.sleep(1)
        assert world.standing() == (8, 8, "IN_PROGRESS")
        await asyncio.sleep(1)
        assert world.standing() == (10, 10, "READY")
        assert len(world.starts) == 10
        assert world.allocated[-1] == 10
        world.told()
        world.told("updated")
        await asyncio.sleep(60)
        assert len(world.starts) == 10

    play(body)


def test_functions_take_turns() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.wish("1", {"1": 8})
        world.wish("2", {"2": 2})
        await asyncio.sleep(2.5)
        assert world.standing("2") == (2, 2, "READY")
        assert world.standing("1")[2] == "IN_PROGRESS"

    play(body)


def test_six_attempts_with_pauses_that_double_and_then_no_more() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.act = lambda number: "fail"
        world.wish("1", {"1": 1})
        await asyncio.sleep(3_600)
        assert len(world.starts) == PROVISIONED_ATTEMPTS_MAX == 6
        pauses = [round(later - earlier - 0.2, 1) for earlier, later in pairwise(world.starts)]
        assert pauses == [RETRY_FIRST_S * 2**n for n in range(5)]
        assert world.standing() == (0, 0, "FAILED")
        assert world.reason() == INIT_FAILED
        records = [record for record in world.records if isinstance(record, InitRecord)]
        assert len({record.origin.log_stream for record in records}) == 6
        assert {record.origin.initialization for record in records} == {"provisioned-concurrency"}
        assert all(record.is_reported for record in records)

    play(body)


def test_many_that_fail_at_once_are_tried_one_at_a_time_afterwards() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.act = lambda number: "fail"
        world.wish("1", {"1": 50})
        await asyncio.sleep(3_600)
        assert len(world.starts) == STARTS_MAX + 2
        assert world.standing() == (0, 0, "FAILED")

    play(body)


def test_another_put_tries_again() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.act = lambda number: "fail" if number <= 6 else 1.0
        world.wish("1", {"1": 1})
        await asyncio.sleep(60)
        assert world.standing() == (0, 0, "FAILED")
        world.wish("1", {"1": 1})
        assert world.standing() == (0, 0, "IN_PROGRESS")
        await asyncio.sleep(2)
        assert world.standing() == (1, 1, "READY")
        assert world.reason() is None

    play(body)


def test_a_failure_now_and_then_is_overcome() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.act = lambda number: "fail" if number % 2 else 1.0
        world.wish("1", {"1": 5})
        await asyncio.sleep(120)
        assert world.standing() == (5, 5, "READY")

    play(body)


def test_what_was_whole_and_cannot_be_restored_is_tried_every_five_minutes() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.wish("1", {"1": 1})
        await asyncio.sleep(60)
        world.act = lambda number: "fail"
        (lost,) = world.of("1")
        lost.runtime.ended(EXIT)
        assert world.standing() == (0, 1, "READY")
        await asyncio.sleep(60)
        assert world.standing() == (0, 0, "FAILED")
        tried = len(world.starts)
        await asyncio.sleep(10 * RETRY_MAX_S)
        assert len(world.starts) - tried in (9, 10)
        world.act = lambda number: 1.0
        await asyncio.sleep(RETRY_MAX_S + 2)
        assert world.standing() == (1, 1, "READY")

    play(body)


def test_one_that_has_lived_is_replaced_at_once_and_one_that_dies_right_away_after_a_pause() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.wish("1", {"1": 1})
        await asyncio.sleep(1 + LIVED_S_MIN + 1)
        (lost,) = world.of("1")
        lost.runtime.ended(EXIT)
        await asyncio.sleep(0.01)
        assert len(world.starts) == 2
        world.act = lambda number: "die"
        await asyncio.sleep(1 + LIVED_S_MIN + 1)
        (lost,) = world.of("1")
        lost.runtime.ended(EXIT)
        await asyncio.sleep(3_600)
        pauses = [later - earlier for earlier, later in pairwise(world.starts[2:8])]
        assert all(pause > RETRY_FIRST_S for pause in pauses)
        assert world.reason() == "The function's runtime ends right after its initialisation."
        assert len(world.starts) <= 8 + 3_600 / RETRY_MAX_S

    play(body)


def test_init_has_130_seconds_or_as_long_as_the_function_may_run() -> None:
    async def body(world: ProvisionedWorld) -> None:
        timeouts = {"1": 3, "2": 900}
        for number, timeout_s in timeouts.items():
            one = world.versions[number]
            world.versions[number] = replace(one, configuration=replace(one.configuration, timeout_s=timeout_s))
        world.act = lambda number: "hang"
        world.wish("1", {"1": 1})
        world.wish("2", {"2": 1})
        await asyncio.sleep(PROVISIONED_INIT_LIMIT_S - 1)
        assert len(world.starts) == 2
        await asyncio.sleep(2)
        assert len(world.starts) == 3
        await asyncio.sleep(900 - PROVISIONED_INIT_LIMIT_S - 3)
        of_second = [r for r in world.records if isinstance(r, InitRecord) and r.origin.version == "2"]
        assert of_second == []
        await asyncio.sleep(4)
        (only,) = [r for r in world.records if isinstance(r, InitRecord) and r.origin.version == "2"]
        assert (only.status, only.duration_us) == ("timeout", pytest.approx(900_000_000, rel=0.001))
        world.wishes.clear()
        world.told()

    play(body)


def test_a_request_does_not_count_on_one_that_is_still_starting() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.act = lambda number: 100.0 if number == 1 else 1.0
        world.wish("1", {"1": 1})
        await asyncio.sleep(0.5)
        world.submit()
        await asyncio.sleep(1.1)
        (busy,) = world.busy()
        assert not busy.is_provisioned
        world.answer(busy)

    play(body)


def test_a_request_that_waits_takes_one_that_gets_ready_first() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.act = lambda number: 1.0 if number == 1 else 100.0
        world.wish("1", {"1": 1})
        await asyncio.sleep(0.5)
        world.submit()
        await asyncio.sleep(0.6)
        (busy,) = world.busy()
        assert busy.is_provisioned
        world.answer(busy)
        assert world.results[0].init_us is None

    play(body)


def test_an_alias_that_moves_keeps_what_it_had_until_the_new_ones_are_ready() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.wish("live", {"1": 2})
        await asyncio.sleep(2)
        assert world.standing("live") == (2, 2, "READY")
        world.move("live", {"2": 2})
        assert world.standing("live") == (2, 2, "IN_PROGRESS")
        await asyncio.sleep(0.5)
        assert (len(world.of("1")), len(world.of("2"))) == (2, 0)
        assert world.standing("live") == (2, 2, "IN_PROGRESS")
        await asyncio.sleep(0.6)
        assert world.standing("live") == (2, 2, "READY")
        assert (len(world.of("1")), len(world.of("2"))) == (0, 2)
        assert world.allocated[-1] == 2

    play(body)


def test_an_alias_that_moves_to_what_cannot_start_lets_the_old_ones_go() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.wish("live", {"1": 2})
        await asyncio.sleep(2)
        world.act = lambda number: "fail"
        world.move("live", {"2": 2})
        await asyncio.sleep(120)
        assert world.standing("live") == (0, 0, "FAILED")
        assert world.of("1") == []

    play(body)


def test_an_alias_that_moves_and_moves_back_starts_nothing_twice() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.wish("live", {"1": 2})
        await asyncio.sleep(2)
        world.move("live", {"2": 2})
        await asyncio.sleep(0.5)
        world.move("live", {"1": 2})
        assert world.standing("live") == (2, 2, "READY")
        await asyncio.sleep(2)
        assert (len(world.of("1")), len(world.of("2"))) == (2, 0)
        assert len(world.starts) == 4

    play(body)


def test_on_a_full_node_the_old_ones_make_room_for_the_new() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.wish("live", {"1": 3})
        await asyncio.sleep(2)
        world.move("live", {"2": 3})
        await asyncio.sleep(3)
        assert world.standing("live") == (3, 3, "READY")
        assert (len(world.of("1")), len(world.of("2"))) == (0, 3)

    play(body, environments_max=4)


def test_two_configurations_that_mean_the_same_version_add_up() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.wish("a", {"1": 2})
        world.wish("b", {"1": 1, "2": 1})
        await asyncio.sleep(3)
        assert (len(world.of("1")), len(world.of("2"))) == (3, 1)
        assert world.standing("a") == world.standing("b") == (2, 2, "READY")
        del world.wishes["a"]
        world.told()
        await asyncio.sleep(0.1)
        assert (len(world.of("1")), len(world.of("2"))) == (1, 1)
        assert world.allocated[-1] == 2

    play(body)


def test_the_node_keeps_a_quarter_of_its_places_for_others() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.wish("1", {"1": 8})
        await asyncio.sleep(4)
        assert len(world.of("1")) == int(8 * NODE_SHARE) == 6
        assert world.standing() == (6, 6, "FAILED")
        assert world.reason() == (
            "This node may keep 6 of its 8 environments provisioned, and does. Raise limits.environments_max or "
            "limits.memory_budget_mb, or ask for less."
        )
        world.submit("3")
        await asyncio.sleep(1.1)
        assert len(world.busy()) == 1
        world.answer(world.busy()[0])

    play(body, environments_max=8)


def test_what_is_busy_and_too_many_is_waited_for_and_not_taken_for_a_full_node() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.wish("1", {"1": 6})
        await asyncio.sleep(4)
        for _ in range(6):
            world.submit("1")
        world.wish("1", {"1": 1})
        world.wish("2", {"2": 2})
        await asyncio.sleep(2)
        assert world.standing("2") == (0, 0, "IN_PROGRESS")
        for environment in world.busy():
            world.answer(environment)
        await asyncio.sleep(3)
        assert world.standing("1") == (1, 1, "READY")
        assert world.standing("2") == (2, 2, "READY")

    play(body, environments_max=8)


def test_a_node_that_is_full_for_a_minute_says_so_and_room_that_comes_is_used() -> None:
    async def body(world: ProvisionedWorld) -> None:
        for _ in range(4):
            world.submit("3")
        await asyncio.sleep(2)
        assert len(world.busy()) == 4
        world.wish("1", {"1": 1})
        await asyncio.sleep(FULL_S_MAX - 5)
        assert world.standing() == (0, 0, "IN_PROGRESS")
        for environment in world.busy()[:3]:
            environment.deadline.at_s += 600
        for environment in world.busy():
            environment.deadline.at_s += 600
        await asyncio.sleep(8)
        assert world.standing() == (0, 0, "FAILED")
        assert str(world.reason()).startswith("This node is full: all its 4 environments are in use.")
        world.answer(world.busy()[0])
        await asyncio.sleep(3)
        assert world.standing() == (1, 1, "READY")
        for environment in world.busy():
            world.answer(environment)

    play(body, environments_max=4)


def test_a_deletion_while_they_start_leaves_nothing() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.wish("1", {"1": 6})
        await asyncio.sleep(0.5)
        del world.versions["1"]
        world.wishes.clear()
        world.told("deleted")
        await asyncio.sleep(2)
        assert world.environments.count == 0
        assert len(world.starts) == STARTS_MAX
        assert world.allocated[-1] == 0

    play(body)


def test_what_a_deletion_takes_is_not_replaced() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.wish("1", {"1": 3})
        await asyncio.sleep(1 + LIVED_S_MIN + 1)
        del world.versions["1"]
        world.wishes.clear()
        world.told("deleted")
        await asyncio.sleep(5)
        assert world.environments.count == 0
        assert len(world.starts) == 3

    play(body)


def test_a_function_made_anew_under_the_name_gets_environments_of_its_own() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.wish("1", {"1": 2})
        await asyncio.sleep(2)
        old = world.of("1")
        world.submit()
        world.versions["1"] = version("1", generation=2)
        world.wish("1", {"1": 2}, modified_ms=1)
        await asyncio.sleep(2)
        fresh = [one for one in world.of("1") if one.version.generation == 2]
        assert len(fresh) == 2
        assert not set(fresh) & set(old)
        assert world.standing() == (2, 2, "READY")
        world.answer(world.busy()[0])
        await asyncio.sleep(0.1)
        assert world.environments.count == 2

    play(body)


def test_a_runtime_that_the_machine_lacks_is_the_reason() -> None:
    async def body(world: ProvisionedWorld) -> None:
        world.missing_runtime = "python3.13 is not on this machine: install it"
        world.wish("1", {"1": 2})
        assert world.standing() == (0, 0, "FAILED")
        assert world.reason() == world.missing_runtime
        world.missing_runtime = None
        world.told("updated")
        await asyncio.sleep(2)
        assert world.standing() == (2, 2, "READY")

    play(body)


def test_a_request_waits_for_a_runtime_as_long_as_that_ones_grace_and_not_for_a_part_of_it() -> None:
    """Two requests wait for two runtimes that answered at different times: each runtime has its whole grace."""

    async def body(world: ProvisionedWorld) -> None:
        for _ in range(2):
            world.submit()
        await asyncio.sleep(1.5)
        first, second = world.busy()
        for environment in (first, second):
            environment.runtime.asks_itself = True

        def respond(environment: Environment) -> None:
            assert environment.work is not None
            environment.response(environment.work.event.request_id, "application/json", b"1")

        respond(first)
        world.submit()  # waits for the first, from now on
        await asyncio.sleep(FINISH_GRACE_S * 0.9)
        respond(second)
        world.submit()  # waits for the second
        await asyncio.sleep(FINISH_GRACE_S * 0.5)
        assert len(world.starts) == 3, "the first has had its grace, the second has not"
        second.ready()
        assert second in world.busy()
        await asyncio.sleep(1.5)
        assert len(world.starts) == 3
        for environment in world.busy():
            world.answer(environment)
        first.ready()

    play(body)
