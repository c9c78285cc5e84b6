from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.conftest import RunningServer, start_server
from tests.integration.node.node_world import place


@pytest.fixture
def base() -> Iterator[Path]:
    with place() as made:
        yield made


@pytest.fixture
def own_server(base: Path) -> Iterator[RunningServer]:
    """A server that the test may kill."""
    server = start_server(base / "data")
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.fixture
def plain_server(base: Path) -> Iterator[RunningServer]:
    """A server that keeps nothing ready: what it holds is its environments'."""
    server = start_server(base / "data", "--set", "sandbox.blanks=0")
    yield server
    server.stop()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool
