"""A public door behind the real HTTP core on a loopback port of its own, and boto3 clients for it; a client of the
server that all tests share, which judges every answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.parity.api.judged import ACCOUNT, Recorder
from tests.support import client as sdk_client
from tests.support import unique

from lambent.api.door import PublicDoor
from lambent.domain.clock import SystemClock
from lambent.http import listen, serve
from lambent.identity.sigv4 import SigV4

START_LIMIT_S = 60.0


class Running:
    """One door on one loop in one thread."""

    def __init__(self) -> None:
        self.door = PublicDoor(
            SigV4(SystemClock(), default_account="123456789012", default_region="us-east-1", is_verifying=False)
        )
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="door")
        self._thread.start()
        assert self._ready.wait(START_LIMIT_S)

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await serve(self.door, listen("127.0.0.1", 0))
        self.port = server.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        await server.drain(1.0)

    def client(self, service: str = "lambda", **config: Any) -> Any:
        return boto3.client(
            service,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, read_timeout=30, **config),
        )

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_LIMIT_S)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """A door for a module's tests."""
    running = Running()
    yield running
    running.close()


@pytest.fixture
def fresh() -> Iterator[Running]:
    """A door for one test that opens and loses connections as it likes."""
    running = Running()
    yield running
    running.close()


@pytest.fixture(scope="module")
def client(running: Running) -> Iterator[Any]:
    """A client whose one connection is open before the first test and stays so."""
    client = running.client()
    with pytest.raises(ClientError):
        client.get_account_settings()
    yield client
    client.close()


@pytest.fixture(scope="module")
def recorder(endpoint: str) -> Iterator[Recorder]:
    """A client of the running server, and what it has heard."""
    recorder = Recorder(sdk_client("lambda", endpoint, account=ACCOUNT))
    recorder.client.get_account_settings()  # so that no test is the one that connects
    yield recorder
    recorder.client.close()


@pytest.fixture
def lambda_(recorder: Recorder, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The client; afterwards every answer was by the model, and what the test says it covers was accepted and refused."""
    recorder.clear()
    yield recorder.client
    assert recorder.problems == []
    marker = request.node.get_closest_marker("covers")
    operations = set() if marker is None else set(marker.args)
    assert operations <= recorder.accepted, operations - recorder.accepted
    assert operations <= recorder.refused, operations - recorder.refused


@pytest.fixture
def name(recorder: Recorder) -> Iterator[Callable[[], str]]:
    """Makes function names; their functions are gone afterwards."""
    made: list[str] = []

    def name() -> str:
        made.append(unique("boto"))
        return made[-1]

    yield name
    for one in made:
        with suppress(recorder.client.exceptions.ResourceNotFoundException):
            recorder.client.delete_function(FunctionName=one)
