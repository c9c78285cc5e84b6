"""Worlds of the isolating tiers, and of the process tier as the control. `forked`: every program is a zygote's child.
And what attacks aim at."""

from __future__ import annotations

import ctypes
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.contracts.sandbox_world import World, made_world


@pytest.fixture(params=["container", "rootless", "forked"])
def isolated(request: pytest.FixtureRequest) -> Iterator[World]:
    with made_world(request.param) as made:
        yield made


@pytest.fixture
def limited(isolated: World) -> World:
    """An isolating tier that has control groups: root's own, or those that a service manager delegates to a user."""
    assert isolated.spawner is not None
    if isolated.spawner.groups.directory("memory") is None:
        pytest.skip(f"no control groups for the {isolated.kind} tier here: {isolated.spawner.groups.missing}")
    return isolated


@pytest.fixture
def container() -> Iterator[World]:
    with made_world("container") as made:
        yield made


@pytest.fixture
def confined() -> Iterator[World]:
    with made_world("confined") as made:
        yield made


@pytest.fixture
def process() -> Iterator[World]:
    with made_world("process") as made:
        yield made


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[list[str]]:
    """What the attacks aim at: a host file, this process, a service on the host's loopback, a host directory with a socket in
    it, abstract sockets, queues and shared memory by name, System V objects by key, and the host's name."""
    secret = tmp_path / "secret"
    secret.write_text("host secret")
    service = socket.create_server(("127.0.0.1", 0))
    port = service.getsockname()[1]
    name, key = f"lambent-attack-{os.getpid()}", 0x4C0000 + os.getpid()
    libc, rt = ctypes.CDLL(None, use_errno=True), ctypes.CDLL("librt.so.1", use_errno=True)
    with ExitStack() as stack:
        # A socket's path has room for a hundred characters, and tests that run side by side have longer ones.
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lambent-attack-")))
        for address in (f"\0{name}", str(place / "socket")):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
        (place / "socket").chmod(0o777)
        memory, semaphores, queue = (
            libc.shmget(key, 4096, 0o1666),
            libc.semget(key, 1, 0o1666),
            libc.msgget(key, 0o1666),
        )
        messages = rt.mq_open(f"/{name}".encode(), os.O_CREAT | os.O_RDWR, 0o666, None)
        assert min(memory, semaphores, queue, messages) >= 0
        shared = Path("/dev/shm", name)
        shared.write_text("of the host")
        shared.chmod(0o644)
        stack.callback(shared.unlink)
        stack.callback(libc.shmctl, memory, 0, None)
        stack.callback(libc.semctl, semaphores, 0, 0)
        stack.callback(libc.msgctl, queue, 0, None)
        stack.callback(rt.mq_unlink, f"/{name}".encode())
        stack.callback(os.close, messages)
        stack.callback(service.close)
        hostname = os.uname().nodename
        yield [
            *(str(secret), str(os.getpid()), str(port), f"0100007F:{port:04X}", str(place)),
            *(name, str(key), hostname),
        ]
