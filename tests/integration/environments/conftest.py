from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.integration.environments.live_node import LIMITS, LiveNode, live_node

INIT_LIMIT_S = 1.5


@pytest.fixture
def node() -> Iterator[LiveNode]:
    """A node with the limits of a small machine; an init phase may take 1.5 s."""
    with live_node(replace(LIMITS, init_limit_s=INIT_LIMIT_S)) as running:
        yield running
