"""Times and sizes that an environment keeps, on a clock that jumps: a real environment, pipe and splitter around a sandbox
that does as it is told."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from tests.simulation.virtual_time import run_virtual
from tests.unit.functions.house import ref, wanted

from lambent.domain.clock import ManualClock
from lambent.domain.limits import (
    INIT_LIMIT_S,
    MEMORY_MB_PER_VCPU,
    RUNTIME_DESCRIPTORS_MAX,
    RUNTIME_PROCESSES_MAX,
)
from lambent.environments.awake import Awake
from lambent.environments.blanks import BlankLimits, Blanks
from lambent.environments.channel import RuntimeEvent
from lambent.environments.environment import Environment
from lambent.environments.extensions import INIT_EXIT_GRACE_S
from lambent.environments.lifecycle import State
from lambent.environments.output import LOG_DRAIN_BYTES_MAX, LOG_READ_BYTES, PART_BYTES, PART_DELAY_S
from lambent.environments.plan import FRAMES, Blueprint, StartPlan
from lambent.environments.runtime import GONE_GRACE_S, MUTE_END_S_MAX
from lambent.environments.service import FREEZE_AFTER_S, SWEEP_EVERY_S, WAIT_S_MAX, EnvironmentLimits, Environments
from lambent.environments.surroundings import Surroundings
from lambent.environments.work import Result, Work
from lambent.functions.model import Code, FunctionVersion
from lambent.functions.rules import new_configuration
from lambent.runtime_api.extensions import ExtensionsChannel
from lambent.sandbox.port import Binding, Command, Exit, Limits, Tier, Usage
from lambent.telemetry.attempt import AttemptPart, InitRecord, Origin, UserEvents
from lambent.telemetry.lines import LineSplitter, LogRate

CONFIGURATION = new_configuration(ref(), wanted(memory_mb=1_769))
VERSION = FunctionVersion(
    ref(), "$LATEST", CONFIGURATION,
    Code("a" * 64, "sha", 1, 1), "rev", "Active", None, None, 1, 0,
)  # fmt: skip
ORIGIN = Origin("123456789012", "us-east-1", "fn", "$LATEST", "e1", "/aws/lambda/fn", "stream", 1_769)


class Sandbox:
    """Remembers what it was asked; the test plays the program inside."""

    id, api_address = "s1", "127.0.0.1:9001"

    def __init__(self, limits: Limits) -> None:
        self.blank_limits = limits
        self.bound: Binding | None = None
        self.asked: list[str] = []
        self.on_exit: Callable[[Exit], None] | None = None
        self.pipe = -1
        self.ending: Exit | None = Exit(None, 9, out_of_memory=False)
        """How the program says that it ended when it is killed; None: it does not come to it."""

    async def signal(self, label: str, number: int) -> None:
        self.asked.append(f"signal {label} {number}")
        if self.on_exit is not None and self.ending is not None:
            self.on_exit(self.ending)

    async def bind(self, binding: Binding) -> None:
        self.bound = binding

    async def set_cpu(self, vcpus: float | None) -> None:
        self.asked.append(f"cpu {vcpus}")

    async def start(self, command: Command, on_exit: Callable[[Exit], None]) -> int:
        self.on_exit = on_exit
        log, self.pipe = os.pipe()
        os.set_blocking(log, False)
        self.asked.append("start")
        return log

    async def reset(self) -> None:
        self.asked.append("reset")
        self._hang_up()

    def freeze_now(self) -> bool:
        return False

    def thaw_now(self) -> bool:
        return False

    async def freeze(self) -> None:
        self.asked.append("freeze")

    async def thaw(self) -> None:
        self.asked.append("thaw")

    async def destroy(self) -> None:
        self._hang_up()

    def forgive(self) -> None:
        pass

    def peak_bytes(self) -> int:
        return self.usage().memory_peak_bytes

    def usage(self) -> Usage:
        return Usage(0, 0)

    def say(self, data: bytes) -> None:
        os.write(self.pipe, data)

    def _hang_up(self) -> None:
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1


class World:
    """Driver, carriers and owner of one environment."""

    tier = Tier("test", ())

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.sandboxes: list[Sandbox] = []
        self.records: list[InitRecord | AttemptPart | UserEvents] = []
        self.sinks: list[Any] = []
        self.events: list[RuntimeEvent] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.started = asyncio.Event()
        self.answers = True

    async def create(self, image: str, limits: Limits) -> Any:
        self.sandboxes.append(Sandbox(limits))
        return self.sandboxes[-1]

    async def close(self) -> None: ...

    # the carriers

    def open_door(self, sandbox: Any, origin: Origin, version: Any) -> Any:
        return Door()

    def open_extensions(self, sink: Any, door: Any, facts: Any, external: Any) -> Any:
        return ExtensionsChannel(sink, facts, external, lambda channel: None)

    def open_frames(self, sink: Any) -> tuple[Any, socket.socket]:
        self.sinks.append(sink)
        self.started.set()
        if self.answers:
            asyncio.get_running_loop().call_soon(sink.ready)
        nothing: Any = None
        return Channel(self.events), nothing

    # the owner

    def freed(self, environment: Environment) -> None: ...

    def broke(self, environment: Environment) -> None: ...

    def retire(self, environment: Environment, reason: str) -> None:
        raise AssertionError(reason)

    def record(self, record: InitRecord | AttemptPart | UserEvents) -> None:
        self.records.append(record)

    def supervise(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def settled(self) -> None:
        while self.tasks:
            await asyncio.wait(list(self.tasks))

    def parts(self) -> list[AttemptPart]:
        return [record for record in self.records if isinstance(record, AttemptPart)]


class Door:
    def close(self) -> None: ...


class Channel:
    """Events end in a list."""

    def __init__(self, events: list[RuntimeEvent]) -> None:
        self.events = events

    def dispatch(self, event: RuntimeEvent) -> None:
        self.events.append(event)

    def abandon(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def read_rest(self) -> None: ...

    def close(self) -> None: ...


def blueprint() -> Blueprint:
    return Blueprint("base", lambda _origin, _address: StartPlan(("/x",), {}, FRAMES), "python:3.13.v1", "arn")


def rate() -> LogRate:
    return LogRate(bytes_per_s=1 << 30, events_per_s=1 << 30)


def play(body: Callable[[World, Environment], Awaitable[None]]) -> None:
    """Run a body with an environment that is not open yet; it is stopped afterwards."""
    clock = ManualClock()

    async def main() -> None:
        world = World(clock)
        anything: Any = world
        shared = Surroundings(
            blanks=Blanks(anything, clock, BlankLimits(0, 0), world.supervise),
            carriers=anything,
            clock=clock,
            new_splitter=lambda _: LineSplitter(rate=rate()),
            owner=world,
            init_limit_s=INIT_LIMIT_S,
            is_lost=lambda: False,
            awake=Awake(0, 1),
        )
        environment = Environment(VERSION, ORIGIN, blueprint(), shared)
        try:
            await body(world, environment)
        finally:
            await world.settled()
            if environment.state is not State.GONE:
                environment.state = State.STOPPING
                await environment.stop()

    run_virtual(clock, main())


def work(done: Callable[[Result], None], timeout_s: float = 60.0) -> Work:
    def failed(_: Work, text: str) -> None:
        raise AssertionError(text)

    event = RuntimeEvent("r1", 0, "arn", "", "", "", "", "application/json", b"{}")
    return Work(event, timeout_s, done, failed)


async def opened(world: World, environment: Environment) -> Sandbox:
    await environment.open()
    assert environment.state is State.IDLE
    return world.sandboxes[0]


def test_a_sandbox_has_the_published_limits_and_its_share_of_the_processor() -> None:
    async def body(world: World, environment: Environment) -> None:
        sandbox = await opened(world, environment)
        assert sandbox.bound is not None
        limits = sandbox.bound.limits
        assert (limits.processes_max, limits.descriptors_max) == (RUNTIME_PROCESSES_MAX, RUNTIME_DESCRIPTORS_MAX)
        assert limits.cpu_vcpus == 1_769 / MEMORY_MB_PER_VCPU == 1.0
        assert sandbox.bound.is_full_speed, "until init is over"
        await world.settled()
        assert sandbox.asked == ["start", "cpu 1.0"]

    play(body)


def test_an_init_phase_has_ten_seconds() -> None:
    async def body(world: World, environment: Environment) -> None:
        world.answers = False
        began_ns = world.clock.monotonic_ns()
        await environment.open()
        assert (world.clock.monotonic_ns() - began_ns) / 1e9 == pytest.approx(INIT_LIMIT_S, abs=0.01)
        environment.write_init()
        environment.write_init()
        assert [record.status for record in world.records if isinstance(record, InitRecord)] == ["timeout"]

    play(body)


def test_a_runtime_that_told_its_init_error_has_a_second_to_end() -> None:
    async def body(world: World, environment: Environment) -> None:
        world.answers = False
        began_ns = world.clock.monotonic_ns()
        opening = asyncio.ensure_future(environment.open())
        await world.started.wait()
        world.sinks[0].init_error("Runtime.ImportModuleError", b"{}")
        await opening
        assert (world.clock.monotonic_ns() - began_ns) / 1e9 == pytest.approx(INIT_EXIT_GRACE_S, abs=0.01)
        assert "reset" in world.sandboxes[0].asked

    play(body)


def test_what_a_running_attempt_prints_is_written_after_a_second() -> None:
    async def body(world: World, environment: Environment) -> None:
        sandbox = await opened(world, environment)
        results: list[Result] = []
        environment.lease()
        environment.run(work(results.append))
        sandbox.say(b"early\n")
        await asyncio.sleep(PART_DELAY_S - 0.01)
        assert not world.parts()
        await asyncio.sleep(0.02)
        assert [line for _, line in world.parts()[0].lines] == [b"early\n"]
        world.sinks[0].response("r1", "application/json", b"1")
        assert results[0].lines == []
        assert b"early" in results[0].earlier

    play(body)


def test_what_a_running_attempt_prints_is_written_at_once_when_it_is_much() -> None:
    async def body(world: World, environment: Environment) -> None:
        sandbox = await opened(world, environment)
        environment.lease()
        environment.run(work(lambda _: None))
        line = b"x" * (LOG_READ_BYTES - 1) + b"\n"
        for number in range(PART_BYTES // LOG_READ_BYTES):
            assert len(world.parts()) == 0, number
            sandbox.say(line)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert sum(len(text) for _, text in world.parts()[0].lines) == PART_BYTES
        world.sinks[0].response("r1", "application/json", b"1")

    play(body)


def test_an_endless_printer_does_not_keep_an_answer() -> None:
    """Who writes faster than the end of an attempt reads is left behind after 4 MB."""

    async def body(world: World, environment: Environment) -> None:
        await opened(world, environment)
        results: list[Result] = []
        environment.lease()
        environment.run(work(results.append))
        taken = 0
        line = b"x" * (LOG_READ_BYTES - 1) + b"\n"

        def endless(descriptor: int, size: int) -> bytes:
            nonlocal taken
            taken += size
            return line

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lambent.environments.output.os.read", endless)
            patch.setattr("lambent.environments.output._NOTHING_WAITS", b"")  # the pipe itself is empty
            world.sinks[0].response("r1", "application/json", b"1")
        assert taken == LOG_DRAIN_BYTES_MAX
        assert len(results) == 1

    play(body)


def test_a_runtime_that_closed_its_channel_and_lives_on_is_ended_after_half_a_second() -> None:
    async def body(world: World, environment: Environment) -> None:
        sandbox = await opened(world, environment)
        results: list[Result] = []
        environment.lease()
        environment.run(work(results.append))
        world.sinks[0].gone()
        await asyncio.sleep(GONE_GRACE_S - 0.01)
        assert not results
        await asyncio.sleep(0.02)
        assert [result.error_type for result in results] == ["Runtime.ExitError"]
        assert b"without providing a reason" in results[0].body
        await world.settled()
        assert sandbox.asked[-2:] == ["signal runtime 9", "reset"]

    play(body)


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (Exit(3, None, out_of_memory=False), b"exit status 3"),
        (Exit(None, 9, out_of_memory=True), b"signal: killed"),
        (Exit(None, 11, out_of_memory=False), b"segmentation fault"),
    ],
)
def test_a_runtime_whose_end_is_heard_late_still_says_how_it_ended(ending: Exit, text: bytes) -> None:
    """On a machine too busy to reap it in time: nobody is there to be killed, and its own exit comes."""

    async def body(world: World, environment: Environment) -> None:
        sandbox = await opened(world, environment)
        sandbox.ending = ending
        results: list[Result] = []
        environment.lease()
        environment.run(work(results.append))
        world.sinks[0].gone()
        await asyncio.sleep(GONE_GRACE_S + 0.02)
        assert [text in result.body for result in results] == [True]
        await world.settled()

    play(body)


def test_a_runtime_whose_end_is_never_heard_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MUTE_END_S_MAX == 5.0
    monkeypatch.setattr("lambent.environments.runtime.MUTE_END_S_MAX", 0.01)

    async def body(world: World, environment: Environment) -> None:
        sandbox = await opened(world, environment)
        sandbox.ending = None
        results: list[Result] = []
        environment.lease()
        environment.run(work(results.append))
        world.sinks[0].gone()
        await asyncio.sleep(GONE_GRACE_S + 0.05)
        assert [b"without providing a reason" in result.body for result in results] == [True]
        await world.settled()

    play(body)


def test_idle_environments_are_frozen_and_swept_and_a_full_node_gives_up_in_time() -> None:
    """One place on the node: the second request waits for it until the limit, looked at every second."""
    clock = ManualClock()

    async def main() -> None:
        world = World(clock)
        anything: Any = world
        blueprints: Any = type("Blueprints", (), {"blueprint": staticmethod(lambda _: blueprint())})()
        environments = Environments(
            driver=anything,
            carriers=anything,
            blueprints=blueprints,
            clock=clock,
            new_splitter=lambda _: LineSplitter(rate=rate()),
            record=world.record,
            current=lambda _ref, _version: VERSION,
            limits=EnvironmentLimits(environments_max=1, idle_timeout_s=5.0),
        )
        environments.start()
        done: list[Result] = []
        failed: list[tuple[float, str]] = []

        over = asyncio.Event()

        def fail(_: Work, text: str) -> None:
            failed.append((clock.monotonic_ns() / 1e9, text))
            over.set()

        def asked() -> Work:
            made = work(done.append, 900.0)
            made.failed = fail
            return made

        environments.submit(environments.entry(VERSION), asked())
        began_s = clock.monotonic_ns() / 1e9
        environments.submit(environments.entry(VERSION), asked())
        await over.wait()
        waited_s = failed[0][0] - began_s
        assert WAIT_S_MAX <= waited_s <= WAIT_S_MAX + 2 * SWEEP_EVERY_S
        assert "this node is full" in str(failed[0][1])
        world.sinks[0].response("r1", "application/json", b"1")
        world.sinks[0].ready()
        (sandbox,) = world.sandboxes
        await asyncio.sleep(FREEZE_AFTER_S / 2)
        assert "freeze" not in sandbox.asked
        await asyncio.sleep(FREEZE_AFTER_S * 2)
        assert "freeze" in sandbox.asked
        await asyncio.sleep(5.0 + 2 * SWEEP_EVERY_S)
        assert environments.count == 0
        await environments.close()

    run_virtual(clock, main())
