"""Forking into a sandbox: what the copy is, what it shares with nobody, and every way in which it can fail.

That a copy is held like any program is shown elsewhere: test_inside, test_attacks and the contract run in a `forked` world,
too.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.sandbox_world import (
    CODE,
    FORKED,
    LIMITS,
    PYTHON,
    ZYGOTE_LIMITS,
    ForkedWorld,
    Started,
    World,
    made_world,
    started_zygote,
)
from tests.patience import PATIENCE

from lambent.sandbox import wire
from lambent.sandbox.container import ContainerForks, ContainerZygote
from lambent.sandbox.groups import Groups, Hierarchy
from lambent.sandbox.port import Binding, Command, Exit, Sandbox, SandboxError, Zygote

UNIFIED = Path("/sys/fs/cgroup/unified")
SYS_CHROOT, SYS_ADMIN = 1 << 18, 1 << 21


@pytest.fixture
def forked() -> Iterator[ForkedWorld]:
    with made_world("forked") as made:
        assert isinstance(made, ForkedWorld)
        yield made


def forks_of(world: World) -> ContainerForks:
    forks = world.driver.forks
    assert isinstance(forks, ContainerForks)
    return forks


async def forked_raw(world: World, zygote: Zygote, sandbox: Sandbox) -> Started:
    """A fork that is told nothing: the copy waits for its program."""
    ours, theirs = socket.socketpair()
    ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
    with ours:
        return Started(await forks_of(world).fork(zygote, sandbox, theirs, ended.set_result, True), ended)


def text_of(path: str) -> str:
    return Path(path).read_text()


def facts(pid: int) -> dict[str, str]:
    lines = text_of(f"/proc/{pid}/status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


# ---- the copy ----

RANDOM = """
import hashlib, os, random, secrets, ssl, tempfile, uuid
print(os.urandom(16).hex(), random.random(), random.getrandbits(64), ssl.RAND_bytes(16).hex(), uuid.uuid1().hex,
      uuid.uuid4().hex, secrets.token_hex(8), next(tempfile._get_candidate_names()), os.getpid())
"""


def test_no_two_copies_draw_the_same(forked: ForkedWorld) -> None:
    """After the zygote itself has drawn of each, so that there is a state to repeat."""

    async def body() -> None:
        drawn = FORKED.replace(
            'os.write(3, b"ready")',
            "import random, ssl, tempfile, uuid, secrets\n"
            "random.random(), ssl.RAND_bytes(8), uuid.uuid4(), next(tempfile._get_candidate_names())\n"
            'os.write(3, b"ready")',
        )
        await forked.replace_zygote(drawn)
        words = []
        for _ in range(3):
            sandbox = await forked.bound()
            ended, text = await forked.python(sandbox, RANDOM)
            assert ended.status == 0, text
            words.append(text.split())
        for name, values in enumerate(zip(*words, strict=True)):
            assert len(set(values)) == 3, (name, values)

    forked.run(body())


def test_openssl_repeats_nothing_where_all_have_the_same_pid_as_the_zygote(forked: ForkedWorld) -> None:
    """The second of two guards, alone: RAND_add in `renew`. The first is the process id, shown above."""

    async def body() -> None:
        sandbox = await forked.bound()
        code = "import ssl; from _lambent_runtime import zygote; a = []\n" + (
            "for _ in range(2):\n"
            "    r, w = os.pipe()\n"
            "    pid = os.fork()\n"
            "    if not pid:\n"
            "        os.write(w, ssl.RAND_bytes(16)); os._exit(0)\n"
            "    a.append(os.read(r, 16)); os.waitpid(pid, 0); zygote.renew()\n"
            "print(a[0] != a[1])"
        )
        ended, text = await forked.python(sandbox, "import os, sys; sys.path.insert(0, '/var/runtime')\n" + code)
        assert (ended.status, text.strip()) == (0, "True")

    forked.run(body())


def test_nothing_passes_from_one_copy_to_the_next(forked: ForkedWorld) -> None:
    """Memory, environment, descriptors, files: what the first leaves behind, the second does not find."""

    async def body() -> None:
        secret = "pass" + os.urandom(12).hex()
        first = await forked.bound()
        leave = (
            "import builtins, json, os, sys\n"
            "builtins.left = sys.argv[1]; json.left = sys.argv[1]; os.environ['LEFT'] = sys.argv[1]\n"
            "os.dup2(os.open('/tmp/left', os.O_CREAT | os.O_RDWR), 9); os.write(9, sys.argv[1].encode())\n"
            "sys.path.append(sys.argv[1]); sys.modules[sys.argv[1]] = os\n"
            "print('done')"
        )
        assert (await forked.python(first, leave, secret))[1] == "done\n"
        look = (
            "import builtins, json, os, re, sys\n"
            "found = [n for n in ('left',) if hasattr(builtins, n) or hasattr(json, n)]\n"
            "found += [n for n in os.environ if n == 'LEFT'] + [n for n in os.listdir('/tmp') if n == 'left']\n"
            "found += [n for n in sys.path + list(sys.modules) if len(n) == 28 and n.startswith('pass')]\n"
            "found += [n for n in os.listdir('/proc/self/fd') if n == '9']\n"
            "hits = 0\n"
            "with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb', 0) as memory:\n"
            "    for line in maps:\n"
            "        start, end = (int(n, 16) for n in line.split()[0].split('-'))\n"
            "        if line.split()[1][0] == 'r' and '[v' not in line:\n"
            "            memory.seek(start)\n"
            "            try:\n"
            "                hits += len(set(re.findall(b'pass[0-9a-f]{24}', memory.read(end - start))))\n"
            "            except OSError:\n"
            "                pass\n"
            "print(found, hits)"
        )
        second = await forked.bound()
        assert (await forked.python(second, look))[1] == "[] 0\n"

    forked.run(body())


def test_the_copy_has_the_descriptors_of_a_started_program(forked: ForkedWorld) -> None:
    async def body() -> None:
        await forked.blank()  # so that the forker holds more than it should hand on
        sandbox = await forked.bound()
        _, text = await forked.python(
            sandbox,
            "import os; print({n: os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')[:-1]})",
        )
        links = eval(text)
        assert links["0"] == "/dev/null"
        assert links["1"].startswith("pipe:")
        assert links["1"] == links["2"]
        assert set(links) == {"0", "1", "2"}  # 3 was its channel, closed by the test's program

    forked.run(body())


def test_exit_codes_are_true_and_learned(forked: ForkedWorld) -> None:
    async def body() -> None:
        sandbox = await forked.bound()
        ended, text = await forked.python(
            sandbox,
            "import os, subprocess, sys\n"
            "print([subprocess.run(['sh', '-c', f'exit {n}']).returncode for n in (0, 1, 7)])\n"
            "sys.stdout.flush(); os._exit(3)",
        )
        assert (ended.status, text) == (3, "[0, 1, 7]\n")
        for number in (signal.SIGSEGV, signal.SIGKILL):
            sandbox = await forked.bound()
            ended, _ = await forked.python(sandbox, f"import os; os.kill(os.getpid(), {int(number)})")
            assert (ended.status, ended.signal) == (None, number)

    forked.run(body())


def test_a_copy_that_ends_at_once_is_not_lost(forked: ForkedWorld) -> None:
    """Its exit may come before the spawner hears of it: twenty times, as it is a race."""
    code = FORKED.partition("size = ")[0] + "os._exit(9)\n"

    async def body() -> None:
        zygote, started = await started_zygote(forked, code)
        for _ in range(20):
            sandbox = await World.blank(forked)
            copy = await forked_raw(forked, zygote, sandbox)
            assert await copy.ended == Exit(9, None, out_of_memory=False)
            os.close(copy.log)
            await sandbox.destroy()
        await zygote.destroy()
        os.close(started.log)

    forked.run(body())


def test_every_copy_has_a_process_id_of_its_own(forked: ForkedWorld) -> None:
    async def body() -> None:
        pids = set()
        for _ in range(8):
            sandbox = await forked.bound()
            pids.add(int((await forked.python(sandbox, "import os; print(os.getpid())"))[1]))
            await sandbox.destroy()
        assert len(pids) == 8

    forked.run(body())


def test_copies_outlive_their_zygote(forked: ForkedWorld) -> None:
    async def body() -> None:
        sandbox = await forked.bound()
        started = await forked.start(
            sandbox, PYTHON, "-I", "-S", "-c", "import time; print('on', flush=True); time.sleep(60)"
        )
        await started.read(until=b"on")
        assert forked.zygote is not None
        await forked.zygote.destroy()
        assert not started.ended.done()
        await sandbox.destroy()
        assert (await started.ended).signal == signal.SIGKILL
        os.close(started.log)

    forked.run(body())


def test_the_zygote_ends_with_the_spawner(forked: ForkedWorld) -> None:
    async def body() -> int:
        zygote = await forked.forker()
        assert isinstance(zygote, ContainerZygote)
        return zygote.pid

    pid = forked.run(body())
    assert forked.spawner is not None
    forked.spawner.process.kill()
    ended = os.pidfd_open(pid)
    try:
        assert select.select([ended], [], [], 1.0 * PATIENCE)[0], "it lives on"
    finally:
        os.close(ended)


# ---- the zygote ----


def test_the_zygote_holds_two_capabilities_and_sees_nothing(forked: ForkedWorld) -> None:
    async def body() -> None:
        zygote = await forked.forker()
        assert isinstance(zygote, ContainerZygote)
        assert (await forked.python(await forked.bound(), "print(1)"))[1] == "1\n"  # it serves
        has = facts(zygote.pid)
        assert {int(has[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {SYS_ADMIN | SYS_CHROOT}
        assert (has["NoNewPrivs"], has["Seccomp"], has["Groups"]) == ("1", "2", "")
        assert "0" not in has["Uid"].split() + has["Gid"].split()
        assert os.stat(f"/proc/{zygote.pid}/mem").st_uid == 0, "not to be read, by its own user neither"
        for kind in ("mnt", "net", "ipc", "uts"):
            assert os.readlink(f"/proc/{zygote.pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
        links = [os.readlink(f"/proc/{zygote.pid}/fd/{n}") for n in sorted(os.listdir(f"/proc/{zygote.pid}/fd"))]
        assert [link.split(":")[0] for link in links] == ["/dev/null", "pipe", "pipe", "socket", "socket"]
        interfaces = text_of(f"/proc/{zygote.pid}/net/dev")
        assert [line.split(":")[0].strip() for line in interfaces.splitlines()[2:]] == ["lo"]
        mounts = text_of(f"/proc/{zygote.pid}/mountinfo")
        assert " - proc " not in mounts
        assert all(" ro" in line.partition(" - ")[0] for line in mounts.splitlines())

    forked.run(body())


ZYGOTE_TRIES = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*words):
    ctypes.set_errno(0)
    answer = libc.syscall(*[ctypes.c_char_p(w) if isinstance(w, bytes) else ctypes.c_long(w) for w in words])
    return ctypes.get_errno() if answer < 0 else 0
machine = os.uname().machine
numbers = {"x86_64": (165, 272, 101, 321, 175, 161, 155, 166), "aarch64": (40, 97, 117, 280, 105, 51, 41, 39)}[machine]
print([call(n, b"/", b"/", b"/", 0, 0) for n in numbers], sorted(os.listdir("/proc")), os.path.exists("/root"), flush=True)
os.write(3, b"ready")
os.read(3, 1)
"""
"""mount, unshare, ptrace, bpf, init_module, chroot, pivot_root, umount2"""


def test_the_zygotes_filter_leaves_it_no_use_of_its_capabilities(forked: ForkedWorld) -> None:
    async def body() -> None:
        zygote, started = await started_zygote(forked, ZYGOTE_TRIES)
        text = await started.read(until=b"\n")
        assert text.strip() == f"{[errno.EPERM] * 8} [] False"
        await zygote.destroy()
        os.close(started.log)

    forked.run(body())


def test_a_zygote_that_cannot_start_says_so(forked: ForkedWorld) -> None:
    async def body() -> None:
        zygote = await forks_of(forked).create("base", ZYGOTE_LIMITS)
        ours, theirs = socket.socketpair()
        ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        log = await zygote.start(Command(["/no/such"], {}, "/", theirs), ended.set_result)
        ours.close()
        assert (await ended).status == 127
        assert "No such file" in await Started(log, ended).read()
        await zygote.destroy()

    forked.run(body())


# ---- refusals and losses ----


async def refused(world: World, zygote: Zygote, sandbox: Sandbox) -> tuple[str, int]:
    with pytest.raises(SandboxError) as caught:
        await forked_raw(world, zygote, sandbox)
    return caught.value.step, caught.value.errno


def test_only_an_unused_sandbox_is_forked_into(forked: ForkedWorld) -> None:
    async def body() -> None:
        zygote = await forked.forker()
        used = await forked.bound()
        await forked.python(used, "pass")
        assert await refused(forked, zygote, used) == ("find the sandbox unused", errno.EALREADY)
        started = await World.blank(forked)
        await started.bind(Binding(CODE, None, LIMITS))
        program = await World.start(forked, started, "/bin/true")
        assert (await program.read(), (await program.ended).status) == ("", 0)
        assert await refused(forked, zygote, started) == ("find the sandbox unused", errno.EALREADY)

    forked.run(body())


def test_a_forker_that_is_gone_is_said_and_the_sandbox_stays_usable(forked: ForkedWorld) -> None:
    async def body() -> None:
        zygote = await forked.forker()
        assert isinstance(zygote, ContainerZygote)
        os.kill(zygote.pid, signal.SIGKILL)
        sandbox = await World.blank(forked)
        await sandbox.bind(Binding(CODE, None, LIMITS))
        step, error = await refused(forked, zygote, sandbox)
        assert (step, error) in {
            ("find the forker", errno.ESRCH),
            ("hear from the forker", errno.EPIPE),
            ("speak to the forker", errno.EPIPE),
            ("speak to the forker", errno.ECONNRESET),
        }
        program = await World.start(forked, sandbox, "/bin/echo", "fresh")
        assert (await program.read(), (await program.ended).status) == ("fresh\n", 0)

    forked.run(body())


def test_a_sandbox_lost_on_the_way_costs_the_zygote_nothing(forked: ForkedWorld) -> None:
    """Its pid 1 is stopped, killed, or destroyed at the same time: the fork fails or its copy dies, the next one works."""

    async def body() -> None:
        zygote = await forked.forker()
        for kill_first in (True, False):
            sandbox = await World.blank(forked)
            if kill_first:
                os.kill(sandbox.init_pid, signal.SIGKILL)  # type: ignore[attr-defined]
                with contextlib.suppress(SandboxError):
                    copy = await forked_raw(forked, zygote, sandbox)
                    assert (await copy.ended).signal == signal.SIGKILL
                    os.close(copy.log)
                await sandbox.destroy()
            else:
                forking = asyncio.ensure_future(forked_raw(forked, zygote, sandbox))
                await asyncio.sleep(0)
                await sandbox.destroy()
                with contextlib.suppress(SandboxError):
                    copy = await forking
                    assert (await copy.ended).signal == signal.SIGKILL
                    os.close(copy.log)
        sandbox = await forked.bound()
        assert (await forked.python(sandbox, "print('well')"))[1] == "well\n"

    forked.run(body())


HOSTILE = {
    "noise": "os.write(4, b'x' * 100)",
    "an unasked report": "os.write(4, struct.pack('=IiQQiI32s', 1, 0, 1, 1, 2, 0, b''))",
    "a report with descriptors": "socket.socket(fileno=os.dup(4)).sendmsg([b'x' * 64], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, b'\\1\\0\\0\\0')])",
    "its end closed": "os.close(4)",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_forker_that_breaks_the_rules_is_heard_no_longer(forked: ForkedWorld, what: str) -> None:
    code = f"import os, socket, struct, time\n{HOSTILE[what]}\nos.write(3, b'ready')\ntime.sleep(60)"

    async def body() -> None:
        zygote, started = await started_zygote(forked, code)
        sandbox = await World.blank(forked)
        assert (await refused(forked, zygote, sandbox))[1] in (errno.ESRCH, errno.EPIPE)
        await zygote.destroy()
        os.close(started.log)
        assert (await forked.python(await forked.bound(), "print(1)"))[1] == "1\n"

    forked.run(body())


LIE = """
import os, socket, struct
door = socket.socket(fileno=os.dup(4))
door.recv(8192)
os.write(3, b"ready")
for _ in range(3):
    order = door.recv(8192)
    version, flags, serial, sandbox = struct.unpack_from("=IIQQ", order)
    door.send(struct.pack("=IiQQiI32s", 1, 0, serial + LIE_SERIAL, sandbox + LIE_SANDBOX, LIE_PID, 0, b"lie" * 20))
    door.send(struct.pack("=IiQQiI32s", 1, 5, serial, sandbox, 2, 0, b"late"))
door.recv(1)
"""


@pytest.mark.parametrize(("serial", "sandbox", "pid"), [(1, 0, 2), (0, 1, 2), (0, 0, 1), (0, 0, 0), (0, 0, -1)])
def test_what_a_forker_says_is_checked(forked: ForkedWorld, serial: int, sandbox: int, pid: int) -> None:
    """Another request, another sandbox, pid 1, everybody: none of it is believed."""
    code = LIE.replace("LIE_SERIAL", str(serial)).replace("LIE_SANDBOX", str(sandbox)).replace("LIE_PID", str(pid))

    async def body() -> None:
        zygote, started = await started_zygote(forked, code)
        target = await World.blank(forked)
        assert (await refused(forked, zygote, target))[1] in (errno.EPROTO, errno.EPIPE)
        assert (await forked.python(await forked.bound(), "print(1)"))[1] == "1\n"
        await zygote.destroy()
        os.close(started.log)

    forked.run(body())


def test_a_process_that_the_forker_invents_is_nobody(forked: ForkedWorld) -> None:
    """It names a process id that is not there: its end is never told, and the sandbox can be destroyed."""
    code = LIE.replace("LIE_SERIAL", "0").replace("LIE_SANDBOX", "0").replace("LIE_PID", "4000")

    async def body() -> None:
        zygote, started = await started_zygote(forked, code)
        target = await World.blank(forked)
        copy = await forked_raw(forked, zygote, target)
        await target.destroy()
        assert (await copy.ended).signal == signal.SIGKILL
        os.close(copy.log)
        await zygote.destroy()
        os.close(started.log)

    forked.run(body())


def test_the_server_may_not_ask_a_zygote_for_what_sandboxes_do(forked: ForkedWorld) -> None:
    async def body() -> None:
        zygote = await forked.forker()
        assert isinstance(zygote, ContainerZygote)
        driver = forks_of(forked)._driver
        for op in (wire.BIND, wire.RESET, wire.SET_CPU, wire.FREEZE, wire.THAW, wire.NAMESPACES, wire.FORK):
            with pytest.raises(SandboxError) as caught:
                await driver.call(op, zygote.number, limits=LIMITS)
            assert caught.value.errno == errno.EOPNOTSUPP
        with pytest.raises(SandboxError, match="start the zygote"):
            await zygote.start(Command([PYTHON], {}, "/", None), lambda _: None)
        sandbox = await World.blank(forked)
        for origin in (0, sandbox.number, zygote.number + 1, 2**64 - 1):  # type: ignore[attr-defined]
            with pytest.raises(SandboxError) as caught:
                await driver.call(wire.FORK, sandbox.number, origin=origin)  # type: ignore[attr-defined]
            assert (caught.value.step, caught.value.errno) == ("find the forker", errno.ESRCH)

    forked.run(body())


def test_other_tiers_have_no_zygotes() -> None:
    for kind in ("rootless", "confined", "process"):
        with made_world(kind) as world:
            assert world.driver.forks is None
            if kind == "process":
                continue

            async def body(world: World = world) -> None:
                with pytest.raises(SandboxError, match="place for a zygote"):
                    await world.driver.call(wire.CREATE, 0, limits=LIMITS, image="base", flags=wire.IS_ZYGOTE)  # type: ignore[attr-defined]

            world.run(body())


# ---- control groups ----


def test_the_copy_is_in_the_groups_of_its_sandbox_alone(forked: ForkedWorld) -> None:
    async def body() -> None:
        sandbox = await forked.bound()
        _, text = await forked.python(sandbox, "print(open('/proc/self/cgroup').read())")
        paths = {line.split(":")[1]: line.split(":")[2] for line in text.split()}
        assert forked.spawner is not None
        for hierarchy in forked.spawner.groups.hierarchies:
            assert paths[hierarchy.controllers[0] if forked.spawner.groups.version == 1 else ""] == "/"
        assert sandbox.peak_bytes() > 1 << 20

    forked.run(body())


def test_version_2_the_copy_is_born_in_the_group() -> None:
    options: dict[str, Any] = {}
    if (UNIFIED / "cgroup.procs").exists():
        options["groups"] = Groups(2, (Hierarchy(str(UNIFIED), ()),))
    with made_world("forked", **options) as world:
        assert isinstance(world, ForkedWorld)
        if world.spawner is None or world.spawner.groups.version != 2:
            pytest.skip("version 1 alone here")
        hierarchy = world.spawner.groups.hierarchies[0].path
        forks = ContainerForks(world.driver)  # type: ignore[arg-type]  # the server would not, without a memory controller
        type(world.driver).forks, kept = property(lambda self: forks), type(world.driver).forks  # type: ignore[misc,method-assign,assignment]

        async def body() -> None:
            sandbox = await world.bound()
            started = await world.start(
                sandbox, PYTHON, "-I", "-S", "-c", "print(open('/proc/self/cgroup').read(), flush=True); input()"
            )
            text = await started.read(until=b"0::")
            assert "0::/\n" in text + "\n"
            await sandbox.destroy()
            os.close(started.log)

        try:
            world.run(body())
        finally:
            type(world.driver).forks = kept  # type: ignore[method-assign]
        assert hierarchy


def test_joining_does_not_stall_on_a_quiet_machine(forked: ForkedWorld) -> None:
    """A pid written into cgroup.procs waits 11 ms after a pause; the best of some tells which way it went."""

    async def body() -> None:
        best_s = 60.0
        loop = asyncio.get_running_loop()
        zygote = await forked.forker()
        for _ in range(60):
            if best_s < 0.008 * PATIENCE:
                break
            sandbox = await World.blank(forked)
            await asyncio.sleep(0.05)
            before = loop.time()
            copy = await forked_raw(forked, zygote, sandbox)
            best_s = min(best_s, loop.time() - before)
            os.close(copy.log)
            await sandbox.destroy()
        assert best_s < 0.008 * PATIENCE

    forked.run(body())


def test_a_burst_of_forks_all_arrive(forked: ForkedWorld) -> None:
    async def body() -> None:
        sandboxes = [await forked.bound() for _ in range(24)]
        answers = await asyncio.gather(*(forked.python(one, f"print({n})") for n, one in enumerate(sandboxes)))
        assert [text for _, text in answers] == [f"{n}\n" for n in range(24)]
        assert all(ended.status == 0 for ended, _ in answers)

    forked.run(body())
