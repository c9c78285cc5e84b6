"""How long other programs are waited for: each limit with a program that never answers, made short for the test."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.simulation.virtual_time import VirtualLoop

from lambent.commands import guess
from lambent.domain.clock import ManualClock
from lambent.runtimes import discovery, install, staging
from lambent.runtimes.model import Interpreter
from lambent.sandbox import choose, spawner
from lambent.sandbox.container import CLOSE_S_MAX, ContainerDriver
from lambent.sandbox.groups import Groups
from lambent.sandbox.port import SandboxError
from lambent.sandbox.spawner import Spawner

SHORT_S = 0.05


@pytest.fixture
def endless(tmp_path: Path) -> str:
    """A program that never answers."""
    program = tmp_path / "node"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    return str(program)


def test_an_interpreter_that_does_not_answer_is_left_out(endless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert discovery.PROBE_LIMIT_S == 10.0
    monkeypatch.setattr(discovery, "PROBE_LIMIT_S", SHORT_S)
    assert discovery._probe("python", endless) is None


def test_bytecode_is_not_waited_for_for_ever(endless: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert staging.COMPILE_LIMIT_S == 20.0
    monkeypatch.setattr(staging, "COMPILE_LIMIT_S", SHORT_S)
    interpreter: Any = type("Endless", (), {"executable": endless, "version": "3.11"})()
    assert set(Interpreter.__annotations__) >= {"executable", "version"}
    with pytest.raises(subprocess.TimeoutExpired):
        staging.compile_for(tmp_path / "staged", interpreter)


def test_an_installation_is_not_waited_for_for_ever(endless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert install.INSTALL_LIMIT_S == 900.0
    monkeypatch.setattr(install, "INSTALL_LIMIT_S", SHORT_S)
    with pytest.raises(install.InstallError, match="timed out"):
        install._run([endless])


def test_a_node_that_does_not_tell_its_version_is_guessed(endless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert guess.NODE_ANSWER_LIMIT_S == 5.0
    monkeypatch.setattr(guess, "NODE_ANSWER_LIMIT_S", SHORT_S)
    monkeypatch.setenv("PATH", f"{Path(endless).parent}:/usr/bin:/bin")
    assert guess._node() == guess.NODE_DEFAULT


def test_a_spawner_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert spawner.HELLO_S_MAX == 60.0
    monkeypatch.setattr(spawner, "HELLO_S_MAX", SHORT_S)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, pytest.raises(SandboxError, match="hear from the spawner"):
        spawner._hello(ours, 0, 0, None)


def test_a_tier_whose_first_blank_does_not_come_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose.PROBE_S_MAX == 15.0
    monkeypatch.setattr(choose, "PROBE_S_MAX", SHORT_S)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ended = type("Ended", (), {"wait": lambda self, limit_s: 0})()
    silent = Spawner("container", ended, ours, "unit", Groups(0, ()), True, (), 8)
    with theirs, pytest.raises(SandboxError, match="try one blank"):
        choose.probe(silent, "base")


def test_a_spawner_that_does_not_end_is_killed_in_the_end() -> None:
    """A real process that does not notice the end of the conversation, on a clock that jumps."""
    clock = ManualClock()
    process = subprocess.Popen(["/bin/sleep", "60"])

    async def main() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        driver = ContainerDriver(Spawner("container", process, ours, "unit", Groups(0, ()), True, (), 8))
        began_ns = clock.monotonic_ns()
        with pytest.raises(SandboxError, match="does not end"):
            await _refused_kill(driver)
        assert (clock.monotonic_ns() - began_ns) / 1e9 == pytest.approx(CLOSE_S_MAX, abs=0.01)
        await driver.close()
        theirs.close()

    async def _refused_kill(driver: ContainerDriver) -> None:
        def refuse() -> None:
            raise PermissionError(1, "it is root's")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(process, "kill", refuse)
            await driver.close()

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        runner.run(main())
    assert process.returncode == -9
