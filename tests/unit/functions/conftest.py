"""A house for every test."""

from __future__ import annotations

import pytest
from tests.unit.functions.house import House


@pytest.fixture
def house() -> House:
    return House()
