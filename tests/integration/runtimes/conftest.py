"""What the runtime tests share: the runtimes of this machine, with what can be installed installed once into the cache."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from clientrun import FAILED
from tests.support import alone

from lambent.runtimes.discovery import Places
from lambent.runtimes.install import Installer, InstallError
from lambent.runtimes.service import Runtimes, discover

CACHE = Path(__file__).resolve().parents[3] / ".cache" / "runtimes"
NODE = ("nodejs18.x", "nodejs22.x", "nodejs24.x", "nodejs26.x")
CLIENTS = ("official-nodejs20.x", "official-nodejs24.x")
"""One for each generation of the Node.js client; building one takes 40 to 90 s."""


def look() -> Runtimes:
    return discover(Places(os.environ["PATH"], Path.home(), CACHE), CACHE)


@pytest.fixture(scope="session")
def machine() -> Runtimes:
    """What is on this machine and in the cache. What cannot be installed is missing, and the tests that want it skip."""
    with alone(CACHE):
        found = look()
        for name in NODE:
            _add(found, name)
        found = look()
        pythons = [f"official-python{one.version}" for one in found.interpreters() if one.family == "python"]
        for name in (*pythons, *CLIENTS):
            _add(found, name)
        return look()


def _add(found: Runtimes, name: str) -> None:
    runtime = name.removeprefix("official-")
    client = "official" if runtime != name else "lambent"
    if found.missing(runtime, found.architecture) is not None and client == "official":
        return
    if found.missing(runtime, found.architecture, client) is None:
        return
    try:
        Installer(CACHE, os.environ["PATH"], found.architecture, print).add(name, found.interpreters())
    except InstallError as error:
        FAILED[name] = str(error)
