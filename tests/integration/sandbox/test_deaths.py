"""Whoever is killed, nothing is left within a second: no process, mount, cgroup or loop device."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.sandbox_world import World, helpers, leftovers, made_place, made_world, wait_until_gone
from tests.patience import PATIENCE

from lambent.sandbox.port import SandboxError

ROOT = Path(__file__).resolve().parents[3]
RESTART_S_MAX = 20.0 * PATIENCE

SERVER = """
import asyncio, os, sys
from pathlib import Path
sys.path[:0] = [{root!r} + "/src", {root!r}]
from tests.contracts.sandbox_world import World
world = World(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[2]) / "lambent-launcher")
async def body():
    for _ in range(3):
        await world.start(await world.bound(), "/bin/sh", "-c", "sleep 600 & sleep 600")
    frozen = await world.bound()
    await world.start(frozen, "/bin/sleep", "600")
    await frozen.freeze()
world.run(body())
print(world.instance, world.spawner.process.pid, world.spawner.groups.version, flush=True)
world.run(asyncio.sleep(60))
"""


@pytest.fixture(params=["container", "rootless", "confined"])
def kind(request: pytest.FixtureRequest) -> str:
    try:
        with made_world(request.param):
            pass
    except SandboxError as error:
        pytest.skip(f"the {request.param} tier does not work here: {error}")
    return request.param


@pytest.fixture
def place() -> Iterator[Path]:
    with made_place() as made:
        yield made


def running_server(kind: str, place: Path) -> tuple[subprocess.Popen[str], str, int]:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER.format(root=str(ROOT)), kind, str(place)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    instance, launcher, version = server.stdout.readline().split()
    found = leftovers(place, instance)
    assert found.processes  # the look finds what it looks for
    assert bool(found.groups) == (version != "0")
    return server, instance, int(launcher)


def end(server: subprocess.Popen[str]) -> None:
    server.kill()
    server.wait()
    assert server.stdout is not None
    server.stdout.close()


def test_a_killed_server_leaves_nothing(kind: str, place: Path) -> None:
    server, instance, _ = running_server(kind, place)
    end(server)
    assert not wait_until_gone(place, instance)


def test_a_killed_launcher_leaves_nothing(kind: str, place: Path) -> None:
    server, instance, launcher = running_server(kind, place)
    try:
        os.kill(launcher, signal.SIGKILL)
        assert not wait_until_gone(place, instance)
    finally:
        end(server)


def test_a_request_to_stop_is_the_servers_to_obey(kind: str) -> None:
    """A service manager signals everybody; the server drains, and needs its sandboxes for that."""
    with made_world(kind) as world:
        assert world.spawner is not None
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(world.spawner.process.pid, number)

        async def body() -> None:
            ended, _ = await world.output(await world.bound(), "/bin/true")
            assert ended.status == 0

        world.run(body())


def sandbox_groups(place: Path, instance: str) -> set[tuple[int, int]]:
    """The groups of single sandboxes, by what tells two of one name apart."""
    above = [Path(group) for group in leftovers(place, instance).groups]
    found = [group.stat() for parent in above for group in parent.glob("s-*")]
    return {(status.st_dev, status.st_ino) for status in found}


def test_a_launcher_killed_with_its_warden_is_cleared_up_after_at_the_next_start(place: Path) -> None:
    server, instance, _ = running_server("container", place)
    wardens = helpers(place, instance, "lambent-warden", 1)
    before = leftovers(place, instance)
    for pid in (*wardens, *before.processes):
        os.kill(pid, signal.SIGKILL)
    end(server)
    # Nobody is left to remove the groups; a frozen process even keeps its kill pending until somebody thaws it.
    left = sandbox_groups(place, instance)
    assert left

    restarted = World("container", place, place / "lambent-launcher", instance=instance)
    try:
        after = leftovers(place, instance)
        assert not after.processes & before.processes
        assert not left & sandbox_groups(place, instance)  # the blank that was tried has one of its own
    finally:
        restarted.close()
    assert not wait_until_gone(place, instance, RESTART_S_MAX)


def test_another_instances_groups_are_left_alone(place: Path) -> None:
    with made_world("container") as first:
        first.run(first.bound())
        second = World("container", place, place / "lambent-launcher", instance=f"second-{os.getpid()}")
        second.run(second.bound())
        second.close()

        async def still_there() -> None:
            sandbox = await first.bound()
            ended, _ = await first.output(sandbox, "/bin/true")
            assert ended.status == 0

        first.run(still_there())


def test_a_killed_init_is_an_exit_of_its_programs(kind: str) -> None:
    """As when the kernel's out-of-memory killer takes pid 1 itself."""
    with made_world(kind) as world:

        async def body() -> None:
            sandbox = await world.bound()
            started = await world.start(sandbox, "/bin/sleep", "60")
            os.kill(sandbox.init_pid, signal.SIGKILL)  # type: ignore[attr-defined]
            assert (await started.ended).signal == signal.SIGKILL
            os.close(started.log)
            with pytest.raises(SandboxError):
                await sandbox.reset()
            await sandbox.destroy()

        world.run(body())
