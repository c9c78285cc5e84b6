"""Where sandboxes' control groups may go on this machine; read-only but for version 2's leaf group.

`find_groups` reads `/proc/self/mountinfo` and `/proc/self/cgroup` (both given, so that a test can give others) and
answers directories, never assumptions about `/sys/fs/cgroup`. Groups are made below the caller's own group, so that a
service's limits hold for what it starts. Source: the kernel's cgroup v1 and v2 documentation.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

WANTED_V1 = ("memory", "cpu", "cpuacct", "pids", "freezer")
WANTED_V2 = ("memory", "cpu", "pids")
LEAF = "lambent-server"


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One directory in which the instance's group is made, and what it controls."""

    path: str
    controllers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups to use: version 1, 2, or 0 for none; `missing` says in sentences what is not limited and why."""

    version: int
    hierarchies: tuple[Hierarchy, ...]
    missing: tuple[str, ...] = ()

    def directory(self, controller: str) -> str | None:
        """The directory of the hierarchy that has this controller, or None."""
        return next((h.path for h in self.hierarchies if controller in h.controllers), None)


NO_GROUPS = Groups(
    0,
    (),
    (
        "Memory, CPU and processes of a sandbox are limited per process only (no writable cgroup): start Lambent "
        "with `systemd-run --user --scope -p Delegate=yes lambent up`, or as root.",
    ),
)


@dataclass(frozen=True, slots=True)
class _Mount:
    root: str
    point: str
    kind: str
    options: tuple[str, ...]


def _unescape(text: str) -> str:
    return text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


def _mounts(mountinfo: str) -> list[_Mount]:
    found = []
    for line in mountinfo.splitlines():
        words = line.split()
        dash = words.index("-")
        found.append(_Mount(_unescape(words[3]), _unescape(words[4]), words[dash + 1], tuple(words[-1].split(","))))
    return [mount for mount in found if mount.kind in ("cgroup", "cgroup2")]


def _memberships(cgroup: str) -> dict[str, str]:
    """Controller (or "" for version 2) to the caller's own group in that hierarchy."""
    own = {}
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            own[controller] = path
    return own


def _own_directory(mount: _Mount, path: str) -> str:
    """The caller's group as a path; the mount's root where the group is not visible below it (containers)."""
    inside = path if mount.root == "/" else path.removeprefix(mount.root) if path.startswith(mount.root) else "/"
    candidate = os.path.normpath(f"{mount.point}/{inside}")
    visible = os.path.isdir(candidate) and candidate.startswith(mount.point)
    return candidate if visible else mount.point


def _find_v1(mounts: list[_Mount], own: dict[str, str]) -> tuple[Hierarchy, ...]:
    found: dict[str, tuple[str, ...]] = {}
    for mount in mounts:
        controllers = tuple(name for name in WANTED_V1 if name in mount.options)
        if mount.kind == "cgroup" and controllers:
            found.setdefault(_own_directory(mount, own.get(controllers[0], "/")), controllers)
    return tuple(Hierarchy(path, controllers) for path, controllers in found.items())


def _words(path: str) -> list[str]:
    try:
        return Path(path).read_text().split()
    except OSError:
        return []


def _enable(directory: str, wanted: tuple[str, ...]) -> bool:
    """Give the children of `directory` these controllers."""
    try:
        Path(directory, "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))
    except OSError:
        return False
    return True


def _move_into_leaf(directory: str, pid: int) -> bool:
    """A group with processes cannot have controlled children: this process, if it is alone, moves one down."""
    if _words(f"{directory}/cgroup.procs") != [str(pid)]:
        return False
    try:
        leaf = Path(directory, LEAF)
        leaf.mkdir(exist_ok=True)
        (leaf / "cgroup.procs").write_text(str(pid))
    except OSError:
        return False
    return True


def _own_v2(mount: _Mount, own: dict[str, str]) -> str:
    mine = _own_directory(mount, own.get("", "/"))
    return os.path.dirname(mine) if os.path.basename(mine) == LEAF else mine


def _prepare_v2(mount: _Mount, own: dict[str, str], pid: int) -> Hierarchy | None:
    mine = _own_v2(mount, own)
    for directory in dict.fromkeys((mine, mount.point)):
        there = _words(f"{directory}/cgroup.controllers")
        wanted = tuple(name for name in WANTED_V2 if name in there)
        if "memory" not in wanted or not os.access(directory, os.W_OK):
            continue
        enabled = set(wanted) <= set(_words(f"{directory}/cgroup.subtree_control"))
        if enabled or _enable(directory, wanted) or (_move_into_leaf(directory, pid) and _enable(directory, wanted)):
            return Hierarchy(directory, wanted)
    return None


def find_groups(mountinfo: str, cgroup: str, *, writable: bool = True, pid: int | None = None) -> Groups:
    """The best control groups for a caller in these mounts and memberships.

    mountinfo, cgroup: the texts of /proc/self/mountinfo and /proc/self/cgroup. writable: whether to look for version 1
    at all (only root can use it). Version 1 is taken where it has the memory controller, else version 2.
    """
    mounts = _mounts(mountinfo)
    own = _memberships(cgroup)
    v1 = _find_v1(mounts, own) if writable else ()
    v1 = tuple(h for h in v1 if os.access(h.path, os.W_OK))
    have = {name for h in v1 for name in h.controllers}
    absent_v1 = tuple(
        f"The {name} cgroup is not mounted or not writable: mount -t cgroup -o {name} {name} /sys/fs/cgroup/{name}"
        for name in WANTED_V1
        if name not in have
    )
    if "memory" in have:
        return Groups(1, v1, absent_v1)
    for mount in mounts:
        if mount.kind == "cgroup2" and (found := _prepare_v2(mount, own, pid or os.getpid())) is not None:
            absent = tuple(
                f"The {name} controller is not delegated here: systemctl edit the service with Delegate=yes"
                for name in WANTED_V2
                if name not in found.controllers
            )
            if found.path != _own_v2(mount, own):
                absent = (
                    f"Sandboxes' control groups stand at {found.path}, outside of the server's own, which it shares with other "
                    "processes or may not change: its service's limits do not hold for them: start it alone in its group, "
                    "as with `systemd-run --scope -p Delegate=yes lambent up`, not from a script that waits for it.",
                    *absent,
                )
            return Groups(2, (found,), absent)
    if v1:
        return Groups(1, v1, absent_v1)
    return NO_GROUPS
