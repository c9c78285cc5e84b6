"""Programs that try to leave their sandbox. Each is denied inside; what destroys nothing succeeds in the process tier.

An attack is a Python program that prints GOT when it got what it wanted and DENIED when it was refused; anything else
fails the test, so a program that does not even run proves nothing.
"""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.sandbox_world import LIMITS, PYTHON, World
from tests.integration.sandbox.test_recycled import net_of, next_in_net
from tests.machine import file_system

from lambent.sandbox.port import Sandbox

TRY = """
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *[a if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments])
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def attempt():
{body}
try:
    wanted = attempt()
except (OSError, MemoryError, ValueError) as error:
    print("DENIED", error)
else:
    print("GOT" if wanted else "DENIED", wanted)
"""


def program(body: str) -> str:
    return TRY.format(body="\n".join(f"    {line}" for line in body.strip().splitlines()))


async def attempt(world: World, body: str, *arguments: str) -> str:
    sandbox = await world.bound(replace(LIMITS, processes_max=64))
    ended, text = await world.output(sandbox, PYTHON, "-I", "-S", "-c", program(body), *arguments)
    assert ended.status == 0, (ended, text)
    await sandbox.destroy()
    return text.split()[0]


# name: (program, whether it harms nobody and so must succeed without isolation)
ATTACKS = {
    "read a host file": ("return open(sys.argv[1]).read()", True),
    "list the host's home directories": ("return os.path.exists('/root') or os.path.exists('/home')", True),
    "list the host's sockets and services": ("return os.path.exists('/run') or os.path.exists('/var/run')", True),
    "see the host's block devices": (
        "return [n for n in os.listdir('/dev') if n.startswith(('loop', 'vd', 'sd', 'mem'))]",
        True,
    ),
    "see sysfs": ("return os.listdir('/sys')", True),
    "see other processes": (
        "return [p for p in os.listdir('/proc') if p.isdigit() and int(p) > 1 and int(p) != os.getpid()]",
        True,
    ),
    "signal the server": ("os.kill(int(sys.argv[2]), 0); return True", True),
    "read the server's environment": ("return open(f'/proc/{sys.argv[2]}/environ', 'rb').read()", True),
    "reach a service on the host's loopback": (
        "socket.create_connection(('127.0.0.1', int(sys.argv[3])), 1); return True",
        True,
    ),
    "see the host's interfaces": ("return len(open('/proc/net/dev').read().splitlines()) > 3", True),
    "see the host's mounts": ("return 'cgroup' in open('/proc/self/mountinfo').read()", True),
    "see the host's connections": ("return sys.argv[4] in open('/proc/net/tcp').read()", True),
    "map other users": (
        "return len(open('/proc/self/uid_map').read().split()) == 3 and '4294967295' in open('/proc/self/uid_map').read()",
        True,
    ),
    "read the host's shared memory": ("return open('/dev/shm/' + sys.argv[6]).read()", True),
    "use the host's shared memory": (
        "open('/dev/shm/lambent-attack', 'x').close(); os.unlink('/dev/shm/lambent-attack'); return True",
        True,
    ),
    "write outside /tmp": ("open(sys.argv[5] + '/attack', 'w').close(); return True", True),
    "write to /var/task": ("open('/var/task/attack', 'w')", False),
    "write to /opt": ("open('/opt/attack', 'w')", False),
    "write to /etc": ("open('/etc/attack', 'w')", False),
    "write to /dev": ("open('/dev/attack', 'w')", False),
    "write a kernel setting": ("open('/proc/sys/kernel/core_pattern', 'w')", False),
    "trigger sysrq": ("fd = os.open('/proc/sysrq-trigger', os.O_WRONLY)\nreturn os.fstat(fd).st_rdev == 0", False),
    "read the kernel's memory": ("return open('/proc/kcore', 'rb').read(4)", False),
    "read the kernel's keys": ("return open('/proc/keys').read()", False),
    "read the kernel's log": (
        "return call({'x86_64': 103, 'aarch64': 116}[os.uname().machine], 10, 0, 0) or True",
        True,
    ),
    # Delivered where there is one user id only (rootless without ranges), but never obeyed: the program lives on.
    "end pid 1": ("import time; [os.kill(1, s) for s in range(1, 64)]; time.sleep(0.05)", False),
    "read pid 1": ("return open('/proc/1/environ', 'rb').read() or open('/proc/1/mem', 'rb')", False),
    "enter pid 1's root": ("return os.listdir('/proc/1/root')", False),
    "become root": ("os.setuid(0); return os.getuid() == 0", True),
    "change groups": ("os.setgroups([0]); return True", False),
    "mount": ("return libc.mount(b'x', b'/tmp', b'tmpfs', 0, None) == 0", False),
    "change root": ("os.chroot('/tmp'); return True", False),
    "make a device": ("os.mknod('/tmp/attack', 0o020666, os.makedev(1, 1)); return True", False),
    "open a block device": ("os.mknod('/tmp/disk', 0o060666, os.makedev(7, 0)); return open('/tmp/disk', 'rb')", False),
    "make a user namespace": ("return libc.unshare(0x10000000) == 0", False),
    "clone into a user namespace": (
        "n = {'x86_64': 56, 'aarch64': 220}[os.uname().machine]\npid = call(n, 0x10000011, 0, 0, 0, 0)\nif pid == 0: os._exit(0)\nos.waitpid(pid, 0)\nreturn True",
        True,
    ),
    "use clone3": ("call(435, 0, 0)", False),
    "enter a namespace": ("fd = os.open('/proc/self/ns/uts', os.O_RDONLY)\nreturn libc.setns(fd, 0) == 0", True),
    "trace a child": (
        "pid = os.fork()\nif pid == 0: os._exit(0 if libc.ptrace(0, 0, 0, 0) == 0 else 1)\nreturn os.waitpid(pid, 0)[1] == 0",
        True,
    ),
    "read a child's memory": (
        "b = ctypes.create_string_buffer(8)\nclass V(ctypes.Structure): _fields_ = [('p', ctypes.c_void_p), ('n', ctypes.c_size_t)]\nv = V(ctypes.addressof(b), 8)\nreturn libc.process_vm_readv(os.getpid(), ctypes.byref(v), 1, ctypes.byref(v), 1, 0) == 8",
        True,
    ),
    "load a module": ("call({'x86_64': 313, 'aarch64': 273}[os.uname().machine], 0, b'', 0)", False),
    "load a BPF program": ("call({'x86_64': 321, 'aarch64': 280}[os.uname().machine], 0, 0, 0)", False),
    "keep a key": (
        "return call({'x86_64': 248, 'aarch64': 217}[os.uname().machine], b'user', b'lambent-attack', b'x', 1, -2) > 0",
        True,
    ),
    "ask the keyring": ("return call({'x86_64': 250, 'aarch64': 219}[os.uname().machine], 0, -3, 0) > 0", True),
    "ask for a key": (
        "return call({'x86_64': 249, 'aarch64': 218}[os.uname().machine], b'user', b'lambent-attack', 0, -2) > 0",
        False,
    ),
    "join a keyring by name": (
        "return call({'x86_64': 250, 'aarch64': 219}[os.uname().machine], 1, b'lambent-attack') > 0",
        True,
    ),
    "watch performance": ("call({'x86_64': 298, 'aarch64': 241}[os.uname().machine], 0, 0, 0, 0, 0)", False),
    "use io_uring": ("b = ctypes.create_string_buffer(120)\nreturn call(425, 1, ctypes.addressof(b)) > 0", True),
    "handle faults in user space": ("call({'x86_64': 323, 'aarch64': 282}[os.uname().machine], 1)", False),
    "open by handle": ("call({'x86_64': 304, 'aarch64': 265}[os.uname().machine], 0, 0, 0)", False),
    "clone a tree": ("return call(428, -100, b'/', 0) > 0", True),
    "set the clock": ("return call({'x86_64': 164, 'aarch64': 170}[os.uname().machine], 0, 0) == 0", True),
    "set the clock of a kind": (
        "import time; time.clock_settime(time.CLOCK_REALTIME, time.time()); return True",
        False,
    ),
    "bend the clock": (
        "b = (ctypes.c_long * 32)(0x8001)\n"
        "return call({'x86_64': 159, 'aarch64': 171}[os.uname().machine], ctypes.addressof(b)) >= 0",
        False,
    ),
    "shift its own clock": (
        "fd = os.open('/proc/self/timens_offsets', os.O_WRONLY)\nreturn os.write(fd, b'monotonic 1 0') > 0",
        False,
    ),
    "take another personality": ("return libc.personality(0x0040000) >= 0", True),
    "open AF_VSOCK": ("return socket.socket(40, socket.SOCK_STREAM).fileno() > 0", True),
    "open NETLINK for audit": ("return socket.socket(16, socket.SOCK_RAW, 9).fileno() > 0", True),
    "open NETLINK for sockets' diagnosis": ("return socket.socket(16, socket.SOCK_RAW, 4).fileno() > 0", True),
    "open a packet socket": ("return socket.socket(17, socket.SOCK_RAW, 3).fileno() > 0", True),
    "open a raw socket": ("return socket.socket(2, socket.SOCK_RAW, 1).fileno() > 0", True),
    "raise the descriptor limit": (
        "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))\nreturn True",
        False,
    ),
    # What the host has and a namespace of one's own has not; the fixture made each.
    "reach an abstract socket of the host": (
        "s = socket.socket(socket.AF_UNIX); s.connect('\\0' + sys.argv[6]); return True",
        True,
    ),
    "reach a socket in the host's files": (
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[5] + '/socket'); return True",
        True,
    ),
    "use the host's System V memory": ("return libc.shmget(int(sys.argv[7]), 0, 0) >= 0", True),
    "use the host's semaphores": ("return libc.semget(int(sys.argv[7]), 0, 0) >= 0", True),
    "use the host's System V queue": ("return libc.msgget(int(sys.argv[7]), 0) >= 0", True),
    "list the host's System V objects": ("return sys.argv[7] in open('/proc/sysvipc/shm').read()", True),
    "use the host's message queue": (
        "return ctypes.CDLL('librt.so.1').mq_open(b'/' + sys.argv[6].encode(), 0) >= 0",
        True,
    ),
    "signal anybody": (
        "for p in os.listdir('/proc'):\n    if p.isdigit() and int(p) not in (1, os.getpid()):\n"
        "        try: os.kill(int(p), 0); return True\n        except OSError: pass",
        True,
    ),
    "read the host's name": ("return os.uname().nodename == sys.argv[8]", True),
    "take a descriptor of a process": (
        "fd = call(434, os.getpid(), 0)\nreturn call(438, fd, 0, 0) >= 0",
        True,
    ),
    "raise its priority": ("return os.nice(-5) < 0", True),
    "take the processor for good": ("os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)); return True", False),
    "lock memory": (
        "b = ctypes.create_string_buffer(1 << 20)\nreturn libc.mlock(b, 1 << 20) == 0",
        False,
    ),
    "read the kernel's log as a device": ("return os.open('/dev/kmsg', os.O_RDONLY) >= 0", True),
    "read the kernel's addresses": (
        "return any(int(line.split()[0], 16) for line in open('/proc/kallsyms'))",
        True,
    ),
    "read the kernel's timers": ("return open('/proc/timer_list').read()", True),
    "read the kernel's allocations": ("return open('/proc/slabinfo').read()", True),
    "read the machine's interrupts": ("return open('/proc/interrupts').read()", True),
    "open a terminal": ("return os.open('/dev/ptmx', os.O_RDWR) >= 0", True),
    "name a file by its handle": (
        "n = {'x86_64': 303, 'aarch64': 264}[os.uname().machine]\nb = (ctypes.c_uint * 64)(128)\nm = ctypes.c_int()\n"
        "return call(n, -100, b'/', ctypes.addressof(b), ctypes.addressof(m), 0) == 0",
        True,
    ),
    "change the host's name": ("return libc.sethostname(b'attack', 6) == 0", False),
    "trade a setuid program for root": (
        "can = 'NoNewPrivs:\\t0' in open('/proc/self/status').read()\n"
        "return can and not os.statvfs('/usr/bin').f_flag & os.ST_NOSUID",
        False,
    ),
    "make a setuid program of another": (
        "import shutil, subprocess\nshutil.copy('/usr/bin/id', os.environ.get('TMPDIR', '/tmp') + '/id')\n"
        "os.chown(os.environ.get('TMPDIR', '/tmp') + '/id', 0, 0); return True",
        True,
    ),
    "leave a core dump": (
        "import resource, subprocess, glob\nhome = os.environ.get('TMPDIR', '/tmp')\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (1 << 30, 1 << 30))\n"
        "subprocess.run([sys.executable, '-c', 'import os; os.abort()'], cwd=home)\nreturn glob.glob(home + '/core*')",
        False,
    ),
    "dump core as it is": (
        "import subprocess, glob\nhome = os.environ.get('TMPDIR', '/tmp')\n"
        "subprocess.run([sys.executable, '-c', 'import os; os.abort()'], cwd=home)\nreturn glob.glob(home + '/core*')",
        False,
    ),
    "wake the machine by a timer": (
        "n = {'x86_64': 222, 'aarch64': 107}[os.uname().machine]\nt = ctypes.c_int()\n"
        "return call(n, 9, 0, ctypes.addressof(t)) == 0",
        False,
    ),
    "write to the server's output": ("os.close(os.open(f'/proc/{sys.argv[2]}/fd/1', os.O_WRONLY)); return True", True),
    "use too many descriptors": ("return len([os.open('/dev/null', os.O_RDONLY) for _ in range(5000)])", False),
}


def test_every_attack_is_denied(isolated: World, targets: list[str]) -> None:
    got = {name: isolated.run(attempt(isolated, code, *targets)) for name, (code, _) in ATTACKS.items()}
    assert {name for name, word in got.items() if word != "DENIED"} == set()


# What asks for a namespace or a mount of its own. `Tier.missing` says each, and the guide.
NOT_DENIED_CONFINED = {
    "list the host's home directories",  # that they are there; nothing in them
    "list the host's sockets and services",
    "see other processes",
    "see the host's interfaces",
    "see the host's mounts",
    "see the host's connections",
    "map other users",
    "read the host's name",
    "list the host's System V objects",
    "read the machine's interrupts",
}


def kernel_shows_addresses() -> bool:
    """To everybody, by settings of the machine's owner that let all users profile; not by default."""
    restrict, paranoid = Path("/proc/sys/kernel/kptr_restrict"), Path("/proc/sys/kernel/perf_event_paranoid")
    return int(restrict.read_text()) == 0 and paranoid.exists() and int(paranoid.read_text()) <= 1


def test_the_confined_tier_denies_what_it_claims_to(confined: World, targets: list[str]) -> None:
    """With a landlock that covers files, TCP and signals; the rest is a list, so that nothing joins it unseen."""
    if not confined.driver.tier.is_boundary:
        pytest.skip("this kernel's landlock is older than version 6, or missing")

    got = {name: confined.run(attempt(confined, code, *targets)) for name, (code, _) in ATTACKS.items()}
    masked = {"read the machine's interrupts"}  # by Docker, whose /proc has it covered
    shown = {"read the kernel's addresses"} if kernel_shows_addresses() else set()
    assert {name for name, word in got.items() if word != "DENIED"} - shown | masked == NOT_DENIED_CONFINED


def test_every_attack_is_denied_in_what_was_used_before(isolated: World, targets: list[str]) -> None:
    """One sandbox in a network namespace that an earlier one had."""

    async def used() -> Sandbox:
        first = await isolated.bound()
        net = net_of(first)
        await first.destroy()
        sandbox = await next_in_net(isolated, net)
        assert sandbox is not None
        return sandbox

    async def one(code: str) -> str:
        ended, text = await isolated.python(sandbox, program(code), *targets)
        assert ended.status == 0, (code, ended, text)
        return text.split()[0]

    sandbox = isolated.run(used())
    got = {name: isolated.run(one(code)) for name, (code, _) in ATTACKS.items()}
    assert {name for name, word in got.items() if word != "DENIED"} == set()


def test_the_harmless_attacks_succeed_without_isolation(process: World, targets: list[str]) -> None:
    """The control: an attack that fails everywhere would prove nothing."""
    # What this machine itself refuses or lacks, isolation or not.
    absent = {"open AF_VSOCK"} if not Path("/dev/vsock").exists() else set()
    absent |= {
        name
        for name, path in {
            "read the kernel's timers": "/proc/timer_list",
            "read the kernel's allocations": "/proc/slabinfo",
            "read the kernel's log as a device": "/dev/kmsg",
            "open a terminal": "/dev/ptmx",
        }.items()
        if not os.access(path, os.R_OK)
    }

    if file_system("/") == "overlay":
        absent.add("name a file by its handle")
    got = {
        name: process.run(attempt(process, code, *targets)) for name, (code, harmless) in ATTACKS.items() if harmless
    }
    assert {name for name, word in got.items() if word != "GOT"} - absent == set()


def test_another_sandboxs_listener_is_out_of_reach(isolated: World) -> None:
    """Both listen on the same address; each reaches its own alone."""

    async def body() -> None:
        mine, other = await isolated.bound(), await isolated.bound()
        code = "import socket; s = socket.create_connection(('127.0.0.1', 9001)); print('connected', flush=True); s.recv(1)"
        started = await isolated.start(mine, PYTHON, "-I", "-S", "-c", code)
        await started.read(until=b"connected")
        with pytest.raises(BlockingIOError):
            other.listener.accept()
        mine.listener.accept()[0].close()
        assert (await started.ended).status == 0
        os.close(started.log)

    isolated.run(body())


def test_sandboxes_share_no_files_and_no_processes(isolated: World) -> None:
    async def body() -> None:
        mine, other = await isolated.bound(), await isolated.bound()
        started = await isolated.start(mine, "/bin/sh", "-c", "echo secret > /tmp/secret; echo ready; exec sleep 60")
        await started.read(until=b"ready")
        _, text = await isolated.output(other, "/bin/sh", "-c", "ls /tmp; cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        assert "secret" not in text
        assert "sleep" not in text
        os.close(started.log)

    isolated.run(body())


def test_nothing_outlives_its_sandbox(isolated: World) -> None:
    """Sessions, double forks and ignored signals do not help; the fixture looks too."""

    async def body() -> None:
        sandbox = await isolated.bound()
        code = (
            "import os, signal, time\nfor s in range(1, 32):\n"
            "    if s not in (9, 19): signal.signal(s, signal.SIG_IGN)\n"
            "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        print('out', flush=True); time.sleep(600)\n"
        )
        started = await isolated.start(sandbox, PYTHON, "-I", "-S", "-c", code)
        await started.read(until=b"out")
        await sandbox.destroy()
        assert await started.read() == ""  # the pipe's last holder is dead

    isolated.run(body())


def test_memory_beyond_the_limit_is_refused(limited: World) -> None:
    async def body() -> None:
        sandbox = await limited.bound(replace(LIMITS, memory_mb=128))
        ended, _ = await limited.python(sandbox, "x = bytearray(400_000_000)")
        assert (ended.signal, ended.out_of_memory) == (9, True)
        ended, text = await limited.python(sandbox, "print('still here')")
        assert (ended.status, ended.out_of_memory, text) == (0, False, "still here\n")

    limited.run(body())


def test_an_out_of_memory_kill_of_a_child_is_seen(limited: World) -> None:
    async def body() -> None:
        sandbox = await limited.bound(replace(LIMITS, memory_mb=128))
        code = "import subprocess, sys; p = subprocess.run([sys.executable, '-c', 'bytearray(400_000_000)']); print(p.returncode)"
        ended, text = await limited.python(sandbox, code)
        assert (ended.status, ended.out_of_memory, text) == (0, True, "-9\n")

    limited.run(body())


def test_a_kill_of_an_attempt_that_is_over_is_not_told_again(limited: World) -> None:
    """A child was ended for its memory, the function went on; what ends it later has another reason, unless it is that again."""
    code = (
        "import os, subprocess, sys\nbomb = [sys.executable, '-c', 'bytearray(400_000_000)']\nsubprocess.run(bomb)\n"
        "print('over', flush=True)\nos.read(3, 1)\n{then}\nos._exit(3)"
    )

    async def ended(then: str) -> tuple[int | None, bool]:
        sandbox = await limited.bound(replace(LIMITS, memory_mb=128))
        ours, theirs = socket.socketpair()
        with ours:
            started = await limited.start(sandbox, PYTHON, "-I", "-S", "-c", code.format(then=then), channel=theirs)
            await started.read(until=b"over")
            sandbox.forgive()
            ours.send(b"x")
            exit_ = await started.ended
        os.close(started.log)
        return exit_.status, exit_.out_of_memory

    async def body() -> None:
        assert await ended("pass") == (3, False)
        assert await ended("subprocess.run(bomb)") == (3, True)

    limited.run(body())


def test_rootless_memory_is_limited_per_process() -> None:
    from tests.contracts.sandbox_world import made_world

    with made_world("rootless") as rootless:
        if rootless.spawner is not None and rootless.spawner.groups.directory("memory") is not None:
            pytest.skip("a control group is delegated to this user, and limits all processes together")

        async def body() -> None:
            sandbox = await rootless.bound(replace(LIMITS, memory_mb=128))
            _, text = await rootless.python(sandbox, program("return len(bytearray(400_000_000))"))
            assert text.startswith("DENIED")

        rootless.run(body())


def test_processes_beyond_the_limit_are_refused(isolated: World) -> None:
    async def body() -> None:
        sandbox = await isolated.bound(replace(LIMITS, processes_max=32))
        code = (
            "import os, time\nmade = 0\ntry:\n    while made < 200:\n        if os.fork() == 0: time.sleep(60)\n        made += 1\n"
            "except BlockingIOError: print('DENIED', made)\nelse: print('GOT', made)"
        )
        started = await isolated.start(sandbox, PYTHON, "-I", "-S", "-c", code)
        text = await started.read(until=b"\n")
        word, made = text.split()
        assert word == "DENIED"
        assert 20 <= int(made) <= 32
        await sandbox.reset()
        os.close(started.log)

    isolated.run(body())


def test_disk_beyond_the_limit_is_refused_and_not_charged_to_memory(container: World) -> None:
    if not container.spawner or not container.spawner.tmp_on_disk:
        pytest.skip("no loop devices here: /tmp is a tmpfs and counts against the memory")

    async def body() -> None:
        sandbox = await container.bound(replace(LIMITS, memory_mb=128, tmp_mb=512))
        code = (
            "import os\nfd = os.open('/tmp/x', os.O_WRONLY | os.O_CREAT)\nb = b'x' * (1 << 20)\nn = 0\n"
            "try:\n    while n < 1000: os.write(fd, b); n += 1\nexcept OSError as e: print(e.errno, n)"
        )
        ended, text = await container.python(sandbox, code)
        assert (ended.status, ended.out_of_memory) == (0, False)
        error, written = map(int, text.split())
        assert error == 28
        assert 512 <= written <= 524

    container.run(body())


def test_the_environment_of_the_launcher_is_empty(container: World) -> None:
    """It starts with nothing that could leak into a sandbox."""
    assert container.spawner is not None
    assert Path(f"/proc/{container.spawner.process.pid}/environ").read_bytes() == b""
