"""What this machine has to run functions with, found as the product finds it."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from tests.support import alone

from lambent.runtimes.discovery import Places, scan
from lambent.runtimes.service import Runtimes, machine_architecture

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "machine"


@functools.cache
def _runtimes() -> Runtimes:
    """Those that need no installation; looked up once for each process, 0.5 s the first time ever."""
    with alone(CACHE):
        found = scan(Places(os.environ["PATH"], Path.home(), CACHE / "installed"), CACHE / "discovered.json")
    return Runtimes(found, CACHE / "bootstraps", CACHE / "clients", machine_architecture())


def missing(runtime: str) -> str | None:
    """None where a function of it can run; else what to do, in the product's words."""
    return _runtimes().missing(runtime, machine_architecture())


def first(*wanted: str) -> str:
    """The first that is here; if none is, the first, whose tests then skip and say so."""
    return next((one for one in wanted if missing(one) is None), wanted[0])


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
