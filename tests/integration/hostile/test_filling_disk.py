"""A data directory on a disk that fills up: what would be lost is refused, what runs goes on, and space heals it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import RunningServer, start_server
from tests.integration.hostile.conftest import SPARING, WITNESS, deploy_witness
from tests.integration.hostile.hostile_world import Reply, call, health, invoke
from tests.support import PYTHON_RUNTIME, ROLE, client, package

NOTICE_LIMIT_S = 20.0
DISK_MB, LOW_WATER_MB = 96, 32
INVOKE = f"/2015-03-31/functions/{WITNESS}/invocations"


@pytest.fixture
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk of DISK_MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    base = tmp_path_factory.mktemp("small-disk")
    for folder in (base, *base.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    disk = base / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=755", "lambent-test", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def cramped(small_disk: Path) -> Iterator[RunningServer]:
    """A server on the small disk."""
    running = start_server(small_disk / "data", *SPARING, "--set", f"storage.disk_low_water_mb={LOW_WATER_MB}")
    yield running
    assert running.stop() == 0, running.log.read_text()[-4_000:]


def create(url: str, name: str) -> Reply:
    code = b64encode(package({"app.py": f"# {name}\ndef handler(event, context):\n    return 'well'\n"})).decode()
    document = {"FunctionName": name, "Runtime": PYTHON_RUNTIME, "Handler": "app.handler", "Role": ROLE}
    return call(url, "POST", "/2015-03-31/functions", json.dumps({**document, "Code": {"ZipFile": code}}).encode())


def fill_to_the_last_block(filler: Path) -> None:
    with filler.open("ab", buffering=0) as out:
        while True:
            try:
                out.write(bytes(65_536))
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    return
                raise


def until_refused(disk: Path, filler: Path, ask: Callable[[], Reply]) -> Reply:
    """The answer of a server below its low-water mark: idle environments give room back meanwhile, which is taken again."""
    deadline = time.monotonic() + NOTICE_LIMIT_S
    while True:
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - (LOW_WATER_MB // 2) * 1_048_576
        if free > 0:
            with filler.open("ab") as out:
                os.posix_fallocate(out.fileno(), out.tell(), free)
        answer = ask()
        if answer.status >= 500 or time.monotonic() > deadline:
            return answer


def send_event(url: str, *, until: int) -> Reply:
    """Send an event until the answer has this status: the server looks at the disk once in a second."""
    deadline = time.monotonic() + NOTICE_LIMIT_S
    while True:
        answer = call(url, "POST", INVOKE, b"{}", {"X-Amz-Invocation-Type": "Event"})
        if answer.status == until or time.monotonic() > deadline:
            assert answer.status == until
            return answer


def test_a_disk_that_fills_up(cramped: RunningServer, small_disk: Path) -> None:
    made = client("lambda", cramped.url)
    deploy_witness(made)
    made.close()
    assert invoke(cramped.url, WITNESS).status == 200
    filler = small_disk / "filler"
    names = [f"no-room-{number}" for number in range(1_000)]
    refused = until_refused(small_disk, filler, lambda: create(cramped.url, names.pop()))
    assert (refused.status, refused.code, refused.document["Type"]) == (500, "ServiceException", "Service")
    assert "disk" in (refused.message or "")
    assert call(cramped.url, "GET", f"/2015-03-31/functions/no-room-{len(names)}").status == 404
    headers = {"X-Amz-Invocation-Type": "Event"}
    event = until_refused(small_disk, filler, lambda: call(cramped.url, "POST", INVOKE, b"{}", headers))
    assert (event.status, event.code) == (500, "ServiceException"), (
        "an event is accepted when it is safe, or not at all"
    )
    assert health(cramped.url)["status"] == "ok"
    assert call(cramped.url, "GET", f"/2015-03-31/functions/{WITNESS}").status == 200

    fill_to_the_last_block(filler)
    full = invoke(cramped.url, WITNESS)
    assert (full.status, full.code) in ((200, ""), (500, "ServiceException")), full
    assert health(cramped.url)["status"] == "ok"

    filler.unlink()
    assert create(cramped.url, "room-again").status == 201
    deadline = time.monotonic() + NOTICE_LIMIT_S
    while (answer := invoke(cramped.url, WITNESS)).status == 500 and time.monotonic() < deadline:
        assert answer.code == "ServiceException"  # a disk that failed is tried again after a second
    assert answer.body == b'"well"', answer
    assert send_event(cramped.url, until=202).body == b""
