"""What is written where, and what stays open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lambent.sandbox.freezer import OPEN_MAX, Freezer
from lambent.sandbox.groups import NO_GROUPS, Groups, Hierarchy

FILES = {1: ("freezer.state", b"FROZEN", b"THAWED"), 2: ("cgroup.freeze", b"1", b"0")}


def made(root: Path, version: int, groups: int = 1) -> Freezer:
    for number in range(groups):
        group = root / "lambent-one" / f"s-{number}"
        group.mkdir(parents=True)
        (group / FILES[version][0]).touch()
    controllers = ("freezer",) if version == 1 else ("memory", "cpu", "pids")
    return Freezer(Groups(version, (Hierarchy(str(root), controllers),)), "one")


@pytest.mark.parametrize("version", FILES)
def test_the_words_of_each_version(tmp_path: Path, version: int) -> None:
    freezer = made(tmp_path, version)
    name, frozen, thawed = FILES[version]
    file = tmp_path / "lambent-one" / "s-0" / name
    assert freezer.set("s-0", is_frozen=True)
    assert file.read_bytes() == frozen
    file.write_bytes(b"")  # a kernel file has no end that moves on
    freezer.release("s-0")
    assert freezer.set("s-0", is_frozen=False)
    assert file.read_bytes() == thawed
    freezer.close()


def test_so_many_stay_open_and_none_after_the_end(tmp_path: Path) -> None:
    freezer = made(tmp_path, 1, OPEN_MAX + 8)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(OPEN_MAX + 8):
        assert freezer.set(f"s-{number}", is_frozen=True)
    assert len(os.listdir("/proc/self/fd")) == before + OPEN_MAX
    freezer.release("s-20")
    assert len(os.listdir("/proc/self/fd")) == before + OPEN_MAX - 1
    freezer.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_group_that_is_gone_is_one_and_a_refusal_is_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    freezer = made(tmp_path, 1)
    assert not freezer.set("s-9", is_frozen=True)
    assert freezer.set("s-0", is_frozen=True)
    freezer.release("s-0")
    asked: list[str] = []

    def refuse(path: str, flags: int) -> int:
        asked.append(path)
        raise PermissionError(13, "no")

    monkeypatch.setattr(os, "open", refuse)
    assert not freezer.set("s-0", is_frozen=True)
    assert not freezer.set("s-0", is_frozen=True)
    assert len(asked) == 1
    monkeypatch.undo()


def test_without_control_groups_nobody_is_frozen() -> None:
    assert not Freezer(NO_GROUPS, "one").set("s-0", is_frozen=True)
    assert not Freezer(Groups(1, (Hierarchy("/nowhere", ("memory",)),)), "one").set("s-0", is_frozen=True)
