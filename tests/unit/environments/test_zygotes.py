"""Zygotes as blanks use them: one for each who shares, started ahead, replaced in time, and missed by nobody when they fail."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from tests.simulation.virtual_time import run_virtual
from tests.unit.environments.test_blanks import Made, Maker, encoded

from lambent.domain.clock import ManualClock
from lambent.environments import zygotes
from lambent.environments.blanks import (
    BLANK_LIMITS,
    DEMAND_S,
    FORKED,
    FORKED_DRY,
    PLAIN_BYTES,
    REFILL_DELAY_S,
    RUNTIME_BYTES,
    STARTED,
    STARTED_DRY,
    WAITING,
    Blank,
    BlankLimits,
    Blanks,
    pool_of,
)
from lambent.environments.plan import WaitingProgram
from lambent.environments.zygotes import (
    COPIES_MAX,
    FAILURES_MAX,
    FORKS_VARIABLE,
    IDLE_S,
    RENEW_S,
    RETRY_S,
    START_S_MAX,
    ZYGOTES_MAX,
)
from lambent.runtime_api import frames
from lambent.sandbox.port import Command, Exit, Limits, SandboxError

ZYGOTE_BYTES = 10_000_000


def program(owner: str = "one") -> WaitingProgram:
    return WaitingProgram(
        ("/runtime",), {"A": "b", "_LAMBENT_WAITS": "1"}, zygote=f"{owner}/python", fork_object="/fork"
    )


class Brood:
    """One zygote, as its keeper sees it."""

    def __init__(self, forks: Forks, image: str) -> None:
        self.forks, self.image = forks, image
        self.command: Command | None = None
        self.log = -1
        self.copies: list[tuple[Made, bool]] = []
        self.exit: Callable[[Exit], None] = lambda _: None

    async def start(self, command: Command, on_exit: Callable[[Exit], None]) -> int:
        await asyncio.sleep(0)
        self.command, self.exit = command, on_exit
        assert command.channel is not None
        theirs, self.log = os.pipe2(os.O_NONBLOCK)
        if self.forks.is_silent:
            return theirs
        if self.forks.is_broken:
            os.write(self.log, b"no such module")
            command.channel.close()
        else:
            command.channel.send(encoded(frames.WAITING))
        return theirs

    def peak_bytes(self) -> int:
        return ZYGOTE_BYTES

    async def destroy(self) -> None:
        if self in self.forks.alive:
            self.forks.alive.remove(self)
            if self.command is not None and self.command.channel is not None:
                self.command.channel.close()
                os.close(self.log)


class Forks:
    """What a driver would do."""

    def __init__(self) -> None:
        self.alive: list[Brood] = []
        self.is_broken = self.is_silent = self.cannot_fork = False

    async def create(self, image: str, limits: Limits) -> Any:
        await asyncio.sleep(0)
        self.alive.append(Brood(self, image))
        return self.alive[-1]

    async def fork(
        self, zygote: Any, sandbox: Any, channel: socket.socket, on_exit: Callable[[Exit], None], is_ahead: bool
    ) -> int:
        await asyncio.sleep(0)
        if self.cannot_fork or zygote not in self.alive:
            channel.close()
            raise SandboxError("fork", 12)
        zygote.copies.append((sandbox, is_ahead))
        sandbox.channel, sandbox.exit = channel, on_exit
        theirs, sandbox.log = os.pipe2(os.O_NONBLOCK)
        if is_ahead:
            channel.send(encoded(frames.WAITING))
        return theirs


class House:
    """Blanks and zygotes on a clock that moves by itself when everybody sleeps."""

    def __init__(self, clock: ManualClock, maker: Maker, forks: Forks, limits: BlankLimits) -> None:
        self.clock, self.maker, self.forks = clock, maker, forks
        self.tasks: set[asyncio.Task[None]] = set()
        self.blanks = Blanks(maker, clock, limits, self._supervise)
        self.taken: list[Blank] = []

    def _supervise(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def settle(self) -> None:
        await asyncio.sleep(2 * REFILL_DELAY_S)
        while self.tasks:
            await asyncio.wait(list(self.tasks))

    async def take(self, wanted: WaitingProgram | None) -> Blank:
        blank = await self.blanks.take("python", BLANK_LIMITS, wanted)
        self.taken.append(blank)
        return blank

    @property
    def zygotes(self) -> zygotes.Zygotes:
        assert self.blanks.zygotes is not None
        return self.blanks.zygotes


def play(story: Callable[[House], Coroutine[Any, Any, None]], **limits: Any) -> None:
    """Afterwards no zygote is left."""
    clock, maker, forks = ManualClock(), Maker(), Forks()
    maker.forks = forks  # type: ignore[assignment]

    async def main() -> None:
        values = {"per_image": 2, "waiting_max": 8, "has_zygotes": True, **limits}
        house = House(clock, maker, forks, BlankLimits(**values))
        try:
            await story(house)
        finally:
            for blank in house.taken:
                if blank.runtime is not None:
                    blank.runtime.close()
            await house.blanks.close()
            await house.settle()
            for made in maker.alive:
                if made.channel is not None:
                    made.release()

    run_virtual(clock, main())
    assert forks.alive == []


def test_what_waits_is_forked_ahead_by_one_zygote() -> None:
    async def story(house: House) -> None:
        house.blanks.expect("python", program())
        await house.settle()
        (zygote,) = house.forks.alive
        assert zygote.command is not None
        assert zygote.command.env == {"A": "b", FORKS_VARIABLE: "/fork"}
        assert [ahead for _, ahead in zygote.copies] == [True, True]
        assert house.blanks.waiting == 2
        blank = await house.take(program())
        assert blank.runtime is not None
        assert blank.runtime.is_copy
        assert house.blanks.steps == {WAITING: 1}
        assert all(made.command is None for made in house.maker.alive), "nothing was started"

    play(story)


def test_each_step_is_slower_and_none_is_missing() -> None:
    """A waiting copy, then copies made now, in ready blanks and in new ones; without a zygote an interpreter is started."""

    async def story(house: House) -> None:
        house.blanks.expect("python", None)
        await house.settle()
        assert (await house.take(program())).runtime is None
        assert house.blanks.steps == {STARTED: 1}, "its zygote is only being started"
        await house.settle()
        house.forks.alive[0].copies.clear()
        for _ in range(4):
            assert (await house.take(program())).runtime is not None
        assert house.blanks.steps == {STARTED: 1, WAITING: 2, FORKED_DRY: 2}
        assert [ahead for _, ahead in house.forks.alive[0].copies] == [False, False]
        house.forks.cannot_fork = True
        assert (await house.take(program())).runtime is None
        assert house.blanks.steps[STARTED_DRY] == 1

    play(story)


def test_where_none_waits_a_ready_blank_is_forked_into() -> None:
    async def story(house: House) -> None:
        house.blanks.expect("python", program())
        await house.settle()
        assert (house.blanks.count, house.blanks.waiting) == (2, 0)
        blank = await house.take(program())
        assert blank.runtime is not None
        assert house.blanks.steps == {FORKED: 1}

    play(story, waiting_max=0)


def test_accounts_share_no_zygote_and_no_waiting_runtime() -> None:
    async def story(house: House) -> None:
        house.blanks.expect("python", program("one"))
        house.blanks.expect("python", program("two"))
        await house.settle()
        first, second = house.forks.alive
        assert len(first.copies) == len(second.copies) == 2
        own = {id(made) for made, _ in second.copies}
        for _ in range(2):
            assert id((await house.take(program("two"))).sandbox) in own
        third = await house.take(program("two"))
        assert third.runtime is not None
        assert (house.blanks.steps[WAITING], house.blanks.waiting) == (2, 2), "the other account's are left alone"

    play(story)


def test_room_is_shared_and_who_had_none_gets_some_when_there_is() -> None:
    async def story(house: House) -> None:
        for _ in range(8):
            await house.take(program("busy"))
        await house.settle()
        assert house.blanks.waiting == 4
        house.blanks.expect("python", program("other"))
        await house.settle()
        assert house.blanks.waiting == 4, "no room"
        await asyncio.sleep(DEMAND_S + 1)
        await house.blanks.sweep()
        await house.settle()
        assert house.blanks._waiting_in("other/python") == 2
        assert house.blanks._waiting_in("busy/python") == 2

    play(story, waiting_max=4)


def test_a_pool_that_is_asked_for_now_gets_room_from_those_that_were_asked_for_before() -> None:
    async def story(house: House) -> None:
        for owner in ("first", "second", "third"):
            house.blanks.expect("python", program(owner))
            await house.settle()
            await asyncio.sleep(1)
        waiting = [house.blanks._waiting_in(f"{owner}/python") for owner in ("first", "second", "third")]
        assert waiting == [1, 2, 1], "the longest unasked has lost one, and nobody has none"
        for owner in ("fourth", "fifth"):
            house.blanks.expect("python", program(owner))
            await house.settle()
            await asyncio.sleep(1)
        owners = ("first", "second", "third", "fourth", "fifth")
        assert [house.blanks._waiting_in(f"{owner}/python") for owner in owners] == [0, 1, 1, 1, 1]
        assert house.blanks.waiting == 4

    play(story, waiting_max=4)


def test_who_cannot_be_forked_gets_no_copy() -> None:
    async def story(house: House) -> None:
        house.blanks.expect("python", program())
        plain = WaitingProgram(("/runtime",), {})
        await house.settle()
        for wanted in (None, plain):
            blank = await house.take(wanted)
            assert blank.runtime is None
        assert pool_of("python", plain) == pool_of("python", None) == "python"

    play(story)


def test_a_zygote_is_renewed_by_age_and_by_number_without_a_gap() -> None:
    async def story(house: House) -> None:
        house.blanks.expect("python", program())
        await house.settle()
        (first,) = house.forks.alive
        for _ in range(round(RENEW_S / 300)):
            await asyncio.sleep(300)
            await house.take(program())
            await house.settle()
            house.blanks.zygotes.sweep()  # type: ignore[union-attr]
        assert house.forks.alive == [first]
        await asyncio.sleep(60)
        house.zygotes.sweep()
        assert house.zygotes.is_ready(program()), "the old one serves until the next is ready"
        await house.settle()
        (second,) = house.forks.alive
        assert second is not first
        running = house.zygotes._running[program().zygote]
        running.copies = COPIES_MAX - 1
        await house.take(replace(program()))
        await house.settle()
        (third,) = house.forks.alive
        assert third is not second

    play(story)


def test_an_idle_zygote_ends_and_the_next_use_starts_another() -> None:
    async def story(house: House) -> None:
        house.blanks.expect("python", program())
        await house.settle()
        await asyncio.sleep(IDLE_S + 1)
        house.zygotes.sweep()
        await house.settle()
        assert house.forks.alive == []
        await house.take(program())
        await house.settle()
        assert house.zygotes.count == 1

    play(story)


def test_one_that_cannot_start_is_tried_again_after_a_minute() -> None:
    async def story(house: House) -> None:
        house.forks.is_broken = True
        house.blanks.expect("python", program())
        await house.settle()
        assert (house.zygotes.count, house.blanks.waiting) == (0, 2), "what waits is started by itself"
        house.forks.is_broken = False
        await house.take(program())
        await house.settle()
        assert house.zygotes.count == 0
        await asyncio.sleep(RETRY_S)
        await house.take(program())
        await house.settle()
        assert house.zygotes.count == 1

    play(story)


def test_one_that_says_nothing_is_given_up() -> None:
    async def story(house: House) -> None:
        house.forks.is_silent = True
        house.blanks.expect("python", program())
        await asyncio.sleep(START_S_MAX + 1)
        await house.settle()
        assert house.forks.alive == []
        assert house.blanks.waiting == 2

    play(story)


def test_one_that_ends_by_itself_is_replaced() -> None:
    async def story(house: House) -> None:
        house.blanks.expect("python", program())
        await house.settle()
        (zygote,) = house.forks.alive
        zygote.exit(Exit(None, 9, out_of_memory=True))
        await house.settle()
        assert house.forks.alive == []
        await house.take(program())
        await house.settle()
        assert house.zygotes.started == 2

    play(story)


def test_one_whose_forks_fail_is_replaced() -> None:
    async def story(house: House) -> None:
        house.blanks.expect("python", program())
        await house.settle()
        house.forks.cannot_fork = True
        for _ in range(2 + FAILURES_MAX):  # two wait already
            await house.take(program())
        house.forks.cannot_fork = False
        await house.settle()
        await house.take(program())
        await house.settle()
        assert house.zygotes.started == 2

    play(story)


def test_so_many_at_once_and_the_one_idle_longest_makes_room() -> None:
    async def story(house: House) -> None:
        for number in range(ZYGOTES_MAX + 1):
            house.blanks.expect("python", program(f"{number:03}"))
            await asyncio.sleep(1)
        await house.settle()
        assert house.zygotes.count == ZYGOTES_MAX
        assert not house.zygotes.is_ready(program("000"))
        assert house.zygotes.is_ready(program("001"))

    play(story, per_image=0)


def test_one_budget_of_memory_holds_for_all() -> None:
    """Twelve megabytes: the zygote's ten, and no room for another runtime as large as one is taken to be."""

    async def story(house: House) -> None:
        house.blanks.expect("python", program())
        await house.settle()
        assert house.blanks.waiting == 0
        assert house.blanks.count == 2, "blanks are kept all the same"
        assert house.blanks.held_bytes() == ZYGOTE_BYTES + 2 * PLAIN_BYTES
        assert 12 * 2**20 - house.blanks.held_bytes() < RUNTIME_BYTES

    play(story, memory_mb=12)


def test_what_was_measured_counts_from_then_on() -> None:
    """The first is taken to hold eight, and holds two: then there is room for more."""

    async def story(house: House) -> None:
        house.blanks.expect("python", program())
        await house.settle()
        for _ in range(3):
            house.blanks.expect("python", program())
            await house.settle()
        assert house.blanks.waiting == 2

    play(story, memory_mb=20)


def test_nothing_is_forked_where_it_is_switched_off() -> None:
    async def story(house: House) -> None:
        assert house.blanks.zygotes is None
        house.blanks.expect("python", program())
        await house.settle()
        assert house.blanks.waiting == 2

    play(story, has_zygotes=False)
