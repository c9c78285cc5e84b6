"""One Lambent for all chapters of the specification; each module works in an account of its own."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pytest
from tests.conftest import RunningServer, start_server
from tests.parity.spec.spec_world import Wire


@pytest.fixture(scope="session")
def spec_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Processes are enough: these chapters are about answers. Chosen by name, that tier serves every account."""
    base = tmp_path_factory.mktemp("spec")
    for folder in (base, *base.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)  # functions run as another user
    running = start_server(base / "data", "--set", "sandbox.tier=process")
    yield running
    assert running.stop() == 0, running.log.read_text()[-4_000:]


@pytest.fixture(scope="module")
def wire(spec_server: RunningServer, request: pytest.FixtureRequest) -> Wire:
    """Raw requests of the module's own account."""
    return Wire(spec_server.url, f"{zlib.crc32(request.module.__name__.encode()):012d}")
