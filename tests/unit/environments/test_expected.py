"""What a creation or an update makes ready for the first invocation."""

from __future__ import annotations

from typing import Any

from tests.unit.environments.provisioning_world import REF, ProvisionedWorld, play, version

from lambent.environments.entries import EXPECTED_MAX
from lambent.environments.plan import Blueprint
from lambent.functions.model import Change


class Counting(ProvisionedWorld):
    def __init__(self, *arguments: Any, **limits: Any) -> None:
        super().__init__(*arguments, **limits)
        self.asked: list[str] = []

    def blueprint(self, version: Any) -> Blueprint:
        self.asked.append(version.version)
        return super().blueprint(version)


def test_the_blueprint_of_an_update_serves_the_first_invocation_and_so_many_are_kept() -> None:
    async def body(world: ProvisionedWorld) -> None:
        assert isinstance(world, Counting)
        numbers = [str(number) for number in range(EXPECTED_MAX + 1)]
        for number in numbers:
            world.versions[number] = version(number)
            world.environments.on_change(Change("updated", REF, number))
        assert world.asked == numbers
        world.asked.clear()
        world.environments.entry(world.versions["1"])
        assert world.asked == []
        world.environments.entry(world.versions["0"])  # the oldest had to go
        assert world.asked == ["0"]

    play(body, world=Counting)


def test_a_newer_generation_is_another_version() -> None:
    async def body(world: ProvisionedWorld) -> None:
        assert isinstance(world, Counting)
        world.environments.on_change(Change("updated", REF, "1"))
        world.versions["1"] = version("1", generation=2)
        world.asked.clear()
        world.environments.entry(world.versions["1"])
        assert world.asked == ["1"]

    play(body, world=Counting)
