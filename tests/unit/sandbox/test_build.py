"""Compiling the launcher with what a machine has."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lambent.launcher import build as launcher


def test_the_sources_compile_without_a_warning(tmp_path: Path) -> None:
    if not launcher.compilers():
        pytest.skip("no C compiler")
    out = launcher.build(tmp_path / "deep" / "lambent-launcher", strict=True)
    assert out.stat().st_mode & 0o777 == 0o755
    assert subprocess.run([out], capture_output=True, check=False).returncode == 2  # says how it is called
    assert list(out.parent.iterdir()) == [out]


def test_the_fork_object_needs_no_library_and_shows_two_names(tmp_path: Path) -> None:
    """So one build serves every C library: what it calls is found in the process that loads it."""
    if not launcher.compilers():
        pytest.skip("no C compiler")
    if shutil.which("readelf") is None:
        pytest.skip("no readelf")
    out = launcher.build_fork(tmp_path / "lambent-fork", strict=True)

    def shown(*options: str) -> str:
        return subprocess.run(["readelf", *options, "-W", out], capture_output=True, check=True, text=True).stdout

    assert "NEEDED" not in shown("-d")
    symbols = [line.split() for line in shown("--dyn-syms").splitlines() if " GLOBAL " in line]
    assert {words[-1] for words in symbols if words[6] != "UND"} == {
        "PyInit_lambent_fork",
        "lambent_fork_serve",
        "lambent_fork_count",
    }
    assert all("@" not in words[-1] for words in symbols), "bound to one library's version"


def test_a_compiler_that_refuses_is_quoted(tmp_path: Path) -> None:
    refusing = tmp_path / "cc"
    refusing.write_text("#!/bin/sh\necho 'no such target' >&2\nexit 1\n")
    refusing.chmod(0o755)
    with pytest.raises(launcher.BuildError, match="no such target"):
        launcher.build(tmp_path / "out", compiler=[str(refusing)])
    assert not (tmp_path / "out").exists()


def test_no_compiler_is_said_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "compilers", list)
    with pytest.raises(launcher.BuildError, match="pip install ziglang"):
        launcher.build(tmp_path / "out")
