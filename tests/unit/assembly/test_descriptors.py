"""The budget of descriptors: what grows with use stays below the kernel's limit."""

from __future__ import annotations

import pytest

from lambent.assembly.descriptors import PER_ENVIRONMENT, RESERVED, budget


@pytest.mark.parametrize("limit", [256, 1_024, 4_096, 20_000, 65_536])
def test_connections_and_environments_fit_the_limit_together(limit: int) -> None:
    room = budget(limit, connections_max=100_000, environments_max=100_000)
    assert room.connections + PER_ENVIRONMENT * room.environments + RESERVED <= limit
    assert room.environments > limit // 6


def test_less_than_fits_is_what_was_wanted() -> None:
    room = budget(20_000, connections_max=100, environments_max=50)
    assert (room.connections, room.environments) == (100, 50)


def test_twenty_thousand_descriptors_are_enough_for_five_thousand_environments() -> None:
    assert budget(20_000, connections_max=8_192, environments_max=100_000).environments >= 5_000


def test_there_is_always_room_for_one() -> None:
    room = budget(16, connections_max=8_192, environments_max=100)
    assert (room.connections, room.environments) == (2, 1)
