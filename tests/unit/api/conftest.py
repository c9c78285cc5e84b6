"""Fixtures of the door's tests, and a runner for `async def` tests."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from tests.unit.api.doubles import Believing

from lambent.api.door import PublicDoor


@pytest.fixture
def authenticator() -> Believing:
    return Believing()


@pytest.fixture
def door(authenticator: Believing) -> PublicDoor:
    return PublicDoor(authenticator)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def` tests of this folder, each on a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
