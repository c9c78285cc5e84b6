"""The tier without namespaces: what stands between its functions, what ends them, what is looked at instead of limited.

Control groups are left out, as an ordinary container leaves them out; the contract suite runs with them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.sandbox_world import LIMITS, World, made_world, wait_until_gone
from tests.integration.sandbox.test_attacks import program
from tests.patience import PATIENCE

from lambent.http import serve
from lambent.sandbox.confined import ConfinedSandbox, ConfinedSpawner
from lambent.sandbox.groups import Groups
from lambent.sandbox.port import Sandbox, SandboxError

GONE_S_MAX = 30.0 * PATIENCE


@pytest.fixture
def bare() -> Iterator[World]:
    with made_world("confined", groups=Groups(0, (), ())) as made:
        yield made


def confined(sandbox: Sandbox) -> ConfinedSandbox:
    assert isinstance(sandbox, ConfinedSandbox)
    return sandbox


async def tried(world: World, sandbox: Sandbox, body: str, *arguments: str) -> str:
    ended, text = await world.python(sandbox, program(body), *arguments)
    assert ended.status == 0, (ended, text)
    return text.split()[0]


def user_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Uid:")).split()[1])


def processes_of(user: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and user_of(int(entry.name)) == user and " Z " not in (entry / "stat").read_text():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


async def seen(what: Callable[[], bool]) -> None:
    """Look until it is true: what the kernel does can be looked at, not awaited."""
    async with asyncio.timeout(GONE_S_MAX):
        while not what():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_each_sandbox_is_a_user_of_its_own_without_any_right(bare: World) -> None:
    async def body() -> None:
        users = set()
        for _ in range(3):
            script = "grep -E '^(Uid|Gid|Groups|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status"
            _, text = await bare.output(await bare.bound(), "/bin/sh", "-c", script)
            facts = {line.split(":")[0]: line.split(":")[1].split() for line in text.splitlines()}
            assert set(facts["Uid"]) == set(facts["Gid"])
            assert facts["Groups"] == []
            assert {facts[name][0] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
            assert (facts["NoNewPrivs"], facts["Seccomp"]) == (["1"], ["2"])
            users |= set(facts["Uid"])
        assert len(users) == 3

    bare.run(body())


def test_a_freed_user_id_is_not_given_out_again_at_once(bare: World) -> None:
    async def body() -> None:
        users = []
        for _ in range(3):
            sandbox = await bare.bound()
            _, text = await bare.output(sandbox, "/usr/bin/id", "-u")
            users.append(int(text))
            await sandbox.destroy()
        assert len(set(users)) == 3

    bare.run(body())


def test_a_user_that_somebody_else_is_already_is_not_taken(bare: World) -> None:
    strangers: list[subprocess.Popen[bytes]] = []

    async def body() -> None:
        first = confined(await bare.bound())
        assert isinstance(bare.spawner, ConfinedSpawner)
        _, text = await bare.output(first, "/usr/bin/id", "-u")
        strangers.append(subprocess.Popen(["sleep", "60"], user=int(text) + bare.spawner.ids_stride))  # noqa: ASYNC220
        with pytest.raises(SandboxError, match="be a user of its own"):
            await bare.blank()
        assert strangers[0].poll() is None

    try:
        bare.run(body())
    finally:
        for stranger in strangers:
            stranger.kill()
            stranger.wait()


def test_sandboxes_are_closed_to_each_other(bare: World) -> None:
    async def body() -> None:
        mine, other = await bare.bound(), confined(await bare.bound())
        script = 'echo secret > "$TMPDIR/secret"; echo $$; exec sleep 60'
        started = await bare.start(other, "/bin/sh", "-c", script, env={"SECRET": "hush"})
        pid = (await started.read(until=b"\n")).strip()
        for attack in (
            "return open(sys.argv[1] + '/secret').read()",
            "return os.listdir(sys.argv[1])",
            "os.kill(int(sys.argv[2]), 0); return True",
            "return open(f'/proc/{sys.argv[2]}/environ').read()",
            "return os.listdir(f'/proc/{sys.argv[2]}/fd')",
            "return open(f'/proc/{sys.argv[2]}/mem', 'rb')",
            "return os.listdir(f'/proc/{sys.argv[2]}/cwd/')",
        ):
            assert await tried(bare, mine, attack, str(other.home), pid) == "DENIED", attack
        os.close(started.log)

    bare.run(body())


def test_code_of_other_functions_is_closed(bare: World) -> None:
    """The tree is readable by everybody on the machine; landlock is what closes it."""

    async def body() -> None:
        tree = bare.place / "packages" / ("1a7e" * 16) / "tree" / "layer.txt"
        assert await tried(bare, await bare.bound(), "return open(sys.argv[1]).read()", str(tree)) == "DENIED"
        _, text = await bare.output(await bare.bound(opt="1a7e" * 16), "/bin/cat", "/opt/layer.txt")
        assert text == "a layer\n"  # to a function that has them as its layers they are open

    bare.run(body())


def test_published_paths_lead_to_where_things_are(bare: World) -> None:
    async def body() -> None:
        sandbox = confined(await bare.bound())
        env = {"LAMBDA_TASK_ROOT": "/var/task", "CACHE": "/tmp/cache", "OTHER": "/tmpfile:/var/tmp"}
        script = 'cat "$LAMBDA_TASK_ROOT/code.txt"; pwd; echo "$CACHE $OTHER $TMPDIR"; mkdir "$CACHE" && echo made'
        _, text = await bare.output(sandbox, "/bin/sh", "-c", script, env=env)
        tree = bare.place / "packages" / ("c0de" * 16) / "tree"
        home = sandbox.home
        assert text.splitlines() == ["the code", str(tree), f"{home}/cache /tmpfile:/var/tmp {home}", "made"]

    bare.run(body())


NETWORK = {
    "datagrams": "return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).fileno() > 0",
    "datagrams over IPv6": "return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).fileno() > 0",
    "a connection": "socket.create_connection(('127.0.0.1', int(sys.argv[1])), 1); return True",
    "MPTCP": "s = socket.socket(2, 1, 262); s.connect(('127.0.0.1', int(sys.argv[1]))); return True",
    "SCTP": "s = socket.socket(2, 1, 132); return True",
    "TCP fast open": "s = socket.socket(); return s.sendto(b'x', 0x20000000, ('127.0.0.1', int(sys.argv[1]))) >= 0",
    "TCP fast open by message": "s = socket.socket(); return s.sendmsg([b'x'], [], 0x20000000, ('127.0.0.1', int(sys.argv[1]))) >= 0",
    "a server": "s = socket.create_server(('127.0.0.1', 0)); return True",
    "an abstract socket": "s = socket.socket(1); s.connect('\\0lambent-attack'); return True",
}


def open_by_kernel(world: World) -> set[str]:
    """What an older kernel's landlock leaves open; the tier says so, and no more than that."""
    missing = " ".join(world.driver.tier.missing)
    if "does not cover TCP" in missing:
        return set(NETWORK)
    return {"an abstract socket"} if "Abstract sockets of this container are open" in missing else set()


def absent_protocols() -> set[str]:
    """SCTP and MPTCP are not in every kernel."""
    return {name for name, number in (("MPTCP", 262), ("SCTP", 132)) if not _has_protocol(number)}


def test_nothing_leads_past_the_one_port(bare: World) -> None:
    """But where the kernel's landlock is too old for it."""
    service = socket.create_server(("127.0.0.1", 0))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0lambent-attack")
    abstract.listen()
    try:

        async def body() -> dict[str, str]:
            sandbox = await bare.bound()
            port = str(service.getsockname()[1])
            return {name: await tried(bare, sandbox, code, port) for name, code in NETWORK.items()}

        left = open_by_kernel(bare)
        words = bare.run(body())
        assert {
            name for name, word in words.items() if word != "DENIED"
        } - absent_protocols() == left - absent_protocols()
    finally:
        service.close()
        abstract.close()


def test_without_confinement_these_lead_there(process: World) -> None:
    """The control: what fails everywhere would prove nothing."""
    service = socket.create_server(("127.0.0.1", 0))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0lambent-attack")
    abstract.listen()
    try:

        async def body() -> dict[str, str]:
            sandbox = await process.bound()
            port = str(service.getsockname()[1])
            return {name: await tried(process, sandbox, code, port) for name, code in NETWORK.items()}

        assert {name for name, word in process.run(body()).items() if word != "GOT"} == absent_protocols()
    finally:
        service.close()
        abstract.close()


def _has_protocol(number: int) -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, number).close()
    except OSError:
        return False
    return True


OBJECTS = {
    "shmget": "0, 4096, 0o1600",
    "shmat": "0, None, 0",
    "shmctl": "0, 14, None",
    "semget": "0, 1, 0o1600",
    "semop": "0, None, 0",
    "semctl": "0, 0, 19, None",
    "msgget": "0, 0o1600",
    "msgsnd": "0, b'12345678', 0, 0",
    "msgrcv": "0, None, 0, 0, 0",
    "msgctl": "0, 12, None",
    "mq_open": "b'/lambent-attack', 0o102, 0o600, None",
}


@pytest.mark.parametrize("call", OBJECTS)
def test_objects_that_would_outlive_the_sandbox_are_refused(bare: World, call: str) -> None:

    async def body() -> None:
        code = f"print(libc.{call}({OBJECTS[call]}), ctypes.get_errno())\nsys.exit()"
        _, text = await bare.python(await bare.bound(), program(code))
        assert text == f"-1 {errno.EPERM}\n"

    bare.run(body())


class Hello:
    """An application that answers everybody who is let in."""

    def head(self, exchange: Any) -> None:
        exchange.respond(200, body=b"hello")

    def handle(self, exchange: Any) -> None:
        raise AssertionError

    def too_large(self, exchange: Any, limit: int, declared: int | None) -> None:
        raise AssertionError


def test_a_listener_admits_its_own_function_alone(bare: World) -> None:
    """Root itself is turned away; that landlock keeps other functions from connecting at all is the first fence."""
    code = (
        "import sys, urllib.request\nprint(urllib.request.urlopen('http://' + sys.argv[1], timeout=10).read().decode())"
    )

    async def body() -> None:
        sandbox = await bare.bound()
        server = await serve(Hello(), sandbox.listener)
        try:
            _, text = await bare.output(sandbox, "/usr/bin/python3", "-I", "-c", code, sandbox.api_address)
            assert text == "hello\n"
            host, port = sandbox.api_address.split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                got = await reader.read()
            except ConnectionError:
                got = b""
            writer.close()
            assert got == b""
        finally:
            server.close()

    bare.run(body())


BOMB = """
import os, signal, sys
for number in range(1, 32):
    if number not in (9, 19): signal.signal(number, signal.SIG_IGN)
print(os.getuid(), flush=True)
while True:
    try:
        if os.fork() == 0:
            os.setsid()
        else:
            os.kill(-1, 0)
    except OSError:
        pass
"""


@pytest.mark.parametrize("way", ["reset", "destroy"])
def test_a_fork_bomb_is_ended_whole(bare: World, way: str) -> None:
    async def body() -> None:
        sandbox = await bare.bound(replace(LIMITS, processes_max=64))
        started = await bare.start(sandbox, "/usr/bin/python3", "-I", "-S", "-c", BOMB)
        user = int(await started.read(until=b"\n"))
        await seen(lambda: len(processes_of(user)) >= 32)
        await (sandbox.reset() if way == "reset" else sandbox.destroy())
        assert processes_of(user) == []
        assert await started.read() == ""
        if way == "reset":
            ended, _ = await bare.output(sandbox, "/bin/true")
            assert ended.status == 0

    bare.run(body())


def test_a_function_cannot_end_its_killer(bare: World) -> None:
    """It may signal everybody of its own user; who ends it is another, whose real user is its partner."""

    async def body() -> None:
        sandbox = await bare.bound()
        code = (
            "import os, signal\nprint(os.getuid(), flush=True)\nme = os.getpid()\nif os.fork() == 0:\n"
            "    while True:\n        for p in range(me, me + 400):\n            if p not in (me, os.getpid()):\n"
            "                try: os.kill(p, 9)\n                except OSError: pass\nsignal.pause()\n"
        )
        for _ in range(5):
            started = await bare.start(sandbox, "/usr/bin/python3", "-I", "-S", "-c", code)
            user = int(await started.read(until=b"\n"))
            await sandbox.reset()
            assert processes_of(user) == []
            os.close(started.log)

    bare.run(body())


def test_a_killed_keeper_ends_everybody_it_kept(bare: World) -> None:
    async def body() -> None:
        sandbox = confined(await bare.bound())
        started = await bare.start(sandbox, "/bin/sh", "-c", "sleep 600 & id -u; exec sleep 600")
        user = int(await started.read(until=b"\n"))
        os.kill(sandbox.init_pid, signal.SIGKILL)
        assert (await started.ended).signal == signal.SIGKILL
        await seen(lambda: not processes_of(user))
        os.close(started.log)
        await sandbox.destroy()

    bare.run(body())


SERVER = """
import asyncio, os, sys
from pathlib import Path
sys.path[:0] = [{root!r} + "/src", {root!r}]
from tests.contracts.sandbox_world import World
from lambent.sandbox.groups import Groups
world = World("confined", Path(sys.argv[1]), Path(sys.argv[1]) / "lambent-launcher", instance=sys.argv[2],
              groups=Groups(0, (), ()))
async def body():
    sandbox = await world.bound()
    started = await world.start(sandbox, "/bin/sh", "-c", "sleep 600 & id -u; exec sleep 600")
    return sandbox.init_pid, (await started.read(until=b"\\n")).strip()
keeper, user = world.run(body())
print(world.spawner.process.pid, keeper, user, flush=True)
world.run(asyncio.sleep(60))
"""


@pytest.mark.parametrize("killed", ["server", "spawner", "spawner and keeper", "all and the warden"])
def test_whoever_is_killed_no_function_lives_on(killed: str) -> None:
    """Without control groups nobody but keeper, warden, and at last the next start, can do it."""
    instance = f"killed-{os.getpid()}"
    with made_world("confined", instance=instance, groups=Groups(0, (), ())) as world:
        place = world.place
        world.run(world.driver.close())
        root = str(Path(__file__).resolve().parents[3])
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER.format(root=root), str(place), instance], stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        spawner, keeper, user = map(int, server.stdout.readline().split())
        assert len(processes_of(user)) >= 2
        children = Path(f"/proc/{spawner}/task/{spawner}/children").read_text().split()
        warden = next(int(pid) for pid in children if int(pid) != keeper)
        victims = {
            "server": [server.pid],
            "spawner": [spawner],
            "spawner and keeper": [keeper, spawner],
            "all and the warden": [warden, keeper, spawner, server.pid],
        }[killed]
        for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first: none hears of another's end
            for pid in victims:
                os.kill(pid, number)
        server.kill()
        server.wait()
        server.stdout.close()
        if warden in victims:
            assert processes_of(user)  # nobody is left to do it
            again = World("confined", place, place / "lambent-launcher", instance=instance, groups=Groups(0, (), ()))
            again.close()
        until = time.monotonic() + GONE_S_MAX
        while processes_of(user) and time.monotonic() < until:
            time.sleep(0.01)
        assert processes_of(user) == []
        assert not wait_until_gone(place, instance, GONE_S_MAX)
        assert list((place / "state" / "launcher").iterdir()) == []


def test_memory_beyond_the_limit_is_reported_as_such(bare: World) -> None:
    async def body() -> None:
        sandbox = await bare.bound(replace(LIMITS, memory_mb=128))
        ended, _ = await bare.python(sandbox, "import time; x = bytearray(300_000_000); time.sleep(5)")
        assert (ended.signal, ended.out_of_memory) == (signal.SIGKILL, True)
        ended, text = await bare.python(sandbox, "print('still here')")
        assert (ended.status, ended.out_of_memory, text) == (0, False, "still here\n")

    bare.run(body())


def test_memory_of_children_of_threads_is_counted(bare: World) -> None:
    """The kernel lists a child under the thread that forked it."""
    code = (
        "import os, threading, time\ndef fork():\n    if os.fork() == 0:\n        x = bytearray(100_000_000); time.sleep(5)\n"
        "    time.sleep(5)\nfor _ in range(2): threading.Thread(target=fork).start()\n"
    )

    async def body() -> None:
        ended, _ = await bare.python(await bare.bound(replace(LIMITS, memory_mb=128)), code)
        assert (ended.signal, ended.out_of_memory) == (signal.SIGKILL, True)

    bare.run(body())


def test_a_mapping_far_beyond_the_memory_is_refused_at_once(bare: World) -> None:
    async def body() -> None:
        sandbox = await bare.bound(replace(LIMITS, memory_mb=128))
        assert await tried(bare, sandbox, "return len(bytearray(900_000_000))") == "DENIED"

    bare.run(body())


def test_one_file_beyond_the_size_of_tmp_is_refused(bare: World) -> None:
    async def body() -> None:
        sandbox = await bare.bound(replace(LIMITS, tmp_mb=8))
        code = (
            "import os\nfd = os.open(os.environ['TMPDIR'] + '/x', os.O_WRONLY | os.O_CREAT)\nn = 0\n"
            "try:\n    while n < 20: os.write(fd, b'x' * (1 << 20)); n += 1\nexcept OSError as e: print(e.errno, n)"
        )
        ended, text = await bare.python(sandbox, code)
        assert (ended.status, text) == (0, f"{errno.EFBIG} 8\n")

    bare.run(body())


def test_many_files_beyond_the_size_of_tmp_end_the_program(bare: World) -> None:
    code = (
        "import os, time\nhome = os.environ['TMPDIR']\nfor n in range(20):\n    os.makedirs(f'{home}/{n}')\n"
        "    open(f'{home}/{n}/x', 'wb').write(b'x' * (1 << 20))\n    os.chmod(f'{home}/{n}', 0)\ntime.sleep(10)\n"
    )

    async def body() -> None:
        sandbox = await bare.bound(replace(LIMITS, tmp_mb=8))
        ended, _ = await bare.python(sandbox, code)
        assert (ended.signal, ended.out_of_memory) == (signal.SIGXFSZ, False)

    bare.run(body())


def test_directories_too_deep_to_count_end_the_program(bare: World) -> None:
    code = (
        "import os, time\nos.chdir(os.environ['TMPDIR'])\nfor n in range(300):\n    os.mkdir('d'); os.chdir('d')\n"
        "time.sleep(10)"
    )

    async def body() -> None:
        ended, _ = await bare.python(await bare.bound(), code)
        assert ended.signal == signal.SIGXFSZ

    bare.run(body())


def test_a_function_at_rest_is_looked_at_once_a_second(bare: World) -> None:
    """Measured by how often the keeper is put to sleep; the limits hold at rest, too."""

    def sleeps(pid: int) -> int:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("voluntary_ctxt_switches")).split()[1])

    async def body() -> None:
        sandbox = confined(await bare.bound(replace(LIMITS, memory_mb=128)))
        code = (
            "import time; print('up', flush=True); time.sleep(2); print('now', flush=True)\n"
            "x = bytearray(300_000_000); time.sleep(10)"
        )
        started = await bare.start(sandbox, "/usr/bin/python3", "-I", "-S", "-c", code)
        await started.read(until=b"up")
        await sandbox.freeze()
        before = sleeps(sandbox.init_pid)
        await started.read(until=b"now")
        assert sleeps(sandbox.init_pid) - before < 15  # awake it is 20 a second and more
        ended = await started.ended
        assert (ended.signal, ended.out_of_memory) == (signal.SIGKILL, True)
        os.close(started.log)

    bare.run(body())


def test_what_lies_in_tmp_goes_with_the_sandbox_however_deep(bare: World) -> None:
    code = (
        "import os\nos.chdir(os.environ['TMPDIR'])\nfor n in range(1500):\n    os.mkdir('d'); os.chdir('d')\n"
        "open('f', 'w').close(); os.symlink('/etc', 'l'); os.chmod('.', 0)"
    )

    async def body() -> None:
        sandbox = confined(await bare.bound())
        await bare.python(sandbox, code)
        assert sandbox.home.is_dir()
        await sandbox.destroy()
        assert not sandbox.home.exists()

    bare.run(body())
    assert Path("/etc/passwd").exists()


def test_processes_beyond_the_limit_are_refused(bare: World) -> None:
    async def body() -> None:
        sandbox = await bare.bound(replace(LIMITS, processes_max=32))
        code = (
            "import os, time\nmade = 0\ntry:\n    while made < 200:\n        if os.fork() == 0: time.sleep(60)\n"
            "        made += 1\nexcept BlockingIOError: print(made, flush=True)"
        )
        started = await bare.start(sandbox, "/usr/bin/python3", "-I", "-S", "-c", code)
        assert 20 <= int(await started.read(until=b"\n")) <= 31  # the kernel counts who has just ended, too
        await sandbox.reset()
        os.close(started.log)

    bare.run(body())


def test_a_small_share_of_the_cpu_is_niceness(bare: World) -> None:
    async def body() -> None:
        sandbox = await bare.bound(replace(LIMITS, cpu_vcpus=0.07))
        _, text = await bare.output(sandbox, "/usr/bin/nice")
        assert text == "12\n"  # 1.25 ** -12 = 0.07
        _, text = await bare.output(await bare.bound(), "/usr/bin/nice")
        assert text == "0\n"

    bare.run(body())


def test_the_trusted_processes_keep_the_rights_they_use(bare: World) -> None:
    """Seen from outside: the spawner six, a keeper four; neither can be traced, and a keeper's filter is the function's."""

    def rights(pid: int) -> set[int]:
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        effective = int(lines["CapEff"], 16)
        assert int(lines["CapPrm"], 16) == effective
        return {bit for bit in range(64) if effective >> bit & 1}

    async def body() -> int:
        return confined(await bare.bound()).init_pid

    keeper = bare.run(body())
    assert bare.spawner is not None
    chown, dac_override, fowner, setgid, setuid, setpcap = 0, 1, 3, 6, 7, 8
    assert rights(bare.spawner.process.pid) == {chown, dac_override, fowner, setgid, setuid, setpcap}
    assert rights(keeper) == {dac_override, fowner, setgid, setuid}
    status = Path(f"/proc/{keeper}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
