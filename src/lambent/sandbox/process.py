"""The `process` driver: a process group with resource limits, for machines that give nothing better.

This is not an isolation boundary: the program sees the host's files, network and processes as the server's own user
does. A server that listens beyond loopback, or has more than one account, refuses this tier unless it is forced. What
it does keep: the published environment, the published paths (by rewriting /var/task, /opt, /var/runtime and /var/lang
in arguments, environment values and working directory to where they lie on the host), limits on descriptors and core
dumps, no new privileges, and that nothing started here outlives the server's order to end it, as far as a process
group reaches. What it cannot: a memory limit, a CPU share, a private /tmp.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import resource
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .port import Binding, Command, Exit, Image, Limits, SandboxError, Template, Tier, Usage, no_copies
from .published import rewritten, sources

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_REAP_LIMIT_S = 5.0

CHANNEL_VARIABLE = "_LAMBENT_CHANNEL"
"""Names the channel's descriptor to our bootstraps."""

MISSING = (
    "memory, CPU and process limits are not enforced, and functions see the host's files, network and processes: "
    "run Lambent as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)",
    "/tmp is the host's; TMPDIR names a private directory",
    "network.egress and network.allow are not enforced: functions use the host's network, its loopback too",
)


class ProcessDriver:
    """Sandboxes that are process groups. Needs nothing but a Unix."""

    binds_running = False
    copies = no_copies("process")
    forks = None

    def __init__(self, packages_root: Path, images: Sequence[Image], state_dir: Path) -> None:
        self.tier = Tier("process", MISSING, is_boundary=False, separates_accounts=False)
        self._packages_root = packages_root
        self._images = {image.name: image for image in images}
        self._state_dir = state_dir
        self._sandboxes: dict[str, ProcessSandbox] = {}
        self._next = 0
        self._prctl = _load_prctl()

    async def create_template(self, image: str, limits: Limits) -> Template:
        """Refused: see `copies`."""
        raise SandboxError("make a template", errno.EOPNOTSUPP, self.copies)

    async def create(self, image: str, limits: Limits) -> ProcessSandbox:
        """A blank: a private directory and a listener on a free port of the host's loopback."""
        if image not in self._images:
            raise SandboxError("image", detail=f"unknown image {image}")
        self._next += 1
        sandbox_id = f"p{os.getpid()}-{self._next}"
        try:
            self._state_dir.mkdir(parents=True, exist_ok=True)
            home = Path(tempfile.mkdtemp(prefix="sandbox-", dir=self._state_dir))
        except OSError as error:
            raise SandboxError("home", error.errno or 0, str(error)) from error
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.bind(("127.0.0.1", 0))
            listener.listen(16)
        except OSError as error:
            listener.close()
            shutil.rmtree(home, ignore_errors=True)
            raise SandboxError("listener", error.errno or 0, str(error)) from error
        listener.setblocking(False)
        sandbox = ProcessSandbox(self, sandbox_id, self._images[image], home, listener, limits)
        self._sandboxes[sandbox_id] = sandbox
        return sandbox

    async def close(self) -> None:
        for sandbox in list(self._sandboxes.values()):
            await sandbox.destroy()


class ProcessSandbox:
    """One process group. See `sandbox/port.py` for what each call promises."""

    def __init__(
        self,
        driver: ProcessDriver,
        sandbox_id: str,
        image: Image,
        home: Path,
        listener: socket.socket,
        limits: Limits,
    ) -> None:
        self.id = sandbox_id
        host, port = listener.getsockname()[:2]
        self.api_address = f"{host}:{port}"
        self._driver = driver
        self._image = image
        self._home = home
        self._listener = listener
        self._limits = limits
        self._binding: Binding | None = None
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._waiters: set[asyncio.Task[None]] = set()
        self._peak_bytes = 0
        self._cpu_us = 0

    @property
    def listener(self) -> socket.socket:
        return self._listener

    async def bind(self, binding: Binding) -> None:
        for digest in (binding.task, binding.opt):
            if digest is not None and not (self._driver._packages_root / digest / "tree").is_dir():
                raise SandboxError("bind", detail=f"no package {digest}")
        self._binding = binding
        self._limits = binding.limits

    async def set_cpu(self, vcpus: float | None) -> None:
        """No CPU share in this tier."""

    async def start(self, command: Command, on_exit: Callable[[Exit], None]) -> int:
        if command.label in self._children:
            raise SandboxError("start", detail=f"a program {command.label} is running already")
        argv = [self._rewrite(argument) for argument in command.argv]
        env = {name: self._rewrite(value) for name, value in command.env.items()}
        env.setdefault("TMPDIR", str(self._home))
        if command.channel is not None and CHANNEL_VARIABLE in env:
            # Descriptor 3 may be taken in the child between fork and exec, so the channel keeps its own number here.
            env[CHANNEL_VARIABLE] = str(command.channel.fileno())
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(read_end, False)
        try:
            child = await self._spawn(argv, env, self._rewrite(command.cwd), write_end, command.channel)
        except OSError as error:
            # The program could not be executed: an exit like any other, told on the loop as the port says.
            exit_ = Exit(None, None, out_of_memory=False, error=error.errno or 1)
            asyncio.get_running_loop().call_soon(on_exit, exit_)
            return read_end
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
            if command.channel is not None:
                command.channel.close()
        self._children[command.label] = child
        waiter = asyncio.ensure_future(self._wait(command.label, child, on_exit))
        self._waiters.add(waiter)
        waiter.add_done_callback(self._waiters.discard)
        return read_end

    async def signal(self, label: str, number: int) -> None:
        child = self._children.get(label)
        if child is not None:
            self._end_group(child.pid, number)

    async def _spawn(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: str, log: int, channel: socket.socket | None
    ) -> asyncio.subprocess.Process:
        source = channel.fileno() if channel is not None else -1
        limits = (self._limits.descriptors_max, self._driver._prctl)

        def enter() -> None:  # in the child, between fork and exec: system calls only
            descriptors, prctl = limits
            os.setpgid(0, 0)  # here, because uvloop has no argument for it
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if prctl is not None:
                prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)

        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(env),
            cwd=cwd,
            pass_fds=(source,) if source >= 0 else (),
            preexec_fn=enter,
        )

    async def _wait(self, label: str, child: asyncio.subprocess.Process, on_exit: Callable[[Exit], None]) -> None:
        code = await child.wait()
        self._end_group(child.pid, signal.SIGKILL)
        del self._children[label]
        on_exit(Exit(code, None, False) if code >= 0 else Exit(None, -code, False))

    def _end_group(self, group: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)

    async def reset(self) -> None:
        self._sample()
        for child in self._children.values():
            self._end_group(child.pid, signal.SIGKILL)
        if self._waiters:
            async with asyncio.timeout(_REAP_LIMIT_S):
                await asyncio.shield(asyncio.gather(*self._waiters))

    def usage(self) -> Usage:
        self._sample()
        return Usage(self._peak_bytes, self._cpu_us)

    def peak_bytes(self) -> int:
        return self.usage().memory_peak_bytes

    def forgive(self) -> None:
        """Nothing is ended for its memory here."""

    def _sample(self) -> None:
        peak_bytes = cpu_us = 0
        for child in self._children.values():
            try:
                status = _read(f"/proc/{child.pid}/status")
                stat = _read(f"/proc/{child.pid}/stat")
            except OSError:
                return  # ended meanwhile: what was seen before stands
            at = status.find(b"VmHWM:")
            if at >= 0:
                peak_bytes += int(status[at + 6 : status.index(b"kB", at)]) * 1_024
            fields = stat[stat.rindex(b")") :].split(None, 14)
            cpu_us += (int(fields[12]) + int(fields[13])) * 1_000_000 // _TICKS_PER_S
        self._peak_bytes = max(self._peak_bytes, peak_bytes)
        self._cpu_us = max(self._cpu_us, cpu_us)

    def freeze_now(self) -> bool:
        """See freeze."""
        return True

    def thaw_now(self) -> bool:
        """See freeze."""
        return True

    async def freeze(self) -> None:
        """Not in this tier: stopping a process group by signal is visible to the program."""

    async def thaw(self) -> None:
        """See freeze."""

    async def destroy(self) -> None:
        if self._driver._sandboxes.pop(self.id, None) is None:
            return
        await self.reset()
        self._listener.close()
        shutil.rmtree(self._home, ignore_errors=True)

    def _rewrite(self, text: str) -> str:
        root = self._driver._packages_root
        return rewritten(text, sources(self._image, self._binding, root, str(self._home)))


def _read(path: str) -> bytes:
    """A file of /proc, whole; it is read on every invocation, so without the layers of a text file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4_096)
    finally:
        os.close(descriptor)


def _load_prctl() -> Callable[..., int] | None:
    try:
        return ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return None
