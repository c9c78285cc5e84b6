"""Finding interpreters: what counts as one, what is asked, what is kept."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from lambent.runtimes import discovery
from lambent.runtimes.discovery import Places, scan

REAL = os.path.realpath(os.path.join(sys.base_prefix, "bin", f"python3.{sys.version_info[1]}"))


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """An otherwise empty machine."""
    monkeypatch.setattr(discovery, "_SYSTEM", ())
    (tmp_path / "bin").mkdir()
    return Places(str(tmp_path / "bin"), tmp_path / "home", tmp_path / "data")


def test_a_link_on_the_path_leads_to_the_real_interpreter(places: Places, tmp_path: Path) -> None:
    (tmp_path / "bin" / "python3.99").symlink_to(REAL)
    (found,) = scan(places, tmp_path / "cache.json")
    assert found.executable == REAL
    assert found.prefix == sys.base_prefix
    assert found.release == ".".join(map(str, sys.version_info[:3]))
    assert found.libraries == ()


def test_scripts_and_other_names_are_no_interpreters(places: Places, tmp_path: Path) -> None:
    shim = tmp_path / "bin" / "python3.12"
    shim.write_text("#!/bin/sh\nexec elsewhere\n")
    shim.chmod(0o755)
    for name in ("python3.12-config", "python3", "nodejs"):
        (tmp_path / "bin" / name).symlink_to(REAL)
    assert scan(places, tmp_path / "cache.json") == []


def test_version_managers_are_looked_into(places: Places, tmp_path: Path) -> None:
    directory = tmp_path / "home" / ".pyenv" / "versions" / "3.99.1" / "bin"
    directory.mkdir(parents=True)
    (directory / "python3.99").symlink_to(REAL)
    assert [one.executable for one in scan(places, tmp_path / "cache.json")] == [REAL]


def test_answers_are_kept_until_the_file_changes(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin" / "python3.99").symlink_to(REAL)
    first = scan(places, tmp_path / "cache.json")
    asked: list[str] = []
    monkeypatch.setattr(discovery, "_probe", lambda family, real: asked.append(real))
    assert scan(places, tmp_path / "cache.json") == first
    assert asked == []
    (tmp_path / "cache.json").write_text("{not json")
    assert scan(places, tmp_path / "cache.json") == []
    assert asked == [REAL]


def test_what_does_not_run_is_left_out(places: Places, tmp_path: Path) -> None:
    copied = tmp_path / "bin" / "python3.99"
    shutil.copyfile("/bin/true", copied)
    copied.chmod(0o755)
    assert scan(places, tmp_path / "cache.json") == []


def test_what_others_cannot_read_is_left_out(places: Places, tmp_path: Path) -> None:
    executable = tmp_path / "python3.99"
    shutil.copyfile(REAL, executable)
    executable.chmod(0o700)
    assert not discovery._is_readable(str(executable), str(tmp_path))
    executable.chmod(0o755)
    tmp_path.chmod(0o755)
    assert discovery._is_readable(str(executable), str(tmp_path))
    tmp_path.chmod(0o700)
    assert not discovery._is_readable(str(executable), str(tmp_path))


@pytest.mark.parametrize(("machine", "name"), [(62, "x86_64"), (183, "arm64"), (8, None)])
def test_the_architecture_is_read_from_the_file(machine: int, name: str | None, tmp_path: Path) -> None:
    file = tmp_path / "elf"
    file.write_bytes(b"\x7fELF" + bytes(14) + machine.to_bytes(2, "little") + bytes(40))
    assert discovery._machine(str(file)) == name
