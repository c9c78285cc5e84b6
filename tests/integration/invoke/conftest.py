from __future__ import annotations

from typing import Any

import pytest
from tests.support import client


@pytest.fixture(scope="session")
def lambda_(endpoint: str) -> Any:
    """The public SDK's Lambda client on a running Lambent."""
    return client("lambda", endpoint)
