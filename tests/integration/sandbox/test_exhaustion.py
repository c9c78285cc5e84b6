"""A function that takes all there is leaves others theirs: what the kernel counts by user, by group, or by machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.contracts.sandbox_world import LIMITS, PYTHON, World, made_world

TAKE = """
import ctypes, os, signal, sys, time
libc, rt = ctypes.CDLL(None, use_errno=True), ctypes.CDLL('librt.so.1', use_errno=True)
class Value(ctypes.Structure): _fields_ = [('of', ctypes.c_void_p)]
class Attributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ('flags', 'most', 'size', 'now')] + [('rest', ctypes.c_long * 4)]
signal.pthread_sigmask(signal.SIG_BLOCK, [40])
def count(take):
    taken = 0
    while taken < int(sys.argv[1]) and take(taken) >= 0: taken += 1
    return taken
instances = count(lambda n: libc.inotify_init1(0))
signals = count(lambda n: libc.sigqueue(os.getpid(), 40, Value(0)))
queues = count(lambda n: rt.mq_open(b'/q%d' % n, 0o102, 0o600, ctypes.byref(Attributes(0, 8, 1024, 0))))
print(instances, signals, queues, flush=True)
time.sleep(600)
"""
ALL, A_FEW = "1000000", "3"


@pytest.fixture(params=["container", "rootless", "confined"])
def any_tier(request: pytest.FixtureRequest) -> Iterator[World]:
    with made_world(request.param) as made:
        yield made


def test_what_is_counted_by_user_is_each_functions_own(any_tier: World) -> None:
    """Inotify instances, pending signals, message queues. Where they are one user's after all, the tier says so."""
    shared = any("inotify" in sentence for sentence in any_tier.driver.tier.missing)
    assert shared == (any_tier.kind == "rootless")

    async def taken(how_many: str) -> list[int]:
        started = await any_tier.start(await any_tier.bound(), PYTHON, "-I", "-S", "-c", TAKE, how_many)
        text = await started.read(until=b"\n")
        os.close(started.log)
        return [int(word) for word in text.split()]

    async def body() -> None:
        greedy = await taken(ALL)
        assert greedy[0] >= 3
        assert 1_000 <= greedy[1] < 1_000_000
        instances, signals, queues = await taken(A_FEW)
        assert instances == 3 or shared
        assert signals == 3
        assert queues == 3 or any_tier.kind == "confined"  # whose filter has no queues at all

    any_tier.run(body())


@pytest.mark.parametrize("forks", ["os.fork()", "os.posix_spawn('/bin/sleep', ['sleep', '60'], {})"])
def test_a_fork_bomb_is_its_own_sandboxs_alone(any_tier: World, forks: str) -> None:
    """While it goes off another sandbox is made, runs, and forks; then the bomb is ended whole."""
    bomb = f"import os\nprint('off', flush=True)\nwhile True:\n    try: {forks}\n    except OSError: pass"

    async def body() -> None:
        sandbox = await any_tier.bound(replace(LIMITS, processes_max=64, cpu_vcpus=0.2))
        started = await any_tier.start(sandbox, PYTHON, "-I", "-S", "-c", bomb)
        await started.read(until=b"off")
        ended, text = await any_tier.output(await any_tier.bound(), "/bin/sh", "-c", "(echo one); (echo two)")
        assert (ended.status, text) == (0, "one\ntwo\n")
        await sandbox.destroy()
        assert "Traceback" not in await started.read()  # the pipe's last holder is dead

    any_tier.run(body())


def test_descriptors_of_one_are_not_the_others(any_tier: World) -> None:
    """Every process of a function may have its limit full, of files, sockets, pipes and memory files."""
    code = (
        "import os, socket, sys, time\n"
        "for make in (lambda: os.pipe(), lambda: socket.socketpair(), lambda: os.memfd_create('x'), lambda: os.open('/dev/null', 0)):\n"
        "    if os.fork() == 0:\n"
        "        kept = []\n"
        "        try:\n            while True: kept.append(make())\n"
        "        except OSError as error: print(error.errno, flush=True); time.sleep(600)\n"
        "time.sleep(600)"
    )

    async def body() -> None:
        started = await any_tier.start(await any_tier.bound(), PYTHON, "-I", "-S", "-c", code)
        text = ""
        while len(text.split()) < 4:
            text += await started.read(until=b"\n")
        assert set(text.split()) == {"24"}
        os.close(started.log)
        few = "import socket, os; print(len([socket.socketpair() for _ in range(100)]), len([os.pipe() for _ in range(100)]))"
        ended, text = await any_tier.python(await any_tier.bound(), few)
        assert (ended.status, text) == (0, "100 100\n")

    any_tier.run(body())


def test_the_disc_of_one_is_not_the_others(any_tier: World) -> None:
    """It fills its /tmp to the last byte and the last inode; the other still has all of its own."""
    fill = (
        "import os\nhome = os.environ.get('TMPDIR', '/tmp')\n"
        "fd = os.open(home + '/big', os.O_WRONLY | os.O_CREAT)\n"
        "try:\n    while True: os.write(fd, bytes(1 << 20))\nexcept OSError as error: print(error.errno, flush=True)\n"
        "import time; time.sleep(600)"
    )

    async def body() -> None:
        if any_tier.kind == "confined":
            pytest.skip("it is ended instead: test_confined.py has that")
        sandbox = await any_tier.bound(replace(LIMITS, tmp_mb=64))
        started = await any_tier.start(sandbox, PYTHON, "-I", "-S", "-c", fill)
        assert (await started.read(until=b"\n")).strip() == "28"
        os.close(started.log)
        code = "print(open('/tmp/x', 'wb').write(bytes(48 << 20)))"
        ended, text = await any_tier.python(await any_tier.bound(replace(LIMITS, tmp_mb=64)), code)
        assert (ended.status, int(text)) == (0, 48 << 20)

    any_tier.run(body())


def test_a_flood_of_output_is_its_own_pipes_alone(any_tier: World) -> None:
    """A program that nobody reads stops; the spawner and the others don't."""

    async def body() -> None:
        flooding = [
            await any_tier.start(await any_tier.bound(), "/bin/sh", "-c", "while :; do echo flood; done")
            for _ in range(3)
        ]
        ended, text = await any_tier.output(await any_tier.bound(), "/bin/echo", "well")
        assert (ended.status, text) == (0, "well\n")
        for started in flooding:
            os.close(started.log)
        await asyncio.gather(*(started.ended for started in flooding))  # of SIGPIPE, now that nobody can read

    any_tier.run(body())
