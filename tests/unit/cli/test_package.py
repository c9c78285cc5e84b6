"""What is deployed: the same files make the same bytes, nothing is lost on the way, and refusals name their reason."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path

import pytest

from lambent.commands.failures import Failed
from lambent.commands.package import ZIP_BYTES_MAX, read


def tree(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def modes(package: bytes) -> dict[str, int]:
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        return {info.filename: stat.S_IMODE(info.external_attr >> 16) for info in archive.infolist()}


def test_a_directory_is_read_with_its_modes_and_without_what_is_not_code(tmp_path: Path) -> None:
    tree(tmp_path, app_DOT_py="x", pkg__mod_DOT_py="y", _DOT_git__HEAD="z", pkg____pycache____mod_DOT_pyc="p")
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o700)
    package = read(tmp_path)
    assert "app.py" in package.names
    assert "tool" in package.executable
    assert not any(".git" in name or "__pycache__" in name for name in package.names)
    assert modes(package.zip)["app.py"] == 0o644
    assert modes(package.zip)["tool"] == 0o755
    assert package.text("app.py") == "x"


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    one, other = (
        tree(tmp_path / "one", a_DOT_py="a", b_DOT_py="b"),
        tree(tmp_path / "other", b_DOT_py="b", a_DOT_py="a"),
    )
    os.utime(one / "a.py", (1, 1))
    assert read(one).zip == read(other).zip


def test_a_bootstrap_without_its_bit_gets_it_and_says_so(tmp_path: Path) -> None:
    package = read(tree(tmp_path, bootstrap="#!/bin/bash\n"))
    assert package.made_executable
    assert modes(package.zip)["bootstrap"] == 0o755


def test_a_single_file_is_a_package(tmp_path: Path) -> None:
    assert read(tree(tmp_path, hello_DOT_py="x") / "hello.py").names == ("hello.py",)


def test_a_zip_is_sent_as_it_is(tmp_path: Path) -> None:
    made = read(tree(tmp_path / "d", app_DOT_py="x"))
    (tmp_path / "d.zip").write_bytes(made.zip)
    package = read(tmp_path / "d.zip")
    assert (package.zip, package.names) == (made.zip, ("app.py",))


def test_links_are_followed_and_a_circle_is_refused(tmp_path: Path) -> None:
    tree(tmp_path / "lib", x_DOT_py="x")
    code = tree(tmp_path / "code", app_DOT_py="a")
    (code / "lib").symlink_to(tmp_path / "lib")
    assert read(code).names == ("app.py", "lib/x.py")
    (code / "up").symlink_to(code)
    with pytest.raises(Failed, match="a symbolic link to a directory above it"):
        read(code)


def test_a_link_to_nothing_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(Failed, match="gone is a symbolic link to nothing"):
        read(tmp_path)


def test_what_holds_no_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="holds no files"):
        read(tmp_path)


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_text("x")
    with pytest.raises(Failed, match="is not a zip file"):
        read(tmp_path / "x.zip")


def test_a_zip_over_the_published_limit_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "big.zip", "w") as archive:
        archive.writestr("blob", bytes(ZIP_BYTES_MAX + 1))
    with pytest.raises(Failed, match="52,428,800"):
        read(tmp_path / "big.zip")
