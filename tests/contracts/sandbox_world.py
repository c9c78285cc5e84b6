"""A driver on an event loop of its own, with what its tests need, and a look at what it leaves behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from tests.patience import PATIENCE

from lambent.domain.egress import NOWHERE
from lambent.launcher.build import FORK, build, build_fork
from lambent.runtimes.staging import SOURCE
from lambent.sandbox.choose import prepare
from lambent.sandbox.container import ContainerSandbox
from lambent.sandbox.port import (
    Binding,
    Command,
    Exit,
    Image,
    Limits,
    Mount,
    Sandbox,
    SandboxDriver,
    SandboxError,
    Zygote,
)
from lambent.sandbox.spawner import BINARY, Spawner

T = TypeVar("T")
KINDS = ("container", "rootless", "confined", "process")
ZYGOTE_LIMITS = Limits(memory_mb=512, cpu_vcpus=1.0, processes_max=64, descriptors_max=1024, tmp_mb=512)
LIMITS = Limits(memory_mb=256, cpu_vcpus=1.0, processes_max=128, descriptors_max=1024, tmp_mb=512)
CODE = "c0de" * 16
LAYERS = "1a7e" * 16
OTHER_USER = (65534, 65534)
PYTHON = "/usr/bin/python3"
GONE_S_MAX = 10.0 * PATIENCE
WAIT_S_MAX = 20.0 * PATIENCE


@dataclass(frozen=True)
class Leftovers:
    """What a spawner and its sandboxes may have left on the machine."""

    processes: frozenset[int]
    mounts: frozenset[str]
    groups: frozenset[str]
    loops: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.processes or self.mounts or self.groups or self.loops)


def leftovers(place: Path, instance: str) -> Leftovers:
    """Processes that run the launcher's copy in `place`, mounts and loop devices of it, and the instance's cgroups."""
    processes = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "exe").startswith(str(place)):
                processes.add(int(entry.name))
        except OSError:
            continue  # a kernel thread, or ended meanwhile
    groups = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if " - cgroup" in line:
            for root, directories, _ in os.walk(line.split()[4]):
                groups |= {f"{root}/{name}" for name in directories if name == f"lambent-{instance}"}
    mounts = {line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(place) in line}
    loops = set()
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if backing.read_text().startswith(str(place)):
                loops.add(backing.parts[3])
        except OSError:
            continue
    return Leftovers(frozenset(processes), frozenset(mounts), frozenset(groups), frozenset(loops))


def helpers(place: Path, instance: str, name: str, count: int) -> list[int]:
    """The launcher's processes of this name, once there are so many: they take it when they have dropped what they don't need."""
    until = time.monotonic() + WAIT_S_MAX
    while True:
        found = []
        for pid in leftovers(place, instance).processes:
            with suppress(FileNotFoundError):
                if Path(f"/proc/{pid}/comm").read_text() == f"{name}\n":
                    found.append(pid)
        if len(found) == count:
            return found
        assert time.monotonic() < until, f"{len(found)} of {count} {name}"
        time.sleep(0.01)


def wait_until_gone(place: Path, instance: str, limit_s: float = GONE_S_MAX) -> Leftovers:
    """What is still there when nothing is, or when the time is over."""
    until = time.monotonic() + limit_s
    while (found := leftovers(place, instance)) and time.monotonic() < until:
        time.sleep(0.005)
    return found


class World:
    """One driver and its event loop. `run` drives a coroutine; the rest are coroutines for it."""

    def __init__(
        self,
        kind: str,
        place: Path,
        binary: Path,
        *,
        instance: str | None = None,
        new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
        mounts: tuple[Mount, ...] = (),
        **options: Any,
    ) -> None:
        self.kind = kind
        self.place = place
        self.instance = instance or f"test-{os.getpid()}-{kind}"
        self.egress = NOWHERE
        """Whatever a test of the network binds its sandboxes with."""
        self.runner = asyncio.Runner(loop_factory=new_loop)
        prepared = prepare(
            kind,
            instance=self.instance,
            packages_root=place / "packages",
            images=(Image("base", mounts),),
            state_dir=place / "state",
            run_as=OTHER_USER,
            binary=binary,
            **options,
        )
        self.spawner: Spawner | None = prepared.spawner

        async def opened() -> SandboxDriver:
            return prepared.open()

        self.driver = self.runner.run(opened())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(WAIT_S_MAX):
                return await work

        return self.runner.run(bounded())

    @property
    def isolated(self) -> bool:
        return self.kind != "process"

    async def blank(self, limits: Limits = LIMITS) -> Sandbox:
        return await self.driver.create("base", limits)

    async def bound(self, limits: Limits = LIMITS, opt: str | None = None) -> Sandbox:
        sandbox = await self.blank(limits)
        await sandbox.bind(Binding(CODE, opt, limits))
        return sandbox

    async def start(self, sandbox: Sandbox, *argv: str, **options: Any) -> Started:
        ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        env = {"PATH": "/usr/bin:/bin", **options.pop("env", {})}
        where = options.pop("cwd", "/var/task"), options.pop("channel", None)
        command = Command(argv, env, *where, options.pop("label", "runtime"))
        log = await sandbox.start(command, ended.set_result)
        return Started(log, ended)

    async def output(self, sandbox: Sandbox, *argv: str, **options: Any) -> tuple[Exit, str]:
        """Run to the end: how it ended and what it wrote."""
        started = await self.start(sandbox, *argv, **options)
        text = await started.read()
        return await started.ended, text

    async def python(self, sandbox: Sandbox, code: str, *arguments: str, **options: Any) -> tuple[Exit, str]:
        return await self.output(sandbox, PYTHON, "-I", "-S", "-c", code, *arguments, **options)

    def close(self) -> None:
        try:
            self.run(self.driver.close())
        finally:
            self.runner.close()


FORKED = """
import json, os, sys
sys.path.insert(0, "/var/runtime")
from _lambent_runtime import zygote
os.write(3, b"ready")
zygote.serve("/var/runtime/lambent-fork")
size = int.from_bytes(os.read(3, 4), "little")
told = b""
while len(told) < size:
    told += os.read(3, size - len(told))
told = json.loads(told)
os.close(3)
os.environ.clear()
os.environ.update(told["env"])
os.chdir(told["cwd"])
argv = told["argv"]
if argv[:4] != [sys.executable, "-I", "-S", "-c"]:
    import signal
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # ignored by every Python, which does so for what it starts, too
        signal.signal(number, signal.SIG_DFL)
    os.execve(argv[0], argv, dict(os.environ))
code, sys.argv[:] = argv[4], ["-c", *argv[5:]]
for name in [name for name in globals() if name[:2] != "__" and name != "code"]:
    del globals()[name]
exec(compile(code, "<string>", "exec"), globals())
"""
"""What the zygote of a ForkedWorld runs: a copy becomes the program that it is told, without exec where it is Python."""


class ForkedWorld(World):
    """The container tier, with every program forked into its sandbox by a zygote instead of started there."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.zygote: Zygote | None = None
        self._starting: asyncio.Future[tuple[Zygote, Started]] | None = None
        self._started: Started | None = None
        self._used: set[str] = set()

    async def start(self, sandbox: Sandbox, *argv: str, **options: Any) -> Started:
        if "channel" in options or sandbox.id in self._used:
            return await super().start(sandbox, *argv, **options)
        self._used.add(sandbox.id)
        ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        ours, theirs = socket.socketpair()
        told = {
            "argv": argv,
            "env": {"PATH": "/usr/bin:/bin", **options.get("env", {})},
            "cwd": options.get("cwd", "/var/task"),
        }
        with ours:
            forks = self.driver.forks
            assert forks is not None
            log = await forks.fork(await self.forker(), sandbox, theirs, ended.set_result, False)
            programs = cast(ContainerSandbox, sandbox).programs
            programs[options.get("label", "runtime")] = programs["runtime"]  # a copy is always the runtime
            text = json.dumps(told).encode()
            ours.sendall(len(text).to_bytes(4, "little") + text)
        return Started(log, ended)

    async def forker(self) -> Zygote:
        """The one zygote of this world."""
        if self._starting is None:
            self._starting = asyncio.ensure_future(started_zygote(self, FORKED))
        self.zygote, self._started = await self._starting
        return self.zygote

    def close(self) -> None:
        super().close()
        if self._started is not None:
            os.close(self._started.log)

    async def replace_zygote(self, code: str) -> None:
        """From now on this program forks."""
        zygote = await self.forker()
        assert self._started is not None
        os.close(self._started.log)
        await zygote.destroy()
        self._starting = asyncio.ensure_future(started_zygote(self, code))
        await self.forker()

    async def blank(self, limits: Limits = LIMITS) -> Sandbox:
        await self.forker()
        return await super().blank(limits)


async def started_zygote(world: World, code: str) -> tuple[Zygote, Started]:
    """A zygote that runs this Python program, once it has written `ready` to its channel."""
    forks = world.driver.forks
    assert forks is not None
    zygote = await forks.create("base", ZYGOTE_LIMITS)
    ours, theirs = socket.socketpair()
    ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
    log = await zygote.start(Command([PYTHON, "-I", "-S", "-c", code], {}, "/", theirs), ended.set_result)
    with ours:
        ours.setblocking(False)
        if await asyncio.get_running_loop().sock_recv(ours, 64) != b"ready":
            raise AssertionError((await ended, await Started(log, ended).read()))
    return zygote, Started(log, ended)


@dataclass
class Started:
    """A program that runs: its log pipe and its end."""

    log: int
    ended: asyncio.Future[Exit]

    async def read(self, until: bytes | None = None) -> str:
        """Everything up to the end of the pipe (which is then closed), or up to and including `until`."""
        loop = asyncio.get_running_loop()
        parts: list[bytes] = []
        readable = asyncio.Event()
        loop.add_reader(self.log, readable.set)
        try:
            while until is None or until not in b"".join(parts):
                await readable.wait()
                readable.clear()
                try:
                    part = os.read(self.log, 65536)
                except BlockingIOError:
                    continue
                if not part:
                    break
                parts.append(part)
        finally:
            loop.remove_reader(self.log)
        if until is None:
            os.close(self.log)
        return b"".join(parts).decode(errors="replace")


def _package(packages: Path, digest: str, files: dict[str, str]) -> None:
    tree = packages / digest / "tree"
    tree.mkdir(parents=True)
    for name, content in files.items():
        (tree / name).write_text(content)


@contextmanager
def made_place(binary: Path = BINARY) -> Iterator[Path]:
    """A directory that another user may enter, with packages and a launcher of its own (so that it can be recognised)."""
    place = Path(tempfile.mkdtemp(prefix="lambent-sandbox-"))
    try:
        place.chmod(0o755)
        _package(place / "packages", CODE, {"code.txt": "the code\n"})
        _package(place / "packages", LAYERS, {"layer.txt": "a layer\n"})
        (place / "state").mkdir()
        if os.geteuid() == 0:
            os.chown(place / "state", *OTHER_USER)
        if not binary.exists():
            build(binary)
        shutil.copy2(binary, place / "lambent-launcher")
        fork = binary.with_name(FORK.name)
        if not fork.exists():
            build_fork(fork)
        shutil.copytree(SOURCE / "python", place / "runtime")
        shutil.copy2(fork, place / "runtime" / FORK.name)
        yield place
    finally:
        shutil.rmtree(place)


@contextmanager
def made_world(kind: str, binary: Path = BINARY, **options: Any) -> Iterator[World]:
    """A world whose end is checked: nothing of it is left. Skips, with the reason, where the tier does not work, unless
    LAMBENT_TEST_TIERS names it as one that has to."""
    with made_place(binary) as place:
        try:
            if kind == "forked":
                mounts = (Mount(str(place / "runtime"), "/var/runtime"),)
                world: World = ForkedWorld("container", place, place / "lambent-launcher", mounts=mounts, **options)
            else:
                world = World(kind, place, place / "lambent-launcher", **options)
        except SandboxError as error:
            if ("container" if kind == "forked" else kind) in os.environ.get("LAMBENT_TEST_TIERS", "").split():
                raise
            pytest.skip(f"the {kind} tier does not work here: {error}")
        try:
            yield world
        finally:
            world.close()
            found = wait_until_gone(place, world.instance)
        assert not found, f"left behind: {found}"


def lines(text: str) -> Sequence[str]:
    return text.strip().splitlines()
