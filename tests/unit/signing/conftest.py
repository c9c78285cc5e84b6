"""A signer for every test."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.functions.house import House
from tests.unit.signing.signing_world import Signer


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path)


@pytest.fixture
def house() -> House:
    return House()
