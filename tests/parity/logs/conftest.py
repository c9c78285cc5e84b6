"""The logs door behind the real HTTP core, over records in files, with the public SDK and CLI in front."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from lambent.api.door import PublicDoor
from lambent.api.resources import LOGS_TARGET
from lambent.api.resources.logs import LogsResource
from lambent.domain.clock import SystemClock
from lambent.domain.names import Scope
from lambent.http import Request, listen, serve
from lambent.telemetry.logs import Logs
from lambent.telemetry.segments import FileRecords

START_LIMIT_S = 60.0
CLI_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Someone:
    service: str | None
    scope: Scope
    access_key: str | None = "test"
    arn: str = "arn:aws:iam::123456789012:root"
    sandbox: str | None = None


class ReadingTheScope:
    """Authentication that believes the credential scope: region and service."""

    def identify(self, request: Request) -> Someone:
        found = re.search(rb"Credential=[^/]+/\d+/([^/]+)/([^/]+)/", request.header(b"authorization") or b"")
        region, service = (found[1].decode(), found[2].decode()) if found else ("us-east-1", None)
        return Someone(service, Scope("123456789012", region))

    def identify_inside(self, request: Request, origin: Any) -> Any:
        raise AssertionError("no sandbox here")

    def verify(self, request: Request, caller: Any) -> None:
        return None


class LogsServer:
    """One door on one loop in one thread."""

    def __init__(self, directory: Path) -> None:
        self.records = FileRecords(directory, fsync_ms=0)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="logs door")
        self._thread.start()
        assert self._ready.wait(START_LIMIT_S)
        self.url = f"http://127.0.0.1:{self._port}"

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        door = PublicDoor(ReadingTheScope())
        door.mount_target(LOGS_TARGET, LogsResource(Logs(self.records, SystemClock())).handle)
        server = await serve(door, listen("127.0.0.1", 0))
        self._port = server.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        await server.drain(1.0)

    def on_loop(self, act: Callable[[], None]) -> None:
        """Do something on the server's loop, as everything that appends does, and wait for it."""
        done: threading.Event = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (act(), done.set()))
        assert done.wait(START_LIMIT_S)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_LIMIT_S)
        self.records.close()


@pytest.fixture
def logs_server(tmp_path: Path) -> Iterator[LogsServer]:
    server = LogsServer(tmp_path / "records")
    yield server
    server.close()


@pytest.fixture
def client(logs_server: LogsServer) -> Iterator[Any]:
    client = boto3.client(
        "logs",
        endpoint_url=logs_server.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=30),
    )
    yield client
    client.close()


@pytest.fixture
def aws(logs_server: LogsServer) -> Callable[..., Any]:
    """Run `aws logs ...`; answers its JSON."""

    def run(*arguments: str) -> Any:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
        environment |= {"AWS_ENDPOINT_URL": logs_server.url, "AWS_MAX_ATTEMPTS": "1", "AWS_DEFAULT_REGION": "us-east-1"}
        command = [sys.executable, "-m", "awscli", "logs", *arguments, "--output", "json"]
        done = subprocess.run(command, env=environment, capture_output=True, timeout=CLI_LIMIT_S, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout) if done.stdout.strip() else None

    return run
