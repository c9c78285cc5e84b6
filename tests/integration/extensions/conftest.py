from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.integration.environments.live_node import LIMITS, LiveNode, live_node


@pytest.fixture(scope="module")
def node() -> Iterator[LiveNode]:
    """A node in this process, for all tests of a module; runtimes wait for their functions, an init may take 3 s."""
    with live_node(replace(LIMITS, init_limit_s=3.0, blanks=1, waiting_max=2)) as running:
        yield running
