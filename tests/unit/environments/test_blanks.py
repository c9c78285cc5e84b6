"""Blanks: made ahead once an image is in use, used once, given up when nobody asks any more, never left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from lambent.domain.clock import ManualClock
from lambent.environments.blanks import BLANK_LIMITS, KEEP_S, Blanks
from lambent.sandbox.port import Limits, SandboxError, Tier


class Made:
    """A sandbox as far as blanks care: it exists until it is destroyed."""

    def __init__(self, driver: Maker, image: str, limits: Limits) -> None:
        self.driver, self.image, self.limits = driver, image, limits

    async def destroy(self) -> None:
        self.driver.alive.remove(self)


class Maker:
    """Keeps a list of what lives, and can be told to fail."""

    tier = Tier("test", ())

    def __init__(self) -> None:
        self.alive: list[Made] = []
        self.is_broken = False

    async def create(self, image: str, limits: Limits) -> Any:
        await asyncio.sleep(0)
        if self.is_broken:
            raise SandboxError("make", 28)
        self.alive.append(Made(self, image, limits))
        return self.alive[-1]

    async def close(self) -> None: ...


def blanks_of(maker: Maker, clock: ManualClock, per_image: int) -> tuple[Blanks, set[asyncio.Task[None]]]:
    tasks: set[asyncio.Task[None]] = set()

    def supervise(coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.ensure_future(coroutine)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    return Blanks(maker, clock, per_image, supervise), tasks


async def settle(tasks: set[asyncio.Task[None]]) -> None:
    while tasks:
        await asyncio.wait(list(tasks))


def test_nothing_is_made_before_the_first_use_and_some_are_kept_after_it() -> None:
    async def story() -> None:
        maker = Maker()
        blanks, tasks = blanks_of(maker, ManualClock(), 2)
        assert maker.alive == []
        first = await blanks.take("python", BLANK_LIMITS)
        await settle(tasks)
        assert blanks.count == 2
        second = await blanks.take("python", BLANK_LIMITS)
        assert second is not first
        await settle(tasks)
        assert blanks.count == 2
        await blanks.close()
        assert maker.alive == [first, second]

    asyncio.run(story())


def test_another_size_of_tmp_or_another_image_gets_a_sandbox_of_its_own() -> None:
    async def story() -> None:
        maker = Maker()
        blanks, tasks = blanks_of(maker, ManualClock(), 1)
        await blanks.take("python", BLANK_LIMITS)
        await settle(tasks)
        large = replace(BLANK_LIMITS, tmp_mb=1_024)
        assert (await blanks.take("python", large)).limits == large  # type: ignore[attr-defined]
        assert (await blanks.take("node", BLANK_LIMITS)).image == "node"  # type: ignore[attr-defined]
        await settle(tasks)
        await blanks.close()

    asyncio.run(story())


def test_blanks_nobody_asks_for_are_given_up() -> None:
    async def story() -> None:
        maker, clock = Maker(), ManualClock()
        blanks, tasks = blanks_of(maker, clock, 3)
        used = await blanks.take("python", BLANK_LIMITS)
        await settle(tasks)
        clock.advance(KEEP_S - 1)
        await blanks.sweep()
        assert blanks.count == 3
        clock.advance(2)
        await blanks.sweep()
        assert maker.alive == [used]

    asyncio.run(story())


def test_a_blank_that_is_done_after_the_end_is_destroyed_and_a_failure_to_make_one_is_nobodys_failure() -> None:
    async def story() -> None:
        maker = Maker()
        blanks, tasks = blanks_of(maker, ManualClock(), 2)
        used = await blanks.take("python", BLANK_LIMITS)
        await blanks.close()
        await settle(tasks)
        assert maker.alive == [used]
        again, tasks = blanks_of(maker, ManualClock(), 2)
        taken = await again.take("python", BLANK_LIMITS)
        maker.is_broken = True
        await settle(tasks)
        assert again.count == 0
        assert maker.alive == [used, taken]

    asyncio.run(story())
