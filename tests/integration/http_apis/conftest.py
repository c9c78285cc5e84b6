from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.conftest import RunningServer, start_server
from tests.integration.http_apis.backend import Backend, running_backend
from tests.integration.http_apis.http_world import ACCOUNT, World
from tests.support import client


@pytest.fixture(scope="session")
def backend() -> Iterator[Backend]:
    """An HTTP server that is neither the gateway nor a function."""
    with running_backend() as found:
        yield found


@pytest.fixture(autouse=True)
def the_backend_is_idle(backend: Backend) -> Iterator[None]:
    yield
    backend.wait_until_idle()


@pytest.fixture(scope="session")
def gateway_server(tmp_path_factory: pytest.TempPathFactory, backend: Backend) -> Iterator[RunningServer]:
    """One server for these tests: integrations may reach the backend, and nothing else on this machine."""
    data = tmp_path_factory.mktemp("gateway") / "data"
    running = start_server(data, "--set", f"network.allow=127.0.0.1:{backend.port}")
    yield running
    assert running.stop() == 0, running.log.read_text()


@pytest.fixture(scope="module")
def world(gateway_server: RunningServer) -> Iterator[World]:
    made = [client(name, gateway_server.url, account=ACCOUNT) for name in ("apigatewayv2", "lambda", "logs")]
    found = World(gateway_server.url, *made)
    found.gateway.get_apis(), found.lambda_.list_functions(), found.logs.describe_log_groups()  # connections are kept
    yield found
    for one in made:
        one.close()
