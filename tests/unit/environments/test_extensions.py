"""How long runtime and extensions have to end, in virtual time."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from tests.simulation.virtual_time import run_virtual

from lambent.domain.clock import ManualClock
from lambent.environments.channel import ExtensionFacts
from lambent.environments.extensions import Extensions
from lambent.environments.plan import ExtensionProgram
from lambent.runtime_api.extensions import ExtensionsChannel
from lambent.sandbox.port import Command, Exit
from lambent.telemetry.lines import LineSplitter

FACTS = ExtensionFacts("123456789012", "f", "$LATEST", "a.b")


class Sandbox:
    """Remembers which signals came when; a program ends by SIGKILL, and by SIGTERM where it is polite."""

    def __init__(self, *polite: str) -> None:
        self.polite = polite
        self.signals: list[tuple[float, str, int]] = []
        self.ends: dict[str, Callable[[Exit], None]] = {}
        self.runtime_ended = asyncio.Event()

    async def start(self, command: Command, on_exit: Callable[[Exit], None]) -> int:
        self.ends[command.label] = on_exit
        theirs, ours = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.close(ours)
        return theirs

    async def signal(self, label: str, number: int) -> None:
        self.signals.append((round(asyncio.get_running_loop().time(), 3), label, number))
        if number == signal.SIGKILL or label in self.polite:
            if label == "runtime":
                self.runtime_ended.set()
            else:
                self.ends[label](Exit(None, number, out_of_memory=False))


async def prepared(sandbox: Any, clock: ManualClock, *names: str) -> Extensions:
    crashes: list[Any] = []
    extensions = Extensions(
        lambda sink: ExtensionsChannel(sink, FACTS, names, lambda channel: None),
        clock,
        LineSplitter,
        on_output=lambda: None,
        on_moved=lambda: None,
        on_end=crashes.append,
    )
    await extensions.start(sandbox, [ExtensionProgram(name, (f"/opt/extensions/{name}",), {}) for name in names])
    assert crashes == []
    return extensions


def scenario(body: Callable[[ManualClock], Any]) -> None:
    clock = ManualClock()

    async def main() -> None:
        began = asyncio.get_running_loop().time()
        assert began >= 0
        await body(clock)

    run_virtual(clock, main())


def relative(signals: list[tuple[float, str, int]], began: float) -> list[tuple[float, str, int]]:
    return [(round(at - began, 2), label, number) for at, label, number in signals]


def test_who_does_not_end_is_given_two_seconds() -> None:
    async def body(clock: ManualClock) -> None:
        loop = asyncio.get_running_loop()
        sandbox = Sandbox()
        extensions = await prepared(sandbox, clock, "told", "deaf")
        extensions.channel.roster.register("told", ["SHUTDOWN"])  # type: ignore[attr-defined]
        began = loop.time()
        await extensions.shut_down(sandbox, "spindown", sandbox.runtime_ended.wait)  # type: ignore[arg-type]
        assert loop.time() - began == pytest.approx(2.0, abs=0.01)
        assert relative(sandbox.signals, began) == [
            (0.0, "runtime", signal.SIGTERM),
            (0.6, "runtime", signal.SIGKILL),
            (0.6, "extension deaf", signal.SIGKILL),
        ]
        extensions.close()

    scenario(body)


def test_who_ends_at_once_is_not_waited_for() -> None:
    async def body(clock: ManualClock) -> None:
        loop = asyncio.get_running_loop()
        sandbox = Sandbox("runtime")
        extensions = await prepared(sandbox, clock, "deaf")
        began = loop.time()
        await extensions.shut_down(sandbox, "timeout", sandbox.runtime_ended.wait)  # type: ignore[arg-type]
        assert loop.time() - began < 0.01
        await extensions.shut_down(sandbox, "timeout", sandbox.runtime_ended.wait)  # type: ignore[arg-type]
        assert [label for _, label, _ in sandbox.signals] == ["runtime", "extension deaf"], "only once"
        extensions.close()

    scenario(body)


def test_internal_ones_bring_the_runtime_its_share_of_half_a_second() -> None:
    async def body(clock: ManualClock) -> None:
        loop = asyncio.get_running_loop()
        sandbox = Sandbox()
        extensions = await prepared(sandbox, clock)
        channel: Any = extensions.channel
        channel.roster.register("inside", [])
        channel.count = 1
        began = loop.time()
        await extensions.shut_down(sandbox, "spindown", sandbox.runtime_ended.wait)  # type: ignore[arg-type]
        assert relative(sandbox.signals, began) == [(0.0, "runtime", signal.SIGTERM), (0.15, "runtime", signal.SIGKILL)]
        extensions.close()

    scenario(body)


def test_without_extensions_nobody_gets_any_time() -> None:
    async def body(clock: ManualClock) -> None:
        sandbox = Sandbox()
        extensions = await prepared(sandbox, clock)
        await extensions.shut_down(sandbox, "spindown", sandbox.runtime_ended.wait)  # type: ignore[arg-type]
        assert sandbox.signals == []
        extensions.close()

    scenario(body)
