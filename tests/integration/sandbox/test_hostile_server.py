"""The spawner's door with a hostile server behind it: everything is answered or refused, nothing is obeyed."""

from __future__ import annotations

import array
import errno
import os
import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from tests.contracts.sandbox_world import CODE, LIMITS, leftovers, made_place, wait_until_gone
from tests.integration.sandbox.test_inside import descriptors_of
from tests.machine import file_system

from lambent.sandbox import wire
from lambent.sandbox.choose import stop_spawner
from lambent.sandbox.confined import launch_confined
from lambent.sandbox.port import Command, Image, SandboxError
from lambent.sandbox.spawner import BINARY, TMP_POOL_DEFAULT, Spawner, launch_spawner

ANSWER_S_MAX = 40.0
NETS_AHEAD = 8
"""As in launcher/spawner.h."""
PROGRAM = wire.payload(Command(["/bin/true"], {}, "/", None))


@dataclass
class Door:
    """The raw socket, without a driver that would keep to the rules."""

    spawner: Spawner
    place: Path
    serial: int = 0

    def say(self, message: bytes, fds: list[int] | None = None) -> wire.Answer:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.spawner.socket.sendmsg([message], rights)
        answer = wire.receive(self.spawner.socket)
        assert answer is not None
        return answer

    def ask(self, op: int, sandbox: int = 0, fds: list[int] | None = None, **fields: object) -> wire.Answer:
        self.serial += 1
        answer = self.say(wire.request(op, self.serial, sandbox, **fields), fds)  # type: ignore[arg-type]
        assert answer.serial == self.serial
        return answer

    def blank(self) -> int:
        """A blank the ordinary way; proves that the spawner is still well."""
        answer = self.ask(wire.CREATE, limits=LIMITS, image="base")
        assert answer.error == 0
        for fd in answer.fds:
            os.close(fd)
        return answer.sandbox

    def destroy(self, sandbox: int) -> None:
        assert self.ask(wire.DESTROY, sandbox).error == 0


@pytest.fixture
def launcher() -> Path:
    return BINARY


@pytest.fixture(params=["container", "confined"])
def door(request: pytest.FixtureRequest, launcher: Path) -> Iterator[Door]:
    launch = {"container": partial(launch_spawner, "container"), "confined": launch_confined}[request.param]
    with made_place(launcher) as place:
        try:
            spawner = launch(
                instance=f"hostile-{os.getpid()}",
                packages_root=place / "packages",
                images=(Image("base", ()),),
                state_dir=place / "state",
                binary=place / "lambent-launcher",
            )
        except SandboxError as error:
            pytest.skip(f"the {request.param} tier does not work here: {error}")
        spawner.socket.settimeout(ANSWER_S_MAX)
        try:
            door = Door(spawner, place)
            yield door
            assert spawner.process.poll() is None, "the spawner did not survive"
            door.destroy(door.blank())
        finally:
            stop_spawner(spawner)
            assert not wait_until_gone(place, spawner.instance)


def test_messages_of_wrong_length_are_refused(door: Door) -> None:
    good = wire.request(wire.CREATE, 1, limits=LIMITS, image="base")
    for length in (1, 7, 8, 100, len(good) - 1):
        assert door.say(good[:length]).error == errno.EMSGSIZE
    assert door.say(good + b"\0").error == errno.EMSGSIZE
    assert door.say(os.urandom(60_000)).error == errno.EMSGSIZE


def test_random_messages_are_refused(door: Door) -> None:
    chance = random.Random(9001)
    size = len(wire.request(wire.CREATE, 1))
    for _ in range(300):
        assert door.say(chance.randbytes(size)).error in (errno.EPROTO, errno.EINVAL)


def test_random_fields_behind_a_good_head_are_refused(door: Door) -> None:
    """Every operation, version right, the rest noise: an error each time, and never a sandbox."""
    chance = random.Random(9002)
    for turn in range(400):
        op = 1 + turn % wire.COPY
        head = struct.pack("=IIQ", wire.VERSION, op, turn)
        signal = 9 if op == wire.SIGNAL else 0
        body = chance.randbytes(32) + struct.pack("=II", chance.randrange(8), signal) + chance.randbytes(200)
        assert door.say(head + body).error != 0


def test_unknown_operations_and_versions_are_refused(door: Door) -> None:
    good = wire.request(wire.CREATE, 1, limits=LIMITS, image="base")
    assert door.say(struct.pack("=I", 2) + good[4:]).error == errno.EPROTO
    for op in (0, wire.COPY + 1, 2**32 - 1):
        assert door.say(good[:4] + struct.pack("=I", op) + good[8:]).error == errno.EINVAL


def test_only_two_signals_are_sent_and_to_programs_alone(door: Door) -> None:
    sandbox = door.blank()
    for number, program in ((0, 1), (1, 1), (10, 1), (64, 1), (2**32 - 1, 1), (9, 0)):
        assert door.ask(wire.SIGNAL, sandbox, signal=number, origin=program).error == errno.EINVAL
    assert door.ask(wire.RESET, sandbox, signal=9).error == errno.EINVAL
    for program in (1, 2**64 - 1):  # nobody's: nobody is hit
        assert door.ask(wire.SIGNAL, sandbox, signal=9, origin=program).error == 0
    assert door.ask(wire.RESET, sandbox).error == 0
    door.destroy(sandbox)


def test_unknown_sandboxes_are_refused(door: Door) -> None:
    sandbox = door.blank()
    for wrong in (0, 1, sandbox + 1, sandbox | 1 << 63, sandbox ^ 1 << 32, 2**64 - 1, 8193, 1 << 32):
        for op in (
            wire.BIND,
            wire.START,
            wire.RESET,
            wire.FREEZE,
            wire.DESTROY,
            wire.NAMESPACES,
            wire.HOLD,
            wire.COPY,
            wire.MAKE_COPY,
        ):
            assert door.ask(op, wrong, limits=LIMITS).error == errno.ESRCH
    door.destroy(sandbox)
    assert door.ask(wire.RESET, sandbox).error == errno.ESRCH  # a slot used again has another generation
    again = door.blank()
    assert again != sandbox
    door.destroy(again)


@pytest.mark.parametrize(
    "digest",
    [
        "../" * 21 + "x",
        "/etc".ljust(64, "/"),
        "." * 64,
        (CODE[:-2] + "/."),
        CODE.upper(),
        "a" * 63,
        "",
        "g" * 64,
        "\0" * 64,
        CODE[:-1] + "\n",
    ],
)
def test_a_digest_is_nothing_else(door: Door, digest: str) -> None:
    sandbox = door.blank()
    for field in ("task", "opt"):
        answer = door.ask(wire.BIND, sandbox, limits=LIMITS, **{field: digest})
        assert (answer.error, answer.step) == (errno.EINVAL, "read the digest")
    door.destroy(sandbox)


def test_a_link_in_the_packages_is_not_followed(door: Door) -> None:
    """The server owns the packages: it could put a link there."""
    packages = door.place / "packages"
    outside, inside = "ab" * 32, "cd" * 32
    (packages / outside).symlink_to("/etc")
    (packages / inside).mkdir()
    (packages / inside / "tree").symlink_to("/")
    sandbox = door.blank()
    for digest in (outside, inside):
        assert door.ask(wire.BIND, sandbox, limits=LIMITS, task=digest).error == errno.ELOOP
    door.destroy(sandbox)


@pytest.mark.parametrize("image", ["", "nope", "../base", "base/", "bas", "x" * 64])
def test_an_unknown_image_is_refused(door: Door, image: str) -> None:
    assert door.ask(wire.CREATE, limits=LIMITS, image=image).error == errno.ENOENT


@pytest.mark.parametrize(
    "change",
    [
        {"memory_mb": 0},
        {"memory_mb": 1 << 21},
        {"processes_max": 0},
        {"processes_max": 1 << 20},
        {"descriptors_max": 3},
        {"descriptors_max": 1 << 30},
        {"tmp_mb": 0},
        {"tmp_mb": 1 << 20},
    ],
)
def test_limits_out_of_bounds_are_refused(door: Door, change: dict[str, int]) -> None:
    limits = replace(LIMITS, **change)  # type: ignore[arg-type]
    assert door.ask(wire.CREATE, limits=limits, image="base").error == errno.EINVAL
    sandbox = door.blank()
    assert door.ask(wire.BIND, sandbox, limits=limits).error == errno.EINVAL
    door.destroy(sandbox)


def test_wrong_descriptors_are_refused(door: Door) -> None:
    sandbox = door.blank()
    program, (reader, writer) = wire.memory_file(PROGRAM), os.pipe()
    huge = wire.memory_file(b"\0" * (wire.PAYLOAD_BYTES_MAX + 1))
    try:
        assert door.ask(wire.START, sandbox).error == errno.EINVAL
        assert door.ask(wire.START, sandbox, [program], flags=wire.HAS_CHANNEL).error == errno.EINVAL
        assert door.ask(wire.START, sandbox, [program, writer]).error == errno.EINVAL
        assert door.ask(wire.START, sandbox, [program, writer], flags=wire.HAS_CHANNEL).error == errno.ENOTSOCK
        assert door.ask(wire.START, sandbox, [reader]).error == errno.EINVAL
        assert door.ask(wire.START, sandbox, [huge]).error == errno.EINVAL
        assert door.ask(wire.RESET, sandbox, [program]).error == errno.EINVAL
        assert door.ask(wire.CREATE, 0, [program], limits=LIMITS, image="base").error == errno.EINVAL
    finally:
        for fd in (program, reader, writer, huge):
            os.close(fd)
    door.destroy(sandbox)


@contextmanager
def opened(what: str, place: Path) -> Iterator[int]:
    """A descriptor of that kind, which whoever is given it might read, map, enter or wait for."""
    with ExitStack() as stack:

        def file(path: Path | str, flags: int) -> int:
            fd = os.open(path, flags)
            stack.callback(os.close, fd)
            return fd

        if what == "a pipe":
            ends = os.pipe()
            for end in ends:
                stack.callback(os.close, end)
            yield ends[0]
        elif what == "a socket":
            yield stack.enter_context(socket.socket()).fileno()
        elif what == "an event":
            fd = os.eventfd(0)
            stack.callback(os.close, fd)
            yield fd
        elif what == "a process":
            fd = os.pidfd_open(os.getpid())
            stack.callback(os.close, fd)
            yield fd
        elif what == "a file on disk":  # whose file system may be the server's own, and never answer
            (place / "program").write_bytes(PROGRAM)
            yield file(place / "program", os.O_RDONLY)
        else:
            path, flags = {
                "a directory outside": ("/etc", os.O_RDONLY | os.O_DIRECTORY),
                "the root": ("/", os.O_PATH),
                "a process's memory": ("/proc/self/mem", os.O_RDWR),
                "a process's environment": ("/proc/self/environ", os.O_RDONLY),
                "a namespace": ("/proc/self/ns/net", os.O_RDONLY),
                "a device without end": ("/dev/zero", os.O_RDONLY),
            }[what]
            yield file(path, flags)


WRONG = (
    "a pipe",
    "a socket",
    "an event",
    "a process",
    "a file on disk",
    "a directory outside",
    "the root",
    "a process's memory",
    "a process's environment",
    "a namespace",
    "a device without end",
)


@pytest.mark.parametrize("what", WRONG)
def test_a_descriptor_of_another_kind_is_refused(door: Door, what: str) -> None:
    """In every place where one may come: as a program, as a policy, as a channel."""
    if what == "a file on disk" and file_system(door.place) == "tmpfs":
        pytest.skip(f"{door.place} is in memory: a file there is like what the server makes for a program")
    sandbox = door.blank()
    program = wire.memory_file(PROGRAM)
    with opened(what, door.place) as fd:
        answer = door.ask(wire.START, sandbox, [fd])
        assert (answer.error, answer.step) == (errno.EINVAL, "check the program")
        answer = door.ask(wire.BIND, sandbox, [fd], limits=LIMITS, task=CODE, flags=wire.HAS_EGRESS)
        assert (answer.error, answer.step) == (errno.EINVAL, "check the policy")
        if what != "a socket":
            answer = door.ask(wire.START, sandbox, [program, fd], flags=wire.HAS_CHANNEL)
            assert (answer.error, answer.step) == (errno.ENOTSOCK, "check the channel")
    os.close(program)
    assert door.ask(wire.BIND, sandbox, limits=LIMITS, task=CODE).error == 0  # it is still to be had
    door.destroy(sandbox)


def test_a_policy_that_says_nothing_grants_nothing(door: Door) -> None:
    """The relay reads it; a malformed one leaves its sandbox without a way out, and the relay well."""
    for policy in (b"", b"\0" * 16, b"\xff" * 16, os.urandom(4096), b"\1" * 35_344):
        sandbox = door.blank()
        fd = wire.memory_file(policy)
        answer = door.ask(wire.BIND, sandbox, [fd], limits=LIMITS, task=CODE, flags=wire.HAS_EGRESS)
        os.close(fd)
        assert answer.error in (0, errno.EINVAL)
        door.destroy(sandbox)
    sandbox = door.blank()
    fd = wire.memory_file(b"\0" * 35_345)
    assert door.ask(wire.BIND, sandbox, [fd], limits=LIMITS, flags=wire.HAS_EGRESS).error == errno.EINVAL
    os.close(fd)
    door.destroy(sandbox)


def test_what_is_refused_leaves_no_descriptor(door: Door) -> None:
    sandbox = door.blank()
    null = os.open("/dev/null", os.O_RDONLY)

    def held() -> int:
        return sum(not name.startswith("net:") for name in descriptors_of(door.spawner.process.pid))

    door.destroy(door.blank())
    before = held()
    for _ in range(100):
        assert door.ask(wire.START, sandbox, [null, null], flags=wire.HAS_CHANNEL).error == errno.EINVAL
        assert door.ask(wire.BIND, sandbox, [null], limits=LIMITS, flags=wire.HAS_EGRESS).error == errno.EINVAL
        assert door.ask(wire.BIND, sandbox, limits=LIMITS, task="0" * 64).error != 0
        assert door.ask(wire.FREEZE, sandbox + (1 << 32), [null]).error == errno.ESRCH
        assert door.ask(wire.CREATE, 0, [null], limits=LIMITS, image="base").error == errno.EINVAL
    os.close(null)
    assert held() <= before + TMP_POOL_DEFAULT
    door.destroy(sandbox)


def test_a_flood_is_answered_in_order_though_nobody_reads(door: Door) -> None:
    """Two thousand requests before the first answer is read. The spawner waits, and drops none of them."""
    count = 2_000
    sandbox = door.blank()

    def flood() -> None:
        for serial in range(count):
            op = (wire.FREEZE, wire.THAW, wire.RESET, 99, wire.BIND)[serial % 5]
            door.spawner.socket.send(wire.request(op, 10_000 + serial, sandbox, limits=LIMITS, task="x"))

    flooding = threading.Thread(target=flood)
    flooding.start()
    heard: dict[int, int] = {}
    try:
        while len(heard) < count:
            answer = wire.receive(door.spawner.socket)
            assert answer is not None
            heard[answer.serial] = answer.error
    finally:
        flooding.join(ANSWER_S_MAX)
    assert set(heard) == set(range(10_000, 10_000 + count))
    assert {heard[10_000 + serial] for serial in range(3, count, 5)} == {errno.EINVAL}
    door.destroy(sandbox)


def test_a_server_that_vanishes_in_the_middle_leaves_nothing() -> None:
    """Blanks under construction, ends under way, descriptors in flight. The look afterwards finds none of it."""
    with made_place() as place:
        spawner = launch_spawner(
            "container",
            instance=f"vanishing-{os.getpid()}",
            packages_root=place / "packages",
            images=(Image("base", ()),),
            state_dir=place / "state",
            binary=place / "lambent-launcher",
        )
        spawner.socket.settimeout(ANSWER_S_MAX)
        door = Door(spawner, place)
        standing = [door.blank() for _ in range(6)]
        for serial, sandbox in enumerate(standing[:3]):
            spawner.socket.send(wire.request(wire.DESTROY, 100 + serial, sandbox))
        for serial in range(12):
            spawner.socket.send(wire.request(wire.CREATE, 200 + serial, limits=LIMITS, image="base"))
        program = wire.memory_file(wire.payload(Command(["/bin/sleep", "600"], {}, "/", None)))
        wire.send(spawner.socket, wire.request(wire.START, 300, standing[4]), [program])
        os.close(program)
        stop_spawner(spawner)
        assert not wait_until_gone(place, spawner.instance)


@pytest.mark.parametrize("program", [b"", b"\1", b"\0" * 64, b"\xff" * 64, PROGRAM[:-1], PROGRAM + b"x\0", PROGRAM * 9])
def test_a_malformed_program_ends_with_an_error(door: Door, program: bytes) -> None:
    sandbox = door.blank()
    fd = wire.memory_file(program)
    answer = door.ask(wire.START, sandbox, [fd])
    os.close(fd)
    if not answer.error:  # the child itself found out
        os.close(answer.fds[0])
        ended = wire.receive(door.spawner.socket)
        assert ended is not None
        assert (ended.kind, ended.error) == (wire.EXIT, errno.EINVAL)
    door.destroy(sandbox)


def test_a_flood_of_descriptors_is_closed(door: Door) -> None:
    open_before = len(os.listdir(f"/proc/{door.spawner.process.pid}/fd"))
    null = os.open("/dev/null", os.O_RDONLY)
    try:
        for _ in range(50):
            answer = door.say(wire.request(wire.CREATE, 1, limits=LIMITS, image="base"), [null] * 200)
            assert answer.error == errno.EMSGSIZE
    finally:
        os.close(null)
    # 10,000 were sent; the pools of mounts for /tmp and of network namespaces may have been filled meanwhile
    assert len(os.listdir(f"/proc/{door.spawner.process.pid}/fd")) <= open_before + TMP_POOL_DEFAULT + NETS_AHEAD


def test_a_sandbox_has_one_request_at_a_time_and_is_bound_once(door: Door) -> None:
    sandbox = door.blank()
    assert door.ask(wire.BIND, sandbox, limits=LIMITS, task=CODE).error == 0
    assert door.ask(wire.BIND, sandbox, limits=LIMITS, task=CODE).error == errno.EALREADY
    door.destroy(sandbox)


def test_more_sandboxes_than_slots_are_refused() -> None:
    with made_place() as place:
        spawner = launch_spawner(
            "container",
            instance=f"few-{os.getpid()}",
            packages_root=place / "packages",
            images=(Image("base", ()),),
            state_dir=place / "state",
            binary=place / "lambent-launcher",
            sandboxes_max=2,
        )
        spawner.socket.settimeout(ANSWER_S_MAX)
        door = Door(spawner, place)
        first, _second = door.blank(), door.blank()
        assert door.ask(wire.CREATE, limits=LIMITS, image="base").error == errno.EAGAIN
        door.destroy(first)
        door.blank()
        stop_spawner(spawner)
        assert not wait_until_gone(place, spawner.instance)
        assert not leftovers(place, spawner.instance)
