"""Messages: sizes as the C side asserts them, bounds, and what a program is packed into."""

from __future__ import annotations

import errno
import os
import socket
import struct

import pytest

from lambent.domain.egress import LISTED, OUTBOUND, Egress, function_layer, server_layer
from lambent.sandbox import wire
from lambent.sandbox.port import Command, Limits, SandboxError

LIMITS = Limits(memory_mb=128, cpu_vcpus=128 / 1769, processes_max=1024, descriptors_max=1024, tmp_mb=512)


def test_a_request_has_the_size_and_order_of_the_header_file() -> None:
    message = wire.request(
        wire.BIND, 7, 9, limits=LIMITS, vcpus=LIMITS.cpu_vcpus, image="base", task="a" * 64, opt="b" * 64, origin=11
    )
    assert len(message) == 256
    head = struct.unpack_from("=IIQQQIIIIII", message)
    flags = wire.HAS_TASK | wire.HAS_OPT
    assert head == (wire.VERSION, wire.BIND, 7, 9, 128 << 20, 7236, 1024, 1024, 512, flags, 0)
    assert message[56:60] == b"base"
    assert message[120:] == b"a" * 64 + b"b" * 64 + (11).to_bytes(8, "little")


def test_a_signal_names_its_program() -> None:
    message = wire.request(wire.SIGNAL, 7, 9, signal=15, origin=5)
    assert struct.unpack_from("=IIQQQIIIIII", message) == (wire.VERSION, 11, 7, 9, 0, 0, 0, 0, 0, 0, 15)
    assert message[-8:] == (5).to_bytes(8, "little")


@pytest.mark.parametrize(
    ("vcpus", "quota"), [(None, 0), (1.0, 100_000), (6.0, 600_000), (128 / 1769, 7236), (1e-6, 1000)]
)
def test_the_cpu_quota(vcpus: float | None, quota: int) -> None:
    """The kernel refuses less than a millisecond per period; None lifts the quota."""
    assert wire.cpu_quota_us(vcpus) == quota


def test_a_policy_has_the_size_and_order_of_the_header_file() -> None:
    policy = wire.policy(Egress(server_layer(OUTBOUND, "127.0.0.1:5432"), function_layer(LISTED, "db.example:1-2")))
    assert len(policy) == 16 + 2 * 276
    assert struct.unpack_from("=IIII", policy) == (1, 2, 1, 1)
    assert struct.unpack_from("=BBHH4s", policy, 16) == (socket.AF_INET, 32, 5432, 5432, b"\x7f\0\0\1")
    assert struct.unpack_from("=BBHH16s11s", policy, 16 + 276) == (0, 0, 1, 2, bytes(16), b"db.example\0")


def test_a_program_is_packed_as_zero_ended_strings() -> None:
    packed = wire.payload(Command(["/bin/x", "é"], {"A": "1", "B": "\udcff"}, "/var/task", None))
    assert packed == struct.pack("=II", 2, 2) + b"/var/task\0/bin/x\0\xc3\xa9\0A=1\0B=\xff\0"


def test_a_program_beyond_the_bounds_is_refused() -> None:
    with pytest.raises(SandboxError) as error:
        wire.payload(Command(["/bin/x", "x" * wire.PAYLOAD_BYTES_MAX], {}, "/", None))
    assert error.value.errno == errno.E2BIG
    with pytest.raises(SandboxError) as error:
        wire.payload(Command(["x"] * (wire.PAYLOAD_STRINGS_MAX + 1), {}, "/", None))
    assert error.value.errno == errno.E2BIG
    with pytest.raises(SandboxError) as error:
        wire.payload(Command(["/bin/x"], {"A": "a\0b"}, "/", None))
    assert error.value.errno == errno.EINVAL


def test_an_answer_comes_with_its_descriptors() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        raw = struct.pack("=IIQQiiiI32s", 1, wire.RESULT, 5, 6, 13, -1, 9, 1, b"some step")
        wire.send(theirs, raw, [0, 0])
        answer = wire.receive(ours)
        assert answer is not None
        for fd in answer.fds:
            assert not os.get_inheritable(fd)
            os.close(fd)
        assert (answer.kind, answer.serial, answer.sandbox, answer.error) == (wire.RESULT, 5, 6, 13)
        assert (answer.status, answer.signal, answer.flags, answer.step) == (-1, 9, 1, "some step")
        theirs.close()
        assert wire.receive(ours) is None
