"""A driver on an event loop of its own, with what its tests need, and a look at what it leaves behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.patience import PATIENCE

from lambent.domain.egress import NOWHERE
from lambent.launcher.build import build
from lambent.sandbox.choose import prepare
from lambent.sandbox.port import Binding, Command, Exit, Image, Limits, Sandbox, SandboxDriver, SandboxError
from lambent.sandbox.spawner import BINARY, Spawner

T = TypeVar("T")
KINDS = ("container", "rootless", "confined", "process")
LIMITS = Limits(memory_mb=256, cpu_vcpus=1.0, processes_max=128, descriptors_max=1024, tmp_mb=512)
CODE = "c0de" * 16
LAYERS = "1a7e" * 16
OTHER_USER = (65534, 65534)
PYTHON = "/usr/bin/python3"
GONE_S_MAX = 1.0 * PATIENCE
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
            images=(Image("base", ()),),
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
        command = Command(argv, env, options.pop("cwd", "/var/task"), options.pop("channel", None))
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
        yield place
    finally:
        shutil.rmtree(place)


@contextmanager
def made_world(kind: str, binary: Path = BINARY, **options: Any) -> Iterator[World]:
    """A world whose end is checked: nothing of it is left. Skips, with the reason, where the tier does not work."""
    with made_place(binary) as place:
        try:
            world = World(kind, place, place / "lambent-launcher", **options)
        except SandboxError as error:
            pytest.skip(f"the {kind} tier does not work here: {error}")
        try:
            yield world
        finally:
            world.close()
            found = wait_until_gone(place, world.instance)
        assert not found, f"left behind: {found}"


def lines(text: str) -> Sequence[str]:
    return text.strip().splitlines()
