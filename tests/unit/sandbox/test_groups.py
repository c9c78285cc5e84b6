"""Finding control groups in other machines' mounts, and the writes of both versions into a directory of plain files."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lambent.launcher import build as launcher_build
from lambent.sandbox.groups import Groups, Hierarchy, find_groups


def mount(point: Path, kind: str, options: str, root: str = "/") -> str:
    return f"30 20 0:26 {root} {point} rw,nosuid - {kind} cgroup rw,{options}\n"


def test_version_1_below_the_own_group(tmp_path: Path) -> None:
    for name in ("memory", "cpu,cpuacct", "pids", "freezer"):
        (tmp_path / name / "own").mkdir(parents=True)
    text = "".join(mount(tmp_path / name, "cgroup", name) for name in ("memory", "cpu,cpuacct", "pids", "freezer"))
    own = "4:memory:/own\n3:cpu,cpuacct:/own\n2:pids:/own\n1:freezer:/elsewhere\n0::/\n"
    found = find_groups(text, own)
    assert found.version == 1
    assert found.missing == ()
    assert found.hierarchies == (
        Hierarchy(str(tmp_path / "memory/own"), ("memory",)),
        Hierarchy(str(tmp_path / "cpu,cpuacct/own"), ("cpu", "cpuacct")),
        Hierarchy(str(tmp_path / "pids/own"), ("pids",)),
        Hierarchy(str(tmp_path / "freezer"), ("freezer",)),  # the own group is not visible here
    )
    assert found.directory("cpuacct") == str(tmp_path / "cpu,cpuacct/own")


def test_version_1_in_a_container_whose_mount_is_its_group(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    text = mount(tmp_path / "memory", "cgroup", "memory", root="/docker/abc")
    found = find_groups(text, "4:memory:/docker/abc\n")
    assert found.hierarchies == (Hierarchy(str(tmp_path / "memory"), ("memory",)),)
    assert any("freezer" in sentence for sentence in found.missing)


def test_version_1_without_memory_is_better_than_nothing(tmp_path: Path) -> None:
    (tmp_path / "pids").mkdir()
    found = find_groups(mount(tmp_path / "pids", "cgroup", "pids"), "2:pids:/\n")
    assert (found.version, found.hierarchies) == (1, (Hierarchy(str(tmp_path / "pids"), ("pids",)),))
    assert any("memory" in sentence for sentence in found.missing)


def v2(directory: Path, controllers: str, enabled: str = "", procs: str = "") -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "cgroup.controllers").write_text(controllers)
    (directory / "cgroup.subtree_control").write_text(enabled)
    (directory / "cgroup.procs").write_text(procs)


def test_version_2_where_controllers_are_given_on_already(tmp_path: Path) -> None:
    v2(tmp_path / "service", "cpu io memory pids", "cpu memory pids")
    found = find_groups(mount(tmp_path, "cgroup2", "nsdelegate"), "0::/service\n")
    assert found == Groups(2, (Hierarchy(str(tmp_path / "service"), ("memory", "cpu", "pids")),))


def test_version_2_enables_what_it_needs(tmp_path: Path) -> None:
    v2(tmp_path, "cpu memory pids")
    found = find_groups(mount(tmp_path, "cgroup2", "x"), "0::/\n")
    assert found.version == 2
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"


def test_version_2_names_what_is_not_delegated(tmp_path: Path) -> None:
    v2(tmp_path, "memory pids", "memory pids")
    found = find_groups(mount(tmp_path, "cgroup2", "x"), "0::/\n")
    assert found.hierarchies[0].controllers == ("memory", "pids")
    assert ["cpu" in sentence for sentence in found.missing] == [True]


def test_version_2_moves_this_process_into_a_leaf_where_the_group_is_not_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel refuses controllers to children of a group with processes (EBUSY); so does this one until it moved."""
    group = tmp_path / "scope"
    v2(group, "cpu memory pids", procs="4711\n")
    v2(tmp_path, "")
    write = Path.write_text

    def refusing(path: Path, text: str, *arguments: object, **options: object) -> int:
        if path.name == "cgroup.subtree_control" and not (group / "lambent-server" / "cgroup.procs").exists():
            raise OSError(16, "Device or resource busy")
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", refusing)
    found = find_groups(mount(tmp_path, "cgroup2", "x"), "0::/scope\n", pid=4711)
    assert found.hierarchies == (Hierarchy(str(group), ("memory", "cpu", "pids")),)
    assert (group / "lambent-server" / "cgroup.procs").read_text() == "4711"


def test_version_2_groups_outside_of_the_servers_own_are_said(tmp_path: Path) -> None:
    """A script that waits shares root's group with the server: the groups go to the top, where the service's limits end."""
    v2(tmp_path / "scope", "cpu memory pids", procs="4711\n4712\n")
    v2(tmp_path, "cpu memory pids", "cpu memory pids")
    (tmp_path / "scope" / "cgroup.subtree_control").unlink()
    (tmp_path / "scope" / "cgroup.subtree_control").mkdir()  # as refused as with EBUSY
    found = find_groups(mount(tmp_path, "cgroup2", "x"), "0::/scope\n", pid=4711)
    assert found.hierarchies == (Hierarchy(str(tmp_path), ("memory", "cpu", "pids")),)
    assert str(tmp_path) in found.missing[0]
    assert "Delegate=yes" in found.missing[0]
    own = find_groups(mount(tmp_path, "cgroup2", "x"), "0::/\n", pid=4711)
    assert own.hierarchies == found.hierarchies
    assert own.missing == ()


def test_no_groups_are_said_with_the_remedy(tmp_path: Path) -> None:
    v2(tmp_path, "hugetlb")
    found = find_groups(mount(tmp_path, "cgroup2", "x"), "0::/\n", writable=False)
    assert (found.version, found.hierarchies) == (0, ())
    assert "Delegate=yes" in found.missing[0]


# ---- the spawner's own writes ----


class Limits(ctypes.Structure):
    _fields_ = (
        ("memory_bytes", ctypes.c_uint64),
        ("cpu_quota_us", ctypes.c_uint32),
        ("processes_max", ctypes.c_uint32),
        ("descriptors_max", ctypes.c_uint32),
        ("tmp_mb", ctypes.c_uint32),
    )


class HierarchyC(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_int), ("above", ctypes.c_int), *((n, ctypes.c_bool) for n in ("memory", "cpu", "cpuacct", "pids", "freezer")))  # fmt: skip


class GroupsC(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_int),
        ("count", ctypes.c_uint32),
        ("server", ctypes.c_uint32),
        ("at", HierarchyC * 8),
        ("instance", ctypes.c_char * 64),
    )


class Failure(ctypes.Structure):
    _fields_ = (("step", ctypes.c_char_p), ("error", ctypes.c_int))


@pytest.fixture(scope="module")
def groups_c(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The launcher's group files as a library."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    out = tmp_path_factory.mktemp("groups") / "groups.so"
    here = Path(launcher_build.__file__).parent
    sources = [str(here / f"{name}.c") for name in ("base", "config", "groups", "groups_v1", "groups_v2")]
    subprocess.run([compiler, "-std=gnu11", "-shared", "-fPIC", "-o", str(out), *sources], check=True)
    library = ctypes.CDLL(str(out))
    library.group_oom_kills.restype = ctypes.c_uint64
    return library


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "s-1").mkdir()
    return tmp_path


def files(place: Path, **contents: str) -> None:
    for name, text in contents.items():
        (place / "s-1" / name.replace("__", ".")).write_text(text)


def opened(version: int, place: Path) -> tuple[GroupsC, int]:
    fd = os.open(place, os.O_RDONLY)
    groups = GroupsC(version=version, count=1)
    groups.at[0] = HierarchyC(fd, -1, True, True, True, True, True)
    return groups, fd


def read(place: Path, name: str) -> str:
    return (place / "s-1" / name).read_text()


LIMITS = Limits(128 << 20, 7235, 1024, 1024, 512)


def test_limits_of_version_2(groups_c: ctypes.CDLL, place: Path) -> None:
    files(place, memory__max="", memory__swap__max="", memory__oom__group="", cpu__max="", pids__max="")
    groups, fd = opened(2, place)
    failure = Failure()
    assert groups_c.group_limit(ctypes.byref(groups), b"s-1", None, ctypes.byref(LIMITS), ctypes.byref(failure)) == 0
    assert read(place, "memory.max") == str(128 << 20)
    assert read(place, "memory.swap.max") == "0"
    assert read(place, "memory.oom.group") == "0"
    assert read(place, "cpu.max") == "7235 100000"
    assert read(place, "pids.max") == "1024"
    files(place, cpu__max="")
    assert groups_c.group_set_cpu(ctypes.byref(groups), b"s-1", 0, ctypes.byref(failure)) == 0
    assert read(place, "cpu.max") == "max 100000"
    os.close(fd)


def test_limits_of_version_1(groups_c: ctypes.CDLL, place: Path) -> None:
    files(place, memory__limit_in_bytes="", memory__memsw__limit_in_bytes="", cpu__cfs_quota_us="", pids__max="")
    groups, fd = opened(1, place)
    failure = Failure()
    assert groups_c.group_limit(ctypes.byref(groups), b"s-1", None, ctypes.byref(LIMITS), ctypes.byref(failure)) == 0
    assert read(place, "memory.limit_in_bytes") == str(128 << 20)
    assert read(place, "memory.memsw.limit_in_bytes") == str(128 << 20)
    assert read(place, "cpu.cfs_quota_us") == "7235"
    files(place, cpu__cfs_quota_us="")
    assert groups_c.group_set_cpu(ctypes.byref(groups), b"s-1", 0, ctypes.byref(failure)) == 0
    assert read(place, "cpu.cfs_quota_us") == "-1"
    os.close(fd)


def test_a_kernel_without_swap_accounting_is_fine(groups_c: ctypes.CDLL, place: Path) -> None:
    for version, names in ((1, ("memory.limit_in_bytes", "cpu.cfs_quota_us")), (2, ("memory.max", "cpu.max"))):
        for name in (*names, "pids.max"):
            (place / "s-1" / name).write_text("")
        groups, fd = opened(version, place)
        failure = Failure()
        assert (
            groups_c.group_limit(ctypes.byref(groups), b"s-1", None, ctypes.byref(LIMITS), ctypes.byref(failure)) == 0
        )
        os.close(fd)


@pytest.mark.parametrize("version", [1, 2])
def test_a_missing_file_is_a_named_step(groups_c: ctypes.CDLL, place: Path, version: int) -> None:
    groups, fd = opened(version, place)
    failure = Failure()
    assert groups_c.group_limit(ctypes.byref(groups), b"s-1", None, ctypes.byref(LIMITS), ctypes.byref(failure)) == -1
    assert (failure.step, failure.error) == (b"limit the memory", 2)
    os.close(fd)


@pytest.mark.parametrize(
    ("version", "name", "text"),
    [
        (1, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
        (2, "memory.events", "low 0\nhigh 0\nmax 12\noom 4\noom_kill 3\noom_group_kill 0\n"),
    ],
)
def test_out_of_memory_kills_are_counted(
    groups_c: ctypes.CDLL, place: Path, version: int, name: str, text: str
) -> None:
    (place / "s-1" / name).write_text(text)
    groups, fd = opened(version, place)
    assert groups_c.group_oom_kills(ctypes.byref(groups), b"s-1") == 3
    os.close(fd)


# ---- a group that is used again ----

RENEWABLE = {
    "tasks": "",
    "memory__usage_in_bytes": "65536",
    "memory__limit_in_bytes": "old",
    "memory__memsw__limit_in_bytes": "old",
    "memory__max_usage_in_bytes": "9",
    "cpuacct__usage": "9",
    "cpu__cfs_quota_us": "9",
    "pids__max": "old",
    "freezer__state": "THAWED\n",
}
OTHERS = Limits(256 << 20, 0, 77, 1024, 512)


@pytest.mark.parametrize("version", [1, 2])
def test_what_stands_already_is_not_written(groups_c: ctypes.CDLL, place: Path, version: int) -> None:
    """A quota costs a walk over all groups of the machine: 440 us of processor time where 875 are."""
    groups, fd = opened(version, place)
    same, failure = ctypes.byref(LIMITS), Failure()
    assert (
        groups_c.group_limit(ctypes.byref(groups), b"s-1", same, same, ctypes.byref(failure)) == 0
    )  # no file is there
    files(place, cpu__cfs_quota_us="", cpu__max="")
    other_quota = Limits(LIMITS.memory_bytes, 28_943, LIMITS.processes_max, 1024, 512)
    assert (
        groups_c.group_limit(ctypes.byref(groups), b"s-1", same, ctypes.byref(other_quota), ctypes.byref(failure)) == 0
    )
    assert read(place, "cpu.cfs_quota_us" if version == 1 else "cpu.max").startswith("28943")
    os.close(fd)


def renewed(groups_c: ctypes.CDLL, place: Path, version: int, **changes: str) -> int:
    files(place, **{**RENEWABLE, **changes})
    groups, fd = opened(version, place)
    try:
        return groups_c.group_renew(ctypes.byref(groups), b"s-1", ctypes.byref(OTHERS), ctypes.byref(LIMITS))  # type: ignore[no-any-return]
    finally:
        os.close(fd)


def test_a_group_is_made_as_new(groups_c: ctypes.CDLL, place: Path) -> None:
    assert renewed(groups_c, place, 1) == 1
    assert read(place, "memory.limit_in_bytes") == str(128 << 20)
    assert read(place, "pids.max").startswith("1024")
    assert read(place, "cpu.cfs_quota_us") == "7235"
    assert (read(place, "memory.max_usage_in_bytes"), read(place, "cpuacct.usage")) == ("0", "0")


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"tasks": "4711\n"}, 0),  # not empty yet
        ({"memory__usage_in_bytes": "1048577"}, 0),  # its next owner would begin with it
        ({"memory__usage_in_bytes": "1048576"}, 1),
        ({"freezer__state": "FROZEN\n"}, -1),
        ({"freezer__state": "FREEZING\n"}, -1),
    ],
)
def test_a_group_that_is_not_as_new_is_not_kept(
    groups_c: ctypes.CDLL, place: Path, change: dict[str, str], verdict: int
) -> None:
    assert renewed(groups_c, place, 1, **change) == verdict


@pytest.mark.parametrize("name", ["tasks", "memory.usage_in_bytes", "memory.max_usage_in_bytes", "cpuacct.usage"])
def test_a_group_that_cannot_be_looked_at_is_not_kept(groups_c: ctypes.CDLL, place: Path, name: str) -> None:
    files(place, **RENEWABLE)
    (place / "s-1" / name).unlink()
    groups, fd = opened(1, place)
    same = ctypes.byref(LIMITS)
    assert groups_c.group_renew(ctypes.byref(groups), b"s-1", same, same) != 1
    os.close(fd)


def test_version_2_cannot_begin_a_peak_anew_for_its_reader(groups_c: ctypes.CDLL, place: Path) -> None:
    assert renewed(groups_c, place, 2) == -1
