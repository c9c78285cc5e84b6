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
def container() -> Iterator[World]:
    with made_world("container") as made:
        yield made


@pytest.fixture
def process() -> Iterator[World]:
    with made_world("process") as made:
        yield made
