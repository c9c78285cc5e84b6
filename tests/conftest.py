"""Fixtures that every kind of test shares: nothing is left behind, and a running Lambent where one is needed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests import told

ROOT = Path(__file__).resolve().parent.parent
with contextlib.suppress(ImportError):
    import uvloop

    # It opens a pipe of its own when it is first used and keeps it; that is no test's.
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(asyncio.sleep(0))
START_LIMIT_S = 60.0
STOP_LIMIT_S = 30.0
GONE_LIMIT_S = 10.0
"""A process that was told to end needs a moment to be gone, on a busy machine a longer one."""


_kill, _killpg = os.kill, os.killpg


def _kill_one(pid: int, number: int) -> None:
    """A pid read as 0 is our own process group, -1 everybody: the whole run would end, and nothing would say why."""
    if pid <= 1 and number != 0:
        raise AssertionError(f"signal {number} to pid {pid}: that is nobody whom a test started")
    _kill(pid, number)


def _kill_one_group(group: int, number: int) -> None:
    if group <= 1 or group == os.getpgrp():
        raise AssertionError(f"signal {number} to process group {group}: that is nobody whom a test started")
    _killpg(group, number)


os.kill, os.killpg = _kill_one, _kill_one_group  # a pid is often read from /proc, where "nobody" is 0

LONG = (
    "tests/integration/project/",
    "tests/integration/runtimes_product/",
    "tests/parity/fuzz/",
    "tests/integration/hostile/",
)
"""Where tests lie that take minutes: they come first, so that no worker is left with one when all others are done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first, the many short ones last; within each as they were collected."""

    def rank(item: pytest.Item) -> tuple[int, int]:
        path = item.nodeid
        place = next((at for at, prefix in enumerate(LONG) if path.startswith(prefix)), len(LONG))
        is_slow = item.get_closest_marker("slow") is not None
        return (-1 if is_slow else place, path.startswith("tests/unit/"))

    items.sort(key=rank)


def _children() -> set[int]:
    """Direct children of this process that are not zombies."""
    found: set[int] = set()
    for thread in os.listdir("/proc/self/task"):
        try:
            found.update(map(int, Path(f"/proc/self/task/{thread}/children").read_text().split()))
        except OSError:
            continue
    return {pid for pid in found if not _is_zombie(pid)}


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _descriptors() -> dict[int, str]:
    found = {}
    for entry in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{entry}")
        except OSError:
            continue
        # libffi's later releases open their own file when ctypes is imported, and keep it.
        if not target.startswith(("/proc/", "anon_inode:[eventpoll]", "/dev/")) and "/libffi.so" not in target:
            found[int(entry)] = target
    return found


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test: no child process and no descriptor that was not there before."""
    if request.node.get_closest_marker("leaves_session_state") is not None:
        yield
        return
    children, descriptors = _children(), _descriptors()
    yield
    deadline = time.monotonic() + GONE_LIMIT_S
    left: set[int] = set()
    while time.monotonic() < deadline:
        left = _children() - children
        if not left:
            break
        time.sleep(0.01)  # a process that was told to end needs a moment to be gone
    assert not left, f"processes left behind: {[_command(pid) for pid in left]}"
    new = _new_descriptors(descriptors)
    if new:
        gc.collect()  # what only a cycle keeps is not left behind
        new = _new_descriptors(descriptors)
    assert not new, f"descriptors left behind: {new}"


def _new_descriptors(before: dict[int, str]) -> dict[int, str]:
    return {fd: target for fd, target in _descriptors().items() if before.get(fd) != target}


def _command(pid: int) -> str:
    try:
        return f"{pid} " + Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return str(pid)


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A Lambent that runs as a process of its own."""

    url: str
    data_dir: Path
    process: subprocess.Popen[bytes]
    log: Path
    tier: str

    def stop(self) -> int:
        """Ask it to end and wait; answers its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not stop:\n{self.log.read_text()}") from None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections.extend(told.sections())
    return report


def start_server(
    data_dir: Path, *arguments: str, env: dict[str, str] | None = None, within: tuple[str, ...] = ()
) -> RunningServer:
    """Run `lambent up` on a free port and wait until it answers. within: a command that runs another."""
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    log = data_dir.parent / f"{data_dir.name}.log"
    ready = data_dir.parent / f"{data_dir.name}.ready"
    ready.unlink(missing_ok=True)
    command = [*within, sys.executable, "-m", "lambent", "up", "--port", "0", "--data-dir", str(data_dir)]
    command += ["--ready-file", str(ready)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LAMBENT_"))}
    environment |= {"PYTHONPATH": str(ROOT / "src"), **(env or {})}
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*command, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, cwd=ROOT
        )
    deadline = time.monotonic() + START_LIMIT_S
    while not (ready.exists() and ready.stat().st_size):
        if process.poll() is not None:
            raise AssertionError(f"the server ended with {process.returncode}:\n{log.read_text()}")
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise AssertionError(f"the server was not ready in {START_LIMIT_S} s:\n{log.read_text()}")
        time.sleep(0.01)  # the file is the event; a file can't be awaited
    facts = json.loads(ready.read_text())
    urllib.request.urlopen(f"{facts['endpoint']}/_lambent/health", timeout=10).close()
    told.started.append((log, data_dir))
    return RunningServer(facts["endpoint"], data_dir, process, log, facts["tier"])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One Lambent for all tests that do not need their own; the best tier that this machine gives."""
    running = start_server(tmp_path_factory.mktemp("lambent") / "data")
    yield running
    assert running.stop() == 0, running.log.read_text()


@pytest.fixture(scope="session")
def endpoint(server: RunningServer) -> str:
    """URL of a running Lambent."""
    return server.url
