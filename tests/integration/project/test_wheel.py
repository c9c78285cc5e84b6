"""The wheel, built as pip builds it from a clean clone: everything is inside, and it says for which platform."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files under version control as they are now, nothing else."""
    target = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def wheel(clone: Path, out: Path) -> Path:
    """`pip wheel`, with build isolation, as `pip install .` does it. Skips aloud where no registry answers."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(out), str(clone)],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0 and "No matching distribution found for setuptools" in done.stdout + done.stderr:
        pytest.skip("no package registry answers: setuptools cannot be had")
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("lambent-*.whl"))


def check(built: Path) -> None:
    names = zipfile.ZipFile(built).namelist()
    assert built.name.endswith(".whl")
    assert "-py3-none-linux_" in built.name
    listed = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    files = [name for name in listed.splitlines() if (ROOT / name).is_file() and "/." not in name]
    sources = {name.removeprefix("src/") for name in files}
    assert sources <= set(names), f"not in the wheel: {sorted(sources - set(names))}"
    for ending in (
        "launcher/bin/lambent-launcher",
        "launcher/bin/lambent-fork",
        "api/operations.json",
        ".sql",
        "bootstrap.py",
        ".mjs",
        "py.typed",
    ):
        assert any(name.endswith(ending) for name in names), ending
    with zipfile.ZipFile(built) as archive:
        info = archive.getinfo("lambent/launcher/bin/lambent-launcher")
        assert info.external_attr >> 16 & 0o111, "the launcher is not executable in the wheel"
        assert archive.read(info)[:4] == b"\x7fELF"


@pytest.mark.timeout(300)
def test_the_wheel_holds_everything_and_names_its_platform(clone: Path, tmp_path: Path) -> None:
    check(wheel(clone, tmp_path))
