"""The `confined` driver: root inside an ordinary container, where namespaces and mounts are denied.

The spawner's other drivers mount and unshare; this one gives each sandbox a user of its own, landlock, a filter of system
calls, no capability, resource limits and a keeper that ends all of it (`launcher/confined.c`). What that is worth depends
on the kernel's landlock, which the spawner reports: `Tier.missing` says what it does not cover, and with none of it the
tier is no boundary. Why this shape: docs/decisions/0010-confined.md.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import wire
from .container import ContainerDriver, ContainerSandbox
from .groups import NO_GROUPS, Groups, find_groups
from .peers import Peers
from .port import Binding, Command, Exit, Image, Limits, SandboxError, Tier, no_copies
from .published import localized, sources
from .rootfs import Record, confined_records, pack
from .spawner import (
    BINARY,
    IDS_STRIDE,
    SANDBOXES_MAX,
    TMP_MB_DEFAULT,
    Spawner,
    prepare_scratch,
    region_of_ids,
    start_program,
)

LANDLOCK_FILES, LANDLOCK_TCP, LANDLOCK_SCOPES = 1, 4, 6
"""From which version of landlock on it covers files, TCP, and abstract sockets. Source: the kernel's documentation."""
IDS_LOW, IDS_HIGH, IDS_OF_A_SERVER = 20_000, 60_000, 5_000
"""Where the functions' users lie in a container that has few ids of its own (rootless Docker, userns-remap); two servers in
one container rarely get the same part of it. Two ids for a sandbox there."""

_RUN = "docker run --privileged"
"""Gives the container tier; docs/guide.md has the fewest rights that do."""
_KERNEL = "use a kernel with landlock (CONFIG_SECURITY_LANDLOCK, and landlock in the lsm= boot parameter)"
_PATHS = (
    "/tmp, /var/task and /opt are elsewhere: TMPDIR, LAMBDA_TASK_ROOT and every variable and argument that names them "
    f"say where, paths written into code do not work: {_RUN} …"
)
_PROCESSES = (
    "Functions see which processes run, their command lines, the mounts, the addresses, the connections, the System V objects "
    "and the name of this container (not other users' memory, environment or files), and may speak to sockets in its file "
    f"system that everybody may write to: {_RUN} …"
)
_MEMORY = (
    "No writable cgroup: memory is looked at every 10 to 50 ms and the function then ended, its share of the CPU is its "
    "niceness, processes are counted by the function's user: docker run --privileged …"
)
_TMP = (
    "The size of /tmp is looked at some times a second and the function then ended; one file is limited at once, one "
    f"removed while it is open is not counted: {_RUN} …"
)
_CLOSED = (
    "Functions reach one TCP port, their own Runtime API's (landlock knows ports and no addresses: the same port of other "
    f"machines too), no other, no UDP, and no server of their own: {_RUN} …, or --tier process, which isolates nothing"
)
_OPEN = (
    f"Functions reach whatever this container reaches, its loopback too (landlock {{abi}} does not cover TCP): {_KERNEL}, "
    "6.7 or later"
)
_SOCKETS = f"Abstract sockets of this container are open to functions (landlock {{abi}} does not cover them): {_KERNEL}, 6.12 or later"
_FILES = (
    "The kernel has no landlock, so functions read every file that is readable by everybody, other functions' code among "
    f"them, and this tier is no boundary: {_KERNEL}, and Docker 23 or later"
)


@dataclass(slots=True)
class ConfinedSpawner(Spawner):
    """A spawner of this tier: which users functions run as, where their /tmp lie, what the kernel keeps them from."""

    ids_base: int = 0
    ids_stride: int = IDS_STRIDE
    scratch: Path = Path()
    landlock: int = 0

    @property
    def is_boundary(self) -> bool:
        """Files, TCP and signals are all covered."""
        return self.landlock >= LANDLOCK_SCOPES

    @property
    def closes_network(self) -> bool:
        """TCP is covered, and the filter then closes the rest."""
        return self.landlock >= LANDLOCK_TCP

    def user(self, number: int) -> int:
        """The user id of a sandbox's function; the C side is `function_id` in launcher/table.c."""
        return self.ids_base + ((number & 0xFFFF_FFFF) - 1) * self.ids_stride + 1


class OwnListener(socket.socket):
    """A sandbox's listener on the loopback that all share: it admits its own function's user alone."""

    def guard(self, peers: Peers, user: int) -> None:
        """From now on only sockets of this user are admitted."""
        self._peers, self._user = peers, user
        self._own: tuple[str, int] = self.getsockname()

    def admits(self, peer: tuple[str, int]) -> bool:
        """Whether who has connected from there is the function. Asked by the HTTP core, before it reads anything."""
        return self._peers.owner(peer, self._own) == self._user


class ConfinedSandbox(ContainerSandbox):
    """One sandbox without namespaces; see the port."""

    def __init__(
        self,
        driver: ConfinedDriver,
        number: int,
        init_pid: int,
        image: Image,
        home: Path,
        listener: OwnListener,
        limits: Limits,
    ) -> None:
        super().__init__(driver, number, init_pid, listener, limits, f"s-{number:x}")
        host, port = listener.getsockname()
        self.api_address = f"{host}:{port}"
        self.home = home
        """What the function has as /tmp."""
        self._packages_root = driver.packages_root
        self._image = image
        self._binding: Binding | None = None

    async def bind(self, binding: Binding) -> None:
        await super().bind(binding)
        self._binding = binding

    async def start(self, command: Command, on_exit: Callable[[Exit], None]) -> int:
        home = str(self.home)
        places = sources(self._image, self._binding, self._packages_root, home) | {"/tmp": home}
        return await super().start(localized(command, places, [("TMPDIR", home)]), on_exit)


class ConfinedDriver(ContainerDriver):
    """Talks to a spawner of this tier."""

    def __init__(self, spawner: ConfinedSpawner, packages_root: Path, images: Sequence[Image]) -> None:
        super().__init__(spawner)
        self.tier = Tier(spawner.kind, spawner.missing, is_boundary=spawner.is_boundary, separates_accounts=False)
        self.packages_root = packages_root
        self._facts = spawner
        self._images = {image.name: image for image in images}
        self._peers = Peers()

    def _made(self, answer: wire.Answer, image: str, listener: socket.socket, limits: Limits) -> ConfinedSandbox:
        guarded = OwnListener(fileno=listener.detach())
        guarded.setblocking(False)
        guarded.guard(self._peers, self._facts.user(answer.sandbox))
        home = self._facts.scratch / f"s-{answer.sandbox:x}"
        return ConfinedSandbox(self, answer.sandbox, answer.status, self._images[image], home, guarded, limits)

    def _freezable(self, spawner: Spawner) -> Groups:
        """Who rests is not limited by its keeper meanwhile: it has to know."""
        return NO_GROUPS

    @property
    def binds_running(self) -> bool:
        """What a program may read is said when it starts."""
        return False

    async def close(self) -> None:
        await super().close()
        self._peers.close()


def launch_confined(
    *,
    instance: str,
    packages_root: Path,
    images: Sequence[Image],
    state_dir: Path,
    run_as: tuple[int, int] | None = None,
    binary: Path = BINARY,
    sandboxes_max: int = SANDBOXES_MAX,
    groups: Groups | None = None,
) -> ConfinedSpawner:
    """Start the spawner in this tier. Raises SandboxError with the step that failed; nothing is left behind then.

    run_as: whom the server becomes. Functions are other users than it, so the way to code and to /tmp is opened to all
    users of the machine (to pass, not to list): where it leads through somebody else's closed directory, that is refused.
    """
    if not binary.exists():
        raise SandboxError("find the launcher", 2, f"{binary} is not built: python src/lambent/launcher/build.py")
    if os.geteuid() != 0:
        raise SandboxError("start the spawner", 1, "the confined tier needs root in its container")
    scratch = prepare_scratch(state_dir, os.geteuid(), os.getegid(), 0o711)
    _open_the_way((packages_root.parent, state_dir), {0, os.geteuid(), run_as[0] if run_as else 0})
    for path in (packages_root, scratch):
        if (closed := barrier(path)) is not None:
            raise SandboxError("let functions reach their files", 13, f"{closed} can be passed by its owner alone")
    groups = groups or find_groups(
        Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text(), writable=True
    )
    base, stride, room = user_ids(Path("/proc/self/uid_map").read_text(), instance, sandboxes_max)
    records = _records(instance, packages_root, scratch, images, groups, (base, stride), room)
    process, ours, words = start_program(binary, pack(records), os.geteuid(), os.getegid(), None)
    missing = tuple(_missing(words.hello.signal, groups, images))
    return ConfinedSpawner(
        "confined",
        process,
        ours,
        instance,
        groups,
        tmp_on_disk=True,
        missing=missing,
        sandboxes_max=room,
        ids_base=base,
        ids_stride=stride,
        scratch=scratch,
        landlock=words.hello.signal,
        copies=no_copies("confined"),
    )


def _records(
    instance: str,
    packages_root: Path,
    scratch: Path,
    images: Sequence[Image],
    groups: Groups,
    ids: tuple[int, int],
    room: int,
) -> Iterator[Record]:
    yield ("instance", instance)
    yield ("packages", str(packages_root))
    yield ("scratch", str(scratch))
    yield ("mode", "confined")
    yield ("sandboxes", str(room))
    yield ("ids", str(ids[0]), str(ids[1]))
    yield ("tmp", "memory", "0", str(TMP_MB_DEFAULT))
    for hierarchy in groups.hierarchies:
        yield (f"cgroup{groups.version}", ",".join(hierarchy.controllers), hierarchy.path)
    for image in images:
        yield from confined_records(image)


def user_ids(uid_map: str, instance: str, sandboxes_max: int) -> tuple[int, int, int]:
    """The first of the functions' user ids, how many a sandbox has, and how many sandboxes they are enough for.

    uid_map: the text of /proc/self/uid_map. Where this container has all ids, those of the other tiers; else a part of
    20000 to 60000. Raises SandboxError when these are not mapped either.
    """
    mapped = [tuple(map(int, line.split())) for line in uid_map.splitlines()]

    def is_mapped(first: int, end: int) -> bool:
        return any(inside <= first and end <= inside + count for inside, _, count in mapped)

    base = region_of_ids(instance)
    if is_mapped(base, base + sandboxes_max * IDS_STRIDE):
        return base, IDS_STRIDE, sandboxes_max
    if is_mapped(IDS_LOW, IDS_HIGH):
        part = sum(instance.encode()) % ((IDS_HIGH - IDS_LOW) // IDS_OF_A_SERVER)
        return IDS_LOW + part * IDS_OF_A_SERVER, 2, min(sandboxes_max, IDS_OF_A_SERVER // 2)
    raise SandboxError("find user ids for functions", 22, f"{IDS_LOW} to {IDS_HIGH} are not mapped in this container")


def barrier(path: Path) -> Path | None:
    """The topmost directory on the way to `path`, or it itself, that not everybody can pass."""
    for directory in (*reversed(path.parents), path):
        if directory.is_dir() and not directory.stat().st_mode & stat.S_IXOTH:
            return directory
    return None


def _open_the_way(folders: Sequence[Path], ours: set[int]) -> None:
    """Let everybody pass these, where they are our own; nobody gets to list or read them by that."""
    for folder in folders:
        found = folder.stat()
        if not found.st_mode & stat.S_IXOTH and found.st_uid in ours:
            folder.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXOTH)


def _missing(landlock: int, groups: Groups, images: Sequence[Image]) -> Iterator[str]:
    """What this tier does not give, the weightiest first."""
    if landlock < LANDLOCK_FILES:
        yield _FILES
    yield _CLOSED if landlock >= LANDLOCK_TCP else _OPEN.format(abi=landlock)
    if landlock < LANDLOCK_SCOPES:
        yield _SOCKETS.format(abi=landlock)
    yield _PATHS
    yield _PROCESSES
    yield _TMP
    yield from groups.missing if groups.version else (_MEMORY,)
    behind: dict[Path, list[str]] = {}
    for image in images:
        barriers = (barrier(Path(mount.source)) for mount in image.mounts)
        for closed in dict.fromkeys(found for found in barriers if found is not None):
            behind.setdefault(closed, []).append(image.name)
    for closed, names in behind.items():
        yield (
            f"{', '.join(names)} cannot start: what they need lies behind {closed}, which only its owner may pass: "
            f"chmod o+x {closed}"
        )
