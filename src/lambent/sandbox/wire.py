"""The spawner's messages as bytes; the C side is `launcher/protocol.h`, sizes and order must agree."""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ..domain.egress import LISTED, NONE, OUTBOUND, Egress, Layer
from .port import Command, Limits, SandboxError

VERSION = 1
CREATE, BIND, START, RESET, SET_CPU, FREEZE, THAW, DESTROY, NAMESPACES, FORK, SIGNAL = range(1, 12)
HOLD, MAKE_COPY, COPY = range(12, 15)
HELLO, RESULT, EXIT, MAP, EGRESS = range(1, 6)
HAS_TASK, HAS_OPT, HAS_CHANNEL, HAS_EGRESS = 1, 2, 4, 8
IS_ZYGOTE, FORKS, FORK_AHEAD, MAY_HOLD = 16, 32, 64, 128
OUT_OF_MEMORY, TMP_DISK, IPV6, COPIES = 1, 2, 4, 8

CPU_PERIOD_US = 100_000
CPU_QUOTA_US_MIN = 1_000
PAYLOAD_BYTES_MAX = 256 * 1024
PAYLOAD_STRINGS_MAX = 4096
FDS_MAX = 7

_REQUEST = struct.Struct("=IIQQQIIIIII64s64s64sQ")
_ANSWER = struct.Struct("=IIQQiiiI32s")
_POLICY_HEAD = struct.Struct("=IIII")
_POLICY_RULE = struct.Struct("=BBHH16s254s")
_POLICY_MODES = {NONE: 0, OUTBOUND: 1, LISTED: 2}
assert _REQUEST.size == 256
assert _POLICY_HEAD.size == 16
assert _POLICY_RULE.size == 276
assert _ANSWER.size == 72
ANSWER_BYTES = _ANSWER.size
_NO_LIMITS = (0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Answer:
    """One message from the spawner, descriptors included; whoever takes it owns these."""

    kind: int
    serial: int
    sandbox: int
    error: int
    status: int
    signal: int
    flags: int
    step: str
    fds: tuple[int, ...]


def cpu_quota_us(vcpus: float | None) -> int:
    """Microseconds per period for a share in cores; None lifts the quota (0). The kernel's floor is 1 ms."""
    return 0 if vcpus is None else max(CPU_QUOTA_US_MIN, round(vcpus * CPU_PERIOD_US))


def _limit_words(limits: Limits, vcpus: float | None) -> tuple[int, int, int, int, int]:
    return (
        limits.memory_mb << 20,
        cpu_quota_us(vcpus),
        limits.processes_max,
        limits.descriptors_max,
        limits.tmp_mb,
    )


def request(
    op: int,
    serial: int,
    sandbox: int = 0,
    *,
    limits: Limits | None = None,
    vcpus: float | None = None,
    flags: int = 0,
    image: str = "",
    task: str | None = None,
    opt: str | None = None,
    signal: int = 0,
    origin: int = 0,
) -> bytes:
    """One request. `vcpus` is given apart from the limits, because a blank runs at full speed. origin: who forks, or with
    SIGNAL the serial of the request that started the program."""
    words = _NO_LIMITS if limits is None else _limit_words(limits, vcpus)
    if task is not None:
        flags |= HAS_TASK
    if opt is not None:
        flags |= HAS_OPT
    names = image.encode(), (task or "").encode(), (opt or "").encode()
    return _REQUEST.pack(VERSION, op, serial, sandbox, *words, flags, signal, *names, origin)


def payload(command: Command) -> bytes:
    """Directory, arguments and environment of a program. Raises SandboxError(E2BIG) above the bounds."""
    strings = [command.cwd, *command.argv, *(f"{name}={value}" for name, value in command.env.items())]
    if any("\0" in text for text in strings):
        raise SandboxError("pack the program", 22, "a string contains a zero byte")
    data = struct.pack("=II", len(command.argv), len(command.env)) + "".join(f"{text}\0" for text in strings).encode(
        "utf-8", "surrogateescape"
    )
    if len(data) > PAYLOAD_BYTES_MAX or max(len(command.argv), len(command.env)) > PAYLOAD_STRINGS_MAX:
        raise SandboxError("pack the program", 7, f"{len(data)} bytes of arguments and environment")
    return data


def policy(egress: Egress) -> bytes:
    """Where a sandbox may connect to, as the relay reads it (`launcher/policy.h`)."""
    layers: tuple[Layer, Layer] = (egress.server, egress.function)
    head = _POLICY_HEAD.pack(
        *(_POLICY_MODES[layer.mode] for layer in layers), *(len(layer.entries) for layer in layers)
    )
    return head + b"".join(
        _POLICY_RULE.pack(entry.family, entry.prefix, entry.first, entry.last, entry.address, entry.name.encode())
        for layer in layers
        for entry in layer.entries
    )


def receive(sock: socket.socket) -> Answer | None:
    """The next answer; None at the end of the conversation. Raises BlockingIOError where nothing waits."""
    space = socket.CMSG_SPACE(4 * FDS_MAX)
    data, control, _, _ = sock.recvmsg(ANSWER_BYTES, space, socket.MSG_CMSG_CLOEXEC)
    if not data:
        return None
    fds = array.array("i")
    for level, kind, raw in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(raw[: len(raw) - len(raw) % fds.itemsize])
    _, kind, serial, sandbox, error, status, signal, flags, step = _ANSWER.unpack(data)
    words = step.split(b"\0", 1)[0].decode()
    return Answer(kind, serial, sandbox, error, status, signal, flags, words, tuple(fds))


def send(sock: socket.socket, message: bytes, fds: Sequence[int] = ()) -> None:
    """One message with descriptors. Raises BlockingIOError where there is no room."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([message], rights)


def memory_file(data: bytes) -> int:
    """A nameless file with these bytes; the caller closes it."""
    fd = os.memfd_create("lambent-program", os.MFD_CLOEXEC)
    try:
        os.write(fd, data)
    except BaseException:
        os.close(fd)
        raise
    return fd
