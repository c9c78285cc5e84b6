"""Worlds of the isolating tiers, and of the process tier as the control."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.contracts.sandbox_world import World, made_world


@pytest.fixture(params=["container", "rootless"])
def isolated(request: pytest.FixtureRequest) -> Iterator[World]:
    with made_world(request.param) as made:
        yield made


@pytest.fixture
def limited(isolated: World) -> World:
    """An isolating tier that has control groups: root's own, or those that a service manager delegates to a user."""
    assert isolated.spawner is not None
    if isolated.spawner.groups.directory("memory") is None:
        pytest.skip(f"no control groups for the {isolated.kind} tier here: {isolated.spawner.groups.missing}")
    return isolated


@pytest.fixture
def container() -> Iterator[World]:
    with made_world("container") as made:
        yield made


@pytest.fixture
def confined() -> Iterator[World]:
    with made_world("confined") as made:
        yield made


@pytest.fixture
def process() -> Iterator[World]:
    with made_world("process") as made:
        yield made
