"""What `lambent doctor` says of what is started ahead: the fork object, and tiers that can prepare less."""

from __future__ import annotations

from pathlib import Path

import pytest

from lambent.commands import doctor
from lambent.sandbox import spawner


@pytest.fixture
def bin_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(spawner, "BINARY", tmp_path / "lambent-launcher")
    (tmp_path / "lambent-launcher").write_bytes(b"")
    return tmp_path


def test_a_missing_fork_object_is_said_with_the_compilers_words(bin_directory: Path) -> None:
    (bin_directory / "fork-not-built.txt").write_text("the fork object could not be built: cc: no\n")
    found = doctor.fork_object()
    assert found is not None
    assert found.state == doctor.POOR
    assert "started one by one" in found.words
    assert found.notes == ("the fork object could not be built: cc: no",)


def test_nothing_is_said_of_a_fork_object_that_is_there_or_without_a_launcher(bin_directory: Path) -> None:
    (bin_directory / "lambent-fork").write_bytes(b"")
    assert doctor.fork_object() is None
    for file in bin_directory.iterdir():
        file.unlink()
    assert doctor.fork_object() is None


@pytest.mark.parametrize(
    ("kind", "binds_running", "words", "remedy"),
    [
        ("container", False, "started for each new environment", "systemd-run"),
        ("rootless", True, "each by itself, without a zygote", "sudo lambent up"),
        ("rootless", False, "started for each new environment", "systemd-run --user --scope -p Delegate=yes"),
        ("confined", False, "started for each new environment", "docker run --privileged"),
        ("process", False, "started for each new environment", "sudo lambent up"),
    ],
)
def test_a_tier_that_prepares_less_says_so_with_the_remedy(
    kind: str, binds_running: bool, words: str, remedy: str
) -> None:
    found = doctor.preparation(kind, binds_running)
    assert found is not None
    assert (found.what, found.state) == ("cold starts", doctor.POOR)
    assert words in found.words
    assert remedy in found.notes[0]


def test_a_tier_that_prepares_all_says_nothing() -> None:
    assert doctor.preparation("container", True) is None
