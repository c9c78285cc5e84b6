"""One machine outside for all tests of this room, and sandboxes of the isolating tiers that may reach it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import outside_world
import pytest
from tests.contracts.sandbox_world import World, made_world

from lambent.domain import egress


@pytest.fixture(scope="session")
def machine() -> Iterator[outside_world.Outside]:
    with outside_world.outside() as made:
        yield made


@pytest.fixture(params=["container", "rootless"])
def tier(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def world(tier: str, machine: outside_world.Outside) -> Iterator[Callable[..., World]]:
    """Makes a world with these settings of the server; skips where the kernel gives no way out."""
    with ExitStack() as stack:

        def make(mode: str = egress.OUTBOUND, allow: str = "", kind: str = tier, **options: Any) -> World:
            found = egress.Outside(
                egress.server_layer(mode, allow), egress.resolvers(f"{machine.four}:{outside_world.DNS}")
            )
            made = stack.enter_context(made_world(kind, outside=found, **options))
            assert made.spawner is not None
            if mode != egress.NONE and not made.spawner.has_egress:
                pytest.skip(f"no way out of sandboxes here: {made.driver.tier.missing}")
            made.egress = egress.Egress(found.layer, egress.Layer(egress.OUTBOUND))
            return made

        yield make
