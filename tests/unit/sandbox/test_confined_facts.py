"""The confined tier's decisions: which users, which ways, what is said of this kernel's landlock."""

from __future__ import annotations

from pathlib import Path

import pytest

from lambent.sandbox.confined import (
    IDS_HIGH,
    IDS_LOW,
    IDS_OF_A_SERVER,
    ConfinedSpawner,
    _missing,
    _open_the_way,
    barrier,
    user_ids,
)
from lambent.sandbox.groups import Groups, Hierarchy
from lambent.sandbox.port import Command, Image, Mount, SandboxError
from lambent.sandbox.published import localized
from lambent.sandbox.rootfs import confined_records
from lambent.sandbox.spawner import IDS_STRIDE

NO_GROUPS = Groups(0, (), ("said by others",))
WHOLE = "         0          0 4294967295\n"
ROOTLESS_DOCKER = "         0       1000          1\n         1     100000      65536\n"


def test_with_all_ids_functions_get_a_region_nobody_uses() -> None:
    base, stride, room = user_ids(WHOLE, "instance", 8_192)
    assert base >= 0x7000_0000
    assert (stride, room) == (IDS_STRIDE, 8_192)


def test_with_few_ids_there_is_room_for_fewer_sandboxes() -> None:
    assert user_ids(ROOTLESS_DOCKER, "instance", 8_192)[1:] == (2, 2_500)
    assert user_ids(ROOTLESS_DOCKER, "instance", 10)[1:] == (2, 10)


def test_servers_in_one_container_get_parts_that_do_not_overlap() -> None:
    parts = {user_ids(ROOTLESS_DOCKER, f"{number}", 8_192)[0] for number in range(100)}
    assert len(parts) == 8
    assert min(parts) == IDS_LOW
    assert max(parts) + IDS_OF_A_SERVER == IDS_HIGH
    assert all((part - IDS_LOW) % IDS_OF_A_SERVER == 0 for part in parts)


def test_with_too_few_ids_the_tier_is_refused() -> None:
    with pytest.raises(SandboxError, match="find user ids"):
        user_ids("0 1000 1\n", "instance", 10)


def test_each_slot_has_a_user_whatever_its_generation() -> None:
    spawner = ConfinedSpawner.__new__(ConfinedSpawner)
    spawner.ids_base, spawner.ids_stride = 20_000, 16
    assert [spawner.user(0x1_0000_0001), spawner.user(0x7_0000_0001), spawner.user(0x1_0000_0003)] == [
        20_001,
        20_001,
        20_033,
    ]


def said(landlock: int, groups: Groups = NO_GROUPS, *images: Image) -> str:
    return "\n".join(_missing(landlock, groups, images))


@pytest.mark.parametrize("landlock", [0, 1, 4, 6, 7])
def test_what_landlock_covers_and_what_not_is_said(landlock: int) -> None:
    words = said(landlock)
    assert ("this tier is no boundary" in words) == (landlock < 1)
    assert ("one TCP port" in words) == (landlock >= 4)
    assert ("whatever this container reaches" in words) == (landlock < 4)
    assert ("Abstract sockets" in words) == (landlock < 6)
    for always in ("TMPDIR", "command lines", "size of /tmp"):
        assert always in words
    spawner = ConfinedSpawner.__new__(ConfinedSpawner)
    spawner.landlock = landlock
    assert spawner.is_boundary == (landlock >= 6)


def test_each_sentence_names_what_would_change_it() -> None:
    for landlock in (0, 3, 7):
        for sentence in _missing(landlock, NO_GROUPS, ()):
            assert "docker run" in sentence or "use a kernel" in sentence


def test_control_groups_are_spoken_of_as_they_are() -> None:
    assert "No writable cgroup" in said(7)
    words = said(7, Groups(1, (Hierarchy("/x", ("memory",)),), ("the pids cgroup is absent",)))
    assert "No writable cgroup" not in words
    assert "the pids cgroup is absent" in words


def test_interpreters_behind_a_closed_door_are_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    closed = tmp_path / "closed"
    (closed / "python").mkdir(parents=True)
    closed.chmod(0o700)
    expected = barrier(closed / "python")
    assert expected is not None
    images = [Image(name, (Mount(str(closed / "python"), "/var/lang"),)) for name in ("python3.12", "python3.13")]
    (sentence,) = [one for one in _missing(7, NO_GROUPS, images) if "cannot start" in one]
    assert sentence.startswith("python3.12, python3.13 cannot start")
    assert f"chmod o+x {expected}" in sentence


def test_the_way_is_opened_through_our_own_folders_alone(tmp_path: Path) -> None:
    ours, foreign = tmp_path / "ours", tmp_path / "foreign"
    for folder in (ours, foreign):
        folder.mkdir(mode=0o750)
    _open_the_way((ours,), {ours.stat().st_uid})
    _open_the_way((foreign,), {foreign.stat().st_uid + 1})
    assert ours.stat().st_mode & 0o777 == 0o751  # to pass, not to list
    assert foreign.stat().st_mode & 0o777 == 0o750


def test_a_function_reads_nothing_private_of_the_machine() -> None:
    paths = [record[1] for record in confined_records(Image("base", ())) if record[0] == "bind"]
    assert "/usr" in paths
    assert not [
        path for path in paths if path.startswith(("/root", "/home", "/run", "/var", "/etc/shadow", "/etc/ssh"))
    ]
    assert "/etc" not in paths


def test_variables_that_are_set_stay() -> None:
    command = Command(["/bin/true"], {"TMPDIR": "/elsewhere", "A": "/tmp"}, "/tmp/x", None)
    found = localized(command, {"/tmp": "/state/s-1"}, [("TMPDIR", "/state/s-1")])
    assert (found.env, found.cwd) == ({"TMPDIR": "/elsewhere", "A": "/state/s-1"}, "/state/s-1/x")


def test_dockers_own_capabilities_are_what_the_imitation_keeps() -> None:
    """a80425fb is what `grep Cap /proc/self/status` says in a container of Docker's."""
    import importlib.util

    place = Path(__file__).resolve().parents[2] / "docker_profile.py"
    spec = importlib.util.spec_from_file_location("docker_profile", place)
    assert spec is not None
    assert spec.loader is not None
    profile = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(profile)
    assert sum(1 << number for number in profile.CAPABILITIES.values()) == 0xA80425FB
