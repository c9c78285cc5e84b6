"""Environments in virtual time around runtimes that start as a test says, with wishes that it sets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tests.simulation.virtual_time import run_virtual
from tests.unit.functions.house import ref
from tests.unit.limits.test_environment_limits import VERSION, Channel, World, blueprint, rate, work

from lambent.domain.clock import ManualClock
from lambent.environments.environment import Environment
from lambent.environments.lifecycle import State
from lambent.environments.plan import Blueprint, RuntimeMissing
from lambent.environments.service import EnvironmentLimits, Environments
from lambent.environments.work import Result, Work
from lambent.functions.model import Change, FunctionVersion
from lambent.functions.provisioned import Wish
from lambent.sandbox.port import Exit
from lambent.telemetry.lines import LineSplitter

REF = ref()


def version(number: str, generation: int = 1) -> FunctionVersion:
    return replace(VERSION, version=number, generation=generation)


class ProvisionedWorld(World):
    """`starts` holds when each runtime was started, `act` says what it does then (given its number, from 1)."""

    def __init__(self, clock: ManualClock, **limits: Any) -> None:
        super().__init__(clock)
        self.began_ns = clock.monotonic_ns()
        self.starts: list[float] = []
        self.act: Callable[[int], str | float] = lambda number: 1.0
        self.versions: dict[str, FunctionVersion] = {number: version(number) for number in ("1", "2", "3")}
        self.missing_runtime: str | None = None
        self.has_disk = True
        self.wishes: dict[str, Wish] = {}
        self.allocated: list[int] = []
        self.results: list[Result] = []
        anything: Any = self
        self.environments = Environments(
            driver=anything,
            carriers=anything,
            blueprints=anything,
            clock=clock,
            new_splitter=lambda _: LineSplitter(rate=rate()),
            record=self.record,
            current=lambda _, number: self.versions.get(number),
            limits=EnvironmentLimits(**{"environments_max": 100, "idle_timeout_s": 600.0, **limits}),
            wishes=lambda _: dict(self.wishes),
            allocated=lambda _, number: self.allocated.append(number),
            has_disk=lambda: self.has_disk,
        )

    def blueprint(self, version: FunctionVersion) -> Blueprint:
        if self.missing_runtime is not None:
            raise RuntimeMissing(self.missing_runtime)
        return blueprint()

    def open_frames(self, sink: Any) -> Any:
        self.sinks.append(sink)
        self.starts.append(self.now_s)
        act = self.act(len(self.starts))
        loop = asyncio.get_running_loop()
        if isinstance(act, float):
            loop.call_later(act, sink.ready)
        elif act == "fail":
            loop.call_later(0.1, sink.init_error, "Runtime.Unknown", b"{}")
            loop.call_later(0.2, sink.runtime.ended, Exit(1, None, out_of_memory=False))
        elif act == "die":  # right after a good init
            loop.call_later(0.1, sink.ready)
            loop.call_later(0.2, sink.runtime.ended, Exit(1, None, out_of_memory=False))
        return Channel(self.events), None

    @property
    def now_s(self) -> float:
        return (self.clock.monotonic_ns() - self.began_ns) / 1e9

    def wish(self, qualifier: str, shares: Mapping[str, int], *, modified_ms: int | None = None) -> None:
        """As a Put, or as an alias that moves when `modified_ms` stays."""
        old = self.wishes.get(qualifier)
        if modified_ms is None:
            modified_ms = 1 if old is None else old.modified_ms + 1
        self.wishes[qualifier] = Wish(sum(shares.values()), modified_ms, shares)
        self.told()

    def move(self, qualifier: str, shares: Mapping[str, int]) -> None:
        self.wish(qualifier, shares, modified_ms=self.wishes[qualifier].modified_ms)

    def told(self, kind: str = "provisioned") -> None:
        self.environments.on_change(Change(kind, REF, None))

    def standing(self, qualifier: str = "1") -> tuple[int, int, str]:
        standing = self.environments.standing(REF, qualifier)
        return standing.available, standing.allocated, standing.status

    def reason(self, qualifier: str = "1") -> str | None:
        return self.environments.standing(REF, qualifier).reason

    def of(self, number: str) -> list[Environment]:
        return [one for one in self.environments.all() if one.version.version == number and one.is_provisioned]

    def submit(self, number: str = "1") -> None:
        self.environments.submit(self.environments.entry(self.versions[number]), work(self.results.append))

    def busy(self) -> list[Environment]:
        return [one for one in self.environments.all() if one.state is State.INVOKING and one.work is not None]

    def answer(self, environment: Environment) -> None:
        running: Work | None = environment.work
        assert running is not None
        environment.response(running.event.request_id, "application/json", b"1")
        environment.ready()


def play(
    body: Callable[[ProvisionedWorld], Any], *, world: type[ProvisionedWorld] = ProvisionedWorld, **limits: Any
) -> None:
    """Run a body; whatever it leaves is closed, and then nothing is there."""
    clock = ManualClock()

    async def main() -> None:
        made = world(clock, **limits)
        made.environments.start()
        try:
            await body(made)
        finally:
            await made.environments.close()
        assert made.environments.count == 0
        assert len(asyncio.all_tasks()) == 1

    run_virtual(clock, main())
