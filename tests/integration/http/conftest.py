"""Runs scenarios over both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop
from tests.integration.http.http_world import World

from lambent.http import Limits


@pytest.fixture(scope="session", autouse=True)
def libuv_is_set_up() -> None:
    """The first loop of a process opens libuv's own pipe, which stays: no leak of a test's."""
    uvloop.new_event_loop().close()


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Runs `scenario(world)` on one of the loops, against a server with the given limits, and closes up after it."""

    def run_it(scenario: Callable[[World], Awaitable[Any]], limits: Limits | None = None) -> None:
        async def main() -> None:
            world = World()
            await world.open(limits)
            try:
                async with asyncio.timeout(20):
                    await scenario(world)
            finally:
                for client in world.clients:
                    client.close()
                await world.server.drain(0.2)

        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    return run_it
