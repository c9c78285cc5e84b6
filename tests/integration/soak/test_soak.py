"""A short soak finds nothing, and what counts would see what is left."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.soaking.__main__ import soak
from tests.soaking.counting import GROUPS_KEPT_MAX, MEMORY_GROWTH_MB_MAX, Holdings, holdings

INVOCATIONS = 2_000
SEED = 20_261_126
SETTINGS = ("--set", "sandbox.blanks=4", "--set", "sandbox.waiting_max=4")
"""As many runtimes wait after a soak as before it: nobody waits until demand is forgotten."""
NOTHING = Holdings(1, 1, 1, 1, 1, 1, 1, 1)


@pytest.mark.timeout(300)
def test_two_thousand_invocations_leave_nothing() -> None:
    lines, findings = soak(INVOCATIONS, SEED, *SETTINGS, warm_up=500, still_s=2.0)
    assert findings == [], "\n".join(lines + findings)


def test_each_thing_that_is_left_is_told() -> None:
    for name in ("processes", "namespaces", "mounts", "groups", "loops", "descriptors", "files"):
        (line,) = NOTHING.left(replace(NOTHING, **{name: 2}))
        assert line == f"1 {name} are left"
    assert NOTHING.left(replace(NOTHING, memory_kb=MEMORY_GROWTH_MB_MAX * 1_024)) == []
    assert len(NOTHING.left(replace(NOTHING, memory_kb=2 + MEMORY_GROWTH_MB_MAX * 1_024))) == 1
    assert NOTHING.left(NOTHING) == []


def test_a_process_with_its_descriptors_and_files_is_counted() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        (data_dir / "instance").write_text("nobody-has-this-name")
        before = holdings(os.getpid(), data_dir)
        (data_dir / "spawner").mkdir()
        (data_dir / "spawner" / "image").touch()
        one, other = socket.socketpair()
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        after = holdings(os.getpid(), data_dir)
        child.communicate(b"\n")
        one.close()
        other.close()
    assert after.processes == before.processes + 1
    assert after.descriptors >= before.descriptors + 2
    assert after.files == before.files + 1


def test_what_waits_for_the_next_counts_from_one_too_many(tmp_path: Path) -> None:
    hierarchy = Path("/sys/fs/cgroup/memory")
    if os.getuid() != 0 or not hierarchy.is_dir():
        pytest.skip("control groups of version 1, and root, are needed")
    mark = f"count-{os.getpid()}"
    (tmp_path / "instance").write_text(mark)
    above = hierarchy / f"lambent-{mark}"
    above.mkdir()
    try:
        counts = []
        for number in range(GROUPS_KEPT_MAX + 2):
            counts.append(holdings(os.getpid(), tmp_path).groups)
            (above / f"s-{number:x}").mkdir()
    finally:
        for group in (*above.glob("s-*"), above):
            group.rmdir()
    assert counts == [GROUPS_KEPT_MAX] * (GROUPS_KEPT_MAX + 1) + [GROUPS_KEPT_MAX + 1]
