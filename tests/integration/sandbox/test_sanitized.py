"""The whole contract, forks, templates, the hostile server and helpers that do not read once more, with the launcher built with AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.sandbox_world import ForkedWorld, World, made_world

# Collected here a second time; the fixtures below give them another launcher.
from tests.contracts.test_sandbox import *  # noqa: F403
from tests.integration.sandbox.test_forks import *  # noqa: F403
from tests.integration.sandbox.test_hostile_server import *  # noqa: F403
from tests.integration.sandbox.test_templates import *  # noqa: F403
from tests.integration.sandbox.test_unread import *  # noqa: F403

from lambent.launcher.build import FORK, BuildError, build, build_fork


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sanitized")
    try:
        build_fork(folder / FORK.name, sanitize=True)
        return build(folder / "lambent-launcher", sanitize=True)
    except BuildError as error:
        pytest.skip(f"this machine's compiler has no sanitizers: {str(error)[:200]}")


@pytest.fixture
def launcher(sanitized: Path) -> Path:
    return sanitized


@pytest.fixture
def forked(sanitized: Path) -> Iterator[ForkedWorld]:
    with made_world("forked", sanitized) as made:
        assert isinstance(made, ForkedWorld)
        yield made


@pytest.fixture(params=["container", "rootless", "confined", "forked"])
def world(request: pytest.FixtureRequest, sanitized: Path) -> Iterator[World]:
    with made_world(request.param, sanitized) as made:
        yield made


@pytest.fixture
def container(sanitized: Path) -> Iterator[World]:
    with made_world("container", sanitized) as made:
        yield made
