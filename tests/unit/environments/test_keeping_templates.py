"""Templates: made when they are wanted, one at a time, given up in order; what is prepared of them, and when."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.simulation.virtual_time import run_virtual
from tests.unit.functions.house import ref

from lambent.domain.clock import ManualClock
from lambent.domain.errors import SnapStartRegenerationFailed
from lambent.environments.copies import REHEARSE_FRAME
from lambent.environments.plan import Blueprint, StartPlan
from lambent.environments.templates import (
    AHEAD_S,
    EXPIRE_S,
    NEXT,
    PREPARE_DELAY_S,
    Event,
    State,
    TemplateLimits,
    Templates,
    moved,
)
from lambent.functions.model import Code, Configuration, FunctionVersion, Logging
from lambent.functions.snapshots import Outcome
from lambent.sandbox.port import Binding, Exit, Limits, SandboxError

VERSION = FunctionVersion(
    ref=ref(),
    version="1",
    configuration=Configuration(
        role="r",
        runtime="python3.13",
        handler="app.handler",
        logging=Logging("Text", None, None, "/aws/lambda/fn"),
        snap_start="PublishedVersions",
    ),
    code=Code("c" * 64, "c", 1),
    revision_id="r",
    state="Pending",
    state_reason=None,
    state_reason_code=None,
    generation=7,
    last_modified_ms=0,
)
ACTIVE = replace(VERSION, state="Active")
BLUEPRINT = Blueprint("python3.13", lambda origin, address: StartPlan((), {}, "frames"), "python:3.13.v1", "arn")
COPYABLE = replace(BLUEPRINT, no_copies=None)


@given(st.lists(st.sampled_from(list(Event)), max_size=30))
def test_whatever_happens_gone_is_reached_and_stays(events: list[Event]) -> None:
    state = State.ABSENT
    for event in events:
        following = moved(state, event)
        assert following is NEXT.get((state, event), state), "news that comes too late moves nothing"
        assert state is not State.GONE or following is State.GONE
        state = following
    assert moved(state, Event.RETIRE) is State.GONE


class FakeSandbox:
    def __init__(self, world: World, kind: str, above: FakeSandbox | None = None) -> None:
        self.world, self.kind, self.above = world, kind, above
        self.binding: Binding | None = None
        self.theirs: socket.socket | None = None
        self.exit: Callable[[Exit], None] | None = None
        self.log = -1
        world.alive.append(self)

    async def make_copy(self, limits: Limits) -> FakeSandbox:
        await asyncio.sleep(0)
        if self.world.is_full:
            raise SandboxError("make", 28)
        return FakeSandbox(self.world, "copy", self)

    async def bind(self, binding: Binding) -> None:
        self.binding = binding

    async def copy(self, channel: socket.socket, on_exit: Callable[[Exit], None]) -> int:
        assert not self.world.forking, "a template is forked by one at a time"
        self.world.forking = True
        await asyncio.sleep(0.001)
        self.world.forking = False
        self.world.forks += 1
        theirs, self.log = os.pipe2(os.O_NONBLOCK)
        self.theirs, self.exit = channel, on_exit
        return theirs

    async def destroy(self) -> None:
        self.world.alive.remove(self)
        if self.theirs is not None:
            self.theirs.close()
            os.close(self.log)


class FakeEnvironment:
    """What stands in for a template's environment, or for one of its copies."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.peak_bytes = 5_000
        self.shared_bytes = 0
        self.said: list[str] = []
        self.sandbox: FakeSandbox | None = None

    async def open_template(self, driver: Any) -> tuple[Any, Outcome]:
        await asyncio.sleep(1.0)
        outcome = self.world.outcomes.pop(0) if self.world.outcomes else Outcome()
        if isinstance(outcome, BaseException):
            raise outcome
        if outcome != Outcome():
            return None, outcome
        self.sandbox = FakeSandbox(self.world, "template")
        return self.sandbox, outcome

    def say(self, text: str) -> None:
        self.said.append(text)


class World:
    """The owner, the driver, and the clock that moves by itself."""

    def __init__(self, clock: ManualClock, copies_ahead: int, templates_max: int) -> None:
        self.clock = clock
        self.alive: list[FakeSandbox] = []
        self.outcomes: list[Any] = []
        self.made: list[FakeEnvironment] = []
        self.told: list[tuple[int, Outcome]] = []
        self.forking = False
        self.forks = 0
        self.is_full = False
        self.is_closing = False
        self.copies: str | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.templates = Templates(self, self, clock, TemplateLimits(copies_ahead, templates_max), self._told)  # type: ignore[arg-type]

    async def _told(self, version: FunctionVersion, outcome: Outcome) -> None:
        self.told.append((version.generation, outcome))

    def new_template(self, version: FunctionVersion) -> Any:
        self.made.append(FakeEnvironment(self))
        return self.made[-1]

    async def ended(self, environment: Any) -> None:
        if environment.sandbox is not None:
            below = [one for one in self.alive if one.above is environment.sandbox]
            assert not below, "copies go before their template"
            await environment.sandbox.destroy()

    def supervise(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def settle(self) -> None:
        """Until everything that was begun is done, what is prepared after it included."""
        for _ in range(2):
            await asyncio.sleep(2 * PREPARE_DELAY_S)
            while self.tasks:
                await asyncio.wait(list(self.tasks))

    def count(self, kind: str) -> int:
        return sum(one.kind == kind for one in self.alive)

    def ahead(self) -> int:
        """Copies that were forked and wait."""
        shells = [holder.shell for holder in self.templates._holders.values() if holder.shell]
        return sum(one.runtime is not None for shell in shells for one in shell.ready)


def play(story: Callable[[World], Coroutine[Any, Any, None]], copies_ahead: int = 0, templates_max: int = 8) -> World:
    clock = ManualClock()
    worlds = []

    async def main() -> None:
        world = World(clock, copies_ahead, templates_max)
        worlds.append(world)
        try:
            await story(world)
        finally:
            world.is_closing = True
            await world.settle()
            await world.templates.close()
            await world.settle()
        assert world.alive == []

    run_virtual(clock, main())
    return worlds[0]


async def taken(world: World) -> FakeEnvironment:
    """One environment that is a copy."""
    found = await world.templates.take(ACTIVE, COPYABLE)
    assert found is not None
    shell, prepared = found
    environment = FakeEnvironment(world)
    world.templates.joins(shell, environment)  # type: ignore[arg-type]
    environment.sandbox = prepared.sandbox  # type: ignore[assignment]
    if prepared.runtime is not None:
        prepared.runtime.close()
    return environment


async def gone(world: World, environment: FakeEnvironment) -> None:
    assert environment.sandbox is not None
    await environment.sandbox.destroy()
    world.templates.left(environment)  # type: ignore[arg-type]
    await world.settle()


def test_a_published_version_is_initialised_once_and_told() -> None:
    async def story(world: World) -> None:
        world.templates.look(VERSION, COPYABLE)
        world.templates.look(VERSION, COPYABLE)
        await world.settle()
        assert world.told == [(7, Outcome())]
        assert len(world.made) == 1
        world.templates.look(ACTIVE, COPYABLE)  # the state it has by now
        await world.settle()
        assert (len(world.made), world.templates.count, world.count("copy")) == (1, 1, 1), "one blank is made ahead"

    play(story)


def test_a_version_that_waits_for_nothing_is_not_initialised() -> None:
    async def story(world: World) -> None:
        world.templates.look(ACTIVE, COPYABLE)
        await world.settle()
        assert world.made == []

    play(story)


@pytest.mark.parametrize("reason", ["the driver's", "the runtime's"])
def test_where_nothing_can_be_copied_nothing_is_initialised(reason: str) -> None:
    async def story(world: World) -> None:
        world.copies = reason if reason == "the driver's" else None
        blueprint = COPYABLE if reason == "the driver's" else replace(COPYABLE, no_copies=reason)
        world.templates.look(VERSION, blueprint)
        await world.settle()
        assert world.told == [(7, Outcome(refusal=reason))]
        assert await world.templates.take(ACTIVE, blueprint) is None
        assert world.made == []

    play(story)


def test_a_refusal_is_said_once_and_for_all() -> None:
    async def story(world: World) -> None:
        world.outcomes = [Outcome(refusal="it has a thread named x")]
        world.templates.look(VERSION, COPYABLE)
        await world.settle()
        assert world.told == [(7, Outcome(refusal="it has a thread named x"))]
        assert world.made[0].said == [
            "SNAPSTART\tTemplate: none\tReason: it has a thread named x. Environments of version 1 start with an init of "
            "their own."
        ]
        assert await world.templates.take(ACTIVE, COPYABLE) is None
        # After a restart the stored refusal is enough.
        other = replace(ACTIVE, generation=8, snapshot_refusal="it has a thread named x")
        assert await world.templates.take(other, COPYABLE) is None
        assert len(world.made) == 1

    play(story)


def test_a_failed_init_is_told_and_the_next_request_tries_again() -> None:
    async def story(world: World) -> None:
        failed = Outcome(failure=("FunctionError.RuntimeInitError", "it broke"))
        world.outcomes = [failed, failed, Outcome()]
        world.templates.look(VERSION, COPYABLE)
        await world.settle()
        assert world.told == [(7, failed)]
        with pytest.raises(SnapStartRegenerationFailed, match="it broke"):
            await world.templates.take(ACTIVE, COPYABLE)
        await gone(world, await taken(world))
        assert len(world.made) == 3

    play(story)


def test_no_sandbox_is_no_fault_of_the_functions() -> None:
    async def story(world: World) -> None:
        world.outcomes = [SandboxError("make", 28)]
        world.templates.look(VERSION, COPYABLE)
        await world.settle()
        ((_, outcome),) = world.told
        assert outcome.failure is not None
        assert outcome.failure[0] == "InternalError"

    play(story)


def test_requests_that_find_no_template_wait_for_one() -> None:
    """After a restart: whoever comes first has it made, all others take it."""

    async def story(world: World) -> None:
        copies = await asyncio.gather(*(taken(world) for _ in range(3)))
        assert len(world.made) == 1
        assert [one.shared_bytes for one in copies] == [5_000] * 3
        for one in copies:
            await gone(world, one)

    play(story)


def test_a_lost_template_stays_as_long_as_its_copies() -> None:
    async def story(world: World) -> None:
        first = await taken(world)
        await world.settle()
        world.templates.lost(world.made[0])  # type: ignore[arg-type]
        await world.settle()
        assert world.count("template") == 1
        second = await taken(world)
        assert (len(world.made), world.count("template")) == (2, 2)
        await gone(world, first)
        assert world.count("template") == 1
        await gone(world, second)

    play(story)


def test_a_version_that_serves_no_more_gives_up_its_template() -> None:
    async def story(world: World) -> None:
        one = await taken(world)
        world.templates.forget(ACTIVE)
        await world.settle()
        assert world.count("template") == 1, "a copy still runs"
        assert one.sandbox is not None
        await gone(world, one)
        assert world.count("template") == 0
        world.templates.forget(ACTIVE)

    play(story)


def test_copies_are_made_ahead_while_the_version_is_in_use() -> None:
    async def story(world: World) -> None:
        world.templates.look(VERSION, COPYABLE)
        await world.settle()
        assert world.ahead() == 2
        copy = await taken(world)
        await asyncio.sleep(PREPARE_DELAY_S / 2)
        assert world.ahead() == 1, "whoever took one needs the machine first"
        await world.settle()
        assert (world.ahead(), world.templates.ahead) == (2, 3)
        for one in world.alive:  # each was told to get ready, and not yet to go on
            if one.theirs is not None:
                assert one.theirs.recv(100, socket.MSG_DONTWAIT) == REHEARSE_FRAME
        await asyncio.sleep(AHEAD_S + 1)
        world.templates.sweep()
        await world.settle()
        assert (world.ahead(), world.count("copy")) == (0, 2), "a blank is kept, and what runs"
        await gone(world, copy)

    play(story, copies_ahead=2)


def test_a_copy_that_ended_ahead_is_given_to_nobody() -> None:
    async def story(world: World) -> None:
        world.templates.look(VERSION, COPYABLE)
        await world.settle()
        for one in world.alive:
            if one.exit is not None:
                one.exit(Exit(None, 9, out_of_memory=False))
        copy = await taken(world)
        assert copy.sandbox is not None
        assert copy.sandbox.exit is None
        await world.settle()
        await gone(world, copy)

    play(story, copies_ahead=1)


def test_what_nobody_uses_for_a_day_goes() -> None:
    async def story(world: World) -> None:
        world.templates.look(VERSION, COPYABLE)
        await world.settle()
        await asyncio.sleep(EXPIRE_S - 1)
        world.templates.sweep()
        assert world.count("template") == 1
        await asyncio.sleep(2)
        world.templates.sweep()
        await world.settle()
        assert (world.alive, world.templates.count) == ([], 0)
        await gone(world, await taken(world))
        assert len(world.made) == 2

    play(story)


def test_no_room_for_a_copy_is_said_and_costs_nothing_else() -> None:
    async def story(world: World) -> None:
        world.is_full = True
        with pytest.raises(SandboxError):
            await world.templates.take(ACTIVE, COPYABLE)
        await world.settle()
        assert world.count("copy") == 0
        world.is_full = False
        await gone(world, await taken(world))

    play(story)


def test_beyond_the_bound_the_one_goes_that_was_unused_for_longest() -> None:
    async def story(world: World) -> None:
        for generation in (1, 2, 3):
            world.templates.look(replace(VERSION, generation=generation), COPYABLE)
            await world.settle()
            if generation == 2:
                found = await world.templates.take(replace(ACTIVE, generation=1), COPYABLE)
                assert found is not None
                await found[1].destroy()
                await world.settle()
        kept = {one: holder.state for one, holder in world.templates._holders.items()}
        assert kept == {1: State.HELD, 2: State.ABSENT, 3: State.HELD}
        assert world.count("template") == 2

    play(story, templates_max=2)


def test_a_template_that_is_lost_while_a_sandbox_is_made_is_made_anew() -> None:
    async def story(world: World) -> None:
        world.templates.look(VERSION, COPYABLE)
        await world.settle()
        first = await taken(world)  # the one that was prepared
        waiting = asyncio.ensure_future(taken(world))
        await asyncio.sleep(0)  # it is having one made
        world.templates.lost(world.made[0])  # type: ignore[arg-type]
        second = await waiting
        assert first.sandbox is not None
        assert second.sandbox is not None
        assert first.sandbox.above is world.made[0].sandbox
        assert second.sandbox.above is world.made[1].sandbox
        await gone(world, first)
        await gone(world, second)

    play(story)
