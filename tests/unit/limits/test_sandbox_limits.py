"""Bounds of the launcher and of what is asked of it; those that both sides know stand in both and agree."""

from __future__ import annotations

import ast
import asyncio
import re
import socket
from pathlib import Path

import pytest
from tests.simulation.virtual_time import VirtualLoop
from tests.unit.sandbox.test_container import LIMITS

from lambent.domain import egress
from lambent.domain.clock import ManualClock
from lambent.domain.limits import MEMORY_MB_MAX, RUNTIME_DESCRIPTORS_MAX, RUNTIME_PROCESSES_MAX, TIMEOUT_S_MAX
from lambent.sandbox import spawner, wire
from lambent.sandbox.container import REQUEST_S_MAX, ContainerDriver
from lambent.sandbox.groups import Groups
from lambent.sandbox.port import SandboxError
from lambent.sandbox.spawner import SANDBOXES_MAX, TMP_MB_DEFAULT, TMP_POOL_DEFAULT, Spawner

LAUNCHER = Path(wire.__file__).parent.parent / "launcher"


def defined() -> dict[str, int]:
    """Every numeric macro of the launcher's files."""
    found: dict[str, int] = {}
    for path in [*LAUNCHER.glob("*.h"), *LAUNCHER.glob("*.c")]:
        for name, text in re.findall(r"^#define (\w+) (\(?[\w *<()]+?\)?)\s*(?:/\*.*)?$", path.read_text(), re.M):
            plain = re.sub(r"\b(0x[0-9A-Fa-f]+|\d+)[uUlL]*\b", r"\1", text)
            for other, value in found.items():
                plain = re.sub(rf"\b{other}\b", str(value), plain)
            if re.fullmatch(r"[\d\sxA-Fa-f*<()]+", plain):
                found[name] = _value(ast.parse(plain.strip(), mode="eval").body)
    return found


def _value(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    assert isinstance(node, ast.BinOp), ast.dump(node)
    left, right = _value(node.left), _value(node.right)
    return left << right if isinstance(node.op, ast.LShift) else left * right


def test_both_sides_of_the_protocol_have_the_same_bounds() -> None:
    macros = defined()
    for name, ours in [
        ("PAYLOAD_BYTES_MAX", wire.PAYLOAD_BYTES_MAX),
        ("PAYLOAD_STRINGS_MAX", wire.PAYLOAD_STRINGS_MAX),
        ("ANSWER_FDS_MAX", wire.FDS_MAX),
        ("CPU_PERIOD_US", wire.CPU_PERIOD_US),
        ("CPU_QUOTA_US_MIN", wire.CPU_QUOTA_US_MIN),
        ("PROTOCOL_VERSION", wire.VERSION),
        ("POLICY_RULES_MAX", egress.ENTRIES_MAX),
        ("POLICY_NAME_MAX", egress.NAME_CHARS_MAX + 1),  # and its end
        ("LOOPBACK_PORTS_MAX", egress.LOOPBACK_PORTS_MAX),
        ("RESOLVERS_MAX", egress.RESOLVERS_MAX),
        ("DNS_PORT", egress.DNS_PORT),
    ]:
        assert macros[name] == ours, name


def test_the_relay_has_room_for_what_functions_may_hold() -> None:
    """A sandbox's connections are no fewer than one process's descriptors, and no sandbox can take them all."""
    macros = defined()
    assert macros["CONNECTIONS_PER_SANDBOX_MAX"] >= RUNTIME_DESCRIPTORS_MAX
    assert macros["CONNECTIONS_MAX"] >= 4 * macros["CONNECTIONS_PER_SANDBOX_MAX"]
    assert macros["QUERIES_MAX"] >= 4 * macros["QUERIES_PER_SANDBOX_MAX"]
    assert macros["HALF_CLOSED_S_MAX"] >= TIMEOUT_S_MAX
    assert macros["CONNECT_S_MAX"] > 127  # the kernel's own patience, tcp_syn_retries = 6
    assert macros["LEARNED_S_MIN"] >= 60  # clients hold an address beyond its time to live
    assert (macros["LEARNED_MAX"], macros["ACCEPT_S_MAX"], macros["QUERY_S_MAX"]) == (256, 5, 3)
    assert macros["BUFFERED_BYTES_MAX"] == 64 << 20


def test_what_functions_get_lies_within_the_launchers_bounds() -> None:
    macros = defined()
    assert macros["MEMORY_BYTES_MIN"] <= 128 << 20 <= MEMORY_MB_MAX << 20 <= macros["MEMORY_BYTES_MAX"]
    assert macros["DESCRIPTORS_MIN"] <= RUNTIME_DESCRIPTORS_MAX <= macros["DESCRIPTORS_MAX"]
    assert macros["PROCESSES_MAX"] >= RUNTIME_PROCESSES_MAX
    assert TMP_MB_DEFAULT <= 10_240 <= macros["TMP_MB_MAX"]
    assert macros["SANDBOXES_MAX"] >= SANDBOXES_MAX
    assert macros["TMP_POOL_MAX"] >= TMP_POOL_DEFAULT


def test_the_ids_of_the_most_sandboxes_lie_in_the_free_range() -> None:
    """Source: systemd's table of user ids: 1879048192 to 2147352575 belong to nobody."""
    for instance in ("", "a", "z" * 24, "unit-4711"):
        _, base, stride = spawner._ids("container", instance, None)
        assert int(base) >= 1_879_048_192
        assert int(base) + SANDBOXES_MAX * int(stride) - 1 <= 2_147_352_575


def test_a_spawner_that_does_not_answer_is_given_up_after_thirty_seconds() -> None:
    clock = ManualClock()

    async def main() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        ended = type("Ended", (), {"returncode": 0, "wait": lambda self: 0})()
        driver = ContainerDriver(Spawner("container", ended, ours, "unit", Groups(0, ()), True, (), 8))
        began_ns = clock.monotonic_ns()
        with pytest.raises(SandboxError, match="wait for the spawner"):
            await driver.create("base", LIMITS)
        assert (clock.monotonic_ns() - began_ns) / 1e9 == pytest.approx(REQUEST_S_MAX, abs=0.01)
        await driver.close()
        theirs.close()

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        runner.run(main())
