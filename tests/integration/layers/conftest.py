from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.node.node_world import place
from tests.support import client


@pytest.fixture
def base() -> Iterator[Path]:
    with place() as made:
        yield made


@pytest.fixture
def lambda_(endpoint: str) -> Iterator[Any]:
    """The public SDK's Lambda client on a running Lambent."""
    made = client("lambda", endpoint)
    yield made
    made.close()
