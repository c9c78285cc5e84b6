"""The isolation port: what a driver can do, in words that know no function.

Every driver passes `tests/contracts/test_sandbox.py`. Descriptors: a started sandbox costs the server at most three
(channel or none, log pipe, listener), because 20,000 is a common hard limit and thousands of environments sit idle.

Where the design once had a second listener on port 9002, one listener on 9001 serves both the Runtime API and the
platform's endpoint (their paths and signatures tell them apart): see docs/decisions.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..domain.egress import NOWHERE, Egress

SANDBOX_API_ADDRESS = "127.0.0.1:9001"
"""Where a sandbox finds the Runtime API and the platform's endpoint, inside its own network namespace. The `confined`
and `process` drivers have no namespace and name a port of the host's loopback in `Sandbox.api_address` instead."""


class SandboxError(Exception):
    """A step of a driver failed. `step` names it, `errno` is the kernel's answer or 0."""

    def __init__(self, step: str, errno: int = 0, detail: str = "") -> None:
        super().__init__(f"{step}: errno {errno}{' ' + detail if detail else ''}")
        self.step = step
        self.errno = errno


@dataclass(frozen=True, slots=True)
class Limits:
    """What one sandbox may use."""

    memory_mb: int
    """Resident memory of all processes together, in MB of 2**20 bytes; `/tmp` is not charged to it."""
    cpu_vcpus: float
    """CPU share in cores; `memory_mb / 1769` for functions."""
    processes_max: int
    descriptors_max: int
    """RLIMIT_NOFILE of each process."""
    tmp_mb: int
    """Size of the private `/tmp`, in MB of 2**20 bytes."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What a blank sandbox gets when it is assigned: a package at /var/task, layers at /opt, the owner's limits."""

    task: str | None
    """Digest of the package mounted read-only at /var/task, or None."""
    opt: str | None
    """Digest of the merged layer tree mounted read-only at /opt, or None."""
    limits: Limits
    is_full_speed: bool = False
    """The CPU share is not limited before `set_cpu` says so: an init phase follows."""
    egress: Egress = NOWHERE
    """Where the sandbox may connect to beside the platform; nowhere, unless somebody says so."""


@dataclass(frozen=True, slots=True)
class Command:
    """One program to run in a sandbox, as the function's user."""

    argv: Sequence[str]
    """argv[0] is an absolute path inside the sandbox; candidates are the caller's business."""
    env: Mapping[str, str]
    """The whole environment; nothing of the host's is added."""
    cwd: str
    channel: socket.socket | None
    """The runtime's end of a Unix stream socketpair, given to the program as descriptor 3; None for HTTP runtimes.
    The driver closes its copy after the start, on failure too."""
    label: str = "runtime"
    """What `Sandbox.signal` calls it by; of two with one label it reaches the later."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How the started program ended: exactly one of `status` and `signal` is set."""

    status: int | None
    signal: int | None
    out_of_memory: bool
    """The kernel's out-of-memory killer struck in this sandbox since the program was started, or since `forgive`."""
    error: int = 0
    """errno of a failed exec (the program never ran), else 0."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a sandbox has used so far."""

    memory_peak_bytes: int
    """High-water mark since the sandbox was bound; with cgroup version 2, whose mark cannot be reset for others, since it
    was made: the 1 to 3 MB of a blank are in it, which every runtime exceeds."""
    cpu_us: int


def no_copies(tier: str) -> str:
    """Why a tier makes none."""
    return f"the {tier} tier makes no copies of a process: that takes the privilege of the container tier"


class Obstacle(SandboxError):
    """What runs in a sandbox can't be a template: `step` says what is in the way."""


class Sandbox(Protocol):
    """One sandbox. Calls on one sandbox are made one after another by its owner."""

    id: str
    """Unique within the server's life; the identity of everything that arrives on `listener`."""
    api_address: str
    """host:port under which the program inside reaches `listener`."""

    @property
    def listener(self) -> socket.socket:
        """A listening TCP socket made inside the sandbox and owned by the server."""

    async def bind(self, binding: Binding) -> None:
        """Mount code and set limits; once per sandbox. Before the first start, or where the driver `binds_running`
        under a program that has waited for it."""

    async def set_cpu(self, vcpus: float | None) -> None:
        """Set the CPU share in cores; None lifts it (full speed, for the init phase)."""

    async def start(self, command: Command, on_exit: Callable[[Exit], None]) -> int:
        """Run the program, beside others that run; answers the read end of its log pipe (non-blocking, the caller closes it).

        `on_exit` is called once on the event loop when the program itself has ended. Raises SandboxError when the
        program could not be started at all; a failed exec is an Exit with `error`.
        """

    async def signal(self, label: str, number: int) -> None:
        """Send SIGTERM or SIGKILL to the program with this label and to its process group; nobody, when it has ended.

        A frozen sandbox is thawed by it."""

    async def reset(self) -> None:
        """Kill every process inside and wait until they are gone; `/tmp` and mounts stay; `start` may follow."""

    def usage(self) -> Usage:
        """Memory and CPU; a few microseconds."""

    def peak_bytes(self) -> int:
        """`usage().memory_peak_bytes` alone, cheaper: read on every invocation."""

    def forgive(self) -> None:
        """What the kernel has ended for its memory up to now is not told of later exits: that attempt is over."""

    def freeze_now(self) -> bool:
        """`freeze`, in this step; False where that can't be done: ask."""

    def thaw_now(self) -> bool:
        """`thaw`, in this step; False where that can't be done: ask."""

    async def freeze(self) -> None:
        """Ask the kernel to stop all processes where the driver can; a no-op elsewhere.

        A process that its CPU share keeps from running stops when it runs next. `thaw` takes the request back.
        """

    async def thaw(self) -> None:
        """Undo freeze."""

    async def destroy(self) -> None:
        """Kill and remove everything: processes, mounts, cgroups, namespaces, files, descriptors. Idempotent."""


class Template(Sandbox, Protocol):
    """A sandbox whose program may be stopped for good, to be copied. Its own methods stay; while it is held, all but
    `destroy` are refused. It is destroyed after its copies."""

    async def hold(self) -> None:
        """Stop the program for good, in the read of descriptor 3 in which it waits. Raises Obstacle for what could not
        be copied without being shared: a second thread or process, an open file or socket, shared memory, files in
        `/tmp`; the sandbox is good for nothing but to be destroyed then."""

    async def make_copy(self, limits: Limits) -> Copy:
        """A blank for a copy of the held program, made ahead; bound as any other."""


class Copy(Sandbox, Protocol):
    """A sandbox for a copy of a template, and then with it."""

    async def copy(self, channel: socket.socket, on_exit: Callable[[Exit], None]) -> int:
        """Fork the template into this bound sandbox: its program goes on from the read in which the template stands,
        on `channel` as its descriptor 3. Answers as `start` does, and closes `channel`. Raises SandboxError."""


@dataclass(frozen=True, slots=True)
class Tier:
    """What a driver turned out to be on this machine."""

    name: str
    """container, rootless, confined or process"""
    missing: tuple[str, ...]
    """What this machine does not give, a sentence each with the command that would grant it."""
    is_boundary: bool = True
    """Functions are kept from the machine: a server that others can reach may run them."""
    separates_accounts: bool = True
    """Functions are kept from each other well enough for several accounts on one server."""


class Zygote(Protocol):
    """A place outside of all sandboxes where one trusted program runs that forks itself into them."""

    async def start(self, command: Command, on_exit: Callable[[Exit], None]) -> int:
        """As of a sandbox, once; the program finds on descriptor 4 the socket that `launcher/fork/fork.h` speaks of."""

    def peak_bytes(self) -> int:
        """What it has held at most, in bytes."""

    async def destroy(self) -> None:
        """End it. Copies that were made live on in their sandboxes. Idempotent."""


class Forks(Protocol):
    """What a driver does where programs can be forked into sandboxes."""

    async def create(self, image: str, limits: Limits) -> Zygote:
        """A place for a zygote of this root image. Nothing of a function's may ever run or be told there."""

    async def fork(
        self, zygote: Zygote, sandbox: Sandbox, channel: socket.socket, on_exit: Callable[[Exit], None], is_ahead: bool
    ) -> int:
        """Have the zygote fork itself into a sandbox of the same image in which nothing has run; else as `start`.

        channel: its descriptor 3; the driver closes its copy. is_ahead: the copy is for nobody yet.
        """


class SandboxDriver(Protocol):
    tier: Tier

    @property
    def forks(self) -> Forks | None:
        """None where nothing can be forked into a sandbox."""

    @property
    def binds_running(self) -> bool:
        """Whether a program may be started before its sandbox is bound, and all limits hold for it from then on."""

    @property
    def copies(self) -> str | None:
        """None where `create_template` works; else what this tier lacks for it, in words."""

    async def create(self, image: str, limits: Limits) -> Sandbox:
        """A blank sandbox on a root image (a name that the driver was opened with)."""

    async def create_template(self, image: str, limits: Limits) -> Template:
        """The same, for a program of which there may be copies."""

    async def close(self) -> None:
        """Destroy every sandbox and end the spawner; nothing is left behind."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One read-only bind of the host in a root image."""

    source: str
    """Absolute path on the host, a directory or a file."""
    target: str
    """Absolute path inside the sandbox."""


@dataclass(frozen=True, slots=True)
class Image:
    """A root image: the base every sandbox has (the host's /usr, a minimal /etc, /dev, /proc) plus these mounts."""

    name: str
    mounts: tuple[Mount, ...]
