"""The clients as a directory that sandboxes can mount."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from lambent.runtimes.model import Interpreter
from lambent.runtimes.staging import HALF_MADE_S, SOURCE, compile_for, stage

VERSION = ".".join(map(str, sys.version_info[:2]))
SELF = Interpreter("python", VERSION, VERSION, sys.executable, sys.base_prefix, (), "x86_64")


def test_everything_is_there_and_readable_by_anybody(tmp_path: Path) -> None:
    staged = stage(tmp_path)
    compile_for(staged, SELF)
    for path in (staged, *staged.rglob("*")):
        want = 0o755 if path.is_dir() else 0o644
        assert path.stat().st_mode & 0o777 == want, path
    assert (staged / "python" / "bootstrap.py").is_file()
    assert (staged / "nodejs" / "index.mjs").is_file()
    tag = VERSION.replace(".", "")
    assert (staged / "python" / "_lambent_runtime" / "__pycache__" / f"loop.cpython-{tag}.pyc").is_file()


def test_it_is_made_once_for_one_content(tmp_path: Path) -> None:
    first = stage(tmp_path)
    made = first.stat().st_ino
    assert stage(tmp_path) == first
    assert first.stat().st_ino == made
    assert os.listdir(tmp_path) == [first.name]


def test_other_content_is_another_directory(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "python").mkdir(parents=True)
    (source / "python" / "bootstrap.py").write_text("pass\n")
    data = tmp_path / "data"
    data.mkdir()
    assert stage(data, source) != stage(data, SOURCE)


def test_what_a_killed_start_left_is_removed_later_and_what_another_is_making_is_not(tmp_path: Path) -> None:
    for name, age_s in ((".0123456789abcdef.17", HALF_MADE_S + 60), (".0123456789abcdef.18", HALF_MADE_S - 60)):
        (tmp_path / name / "python").mkdir(parents=True)
        (tmp_path / name / "python" / "bootstrap.py").write_text("half")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    staged = stage(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".0123456789abcdef.18", staged.name]
    stage(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".0123456789abcdef.18", staged.name]


def test_bytecode_that_another_interpreter_is_writing_may_vanish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several are compiled for at once, each in files of its own that get their names when they are whole."""
    staged = stage(tmp_path, fork=tmp_path / "none")
    half = staged / "python" / "_lambent_runtime" / "__pycache__" / "loop.cpython-39.pyc.1234"
    ours = half.with_name(f"loop.cpython-{VERSION.replace('.', '')}.pyc")

    def chmod(path: str | Path, mode: int, **options: bool) -> None:
        if Path(path) == half:
            half.unlink()
        os_chmod(path, mode, **options)

    os_chmod = os.chmod
    half.parent.mkdir()
    half.write_bytes(b"half")
    monkeypatch.setattr("lambent.runtimes.staging.os.chmod", chmod)
    monkeypatch.setattr(
        "lambent.runtimes.staging.subprocess.run", lambda *_, **__: ours.write_bytes(b"whole") and ours.chmod(0o600)
    )
    compile_for(staged, SELF)
    assert ours.stat().st_mode & 0o777 == 0o644
