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
from tests.support import PYTHON_RUNTIME, function, package, unique

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


def refused(disk: Path, call: Callable[[], Any]) -> Any:
    """The error of a call on a disk that is full, as soon as it is."""

    def look() -> Any:
        fill(disk)
        return ended(call)

    return seen(look)


def assert_ours(answer: Any) -> None:
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 500, answer
    assert answer["Error"]["Code"] == "ServiceException"


def test_a_full_disk_refuses_and_room_accepts_again(cramped: RunningServer, small_disk: Path) -> None:
    with Clients(cramped) as clients, function(clients.lambda_, ECHO) as name:
        tails = [clients.tail(name, 1)[0]]
        ballast = fill(small_disk)
        try:
            # The last page of a file may have room for some more records, and idle environments give room back.
            assert_ours(refused(small_disk, lambda: tails.append(clients.tail(name, 2)[0])))
            assert_ours(refused(small_disk, lambda: clients.invoke(name, 2)))
            assert_ours(refused(small_disk, lambda: clients.event(name, 3)))
            new = dict(clients.lambda_.get_function_configuration(FunctionName=name))
            refusal = ended(
                lambda: clients.lambda_.create_function(
                    FunctionName=f"{name}-2",
                    Runtime=new["Runtime"],
                    Handler=new["Handler"],
                    Role=new["Role"],
                    Code={"ZipFile": package({"app.py": ECHO + "# new"})},
                )
            )
            assert_ours(refusal)
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
            Runtime=PYTHON_RUNTIME,
            Handler="app.handler",
            Role="arn:aws:iam::000000000000:role/test",
            Timeout=20,
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


GREEDY = """
import os
def handler(event, context):
    try:
        with open("/tmp/much", "wb", buffering=0) as out:
            for _ in range(event):
                out.write(b"x" * 1_048_576)
            os.fsync(out.fileno())
    except OSError as error:
        return error.strerror
    return "written"
"""


def test_a_function_that_fills_the_disk_through_its_tmp_is_told_and_the_server_lives(
    cramped: RunningServer, small_disk: Path
) -> None:
    """`/tmp` promises 512 MB and is made when it is used: the data directory's disk may have less."""
    with (
        Clients(cramped) as clients,
        function(clients.lambda_, GREEDY, Timeout=120, MemorySize=512) as greedy,
        function(clients.lambda_, ECHO) as other,
    ):
        if cramped.tier != "container":
            pytest.skip(f"the {cramped.tier} tier has no /tmp of its own on the disk")
        assert clients.invoke(greedy, 5)[1] == "written"
        assert clients.invoke(other, 1)[1] == 1
        told: list[str] = []
        refusal = ended(lambda: told.append(clients.invoke(greedy, 200)[1]))
        if refusal is None:
            assert told[0] in ("Input/output error", "No space left on device", "Read-only file system")
        else:  # not even its record had room any more: the last page of the file was full, too
            assert_ours(refusal)
            assert "no room for the records" in refusal["Error"]["Message"]
        with urllib.request.urlopen(f"{cramped.url}/_lambent/health", timeout=10) as health:
            assert health.status == 200
        # Nobody uses it now: it goes, its disc with it, and there is room again.
        seen(lambda: os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize > 16 * 1_048_576)
        assert seen(lambda: ended(lambda: clients.invoke(other, 2)) is None)
        assert clients.invoke(greedy, 5)[1] == "written"
