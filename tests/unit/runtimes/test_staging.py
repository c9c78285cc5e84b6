"""The clients as a directory that sandboxes can mount."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lambent.runtimes.model import Interpreter
from lambent.runtimes.staging import SOURCE, compile_for, stage

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
