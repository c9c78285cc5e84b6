"""What this machine has to run functions with, found as the product finds it."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from tests.support import alone

from lambent.runtimes.discovery import Places, scan

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "machine"
SUFFIX = {"nodejs": ".x", "python": ""}


@functools.cache
def runtimes() -> frozenset[str]:
    """Identifiers of the runtimes that need no installation; looked up once for each process, 0.5 s the first time ever."""
    with alone(CACHE):
        found = scan(Places(os.environ["PATH"], Path.home(), CACHE / "installed"), CACHE / "discovered.json")
    return frozenset(f"{one.family}{one.version}{SUFFIX.get(one.family, '')}" for one in found)


def lacks(runtime: str) -> bool:
    """Whether it is one for an interpreter that is not here."""
    return runtime.startswith(tuple(SUFFIX)) and runtime not in runtimes()


def first(*wanted: str) -> str:
    """The first that is here; if none is, the first, whose tests then skip and say so."""
    return next((one for one in wanted if not lacks(one)), wanted[0])


def file_system(path: str | Path) -> str:
    """The kind of file system that holds a path: ext4, tmpfs, overlay."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split()[2] == wanted:
            return source.split()[0]
    return "unknown"


NODE_RUNTIME = first("nodejs20.x", "nodejs22.x", "nodejs24.x", "nodejs18.x")
"""Of functions for which any Node.js is as good as another."""
SNAPSTART_RUNTIME = first("python3.12", "python3.13", "python3.14")
"""The oldest here whose versions can have SnapStart."""
