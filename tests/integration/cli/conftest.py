"""The commands as processes of their own, against the server that all tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COMMAND_LIMIT_S = 60.0

Lambent = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command_environment(endpoint: str) -> dict[str, str]:
    """Ours without anybody's settings and credentials, and the server's address."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAMBENT_", "AWS_"))}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1", "AWS_ENDPOINT_URL": endpoint}


@pytest.fixture
def lambent(command_environment: dict[str, str]) -> Lambent:
    """Run a command; answers its status and both streams as text."""

    def run(*arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lambent", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env={**command_environment, **more},
            timeout=COMMAND_LIMIT_S,
        )

    return run
