"""The whole contract and the hostile server once more, with the launcher built with AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.sandbox_world import World, made_world

# Collected here a second time; the fixtures below give them another launcher.
from tests.contracts.test_sandbox import *  # noqa: F403
from tests.integration.sandbox.test_hostile_server import *  # noqa: F403

from lambent.launcher.build import BuildError, build


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build(tmp_path_factory.mktemp("sanitized") / "lambent-launcher", sanitize=True)
    except BuildError as error:
        pytest.skip(f"this machine's compiler has no sanitizers: {str(error)[:200]}")


@pytest.fixture
def launcher(sanitized: Path) -> Path:
    return sanitized


@pytest.fixture(params=["container", "rootless", "confined"])
def world(request: pytest.FixtureRequest, sanitized: Path) -> Iterator[World]:
    with made_world(request.param, sanitized) as made:
        yield made
