"""Programs that run in a sandbox and say what they met, and the relay that they meet it through."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

from tests.contracts.sandbox_world import CODE, LIMITS, WAIT_S_MAX, World

from lambent.domain.egress import Egress
from lambent.sandbox.port import Binding, Sandbox

TOOLS = """
import errno, hashlib, json, os, select, socket, struct, sys, threading, time
def say(*words): print(*words, flush=True)
def name(error): return errno.errorcode.get(error.errno, type(error).__name__) if error.errno else type(error).__name__
def dial(address, port, timeout=8):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    s.settimeout(timeout)
    try: s.connect((address, port))
    except BaseException: s.close(); raise
    return s
def attempt(address, port, timeout=8):
    try:
        with dial(address, port, timeout) as s:
            s.sendall(b"ping"); s.shutdown(socket.SHUT_WR)
            got = b""
            while part := s.recv(64): got += part
            return "GOT" if got == b"ping" else f"GOT {got!r}"
    except OSError as error:
        return name(error)
"""


async def sandbox_of(world: World, policy: Egress | None = None) -> Sandbox:
    sandbox = await world.blank()
    await sandbox.bind(Binding(CODE, None, LIMITS, egress=policy or world.egress))
    return sandbox


async def said(world: World, sandbox: Sandbox, code: str, *arguments: object) -> list[str]:
    """The lines that a program prints; it must end well."""
    ended, text = await world.python(sandbox, TOOLS + code, *map(str, arguments))
    assert ended.status == 0, text
    return text.splitlines()


def answers(world: World, code: str, *arguments: object, policy: Egress | None = None) -> list[str]:
    async def body() -> list[str]:
        return await said(world, await sandbox_of(world, policy), code, *arguments)

    return world.run(body())


def relay_of(world: World) -> int:
    """Its process, once it bears its name."""
    assert world.spawner is not None
    spawner = world.spawner.process.pid
    until = time.monotonic() + WAIT_S_MAX
    while True:
        for pid in map(int, Path(f"/proc/{spawner}/task/{spawner}/children").read_text().split()):
            with suppress(FileNotFoundError):
                if Path(f"/proc/{pid}/comm").read_text() == "lambent-relay\n":
                    return pid
        assert time.monotonic() < until, "there is no relay"


OF_A_SANDBOX = 3
AT_REST = 2 + OF_A_SANDBOX
"""The spawner's, the routing table's, those of the one sandbox."""


def connections(world: World) -> int:
    """Sockets of the relay."""
    folder = f"/proc/{relay_of(world)}/fd"
    count = 0
    for entry in os.listdir(folder):
        try:
            count += os.readlink(f"{folder}/{entry}").startswith("socket:")
        except OSError:
            continue
    return count


async def until_left(world: World, wanted: int) -> None:
    until = asyncio.get_running_loop().time() + WAIT_S_MAX / 2
    while connections(world) != wanted:
        assert asyncio.get_running_loop().time() < until, (connections(world), wanted)
        await asyncio.sleep(0.02)  # its descriptors are all there is to see
