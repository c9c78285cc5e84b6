"""The commands against a real server, in the order in which a user meets them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests_cli import Lambent

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "python-hello"


@pytest.fixture
def hello(lambent: Lambent) -> str:
    """A deployed function with a name of its own."""
    name = "hello"
    done = lambent("deploy", str(EXAMPLE), "--name", name)
    assert done.returncode == 0, done.stderr
    return name
