"""What cannot be installed is said in words; nothing is left behind. What can is tried in the integration tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from lambent.runtimes.install import Installer, InstallError
from lambent.runtimes.model import Interpreter

NODE = Interpreter("nodejs", "24", "24.1.0", "/usr/bin/node", "/usr", (), "x86_64")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("python3.14", "apt install python3.14, pyenv install 3.14, or uv python install 3.14"),
        ("provided.al2023", "needs nothing installed"),
        ("java21", "cannot be installed by this release"),
        ("cobol", "cobol is no runtime identifier"),
        ("official-python3.12", "python3.12 itself is not on this machine"),
        ("sdk-nodejs24.x", "bring the clients you use in the package"),
        ("official-nodejs24.x", "comes from npm, which is not on this machine"),
        ("nodejs18.x", "comes from npm, which is not on this machine"),
    ],
)
def test_the_reason_is_said(name: str, words: str, tmp_path: Path) -> None:
    data = tmp_path / "runtimes"
    with pytest.raises(InstallError, match=words):
        Installer(data, str(tmp_path), "x86_64", print).add(name, [NODE])
    assert not data.exists() or [path for path in data.rglob("*") if path.is_file()] == []
    assert not list(data.glob(".*"))
