"""Programs that try to leave their sandbox. Each is denied inside; what destroys nothing succeeds in the process tier.

An attack is a Python program that prints GOT when it got what it wanted and DENIED when it was refused; anything else
fails the test, so a program that does not even run proves nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.sandbox_world import LIMITS, PYTHON, World

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
    "watch performance": ("call({'x86_64': 298, 'aarch64': 241}[os.uname().machine], 0, 0, 0, 0, 0)", False),
    "use io_uring": ("b = ctypes.create_string_buffer(120)\nreturn call(425, 1, ctypes.addressof(b)) > 0", True),
    "handle faults in user space": ("call({'x86_64': 323, 'aarch64': 282}[os.uname().machine], 1)", False),
    "open by handle": ("call({'x86_64': 304, 'aarch64': 265}[os.uname().machine], 0, 0, 0)", False),
    "clone a tree": ("return call(428, -100, b'/', 0) > 0", True),
    "set the clock": ("return call({'x86_64': 164, 'aarch64': 170}[os.uname().machine], 0, 0) == 0", True),
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
    "use too many descriptors": ("return len([os.open('/dev/null', os.O_RDONLY) for _ in range(5000)])", False),
}


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[list[str]]:
    """What the attacks aim at: a host file, this process, a service on the host's loopback, a host directory."""
    secret = tmp_path / "secret"
    secret.write_text("host secret")
    service = socket.create_server(("127.0.0.1", 0))
    port = service.getsockname()[1]
    yield [str(secret), str(os.getpid()), str(port), f"0100007F:{port:04X}", str(tmp_path)]
    service.close()


def test_every_attack_is_denied(isolated: World, targets: list[str]) -> None:
    async def body() -> dict[str, str]:
        return {name: await attempt(isolated, code, *targets) for name, (code, _) in ATTACKS.items()}

    got = isolated.run(body())
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
}


def test_the_confined_tier_denies_what_it_claims_to(confined: World, targets: list[str]) -> None:
    """With a landlock that covers files, TCP and signals; the rest is a list, so that nothing joins it unseen."""
    if not confined.driver.tier.is_boundary:
        pytest.skip("this kernel's landlock is older than version 6, or missing")

    async def body() -> dict[str, str]:
        return {name: await attempt(confined, code, *targets) for name, (code, _) in ATTACKS.items()}

    got = confined.run(body())
    assert {name for name, word in got.items() if word != "DENIED"} == NOT_DENIED_CONFINED


def test_the_harmless_attacks_succeed_without_isolation(process: World, targets: list[str]) -> None:
    """The control: an attack that fails everywhere would prove nothing."""
    # What this machine itself refuses or lacks, isolation or not.
    absent = {"open AF_VSOCK"} if not Path("/dev/vsock").exists() else set()

    async def body() -> dict[str, str]:
        return {name: await attempt(process, code, *targets) for name, (code, harmless) in ATTACKS.items() if harmless}

    got = process.run(body())
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
