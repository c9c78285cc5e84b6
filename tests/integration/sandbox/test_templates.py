"""Templates and their copies: what a copy is made of, what it can't see, and what a template can't do.

A template is a Python program that runs whatever it is given before it waits, and each copy runs what it is sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.sandbox_world import CODE, LIMITS, PYTHON, WAIT_S_MAX, Started, World, made_world
from tests.integration.sandbox.test_attacks import ATTACKS, program

from lambent.sandbox.groups import Groups, Hierarchy
from lambent.sandbox.port import Binding, Command, Copy, Exit, Obstacle, SandboxError, Template

WAITS = """
import os, socket, struct, sys
{before}
os.write(3, b"waits")
if os.read(3, 2) != b"go":
    sys.exit(9)
def receive(size):
    data = b""
    while len(data) < size:
        data += os.read(3, size - len(data))
    return data
while True:
    sys.argv[1:], code = eval(receive(struct.unpack("<I", receive(4))[0]))
    status = 0
    pid = os.fork()
    if pid == 0:
        exec(code, {"state": globals()})
        sys.stdout.flush()
        os._exit(0)
    os.write(3, struct.pack("<i", os.waitpid(pid, 0)[1]))
"""
"""What is sent runs in a child, so that one copy serves many programs; `{before}` runs before the template waits."""


@dataclass
class Running:
    """A copy: its sandbox, our end of its channel, its output and its end."""

    sandbox: Copy
    ours: socket.socket
    started: Started

    async def run(self, code: str, *arguments: str) -> int:
        """Run one program in it; its wait status."""
        loop = asyncio.get_running_loop()
        message = repr((list(arguments), code)).encode()
        await loop.sock_sendall(self.ours, len(message).to_bytes(4, "little") + message)
        return int.from_bytes(await loop.sock_recv(self.ours, 4), "little")

    async def said(self, code: str, *arguments: str) -> str:
        """What one program printed."""
        assert await self.run(code + "\nprint('<end>', flush=True)", *arguments) == 0, code
        return (await self.started.read(b"<end>\n")).removesuffix("<end>\n")


async def template(world: World, before: str = "", code: str | None = CODE) -> tuple[Template, Started]:
    """A sandbox whose program waits, and is not held yet."""
    sandbox = await world.driver.create_template("base", LIMITS)
    await sandbox.bind(Binding(code, None, LIMITS, egress=world.egress))
    ours, theirs = socket.socketpair()
    ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
    command = Command((PYTHON, "-I", "-S", "-c", WAITS.replace("{before}", before)), {}, "/var/task", theirs)
    log = await sandbox.start(command, ended.set_result)
    ours.setblocking(False)
    assert await asyncio.get_running_loop().sock_recv(ours, 5) == b"waits"
    started = Started(log, ended)
    started.channel = ours  # type: ignore[attr-defined]
    return sandbox, started


async def copied(world: World, held: Template) -> Running:
    sandbox = await held.make_copy(LIMITS)
    await sandbox.bind(Binding(CODE, None, LIMITS, egress=world.egress))
    ours, theirs = socket.socketpair()
    ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
    try:
        log = await sandbox.copy(theirs, ended.set_result)
    except SandboxError:
        ours.close()
        await sandbox.destroy()
        raise
    ours.setblocking(False)
    await asyncio.get_running_loop().sock_sendall(ours, b"go")
    return Running(sandbox, ours, Started(log, ended))


@asynccontextmanager
async def held(world: World, before: str = "") -> AsyncIterator[Template]:
    sandbox, started = await template(world, before)
    try:
        await sandbox.hold()
        yield sandbox
    finally:
        await _end(sandbox, started)


async def _end(sandbox: Template, started: Started) -> None:
    await sandbox.destroy()
    started.channel.close()  # type: ignore[attr-defined]
    os.close(started.log)


@asynccontextmanager
async def running(world: World, held: Template) -> AsyncIterator[Running]:
    made = await copied(world, held)
    try:
        yield made
    finally:
        await made.sandbox.destroy()
        made.ours.close()
        os.close(made.started.log)


def pids_of(world: World, sandbox: Any) -> list[int]:
    """The processes of a sandbox, as the host counts, its pid 1 first: numbers begin anew, so order says nothing."""
    assert world.spawner is not None
    root = world.spawner.groups.directory("memory")
    found = [
        int(pid) for pid in Path(f"{root}/lambent-{world.instance}/{sandbox.group}/cgroup.procs").read_text().split()
    ]
    found.remove(sandbox.init_pid)
    return [sandbox.init_pid, *found]


async def both_of(world: World, sandbox: Any) -> list[int]:
    """Pid 1 and the program, once whoever made a copy in there has left."""
    until = time.monotonic() + WAIT_S_MAX / 2
    while len(pids := pids_of(world, sandbox)) != 2:
        assert time.monotonic() < until, pids
        await asyncio.sleep(0.01)
    return pids


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.fixture
def copying(container: World) -> World:
    if container.driver.copies is not None:
        pytest.skip(container.driver.copies)
    return container


def test_a_copy_goes_on_where_its_template_stands(copying: World) -> None:
    async def body() -> None:
        async with held(copying, "built = list(range(100_000))") as one, running(copying, one) as copy:
            assert await copy.said(
                "print(len(state['built']), os.getcwd(), open('/var/task/code.txt').read())".replace(
                    "os.", "__import__('os')."
                )
            ) == ("100000 /var/task the code\n\n")

    copying.run(body())


def test_every_attack_from_a_copy_is_denied(copying: World, targets: list[str]) -> None:
    """The attacks of `test_attacks`, from within a copy, one after another."""

    async def body() -> dict[str, str]:
        got = {}
        async with held(copying) as one, running(copying, one) as copy:
            for name, (code, _) in ATTACKS.items():
                if name == "see other processes":
                    code = (
                        "return len([p for p in os.listdir('/proc') if p.isdigit()]) > 3"  # pid 1, the copy, this child
                    )
                code = code.replace("os.getpid())", "os.getpid(), os.getppid())")  # the copy is no victim of its child
                got[name] = (await copy.said(program(code), *targets)).split()[0]
        return got

    got = copying.run(body())
    assert {name for name, word in got.items() if word != "DENIED"} == set()


def test_a_copy_seen_from_the_host_has_no_privilege_and_namespaces_of_its_own(copying: World) -> None:
    async def body() -> None:
        async with held(copying) as one, running(copying, one) as first, running(copying, one) as second:
            sandboxes = (one, first.sandbox, second.sandbox)
            everyone = [await both_of(copying, each) for each in sandboxes]
            for kind in ("user", "mnt", "net", "ipc", "uts", "cgroup", "pid"):
                seen = {os.readlink(f"/proc/{pids[1]}/ns/{kind}") for pids in everyone}
                assert len(seen) == 3, kind
                for pids in everyone:
                    assert os.readlink(f"/proc/{pids[1]}/ns/{kind}") == os.readlink(f"/proc/{pids[0]}/ns/{kind}")
            facts = [status(pids[1]) for pids in everyone]
            for fact in facts:
                assert {fact[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
                assert (fact["NoNewPrivs"], fact["Seccomp"], fact["Groups"]) == ("1", "2", "")
            assert len({fact["Uid"] for fact in facts}) == 3, "each a user of its own"
            assert {fact["Seccomp_filters"] for fact in facts} == {facts[0]["Seccomp_filters"]}
            for pids in everyone[1:]:
                assert status(pids[1])["TracerPid"] == "0"
            assert status(everyone[0][1])["State"].startswith("t"), "the template stands still"

    copying.run(body())


SECRETS = """
import json, os, random, ssl, sys, uuid
print(json.dumps([os.getpid(), os.urandom(8).hex(), uuid.uuid4().hex, ssl.RAND_bytes(8).hex()]))
"""


def test_copies_share_no_randomness(copying: World) -> None:
    """Without a word of the runtime's: the kernel's, and OpenSSL's, which knows a fork by its process id."""
    before = "import ssl, uuid, random\nssl.RAND_bytes(8)"

    async def body() -> list[list[Any]]:
        found = []
        async with held(copying, before) as one:
            for _ in range(3):
                async with running(copying, one) as copy:
                    found.append(json.loads(await copy.said(SECRETS)))
        return found

    found = copying.run(body())
    for values in zip(*found, strict=True):
        assert len(set(values)) == 3, values


def test_copies_see_nothing_of_each_other(copying: World) -> None:
    """Files, memory after the fork, descriptors, processes, and sockets."""

    async def body() -> None:
        async with (
            held(copying, "memory = ['before']") as one,
            running(copying, one) as first,
            running(copying, one) as second,
        ):
            await first.run(
                "import os\nopen('/tmp/secret', 'w').write('mine')\nstate['memory'].append('mine')\n"
                "os.system('sleep 30 &')"
            )
            look = (
                "import os, socket\n"
                "print(os.listdir('/tmp'), state['memory'], sorted(map(int, os.listdir('/proc/self/fd')))[:4],"
                " len([p for p in os.listdir('/proc') if p.isdigit()]))"
            )
            assert await second.said(look) == "[] ['before'] [0, 1, 2, 3] 3\n"
            # Signals reach neither a sibling nor the template, which was of the same group and session.
            for text in ("os.kill(0, 0)", "os.killpg(os.getpgid(0), 0)", "os.kill(-1, 18)"):
                await first.run(f"import os\ntry: {text}\nexcept OSError: pass")
            assert "yes" in await second.said("print('yes')")

    copying.run(body())


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ("import _thread, time\n_thread.start_new_thread(time.sleep, (60,))", "more than one thread or process"),
        ("if os.fork() == 0:\n    import time\n    time.sleep(60)", "more than one thread or process"),
        ("kept = socket.socket()", "open files or sockets"),
        ("kept = open('/var/task/code.txt')", "open files or sockets"),
        ("kept = os.pipe()", "open files or sockets"),
        ("kept = os.memfd_create('x')", "open files or sockets"),
        ("kept = os.memfd_create('libffi.so')", "open files or sockets"),
        ("kept = os.open('/etc/ld.so.cache', 0)", "open files or sockets"),
        ("kept = os.eventfd(0)" if hasattr(os, "eventfd") else "kept = os.pipe()", "open files or sockets"),
        ("import mmap\nkept = mmap.mmap(-1, 4096)", "memory that is shared"),
        ("open('/tmp/left', 'w').close()", "files in /tmp"),
        ("os.close(0)", "closed a standard descriptor"),
        ("os.dup2(os.open('/var/task/code.txt', 0), 0)", "open files or sockets"),
    ],
)
def test_what_would_be_shared_is_not_held(copying: World, before: str, words: str) -> None:
    async def body() -> None:
        sandbox, started = await template(copying, before)
        with pytest.raises(Obstacle, match=words):
            await sandbox.hold()
        with pytest.raises(SandboxError):
            await sandbox.make_copy(LIMITS)
        await _end(sandbox, started)

    copying.run(body())


ELSEWHERE = """
import ctypes, signal
libc, word = ctypes.CDLL(None), ctypes.c_int(2)
assert libc.syscall(218, ctypes.byref(word)) == os.getpid()  # set_tid_address
heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(os.getpid()))
os.register_at_fork(before=lambda: signal.raise_signal(signal.SIGUSR1))  # which asks the C library for the thread's id
"""
"""What glibc 2.43 and later do: the kernel clears another word at the thread's end than the one that has its id."""
UNKNOWN = """
head, size = ctypes.c_void_p(), ctypes.c_size_t()
assert libc.syscall(274, 0, ctypes.byref(head), ctypes.byref(size)) == 0  # get_robust_list
ctypes.c_int.from_address(head.value - 16).value = 1
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of the calls are those of x86_64")
def test_a_thread_id_is_found_where_the_kernel_does_not_clear_it(copying: World) -> None:
    async def body() -> None:
        async with held(copying, ELSEWHERE) as one:
            for _ in range(2):
                async with running(copying, one) as copy:
                    assert await copy.said("import os\nprint(state['heard'] == [os.getppid()])") == "True\n"

    copying.run(body())


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of the calls are those of x86_64")
def test_without_a_place_for_its_thread_id_it_is_not_held(copying: World) -> None:
    async def body() -> None:
        sandbox, started = await template(copying, ELSEWHERE + UNKNOWN)
        with pytest.raises(Obstacle, match="its C library is not glibc"):
            await sandbox.hold()
        await _end(sandbox, started)

    copying.run(body())


CALLBACKS = """
import ctypes
made = [ctypes.CFUNCTYPE(ctypes.c_int)(lambda number=number: number) for number in range(500)]
print(sum(one() for one in made))
"""


def test_the_file_that_libffi_keeps_open_may_stay_open(copying: World) -> None:
    """Where this system's libffi opens none when ctypes is imported, one that was opened by hand stands for it."""
    before = (
        "import ctypes, glob\nfiles = glob.glob('/usr/lib*/libffi.so*') + glob.glob('/usr/lib/*/libffi.so*')\n"
        "kept = os.open(files[0], os.O_RDONLY) if files else -1"
    )

    async def body() -> None:
        async with held(copying, before) as one:
            for _ in range(2):
                async with running(copying, one) as copy:
                    assert await copy.said(CALLBACKS) == f"{sum(range(500))}\n"

    copying.run(body())


def test_harmless_devices_may_stay_open(copying: World) -> None:
    async def body() -> None:
        before = "kept = [os.open('/dev/urandom', 0), os.open('/dev/null', 0)]"
        async with held(copying, before) as one, running(copying, one) as copy:
            assert await copy.said("import os\nprint(len(os.read(state['kept'][0], 8)))") == "8\n"

    copying.run(body())


def test_one_that_does_not_wait_is_not_held(copying: World) -> None:
    async def body() -> None:
        sandbox, started = await template(copying, "os.write(3, b'waits')\nwhile True: pass")
        with pytest.raises(SandboxError):
            await sandbox.hold()
        await _end(sandbox, started)

    copying.run(body())


# What a hostile init could lay for whoever makes system calls in its place.
TRAPS = {
    "pending signals": (
        "import signal\n"
        "signal.signal(signal.SIGUSR1, lambda *a: os._exit(5))\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
        "for n in (1, 5, 10, 12, 14, 17, 40):\n    os.kill(os.getpid(), n)"
    ),
    "a timer": "import signal\nsignal.signal(signal.SIGALRM, lambda *a: None)\nsignal.setitimer(0, 0.0005, 0.0005)",
    "an ignored trap": "import signal\nsignal.signal(signal.SIGTRAP, signal.SIG_IGN)",
}


@pytest.mark.parametrize("name", TRAPS)
def test_traps_that_an_init_laid_change_nothing(copying: World, name: str) -> None:
    async def body() -> None:
        async with held(copying, TRAPS[name]) as one, running(copying, one) as copy:
            assert "lives" in await copy.said("print('lives')")

    copying.run(body())


X86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="copies are made on x86_64 alone")
SEQUENCE = """
import ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)
libc.pthread_self.restype = ctypes.c_size_t
area = libc.pthread_self() + ctypes.c_ssize_t.in_dll(libc, "__rseq_offset").value
page = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)
at = ctypes.addressof(ctypes.c_char.from_buffer(page))
# the signature; mov edi, 66; mov eax, exit_group; syscall
page[60:76] = bytes.fromhex("53300553bf42000000b8e70000000f05")
# version and flags; from, how long, and where instead: everything above this page
page[128:160] = b"".join(n.to_bytes(8, "little") for n in (0, at + 4096, 0x7FFFFFFFE000 - at - 4096, at + 64))
os.write(3, b"waits")
ctypes.c_uint64.from_address(area + 8).value = at + 128
os.read(3, 2) == b"go" or os._exit(9)
os.write(3, b"lives")
os.read(3, 1)
"""
"""A restartable sequence that covers libraries, stack and everything mapped later: whoever is interrupted there goes to its
own end. It is laid just before the wait, from which it would strike at the first instruction."""


@X86_64
def test_a_restartable_sequence_does_not_run_where_the_filter_is_suspended(copying: World) -> None:
    async def body() -> None:
        for _ in range(10):
            sandbox, started = await template(copying, SEQUENCE)
            try:
                await sandbox.hold()
            except SandboxError:  # interrupted on its way to the wait: it has run into its own trap
                assert (await started.ended).status == 66
                await _end(sandbox, started)
                continue
            async with running(copying, sandbox) as copy:
                assert await asyncio.get_running_loop().sock_recv(copy.ours, 5) == b"lives"
            return await _end(sandbox, started)
        pytest.skip("it never came to its wait")

    copying.run(body())


DISPATCH = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for line in open("/proc/self/maps"):
    if "libc.so" in line and "r-xp" in line:
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        break
blocks = ctypes.c_char(b"\\x01")
if libc.prctl(59, ctypes.c_ulong(1), ctypes.c_ulong(start), ctypes.c_ulong(end - start), ctypes.byref(blocks)) != 0:
    os.write(3, b"never")
"""
"""System calls from outside the C library are the process's own to handle: those that a copier makes among them."""


@X86_64
def test_an_init_that_traps_system_calls_is_not_copied(copying: World) -> None:
    """Its handler would run where the filter is suspended: it is ended instead."""

    async def body() -> None:
        sandbox, started = await template(copying, DISPATCH)
        await sandbox.hold()
        with pytest.raises(SandboxError, match="run the template"):
            await copied(copying, sandbox)
        assert (await started.ended).signal == signal.SIGKILL
        await _end(sandbox, started)

    copying.run(body())


def test_a_copy_ends_as_a_program_does(copying: World) -> None:
    async def body() -> None:
        async with held(copying) as one:
            for code, expected in (
                ("import os, signal\nos.kill(os.getppid(), signal.SIGSEGV)", (None, signal.SIGSEGV)),
                ("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)", (None, signal.SIGKILL)),
            ):
                copy = await copied(copying, one)
                message = repr(([], code)).encode()
                copy.ours.send(len(message).to_bytes(4, "little") + message)
                ended = await copy.started.ended
                assert (ended.status, ended.signal, ended.out_of_memory) == (*expected, False)
                await copy.sandbox.destroy()
                copy.ours.close()
                os.close(copy.started.log)

    copying.run(body())


def test_a_copy_has_its_own_memory_limit(copying: World) -> None:
    async def body() -> None:
        async with held(copying) as one, running(copying, one) as first, running(copying, one) as second:
            assert await first.run("x = bytearray(400 * 2**20)") == signal.SIGKILL
            assert "yes" in await second.said("print('yes')")
            assert second.sandbox.peak_bytes() < 100 * 2**20

    copying.run(body())


def test_a_copy_freezes_is_reset_and_runs_another_program(copying: World) -> None:
    async def body() -> None:
        async with held(copying) as one, running(copying, one) as copy:
            await copy.sandbox.freeze()
            await copy.sandbox.thaw()
            assert "yes" in await copy.said("print('yes')")
            await copy.sandbox.reset()
            assert (await copy.started.ended).signal == signal.SIGKILL
            _, text = await copying.python(copy.sandbox, "print('another')")
            assert text == "another\n"

    copying.run(body())


def test_a_held_template_takes_no_other_request(copying: World) -> None:
    async def body() -> None:
        async with held(copying) as one:
            for call in (one.freeze(), one.reset(), one.hold(), one.set_cpu(1.0)):
                with pytest.raises(SandboxError, match="leave the template alone"):
                    await call
            with pytest.raises(SandboxError, match="leave the template alone"):
                await copying.python(one, "print('inside')")

    copying.run(body())


def test_without_its_copier_a_template_ends_and_its_copies_live(copying: World) -> None:
    async def body() -> None:
        sandbox, started = await template(copying)
        await sandbox.hold()
        async with running(copying, sandbox) as copy:
            _, program = await both_of(copying, sandbox)
            os.kill(int(status(program)["TracerPid"]), signal.SIGKILL)
            assert (await started.ended).signal == signal.SIGKILL
            assert "yes" in await copy.said("print('yes')")
            with pytest.raises(SandboxError, match="find the template"):
                await sandbox.make_copy(LIMITS)
        await _end(sandbox, started)

    copying.run(body())


def test_many_copies_leave_nothing_in_their_templates_sandbox(copying: World) -> None:
    async def body() -> None:
        async with held(copying) as one:
            for _ in range(20):
                async with running(copying, one):
                    pass
            async with running(copying, one) as last:
                assert await last.said("print('last')") == "last\n"
                await both_of(copying, one)

    copying.run(body())


def test_a_template_may_go_before_its_copies(copying: World) -> None:
    """They end with it, since their processes are below its own; nothing hangs, and nothing is left."""

    async def body() -> None:
        async with held(copying) as one:
            copy = await copied(copying, one)
            await one.destroy()
            assert (await copy.started.ended).signal == signal.SIGKILL
            await copy.sandbox.destroy()
            copy.ours.close()
            os.close(copy.started.log)

    copying.run(body())


def test_copies_are_asked_of_what_is_held_alone(copying: World) -> None:
    async def body() -> None:
        ordinary = await copying.bound()
        with pytest.raises(SandboxError, match="hold what may be held"):
            await ordinary.hold()  # type: ignore[attr-defined]
        with pytest.raises(SandboxError, match="find the template"):
            await ordinary.make_copy(LIMITS)  # type: ignore[attr-defined]
        ours, theirs = socket.socketpair()
        with pytest.raises(SandboxError, match="find a blank for a copy"):
            await ordinary.copy(theirs, lambda _: None)  # type: ignore[attr-defined]
        ours.close()
        async with held(copying) as one:
            with pytest.raises(SandboxError):
                await one.make_copy(replace(LIMITS, memory_mb=1))
        await ordinary.destroy()

    copying.run(body())


def test_other_tiers_say_why_they_copy_nothing(process: World) -> None:
    assert process.driver.copies is not None
    assert "container tier" in process.driver.copies

    async def body() -> None:
        with pytest.raises(SandboxError):
            await process.driver.create_template("base", LIMITS)

    process.run(body())


UNIFIED = Path("/sys/fs/cgroup/unified")


@pytest.fixture
def unified() -> Iterator[World]:
    """Version 2 of the control groups: the machine's own, or what it has beside version 1."""
    options: dict[str, Any] = {}
    if (UNIFIED / "cgroup.procs").exists():
        options["groups"] = Groups(2, (Hierarchy(str(UNIFIED), ()),))
    with made_world("container", **options) as made:
        if made.spawner is None or made.spawner.groups.version != 2:
            pytest.skip("version 1 alone here")
        yield made


def test_version_2_a_copy_is_moved_into_its_group(unified: World) -> None:
    async def body() -> None:
        async with held(unified) as one, running(unified, one) as copy:
            assert unified.spawner is not None
            groups = Path(unified.spawner.groups.hierarchies[0].path, f"lambent-{unified.instance}")
            members = [(groups / sandbox.group / "cgroup.procs").read_text().split() for sandbox in (one, copy.sandbox)]  # type: ignore[attr-defined]
            assert [len(pids) for pids in members] == [2, 2]
            assert await copy.said("print(open('/proc/self/cgroup').read().splitlines()[-1])") == "0::/\n"
        sandbox, started = await template(unified, "import _thread, time\n_thread.start_new_thread(time.sleep, (60,))")
        with pytest.raises(Obstacle, match="more than one thread"):
            await sandbox.hold()
        await _end(sandbox, started)

    unified.run(body())
