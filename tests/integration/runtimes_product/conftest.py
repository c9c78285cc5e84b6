from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from product_world import add_what_is_wanted, bring
from tests.conftest import RunningServer, start_server
from tests.support import client


@pytest.fixture(scope="session")
def open_place() -> Iterator[Path]:
    """A directory that every user may pass, as a server that gives up root needs it; pytest's own are its user's."""
    place = Path(tempfile.mkdtemp(prefix="lambent-product-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="session")
def stocked(open_place: Path) -> Iterator[RunningServer]:
    """A server with everything that can be added: more Node.js versions, AWS's own clients, an SDK."""
    add_what_is_wanted()
    data_dir = open_place / "data"
    assert start_server(data_dir).stop() == 0  # makes the data directory
    bring(data_dir)
    running = start_server(data_dir)
    yield running
    assert running.stop() == 0, running.log.read_text()


@pytest.fixture(scope="session")
def lambda_(stocked: RunningServer) -> Iterator[Any]:
    """The public SDK's client of that server; connected now, so that no test is the one that opened it."""
    made = client("lambda", stocked.url)
    made.get_account_settings()
    yield made
    made.close()


@pytest.fixture(scope="session")
def logs(stocked: RunningServer) -> Iterator[Any]:
    made = client("logs", stocked.url)
    made.describe_log_groups()
    yield made
    made.close()
