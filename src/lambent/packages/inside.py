"""Paths as a sandbox sees them, looked up on the host: what a link in a tree says never leads anywhere else."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

LINKS_MAX = 40
"""Links followed on the way to one file; the kernel's own limit."""


def find_file(trees: Mapping[str, Path], path: str) -> Path | None:
    """The regular file that a program inside finds at `path`; None: there is none, or it lies outside of `trees`.

    trees: directories on the host by where they are mounted, such as /var/task. path: absolute.
    """
    waiting = path.split("/")[::-1]
    done: list[str] = []
    links = 0
    while waiting:
        part = waiting.pop()
        if part in ("", "."):
            continue
        if part == "..":
            done = done[:-1]
            continue
        done.append(part)
        here = _on_host(trees, done)
        if here is None:
            continue
        try:
            mode = here.lstat().st_mode
        except OSError:
            return None
        if stat.S_ISLNK(mode):
            links += 1
            if links > LINKS_MAX:
                return None
            to = os.readlink(here)
            done = [] if to.startswith("/") else done[:-1]
            waiting += to.split("/")[::-1]
        elif waiting and not stat.S_ISDIR(mode):
            return None
    found = _on_host(trees, done)
    return found if found is not None and stat.S_ISREG(found.lstat().st_mode) else None


def _on_host(trees: Mapping[str, Path], parts: list[str]) -> Path | None:
    """Where these components lie, of which all but the last are known to be no links."""
    path = "/" + "/".join(parts)
    for mounted, tree in trees.items():
        if path == mounted or path.startswith(mounted + "/"):
            return Path(f"{tree}{path[len(mounted) :]}")
    return None
