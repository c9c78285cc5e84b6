"""A data directory on a small file system that is filled and emptied again."""

from __future__ import annotations

import errno
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.conftest import RunningServer, start_server
from tests.integration.node.node_world import Clients, reports, seen
from tests.support import function, package, unique

ECHO = "def handler(event, context):\n    print(event)\n    return event\n"


@pytest.fixture
def small_disk(base: Path) -> Iterator[Path]:
    """A file system of 96 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    place = base / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m,mode=0755", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def cramped(small_disk: Path) -> Iterator[RunningServer]:
    server = start_server(small_disk / "data", env={"LAMBENT_STORAGE_DISK_LOW_WATER_MB": "8"})
    yield server
    assert server.stop() == 0, server.log.read_text()


def fill(disk: Path) -> Path:
    """Take all the room there is."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as out:
        for size in (1_048_576, 4_096, 1):
            try:
                while True:
                    out.write(b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    return ballast


def ended(call: Callable[[], Any]) -> Any:
    """The error that a call ended in, or None."""
    try:
        call()
    except ClientError as error:
        return error.response
    return None


def assert_ours(answer: Any) -> None:
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 500, answer
    assert answer["Error"]["Code"] == "ServiceException"


def test_a_full_disk_refuses_and_room_accepts_again(cramped: RunningServer, small_disk: Path) -> None:
    with Clients(cramped) as clients, function(clients.lambda_, ECHO) as name:
        tails = [clients.tail(name, 1)[0]]
        ballast = fill(small_disk)
        try:
            # The last page of a file may have room for some more records.
            assert_ours(seen(lambda: ended(lambda: tails.append(clients.tail(name, 2)[0]))))
            assert_ours(ended(lambda: clients.invoke(name, 2)))
            assert_ours(seen(lambda: ended(lambda: clients.event(name, 3))))
            new = dict(clients.lambda_.get_function_configuration(FunctionName=name))
            refused = ended(
                lambda: clients.lambda_.create_function(
                    FunctionName=f"{name}-2",
                    Runtime=new["Runtime"],
                    Handler=new["Handler"],
                    Role=new["Role"],
                    Code={"ZipFile": package({"app.py": ECHO + "# new"})},
                )
            )
            assert_ours(refused)
            with urllib.request.urlopen(f"{cramped.url}/_lambent/health", timeout=10) as health:
                assert health.status == 200
        finally:
            ballast.unlink()
        seen(lambda: ended(lambda: tails.append(clients.tail(name, 4)[0])) is None)
        assert seen(lambda: not ended(lambda: clients.event(name, 5)))
        seen(lambda: "5\n" in clients.log(name))
        log = clients.log(name)
        for tail in tails:
            for line in tail.splitlines(keepends=True):
                assert line in log
        seen(lambda: clients.usage()[name]["attempts"] == len(reports(clients.log(name))))
        assert clients.usage()[name]["billed_ms"] == sum(ms for _, ms in reports(clients.log(name)))


def test_a_full_disk_does_not_keep_a_server_from_ending(small_disk: Path) -> None:
    server = start_server(small_disk / "data", env={"LAMBENT_STORAGE_DISK_LOW_WATER_MB": "8"})
    with Clients(server) as clients:
        name = unique()
        clients.lambda_.create_function(
            FunctionName=name,
            Runtime="python3.11",
            Handler="app.handler",
            Role="arn:aws:iam::000000000000:role/test",
            Code={"ZipFile": package({"app.py": ECHO})},
        )
        clients.lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        tail, _ = clients.tail(name, 1)
        ballast = fill(small_disk)
        seen(lambda: ended(lambda: clients.invoke(name, 2)))
    assert server.stop() == 0, server.log.read_text()
    ballast.unlink()
    server = start_server(small_disk / "data", env={"LAMBENT_STORAGE_DISK_LOW_WATER_MB": "8"})
    with Clients(server) as clients:
        assert clients.invoke(name, 3)[1] == 3
        log = clients.log(name)
        assert all(line in log for line in tail.splitlines(keepends=True))
    assert server.stop() == 0, server.log.read_text()
