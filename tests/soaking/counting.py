"""What a server holds on this machine: processes, namespaces, mounts, control groups, discs, descriptors, memory, files."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

MEMORY_GROWTH_MB_MAX = 24
"""Of the server and its spawner together: allocators keep pages, leaks keep growing."""
SPAWNER_H = Path(__file__).resolve().parents[2] / "src" / "lambent" / "launcher" / "spawner.h"
GROUPS_KEPT_MAX, NETS_KEPT_MAX = (
    int(re.search(rf"#define {name} (\d+)u", SPAWNER_H.read_text())[1])  # type: ignore[index]
    for name in ("GROUPS_KEPT_MAX", "NETS_KEPT_MAX")
)
"""Control groups, in each hierarchy, and network namespaces that wait for the next sandbox. How many of them do depends on
how many sandboxes there ever were at once; so they count as if all places were taken, and one more counts as one more."""
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


@dataclass(frozen=True)
class Holdings:
    """Counts at one moment, sandboxes at rest."""

    processes: int
    namespaces: int
    mounts: int
    """Of the machine and of every mount namespace of the server's processes."""
    groups: int
    """In all hierarchies; those that are kept for the next as many as may be kept."""
    loops: int
    descriptors: int
    """Of all processes of the server that are no sandbox's; namespaces that are kept as many as may be kept."""
    memory_kb: int
    """Resident, of the same."""
    files: int
    """In the data directory without what is written to last: records, databases, packages."""

    def lines(self, after: Holdings) -> list[str]:
        mine, others = asdict(self), asdict(after)
        return [f"{name:<12} {mine[name]:>10} {others[name]:>10} {others[name] - mine[name]:>+9}" for name in mine]

    def left(self, after: Holdings) -> list[str]:
        """What is more than before, a line for each; a little memory is nobody's leak."""
        mine, others = asdict(self), asdict(after)
        found = [
            f"{others[name] - mine[name]} {name} are left"
            for name in mine
            if name != "memory_kb" and others[name] > mine[name]
        ]
        if after.memory_kb - self.memory_kb > MEMORY_GROWTH_MB_MAX * 1_024:
            found.append(f"{(after.memory_kb - self.memory_kb) // 1_024} MB of memory are left")
        return found


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def _is_sandboxed(pid: int, mark: str) -> bool:
    """Whether a process runs in a sandbox's own group; the spawner and its helpers do not."""
    try:
        return f"{mark}/s-" in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return True


def _descriptors(pid: int) -> tuple[int, int]:
    """Of one process: those of network namespaces, and all others."""
    nets = others = 0
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            is_net = os.readlink(entry.path).startswith("net:")
            nets, others = nets + is_net, others + (not is_net)
    return nets, others


def _groups(directory: str) -> tuple[int, int]:
    """Of all below: those of sandboxes in which nothing runs, and all others."""
    empty = others = 0
    for place, inner, _ in os.walk(directory):
        if place == directory:
            continue
        with contextlib.suppress(OSError):
            waits = os.path.basename(place).startswith("s-") and not inner
            is_empty = waits and not Path(place, "cgroup.procs").read_text()
            empty, others = empty + is_empty, others + (not is_empty)
    return empty, others


def holdings(pid: int, data_dir: Path) -> Holdings:
    """Everything that the server `pid` on `data_dir` holds now."""
    mark = f"lambent-{(data_dir / 'instance').read_text().strip()}"
    pids = family(pid)
    own = [one for one in pids if not _is_sandboxed(one, mark)]
    namespaces, mounts_by_namespace = set(), {}
    nets = descriptors = memory_kb = 0
    for one in pids:
        with contextlib.suppress(OSError):
            namespaces |= {os.readlink(f"/proc/{one}/ns/{kind}") for kind in NAMESPACES}
            text = Path(f"/proc/{one}/mountinfo").read_text()
            mounts_by_namespace[os.readlink(f"/proc/{one}/ns/mnt")] = text.count("\n")
    for one in own:
        with contextlib.suppress(OSError):
            of_nets, others = _descriptors(one)
            nets, descriptors = nets + of_nets, descriptors + others
            status = Path(f"/proc/{one}/status").read_text()
            memory_kb += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    groups = 0
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        directory = os.path.join(line.split()[4], mark)
        if " - cgroup" in line and os.path.isdir(directory):
            empty, others = _groups(directory)
            groups += max(empty, 0 if " - cgroup2 " in line else GROUPS_KEPT_MAX) + others
    loops = 0
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            loops += str(data_dir) in backing.read_text()
    scratch = sum(len(files) for _, _, files in os.walk(data_dir / "spawner"))
    return Holdings(
        processes=len(pids),
        namespaces=len(namespaces),
        mounts=sum(mounts_by_namespace.values()),
        groups=groups,
        loops=loops,
        descriptors=max(nets, NETS_KEPT_MAX) + descriptors,
        memory_kb=memory_kb,
        files=scratch,
    )


def settled(pid: int, data_dir: Path) -> tuple[int, ...]:
    """What of it must stand still before it is counted."""
    one = holdings(pid, data_dir)
    return one.processes, one.groups, one.descriptors
