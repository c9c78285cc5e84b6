"""What the runtime tests share: the runtimes of this machine, with official clients installed once into the cache."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from lambent.runtimes.discovery import Places
from lambent.runtimes.service import Runtimes, discover

CACHE = Path(__file__).resolve().parents[3] / ".cache" / "runtimes"


@pytest.fixture(scope="session")
def machine() -> Runtimes:
    """What is on this machine and in the cache."""
    places = Places(os.environ["PATH"], Path.home(), CACHE)
    return asyncio.run(discover(places, CACHE))


@pytest.fixture(scope="session")
def has_npm() -> bool:
    return shutil.which("npm") is not None
