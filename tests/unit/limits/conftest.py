"""A house for tests of what functions may be."""

from __future__ import annotations

import pytest
from tests.unit.functions.house import House


@pytest.fixture
def house() -> House:
    return House()
