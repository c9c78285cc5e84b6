"""Whatever runtimes and sandboxes do, in whatever order: each work ends once, nothing is left, nothing waits for ever.

Seeded storms in virtual time. Sandboxes are slow and sometimes fail; runtimes get ready, fail, hang, exit, answer at once
or as a stream, for callers who are slow or gone, and fall silent, and so do the extensions that some functions have; requests of several tenants come in bursts on a node that is too small, while functions are updated and
deleted and provisioned concurrency comes and goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.simulation.virtual_time import run_virtual

from lambent.domain.clock import ManualClock
from lambent.domain.names import FunctionRef
from lambent.environments.channel import ExtensionsSink, ExtensionStatus, Flow, Piece, RuntimeEvent, RuntimeSink
from lambent.environments.plan import FRAMES, Blueprint, ExtensionProgram, StartPlan
from lambent.environments.provisioning import NODE_SHARE
from lambent.environments.service import EnvironmentLimits, Environments
from lambent.environments.work import Result, Work
from lambent.functions.model import Change, Code, Configuration, FunctionVersion, Logging
from lambent.functions.provisioned import Wish
from lambent.runtime_api.extension_machine import Extension, Move, Roster
from lambent.runtime_api.extension_machine import State as ExtensionState
from lambent.sandbox.port import Binding, Command, Exit, Limits, SandboxError, Tier, Usage
from lambent.telemetry.lines import LineSplitter

SEEDS = range(60)
ENVIRONMENTS_MAX = 3
WORKS = 60
TIMEOUT_S = 1.0
WAIT_S_MAX = 20.0


class Channel:
    """A runtime's end and the platform's end in one: the storm plays the runtime."""

    def __init__(self, storm: Storm, sink: RuntimeSink) -> None:
        self.storm, self.sink = storm, sink
        self.sandbox: Sandbox | None = None
        self.is_ready = self.is_closed = False
        self.event: RuntimeEvent | None = None
        self.is_streaming = self.is_paused = False

    def dispatch(self, event: RuntimeEvent) -> None:
        assert self.is_ready, "an event for a runtime that did not ask for one"
        assert not self.is_closed
        assert self.sandbox is not None
        assert not self.sandbox.is_frozen, "an event for a frozen runtime"
        assert self.sandbox.tenant in (None, event.tenant_id), "a sandbox that another tenant has used"
        self.sandbox.tenant = event.tenant_id
        self.is_ready, self.event = False, event
        act = self.storm.draw(
            {"answer": 10, "error": 3, "large": 1, "exit": 2, "silence": 1, "answer and hang": 1, "stream": 10}
        )
        self.storm.later(0.3, self.do, act, self.sandbox.life)

    def abandon(self) -> None:
        self.event = None

    def pause(self) -> None:
        assert not self.is_paused
        self.is_paused = True

    def resume(self) -> None:
        assert self.is_paused
        self.is_paused = False

    def read_rest(self) -> None:
        """Some had said more than was read."""
        if self.is_streaming and self.storm.random.random() < 0.5:
            self.sink.streamed((b"last",), 4)
            if self.storm.random.random() < 0.5:
                self.end_stream("stream end")
                if self.storm.random.random() < 0.5:
                    self.sink.ready()

    def end_stream(self, act: str) -> None:
        self.is_streaming = False
        if self.event is not None:
            self.event = None
            if act == "stream end":
                self.sink.stream_ended()
            else:
                self.sink.stream_failed("Function.Unknown", b"{}")

    def go_on(self, life: int) -> None:
        """What comes next of a stream."""
        act = self.storm.draw({"chunk": 8, "stream end": 3, "stream fail": 1, "exit": 1, "silence": 1, "flood": 1})
        self.storm.later(0.2, self.do, act, life)

    def close(self) -> None:
        self.is_closed = True

    def do(self, act: str, life: int) -> None:
        """What the runtime does, if it still lives, runs, and is listened to."""
        sandbox = self.sandbox
        if sandbox is None or sandbox.life != life or self.is_closed:
            return
        if sandbox.is_frozen:  # it goes on when it is thawed
            self.storm.later(0.1, self.do, act, life)
            return
        if self.is_streaming and self.is_paused and act != "exit":
            self.storm.later(0.1, self.do, act, life)  # it blocks in its write
            return
        sandbox.print(f"{act}\n")
        if act in ("chunk", "flood"):
            size = 60_000_000 if act == "flood" else 3
            self.sink.streamed((b"a", memoryview(bytes(size - 1))), size)
            self.go_on(life)
            return
        if act in ("stream end", "stream fail"):
            self.end_stream(act)
            self.storm.later(0.1, self.do, self.storm.draw({"ask": 20, "exit": 1, "silence": 1}), life)
            return
        if act == "stream" and self.event is not None:
            self.is_streaming = True
            self.sink.stream_started(self.event.request_id, "text/plain")
            self.go_on(life)
            return
        if act == "exit":
            sandbox.end("runtime", Exit(self.storm.random.choice((0, 1)), None, out_of_memory=False))
            return
        if act in ("ready", "init error"):
            if act == "init error":
                self.sink.init_error("Runtime.Unknown", b"{}")
                self.storm.later(2.0, self.do, "exit", life)
            else:
                self.is_ready = True
                self.sink.ready()
            return
        if act == "silence":
            return
        if self.event is not None:
            request_id, self.event = self.event.request_id, None
            if act == "error":
                self.sink.error(request_id, "Function.Unknown", b"{}")
            elif act == "large":
                self.sink.response_too_large(request_id, 7_000_000)
            else:
                self.sink.response(request_id, "application/json", b"1")
        if act != "answer and hang" and not self.is_closed:
            self.is_ready = True
            self.sink.ready()
            self.storm.later(0.2, self.die_idle, life)

    def die_idle(self, life: int) -> None:
        if self.storm.random.random() < 0.05 and self.sandbox is not None and self.sandbox.life == life:
            self.sandbox.end("runtime", Exit(None, 11, out_of_memory=False))


class Caller:
    """Takes a response as it comes, at a pace of its own; what it hears must be in order."""

    def __init__(self, storm: Storm, ended: list[str]) -> None:
        self.storm, self.ended = storm, ended
        self.flow: Flow | None = None
        self.is_over = False

    def start(self, content_type: str, flow: Flow) -> None:
        assert self.flow is None
        assert not self.ended
        self.flow = flow

    def write(self, pieces: Sequence[Piece], size: int) -> None:
        assert self.flow is not None
        assert not self.ended
        assert not self.is_over
        if self.storm.random.random() < 0.3:
            self.flow.pause()
            self.storm.later(0.3, self.flow.resume)
        elif self.storm.random.random() < 0.02:
            self.flow.pause()  # for ever

    def end(self) -> None:
        assert self.flow is not None
        assert not self.is_over
        self.is_over = True


class Company:
    """The extensions of one life of a runtime: the storm plays them, by the product's own table."""

    def __init__(self, storm: Storm, sink: ExtensionsSink, external: Sequence[str]) -> None:
        self.storm, self.sink = storm, sink
        self.roster = Roster(external)
        self.count = len(self.roster)
        self.failure: tuple[str, str] | None = None
        self.sandbox: Sandbox | None = None
        self.is_closed = False
        self.told: set[str] = set()
        """Who has been told of its end."""

    @property
    def is_external_registered(self) -> bool:
        return self.roster.is_external_registered

    @property
    def is_ready(self) -> bool:
        return self.roster.is_ready

    @property
    def is_busy(self) -> bool:
        return self.roster.is_busy

    def close_registration(self) -> None:
        self.roster.is_open = False

    def statuses(self) -> list[ExtensionStatus]:
        return [ExtensionStatus(one.name, one.state.value, one.events, one.error_type) for one in self.roster]

    def launch_failed(self, name: str, error_type: str) -> None:
        self.roster.get(name).move(Move.LAUNCH_ERROR, name)

    def close(self) -> None:
        self.is_closed = True

    def invoke(self, event: RuntimeEvent) -> None:
        assert not self.is_closed
        for one in self.roster:
            if "INVOKE" in one.events:
                assert one.state is ExtensionState.READY, "an invocation before all were ready"
                one.move(Move.EVENT, one.name)
                act = self.storm.draw({"next": 12, "exit": 1, "report": 1, "silence": 1})
                self.storm.later(0.6, self.do, act, one)

    def shut_down(self, reason: str, deadline_ms: int) -> frozenset[str]:
        assert reason in ("spindown", "timeout", "failure")
        told = {one.name for one in self.roster if one.is_external and "SHUTDOWN" in one.events}
        for name in told - self.told:
            self.storm.later(3.0, self.do, "exit", self.roster.get(name))
        self.told |= told
        return frozenset(told)

    def do(self, act: str, one: Extension) -> None:
        """What an extension does, if it still lives and runs."""
        sandbox = self.sandbox
        if self.is_closed or sandbox is None or (one.is_external and f"extension {one.name}" not in sandbox.programs):
            return
        if sandbox.is_frozen:
            self.storm.later(0.1, self.do, act, one)
            return
        if act == "exit" and one.is_external:
            sandbox.end(f"extension {one.name}", Exit(self.storm.random.choice((0, 1)), None, out_of_memory=False))
        elif act == "register" and one.may(Move.REGISTER):
            events = self.storm.random.choice((["INVOKE", "SHUTDOWN"], ["INVOKE"], ["SHUTDOWN"], []))
            self.roster.register(one.name, events)
            self.storm.later(0.2, self.do, self.storm.draw({"next": 20, "exit": 1, "report": 1, "silence": 1}), one)
            self.sink.extension_moved()
        elif act == "next" and one.may(Move.NEXT):
            one.move(Move.NEXT, one.name)
            self.sink.extension_moved()
        elif act == "report" and one.may(Move.EXIT_ERROR):
            one.move(Move.EXIT_ERROR, one.name)
            if self.failure is None:
                self.failure = "Extension.ExitError", "reported"
                self.sink.extension_failed()

    def begin(self, name: str, sandbox: Sandbox) -> None:
        """An external one was started."""
        self.sandbox = sandbox
        act = self.storm.draw({"register": 20, "exit": 1, "silence": 1})
        self.storm.later(0.1, self.do, act, self.roster.get(name))

    def begin_internal(self, sandbox: Sandbox) -> None:
        """The runtime was started; something in it may register."""
        self.sandbox = sandbox
        if self.storm.random.random() < 0.2 and self.roster.is_open:
            one = self.roster.register("inside", ["INVOKE"])
            self.count = len(self.roster)
            self.storm.later(0.2, self.do, "next", one)


class Sandbox:
    """Counts its runtimes as lives; slow, and not to be relied upon."""

    api_address = "127.0.0.1:9001"
    listener: Any = None

    def __init__(self, storm: Storm, number: int) -> None:
        self.storm, self.id = storm, str(number)
        self.life = 0
        self.is_frozen = False
        self.tenant: str | None = None
        self.programs: dict[str, tuple[Callable[[Exit], None], int]] = {}
        """What runs: whom to tell of its end, and its end of the log pipe."""
        self.company: Company | None = None

    async def bind(self, binding: Binding) -> None:
        await self.storm.step("bind")

    async def set_cpu(self, vcpus: float | None) -> None:
        await self.storm.step("set cpu")

    async def start(self, command: Command, on_exit: Callable[[Exit], None]) -> int:
        await self.storm.step("start")
        assert command.label not in self.programs, "two programs of one name in one sandbox"
        theirs, log = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.programs[command.label] = on_exit, log
        company = self.company
        assert company is not None
        if command.label != "runtime":
            if self.storm.random.random() < 0.05:
                self.storm.later(0.05, self.end, command.label, Exit(None, None, out_of_memory=False, error=13))
            else:
                company.begin(command.label.removeprefix("extension "), self)
            return theirs
        assert company.is_external_registered, "the runtime before its extensions"
        self.life += 1
        company.begin_internal(self)
        channel: Any = command.channel
        channel.sandbox = self
        act = self.storm.draw({"ready": 12, "init error": 2, "exit": 2, "silence": 1})
        self.storm.later(0.5, channel.do, act, self.life)
        return theirs

    def print(self, text: str) -> None:
        if "runtime" in self.programs:
            os.write(self.programs["runtime"][1], text.encode())

    def end(self, label: str, exit_: Exit) -> None:
        """The program is over: its log closes, its end is reported once."""
        program = self.programs.pop(label, None)
        if program is not None:
            if label == "runtime":
                self.life += 1
            os.close(program[1])
            program[0](exit_)

    async def signal(self, label: str, number: int) -> None:
        await self.storm.step("signal")
        self.is_frozen = False
        if number == 9 or self.storm.random.random() < 0.5:
            self.storm.later(0.05, self.end, label, Exit(None, number, out_of_memory=False))

    def end_all(self) -> None:
        for label in list(self.programs):
            self.end(label, Exit(None, 9, out_of_memory=False))

    async def reset(self) -> None:
        await self.storm.step("reset")
        self.is_frozen = False
        self.end_all()

    def forgive(self) -> None:
        pass

    def peak_bytes(self) -> int:
        return self.usage().memory_peak_bytes

    def usage(self) -> Usage:
        return Usage(1_048_576, 1)

    def freeze_now(self) -> bool:
        """Half of the time it has to be asked for."""
        if self.storm.random.random() < 0.5:
            return False
        self.is_frozen = True
        return True

    def thaw_now(self) -> bool:
        if self.storm.random.random() < 0.5:
            return False
        self.is_frozen = False
        return True

    async def freeze(self) -> None:
        self.is_frozen = True
        await self.storm.step("freeze")

    async def thaw(self) -> None:
        await self.storm.step("thaw")
        self.is_frozen = False

    async def destroy(self) -> None:
        await self.storm.step("destroy", can_fail=False)
        self.end_all()
        self.storm.alive.remove(self)


@dataclass
class _Door:
    sandbox: Sandbox

    def close(self) -> None: ...


@dataclass
class Storm:
    """Driver, carriers and blueprints in one, all drawing from one seed."""

    random: random.Random
    failures: float
    tier: Tier = field(default_factory=lambda: Tier("storm", ()))
    alive: list[Sandbox] = field(default_factory=list)
    made: int = 0
    alive_max: int = 0

    def draw(self, weights: Mapping[str, int]) -> str:
        return self.random.choices(list(weights), list(weights.values()))[0]

    def later(self, within_s: float, call: Callable[..., None], *arguments: Any) -> None:
        asyncio.get_running_loop().call_later(self.random.random() * within_s, call, *arguments)

    async def step(self, name: str, *, can_fail: bool = True) -> None:
        await asyncio.sleep(self.random.random() * 0.05 if self.random.random() < 0.5 else 0)
        if can_fail and self.random.random() < self.failures:
            raise SandboxError(name, 5)

    async def create(self, image: str, limits: Limits) -> Sandbox:
        await self.step("create")
        self.made += 1
        self.alive.append(Sandbox(self, self.made))
        self.alive_max = max(self.alive_max, len(self.alive))
        return self.alive[-1]

    async def close(self) -> None: ...

    def open_door(self, sandbox: Any, origin: Any, version: Any) -> Any:
        return _Door(sandbox)

    def open_extensions(self, sink: ExtensionsSink, door: Any, facts: Any, external: Sequence[str]) -> Any:
        company = door.sandbox.company = Company(self, sink, external)
        return company

    def open_http(self, sink: RuntimeSink, sandbox: Any, door: Any) -> Any:
        raise AssertionError("frames only")

    def open_frames(self, sink: RuntimeSink) -> Any:
        channel = Channel(self, sink)
        return channel, channel

    def blueprint(self, version: FunctionVersion) -> Blueprint:
        names = {"one": (), "two": ("alone",), "three": ("first", "second")}[version.ref.name]
        programs = tuple(ExtensionProgram(name, (f"/opt/extensions/{name}",), {}) for name in names)
        plan = StartPlan(("/bin/x",), {}, FRAMES, extensions=programs)
        return Blueprint("image", lambda origin, address: plan, "python:3.11.v1", "arn")


def version_of(name: str, generation: int) -> FunctionVersion:
    ref = FunctionRef("000000000000", "us-east-1", name)
    return FunctionVersion(
        ref=ref,
        version="$LATEST",
        configuration=Configuration(
            "role", "python3.11", "a.b", Logging("Text", None, None, f"/aws/lambda/{name}"), timeout_s=1
        ),
        code=Code("0" * 64, "x", 1),
        revision_id="r",
        state="Active",
        state_reason=None,
        state_reason_code=None,
        generation=generation,
        last_modified_ms=0,
    )


async def storm_over(seed: int, clock: ManualClock) -> None:
    chance = random.Random(seed)
    storm = Storm(chance, failures=chance.choice((0.0, 0.0, 0.05)))
    current: dict[str, FunctionVersion | None] = {name: version_of(name, 1) for name in ("one", "two", "three")}
    wanted: dict[str, int] = {}

    def wishes(ref: FunctionRef) -> dict[str, Wish]:
        number = wanted.get(ref.name, 0) if current[ref.name] is not None else 0
        return {"live": Wish(number, 1, {"$LATEST": number})} if number else {}

    driver: Any = storm
    carriers: Any = storm
    environments = Environments(
        driver=driver,
        carriers=carriers,
        blueprints=storm,
        clock=clock,
        new_splitter=lambda version: LineSplitter(),
        record=lambda record: None,
        current=lambda ref, qualifier: current[ref.name],
        limits=EnvironmentLimits(
            ENVIRONMENTS_MAX,
            5.0,
            memory_budget_mb=(0, 1, 300)[seed % 3],
            init_limit_s=0.4,
            wait_s_max=WAIT_S_MAX,
            blanks=0,
        ),
        wishes=wishes,
    )
    environments.start()
    ended: dict[str, list[str]] = {}
    moved = asyncio.Event()

    def done(result: Result) -> None:
        ended[result.work.event.request_id].append(result.status)
        moved.set()

    def failed(work: Work, text: str) -> None:
        ended[work.event.request_id].append(text)
        moved.set()

    for number in range(WORKS):
        await asyncio.sleep(chance.choice((0, 0, 0.01, 0.1, 0.5, 8.0 if chance.random() < 0.1 else 0.0)))
        name = chance.choice(list(current))
        version = current[name]
        if chance.random() < 0.1:
            gone = version is not None and chance.random() < 0.3
            current[name] = None if gone else version_of(name, number + 2)
            ref = FunctionRef("000000000000", "us-east-1", name)
            environments.on_change(Change("deleted" if gone else "updated", ref, None))
            continue
        if chance.random() < 0.1:
            wanted[name] = chance.randrange(3)
            environments.on_change(Change("provisioned", FunctionRef("000000000000", "us-east-1", name), None))
            continue
        if version is None:
            continue
        tenant = chance.choice(("", "", "red", "blue"))
        request_id = str(number)
        ended[request_id] = []
        event = RuntimeEvent(request_id, 0, "arn", "", "", "", tenant, "application/json", b"{}")
        caller = Caller(storm, ended[request_id]) if chance.random() < 0.6 else None
        work = Work(event, TIMEOUT_S, done, failed, sink=caller)
        environments.submit(environments.entry(version, tenant), work)
    if chance.random() < 0.7:  # else the node is closed over running work
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S_MAX + TIMEOUT_S + 5):
                while not all(ended.values()):
                    moved.clear()
                    await moved.wait()
        assert all(ended.values()), (
            f"{[r for r, e in ended.items() if not e]} wait for ever: {list(environments.all())}"
        )
    provisioned = sum(environment.is_provisioned for environment in environments.all())
    assert provisioned <= int(ENVIRONMENTS_MAX * NODE_SHARE)
    await environments.close()
    assert {request_id: len(ends) for request_id, ends in ended.items()} == dict.fromkeys(ended, 1)
    assert storm.alive == []
    assert storm.alive_max <= ENVIRONMENTS_MAX
    assert environments.count == 0
    assert environments._shared.awake.running == 0
    assert list(environments.all()) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_every_work_ends_once_and_nothing_is_left(seed: int) -> None:
    clock = ManualClock()
    run_virtual(clock, storm_over(seed, clock))
