"""The server gives up root between starting the spawner and opening the driver."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.contracts.sandbox_world import made_place, wait_until_gone

from lambent.sandbox.groups import find_groups

ROOT = Path(__file__).resolve().parents[3]

SERVER = """
import asyncio, os, sys
from pathlib import Path
sys.path[:0] = [{root!r} + "/src", {root!r}]
from lambent.sandbox.choose import prepare
from lambent.sandbox.port import Image
from tests.contracts.sandbox_world import CODE, LIMITS, World
place = Path(sys.argv[1])
prepared = prepare(sys.argv[2], instance=sys.argv[3], packages_root=place / "packages", images=(Image("base", ()),),
                   state_dir=place / "state", run_as=(65534, 65534), binary=place / "lambent-launcher")
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
world = World.__new__(World)
world.kind = prepared.kind
async def body():
    world.driver = prepared.open()
    sandbox = await world.bound()
    ended, text = await world.output(sandbox, "/bin/sh", "-c", "cat code.txt; exit 3")
    usage = sandbox.usage()
    by_itself = sandbox.freeze_now(), sandbox.thaw_now()
    await sandbox.freeze()
    await sandbox.thaw()
    await sandbox.freeze()
    await sandbox.reset()
    await sandbox.destroy()
    await world.driver.close()
    print(os.getuid(), ended.status, text.strip(), usage.memory_peak_bytes > 0, *by_itself)
asyncio.run(body())
"""


@pytest.mark.parametrize("kind", ["container", "rootless", "confined"])
def test_an_ordinary_user_drives_the_spawner(kind: str) -> None:
    """In the container tier it freezes and thaws by itself, where there is a control group for it."""
    if os.geteuid() != 0:
        pytest.skip("only root has something to give up")
    with made_place() as place:
        instance = f"dropped-{os.getpid()}"
        done = subprocess.run(
            [sys.executable, "-c", SERVER.format(root=str(ROOT)), str(place), kind, instance],
            capture_output=True,
            text=True,
            check=False,
        )
        groups = find_groups(
            Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text(), writable=True
        )
        has_freezer = groups.version == 2 or groups.directory("freezer") is not None
        by_itself = kind == "container" and has_freezer
        assert (done.stdout, done.stderr) == (f"65534 3 the code True {by_itself} {by_itself}\n", "")
        assert not wait_until_gone(place, instance)
