"""Blanks: made ahead once an image is in use, used once, given up when nobody asks any more, never left behind; and the
runtimes that wait in them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from tests.simulation.virtual_time import run_virtual

from lambent.domain.clock import ManualClock
from lambent.environments.blanks import (
    BLANK_LIMITS,
    DEMAND_S,
    FORGET_S,
    KEEP_S,
    REFILL_DELAY_S,
    STARTING_S_MAX,
    BlankLimits,
    Blanks,
)
from lambent.environments.plan import WaitingProgram
from lambent.runtime_api.frames import WAITING
from lambent.sandbox.port import Command, Exit, Limits, SandboxError, Tier

PROGRAM = WaitingProgram(("/runtime",), {"A": "b"})


def encoded(kind: int) -> bytes:
    """A frame without a payload."""
    return (1).to_bytes(4, "little") + bytes((kind,))


class Made:
    """A sandbox as far as blanks care: it exists until it is destroyed, and one program may run in it."""

    def __init__(self, driver: Maker, image: str, limits: Limits) -> None:
        self.driver, self.image, self.limits = driver, image, limits
        self.command: Command | None = None
        self.exit: Callable[[Exit], None] | None = None
        self.channel: socket.socket | None = None
        self.log = -1

    async def start(self, command: Command, on_exit: Callable[[Exit], None]) -> int:
        await asyncio.sleep(0)
        assert command.channel is not None
        if self.driver.cannot_start:
            command.channel.close()
            raise SandboxError("start", 12)
        self.command, self.exit, self.channel = command, on_exit, command.channel
        theirs, self.log = os.pipe2(os.O_NONBLOCK)
        if not self.driver.starts_slowly:
            command.channel.send(encoded(WAITING))
        return theirs

    def peak_bytes(self) -> int:
        return 2_000_000

    async def destroy(self) -> None:
        self.driver.alive.remove(self)
        self.release()

    def release(self) -> None:
        """What the program inside held."""
        if self.channel is not None:
            self.channel.close()
            os.close(self.log)


class Maker:
    """Keeps a list of what lives, and can be told to fail."""

    tier = Tier("test", ())

    def __init__(self, *, binds_running: bool = True) -> None:
        self.alive: list[Made] = []
        self.binds_running = binds_running
        self.forks = None
        self.is_broken = False
        self.cannot_start = False
        self.starts_slowly = False

    async def create(self, image: str, limits: Limits) -> Any:
        await asyncio.sleep(0)
        if self.is_broken:
            raise SandboxError("make", 28)
        self.alive.append(Made(self, image, limits))
        return self.alive[-1]

    async def close(self) -> None: ...


class House:
    """Blanks on a clock that moves by itself when everybody sleeps."""

    def __init__(self, clock: ManualClock, maker: Maker, per_image: int, waiting_max: int) -> None:
        self.clock, self.maker = clock, maker
        self.tasks: set[asyncio.Task[None]] = set()
        self.blanks = Blanks(maker, clock, BlankLimits(per_image, waiting_max), self._supervise)

    def _supervise(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def settle(self) -> None:
        """Until everything that was begun is done, the refill included."""
        await asyncio.sleep(2 * REFILL_DELAY_S)
        while self.tasks:
            await asyncio.wait(list(self.tasks))


def play(
    story: Callable[[House], Coroutine[Any, Any, None]],
    *,
    per_image: int = 2,
    waiting_max: int = 0,
    binds_running: bool = True,
) -> Maker:
    clock, maker = ManualClock(), Maker(binds_running=binds_running)

    async def main() -> None:
        house = House(clock, maker, per_image, waiting_max)
        try:
            await story(house)
        finally:
            await house.blanks.close()
            await house.settle()
            for taken in maker.alive:
                taken.release()

    run_virtual(clock, main())
    return maker


def test_nothing_is_made_before_the_first_use_and_some_are_kept_after_it() -> None:
    taken: list[Any] = []

    async def story(house: House) -> None:
        blanks = house.blanks
        assert house.maker.alive == []
        taken.append((await blanks.take("python", BLANK_LIMITS)).sandbox)
        await house.settle()
        assert blanks.count == 2
        taken.append((await blanks.take("python", BLANK_LIMITS)).sandbox)
        assert taken[1] is not taken[0]
        await house.settle()
        assert blanks.count == 2

    assert play(story).alive == taken


def test_another_size_of_tmp_or_another_image_gets_a_sandbox_of_its_own() -> None:
    async def story(house: House) -> None:
        await house.blanks.take("python", BLANK_LIMITS)
        await house.settle()
        large = replace(BLANK_LIMITS, tmp_mb=1_024)
        blank: Any = await house.blanks.take("python", large)
        assert blank.sandbox.limits == large
        blank = await house.blanks.take("node", BLANK_LIMITS)
        assert blank.sandbox.image == "node"

    play(story)


def test_blanks_nobody_asks_for_fall_to_one_and_then_to_none() -> None:
    async def story(house: House) -> None:
        await house.blanks.take("python", BLANK_LIMITS)
        await house.settle()
        await asyncio.sleep(KEEP_S - 1)
        await house.blanks.sweep()
        assert house.blanks.count == 3
        await asyncio.sleep(2)
        await house.blanks.sweep()
        assert house.blanks.count == 1
        await asyncio.sleep(FORGET_S)
        await house.blanks.sweep()
        assert house.blanks.count == 0
        assert len(house.maker.alive) == 1

    play(story, per_image=3)


def test_a_blank_that_is_done_after_the_end_is_destroyed() -> None:
    async def story(house: House) -> None:
        await house.blanks.take("python", BLANK_LIMITS)
        await asyncio.sleep(REFILL_DELAY_S)
        await house.blanks.close()

    assert len(play(story).alive) == 1


def test_a_failure_to_make_one_is_nobodys_failure() -> None:
    async def story(house: House) -> None:
        await house.blanks.take("python", BLANK_LIMITS)
        house.maker.is_broken = True
        await house.settle()
        assert house.blanks.count == 0
        house.maker.is_broken = False
        await house.blanks.take("python", BLANK_LIMITS)
        await house.settle()
        assert house.blanks.count == 2

    play(story)


def test_a_runtime_waits_in_a_blank_and_becomes_whose_it_is() -> None:
    async def story(house: House) -> None:
        first = await house.blanks.take("python", BLANK_LIMITS, PROGRAM)
        assert first.runtime is None
        await house.settle()
        assert house.blanks.waiting == 2
        assert (house.blanks.hits, house.blanks.misses) == (0, 1)
        second: Any = await house.blanks.take("python", BLANK_LIMITS, PROGRAM)
        assert house.blanks.hits == 1
        assert second.sandbox.command.argv == PROGRAM.argv
        assert second.sandbox.command.env == PROGRAM.env
        os.write(second.sandbox.log, b"printed before it had a function")
        ended: list[Exit] = []
        ours, log = second.runtime.adopt(ended.append)
        with pytest.raises(BlockingIOError):
            os.read(log, 100)
        ours.send(b"hello")
        assert second.sandbox.channel.recv(100) == b"hello"
        second.sandbox.exit(Exit(3, None, out_of_memory=False))
        assert ended == [Exit(3, None, out_of_memory=False)]
        second.runtime.close()

    play(story, waiting_max=8)


def test_what_is_expected_is_ready_for_the_first_use() -> None:
    async def story(house: House) -> None:
        house.blanks.expect("python", PROGRAM)
        await house.settle()
        blank = await house.blanks.take("python", BLANK_LIMITS, PROGRAM)
        assert blank.runtime is not None
        blank.runtime.close()

    play(story, waiting_max=8)


def test_whoever_needs_a_start_of_its_own_gets_no_waiting_runtime() -> None:
    async def story(house: House) -> None:
        house.blanks.expect("python", PROGRAM)
        await house.settle()
        blank = await house.blanks.take("python", BLANK_LIMITS, None)
        assert blank.runtime is None
        assert house.blanks.waiting == 2

    play(story, waiting_max=8)


def test_a_runtime_that_still_starts_is_not_handed_out() -> None:
    async def story(house: House) -> None:
        house.maker.starts_slowly = True
        house.blanks.expect("python", PROGRAM)
        await house.settle()
        blank = await house.blanks.take("python", BLANK_LIMITS, PROGRAM)
        assert (blank.runtime, house.blanks.misses) == (None, 1)
        for made in house.maker.alive:
            if made.channel is not None:
                made.channel.send(encoded(WAITING))
        blank = await house.blanks.take("python", BLANK_LIMITS, PROGRAM)
        assert blank.runtime is not None
        with pytest.raises(BlockingIOError):
            blank.runtime.ours.recv(1, socket.MSG_DONTWAIT)  # what it said is read; only answers follow
        blank.runtime.close()

    play(story, waiting_max=8)


def test_runtimes_start_one_after_another() -> None:
    async def story(house: House) -> None:
        house.maker.starts_slowly = True
        house.blanks.expect("python", PROGRAM)
        await asyncio.sleep(1.5 * REFILL_DELAY_S)

        def started() -> list[Made]:
            return [made for made in house.maker.alive if made.command is not None]

        (first,) = started()
        assert first.channel is not None
        first.channel.send(encoded(WAITING))
        await asyncio.sleep(0.05)
        assert len(started()) == 2, "the first waits, so the second may start"
        await asyncio.sleep(STARTING_S_MAX - 0.2)
        assert house.blanks.count == 1
        await asyncio.sleep(0.3)
        assert house.blanks.count == 2, "one that says nothing holds nobody up for ever"

    play(story, waiting_max=8)


def test_a_blank_that_was_ready_before_gets_a_runtime() -> None:
    async def story(house: House) -> None:
        house.blanks.expect("python", None)
        await house.settle()
        assert (house.blanks.count, house.blanks.waiting) == (2, 0)
        house.blanks.expect("python", PROGRAM)
        await house.settle()
        assert (house.blanks.count, house.blanks.waiting) == (2, 2)
        assert len(house.maker.alive) == 2

    play(story, waiting_max=8)


def test_a_runtime_that_ended_while_it_waited_is_not_handed_out() -> None:
    async def story(house: House) -> None:
        house.blanks.expect("python", PROGRAM)
        await house.settle()
        broken = house.maker.alive[0]
        assert broken.exit is not None
        broken.exit(Exit(1, None, out_of_memory=False))
        blank: Any = await house.blanks.take("python", BLANK_LIMITS, PROGRAM)
        assert blank.sandbox is not broken
        await house.settle()
        assert broken not in house.maker.alive
        blank.runtime.close()

    play(story, waiting_max=8)


def test_all_images_together_have_so_many_and_the_rest_are_plain() -> None:
    async def story(house: House) -> None:
        for image in ("python", "node"):
            house.blanks.expect(image, PROGRAM)
            await house.settle()
        assert house.blanks.count == 4
        assert house.blanks.waiting == 3

    play(story, waiting_max=3)


def test_demand_makes_more_wait_and_its_end_fewer() -> None:
    async def story(house: House) -> None:
        for _ in range(6):
            blank = await house.blanks.take("python", BLANK_LIMITS, PROGRAM)
            if blank.runtime is not None:
                blank.runtime.close()
        await house.settle()
        assert house.blanks.waiting == 6
        await asyncio.sleep(DEMAND_S + 1)
        await house.blanks.sweep()
        assert house.blanks.waiting == 2

    play(story, waiting_max=8)


def test_no_runtime_waits_where_code_cannot_be_mounted_under_it() -> None:
    async def story(house: House) -> None:
        house.blanks.expect("python", PROGRAM)
        await house.settle()
        assert (house.blanks.count, house.blanks.waiting) == (2, 0)

    play(story, waiting_max=8, binds_running=False)


def test_a_runtime_that_cannot_be_started_leaves_nothing() -> None:
    async def story(house: House) -> None:
        house.maker.cannot_start = True
        house.blanks.expect("python", PROGRAM)
        await house.settle()
        assert house.maker.alive == []
        assert house.blanks.count == 0

    play(story, waiting_max=8)
