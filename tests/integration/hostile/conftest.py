"""A server to be attacked, and one small function in it that tells whether it is well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.conftest import RunningServer, start_server
from tests.integration.hostile.hostile_world import faults, unharmed
from tests.support import PYTHON_RUNTIME, ROLE, client, package

WITNESS = "witness"
SPARING = ("--set", "limits.idle_timeout_s=2", "--set", "sandbox.blanks=0")
"""Environments that an attack made go soon, and none is kept ready: what remains open afterwards is a leak."""


def deploy_witness(lambda_: Any, name: str = WITNESS) -> None:
    """A function that answers "well", active."""
    code = package({"app.py": "def handler(event, context):\n    return 'well'\n"})
    lambda_.create_function(
        FunctionName=name, Runtime=PYTHON_RUNTIME, Handler="app.handler", Role=ROLE, Timeout=20, Code={"ZipFile": code}
    )
    lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


@pytest.fixture(scope="session")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A Lambent of these tests' own: they count its descriptors and its memory."""
    base = tmp_path_factory.mktemp("attacked")
    for folder in (base, *base.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    running = start_server(base / "data", *SPARING)
    made = client("lambda", running.url)
    deploy_witness(made)
    made.close()
    yield running
    assert running.stop() == 0, running.log.read_text()[-4_000:]


@pytest.fixture
def lambda_(attacked: RunningServer) -> Iterator[Any]:
    """A boto3 client of the attacked server."""
    made = client("lambda", attacked.url, max_pool_connections=50)
    yield made
    made.close()


@pytest.fixture
def well(attacked: RunningServer) -> Iterator[RunningServer]:
    """The attacked server; after the test it must be well, and its log must hold no fault of its own."""
    known = len(faults(attacked))
    with unharmed(attacked, WITNESS):
        yield attacked
    assert faults(attacked)[known:] == []
