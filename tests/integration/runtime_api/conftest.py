"""Runs scenarios over both event loops, with a sink that remembers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop


@pytest.fixture(scope="session", autouse=True)
def libuv_is_set_up_for_channels() -> None:
    """The first loop of a process opens libuv's own pipe, which stays: no leak of a test's."""
    uvloop.new_event_loop().close()


@pytest.fixture(params=["uvloop", "asyncio"])
def on_loop(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[Any]]], None]:
    """Runs a scenario on one of the loops, for at most 20 s."""

    def run(scenario: Callable[[], Awaitable[Any]]) -> None:
        async def main() -> None:
            async with asyncio.timeout(20):
                await scenario()

        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    return run
