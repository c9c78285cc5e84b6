"""The driver's bookkeeping against a spawner that a test plays: cancellations, late answers, its end."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest

from lambent.sandbox import wire
from lambent.sandbox.container import REQUESTS_MAX, ContainerDriver, SpawnerGone
from lambent.sandbox.groups import Groups
from lambent.sandbox.port import Command, Exit, Limits, SandboxError
from lambent.sandbox.spawner import Spawner

LIMITS = Limits(memory_mb=128, cpu_vcpus=1.0, processes_max=64, descriptors_max=64, tmp_mb=512)
ANSWER = struct.Struct("=IIQQiiiI32s")
Body = Callable[[ContainerDriver, socket.socket], Awaitable[None]]


def play(body: Body) -> None:
    """Run a body with a driver and the spawner's end of its socket; the process is a real, short one."""

    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])

    async def main() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        theirs.setblocking(False)
        driver = ContainerDriver(Spawner("container", process, ours, "unit", Groups(0, ()), True, (), 8))
        try:
            await body(driver, theirs)
        finally:
            await driver.close()
            theirs.close()

    asyncio.run(main())


def asked(spawner: socket.socket) -> tuple[int, int, int]:
    """Operation, serial and sandbox of the next request."""
    _, op, serial, sandbox = struct.unpack_from("=IIQQ", spawner.recv(4096))
    return op, serial, sandbox


def say(spawner: socket.socket, kind: int, serial: int, sandbox: int = 0, *, error: int = 0, fds: int = 0) -> None:
    """Answer, with so many descriptors."""
    sent = [socket.socket() for _ in range(fds)]
    message = ANSWER.pack(wire.VERSION, kind, serial, sandbox, error, 7, 0, 0, b"a step")
    wire.send(spawner, message, [sock.fileno() for sock in sent])
    for sock in sent:
        sock.close()


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_create_cancelled_as_its_answer_arrives_is_given_back() -> None:
    """The answer is in the future, the task has not run yet: its descriptor and its sandbox must not be lost."""

    async def body(driver: ContainerDriver, spawner: socket.socket) -> None:
        creating = asyncio.ensure_future(driver.create("base", LIMITS))
        await turns()
        _, serial, _ = asked(spawner)
        before = len(os.listdir("/proc/self/fd"))
        say(spawner, wire.RESULT, serial, 99, fds=1)
        driver._on_readable()
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating
        assert len(os.listdir("/proc/self/fd")) == before
        assert asked(spawner)[::2] == (wire.DESTROY, 99)

    play(body)


def test_a_late_answer_is_given_back() -> None:
    async def body(driver: ContainerDriver, spawner: socket.socket) -> None:
        creating = asyncio.ensure_future(driver.create("base", LIMITS))
        await turns()
        _, serial, _ = asked(spawner)
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating
        before = len(os.listdir("/proc/self/fd"))
        say(spawner, wire.RESULT, serial, 98, fds=1)
        driver._on_readable()
        await turns()
        assert len(os.listdir("/proc/self/fd")) == before
        assert asked(spawner)[::2] == (wire.DESTROY, 98)

    play(body)


def test_an_answer_nobody_asked_for_is_dropped_with_its_descriptors() -> None:
    async def body(driver: ContainerDriver, spawner: socket.socket) -> None:
        before = len(os.listdir("/proc/self/fd"))
        say(spawner, wire.RESULT, 4711, 1, fds=3)
        say(spawner, wire.EXIT, 4711, 1)
        driver._on_readable()
        assert len(os.listdir("/proc/self/fd")) == before

    play(body)


def test_a_refusal_carries_step_and_errno() -> None:
    async def body(driver: ContainerDriver, spawner: socket.socket) -> None:
        creating = asyncio.ensure_future(driver.create("base", LIMITS))
        await turns()
        say(spawner, wire.RESULT, asked(spawner)[1], error=13)
        with pytest.raises(SandboxError, match="a step: errno 13") as refused:
            await creating
        assert (refused.value.step, refused.value.errno) == ("a step", 13)

    play(body)


def test_no_more_than_so_many_requests_are_outstanding() -> None:
    async def body(driver: ContainerDriver, spawner: socket.socket) -> None:
        creating = [asyncio.ensure_future(driver.create("base", LIMITS)) for _ in range(REQUESTS_MAX + 5)]
        await turns(5)
        serials = []
        while True:
            try:
                serials.append(asked(spawner)[1])
            except BlockingIOError:
                await turns()
                try:
                    serials.append(asked(spawner)[1])
                except BlockingIOError:
                    break
        assert len(serials) == REQUESTS_MAX
        say(spawner, wire.RESULT, serials[0], error=11)
        await turns(5)
        assert asked(spawner)[0] == wire.CREATE
        for task in creating:
            task.cancel()
        await asyncio.gather(*creating, return_exceptions=True)

    play(body)


def test_the_spawners_end_fails_who_waits_and_ends_what_ran() -> None:
    async def body(driver: ContainerDriver, spawner: socket.socket) -> None:
        creating = asyncio.ensure_future(driver.create("base", LIMITS))
        await turns()
        say(spawner, wire.RESULT, asked(spawner)[1], 5, fds=1)
        sandbox = await creating
        exits: list[Exit] = []
        starting = asyncio.ensure_future(sandbox.start(Command(["/bin/true"], {}, "/", None), exits.append))
        await turns()
        say(spawner, wire.RESULT, asked(spawner)[1], 5, fds=1)
        os.close(await starting)
        waiting = asyncio.ensure_future(sandbox.reset())
        await turns()
        spawner.close()
        with pytest.raises(SpawnerGone):
            await waiting
        assert exits == [Exit(None, 9, False)]
        assert driver.gone.done()
        with pytest.raises(SpawnerGone):
            await driver.create("base", LIMITS)
        await sandbox.destroy()

    play(body)
