"""Whatever runtimes and sandboxes do, in whatever order: each work ends once, nothing is left, nothing waits for ever.

Seeded storms in virtual time. Sandboxes are slow and sometimes fail; runtimes get ready, fail, hang, exit, answer and
fall silent; requests of several tenants come in bursts on a node that is too small, while functions are updated and
deleted and provisioned concurrency comes and goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.simulation.virtual_time import run_virtual

from lambent.domain.clock import ManualClock
from lambent.domain.names import FunctionRef
from lambent.environments.channel import RuntimeEvent, RuntimeSink
from lambent.environments.plan import FRAMES, Blueprint, StartPlan
from lambent.environments.provisioning import NODE_SHARE
from lambent.environments.service import EnvironmentLimits, Environments
from lambent.environments.work import Result, Work
from lambent.functions.model import Change, Code, Configuration, FunctionVersion, Logging
from lambent.functions.provisioned import Wish
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

    def dispatch(self, event: RuntimeEvent) -> None:
        assert self.is_ready, "an event for a runtime that did not ask for one"
        assert not self.is_closed
        assert self.sandbox is not None
        assert not self.sandbox.is_frozen, "an event for a frozen runtime"
        assert self.sandbox.tenant in (None, event.tenant_id), "a sandbox that another tenant has used"
        self.sandbox.tenant = event.tenant_id
        self.is_ready, self.event = False, event
        act = self.storm.draw({"answer": 10, "error": 3, "large": 1, "exit": 2, "silence": 1, "answer and hang": 1})
        self.storm.later(0.3, self.do, act, self.sandbox.life)

    def abandon(self) -> None:
        self.event = None

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
        sandbox.print(f"{act}\n")
        if act == "exit":
            sandbox.end(Exit(self.storm.random.choice((0, 1)), None, out_of_memory=False))
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
            self.sandbox.end(Exit(None, 11, out_of_memory=False))


class Sandbox:
    """Counts its programs as lives; slow, and not to be relied upon."""

    api_address = "127.0.0.1:9001"
    listener: Any = None

    def __init__(self, storm: Storm, number: int) -> None:
        self.storm, self.id = storm, str(number)
        self.life = 0
        self.is_frozen = False
        self.tenant: str | None = None
        self.on_exit: Callable[[Exit], None] | None = None
        self.log = -1

    async def bind(self, binding: Binding) -> None:
        await self.storm.step("bind")

    async def set_cpu(self, vcpus: float | None) -> None:
        await self.storm.step("set cpu")

    async def start(self, command: Command, on_exit: Callable[[Exit], None]) -> int:
        await self.storm.step("start")
        assert self.on_exit is None, "two programs in one sandbox"
        self.life += 1
        self.on_exit = on_exit
        channel: Any = command.channel
        channel.sandbox = self
        theirs, self.log = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        act = self.storm.draw({"ready": 12, "init error": 2, "exit": 2, "silence": 1})
        self.storm.later(0.5, channel.do, act, self.life)
        return theirs

    def print(self, text: str) -> None:
        if self.log >= 0:
            os.write(self.log, text.encode())

    def end(self, exit_: Exit) -> None:
        """The program is over: its log closes, its end is reported once."""
        on_exit, self.on_exit = self.on_exit, None
        if on_exit is not None:
            self.life += 1
            os.close(self.log)
            self.log = -1
            on_exit(exit_)

    async def reset(self) -> None:
        await self.storm.step("reset")
        self.is_frozen = False
        self.end(Exit(None, 9, out_of_memory=False))

    def peak_bytes(self) -> int:
        return self.usage().memory_peak_bytes

    def usage(self) -> Usage:
        return Usage(1_048_576, 1)

    async def freeze(self) -> None:
        self.is_frozen = True
        await self.storm.step("freeze")

    async def thaw(self) -> None:
        await self.storm.step("thaw")
        self.is_frozen = False

    async def destroy(self) -> None:
        await self.storm.step("destroy", can_fail=False)
        self.end(Exit(None, 9, out_of_memory=False))
        self.storm.alive.remove(self)


class _Door:
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
        return _Door()

    def open_http(self, sink: RuntimeSink, sandbox: Any, door: Any) -> Any:
        raise AssertionError("frames only")

    def open_frames(self, sink: RuntimeSink) -> Any:
        channel = Channel(self, sink)
        return channel, channel

    def blueprint(self, version: FunctionVersion) -> Blueprint:
        return Blueprint("image", lambda origin, address: StartPlan(("/bin/x",), {}, FRAMES), "python:3.11.v1", "arn")


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
        environments.submit(environments.entry(version, tenant), Work(event, TIMEOUT_S, done, failed))
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
    assert list(environments.all()) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_every_work_ends_once_and_nothing_is_left(seed: int) -> None:
    clock = ManualClock()
    run_virtual(clock, storm_over(seed, clock))
