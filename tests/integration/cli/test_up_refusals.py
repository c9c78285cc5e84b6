"""`lambent up` where it cannot start: one sentence, status 1, nothing left."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from lambent.assembly.privileges import server_identity

ROOT = Path(__file__).resolve().parents[3]
REFUSAL_LIMIT_S = 60.0


def up(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LAMBENT_"))}
    return subprocess.run(
        [sys.executable, "-m", "lambent", "up", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(ROOT / "src")},
        timeout=REFUSAL_LIMIT_S,
    )


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = up("--port", str(port), "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 1
    assert f"127.0.0.1:{port} is in use" in done.stderr


def test_a_data_directory_in_use_is_named_with_its_process(server: Any) -> None:
    done = up("--port", "0", "--data-dir", str(server.data_dir))
    assert done.returncode == 1
    assert f"{server.data_dir} is in use by another Lambent, process {server.process.pid}" in done.stderr


def test_a_foreign_directory_is_not_taken_for_data(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not touch")
    identity = server_identity("")
    if identity is not None:
        os.chown(tmp_path, *identity)
    done = up("--port", "0", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "is not empty and not a data directory" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
