"""Paths as a sandbox sees them: links lead where they would lead inside, never onto the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from lambent.packages.inside import LINKS_MAX, find_file


@pytest.fixture
def trees(tmp_path: Path) -> dict[str, Path]:
    trees = {"/var/task": tmp_path / "task", "/opt": tmp_path / "opt"}
    for tree in trees.values():
        (tree / "deep").mkdir(parents=True)
        (tree / "file").write_text("")
        (tree / "deep" / "file").write_text("")
    (tmp_path / "secret").write_text("")
    return trees


@pytest.mark.parametrize(
    ("to", "path", "found"),
    [
        ("file", "/var/task/link", "task/file"),
        ("deep", "/var/task/link/file", "task/deep/file"),
        ("/opt/file", "/var/task/link", "opt/file"),
        ("/var/task/deep/../file", "/var/task/link", "task/file"),
        ("../../opt/deep", "/var/task/link/file", "opt/deep/file"),
        ("../../../../opt/file", "/var/task/link", "opt/file"),
        ("link", "/var/task/link", None),
        ("deep", "/var/task/link", None),
        ("nowhere", "/var/task/link", None),
        ("../secret", "/var/task/link", None),
        ("/etc/passwd", "/var/task/link", None),
        ("file", "/var/task/link/file", None),
        ("file", "/var/task/./deep//file", "task/deep/file"),
        ("file", "/var/task/../task/file", "task/file"),
        ("file", "/var/tasks/file", None),
        ("file", "/etc/passwd", None),
        ("file", "/var/task", None),
    ],
)
def test_where_a_path_ends(trees: dict[str, Path], tmp_path: Path, to: str, path: str, found: str | None) -> None:
    (trees["/var/task"] / "link").symlink_to(to)
    assert find_file(trees, path) == (None if found is None else tmp_path / found)


def test_forty_links_are_followed_as_the_kernel_does(trees: dict[str, Path]) -> None:
    task = trees["/var/task"]
    (task / "l0").symlink_to("file")
    for number in range(1, LINKS_MAX + 1):
        (task / f"l{number}").symlink_to(f"l{number - 1}")
    assert find_file(trees, f"/var/task/l{LINKS_MAX - 1}") == task / "file"
    assert find_file(trees, f"/var/task/l{LINKS_MAX}") is None
