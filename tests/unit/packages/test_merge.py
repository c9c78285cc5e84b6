"""Layers as one tree: what extracting them one over the other would leave, made once and of links."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.unit.packages.test_archive import LINK, Item, zipped

from lambent.domain.clock import ManualClock
from lambent.domain.errors import DiskFull
from lambent.packages import store
from lambent.packages.archive import LAYERS_ROOT, BrokenZip
from lambent.packages.merge import tree_name
from lambent.packages.store import GRACE_S, Packages

EXECUTABLE = stat.S_IFREG | 0o755


@pytest.fixture
def packages(tmp_path: Path) -> Packages:
    return Packages(tmp_path / "packages", ManualClock())


def put(packages: Packages, *items: Item) -> str:
    digest: str = asyncio.run(packages.put(zipped(*items), root=LAYERS_ROOT)).digest
    return digest


def merged(packages: Packages, *digests: str) -> Path:
    asyncio.run(packages.merge(digests))
    name = tree_name(digests)
    assert name is not None
    return packages.tree(name)


def seen(tree: Path) -> dict[str, str]:
    """Everything in a tree: a file's content, a link's target with an arrow, / for a directory."""
    found = {}
    for path in sorted(tree.rglob("*")):
        name = str(path.relative_to(tree))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = "/" if path.is_dir() else path.read_text()
    return found


def test_a_tree_is_named_by_its_layers_in_their_order() -> None:
    one, two = "1" * 64, "2" * 64
    assert tree_name([]) is None
    assert tree_name([one]) == one
    assert tree_name([one, two]) == hashlib.sha256(f"lambent layers\n{one}\n{two}".encode()).hexdigest()
    assert len({tree_name(some) for some in ([one, two], [two, one], [one, one], [one, two, one])}) == 4


def test_of_two_files_the_later_layers_stays_and_directories_are_joined(packages: Packages) -> None:
    first = put(packages, ("python/a.py", b"1"), ("python/both.py", b"first"), ("bin/tool", b"#!", EXECUTABLE))
    second = put(packages, ("python/b.py", b"2"), ("python/both.py", b"second"), ("lib/x", b"lib"))
    tree = merged(packages, first, second)
    assert seen(tree) == {
        "bin": "/",
        "bin/tool": "#!",
        "lib": "/",
        "lib/x": "lib",
        "python": "/",
        "python/a.py": "1",
        "python/b.py": "2",
        "python/both.py": "second",
    }
    assert (merged(packages, second, first) / "python" / "both.py").read_text() == "first"
    # The layers' own trees are what they were.
    assert (packages.tree(first) / "python" / "both.py").read_text() == "first"
    assert (packages.tree(second) / "python" / "both.py").read_text() == "second"
    assert (tree.parent / "unpacked").read_text() == str(1 + 1 + len("second") + 3 + 2)


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [
        ((("x/in/it", b"1"), ("x/y", b"2")), (("x", b"file"),), {"x": "file"}),
        ((("x", b"file"),), (("x/in", b"1"),), {"x": "/", "x/in": "1"}),
        ((("x", b"a"),), (("x", b"y", LINK), ("y", b"b")), {"x": "-> y", "y": "b"}),
        ((("x", b"y", LINK), ("y", b"b")), (("x", b"a"),), {"x": "a", "y": "b"}),
        ((("x/in", b"1"),), (("x", b"y", LINK),), {"x": "-> y"}),
        # Nothing is written through a link: the directory takes its place, and where it led to stays as it was.
        (
            (("x", b"y", LINK), ("y/kept", b"b")),
            (("x/in", b"1"),),
            {"x": "/", "x/in": "1", "y": "/", "y/kept": "b"},
        ),
        ((("x", b"/opt/y", LINK), ("y", b"b")), (("z", b"c"),), {"x": "-> /opt/y", "y": "b", "z": "c"}),
    ],
    ids=[
        *("file over directory", "directory over file", "link over file", "file over link"),
        *("link over directory", "directory over link", "absolute link"),
    ],
)
def test_what_replaces_what(
    packages: Packages, first: tuple[Item, ...], second: tuple[Item, ...], left: dict[str, str]
) -> None:
    assert seen(merged(packages, put(packages, *first), put(packages, *second))) == left


def test_files_keep_modes_and_times_and_take_no_room(packages: Packages) -> None:
    first, second = put(packages, ("bin/tool", b"#!", EXECUTABLE)), put(packages, ("data", b"x"))
    old = os.umask(0o077)
    try:
        tree = merged(packages, first, second)
    finally:
        os.umask(old)
    ours, theirs = (tree / "bin" / "tool").stat(), (packages.tree(first) / "bin" / "tool").stat()
    assert (ours.st_ino, ours.st_nlink) == (theirs.st_ino, 2)
    assert stat.S_IMODE(ours.st_mode) == 0o755
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tree.parent, tree, tree / "bin")} == {0o755}


def test_where_there_are_no_hard_links_files_are_copied(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = put(packages, ("bin/tool", b"#!", EXECUTABLE)), put(packages, ("data", b"x"))

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    tree = merged(packages, first, second)
    ours, theirs = (tree / "bin" / "tool").stat(), (packages.tree(first) / "bin" / "tool").stat()
    assert ours.st_ino != theirs.st_ino
    assert (ours.st_mode, ours.st_mtime_ns, ours.st_nlink) == (theirs.st_mode, theirs.st_mtime_ns, 1)


def test_a_tree_appears_once_however_many_ask_and_is_not_made_again(
    packages: Packages, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = [put(packages, ("a", b"1")), put(packages, ("b", b"2"))]
    made: list[str] = []
    merge = store.merge
    monkeypatch.setattr(
        store, "merge", lambda trees, target: (made.append(target.parent.name), merge(trees, target))[1]
    )

    async def scenario() -> None:
        await asyncio.gather(*(packages.merge(digests) for _ in range(6)))
        made.clear()
        await packages.merge(digests)

    asyncio.run(scenario())
    assert made == []
    assert len(list(packages.directory.iterdir())) == 3


def test_one_layer_alone_is_its_own_tree(packages: Packages) -> None:
    one = put(packages, ("a", b"1"))
    assert merged(packages, one) == packages.tree(one)
    asyncio.run(packages.merge([]))
    assert [path.name for path in packages.directory.iterdir()] == [one]


def test_a_full_disk_leaves_nothing(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = [put(packages, ("a", b"1")), put(packages, ("b", b"2"))]

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "merge", full)
    with pytest.raises(DiskFull):
        asyncio.run(packages.merge(digests))
    assert sorted(path.name for path in packages.directory.iterdir()) == sorted(digests)


def test_a_merged_tree_is_collected_like_a_package_and_its_files_outlive_their_layer(tmp_path: Path) -> None:
    clock = ManualClock()
    packages = Packages(tmp_path, clock)
    digests = [put(packages, ("a", b"1")), put(packages, ("b", b"2"))]
    tree = merged(packages, *digests)
    name = tree.parent.name
    assert asyncio.run(packages.collect({name})) == []
    clock.advance(GRACE_S)
    assert asyncio.run(packages.collect({name})) == sorted(digests)
    assert seen(tree) == {"a": "1", "b": "2"}
    assert asyncio.run(packages.collect([])) == []
    clock.advance(GRACE_S)
    assert asyncio.run(packages.collect([])) == [name]
    assert list(tmp_path.iterdir()) == []


def test_absolute_links_of_a_layer_lead_into_layers(packages: Packages) -> None:
    put(packages, ("lib/so", b"/opt/lib/so.1", LINK), ("lib/so.1", b"x"))
    for outside in (b"/opt/../etc/passwd", b"/etc/passwd", b"/var/task/x", b"/option"):
        with pytest.raises(BrokenZip):
            put(packages, ("x", outside, LINK))
