"""Helpers that do not read hold up nobody: the spawner goes on with what others ask, and tells them when they have room."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.contracts.sandbox_world import LIMITS, helpers, leftovers, made_place, wait_until_gone
from tests.patience import PATIENCE

from lambent.launcher.build import HERE
from lambent.sandbox import wire
from lambent.sandbox.choose import stop_spawner
from lambent.sandbox.port import Image, Limits, SandboxError
from lambent.sandbox.spawner import BINARY, TMP_POOL_DEFAULT, Spawner, launch_spawner

ANSWER_S_MAX = 40.0 * PATIENCE
QUEUE_MESSAGES = 400
"""More than the kernel takes between two processes by itself, some 280 of the smallest."""
TMP_ASKED_MAX = 8
"""As in launcher/spawner.h."""
UNUSUAL = Limits(memory_mb=128, cpu_vcpus=1.0, processes_max=64, descriptors_max=256, tmp_mb=8)
NOBODY = 1 << 62
"""No sandbox's number."""


class Asked:
    """The server's end of a spawner, which sends without waiting for answers."""

    def __init__(self, spawner: Spawner) -> None:
        self.spawner = spawner
        self.serial = 0
        self.answers: dict[int, wire.Answer] = {}

    def send(self, op: int, sandbox: int = 0, **fields: object) -> int:
        self.serial += 1
        wire.send(self.spawner.socket, wire.request(op, self.serial, sandbox, **fields))  # type: ignore[arg-type]
        return self.serial

    def answer(self, serial: int) -> wire.Answer:
        """Of this request; those that come before are kept."""
        while serial not in self.answers:
            answer = wire.receive(self.spawner.socket)
            assert answer is not None
            for fd in answer.fds:
                os.close(fd)
            self.answers[answer.serial] = answer
        return self.answers.pop(serial)

    def ask(self, op: int, sandbox: int = 0, **fields: object) -> wire.Answer:
        return self.answer(self.send(op, sandbox, **fields))


@pytest.fixture
def launcher() -> Path:
    return BINARY


@pytest.fixture
def place(launcher: Path) -> Iterator[Path]:
    with made_place(launcher) as made:
        yield made


@pytest.fixture
def asked(place: Path) -> Iterator[Asked]:
    try:
        spawner = launch_spawner(
            "container",
            instance=f"unread-{os.getpid()}",
            packages_root=place / "packages",
            images=(Image("base", ()),),
            state_dir=place / "state",
            binary=place / "lambent-launcher",
        )
    except SandboxError as error:
        pytest.skip(f"the container tier does not work here: {error}")
    if not spawner.tmp_on_disk:
        stop_spawner(spawner)
        pytest.skip("there are no discs for /tmp here, and so nobody who makes them")
    spawner.socket.settimeout(ANSWER_S_MAX)
    try:
        yield Asked(spawner)
        assert spawner.process.poll() is None, "the spawner did not survive"
    finally:
        stop_spawner(spawner)
        assert not wait_until_gone(place, spawner.instance)


LOOP_CTL_GET_FREE = 0x4C82
DISC_HELPERS = int(re.findall(r"#define HELPERS (\d+)", (HERE / "tmpdisk.c").read_text())[0])


def discs(place: Path, instance: str) -> int:
    return len(leftovers(place, instance).loops)


@contextmanager
def standing_still(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def filled(place: Path, instance: str) -> None:
    """Wait until the pool has its discs."""
    until = time.monotonic() + ANSWER_S_MAX
    while discs(place, instance) < TMP_POOL_DEFAULT:
        assert time.monotonic() < until, "the pool is not filled"
        time.sleep(0.01)


def test_disc_helpers_that_stand_still_hold_up_nobody(asked: Asked, place: Path) -> None:
    """More discs are waited for than their queue has room for; sandboxes that need none of them live and end meanwhile. For
    those that are given up before their turn comes no disc is made."""
    instance = asked.spawner.instance
    filled(place, instance)
    with standing_still(*helpers(place, instance, "lambent-tmp", DISC_HELPERS)):
        before = [asked.send(wire.CREATE, limits=UNUSUAL, image="base") for _ in range(QUEUE_MESSAGES)]
        assert asked.ask(wire.NAMESPACES, NOBODY).error == errno.ESRCH
        blank = asked.ask(wire.CREATE, limits=LIMITS, image="base")
        assert blank.error == 0
        assert asked.ask(wire.BIND, blank.sandbox, limits=LIMITS).error == 0
        assert asked.ask(wire.DESTROY, blank.sandbox).error == 0
        assert not asked.answers, "a sandbox was answered whose disc nobody made"
        for number in range(1, QUEUE_MESSAGES + 1):  # slots are given in order
            assert asked.ask(wire.DESTROY, blank.sandbox - number).error == 0
        assert {asked.answer(serial).error for serial in before} == {errno.ECANCELED}
    after = asked.ask(wire.CREATE, limits=UNUSUAL, image="base")
    assert after.error == 0
    assert asked.ask(wire.DESTROY, after.sandbox).error == 0
    assert discs(place, instance) <= TMP_POOL_DEFAULT + TMP_ASKED_MAX + 2


def test_discs_that_were_to_wait_are_asked_for_in_turn(asked: Asked, place: Path) -> None:
    """Several times as many as are asked for at once, of two sizes: everyone gets a disc of its own size."""
    with standing_still(*helpers(place, asked.spawner.instance, "lambent-tmp", DISC_HELPERS)):
        sizes = [UNUSUAL if number % 2 else LIMITS for number in range(3 * TMP_ASKED_MAX)]
        serials = [asked.send(wire.CREATE, limits=limits, image="base") for limits in sizes]
    made = [asked.answer(serial) for serial in serials]
    assert [answer.error for answer in made] == [0] * len(made)
    for limits, answer in zip(sizes, made, strict=True):
        room = os.statvfs(f"/proc/{answer.status}/root/tmp")
        assert (room.f_blocks * room.f_frsize >> 20 < 16) == (limits is UNUSUAL)
    for answer in made:
        assert asked.ask(wire.DESTROY, answer.sandbox).error == 0


@contextmanager
def held_loop_device() -> Iterator[None]:
    """The device that the kernel names as free is claimed: nobody can attach anything to it."""
    with open("/dev/loop-control", "rb", buffering=0) as control:
        for _ in range(100):
            try:
                claimed = os.open(f"/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}", os.O_RDONLY | os.O_EXCL)
            except OSError:
                continue  # somebody else took it between
            try:
                yield
            finally:
                os.close(claimed)
            return
    raise AssertionError("no free loop device could be claimed")


def test_a_free_loop_device_that_cannot_be_had_is_waited_for(asked: Asked) -> None:
    with held_loop_device():
        serial = asked.send(wire.CREATE, limits=UNUSUAL, image="base")
        time.sleep(0.3)  # a hundred times as long as the tries take that were once the bound
    answer = asked.answer(serial)
    assert answer.error == 0, (answer.step, os.strerror(answer.error))
    assert asked.ask(wire.DESTROY, answer.sandbox).error == 0


def test_a_server_that_leaves_is_not_held_up_by_helpers_that_stand_still(asked: Asked, place: Path) -> None:
    """The fixture's end: they are ended by force, and nothing is left."""
    filled(place, asked.spawner.instance)
    for pid in helpers(place, asked.spawner.instance, "lambent-tmp", DISC_HELPERS):
        os.kill(pid, signal.SIGSTOP)
    for pid in helpers(place, asked.spawner.instance, "lambent-janitor", 1):
        os.kill(pid, signal.SIGSTOP)
    for _ in range(QUEUE_MESSAGES):
        asked.send(wire.CREATE, limits=UNUSUAL, image="base")
    assert asked.ask(wire.NAMESPACES, NOBODY).error == errno.ESRCH


def test_an_init_that_stands_still_holds_up_nobody(asked: Asked) -> None:
    """What it has no room for is refused."""
    still = asked.ask(wire.CREATE, limits=LIMITS, image="base")
    assert still.error == 0
    with standing_still(still.status):
        told = [asked.ask(wire.SIGNAL, still.sandbox, signal=9, origin=1) for _ in range(QUEUE_MESSAGES)]
        other = asked.ask(wire.CREATE, limits=LIMITS, image="base")
        assert other.error == 0
        assert asked.ask(wire.DESTROY, other.sandbox).error == 0
    assert {answer.error for answer in told} == {0, errno.EAGAIN}
    assert {answer.step for answer in told if answer.error} == {"speak to init"}
    until = time.monotonic() + ANSWER_S_MAX
    while (again := asked.ask(wire.RESET, still.sandbox)).error == errno.EAGAIN and time.monotonic() < until:
        time.sleep(0.01)
    assert again.error == 0
    assert asked.ask(wire.DESTROY, still.sandbox).error == 0
