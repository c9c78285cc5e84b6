"""What a sandbox leaves is used again only where it is as new, seen by the next one that gets it.

A network namespace is known by its inode, a control group by its name, a user id by its slot. "The next one" is the sandbox
that really has it, or there is none because it was thrown away: both are told apart by what the spawner still holds.
"""

from __future__ import annotations

import array
import asyncio
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.sandbox_world import CODE, LIMITS, PYTHON, WAIT_S_MAX, World, made_world
from tests.integration.sandbox.test_inside import cpu_quota, descriptors_of, group_file, memory_limit
from tests.machine import file_system
from tests.patience import PATIENCE

from lambent.sandbox.container import ContainerDriver, ContainerSandbox
from lambent.sandbox.port import Binding, Sandbox

HEADER = Path(__file__).resolve().parents[3] / "src" / "lambent" / "launcher" / "spawner.h"
NETS_KEPT_MAX, NETS_AHEAD, GROUPS_KEPT_MAX, LEAVING_MAX = (
    int(re.search(rf"#define {name} (\d+)u", HEADER.read_text())[1])  # type: ignore[index]
    for name in ("NETS_KEPT_MAX", "NETS_AHEAD", "GROUPS_KEPT_MAX", "LEAVING_MAX")
)
LOOK_S = 0.01
JOIN_ROUNDS, JOINS_AT_ONCE = 6, 10
"""Of sixty looks that come too early one or two find a network as new."""

SEEN = """
import os, socket
for name in sorted(os.listdir('/proc/net')):
    path = '/proc/net/' + name
    if os.path.isfile(path) and os.access(path, os.R_OK) and name not in ('protocols', 'ptype', 'softnet_stat', 'netlink', 'sockstat', 'fib_triestat'):
        lines = [line.split(': ', name.startswith('udp'))[-1].split() for line in open(path)]
        print('=', name, sorted(' '.join(words) for words in lines))
print(sorted(line.split()[:3] for line in open('/proc/net/sockstat')))
"""
"""All that a program reads of its network, but for what is the machine's, and for what tells how many have had it."""

MOVING = re.compile(r"[0-9a-f]{16}|\b[1-9]\d{3,}\b|\b\d{5,}\b")
"""Addresses in the kernel, and inodes: of four digits on a machine that has only just started."""


def net_of(sandbox: Sandbox) -> str:
    assert isinstance(sandbox, ContainerSandbox)
    return os.readlink(f"/proc/{sandbox.init_pid}/ns/net")


def group_of(sandbox: Sandbox) -> str:
    assert isinstance(sandbox, ContainerSandbox)
    return sandbox.group


def nets_held(world: World) -> list[str]:
    """Network namespaces that the spawner holds: kept, or still to be looked at."""
    assert world.spawner is not None
    return [name for name in descriptors_of(world.spawner.process.pid) if name.startswith("net:")]


def groups_standing(world: World) -> set[str]:
    assert world.spawner is not None
    above = world.spawner.groups.directory("memory")
    return {path.name for path in Path(f"{above}/lambent-{world.instance}").glob("s-*")}


async def next_with(
    world: World, held: Callable[[], Iterable[str]], of: Callable[[Sandbox], str], what: str
) -> Sandbox | None:
    """The next sandbox that has `what`, of sandboxes made one after another; None when it was thrown away."""
    drawn: list[Sandbox] = []
    found = None
    while found is None and what in held():
        sandbox = await world.blank()
        if of(sandbox) == what:
            found = sandbox
        else:
            drawn.append(sandbox)
            await asyncio.sleep(LOOK_S)
    await asyncio.gather(*(sandbox.destroy() for sandbox in drawn))
    if found is not None:
        await found.bind(Binding(CODE, None, LIMITS))
    return found


async def next_in_net(world: World, net: str) -> Sandbox | None:
    return await next_with(world, lambda: nets_held(world), net_of, net)


async def next_in_group(world: World, group: str) -> Sandbox | None:
    return await next_with(world, lambda: groups_standing(world), group_of, group)


async def after_it(world: World, group: str) -> Sandbox:
    """The next sandbox in a group that is as new; with version 2, which cannot be made so, in a new one."""
    again = await next_in_group(world, group)
    assert world.spawner is not None
    if world.spawner.groups.version == 2:
        assert again is None, "a group of version 2 was used again"
        return await world.bound()
    assert again is not None, "it was thrown away"
    return again


@pytest.fixture(scope="module", params=["container", "rootless"])
def isolating_world(request: pytest.FixtureRequest) -> Iterator[World]:
    with made_world(
        request.param, instance=f"nets-{os.getpid()}"
    ) as made:  # others start meanwhile, and sweep their own
        yield made


@pytest.fixture(scope="module")
def grouped_world() -> Iterator[World]:
    with made_world("container", instance=f"groups-{os.getpid()}") as made:
        if made.spawner is None or made.spawner.groups.version == 0:
            pytest.skip("no control groups here")
        yield made


def end_all(world: World) -> None:
    """Worlds are shared, sandboxes are not."""
    assert isinstance(world.driver, ContainerDriver)
    sandboxes = world.driver.sandboxes

    async def body() -> None:
        await asyncio.gather(*(sandbox.destroy() for sandbox in sandboxes))

    world.run(body())


def make_room(world: World) -> None:
    """Take what is kept, for the length of a test: where there is no room even the cleanest is thrown away."""

    async def body() -> None:
        kept = True
        while kept:
            sandbox = await world.blank()
            assert isinstance(sandbox, ContainerSandbox)
            kept = sandbox.group != f"s-{sandbox.id}" or len(nets_held(world)) > NETS_AHEAD

    world.run(body())


@pytest.fixture
def recycling(isolating_world: World) -> Iterator[World]:
    make_room(isolating_world)
    yield isolating_world
    end_all(isolating_world)


@pytest.fixture
def grouped(grouped_world: World) -> Iterator[World]:
    make_room(grouped_world)
    yield grouped_world
    end_all(grouped_world)


async def seen(world: World, sandbox: Sandbox) -> str:
    ended, text = await world.python(sandbox, SEEN)
    assert ended.status == 0, text
    return MOVING.sub("#", text)


# ---- network namespaces ----


def test_a_network_that_saw_nothing_is_used_again_and_is_as_new(recycling: World) -> None:
    """The control of all that follows; files, processes and time do not concern a network."""

    async def body() -> None:
        sandbox: Sandbox | None = await recycling.bound()
        assert sandbox is not None
        before, net = await seen(recycling, sandbox), net_of(sandbox)
        for _ in range(3):
            await sandbox.destroy()
            sandbox = await next_in_net(recycling, net)
            assert sandbox is not None, "it was thrown away"
            assert await seen(recycling, sandbox) == before

    recycling.run(body())


TRAFFIC = {
    "a connection to itself": "s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname())",
    "a datagram": "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('127.0.0.1', 5000))",
    "a datagram of version 6": "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.sendto(b'x', ('::1', 5000))",
    "a connection refused": "socket.socket().connect_ex(('127.0.0.1', 5000))",
    "an echo request": "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1); s.sendto(b'\\x08' + bytes(7), ('127.0.0.1', 0))",
    "a request that nobody has accepted": "s = socket.create_connection(('127.0.0.1', 9001)); s.sendall(b'secret')",
    "a first packet sent with data": "s = socket.socket(); s.sendto(b'x', 0x20000000, ('127.0.0.1', 9001))",
}


@pytest.mark.parametrize("sent", TRAFFIC)
def test_a_network_in_which_a_packet_was_sent_is_thrown_away(recycling: World, sent: str) -> None:
    """Counters would tell its next owner, a TIME_WAIT whom to, a queue even what."""

    async def body() -> None:
        sandbox = await recycling.bound()
        net = net_of(sandbox)
        code = f"import socket\ntry:\n    {TRAFFIC[sent]}\nexcept PermissionError: print('refused')"
        ended, text = await recycling.python(sandbox, code)
        assert ended.status == 0, text
        if text:
            pytest.skip("the kernel lets no ordinary user do that here")
        await sandbox.destroy()
        assert await next_in_net(recycling, net) is None

    recycling.run(body())


def test_a_datagram_of_another_kind_is_not_overlooked(recycling: World) -> None:
    """UDP-Lite and multicast have counters and memberships of their own."""

    async def body() -> None:
        sandbox = await recycling.bound()
        net = net_of(sandbox)
        code = (
            "import socket, struct\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136)\n"
            "s.sendto(b'x', ('127.0.0.1', 5000))"
        )
        ended, text = await recycling.python(sandbox, code)
        if ended.status != 0:
            pytest.skip(f"no UDP-Lite: {text.splitlines()[-1]}")
        await sandbox.destroy()
        assert await next_in_net(recycling, net) is None

    recycling.run(body())


def test_a_network_whose_routes_were_searched_is_thrown_away(recycling: World) -> None:
    """To connect a datagram socket sends nothing. Where the kernel counts searches the next owner would read how many."""

    async def body() -> None:
        sandbox = await recycling.bound()
        net = net_of(sandbox)
        code = (
            "import socket\nprint(open('/proc/net/fib_triestat').read())\n"
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.0.0.1', 5000))"
        )
        ended, text = await recycling.python(sandbox, code)
        assert ended.status == 0, text
        await sandbox.destroy()
        again = await next_in_net(recycling, net)
        if "gets = " not in text:
            pytest.skip("this kernel does not count them")
        assert again is None

    recycling.run(body())


LEFT = {
    "an abstract socket": "s = socket.socket(socket.AF_UNIX); s.bind('\\0lambent-left'); s.listen()",
    "a listener": "s = socket.socket(); s.bind(('127.0.0.1', 5000)); s.listen()",
    "a multicast membership": (
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.setsockopt(0, 35, struct.pack('=4s4si', socket.inet_aton('224.9.9.9'), bytes(4), 1))"
    ),
    "a multicast membership of version 6": (
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
        "s.setsockopt(41, 20, socket.inet_pton(socket.AF_INET6, 'ff02::9:9') + struct.pack('=i', 1))"
    ),
    "a flow label": (
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
        "s.setsockopt(41, 32, socket.inet_pton(socket.AF_INET6, '::1') + struct.pack('!I', 0x12345)"
        " + struct.pack('=BBHHHI', 0, 255, 1, 60, 60, 0))"
    ),
    "sockets that hold each other": (
        "a, b = socket.socketpair(); c, d = socket.socketpair()\n"
        "socket.send_fds(a, [b'x'], [d.fileno()]); socket.send_fds(c, [b'x'], [b.fileno()])"
    ),
    "a question to the kernel's routes": "s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); s.bind((0, 0))",
}


@pytest.mark.parametrize("what", LEFT)
def test_what_a_socket_held_is_not_there_for_the_next(recycling: World, what: str) -> None:
    """Its owner is killed while it holds it. What the kernel keeps for longer costs the namespace."""

    async def body() -> None:
        pristine = await recycling.bound()
        before = await seen(recycling, pristine)
        sandbox = await recycling.bound()
        net = net_of(sandbox)
        code = f"import socket, struct, time\n{LEFT[what]}\nprint('left', flush=True); time.sleep(600)"
        started = await recycling.start(sandbox, PYTHON, "-I", "-S", "-c", code)
        text = await started.read(until=b"\n")
        assert text == "left\n", text
        await sandbox.destroy()
        os.close(started.log)
        again = await next_in_net(recycling, net)
        if again is not None:
            assert await seen(recycling, again) == before

    recycling.run(body())


@pytest.mark.parametrize("what", ["a multicast membership", "a multicast membership of version 6"])
def test_what_the_kernel_still_has_to_report_is_waited_for(recycling: World, what: str) -> None:
    """It sends a report some milliseconds after a group was joined; the owner's end may come before."""
    code = f"import socket, struct, time\n{LEFT[what]}\nprint('joined', flush=True); time.sleep(600)"

    async def join_and_end() -> str:
        sandbox = await recycling.bound()
        net = net_of(sandbox)
        started = await recycling.start(sandbox, PYTHON, "-I", "-S", "-c", code)
        assert await started.read(until=b"\n") == "joined\n"
        await sandbox.destroy()
        os.close(started.log)
        return net

    async def body() -> None:
        before = await seen(recycling, await recycling.bound())
        for _ in range(JOIN_ROUNDS):
            nets = set(await asyncio.gather(*(join_and_end() for _ in range(JOINS_AT_ONCE))))
            drawn: list[Sandbox] = []
            while nets & set(nets_held(recycling)):
                drawn.append(await recycling.blank())
                await asyncio.sleep(LOOK_S)
            for sandbox in drawn:
                if net_of(sandbox) in nets:  # the number of one thrown away may be a new one's
                    await sandbox.bind(Binding(CODE, None, LIMITS))
                    assert await seen(recycling, sandbox) == before
            await asyncio.gather(*(sandbox.destroy() for sandbox in drawn))

    recycling.run(body())


def test_a_network_of_which_the_server_still_holds_a_socket_is_nobodys(recycling: World) -> None:
    """A function hands its socket over its channel; while it lives, somebody else's namespace would have it."""

    async def body() -> None:
        sandbox = await recycling.bound()
        net = net_of(sandbox)
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            code = (
                "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 5000))\n"
                "c = socket.socket(fileno=3); socket.send_fds(c, [b'x'], [s.fileno()])"
            )
            started = await recycling.start(sandbox, PYTHON, "-I", "-S", "-c", code, channel=theirs)
            assert (await started.ended).status == 0
            os.close(started.log)
            await sandbox.destroy()
            assert await next_in_net(recycling, net) is None
            _, rights, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
            held = socket.socket(fileno=array.array("i", rights[0][2])[0])
            assert held.getsockname() == ("127.0.0.1", 5000)  # it lived all the time
            held.close()

    recycling.run(body())


def test_a_network_whose_listener_the_server_keeps_is_nobodys(recycling: World) -> None:
    async def body() -> None:
        sandbox = await recycling.bound()
        net = net_of(sandbox)
        kept = sandbox.listener.dup()
        await sandbox.destroy()
        assert await next_in_net(recycling, net) is None
        kept.close()

    recycling.run(body())


def test_a_used_network_has_a_listener_and_a_gate_of_its_own(recycling: World) -> None:
    """It serves its sandbox as a new one does."""

    async def body() -> None:
        first = await recycling.bound()
        net = net_of(first)
        await first.destroy()
        again = await next_in_net(recycling, net)
        assert again is not None
        code = "import socket; s = socket.create_connection(('127.0.0.1', 9001)); s.sendall(b'hi'); print(s.recv(9))"
        started = await recycling.start(again, PYTHON, "-I", "-S", "-c", code)
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(again.listener)
        with connection:
            connection.setblocking(False)
            assert await loop.sock_recv(connection, 9) == b"hi"
            await loop.sock_sendall(connection, b"you")
        assert await started.read() == "b'you'\n"
        with pytest.raises(BlockingIOError):
            again.listener.accept()

    recycling.run(body())


# ---- control groups ----

OWNERS = {
    "memory": ("x = bytearray(100_000_000); print(len(x))", 0),
    "processor time": ("s = sum(range(10_000_000)); print('worked')", 0),
    "many processes": ("import os\nfor _ in range(50):\n    if os.fork() == 0: os._exit(0)\nprint('forked')", 0),
    "an out-of-memory kill": ("x = bytearray(900_000_000)", None),
}


@pytest.mark.parametrize("what", OWNERS)
def test_a_control_group_begins_anew(grouped: World, what: str) -> None:
    code, status = OWNERS[what]

    async def body() -> None:
        limits = replace(LIMITS, memory_mb=512, cpu_vcpus=0.9, processes_max=77)
        first = await grouped.blank()
        await first.bind(Binding(CODE, None, limits))
        ended, _ = await grouped.python(first, code)
        assert ended.status == status
        group = group_of(first)
        await first.destroy()
        again = await after_it(grouped, group)
        assert again.peak_bytes() < 16_000_000
        assert again.usage().cpu_us < 50_000 * PATIENCE
        assert memory_limit(grouped, again) == str(LIMITS.memory_mb << 20)
        assert group_file(grouped, again, "pids", "pids.max") == str(LIMITS.processes_max)
        assert cpu_quota(grouped, again) == "100000"
        ended, text = await grouped.python(again, "print('well')")
        assert (ended.status, ended.out_of_memory, text) == (0, False, "well\n")

    grouped.run(body())


def test_a_blank_in_a_used_group_runs_at_full_speed(grouped: World) -> None:
    wanted = ""

    async def body() -> None:
        nonlocal wanted
        first = await grouped.bound(replace(LIMITS, cpu_vcpus=0.1))
        group = wanted = group_of(first)
        await first.destroy()
        again = await next_with(grouped, lambda: groups_standing(grouped), group_of_unlimited, group)
        assert grouped.spawner is not None
        assert (again is not None) == (grouped.spawner.groups.version == 1), "only version 1's are used again"

    def group_of_unlimited(blank: Sandbox) -> str:
        if group_of(blank) == wanted:
            assert cpu_quota(grouped, blank) == "none"
        return group_of(blank)

    grouped.run(body())


def test_a_frozen_owner_leaves_a_group_that_runs(grouped: World) -> None:
    async def body() -> None:
        first = await grouped.bound()
        started = await grouped.start(first, "/bin/sleep", "600")
        group = group_of(first)
        await first.freeze()
        await first.destroy()
        os.close(started.log)
        again = await next_in_group(grouped, group)
        if again is not None:
            assert not first.freeze_now(), "its name is another's by now"
            ended, _ = await grouped.output(again, "/bin/true")
            assert ended.status == 0

    grouped.run(body())


def test_files_that_the_last_owner_read_are_not_charged_to_the_next(grouped: World) -> None:
    """They stay cached for everybody, and charged to who read them first: such a group goes."""
    if file_system(grouped.place) == "tmpfs":
        pytest.skip(f"{grouped.place} is in memory: nothing there is cached for anybody")
    big = grouped.place / "packages" / CODE / "tree" / "big"
    big.write_bytes(os.urandom(1 << 20) * 24)
    with big.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    async def body() -> None:
        first = await grouped.bound()
        ended, text = await grouped.python(first, "print(len(open('/var/task/big', 'rb').read()))")
        assert (ended.status, int(text)) == (0, 24 << 20)
        group = group_of(first)
        await first.destroy()
        assert await next_in_group(grouped, group) is None

    grouped.run(body())
    big.unlink()


def test_a_group_whose_owner_ended_by_itself_is_still_that_ones(grouped: World) -> None:
    """Pid 1 is killed: until the server asks for the end it reads this owner's figures, never another's."""

    async def body() -> None:
        first = await grouped.bound()
        await grouped.python(first, "x = bytearray(90_000_000)")
        assert isinstance(first, ContainerSandbox)
        group, peak = group_of(first), first.peak_bytes()
        assert peak > 80_000_000
        started = await grouped.start(first, "/bin/sleep", "600")
        os.kill(first.init_pid, signal.SIGKILL)
        await started.ended
        os.close(started.log)
        assert await next_in_group(grouped, group) is None
        assert first.peak_bytes() == peak
        await first.destroy()

    grouped.run(body())


# ---- user ids and /tmp ----

TRACES = """
import ctypes, os, sys
found = []
for name in ('shm', 'sem', 'msg'):
    found += open('/proc/sysvipc/' + name).read().splitlines()[1:]
found += os.listdir('/tmp')
found += [p for p in os.listdir('/proc') if p.isdigit() and int(p) > 1 and int(p) != os.getpid()]
rt = ctypes.CDLL('librt.so.1', use_errno=True)
found += ['queue'] * (rt.mq_open(b'/left', 0) >= 0)
found += [line for line in open('/proc/net/unix').read().splitlines()[1:]]
own = [name for name in os.listdir('/proc/self/fd') if 'libffi' not in os.path.realpath('/proc/self/fd/' + name)]
found += [name for name in own if int(name) > 2][1:]
found += [key for key in os.environ if key.startswith('SECRET')]
print(found)
"""
LEAVE = """
import ctypes, os, socket, time
libc, rt = ctypes.CDLL(None, use_errno=True), ctypes.CDLL('librt.so.1', use_errno=True)
assert libc.shmget(4711, 4096, 0o1666) >= 0 and libc.semget(4711, 1, 0o1666) >= 0 and libc.msgget(4711, 0o1666) >= 0
class Attributes(ctypes.Structure): _fields_ = [(n, ctypes.c_long) for n in ('flags', 'most', 'size', 'now')] + [('rest', ctypes.c_long * 4)]
assert rt.mq_open(b'/left', 0o102, 0o666, ctypes.byref(Attributes(0, 4, 64, 0))) >= 0
open('/tmp/secret', 'w').write('secret' * 100_000)
os.symlink('/tmp/secret', '/tmp/link')
s = socket.socket(socket.AF_UNIX); s.bind('\\0left'); s.listen()
m = os.memfd_create('secret')
libc.inotify_add_watch(libc.inotify_init1(0), b'/tmp', 0xfff)
for _ in range(3):
    if os.fork() == 0: os.setsid(); time.sleep(600)
print('left', flush=True); time.sleep(600)
"""


@pytest.fixture(params=["container", "rootless"])
def narrow(request: pytest.FixtureRequest) -> Iterator[World]:
    """Two slots, so that the user ids of one sandbox are soon another's."""
    with made_world(request.param, sandboxes_max=2) as made:
        yield made


def test_the_next_with_the_same_user_ids_finds_nothing(narrow: World) -> None:
    async def body() -> None:
        others = await narrow.bound()
        first = await narrow.bound()
        uid = _uid(first)
        started = await narrow.start(first, PYTHON, "-I", "-S", "-c", LEAVE, env={"SECRET": "s"})
        assert await started.read(until=b"\n") == "left\n"
        _, text = await narrow.python(first, TRACES)  # the look finds what it looks for
        assert len(text.split(",")) > 8, text
        await first.destroy()
        os.close(started.log)
        if uid > 65_536:  # with one mapped id it is the server's own
            assert uid not in _users(), "a process of its user is left"
        again = await narrow.bound()
        assert _uid(again) == uid
        _, text = await narrow.python(again, TRACES)
        assert text == "[]\n"
        await others.destroy()

    narrow.run(body())


def _uid(sandbox: Sandbox) -> int:
    """Of the function, outside; pid 1 has the one before."""
    assert isinstance(sandbox, ContainerSandbox)
    maps = [list(map(int, line.split())) for line in Path(f"/proc/{sandbox.init_pid}/uid_map").read_text().splitlines()]
    return next(outside for inside, outside, _ in maps if inside == 993)


def _users() -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.add(entry.stat().st_uid)
                text = (entry / "status").read_text()
            except OSError:
                continue
            found |= set(map(int, re.search(r"^Uid:\s+(.*)$", text, re.MULTILINE)[1].split()))  # type: ignore[index]
    return found


def test_a_disc_is_never_another_functions(grouped: World) -> None:
    """Blocks included: a new file is a hole, and the free space of a new disc holds no byte of an earlier one."""
    if not grouped.spawner or not grouped.spawner.tmp_on_disk:
        pytest.skip("no loop devices here")
    mark = "lambent-secret-"

    async def body() -> None:
        for _ in range(3):
            first = await grouped.bound()
            ended, _ = await grouped.python(
                first, f"open('/tmp/x', 'w').write({mark!r} * 500_000); import os; os.sync()"
            )
            assert ended.status == 0
            await first.destroy()
        for _ in range(12):  # all that were made ahead, and then some
            again = await grouped.bound()
            code = (
                "import os\nfd = os.open('/tmp/y', os.O_RDWR | os.O_CREAT)\nos.posix_fallocate(fd, 0, 64 << 20)\n"
                f"print(os.listdir('/tmp'), {mark[:7]!r}.encode() in os.pread(fd, 64 << 20, 0))"
            )
            _, text = await grouped.python(again, code)
            assert text == "['y'] False\n"
            await again.destroy()

    grouped.run(body())


# ---- bounds, and demand first ----


def janitor_of(world: World) -> int:
    assert world.spawner is not None
    found: list[int] = []

    def look() -> bool:
        assert world.spawner is not None
        spawner = world.spawner.process.pid
        children = map(int, Path(f"/proc/{spawner}/task/{spawner}/children").read_text().split())
        found.extend(pid for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == "lambent-janitor")
        return bool(found)

    until(look, "there is no janitor")
    return found[0]


def until(condition: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + 3 * WAIT_S_MAX  # other suites take down a thousand sandboxes meanwhile
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.005)


def test_only_so_many_are_kept_and_some_are_made_ahead() -> None:
    with made_world("container") as world:
        assert len(nets_held(world)) <= 1  # of the trial at the start; who has no functions needs none
        world.run(world.blank())
        until(lambda: len(nets_held(world)) == NETS_AHEAD, "none were made ahead")

        async def body() -> None:
            many = await asyncio.gather(*(world.bound() for _ in range(NETS_KEPT_MAX + 20)))
            await asyncio.gather(*(sandbox.destroy() for sandbox in many))

        world.run(body())
        until(lambda: len(nets_held(world)) <= NETS_KEPT_MAX, "more networks are kept than may be")
        assert world.spawner is not None
        if world.spawner.groups.version == 1:
            until(lambda: len(groups_standing(world)) <= GROUPS_KEPT_MAX + 1, "more groups are kept than may be")


def test_without_its_janitor_a_spawner_makes_all_anew() -> None:
    with made_world("container") as world:
        assert world.spawner is not None

        async def lives() -> tuple[str, str]:
            sandbox = await world.bound()
            ended, _ = await world.output(sandbox, "/bin/true")
            assert ended.status == 0
            net, group = net_of(sandbox), group_of(sandbox)
            await sandbox.destroy()
            return net, group

        world.run(lives())
        os.kill(janitor_of(world), signal.SIGKILL)
        for _ in range(2 * NETS_AHEAD):
            world.run(lives())
        _, group = world.run(lives())
        until(lambda: not nets_held(world), "namespaces are held that nobody looks at")
        until(lambda: group not in groups_standing(world), "its group is not removed")


def test_a_sandbox_is_made_while_nothing_is_taken_down() -> None:
    """The janitor stands still. Sandboxes are made and ended all the same, until so much is left that an end has to wait;
    even then one can be made."""
    with made_world("container", tmp_pool=1, disk_tmp=False) as world:
        janitor = janitor_of(world)
        os.kill(janitor, signal.SIGSTOP)
        waiting: list[asyncio.Task[None]] = []

        async def body() -> int:
            ended = 0
            while ended < LEAVING_MAX:
                sandbox = await world.blank()
                end = asyncio.ensure_future(sandbox.destroy())
                done, _ = await asyncio.wait([end], timeout=1.0)
                if not done:
                    waiting.append(end)
                    break
                ended += 1
            well = await world.bound()
            assert (await world.output(well, "/bin/true"))[0].status == 0
            return ended

        try:
            ended = world.run(body())
        finally:
            os.kill(janitor, signal.SIGCONT)
        assert waiting, "nothing ever waited"
        assert 100 < ended <= LEAVING_MAX

        async def rest() -> None:
            await asyncio.gather(*waiting)

        world.run(rest())


def test_what_is_left_goes_though_sandboxes_are_made_all_the_time() -> None:
    """Births go first, not for ever: six are under way at any time, and yet their namespaces come to be used again."""
    with made_world("container") as world:
        met: list[str] = []

        async def one() -> None:
            sandbox = await world.blank()
            met.append(net_of(sandbox))
            await sandbox.destroy()

        async def body() -> None:
            births = {asyncio.ensure_future(one()) for _ in range(6)}
            while len(met) - len(set(met)) < 20:
                done, births = await asyncio.wait(births, return_when=asyncio.FIRST_COMPLETED)
                births |= {asyncio.ensure_future(one()) for _ in done}
            await asyncio.gather(*births)

        world.run(body())
